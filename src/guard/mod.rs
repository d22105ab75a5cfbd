//! The guard: the history of a client decides what the client may do next.
//!
//! A guard file defines what is counted, banned and refused ([`directives`]). Counters and bans are bounded, survive reloads,
//! and are shared by all loops of a process; a store ([`store`]) may share them between processes. No function in this room
//! waits: the answer of a store arrives as an event.

pub mod ban_file;
pub mod bans;
pub mod behaviour;
pub mod breaker;
pub mod client_address;
pub mod clouds;
pub mod command;
pub mod csrf;
pub mod detection;
pub mod directives;
pub mod durations;
pub mod escalation;
pub mod events;
pub mod headers;
pub mod inspection;
mod ipv4_parts;
mod keyed;
pub mod networks;
pub mod noted;
pub mod proxy_header;
mod recent;
mod renewed;
pub mod rules;
pub mod sessions;
mod shards;
pub mod state;
pub mod store;
pub mod told;
pub mod values;
pub mod verdict;
pub mod window;

pub use crate::http::path;

/// The model that the tests of each store use, as do the tests against a running daemon.
#[cfg(test)]
#[path = "../../tests/guard/model.rs"]
mod model;
