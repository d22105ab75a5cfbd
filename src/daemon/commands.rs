//! Commands of the command line other than serving. Each returns the exit code.

use super::files::reader;
use super::pid_file::{self, NoAnswer, Outcome};
use super::report::{fail, os_error, print, print_with, said};
use super::{check, rights};
use std::fmt::Write as _;
use std::io::{self, Read as _};
use weir::config::detect;
use weir::config::explain::{self, Question, Rules};
use weir::config::{Command, Problems, Settings, exit, help as texts};
use weir::embed;
use weir::sandbox::{self, User};

/// Most bytes of standard input that `weir detect` looks at (chosen: more than detection looks at).
const DETECT_BYTES_MAX: u64 = 1 << 20;

/// `--help`.
pub fn help() -> u8 {
    print(&texts::help())
}

/// `help TOPIC ...`.
pub fn help_on(topics: &[String]) -> u8 {
    if topics.is_empty() {
        return print(&texts::list_of_topics());
    }
    let found: Result<Vec<String>, String> = topics.iter().map(|topic| texts::help_on(topic)).collect();
    match found {
        Ok(found) => print(&found.join("\n")),
        Err(message) => fail(&message, exit::USAGE),
    }
}

/// `--version`.
pub fn version() -> u8 {
    print(&format!("weir {}\n", env!("CARGO_PKG_VERSION")))
}

/// `--print-config`: the settings as a file, and the paths that the sandbox opens for them.
pub fn print_config(settings: &Settings) -> u8 {
    let mut text = texts::print_config(settings);
    if settings.sandbox {
        let user = settings.user.as_ref().and_then(|user| User::find(&user.value).ok());
        for line in sandbox::describe(&rights::paths(settings), user.map(|user| user.id())).lines() {
            let _ = writeln!(text, "# sandbox: {line}");
        }
    }
    print(&text)
}

/// Reports the problems of the settings, and all further problems that can be found in spite of them.
pub fn tell_all(settings: &Settings, problems: Problems) -> u8 {
    match settings.command {
        Command::Check | Command::Run => check::run(settings, problems),
        Command::PrintConfig
        | Command::Explain { .. }
        | Command::Detect { .. }
        | Command::Reload
        | Command::Ctl { .. }
        | Command::Help
        | Command::HelpOn(_)
        | Command::Version => said(&problems),
    }
}

/// `weir explain`.
pub fn explain(settings: &Settings) -> u8 {
    let Command::Explain { user, client, method, target } = &settings.command else { return exit::USAGE };
    let seed = match embed::random_seed() {
        Ok(seed) => seed,
        Err(error) => return os_error(error),
    };
    let listeners = embed::addresses_to_bind(settings, &reader(settings));
    let compiled = match embed::compile(settings, &listeners, seed, &reader(settings)) {
        Ok(compiled) => compiled,
        Err(problems) => return said(&problems),
    };
    let question = Question { user: user.as_deref(), client: *client, method: method.as_deref(), target };
    let embed::Compiled { policy, guard, gateway, .. } = compiled;
    let rules = Rules { policy, guard, gateway };
    let (text, allowed) = explain::explain(settings, rules, listeners, &question, seed, &reader(settings));
    print_with(&text, if allowed { exit::OK } else { exit::REFUSED })
}

/// `weir detect`.
pub fn detect(settings: &Settings) -> u8 {
    let Command::Detect { context, text } = &settings.command else { return exit::USAGE };
    let text = match text {
        Some(text) => text.clone().into_bytes(),
        None => {
            let mut read = Vec::new();
            match io::stdin().lock().take(DETECT_BYTES_MAX).read_to_end(&mut read) {
                Ok(_) => read,
                Err(error) => return os_error(error),
            }
        }
    };
    match detect::report(settings, *context, &text, &reader(settings)) {
        Ok((text, found)) => print_with(&text, if found { exit::REFUSED } else { exit::OK }),
        Err(problems) => said(&problems),
    }
}

/// `weir reload`: the verdict is the daemon's.
pub fn ask_to_reload(settings: &Settings) -> u8 {
    let Some(file) = &settings.pid_file else {
        return fail("reload: expected --pid-file FILE, the one that the running weir has", exit::USAGE);
    };
    match pid_file::ask(&file.value) {
        Ok((Outcome::Reloaded, text)) => print(&format!("weir: {}\n", text.replace('\n', "\nweir: "))),
        Ok((Outcome::Failed, text)) => {
            let code = fail(&text.replace('\n', "\nweir: "), exit::CONFIGURATION);
            fail("not reloaded: what was running stays", code)
        }
        Ok((Outcome::Refused, message)) | Err(NoAnswer::NotRunning(message)) => {
            fail(&message, exit::UNAVAILABLE)
        }
        Err(NoAnswer::Unable(message)) => fail(&message, exit::OS_ERROR),
    }
}
