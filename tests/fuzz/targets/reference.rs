//! A plain reader of HTTP/1.1 to hold the real one against: it has everything at once, copies freely, knows no limits, and shares no
//! code with what it judges. Where RFC 9112 leaves a choice it reads as the rule book says: strictly.

/// Name and value.
pub type Field = (Vec<u8>, Vec<u8>);

/// A head: its first line and its fields.
pub type Head = (Vec<u8>, Vec<Field>);

/// A request as an origin would see it.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    pub line: Vec<u8>,
    pub host: Vec<u8>,
    pub body: Vec<u8>,
}

pub fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| is_tchar(*byte))
}

pub fn is_text(text: &[u8]) -> bool {
    text.iter().all(|byte| *byte == b'\t' || (*byte >= 0x20 && *byte != 0x7F))
}

pub fn trim(text: &[u8]) -> &[u8] {
    let blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
    let start = text.iter().position(|byte| !blank(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    &text[start..end]
}

/// A line without its CRLF, and what follows.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    Some((&bytes[..end], &bytes[end + 2..]))
}

/// The head at the start of `bytes`, and what follows; None if there is none.
pub fn head(bytes: &[u8]) -> Option<(Head, &[u8])> {
    let (first, mut rest) = line(bytes)?;
    if !is_text(first) {
        return None;
    }
    let mut fields = Vec::new();
    loop {
        let (field, after) = line(rest)?;
        rest = after;
        if field.is_empty() {
            return Some(((first.to_vec(), fields), rest));
        }
        let colon = field.iter().position(|byte| *byte == b':')?;
        let (name, value) = (&field[..colon], &field[colon + 1..]);
        if !is_token(name) || !is_text(value) {
            return None;
        }
        fields.push((name.to_vec(), trim(value).to_vec()));
    }
}

/// Method, target and minor version of a request line.
pub fn request_line(line: &[u8]) -> Option<(&[u8], &[u8], u8)> {
    let parts: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let [method, target, version] = parts[..] else { return None };
    let [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ b'0'..=b'9'] = version else { return None };
    let visible = target.iter().all(|byte| *byte > b' ' && *byte != 0x7F);
    (is_token(method) && !target.is_empty() && visible).then_some((method, target, minor - b'0'))
}

/// Minor version, status and reason of a status line.
pub fn status_line(line: &[u8]) -> Option<(u8, u16, &[u8])> {
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let [minor @ b'0'..=b'9', b' ', a, b, c, reason @ ..] = rest else { return None };
    let digits = [a, b, c];
    let status = digits.iter().try_fold(0u16, |status, digit| {
        digit.is_ascii_digit().then(|| status * 10 + u16::from(**digit - b'0'))
    })?;
    let reason = match reason {
        [] => reason,
        [b' ', reason @ ..] => reason,
        _ => return None,
    };
    (status >= 100).then_some((minor - b'0', status, reason))
}

/// All values of a name.
pub fn values<'a>(fields: &'a [Field], name: &str) -> Vec<&'a [u8]> {
    let same = |field: &&Field| field.0.eq_ignore_ascii_case(name.as_bytes());
    fields.iter().filter(same).map(|field| &field.1[..]).collect()
}

/// The members of a list (RFC 9110 section 5.6.1), quotes respected.
pub fn members(value: &[u8]) -> Vec<Vec<u8>> {
    let mut found = vec![Vec::new()];
    let (mut quoted, mut escaped) = (false, false);
    for byte in value {
        if *byte == b',' && !quoted {
            found.push(Vec::new());
            continue;
        }
        (quoted, escaped) = match (quoted, escaped, byte) {
            (true, true, _) => (true, false),
            (true, false, b'\\') => (true, true),
            (_, _, b'"') => (!quoted, false),
            _ => (quoted, false),
        };
        found.last_mut().expect("one at least").push(*byte);
    }
    let trimmed = found.iter().map(|member| trim(member).to_vec());
    trimmed.filter(|member| !member.is_empty()).collect()
}

/// The members of all fields of a name.
pub fn all_members(fields: &[Field], name: &str) -> Vec<Vec<u8>> {
    values(fields, name).into_iter().flat_map(members).collect()
}

pub fn has_member(fields: &[Field], name: &str, member: &str) -> bool {
    all_members(fields, name).iter().any(|found| found.eq_ignore_ascii_case(member.as_bytes()))
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    None,
    Length(u64),
    Chunked,
}

/// The framing by the fields (RFC 9112 section 6); `None` where two readers could differ.
pub fn framing(minor: u8, fields: &[Field]) -> Option<Framing> {
    let codings = values(fields, "transfer-encoding");
    let lengths = values(fields, "content-length");
    if codings.is_empty() {
        let parts: Vec<&[u8]> = lengths.iter().flat_map(|value| value.split(|byte| *byte == b',')).collect();
        let numbers: Option<Vec<u64>> = parts.iter().map(|part| number(trim(part))).collect();
        return match &numbers?[..] {
            [] => Some(Framing::None),
            [first, rest @ ..] => rest.iter().all(|other| other == first).then_some(Framing::Length(*first)),
        };
    }
    (lengths.is_empty() && minor > 0 && is_only_chunked(fields)).then_some(Framing::Chunked)
}

/// The same for a response: chunked counts whatever else is said.
pub fn response_framing(minor: u8, fields: &[Field]) -> Option<Framing> {
    if values(fields, "transfer-encoding").is_empty() {
        return framing(minor, fields);
    }
    is_only_chunked(fields).then_some(Framing::Chunked)
}

fn is_only_chunked(fields: &[Field]) -> bool {
    let members = all_members(fields, "transfer-encoding");
    members.len() == 1 && members[0].eq_ignore_ascii_case(b"chunked")
}

fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok().filter(|number| *number <= i64::MAX as u64)
}

/// How far a chunked body went.
#[derive(Debug, PartialEq, Eq)]
pub enum Chunked {
    /// Payload, trailer lines with their CRLFs, bytes of coding.
    Complete(Vec<u8>, Vec<u8>, usize),
    /// More is to come, as far as can be said.
    Incomplete,
    Malformed,
}

/// Decodes a chunked body (RFC 9112 section 7.1); of a response it reads the trailers as a proxy puts them right.
pub fn chunked(bytes: &[u8], response: bool) -> Chunked {
    let (mut rest, mut payload, mut trailers) = (bytes, Vec::new(), Vec::new());
    loop {
        let Some((header, after)) = line(rest) else { return Chunked::Incomplete };
        let Some(size) = chunk_size(header) else { return Chunked::Malformed };
        rest = after;
        if size == 0 {
            break;
        }
        if size > rest.len() as u64 {
            return Chunked::Incomplete;
        }
        let (chunk, after) = rest.split_at(size as usize);
        payload.extend_from_slice(chunk);
        rest = match after {
            [b'\r', b'\n', after @ ..] => after,
            [] | [b'\r'] => return Chunked::Incomplete,
            _ => return Chunked::Malformed,
        };
    }
    let mut lines = Vec::new();
    loop {
        let Some((trailer, after)) = line(rest) else { return Chunked::Incomplete };
        rest = after;
        if trailer.is_empty() {
            break;
        }
        lines.push(trailer.to_vec());
    }
    for trailer in if response { unfolded(&lines) } else { lines } {
        let name = trailer.split(|byte| *byte == b':').next().unwrap_or_default();
        if !trailer.contains(&b':') || !is_token(name) || !is_text(&trailer) {
            return Chunked::Malformed;
        }
        trailers.extend_from_slice(&trailer);
        trailers.extend_from_slice(b"\r\n");
    }
    Chunked::Complete(payload, trailers, bytes.len() - rest.len())
}

/// The field lines of a response as a proxy reads them (RFC 9112 sections 5.1 and 5.2): each fold as two blanks, and none
/// before a colon.
fn unfolded(lines: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut out: Vec<Vec<u8>> = Vec::new();
    for line in lines {
        if let (Some(before), Some(b' ' | b'\t')) = (out.last_mut(), line.first()) {
            before.extend_from_slice(b"  ");
            before.extend_from_slice(line);
            continue;
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(0);
        let name = trim(&line[..colon]);
        let plain = line.starts_with(name) && is_token(name);
        out.push(if plain { [name, &line[colon..]].concat() } else { line.clone() });
    }
    out
}

/// A head with its field lines so.
pub fn repaired(head: &[u8]) -> Vec<u8> {
    let mut lines = Vec::new();
    let mut rest = head;
    while let Some((line, after)) = line(rest) {
        lines.push(line.to_vec());
        rest = after;
    }
    let fields = unfolded(lines.get(1..).unwrap_or_default());
    let lines = lines.first().into_iter().chain(&fields);
    lines.flat_map(|line| [line, &b"\r\n"[..]].concat()).collect()
}

fn chunk_size(header: &[u8]) -> Option<u64> {
    let digits = header.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(header.len());
    let (digits, extensions) = header.split_at(digits);
    if digits.is_empty() || !are_extensions(extensions) {
        return None;
    }
    let value = digits.iter().position(|byte| *byte != b'0').map_or(&b"0"[..], |at| &digits[at..]);
    let size = u64::from_str_radix(std::str::from_utf8(value).ok()?, 16).ok()?;
    (size <= i64::MAX as u64).then_some(size)
}

/// `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] ) BWS`.
fn are_extensions(mut rest: &[u8]) -> bool {
    let token = |text: &[u8]| text.iter().position(|byte| !is_tchar(*byte)).unwrap_or(text.len());
    while !skip_blanks(rest).is_empty() {
        let Some(name) = skip_blanks(rest).strip_prefix(b";").map(skip_blanks) else { return false };
        let len = token(name);
        if len == 0 {
            return false;
        }
        rest = &name[len..];
        let Some(value) = skip_blanks(rest).strip_prefix(b"=").map(skip_blanks) else { continue };
        let len = if value.starts_with(b"\"") { quoted(value) } else { token(value) };
        if len == 0 {
            return false;
        }
        rest = &value[len..];
    }
    true
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| *byte != b' ' && *byte != b'\t').unwrap_or(text.len());
    &text[start..]
}

/// The length of the quoted string that begins here; 0 if it has no end, or holds what it must not.
fn quoted(text: &[u8]) -> usize {
    let mut at = 1;
    while at < text.len() {
        match text[at] {
            b'"' => return if is_text(&text[..at]) { at + 1 } else { 0 },
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    0
}

/// All requests on a connection, as an origin reads them. None where it would have to refuse one.
pub fn requests(mut bytes: &[u8]) -> Option<Vec<Request>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let ((line, fields), rest) = head(bytes)?;
        let (_, _, minor) = request_line(&line)?;
        let [host] = values(&fields, "host")[..] else { return None };
        let (body, consumed) = match framing(minor, &fields)? {
            Framing::None => (Vec::new(), 0),
            Framing::Length(length) => {
                let length = usize::try_from(length).ok()?;
                (rest.get(..length)?.to_vec(), length)
            }
            Framing::Chunked => match chunked(rest, false) {
                Chunked::Complete(payload, _, consumed) => (payload, consumed),
                Chunked::Incomplete | Chunked::Malformed => return None,
            },
        };
        found.push(Request { host: host.to_vec(), line, body });
        bytes = &rest[consumed..];
    }
    Some(found)
}
