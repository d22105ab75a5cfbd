//! The record of one transaction or tunnel, for the access log.

pub use crate::cache::rfc::status::Forward;
use crate::guard::told::Asker;
use crate::http::target::write_encoded;
use std::net::SocketAddr;

/// How a request ended for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Forwarded to the origin (or answered by weir as requested, like `OPTIONS *`).
    Allowed,
    /// Refused by a rule, by credentials, or by a limit.
    Refused,
    /// Malformed: the request broke the grammar.
    Malformed,
    /// Allowed, but not completed: the origin or the path to it failed, or the client gave up or did not read. The
    /// reason tells which.
    Failed,
}

/// The use of the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheUse {
    /// The cache was not used.
    #[default]
    None,
    /// Answered from memory.
    Hit,
    /// No usable response was stored.
    Miss,
    /// Answered from memory although stale.
    Stale,
    /// Answered from memory after the origin had confirmed the response.
    Revalidated,
    /// Answered with the response to another request under way.
    Collapsed,
    /// The request was none for a cache.
    Bypass,
    /// weir's own request, to renew a response that was served stale.
    Refresh,
}

impl CacheUse {
    /// The word for the log; `-` for none.
    pub fn word(self) -> &'static str {
        match self {
            CacheUse::None => "-",
            CacheUse::Hit => "hit",
            CacheUse::Miss => "miss",
            CacheUse::Stale => "stale",
            CacheUse::Revalidated => "revalidated",
            CacheUse::Collapsed => "collapsed",
            CacheUse::Bypass => "bypass",
            CacheUse::Refresh => "refresh",
        }
    }
}

/// The subject of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One request and its response.
    Transaction,
    /// A CONNECT tunnel or an upgraded connection, from set-up to its end.
    Tunnel,
    /// The set-up of a tunnel: a record beside that of its end, if configured. It is not counted.
    TunnelStart,
}

/// The waits of a transaction, one after the other, in microseconds. `None` for a wait that did not occur.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// The look-up of a name, even a failed one; 0 if the answer was in the cache.
    pub dns_us: Option<u64>,
    /// The connection to the origin, for all addresses that were tried, even without success.
    pub connect_us: Option<u64>,
    /// The time from then on, or from the reuse of a connection, to the first byte of the head of the final response. For an
    /// answer from the cache: the time of the request, without the other two. For CONNECT until the 200.
    pub ttfb_us: Option<u64>,
}

/// Longest media type in a record (RFC 6838 section 4.2: either part has 127 characters at most).
const CONTENT_TYPE_BYTES_MAX: usize = 255;

/// A stretch of a record's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    len: u32,
}

/// One line of the access log. Texts are raw bytes from the network: the writer of the log escapes them.
#[derive(Clone, Debug)]
pub struct LogRecord {
    /// Transaction or tunnel.
    pub kind: Kind,
    /// When the first byte of the request arrived, in microseconds since 1970 UTC.
    pub started_unix_us: u64,
    /// From then to the end, in microseconds.
    pub duration_us: u64,
    /// The client's address.
    pub client: SocketAddr,
    /// The status that the client was sent; 0 if it got none.
    pub status: u16,
    /// Bytes received from the client, head included.
    pub client_bytes: u64,
    /// Bytes sent to the client, head included.
    pub sent_bytes: u64,
    /// The address dialled, if any was.
    pub upstream: Option<SocketAddr>,
    /// The waits of the transaction.
    pub waits: Waits,
    /// The outcome for the client.
    pub verdict: Verdict,
    /// The transaction ended before its response was complete: the client closed, or the response broke off.
    pub aborted: bool,
    /// The client connection had carried an earlier request.
    pub client_reused: bool,
    /// The upstream connection had carried an earlier transaction.
    pub origin_reused: bool,
    /// The use of the cache.
    pub cache: CacheUse,
    /// The reason why the cache asked the origin.
    pub forward: Option<Forward>,
    /// The reason why the cache did not do more: a word, or empty.
    pub cache_reason: &'static str,
    /// Minor version of the request: 0 for HTTP/1.0, 1 for HTTP/1.1. None if it has not been read.
    pub minor_version: Option<u8>,
    text: Vec<u8>,
    /// The position of each text in `text`, in the order of [`Text::ALL`].
    spans: [Span; Text::ALL.len()],
}

/// The facts that a tunnel keeps for its record: the texts and the values known at its begin, in as little memory as
/// possible. A byte of flags, the waits that occurred, seven bits in a byte, and each text that the log writes and that is
/// not empty: its number, its length, and its bytes. The target is the last and needs no length.
#[derive(Debug)]
pub(in crate::engine) struct PackedRecord(Box<[u8]>);

/// Flags of a packed record.
const CLIENT_REUSED: u8 = 1;
const ORIGIN_REUSED: u8 = 2;
const MINOR_VERSION: u8 = 4;
/// The method is CONNECT and not stored. Status and head bytes follow from it.
const CONNECT: u8 = 8;
const DNS: u8 = 16;
const DIALLED: u8 = 32;
const ANSWERED: u8 = 64;

/// The texts of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// The authenticated user.
    User,
    /// The request method.
    Method,
    /// The target: an absolute URI without userinfo, or `host:port` for CONNECT.
    Target,
    /// The reason for a refusal or failure: the rule (`blocklist.txt:12`), or a word such as `dns_error`.
    Reason,
    /// User-Agent of the request.
    Agent,
    /// Referer of the request.
    Referrer,
    /// The media type of the response, without its parameters.
    ContentType,
    /// The note of a callback.
    Note,
}

impl Text {
    /// All texts, in order.
    pub const ALL: [Text; 8] = [
        Text::User,
        Text::Method,
        Text::Target,
        Text::Reason,
        Text::Agent,
        Text::Referrer,
        Text::ContentType,
        Text::Note,
    ];
}

/// A set of texts: a bit for each, because every request tests some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextSet(u8);

impl TextSet {
    /// Every text.
    pub const ALL: TextSet = TextSet::of(&Text::ALL);

    /// A set of these texts.
    pub const fn of(texts: &[Text]) -> TextSet {
        let (mut set, mut at) = (0, 0);
        while at < texts.len() {
            set |= 1 << texts[at] as u8;
            at += 1;
        }
        TextSet(set)
    }

    /// Whether the set contains the text.
    #[inline]
    pub const fn contains(self, text: Text) -> bool {
        self.0 & 1 << text as u8 != 0
    }
}

const _: () = assert!(Text::ALL.len() <= 8);

impl LogRecord {
    /// The request in the form for events.
    pub(in crate::engine) fn asked(&self) -> Asker<'_> {
        Asker {
            client: self.client.ip(),
            method: self.text(Text::Method),
            target: self.text(Text::Target),
            authority: None,
            user_agent: self.text(Text::Agent),
            taken_us: None,
        }
    }

    /// Packs the record of a tunnel, with those of the texts that are `noted`. Texts longer than 64 KB, which heads within the usual
    /// limit do not contain, are shortened.
    pub(in crate::engine) fn pack(&self, noted: TextSet, scratch: &mut Vec<u8>) -> PackedRecord {
        debug_assert!(matches!(self.status, 101 | 200));
        let connect = self.text(Text::Method) == b"CONNECT";
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let flags = flag(self.client_reused, CLIENT_REUSED)
            | flag(self.origin_reused, ORIGIN_REUSED)
            | flag(self.minor_version == Some(1), MINOR_VERSION)
            | flag(connect, CONNECT);
        let waits = [self.waits.dns_us, self.waits.connect_us, self.waits.ttfb_us.filter(|_| !connect)];
        let kept = waits.iter().zip([DNS, DIALLED, ANSWERED]);
        let flags = kept.fold(flags, |flags, (wait, kept)| flags | flag(wait.is_some(), kept));
        scratch.clear();
        scratch.push(flags);
        waits.into_iter().flatten().for_each(|wait| push_number(scratch, wait));
        let shortened = |which: Text| {
            let text = self.text(which);
            &text[..text.len().min(usize::from(u16::MAX))]
        };
        let is_kept = |which: &Text| noted.contains(*which) && *which != Text::Target;
        for which in Text::ALL.into_iter().filter(is_kept) {
            let text = shortened(which);
            if text.is_empty() || (connect && which == Text::Method) {
                continue;
            }
            let [low, high] = (text.len() as u16).to_le_bytes();
            scratch.extend_from_slice(&[which as u8, low, high]);
            scratch.extend_from_slice(text);
        }
        if noted.contains(Text::Target) {
            scratch.push(Text::Target as u8);
            scratch.extend_from_slice(shortened(Text::Target));
        }
        PackedRecord(scratch.as_slice().into())
    }

    /// Turns this blank record into one of a tunnel, from its packed record.
    pub(in crate::engine) fn unpack(&mut self, packed: &PackedRecord) {
        let Some((&flags, mut rest)) = packed.0.split_first() else { return };
        (self.kind, self.status) = (Kind::Tunnel, if flags & CONNECT != 0 { 200 } else { 101 });
        (self.client_reused, self.origin_reused) = (flags & CLIENT_REUSED != 0, flags & ORIGIN_REUSED != 0);
        self.minor_version = Some(u8::from(flags & MINOR_VERSION != 0));
        let mut wait = |kept: u8| (flags & kept != 0).then(|| take_number(&mut rest));
        self.waits = Waits { dns_us: wait(DNS), connect_us: wait(DIALLED), ttfb_us: wait(ANSWERED) };
        if flags & CONNECT != 0 {
            self.set(Text::Method, b"CONNECT");
            self.waits.ttfb_us = Some(0);
        }
        while let Some((&place, texts)) = rest.split_first() {
            let which = Text::ALL[usize::from(place)];
            if which == Text::Target {
                self.set(which, texts);
                return;
            }
            let Some((length, texts)) = texts.split_first_chunk() else { return };
            let (text, others) = texts.split_at(usize::from(u16::from_le_bytes(*length)));
            self.set(which, text);
            rest = others;
        }
    }

    /// A record with no texts yet.
    pub fn new(client: SocketAddr) -> LogRecord {
        LogRecord {
            kind: Kind::Transaction,
            started_unix_us: 0,
            duration_us: 0,
            client,
            status: 0,
            client_bytes: 0,
            sent_bytes: 0,
            upstream: None,
            waits: Waits::default(),
            verdict: Verdict::Allowed,
            aborted: false,
            client_reused: false,
            origin_reused: false,
            cache: CacheUse::None,
            forward: None,
            cache_reason: "",
            minor_version: None,
            text: Vec::new(),
            spans: [Span::default(); Text::ALL.len()],
        }
    }

    /// Makes it blank again for another client, keeping its memory.
    pub fn reset(&mut self, client: SocketAddr) {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        *self = LogRecord { text, ..LogRecord::new(client) };
    }

    /// Bytes that its texts have room for.
    pub(in crate::engine) fn text_capacity(&self) -> usize {
        self.text.capacity()
    }

    /// Sets one text; a later call for the same text replaces it.
    pub fn set(&mut self, which: Text, value: &[u8]) {
        let span = Span { start: self.text.len() as u32, len: value.len() as u32 };
        self.text.extend_from_slice(value);
        self.spans[which as usize] = span;
    }

    /// Sets the target, after `front`, in the form for logs: see [`write_encoded`].
    pub fn set_target(&mut self, front: &[u8], target: &[u8]) {
        let start = self.text.len();
        self.text.extend_from_slice(front);
        write_encoded(&mut self.text, target);
        self.spans[Text::Target as usize] =
            Span { start: start as u32, len: (self.text.len() - start) as u32 };
    }

    /// Sets the media type of the response from a Content-Type.
    pub(in crate::engine) fn set_content_type(&mut self, value: &[u8]) {
        let end = value.iter().position(|byte| matches!(byte, b';' | b' ' | b'\t')).unwrap_or(value.len());
        self.set(Text::ContentType, &value[..end.min(CONTENT_TYPE_BYTES_MAX)]);
    }

    /// One text, empty if it was never set.
    pub fn text(&self, which: Text) -> &[u8] {
        let span = self.spans[which as usize];
        &self.text[span.start as usize..(span.start + span.len) as usize]
    }
}

/// Appends a number, seven bits in a byte, the lowest first; the upper bit means that more follow.
fn push_number(out: &mut Vec<u8>, number: u64) {
    let mut rest = number;
    while rest > 0x7F {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn take_number(bytes: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let Some((&byte, rest)) = bytes.split_first() else { break };
        *bytes = rest;
        number |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_remembers_what_its_record_had() {
        let client = SocketAddr::from(([192, 0, 2, 1], 1234));
        let long = vec![b'x'; 70_000];
        let cases = [
            [&b"CONNECT"[..], b"example.org:443", b""],
            [b"GET", b"http://example.org/", b"agent/1"],
            [b"connect", b"", b"CONNECT"],
            [b"", b"t", &long],
        ];
        for (case, [method, target, agent]) in cases.into_iter().enumerate() {
            let mut record = LogRecord::new(client);
            record.status = if case == 0 { 200 } else { 101 };
            record.client_reused = case & 1 != 0;
            record.origin_reused = case & 2 != 0;
            record.minor_version = Some(u8::from(case != 1));
            record.waits = match case {
                0 => Waits { dns_us: Some(0), connect_us: Some(127), ttfb_us: Some(0) },
                1 => Waits { dns_us: Some(u64::MAX), connect_us: None, ttfb_us: Some(128) },
                2 => Waits { dns_us: None, connect_us: Some(1 << 35), ttfb_us: None },
                _ => Waits::default(),
            };
            let texts = [(Text::Method, method), (Text::Target, target), (Text::Agent, agent)];
            texts.iter().for_each(|(which, text)| record.set(*which, text));
            let packed = record.pack(TextSet::ALL, &mut vec![7; 7]);
            let mut restored = LogRecord::new(client);
            restored.unpack(&packed);
            assert_eq!((restored.kind, restored.status), (Kind::Tunnel, record.status), "case {case}");
            assert_eq!(restored.client_reused, record.client_reused, "case {case}");
            assert_eq!(restored.origin_reused, record.origin_reused, "case {case}");
            assert_eq!(restored.minor_version, record.minor_version, "case {case}");
            assert_eq!(restored.waits, record.waits, "case {case}");
            for which in Text::ALL {
                let text = record.text(which);
                assert_eq!(restored.text(which), &text[..text.len().min(65_535)], "case {case}, {which:?}");
            }
            let mut short = LogRecord::new(client);
            short.unpack(&record.pack(TextSet::of(&[Text::Target]), &mut Vec::new()));
            assert_eq!((short.text(Text::Target), short.text(Text::Agent)), (target, &b""[..]));
        }
    }

    /// The smallest piece that glibc's allocator has holds 24 bytes: enough for a target of usual length.
    #[test]
    fn a_packed_record_is_small() {
        let mut record = LogRecord::new(SocketAddr::from(([192, 0, 2, 1], 1234)));
        record.status = 200;
        record.set(Text::Method, b"CONNECT");
        record.set(Text::Target, b"www.example.org:8080");
        record.waits.connect_us = Some(16_000);
        record.waits.ttfb_us = Some(0);
        assert_eq!(record.pack(TextSet::ALL, &mut Vec::new()).0.len(), 24);
    }
}
