//! application/x-www-form-urlencoded: each name and each value, decoded once.

use super::part::{Name, Part, PartKind, Sink};
use super::window::Window;

/// Walks a form.
#[derive(Debug, Default)]
pub(super) struct Form {
    /// The name or the value under way.
    window: Window,
    in_value: bool,
    name: Name,
    escape: Escape,
}

/// The received part of a `%XX`.
#[derive(Clone, Copy, Debug, Default)]
enum Escape {
    #[default]
    None,
    Percent,
    /// The first digit, as received.
    Digit(u8),
}

impl Form {
    pub fn push(&mut self, piece: &[u8], out: &mut Sink<'_>) {
        let mut rest = piece;
        while let Some((&first, behind)) = rest.split_first() {
            if !matches!(self.escape, Escape::None) {
                if self.take_escaped(first, out) {
                    rest = behind;
                }
                continue;
            }
            match first {
                b'&' => self.end_pair(out),
                b'=' if !self.in_value => {
                    self.name.set(self.window.bytes());
                    self.show_end(out);
                    self.in_value = true;
                }
                b'%' => self.escape = Escape::Percent,
                b'+' => self.text(b" ", out),
                _ => {
                    let plain = |byte: &u8| !matches!(byte, b'&' | b'=' | b'%' | b'+');
                    let len = rest.iter().position(|byte| !plain(byte)).unwrap_or(rest.len()).max(1);
                    self.text(&rest[..len], out);
                    rest = &rest[len..];
                    continue;
                }
            }
            rest = behind;
        }
    }

    /// Handles a byte behind a `%`. False if it does not belong to the escape: it must be read again.
    fn take_escaped(&mut self, byte: u8, out: &mut Sink<'_>) -> bool {
        let digit = |byte: u8| (byte as char).to_digit(16);
        match (std::mem::take(&mut self.escape), digit(byte)) {
            (Escape::None, _) => false,
            (Escape::Percent, Some(_)) => {
                self.escape = Escape::Digit(byte);
                true
            }
            (Escape::Digit(first), Some(low)) => {
                let high = digit(first).unwrap_or(0);
                self.text(&[(high << 4 | low) as u8], out);
                true
            }
            // No escape: the detector may know another way to read it (`%u0027`).
            (Escape::Percent, None) => {
                self.text(b"%", out);
                false
            }
            (Escape::Digit(first), None) => {
                self.text(&[b'%', first], out);
                false
            }
        }
    }

    fn text(&mut self, bytes: &[u8], out: &mut Sink<'_>) {
        let Form { window, in_value, name, .. } = self;
        let kind = if *in_value { PartKind::Value } else { PartKind::Name };
        window.push(bytes, &mut |bytes| out(Part::new(kind, name.as_bytes(), bytes)));
    }

    /// The name or the value has ended.
    fn show_end(&mut self, out: &mut Sink<'_>) {
        let Form { window, in_value, name, .. } = self;
        let kind = if *in_value { PartKind::Value } else { PartKind::Name };
        window.end(&mut |bytes| out(Part::new(kind, name.as_bytes(), bytes)));
    }

    fn end_pair(&mut self, out: &mut Sink<'_>) {
        if !self.in_value {
            self.name.set(self.window.bytes());
        }
        self.show_end(out);
        self.name.clear();
        self.in_value = false;
    }

    pub fn end(&mut self, out: &mut Sink<'_>) {
        match std::mem::take(&mut self.escape) {
            Escape::None => {}
            Escape::Percent => self.text(b"%", out),
            Escape::Digit(first) => self.text(&[b'%', first], out),
        }
        self.end_pair(out);
    }

    pub fn is_pending(&self) -> bool {
        self.window.is_pending() || !matches!(self.escape, Escape::None)
    }
}
