//! Source files in a value of one line: programs in C, Java, C#, Go, Kotlin, Rust, and loops and conditions of any language.
//!
//! Two facts make them inert. Two names in a row, and words of control flow, are errors of syntax in an expression of SQL, so that no
//! part of the statement runs. And where such a text is evaluated as a script, the body of a function runs only if something outside
//! of it calls the function. A class is another matter: Groovy runs its `main`, JavaScript its initialisers.

use super::brackets::{behind_group, may_be_in_string};
use super::traces::is_no_trace;
use super::words::words;
use std::ops::Range;

/// First words of the definition of a function: types and modifiers, which no script has before a name.
const OF_FUNCTIONS: [&[u8]; 24] = [
    b"int",
    b"void",
    b"char",
    b"bool",
    b"boolean",
    b"double",
    b"float",
    b"long",
    b"short",
    b"unsigned",
    b"size_t",
    b"string",
    b"extern",
    b"inline",
    b"public",
    b"private",
    b"protected",
    b"internal",
    b"final",
    b"abstract",
    b"static",
    b"fn",
    b"func",
    b"fun",
];

/// First words of a statement or a definition in a source file.
const OF_STATEMENTS: [&[u8]; 29] = [
    b"class",
    b"struct",
    b"interface",
    b"enum",
    b"namespace",
    b"impl",
    b"using",
    b"import",
    b"package",
    b"def",
    b"for",
    b"while",
    b"if",
    b"elif",
    b"else",
    b"return",
    b"switch",
    b"const",
    b"let",
    b"var",
    b"auto",
    b"assert",
    b"do",
    b"elsif",
    b"foreach",
    b"function",
    b"sub",
    b"unless",
    b"until",
];

/// The condition is one of a source file: a statement of it begins the value, and no quote may break out of a string before the match.
pub(super) fn is_condition_of_source(text: &[u8], range: &Range<usize>) -> bool {
    let breaks = matches!(text[range.start], b'\'' | b'"' | b'`');
    !breaks && begins_source(text) && !may_be_in_string(&text[..range.start])
}

/// The call is none of a file that only defines functions.
pub(super) fn is_in_no_definition(text: &[u8], range: Range<usize>) -> bool {
    let lead = &text[..range.start];
    !is_of_definitions(text) || is_embedded(lead) || may_be_in_string(lead)
}

/// The class is in no trace, and the call in no file that only defines functions.
pub(super) fn is_code_that_runs(text: &[u8], range: Range<usize>) -> bool {
    is_no_trace(text, range.clone()) && is_in_no_definition(text, range)
}

/// A template engine evaluates what is between its marks, whatever is around them.
fn is_embedded(lead: &[u8]) -> bool {
    let marks: [&[u8]; 8] = [b"${", b"#{", b"%{", b"*{", b"@{", b"{{", b"<%", b"<?"];
    marks.iter().any(|mark| memchr::memmem::find(lead, mark).is_some())
}

fn begins_source(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    let rest = behind_imports(text);
    let word = &rest[..rest.iter().take_while(|byte| byte.is_ascii_alphabetic()).count()];
    let is_apart = matches!(rest.get(word.len()), Some(b' ' | b'('));
    let is_statement = is_apart && OF_STATEMENTS.contains(&word);
    let is_class = || words(rest).take(CLASS_WORDS).any(|word| word == b"class");
    rest.len() < text.len()
        || is_statement
        || body(rest).is_some()
        || OF_FUNCTIONS.contains(&word) && is_class()
}

/// The words among which the word `class` stands behind modifiers (chosen).
const CLASS_WORDS: usize = 4;

/// The text is definitions of functions from its beginning to its end.
fn is_of_definitions(text: &[u8]) -> bool {
    let mut rest = behind_imports(text.trim_ascii());
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let Some(open) = body(rest) else { return false };
        let Some(end) = behind_group(rest, open) else { return false };
        // A brace in what is a string to one language may close the body in another one.
        let braces = |brace: u8| memchr::memchr_iter(brace, &rest[open..end]).count();
        if braces(b'{') != braces(b'}') {
            return false;
        }
        rest = rest[end..].trim_ascii_start();
    }
    true
}

/// The text behind `#include <...>`, `using ...;`, `import ...;`, `package ...;` at its beginning.
fn behind_imports(text: &[u8]) -> &[u8] {
    let mut rest = text;
    loop {
        let end = if let Some(file) = rest.strip_prefix(b"#include") {
            let file = file.trim_ascii_start();
            let closing = match file.first() {
                Some(b'<') => b'>',
                Some(b'"') => b'"',
                Some(_) | None => return rest,
            };
            let Some(len) = memchr::memchr(closing, &file[1..]) else { return rest };
            let is_file =
                file[1..=len].iter().all(|byte| byte.is_ascii_alphanumeric() || b"_./+-".contains(byte));
            is_file.then_some(rest.len() - file.len() + len + 2)
        } else {
            let is_import =
                [&b"using "[..], b"import ", b"package "].iter().any(|word| rest.starts_with(word));
            let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || b" _.*\"/".contains(byte);
            let len = rest.iter().take_while(|byte| is_of_name(byte)).count();
            (is_import && rest.get(len) == Some(&b';')).then_some(len + 1)
        };
        let Some(end) = end else { return rest };
        rest = rest[end..].trim_ascii_start();
    }
}

/// The brace that opens the body of the function whose definition begins the text: two names or more, the parameters, a brace in the
/// same line.
fn body(text: &[u8]) -> Option<usize> {
    let first = text.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
    if !OF_FUNCTIONS.contains(&&text[..first]) || text.get(first) != Some(&b' ') {
        return None;
    }
    let is_of_names = |byte: &u8| byte.is_ascii_alphanumeric() || b" _*&<>[]:,".contains(byte);
    let open = text.iter().take_while(|byte| is_of_names(byte)).count();
    let has_names = text[first..open].iter().any(u8::is_ascii_alphabetic);
    let close = (has_names && text.get(open) == Some(&b'(')).then(|| behind_group(text, open))??;
    let is_of_result = |byte: &u8| is_of_names(byte) || matches!(byte, b'-' | b'.');
    let len = text[close..].iter().take_while(|byte| is_of_result(byte)).count();
    (text.get(close + len) == Some(&b'{')).then_some(close + len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_definitions_has_nothing_outside_of_them() {
        for (text, is_one) in [
            ("#include <a.h> int main(void) { f(); }", true),
            ("#include <a.h>\nstatic int f(int a) { return a; }\nint main() { if (f(1)) { g(); } }", true),
            ("using a.b; public static void main(string[] args) throws c { new d(\"{\").e(\"}\"); }", true),
            ("int main() { f(); } g()", false),
            ("int main() { f(); }\nmain(); int h() { }", false),
            ("int main(); g(); int f() { }", false),
            ("int main() { \"}\" g(); }", false),
            ("void f()\n{ g() }", false),
            ("#include <a.h>", false),
            ("#include <a.h>\nf()", false),
            ("class a { void f() { g(); } }", false),
        ] {
            assert_eq!(is_of_definitions(text.as_bytes()), is_one, "{text}");
        }
    }
}
