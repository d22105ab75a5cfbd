//! The memory of the process against the size that it may have (`--memory`): how close it is, and what is given up then.
//!
//! Every bound is sized so that all of them together fit. What no bound foresees is how the allocator's pieces lie, and how much
//! of the program's code is in use: so each loop looks at what the process really has, and gives up, in this order, code that is
//! not in use and entries of the cache; idle origin connections; new clients and requests, which wait.

use super::memory;
use crate::time::Now;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Between two looks while there is plenty (chosen: what a loop can take meanwhile is less than the quarter that is left).
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Between two looks while something is being given up, if nothing else happens (chosen).
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Between two times that the allocator is asked for all that it has free (chosen: it walks over all of it).
const TRIM_EVERY: Duration = Duration::from_millis(100);

/// Bytes of a page, as the system counts here (most systems; with larger pages more is seen than there is).
const PAGE_BYTES: u64 = 4096;

/// Most bytes of files that count (measured: 4.6 MB of code in use). There are more in builds without optimisation only, which
/// are not made for small memories.
const FILES_MAX: u64 = 5 << 20;

/// Parts in 32 of the size from which on something is given up (chosen).
pub(super) const CODE: u64 = 26;
pub(super) const CACHE: u64 = 28;
pub(super) const ORIGINS: u64 = 29;
pub(super) const CLIENTS: u64 = 30;

/// What the process has, and what it may have. One for all loops.
#[derive(Debug)]
pub struct MemoryGauge {
    /// `/proc/self/statm` (proc(5)).
    statm: File,
    /// In bytes; 0: any amount.
    limit: AtomicU64,
}

impl MemoryGauge {
    /// A gauge without a limit, where the system has one. To be made before the sandbox closes its file.
    pub fn open() -> Option<Arc<MemoryGauge>> {
        let statm = File::open("/proc/self/statm").ok()?;
        Some(Arc::new(MemoryGauge { statm, limit: AtomicU64::new(0) }))
    }

    /// Has another limit hold, in bytes; 0: none. What only the start has needed of the program's code goes.
    pub fn set_limit(&self, bytes: u64) {
        self.limit.store(bytes, Ordering::Relaxed);
        if bytes > 0 {
            memory::drop_code();
        }
    }

    /// What the process has. `None` without a limit.
    fn read(&self) -> Option<Used> {
        let limit = self.limit.load(Ordering::Relaxed);
        if limit == 0 {
            return None;
        }
        let mut text = [0; 128];
        let len = self.statm.read_at(&mut text, 0).ok()?;
        Used::of(text.get(..len)?, limit)
    }
}

/// How close the process is to its limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Used {
    /// In 32 parts of the limit, rounded down, with all of its code.
    pub with_code: u64,
    /// The same, with no more code than counts.
    pub parts: u64,
    /// Bytes of this beyond those from which on the cache gives up.
    pub excess: u64,
}

impl Used {
    /// By a line of `statm`: size, resident, of these from files, ...
    fn of(line: &[u8], limit: u64) -> Option<Used> {
        let mut numbers = std::str::from_utf8(line).ok()?.split(' ').skip(1);
        let mut next = || Some(numbers.next()?.parse::<u64>().ok()?.saturating_mul(PAGE_BYTES));
        let (resident, files) = (next()?, next()?);
        let bytes = resident.saturating_sub(files).saturating_add(files.min(FILES_MAX));
        let parts = |bytes: u64| bytes.saturating_mul(32) / limit;
        let excess = bytes.saturating_sub(limit / 32 * CACHE);
        Some(Used { with_code: parts(resident), parts: parts(bytes), excess })
    }
}

/// What one loop knows of it. Times are in microseconds since the loop started.
#[derive(Debug, Default)]
pub(super) struct Pressure {
    gauge: Option<Arc<MemoryGauge>>,
    /// At the last look.
    used: Used,
    look_due_us: u64,
    trim_due_us: u64,
    /// Clients and requests wait.
    pub closed: bool,
}

impl Pressure {
    pub fn new(gauge: Option<Arc<MemoryGauge>>) -> Pressure {
        Pressure { gauge, ..Pressure::default() }
    }

    /// When to look again though nothing happens.
    pub fn due_us(&self) -> Option<u64> {
        (self.used.parts >= CACHE).then_some(self.look_due_us)
    }

    /// What the process has, if it is time to look.
    pub fn look(&mut self, now: Now) -> Option<Used> {
        if self.used.parts < CODE && now.monotonic_us < self.look_due_us {
            return None;
        }
        let found = self.gauge.as_ref()?.read();
        self.used = found.unwrap_or_default();
        let every = if self.used.parts >= CACHE { LOOK_AGAIN } else { LOOK_EVERY };
        self.look_due_us = now.monotonic_us + every.as_micros() as u64;
        // A limit that was lifted lets everything go on.
        found.or(self.closed.then_some(self.used))
    }

    /// Whether it is time to give back again what costs time to find.
    pub fn may_trim(&mut self, now: Now) -> bool {
        let due = self.trim_due_us <= now.monotonic_us;
        if due {
            self.trim_due_us = now.monotonic_us + TRIM_EVERY.as_micros() as u64;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_count_up_to_a_bound() {
        let line = |files: u64, others: u64| format!("99999 {} {files} 3 0 77 0\n", files + others);
        let limit = 3200 * PAGE_BYTES;
        for (files, others, with_code, parts, excess) in [
            (0, 0, 0, 0, 0),
            (10, 90, 1, 1, 0),
            (1000, 1999, 29, 29, 199),
            (1280, 1519, 27, 27, 0),
            (1280, 1521, 28, 28, 1),
            (1919, 1521, 34, 28, 1),
            (u64::MAX >> 13, 0, u64::MAX / limit, 12, 0),
        ] {
            let line = line(files, others);
            let expected = Used { with_code, parts, excess: excess * PAGE_BYTES };
            assert_eq!(Used::of(line.as_bytes(), limit), Some(expected), "{line}");
        }
        for broken in ["", "1", "1 2", "1 x 3", "1 2 -3", "\u{fffd} \u{fffd}"] {
            assert_eq!(Used::of(broken.as_bytes(), limit), None, "{broken}");
        }
    }

    #[test]
    fn a_look_is_taken_when_it_is_time_and_always_when_little_is_left() {
        let gauge = MemoryGauge::open().expect("a system with /proc");
        let at = |us| Now { monotonic_us: us, ..Now::default() };
        let mut pressure = Pressure::new(Some(Arc::clone(&gauge)));
        assert_eq!((pressure.look(at(0)), pressure.due_us()), (None, None), "no limit");
        gauge.set_limit(1 << 40);
        assert_eq!(pressure.look(at(5)), None, "it was looked a moment ago");
        assert_eq!(pressure.look(at(20_000)), Some(Used::default()));
        assert_eq!(pressure.due_us(), None);
        gauge.set_limit(1 << 16);
        assert_eq!(pressure.look(at(20_001)), None);
        let used = pressure.look(at(40_000)).expect("it is time");
        assert!(used.parts >= CLIENTS && used.excess > 0 && pressure.due_us() == Some(60_000), "{used:?}");
        assert!(pressure.look(at(40_001)).is_some(), "little is left");
        gauge.set_limit(0);
        pressure.closed = true;
        assert_eq!(pressure.look(at(40_002)), Some(Used::default()), "what was closed opens");
    }
}
