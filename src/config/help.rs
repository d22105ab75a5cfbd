//! What `--help` and `--print-config` print, from the table of options.

use std::fmt::Write;
use std::path::Path;

use super::file;
use super::options::{Scope, Section, Spec, TABLE, Takes};
use super::problem::Located;
use super::settings::Settings;

/// Width of a terminal.
const COLUMNS: usize = 80;
/// Where explanations start: of options that have a line, and of those that share one.
const HELP_COLUMN: usize = 27;
/// Longer defaults are told by --print-config only.
const DEFAULT_SHOWN_MAX: usize = 24;

/// The text of `--help`: one screen of 80 columns and 48 lines.
pub fn help() -> String {
    let mut out = String::from(
        "Usage: weir [OPTION]...    a forward proxy; without options on 127.0.0.1:8888
       weir explain [--user U] [--client ADDR] METHOD URL|HOST:PORT   verdict
Use:   curl -x http://127.0.0.1:8888 https://a.example/  (or export http_proxy)
Block: weir --block ads.example (or .ads.example: all below, 192.0.2.0/24)
Every option is a key in a --config FILE too, and a variable: WEIR_PORT=8080
",
    );
    for section in [
        Section::General,
        Section::Access,
        Section::Log,
        Section::Timeouts,
        Section::Limits,
        Section::Messages,
        Section::Cache,
        Section::Explain,
    ] {
        let rows: Vec<&Spec> = TABLE.iter().filter(|spec| spec.section == section).collect();
        match section {
            Section::General
            | Section::Access
            | Section::Log
            | Section::Timeouts
            | Section::Limits
            | Section::Messages => {
                let _ = writeln!(out, "{}", heading(section));
                add_rows(&mut out, &rows);
            }
            Section::Cache => add_names(&mut out, heading(section), &rows),
            // The usage line has them.
            Section::Explain => {}
        }
    }
    out
}

fn heading(section: Section) -> &'static str {
    match section {
        Section::General => "General",
        Section::Access => "Who may go where",
        Section::Log => "Access log: one line per request and tunnel, on standard output",
        Section::Timeouts => "Time-outs and their defaults, in seconds or as 500ms, 2m, 1h",
        Section::Limits => "Limits and their defaults",
        Section::Messages => "Messages and names",
        Section::Cache => "Cache, off:",
        Section::Explain => "",
    }
}

/// Two neighbours that both fit into half a line share one.
fn add_rows(out: &mut String, rows: &[&Spec]) {
    let mut rest = rows;
    while let Some((first, after)) = rest.split_first() {
        let left = half(first);
        let right = after.first().map(|second| half(second));
        match right {
            Some(right) if left.len() <= COLUMNS / 2 && right.len() < COLUMNS / 2 => {
                let _ = writeln!(out, "{left:<width$}{right}", width = COLUMNS / 2);
                rest = &after[1..];
            }
            Some(_) | None => {
                let _ = writeln!(out, "{}", whole(first));
                rest = after;
            }
        }
    }
}

/// Options whose names say it: as many in a line as fit.
fn add_names(out: &mut String, heading: &str, rows: &[&Spec]) {
    let mut line = heading.to_owned();
    for row in rows {
        let name = name(row, true);
        if line.len() + name.len() > COLUMNS {
            let _ = writeln!(out, "{line}");
            line.clear();
        }
        line.push_str(&name);
    }
    let _ = writeln!(out, "{line}");
}

/// The option with its value: the default where `with_default`, else what kind of value.
fn name(spec: &Spec, with_default: bool) -> String {
    let mut text = match spec.short {
        "" => format!("  --{}", spec.name),
        short => format!("  -{short}, --{}", spec.name),
    };
    let value = match spec.takes {
        Takes::Flag | Takes::Count => "",
        Takes::Value | Takes::Path if with_default && !spec.default.is_empty() => spec.default,
        Takes::Value | Takes::Path => spec.placeholder,
    };
    if !value.is_empty() {
        text.push(' ');
        text.push_str(value);
    }
    text
}

fn half(spec: &Spec) -> String {
    explained(name(spec, true), spec.help)
}

fn whole(spec: &Spec) -> String {
    let mut line = explained(name(spec, false), spec.help);
    let short = !spec.default.is_empty() && spec.default.len() <= DEFAULT_SHOWN_MAX;
    if matches!(spec.takes, Takes::Value | Takes::Path) && short {
        let _ = write!(line, " [{}]", spec.default);
    }
    line
}

fn explained(name: String, help: &str) -> String {
    if help.is_empty() { name } else { format!("{name:<width$} {help}", width = HELP_COLUMN - 1) }
}

/// The text of `--print-config`: a configuration file, with a comment that says where each value came from.
pub fn print_config(settings: &Settings) -> String {
    let mut out = String::new();
    for (spec, texts) in settings.rows().filter(|(spec, _)| spec.scope == Scope::Everywhere) {
        if texts.is_empty() {
            let _ = writeln!(out, "{:<40} # default", format!("# {} {}", spec.name, spec.placeholder));
        }
        for Located { value, origin } in texts {
            let value = match spec.takes {
                Takes::Path => absolute(value),
                Takes::Flag | Takes::Count | Takes::Value => value.clone(),
            };
            let _ = writeln!(out, "{:<40} # {origin}", format!("{} {}", spec.name, file::written(&value)));
        }
    }
    out
}

/// The same file from wherever the text is fed back.
fn absolute(path: &str) -> String {
    match std::path::absolute(Path::new(path)) {
        Ok(path) => path.to_string_lossy().into_owned(),
        Err(_) => path.to_owned(),
    }
}
