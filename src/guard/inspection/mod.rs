//! Bodies, split into parts as they stream, for detection (section 11).
//!
//! ```text
//! pieces of payload -> Walker -> Part (name, value, header of a part, text), whole or in overlapping windows -> detector
//! ```
//!
//! The parts depend on the bytes and not on the ends of pieces. A value is shown when it has ended, or when it fills a
//! window. No walker fails: bytes that cannot be parsed are shown as text.

#[cfg(feature = "detection")]
pub mod coding;
#[cfg(feature = "detection")]
mod content;
mod form;
mod json;
pub mod media;
mod multipart;
mod part;
mod quoted_printable;
mod runs;
mod walker;
mod window;

#[cfg(feature = "detection")]
pub use content::{Content, Unreadable};
pub use json::{is_for_clients, is_operator, takes_query};
pub use part::{FIELD_BYTES_MAX, Part, PartKind, Sink};
pub use walker::Walker;
pub use window::{OVERLAP_BYTES, WINDOW_BYTES};

#[cfg(test)]
mod tests;
