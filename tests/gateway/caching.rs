//! The cache behind routes: whose response is whose.

use super::Gateway;
use super::common::{Conn, Origin, Response, Scratch, run};

/// An origin whose responses can be stored, have these fields, and are its view of the request: target, Host, and a field.
fn telling(fields: &'static str, shown: &'static str) -> Origin {
    Origin::serve(move |conn: &mut Conn| {
        while let Some(request) = conn.request()? {
            let field = |name| request.head.get(name).unwrap_or("-").to_owned();
            let body = format!("{} {} {}", request.head.target(), field("host"), field(shown));
            let length = body.len();
            conn.send(format!(
                "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
            ))?;
        }
        Ok(())
    })
}

/// A gateway with a cache that believes a proxy at this machine's first address.
fn caching(lines: &str) -> (Gateway, Scratch) {
    let scratch = Scratch::new();
    let guard = scratch.file("guard.conf", "trust 127.0.0.1\n");
    (Gateway::with_options(lines, &["--cache", "--guard", &guard, "--purge-from", "127.0.0.0/8"]), scratch)
}

fn is_hit(answer: &Response) -> bool {
    answer.head.get("cache-status").is_some_and(|status| status.contains("; hit"))
}

/// Each of these requests has a response of its own, which the next one like it gets.
#[track_caller]
fn all_differ(gateway: &Gateway, requests: &[(&str, &str, &str)]) {
    let ask = |(host, target, fields): &(&str, &str, &str)| {
        gateway.ask(&format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"))
    };
    let first: Vec<String> = requests
        .iter()
        .map(|request| {
            let answer = ask(request);
            assert!(!is_hit(&answer), "{request:?}: {answer:?}");
            answer.text()
        })
        .collect();
    for (request, first) in requests.iter().zip(&first) {
        let answer = ask(request);
        assert!(is_hit(&answer) && answer.text() == *first, "{request:?}: {first}, then {answer:?}");
    }
}

#[test]
fn ours_26_what_is_stored_for_a_route_is_what_the_client_asked_for() {
    let origin = telling("", "x-forwarded-host");
    let address = origin.address();
    let (gateway, _scratch) = caching(&format!(
        "a.example/ -> {address}\nb.example/ -> {address}\n*:81/ -> {address}\n\
         a.example/one/ -> {address} strip /one host rewrite\na.example/two/ -> {address} strip /two host rewrite\n"
    ));
    all_differ(
        &gateway,
        &[
            ("a.example", "/x", ""),
            ("b.example", "/x", ""),
            ("a.example:81", "/x", ""),
            // The same for the server, and two for its clients.
            ("a.example", "/one/x", ""),
            ("a.example", "/two/x", ""),
            ("a.example", "/x?one", ""),
        ],
    );
    // One host, however it is spelled.
    assert!(is_hit(&gateway.get("A.Example.:80", "/x")));
}

#[test]
fn ours_26_http_and_https_are_two() {
    let origin = telling("", "x-forwarded-proto");
    let (gateway, _scratch) = caching(&format!("*/ -> {}\n", origin.address()));
    let https = "X-Forwarded-Proto: https\r\n";
    all_differ(&gateway, &[("a.example", "/x", ""), ("a.example", "/x", https)]);
    assert!(gateway.get("a.example", "/x").text().ends_with(" http"));
    // A stranger does not say which scheme it is.
    let mut stranger = gateway.weir.connect_from("127.0.0.2");
    let answer = stranger.ask(format!("GET /x HTTP/1.1\r\nHost: a.example\r\n{https}\r\n"));
    assert!(is_hit(&answer) && answer.text().ends_with(" http"), "{answer:?}");
    let purged = gateway.ask("PURGE /x HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(purged.text(), "2 purged\n");
}

#[test]
fn ours_26_what_a_trusted_proxy_tells_of_another_host_is_not_stored_for_this_one() {
    let origin = telling("", "x-forwarded-host");
    let (gateway, _scratch) = caching(&format!("*/ -> {}\n", origin.address()));
    for host in ["shop.example", "blog.example", "shop.example"] {
        let answer =
            gateway.ask(&format!("GET / HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-Host: {host}\r\n\r\n"));
        assert!(!is_hit(&answer) && answer.text().ends_with(host), "{answer:?}");
    }
    gateway.weir.wait_for_log(|line| line.ends_with("cache=bypass:forwarded-url"));
    let same = "GET / HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-Host: a.example\r\n\r\n";
    assert!(!is_hit(&gateway.ask(same)) && is_hit(&gateway.ask(same)));
    // The port of https is not another host's.
    let tls = "GET / HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: a.example:443\r\n\r\n";
    assert!(!is_hit(&gateway.ask(tls)) && is_hit(&gateway.ask(tls)));
}

/// Upstreams are told what the cache distinguishes, once: a client that names the field in Connection, or has sent one of its own to
/// a proxy that adds another line, does not decide what others get.
#[test]
fn ours_26_what_a_trusted_proxy_tells_in_several_lines_or_not_to_upstreams_counts_for_neither() {
    for (name, tells, own) in
        [("x-forwarded-proto", "https", "http"), ("x-forwarded-host", "shop.example", "a.example")]
    {
        let origin = telling("", name);
        let (gateway, _scratch) = caching(&format!("*/ -> {}\n", origin.address()));
        for (at, fields) in [
            format!("Connection: {name}\r\n{name}: {tells}\r\n"),
            format!("{name}: {tells}\r\n{name}: {own}\r\n"),
            format!("{name}: {own}\r\n{name}: {tells}\r\n"),
        ]
        .iter()
        .enumerate()
        {
            let ask =
                |fields: &str| gateway.ask(&format!("GET /{at} HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n"));
            let first = ask(fields);
            assert!(!is_hit(&first) && first.text().ends_with(&format!(" {own}")), "{fields}: {first:?}");
            let head = origin.heads().pop().map(|head| String::from_utf8_lossy(&head.raw).to_lowercase());
            let head = head.unwrap_or_default();
            assert_eq!(head.matches(&format!("\r\n{name}:")).count(), 1, "{head}");
            let plain = ask("");
            assert!(is_hit(&plain) && plain.text() == first.text(), "{fields}: {plain:?}");
            let told = ask(&format!("{name}: {tells}\r\n"));
            assert!(!is_hit(&told) && told.text().ends_with(tells), "{fields}: {told:?}");
        }
    }
}

#[test]
fn ours_26_what_depends_on_the_client_is_stored_for_none() {
    let origin = telling("Vary: X-Forwarded-For\r\n", "x-forwarded-for");
    let (gateway, _scratch) = caching(&format!("*/ -> {}\n", origin.address()));
    for from in ["127.0.0.2", "127.0.0.3", "127.0.0.2"] {
        let answer = gateway.weir.connect_from(from).ask("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert!(!is_hit(&answer) && answer.text().ends_with(from), "{from}: {answer:?}");
    }
    let varied = telling("Vary: X-Lang\r\n", "x-lang");
    let (gateway, _scratch) = caching(&format!("*/ -> {}\n", varied.address()));
    all_differ(
        &gateway,
        &[
            ("a", "/", "X-Lang: de\r\n"),
            ("a", "/", "X-Lang: fr\r\n"),
            ("a", "/", ""),
            ("b", "/", "X-Lang: de\r\n"),
        ],
    );
}

/// A trusted proxy may pass on what its client has sent: a response that may depend on another URL is stored for none.
#[test]
fn ours_26_what_a_client_tells_of_another_url_through_a_trusted_proxy_is_not_stored() {
    let origin = telling("", "host");
    let (gateway, _scratch) = caching(&format!("*/ -> {}\n", origin.address()));
    for (number, field) in [
        "Forwarded: for=192.0.2.1;host=evil.example;proto=https",
        "Forwarded: for=192.0.2.1;host=evil.example, for=192.0.2.2;host=a.example",
        "Forwarded: proto=https",
        "X-Forwarded-Port: 8443",
        "X-Forwarded-Prefix: /evil",
        "X-Forwarded-Proto: https, http",
        "X-Forwarded-Proto: wss",
        "X-Forwarded-Scheme: https",
        "X-Forwarded-Ssl: on",
        "X-Original-Host: evil.example",
        "X-Original-URL: /admin",
        "X-Rewrite-URL: /admin",
    ]
    .iter()
    .enumerate()
    {
        let path = format!("/{number}");
        let told = format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n{field}\r\n\r\n");
        assert!(!is_hit(&gateway.ask(&told)) && !is_hit(&gateway.ask(&told)), "{field}");
        assert!(!is_hit(&gateway.get("a.example", &path)), "{field}");
        assert!(is_hit(&gateway.get("a.example", &path)), "{field}");
    }
    for fields in [
        "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Port: 80\r\nForwarded: for=192.0.2.1;host=a.example;proto=http",
        "X-Real-IP: 192.0.2.1\r\nX-Forwarded-Server: front.example\r\nX-Forwarded-Prefix: /",
    ] {
        let same = format!("GET /0 HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n\r\n");
        assert!(is_hit(&gateway.ask(&same)), "{fields}");
    }
}

/// A field that reaches no upstream tells it nothing.
#[test]
fn ours_26_what_is_removed_tells_of_no_other_url() {
    let origin = telling("", "x-forwarded-port");
    let scratch = Scratch::new();
    let guard = scratch.file("guard.conf", "trust 127.0.0.1\n");
    let options = ["--cache", "--guard", &guard, "--remove-header", "X-Forwarded-Port"];
    let gateway = Gateway::with_options(&format!("*/ -> {}\n", origin.address()), &options);
    for fields in
        ["X-Forwarded-Port: 8443\r\n", "Connection: X-Forwarded-Prefix\r\nX-Forwarded-Prefix: /evil\r\n"]
    {
        let request = format!("GET /{} HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n", fields.len());
        assert!(!is_hit(&gateway.ask(&request)) && is_hit(&gateway.ask(&request)), "{fields}");
    }
}

/// Rule 51: the values that a stranger invents reach no upstream, and select no response.
#[test]
fn rule_51_fields_that_the_gateway_does_not_forward_select_nothing() {
    for (vary, shown) in [
        ("Vary: X-Real-IP\r\n", "x-real-ip"),
        ("Vary: X-Forwarded-Proto, X-Forwarded-Host\r\n", "x-forwarded-proto"),
        ("Vary: X-Forwarded-Port\r\n", "x-forwarded-port"),
        ("Vary: Proxy\r\n", "proxy"),
        ("Vary: X_Foo\r\n", "x_foo"),
    ] {
        let origin = telling(vary, shown);
        let (gateway, _scratch) = caching(&format!("*/ -> {}\n", origin.address()));
        let ask = |from: &str, value: &str| {
            let field = if value.is_empty() { String::new() } else { format!("{shown}: {value}\r\n") };
            let request = format!("GET / HTTP/1.1\r\nHost: a.example\r\n{field}\r\n");
            gateway.weir.connect_from(from).ask(request)
        };
        let stranger = "127.0.0.2";
        assert!(!is_hit(&ask(stranger, "one")), "{vary}");
        for value in ["two", ""] {
            assert!(is_hit(&ask(stranger, value)), "{vary}: {value:?}");
        }
        // What a trusted proxy tells is forwarded, and selects.
        if shown == "x-real-ip" {
            let told = ask("127.0.0.1", "one");
            assert!(!is_hit(&told) && told.text().ends_with(" one"), "{told:?}");
        }
    }
}

/// Rules 26, 37 and 50: the port that a URL for https leaves out is 443.
#[test]
#[cfg_attr(not(feature = "admin"), ignore = "needs the feature admin")]
fn ours_26_urls_for_https_name_what_is_stored_for_https() {
    let origin = Origin::serve(|conn: &mut Conn| {
        while let Some(request) = conn.request()? {
            let told = request.head.target().strip_prefix("/to?").map(str::to_owned);
            let location = told.map_or(String::new(), |url| format!("Location: {url}\r\n"));
            conn.send(format!(
                "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\n{location}Content-Length: 2\r\n\r\nok"
            ))?;
        }
        Ok(())
    });
    let scratch = Scratch::new();
    let (guard, control) = (scratch.file("guard.conf", "trust 127.0.0.1\n"), scratch.join("control"));
    let options = ["--cache", "--guard", &guard, "--control", &control];
    let gateway = Gateway::with_options(&format!("*/ -> {}\n", origin.address()), &options);
    let ask = |method: &str, host: &str, target: &str| {
        gateway.ask(&format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Proto: https\r\nContent-Length: 0\r\n\r\n"
        ))
    };
    let is_stored = || is_hit(&ask("GET", "a.example", "/x"));
    for url in ["https://a.example/x", "https://a.example:443/x", "//a.example/x", "/x"] {
        assert!(!is_stored() && is_stored() && is_hit(&ask("GET", "a.example:443", "/x")), "{url}");
        assert_eq!(ask("POST", "a.example", &format!("/to?{url}")).status(), 200);
    }
    for purged in ["https://a.example/x", "https://a.example:443/x"] {
        assert!(!is_stored() && is_stored(), "{purged}");
        assert_eq!(run(&["ctl", "--control", &control, "purge", purged]).out, "1 purged\n");
    }
    assert!(!is_stored() && is_stored());
    assert_eq!(run(&["ctl", "--control", &control, "purge", "host", "a.example"]).out, "1 purged\n");
    assert!(!is_stored());
}

/// Rule 35: upstreams of one route send the same representation, which its strong entity tag shows.
#[test]
fn rule_35_parts_from_several_upstreams_are_joined() {
    let body = "0123456789".repeat(100);
    let serve = |address: &str| {
        let body = body.clone();
        Origin::serve_at(address, move |mut conn: Conn| {
            while let Some(request) = conn.request()? {
                let range = request.head.get("range").and_then(|range| range.strip_prefix("bytes="));
                let (first, last) = range.and_then(|range| range.split_once('-')).unwrap_or(("0", "999"));
                let (first, last): (usize, usize) =
                    (first.parse().expect("a byte"), last.parse().expect("one"));
                let status = match range {
                    Some(_) => format!("206 Partial Content\r\nContent-Range: bytes {first}-{last}/1000"),
                    None => "200 OK".to_owned(),
                };
                let fields = "Cache-Control: max-age=600\r\nETag: \"same\"";
                let part = &body[first..=last];
                let length = part.len();
                conn.send(format!(
                    "HTTP/1.1 {status}\r\n{fields}\r\nContent-Length: {length}\r\n\r\n{part}"
                ))?;
            }
            Ok(())
        })
    };
    let (one, other) = (serve("127.0.0.1:0"), serve("127.0.0.2:0"));
    let lines = format!("*/ -> {} {}\n", one.address(), other.address());
    let gateway = Gateway::with_options(&lines, &["--cache"]);
    let ask = |range: &str| {
        let field = if range.is_empty() { String::new() } else { format!("Range: bytes={range}\r\n") };
        gateway.ask(&format!("GET / HTTP/1.1\r\nHost: a.example\r\n{field}\r\n"))
    };
    for range in ["0-199", "200-399", "400-599"] {
        assert_eq!(ask(range).status(), 206);
    }
    assert!(is_hit(&ask("0-599")));
    assert_eq!(ask("").text(), body);
    assert!(is_hit(&ask("")));
    let heads = [one.heads(), other.heads()].concat();
    assert!(one.heads().len() == 2 && heads.len() == 4, "{heads:?}");
    assert!(heads.iter().any(|head| head.get("range") == Some("bytes=600-999")), "{heads:?}");
}

/// A stale response is refreshed under the URL under which it was stored, and with the fields that told of it.
#[test]
fn rule_24_a_response_for_https_is_refreshed_for_https() {
    let origin = Origin::answering(
        b"HTTP/1.1 200 OK\r\nCache-Control: max-age=1, stale-while-revalidate=600\r\nVary: X-Real-IP\r\n\
          Content-Length: 2\r\n\r\nok",
    );
    let (gateway, _scratch) = caching(&format!("*/ -> {}\n", origin.address()));
    let request =
        "GET / HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-Proto: https\r\nX-Real-IP: 192.0.2.1\r\n\r\n";
    assert!(!is_hit(&gateway.ask(request)));
    let refreshed = super::common::eventually("the refresh", || {
        let answer = gateway.ask(request);
        assert!(is_hit(&answer), "{answer:?}");
        origin.heads().get(1).cloned()
    });
    assert_eq!(
        (refreshed.get("x-forwarded-proto"), refreshed.get("x-real-ip")),
        (Some("https"), Some("192.0.2.1"))
    );
}
