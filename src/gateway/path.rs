//! The meaning of the path of a request, for the choice of its route.
//!
//! weir forwards the bytes of a path unchanged, and each upstream decodes them in its own way: many decode escapes once, some
//! twice, some read a backslash as a slash, some (Tomcat) `..;` as `..`. If weir chose a route by one reading and the
//! upstream used another, a request could bypass the route that it was judged by: `/api/%2e%2e/admin`. So a path has two
//! readings, both after decoding as often as possible: by its *letters*, where `..` is a segment like any other, and
//! *resolved*. A path is refused if the two readings lead to different routes, or if the resolved one is above the prefix of
//! its route. A server that decodes less often, or for which a backslash or `%2f` is no separator, sees fewer segments for `..` to
//! remove (`/api/x%2fy/../../admin`): so `..` may not stand beside escapes, backslashes and parameters, and the prefix of the
//! route must have real slashes and escapes of one round at most. Servers in Java take parameters (`;x`) off each segment, others do not: a path with parameters has two readings
//! more, without them, and is refused if these lead elsewhere. Bytes that no path needs and that end a text (`%00`) or a line (`%0d`, `%0a`) in careless programs are refused,
//! too.
//!
//! Several slashes in a row are one, as for the guard (`http::path`). Letters keep their case.

use crate::http::path::{ROUNDS_MAX, decode, escape_at, first_escape, is_plain};

/// The reason why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathFault {
    /// The path contains an encoded NUL.
    Nul,
    /// The path contains an encoded CR or LF.
    LineBreak,
    /// The path is encoded more than [`ROUNDS_MAX`] times, contains overlong UTF-8 or escapes such as `%u002e`, has `..` beside
    /// escapes, backslashes or parameters, or spells the prefix of its route with other than simple escapes: readers disagree about
    /// such paths.
    Encoding,
    /// The dot segments of the path lead above the prefix of its route, or to another route.
    Climbs,
    /// Without parameters (`;x`) the path has another route, or leads above the prefix of its route.
    Parameters,
}

impl PathFault {
    /// The name of the rule, for logs.
    pub fn rule(self) -> &'static str {
        match self {
            PathFault::Nul => "path_nul",
            PathFault::LineBreak => "path_line_break",
            PathFault::Encoding => "path_encoding",
            PathFault::Climbs => "path_climbs",
            PathFault::Parameters => "path_parameters",
        }
    }
}

/// The two readings of a path: each begins with a slash, and has neither empty segments nor `.`. A slash at the end has no
/// meaning: routes end between segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readings<'a> {
    /// `..` is a segment.
    pub letters: &'a [u8],
    /// The path without `..`; equal to the letters if these have none.
    pub resolved: &'a [u8],
}

impl Readings<'_> {
    /// Whether the path has `..` segments.
    pub fn has_parents(&self) -> bool {
        self.letters.len() != self.resolved.len()
    }

    /// Whether the path, inside of that many bytes of its letters, leads above them on its way.
    pub fn climbs_above(&self, prefix_bytes: usize) -> bool {
        if !self.has_parents() {
            return false;
        }
        let mut depth = 0_usize;
        let below = self.letters.get(prefix_bytes..).unwrap_or_default();
        for segment in below.split(|&byte| byte == b'/').filter(|segment| !segment.is_empty()) {
            match (segment, depth) {
                (b"..", 0) => return true,
                (b"..", _) => depth -= 1,
                (_, _) => depth += 1,
            }
        }
        false
    }
}

/// Path and query of a target, split at the question mark, which stays with the query.
pub fn split_query(target: &[u8]) -> (&[u8], &[u8]) {
    target.split_at(memchr::memchr(b'?', target).unwrap_or(target.len()))
}

/// Reads a path without its query. An empty one is `/`. A path that has no escapes, dot segments and the like is not copied.
pub fn read<'a>(path: &'a [u8], buffer: &'a mut Vec<u8>) -> Result<Readings<'a>, PathFault> {
    if path.is_empty() {
        return Ok(Readings { letters: b"/", resolved: b"/" });
    }
    if is_plain(path) && (path.is_ascii() || !has_overlong(path)) {
        return Ok(Readings { letters: path, resolved: path });
    }
    buffer.clear();
    buffer.extend_from_slice(path);
    decode_all(buffer)?;
    let decoded = buffer.len();
    let has_parents = write_letters(buffer, decoded);
    let letters = buffer.len();
    if has_parents {
        write_resolved(buffer, decoded, letters)?;
    }
    let letters = decoded..letters;
    let resolved = if has_parents { letters.end..buffer.len() } else { letters.clone() };
    Ok(Readings { letters: &buffer[letters], resolved: &buffer[resolved] })
}

/// Whether servers disagree about the segments that `..` in this path removes: they decode once or more often, before or after they
/// look for segments, take a backslash for a slash or not, and parameters off or not: then `..;` is `..`, and `;x` nothing.
pub fn has_disputed_segments(path: &[u8]) -> bool {
    let changes = |segment: &[u8]| {
        let end = memchr::memchr(b';', segment);
        end.is_some_and(|end| matches!(&segment[..end], b"" | b"." | b".."))
    };
    memchr::memchr2(b'%', b'\\', path).is_some() || path.split(|byte| *byte == b'/').any(changes)
}

/// The readings by servers that take parameters off each segment, of the letters of a path. `None`: it has no parameters.
pub fn without_parameters<'a>(
    letters: &[u8],
    buffer: &'a mut Vec<u8>,
) -> Option<Result<Readings<'a>, PathFault>> {
    memchr::memchr(b';', letters)?;
    buffer.clear();
    for segment in letters.split(|byte| *byte == b'/') {
        let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
        if !name.is_empty() {
            buffer.push(b'/');
            buffer.extend_from_slice(name);
        }
    }
    if buffer.is_empty() {
        buffer.push(b'/');
    }
    let letters = buffer.len();
    let resolved = write_resolved(buffer, 0, letters);
    Some(resolved.map(|()| Readings { letters: &buffer[..letters], resolved: &buffer[letters..] }))
}

/// Decodes until nothing changes.
fn decode_all(buffer: &mut Vec<u8>) -> Result<(), PathFault> {
    for _ in 0..ROUNDS_MAX {
        if has_overlong(buffer) {
            return Err(PathFault::Encoding);
        }
        if !decode(buffer) {
            return if has_wide_escape(buffer) { Err(PathFault::Encoding) } else { Ok(()) };
        }
        if memchr::memchr(0, buffer).is_some() {
            return Err(PathFault::Nul);
        }
        if memchr::memchr2(b'\r', b'\n', buffer).is_some() {
            return Err(PathFault::LineBreak);
        }
    }
    if first_escape(buffer).is_some() || has_overlong(buffer) { Err(PathFault::Encoding) } else { Ok(()) }
}

/// Whether the bytes contain overlong UTF-8: two bytes for ASCII, three where two suffice, four where three suffice (RFC 3629
/// section 3), or the forms of five and six bytes that UTF-8 once had.
fn has_overlong(bytes: &[u8]) -> bool {
    let is_overlong = |two: &[u8]| {
        matches!(two, [0xC0 | 0xC1, 0x80..=0xBF] | [0xE0, 0x80..=0x9F] | [0xF0, 0x80..=0x8F])
            || matches!(two, [0xF8, 0x80..=0x87] | [0xFC, 0x80..=0x83])
    };
    bytes.windows(2).any(is_overlong)
}

/// Whether the bytes contain an escape such as `%u002e`, which IIS and old frameworks decode, and other servers do not.
fn has_wide_escape(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'%', bytes).any(|at| match bytes.get(at + 1..at + 6) {
        Some([b'u' | b'U', digits @ ..]) => digits.iter().all(u8::is_ascii_hexdigit),
        Some(_) | None => false,
    })
}

/// Appends the letters of the first `decoded` bytes of the buffer. Returns whether there are `..` segments.
fn write_letters(buffer: &mut Vec<u8>, decoded: usize) -> bool {
    let (mut at, mut has_parents) = (0, false);
    while at < decoded {
        let len = memchr::memchr2(b'/', b'\\', &buffer[at..decoded]).unwrap_or(decoded - at);
        let segment = at..at + len;
        at = segment.end + 1;
        match dots(&buffer[segment.clone()]) {
            Dots::None if segment.is_empty() => {}
            Dots::None => {
                buffer.push(b'/');
                buffer.extend_from_within(segment);
            }
            Dots::Here => {}
            Dots::Parent => {
                buffer.extend_from_slice(b"/..");
                has_parents = true;
            }
        }
    }
    if buffer.len() == decoded {
        buffer.push(b'/');
    }
    has_parents
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dots {
    None,
    Here,
    Parent,
}

/// The meaning of a segment, without parameters: Tomcat removes them before it resolves.
fn dots(segment: &[u8]) -> Dots {
    match segment {
        b"." | [b'.', b';', ..] => Dots::Here,
        b".." | [b'.', b'.', b';', ..] => Dots::Parent,
        _ => Dots::None,
    }
}

/// Appends the resolved form of the letters.
fn write_resolved(buffer: &mut Vec<u8>, letters: usize, end: usize) -> Result<(), PathFault> {
    let mut at = letters;
    while at < end {
        // `at` is at a slash: the segment behind it ends at the next slash.
        let next = memchr::memchr(b'/', &buffer[at + 1..end]).map_or(end, |len| at + 1 + len);
        match &buffer[at + 1..next] {
            b".." => {
                let above = memchr::memrchr(b'/', &buffer[end..]).ok_or(PathFault::Climbs)?;
                buffer.truncate(end + above);
            }
            _ => buffer.extend_from_within(at..next),
        }
        at = next;
    }
    if buffer.len() == end {
        buffer.push(b'/');
    }
    Ok(())
}

/// The position behind a prefix that the letters of the path begin with; the prefix has no slash at its end. `None` if the
/// path spells the prefix other than with its letters, simple escapes and additional slashes.
pub fn behind_prefix(path: &[u8], prefix: &[u8]) -> Option<usize> {
    if path.starts_with(prefix) && matches!(path.get(prefix.len()), None | Some(b'/')) {
        return Some(past_slashes(path, prefix.len()));
    }
    let mut at = 0;
    for &wanted in prefix {
        match path.get(at..) {
            Some([b'/', ..]) if wanted == b'/' => at = past_slashes(path, at) + 1,
            Some([byte, ..]) if *byte == wanted && wanted != b'/' => at += 1,
            Some([b'%', ..]) if wanted != b'/' && escape_at(path, at) == Some(wanted) => {
                at += 3;
            }
            Some(_) | None => return None,
        }
    }
    matches!(path.get(at), None | Some(b'/')).then(|| past_slashes(path, at))
}

/// The last of the slashes at `at`, so that the rest of a path does not begin with two.
fn past_slashes(path: &[u8], mut at: usize) -> usize {
    while path.get(at..at + 2) == Some(b"//") {
        at += 1;
    }
    at
}

#[cfg(test)]
#[path = "path_tests.rs"]
mod tests;
