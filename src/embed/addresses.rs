//! The addresses of this machine, which are closed to clients like loopback.

use crate::policy::acl::sorted;
use log::warn;
use std::io;
use std::net::IpAddr;

/// The addresses of all interfaces of this machine; none, with a log message, if the system does not report them.
pub fn own_addresses() -> Vec<IpAddr> {
    read().unwrap_or_else(|error| {
        warn!("cannot tell the addresses of this machine ({error}): only loopback is closed to clients");
        Vec::new()
    })
}

/// The addresses of all interfaces, sorted as a policy keeps them.
pub fn read() -> io::Result<Vec<IpAddr>> {
    let interfaces = if_addrs::get_if_addrs()?;
    Ok(sorted(interfaces.iter().map(|one| one.ip())))
}
