//! The manual pages, in the macros of man(7).

use super::{COMMANDS, options_of, topic};
use std::fmt::Write as _;
use weir::config::options::{Scope, Section, Spec, Takes};
use weir::config::topics::TOPICS;

/// The date of the pages: of the last change of their form (a page with the date of its building would never be current).
const DATE: &str = "2026-11-29";

/// Sections of which a command has the options, and the text.
const OF_COMMANDS: [Section; 3] = [Section::Control, Section::Explain, Section::Detect];

/// weir(1).
pub fn weir() -> String {
    let mut out = title("WEIR", 1, "weir", "forward proxy for HTTP and CONNECT");
    out.push_str(".SH SYNOPSIS\n.B weir\n.RI [ OPTION ]...\n");
    for (command, follows) in [
        ("explain", "[\\fIOPTION\\fR]... [\\fIMETHOD\\fR] \\fIURL\\fR"),
        ("detect", "[\\fIOPTION\\fR]... \\fITEXT\\fR"),
        ("reload", "\\-\\-pid\\-file \\fIFILE\\fR"),
        ("ctl", "\\-\\-control \\fIPATH\\fR \\fICOMMAND\\fR"),
        ("help", "[\\fITOPIC\\fR|\\fIOPTION\\fR]"),
    ] {
        let _ = writeln!(out, ".br\n.B weir {command}\n{follows}");
    }
    out.push_str(".SH DESCRIPTION\n");
    add_text(
        &mut out,
        "weir forwards the HTTP requests of its clients and opens tunnels for them (CONNECT). Rules refuse destinations by name, \
         wildcard and network. It asks for users, keeps responses in a cache, limits and bans clients, and stands before servers \
         as a gateway. Without options it serves programs of this machine, on 127.0.0.1:8888.\n\n\
         Each option is a key of the configuration file (weir.conf(5)) and a variable of the environment, too. The command line \
         overrides the environment, which overrides the file.\n",
    );
    out.push_str(".SH COMMANDS\n");
    for (command, phrase) in COMMANDS {
        let _ = writeln!(out, ".TP\n.B weir {command}\n{}.", escaped(&capital(phrase)));
    }
    out.push_str(".SH OPTIONS\n");
    for topic in TOPICS {
        let Some(section) = topic.section.filter(|section| !OF_COMMANDS.contains(section)) else { continue };
        let _ = writeln!(out, ".SS {}", escaped(&capital(topic.title)));
        options_of(section).for_each(|spec| add_option(&mut out, spec));
    }
    for (heading, name, section) in [
        ("EXPLAIN", "explain", Some(Section::Explain)),
        ("DETECT", "detect", Some(Section::Detect)),
        ("RELOAD", "reload", None),
        ("UPGRADE", "upgrade", None),
        ("CTL", "ctl", Some(Section::Control)),
        ("SIGNALS AND EXIT STATUS", "signals", None),
    ] {
        let _ = writeln!(out, ".SH {heading}");
        add_text(&mut out, without_tail(name));
        section.into_iter().flat_map(options_of).for_each(|spec| add_option(&mut out, spec));
    }
    add_environment(&mut out);
    out.push_str(
        ".SH FILES\n.TP\n.I /etc/weir/weir.conf\nThe configuration that the service of a package reads.\n",
    );
    out.push_str(".SH SEE ALSO\n.BR weir.conf (5),\n.BR curl (1),\n.BR systemd.socket (5)\n");
    out
}

/// weir.conf(5).
pub fn weir_conf() -> String {
    let mut out = title("WEIR.CONF", 5, "weir.conf", "configuration of the forward proxy weir");
    out.push_str(".SH DESCRIPTION\n");
    add_text(&mut out, topic("config").text);
    out.push_str(".SH KEYS\n");
    for topic in TOPICS {
        let Some(section) = topic.section.filter(|section| !OF_COMMANDS.contains(section)) else { continue };
        let _ = writeln!(out, ".SS {}", escaped(&capital(topic.title)));
        let keys = options_of(section).filter(|spec| spec.scope == Scope::Everywhere);
        keys.for_each(|spec| add_key(&mut out, spec));
    }
    for name in ["rules", "users", "pages", "guard", "gateway", "log", "messages", "cache"] {
        let _ = writeln!(out, ".SH {}", name.to_uppercase());
        add_text(&mut out, topic(name).text);
    }
    out.push_str(".SH EXAMPLES\n");
    add_text(
        &mut out,
        "  host 192.168.1.2\n  allow-client 192.168.1.0/24\n  blocklist blocklist.txt\n  cache yes\n  cache-size 256M\n",
    );
    out.push_str(".SH SEE ALSO\n.BR weir (1)\n");
    out
}

/// The list of options that only the program can write at its end is left out.
fn without_tail(name: &str) -> &'static str {
    let text = topic(name).text;
    match name {
        "reload" => text.rsplit_once(" Some options need").map_or(text, |(before, _)| before),
        _ => text,
    }
}

fn title(page: &str, section: u8, name: &str, phrase: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(
        ".\\\" Written by tests/packaging from the table of options.\n.TH {page} {section} {DATE} \"weir {version}\" weir\n.ad l\n.nh\n.SH NAME\n{name} \\- {phrase}\n"
    )
}

fn add_option(out: &mut String, spec: &Spec) {
    let names = spec.names().map(|name| format!("\\fB{}\\fR", escaped(&format!("--{name}"))));
    let short = Some(spec.short).filter(|short| !short.is_empty()).map(|short| format!("\\fB\\-{short}\\fR"));
    let names: Vec<String> = short.into_iter().chain(names).collect();
    let _ = writeln!(out, ".TP\n{}{}", names.join(", "), value(spec));
    add_phrase(out, spec);
}

fn add_key(out: &mut String, spec: &Spec) {
    let value = if spec.placeholder.is_empty() { " yes|no".to_owned() } else { value(spec) };
    let _ = writeln!(out, ".TP\n\\fB{}\\fR{value}", escaped(spec.name));
    add_phrase(out, spec);
    if spec.restart {
        out.push_str("A reload does not change it.\n");
    }
}

fn value(spec: &Spec) -> String {
    match spec.placeholder {
        "" => String::new(),
        placeholder => format!(" \\fI{}\\fR", escaped(placeholder)),
    }
}

fn add_phrase(out: &mut String, spec: &Spec) {
    add_text(out, &format!("{}.", capital(spec.help)));
    let shown = match spec.takes {
        Takes::Flag => spec.default == "yes",
        Takes::Count => false,
        Takes::Value | Takes::Path | Takes::KeyedPath => !spec.default.is_empty(),
    };
    if shown {
        // A long list may be broken behind each comma.
        let _ = writeln!(out, "Default: {}.", escaped(spec.default).replace(',', ",\\:"));
    }
}

fn add_environment(out: &mut String) {
    out.push_str(".SH ENVIRONMENT\n");
    for (name, text) in [
        ("WEIR_OPTION", "The value of an option: WEIR_LOG_DIR is that of --log-dir."),
        ("LISTEN_FDS, LISTEN_PID", "Sockets that listen already (sd_listen_fds(3))."),
        (
            "NOTIFY_SOCKET",
            "Where the service manager is told that weir is ready, reloads or stops (sd_notify(3)).",
        ),
        (
            "WATCHDOG_USEC, WATCHDOG_PID",
            "How often the service manager is told that all loops turn: twice in this time.",
        ),
    ] {
        let _ = writeln!(out, ".TP\n.B {}", escaped(name));
        add_text(out, text);
    }
}

/// Paragraphs are filled; lines that begin with blanks stay as they are.
fn add_text(out: &mut String, text: &str) {
    let mut verbatim = false;
    let mut blank = false;
    for line in text.trim_matches('\n').lines() {
        if line.is_empty() {
            blank = true;
            continue;
        }
        let begins_verbatim = line.starts_with(' ');
        match (verbatim, begins_verbatim) {
            (false, true) if is_heading(out) => out.push_str(".EX\n"),
            (false, true) => out.push_str(".PP\n.EX\n"),
            (true, false) => out.push_str(".EE\n.PP\n"),
            (true, true) if blank => out.push('\n'),
            (false, false) if blank => out.push_str(".PP\n"),
            (true, true) | (false, false) => {}
        }
        (verbatim, blank) = (begins_verbatim, false);
        if verbatim {
            let _ = writeln!(out, "{}", escaped(line.strip_prefix("  ").unwrap_or(line)));
        } else {
            add_filled(out, line);
        }
    }
    if verbatim {
        out.push_str(".EE\n");
    }
}

/// Whether a heading came last, behind which a paragraph begins anyway.
fn is_heading(out: &str) -> bool {
    out.lines().next_back().is_some_and(|line| line.starts_with(".S"))
}

/// A line for each sentence, none of them long.
fn add_filled(out: &mut String, line: &str) {
    let mut column = 0;
    for word in line.split(' ') {
        let separator = match column {
            0 => "",
            1..70 => " ",
            _ => "\n",
        };
        column = if separator == "\n" { 0 } else { column };
        // A word that began a line with a dot would be a macro.
        out.push_str(separator);
        out.push_str(&escaped_at(word, column == 0));
        column += word.len() + 1;
        if word.ends_with('.') && column > 0 && word.len() > 3 {
            out.push('\n');
            column = 0;
        }
    }
    if column > 0 {
        out.push('\n');
    }
}

fn escaped(text: &str) -> String {
    escaped_at(text, true)
}

/// Characters that troff takes for its own, or prints as typographic ones.
fn escaped_at(text: &str, at_beginning: bool) -> String {
    let mut out = String::new();
    if at_beginning && text.starts_with(['.', '\'']) {
        out.push_str("\\&");
    }
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '\'' => out.push_str("\\(aq"),
            '`' => out.push_str("\\(ga"),
            '^' => out.push_str("\\(ha"),
            '~' => out.push_str("\\(ti"),
            c => out.push(c),
        }
    }
    out
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
