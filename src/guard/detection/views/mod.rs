//! The forms of one value in which signatures look for attacks.

mod base64_runs;
mod escapes;
mod normal;
mod reduced;

use super::findings::View;

/// Most rounds of decoding of a value (guard semantics, section 11). A value that changes after that is an exhaustion.
pub(super) const ROUNDS_MAX: usize = 16;

/// Longest buffer that is kept for the next value, in bytes (chosen: windows of bodies are half as long).
pub(super) const KEPT_BYTES_MAX: usize = 16 * 1024;

/// All views of one value, in lower case. The buffers are kept from value to value.
#[derive(Debug, Default)]
pub(super) struct Views {
    raw: Vec<u8>,
    decoded: Vec<u8>,
    processed: Vec<u8>,
    unquoted: Vec<u8>,
    spare: Vec<u8>,
    /// Whether each view differs from the view before it, and must be scanned separately.
    differs: [bool; 3],
    /// Encodings were left after [`ROUNDS_MAX`] rounds.
    pub(super) is_exhausted: bool,
}

impl Views {
    /// Releases the memory of a large value.
    pub(super) fn shrink(&mut self) {
        for buffer in
            [&mut self.raw, &mut self.decoded, &mut self.processed, &mut self.unquoted, &mut self.spare]
        {
            if buffer.capacity() > KEPT_BYTES_MAX {
                *buffer = Vec::new();
            }
        }
    }

    /// Bytes of memory in use.
    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        let buffers = [&self.raw, &self.decoded, &self.processed, &self.unquoted, &self.spare];
        buffers.iter().map(|buffer| buffer.capacity()).sum()
    }

    /// Computes the views of a value. A plus sign is a blank in the processed view where `plus_is_blank`.
    pub(super) fn fill(&mut self, value: &[u8], plus_is_blank: bool) {
        self.is_exhausted = false;
        lower(value, &mut self.raw);
        let is_decoded = may_be_encoded(value) && self.decode(value);
        self.differs[0] = is_decoded;
        let decoded = if is_decoded { &self.decoded } else { &self.raw };
        self.differs[1] = reduced::processed(decoded, plus_is_blank, &mut self.processed);
        self.differs[2] = reduced::unquoted(decoded, plus_is_blank, &mut self.unquoted);
    }

    /// Decodes until nothing changes. False if nothing has.
    fn decode(&mut self, value: &[u8]) -> bool {
        let Views { decoded, spare, is_exhausted, .. } = self;
        decoded.clear();
        decoded.extend_from_slice(value);
        let (mut any, mut gzips) = (false, Some(0));
        for round in 0..=ROUNDS_MAX {
            let mut changed = false;
            for step in 0..3 {
                let has_changed = match step {
                    0 => normal::normalize(decoded, spare),
                    1 => escapes::decode(decoded, spare),
                    _ => base64_runs::decode(decoded, spare, &mut gzips),
                };
                if has_changed {
                    std::mem::swap(decoded, spare);
                    changed = true;
                }
            }
            any |= changed;
            if !changed {
                break;
            }
            *is_exhausted = round == ROUNDS_MAX;
        }
        *is_exhausted |= gzips.is_none();
        decoded.make_ascii_lowercase();
        any
    }

    /// The value as sent.
    pub(super) fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The decoded value, with its blanks and lines.
    pub(super) fn with_lines(&self) -> &[u8] {
        if self.differs[0] { &self.decoded } else { &self.raw }
    }

    /// The views to scan: each that differs from those before it.
    pub(super) fn distinct(&self) -> impl Iterator<Item = (View, &[u8])> {
        let decoded = self.with_lines();
        let all = [
            (View::Raw, self.raw.as_slice(), true),
            (View::Decoded, decoded, self.differs[0]),
            (View::Processed, self.processed.as_slice(), self.differs[1]),
            (View::Unquoted, self.unquoted.as_slice(), self.differs[2]),
        ];
        all.into_iter().filter(|(_, _, differs)| *differs).map(|(view, bytes, _)| (view, bytes))
    }

    /// The views that are equal to a view, and count with it: bits of [`bit`].
    pub(super) fn stands_for(&self, view: View) -> u8 {
        let same = |other: View, is_same: bool| if is_same { bit(other) } else { 0 };
        let [decoded, processed, unquoted] = self.differs.map(|differs| !differs);
        let behind = same(View::Processed, processed) | same(View::Unquoted, unquoted);
        bit(view)
            | match view {
                View::Raw => same(View::Decoded, decoded) | if decoded { behind } else { 0 },
                View::Decoded => behind,
                View::Processed | View::Unquoted => 0,
            }
    }
}

/// A view as a bit of a set.
pub(super) const fn bit(view: View) -> u8 {
    1 << view as u8
}

fn lower(value: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(value);
    out.make_ascii_lowercase();
}

/// Whether a value may contain an encoding.
fn may_be_encoded(value: &[u8]) -> bool {
    let mut run = 0;
    for byte in value {
        match byte {
            b'%' | b'&' | b'\\' | 0x80.. => return true,
            b if base64_runs::is_of_alphabet(*b) => {
                run += 1;
                if run >= base64_runs::RUN_MIN {
                    return true;
                }
            }
            _ => run = 0,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(value: &str, plus: bool, wanted: View) -> String {
        let mut views = Views::default();
        views.fill(value.as_bytes(), plus);
        let found = views.distinct().find(|(view, _)| *view == wanted).map(|(_, bytes)| bytes.to_vec());
        let found = found.unwrap_or_else(|| {
            let (_, bytes) =
                views.distinct().find(|(view, _)| views.stands_for(*view) & bit(wanted) != 0).unwrap();
            bytes.to_vec()
        });
        String::from_utf8_lossy(&found).into_owned()
    }

    #[test]
    fn guard_11_decoding_goes_on_until_nothing_changes() {
        for (value, expected) in [
            ("plain", "plain"),
            ("%27", "'"),
            ("%2527", "'"),
            ("%252527", "'"),
            ("%%32%37", "'"),
            ("%u0027%u003C", "'<"),
            ("\\x27\\u0027\\u{27}", "'''"),
            ("\\047", "'"),
            ("&#39;&#x27;&#0000039;&lt;&LT;&colon;", "'''<<:"),
            ("&#39", "'"),
            ("%c0%af%c0%ae%c1%9c", "/.\\"),
            ("%e0%80%af", "/"),
            ("＜ｓｃｒｉｐｔ＞", "<script>"),
            ("a\u{200b}b\u{feff}", "ab"),
            ("\u{2215}\u{2216}", "/\\"),
            ("x=PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==", "x=<script>alert(1)</script>"),
            ("PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg", "<script>alert(1)</script>"),
            ("application/json;charset", "application/json;charset"),
            ("/a/b/PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg", "/a/b/<script>alert(1)</script>"),
            ("H4sIAAAAAAACA7MpTi7KLCixS8xJLSrRMNS00YcKAAB27ib+GQAAAA==", "<script>alert(1)</script>"),
            ("c:\\windows\\system32", "c:\\windows\\system32"),
            ("100% of it", "100% of it"),
        ] {
            assert_eq!(view(value, false, View::Decoded), expected, "{value}");
        }
    }

    #[test]
    fn guard_11_comments_and_spare_blanks_are_taken_out() {
        for (value, plus, expected) in [
            ("union/**/select", false, "union select"),
            ("union/*x*/select", false, "union select"),
            ("/*!50000union*/ select", false, " union select"),
            ("union--x\nselect", false, "union select"),
            ("union%23x%0Aselect", false, "union select"),
            ("a \t\n b", false, "a b"),
            ("a+b", true, "a b"),
            ("a+b", false, "a+b"),
            ("a%00b", false, "ab"),
            ("*/*;q=0.8", false, "*/*;q=0.8"),
        ] {
            assert_eq!(view(value, plus, View::Processed), expected, "{value}");
        }
    }

    #[test]
    fn guard_11_a_shell_takes_quotes_away() {
        for (value, expected) in [
            (";c'a't /e\\tc/pass\"\"wd", ";cat /etc/passwd"),
            (";cat${IFS}/etc/passwd", ";cat /etc/passwd"),
            (";cat$IFS$9/etc", ";cat /etc"),
            (";w$@hoami", ";whoami"),
            (";{cat,/etc/passwd}", ";cat /etc/passwd"),
            ("a{b:url(data:c;base64,d)}", "ab:url(data:c;base64,d)}"),
            ("don't; it's", "don't; it's"),
        ] {
            assert_eq!(view(value, false, View::Unquoted), expected, "{value}");
        }
    }

    #[test]
    fn ours_11_too_many_layers_are_an_exhaustion() {
        let mut views = Views::default();
        views.fill(format!("%{}27", "25".repeat(15)).as_bytes(), false);
        assert!(!views.is_exhausted);
        views.fill(format!("%{}27", "25".repeat(40)).as_bytes(), false);
        assert!(views.is_exhausted);
    }
}
