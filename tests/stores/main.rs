//! Clients of shared stores against real servers, which the tests start on free ports. A server that is not installed is a
//! failure in continuous integration (`CI` is set), and a note elsewhere.
//!
//! There is no MongoDB to install from a package manager: its tests (feature `mongodb`) speak to a double, which is found by the
//! variable `MONGO_DOUBLE` or in `../shared/doubles`, and needs pymongo and mongomock from PyPI. `scripts/test-mongodb URI` runs
//! them against a real server.

#[cfg(any(feature = "redis", feature = "mongodb"))]
#[path = "../common/mod.rs"]
mod common;

#[cfg(feature = "redis")]
mod bans;
#[cfg(feature = "redis")]
mod cluster;
#[cfg(feature = "redis")]
mod failures;
#[cfg(feature = "redis")]
mod limits;
#[cfg(any(feature = "redis", feature = "mongodb"))]
#[path = "../guard/model.rs"]
mod model;
#[cfg(feature = "mongodb")]
mod mongo;
#[cfg(any(feature = "redis", feature = "mongodb"))]
mod node;
#[cfg(feature = "redis")]
mod outages;
#[cfg(feature = "redis")]
mod redis_server;
#[cfg(feature = "redis")]
mod sentinels;
#[cfg(feature = "redis")]
mod steps;
#[cfg(feature = "redis")]
mod topologies;
