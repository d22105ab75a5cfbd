//! The gateway of a proxy: the listeners that belong to it, and the thread that checks its upstreams.

use crate::gateway::directives::Directives;
use crate::gateway::rules::Gateway;
use crate::part::guard::{Shared, built, share};
use crate::shell::{GuardLink, HealthChecks};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// The gateway of a proxy. Its listeners are fixed at the start; the routes change with a reload.
#[derive(Debug, Default)]
pub(super) struct GatewayPart {
    /// For each listener of the proxy: whether it belongs to the gateway.
    pub listeners: Vec<bool>,
    /// The addresses of the `listen` lines of the gateway file at the start.
    listen: Vec<SocketAddr>,
    gateway: Mutex<Option<Shared<Gateway>>>,
    checks: Mutex<Option<HealthChecks>>,
}

impl GatewayPart {
    /// The gateway of a proxy whose first `of_options` listeners are at the addresses of its options, and the others at the
    /// addresses of the gateway file.
    pub fn new(directives: Option<&Directives>, addresses: &[SocketAddr], of_options: usize) -> GatewayPart {
        let is_gateway = |(index, address): (usize, &SocketAddr)| {
            directives.is_some_and(|directives| {
                let own = &directives.listen;
                own.is_empty() || index >= of_options || own.contains(address)
            })
        };
        let listeners = addresses.iter().enumerate().map(is_gateway).collect();
        let listen = directives.map(|directives| directives.listen.clone()).unwrap_or_default();
        GatewayPart { listeners, listen, ..GatewayPart::default() }
    }

    /// Whether a gateway file has other lines with `listen` than the one at the start: its listeners need a restart.
    pub fn listens_elsewhere(&self, directives: Option<&Directives>) -> bool {
        built().is_some() && directives.is_some_and(|directives| directives.listen != self.listen)
    }

    /// Uses a gateway file from now on. The state of upstreams stays.
    pub fn set(&self, directives: Option<&Directives>, link: &Arc<GuardLink>) -> io::Result<()> {
        if built().is_none() {
            return Ok(());
        }
        let mut gateway = self.gateway.lock().unwrap_or_else(PoisonError::into_inner);
        let made = directives.map(|directives| Gateway::new(directives, gateway.as_deref()));
        let after = made.and_then(share);
        gateway.clone_from(&after);
        drop(gateway);
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        if checks.is_none() && after.as_ref().is_some_and(|after| !after.checked().is_empty()) {
            let (clock, names) = (Arc::clone(link), Arc::clone(link));
            let started =
                HealthChecks::start(move || clock.now().common_ms(), move |name| names.find_name(name))?;
            link.set_name_receiver(started.name_receiver());
            *checks = Some(started);
        }
        if let Some(checks) = &*checks {
            checks.set(after.as_deref())?;
        }
        Ok(())
    }

    /// The addresses that belong to the forward proxy.
    pub fn forward<'a>(&'a self, addresses: &'a [SocketAddr]) -> impl Iterator<Item = &'a SocketAddr> {
        addresses
            .iter()
            .zip(&self.listeners)
            .filter(|(_, is_gateway)| !**is_gateway)
            .map(|(address, _)| address)
    }

    /// Ends the checks of upstreams.
    pub fn close(&self) {
        *self.checks.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The gateway that holds.
    pub fn get(&self) -> Option<Shared<Gateway>> {
        self.gateway.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
