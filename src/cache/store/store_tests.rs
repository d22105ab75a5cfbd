use super::*;
use crate::cache::fill::streaming_body::StreamingBody;
use crate::cache::rfc::freshness::Terms;
use crate::cache::rfc::range::{Fragment, Part};
use crate::http::head::Version;
use std::net::{IpAddr, Ipv4Addr};

const SEED: [u64; 2] = [3, 4];

fn head<'a>(key: &'a [u8], selecting: &'a [u8], now_us: u64) -> Head<'a> {
    Head {
        key,
        names: if selecting.is_empty() { b"" } else { b"accept" },
        selecting,
        reason: b"OK",
        block: b"Date: Sat, 21 Nov 2026 10:00:00 GMT\r\n",
        status: 200,
        version: Version::Http11,
        terms: Terms::default(),
        received_us: now_us,
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        rules_edition: 0,
        set_cookie: false,
        fragment: None,
    }
}

fn put(store: &Store, key: &str, selecting: &str, bytes: usize, now_us: u64) -> Option<Arc<Stored>> {
    let body = Arc::new(Body::from_bytes(store.memory(), vec![7; bytes].into_boxed_slice()));
    let epoch = store.epoch(store.hash(key.as_bytes()));
    store.insert(now_us, epoch, &head(key.as_bytes(), selecting.as_bytes(), now_us), body)
}

/// Puts another head before the body of `old`.
fn freshen(store: &Store, old: &Arc<Stored>, head: &Head<'_>) -> Option<Arc<Stored>> {
    let new = Arc::new(Stored::new(store.memory(), old.hash(), head, Arc::clone(&old.body)));
    store.replace(new.used_us(), old, &new).then_some(new)
}

/// A stream of numbers from a seed.
fn numbers(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        state >> 33
    }
}

fn get(store: &Store, key: &str, now_us: u64) -> Option<Arc<Stored>> {
    match store.find(now_us, store.hash(key.as_bytes()), key.as_bytes(), |entry| Some(entry.received_us)) {
        Found::Entry(entry) => Some(entry),
        Found::NoVariant(_) | Found::Nothing => None,
    }
}

#[test]
fn finds_what_was_put_and_nothing_else() {
    let store = Store::new(Limits::with_budget(1 << 20, SEED));
    for index in 0..500 {
        put(&store, &format!("http://a/{index}"), "", 10, index);
    }
    for index in 0..500 {
        let entry = get(&store, &format!("http://a/{index}"), 1000).unwrap();
        assert_eq!(entry.key(), format!("http://a/{index}").as_bytes());
        assert_eq!((entry.reason(), entry.body.len(), entry.received_us), (&b"OK"[..], 10, index));
        assert!(entry.block().is_valid() && entry.names().is_empty() && entry.selecting().is_empty());
    }
    assert!(get(&store, "http://a/500", 1000).is_none());
    let statistics = store.statistics();
    assert_eq!((statistics.entries, statistics.inserted, statistics.evicted), (500, 500, 0));
}

/// The order of eviction, against a simple list.
#[test]
fn rule_46_the_least_recently_used_leaves_first_in_all_shards() {
    let mut draw = numbers(11);
    let store = Store::new(Limits::with_budget(1 << 20, SEED));
    let mut model: Vec<String> = Vec::new();
    for step in 1..6000_u64 {
        let key = format!("http://a/{}", draw() % 400);
        if get(&store, &key, step).is_none() {
            assert!(!model.contains(&key), "{key} was evicted out of order");
            put(&store, &key, "", 4000, step);
        } else {
            model.retain(|other| *other != key);
        }
        model.push(key);
        let entries = store.statistics().entries as usize;
        model.drain(..model.len() - entries);
        assert!(store.memory().bytes() <= (1 << 20) + 5000);
    }
    assert!(store.statistics().evicted > 1000);
    assert!(model.iter().all(|key| get(&store, key, 6000).is_some()));
}

#[test]
fn rule_46_everything_is_counted_and_comes_back() {
    let store = Store::new(Limits::with_budget(1 << 22, SEED));
    let empty = store.memory().bytes();
    let first = put(&store, "http://a/", "", 100_000, 1).unwrap();
    let with_one = store.memory().bytes();
    assert!(with_one - empty > 100_000 && with_one - empty < 101_200, "{}", with_one - empty);
    assert_eq!(store.purge(|_| true), 1);
    assert!(store.memory().bytes() >= empty + 100_000, "it is still being served");
    assert_eq!(first.body.len(), 100_000);
    drop(first);
    assert_eq!(store.memory().bytes(), empty);
    assert_eq!(store.statistics().invalidated, 1);
}

#[test]
fn nothing_is_stored_while_everything_is_in_use() {
    let store = Store::new(Limits::with_budget(1 << 20, SEED));
    let held: Vec<_> =
        (0..20).filter_map(|index| put(&store, &format!("http://a/{index}"), "", 100_000, index)).collect();
    assert!((9..=10).contains(&held.len()), "{}", held.len());
    assert!(store.statistics().refused >= 10);
    assert!(store.memory().bytes() <= 1 << 20);
    drop(held);
    assert!(put(&store, "http://a/x", "", 100_000, 30).is_some());
}

#[test]
fn rule_27_variants_of_one_key_are_bounded() {
    let store = Store::new(Limits::with_budget(1 << 22, SEED));
    put(&store, "http://b/", "", 10, 1);
    for index in 0..100 {
        put(&store, "http://a/", &format!("v{index}"), 10, index + 1);
    }
    let statistics = store.statistics();
    assert_eq!((statistics.entries, statistics.variants_evicted), (VARIANTS_MAX as u64 + 1, 84));
    // The youngest are there; the same variant replaces itself.
    put(&store, "http://a/", "v99", 20, 200);
    assert_eq!(store.statistics().entries, VARIANTS_MAX as u64 + 1);
    let select = |entry: &Stored| (entry.selecting() == b"v99").then_some(());
    match store.find(300, store.hash(b"http://a/"), b"http://a/", select) {
        Found::Entry(entry) => assert_eq!(entry.body.len(), 20),
        other => panic!("{other:?}"),
    }
    let none = store.find(300, store.hash(b"http://a/"), b"http://a/", |_| None::<()>);
    assert!(matches!(none, Found::NoVariant(_)));
    assert_eq!(store.invalidate(b"http://a/"), VARIANTS_MAX);
    assert!(get(&store, "http://b/", 300).is_some());
}

#[test]
fn rule_37_what_was_asked_before_an_invalidation_is_not_stored_after_it() {
    let store = Store::new(Limits::with_budget(1 << 22, SEED));
    let key = b"http://a/";
    let body = || Arc::new(Body::from_bytes(store.memory(), vec![7; 3].into_boxed_slice()));
    for purge in [false, true] {
        let epoch = store.epoch(store.hash(key));
        if purge {
            store.purge(|_| false);
        } else {
            assert_eq!(store.invalidate(key), 0);
        }
        assert!(store.insert(5, epoch, &head(key, b"", 5), body()).is_none(), "{purge}");
    }
    let epoch = store.epoch(store.hash(key));
    assert!(store.insert(5, epoch, &head(key, b"", 5), body()).is_some());
}

/// The body of the first response takes longer than the whole second one.
#[test]
fn a_response_that_was_overtaken_replaces_no_newer_one() {
    let store = Store::new(Limits::with_budget(1 << 22, SEED));
    let key = b"http://a/";
    let received = |received_s: u64, initial_age_s: u32| {
        let terms = Terms { received_s, initial_age_s, ..Terms::default() };
        Head { terms, received_us: received_s * 1_000_000, ..head(key, b"", 0) }
    };
    let insert = |head: &Head<'_>| {
        let body = Arc::new(Body::from_bytes(store.memory(), vec![7; 3].into_boxed_slice()));
        store.insert(60_000_000, store.epoch(store.hash(key)), head, body).is_some()
    };
    let stored_s = || get(&store, "http://a/", 60_000_000).map(|entry| entry.received_us / 1_000_000);
    assert!(insert(&received(20, 0)));
    assert!(!insert(&received(10, 0)));
    assert_eq!(stored_s(), Some(20));
    // The head came last: the clock of its server is slow.
    assert!(insert(&received(30, 25)));
    assert_eq!(stored_s(), Some(30));
    // It came first, and was made last.
    assert!(insert(&received(29, 0)));
    assert_eq!(stored_s(), Some(29));
    // A newer part stands in the way of an older response, unless it is a part of that response.
    let tagged: [&[u8]; 2] = [b"ETag: \"1\"\r\n", b"ETag: \"2\"\r\n"];
    let part = Part { start: 1, len: 3 };
    for (block, length, expected) in [(tagged[1], 10, false), (tagged[0], 11, false), (tagged[0], 10, true)] {
        store.invalidate(key);
        let fragment = Fragment::partial(part, length);
        assert!(insert(&Head { fragment, block: tagged[0], status: 206, ..received(41, 0) }));
        let body = Arc::new(Body::from_bytes(store.memory(), vec![7; 10].into_boxed_slice()));
        let whole = Head { block, ..received(40, 0) };
        let epoch = store.epoch(store.hash(key));
        assert_eq!(store.insert(60_000_000, epoch, &whole, body).is_some(), expected, "{block:?} {length}");
    }
}

#[test]
fn rule_32_freshening_shares_the_body_and_replaces_only_what_is_still_there() {
    let store = Store::new(Limits::with_budget(1 << 22, SEED));
    let old = put(&store, "http://a/", "", 100_000, 1).unwrap();
    let before = store.memory().bytes();
    let new = freshen(&store, &old, &Head { received_us: 9, ..old.head() }).unwrap();
    assert!(Arc::ptr_eq(&old.body, &new.body));
    assert!(store.memory().bytes() < before + 1000);
    assert_eq!(get(&store, "http://a/", 10).unwrap().received_us, 9);
    assert_eq!(store.statistics().entries, 1);
    assert!(freshen(&store, &old, &Head { received_us: 11, ..old.head() }).is_none());
    store.remove(&old);
    assert_eq!(store.statistics().entries, 1);
    store.remove(&new);
    assert_eq!(store.statistics().entries, 0);
}

#[test]
fn rule_52_a_new_vary_puts_the_entry_where_such_requests_look() {
    let store = Store::new(Limits::with_budget(1 << 22, SEED));
    let old = put(&store, "http://a/", "", 10, 1).unwrap();
    let other = put(&store, "http://a/", "s1", 10, 2).unwrap();
    put(&store, "http://a/", "s2", 10, 3).unwrap();
    // The 304 says that the origin varies, and the request selects the same as another variant.
    let new = freshen(&store, &old, &Head { received_us: 9, ..head(b"http://a/", b"s1", 9) }).unwrap();
    assert_eq!(store.statistics().entries, 2, "it stands in the place of both");
    assert_eq!((new.names(), new.selecting()), (&b"accept"[..], &b"s1"[..]));
    assert!(freshen(&store, &other, &other.head()).is_none());
}

#[test]
fn readers_writers_and_evictors_share_it() {
    let store = Arc::new(Store::new(Limits::with_budget(1 << 20, SEED)));
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let store = Arc::clone(&store);
            scope.spawn(move || {
                let mut draw = numbers(thread + 1);
                for step in 0..5000 {
                    let key = format!("http://a/{}", draw() % 300);
                    match draw() % 20 {
                        0 => drop(store.invalidate(key.as_bytes())),
                        1 => drop(get(&store, &key, step).map(|entry| {
                            let head = Head { received_us: step, ..entry.head() };
                            freshen(&store, &entry, &head)
                        })),
                        2..8 => drop(put(&store, &key, "", (draw() % 9000) as usize, step)),
                        _ => {
                            if let Some(entry) = get(&store, &key, step) {
                                assert_eq!(entry.key(), key.as_bytes());
                                assert!(
                                    entry.body.segments().all(|bytes| bytes.iter().all(|&byte| byte == 7))
                                );
                            }
                        }
                    }
                }
            });
        }
    });
    assert!(store.memory().bytes() <= 1 << 20);
    store.purge(|_| true);
    assert_eq!(store.memory().bytes(), Store::new(Limits::with_budget(1 << 20, SEED)).memory().bytes());
}

/// Keys that collide under one seed do not under another, so clients cannot choose colliding keys; and where hashes
/// do collide, a look-up compares entries of equal hash only.
#[test]
fn rule_46_keys_that_collide_under_one_seed_do_not_under_another() {
    // The bits that decide where a table looks first: the shard, the highest seven bits, and the lowest ones.
    let place_of = |hash: u64| ((hash >> 40) as usize % SHARDS, hash >> 57, hash & 3);
    let known = Store::new(Limits::with_budget(1 << 20, SEED));
    let wanted = place_of(known.hash(b"http://a/"));
    let colliding: Vec<String> = (0..)
        .map(|index: u64| format!("http://a/{index}"))
        .filter(|key| place_of(known.hash(key.as_bytes())) == wanted)
        .take(30)
        .collect();
    for seed in [[3, 5], [4, 3], [0, 0], [u64::MAX, 1]] {
        let other = Store::new(Limits::with_budget(1 << 20, seed));
        let mut places: Vec<_> = colliding.iter().map(|key| place_of(other.hash(key.as_bytes()))).collect();
        places.sort_unstable();
        places.dedup();
        // Two of thirty may meet among 32,768 places.
        assert!(places.len() >= 29, "{seed:?}: {}", places.len());
    }
    // A look-up of one of them compares no other key, in either store.
    for (seed, others) in [(SEED, colliding.len()), ([3, 5], 1)] {
        let store = Store::new(Limits::with_budget(1 << 20, seed));
        for (at, key) in colliding.iter().enumerate() {
            put(&store, key, "", 1, at as u64);
        }
        for key in &colliding {
            let hash = store.hash(key.as_bytes());
            let shard = store.shard(hash).read();
            let met = shard.table.iter_hash(hash).count();
            assert!(met <= others, "{seed:?} {key}: {met}");
            let same = |slot: &&u32| shard.entry(**slot).is_some_and(|entry| entry.hash() == hash);
            assert_eq!(shard.table.iter_hash(hash).filter(same).count(), 1, "{seed:?} {key}");
        }
    }
}

/// Held bytes cannot drive out all stored entries, and a refused admission evicts nothing.
#[test]
fn rule_57_what_is_held_leaves_a_part_to_what_is_stored() {
    let store = Store::new(Limits::with_budget(1 << 20, SEED));
    for index in 0..90 {
        put(&store, &format!("http://a/{index}"), "", 10_000, index);
    }
    let (entries, empty) = (store.statistics().entries, store.memory().held());
    assert_eq!(entries, 90);
    let mut held: Vec<Charge> = Vec::new();
    while let Some(charge) = store.admit(1000, 50_000) {
        held.push(charge);
        assert!(store.memory().bytes() <= 1 << 20);
    }
    let now = store.statistics();
    let most = (1 << 20) / 4 * 3;
    assert!(now.bytes_held <= most && now.bytes_held > most - 50_000, "{now:?}");
    assert!(now.entries >= 20 && now.evicted == entries - now.entries, "{now:?}");
    assert!(!store.may_admit() && store.admit(1000, 50_000).is_none());
    assert_eq!(store.statistics().evicted, now.evicted, "for nothing");
    // Stored entries can still be renewed and found.
    assert!(get(&store, "http://a/89", 2000).is_some());
    drop(held);
    assert!(store.memory().held() < empty + 5000, "but for the tables");
    assert!(store.may_admit() && store.admit(1000, 50_000).is_some());
    // Evicted, and still being read.
    let reader = get(&store, "http://a/89", 3000).unwrap();
    store.purge(|_| true);
    assert!(store.memory().held() > 10_000 && store.statistics().entries == 0);
    drop(reader);
    assert!(store.memory().held() < empty, "the tables are gone, too");
}

/// However bodies are joined, the bytes that leave the store are those that entered it.
#[test]
fn rule_57_entries_leave_with_what_they_entered_with() {
    let store = Store::new(Limits::with_budget(4 << 20, SEED));
    let empty = store.memory().held();
    let body = |bytes: usize| {
        let mut stream = StreamingBody::new(store.memory(), Some(bytes as u64));
        while stream.len() < bytes as u64 {
            let count = stream.space().len();
            stream.commit(count);
        }
        Arc::new(stream.finish().unwrap())
    };
    for (start, len) in [(0, 100), (100, 100_000), (200_000, 70_000), (50_000, 160_000)] {
        let part = Part { start, len };
        let head = Head {
            fragment: Fragment::partial(part, 300_000),
            block: b"ETag: \"a\"\r\n",
            ..head(b"http://a/", b"", 5)
        };
        let epoch = store.epoch(store.hash(b"http://a/"));
        assert!(store.insert(5, epoch, &head, body(len as usize)).is_some());
        assert!(store.memory().held() < empty + 5000, "all of it is in an entry");
    }
    let old = get(&store, "http://a/", 6).unwrap();
    assert!(freshen(&store, &old, &old.head()).is_some());
    drop(old);
    store.purge(|_| true);
    assert!(store.memory().held() <= empty && store.memory().bytes() == store.memory().held());
}
