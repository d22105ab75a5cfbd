//! The way to read a content, by its media type.

/// The way to read a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Form,
    Json,
    /// Only printable runs.
    Binary,
    /// The whole text; as JSON, if it begins like JSON.
    Text,
}

/// Top-level types whose content is not text (RFC 6838 section 4.2), unless the subtype is a text format.
const BINARY_TYPES: [&[u8]; 5] = [b"audio", b"font", b"image", b"model", b"video"];

/// Words in the subtypes of `application` of which the content is not text.
const BINARY_WORDS: [&[u8]; 15] = [
    b"octet-stream",
    b"zip",
    b"compressed",
    b"tar",
    b"rar",
    b"pdf",
    b"msword",
    b"ms-excel",
    b"ms-powerpoint",
    b"officedocument",
    b"protobuf",
    b"grpc",
    b"wasm",
    b"msgpack",
    b"cbor",
];

/// The way to read a content of a media type; parameters are ignored.
pub(super) fn content_of(media_type: &[u8]) -> Content {
    let essence = media_type.split(|byte| *byte == b';').next().unwrap_or_default();
    let essence = essence.trim_ascii().to_ascii_lowercase();
    let mut halves = essence.splitn(2, |byte| *byte == b'/');
    let (kind, subtype) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
    let holds = |word: &[u8]| memchr::memmem::find(subtype, word).is_some();
    if holds(b"x-www-form-urlencoded") {
        Content::Form
    } else if holds(b"json") || holds(b"csp-report") {
        Content::Json
    } else if holds(b"xml") {
        Content::Text
    } else if BINARY_TYPES.contains(&kind)
        || kind == b"application" && BINARY_WORDS.iter().any(|word| holds(word))
    {
        Content::Binary
    } else {
        Content::Text
    }
}

/// Whether detection can read a text in all character sets that a media type names. In EBCDIC (`ibm037`, `cp500`) other bytes than those
/// of ASCII are an attack.
pub fn is_legible(media_type: &[u8]) -> bool {
    let charset = |parameter: &[u8]| {
        let equals = memchr::memchr(b'=', parameter)?;
        let (name, value) = (parameter[..equals].trim_ascii(), &parameter[equals + 1..]);
        name.eq_ignore_ascii_case(b"charset").then(|| is_ebcdic(value))
    };
    let parameters = media_type.split(|byte| matches!(byte, b';' | b',')).skip(1);
    content_of(media_type) == Content::Binary || !parameters.filter_map(charset).any(|is_ebcdic| is_ebcdic)
}

/// Whether a text does not begin as XML in a character set that detection cannot read: in EBCDIC, or with a declaration that names such a
/// set (XML 1.0, section 4.3.3 and appendix F).
pub fn is_legible_xml(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let declaration = text.strip_prefix(b"<?xml");
    let declaration = declaration.map(|rest| &rest[..memchr::memchr(b'>', rest).unwrap_or(rest.len())]);
    let named = declaration.and_then(|declaration| {
        let at = memchr::memmem::find(declaration, b"encoding")? + b"encoding".len();
        declaration[at..].trim_ascii_start().strip_prefix(b"=")
    });
    !text.starts_with(b"\x4c\x6f\xa7\x94") && !named.is_some_and(is_ebcdic)
}

/// Whether a character set of this name, which may be in quotes, is EBCDIC. In nearly all others the bytes of ASCII mean what they mean in
/// ASCII, or the views find them.
fn is_ebcdic(name: &[u8]) -> bool {
    let name = name.trim_ascii_start();
    let (quotes, name) = match name.first() {
        Some(quote @ (b'"' | b'\'')) => (Some(*quote), &name[1..]),
        Some(_) | None => (None, name),
    };
    let ends = |byte: &u8| quotes.map_or(byte.is_ascii_whitespace(), |quote| *byte == quote);
    let name = name.split(ends).next().unwrap_or_default();
    let letters = name.iter().filter(|byte| byte.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase);
    let letters: String = letters.map(char::from).collect();
    let digits = letters.trim_start_matches(|letter: char| !letter.is_ascii_digit());
    let prefix = &letters[..letters.len() - digits.len()];
    let of_ibm = ["", "cp", "ibm", "ccsid", "csibm", "xibm", "xcp", "codepage"].contains(&prefix);
    letters.contains("ebcdic") || (of_ibm && digits.parse().is_ok_and(is_code_page_of_ebcdic))
}

/// The numbers of code pages of EBCDIC (IBM's registry, and Windows' 20,000 beyond them).
fn is_code_page_of_ebcdic(number: u32) -> bool {
    let number = if number > 20_000 && number != 21_025 { number - 20_000 } else { number };
    matches!(number, 37 | 273..=297 | 300 | 410 | 420..=425 | 500 | 803 | 833..=838 | 870 | 871 | 875 | 880 | 905 | 918 | 924)
        || matches!(number, 930 | 931 | 933 | 935 | 937 | 939 | 1025..=1027 | 1047 | 1069..=1079 | 1097 | 1112 | 1122 | 1123)
        || matches!(
            number,
            1130 | 1132 | 1136 | 1137 | 1140..=1166 | 1364 | 1371 | 1377 | 1388 | 1390 | 1399 | 21_025
        )
        || matches!(
            number,
            4899 | 4971 | 5123 | 5347 | 8482 | 9030 | 9066 | 12_708 | 12_712 | 16_684 | 16_804
        )
}

/// Longest boundary in bytes (RFC 2046 allows 70; chosen: lenient readers may accept more).
const BOUNDARY_BYTES_MAX: usize = 256;

/// The boundary of a multipart type; `None` for another type, or without a boundary that can be used.
pub fn boundary_of(media_type: &[u8]) -> Option<Vec<u8>> {
    let lower = media_type.to_ascii_lowercase();
    if !lower.trim_ascii_start().starts_with(b"multipart/") {
        return None;
    }
    let at = memchr::memmem::find(&lower, b"boundary=")? + b"boundary=".len();
    let given = &media_type[at..];
    let boundary = match given.strip_prefix(b"\"") {
        Some(quoted) => quoted.split(|byte| *byte == b'"').next()?,
        None => given.split(|byte| matches!(byte, b';' | b',' | b' ' | b'\t')).next()?,
    };
    (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len()).then(|| boundary.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guard_11_media_types_say_how_a_body_is_read() {
        for (media_type, content) in [
            ("application/x-www-form-urlencoded; charset=UTF-8", Content::Form),
            ("Application/JSON", Content::Json),
            ("application/problem+json", Content::Json),
            ("application/x-ndjson", Content::Json),
            ("application/csp-report", Content::Json),
            ("application/octet-stream", Content::Binary),
            ("image/png", Content::Binary),
            ("image/svg+xml", Content::Text),
            ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", Content::Text),
            ("application/pdf", Content::Binary),
            ("text/plain", Content::Text),
            ("application/graphql", Content::Text),
            ("", Content::Text),
            ("/", Content::Text),
        ] {
            assert_eq!(content_of(media_type.as_bytes()), content, "{media_type}");
        }
    }

    #[test]
    fn ours_11_character_sets_that_detection_reads() {
        for (media_type, is_read) in [
            ("text/plain", true),
            ("text/plain; charset=", true),
            ("text/plain; Charset=\"UTF-8\"", true),
            ("text/plain; charset='utf_8'; x=y", true),
            ("text/plain;charset=ISO-8859-15", true),
            ("text/plain;charset=Windows-1252 ", true),
            ("text/plain;charset=Shift_JIS", true),
            ("text/plain;charset=gb18030", true),
            ("application/x-www-form-urlencoded; charset=utf-16le", true),
            ("application/x-www-form-urlencoded; charset=ibm037", false),
            ("application/x-www-form-urlencoded; x=y ;CHARSET=\"cp500\"", false),
            ("application/json; charset=cp1026", false),
            ("text/plain; charset=utf-8; charset=cp1140", false),
            ("image/png; charset=ibm037", true),
            ("text/plain; charset=ANSI_X3.4-1968", true),
            ("text/plain; charset=ibm866", true),
            ("text/plain; charset=cp936", true),
            ("text/plain; charset=iso-2022-jp", true),
            ("text/plain; charset=undefined", true),
            ("text/plain; charset=utf-ebcdic", false),
            ("text/plain; charset=ebcdic-cp-us", false),
            ("text/plain; charset=IBM01140", false),
            ("text/plain; charset=x-ibm20273", false),
        ] {
            assert_eq!(is_legible(media_type.as_bytes()), is_read, "{media_type}");
        }
        for (text, is_read) in [
            (&b"<?xml version='1.0'?><a encoding='ibm037'/>"[..], true),
            (b"<?xml version=\"1.0\" encoding=\"UTF-8\"?><a/>", true),
            (b"<?xml version='1.0' encoding = 'IBM037'?><a/>", false),
            (b"\x4c\x6f\xa7\x94\x93", false),
            (b"\xef\xbb\xbf<?xml version='1.0' encoding='cp037'?><a/>", false),
            (&[b"<?xml version='1.0'", &[b' '; 600][..], b"encoding='cp037'?><a/>"].concat(), false),
            (b"plain", true),
        ] {
            assert_eq!(is_legible_xml(text), is_read, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn boundaries_are_found() {
        for (media_type, boundary) in [
            ("multipart/form-data; boundary=abc", Some("abc")),
            ("Multipart/Form-Data; charset=x; Boundary=\"a b;c\"; x=y", Some("a b;c")),
            ("multipart/mixed;boundary=aBc; x", Some("aBc")),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary=", None),
            ("multipart/form-data; boundary=\"", None),
            ("text/plain; boundary=abc", None),
        ] {
            let found = boundary_of(media_type.as_bytes());
            assert_eq!(found.as_deref(), boundary.map(str::as_bytes), "{media_type}");
        }
    }
}
