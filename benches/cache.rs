//! The cache's store without an engine: look-up, insert, evict with many entries, and what an entry takes beside its bytes.

use divan::{Bencher, black_box};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock};
use weir::cache::fill::streaming_body::StreamingBody;
use weir::cache::rfc::freshness::Terms;
use weir::cache::store::stored::Head;
use weir::cache::store::{Found, Limits, Store};
use weir::http::head::Version;

/// Entries of the full store.
const ENTRIES: usize = 1_000_000;

/// Body of each: small, so that a million fit into the memory of a small machine.
const BODY_BYTES: usize = 100;

const BLOCK: &[u8] = b"Server: bench\r\nDate: Sat, 21 Nov 2026 10:00:00 GMT\r\nContent-Type: text/plain\r\n\
    Cache-Control: max-age=3600\r\nETag: \"5f3a\"\r\n";

fn main() {
    print_bookkeeping();
    print_growth();
    divan::main();
}

fn key(index: usize) -> String {
    format!("http://www.example.com/a/page/{index:07}")
}

fn head(key: &[u8], now_us: u64) -> Head<'_> {
    Head {
        key,
        names: b"",
        selecting: b"",
        reason: b"OK",
        block: BLOCK,
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

fn put(store: &Store, index: usize, bytes: usize) {
    let key = key(index);
    let mut growing = StreamingBody::new(store.memory(), Some(bytes as u64));
    let mut left = bytes;
    while left > 0 {
        let space = growing.space();
        let count = space.len().min(left);
        space[..count].fill(b'x');
        growing.commit(count);
        left -= count;
    }
    let body = growing.finish().expect("nothing was given up");
    let epoch = store.epoch(store.hash(key.as_bytes()));
    store.insert(index as u64, epoch, &head(key.as_bytes(), index as u64), Arc::new(body));
}

/// A store with a million entries, made once.
fn full() -> &'static Store {
    static FULL: OnceLock<Store> = OnceLock::new();
    FULL.get_or_init(|| {
        let store = Store::new(Limits::with_budget(4 << 30, [1, 2]));
        (0..ENTRIES).for_each(|index| put(&store, index, BODY_BYTES));
        store
    })
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

fn print_bookkeeping() {
    let before = resident_bytes();
    let store = full();
    let payload = ENTRIES * (BODY_BYTES + BLOCK.len() + key(0).len() + 2);
    let charged = store.memory().bytes();
    println!(
        "{ENTRIES} entries: {} bytes of bookkeeping each by the memory, {} by the system",
        (charged - payload) / ENTRIES,
        (resident_bytes() - before).saturating_sub(payload) / ENTRIES
    );
}

/// A churning store: growth of the process beyond what the store accounts for.
fn print_growth() {
    for (name, sizes) in [
        ("1 KB", &[1024][..]),
        ("mixed 200 B to 1 MB", &[200, 900, 3000, 7000, 12_000, 30_000, 45_000, 90_000, 250_000, 1_000_000]),
    ] {
        let before = resident_bytes();
        let budget = 256 << 20;
        let store = Store::new(Limits::with_budget(budget, [1, 2]));
        let mut state = 1_u64;
        let (mut bytes, mut index) = (0, 0);
        while bytes < 6 * budget {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let size = sizes[(state >> 33) as usize % sizes.len()];
            let size = size / 2 + (state >> 40) as usize % size;
            put(&store, index, size);
            (bytes, index) = (bytes + size, index + 1);
        }
        println!(
            "{name}: budget {} MB, memory {} MB, resident growth {} MB, {} entries",
            budget >> 20,
            store.memory().bytes() >> 20,
            resident_bytes().saturating_sub(before) >> 20,
            store.statistics().entries
        );
    }
}

#[divan::bench]
fn look_up(bencher: Bencher) {
    let store = full();
    let keys: Vec<String> = (0..4096).map(|index| key(index * 7919 % ENTRIES)).collect();
    let mut at = 0;
    bencher.bench_local(|| {
        at = (at + 1) % keys.len();
        let key = keys[at].as_bytes();
        let found = store.find(ENTRIES as u64, store.hash(key), key, |_| Some(()));
        assert!(matches!(black_box(found), Found::Entry(_)));
    });
}

#[divan::bench]
fn look_up_of_nothing(bencher: Bencher) {
    let store = full();
    bencher.bench_local(|| {
        let found = store.find(1, store.hash(b"http://other/"), b"http://other/", |_| Some(()));
        assert!(matches!(black_box(found), Found::Nothing));
    });
}

/// Replaces one of a million, its allocations included.
#[divan::bench]
fn insert(bencher: Bencher) {
    let store = full();
    let mut at = 0;
    bencher.bench_local(|| {
        at = (at + 7919) % ENTRIES;
        put(store, at, BODY_BYTES);
    });
}

/// Stores one and evicts the oldest for it.
#[divan::bench]
fn insert_and_evict(bencher: Bencher) {
    let store = Store::new(Limits::with_budget(512 << 20, [1, 2]));
    let mut at = 0;
    while store.statistics().evicted == 0 {
        for _ in 0..10_000 {
            put(&store, at, BODY_BYTES);
            at += 1;
        }
    }
    bencher.bench_local(|| {
        put(&store, at, BODY_BYTES);
        at += 1;
    });
}
