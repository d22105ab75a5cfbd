//! The reports of browsers about violations of a content security policy (guard semantics, section 9).
//!
//! `application/csp-report` has one report (CSP2, section 4.4), `application/reports+json` a list (Reporting API). Any client
//! can send them: they are bounded, and nothing in them is trusted.

use crate::guard::events::{Event, EventType};
use crate::guard::told::Asker;
use crate::http::fields::trim;
use crate::text::shortened;
use crate::time::Now;
use serde_json::Value;

/// The longest body of reports (guard semantics, section 9).
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// Most reports of one body (chosen: browsers send a few at once).
pub const REPORTS_MAX: usize = 32;

/// Longest part of a report in the event, in bytes (chosen).
const TEXT_BYTES_MAX: usize = 512;

/// The reason why a body is no report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// The media type is another one (415).
    MediaType,
    /// The body is too long (413).
    TooLong,
    /// The body is no JSON, or lacks the members of a report (400).
    Malformed,
}

impl Invalid {
    /// The status of the answer.
    pub fn status(self) -> u16 {
        match self {
            Invalid::MediaType => 415,
            Invalid::TooLong => 413,
            Invalid::Malformed => 400,
        }
    }
}

/// One violation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The page.
    pub document_uri: String,
    /// The directive that was violated.
    pub violated_directive: String,
    /// The resource that was not loaded or run.
    pub blocked_uri: String,
    /// The source file; may be empty.
    pub source_file: String,
    /// The line in the source file; may be empty.
    pub line_number: String,
}

/// Reads the body of a report with the value of its Content-Type.
pub fn read(content_type: &[u8], body: &[u8]) -> Result<Vec<Report>, Invalid> {
    let media_type = trim(content_type.split(|byte| *byte == b';').next().unwrap_or_default());
    let is = |known: &str| media_type.eq_ignore_ascii_case(known.as_bytes());
    let listed = is("application/reports+json");
    if !(listed || is("application/csp-report")) {
        return Err(Invalid::MediaType);
    }
    if body.len() > BODY_BYTES_MAX {
        return Err(Invalid::TooLong);
    }
    let content: Value = serde_json::from_slice(body).map_err(|_| Invalid::Malformed)?;
    let reports: Vec<Report> = match listed {
        false => content.get("csp-report").and_then(of_policy).into_iter().collect(),
        true => content.as_array().into_iter().flatten().filter_map(of_api).take(REPORTS_MAX).collect(),
    };
    if reports.is_empty() { Err(Invalid::Malformed) } else { Ok(reports) }
}

/// A text, or nothing if the value is something else.
fn text(of: &Value, name: &str) -> Option<String> {
    Some(shortened(of.get(name)?.as_str()?, TEXT_BYTES_MAX).to_owned())
}

fn number(of: &Value, name: &str) -> String {
    of.get(name).and_then(Value::as_u64).map(|number| number.to_string()).unwrap_or_default()
}

fn of_policy(report: &Value) -> Option<Report> {
    Some(Report {
        document_uri: text(report, "document-uri")?,
        violated_directive: text(report, "violated-directive")?,
        blocked_uri: text(report, "blocked-uri")?,
        source_file: text(report, "source-file").unwrap_or_default(),
        line_number: number(report, "line-number"),
    })
}

/// Other types of reports arrive at the same address, and are left out.
fn of_api(report: &Value) -> Option<Report> {
    let body =
        report.get("body").filter(|_| report.get("type").and_then(Value::as_str) == Some("csp-violation"))?;
    Some(Report {
        document_uri: text(body, "documentURL").or_else(|| text(report, "url"))?,
        violated_directive: text(body, "effectiveDirective").or_else(|| text(body, "violatedDirective"))?,
        blocked_uri: text(body, "blockedURL")?,
        source_file: text(body, "sourceFile").unwrap_or_default(),
        line_number: number(body, "lineNumber"),
    })
}

impl Report {
    /// The event, with the words of section 12. Secrets are removed when it is written, as in every event.
    pub fn event(self, asked: &Asker<'_>, now: Now) -> Event {
        let mut event = Event::of_request(now, EventType::CspViolation, asked, "logged");
        event.metadata = vec![
            ("document_uri", self.document_uri),
            ("violated_directive", self.violated_directive),
            ("blocked_uri", self.blocked_uri),
            ("source_file", self.source_file),
            ("line_number", self.line_number),
        ];
        event.metadata.retain(|(_, text)| !text.is_empty());
        event
    }
}
