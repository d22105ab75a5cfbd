//! Authorities and request targets (RFC 9112 section 3.2, RFC 3986 section 3.2).

use std::fmt;

use super::fault::Fault;
use super::fields::write_decimal;
use super::foreign;

pub use super::host::{Host, HostError, NAME_BYTES_MAX, Name};

/// Host and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Authority {
    /// The host.
    pub host: Host,
    /// 1 to 65535.
    pub port: u16,
}

impl Authority {
    /// Whether the host is a name with a trailing dot.
    pub fn is_rooted(&self) -> bool {
        matches!(&self.host, Host::Name(name) if name.is_rooted())
    }

    /// Reads `host`, `host:` or `host:port`. A missing or empty port is the default one, or a fault without a
    /// default.
    pub fn parse(text: &[u8], default_port: Option<u16>) -> Result<Authority, Fault> {
        Authority::read(text, default_port)
    }

    // Inlined: each call in between would copy the room for a name once more.
    #[inline(always)]
    fn read(text: &[u8], default_port: Option<u16>) -> Result<Authority, Fault> {
        // The byte before the port, or the end of an address in brackets.
        let wanted = if text.first() == Some(&b'[') { b']' } else { b':' };
        let mut host_end = text.len();
        // One loop, because authorities are short. A user name can precede either part.
        for (at, &byte) in text.iter().enumerate().rev() {
            if byte == b'@' {
                return Err(Fault::Userinfo);
            }
            if byte == wanted {
                host_end = if wanted == b']' { at + 1 } else { at };
            }
        }
        let (host, port) = text.split_at(host_end);
        let port = match port {
            [] | [b':'] => default_port.ok_or(Fault::PortMissing)?,
            [b':', digits @ ..] => parse_port(digits).ok_or(Fault::PortSyntax)?,
            _ => return Err(Fault::HostSyntax),
        };
        Ok(Authority { host: Host::read(host)?, port })
    }

    /// Whether the text is the same name in any case, with any valid port or none: such a Host is valid, and need not be
    /// read. False decides nothing.
    pub(super) fn has_name(&self, text: &[u8]) -> bool {
        let Host::Name(name) = &self.host else { return false };
        let Some((host, port)) = text.split_at_checked(name.as_bytes().len()) else { return false };
        let port_valid = match port {
            [] => true,
            [b':', digits @ ..] => parse_port(digits).is_some(),
            _ => false,
        };
        port_valid && host.eq_ignore_ascii_case(name.as_bytes())
    }

    /// Appends the authority, without the port if that is `default_port`.
    pub fn write(&self, out: &mut Vec<u8>, default_port: Option<u16>) {
        self.host.write(out);
        if default_port != Some(self.port) {
            out.push(b':');
            write_decimal(out, u64::from(self.port));
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

fn parse_port(digits: &[u8]) -> Option<u16> {
    let value = super::fields::decimal(digits)?;
    u16::try_from(value).ok().filter(|&port| port != 0)
}

/// The target of a request, in one of the four forms of RFC 9112 section 3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// `http://host/path`: the form for proxies. `ws://` is equivalent: a WebSocket begins as an HTTP request with Upgrade
    /// (RFC 6455 section 4.1).
    Absolute {
        /// The authority of the URI; the port is 80 if the URI has none.
        authority: Authority,
        /// Path and query exactly as sent. May be empty, or begin with `?`: `forwarding` adds the slash.
        path: &'a [u8],
    },
    /// `/path`: the form for origins.
    Origin {
        /// Path and query exactly as sent.
        path: &'a [u8],
    },
    /// `host:port`, with CONNECT only.
    Authority(Authority),
    /// `*`, with OPTIONS only.
    Asterisk,
}

impl<'a> Target<'a> {
    /// Reads a target for that method. Rules 5 to 7 and 9 to 11; `strict` also refuses bytes that no URI has
    /// and that do no harm.
    pub fn parse(method: &str, target: &'a [u8], strict: bool) -> Result<Target<'a>, Fault> {
        if method == "CONNECT" {
            return connect_target(target);
        }
        check_characters(target, strict)?;
        if let Some(rest) = strip_scheme(target) {
            let (authority, path) = split_path(rest);
            return Ok(Target::Absolute { authority: Authority::read(authority, Some(80))?, path });
        }
        match target {
            [b'/', ..] => Ok(Target::Origin { path: target }),
            b"*" if method == "OPTIONS" => Ok(Target::Asterisk),
            _ => Err(scheme(target).map_or(Fault::TargetForm, foreign::of_scheme)),
        }
    }

    /// Path and query as sent. `None` for CONNECT and `*`.
    pub fn path(&self) -> Option<&'a [u8]> {
        match self {
            Target::Absolute { path, .. } | Target::Origin { path } => Some(path),
            Target::Authority(_) | Target::Asterisk => None,
        }
    }

    /// Reads a target again that `parse` has accepted for this method, with the authority that was found in it.
    pub fn parse_again(method: &str, target: &'a [u8], authority: &Authority) -> Target<'a> {
        if method == "CONNECT" {
            Target::Authority(*authority)
        } else if let Some(rest) = strip_scheme(target) {
            Target::Absolute { authority: *authority, path: split_path(rest).1 }
        } else if target == b"*" {
            Target::Asterisk
        } else {
            Target::Origin { path: target }
        }
    }
}

/// The authority, and path and query, of a URI without its scheme.
fn split_path(rest: &[u8]) -> (&[u8], &[u8]) {
    rest.split_at(memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len()))
}

fn connect_target<'a>(target: &[u8]) -> Result<Target<'a>, Fault> {
    // The fault of a whole URI, which would otherwise be reported as a strange port or host.
    if target.iter().any(|byte| matches!(byte, b'/' | b'?' | b'#' | b'\\')) {
        return Err(Fault::TargetForm);
    }
    Ok(Target::Authority(Authority::parse(target, None)?))
}

/// Appends a target in the one form for rules, logs and pages: bytes beyond ASCII are percent-encoded, as in a URI (RFC 3986
/// section 2.1). Only the origin gets them unchanged.
pub fn write_encoded(out: &mut Vec<u8>, target: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    if target.is_ascii() {
        out.extend_from_slice(target);
        return;
    }
    let mut rest = target;
    while let Some(at) = rest.iter().position(|byte| !byte.is_ascii()) {
        let byte = rest[at];
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// The target without `http://` or `ws://`.
fn strip_scheme(target: &[u8]) -> Option<&[u8]> {
    if let Some(rest) = target.strip_prefix(b"http://") {
        return Some(rest);
    }
    let after = |scheme: &[u8]| {
        let (front, rest) = target.split_at_checked(scheme.len())?;
        front.eq_ignore_ascii_case(scheme).then_some(rest)
    };
    after(b"http://").or_else(|| after(b"ws://"))
}

/// The scheme of `scheme://`. Without the slashes `name:80` would have one.
fn scheme(target: &[u8]) -> Option<&[u8]> {
    let colon = memchr::memchr(b':', target)?;
    let scheme = &target[..colon];
    let valid = target[colon + 1..].starts_with(b"//")
        && scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    valid.then_some(scheme)
}

/// The classes of a target's bytes, as bits, so that a whole target is tested without a branch.
const CHARACTERS: [u8; 256] = {
    let mut table = [FORBIDDEN; 256];
    let mut byte = 0x21;
    while byte < 0x7F {
        table[byte] = match byte as u8 {
            b'#' => FRAGMENT,
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => OUTSIDE,
            _ => 0,
        };
        byte += 1;
    }
    byte = 0x80;
    while byte < 256 {
        table[byte] = OUTSIDE;
        byte += 1;
    }
    table
};
/// Blanks and control characters.
const FORBIDDEN: u8 = 1;
const FRAGMENT: u8 = 2;
/// Outside of the URI grammar (RFC 3986), but sent by clients: UTF-8 by Go, Java and curl, any bytes by old browsers.
const OUTSIDE: u8 = 4;

fn check_characters(target: &[u8], strict: bool) -> Result<(), Fault> {
    // Many bytes at a time, without the table.
    let odd = |byte: u8| (byte < 0x21) | (byte == 0x7F) | (byte == b'#');
    if !strict && !target.is_empty() && !target.iter().fold(false, |any, &byte| any | odd(byte)) {
        return Ok(());
    }
    let seen = target.iter().fold(0, |seen, &byte| seen | CHARACTERS[usize::from(byte)]);
    if seen & FORBIDDEN != 0 || (strict && seen & OUTSIDE != 0) {
        Err(Fault::TargetCharacter)
    } else if seen & FRAGMENT != 0 {
        Err(Fault::Fragment)
    } else if target.is_empty() {
        Err(Fault::TargetForm)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_9_ports() {
        for (text, default, expected) in [
            ("a:80", None, Ok(80)),
            ("a:1", None, Ok(1)),
            ("a:65535", None, Ok(65535)),
            ("a:00443", None, Ok(443)),
            ("a", Some(80), Ok(80)),
            ("a:", Some(80), Ok(80)),
            ("[::1]", Some(80), Ok(80)),
            ("[::1]:", Some(80), Ok(80)),
            ("[::1]:8080", Some(80), Ok(8080)),
            ("a", None, Err(Fault::PortMissing)),
            ("a:", None, Err(Fault::PortMissing)),
            ("a:0", None, Err(Fault::PortSyntax)),
            ("a:65536", None, Err(Fault::PortSyntax)),
            ("a:4294967739", None, Err(Fault::PortSyntax)),
            ("a:18446744073709551696", None, Err(Fault::PortSyntax)),
            ("a:+80", None, Err(Fault::PortSyntax)),
            ("a:-1", None, Err(Fault::PortSyntax)),
            ("a:0x50", None, Err(Fault::PortSyntax)),
            ("a: 80", None, Err(Fault::PortSyntax)),
            ("a:80 ", None, Err(Fault::PortSyntax)),
            ("a:80:80", None, Err(Fault::PortSyntax)),
            ("[::1]80", None, Err(Fault::HostSyntax)),
            ("[::1]x:80", None, Err(Fault::HostSyntax)),
            (":80", None, Err(Fault::HostEmpty)),
            ("", Some(80), Err(Fault::HostEmpty)),
            ("u@a:80", None, Err(Fault::Userinfo)),
            ("u:p@a:80", None, Err(Fault::Userinfo)),
            ("@a:80", None, Err(Fault::Userinfo)),
        ] {
            let found = Authority::parse(text.as_bytes(), default).map(|authority| authority.port);
            assert_eq!(found, expected, "{text:?}");
        }
    }

    fn target(method: &str, text: &str, strict: bool) -> String {
        target_of_bytes(method, text.as_bytes(), strict)
    }

    fn target_of_bytes(method: &str, text: &[u8], strict: bool) -> String {
        let target = Target::parse(method, text, strict);
        if let Ok(target) = target {
            let unused = Authority::parse(b"unused:1", None).expect("an authority");
            let authority = match target {
                Target::Absolute { authority, .. } | Target::Authority(authority) => authority,
                Target::Origin { .. } | Target::Asterisk => unused,
            };
            assert_eq!(Target::parse_again(method, text, &authority), target, "{method} {text:?}");
        }
        match target {
            Ok(Target::Absolute { authority, path }) => format!("{authority} {}", path.escape_ascii()),
            Ok(Target::Origin { path }) => format!("origin {}", path.escape_ascii()),
            Ok(Target::Authority(authority)) => format!("authority {authority}"),
            Ok(Target::Asterisk) => "asterisk".to_string(),
            Err(fault) => fault.rule().to_string(),
        }
    }

    #[test]
    fn rules_5_to_7_targets() {
        for (method, text, expected) in [
            ("GET", "http://example.com/", "example.com:80 /"),
            ("GET", "HTTP://EXAMPLE.com:8080/A%2f../b//c?d=%00", "example.com:8080 /A%2f../b//c?d=%00"),
            ("GET", "http://example.com", "example.com:80 "),
            ("GET", "http://example.com?q/@x:y", "example.com:80 ?q/@x:y"),
            ("GET", "http://example.com:/x", "example.com:80 /x"),
            ("GET", "http://[2001:db8::1]:81/", "[2001:db8::1]:81 /"),
            ("GET", "http://0x7f.1/", "127.0.0.1:80 /"),
            ("OPTIONS", "http://example.com", "example.com:80 "),
            ("GET", "/", "origin /"),
            ("GET", "//a//b/../c?d", "origin //a//b/../c?d"),
            ("GET", "/http://x/", "origin /http://x/"),
            ("OPTIONS", "*", "asterisk"),
            ("GET", "*", "target_form"),
            ("GET", "**", "target_form"),
            ("GET", "example.com:80", "target_form"),
            ("GET", "example.com/", "target_form"),
            ("GET", "http:/example.com/", "target_form"),
            ("GET", "http:example.com", "target_form"),
            ("GET", "", "target_form"),
            ("GET", "?q", "target_form"),
            ("GET", "ws://example.com/chat?a", "example.com:80 /chat?a"),
            ("GET", "WS://Example.com:81", "example.com:81 "),
            ("GET", "ws://a", "a:80 "),
            ("GET", "ws://", "host_empty"),
            ("GET", "ws://u@a/", "target_userinfo"),
            ("GET", "ws:///", "host_empty"),
            ("GET", "wss://example.com/", "wss_without_connect"),
            ("GET", "https://example.com/", "https_without_connect"),
            ("POST", "HttpS://example.com", "https_without_connect"),
            ("GET", "ftp://example.com/", "ftp_url"),
            ("GET", "httpx://example.com/", "scheme_unsupported"),
            ("GET", "x+y-z.1://example.com/", "scheme_unsupported"),
            ("GET", "1http://example.com/", "target_form"),
            ("GET", "http://u:p@example.com/", "target_userinfo"),
            ("GET", "http://u@example.com", "target_userinfo"),
            ("GET", "http:///path", "host_empty"),
            ("GET", "http://:80/", "host_empty"),
            ("GET", "http://a%2eb/", "host_syntax"),
            ("GET", "http://1.2.3.4.5/", "host_address"),
            ("GET", "http://a:0/", "port_syntax"),
            ("GET", "http://a/#f", "target_fragment"),
            ("GET", "http://a#f", "target_fragment"),
            ("GET", "/a b", "target_character"),
            ("GET", "/a\tb", "target_character"),
            ("GET", "/a\x7f", "target_character"),
            ("GET", "/a\0", "target_character"),
        ] {
            for strict in [false, true] {
                assert_eq!(target(method, text, strict), expected, "{method} {text:?}");
            }
        }
    }

    #[test]
    fn rule_5_strict_targets() {
        for byte in b"\"<>\\^{|}`".iter().copied().chain(0x80..=0xFF) {
            for (front, shown) in [(&b"http://a"[..], "a:80"), (b"", "origin")] {
                let text = [front, &[b'/', byte, b'?', byte]].concat();
                let found = target_of_bytes("GET", &text, false);
                assert_eq!(found, format!("{shown} {}", [b'/', byte, b'?', byte].escape_ascii()));
                assert_eq!(target_of_bytes("GET", &text, true), "target_character", "{byte}");
            }
        }
        // Harmless in a path only.
        assert_eq!(target("GET", "http://a\\@b/", false), "target_userinfo");
        assert_eq!(target("GET", "http://a\\b/", false), "host_syntax");
        assert_eq!(target("GET", "http://b\u{fc}cher/", false), "host_syntax");
        assert_eq!(target("GET", "\u{fc}", false), "target_form");
    }

    #[test]
    fn rule_11_connect_targets() {
        for (text, expected) in [
            ("example.com:443", "authority example.com:443"),
            ("[::1]:443", "authority [::1]:443"),
            ("[::ffff:10.0.0.1]:443", "authority 10.0.0.1:443"),
            ("2130706433:443", "authority 127.0.0.1:443"),
            ("example.com", "port_missing"),
            ("example.com:", "port_missing"),
            ("example.com:443/", "target_form"),
            ("http://example.com:443", "target_form"),
            ("example.com:443?x", "target_form"),
            ("example.com:443#x", "target_form"),
            ("u@example.com:443", "target_userinfo"),
            ("u:p@example.com:443", "target_userinfo"),
            ("*", "port_missing"),
            ("/", "target_form"),
            (":443", "host_empty"),
            ("b\u{fc}cher:443", "host_syntax"),
        ] {
            assert_eq!(target("CONNECT", text, false), expected, "{text:?}");
        }
        // Methods are case-sensitive: this one is not CONNECT.
        assert_eq!(target("connect", "example.com:443", false), "target_form");
    }

    #[test]
    fn rule_5_logged_targets_are_ascii() {
        let cases: [(&[u8], &str); 5] = [
            (b"http://a/\"%c3%A4\\?b", "http://a/\"%c3%A4\\?b"),
            ("/\u{e4}/x?\u{20ac}".as_bytes(), "/%C3%A4/x?%E2%82%AC"),
            (b"/\xe4\x80\xff", "/%E4%80%FF"),
            (b"\x80", "%80"),
            (b"", ""),
        ];
        for (target, expected) in cases {
            let mut out = Vec::new();
            write_encoded(&mut out, target);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }

    #[test]
    fn authorities_are_written_as_they_are_displayed() {
        for text in ["example.com:80", "example.com:8080", "1.2.3.4:80", "[2001:db8::1]:443"] {
            let authority = Authority::parse(text.as_bytes(), None).unwrap();
            let mut out = Vec::new();
            authority.write(&mut out, None);
            assert_eq!(out, text.as_bytes());
            assert_eq!(authority.to_string(), text);
            out.clear();
            authority.write(&mut out, Some(80));
            assert_eq!(out, text.strip_suffix(":80").unwrap_or(text).as_bytes());
        }
    }
}
