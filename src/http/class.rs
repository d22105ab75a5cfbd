//! Fields with a meaning for proxies, by their names: each name is compared once, when its head is parsed.

use super::fields::same_name;

/// The handling of a field in a proxy, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Forwarded, unless Connection names it.
    EndToEnd,
    /// Passed on even if Connection names it: without it the message would mean something else.
    Protected,
    /// Never passed on.
    HopByHop,
    /// Written anew from the framing.
    ContentLength,
    /// Written anew from the framing.
    TransferEncoding,
    Connection,
    /// Sent by some clients to proxies in place of Connection; never forwarded.
    ProxyConnection,
    Upgrade,
    Host,
    Via,
    Forwarded,
    XForwardedFor,
    MaxForwards,
    Date,
    Expect,
    Trailer,
}

impl Class {
    /// One bit per class, for sets of classes.
    pub(super) fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// The class of a field. Names are sorted by length, so most names need no comparison.
pub(super) fn classify(name: &[u8]) -> Class {
    let is = |known: &str| same_name(name, known.as_bytes());
    match name.len() {
        2 if is("te") => Class::HopByHop,
        3 if is("via") => Class::Via,
        3 if is("age") => Class::Protected,
        4 if is("host") => Class::Host,
        4 if is("date") => Class::Date,
        6 if is("expect") => Class::Expect,
        7 if is("upgrade") => Class::Upgrade,
        7 if is("trailer") => Class::Trailer,
        9 if is("forwarded") => Class::Forwarded,
        10 if is("connection") => Class::Connection,
        10 if is("keep-alive") => Class::HopByHop,
        12 if is("max-forwards") => Class::MaxForwards,
        13 if is("cache-control") || is("authorization") => Class::Protected,
        14 if is("content-length") => Class::ContentLength,
        // Has a meaning only beside an Upgrade to h2c, which is not forwarded.
        14 if is("http2-settings") => Class::HopByHop,
        15 if is("x-forwarded-for") => Class::XForwardedFor,
        16 if is("proxy-connection") => Class::ProxyConnection,
        17 if is("transfer-encoding") => Class::TransferEncoding,
        18 if is("proxy-authenticate") => Class::HopByHop,
        19 if is("proxy-authorization") => Class::HopByHop,
        25 if is("proxy-authentication-info") => Class::HopByHop,
        _ => Class::EndToEnd,
    }
}
