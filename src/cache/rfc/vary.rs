//! Selects one of the responses that are stored for one URI (RFC 9111 section 4.1).

use crate::http::block::FieldLines;
use crate::http::fields::{is_token, list, member_end, trim, write_decimal};

/// Most field names that Vary may have (chosen: real ones name up to five).
pub const NAMES_MAX: usize = 16;

/// Most bytes of all names, with commas between them.
pub const NAMES_BYTES_MAX: usize = 512;

/// Most bytes of the values that a request has in the fields that Vary names.
pub const SELECTING_BYTES_MAX: usize = 4096;

/// The reason why a response cannot be stored as a variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VaryFault {
    /// `*`: no request selects the response.
    Any,
    /// More than [`NAMES_MAX`], [`NAMES_BYTES_MAX`] or [`SELECTING_BYTES_MAX`], or a member that is no field name.
    TooLong,
}

/// Appends the names of all Vary fields of a response: lower case, sorted, without duplicates, with commas between.
/// The names are stored with the response. `out` is unchanged on a fault.
pub fn write_names<'b>(out: &mut Vec<u8>, response: impl FieldLines<'b>) -> Result<(), VaryFault> {
    let mut names: [&[u8]; NAMES_MAX] = [b""; NAMES_MAX];
    let mut count = 0;
    for name in response.values("vary").flat_map(list) {
        if name == b"*" {
            return Err(VaryFault::Any);
        }
        let known = || names[..count].iter().any(|known| known.eq_ignore_ascii_case(name));
        if is_never_sent(name) || known() {
            continue;
        }
        // A `*` that follows is a stronger reason than too many names.
        if count == NAMES_MAX || !is_token(name) {
            let any = response.values("vary").flat_map(list).any(|name| name == b"*");
            return Err(if any { VaryFault::Any } else { VaryFault::TooLong });
        }
        names[count] = name;
        count += 1;
    }
    let names = &mut names[..count];
    if names.iter().map(|name| name.len() + 1).sum::<usize>() > NAMES_BYTES_MAX + 1 {
        return Err(VaryFault::TooLong);
    }
    let lower = |name: &[u8], at: usize| name.get(at).map(u8::to_ascii_lowercase);
    names.sort_unstable_by(|one, other| {
        let at = (0..one.len()).find(|&at| lower(one, at) != lower(other, at)).unwrap_or(one.len());
        lower(one, at).cmp(&lower(other, at))
    });
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend(name.iter().map(u8::to_ascii_lowercase));
    }
    Ok(())
}

/// Fields that the proxy does not forward as the client sent them, so no origin can select by them; Host is in the
/// key.
fn is_never_sent(name: &[u8]) -> bool {
    const NEVER: [&str; 8] = [
        "proxy-authorization",
        "proxy-connection",
        "connection",
        "keep-alive",
        "te",
        "transfer-encoding",
        "upgrade",
        "host",
    ];
    NEVER.iter().any(|never| name.eq_ignore_ascii_case(never.as_bytes()))
}

/// Whether one of the names is in that list: a field that the proxy writes itself cannot select a response.
pub fn names_one_of(names: &[u8], rewritten: &[&str]) -> bool {
    split_names(names).any(|name| rewritten.iter().any(|other| name.eq_ignore_ascii_case(other)))
}

/// Appends the values that a request has in the named fields, in a form that is equal for requests that mean the
/// same. The form is stored with the response. `out` is unchanged on a fault.
pub fn write_selecting<'b>(
    out: &mut Vec<u8>,
    names: &[u8],
    request: impl FieldLines<'b>,
) -> Result<(), VaryFault> {
    let before = out.len();
    for name in split_names(names) {
        write_field(out, name, request);
        if out.len() - before > SELECTING_BYTES_MAX {
            out.truncate(before);
            return Err(VaryFault::TooLong);
        }
    }
    Ok(())
}

/// The names one by one.
pub(in crate::cache) fn split_names(names: &[u8]) -> impl Iterator<Item = &str> {
    let names = names.split(|&byte| byte == b',').filter(|name| !name.is_empty());
    names.filter_map(|name| std::str::from_utf8(name).ok())
}

/// How a value may be normalized without a change of its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A single value, which is not normalized.
    Single,
    /// A value that is not known to be a list. RFC 9111 section 4.1 allows two steps for any field: blanks around a
    /// comma, and the division into lines. An empty member may have a meaning: `,de` is not `de` (rule 51).
    Opaque,
    /// A list: blanks around commas, empty members and the division into lines have no meaning.
    List,
    /// A list whose order has no meaning.
    Set,
    /// A list of names with qualities, in any order and case (RFC 9110 sections 12.5.2 to 12.5.4).
    Weighted,
}

/// The form of a known field; an unknown one is compared as one value. RFC 9111 section 4.1 allows any normalization
/// that the specification of the field allows.
fn form(name: &str) -> Form {
    const SINGLE: [&str; 12] = [
        "authorization",
        "cookie",
        "date",
        "from",
        "if-modified-since",
        "if-range",
        "if-unmodified-since",
        "origin",
        "range",
        "referer",
        "user-agent",
        "x-csrf-token",
    ];
    // Of two members with one name the first counts in some (RFC 7240 section 2, RFC 9111 section 4.2.1).
    const LISTS: [&str; 9] = [
        "access-control-request-headers",
        "cache-control",
        "content-encoding",
        "content-language",
        "forwarded",
        "pragma",
        "prefer",
        "via",
        "x-forwarded-for",
    ];
    match name {
        "accept-language" | "accept-encoding" | "accept-charset" => Form::Weighted,
        "accept" | "if-match" | "if-none-match" => Form::Set,
        name if SINGLE.contains(&name) => Form::Single,
        name if LISTS.contains(&name) => Form::List,
        _ => Form::Opaque,
    }
}

/// Appends a letter for the form, the value and a line feed, which no value contains; for an absent field only the
/// line feed.
fn write_field<'b>(out: &mut Vec<u8>, name: &str, request: impl FieldLines<'b>) {
    if request.contains(name) {
        let ordered = match form(name) {
            Form::Single => {
                out.push(b'1');
                write_joined(out, LINE_BREAK, request.values(name));
                true
            }
            Form::Opaque => {
                out.push(b'o');
                write_joined(out, b',', request.values(name).flat_map(pieces));
                true
            }
            Form::List => false,
            Form::Set => write_set(out, request.values(name).flat_map(list)),
            Form::Weighted => write_weighted(out, request.values(name).flat_map(list)),
        };
        if !ordered {
            out.push(b'l');
            write_joined(out, b',', request.values(name).flat_map(list));
        }
    }
    out.push(b'\n');
}

/// The texts between the commas of a value, with empty ones, without blanks around them; a quoted string is one text.
fn pieces(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let value = rest?;
        let end = member_end(value);
        rest = value.get(end + 1..);
        Some(trim(&value[..end]))
    })
}

/// Divides the lines of a field that is no list. No value contains this byte, so two lines differ from one line with
/// a comma.
const LINE_BREAK: u8 = b'\r';

fn write_joined<'b>(out: &mut Vec<u8>, between: u8, values: impl Iterator<Item = &'b [u8]>) {
    let before = out.len();
    for (index, value) in values.enumerate() {
        if index > 0 {
            out.push(between);
        }
        out.extend_from_slice(value);
        if out.len() - before > SELECTING_BYTES_MAX {
            // The result is already longer than the limit.
            return;
        }
    }
}

/// Most members that are sorted; longer lists are compared in the order received.
pub(in crate::cache) const SORTED_MAX: usize = 32;

/// Appends the members in order. False, with nothing written, if there are too many.
fn write_set<'b>(out: &mut Vec<u8>, members: impl Iterator<Item = &'b [u8]>) -> bool {
    let mut sorted: [&[u8]; SORTED_MAX] = [b""; SORTED_MAX];
    let mut count = 0;
    for member in members {
        let Some(place) = sorted.get_mut(count) else { return false };
        *place = member;
        count += 1;
    }
    let sorted = &mut sorted[..count];
    sorted.sort_unstable();
    out.push(b's');
    write_joined(out, b',', sorted.iter().copied());
    true
}

/// Appends names with qualities in order: lower case, the quality in thousandths unless it is 1. False, with nothing
/// written, if there are too many, or a member is invalid.
fn write_weighted<'b>(out: &mut Vec<u8>, members: impl Iterator<Item = &'b [u8]>) -> bool {
    let mut sorted: [(&[u8], u16); SORTED_MAX] = [(b"", 0); SORTED_MAX];
    let mut count = 0;
    for member in members {
        let (Some(place), Some(weighted)) = (sorted.get_mut(count), weighted(member)) else { return false };
        *place = weighted;
        count += 1;
    }
    let sorted = &mut sorted[..count];
    sorted.sort_unstable_by(|one, other| {
        let lower = |name: &'b [u8]| name.iter().map(u8::to_ascii_lowercase);
        lower(one.0).cmp(lower(other.0)).then(one.1.cmp(&other.1))
    });
    out.push(b'w');
    for (index, (name, quality)) in sorted.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend(name.iter().map(u8::to_ascii_lowercase));
        if *quality != 1000 {
            out.push(b';');
            write_decimal(out, u64::from(*quality));
        }
    }
    true
}

/// Reads `en-GB;q=0.5` as name and thousandths (RFC 9110 section 12.4.2).
pub(in crate::cache) fn weighted(member: &[u8]) -> Option<(&[u8], u16)> {
    let Some(at) = memchr::memchr(b';', member) else {
        return is_token(member).then_some((member, 1000));
    };
    let (name, weight) = (trim(&member[..at]), trim(&member[at + 1..]));
    let [b'q' | b'Q', b'=', weight @ ..] = weight else { return None };
    let quality = match weight {
        [b'1'] | [b'1', b'.'] => 1000,
        [b'1', b'.', zeros @ ..] if zeros.len() <= 3 && zeros.iter().all(|&digit| digit == b'0') => 1000,
        [b'0'] => 0,
        [b'0', b'.', digits @ ..] if digits.len() <= 3 && digits.iter().all(u8::is_ascii_digit) => {
            let digit = |at: usize| digits.get(at).map_or(0, |digit| u16::from(digit - b'0'));
            digit(0) * 100 + digit(1) * 10 + digit(2)
        }
        _ => return None,
    };
    is_token(name).then_some((name, quality))
}

/// Whether a request selects the response that was stored with these names and this selecting form. `scratch` is a
/// buffer for reuse; its content is lost.
#[inline]
pub fn selects<'b>(
    names: &[u8],
    selecting: &[u8],
    request: impl FieldLines<'b>,
    scratch: &mut Vec<u8>,
) -> bool {
    if names.is_empty() {
        return true;
    }
    scratch.clear();
    write_selecting(scratch, names, request).is_ok() && scratch == selecting
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::block::FieldBlock;

    fn names(lines: &str) -> Result<String, VaryFault> {
        let text = lines.split('|').map(|line| format!("Vary: {line}\r\n")).collect::<String>();
        let mut out = b"before".to_vec();
        let fault = write_names(&mut out, FieldBlock::new(text.as_bytes()));
        let text = String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_owned();
        assert!(fault.is_ok() || text.is_empty());
        fault.map(|()| text)
    }

    /// Whether the response to the first request answers the second one.
    fn same(vary: &str, one: &str, other: &str) -> bool {
        let lines = |text: &str| text.split('|').map(|line| format!("{line}\r\n")).collect::<String>();
        let names = names(vary).unwrap();
        let mut selecting = Vec::new();
        write_selecting(&mut selecting, names.as_bytes(), FieldBlock::new(lines(one).as_bytes())).unwrap();
        let (other, mut scratch) = (lines(other), b"old".to_vec());
        selects(names.as_bytes(), &selecting, FieldBlock::new(other.as_bytes()), &mut scratch)
    }

    #[test]
    fn rule_27_names() {
        for (lines, expected) in [
            ("", ""),
            (" , ,", ""),
            ("Accept-Encoding", "accept-encoding"),
            ("b, A ,c|a|B", "a,b,c"),
            ("ab, a, abc, A-b", "a,a-b,ab,abc"),
            // The origin cannot select by fields that it does not get (rule 22).
            ("Proxy-Authorization, X, Connection, TE, Host", "x"),
        ] {
            assert_eq!(names(lines).as_deref(), Ok(expected), "{lines}");
        }
        assert!(names_one_of(b"a,via,x-forwarded-for", &["Via"]));
        assert!(!names_one_of(b"a,via", &["x", "vi", "via2"]) && !names_one_of(b"", &["a"]));
    }

    #[test]
    fn rule_28_an_asterisk_anywhere() {
        for lines in ["*", "a, *", "*, a", "a|*", "a|b, * ,c", "a b, *", " *"] {
            assert_eq!(names(lines), Err(VaryFault::Any), "{lines}");
        }
        let many: Vec<_> = (0..=NAMES_MAX).map(|number| number.to_string()).collect();
        assert_eq!(names(&format!("{}, *", many.join(","))), Err(VaryFault::Any));
        assert!(names("**").is_ok() && names("a*").is_ok());
    }

    #[test]
    fn rule_27_bounds() {
        let many = |count: usize| (0..count).map(|number| format!("x{number}")).collect::<Vec<_>>().join(",");
        assert!(names(&many(NAMES_MAX)).is_ok());
        assert_eq!(names(&many(NAMES_MAX + 1)), Err(VaryFault::TooLong));
        assert!(names(&"x".repeat(NAMES_BYTES_MAX)).is_ok());
        assert_eq!(names(&"x".repeat(NAMES_BYTES_MAX + 1)), Err(VaryFault::TooLong));
        assert_eq!(names("a b"), Err(VaryFault::TooLong));
        assert_eq!(names("\"a\""), Err(VaryFault::TooLong));
        for (name, bytes, fits) in [
            ("x", SELECTING_BYTES_MAX - 2, true),
            ("x", SELECTING_BYTES_MAX - 1, false),
            ("x", 10 * SELECTING_BYTES_MAX, false),
            ("cookie", 10 * SELECTING_BYTES_MAX, false),
            ("accept", 10 * SELECTING_BYTES_MAX, false),
            ("accept-language", 10 * SELECTING_BYTES_MAX, false),
        ] {
            let request = format!("{name}: {}\r\n", "y".repeat(bytes));
            let mut out = b"before".to_vec();
            let written = write_selecting(&mut out, name.as_bytes(), FieldBlock::new(request.as_bytes()));
            assert_eq!(written.is_ok(), fits, "{name} {bytes}");
            assert_eq!(out == b"before", !fits);
        }
    }

    #[test]
    fn rule_27_what_selects_the_same() {
        for (vary, one, other, expected) in [
            ("", "A: 1", "A: 2", true),
            ("a", "A: 1", "a: 1|B: 2", true),
            ("a", "A: 1", "A: 2", false),
            ("a", "A: x", "A: X", false),
            ("a", "B: 1", "B: 2", true),
            ("a", "B: 1", "A: 1", false),
            ("a", "A: 1", "B: 1", false),
            ("a", "A:", "B: 1", false),
            ("a", "A:", "A:  ", true),
            ("a, b", "A: 1|B: 2", "B: 2|A: 1", true),
            ("a, b", "A: 1", "B: 1", false),
            ("a", "A: 1, 2", "A: 1,2", true),
            ("a", "A: 1, 2", "A: 1|A: 2", true),
            ("a", "A: 1, 2", "A: 1 ,, 2,", false),
            ("a", "A: ,1", "A: 1", false),
            ("a", "A: 1,", "A: 1", false),
            ("a", "A: 1,", "A: 1 , ", true),
            ("a", "A: ,", "A:", false),
            ("a", "A: 1 2", "A: 1  2", false),
            ("via", "Via: 1.1 a, 1.1 b", "Via: 1.1 a ,, 1.1 b,", true),
            ("via", "Via: 1.1 a, 1.1 b", "Via: 1.1 b, 1.1 a", false),
            ("a", "A: \"1, 2\"", "A: \"1,2\"", false),
            // The order of an unknown field may matter.
            ("a", "A: 1, 2", "A: 2, 1", false),
            ("accept", "Accept: a/b, c/d;q=0.5", "Accept: c/d;q=0.5|Accept: a/b", true),
            ("accept", "Accept: a/b;q=0.5, c/d", "Accept: a/b, c/d;q=0.5", false),
            ("user-agent", "User-Agent: a, b", "User-Agent: a,b", false),
            ("cookie", "Cookie: a=1; b=2", "Cookie: a=1; b=2", true),
            ("cookie", "Cookie: a=1; b=2", "Cookie: b=2; a=1", false),
            ("cookie", "Cookie: a=1", "X: y", false),
            ("cookie", "Cookie: a|Cookie: b", "Cookie: a,b", false),
            ("accept-encoding", "Accept-Encoding: gzip, br", "Accept-Encoding: BR,GZIP", true),
            ("accept-encoding", "Accept-Encoding: gzip", "Accept-Encoding: gzip;q=1.0", true),
            ("accept-encoding", "Accept-Encoding: gzip;q=0", "Accept-Encoding: gzip", false),
            ("accept-encoding", "Accept-Encoding: gzip", "Accept-Encoding: gzip, identity", false),
            ("proxy-authorization", "Proxy-Authorization: a", "Proxy-Authorization: b", true),
        ] {
            assert_eq!(same(vary, one, other), expected, "{vary}: {one} / {other}");
            assert_eq!(same(vary, other, one), expected, "{vary}: {other} / {one}");
        }
    }

    #[test]
    fn rule_27_languages() {
        let language = "Accept-Language: en, de;q=0.5, *;q=0.1";
        for (other, expected) in [
            ("Accept-Language: de;q=0.5, en, *;q=0.1", true),
            ("Accept-Language: EN,DE; Q=0.50 ,*;q=0.1", true),
            ("Accept-Language: en;q=1, de ; q=0.500|Accept-Language: *;q=0.1", true),
            ("Accept-Language: en, de, *;q=0.1", false),
            ("Accept-Language: en, de;q=0.6, *;q=0.1", false),
            ("Accept-Language: en-gb, de;q=0.5, *;q=0.1", false),
            ("Accept-Language: en, de;q=0.5", false),
            ("Accept-Language: en, de;500, *;100", false),
            ("X: y", false),
        ] {
            assert_eq!(same("Accept-Language", language, other), expected, "{other}");
        }
        // Invalid qualities are compared as they are.
        for bad in ["2", "1.5", "0.1234", "", "x", "0,5", "-1", "1.001"] {
            let bad = format!("Accept-Language: en;q={bad}, de");
            assert!(same("Accept-Language", &bad, &bad), "{bad}");
            assert!(!same("Accept-Language", &bad, "Accept-Language: en, de"), "{bad}");
        }
        let many = |order: &dyn Fn(usize) -> usize| {
            let tags: Vec<_> = (0..=SORTED_MAX).map(|number| format!("l{}", order(number))).collect();
            format!("Accept-Language: {}", tags.join(", "))
        };
        let (up, down) = (many(&|number| number), many(&|number| SORTED_MAX - number));
        assert!(same("Accept-Language", &up, &up) && !same("Accept-Language", &up, &down));
    }
}
