//! Reads the line of a route.

use super::{Check, HostField, RouteLine, UpstreamLine};
use crate::gateway::balance::{Balance, UPSTREAMS_MAX, WEIGHT_MAX};
use crate::gateway::path::read;
use crate::gateway::table::{HostMatch, covers};
use crate::gateway::upstream::{FAILING_STATUSES, FailOn, PassiveRules};
use crate::http::fields::is_token;
use crate::http::idna;
use crate::http::target::{Authority, Target};
use crate::nearest::nearest;
use crate::words::{Optional, Words, duration, number, shown};

/// Most further upstreams that are tried for one request (chosen).
const RETRIES_MAX: u64 = 10;

/// Largest number of checks in a row (chosen).
const IN_A_ROW_MAX: u64 = 100;

/// Largest number of failures that mark an upstream down (chosen).
const FAILURES_MAX: u64 = 10_000;

/// The passive rules of a line without such options (chosen: a few failures are chance, and a restart takes ten seconds).
const PASSIVE: PassiveRules = PassiveRules {
    failures: 3,
    within_ms: 10_000,
    down_ms: 10_000,
    on: FailOn { connect: true, reset: true, timeout: true, statuses: [false; 3] },
};

/// How long a recovered upstream gets less than its share, by default (chosen).
const SLOW_START_MS: u64 = 10_000;

/// Further upstreams that are tried (chosen: more would pass a request that kills its server on to all of them).
const RETRIES: u8 = 1;

/// Shortest time between two checks (chosen: shorter ones are a load, and no server is back sooner).
const CHECK_EVERY_MS_MIN: u64 = 50;

/// The longest time-out of one check (chosen); it is not longer than the time between two checks.
const CHECK_TIMEOUT_MS: u64 = 5_000;

/// Checks in a row (chosen: a lost packet is no illness, and a server that answers is well).
const RISE_AND_FALL: (u32, u32) = (1, 2);

/// Statuses of a healthy upstream (chosen, as in HAProxy).
const WELL: (u16, u16) = (200, 399);

const EXPECTED_HOST: &str = "a host, with a port where it is not 80, and the beginning of a path, such as app.example/api/ or *:8080/";
const EXPECTED_UPSTREAM: &str = "an upstream such as 127.0.0.1:9000 or backend.internal:8080";
const EXPECTED_PREFIX: &str = "the beginning of a path such as /api/, without a query";
const EXPECTED_CHECK: &str = "a method, a path and a time, as in health GET /healthz every 5s";

/// The options behind the upstreams of a route.
const OPTIONS: [Optional<RouteLine>; 11] = [
    ("round-robin", |route, _| balance(route, Balance::RoundRobin)),
    ("least", |route, _| balance(route, Balance::Least)),
    ("hash-client", |route, _| balance(route, Balance::HashClient)),
    ("health", health),
    ("host", host_field),
    ("strip", strip),
    ("down-after", down_after),
    ("fail-on", fail_on),
    ("retries", |route, words| {
        route.retries = number(&words.value("a number such as retries 1")?, 0, RETRIES_MAX)? as u8;
        Ok(())
    }),
    ("slow-start", |route, words| {
        route.slow_start_ms = match words.accept("off") {
            true => 0,
            false => duration(&words.value("a time such as 10s, or off")?)?,
        };
        Ok(())
    }),
    ("weight", |_, _| Err("weight: expected right behind an upstream, before the options".into())),
];

/// The words behind a check.
const FURTHER_OPTIONS: [&str; 5] = ["every", "timeout", "rise", "fall", "status"];

/// The options for the distribution of requests; a route has at most one of them.
const BALANCES: [&str; 3] = ["round-robin", "least", "hash-client"];

/// Whether a line that begins with this word is a route.
pub fn takes_host(first: &str) -> bool {
    first.contains(['/', ':', '*', '.'])
}

/// Reads a whole line.
pub fn read_route(words: &mut Words, line: u32) -> Result<RouteLine, String> {
    let (name, host, prefix) = host_and_prefix(&words.value(EXPECTED_HOST)?)?;
    words.expect("->", "app.example/api/ -> 127.0.0.1:9000")?;
    let mut route = RouteLine {
        line,
        name: name.into(),
        host,
        prefix,
        upstreams: Vec::new(),
        balance: Balance::default(),
        check: None,
        host_field: HostField::default(),
        strip: Box::default(),
        passive: PASSIVE,
        slow_start_ms: SLOW_START_MS,
        retries: RETRIES,
    };
    upstreams(&mut route, words)?;
    let given = words.options(&mut route, &OPTIONS)?;
    let balances: Vec<&str> = BALANCES.into_iter().filter(|name| given.contains(name)).collect();
    if let [one, other, ..] = *balances {
        return Err(format!("{one} and {other}: expected one of {}", BALANCES.join(", ")));
    }
    Ok(route)
}

fn host_and_prefix(text: &str) -> Result<(String, HostMatch, Box<[u8]>), String> {
    let wrong = || format!("expected {}, found {}", idna::expected(text, EXPECTED_HOST), shown(text));
    if text.contains("://") {
        return Err(format!("{} (without a scheme: clients send a host)", wrong()));
    }
    let slash = text.find('/').ok_or_else(wrong)?;
    let (host, path) = text.split_at(slash);
    let prefix = prefix(path)?;
    let shown_prefix = written(&prefix) + if prefix.is_empty() { "/" } else { "" };
    let (shown_host, host) = match host.strip_prefix('*') {
        Some("") => ("*".to_owned(), HostMatch::Any),
        Some(port) => {
            let digits = port.strip_prefix(':').ok_or_else(wrong)?;
            let port = number(digits, 1, u16::MAX.into()).map_err(|_| wrong())? as u16;
            (format!("*:{port}"), HostMatch::AnyWithPort(port))
        }
        None => {
            let authority = authority(host).ok_or_else(wrong)?;
            (authority.to_string(), HostMatch::Exact(Box::new(authority)))
        }
    };
    Ok((shown_host + &shown_prefix, host, prefix))
}

/// A prefix as text: the name of its route, which no other prefix may have.
fn written(prefix: &[u8]) -> String {
    let byte =
        |&byte: &u8| if byte.is_ascii() { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    std::str::from_utf8(prefix).map_or_else(|_| prefix.iter().map(byte).collect(), str::to_owned)
}

/// A host with or without a port; the default is port 80. Names beyond ASCII are converted to their form in DNS.
pub fn authority(text: &str) -> Option<Authority> {
    let (name, port) = text.split_at(text.rfind(':').unwrap_or(text.len()));
    let ascii = idna::to_ascii(name).ok()? + port;
    Authority::parse(ascii.as_bytes(), Some(80)).ok()
}

/// The beginning of a path in the form in which paths are looked up, without a slash at its end.
fn prefix(text: &str) -> Result<Box<[u8]>, String> {
    let wrong = || format!("expected {EXPECTED_PREFIX}, found {}", shown(text));
    if !text.starts_with('/') || text.contains(['?', '#']) {
        return Err(wrong());
    }
    let mut buffer = Vec::new();
    let readings = read(text.as_bytes(), &mut buffer).map_err(|_| wrong())?;
    if readings.letters != readings.resolved || readings.letters.iter().any(u8::is_ascii_control) {
        return Err(wrong());
    }
    // Requests for such a path are refused, because servers disagree where its segment ends.
    if readings.letters.contains(&b';') {
        return Err(format!("expected {EXPECTED_PREFIX}, without parameters (;), found {}", shown(text)));
    }
    Ok(readings.letters.strip_suffix(b"/").unwrap_or(readings.letters).into())
}

fn upstreams(route: &mut RouteLine, words: &mut Words) -> Result<(), String> {
    let is_option = |words: &Words| {
        words.peek().is_none_or(|word| !word.quoted && OPTIONS.iter().any(|(name, _)| *name == word.text))
    };
    while route.upstreams.is_empty() || !is_option(words) {
        let is_quoted = words.peek().is_some_and(|word| word.quoted);
        let text = words.value(EXPECTED_UPSTREAM)?;
        if let Some(option) = misspelt(&text).filter(|_| !is_quoted) {
            return Err(format!(
                "{}: did you mean the option {option}? An upstream of that name is written with its port, or in quotes",
                shown(&text)
            ));
        }
        // A number alone is an address to the parser of addresses, and the value of a misspelt option to the user.
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        let Some(authority) = authority(&text).filter(|_| !is_number) else {
            let hint = if text.contains("://") { " (without a scheme: upstreams speak HTTP)" } else { "" };
            let expected = idna::expected(&text, EXPECTED_UPSTREAM);
            return Err(format!("expected {expected}, found {}{hint}", shown(&text)));
        };
        if route.upstreams.iter().any(|other| other.authority == authority) {
            return Err(format!(
                "{authority} again: expected each upstream once, with a weight where it is to get more"
            ));
        }
        if route.upstreams.len() >= UPSTREAMS_MAX {
            return Err(format!("expected at most {UPSTREAMS_MAX} upstreams"));
        }
        let mut upstream = UpstreamLine { authority, weight: 1, backup: false };
        if words.accept("weight") {
            let weight = number(&words.value("a number such as weight 2")?, 1, WEIGHT_MAX.into());
            upstream.weight = weight.map_err(|message| format!("weight: {message}"))? as u32;
        }
        upstream.backup = words.accept("backup");
        route.upstreams.push(upstream);
    }
    match route.upstreams.iter().all(|upstream| upstream.backup) {
        true => Err("backup: expected an upstream that is none, too".into()),
        false => Ok(()),
    }
}

/// The option that a word probably means: an upstream without a port and a dot that has nearly the name of an option, and is none
/// of several that are numbered, such as host1.
fn misspelt(text: &str) -> Option<&'static str> {
    match text.contains(|char: char| matches!(char, ':' | '.') || char.is_ascii_digit()) {
        true => None,
        // Names of upstreams are often near to the further ones: static, call.
        false => FURTHER_OPTIONS
            .into_iter()
            .find(|option| *option == text)
            .or_else(|| nearest(text, OPTIONS.iter().map(|(name, _)| *name).chain(["backup"]))),
    }
}

fn balance(route: &mut RouteLine, balance: Balance) -> Result<(), String> {
    route.balance = balance;
    Ok(())
}

fn health(route: &mut RouteLine, words: &mut Words) -> Result<(), String> {
    let method = words.value(EXPECTED_CHECK)?;
    let path = words.value(EXPECTED_CHECK)?;
    let has_lower = method.bytes().any(|byte| byte.is_ascii_lowercase());
    if !is_token(method.as_bytes()) || has_lower || method == "CONNECT" {
        return Err(format!("health: expected a method such as GET, found {}", shown(&method)));
    }
    if !matches!(Target::parse(&method, path.as_bytes(), true), Ok(Target::Origin { .. })) {
        return Err(format!("health: expected a path such as /healthz, found {}", shown(&path)));
    }
    words.expect("every", "health GET /healthz every 5s")?;
    let every_ms = duration(&words.value("a time such as 5s")?)?;
    if every_ms < CHECK_EVERY_MS_MIN {
        return Err(format!("health: expected a time of at least {CHECK_EVERY_MS_MIN}ms between two checks"));
    }
    let (rise, fall) = RISE_AND_FALL;
    let timeout_ms = every_ms.min(CHECK_TIMEOUT_MS);
    let statuses = vec![WELL];
    let mut check =
        Check { method: method.into(), path: path.into(), every_ms, timeout_ms, rise, fall, statuses };
    let mut given = Vec::new();
    while let Some(option) = ["timeout", "rise", "fall", "status"].into_iter().find(|name| words.accept(name))
    {
        if given.contains(&option) {
            return Err(format!("health: {option} again: expected once"));
        }
        given.push(option);
        match option {
            "timeout" => check.timeout_ms = duration(&words.value("a time such as timeout 2s")?)?,
            "rise" => check.rise = number(&words.value("a number such as rise 2")?, 1, IN_A_ROW_MAX)? as u32,
            "fall" => check.fall = number(&words.value("a number such as fall 3")?, 1, IN_A_ROW_MAX)? as u32,
            _ => check.statuses = statuses_of(words)?,
        }
    }
    if check.timeout_ms > check.every_ms {
        return Err("health: expected a timeout that is no longer than the time between two checks".into());
    }
    route.check = Some(check);
    Ok(())
}

fn statuses_of(words: &mut Words) -> Result<Vec<(u16, u16)>, String> {
    let expected = "statuses such as 200-299,401";
    let status = |text: &str| number(text, 100, 599).map(|status| status as u16);
    let range = |text: String| {
        let (from, to) = text.split_once('-').unwrap_or((&text, &text));
        let range = status(from).ok().zip(status(to).ok()).filter(|(from, to)| from <= to);
        range.ok_or_else(|| format!("expected {expected}, found {}", shown(&text)))
    };
    words.list(expected)?.into_iter().map(range).collect()
}

fn host_field(route: &mut RouteLine, words: &mut Words) -> Result<(), String> {
    route.host_field = if words.accept("keep") {
        HostField::Keep
    } else if words.accept("rewrite") {
        HostField::Rewrite
    } else {
        return Err(format!("host: {}", words.unexpected("keep or rewrite")));
    };
    Ok(())
}

fn strip(route: &mut RouteLine, words: &mut Words) -> Result<(), String> {
    let text = words.value(EXPECTED_PREFIX)?;
    let prefix = prefix(&text).map_err(|message| format!("strip: {message}"))?;
    if !covers(&prefix, &route.prefix) {
        let own = String::from_utf8_lossy(&route.prefix);
        return Err(format!("strip: expected {own}/ or a beginning of it, found {}", shown(&text)));
    }
    route.strip = prefix;
    Ok(())
}

fn down_after(route: &mut RouteLine, words: &mut Words) -> Result<(), String> {
    let form = "down-after 3 in 10s for 10s";
    if words.accept("never") {
        route.passive.failures = 0;
        return Ok(());
    }
    let failures = number(&words.value("a number of failures, or never")?, 1, FAILURES_MAX)?;
    words.expect("in", form)?;
    let within_ms = duration(&words.value("a time such as 10s")?)?;
    words.expect("for", form)?;
    let down_ms = duration(&words.value("a time such as 10s")?)?;
    route.passive = PassiveRules { failures: failures as u32, within_ms, down_ms, on: route.passive.on };
    Ok(())
}

fn fail_on(route: &mut RouteLine, words: &mut Words) -> Result<(), String> {
    let expected = "some of connect,reset,timeout,502,503,504";
    let mut on = FailOn { connect: false, reset: false, timeout: false, statuses: [false; 3] };
    for text in words.list(expected)? {
        let place = match text.as_str() {
            "connect" => &mut on.connect,
            "reset" => &mut on.reset,
            "timeout" => &mut on.timeout,
            status => {
                let known = FAILING_STATUSES.iter().position(|known| known.to_string() == status);
                let at =
                    known.ok_or_else(|| format!("fail-on: expected {expected}, found {}", shown(&text)))?;
                &mut on.statuses[at]
            }
        };
        if std::mem::replace(place, true) {
            return Err(format!("fail-on: {text} again: expected each once"));
        }
    }
    route.passive.on = on;
    Ok(())
}
