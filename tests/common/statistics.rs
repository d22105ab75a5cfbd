//! The statistics of the daemon, and the kernel's figures about it.

use super::{Weir, eventually};
use rustix::process::Signal;
use std::collections::HashMap;
use weir::metrics::Metrics;

/// One statistics line, by name.
#[derive(Clone, Debug, Default)]
pub struct Statistics(HashMap<String, u64>);

impl Statistics {
    fn parse(line: &str) -> Statistics {
        let pairs = line.split(' ').filter_map(|pair| pair.split_once('='));
        Statistics(pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect())
    }

    /// A number; fails if the line has none of that name. Bounds that were not reached are left out of the line.
    #[track_caller]
    pub fn get(&self, name: &str) -> u64 {
        let bound = ["limit_", "timeouts_", "cache_"].iter().any(|kind| name.starts_with(kind));
        let known = || Metrics::DESCRIPTORS.iter().any(|descriptor| descriptor.name == name);
        match self.0.get(name) {
            Some(&number) => number,
            None if bound && known() => 0,
            None => panic!("the statistics have no {name}: {self:?}"),
        }
    }

    /// How many deadlines have ended something that was under way.
    pub fn timeouts(&self) -> u64 {
        let kinds =
            ["head", "block", "body", "client", "response", "verification", "connect", "dns", "tunnel"];
        kinds.iter().map(|kind| self.get(&format!("timeouts_{kind}"))).sum()
    }
}

/// Figures from `/proc`. `None` if the kernel does not show them to this user.
#[derive(Clone, Copy, Debug, Default)]
pub struct Footprint {
    /// Resident memory in KiB; pages that are shared count in full.
    pub resident_kib: u64,
    /// The most that this was since the process began.
    pub peak_kib: u64,
    /// Resident memory, with each shared page divided by the number of its processes.
    pub proportional_kib: Option<u64>,
    /// Open descriptors.
    pub descriptors: Option<usize>,
}

impl Weir {
    /// Asks for the statistics by a signal.
    #[track_caller]
    pub fn statistics(&self) -> Statistics {
        let lines = || {
            let all = self.error_lines();
            all.into_iter().filter(|line| line.contains("statistics: ")).collect::<Vec<_>>()
        };
        let before = lines().len();
        self.signal(Signal::USR2);
        let line = eventually("a statistics line", || lines().get(before).cloned());
        Statistics::parse(&line)
    }

    /// Waits until no client is connected and no block is lent.
    #[track_caller]
    pub fn wait_until_idle(&self) -> Statistics {
        eventually("nobody connected and nothing lent", || {
            let now = self.statistics();
            let names = ["clients", "exchanges", "tunnels", "origins", "blocks_lent", "spilled_bytes"];
            names.iter().all(|name| now.get(name) == 0).then_some(now)
        })
    }

    /// Asks the kernel.
    pub fn footprint(&self) -> Footprint {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", self.id())).ok();
        let kib = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        };
        let status = read("status").unwrap_or_default();
        Footprint {
            resident_kib: kib(&status, "VmRSS:").unwrap_or(0),
            peak_kib: kib(&status, "VmHWM:").unwrap_or(0),
            proportional_kib: read("smaps_rollup").and_then(|text| kib(&text, "Pss:")),
            descriptors: std::fs::read_dir(format!("/proc/{}/fd", self.id())).ok().map(Iterator::count),
        }
    }
}
