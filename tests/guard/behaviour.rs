//! Behaviour rules: what the daemon does about clients that do too much of something.

use super::Guarded;
use crate::common::{DEADLINE, Origin};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

#[test]
fn guard_10_usage_bans() {
    let guarded = Guarded::start("behaviour usage 2 in 10m path /api/ action ban for 1h");
    for path in ["/api/a", "/api/b"] {
        assert_eq!(guarded.get("192.0.2.1", path).0, 200);
    }
    assert_eq!(guarded.get("192.0.2.1", "/api/c").0, 403);
    assert_eq!(guarded.get("192.0.2.1", "/").0, 403, "the ban is of the client");
    assert_eq!(guarded.get("192.0.2.2", "/api/a").0, 200);
    guarded.weir.wait_for_log(|line| line.contains("banned:guard:2") && line.contains("192.0.2.1"));
}

/// The number of a rate is that of its window.
#[test]
fn guard_10_a_frequency_is_counted_in_its_window() {
    let guarded = Guarded::start("behaviour frequency 1/5m in 10m path /api/ action ban for 1h");
    let statuses = [(); 3].map(|()| guarded.get("192.0.2.1", "/api/a").0);
    assert_eq!(statuses, [200, 200, 403]);
}

#[test]
fn guard_10_an_alert_is_an_error_in_the_log_and_refuses_nothing() {
    let guarded = Guarded::start("behaviour usage 1 in 10m action alert");
    assert_eq!([(); 3].map(|()| guarded.get("192.0.2.1", "/").0), [200; 3]);
    guarded.weir.wait_for_error(|line| {
        line.contains("weir error: guard:2: 192.0.2.1 on GET:/") && line.contains("more than 1")
    });
}

/// A client in whose requests an attack was found has half the number.
#[test]
#[cfg_attr(not(feature = "detection"), ignore = "needs the feature detection")]
fn guard_10_findings_halve_the_number() {
    let guarded = Guarded::start("detect observe\nbehaviour usage 4 in 10m together action ban correlate");
    let asks = |client: &str, path: &str| guarded.get(client, path).0;
    assert_eq!([(); 5].map(|()| asks("192.0.2.1", "/")), [200, 200, 200, 200, 403]);
    assert_eq!(asks("192.0.2.2", "/?q=%27%20or%201%3D1--"), 200);
    assert_eq!([(); 2].map(|()| asks("192.0.2.2", "/")), [200, 403]);
}

#[test]
fn guard_10_statuses_of_responses_are_counted() {
    let mut guarded = Guarded::start("behaviour return status:404 2 in 10m together action ban");
    guarded.origin = Origin::answering("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    let statuses: Vec<u16> = (0..4).map(|count| guarded.get("192.0.2.1", &format!("/{count}")).0).collect();
    assert_eq!(statuses, [404, 404, 404, 403]);
    assert_eq!(guarded.get("192.0.2.2", "/").0, 404);
}

/// Rule 39: a tap of the response passes the cache by, and a client that wants stored responses only gets none.
#[cfg(feature = "cache")]
#[test]
fn rule_39_what_passes_the_cache_by_is_not_asked_for_where_only_stored_responses_are_wanted() {
    let guarded =
        Guarded::with_options("behaviour return json:a==b 9 in 10m path /tapped action log", &["--cache"]);
    let stored = "Cache-Control: only-if-cached\r\n";
    assert_eq!(guarded.ask("192.0.2.1", "GET", "/tapped", stored).0, 504);
    assert_eq!(guarded.origin.heads().len(), 0);
    guarded.weir.wait_for_log(|line| line.contains("reason=only_if_cached "));
    assert_eq!(guarded.get("192.0.2.1", "/tapped").0, 200);
}

#[test]
fn guard_10_passive_rules_ban_no_client() {
    let guarded = Guarded::start("passive\nbehaviour usage 1 in 10m action ban");
    for _ in 0..4 {
        assert_eq!(guarded.get("192.0.2.1", "/").0, 200);
    }
}

#[test]
fn ours_10_a_throttled_client_waits_and_others_do_not() {
    let guarded = Guarded::start("behaviour usage 1 in 10m action throttle rate 1/400ms");
    assert_eq!(guarded.get("192.0.2.1", "/").0, 200);
    assert_eq!(guarded.get("192.0.2.1", "/").0, 200);
    let began = Instant::now();
    for _ in 0..3 {
        assert_eq!(guarded.get("192.0.2.1", "/").0, 200);
    }
    // What matters is that they waited at all: the clock only tells that it was not less.
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
    guarded.weir.wait_for_log(|line| line.contains(" 200 ") && line.contains("192.0.2.1"));
    assert_eq!(guarded.get("192.0.2.2", "/").0, 200);
    // A client that goes away while it waits leaves nothing behind.
    let mut raw = guarded.weir.connect();
    let (url, host) = (guarded.origin.url("/"), guarded.origin.address());
    raw.send(format!("GET {url} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"));
    drop(raw);
    assert_eq!(guarded.get("192.0.2.1", "/").0, 200);
}

#[test]
#[cfg_attr(not(feature = "detection"), ignore = "needs the feature detection")]
fn guard_10_bodies_of_responses_are_looked_at() {
    let origin = |body: &str| {
        Origin::answering(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    };
    let long = "x".repeat(300_000);
    for (pattern, body, matches) in [
        ("json:result==win", "{\"result\":\"WIN\"}".to_owned(), true),
        ("json:result==win", "{\"result\":\"lose\"}".to_owned(), false),
        ("\"you win\"", format!("You Win {long}"), true),
        ("\"you win\"", format!("{long} you win"), false),
        ("\"regex:item-[0-9]+ epic\"", "an Item-12 EPIC".to_owned(), true),
    ] {
        let mut guarded = Guarded::start(&format!("behaviour return {pattern} 2 in 10m together action ban"));
        guarded.origin = origin(&body);
        for count in 0..3 {
            let mut raw = guarded.weir.connect();
            let (url, host) = (guarded.origin.url("/"), guarded.origin.address());
            raw.send(format!("GET {url} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"));
            // So is the answer that breaks the rule: only the next request is refused.
            let answer = raw.try_read_response("GET").expect("an answer");
            assert!(answer.body.bytes == body.as_bytes(), "{pattern} {count}");
        }
        let status = guarded.get("192.0.2.1", "/").0;
        assert_eq!(status, if matches { 403 } else { 200 }, "{pattern}");
    }
}

/// The client has the beginning of a tapped body before the server has sent its end.
#[test]
#[cfg_attr(not(feature = "detection"), ignore = "needs the feature detection")]
fn ours_10_a_tapped_body_is_forwarded_as_it_comes() {
    const PARTS: [&str; 2] = ["{\"result\":\"wi", "n\"}"];
    for pattern in ["json:result==win", "\"regex:w[i]n\"", "win"] {
        let (go_on, gate) = channel();
        let gate = Mutex::new(gate);
        let mut guarded = Guarded::start(&format!("behaviour return {pattern} 1 in 10m together action ban"));
        guarded.origin = Origin::serve(move |conn| {
            while conn.request()?.is_some() {
                let [first, rest] = PARTS;
                let length = first.len() + rest.len();
                conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{first}"))?;
                let _ = gate.lock().expect("a gate").recv_timeout(DEADLINE);
                conn.send(rest)?;
            }
            Ok(())
        });
        for count in 0..2 {
            let mut raw = guarded.weir.connect();
            let (url, host) = (guarded.origin.url("/"), guarded.origin.address());
            raw.send(format!("GET {url} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"));
            raw.read_head();
            let first = raw.wire().read_exact(PARTS[0].len()).expect("the beginning");
            assert_eq!(first, PARTS[0].as_bytes(), "{pattern}");
            go_on.send(()).expect("a server that waits");
            // So is the answer that breaks the rule: only the next request is refused.
            let rest = raw.wire().read_exact(PARTS[1].len());
            assert!(rest.is_ok(), "{pattern} {count}");
        }
        assert_eq!(guarded.get("192.0.2.1", "/").0, 403, "{pattern}: the whole is looked at");
    }
}

/// What a client has seen counts, although it leaves before the end: or a server breaks off there.
#[test]
#[cfg_attr(not(feature = "detection"), ignore = "needs the feature detection")]
fn ours_10_a_response_that_ends_early_is_counted_for_what_was_seen() {
    for (who, pattern) in [("client", "win"), ("client", "\"regex:w.n|never\""), ("server", "win")] {
        let (end, gate) = channel();
        let gate = Mutex::new(gate);
        let mut guarded = Guarded::start(&format!("behaviour return {pattern} 1 in 10m together action ban"));
        guarded.origin = Origin::serve(move |conn| {
            if conn.request()?.is_some() {
                conn.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nyou win")?;
                let _ = gate.lock().expect("a gate").recv_timeout(DEADLINE);
            }
            Ok(())
        });
        for count in 1..=2 {
            let mut raw = guarded.weir.connect();
            let (url, host) = (guarded.origin.url("/"), guarded.origin.address());
            raw.send(format!("GET {url} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"));
            raw.read_head();
            assert_eq!(raw.wire().read_exact(7).expect("the beginning"), b"you win");
            if who == "server" {
                end.send(()).expect("a server that waits");
                assert!(raw.wire().read_exact(1).is_err(), "broken off");
            } else {
                raw.reset();
            }
            guarded.weir.wait_for_logs(count, |line| line.contains("failed 200"));
        }
        assert_eq!(guarded.get("192.0.2.1", "/").0, 403, "{who} {pattern}");
        drop(end);
    }
}

/// Bodies in codings and in chunks are read as what they are; what is broken, or has no coding that weir knows, matches nothing.
#[cfg(feature = "detection")]
#[test]
fn ours_10_coded_bodies_of_responses_are_looked_at() {
    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use std::io::Write as _;
    let json = br#"{"result":"win","list":[1,2]}"#;
    let gzip = {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(json).expect("bytes");
        encoder.finish().expect("bytes")
    };
    let zlib = {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(json).expect("bytes");
        encoder.finish().expect("bytes")
    };
    let in_chunks = |body: &[u8]| -> Vec<u8> {
        let chunks = body.iter().flat_map(|byte| [b"1\r\n", &[*byte][..], b"\r\n"].concat());
        chunks.chain(*b"0\r\n\r\n").collect()
    };
    let whole = |coding: &str, body: &[u8]| {
        let head = format!("HTTP/1.1 200 OK\r\n{coding}Content-Length: {}\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    };
    let chunked = |coding: &str, body: &[u8]| {
        let head = format!("HTTP/1.1 200 OK\r\n{coding}Transfer-Encoding: chunked\r\n\r\n");
        [head.as_bytes(), &in_chunks(body)].concat()
    };
    let (of_gzip, of_deflate) = ("Content-Encoding: gzip\r\n", "Content-Encoding: deflate\r\n");
    for (what, answer, matches) in [
        ("plain", whole("", json), true),
        ("chunked", chunked("", json), true),
        ("gzip", whole(of_gzip, &gzip), true),
        ("chunked gzip", chunked(of_gzip, &gzip), true),
        ("deflate", whole(of_deflate, &zlib), true),
        ("half of gzip", whole(of_gzip, &gzip[..gzip.len() / 2]), false),
        ("no gzip", whole(of_gzip, json), false),
        ("unknown", whole("Content-Encoding: zstd\r\n", json), false),
        ("half of JSON", whole("", &json[..20]), false),
        ("nothing", whole("", b""), false),
    ] {
        let mut guarded = Guarded::start("behaviour return json:result==win 1 in 10m together action ban");
        guarded.origin = Origin::answering(answer);
        for _ in 0..2 {
            let mut raw = guarded.weir.connect();
            let (url, host) = (guarded.origin.url("/"), guarded.origin.address());
            raw.send(format!("GET {url} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"));
            raw.try_read_response("GET").expect("an answer, also of the one that breaks the rule");
        }
        let status = guarded.get("192.0.2.1", "/").0;
        assert_eq!(status, if matches { 403 } else { 200 }, "{what}");
    }
}
