//! The whole engine under a seeded scheduler: simulated clients, origins, name servers and clock, hundreds to
//! thousands of connections at once, and faults of every kind. A model that is simpler than the engine checks what
//! each peer receives; invariants are checked at every step.
//!
//! `SIM_SEED=n` runs one seed, with `SIM_TRACE=1` printing the events; `SIM_RUNS=n` runs that many seeds, from
//! `SIM_FIRST` on, and ends after `SIM_FAILURES` of them have failed (5). A failure names its seed.
//! `scripts/simulate` does this with an optimised build.

mod simulation {
    pub mod book;
    pub mod checks;
    pub mod client;
    pub mod dice;
    pub mod filters;
    pub mod guarding;
    pub mod http;
    pub mod identity;
    pub mod messages;
    pub mod names;
    pub mod network;
    pub mod origin;
    pub mod pages;
    pub mod scenario;
    pub mod sharing;
    pub mod shell;
    pub mod site;
    pub mod socket;
    pub mod tunnel;
    pub mod visitor;
    pub mod world;
}

use simulation::book::Tally;
use simulation::guarding::Reached;
use simulation::world::World;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Seeds that one `cargo test` runs: half a minute of work on two processors (chosen).
const RUNS: u64 = 150;

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name}: a number, not {text}")))
}

/// The two worlds of a seed.
fn run(seed: u64, tracing: bool) -> Result<Tally, String> {
    let mut sum = Tally::default();
    for together in [false, true] {
        if tracing {
            println!("a world with pages read together: {together}");
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| World::new(seed, together, tracing).run()));
        let told = outcome.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            Err(format!("panic: {}", text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("?")))
        });
        sum.add(&told.map_err(|error| format!("SIM_SEED={seed}: {error}"))?);
    }
    Ok(sum)
}

#[test]
fn holds_whatever_happens() {
    let tracing = std::env::var("SIM_TRACE").is_ok();
    if let Some(seed) = number("SIM_SEED") {
        match run(seed, tracing) {
            Ok(tally) => println!("seed {seed}: {tally:?}"),
            Err(error) => panic!("{error}"),
        }
        return;
    }
    let first = number("SIM_FIRST").unwrap_or(0);
    let runs = number("SIM_RUNS").unwrap_or(RUNS);
    let failures_max = number("SIM_FAILURES").unwrap_or(5);
    let began = Instant::now();
    let next = AtomicU64::new(first);
    let sum = Mutex::new((Tally::default(), Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let failed = sum.lock().is_ok_and(|sum| sum.1.len() as u64 >= failures_max);
            if seed >= first + runs || failed {
                return;
            }
            let outcome = run(seed, false);
            let mut sum = sum.lock().expect("the sum");
            match outcome {
                Ok(tally) => sum.0.add(&tally),
                Err(error) => sum.1.push(error),
            }
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(work))));
    let (tally, failures) = sum.into_inner().expect("the sum");
    let seconds = began.elapsed().as_secs_f64();
    println!("seeds {first} to {}: {} steps in {seconds:.1} s: {tally:?}", first + runs - 1, tally.steps);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(runs < 50 || tally.owed * 12 > tally.asked, "hardly any request had to succeed: {tally:?}");
    let moved = tally.moved_down.min(tally.moved_up).min(tally.moved_tunnels);
    assert!(runs < 50 || moved > runs, "hardly anything was moved inside the kernel: {tally:?}");
    let often = tally.hits.min(tally.shared).min(tally.collapsed).min(tally.revalidated);
    let seldom = [tally.stale, tally.refreshes, tally.evicted, tally.changes, tally.unmodified, tally.parts];
    let cached = often > runs && seldom.iter().all(|count| count * 20 > runs);
    assert!(
        runs < 50 || tally.references > runs,
        "hardly any stored body was sent without a copy: {tally:?}"
    );
    assert!(runs < 50 || tally.messages > runs, "loops had hardly anything to tell each other: {tally:?}");
    assert!(
        runs < 50 || tally.subscribed * 40 > runs,
        "hardly any loop read what another one received: {tally:?}"
    );
    let [together, left, broken] = tally.together;
    assert!(
        runs < 50 || (together * 4 > runs && left * 40 > runs && broken * 40 > runs),
        "clients of several loops hardly read anything together: {tally:?}"
    );
    assert!(runs < 50 || tally.pinned > runs, "hardly any connection was one client's alone: {tally:?}");
    assert!(runs < 50 || tally.busy * 10 > runs, "hardly any origin was busy: {tally:?}");
    assert!(runs < 50 || tally.failed_over > 0, "no upstream failed in place of another: {tally:?}");
    let filtered = tally.filtered_up.min(tally.filtered_down);
    assert!(
        runs < 50 || (filtered * 2 > runs && tally.filters_refused * 20 > runs),
        "filters had hardly anything to do: {tally:?}"
    );
    assert!(
        runs < 50 || tally.visited.iter().all(|count| count * 10 > runs),
        "hardly any own page was visited: {tally:?}"
    );
    let unreached = Reached::ALL.iter().find(|reached| !tally.guard.contains_key(reached));
    assert!(runs < 100 || unreached.is_none(), "the guard was never brought to {unreached:?}: {tally:?}");
    assert!(runs < 50 || cached, "the cache had hardly anything to do: {tally:?}");
}
