//! Events of the guard with the fields of section 12, a bounded ring of them, and their form as lines of JSON.
//!
//! Each reader of the ring (a file, a socket, an operator) has its own cursor. A reader that is too slow loses the oldest
//! events and gets their number: no reader delays the loops.

use crate::http::date::civil;
use crate::http::path;
use crate::text::{is_visible, json_text, shortened};
use crate::time::Now;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

/// Longest text of an event in bytes; the rest is dropped (chosen: a long URL).
pub const TEXT_BYTES_MAX: usize = 2048;

/// Bytes that the allocator takes for a piece beside its content (glibc: 8, and 16 at a time).
const PIECE_BYTES: usize = 16;

/// Replaces a secret.
pub(super) const REDACTED: &str = "[redacted]";

/// Fields whose whole value is a secret (section 12).
const SECRET_FIELDS: [&str; 6] =
    ["authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "purge-token"];

/// A name that contains one of these has a secret as its value (section 12, and names of keys and sessions).
const SECRET_WORDS: [&str; 16] = [
    "token",
    "password",
    "passwd",
    "secret",
    "api_key",
    "apikey",
    "api-key",
    "signature",
    "credential",
    "private_key",
    "privatekey",
    "private-key",
    "sessionid",
    "session_id",
    "session-id",
    "sessid",
];

/// Names whose value is a secret, and that are parts of other words: `sig` of `design`, `auth` of `author`.
const SECRET_NAMES: [&str; 7] = ["auth", "jwt", "pass", "pwd", "session", "sid", "sig"];

/// The types of events that this part of the guard has (section 12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum EventType {
    /// An address or a network was banned.
    IpBanned,
    /// A ban was removed.
    IpUnbanned,
    /// A request of a banned client was refused.
    IpBlocked,
    /// A request beyond a limit.
    RateLimited,
    /// An address of a cloud.
    CloudBlocked,
    /// The shared store was reached, or left.
    RedisConnection,
    /// The shared store failed.
    RedisError,
    /// The script of the store was loaded again.
    RateLimitScriptReloaded,
    /// A client gave an address that no trusted proxy vouches for.
    SuspiciousRequest,
    /// A browser has reported a violation of a content security policy.
    CspViolation,
    /// A behaviour rule.
    BehavioralViolation,
    /// A request without the token that its path needs.
    DecoratorViolation,
    /// An attack was found in a request.
    PatternDetected,
}

impl EventType {
    /// All types.
    pub const ALL: [EventType; 13] = [
        EventType::IpBanned,
        EventType::IpUnbanned,
        EventType::IpBlocked,
        EventType::RateLimited,
        EventType::CloudBlocked,
        EventType::RedisConnection,
        EventType::RedisError,
        EventType::RateLimitScriptReloaded,
        EventType::SuspiciousRequest,
        EventType::CspViolation,
        EventType::BehavioralViolation,
        EventType::DecoratorViolation,
        EventType::PatternDetected,
    ];

    /// The type of that name.
    pub fn of_name(name: &str) -> Option<EventType> {
        EventType::ALL.into_iter().find(|kind| kind.words().0 == name)
    }

    /// The words of section 12 for the type and its handler.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            EventType::IpBanned => ("ip_banned", "ip_ban"),
            EventType::IpUnbanned => ("ip_unbanned", "ip_ban"),
            EventType::IpBlocked => ("ip_blocked", "middleware"),
            EventType::RateLimited => ("rate_limited", "rate_limit"),
            EventType::CloudBlocked => ("cloud_blocked", "cloud"),
            EventType::RedisConnection => ("redis_connection", "redis"),
            EventType::RedisError => ("redis_error", "redis"),
            EventType::RateLimitScriptReloaded => ("rate_limit_script_reloaded", "rate_limit"),
            EventType::SuspiciousRequest => ("suspicious_request", "ip_extraction"),
            EventType::CspViolation => ("csp_violation", "security_headers"),
            EventType::DecoratorViolation => ("decorator_violation", "middleware"),
            EventType::PatternDetected => ("pattern_detected", "sus_patterns"),
            EventType::BehavioralViolation => ("behavioral_violation", "behavior"),
        }
    }
}

/// One event. Texts may contain secrets, and bytes of clients: [`Event::json`] removes and escapes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it happened, microseconds since 1970 UTC.
    pub unix_us: u64,
    /// The type of the event.
    pub kind: EventType,
    /// The client; `None` is an event of weir's own, `system`.
    pub client: Option<IpAddr>,
    /// The action: `banned`, `request_blocked`, ...
    pub action: &'static str,
    /// Why.
    pub reason: String,
    /// The method of the request, or empty.
    pub method: String,
    /// The target of the request, or empty.
    pub endpoint: String,
    /// The field User-Agent, or empty.
    pub user_agent: String,
    /// Time from the arrival of the request to the decision, in microseconds, if there was a request.
    pub response_time_us: Option<u64>,
    /// The directive as in the guard file, or empty.
    pub rule: String,
    /// Further fields of the type.
    pub metadata: Vec<(&'static str, String)>,
}

impl Event {
    /// An event of this moment, without texts.
    pub fn new(now: Now, kind: EventType, client: Option<IpAddr>, action: &'static str) -> Event {
        let [reason, method, endpoint, user_agent, rule] = [const { String::new() }; 5];
        let (unix_us, metadata) = (now.unix_us, Vec::new());
        let response_time_us = None;
        Event {
            unix_us,
            kind,
            client,
            action,
            reason,
            method,
            endpoint,
            user_agent,
            response_time_us,
            rule,
            metadata,
        }
    }

    /// Shortens all texts, which clients may have made long.
    fn shorten_texts(&mut self) {
        let texts =
            [&mut self.reason, &mut self.method, &mut self.endpoint, &mut self.user_agent, &mut self.rule];
        for text in texts.into_iter().chain(self.metadata.iter_mut().map(|(_, text)| text)) {
            text.truncate(shortened(text, TEXT_BYTES_MAX).len());
            text.shrink_to_fit();
        }
    }

    /// Bytes of memory, with an estimate of the allocator's own.
    fn heap_bytes(&self) -> usize {
        let texts = [&self.reason, &self.method, &self.endpoint, &self.user_agent, &self.rule];
        let texts = texts.into_iter().chain(self.metadata.iter().map(|(_, text)| text));
        let pieces: usize = texts.map(|text| text.capacity() + PIECE_BYTES).sum();
        pieces + size_of::<Event>() + size_of_val(self.metadata.as_slice()) + 2 * PIECE_BYTES
    }

    /// One line for a reader, without its end: time, type, client, action, reason, and the rest.
    pub fn line(&self) -> String {
        let (kind, _) = self.kind.words();
        let client = self.client.map_or("system".to_owned(), |client| client.to_string());
        let mut out = format!("{} {kind} {client} {}", timestamp(self.unix_us), self.action);
        let texts = [&self.reason, &self.rule, &self.method, &self.endpoint];
        for text in texts.into_iter().filter(|text| !text.is_empty()) {
            out.push(' ');
            out.extend(redacted(text).chars().map(|c| if is_visible(c) { c } else { '?' }));
        }
        for (name, text) in &self.metadata {
            let text = if is_secret(name) { REDACTED.to_owned() } else { redacted(text) };
            out.push_str(&format!(" {name}={}", text.escape_debug()));
        }
        out
    }

    /// One line of JSON, without its end. Empty texts are left out.
    pub fn json(&self) -> String {
        let (kind, handler) = self.kind.words();
        let client = self.client.map_or("system".to_owned(), |client| client.to_string());
        let mut out = format!("{{\"timestamp\":\"{}\",\"event_type\":\"{kind}\"", timestamp(self.unix_us));
        let texts: [(&str, &str); 6] = [
            ("ip_address", &client),
            ("action_taken", self.action),
            ("reason", &self.reason),
            ("method", &self.method),
            ("endpoint", &self.endpoint),
            ("user_agent", &self.user_agent),
        ];
        let put_texts = |out: &mut String, texts: &[(&str, &str)]| {
            for (name, text) in texts.iter().filter(|(_, text)| !text.is_empty()) {
                out.push(',');
                put_member(out, name, &redacted(text));
            }
        };
        put_texts(&mut out, &texts);
        if let Some(time_us) = self.response_time_us {
            out.push_str(&format!(",\"response_time\":{}", time_us as f64 / 1e6));
        }
        put_texts(&mut out, &[("rule_type", &self.rule), ("handler_name", handler)]);
        for (at, (name, text)) in self.metadata.iter().enumerate() {
            out.push_str(if at == 0 { ",\"metadata\":{" } else { "," });
            // The name may be that of a secret.
            let text = if is_secret(name) { REDACTED.to_owned() } else { redacted(text) };
            put_member(&mut out, name, &text);
        }
        out.push_str(if self.metadata.is_empty() { "}" } else { "}}" });
        out
    }
}

fn put_member(out: &mut String, name: &str, text: &str) {
    out.push_str(&json_text(name));
    out.push(':');
    out.push_str(&json_text(text));
}

/// `2025-11-21T23:09:01.123Z` (RFC 3339).
fn timestamp(unix_us: u64) -> String {
    let (unix_s, ms) = (unix_us / 1_000_000, unix_us / 1000 % 1000);
    let (year, month, day) = civil(unix_s / 86_400);
    let (hour, minute, second) = (unix_s / 3600 % 24, unix_s / 60 % 60, unix_s % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// Whether the value of a field or parameter with this name is a secret. The name may be percent-encoded, and a path as in forms:
/// `user[pwd]`, `user.pwd`.
pub(super) fn is_secret(name: &str) -> bool {
    let name = unescaped(name).to_ascii_lowercase();
    let is_whole = |part: &str| SECRET_FIELDS.contains(&part) || SECRET_NAMES.contains(&part);
    name.split(['[', ']', '.']).any(is_whole) || SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// A name of a parameter without percent-encoding, as an application reads it.
fn unescaped(name: &str) -> Cow<'_, str> {
    if !name.contains('%') {
        return Cow::Borrowed(name);
    }
    let mut bytes = name.as_bytes().to_vec();
    path::decode(&mut bytes);
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

/// A text without secrets: without values of fields and parameters with a telling name, and user info of URLs. Where a secret
/// shows only when a parameter is percent-decoded (`next=https%3A%2F%2Fa%2F%3Ftoken%3Dx`), the parameter is shown decoded, up to the
/// secret: what follows may belong to it.
pub fn redacted(text: &str) -> String {
    let shown = redacted_as_written(shortened(text, TEXT_BYTES_MAX), false);
    if !shown.contains('%') {
        return shown;
    }
    let mut out = String::with_capacity(shown.len());
    for part in shown.split_inclusive(['&', ' ', '"', '\r', '\n']) {
        let parameter = part.trim_end_matches(['&', ' ', '"', '\r', '\n']);
        out.push_str(&redacted_when_decoded(parameter));
        out.push_str(&part[parameter.len()..]);
    }
    out
}

fn redacted_when_decoded(parameter: &str) -> Cow<'_, str> {
    let mut shown = Cow::Borrowed(parameter);
    let mut bytes = parameter.as_bytes().to_vec();
    for _ in 0..path::ROUNDS_MAX {
        if !path::decode(&mut bytes) {
            break;
        }
        let decoded = String::from_utf8_lossy(&bytes).into_owned();
        let hidden = redacted_as_written(&decoded, true);
        if hidden != decoded {
            bytes = hidden.clone().into_bytes();
            shown = Cow::Owned(hidden);
        }
    }
    shown
}

/// The text without the secrets that it has as it is written; without all that follows one, if that goes on `to_the_end` unless it is
/// quoted.
fn redacted_as_written(text: &str, to_the_end: bool) -> String {
    let mut out = String::with_capacity(text.len());
    // The text before this position is in `out`.
    let mut done = 0;
    while let Some(at) = text[done..].find(['=', ':']).map(|at| at + done) {
        out.push_str(&text[done..=at]);
        done = at + 1;
        let rest = &text[done..];
        if let Some(authority) = rest.strip_prefix("//").filter(|_| text.as_bytes()[at] == b':') {
            let end = authority.find(|c: char| "/?#\"' ".contains(c)).unwrap_or(authority.len());
            if let Some(userinfo) = authority[..end].rfind('@') {
                out.push_str("//");
                out.push_str(REDACTED);
                done += 2 + userinfo;
            }
            continue;
        }
        let name = name_before(&text[..at]);
        if is_secret(name) {
            let value = rest.trim_start_matches([' ', '"', '\'', '\\']);
            let opening = &rest[..rest.len() - value.len()];
            let end = match to_the_end && !opening.ends_with(['"', '\'']) {
                true => value.len(),
                false => value_end(value, opening, name, text.as_bytes()[at]),
            };
            out.push_str(opening);
            out.push_str(if end > 0 { REDACTED } else { "" });
            done = text.len() - value.len() + end;
        }
    }
    out.push_str(&text[done..]);
    out
}

/// The name at the end of a text, without quotes behind it: of a field, a parameter (`user[password]`) or a JSON key.
fn name_before(text: &str) -> &str {
    let text = text.trim_end_matches(['"', '\'', ' ', '\\']);
    let before = text.rfind(|c: char| !(c.is_ascii_alphanumeric() || "_-%[].".contains(c)));
    &text[before.map_or(0, |at| at + text[at..].chars().next().map_or(1, char::len_utf8))..]
}

/// The length of a value behind the name of a secret: a quoted value ends with its quote, the value of a field with its line, one
/// in a query with the next parameter.
fn value_end(value: &str, opening: &str, name: &str, separator: u8) -> usize {
    let whole_line = SECRET_FIELDS.contains(&unescaped(name).to_ascii_lowercase().as_str());
    let ends = match opening.chars().next_back() {
        Some(quote @ ('"' | '\'')) => return quoted_end(value, quote, opening.contains('\\')),
        Some(_) | None if whole_line => "\r\n\"",
        Some(_) | None if separator == b'=' => "\r\n\" &#<>",
        Some(_) | None => "\r\n\"' &;,)}#",
    };
    value.find(|c: char| ends.contains(c)).unwrap_or(value.len())
}

/// The length of a text up to its quote. Behind a backslash a quote does not end the text, unless the quotes themselves stand
/// behind backslashes: JSON as a string of JSON.
fn quoted_end(value: &str, quote: char, is_escaped: bool) -> usize {
    let mut backslash = false;
    for (at, c) in value.char_indices() {
        if c == quote && (is_escaped || !backslash) {
            return at;
        }
        backslash = c == '\\' && !backslash;
    }
    value.len()
}

/// The newest events. A bounded number, and a bounded number of bytes: older ones make room.
#[derive(Debug)]
pub struct Ring {
    events: VecDeque<Arc<Event>>,
    events_max: usize,
    /// Bytes of the events.
    bytes: usize,
    bytes_max: usize,
    /// The number of the next event; the first is 0.
    next: u64,
    /// A bit for each muted type.
    muted: u32,
}

impl Ring {
    /// A ring for so many events, and so many bytes of them. The newest event is kept in any case.
    pub fn new(events_max: usize, bytes_max: usize) -> Ring {
        let events_max = events_max.max(1);
        Ring { events: VecDeque::new(), events_max, bytes: 0, bytes_max, next: 0, muted: 0 }
    }

    /// Sets the most bytes of all events.
    pub fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
        self.make_room(0);
    }

    /// Drops the oldest events until there is room for so many bytes more.
    fn make_room(&mut self, bytes: usize) {
        while self.bytes + bytes > self.bytes_max {
            let Some(oldest) = self.events.pop_front() else { return };
            self.bytes -= oldest.heap_bytes();
        }
    }

    /// Mutes these types, and unmutes all others.
    pub fn set_muted(&mut self, muted: &[EventType]) {
        self.muted = muted.iter().fold(0, |bits, kind| bits | 1 << *kind as u32);
    }

    /// Adds an event, unless its type is muted.
    pub fn push(&mut self, mut event: Event) {
        if self.muted & 1 << event.kind as u32 != 0 {
            return;
        }
        event.shorten_texts();
        let bytes = event.heap_bytes();
        self.make_room(bytes);
        if self.events.len() == self.events_max {
            self.bytes -= self.events.pop_front().map_or(0, |oldest| oldest.heap_bytes());
        }
        self.bytes += bytes;
        self.events.push_back(Arc::new(event));
        self.next += 1;
    }

    /// Events that were added so far.
    pub fn told(&self) -> u64 {
        self.next
    }

    /// At most `at_most` events from a cursor on, and the number of events before them that were dropped because the reader
    /// was too slow. Moves the cursor, which begins with 0.
    pub fn read(&self, cursor: &mut u64, at_most: usize) -> (Vec<Arc<Event>>, u64) {
        let oldest = self.next - self.events.len() as u64;
        let dropped = oldest.saturating_sub(*cursor);
        let from = (*cursor).clamp(oldest, self.next);
        let found: Vec<_> =
            self.events.iter().skip((from - oldest) as usize).take(at_most).cloned().collect();
        *cursor = from + found.len() as u64;
        (found, dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(reason: &str) -> Event {
        let now = Now { unix_us: 1_763_766_541_123_456, ..Now::default() };
        let client = Some("192.0.2.1".parse().unwrap());
        Event { reason: reason.to_owned(), ..Event::new(now, EventType::IpBanned, client, "banned") }
    }

    #[test]
    fn guard_12_a_line_of_json() {
        let mut told = event("a \"b\" \\ \n\u{1} é \u{202e}\u{2028}");
        told.metadata = vec![("duration", "1m".to_owned()), ("api_key", "hidden".to_owned())];
        let line = told.json();
        assert!(!line.contains(['\n', '\u{202e}', '\u{2028}']), "{line}");
        assert!(!told.line().contains(['\n', '\u{202e}', '\u{2028}']), "{}", told.line());
        let value: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
        for (name, text) in [
            ("timestamp", "2025-11-21T23:09:01.123Z"),
            ("event_type", "ip_banned"),
            ("ip_address", "192.0.2.1"),
            ("action_taken", "banned"),
            ("reason", "a \"b\" \\ \n\u{1} é \u{202e}\u{2028}"),
            ("handler_name", "ip_ban"),
        ] {
            assert_eq!(value[name], text, "{line}");
        }
        assert_eq!(
            (&value["metadata"]["duration"], &value["metadata"]["api_key"]),
            (&"1m".into(), &REDACTED.into())
        );
        assert!(value.get("endpoint").is_none());
        let own = Event { client: None, ..event("") }.json();
        assert!(own.contains("\"ip_address\":\"system\"") && !own.contains("metadata"), "{own}");
    }

    #[test]
    fn guard_12_secrets_are_redacted_in_every_text() {
        for (text, expected) in [
            ("", ""),
            ("nothing: to hide=1", "nothing: to hide=1"),
            ("Authorization: Basic YTpi, x\nA: b", "Authorization: [redacted]\nA: b"),
            ("cookie:a=b; c=d", "cookie:[redacted]"),
            ("X-Api-Key: 12\r\n", "X-Api-Key: [redacted]\r\n"),
            ("/a?token=x&b=c&PASSWORD=d#e", "/a?token=[redacted]&b=c&PASSWORD=[redacted]#e"),
            ("/a?access_token=x;b&c", "/a?access_token=[redacted]&c"),
            ("/a?password=b)c'd,e;f&g=h", "/a?password=[redacted]&g=h"),
            ("/a?user[password]=b&c", "/a?user[password]=[redacted]&c"),
            ("/a?password[]=b&user.token=c", "/a?password[]=[redacted]&user.token=[redacted]"),
            ("/a?user%5Bpassword%5D=b", "/a?user%5Bpassword%5D=[redacted]"),
            ("/a?next=https%3A%2F%2Fx%2F%3Ftoken%3Db", "/a?next=https://x/?token=[redacted]"),
            ("/a?next=http%253A%252F%252Fu%253Ab%2540h", "/a?next=http://[redacted]@h"),
            ("/a?q=%7B%22password%22%3A%22b%22%7D", "/a?q={\"password\":\"[redacted]\"}"),
            ("/a?q=100%25+x%3Dy", "/a?q=100%25+x%3Dy"),
            ("/a?user%5Bpwd%5D=a%20b%26c&d=e", "/a?user%5Bpwd%5D=[redacted]&d=e"),
            ("/a?user.sid=a%20b&form[auth]=c", "/a?user.sid=[redacted]&form[auth]=[redacted]"),
            ("/a?next=%2Fa%3Fpassword%3Da%20b%26c&d=e", "/a?next=/a?password=[redacted]&d=e"),
            ("/a?d=password%3Aa%20b;c%26d HTTP/1.1", "/a?d=password:[redacted] HTTP/1.1"),
            ("/a?sidecar.x=b&auth.x=c", "/a?sidecar.x=b&auth.x=[redacted]"),
            ("{\"password\":\"a\\\"b\",\"c\":1}", "{\"password\":\"[redacted]\",\"c\":1}"),
            ("{\\\"password\\\":\\\"a\\\",1}", "{\\\"password\\\":\\\"[redacted]\",1}"),
            ("password='a', token: b, c", "password='[redacted]', token: [redacted], c"),
            ("/a?X-Amz-Signature=ab", "/a?X-Amz-Signature=[redacted]"),
            (
                "{\"client_secret\": \"a b\", \"c\": \"d\"}",
                "{\"client_secret\": \"[redacted]\", \"c\": \"d\"}",
            ),
            ("redis://u:p@ss@h:1/0", "redis://[redacted]@h:1/0"),
            ("to http://a.example/b@c", "to http://a.example/b@c"),
            ("token=", "token="),
            (
                "/a?pwd=b&pass=c&jwt=d&auth=e&sig=f&sid=g&session=h",
                "/a?pwd=[redacted]&pass=[redacted]&jwt=[redacted]&auth=[redacted]&sig=[redacted]&sid=[redacted]&session=[redacted]",
            ),
            (
                "/a?private_key=b&rsaPrivateKey=c&JSESSIONID=d&session_id=e",
                "/a?private_key=[redacted]&rsaPrivateKey=[redacted]&JSESSIONID=[redacted]&session_id=[redacted]",
            ),
            ("/a?author=b&design=c&side=d&passage=e", "/a?author=b&design=c&side=d&passage=e"),
            ("/a?pass%77ord=x&b=c", "/a?pass%77ord=[redacted]&b=c"),
            ("/a?%74%6F%6Ben=x", "/a?%74%6F%6Ben=[redacted]"),
            ("/a?100%=x&%zztoken%4=y", "/a?100%=x&%zztoken%4=[redacted]"),
            ("étoken=é", "étoken=[redacted]"),
        ] {
            assert_eq!(redacted(text), expected, "{text}");
        }
        let long = format!("{}é", "x".repeat(TEXT_BYTES_MAX - 1));
        assert_eq!(redacted(&long).len(), TEXT_BYTES_MAX - 1);
    }

    #[test]
    fn ours_12_the_ring_is_bounded_and_slow_readers_are_told_what_they_lost() {
        let mut ring = Ring::new(3, usize::MAX);
        let mut cursor = 0;
        let reasons = |found: &[Arc<Event>]| found.iter().map(|one| one.reason.clone()).collect::<Vec<_>>();
        assert_eq!(ring.read(&mut cursor, 9), (vec![], 0));
        (0..2).for_each(|number: u32| ring.push(event(&number.to_string())));
        let (found, dropped) = ring.read(&mut cursor, 1);
        assert_eq!((reasons(&found), dropped, cursor), (vec!["0".to_owned()], 0, 1));
        (2..6).for_each(|number: u32| ring.push(event(&number.to_string())));
        let (found, dropped) = ring.read(&mut cursor, 9);
        assert_eq!((reasons(&found).join(","), dropped, cursor), ("3,4,5".to_owned(), 2, 6));
        assert_eq!(ring.read(&mut cursor, 9), (vec![], 0));
        // A cursor from nowhere is that of the newest.
        assert_eq!(ring.read(&mut 99, 9), (vec![], 0));
    }

    #[test]
    fn ours_12_long_texts_of_clients_make_fewer_events_and_not_more_memory() {
        let mut ring = Ring::new(1000, 100_000);
        for number in 0..500 {
            let long = |char: char| String::from(char).repeat(100_000);
            let metadata = vec![("context", long('m'))];
            let texts =
                Event { endpoint: long('e'), user_agent: long('\u{fffd}'), metadata, ..event("long") };
            ring.push(texts);
            assert!(ring.bytes <= 100_000 && ring.events.len() < 100, "{number}: {}", ring.bytes);
        }
        let (found, dropped) = ring.read(&mut 0, 999);
        assert_eq!((found.len() as u64 + dropped, ring.bytes > 90_000), (500, true));
        assert!(found.iter().all(|event| event.json().len() < 4 * TEXT_BYTES_MAX));
        // What is counted goes with what is dropped.
        (0..2000).for_each(|_| ring.push(event("")));
        let counted: usize = ring.events.iter().map(|event| event.heap_bytes()).sum();
        assert_eq!(ring.bytes, counted);
        ring.set_bytes_max(1000);
        assert!(ring.bytes <= 1000 && !ring.events.is_empty(), "{}", ring.bytes);
        // The newest one is always there.
        ring.set_bytes_max(1);
        ring.push(event("last"));
        let (found, _) = ring.read(&mut 0, 9);
        assert_eq!((found.len(), found[0].reason.as_str()), (1, "last"));
    }

    #[test]
    fn guard_12_types_can_be_muted() {
        let mut ring = Ring::new(9, usize::MAX);
        for kind in EventType::ALL {
            ring.set_muted(&[kind]);
            EventType::ALL.iter().for_each(|&kind| ring.push(Event { kind, ..event("") }));
        }
        let (found, _) = ring.read(&mut 0, 99);
        let last = found.last().map(|event| event.kind);
        let [.., before_last, _] = EventType::ALL;
        let told = EventType::ALL.len() * (EventType::ALL.len() - 1);
        assert_eq!((ring.next, last), (told as u64, Some(before_last)));
    }
}
