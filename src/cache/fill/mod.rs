//! Responses on their way into the store: bodies that have readers while they are received, and locks that let one
//! request fetch for all.

pub mod fill_locks;
pub mod streaming_body;
