//! Who may ask: the users, and whether a password is theirs.
//!
//! Plain passwords are kept as keyed 128-bit hashes, so comparing takes the same time whatever their lengths and wherever they
//! differ, and a memory image does not show them. Hashes that are slow by design are never computed here: [`Users::check`]
//! returns a [`SlowJob`] for another thread. A name that does not exist costs what one with a slow hash costs, where there
//! are any, so that names cannot be told by timing.

use std::fmt;
use std::sync::Arc;

use hashbrown::HashTable;
use subtle::ConstantTimeEq;

use super::credentials::erase;
pub use super::credentials::{Credentials, credentials};
pub use super::remembered::Remembered;
use super::sip::sip128;

/// Longest user name in bytes (chosen).
pub const NAME_BYTES_MAX: usize = 255;

/// Longest password in bytes (chosen; with the longest name it just fits [`Credentials`]).
pub const PASSWORD_BYTES_MAX: usize = 512;

/// Largest cost of a bcrypt hash (chosen: about 2 s of CPU time per attempt; each step doubles it).
pub const BCRYPT_COST_MAX: u32 = 15;

/// Most rounds of a SHA-crypt hash (chosen: about 1 s of CPU time per attempt; passlib's default is 656,000).
pub const SHA_CRYPT_ROUNDS_MAX: u32 = 1_000_000;

/// Most errors kept for one file (chosen).
const ERRORS_MAX: usize = 1000;

const EXPECTED_UTF8: &str = "UTF-8 text";
const EXPECTED_LINE: &str = "name:password or name:hash";
const EXPECTED_NAME: &str = "a name of 1 to 255 bytes without control characters or blanks around it";
const EXPECTED_PASSWORD: &str = "a password of 1 to 512 bytes without control characters";
const EXPECTED_NEW: &str = "a name that no other line has";
const EXPECTED_BCRYPT: &str = "a whole bcrypt hash: $2y$, two digits, $, and 53 characters";
const EXPECTED_COST: &str = "a bcrypt cost from 4 to 15";
const EXPECTED_SHA: &str =
    "a whole SHA-crypt hash: $5$ or $6$, maybe rounds=N$, salt, $, and 43 or 86 characters";
const EXPECTED_ROUNDS: &str = "SHA-crypt rounds from 1000 to 1000000";
const EXPECTED_HASH: &str =
    "a supported hash: make one with htpasswd -B (bcrypt), or openssl passwd -6 (SHA-crypt)";
const EXPECTED_FEWER: &str = "fewer than 1000 bad lines: the rest was not read";

/// Beginnings of hashes that are not supported. Taken as plain passwords they would lock the user out without a word.
const UNSUPPORTED: [&str; 14] = [
    "$apr1$", "$1$", "$2$", "$2x$", "$3$", "$7$", "$y$", "$gy$", "$argon2", "$sha1$", "$md5", "{SHA}",
    "{SSHA", "_J9..",
];

/// A bad line of a user file. It never shows what was found: that may be a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserError {
    /// Counted from 1.
    pub line: u32,
    /// What should be there.
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

/// A user, by number. Only good for the [`Users`] it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UserId(u32);

/// What is known about a user's password.
enum Secret {
    /// Its keyed hash.
    Plain([u8; 16]),
    /// A hash that takes long.
    Slow(SlowHash),
}

/// A hash that is slow by design, checked when it was loaded.
#[derive(Clone)]
enum SlowHash {
    Bcrypt(Arc<str>),
    Sha256Crypt(Arc<str>),
    Sha512Crypt(Arc<str>),
}

struct User {
    name: Box<str>,
    line: u32,
    secret: Secret,
}

/// All users of one file.
pub struct Users {
    seed: u128,
    users: Vec<User>,
    by_name: HashTable<u32>,
    /// Some user's slow hash, for names that do not exist.
    decoy: Option<SlowHash>,
}

/// What became of credentials.
#[derive(Debug)]
pub enum Check {
    /// They are this user's.
    Accepted(UserId),
    /// They are nobody's.
    Wrong,
    /// Another thread has to say.
    Slow(SlowJob),
}

/// A password and a slow hash to hold against each other, on a thread that may take its time.
pub struct SlowJob {
    user: Option<UserId>,
    hash: SlowHash,
    password: Box<[u8]>,
}

impl SlowJob {
    /// Whose password it would be; `None` where the name does not exist and the outcome is known.
    pub fn user(&self) -> Option<UserId> {
        self.user
    }

    /// Is it the user's password? Takes milliseconds to seconds of CPU time.
    pub fn verify(&self) -> bool {
        let text = std::str::from_utf8(&self.password);
        let right = match (&self.hash, text) {
            (SlowHash::Bcrypt(hash), _) => bcrypt::verify(&self.password, hash).unwrap_or(false),
            (SlowHash::Sha256Crypt(hash), Ok(text)) => sha_crypt::sha256_check(text, hash).is_ok(),
            (SlowHash::Sha512Crypt(hash), Ok(text)) => sha_crypt::sha512_check(text, hash).is_ok(),
            (SlowHash::Sha256Crypt(_) | SlowHash::Sha512Crypt(_), Err(_)) => false,
        };
        right && self.user.is_some()
    }
}

impl Drop for SlowJob {
    fn drop(&mut self) {
        erase(&mut self.password);
    }
}

impl fmt::Debug for SlowJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlowJob").field("user", &self.user).finish_non_exhaustive()
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Users {
    /// Reads a user file: `name:password` or `name:hash` per line, `#` at the beginning of comments, blank lines. Everything
    /// after the first colon is the password. The seed keys hashes; it must be secret and random.
    pub fn parse(text: &[u8], seed: u128) -> Result<Users, Vec<UserError>> {
        let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
        let mut users = Users { seed, users: Vec::new(), by_name: HashTable::new(), decoy: None };
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
        if errors.is_empty() { Ok(users) } else { Err(errors) }
    }

    /// How many users there are.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Are there none? Then nobody may ask.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// The name of a user.
    pub fn name(&self, user: UserId) -> &str {
        self.users.get(user.0 as usize).map_or("", |user| &user.name)
    }

    /// What [`Remembered`] knows these credentials by, as long as these users are the ones who are asked.
    pub fn key(&self, credentials: &Credentials) -> u128 {
        sip128(self.seed, &[b"remembered", credentials.user(), credentials.password()])
    }

    /// The user of this name, whatever the password. For credentials that [`Remembered`] knows.
    pub fn find(&self, name: &[u8]) -> Option<UserId> {
        let hash = self.name_hash(name);
        let is_it = |&at: &u32| self.users.get(at as usize).is_some_and(|user| user.name.as_bytes() == name);
        self.by_name.find(hash, is_it).copied().map(UserId)
    }

    /// Is the password the user's?
    pub fn check(&self, credentials: &Credentials) -> Check {
        let user = self.find(credentials.user());
        let secret = user.and_then(|user| self.users.get(user.0 as usize)).map(|user| &user.secret);
        let slow = match secret {
            Some(Secret::Slow(hash)) => Some(hash),
            Some(Secret::Plain(_)) => None,
            None => self.decoy.as_ref(),
        };
        if let Some(hash) = slow {
            return Check::Slow(SlowJob {
                user,
                hash: hash.clone(),
                password: credentials.password().into(),
            });
        }
        // A name that does not exist is compared, too.
        let own = match secret {
            Some(Secret::Plain(own)) => *own,
            Some(Secret::Slow(_)) | None => [0; 16],
        };
        let given = self.password_hash(credentials.user(), credentials.password());
        match (bool::from(own.ct_eq(&given)), user) {
            (true, Some(user)) => Check::Accepted(user),
            (true, None) | (false, _) => Check::Wrong,
        }
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
        let secret = self.parse_secret(name, password).map_err(fail)?;
        if let Some(UserId(first)) = self.find(name.as_bytes()) {
            let first_line = self.users.get(first as usize).map(|user| user.line);
            return Err(UserError { line, expected: EXPECTED_NEW, first_line });
        }
        if let (None, Secret::Slow(hash)) = (&self.decoy, &secret) {
            self.decoy = Some(hash.clone());
        }
        let hash = self.name_hash(name.as_bytes());
        let number = u32::try_from(self.users.len()).map_err(|_| fail(EXPECTED_FEWER))?;
        self.users.push(User { name: name.into(), line, secret });
        let Users { seed, users, by_name, .. } = self;
        let rehash =
            |&at: &u32| users.get(at as usize).map_or(0, |user| name_hash(*seed, user.name.as_bytes()));
        by_name.insert_unique(hash, number, rehash);
        Ok(())
    }

    fn parse_secret(&self, name: &str, password: &str) -> Result<Secret, &'static str> {
        if !(1..=PASSWORD_BYTES_MAX).contains(&password.len()) || password.chars().any(char::is_control) {
            return Err(EXPECTED_PASSWORD);
        }
        if UNSUPPORTED.iter().any(|prefix| password.starts_with(prefix)) {
            return Err(EXPECTED_HASH);
        }
        if ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| password.starts_with(prefix)) {
            return check_bcrypt(password).map(|()| Secret::Slow(SlowHash::Bcrypt(password.into())));
        }
        if let Some(rest) = password.strip_prefix("$5$") {
            return check_sha_crypt(rest, 43).map(|()| Secret::Slow(SlowHash::Sha256Crypt(password.into())));
        }
        if let Some(rest) = password.strip_prefix("$6$") {
            return check_sha_crypt(rest, 86).map(|()| Secret::Slow(SlowHash::Sha512Crypt(password.into())));
        }
        Ok(Secret::Plain(self.password_hash(name.as_bytes(), password.as_bytes())))
    }

    fn password_hash(&self, name: &[u8], password: &[u8]) -> [u8; 16] {
        sip128(self.seed, &[b"password", name, password]).to_le_bytes()
    }

    fn name_hash(&self, name: &[u8]) -> u64 {
        name_hash(self.seed, name)
    }
}

fn name_hash(seed: u128, name: &[u8]) -> u64 {
    sip128(seed, &[b"name", name]) as u64
}

fn is_crypt_base64(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'/')
}

/// A whole hash: `$2y$` (already seen), cost, `$`, 22 characters of salt, 31 of hash.
fn check_bcrypt(hash: &str) -> Result<(), &'static str> {
    let (cost, rest) = hash[4..].split_once('$').ok_or(EXPECTED_BCRYPT)?;
    if cost.len() != 2 || !cost.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(EXPECTED_BCRYPT);
    }
    if rest.len() != 53 || !is_crypt_base64(rest) || hash.parse::<bcrypt::HashParts>().is_err() {
        return Err(EXPECTED_BCRYPT);
    }
    let cost: u32 = cost.parse().map_err(|_| EXPECTED_BCRYPT)?;
    if (4..=BCRYPT_COST_MAX).contains(&cost) { Ok(()) } else { Err(EXPECTED_COST) }
}

/// Six bits per character are more than whole bytes need: those of the last one that are left over are zero. No other text
/// is a hash, nor does `sha_crypt` stand others.
fn ends_in_zeros(hash: &str) -> bool {
    let bits_left = hash.len() * 6 % 8;
    let value = match hash.bytes().next_back() {
        Some(byte @ b'.'..=b'9') => byte - b'.',
        Some(byte @ b'A'..=b'Z') => byte - b'A' + 12,
        Some(byte @ b'a'..=b'z') => byte - b'a' + 38,
        Some(_) | None => return false,
    };
    usize::from(value) < 1 << (6 - bits_left)
}

/// What follows `$5$` or `$6$`: maybe `rounds=N$`, salt, `$`, hash.
fn check_sha_crypt(rest: &str, hash_chars: usize) -> Result<(), &'static str> {
    let mut rest = rest;
    if let Some(after) = rest.strip_prefix("rounds=") {
        let (rounds, after) = after.split_once('$').ok_or(EXPECTED_SHA)?;
        let digits = (4..=7).contains(&rounds.len()) && rounds.bytes().all(|byte| byte.is_ascii_digit());
        let rounds: u32 = if digits { rounds.parse().map_err(|_| EXPECTED_ROUNDS)? } else { 0 };
        if !(1000..=SHA_CRYPT_ROUNDS_MAX).contains(&rounds) {
            return Err(EXPECTED_ROUNDS);
        }
        rest = after;
    }
    let (salt, hash) = rest.split_once('$').ok_or(EXPECTED_SHA)?;
    let whole = salt.len() <= 16 && hash.len() == hash_chars && is_crypt_base64(hash) && ends_in_zeros(hash);
    if whole { Ok(()) } else { Err(EXPECTED_SHA) }
}

#[cfg(test)]
#[path = "auth_tests.rs"]
mod tests;
