//! The requests that a directive covers, and the part of an address that counts as one client.

use super::subject::Subject;
use crate::guard::directives::{Per, Scope};
use crate::guard::path::EitherPath;
use crate::http::target::Host;
use std::net::IpAddr;

impl Per {
    /// The network that counts as one client.
    pub fn network(self, client: IpAddr) -> ipnet::IpNet {
        let client = client.to_canonical();
        let bits = match client {
            IpAddr::V4(_) => self.prefix4.min(32),
            IpAddr::V6(_) => self.prefix6.min(128),
        };
        ipnet::IpNet::new(client, bits).map_or_else(|_| client.into(), |network| network.trunc())
    }

    /// Whether a counter distinguishes only clients.
    pub(super) fn is_client(self) -> bool {
        let Per { client, prefix4: _, prefix6: _, user, host, path, method } = self;
        client && !(user || host || path || method)
    }
}

impl Scope {
    /// Whether the scope contains a request, by either reading of its path.
    pub(super) fn covers(&self, subject: &Subject<'_>, path: Option<&EitherPath<'_>>) -> bool {
        let Scope { path: prefix, host, methods } = self;
        let method_covered = methods.is_empty() || methods.iter().any(|method| **method == *subject.method);
        let path_covered =
            prefix.as_ref().is_none_or(|prefix| path.is_some_and(|path| path.is_below(prefix.as_bytes())));
        method_covered
            && path_covered
            && host.as_ref().is_none_or(|pattern| covers_host(pattern, subject.host))
    }
}

/// Whether a pattern of a guard file covers a host: a name, a name with all names below it (`.example.com`), only the names
/// below it (`*.example.com`), or an address.
fn covers_host(pattern: &str, host: &Host) -> bool {
    match host {
        Host::Address(address) => pattern.parse() == Ok(*address),
        Host::Name(name) => {
            let name = name.as_str();
            let is_below =
                |domain| name.strip_suffix(domain).is_some_and(|before: &str| before.ends_with('.'));
            match (pattern.strip_prefix("*."), pattern.strip_prefix('.')) {
                (Some(domain), _) => is_below(domain),
                (None, Some(domain)) => name == domain || is_below(domain),
                (None, None) => name == pattern,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_hosts() {
        for (pattern, host, means) in [
            ("a.test", "a.test", true),
            ("a.test", "b.a.test", false),
            (".a.test", "a.test", true),
            (".a.test", "b.a.test", true),
            (".a.test", "ba.test", false),
            ("*.a.test", "a.test", false),
            ("*.a.test", "c.b.a.test", true),
            ("*.a.test", "ba.test", false),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.10", false),
            ("2001:db8::1", "[2001:db8::1]", true),
        ] {
            let host = Host::parse(host.as_bytes()).unwrap();
            assert_eq!(covers_host(pattern, &host), means, "{pattern} {host}");
        }
    }
}
