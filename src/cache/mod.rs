//! What HTTP says about caching (RFC 9111), for a cache that is shared by many clients.
//!
//! How one exchange passes through this room: [`rfc::control::RequestDirectives`] and [`rfc::key`] are read from the request, the
//! store is asked for the key, [`rfc::vary`] tells which of its variants answers, and [`rfc::freshness::decide`] whether it may do
//! so now. If it may, [`rfc::validation::answer`] and [`rfc::range::select`] tell whether with a 304, a 206 or the whole; if not,
//! [`rfc::validation::Validators`] go to the origin with the request. What comes back is judged by [`rfc::storable::judge`] and
//! written by [`rfc::storable::write_block`], or it updates what is there ([`rfc::validation::write_updated`]). Whatever else
//! it made worthless is named by [`rfc::invalidation`]; [`rfc::status`] tells the client what happened.
//!
//! An entry may be incomplete: some parts of a representation ([`rfc::range::Fragment`]), which answer ranges within them; with
//! another one that comes they are put together.
//!
//! The numbered rules in comments and tests are those of the project's rule book for caching.
pub mod body;
pub mod fill;
pub mod rfc;
pub mod store;
