//! Connections to origins: found, dialled, kept for reuse, bound to a client.

pub(in crate::engine) mod binding;
pub(in crate::engine) mod dialling;
pub(in crate::engine) mod pool;
pub(in crate::engine) mod resolution;
pub(in crate::engine) mod reuse;
