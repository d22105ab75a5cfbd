//! Texts of bounded length.

/// The beginning of a text: at most `bytes_max` bytes, and whole characters.
pub fn shortened(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_stay_whole() {
        for (text, bytes_max, expected) in
            [("", 3, ""), ("abc", 3, "abc"), ("abcd", 3, "abc"), ("abé", 3, "ab"), ("é", 0, "")]
        {
            assert_eq!(shortened(text, bytes_max), expected);
        }
    }
}
