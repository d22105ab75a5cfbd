//! Further fields of a gateway's responses (guard semantics, section 9): security headers, CORS ([`cors`]), and the reports
//! of browsers about violations ([`report`]).
//!
//! All lines are prepared once for each guard file. A field is written if the response has none of its name, or replaces the
//! response's own. Strict-Transport-Security is for responses over TLS only (RFC 6797 section 7.2). Responses of a forward
//! proxy belong to other servers and get no fields.

pub mod cors;
pub mod report;

use super::directives::{HeaderLines, HeadersOf};
use crate::http::fields::write_field;
use crate::http::forwarding;
use crate::http::message::Fields;
use cors::{Admitted, Cors};

/// The default set (guard semantics, section 9).
const DEFAULTS: [(&str, &str); 10] = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "SAMEORIGIN"),
    ("X-XSS-Protection", "1; mode=block"),
    ("Referrer-Policy", "strict-origin-when-cross-origin"),
    ("Permissions-Policy", "geolocation=(), microphone=(), camera=()"),
    ("X-Permitted-Cross-Domain-Policies", "none"),
    ("X-Download-Options", "noopen"),
    ("Cross-Origin-Embedder-Policy", "require-corp"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
];

const HSTS: &str = "Strict-Transport-Security";

/// Without a line `hsts` (guard semantics, section 9).
const HSTS_DEFAULT: &str = "max-age=31536000; includeSubDomains";

/// Most fields: one bit for each shows whether a response has it.
const FIELDS_MAX: usize = 64;

/// One field.
#[derive(Debug)]
struct Field {
    name: Box<str>,
    value: Box<str>,
    overwrite: bool,
    /// Only for a client that uses TLS.
    secure_only: bool,
}

/// The security headers of a guard file, and its CORS.
#[derive(Debug)]
pub struct SecurityHeaders {
    of: HeadersOf,
    fields: Vec<Field>,
    cors: Option<Cors>,
    report_path: Option<Box<str>>,
}

/// The author of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// weir's own.
    Own,
    /// A server's behind the gateway.
    Server,
}

/// The facts of a request that decide about the fields of its response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Circumstances {
    /// Whether the client uses TLS, to weir or to a trusted proxy in front.
    pub secure: bool,
    /// Whether the origin of the requesting page may read the response.
    pub admitted: Admitted,
}

impl SecurityHeaders {
    /// The fields of a guard file.
    pub fn new(lines: &HeaderLines) -> SecurityHeaders {
        let mut fields: Vec<Field> = Vec::new();
        let named = |name: &str| lines.fields.iter().find(|line| line.name.eq_ignore_ascii_case(name));
        let mut add = |name: &str, value: &str, overwrite, secure_only| {
            fields.push(Field { name: name.into(), value: value.into(), overwrite, secure_only });
        };
        for (name, value) in DEFAULTS.iter().filter(|(name, _)| named(name).is_none()) {
            add(name, value, false, false);
        }
        match &lines.hsts {
            None => add(HSTS, HSTS_DEFAULT, false, true),
            Some(line) => line.value.iter().for_each(|value| add(HSTS, value, false, true)),
        }
        let policy: Vec<&str> = lines.csp.iter().map(|(_, directive)| &**directive).collect();
        if !policy.is_empty() {
            add("Content-Security-Policy", &policy.join("; "), lines.csp_overwrite, false);
        }
        for line in &lines.fields {
            line.value.iter().for_each(|value| add(&line.name, value, line.overwrite, false));
        }
        debug_assert!(fields.len() <= FIELDS_MAX);
        let cors = lines.cors.as_ref().map(Cors::new);
        let report_path = lines.csp_report.as_ref().map(|(_, path)| path.clone());
        SecurityHeaders { of: lines.of, fields, cors, report_path }
    }

    /// The rules for other origins.
    pub fn cors(&self) -> Option<&Cors> {
        self.cors.as_ref()
    }

    /// Whether browsers send their reports to a path, in its form for comparison.
    pub fn takes_reports_at(&self, path: &[u8]) -> bool {
        self.report_path.as_ref().is_some_and(|own| own.as_bytes() == path)
    }

    /// The facts of a request with these fields.
    pub fn circumstances(&self, secure: bool, request: Fields<'_, '_>) -> Circumstances {
        let mut origins = request.all("origin");
        let admitted =
            self.cors.as_ref().map_or(Admitted::No, |cors| match (origins.next(), origins.next()) {
                (origin, None) => cors.admit(origin),
                // Of two origins none is certainly the page's.
                (_, Some(_)) => Admitted::No,
            });
        Circumstances { secure, admitted }
    }

    /// The fields that one response gets in addition to its own.
    pub fn for_answer<'a, 'n>(
        &'a self,
        author: Author,
        circumstances: Circumstances,
        names: impl Iterator<Item = (&'n str, &'n [u8])>,
    ) -> Additions<'a> {
        let wanted = match (self.of, author) {
            (HeadersOf::All, Author::Own | Author::Server) | (HeadersOf::Own, Author::Own) => true,
            (HeadersOf::Own, Author::Server) | (HeadersOf::Nothing, Author::Own | Author::Server) => false,
        };
        let is_written = |field: &Field| wanted && (circumstances.secure || !field.secure_only);
        let mut missing = 0;
        for (at, field) in self.fields.iter().take(FIELDS_MAX).enumerate() {
            missing |= u64::from(is_written(field)) << at;
        }
        let (mut cors, mut varies) = (self.cors.as_ref(), false);
        for (name, value) in names {
            // weir's own answers have the fields that protect them already.
            let stays = |field: &Field| !field.overwrite || author == Author::Own;
            let own = |field: &Field| stays(field) && field.name.eq_ignore_ascii_case(name);
            if let Some(at) = self.fields.iter().take(FIELDS_MAX).position(own) {
                missing &= !(1 << at);
            }
            varies |= name.eq_ignore_ascii_case("vary") && cors::varies_by_origin(value);
            if cors::is_origin_field(name) {
                cors = cors.filter(|cors| cors.overwrites());
            }
        }
        Additions { headers: self, missing, cors, circumstances, varies }
    }
}

/// The fields without a line about them.
impl Default for SecurityHeaders {
    fn default() -> SecurityHeaders {
        SecurityHeaders::new(&HeaderLines::default())
    }
}

/// The additional fields of one response.
#[derive(Clone, Copy, Debug)]
pub struct Additions<'a> {
    headers: &'a SecurityHeaders,
    /// A bit for each field that is written.
    missing: u64,
    /// `None` if the response's own rules for other origins apply, or there are no rules.
    cors: Option<&'a Cors>,
    circumstances: Circumstances,
    /// Whether the response itself has `Vary: Origin`.
    varies: bool,
}

impl Additions<'_> {
    /// Leaves out CORS, for a response that is itself about other origins.
    pub fn without_cors(self) -> Self {
        Additions { cors: None, ..self }
    }

    /// The fields of a server's 304. They take the place of those in the response that the client has (RFC 9111 section 4.3.4), and which
    /// of those the server has sent itself is unknown. So only what replaces a server's field is written, and Vary, since the server's own
    /// takes the place of a stored one.
    pub fn on_not_modified(self) -> Self {
        let mut missing = self.missing;
        for (at, field) in self.headers.fields.iter().take(FIELDS_MAX).enumerate() {
            missing &= !(u64::from(!field.overwrite) << at);
        }
        let replaces = self.cors.is_some_and(Cors::overwrites);
        let admitted = if replaces { self.circumstances.admitted } else { Admitted::No };
        Additions { missing, circumstances: Circumstances { admitted, ..self.circumstances }, ..self }
    }

    fn written(&self) -> impl Iterator<Item = &Field> {
        let is_written = |(at, _): &(usize, &Field)| self.missing & 1 << at != 0;
        self.headers.fields.iter().take(FIELDS_MAX).enumerate().filter(is_written).map(|(_, field)| field)
    }
}

impl forwarding::Edits for Additions<'_> {
    fn removes_nothing(&self) -> bool {
        self.cors.is_none() && !self.written().any(|field| field.overwrite)
    }

    fn removes(&self, name: &str) -> bool {
        // Without Access-Control-Allow-Origin the other fields of a server mean nothing, and must not join weir's.
        (self.cors.is_some() && cors::is_of_cors(name))
            || self.written().any(|field| field.overwrite && field.name.eq_ignore_ascii_case(name))
    }

    fn write_added(&self, out: &mut Vec<u8>) {
        for field in self.written() {
            write_field(out, &field.name, field.value.as_bytes());
        }
        if let Some(cors) = self.cors {
            cors.write(self.circumstances.admitted, self.varies, out);
        }
    }
}

#[cfg(test)]
mod tests;
