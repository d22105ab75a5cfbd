//! JSON inside of a value, as the texts in it.

/// Most texts in one value (chosen); beyond it the value is scanned as one text.
const LEAVES_MAX: usize = 4096;

/// The keys and leaves of a value that is an object or a list. `None` if it is neither, is malformed, or is too deep: then it
/// is scanned as text.
pub(super) fn leaves(value: &[u8], depth_max: usize) -> Option<Vec<Vec<u8>>> {
    let text = value.trim_ascii();
    if !matches!((text.first()?, text.last()?), (b'{', b'}') | (b'[', b']')) {
        return None;
    }
    let mut found = Vec::new();
    let (mut at, mut depth) = (0, 0usize);
    while at < text.len() {
        match text[at] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            b'"' => {
                let end = string_end(text, at)?;
                found.push(unescaped(&text[at + 1..end]));
                at = end;
            }
            b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' => {}
            // Numbers and literals contain no attack; any other text is no JSON.
            b'0'..=b'9' | b'-' | b'+' | b'.' | b'a'..=b'z' | b'E' => at = bare_end(text, at)?,
            _ => return None,
        }
        if depth > depth_max || found.len() > LEAVES_MAX || (depth == 0 && at + 1 < text.len()) {
            return None;
        }
        at += 1;
    }
    (depth == 0).then_some(found)
}

/// The last byte of a number, or of `true`, `false` or `null`.
fn bare_end(text: &[u8], at: usize) -> Option<usize> {
    let len =
        text[at..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte)).count();
    let word = &text[at..at + len];
    let is_number = word.iter().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(byte));
    (is_number || matches!(word, b"true" | b"false" | b"null")).then_some(at + len - 1)
}

/// The quote that ends the string which begins at this quote.
fn string_end(text: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        match text[at] {
            b'"' => return Some(at),
            _ => at += 2,
        }
    }
}

/// The text of a string. Escapes of characters are left to the views, which decode them.
fn unescaped(string: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(string.len());
    let mut bytes = string.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => match bytes.next() {
                Some(b'n') => out.push(b'\n'),
                Some(b'r') => out.push(b'\r'),
                Some(b't') => out.push(b'\t'),
                Some(b'b' | b'f') => out.push(b' '),
                Some(b'u') => out.extend_from_slice(b"\\u"),
                Some(other) => out.push(*other),
                None => {}
            },
            other => out.push(*other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(value: &str) -> Option<String> {
        let found = leaves(value.as_bytes(), 4)?;
        Some(
            found.iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect::<Vec<_>>().join("|"),
        )
    }

    #[test]
    fn guard_11_json_inside_a_value_is_walked() {
        assert_eq!(
            texts(" {\"a\":[1, -2.5e3,true,\"b\\n\\\"\\u0027\"]} ").as_deref(),
            Some("a|b\n\"\\u0027")
        );
        assert_eq!(texts("[]").as_deref(), Some(""));
        for broken in
            ["", "a", "{", "{]x}", "{\"a}", "[a-b]", "[[[[[1]]]]]", "{}{}", "{{x}}", "{\"a\":'b'}", "[1](2)"]
        {
            assert_eq!(texts(broken), None, "{broken}");
        }
    }
}
