//! What the program around the proxy decides: plain values in, a plain value out.
//!
//! The connection callback is asked once for each client connection, before anything is read from it; with a trusted proxy in
//! front, when its PROXY header has named the client. The request callback is asked once for each request that the rules and
//! the guard allow, before the cache is; a refresh of a stored response is such a request. The name callback is asked
//! before the resolver. All are called in the middle of a turn of the loop, so they must not wait. Without callbacks each place
//! costs one comparison.

use crate::http::message::Fields;
use std::fmt::{self, Debug};
use std::net::{IpAddr, SocketAddr};

/// Longest answer of a callback, fields and content together, in bytes (chosen: a page, not a download). A longer one is
/// refused with 500 and the reason `callback_answer`.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Longest reason and longest note of a callback, in bytes (chosen: a sentence). The rest is cut off.
pub const TEXT_BYTES_MAX: usize = 256;

/// What becomes of a client connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionVerdict {
    /// The connection is served.
    Allow,
    /// The client is told so (403) and the connection is closed. That leaves a line in the access log, with the reason `callback`.
    Refuse,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestVerdict {
    /// It goes on as without a callback.
    Allow,
    /// It is refused, with the page that other refusals have.
    Refuse {
        /// 400 to 599; 403 stands in for any other number.
        status: u16,
        /// For the log, the page and Proxy-Status: [`TEXT_BYTES_MAX`] bytes at most. `callback` stands in for nothing.
        reason: String,
    },
    /// It is answered in place of an origin.
    Answer(Answer),
    /// The connection to the origin, or of the tunnel, is made to this address. The request stays the same: its Host, what the cache
    /// keeps it under, what the log says. The rules judge the address as they judge one that a name leads to, so
    /// the configuration has to allow an address that is closed to clients otherwise.
    Dial(SocketAddr),
}

/// A small answer that needs no origin. It is not stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// 200 to 599; for CONNECT, where 2xx would promise a tunnel, 300 to 599.
    pub status: u16,
    /// Names and values, such as `("Location", "http://...")`. The proxy itself writes Date, Content-Length and Connection: an
    /// answer with a field that is about the message's length or its connection is refused with 500.
    pub fields: Vec<(String, String)>,
    /// The content; not sent to HEAD and with 204 and 304. See [`ANSWER_BYTES_MAX`].
    pub body: Vec<u8>,
}

/// The verdict of a callback for requests, and what the log is to say beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// What becomes of the request.
    pub verdict: RequestVerdict,
    /// For the field `note` of the access log (`weir` and `json`), whatever the verdict: [`TEXT_BYTES_MAX`] bytes at most, nothing
    /// if empty.
    pub note: String,
}

impl Ruling {
    /// The same with a note for the access log.
    ///
    /// ```
    /// use weir::callback::{RequestVerdict, Ruling};
    /// let ruling = Ruling::from(RequestVerdict::Allow).with_note("plan=basic");
    /// assert_eq!(ruling.note, "plan=basic");
    /// ```
    pub fn with_note(mut self, note: impl Into<String>) -> Ruling {
        self.note = note.into();
        self
    }
}

impl From<RequestVerdict> for Ruling {
    fn from(verdict: RequestVerdict) -> Ruling {
        Ruling { verdict, note: String::new() }
    }
}

/// Where a name leads.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameVerdict {
    /// To these addresses, which are tried IPv6 and IPv4 in turns (RFC 8305 section 4); no address is an answer, too. They hold for this
    /// request, and the rules judge each of them.
    Addresses(Vec<IpAddr>),
    /// The name does not exist.
    NotFound,
    /// The proxy's own resolver is to say.
    Ask,
    /// The program will say it by [`Control::name_found`](crate::Control::name_found): it has a resolver of its own that takes its
    /// time. All requests that need the name wait, for as long as they would for a name server that is silent (30 seconds).
    Later,
}

/// A request as a callback sees it.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct RequestView<'a> {
    /// The client of the request: the peer, or the client that a trusted proxy has named.
    pub client: IpAddr,
    /// The authenticated user; empty if users are not asked for, or if the name is not UTF-8.
    pub user: &'a str,
    /// The method; `CONNECT` asks for a tunnel.
    pub method: &'a str,
    /// The host that is asked for: a name in lower case, or an address (IPv6 in brackets).
    pub host: &'a str,
    /// The port that is asked for.
    pub port: u16,
    /// Path and query as they were sent; empty for CONNECT.
    pub path: &'a [u8],
    /// The target as the log has it: an absolute URI without user name and password, or `host:port` for CONNECT.
    pub target: &'a str,
    /// It is the proxy's own request, which renews a stored response: it can be refused or dialled, and an answer refuses it.
    pub is_refresh: bool,
    pub(in crate::engine) fields: Fields<'a, 'a>,
}

impl<'a> RequestView<'a> {
    /// The value of a field, in any case: the first one if there are several.
    pub fn field(&self, name: &str) -> Option<&'a [u8]> {
        self.fields.all(name).next()
    }

    /// All fields in their order, as they were received: Proxy-Authorization is among them.
    pub fn fields(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        self.fields.iter()
    }
}

/// Without the fields: there may be passwords.
impl Debug for RequestView<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RequestView { client, user, method, target, .. } = self;
        write!(out, "RequestView({client} {user:?} {method} {target})")
    }
}

/// Whether a client at that address may connect.
pub(crate) type ConnectionCallback = dyn Fn(SocketAddr) -> ConnectionVerdict + Send + Sync;

/// What becomes of a request.
pub(crate) type RequestCallback = dyn Fn(&RequestView<'_>) -> Ruling + Send + Sync;

/// Where a name leads.
pub(crate) type NameCallback = dyn Fn(&str) -> NameVerdict + Send + Sync;
