//! Quoted-printable (RFC 2045 section 6.7): some servers decode parts of multipart/form-data that have this transfer encoding.

use super::window::Window;

/// The decoded bytes of one value as they arrive.
#[derive(Debug, Default)]
pub(super) struct QuotedPrintable {
    state: State,
    pub window: Window,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Plain,
    /// Behind an equals sign.
    Escape,
    /// Behind an equals sign and one hexadecimal digit.
    Digit(u8),
    /// Behind an equals sign and blanks: a soft line break, if the line ends here.
    Blanks,
    /// Behind an equals sign and a carriage return: some readers skip the rest of the line, and no encoder writes any.
    Break,
}

impl QuotedPrintable {
    /// More of the value. What is no escape stands for itself.
    pub fn push(&mut self, piece: &[u8], show: &mut dyn FnMut(&[u8])) {
        let mut decoded = Vec::with_capacity(piece.len() + 2);
        piece.iter().for_each(|byte| self.take(*byte, &mut decoded));
        self.window.push(&decoded, show);
    }

    fn take(&mut self, byte: u8, out: &mut Vec<u8>) {
        let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
        let before = std::mem::take(&mut self.state);
        match (before, byte) {
            (State::Plain, b'=') => self.state = State::Escape,
            (State::Plain, _) => out.push(byte),
            (State::Escape | State::Blanks | State::Break, b'\n') => {}
            (State::Escape | State::Blanks, b'\r') | (State::Break, _) => self.state = State::Break,
            (State::Escape | State::Blanks, b' ' | b'\t') => self.state = State::Blanks,
            (State::Escape, _) if digit(byte).is_some() => self.state = State::Digit(byte),
            (State::Digit(first), _) if digit(byte).is_some() => {
                out.push(digit(first).unwrap_or_default() << 4 | digit(byte).unwrap_or_default());
            }
            (State::Escape | State::Blanks, _) => {
                out.push(b'=');
                self.take(byte, out);
            }
            (State::Digit(first), _) => {
                out.extend_from_slice(&[b'=', first]);
                self.take(byte, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_11_quoted_printable_is_decoded_wherever_the_pieces_end() {
        for (text, expected) in [
            ("plain", "plain"),
            ("=3Cscript=3e", "<script>"),
            ("<scr=\r\nipt>ale=\nrt= \t\r\n(1)", "<script>alert(1)"),
            ("a=g==3D=4 =x", "a=g===4 =x"),
            ("=E2=82=AC", "\u{20ac}"),
            ("un=\rzz\nion sel=\r=41\nect", "union select"),
        ] {
            for size in [1, 2, 3, 100] {
                let (mut decoder, mut shown) = (QuotedPrintable::default(), Vec::new());
                for piece in text.as_bytes().chunks(size) {
                    decoder.push(piece, &mut |_| {});
                }
                decoder.window.end(&mut |bytes| shown.extend_from_slice(bytes));
                assert_eq!(String::from_utf8_lossy(&shown), expected, "{text} by {size}");
            }
        }
    }
}
