//! Parsers for the values of settings. An error says what was expected.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::interface;
use crate::guard::detection::Context;
use crate::http::fields::is_token;
use crate::http::forwarding::ForwardedPolicy;
use crate::http::template::Kind;
use crate::policy::edit::{Direction, Edits};
use crate::policy::pages::Statuses;
use crate::policy::port_set::PortSet;
use crate::policy::rules::canonical;

/// The default port of a DNS server (RFC 1035 4.2).
pub const DNS_PORT: u16 = 53;

/// Longest time that can be set (chosen): far longer than any use, far from the overflow of a deadline.
pub const DURATION_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// Fewest blocks of one loop (chosen): a few transactions must be able to proceed.
pub const BUFFERS_MIN: u64 = 64;

/// Most loops (chosen): more processors than any machine for a proxy has.
pub const WORKERS_MAX: u64 = 256;

/// The expectation that an error names.
pub type Expected = String;

/// The number of loops, and whether each has its own processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Workers {
    /// The number of loops; `None` for one per processor.
    pub count: Option<u32>,
    /// Whether each loop runs on its own processor.
    pub pinned: bool,
}

/// `yes` or `no`, and their usual synonyms.
pub fn flag(text: &str) -> Result<bool, Expected> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" | "on" | "1" => Ok(true),
        "no" | "false" | "off" | "0" => Ok(false),
        _ => Err("yes or no".into()),
    }
}

/// How often a countable flag is given: a number, or yes and no for one and none.
pub fn count(text: &str) -> Result<u8, Expected> {
    match (text.parse::<u8>(), flag(text)) {
        (Ok(number), _) if number <= 9 => Ok(number),
        (_, Ok(given)) => Ok(u8::from(given)),
        (_, Err(_)) => Err("yes, no, or a number from 0 to 9".into()),
    }
}

/// A decimal number, digits only, in a range.
pub fn number(text: &str, least: u64, most: u64) -> Result<u64, Expected> {
    digits(text)
        .filter(|value| (least..=most).contains(value))
        .ok_or_else(|| format!("a number from {least} to {most}"))
}

fn digits(text: &str) -> Option<u64> {
    let all_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| text.parse().ok()).flatten()
}

/// A number of loops or `auto`, optionally with `,pin` behind it.
pub fn workers(text: &str) -> Result<Workers, Expected> {
    let (count, pinned) = match text.split_once(',') {
        Some((count, pin)) if pin.trim() == "pin" => (count.trim(), true),
        Some(_) | None => (text, false),
    };
    let count = match count {
        "auto" => Ok(None),
        _ => number(count, 1, WORKERS_MAX).map(|count| Some(count as u32)),
    };
    match count {
        Ok(count) => Ok(Workers { count, pinned }),
        Err(expected) => {
            Err(format!("{expected}, or auto; with ,pin behind it to keep each on one processor"))
        }
    }
}

/// A TCP port to listen on; 0 lets the system choose.
pub fn port(text: &str) -> Result<u16, Expected> {
    number(text, 0, u64::from(u16::MAX)).map(|value| value as u16)
}

/// Bytes: a number, with K, M or G for powers of 1024; in a range.
pub fn size(text: &str, least: u64, most: u64) -> Result<u64, Expected> {
    let unit_at = text.find(|first: char| !first.is_ascii_digit()).unwrap_or(text.len());
    let unit = match text[unit_at..].to_ascii_lowercase().as_str() {
        "" | "b" => Some(1),
        "k" | "kb" | "kib" => Some(1 << 10),
        "m" | "mb" | "mib" => Some(1 << 20),
        "g" | "gb" | "gib" => Some(1 << 30),
        _ => None,
    };
    let bytes =
        digits(&text[..unit_at]).zip(unit).and_then(|(count, unit): (u64, u64)| count.checked_mul(unit));
    bytes.filter(|value| (least..=most).contains(value)).ok_or_else(|| {
        let examples = [64 << 10, 64 << 20, 64 << 30];
        let example = examples.into_iter().find(|example| (least..=most).contains(example));
        let [least, most, example] = [least, most, example.unwrap_or(most)].map(size_text);
        format!("a size from {least} to {most}, such as {example}")
    })
}

/// A size in the notation of a file.
pub fn size_text(bytes: u64) -> String {
    match bytes {
        0 => "0".into(),
        _ if bytes % (1 << 30) == 0 => format!("{}G", bytes >> 30),
        _ if bytes % (1 << 20) == 0 => format!("{}M", bytes >> 20),
        _ if bytes % (1 << 10) == 0 => format!("{}K", bytes >> 10),
        _ => bytes.to_string(),
    }
}

/// The size at which a log file rotates: 0 for never, else at least 4 KB.
pub fn rotation_size(text: &str) -> Result<u64, Expected> {
    const LEAST: u64 = 4 << 10;
    const MOST: u64 = 1 << 50;
    match size(text, 0, MOST) {
        Ok(0) => Ok(0),
        Ok(bytes) if bytes >= LEAST => Ok(bytes),
        Ok(_) | Err(_) => Err("0 (never), or a size of at least 4K, such as 64M".into()),
    }
}

/// A time of at least a millisecond: seconds, decimals allowed, or with the unit ms, s, m or h.
pub fn duration(text: &str) -> Result<Duration, Expected> {
    milliseconds(text).filter(|time| !time.is_zero()).ok_or_else(|| duration_expected("more than 0"))
}

/// A time, or 0.
pub fn duration_or_zero(text: &str) -> Result<Duration, Expected> {
    milliseconds(text).ok_or_else(|| duration_expected("0 or more"))
}

fn duration_expected(range: &str) -> Expected {
    format!("a time, {range} and at most 168h: seconds such as 30 or 2.5, or with a unit: 500ms, 10s, 2m, 1h")
}

/// Exact, without floating point: a whole number of milliseconds, or `None`.
fn milliseconds(text: &str) -> Option<Duration> {
    let unit_at = text.find(|first: char| first.is_ascii_alphabetic()).unwrap_or(text.len());
    let unit_ms: u64 = match text[unit_at..].to_ascii_lowercase().as_str() {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let (whole, fraction) = text[..unit_at].split_once('.').unwrap_or((&text[..unit_at], "0"));
    // Nine decimals suffice, and the multiplication below cannot overflow.
    if fraction.len() > 9 {
        return None;
    }
    let scale = 10u64.pow(fraction.len() as u32);
    let part = digits(fraction)?.checked_mul(unit_ms)?;
    if part % scale != 0 {
        return None;
    }
    let total = digits(whole)?.checked_mul(unit_ms)?.checked_add(part / scale)?;
    Some(Duration::from_millis(total)).filter(|time| *time <= DURATION_MAX)
}

/// A place in a request.
pub fn context(text: &str) -> Result<Context, Expected> {
    Context::of_name(text).ok_or("query, path, header or body".into())
}

/// An address to listen on; IPv6 with or without brackets.
pub fn address(text: &str) -> Result<IpAddr, Expected> {
    let bare = match text.strip_prefix('[') {
        Some(inner) => {
            inner.strip_suffix(']').filter(|inner| inner.parse::<Ipv6Addr>().is_ok()).unwrap_or(text)
        }
        None => text,
    };
    if let Ok(address) = bare.parse() {
        return Ok(address);
    }
    Err(match text.parse::<SocketAddr>() {
        Ok(both) => format!(
            "an address without a port: {} (the port is set by itself: port {})",
            both.ip(),
            both.port()
        ),
        Err(_) => "an IP address such as 127.0.0.1, 0.0.0.0, ::1 or :: (names are not looked up)".into(),
    })
}

/// An address, or a network in CIDR notation without bits behind its prefix.
pub fn network(text: &str) -> Result<IpNet, Expected> {
    let bare = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(text);
    let network = bare.parse::<IpNet>().ok().or_else(|| bare.parse::<IpAddr>().ok().map(IpNet::from));
    network.filter(|network| *network == network.trunc()).map(canonical).ok_or_else(|| {
        "an address, or a network without bits behind its prefix, such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32".into()
    })
}

/// A DNS server: an address, or with a port `192.0.2.1:5353`, `[2001:db8::1]:5353`; a link-local one with its interface,
/// `fe80::1%eth0` or `[fe80::1%2]:5353` (RFC 4007 section 11).
pub fn dns_server(text: &str) -> Result<SocketAddr, Expected> {
    let (before, behind) = text.split_once('%').unwrap_or((text, ""));
    let (zone, behind) = behind.split_at(behind.find(']').unwrap_or(behind.len()));
    let bare = format!("{before}{behind}");
    let mut server = address(&bare)
        .map(|address| SocketAddr::new(address, DNS_PORT))
        .or_else(|_| bare.parse::<SocketAddr>())
        .ok()
        .filter(|server| server.port() != 0 && !server.ip().is_unspecified())
        .ok_or("a server's address such as 192.0.2.53, 192.0.2.53:5353 or [2001:db8::53]:5353")?;
    if text.contains('%') {
        let SocketAddr::V6(server) = &mut server else { return Err("a server's address without %".into()) };
        let index = interface::index(zone).ok_or("the name of a network interface behind %")?;
        server.set_scope_id(index);
    }
    Ok(server)
}

/// An address with a port, to listen on: `127.0.0.1:9100`, `[::1]:9100`; port 0 for any free one.
pub fn socket_address(text: &str) -> Result<SocketAddr, Expected> {
    text.parse().map_err(|_| "an address with a port, such as 127.0.0.1:9100 or [::1]:9100".into())
}

/// A list of ports: `any`, `N`, `N-M`, and these with `!` for exclusion, separated by commas.
///
/// Only the form is checked here; the text stays, and the policy compiles it.
pub fn port_list(text: &str) -> Result<PortSet, Expected> {
    PortSet::parse(text).map_err(|error| error.expected.to_owned())
}

/// The name of a format of the access log.
pub fn log_format(text: &str) -> Result<crate::log::format::Format, Expected> {
    crate::log::format::Format::parse(text).ok_or_else(|| "weir, combined, squid, json or none".into())
}

/// Whether there is a cache. Squid's `cache` has rules.
pub fn cache(text: &str) -> Result<bool, Expected> {
    flag(text).map_err(|expected| {
        format!("{expected}; for hosts that are not stored: cache-rules FILE, with a line `PATTERN off`")
    })
}

/// The name of this proxy in Via, or `off`: a pseudonym is a token (RFC 9110 7.6.3).
pub fn via(text: &str) -> Result<Option<String>, Expected> {
    // Squid's `via` takes such a word. As a name it would be no mistake of its own, and `via no` would not remove the field.
    let is_flag =
        ["on", "yes", "no", "true", "false", "none"].iter().any(|word| text.eq_ignore_ascii_case(word));
    match text {
        _ if text.eq_ignore_ascii_case("off") => Ok(None),
        _ if is_token(text.as_bytes()) && !is_flag => Ok(Some(text.to_owned())),
        _ => Err("a name of letters, digits, dots and hyphens, or off".into()),
    }
}

/// How Forwarded is handled.
pub fn forwarded(text: &str) -> Result<ForwardedPolicy, Expected> {
    match text {
        "off" => Ok(ForwardedPolicy::Off),
        "append" => Ok(ForwardedPolicy::Append),
        "replace" => Ok(ForwardedPolicy::Replace),
        "remove" => Ok(ForwardedPolicy::Remove),
        _ => Err("off, append, replace or remove".into()),
    }
}

/// A field to remove from all messages, or from those for some hosts: `NAME [PATTERN]`.
pub fn removal(text: &str) -> Result<String, Expected> {
    let parsed = Edits::default().parse_remove(Direction::Request, text);
    parsed.map(|()| text.to_owned()).map_err(|error| error.expected.to_owned())
}

/// A field to add: `[append] NAME: VALUE [if PATTERN]`.
pub fn addition(text: &str) -> Result<String, Expected> {
    let parsed = Edits::default().parse_add(Direction::Request, text);
    parsed.map(|()| text.to_owned()).map_err(|error| error.expected.to_owned())
}

/// A field name.
pub fn field_name(text: &str) -> Result<String, Expected> {
    if is_token(text.as_bytes()) { Ok(text.to_owned()) } else { Err("the name of a field".into()) }
}

/// A path that is not empty.
pub fn path(text: &str) -> Result<PathBuf, Expected> {
    if text.is_empty() { Err("a path".into()) } else { Ok(text.into()) }
}

/// A page for refusals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorPage {
    /// The statuses of the page.
    pub statuses: Statuses,
    /// The content type.
    pub kind: Kind,
    /// The file.
    pub path: PathBuf,
}

/// `STATUS=FILE`; the extension of the file tells the content type.
pub fn error_page(text: &str) -> Result<ErrorPage, Expected> {
    let Some((status, file)) = text.split_once('=') else {
        return Err("a status and a file, such as 403=blocked.html".into());
    };
    let statuses = Statuses::parse(status).map_err(|expected| format!("{expected}, before ="))?;
    let path = path(file)?;
    let extension = path.extension().map(|end| end.to_string_lossy().to_ascii_lowercase());
    let kind = extension.as_deref().and_then(Kind::of_extension);
    let kind = kind.ok_or("a file whose name ends in .html, .txt or .json")?;
    Ok(ErrorPage { statuses, kind, path })
}

/// Longest contact (chosen).
const CONTACT_BYTES_MAX: usize = 200;

/// The contact in refusals.
pub fn contact(text: &str) -> Result<Option<String>, Expected> {
    // No file could hold a value with an equals sign in front.
    let good = !text.trim().is_empty() && text.len() <= CONTACT_BYTES_MAX && !text.starts_with('=');
    let expected = || format!("a name, an address or the like, of at most {CONTACT_BYTES_MAX} bytes");
    good.then(|| Some(text.trim().to_owned())).ok_or_else(expected)
}

/// The name of a user.
pub fn user(text: &str) -> Result<String, Expected> {
    if text.is_empty() || text.contains(':') {
        Err("a user's name, without a colon".into())
    } else {
        Ok(text.to_owned())
    }
}

/// A system user, with an optional group: `NAME` or `NAME:GROUP`. Whether they exist is checked when they are needed.
pub fn system_user(text: &str) -> Result<String, Expected> {
    let mut parts = text.split(':');
    let well_formed = |part: &str| !part.is_empty() && !part.contains(char::is_whitespace);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(name), None, None) if well_formed(name) => Ok(text.to_owned()),
        (Some(name), Some(group), None) if well_formed(name) && well_formed(group) => Ok(text.to_owned()),
        _ => Err("a user of this system such as nobody, or with a group: nobody:nogroup".into()),
    }
}

/// A user of either kind: the command tells which one is meant.
pub fn any_user(text: &str) -> Result<String, Expected> {
    user(text).or_else(|_| system_user(text))
}

/// A rule. The policy compiles it later; here it must not be empty.
pub fn rule(text: &str) -> Result<String, Expected> {
    let foreign = |c: char| c.is_whitespace() || c.is_control();
    // No file could hold a value with an equals sign in front, so --print-config would be wrong.
    if text.is_empty() || text.starts_with('=') || text.contains(foreign) {
        return Err("a rule such as example.com, *.example.com, .example.com:443 or 192.0.2.0/24".into());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_of_mapped_addresses_are_those_of_ipv4() {
        for (text, expected) in [
            ("::ffff:192.0.2.1", "192.0.2.1/32"),
            ("[::ffff:192.0.2.1]", "192.0.2.1/32"),
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
            ("::/0", "::/0"),
            ("2001:db8::1", "2001:db8::1/128"),
        ] {
            assert_eq!(network(text).map(|network| network.to_string()).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn link_local_name_servers_have_an_interface() {
        for (text, expected) in [
            ("fe80::1%2", Some("[fe80::1%2]:53")),
            ("[fe80::1%2]", Some("[fe80::1%2]:53")),
            ("[fe80::1%2]:5353", Some("[fe80::1%2]:5353")),
            ("fe80::1", Some("[fe80::1]:53")),
            ("fe80::1%", None),
            ("fe80::1%no-such-interface", None),
            ("192.0.2.1%2", None),
            ("[fe80::1%2", None),
        ] {
            let server = dns_server(text).map(|server| server.to_string());
            assert_eq!(server.as_deref().ok(), expected, "{text}: {server:?}");
        }
        #[cfg(target_os = "linux")]
        assert_eq!(dns_server("[fe80::1%lo]:5353"), dns_server("[fe80::1%1]:5353"));
    }

    #[test]
    fn sizes() {
        let good = [
            ("0", 0),
            ("1", 1),
            ("1b", 1),
            ("4k", 4096),
            ("4KB", 4096),
            ("4KiB", 4096),
            ("64M", 64 << 20),
            ("1G", 1 << 30),
        ];
        for (text, bytes) in good {
            assert_eq!(size(text, 0, 1 << 40), Ok(bytes), "{text}");
        }
        let bad = [
            "",
            "K",
            "-1",
            "+1",
            "1.5M",
            "1T",
            "1 K",
            "0x10",
            "18446744073709551616",
            "18014398509481984K",
            "é",
            "1é",
        ];
        for text in bad {
            assert!(size(text, 0, u64::MAX).is_err(), "{text}");
        }
        assert!(size("1023", 1024, 4096).is_err());
        assert!(size("4097", 1024, 4096).is_err());
        assert_eq!(size("1025", 1024, 4096), Ok(1025));
        for bytes in [0, 1, 1023, 1024, 1536, 32 << 10, 64 << 20, 3 << 30] {
            assert_eq!(size(&size_text(bytes), 0, u64::MAX), Ok(bytes));
        }
        for (text, bytes) in
            [("0", Some(0)), ("1", None), ("4095", None), ("4K", Some(4096)), ("64M", Some(64 << 20))]
        {
            assert_eq!(rotation_size(text).ok(), bytes, "{text}");
        }
    }

    #[test]
    fn durations() {
        let good = [
            ("1", 1_000),
            ("60", 60_000),
            ("2.5", 2_500),
            ("0.001", 1),
            ("1.000000000", 1_000),
            ("500ms", 500),
            ("10s", 10_000),
            ("1.5m", 90_000),
            ("2min", 120_000),
            ("1h", 3_600_000),
            ("0.1h", 360_000),
            ("168h", 604_800_000),
        ];
        for (text, ms) in good {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        let bad = [
            "",
            "0",
            "0.0",
            "-1",
            "+1",
            "1.",
            ".5",
            "1.5ms",
            "0.0001",
            "1e3",
            "1d",
            "s",
            "ms",
            "1 s",
            "169h",
            "1.0000000000",
            "1.5.1",
            "18446744073709551615h",
            "inf",
            "NaN",
            "1é",
        ];
        for text in bad {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(duration_or_zero("0"), Ok(Duration::ZERO));
        assert!(duration_or_zero("-0").is_err());
    }

    #[test]
    fn addresses() {
        for (text, expected) in
            [("127.0.0.1", "127.0.0.1"), ("::", "::"), ("[::1]", "::1"), ("2001:db8::1", "2001:db8::1")]
        {
            assert_eq!(address(text), Ok(expected.parse().unwrap()), "{text}");
        }
        for text in [
            "",
            "localhost",
            "[127.0.0.1]",
            "[::1",
            "::1]",
            "1.2.3",
            "1.2.3.256",
            "0x7f.1",
            "[]",
            "fe80::1%eth0",
        ] {
            assert!(address(text).unwrap_err().contains("names are not looked up"), "{text}");
        }
        assert!(address("127.0.0.1:80").unwrap_err().contains("port 80"));
        assert!(address("[::1]:80").unwrap_err().contains("without a port: ::1"));
        for (text, expected) in [
            ("192.0.2.7", "192.0.2.7/32"),
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("::1", "::1/128"),
            ("[::1]", "::1/128"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
        ] {
            assert_eq!(network(text).unwrap().to_string(), expected, "{text}");
        }
        for text in ["", "example.com", "192.0.2.0/33", "::/129", "192.0.2.0/", "/24"] {
            assert!(network(text).is_err(), "{text}");
        }
        assert!(network("192.0.2.7/24").unwrap_err().contains("without bits behind its prefix"));
        assert!(network("::ffff:192.0.2.1/120").is_err());
        for (text, expected) in [
            ("192.0.2.53", "192.0.2.53:53"),
            ("192.0.2.53:5353", "192.0.2.53:5353"),
            ("::1", "[::1]:53"),
            ("[::1]", "[::1]:53"),
            ("[::1]:5353", "[::1]:5353"),
        ] {
            assert_eq!(dns_server(text).unwrap().to_string(), expected, "{text}");
        }
        for text in ["", "dns.example", "192.0.2.53:", "192.0.2.53:0", "192.0.2.53:65536", "0.0.0.0", "::"] {
            assert!(dns_server(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_flags_and_counts() {
        for (text, value) in [
            ("0", Some(0)),
            ("65535", Some(65535)),
            ("65536", None),
            ("-1", None),
            ("+1", None),
            ("", None),
            ("80x", None),
        ] {
            assert_eq!(port(text).ok(), value, "{text}");
        }
        assert_eq!(number("11", 1, 10), Err("a number from 1 to 10".into()));
        for (text, value) in [
            ("yes", Some(true)),
            ("TRUE", Some(true)),
            ("on", Some(true)),
            ("No", Some(false)),
            ("false", Some(false)),
            ("off", Some(false)),
            ("", None),
            ("maybe", None),
        ] {
            assert_eq!(flag(text).ok(), value, "{text}");
        }
        for (text, value) in [
            ("yes", Some(1)),
            ("no", Some(0)),
            ("0", Some(0)),
            ("3", Some(3)),
            ("10", None),
            ("", None),
            ("-1", None),
        ] {
            assert_eq!(count(text).ok(), value, "{text}");
        }
    }

    #[test]
    fn ports_names_and_fields() {
        for text in ["443", "443,563,1024-65535", "any", "any,!25", "any, !6000-6063"] {
            assert!(port_list(text).is_ok(), "{text}");
        }
        for text in ["", ",", "443,", "0", "65536", "2-1", "1-", "-1", "http", "!!1", "1-2-3"] {
            assert!(port_list(text).is_err(), "{text}");
        }
        for (text, expected) in [
            ("weir", Some(Some("weir"))),
            ("off", Some(None)),
            ("Off", Some(None)),
            ("a.b-1", Some(Some("a.b-1"))),
            ("", None),
            ("a b", None),
            ("a,b", None),
            ("on", None),
            ("No", None),
            ("yes", None),
            ("none", None),
        ] {
            assert_eq!(via(text).ok(), expected.map(|name| name.map(str::to_owned)), "{text}");
        }
        for (text, expected) in [
            ("off", Some(ForwardedPolicy::Off)),
            ("append", Some(ForwardedPolicy::Append)),
            ("replace", Some(ForwardedPolicy::Replace)),
            ("remove", Some(ForwardedPolicy::Remove)),
            ("on", None),
        ] {
            assert_eq!(forwarded(text).ok(), expected, "{text}");
        }
        for text in ["User-Agent", "X_1", "Referer *.example.com"] {
            assert!(removal(text).is_ok(), "{text}");
        }
        for text in ["", "A:", "Host", "content-LENGTH", "Transfer-Encoding"] {
            assert!(removal(text).is_err(), "{text}");
        }
        for text in ["X-A: b c", "X-A:b", "X-A: b: c", "X-A: b if .example.com", "append X-A: b"] {
            assert!(addition(text).is_ok(), "{text}");
        }
        for text in ["", "X-A", ": b", "X A: b", "X-A : b", "X-A: b\r\nC: d", "Host: a", "X-A: \0"] {
            assert!(addition(text).is_err(), "{text}");
        }
        let rules = [
            ("example.com", true),
            ("*.a:80", true),
            ("", false),
            ("a b", false),
            ("a\0", false),
            ("=a", false),
        ];
        for (text, good) in rules {
            assert_eq!(rule(text).is_ok(), good, "{text}");
        }
        for (text, good) in [("/a b/c", true), ("\u{e9}", true), ("", false)] {
            assert_eq!(path(text).is_ok(), good, "{text}");
        }
    }
}
