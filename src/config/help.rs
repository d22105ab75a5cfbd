//! The output of `--help`, `help` and `--print-config`, from the table of options.

use std::fmt::Write;
use std::path::Path;

use super::feature;
use super::file;
use super::options::{self, Scope, Section, Spec, TABLE, Takes};
use super::problem::Located;
use super::settings::Settings;
use super::topics::{self, TOPICS, Topic};
use crate::nearest::{hint, nearest};

/// Width of a terminal.
const COLUMNS: usize = 80;
/// The column of the phrases.
const HELP_COLUMN: usize = 28;
/// The column of the names of further options, behind the name of their topic.
const NAMES_COLUMN: usize = 12;
/// Longer defaults are shown by --print-config only.
const DEFAULT_SHOWN_MAX: usize = 24;
/// The topic with every option.
const ALL: &str = "all";
/// The topic with the features of this build.
const FEATURES: &str = "features";

const USAGE: &str = "\
weir is a forward proxy: clients ask it for http:// and https:// pages.
  weir [OPTION]...         serve, on 127.0.0.1:8888 unless told otherwise
  weir explain URL         say whether that is allowed, and by which rule
  weir reload              have the running weir read its configuration again
  weir help [TOPIC]        explain one topic or one option, or list the topics
  curl -x http://127.0.0.1:8888 https://a.example/     (or set https_proxy)
Options. Each is a key of a --config FILE, too, and a variable (WEIR_PORT=8080).
";

const ENDING: &str = "\
Signals: HUP reads configuration and files again, USR1 opens the log again, USR2
  writes statistics, TERM ends when all is done, INT (or a second TERM) at once.
Exit codes: 0 done; 1 refused (explain); 64 wrong options; 69 cannot listen;
  71 the system refuses; 78 wrong configuration. More: weir help signals
";

/// The sections of `--help`, in order.
const SECTIONS: [Section; 7] = [
    Section::General,
    Section::Access,
    Section::Log,
    Section::Timeouts,
    Section::Limits,
    Section::Messages,
    Section::Cache,
];

/// The text of `--help`: one screen of 80 columns and 48 lines. Common options have a phrase there, the others only
/// their name and topic.
pub fn help() -> String {
    let mut out = String::from(USAGE);
    let of = |section| TABLE.iter().filter(move |spec| spec.section == section);
    for spec in SECTIONS.into_iter().flat_map(of).filter(|spec| spec.common) {
        add_option(&mut out, spec);
    }
    out.push_str("More options, by the topic that explains them:\n");
    for section in SECTIONS {
        let names: Vec<String> =
            of(section).filter(|spec| !spec.common).map(|spec| format!("--{}", spec.name)).collect();
        let topic = TOPICS.iter().find(|topic| topic.section == Some(section));
        add_wrapped(&mut out, topic.map_or("", |topic| topic.name), NAMES_COLUMN, &names);
    }
    out.push_str(ENDING);
    out
}

/// The text of `weir help`: the list of topics.
pub fn list_of_topics() -> String {
    let mut out = String::from("weir help TOPIC explains one of these:\n\n");
    for Topic { name, title, .. } in TOPICS {
        let _ = writeln!(out, "  {name:<width$}{title}", width = NAMES_COLUMN - 2);
    }
    let _ = writeln!(out, "  {FEATURES:<width$}what this weir was built with", width = NAMES_COLUMN - 2);
    let _ = writeln!(out, "  {ALL:<width$}every option there is", width = NAMES_COLUMN - 2);
    out.push_str("\nweir help OPTION explains one option; weir --help is one screen for a start.\n");
    out
}

/// The text of `weir help TOPIC`, or of an option. An error says what was expected.
pub fn help_on(asked: &str) -> Result<String, String> {
    let name = asked.to_ascii_lowercase();
    if name == ALL {
        return Ok(all());
    }
    if name == FEATURES {
        return Ok(feature::summary());
    }
    if let Some(topic) = topics::find(&name) {
        return Ok(on_topic(topic));
    }
    if let Some(spec) = options::find(name.trim_start_matches('-')) {
        return Ok(on_option(spec));
    }
    let names = TOPICS.iter().map(|topic| topic.name);
    let known: Vec<&str> = names.clone().chain([FEATURES, ALL]).collect();
    let near = nearest(&name, names.chain(TABLE.iter().flat_map(Spec::names)));
    let hint = hint(near);
    Err(format!("help {asked:?}: expected an option, or one of {}{hint}", known.join(", ")))
}

fn all() -> String {
    let mut out = String::new();
    for topic in TOPICS.iter().filter(|topic| topic.section.is_some()) {
        let _ = writeln!(out, "{} ({})", topic.title, topic.name);
        let of_topic = |spec: &&Spec| Some(spec.section) == topic.section;
        TABLE.iter().filter(of_topic).for_each(|spec| add_option(&mut out, spec));
        out.push('\n');
    }
    out.push_str(ENDING);
    out
}

fn on_topic(topic: &Topic) -> String {
    let mut out = format!("{}: {}\n\n{}", topic.name, topic.title, topic.text.trim_start_matches('\n'));
    let of_topic = |spec: &&Spec| Some(spec.section) == topic.section || topic.others.contains(&spec.name);
    if topic.name == "reload" {
        let fixed: Vec<String> =
            TABLE.iter().filter(|spec| spec.restart).map(|spec| format!("--{}", spec.name)).collect();
        add_wrapped(&mut out, "", 4, &fixed);
    }
    let mut options = TABLE.iter().filter(of_topic).peekable();
    if options.peek().is_some() {
        out.push_str("\nOptions:\n");
    }
    options.for_each(|spec| add_option(&mut out, spec));
    out
}

fn on_option(spec: &Spec) -> String {
    let mut out = String::new();
    add_option(&mut out, spec);
    let mut add = |what: &str, text: &str| {
        let _ = writeln!(out, "  {what:<width$}{text}", width = HELP_COLUMN - 2);
    };
    for alias in spec.aliases {
        add("the same", &format!("--{alias}"));
    }
    match spec.scope {
        Scope::Everywhere => {
            let value = if spec.placeholder.is_empty() { "yes|no" } else { spec.placeholder };
            add("in a file", &format!("{} {value}", spec.name));
            add("in the environment", &format!("{}={value}", options::environment_name(spec.name)));
            add(
                "a reload",
                if spec.restart { "does not change it: it needs a restart" } else { "changes it" },
            );
        }
        Scope::NotInFiles => {
            let variable = options::environment_name(spec.name);
            add("in the environment", &format!("{variable}={}", spec.placeholder));
        }
        Scope::CommandLine => {}
    }
    if spec.default.len() > DEFAULT_SHOWN_MAX {
        add("by default", spec.default);
    }
    if let Some(topic) = TOPICS.iter().find(|topic| topic.section == Some(spec.section)) {
        add("see also", &format!("weir help {}", topic.name));
    }
    out
}

/// An option with its value, its phrase, and the default in brackets.
fn add_option(out: &mut String, spec: &Spec) {
    let mut name = match spec.short {
        "" => format!("      --{}", spec.name),
        short => format!("  -{short}, --{}", spec.name),
    };
    if !spec.placeholder.is_empty() {
        name.push(' ');
        name.push_str(spec.placeholder);
    }
    let mut words: Vec<String> = spec.help.split(' ').map(str::to_owned).collect();
    let has_default = match spec.takes {
        Takes::Flag => spec.default == "yes",
        Takes::Count => false,
        Takes::Value | Takes::Path | Takes::KeyedPath => {
            !spec.default.is_empty() && spec.default.len() <= DEFAULT_SHOWN_MAX
        }
    };
    if has_default {
        words.push(format!("[{}]", spec.default));
    }
    add_wrapped(out, &name[2..], HELP_COLUMN, &words);
}

/// Wraps words into a column, behind the beginning of the first line.
fn add_wrapped(out: &mut String, beginning: &str, column: usize, words: &[String]) {
    let mut line = format!("  {beginning}");
    if line.len() >= column {
        let _ = writeln!(out, "{line}");
        line.clear();
    }
    line = format!("{line:<column$}");
    let mut is_first = true;
    for word in words {
        if !is_first && line.len() + 1 + word.len() > COLUMNS {
            let _ = writeln!(out, "{line}");
            line = " ".repeat(column);
            is_first = true;
        }
        if !is_first {
            line.push(' ');
        }
        line.push_str(word);
        is_first = false;
    }
    let _ = writeln!(out, "{}", line.trim_end());
}

/// The text of `--print-config`: a configuration file, with comments that say where each value was set.
pub fn print_config(settings: &Settings) -> String {
    let mut out = String::new();
    for (spec, texts) in settings.rows().filter(|(spec, _)| spec.scope == Scope::Everywhere) {
        if texts.is_empty() {
            let _ = writeln!(out, "{:<40} # default", format!("# {} {}", spec.name, spec.placeholder));
        }
        for Located { value, origin } in texts {
            let value = spec.takes.map_path(value, absolute);
            let _ =
                writeln!(out, "{:<40} # {origin}", format!("{} {}", spec.name, file::to_file_syntax(&value)));
        }
    }
    out
}

/// An absolute path, so that the printed file works in any directory.
fn absolute(path: &str) -> String {
    match std::path::absolute(Path::new(path)) {
        Ok(path) => path.to_string_lossy().into_owned(),
        Err(_) => path.to_owned(),
    }
}
