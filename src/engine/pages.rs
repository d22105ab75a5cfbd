//! Pages of the program around the proxy, answered by the proxy's own listeners: with sessions, tokens against forged requests,
//! and named values in the guard's store.
//!
//! A request is for a page if its host is one of the proxy's own addresses or one that [`Pages::host`] names, in whichever
//! form it comes. Bans, limits and security headers of the guard file hold for it; users, access rules and the cache are the
//! forward proxy's. Its whole body is collected first, 64 KB at most (413 beyond). An unsafe method needs the token of
//! its session (403 without). Only then is the handler asked, in the middle of a turn of the loop, so that it must not wait:
//! what it wants of the store it asks for with [`PageReply::Ask`], and it is called again with the answer.

use super::callback::Answer;
use crate::guard::csrf::FORM_FIELD;
use crate::guard::sessions::{self, Data, Draw, Loaded, SaveError};
use crate::guard::values::{PAYLOAD_BYTES_MAX, ValueAnswer, ValueRequest};
use crate::http::message::Fields;
use crate::http::path;
use serde_json::Value;
use std::borrow::Cow;
use std::fmt::{self, Debug};
use std::net::IpAddr;
use std::sync::Arc;

/// The name of the field of a form that has the token again. A script may send it in the field `X-CSRF-Token`.
pub const TOKEN_FIELD: &str = FORM_FIELD;

/// Longest name of a value, in bytes (chosen: a word or two).
pub const NAME_BYTES_MAX: usize = 128;

/// Longest text of a value, in bytes (chosen: half of what a store takes, because JSON escapes).
pub const TEXT_BYTES_MAX: usize = PAYLOAD_BYTES_MAX / 2;

/// So often a handler may ask for one request (chosen: a page needs two or three).
pub const ASKED_MAX: u8 = 8;

/// What the key of a value begins with, behind the store's prefix.
const KEY_PREFIX: &str = "weir:";

/// What answers requests for pages.
pub type Handler = dyn Fn(&mut PageRequest<'_>) -> PageReply + Send + Sync;

/// The pages of a program; [`Builder::pages`](crate::Builder::pages) takes them.
#[derive(Clone)]
pub struct Pages {
    pub(crate) handler: Arc<Handler>,
    hosts: Vec<Box<str>>,
    secure: bool,
}

impl Pages {
    /// Pages at the addresses that the proxy listens on. With several workers the handler is called on all their threads; a
    /// handler that panics has answered 500.
    pub fn new(handler: impl Fn(&mut PageRequest<'_>) -> PageReply + Send + Sync + 'static) -> Pages {
        Pages { handler: Arc::new(handler), hosts: Vec::new(), secure: false }
    }

    /// Also answers what is asked of this host, whichever port: a name such as `go`, or an address without brackets.
    pub fn host(mut self, name: &str) -> Pages {
        self.hosts.push(name.to_ascii_lowercase().into());
        self
    }

    /// Clients speak TLS, with something before weir: cookies are `Secure`, and forms come from `https`. Without it that is so
    /// where a proxy that the guard file trusts says so (`X-Forwarded-Proto`).
    pub fn secure(mut self) -> Pages {
        self.secure = true;
        self
    }
}

impl Debug for Pages {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Pages").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

/// Pages, and what draws identifiers and tokens for them.
#[derive(Debug)]
#[doc(hidden)]
pub struct OwnPages {
    pages: Pages,
    draw: Draw,
}

impl OwnPages {
    /// `secret` is random.
    pub fn new(pages: Pages, secret: &[u8; 32]) -> OwnPages {
        OwnPages { pages, draw: Draw::new(secret) }
    }

    pub(in crate::engine) fn has_host(&self, host: &str) -> bool {
        self.pages.hosts.iter().any(|own| own.eq_ignore_ascii_case(host))
    }

    pub(in crate::engine) fn is_secure(&self) -> bool {
        self.pages.secure
    }

    pub(in crate::engine) fn handler(&self) -> &Handler {
        &*self.pages.handler
    }

    pub(in crate::engine) fn draw(&self) -> [u128; 2] {
        self.draw.next()
    }
}

/// What becomes of a request for a page.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PageReply {
    /// This answer. `Cache-Control: no-store` is added where the answer has no Cache-Control, and the security headers.
    Answer(Answer),
    /// The store is asked, and the handler is called again with what it says in [`PageRequest::told`]; [`ASKED_MAX`] times at most, then
    /// the answer is 500. A name has 1 to [`NAME_BYTES_MAX`] letters, digits, `.`, `_`, `:` and `-` of ASCII, a text
    /// [`TEXT_BYTES_MAX`] bytes at most; anything else is 500, too.
    Ask(Ask),
}

/// What is asked of the guard's store: values that stay until they are removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The text of a value.
    Get {
        /// Of the value.
        name: String,
    },
    /// Makes a value, if there is none of that name: of several requests at once one makes it, and the others find it taken.
    Add {
        /// Of the value.
        name: String,
        /// What it is.
        text: String,
    },
    /// Sets a value, whatever it was.
    Put {
        /// Of the value.
        name: String,
        /// What it is.
        text: String,
    },
    /// Removes a value, if there is one.
    Remove {
        /// Of the value.
        name: String,
    },
}

impl Ask {
    /// The same for a store. None if a name or a text breaks a bound.
    pub(in crate::engine) fn to_request(&self) -> Option<ValueRequest> {
        let is_of_names = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
        let key = |name: &str| -> Option<Box<str>> {
            let is_name = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_of_names);
            is_name.then(|| [KEY_PREFIX, name].concat().into())
        };
        let payload = |text: &str| (text.len() <= TEXT_BYTES_MAX).then(|| Value::from(text));
        Some(match self {
            Ask::Get { name } => ValueRequest::Load { key: key(name)? },
            Ask::Add { name, text } => ValueRequest::Add { key: key(name)?, payload: payload(text)? },
            Ask::Put { name, text } => {
                ValueRequest::Save { key: key(name)?, payload: payload(text)?, ttl_s: None }
            }
            Ask::Remove { name } => ValueRequest::Delete { key: key(name)? },
        })
    }
}

/// What the store has said.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Told {
    /// The text of the value.
    Text(String),
    /// There is no such value.
    Nothing,
    /// It was made, set, or removed.
    Done,
    /// It was not made: there is one of that name.
    Taken,
    /// The store has not answered in time, or has no room. What was asked may have happened all the same.
    Failed,
}

impl From<ValueAnswer> for Told {
    fn from(answer: ValueAnswer) -> Told {
        match answer {
            ValueAnswer::Found(Value::String(text)) => Told::Text(text),
            // Something else than a page has written there.
            ValueAnswer::Found(_) | ValueAnswer::Failed(_) => Told::Failed,
            ValueAnswer::Absent => Told::Nothing,
            ValueAnswer::Done => Told::Done,
            ValueAnswer::Taken => Told::Taken,
        }
    }
}

/// A request for a page, as its handler sees it.
#[non_exhaustive]
pub struct PageRequest<'a> {
    /// The client of the request: the peer, or the client that a trusted proxy has named.
    pub client: IpAddr,
    /// The method. What answers GET answers HEAD: its content is left out.
    pub method: &'a str,
    /// The host that is asked for: a name in lower case, or an address (IPv6 in brackets).
    pub host: &'a str,
    /// The path as it was sent, without the query; nothing is decoded.
    pub path: &'a str,
    /// The query as it was sent, without its question mark.
    pub query: &'a str,
    /// The content.
    pub body: &'a [u8],
    /// The client's session: empty for a client that is not known. It is saved when it is not empty, and lives for eight hours after
    /// the last request.
    pub session: &'a mut Session,
    /// What the store has said to what was asked last.
    pub told: Option<&'a Told>,
    pub(in crate::engine) fields: Fields<'a, 'a>,
}

impl<'a> PageRequest<'a> {
    /// The value of a field, in any case: the first one if there are several.
    pub fn field(&self, name: &str) -> Option<&'a [u8]> {
        self.fields.all(name).next()
    }

    /// The value of a field of the form that was sent (`application/x-www-form-urlencoded`), decoded. None if there is none,
    /// more than one, or one that is not UTF-8.
    pub fn form(&self, name: &str) -> Option<String> {
        if !is_form(self.fields) {
            return None;
        }
        value_of(self.body, name)
    }

    /// The value of a name of the query, decoded as a form is.
    pub fn parameter(&self, name: &str) -> Option<String> {
        value_of(self.query.as_bytes(), name)
    }
}

/// Without fields and body: there may be passwords.
impl Debug for PageRequest<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PageRequest { client, method, host, path, .. } = self;
        write!(out, "PageRequest({client} {method} {host}{path})")
    }
}

/// Whether the content is a form, as one without files is sent.
pub(in crate::engine) fn is_form(fields: Fields<'_, '_>) -> bool {
    let media_type = fields.get("content-type").unwrap_or_default();
    let media_type = media_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    media_type.eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}

/// The one value of a name in a form.
fn value_of(form: &[u8], name: &str) -> Option<String> {
    let mut found = form.split(|byte| *byte == b'&').filter_map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let value = pair.get(at + 1..).unwrap_or_default();
        (decoded(&pair[..at]) == name.as_bytes()).then_some(value)
    });
    let value = found.next().filter(|_| found.next().is_none())?;
    String::from_utf8(decoded(value).into_owned()).ok()
}

fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.iter().any(|byte| matches!(byte, b'+' | b'%')) {
        return Cow::Borrowed(text);
    }
    let blank = |byte: &u8| if *byte == b'+' { b' ' } else { *byte };
    let mut bytes: Vec<u8> = text.iter().map(blank).collect();
    path::decode(&mut bytes);
    Cow::Owned(bytes)
}

/// What is kept of one client from request to request, under an identifier that only the client knows (a cookie
/// `HttpOnly; SameSite=Lax`, and `Secure` over TLS).
#[derive(Clone, PartialEq)]
pub struct Session {
    data: Data,
    id: String,
    /// The store has it under this identifier.
    known: bool,
    /// Under this one there is something that is of no use any more.
    old: Option<String>,
    /// For a new identifier, and for a new token.
    fresh: [u128; 2],
}

impl Session {
    /// That of a client that has presented this identifier, and for which the store had that.
    pub(in crate::engine) fn new(presented: &str, loaded: Loaded, fresh: [u128; 2]) -> Session {
        let id = sessions::id_to_save(presented, &loaded, fresh[0]);
        let old = loaded.delete.then(|| presented.to_owned());
        Session { data: loaded.data, id, known: loaded.known, old, fresh }
    }

    /// A text that was set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.data.get(name).and_then(Value::as_str)
    }

    /// Sets a text. The name [`TOKEN_FIELD`] is that of the token.
    pub fn set(&mut self, name: &str, text: &str) {
        self.data.insert(name.to_owned(), Value::from(text));
    }

    /// Removes a text.
    pub fn remove(&mut self, name: &str) {
        self.data.remove(name);
    }

    /// Forgets everything, the token included: the store deletes the session.
    pub fn clear(&mut self) {
        self.data.clear();
    }

    /// The token that a form of this session has to send again in the field [`TOKEN_FIELD`]; makes one if there is none yet.
    pub fn token(&mut self) -> String {
        if self.get(TOKEN_FIELD).is_none_or(str::is_empty) {
            let token = format!("{:032x}", self.fresh[1]);
            self.set(TOKEN_FIELD, &token);
        }
        self.get(TOKEN_FIELD).unwrap_or_default().to_owned()
    }

    /// Goes on under a new identifier and with a new token: for a user who logs in, or gets more rights. A program that knew the old ones has
    /// nothing (session fixation).
    pub fn renew(&mut self) {
        self.remove(TOKEN_FIELD);
        if self.known {
            let id = sessions::new_id(self.fresh[0]);
            self.old = Some(std::mem::replace(&mut self.id, id));
            self.known = false;
        }
    }

    /// The identifier that the client is to be told.
    pub(in crate::engine) fn new_id(&self) -> Option<&str> {
        (!self.known && !self.data.is_empty()).then_some(&*self.id)
    }

    /// What is asked of the store at the end of a request, the last one first.
    pub(in crate::engine) fn writes(&self, now_unix_ms: u64) -> Result<Vec<ValueRequest>, SaveError> {
        let mut writes = Vec::new();
        writes.extend(self.old.as_deref().map(sessions::delete));
        if self.known || !self.data.is_empty() {
            let saved = sessions::save(&self.id, self.data.clone(), sessions::TIMEOUT_S, now_unix_ms)?;
            writes.extend(saved);
        }
        Ok(writes)
    }
}

/// Without what it holds: the identifier and the token are secrets.
impl Debug for Session {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Session({} texts)", self.data.len())
    }
}
