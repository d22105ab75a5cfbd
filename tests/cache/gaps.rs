//! Rule 35: parts with gaps between them, stored, served and completed (RFC 9110 section 15.3.7, RFC 9111 section 3.4).

use super::common::{Hash, Head, Raw, Response, pattern};
use super::parts::{asked, file, last_range, part, ranged};
use super::scene::{Gate, Reply, Scene, is_hit, ok, response, status};

/// A player reads the beginning of a film, then its index at the end, then from where it was left; and once more.
#[test]
fn rule_35_a_player_is_served_from_memory_the_second_time() {
    let scene = file(5_000_000);
    let reads = [
        ("0-4095", 0, 4096),
        ("-100000", 4_900_000, 100_000),
        ("2000000-2299999", 2_000_000, 300_000),
        ("2300000-2599999", 2_300_000, 300_000),
        ("1000000-1000000", 1_000_000, 1),
    ];
    for second in [false, true] {
        for (range, from, len) in reads {
            let answer = part(&scene, "/", range);
            assert_eq!((answer.status(), is_hit(&answer)), (206, second), "{range}: {:?}", answer.head);
            assert!(answer.body.bytes == pattern(from, len), "{range}");
            let told = format!("bytes {from}-{}/5000000", from as usize + len - 1);
            assert_eq!(answer.head.get("content-range"), Some(&*told));
        }
        assert_eq!(scene.asked("/"), reads.len());
    }
    // Inside of each, from the end, and across what was put together.
    for (range, from, len) in [
        ("4000-4095", 4000, 96),
        ("-1", 4_999_999, 1),
        ("4999990-", 4_999_990, 10),
        ("4999990-6000000", 4_999_990, 10),
        ("2299999-2300000", 2_299_999, 2),
    ] {
        let answer = part(&scene, "/", range);
        assert!(is_hit(&answer) && answer.body.bytes == pattern(from, len), "{range}: {:?}", answer.head);
    }
    let conditional = scene.get_with("/", "Range: bytes=-5|If-None-Match: \"v1\"");
    assert_eq!((conditional.status(), is_hit(&conditional)), (304, true));
    let now = scene.at_rest();
    assert_eq!((now.get("cache_entries"), now.get("cache_parts_dropped")), (1, 0));
    // A byte before and behind each is not there.
    for range in ["0-4096", "4899999-", "-100001", "1999999-1999999", "2600000-2600000", "999999-1000001"] {
        let answer = scene.get_with("/", &format!("Range: bytes={range}|Cache-Control: only-if-cached"));
        assert_eq!(answer.status(), 504, "{range}");
    }
    // The whole takes what is between the beginning and the end, and is stored.
    let whole = scene.get("/");
    assert!(whole.status() == 200 && whole.body.bytes == pattern(0, 5_000_000));
    let missing = Some("bytes=4096-4899999".to_owned());
    assert_eq!(last_range(&scene, "/"), (missing, Some("\"v1\"".to_owned())));
    let again = scene.get("/");
    assert!(is_hit(&again) && again.body.bytes == pattern(0, 5_000_000));
    scene.at_rest();
}

/// The stored ranges, the requested range, and the range that the origin is asked for: none for a hit, and the
/// requested one where the stored ones are of no use.
#[test]
fn rule_35_gaps_are_completed_from_both_sides() {
    let all = [0, 1000];
    for scale in [1, 1000] {
        for (held, wanted, missing) in [
            (&[[0, 100], [900, 1000]][..], all, Some([100, 900])),
            (&[[900, 1000], [0, 100]], all, Some([100, 900])),
            (&[[0, 100], [400, 500], [900, 1000]], all, Some([100, 900])),
            (&[[0, 100], [400, 500]], all, Some([100, 1000])),
            (&[[100, 200], [900, 1000]], all, Some([0, 900])),
            (&[[100, 200], [300, 400]], all, None),
            (&[[100, 200], [300, 400]], [100, 400], Some([200, 300])),
            (&[[100, 200], [300, 400]], [150, 310], Some([200, 300])),
            (&[[100, 200], [300, 400]], [150, 300], Some([200, 300])),
            (&[[100, 200], [300, 400]], [150, 500], Some([200, 500])),
            (&[[100, 200], [300, 400]], [50, 350], Some([50, 300])),
            (&[[100, 200], [300, 400], [500, 600]], [199, 501], Some([200, 500])),
            (&[[100, 200], [300, 400]], [50, 450], None),
            (&[[100, 200], [300, 400]], [200, 300], None),
        ] {
            let length = 1000 * scale;
            let text = |[start, end]: [usize; 2]| format!("{}-{}", start * scale, end * scale - 1);
            let scene = file(length);
            for range in held {
                part(&scene, "/", &text(*range));
            }
            let range = format!("Range: bytes={}", text(wanted));
            let range = if wanted == all { "" } else { &range };
            let answer = scene.get_with("/", range);
            let context = format!("{held:?} {wanted:?}: {:?}", answer.head);
            let expected = pattern((wanted[0] * scale) as u64, (wanted[1] - wanted[0]) * scale);
            assert!(answer.body.bytes == expected, "{context}");
            assert_eq!(answer.status(), if wanted == all { 200 } else { 206 }, "{context}");
            assert_eq!(answer.head.get("content-type"), Some("text/odd"), "{context}");
            let asked = missing.map(text).or((wanted != all).then(|| text(wanted)));
            let tag = missing.map(|_| "\"v1\"".to_owned());
            assert_eq!(
                last_range(&scene, "/"),
                (asked.map(|asked| format!("bytes={asked}")), tag),
                "{context}"
            );
            let completes = status(&answer).starts_with("fwd=partial; fwd-status=206");
            assert_eq!(
                (completes, status(&answer).contains("; stored")),
                (missing.is_some(), true),
                "{context}"
            );
            let again = scene.get_with("/", range);
            assert!(is_hit(&again) && again.body.bytes == expected, "{context}");
            // The earlier parts are still stored.
            for range in held {
                let kept = part(&scene, "/", &text(*range));
                let expected = pattern((range[0] * scale) as u64, (range[1] - range[0]) * scale);
                assert!(is_hit(&kept) && kept.body.bytes == expected, "{context}");
            }
            assert_eq!(scene.asked("/"), held.len() + 1, "{context}");
            scene.at_rest();
        }
    }
}

/// An origin that sends the first answers at once, and of those that complete them the body through a gate.
fn slowly(length: usize, at_once: usize, gate: &Gate) -> Scene {
    let gate = gate.clone();
    let body = pattern(0, length);
    Scene::with(&["--cache-size", "2M"], move |head, number| {
        if head.target().starts_with("/other") {
            return ok("Cache-Control: max-age=60", &"o".repeat(200_000));
        }
        match ranged(head, "\"v1\"", &body) {
            Reply::Bytes(bytes) if number >= at_once && head.method() == "GET" => {
                let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
                let (head, rest) = bytes.split_at(end);
                let pieces = rest.chunks(rest.len().div_ceil(4)).map(<[u8]>::to_vec).collect();
                Reply::Slowly(head.to_vec(), pieces, gate.clone())
            }
            other => other,
        }
    })
}

#[test]
fn rules_35_and_48_all_who_want_the_whole_share_what_fills_the_gap() {
    let gate = Gate::default();
    let scene = slowly(200_000, 2, &gate);
    part(&scene, "/", "0-49999");
    part(&scene, "/", "150000-");
    let mut clients: Vec<Raw> = Vec::new();
    for number in 0..6 {
        let mut client = scene.weir.connect();
        client.send(scene.request("GET", "/", ""));
        if number == 0 {
            scene.wait_asked("/", 3);
        }
        clients.push(client);
    }
    let heads: Vec<Head> = clients.iter_mut().map(Raw::read_head).collect();
    for client in &mut clients {
        assert!(client.read_exact(50_000) == pattern(0, 50_000));
    }
    gate.open(4);
    for (client, head) in clients.iter_mut().zip(&heads) {
        assert_eq!((head.status(), head.get("content-length")), (200, Some("200000")));
        assert!(client.read_exact(150_000) == pattern(50_000, 150_000));
    }
    assert_eq!(last_range(&scene, "/").0.as_deref(), Some("bytes=50000-149999"));
    assert!(is_hit(&scene.get("/")));
    assert_eq!(scene.asked("/"), 3);
    scene.at_rest();
}

/// A response that is being sent stays complete, even if its entry leaves the store.
#[test]
fn rules_35_and_46_parts_that_leave_while_they_are_completed() {
    for evicted in [true, false] {
        let gate = Gate::default();
        let scene = slowly(200_000, 2, &gate);
        part(&scene, "/", "0-49999");
        part(&scene, "/", "150000-");
        let mut client = scene.weir.connect();
        client.send(scene.request("GET", "/", ""));
        let head = client.read_head();
        scene.wait_asked("/", 3);
        if evicted {
            for number in 0..12 {
                scene.get(&format!("/other?{number}"));
            }
        } else {
            scene.ask("DELETE", "/", "");
        }
        let there = |range: &str| {
            let fields = format!("Range: bytes={range}|Cache-Control: only-if-cached");
            scene.get_with("/", &fields).status() == 206
        };
        assert!(!there("0-9") && !there("150000-150009"));
        gate.open(8);
        assert_eq!(head.get("content-length"), Some("200000"));
        assert_eq!(client.hash_body(&head).0, Hash::of_pattern(200_000));
        scene.at_rest();
        // The received bytes are stored by themselves, unless they were requested before the invalidation.
        assert_eq!([there("50000-149999"), there("0-9"), there("150000-")], [evicted, false, false]);
    }
}

#[test]
fn rule_35_a_client_notices_when_a_gap_is_not_filled() {
    let scene = Scene::new(move |head, number| match number {
        2 => {
            let head = "HTTP/1.1 206 Partial\r\nCache-Control: max-age=60\r\nETag: \"v1\"\r\n\
                        Content-Range: bytes 30000-79999/100000\r\nContent-Length: 50000\r\n\r\n";
            Reply::Last([head.as_bytes(), &pattern(30_000, 20_000)].concat())
        }
        _ => ranged(head, "\"v1\"", &pattern(0, 100_000)),
    });
    part(&scene, "/", "0-29999");
    part(&scene, "/", "80000-");
    let mut client = scene.weir.connect();
    client.send(scene.request("GET", "/", ""));
    assert_eq!(client.read_head().get("content-length"), Some("100000"));
    assert!(client.read_exact(50_000) == pattern(0, 50_000));
    assert!(client.read_to_end().is_empty(), "nothing of what lies behind the gap");
    let whole = scene.get("/");
    assert!(whole.body.bytes == pattern(0, 100_000));
    assert_eq!(last_range(&scene, "/").0.as_deref(), Some("bytes=50000-79999"));
    scene.at_rest();
}

/// Any number of single bytes: memory is bounded, and no longer part is dropped for them.
#[test]
fn rule_35_many_tiny_parts_are_bounded() {
    let scene = file(100_000);
    part(&scene, "/", "50000-59999");
    let before = scene.weir.statistics().get("cache_bytes");
    for index in 0..200 {
        part(&scene, "/", &format!("{0}-{0}", 2 * index));
    }
    let now = scene.at_rest();
    assert_eq!((now.get("cache_entries"), now.get("cache_parts_dropped")), (1, 200 + 1 - 64));
    assert!(now.get("cache_bytes") < before + 20_000, "{now:?}");
    assert!(is_hit(&part(&scene, "/", "50000-59999")));
    // Of those that are as short the new one stays, and what joins two is always welcome.
    assert!(is_hit(&part(&scene, "/", "398-398")) && !is_hit(&part(&scene, "/", "397-397")));
    assert!(is_hit(&part(&scene, "/", "396-398")));
    assert_eq!(scene.at_rest().get("cache_parts_dropped"), 200 + 1 - 64);
    let whole = scene.get("/");
    assert!(whole.body.bytes == pattern(0, 100_000));
    scene.at_rest();
}

/// The bound of an entry applies to all its parts together.
#[test]
fn rule_46_parts_share_what_one_entry_may_take() {
    let scene = Scene::with(&["--cache-size", "4M", "--cache-max-object", "300K"], |head, _| {
        ranged(head, "\"v1\"", &pattern(0, 2_000_000))
    });
    for (range, dropped) in [
        ("0-99999", 0),
        ("500000-619999", 0),
        // All three would be too much: the first is the shortest.
        ("1000000-1149999", 1),
        ("1149000-1150999", 1),
        ("300000-319999", 1),
        ("100-199", 1),
        // The new one is too much, and shorter than what would have to leave for it.
        ("1500000-1549999", 2),
    ] {
        part(&scene, "/", range);
        let now = scene.at_rest();
        assert_eq!((now.get("cache_entries"), now.get("cache_parts_dropped")), (1, dropped), "{range}");
        assert!(now.get("cache_bytes") < 300 * 1024 + 200_000, "{now:?}");
    }
    for range in ["100-199", "300000-319999", "500000-619999", "1000000-1150999"] {
        assert!(is_hit(&part(&scene, "/", range)), "{range}");
    }
}

/// An origin that lies about what is the same: what fits is taken, what does not takes the place of the old.
#[test]
fn rule_35_lying_origins() {
    // Other bytes under the same tag: each byte is one of those that came for it.
    let scene = Scene::new(|head, _| match asked(head, 10) {
        Some((start, end)) => {
            let letter = if start % 2 == 0 { "A" } else { "b" };
            let range = format!("Content-Range: bytes {start}-{}/10", end - 1);
            let fields = format!("ETag: \"v1\"|Cache-Control: max-age=60|{range}");
            Reply::Bytes(response(206, &fields, &letter.repeat(end - start)))
        }
        None => panic!("the whole was there"),
    });
    for range in ["0-2", "7-9", "1-4", "6-8"] {
        // With a condition of its own that is answered with all of it, whatever is there.
        scene.get_with("/", &format!("Range: bytes={range}|If-None-Match: \"x\""));
    }
    for (range, expected) in [("0-4", "AAAbb"), ("6-9", "AAAb"), ("1-4", "AAbb")] {
        let answer = part(&scene, "/", range);
        assert!(is_hit(&answer) && answer.text() == expected, "{range}: {answer:?}");
    }
    let whole = scene.get("/");
    assert_eq!((whole.text().as_str(), whole.status()), ("AAAbbbAAAb", 200));
    // Another length under the same tag, or a place beyond it.
    for (fields, dropped) in [
        ("Content-Range: bytes 6-8/11", 2),
        ("Content-Range: bytes 6-8/9", 2),
        ("Content-Range: bytes 6-8/8", 0),
        ("Content-Range: bytes 9-11/10", 0),
        ("Content-Range: bytes 6-9/10", 0),
        ("Content-Range: bytes 6-8/*", 0),
    ] {
        let scene = Scene::new(move |head, number| match number {
            2 => {
                let fields = format!("ETag: \"v1\"|Cache-Control: max-age=60|{fields}");
                Reply::Bytes(response(206, &fields, "bad"))
            }
            _ => ranged(head, "\"v1\"", b"0123456789"),
        });
        for range in ["0-1", "4-5", "6-8"] {
            part(&scene, "/", range);
        }
        let stays = dropped == 0;
        assert_eq!(scene.at_rest().get("cache_parts_dropped"), dropped, "{fields}");
        for range in ["0-1", "4-5"] {
            let range = format!("Range: bytes={range}|Cache-Control: only-if-cached");
            assert_eq!(scene.get_with("/", &range).status(), if stays { 206 } else { 504 }, "{fields}");
        }
    }
}

/// Each variant has parts of its own.
#[test]
fn rules_27_and_35_variants_have_their_own_parts() {
    let scene = Scene::new(|head, _| {
        let user = head.get("x-user").unwrap_or("nobody....").as_bytes();
        let Reply::Bytes(bytes) = ranged(head, "\"same\"", user) else { panic!("bytes") };
        let text = String::from_utf8(bytes).expect("text");
        Reply::Bytes(text.replacen("\r\n", "\r\nVary: X-User\r\n", 1).into_bytes())
    });
    let ask = |range: &str, user: &str| scene.get_with("/", &format!("Range: bytes={range}|X-User: {user}"));
    for (user, range) in
        [("anna......", "0-1"), ("berta.....", "8-9"), ("anna......", "6-7"), ("berta.....", "3-4")]
    {
        ask(range, user);
    }
    let count = scene.asked("/");
    assert_eq!(
        (ask("0-1", "anna......").text(), ask("6-7", "anna......").text()),
        ("an".into(), "..".into())
    );
    assert_eq!(
        (ask("3-4", "berta.....").text(), ask("8-9", "berta.....").text()),
        ("ta".into(), "..".into())
    );
    assert_eq!(scene.asked("/"), count);
    for (user, range) in
        [("anna......", "8-9"), ("anna......", "3-4"), ("berta.....", "0-1"), ("nobody....", "0-1")]
    {
        assert_eq!(ask(&format!("{range}|Cache-Control: only-if-cached"), user).status(), 504);
    }
    for user in ["anna......", "berta.....", "nobody...."] {
        assert_eq!(scene.get_with("/", &format!("X-User: {user}")).text(), user);
    }
}

/// The response to credentials becomes a part only if the origin allows it.
#[test]
fn rules_22_and_35_parts_that_answer_credentials() {
    for (directives, shared) in [("max-age=60", false), ("max-age=60, public", true)] {
        let scene = Scene::new(move |head, _| {
            let Reply::Bytes(bytes) = ranged(head, "\"v1\"", b"0123456789") else { panic!("bytes") };
            let text = String::from_utf8(bytes).expect("text");
            Reply::Bytes(text.replace("max-age=60", directives).into_bytes())
        });
        part(&scene, "/", "0-1");
        scene.get_with("/", "Range: bytes=8-9|Authorization: Basic YTpi");
        for (range, there) in [("0-1", true), ("8-9", shared)] {
            let answer = scene.get_with("/", &format!("Range: bytes={range}|Cache-Control: only-if-cached"));
            assert_eq!(answer.status(), if there { 206 } else { 504 }, "{directives} {range}");
        }
    }
}

/// Questions that parts do not answer go to the origin as they are, and parts stay what they are.
#[test]
fn rule_35_other_questions_pass_parts_by() {
    for (fields, code, body) in [
        ("Range: bytes=0-0|If-Range: \"v0\"", 200, "0123456789"),
        ("Range: bytes=0-0|If-Range: W/\"v1\"", 200, "0123456789"),
        ("Range: bytes=0-1,8-9", 200, "0123456789"),
        ("Range: bytes=0-1, 20-30", 200, "0123456789"),
        ("Range: bytes=-0", 416, ""),
        ("Range: lines=0-1", 200, "0123456789"),
    ] {
        let scene = Scene::new(|head, _| match asked(head, 10) {
            _ if head.get("range") == Some("bytes=-0") => {
                Reply::Bytes(response(416, "Content-Range: bytes */10", ""))
            }
            _ => ranged(head, "\"v1\"", b"0123456789"),
        });
        for range in ["0-1", "8-9"] {
            part(&scene, "/", range);
        }
        let answer: Response = scene.get_with("/", fields);
        assert_eq!(
            (answer.status(), answer.text().as_str(), is_hit(&answer)),
            (code, body, false),
            "{fields}"
        );
        assert_eq!(scene.asked("/"), 3, "{fields}");
        for range in ["0-1", "8-9"] {
            assert!(is_hit(&part(&scene, "/", range)), "{fields}");
        }
    }
}
