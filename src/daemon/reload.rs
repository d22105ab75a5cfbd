//! HUP: the configuration, and all files that it names, are read again. Everything is judged before anything is replaced,
//! so a mistake changes nothing.

use super::report::read_file;
use super::{Daemon, rights};
use log::{error, info, warn};
use std::cell::RefCell;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::Duration;
use weir::config::{Problems, Settings};
use weir::embed::{self, Configuration, Reloaded};

/// How long the loops are waited for (chosen: several turns of a busy one).
const SETTLED_WITHIN: Duration = Duration::from_secs(2);

/// What to do about a file that the sandbox closes.
const CLOSED: &str = "the sandbox opens files that were named and there at the start, and what replaces them only in \
                      directories of their own (--print-config shows which): write the file in place, or restart weir";

/// What the process was started with: a reload puts the same layers together.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The command line, without the name of the program.
    arguments: Vec<String>,
    /// The environment.
    environment: Vec<(String, String)>,
    /// What the configuration was, if it came through a pipe: it does not come again.
    piped: Option<Vec<u8>>,
}

impl Launch {
    /// What this process was started with.
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
            let content = read_file(path)?;
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
        let read = |path: &Path| self.piped.clone().map_or_else(|| read_file(path), Ok);
        Settings::read(&self.arguments, &self.environment, read)
    }
}

impl Daemon {
    /// Reads everything again and goes by it, or says what is wrong and goes on as before. Those who asked learn which: from the
    /// log, the service manager, `weir reload`.
    pub(super) fn reload(&mut self) {
        let waiting = self.waiting.take();
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
            file.end(failed, text);
        }
    }

    fn read_again(&self) -> Result<Reloaded, Problems> {
        let (found, mut problems) = self.launch.load_again();
        if !problems.is_empty() {
            // All that is wrong is told at once.
            let seed = embed::random_seed().unwrap_or_default();
            if let Err(others) = embed::compile(&found, self.control.addresses(), seed, &read_file_again) {
                problems.append(others);
            }
            return Err(problems);
        }
        rights::raise_descriptors(&found, embed::loops(&found));
        self.control.reload(&Configuration::loaded(found, read_file_again))
    }

    fn lines_of(&self, problems: &Problems) -> Vec<String> {
        let mut lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        if self.control.settings().sandbox && lines.iter().any(|line| line.contains("Permission denied")) {
            lines.push(CLOSED.to_owned());
        }
        lines
    }

    /// What the process does by the new settings besides the proxy, and what is said of the reload.
    fn tell(&self, reloaded: &Reloaded) -> String {
        let settings = self.control.settings();
        // What is said of the reload is for those who asked for it, by the level before or by the new one.
        log::set_max_level(log::max_level().max(settings.level()));
        self.writer.set_queue(self.control.log_bytes_max().unwrap_or(u64::MAX));
        self.writer.set_limits(settings.log_max_size_bytes, settings.log_keep);
        if let Some(closed) = &reloaded.resolver_kept {
            warn!("{closed}: name servers and hosts stay as they were; {CLOSED}");
        }
        // A client that is told that it is done finds it done, in any loop.
        if !self.control.settle(SETTLED_WITHIN) {
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

/// A file that was read at the start. What came through a pipe would be empty now, and the rules in it gone.
fn read_file_again(path: &Path) -> io::Result<Vec<u8>> {
    if std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo()) {
        return Err(io::Error::other("it is a pipe, which can be read once"));
    }
    read_file(path)
}
