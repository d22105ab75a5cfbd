//! Listeners, each with its own settings.

use std::net::SocketAddr;

/// A listener: its place in [`Settings::listeners`](super::Settings::listeners).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenerId(pub u8);

/// Listeners of one process at most: each has an id of one byte, so that a connection need not be larger.
pub const LISTENERS_MAX: usize = 256;

/// The purpose of a listener, and the way its connections begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The address of the listener: requests to it are meant for weir itself.
    pub address: SocketAddr,
    /// Connections of trusted proxies begin with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// Requests are for the gateway's routes, not for the forward proxy.
    pub gateway: bool,
}
