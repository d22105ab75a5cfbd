//! (room)
pub mod entry;
