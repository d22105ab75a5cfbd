//! The length of a body (RFC 9112 section 6.3): two readers must always find the same.

use super::class::Class;
use super::fault::Fault;
use super::fields::{decimal, is_token, list};
use super::message::{Fields, RequestHead, ResponseHead, Version};

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// The message has no body, and its head has no framing.
    None,
    /// Content-Length: that number of bytes, possibly zero.
    Length(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
    /// The body ends with the connection. Only responses.
    UntilClose,
}

/// The body of a request: never `UntilClose`. CONNECT has none, whatever its fields are: WinINET sends `Content-Length: 0`,
/// others announce a body and send none. Bytes behind the head belong to the tunnel (RFC 9110 section 9.3.6), so that no
/// other reader can find a message in them.
pub fn request_body(head: &RequestHead<'_, '_>) -> Result<Body, Fault> {
    if head.method == "CONNECT" {
        return Ok(Body::None);
    }
    let length = content_length(head.fields)?;
    if !head.fields.has(Class::TransferEncoding) {
        return Ok(length.map_or(Body::None, Body::Length));
    }
    if length.is_some() {
        return Err(Fault::ContentLengthAndCoding);
    }
    if head.version == Version::Http10 {
        return Err(Fault::TransferCodingVersion);
    }
    check_codings(head.fields)?;
    Ok(Body::Chunked)
}

/// The body of a response to a request with that method. A successful answer to CONNECT has none: bytes behind it
/// belong to the tunnel. If the status or the method rules a body out, the fields are not read.
///
/// Unlike a request, a response with `chunked` is read by that coding even beside any Content-Length, or with version 1.0
/// (RFC 9112 sections 6.1 and 6.3): origins send both, and every browser and proxy reads them so. No other recipient may read
/// it differently: see [`super::hop::has_doubtful_framing`].
pub fn response_body(request_method: &str, head: &ResponseHead<'_, '_>) -> Result<Body, Fault> {
    let bodiless = matches!(head.status, 100..=199 | 204 | 304)
        || request_method == "HEAD"
        || (request_method == "CONNECT" && (200..300).contains(&head.status));
    if bodiless {
        return Ok(Body::None);
    }
    if head.fields.has(Class::TransferEncoding) {
        check_codings(head.fields)?;
        return Ok(Body::Chunked);
    }
    Ok(content_length(head.fields)?.map_or(Body::UntilClose, Body::Length))
}

/// The value that all Content-Length fields agree on. `5, 5` is the result of a careless intermediary that joined two
/// equal lines, and counts as 5 (RFC 9110 section 8.6).
pub fn content_length(fields: Fields<'_, '_>) -> Result<Option<u64>, Fault> {
    if !fields.has(Class::ContentLength) {
        return Ok(None);
    }
    let mut length = None;
    for value in fields.all_of(Class::ContentLength) {
        // The usual case is one number.
        if let (None, Some(found)) = (length, decimal(value)) {
            length = Some(found);
            continue;
        }
        for member in value.split(|&byte| byte == b',') {
            let found = decimal(super::fields::trim(member)).ok_or(Fault::ContentLengthSyntax)?;
            match length {
                Some(before) if before != found => return Err(Fault::ContentLengthDiffers),
                Some(_) | None => length = Some(found),
            }
        }
    }
    Ok(length)
}

/// Only a list with the single member `chunked` passes.
fn check_codings(fields: Fields<'_, '_>) -> Result<(), Fault> {
    let mut members = 0;
    let mut chunked = 0;
    let mut last_chunked = false;
    let mut tokens = true;
    for member in fields.all_of(Class::TransferEncoding).flat_map(list) {
        members += 1;
        last_chunked = member.eq_ignore_ascii_case(b"chunked");
        chunked += usize::from(last_chunked);
        tokens &= is_token(member);
    }
    match (members, chunked) {
        (1, 1) => Ok(()),
        // Well formed and understood, but with codings that are not in use (RFC 9112 section 6.1: 501).
        (_, 1) if last_chunked && tokens => Err(Fault::TransferCodingUnknown),
        _ => Err(Fault::TransferCoding),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{with_request, with_response};
    use super::*;

    fn request(line: &str, fields: &str) -> Result<Body, Fault> {
        with_request(format!("{line}\r\n{fields}\r\n").as_bytes(), request_body)
    }

    fn response(method: &str, line: &str, fields: &str) -> Result<Body, Fault> {
        with_response(format!("{line}\r\n{fields}\r\n").as_bytes(), |head| response_body(method, head))
    }

    #[test]
    fn rules_14_to_16_both_directions() {
        // None: no framing at all.
        let cases: [(&str, Result<Option<Body>, Fault>); 39] = [
            ("", Ok(None)),
            ("Content-Length: 5\r\n", Ok(Some(Body::Length(5)))),
            ("content-length:0\r\n", Ok(Some(Body::Length(0)))),
            ("Content-Length: 007\r\n", Ok(Some(Body::Length(7)))),
            ("Content-Length: 9223372036854775807\r\n", Ok(Some(Body::Length(i64::MAX as u64)))),
            ("Content-Length: 5\r\nContent-Length: 5\r\n", Ok(Some(Body::Length(5)))),
            ("Content-Length: 5, 5\r\n", Ok(Some(Body::Length(5)))),
            ("Content-Length: 5, 6\r\n", Err(Fault::ContentLengthDiffers)),
            ("Content-Length: 5\r\nContent-Length: 6\r\n", Err(Fault::ContentLengthDiffers)),
            ("Content-Length: 5\r\nCONTENT-LENGTH: x\r\n", Err(Fault::ContentLengthSyntax)),
            ("Content-Length:\r\n", Err(Fault::ContentLengthSyntax)),
            ("Content-Length: 5,\r\n", Err(Fault::ContentLengthSyntax)),
            ("Content-Length: +5\r\n", Err(Fault::ContentLengthSyntax)),
            ("Content-Length: -5\r\n", Err(Fault::ContentLengthSyntax)),
            ("Content-Length: 0x5\r\n", Err(Fault::ContentLengthSyntax)),
            ("Content-Length: 5 5\r\n", Err(Fault::ContentLengthSyntax)),
            ("Content-Length: 5;\r\n", Err(Fault::ContentLengthSyntax)),
            ("Content-Length: 5.0\r\n", Err(Fault::ContentLengthSyntax)),
            ("Content-Length: \"5\"\r\n", Err(Fault::ContentLengthSyntax)),
            ("Content-Length: 9223372036854775808\r\n", Err(Fault::ContentLengthSyntax)),
            ("Content-Length: 18446744073709551617\r\n", Err(Fault::ContentLengthSyntax)),
            ("Transfer-Encoding: chunked\r\n", Ok(Some(Body::Chunked))),
            ("transfer-encoding:\t CHUNKED \r\n", Ok(Some(Body::Chunked))),
            ("Transfer-Encoding: , chunked,,\r\n", Ok(Some(Body::Chunked))),
            ("Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n", Ok(Some(Body::Chunked))),
            ("Transfer-Encoding: chunked, chunked\r\n", Err(Fault::TransferCoding)),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Err(Fault::TransferCoding)),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", Err(Fault::TransferCoding)),
            ("Transfer-Encoding: chunked, gzip\r\n", Err(Fault::TransferCoding)),
            ("Transfer-Encoding: identity\r\n", Err(Fault::TransferCoding)),
            ("Transfer-Encoding: xchunked\r\n", Err(Fault::TransferCoding)),
            ("Transfer-Encoding: chunked;a=b\r\n", Err(Fault::TransferCoding)),
            ("Transfer-Encoding: \"chunked\"\r\n", Err(Fault::TransferCoding)),
            ("Transfer-Encoding: \"x, chunked\r\n", Err(Fault::TransferCoding)),
            ("Transfer-Encoding: x chunked\r\n", Err(Fault::TransferCoding)),
            ("Transfer-Encoding:\r\n", Err(Fault::TransferCoding)),
            ("Transfer-Encoding: gzip, chunked\r\n", Err(Fault::TransferCodingUnknown)),
            ("Transfer-Encoding: xchunked\r\nTransfer-Encoding: chunked;\r\n", Err(Fault::TransferCoding)),
            ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", Err(Fault::TransferCodingUnknown)),
        ];
        for (fields, expected) in cases {
            // Rule 20: whatever the method.
            for method in ["GET", "HEAD", "POST", "DELETE", "OPTIONS", "BREW"] {
                let found = request(&format!("{method} / HTTP/1.1"), fields);
                assert_eq!(found, expected.map(|body| body.unwrap_or(Body::None)), "{method} {fields:?}");
            }
            let found = response("GET", "HTTP/1.1 200 OK", fields);
            assert_eq!(found, expected.map(|body| body.unwrap_or(Body::UntilClose)), "{fields:?}");
        }
    }

    #[test]
    fn rules_14_and_15_two_framings_and_http_1_0() {
        use super::super::hop::has_doubtful_framing;
        let chunked = "Transfer-Encoding: chunked\r\n";
        for (fields, fault) in [
            ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", Fault::ContentLengthAndCoding),
            ("transfer-encoding: Chunked\r\ncontent-length: 5, 5\r\n", Fault::ContentLengthAndCoding),
            ("Transfer-Encoding: chunked\r\nContent-Length: x\r\n", Fault::ContentLengthSyntax),
            (
                "Content-Length: 5\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n",
                Fault::ContentLengthDiffers,
            ),
        ] {
            for version in ["1.0", "1.1"] {
                assert_eq!(request(&format!("POST / HTTP/{version}"), fields), Err(fault), "{fields:?}");
                let line = format!("HTTP/{version} 200 OK");
                assert_eq!(response("GET", &line, fields), Ok(Body::Chunked), "{fields:?}");
                assert_eq!(response("HEAD", &line, fields), Ok(Body::None), "{fields:?}");
            }
        }
        assert_eq!(request("POST / HTTP/1.0", chunked), Err(Fault::TransferCodingVersion));
        assert_eq!(request("POST / HTTP/1.0", "Content-Length: 5\r\n"), Ok(Body::Length(5)));
        assert_eq!(response("GET", "HTTP/1.0 200 OK", chunked), Ok(Body::Chunked));
        for fields in
            ["Transfer-Encoding: x\r\nContent-Length: 5\r\n", "Content-Length: 5\r\nTransfer-Encoding:\r\n"]
        {
            assert_eq!(request("POST / HTTP/1.1", fields), Err(Fault::ContentLengthAndCoding), "{fields:?}");
            assert_eq!(response("GET", "HTTP/1.1 200 OK", fields), Err(Fault::TransferCoding), "{fields:?}");
        }
        for (version, fields, expected) in [
            ("1.1", "", false),
            ("1.1", "Content-Length: 5\r\n", false),
            ("1.1", "Transfer-Encoding: chunked\r\n", false),
            ("1.1", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", true),
            ("1.0", "", false),
            ("1.0", "Content-Length: 5\r\n", false),
            ("1.0", "Transfer-Encoding: chunked\r\n", true),
            ("1.0", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", true),
        ] {
            let text = format!("HTTP/{version} 200 OK\r\n{fields}\r\n");
            let found =
                with_response(text.as_bytes(), |head| has_doubtful_framing(head.version, head.fields));
            assert_eq!(found, expected, "{version} {fields:?}");
        }
    }

    #[test]
    fn rule_11_connect_has_no_body() {
        for fields in [
            "",
            "Content-Length: 0\r\n",
            "Content-Length: 5\r\n",
            "Content-Length: x\r\n",
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        ] {
            for version in ["1.0", "1.1"] {
                let line = format!("CONNECT a:1 HTTP/{version}");
                assert_eq!(request(&line, fields), Ok(Body::None), "{version} {fields:?}");
            }
        }
    }

    #[test]
    fn rule_21_responses_without_a_body() {
        for fields in ["", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", "Content-Length: x\r\n"]
        {
            for line in
                ["HTTP/1.1 100 x", "HTTP/1.1 101 x", "HTTP/1.1 199 x", "HTTP/1.1 204 x", "HTTP/1.1 304 x"]
            {
                assert_eq!(response("GET", line, fields), Ok(Body::None), "{line} {fields:?}");
            }
            assert_eq!(response("HEAD", "HTTP/1.1 200 OK", fields), Ok(Body::None));
            assert_eq!(response("CONNECT", "HTTP/1.1 200 OK", fields), Ok(Body::None));
        }
        for (method, line) in [
            ("CONNECT", "HTTP/1.1 403 x"),
            ("head", "HTTP/1.1 200 OK"),
            ("GET", "HTTP/1.1 205 x"),
            ("GET", "HTTP/1.1 303 x"),
        ] {
            assert_eq!(
                response(method, line, "Content-Length: 5\r\n"),
                Ok(Body::Length(5)),
                "{method} {line}"
            );
        }
    }
}
