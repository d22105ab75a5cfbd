//! Values of this process alone: in memory, and optionally in a file.
//!
//! The file is a journal of lines, each a JSON array: `["key", value]` sets the value of a key, `["key"]` removes the key.
//! The file is read at the start and written anew, without removed keys. An order is in the file before it is answered. The
//! system writes it to the disk later: a crash of the machine may lose the last seconds, a crash of the process loses
//! nothing. Values that expire are in memory only.

use super::backend::Backend;
use super::store_state::{Question, StoreState};
use crate::guard::store::{StoreFailure, StoreOrder};
use crate::guard::values::{ValueAnswer, ValueRequest, Values};
use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Most values of each kind, expiring and permanent (chosen).
const VALUES_MAX: usize = 100_000;

/// Bytes of each kind, if `--memory` does not set less (chosen).
pub const BYTES_MAX: usize = 32 << 20;

/// Longest line that is read: a value at its longest, and its key (chosen).
const LINE_BYTES_MAX: u64 = 256 * 1024;

/// A file that is this much longer than when it was written anew is written anew again (chosen: seldom, and bounded).
const GROWTH_BYTES_MAX: u64 = BYTES_MAX as u64;

/// The mode of the file (chosen): only the owner may read it.
const MODE: u32 = 0o600;

/// The numbers of the values, and of those that had no room.
#[derive(Debug, Default)]
pub struct ValueCounting {
    pub values: AtomicU64,
    pub bytes: AtomicU64,
    pub dropped: AtomicU64,
    pub refused: AtomicU64,
    /// Most bytes of expiring values, and of permanent ones.
    pub bytes_max: u64,
}

impl ValueCounting {
    fn show(&self, values: &Values) {
        let numbers = [values.len() as u64, values.bytes() as u64, values.dropped(), values.refused()];
        for (place, number) in
            [&self.values, &self.bytes, &self.dropped, &self.refused].into_iter().zip(numbers)
        {
            place.store(number, Ordering::Relaxed);
        }
    }
}

/// The store.
pub(super) struct LocalBackend {
    values: Values,
    counting: Arc<ValueCounting>,
    journal: Option<Journal>,
    state: Arc<StoreState>,
}

impl LocalBackend {
    /// A store with the content of the file, which is locked as long as the store lives. An invalid line is an error with its
    /// number; the last line may be incomplete.
    pub fn open(
        path: Option<PathBuf>,
        bytes_max: usize,
        seed: [u64; 2],
        state: Arc<StoreState>,
    ) -> io::Result<LocalBackend> {
        let mut values = Values::new(VALUES_MAX, bytes_max, seed);
        let journal = match path {
            Some(path) => {
                let old = OpenOptions::new()
                    .read(true)
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .mode(MODE)
                    .open(&path)?;
                flock(&old, FlockOperation::NonBlockingLockExclusive)?;
                read(old, &mut values)?;
                Some(Journal::begin(path, &values)?)
            }
            None => None,
        };
        let counting = Arc::new(ValueCounting { bytes_max: bytes_max as u64, ..ValueCounting::default() });
        counting.show(&values);
        Ok(LocalBackend { values, counting, journal, state })
    }

    /// Its numbers.
    pub fn counting(&self) -> &Arc<ValueCounting> {
        &self.counting
    }

    fn answer(&mut self, request: &ValueRequest) -> ValueAnswer {
        let answer = self.values.answer(request);
        let line = match (request, &answer) {
            (ValueRequest::Load { .. } | ValueRequest::Save { ttl_s: Some(_), .. }, _) => return answer,
            (
                ValueRequest::Save { key, payload, ttl_s: None } | ValueRequest::Add { key, payload },
                ValueAnswer::Done,
            ) => {
                json!([key, payload])
            }
            (ValueRequest::Delete { key }, ValueAnswer::Done) => json!([key]),
            _ => return answer,
        };
        let Some(journal) = &mut self.journal else { return answer };
        match journal.append(&line, &self.values) {
            Ok(()) => answer,
            Err(error) => {
                log::error!("{}: {error}", journal.path.display());
                ValueAnswer::Failed(StoreFailure::Refused)
            }
        }
    }
}

impl Backend for LocalBackend {
    /// Limits are counted by the guard's own state.
    fn ask(&mut self, questions: &[Question]) {
        self.state.fail(questions, StoreFailure::Refused);
    }

    fn answer_values(&mut self, requests: &[ValueRequest]) -> Vec<ValueAnswer> {
        let answers = requests.iter().map(|request| self.answer(request)).collect();
        self.counting.show(&self.values);
        answers
    }

    fn last_error(&self) -> Option<String> {
        None
    }

    fn carry_out(&mut self, _: &[StoreOrder]) -> bool {
        true
    }

    fn look_after_connections(&mut self) {}
}

/// Reads a journal.
fn read(file: File, values: &mut Values) -> io::Result<()> {
    let mut lines = BufReader::new(file);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let count = lines.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        // An incomplete last line was not answered.
        if count == 0 || (line.last() != Some(&b'\n') && (count as u64) < LINE_BYTES_MAX) {
            break;
        }
        let taken = entry(&line).map(|request| values.answer(&request));
        if taken != Some(ValueAnswer::Done) {
            let why = format!("line {number} is no entry, or there is no room for it");
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
    }
    Ok(())
}

/// The effect of a line.
fn entry(line: &[u8]) -> Option<ValueRequest> {
    let mut parts = serde_json::from_slice::<Vec<Value>>(line).ok()?.into_iter();
    let Value::String(key) = parts.next()? else { return None };
    let (key, payload) = (key.into_boxed_str(), parts.next());
    Some(match payload {
        Some(payload) => ValueRequest::Save { key, payload, ttl_s: None },
        None => ValueRequest::Delete { key },
    })
}

/// The file, for appending.
struct Journal {
    path: PathBuf,
    file: File,
    /// The present length, and the length when the file was written anew, or when that failed.
    bytes: u64,
    begun_with: u64,
}

impl Journal {
    /// Writes the permanent values to a new file, which replaces the old one. Fails while another process uses the file.
    fn begin(path: PathBuf, values: &Values) -> io::Result<Journal> {
        let mut new = path.clone().into_os_string();
        new.push(".new");
        let options = OpenOptions::new().write(true).create(true).truncate(false).mode(MODE).to_owned();
        let file = options.open(&new)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        file.set_len(0)?;
        let mut out = BufWriter::new(file);
        for (key, text) in values.kept() {
            writeln!(out, "[{},{text}]", Value::from(key))?;
        }
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        std::fs::rename(&new, &path)?;
        let bytes = file.metadata()?.len();
        Ok(Journal { path, file, bytes, begun_with: bytes })
    }

    fn append(&mut self, line: &Value, values: &Values) -> io::Result<()> {
        let line = format!("{line}\n");
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            // A disk with room for only a part of the line must not keep that part.
            self.file.set_len(self.bytes)?;
            self.file.seek(SeekFrom::Start(self.bytes))?;
            return Err(error);
        }
        self.bytes += line.len() as u64;
        if self.bytes - self.begun_with > GROWTH_BYTES_MAX {
            match Journal::begin(self.path.clone(), values) {
                Ok(new) => *self = new,
                // The line is in the old file, which grows on.
                Err(error) => {
                    log::warn!("{}: cannot be written anew: {error}", self.path.display());
                    self.begun_with = self.bytes;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn open(path: &Path) -> io::Result<LocalBackend> {
        let state = Arc::new(StoreState::new(|_, _| {}, |_| {}, std::time::Duration::from_secs(30)));
        LocalBackend::open(Some(path.to_owned()), BYTES_MAX, [1, 2], state)
    }

    fn load(backend: &mut LocalBackend, key: &str) -> ValueAnswer {
        backend.answer(&ValueRequest::Load { key: key.into() })
    }

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("weir-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        path.join("values")
    }

    #[test]
    fn what_is_kept_outlives_the_process_and_what_expires_does_not() {
        let path = scratch("journal");
        let mut backend = open(&path).unwrap();
        let kept = |key: &str, text: &str| ValueRequest::Add { key: key.into(), payload: json!(text) };
        for request in [kept("a", "one\n\"two\""), kept("b", "x"), kept("b", "taken"), kept("c", "y")] {
            backend.answer(&request);
        }
        backend.answer(&ValueRequest::Save { key: "s".into(), payload: json!({}), ttl_s: Some(60) });
        backend.answer(&ValueRequest::Save { key: "b".into(), payload: json!([1]), ttl_s: None });
        backend.answer(&ValueRequest::Delete { key: "c".into() });
        drop(backend);
        // As of a process that was killed in the middle of a line.
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"[\"d\",").unwrap();
        let mut backend = open(&path).unwrap();
        assert_eq!(load(&mut backend, "a"), ValueAnswer::Found(json!("one\n\"two\"")));
        assert_eq!(load(&mut backend, "b"), ValueAnswer::Found(json!([1])));
        for key in ["c", "d", "s"] {
            assert_eq!(load(&mut backend, key), ValueAnswer::Absent, "{key}");
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 2, "written anew: {text}");
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_file_that_is_no_journal_or_that_another_one_has_is_an_error() {
        let path = scratch("broken");
        for text in ["{}\n", "[\"a\",1]\nno\n", "[]\n", "[1]\n"] {
            std::fs::write(&path, text).unwrap();
            let error = open(&path).err().expect(text);
            assert!(error.to_string().contains("is no entry"), "{text}: {error}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "left as it was");
        }
        std::fs::remove_file(&path).unwrap();
        let first = open(&path).unwrap();
        assert!(open(&path).is_err());
        drop(first);
        assert!(open(&path).is_ok());
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}
