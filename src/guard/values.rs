//! Named values in the guard's store: sessions, and values of weir's own pages.
//!
//! A value is JSON under a key. Beyond the bound, expiring values are dropped, the least recently used first; a permanent
//! value stays until it is deleted, and further ones are refused when the store is full. [`Values`] is the store in memory;
//! clients of Redis and MongoDB handle the same [`ValueRequest`]s.

use hashlink::LruCache;
use serde_json::Value;
use std::collections::BTreeMap;

use super::store::StoreFailure;
use crate::net::Keyed;

/// The longest value as JSON text (chosen: sixteen times a cookie).
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1024;

/// The memory of a value beside its key and text (counted: both pointers, the place in a table or tree that is not full, the
/// links, and the allocator's part of three pieces).
pub const ENTRY_BYTES: usize = 160;

/// A request to a store. Keys are written behind the store's prefix, and were checked.
#[derive(Clone, Debug, PartialEq)]
pub enum ValueRequest {
    /// The value under a key.
    Load {
        /// Key.
        key: Box<str>,
    },
    /// Writes a value, and replaces an earlier one.
    Save {
        /// Key.
        key: Box<str>,
        /// The new value.
        payload: Value,
        /// For stores with their own expiry, in seconds, at least 1; `None` for a permanent value.
        ttl_s: Option<u64>,
    },
    /// Writes a permanent value, unless the key has a value.
    Add {
        /// Key.
        key: Box<str>,
        /// The new value.
        payload: Value,
    },
    /// Removes a value, if it exists.
    Delete {
        /// Key.
        key: Box<str>,
    },
}

impl ValueRequest {
    /// Whether a failure of the store is an error of the caller, too. Loads and deletes ignore failures (guard semantics, section 7).
    pub fn must_succeed(&self) -> bool {
        match self {
            ValueRequest::Save { .. } | ValueRequest::Add { .. } => true,
            ValueRequest::Load { .. } | ValueRequest::Delete { .. } => false,
        }
    }
}

/// The answer of a store.
#[derive(Clone, Debug, PartialEq)]
pub enum ValueAnswer {
    /// A value of any kind.
    Found(Value),
    /// No value.
    Absent,
    /// Saved, added or deleted.
    Done,
    /// Not added, because the key has a value.
    Taken,
    /// No answer.
    Failed(StoreFailure),
}

impl ValueAnswer {
    /// Why there is no answer.
    pub fn failure(&self) -> Option<StoreFailure> {
        match self {
            ValueAnswer::Failed(failure) => Some(*failure),
            ValueAnswer::Found(_) | ValueAnswer::Absent | ValueAnswer::Done | ValueAnswer::Taken => None,
        }
    }
}

/// The value in the text of a store. A text that is no JSON is null.
pub fn payload(text: &[u8]) -> Value {
    if text.len() > PAYLOAD_BYTES_MAX {
        return Value::Null;
    }
    serde_json::from_slice(text).unwrap_or(Value::Null)
}

/// Values in memory: expiring and permanent ones, each with a bound of their number and of the bytes of keys and texts, with
/// [`ENTRY_BYTES`] for each.
#[derive(Debug)]
pub struct Values {
    expiring: LruCache<Box<str>, Box<str>, Keyed>,
    expiring_bytes: usize,
    kept: BTreeMap<Box<str>, Box<str>>,
    kept_bytes: usize,
    values_max: usize,
    bytes_max: usize,
    dropped: u64,
    refused: u64,
}

impl Values {
    /// The bounds, and the key of the hash.
    pub fn new(values_max: usize, bytes_max: usize, seed: [u64; 2]) -> Values {
        Values {
            expiring: LruCache::with_hasher(usize::MAX, Keyed::new(seed)),
            expiring_bytes: 0,
            kept: BTreeMap::new(),
            kept_bytes: 0,
            values_max,
            bytes_max,
            dropped: 0,
            refused: 0,
        }
    }

    /// Carries out a request.
    pub fn answer(&mut self, request: &ValueRequest) -> ValueAnswer {
        match request {
            ValueRequest::Load { key } => match self.text(key) {
                Some(text) => ValueAnswer::Found(payload(text.as_bytes())),
                None => ValueAnswer::Absent,
            },
            ValueRequest::Save { key, payload, ttl_s: Some(_) } => {
                self.remove(key);
                let text = payload.to_string().into_boxed_str();
                self.expiring_bytes += size(key, &text);
                self.expiring.insert(key.clone(), text);
                self.bound();
                ValueAnswer::Done
            }
            ValueRequest::Save { key, payload, ttl_s: None } => self.keep(key, payload),
            ValueRequest::Add { key, .. } if self.text(key).is_some() => ValueAnswer::Taken,
            ValueRequest::Add { key, payload } => self.keep(key, payload),
            ValueRequest::Delete { key } => {
                self.remove(key);
                ValueAnswer::Done
            }
        }
    }

    /// The permanent values: keys and JSON texts, in the order of the keys.
    pub fn kept(&self) -> impl Iterator<Item = (&str, &str)> {
        self.kept.iter().map(|(key, text)| (&**key, &**text))
    }

    /// Number of values, including expired ones that were not requested since.
    pub fn len(&self) -> usize {
        self.expiring.len() + self.kept.len()
    }

    /// Whether the store is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What they take in bytes.
    pub fn bytes(&self) -> usize {
        self.expiring_bytes + self.kept_bytes
    }

    /// Values dropped because there were too many, or too many bytes.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Values that were not taken because there were too many, or too many bytes.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    fn text(&mut self, key: &str) -> Option<&str> {
        let kept = self.kept.get(key).map(|text| &**text);
        kept.or_else(|| self.expiring.get(key).map(|text| &**text))
    }

    fn keep(&mut self, key: &str, payload: &Value) -> ValueAnswer {
        let text = payload.to_string().into_boxed_str();
        let before = self.kept.get(key).map(|text| size(key, text));
        let bytes = self.kept_bytes - before.unwrap_or(0) + size(key, &text);
        if bytes > self.bytes_max || (before.is_none() && self.kept.len() >= self.values_max) {
            self.refused += 1;
            return ValueAnswer::Failed(StoreFailure::Refused);
        }
        self.remove(key);
        self.kept_bytes += size(key, &text);
        self.kept.insert(key.into(), text);
        ValueAnswer::Done
    }

    fn remove(&mut self, key: &str) {
        if let Some(text) = self.expiring.remove(key) {
            self.expiring_bytes -= size(key, &text);
        }
        if let Some(text) = self.kept.remove(key) {
            self.kept_bytes -= size(key, &text);
        }
    }

    fn bound(&mut self) {
        while self.expiring.len() > self.values_max || self.expiring_bytes > self.bytes_max {
            let Some((key, text)) = self.expiring.remove_lru() else { return };
            self.expiring_bytes -= size(&key, &text);
            self.dropped += 1;
        }
    }
}

fn size(key: &str, text: &str) -> usize {
    ENTRY_BYTES + key.len() + text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn save(key: &str, payload: Value, ttl_s: Option<u64>) -> ValueRequest {
        ValueRequest::Save { key: key.into(), payload, ttl_s }
    }

    fn add(key: &str, payload: Value) -> ValueRequest {
        ValueRequest::Add { key: key.into(), payload }
    }

    fn load(key: &str) -> ValueRequest {
        ValueRequest::Load { key: key.into() }
    }

    #[test]
    fn ours_7_texts_that_are_no_payload_never_panic() {
        let deep = "[".repeat(20_000);
        let long = format!("\"{}\"", "x".repeat(PAYLOAD_BYTES_MAX));
        let digits = "9".repeat(5000);
        for text in ["", "{", "nul", "\u{0}", "{\"a\":}", deep.as_str(), long.as_str()] {
            assert_eq!(payload(text.as_bytes()), Value::Null, "{text:.20}");
        }
        assert_eq!(payload(b"\xff\xfe"), Value::Null);
        payload(digits.as_bytes());
        assert_eq!(payload(b"{\"data\":{},\"expires_at\":1e3}"), json!({"data": {}, "expires_at": 1e3}));
    }

    #[test]
    fn ours_7_a_value_is_added_once() {
        let mut values = Values::new(10, 1000, [1, 2]);
        assert_eq!(values.answer(&load("a")), ValueAnswer::Absent);
        assert_eq!(values.answer(&add("a", json!("one"))), ValueAnswer::Done);
        assert_eq!(values.answer(&add("a", json!("two"))), ValueAnswer::Taken);
        assert_eq!(values.answer(&load("a")), ValueAnswer::Found(json!("one")));
        assert_eq!(values.answer(&save("a", json!("three"), None)), ValueAnswer::Done);
        assert_eq!(values.kept().collect::<Vec<_>>(), [("a", "\"three\"")]);
        assert_eq!(values.answer(&ValueRequest::Delete { key: "a".into() }), ValueAnswer::Done);
        assert_eq!((values.len(), values.bytes()), (0, 0));
    }

    /// A flood of sessions cannot drop a link, and a flood of links is refused and drops nothing.
    #[test]
    fn ours_7_what_is_kept_is_not_dropped_for_what_expires() {
        let mut values = Values::new(3, 3 * ENTRY_BYTES + 100, [1, 2]);
        assert_eq!(values.answer(&add("kept", json!("x"))), ValueAnswer::Done);
        for number in 0..50 {
            values.answer(&save(&format!("s{number}"), json!(number), Some(60)));
        }
        assert_eq!((values.len(), values.dropped()), (4, 47));
        for number in 0..50 {
            values.answer(&add(&format!("k{number}"), json!(number)));
        }
        let refused = ValueAnswer::Failed(StoreFailure::Refused);
        assert_eq!(values.answer(&add("more", json!(1))), refused);
        assert_eq!(values.answer(&save("kept", json!("y".repeat(100)), None)), refused, "too many bytes");
        assert_eq!(values.refused(), 50);
        assert_eq!(values.answer(&load("kept")), ValueAnswer::Found(json!("x")), "what was there is there");
        assert_eq!(values.answer(&load("k1")), ValueAnswer::Found(json!(1)));
        assert_eq!(values.len(), 6);
        // From one kind to the other, and back.
        assert_eq!(values.answer(&save("kept", json!("z"), Some(1))), ValueAnswer::Done);
        assert_eq!(values.kept().count(), 2);
        assert_eq!(values.answer(&save("kept", json!("z"), None)), ValueAnswer::Done);
        assert_eq!((values.len(), values.kept().count()), (5, 3));
    }
}
