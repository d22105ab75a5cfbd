//! Tokens, quoted strings and comma-separated lists (RFC 9110 section 5.6).

/// The characters of a token.
const TCHARS: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = matches!(byte as u8, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9'
            | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~');
        byte += 1;
    }
    table
};

/// True for the characters of a token (RFC 9110 section 5.6.2).
pub fn is_tchar(byte: u8) -> bool {
    TCHARS[usize::from(byte)]
}

/// True for one or more token characters.
pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| is_tchar(byte))
}

/// Whether two field names are equal in any case. Most names have equal bytes, which `eq_ignore_ascii_case` does not
/// exploit.
#[inline]
pub fn same_name(one: &[u8], other: &[u8]) -> bool {
    let same = |(one, other): (&u8, &u8)| one == other || (one ^ other == 0x20 && one.is_ascii_alphabetic());
    one.len() == other.len() && one.iter().zip(other).all(same)
}

/// Whether a byte may occur in a field value: visible bytes, blank, tab, and obs-text (RFC 9110 section 5.5).
pub fn is_value_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7F)
}

/// Without blanks and tabs on either side (OWS, RFC 9110 section 5.6.3).
pub fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    trim_end(text)
}

/// Without blanks and tabs at its end.
pub fn trim_end(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// The members of one field value, trimmed; empty ones are skipped, commas within quotes do not separate
/// (RFC 9110 section 5.6.1).
pub fn list(value: &[u8]) -> List<'_> {
    List { rest: value }
}

/// Iterator over the members of a list.
#[derive(Clone, Debug)]
pub struct List<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for List<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.rest.is_empty() {
            let end = member_end(self.rest);
            let member = trim(&self.rest[..end]);
            self.rest = self.rest.get(end + 1..).unwrap_or_default();
            if !member.is_empty() {
                return Some(member);
            }
        }
        None
    }
}

/// The members of a list whose members contain no quoted strings, such as Connection. Every comma separates: a quote, which is not
/// valid there or an ordinary character of a comment (in Via), hides nothing.
pub fn unquoted_list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim).filter(|member| !member.is_empty())
}

/// The position of the first comma outside of quotes, or the length.
pub fn member_end(text: &[u8]) -> usize {
    unquoted_end(text, b',')
}

/// The parameters of a list member, between semicolons outside of quotes, without blanks around them.
pub fn parameters(member: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(member);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = unquoted_end(text, b';');
        rest = text.get(end + 1..);
        Some(trim(&text[..end]))
    })
}

#[inline]
fn unquoted_end(text: &[u8], separator: u8) -> usize {
    let mut quoted = false;
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            byte if byte == separator && !quoted => return at,
            b'"' => quoted = !quoted,
            b'\\' if quoted => at += 1,
            _ => {}
        }
        at += 1;
    }
    text.len()
}

/// Whether a quoted string in the text has no end: what follows in the same line would be within it.
pub fn has_open_quote(text: &[u8]) -> bool {
    let mut quoted = false;
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => drop(bytes.next()),
            _ => {}
        }
    }
    quoted
}

/// Splits at the last separator that is not within quotes. In Forwarded a proxy quotes the Host of its client, which may contain any separator.
/// Quotes are paired from the right, where the proxy has written: one that a client left open hides nothing.
pub fn split_last_unquoted(text: &[u8], separator: u8) -> (Option<&[u8]>, &[u8]) {
    let mut end = text.len();
    while let Some(at) = memchr::memrchr2(separator, b'"', &text[..end]) {
        if text[at] == separator {
            return (Some(&text[..at]), &text[at + 1..]);
        }
        match opening_quote(&text[..at]) {
            Some(opening) => end = opening,
            None => break,
        }
    }
    (None, text)
}

/// The quote that opens a quoted-string, of which this is all before the closing quote (RFC 9110 5.6.4).
fn opening_quote(before: &[u8]) -> Option<usize> {
    let mut end = before.len();
    loop {
        end = memchr::memrchr(b'"', &before[..end])?;
        let backslashes = before[..end].iter().rev().take_while(|byte| **byte == b'\\').count();
        if backslashes % 2 == 0 {
            return Some(end);
        }
    }
}

/// A decimal number without sign or blanks; `None` for any other text and beyond 2^63-1, the largest length that
/// every peer can be expected to support.
pub fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    // A number of fewer than 19 digits cannot be too large.
    if text.len() < 19 {
        let digits = text.iter().try_fold(0, |value: u64, &byte| {
            let digit = byte.wrapping_sub(b'0');
            (digit <= 9).then_some(10 * value + u64::from(digit))
        });
        return digits;
    }
    let mut value: u64 = 0;
    for &byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    (value <= i64::MAX as u64).then_some(value)
}

/// The decimal digits of a number, without allocating.
pub fn write_decimal(out: &mut Vec<u8>, value: u64) {
    if value < 10 {
        out.push(b'0' + value as u8);
        return;
    }
    let mut digits = [0; 20];
    let at = decimal_digits(&mut digits, value);
    out.extend_from_slice(&digits[at..]);
}

/// Every number of two digits.
pub(crate) const TWO_DIGITS: [[u8; 2]; 100] = {
    let mut table = [[0; 2]; 100];
    let mut value = 0;
    while value < 100 {
        table[value] = [b'0' + (value / 10) as u8, b'0' + (value % 10) as u8];
        value += 1;
    }
    table
};

/// Writes a number at the end of `digits`; returns the position of its first digit. Two digits at a time, because
/// divisions are the cost.
fn decimal_digits(digits: &mut [u8; 20], mut value: u64) -> usize {
    let mut at = digits.len();
    while value >= 100 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&TWO_DIGITS[(value % 100) as usize]);
        value /= 100;
    }
    if value >= 10 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&TWO_DIGITS[value as usize]);
    } else {
        at -= 1;
        digits[at] = b'0' + value as u8;
    }
    at
}

/// Appends an IPv4 address, without `fmt`: every log record has one, and many a Host.
pub fn write_ipv4(out: &mut Vec<u8>, address: std::net::Ipv4Addr) {
    let mut text = [b'.'; 16];
    let mut at = 0;
    for octet in address.octets() {
        let (hundreds, rest) = (octet / 100, TWO_DIGITS[usize::from(octet % 100)]);
        if hundreds > 0 {
            text[at] = b'0' + hundreds;
            at += 1;
        }
        if octet >= 10 {
            text[at] = rest[0];
            at += 1;
        }
        text[at] = rest[1];
        at += 2;
    }
    out.extend_from_slice(&text[..at - 1]);
}

/// Appends one field line.
#[inline]
pub fn write_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

pub(super) fn is_listed(names: &[&str], name: &str) -> bool {
    names.iter().any(|listed| listed.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_addresses_are_written_as_fmt_would() {
        let mut out = Vec::new();
        let edges =
            (0..20).flat_map(|power| [10_u64.pow(power) - 1, 10_u64.pow(power), 10_u64.pow(power) + 1]);
        for value in edges.chain(0..2000).chain([u64::MAX, u64::MAX / 3]) {
            out.clear();
            write_decimal(&mut out, value);
            assert_eq!(out, value.to_string().as_bytes());
        }
        for octet in 0..=255_u8 {
            let address = std::net::Ipv4Addr::new(octet, 255 - octet, octet / 2, 7);
            out.clear();
            write_ipv4(&mut out, address);
            assert_eq!(out, address.to_string().as_bytes());
        }
    }

    #[test]
    fn names_are_the_same_in_any_case() {
        for byte in 0..128_u8 {
            for other in 0..128_u8 {
                let (one, other) = (char::from(byte).to_string(), char::from(other).to_string());
                assert_eq!(
                    same_name(one.as_bytes(), other.as_bytes()),
                    one.eq_ignore_ascii_case(&other),
                    "{one:?} {other:?}"
                );
            }
        }
        assert!(same_name(b"User-Agent", b"user-agent") && same_name(b"", b""));
        assert!(!same_name(b"Host", b"hosts") && !same_name(b"Date", b"Data"));
    }

    #[test]
    fn rule_1_tokens() {
        for good in ["GET", "x-y_z", "!#$%&'*+-.^_`|~09azAZ"] {
            assert!(is_token(good.as_bytes()), "{good}");
        }
        for bad in [
            "", "a b", "a:", "a\t", "a\0", "(", ")", "<", "@", ",", ";", "\\", "\"", "/", "[", "]", "?", "=",
            "{", "}", "\u{e9}",
        ] {
            assert!(!is_token(bad.as_bytes()), "{bad:?}");
        }
    }

    #[test]
    fn lists_respect_quotes_and_skip_empty_members() {
        let cases: [(&str, &[&str]); 9] = [
            ("", &[]),
            (",, ,\t,", &[]),
            ("a", &["a"]),
            (" a , b\t,c ", &["a", "b", "c"]),
            ("a,,b", &["a", "b"]),
            ("a;x=\"1,2\", b", &["a;x=\"1,2\"", "b"]),
            ("\"a\\\",b\", c", &["\"a\\\",b\"", "c"]),
            ("\"never closed, b", &["\"never closed, b"]),
            ("a\\,b", &["a\\", "b"]),
        ];
        for (value, members) in cases {
            let found: Vec<_> = list(value.as_bytes()).map(|m| std::str::from_utf8(m).unwrap()).collect();
            assert_eq!(found, members, "{value:?}");
        }
    }

    #[test]
    fn decimals() {
        assert_eq!(decimal(b"0"), Some(0));
        assert_eq!(decimal(b"007"), Some(7));
        assert_eq!(decimal(b"9223372036854775807"), Some(i64::MAX as u64));
        for bad in [
            "",
            "9223372036854775808",
            "18446744073709551616",
            "+1",
            "-1",
            " 1",
            "1 ",
            "0x1",
            "1e3",
            "1_0",
            "\u{661}",
        ] {
            assert_eq!(decimal(bad.as_bytes()), None, "{bad:?}");
        }
        for value in [0, 9, 10, 4096, u64::MAX] {
            let mut out = Vec::new();
            write_decimal(&mut out, value);
            assert_eq!(out, value.to_string().as_bytes());
        }
    }
}
