//! Filters: what stands between the decoder of a body and what takes the payload.
//!
//! # Theory of operation
//!
//! ```text
//! source -> Intake (decoder) -> filter -> filter -> ... -> ring or `passed` -> Outlet (encoder) -> sink
//! ```
//!
//! A relay without filters has no list, which costs one comparison for each read, and its bytes may be spliced. With a list,
//! each piece of decoded payload is shown to the first filter. What a filter lets pass is shown to the next one, and what
//! the last one lets pass goes on. A filter sees each byte of a body once, in order, in pieces of any size from 1 byte to
//! [`PIECE_BYTES_MAX`]; pieces have nothing to do with chunks. Behind the last piece comes [`Filter::handle_end`], with the
//! trailers that may go on. A body that is cut short has no end, and a message whose head announces no content is not shown.
//!
//! [`Verdict`] says what becomes of a piece. What a filter holds back is kept by the list, in memory of the pool, up to
//! [`HELD_BYTES_MAX`] for each filter; [`Filter::when_full`] says what happens then. Replacing is writing to [`Output`] and
//! dropping what was read. Since the length is not known any more, a filter that writes or drops says so with
//! [`Filter::replaces`] before the head is written, and the head goes out without a Content-Length. A verdict that breaks
//! this promise aborts the transaction.
//!
//! Payload that all filters let pass unchanged stays where it was received. Everything else goes behind that, into
//! `passed`. While anything is there, nothing more is received: that is the back-pressure, and the bound of `passed` is
//! [`PASSED_BYTES_MAX`].
//!
//! | state of the list | what moves it on |
//! | --- | --- |
//! | *open* | payload; `Leave` takes one filter out, and a list without filters goes: from then on the body may be spliced |
//! | *ended* | the end of the body: filters are asked for the last time, nothing is held any more |
//! | *rewound* | the request is sent once more: what the filters have seen passes by them, and what they hold is skipped |
//!
//! An aborted request is answered with a refusal, or its transaction is aborted if a response has begun. An aborted response
//! is cut as a truncated one is: the client must notice. Held bytes of an aborted or truncated body are dropped.

#[cfg(feature = "detection")]
use crate::guard::behaviour::Watch;
#[cfg(feature = "detection")]
use crate::guard::detection::Findings;
use crate::http::head::RequestHead;
use crate::net::{BLOCK_BYTES, Linear, Pool, Purpose};
use std::fmt::Debug;
use std::sync::Arc;

/// Bytes that one filter may hold back (chosen: what scanners of bodies look at mostly).
pub const HELD_BYTES_MAX: usize = 64 * 1024;

/// Bytes that may wait behind the filters of one body (chosen: what one read brings and what a few filters release, several
/// times over for those that replace).
pub const PASSED_BYTES_MAX: usize = 256 * 1024;

/// Most bytes of one piece that a filter is shown.
pub const PIECE_BYTES_MAX: usize = BLOCK_BYTES;

/// Filters of one body (chosen; each may have a block on the stack).
pub const FILTERS_MAX: usize = 8;

/// What becomes of a piece of payload, and of what the filter holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What is held goes on, then this piece.
    Pass,
    /// The piece is kept behind what is held already. At the end of the body the same as `Pass`.
    Hold,
    /// What is held is dropped, and this piece. For filters that replace.
    Drop,
    /// As `Pass`, and the filter is not asked any more.
    Leave,
    /// The body goes no further. The word for the log, and for what the client is told.
    Abort(&'static str),
}

/// What happens when a filter cannot hold back any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// What is held goes on unjudged, and the new piece; the filter may hold back what comes next.
    Pass,
    /// The body goes no further.
    Abort(&'static str),
}

/// Looks at a body as it passes, and may change it.
pub trait Filter: Debug + Send {
    /// Whether it may change what passes: the head then announces no length.
    fn replaces(&self) -> bool {
        false
    }

    /// More of the body. What is written to `output` goes on at once, before what is held and before this piece.
    fn handle_payload(&mut self, payload: &[u8], output: &mut Output<'_>) -> Verdict;

    /// All of the body has come. `trailers` are lines with their ends, none for most bodies; a filter that replaces may change
    /// them.
    fn handle_end(&mut self, trailers: &mut Vec<u8>, output: &mut Output<'_>) -> Verdict {
        let _ = (trailers, output);
        Verdict::Pass
    }

    /// What the guard is to be told, once. Asked after each piece and after the end.
    fn take_report(&mut self) -> Option<Report> {
        None
    }

    /// [`HELD_BYTES_MAX`] would be exceeded, or there is no memory to hold back any more.
    fn when_full(&self) -> WhenFull {
        WhenFull::Abort("filter_held_bytes_max")
    }
}

/// What a filter has found for the guard, which a filter does not know how to reach.
#[derive(Debug)]
pub enum Report {
    /// Attacks in the body of a request.
    #[cfg(feature = "detection")]
    Detected(Box<Findings>),
    /// The beginning of a response, `whole` if that is all of it, has been shown to the behaviour rules.
    #[cfg(feature = "detection")]
    Watched {
        /// What has seen it.
        watch: Box<Watch>,
        /// That was all of it.
        whole: bool,
    },
}

/// The filters of one request and its response.
#[derive(Debug, Default)]
pub struct FilterLists {
    /// In the order in which they see the request's body.
    pub request: Vec<Box<dyn Filter>>,
    /// In the order in which they see the response's body.
    pub response: Vec<Box<dyn Filter>>,
}

/// Gives each request its filters, by its head. Asked once for a request that is allowed.
pub type FilterSource = Arc<dyn Fn(&RequestHead<'_, '_>) -> FilterLists + Send + Sync>;

/// Why a body goes no further on account of a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum FilterFault {
    /// A filter said so.
    Refused(&'static str),
    /// There is no room for what the filters let pass.
    NoMemory,
}

impl FilterFault {
    /// The word for the log.
    pub fn reason(self) -> &'static str {
        match self {
            FilterFault::Refused(reason) => reason,
            FilterFault::NoMemory => "buffers_max",
        }
    }
}

/// Where a filter writes what it puts into the body.
#[derive(Debug)]
pub struct Output<'a> {
    pool: &'a mut Pool,
    purpose: Purpose,
    /// The filters behind this one.
    behind: &'a mut [Slot],
    passed: &'a mut Linear,
    outcome: Result<(), FilterFault>,
    written: bool,
}

impl Output<'_> {
    /// Puts bytes into the body.
    pub fn write(&mut self, bytes: &[u8]) {
        self.written |= !bytes.is_empty();
        for piece in bytes.chunks(PIECE_BYTES_MAX) {
            self.push(piece);
        }
    }

    /// Shows a piece to the filters behind, and takes what they let pass.
    fn push(&mut self, piece: &[u8]) {
        if self.outcome.is_ok() {
            self.outcome = show(self.behind, self.passed, self.pool, self.purpose, piece, false).map(|_| ());
        }
    }
}

/// One filter, and what it holds back.
#[derive(Debug)]
struct Slot {
    filter: Box<dyn Filter>,
    held: Linear,
    /// Not asked any more.
    left: bool,
}

/// The filters of one body.
#[derive(Debug)]
pub(in crate::engine) struct Filters {
    slots: Vec<Slot>,
    /// What has passed, and was not left where it was received.
    passed: Linear,
    purpose: Purpose,
    /// Payload that was shown.
    seen: u64,
    /// Payload that comes once more: so much passes, and behind that so much is skipped, since it is held.
    again: u64,
    skipped: u64,
    /// The end was shown.
    ended: bool,
    /// The body goes no further.
    fault: Option<FilterFault>,
    /// For the guard.
    reports: Vec<Report>,
    /// Lines, from the decoder.
    pub trailers: Vec<u8>,
}

impl Filters {
    /// `None` if there are no filters: then nothing stands in the way.
    pub fn new(filters: Vec<Box<dyn Filter>>, purpose: Purpose) -> Option<Box<Filters>> {
        debug_assert!(filters.len() <= FILTERS_MAX);
        if filters.is_empty() {
            return None;
        }
        let slot = |filter| Slot { filter, held: Linear::default(), left: false };
        Some(Box::new(Filters {
            slots: filters.into_iter().map(slot).collect(),
            passed: Linear::default(),
            purpose,
            seen: 0,
            again: 0,
            skipped: 0,
            ended: false,
            fault: None,
            reports: Vec::new(),
            trailers: Vec::new(),
        }))
    }

    /// Puts one more filter before the others.
    #[cfg(feature = "detection")]
    pub fn insert_first(&mut self, filter: Box<dyn Filter>) {
        self.slots.insert(0, Slot { filter, held: Linear::default(), left: false });
    }

    /// Whether the length of the body may change.
    pub fn replaces(&self) -> bool {
        self.slots.iter().any(|slot| slot.filter.replaces())
    }

    /// Why the body goes no further.
    pub fn fault(&self) -> Option<FilterFault> {
        self.fault
    }

    /// What has passed and waits.
    pub fn passed<'p>(&'p self, pool: &'p Pool) -> &'p [u8] {
        self.passed.bytes(pool)
    }

    /// How much of it.
    pub fn passed_len(&self) -> usize {
        self.passed.len()
    }

    /// So much of it was sent.
    pub fn consume(&mut self, pool: &mut Pool, count: usize) {
        self.passed.consume(pool, count);
    }

    /// Whether the list is of no use any more: all filters have left, and nothing waits. A list that has replaced something
    /// stays, so that the request is not taken for one that can be sent again.
    pub fn is_spent(&self) -> bool {
        let all_left = self.slots.iter().all(|slot| slot.left);
        let is_read = self.passed.is_empty() && self.reports.is_empty();
        all_left && is_read && self.again + self.skipped == 0 && !self.replaces()
    }

    /// What the filters have found for the guard since it was last asked.
    pub fn take_reports(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.reports)
    }

    fn collect_reports(&mut self) {
        let Filters { slots, reports, .. } = self;
        reports.extend(slots.iter_mut().filter_map(|slot| slot.filter.take_report()));
    }

    /// Shows the filters a piece of at most a block. True if it goes on where it is; otherwise what goes on of it has been copied.
    pub fn show(&mut self, pool: &mut Pool, piece: &[u8]) -> Result<bool, FilterFault> {
        let shown = self.show_unseen(pool, piece);
        self.fault = shown.err().or(self.fault);
        self.collect_reports();
        shown
    }

    /// Of a request that is sent once more, the filters have seen the beginning.
    fn show_unseen(&mut self, pool: &mut Pool, piece: &[u8]) -> Result<bool, FilterFault> {
        let Filters { slots, passed, purpose, .. } = self;
        let (again, rest) = piece.split_at(self.again.min(piece.len() as u64) as usize);
        self.again -= again.len() as u64;
        let (skipped, rest) = rest.split_at(self.skipped.min(rest.len() as u64) as usize);
        self.skipped -= skipped.len() as u64;
        self.seen += rest.len() as u64;
        if rest.len() == piece.len() {
            let in_place = passed.is_empty();
            return show(slots, passed, pool, *purpose, piece, in_place);
        }
        show(&mut [], passed, pool, *purpose, again, false)?;
        show(slots, passed, pool, *purpose, rest, false)
    }

    /// Tells the filters of the end, once: nothing is held behind it.
    pub fn finish(&mut self, pool: &mut Pool) -> Result<(), FilterFault> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        let shown = self.show_end(pool);
        self.fault = shown.err().or(self.fault);
        self.collect_reports();
        shown
    }

    fn show_end(&mut self, pool: &mut Pool) -> Result<(), FilterFault> {
        let Filters { slots, passed, purpose, trailers, .. } = self;
        for at in 0..slots.len() {
            let Some((slot, behind)) = slots[at..].split_first_mut() else { break };
            if slot.left {
                continue;
            }
            let mut output =
                Output { pool, purpose: *purpose, behind, passed, outcome: Ok(()), written: false };
            let verdict = slot.filter.handle_end(trailers, &mut output);
            slot.follow(verdict, &[], &mut output)?;
        }
        Ok(())
    }

    /// Makes ready for the same body once more, of which nothing has arrived: what was shown is not shown again.
    pub fn rewind(&mut self, pool: &mut Pool) {
        debug_assert!(!self.replaces(), "what was replaced cannot be had again");
        self.passed.release(pool);
        self.trailers.clear();
        self.skipped = self.slots.iter().map(|slot| slot.held.len() as u64).sum();
        self.again = self.seen - self.skipped;
    }

    /// Gives all memory back; what was held is lost.
    pub fn release(&mut self, pool: &mut Pool) {
        self.passed.release(pool);
        self.slots.iter_mut().for_each(|slot| slot.held.release(pool));
    }
}

impl Slot {
    /// Does what the filter said of a piece.
    fn follow(&mut self, verdict: Verdict, piece: &[u8], output: &mut Output<'_>) -> Result<(), FilterFault> {
        let replaced = output.written || verdict == Verdict::Drop;
        if replaced && !self.filter.replaces() {
            return Err(FilterFault::Refused("filter_undeclared"));
        }
        match verdict {
            Verdict::Hold if !piece.is_empty() => self.hold(piece, output)?,
            Verdict::Pass | Verdict::Hold | Verdict::Leave => {
                self.left |= verdict == Verdict::Leave;
                self.release(output);
                output.push(piece);
            }
            Verdict::Drop => self.held.release(output.pool),
            Verdict::Abort(reason) => return Err(FilterFault::Refused(reason)),
        }
        output.outcome
    }

    fn hold(&mut self, piece: &[u8], output: &mut Output<'_>) -> Result<(), FilterFault> {
        let kept = append(&mut self.held, output.pool, output.purpose, piece, HELD_BYTES_MAX);
        if kept == piece.len() {
            return Ok(());
        }
        match self.filter.when_full() {
            WhenFull::Abort(reason) => Err(FilterFault::Refused(reason)),
            WhenFull::Pass => {
                self.release(output);
                output.push(&piece[kept..]);
                output.outcome
            }
        }
    }

    /// What is held goes on.
    fn release(&mut self, output: &mut Output<'_>) {
        let mut buffer = [0; BLOCK_BYTES];
        while !self.held.is_empty() {
            let count = self.held.len().min(BLOCK_BYTES);
            buffer[..count].copy_from_slice(&self.held.bytes(output.pool)[..count]);
            self.held.consume(output.pool, count);
            output.push(&buffer[..count]);
        }
    }
}

/// Shows a piece to these filters, one after the other. True if all let it pass unchanged, and it may stay where it is: nothing
/// waits in front of it. Otherwise what they let pass is in `passed`.
fn show(
    slots: &mut [Slot],
    passed: &mut Linear,
    pool: &mut Pool,
    purpose: Purpose,
    piece: &[u8],
    in_place: bool,
) -> Result<bool, FilterFault> {
    if piece.is_empty() {
        return Ok(false);
    }
    for at in 0..slots.len() {
        let Some((slot, behind)) = slots[at..].split_first_mut() else { break };
        if slot.left {
            continue;
        }
        let mut output = Output { pool, purpose, behind, passed, outcome: Ok(()), written: false };
        let verdict = slot.filter.handle_payload(piece, &mut output);
        let as_it_is = matches!(verdict, Verdict::Pass | Verdict::Leave) && !output.written;
        if !(as_it_is && slot.held.is_empty()) {
            slot.follow(verdict, piece, &mut output)?;
            return Ok(false);
        }
        slot.left |= verdict == Verdict::Leave;
    }
    if in_place {
        return Ok(true);
    }
    // What finishes work has memory while there is any.
    match append(passed, pool, Purpose::Reply, piece, PASSED_BYTES_MAX) == piece.len() {
        true => Ok(false),
        false => Err(FilterFault::NoMemory),
    }
}

/// Appends as much as there is room for; returns how much.
fn append(to: &mut Linear, pool: &mut Pool, purpose: Purpose, bytes: &[u8], bytes_max: usize) -> usize {
    let mut taken = 0;
    while taken < bytes.len() && to.len() < bytes_max {
        let left = bytes_max - to.len();
        let Some(space) = to.space(pool, purpose, bytes_max) else { break };
        let count = space.len().min(bytes.len() - taken).min(left);
        space[..count].copy_from_slice(&bytes[taken..taken + count]);
        to.commit(count);
        taken += count;
    }
    taken
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
