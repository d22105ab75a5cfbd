//! Targets, hosts and ports; and the system's files that speak of names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weir::http::forwarding::route_target;
use weir::http::head::{Limits, Message, RequestHead};
use weir::http::target::{Authority, Host, Name, Target};
use weir::resolver::settings::{
    ATTEMPTS_MAX, NDOTS_MAX, SEARCH_MAX, SERVERS_MAX, TIMEOUT_MS_MAX, TIMEOUT_MS_MIN,
};
use weir::resolver::{ADDRESSES_MAX, Hosts, Settings};

use super::pieces::{options, shown};
use super::reference;

/// A host has one form, whatever it came from, and reading that form gives the same host.
fn check_host(host: &Host) {
    let text = host.to_string();
    assert_eq!(Host::parse(text.as_bytes()), Ok(*host), "{text}");
    let mut written = Vec::new();
    host.write(&mut written);
    assert_eq!(written, text.as_bytes());
    match host {
        Host::Name(name) => {
            let text = name.as_str();
            assert!((1..=253).contains(&text.len()) && !text.ends_with('.'), "{text}");
            assert!(text.split('.').all(|label| (1..=63).contains(&label.len())), "{text}");
            let byte =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
            assert!(text.bytes().all(byte), "{text}");
            let last = text.rsplit('.').next().unwrap_or_default();
            // Other programs would read a number in the last place as an address.
            assert!(!last.bytes().all(|byte| byte.is_ascii_digit()), "{text}");
            assert!(text.parse::<Ipv4Addr>().is_err() && text.parse::<Ipv6Addr>().is_err(), "{text}");
        }
        Host::Address(address) => assert_eq!(*address, address.to_canonical(), "{text}"),
    }
}

fn check_authority(authority: &Authority, text: &[u8]) {
    check_host(&authority.host);
    assert_ne!(authority.port, 0);
    let written = authority.to_string();
    assert_eq!(Authority::parse(written.as_bytes(), None), Ok(*authority), "{written}");
    // Case means nothing in an authority, a dot at the end of a name neither.
    for other in [text.to_ascii_uppercase(), text.to_ascii_lowercase()] {
        assert_eq!(Authority::parse(&other, Some(80)).map(|other| other.host), Ok(authority.host));
    }
    assert!(!text.contains(&b'@') && !text.contains(&b'%'), "{}", shown(text));
    // Where the standard library knows a spelling, it is the same address.
    let host = text.split(|byte| *byte == b':').next().and_then(|host| std::str::from_utf8(host).ok());
    if let Some(address) = host.and_then(|host| host.parse::<Ipv4Addr>().ok()) {
        assert_eq!(authority.host, Host::Address(IpAddr::V4(address)));
    }
}

/// Any bytes as a request target; the first one chooses the method.
pub fn target(bytes: &[u8]) {
    let (options, bytes) = options(bytes);
    let method = ["GET", "OPTIONS", "CONNECT", "connect"][usize::from(options & 3)];
    let strict = options & 4 != 0;
    let found = Target::parse(method, bytes, strict);
    if found.is_ok() {
        let outside = b"\"<>\\^`{|}";
        let allowed = |byte: &u8| *byte > b' ' && *byte != 0x7F && *byte != b'#';
        assert!(bytes.iter().all(allowed), "{}", shown(bytes));
        let outside = |byte: &u8| outside.contains(byte) || !byte.is_ascii();
        assert!(!strict || !bytes.iter().any(outside), "{}", shown(bytes));
        assert!(Target::parse(method, bytes, false) == found, "strictness only refuses");
    }
    match found {
        Ok(Target::Absolute { authority, path }) => {
            let http = bytes.get(..7).is_some_and(|front| front.eq_ignore_ascii_case(b"http://"));
            let scheme = if http { 7 } else { 5 };
            assert!(http || bytes[..5].eq_ignore_ascii_case(b"ws://"));
            assert!(bytes.ends_with(path));
            assert!(path.is_empty() || path.starts_with(b"/") || path.starts_with(b"?"), "{}", shown(bytes));
            check_authority(&authority, &bytes[scheme..bytes.len() - path.len()]);
        }
        Ok(Target::Origin { path }) => assert!(path == bytes && path.starts_with(b"/")),
        Ok(Target::Authority(authority)) => {
            assert_eq!(method, "CONNECT");
            check_authority(&authority, bytes);
        }
        Ok(Target::Asterisk) => assert_eq!((method, bytes), ("OPTIONS", &b"*"[..])),
        Err(_) => {}
    }
    host_field(bytes);
    if let Ok(name) = Name::parse(bytes) {
        assert_eq!(Name::parse(name.as_bytes()), Ok(name));
        assert!(bytes.to_ascii_lowercase().starts_with(name.as_bytes()));
    }
}

/// The same bytes as a Host field: it names the origin, and must be refused if another program could read another
/// origin.
fn host_field(value: &[u8]) {
    let head = [b"GET /p HTTP/1.1\r\nHost: ", value, b"\r\n\r\n"].concat();
    let mut storage = Message::new();
    let Ok(parsed) = RequestHead::parse(&head, &mut storage, &Limits::default()) else { return };
    let target = Target::Origin { path: b"/p" };
    let routed = route_target(&parsed, &target).ok().flatten();
    let fields = reference::head(&head).map_or_else(Vec::new, |((_, fields), _)| fields);
    let [host] = reference::values(&fields, "host")[..] else { return };
    assert_eq!(routed, Authority::parse(host, Some(80)).ok(), "{}", shown(&head));
    // The target overrides Host, but Host must be valid.
    let other = Authority::parse(b"other.example:81", None).expect("an authority");
    let absolute = Target::Absolute { authority: other, path: b"/p" };
    let valid = routed.is_some() || host.is_empty();
    assert_eq!(route_target(&parsed, &absolute).ok().flatten(), valid.then_some(other));
    if let Some(routed) = routed {
        let same = Target::Absolute { authority: routed, path: b"/p" };
        assert_eq!(route_target(&parsed, &same), Ok(Some(routed)));
    }
}

/// Any bytes as `resolv.conf`, as hosts(5), and as the name of a server.
pub fn system_files(bytes: &[u8]) {
    let settings = Settings::parse_resolv_conf(bytes, &|zone| zone.parse().ok());
    assert!((1..=SERVERS_MAX).contains(&settings.servers.len()) && settings.search.len() <= SEARCH_MAX);
    assert!(settings.ndots <= NDOTS_MAX && (1..=ATTEMPTS_MAX).contains(&settings.attempts));
    assert!((TIMEOUT_MS_MIN..=TIMEOUT_MS_MAX).contains(&settings.timeout_ms));
    let hosts = Hosts::parse(bytes);
    let words = bytes.split(u8::is_ascii_whitespace).filter_map(|word| Name::parse(word).ok());
    for name in words {
        let Some(addresses) = hosts.get(&name).map(|addresses| addresses.as_slice()) else { continue };
        assert!((1..=ADDRESSES_MAX).contains(&addresses.len()), "{}", shown(bytes));
        for (at, address) in addresses.iter().enumerate() {
            assert_eq!(*address, address.to_canonical());
            assert!(!addresses[..at].contains(address), "{address} twice");
        }
    }
}
