//! Fetches the networks of cloud providers in the background (guard semantics, section 8).
//!
//! One thread fetches the providers one after the other, so no request ever waits. The present sets are in [`KnownClouds`];
//! the owner of the thread gives a fetched set to all loops, or refuses it, and then the last good set stays. An accepted set
//! is written to the directory of `--cloud-ranges`, where the next start finds it. After a failure the next attempt follows
//! after 30 s, then after twice that time, up to the interval.

#[cfg(feature = "cloud")]
mod fetch;
#[cfg(feature = "cloud")]
mod https;
mod known;
#[cfg(feature = "cloud")]
mod refresher;

pub use known::KnownClouds;
#[cfg(feature = "cloud")]
pub use refresher::{CloudRefresher, CloudSources};
