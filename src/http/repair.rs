//! Repairs of a response head before it is read (RFC 9112 sections 5.1 and 5.2): whitespace between a field name and its
//! colon, which a proxy has to remove, and obsolete line folding, which becomes blanks. All fields, also those that frame the
//! body, then have the meaning that the origin intended. Requests with these faults are refused.
//!
//! Such heads are rare: the parser refuses them with [`Fault::LineFolding`] or [`Fault::FieldNameBlank`], and only then the
//! head is changed in place, without changing its length, and parsed once more.

use super::fault::Fault;
use super::fields::{is_token, trim_end};

/// Whether a response head with that fault may be read after a repair.
pub fn is_repairable(fault: Fault) -> bool {
    matches!(fault, Fault::LineFolding | Fault::FieldNameBlank)
}

/// Repairs a whole head, including its last CRLF; false if nothing was repaired. A folded line directly behind the status
/// line continues no field, and stays unchanged.
pub fn repair_response(head: &mut [u8]) -> bool {
    let mut repaired = false;
    let mut line = next_line(head, 0);
    let first = line;
    while line < head.len() {
        let next = next_line(head, line);
        if matches!(head[line], b' ' | b'\t') {
            if line > first {
                let end = if head[line - 2] == b'\r' { line - 2 } else { line - 1 };
                head[end..line].fill(b' ');
                repaired = true;
            }
        } else {
            repaired |= move_colon(&mut head[line..next]);
        }
        line = next;
    }
    repaired
}

/// The position of the line behind the one at `line`.
fn next_line(head: &[u8], line: usize) -> usize {
    memchr::memchr(b'\n', &head[line..]).map_or(head.len(), |at| line + at + 1)
}

/// Moves the colon of a field line to the end of its name; the blanks that stood between them become the value's.
fn move_colon(line: &mut [u8]) -> bool {
    let Some(colon) = memchr::memchr(b':', line) else { return false };
    let name = trim_end(&line[..colon]);
    if name.len() == colon || !is_token(name) {
        return false;
    }
    let end = name.len();
    line[colon] = b' ';
    line[end] = b':';
    true
}

#[cfg(test)]
mod tests {
    use super::super::head::{Limits, Message, ResponseHead};
    use super::*;

    #[test]
    fn rule_17_responses_are_put_right() {
        for (fields, expected) in [
            ("A: b", None),
            ("A : b", Some("A:  b")),
            ("A\t \t: b\r\nC:d", Some("A: \t  b\r\nC:d")),
            ("A :", Some("A: ")),
            ("A :b : c", Some("A: b : c")),
            ("A: b : c", None),
            ("A: b\r\n c", Some("A: b   c")),
            ("A: b\r\n\tc\r\n d\r\nE: f", Some("A: b  \tc   d\r\nE: f")),
            ("A:\r\n ", Some("A:   ")),
            ("A: b\r\n \r\n\t\r\n c", Some("A: b     \t   c")),
            ("A: b\r\n C : d\r\nE\t: f\r\n g", Some("A: b   C : d\r\nE:  f   g")),
            ("Content-Length\t:\r\n 5", Some("Content-Length:    5")),
            ("A: b\n c", Some("A: b  c")),
            // Nothing that could be put right.
            (" A: b", None),
            ("\tA: b\r\nC: d", None),
            (": b", None),
            ("A b : c", None),
            ("A", None),
            ("A\u{e9} : b", None),
        ] {
            let mut head = format!("HTTP/1.1 200 O : K\r\n{fields}\r\n\r\n").into_bytes();
            let repaired = repair_response(&mut head);
            let wanted = format!("HTTP/1.1 200 O : K\r\n{}\r\n\r\n", expected.unwrap_or(fields));
            assert_eq!(String::from_utf8_lossy(&head), wanted);
            assert_eq!(repaired, expected.is_some(), "{fields:?}");
            assert!(!repair_response(&mut head), "once is enough: {fields:?}");
        }
    }

    #[test]
    fn any_bytes_are_repaired_or_left() {
        for text in ["", "\n", " ", "\r\n \r\n", "x\n y\n z:", "\n\n a", "\n:\n \n :"] {
            let mut head = text.as_bytes().to_vec();
            repair_response(&mut head);
            assert_eq!(head.len(), text.len());
        }
    }

    /// The parser says what can be repaired, and is content afterwards.
    #[test]
    fn repaired_heads_are_read() {
        for fields in ["A : b", "A: b\r\n c", "A:\r\n\tb\r\nC\t : d\r\n e"] {
            for version in ["1.0", "1.1", "1.2"] {
                let mut head = format!("HTTP/{version} 200 OK\r\n{fields}\r\n\r\n").into_bytes();
                let parse = |head: &[u8]| {
                    ResponseHead::parse(head, &mut Message::new(), &Limits::default()).map(drop)
                };
                assert!(parse(&head).is_err_and(is_repairable), "{version} {fields:?}");
                assert!(repair_response(&mut head));
                assert_eq!(parse(&head), Ok(()), "{version} {fields:?}");
            }
        }
    }
}
