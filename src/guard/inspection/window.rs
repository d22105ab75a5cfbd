//! The bytes of one value as they arrive: shown whole, or in overlapping windows if there are too many.

/// Longest stretch of a value that is shown at once, in bytes (chosen: values of forms and of JSON are shorter, and ten
/// thousand slow uploads take 80 MB).
pub const WINDOW_BYTES: usize = 8192;

/// Bytes that a window repeats from the one before it (chosen: longer than the attacks of the literature; windows begin at
/// multiples of 4 and of 3 bytes of the value, so that base64 is divided between its groups).
pub const OVERLAP_BYTES: usize = 1028;

const _: () = assert!((WINDOW_BYTES - OVERLAP_BYTES) % 4 == 0 && (WINDOW_BYTES - OVERLAP_BYTES) % 3 == 0);

/// The part of one value that is not shown yet, behind an overlap that is.
#[derive(Debug, Default)]
pub(super) struct Window {
    bytes: Vec<u8>,
    /// Bytes at the front that were shown with the window before.
    shown: usize,
    /// A window of the value was shown before.
    is_continued: bool,
}

impl Window {
    /// More of the value.
    pub fn push(&mut self, mut more: &[u8], show: &mut dyn FnMut(&[u8])) {
        while !more.is_empty() {
            if self.bytes.len() == WINDOW_BYTES {
                self.slide(show);
            }
            let (now, later) = more.split_at(more.len().min(WINDOW_BYTES - self.bytes.len()));
            self.bytes.extend_from_slice(now);
            more = later;
        }
    }

    /// Shows the full window, and keeps the overlap.
    fn slide(&mut self, show: &mut dyn FnMut(&[u8])) {
        show(&self.bytes);
        self.bytes.drain(..WINDOW_BYTES - OVERLAP_BYTES);
        (self.shown, self.is_continued) = (OVERLAP_BYTES, true);
    }

    /// Ends the value: shows the rest.
    pub fn end(&mut self, show: &mut dyn FnMut(&[u8])) {
        if self.is_pending() {
            show(&self.bytes);
        }
        self.clear();
    }

    /// Without a line end as the last thing.
    pub fn trim_line_end(&mut self) {
        for end in [b'\n', b'\r'] {
            if self.bytes.len() > self.shown && self.bytes.last() == Some(&end) {
                self.bytes.pop();
            }
        }
    }

    /// Begins the next value.
    pub fn clear(&mut self) {
        self.bytes.clear();
        (self.shown, self.is_continued) = (0, false);
    }

    /// Whether some bytes were not shown yet.
    pub fn is_pending(&self) -> bool {
        self.bytes.len() > self.shown
    }

    /// The whole value, or its last window if it is longer.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the value is longer than these bytes.
    pub fn is_continued(&self) -> bool {
        self.is_continued
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_11_windows_overlap_wherever_the_pieces_end() {
        let value: Vec<u8> = (0..40_000u32).map(|n| (n % 251) as u8).collect();
        let shown_in = |size: usize| {
            let (mut window, mut shown) = (Window::default(), Vec::new());
            value.chunks(size).for_each(|piece| window.push(piece, &mut |bytes| shown.push(bytes.to_vec())));
            window.end(&mut |bytes| shown.push(bytes.to_vec()));
            assert!(!window.is_pending() && !window.is_continued());
            shown
        };
        let whole = shown_in(value.len());
        assert!(whole.len() > 4);
        for pair in whole.windows(2) {
            assert_eq!(pair[0].len(), WINDOW_BYTES);
            assert_eq!(pair[0][WINDOW_BYTES - OVERLAP_BYTES..], pair[1][..OVERLAP_BYTES]);
        }
        for size in [1, 7, 1024, 8192, 8193] {
            assert_eq!(shown_in(size), whole, "{size}");
        }
    }

    #[test]
    fn nothing_is_shown_twice_at_the_end() {
        let (mut window, mut shown) = (Window::default(), 0);
        window.push(&[b'a'; WINDOW_BYTES], &mut |_| shown += 1);
        window.end(&mut |_| shown += 1);
        window.end(&mut |_| shown += 1);
        assert_eq!(shown, 1);
    }
}
