//! The body of a request before the detector.
//!
//! Each piece is decoded, taken apart and looked at before it goes on. Where a threat is refused, a piece is held back as long as
//! a value in it has not been looked at, so that neither the piece with the signature nor the end of the body reaches the origin.
//! What is held back is bounded; beyond that it goes on, and still the end does not. When all has been looked at that is to be
//! looked at, the filter leaves, and the rest may be spliced.

use crate::engine::body::filter::{Filter, Output, Report, Verdict as OfPiece, WhenFull};
use crate::guard::detection::{BODY_BYTES_MAX, Category, Findings, Verdict};
use crate::guard::inspection::{Content, Part, Walker};
use crate::guard::rules::Guard;
use crate::http::message::Fields;
use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Values of one body that are looked at (chosen: each costs some hundred nanoseconds besides its bytes, and a body of the bytes
/// that are looked at seldom has a quarter of it).
const VALUES_MAX: u32 = 32_768;

/// The word for the log of a body that goes no further. The guard's own word takes its place.
const REASON: &str = "detected";

/// Shows the body of a request to the detector.
#[derive(Debug)]
pub(in crate::engine) struct Inspection {
    guard: Arc<Guard>,
    content: Content,
    walker: Walker,
    values: u32,
    /// Bytes that came, decoded.
    bytes: usize,
    /// Until there is a verdict.
    findings: Option<Box<Findings>>,
    /// For the guard.
    report: Option<Report>,
}

impl Inspection {
    /// For a request with that path and those fields; `None` if nothing is looked for there.
    pub fn new(guard: &Arc<Guard>, path: &[u8], fields: Fields<'_, '_>) -> Option<Inspection> {
        let detector = guard.detector()?;
        let findings = detector.with_scratch(|scratch| detector.begin(Some(path), scratch))?;
        Some(Inspection {
            guard: Arc::clone(guard),
            content: Content::new(fields.all("content-encoding")),
            walker: Walker::new(fields.all("content-type")),
            values: 0,
            bytes: 0,
            findings: Some(Box::new(findings)),
            report: None,
        })
    }

    /// What is found in a body that is there as a whole.
    pub fn of_whole(mut self, body: &[u8]) -> Option<Report> {
        if matches!(self.look(Some(body)), OfPiece::Pass | OfPiece::Hold) {
            self.look(None);
        }
        self.report
    }

    /// Looks at more of the body, or at its end.
    fn look(&mut self, payload: Option<&[u8]>) -> OfPiece {
        let Inspection { guard, content, walker, values, bytes, findings, .. } = self;
        let (Some(detector), Some(found)) = (guard.detector(), findings.as_deref_mut()) else {
            return OfPiece::Leave;
        };
        detector.with_scratch(|scratch| {
            // A verdict: no more is looked at, nor decoded.
            let over = Cell::new(false);
            let mut take = |part: Part<'_>| {
                if over.get() {
                    return;
                }
                *values += 1;
                match *values > VALUES_MAX {
                    true => found.exhaust(),
                    false => detector.scan_part(&part, scratch, found),
                }
                over.set(found.verdict() != Verdict::Clean);
            };
            let read = match payload {
                Some(payload) => content.push(payload, &mut |stretch| {
                    *bytes += stretch.len();
                    walker.push(stretch, &mut take);
                    if over.get() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                }),
                None => {
                    walker.end(&mut take);
                    content.end()
                }
            };
            // What is no text may be of any length. What is behind the beginning of it goes on as it comes.
            if walker.is_binary() && *bytes >= BODY_BYTES_MAX {
                walker.end(&mut take);
            }
            if read.is_err() && !over.get() {
                found.exhaust();
            }
        });
        self.judge()
    }

    fn judge(&mut self) -> OfPiece {
        let verdict = self.findings.as_ref().map_or(Verdict::Clean, |findings| findings.verdict());
        if verdict == Verdict::Clean && self.walker.is_binary() && self.bytes >= BODY_BYTES_MAX {
            return OfPiece::Leave;
        }
        if verdict == Verdict::Clean {
            let holds = self.walker.is_pending() && self.guard.refuses(Verdict::Threat(Category::Custom));
            return if holds { OfPiece::Hold } else { OfPiece::Pass };
        }
        self.report = self.findings.take().map(Report::Detected);
        if self.guard.refuses(verdict) { OfPiece::Abort(REASON) } else { OfPiece::Leave }
    }
}

impl Filter for Inspection {
    fn handle_payload(&mut self, payload: &[u8], _: &mut Output<'_>) -> OfPiece {
        self.look(Some(payload))
    }

    fn handle_end(&mut self, _: &mut Vec<u8>, _: &mut Output<'_>) -> OfPiece {
        self.look(None)
    }

    fn when_full(&self) -> WhenFull {
        WhenFull::Pass
    }

    fn take_report(&mut self) -> Option<Report> {
        self.report.take()
    }
}
