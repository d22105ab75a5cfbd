//! The command line, by getopts.
//!
//! getopts stops at the first error, but weir reports all errors at once. So getopts gets one option at a time, with
//! the following argument if the option needs one.

use getopts::{Fail, HasArg, Matches, Occur, Options};

use super::layer::{blank_layer, did_you_mean, split};
use super::options::TABLE;
use super::problem::{Located, Origin, Problems};
use super::settings::Layer;
use super::spec::{Spec, Takes};

/// The parsed command line.
#[derive(Debug)]
pub struct Arguments {
    /// The texts of each option.
    pub(super) layer: Layer,
    /// The arguments that are no options.
    pub free: Vec<String>,
}

/// Parses the command line; values are not checked yet.
pub fn parse(arguments: &[String], problems: &mut Problems) -> Arguments {
    let options = known_options();
    let mut parsed = Arguments { layer: blank_layer(), free: Vec::new() };
    let mut rest = arguments;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if first == "--" {
            parsed.free.extend_from_slice(after);
            break;
        }
        let result = match parse_words(&options, &[first]) {
            Err(Fail::ArgumentMissing(name)) => match after.split_first() {
                Some((value, after)) if !is_option(value, &options) => {
                    rest = after;
                    parse_words(&options, &[first, value])
                }
                Some(_) | None => Err(Fail::ArgumentMissing(name)),
            },
            other => other,
        };
        match result {
            Ok(matches) => parsed.add(matches),
            // getopts takes what is behind a flag's letter for more letters.
            Err(Fail::UnrecognizedOption(name)) if name == "=" => {
                let message = "expected letters of options without a =, or --NAME=VALUE";
                problems.add(Origin::Argument(first.clone()), message.to_owned());
            }
            Err(fail) => add_problem(fail, after.first(), problems),
        }
    }
    parsed
}

/// `Options::parse` for slices: the parser is compiled once for each kind of list.
fn parse_words(options: &Options, words: &[&str]) -> Result<Matches, Fail> {
    options.parse(words)
}

/// Whether a word is one of weir's options, or several (`-vq`), with their value (`-p80`) or without, or the end of options. Such a word
/// is no value of the option before it: that one's value was forgotten.
fn is_option(word: &str, options: &Options) -> bool {
    word.len() > 1
        && word.starts_with('-')
        && !matches!(parse_words(options, &[word]), Err(Fail::UnrecognizedOption(_)))
}

impl Arguments {
    fn add(&mut self, matches: Matches) {
        for (spec, texts) in TABLE.iter().zip(&mut self.layer) {
            let short = Some((spec.short, spec.name)).filter(|(short, _)| !short.is_empty());
            for (name, long) in spec.names().map(|name| (name, name)).chain(short) {
                let origin = Origin::Argument(format!("--{long}"));
                let values = matches.opt_strs(name);
                // A flag without a value means yes.
                let yes = matches.opt_count(name) - values.len();
                let values = values.into_iter().chain((0..yes).map(|_| "yes".to_owned()));
                texts.extend(values.flat_map(|value| split(spec, Located::new(value, origin.clone()))));
            }
        }
        self.free.extend(matches.free);
    }
}

fn known_options() -> Options {
    let mut options = Options::new();
    for spec in TABLE {
        // Letters of flags can be combined, as in `-vq`; names of flags may have `=no`.
        let (by_letter, by_name) = match spec.takes {
            Takes::Flag | Takes::Count => (HasArg::No, HasArg::Maybe),
            Takes::Value | Takes::Path | Takes::KeyedPath => (HasArg::Yes, HasArg::Yes),
        };
        if !spec.short.is_empty() {
            options.opt(spec.short, "", "", "", by_letter, Occur::Multi);
        }
        for name in spec.names() {
            options.opt("", name, "", "", by_name, Occur::Multi);
        }
    }
    options
}

/// The message about an option that does not exist.
pub fn unknown_option(name: &str) -> String {
    let hint = did_you_mean(name, TABLE.iter().flat_map(Spec::names));
    format!("unknown option: expected one of those that weir --help lists{hint}")
}

/// Adds the problem with an option; `next` is the word behind it.
fn add_problem(fail: Fail, next: Option<&String>, problems: &mut Problems) {
    let dashed =
        |name: &str| if name.chars().count() == 1 { format!("-{name}") } else { format!("--{name}") };
    let (name, message) = match fail {
        Fail::ArgumentMissing(name) => {
            let spec =
                TABLE.iter().find(|spec| spec.short == name || spec.names().any(|known| known == name));
            let (long, placeholder) = spec.map_or(("", ""), |spec| (spec.name, spec.placeholder));
            // The word behind it is an option.
            let form = next.map(|_| format!("; write --{long}={placeholder} if it begins with -"));
            let form = form.unwrap_or_default();
            (name, format!("expected a value, {placeholder}{form}"))
        }
        Fail::UnrecognizedOption(name) => {
            let message = unknown_option(&name);
            (name, message)
        }
        Fail::UnexpectedArgument(name) => (name, "takes no value: expected the option alone".to_owned()),
        // No option is required, and all may be repeated.
        Fail::OptionMissing(name) | Fail::OptionDuplicated(name) => (name, "expected it once".to_owned()),
    };
    problems.add(Origin::Argument(dashed(&name)), message);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of that option, or all problems.
    fn values(arguments: &[&str], name: &str) -> Result<Vec<String>, String> {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut problems = Problems::new();
        let parsed = parse(&arguments, &mut problems);
        let texts = TABLE.iter().zip(parsed.layer).find(|(spec, _)| spec.name == name).unwrap().1;
        match problems.is_empty() && parsed.free.is_empty() {
            true => Ok(texts.into_iter().map(|text| text.value).collect()),
            false => Err(problems.to_string()),
        }
    }

    #[test]
    fn an_option_is_no_value_of_another_one() {
        for (arguments, expected) in [
            (&["--deny-private", "--block"][..], "weir: --block: expected a value, RULE"),
            (
                &["--block", "--deny-private"],
                "weir: --block: expected a value, RULE; write --block=RULE if it begins with -",
            ),
            (
                &["--block", "--port=80"],
                "weir: --block: expected a value, RULE; write --block=RULE if it begins with -",
            ),
            (&["-p", "--check"], "weir: -p: expected a value, N; write --port=N if it begins with -"),
            (&["-p", "-p", "80"], "weir: -p: expected a value, N; write --port=N if it begins with -"),
            (&["-vp", "-q"], "weir: -p: expected a value, N; write --port=N if it begins with -"),
            (&["-p", "--"], "weir: -p: expected a value, N; write --port=N if it begins with -"),
        ] {
            assert_eq!(values(arguments, "port"), Err(expected.to_owned()), "{arguments:?}");
        }
        // Neither are combined letters, a letter with its value attached, and the end of options.
        for word in ["-p8080", "-cweir.conf", "-q", "-vq", "-vvp", "-vqp80", "--quiet=no", "--port", "--"] {
            let forgotten = "weir: --block: expected a value, RULE; write --block=RULE if it begins with -";
            let problems = values(&["--block", word], "block").unwrap_err();
            assert_eq!(problems.lines().next(), Some(forgotten), "{word}");
        }
        // A value may look like an option that weir does not have, or be attached.
        for value in ["", "-x", "-x: y", "-", "-1", "-vx", "--no-such", "--no-such=1", "---port", "-\u{e9}"] {
            assert_eq!(values(&["--via", value], "via"), Ok(vec![value.to_owned()]));
        }
        for value in ["--check", "-vq", "--"] {
            assert_eq!(values(&[&format!("--via={value}")], "via"), Ok(vec![value.to_owned()]));
        }
        assert_eq!(values(&["-p--check", "-p", "1"], "port"), Ok(vec!["--check".to_owned(), "1".to_owned()]));
    }

    #[test]
    fn flags_may_have_a_value() {
        for (arguments, name, expected) in [
            (&["-q", "--quiet=no"][..], "quiet", &["yes", "no"][..]),
            (&["--verbose=2", "--verbose", "-vvq"], "verbose", &["2", "yes", "yes", "yes"]),
            (&["--deny-private=no"], "deny-private", &["no"]),
        ] {
            let expected = expected.iter().map(|&value| value.to_owned()).collect();
            assert_eq!(values(arguments, name), Ok(expected), "{arguments:?}");
        }
        // The word behind a flag is not its value, and behind a letter come other letters.
        assert!(values(&["--quiet", "no"], "quiet").is_err());
        assert!(values(&["-q=no"], "quiet").is_err());
    }
}
