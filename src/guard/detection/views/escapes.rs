//! Escapes of URLs, HTML, JavaScript, JSON, CSS and shells: decodes one layer of each.

/// Names of HTML that stand for characters of attacks.
const ENTITIES: [(&[u8], u8); 34] = [
    (b"lt", b'<'),
    (b"gt", b'>'),
    (b"quot", b'"'),
    (b"apos", b'\''),
    (b"amp", b'&'),
    (b"nbsp", b' '),
    (b"lpar", b'('),
    (b"rpar", b')'),
    (b"colon", b':'),
    (b"semi", b';'),
    (b"tab", b'\t'),
    (b"newline", b'\n'),
    (b"sol", b'/'),
    (b"bsol", b'\\'),
    (b"lbrace", b'{'),
    (b"lcub", b'{'),
    (b"rbrace", b'}'),
    (b"rcub", b'}'),
    (b"lsqb", b'['),
    (b"lbrack", b'['),
    (b"rsqb", b']'),
    (b"rbrack", b']'),
    (b"grave", b'`'),
    (b"equals", b'='),
    (b"period", b'.'),
    (b"comma", b','),
    (b"excl", b'!'),
    (b"num", b'#'),
    (b"dollar", b'$'),
    (b"percnt", b'%'),
    (b"ast", b'*'),
    (b"plus", b'+'),
    (b"lowbar", b'_'),
    (b"vert", b'|'),
];

/// The entities that browsers accept without a semicolon, by their indices.
const BARE_ENTITIES: usize = 5;

/// Longest name or number of an entity that is read (chosen): browsers read more leading zeros than an attack needs.
const ENTITY_BYTES_MAX: usize = 24;

/// Writes the decoded text to `out`, if it contains an escape.
pub(super) fn decode(text: &[u8], out: &mut Vec<u8>) -> bool {
    let next = |at: usize| memchr::memchr3(b'%', b'&', b'\\', &text[at..]).map(|len| at + len);
    let (mut at, mut copied, mut changed) = (0, 0, false);
    while let Some(escape) = next(at) {
        let rest = &text[escape..];
        let found = match rest[0] {
            b'%' => percent(rest),
            b'&' => entity(rest),
            _ => backslash(rest),
        };
        at = escape + 1;
        if let Some((code, len)) = found {
            if !std::mem::replace(&mut changed, true) {
                out.clear();
            }
            out.extend_from_slice(&text[copied..escape]);
            put(code, out);
            at = escape + len;
            copied = at;
        }
    }
    if changed {
        out.extend_from_slice(&text[copied..]);
    }
    changed
}

/// The meaning of an escape.
#[derive(Clone, Copy)]
enum Code {
    Byte(u8),
    Char(u32),
}

fn put(code: Code, out: &mut Vec<u8>) {
    match code {
        Code::Byte(byte) => out.push(byte),
        // Half of a pair stands for nothing.
        Code::Char(code) => {
            let char = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
            out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

fn digit(byte: u8) -> Option<u32> {
    char::from(byte).to_digit(16)
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0u32, |sum, byte| Some(sum.checked_mul(16)? + digit(*byte)?))
}

fn percent(rest: &[u8]) -> Option<(Code, usize)> {
    if let [_, b'u' | b'U', a, b, c, d, ..] = *rest {
        if let Some(code) = hex(&[a, b, c, d]) {
            return Some((Code::Char(code), 6));
        }
    }
    let byte = hex(rest.get(1..3)?)?;
    Some((Code::Byte(byte as u8), 3))
}

fn backslash(rest: &[u8]) -> Option<(Code, usize)> {
    match *rest.get(1)? {
        b'x' | b'X' => {
            let byte = hex(rest.get(2..4)?)?;
            Some((Code::Byte(byte as u8), 4))
        }
        b'u' if rest.get(2) == Some(&b'{') => {
            let end = rest.iter().take(12).position(|byte| *byte == b'}')?;
            let code = hex(rest.get(3..end)?).filter(|_| end > 3)?;
            Some((Code::Char(code), end + 1))
        }
        b'u' | b'U' => Some((Code::Char(hex(rest.get(2..6)?)?), 6)),
        // Octal digits of a character of ASCII.
        b'0' | b'1'
            if rest.get(2..4).is_some_and(|digits| digits.iter().all(|d| (b'0'..b'8').contains(d))) =>
        {
            let value = rest[1..4].iter().fold(0u32, |sum, byte| sum * 8 + u32::from(byte - b'0'));
            Some((Code::Byte(value as u8), 4))
        }
        // Two digits: only for characters of attacks, so that names of folders stay.
        b'2'..=b'7' => {
            let byte = hex(rest.get(1..3)?)? as u8;
            byte.is_ascii_punctuation().then_some((Code::Byte(byte), 3))
        }
        _ => None,
    }
}

fn entity(rest: &[u8]) -> Option<(Code, usize)> {
    let body = &rest[1..rest.len().min(ENTITY_BYTES_MAX)];
    if let Some(number) = body.strip_prefix(b"#") {
        let (radix, digits, before) = match number.first()? {
            b'x' | b'X' => (16, &number[1..], 3),
            _ => (10, number, 2),
        };
        let len = digits.iter().take_while(|byte| char::from(**byte).is_digit(radix)).count();
        let value = digits[..len].iter().try_fold(0u32, |sum, byte| {
            sum.checked_mul(radix)?.checked_add(char::from(*byte).to_digit(radix)?)
        });
        let code = value.filter(|_| len > 0)?;
        let closed = usize::from(digits.get(len) == Some(&b';'));
        return Some((Code::Char(code), before + len + closed));
    }
    let len = body.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    if body.get(len) == Some(&b';') {
        let found = ENTITIES.iter().find(|(name, _)| name.eq_ignore_ascii_case(&body[..len]));
        return found.map(|(_, byte)| (Code::Byte(*byte), len + 2));
    }
    let bare = ENTITIES[..BARE_ENTITIES].iter();
    let found =
        bare.filter(|(name, _)| *name != b"apos").find(|(name, _)| body[..len].eq_ignore_ascii_case(name));
    found.map(|(name, byte)| (Code::Byte(*byte), name.len() + 1))
}
