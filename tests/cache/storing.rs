//! Rules 16 to 22, 26 to 29, 37, 38, 40 to 43, 46, 47 and 50: storing, finding and removing responses.

use super::common::{self, Raw, Scratch, Weir, pattern};
use super::scene::{Reply, Scene, is_hit, ok, response, status, unmodified};
use rustix::process::Signal;

#[test]
fn rule_16_any_final_status_with_explicit_freshness() {
    let scene = Scene::new(|head, _| {
        let code: u16 = head.target()[1..].parse().expect("a status");
        match code {
            204 => Reply::Bytes(b"HTTP/1.1 204 No Content\r\nCache-Control: max-age=60\r\n\r\n".to_vec()),
            _ => Reply::Bytes(response(code, "Cache-Control: max-age=60", "body")),
        }
    });
    for code in [200, 203, 204, 299, 303, 307, 404, 410, 451, 499, 500, 503, 599] {
        let path = format!("/{code}");
        assert_eq!(scene.get(&path).status(), code);
        let second = scene.get(&path);
        assert_eq!((second.status(), is_hit(&second)), (code, true), "{second:?}");
        assert_eq!(second.head.start, scene.get(&path).head.start, "{code}");
    }
    assert!(scene.get("/200").head.start.ends_with("Whatever"));
}

#[test]
fn rules_17_to_19_private_no_store_no_cache_must_understand() {
    let scene = Scene::new(|head, number| match head.target() {
        "/private" => ok("Cache-Control: private, max-age=60", "x"),
        "/no-store" => ok("Cache-Control: no-store, max-age=60", "x"),
        "/understood" => ok("Cache-Control: must-understand, no-store, max-age=60", "x"),
        "/not-understood" => {
            Reply::Bytes(response(299, "Cache-Control: must-understand, no-store, max-age=60", "x"))
        }
        "/no-cache" if number == 0 => ok("Cache-Control: no-cache|ETag: \"a\"", "x"),
        "/no-cache" => super::scene::unmodified("ETag: \"a\""),
        _ => ok("Cache-Control: max-age=60, no-cache=\"x-secret\"|X-Secret: 1|X-Open: 2", "x"),
    });
    for (path, hit) in
        [("/private", false), ("/no-store", false), ("/understood", true), ("/not-understood", false)]
    {
        scene.get(path);
        assert_eq!(is_hit(&scene.get(path)), hit, "{path}");
    }
    scene.get("/no-cache");
    let second = scene.get("/no-cache");
    assert_eq!((second.status(), second.text().as_str()), (200, "x"));
    assert!(status(&second).contains("fwd-status=304"), "{second:?}");
    assert_eq!(scene.last("/no-cache").get("if-none-match"), Some("\"a\""));
    assert!(scene.get("/field").head.has("x-secret"));
    let hit = scene.get("/field");
    assert!(is_hit(&hit) && !hit.head.has("x-secret") && hit.head.has("x-open"), "{hit:?}");
}

#[test]
fn rule_21_fields_are_stored_but_for_those_of_the_connection() {
    let scene = Scene::new(|_, _| {
        ok(
            "Cache-Control: max-age=60|Set-Cookie: a=1|Set-Cookie: b=2|Content-Range: bytes 0-0/1|X-Odd: \u{e9}\
             |Connection: x-hop|X-Hop: 1|Keep-Alive: timeout=5|Proxy-Authenticate: Basic",
            "x",
        )
    });
    let miss = scene.get("/");
    assert!(!miss.head.has("x-hop"));
    let hit = scene.get("/");
    assert!(is_hit(&hit));
    assert_eq!(hit.head.all("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(hit.head.get("content-range"), Some("bytes 0-0/1"));
    assert_eq!(hit.head.all("x-odd"), miss.head.all("x-odd"));
    for name in ["x-hop", "keep-alive", "connection", "transfer-encoding"] {
        assert!(!hit.head.has(name), "{name}: {hit:?}");
    }
    assert!(hit.head.get("via").is_some_and(|via| via == "1.1 weir"));
}

#[test]
fn rule_22_authorization_and_proxy_authorization() {
    let scene = Scene::new(|head, _| {
        assert!(!head.has("proxy-authorization"));
        match head.target() {
            "/plain" => ok("Cache-Control: max-age=60", "x"),
            "/public" => ok("Cache-Control: max-age=60, public", "x"),
            "/must" => ok("Cache-Control: max-age=60, must-revalidate", "x"),
            _ => ok("Cache-Control: s-maxage=60", "x"),
        }
    });
    for (path, hit) in [("/plain", false), ("/public", true), ("/must", true), ("/shared", true)] {
        scene.get_with(path, "Authorization: Basic YTpi");
        assert_eq!(is_hit(&scene.get(path)), hit, "{path}");
    }
    scene.get_with("/plain?2", "Proxy-Authorization: Basic YTpi");
    assert!(is_hit(&scene.get("/plain?2")) || scene.asked("/plain?2") == 2);
}

#[test]
fn rule_26_the_key_is_authority_and_exact_target() {
    let scene = Scene::answering("Cache-Control: max-age=60", "x");
    scene.get("/a?b=c");
    for (path, hit) in
        [("/a?b=c", true), ("/a?b=d", false), ("/a", false), ("/A?b=c", false), ("/a?b=c&", false)]
    {
        assert_eq!(is_hit(&scene.get(path)), hit, "{path}");
    }
    let port = scene.origin.port();
    let mut client = scene.weir.connect();
    // The same host in another spelling, as a target and as Host of an origin-form request.
    let answer =
        client.ask(format!("GET HTTP://127.0.0.1:{port}/a?b=c HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"));
    assert!(is_hit(&answer));
    let answer = client.ask(format!("GET /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"));
    assert!(is_hit(&answer));
}

#[test]
fn rules_27_and_28_vary() {
    let scene = Scene::new(|head, _| match head.target() {
        "/any" => ok("Cache-Control: max-age=60|Vary: Accept|Vary: *", "x"),
        _ => ok("Cache-Control: max-age=60|Vary: X-One, x-two", head.get("x-one").unwrap_or("none")),
    });
    scene.get("/any");
    assert!(!is_hit(&scene.get("/any")));
    assert_eq!(scene.get("/").text(), "none");
    assert_eq!(scene.get_with("/", "X-One: 1").text(), "1");
    assert_eq!(scene.get_with("/", "X-One: 2").text(), "2");
    for (fields, body, hit) in [
        ("", "none", true),
        ("X-One: 1", "1", true),
        ("X-One: 2|X-Other: 7", "2", true),
        ("X-One: 3", "3", false),
        ("X-One: 1|X-Two: 1", "1", false),
    ] {
        let answer = scene.get_with("/", fields);
        assert_eq!((answer.text().as_str(), is_hit(&answer)), (body, hit), "{fields}");
    }
    assert!(status(&scene.get_with("/", "X-One: 9")).contains("fwd=vary-miss"));
}

#[test]
fn rule_29_cookies_do_not_stop_it() {
    let scene = Scene::answering("Cache-Control: max-age=60", "x");
    scene.get_with("/", "Cookie: a=1");
    assert!(is_hit(&scene.get_with("/", "Cookie: a=2")));
}

#[test]
fn rule_37_unsafe_methods_invalidate() {
    let scene = Scene::new(|head, _| match (head.method(), head.target()) {
        ("GET", _) => ok("Cache-Control: max-age=60", "x"),
        (_, "/fails") => Reply::Bytes(response(500, "", "")),
        (_, "/moves") => Reply::Bytes(response(303, "Location: /other|Content-Location: http://{o}/x", "")),
        _ => Reply::Bytes(response(200, "", "")),
    });
    for path in ["/a", "/fails", "/moves", "/other", "/b"] {
        scene.get(path);
        assert!(is_hit(&scene.get(path)));
    }
    for (method, path) in
        [("POST", "/a"), ("PUT", "/fails"), ("DELETE", "/moves"), ("FROB", "/b"), ("OPTIONS", "/c")]
    {
        let answer = scene.ask(method, path, "Content-Length: 0");
        assert!(answer.head.has("cache-status") || method == "OPTIONS", "{answer:?}");
    }
    for (path, hit) in [("/a", false), ("/fails", true), ("/moves", false), ("/other", false), ("/b", false)]
    {
        assert_eq!(is_hit(&scene.get(path)), hit, "{path}");
    }
}

#[test]
fn rule_38_a_post_that_names_itself_serves_later_gets() {
    let scene = Scene::new(|head, _| match (head.method(), head.target()) {
        ("POST", "/made") => ok("Cache-Control: max-age=60|Content-Location: /made", "made"),
        ("POST", _) => ok("Cache-Control: max-age=60|Content-Location: /elsewhere", "made"),
        _ => ok("Cache-Control: max-age=60", "got"),
    });
    for (path, body) in [("/made", "made"), ("/other", "got")] {
        let client = scene.request("POST", path, "Content-Length: 3");
        let mut raw = scene.weir.connect();
        raw.send([client, b"abc".to_vec()].concat());
        assert_eq!(raw.read_response_to("POST").text(), "made");
        let answer = scene.get(path);
        assert_eq!((answer.text().as_str(), is_hit(&answer)), (body, body == "made"));
    }
}

#[test]
fn rule_40_interim_responses_are_passed_and_not_stored() {
    let scene = Scene::new(|_, _| {
        let mut bytes =
            b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nCache-Control: max-age=9\r\n\r\n".to_vec();
        bytes.extend(response(200, "Cache-Control: max-age=60", "x"));
        Reply::Bytes(bytes)
    });
    let miss = scene.get("/");
    assert_eq!((miss.interim.len(), miss.head.has("link")), (1, false));
    let hit = scene.get("/");
    assert!(is_hit(&hit) && hit.interim.is_empty() && !hit.head.has("link"));
}

#[test]
fn rule_41_what_breaks_its_framing_is_not_stored() {
    let scene = Scene::new(|head, number| {
        match (head.target(), number) {
        ("/short", 0) => Reply::Last(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\n12345".to_vec()),
        ("/chunk", 0) => Reply::Last(
            b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n".to_vec(),
        ),
        ("/broken", 0) => Reply::Last(
            b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_vec(),
        ),
        _ => ok("Cache-Control: max-age=60", "0123456789"),
    }
    });
    for path in ["/short", "/chunk", "/broken"] {
        let mut client = scene.weir.connect();
        client.send(scene.request("GET", path, ""));
        assert!(client.try_read_response("GET").is_err(), "{path}: the client must notice");
        let answer = scene.get(path);
        assert_eq!(
            (answer.text().as_str(), is_hit(&answer), scene.asked(path)),
            ("0123456789", false, 2),
            "{path}"
        );
        assert!(is_hit(&scene.get(path)), "{path}");
    }
}

#[test]
fn bodies_of_every_framing_and_size_are_stored_as_they_are() {
    let scene = Scene::new(|head, _| {
        let (framing, size) = head.target()[1..].split_once('/').expect("framing and size");
        let body = pattern(0, size.parse().expect("a size"));
        let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n";
        match framing {
            "length" => Reply::Bytes(
                [format!("{head}Content-Length: {}\r\n\r\n", body.len()).into_bytes(), body].concat(),
            ),
            "chunked" => {
                let mut bytes = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
                for piece in body.chunks(777) {
                    bytes.extend(format!("{:x}\r\n", piece.len()).into_bytes());
                    bytes.extend(piece);
                    bytes.extend(b"\r\n");
                }
                bytes.extend(b"0\r\n\r\n");
                Reply::Bytes(bytes)
            }
            _ => Reply::Last([format!("{head}Connection: close\r\n\r\n").into_bytes(), body].concat()),
        }
    });
    for framing in ["length", "chunked", "close"] {
        for size in [0, 1, 1000, 4096, 100_000, 1_000_000] {
            let path = format!("/{framing}/{size}");
            for hit in [false, true, true] {
                let answer = scene.get(&path);
                assert_eq!(is_hit(&answer), hit, "{path}");
                assert!(answer.body.bytes == pattern(0, size), "{path}: {} bytes", answer.body.bytes.len());
            }
            let old = scene.origin.fill(format!("GET http://{{o}}{path} HTTP/1.0\r\n\r\n"));
            let answer = scene.weir.connect().ask(old);
            assert!(answer.body.bytes == pattern(0, size) && is_hit(&answer), "{path}");
        }
    }
    let statistics = scene.at_rest();
    assert_eq!((statistics.get("cache_stored"), statistics.get("cache_hits")), (18, 54));
}

/// A body that is announced to be longer than any that is stored, and a status that is about the connection.
#[test]
fn rule_45_what_will_not_be_kept_is_not_called_stored() {
    let scene = Scene::with(&["--cache-max-object", "1K"], |head, _| match head.target() {
        "/426" => {
            Reply::Bytes(response(426, "Cache-Control: max-age=60|Upgrade: foo|Connection: upgrade", "x"))
        }
        _ => ok("Cache-Control: max-age=60", &"x".repeat(2000)),
    });
    for (path, word) in [("/large", "too-large"), ("/426", "status")] {
        for _ in 0..2 {
            let answer = scene.get(path);
            let said = status(&answer);
            assert!(said.ends_with(&format!("fwd=uri-miss; detail=\"{word}\"")), "{path}: {said}");
        }
        assert_eq!(scene.asked(path), 2);
        scene.weir.wait_for_log(|line| line.ends_with(&format!("cache=miss:{word}")));
    }
}

/// Age is a field as others: edits come last (HTTP rule 29), and Connection cannot remove it (HTTP rule 25).
#[test]
fn rule_11_age_obeys_edits_and_no_connection() {
    let fields = "Cache-Control: max-age=60|Age: 5|Connection: age";
    for (option, expected) in [
        ("--via=weir", ["5", "5"]),
        ("--add-response-header=Age: 7", ["7", "7"]),
        ("--remove-response-header=Age", ["", ""]),
    ] {
        let scene = Scene::with(&[option], move |_, _| ok(fields, "x"));
        for (number, expected) in expected.iter().enumerate() {
            let answer = scene.get("/");
            let head = String::from_utf8_lossy(&answer.head.raw).into_owned();
            let ages: Vec<&str> = head.lines().filter_map(|line| line.strip_prefix("Age: ")).collect();
            let wanted: Vec<&str> = Some(*expected).into_iter().filter(|age| !age.is_empty()).collect();
            // A second may pass between the two.
            let is_near = ages == ["6"] && wanted == ["5"];
            assert!(ages == wanted || is_near, "{option} {number}: {ages:?}");
            assert_eq!(is_hit(&answer), number == 1, "{option}");
        }
    }
}

#[test]
fn rule_46_the_budget_holds_and_too_large_ones_pass() {
    let scene = Scene::with(&["--cache-size", "4M", "--cache-max-object", "300K"], |head, _| {
        let (framing, rest) = head.target()[1..].split_once('/').expect("framing");
        let size: usize = rest.split('?').next().and_then(|size| size.parse().ok()).expect("a size");
        let body = pattern(0, size);
        let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n";
        match framing {
            "length" => {
                Reply::Bytes([format!("{head}Content-Length: {size}\r\n\r\n").into_bytes(), body].concat())
            }
            _ => Reply::Last([format!("{head}Connection: close\r\n\r\n").into_bytes(), body].concat()),
        }
    });
    for framing in ["length", "close"] {
        let path = format!("/{framing}/2000000");
        for _ in 0..2 {
            let answer = scene.get(&path);
            assert!(!is_hit(&answer) && answer.body.bytes == pattern(0, 2_000_000), "{path}");
        }
    }
    scene.at_rest();
    let before = scene.weir.resident_kib();
    for number in 0..100 {
        let answer = scene.get(&format!("/length/200000?{number}"));
        assert!(answer.body.bytes == pattern(0, 200_000));
    }
    let grown = scene.weir.resident_kib() - before;
    assert!(grown < 6 * 1024, "{grown} KiB for a cache of 4096");
    assert!(is_hit(&scene.get("/length/200000?99")) && !is_hit(&scene.get("/length/200000?0")));
    scene.at_rest();
}

/// Bytes that the kernel has, and the client has not read yet, stay the same, even if their memory is freed.
#[test]
fn rule_46_what_is_on_its_way_survives_its_eviction() {
    for (size, cache) in [(40_000, "1M"), (400_000, "4M")] {
        let scene = Scene::with(&["--cache-size", cache], move |head, _| {
            let number = head.target()[1..].parse().expect("a number");
            let head =
                format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: {size}\r\n\r\n");
            Reply::Bytes([head.into_bytes(), pattern(number, size)].concat())
        });
        scene.get("/0");
        let clients: Vec<Raw> = (0..8)
            .map(|_| {
                let mut client = scene.weir.connect();
                client.send(scene.request("GET", "/0", ""));
                client
            })
            .collect();
        let hits = || (scene.weir.statistics().get("cache_hits") == 8).then_some(());
        common::eventually("all of them are served", hits);
        // New bodies where the old one was.
        for number in (1..40).chain(1..40) {
            assert!(scene.get(&format!("/{number}")).body.bytes == pattern(number, size));
        }
        for mut client in clients {
            let answer = client.read_response();
            assert!(is_hit(&answer) && answer.body.bytes == pattern(0, size), "{size}");
        }
        assert!(!is_hit(&scene.get("/0")), "it was evicted");
        scene.at_rest();
    }
}

#[test]
fn rule_47_a_slow_client_does_not_hold_the_origin() {
    let scene = Scene::answering("Cache-Control: max-age=60", &"x".repeat(6_000_000));
    let mut slow = Raw::connect_small(scene.weir.address());
    slow.send(scene.request("GET", "/", ""));
    slow.read_head();
    // The whole body has come to the cache while the client has read nothing of it.
    common::eventually("it is stored", || (scene.weir.statistics().get("cache_stored") == 1).then_some(()));
    assert!(is_hit(&scene.get("/")));
}

#[test]
fn rule_42_every_status_is_forwarded_and_stored() {
    let scene = Scene::new(|head, _| {
        let code: u16 = head.target()[1..].parse().expect("a status");
        Reply::Bytes(response(code, "Cache-Control: max-age=60", "x"))
    });
    for code in [201, 299, 399, 499, 599, 600, 777, 999] {
        let path = format!("/{code}");
        assert_eq!(scene.get(&path).status(), code);
        let again = scene.get(&path);
        assert_eq!((again.status(), is_hit(&again)), (code, true), "{again:?}");
    }
}

#[test]
fn rule_43_nothing_is_asked_twice_after_an_answer_began() {
    let scene = Scene::new(|head, number| match (head.target(), number) {
        ("/cut", _) => Reply::Last(b"HTTP/1.1 200 OK\r\nContent-Le".to_vec()),
        ("/late", 1) => Reply::Last(Vec::new()),
        _ => ok("Cache-Control: max-age=0|ETag: \"a\"", "x"),
    });
    let answer = scene.get("/cut");
    assert_eq!((answer.status(), scene.asked("/cut")), (502, 1));
    // A connection that was used before and says nothing at all: once more, with the same conditions.
    assert_eq!((scene.get("/late").status(), scene.asked("/late")), (200, 1));
    assert_eq!((scene.get("/late").status(), scene.asked("/late")), (200, 3));
    assert_eq!(scene.last("/late").get("if-none-match"), Some("\"a\""));
}

/// Trailers go on to who reads the response as it comes, are not stored (RFC 9111 section 3.1 leaves that to the cache), and
/// never become fields of the head.
#[test]
fn rule_21_trailers_are_not_stored_and_never_taken_for_fields() {
    let scene = Scene::new(|head, _| {
        let control = if head.target() == "/passed" { "no-store" } else { "max-age=60" };
        let trailers = "X-Sum: 1\r\nSet-Cookie: evil=1\r\nCache-Control: max-age=9999\r\nETag: \"evil\"\r\n";
        let head = format!("Cache-Control: {control}\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n");
        Reply::Bytes(format!("HTTP/1.1 200 OK\r\n{head}\r\n4\r\nbody\r\n0\r\n{trailers}\r\n").into_bytes())
    });
    for (path, hits) in [("/passed", [false, false]), ("/stored", [false, true])] {
        for hit in hits {
            let answer = scene.get(path);
            assert_eq!((answer.text().as_str(), is_hit(&answer)), ("body", hit), "{path}");
            let sums = answer.body.trailers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-sum"));
            assert_eq!(sums.count(), usize::from(!hit), "{path}: {answer:?}");
            for name in ["x-sum", "set-cookie", "etag"] {
                assert!(!answer.head.has(name), "{path} {name}: {answer:?}");
            }
            assert_eq!(answer.head.all("cache-control").len(), 1);
            assert!(answer.body.trailers.iter().all(|(name, _)| !name.eq_ignore_ascii_case("set-cookie")));
        }
    }
    let hit = scene.get("/stored");
    assert!(!hit.head.has("trailer") && status(&hit).contains("ttl="), "{hit:?}");
    let ttl: i64 = status(&hit).split("ttl=").nth(1).and_then(|ttl| ttl.parse().ok()).expect("a ttl");
    assert!(ttl <= 60, "{hit:?}");
}

#[test]
fn rule_50_purge_by_uri_host_and_whole_from_allowed_addresses() {
    let options = ["--purge-from", "127.0.0.2"];
    let scene = Scene::with(&options, |head, _| match head.method() {
        "PURGE" => Reply::Bytes(response(501, "", "")),
        _ => ok("Cache-Control: max-age=60|Vary: X-V", "x"),
    });
    let other = Scene::answering("", "x");
    let fill = || {
        for (path, fields) in [("/a", "X-V: 1"), ("/a", "X-V: 2"), ("/b", "")] {
            scene.get_with(path, fields);
            assert!(is_hit(&scene.get_with(path, fields)), "{path}");
        }
    };
    fill();
    assert_eq!(scene.ask("PURGE", "/a", "").status(), 403);
    let purge = |path: &str, fields: &str| {
        let mut client = scene.weir.connect_from("127.0.0.2");
        client.ask(scene.request("PURGE", path, fields)).text()
    };
    for (path, fields, count, left) in [
        ("/c", "", "0 purged\n", ["/a", "/b"]),
        ("/a", "", "2 purged\n", ["/b", "/b"]),
        ("/", "Purge: host", "3 purged\n", ["", ""]),
        ("/", "Purge: all", "3 purged\n", ["", ""]),
    ] {
        assert_eq!(purge(path, fields), count, "{path} {fields}");
        for known in ["/a", "/b"] {
            let request = if known == "/a" {
                "X-V: 1|Cache-Control: only-if-cached"
            } else {
                "Cache-Control: only-if-cached"
            };
            let found = scene.get_with(known, request).status() == 200;
            assert_eq!(found, left.contains(&known), "{known} after {path} {fields}");
        }
        fill();
    }
    assert_eq!(scene.asked("PURGE"), 0);
    // Without the option it is a method like any other, and unsafe.
    let answer = other.ask("PURGE", "/", "");
    assert_eq!((answer.status(), other.origin.heads().len()), (200, 1));
}

#[test]
fn rule_45_the_log_says_what_the_cache_did() {
    let scene = Scene::answering("Cache-Control: max-age=60", "x");
    for path in ["/a", "/a"] {
        scene.get(path);
    }
    scene.ask("POST", "/b", "Content-Length: 0");
    scene.get_with("/c", "Authorization: Basic YTpi");
    scene.get_with("/e", "Cache-Control: only-if-cached");
    for (path, word) in [
        ("/a", "cache=miss"),
        ("/a", "cache=hit"),
        ("/b", "cache=bypass:method"),
        ("/c", "cache=miss:authorization"),
        ("/e", "reason=only_if_cached cache=miss"),
    ] {
        scene.weir.wait_for_log(|line| line.contains(path) && line.ends_with(word));
    }
    // It was not refused, there was nothing.
    let told = scene.weir.statistics();
    assert_eq!(["blocked", "failed", "cache_misses"].map(|name| told.get(name)), [0, 1, 3]);
    for (format, words) in
        [("squid", ["TCP_MEM_HIT/200", "TCP_MISS/504"]), ("json", ["\"cache\":\"hit\"", "\"status\":504"])]
    {
        let weir = Weir::start(&["--cache", "--log-format", format]);
        let mut client = weir.connect();
        let stored_only = "GET http://{o}/e HTTP/1.1\r\nHost: {o}\r\nCache-Control: only-if-cached\r\n\r\n";
        assert_eq!(client.ask(scene.origin.fill(stored_only)).status(), 504);
        client.ask(scene.origin.get("/d"));
        client.ask(scene.origin.get("/d"));
        words.iter().for_each(|word| drop(weir.wait_for_log(|line| line.contains(word))));
    }
}

#[test]
fn the_statistics_tell_what_is_stored_and_how_much_it_is_worth() {
    let scene = Scene::with(&["--cache-size", "1M", "--workers", "2"], |head, asked| match head.target() {
        "/old" if asked > 0 => unmodified("ETag: \"1\"|Cache-Control: max-age=0"),
        "/old" => ok("ETag: \"1\"|Cache-Control: max-age=0", "x"),
        _ => ok("Cache-Control: max-age=60", &"x".repeat(100_000)),
    });
    for path in ["/1", "/1", "/1", "/old", "/old"] {
        scene.get(path);
    }
    scene.ask("POST", "/b", "Content-Length: 0");
    let now = scene.at_rest();
    let numbers = ["hits", "misses", "revalidated", "bypassed", "entries", "evicted"];
    let numbers = numbers.map(|name| now.get(&format!("cache_{name}")));
    assert_eq!(numbers, [2, 2, 1, 1, 2, 0], "each request counts once");
    assert!((100_000..400_000).contains(&now.get("cache_bytes")), "{now:?}");
    let lines = scene.weir.error_lines();
    let line = lines.iter().rfind(|line| line.contains("statistics: ")).expect("statistics");
    // Two of four times 100 KB came from memory, the POST's among those that did not.
    assert!(line.contains(" cache_hit_ratio=0.5000 cache_byte_hit_ratio=0.50"), "{line}");
    for number in 0..20 {
        scene.get(&format!("/more/{number}"));
    }
    let now = scene.at_rest();
    assert!(now.get("cache_evicted") >= 10 && now.get("cache_bytes") <= 1 << 20, "{now:?}");
}

#[test]
fn rules_for_hosts_switch_it_off_or_set_a_bound_and_are_read_again() {
    let scratch = Scratch::new();
    let file = scratch.file("rules", "# all of it\n127.0.0.0/8 off\n");
    let scene = Scene::with(&["--cache-rules", &file], |head, _| match head.target() {
        "/aged" => ok("Cache-Control: max-age=100|Age: 50", "x"),
        "/old" => ok("Cache-Control: max-age=100|Age: 98", "x"),
        _ => ok("Cache-Control: max-age=60", "x"),
    });
    let is_ttl = |answer: &common::Response, ttl: &str| status(answer).ends_with(ttl);
    for _ in 0..2 {
        assert!(status(&scene.get("/a")).contains("fwd=bypass"));
    }
    scene.weir.wait_for_log(|line| line.ends_with("cache=bypass:rule"));
    assert_eq!(scene.get_with("/a", "Cache-Control: only-if-cached").status(), 504);
    scratch.file("rules", "127.0.0.1 10m\n127.0.0.0/8 off\n");
    scene.weir.signal(Signal::HUP);
    common::eventually("a bound that is longer", || is_hit(&scene.get("/a")).then_some(()));
    // It holds for what is stored already.
    scratch.file("rules", "127.0.0.1:1 off\n127.0.0.1 5s\n");
    scene.weir.signal(Signal::HUP);
    common::eventually("a shorter one", || is_ttl(&scene.get("/new"), "ttl=5").then_some(()));
    // From the receipt, and never longer than the origin says.
    for (path, most) in [("/aged", 5), ("/old", 2)] {
        let answer = scene.get(path);
        let ttl = status(&answer).split_once("ttl=").and_then(|(_, ttl)| ttl.split(';').next()?.parse().ok());
        assert!(ttl.is_some_and(|ttl: u32| (1..=most).contains(&ttl)), "{path} {answer:?}");
    }
    scratch.file("rules", "127.0.0.1 0\n");
    scene.weir.signal(Signal::HUP);
    common::eventually("none", || (!is_hit(&scene.get("/a")) && !is_hit(&scene.get("/a"))).then_some(()));
    scratch.file("rules", "127.0.0.1 5s\n127.0.0.1 on\n*.x\n");
    scene.weir.signal(Signal::HUP);
    for line in ["rules:2: expected off, or a time", "rules:3: expected a host pattern, then off"] {
        scene.weir.wait_for_error(|said| said.contains(line));
    }
    assert!(!is_hit(&scene.get("/a")), "what ran stays");
}

/// Large bodies, which are mappings of their own, replace small ones: the memory of the small ones goes back to the
/// system.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn rule_46_the_process_stays_within_the_budget_when_other_sizes_are_stored() {
    let scene = Scene::with(&["--cache-size", "24M"], |head, _| {
        let bytes = if head.target().starts_with("/small") { 20_000 } else { 65_536 };
        ok("Cache-Control: max-age=60", &"x".repeat(bytes))
    });
    let before = scene.weir.resident_kib();
    (0..1300).for_each(|number| drop(scene.get(&format!("/small/{number}"))));
    (0..450).for_each(|number| drop(scene.get(&format!("/large/{number}"))));
    let resident = scene.weir.resident_kib() - before;
    assert!(resident < 34 << 10, "{resident} KiB for 24 MB");
}

/// A frequent hit is sent from pages in a pipe: the right ones, also with readers that stop in the middle, and after
/// another response was stored. At rest no descriptor is kept for it.
#[test]
fn rule_49_what_is_hit_often_is_what_is_stored() {
    const SIZE: usize = 100_000;
    let descriptors = |scene: &Scene| -> Vec<std::path::PathBuf> {
        let all = std::fs::read_dir(format!("/proc/{}/fd", scene.weir.id())).expect("its descriptors");
        all.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()).collect()
    };
    let scene = Scene::with(&["--purge-from", "127.0.0.1"], |head, number| {
        let page: u64 = head.target()[1..].parse().expect("a number");
        let head = format!(
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: {SIZE}\r\nConnection: close\r\n\r\n"
        );
        Reply::Last([head.into_bytes(), pattern(1000 * page + number as u64, SIZE)].concat())
    });
    // Not before the loop has all that it keeps for itself.
    drop(scene.at_rest());
    let before = descriptors(&scene).len();
    for version in 0..3 {
        for (page, rounds) in
            [(0, 20), (1, 1), (2, 20), (0, 3)].into_iter().chain((3..14).map(|page| (page, 2)))
        {
            for round in 0..rounds {
                let whole = pattern(1000 * page + version, SIZE);
                assert!(scene.get(&format!("/{page}")).body.bytes == whole, "{page} {version} {round}");
                let part = scene.get_with(&format!("/{page}"), "Range: bytes=30000-90000");
                assert!(part.body.bytes == whole[30_000..=90_000], "{page} {version} {round}");
            }
        }
        let mut halves: Vec<Raw> = (0..10).map(|_| Raw::connect_small(scene.weir.address())).collect();
        for half in &mut halves {
            half.send(scene.request("GET", "/0", ""));
            half.read_head();
            assert!(half.read_exact(SIZE / 2) == pattern(version, SIZE)[..SIZE / 2]);
        }
        for page in 0..14 {
            assert_eq!(scene.ask("PURGE", &format!("/{page}"), "").status(), 200);
        }
        for mut half in halves.drain(..5) {
            assert!(half.read_exact(SIZE / 2) == pattern(version, SIZE)[SIZE / 2..]);
        }
        drop(halves);
    }
    // Date and Age of a hit are those of the second of the request.
    drop(scene.get("/13"));
    let age = || scene.get("/13").head.get("age").and_then(|age| age.parse::<u32>().ok());
    let first = (0..40).map(|_| age()).max();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert!(age() > first.expect("hits"), "{first:?}");
    drop(scene.at_rest());
    // The client's, and another one of the origin that it has closed already.
    let begun = std::time::Instant::now();
    loop {
        let now = descriptors(&scene);
        if now.len() <= before + 2 {
            return;
        }
        assert!(begun.elapsed() < common::DEADLINE, "before: {before}, now: {now:?}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
