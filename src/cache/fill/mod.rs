//! Responses on their way into the store: bodies that have readers while they are received, and locks on keys, so
//! that one request fetches for all.

pub mod fill_locks;
pub mod streaming_body;
