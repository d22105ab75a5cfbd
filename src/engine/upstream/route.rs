//! The destination of a request.

use crate::http::target::{Authority, Host};
use std::hash::{Hash, Hasher};
use std::net::IpAddr;

/// The destination of a request, which may differ from the requested authority.
// Most of a route is memory for a name; it is in the transaction and is written only for routes other than direct ones.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) enum Route {
    /// The requested authority, at an address that the rules allow.
    Direct,
    /// Another authority, chosen by a callback. The rules judge its address.
    Chosen(Authority),
    /// A server that the configuration names: its address is not judged.
    Configured(Authority),
}

impl Route {
    /// The next hop of a request for `asked`.
    pub fn next_hop<'a>(&'a self, asked: &'a Authority) -> Hop<'a> {
        match self {
            Route::Direct => Hop { authority: asked, configured: false },
            Route::Chosen(authority) => Hop { authority, configured: false },
            Route::Configured(authority) => Hop { authority, configured: true },
        }
    }
}

/// The next server on the way of a request. Connections are reused for requests with the same next hop: a judged connection
/// is not used for a request that need not be judged, and vice versa.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Hop<'a> {
    /// The host that is dialled.
    pub authority: &'a Authority,
    /// Whether the configuration names the server: neither name nor address is judged.
    pub configured: bool,
}

/// Hashed in as few pieces as possible: each piece costs every request as much as eight bytes.
impl Hash for Hop<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let port = u64::from(self.authority.port) << 1 | u64::from(self.configured);
        match &self.authority.host {
            Host::Address(IpAddr::V4(v4)) => state.write_u64(u64::from(v4.to_bits()) << 32 | port),
            Host::Address(IpAddr::V6(v6)) => {
                state.write_u128(v6.to_bits());
                state.write_u64(port);
            }
            Host::Name(name) => {
                state.write(name.as_bytes());
                state.write_u64(port);
            }
        }
    }
}
