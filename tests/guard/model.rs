//! Reference models of what stores count, written from the guard semantics and from nothing of weir: plain, slow, and of the
//! shape that the reference systems have. Tests of each store compare it with these on random sequences.

#![allow(dead_code)]

/// The constants of section 6, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Constants {
    pub max_requests: i64,
    pub window: i64,
    pub block_after: i64,
    pub block_for: i64,
    /// `None`: never.
    pub perma_after: Option<i64>,
    pub perma_window: i64,
}

/// The constants of the reference system.
pub const REFERENCE: Constants = Constants {
    max_requests: 50,
    window: 60_000,
    block_after: 3,
    block_for: 900_000,
    perma_after: Some(10),
    perma_window: 86_400_000,
};

/// A document of section 6. Fields that are missing are `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    pub count: Option<i64>,
    pub window_start: Option<i64>,
    pub violations: Option<i64>,
    pub blocked_until: Option<i64>,
    pub permanent_blocked: Option<bool>,
    pub permanent_blocked_at: Option<i64>,
    pub violation_events: Option<Vec<i64>>,
}

/// What the document says, after the update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    /// The rest of the window in milliseconds, at least 1.
    Over(i64),
    /// The rest of the block in milliseconds.
    Blocked(i64),
    Permanent,
}

/// One find-and-update: the eight stages in their order, then the answer.
pub fn update(document: &Document, now: i64, constants: &Constants) -> (Document, Verdict) {
    // Stage 1.
    let mut count = document.count.unwrap_or(0);
    let mut window_start = document.window_start.unwrap_or(now);
    let mut violations = document.violations.unwrap_or(0);
    let mut blocked_until = document.blocked_until;
    let mut permanent = document.permanent_blocked.unwrap_or(false);
    let mut permanent_at = document.permanent_blocked_at;
    let mut events = document.violation_events.clone().unwrap_or_default();
    // Stage 2.
    events.retain(|event| *event >= now - constants.perma_window);
    // Stage 3.
    let blocked = permanent || blocked_until.is_some_and(|until| until > now);
    // Stage 4.
    if !blocked {
        if window_start < now - constants.window {
            window_start = now;
            count = 1;
        } else {
            count += 1;
        }
    }
    // Stages 5 and 6.
    let over = !blocked && count > constants.max_requests;
    if over {
        violations += 1;
        events.push(now);
    }
    // Stage 7.
    if over && violations >= constants.block_after {
        blocked_until = Some(now + constants.block_for);
    }
    // Stage 8.
    if over && constants.perma_after.is_some_and(|most| events.len() as i64 >= most) {
        permanent = true;
        permanent_at = permanent_at.or(Some(now));
    }
    let verdict = if permanent {
        Verdict::Permanent
    } else if let Some(until) = blocked_until.filter(|until| now < *until) {
        Verdict::Blocked(until - now)
    } else if count > constants.max_requests {
        Verdict::Over((window_start + constants.window - now).max(1))
    } else {
        Verdict::Pass
    };
    let document = Document {
        count: Some(count),
        window_start: Some(window_start),
        violations: Some(violations),
        blocked_until,
        permanent_blocked: Some(permanent),
        permanent_blocked_at: permanent_at,
        violation_events: Some(events),
    };
    (document, verdict)
}

/// All hits of a key, for ever: a sliding window of section 5 with what **Ours** says of `Retry-After`.
#[derive(Clone, Debug, Default)]
pub struct Hits {
    times: Vec<i64>,
}

impl Hits {
    /// Records a hit: whether it is within the limit, how many are left, and how long until the next one would pass.
    pub fn record(&mut self, limit: usize, window: i64, now: i64) -> (bool, usize, i64) {
        let in_window = |times: &[i64], at: i64| times.iter().filter(|time| **time > at - window).count();
        let within = in_window(&self.times, now) < limit;
        self.times.push(now);
        let left = limit.saturating_sub(in_window(&self.times, now));
        // The number falls only when a hit leaves.
        let leaves = self.times.iter().map(|time| time + window - now).filter(|wait| *wait > 0);
        let mut waits: Vec<i64> = std::iter::once(0).chain(leaves).collect();
        waits.sort_unstable();
        let free = |wait: &i64| in_window(&self.times, now + wait) < limit;
        let wait = waits.into_iter().find(free).unwrap_or(window);
        (within, left, wait)
    }
}

/// Random steps that meet the edges: which of some keys, and how long after the step before.
pub struct Steps {
    state: u64,
    keys: u64,
    gaps: Vec<u64>,
}

impl Steps {
    /// `edges` are lengths of time at which something changes: gaps are of their size, exactly, one more and one less, and
    /// mostly short.
    pub fn new(seed: u64, keys: u64, edges: &[u64]) -> Steps {
        let gaps =
            edges.iter().flat_map(|edge| [edge.saturating_sub(1), *edge, edge + 1, edge / 3]).collect();
        Steps { state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1, keys, gaps }
    }

    /// A random number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }
}

impl Iterator for Steps {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<(u64, u64)> {
        let key = self.below(self.keys);
        let gap = match self.below(8) {
            0 => {
                let at = self.below(self.gaps.len() as u64) as usize;
                self.gaps[at]
            }
            1..=3 => 0,
            _ => self.below(20),
        };
        Some((key, gap))
    }
}
