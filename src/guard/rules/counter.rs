//! One limit or escalation: the parts of its keys, and its records.

use super::identity::hash_text;
use super::subject::Subject;
use crate::guard::directives::{Directives, Escalate, Limit, Per, Scope};
use crate::guard::escalation::Owner;
use crate::guard::path::EitherPath;
use crate::guard::state::State;
use crate::guard::store::{Answer, Check, EscalationConstants, EscalationVerdict};
use crate::http::target::Host;
use crate::time::Now;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

/// Longest user and path that are recorded with a key that has violated its limit, in bytes (chosen: they fit into a line).
const OF_BYTES_MAX: usize = 100;

/// Capacity for the key of a counter in a store, with an IPv6 network and the hash of the other parts (chosen: so that the text
/// need not grow).
const LONG_KEY_BYTES: usize = 128;

/// A limit, or a fixed window with escalation.
#[derive(Debug)]
pub(super) struct Counter {
    pub(super) line: u32,
    /// Equal for equal directives on all machines and after all reloads.
    pub(super) identity: u64,
    pub(super) kind: Kind,
    pub(super) per: Per,
    pub(super) scope: Scope,
    pub(super) observe: bool,
    /// The counter distinguishes only clients and counts all requests.
    is_simple: bool,
    /// The first such counter: its key in a store is the client's address.
    plain: bool,
    pub(super) text: Box<str>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Window { limit: u32, window_ms: u64, approximate: bool },
    Escalation(EscalationConstants),
}

impl Kind {
    /// Requests, and the window in milliseconds.
    pub(super) fn limit(self) -> (u32, u64) {
        match self {
            Kind::Window { limit, window_ms, .. } => (limit, window_ms),
            Kind::Escalation(constants) => (constants.requests_max, constants.window_ms),
        }
    }
}

/// Of the limits, and of the escalations, the first that counts all requests of a client has the client's address as its key
/// in a store, as in the reference library. Others have their text in the key.
fn mark_plain(counters: &mut [Counter]) {
    for escalates in [false, true] {
        let mut kind = counters.iter_mut().filter(|counter| counter.escalates() == escalates);
        if let Some(first) = kind.find(|counter| counter.is_simple) {
            first.plain = true;
        }
    }
}

impl Counter {
    /// The counters of a guard file, in its order.
    pub(super) fn all(directives: &Directives) -> Vec<Counter> {
        let limits = directives.limits.iter().map(Counter::of_limit);
        let escalations = directives.escalations.iter().map(Counter::of_escalation);
        let mut counters: Vec<Counter> = limits.chain(escalations).collect();
        counters.sort_by_key(|counter| counter.line);
        mark_plain(&mut counters);
        counters
    }

    fn of_limit(limit: &Limit) -> Counter {
        let Limit { place, limit, window_ms, per, scope, approximate, observe } = limit;
        let kind = Kind::Window { limit: *limit, window_ms: *window_ms, approximate: *approximate };
        Counter::new((place.line, &place.text), kind, *per, scope, *observe)
    }

    fn of_escalation(escalate: &Escalate) -> Counter {
        let Escalate { place, constants, per, scope, observe } = escalate;
        Counter::new((place.line, &place.text), Kind::Escalation(*constants), *per, scope, *observe)
    }

    fn new((line, text): (u32, &str), kind: Kind, per: Per, scope: &Scope, observe: bool) -> Counter {
        let identity = hash_text(text);
        Counter {
            line,
            identity,
            kind,
            per,
            scope: scope.clone(),
            observe,
            is_simple: per.is_client() && *scope == Scope::default(),
            plain: false,
            text: text.into(),
        }
    }

    /// Whether the counter distinguishes only clients and counts all requests.
    pub(super) fn is_simple(&self) -> bool {
        self.is_simple
    }

    /// Whether the counter counts a request.
    pub(super) fn covers(&self, subject: &Subject<'_>, path: Option<&EitherPath<'_>>) -> bool {
        self.is_simple || self.scope.covers(subject, path)
    }

    pub(super) fn escalates(&self) -> bool {
        matches!(self.kind, Kind::Escalation(_))
    }

    /// The key of this process's own counter for a client alone.
    #[inline]
    fn client_key(&self, state: &State, client: &IpAddr) -> u64 {
        let Per { prefix4, prefix6, .. } = self.per;
        state.key(self.identity, |hasher| hasher.write_prefix(client, [prefix4, prefix6]))
    }

    /// The key of this process's own counter.
    pub(super) fn key(&self, state: &State, subject: &Subject<'_>, path: Option<&EitherPath<'_>>) -> u64 {
        let per = self.per;
        state.key(self.identity, |hasher| {
            if per.client {
                hasher.write_prefix(&subject.client, [per.prefix4, per.prefix6]);
            }
            if self.notes_owners() {
                let times = state.renewed.times(per, subject.client);
                if times > 0 {
                    hasher.write(&times.to_le_bytes());
                }
            }
            if per.user {
                hasher.write(subject.user);
            }
            if per.host {
                match subject.host {
                    Host::Name(name) => hasher.write(name.as_str().as_bytes()),
                    Host::Address(address) => hasher.write_address(*address),
                }
            }
            if per.path {
                hasher.write(path.map(EitherPath::counted).unwrap_or_default());
            }
            if per.method {
                hasher.write(subject.method.as_bytes());
            }
        })
    }

    /// The answer of this process's own counter, which counts in any case, with or without a store.
    pub(super) fn record(
        &self,
        state: &State,
        subject: &Subject<'_>,
        path: Option<&EitherPath<'_>>,
        now: Now,
    ) -> Answer {
        let key = self.key(state, subject, path);
        let answer = self.record_key(state, key, now);
        if self.notes_owners() && answer.verdict() != Some(EscalationVerdict::Pass) {
            state.escalations.note_owner(key, || self.owner(subject, path));
        }
        answer
    }

    /// The answer for a counter that distinguishes only clients.
    #[inline]
    pub(super) fn record_client(&self, state: &State, client: &IpAddr, now: Now) -> Answer {
        self.record_key(state, self.client_key(state, client), now)
    }

    #[inline]
    fn record_key(&self, state: &State, key: u64, now: Now) -> Answer {
        match self.kind {
            Kind::Window { limit, window_ms, approximate: false } => {
                state.windows.record(key, limit, window_ms, now.common_ms())
            }
            Kind::Window { limit, window_ms, approximate: true } => {
                state.windows.record_approximate(key, limit, window_ms, now.common_ms())
            }
            Kind::Escalation(constants) => escalate(state, key, now, &constants),
        }
    }

    /// Whether the counter is an escalation that distinguishes clients and more: the key of a client alone is found
    /// without a record.
    pub(super) fn notes_owners(&self) -> bool {
        self.escalates() && self.per.client && !self.per.is_client()
    }

    /// The owner and subject of a key.
    fn owner(&self, subject: &Subject<'_>, path: Option<&EitherPath<'_>>) -> Owner {
        let Per { client: _, prefix4: _, prefix6: _, user, host, path: by_path, method } = self.per;
        let text =
            |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(OF_BYTES_MAX)]).into_owned();
        let parts = [
            user.then(|| text(subject.user)),
            method.then(|| subject.method.to_owned()),
            host.then(|| subject.host.to_string()),
            by_path.then(|| text(path.map(EitherPath::counted).unwrap_or_default())),
        ];
        let of = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
        Owner { identity: self.identity, client: self.per.network(subject.client), of: of.into() }
    }

    /// The beginning of a client's keys in a store.
    pub(super) fn store_keys_of(&self, client: IpAddr) -> Box<str> {
        let mut key = String::from("escalation:");
        // Writing into a string cannot fail.
        let _ = write_client(&mut key, self.per.network(client));
        key.into()
    }

    /// The question for a store.
    #[inline(never)]
    pub(super) fn check(&self, subject: &Subject<'_>, path: Option<&EitherPath<'_>>) -> Check {
        let key = self.store_key(subject, path);
        match self.kind {
            Kind::Window { limit, window_ms, .. } => Check::Window { key, limit, window_ms },
            Kind::Escalation(constants) => Check::Escalation { key, constants },
        }
    }

    /// `rate_limit:rate:ADDRESS`, with `:HASH` for the further parts and the scope of the counter (guard semantics, section 3).
    pub(super) fn store_key(&self, subject: &Subject<'_>, path: Option<&EitherPath<'_>>) -> Box<str> {
        let kind = if self.escalates() { "escalation:" } else { "rate_limit:rate:" };
        // The usual counter has no text that the formatter is worth its time for.
        if let (true, 32, IpAddr::V4(client)) = (self.plain, self.per.prefix4, subject.client) {
            return key_of_ipv4(kind, client);
        }
        let mut key = String::with_capacity(LONG_KEY_BYTES);
        key.push_str(kind);
        if self.per.client {
            // Writing into a string cannot fail.
            let _ = write_client(&mut key, self.per.network(subject.client));
        } else {
            key.push('-');
        }
        if self.plain {
            return key.into();
        }
        let mut rest = Sha256::new();
        let mut add = |part: &[u8]| {
            rest.update((part.len() as u64).to_le_bytes());
            rest.update(part);
        };
        add(self.text.as_bytes());
        if self.per.user {
            add(subject.user);
        }
        if self.per.host {
            add(subject.host.to_string().as_bytes());
        }
        if self.per.path {
            add(path.map(EitherPath::counted).unwrap_or_default());
        }
        if self.per.method {
            add(subject.method.as_bytes());
        }
        key.push(':');
        for byte in rest.finalize() {
            let _ = write!(key, "{byte:02x}");
        }
        key.into()
    }
}

// A separate function, so that windows do not pay for it.
#[inline(never)]
fn escalate(state: &State, key: u64, now: Now, constants: &EscalationConstants) -> Answer {
    Answer::Escalation(state.escalations.step(key, now.unix_ms(), constants))
}

/// The beginning of a key and an address in decimal, in memory of just that size.
fn key_of_ipv4(kind: &str, client: Ipv4Addr) -> Box<str> {
    let octets = client.octets();
    let digits = |octet: u8| 1 + usize::from(octet >= 10) + usize::from(octet >= 100);
    let mut key =
        String::with_capacity(kind.len() + 3 + octets.iter().map(|octet| digits(*octet)).sum::<usize>());
    key.push_str(kind);
    for (at, octet) in octets.into_iter().enumerate() {
        if at > 0 {
            key.push('.');
        }
        if octet >= 100 {
            key.push(char::from(b'0' + octet / 100));
        }
        if octet >= 10 {
            key.push(char::from(b'0' + octet / 10 % 10));
        }
        key.push(char::from(b'0' + octet % 10));
    }
    key.into()
}

/// A network of one address as the address.
fn write_client(out: &mut String, network: ipnet::IpNet) -> std::fmt::Result {
    match network.prefix_len() == network.max_prefix_len() {
        true => write!(out, "{}", network.addr()),
        false => write!(out, "{network}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guard_3_keys_have_addresses_in_decimal() {
        for address in ["0.0.0.0", "1.22.133.4", "9.10.99.100", "109.209.255.255"] {
            let key = key_of_ipv4("rate_limit:rate:", address.parse().expect("an address"));
            assert_eq!(*key, format!("rate_limit:rate:{address}"));
        }
    }
}
