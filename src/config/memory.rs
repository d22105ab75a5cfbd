//! `--memory`: divides a size for the whole process among all parts that have a bound.
//!
//! A part of the size is fixed: the program itself, its threads, and the files that it reads. An eighth is left to the
//! allocator. The rest is divided by [`PARTS`]: first the least that weir works with, then by weight. Values that the
//! operator has set are kept. A part whose bound is as high as without `--memory` leaves the rest of its share to the parts
//! behind it; the cache is the last part, and gets all that is left.

use std::fmt;

/// The fixed part of the process: the used pages of the program and the C library, their data, the threads other than loops
/// (measured: 4.6 MB and 0.5 MB under load; the core, the smallest build, has less, and the client of MongoDB takes 1.8 MB more).
const FIXED_BYTES: u64 = match () {
    () if cfg!(feature = "mongodb") => 7168 << 10,
    () if cfg!(feature = "redis") || cfg!(feature = "cloud") => 5120 << 10,
    () => 3072 << 10,
};

/// The memory of each loop that is not divided: stack, events, lines for the log, pipes (measured: 130 KB, and 64 KB of lines).
const LOOP_BYTES: u64 = 256 << 10;

/// Least blocks of a loop.
const LEAST_BLOCKS: u64 = 64;

/// The heap beside the least blocks of a loop, which is a part of their cost.
const LEAST_HEAP_BYTES: u64 = LEAST_BLOCKS * 1536;

/// The verdicts on passwords that each loop keeps, and those that all loops share, if there are users (their
/// constants: 4,096; 16,384 and 8,192 entries of about 100 bytes).
const USERS_BYTES: [u64; 2] = [512 << 10, 2560 << 10];

/// The memory of the guard other than keys, bans and events: rules, the parts of IPv4 (their constants; measured: 0.4 MB).
const GUARD_BYTES: u64 = 512 << 10;

/// The automata of a detector (measured: 5.1 MB).
const DETECTOR_BYTES: u64 = 5376 << 10;

/// The states and buffers of a detector that each loop keeps (their constants: 4 MB and 0.3 MB).
const STATES_BYTES: u64 = 4480 << 10;

/// The memory of pages beside their values: the thread of the store, and its buffers (measured).
const PAGES_BYTES: u64 = 256 << 10;

/// The memory of the cache beside its budget: tables of fills and of requests that wait for them (measured).
const CACHE_BYTES: u64 = 128 << 10;

/// Bytes of memory for one byte of a file, and for a word beside its bytes: the text and its compiled form, twice at a reload
/// (measured with lists of names: 101 bytes for a name of 22 bytes, 36 for one of 5, 17 for one of 1).
pub const FILE_FACTOR: u64 = 4;
const WORD_BYTES: u64 = 20;

/// The content of files: numbers that their memory depends on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Content {
    /// All bytes.
    pub bytes: u64,
    /// All words: names, or lines without blanks.
    pub words: u64,
    /// Rules for networks and addresses: of IPv4, and of IPv6.
    pub networks: [usize; 2],
    /// Users with passwords, and with slow hashes.
    pub users: [usize; 2],
    /// Upstreams of routes.
    pub upstreams: usize,
}

impl Content {
    /// Counts a file.
    pub fn add(&mut self, text: &[u8]) {
        self.bytes += text.len() as u64;
        self.words += text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).count() as u64;
    }

    /// The memory of the content. Some entries take more than their text pays for, twice at a reload (measured with short lines,
    /// text included: 107 and 155 bytes for a network, 93 for a user, 440 for one with a bcrypt hash; and 3.2 KB for an upstream
    /// with its share of a route). Bans are paid for with [`Part::Bans`].
    pub fn memory(&self) -> u64 {
        let ([v4, v6], [plain, slow]) = (self.networks, self.users);
        let entries = [(v4, 64), (v6, 112), (plain, 64), (slow, 144), (self.upstreams, 4096)];
        let text =
            self.bytes.saturating_mul(FILE_FACTOR).saturating_add(self.words.saturating_mul(WORD_BYTES));
        let cost = |(count, bytes): (usize, u64)| (count as u64).saturating_mul(bytes);
        entries.into_iter().map(cost).fold(text, u64::saturating_add)
    }
}

/// One part in this many is left to the allocator, for free memory between the used pieces (measured: 6 percent after hours
/// of mixed traffic).
const HEADROOM_SHARE: u64 = 8;

/// The parts, in the order in which shares are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Bytes of lines that wait to be written to the access log.
    Log,
    /// Names in the resolver's cache, of all loops.
    Names,
    /// Look-ups at the same time, in all loops.
    LookUps,
    /// Unused origin connections.
    IdleOrigins,
    /// Keys of each kind of the guard.
    Keys,
    /// Bans.
    Bans,
    /// Bytes of the guard's events.
    Events,
    /// Bytes of the values of pages, and as many for their sessions.
    Values,
    /// Client connections, each with its origin connection.
    Connections,
    /// Blocks, each with a request under way.
    Buffers,
    /// Bytes of the cache.
    Cache,
}

/// The properties of a part.
#[derive(Debug)]
struct Row {
    part: Part,
    /// The name of the units.
    name: &'static str,
    /// Bytes of one unit.
    cost: u64,
    /// The share of the memory that is left when each part has its least.
    weight: u64,
    /// The least that weir works with, and the least for each loop.
    least: [u64; 2],
    /// The bound without `--memory`; 0 for none.
    most: u64,
}

/// Number of parts.
const COUNT: usize = 11;

/// The table of shares (weights: chosen; costs: measured, with the growth of tables).
const PARTS: [Row; COUNT] = [
    // Two buffers alternate.
    Row { part: Part::Log, name: "bytes of log", cost: 2, weight: 3, least: [64 << 10, 0], most: 4 << 20 },
    Row { part: Part::Names, name: "DNS names", cost: 256, weight: 3, least: [0, 64], most: 4096 },
    Row { part: Part::LookUps, name: "look-ups", cost: 2048, weight: 2, least: [0, 16], most: 512 },
    Row { part: Part::IdleOrigins, name: "idle-origins", cost: 512, weight: 2, least: [0, 8], most: 512 },
    // Three tables, and 64 times of 4 bytes.
    Row { part: Part::Keys, name: "guard-keys", cost: 640, weight: 12, least: [256, 0], most: 100_000 },
    Row { part: Part::Bans, name: "bans-max", cost: 320, weight: 6, least: [64, 0], most: 1_000_000 },
    Row {
        part: Part::Events,
        name: "bytes of events",
        cost: 1,
        weight: 2,
        least: [64 << 10, 0],
        most: 4 << 20,
    },
    // As many bytes again for what expires. The least is a value at its longest, and its key.
    Row {
        part: Part::Values,
        name: "bytes of values",
        cost: 2,
        weight: 8,
        least: [72 << 10, 0],
        most: 32 << 20,
    },
    // A tunnel takes 272 bytes, and its tables grow by doubling; a request that is under way is paid for with its block.
    Row {
        part: Part::Connections,
        name: "max-connections",
        cost: 512,
        weight: 20,
        least: [16, 0],
        most: 10_000,
    },
    // 4 KB, three eighths of it for messages that are larger, and 2.5 KB for the request.
    Row {
        part: Part::Buffers,
        name: "buffers",
        cost: 8192,
        weight: 35,
        least: [0, LEAST_BLOCKS],
        most: 16_384,
    },
    Row { part: Part::Cache, name: "bytes of cache", cost: 1, weight: 40, least: [1 << 20, 0], most: 0 },
];

/// The size to divide, and the parts that get a share.
#[derive(Clone, Debug, Default)]
pub struct Demand {
    /// Bytes for the whole process.
    pub total: u64,
    /// Loops, at least one.
    pub loops: u64,
    /// Bytes of heap that each loop keeps for large messages, however few blocks it has.
    pub large_messages: u64,
    /// Bytes of memory for the content of all files: rules, users, routes ([`Content::memory`]).
    pub content_bytes: u64,
    /// Whether the cache is on.
    pub cache: bool,
    /// Whether a guard file is configured.
    pub guard: bool,
    /// Whether a user file is configured.
    pub users: bool,
    /// Detectors that may exist at the same time: two if a reload may bring other patterns.
    pub detectors: u64,
    /// Whether the program around the proxy has pages.
    pub pages: bool,
    /// The values that the operator has set, by part.
    pub given: [Option<u64>; COUNT],
}

impl Demand {
    /// The operator has set the units of this part.
    pub fn give(&mut self, part: Part, count: u64) {
        self.given[part as usize] = Some(count);
    }

    /// The fixed memory, in bytes.
    fn fixed(&self) -> u64 {
        let when = |there: bool, bytes: u64| if there { bytes } else { 0 };
        let loops = self.loops.max(1);
        let program = FIXED_BYTES
            + loops * (LOOP_BYTES + self.large_messages.saturating_sub(LEAST_HEAP_BYTES))
            + when(self.users, USERS_BYTES[1] + loops * USERS_BYTES[0])
            + when(self.guard, GUARD_BYTES)
            + when(self.pages, PAGES_BYTES)
            + when(self.cache, CACHE_BYTES)
            + self.detectors * DETECTOR_BYTES
            + when(self.detectors > 0, loops * STATES_BYTES);
        program.saturating_add(self.content_bytes)
    }

    fn takes_part(&self, part: Part) -> bool {
        match part {
            Part::Keys | Part::Bans | Part::Events => self.guard,
            Part::Values => self.pages,
            Part::Cache => self.cache,
            Part::Log
            | Part::Names
            | Part::LookUps
            | Part::IdleOrigins
            | Part::Connections
            | Part::Buffers => true,
        }
    }

    /// The least number of units of a part.
    fn least(&self, row: &Row) -> u64 {
        let [least, of_loop] = row.least;
        self.given[row.part as usize].unwrap_or(least + of_loop * self.loops.max(1))
    }
}

/// The share of each part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shares {
    counts: [u64; COUNT],
    /// Bytes of fixed memory, including files.
    pub fixed: u64,
}

impl Shares {
    /// The number of units of a part, for all loops together.
    pub fn of(&self, part: Part) -> u64 {
        self.counts[part as usize]
    }

    /// Bytes of all parts at their bounds, without the part of the allocator.
    pub fn sum(&self) -> u64 {
        let costs = PARTS.iter().map(|row| self.of(row.part).saturating_mul(row.cost));
        costs.fold(self.fixed, u64::saturating_add)
    }
}

/// The size is too small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooSmall {
    /// The smallest size that works, in bytes.
    pub needed: u64,
    total: u64,
    fixed: u64,
    /// For each part, the least number of units, its name, and the bytes that they take.
    parts: Vec<(u64, &'static str, u64)>,
}

impl fmt::Display for TooSmall {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kib = |bytes: u64| bytes.div_ceil(1024);
        write!(out, "expected {}K or more, not {}K: ", kib(self.needed), self.total / 1024)?;
        write!(out, "{}K for weir, its loops and its files", kib(self.fixed))?;
        for (count, name, bytes) in &self.parts {
            write!(out, ", {}K for {count} {name}", kib(*bytes))?;
        }
        let allocator = self.needed / HEADROOM_SHARE;
        write!(out, ", {}K for the allocator", kib(allocator))
    }
}

/// Divides a size. Fails if it is too small for the fixed memory, the values that the operator has set, and the least of all
/// other parts.
pub fn shares(demand: &Demand) -> Result<Shares, TooSmall> {
    let rows = || PARTS.iter().filter(|row| demand.takes_part(row.part));
    let fixed = demand.fixed();
    let mut shares = Shares { counts: [0; COUNT], fixed };
    rows().for_each(|row| shares.counts[row.part as usize] = demand.least(row));
    let usable = demand.total - demand.total.div_ceil(HEADROOM_SHARE);
    let Some(mut left) = usable.checked_sub(shares.sum()) else {
        let part = |row: &Row| {
            let count = shares.of(row.part);
            (count, row.name, count.saturating_mul(row.cost))
        };
        // The memory of this size, without the allocator's part, is the sum or a little more.
        let needed = (shares.sum() / (HEADROOM_SHARE - 1)).saturating_mul(HEADROOM_SHARE);
        let needed = needed.saturating_add(2 * HEADROOM_SHARE).div_ceil(1024).saturating_mul(1024);
        let parts = rows().map(part).collect();
        return Err(TooSmall { needed, total: demand.total, fixed, parts });
    };
    let open = |row: &&Row| demand.given[row.part as usize].is_none();
    let mut weights: u64 = rows().filter(open).map(|row| row.weight).sum();
    for row in rows().filter(open) {
        let count = &mut shares.counts[row.part as usize];
        let most = if row.most == 0 { u64::MAX } else { row.most.max(*count) };
        let share = u128::from(left) * u128::from(row.weight) / u128::from(weights.max(1));
        let more = (share as u64 / row.cost).min(most - *count);
        *count += more;
        left -= more * row.cost;
        weights -= row.weight;
    }
    Ok(shares)
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
