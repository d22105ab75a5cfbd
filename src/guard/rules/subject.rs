//! The facts about a request for the guard's decisions.

use crate::http::target::Host;
use std::net::IpAddr;

/// The facts about a request that is counted.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The client, in canonical form.
    pub client: IpAddr,
    /// The authenticated user; empty without one.
    pub user: &'a [u8],
    /// The requested host.
    pub host: &'a Host,
    /// Path and query; `None` for CONNECT.
    pub path: Option<&'a [u8]>,
    /// The method.
    pub method: &'a str,
}

impl<'a> Subject<'a> {
    /// A request of which only the client matters.
    pub(super) fn of_client(client: IpAddr, host: &'a Host) -> Subject<'a> {
        Subject { client: client.to_canonical(), user: b"", host, path: None, method: "" }
    }
}
