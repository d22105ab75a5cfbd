//! Which route a request has, what is refused, and what upstreams are told.

use super::common::{Origin, Weir, run};
use super::{Gateway, named};

#[test]
fn gateway_14_host_and_prefix_decide() {
    let (api, rest, any) = (Origin::echo(), Origin::echo(), Origin::echo());
    let gateway = Gateway::start(&format!(
        "app.example/api/ -> {} least host rewrite strip /api\napp.example/ -> {}\n*/only/ -> {}\n",
        api.address(),
        rest.address(),
        any.address()
    ));
    for (host, target, origin, start, field) in [
        ("app.example", "/api/x?y=%2e%2e", &api, "GET /x?y=%2e%2e HTTP/1.1", api.address().to_string()),
        ("APP.example.:80", "/api", &api, "GET / HTTP/1.1", api.address().to_string()),
        ("app.example", "/api/a/../b", &api, "GET /a/../b HTTP/1.1", api.address().to_string()),
        ("app.example", "/apix", &rest, "GET /apix HTTP/1.1", "app.example".to_owned()),
        ("app.example", "/%C3%A4;v=1//x", &rest, "GET /%C3%A4;v=1//x HTTP/1.1", "app.example".to_owned()),
        ("other.example:81", "/only/x", &any, "GET /only/x HTTP/1.1", "other.example:81".to_owned()),
    ] {
        let seen = origin.heads().len();
        assert_eq!(gateway.get(host, target).status(), 200, "{host} {target}");
        let head = origin.heads()[seen].clone();
        assert_eq!((head.start.as_str(), head.get("host")), (start, Some(&*field)), "{host} {target}");
    }
    // A preflight of the prefix itself is about the application's root, not about the server (RFC 9112 section 3.2.4).
    for target in ["/api", "http://app.example/api", "/%61pi"] {
        let preflight = format!("OPTIONS {target} HTTP/1.1\r\nHost: app.example\r\n\r\n");
        assert_eq!(gateway.ask(&preflight).status(), 200);
        assert_eq!(api.heads().last().unwrap().start, "OPTIONS / HTTP/1.1", "{target}");
    }
    // Absolute-form is for the host of the target (RFC 9112 section 3.2.2).
    let absolute = "GET http://app.example/api/abs HTTP/1.1\r\nHost: other.example\r\n\r\n";
    assert_eq!(gateway.ask(absolute).status(), 200);
    assert_eq!(api.heads().last().unwrap().target(), "/abs");
}

#[test]
fn gateway_14_what_is_refused_reaches_no_upstream() {
    let origin = Origin::ok();
    let lines = format!("app.example/api/ -> {0}\napp.example/sub/ -> {0} strip /sub\n", origin.address());
    let gateway = Gateway::start(&lines);
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: app.example\r\n\r\n");
    let cases = [
        (get("/api/../admin"), 400, "path_climbs"),
        (get("/api/%2e%2e/admin"), 400, "path_climbs"),
        (get("/api/%252E%252e/admin"), 400, "path_climbs"),
        (get("/api/..%2fadmin"), 400, "path_climbs"),
        (get("/api/..\\admin"), 400, "path_climbs"),
        (get("/api/..;/admin"), 400, "path_climbs"),
        (get("/api;v=1/admin"), 400, "path_parameters"),
        (get("/;/sub/x"), 400, "path_parameters"),
        (get("/%73ub%3b"), 400, "path_parameters"),
        (get("/api/../sub/x"), 400, "path_climbs"),
        (get("/../etc/passwd"), 400, "path_climbs"),
        (get("/api/a%00b"), 400, "path_nul"),
        (get("/api/a%0d%0aSet-Cookie:%20x"), 400, "path_line_break"),
        (get("/sub%2fx"), 400, "path_encoding"),
        (get("/api/%c0%ae%c0%ae/admin"), 400, "path_encoding"),
        (get("/api/%f0%80%80%ae./admin"), 400, "path_encoding"),
        (get("/api/%u002e%u002e/admin"), 400, "path_encoding"),
        (get("/admin"), 404, "no_route_for_path"),
        (get("/apis"), 404, "no_route_for_path"),
        ("GET / HTTP/1.1\r\nHost: other.example\r\n\r\n".to_owned(), 421, "no_route_for_host"),
        ("OPTIONS * HTTP/1.1\r\nHost: other.example\r\n\r\n".to_owned(), 421, "no_route_for_host"),
        (format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", origin.url("/")), 421, "no_route_for_host"),
        ("GET /api/ HTTP/1.1\r\n\r\n".to_owned(), 400, "host_missing"),
        (
            "GET /api/ HTTP/1.1\r\nHost: app.example\r\nHost: app.example\r\n\r\n".to_owned(),
            400,
            "host_repeated",
        ),
        ("GET /api/ HTTP/1.1\r\nHost: app.example/\r\n\r\n".to_owned(), 400, "host_invalid"),
    ];
    for (request, status, reason) in cases {
        assert_eq!(gateway.ask(&request).status(), status, "{request}");
        gateway.weir.wait_for_log(|line| line.contains(&format!("reason={reason} ")));
    }
    let mut client = gateway.weir.connect();
    client.send(format!("CONNECT {} HTTP/1.1\r\nHost: a\r\n\r\n", origin.address()));
    assert_eq!(client.read_response().status(), 405);
    // What is malformed ends the connection, with all behind it.
    let mut client = gateway.weir.connect();
    client.send(format!("{}{}", get("/api/a%00b"), get("/api/x")));
    assert_eq!(client.read_response().status(), 400);
    assert!(client.read_to_end().is_empty());
    assert_eq!(origin.connections(), 0);
}

#[test]
fn gateway_14_strangers_do_not_speak_for_clients() {
    let origin = Origin::echo();
    let lines = format!("*/ -> {}\n", origin.address());
    let fields = "Host: app.example\r\nX-Forwarded-For: 192.0.2.9\r\nX-Forwarded-Proto: https\r\n\
                  X-Forwarded-Host: evil.example\r\nForwarded: for=192.0.2.9\r\nX-Real-IP: 192.0.2.9\r\n\
                  X-Original-URL: /admin\r\nContent_Length: 7\r\nX_Forwarded_For: 192.0.2.9\r\nX-Kept: 1\r\n\
                  True-Client-IP: 192.0.2.9\r\nProxy: http://evil.example\r\n";
    let request = format!("GET / HTTP/1.1\r\n{fields}\r\n");
    let gateway = Gateway::start(&lines);
    assert_eq!(gateway.ask(&request).status(), 200);
    let head = origin.head();
    for (name, value) in [
        ("x-forwarded-for", Some("127.0.0.1")),
        ("x-forwarded-proto", Some("http")),
        ("x-forwarded-host", Some("app.example")),
        ("x-real-ip", None),
        ("x-original-url", None),
        ("content_length", None),
        ("x_forwarded_for", None),
        ("true-client-ip", None),
        ("proxy", None),
        ("x-kept", Some("1")),
    ] {
        assert_eq!(head.get(name), value, "{name}");
    }
    let forwarded = head.get("forwarded").unwrap_or_default();
    assert!(forwarded.contains("for=127.0.0.1") && !forwarded.contains("192.0.2.9"), "{forwarded}");
    // A proxy that the guard file trusts is believed, and fields with underscores pass where that is said.
    let scratch = super::common::Scratch::new();
    let guard = scratch.file("guard.conf", "trust 127.0.0.0/8\n");
    let trusting = Gateway::with_options(&format!("underscores allow\n{lines}"), &["--guard", &guard]);
    assert_eq!(trusting.ask(&request).status(), 200);
    let head = origin.heads()[1].clone();
    for (name, value) in [
        ("x-forwarded-for", "192.0.2.9, 127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.example"),
        ("x-real-ip", "192.0.2.9"),
        ("content_length", "7"),
    ] {
        assert_eq!(head.get(name), Some(value), "{name}");
    }
    assert_eq!(head.get("x_forwarded_for"), None, "CGI would take it for X-Forwarded-For");
    trusting.weir.wait_for_log(|line| line.contains("client=192.0.2.9"));
}

#[test]
fn gateway_14_forward_and_gateway_on_listeners_of_their_own() {
    let origin = named("origin");
    let scratch = super::common::Scratch::new();
    let file = scratch.file("gateway.conf", format!("listen 127.0.0.1:0\n*/ -> {}\n", origin.address()));
    let weir = Weir::start(&["--gateway", &file]);
    let is_other = |line: &str| line.contains("listening on ") && !line.contains(&weir.address().to_string());
    let line = weir.wait_for_error(is_other);
    let address = line.rsplit(' ').next().and_then(|text| text.parse().ok()).expect("an address");
    let ask = |address, request: &[u8]| {
        let mut client = super::common::Raw::connect(address);
        client.send(request);
        client.read_response()
    };
    let origin_form = b"GET /x HTTP/1.1\r\nHost: app.example\r\n\r\n";
    assert_eq!(ask(address, origin_form).text(), "origin");
    assert_eq!(ask(weir.address(), &origin.get("/x")).text(), "origin");
    // Neither does the other's work: the forward proxy has no routes, and looks the name up.
    assert_ne!(ask(weir.address(), origin_form).status(), 200);
    let lone = Gateway::start("app.example/ -> 127.0.0.1:1");
    assert_eq!(lone.ask(&String::from_utf8(origin.get("/x")).unwrap()).status(), 421);
}

#[test]
fn gateway_14_all_faults_of_the_file_are_told() {
    let scratch = super::common::Scratch::new();
    let file = scratch.file("gateway.conf", "a/ -> b\nc/ ->\nlisten here\nd/ -> e strip /f\n");
    let check = run(&["--gateway", &file, "--check"]);
    assert_eq!(check.code, 78, "{check:?}");
    for part in [
        "gateway.conf:2: expected an upstream",
        "gateway.conf:3: listen: expected",
        "gateway.conf:4: strip: expected",
    ] {
        assert!(check.err.contains(part), "{part} in {check:?}");
    }
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/config/gateway.conf");
    assert_eq!(run(&["--gateway", sample, "--port", "0", "--check"]).code, 0);
}

#[test]
fn gateway_14_a_reload_has_other_routes_and_a_faulty_one_changes_nothing() {
    let (one, other) = (named("one"), named("other"));
    let gateway = Gateway::start(&format!("*/ -> {}\n", one.address()));
    assert_eq!(gateway.get("a", "/").text(), "one");
    gateway.scratch.file("gateway.conf", "*/ ->\n");
    gateway.weir.signal(rustix::process::Signal::HUP);
    gateway.weir.wait_for_error(|line| line.contains("expected an upstream"));
    assert_eq!(gateway.get("a", "/").text(), "one");
    gateway.reload(&format!("*/ -> {}\n", other.address()));
    assert_eq!(gateway.get("a", "/").text(), "other");
}
