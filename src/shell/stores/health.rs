//! Whether the store answers, as the log and the events tell it.
//!
//! Two things show it: the connection that a thread looks after, and the questions. A connection may stand while no question is
//! answered: the server is frozen, or refuses the scripts. So as many failures in a row as open a breaker count as the loss of the
//! store, for each asker apart, because every loop has its own breaker. One answer shows that the store is back.
//!
//! The first reason of a loss may hide the one that lasts: a server that has restarted has another password. So each other reason is
//! told, too, once and some time apart.

use crate::guard::breaker::FAILURES_MAX;
use crate::guard::store::{StoreFailure, StoreNews};
use std::time::{Duration, Instant};

/// Between two reports that questions fail (chosen: a store may answer some questions only).
const FAILING_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Between two reports of one loss with different reasons (chosen: what an operator reads in time).
const REASON_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Most reasons of one loss that are told (chosen: those of a few servers).
const REASONS_MAX: usize = 8;

/// Between two reports of a key that holds something else (chosen: each question for it fails).
const WRONG_TYPE_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// The asker of the values of pages; loops come behind it.
pub const VALUES: usize = 0;

/// The asker of the checks of a loop.
pub fn asker_of_loop(loop_index: usize) -> usize {
    loop_index + 1
}

/// What is known of the store, and was told.
#[derive(Debug, Default)]
pub struct Health {
    /// Failures of each asker since its last answer.
    failures: Vec<u32>,
    /// Whether the connection is lost; `None` before the first report.
    is_lost: Option<bool>,
    /// What was told last: whether the store is lost.
    told_lost: Option<bool>,
    /// The reasons of the present loss that were told, and when the last one was.
    told_reasons: Vec<Box<str>>,
    reason_told_at: Option<Instant>,
    failing_told_at: Option<Instant>,
    wrong_type_told_at: Option<Instant>,
}

impl Health {
    /// The connection stands; after a loss questions are expected to be answered again.
    pub fn connected(&mut self) -> Option<StoreNews> {
        if self.is_lost == Some(false) {
            return None;
        }
        self.is_lost = Some(false);
        self.failures.clear();
        self.tell_reached()
    }

    /// There is no connection, for this reason.
    pub fn disconnected(&mut self, reason: &str, now: Instant) -> Option<StoreNews> {
        self.is_lost = Some(true);
        self.tell_lost(reason, now)
    }

    /// A question of this asker was answered.
    pub fn answered(&mut self, asker: usize) -> Option<StoreNews> {
        if let Some(failures) = self.failures.get_mut(asker) {
            *failures = 0;
        }
        if self.is_lost == Some(false) { self.tell_reached() } else { None }
    }

    /// A question of this asker has failed, for this reason if more is known than the kind of the failure.
    pub fn failed(
        &mut self,
        asker: usize,
        failure: StoreFailure,
        reason: Option<&str>,
        now: Instant,
    ) -> Option<StoreNews> {
        if !failure.is_of_store() {
            return self.answered(asker);
        }
        if self.failures.len() <= asker {
            self.failures.resize(asker + 1, 0);
        }
        let failures = &mut self.failures[asker];
        *failures = failures.saturating_add(1);
        if *failures < FAILURES_MAX || !is_due(self.failing_told_at, FAILING_AGAIN_AFTER, now) {
            return None;
        }
        let reason = reason.unwrap_or(match failure {
            StoreFailure::Unreachable => "no connection",
            StoreFailure::Refused | StoreFailure::WrongType => "it has sent something that is no answer",
            StoreFailure::Late => "no reply in time",
        });
        let news = self.tell_lost(reason, now);
        if news.is_some() {
            self.failing_told_at = Some(now);
        }
        news
    }

    /// This key holds something else than what was asked for.
    pub fn wrong_type(&mut self, key: &str, now: Instant) -> Option<StoreNews> {
        if !is_due(self.wrong_type_told_at, WRONG_TYPE_AGAIN_AFTER, now) {
            return None;
        }
        self.wrong_type_told_at = Some(now);
        Some(StoreNews::Warning(
            format!("the key {key:?} holds something else, and its questions fail").into(),
        ))
    }

    fn tell_lost(&mut self, reason: &str, now: Instant) -> Option<StoreNews> {
        if self.told_lost.replace(true) != Some(true) {
            self.told_reasons.clear();
        } else if self.told_reasons.len() >= REASONS_MAX
            || self.told_reasons.iter().any(|told| **told == *reason)
            || !is_due(self.reason_told_at, REASON_AGAIN_AFTER, now)
        {
            return None;
        }
        self.told_reasons.push(reason.into());
        self.reason_told_at = Some(now);
        Some(StoreNews::Lost(reason.into()))
    }

    fn tell_reached(&mut self) -> Option<StoreNews> {
        let is_new = self.told_lost.replace(false) != Some(false);
        is_new.then_some(StoreNews::Reached)
    }
}

fn is_due(told_at: Option<Instant>, again_after: Duration, now: Instant) -> bool {
    told_at.is_none_or(|at| now.duration_since(at) >= again_after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(reason: &str) -> Option<StoreNews> {
        Some(StoreNews::Lost(reason.into()))
    }

    /// Three questions of the asker fail, so that a breaker opens.
    fn fail(health: &mut Health, asker: usize, now: Instant) -> Option<StoreNews> {
        let mut news = (0..3).map(|_| health.failed(asker, StoreFailure::Late, None, now));
        news.by_ref().take(2).for_each(|news| assert_eq!(news, None));
        news.next().flatten()
    }

    #[test]
    fn ours_3_failing_questions_are_told_once_and_so_is_the_first_answer() {
        let (mut health, now) = (Health::default(), Instant::now());
        assert_eq!(health.connected(), Some(StoreNews::Reached));
        assert_eq!((health.connected(), health.answered(VALUES)), (None, None));
        assert_eq!(fail(&mut health, 1, now), lost("no reply in time"));
        assert_eq!(health.failed(1, StoreFailure::Refused, None, now), None);
        // The connection has stood all the time, so it says nothing new.
        assert_eq!(health.connected(), None);
        assert_eq!(health.answered(2), Some(StoreNews::Reached));
        // The failures of the other loop count on, but are not told again and again.
        assert_eq!(health.failed(1, StoreFailure::Late, None, now), None);
        let later = now + FAILING_AGAIN_AFTER;
        assert_eq!(health.failed(1, StoreFailure::Refused, Some("NOPERM"), later), lost("NOPERM"));
    }

    #[test]
    fn ours_3_each_asker_counts_for_itself() {
        let (mut health, now) = (Health::default(), Instant::now());
        health.connected();
        for _ in 0..2 {
            for asker in [VALUES, 1, 2] {
                assert_eq!(health.failed(asker, StoreFailure::Late, None, now), None);
            }
        }
        assert_eq!(health.answered(2), None);
        assert_eq!(health.failed(2, StoreFailure::Late, None, now), None);
        assert_eq!(health.failed(1, StoreFailure::Unreachable, None, now), lost("no connection"));
    }

    #[test]
    fn a_lost_connection_and_its_failing_questions_are_one_loss() {
        let (mut health, now) = (Health::default(), Instant::now());
        assert_eq!(health.disconnected("refused", now), lost("refused"));
        assert_eq!((health.disconnected("refused", now), fail(&mut health, 1, now)), (None, None));
        // An answer before the bans are loaded is not the whole store.
        assert_eq!(health.answered(1), None);
        assert_eq!(health.connected(), Some(StoreNews::Reached));
        // The failures before the loss are over.
        assert_eq!(fail(&mut health, 1, now), lost("no reply in time"));
    }

    #[test]
    fn each_reason_of_a_loss_is_told_once() {
        let (mut health, now) = (Health::default(), Instant::now());
        health.connected();
        assert_eq!(health.disconnected("refused", now), lost("refused"));
        let mut at = now;
        assert_eq!(health.disconnected("WRONGPASS", at), None, "just now another one was told");
        at += REASON_AGAIN_AFTER;
        assert_eq!(health.disconnected("refused", at), None);
        assert_eq!(health.disconnected("WRONGPASS", at), lost("WRONGPASS"));
        for number in 0..2 * REASONS_MAX {
            at += REASON_AGAIN_AFTER;
            let is_told = health.disconnected(&number.to_string(), at).is_some();
            assert_eq!(is_told, number + 2 < REASONS_MAX, "{number}");
        }
        // The next loss is another one.
        health.connected();
        assert_eq!(health.disconnected("refused", at), lost("refused"));
    }

    #[test]
    fn a_key_of_another_type_is_an_answer_and_is_told_once_a_minute() {
        let (mut health, now) = (Health::default(), Instant::now());
        health.connected();
        for _ in 0..2 {
            assert_eq!(health.failed(1, StoreFailure::Late, None, now), None);
        }
        assert_eq!(health.failed(1, StoreFailure::WrongType, None, now), None);
        assert_eq!(health.failed(1, StoreFailure::Late, None, now), None);
        assert!(matches!(health.wrong_type("k", now), Some(StoreNews::Warning(_))));
        assert_eq!(health.wrong_type("k", now), None);
        assert!(health.wrong_type("k", now + WRONG_TYPE_AGAIN_AFTER).is_some());
    }
}
