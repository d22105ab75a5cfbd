//! Responses on their way into the store: bodies that have readers while they are received, also in other
//! loops, and locks on keys, so that one request fetches for all.

pub mod fill_locks;
pub mod shared_fill;
pub mod streaming_body;
