//! The name that was probably meant.

/// Longest word that is compared (chosen): the longest names have under 30 bytes.
const WORD_BYTES_MAX: usize = 40;

/// The known name nearest to a word: one that the word abbreviates without ambiguity, or one with at most two typing
/// errors, and at most a third of the word wrong.
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase().replace('_', "-");
    if word.len() > WORD_BYTES_MAX {
        return None;
    }
    let errors_max = (word.len() / 3).min(2);
    let mut best: Option<(usize, &str)> = None;
    let mut abbreviated = Vec::new();
    for name in names {
        if word.len() >= 3 && name.starts_with(&word) {
            abbreviated.push(name);
        }
        let errors = distance(word.as_bytes(), name.as_bytes());
        if errors <= errors_max && best.is_none_or(|(fewest, _)| errors < fewest) {
            best = Some((errors, name));
        }
    }
    match (best, abbreviated.as_slice()) {
        (Some((_, name)), _) => Some(name),
        (None, [name]) => Some(*name),
        (None, _) => None,
    }
}

/// The end of a message about an unknown name: the question whether another one was meant, or nothing.
pub fn hint(meant: Option<&str>) -> String {
    meant.map(|name| format!(" (did you mean {name}?)")).unwrap_or_default()
}

/// Number of insertions, deletions, replacements, and swaps of neighbours between two words (optimal string
/// alignment).
fn distance(from: &[u8], to: &[u8]) -> usize {
    let mut before: Vec<usize> = vec![0; to.len() + 1];
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (i, byte) in from.iter().enumerate() {
        let mut row = vec![i + 1; to.len() + 1];
        for (j, other) in to.iter().enumerate() {
            let replaced = last[j] + usize::from(byte != other);
            row[j + 1] = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *byte == to[j - 1] && from[i - 1] == *other {
                row[j + 1] = row[j + 1].min(before[j - 1] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (from, to, expected) in [
            ("", "", 0),
            ("a", "", 1),
            ("", "ab", 2),
            ("port", "port", 0),
            ("prot", "port", 1),
            ("pot", "port", 1),
            ("sport", "port", 1),
            ("part", "port", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(from.as_bytes(), to.as_bytes()), expected, "{from} {to}");
        }
    }

    #[test]
    fn near_misses() {
        let names = ["port", "ports", "host", "log-dir", "log-format", "blocklist", "blacklist"];
        for (word, expected) in [
            ("prot", Some("port")),
            ("PORT", Some("port")),
            ("log_dir", Some("log-dir")),
            ("logdir", Some("log-dir")),
            ("log-f", Some("log-format")),
            ("log", None),
            ("blokclist", Some("blocklist")),
            ("blacklst", Some("blacklist")),
            ("xyz", None),
            ("ho", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, names), expected, "{word}");
        }
        assert_eq!(nearest(&"port".repeat(1000), names), None);
    }
}
