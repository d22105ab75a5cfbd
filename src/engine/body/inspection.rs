//! The detector as a filter for the body of a request.
//!
//! Each piece is decoded, split into values and scanned before it passes. If threats are refused, a piece is held back while
//! a value in it is not fully scanned, so that neither the piece with the signature nor the end of the body reaches the
//! origin. The number of held bytes is bounded; beyond that bytes pass, but the end of the body does not. When all bytes
//! within the detector's limit are scanned, the filter leaves, and the rest may be spliced.

use crate::engine::body::filter::{Filter, FilterDecision, Output, Report, WhenFull};
use crate::guard::detection::{BODY_BYTES_MAX, Category, DetectionResult, Findings};
use crate::guard::inspection::{Content, Part, WINDOW_BYTES, Walker, media};
use crate::guard::rules::Guard;
use crate::http::block::{FieldBlock, FieldLines as _};
use crate::http::message::Fields;
use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Scanned names and values of one body (chosen: each costs some hundred nanoseconds beside its bytes; only a body with nothing between
/// its signs has more of them in the bytes that are scanned).
const VALUES_MAX: u32 = 131_072;

/// The word for the log of an aborted body. The guard's own word replaces it.
const REASON: &str = "detected";

/// Shows the body of a request to the detector.
#[derive(Debug)]
pub(in crate::engine) struct Inspection {
    guard: Arc<Guard>,
    content: Content,
    walker: Walker,
    /// Whether the detector reads the character sets that the fields name.
    is_legible: bool,
    values: u32,
    /// Bytes received, after decoding.
    bytes: usize,
    /// How long all of this took so far, in nanoseconds.
    took_ns: u64,
    /// Findings until the verdict.
    findings: Option<Box<Findings>>,
    /// The report for the guard.
    report: Option<Report>,
}

impl Inspection {
    /// For a request with that path and those fields; `None` if the detector scans nothing there.
    pub fn new(guard: &Arc<Guard>, path: &[u8], fields: Fields<'_, '_>) -> Option<Inspection> {
        let detector = guard.detector()?;
        let findings = detector.with_scratch(|scratch| detector.begin(Some(path), scratch))?;
        Some(Inspection {
            guard: Arc::clone(guard),
            content: Content::new(fields.all("content-encoding")),
            walker: Walker::new(fields.all("content-type")),
            is_legible: fields.all("content-type").all(media::is_legible),
            values: 0,
            bytes: 0,
            took_ns: 0,
            findings: Some(Box::new(findings)),
            report: None,
        })
    }

    /// The report about a body that is complete in memory.
    pub fn of_whole(mut self, body: &[u8]) -> Option<Report> {
        if matches!(self.look(Some(body), b""), FilterDecision::Pass | FilterDecision::Hold) {
            self.look(None, b"");
        }
        self.report
    }

    /// Looks at more of the body, or at its end and the lines of its trailers.
    fn look(&mut self, payload: Option<&[u8]>, trailers: &[u8]) -> FilterDecision {
        let Inspection { guard, content, walker, is_legible, values, bytes, findings, .. } = self;
        let (Some(detector), Some(found)) = (guard.detector(), findings.as_deref_mut()) else {
            return FilterDecision::Leave;
        };
        let durations = &guard.state().durations;
        let began_ns = durations.read_ns();
        detector.with_scratch(|scratch| {
            // After a verdict no more is scanned or decoded.
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
                over.set(found.result() != DetectionResult::Clean);
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
            // Binary content may have any length. Only its beginning is scanned, and the rest passes and is counted.
            let skips_rest = walker.is_binary() && *bytes >= BODY_BYTES_MAX && payload.is_some();
            if skips_rest {
                walker.end(&mut take);
            }
            // A name of a character set may be wrong: if such a body may pass, it is inspected to its end.
            let is_due = payload.is_none() || detector.refuses(DetectionResult::Exhausted);
            let is_foreign = !*is_legible && *bytes > 0 && is_due;
            if (read.is_err() || is_foreign) && !over.get() {
                found.exhaust();
            }
            // Servers may read trailers as fields of the head.
            if found.result() == DetectionResult::Clean && !trailers.is_empty() {
                let fields = FieldBlock::new(trailers).lines();
                let fields = fields.map(|(name, value)| (name.as_bytes(), value));
                detector.scan_request(None, fields, scratch, found);
            }
            if skips_rest && found.result() == DetectionResult::Clean {
                found.skip_rest();
            }
        });
        let took_ns = durations.since_ns(began_ns).map(|now_ns| self.took_ns.saturating_add(now_ns));
        self.took_ns = took_ns.unwrap_or_default();
        let verdict = found.result();
        let of_piece = self.judge();
        // The last piece, or there is a verdict.
        if payload.is_none() || self.findings.is_none() {
            self.guard.note_duration(verdict, took_ns);
        }
        of_piece
    }

    fn judge(&mut self) -> FilterDecision {
        let verdict = self.findings.as_ref().map_or(DetectionResult::Clean, |findings| findings.result());
        if self.findings.as_ref().is_some_and(|findings| findings.has_skipped_rest()) {
            self.report = self.findings.take().map(Report::Detected);
            return FilterDecision::Leave;
        }
        if verdict == DetectionResult::Clean {
            let holds =
                self.walker.is_pending() && self.guard.refuses(DetectionResult::Threat(Category::Custom));
            return if holds { FilterDecision::Hold } else { FilterDecision::Pass };
        }
        self.report = self.findings.take().map(Report::Detected);
        if self.guard.refuses(verdict) { FilterDecision::Abort(REASON) } else { FilterDecision::Leave }
    }
}

impl Filter for Inspection {
    fn handle_payload(&mut self, payload: &[u8], _: &mut Output<'_>) -> FilterDecision {
        self.look(Some(payload), b"")
    }

    fn handle_end(&mut self, trailers: &mut Vec<u8>, _: &mut Output<'_>) -> FilterDecision {
        self.look(None, trailers)
    }

    /// The windows count with their greatest size.
    fn heap_bytes(&self) -> usize {
        self.walker.windows() * WINDOW_BYTES + self.content.heap_bytes()
    }

    fn when_full(&self) -> WhenFull {
        WhenFull::Pass
    }

    fn take_report(&mut self) -> Option<Report> {
        self.report.take()
    }
}
