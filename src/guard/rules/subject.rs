//! What is known of a request when it is judged.

use crate::http::target::Host;
use std::net::IpAddr;

/// What is known of a request when it is counted.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Whose it is, in canonical form.
    pub client: IpAddr,
    /// The authenticated user; empty without.
    pub user: &'a [u8],
    /// The host that is asked for.
    pub host: &'a Host,
    /// Path and query; `None` for CONNECT.
    pub path: Option<&'a [u8]>,
    /// The method.
    pub method: &'a str,
}

impl<'a> Subject<'a> {
    /// A request of which nothing matters but the client.
    pub(super) fn of_client(client: IpAddr, host: &'a Host) -> Subject<'a> {
        Subject { client: client.to_canonical(), user: b"", host, path: None, method: "" }
    }
}
