//! The guard: what clients have been doing decides what they may do next.
//!
//! A guard file says what is counted, banned and refused ([`directives`]). What was counted and banned is bounded, is kept
//! across reloads, and is one for all loops of a process; a store ([`store`]) may share it between processes. No function
//! here waits for anything: what a store has to say comes as an event.

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
pub mod escalation;
pub mod events;
pub mod headers;
pub mod inspection;
mod ipv4_parts;
mod keyed;
pub mod networks;
pub mod proxy_header;
mod recent;
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

/// What the tests of each store compare with; the tests against a running daemon have it, too.
#[cfg(test)]
#[path = "../../tests/guard/model.rs"]
mod model;
