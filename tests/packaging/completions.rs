//! Completions for bash, zsh and fish.

use super::{COMMANDS, CONTROLS, choices};
use std::fmt::Write as _;
use weir::config::options::{Spec, TABLE, Takes};
use weir::config::topics::TOPICS;

const WRITTEN: &str = "# Written by tests/packaging from the table of options.\n";

/// What an option takes.
enum Value {
    None,
    File,
    Directory,
    OneOf(&'static [&'static str]),
    Other,
}

fn value(spec: &Spec) -> Value {
    match (spec.takes, choices(spec)) {
        (Takes::Flag | Takes::Count, _) => Value::None,
        (_, Some(values)) => Value::OneOf(values),
        (Takes::Path, None) if spec.placeholder == "DIR" => Value::Directory,
        (Takes::Path, None) => Value::File,
        (Takes::KeyedPath | Takes::Value, None) => Value::Other,
    }
}

/// Words behind `weir help`; an option may have the name of a topic.
fn topics() -> Vec<&'static str> {
    let options = TABLE.iter().map(|spec| spec.name);
    let options = options.filter(|name| TOPICS.iter().all(|topic| topic.name != *name));
    TOPICS.iter().map(|topic| topic.name).chain(["features", "all"]).chain(options).collect()
}

fn dashed(spec: &Spec) -> Vec<String> {
    let short = Some(spec.short).filter(|short| !short.is_empty()).map(|short| format!("-{short}"));
    short.into_iter().chain(spec.names().map(|name| format!("--{name}"))).collect()
}

/// Options that take such a value, as a pattern of `case`.
fn pattern(wanted: impl Fn(Value) -> bool) -> String {
    let names: Vec<String> = TABLE.iter().filter(|spec| wanted(value(spec))).flat_map(dashed).collect();
    names.join("|")
}

/// For bash; needs no library.
pub fn bash() -> String {
    let commands: Vec<&str> = COMMANDS.iter().map(|(name, _)| *name).collect();
    let options: Vec<String> = TABLE.iter().flat_map(Spec::names).map(|name| format!("--{name}")).collect();
    let mut out = format!(
        "# bash completion for weir(1).                              -*- shell-script -*-\n{WRITTEN}"
    );
    out.push_str("# shellcheck shell=bash\n\n_weir() {\n    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]}\n");
    // In --option=value the sign is a word of its own.
    out.push_str("    if [[ $previous == '=' ]]; then\n        previous=${COMP_WORDS[COMP_CWORD-2]}\n");
    out.push_str("    elif [[ $current == '=' ]]; then\n        current=\n    fi\n");
    out.push_str("    COMPREPLY=()\n    case $previous in\n");
    let mut case = |pattern: &str, action: &str, is_path: bool| {
        let _ = writeln!(out, "        {pattern})");
        if is_path {
            let _ = writeln!(out, "            compopt -o filenames 2>/dev/null");
        }
        if !action.is_empty() {
            let _ = writeln!(out, "            mapfile -t COMPREPLY < <(compgen {action} -- \"$current\")");
        }
        let _ = writeln!(out, "            return ;;");
    };
    case(&pattern(|value| matches!(value, Value::File)), "-f", true);
    case(&pattern(|value| matches!(value, Value::Directory)), "-d", true);
    for spec in TABLE {
        if let Value::OneOf(values) = value(spec) {
            case(&dashed(spec).join("|"), &format!("-W '{}'", values.join(" ")), false);
        }
    }
    case(&pattern(|value| matches!(value, Value::Other)), "", false);
    out.push_str("    esac\n    if [[ $current == -* ]]; then\n");
    let _ =
        writeln!(out, "        mapfile -t COMPREPLY < <(compgen -W '{}' -- \"$current\")", options.join(" "));
    out.push_str("    elif [[ $COMP_CWORD == 1 ]]; then\n");
    let _ = writeln!(
        out,
        "        mapfile -t COMPREPLY < <(compgen -W '{}' -- \"$current\")",
        commands.join(" ")
    );
    out.push_str("    elif [[ $command == help ]]; then\n");
    let _ = writeln!(
        out,
        "        mapfile -t COMPREPLY < <(compgen -W '{}' -- \"$current\")",
        topics().join(" ")
    );
    out.push_str("    elif [[ $command == ctl ]]; then\n");
    let _ = writeln!(
        out,
        "        mapfile -t COMPREPLY < <(compgen -W '{}' -- \"$current\")",
        CONTROLS.join(" ")
    );
    out.push_str("    fi\n}\ncomplete -F _weir weir\n");
    out
}

/// For zsh.
pub fn zsh() -> String {
    let mut out = format!("#compdef weir\n{WRITTEN}\n_weir_commands() {{\n    local -a commands=(\n");
    for (name, phrase) in COMMANDS {
        let _ = writeln!(out, "        '{name}:{}'", zsh_quoted(phrase));
    }
    let _ = write!(
        out,
        "    )\n    _describe command commands\n}}\n\n_weir_words() {{\n    case $words[2] in\n        help) compadd -- {} ;;\n        ctl) compadd -- {} ;;\n    esac\n}}\n\n_arguments -s \\\n",
        topics().join(" "),
        CONTROLS.join(" ")
    );
    for spec in TABLE {
        let phrase = zsh_quoted(spec.help).replace('[', "\\[").replace(']', "\\]");
        let placeholder = zsh_quoted(spec.placeholder).replace(':', "\\:");
        let action = match value(spec) {
            Value::None => String::new(),
            Value::File => format!(":{placeholder}:_files"),
            Value::Directory => format!(":{placeholder}:_files -/"),
            Value::OneOf(values) => format!(":{placeholder}:({})", values.join(" ")),
            Value::Other => format!(":{placeholder}: "),
        };
        for name in dashed(spec) {
            // The value is the next word, or stands behind the sign.
            let sign = if name.starts_with("--") && !action.is_empty() { "=" } else { "" };
            let _ = writeln!(out, "    '*{name}{sign}[{phrase}]{action}' \\");
        }
    }
    out.push_str("    '1: :_weir_commands' \\\n    '*: :_weir_words'\n");
    out
}

fn zsh_quoted(text: &str) -> String {
    text.replace('\'', "'\\''")
}

/// For fish.
pub fn fish() -> String {
    let mut out = format!("# fish completion for weir(1).\n{WRITTEN}\ncomplete -c weir -f\n");
    for (name, phrase) in COMMANDS {
        let _ =
            writeln!(out, "complete -c weir -n __fish_use_subcommand -a {name} -d '{}'", fish_quoted(phrase));
    }
    for (command, words) in [("help", topics()), ("ctl", CONTROLS.to_vec())] {
        let _ = writeln!(
            out,
            "complete -c weir -n '__fish_seen_subcommand_from {command}' -a '{}'",
            words.join(" ")
        );
    }
    for spec in TABLE {
        let short = Some(spec.short).filter(|short| !short.is_empty());
        let short = short.map(|short| format!(" -s {short}")).unwrap_or_default();
        let takes = match value(spec) {
            Value::None => String::new(),
            Value::File => " -r -F".to_owned(),
            Value::Directory => " -x -a '(__fish_complete_directories)'".to_owned(),
            Value::OneOf(values) => format!(" -x -a '{}'", values.join(" ")),
            Value::Other => " -x".to_owned(),
        };
        for name in spec.names() {
            let short = if name == spec.name { short.as_str() } else { "" };
            let _ = writeln!(out, "complete -c weir{short} -l {name}{takes} -d '{}'", fish_quoted(spec.help));
        }
    }
    out
}

fn fish_quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\'', "\\'")
}
