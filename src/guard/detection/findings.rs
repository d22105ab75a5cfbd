//! The findings in one request, and the scanned part of the request.

use super::category::{Categories, Category, Context};
use crate::guard::events::{REDACTED, is_secret, redacted};

/// The sum of scores at which a value is a threat, in hundredths (guard semantics, section 11).
pub const THREAT_SCORE: u16 = 100;

/// Most bytes of names and values of a head that are scanned (guard semantics, section 11).
pub const HEAD_BYTES_MAX: usize = 65_536;

/// Most bytes of a body that are scanned (guard semantics, section 11).
pub const BODY_BYTES_MAX: usize = 262_144;

/// The same, with the bytes of long values that windows show twice: an eighth is more than they repeat.
const BODY_BYTES_AND_OVERLAPS_MAX: usize = BODY_BYTES_MAX / 8 * 9 + BODY_BYTES_MAX / 32;

/// Most findings that are kept of one request (chosen): the first one suffices for a refusal, the others help the operator.
pub const FINDINGS_MAX: usize = 32;

/// Longest preview of a finding, in characters (guard semantics, section 12).
const PREVIEW_CHARS_MAX: usize = 100;

/// Most bytes before a preview that may name a secret (chosen).
const BEFORE_BYTES_MAX: usize = 512;

/// Longest name of a field in a finding, in characters (chosen).
const FIELD_CHARS_MAX: usize = 64;

/// The form of a value in which a pattern matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// The value as sent.
    Raw,
    /// The decoded value, with its blanks.
    Decoded,
    /// Decoded, without comments, blanks collapsed.
    Processed,
    /// Decoded, without the quotes and escapes that a shell takes away.
    Unquoted,
}

impl View {
    /// The word for the command line and for events.
    pub fn name(self) -> &'static str {
        match self {
            View::Raw => "raw",
            View::Decoded => "decoded",
            View::Processed => "processed",
            View::Unquoted => "unquoted",
        }
    }
}

/// One match of one pattern in one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The kind of attack.
    pub category: Category,
    /// The name of the pattern.
    pub pattern: Box<str>,
    /// The form of the value.
    pub view: View,
    /// The score of the pattern, in hundredths.
    pub score: u16,
    /// The place of the value.
    pub context: Context,
    /// The name of the field; empty for the path and for a text without fields.
    pub field: Box<str>,
    /// The match with some text around it, without secrets.
    pub preview: Box<str>,
}

/// The result on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DetectionResult {
    /// No finding.
    Clean,
    /// An attack of this kind, the first that was found.
    Threat(Category),
    /// More bytes than are scanned, or more layers of encoding than are decoded.
    Exhausted,
}

/// The findings in one request so far. Created by [`Detector::begin`](super::Detector::begin).
#[derive(Clone, Debug)]
pub struct Findings {
    found: Vec<Finding>,
    threat: Option<Category>,
    exhausted: bool,
    /// A rest of the content passed without a scan.
    rest_skipped: bool,
    head_bytes_left: usize,
    body_bytes_left: usize,
    /// The categories to scan on this path.
    pub(super) categories: Categories,
    /// The indices of the `allow` lines that cover this path.
    pub(super) allowed: Vec<usize>,
}

impl Findings {
    pub(super) fn new(categories: Categories, allowed: Vec<usize>) -> Findings {
        Findings {
            found: Vec::new(),
            threat: None,
            exhausted: false,
            rest_skipped: false,
            head_bytes_left: HEAD_BYTES_MAX,
            body_bytes_left: BODY_BYTES_AND_OVERLAPS_MAX,
            categories,
            allowed,
        }
    }

    /// The result on the request so far. A threat outweighs exhaustion.
    pub fn result(&self) -> DetectionResult {
        match self.threat {
            Some(category) => DetectionResult::Threat(category),
            None if self.exhausted => DetectionResult::Exhausted,
            None => DetectionResult::Clean,
        }
    }

    /// The findings, in order.
    pub fn found(&self) -> &[Finding] {
        &self.found
    }

    /// Takes the texts out of all findings but the first `known` ones: what was scanned since then is secret as a whole.
    pub(super) fn withhold(&mut self, known: usize) {
        self.found.iter_mut().skip(known).for_each(|finding| finding.preview = REDACTED.into());
    }

    /// Records that a part of the request was not scanned: more bytes, more layers or more depth than a bound allows.
    pub fn exhaust(&mut self) {
        self.exhausted = true;
    }

    /// Notes that the rest of a binary content passes without a scan.
    pub fn skip_rest(&mut self) {
        self.rest_skipped = true;
    }

    /// Whether a rest of the content was not scanned. That is no result.
    pub fn has_skipped_rest(&self) -> bool {
        self.rest_skipped
    }

    /// Takes bytes from the budget. Returns how many of them are to be scanned; fewer are an exhaustion.
    pub(super) fn spend(&mut self, context: Context, bytes: usize) -> usize {
        let left = match context {
            Context::Query | Context::Path | Context::Header => &mut self.head_bytes_left,
            Context::Body => &mut self.body_bytes_left,
        };
        let granted = bytes.min(*left);
        *left -= granted;
        if granted < bytes {
            self.exhaust();
        }
        granted
    }

    /// Adds the findings in one value: a threat if the sum of scores reaches [`THREAT_SCORE`].
    pub(super) fn add_value(&mut self, found: Vec<Finding>) {
        let sum = found.iter().map(|finding| finding.score).fold(0, u16::saturating_add);
        if sum >= THREAT_SCORE && self.threat.is_none() {
            let strongest = found.iter().rev().max_by_key(|finding| finding.score);
            self.threat = strongest.map(|finding| finding.category);
        }
        let room = FINDINGS_MAX.saturating_sub(self.found.len());
        self.found.extend(found.into_iter().take(room));
    }
}

/// A bounded text of the surroundings of a match in the value of a field.
pub(super) fn preview(field: &[u8], haystack: &[u8], start: usize, end: usize) -> Box<str> {
    if is_secret(&String::from_utf8_lossy(field)) {
        return REDACTED.into();
    }
    let from = start.saturating_sub(PREVIEW_CHARS_MAX / 4);
    // The text before the match shows whether it is the value of a secret.
    let before = from.saturating_sub(BEFORE_BYTES_MAX);
    let until = end.min(haystack.len()).min(from + 4 * PREVIEW_CHARS_MAX);
    let text = |range| redacted(&String::from_utf8_lossy(&haystack[range]));
    let (whole, left_out) = (text(before..until), text(before..from));
    let shown = whole.strip_prefix(&*left_out).unwrap_or(&whole);
    shown
        .chars()
        .take(PREVIEW_CHARS_MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect::<String>()
        .into()
}

/// The name of a field, bounded and printable.
pub(super) fn field_text(name: &[u8]) -> Box<str> {
    let text = String::from_utf8_lossy(&name[..name.len().min(4 * FIELD_CHARS_MAX)]).into_owned();
    text.chars()
        .take(FIELD_CHARS_MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect::<String>()
        .into()
}
