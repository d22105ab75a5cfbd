//! Filters of bodies: what each request and response is put through, what must come out, and what the filters have seen.

use super::book::{Book, Checked};
use super::dice::{Dice, content};
use super::http::Framing;
use super::messages::{Ask, Key, Kind, download};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use weir::engine::FilterSource;
use weir::engine::filter::{Filter, FilterDecision, FilterLists, Output, PIECE_BYTES_MAX, WhenFull};

/// What one filter does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    Count,
    /// Holds back until so many bytes were seen, then lets all pass.
    HoldUntil(usize),
    /// Holds back all, and lets it pass where there is no room for more.
    HoldAll,
    /// Doubles each byte, and adds a trailer where there are some.
    Double,
    /// Puts `<>` in the place of all content.
    Exchange,
    /// Leaves after so many bytes.
    Leave(usize),
    /// Aborts with the piece that brings so many bytes.
    Abort(usize),
}

/// The filters of one request and of its response.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub request: Vec<Doing>,
    pub response: Vec<Doing>,
}

/// What one filter has seen of a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    bytes: u64,
    hash: u64,
    ends: u32,
}

impl Seen {
    fn note(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }
}

/// One direction of a request's filters: whose, and is it the response.
type Side = (Key, bool);

#[derive(Debug, Default)]
struct Records {
    plans: HashMap<Key, Plan>,
    asked: HashMap<Key, u32>,
    seen: HashMap<(Side, usize), Seen>,
}

/// All filters of one run, shared with the engines.
#[derive(Clone, Debug, Default)]
pub struct Filtering(Arc<Mutex<Records>>);

/// What a body becomes.
#[derive(Debug)]
pub struct Filtered {
    pub bytes: Vec<u8>,
    /// A filter ends it.
    pub aborts: bool,
    /// The number of bytes that each filter is shown, and what they are.
    seen: Vec<Seen>,
}

#[derive(Debug)]
struct Tester {
    side: Side,
    place: usize,
    doing: Doing,
    bytes: usize,
    records: Arc<Mutex<Records>>,
}

impl Tester {
    fn note(&self, note: impl FnOnce(&mut Seen)) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        note(records.seen.entry((self.side, self.place)).or_default());
    }
}

impl Filter for Tester {
    fn replaces(&self) -> bool {
        replaces(&[self.doing])
    }

    fn handle_payload(&mut self, payload: &[u8], output: &mut Output<'_>) -> FilterDecision {
        assert!(!payload.is_empty() && payload.len() <= PIECE_BYTES_MAX, "a piece of {}", payload.len());
        let first = self.bytes == 0;
        self.bytes += payload.len();
        self.note(|seen| seen.note(payload));
        match self.doing {
            Doing::Count => FilterDecision::Pass,
            Doing::HoldUntil(bytes) if self.bytes < bytes => FilterDecision::Hold,
            Doing::HoldUntil(_) => FilterDecision::Pass,
            Doing::HoldAll => FilterDecision::Hold,
            Doing::Double => {
                output.write(&doubled(payload));
                FilterDecision::Drop
            }
            Doing::Exchange => {
                output.write(if first { b"<" } else { b"" });
                FilterDecision::Drop
            }
            Doing::Leave(bytes) if self.bytes < bytes => FilterDecision::Pass,
            Doing::Leave(_) => FilterDecision::Leave,
            Doing::Abort(bytes) if self.bytes < bytes => FilterDecision::Pass,
            Doing::Abort(_) => FilterDecision::Abort("filter_test"),
        }
    }

    fn handle_end(&mut self, trailers: &mut Vec<u8>, output: &mut Output<'_>) -> FilterDecision {
        self.note(|seen| seen.ends += 1);
        match self.doing {
            Doing::Double if !trailers.is_empty() => trailers.extend_from_slice(b"X-Doubled: 1\r\n"),
            Doing::Exchange => output.write(if self.bytes == 0 { b"<>" } else { b">" }),
            Doing::Count
            | Doing::HoldUntil(_)
            | Doing::HoldAll
            | Doing::Double
            | Doing::Leave(_)
            | Doing::Abort(_) => {}
        }
        FilterDecision::Pass
    }

    fn when_full(&self) -> WhenFull {
        WhenFull::Pass
    }
}

impl Filtering {
    /// What the engines take filters from.
    pub fn source(&self) -> FilterSource {
        let records = Arc::clone(&self.0);
        Arc::new(move |head| {
            let key = head.fields.get("x-exchange").and_then(|value| std::str::from_utf8(value).ok());
            let Some(key) = key.and_then(Key::parse) else { return FilterLists::default() };
            let mut shared = records.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(plan) = shared.plans.get(&key).cloned() else { return FilterLists::default() };
            let asked = shared.asked.entry(key).or_default();
            *asked += 1;
            assert_eq!(*asked, 1, "the filters of {key} are asked for once more");
            let list = |doings: &[Doing], is_response: bool| {
                let testers = doings.iter().enumerate().map(|(place, doing)| -> Box<dyn Filter> {
                    let records = Arc::clone(&records);
                    Box::new(Tester { side: (key, is_response), place, doing: *doing, bytes: 0, records })
                });
                testers.collect()
            };
            FilterLists { request: list(&plan.request, false), response: list(&plan.response, true) }
        })
    }

    /// Draws the filters of a request.
    pub fn plan(&self, dice: &mut Dice, ask: &Ask) -> Plan {
        if !matches!(ask.kind, Kind::Plain | Kind::Upgrade) || dice.percent(20) {
            return Plan::default();
        }
        let request = if ask.kind == Kind::Plain { draw(dice) } else { Vec::new() };
        let plan = Plan { request, response: draw(dice) };
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        records.plans.insert(ask.key, plan.clone());
        plan
    }

    /// A body has come out: every filter must have seen all that came to it, in order, once, and its end.
    fn check_seen(&self, side: Side, doings: &[Doing], expected: &Filtered) -> Checked<()> {
        let records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (place, doing) in doings.iter().enumerate() {
            let seen = records.seen.get(&(side, place)).copied().unwrap_or_default();
            let wanted = Seen { ends: 1, ..expected.seen[place] };
            if !matches!(doing, Doing::Leave(_)) && seen != wanted {
                return Err(format!("{side:?}: {doing:?} has seen {seen:?} and not {wanted:?}"));
            }
        }
        Ok(())
    }
}

fn draw(dice: &mut Dice) -> Vec<Doing> {
    (0..dice.pick(&[0, 1, 1, 1, 2, 3]))
        .map(|_| {
            let bytes = dice.pick(&[1, 100, 4096, 5000, 20_000]);
            match dice.below(20) {
                0..=6 => Doing::Count,
                7..=9 => Doing::HoldUntil(bytes),
                10 | 11 => Doing::HoldAll,
                12 | 13 => Doing::Double,
                14 => Doing::Exchange,
                15..=17 => Doing::Leave(bytes),
                _ => Doing::Abort(bytes),
            }
        })
        .collect()
}

fn doubled(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| [*byte, *byte]).collect()
}

/// Whether the length of a body is not known any more.
pub fn replaces(doings: &[Doing]) -> bool {
    doings.iter().any(|doing| matches!(doing, Doing::Double | Doing::Exchange))
}

pub fn aborts(doings: &[Doing]) -> bool {
    doings.iter().any(|doing| matches!(doing, Doing::Abort(_)))
}

/// How a body is framed behind the filters, in chunks if it may be so.
pub fn framing(doings: &[Doing], framing: Framing) -> Framing {
    match framing {
        Framing::Length(1..) if replaces(doings) => Framing::Chunked,
        Framing::None | Framing::Length(_) | Framing::Chunked | Framing::UntilClose => framing,
    }
}

/// The trailers behind the filters.
pub fn trailers(doings: &[Doing], mut lines: Vec<String>) -> Vec<String> {
    if !lines.is_empty() {
        let count = doings.iter().filter(|doing| **doing == Doing::Double).count();
        lines.extend(std::iter::repeat_n("X-Doubled: 1".to_string(), count));
    }
    lines
}

fn apply(doings: &[Doing], is_shown: bool, input: Vec<u8>) -> Filtered {
    let mut filtered = Filtered { bytes: input, aborts: false, seen: Vec::new() };
    for doing in doings.iter().filter(|_| is_shown) {
        let mut seen = Seen::default();
        seen.note(&filtered.bytes);
        filtered.seen.push(seen);
        match doing {
            Doing::Count | Doing::HoldUntil(_) | Doing::HoldAll | Doing::Leave(_) => {}
            Doing::Double => filtered.bytes = doubled(&filtered.bytes),
            Doing::Exchange => filtered.bytes = b"<>".to_vec(),
            Doing::Abort(bytes) => filtered.aborts |= filtered.bytes.len() >= *bytes,
        }
    }
    filtered
}

impl Book {
    /// What an origin must get of the body of a request.
    pub fn filtered_upload(&mut self, key: Key) -> Rc<Filtered> {
        let record = &self.records[&key];
        let (doings, ask) = (&record.plan.request, &record.ask);
        let is_shown = !matches!(ask.body, Framing::None | Framing::Length(0));
        let make = || apply(doings, is_shown, content(key.upload(), 0, ask.body_bytes as usize));
        Rc::clone(self.filtered.entry((key, None)).or_insert_with(|| Rc::new(make())))
    }

    /// What a client must get of the response that an upstream connection gave.
    pub fn filtered_answer(&mut self, key: Key, serial: u32) -> Checked<Rc<Filtered>> {
        let said = self.said(key, serial).ok_or("an answer that no origin gave")?;
        let record = &self.records[&key];
        let answer = said.answer;
        let bytes = answer.sent_payload();
        let bodiless =
            record.ask.method == "HEAD" || matches!(answer.framing, Framing::None | Framing::Length(0));
        let make =
            || apply(&record.plan.response, !bodiless, content(download(key, serial), 0, bytes as usize));
        Ok(Rc::clone(self.filtered.entry((key, Some(serial))).or_insert_with(|| Rc::new(make()))))
    }

    /// An origin has a complete request.
    pub fn check_filtered_upload(&mut self, key: Key) -> Checked<()> {
        let filtered = self.filtered_upload(key);
        if filtered.aborts {
            return Err(format!("{key}: complete, although a filter has aborted it"));
        }
        if filtered.seen.is_empty() {
            return Ok(());
        }
        self.tally.filtered_up += 1;
        self.filtering.check_seen((key, false), &self.records[&key].plan.request, &filtered)
    }

    /// A client has a complete response.
    pub fn check_filtered_answer(&mut self, key: Key, serial: u32) -> Checked<()> {
        let filtered = self.filtered_answer(key, serial)?;
        if filtered.aborts {
            return Err(format!("{key}: answered completely, although a filter has aborted that"));
        }
        if filtered.seen.is_empty() {
            return Ok(());
        }
        self.tally.filtered_down += 1;
        self.filtering.check_seen((key, true), &self.records[&key].plan.response, &filtered)
    }
}
