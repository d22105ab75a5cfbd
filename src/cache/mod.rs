//! HTTP caching (RFC 9111), for a cache that many clients share.
//!
//! A request passes through this room in these steps. [`rfc::control::RequestDirectives`] and [`rfc::key`] are read
//! from the request. The store looks up the key, [`rfc::vary`] selects one of the stored variants, and
//! [`rfc::freshness::decide`] says whether the variant may be used now. If it may, [`rfc::validation::answer`] and
//! [`rfc::range::select`] choose between a 304, a 206 and the whole response. If it may not, the request goes to the
//! origin with [`rfc::validation::Validators`]. [`rfc::storable::judge`] decides whether the response of the origin
//! is stored, and [`rfc::storable::write_block`] writes its fields; a 304 updates the stored response
//! ([`rfc::validation::write_updated`]). [`rfc::invalidation`] names the other stored responses that became invalid.
//! [`rfc::status`] tells the client what happened.
//!
//! An entry may be incomplete: it then holds some parts of a representation ([`rfc::range::Fragment`]), and answers
//! ranges within them. A further part is combined with the parts that are stored.
//!
//! The numbered rules in comments and tests are those of docs/cache-rules.md.
pub mod body;
pub mod command;
pub mod fill;
pub mod rfc;
pub mod store;
