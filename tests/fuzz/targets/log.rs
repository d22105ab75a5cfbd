//! Lines of the access log: one per record, nothing in it that a terminal or a reader could mistake, nothing lost.

use std::net::SocketAddr;

use weir::engine::transaction::log_record::{Kind, LogRecord, Text, Verdict, Waits};
use weir::log::format::{Format, write_record};

use super::json;
use super::pieces::shown;

const TEXTS: [Text; 8] = Text::ALL;

/// Takes bytes from the front of the input; zeros when it is at its end.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    fn number(&mut self) -> u64 {
        let count = usize::from(self.byte() % 9);
        self.take(count).iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn address(&mut self) -> SocketAddr {
        let port = u16::from(self.byte()) << 8 | 7;
        let mut octets = [0; 16];
        let given = self.take(16);
        octets[..given.len()].copy_from_slice(given);
        SocketAddr::new(std::net::Ipv6Addr::from(octets).into(), port)
    }
}

/// Any bytes as the numbers and texts of an record: each text behind a byte of its length.
pub fn log_entry(bytes: &[u8]) {
    let mut input = Input(bytes);
    let options = input.byte();
    let client = if options & 1 == 0 { ([192, 0, 2, 1], 50_123).into() } else { input.address() };
    let mut record = LogRecord::new(client);
    record.kind = if options & 2 == 0 { Kind::Transaction } else { Kind::Tunnel };
    record.verdict = [Verdict::Allowed, Verdict::Refused, Verdict::Malformed, Verdict::Failed]
        [usize::from(options >> 2 & 3)];
    record.client_reused = options & 16 != 0;
    record.origin_reused = options & 32 != 0;
    record.minor_version = (options & 4 == 0).then_some(options >> 6 & 1);
    if options & 128 != 0 {
        record.upstream = Some(input.address());
        record.status = input.number() as u16;
        record.started_unix_us = input.number();
        record.duration_us = input.number();
        record.client_bytes = input.number();
        record.sent_bytes = input.number();
        let mut wait = || Some(input.number()).filter(|wait| wait % 3 != 1);
        record.waits = Waits { dns_us: wait(), connect_us: wait(), ttfb_us: wait() };
    }
    for which in TEXTS {
        let len = usize::from(input.byte());
        record.set(which, input.take(len));
    }
    for format in [Format::Weir, Format::Combined, Format::Squid, Format::Json] {
        let mut out = b"before\n".to_vec();
        write_record(&mut out, format, &record);
        let line = out.strip_prefix(b"before\n").and_then(|line| line.strip_suffix(b"\n"));
        let line = line.expect("one line was appended");
        let line = std::str::from_utf8(line).unwrap_or_else(|_| panic!("not UTF-8: {}", shown(line)));
        check_shape(line);
        match format {
            Format::Weir => weir(&record, line),
            Format::Combined => combined(&record, line),
            Format::Squid => squid(&record, line),
            Format::Json => json(&record, line),
            Format::None => unreachable!("not among these"),
        }
    }
}

/// Nothing that ends a line, moves a cursor, hides, or turns the direction of what follows.
fn check_shape(line: &str) {
    for c in line.chars() {
        let hidden = c.is_control()
            || (c.is_whitespace() && c != ' ')
            || matches!(c, '\u{AD}' | '\u{61C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}')
            || matches!(c, '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{E0000}'..='\u{E007F}');
        assert!(!hidden, "{:?} in {line}", c.escape_unicode().to_string());
    }
}

/// The bytes that stood in a field: the inverse of escaping.
fn unescaped(field: &str) -> Vec<u8> {
    if field == "-" {
        return Vec::new();
    }
    let mut out = Vec::new();
    let mut rest = field.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'\\', [b'x', high, low, after @ ..]) => {
                let digit = |byte: u8| (byte as char).to_digit(16).expect("a hex digit") as u8;
                out.push(digit(*high) << 4 | digit(*low));
                rest = after;
            }
            (b'\\', [escaped @ (b'"' | b'\\'), after @ ..]) => {
                out.push(*escaped);
                rest = after;
            }
            (b'\\' | b'"', _) => panic!("{field}"),
            (byte, _) => out.push(*byte),
        }
    }
    out
}

#[track_caller]
fn expect(record: &LogRecord, which: Text, field: &str) {
    assert_eq!(unescaped(field), record.text(which), "{which:?} as {field}");
}

fn weir(record: &LogRecord, line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    let noted = !record.text(Text::Note).is_empty();
    assert_eq!(words.len(), 18 + usize::from(noted), "{line}");
    let value =
        |at: usize, key: &str| words[at].strip_prefix(key).unwrap_or_else(|| panic!("{key} in {line}"));
    expect(record, Text::Method, words[4]);
    expect(record, Text::Target, words[5]);
    expect(record, Text::User, value(7, "user="));
    expect(record, Text::Reason, value(16, "reason="));
    if noted {
        expect(record, Text::Note, value(18, "note="));
    }
    assert_eq!(value(8, "received=").parse(), Ok(record.client_bytes));
    assert_eq!(value(9, "sent=").parse(), Ok(record.sent_bytes));
    assert_eq!(value(10, "ms="), milliseconds(record.duration_us));
    let Waits { dns_us, connect_us, ttfb_us } = record.waits;
    let waits = [(11, "dns_ms=", dns_us), (12, "connect_ms=", connect_us), (13, "ttfb_ms=", ttfb_us)];
    for (at, key, wait) in waits {
        assert_eq!(value(at, key), wait.map_or("-".to_owned(), milliseconds));
    }
    let client = value(6, "client=").parse::<SocketAddr>().expect("an address");
    assert_eq!(client.ip(), record.client.ip().to_canonical());
    let upstream = value(14, "upstream=").parse::<SocketAddr>().ok().map(|upstream| upstream.ip());
    assert_eq!(upstream, record.upstream.map(|upstream| upstream.ip().to_canonical()));
}

fn milliseconds(us: u64) -> String {
    format!("{}.{:03}", us / 1000, us % 1000)
}

fn squid(record: &LogRecord, line: &str) {
    let words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
    assert_eq!(words.len(), 10, "{line}");
    assert_eq!(words[1].parse(), Ok(record.duration_us / 1000));
    expect(record, Text::Method, words[5]);
    expect(record, Text::Target, words[6]);
    expect(record, Text::User, words[7]);
    expect(record, Text::ContentType, words[9]);
}

fn combined(record: &LogRecord, line: &str) {
    // Outside of quotes at even places, inside at odd ones.
    let mut parts = vec![String::new()];
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        let part = parts.last_mut().expect("one at least");
        match c {
            '"' => parts.push(String::new()),
            '\\' => part.extend(['\\', chars.next().expect("an escape has an end")]),
            c => part.push(c),
        }
    }
    assert_eq!(parts.len(), 7, "{line}");
    let words: Vec<&str> = parts[0].split(' ').collect();
    assert_eq!(words.len(), 6, "{line}");
    expect(record, Text::User, words[2]);
    if record.text(Text::Method).is_empty() {
        assert_eq!(parts[1], "-");
    } else {
        let request: Vec<&str> = parts[1].split(' ').collect();
        assert_eq!(request.len(), 3, "{line}");
        assert_eq!(unescaped_in_quotes(request[0]), record.text(Text::Method), "{line}");
        expect(record, Text::Target, request[1]);
        let version = record.minor_version.map(|minor| format!("HTTP/1.{minor}"));
        assert_eq!(request[2], version.as_deref().unwrap_or("-"), "{line}");
    }
    expect(record, Text::Referrer, &parts[3]);
    expect(record, Text::Agent, &parts[5]);
}

/// A method that is nothing but `-` stands as it is: no request line is just that.
fn unescaped_in_quotes(field: &str) -> Vec<u8> {
    if field == "-" { b"-".to_vec() } else { unescaped(field) }
}

fn json(record: &LogRecord, line: &str) {
    let members = json::object(line).unwrap_or_else(|| panic!("no JSON: {line}"));
    let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    let noted = !record.text(Text::Note).is_empty();
    assert!(names.len() == count && count == 24 + usize::from(noted), "{line}");
    let member = |name: &str| &members.iter().find(|(known, _)| known == name).expect("a member").1;
    assert_eq!(*member("received"), json::Value::Number(record.client_bytes));
    assert_eq!(*member("duration_us"), json::Value::Number(record.duration_us));
    let Waits { dns_us, connect_us, ttfb_us } = record.waits;
    for (name, wait) in [("dns_ms", dns_us), ("connect_ms", connect_us), ("ttfb_ms", ttfb_us)] {
        let expected = wait.map_or(json::Value::Null, json::Value::Thousandths);
        assert_eq!(*member(name), expected, "{line}");
    }
    let keys = ["user", "method", "target", "reason", "agent", "referrer", "content_type", "note"];
    for (which, key) in TEXTS.into_iter().zip(keys).filter(|(which, _)| noted || *which != Text::Note) {
        let bytes = record.text(which);
        let text: String = bytes
            .utf8_chunks()
            .flat_map(|chunk| [chunk.valid().to_owned(), "\u{FFFD}".repeat(chunk.invalid().len())])
            .collect();
        let expected = if bytes.is_empty() { json::Value::Null } else { json::Value::Text(text) };
        assert_eq!(*member(key), expected, "{line}");
    }
}
