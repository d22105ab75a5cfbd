//! The memory of the process against its limit (`--memory`): how close it is, and what is given up at each level.
//!
//! All bounds are sized so that all parts together fit. No bound covers the gaps between the allocator's pieces, and the
//! program's code in use: so each loop reads the memory of the process, and gives up, in this order, code that is not in use
//! and entries of the cache; idle upstream connections; new clients and requests, which wait. Values of pages are not given up.

use super::memory;
use crate::time::Now;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Time between two looks while enough memory is free (chosen: a loop takes less than the free quarter in this time).
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Between two looks while something is being given up, if nothing else happens (chosen).
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Time between two calls of the allocator to return all free memory (chosen: the call walks over all its memory).
const TRIM_EVERY: Duration = Duration::from_millis(100);

/// Most bytes of files that count (measured: 4.6 MB of code in use, and 6.4 with the client of MongoDB). Only builds without
/// optimisation have more, and they are not for small memories.
const FILES_MAX: u64 = if cfg!(feature = "mongodb") { 7 << 20 } else { 5 << 20 };

/// Parts in 32 of the size from which on something is given up (chosen).
pub(super) const CODE: u64 = 26;
pub(super) const CACHE: u64 = 28;
pub(super) const ORIGINS: u64 = 29;
pub(super) const CLIENTS: u64 = 30;

/// The memory of the process, and its limit. One gauge for all loops, in a process that runs nothing but the proxy.
#[derive(Debug)]
pub struct MemoryGauge {
    /// `/proc/self/statm` (proc(5)).
    statm: File,
    /// The unit of the file in bytes.
    page_bytes: u64,
    /// The limit in bytes; 0 for none.
    limit: AtomicU64,
}

impl MemoryGauge {
    /// A gauge without a limit; `None` if the system has no such file. Called before the sandbox closes the file.
    pub fn open() -> Option<Arc<MemoryGauge>> {
        let statm = File::open("/proc/self/statm").ok()?;
        let page_bytes = memory::page_bytes() as u64;
        Some(Arc::new(MemoryGauge { statm, page_bytes, limit: AtomicU64::new(0) }))
    }

    /// Sets the limit in bytes; 0 for none. Releases the code that was used once, as by reading the configuration.
    pub fn set_limit(&self, bytes: u64) {
        self.limit.store(bytes, Ordering::Relaxed);
        self.drop_code();
    }

    /// Releases the code that was used once, as by a start. Code that is used again comes back from the system's page cache.
    pub fn drop_code(&self) {
        memory::drop_code();
    }

    /// The memory of the process. `None` without a limit.
    fn read(&self) -> Option<Used> {
        let limit = self.limit.load(Ordering::Relaxed);
        if limit == 0 {
            return None;
        }
        let mut text = [0; 128];
        let len = self.statm.read_at(&mut text, 0).ok()?;
        Used::of(text.get(..len)?, self.page_bytes, limit)
    }
}

/// How close the process is to its limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Used {
    /// Memory with all code, in 32nds of the limit, rounded down.
    pub with_code: u64,
    /// Memory with no more code than counts, in 32nds of the limit.
    pub parts: u64,
    /// Bytes of this beyond those from which on the cache gives up.
    pub excess: u64,
}

impl Used {
    /// From a line of `statm`: size, resident, of these from files, ..., in pages.
    fn of(line: &[u8], page_bytes: u64, limit: u64) -> Option<Used> {
        let mut numbers = std::str::from_utf8(line).ok()?.split(' ').skip(1);
        let mut next = || Some(numbers.next()?.parse::<u64>().ok()?.saturating_mul(page_bytes));
        let (resident, files) = (next()?, next()?);
        let bytes = resident.saturating_sub(files).saturating_add(files.min(FILES_MAX));
        let parts = |bytes: u64| bytes.saturating_mul(32) / limit;
        let excess = bytes.saturating_sub(limit / 32 * CACHE);
        Some(Used { with_code: parts(resident), parts: parts(bytes), excess })
    }
}

/// The memory as one loop last saw it. Times are in microseconds since the loop started.
#[derive(Debug, Default)]
pub(super) struct Pressure {
    gauge: Option<Arc<MemoryGauge>>,
    /// The memory at the last look.
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

    /// The time of the next look in an idle process.
    pub fn due_us(&self) -> Option<u64> {
        (self.used.parts >= CACHE).then_some(self.look_due_us)
    }

    /// The memory of the process, if a look is due.
    pub fn look(&mut self, now: Now) -> Option<Used> {
        if self.used.parts < CODE && now.monotonic_us < self.look_due_us {
            return None;
        }
        let found = self.gauge.as_ref()?.read();
        self.used = found.unwrap_or_default();
        let every = if self.used.parts >= CACHE { LOOK_AGAIN } else { LOOK_EVERY };
        self.look_due_us = now.monotonic_us + every.as_micros() as u64;
        // After the limit is lifted, the loop accepts again.
        found.or(self.closed.then_some(self.used))
    }

    /// Whether enough time has passed to ask the allocator for its free memory again.
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

    const PAGE_BYTES: u64 = 4096;

    #[test]
    fn files_count_up_to_a_bound() {
        let line = |files: u64, others: u64| format!("99999 {} {files} 3 0 77 0\n", files + others);
        let limit = 3200 * PAGE_BYTES;
        let most = FILES_MAX / PAGE_BYTES;
        for (files, others, with_code, parts, excess) in [
            (0, 0, 0, 0, 0),
            (10, 90, 1, 1, 0),
            (1000, 1999, 29, 29, 199),
            (most, 2799 - most, 27, 27, 0),
            (most, 2801 - most, 28, 28, 1),
            (most + 639, 2801 - most, 34, 28, 1),
            (u64::MAX >> 13, 0, u64::MAX / limit, most / 100, 0),
        ] {
            let line = line(files, others);
            let expected = Used { with_code, parts, excess: excess * PAGE_BYTES };
            assert_eq!(Used::of(line.as_bytes(), PAGE_BYTES, limit), Some(expected), "{line}");
        }
        // Larger pages.
        let half = line(0, 50);
        let used = Used::of(half.as_bytes(), 4 * PAGE_BYTES, 400 * PAGE_BYTES);
        assert_eq!(used, Some(Used { with_code: 16, parts: 16, excess: 0 }));
        for broken in ["", "1", "1 2", "1 x 3", "1 2 -3", "\u{fffd} \u{fffd}"] {
            assert_eq!(Used::of(broken.as_bytes(), PAGE_BYTES, limit), None, "{broken}");
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
