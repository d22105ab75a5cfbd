//! Exchanges through the engine without sockets: what weir itself costs, beside the system.
//!
//! `cargo bench --bench engine`; the same exchanges in instructions: `scripts/bench-diff`.

mod drive;

use divan::{AllocProfiler, Bencher};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

fn names() -> impl Iterator<Item = &'static str> {
    drive::cases().into_iter().map(|case| case.name)
}

/// All that happens between what comes in and what goes out, log record included.
#[divan::bench(args = names())]
fn exchange(bencher: Bencher, name: &str) {
    let case = drive::cases().into_iter().find(|case| case.name == name);
    let mut case = case.expect("a case of that name").warm_up();
    bencher.bench_local(|| case.run());
    let idle = case.shell.engine.metrics().blocks_lent == 0;
    assert!(idle, "at rest nothing is lent");
}
