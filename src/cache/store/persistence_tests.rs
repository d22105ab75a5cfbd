use super::*;
use crate::cache::body::Body;
use crate::cache::rfc::range::{Fragment, Part};
use crate::cache::store::{Found, Limits};
use std::net::Ipv4Addr;

const NOW_S: u64 = 1_795_305_600;

fn at(monotonic_s: u64, unix_s: u64) -> Now {
    Now { monotonic_us: monotonic_s * 1_000_000, unix_us: unix_s * 1_000_000, ..Now::default() }
}

fn store() -> Store {
    Store::new(Limits::with_budget(1 << 20, [1, 2]))
}

fn head(key: &[u8]) -> Head<'_> {
    Head {
        key,
        names: b"accept",
        selecting: b"l*/*\n",
        reason: b"Fine",
        block: b"Date: Sat, 21 Nov 2026 10:00:00 GMT\r\nSet-Cookie: a=b\r\n",
        status: 299,
        version: Version::Http10,
        terms: Terms {
            received_s: NOW_S,
            initial_age_s: 7,
            lifetime_s: SECONDS_MAX,
            while_revalidate_s: 9,
            if_error_s: Some(0),
            no_cache: false,
            forbids_stale: true,
            explicit: true,
        },
        received_us: 1_000_000,
        address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        rules_edition: 0,
        set_cookie: true,
        fragment: None,
    }
}

/// Entries of parts are loaded as entries of parts: large and small ones, one part and many.
#[test]
fn rule_35_parts_are_saved_and_loaded() {
    let bytes = pattern(300_000);
    let large = || Store::new(Limits::with_budget(8 << 20, [1, 2]));
    let (first, second) = (large(), large());
    let parted = |key| Head { status: 200, ..head(key) };
    for (key, ranges) in [
        (&b"http://a/one"[..], &[(2, 5)][..]),
        (b"http://a/three", &[(0, 3), (100, 140), (299_999, 300_000)]),
        (b"http://a/large", &[(5, 100_000), (200_000, 290_000)]),
        (b"http://a/whole", &[(0, 100_000), (200_000, 300_000), (50_000, 250_000)]),
    ] {
        for &(start, end) in ranges {
            let part = Part { start: start as u64, len: (end - start) as u64 };
            let head = Head { fragment: Fragment::partial(part, 300_000), ..parted(key) };
            put(&first, 2, &Head { block: b"ETag: \"a\"\r\n", ..head }, &bytes[start..end]);
        }
    }
    let file = saved(&first, at(9, NOW_S));
    let loaded = load_all(&file, &second);
    let expected = Loaded { entries: 4, damaged: 0, left_out: 0, written: 4, ending: Ending::Complete };
    assert_eq!(loaded, expected);
    for key in ["one", "three", "large", "whole"] {
        let key = format!("http://a/{key}");
        let (old, new) = (get(&first, key.as_bytes()).unwrap(), get(&second, key.as_bytes()).unwrap());
        assert_eq!(old.fragment(), new.fragment(), "{key}");
        assert_eq!((new.length(), new.fragment().is_none()), (300_000, key.ends_with("whole")));
        assert_eq!(old.block().as_bytes(), new.block().as_bytes());
        let expected: Vec<u8> =
            new.parts().flat_map(|part| &bytes[part.start as usize..part.end() as usize]).copied().collect();
        assert!(bytes_of(&new.body) == expected, "{key}");
    }
    // They can be read and evicted.
    let rest = Part { start: 100_000, len: 200_000 };
    let head = Head { fragment: Fragment::partial(rest, 300_000), ..parted(b"http://a/large") };
    let head = Head { block: b"ETag: \"a\"\r\n", ..head };
    put(&second, 2, &head, &bytes[100_000..]);
    let large = get(&second, b"http://a/large").unwrap();
    assert!(large.parts().eq([Part { start: 5, len: 299_995 }]) && bytes_of(&large.body) == bytes[5..]);
}

/// Flips each bit of the positions of parts, and writes impossible positions with a right checksum.
#[test]
fn rule_35_parts_that_cannot_be_are_not_loaded() {
    let first = store();
    let part = Part { start: 1, len: 3 };
    let whole = Head { status: 200, block: b"ETag: \"a\"\r\n", ..head(b"http://a/") };
    put(&first, 1, &Head { fragment: Fragment::partial(part, 10), ..whole }, b"bcd");
    let file = saved(&first, at(1, NOW_S));
    let place = memchr::memmem::find(&file, b"bcd").unwrap();
    for at in place - 32..place {
        for bit in 0..8 {
            let mut file = file.clone();
            file[at] ^= 1 << bit;
            let loaded = load_all(&file, &store());
            assert_eq!((loaded.entries, loaded.damaged, loaded.ending), (0, 1, Ending::Complete));
        }
    }
    let text = &file[HEADER_BYTES + RECORD_BYTES..place - 32];
    let record: [u8; RECORD_BYTES] = file[HEADER_BYTES..HEADER_BYTES + RECORD_BYTES].try_into().unwrap();
    let good = Record::read(&record).unwrap();
    for (numbers, status, loads) in [
        (&[1, 3, 10, 1][..], 200, true),
        (&[0, 1, 5, 2, 10, 2], 200, true),
        (&[1, 3, 10, 1], 404, false),
        (&[1, 2, 10, 1], 200, false),
        (&[1, 3, 3, 1], 200, false),
        (&[0, 3, 3, 1], 200, false),
        (&[u64::MAX, 3, 10, 1], 200, false),
        (&[10, 0], 200, false),
        (&[1, 3, 10, 0], 200, false),
        (&[1, 3, 10, u64::MAX], 200, false),
        (&[0, 2, 1, 1, 10, 2], 200, false),
        (&[10], 200, false),
        (&[], 200, false),
    ] {
        let places: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let text = [text, &places, b"bcd"].concat();
        let mut record = Record { status, ..good };
        record.lengths[4] = (whole.block.len() + places.len()) as u32;
        let mut file = header(NOW_S, 1).to_vec();
        file.extend(record.to_bytes());
        file.extend(&text);
        file.extend(crc32fast::hash(&text).to_le_bytes());
        file.extend(Record { kind: END, body_bytes: 1, ..Record::default() }.to_bytes());
        let store = store();
        let loaded = load_all(&file, &store);
        assert_eq!((loaded.entries, loaded.damaged), (u64::from(loads), u64::from(!loads)), "{numbers:?}");
        assert!(get(&store, b"http://a/").is_none_or(|found| found.fragment().is_some()));
    }
}

fn put(store: &Store, used_us: u64, head: &Head<'_>, body: &[u8]) {
    let mut stream = StreamingBody::new(store.memory(), None);
    for piece in body.chunks(1000) {
        let mut piece = piece;
        while !piece.is_empty() {
            let count = stream.space().len().min(piece.len());
            stream.space()[..count].copy_from_slice(&piece[..count]);
            stream.commit(count);
            piece = &piece[count..];
        }
    }
    let body = Arc::new(stream.finish().unwrap());
    let epoch = store.epoch(store.hash(head.key));
    store.insert(used_us, epoch, head, body).unwrap().mark_used(used_us);
}

fn saved(store: &Store, now: Now) -> Vec<u8> {
    let mut bytes = Vec::new();
    let count = save(&mut bytes, store, now).unwrap();
    assert_eq!(count, store.statistics().entries);
    bytes
}

fn get(store: &Store, key: &[u8]) -> Option<Arc<Stored>> {
    match store.find(0, store.hash(key), key, |_| Some(())) {
        Found::Entry(entry) => Some(entry),
        Found::NoVariant(_) | Found::Nothing => None,
    }
}

fn bytes_of(body: &Body) -> Vec<u8> {
    body.segments().flatten().copied().collect()
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (index % 251) as u8).collect()
}

/// Three entries: of key 0, the most recently used, to 2. Where each begins, and the end.
fn three() -> (Vec<u8>, [usize; 4]) {
    let store = store();
    let bodies = [pattern(3), Vec::new(), pattern(40)];
    for (index, body) in bodies.iter().enumerate() {
        put(&store, 2_000_000 - index as u64, &head(format!("http://a/{index}").as_bytes()), body);
    }
    let texts = "http://a/0".len() + b"acceptl*/*\nFine".len() + head(b"").block.len();
    let mut places = [HEADER_BYTES; 4];
    for index in 0..3 {
        places[index + 1] = places[index] + RECORD_BYTES + texts + bodies[index].len() + 4;
    }
    let bytes = saved(&store, at(1, NOW_S));
    assert_eq!(bytes.len(), places[3] + RECORD_BYTES);
    (bytes, places)
}

fn load_all(bytes: &[u8], store: &Store) -> Loaded {
    load(&mut &bytes[..], store, at(0, NOW_S), || true)
}

#[test]
fn what_was_saved_is_loaded() {
    let (first, second) = (store(), store());
    let other = Head {
        names: b"",
        selecting: b"",
        reason: b"",
        block: b"",
        status: 200,
        version: Version::Http11,
        terms: Terms { received_s: NOW_S, no_cache: true, if_error_s: None, ..Terms::default() },
        address: "::ffff:192.0.2.1".parse().unwrap(),
        set_cookie: false,
        ..head(b"http://b/")
    };
    let bodies = [0, 1, 5000, 16_384, 16_385, 65_536, 70_000, 100_000].map(pattern);
    let keys: Vec<String> = (0..bodies.len()).map(|index| format!("http://a/{index}")).collect();
    for (key, body) in keys.iter().zip(&bodies) {
        put(&first, 2_000_000, &head(key.as_bytes()), body);
    }
    put(&first, 2_000_000, &other, b"other");
    // Another variant of the same key.
    put(&first, 2_000_000, &Head { selecting: b"lx/y\n", ..head(b"http://a/0") }, b"variant");
    let bytes = saved(&first, at(1, NOW_S));
    let loaded = load_all(&bytes, &second);
    let expected = Loaded { entries: 10, damaged: 0, left_out: 0, written: 10, ending: Ending::Complete };
    assert_eq!(loaded, expected);
    assert_eq!(second.statistics().entries, 10);
    assert!(second.memory().bytes() <= first.memory().bytes(), "all is charged, and no more");
    for (key, body) in keys.iter().zip(&bodies).skip(1) {
        let found = get(&second, key.as_bytes()).unwrap();
        let expected = Head { received_us: 0, ..head(key.as_bytes()) };
        assert_eq!(format!("{:?}", found.head()), format!("{expected:?}"));
        assert!(bytes_of(&found.body) == *body);
    }
    let found = get(&second, b"http://b/").unwrap();
    let expected = Head { received_us: 0, ..other };
    assert_eq!(format!("{:?}", found.head()), format!("{expected:?}"));
    // Saved again, the file is the same.
    assert_eq!(saved(&second, at(0, NOW_S)).len(), bytes.len());
}

#[test]
fn rule_07_ages_go_on_between_two_runs_and_no_clock_makes_anything_younger() {
    let first = store();
    put(&first, 2_000_000, &head(b"http://a/"), b"x");
    for (saved_at, loaded_at, age_s) in [
        // 20 seconds in the store, 100 between the runs.
        (at(21, NOW_S + 20), at(0, NOW_S + 120), 7 + 120),
        (at(21, NOW_S + 20), at(0, NOW_S + 20), 7 + 20),
        // The system's clock was set back between the runs, or before, or stands still.
        (at(21, NOW_S + 20), at(0, NOW_S - 4000), 7 + 20),
        (at(21, NOW_S - 4000), at(0, NOW_S - 3900), 7 + 120),
        (at(21, NOW_S), at(0, 0), 7 + 20),
        // It was set forward: the clock that says more counts.
        (at(21, NOW_S + 4000), at(0, NOW_S + 4100), 7 + 4100),
        // To beyond all times.
        (at(21, NOW_S), at(0, 1 << 40), SECONDS_MAX),
    ] {
        let second = store();
        let loaded = load(&mut &saved(&first, saved_at)[..], &second, loaded_at, || true);
        assert_eq!(loaded.ending, Ending::Complete);
        let found = get(&second, b"http://a/").unwrap();
        let age_at = |now| found.terms.age_s(found.clock_s(now));
        assert_eq!(age_at(loaded_at), age_s, "{saved_at:?} {loaded_at:?}");
        // It grows with either clock, and shrinks with none.
        let loaded_s = loaded_at.unix_s();
        let later = |seconds: u32| age_s.saturating_add(seconds).min(SECONDS_MAX);
        assert_eq!(age_at(at(5, loaded_s)), later(5));
        assert_eq!(age_at(at(5, loaded_s.saturating_sub(9000))), later(5));
        // And through yet another run.
        let third = store();
        load(&mut &saved(&second, at(5, loaded_s))[..], &third, at(0, loaded_s + 2), || true);
        let found = get(&third, b"http://a/").unwrap();
        assert_eq!(found.terms.age_s(found.clock_s(at(0, loaded_s + 2))), later(7));
    }
}

#[test]
fn rule_46_the_order_of_leaving_is_kept_and_what_does_not_fit_left_out() {
    let first = store();
    let key = |index: u64| format!("http://a/{index}");
    for index in 0..90 {
        put(&first, 1000 + index, &head(key(index).as_bytes()), &pattern(9000));
    }
    // Used once more, in an order of its own.
    for index in (0..90).rev() {
        let _ =
            first.find(3_000_000 - index, first.hash(key(index).as_bytes()), key(index).as_bytes(), |_| {
                Some(())
            });
    }
    let bytes = saved(&first, at(9, NOW_S));
    let second = Store::new(Limits::with_budget(1 << 20, [8, 9]));
    let big = Head { names: b"", selecting: b"", ..head(b"http://big/") };
    put(&second, 1, &big, &pattern(100_000));
    put(&second, 1, &Head { key: b"http://big/2", ..big }, &pattern(400_000));
    let loaded = load_all(&bytes, &second);
    assert_eq!((loaded.ending, loaded.written, loaded.damaged, loaded.left_out), (Ending::Full, 90, 0, 0));
    assert!((40..60).contains(&loaded.entries), "{loaded:?}");
    assert!(second.memory().bytes() <= 1 << 20);
    assert!(second.statistics().evicted <= 2, "{:?}", second.statistics());
    // The most recently used ones are there, and leave in that order.
    let order: Vec<Vec<u8>> = second.entries().iter().map(|entry| entry.key().to_vec()).collect();
    let loaded: Vec<&[u8]> =
        order.iter().map(Vec::as_slice).filter(|key| key.starts_with(b"http://a/")).collect();
    let expected: Vec<String> = (0..loaded.len() as u64).map(key).collect();
    assert!(loaded.iter().zip(&expected).all(|(one, other)| *one == other.as_bytes()), "{order:?}");
    // Bodies beyond the largest that may be stored.
    let small = Store::new(Limits { object_max: 8999, ..Limits::with_budget(1 << 20, [8, 9]) });
    let loaded = load_all(&bytes, &small);
    assert_eq!((loaded.ending, loaded.entries, loaded.left_out), (Ending::Complete, 0, 90));
}

#[test]
fn what_has_come_or_was_invalidated_since_the_start_stays() {
    let (bytes, _) = three();
    let second = store();
    put(&second, 1, &Head { status: 200, ..head(b"http://a/0") }, b"newer");
    put(&second, 1, &Head { status: 200, selecting: b"", ..head(b"http://a/1") }, b"another variant");
    second.invalidate(b"http://a/2");
    let loaded = load_all(&bytes, &second);
    let expected = Loaded { entries: 1, damaged: 0, left_out: 2, written: 3, ending: Ending::Complete };
    assert_eq!(loaded, expected);
    assert_eq!(bytes_of(&get(&second, b"http://a/0").unwrap().body), b"newer");
    assert!(get(&second, b"http://a/2").is_none());
    assert_eq!(second.statistics().entries, 3);
}

#[test]
fn loading_stops_when_it_is_told_to() {
    let (bytes, _) = three();
    for most in 0..3 {
        let (store, mut left) = (store(), most);
        let loaded = load(&mut &bytes[..], &store, at(0, NOW_S), || {
            left -= 1;
            left >= 0
        });
        assert_eq!((loaded.entries, loaded.ending), (most as u64, Ending::Stopped));
    }
}

/// Flips each bit, one at a time: damaged entries are ignored, and no more than those.
#[test]
fn rule_41_damage_is_seen_wherever_it_is() {
    let (bytes, places) = three();
    for place in 0..bytes.len() {
        for bit in 0..8 {
            let mut bytes = bytes.clone();
            bytes[place] ^= 1 << bit;
            let store = store();
            let loaded = load_all(&bytes, &store);
            let entry = (0..3).find(|index| place < places[index + 1]);
            let expected = match entry {
                _ if place < 8 => (0, 0, Ending::Foreign),
                _ if place < 12 => (0, 0, Ending::Version(1 ^ (1 << (8 * (place - 8) + bit)))),
                _ if place < HEADER_BYTES => (0, 0, Ending::Damaged),
                Some(index) if place < places[index] + RECORD_BYTES => (index as u64, 0, Ending::Damaged),
                Some(_) => (2, 1, Ending::Complete),
                None => (3, 0, Ending::Damaged),
            };
            assert_eq!((loaded.entries, loaded.damaged, loaded.ending), expected, "{place} {bit}");
            for index in 0..3_usize {
                if let Some(found) = get(&store, format!("http://a/{index}").as_bytes()) {
                    assert_eq!(bytes_of(&found.body), pattern([3, 0, 40][index]));
                }
            }
        }
    }
}

#[test]
fn rule_41_truncation_is_seen_at_every_length() {
    let (bytes, places) = three();
    for length in 0..bytes.len() {
        let store = store();
        let loaded = load_all(&bytes[..length], &store);
        let entries = places[1..].iter().filter(|place| **place <= length).count() as u64;
        let ending = match length {
            0 => Ending::Complete,
            1..8 => Ending::Foreign,
            _ => Ending::Truncated,
        };
        assert_eq!((loaded.entries, loaded.ending), (entries, ending), "{length}");
        assert_eq!(store.statistics().entries, entries);
    }
}

/// Entries with bodies or fields that are larger than the read buffer.
#[test]
fn rule_41_damage_to_large_entries_is_seen() {
    let store = store();
    let fields = format!("A: {}\r\n", "a".repeat(70_000)).repeat(2);
    let entries: [(&str, &[u8], usize); 4] = [
        ("http://a/0", b"", 100_000),
        ("http://a/1", fields.as_bytes(), 3),
        ("http://a/2", fields.as_bytes(), 70_000),
        ("http://a/3", b"", 16_385),
    ];
    for (index, (key, block, body)) in entries.iter().enumerate() {
        let head = Head { block, ..head(key.as_bytes()) };
        put(&store, 2_000_000 - index as u64, &head, &pattern(*body));
    }
    let (bytes, mut places) = (saved(&store, at(1, NOW_S)), vec![HEADER_BYTES]);
    for (key, block, body) in entries {
        let texts = key.len() + b"acceptl*/*\nFine".len() + block.len();
        places.push(places[places.len() - 1] + RECORD_BYTES + texts + body + 4);
    }
    assert_eq!(bytes.len(), places[4] + RECORD_BYTES);
    for index in 0..4 {
        let (start, end) = (places[index], places[index + 1]);
        for place in [start + RECORD_BYTES, start + RECORD_BYTES + 30, (start + end) / 2, end - 5, end - 1] {
            let mut bytes = bytes.clone();
            bytes[place] ^= 0x10;
            let store = self::store();
            let loaded = load_all(&bytes, &store);
            assert_eq!((loaded.entries, loaded.damaged, loaded.ending), (3, 1, Ending::Complete), "{place}");
            assert!(get(&store, entries[index].0.as_bytes()).is_none());
            let loaded = load_all(&bytes[..place], &self::store());
            assert_eq!((loaded.entries, loaded.ending), (index as u64, Ending::Truncated), "{place}");
        }
    }
}

/// Records with a right checksum and impossible content.
#[test]
fn nothing_in_the_file_is_believed() {
    let good = Record { kind: WHOLE, lengths: [9, 0, 0, 2, 8], status: 200, ..Record::default() };
    let text = b"http://a/OKA: bcd\r\n";
    let file = |record: Record, text: &[u8]| {
        let mut bytes = header(NOW_S, 1).to_vec();
        bytes.extend(record.to_bytes());
        bytes.extend(text);
        bytes.extend(crc32fast::hash(text).to_le_bytes());
        bytes.extend(Record { kind: END, body_bytes: 1, ..Record::default() }.to_bytes());
        load_all(&bytes, &store())
    };
    let ended = |loaded: Loaded| (loaded.entries, loaded.damaged, loaded.left_out, loaded.ending);
    assert_eq!(ended(file(good, text)), (1, 0, 0, Ending::Complete));
    for (what, record) in [
        ("a status", Record { status: 199, ..good }),
        ("a status", Record { status: 1000, ..good }),
        ("a time", Record { seconds: [0, SECONDS_MAX + 1, 0, 0], ..good }),
        ("fields", Record { lengths: [9, 0, 0, 3, 7], ..good }),
        ("a reason", Record { lengths: [9, 0, 0, 10, 0], ..good }),
        ("an address", Record { flags: IPV4, ..good }),
    ] {
        assert_eq!(ended(file(record, text)), (0, 1, 0, Ending::Complete), "{what}");
    }
    for (what, status) in [("a 304", 304), ("a 412", 412), ("a 416", 416)] {
        assert_eq!(ended(file(Record { status, ..good }, text)), (0, 1, 0, Ending::Complete), "{what}");
    }
    let long = Record { lengths: [9, 600, 0, 0, 0], ..good };
    assert_eq!(ended(file(long, &[b'a'; 609])), (0, 1, 0, Ending::Complete));
    let unknown = Record { kind: 77, ..good };
    assert_eq!(ended(file(unknown, text)), (0, 0, 1, Ending::Complete));
    for (what, record, expected) in [
        ("a text", Record { lengths: [u32::MAX; 5], ..good }, (0, 0, 0, Ending::Damaged)),
        ("a body", Record { body_bytes: 100_000, ..good }, (0, 0, 0, Ending::Truncated)),
        ("a huge body", Record { body_bytes: u64::MAX, ..good }, (0, 0, 1, Ending::Truncated)),
        ("more", Record { kind: 77, body_bytes: u64::MAX, ..good }, (0, 0, 1, Ending::Truncated)),
        ("an end", Record { kind: END, ..good }, (0, 0, 0, Ending::Damaged)),
    ] {
        assert_eq!(ended(file(record, text)), expected, "{what}");
    }
    let mut other = header(NOW_S, 0);
    other[8] = 2;
    assert_eq!(load_all(&other, &store()).ending, Ending::Version(2));
    assert_eq!(load_all(b"<html>", &store()).ending, Ending::Foreign);
}

/// Whole files with right checksums, which any program can compute: no entry may have framing or connection fields,
/// nor line ends in a value.
#[test]
fn rule_58_kind_16_forged_entries_are_damaged() {
    let file = |key: &str, reason: &str, block: &str| {
        let text = [key, reason, block].concat();
        let lengths = [key.len() as u32, 0, 0, reason.len() as u32, block.len() as u32];
        let record = Record { kind: WHOLE, lengths, status: 200, body_bytes: 4, ..Record::default() };
        let mut bytes = header(NOW_S, 1).to_vec();
        bytes.extend(record.to_bytes());
        let content = [text.as_bytes(), b"body"].concat();
        bytes.extend(&content);
        bytes.extend(crc32fast::hash(&content).to_le_bytes());
        bytes.extend(Record { kind: END, body_bytes: 1, ..Record::default() }.to_bytes());
        let loaded = load_all(&bytes, &store());
        assert_eq!(loaded.ending, Ending::Complete, "{text}");
        (loaded.entries, loaded.damaged)
    };
    let (key, date) = ("http://a/", "Date: Sat, 21 Nov 2026 10:00:00 GMT\r\n");
    for (reason, block) in [
        ("OK", date),
        ("", "X-Length: 7\r\n"),
        ("Fine \u{e9}", "Via: 1.1 a\r\nVary: Connection\r\n"),
        ("OK", "Content-Range: bytes 0-1/2\r\n"),
    ] {
        assert_eq!(file(key, reason, block), (1, 0), "{reason} {block}");
    }
    for name in [
        "Content-Length: 3",
        "content-LENGTH: 4",
        "Transfer-Encoding: chunked",
        "Connection: close",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: close",
        "Upgrade: h2c",
        "Trailer: X",
        "TE: trailers",
        "Proxy-Authenticate: Basic",
        "Proxy-Authentication-Info: a",
        "Proxy-Authorization: b",
        "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
        "Age: 7",
        "A : 1",
        "A: 1\r\n",
        "A: 1\n\nHTTP/1.1 200 OK",
        "A: 1\r\n\r\nHTTP/1.1 200 OK",
        "A: 1\0",
        "A: 1\x08",
        "A: \x7f",
        "",
        " folded",
    ] {
        for block in [format!("{name}\r\n"), format!("{date}{name}\r\n{date}")] {
            assert_eq!(file(key, "OK", &block), (0, 1), "{block}");
        }
    }
    for (key, reason) in [
        (key, "OK\r\nX: 1"),
        (key, "OK\n"),
        (key, "\0"),
        ("http://a/ HTTP/1.1", "OK"),
        ("http://a/\r\n", "OK"),
        ("http://a/\0", "OK"),
    ] {
        assert_eq!(file(key, reason, date), (0, 1), "{key} {reason}");
    }
}

/// A disk that fails.
#[test]
fn errors_of_reading_and_writing_are_told() {
    struct Failing(usize);
    impl Read for Failing {
        fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
            let (bytes, _) = three();
            let count = space.len().min(bytes.len() - self.0).min(50);
            if self.0 > 100 {
                return Err(ErrorKind::PermissionDenied.into());
            }
            space[..count].copy_from_slice(&bytes[self.0..self.0 + count]);
            self.0 += count;
            Ok(count)
        }
    }
    let loaded = load(&mut Failing(0), &store(), at(0, NOW_S), || true);
    assert_eq!(loaded.ending, Ending::Failed(ErrorKind::PermissionDenied));
    let full = store();
    put(&full, 1, &head(b"http://a/"), b"");
    let mut space = [0; 100];
    assert!(save(&mut &mut space[..], &full, at(0, NOW_S)).is_err());
}
