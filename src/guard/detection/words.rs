//! The words of a text.

/// Blanks, and plus signs, which are blanks in queries.
pub(super) fn is_blank(byte: &u8) -> bool {
    byte.is_ascii_whitespace() || *byte == b'+'
}

/// Whether a text has this part.
pub(super) fn holds(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(text, part).is_some()
}

/// The words of a text, of any characters.
pub(super) fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(is_blank).filter(|word| !word.is_empty())
}

/// The number of words of a language directly before the word in which a match begins, at most [`WORDS_MAX`].
pub(super) fn words_before(lead: &[u8], is_counted: fn(&[u8]) -> bool) -> usize {
    let attached = lead.iter().rposition(is_blank).map_or(0, |blank| blank + 1);
    let spoken = lead[..attached].rsplit(is_blank).filter(|word| !word.is_empty());
    spoken.take(WORDS_MAX).take_while(|word| is_counted(word)).count()
}

/// Most words that are counted beside a match (chosen: no rule needs more).
pub(super) const WORDS_MAX: usize = 4;

/// A word of a language, with punctuation around it.
pub(super) fn is_word(word: &[u8]) -> bool {
    let bare = without(b",.:?!)\"'(", word);
    let is_letter =
        |byte: &u8| byte.is_ascii_alphabetic() || !byte.is_ascii() || matches!(byte, b'\'' | b'-');
    !bare.is_empty() && bare[0] != b'-' && bare.iter().all(is_letter)
}

/// A word without these marks around it.
pub(super) fn without<'a>(marks: &[u8], word: &'a [u8]) -> &'a [u8] {
    let start = word.iter().position(|byte| !marks.contains(byte)).unwrap_or(word.len());
    let end = word.iter().rposition(|byte| !marks.contains(byte)).map_or(start, |last| last + 1);
    &word[start..end]
}

/// A word of a language, and none of SQL.
pub(super) fn is_spoken(word: &[u8]) -> bool {
    is_word(word) && !OF_STATEMENTS.contains(&word)
}

/// Words of SQL: they continue an attack.
const OF_STATEMENTS: [&[u8]; 24] = [
    b"select", b"union", b"all", b"from", b"where", b"and", b"or", b"xor", b"not", b"null", b"like",
    b"order", b"group", b"by", b"limit", b"having", b"between", b"asc", b"desc", b"case", b"when", b"then",
    b"else", b"end",
];
