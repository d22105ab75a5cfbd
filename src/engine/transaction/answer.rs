//! Answers that need no origin and are no refusals.

use crate::engine::settings::Settings;
use crate::engine::transaction::request::{Method, RequestInfo};
use crate::engine::transaction::response_fields::{ResponseFields, write_quota};
use crate::guard::headers::Author;
use crate::http::block::{FieldBlock, FieldLines as _};
use crate::http::fields;
use crate::http::forwarding::{self, Edits as _};
use crate::http::reply;

/// Answers that weir gives in place of an origin (RFC 9110 sections 9.3.7 and 9.3.8), or a callback.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) enum Answer {
    /// The methods that are possible; CONNECT is one of a forward proxy.
    Options {
        connect: bool,
    },
    Trace,
    /// So many stored responses were removed.
    Purged,
    /// The answer of a callback. `fields_bytes` of the written bytes are field lines.
    Callback {
        status: u16,
        fields_bytes: usize,
    },
    /// The answer of a page, in the same form.
    Page {
        status: u16,
        fields_bytes: usize,
    },
    /// The answer of the guard, in the same form.
    Guard {
        status: u16,
        fields_bytes: usize,
    },
    /// The answer to a preflight, in the same form. It has all fields for other origins.
    Preflight {
        status: u16,
        fields_bytes: usize,
    },
}

impl Answer {
    pub fn status(self) -> u16 {
        match self {
            Answer::Options { .. } | Answer::Trace | Answer::Purged => 200,
            Answer::Callback { status, .. }
            | Answer::Page { status, .. }
            | Answer::Guard { status, .. }
            | Answer::Preflight { status, .. } => status,
        }
    }

    /// The media type; empty without content, or if the type is recorded already.
    pub fn content_type(self) -> &'static [u8] {
        match self {
            Answer::Trace => b"message/http",
            Answer::Purged => b"text/plain",
            Answer::Guard { .. } | Answer::Preflight { .. } => b"text/plain; charset=utf-8",
            Answer::Options { .. } | Answer::Callback { .. } | Answer::Page { .. } => b"",
        }
    }

    /// Writes head and content.
    pub fn write(
        self,
        out: &mut Vec<u8>,
        written: &[u8],
        date: &str,
        (info, keep_alive): (&RequestInfo, bool),
        response_fields: Option<(&ResponseFields, &Settings)>,
    ) {
        let (fields, content): (&[u8], &[u8]) = match self {
            Answer::Trace => (b"Content-Type: message/http\r\n", written),
            Answer::Purged => (b"Content-Type: text/plain\r\nCache-Control: no-store\r\n", written),
            Answer::Options { connect: true } => {
                (b"Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS, TRACE, PATCH, CONNECT\r\n", written)
            }
            Answer::Options { connect: false } => {
                (b"Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS, TRACE, PATCH\r\n", written)
            }
            Answer::Callback { fields_bytes, .. }
            | Answer::Page { fields_bytes, .. }
            | Answer::Guard { fields_bytes, .. }
            | Answer::Preflight { fields_bytes, .. } => written.split_at(fields_bytes),
        };
        let status = self.status();
        out.clear();
        out.extend_from_slice(b"HTTP/1.1 ");
        fields::write_decimal(out, u64::from(status));
        out.push(b' ');
        out.extend_from_slice(reply::reason_phrase(status).as_bytes());
        out.extend_from_slice(b"\r\nDate: ");
        out.extend_from_slice(date.as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(fields);
        // A response with a session is for its client alone.
        if matches!(self, Answer::Page { .. })
            && !FieldBlock::new(fields).lines().any(|(name, _)| name.eq_ignore_ascii_case("cache-control"))
        {
            out.extend_from_slice(b"Cache-Control: no-store\r\n");
        }
        write_quota(info.quota, out);
        let is_complete = matches!(self, Answer::Preflight { .. });
        if let Some((response_fields, settings)) = response_fields {
            let has = FieldBlock::new(fields).lines();
            let additions = response_fields.additions(settings, Author::Own, has);
            let additions = if is_complete { additions.without_cors() } else { additions };
            additions.write_added(out);
            out.extend_from_slice(response_fields.cookie());
        }
        // A 205 has none, and says so (RFC 9110 section 15.3.6).
        let content = if status == 205 { b"" } else { content };
        // These have no content (RFC 9110 sections 15.3.5 and 15.4.5).
        let has_content = !matches!(status, 204 | 304);
        if has_content {
            out.extend_from_slice(b"Content-Length: ");
            fields::write_decimal(out, content.len() as u64);
            out.extend_from_slice(b"\r\n");
        }
        forwarding::write_persistence(out, info.version, keep_alive);
        out.extend_from_slice(b"\r\n");
        if has_content && info.method != Method::Head {
            out.extend_from_slice(content);
        }
    }
}
