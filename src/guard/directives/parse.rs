//! Reads the guard file. All faulty lines are reported at once, each with its first error.
//!
//! [`TABLE`] has every directive. A directive is kept with its canonical text ([`Place`]), and lines that repeat or
//! contradict an earlier one are errors that name it: of two limits with equal keys and scope, one would never decide.

use super::behaviour::behaviour;
use super::cloud_fetch::cloud_fetch;
use super::counting::{ban_after, escalate, limit};
use super::csrf::csrf;
use super::detect::{detect, exclude};
use super::draft::Draft;
use super::headers::{cors, csp, csp_report, header, headers, hsts};
use super::store_url::{check_url, has_password, is_redis_with_tls, without_secret};
use super::values::{
    duration, duration_or_ever, duration_text, network, networks, networks_text, number, provider,
    sorted_once, text, utc_offset, utc_offset_text, word_text,
};
use super::words::{Optional, PROBLEMS_MAX, Words, read_lines, shown};
use super::{
    BanFile, BanLine, CloudRule, CloudSide, Directives, EventsLine, OnFailure, Place, Problem, StoreLine,
    Trust, cloudflare,
};
use crate::guard::ban_file::too_many;
use crate::guard::networks::network_text;
use crate::http::fields::is_token;
use crate::nearest::{hint, nearest};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Most trusted networks (chosen): the presets have two dozen.
pub const TRUSTED_MAX: usize = 1024;

/// Deepest entry of X-Forwarded-For that can count (chosen).
const DEPTH_MAX: u64 = 32;

/// Most keys and bans (chosen): gigabytes.
const ENTRIES_MAX: u64 = 100_000_000;

/// Longest wait for a store (chosen): clients wait as long.
const DEADLINE_MS_MAX: u64 = 10_000;

/// How long a request waits for the store (guard semantics, section 3).
const DEADLINE_MS: u64 = 50;

/// The beginning of keys in a store that is shared with the reference library (guard semantics, section 3).
const STORE_PREFIX: &str = "guard_core:";

/// Types of events (guard semantics, section 12).
const EVENT_TYPES: [&str; 20] = [
    "ip_banned",
    "ip_unbanned",
    "ip_blocked",
    "penetration_attempt",
    "decorator_violation",
    "rate_limited",
    "rate_limit_script_reloaded",
    "cloud_blocked",
    "redis_connection",
    "redis_error",
    "security_headers_applied",
    "csp_violation",
    "behavioral_violation",
    "pattern_detected",
    "pattern_added",
    "pattern_removed",
    "pattern_anomaly_timeout",
    "pattern_anomaly_slow_execution",
    "pattern_anomaly_statistical_anomaly",
    "suspicious_request",
];

/// One kind of directive.
pub struct Directive {
    /// The first word.
    pub name: &'static str,
    /// The form.
    pub form: &'static str,
    read: fn(&mut Draft, &mut Words) -> Result<(), String>,
}

/// All directives.
pub const TABLE: &[Directive] = &[
    Directive {
        name: "trust",
        form: "trust NETWORK,...|cloudflare [depth N] [fields NAME,...]",
        read: trust,
    },
    Directive { name: "exempt", form: "exempt NETWORK,...", read: exempt },
    Directive {
        name: "limit",
        form: "limit N/DURATION per client[/PREFIX][+user][+host][+path][+method] [path PREFIX] [host PATTERN] \
               [methods NAME,...] [approximate] [observe]",
        read: limit,
    },
    Directive {
        name: "escalate",
        form: "escalate N/DURATION block DURATION after N [forever after N in DURATION] [per WHAT] [path PREFIX] \
               [host PATTERN] [methods NAME,...] [observe]",
        read: escalate,
    },
    Directive { name: "ban", form: "ban NETWORK [for DURATION|ever] [reason TEXT]", read: ban },
    Directive { name: "ban-file", form: "ban-file PATH [timezone +HH:MM]", read: ban_file },
    Directive {
        name: "ban-after",
        form: "ban-after limit|detect N in DURATION for DURATION|ever [observe]",
        read: ban_after,
    },
    Directive {
        name: "cloud",
        form: "cloud deny client|destination PROVIDER,... [except PROVIDER:REGION,...] [observe]; cloud refresh \
               DURATION|off; cloud source PROVIDER URL; cloud roots PATH; cloud change-max N",
        read: cloud,
    },
    Directive {
        name: "store",
        form: "store URL [on-failure local|open|closed] [deadline DURATION] [password-file PATH] [roots PATH] [prefix TEXT]",
        read: store,
    },
    Directive { name: "guard-keys", form: "guard-keys N", read: guard_keys },
    Directive { name: "bans-max", form: "bans-max N", read: bans_max },
    Directive { name: "events", form: "events PATH|unix:PATH [mute TYPE,...]", read: events },
    Directive { name: "rate-limit-fields", form: "rate-limit-fields", read: rate_limit_fields },
    Directive { name: "passive", form: "passive", read: passive },
    Directive { name: "headers", form: "headers on|own|off", read: headers },
    Directive {
        name: "header",
        form: "header NAME VALUE [overwrite|if-absent], or header off NAME",
        read: header,
    },
    Directive { name: "csp", form: "csp DIRECTIVE [SOURCE ...][; DIRECTIVE ...]|overwrite", read: csp },
    Directive {
        name: "hsts",
        form: "hsts max-age=N [include-subdomains] [preload], or hsts off",
        read: hsts,
    },
    Directive {
        name: "cors",
        form: "cors origins ORIGIN,...|* [methods NAME,...|*] [headers NAME,...|*] [expose NAME,...] [credentials] \
               [max-age DURATION] [overwrite]",
        read: cors,
    },
    Directive { name: "csp-report", form: "csp-report PATH", read: csp_report },
    Directive {
        name: "csrf",
        form: "csrf protect path PREFIX [host PATTERN] [session-cookie NAME] [observe], or csrf key-file PATH",
        read: csrf,
    },
    Directive {
        name: "behaviour",
        form: "behaviour usage N|frequency N/DURATION|return PATTERN N [in DURATION] [path PREFIX] [host PATTERN] \
               [methods NAME,...] [together] [action log|alert|ban|throttle] [for DURATION] [rate N/DURATION] \
               [correlate] [observe]",
        read: behaviour,
    },
    Directive {
        name: "detect",
        form: "detect block|observe; detect off CATEGORY,... [path PREFIX]; detect allow CATEGORY,... [path PREFIX] \
               [param NAME]; detect exhausted block|pass; detect pattern NAME REGEX",
        read: detect,
    },
    Directive { name: "exclude", form: "exclude PATH,...|none", read: exclude },
];

/// Reads a guard file: LF or CRLF, with or without a byte order mark.
pub fn parse(content: &[u8]) -> Result<Directives, Vec<Problem>> {
    let (directives, problems) = read(content, usize::MAX);
    if problems.is_empty() { Ok(directives) } else { Err(problems) }
}

/// Reads a guard file: the lines that are right, and the problems of the others. Bans beyond `bans_max`, or the number that
/// the file sets, are left out, and a warning says how many.
pub fn read(content: &[u8], bans_max: usize) -> (Directives, Vec<Problem>) {
    let mut draft = Draft::new(bans_max);
    let read = read_lines("guard", content, |line, text| {
        draft.line = line;
        read_line(&mut draft, text)
    });
    let mut problems = match read {
        Ok(problems) | Err(problems) => problems,
    };
    if draft.bans_left_out > 0 {
        // The line that allows more may be behind the bans.
        if let Some(more) = draft.directives.bans_max.filter(|more| *more > bans_max) {
            return self::read(content, more);
        }
        let message = too_many(draft.bans_left_out, draft.directives.bans.len());
        draft.directives.warnings.push(Problem { line: 0, message });
    }
    problems.extend(unbannable(&draft.directives));
    problems.sort_by_key(|problem| problem.line);
    problems.truncate(PROBLEMS_MAX + 1);
    (draft.directives, problems)
}

fn read_line(draft: &mut Draft, line: &[u8]) -> Result<(), String> {
    let mut words = Words::of(line)?;
    let Some(first) = words.peek().cloned() else { return Ok(()) };
    let directive = TABLE.iter().find(|directive| words.accept(directive.name));
    let Some(directive) = directive else {
        let near = nearest(&first.text, TABLE.iter().map(|directive| directive.name));
        let hint = hint(near);
        let names = TABLE.iter().map(|directive| directive.name).collect::<Vec<_>>().join(", ");
        return Err(format!("unknown directive {}: expected {names}{hint}", shown(&first.text)));
    };
    let first_lines = &mut draft.directives.first_lines;
    if !first_lines.iter().any(|(name, _)| *name == directive.name) {
        first_lines.push((directive.name, draft.line));
    }
    (directive.read)(draft, &mut words).map_err(|message| format!("{}: {message}", directive.name))
}

/// Bans of this machine and of trusted proxies would lock all clients out (guard semantics, section 4).
fn unbannable(directives: &Directives) -> Vec<Problem> {
    let loopback = [
        IpNet::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8),
        IpNet::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 128),
    ];
    let overlap = |one: &IpNet, other: &IpNet| one.contains(other) || other.contains(one);
    let mut problems = Vec::new();
    for ban in &directives.bans {
        let is_loopback = loopback.iter().flatten().any(|network| overlap(network, &ban.network));
        let is_trusted = |trust: &&Trust| trust.networks.iter().any(|network| overlap(network, &ban.network));
        let reason = match directives.trust.iter().find(is_trusted) {
            _ if is_loopback => "the addresses of this machine (127.0.0.0/8, ::1)".to_owned(),
            Some(trust) => format!("proxies that line {} trusts", trust.place.line),
            None => continue,
        };
        let message = format!("ban: {} has {reason}: expected a network without", network_text(ban.network));
        problems.push(Problem { line: ban.place.line, message });
    }
    problems
}

fn trust(draft: &mut Draft, words: &mut Words) -> Result<(), String> {
    let (mut networks, mut text, preset) = match words.accept("cloudflare") {
        true => (cloudflare::networks(), "trust cloudflare".to_owned(), cloudflare::FIELDS.as_slice()),
        false => (networks(words)?, String::new(), [].as_slice()),
    };
    if text.is_empty() {
        networks.sort();
        text = format!("trust {}", networks_text(&networks));
    }
    let mut trust = Trust { place: Place::default(), networks, depth: 1, fields: Vec::new() };
    words.options(
        &mut trust,
        &[
            ("depth", |trust, words| {
                trust.depth = number(&words.value("a number such as depth 1")?, 1, DEPTH_MAX)? as u8;
                Ok(())
            }),
            ("fields", |trust, words| {
                trust.fields = field_names(words)?;
                Ok(())
            }),
        ],
    )?;
    if trust.depth != 1 {
        text.push_str(&format!(" depth {}", trust.depth));
    }
    if !trust.fields.is_empty() {
        text.push_str(&format!(" fields {}", trust.fields.join(",")));
    } else {
        trust.fields = preset.iter().map(|name| (*name).into()).collect();
    }
    draft.networks_once("trust", &trust.networks)?;
    let trusted = draft.directives.trust.iter().map(|trust| trust.networks.len()).sum::<usize>();
    if trusted + trust.networks.len() > TRUSTED_MAX {
        return Err(format!("expected at most {TRUSTED_MAX} networks in all"));
    }
    trust.place = draft.place(text);
    draft.directives.trust.push(trust);
    Ok(())
}

/// Names of fields in order, in lower case.
fn field_names(words: &mut Words) -> Result<Vec<Box<str>>, String> {
    let expected = "names of fields such as X-Forwarded-For,X-Real-IP";
    let names = words.list(expected)?;
    if let Some(wrong) = names.iter().find(|name| !is_token(name.as_bytes())) {
        return Err(format!("expected {expected}, found {}", shown(wrong)));
    }
    let names: Vec<Box<str>> = names.into_iter().map(|name| name.to_ascii_lowercase().into()).collect();
    sorted_once(names.clone(), "field")?;
    Ok(names)
}

fn exempt(draft: &mut Draft, words: &mut Words) -> Result<(), String> {
    let mut found = networks(words)?;
    while words.peek().is_some() {
        found.extend(networks(words)?);
    }
    draft.networks_once("exempt", &found)?;
    let line = draft.line;
    draft.directives.exempt.extend(found.into_iter().map(|network| (network, line)));
    Ok(())
}

fn ban(draft: &mut Draft, words: &mut Words) -> Result<(), String> {
    let network = network(&words.value("an address or a network")?)?;
    let mut ban = BanLine { place: Place::default(), network, duration_ms: None, reason: "".into() };
    words.options(
        &mut ban,
        &[
            ("for", |ban, words| duration_or_ever(words).map(|duration_ms| ban.duration_ms = duration_ms)),
            ("reason", |ban, words| {
                text(words, "a reason, \"in quotes\" if it has blanks").map(|text| ban.reason = text)
            }),
        ],
    )?;
    if draft.directives.bans.len() >= draft.directives.bans_max.unwrap_or(draft.bans_max) {
        draft.bans_left_out += 1;
        return Ok(());
    }
    draft.networks_once("ban", &[network])?;
    let mut text = format!("ban {}", network_text(network));
    if let Some(duration_ms) = ban.duration_ms {
        text.push_str(&format!(" for {}", duration_text(duration_ms)));
    }
    if !ban.reason.is_empty() {
        text.push_str(&format!(" reason {}", word_text(&ban.reason)));
    }
    ban.place = draft.place(text);
    draft.directives.bans.push(ban);
    Ok(())
}

fn path(words: &mut Words) -> Result<String, String> {
    let expected = "a path, \"in quotes\" if it has blanks";
    let path = words.value(expected)?;
    if path.is_empty() { Err(format!("expected {expected}, found \"\"")) } else { Ok(path) }
}

fn ban_file(draft: &mut Draft, words: &mut Words) -> Result<(), String> {
    let path = path(words)?;
    let mut file = BanFile { place: Place::default(), path: path.clone().into(), utc_offset_s: 0 };
    words.options(
        &mut file,
        &[("timezone", |file, words| {
            file.utc_offset_s = utc_offset(&words.value("a time zone such as +02:00")?)?;
            Ok(())
        })],
    )?;
    let text = format!("ban-file {}", word_text(&path));
    draft.once(text.clone(), |line| format!("the same file again: expected once, and line {line} has it"))?;
    let zone = match file.utc_offset_s {
        0 => String::new(),
        offset => format!(" timezone {}", utc_offset_text(offset)),
    };
    file.place = draft.place(text + &zone);
    draft.directives.ban_files.push(file);
    Ok(())
}

fn cloud(draft: &mut Draft, words: &mut Words) -> Result<(), String> {
    if let Some(read) = cloud_fetch(draft, words) {
        return read;
    }
    let form = "cloud deny client aws,gcp except aws:eu-central-1";
    words.expect("deny", form)?;
    let (side, side_name) = match (words.accept("client"), words.accept("destination")) {
        (true, _) => (CloudSide::Client, "client"),
        (false, true) => (CloudSide::Destination, "destination"),
        (false, false) => return Err(words.unexpected("client or destination")),
    };
    let mut providers = Vec::new();
    for name in words.list("providers such as aws,gcp")? {
        let provider = provider(&name)?;
        if providers.iter().any(|(other, _)| *other == provider) {
            return Err(format!("{} again: expected each provider once", provider.name()));
        }
        providers.push((provider, Vec::new()));
    }
    providers.sort();
    let mut rule = CloudRule { place: Place::default(), side, providers, observe: false };
    words.options(
        &mut rule,
        &[
            ("except", |rule, words| except(rule, words)),
            ("observe", |rule, _| {
                rule.observe = true;
                Ok(())
            }),
        ],
    )?;
    for (provider, _) in &rule.providers {
        let (name, observe) = (provider.name(), rule.observe);
        draft.once(format!("cloud {side_name} {name} {observe}"), |line| {
            format!("{name} again: expected once for each side, and line {line} has it")
        })?;
    }
    rule.place = draft.place(cloud_text(&rule, side_name));
    draft.directives.clouds.push(rule);
    Ok(())
}

/// `PROVIDER:REGION,...`; each provider must be one that the line denies.
fn except(rule: &mut CloudRule, words: &mut Words) -> Result<(), String> {
    let expected = "regions with their provider such as aws:eu-central-1";
    for text in words.list(expected)? {
        let Some((name, region)) = text.split_once(':').filter(|(_, region)| is_token(region.as_bytes()))
        else {
            return Err(format!("expected {expected}, found {}", shown(&text)));
        };
        let excepted = provider(name)?;
        let Some((_, regions)) = rule.providers.iter_mut().find(|(provider, _)| *provider == excepted) else {
            return Err(format!("expected regions of the providers before except, found {}", shown(&text)));
        };
        regions.push(region.to_ascii_lowercase().into());
    }
    for (_, regions) in &mut rule.providers {
        *regions = sorted_once(std::mem::take(regions), "region")?;
    }
    Ok(())
}

fn cloud_text(rule: &CloudRule, side: &str) -> String {
    let providers: Vec<_> = rule.providers.iter().map(|(provider, _)| provider.name()).collect();
    let excepted: Vec<_> = rule
        .providers
        .iter()
        .flat_map(|(provider, regions)| regions.iter().map(|region| format!("{}:{region}", provider.name())))
        .collect();
    let except = if excepted.is_empty() { String::new() } else { format!(" except {}", excepted.join(",")) };
    let observe = if rule.observe { " observe" } else { "" };
    format!("cloud deny {side} {}{except}{observe}", providers.join(","))
}

fn store(draft: &mut Draft, words: &mut Words) -> Result<(), String> {
    let url = words.value("the URL of a store such as redis://127.0.0.1:6379")?;
    check_url(&url)?;
    let mut line = StoreLine {
        place: Place::default(),
        url: url.into(),
        password_file: None,
        roots: None,
        prefix: STORE_PREFIX.into(),
        deadline_ms: DEADLINE_MS,
        on_failure: OnFailure::default(),
    };
    let known: [Optional<StoreLine>; 5] = [
        ("on-failure", |line, words| on_failure(words).map(|on_failure| line.on_failure = on_failure)),
        ("deadline", |line, words| {
            line.deadline_ms = duration(&words.value("a time such as 50ms")?)?;
            match line.deadline_ms {
                ..=DEADLINE_MS_MAX => Ok(()),
                _ => Err("expected a deadline of at most 10s: clients wait as long".into()),
            }
        }),
        ("password-file", |line, words| path(words).map(|path| line.password_file = Some(path.into()))),
        ("roots", |line, words| path(words).map(|path| line.roots = Some(path.into()))),
        ("prefix", |line, words| {
            text(words, "a text such as guard_core:").map(|prefix| line.prefix = prefix)
        }),
    ];
    words.options(&mut line, &known)?;
    if line.password_file.is_some() && has_password(&line.url) {
        return Err("a password in the URL and a password-file: expected one of the two".into());
    }
    if line.roots.is_some() && !is_redis_with_tls(&line.url) {
        let expected = "expected a URL of Redis with TLS beside roots: rediss:// or rediss-cluster:// or rediss-sentinel://";
        return Err(expected.into());
    }
    draft.single("store")?;
    line.place = draft.place(store_text(&line));
    draft.directives.store = Some(line);
    Ok(())
}

fn on_failure(words: &mut Words) -> Result<OnFailure, String> {
    match (words.accept("local"), words.accept("open"), words.accept("closed")) {
        (true, _, _) => Ok(OnFailure::Local),
        (_, true, _) => Ok(OnFailure::Open),
        (_, _, true) => Ok(OnFailure::Closed),
        (false, false, false) => Err(words.unexpected("local, open or closed")),
    }
}

fn store_text(line: &StoreLine) -> String {
    let on_failure = match line.on_failure {
        OnFailure::Local => "local",
        OnFailure::Open => "open",
        OnFailure::Closed => "closed",
    };
    let mut text = format!(
        "store {} on-failure {on_failure} deadline {}",
        word_text(&without_secret(&line.url)),
        duration_text(line.deadline_ms)
    );
    if let Some(path) = &line.password_file {
        text.push_str(&format!(" password-file {}", word_text(&path.to_string_lossy())));
    }
    if let Some(path) = &line.roots {
        text.push_str(&format!(" roots {}", word_text(&path.to_string_lossy())));
    }
    text.push_str(&format!(" prefix {}", word_text(&line.prefix)));
    text
}

fn entries(words: &mut Words) -> Result<usize, String> {
    let count = number(&words.value("a number such as 1000000")?, 1, ENTRIES_MAX)?;
    words.end()?;
    Ok(count as usize)
}

fn guard_keys(draft: &mut Draft, words: &mut Words) -> Result<(), String> {
    let count = entries(words)?;
    draft.directives.keys_max = Some(count);
    draft.single("guard-keys")
}

fn bans_max(draft: &mut Draft, words: &mut Words) -> Result<(), String> {
    let count = entries(words)?;
    draft.directives.bans_max = Some(count);
    draft.single("bans-max")
}

fn events(draft: &mut Draft, words: &mut Words) -> Result<(), String> {
    let given = path(words)?;
    let (path, socket) = given.strip_prefix("unix:").map_or((given.as_str(), false), |path| (path, true));
    if path.is_empty() {
        return Err("expected a path behind unix:, found none".into());
    }
    let mut line = EventsLine { place: Place::default(), path: path.into(), socket, muted: Vec::new() };
    words.options(&mut line, &[("mute", |line, words| muted(words).map(|muted| line.muted = muted))])?;
    draft.single("events")?;
    let mute = if line.muted.is_empty() { String::new() } else { format!(" mute {}", line.muted.join(",")) };
    line.place = draft.place(format!("events {}{mute}", word_text(&given)));
    draft.directives.events = Some(line);
    Ok(())
}

fn muted(words: &mut Words) -> Result<Vec<Box<str>>, String> {
    let mut muted: Vec<Box<str>> = Vec::new();
    for name in words.list("types of events such as rate_limited")? {
        if !EVENT_TYPES.contains(&name.as_str()) {
            // The look-up knows hyphens only.
            let spelled = EVENT_TYPES.map(|known| known.replace('_', "-"));
            let near = nearest(&name, spelled.iter().map(String::as_str)).map(|near| near.replace('-', "_"));
            let hint = hint(near.as_deref());
            let names = EVENT_TYPES.join(", ");
            return Err(format!("unknown type of event {}: expected {names}{hint}", shown(&name)));
        }
        muted.push(name.into());
    }
    sorted_once(muted, "type")
}

fn rate_limit_fields(draft: &mut Draft, words: &mut Words) -> Result<(), String> {
    words.end()?;
    draft.directives.rate_limit_fields = true;
    draft.single("rate-limit-fields")
}

fn passive(draft: &mut Draft, words: &mut Words) -> Result<(), String> {
    words.end()?;
    draft.directives.passive = true;
    draft.single("passive")
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
