//! Which fields of a request go on to the origin: asked when its head is written, and when a stored response is selected by
//! them (rules 25 and 51).

use super::class::Class;
use super::hop::{is_named, names_fields};
use super::message::{Fields, Line, Version};

/// What happens to Forwarded (RFC 7239) and X-Forwarded-For alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedPolicy {
    /// Passed on as they came.
    #[default]
    Off,
    /// The client's address is added to what came.
    Append,
    /// Only the client's address.
    Replace,
    /// Neither.
    Remove,
}

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
    /// Whether the lines of a field of that class go on; `removed` tells whether configuration removes it, `named` whether
    /// Connection names it.
    // One of two callers is the loop over the fields of every request.
    #[inline(always)]
    pub(super) fn keeps(&self, class: Class, removed: impl Fn() -> bool, named: impl Fn() -> bool) -> bool {
        let dropped = || removed() || named();
        match class {
            Class::HopByHop
            | Class::ContentLength
            | Class::TransferEncoding
            | Class::Connection
            | Class::ProxyConnection
            | Class::Host => false,
            Class::Protected | Class::Via | Class::Date => !removed(),
            Class::Upgrade => self.upgrade,
            Class::Forwarded | Class::XForwardedFor => match self.forwarded {
                ForwardedPolicy::Off => !removed(),
                ForwardedPolicy::Append | ForwardedPolicy::Replace | ForwardedPolicy::Remove => false,
            },
            Class::MaxForwards => !self.counts_hops && !dropped(),
            // The origin sees a 1.1 request: an expectation that 1.0 does not know must not come true there.
            Class::Expect => self.version == Version::Http11,
            Class::Trailer => self.chunked && !dropped(),
            Class::EndToEnd => !dropped(),
        }
    }

    /// Name and value of each line that goes on; `removes` tells whether configuration removes the fields of a name.
    pub fn kept<'s, 'b>(
        self,
        fields: Fields<'s, 'b>,
        removes: impl Fn(&str) -> bool,
    ) -> impl Iterator<Item = (&'b str, &'b [u8])> {
        let named = names_fields(fields);
        let kept = move |line: &&Line| {
            let name = || fields.name(line);
            self.keeps(line.class, || removes(name()), || named && is_named(fields, name()))
        };
        fields
            .lines()
            .iter()
            .filter(kept)
            .map(move |line| (fields.name(line), line.value.within(fields.bytes())))
    }
}
