//! Fetches the networks of cloud providers in the background (guard semantics, section 8).
//!
//! One thread fetches them one after the other, so that no request ever waits. What holds is in [`KnownClouds`]; the owner of
//! the thread puts a fetched set in its place for all loops, or refuses it, and then the last good set stays. A set that was taken
//! is written to the directory of `--cloud-ranges`, from where the next start has it. After a failure the next attempt comes
//! after 30 s, then after twice as long, up to the interval.

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
