//! The bans of a file.

use crate::guard::networks::{NetworkError, parse_network};
use ipnet::IpNet;
use std::fmt::Display;

/// Most problems that are reported of one file; the last one names the rest (chosen).
pub const PROBLEMS_MAX: usize = 100;

/// Longest reason in bytes (chosen).
const REASON_BYTES_MAX: usize = 200;

/// Most characters of a faulty text that a problem shows (chosen).
const FOUND_CHARS_MAX: usize = 80;

/// The time of reading and the time of writing of a file.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// The present time in milliseconds since 1970: ended bans are left out.
    pub now_unix_ms: u64,
    /// Time of the last change of the file, in milliseconds since 1970: durations of CrowdSec begin there.
    pub written_unix_ms: u64,
    /// Seconds that local time is ahead of UTC: fail2ban writes local times.
    pub utc_offset_s: i64,
}

/// A ban of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileBan {
    /// An address is a network of one.
    pub network: IpNet,
    /// Milliseconds since 1970; `None` as long as the ban is in the file.
    pub until_unix_ms: Option<u64>,
    /// The reason in the file; may be empty.
    pub reason: Box<str>,
    /// Counted from 1; 0 in a file without lines.
    pub line: u32,
}

/// A line that is no ban.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Counted from 1; 0 where a file has no lines, or for the file as a whole.
    pub line: u32,
    /// What was expected, in one line of printable text.
    pub message: String,
}

/// The content of a file.
#[derive(Debug)]
pub struct BanList {
    /// In the order of the file. A network may occur more than once: the longest ban counts.
    pub bans: Vec<FileBan>,
    /// Lines that were left out.
    pub problems: Vec<Problem>,
    /// Entries that are no ban now: ended, simulated, of another kind (captcha), or without an address (a country).
    pub skipped: u64,
    /// Faulty lines, including those that are not reported.
    faults: u64,
    /// Bans beyond `bans_max`.
    left_out: u64,
    bans_max: usize,
    times: Times,
}

impl BanList {
    pub(super) fn new(times: Times, bans_max: usize) -> BanList {
        BanList {
            bans: Vec::new(),
            problems: Vec::new(),
            skipped: 0,
            faults: 0,
            left_out: 0,
            bans_max,
            times,
        }
    }

    pub(super) fn times(&self) -> Times {
        self.times
    }

    /// Adds a ban; the text is an address or a network.
    pub(super) fn ban(&mut self, line: u32, text: &str, until_unix_ms: Option<u64>, reason: &str) {
        let network = match parse_network(text) {
            Ok(network) => network,
            Err(NetworkError::HostBits(network)) => {
                return self.problem(line, format!("expected {network} or an address alone"), text);
            }
            Err(NetworkError::Malformed) => {
                return self.problem(line, "expected an address or a network", text);
            }
        };
        if until_unix_ms.is_some_and(|until| until <= self.times.now_unix_ms) {
            self.skipped += 1;
            return;
        }
        if self.bans.len() >= self.bans_max {
            self.left_out += 1;
            return;
        }
        let reason: String = reason.chars().filter(|char| !char.is_control()).collect();
        let end = reason.char_indices().map(|(at, char)| at + char.len_utf8());
        let end = end.take_while(|end| *end <= REASON_BYTES_MAX).last().unwrap_or(0);
        self.bans.push(FileBan { network, until_unix_ms, reason: reason[..end].into(), line });
    }

    pub(super) fn problem(&mut self, line: u32, expected: impl Display, found: &str) {
        self.faults += 1;
        if self.problems.len() < PROBLEMS_MAX {
            let head: String = found.chars().take(FOUND_CHARS_MAX).collect();
            let rest = if head.len() < found.len() { "…" } else { "" };
            let message = format!("{expected}, found \"{}{rest}\"", head.escape_debug());
            self.problems.push(Problem { line, message });
        }
    }

    /// Faulty lines, including those that are not reported as problems.
    pub fn faults(&self) -> u64 {
        self.faults
    }

    /// The list, or its problems if it contains nothing but faults.
    pub(super) fn finish(mut self) -> Result<BanList, Vec<Problem>> {
        let untold = self.faults - self.problems.len() as u64;
        if untold > 0 {
            let message = format!("expected fewer faulty lines: {untold} more are not told");
            self.problems.push(Problem { line: 0, message });
        }
        if self.left_out > 0 {
            self.problems.push(Problem { line: 0, message: too_many(self.left_out, self.bans_max) });
        }
        let is_list = self.faults == 0 || !self.bans.is_empty() || self.skipped + self.left_out > 0;
        if is_list { Ok(self) } else { Err(self.problems) }
    }
}

/// The warning of so many bans for which there is no room.
pub fn too_many(left_out: u64, bans_max: usize) -> String {
    format!(
        "{left_out} bans are left out: expected at most {bans_max} here (bans-max, or the share of --memory)"
    )
}
