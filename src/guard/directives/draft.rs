//! The part of a guard file that was read so far.

use super::{Directives, Place, Problem};
use crate::guard::networks::network_text;
use ipnet::IpNet;
use std::collections::BTreeMap;

/// Most limits and escalations together (chosen): each of them may cost every request a look-up.
pub const CHECKS_MAX: usize = 64;

/// The directives that were read so far.
#[derive(Default)]
pub(super) struct Draft {
    pub directives: Directives,
    /// The number of the line that is read.
    pub line: u32,
    /// Most bans in the file, unless it sets the number: further ones are left out, so that they take no memory.
    pub bans_max: usize,
    /// Number of bans that were left out.
    pub bans_left_out: u64,
    /// Directives that may occur only once, with their line numbers.
    seen: BTreeMap<String, u32>,
}

impl Draft {
    pub fn new(bans_max: usize) -> Draft {
        Draft { bans_max, ..Draft::default() }
    }

    pub fn place(&self, text: String) -> Place {
        Place { line: self.line, text: text.into() }
    }

    /// Records a warning, which does not make the file invalid.
    pub fn warn(&mut self, message: String) {
        let line = self.line;
        self.directives.warnings.push(Problem { line, message });
    }

    /// Records a directive that may occur only once; `message` describes the earlier line.
    pub fn once(&mut self, key: String, message: impl FnOnce(u32) -> String) -> Result<(), String> {
        match self.seen.get(&key) {
            Some(earlier) => Err(message(*earlier)),
            None => {
                self.seen.insert(key, self.line);
                Ok(())
            }
        }
    }

    /// Records a directive that a file may have only once.
    pub fn single(&mut self, name: &str) -> Result<(), String> {
        self.once(name.to_owned(), |line| format!("{name} again: expected once, and line {line} has it"))
    }

    pub fn networks_once(&mut self, name: &str, networks: &[IpNet]) -> Result<(), String> {
        networks.iter().try_for_each(|network| {
            let network = network_text(*network);
            let message = |line| format!("{network} again: expected once, and line {line} has it ({name})");
            self.once(format!("{name} {network}"), message)
        })
    }

    /// Limits and escalations are few, and no two count the same.
    pub fn check(&mut self, counts: &str, observe: bool, text: &str) -> Result<(), String> {
        if self.directives.limits.len() + self.directives.escalations.len() >= CHECKS_MAX {
            return Err(format!("expected at most {CHECKS_MAX} lines with limit and escalate in all"));
        }
        // An observing line beside a real one is no contradiction, unless both are equal otherwise.
        self.once(format!("{counts} {observe}"), |line| {
            format!("line {line} counts the same in the same time: expected one of the two")
        })?;
        self.once(text.trim_end_matches(" observe").to_owned(), |line| {
            format!("the same as line {line} but for observe: expected one of the two")
        })
    }
}
