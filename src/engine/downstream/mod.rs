//! Client connections: taken, read from, closed, and the limits on them.

pub(in crate::engine) mod client_limits;
pub(in crate::engine) mod connection;
pub(in crate::engine) mod guesses;
pub(in crate::engine) mod minimum_rate;
pub(in crate::engine) mod unread;
