//! The fields of a request that are forwarded to the origin: used when its head is written, and when a stored response is
//! selected by these fields (rules 25 and 51).

use super::class::Class;
use super::hop::{is_named, names_fields};
use super::message::{Fields, Line};

/// The handling of both Forwarded (RFC 7239) and X-Forwarded-For.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedPolicy {
    /// Forwarded unchanged.
    #[default]
    Off,
    /// The client's address is appended to the received value.
    Append,
    /// The client's address replaces the received value.
    Replace,
    /// Neither.
    Remove,
}

/// The properties that decide which fields of a request are forwarded to the origin.
#[derive(Clone, Copy, Debug)]
pub struct RequestFilter {
    /// Expect is forwarded.
    pub expects: bool,
    /// The origin is requested to change the protocol.
    pub upgrade: bool,
    /// The body is forwarded in chunks, so trailers are possible.
    pub chunked: bool,
    /// Max-Forwards is written anew.
    pub counts_hops: bool,
    /// The handling of Forwarded and X-Forwarded-For.
    pub forwarded: ForwardedPolicy,
}

impl RequestFilter {
    /// Whether the lines of a field of that class are forwarded; `removed` returns whether configuration removes it, `named`
    /// whether Connection names it.
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
            Class::Expect => self.expects,
            Class::Trailer => self.chunked && !dropped(),
            Class::EndToEnd => !dropped(),
        }
    }

    /// Name and value of each forwarded line; `removes` returns whether configuration removes the fields of a name.
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
