//! What was read of a guard file so far.

use super::{Directives, Place, Problem};
use crate::guard::networks::network_text;
use ipnet::IpNet;
use std::collections::BTreeMap;

/// Most limits and escalations together (chosen): each of them may cost every request a look-up.
pub const CHECKS_MAX: usize = 64;

/// What was read so far.
#[derive(Default)]
pub(super) struct Draft {
    pub directives: Directives,
    /// The number of the line that is read.
    pub line: u32,
    /// What must be there once, and the line that has it.
    seen: BTreeMap<String, u32>,
}

impl Draft {
    pub fn place(&self, text: String) -> Place {
        Place { line: self.line, text: text.into() }
    }

    /// Notes what is told and holds all the same.
    pub fn warn(&mut self, message: String) {
        let line = self.line;
        self.directives.warnings.push(Problem { line, message });
    }

    /// Notes what must be there once; the message is about the line that has it already.
    pub fn once(&mut self, key: String, message: impl FnOnce(u32) -> String) -> Result<(), String> {
        match self.seen.get(&key) {
            Some(earlier) => Err(message(*earlier)),
            None => {
                self.seen.insert(key, self.line);
                Ok(())
            }
        }
    }

    /// A directive of which a file has one.
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
        // A trial beside what holds is no contradiction, unless it tries just that.
        self.once(format!("{counts} {observe}"), |line| {
            format!("line {line} counts the same in the same time: expected one of the two")
        })?;
        self.once(text.trim_end_matches(" observe").to_owned(), |line| {
            format!("the same as line {line} but for observe: expected one of the two")
        })
    }
}
