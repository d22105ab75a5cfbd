//! Pages of the host program, answered by the proxy's own listeners: with sessions, tokens against forged requests, and named
//! values in the guard's store.
//!
//! A request is for a page if its host is one of the proxy's own addresses or one of [`Pages::host`], in any form of the
//! target. Bans, limits and security headers of the guard file apply to it; users, access rules and the cache belong to the
//! forward proxy. Its whole body is collected first, 64 KB at most (413 beyond). An unsafe method needs the token of its
//! session (403 without). Only then the handler is called, in the middle of a turn of the loop, so it must not wait: a
//! question to the store is the reply [`PageReply::Ask`], and the handler is called again with the answer.

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

/// Longest text of a value, in bytes (chosen: half of the store's limit, because JSON escapes).
pub const TEXT_BYTES_MAX: usize = PAYLOAD_BYTES_MAX / 2;

/// Most questions of a handler for one request (chosen: a page needs two or three).
pub const ASKED_MAX: u8 = 8;

/// The beginning of the key of a value, behind the store's prefix.
const KEY_PREFIX: &str = "weir:";

/// Answers requests for pages.
pub type Handler = dyn Fn(&mut PageRequest<'_>) -> PageReply + Send + Sync;

/// The pages of a program, for [`Builder::pages`](crate::Builder::pages).
#[derive(Clone)]
pub struct Pages {
    pub(crate) handler: Arc<Handler>,
    hosts: Vec<Box<str>>,
    secure: bool,
}

impl Pages {
    /// Pages at the addresses that the proxy listens on. With several workers the handler is called on all their threads; a
    /// panic of the handler becomes a 500.
    pub fn new(handler: impl Fn(&mut PageRequest<'_>) -> PageReply + Send + Sync + 'static) -> Pages {
        Pages { handler: Arc::new(handler), hosts: Vec::new(), secure: false }
    }

    /// Also answers requests for this host, with any port: a name such as `go`, or an address without brackets.
    pub fn host(mut self, name: &str) -> Pages {
        self.hosts.push(name.to_ascii_lowercase().into());
        self
    }

    /// Clients use TLS up to a server in front of weir: cookies are `Secure`, and forms must come from `https`. Without this
    /// call that applies to requests with a `X-Forwarded-Proto` of a proxy that the guard file trusts.
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

/// Pages, and the function that draws identifiers and tokens for them.
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

/// The reply to a request for a page.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PageReply {
    /// This answer. The security headers are added, and `Cache-Control: no-store` if the answer has no Cache-Control.
    Answer(Answer),
    /// A question to the store. The handler is called again with the answer in [`PageRequest::told`]; after [`ASKED_MAX`]
    /// questions the answer is 500. A name has 1 to [`NAME_BYTES_MAX`] letters, digits, `.`, `_`, `:` and `-` of ASCII, a
    /// text [`TEXT_BYTES_MAX`] bytes at most; others become a 500, too.
    Ask(Ask),
}

/// A question to the guard's store about values that stay until they are removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The text of a value.
    Get {
        /// The name of the value.
        name: String,
    },
    /// Creates a value, if its name is free: of several requests at once one creates it, and the others get [`Told::Taken`].
    Add {
        /// The name of the value.
        name: String,
        /// The text of the value.
        text: String,
    },
    /// Sets a value, whatever it was.
    Put {
        /// The name of the value.
        name: String,
        /// The text of the value.
        text: String,
    },
    /// Removes a value, if it exists.
    Remove {
        /// The name of the value.
        name: String,
    },
}

impl Ask {
    /// The request to the store. `None` if a name or a text breaks a bound.
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

/// The answer of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Told {
    /// The text of the value.
    Text(String),
    /// The value does not exist.
    Nothing,
    /// The value was created, set, or removed.
    Done,
    /// The value was not created, because its name is in use.
    Taken,
    /// The store has not answered in time, or is full. The operation may have happened nevertheless.
    Failed,
}

impl From<ValueAnswer> for Told {
    fn from(answer: ValueAnswer) -> Told {
        match answer {
            ValueAnswer::Found(Value::String(text)) => Told::Text(text),
            // Another program than a page has written this value.
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
    /// The method. The answer to GET is the answer to HEAD as well, without content.
    pub method: &'a str,
    /// The requested host: a name in lower case, or an address (IPv6 in brackets).
    pub host: &'a str,
    /// The path as sent, without the query; nothing is decoded.
    pub path: &'a str,
    /// The query as it was sent, without its question mark.
    pub query: &'a str,
    /// The content.
    pub body: &'a [u8],
    /// The client's session: empty for an unknown client. It is saved unless it is empty, and expires eight hours after the
    /// last request.
    pub session: &'a mut Session,
    /// The store's answer to the last question.
    pub told: Option<&'a Told>,
    pub(in crate::engine) fields: Fields<'a, 'a>,
}

impl<'a> PageRequest<'a> {
    /// The value of a field, its name in any case: the first value if there are several.
    pub fn field(&self, name: &str) -> Option<&'a [u8]> {
        self.fields.all(name).next()
    }

    /// The value of a field of the submitted form (`application/x-www-form-urlencoded`), decoded. `None` if the field is
    /// missing, occurs more than once, or is not UTF-8.
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

/// Leaves out fields and body, which may contain passwords.
impl Debug for PageRequest<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PageRequest { client, method, host, path, .. } = self;
        write!(out, "PageRequest({client} {method} {host}{path})")
    }
}

/// Whether the content is a form without files.
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

/// Texts about one client that last from request to request, under an identifier that only the client knows (a cookie
/// `HttpOnly; SameSite=Lax`, and `Secure` over TLS).
#[derive(Clone, PartialEq)]
pub struct Session {
    data: Data,
    id: String,
    /// The store has it under this identifier.
    known: bool,
    /// An old identifier whose data in the store is to be deleted.
    old: Option<String>,
    /// Random numbers for a new identifier and a new token.
    fresh: [u128; 2],
}

impl Session {
    /// The session of a client that has sent the identifier `presented`, with its data from the store.
    pub(in crate::engine) fn new(presented: &str, loaded: Loaded, fresh: [u128; 2]) -> Session {
        let id = sessions::id_to_save(presented, &loaded, fresh[0]);
        let old = loaded.delete.then(|| presented.to_owned());
        Session { data: loaded.data, id, known: loaded.known, old, fresh }
    }

    /// A text that was set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.data.get(name).and_then(Value::as_str)
    }

    /// Sets a text. The name [`TOKEN_FIELD`] is reserved for the token.
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

    /// The token that a form of this session has to send in the field [`TOKEN_FIELD`]; created if it does not exist yet.
    pub fn token(&mut self) -> String {
        if self.get(TOKEN_FIELD).is_none_or(str::is_empty) {
            let token = format!("{:032x}", self.fresh[1]);
            self.set(TOKEN_FIELD, &token);
        }
        self.get(TOKEN_FIELD).unwrap_or_default().to_owned()
    }

    /// Continues under a new identifier and with a new token: for a user who logs in, or gets more rights. An attacker who
    /// knows the old ones gains nothing (session fixation).
    pub fn renew(&mut self) {
        self.remove(TOKEN_FIELD);
        if self.known {
            let id = sessions::new_id(self.fresh[0]);
            self.old = Some(std::mem::replace(&mut self.id, id));
            self.known = false;
        }
    }

    /// The identifier to send to the client, if it is new.
    pub(in crate::engine) fn new_id(&self) -> Option<&str> {
        (!self.known && !self.data.is_empty()).then_some(&*self.id)
    }

    /// The requests to the store at the end of a request, the last one first.
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

/// Leaves out the content: identifier and token are secrets.
impl Debug for Session {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Session({} texts)", self.data.len())
    }
}
