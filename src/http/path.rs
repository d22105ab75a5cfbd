//! The form of a path for comparing and counting.
//!
//! Many spellings name the same resource of a server. A directive with a path, and a counter for each path, must treat all of
//! them as one: otherwise `/%61pi/x` bypasses `path /api/`. The comparison form has no query, is percent-decoded up to
//! [`ROUNDS_MAX`] times, has slashes for backslashes, and no dot segments (guard semantics, section 1).
//!
//! Several slashes in a row are one (chosen): nginx (`merge_slashes`), Apache's handlers and file systems read `//api/x` as
//! `/api/x`, so a limit must count them as one. For a server that distinguishes them the sum is counted. Letters keep their
//! case, and parameters behind `;` are part of their segment: [`EitherPath`] has the reading without them, too.
//!
//! The origin never gets this form.

/// How often a path is percent-decoded (guard semantics, section 1).
pub const ROUNDS_MAX: usize = 4;

/// Longest path with dot segments beside escapes or backslashes whose readings are compared, in bytes (chosen: clients resolve dot
/// segments themselves). A directive that restricts covers a longer one whatever its prefix is.
const DISPUTED_BYTES_MAX: usize = 1024;

/// In a path for one reading: a slash or a backslash that is no separator there. No prefix has it.
const NO_SEPARATOR: u8 = 0;

/// A path to compare with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ComparedPath<'a> {
    /// The form; begins with a slash, but for `*` of OPTIONS.
    pub bytes: &'a [u8],
    /// Escapes are left after [`ROUNDS_MAX`] rounds of decoding: the meaning of the path is not known, and no
    /// exception applies to it.
    pub is_escaped: bool,
    /// A segment has parameters (`;x`): a server that takes them off reads another path, see [`EitherPath`], and no
    /// exception applies to it.
    pub has_parameters: bool,
    /// A segment is `..`: a server that matches prefixes before it resolves dot segments reads another path, and no exception
    /// applies to it.
    pub has_dots: bool,
}

/// The comparison form of the path of a request, with or without a query. An empty path is `/`. A path in this form already
/// is returned without use of the buffer, and without allocation.
pub fn comparison_form<'a>(path: &'a [u8], buffer: &'a mut Vec<u8>) -> ComparedPath<'a> {
    let path = memchr::memchr(b'?', path).map_or(path, |query| &path[..query]);
    if is_plain(path) || path == b"*" {
        let has_parameters = memchr::memchr(b';', path).is_some();
        return ComparedPath { bytes: path, is_escaped: false, has_parameters, has_dots: false };
    }
    let is_escaped = write_segments(path, buffer);
    // Dot segments can remove a segment with its parameters (`/docs/a/..;/../x`), so they are looked for before that.
    let has_parameters = memchr::memchr(b';', buffer).is_some();
    let has_dots = climbs(buffer);
    collapse(buffer);
    ComparedPath { bytes: buffer, is_escaped, has_parameters, has_dots }
}

/// Writes a path for readers that take parameters (`;x`) off each segment before they resolve it, as servers in Java do: they
/// read `/a/..;x/b;y` as `/b`. The dot segments are still there. False: the path has no parameters.
fn write_without_parameters(path: &[u8], buffer: &mut Vec<u8>) -> bool {
    write_segments(path, buffer);
    let mut in_parameters = false;
    let length = buffer.len();
    buffer.retain(|&byte| {
        in_parameters = byte == b';' || (in_parameters && byte != b'/');
        !in_parameters
    });
    buffer.len() < length
}

/// All readings of a path, for a directive that restricts: a server may take parameters off, or not, decode before or after it
/// looks for segments, take a backslash for a slash or not, and match prefixes before or after it resolves dot segments. A directive
/// that covered only one reading could be bypassed by another (`/api;x/y`, `/api/..%2fx`, `/x%2fy/../api/z`).
#[derive(Debug)]
pub struct EitherPath<'a> {
    form: &'a [u8],
    /// `None`: the path has no parameters, and one reading.
    without_parameters: Option<Vec<u8>>,
    /// The path with its dot segments, for each reading; empty if it has none.
    unresolved: Vec<Vec<u8>>,
    /// The path has too many readings: every directive covers it.
    is_obscure: bool,
}

impl<'a> EitherPath<'a> {
    /// The readings of the path of a request, with or without a query. Allocates only for a path with parameters or dot
    /// segments.
    pub fn new(path: &'a [u8], buffer: &'a mut Vec<u8>) -> EitherPath<'a> {
        let ComparedPath { bytes, has_parameters, has_dots, is_escaped: _ } = comparison_form(path, buffer);
        let (mut without_parameters, mut unresolved, mut is_obscure) = (None, Vec::new(), false);
        if has_parameters || has_dots {
            let path = memchr::memchr(b'?', path).map_or(path, |query| &path[..query]);
            let mut other = Vec::new();
            write_segments(path, &mut other);
            if climbs(&other) {
                unresolved.push(other.clone());
            }
            if write_without_parameters(path, &mut other) {
                if climbs(&other) {
                    unresolved.push(other.clone());
                }
                collapse(&mut other);
                without_parameters = Some(other);
            }
            let is_disputed = has_dots && memchr::memchr2(b'%', b'\\', path).is_some();
            is_obscure = is_disputed && path.len() > DISPUTED_BYTES_MAX;
            if is_disputed && !is_obscure {
                add_later_decodings(path, &mut unresolved);
            }
        }
        EitherPath { form: bytes, without_parameters, unresolved, is_obscure }
    }

    /// Whether there are several readings.
    pub fn is_ambiguous(&self) -> bool {
        self.without_parameters.is_some() || !self.unresolved.is_empty()
    }

    /// The comparison form.
    pub fn form(&self) -> &[u8] {
        self.form
    }

    /// Whether a reading begins with a prefix.
    pub fn is_below(&self, prefix: &[u8]) -> bool {
        let other = self.without_parameters.as_deref();
        self.is_obscure
            || self.form.starts_with(prefix)
            || other.is_some_and(|other| other.starts_with(prefix))
            || self.unresolved.iter().any(|path| passes(path, prefix))
    }

    /// The one reading for counters of each path: without parameters, because a client could have as many counters as it can
    /// invent parameters. For a server that distinguishes them the sum is counted.
    pub fn counted(&self) -> &[u8] {
        self.without_parameters.as_deref().unwrap_or(self.form)
    }
}

/// Adds the readings of a path by servers that look for segments before they have decoded all escapes, or for which a backslash is no
/// separator; with and without parameters.
fn add_later_decodings(path: &[u8], readings: &mut Vec<Vec<u8>>) {
    let mut decoded = path.to_vec();
    let has_backslash = |bytes: &[u8]| memchr::memchr(b'\\', bytes).is_some();
    for _ in 0..=ROUNDS_MAX {
        for backslash_separates in [true, false] {
            if backslash_separates || has_backslash(&decoded) {
                for takes_parameters_off in [false, true] {
                    let reading = segments_first(&decoded, backslash_separates, takes_parameters_off);
                    if !readings.contains(&reading) {
                        readings.push(reading);
                    }
                }
            }
        }
        if !decode(&mut decoded) {
            return;
        }
    }
}

/// Splits a path at its separators, and only then decodes each segment.
fn segments_first(path: &[u8], backslash_separates: bool, takes_parameters_off: bool) -> Vec<u8> {
    let mut reading = Vec::with_capacity(path.len() + 1);
    let mut decoded = Vec::new();
    for segment in path.split(|byte| *byte == b'/' || (backslash_separates && *byte == b'\\')) {
        decoded.clear();
        decoded.extend_from_slice(segment);
        for _ in 0..ROUNDS_MAX {
            decode(&mut decoded);
        }
        let end = memchr::memchr(b';', &decoded).filter(|_| takes_parameters_off);
        decoded.truncate(end.unwrap_or(decoded.len()));
        let keep = |byte: &u8| if matches!(byte, b'/' | b'\\') { NO_SEPARATOR } else { *byte };
        reading.push(b'/');
        reading.extend(decoded.iter().map(keep));
    }
    reading
}

/// Whether a decoded path has a segment `..`.
fn climbs(path: &[u8]) -> bool {
    memchr::memmem::find(path, b"/..").is_some()
        && path.split(|byte| *byte == b'/').any(|segment| segment == b"..")
}

/// Whether a decoded path leads through a folder below a prefix while its dot segments are resolved one after the other: there
/// are servers that resolve some of them before they match prefixes, and some behind (`/a/../api/..%2fx`).
fn passes(path: &[u8], prefix: &[u8]) -> bool {
    let mut folder = b"/".to_vec();
    for segment in path.split(|byte| *byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => {
                folder.pop();
                let parent = memchr::memrchr(b'/', &folder).map_or(0, |at| at + 1);
                folder.truncate(parent.max(1));
                if folder.is_empty() {
                    folder.push(b'/');
                }
            }
            _ => {
                folder.extend_from_slice(segment);
                folder.push(b'/');
            }
        }
        if folder.starts_with(prefix) {
            return true;
        }
    }
    false
}

/// Writes a path without its query, decoded, and with slashes for backslashes. Whether escapes are left.
fn write_segments(path: &[u8], buffer: &mut Vec<u8>) -> bool {
    buffer.clear();
    // A surplus slash makes an empty segment, which is removed.
    buffer.push(b'/');
    buffer.extend_from_slice(path);
    let mut rounds = 0;
    while rounds < ROUNDS_MAX && decode(buffer) {
        rounds += 1;
    }
    for byte in buffer.iter_mut().filter(|byte| **byte == b'\\') {
        *byte = b'/';
    }
    rounds == ROUNDS_MAX && first_escape(buffer).is_some()
}

/// Whether the comparison form of the path is the path.
pub fn is_plain(path: &[u8]) -> bool {
    let mut before = 0;
    let is_fine = |&byte: &u8| match std::mem::replace(&mut before, byte) {
        b'/' => !matches!(byte, b'%' | b'\\' | b'/' | b'.'),
        _ => !matches!(byte, b'%' | b'\\'),
    };
    path.first() == Some(&b'/') && path.iter().all(is_fine)
}

/// The position of the first escape.
pub fn first_escape(bytes: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'%', bytes).find(|&at| escape_at(bytes, at).is_some())
}

/// The byte that an escape at this place stands for. A percent sign without two hexadecimal digits stands for itself.
pub fn escape_at(bytes: &[u8], at: usize) -> Option<u8> {
    let &[b'%', high, low] = bytes.get(at..at + 3)? else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    Some((digit(high)? << 4 | digit(low)?) as u8)
}

/// Decodes every escape once, in place. False if there was none.
pub fn decode(bytes: &mut Vec<u8>) -> bool {
    let Some(first) = first_escape(bytes) else { return false };
    let (mut from, mut to) = (first, first);
    while from < bytes.len() {
        let decoded = escape_at(bytes, from);
        bytes[to] = decoded.unwrap_or(bytes[from]);
        from += if decoded.is_some() { 3 } else { 1 };
        to += 1;
    }
    bytes.truncate(to);
    true
}

/// Removes empty and dot segments, in place (RFC 3986 5.2.4, and slashes are merged). The path begins with a slash.
fn collapse(path: &mut Vec<u8>) {
    let (mut from, mut to) = (0, 0);
    while from < path.len() {
        // `from` is at a slash: the segment behind it ends at the next slash.
        let end = memchr::memchr(b'/', &path[from + 1..]).map_or(path.len(), |at| from + 1 + at);
        let is_last = end == path.len();
        match &path[from + 1..end] {
            b"" | b"." => {}
            b".." => to = memchr::memrchr(b'/', &path[..to]).unwrap_or(0),
            _ => {
                path.copy_within(from..end, to);
                to += end - from;
                from = end;
                continue;
            }
        }
        // A path with such a last segment names a folder.
        if is_last {
            path[to] = b'/';
            to += 1;
        }
        from = end;
    }
    path.truncate(to);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(path: &str) -> (String, bool) {
        let mut buffer = b"left over".to_vec();
        let found = comparison_form(path.as_bytes(), &mut buffer);
        (String::from_utf8_lossy(found.bytes).into_owned(), found.is_escaped)
    }

    #[test]
    fn guard_1_parameters_are_taken_off_for_readers_that_do_so() {
        for (path, expected) in [
            ("/a/b", "/a/b"),
            ("/a?b;c", "/a"),
            ("/a%20b", "/a b"),
            ("/forms;x/new", "/forms/new"),
            ("/x/..;a=b/forms/new;c=d?e;f", "/forms/new"),
            ("/forms%3bx/new", "/forms/new"),
            ("/x/%2e%2e%253b/forms\\new", "/forms/new"),
            ("/;/a", "/a"),
            (";", "/"),
        ] {
            let mut buffer = b"left over".to_vec();
            let found = EitherPath::new(path.as_bytes(), &mut buffer);
            assert_eq!(found.counted(), expected.as_bytes(), "{path}");
        }
    }

    #[test]
    fn guard_1_directives_that_restrict_cover_either_reading() {
        for (path, prefix, expected) in [
            ("/api/y", "/api/", true),
            ("/apis/y", "/api/", false),
            ("/api;x/y", "/api/", true),
            ("/api%3bx/y", "/api/", true),
            ("/x/..;/api/y", "/api/", true),
            ("/x/..;/api/y", "/x/", true),
            ("/;/api/y", "/api/", true),
            ("/x/y?;/../api/y", "/api/", false),
            ("/x/y;/../api/y", "/api/", false),
            ("*", "/", false),
            // Servers that match before they resolve, or resolve a part before.
            ("/api/../x", "/api/", true),
            ("/api/..%2fx", "/api/", true),
            ("/api/%252e%252e/x", "/api/", true),
            ("/a/../api/..%2fx", "/api/", true),
            ("/../api/b/../../x", "/api/", true),
            ("/api;y/..%2fx", "/api/", true),
            ("/api/..;/x", "/api/", true),
            ("/api\\..\\x", "/api/", true),
            ("/apis/../x", "/api/", false),
            ("/x/../y", "/api/", false),
            ("/x/..api/y", "/api/", false),
            ("/x/..", "/x/", true),
            // Servers that decode later, or do not take a backslash or an encoded slash for a separator.
            ("/x%252fy/../api/z", "/api/", true),
            ("/x%2fy/../api/z", "/api/", true),
            ("/x%5cy/../api/z", "/api/", true),
            ("/x\\y/../api/z", "/api/", true),
            ("/x%2f%2e%2e/../api/z", "/api/", true),
            ("/a/x%252fy/../b/c", "/a/b/", true),
            ("/a/x\\y;1/../b;2/c", "/a/b/", true),
            ("/a/x%252fy/../b/c", "/c/", false),
            ("/x%20y/../apis/z", "/api/", false),
            ("/x%2fapi/y", "/api/", false),
        ] {
            let mut buffer = b"left over".to_vec();
            let found = EitherPath::new(path.as_bytes(), &mut buffer);
            assert_eq!(found.is_below(prefix.as_bytes()), expected, "{path} {prefix}");
        }
    }

    #[test]
    fn guard_1_a_long_path_with_disputed_segments_is_covered() {
        let long = "/x".repeat(DISPUTED_BYTES_MAX / 2);
        for (path, expected) in [
            (format!("{long}%2fy/../z"), true),
            (format!("{long}/y/../z"), false),
            (format!("{long}%2fy/z"), false),
        ] {
            let mut buffer = Vec::new();
            assert_eq!(EitherPath::new(path.as_bytes(), &mut buffer).is_below(b"/api/"), expected, "{path}");
        }
    }

    #[test]
    fn guard_5_counters_of_each_path_see_no_parameters() {
        for (path, expected) in [
            ("/api/y", "/api/y"),
            ("/api/y?a;b", "/api/y"),
            ("/api/y;1", "/api/y"),
            ("/api;2/y;3=4", "/api/y"),
            ("/x/%2e%2e;5/api/y", "/api/y"),
            ("*", "*"),
        ] {
            let mut buffer = Vec::new();
            let found = EitherPath::new(path.as_bytes(), &mut buffer);
            assert_eq!(found.counted(), expected.as_bytes(), "{path}");
        }
    }

    #[test]
    fn guard_1_parameters_of_segments_are_noticed_before_dots_remove_them() {
        for (path, expected) in [
            ("/docs/x", false),
            ("/docs/x?a;b", false),
            ("*", false),
            ("/docs/x;y", true),
            ("/docs/..;/x", true),
            ("/docs/%2e%2e%3b/x", true),
            ("/docs/a/..;/../x", true),
        ] {
            assert_eq!(comparison_form(path.as_bytes(), &mut Vec::new()).has_parameters, expected, "{path}");
        }
    }

    #[test]
    fn guard_1_spellings_of_a_path_are_one() {
        let cases = [
            ("", "/"),
            ("/", "/"),
            ("?", "/"),
            ("?a=/../b", "/"),
            ("*", "*"),
            ("/api/x", "/api/x"),
            ("/api/x?/../y", "/api/x"),
            ("/%61pi/x", "/api/x"),
            ("/%41PI/x", "/API/x"),
            ("/%2561pi/x", "/api/x"),
            ("/%25252561pi/x", "/api/x"),
            ("//api/x", "/api/x"),
            ("/api//x", "/api/x"),
            ("/api///", "/api/"),
            ("/x/../api/", "/api/"),
            ("/x/..%2fapi/", "/api/"),
            ("/x%2F%2e%2e%2Fapi/", "/api/"),
            ("/x/%252e%252E/api/", "/api/"),
            ("/x/..\\api\\y", "/api/y"),
            ("/x/..%5Capi%5cy", "/api/y"),
            ("/./api/./x", "/api/x"),
            ("/api/x/.", "/api/x/"),
            ("/api/x/..", "/api/"),
            ("/api/..", "/"),
            ("/../../api", "/api"),
            ("/api/../..", "/"),
            ("/.", "/"),
            ("/..", "/"),
            ("/a/b/../../c/./../d", "/d"),
            ("/.well-known/x", "/.well-known/x"),
            ("/..x/...", "/..x/..."),
            ("/api;v=1/x", "/api;v=1/x"),
            ("/100%", "/100%"),
            ("/100%25", "/100%"),
            ("/%zz/%6", "/%zz/%6"),
            ("/a%3Fb", "/a?b"),
            ("/a%3Fb?c", "/a?b"),
            ("api", "/api"),
            ("%2Fapi", "/api"),
        ];
        for (path, expected) in cases {
            assert_eq!(form(path), (expected.to_owned(), false), "{path}");
            // The form of a form is the form, unless it has a question mark or an escape by then.
            if !expected.contains(['?', '%']) {
                assert_eq!(form(expected).0, expected, "{path}");
            }
        }
    }

    #[test]
    fn guard_1_escapes_that_are_left_are_reported() {
        assert_eq!(form("/%2525252561"), ("/%61".into(), true));
        assert_eq!(form("/%25252561"), ("/a".into(), false));
        assert_eq!(form("/%25252525"), ("/%".into(), false));
        assert_eq!(form("/%252525252e%252525252e/x"), ("/%2e%2e/x".into(), true));
    }

    #[test]
    fn plain_paths_leave_the_buffer_alone() {
        for path in ["/", "/api/x.html", "/a-b_c~d/e.f", "/api/x?a=%2e%2e", "/*", "*"] {
            let mut buffer = Vec::new();
            assert!(!comparison_form(path.as_bytes(), &mut buffer).bytes.is_empty());
            assert_eq!(buffer.capacity(), 0, "{path}");
        }
    }
}
