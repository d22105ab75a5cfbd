//! RFC 9111 and related RFCs, for one request and one response: pure functions over fields and times.

pub(in crate::cache) mod combining;
pub mod control;
pub mod freshness;
pub mod invalidation;
pub mod key;
pub mod language;
pub mod range;
pub mod status;
pub mod storable;
mod targeted;
pub mod validation;
mod validators;
pub mod vary;
