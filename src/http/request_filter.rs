//! Which fields of a request go on to the origin: asked when its head is written, and when a stored response is selected by
//! them (rules 25 and 51).

use super::forwarding::ForwardedPolicy;
use super::head::{Fields, Version};
use super::hop::{Class, classify, is_named};

/// What decides which fields of a request go on to the origin.
#[derive(Clone, Copy, Debug)]
pub struct RequestFilter {
    /// Of the request.
    pub version: Version,
    /// The origin is asked to change the protocol.
    pub upgrade: bool,
    /// The body goes on in chunks, so there may be trailers.
    pub chunked: bool,
    /// Max-Forwards is written anew.
    pub counts_hops: bool,
    /// What happens to Forwarded and X-Forwarded-For.
    pub forwarded: ForwardedPolicy,
}

impl RequestFilter {
    /// Whether the lines of that name go on. `named` tells whether Connection names any field
    /// ([`super::forwarding::names_fields`]), `removes` whether configuration removes this one.
    // One of two callers is the loop over the fields of every request.
    #[inline(always)]
    pub fn keeps(
        &self,
        fields: Fields<'_, '_>,
        named: bool,
        name: &str,
        removes: impl Fn(&str) -> bool,
    ) -> bool {
        let dropped = || removes(name) || (named && is_named(fields, name));
        match classify(name) {
            Class::HopByHop | Class::Framing | Class::Connection | Class::Host => false,
            Class::Protected | Class::Via | Class::Date => !removes(name),
            Class::Upgrade => self.upgrade,
            Class::Forwarded | Class::XForwardedFor => match self.forwarded {
                ForwardedPolicy::Off => !removes(name),
                ForwardedPolicy::Append | ForwardedPolicy::Replace | ForwardedPolicy::Remove => false,
            },
            Class::MaxForwards => !self.counts_hops && !dropped(),
            // The origin sees a 1.1 request: an expectation that 1.0 does not know must not come true there.
            Class::Expect => self.version == Version::Http11,
            Class::Trailer => self.chunked && !dropped(),
            Class::EndToEnd => !dropped(),
        }
    }
}
