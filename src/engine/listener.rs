//! Where clients connect: each listener has settings of its own.

use std::net::SocketAddr;

/// A listener: its place in [`Settings::listeners`](super::Settings::listeners).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenerId(pub u8);

/// Listeners of one process at most: each has an id of one byte, so that a connection need not be larger.
pub const LISTENERS_MAX: usize = 256;

/// What a listener is there for, and how its connections begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where it listens: requests to this address are meant for weir itself.
    pub address: SocketAddr,
    /// Connections of trusted proxies begin with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// Requests are for the gateway's routes, and for no forward proxy.
    pub gateway: bool,
}
