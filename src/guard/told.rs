//! The facts of one decision, from which an event is built.

use super::events::{Event, EventType, TEXT_BYTES_MAX};
use super::verdict::{Cause, Denial};
use crate::http::target::Authority;
use crate::time::Now;
use ipnet::IpNet;
use std::net::IpAddr;

/// The kind of a decision (guard semantics, section 12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// A network was banned.
    Banned,
    /// A ban has ended by an order.
    Unbanned,
    /// A banned client has sent a request.
    Blocked,
    /// A limit was exceeded.
    RateLimited,
    /// An address belongs to a cloud.
    CloudBlocked,
    /// An untrusted peer has sent fields that name a client.
    Spoofed,
}

/// The client that caused a decision, and its request, as far as known.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The client or user.
    pub client: IpAddr,
    /// The method; empty if it is not available.
    pub method: &'a [u8],
    /// The target: an absolute URI without userinfo, or `host:port` for CONNECT; empty if it is not available.
    pub target: &'a [u8],
    /// Used if the target is not available.
    pub authority: Option<&'a Authority>,
    /// The field User-Agent; empty without.
    pub user_agent: &'a [u8],
    /// Time since the arrival of the request in microseconds; `None` if it is not available.
    pub taken_us: Option<u64>,
}

impl Asker<'_> {
    /// A client without known request.
    pub fn by(client: IpAddr) -> Asker<'static> {
        Asker { client, method: b"", target: b"", authority: None, user_agent: b"", taken_us: None }
    }
}

/// One decision.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// The kind of the decision.
    pub happened: Happened,
    /// The cause: a client, or the network that is banned.
    pub client: IpNet,
    /// Why, if something was refused or would have been.
    pub denial: Option<Denial>,
    /// The reason of a ban.
    pub reason: &'a str,
    /// The line of the guard file that has banned; 0 for none.
    pub line: u32,
    /// The end of a ban, in milliseconds since 1970; `None` for a permanent ban, or without a ban.
    pub until_unix_ms: Option<u64>,
    /// The limit that was exceeded: requests, and the window in milliseconds.
    pub limit: Option<(u32, u64)>,
    /// The network of a cloud for which an address is refused.
    pub network: Option<IpNet>,
    /// The decision had no effect: the directive observes, or the guard is passive.
    pub logged_only: bool,
    /// The request, if there was one.
    pub asked: Option<&'a Asker<'a>>,
}

impl<'a> Told<'a> {
    /// Something about a client.
    pub fn of(happened: Happened, client: IpAddr) -> Told<'a> {
        let client = client.to_canonical().into();
        Told {
            happened,
            client,
            denial: None,
            reason: "",
            line: 0,
            until_unix_ms: None,
            limit: None,
            network: None,
            logged_only: false,
            asked: None,
        }
    }

    /// Something that a request has done.
    pub fn by(happened: Happened, asked: &'a Asker<'a>) -> Told<'a> {
        Told { asked: Some(asked), ..Told::of(happened, asked.client) }
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
        if let Some(asked) = self.asked {
            event.note(asked);
        }
        if self.line > 0 {
            event.rule = format!("guard:{}", self.line);
        }
        if let Some(denial) = self.denial {
            denial.cause.word().clone_into(&mut event.reason);
            if denial.line > 0 {
                event.rule = format!("guard:{}", denial.line);
            }
            if let Cause::ClientInCloud(provider) | Cause::DestinationInCloud(provider) = denial.cause {
                event.metadata.push(("cloud_provider", provider.name().to_owned()));
            }
        }
        let banned = Some(self.client).filter(|client| client.prefix_len() < client.max_prefix_len());
        if let Some(network) = self.network.or(banned) {
            event.metadata.push(("network", network.to_string()));
        }
        if let (Happened::Banned, Some(until)) = (self.happened, self.until_unix_ms) {
            let duration_s = until.saturating_sub(now.unix_ms()).div_ceil(1000);
            event.metadata.push(("duration", duration_s.to_string()));
        }
        if let Some((limit, window_ms)) = self.limit {
            // No more than one beyond the limit is stored, in this process and in the store.
            event.metadata.push(("request_count", limit.saturating_add(1).to_string()));
            event.metadata.push(("rate_limit", limit.to_string()));
            event.metadata.push(("window", window_ms.div_ceil(1000).to_string()));
        }
        event
    }
}

impl Event {
    /// An event of a request.
    pub(super) fn of_request(now: Now, kind: EventType, asked: &Asker<'_>, action: &'static str) -> Event {
        let mut event = Event::new(now, kind, Some(asked.client), action);
        event.note(asked);
        event
    }

    /// Notes the request.
    fn note(&mut self, asked: &Asker<'_>) {
        let text =
            |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(TEXT_BYTES_MAX)]).into_owned();
        (self.method, self.user_agent) = (text(asked.method), text(asked.user_agent));
        self.endpoint = match (asked.target, asked.authority) {
            ([], Some(authority)) => authority.to_string(),
            (target, _) => text(target),
        };
        self.response_time_us = asked.taken_us;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guard_12_an_event_has_the_request_and_no_secrets() {
        let client = IpAddr::from([192, 0, 2, 1]);
        let asked = Asker {
            method: b"GET",
            target: b"http://a.test/x?token=s3cret&b=1",
            user_agent: b"curl/8 password=s3cret",
            taken_us: Some(250_500),
            ..Asker::by(client)
        };
        let now = Now { unix_us: 1_250_500, ..Now::default() };
        let event = Told::by(Happened::Blocked, &asked).event(now);
        assert_eq!(
            event.json(),
            "{\"timestamp\":\"1970-01-01T00:00:01.250Z\",\"event_type\":\"ip_blocked\",\"ip_address\":\"192.0.2.1\",\
             \"action_taken\":\"request_blocked\",\"method\":\"GET\",\
             \"endpoint\":\"http://a.test/x?token=[redacted]&b=1\",\"user_agent\":\"curl/8 password=[redacted]\",\
             \"response_time\":0.2505,\"handler_name\":\"middleware\"}"
        );
        assert!(!event.line().contains("s3cret"), "{}", event.line());
        let long = vec![b'x'; 2 * TEXT_BYTES_MAX];
        let event = Told::by(Happened::Blocked, &Asker { target: &long, ..Asker::by(client) }).event(now);
        assert_eq!((event.endpoint.len(), event.response_time_us), (TEXT_BYTES_MAX, None));
    }

    #[test]
    fn guard_12_an_exceeded_limit_is_told_with_count_limit_and_window() {
        let asked = Asker::by(IpAddr::from([192, 0, 2, 1]));
        let told = Told { limit: Some((20, 10_000)), ..Told::by(Happened::RateLimited, &asked) };
        let metadata = told.event(Now::default()).metadata;
        let expected = [("request_count", "21"), ("rate_limit", "20"), ("window", "10")];
        assert_eq!(metadata, expected.map(|(name, value)| (name, value.to_owned())));
    }
}
