//! The directive `csrf` (guard semantics, section 7).

use super::draft::Draft;
use super::values::{host_pattern, path_prefix, scope_text, word_text};
use super::words::{Optional, Words, shown};
use super::{Place, Scope};
use crate::http::fields::is_token;
use std::path::PathBuf;

/// Most lines `csrf protect` (chosen).
const LINES_MAX: usize = 64;

/// The cookie of a session without `session-cookie` (guard semantics, section 7).
const SESSION_COOKIE: &str = "session_id";

/// `csrf protect ...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsrfLine {
    /// The line of the directive.
    pub place: Place,
    /// The requests that are protected.
    pub scope: Scope,
    /// The cookie that names the session; tokens of another session are wrong.
    pub session_cookie: Box<str>,
    /// Counts and logs, refuses nothing.
    pub observe: bool,
}

/// The lines about tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CsrfLines {
    /// The protected requests.
    pub protected: Vec<CsrfLine>,
    /// The file with the key; a random one without.
    pub key_file: Option<(Place, PathBuf)>,
}

pub(super) fn csrf(draft: &mut Draft, words: &mut Words) -> Result<(), String> {
    match (words.accept("protect"), words.accept("key-file")) {
        (true, _) => protect(draft, words),
        (false, true) => {
            let path = words.value("the path of a file with a key")?;
            words.end()?;
            draft.single("csrf key-file")?;
            let place = draft.place(format!("csrf key-file {}", word_text(&path)));
            draft.directives.csrf.key_file = Some((place, path.into()));
            Ok(())
        }
        (false, false) => Err(words.unexpected("protect or key-file")),
    }
}

fn protect(draft: &mut Draft, words: &mut Words) -> Result<(), String> {
    let mut line = CsrfLine {
        place: Place::default(),
        scope: Scope::default(),
        session_cookie: SESSION_COOKIE.into(),
        observe: false,
    };
    let known: [Optional<CsrfLine>; 4] = [
        ("path", |line, words| path_prefix(words).map(|path| line.scope.path = Some(path))),
        ("host", |line, words| host_pattern(words).map(|host| line.scope.host = Some(host))),
        ("session-cookie", |line, words| {
            let expected = "the name of a cookie such as session_id";
            let name = words.value(expected)?;
            match is_token(name.as_bytes()) {
                true => line.session_cookie = name.into(),
                false => return Err(format!("expected {expected}, found {}", shown(&name))),
            }
            Ok(())
        }),
        ("observe", |line, _| {
            line.observe = true;
            Ok(())
        }),
    ];
    if !words.options(&mut line, &known)?.contains(&"path") {
        return Err("expected what is protected, such as path /forms/".into());
    }
    if draft.directives.csrf.protected.len() >= LINES_MAX {
        return Err(format!("expected at most {LINES_MAX} lines with csrf protect"));
    }
    let scope = scope_text(&line.scope);
    draft.once(format!("csrf protect{scope}"), |line| {
        format!("the same again: expected once, and line {line} has it")
    })?;
    let cookie = &line.session_cookie;
    let observe = if line.observe { " observe" } else { "" };
    line.place = draft.place(format!("csrf protect{scope} session-cookie {cookie}{observe}"));
    draft.directives.csrf.protected.push(line);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    #[test]
    fn ours_7_lines_of_csrf() {
        let found =
            parse(b"csrf protect path /forms/ host a.example observe\ncsrf key-file csrf.key").unwrap().csrf;
        assert_eq!(
            &*found.protected[0].place.text,
            "csrf protect path /forms/ host a.example session-cookie session_id observe"
        );
        assert_eq!(found.key_file.unwrap().1.to_str(), Some("csrf.key"));
        for (text, message) in [
            ("csrf", "protect or key-file"),
            ("csrf protect", "path /forms/"),
            ("csrf protect path forms", "beginning of a path"),
            ("csrf protect path / session-cookie \"a b\"", "name of a cookie"),
            ("csrf protect path /\ncsrf protect path / observe", "line 1 has it"),
            ("csrf key-file a\ncsrf key-file b", "line 1 has it"),
        ] {
            let problems = parse(text.as_bytes()).expect_err(text);
            assert!(problems.iter().any(|problem| problem.message.contains(message)), "{text}: {problems:?}");
        }
    }
}
