//! Finds the route for a host and a path.
//!
//! Hosts are sorted, and the prefixes of a host are sorted by segments, a prefix directly before the prefixes below it. The
//! last prefix that is not behind the path in that order either covers the path, or lies below the longest prefix that does:
//! so each prefix has the index of its parent, and a look-up is a binary search and some steps up. Prefixes end between
//! segments: `/api` covers `/api` and `/api/x`, but not `/apix`.

use crate::http::target::{Authority, Host};
use std::cmp::Ordering;
use std::net::IpAddr;

/// The host of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostMatch {
    /// One host and port.
    Exact(Box<Authority>),
    /// All hosts with this port.
    AnyWithPort(u16),
    /// Any.
    Any,
}

/// All routes by host and prefix.
#[derive(Clone, Debug, Default)]
pub struct Table {
    exact: Vec<(Key, Tree)>,
    ports: Vec<(u16, Tree)>,
    any: Tree,
}

/// The routes that may apply to a request.
#[derive(Clone, Copy, Debug)]
pub struct HostRoutes<'a> {
    /// From the most special host to the least; if no prefix of one covers a path, the next one is searched.
    trees: [Option<&'a Tree>; 3],
}

/// The sort key of a host: its memory is as long as the name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    host: KeyHost,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum KeyHost {
    Address(IpAddr),
    Name(Box<[u8]>),
}

impl Key {
    fn of(authority: &Authority) -> Key {
        let host = match &authority.host {
            Host::Address(address) => KeyHost::Address(*address),
            Host::Name(name) => KeyHost::Name(name.as_bytes().into()),
        };
        Key { host, port: authority.port }
    }

    fn compare(&self, other: &Authority) -> Ordering {
        let hosts = match (&self.host, &other.host) {
            (KeyHost::Address(own), Host::Address(other)) => own.cmp(other),
            (KeyHost::Address(_), Host::Name(_)) => Ordering::Less,
            (KeyHost::Name(_), Host::Address(_)) => Ordering::Greater,
            (KeyHost::Name(own), Host::Name(other)) => (**own).cmp(other.as_bytes()),
        };
        hosts.then(self.port.cmp(&other.port))
    }
}

/// The prefixes of one host.
#[derive(Clone, Debug, Default)]
struct Tree(Vec<Prefix>);

#[derive(Clone, Debug)]
struct Prefix {
    /// Without a slash at its end; empty for all paths.
    text: Box<[u8]>,
    /// The index of the longest other prefix that covers this one.
    parent: Option<u32>,
    route: u32,
}

impl Table {
    /// Compiles the hosts and prefixes of routes, in the order of their numbers. No two pairs are equal.
    pub fn new<'a>(routes: impl Iterator<Item = (&'a HostMatch, &'a [u8])>) -> Table {
        let mut table = Table::default();
        for (index, (host, prefix)) in routes.enumerate() {
            let tree = match host {
                HostMatch::Exact(authority) => {
                    let at = table.exact.binary_search_by(|(key, _)| key.compare(authority));
                    let at = at.unwrap_or_else(|at| {
                        table.exact.insert(at, (Key::of(authority), Tree::default()));
                        at
                    });
                    &mut table.exact[at].1
                }
                HostMatch::AnyWithPort(port) => {
                    let at = table.ports.iter().position(|(other, _)| other == port);
                    let at = at.unwrap_or_else(|| {
                        table.ports.push((*port, Tree::default()));
                        table.ports.len() - 1
                    });
                    &mut table.ports[at].1
                }
                HostMatch::Any => &mut table.any,
            };
            tree.0.push(Prefix { text: prefix.into(), parent: None, route: index as u32 });
        }
        let trees = table.exact.iter_mut().map(|(_, tree)| tree);
        let trees = trees.chain(table.ports.iter_mut().map(|(_, tree)| tree));
        trees.chain([&mut table.any]).for_each(Tree::finish);
        table
    }

    /// The routes of a host; `None` if no route has this host.
    pub fn host(&self, authority: &Authority) -> Option<HostRoutes<'_>> {
        let exact = self.exact.binary_search_by(|(key, _)| key.compare(authority)).ok();
        let port = self.ports.iter().find(|(port, _)| *port == authority.port);
        let trees = [
            exact.map(|at| &self.exact[at].1),
            port.map(|(_, tree)| tree),
            Some(&self.any).filter(|tree| !tree.0.is_empty()),
        ];
        trees.iter().any(Option::is_some).then_some(HostRoutes { trees })
    }
}

impl HostRoutes<'_> {
    /// The number of the route of a path, and the length of its prefix.
    pub fn route(&self, path: &[u8]) -> Option<(usize, usize)> {
        self.trees.iter().flatten().find_map(|tree| tree.find(path))
    }
}

impl Tree {
    fn finish(&mut self) {
        self.0.sort_by(|one, other| compare(&one.text, &other.text));
        for at in 1..self.0.len() {
            let mut parent = Some(at as u32 - 1);
            while let Some(above) =
                parent.filter(|&above| !covers(&self.0[above as usize].text, &self.0[at].text))
            {
                parent = self.0[above as usize].parent;
            }
            self.0[at].parent = parent;
        }
    }

    fn find(&self, path: &[u8]) -> Option<(usize, usize)> {
        let behind = self.0.partition_point(|prefix| compare(&prefix.text, path) != Ordering::Greater);
        let mut at = behind.checked_sub(1)?;
        loop {
            let prefix = &self.0[at];
            if covers(&prefix.text, path) {
                return Some((prefix.route as usize, prefix.text.len()));
            }
            at = prefix.parent? as usize;
        }
    }
}

/// Whether the path is the prefix or lies below it.
pub fn covers(prefix: &[u8], path: &[u8]) -> bool {
    path.starts_with(prefix) && matches!(path.get(prefix.len()), None | Some(b'/'))
}

/// Compares by segments: a slash comes before all other bytes.
fn compare(one: &[u8], other: &[u8]) -> Ordering {
    let differs = one.iter().zip(other).position(|(one, other)| one != other);
    let rank = |byte: u8| if byte == b'/' { 0 } else { u16::from(byte) + 1 };
    match differs {
        Some(at) => rank(one[at]).cmp(&rank(other[at])),
        None => one.len().cmp(&other.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> HostMatch {
        match text.strip_prefix('*') {
            Some("") => HostMatch::Any,
            Some(port) => HostMatch::AnyWithPort(port[1..].parse().unwrap()),
            None => HostMatch::Exact(Box::new(Authority::parse(text.as_bytes(), Some(80)).unwrap())),
        }
    }

    const ROUTES: [(&str, &str); 12] = [
        ("app.example", "/api"),
        ("app.example", "/api/v1"),
        ("app.example", "/api-x"),
        ("app.example", "/api/v1/deep/er"),
        ("*", ""),
        ("app.example:8080", ""),
        ("127.0.0.1:8888", ""),
        ("*:81", "/only"),
        ("[::1]", "/six"),
        ("other.example", ""),
        ("other.example", "/api"),
        ("*", "/everywhere"),
    ];

    fn found(table: &Table, authority: &str, path: &str) -> Option<usize> {
        let authority = Authority::parse(authority.as_bytes(), Some(80)).unwrap();
        table.host(&authority)?.route(path.as_bytes()).map(|(route, _)| route)
    }

    #[test]
    fn the_most_special_host_and_the_longest_prefix() {
        let hosts: Vec<HostMatch> = ROUTES.iter().map(|(text, _)| host(text)).collect();
        let table = Table::new(hosts.iter().zip(ROUTES.iter().map(|(_, prefix)| prefix.as_bytes())));
        for (authority, path, route) in [
            ("app.example", "/api", 0),
            ("APP.example.", "/api/", 0),
            ("app.example:80", "/api/zzz", 0),
            ("app.example", "/api/v1", 1),
            ("app.example", "/api/v1/", 1),
            ("app.example", "/api/v1/deep", 1),
            ("app.example", "/api/v1/deep/er/x", 3),
            ("app.example", "/api/v1/deep/error", 1),
            ("app.example", "/api/v11", 0),
            ("app.example", "/api-x/y", 2),
            ("app.example", "/api-y", 4),
            ("app.example", "/apix", 4),
            ("app.example", "/ap", 4),
            ("app.example", "/", 4),
            ("app.example", "/everywhere/x", 11),
            ("app.example:8080", "/everywhere", 5),
            ("127.0.0.1:8888", "/x", 6),
            ("127.0.0.1", "/x", 4),
            ("x.example:81", "/only", 7),
            ("x.example:81", "/onl", 4),
            ("[::1]", "/six", 8),
            ("[::1]:81", "/six", 4),
            ("other.example", "/api", 10),
            ("other.example", "/apis", 9),
        ] {
            assert_eq!(found(&table, authority, path), Some(route), "{authority} {path}");
        }
    }

    #[test]
    fn without_a_route_for_any_host_others_are_unknown() {
        let (exact, port) = (host("app.example"), host("*:81"));
        let table = Table::new([(&exact, b"/api".as_slice()), (&port, b"/".as_slice())].into_iter());
        let knows = |text: &str| table.host(&Authority::parse(text.as_bytes(), Some(80)).unwrap()).is_some();
        assert!(
            knows("app.example")
                && knows("x.example:81")
                && !knows("x.example")
                && !knows("app.example:8080")
        );
        assert_eq!(found(&table, "app.example", "/x"), None);
    }

    #[test]
    fn each_of_many_prefixes_is_found() {
        let texts: Vec<String> = (0..3000_u32).map(|n| format!("/{}/{}", n % 7, n * 7919 % 3000)).collect();
        let texts: Vec<String> = texts.into_iter().chain((0..7).map(|n| format!("/{n}"))).collect();
        let table = Table::new(texts.iter().map(|text| (&HostMatch::Any, text.as_bytes())));
        for (route, text) in texts.iter().enumerate().take(3000) {
            assert_eq!(found(&table, "x", &format!("{text}/y")), Some(route));
            let parent = text[1..2].parse::<usize>().unwrap() + 3000;
            assert_eq!(found(&table, "x", &format!("{text}y/z")), Some(parent), "{text}");
        }
    }
}
