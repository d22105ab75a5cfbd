//! The text of rule files: weir's own lines, hosts files, and Adblock-style domain lines.
//!
//! Each line stands alone. A line that cannot be applied exactly is not guessed at: a list that blocks more or less
//! than its author wrote is worse than one with a reported line. The treatment of such a line depends on the kind of
//! file:
//!
//! - A line for ad blockers that only a browser can apply (`@@`, `##`, `/pattern/`, `||name^$script`) is skipped and
//!   counted, in any file.
//! - In a file for other programs every other line that is no rule is skipped and counted, too. Such a file is
//!   recognized by its first line that is no `#` comment: `[Adblock`, a comment with `!`, a rule with `||` or `@@`, or
//!   a line of a hosts file.
//! - In any other file, and in an option, such a line is an error.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::port_set::PortRange;
use crate::http::idna;
use crate::http::target::{Host, Name};

/// Longest line of a rule file in bytes, without its end (chosen: hosts files put several names on one line).
pub const LINE_BYTES_MAX: usize = 4096;

/// Most errors that are kept for one file; the last one says that reading stopped (chosen).
pub const ERRORS_MAX: usize = 1000;

/// Most characters of an invalid line that an error shows (chosen).
const FOUND_CHARS_MAX: usize = 80;

const EXPECTED_RULE: &str = "a name, *.name, .name, address or network, with an optional :port or :port-port";
const EXPECTED_NAME: &str =
    "a host name: labels of 1 to 63 letters, digits, hyphens and underscores, at most 253 bytes";
const EXPECTED_ADDRESS: &str = "an address in its usual form: four decimal numbers, or IPv6";
const EXPECTED_PREFIX: &str = "a network without bits behind its prefix: 10.0.0.0/8, not 10.1.2.3/8";
const EXPECTED_NETWORK: &str = "a network: an address, a slash, and 0 to 32 (IPv4) or 0 to 128 (IPv6)";
const EXPECTED_NO_PATH: &str = "a host or a network: no URL, scheme or path";
const EXPECTED_PORTS: &str = "a port or a range of ports after the colon, 1 to 65535";
const EXPECTED_WILDCARD: &str = "a wildcard only as the whole first label: *.name";
const EXPECTED_HOSTS: &str = "one rule, or a hosts line that begins with 0.0.0.0, 127.0.0.1, :: or ::1";
const EXPECTED_ADBLOCK: &str = "an Adblock rule for a whole host: ||name^";
const EXPECTED_OPTIONS: &str =
    "an Adblock rule with no modifiers but all and important: with others it is for some requests only";
const EXPECTED_NO_EXCEPTION: &str = "no Adblock exception (@@): a refusal cannot be lifted by another line";
const EXPECTED_NO_NEGATION: &str = "no negation (!): a line cannot take back what another line says";
const EXPECTED_NO_HIDING: &str = "no element-hiding rule (##): weir sees hosts, not pages";
const EXPECTED_NO_PATTERN: &str = "no pattern or path of URLs: weir refuses hosts, not pages";
const EXPECTED_ALWAYS: &str = "no rule that is for some browsers only (!#if)";
const EXPECTED_SHORT: &str = "a line of at most 4096 bytes";
const EXPECTED_UTF8: &str = "UTF-8 text";
const EXPECTED_FEWER: &str = "fewer than 1000 bad lines: the rest was not read";

/// Names at the beginning of every hosts file; a line with them is no request to refuse these names.
const BOILERPLATE: [&str; 14] = [
    "localhost",
    "localhost.localdomain",
    "localhost4",
    "localhost6",
    "local",
    "broadcasthost",
    "ip6-localhost",
    "ip6-loopback",
    "ip6-localnet",
    "ip6-mcastprefix",
    "ip6-allnodes",
    "ip6-allrouters",
    "ip6-allhosts",
    "0.0.0.0",
];

/// The names that a domain rule covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameKind {
    /// `example.com`: that name.
    Exact,
    /// `*.ads.com`: all names below it at any depth, without itself.
    Below,
    /// `.ads.com`: the name itself and all names below it.
    ApexAndBelow,
}

impl NameKind {
    /// Whether a rule of this kind for the name `own` covers a name.
    pub(super) fn covers(self, own: &[u8], name: &[u8]) -> bool {
        let below = || name.strip_suffix(own).is_some_and(|rest| rest.last() == Some(&b'.'));
        match self {
            NameKind::Exact => own == name,
            NameKind::Below => below(),
            NameKind::ApexAndBelow => own == name || below(),
        }
    }

    /// The text before the name.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            NameKind::Exact => "",
            NameKind::Below => "*.",
            NameKind::ApexAndBelow => ".",
        }
    }
}

/// The hosts of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
// One pattern exists at a time, on the stack of the reader: a box would cost more than the bytes it saves.
#[allow(clippy::large_enum_variant)]
pub enum Pattern {
    /// Names.
    Name(NameKind, Name),
    /// Addresses, with no host bits set; IPv4-mapped networks are IPv4.
    Network(IpNet),
}

/// One rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The hosts that the rule covers.
    pub pattern: Pattern,
    /// The ports that the rule is limited to.
    pub ports: Option<PortRange>,
}

/// A line that is no rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// Counted from 1.
    pub line: u32,
    /// The line, shortened; control characters are escaped.
    pub found: String,
    /// The text that is valid in this place.
    pub expected: &'static str,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, found \"{}\"", self.expected, self.found)
    }
}

impl Rule {
    /// Reads one rule, without comments, hosts or Adblock forms. The error says what was expected.
    pub fn parse(text: &str) -> Result<Rule, &'static str> {
        // Most lines are a name alone, and one pass recognizes them.
        let count = |wanted: u8| text.bytes().filter(|&byte| byte == wanted).count();
        let (colons, slashes) = (count(b':'), count(b'/'));
        if slashes >= 2 {
            return Err(EXPECTED_NO_PATH);
        }
        if let Some(rest) = text.strip_prefix('[') {
            return parse_bracketed(rest);
        }
        if colons >= 2 {
            return Ok(Rule { pattern: parse_network(text)?, ports: None });
        }
        let (host, ports) =
            match memchr::memchr(b':', text.as_bytes()).map(|at| (&text[..at], &text[at + 1..])) {
                Some((host, ports)) => (host, Some(PortRange::parse(ports).ok_or(EXPECTED_PORTS)?)),
                None => (text, None),
            };
        if slashes > 0 {
            if !host.split_once('/').is_some_and(|(address, _)| ends_in_number(address)) {
                return Err(EXPECTED_NO_PATH);
            }
            return Ok(Rule { pattern: parse_network(host)?, ports });
        }
        let (kind, name) = match host.strip_prefix("*.") {
            Some(rest) => (NameKind::Below, rest),
            None => match host.strip_prefix('.') {
                Some(rest) => (NameKind::ApexAndBelow, rest),
                None => (NameKind::Exact, host),
            },
        };
        if count(b'*') > usize::from(matches!(kind, NameKind::Below)) {
            return Err(EXPECTED_WILDCARD);
        }
        if name.is_empty() {
            return Err(EXPECTED_RULE);
        }
        if ends_in_number(name) {
            let whole = matches!(kind, NameKind::Exact);
            return if whole {
                Ok(Rule { pattern: parse_network(host)?, ports })
            } else {
                Err(EXPECTED_NAME)
            };
        }
        Ok(Rule { pattern: Pattern::Name(kind, parse_name(name)?), ports })
    }

    /// Whether the rule covers this host and port. For a few rules; the sets are for many.
    pub fn matches(&self, host: &Host, port: u16) -> bool {
        self.ports.is_none_or(|ports| ports.contains(port)) && self.pattern.matches(host)
    }
}

impl Pattern {
    /// Whether the pattern covers this host. Names are not resolved.
    pub fn matches(&self, host: &Host) -> bool {
        match (self, host) {
            (Pattern::Network(network), Host::Address(address)) => network.contains(&address.to_canonical()),
            (Pattern::Name(kind, own), Host::Name(name)) => kind.covers(own.as_bytes(), name.as_bytes()),
            (Pattern::Network(_), Host::Name(_)) | (Pattern::Name(..), Host::Address(_)) => false,
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Name(kind, name) => write!(f, "{}{name}", kind.prefix()),
            Pattern::Network(network) if network.prefix_len() == network.max_prefix_len() => {
                write!(f, "{}", network.addr())
            }
            Pattern::Network(network) => write!(f, "{network}"),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.ports, &self.pattern) {
            (None, pattern) => write!(f, "{pattern}"),
            (Some(ports), Pattern::Network(IpNet::V6(_))) => write!(f, "[{}]:{ports}", self.pattern),
            (Some(ports), pattern) => write!(f, "{pattern}:{ports}"),
        }
    }
}

/// The lines of a file that gave no rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnusedLines {
    /// Invalid lines, at most [`ERRORS_MAX`].
    pub errors: Vec<RuleError>,
    /// Lines that only a browser can apply: element hiding, exceptions, paths, patterns, rules for some requests
    /// only.
    pub skipped: u32,
    /// The first skipped line.
    pub first_skipped: Option<RuleError>,
}

/// The reason why a line gives no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NoRule {
    /// A line for ad blockers that a proxy cannot apply.
    ForBrowsers(&'static str),
    /// An invalid line, or one for another program.
    Malformed(&'static str),
    /// A rule that no room is left for.
    NoRoom(&'static str),
}

use crate::words;
use NoRule::{ForBrowsers, Malformed, NoRoom};

impl NoRule {
    fn expected(self) -> &'static str {
        match self {
            ForBrowsers(expected) | Malformed(expected) | NoRoom(expected) => expected,
        }
    }
}

/// Takes a rule, or refuses it with an expectation.
type RuleSink<'a> = &'a mut dyn FnMut(&Rule) -> Result<(), &'static str>;

/// Reads the value of an option: one line in any form that a file may have. A line without a rule is an error.
pub fn parse_one(
    text: &str,
    mut each: impl FnMut(&Rule) -> Result<(), &'static str>,
) -> Result<(), RuleError> {
    let mut any = false;
    let outcome = parse_line(text, &mut |rule| {
        any = true;
        each(rule)
    });
    let expected = match outcome {
        Ok(()) if any => return Ok(()),
        Ok(()) => EXPECTED_RULE,
        Err(unfit) => unfit.expected(),
    };
    Err(RuleError { line: 1, found: excerpt(text.as_bytes()), expected })
}

/// Reads a file and hands each rule and its line to `each`, which may refuse it with an expectation.
pub fn parse_rules(text: &[u8], mut each: impl FnMut(u32, &Rule) -> Result<(), &'static str>) -> UnusedLines {
    let text = words::without_mark(text);
    let is_foreign_list = is_foreign_list(text);
    let mut unread = UnusedLines::default();
    // Lines between `!#if` and `!#endif` apply to some browsers only.
    let mut conditions = 0u32;
    let mut line = 0u32;
    let mut rest = Some(text);
    while let Some(text) = rest {
        let (bytes, after) = match memchr::memchr(b'\n', text) {
            Some(end) => (&text[..end], Some(&text[end + 1..])),
            None => (text, None),
        };
        rest = after;
        line = line.saturating_add(1);
        conditions = match directive(bytes) {
            Some(Directive::If) => conditions.saturating_add(1),
            Some(Directive::EndIf) => conditions.saturating_sub(1),
            None => conditions,
        };
        let outcome = if bytes.len() > LINE_BYTES_MAX {
            Err(Malformed(EXPECTED_SHORT))
        } else {
            match std::str::from_utf8(bytes) {
                Ok(text) if conditions > 0 => match parse_line(text, &mut |_| Err(EXPECTED_ALWAYS)) {
                    Err(NoRoom(expected)) => Err(ForBrowsers(expected)),
                    other => other,
                },
                Ok(text) if is_foreign_list && is_generic_hiding(text) => {
                    Err(ForBrowsers(EXPECTED_NO_HIDING))
                }
                Ok(text) if is_foreign_list && text.trim_ascii_start().starts_with('!') => Ok(()),
                Ok(text) => parse_line(text, &mut |rule| each(line, rule)),
                Err(_) => Err(Malformed(EXPECTED_UTF8)),
            }
        };
        let expected = match outcome {
            Ok(()) => continue,
            Err(ForBrowsers(expected)) => {
                unread.skip(line, bytes, expected);
                continue;
            }
            Err(Malformed(expected)) if is_foreign_list => {
                unread.skip(line, bytes, expected);
                continue;
            }
            Err(Malformed(expected) | NoRoom(expected)) => expected,
        };
        let full = unread.errors.len() + 1 == ERRORS_MAX;
        let expected = if full { EXPECTED_FEWER } else { expected };
        unread.errors.push(RuleError { line, found: excerpt(bytes), expected });
        if full {
            break;
        }
    }
    unread
}

impl UnusedLines {
    fn skip(&mut self, line: u32, bytes: &[u8], expected: &'static str) {
        self.skipped = self.skipped.saturating_add(1);
        self.first_skipped.get_or_insert_with(|| RuleError { line, found: excerpt(bytes), expected });
    }
}

/// Whether the first line that is no `#` comment shows a list for browsers or a hosts file.
fn is_foreign_list(text: &[u8]) -> bool {
    let mut lines = text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    let first = lines.find(|line| !line.is_empty() && line[0] != b'#');
    let Some(line) = first.filter(|line| line.len() <= LINE_BYTES_MAX) else { return false };
    let Ok(line) = std::str::from_utf8(line) else { return false };
    let is_hosts_line =
        || line.contains(|c: char| c.is_ascii_whitespace()) && parse_line(line, &mut |_| Ok(())).is_ok();
    let is_marked = || ["!", "||", "@@"].iter().any(|mark| line.starts_with(mark)) && !is_negation(line);
    is_marked() || is_adblock_header(line) || is_hosts_line()
}

/// A pre-processor directive of ad blockers.
enum Directive {
    If,
    EndIf,
}

fn directive(line: &[u8]) -> Option<Directive> {
    let rest = line.trim_ascii().strip_prefix(b"!#")?;
    if rest.starts_with(b"if") {
        Some(Directive::If)
    } else {
        rest.starts_with(b"endif").then_some(Directive::EndIf)
    }
}

fn parse_line(text: &str, each: RuleSink<'_>) -> Result<(), NoRule> {
    let text = text.trim_ascii();
    let bytes = text.as_bytes();
    if is_negation(text) {
        return Err(Malformed(EXPECTED_NO_NEGATION));
    }
    if bytes.first().is_none_or(|&byte| byte == b'#' || byte == b'!') || is_adblock_header(text) {
        return Ok(());
    }
    let text = match memchr::memchr(b'#', bytes) {
        Some(at) if is_element_hiding(bytes, at) => return Err(ForBrowsers(EXPECTED_NO_HIDING)),
        Some(at) => text[..at].trim_ascii_end(),
        None => text,
    };
    if let Some(rest) = text.strip_prefix("||") {
        return each(&parse_adblock(rest).map_err(ForBrowsers)?).map_err(NoRoom);
    }
    match bytes[0] {
        b'@' if text.starts_with("@@") => return Err(ForBrowsers(EXPECTED_NO_EXCEPTION)),
        b'|' => return Err(ForBrowsers(EXPECTED_ADBLOCK)),
        b'/' if !text.starts_with("//") => return Err(ForBrowsers(EXPECTED_NO_PATTERN)),
        _ => {}
    }
    match text.bytes().position(|byte| byte.is_ascii_whitespace()) {
        Some(blank) => parse_hosts(&text[..blank], &text[blank..], each),
        None => each(&Rule::parse(text).map_err(Malformed)?).map_err(NoRoom),
    }
}

/// `!name`, which other programs read as an exception. A comment of ad blockers is no rule behind its mark, or one word without a dot.
fn is_negation(text: &str) -> bool {
    let is_no_word = |rest: &&str| rest.contains(['.', '*', '/', ':']);
    text.strip_prefix('!').filter(is_no_word).is_some_and(|rest| Rule::parse(rest).is_ok())
}

/// `[Adblock Plus 2.0]` and its like; a rule in brackets is an IPv6 address.
fn is_adblock_header(text: &str) -> bool {
    text.starts_with('[') && text.ends_with(']') && text.to_ascii_lowercase().contains("adblock")
}

/// `name##selector`, `name#@#...`, `name#?#...`, `name#$#...`: read as comments they would block the whole site.
fn is_element_hiding(bytes: &[u8], at: usize) -> bool {
    let attached = at > 0 && !bytes[at - 1].is_ascii_whitespace();
    attached
        && match bytes.get(at + 1) {
            Some(b'#') => true,
            Some(b'@' | b'?' | b'$' | b'%') => bytes[at + 2..].contains(&b'#'),
            Some(_) | None => false,
        }
}

/// `##selector`, for the pages of all hosts. In weir's own lists it is a comment.
fn is_generic_hiding(text: &str) -> bool {
    let text = text.trim_ascii();
    let rest = text.trim_start_matches('#');
    let marks = text.len() - rest.len();
    let exception = ["@#", "?#", "$#", "%#"].iter().any(|mark| rest.starts_with(mark));
    let selector = |c: char| c.is_ascii_alphabetic() || (marks == 2 && ".[*:".contains(c));
    (marks == 1 && exception) || (matches!(marks, 2 | 3) && rest.starts_with(selector))
}

fn parse_adblock(rest: &str) -> Result<Rule, &'static str> {
    let (host, options) = rest.split_once('^').ok_or(EXPECTED_ADBLOCK)?;
    if let Some(options) = options.strip_prefix('$') {
        // All other options narrow the rule to some requests. A proxy cannot tell scripts from images, or third
        // parties from first ones, so it would block more than the line says.
        if !options.split(',').all(|option| matches!(option, "all" | "important")) {
            return Err(EXPECTED_OPTIONS);
        }
    } else if !matches!(options, "" | "*") {
        return Err(EXPECTED_ADBLOCK);
    }
    let rule = Rule::parse(host)?;
    match rule.pattern {
        Pattern::Name(NameKind::Exact, name) => {
            Ok(Rule { pattern: Pattern::Name(NameKind::ApexAndBelow, name), ..rule })
        }
        Pattern::Name(NameKind::Below, _) | Pattern::Network(_) => Ok(rule),
        Pattern::Name(NameKind::ApexAndBelow, _) => Err(EXPECTED_ADBLOCK),
    }
}

fn parse_hosts(address: &str, names: &str, each: RuleSink<'_>) -> Result<(), NoRule> {
    let without_zone = address.split_once('%').map_or(address, |(address, _)| address);
    let address: IpAddr = without_zone.parse().map_err(|_| Malformed(EXPECTED_HOSTS))?;
    let names = names.split_ascii_whitespace();
    let mut names = names.filter(|name| !BOILERPLATE.iter().any(|known| known.eq_ignore_ascii_case(name)));
    if !(address.is_unspecified() || address.is_loopback()) {
        return names.next().map_or(Ok(()), |_| Err(Malformed(EXPECTED_HOSTS)));
    }
    names.try_for_each(|name| {
        if ends_in_number(name) {
            return Err(Malformed(EXPECTED_NAME));
        }
        let name = parse_name(name).map_err(Malformed)?;
        each(&Rule { pattern: Pattern::Name(NameKind::Exact, name), ports: None }).map_err(NoRoom)
    })
}

/// Reads the text behind a `[`: `v6]`, `v6/len]`, `v6]/len`, each with an optional port.
fn parse_bracketed(rest: &str) -> Result<Rule, &'static str> {
    let (inside, after) = rest.split_once(']').ok_or(EXPECTED_ADDRESS)?;
    if !inside.contains(':') {
        return Err(EXPECTED_ADDRESS);
    }
    let (length, ports) = match after.split_once(':') {
        Some((length, ports)) => (length, Some(PortRange::parse(ports).ok_or(EXPECTED_PORTS)?)),
        None => (after, None),
    };
    let pattern = match length {
        "" => parse_network(inside)?,
        _ if length.starts_with('/') && !inside.contains('/') => parse_network(&format!("{inside}{length}"))?,
        _ => return Err(EXPECTED_NETWORK),
    };
    Ok(Rule { pattern, ports })
}

fn parse_network(text: &str) -> Result<Pattern, &'static str> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(parse_length(length).ok_or(EXPECTED_NETWORK)?)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| EXPECTED_ADDRESS)?;
    let network = match address {
        IpAddr::V4(v4) => IpNet::V4(Ipv4Net::new(v4, length.unwrap_or(32)).map_err(|_| EXPECTED_NETWORK)?),
        IpAddr::V6(v6) => canonical_v6(v6, length.unwrap_or(128))?,
    };
    if network.addr() != network.network() {
        return Err(EXPECTED_PREFIX);
    }
    Ok(Pattern::Network(network))
}

fn parse_length(text: &str) -> Option<u8> {
    let digits = (1..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// A network in the form in which addresses are judged: one of IPv4-mapped addresses is one of IPv4.
pub fn canonical(network: IpNet) -> IpNet {
    match network {
        IpNet::V4(_) => network,
        IpNet::V6(v6) => canonical_v6(v6.network(), v6.prefix_len()).unwrap_or(network),
    }
}

/// Addresses are judged in canonical form, so a network of IPv4-mapped addresses must become one of IPv4 to match
/// any.
fn canonical_v6(address: Ipv6Addr, length: u8) -> Result<IpNet, &'static str> {
    if let (Some(v4), Some(v4_length)) = (address.to_ipv4_mapped(), length.checked_sub(96)) {
        return Ipv4Net::new(v4, v4_length).map(IpNet::V4).map_err(|_| EXPECTED_NETWORK);
    }
    Ipv6Net::new(address, length).map(IpNet::V6).map_err(|_| EXPECTED_NETWORK)
}

/// Whether a URL parser would read this as an IPv4 address (WHATWG URL 3.5, "ends in a number"). No host name does.
fn ends_in_number(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).as_bytes();
    let label = name.rsplit(|&byte| byte == b'.').next().unwrap_or_default();
    let hex = label.strip_prefix(b"0x").or_else(|| label.strip_prefix(b"0X"));
    match hex {
        Some(digits) => digits.iter().all(u8::is_ascii_hexdigit),
        None => !label.is_empty() && label.iter().all(u8::is_ascii_digit),
    }
}

fn parse_name(text: &str) -> Result<Name, &'static str> {
    if text.is_ascii() {
        return Name::parse(text.as_bytes()).map_err(|_| EXPECTED_NAME);
    }
    let ascii = idna::to_ascii(text)?;
    if ends_in_number(&ascii) {
        return Err(EXPECTED_ADDRESS);
    }
    Name::parse(ascii.as_bytes()).map_err(|_| EXPECTED_NAME)
}

fn excerpt(bytes: &[u8]) -> String {
    let head = &bytes[..bytes.len().min(4 * FOUND_CHARS_MAX)];
    let text = String::from_utf8_lossy(head);
    let text = text.trim();
    let mut shown = String::new();
    for c in text.chars().take(FOUND_CHARS_MAX) {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    if text.chars().nth(FOUND_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
