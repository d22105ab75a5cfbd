//! Where a request goes.

use crate::http::target::{Authority, Host};
use std::hash::{Hash, Hasher};
use std::net::IpAddr;

/// Where a request goes: what it asks for does not say that everywhere.
// Most of a route is room for a name; it lies in its transaction and is written there only where it is not direct.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) enum Route {
    /// To the authority that it asks for, at an address that the rules allow.
    Direct,
    /// To another authority in its place: a callback has said so. The rules judge its address.
    Chosen(Authority),
    /// To a server that the configuration names: its address is not judged.
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

/// The next server on the way of a request. Connections to it are used again for requests with the same next hop: one that was
/// judged is no connection for a request that need not be, and the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Hop<'a> {
    /// The host that is dialled.
    pub authority: &'a Authority,
    /// The configuration names it: neither name nor address is judged.
    pub configured: bool,
}

/// In as few pieces as can be: each costs the hash of every request as much as eight bytes.
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
