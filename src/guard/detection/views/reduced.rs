//! Reduced views: without comments and superfluous blanks, and without the characters that a shell removes.

/// Writes the text without comments, control characters and spare blanks to `out`. False if nothing has changed.
pub(super) fn processed(text: &[u8], plus_is_blank: bool, out: &mut Vec<u8>) -> bool {
    if is_processed(text, plus_is_blank) {
        return false;
    }
    out.clear();
    let mut at = 0;
    // Whether no further comment or line can end: each end is searched once in the whole text.
    let (mut no_end, mut no_line) = (false, false);
    while at < text.len() {
        let rest = &text[at..];
        let line_comment = match rest {
            [b'#', ..] => 1,
            [b'-', b'-', ..] => 2,
            _ => 0,
        };
        if rest.starts_with(b"/*") && !no_end {
            match memchr::memmem::find(&rest[2..], b"*/") {
                Some(len) => {
                    push_blank(out);
                    if rest.get(2) == Some(&b'!') {
                        let inside = &rest[3..2 + len];
                        let version = inside.iter().take_while(|byte| byte.is_ascii_digit()).count();
                        out.extend_from_slice(&inside[version.min(inside.len())..]);
                        push_blank(out);
                    }
                    at += len + 4;
                    continue;
                }
                None => no_end = true,
            }
        }
        if line_comment > 0 && !no_line {
            match memchr::memchr(b'\n', rest) {
                Some(len) => {
                    push_blank(out);
                    at += len + 1;
                    continue;
                }
                None => no_line = true,
            }
        }
        match rest[0] {
            b'\t' | b'\n' | b'\r' | 0x0b | 0x0c | b' ' => push_blank(out),
            b'+' if plus_is_blank => push_blank(out),
            0..0x20 | 0x7f => {}
            byte => out.push(byte),
        }
        at += 1;
    }
    out != text
}

/// Whether a shell would remove characters. One apostrophe in a word belongs to a language: those of a shell come in pairs,
/// and both of a pair that hides a command are in its word.
fn is_quoted(text: &[u8]) -> bool {
    let mut apostrophes = 0;
    text.iter().any(|byte| {
        apostrophes = match byte {
            b'\'' => apostrophes + 1,
            b' ' | b'\n' | b'\t' => 0,
            _ => apostrophes,
        };
        apostrophes > 1 || matches!(byte, b'"' | b'\\' | b'^' | b'$' | b'{')
    })
}

/// Whether there is nothing to remove.
fn is_processed(text: &[u8], plus_is_blank: bool) -> bool {
    let mut last = 0;
    text.iter().all(|byte| {
        let stays = match byte {
            b' ' => last != b' ',
            b'-' => last != b'-',
            b'*' => last != b'/',
            b'+' => !plus_is_blank,
            0..0x20 | 0x7f | b'#' => false,
            _ => true,
        };
        last = *byte;
        stays
    })
}

fn push_blank(out: &mut Vec<u8>) {
    if out.last() != Some(&b' ') {
        out.push(b' ');
    }
}

/// Writes the text as a shell reads it to `out`: without quotes and escapes, with blanks for `${IFS}` and the commas
/// in braces. False if nothing has changed, or no shell would run any of it.
pub(super) fn unquoted(text: &[u8], plus_is_blank: bool, out: &mut Vec<u8>) -> bool {
    let is_separating = |byte: &u8| matches!(byte, b';' | b'|' | b'&' | b'`' | b'\n' | b'(');
    if !is_quoted(text) || !text.iter().any(is_separating) {
        return false;
    }
    out.clear();
    let (mut at, mut in_braces) = (0, false);
    while at < text.len() {
        let rest = &text[at..];
        let blank = [&b"${ifs}"[..], b"$ifs$9", b"$ifs", b"${ifs%??}"]
            .into_iter()
            .find(|name| rest.starts_with(name));
        if let Some(name) = blank {
            out.push(b' ');
            at += name.len();
            continue;
        }
        let (skipped, byte) = match rest {
            [b'$', b'@' | b'*' | b'0'..=b'9', ..] => (2, None),
            [b'\'' | b'"' | b'\\' | b'^', ..] => (1, None),
            [b'{', b'a'..=b'z', ..] if !in_braces => {
                in_braces = true;
                (1, None)
            }
            [b'}', ..] if in_braces => {
                in_braces = false;
                (1, None)
            }
            [b',', ..] if in_braces => (1, Some(b' ')),
            // A list is one word: in a sheet of styles the braces hold more.
            [byte @ (b';' | b'|' | b'&' | b'\n' | b' '), ..] => {
                in_braces = false;
                (1, Some(*byte))
            }
            [b'+', ..] if plus_is_blank => (1, Some(b' ')),
            [byte, ..] => (1, Some(*byte)),
            [] => break,
        };
        out.extend(byte);
        at += skipped;
    }
    out != text
}
