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
        let result = match options.parse([first]) {
            Err(Fail::ArgumentMissing(name)) => match after.split_first() {
                Some((value, after)) => {
                    rest = after;
                    options.parse([first, value])
                }
                None => Err(Fail::ArgumentMissing(name)),
            },
            other => other,
        };
        match result {
            Ok(matches) => parsed.add(matches),
            Err(fail) => add_problem(fail, problems),
        }
    }
    parsed
}

impl Arguments {
    fn add(&mut self, matches: Matches) {
        for (spec, texts) in TABLE.iter().zip(&mut self.layer) {
            for name in spec.names() {
                let origin = Origin::Argument(format!("--{name}"));
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
        for name in spec.names() {
            let short = if name == spec.name { spec.short } else { "" };
            let takes = match spec.takes {
                // Short flags can be combined, as in `-vq`; flags without a letter may have `=no`.
                Takes::Flag | Takes::Count if !spec.short.is_empty() => HasArg::No,
                Takes::Flag | Takes::Count => HasArg::Maybe,
                Takes::Value | Takes::Path | Takes::KeyedPath => HasArg::Yes,
            };
            options.opt(short, name, "", "", takes, Occur::Multi);
        }
    }
    options
}

/// The message about an option that does not exist.
pub fn unknown_option(name: &str) -> String {
    let hint = did_you_mean(name, TABLE.iter().flat_map(Spec::names));
    format!("unknown option: expected one of those that weir --help lists{hint}")
}

fn add_problem(fail: Fail, problems: &mut Problems) {
    let dashed =
        |name: &str| if name.chars().count() == 1 { format!("-{name}") } else { format!("--{name}") };
    let (name, message) = match fail {
        Fail::ArgumentMissing(name) => {
            let takes =
                TABLE.iter().find(|spec| spec.short == name || spec.names().any(|known| known == name));
            let message = format!("expected a value, {}", takes.map_or("", |spec| spec.placeholder));
            (name, message)
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
