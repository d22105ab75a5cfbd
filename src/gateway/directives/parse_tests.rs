use super::*;
use crate::gateway::balance::Balance;
use crate::gateway::directives::{Check, HostField, RouteLine};
use crate::gateway::upstream::FailOn;
use crate::words::{FILE_BYTES_MAX, PROBLEMS_MAX};

fn one(line: &str) -> Result<RouteLine, String> {
    parse(line.as_bytes()).map(|directives| directives.routes[0].clone()).map_err(|problems| {
        problems.into_iter().map(|problem| problem.message).collect::<Vec<_>>().join("; ")
    })
}

#[test]
fn gateway_14_the_two_lines_of_the_issue_load_as_they_stand() {
    let file = "app.example/api/ -> 127.0.0.1:9000 127.0.0.1:9001 least health GET /healthz every 5s host rewrite \
                strip /api\n127.0.0.1:8888/ -> 127.0.0.1:9240";
    let directives = parse(file.as_bytes()).unwrap();
    let [first, second] = directives.routes.as_slice() else { panic!("two routes") };
    assert_eq!(
        (&*first.name, &*first.prefix, &*first.strip),
        ("app.example:80/api", b"/api".as_slice(), b"/api".as_slice())
    );
    let upstreams: Vec<String> =
        first.upstreams.iter().map(|upstream| upstream.authority.to_string()).collect();
    assert_eq!(upstreams, ["127.0.0.1:9000", "127.0.0.1:9001"]);
    assert_eq!((first.balance, first.host_field), (Balance::Least, HostField::Rewrite));
    let check = Check {
        method: "GET".into(),
        path: "/healthz".into(),
        every_ms: 5_000,
        timeout_ms: 5_000,
        rise: 1,
        fall: 2,
        statuses: vec![(200, 399)],
    };
    assert_eq!(first.check, Some(check));
    assert_eq!((&*second.name, second.prefix.len(), second.line), ("127.0.0.1:8888/", 0, 2));
    assert!(directives.listen.is_empty() && !directives.allows_underscores);
}

#[test]
fn every_option_of_a_route() {
    let route = one("*:81/a/b -> a.example weight 3 b.example:81 10.0.0.1:82 backup hash-client retries 0 slow-start off \
         down-after 5 in 1m for 30s fail-on connect,503 strip /a health HEAD /x?y every 1s timeout 500ms rise 2 fall 3 \
         status 204,300-399 # a comment")
    .unwrap();
    assert_eq!(&*route.name, "*:81/a/b");
    let upstreams: Vec<_> =
        route.upstreams.iter().map(|line| (line.authority.to_string(), line.weight, line.backup)).collect();
    let expected = [("a.example:80", 3, false), ("b.example:81", 1, false), ("10.0.0.1:82", 1, true)];
    assert_eq!(upstreams, expected.map(|(text, weight, backup)| (text.to_owned(), weight, backup)));
    assert_eq!((route.balance, route.retries, route.slow_start_ms), (Balance::HashClient, 0, 0));
    let passive = route.passive;
    assert_eq!((passive.failures, passive.within_ms, passive.down_ms), (5, 60_000, 30_000));
    let on = FailOn { connect: true, reset: false, timeout: false, statuses: [false, true, false] };
    assert_eq!((passive.on, &*route.strip), (on, b"/a".as_slice()));
    let check = route.check.unwrap();
    assert_eq!((&*check.method, &*check.path, check.every_ms, check.timeout_ms), ("HEAD", "/x?y", 1000, 500));
    assert_eq!((check.rise, check.fall, check.statuses), (2, 3, vec![(204, 204), (300, 399)]));
}

#[test]
fn forms_of_hosts_and_prefixes() {
    for (line, name) in [
        ("app.example/ -> a", "app.example:80/"),
        ("APP.Example./ -> a", "app.example:80/"),
        ("app.example:8080/x/ -> a", "app.example:8080/x"),
        ("[::1]:81/ -> a", "[::1]:81/"),
        ("*/ -> a", "*/"),
        ("*/%61pi//v1/ -> a", "*/api/v1"),
        #[cfg(feature = "idna")]
        ("b\u{fc}cher.example/ -> a", "xn--bcher-kva.example:80/"),
        ("*/ -> \"least\"", "*/"),
        ("*/ -> a down-after never", "*/"),
    ] {
        assert_eq!(one(line).map(|route| route.name.to_string()), Ok(name.to_owned()), "{line}");
    }
}

#[test]
fn faults_say_what_was_expected() {
    for (line, part) in [
        ("app.example -> 127.0.0.1:9000", "expected a host"),
        ("app.example/", "expected ->, as in"),
        ("app.example/ => a", "expected ->, as in"),
        ("app.example/ ->", "expected an upstream such as"),
        ("http://app.example/ -> a", "without a scheme"),
        ("app.example/ -> http://a", "without a scheme"),
        ("app.example/ -> a:0", "expected an upstream"),
        ("app.example/ -> a a:80", "a:80 again"),
        ("app.example/ -> a backup", "expected an upstream that is none"),
        ("app.example/ -> a weight 0", "from 1 to 100"),
        ("app.example/ -> a least weight 2", "right behind an upstream"),
        ("app.example/ -> a least hash-client", "least and hash-client: expected one of"),
        ("app.example/ -> a retries 1 retries 2", "retries again"),
        ("app.example/ -> a retries 11", "from 0 to 10"),
        ("app.example/ -> a strip /b", "strip: expected"),
        ("app.example/api/ -> a strip /ap", "strip: expected /api/ or a beginning"),
        ("app.example/ -> a host swap", "host: expected keep or rewrite"),
        ("app.example/ -> a health GET healthz every 5s", "expected a path such as /healthz"),
        ("app.example/ -> a health get /x every 5s", "expected a method such as GET"),
        ("app.example/ -> a health GET /x every 5", "a time with its unit"),
        ("app.example/ -> a health GET /x every 1ms", "health: expected a time of at least 50ms"),
        ("app.example/ -> a lest", "did you mean the option least?"),
        ("app.example/ -> weight 2", "did you mean the option weight?"),
        ("app.example/ -> backup a", "did you mean the option backup?"),
        ("app.example/ -> roundrobin", "did you mean the option round-robin?"),
        ("app.example/ -> a:1 timeout 3s", "did you mean the option timeout?"),
        ("app.example/ -> a:1 2", "expected an upstream such as"),
        ("app.example/x;y -> a", "without parameters (;)"),
        ("app.example/ -> a rond-robin", "did you mean the option round-robin?"),
        ("app.example/ -> a weight 2 bakup", "did you mean the option backup?"),
        ("app.example/ -> a health GET /x 5s", "expected every"),
        ("app.example/ -> a health GET /x every 5s timeout 6s", "no longer than"),
        (
            "app.example/ -> a health GET /x every 5s rise 2 fall 3 rise 2",
            "health: rise again: expected once",
        ),
        ("app.example/ -> a health GET /x every 5s status 99", "expected statuses"),
        ("app.example/ -> a health GET /x every 5s status 300-200", "expected statuses"),
        ("app.example/ -> a down-after 3", "expected in"),
        ("app.example/ -> a fail-on 500", "expected some of connect"),
        ("app.example/ -> a fail-on 502,502", "502 again"),
        ("app.example/../x -> a", "the beginning of a path"),
        ("app.example/a%00 -> a", "the beginning of a path"),
        ("app.example/?x -> a", "the beginning of a path"),
        ("*x/ -> a", "expected a host"),
        ("*:0/ -> a", "expected a host"),
        ("u@a/ -> a", "expected a host"),
        ("lisen 127.0.0.1:80", "did you mean listen?"),
        ("listen 127.0.0.1", "expected an address with a port"),
        ("listen", "expected an address with a port"),
        ("underscores no", "expected drop or allow"),
        ("", "no route"),
        ("listen 127.0.0.1:80", "no route"),
    ] {
        let message = one(line).expect_err(line);
        assert!(message.contains(part), "{line}: {message}");
    }
}

#[test]
fn all_faults_are_told_at_once_with_their_lines() {
    let file = b"\xef\xbb\xbf# a comment\r\nlisten 127.0.0.1:80,[::1]:80\r\nlisten 127.0.0.1:80\r\na/ -> b\r\na:80/ -> c\r\nx\r\n\
                 underscores allow\nunderscores allow";
    let problems = parse(file).unwrap_err();
    let found: Vec<(u32, &str)> = problems.iter().map(|problem| (problem.line, &*problem.message)).collect();
    assert_eq!(found.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [3, 5, 6, 8]);
    assert!(found[1].1.contains("a:80/ again: expected once, and line 4 has it"), "{found:?}");
}

#[test]
fn prefixes_that_are_no_utf_8_are_different_routes() {
    let directives = parse(b"a/%e9t%e9 -> b\na/%e8t%e8 -> c").expect("two routes");
    let names: Vec<&str> = directives.routes.iter().map(|route| &*route.name).collect();
    assert_eq!(names, ["a:80/%E9t%E9", "a:80/%E8t%E8"]);
    let problems = parse(b"a/ -> b host keep rewrite\nunderscores allow drop").unwrap_err();
    let found: Vec<&str> = problems.iter().map(|problem| &*problem.message).collect();
    assert!(
        found.iter().all(|message| !message.contains("expected keep") && !message.contains("drop or allow")),
        "{found:?}"
    );
}

#[test]
fn upstreams_may_have_names_like_options() {
    for line in [
        "a/ -> static",
        "a/ -> stats call wise",
        "a/ -> static",
        "a/ -> stats call wise",
        "a/ -> \"lest\"",
        "a/ -> lest:80",
        "a/ -> a lest:80",
        "a/ -> a lest.internal",
        "a/ -> host1 host2",
        "a/ -> a backend",
    ] {
        let directives = parse(line.as_bytes());
        assert!(directives.is_ok(), "{line}: {directives:?}");
    }
}

#[test]
fn reading_stops_after_many_faults() {
    let file = "x\n".repeat(1000);
    assert_eq!(parse(file.as_bytes()).unwrap_err().len(), PROBLEMS_MAX + 1);
    assert_eq!(parse(&vec![b'#'; FILE_BYTES_MAX + 1]).unwrap_err()[0].line, 0);
}

#[test]
fn other_directives() {
    let directives = parse(b"listen 127.0.0.1:81, [::1]:81\nunderscores allow\n*/ -> a").unwrap();
    assert_eq!(directives.listen, ["127.0.0.1:81".parse().unwrap(), "[::1]:81".parse().unwrap()]);
    assert!(directives.allows_underscores);
}
