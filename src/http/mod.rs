//! The HTTP/1.1 grammar: heads, targets, framing, and what a proxy must rewrite.
pub mod target;
