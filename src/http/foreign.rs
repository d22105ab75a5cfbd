//! Other protocols on the port (rule 48): bytes that belong to another protocol get an answer that names it.
//!
//! The user of such a client has configured the wrong kind of proxy, or the wrong port. "Not valid HTTP/1.1" would not help.

use super::fault::Fault;

/// Commands that FTP clients begin with (RFC 959, 2228, 2389, 2428). POP3 has the first two as well.
const FTP_COMMANDS: [&[u8]; 16] = [
    b"USER", b"PASS", b"AUTH", b"FEAT", b"SYST", b"QUIT", b"NOOP", b"OPTS", b"PASV", b"EPSV", b"PORT",
    b"EPRT", b"TYPE", b"RETR", b"STOR", b"LIST",
];

/// Commands that mail programs begin with (RFC 5321).
const SMTP_COMMANDS: [&[u8]; 4] = [b"EHLO", b"HELO", b"MAIL", b"STARTTLS"];

/// The protocol that begins with this byte after so many bytes of empty lines.
pub(super) fn of_first_byte(empty_bytes: usize, byte: u8) -> Option<Fault> {
    match (empty_bytes, byte) {
        // The content type of a TLS handshake record (RFC 8446 section 5.1).
        (0, 0x16) => Some(Fault::Tls),
        // The versions (RFC 1928 section 3).
        (0, 4) => Some(Fault::Socks4),
        (0, 5) => Some(Fault::Socks5),
        // The signature of the second version is CR LF CR LF 00 CR LF QUIT LF.
        (4, 0) => Some(Fault::ProxyHeader),
        _ => None,
    }
}

/// The protocol of the first line, which may be incomplete or be followed by others. Only for bytes that are not HTTP.
#[cold]
pub(super) fn of_first_line(bytes: &[u8]) -> Option<Fault> {
    let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    if memchr::memmem::find(line, b" HTTP/").is_some() {
        // The line has a fault, but is HTTP, with any method.
        return line.starts_with(b"PRI * HTTP/2").then_some(Fault::Http2Preface);
    }
    let mut words = line.split(|&byte| byte == b' ');
    let is_one_of =
        |word: &[u8], commands: &[&[u8]]| commands.iter().any(|one| one.eq_ignore_ascii_case(word));
    match words.next() {
        _ if line.starts_with(b"SSH-") => Some(Fault::Ssh),
        Some(word) if is_one_of(word, &FTP_COMMANDS) => Some(Fault::Ftp),
        Some(word) if is_one_of(word, &SMTP_COMMANDS) => Some(Fault::Smtp),
        Some(b"PROXY") if matches!(words.next(), Some(b"TCP4" | b"TCP6" | b"UNKNOWN")) => {
            Some(Fault::ProxyHeader)
        }
        Some(_) | None => None,
    }
}

/// The fault of a target's scheme that is not forwarded (rule 6).
pub(super) fn of_scheme(scheme: &[u8]) -> Fault {
    let is = |known: &str| scheme.eq_ignore_ascii_case(known.as_bytes());
    if is("https") {
        Fault::SchemeHttps
    } else if is("wss") {
        Fault::SchemeWss
    } else if is("ftp") || is("ftps") {
        Fault::SchemeFtp
    } else {
        Fault::Scheme
    }
}

#[cfg(test)]
mod tests {
    use super::super::head::{Limits, Scanner};
    use super::*;

    #[test]
    fn rule_48_other_protocols_are_named() {
        for (bytes, fault) in [
            (&b"\x16\x03\x01\x02\x00\x01\x00"[..], Fault::Tls),
            (b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00", Fault::Socks4),
            (b"\x05\x01\x00", Fault::Socks5),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Fault::Http2Preface),
            (b"PRI * HTTP/2.0\n", Fault::Http2Preface),
            (b"SSH-2.0-OpenSSH_9.6\r\n", Fault::Ssh),
            (b"SSH-2.0-OpenSSH_9.6 Ubuntu-3ubuntu13\r\n", Fault::Ssh),
            (b"SSH-1.5-old\n", Fault::Ssh),
            (b"SSH-2.0-a_name_that_is_longer_than_any_method_is_and_goes_on_for_ever", Fault::Ssh),
            (b"USER anonymous\r\n", Fault::Ftp),
            (b"user anonymous@ftp.example\r\n", Fault::Ftp),
            (b"USER  ann\r\n", Fault::Ftp),
            (b"AUTH TLS\r\n", Fault::Ftp),
            (b"FEAT\r\n", Fault::Ftp),
            (b"QUIT\n", Fault::Ftp),
            (b"EHLO client.example\r\n", Fault::Smtp),
            (b"HELO client\n", Fault::Smtp),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", Fault::ProxyHeader),
            (b"PROXY UNKNOWN\r\n", Fault::ProxyHeader),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", Fault::ProxyHeader),
            (b"OPTIONS rtsp://a.example/ RTSP/1.0\r\n", Fault::VersionForeign),
            (b"REGISTER sip:a.example SIP/2.0\r\n", Fault::VersionForeign),
            (b"RESPMOD icap://a.example/ ICAP/1.0\r\n", Fault::VersionForeign),
            (b"GET http://a.example/ HTCPCP/1.0\r\n", Fault::VersionForeign),
            // Protocols without a name in this file.
            (b"\0", Fault::Method),
            (b"\r\n\x16", Fault::Method),
            (b"\r\n\0", Fault::Method),
            (b"GET /\r\n", Fault::VersionMissing),
            (b"GET a/1\r\n", Fault::VersionMissing),
            (b"GET / A/\r\n", Fault::VersionMissing),
            (b"PROXY /\r\n", Fault::VersionMissing),
            (b"USERS x\r\n", Fault::VersionMissing),
            (b"GET / HTTP/1.1\n", Fault::BareLineFeed),
            (b"LIST / HTTP/1.1\n", Fault::BareLineFeed),
            (b"USER / HTTP/3.0\r\n", Fault::VersionUnsupported),
            (b"PROXY TCP4 HTTP/1.10\r\n", Fault::VersionMalformed),
        ] {
            let whole = Scanner::default().scan_request(bytes, &Limits::default());
            assert_eq!(whole, Err(fault), "{}", bytes.escape_ascii());
            let mut scanner = Scanner::default();
            let bytewise =
                (1..=bytes.len()).map(|len| scanner.scan_request(&bytes[..len], &Limits::default()));
            assert_eq!(bytewise.into_iter().find(|seen| *seen != Ok(None)), Some(Err(fault)));
        }
    }

    #[test]
    fn long_targets_are_too_long_whatever_the_method() {
        let limits = Limits { target_bytes_max: 100, ..Limits::default() };
        let text = format!("LIST http://a/{}", "x".repeat(200));
        assert_eq!(Scanner::default().scan_request(text.as_bytes(), &limits), Err(Fault::TargetTooLong));
    }

    #[test]
    fn methods_of_the_same_name_are_methods() {
        for line in ["USER http://a/ HTTP/1.1", "LIST /a HTTP/1.0", "PROXY / HTTP/1.1", "SSH-2 / HTTP/1.1"] {
            let text = format!("{line}\r\n\r\n");
            let found = Scanner::default().scan_request(text.as_bytes(), &Limits::default());
            assert_eq!(found, Ok(Some(text.len())), "{line}");
        }
    }
}
