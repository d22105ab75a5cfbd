//! Clients of shared stores against real servers, which the tests start on free ports. A server that is not installed is a
//! failure in continuous integration (`CI` is set), and a note elsewhere.

#[path = "../common/mod.rs"]
mod common;

#[cfg(feature = "redis")]
mod bans;
#[cfg(feature = "redis")]
mod limits;
#[cfg(feature = "redis")]
mod node;
#[cfg(feature = "redis")]
mod outages;
#[cfg(feature = "redis")]
mod redis_server;
#[cfg(feature = "redis")]
mod steps;
#[cfg(feature = "redis")]
mod topologies;
