//! HUP: reads the configuration, and all files that it names, again. All of them are judged before anything is replaced, so a mistake
//! changes nothing.

use super::files::{read_config, read_config_again, reader_again};
use super::pid_file::Outcome;
use super::report::STOPPING_ALREADY;
use super::{Daemon, rights};
use log::{error, info, warn};
use rustix::fs::{Access, access};
use std::cell::RefCell;
use std::path::Path;
use std::time::Duration;
use weir::config::{Origin, Problem, Problems, Settings};
use weir::embed::{self, Configuration, Reloaded};

/// How long to wait for the loops (chosen: several turns of a busy loop).
const APPLIED_WITHIN: Duration = Duration::from_secs(2);

/// Advice about a file that the sandbox closes.
const CLOSED: &str = "the sandbox opens files that were named and there at the start, and what replaces them only in \
                      directories of their own (--print-config shows which): write the file in place, or restart weir";

/// Whether the sandbox may be why a file cannot be opened. Landlock does not change what access(2) says.
fn is_closed_by_sandbox(problem: &Problem) -> bool {
    let is_denied = problem.to_string().contains("Permission denied");
    is_denied
        && match &problem.origin {
            Origin::File { path, line: 0 } => access(&**path, Access::READ_OK).is_ok(),
            _ => true,
        }
}

/// The command line and environment of this process: a reload builds the settings from them again.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The command line, without the name of the program.
    arguments: Vec<String>,
    /// The environment.
    environment: Vec<(String, String)>,
    /// The configuration if it was read from a pipe, which cannot be read again.
    piped: Option<Vec<u8>>,
}

impl Launch {
    /// The command line and environment of this process.
    pub fn of_this_process() -> Launch {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let arguments = std::env::args_os().skip(1).map(text).collect();
        let environment = std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
        Launch { arguments, environment, piped: None }
    }

    /// Puts the settings together for the first time.
    pub fn load(&mut self) -> (Settings, Problems) {
        let piped = RefCell::new(None);
        let read = |path: &Path| {
            let content = read_config(path)?;
            if !std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file()) {
                *piped.borrow_mut() = Some(content.clone());
            }
            Ok(content)
        };
        let loaded = Settings::read(&self.arguments, &self.environment, read);
        self.piped = piped.into_inner();
        loaded
    }

    fn load_again(&self) -> (Settings, Problems) {
        let read = |path: &Path| self.piped.clone().map_or_else(|| read_config_again(path), Ok);
        Settings::read(&self.arguments, &self.environment, read)
    }
}

impl Daemon {
    /// Reads everything again and applies it, or reports the problems and keeps the old configuration. The outcome goes to the log, the
    /// service manager, and operators who asked by `weir ctl` or `weir reload`. A weir that is stopping reloads no more.
    pub(super) fn reload(&mut self) {
        let waiting = self.orders.take_waiting();
        if self.control.is_ending() {
            warn!("not reloaded: {STOPPING_ALREADY}");
            if let Some(file) = &mut self.pid_file {
                file.begin();
                file.end(Outcome::Refused, STOPPING_ALREADY.to_owned());
            }
            return;
        }
        self.manager.reloading();
        if let Some(file) = &mut self.pid_file {
            file.begin();
        }
        self.writer.reopen();
        let (failed, status, text) = match self.read_again() {
            Ok(reloaded) => (false, self.status(), self.tell(&reloaded)),
            Err(problems) => {
                let said = self.lines_of(&problems);
                for line in &said {
                    error!("{line}");
                }
                error!("not reloaded: what was running stays");
                let first = said.first().map_or("", String::as_str);
                let more = said.len().saturating_sub(1);
                let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
                (true, format!("not reloaded, running as before: {first}{more}"), said.join("\n"))
            }
        };
        self.manager.ready(&status);
        for asker in waiting {
            let _ = asker.send((failed, text.clone()));
        }
        if let Some(file) = &self.pid_file {
            file.end(if failed { Outcome::Failed } else { Outcome::Reloaded }, text);
        }
    }

    fn read_again(&self) -> Result<Reloaded, Problems> {
        let (found, mut problems) = self.launch.load_again();
        if !problems.is_empty() {
            // All problems are reported at once.
            match embed::random_seed() {
                Ok(seed) => {
                    let compiled =
                        embed::compile(&found, self.control.addresses(), seed, &reader_again(&found));
                    compiled.err().into_iter().for_each(|others| problems.append(others));
                }
                Err(error) => log::error!("{error}: rules and directives are not checked"),
            }
            return Err(problems);
        }
        rights::raise_descriptors(&found, embed::loops(&found));
        let read_file = reader_again(&found);
        self.control.reload(&Configuration::loaded(found, read_file))
    }

    fn lines_of(&self, problems: &Problems) -> Vec<String> {
        let mut lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        if self.control.settings().sandbox && problems.iter().any(is_closed_by_sandbox) {
            lines.push(CLOSED.to_owned());
        }
        lines
    }

    /// Applies the settings that concern the process, not the proxy. Returns the text about the reload.
    fn tell(&self, reloaded: &Reloaded) -> String {
        let settings = self.control.settings();
        // Messages about the reload appear if the old or the new level shows them.
        log::set_max_level(log::max_level().max(settings.level()));
        self.writer.set_queue(self.control.log_bytes_max().unwrap_or(u64::MAX));
        self.writer.set_limits(settings.log_max_size_bytes, settings.log_keep);
        if let Some(closed) = &reloaded.resolver_kept {
            warn!("{closed}: name servers and hosts stay as they were; {CLOSED}");
        }
        // When the client gets the outcome, each loop has the new configuration.
        if !self.control.wait_until_applied(APPLIED_WITHIN) {
            warn!("a loop is busy: it takes what was reloaded a little later");
        }
        let mut text = reloaded.to_string();
        info!("{text}");
        if !reloaded.need_restart.is_empty() {
            let named = format!("needs a restart: {}", reloaded.need_restart.join(", "));
            warn!("{named}");
            text.push_str(&format!("\n{named}"));
        }
        log::set_max_level(settings.level());
        text
    }
}
