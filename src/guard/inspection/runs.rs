//! Binary content: only runs of printable ASCII are shown.

use super::part::{Part, PartKind, Sink};
use super::window::Window;

/// Shortest run that is shown (section 11).
pub const RUN_BYTES_MIN: usize = 16;

/// Finds the printable runs.
#[derive(Debug, Default)]
pub(super) struct Runs {
    window: Window,
    /// A byte that is not printable was received.
    broken: bool,
}

impl Runs {
    pub fn push(&mut self, piece: &[u8], field: &[u8], out: &mut Sink<'_>) {
        let mut rest = piece;
        while !rest.is_empty() {
            // Every sixteenth byte of a long run must be printable: most of a content is skipped by testing one byte of sixteen.
            if self.broken && !self.window.is_pending() {
                let without = rest
                    .chunks_exact(RUN_BYTES_MIN)
                    .take_while(|block| !is_printable(block[RUN_BYTES_MIN - 1]));
                rest = &rest[without.count() * RUN_BYTES_MIN..];
            }
            let len = rest.iter().position(|byte| !is_printable(*byte)).unwrap_or(rest.len());
            let (run, behind) = rest.split_at(len);
            self.window.push(run, &mut |bytes| out(Part::new(PartKind::Text, field, bytes)));
            let Some((_, behind)) = behind.split_first() else { return };
            self.broken = true;
            self.end_run(field, out);
            rest = behind;
        }
    }

    fn end_run(&mut self, field: &[u8], out: &mut Sink<'_>) {
        let long = self.window.is_continued() || self.window.bytes().len() >= RUN_BYTES_MIN;
        if long || !self.broken {
            self.window.end(&mut |bytes| out(Part::new(PartKind::Text, field, bytes)));
        }
        self.window.clear();
    }

    /// Handles the end. A content that is wholly printable is shown even if it is short.
    pub fn end(&mut self, field: &[u8], out: &mut Sink<'_>) {
        self.window.trim_line_end();
        self.end_run(field, out);
        self.broken = false;
    }

    pub fn is_pending(&self) -> bool {
        self.window.is_pending()
    }
}

fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n')
}
