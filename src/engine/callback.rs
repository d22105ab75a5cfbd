//! The decisions of the host program: plain values in, a plain value out.
//!
//! The connection callback is called once for each client connection, before anything is read from it; behind a trusted
//! proxy, when the PROXY header has named the client. The request callback is called once for each request that the rules and
//! the guard allow, before the cache is searched; a refresh of a stored response is such a request. The name callback is
//! called before the resolver. All are called in the middle of a turn of the loop, so they must not wait. Without callbacks
//! each place costs one comparison.

use crate::http::message::Fields;
use std::fmt::{self, Debug};
use std::net::{IpAddr, SocketAddr};

/// Longest answer of a callback, fields and content together, in bytes (chosen: a page, not a download). A longer one is
/// refused with 500 and the reason `callback_answer`.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Longest reason and longest note of a callback, in bytes (chosen: a sentence). The rest is cut off.
pub const TEXT_BYTES_MAX: usize = 256;

/// The decision about a client connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionVerdict {
    /// The connection is served.
    Allow,
    /// The client gets the page of other refusals at once, without a request, and the connection is closed. The access log has
    /// a line with the reason.
    Refuse {
        /// 400 to 599; 403 stands in for any other number.
        status: u16,
        /// For the log, the page and Proxy-Status: [`TEXT_BYTES_MAX`] bytes at most. An empty text becomes `callback`.
        reason: String,
    },
}

/// The decision about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestVerdict {
    /// The request continues as without a callback.
    Allow,
    /// The request is refused, with the page of other refusals.
    Refuse {
        /// 400 to 599; 403 stands in for any other number.
        status: u16,
        /// For the log, the page and Proxy-Status: [`TEXT_BYTES_MAX`] bytes at most. An empty text becomes `callback`.
        reason: String,
    },
    /// The request is answered in place of an origin.
    Answer(Answer),
    /// The connection to the origin, or of the tunnel, is made to this address. The request stays the same: its Host, its key
    /// in the cache, its record in the log. The rules judge the address like an address of a name, so the configuration has
    /// to allow an address that is closed to clients otherwise.
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
    /// The content; not sent for HEAD and with 204, 205 and 304. See [`ANSWER_BYTES_MAX`].
    pub body: Vec<u8>,
}

/// The verdict of a callback for requests, and a note for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// The decision about the request.
    pub verdict: RequestVerdict,
    /// For the field `note` of the access log (`weir` and `json`), with any verdict: [`TEXT_BYTES_MAX`] bytes at most; empty
    /// for no note.
    pub note: String,
}

impl Ruling {
    /// The ruling with a note for the access log.
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

/// The addresses of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameVerdict {
    /// These addresses, which are tried IPv6 and IPv4 in turns (RFC 8305 section 4); an empty list means that the name has
    /// none. They are used for this request, and the rules judge each of them.
    Addresses(Vec<IpAddr>),
    /// The name does not exist.
    NotFound,
    /// The proxy's own resolver looks the name up.
    Ask,
    /// The program gives the addresses later, by [`Control::name_found`](crate::Control::name_found). All requests that need
    /// the name wait, as long as for a silent name server (30 seconds).
    Later,
}

/// A request as a callback sees it.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct RequestView<'a> {
    /// The client of the request: the peer, or the client that a trusted proxy has named.
    pub client: IpAddr,
    /// The authenticated user; empty if clients need no credentials, or if the name is not UTF-8.
    pub user: &'a str,
    /// The method; `CONNECT` requests a tunnel.
    pub method: &'a str,
    /// The requested host: a name in lower case, or an address (IPv6 in brackets).
    pub host: &'a str,
    /// The requested port.
    pub port: u16,
    /// Path and query as they were sent; empty for CONNECT.
    pub path: &'a [u8],
    /// The target as the log has it: an absolute URI without user name and password, or `host:port` for CONNECT.
    pub target: &'a str,
    /// Whether the request is the proxy's own, which renews a stored response: it can be refused or dialled, and an answer
    /// refuses it.
    pub is_refresh: bool,
    pub(in crate::engine) fields: Fields<'a, 'a>,
}

impl<'a> RequestView<'a> {
    /// The value of a field, its name in any case: the first value if there are several.
    pub fn field(&self, name: &str) -> Option<&'a [u8]> {
        self.fields.all(name).next()
    }

    /// All fields in order, as received: Proxy-Authorization is among them.
    pub fn fields(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        self.fields.iter()
    }
}

/// Leaves out the fields, which may contain passwords.
impl Debug for RequestView<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RequestView { client, user, method, target, .. } = self;
        write!(out, "RequestView({client} {user:?} {method} {target})")
    }
}

/// Whether a client at that address may connect.
pub(crate) type ConnectionCallback = dyn Fn(SocketAddr) -> ConnectionVerdict + Send + Sync;

/// Decides about a request.
pub(crate) type RequestCallback = dyn Fn(&RequestView<'_>) -> Ruling + Send + Sync;

/// Gives the addresses of a name.
pub(crate) type NameCallback = dyn Fn(&str) -> NameVerdict + Send + Sync;
