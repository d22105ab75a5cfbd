//! What a row of the table of options holds, and how the table is written.

use super::problem::{Located, Problem};
use super::settings::Settings;

/// What follows the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing on the command line (or `=yes`, `=no`); nothing, yes or no in a file.
    Flag,
    /// As a flag, but it counts.
    Count,
    /// A value.
    Value,
    /// A path; relative ones in a file are relative to that file.
    Path,
    /// The same behind something else: `KEY=PATH`.
    KeyedPath,
}

impl Takes {
    /// A value with its path made another one; what holds none stays as it is.
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

/// How often it may be set in one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Once in a file; on the command line the last one counts.
    Once,
    /// Any number of times, one value each. In the environment one per line.
    Many,
    /// Any number of times, several values in one, separated by commas, everywhere.
    List,
}

/// Where it may be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Command line, environment and file.
    Everywhere,
    /// Command line and environment.
    NotInFiles,
    /// Command line only.
    CommandLine,
}

/// The heading under which `--help` lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Starting it.
    General,
    /// Policy.
    Access,
    /// Access log and statistics.
    Log,
    /// Times.
    Timeouts,
    /// Bounds.
    Limits,
    /// What is accepted and what is rewritten, and DNS.
    Messages,
    /// The cache.
    Cache,
    /// Shown in the usage line only.
    Explain,
}

/// Takes the values of one layer, the last of which counts where there may be one, and says what is wrong with them.
pub type Apply = fn(&mut Settings, &[Located<String>]) -> Vec<Problem>;

/// One row.
#[derive(Debug)]
pub struct Spec {
    /// The long option, the key in files, and in capitals with `WEIR_` before it the environment variable.
    pub name: &'static str,
    /// The short option, or empty.
    pub short: &'static str,
    /// Other names for it.
    pub aliases: &'static [&'static str],
    /// What follows the name.
    pub takes: Takes,
    /// How its value is called in the help; empty for flags.
    pub placeholder: &'static str,
    /// How often.
    pub repeat: Repeat,
    /// Where.
    pub scope: Scope,
    /// The heading.
    pub section: Section,
    /// Its value if nobody sets it, in the form of a file; empty for nothing at all.
    pub default: &'static str,
    /// What it does, as a phrase that begins with a verb.
    pub help: &'static str,
    /// Many need it: `--help` has the phrase. That of the others is in their topic only.
    pub common: bool,
    /// A reload cannot change it.
    pub restart: bool,
    /// Puts it into the settings.
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
        Spec {
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
            apply,
        }
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

    /// A flag that is set unless somebody says no.
    pub(super) const fn on(self) -> Spec {
        Spec { default: "yes", ..self }
    }

    pub(super) const fn counting(self) -> Spec {
        Spec { takes: Takes::Count, repeat: Repeat::Many, default: "0", ..self }
    }

    pub(super) const fn scope(self, scope: Scope) -> Spec {
        // What is not a setting has no default to print.
        Spec { scope, default: "", ..self }
    }

    /// Among those that `--help` explains.
    pub(super) const fn common(self) -> Spec {
        Spec { common: true, ..self }
    }

    /// Read at the start only.
    pub(super) const fn restart(self) -> Spec {
        Spec { restart: true, ..self }
    }

    /// All its long names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }
}
