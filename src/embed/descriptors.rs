//! The number of descriptors that a proxy needs, and the number of connections that the available ones allow.

use crate::config::Settings;
use rustix::process::{Resource, getrlimit};
use std::{io, mem};

/// Descriptors beside those of connections: listeners, logs, epoll, name servers (chosen, generously).
const BESIDE: u64 = 1200;

/// Descriptors of each loop beyond the first; look-ups are divided among the loops (chosen).
const BESIDE_A_LOOP: u64 = 40;

/// Connections to accept even if the limit of descriptors is too low for them (chosen): when descriptors run out, clients wait.
const CONNECTIONS_MIN: u64 = 16;

/// Descriptors of a proxy that has no connection: standard ones, logs, epoll, the guard (measured: 20), and those of each loop with its
/// listener and page pipes (measured: 6).
const BASE: u64 = 20;
const BASE_OF_A_LOOP: u64 = 6;

/// The descriptors that are neither a client connection nor its upstream connection.
fn beside(settings: &Settings, loops: usize) -> u64 {
    u64::from(settings.idle_origins) + BESIDE + BESIDE_A_LOOP * (loops as u64).saturating_sub(1)
}

/// The most descriptors that a proxy with these settings needs.
pub fn needed(settings: &Settings, loops: usize) -> u64 {
    2 * u64::from(settings.max_connections) + beside(settings, loops)
}

/// Lowers the numbers of connections and of idle upstream connections to what the limit of descriptors allows, and returns the
/// warning.
pub(super) fn limit_connections(settings: &mut Settings, loops: usize) -> Option<String> {
    let available = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    limit_to(available, settings, loops)
}

/// The number of look-ups at once that the limit of descriptors allows beside these connections, in all loops.
pub(super) fn look_ups_max(settings: &Settings, loops: usize) -> usize {
    let available = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    look_ups_within(available, settings, loops)
}

/// A look-up has two descriptors. Its client has no upstream connection yet, and idle ones give way. If so many clients wait for names
/// while others have upstream connections, descriptors may still run out for a moment.
fn look_ups_within(available: u64, settings: &Settings, loops: usize) -> usize {
    let beside = available.saturating_sub(base(loops)).saturating_sub(settings.max_connections.into());
    usize::try_from(beside / 2).unwrap_or(usize::MAX)
}

/// Fails if the limit of descriptors is too low for a single exchange.
pub(super) fn check(loops: usize) -> io::Result<()> {
    let available = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let least = base(loops) + 2;
    match available >= least {
        true => Ok(()),
        false => Err(io::Error::other(format!(
            "weir needs {least} descriptors at least, but only {available} can be had (ulimit -n)"
        ))),
    }
}

fn base(loops: usize) -> u64 {
    BASE + BASE_OF_A_LOOP * loops as u64
}

fn limit_to(available: u64, settings: &mut Settings, loops: usize) -> Option<String> {
    let needed = needed(settings, loops);
    if available >= needed {
        return None;
    }
    // An eighth is for idle upstream connections, and one for look-ups, which seldom need it.
    let free = available.saturating_sub(base(loops));
    let idle = (free / 8).min(free.saturating_sub(2 * CONNECTIONS_MIN)).min(settings.idle_origins.into());
    let possible = (free.saturating_sub(idle + free / 8) / 2).max(CONNECTIONS_MIN);
    let possible = possible.min(settings.max_connections.into()) as u32;
    settings.idle_origins = idle as u32;
    let wanted = mem::replace(&mut settings.max_connections, possible);
    Some(format!(
        "--max-connections {wanted} needs {needed} descriptors, but only {available} can be had (ulimit -n): \
         taking {possible} connections at most"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_descriptors_are_divided() {
        for (available, loops, connections, idle, look_ups) in [
            (64, 1, 16, 4, 11),
            (512, 1, 183, 60, 151),
            (1024, 1, 375, 124, 311),
            (2048, 1, 759, 252, 631),
            (1024, 8, 359, 119, 298),
            (21_712, 1, 10_000, 512, 5843),
        ] {
            let mut settings = Settings::built_in();
            let warned = limit_to(available, &mut settings, loops).is_some();
            assert_eq!(warned, connections < 10_000);
            let found = (u64::from(settings.max_connections), u64::from(settings.idle_origins));
            assert_eq!(found, (connections, idle), "{available} descriptors, {loops} loops");
            assert!(base(loops) + 2 * found.0 + found.1 <= available);
            assert_eq!(look_ups_within(available, &settings, loops), look_ups, "{available}, {loops} loops");
        }
    }
}
