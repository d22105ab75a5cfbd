//! The number of descriptors that a proxy needs, and the number of connections that the available ones allow.

use crate::config::Settings;
use rustix::process::{Resource, getrlimit};
use std::mem;

/// Descriptors beside those of connections: listeners, logs, epoll, name servers (chosen, generously).
const BESIDE: u64 = 1200;

/// Descriptors of each loop beyond the first; look-ups are divided among the loops (chosen).
const BESIDE_A_LOOP: u64 = 40;

/// Connections to accept even if the limit of descriptors is too low for them (chosen).
const CONNECTIONS_MIN: u64 = 16;

/// The descriptors that are neither a client connection nor its upstream connection.
fn beside(settings: &Settings, loops: usize) -> u64 {
    u64::from(settings.idle_origins) + BESIDE + BESIDE_A_LOOP * (loops as u64).saturating_sub(1)
}

/// The most descriptors that a proxy with these settings needs.
pub fn needed(settings: &Settings, loops: usize) -> u64 {
    2 * u64::from(settings.max_connections) + beside(settings, loops)
}

/// Lowers the number of connections to what the limit of descriptors allows, and returns the warning.
pub(super) fn limit_connections(settings: &mut Settings, loops: usize) -> Option<String> {
    let needed = needed(settings, loops);
    let available = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if available >= needed {
        return None;
    }
    let possible = (available.saturating_sub(beside(settings, loops)) / 2).max(CONNECTIONS_MIN);
    let possible = possible.min(settings.max_connections.into()) as u32;
    let wanted = mem::replace(&mut settings.max_connections, possible);
    Some(format!(
        "--max-connections {wanted} needs {needed} descriptors, but only {available} can be had (ulimit -n): \
         taking {possible} connections at most"
    ))
}
