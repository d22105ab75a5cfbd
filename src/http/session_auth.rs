//! Schemes that authenticate a connection and not a request (RFC 4559, and the older NTLM).

use super::fields::list;
use super::forwarding::{is_end_to_end, write_field};
use super::message::Fields;

/// The schemes in use; compared in any case (RFC 9110 section 11.1).
const SCHEMES: [&[u8]; 3] = [b"NTLM", b"Negotiate", b"Kerberos"];

/// Whether a request has credentials for its connection: later requests on the connection may be answered as the same user's.
#[inline]
pub fn authenticates_connection(fields: Fields<'_, '_>) -> bool {
    fields.may_have("authorization") && names_scheme(fields, "authorization")
}

/// Whether a response offers to authenticate its connection, or continues to.
#[inline]
pub fn offers_connection(fields: Fields<'_, '_>) -> bool {
    fields.may_have("www-authenticate") && names_scheme(fields, "www-authenticate")
}

/// The field by which a proxy announces that it keeps an authenticated connection for one client (RFC 4559 section 6).
const SUPPORT: (&str, &str) = ("Proxy-Support", "Session-Based-Authentication");

/// Whether a response has this field already, in a form that a proxy forwards.
pub fn announces_support(fields: Fields<'_, '_>) -> bool {
    fields.list_contains(SUPPORT.0, SUPPORT.1) && is_end_to_end(fields, SUPPORT.0)
}

/// Adds the field and its Connection option to a head that ends with its empty line.
pub fn add_support(out: &mut Vec<u8>) {
    out.truncate(out.len().saturating_sub(2));
    write_field(out, SUPPORT.0, SUPPORT.1.as_bytes());
    // The RFC does not mention this, Squid does it: a proxy on the way without support must not forward the announcement.
    write_field(out, "Connection", SUPPORT.0.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// A challenge, like credentials, begins with its scheme; the other members of the list are parameters of the last
/// one (RFC 9110 section 11.6.1). Text in quotes is no member.
fn names_scheme(fields: Fields<'_, '_>, name: &str) -> bool {
    fields.all(name).flat_map(list).any(|member| {
        let scheme = member.split(|byte| matches!(byte, b' ' | b'\t')).next().unwrap_or_default();
        SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known))
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::with_request;
    use super::*;

    fn named(lines: &str, test: fn(Fields<'_, '_>) -> bool) -> bool {
        with_request(format!("GET / HTTP/1.1\r\n{lines}\r\n").as_bytes(), |head| test(head.fields))
    }

    #[test]
    fn rule_44_schemes_of_connections() {
        for (lines, expected) in [
            ("", false),
            ("Authorization: NTLM TlRMTVNT\r\n", true),
            ("authorization:\tnegotiate \t YII=\r\n", true),
            ("Authorization: KERBEROS\tYII=\r\n", true),
            ("Authorization: NTLM\r\n", true),
            ("Authorization: Basic YTpi\r\nAuthorization: NTLM TlRM\r\n", true),
            ("Authorization: Basic YTpi, NTLM TlRM\r\n", true),
            ("Authorization: Basic TlRMTQ==\r\n", false),
            ("Authorization: NTLMv2 TlRM\r\n", false),
            ("Authorization: Digest username=\"NTLM\", realm=\"Negotiate, NTLM x\"\r\n", false),
            ("Authorization: Bearer NTLM\r\n", false),
            ("Proxy-Authorization: NTLM TlRM\r\nX-Authorization: NTLM\r\nWWW-Authenticate: NTLM\r\n", false),
        ] {
            assert_eq!(named(lines, authenticates_connection), expected, "{lines:?}");
        }
    }

    #[test]
    fn rule_44_challenges_of_connections() {
        for (value, expected) in [
            ("NTLM", true),
            ("Negotiate", true),
            ("kerberos", true),
            ("NTLM TlRMTVNTUAAC==", true),
            ("Basic realm=\"x\", NTLM", true),
            ("Basic realm=\"x\",NTLM,", true),
            ("Negotiate, Basic realm=x", true),
            ("Digest realm=\"a\\\", NTLM\", nonce=1 , Negotiate", true),
            ("Basic realm=\"x, NTLM\"", false),
            ("Basic realm=\"\\\", NTLM, \\\"\"", false),
            ("Basic realm=NTLM", false),
            ("Basic realm=\"x\", charset=\"NTLM\"", false),
            ("Basic realm=\"x\", NTLM=1", false),
            ("Negotiated", false),
            ("", false),
        ] {
            let (one, two) = (
                format!("WWW-Authenticate: {value}\r\n"),
                format!("WWW-Authenticate: Basic realm=\"y\"\r\nX: y\r\nwww-authenticate:  {value}\t\r\n"),
            );
            for lines in [one, two] {
                assert_eq!(named(&lines, offers_connection), expected, "{lines:?}");
            }
        }
    }
}
