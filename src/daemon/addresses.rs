//! The addresses of this machine: closed to clients like loopback, and followed while interfaces come and go.
//!
//! A thread of its own looks every few seconds: the system tells changes over netlink only, and a look costs less than what it
//! would take to listen. A change makes another policy of the present one, with the same rules.

use log::{info, warn};
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use weir::policy::Policy;
use weir::shell::{Remote, WorkerMessage, Workers};

/// How often it is looked (chosen: an address that was added can be asked for by others no sooner than its neighbours know it).
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The present policy, by the present addresses.
pub struct PresentPolicy(Arc<Shared>);

struct Shared {
    policy: Mutex<Arc<Policy>>,
    loops: Vec<Remote>,
}

impl PresentPolicy {
    /// Begins to look. The loops have the policy already.
    pub fn start(policy: Arc<Policy>, workers: &Workers) -> io::Result<PresentPolicy> {
        let shared = Arc::new(Shared { policy: Mutex::new(policy), loops: workers.remotes().to_vec() });
        let own = Arc::clone(&shared);
        // It ends with the process: there is nothing that it would have to finish.
        thread::Builder::new().name("weir-addresses".into()).spawn(move || own.look())?;
        Ok(PresentPolicy(shared))
    }

    /// Has all loops judge by another one.
    pub fn set(&self, policy: Policy) {
        self.0.adopt(&mut self.0.lock(), policy);
    }
}

impl Shared {
    /// No code that holds the lock can leave the policy half changed.
    fn lock(&self) -> MutexGuard<'_, Arc<Policy>> {
        self.policy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn adopt(&self, present: &mut Arc<Policy>, policy: Policy) {
        *present = Arc::new(policy);
        for one in &self.loops {
            one.send(WorkerMessage::SetPolicy(Arc::clone(present)));
        }
    }

    fn look(&self) {
        let mut told = false;
        loop {
            thread::sleep(LOOK_EVERY);
            match read() {
                Ok(addresses) => {
                    told = false;
                    self.compare(addresses);
                }
                // What was known stays closed.
                Err(error) if !told => {
                    told = true;
                    warn!("cannot tell the addresses of this machine any more: {error}");
                }
                Err(_) => {}
            }
        }
    }

    fn compare(&self, addresses: Vec<IpAddr>) {
        let mut present = self.lock();
        if addresses != present.acl.own_addresses() {
            info!("this machine has other addresses now: {addresses:?}");
            let policy = present.with_own_addresses(addresses);
            self.adopt(&mut present, policy);
        }
    }
}

/// The addresses of all interfaces of this machine; none if the system does not tell, which is said.
pub fn own_addresses() -> Vec<IpAddr> {
    read().unwrap_or_else(|error| {
        warn!("cannot tell the addresses of this machine ({error}): only loopback is closed to clients");
        Vec::new()
    })
}

/// Sorted, as a policy keeps them.
fn read() -> io::Result<Vec<IpAddr>> {
    let interfaces = if_addrs::get_if_addrs()?;
    let mut addresses: Vec<IpAddr> = interfaces.iter().map(|one| one.ip().to_canonical()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}
