//! HUP: the configuration, and all files that it names, are read again. Everything is judged before anything is replaced,
//! so a mistake changes nothing.

use crate::Daemon;
use crate::{
    compile_by, limit_connections, random_seed, read_file, resolver_settings, warn_if_open, warn_of_skipped,
};
use log::{error, info, warn};
use std::cell::RefCell;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use weir::config::policy::{engine_settings_with, unreadable_name_files};
use weir::config::{Changes, Problems, Settings};
use weir::policy::Policy;
use weir::shell::WorkerMessage;

/// How long the loops are waited for (chosen: several turns of a busy one).
const SETTLED_WITHIN: Duration = Duration::from_secs(2);

/// What to do about a file that the sandbox closes.
const CLOSED: &str = "the sandbox opens files that were named and there at the start, and what replaces them only in \
                      directories of their own (--print-config shows which): write the file in place, or restart weir";

/// What the process was started with: a reload puts the same layers together.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The command line, without the name of the program.
    pub arguments: Vec<String>,
    /// The environment.
    pub environment: Vec<(String, String)>,
    /// What the configuration was, if it came through a pipe: it does not come again.
    pub piped: Option<Vec<u8>>,
}

impl Launch {
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

/// What a reload has found, all of it good.
struct Found {
    settings: Settings,
    changes: Changes,
    policy: Policy,
    seed: [u64; 2],
}

impl Daemon {
    /// Reads everything again and goes by it, or says what is wrong and goes on as before. Whoever asked learns which: the log,
    /// the service manager, `weir reload`.
    pub(crate) fn reload(&mut self) {
        self.manager.reloading();
        if let Some(file) = &mut self.pid_file {
            file.begin();
        }
        self.writer.reopen();
        let (failed, status, text) = match self.find() {
            Ok(found) => {
                let text = self.adopt(found);
                (false, self.status(), text)
            }
            Err(said) => {
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
        if let Some(file) = &self.pid_file {
            file.end(failed, text);
        }
    }

    /// What the service manager is told of a daemon that runs.
    pub(crate) fn status(&self) -> String {
        let addresses: Vec<String> = self.listeners.iter().map(ToString::to_string).collect();
        let [rules, users] = self.loaded;
        format!("serving on {}, {rules} rules, {users} users", addresses.join(", "))
    }

    fn find(&self) -> Result<Found, Vec<String>> {
        let said = |problems: Problems| -> Vec<String> {
            let mut lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            if self.settings.sandbox && lines.iter().any(|line| line.contains("Permission denied")) {
                lines.push(CLOSED.to_owned());
            }
            lines
        };
        let seed = random_seed().map_err(|_| vec!["no random numbers".to_owned()])?;
        let (found, mut problems) = self.launch.load_again();
        if !problems.is_empty() {
            // All that is wrong is told at once.
            if let Err(others) = compile_by(&found, &self.listeners, seed, &read_again) {
                problems.append(others);
            }
            return Err(said(problems));
        }
        let (mut settings, changes) = self.settings.reloaded(&found);
        let policy = compile_by(&settings, &self.listeners, seed, &read_again).map_err(said)?;
        let warning = limit_connections(&mut settings, self.workers.loops());
        // Whoever reloads has read it already, if nothing has changed.
        if let Some(warning) = warning.filter(|_| settings.max_connections != self.settings.max_connections) {
            log::warn!("{warning}");
        }
        Ok(Found { settings, changes, policy, seed })
    }

    fn adopt(&mut self, found: Found) -> String {
        let Found { settings, changes, policy, seed } = found;
        self.loaded = loaded(&policy);
        warn_of_skipped(&policy);
        // A file that was emptied has neither users nor clients.
        warn_if_open(&self.listeners, &policy, &settings);
        // What is said of the reload is for whoever published before, or will.
        log::set_max_level(log::max_level().max(settings.level()));
        self.writer.set_limits(settings.log_max_size_bytes, settings.log_keep);
        self.policy.set(policy);
        match unreadable_name_files(&read_file) {
            None => {
                let (resolver, hosts) = resolver_settings(&settings, self.workers.loops());
                self.workers.send(&WorkerMessage::SetResolver(resolver, hosts));
            }
            // Everything else does not wait for it: the next reload would not find it open, either.
            Some(closed) => warn!("{closed}: name servers and hosts stay as they were; {CLOSED}"),
        }
        let engine = engine_settings_with(&settings, self.listeners.clone(), seed, self.store.clone());
        let (format, every) = (settings.log_format, settings.stats_every);
        self.workers.send(&WorkerMessage::SetSettings(Arc::new(engine), format, every));
        // Who is told that it is done finds it done, in any loop.
        if !self.workers.settle(SETTLED_WITHIN) {
            warn!("a loop is busy: it takes what was reloaded a little later");
        }
        self.settings = settings;
        let [rules, users] = self.loaded;
        let mut text = format!("reloaded: {rules} rules, {users} users");
        if !changes.made.is_empty() {
            text.push_str(&format!("; changed: {}", changes.made.join(", ")));
        }
        info!("{text}");
        if !changes.need_restart.is_empty() {
            let named = format!("needs a restart: {}", changes.need_restart.join(", "));
            warn!("{named}");
            text.push_str(&format!("\n{named}"));
        }
        log::set_max_level(self.settings.level());
        text
    }
}

/// A file that was read at the start. What came through a pipe would be empty now, and the rules in it gone.
fn read_again(path: &Path) -> io::Result<Vec<u8>> {
    if std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo()) {
        return Err(io::Error::other("it is a pipe, which can be read once"));
    }
    read_file(path)
}

/// How many rules and users there are.
pub fn loaded(policy: &Policy) -> [usize; 2] {
    [policy.acl.len(), policy.users.as_ref().map_or(0, |users| users.len())]
}
