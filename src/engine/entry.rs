//! What one exchange or tunnel leaves behind: the entry that the access log writes.

use std::net::SocketAddr;

/// How it ended for whoever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Passed on to the origin (or answered by weir as asked, like `OPTIONS *`).
    Allowed,
    /// Refused by a rule, by credentials, or by a limit.
    Refused,
    /// Not understood: the request broke the grammar.
    Malformed,
    /// Allowed, but not carried to its end: the origin or the path to it failed, or the client gave up or did not read.
    /// The reason says which.
    Failed,
}

/// What the cache did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheUse {
    /// It had no part in it.
    #[default]
    None,
    /// Answered from memory.
    Hit,
    /// Nothing usable was stored.
    Miss,
    /// Answered from memory although stale.
    Stale,
    /// Answered from memory after the origin had confirmed it.
    Revalidated,
    /// Answered by what another request brought at the same time.
    Collapsed,
    /// The request was none for a cache.
    Bypass,
    /// weir's own request, to renew what it had served stale.
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

/// What kind of thing the entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One request and its response.
    Exchange,
    /// A CONNECT tunnel or an upgraded connection, from set-up to its end.
    Tunnel,
}

/// A stretch of an entry's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    len: u32,
}

/// One line of the access log. Texts are raw bytes from the network: whoever writes them escapes them.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Exchange or tunnel.
    pub kind: Kind,
    /// When the first byte of the request came, microseconds since 1970 UTC.
    pub started_unix_us: u64,
    /// From then to the end, microseconds.
    pub duration_us: u64,
    /// Who asked.
    pub client: SocketAddr,
    /// The status that the client was sent; 0 if it got none.
    pub status: u16,
    /// Bytes received from the client, head included.
    pub client_bytes: u64,
    /// Bytes sent to the client, head included.
    pub sent_bytes: u64,
    /// The address dialled, if any was.
    pub upstream: Option<SocketAddr>,
    /// How it ended.
    pub verdict: Verdict,
    /// The client connection had carried an earlier request.
    pub client_reused: bool,
    /// The origin connection had carried an earlier exchange.
    pub origin_reused: bool,
    /// What the cache did.
    pub cache: CacheUse,
    /// Why it did not do more: a word; empty if there is nothing to say.
    pub cache_reason: &'static str,
    /// Minor version of the request: 0 for HTTP/1.0, 1 for HTTP/1.1.
    pub minor_version: u8,
    text: Vec<u8>,
    user: Span,
    method: Span,
    target: Span,
    reason: Span,
    agent: Span,
    referrer: Span,
}

/// What a tunnel keeps for its entry while it stands: the texts and the rest that is known at its begin, in as little memory as
/// can be.
#[derive(Debug)]
pub(super) struct Note {
    /// One text behind the other.
    text: Box<[u8]>,
    /// Where the texts end, in the order of `Text::ALL`.
    ends: [u16; Text::ALL.len()],
    status: u16,
    client_reused: bool,
    minor_version: u8,
}

/// The texts of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// The authenticated user.
    User,
    /// The request method.
    Method,
    /// The target: an absolute URI without userinfo, or `host:port` for CONNECT.
    Target,
    /// Why it was refused or failed: the rule (`blocklist.txt:12`), or a word such as `dns_error`.
    Reason,
    /// User-Agent of the request.
    Agent,
    /// Referer of the request.
    Referrer,
}

impl Text {
    const ALL: [Text; 6] =
        [Text::User, Text::Method, Text::Target, Text::Reason, Text::Agent, Text::Referrer];
}

impl Entry {
    /// What a tunnel needs to keep. Texts that do not fit into 64 KB together, which heads of the usual limit cannot hold,
    /// are cut.
    pub(super) fn note(&self) -> Note {
        let mut text = Vec::with_capacity(Text::ALL.iter().map(|which| self.text(*which).len()).sum());
        let mut ends = [0; Text::ALL.len()];
        for (end, which) in ends.iter_mut().zip(Text::ALL) {
            text.extend_from_slice(self.text(which));
            text.truncate(usize::from(u16::MAX));
            *end = text.len() as u16;
        }
        Note {
            text: text.into_boxed_slice(),
            ends,
            status: self.status,
            client_reused: self.client_reused,
            minor_version: self.minor_version,
        }
    }

    /// Makes this blank entry one of a tunnel, from what that has kept.
    pub(super) fn restore(&mut self, note: &Note) {
        let mut start = 0;
        for (end, which) in note.ends.iter().zip(Text::ALL) {
            let end = usize::from(*end);
            self.set(which, &note.text[start..end]);
            start = end;
        }
        (self.kind, self.status) = (Kind::Tunnel, note.status);
        (self.client_reused, self.minor_version) = (note.client_reused, note.minor_version);
    }

    /// An entry with no texts yet.
    pub fn new(client: SocketAddr) -> Entry {
        Entry {
            kind: Kind::Exchange,
            started_unix_us: 0,
            duration_us: 0,
            client,
            status: 0,
            client_bytes: 0,
            sent_bytes: 0,
            upstream: None,
            verdict: Verdict::Allowed,
            client_reused: false,
            origin_reused: false,
            cache: CacheUse::None,
            cache_reason: "",
            minor_version: 1,
            text: Vec::new(),
            user: Span::default(),
            method: Span::default(),
            target: Span::default(),
            reason: Span::default(),
            agent: Span::default(),
            referrer: Span::default(),
        }
    }

    /// Makes it blank again for another client, keeping its memory.
    pub fn reset(&mut self, client: SocketAddr) {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        *self = Entry { text, ..Entry::new(client) };
    }

    /// Bytes that its texts have room for.
    pub(super) fn text_capacity(&self) -> usize {
        self.text.capacity()
    }

    /// Sets one text; a later call for the same text replaces it.
    pub fn set(&mut self, which: Text, value: &[u8]) {
        let span = Span { start: self.text.len() as u32, len: value.len() as u32 };
        self.text.extend_from_slice(value);
        *self.span_mut(which) = span;
    }

    /// One text, empty if it was never set.
    pub fn text(&self, which: Text) -> &[u8] {
        let span = match which {
            Text::User => self.user,
            Text::Method => self.method,
            Text::Target => self.target,
            Text::Reason => self.reason,
            Text::Agent => self.agent,
            Text::Referrer => self.referrer,
        };
        &self.text[span.start as usize..(span.start + span.len) as usize]
    }

    fn span_mut(&mut self, which: Text) -> &mut Span {
        match which {
            Text::User => &mut self.user,
            Text::Method => &mut self.method,
            Text::Target => &mut self.target,
            Text::Reason => &mut self.reason,
            Text::Agent => &mut self.agent,
            Text::Referrer => &mut self.referrer,
        }
    }
}
