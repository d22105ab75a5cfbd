use super::super::directives::parse;
use super::super::upstream::Failed;
use super::*;

fn gateway(file: &str, before: Option<&Gateway>) -> Gateway {
    Gateway::new(&parse(file.as_bytes()).unwrap(), before)
}

fn authority(text: &str) -> Authority {
    Authority::parse(text.as_bytes(), Some(80)).unwrap()
}

/// The line of the route, and the path that goes on.
fn found(gateway: &Gateway, host: &str, target: &str) -> Result<(u32, String), Miss> {
    let found = gateway.find(&authority(host), target.as_bytes(), &mut Vec::new())?;
    Ok((found.route.line, target[found.path_at..].to_owned()))
}

const FILE: &str = "app.example/api/ -> a strip /api\n\
                    app.example/api/admin/ -> b\n\
                    app.example/ -> c\n\
                    only.example/sub/ -> d strip /sub\n";

#[test]
fn gateway_14_routes_and_what_goes_on() {
    let gateway = gateway(FILE, None);
    for (host, target, expected) in [
        ("app.example", "/api/x?y=/../z", (1, "/x?y=/../z")),
        ("APP.EXAMPLE.:80", "/api", (1, "")),
        ("app.example", "/api?x", (1, "?x")),
        ("app.example", "/api/", (1, "/")),
        ("app.example", "/api//x", (1, "/x")),
        ("app.example", "//api/x", (1, "/x")),
        ("app.example", "/%61pi/%2F", (1, "/%2F")),
        ("app.example", "/api/a/../b", (1, "/a/../b")),
        ("app.example", "/api/admin/x", (2, "/api/admin/x")),
        ("app.example", "/api/%61dmin/x", (2, "/api/%61dmin/x")),
        ("app.example", "/api/a%2fb", (1, "/a%2fb")),
        ("app.example", "/apix", (3, "/apix")),
        ("app.example", "", (3, "")),
        ("app.example", "?x", (3, "?x")),
        ("app.example", "/a/../b", (3, "/a/../b")),
        ("app.example", "/a;x/../b;y=z/", (3, "/a;x/../b;y=z/")),
        ("app.example", "/a?;/api", (3, "/a?;/api")),
        ("app.example", "/a?%00%0d%0a", (3, "/a?%00%0d%0a")),
        ("only.example", "/sub/%41", (4, "/%41")),
    ] {
        let expected = Ok((expected.0, expected.1.to_owned()));
        assert_eq!(found(&gateway, host, target), expected, "{host} {target}");
    }
}

#[test]
fn gateway_14_what_is_refused() {
    let gateway = gateway(FILE, None);
    for (host, target, miss) in [
        ("other.example", "/", Miss::Host),
        ("app.example:8080", "/", Miss::Host),
        ("127.0.0.1", "/..", Miss::Host),
        ("only.example", "/", Miss::Path),
        ("only.example", "/subs", Miss::Path),
        ("app.example", "/api/../secret", Miss::Refused(PathFault::Climbs)),
        ("app.example", "/api/%2e%2e/secret", Miss::Refused(PathFault::Climbs)),
        ("app.example", "/api/..%2fsecret", Miss::Refused(PathFault::Climbs)),
        ("app.example", "/api/%252e%252e%252fsecret", Miss::Refused(PathFault::Climbs)),
        ("app.example", "/api/..\\secret", Miss::Refused(PathFault::Climbs)),
        ("app.example", "/api/..;/secret", Miss::Refused(PathFault::Climbs)),
        ("app.example", "/api/x/../../api/y", Miss::Refused(PathFault::Climbs)),
        // Up from the other routes, into one that is stricter.
        ("app.example", "/x/../api/admin", Miss::Refused(PathFault::Climbs)),
        ("app.example", "/api/x/../admin/y", Miss::Refused(PathFault::Climbs)),
        ("only.example", "/sub/../x", Miss::Refused(PathFault::Climbs)),
        ("only.example", "/x/../sub/y", Miss::Refused(PathFault::Climbs)),
        ("app.example", "/../etc/passwd", Miss::Refused(PathFault::Climbs)),
        // Servers that decode less often, or keep a backslash or an encoded slash, remove other segments.
        ("app.example", "/api/x%252fy/../../secret", Miss::Refused(PathFault::Encoding)),
        ("app.example", "/api/x%2fy/../../secret", Miss::Refused(PathFault::Encoding)),
        ("app.example", "/api/x\\y/../../secret", Miss::Refused(PathFault::Encoding)),
        ("app.example", "/api/x%5cy/../../secret", Miss::Refused(PathFault::Encoding)),
        ("app.example", "/x%252fy/../api/secret", Miss::Refused(PathFault::Encoding)),
        ("app.example", "/x\\y/../api/secret", Miss::Refused(PathFault::Encoding)),
        ("app.example", "/x/../api/%252e%252e/y", Miss::Refused(PathFault::Encoding)),
        ("app.example", "/api/v/..;/../admin/x", Miss::Refused(PathFault::Climbs)),
        ("app.example", "/v/..;/../api/x", Miss::Refused(PathFault::Climbs)),
        ("app.example", "/x/v/..;/w/../y", Miss::Refused(PathFault::Encoding)),
        ("app.example", "/x/;a/../y", Miss::Refused(PathFault::Encoding)),
        ("app.example", "/;a%2fb/../api/x", Miss::Refused(PathFault::Parameters)),
        // The prefix of another route, for a server that keeps these characters.
        ("app.example", "/api%2fadmin/x", Miss::Refused(PathFault::Encoding)),
        ("app.example", "/api\\x", Miss::Refused(PathFault::Encoding)),
        ("app.example", "/%2561pi/x", Miss::Refused(PathFault::Encoding)),
        // Servers in Java read these as /api/x, /api/admin, /x and /secret.
        ("app.example", "/api;v=1/x", Miss::Refused(PathFault::Parameters)),
        ("app.example", "/api;", Miss::Refused(PathFault::Parameters)),
        ("app.example", "/;/api/x", Miss::Refused(PathFault::Parameters)),
        ("app.example", "/api%3bv/x", Miss::Refused(PathFault::Parameters)),
        ("app.example", "/api/admin;a/x", Miss::Refused(PathFault::Parameters)),
        ("app.example", "/api/;x/../../x", Miss::Refused(PathFault::Climbs)),
        ("app.example", "/api/;x/../secret", Miss::Refused(PathFault::Parameters)),
        ("only.example", "/sub;x", Miss::Refused(PathFault::Parameters)),
        ("only.example", "/x;y", Miss::Path),
        ("app.example", "/a%00", Miss::Refused(PathFault::Nul)),
        ("app.example", "/a%0d%0aX:y", Miss::Refused(PathFault::LineBreak)),
        ("app.example", "/api%2fx", Miss::Refused(PathFault::Encoding)),
        ("app.example", "/%2561pi/x", Miss::Refused(PathFault::Encoding)),
    ] {
        assert_eq!(found(&gateway, host, target), Err(miss), "{host} {target}");
    }
}

#[test]
fn a_reload_keeps_what_is_known() {
    let client = IpAddr::from([192, 0, 2, 1]);
    let before =
        gateway("a/ -> u v down-after 1 in 1s for 10s\nb/ -> u\nc/ -> w health GET / every 1s fall 1", None);
    let lease = before.routes[0].choose(client, 0, 5).unwrap().lease;
    assert!(lease.fail(Failed::Connect, 5));
    assert_eq!(before.set_drained(&authority("v"), true, 5), 1);
    assert_eq!(before.set_drained(&authority("x"), true, 5), 0);
    let [checked] = &*before.checked() else { panic!("one is checked") };
    assert_eq!(checked.note(false, 5), Some(Change::Down));
    // One upstream more, another weight, a route that is new, and no checks any more.
    let after = gateway("a/ -> u weight 2 v x\nd/ -> u\nc/ -> w", Some(&before));
    let standings: Vec<(String, Standing)> = after
        .statuses(6)
        .map(|status| (format!("{} {}", status.route, status.authority), status.standing))
        .collect();
    let up = Standing::Up(256);
    assert_eq!(
        standings,
        [
            ("a:80/ u:80", Standing::Down(10_005)),
            ("a:80/ v:80", Standing::Drained),
            ("a:80/ x:80", up),
            ("d:80/ u:80", up),
            ("c:80/ w:80", up),
        ]
        .map(|(name, standing)| (name.to_owned(), standing))
    );
    assert_eq!(after.statuses(6).next().unwrap().numbers.in_flight, 1);
    drop(lease);
    assert_eq!(after.statuses(6).next().unwrap().numbers.in_flight, 0);
}

/// A drain is of an address: in routes that come later, and in the same ones when they come back.
#[test]
fn a_drain_outlives_every_reload_until_it_is_ended() {
    let drained = |gateway: &Gateway| -> Vec<String> {
        let out = gateway.statuses(9).filter(|status| status.standing == Standing::Drained);
        out.map(|status| format!("{} {}", status.route, status.authority)).collect()
    };
    let first = gateway("a/ -> u v", None);
    assert_eq!(first.set_drained(&authority("u"), true, 5), 1);
    let second = gateway("a/ -> u v\nb/ -> u", Some(&first));
    assert_eq!(drained(&second), ["a:80/ u:80", "b:80/ u:80"]);
    let without = gateway("c/ -> v", Some(&second));
    assert_eq!(drained(&without), [""; 0]);
    let again = gateway("c/ -> v u", Some(&without));
    assert_eq!(drained(&again), ["c:80/ u:80"]);
    assert_eq!(again.set_drained(&authority("u"), false, 5), 1);
    assert_eq!(drained(&gateway("c/ -> v u\nd/ -> u", Some(&again))), [""; 0]);
    // It can be ended while no route has the upstream.
    assert_eq!(again.set_drained(&authority("u"), true, 5), 1);
    let without = gateway("c/ -> v", Some(&again));
    assert_eq!([0, 1].map(|_| without.set_drained(&authority("u"), false, 5)), [1, 0]);
    assert_eq!(drained(&gateway("c/ -> v u", Some(&without))), [""; 0]);
}

#[test]
fn clients_are_told_when_to_come_back() {
    let gateway = gateway("a/ -> u\nb/ -> u health GET / every 1500ms", None);
    assert_eq!([0, 1].map(|index| gateway.routes[index].retry_after_s()), [10, 2]);
}
