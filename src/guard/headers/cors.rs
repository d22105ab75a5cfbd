//! The pages of other origins that may read responses (Fetch standard, "CORS protocol"; guard semantics, section 9).
//!
//! A response that depends on the origin has `Vary: Origin`, even if the origin is not admitted or missing: otherwise a cache
//! would give the response for one page to another.

use crate::guard::directives::CorsLine;
use crate::http::fields::{is_token, list, trim, write_decimal, write_field};

/// Methods in the response to a preflight, without a list (guard semantics, section 9).
const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Methods in other responses (guard semantics, section 9).
const METHODS_OF_ANSWERS: &str = "GET, POST";

/// Lifetime of a preflight's response (guard semantics, section 9).
const PREFLIGHT_MAX_AGE_S: u64 = 600;

/// The lifetime in other responses (guard semantics, section 9).
const MAX_AGE_S: u64 = 3600;

/// Request fields that need no leave (Fetch standard, "CORS-safelisted request-header").
const SAFELISTED: [&str; 4] = ["accept", "accept-language", "content-language", "content-type"];

/// The rules of a guard file for other origins.
#[derive(Debug)]
pub struct Cors {
    any: bool,
    origins: Vec<Box<str>>,
    /// Empty: the default.
    methods: Vec<Box<str>>,
    /// Empty: any.
    headers: Vec<Box<str>>,
    credentials: bool,
    overwrite: bool,
    preflight_max_age_s: u64,
    /// The lines of each response to an admitted origin.
    lines: Box<[u8]>,
}

/// Whether the origin of a page is one of those that may read answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Admitted {
    /// The origin is not admitted, or missing.
    #[default]
    No,
    /// The origin is admitted, as any is.
    Any,
    /// The origin is the listed one of that index.
    Listed(u16),
}

/// The response to a preflight.
#[derive(Debug, PartialEq, Eq)]
pub struct Preflight {
    /// 200 or 400.
    pub status: u16,
    /// The field lines, each with its end.
    pub fields: Vec<u8>,
    /// A short text.
    pub body: String,
}

impl Cors {
    pub(super) fn new(line: &CorsLine) -> Cors {
        let methods =
            if line.methods.is_empty() { METHODS_OF_ANSWERS.into() } else { line.methods.join(", ") };
        let headers = if line.headers.is_empty() { "*".into() } else { line.headers.join(", ") };
        let mut lines = Vec::new();
        write_field(&mut lines, "Access-Control-Allow-Methods", methods.as_bytes());
        write_field(&mut lines, "Access-Control-Allow-Headers", headers.as_bytes());
        write_max_age(&mut lines, line.max_age_s.unwrap_or(MAX_AGE_S));
        if !line.exposed.is_empty() {
            write_field(&mut lines, "Access-Control-Expose-Headers", line.exposed.join(", ").as_bytes());
        }
        write_credentials(&mut lines, line.credentials);
        Cors {
            any: line.any,
            origins: line.origins.clone(),
            methods: line.methods.clone(),
            headers: line.headers.clone(),
            credentials: line.credentials,
            overwrite: line.overwrite,
            preflight_max_age_s: line.max_age_s.unwrap_or(PREFLIGHT_MAX_AGE_S),
            lines: lines.into(),
        }
    }

    /// Whether a server's own fields are replaced.
    pub fn overwrites(&self) -> bool {
        self.overwrite
    }

    /// Whether an origin is one that may read answers. Origins are compared byte by byte (Fetch standard, "CORS check").
    pub fn admit(&self, origin: Option<&[u8]>) -> Admitted {
        let place = origin
            .map(trim)
            .and_then(|origin| self.origins.binary_search_by(|own| own.as_bytes().cmp(origin)).ok());
        match place.and_then(|place| u16::try_from(place).ok()) {
            Some(place) => Admitted::Listed(place),
            None if self.any => Admitted::Any,
            None => Admitted::No,
        }
    }

    fn varies(&self) -> bool {
        !self.origins.is_empty()
    }

    /// The value of Access-Control-Allow-Origin.
    fn allowed(&self, admitted: Admitted) -> Option<&str> {
        match admitted {
            Admitted::No => None,
            Admitted::Any => Some("*"),
            Admitted::Listed(place) => self.origins.get(usize::from(place)).map(|origin| &**origin),
        }
    }

    /// Appends the fields of a response; `varies` if it has `Vary: Origin` already.
    pub(super) fn write(&self, admitted: Admitted, varies: bool, out: &mut Vec<u8>) {
        if let Some(allowed) = self.allowed(admitted) {
            write_field(out, "Access-Control-Allow-Origin", allowed.as_bytes());
            out.extend_from_slice(&self.lines);
        }
        if self.varies() && !varies {
            write_field(out, "Vary", b"Origin");
        }
    }

    /// The response to a preflight: an OPTIONS request with Access-Control-Request-Method. `headers` are the values
    /// of Access-Control-Request-Headers.
    pub fn preflight(&self, admitted: Admitted, method: &[u8], headers: &[&[u8]]) -> Preflight {
        let mut fields = Vec::new();
        write_field(&mut fields, "Vary", b"Origin");
        let mut failures = Vec::new();
        match self.allowed(admitted) {
            Some(allowed) => write_field(&mut fields, "Access-Control-Allow-Origin", allowed.as_bytes()),
            None => failures.push("origin"),
        }
        if !self.allows_method(method) {
            failures.push("method");
        }
        let requested: Vec<&[u8]> = headers.iter().flat_map(|value| list(value)).collect();
        if !requested.iter().all(|name| self.allows_header(name)) {
            failures.push("headers");
        }
        if !failures.is_empty() {
            return Preflight {
                status: 400,
                fields,
                body: format!("Disallowed CORS: {}", failures.join(", ")),
            };
        }
        let methods = match (self.methods.is_empty(), self.allows_any_method()) {
            (true, _) => METHODS.join(", ").into_bytes(),
            (false, true) => method.to_vec(),
            (false, false) => self.methods.join(", ").into_bytes(),
        };
        write_field(&mut fields, "Access-Control-Allow-Methods", &methods);
        if !self.headers.is_empty() {
            write_field(&mut fields, "Access-Control-Allow-Headers", self.headers.join(", ").as_bytes());
        } else if !requested.is_empty() {
            write_field(&mut fields, "Access-Control-Allow-Headers", &requested.join(&b", "[..]));
        }
        write_max_age(&mut fields, self.preflight_max_age_s);
        write_credentials(&mut fields, self.credentials);
        Preflight { status: 200, fields, body: "OK".into() }
    }

    fn allows_any_method(&self) -> bool {
        self.methods.iter().any(|method| &**method == "*")
    }

    fn allows_method(&self, method: &[u8]) -> bool {
        let is = |known: &str| known.as_bytes() == method;
        match self.methods.is_empty() {
            true => METHODS.into_iter().any(is),
            false => {
                self.methods.iter().any(|known| is(known)) || (self.allows_any_method() && is_token(method))
            }
        }
    }

    fn allows_header(&self, name: &[u8]) -> bool {
        let is = |known: &str| known.as_bytes().eq_ignore_ascii_case(name);
        match self.headers.is_empty() {
            true => is_token(name),
            false => self.headers.iter().any(|known| is(known)) || SAFELISTED.into_iter().any(is),
        }
    }
}

fn write_max_age(out: &mut Vec<u8>, seconds: u64) {
    out.extend_from_slice(b"Access-Control-Max-Age: ");
    write_decimal(out, seconds);
    out.extend_from_slice(b"\r\n");
}

fn write_credentials(out: &mut Vec<u8>, credentials: bool) {
    if credentials {
        write_field(out, "Access-Control-Allow-Credentials", b"true");
    }
}

/// Whether a value of Vary has Origin, or everything.
pub(super) fn varies_by_origin(value: &[u8]) -> bool {
    list(value).any(|member| member.eq_ignore_ascii_case(b"origin") || member == b"*")
}

/// Whether a field decides about origins: a server that sends it has its own rules.
pub(super) fn is_origin_field(name: &str) -> bool {
    name.eq_ignore_ascii_case("access-control-allow-origin")
}

/// Whether a field belongs to CORS.
pub(super) fn is_of_cors(name: &str) -> bool {
    const PREFIX: &str = "access-control-";
    name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}
