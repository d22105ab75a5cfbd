//! Slow hashes (bcrypt and SHA-crypt), and the cost of a wrong password.
//!
//! The time of an answer must not show an attacker which names exist, or which have a cheap hash or none. So every
//! wrong password costs the same: one hash of each kind and cost in the file, including the user's own. A right
//! password ends at once, which shows only that it is right.

use std::fmt;
use std::sync::Arc;

use super::credentials::{UserId, erase};

/// Largest cost of a bcrypt hash (chosen: about 2 s of CPU time per attempt; each step doubles it).
pub const BCRYPT_COST_MAX: u32 = 15;

/// Most rounds of a SHA-crypt hash (chosen: about 1 s of CPU time per attempt; passlib's default is 656,000).
pub const SHA_CRYPT_ROUNDS_MAX: u32 = 1_000_000;

/// Rounds of a SHA-crypt hash without a number of rounds.
const SHA_CRYPT_ROUNDS: u32 = 5000;

/// Longest password for a bcrypt hash, in bytes: bcrypt ignores further bytes, so any longer password would be right.
pub const BCRYPT_PASSWORD_BYTES_MAX: usize = 72;

/// Longest password for a SHA-crypt hash, in bytes, because the time grows with the length: the limit of `openssl
/// passwd`.
pub const SHA_CRYPT_PASSWORD_BYTES_MAX: usize = 256;

/// Most decoys, the costliest ones (chosen: a file has one or two kinds and costs of hashes, and then all names cost
/// the same).
const DECOYS_MAX: usize = 3;

pub(super) const EXPECTED_BCRYPT: &str = "a whole bcrypt hash: $2y$, two digits, $, and 53 characters";
pub(super) const EXPECTED_COST: &str = "a bcrypt cost from 4 to 15";
pub(super) const EXPECTED_SHA: &str =
    "a whole SHA-crypt hash: $5$ or $6$, maybe rounds=N$, salt, $, and 43 or 86 characters";
pub(super) const EXPECTED_ROUNDS: &str = "SHA-crypt rounds from 1000 to 1000000";

/// A kind of hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Bcrypt,
    Sha256Crypt,
    Sha512Crypt,
}

/// The cost of computing a hash: equal scheme and number take equal time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cost {
    scheme: Scheme,
    /// bcrypt's cost, or SHA-crypt's rounds.
    number: u32,
}

impl Cost {
    /// Rough time in microseconds, for comparisons: measured once, on a machine of 2024.
    fn estimate_us(self) -> u64 {
        match self.scheme {
            Scheme::Bcrypt => 50 << self.number,
            Scheme::Sha256Crypt => u64::from(self.number),
            Scheme::Sha512Crypt => u64::from(self.number),
        }
    }
}

/// A slow hash, validated when it was loaded.
#[derive(Clone)]
pub(super) struct SlowHash {
    cost: Cost,
    text: Arc<str>,
}

impl SlowHash {
    /// Reads a hash; `None` if the text has another form.
    pub fn parse(text: &str) -> Option<Result<SlowHash, &'static str>> {
        let scheme = if ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| text.starts_with(prefix)) {
            Scheme::Bcrypt
        } else if text.starts_with("$5$") {
            Scheme::Sha256Crypt
        } else if text.starts_with("$6$") {
            Scheme::Sha512Crypt
        } else {
            return None;
        };
        let number = match scheme {
            Scheme::Bcrypt => check_bcrypt(text),
            Scheme::Sha256Crypt => check_sha_crypt(&text[3..], 43),
            Scheme::Sha512Crypt => check_sha_crypt(&text[3..], 86),
        };
        Some(number.map(|number| SlowHash { cost: Cost { scheme, number }, text: text.into() }))
    }

    /// Longest password that can be right.
    pub fn password_bytes_max(&self) -> usize {
        match self.cost.scheme {
            Scheme::Bcrypt => BCRYPT_PASSWORD_BYTES_MAX,
            Scheme::Sha256Crypt | Scheme::Sha512Crypt => SHA_CRYPT_PASSWORD_BYTES_MAX,
        }
    }

    /// Computes the hash for any password, and compares.
    fn verify(&self, password: &[u8]) -> bool {
        let right = match (self.cost.scheme, std::str::from_utf8(password)) {
            (Scheme::Bcrypt, _) => bcrypt::verify(password, &self.text).unwrap_or(false),
            (Scheme::Sha256Crypt, Ok(text)) => sha_crypt::sha256_check(text, &self.text).is_ok(),
            (Scheme::Sha512Crypt, Ok(text)) => sha_crypt::sha512_check(text, &self.text).is_ok(),
            (Scheme::Sha256Crypt | Scheme::Sha512Crypt, Err(_)) => false,
        };
        right && password.len() <= self.password_bytes_max()
    }
}

/// One hash of each kind and cost in a file, the costliest first.
#[derive(Clone, Default)]
pub(super) struct Decoys {
    hashes: Arc<[SlowHash]>,
    password_bytes_max: usize,
}

impl Decoys {
    /// Adds a hash if its kind and cost is new.
    pub fn add(&mut self, hash: &SlowHash) {
        self.password_bytes_max = self.password_bytes_max.max(hash.password_bytes_max());
        if self.hashes.iter().any(|known| known.cost == hash.cost) {
            return;
        }
        // The costliest hash first.
        let mut all = self.hashes.to_vec();
        let at = all.partition_point(|known| known.cost.estimate_us() >= hash.cost.estimate_us());
        all.insert(at, hash.clone());
        all.truncate(DECOYS_MAX);
        self.hashes = all.into();
    }

    /// Whether the file has no slow hashes.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Longest password that can be right for any hash of the file.
    pub fn password_bytes_max(&self) -> usize {
        self.password_bytes_max
    }
}

/// A password check with slow hashes, for a thread other than a loop.
pub struct SlowJob {
    /// The user, and the user's own hash, if it is slow.
    own: Option<(UserId, SlowHash)>,
    decoys: Decoys,
    password: Box<[u8]>,
}

impl SlowJob {
    /// A job without a user, or with a user whose plain password differs, takes its time and fails.
    pub(super) fn new(own: Option<(UserId, SlowHash)>, decoys: Decoys, password: &[u8]) -> SlowJob {
        SlowJob { own, decoys, password: password.into() }
    }

    /// The user whom the password would authenticate; `None` if the password is known to be wrong.
    pub fn user(&self) -> Option<UserId> {
        self.own.as_ref().map(|(user, _)| *user)
    }

    /// Checks the password. Takes milliseconds to seconds of CPU time.
    pub fn verify(&self) -> bool {
        self.own_hash().is_some_and(|hash| hash.verify(&self.password)) || self.verify_decoys()
    }

    fn own_hash(&self) -> Option<&SlowHash> {
        self.own.as_ref().map(|(_, hash)| hash)
    }

    /// The decoys beside the user's own hash.
    fn other_decoys(&self) -> impl Iterator<Item = &SlowHash> {
        let own = self.own_hash().map(|hash| hash.cost);
        self.decoys.hashes.iter().filter(move |decoy| Some(decoy.cost) != own)
    }

    /// Takes as long as any other wrong password.
    fn verify_decoys(&self) -> bool {
        for decoy in self.other_decoys() {
            std::hint::black_box(decoy.verify(&self.password));
        }
        false
    }
}

impl Drop for SlowJob {
    fn drop(&mut self) {
        erase(&mut self.password);
    }
}

impl fmt::Debug for SlowJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlowJob").field("user", &self.user()).finish_non_exhaustive()
    }
}

fn is_crypt_base64(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'/')
}

/// Checks a complete hash: `$2y$` (already read), cost, `$`, 22 characters of salt, 31 of hash. Returns the cost.
fn check_bcrypt(hash: &str) -> Result<u32, &'static str> {
    let (cost, rest) = hash[4..].split_once('$').ok_or(EXPECTED_BCRYPT)?;
    if cost.len() != 2 || !cost.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(EXPECTED_BCRYPT);
    }
    if rest.len() != 53 || !is_crypt_base64(rest) || hash.parse::<bcrypt::HashParts>().is_err() {
        return Err(EXPECTED_BCRYPT);
    }
    let cost: u32 = cost.parse().map_err(|_| EXPECTED_BCRYPT)?;
    if (4..=BCRYPT_COST_MAX).contains(&cost) { Ok(cost) } else { Err(EXPECTED_COST) }
}

/// Base64 characters have six bits each, more than whole bytes need: the bits left over in the last one must be zero.
/// Other texts are no hashes, and `sha_crypt` does not accept them.
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

/// Checks the text behind `$5$` or `$6$`: optional `rounds=N$`, salt, `$`, hash. Returns the rounds.
fn check_sha_crypt(rest: &str, hash_chars: usize) -> Result<u32, &'static str> {
    let (mut rest, mut rounds) = (rest, SHA_CRYPT_ROUNDS);
    if let Some(after) = rest.strip_prefix("rounds=") {
        let (text, after) = after.split_once('$').ok_or(EXPECTED_SHA)?;
        let digits = (4..=7).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        rounds = if digits { text.parse().map_err(|_| EXPECTED_ROUNDS)? } else { 0 };
        if !(1000..=SHA_CRYPT_ROUNDS_MAX).contains(&rounds) {
            return Err(EXPECTED_ROUNDS);
        }
        rest = after;
    }
    let (salt, hash) = rest.split_once('$').ok_or(EXPECTED_SHA)?;
    let whole = salt.len() <= 16 && hash.len() == hash_chars && is_crypt_base64(hash) && ends_in_zeros(hash);
    if whole { Ok(rounds) } else { Err(EXPECTED_SHA) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(text: &str) -> SlowHash {
        SlowHash::parse(text).unwrap().unwrap()
    }

    fn bcrypt(cost: u32) -> SlowHash {
        hash(&format!("$2y${cost:02}$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"))
    }

    fn sha512(rounds: u32) -> SlowHash {
        let hash64 = "svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1";
        hash(&format!("$6$rounds={rounds}$saltstring${hash64}"))
    }

    /// Rule 47: an unknown name is compared with the costliest hash, and every wrong password with the same ones.
    #[test]
    fn kind_17_whatever_is_wrong_costs_what_the_costliest_costs() {
        let costs = |job: &SlowJob| {
            let mut all: Vec<String> = job
                .own_hash()
                .into_iter()
                .chain(job.other_decoys())
                .map(|hash| format!("{:?}", hash.cost))
                .collect();
            all.sort();
            all
        };
        let user = UserId(0);
        for hashes in [
            vec![bcrypt(5)],
            vec![bcrypt(5), bcrypt(10), bcrypt(5)],
            vec![bcrypt(10), bcrypt(5), sha512(1000), sha512(1000)],
        ] {
            let mut decoys = Decoys::default();
            hashes.iter().for_each(|hash| decoys.add(hash));
            let nobody = SlowJob::new(None, decoys.clone(), b"x");
            let costliest = hashes.iter().max_by_key(|hash| hash.cost.estimate_us()).unwrap();
            assert!(costs(&nobody).contains(&format!("{:?}", costliest.cost)));
            assert_eq!(decoys.hashes[0].cost, costliest.cost);
            for own in &hashes {
                let job = SlowJob::new(Some((user, own.clone())), decoys.clone(), b"x");
                assert_eq!(costs(&job), costs(&nobody));
            }
        }
    }

    /// Of many kinds and costs the costliest few are decoys.
    #[test]
    fn kind_17_the_cost_of_what_is_wrong_is_bounded() {
        let mut decoys = Decoys::default();
        for cost in [4, 12, 5, 11, 6, 10, 15] {
            decoys.add(&bcrypt(cost));
        }
        let numbers: Vec<u32> = decoys.hashes.iter().map(|hash| hash.cost.number).collect();
        assert_eq!(numbers, [15, 12, 11]);
        assert_eq!(decoys.password_bytes_max(), BCRYPT_PASSWORD_BYTES_MAX);
        // The passwords of a hash that is too cheap for a decoy may still be as long as its kind takes.
        decoys.add(&sha512(1000));
        assert_eq!((decoys.hashes.len(), decoys.password_bytes_max()), (3, SHA_CRYPT_PASSWORD_BYTES_MAX));
        assert!(sha512(656_000).cost.estimate_us() > bcrypt(10).cost.estimate_us());
    }
}
