//! Filters: between the decoder of a body and the receiver of the payload.
//!
//! # Theory of operation
//!
//! ```text
//! source -> Intake (decoder) -> filter -> filter -> ... -> ring or `passed` -> Outlet (encoder) -> sink
//! ```
//!
//! A relay without filters has no list, which costs one comparison for each read, and its bytes may be spliced. With a list,
//! each piece of decoded payload is shown to the first filter. The payload that a filter lets pass is shown to the next one,
//! and the last filter's goes on to the ring. A filter sees each byte of a body once, in order, in pieces of any size from 1
//! byte to [`PIECE_BYTES_MAX`]; pieces are independent of chunks. The last piece is followed by [`Filter::handle_end`], with
//! the trailers that may be forwarded. A body that is cut short has no end, and a message without content is not shown.
//!
//! A [`FilterDecision`] decides about a piece. The list keeps the held bytes of a filter, in memory of the pool, up to
//! [`HELD_BYTES_MAX`] for each filter; beyond that [`Filter::when_full`] decides. A filter replaces bytes by writing to
//! [`Output`] and dropping those that it read. The length is then unknown, so a filter that writes or drops announces that
//! with [`Filter::replaces`] before the head is written, and the head has no Content-Length. A verdict against this promise
//! aborts the transaction.
//!
//! Payload that all filters let pass unchanged stays in its place. All other payload is appended behind it, to
//! `passed`. While `passed` contains bytes, nothing more is received: that is the back-pressure, and the bound of
//! `passed` is [`PASSED_BYTES_MAX`].
//!
//! | state of the list | what moves it to the next |
//! | --- | --- |
//! | *open* | payload; `Leave` takes one filter out; a list without filters is removed, and the body may be spliced |
//! | *ended* | the end of the body: the last call of the filters, after which nothing is held |
//! | *rewound* | the request is sent again: bytes that filters have seen bypass them, bytes that they hold are skipped |
//!
//! An aborted request is answered with a refusal, or its transaction is aborted if a response has begun. An aborted response
//! is cut like a truncated one: the client must notice. Held bytes of an aborted or truncated body are dropped.

#[cfg(feature = "detection")]
use crate::guard::behaviour::Watch;
#[cfg(feature = "detection")]
use crate::guard::detection::Findings;
use crate::http::head::RequestHead;
use crate::net::{BLOCK_BYTES, Linear, Pool, Purpose};
use std::fmt::Debug;
use std::sync::Arc;

/// Bytes that one filter may hold back (chosen: the usual limit of scanners of bodies).
pub const HELD_BYTES_MAX: usize = 64 * 1024;

/// Bytes that may wait behind the filters of one body (chosen: the bytes of one read and those that a few filters let pass,
/// several times over for filters that replace).
pub const PASSED_BYTES_MAX: usize = 256 * 1024;

/// Most bytes of one piece that a filter is shown.
pub const PIECE_BYTES_MAX: usize = BLOCK_BYTES;

/// Filters of one body (chosen; each may have a block on the stack).
pub const FILTERS_MAX: usize = 8;

/// The decision about a piece of payload, and about the bytes that the filter holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterDecision {
    /// The held bytes pass, then this piece.
    Pass,
    /// The piece is held, behind the bytes that are held already. At the end of the body equal to `Pass`.
    Hold,
    /// The held bytes and this piece are dropped. For filters that replace.
    Drop,
    /// Like `Pass`, and the filter is not called any more.
    Leave,
    /// The body is aborted. The word is for the log and for the client.
    Abort(&'static str),
}

/// The decision when a filter cannot hold back more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The held bytes and the new piece pass unjudged; the filter may hold back later pieces.
    Pass,
    /// The body is aborted.
    Abort(&'static str),
}

/// Reads a body as it passes, and may change it.
pub trait Filter: Debug + Send {
    /// Whether the filter may change the body: the head then announces no length.
    fn replaces(&self) -> bool {
        false
    }

    /// Handles the next piece of the body. Bytes written to `output` pass at once, before the held bytes and this piece.
    fn handle_payload(&mut self, payload: &[u8], output: &mut Output<'_>) -> FilterDecision;

    /// Handles the end of the body. `trailers` are lines with their ends, empty for most bodies; a filter that replaces may
    /// change them.
    fn handle_end(&mut self, trailers: &mut Vec<u8>, output: &mut Output<'_>) -> FilterDecision {
        let _ = (trailers, output);
        FilterDecision::Pass
    }

    /// The body ends here, because one side has broken it off.
    fn handle_break(&mut self) {}

    /// Returns a report for the guard, once. Called after each piece and after the end.
    fn take_report(&mut self) -> Option<Report> {
        None
    }

    /// The heap of the filter that grows with the body, in bytes, without held bytes. Asked after each piece. It counts as blocks of
    /// the pool. If the pool has too few, the body is ended; if it may pass without the filter, and half of the blocks are not free,
    /// the filter goes.
    fn heap_bytes(&self) -> usize {
        0
    }

    /// Whether the body must not pass without the filter.
    fn is_needed(&self) -> bool {
        true
    }

    /// Decides when [`HELD_BYTES_MAX`] would be exceeded, or memory for holding back is short.
    fn when_full(&self) -> WhenFull {
        WhenFull::Abort("filter_held_bytes_max")
    }
}

/// A finding for the guard, which a filter cannot reach.
#[derive(Debug)]
pub enum Report {
    /// Attacks in the body of a request.
    #[cfg(feature = "detection")]
    Detected(Box<Findings>),
    /// The behaviour rules have seen the beginning of a response, or all of it.
    #[cfg(feature = "detection")]
    Watched {
        /// The watch of the behaviour rules.
        watch: Box<Watch>,
        /// Whether the watch has seen the whole response.
        whole: bool,
    },
}

/// The filters of one request and its response.
#[derive(Debug, Default)]
pub struct FilterLists {
    /// The filters of the request's body, in order.
    pub request: Vec<Box<dyn Filter>>,
    /// The filters of the response's body, in order.
    pub response: Vec<Box<dyn Filter>>,
}

/// Returns the filters of a request, by its head. Called once for an allowed request.
pub type FilterSource = Arc<dyn Fn(&RequestHead<'_, '_>) -> FilterLists + Send + Sync>;

/// The reason why filters have aborted a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum FilterFault {
    /// A filter's own word.
    Refused(&'static str),
    /// Memory is short for the bytes that the filters let pass.
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

/// The writer for bytes that a filter inserts into the body.
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

    /// Shows a piece to the filters behind this one, and appends what they let pass.
    fn push(&mut self, piece: &[u8]) {
        if self.outcome.is_ok() {
            self.outcome = show(self.behind, self.passed, self.pool, self.purpose, piece, false).map(|_| ());
        }
    }
}

/// One filter, and the bytes that it holds back.
#[derive(Debug)]
struct Slot {
    filter: Box<dyn Filter>,
    held: Linear,
    /// Blocks of the pool that the heap of the filter counts as.
    charged: usize,
    /// The filter is not called any more.
    left: bool,
}

/// The filters of one body.
#[derive(Debug)]
pub(in crate::engine) struct Filters {
    slots: Vec<Slot>,
    /// Bytes that have passed, except those that stay in their place.
    passed: Linear,
    purpose: Purpose,
    /// Payload that was shown.
    seen: u64,
    /// Payload that is sent again: first `again` bytes bypass the filters, then `skipped` bytes are skipped, because
    /// they are held.
    again: u64,
    skipped: u64,
    /// The end was shown.
    ended: bool,
    /// Why the body was aborted.
    fault: Option<FilterFault>,
    /// Reports for the guard.
    reports: Vec<Report>,
    /// The trailer lines of the decoder.
    pub trailers: Vec<u8>,
}

impl Filters {
    /// A list of filters; `None` if there are none.
    pub fn new(filters: Vec<Box<dyn Filter>>, purpose: Purpose) -> Option<Box<Filters>> {
        debug_assert!(filters.len() <= FILTERS_MAX);
        if filters.is_empty() {
            return None;
        }
        Some(Box::new(Filters {
            slots: filters.into_iter().map(Slot::new).collect(),
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

    /// Inserts a filter before the others.
    #[cfg(feature = "detection")]
    pub fn insert_first(&mut self, filter: Box<dyn Filter>) {
        self.slots.insert(0, Slot::new(filter));
    }

    /// Whether the length of the body may change.
    pub fn replaces(&self) -> bool {
        self.slots.iter().any(|slot| slot.filter.replaces())
    }

    /// The reason why the body was aborted.
    pub fn fault(&self) -> Option<FilterFault> {
        self.fault
    }

    /// The bytes that have passed and wait.
    pub fn passed<'p>(&'p self, pool: &'p Pool) -> &'p [u8] {
        self.passed.bytes(pool)
    }

    /// The number of bytes that have passed and wait.
    pub fn passed_len(&self) -> usize {
        self.passed.len()
    }

    /// Removes `count` bytes that were sent.
    pub fn consume(&mut self, pool: &mut Pool, count: usize) {
        self.passed.consume(pool, count);
    }

    /// Whether the list is of no use any more: all filters have left, and no byte waits. A list that has replaced bytes
    /// stays, so that the request is not sent again.
    pub fn is_spent(&self) -> bool {
        let all_left = self.slots.iter().all(|slot| slot.left);
        let is_read = self.passed.is_empty() && self.reports.is_empty();
        all_left && is_read && self.again + self.skipped == 0 && !self.replaces()
    }

    /// The reports of the filters for the guard since the last call.
    pub fn take_reports(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.reports)
    }

    /// The body ends here, because one side has broken it off.
    pub fn handle_break(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.filter.handle_break());
        self.collect_reports();
    }

    fn collect_reports(&mut self) {
        let Filters { slots, reports, .. } = self;
        reports.extend(slots.iter_mut().filter_map(|slot| slot.filter.take_report()));
    }

    /// Shows the filters a piece of at most a block. True if the whole piece passes in its place; otherwise the passing bytes
    /// were copied.
    pub fn show(&mut self, pool: &mut Pool, piece: &[u8]) -> Result<bool, FilterFault> {
        let shown = self.show_unseen(pool, piece);
        self.fault = shown.err().or(self.fault);
        self.collect_reports();
        shown
    }

    /// Of a request that is sent again, the filters have seen the beginning already.
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

    /// Ends the filters, once: afterwards nothing is held.
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

    /// Prepares for the same body again, from its first byte on: bytes that were shown are not shown again.
    pub fn rewind(&mut self, pool: &mut Pool) {
        debug_assert!(!self.replaces(), "what was replaced cannot be had again");
        self.passed.release(pool);
        self.trailers.clear();
        self.skipped = self.slots.iter().map(|slot| slot.held.len() as u64).sum();
        self.again = self.seen - self.skipped;
    }

    /// Releases all memory; held bytes are lost.
    pub fn release(&mut self, pool: &mut Pool) {
        self.passed.release(pool);
        for slot in &mut self.slots {
            slot.held.release(pool);
            pool.discharge(std::mem::take(&mut slot.charged));
        }
    }
}

/// In place of a filter that had to go, whose memory is free.
#[derive(Debug)]
struct Gone;

impl Filter for Gone {
    fn handle_payload(&mut self, _: &[u8], _: &mut Output<'_>) -> FilterDecision {
        FilterDecision::Leave
    }
}

impl Slot {
    fn new(filter: Box<dyn Filter>) -> Slot {
        Slot { filter, held: Linear::default(), charged: 0, left: false }
    }

    /// Counts the present heap of the filter. A filter without which the body may pass gets what is spare, or goes.
    fn charge(&mut self, pool: &mut Pool) -> Result<(), FilterFault> {
        let blocks = self.filter.heap_bytes().div_ceil(BLOCK_BYTES);
        let is_needed = self.filter.is_needed();
        let purpose = if is_needed { Purpose::Filter } else { Purpose::Spare };
        if blocks > self.charged && !pool.charge(purpose, blocks - self.charged) {
            self.left = true;
            if is_needed {
                return Err(FilterFault::NoMemory);
            }
            self.filter = Box::new(Gone);
            pool.discharge(std::mem::take(&mut self.charged));
            return Ok(());
        }
        pool.discharge(self.charged.saturating_sub(blocks));
        self.charged = blocks;
        Ok(())
    }

    /// Carries out the verdict of the filter about a piece.
    fn follow(
        &mut self,
        verdict: FilterDecision,
        piece: &[u8],
        output: &mut Output<'_>,
    ) -> Result<(), FilterFault> {
        let replaced = output.written || verdict == FilterDecision::Drop;
        if replaced && !self.filter.replaces() {
            return Err(FilterFault::Refused("filter_undeclared"));
        }
        match verdict {
            FilterDecision::Hold if !piece.is_empty() => self.hold(piece, output)?,
            FilterDecision::Pass | FilterDecision::Hold | FilterDecision::Leave => {
                self.left |= verdict == FilterDecision::Leave;
                self.pass_held(output);
                output.push(piece);
            }
            FilterDecision::Drop => self.held.release(output.pool),
            FilterDecision::Abort(reason) => return Err(FilterFault::Refused(reason)),
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
                self.pass_held(output);
                output.push(&piece[kept..]);
                output.outcome
            }
        }
    }

    /// Lets the held bytes pass.
    fn pass_held(&mut self, output: &mut Output<'_>) {
        let mut buffer = [0; BLOCK_BYTES];
        while !self.held.is_empty() {
            let count = self.held.len().min(BLOCK_BYTES);
            buffer[..count].copy_from_slice(&self.held.bytes(output.pool)[..count]);
            self.held.consume(output.pool, count);
            output.push(&buffer[..count]);
        }
    }
}

/// Shows a piece to these filters, one after the other. True if all let it pass unchanged, and it may stay in its place,
/// because no byte waits in front of it. Otherwise the passing bytes are in `passed`.
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
        slot.charge(output.pool)?;
        let as_it_is = matches!(verdict, FilterDecision::Pass | FilterDecision::Leave) && !output.written;
        if !(as_it_is && slot.held.is_empty()) {
            slot.follow(verdict, piece, &mut output)?;
            return Ok(false);
        }
        slot.left |= verdict == FilterDecision::Leave;
    }
    if in_place {
        return Ok(true);
    }
    // Work that ends gets memory as long as there is any.
    match append(passed, pool, Purpose::Reply, piece, PASSED_BYTES_MAX) == piece.len() {
        true => Ok(false),
        false => Err(FilterFault::NoMemory),
    }
}

/// Appends as many bytes as fit; returns their number.
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
