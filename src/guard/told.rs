//! What the guard has to tell of one decision, before it is made an event.

use super::verdict::Denial;
use ipnet::IpNet;
use std::net::IpAddr;

/// What has happened (guard semantics, section 12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// A network was banned.
    Banned,
    /// A ban has ended by an order.
    Unbanned,
    /// A banned client has asked.
    Blocked,
    /// A limit was exceeded.
    RateLimited,
    /// An address belongs to a cloud.
    CloudBlocked,
    /// A peer whose word does not count has said whose request it is.
    Spoofed,
}

/// One decision.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// What has happened.
    pub happened: Happened,
    /// Whose doing it was: a client, or the network that is banned.
    pub client: IpNet,
    /// Why, if something was refused or would have been.
    pub denial: Option<Denial>,
    /// The reason of a ban.
    pub reason: &'a str,
    /// The end of a ban, in milliseconds since 1970; `None` for ever, or where there is no ban.
    pub until_unix_ms: Option<u64>,
    /// Nothing was done: the directive observes, or the guard is passive.
    pub logged_only: bool,
}

impl Told<'_> {
    /// Something about a client.
    pub fn of(happened: Happened, client: IpAddr) -> Told<'static> {
        let client = client.to_canonical().into();
        Told { happened, client, denial: None, reason: "", until_unix_ms: None, logged_only: false }
    }
}
