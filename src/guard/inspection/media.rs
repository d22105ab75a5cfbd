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
