//! What a response to an unsafe request makes worthless (RFC 9111 section 4.4).

use crate::http::block::FieldLines;

use super::key::Uri;

/// Whether that method is known to change nothing (RFC 9110 section 9.2.1 and the registry).
pub fn is_safe(method: &str) -> bool {
    let _ = method;
    false
}

/// Hands out the keys (see [`super::key::write_key`]) of all that the response to a request for that URI makes worthless:
/// that URI itself, and those of the same origin that Location and Content-Location name. None for safe methods and for
/// errors. `scratch` is room that is used again.
pub fn invalidated<'b>(
    method: &str,
    status: u16,
    asked: &Uri<'_>,
    response: impl FieldLines<'b>,
    scratch: &mut Vec<u8>,
    invalidate: impl FnMut(&[u8]),
) {
    let _ = (method, status, asked, response, scratch, invalidate);
}

/// Whether Content-Location of a response names the URI that was asked for: a response to POST then answers later GETs
/// (RFC 9110 section 9.3.3).
pub fn names_itself<'b>(asked: &Uri<'_>, response: impl FieldLines<'b>) -> bool {
    let _ = (asked, response);
    false
}
