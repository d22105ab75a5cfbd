//! The head of a request, taken apart into values.

use super::category::Context;
use super::detector::{Detector, Scratch};
use super::findings::Findings;
use crate::guard::path::decode;
use std::borrow::Cow;

/// Fields that weir writes anew, or that only describe the use of the connection.
const SKIPPED_FIELDS: [&[u8]; 6] = [
    b"connection",
    b"content-length",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"transfer-encoding",
];

impl Detector {
    /// Scans the head of a request: names and values of the query, the path, fields and cookies, in this order, until a
    /// threat is found. `target` is path and query as sent; `None` for CONNECT.
    pub fn scan_request<'a>(
        &self,
        target: Option<&[u8]>,
        fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
        scratch: &mut Scratch,
        findings: &mut Findings,
    ) {
        let target = target.unwrap_or_default();
        let (path, query) = match memchr::memchr(b'?', target) {
            Some(at) => (&target[..at], &target[at + 1..]),
            None => (target, &[][..]),
        };
        self.scan_query(query, scratch, findings);
        self.scan(Context::Path, b"", path, scratch, findings);
        // A server may use a segment as a parameter, so its beginning counts as the beginning of a value.
        for segment in path.split(|byte| *byte == b'/').filter(|segment| !is_plain(segment)) {
            self.scan(Context::Path, b"", segment, scratch, findings);
        }
        if let Some(inner) = inner_address(path) {
            self.scan(Context::Query, b"", inner, scratch, findings);
        }
        for (name, value) in fields {
            if SKIPPED_FIELDS.iter().any(|skipped| name.eq_ignore_ascii_case(skipped)) {
                continue;
            }
            // The address of the page before has a query of its own.
            let (value, query) = match memchr::memchr(b'?', value) {
                Some(at) if name.eq_ignore_ascii_case(b"referer") && is_address(&value[..at]) => {
                    (&value[..at], &value[at + 1..])
                }
                Some(_) | None => (value, &[][..]),
            };
            if name.contains(&b'%') {
                // A name with escapes is a part of a value that a client has divided at a colon.
                let whole = [name, b": ", value].concat();
                self.scan_value(Context::Header, name, &whole, scratch, findings);
            }
            match name.eq_ignore_ascii_case(b"cookie") {
                true => self.scan_cookies(value, scratch, findings),
                false => self.scan(Context::Header, name, value, scratch, findings),
            }
            self.scan_query(query, scratch, findings);
            if is_file_name(name) {
                let part = [b"filename=\"", value, b"\""].concat();
                self.scan_value(Context::Body, name, &part, scratch, findings);
            }
        }
    }

    /// Scans each name and value of a query, including repeated names.
    fn scan_query(&self, query: &[u8], scratch: &mut Scratch, findings: &mut Findings) {
        for pair in query.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let (name, value) = split_pair(pair);
            self.scan_name(Context::Query, name, scratch, findings);
            self.scan_value(Context::Query, &unescaped(name), value, scratch, findings);
        }
    }

    fn scan_cookies(&self, value: &[u8], scratch: &mut Scratch, findings: &mut Findings) {
        let known = findings.found().len();
        for pair in value.split(|byte| *byte == b';') {
            let (name, value) = split_pair(pair.trim_ascii());
            if !name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
                self.scan_name(Context::Header, name, scratch, findings);
            }
            self.scan(Context::Header, name, value, scratch, findings);
        }
        // Any cookie may be the session of its user, whatever its name is.
        findings.withhold(known);
    }
}

/// Whether a text is the address of a page, without its query.
fn is_address(text: &[u8]) -> bool {
    let rest = text.strip_prefix(b"https://").or_else(|| text.strip_prefix(b"http://"));
    rest.is_some_and(|rest| rest.iter().all(|byte| byte.is_ascii_graphic() && !b"<>\"'`".contains(byte)))
}

/// Whether a field holds the name of a file that is uploaded: `X-Filename`, `X_File_Name`.
fn is_file_name(field: &[u8]) -> bool {
    let letters = field.iter().filter(|byte| byte.is_ascii_alphabetic()).map(u8::to_ascii_lowercase);
    letters.eq(*b"xfilename")
}

/// An address or a path inside of a path: `/fetch/http://...`, `/files//etc/...`.
fn inner_address(path: &[u8]) -> Option<&[u8]> {
    let slashes = memchr::memmem::find(path.get(1..)?, b"//")? + 1;
    let is_scheme = path[..slashes].last() == Some(&b':');
    let segment = path[..slashes].iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    Some(&path[if is_scheme { segment } else { slashes }..])
}

/// Whether a segment of a path is a name as most are.
fn is_plain(segment: &[u8]) -> bool {
    segment.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// A name without percent-encoding, as an application reads it, and lines `allow` have it.
fn unescaped(name: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'%', b'+', name).is_none() {
        return Cow::Borrowed(name);
    }
    let mut name = name.to_vec();
    name.iter_mut().filter(|byte| **byte == b'+').for_each(|byte| *byte = b' ');
    decode(&mut name);
    Cow::Owned(name)
}

/// A name and a value; a text without `=` is a value without a name.
fn split_pair(pair: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'=', pair) {
        Some(at) => (&pair[..at], &pair[at + 1..]),
        None => (b"", pair),
    }
}
