//! Lengths of files and functions.

use super::{closing, expect_none, files, package, relative, sources};
use std::path::Path;

/// Files beyond 700 lines, with the reason.
const LONG: [(&str, &str); 0] = [];

/// Most lines of a file that holds one concept.
const LINES_MAX: usize = 700;

/// Functions beyond 70 lines, with the reason.
const LONG_FUNCTIONS: [(&str, &str, &str); 2] = [
    ("src/engine/transaction/refusal.rs", "wording", "a table: one sentence for each refusal"),
    ("src/http/fault.rs", "description", "a table: status, word and sentence for each fault"),
];

/// Most lines of a function: one screen.
const FUNCTION_LINES_MAX: usize = 70;

/// A file holds one concept: longer ones have a reason that is written down here.
#[test]
fn files_are_short() {
    let mut wrong = Vec::new();
    let lines = |path: &Path| std::fs::read_to_string(path).map_or(0, |text| text.lines().count());
    for path in ["src", "tests", "examples", "benches"].iter().flat_map(|folder| files(folder)) {
        let (lines, path) = (lines(&path), relative(&path));
        let reasoned = LONG.iter().any(|(long, reason)| *long == path && !reason.is_empty());
        if lines > LINES_MAX && !reasoned && path.ends_with(".rs") {
            wrong.push(format!("{path}: {lines} lines"));
        }
    }
    for (path, _) in LONG {
        let lines = lines(&package().join(path));
        if lines <= LINES_MAX {
            wrong.push(format!("{path} is on the list of long files with {lines} lines"));
        }
    }
    expect_none("files over 700 lines", &wrong);
}

/// Functions fit on one screen; tables have a reason that is written down here. Tests may list their cases.
#[test]
fn functions_are_short() {
    let (mut wrong, mut found) = (Vec::new(), Vec::new());
    for source in sources() {
        for (name, lines) in
            functions(&source.code).into_iter().filter(|(_, lines)| *lines > FUNCTION_LINES_MAX)
        {
            let reasoned = |(path, long, _): &&(&str, &str, &str)| *path == source.path && *long == name;
            match LONG_FUNCTIONS.iter().find(reasoned) {
                Some((path, long, _)) => found.push((*path, *long)),
                None => wrong.push(format!("{}: {name} has {lines} lines", source.path)),
            }
        }
    }
    for (path, long, reason) in LONG_FUNCTIONS {
        if reason.is_empty() || !found.contains(&(path, long)) {
            wrong.push(format!("{path}: {long} is on the list of long functions without being one"));
        }
    }
    expect_none("functions over 70 lines", &wrong);
}

/// The functions in code without comments and strings, each with its number of lines.
fn functions(code: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (start, _) in
        code.match_indices("fn ").filter(|(at, _)| !code[..*at].ends_with(char::is_alphanumeric))
    {
        let rest = &code[start..];
        let name: String = rest[3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let (Some(brace), false) = (rest.find('{'), name.is_empty()) else { continue };
        // A declaration without a body.
        if rest[..brace].contains(";\n") {
            continue;
        }
        found.push((name, rest[..closing(rest, brace)].lines().count()));
    }
    found
}

#[test]
fn lengths_of_functions_can_be_found() {
    let functions = functions("fn a();\nfn b() -> [u8; 2] {\n  if x {\n  }\n}\npub fn c() {}\n");
    assert_eq!(functions, [("b".to_owned(), 4), ("c".to_owned(), 1)]);
}
