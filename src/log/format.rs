//! A log record as one line of the access log.
//!
//! Texts come from the network, so every format escapes each byte that could end a field or the line, or mislead a
//! terminal or a reader: controls (C0, DEL, C1), quotes, backslashes, bytes that are not UTF-8, blanks other than the
//! plain one, and invisible characters such as bidirectional overrides. Other UTF-8 is copied. In the three text formats
//! an escaped byte is `\xNN`, a quote `\"`, a backslash `\\`, so the bytes can be restored exactly. JSON has its own
//! escapes, and U+FFFD for a byte that is not UTF-8, because JSON cannot express it.
//!
//! The `weir` format; no field contains a blank, and `-` is an empty field:
//!
//! ```text
//! TIME KIND VERDICT STATUS METHOD TARGET client= user= received= sent= ms= dns_ms= connect_ms= ttfb_ms= upstream= reused= \
//!     reason= cache=
//! 2025-11-21T23:09:01.123Z exchange allowed 200 GET http://a.example/ client=127.0.0.1:50123 user=alice received=210 \
//!     sent=1450 ms=12.345 dns_ms=1.250 connect_ms=3.100 ttfb_ms=7.800 upstream=192.0.2.7:80 reused=client reason=- cache=miss
//! ```
//!
//! TIME is the beginning of the request, in UTC, as in `combined` and `json`; `squid` has the time of its end, as Squid does. `cache` is
//! the result of the cache (hit, miss, stale, revalidated, collapsed, bypass, refresh) and, behind a colon, the reason. Then follows
//! `note=`, the text of a callback, if a callback has set one. `received` and `sent` are bytes from and to the client; `reused` names the
//! connections that had been used before. [`Waits`] defines `dns_ms`, `connect_ms` and `ttfb_ms`; `combined` and `squid` have no place
//! for them.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use crate::engine::transaction::log_record::{CacheUse, Forward, Kind, LogRecord, Text, Verdict, Waits};
use crate::http::date::civil;
use crate::http::fields;
use crate::text::{Blank, all_plain, hex, plain_len, write_json_string};

/// The formats of the access log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Columns, then `key=value`: all information, for people and for `awk`.
    #[default]
    Weir,
    /// The combined format of Apache's httpd.
    Combined,
    /// Squid's native format.
    Squid,
    /// One object per line, all information.
    Json,
    /// No access log.
    None,
}

impl Format {
    /// Finds a format by its name in lower case.
    pub fn parse(name: &str) -> Option<Format> {
        match name {
            "weir" => Some(Format::Weir),
            "combined" => Some(Format::Combined),
            "squid" => Some(Format::Squid),
            "json" => Some(Format::Json),
            "none" => Some(Format::None),
            _ => None,
        }
    }

    /// The texts of a record that this format prints.
    pub fn texts(self) -> &'static [Text] {
        match self {
            Format::Weir => &[Text::User, Text::Method, Text::Target, Text::Reason, Text::Note],
            Format::Combined => &[Text::User, Text::Method, Text::Target, Text::Agent, Text::Referrer],
            Format::Squid => &[Text::User, Text::Method, Text::Target, Text::ContentType],
            Format::Json => &Text::ALL,
            Format::None => &[],
        }
    }
}

/// Appends one line with its newline; none if the format does not tell of such a record. Allocates only if `out` is too small.
pub fn write_record(out: &mut Vec<u8>, format: Format, record: &LogRecord) {
    match format {
        Format::Weir => write_weir(out, record),
        // The format has no place to tell weir's own request from a client's.
        Format::Combined if record.cache == CacheUse::Refresh => return,
        Format::Combined => write_combined(out, record),
        Format::Squid => write_squid(out, record),
        Format::Json => write_json(out, record),
        Format::None => return,
    }
    out.push(b'\n');
}

fn write_weir(out: &mut Vec<u8>, record: &LogRecord) {
    write_timestamp(out, record.started_unix_us);
    for word in [kind(record.kind), verdict(record.verdict)] {
        out.push(b' ');
        out.extend_from_slice(word.as_bytes());
    }
    out.push(b' ');
    match record.status {
        0 => out.push(b'-'),
        status => write_decimal(out, u64::from(status), 3),
    }
    for which in [Text::Method, Text::Target] {
        out.push(b' ');
        write_word(out, record.text(which));
    }
    out.extend_from_slice(b" client=");
    write_socket_address(out, record.client);
    out.extend_from_slice(b" user=");
    write_word(out, record.text(Text::User));
    out.extend_from_slice(b" received=");
    write_decimal(out, record.client_bytes, 1);
    out.extend_from_slice(b" sent=");
    write_decimal(out, record.sent_bytes, 1);
    out.extend_from_slice(b" ms=");
    write_milliseconds(out, record.duration_us);
    for (key, wait_us) in waits(record, [b" dns_ms=", b" connect_ms=", b" ttfb_ms="]) {
        out.extend_from_slice(key);
        match wait_us {
            Some(us) => write_milliseconds(out, us),
            None => out.push(b'-'),
        }
    }
    out.extend_from_slice(b" upstream=");
    match record.upstream {
        Some(upstream) => write_socket_address(out, upstream),
        None => out.push(b'-'),
    }
    out.extend_from_slice(b" reused=");
    out.extend_from_slice(match (record.client_reused, record.origin_reused) {
        (false, false) => b"-",
        (true, false) => b"client",
        (false, true) => b"origin",
        (true, true) => b"client,origin",
    });
    out.extend_from_slice(b" reason=");
    write_word(out, record.text(Text::Reason));
    out.extend_from_slice(b" cache=");
    out.extend_from_slice(record.cache.word().as_bytes());
    if !record.cache_reason.is_empty() {
        out.push(b':');
        out.extend_from_slice(record.cache_reason.as_bytes());
    }
    if !record.text(Text::Note).is_empty() {
        out.extend_from_slice(b" note=");
        write_word(out, record.text(Text::Note));
    }
}

/// The durations of the waits, each with its key.
fn waits<'k>(
    record: &LogRecord,
    keys: [&'k [u8]; 3],
) -> impl Iterator<Item = (&'k [u8], Option<u64>)> + use<'k> {
    let Waits { dns_us, connect_us, ttfb_us } = record.waits;
    keys.into_iter().zip([dns_us, connect_us, ttfb_us])
}

fn write_combined(out: &mut Vec<u8>, record: &LogRecord) {
    write_address(out, record.client.ip());
    out.extend_from_slice(b" - ");
    write_word(out, record.text(Text::User));
    out.extend_from_slice(b" [");
    write_common_date(out, record.started_unix_us / 1_000_000);
    out.extend_from_slice(b"] \"");
    let method = record.text(Text::Method);
    if method.is_empty() {
        // httpd writes `-` for a request without a readable request line, too.
        out.push(b'-');
    } else {
        // A reader splits the request line at blanks, though the field may contain some.
        write_escaped(out, method, Blank::Escaped);
        out.push(b' ');
        write_word(out, record.text(Text::Target));
        let version: &[u8] =
            record.minor_version.map_or(b" -", |minor| if minor == 0 { b" HTTP/1.0" } else { b" HTTP/1.1" });
        out.extend_from_slice(version);
    }
    out.extend_from_slice(b"\" ");
    write_decimal(out, u64::from(record.status), 3);
    out.push(b' ');
    match record.sent_bytes {
        0 => out.push(b'-'),
        bytes => write_decimal(out, bytes, 1),
    }
    for which in [Text::Referrer, Text::Agent] {
        out.extend_from_slice(b" \"");
        write_text(out, record.text(which), Blank::Kept);
        out.push(b'"');
    }
}

fn write_squid(out: &mut Vec<u8>, record: &LogRecord) {
    let ended_ms = record.started_unix_us.saturating_add(record.duration_us) / 1000;
    write_decimal(out, ended_ms / 1000, 1);
    out.push(b'.');
    write_decimal(out, ended_ms % 1000, 3);
    out.push(b' ');
    let elapsed_ms = record.duration_us / 1000;
    // Squid right-aligns the number in six columns.
    for column in [100_000, 10_000, 1_000, 100, 10] {
        if elapsed_ms < column {
            out.push(b' ');
        }
    }
    write_decimal(out, elapsed_ms, 1);
    out.push(b' ');
    write_address(out, record.client.ip());
    out.push(b' ');
    out.extend_from_slice(squid_code(record).as_bytes());
    if is_aborted(record) {
        out.extend_from_slice(b"_ABORTED");
    }
    out.push(b'/');
    write_decimal(out, u64::from(record.status), 3);
    out.push(b' ');
    write_decimal(out, record.sent_bytes, 1);
    for which in [Text::Method, Text::Target, Text::User] {
        out.push(b' ');
        write_word(out, record.text(which));
    }
    match record.upstream {
        Some(upstream) => {
            out.extend_from_slice(b" HIER_DIRECT/");
            write_address(out, upstream.ip());
        }
        None => out.extend_from_slice(b" HIER_NONE/-"),
    }
    out.push(b' ');
    write_word(out, record.text(Text::ContentType));
}

/// Whether the head of the request never was complete.
fn is_incomplete(record: &LogRecord) -> bool {
    record.verdict == Verdict::Malformed && record.text(Text::Method).is_empty()
}

/// Whether Squid would call the response incomplete.
fn is_aborted(record: &LogRecord) -> bool {
    // A client without a status had disconnected.
    let left = record.aborted || (record.status == 0 && record.cache != CacheUse::Refresh);
    left && !is_incomplete(record)
}

/// The result code of Squid.
fn squid_code(record: &LogRecord) -> &'static str {
    match (record.kind, record.verdict) {
        (Kind::Tunnel, _) => "TCP_TUNNEL",
        (Kind::TunnelStart, _) => "TCP_TUNNEL_START",
        (Kind::Transaction, Verdict::Refused) => "TCP_DENIED",
        (Kind::Transaction, Verdict::Malformed) if !record.aborted || is_incomplete(record) => "NONE_NONE",
        // The request would have become a tunnel.
        (Kind::Transaction, _) if record.text(Text::Method) == b"CONNECT" => "TCP_TUNNEL",
        (Kind::Transaction, Verdict::Allowed | Verdict::Failed | Verdict::Malformed) => {
            squid_cache_code(record)
        }
    }
}

fn squid_cache_code(record: &LogRecord) -> &'static str {
    match record.cache {
        CacheUse::Hit | CacheUse::Collapsed if record.status == 304 => "TCP_IMS_HIT",
        CacheUse::Hit => "TCP_MEM_HIT",
        CacheUse::Collapsed => "TCP_CF_HIT",
        CacheUse::Stale if record.forward.is_some() => "TCP_REFRESH_FAIL_OLD",
        CacheUse::Stale => "TCP_STALE_HIT",
        CacheUse::Revalidated => "TCP_REFRESH_UNMODIFIED",
        // The word of Squid 2, which had this feature.
        CacheUse::Refresh => "TCP_ASYNC_MISS",
        CacheUse::None | CacheUse::Miss | CacheUse::Bypass => match record.forward {
            Some(Forward::Stale) => "TCP_REFRESH_MODIFIED",
            Some(Forward::Request) => "TCP_CLIENT_REFRESH_MISS",
            None
            | Some(
                Forward::Bypass
                | Forward::Method
                | Forward::UriMiss
                | Forward::VaryMiss
                | Forward::Miss
                | Forward::Partial,
            ) => "TCP_MISS",
        },
    }
}

fn write_json(out: &mut Vec<u8>, record: &LogRecord) {
    out.extend_from_slice(b"{\"time\":\"");
    write_timestamp(out, record.started_unix_us);
    out.extend_from_slice(b"\",\"kind\":\"");
    out.extend_from_slice(kind(record.kind).as_bytes());
    out.extend_from_slice(b"\",\"verdict\":\"");
    out.extend_from_slice(verdict(record.verdict).as_bytes());
    out.extend_from_slice(b"\",\"status\":");
    match record.status {
        0 => out.extend_from_slice(b"null"),
        status => write_decimal(out, u64::from(status), 1),
    }
    write_json_text(out, b"method", record.text(Text::Method));
    write_json_text(out, b"target", record.text(Text::Target));
    let version: &[u8] = record.minor_version.map_or(b"", |minor| if minor == 0 { b"1.0" } else { b"1.1" });
    write_json_text(out, b"version", version);
    out.extend_from_slice(b",\"client\":\"");
    write_socket_address(out, record.client);
    out.push(b'"');
    write_json_text(out, b"user", record.text(Text::User));
    out.extend_from_slice(b",\"received\":");
    write_decimal(out, record.client_bytes, 1);
    out.extend_from_slice(b",\"sent\":");
    write_decimal(out, record.sent_bytes, 1);
    out.extend_from_slice(b",\"duration_us\":");
    write_decimal(out, record.duration_us, 1);
    for (key, wait_us) in waits(record, [b",\"dns_ms\":", b",\"connect_ms\":", b",\"ttfb_ms\":"]) {
        out.extend_from_slice(key);
        match wait_us {
            Some(us) => write_milliseconds(out, us),
            None => out.extend_from_slice(b"null"),
        }
    }
    out.extend_from_slice(b",\"upstream\":");
    match record.upstream {
        Some(upstream) => {
            out.push(b'"');
            write_socket_address(out, upstream);
            out.push(b'"');
        }
        None => out.extend_from_slice(b"null"),
    }
    for (key, reused) in
        [(&b",\"client_reused\":"[..], record.client_reused), (b",\"origin_reused\":", record.origin_reused)]
    {
        out.extend_from_slice(key);
        out.extend_from_slice(if reused { b"true" } else { b"false" });
    }
    write_json_text(out, b"reason", record.text(Text::Reason));
    out.extend_from_slice(b",\"cache\":");
    match record.cache {
        CacheUse::None => out.extend_from_slice(b"null"),
        used => {
            out.push(b'"');
            out.extend_from_slice(used.word().as_bytes());
            out.push(b'"');
        }
    }
    write_json_text(out, b"cache_reason", record.cache_reason.as_bytes());
    write_json_text(out, b"referrer", record.text(Text::Referrer));
    write_json_text(out, b"agent", record.text(Text::Agent));
    write_json_text(out, b"content_type", record.text(Text::ContentType));
    if !record.text(Text::Note).is_empty() {
        write_json_text(out, b"note", record.text(Text::Note));
    }
    out.push(b'}');
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Transaction => "exchange",
        Kind::Tunnel => "tunnel",
        Kind::TunnelStart => "tunnel-start",
    }
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allowed => "allowed",
        Verdict::Refused => "refused",
        Verdict::Malformed => "malformed",
        Verdict::Failed => "failed",
    }
}

// Texts.

/// A text without blanks.
fn write_word(out: &mut Vec<u8>, text: &[u8]) {
    write_text(out, text, Blank::Escaped);
}

/// A text; `-` for none. A text that is just `-` is escaped, so that the two differ.
fn write_text(out: &mut Vec<u8>, text: &[u8], blank: Blank) {
    match text {
        b"" => out.push(b'-'),
        b"-" => out.extend_from_slice(b"\\x2d"),
        _ => write_escaped(out, text, blank),
    }
}

fn write_escaped(out: &mut Vec<u8>, text: &[u8], blank: Blank) {
    if all_plain(text, blank) {
        out.extend_from_slice(text);
        return;
    }
    for chunk in text.utf8_chunks() {
        let mut rest = chunk.valid();
        while !rest.is_empty() {
            let plain = plain_len(rest, blank);
            out.extend_from_slice(&rest.as_bytes()[..plain]);
            rest = &rest[plain..];
            let Some(special) = rest.chars().next() else { break };
            let (escaped, after) = rest.split_at(special.len_utf8());
            match special {
                '"' | '\\' => out.extend_from_slice(&[b'\\', special as u8]),
                _ => write_bytes_in_hex(out, escaped.as_bytes()),
            }
            rest = after;
        }
        write_bytes_in_hex(out, chunk.invalid());
    }
}

fn write_bytes_in_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        out.extend_from_slice(&[b'\\', b'x', hex(byte >> 4), hex(*byte)]);
    }
}

/// A further member; null for an empty text.
fn write_json_text(out: &mut Vec<u8>, key: &[u8], text: &[u8]) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key);
    out.extend_from_slice(b"\":");
    if text.is_empty() {
        out.extend_from_slice(b"null");
        return;
    }
    write_json_string(out, text);
}

// Numbers, addresses and dates.

/// A decimal number with leading zeros up to a width.
fn write_decimal(out: &mut Vec<u8>, value: u64, width: u32) {
    let mut bound = 10_u64.pow(width - 1);
    while value < bound && bound > 1 {
        out.push(b'0');
        bound /= 10;
    }
    fields::write_decimal(out, value);
}

/// Microseconds as milliseconds.
fn write_milliseconds(out: &mut Vec<u8>, us: u64) {
    write_decimal(out, us / 1000, 1);
    out.push(b'.');
    write_decimal(out, us % 1000, 3);
}

/// An address; an IPv4-mapped one, which a listener for both families gets, as IPv4.
fn write_address(out: &mut Vec<u8>, address: IpAddr) {
    match address.to_canonical() {
        IpAddr::V4(v4) => fields::write_ipv4(out, v4),
        IpAddr::V6(v6) => {
            // Writing into a vector cannot fail.
            let _ = write!(out, "{v6}");
        }
    }
}

fn write_socket_address(out: &mut Vec<u8>, address: SocketAddr) {
    let ip = address.ip().to_canonical();
    if ip.is_ipv6() {
        out.push(b'[');
    }
    write_address(out, ip);
    if ip.is_ipv6() {
        out.push(b']');
    }
    out.push(b':');
    write_decimal(out, u64::from(address.port()), 1);
}

/// The last time that is printed as it is, the end of the year 9999: a later one is a clock error, and would move the
/// columns.
const LAST_UNIX_S: u64 = 253_402_300_799;

fn write_timestamp(out: &mut Vec<u8>, unix_us: u64) {
    out.extend_from_slice(&timestamp(unix_us));
}

/// `2025-11-21T23:09:01.123Z` (RFC 3339) from microseconds since 1970-01-01 UTC. Always ASCII.
pub fn timestamp(unix_us: u64) -> [u8; 24] {
    let unix_s = (unix_us / 1_000_000).min(LAST_UNIX_S);
    let (year, month, day) = civil(unix_s / 86_400);
    let mut text = *b"0000-00-00T00:00:00.000Z";
    // Every number is written as its last two digits.
    let milliseconds = unix_us / 1000 % 1000;
    for (at, value) in [
        (0, year / 100),
        (2, year % 100),
        (5, month),
        (8, day),
        (11, unix_s / 3600 % 24),
        (14, unix_s / 60 % 60),
        (17, unix_s % 60),
        (21, milliseconds % 100),
    ] {
        text[at..at + 2].copy_from_slice(&fields::TWO_DIGITS[value as usize % 100]);
    }
    text[20] = b'0' + (milliseconds / 100) as u8;
    text
}

/// `21/Nov/2025:23:09:01 +0000`.
fn write_common_date(out: &mut Vec<u8>, unix_s: u64) {
    const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    let unix_s = unix_s.min(LAST_UNIX_S);
    let (year, month, day) = civil(unix_s / 86_400);
    let name_at = 3 * (month as usize - 1);
    write_decimal(out, day, 2);
    out.push(b'/');
    out.extend_from_slice(&MONTHS[name_at..name_at + 3]);
    out.push(b'/');
    write_decimal(out, year, 4);
    out.push(b':');
    write_time_of_day(out, unix_s);
    out.extend_from_slice(b" +0000");
}

fn write_time_of_day(out: &mut Vec<u8>, unix_s: u64) {
    for (index, value) in [unix_s / 3600 % 24, unix_s / 60 % 60, unix_s % 60].into_iter().enumerate() {
        if index > 0 {
            out.push(b':');
        }
        write_decimal(out, value, 2);
    }
}

#[cfg(test)]
#[path = "format_tests.rs"]
mod tests;
