//! The description of an option, and the notation of the table.

use super::feature::{self, Feature};
use super::problem::{Located, Problem};
use super::settings::Settings;

/// The value of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing on the command line (or `=yes`, `=no`); nothing, yes or no in a file.
    Flag,
    /// A flag that counts.
    Count,
    /// A value.
    Value,
    /// A path; relative ones in a file are relative to that file.
    Path,
    /// A path behind a key: `KEY=PATH`.
    KeyedPath,
}

impl Takes {
    /// Applies `map` to the path in a value; a value without a path stays as it is.
    pub(super) fn map_path(self, value: &str, map: impl Fn(&str) -> String) -> String {
        match (self, value.split_once('=')) {
            (Takes::Path, _) if !value.is_empty() => map(value),
            (Takes::KeyedPath, Some((key, path))) if !path.is_empty() => format!("{key}={}", map(path)),
            (Takes::Flag | Takes::Count | Takes::Value | Takes::Path | Takes::KeyedPath, _) => {
                value.to_owned()
            }
        }
    }
}

/// How often an option may be set in one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Once in a file; on the command line the last value counts.
    Once,
    /// Any number of times, one value each. In the environment one per line.
    Many,
    /// Any number of times, several values in one, separated by commas, everywhere.
    List,
}

/// Where an option may be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Command line, environment and file.
    Everywhere,
    /// Command line and environment.
    NotInFiles,
    /// Command line only.
    CommandLine,
}

/// The heading in `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Starting the daemon.
    General,
    /// Policy.
    Access,
    /// Access log and statistics.
    Log,
    /// Times.
    Timeouts,
    /// Bounds.
    Limits,
    /// Handling of messages, and DNS.
    Messages,
    /// The cache.
    Cache,
    /// Commands to a running daemon; shown in their topic only.
    Control,
    /// Of `weir explain`; shown in its topic only.
    Explain,
    /// Of `weir detect`; shown in its topic only.
    Detect,
}

/// Stores the values of one layer in the settings (the last one, if the option has one value), and returns the problems.
pub type Apply = fn(&mut Settings, &[Located<String>]) -> Vec<Problem>;

/// A row of the table.
#[derive(Debug)]
pub struct Spec {
    /// The long option, the key in files, and in capitals with `WEIR_` before it the environment variable.
    pub name: &'static str,
    /// The short option, or empty.
    pub short: &'static str,
    /// Other names of the option.
    pub aliases: &'static [&'static str],
    /// The value that follows the name.
    pub takes: Takes,
    /// The name of the value in the help; empty for flags.
    pub placeholder: &'static str,
    /// How often the option may be set in one layer.
    pub repeat: Repeat,
    /// Where.
    pub scope: Scope,
    /// The heading.
    pub section: Section,
    /// The default, in the form of a file; empty for none.
    pub default: &'static str,
    /// The effect of the option, as a phrase that begins with a verb.
    pub help: &'static str,
    /// `--help` shows the phrase. The phrases of other options are in their topic only.
    pub common: bool,
    /// Whether a change needs a restart.
    pub restart: bool,
    /// A feature that the option needs and this build lacks.
    pub missing: Option<Feature>,
    /// Stores the value in the settings.
    pub apply: Apply,
}

impl Spec {
    pub(super) const fn value(
        section: Section,
        name: &'static str,
        placeholder: &'static str,
        default: &'static str,
        help: &'static str,
        apply: Apply,
    ) -> Spec {
        let spec = Spec {
            name,
            short: "",
            aliases: &[],
            takes: Takes::Value,
            placeholder,
            repeat: Repeat::Once,
            scope: Scope::Everywhere,
            section,
            default,
            help,
            common: false,
            restart: false,
            missing: None,
            apply,
        };
        if matches!(section, Section::Cache) { spec.needs(feature::CACHE) } else { spec }
    }

    pub(super) const fn flag(section: Section, name: &'static str, help: &'static str, apply: Apply) -> Spec {
        Spec { takes: Takes::Flag, ..Spec::value(section, name, "", "no", help, apply) }
    }

    pub(super) const fn path(
        section: Section,
        name: &'static str,
        placeholder: &'static str,
        help: &'static str,
        apply: Apply,
    ) -> Spec {
        Spec { takes: Takes::Path, ..Spec::value(section, name, placeholder, "", help, apply) }
    }

    pub(super) const fn keyed_path(
        section: Section,
        name: &'static str,
        placeholder: &'static str,
        help: &'static str,
        apply: Apply,
    ) -> Spec {
        Spec { takes: Takes::KeyedPath, ..Spec::value(section, name, placeholder, "", help, apply) }
    }

    pub(super) const fn short(self, short: &'static str) -> Spec {
        Spec { short, ..self }
    }

    pub(super) const fn aliases(self, aliases: &'static [&'static str]) -> Spec {
        Spec { aliases, ..self }
    }

    pub(super) const fn repeat(self, repeat: Repeat) -> Spec {
        Spec { repeat, ..self }
    }

    /// A flag that is on by default.
    pub(super) const fn on(self) -> Spec {
        Spec { default: "yes", ..self }
    }

    pub(super) const fn counting(self) -> Spec {
        Spec { takes: Takes::Count, repeat: Repeat::Many, default: "0", ..self }
    }

    pub(super) const fn scope(self, scope: Scope) -> Spec {
        // An option that is no setting has no default to print.
        Spec { scope, default: "", ..self }
    }

    /// A common option: `--help` has its phrase.
    pub(super) const fn common(self) -> Spec {
        Spec { common: true, ..self }
    }

    /// An option that is read at the start only.
    pub(super) const fn restart(self) -> Spec {
        Spec { restart: true, ..self }
    }

    /// An option of a feature. A build without the feature knows only the name, for a message.
    pub(super) const fn needs(self, feature: Feature) -> Spec {
        if feature.built {
            return self;
        }
        let apply: Apply = |_, _| Vec::new();
        Spec { missing: Some(feature), default: "", help: "is not in this build of weir", apply, ..self }
    }

    /// All long names of the option.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }
}
