//! What HTTP says about caching (RFC 9111), for a cache that is shared by many clients.
//!
//! How one exchange passes through this room: [`control::RequestDirectives`] and [`key`] are read from the request, the
//! store is asked for the key, [`vary`] tells which of its variants answers, and [`freshness::decide`] whether it may do
//! so now. If it may, [`validation::answer`] and [`range::select`] tell whether with a 304, a 206 or the whole; if not,
//! [`validation::Validators`] go to the origin with the request. What comes back is judged by [`storable::judge`] and
//! written by [`storable::write_block`], or it updates what is there ([`validation::write_updated`]). Whatever else
//! it made worthless is named by [`invalidation`]; [`status`] tells the client what happened.
//!
//! An entry may be incomplete: some parts of a representation ([`range::Fragment`]), which answer ranges within them; with
//! another one that comes they are put together.
//!
//! The numbered rules in comments and tests are those of the project's rule book for caching.
pub mod body;
mod combining;
pub mod control;
pub mod fill_locks;
pub mod freshness;
pub mod invalidation;
pub mod key;
pub mod language;
pub mod memory_budget;
pub mod persistence;
pub mod range;
mod read_ahead;
mod segment;
pub mod status;
pub mod storable;
pub mod store;
pub mod stored;
pub mod streaming_body;
mod targeted;
pub mod validation;
pub mod vary;
