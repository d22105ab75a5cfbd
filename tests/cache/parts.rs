//! Rule 35: parts are stored, put together, and completed (RFC 9110 section 15.3.7, RFC 9111 sections 3.3 and 3.4).

use super::common::{self, Head, Raw, Response, eventually, pattern};
use super::scene::{Gate, Reply, Scene, is_hit, ok, response, status};

/// `a-b`, `a-` or `-n` of a Range of one part: where it begins and ends.
pub(super) fn asked(head: &Head, length: usize) -> Option<(usize, usize)> {
    let (first, last) = head.get("range")?.strip_prefix("bytes=")?.split_once('-')?;
    if last.contains(',') {
        return None;
    }
    let number = |text: &str| text.parse::<usize>().ok();
    match (number(first), number(last)) {
        (Some(first), last) => Some((first, last.map_or(length, |last| (last + 1).min(length)))),
        (None, Some(last)) => Some((length - last, length)),
        (None, None) => None,
    }
}

/// The fields of an origin that does as it should, and an answer of it: `body` under a tag.
pub(super) fn ranged(head: &Head, tag: &str, body: &[u8]) -> Reply {
    let fields = format!("ETag: {tag}\r\nCache-Control: max-age=60\r\nContent-Type: text/odd\r\n");
    let holds = head.get("if-range").is_none_or(|condition| condition == tag);
    let (first, bytes) = match asked(head, body.len()).filter(|_| holds) {
        Some((start, end)) => {
            // To If-Range it says no more than it must.
            let known = fields.replace("Content-Type: text/odd\r\n", "");
            let fields = if head.has("if-range") { known } else { fields };
            let range = format!("Content-Range: bytes {start}-{}/{}", end - 1, body.len());
            (format!("HTTP/1.1 206 Partial Content\r\n{fields}{range}\r\n"), &body[start..end])
        }
        None => (format!("HTTP/1.1 200 OK\r\n{fields}"), body),
    };
    Reply::Bytes([format!("{first}Content-Length: {}\r\n\r\n", bytes.len()).as_bytes(), bytes].concat())
}

pub(super) fn file(length: usize) -> Scene {
    Scene::new(move |head, _| ranged(head, "\"v1\"", &pattern(0, length)))
}

pub(super) fn part(scene: &Scene, path: &str, range: &str) -> Response {
    scene.get_with(path, &format!("Range: bytes={range}"))
}

/// The last range that the origin was asked for.
pub(super) fn last_range(scene: &Scene, path: &str) -> (Option<String>, Option<String>) {
    let head = scene.last(path);
    (head.get("range").map(str::to_owned), head.get("if-range").map(str::to_owned))
}

#[test]
fn rule_35_a_part_answers_ranges_that_lie_in_it() {
    let scene = file(1000);
    let first = part(&scene, "/", "100-299");
    assert_eq!((first.status(), is_hit(&first)), (206, false));
    assert!(status(&first).contains("stored"), "{first:?}");
    for (range, told, from, len) in [
        ("100-299", "bytes 100-299/1000", 100, 200),
        ("150-159", "bytes 150-159/1000", 150, 10),
        ("299-299", "bytes 299-299/1000", 299, 1),
    ] {
        let answer = part(&scene, "/", range);
        assert_eq!((answer.status(), is_hit(&answer)), (206, true), "{range}: {answer:?}");
        assert_eq!(answer.head.get("content-range"), Some(told));
        assert_eq!(answer.head.get("content-type"), Some("text/odd"));
        assert!(answer.body.bytes == pattern(from, len), "{range}");
    }
    let conditional = scene.get_with("/", "Range: bytes=150-159|If-None-Match: \"v1\"");
    assert_eq!((conditional.status(), is_hit(&conditional)), (304, true));
    let other = scene.get_with("/", "Range: bytes=150-159|If-Range: \"v0\"");
    assert_eq!((other.status(), other.body.bytes.len(), scene.asked("/")), (200, 1000, 2));
}

#[test]
fn rule_35_what_lies_outside_of_a_part_is_not_answered_from_it() {
    for (method, fields, code) in [
        ("GET", "Range: bytes=500-599", 206),
        ("GET", "Range: bytes=0-1,150-159", 200),
        ("GET", "Range: bytes=1000-", 206),
        ("GET", "If-None-Match: \"v1\"", 200),
        ("GET", "Range: bytes=150-159|Cache-Control: no-cache", 206),
        ("HEAD", "", 200),
    ] {
        let scene = Scene::new(|head, _| match (head.method(), head.get("range")) {
            ("HEAD", _) => {
                let fields = "ETag: \"v1\"\r\nContent-Length: 1000\r\nCache-Control: max-age=60\r\n";
                Reply::Bytes(format!("HTTP/1.1 200 OK\r\n{fields}\r\n").into_bytes())
            }
            (_, Some("bytes=1000-")) => Reply::Bytes(response(206, "", "odd")),
            _ => ranged(head, "\"v1\"", &pattern(0, 1000)),
        });
        part(&scene, "/", "100-299");
        let answer = scene.ask(method, "/", fields);
        assert_eq!((answer.status(), is_hit(&answer), scene.asked("/")), (code, false, 2), "{fields}");
        // The client's own question went there.
        let line = fields.split('|').find_map(|line| line.strip_prefix("Range: ").map(str::to_owned));
        assert_eq!(last_range(&scene, "/"), (line, None), "{fields}");
        // The origin's response does not change the stored one.
        assert!(is_hit(&part(&scene, "/", "100-299")), "{fields}");
    }
    // But for a HEAD that tells of another one.
    let scene = Scene::new(|head, _| match head.method() {
        "HEAD" => Reply::Bytes(b"HTTP/1.1 200 OK\r\nETag: \"v2\"\r\nContent-Length: 1000\r\n\r\n".to_vec()),
        _ => ranged(head, "\"v1\"", &pattern(0, 1000)),
    });
    part(&scene, "/", "100-299");
    scene.ask("HEAD", "/", "");
    assert!(!is_hit(&part(&scene, "/", "100-299")));
    let scene = file(1000);
    part(&scene, "/", "100-299");
    assert_eq!(scene.get_with("/", "Cache-Control: only-if-cached").status(), 504);
    assert_eq!(scene.get_with("/", "Range: bytes=0-9|Cache-Control: only-if-cached").status(), 504);
    assert_eq!(scene.get_with("/", "Range: bytes=200-209|Cache-Control: only-if-cached").status(), 206);
}

#[test]
fn rule_35_parts_that_touch_become_the_whole() {
    for ranges in [
        &["0-399", "400-799", "800-999"][..],
        &["800-999", "400-799", "0-399"],
        &["300-599", "500-", "0-350"],
        &["0-999"],
        &["-1", "0-998"],
    ] {
        let scene = file(1000);
        for range in ranges {
            let answer = part(&scene, "/", range);
            assert_eq!((answer.status(), is_hit(&answer)), (206, false), "{ranges:?} {range}");
        }
        let count = scene.asked("/");
        let whole = scene.get("/");
        assert_eq!((whole.status(), is_hit(&whole)), (200, true), "{ranges:?} {whole:?}");
        assert!(whole.body.bytes == pattern(0, 1000) && !whole.head.has("content-range"), "{ranges:?}");
        assert_eq!(whole.head.get("content-type"), Some("text/odd"));
        assert!(whole.head.start.ends_with("200 OK"), "{whole:?}");
        assert_eq!(scene.ask("HEAD", "/", "").head.get("content-length"), Some("1000"));
        assert_eq!(part(&scene, "/", "-5").body.bytes, pattern(995, 5));
        assert_eq!(scene.asked("/"), count, "{ranges:?}");
        scene.at_rest();
    }
}

/// Parts are fetched in pieces as a player or a downloader does, and nothing is copied or lost.
#[test]
fn rule_35_a_large_file_in_many_parts() {
    let scene = file(3_000_000);
    for start in (0..3_000_000).step_by(100_000) {
        let answer = part(&scene, "/", &format!("{start}-{}", start + 99_999));
        assert!(answer.body.bytes == pattern(start, 100_000));
    }
    let whole = scene.get("/");
    assert!(is_hit(&whole) && whole.body.bytes == pattern(0, 3_000_000));
    let now = scene.at_rest();
    assert_eq!(now.get("cache_entries"), 1);
    // The last page of each part is not full.
    assert!((3_000_000..3_150_000).contains(&now.get("cache_bytes")), "{now:?}");
}

#[test]
fn rule_35_a_part_is_completed_with_what_is_missing() {
    for length in [1000, 1_000_000] {
        let (third, half) = (length / 3, length / 2);
        for (held, wanted, code, missing) in [
            (format!("0-{}", third - 1), None, 200, format!("bytes={third}-{}", length - 1)),
            (format!("{third}-"), None, 200, format!("bytes=0-{}", third - 1)),
            (format!("0-{}", half - 1), Some((third, length)), 206, format!("bytes={half}-{}", length - 1)),
            (
                format!("{third}-{}", half - 1),
                Some((third, half + 10)),
                206,
                format!("bytes={half}-{}", half + 9),
            ),
            (format!("{third}-{}", half - 1), Some((9, third + 1)), 206, format!("bytes=9-{}", third - 1)),
        ] {
            let scene = file(length);
            part(&scene, "/", &held);
            let range = wanted.map(|(start, end)| format!("Range: bytes={start}-{}", end - 1));
            let answer = scene.get_with("/", &range.clone().unwrap_or_default());
            assert_eq!(answer.status(), code, "{held} {range:?}: {answer:?}");
            let (start, end) = wanted.unwrap_or((0, length));
            assert!(answer.body.bytes == pattern(start as u64, end - start), "{held} {range:?}");
            assert_eq!(answer.head.get("content-length"), Some(&*(end - start).to_string()));
            assert_eq!(answer.head.get("content-type"), Some("text/odd"), "{answer:?}");
            let told = wanted.map(|_| format!("bytes {start}-{}/{length}", end - 1));
            assert_eq!(answer.head.get("content-range"), told.as_deref());
            assert!(status(&answer).starts_with("fwd=partial; fwd-status=206"), "{answer:?}");
            assert_eq!(last_range(&scene, "/"), (Some(missing), Some("\"v1\"".to_owned())), "{held}");
            // Both together are what is stored now.
            let again = scene.get_with("/", &range.unwrap_or_default());
            assert!(is_hit(&again) && again.body.bytes == pattern(start as u64, end - start), "{again:?}");
            assert_eq!(scene.asked("/"), 2, "{held}");
            scene.at_rest();
        }
    }
}

#[test]
fn rule_35_completing_takes_a_whole_new_one_and_does_not_believe_what_does_not_fit() {
    let odd = |fields: &str, body: &str| Reply::Bytes(response(206, fields, body));
    for (case, asked, body) in [
        // If-Range says that it is another one by now.
        ("changed", 2, "ABCDEFGHIJ"),
        ("ignores", 2, "0123456789"),
        // All of these are asked for once more, without our Range.
        ("other tag", 3, "0123456789"),
        ("weak tag", 3, "0123456789"),
        ("no tag", 3, "0123456789"),
        ("other length", 3, "0123456789"),
        ("other place", 3, "0123456789"),
        ("shorter", 3, "0123456789"),
        ("coded", 3, "0123456789"),
        ("multipart", 3, "0123456789"),
        ("no-store", 3, "0123456789"),
        ("chunked", 3, "0123456789"),
        ("lies", 3, "0123456789"),
        ("416", 3, "0123456789"),
        ("304", 3, "0123456789"),
    ] {
        let scene = Scene::new(move |head, number| {
            let fresh = "Cache-Control: max-age=60|ETag: \"v1\"";
            let right = format!("{fresh}|Content-Range: bytes 4-9/10");
            match (number, head.get("range"), case) {
                (0, ..) => ranged(head, "\"v1\"", b"0123456789"),
                (1, Some("bytes=4-9"), _) => match case {
                    "changed" => ranged(head, "\"v2\"", b"ABCDEFGHIJ"),
                    "ignores" => ok(fresh, "0123456789"),
                    "other tag" => odd(&right.replace("v1", "v2"), "EFGHIJ"),
                    "weak tag" => odd(&right.replace("\"v1", "W/\"v1"), "EFGHIJ"),
                    "no tag" => odd(&right.replace("|ETag: \"v1\"", ""), "EFGHIJ"),
                    "other length" => odd(&right.replace("/10", "/11"), "EFGHIJ"),
                    "other place" => odd(&right.replace("4-9", "3-8"), "EFGHIJ"),
                    "shorter" => odd(&right.replace("4-9", "4-8"), "EFGHI"),
                    "coded" => odd(&format!("{right}|Content-Encoding: br"), "EFGHIJ"),
                    "multipart" => odd(&format!("{right}|Content-Type: multipart/byteranges; boundary=x"), "EFGHIJ"),
                    "no-store" => odd(&right.replace("max-age=60", "no-store"), "456789"),
                    "chunked" => Reply::Bytes(
                        format!("HTTP/1.1 206 x\r\n{}\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nEFGH\r\n0\r\n\r\n", right.replace('|', "\r\n")).into_bytes(),
                    ),
                    "lies" => odd(&right, "EFGHIJKL"),
                    "416" => Reply::Bytes(response(416, "Content-Range: bytes */4", "")),
                    _ => Reply::Bytes(b"HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\n\r\n".to_vec()),
                },
                (_, None, _) => ok(fresh, "0123456789"),
                (_, Some(_), _) => panic!("the origin is asked for {:?} in {case}", head.get("range")),
            }
        });
        part(&scene, "/", "0-3");
        let answer = scene.get("/");
        assert_eq!((answer.status(), answer.text().as_str()), (200, body), "{case}: {answer:?}");
        assert_eq!((is_hit(&answer), scene.asked("/")), (false, asked), "{case}");
        let again = scene.get("/");
        assert_eq!((again.text().as_str(), is_hit(&again)), (body, true), "{case}: {again:?}");
        scene.at_rest();
    }
}

#[test]
fn rule_35_a_client_that_completes_notices_when_the_rest_does_not_come() {
    let scene = Scene::new(move |head, number| match number {
        0 | 2.. => ranged(head, "\"v1\"", &pattern(0, 100_000)),
        _ => {
            let head = "HTTP/1.1 206 Partial\r\nCache-Control: max-age=60\r\nETag: \"v1\"\r\n\
                        Content-Range: bytes 50000-99999/100000\r\nContent-Length: 50000\r\n\r\n";
            Reply::Last([head.as_bytes(), &pattern(50_000, 20_000)].concat())
        }
    });
    part(&scene, "/", "0-49999");
    let mut client = scene.weir.connect();
    client.send(scene.request("GET", "/", ""));
    let head = client.read_head();
    assert_eq!(head.get("content-length"), Some("100000"));
    assert!(client.read_exact(70_000) == pattern(0, 70_000));
    assert!(client.read_to_end().is_empty());
    // The received bytes are stored: only the rest is requested.
    let whole = scene.get("/");
    assert!(whole.body.bytes == pattern(0, 100_000));
    assert_eq!(last_range(&scene, "/").0.as_deref(), Some("bytes=70000-99999"));
    scene.at_rest();
}

#[test]
fn rules_35_and_48_all_who_want_the_whole_of_a_part_share_what_completes_it() {
    let gate = Gate::default();
    let script_gate = gate.clone();
    let body = pattern(0, 400_000);
    let scene = Scene::new(move |head, number| match (number, ranged(head, "\"v1\"", &body)) {
        (0, reply) => reply,
        (_, Reply::Bytes(bytes)) => {
            let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
            let (head, rest) = bytes.split_at(end);
            let pieces = rest.chunks(100_000).map(<[u8]>::to_vec).collect();
            Reply::Slowly(head.to_vec(), pieces, script_gate.clone())
        }
        (_, other) => other,
    });
    for (held, missing) in [("0-99999", "bytes=100000-399999"), ("300000-", "bytes=0-299999")] {
        let path = format!("/{held}");
        part(&scene, &path, held);
        let mut clients: Vec<Raw> = Vec::new();
        for number in 0..6 {
            let mut client = scene.weir.connect();
            client.send(scene.request("GET", &path, ""));
            if number == 0 {
                scene.wait_asked(&path, 2);
            }
            clients.push(client);
        }
        let heads: Vec<Head> = clients.iter_mut().map(Raw::read_head).collect();
        gate.open(3);
        for (client, head) in clients.iter_mut().zip(&heads) {
            assert_eq!((head.status(), head.get("content-length")), (200, Some("400000")));
            assert!(client.read_exact(400_000) == pattern(0, 400_000), "{held}");
        }
        assert_eq!((scene.asked(&path), last_range(&scene, &path).0.as_deref()), (2, Some(missing)));
        assert!(is_hit(&scene.get(&path)));
    }
    scene.at_rest();
}

#[test]
fn rule_35_a_truncated_whole_with_a_strong_tag_is_a_part() {
    let scene = Scene::new(|head, number| {
        match (head.target(), number) {
        ("/strong", 0) => Reply::Last(
            b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nETag: \"v1\"\r\nContent-Length: 10\r\n\r\n01234".to_vec(),
        ),
        ("/weak", 0) => Reply::Last(
            b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nETag: W/\"v1\"\r\nContent-Length: 10\r\n\r\n01234".to_vec(),
        ),
        ("/chunks", 0) => Reply::Last(
            b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nETag: \"v1\"\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n"
                .to_vec(),
        ),
        _ => ranged(head, "\"v1\"", b"0123456789"),
    }
    });
    for (path, range) in [("/strong", Some("bytes=5-9")), ("/weak", None), ("/chunks", None)] {
        let mut client = scene.weir.connect();
        client.send(scene.request("GET", path, ""));
        assert!(client.try_read_response("GET").is_err(), "{path}: the client must notice");
        scene.at_rest();
        assert_eq!(scene.get(path).text(), "0123456789", "{path}");
        assert_eq!(last_range(&scene, path).0.as_deref(), range, "{path}");
        assert!(is_hit(&scene.get(path)), "{path}");
    }
}

/// Fields of one client do not change the response of another one.
#[test]
fn rule_35_range_games() {
    let body = "0123456789";
    // An answer to If-Range may leave out what the client knows: alone it is not stored.
    let scene = Scene::new(move |head, _| ranged(head, "\"v1\"", body.as_bytes()));
    scene.get_with("/", "Range: bytes=0-4|If-Range: \"v1\"");
    assert_eq!(scene.asked("/"), 1);
    assert_eq!(scene.get_with("/", "Range: bytes=0-4").head.get("content-type"), Some("text/odd"));
    assert_eq!(scene.asked("/"), 2);
    // Beside a part it is.
    scene.get_with("/", "Range: bytes=5-9|If-Range: \"v1\"");
    let whole = scene.get("/");
    assert_eq!(
        (whole.text().as_str(), whole.head.get("content-type"), is_hit(&whole)),
        (body, Some("text/odd"), true)
    );
    // None of these is stored, so that none of them serves or completes anything.
    for fields in [
        "ETag: \"a\"|Content-Range: bytes 0-2/*",
        "ETag: \"a\"|Content-Range: bytes 0-3/10",
        "ETag: \"a\"|Content-Range: bytes 0-2/2",
        "ETag: \"a\"|Content-Range: bytes 2-0/10",
        "ETag: \"a\"|Content-Range: bytes 0-2/10|Content-Range: bytes 0-2/10",
        "ETag: \"a\"|Content-Range: bytes 0-2/10|Content-Type: multipart/byteranges; boundary=b",
        "ETag: \"a\"|Content-Range: bytes 0-18446744073709551615/18446744073709551615",
        "ETag: \"a\"",
    ] {
        let scene = Scene::new(move |head, _| match head.has("range") {
            true => Reply::Bytes(response(206, &format!("Cache-Control: max-age=60|{fields}"), "bad")),
            false => ok("Cache-Control: max-age=60|ETag: \"a\"", body),
        });
        for count in 1..=2 {
            part(&scene, "/", "0-2");
            assert_eq!(scene.asked("/"), count, "{fields}");
        }
        assert_eq!(scene.at_rest().get("cache_entries"), 0, "{fields}");
        assert_eq!(scene.get("/").text(), body, "{fields}");
        assert_eq!(last_range(&scene, "/").0, None, "{fields}");
    }
    // A length in chunks that is not what Content-Range says.
    let scene = Scene::new(move |head, _| match head.has("range") {
        true => Reply::Bytes(
            b"HTTP/1.1 206 x\r\nCache-Control: max-age=60\r\nETag: \"a\"\r\nContent-Range: bytes 0-4/10\r\n\
              Transfer-Encoding: chunked\r\n\r\n3\r\nbad\r\n0\r\n\r\n"
                .to_vec(),
        ),
        false => ok("Cache-Control: max-age=60|ETag: \"a\"", body),
    });
    part(&scene, "/", "0-4");
    assert_eq!((scene.at_rest().get("cache_entries"), scene.get("/").text().as_str()), (0, body));
    // A part of another version takes the place of the old one, and a whole one is not given up for a part.
    let scene = Scene::new(move |head, number| match number {
        0 => ranged(head, "\"v1\"", b"0123456789"),
        _ => ranged(head, "\"v2\"", b"ABCDEFGHIJ"),
    });
    part(&scene, "/", "0-4");
    part(&scene, "/", "5-9");
    let whole = scene.get("/");
    assert_eq!((whole.text().as_str(), scene.asked("/")), ("ABCDEFGHIJ", 3));
    scene.get_with("/", "Range: bytes=0-1|Cache-Control: no-store");
    assert_eq!(scene.get("/").text(), "ABCDEFGHIJ");
}

/// Parts of private things are as private as the whole.
#[test]
fn rule_35_parts_of_different_users_are_kept_apart() {
    let scene = Scene::new(|head, _| {
        let user = head.get("authorization").or(head.get("x-user")).unwrap_or("nobody....");
        let range = if head.get("range") == Some("bytes=0-4") { (0, 5) } else { (5, 10) };
        let place = format!("Content-Range: bytes {}-{}/10", range.0, range.1 - 1);
        let fields = format!("Cache-Control: max-age=60|Vary: X-User|ETag: \"same\"|{place}");
        match head.has("range") {
            true => Reply::Bytes(response(206, &fields, &user[range.0..range.1])),
            false => ok("Cache-Control: max-age=60|Vary: X-User|ETag: \"same\"", user),
        }
    });
    scene.get_with("/", "Range: bytes=0-4|Authorization: Basic YTpi");
    assert_eq!(scene.at_rest().get("cache_entries"), 0);
    scene.get_with("/", "Range: bytes=0-4|X-User: anna......");
    scene.get_with("/", "Range: bytes=5-9|X-User: berta.....");
    for user in ["anna......", "berta....."] {
        let answer = scene.get_with("/", &format!("X-User: {user}"));
        assert_eq!(answer.text(), user);
    }
}

/// A part that is stale is asked for again as the client asked for it, and stands in for an origin that fails.
#[test]
fn rules_23_25_and_35_stale_parts() {
    for (case, code, body) in [
        ("renewed", 206, "123"),
        ("changed", 206, "BCD"),
        ("error", 206, "123"),
        ("gone", 206, "123"),
        ("forbidden", 502, ""),
    ] {
        let scene = Scene::new(move |head, number| {
            let must = if case == "forbidden" { ", must-revalidate" } else { "" };
            let old = format!("Cache-Control: max-age=1, stale-if-error=600{must}|Age: 5|ETag: \"v1\"");
            match (number, case) {
                (0, _) => Reply::Bytes(response(206, &format!("{old}|Content-Range: bytes 0-4/10"), "01234")),
                (1, "renewed") => ranged(head, "\"v1\"", b"0123456789"),
                (_, "changed") => ranged(head, "\"v2\"", b"ABCDEFGHIJ"),
                (1, "error") => Reply::Bytes(response(503, "", "")),
                // Once more, because the connection was used before.
                (1 | 2, "gone" | "forbidden") => Reply::Last(Vec::new()),
                _ => ranged(head, "\"v1\"", b"0123456789"),
            }
        });
        part(&scene, "/", "0-4");
        let answer = part(&scene, "/", "1-3");
        assert_eq!(answer.status(), code, "{case}: {answer:?}");
        assert!(code != 206 || (answer.text() == body && !is_hit(&answer)), "{case}: {answer:?}");
        assert_eq!(last_range(&scene, "/"), (Some("bytes=1-3".to_owned()), None), "{case}");
        // The missing range confirms the stored part.
        let whole = scene.get("/");
        let expected = if case == "changed" { "ABCDEFGHIJ" } else { "0123456789" };
        assert_eq!((whole.status(), whole.text().as_str()), (200, expected), "{case}");
        let missing = (case != "changed").then(|| "bytes=5-9".to_owned());
        assert_eq!(last_range(&scene, "/").0, missing, "{case}");
        assert!(is_hit(&scene.get("/")), "{case}");
        scene.at_rest();
    }
}

/// A request for the rest of one user's variant does not share it with others, even if the origin forgets Vary.
#[test]
fn rule_35_a_part_of_a_variant_stays_one() {
    let scene = Scene::new(|head, _| {
        let user = head.get("x-user").unwrap_or("nobody....").as_bytes();
        let Reply::Bytes(bytes) = ranged(head, &format!("\"{}\"", user[0]), user) else { panic!("bytes") };
        let text = String::from_utf8(bytes).expect("text");
        match head.has("if-range") {
            true => Reply::Bytes(text.into_bytes()),
            false => Reply::Bytes(text.replacen("\r\n", "\r\nVary: X-User\r\n", 1).into_bytes()),
        }
    });
    for (path, wanted) in [("/whole", ""), ("/range", "Range: bytes=2-9|")] {
        scene.get_with(path, "Range: bytes=0-4|X-User: anna......");
        let answer = scene.get_with(path, &format!("{wanted}X-User: anna......"));
        assert_eq!((status(&answer).contains("fwd=partial"), scene.asked(path)), (true, 2), "{answer:?}");
        for others in ["", "Range: bytes=5-9|", "X-User: berta.....|", "Range: bytes=6-8|X-User: berta.....|"]
        {
            let answer = scene.get_with(path, &format!("{others}Cache-Control: only-if-cached"));
            assert_eq!(answer.status(), 504, "{path} {others}");
        }
        let own = scene.get_with(path, "X-User: anna......");
        assert_eq!(
            (own.text().as_str(), is_hit(&own), own.head.get("vary")),
            ("anna......", true, Some("X-User"))
        );
    }
}

/// Growing a part a byte at a time costs no more memory than one entry may take.
#[test]
fn rule_35_what_overlaps_is_bounded() {
    let scene = Scene::with(&["--cache-size", "4M", "--cache-max-object", "1M"], |head, _| {
        ranged(head, "\"v1\"", &pattern(0, 2_000_000))
    });
    for start in 0..40 {
        part(&scene, "/", &format!("{start}-{}", start + 300_000));
        let now = scene.weir.statistics();
        assert!(now.get("cache_bytes") < 1_500_000, "{now:?}");
    }
    // A file that is larger than an entry may be passes through, its part and all.
    let whole = scene.get("/");
    assert!(whole.body.bytes == pattern(0, 2_000_000));
    eventually("what is left fits", || {
        (scene.weir.statistics().get("cache_bytes") < 1_500_000).then_some(())
    });
    scene.at_rest();
}

/// A slow client that completes a large part holds its own window only.
#[test]
fn rule_35_a_slow_client_that_completes_gets_everything() {
    let scene = Scene::with(&["--cache-size", "4M", "--cache-max-object", "500K"], |head, _| {
        ranged(head, "\"v1\"", &pattern(0, 9_000_000))
    });
    for held in ["0-99999", "8900000-"] {
        let path = format!("/{held}");
        part(&scene, &path, held);
        let mut slow = Raw::connect_small(scene.weir.address());
        slow.send(scene.request("GET", &path, ""));
        let head = slow.read_head();
        assert_eq!(slow.hash_body(&head).0, common::Hash::of_pattern(9_000_000), "{held}");
        assert_eq!(scene.asked(&path), 2);
    }
    scene.at_rest();
}

/// A condition that held for the stored part may fail for the rest: the client still gets the requested range.
#[test]
fn rule_35_what_completes_a_part_cannot_change_how_much_is_sent() {
    let (early, late, today) =
        ("Sun, 06 Nov 1994 08:49:37 GMT", "Mon, 07 Nov 1994 08:49:37 GMT", "Fri, 01 Jan 2100 00:00:00 GMT");
    let text = "0123456789";
    let fresh = "Cache-Control: max-age=60|ETag: \"v1\"";
    for (held, wanted, missing, changed) in [
        ((0, 3), (2, 5), (4, 5), format!("Last-Modified: {late}|Date: {today}")),
        ((0, 3), (2, 5), (4, 5), format!("Last-Modified: {early}|Date: {early}")),
        ((4, 9), (2, 5), (2, 3), format!("Last-Modified: {late}|Date: {today}")),
    ] {
        let context = format!("{held:?} {wanted:?} {changed}");
        let scene = Scene::new(move |head, _| {
            let part = |(first, last): (usize, usize), more: &str| {
                let fields = format!("{fresh}|{more}|Content-Range: bytes {first}-{last}/10");
                Reply::Bytes(response(206, &fields, &text[first..=last]))
            };
            match asked(head, 10) {
                Some((first, end)) if (first, end - 1) == held => {
                    part(held, &format!("Last-Modified: {early}|Date: {today}"))
                }
                Some((first, end)) => part((first, end - 1), &changed),
                None => ok(fresh, text),
            }
        });
        part(&scene, "/", &format!("{}-{}", held.0, held.1));
        let fields = format!("Range: bytes={}-{}|If-Range: {early}", wanted.0, wanted.1);
        let answer = scene.get_with("/", &fields);
        let missing = format!("bytes={}-{}", missing.0, missing.1);
        assert!(scene.origin.heads().iter().any(|head| head.get("range") == Some(&missing)), "{context}");
        match answer.status() {
            206 => assert_eq!(answer.text(), text[wanted.0..=wanted.1], "{context}"),
            code => assert_eq!((code, answer.text().as_str()), (200, text), "{context}"),
        }
        scene.at_rest();
    }
}

/// Responses to credentials are usually not shared: one of them does not remove the shared part.
#[test]
fn rule_35_credentials_complete_no_part() {
    let scene = file(1000);
    part(&scene, "/", "0-399");
    for fields in ["Authorization: Basic YTpi", "Authorization: Basic YTpi|Range: bytes=300-499"] {
        let before = scene.asked("/");
        let answer = scene.get_with("/", fields);
        let whole = answer.status() == 200;
        let expected = if whole { pattern(0, 1000) } else { pattern(300, 200) };
        assert!(answer.body.bytes == expected && !is_hit(&answer), "{fields}: {answer:?}");
        assert_eq!(scene.asked("/"), before + 1, "{fields}");
        assert!(is_hit(&part(&scene, "/", "0-399")), "{fields}");
    }
}
