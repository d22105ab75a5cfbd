//! The Cargo features: the features that this build lacks, and the message about an option that needs one of them.

use std::fmt::Write;

/// A part of weir that a build may be without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// The name in `Cargo.toml`.
    pub name: &'static str,
    /// Whether this build has the feature.
    pub built: bool,
}

/// A table of features, in the order of their names.
macro_rules! features {
    ($($constant:ident $name:literal,)*) => {
        $(
            #[doc = concat!("The feature `", $name, "`.")]
            pub const $constant: Feature = Feature { name: $name, built: cfg!(feature = $name) };
        )*

        /// All features that change what the daemon can do.
        pub const ALL: &[Feature] = &[$($constant),*];
    };
}

features! {
    ADMIN "admin",
    CACHE "cache",
    CLOUD "cloud",
    DETECTION "detection",
    GUARD "guard",
    IDNA "idna",
    MONGODB "mongodb",
    REDIS "redis",
    SANDBOX "sandbox",
    SPLICE "splice",
    TLS "tls",
}

impl Feature {
    /// The text of a topic of this feature. A build without the feature has a shorter text instead.
    pub const fn text(self, text: &'static str) -> &'static str {
        if self.built { text } else { "Not in this build of weir: `weir help features` says what is.\n" }
    }

    /// The message about an option that needs this feature, in a build without it.
    pub fn needed(self) -> String {
        format!("needs the feature {}, which this weir was built without", self.name)
    }
}

/// The features that this build has and those that it lacks, a line for each group.
pub fn summary() -> String {
    let names = |built| {
        let named: Vec<&str> = ALL.iter().filter(|one| one.built == built).map(|one| one.name).collect();
        if named.is_empty() { "none".to_owned() } else { named.join(" ") }
    };
    let mut text = format!("features: {}\n", names(true));
    let _ = writeln!(text, "built without: {}", names(false));
    text
}

#[cfg(test)]
mod tests {
    use super::super::help::{help_on, list_of_topics};
    use super::super::options::{Scope, TABLE, Takes, environment_name};
    use super::super::{Settings, exit};
    use super::*;

    /// The problems of these settings, and the exit code.
    fn problems(arguments: &[&str], environment: &[(&str, &str)], file: &str) -> (Vec<String>, u8) {
        let arguments = arguments.iter().map(ToString::to_string);
        let arguments: Vec<String> =
            ["-c", "weir.conf"].map(str::to_owned).into_iter().chain(arguments).collect();
        let environment: Vec<_> =
            environment.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let (_, problems) = Settings::read(&arguments, &environment, |_| Ok(file.as_bytes().to_vec()));
        (problems.iter().map(ToString::to_string).collect(), problems.exit_code())
    }

    #[test]
    fn each_feature_is_in_one_line_of_the_summary() {
        let summary = summary();
        let lines: Vec<&str> = summary.lines().collect();
        assert_eq!(lines.len(), 2);
        for feature in ALL {
            let line = lines[usize::from(!feature.built)];
            assert!(line.split(' ').any(|word| word == feature.name), "{}: {summary}", feature.name);
        }
        assert!(ALL.is_sorted_by_key(|feature| feature.name));
    }

    /// Wherever it is set: the message names the feature. A flag that says no asks for nothing.
    #[test]
    fn options_of_missing_features_are_errors_that_name_the_feature() {
        for (spec, feature) in TABLE.iter().filter_map(|spec| Some((spec, spec.missing?))) {
            let (name, said) = (spec.name, format!("needs the feature {}, which", feature.name));
            let (found, code) = problems(&[&format!("--{name}=1")], &[], "");
            assert!(found[0].starts_with(&format!("--{name}: {said}")), "{found:?}");
            assert_eq!(code, exit::USAGE);
            if spec.takes == Takes::Flag {
                assert_eq!(problems(&[&format!("--{name}=no")], &[], "").0, [""; 0]);
            }
            if spec.scope == Scope::Everywhere {
                let variable = environment_name(name);
                let (found, code) = problems(&[], &[(&variable, "1")], &format!("\n{name} 1\n"));
                let expected = [format!("{variable}: {said}"), format!("weir.conf:2: {name} {said}")];
                assert!(
                    found.iter().zip(&expected).all(|(found, said)| found.starts_with(said)),
                    "{found:?}"
                );
                assert_eq!((found.len(), code), (2, exit::CONFIGURATION));
            }
        }
        assert_eq!(problems(&["ctl", "stats"], &[], "").0.is_empty(), ADMIN.built);
        let features = help_on("features").unwrap();
        assert!(features.starts_with("features: ") && list_of_topics().contains("  features "), "{features}");
    }
}
