//! What the guard has to tell of one decision, before it is made an event.

use super::events::{Event, EventType};
use super::verdict::{Cause, Denial};
use crate::time::Now;
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
    /// The limit that was exceeded: requests, and the window in milliseconds.
    pub limit: Option<(u32, u64)>,
    /// Nothing was done: the directive observes, or the guard is passive.
    pub logged_only: bool,
}

impl Told<'_> {
    /// Something about a client.
    pub fn of(happened: Happened, client: IpAddr) -> Told<'static> {
        let client = client.to_canonical().into();
        Told {
            happened,
            client,
            denial: None,
            reason: "",
            until_unix_ms: None,
            limit: None,
            logged_only: false,
        }
    }

    /// The event, with the words of section 12.
    pub fn event(&self, now: Now) -> Event {
        let (kind, action) = match self.happened {
            Happened::Banned => (EventType::IpBanned, "banned"),
            Happened::Unbanned => (EventType::IpUnbanned, "unbanned"),
            Happened::Blocked => (EventType::IpBlocked, "request_blocked"),
            Happened::RateLimited => (EventType::RateLimited, "request_blocked"),
            Happened::CloudBlocked => (EventType::CloudBlocked, "request_blocked"),
            Happened::Spoofed => (EventType::SuspiciousRequest, "spoofing_detected"),
        };
        let action = if self.logged_only { "logged_only" } else { action };
        let mut event = Event::new(now, kind, Some(self.client.addr()), action);
        self.reason.clone_into(&mut event.reason);
        if let Some(denial) = self.denial {
            denial.cause.word().clone_into(&mut event.reason);
            if denial.line > 0 {
                event.rule = format!("guard:{}", denial.line);
            }
            if let Cause::ClientInCloud(provider) | Cause::DestinationInCloud(provider) = denial.cause {
                event.metadata.push(("cloud_provider", provider.name().to_owned()));
            }
        }
        if self.client.prefix_len() < self.client.max_prefix_len() {
            event.metadata.push(("network", self.client.to_string()));
        }
        if let (Happened::Banned, Some(until)) = (self.happened, self.until_unix_ms) {
            let duration_s = until.saturating_sub(now.unix_ms()).div_ceil(1000);
            event.metadata.push(("duration", duration_s.to_string()));
        }
        if let Some((limit, window_ms)) = self.limit {
            event.metadata.push(("rate_limit", limit.to_string()));
            event.metadata.push(("window", window_ms.div_ceil(1000).to_string()));
        }
        event
    }
}
