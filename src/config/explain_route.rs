//! What `weir explain` has to say of a request to the gateway: what clients send, and the route that it has.

use crate::gateway::directives::{Directives, HostField};
use crate::gateway::rules::Gateway;
use crate::gateway::table::HostMatch;
use crate::http::target::{Authority, Target};
use std::fmt::Write as _;
use std::net::Ipv6Addr;

/// A request to the gateway, as a client sends it.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked {
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The field Host.
    pub host: String,
    /// The authority in `host`; `None` if it cannot be parsed.
    pub authority: Option<Authority>,
}

/// The request for a URL, if it is one to the gateway: where that has listeners of its own, a URL whose host or port one of its
/// routes names.
pub fn ask(directives: &Directives, method: Option<&str>, url: &str) -> Option<Asked> {
    let asked = Asked::of(method.unwrap_or("GET"), url);
    let names = |host: &HostMatch| match (host, asked.authority) {
        (HostMatch::Exact(exact), Some(authority)) => **exact == authority,
        (HostMatch::AnyWithPort(port), Some(authority)) => *port == authority.port,
        (HostMatch::Any, _) | (_, None) => false,
    };
    let is_for_gateway =
        directives.listen.is_empty() || directives.routes.iter().any(|route| names(&route.host));
    is_for_gateway.then_some(asked)
}

impl Asked {
    /// Clients take the gateway for the server: they send the path, and the host in Host. What has ended TLS before it leaves
    /// Host as it is.
    fn of(method: &str, url: &str) -> Asked {
        if method == "CONNECT" || (method == "OPTIONS" && url == "*") {
            let host = if url == "*" { "weir.invalid" } else { url };
            return Asked { method: method.into(), target: url.into(), host: host.into(), authority: None };
        }
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let rest = rest.split('#').next().unwrap_or(rest);
        let bracketed = bracketed(rest);
        let named = authority(&bracketed);
        let path = &bracketed[named.len()..];
        let slash = if path.starts_with('/') { "" } else { "/" };
        let host = without_userinfo(named);
        let default_port = match scheme.to_ascii_lowercase().as_str() {
            "https" | "wss" => ":443",
            _ => ":80",
        };
        let host = host.strip_suffix(default_port).unwrap_or(host);
        Asked {
            method: method.to_owned(),
            target: format!("{slash}{path}"),
            host: host.to_owned(),
            authority: match Target::parse("GET", format!("http://{host}/").as_bytes(), false) {
                Ok(Target::Absolute { authority, .. }) => Some(authority),
                Ok(Target::Origin { .. } | Target::Authority(_) | Target::Asterisk) | Err(_) => None,
            },
        }
    }

    /// The lines about the route that it has, and about what is sent there.
    pub fn route(&self, directives: &Directives, gateway: &Gateway) -> Option<(String, String)> {
        let authority = self.authority?;
        let found = gateway.find(&authority, self.target.as_bytes(), &mut Vec::new()).ok()?;
        let line = directives.routes.get(found.index)?;
        let mut text = format!("  by gateway:{}: {}\n", line.line, line.name);
        for upstream in &line.upstreams {
            let role = if upstream.backup { "backup, " } else { "" };
            let _ = writeln!(text, "  upstream {}: {role}weight {}", upstream.authority, upstream.weight);
        }
        let path = self.target.get(found.path_at..).unwrap_or_default();
        let slash = if path.starts_with('/') { "" } else { "/" };
        let host = match line.host_field {
            HostField::Keep => {
                let mut kept = Vec::new();
                authority.write(&mut kept, Some(80));
                String::from_utf8_lossy(&kept).into_owned()
            }
            HostField::Rewrite => "the upstream's".to_owned(),
        };
        let mut sent = String::new();
        let _ = writeln!(sent, "  sent as {} {slash}{path}, Host: {host}", self.method);
        if !directives.allows_underscores {
            sent.push_str("  fields whose names hold an underscore are dropped\n");
        }
        Some((text, sent))
    }
}

/// The text between the scheme and the path.
pub fn authority(rest: &str) -> &str {
    rest.split(['/', '?', '#']).next().unwrap_or(rest)
}

/// No client sends userinfo with CONNECT or in Host.
pub fn without_userinfo(authority: &str) -> &str {
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

/// An IPv6 address in the form of a URL.
pub fn bracketed(host: &str) -> String {
    if host.parse::<Ipv6Addr>().is_ok() { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateway_14_a_url_becomes_what_clients_of_a_server_send() {
        let cases = [
            ("GET", "http://a.test/x?y#z", "/x?y a.test", Some("a.test:80")),
            ("GET", "https://a.test:443/x", "/x a.test", Some("a.test:80")),
            ("GET", "https://a.test:444", "/ a.test:444", Some("a.test:444")),
            ("GET", "a.test:8080?q", "/?q a.test:8080", Some("a.test:8080")),
            ("POST", "http://u:p@[::1]:81/", "/ [::1]:81", Some("[::1]:81")),
            ("GET", "::1", "/ [::1]", Some("[::1]:80")),
            ("GET", "http://a b/", "/ a b", None),
            ("CONNECT", "a.test:443", "a.test:443 a.test:443", None),
            ("OPTIONS", "*", "* weir.invalid", None),
        ];
        for (method, url, expected, authority) in cases {
            let asked = Asked::of(method, url);
            assert_eq!(format!("{} {}", asked.target, asked.host), expected, "{url}");
            assert_eq!(asked.authority.map(|at| at.to_string()).as_deref(), authority, "{url}");
        }
    }

    #[test]
    fn gateway_14_host_is_that_of_the_forwarded_request() {
        let directives = crate::gateway::directives::parse(b"*/ -> b\n*:81/ -> b host rewrite\n").unwrap();
        let gateway = Gateway::new(&directives, None);
        for (url, host) in [
            ("http://A.Test./x", "a.test"),
            ("http://a.test:80/x", "a.test"),
            ("http://A.test.:8080/x", "a.test:8080"),
            ("http://127.1/x", "127.0.0.1"),
            ("http://[::0:1]:90/x", "[::1]:90"),
            ("http://A.Test:81/x", "the upstream's"),
        ] {
            let (_, sent) = Asked::of("GET", url).route(&directives, &gateway).unwrap();
            assert!(sent.starts_with(&format!("  sent as GET /x, Host: {host}\n")), "{url}: {sent}");
        }
    }

    #[test]
    fn gateway_14_with_listeners_of_its_own_routes_tell_which_requests_are_the_gateways() {
        let lines = "listen 127.0.0.1:8080\na.test/ -> b\n*:81/ -> b\n*/ -> b\n";
        let Ok(gateway) = crate::gateway::directives::parse(lines.as_bytes()) else { panic!("{lines}") };
        for (url, expected) in
            [("a.test/x", true), ("c.test:81", true), ("c.test", false), ("a.test:82", false)]
        {
            assert_eq!(ask(&gateway, None, url).is_some(), expected, "{url}");
        }
    }
}
