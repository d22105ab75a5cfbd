//! The settings, merged from the command line, the environment, a file and the defaults.
//!
//! Each layer overrides those below it, list by list and value by value, but each layer is checked as a whole: an
//! invalid line in the file is reported even if the command line overrides it.

use super::arguments::{self, Arguments};
use super::command::{Command, detect_command};
use super::feature;
use super::file;
use super::foreign;
use super::layer::{blank_layer, did_you_mean, split};
use super::options::{self, TABLE};
use super::problem::{Located, Origin, Problem, Problems};
use super::settings::{Changes, Layer, Settings};
use super::spec::{Repeat, Scope, Spec, Takes};
use super::values::{BUFFERS_MIN, flag, system_user, user};
use crate::http::fields::is_token;
use crate::nearest::{hint, nearest};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The methods that `explain` accepts (RFC 9110 section 9, RFC 5789, and those of caches).
const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PURGE"];

/// The words that may stand before or among the options.
const COMMANDS: [&str; 5] = ["explain", "detect", "reload", "ctl", "help"];

impl Settings {
    /// Merges the settings. `arguments` has no program name; `environment` has all variables, but only those that
    /// begin with WEIR_ are used; `read_file` reads one file. Fails with all problems.
    pub fn load(
        arguments: &[String],
        environment: &[(String, String)],
        read_file: impl Fn(&Path) -> io::Result<Vec<u8>>,
    ) -> Result<Settings, Problems> {
        let (settings, problems) = Settings::read(arguments, environment, read_file);
        if problems.is_empty() { Ok(settings) } else { Err(problems) }
    }

    /// Merges the settings like `load`, and returns the valid part together with the problems, so that a caller can
    /// check the files as well.
    pub fn read(
        arguments: &[String],
        environment: &[(String, String)],
        read_file: impl Fn(&Path) -> io::Result<Vec<u8>>,
    ) -> (Settings, Problems) {
        let mut problems = Problems::new();
        let mut settings = Settings::default();
        // The words that follow are names of topics, not options.
        if let Some((_, asked)) = arguments.split_first().filter(|(first, _)| *first == "help") {
            settings.command = Command::HelpOn(asked.to_vec());
            return (settings, problems);
        }
        let given = arguments::parse(arguments, &mut problems);
        // A request for help is answered, whatever else is wrong.
        if let Some(command) = help_wanted(&given) {
            settings.command = command;
            return (settings, Problems::new());
        }
        let from_environment = environment_layer(environment, &mut problems);
        let from_file = match config_path(&given.layer, &from_environment) {
            Some(path) => read_layer(&path, read_file, &mut problems),
            None => blank_layer(),
        };
        settings.texts = default_layer();
        settings.apply_texts();
        for layer in [from_file, from_environment, given.layer.clone()] {
            settings.apply(layer, &mut problems);
        }
        settings.command = settings.choose_command(&given, &mut problems);
        settings.size_options(&mut problems);
        settings.check_combinations(&mut problems);
        problems.sort();
        (settings, problems)
    }

    /// The settings after a reload with `found`: settings that need a restart stay.
    pub fn reloaded(&self, found: &Settings) -> (Settings, Changes) {
        let mut changes = Changes::default();
        let mut settings = Settings { command: self.command.clone(), ..Settings::default() };
        for (row, spec) in TABLE.iter().enumerate() {
            let (before, after) = (&self.texts[row], &found.texts[row]);
            let same = alone(spec, before) == alone(spec, after);
            let taken = if same || !spec.restart { after } else { before };
            settings.texts.push(taken.clone());
            match (same, spec.restart) {
                (true, _) => {}
                (false, false) => changes.made.push(spec.name),
                (false, true) => changes.need_restart.push(spec.name),
            }
        }
        settings.apply_texts();
        settings.config = found.config.clone();
        (settings, changes)
    }

    /// The default settings.
    pub fn built_in() -> Settings {
        let mut settings = Settings { texts: default_layer(), ..Settings::default() };
        settings.apply_texts();
        settings
    }

    /// The origin of an option's value, by its name; for a list, the origin of its first value.
    pub fn origin(&self, name: &str) -> Origin {
        let row = TABLE.iter().position(|spec| spec.names().any(|known| known == name));
        let first = row.and_then(|row| self.texts.get(row)).and_then(|texts| texts.first());
        first.map_or(Origin::Default, |text| text.origin.clone())
    }

    /// The level of the daemon's messages. Of `-v` and `-q` the one from the higher layer counts.
    pub fn level(&self) -> log::LevelFilter {
        let quiet = self.quiet && self.origin("quiet").precedence() >= self.origin("verbose").precedence();
        match self.verbose {
            _ if quiet => log::LevelFilter::Error,
            0 => log::LevelFilter::Info,
            1 => log::LevelFilter::Debug,
            2.. => log::LevelFilter::Trace,
        }
    }

    /// Each row of the table with its texts.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&'static Spec, &[Located<String>])> {
        TABLE.iter().zip(&self.texts).map(|(spec, texts)| (spec, texts.as_slice()))
    }

    /// Sets an option to its share of `--memory`.
    pub(super) fn set_by_memory(&mut self, name: &str, count: u64) {
        let Some(row) = TABLE.iter().position(|spec| spec.name == name) else { return };
        self.texts[row] = vec![Located::new(count.to_string(), Origin::Memory)];
        let problems = (TABLE[row].apply)(self, &self.texts[row].clone());
        debug_assert_eq!(problems, vec![]);
    }

    /// Sets each field from its text.
    fn apply_texts(&mut self) {
        for (row, spec) in TABLE.iter().enumerate() {
            let texts = self.texts[row].clone();
            // The texts were checked before; a test checks every default.
            let problems = (spec.apply)(self, &texts);
            debug_assert_eq!(problems, vec![]);
        }
    }

    fn apply(&mut self, layer: Layer, problems: &mut Problems) {
        for (row, (spec, texts)) in TABLE.iter().zip(layer).enumerate() {
            let mut texts = texts;
            texts.retain(|text| match file::check_printable(&text.value) {
                Ok(()) => true,
                Err(message) => {
                    let place = OptionLocation { origin: &text.origin, name: spec.name };
                    problems.add(text.origin.clone(), place.named(&message));
                    false
                }
            });
            if let Some(feature) = spec.missing {
                // A flag with the value no requests nothing.
                texts.retain(|text| spec.takes != Takes::Flag || flag(&text.value) != Ok(false));
                for text in texts {
                    let place = OptionLocation { origin: &text.origin, name: spec.name };
                    problems.add(text.origin.clone(), place.named(&feature.needed()));
                }
                continue;
            }
            if texts.is_empty() {
                continue;
            }
            for Problem { origin, message } in (spec.apply)(self, &texts) {
                let place = OptionLocation { origin: &origin, name: spec.name };
                problems.add(origin.clone(), place.named(&message));
            }
            let skipped = if spec.repeat == Repeat::Once { texts.len() - 1 } else { 0 };
            self.texts[row] = texts.into_iter().skip(skipped).collect();
        }
    }

    fn choose_command(&self, given: &Arguments, problems: &mut Problems) -> Command {
        let (first, rest) = match given.free.split_first() {
            Some((first, rest)) => (first.as_str(), rest),
            None => ("", given.free.as_slice()),
        };
        let asker = match first {
            "explain" => explained_user(given, problems),
            _ => {
                self.check_user(problems);
                None
            }
        };
        let mut wrong = |message: String| problems.add(Origin::Argument(String::new()), message);
        if first == "ctl" && !feature::ADMIN.built {
            wrong(format!("ctl {}", feature::ADMIN.needed()));
            return Command::Run;
        }
        if first == "ctl" {
            let form = asked(given, "openmetrics").then(|| "openmetrics".to_owned());
            let follow = asked(given, "follow").then(|| "follow".to_owned());
            let words = rest.iter().cloned().chain(form).chain(follow).collect();
            return Command::Ctl { words, json: asked(given, "json") };
        }
        if ["json", "openmetrics", "follow"].into_iter().any(|flag| asked(given, flag)) {
            wrong(
                "--json, --openmetrics and --follow go with ctl: expected weir ctl --control PATH ..."
                    .to_owned(),
            );
        }
        if first == "detect" {
            return detect_command(rest, self.detect_context).unwrap_or_else(|message| {
                wrong(message);
                Command::Run
            });
        }
        if self.detect_context.is_some() {
            wrong("--context goes with detect: expected weir detect --context ... TEXT".to_owned());
        }
        if first != "explain" {
            for unexpected in given.free.iter().skip(usize::from(first == "reload")) {
                wrong(format!(
                    "{unexpected:?}: expected options, or a command: {}{}",
                    COMMANDS.join(", "),
                    did_you_mean(unexpected, COMMANDS)
                ));
            }
            if self.explain_client.is_some() {
                wrong("--client goes with explain: expected weir explain --client ... METHOD URL".to_owned());
            }
            return match (asked(given, "check"), asked(given, "print-config")) {
                (true, _) => Command::Check,
                (false, true) => Command::PrintConfig,
                (false, false) if first == "reload" => Command::Reload,
                (false, false) => Command::Run,
            };
        }
        let (method, target) = match rest {
            // A method alone is no host.
            [target] if !METHODS.contains(&target.as_str()) => (None, target),
            [method, target] if is_token(method.as_bytes()) => (Some(method.clone()), target),
            _ => (None, &String::new()),
        };
        if target.is_empty() {
            wrong("explain: expected a URL or HOST:PORT, as in weir explain https://a.example/, or a method in front of it".to_owned());
            return Command::Run;
        }
        Command::Explain { user: asker, client: self.explain_client, method, target: target.clone() }
    }

    /// Without `explain`, `--user` is a system user.
    fn check_user(&self, problems: &mut Problems) {
        let Some(user) = &self.user else { return };
        if let Err(expected) = system_user(&user.value) {
            let message = format!("{:?}: expected {expected}", user.value);
            let place = OptionLocation { origin: &user.origin, name: "user" };
            problems.add(user.origin.clone(), place.named(&message));
        }
    }

    /// Checks settings that depend on each other.
    fn check_combinations(&self, problems: &mut Problems) {
        let (quiet, verbose) = (self.origin("quiet"), self.origin("verbose"));
        if self.quiet && self.verbose > 0 && quiet.precedence() == verbose.precedence() {
            problems.add(quiet, "quiet and verbose together: expected one of them");
        }
        if let (Some(file), true) = (&self.purge_token_file, self.purge_from.is_empty()) {
            let message =
                "purge-token-file without purge-from: expected both, or PURGE is taken from nowhere";
            problems.add(file.origin.clone(), message);
        }
        if self.proxy_protocol && self.guard.is_none() {
            let message =
                "proxy-protocol without guard: expected a guard file whose trust lines name the proxies";
            problems.add(self.origin("proxy-protocol"), message);
        }
        let wanted = self.workers.count.unwrap_or(1);
        if self.workers_max() < wanted {
            let message = format!(
                "{wanted} workers: expected at most {}, since {} buffers are divided among them, {BUFFERS_MIN} or more each",
                self.workers_max(),
                self.buffers
            );
            problems.add(self.origin("workers"), message);
        }
    }
}

/// The meaning of an option's texts, whatever their spelling: `60s` is `1m`. Settings of this option and no other.
fn alone(spec: &Spec, texts: &[Located<String>]) -> Settings {
    let texts: Vec<_> = texts.iter().map(|text| Located::new(text.value.clone(), Origin::Default)).collect();
    let mut settings = Settings::default();
    drop((spec.apply)(&mut settings, &texts));
    settings
}

/// An option at a location whose message may need the option's name, because a line number alone is less clear.
struct OptionLocation<'a> {
    origin: &'a Origin,
    name: &'a str,
}

impl OptionLocation<'_> {
    fn named(&self, message: &str) -> String {
        match self.origin {
            Origin::File { .. } => format!("{} {message}", self.name),
            Origin::Default | Origin::Memory | Origin::Environment(_) | Origin::Argument(_) => {
                message.to_owned()
            }
        }
    }
}

/// The user of the request to explain: the `--user` of the command line, never the system user of a file.
fn explained_user(given: &Arguments, problems: &mut Problems) -> Option<String> {
    let row = TABLE.iter().position(|spec| spec.name == "user")?;
    let text = given.layer[row].last()?;
    match user(&text.value) {
        Ok(name) => Some(name),
        Err(expected) => {
            problems.add(text.origin.clone(), format!("{:?}: expected {expected}", text.value));
            None
        }
    }
}

/// Commands that are answered before anything else is checked: `--help`, with or without a topic, `help`, and
/// `--version`.
fn help_wanted(given: &Arguments) -> Option<Command> {
    let (first, rest) = match given.free.split_first() {
        Some((first, rest)) => (first.as_str(), rest),
        None => ("", given.free.as_slice()),
    };
    match (asked(given, "help"), first) {
        (_, "help") => Some(Command::HelpOn(rest.to_vec())),
        (true, "") => Some(Command::Help),
        (true, topic) => Some(Command::HelpOn(vec![topic.to_owned()])),
        (false, _) => asked(given, "version").then_some(Command::Version),
    }
}

fn asked(given: &Arguments, name: &str) -> bool {
    let row = TABLE.iter().position(|spec| spec.name == name);
    let texts = row.map_or(&[][..], |row| &given.layer[row]);
    texts.last().is_some_and(|text| flag(&text.value) == Ok(true))
}

fn default_layer() -> Layer {
    let texts = |spec: &Spec| match spec.default {
        "" => Vec::new(),
        text => split(spec, Located::new(text.to_owned(), Origin::Default)),
    };
    TABLE.iter().map(texts).collect()
}

/// An empty variable counts as unset.
fn environment_layer(environment: &[(String, String)], problems: &mut Problems) -> Layer {
    let mut layer = blank_layer();
    let ours = |(name, value): &&(String, String)| name.starts_with("WEIR_") && !value.is_empty();
    let mut unknown: Vec<&str> = environment.iter().filter(ours).map(|(name, _)| name.as_str()).collect();
    for (row, spec) in TABLE.iter().enumerate().filter(|(_, spec)| spec.scope != Scope::CommandLine) {
        for name in spec.names().map(options::environment_name) {
            unknown.retain(|given| *given != name);
            let Some((_, value)) = environment.iter().filter(ours).find(|(given, _)| *given == name) else {
                continue;
            };
            let origin = Origin::Environment(name);
            let parts: Vec<&str> = match spec.repeat {
                Repeat::Once => vec![value],
                Repeat::Many | Repeat::List => value.lines().filter(|line| !line.trim().is_empty()).collect(),
            };
            for part in parts {
                layer[row].extend(split(spec, Located::new(part.to_owned(), origin.clone())));
            }
        }
    }
    for name in unknown {
        let key = name.trim_start_matches("WEIR_").to_ascii_lowercase().replace('_', "-");
        let names = |scope: fn(Scope) -> bool| {
            TABLE.iter().filter(move |spec| scope(spec.scope)).flat_map(|spec| spec.names())
        };
        let message = if names(|scope| scope != Scope::Everywhere).any(|known| known == key) {
            format!("expected on the command line only (--{key})")
        } else {
            let near = nearest(&key, names(|scope| scope == Scope::Everywhere));
            let hint = hint(near.map(options::environment_name).as_deref());
            format!("unknown variable: expected the name of an option{hint}")
        };
        problems.add(Origin::Environment(name.to_owned()), message);
    }
    layer
}

/// The last `-c`, or else WEIR_CONFIG.
fn config_path(arguments: &Layer, environment: &Layer) -> Option<Located<PathBuf>> {
    let row = TABLE.iter().position(|spec| spec.name == "config")?;
    let text = arguments[row].last().or(environment[row].last())?;
    // An empty path is reported when values are applied.
    (!text.value.is_empty()).then(|| text.with(PathBuf::from(&text.value)))
}

fn read_layer(
    path: &Located<PathBuf>,
    read_file: impl Fn(&Path) -> io::Result<Vec<u8>>,
    problems: &mut Problems,
) -> Layer {
    let mut layer = blank_layer();
    let content = match read_file(&path.value) {
        Ok(content) => content,
        Err(error) => {
            // The fault is in the file, not in its name: exit code 78, not 64.
            let message = format!("cannot read: {error}; expected a configuration file ({})", path.origin);
            problems.add_file(path.value.clone(), message);
            return layer;
        }
    };
    let name: Arc<Path> = path.value.as_path().into();
    let at = |line| Origin::File { path: name.clone(), line };
    let (lines, wrong) = file::lines(&content);
    for (line, message) in wrong {
        // The file of another program may have lines that are invalid here.
        let text = content.split(|byte| *byte == b'\n').nth((line as usize).saturating_sub(1));
        let text = String::from_utf8_lossy(text.unwrap_or_default()).into_owned();
        let key = text.split_whitespace().next().unwrap_or_default();
        let is_ours = TABLE.iter().any(|spec| spec.names().any(|name| name == key));
        let foreign = foreign::find(key).filter(|_| line > 0 && !is_ours);
        problems.add(at(line), foreign.map_or(message, |found| found.message_about(key)));
    }
    for line in lines {
        let origin = at(line.number);
        match known_key(&line.key) {
            Err(message) => problems.add(origin, message),
            Ok(row) => match add_line(&mut layer[row], &TABLE[row], line, origin.clone()) {
                Ok(()) => {}
                Err(message) => problems.add(origin, message),
            },
        }
    }
    layer
}

/// The row of a key, or an error message.
fn known_key(key: &str) -> Result<usize, String> {
    match TABLE.iter().position(|spec| spec.names().any(|name| name == key)) {
        Some(row) if TABLE[row].scope == Scope::Everywhere => Ok(row),
        Some(_) => Err(format!("{key}: expected on the command line only (--{key})")),
        None => {
            if let Some(found) = foreign::find(key) {
                return Err(found.message_about(key));
            }
            if let Some((name, value)) = key.split_once('=').filter(|(name, _)| known_key(name).is_ok()) {
                return Err(format!("{key:?}: expected a blank in place of the =, as in {name} {value}"));
            }
            let names = TABLE.iter().filter(|spec| spec.scope == Scope::Everywhere).flat_map(Spec::names);
            Err(format!(
                "unknown key {key:?}: expected one of those that --print-config lists{}",
                did_you_mean(key, names)
            ))
        }
    }
}

fn add_line(
    texts: &mut Vec<Located<String>>,
    spec: &Spec,
    line: file::Line,
    origin: Origin,
) -> Result<(), String> {
    let file::Line { key, value, .. } = line;
    match texts.last() {
        Some(earlier) if spec.repeat == Repeat::Once => {
            return Err(format!("{key} again: expected once, and line {} has it", earlier.origin.line()));
        }
        Some(_) | None => {}
    }
    let value = match (value, spec.takes) {
        (Some(value), _) if value.starts_with('=') => {
            return Err(format!("{key} {value:?}: expected '{key} {}', without =", spec.placeholder));
        }
        (Some(value), takes) => {
            let directory = origin.directory().unwrap_or(Path::new(""));
            takes.map_path(&value, |path| directory.join(path).to_string_lossy().into_owned())
        }
        (None, Takes::Flag | Takes::Count) => "yes".to_owned(),
        (None, Takes::Value | Takes::Path | Takes::KeyedPath) => {
            return Err(format!("{key}: expected a value, {}", spec.placeholder));
        }
    };
    texts.extend(split(spec, Located::new(value, origin)));
    Ok(())
}
