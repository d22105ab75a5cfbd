//! Users and their passwords.
//!
//! A plain password is kept as a keyed 128-bit hash. A comparison takes the same time for any length and any
//! difference, and a memory image does not show the password. Slow hashes are never computed in this room:
//! [`Users::check`] returns a [`SlowJob`] for another thread. If a file has slow hashes, every failure costs the
//! same, whether the name or the password is wrong, so the time does not show which names exist (rule 47).

use std::fmt;

use hashbrown::HashTable;
use subtle::ConstantTimeEq;

pub use super::credential_cache::CredentialCache;
pub use super::credentials::{Credentials, UserId, credentials};
use super::sip::sip128;
pub use super::slow::SlowJob;
use super::slow::{Decoys, SlowHash};
use crate::words;

/// Longest user name in bytes (chosen).
pub const NAME_BYTES_MAX: usize = 255;

/// Longest password in bytes (chosen; with the longest name it just fits [`Credentials`]).
pub const PASSWORD_BYTES_MAX: usize = 512;

/// Most errors kept for one file (chosen).
const ERRORS_MAX: usize = 1000;

const EXPECTED_UTF8: &str = "UTF-8 text";
const EXPECTED_LINE: &str = "name:password or name:hash";
const EXPECTED_NAME: &str = "a name of 1 to 255 bytes without control characters or blanks around it";
const EXPECTED_PASSWORD: &str = "a password of 1 to 512 bytes without control characters";
const EXPECTED_NEW: &str = "a name that no other line has";
const EXPECTED_HASH: &str =
    "a supported hash: make one with htpasswd -B (bcrypt), or openssl passwd -6 (SHA-crypt)";
const EXPECTED_UNLOCKED: &str =
    "a password or a hash: `!` and `*` are locked accounts of /etc/shadow; leave the line out";
const EXPECTED_FEWER: &str = "fewer than 1000 bad lines: the rest was not read";

/// An invalid line of a user file. The error never shows the text, because it may be a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserError {
    /// Counted from 1.
    pub line: u32,
    /// The text that is valid in this place.
    pub expected: &'static str,
    /// The earlier line with the same name.
    pub first_line: Option<u32>,
}

impl fmt::Display for UserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}", self.expected)?;
        match self.first_line {
            Some(first) => write!(f, ", but line {first} has it"),
            None => Ok(()),
        }
    }
}

/// A user, in 32 bytes: a file may have many.
#[derive(Clone)]
struct User {
    /// The end of the name in [`Users::names`], where the name of the next user begins.
    name_end: u32,
    line: u32,
    /// The keyed hash of name and secret as the file has them; equal after a reload that leaves the text as it was.
    text_hash: [u8; 16],
    /// The secret, if it is a hash that is slow by design, and not a password.
    slow: Option<Box<SlowHash>>,
}

/// All users of one file.
#[derive(Clone)]
pub struct Users {
    seed: u128,
    /// All names, one behind the other.
    names: String,
    users: Vec<User>,
    by_name: HashTable<u32>,
    /// Hashes that a wrong password is compared with.
    decoys: Decoys,
}

/// The result of checking credentials.
#[derive(Debug)]
pub enum Check {
    /// The credentials of this user.
    Accepted(UserId),
    /// Wrong credentials.
    Wrong,
    /// A job for another thread decides.
    Slow(SlowJob),
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Users {
    /// Reads a user file: `name:password` or `name:hash` per line, `#` at the beginning of comments, blank lines. Everything
    /// after the first colon is the password. The seed keys hashes; it must be secret and random, and for files that replace one
    /// another the same, see [`Users::key`].
    pub fn parse(text: &[u8], seed: u128) -> Result<Users, Vec<UserError>> {
        let text = words::without_mark(text);
        let mut users = Users {
            seed,
            names: String::new(),
            users: Vec::new(),
            by_name: HashTable::new(),
            decoys: Decoys::default(),
        };
        let mut errors = Vec::new();
        let mut line = 0u32;
        for bytes in text.split(|&byte| byte == b'\n') {
            line = line.saturating_add(1);
            let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
            if let Err(mut error) = users.add_line(line, bytes) {
                let full = errors.len() + 1 == ERRORS_MAX;
                if full {
                    error = UserError { line, expected: EXPECTED_FEWER, first_line: None };
                }
                errors.push(error);
                if full {
                    break;
                }
            }
        }
        users.names.shrink_to_fit();
        users.users.shrink_to_fit();
        if errors.is_empty() { Ok(users) } else { Err(errors) }
    }

    /// The number of users.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// The number of users with slow hashes.
    pub fn slow_len(&self) -> usize {
        self.users.iter().filter(|user| user.slow.is_some()).count()
    }

    /// Whether the file has no users: then no client may use the proxy.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// The name of a user.
    pub fn name(&self, user: UserId) -> &str {
        name_of(&self.names, &self.users, user.0)
    }

    /// The key of these credentials in [`CredentialCache`], valid for as long as the user's line in the file stays the same: a
    /// user who is added or removed, or whose password is changed, has other keys.
    pub fn key(&self, credentials: &Credentials) -> u128 {
        let user = self.find(credentials.user()).and_then(|user| self.users.get(user.0 as usize));
        // As long for an unknown name, so that the time does not show which names exist.
        let text_hash = user.map_or([0; 16], |user| user.text_hash);
        sip128(self.seed, &[b"remembered", credentials.user(), credentials.password(), &text_hash])
    }

    /// The user of this name, without a password check: for credentials that [`CredentialCache`] has accepted.
    pub fn find(&self, name: &[u8]) -> Option<UserId> {
        let hash = self.name_hash(name);
        let is_it = |&at: &u32| name_of(&self.names, &self.users, at).as_bytes() == name;
        self.by_name.find(hash, is_it).copied().map(UserId)
    }

    /// Checks the password of the named user.
    pub fn check(&self, credentials: &Credentials) -> Check {
        let password = credentials.password();
        let user = self.find(credentials.user());
        let known = user.and_then(|user| self.users.get(user.0 as usize));
        let slow = known.and_then(|user| user.slow.as_deref());
        // The comparison happens for an unknown name, or a user with a slow hash, too.
        let plain = match known {
            Some(user) if slow.is_none() => user.text_hash,
            Some(_) | None => [0; 16],
        };
        let equal = bool::from(plain.ct_eq(&self.text_hash(credentials.user(), password)));
        let own = match (user, slow) {
            (Some(user), None) if equal => return Check::Accepted(user),
            (Some(user), Some(hash)) => Some((user, hash.clone())),
            (Some(_) | None, _) => None,
        };
        // Without slow hashes no job is needed. A password that is too long for all slow hashes is wrong at once, for
        // any name.
        if self.decoys.is_empty() || password.len() > self.decoys.password_bytes_max() {
            return Check::Wrong;
        }
        Check::Slow(SlowJob::new(own, self.decoys.clone(), password))
    }

    fn add_line(&mut self, line: u32, bytes: &[u8]) -> Result<(), UserError> {
        let fail = |expected| UserError { line, expected, first_line: None };
        if bytes.trim_ascii().is_empty() || bytes.starts_with(b"#") {
            return Ok(());
        }
        let text = std::str::from_utf8(bytes).map_err(|_| fail(EXPECTED_UTF8))?;
        let (name, password) = text.split_once(':').ok_or(fail(EXPECTED_LINE))?;
        let name_is_fine = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.trim() == name;
        if !name_is_fine || name.chars().any(char::is_control) {
            return Err(fail(EXPECTED_NAME));
        }
        let slow = parse_secret(password).map_err(fail)?;
        if let Some(UserId(first)) = self.find(name.as_bytes()) {
            let first_line = self.users.get(first as usize).map(|user| user.line);
            return Err(UserError { line, expected: EXPECTED_NEW, first_line });
        }
        if let Some(hash) = &slow {
            self.decoys.add(hash);
        }
        let number = u32::try_from(self.users.len()).map_err(|_| fail(EXPECTED_FEWER))?;
        let name_end = u32::try_from(self.names.len() + name.len()).map_err(|_| fail(EXPECTED_FEWER))?;
        let text_hash = self.text_hash(name.as_bytes(), password.as_bytes());
        self.names.push_str(name);
        self.users.push(User { name_end, line, text_hash, slow: slow.map(Box::new) });
        let hash = self.name_hash(name.as_bytes());
        let Users { seed, names, users, by_name, .. } = self;
        let rehash = |&at: &u32| name_hash(*seed, name_of(names, users, at).as_bytes());
        by_name.insert_unique(hash, number, rehash);
        Ok(())
    }

    fn text_hash(&self, name: &[u8], text: &[u8]) -> [u8; 16] {
        sip128(self.seed, &[b"password", name, text]).to_le_bytes()
    }

    fn name_hash(&self, name: &[u8]) -> u64 {
        name_hash(self.seed, name)
    }
}

/// The slow hash that the text is; `None` for a password.
fn parse_secret(text: &str) -> Result<Option<SlowHash>, &'static str> {
    if !(1..=PASSWORD_BYTES_MAX).contains(&text.len()) || text.chars().any(char::is_control) {
        return Err(EXPECTED_PASSWORD);
    }
    let unlocked = text.trim_start_matches(['!', '*']);
    if unlocked.len() < text.len() && (unlocked.is_empty() || is_hash_of_a_scheme(unlocked)) {
        return Err(EXPECTED_UNLOCKED);
    }
    // Hashes of other schemes would lock the user out silently, read as plain passwords.
    match SlowHash::parse(text) {
        Some(hash) => hash.map(Some),
        None if is_hash_of_a_scheme(text) => Err(EXPECTED_HASH),
        None => Ok(None),
    }
}

/// Whether a text has the form of a hash: `$scheme$...` as in /etc/shadow, `{SCHEME}...` (RFC 2307 section 5.3), or that of BSDi.
fn is_hash_of_a_scheme(text: &str) -> bool {
    let close = match text.as_bytes().first() {
        Some(b'$') => '$',
        Some(b'{') => '}',
        Some(_) | None => return text.starts_with("_J9.."),
    };
    let scheme = text[1..].split_once(close).map_or("", |(scheme, _)| scheme);
    let is_of_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"-.,=".contains(&byte);
    !scheme.is_empty() && scheme.bytes().all(is_of_scheme)
}

/// The name of the user with this number.
fn name_of<'n>(names: &'n str, users: &[User], number: u32) -> &'n str {
    let number = number as usize;
    let start = number.checked_sub(1).and_then(|before| users.get(before)).map_or(0, |user| user.name_end);
    users.get(number).and_then(|user| names.get(start as usize..user.name_end as usize)).unwrap_or("")
}

fn name_hash(seed: u128, name: &[u8]) -> u64 {
    sip128(seed, &[b"name", name]) as u64
}

#[cfg(test)]
#[path = "auth_tests.rs"]
mod tests;
