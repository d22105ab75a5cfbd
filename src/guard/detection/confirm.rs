//! Code that tests the text around a match, for patterns with too many false matches.

use super::brackets::behind_group;
use super::markup::is_script_with_means;
use super::places::is_behind_prompt;
use super::sources::is_condition_of_source;
use super::speech::{begins_statement, begins_value};
use super::words::{holds, is_blank, is_spoken, is_word, words, words_before};
use std::ops::Range;

/// Whether the match at this place of a view is an attack.
pub(super) type Confirm = fn(&[u8], Range<usize>) -> bool;

/// The match ends a string that began before the value: the number of quotes of its kind before it is even. In `name = "a"
/// and b = "c"` the quote before `and` ends a string that began in the value, so nothing is broken out of.
pub(super) fn breaks_out(text: &[u8], range: Range<usize>) -> bool {
    let quote = text[range.clone()].iter().position(|byte| matches!(byte, b'\'' | b'"' | b'`'));
    let Some(at) = quote.map(|quote| range.start + quote) else { return true };
    let is_letter =
        |place: Option<usize>| place.and_then(|place| text.get(place)).is_some_and(u8::is_ascii_alphabetic);
    // An apostrophe within a word begins nothing.
    let is_quote = |place: &usize| {
        text[*place] == text[at] && !(is_letter(place.checked_sub(1)) && is_letter(Some(place + 1)))
    };
    // Within a string, a quote behind a backslash is a part of the string.
    let mut is_open = false;
    for place in (0..at).filter(is_quote) {
        let is_escaped = is_open && place > 0 && text[place - 1] == b'\\';
        is_open ^= !is_escaped;
    }
    !is_open
}

/// As [`breaks_out`]; and the quote is not the first one of an attribute or an assignment.
pub(super) fn breaks_out_of_script(text: &[u8], range: Range<usize>) -> bool {
    let is_assigned = text[..range.start].trim_ascii_end().strip_suffix(b"=").is_some_and(|name| {
        name.trim_ascii_end().last().is_some_and(u8::is_ascii_alphanumeric) && name.contains(&b' ')
    });
    !is_assigned && breaks_out(text, range)
}

/// The value is no script of statements: `CREATE TABLE a (...); CREATE TABLE b (...)`.
pub(super) fn is_no_script_of_statements(text: &[u8], range: Range<usize>) -> bool {
    !(begins_statement(text) && text[..range.end].contains(&b';'))
}

/// The value does not begin with a statement: a text that shows or describes SQL is no injection.
pub(super) fn is_no_statement(text: &[u8], range: Range<usize>) -> bool {
    let before = &text[..range.start];
    let verbs: [&[u8]; 6] = [b"select ", b"select\n", b"insert into", b"update ", b"delete from", b"create "];
    !verbs.iter().any(|verb| memchr::memmem::find(before, verb).is_some())
}

/// The match begins no condition with a block, and is in no statement.
pub(super) fn is_no_condition(text: &[u8], range: Range<usize>) -> bool {
    is_no_block(text, range.clone()) && is_no_statement(text, range)
}

/// The match begins no condition with a block, `if (length(a) > 3) {`: SQL has a list of values there. Behind a quote that ends a string
/// of the server, a word is an error, so strings of one word end none.
pub(super) fn is_no_block(text: &[u8], range: Range<usize>) -> bool {
    let matched = &text[range.clone()];
    let is_condition = matched.starts_with(b"if") || matched.starts_with(b"while");
    let open = memchr::memchr(b'(', matched).filter(|_| is_condition);
    let end = open.and_then(|open| behind_group(text, range.start + open));
    !end.is_some_and(|end| {
        let pieces = text[range.start..end].split(|byte| matches!(byte, b'\'' | b'"' | b'`')).skip(1);
        let is_of_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.%/\\".contains(byte);
        let has_words =
            pieces.step_by(2).all(|string| string.iter().all(is_of_word) && !holds(string, b"--"));
        has_words && text[end..].trim_ascii_start().starts_with(b"{")
    })
}

/// The match is not within the condition of a block that begins the text: `if (a == 'b' || user.id == c) {`.
pub(super) fn is_in_no_condition(text: &[u8], range: Range<usize>) -> bool {
    let start = text.len() - text.trim_ascii_start().len();
    let open = memchr::memchr(b'(', text);
    let end = open.and_then(|open| behind_group(text, open));
    end.is_none_or(|end| end <= range.end) || is_no_block(text, start..text.len())
}

/// The match continues no query of the same text: `SELECT a FROM b UNION SELECT c` is a whole statement. A quote that nothing has
/// opened within the query begins an attack, whatever is before it.
fn continues_no_statement(text: &[u8], range: Range<usize>) -> bool {
    let before = &text[..range.start];
    let Some(select) = memchr::memmem::rfind(before, b"select ") else { return true };
    let query = &before[select..];
    let quotes = query.iter().filter(|byte| matches!(byte, b'\'' | b'"')).count();
    memchr::memmem::find(query, b"from ").is_none() || quotes % 2 == 1
}

/// The match continues no query of the same text, and is no phrase in quotes.
pub(super) fn is_union_that_reads(text: &[u8], range: Range<usize>) -> bool {
    is_no_phrase(text, range.clone()) && continues_no_statement(text, range)
}

/// The match is no phrase in quotes, `grep "union select" access.log`: a union with one constant reads nothing.
pub(super) fn is_no_phrase(text: &[u8], range: Range<usize>) -> bool {
    let union =
        memchr::memmem::find(&text[range.clone()], b"union").map_or(range.start, |at| range.start + at);
    let phrase = text[union..].strip_prefix(b"union select");
    let quote = text[..union].last().filter(|byte| matches!(byte, b'"' | b'\''));
    let behind = phrase.zip(quote).and_then(|(phrase, quote)| phrase.strip_prefix(&[*quote]));
    let is_phrase = behind.is_some_and(|behind| {
        let next = words(behind).next().unwrap_or_default();
        let is_joined = matches!(next, b"from" | b"as" | b"union" | b"into" | b"where") || is_operator(next);
        behind.first().is_none_or(is_blank) && !is_joined
    });
    !is_phrase
}

/// The word begins with a sign of SQL.
fn is_operator(word: &[u8]) -> bool {
    word.first().is_some_and(|byte| byte.is_ascii_punctuation() && !b"./~".contains(byte))
}

/// The shell is called: at the beginning of the value, or behind a sign that ends the command before it.
pub(super) fn is_called(text: &[u8], range: Range<usize>) -> bool {
    let lead = text[..range.start].trim_ascii_end();
    let is_sign = |byte: &u8| {
        !byte.is_ascii_alphanumeric() && !matches!(byte, b'.' | b',' | b':' | b'?' | b'!' | b'*' | b'=')
    };
    begins_value(lead) || lead.last().is_some_and(is_sign)
}

/// The command is no subject of a question: `nc -l 8080 not working`.
pub(super) fn is_no_subject(text: &[u8], range: Range<usize>) -> bool {
    words(&text[range.end..]).filter(|word| is_spoken(word)).count() < MENTION_WORDS
}

/// Scripts that load others are attacks where the value begins with markup or breaks out of a string, and code in a text.
pub(super) fn runs_in_markup(text: &[u8], range: Range<usize>) -> bool {
    matches!(text.trim_ascii_start().first(), Some(b'<' | b'"' | b'\'' | b'`' | b'$'))
        || range.start < SHORT_LEAD
}

/// Longest beginning of a value that a shell may take for the argument it was meant to be (chosen: an address, a file name).
const SHORT_LEAD: usize = 64;

/// The text before the separator is as short as a parameter: empty, or a word or two. Scripts and sentences are longer.
pub(super) fn leads_shortly(text: &[u8], range: Range<usize>) -> bool {
    let lead = text[..range.start].trim_ascii();
    let words = lead.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).count();
    let is_script = lead.starts_with(b"#") || lead.starts_with(b"$ ");
    let opens = text[range.start] == b'`' && words > 0 && text[..range.start].ends_with(b" ");
    let is_markdown =
        opens && (lead.last().is_some_and(u8::is_ascii_alphabetic) || has_words_behind_span(text, &range));
    let closes = || memchr::memchr_iter(b'`', &text[..range.start]).count() % 2 == 1;
    let ends_span = text[range.start] == b'`' && (closes() || text[..range.start].ends_with(b"``"));
    let is_script = is_script || is_behind_prompt(&text[..range.start], &text[range.start..]);
    let is_short = lead.len() <= SHORT_LEAD && words <= 2 && !is_script && !is_markdown && !ends_span;
    is_short || ends_sentence(text, &range)
}

/// The command ends: one that follows a log (`tail -f`) gives no answer, as a server waits for its end.
pub(super) fn is_reader_that_ends(text: &[u8], range: Range<usize>) -> bool {
    let option = text[range.clone()].strip_prefix(b"tail -").unwrap_or_default();
    let len = option.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    !option[..len].contains(&b'f') && leads_shortly(text, range)
}

/// The command does more than set up the shell of a user anew, which is of no use to an attacker: `source ~/.bashrc`.
pub(super) fn reads_files(text: &[u8], range: Range<usize>) -> bool {
    let command = text[range.start + 1..].trim_ascii_start();
    let file = command.strip_prefix(b"source ").map(<[u8]>::trim_ascii_start);
    let is_set_up = file.is_some_and(|file| {
        let len =
            file.iter().take_while(|byte| !byte.is_ascii_whitespace() && !b";&|)".contains(byte)).count();
        SET_UP.contains(&&file[..len])
    });
    !is_set_up && !is_filter_of_lines(command) && leads_shortly(text, range)
}

/// The command selects among the lines of the command before it: `| grep -i error`, without a file and a folder.
fn is_filter_of_lines(command: &[u8]) -> bool {
    let Some(arguments) = command.strip_prefix(b"grep ") else { return false };
    let end = arguments.iter().position(|byte| b";&\n`".contains(byte)).unwrap_or(arguments.len());
    let end = memchr::memchr(b'|', &arguments[..end]).unwrap_or(end);
    let mut rest =
        words(&arguments[..end]).skip_while(|word| matches!(*word, b"-i" | b"-v" | b"-c" | b"-o" | b"-e"));
    let is_pattern = |word: &[u8]| {
        !word.starts_with(b"-") && !word.starts_with(b"/") && !word.iter().any(|byte| b"<>(".contains(byte))
    };
    rest.next().is_some_and(is_pattern) && rest.next().is_none()
}

/// Files that set up a shell or an environment.
const SET_UP: [&[u8]; 10] = [
    b"~/.bashrc",
    b"~/.bash_profile",
    b"~/.profile",
    b"~/.zshrc",
    b"~/.zshenv",
    b"~/.cargo/env",
    b"~/.nvm/nvm.sh",
    b"./venv/bin/activate",
    b".venv/bin/activate",
    b"~/.bash_aliases",
];

/// The command is the end of a value that is a few words otherwise: `the photos of my trip; cat /etc/passwd`. Text in backticks there is
/// code that is shown.
fn ends_sentence(text: &[u8], range: &Range<usize>) -> bool {
    let mut lead = words(&text[..range.start]);
    let is_ended = words(&text[range.end..]).filter(|word| is_spoken(word)).nth(1).is_none();
    text[range.start] != b'`'
        && lead.by_ref().take(LEAD_WORDS_MAX).all(is_word)
        && lead.next().is_none()
        && is_ended
}

/// Most words before a command (chosen).
const LEAD_WORDS_MAX: usize = 12;

/// The span of code that the match opens has words of a sentence behind it.
fn has_words_behind_span(text: &[u8], range: &Range<usize>) -> bool {
    let span = &text[range.start + 1..];
    memchr::memchr(b'`', span).is_some_and(|close| {
        words(&span[close + 1..]).filter(|word| is_spoken(word)).nth(MENTION_WORDS - 1).is_some()
    })
}

/// The command is the last word of a short value: a word among others that are separated is a column or a choice.
pub(super) fn is_last_word(text: &[u8], range: Range<usize>) -> bool {
    let is_separator = |byte: &u8| matches!(byte, b';' | b'|' | b'&' | b'\n' | b',');
    let parts = text.split(is_separator).filter(|part| !part.trim_ascii().is_empty()).count();
    let lead = text[..range.start].split(|byte| is_separator(byte) || byte.is_ascii_whitespace());
    let words = lead.filter(|word| !word.is_empty()).count();
    parts <= 2 && words <= 1 && leads_shortly(text, range.clone()) && !is_pair(text, range)
}

/// Commands that are words of every day.
const EVERYDAY: [&[u8]; 12] = [
    b"date", b"set", b"who", b"last", b"top", b"free", b"history", b"tree", b"groups", b"finger", b"jobs",
    b"echo",
];

/// Two common words with a sign between: `time & date`. Behind an address or a file name it is a command.
fn is_pair(text: &[u8], range: Range<usize>) -> bool {
    let lead = text[..range.start].trim_ascii();
    let command = text[range].trim_ascii_start();
    let is_spaced = command.get(1) == Some(&b' ');
    let command = command.get(1..).unwrap_or_default().trim_ascii();
    is_spaced && lead.len() > 2 && lead.iter().all(u8::is_ascii_alphabetic) && EVERYDAY.contains(&command)
}

/// The operator is no part of a filter in brackets, `filter[price][$gt]`, and of no example.
pub(super) fn is_no_filter(text: &[u8], range: Range<usize>) -> bool {
    let before = &text[..range.start];
    let name = &before[..memchr::memchr(b'[', before).unwrap_or(before.len())];
    let is_query = matches!(name, b"filter" | b"filters" | b"where" | b"query" | b"conditions");
    let runs = text[range.clone()].ends_with(b"$where");
    !(is_query && name.len() < before.len() && !runs) && is_no_example(text, range)
}

/// The text is no example: a sentence that begins with an object shows one, while the input of a database ends with the object.
pub(super) fn is_no_example(text: &[u8], _: Range<usize>) -> bool {
    let text = text.trim_ascii();
    let is_object = matches!(text.first(), Some(b'{' | b'['));
    let is_sentence =
        text.last().is_some_and(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'.' | b'?' | b'!'));
    !(is_object && is_sentence)
}

/// The element is no mention: a sentence names it (`how do I add <script> to a page?`), with words beside it, without attributes, and
/// with nothing behind it that a browser would run.
pub(super) fn is_no_mention(text: &[u8], range: Range<usize>) -> bool {
    let (lead, rest) = (&text[..range.start], &text[range.start..]);
    if rest.starts_with(b"</") && memchr::memmem::find(lead, b"<script").is_some() {
        // The end of an element that was judged by its beginning.
        return false;
    }
    if !is_script_with_means(rest) {
        return false;
    }
    let Some(inside) = behind_bare_tag(rest) else { return true };
    let is_said = words_before(lead, is_spoken) + usize::from(lead.ends_with(b"`")) >= MENTION_WORDS
        || words(inside).take(4).filter(|word| is_spoken(word)).count() >= MENTION_WORDS;
    !(is_said && is_no_script(inside))
}

/// The text behind a tag without attributes: `<script>`, `<script async>`, `<script tag`.
fn behind_bare_tag(rest: &[u8]) -> Option<&[u8]> {
    let tag = rest.strip_prefix(b"</").or_else(|| rest.strip_prefix(b"<"))?;
    match memchr::memchr2(b'>', b'=', tag) {
        None => Some(tag),
        Some(end) => {
            let is_bare = |byte: &u8| byte.is_ascii_alphanumeric() || byte.is_ascii_whitespace();
            (tag[end] == b'>' && tag[..end].iter().all(is_bare)).then(|| &tag[end + 1..])
        }
    }
}

/// The text behind `<script>` that no browser runs: without the signs that code needs to act, or beginning with two words, which is
/// an error of syntax in the whole script.
fn is_no_script(inside: &[u8]) -> bool {
    let inside = inside.strip_prefix(b"`").unwrap_or(inside);
    let script = &inside[..memchr::memmem::find(inside, b"</").unwrap_or(inside.len())];
    let is_inert = |byte: &u8| {
        byte.is_ascii_alphanumeric() || is_blank(byte) || matches!(byte, b',' | b'.' | b'?' | b'!' | b'-')
    };
    script.iter().all(is_inert) || has_two_names(script)
}

/// Two names with nothing but a blank between them, before any string or comment: an error of syntax, so that no part of the script
/// runs.
fn has_two_names(script: &[u8]) -> bool {
    let is_mark = |byte: &u8| matches!(byte, b'"' | b'\'' | b'`' | b'/' | b'\\' | b'\n' | b'\r');
    let line = &script[..script.iter().position(is_mark).unwrap_or(script.len())];
    let mut last_is_name = false;
    line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty()).any(|word| {
        let letters = word.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        let is_name = letters > 0 && !OF_SCRIPTS.contains(&&word[..letters]);
        let found = last_is_name && is_name;
        last_is_name = is_name && letters == word.len();
        found
    })
}

/// Words of JavaScript that a name may follow, or that may stand behind a name.
const OF_SCRIPTS: [&[u8]; 34] = [
    b"var",
    b"let",
    b"const",
    b"new",
    b"throw",
    b"typeof",
    b"void",
    b"delete",
    b"return",
    b"if",
    b"in",
    b"of",
    b"instanceof",
    b"import",
    b"export",
    b"function",
    b"class",
    b"async",
    b"await",
    b"yield",
    b"case",
    b"else",
    b"do",
    b"static",
    b"get",
    b"set",
    b"from",
    b"as",
    b"default",
    b"extends",
    b"using",
    b"break",
    b"continue",
    b"accessor",
];

/// The path is a path, and no pattern for paths: `/var/log/(nginx|apache2)/.*`.
pub(super) fn is_no_pattern(text: &[u8], range: Range<usize>) -> bool {
    text.get(range.end) != Some(&b'(') && is_no_remark(text, range)
}

/// The path or address is the whole value, or its end: a sentence continues behind it with words.
pub(super) fn is_no_remark(text: &[u8], range: Range<usize>) -> bool {
    let behind = &text[range.end..];
    let Some(end) = behind.iter().position(u8::is_ascii_whitespace) else { return true };
    let is_word = |word: &&[u8]| {
        word.iter().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'\'' | b'"' | b','))
    };
    let words = behind[end..].split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    words.take(REMARK_WORDS).filter(is_word).count() < REMARK_WORDS
}

/// Fewest words of a remark behind its subject (chosen).
const REMARK_WORDS: usize = 3;

/// Fewest words before an element that is mentioned (chosen).
const MENTION_WORDS: usize = 2;

/// The match is no part of a formula with a name (`0 < x and 3 < 10`) and of no condition in code (`1 < 2 && 3 > 2`). An equation of two
/// numbers is in no formula, so what precedes it excuses nothing (`1<2 or 1=1`), nor does a comparison of numbers (`1<2 or 3>2`).
pub(super) fn is_no_comparison(text: &[u8], range: Range<usize>) -> bool {
    // A whole query may narrow its result by nothing.
    let narrows = memchr::memmem::find(&text[range.clone()], b"and").is_some();
    if narrows && begins_statement(text) && !is_no_statement(text, range.clone()) {
        return false;
    }
    let whole = range.clone();
    let (before, matched) = (&text[..range.start], &text[range]);
    let compares = |part: &[u8]| part.iter().any(|byte| matches!(byte, b'<' | b'>'));
    let has_name = before.iter().any(u8::is_ascii_alphabetic);
    let is_condition = has_name || matched.contains(&b'&');
    let is_formula = is_condition && compares(before) && compares(matched) && !matched.contains(&b'=');
    !is_formula && !before.starts_with(b"if") && !is_condition_of_source(text, &whole)
}

/// The path is no module that code imports or a page refers to.
pub(super) fn is_no_import(text: &[u8], range: Range<usize>) -> bool {
    let before = &text[..range.start];
    let line = &before[memchr::memrchr(b'\n', before).map_or(0, |at| at + 1)..];
    let ends_quoted = matches!(line.last(), Some(b'\'' | b'"' | b'`' | b'(' | b'='));
    let words: [&[u8]; 11] = [
        b"import ",
        b"include=",
        b"require",
        b"from ",
        b"include ",
        b"src=",
        b"href=",
        b"url(",
        b"link ",
        b"](",
        b"@import",
    ];
    !(ends_quoted && words.iter().any(|word| memchr::memmem::find(line, word).is_some()))
}

/// Fewest words of a sentence (chosen).
const SENTENCE_WORDS: usize = 5;

/// The match is no word of a sentence: a character of a shell, a path or a quote is directly before it, or the value is short.
pub(super) fn is_no_prose(text: &[u8], range: Range<usize>) -> bool {
    let words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).count();
    let before = &text[..range.start];
    let is_word = before.last().is_some_and(|byte| matches!(byte, b' ' | b'\n' | b'(' | b'`'))
        || text[range.start].is_ascii_whitespace();
    let is_shell = before.iter().any(|byte| matches!(byte, b';' | b'|' | b'$' | b'<' | b'&'));
    !(words >= SENTENCE_WORDS && is_word && !is_shell)
}

/// The whole value is a path, or the address of one.
pub(super) fn is_path_whole(text: &[u8], _: Range<usize>) -> bool {
    !text.iter().any(u8::is_ascii_whitespace)
}

/// The match is in one line of a value that is no more than a command: a script has several lines, and a text more words.
pub(super) fn is_one_command(text: &[u8], _: Range<usize>) -> bool {
    let words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).count();
    words <= COMMAND_WORDS && !text.trim_ascii().contains(&b'\n')
}

/// Most words of a command (chosen).
const COMMAND_WORDS: usize = 14;
