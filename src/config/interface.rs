//! The indices of network interfaces, which link-local addresses need (RFC 4007 section 11).

/// The index of a network interface, which is given as a number or by its name.
pub fn index(zone: &str) -> Option<u32> {
    zone.parse().ok().or_else(|| by_name(zone)).filter(|index| *index != 0)
}

/// Asks the system through a socket. The sandbox allows that.
#[cfg(target_os = "linux")]
fn by_name(name: &str) -> Option<u32> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};
    let socket = |family| socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, None);
    let socket = socket(AddressFamily::INET6).or_else(|_| socket(AddressFamily::INET)).ok()?;
    netdevice::name_to_index(&socket, name).ok()
}

#[cfg(not(target_os = "linux"))]
fn by_name(name: &str) -> Option<u32> {
    let interfaces = if_addrs::get_if_addrs().ok()?;
    interfaces.into_iter().find(|interface| interface.name == name)?.index
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn interfaces_have_names_and_numbers() {
        assert!(index("lo").is_some());
        assert_eq!(
            (index("17"), index("0"), index(""), index("no-such-interface")),
            (Some(17), None, None, None)
        );
    }
}
