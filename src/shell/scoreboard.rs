//! Statistics: the numbers of all loops in one line.
//!
//! Each loop counts by itself. A thread that wants the line begins a [`Round`] and asks every loop to report; each loop puts
//! its numbers on the board when it handles the message, and the loop that drops the round last writes the line. So no loop
//! waits for another one. A loop that has ended drops the messages in its queue and delays nothing: its last numbers are on
//! the board.

use super::clock::Clock;
use super::clouds::KnownClouds;
use super::stores::{StoreCounters, StoreSlot, ValueCounting};
use crate::cache::store::{Statistics, Store};
use crate::gateway::rules::{Gateway, Status};
use crate::guard::durations::Measured;
use crate::guard::state::State;
use crate::metrics::{
    CacheNumbers, DetectNumbers, Durations, GuardNumbers, Labelled, Metrics, ProcessNumbers, Snapshot,
    StoreNumbers, UpstreamNumbers, ValueNumbers,
};
use crate::part::guard::{Shared, built};
use crate::shell::clock::unix_now_ms;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// The report of one loop.
#[derive(Clone, Debug, Default)]
pub struct Score {
    /// The engine's numbers.
    pub metrics: Metrics,
    /// Times that descriptors or memory were short.
    pub shortages: u64,
    /// Lines of the access log that were lost, of all loops.
    pub lines_lost: u64,
}

/// The last score of each loop, and the numbers that the loops share.
#[derive(Debug)]
pub struct Scoreboard {
    scores: Mutex<Vec<Score>>,
    store: Option<Arc<Store>>,
    /// The sources of the guard's numbers, once they are known.
    guard: OnceLock<GuardSources>,
    /// The numbers of the values of pages, if there are pages.
    values: OnceLock<Arc<ValueCounting>>,
    /// The gateway, if there is one, and the clock of its times.
    gateway: Mutex<Option<(Shared<Gateway>, Clock)>>,
    /// The line that was written last.
    last_line: Mutex<Option<String>>,
}

/// The sources of the guard's numbers.
#[derive(Debug)]
pub struct GuardSources {
    /// Counters and bans.
    pub state: Arc<State>,
    /// The slot of the store's client.
    pub store: Arc<StoreSlot>,
    /// The networks of the clouds.
    pub clouds: Arc<KnownClouds>,
}

/// One line of statistics under way; written when the round is dropped.
#[derive(Debug)]
pub struct Round {
    board: Arc<Scoreboard>,
    /// An operator asked for the line: it is written even if nothing has changed.
    asked: bool,
}

impl Scoreboard {
    /// A board for so many loops, which may share a cache.
    pub fn new(loops: usize, store: Option<Arc<Store>>) -> Arc<Scoreboard> {
        Arc::new(Scoreboard {
            scores: Mutex::new(vec![Score::default(); loops]),
            store,
            guard: OnceLock::new(),
            values: OnceLock::new(),
            gateway: Mutex::default(),
            last_line: Mutex::default(),
        })
    }

    /// Replaces the last report of a loop.
    pub fn put(&self, index: usize, score: Score) {
        if let Some(place) = self.scores().get_mut(index) {
            *place = score;
        }
    }

    /// The numbers as the loops have put them here last.
    pub fn snapshot(&self) -> Snapshot {
        let stored = self.store.as_ref().map(|store| store.statistics());
        let gateway = self.gateway.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let upstreams =
            gateway.map(|(gateway, clock)| upstreams(&gateway, clock.elapsed().as_millis() as u64));
        let upstreams = upstreams.unwrap_or_default();
        let values = self.values.get().map(|values| value_numbers(values));
        let of_loops = Snapshot { upstreams, values, ..snapshot(&self.scores(), stored.as_ref()) };
        let sources = built().and_then(|_| self.guard.get());
        let Some(GuardSources { state, store, clouds }) = sources else { return of_loops };
        Snapshot {
            guard: Some(guard_numbers(state)),
            detected: state.detected().map(detected).collect(),
            detection: state.durations.measured().map(detection).collect(),
            store: store.counters().map(store_numbers),
            clouds: clouds.numbers(unix_now_ms()),
            ..of_loops
        }
    }

    /// Adds the numbers of the guard.
    pub fn show_guard(&self, sources: GuardSources) {
        let _ = self.guard.set(sources);
    }

    /// Adds the numbers of the values of pages.
    pub fn show_values(&self, values: Arc<ValueCounting>) {
        let _ = self.values.set(values);
    }

    /// The bound for the values of pages in bytes, for each kind, if there are pages.
    pub fn value_bytes_max(&self) -> Option<u64> {
        self.values.get().map(|values| values.bytes_max)
    }

    /// Adds the numbers of this gateway's upstreams; `clock` is the clock of their times.
    pub fn show_gateway(&self, gateway: Option<Shared<Gateway>>, clock: &Clock) {
        let shown = gateway.map(|gateway| (gateway, clock.clone()));
        *self.gateway.lock().unwrap_or_else(PoisonError::into_inner) = shown;
    }

    /// Writes the line, unless no operator asked for it and it equals the last one.
    pub fn log_line(&self, asked: bool) {
        if let Some(line) = self.event(self.snapshot().line(), asked) {
            log::info!("statistics: {line}");
        }
    }

    fn event(&self, line: String, asked: bool) -> Option<String> {
        let mut last_line = self.last_line.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = last_line.as_ref() != Some(&line);
        if is_new {
            *last_line = Some(line.clone());
        }
        (asked || is_new).then_some(line)
    }

    fn scores(&self) -> MutexGuard<'_, Vec<Score>> {
        self.scores.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Round {
    /// To be handed to every loop.
    pub fn begin(board: &Arc<Scoreboard>, asked: bool) -> Arc<Round> {
        Arc::new(Round { board: board.clone(), asked })
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        self.board.log_line(self.asked);
    }
}

/// The numbers of the guard's state.
fn guard_numbers(state: &State) -> GuardNumbers {
    let (bans, windows, escalations) = (state.read_bans(), &state.windows, &state.escalations);
    GuardNumbers {
        guard_bans: bans.len() as u64,
        guard_bans_dropped: bans.dropped(),
        guard_windows: windows.len(),
        guard_windows_dropped: windows.dropped(),
        guard_escalations: escalations.len(),
        guard_escalations_dropped: escalations.dropped() + escalations.permanent_dropped(),
        guard_permanent: escalations.permanent_len(),
        guard_events: state.events_told(),
        guard_events_lost: state.events_lost(),
    }
}

fn value_numbers(values: &ValueCounting) -> ValueNumbers {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    ValueNumbers {
        page_values: read(&values.values),
        page_values_bytes: read(&values.bytes),
        page_values_dropped: read(&values.dropped),
        page_values_refused: read(&values.refused),
    }
}

fn detected((category, requests): (&'static str, u64)) -> Labelled<DetectNumbers> {
    let labels = vec![("category", category.to_owned())];
    Labelled { labels, numbers: DetectNumbers { guard_detected: requests } }
}

fn detection(Measured { category, buckets, sum_ns }: Measured) -> Labelled<Durations> {
    Labelled { labels: vec![("category", category.to_owned())], numbers: Durations { buckets, sum_ns } }
}

fn store_numbers(counters: StoreCounters) -> StoreNumbers {
    StoreNumbers {
        guard_store_questions: counters.questions,
        guard_store_answers: counters.answers,
        guard_store_refused_questions: counters.refused,
        guard_store_late: counters.late,
        guard_store_unreachable: counters.unreachable,
        guard_store_queue_full: counters.queue_full,
        guard_store_expired: counters.expired,
        guard_store_orders_dropped: counters.orders_dropped,
        guard_store_bans_dropped: counters.bans_dropped,
        guard_store_connections: counters.connections,
    }
}

/// The numbers of each upstream.
fn upstreams(gateway: &Gateway, now_ms: u64) -> Vec<Labelled<UpstreamNumbers>> {
    let row = |status: Status<'_>| {
        let numbers = status.numbers;
        Labelled {
            labels: vec![("route", status.route.to_owned()), ("upstream", status.authority.to_string())],
            numbers: UpstreamNumbers {
                upstream_up: status.standing.is_up().into(),
                upstream_in_flight: numbers.in_flight.into(),
                upstream_requests: numbers.requests,
                upstream_failures: numbers.failures,
                upstream_checks_failed: numbers.checks_failed,
                upstream_marked_down: numbers.marked_down,
            },
        }
    };
    gateway.statuses(now_ms).map(row).collect()
}

/// The numbers of all loops, of the process, and of the cache that the loops share.
fn snapshot(scores: &[Score], stored: Option<&Statistics>) -> Snapshot {
    Snapshot {
        loops: scores.iter().map(|score| score.metrics).collect(),
        process: ProcessNumbers {
            // The log is one for all loops.
            log_lines_lost: scores.iter().map(|score| score.lines_lost).max().unwrap_or(0),
            shortages: scores.iter().map(|score| score.shortages).sum(),
        },
        cache: stored.map(|stored| CacheNumbers {
            cache_entries: stored.entries,
            cache_bytes: stored.bytes,
            cache_bytes_held: stored.bytes_held,
            cache_evicted: stored.evicted,
            cache_evicted_age_s: stored.evicted_age_s / stored.evicted.max(1),
            cache_invalidated: stored.invalidated,
            cache_no_room: stored.refused,
            cache_variants_evicted: stored.variants_evicted,
            cache_parts_dropped: stored.parts_dropped,
        }),
        values: None,
        guard: None,
        store: None,
        clouds: Vec::new(),
        detected: Vec::new(),
        detection: Vec::new(),
        upstreams: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(scores: &[Score], stored: Option<&Statistics>) -> String {
        snapshot(scores, stored).line()
    }

    fn score(clients: u64, lines_lost: u64) -> Score {
        let metrics = Metrics { clients, accepted: 10 * clients, ..Metrics::default() };
        Score { metrics, shortages: 1, lines_lost }
    }

    #[test]
    fn one_line_for_all() {
        let both = line(&[score(1, 4), score(2, 5)], None);
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
        assert!(line(&[score(7, 0)], None).ends_with(" log_lines_lost=0 shortages=1"), "one has no balance");
    }

    #[test]
    fn what_all_loops_have_in_common_is_told_once() {
        let metrics = Metrics {
            cache_hits: 2,
            cache_collapsed: 1,
            cache_misses: 1,
            cache_hit_bytes: 100,
            cache_miss_bytes: 300,
            ..Metrics::default()
        };
        let score = Score { metrics, ..Score::default() };
        let stored = Statistics {
            entries: 7,
            bytes: 8000,
            evicted: 4,
            evicted_age_s: 90,
            invalidated: 3,
            ..Statistics::default()
        };
        let both = line(&[score.clone(), score], Some(&stored));
        let expected = " cache_entries=7 cache_bytes=8000 cache_bytes_held=0 cache_evicted=4 cache_evicted_age_s=22 cache_invalidated=3 \
                        cache_no_room=0 cache_variants_evicted=0 cache_parts_dropped=0 cache_hit_ratio=0.7500 \
                        cache_byte_hit_ratio=0.2500 workers=2 ";
        assert!(both.contains(expected), "{both}");
        assert!(!line(&[Score::default()], None).contains(" cache_"), "there is none");
    }

    #[test]
    fn kind_27_a_line_is_written_when_it_says_something_new_or_is_asked_for() {
        let board = Scoreboard::new(1, None);
        let line = |clients| line(&[score(clients, 0)], None);
        for (clients, asked, written) in [
            (0, false, true),
            (0, false, false),
            (0, true, true),
            (0, false, false),
            (1, false, true),
            (1, false, false),
        ] {
            assert_eq!(board.event(line(clients), asked).is_some(), written, "{clients} {asked}");
        }
        assert!(board.event(line(0), false).is_some(), "what was so before is news again");
    }

    #[test]
    fn a_report_replaces_the_one_before() {
        let board = Scoreboard::new(2, None);
        board.put(0, score(1, 0));
        board.put(0, score(2, 0));
        board.put(1, score(3, 0));
        board.put(2, score(99, 0));
        assert!(line(&board.scores(), None).contains(" clients_by_worker=2,3 "));
    }
}
