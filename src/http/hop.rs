//! The fields that belong to one connection only (RFC 9110 section 7.6.1), and their meaning.

use super::class::{Class, classify};
use super::fault::Fault;
use super::fields::{decimal, list, unquoted_list};
use super::message::{Fields, Version};

/// Whether fields of that name are about a connection or about framing, even if Connection does not name them: no stored
/// message has them.
pub fn is_of_connection(name: &str) -> bool {
    match classify(name.as_bytes()) {
        Class::HopByHop
        | Class::ContentLength
        | Class::TransferEncoding
        | Class::Connection
        | Class::ProxyConnection
        | Class::Upgrade
        | Class::Trailer => true,
        Class::Protected
        | Class::Via
        | Class::Date
        | Class::Host
        | Class::Forwarded
        | Class::XForwardedFor
        | Class::MaxForwards
        | Class::Expect
        | Class::EndToEnd => false,
    }
}

/// Whether a field of a received response belongs to the message and not to its connection: neither hop-by-hop, nor
/// framing, nor named by Connection.
pub fn is_end_to_end(fields: Fields<'_, '_>, name: &str) -> bool {
    match classify(name.as_bytes()) {
        Class::HopByHop
        | Class::ContentLength
        | Class::TransferEncoding
        | Class::Connection
        | Class::ProxyConnection
        | Class::Upgrade
        | Class::Trailer => false,
        Class::Protected | Class::Via | Class::Date => true,
        Class::Host
        | Class::Forwarded
        | Class::XForwardedFor
        | Class::MaxForwards
        | Class::Expect
        | Class::EndToEnd => !names_fields(fields) || !is_named(fields, name),
    }
}

/// Whether Connection names more than the options that every peer sends: only then must names be compared.
pub fn names_fields(fields: Fields<'_, '_>) -> bool {
    fields.connection().other
}

/// True if Connection names that field.
pub(super) fn is_named(fields: Fields<'_, '_>, name: &str) -> bool {
    let mut options = fields.all("connection").flat_map(unquoted_list);
    options.any(|option| option.eq_ignore_ascii_case(name.as_bytes()))
}

/// Whether the client wants the connection kept after the response (rule 36). Some clients send `Proxy-Connection` to
/// proxies in place of Connection.
pub fn wants_keep_alive(version: Version, fields: Fields<'_, '_>) -> bool {
    let (connection, proxy_connection) = (fields.connection(), fields.proxy_connection());
    let close = connection.close || proxy_connection.close;
    match version {
        Version::Http11 => !close,
        Version::Http10 => !close && (connection.keep_alive || proxy_connection.keep_alive),
    }
}

/// Whether another reader could find a different end of this response, or its sender has confused two messages: it has a
/// transfer coding beside a Content-Length, or with HTTP/1.0 (RFC 9112 section 6.1). It is read by the coding, but its
/// connection is not reused, and the response is not stored.
pub fn has_doubtful_framing(version: Version, fields: Fields<'_, '_>) -> bool {
    fields.has(Class::TransferEncoding) && (version == Version::Http10 || fields.has(Class::ContentLength))
}

/// Whether the origin will keep its connection after this response. The framing may still forbid reuse.
pub fn origin_keeps_alive(version: Version, fields: Fields<'_, '_>) -> bool {
    if has_doubtful_framing(version, fields) {
        return false;
    }
    let connection = fields.connection();
    match version {
        Version::Http11 => !connection.close,
        Version::Http10 => connection.keep_alive && !connection.close,
    }
}

/// Whether the request waits for a 100 (rule 30). Other expectations are a fault (417). Do not call this for
/// HTTP/1.0, where Expect has no meaning (RFC 9110 section 10.1.1).
pub fn expects_continue(fields: Fields<'_, '_>) -> Result<bool, Fault> {
    if !fields.has(Class::Expect) {
        return Ok(false);
    }
    let mut expects = false;
    for member in fields.all_of(Class::Expect).flat_map(list) {
        if !member.eq_ignore_ascii_case(b"100-continue") {
            return Err(Fault::Expectation);
        }
        expects = true;
    }
    Ok(expects)
}

/// Max-Forwards as received (rule 12); it has a meaning for TRACE and OPTIONS only. A number beyond 2^63 is as good
/// as any other large number.
pub fn max_forwards(fields: Fields<'_, '_>) -> Result<Option<u64>, Fault> {
    if !fields.has(Class::MaxForwards) {
        return Ok(None);
    }
    let mut values = fields.all_of(Class::MaxForwards);
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() || value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Fault::MaxForwards);
    }
    Ok(Some(decimal(value).unwrap_or(i64::MAX as u64)))
}

/// Whether the message requests, or agrees to, another protocol on this connection (rule 31). A request for h2c does
/// not count: the proxy could not see the requests inside.
pub fn upgrade_requested(version: Version, fields: Fields<'_, '_>) -> bool {
    if version == Version::Http10 || !fields.has(Class::Upgrade) || !fields.connection().upgrade {
        return false;
    }
    let mut members = fields.all_of(Class::Upgrade).flat_map(list).peekable();
    members.peek().is_some() && members.all(|protocol| !protocol.eq_ignore_ascii_case(b"h2c"))
}

/// Whether a 101 switches to protocols that the request offers: it names some, and no others (RFC 9110 section 7.8). Names are compared
/// in any case.
pub fn is_upgrade_offered(request: Fields<'_, '_>, response: Fields<'_, '_>) -> bool {
    let offers = |protocol: &[u8]| {
        request.all_of(Class::Upgrade).flat_map(list).any(|offered| offered.eq_ignore_ascii_case(protocol))
    };
    let mut members = response.all_of(Class::Upgrade).flat_map(list).peekable();
    members.peek().is_some() && members.all(offers)
}

/// Whether Via shows that the message was here before (rule 26). Pseudonyms are compared in any case.
pub fn is_loop(fields: Fields<'_, '_>, pseudonym: &str) -> bool {
    fields.has(Class::Via)
        && fields.all_of(Class::Via).flat_map(unquoted_list).any(|member| {
            let mut words = member.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
            words.nth(1).is_some_and(|received_by| received_by.eq_ignore_ascii_case(pseudonym.as_bytes()))
        })
}

#[cfg(test)]
mod tests {
    use super::super::testing::with_request;
    use super::*;

    fn with_fields<T>(fields: &str, test: impl FnOnce(Fields<'_, '_>) -> T) -> T {
        with_request(format!("GET / HTTP/1.1\r\n{fields}\r\n").as_bytes(), |head| test(head.fields))
    }

    #[test]
    fn rule_36_persistence() {
        // The client in 1.1 and 1.0, the origin in 1.1 and 1.0.
        for (fields, expected) in [
            ("", [true, false, true, false]),
            ("Connection: keep-alive\r\n", [true, true, true, true]),
            ("Connection: x, Keep-Alive\r\n", [true, true, true, true]),
            ("Proxy-Connection: keep-alive\r\n", [true, true, true, false]),
            ("Connection: close\r\n", [false, false, false, false]),
            ("Connection: keep-alive\r\nConnection: x,CLOSE\r\n", [false, false, false, false]),
            ("Proxy-Connection: close\r\n", [false, false, true, false]),
            ("Connection: a\"b, close\r\n", [false, false, false, false]),
            ("Connection: closed\r\n", [true, false, true, false]),
            ("Connection: \"close\"\r\n", [true, false, true, false]),
            ("Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n", [true, true, true, false]),
            ("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n", [true, false, false, false]),
        ] {
            let found = with_fields(fields, |fields| {
                [
                    wants_keep_alive(Version::Http11, fields),
                    wants_keep_alive(Version::Http10, fields),
                    origin_keeps_alive(Version::Http11, fields),
                    origin_keeps_alive(Version::Http10, fields),
                ]
            });
            assert_eq!(found, expected, "{fields:?}");
        }
    }

    #[test]
    fn rule_30_expectations() {
        for (fields, expected) in [
            ("", Ok(false)),
            ("Expect: 100-continue\r\n", Ok(true)),
            ("Expect: 100-Continue\r\nExpect: 100-continue\r\n", Ok(true)),
            ("Expect:\r\n", Ok(false)),
            ("Expect: 100-continue, x\r\n", Err(Fault::Expectation)),
            ("Expect: 100-continue;x\r\n", Err(Fault::Expectation)),
            ("Expect: 200-ok\r\n", Err(Fault::Expectation)),
        ] {
            assert_eq!(with_fields(fields, expects_continue), expected, "{fields:?}");
        }
    }

    #[test]
    fn rule_12_max_forwards() {
        for (fields, expected) in [
            ("", Ok(None)),
            ("Max-Forwards: 0\r\n", Ok(Some(0))),
            ("Max-Forwards: 010\r\n", Ok(Some(10))),
            ("Max-Forwards: 99999999999999999999999\r\n", Ok(Some(i64::MAX as u64))),
            ("Max-Forwards:\r\n", Err(Fault::MaxForwards)),
            ("Max-Forwards: -1\r\n", Err(Fault::MaxForwards)),
            ("Max-Forwards: 1, 1\r\n", Err(Fault::MaxForwards)),
            ("Max-Forwards: 1\r\nMax-Forwards: 1\r\n", Err(Fault::MaxForwards)),
            ("Max-Forwards: 1x\r\n", Err(Fault::MaxForwards)),
        ] {
            assert_eq!(with_fields(fields, max_forwards), expected, "{fields:?}");
        }
    }

    #[test]
    fn rule_31_upgrade() {
        for (fields, expected) in [
            ("Connection: Upgrade\r\nUpgrade: websocket\r\n", true),
            ("Connection: keep-alive, UPGRADE\r\nUpgrade: a/1, b\r\n", true),
            ("Connection: Upgrade\r\n", false),
            ("Connection: Upgrade\r\nUpgrade:\r\n", false),
            ("Upgrade: websocket\r\n", false),
            ("Connection: close\r\nUpgrade: websocket\r\n", false),
            ("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n", false),
            ("Connection: Upgrade\r\nUpgrade: websocket, H2C\r\n", false),
        ] {
            let found = |version| with_fields(fields, |fields| upgrade_requested(version, fields));
            assert_eq!(found(Version::Http11), expected, "{fields:?}");
            assert!(!found(Version::Http10), "{fields:?}");
        }
    }

    #[test]
    fn rule_31_a_101_names_what_was_offered() {
        for (offered, chosen, expected) in [
            ("Upgrade: websocket\r\n", "Upgrade: WebSocket\r\n", true),
            ("Upgrade: a/1, b\r\n", "Upgrade: b\r\n", true),
            ("Upgrade: a/1\r\nUpgrade: b\r\n", "Upgrade: b, a/1\r\n", true),
            ("Upgrade: a/1, b\r\n", "Upgrade: a/2\r\n", false),
            ("Upgrade: a\r\n", "Upgrade: a, b\r\n", false),
            ("Upgrade: a\r\n", "Upgrade: \r\n", false),
            ("Upgrade: a\r\n", "X: a\r\n", false),
        ] {
            let found = with_fields(offered, |request| {
                with_fields(chosen, |response| is_upgrade_offered(request, response))
            });
            assert_eq!(found, expected, "{offered:?} {chosen:?}");
        }
    }

    #[test]
    fn rule_26_loops() {
        for (fields, expected) in [
            ("", false),
            ("Via: 1.1 weir\r\n", true),
            ("Via: 1.0 fred, HTTP/1.1  WEIR (comment)\r\n", true),
            ("Via: 1.0 fred\r\nvia: 1.1\tweir\r\n", true),
            ("Via: 1.0 x (\"), 1.1 weir\r\n", true),
            ("Via: 1.0 x (a, 1.1 weir)\r\n", false),
            ("Via: 1.1 weir2\r\n", false),
            ("Via: 1.1 weir:8888\r\n", false),
            ("Via: weir\r\n", false),
            ("Via: 1.1 fred (weir)\r\n", false),
            ("Via: 1.1 fred weir\r\n", false),
            ("X: 1.1 weir\r\n", false),
        ] {
            assert_eq!(with_fields(fields, |fields| is_loop(fields, "weir")), expected, "{fields:?}");
        }
    }
}
