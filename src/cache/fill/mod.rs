//! Responses on their way into the store: bodies that have readers while they are received, and the locks that let one
//! request ask for all.

pub mod fill_locks;
pub mod streaming_body;
