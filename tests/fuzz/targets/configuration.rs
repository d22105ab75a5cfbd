//! Configuration files, command lines and variables.

use std::io;
use std::path::Path;

use weir::config::file;
use weir::config::help::{help_on, print_config};
use weir::config::policy::{LocalAddresses, compile};
use weir::config::{Command, Problems, Settings};

use super::pieces::shown;

fn load(
    content: &[u8],
    arguments: &[String],
    environment: &[(String, String)],
) -> Result<Settings, Problems> {
    let read = |path: &Path| match path.to_str() {
        Some("/weir.conf") => Ok(content.to_vec()),
        Some(_) | None => Err(io::ErrorKind::NotFound.into()),
    };
    Settings::load(arguments, environment, read)
}

/// Whatever was wrong is said in lines of printable text.
fn check_problems(problems: &Problems) {
    assert!(!problems.is_empty() && [64, 78].contains(&problems.exit_code()));
    for problem in problems.iter() {
        let text = problem.to_string();
        assert!(!text.is_empty() && !text.contains(char::is_control), "{text:?}");
    }
}

/// The printed configuration loads, and prints the same.
fn check_printed(settings: &Settings) {
    let values = |text: &str| -> Vec<_> {
        let (lines, wrong) = file::lines(text.as_bytes());
        assert!(wrong.is_empty(), "{wrong:?} in {text}");
        lines.into_iter().map(|line| (line.key, line.value)).collect()
    };
    let printed = print_config(settings);
    let arguments = ["-c", "/weir.conf"].map(str::to_owned);
    let again = load(printed.as_bytes(), &arguments, &[]);
    let again = again.unwrap_or_else(|problems| panic!("{problems}\nin\n{printed}"));
    assert_eq!(values(&print_config(&again)), values(&printed));
}

fn check_policy(settings: &Settings) {
    let read = |_: &Path| Ok(b"a.example\n".to_vec());
    if let Err(problems) = compile(settings, &LocalAddresses::default(), [1, 2], &read) {
        check_problems(&problems);
    }
}

/// Any bytes as a configuration file.
pub fn configuration(bytes: &[u8]) {
    let (lines, wrong) = file::lines(bytes);
    let count = bytes.iter().filter(|byte| **byte == b'\n').count() as u32 + 1;
    assert!(wrong.iter().all(|(line, text)| *line <= count && !text.contains(char::is_control)));
    for line in &lines {
        assert!((1..=count).contains(&line.number) && !line.key.is_empty(), "{line:?}");
        let Some(value) = &line.value else { continue };
        assert!(!value.contains(|c: char| c.is_control() && c != '\t'), "{value:?}");
        let (again, wrong) = file::lines(format!("key {} # comment", file::to_file_syntax(value)).as_bytes());
        assert!(wrong.is_empty() && again.len() == 1, "{value:?}: {wrong:?}");
        assert_eq!(again[0].value.as_ref(), Some(value));
    }
    let arguments = ["-c", "/weir.conf"].map(str::to_owned);
    match load(bytes, &arguments, &[]) {
        Ok(settings) => {
            assert!(wrong.is_empty(), "{wrong:?} in {}", shown(bytes));
            check_printed(&settings);
            check_policy(&settings);
        }
        Err(problems) => check_problems(&problems),
    }
}

/// Any text as arguments, one per line; lines with `WEIR_` are variables.
pub fn command_line(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut arguments = Vec::new();
    let mut environment = Vec::new();
    for line in text.split('\n') {
        match line.split_once('=') {
            Some((name, value)) if name.starts_with("WEIR_") => {
                environment.push((name.to_owned(), value.replace('\t', "\n")));
            }
            Some(_) | None => arguments.push(line.to_owned()),
        }
    }
    match load(b"port 3128\n", &arguments, &environment) {
        Ok(settings) => {
            match settings.command {
                Command::Help | Command::Version => {}
                Command::HelpOn(topics) => {
                    for asked in &topics {
                        let text = help_on(asked).unwrap_or_else(|expected| expected);
                        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
                    }
                }
                // Its --user is one of the user file, which no configuration file means.
                Command::Explain { .. } | Command::Detect { .. } => check_policy(&settings),
                Command::Run
                | Command::Reload
                | Command::Ctl { .. }
                | Command::Check
                | Command::PrintConfig => {
                    check_printed(&settings);
                    check_policy(&settings);
                }
            }
        }
        Err(problems) => check_problems(&problems),
    }
}
