//! The file that names the running process, and beside it a file with the outcome of the last reload: with these two
//! `weir reload` finds the daemon and reads its verdict.
//!
//! The daemon holds a lock on the pid file as long as it lives, so that the file of an earlier daemon names no process. Both files are
//! written through descriptors that are open since the start: the sandbox need not open them.

use rustix::fs::{Access, FlockOperation, Mode, access, fchmod, flock};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};
use weir::embed::parent;

/// The mode of both files: a user who could read the pid file could lock it, and so pretend that a weir runs.
const MODE: u32 = 0o600;

/// Most bytes of a pid file: a number of 64 bits and the end of its line.
const PID_BYTES_MAX: usize = 21;

/// Bytes that show the kind of a file: more than a pid file has, and than the first line of the other file.
const JUDGED_BYTES: usize = 64;

/// The content of each file, for messages.
const A_PID: &str = "the number of a process";
const A_RESULT: &str = "the outcome of a reload";

/// How long to wait for a verdict (chosen: the largest lists take seconds).
const VERDICT_WITHIN: Duration = Duration::from_secs(60);

/// How often to look for the verdict.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Most looks for the last outcome, which may be being written, and for the end of another lock (chosen: a fifth of a second).
const LOOKS_MAX: u32 = 10;

/// The two files of a running daemon.
#[derive(Debug)]
pub struct PidFile {
    pid: File,
    verdict: File,
    begun: u64,
}

impl PidFile {
    /// Opens, locks and writes both files. Fails with [`ErrorKind::WouldBlock`] if another process has the lock, and if one of
    /// them is a file of another kind, which stays as it is.
    pub fn create(path: &Path) -> io::Result<PidFile> {
        let pid = open(path)?;
        judge(&pid, is_pid, A_PID)?;
        keep_private(&pid);
        lock(&pid)?;
        let beside = beside(path);
        let verdict = open(&beside)?;
        judge(&verdict, is_result, A_RESULT).map_err(|error| about(&beside, &error))?;
        keep_private(&verdict);
        replace(&pid, &format!("{}\n", std::process::id()))?;
        let file = PidFile { pid, verdict, begun: 0 };
        replace(
            &file.verdict,
            &ReloadResult { begun: 0, ended: 0, outcome: Outcome::Reloaded, text: String::new() }.written(),
        )?;
        Ok(file)
    }

    /// Whether both files could be opened or created; changes nothing.
    pub fn check(path: &Path) -> io::Result<()> {
        if is_usable(path)? {
            judge(&File::open(path)?, is_pid, A_PID)?;
        }
        let beside = beside(path);
        let check_beside = || match is_usable(&beside)? {
            true => judge(&File::open(&beside)?, is_result, A_RESULT),
            false => Ok(()),
        };
        check_beside().map_err(|error| about(&beside, &error))
    }

    /// A reload begins.
    pub fn begin(&mut self) {
        self.begun += 1;
        self.write(ReloadResult {
            begun: self.begun,
            ended: self.begun - 1,
            outcome: Outcome::Reloaded,
            text: String::new(),
        });
    }

    /// Writes the outcome of the reload.
    pub fn end(&self, outcome: Outcome, text: String) {
        self.write(ReloadResult { begun: self.begun, ended: self.begun, outcome, text });
    }

    fn write(&self, verdict: ReloadResult) {
        let Err(error) = replace(&self.verdict, &verdict.written()) else { return };
        log::warn!("cannot write beside the pid file what came of the reload: {error}");
        // A full disk may have room for a few words.
        let text = "the rest is in the log: this file could not be written".to_owned();
        let _ = replace(&self.verdict, &ReloadResult { text, ..verdict }.written());
    }
}

/// Empties both files: the process ends. They are not removed, because their path may lead to another directory by now.
impl Drop for PidFile {
    fn drop(&mut self) {
        for file in [&self.pid, &self.verdict] {
            let _ = file.set_len(0);
        }
    }
}

/// The outcome of a reload; the text beside it explains it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The text describes the new configuration.
    Reloaded,
    /// The text has the problems. The old configuration stays.
    Failed,
    /// The daemon is stopping, and has read nothing.
    Refused,
}

impl Outcome {
    const ALL: [Outcome; 3] = [Outcome::Reloaded, Outcome::Failed, Outcome::Refused];

    fn word(self) -> &'static str {
        match self {
            Outcome::Reloaded => "reloaded",
            Outcome::Failed => "failed",
            Outcome::Refused => "refused",
        }
    }
}

/// The reason why there is no answer.
#[derive(Debug)]
pub enum NoAnswer {
    /// No daemon runs by this pid file.
    NotRunning(String),
    /// The daemon cannot be reached, or gives no outcome in time.
    Unable(String),
}

/// Makes the daemon of that pid file reload, and waits for its verdict and the text beside it.
pub fn ask(path: &Path) -> Result<(Outcome, String), NoAnswer> {
    let place = path.display();
    let pid = find(path)?;
    // Without the outcome of the last reload, which could not be written or was removed, the next complete one is new.
    let begun = (0..LOOKS_MAX).find_map(|_| {
        look(path).or_else(|| {
            thread::sleep(LOOK_EVERY);
            None
        })
    });
    let begun = begun.map_or(0, |before| before.begun);
    kill_process(pid, Signal::HUP).map_err(|error| {
        NoAnswer::Unable(format!("cannot signal process {}: {error}", pid.as_raw_nonzero()))
    })?;
    let until = Instant::now() + VERDICT_WITHIN;
    while Instant::now() < until {
        match look(path).filter(|now| now.ended > begun) {
            Some(now) => return Ok((now.outcome, now.text)),
            None => drop(find(path)?),
        }
        let file = beside(path);
        if !file.exists() {
            let file = file.display();
            return Err(NoAnswer::Unable(format!(
                "{file}: there is no such file: the process was told, and its log says what came of it"
            )));
        }
        thread::sleep(LOOK_EVERY);
    }
    Err(NoAnswer::Unable(format!(
        "{place}: the process has not said within {VERDICT_WITHIN:?} what came of it"
    )))
}

/// The process that holds the lock.
fn find(path: &Path) -> Result<Pid, NoAnswer> {
    let place = path.display();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(NoAnswer::NotRunning(format!("{place}: there is no such file: no weir runs by it")));
        }
        Err(error) => return Err(NoAnswer::Unable(format!("{place}: cannot be read ({error})"))),
    };
    // A shared lock succeeds only if no daemon holds the exclusive one.
    let unlocked = flock(&file, FlockOperation::NonBlockingLockShared).is_ok();
    let text = io::read_to_string(&file)
        .map_err(|error| NoAnswer::Unable(format!("{place}: cannot be read ({error})")))?;
    // A daemon that ends empties the file before it closes it.
    if unlocked || text.is_empty() {
        return Err(NoAnswer::NotRunning(format!("{place}: no weir runs by this file")));
    }
    let pid = text.trim().parse().ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| NoAnswer::Unable(format!("{place}: expected the number of a process")))
}

/// The outcome of the last reload, if the file beside the pid file is complete: it may be being written.
fn look(pid_file: &Path) -> Option<ReloadResult> {
    ReloadResult::read(&std::fs::read_to_string(beside(pid_file)).ok()?)
}

/// The content of the second file. Its last line shows that the file is complete.
#[derive(Debug, PartialEq, Eq)]
struct ReloadResult {
    /// Reloads begun since the start.
    begun: u64,
    /// Of these, the reloads that have ended.
    ended: u64,
    outcome: Outcome,
    text: String,
}

impl ReloadResult {
    fn written(&self) -> String {
        let ReloadResult { begun, ended, outcome, text } = self;
        format!("{begun} {ended} {}\n{}\nend\n", outcome.word(), text.trim_end())
    }

    fn read(text: &str) -> Option<ReloadResult> {
        let (first, text) = text.strip_suffix("\nend\n")?.split_once('\n')?;
        let (begun, ended, outcome) = ReloadResult::read_first(first)?;
        Some(ReloadResult { begun, ended, outcome, text: text.to_owned() })
    }

    /// The first line: reloads begun and ended, and the outcome.
    fn read_first(line: &str) -> Option<(u64, u64, Outcome)> {
        let mut words = line.split(' ');
        let mut number = || words.next()?.parse().ok();
        let (begun, ended) = (number()?, number()?);
        let word = words.next()?;
        let outcome = Outcome::ALL.into_iter().find(|outcome| outcome.word() == word)?;
        Some((begun, ended, outcome))
    }
}

/// Locks the pid file. A `weir reload` that looks for the daemon holds a lock for a moment.
fn lock(pid: &File) -> io::Result<()> {
    let mut outcome = flock(pid, FlockOperation::NonBlockingLockExclusive);
    for _ in 0..LOOKS_MAX {
        if outcome != Err(Errno::WOULDBLOCK) {
            break;
        }
        thread::sleep(LOOK_EVERY);
        outcome = flock(pid, FlockOperation::NonBlockingLockExclusive);
    }
    Ok(outcome?)
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".reload");
    name.into()
}

/// Whether there is a file, which can be read and written. Fails if it cannot, and if there is none and none can be created.
fn is_usable(path: &Path) -> io::Result<bool> {
    match path.symlink_metadata() {
        Ok(found) if found.is_file() => {
            access(path, Access::READ_OK | Access::WRITE_OK)?;
            Ok(true)
        }
        Ok(_) => Err(io::Error::other("this is no file")),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            access(parent(path), Access::WRITE_OK | Access::EXEC_OK)?;
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// The error with the path of the file that it is about.
fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Fails if the file has something that `is_ours` does not know by its first bytes: a mistake must not overwrite a file of the
/// operator's.
fn judge(file: &File, is_ours: fn(&[u8]) -> bool, what: &str) -> io::Result<()> {
    let mut content = [0; JUDGED_BYTES];
    let length = file.read_at(&mut content, 0)?;
    match length == 0 || is_ours(&content[..length]) {
        true => Ok(()),
        false => Err(io::Error::other(format!("this file has something else than {what}"))),
    }
}

fn is_pid(content: &[u8]) -> bool {
    content.len() <= PID_BYTES_MAX
        && content.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_whitespace())
}

/// Whether this begins as a [`ReloadResult`] does. The rest may be missing: a full disk or the end of the process can cut it.
fn is_result(content: &[u8]) -> bool {
    let first = content.split(|&byte| byte == b'\n').next().unwrap_or_default();
    std::str::from_utf8(first).is_ok_and(|line| ReloadResult::read_first(line).is_some())
}

/// A link could lead anywhere.
fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(MODE).custom_flags(flags.bits() as i32);
    options.open(path)
}

/// Gives a file that was there already the mode of a new one. If it is another user's, it keeps its own.
fn keep_private(file: &File) {
    let _ = fchmod(file, Mode::from_raw_mode(MODE as _));
}

fn replace(file: &File, text: &str) -> io::Result<()> {
    file.set_len(0)?;
    file.write_all_at(text.as_bytes(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_written_is_read() {
        let texts = [(Outcome::Reloaded, ""), (Outcome::Failed, "a: b\nc: d"), (Outcome::Refused, "end")];
        for (outcome, text) in texts {
            let verdict = ReloadResult { begun: 3, ended: 2, outcome, text: text.to_owned() };
            let written = verdict.written();
            assert_eq!(ReloadResult::read(&written).as_ref(), Some(&verdict));
            for end in 0..written.len() {
                assert_eq!(ReloadResult::read(&written[..end]), None, "{:?} is not whole", &written[..end]);
            }
        }
    }

    #[test]
    fn only_files_of_weir_are_overwritten() {
        let path = std::env::temp_dir().join(format!("weir-pid-file-judged-{}", std::process::id()));
        let beside = beside(&path);
        let longest = format!("{0} {0} reloaded\n", u64::MAX);
        for ours in ["", "0 0 reloaded\n\nend\n", "3 2 failed\nweir.conf:1: exp", "1 1 refused", &longest] {
            std::fs::write(&beside, ours).unwrap();
            PidFile::check(&path).unwrap();
            drop(PidFile::create(&path).unwrap());
        }
        for other in ["block a.test\nport 80\n", "4711\n", "1 2\n", "1 2 three\n", "\n\nend\n", "\0\0"] {
            std::fs::write(&beside, other).unwrap();
            let told =
                format!("{}: this file has something else than the outcome of a reload", beside.display());
            for outcome in [PidFile::check(&path), PidFile::create(&path).map(drop)] {
                assert_eq!(outcome.unwrap_err().to_string(), told, "{other:?}");
            }
            assert_eq!(std::fs::read_to_string(&beside).unwrap(), other);
        }
        for path in [&path, &beside] {
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn other_users_cannot_lock_the_file_and_a_short_lock_is_waited_for() {
        let path = std::env::temp_dir().join(format!("weir-pid-file-locked-{}", std::process::id()));
        for path in [&path, &beside(&path)] {
            std::fs::write(path, "").unwrap();
            std::fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
        }
        let reload = File::open(&path).unwrap();
        flock(&reload, FlockOperation::NonBlockingLockShared).unwrap();
        assert_eq!(PidFile::create(&path).unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(reload);
        let _file = PidFile::create(&path).unwrap();
        for path in [&path, &beside(&path)] {
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn a_daemon_that_ends_is_not_running() {
        let path = std::env::temp_dir().join(format!("weir-pid-file-{}", std::process::id()));
        let file = PidFile::create(&path).unwrap();
        assert!(find(&path).is_ok());
        // As a drop does before the lock ends.
        file.pid.set_len(0).unwrap();
        file.verdict.set_len(0).unwrap();
        assert!(matches!(ask(&path), Err(NoAnswer::NotRunning(_))));
        drop(file);
        for path in [&path, &beside(&path)] {
            std::fs::remove_file(path).unwrap();
        }
    }
}
