//! What the guard reads: its file.

use weir::guard::directives::{Directives, parse};

use super::pieces::shown;

/// Any bytes as a guard file: problems name lines that are there, and the canonical text of each line means the same again.
pub fn guard_file(bytes: &[u8]) {
    let count = bytes.iter().filter(|byte| **byte == b'\n').count() as u32 + 1;
    match parse(bytes) {
        Ok(found) => check_texts(&found),
        Err(problems) => {
            assert!(!problems.is_empty(), "{}", shown(bytes));
            for problem in problems {
                assert!(problem.line <= count && !problem.message.is_empty(), "{problem:?}");
                assert!(!problem.message.contains(char::is_control), "{problem:?}");
            }
        }
    }
}

fn check_texts(found: &Directives) {
    for place in found.places() {
        let again = parse(place.text.as_bytes()).unwrap_or_else(|problems| panic!("{place:?}: {problems:?}"));
        let texts: Vec<_> = again.places().map(|place| &place.text).collect();
        assert_eq!(texts, [&place.text]);
    }
}
