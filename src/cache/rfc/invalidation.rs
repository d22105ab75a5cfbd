//! Stored responses that a response to an unsafe request invalidates (RFC 9111 section 4.4).

use crate::http::block::FieldLines;
use crate::http::target::Authority;

use crate::cache::rfc::key::{Uri, write_key};

/// Whether a method is known to be safe (RFC 9110 section 9.2.1 and the registry of methods).
pub fn is_safe(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PROPFIND" | "QUERY" | "REPORT" | "SEARCH")
}

/// Calls `invalidate` with the key (see [`crate::cache::rfc::key::write_key`]) of each stored response that the
/// response to this request invalidates: the requested URI, and the URIs of the same origin that Location and
/// Content-Location name. Safe methods and errors invalidate nothing. `scratch` is a buffer for reuse.
pub fn for_each_key<'b>(
    method: &str,
    status: u16,
    asked: &Uri<'_>,
    response: impl FieldLines<'b>,
    scratch: &mut Vec<u8>,
    mut invalidate: impl FnMut(&[u8]),
) {
    // CONNECT names no resource.
    if is_safe(method) || method == "CONNECT" || !matches!(status, 200..=399) {
        return;
    }
    scratch.clear();
    write_key(scratch, asked);
    invalidate(scratch);
    for name in ["location", "content-location"] {
        for reference in response.values(name) {
            scratch.clear();
            if write_same_origin_key(scratch, asked, reference) {
                invalidate(scratch);
            }
        }
    }
}

/// Whether Content-Location names the requested URI: a response to POST may then answer later GETs (RFC 9110 section
/// 9.3.3).
pub fn content_location_is_own<'b>(asked: &Uri<'_>, response: impl FieldLines<'b>) -> bool {
    let Some(reference) = response.single("content-location") else { return false };
    let (mut own, mut named) = (Vec::new(), Vec::new());
    write_key(&mut own, asked);
    write_same_origin_key(&mut named, asked, reference) && own == named
}

/// Appends the key of a URI reference (RFC 3986 section 5.2) if it has the same origin as the base. `out` begins with
/// the key.
fn write_same_origin_key(out: &mut Vec<u8>, base: &Uri<'_>, reference: &[u8]) -> bool {
    let reference = reference.split(|&byte| byte == b'#').next().unwrap_or_default();
    let Some(reference) = parse_same_origin(base, reference) else { return false };
    let (base_path, _) = split_query(base.path);
    let (path, query) = split_query(reference.rest);
    write_key(out, &Uri { path: b"/", ..*base });
    // The path brings its own slash.
    out.pop();
    let start = out.len();
    if path.is_empty() && !reference.absolute {
        out.extend_from_slice(if base_path.is_empty() { b"/" } else { base_path });
    } else {
        // A relative path replaces what follows the last slash of the base.
        let relative = !reference.absolute && !path.starts_with(b"/");
        if relative {
            let end = memchr::memrchr(b'/', base_path).unwrap_or(0);
            push_segments(out, start, &base_path[..end], false);
        }
        push_segments(out, start, path, true);
    }
    match (query, path.is_empty() && !reference.absolute) {
        (Some(query), _) => out.extend_from_slice(query),
        // An empty reference is the base itself, with its query.
        (None, true) => out.extend_from_slice(&base.path[base_path.len()..]),
        (None, false) => {}
    }
    true
}

/// The path and query of a reference.
struct Reference<'a> {
    rest: &'a [u8],
    /// The reference has an authority.
    absolute: bool,
}

/// Reads a reference. `None` if the reference leads to another origin, or is invalid.
fn parse_same_origin<'a>(base: &Uri<'_>, reference: &'a [u8]) -> Option<Reference<'a>> {
    let end = reference.iter().position(|byte| matches!(byte, b':' | b'/' | b'?')).unwrap_or(reference.len());
    let after_scheme = match reference.get(end) {
        Some(b':') if !reference[..end].eq_ignore_ascii_case(base.scheme.as_str().as_bytes()) => return None,
        Some(b':') => &reference[end + 1..],
        Some(_) | None => reference,
    };
    let Some(rest) = after_scheme.strip_prefix(b"//") else {
        // `http:path`, without slashes, is not supported.
        let relative = after_scheme.len() == reference.len();
        return relative.then_some(Reference { rest: reference, absolute: false });
    };
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let authority = Authority::parse(&rest[..end], Some(base.scheme.default_port())).ok()?;
    let is_same = authority.host == base.authority.host && authority.port == base.port();
    is_same.then_some(Reference { rest: &rest[end..], absolute: true })
}

/// The path, and the query with its question mark.
fn split_query(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'?', text) {
        Some(at) => (&text[..at], Some(&text[at..])),
        None => (text, None),
    }
}

/// Appends the segments of a path, each behind a slash, without dot segments (RFC 3986 section 5.2.4). The path in
/// `out` begins at `start`. `last`: the path ends here.
fn push_segments(out: &mut Vec<u8>, start: usize, path: &[u8], last: bool) {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    let mut segments = path.split(|&byte| byte == b'/').peekable();
    if path.is_empty() && !last {
        return;
    }
    while let Some(segment) = segments.next() {
        let ends = last && segments.peek().is_none();
        match segment {
            b"." | b".." => {
                if segment == b".." {
                    let parent = memchr::memrchr(b'/', &out[start..]).map_or(start, |at| start + at);
                    out.truncate(parent);
                }
                if ends {
                    out.push(b'/');
                }
            }
            segment => {
                out.push(b'/');
                out.extend_from_slice(segment);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::rfc::key::Scheme;
    use crate::http::block::FieldBlock;

    fn authority() -> Authority {
        Authority::parse(b"a.example:80", None).unwrap()
    }

    fn uri<'a>(authority: &'a Authority, path: &'a str) -> Uri<'a> {
        Uri { scheme: Scheme::Http, authority, path: path.as_bytes(), by_gateway: false }
    }

    /// The keys that are invalidated beside the request's own; lines are divided by `|`.
    fn others(method: &str, status: u16, path: &'static str, lines: &str) -> Option<Vec<String>> {
        let text: String = lines.split('|').map(|line| format!("{line}\r\n")).collect();
        let (mut found, mut scratch) = (Vec::new(), b"old".to_vec());
        for_each_key(
            method,
            status,
            &uri(&authority(), path),
            FieldBlock::new(text.as_bytes()),
            &mut scratch,
            |key| {
                found.push(String::from_utf8(key.to_vec()).unwrap());
            },
        );
        let mut own = Vec::new();
        write_key(&mut own, &uri(&authority(), path));
        let itself = (!found.is_empty()).then(|| found.remove(0).into_bytes());
        assert!(itself.is_none_or(|itself| itself == own));
        (!scratch.starts_with(b"old")).then_some(found)
    }

    #[test]
    fn rule_37_which_answers_invalidate() {
        for (method, status, expected) in [
            ("POST", 200, true),
            ("PUT", 204, true),
            ("DELETE", 299, true),
            ("PATCH", 302, true),
            ("FOO", 399, true),
            ("get", 200, true),
            ("POST", 304, true),
            ("POST", 199, false),
            ("POST", 400, false),
            ("POST", 404, false),
            ("POST", 500, false),
            ("POST", 503, false),
            ("GET", 200, false),
            ("HEAD", 200, false),
            ("OPTIONS", 200, false),
            ("TRACE", 200, false),
            ("CONNECT", 200, false),
        ] {
            let found = others(method, status, "/p", "X: y");
            assert_eq!(found, expected.then(Vec::new), "{method} {status}");
        }
    }

    #[test]
    fn rule_37_which_other_uris() {
        for (reference, path, expected) in [
            ("/x", "/a/b?q", Some("/x")),
            ("/x?y#z", "/a/b?q", Some("/x?y")),
            ("x", "/a/b?q", Some("/a/x")),
            ("x", "", Some("/x")),
            ("x", "?q", Some("/x")),
            ("./x", "/a/b", Some("/a/x")),
            ("../x", "/a/b", Some("/x")),
            ("../../../x", "/a/b", Some("/x")),
            ("x/../y/./z", "/a/b", Some("/a/y/z")),
            ("..", "/a/b/c", Some("/a/")),
            (".", "/a/b/c", Some("/a/b/")),
            ("/a/./b/../c", "/", Some("/a/c")),
            ("/..", "/a", Some("/")),
            ("x/", "/a/b", Some("/a/x/")),
            ("x//y", "/a/b", Some("/a/x//y")),
            ("?r", "/a/b?q", Some("/a/b?r")),
            ("?r", "", Some("/?r")),
            ("", "/a/b?q", Some("/a/b?q")),
            ("#f", "/a/b?q", Some("/a/b?q")),
            ("http://a.example/x", "/a", Some("/x")),
            ("HTTP://A.EXAMPLE.:80/x?y", "/a", Some("/x?y")),
            ("http://a.example", "/a?q", Some("/")),
            ("http://a.example?r", "/a?q", Some("/?r")),
            ("//a.example/x", "/a", Some("/x")),
            ("/x:y", "/a", Some("/x:y")),
            ("?x:y", "/a", Some("/a?x:y")),
            // Elsewhere.
            ("http://b.example/x", "/a", None),
            ("http://a.example:81/x", "/a", None),
            ("https://a.example/x", "/a", None),
            ("//b.example/x", "/a", None),
            ("http://u@a.example/x", "/a", None),
            ("http:x", "/a", None),
            ("http:/x", "/a", None),
            ("mailto:x", "/a", None),
            ("x:y", "/a", None),
            ("http://", "/a", None),
            ("http://a b/", "/a", None),
        ] {
            let expected: Vec<_> = expected.iter().map(|rest| format!("http://a.example{rest}")).collect();
            for name in ["Location", "content-location"] {
                let found = others("POST", 201, path, &format!("{name}: {reference}"));
                assert_eq!(found.as_ref(), Some(&expected), "{reference} from {path}");
            }
        }
        let both = others("POST", 201, "/", "Location: /x|Content-Location: /y|X: /z").unwrap();
        assert_eq!(both, ["http://a.example/x", "http://a.example/y"]);
    }

    #[test]
    fn rule_38_content_location_names_what_was_asked_for() {
        for (lines, expected) in [
            ("Content-Location: /p?q", true),
            ("Content-Location: http://A.example:80/p?q", true),
            ("Content-Location: ?q", true),
            ("Content-Location: /p", false),
            ("Content-Location: http://b.example/p?q", false),
            ("Location: /p?q", false),
            ("Content-Location: /p?q\r\nContent-Location: /p?q", false),
        ] {
            let text = format!("{lines}\r\n");
            assert_eq!(
                content_location_is_own(&uri(&authority(), "/p?q"), FieldBlock::new(text.as_bytes())),
                expected,
                "{lines}"
            );
        }
    }
}
