//! Values of directives. An error contains what was expected and what was found.

use super::words::{Words, shown};
use super::{Per, Scope};
use crate::guard::clouds::Provider;
use crate::guard::networks::{NetworkError, canonical, network_text, parse_network};
use crate::guard::path::comparison_form;
use crate::http::fields::is_token;
use crate::http::idna;
use crate::http::target::{Host, Name};
use crate::nearest::{hint, nearest};
pub(in crate::guard) use crate::words::{duration, duration_text, number, word_text};
use ipnet::IpNet;

/// Longest text of a reason or a prefix, in bytes (chosen).
pub const TEXT_BYTES_MAX: usize = 200;

const EXPECTED_NETWORK: &str = "an address or a network such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32";
const EXPECTED_PATH: &str = "the beginning of a path such as /api/, without a query";
const EXPECTED_HOST: &str =
    "a host such as example.com, .example.com, *.example.com or 192.0.2.7, without a port";
const EXPECTED_PER: &str = "client, user, host, path or method, or several as in client+host; client/56 counts IPv6 clients by 56 \
     bits, client/24,56 IPv4 clients by 24 as well";

/// A time, or `ever` or `forever`: `None`.
pub fn duration_or_ever(words: &mut Words) -> Result<Option<u64>, String> {
    match words.value("a time such as 7d, or ever")?.as_str() {
        "ever" | "forever" => Ok(None),
        text => duration(text).map(Some).map_err(|message| format!("{message} (or ever)")),
    }
}

/// `+HH:MM` or `-HH:MM`, in seconds.
pub fn utc_offset(text: &str) -> Result<i64, String> {
    let wrong =
        || format!("expected a time zone from -12:00 to +14:00, such as +02:00, found {}", shown(text));
    let (hours, minutes) = text.get(1..).and_then(|rest| rest.split_once(':')).ok_or_else(wrong)?;
    let part = |part: &str, most| if part.len() == 2 { number(part, 0, most) } else { Err(wrong()) };
    let (hours, minutes) = (part(hours, 14).map_err(|_| wrong())?, part(minutes, 59).map_err(|_| wrong())?);
    let offset_s = (hours * 3600 + minutes * 60) as i64;
    let offset_s = match text.as_bytes()[0] {
        b'+' => offset_s,
        b'-' => -offset_s,
        _ => return Err(wrong()),
    };
    // The range of existing time zones.
    if (-12 * 3600..=14 * 3600).contains(&offset_s) { Ok(offset_s) } else { Err(wrong()) }
}

/// The text that [`utc_offset`] reads.
pub fn utc_offset_text(offset_s: i64) -> String {
    let sign = if offset_s < 0 { '-' } else { '+' };
    let minutes = offset_s.unsigned_abs() / 60;
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

/// `N/DURATION`.
pub fn rate(words: &mut Words, requests_max: u64) -> Result<(u32, u64), String> {
    let expected = "a number of requests and a time, such as 600/1m";
    let text = words.value(expected)?;
    let (count, window) =
        text.split_once('/').ok_or_else(|| format!("expected {expected}, found {}", shown(&text)))?;
    Ok((number(count, 1, requests_max)? as u32, duration(window)?))
}

/// An address or a network without host bits.
pub fn network(text: &str) -> Result<IpNet, String> {
    parse_network(text).map_err(|error| match error {
        NetworkError::Malformed => format!("expected {EXPECTED_NETWORK}, found {}", shown(text)),
        NetworkError::HostBits(network) => {
            let address = text.split('/').next().unwrap_or_default();
            format!("{} has bits behind its prefix: expected {network}, or {address} alone", shown(text))
        }
    })
}

/// Networks in a list with commas.
pub fn networks(words: &mut Words) -> Result<Vec<IpNet>, String> {
    words.list(EXPECTED_NETWORK)?.iter().map(|text| network(text)).collect()
}

/// Networks in the form of a list.
pub fn networks_text(networks: &[IpNet]) -> String {
    networks.iter().map(|network| network_text(canonical(*network))).collect::<Vec<_>>().join(",")
}

/// The key of a counter without any part.
const PER_NOTHING: Per =
    Per { client: false, prefix4: 32, prefix6: 64, user: false, host: false, path: false, method: false };

/// Counted for each client.
pub const PER_CLIENT: Per = Per { client: true, ..PER_NOTHING };

/// `client[/PREFIX6][+user][+host][+path][+method]`, in any order, or `client/PREFIX4,PREFIX6`.
pub fn per(words: &mut Words) -> Result<Per, String> {
    let text = words.value(EXPECTED_PER)?;
    let wrong = || format!("expected {EXPECTED_PER}, found {}", shown(&text));
    let mut per = PER_NOTHING;
    for part in text.split('+') {
        let (name, prefixes) = part.split_once('/').map_or((part, None), |(name, rest)| (name, Some(rest)));
        let flag = match name {
            "client" => &mut per.client,
            "user" => &mut per.user,
            "host" => &mut per.host,
            "path" => &mut per.path,
            "method" => &mut per.method,
            _ => return Err(wrong()),
        };
        if std::mem::replace(flag, true) || (prefixes.is_some() && name != "client") {
            return Err(wrong());
        }
        if let Some(prefixes) = prefixes {
            let (four, six) = prefixes.split_once(',').unwrap_or(("32", prefixes));
            // A shorter prefix than this is not of one client by any measure.
            (per.prefix4, per.prefix6) = (number(four, 8, 32)? as u8, number(six, 16, 128)? as u8);
        }
    }
    Ok(per)
}

/// The text that [`per`] reads.
pub fn per_text(per: Per) -> String {
    let client = match (per.prefix4, per.prefix6) {
        (32, 64) => "client".to_owned(),
        (32, six) => format!("client/{six}"),
        (four, six) => format!("client/{four},{six}"),
    };
    let parts = [
        (per.client, client.as_str()),
        (per.user, "user"),
        (per.host, "host"),
        (per.path, "path"),
        (per.method, "method"),
    ];
    parts.into_iter().filter(|(given, _)| *given).map(|(_, name)| name).collect::<Vec<_>>().join("+")
}

/// The beginning of a path, in its form for comparison.
pub fn path_prefix(words: &mut Words) -> Result<Box<str>, String> {
    let text = words.value(EXPECTED_PATH)?;
    let wrong = || format!("expected {EXPECTED_PATH}, found {}", shown(&text));
    if !text.starts_with('/') || text.contains('?') {
        return Err(wrong());
    }
    let mut buffer = Vec::new();
    let form = comparison_form(text.as_bytes(), &mut buffer);
    let path = std::str::from_utf8(form.bytes).map_err(|_| wrong())?;
    let is_readable = !form.is_escaped && !path.contains(|char: char| char.is_control());
    if is_readable { Ok(path.into()) } else { Err(wrong()) }
}

/// A host, or a domain with a leading `.` or `*.`.
pub fn host_pattern(words: &mut Words) -> Result<Box<str>, String> {
    let text = words.value(EXPECTED_HOST)?;
    let wrong = || format!("expected {}, found {}", idna::expected(&text, EXPECTED_HOST), shown(&text));
    let (sign, name) = match text.strip_prefix("*.") {
        Some(name) => ("*.", name),
        None => text.strip_prefix('.').map_or(("", text.as_str()), |name| (".", name)),
    };
    let ascii = idna::to_ascii(name).map_err(|_| wrong())?;
    let host = match ascii.contains(':') && !ascii.starts_with('[') {
        true => Host::parse(format!("[{ascii}]").as_bytes()),
        false => Host::parse(ascii.as_bytes()),
    };
    match host.map_err(|_| wrong())? {
        Host::Name(name) => Ok(format!("{sign}{}", bare(&name)).into()),
        Host::Address(address) if sign.is_empty() => Ok(Host::Address(address).to_string().into()),
        Host::Address(_) => Err(wrong()),
    }
}

/// Without the dot of the root.
fn bare(name: &Name) -> &str {
    name.as_str().trim_end_matches('.')
}

/// Methods in a list with commas. They are case-sensitive (RFC 9110 9.1), and the known ones are in capitals.
pub fn methods(words: &mut Words) -> Result<Vec<Box<str>>, String> {
    let expected = "methods such as POST,PUT";
    let mut methods: Vec<Box<str>> = Vec::new();
    for text in words.list(expected)? {
        if !is_token(text.as_bytes()) {
            return Err(format!("expected {expected}, found {}", shown(&text)));
        }
        methods.push(text.to_ascii_uppercase().into());
    }
    sorted_once(methods, "method")
}

/// The values in order, each once.
pub fn sorted_once(mut values: Vec<Box<str>>, what: &str) -> Result<Vec<Box<str>>, String> {
    values.sort();
    match values.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("{} again: expected each {what} once", pair[0])),
        None => Ok(values),
    }
}

/// The part of a text that describes a scope; begins with a blank unless it is empty.
pub fn scope_text(scope: &Scope) -> String {
    let mut text = String::new();
    if let Some(path) = &scope.path {
        text.push_str(&format!(" path {}", word_text(path)));
    }
    if let Some(host) = &scope.host {
        text.push_str(&format!(" host {host}"));
    }
    if !scope.methods.is_empty() {
        text.push_str(&format!(" methods {}", scope.methods.join(",")));
    }
    text
}

/// A provider of a cloud.
pub fn provider(text: &str) -> Result<Provider, String> {
    let names = || Provider::ALL.into_iter().map(Provider::name);
    Provider::of_name(text).ok_or_else(|| {
        let near = hint(nearest(text, names()));
        let names = names().collect::<Vec<_>>().join(", ");
        format!("unknown provider {}: expected {names}{near}", shown(text))
    })
}

/// A text of any words, quoted if there are several.
pub fn text(words: &mut Words, expected: &str) -> Result<Box<str>, String> {
    let text = words.value(expected)?;
    match text.len() {
        1..=TEXT_BYTES_MAX => Ok(text.into()),
        _ => Err(format!("expected {expected}, of 1 to {TEXT_BYTES_MAX} bytes, found {}", shown(&text))),
    }
}
