//! Sessions: load, save, delete, expiry (guard semantics, section 7).
//!
//! A session is an identifier and a mapping. A store keeps a *payload*, `{data, expires_at}`, under `sess:` and the
//! identifier, with the end in seconds since 1970. The functions in this file return the requests to a store, as
//! [`ValueRequest`]s, and interpret the answers.
//!
//! A load never fails: with any fault of a payload or of the store, the session is empty. A payload that is certainly wrong
//! is deleted: one that is no mapping, that has expired, or whose end is no number. A save fails if the store does. A session
//! that is empty or has no time left is deleted. The last writer wins.
//!
//! Stores with their own expiry get the time ([`ValueRequest::Save`]); sessions still rely on the rule that an
//! expired payload may be found, and is deleted then.

use super::values::{PAYLOAD_BYTES_MAX, ValueAnswer, ValueRequest};
use hmac::{Hmac, Mac};
use serde_json::{Map, Value, json};
use sha2::Sha256;
use std::sync::atomic::{AtomicU64, Ordering};

/// The beginning of the key of a session.
pub const KEY_PREFIX: &str = "sess:";

/// The cookie that names a session (guard semantics, section 7).
pub const COOKIE: &str = "session_id";

/// The longest identifier (chosen: a UUID has 36 characters, and 96 bytes as base64 have 128).
pub const ID_BYTES_MAX: usize = 128;

/// How long a session lives without a request, in seconds (guard semantics, section 7).
pub const TIMEOUT_S: i64 = 8 * 3600;

/// The content of a session.
pub type Data = Map<String, Value>;

/// The result of a load.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loaded {
    /// The content; empty without a live session.
    pub data: Data,
    /// Whether the store has a live session with this identifier. Only then may the identifier be used again.
    pub known: bool,
    /// Whether the payload is useless: the caller deletes it, and ignores failures.
    pub delete: bool,
}

/// The reason why a session is not saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaveError {
    /// The identifier contains characters that weir's identifiers do not have, or is too long. An empty one is no error:
    /// nothing is saved.
    Id,
    /// The payload is longer than [`PAYLOAD_BYTES_MAX`].
    TooLong,
}

impl std::fmt::Display for SaveError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SaveError::Id => out.write_str("the session's identifier is malformed"),
            SaveError::TooLong => write!(out, "the session has more than {PAYLOAD_BYTES_MAX} bytes"),
        }
    }
}

impl std::error::Error for SaveError {}

/// Whether a text may become a key: 1 to [`ID_BYTES_MAX`] letters, digits, `-` and `_` of ASCII.
pub fn is_id(text: &str) -> bool {
    let is_of_ids = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_of_ids)
}

/// The identifier of a new session: a random UUID (RFC 9562, version 4) from 128 random bits.
pub fn new_id(random: u128) -> String {
    let bits = random & !(0xF << 76) & !(0b11 << 62) | 0x4 << 76 | 0b10 << 62;
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// Draws numbers that are not to be guessed: the HMAC-SHA256 of a number that is used once, under a random key.
pub struct Draw {
    key: Hmac<Sha256>,
    drawn: AtomicU64,
}

impl Draw {
    /// `secret` is random.
    pub fn new(secret: &[u8; 32]) -> Draw {
        // A key for HMAC is of any length, and is padded to one block of the hash (RFC 2104).
        let mut block = [0; 64];
        block[..32].copy_from_slice(secret);
        Draw { key: Hmac::new(&block.into()), drawn: AtomicU64::new(0) }
    }

    /// Two numbers of 128 bits that were not drawn before.
    pub fn next(&self) -> [u128; 2] {
        let mut mac = self.key.clone();
        mac.update(&self.drawn.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        let bytes: [u8; 32] = mac.finalize().into_bytes().into();
        let number = |part: &[u8]| part.iter().fold(0, |number, byte| number << 8 | u128::from(*byte));
        [number(&bytes[..16]), number(&bytes[16..])]
    }
}

/// Without the key.
impl std::fmt::Debug for Draw {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Draw(..)")
    }
}

/// Writes the line Set-Cookie of a session: scripts cannot read it, and forms of other sites do not send it. `secure` if the
/// client uses TLS.
pub fn write_cookie(out: &mut Vec<u8>, id: &str, secure: bool) {
    let secure = if secure { "; Secure" } else { "" };
    let line = format!("Set-Cookie: {COOKIE}={id}; Path=/; SameSite=Lax; HttpOnly{secure}\r\n");
    out.extend_from_slice(line.as_bytes());
}

/// The identifier under which a session is saved: the presented one if the store knows it, or else a new one. So a client
/// cannot choose the identifier of a session, nor plant it with another client (fixation).
pub fn id_to_save(presented: &str, loaded: &Loaded, random: u128) -> String {
    if loaded.known { presented.to_owned() } else { new_id(random) }
}

/// The request for the session that a client presents. `None` if none is needed, because the session is empty.
pub fn load(id: &str) -> Option<ValueRequest> {
    is_id(id).then(|| ValueRequest::Load { key: key(id) })
}

/// The request to delete a session. The identifier was loaded before, or is new.
pub fn delete(id: &str) -> ValueRequest {
    ValueRequest::Delete { key: key(id) }
}

fn key(id: &str) -> Box<str> {
    [KEY_PREFIX, id].concat().into()
}

/// The session in the answer to a load. `now_ms` is milliseconds since 1970.
pub fn loaded(answer: ValueAnswer, now_ms: u64) -> Loaded {
    let payload = match answer {
        ValueAnswer::Found(payload) => payload,
        ValueAnswer::Absent | ValueAnswer::Done | ValueAnswer::Taken | ValueAnswer::Failed(_) => {
            return Loaded::default();
        }
    };
    let of_no_use = Loaded { delete: true, ..Loaded::default() };
    let Value::Object(mut payload) = payload else { return of_no_use };
    let Some(expires_at) = payload.get("expires_at").and_then(Value::as_f64) else { return of_no_use };
    if seconds(now_ms) > expires_at {
        return of_no_use;
    }
    let data = match payload.remove("data") {
        Some(Value::Object(data)) => data,
        // Unexpected, but the next save repairs it.
        Some(_) | None => Data::new(),
    };
    Loaded { data, known: true, delete: false }
}

/// The request to save a session for `timeout_s` seconds from now, in milliseconds since 1970. `None` if none is needed.
pub fn save(id: &str, data: Data, timeout_s: i64, now_ms: u64) -> Result<Option<ValueRequest>, SaveError> {
    if id.is_empty() {
        return Ok(None);
    }
    if !is_id(id) {
        return Err(SaveError::Id);
    }
    let ttl_s = match u64::try_from(timeout_s) {
        Ok(ttl_s) if ttl_s > 0 && !data.is_empty() => ttl_s,
        Ok(_) | Err(_) => return Ok(Some(delete(id))),
    };
    let payload = json!({ "data": data, "expires_at": seconds(now_ms) + timeout_s as f64 });
    if payload.to_string().len() > PAYLOAD_BYTES_MAX {
        return Err(SaveError::TooLong);
    }
    Ok(Some(ValueRequest::Save { key: key(id), payload, ttl_s: Some(ttl_s) }))
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::store::StoreFailure;
    use crate::guard::values::Values;

    const NOW: u64 = 1_700_000_000_000;
    const ID: &str = "0b4e0e4a-6c52-4f7e-8a4c-3f1f6f1d2e3c";

    fn mapping(value: Value) -> Data {
        let Value::Object(data) = value else { panic!("{value}") };
        data
    }

    fn store() -> Values {
        Values::new(100, 1 << 20, [1, 2])
    }

    /// As a caller does it: load, and delete what is of no use.
    fn load_from(store: &mut Values, id: &str, now: u64) -> Loaded {
        let Some(request) = load(id) else { return Loaded::default() };
        let loaded = loaded(store.answer(&request), now);
        if loaded.delete {
            store.answer(&delete(id));
        }
        loaded
    }

    fn save_to(store: &mut Values, id: &str, data: Value, timeout: i64, now: u64) {
        if let Some(request) = save(id, mapping(data), timeout, now).unwrap() {
            assert_eq!(store.answer(&request), ValueAnswer::Done);
        }
    }

    #[test]
    fn guard_7_what_a_load_comes_to() {
        let ends = 1_700_000_000.0;
        let (nothing, of_no_use) = (Loaded::default(), Loaded { delete: true, ..Loaded::default() });
        let live = |data: Value| Loaded { data: mapping(data), known: true, delete: false };
        let cases = [
            (json!({"data": {"user": 7}, "expires_at": ends + 0.5}), live(json!({"user": 7}))),
            // At its end it is still alive.
            (json!({"data": {"user": 7}, "expires_at": ends}), live(json!({"user": 7}))),
            (json!({"data": {"user": 7}, "expires_at": 1_700_000_000u64}), live(json!({"user": 7}))),
            (json!({"data": {"user": 7}, "expires_at": ends - 0.001}), of_no_use.clone()),
            (json!({"data": {"user": 7}, "expires_at": -1}), of_no_use.clone()),
            (json!({"data": [1], "expires_at": ends}), live(json!({}))),
            (json!({"data": "text", "expires_at": ends}), live(json!({}))),
            (json!({"expires_at": ends}), live(json!({}))),
            (json!([1, 2]), of_no_use.clone()),
            (json!("text"), of_no_use.clone()),
            (json!(null), of_no_use.clone()),
            (json!({}), of_no_use.clone()),
        ];
        for (payload, expected) in cases {
            assert_eq!(loaded(ValueAnswer::Found(payload.clone()), NOW), expected, "{payload}");
        }
        for answer in [ValueAnswer::Absent, ValueAnswer::Failed(StoreFailure::Late)] {
            assert_eq!(loaded(answer.clone(), NOW), nothing, "{answer:?}");
        }
    }

    #[test]
    fn ours_7_an_end_that_is_no_number_is_corrupt() {
        for end in [json!("2999-01-01"), json!("1e99"), json!(null), json!(true), json!([1]), json!({})] {
            let payload = json!({"data": {"user": 7}, "expires_at": end});
            let loaded = loaded(ValueAnswer::Found(payload), NOW);
            assert!(loaded.delete && loaded.data.is_empty() && !loaded.known, "{end}");
        }
    }

    #[test]
    fn guard_7_what_a_save_does() {
        let data = || mapping(json!({"user": 7}));
        let delete = Ok(Some(delete(ID)));
        assert_eq!(save("", data(), 60, NOW), Ok(None));
        assert_eq!(save(ID, Data::new(), 60, NOW), delete);
        assert_eq!(save(ID, data(), 0, NOW), delete);
        assert_eq!(save(ID, data(), i64::MIN, NOW), delete);
        assert_eq!(save("", Data::new(), 0, NOW), Ok(None));
        let payload = json!({"data": {"user": 7}, "expires_at": 1_700_000_060.25});
        let saved = ValueRequest::Save { key: key(ID), payload, ttl_s: Some(60) };
        assert_eq!(save(ID, data(), 60, NOW + 250), Ok(Some(saved)));
        // Only the failure of a write is the caller's.
        assert!(save(ID, data(), 60, NOW).unwrap().unwrap().must_succeed());
        assert!(!load(ID).unwrap().must_succeed() && !self::delete(ID).must_succeed());
        let long = mapping(json!({"text": "x".repeat(PAYLOAD_BYTES_MAX)}));
        assert_eq!(save(ID, long, 60, NOW), Err(SaveError::TooLong));
        assert!(save(ID, data(), i64::MAX, u64::MAX).is_ok());
    }

    #[test]
    fn ours_7_ids_are_checked_before_they_become_keys() {
        let longest = "a".repeat(ID_BYTES_MAX);
        for id in [ID, "a", "A-Z_09", longest.as_str()] {
            assert!(is_id(id) && load(id).is_some(), "{id}");
        }
        let longer = "a".repeat(ID_BYTES_MAX + 1);
        for id in ["a b", "a:b", "a*", "a\r\n", "a\0", "é", "../a", "$ne", "a.b", longer.as_str()] {
            assert!(!is_id(id) && load(id).is_none(), "{id}");
            assert_eq!(save(id, mapping(json!({"a": 1})), 60, NOW), Err(SaveError::Id), "{id}");
        }
        assert!(load("").is_none());
    }

    #[test]
    fn ours_7_an_identifier_is_never_accepted_from_the_client_as_new() {
        let mut store = store();
        let unknown = load_from(&mut store, ID, NOW);
        let id = id_to_save(ID, &unknown, 42);
        assert!(id != ID && is_id(&id));
        save_to(&mut store, &id, json!({"user": 7}), TIMEOUT_S, NOW);
        let known = load_from(&mut store, &id, NOW);
        assert_eq!((id_to_save(&id, &known, 43), known.data), (id.clone(), mapping(json!({"user": 7}))));
        // An identifier whose session has expired is unknown again.
        let expired = load_from(&mut store, &id, NOW + 8 * 3_600_000 + 1);
        assert_ne!(id_to_save(&id, &expired, 44), id);
        assert!(store.is_empty(), "deleted on the way");
    }

    #[test]
    fn guard_7_new_identifiers_are_random_uuids() {
        let cases = [
            (0, "00000000-0000-4000-8000-000000000000"),
            (u128::MAX, "ffffffff-ffff-4fff-bfff-ffffffffffff"),
            (0x0123_4567_89ab_cdef_0123_4567_89ab_cdef, "01234567-89ab-4def-8123-456789abcdef"),
        ];
        for (random, expected) in cases {
            assert_eq!(new_id(random), expected);
            assert!(is_id(expected));
        }
    }

    #[test]
    fn ours_7_what_is_drawn_is_of_its_key_and_drawn_once() {
        let (draw, other) = (Draw::new(&[7; 32]), Draw::new(&[8; 32]));
        let mut drawn: Vec<u128> = (0..100).flat_map(|_| [draw.next(), other.next()]).flatten().collect();
        assert_eq!(Draw::new(&[7; 32]).next(), [drawn[0], drawn[1]]);
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn.len(), 400);
        assert_eq!(format!("{draw:?}"), "Draw(..)");
    }

    #[test]
    fn guard_7_each_save_moves_the_end_and_the_last_writer_wins() {
        let mut store = store();
        save_to(&mut store, ID, json!({"a": 1}), 10, NOW);
        save_to(&mut store, ID, json!({"b": [null, 1.5, "é"]}), 10, NOW + 9_000);
        assert_eq!(load_from(&mut store, ID, NOW + 19_000).data, mapping(json!({"b": [null, 1.5, "é"]})));
        assert_eq!(store.len(), 1);
        save_to(&mut store, ID, json!({}), 10, NOW);
        assert_eq!((store.len(), store.bytes()), (0, 0));
        save_to(&mut store, ID, json!({"a": 1}), 10, NOW);
        assert!(load_from(&mut store, ID, NOW + 10_001).delete);
        assert_eq!(load_from(&mut store, ID, NOW), Loaded::default());
    }

    #[test]
    fn ours_7_the_store_in_memory_is_bounded() {
        let mut store = Values::new(3, 1 << 20, [1, 2]);
        for id in ["a", "b", "c"] {
            save_to(&mut store, id, json!({"n": 1}), 10, NOW);
        }
        assert!(load_from(&mut store, "a", NOW).known);
        save_to(&mut store, "d", json!({"n": 1}), 10, NOW);
        assert!(!load_from(&mut store, "b", NOW).known && load_from(&mut store, "a", NOW).known);
        assert_eq!((store.len(), store.dropped()), (3, 1));
        let mut store = Values::new(100, 2000, [1, 2]);
        for id in 0..20 {
            save_to(&mut store, &format!("{id}"), json!({"text": "x".repeat(200)}), 10, NOW);
        }
        assert!(store.bytes() <= 2000 && store.len() >= 3, "{store:?}");
        assert_eq!(store.len() as u64 + store.dropped(), 20);
    }

    #[test]
    fn fault_13_7_two_stores_share_nothing() {
        let (mut one, mut other) = (store(), store());
        save_to(&mut one, ID, json!({"a": 1}), 10, NOW);
        assert!(load_from(&mut one, ID, NOW).known && !load_from(&mut other, ID, NOW).known);
    }
}
