//! In the steady state nothing is allocated: a counting allocator around the engine, which is driven without sockets.

#![allow(unsafe_code, reason = "a global allocator cannot be written without; it does nothing but count")]

#[path = "../benches/drive/mod.rs"]
mod drive;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Allocations of this thread, growth of one among them.
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

/// The number of allocations of this thread. Destructors of a thread may still allocate when its counter is gone.
fn count() {
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Enough for whatever grows with every run to show.
const RUNS: u64 = 200;

/// `cargo test --test allocations -- --nocapture` prints them all.
#[test]
fn the_steady_state_allocates_nothing() {
    let before = COUNT.get();
    drop(std::hint::black_box(Box::new(before)));
    assert_eq!(COUNT.get(), before + 1, "the counter counts");
    let mut beyond = Vec::new();
    for case in drive::cases() {
        let mut case = case.warm_up();
        let before = COUNT.get();
        for _ in 0..RUNS {
            case.run();
        }
        let count = COUNT.get() - before;
        println!("{:24} {:7.3}", case.name, count as f64 / RUNS as f64);
        if count > case.allocations_max * RUNS {
            beyond.push(format!(
                "{}: {count} in {RUNS} runs, at most {} each",
                case.name, case.allocations_max
            ));
        }
    }
    assert!(beyond.is_empty(), "{beyond:#?}");
}
