//! What packages carry: the manual pages and the completions for shells are written from the table of options.
//! `UPDATE_DOCS=1 cargo test --test tidy` writes them anew. `scripts/package` builds packages and tries them.

mod completions;
mod man;

use std::path::Path;
use weir::config::options::{Section, Spec, TABLE};
use weir::config::topics::{TOPICS, Topic};

/// What weir does instead of serving.
const COMMANDS: &[(&str, &str)] = &[
    ("explain", "say whether a request is allowed, and by which rule"),
    ("detect", "say what detection finds in a text"),
    ("reload", "have the running weir read its configuration again"),
    ("ctl", "send a command to the running weir"),
    ("help", "explain a topic, an option, or what weir was built with (features)"),
];

/// What follows `weir ctl`.
const CONTROLS: &[&str] = &[
    "ban",
    "bans",
    "drain",
    "drain-upstream",
    "enable-upstream",
    "events",
    "limits",
    "purge",
    "reload",
    "stats",
    "unban",
    "unblock",
    "upstreams",
];

/// Values of an option of which there are few: as its phrase names them.
const CHOICES: &[(&str, &[&str])] = &[
    ("log-format", &["weir", "combined", "squid", "json", "none"]),
    ("context", &["query", "path", "header", "body"]),
];

fn topic(name: &str) -> &'static Topic {
    TOPICS.iter().find(|topic| topic.name == name).unwrap_or_else(|| panic!("no topic {name}"))
}

fn options_of(section: Section) -> impl Iterator<Item = &'static Spec> {
    TABLE.iter().filter(move |spec| spec.section == section)
}

fn choices(spec: &Spec) -> Option<&'static [&'static str]> {
    CHOICES.iter().find(|(name, _)| *name == spec.name).map(|(_, values)| *values)
}

/// Compares a file of `packaging` with what it should be, or writes it.
fn expect_file(path: &str, text: &str) {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(path);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&place, text).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    let found = std::fs::read_to_string(&place).unwrap_or_default();
    assert!(found == text, "packaging/{path} is not current: run UPDATE_DOCS=1 cargo test --test tidy");
}

#[test]
#[cfg_attr(not(feature = "detection"), ignore = "needs the feature detection")]
fn manual_pages_are_current() {
    expect_file("man/weir.1", &man::weir());
    expect_file("man/weir.conf.5", &man::weir_conf());
}

#[test]
#[cfg_attr(not(feature = "detection"), ignore = "needs the feature detection")]
fn completions_are_current() {
    expect_file("completions/weir.bash", &completions::bash());
    expect_file("completions/_weir", &completions::zsh());
    expect_file("completions/weir.fish", &completions::fish());
}

/// Whatever is written by hand here is in weir, too.
#[test]
#[cfg_attr(not(feature = "detection"), ignore = "needs the feature detection")]
fn commands_and_values_are_those_of_weir() {
    let help = weir::config::help::help();
    let of_ctl = topic("ctl").text;
    for (command, _) in COMMANDS.iter().filter(|(command, _)| *command != "detect" && *command != "ctl") {
        assert!(help.contains(&format!("  weir {command} ")), "weir {command}");
    }
    for control in CONTROLS {
        let named = |line: &str| line.split([' ', ',']).any(|word| word == *control);
        assert!(of_ctl.lines().any(named), "weir ctl {control}");
    }
    for (name, values) in CHOICES {
        let spec = TABLE.iter().find(|spec| spec.name == *name).expect("an option");
        values.iter().for_each(|value| assert!(spec.help.contains(value), "--{name} {value}: {}", spec.help));
    }
}
