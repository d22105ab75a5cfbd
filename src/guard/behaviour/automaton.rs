//! Automata over the bytes of a body: linear in time, with one state id for each body, and no memory of earlier bytes.
//!
//! The classes of expressions (`\w`, `\d`, `\b`) and their case-insensitive letters are those of ASCII: automata for all of
//! Unicode have hundreds of kilobytes. A plain text is compared without case in all of Unicode.

#[cfg(feature = "detection")]
pub use with::{Automaton, Progress};
#[cfg(not(feature = "detection"))]
pub use without::{Automaton, Progress};

/// The message about a guard file with a pattern of bodies, in a build in which no body is looked at.
pub const MISSING: &str =
    "this weir was built without the feature detection, which patterns of json:, text and regex: need";

#[cfg(feature = "detection")]
mod with {
    use regex_automata::Anchored;
    use regex_automata::dfa::{Automaton as _, StartKind, dense};
    use regex_automata::nfa::thompson;
    use regex_automata::util::primitives::StateID;
    use regex_automata::util::start;
    use regex_automata::util::syntax;
    use std::sync::Arc;

    /// Most bytes of an automaton, and of its construction (chosen: a few thousand states).
    const BYTES_MAX: usize = 2 << 20;

    /// One compiled expression or text.
    #[derive(Clone, Debug)]
    pub struct Automaton(Arc<dense::DFA<Vec<u32>>>);

    /// The progress of an automaton in one body.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Progress {
        /// The automaton is in this state.
        In(StateID),
        /// The automaton has matched.
        Matched,
        /// The automaton cannot match any more.
        Dead,
    }

    impl Automaton {
        /// An expression that is searched for.
        pub fn of_expression(expression: &str) -> Result<Automaton, String> {
            let syntax = syntax::Config::new().unicode(false).utf8(false).case_insensitive(true);
            Automaton::build(expression, syntax)
        }

        /// A text that is searched for.
        pub fn of_text(text: &str) -> Result<Automaton, String> {
            let escaped: String = text.chars().fold(String::new(), |mut escaped, char| {
                if char.is_ascii_punctuation() {
                    escaped.push('\\');
                }
                escaped.push(char);
                escaped
            });
            Automaton::build(&escaped, syntax::Config::new().utf8(false).case_insensitive(true))
        }

        fn build(expression: &str, syntax: syntax::Config) -> Result<Automaton, String> {
            let config = dense::Config::new()
                .start_kind(StartKind::Unanchored)
                .dfa_size_limit(Some(BYTES_MAX))
                .determinize_size_limit(Some(2 * BYTES_MAX));
            // Nested repetitions are refused before they are expanded.
            let nfa = thompson::Config::new().nfa_size_limit(Some(BYTES_MAX));
            let built =
                dense::Builder::new().configure(config).syntax(syntax).thompson(nfa).build(expression);
            let automaton = built.map_err(|error| {
                // The innermost cause names what is wrong, in its last line.
                let mut cause: &dyn std::error::Error = &error;
                while let Some(inner) = cause.source() {
                    cause = inner;
                }
                let message = cause.to_string();
                let line = message.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
                format!(
                    "expected a regular expression without look-around and back-references: {}",
                    line.trim()
                )
            })?;
            let automaton = Automaton(Arc::new(automaton));
            match automaton.start() {
                Progress::Matched => {
                    Err("the pattern matches every body: expected one that needs bytes".into())
                }
                Progress::In(_) | Progress::Dead => Ok(automaton),
            }
        }

        /// The progress before the first byte.
        pub fn start(&self) -> Progress {
            let config = start::Config::new().anchored(Anchored::No);
            match self.0.start_state(&config) {
                // A match is reported one byte late, so an empty match at the start is found at the end of an empty body.
                Ok(state) if self.0.is_match_state(self.0.next_eoi_state(state)) => Progress::Matched,
                Ok(state) => Progress::In(state),
                Err(_) => Progress::Dead,
            }
        }

        /// Feeds the next bytes.
        pub fn feed(&self, progress: Progress, bytes: &[u8]) -> Progress {
            let Progress::In(mut state) = progress else { return progress };
            for &byte in bytes {
                state = self.0.next_state(state, byte);
                if self.0.is_special_state(state) {
                    if self.0.is_match_state(state) {
                        return Progress::Matched;
                    }
                    if self.0.is_dead_state(state) || self.0.is_quit_state(state) {
                        return Progress::Dead;
                    }
                }
            }
            Progress::In(state)
        }

        /// Whether the automaton has matched at the end of the body.
        pub fn end(&self, progress: Progress) -> bool {
            match progress {
                Progress::In(state) => self.0.is_match_state(self.0.next_eoi_state(state)),
                Progress::Matched => true,
                Progress::Dead => false,
            }
        }
    }
}

#[cfg(not(feature = "detection"))]
mod without {
    use super::MISSING;

    /// Cannot be created in this build.
    #[derive(Clone, Copy, Debug)]
    pub struct Automaton(());

    /// The progress of an automaton.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Progress {
        /// The automaton has matched.
        Matched,
        /// The automaton cannot match any more.
        Dead,
    }

    impl Automaton {
        /// An expression that is searched for.
        pub fn of_expression(_: &str) -> Result<Automaton, String> {
            Err(MISSING.into())
        }

        /// A text that is searched for.
        pub fn of_text(_: &str) -> Result<Automaton, String> {
            Err(MISSING.into())
        }

        /// The progress before the first byte.
        pub fn start(&self) -> Progress {
            Progress::Dead
        }

        /// Feeds the next bytes.
        pub fn feed(&self, progress: Progress, _: &[u8]) -> Progress {
            progress
        }

        /// Whether the automaton has matched at the end of the body.
        pub fn end(&self, progress: Progress) -> bool {
            progress == Progress::Matched
        }
    }
}

#[cfg(all(test, feature = "detection"))]
mod tests {
    use super::*;

    fn found(automaton: &Automaton, body: &[u8], step: usize) -> bool {
        let progress =
            body.chunks(step).fold(automaton.start(), |progress, bytes| automaton.feed(progress, bytes));
        automaton.end(progress)
    }

    #[test]
    fn guard_10_texts_and_expressions_are_found_across_reads() {
        let expression = |text: &str| Automaton::of_expression(text).unwrap();
        let text = |text: &str| Automaton::of_text(text).unwrap();
        for (automaton, body, is_found) in [
            (text("You win"), "... YOU WIN!", true),
            (text("You win"), "you  win", false),
            (text("a.b"), "axb", false),
            (text("a.b*[c]"), "xA.B*[C]y", true),
            (text("\u{e9}t\u{e9}"), "l'\u{c9}T\u{c9}", true),
            (expression("item-[0-9]+ (rare|epic)"), "x Item-12 EPIC y", true),
            (expression("item-[0-9]+ (rare|epic)"), "item- epic", false),
            (expression("end$"), "the end", true),
            (expression("end$"), "the end.", false),
            (expression("^start"), "start", true),
            (expression("^start"), "restart", false),
            (expression(r"\bwin\b"), "a win.", true),
            (expression(r"\bwin\b"), "winner", false),
            (expression(r"\bwin\b"), "\u{e9}win\u{e9}", true),
        ] {
            for step in [1, 2, 3, 64] {
                assert_eq!(found(&automaton, body.as_bytes(), step), is_found, "{body} {step}");
            }
        }
    }

    #[test]
    fn ours_10_expressions_have_no_backtracking_and_bounds() {
        for text in ["(", "(a)\\1", "(?=a)b", "(?:a{0,1000}){1000}", "[a-z]{1000}x[a-z]{900}y.{800}z", "a*"] {
            assert!(Automaton::of_expression(text).is_err(), "{text}");
        }
        // Exponential where it backtracks.
        let automaton = Automaton::of_expression("(a+)+$").unwrap();
        let body = [b"a".repeat(200_000), b"!".to_vec()].concat();
        assert!(!found(&automaton, &body, 4096));
    }
}
