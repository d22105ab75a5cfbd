//! The phase in which the request callback is called.

use super::answer::Answer;
use super::examine::{Decision, Examiner, Step};
use super::log_record::{LogRecord, Text};
use super::refusal::Refusal;
use super::request::{Method, Phase, RequestInfo};
use crate::engine::callback::{self, ANSWER_BYTES_MAX, RequestVerdict, RequestView, TEXT_BYTES_MAX};
use crate::engine::upstream::route::Route;
use crate::http::fields::{is_token, is_value_byte};
use crate::http::head::RequestHead;
use crate::http::target::{Authority, Host, Target};
use crate::text::shortened;

/// Fields about the end of a message or its connection (RFC 9110 section 7.6.1, RFC 9112 sections 6 and 9), and Date: the
/// proxy writes them, or they have no place in its own responses.
const RESERVED_FIELDS: [&str; 9] = [
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The word for an answer that cannot be given.
const WRONG_ANSWER: &[u8] = b"callback_answer";

impl Examiner<'_> {
    /// The phase behind the guard.
    #[inline]
    pub(super) fn behind_guard(&self, info: &RequestInfo) -> Step {
        Step::Continue(info.phase_behind_guard(self.callback.is_some()))
    }

    /// Calls the callback for a request that rules and guard allow.
    pub(super) fn ask_callback(
        &mut self,
        head: &RequestHead<'_, '_>,
        target: &Target<'_>,
        info: &mut RequestInfo,
        record: &mut LogRecord,
        out: &mut Vec<u8>,
    ) -> Result<Step, Refusal> {
        let next = Step::Continue(Phase::Cache);
        let Some(callback) = self.callback else { return Ok(next) };
        out.clear();
        info.authority.host.write(out);
        let text = |which: Text| std::str::from_utf8(record.text(which)).unwrap_or_default();
        let ruling = callback(&RequestView {
            client: self.client,
            user: text(Text::User),
            method: head.method,
            host: std::str::from_utf8(out).unwrap_or_default(),
            port: info.authority.port,
            path: match target {
                Target::Absolute { path, .. } | Target::Origin { path } => path,
                Target::Authority(_) | Target::Asterisk => b"",
            },
            target: text(Text::Target),
            is_refresh: self.is_refresh,
            fields: head.fields,
        });
        out.clear();
        if self.is_noted(Text::Note) {
            record.set(Text::Note, shortened(&ruling.note, TEXT_BYTES_MAX).as_bytes());
        }
        match ruling.verdict {
            RequestVerdict::Allow => Ok(next),
            RequestVerdict::Refuse { status, reason } => Err(refused(record, status, &reason)),
            RequestVerdict::Dial(address) => {
                let grant = info.grant.as_ref();
                let judged =
                    grant.map(|grant| self.policy.acl.judge_address(grant, address.ip(), address.port()));
                if let Some(Err(refusal)) = judged {
                    return Err(Refusal::Denied(refusal));
                }
                if let Some(guard) = self.guard {
                    let admitted =
                        guard.admit_destination(address.ip(), || self.asked(head, record), self.now);
                    admitted.map_err(Refusal::Guarded)?;
                }
                let host = Host::Address(address.ip().to_canonical());
                info.route = Route::Chosen(Authority { host, port: address.port() });
                Ok(next)
            }
            RequestVerdict::Answer(answer) => {
                let tunnel = info.method == Method::Connect && answer.status < 300;
                let fields_bytes = write_answer(&answer, out).filter(|_| !tunnel && !self.is_refresh);
                let Some(fields_bytes) = fields_bytes else {
                    record.set(Text::Reason, WRONG_ANSWER);
                    return Err(Refusal::Callback(500));
                };
                let of_type = |(name, _): &&(String, String)| name.eq_ignore_ascii_case("content-type");
                if let Some((_, media_type)) = answer.fields.iter().find(of_type) {
                    record.set_content_type(media_type.as_bytes());
                }
                Ok(Step::Decide(Decision::Answer(Answer::Callback { status: answer.status, fields_bytes })))
            }
        }
    }
}

/// Writes field lines and content of an answer, and returns the length of the lines. `None` if the answer breaks a rule or a
/// bound.
pub(super) fn write_answer(answer: &callback::Answer, out: &mut Vec<u8>) -> Option<usize> {
    if !matches!(answer.status, 200..=599) {
        return None;
    }
    for (name, value) in &answer.fields {
        let reserved = RESERVED_FIELDS.iter().any(|field| field.eq_ignore_ascii_case(name));
        if reserved || !is_token(name.as_bytes()) || !value.bytes().all(is_value_byte) {
            return None;
        }
        for part in [name.as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    let fields_bytes = out.len();
    if fields_bytes.saturating_add(answer.body.len()) > ANSWER_BYTES_MAX {
        return None;
    }
    out.extend_from_slice(&answer.body);
    Some(fields_bytes)
}

/// The refusal of a callback; its reason is for the record.
pub(in crate::engine) fn refused(record: &mut LogRecord, status: u16, reason: &str) -> Refusal {
    record.set(Text::Reason, shortened(reason, TEXT_BYTES_MAX).as_bytes());
    Refusal::Callback(if matches!(status, 400..=599) { status } else { 403 })
}
