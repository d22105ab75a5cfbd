//! The 4 KB ring: the cost per byte under way in memory traffic and bookkeeping.

use divan::{Bencher, black_box};
use weir::net::{Pool, Purpose, Ring};

fn main() {
    divan::main();
}

/// Fills and drains once.
pub fn step_once(pool: &mut Pool, ring: &mut Ring, payload: &[u8]) {
    let space = ring.space(pool, Purpose::Download, 1);
    let count = space.map_or(0, |mut space| space.fill(payload));
    ring.commit(pool, &[count]);
    ring.for_each_slice(pool, |slice| _ = black_box(slice));
    ring.consume(pool, ring.len());
}

/// Fill and drain in steps of that many bytes.
#[divan::bench(args = [1, 64, 1000, 4096])]
fn fill_and_drain(bencher: Bencher, step: usize) {
    let mut pool = Pool::new(64);
    let mut ring = Ring::default();
    let payload = vec![7; step];
    bencher.bench_local(|| step_once(&mut pool, &mut ring, &payload));
}

/// Lend a block and give it back.
#[divan::bench]
fn lend(bencher: Bencher) {
    let mut pool = Pool::new(64);
    bencher.bench_local(|| {
        if let Some(block) = pool.lend(Purpose::Download) {
            pool.give_back(black_box(block));
        }
    });
}
