//! Statistics: the numbers of all loops in one line.
//!
//! Loops count for themselves. Who wants the line begins a [`Round`] and has every loop report; each puts its numbers on
//! the board when it gets to it, and the last one to let go of the round writes the line. So nobody waits for anybody, and
//! a loop that has ended, with the order still in its queue, holds nothing up: its last numbers are on the board.

use crate::engine::Metrics;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

/// What one loop has to report.
#[derive(Clone, Debug, Default)]
pub struct Score {
    /// The engine's numbers.
    pub metrics: Metrics,
    /// Times that descriptors or memory were short.
    pub shortages: u64,
    /// Lines that the log has lost, of all loops.
    pub lines_lost: u64,
}

/// The last known score of each loop.
#[derive(Debug)]
pub struct Scoreboard(Mutex<Vec<Score>>);

/// One line that is under way; written when dropped.
#[derive(Debug)]
pub struct Round(Arc<Scoreboard>);

impl Scoreboard {
    /// A board for so many loops.
    pub fn new(loops: usize) -> Arc<Scoreboard> {
        Arc::new(Scoreboard(Mutex::new(vec![Score::default(); loops])))
    }

    /// Replaces what a loop reported last.
    pub fn put(&self, index: usize, score: Score) {
        if let Some(place) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(index) {
            *place = score;
        }
    }

    /// Writes the line.
    pub fn say(&self) {
        log::info!("statistics: {}", line(&self.0.lock().unwrap_or_else(PoisonError::into_inner)));
    }
}

impl Round {
    /// To be handed to every loop.
    pub fn begin(board: &Arc<Scoreboard>) -> Arc<Round> {
        Arc::new(Round(board.clone()))
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        self.0.say();
    }
}

/// Sums, and where there are several loops how the work is spread over them.
fn line(scores: &[Score]) -> String {
    let (mut sum, mut shortages, mut lines_lost) = (Metrics::default(), 0, 0);
    for score in scores {
        sum.add(&score.metrics);
        shortages += score.shortages;
        lines_lost = lines_lost.max(score.lines_lost);
    }
    let mut bytes = Vec::new();
    sum.write_line(&mut bytes);
    let mut line = String::from_utf8_lossy(&bytes).into_owned();
    let _ = write!(line, " log_lines_lost={lines_lost} shortages={shortages}");
    if scores.len() > 1 {
        let _ = write!(line, " workers={}", scores.len());
        let mut balance = |name: &str, number: fn(&Metrics) -> u64| {
            let each: Vec<String> = scores.iter().map(|score| number(&score.metrics).to_string()).collect();
            let _ = write!(line, " {name}_by_worker={}", each.join(","));
        };
        balance("clients", |metrics| metrics.clients);
        balance("accepted", |metrics| metrics.accepted);
        balance("requests", |metrics| metrics.requests);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(clients: u64, lines_lost: u64) -> Score {
        let metrics = Metrics { clients, accepted: 10 * clients, ..Metrics::default() };
        Score { metrics, shortages: 1, lines_lost }
    }

    #[test]
    fn one_line_for_all() {
        let both = line(&[score(1, 4), score(2, 5)]);
        for part in [
            "clients=3 ",
            "accepted=30 ",
            " log_lines_lost=5 shortages=2 workers=2 ",
            " clients_by_worker=1,2 ",
            " accepted_by_worker=10,20 ",
            " requests_by_worker=0,0",
        ] {
            assert!(both.contains(part), "{part} in {both}");
        }
        assert!(line(&[score(7, 0)]).ends_with(" log_lines_lost=0 shortages=1"), "one has no balance");
    }

    #[test]
    fn a_report_replaces_the_one_before() {
        let board = Scoreboard::new(2);
        board.put(0, score(1, 0));
        board.put(0, score(2, 0));
        board.put(1, score(3, 0));
        board.put(2, score(99, 0));
        assert!(line(&board.0.lock().unwrap()).contains(" clients_by_worker=2,3 "));
    }
}
