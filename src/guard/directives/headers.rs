//! The directives for further fields of responses (guard semantics, section 9): `headers`, `header`, `csp`, `hsts`, `cors`,
//! `csp-report`.

use super::Place;
use super::draft::Draft;
use super::values::{duration, methods, number, path_prefix, sorted_once, word_text};
use super::words::{Optional, Words, shown};
use crate::http::fields::{is_token, is_value_byte};

/// Most lines `header` (chosen: each costs every response a comparison with every field).
pub const HEADERS_MAX: usize = 40;

/// Longest value of a field in bytes (guard semantics, section 9).
pub const VALUE_BYTES_MAX: usize = 8192;

/// Most origins of a `cors` line (chosen).
const ORIGINS_MAX: usize = 256;

/// Longest `max-age`, in seconds (chosen: a hundred years).
const MAX_AGE_S_MAX: u64 = 100 * 365 * 86_400;

/// The least `max-age` of a host on the preload list (guard semantics, section 9).
const PRELOAD_MAX_AGE_S: u64 = 31_536_000;

/// Fields that frame a message or concern one connection, and those with directives of their own. In lower case.
const RESERVED: [&str; 19] = [
    "connection",
    "content-length",
    "date",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "vary",
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-allow-methods",
    "access-control-allow-headers",
];

/// The responses that get the security headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeadersOf {
    /// No response.
    Nothing,
    /// weir's own responses on a gateway listener: refusals and pages.
    #[default]
    Own,
    /// The responses of the servers behind a gateway as well.
    All,
}

/// `header NAME VALUE [overwrite|if-absent]`, `header off NAME`.
#[derive(Clone, Debug, PartialEq)]
pub struct HeaderLine {
    /// The line of the directive.
    pub place: Place,
    /// The name as written.
    pub name: Box<str>,
    /// The value; `None`: the field of the default set is left out.
    pub value: Option<Box<str>>,
    /// Whether it replaces the server's own field.
    pub overwrite: bool,
}

/// `hsts max-age=N [include-subdomains] [preload]`, `hsts off`.
#[derive(Clone, Debug, PartialEq)]
pub struct HstsLine {
    /// The line of the directive.
    pub place: Place,
    /// The value of Strict-Transport-Security; `None` for no such field.
    pub value: Option<Box<str>>,
}

/// `cors origins ORIGIN,...|*`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CorsLine {
    /// The line of the directive.
    pub place: Place,
    /// Whether any origin is admitted, beside the listed ones.
    pub any: bool,
    /// Origins as browsers write them, sorted.
    pub origins: Vec<Box<str>>,
    /// Methods in capitals; empty without a list.
    pub methods: Vec<Box<str>>,
    /// Names of request fields; empty: any.
    pub headers: Vec<Box<str>>,
    /// Names of response fields that scripts may read.
    pub exposed: Vec<Box<str>>,
    /// Requests may carry cookies.
    pub credentials: bool,
    /// Lifetime of preflight responses in seconds; `None` for the default.
    pub max_age_s: Option<u64>,
    /// Whether a server's own fields about other origins are replaced.
    pub overwrite: bool,
}

/// The further fields of responses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeaderLines {
    /// The responses that get them.
    pub of: HeadersOf,
    /// Fields of the default set with other values, and further fields.
    pub fields: Vec<HeaderLine>,
    /// Directives of the content security policy with their sources, in order.
    pub csp: Vec<(Place, Box<str>)>,
    /// Whether the policy replaces the server's own.
    pub csp_overwrite: bool,
    /// Strict-Transport-Security.
    pub hsts: Option<HstsLine>,
    /// The rules for other origins.
    pub cors: Option<CorsLine>,
    /// The path to which browsers report violations of the content security policy.
    pub csp_report: Option<(Place, Box<str>)>,
}

impl HeaderLines {
    /// The lines of all directives that have one.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        let fields = self.fields.iter().map(|line| &line.place);
        let csp = self.csp.iter().map(|(place, _)| place);
        let hsts = self.hsts.iter().map(|line| &line.place);
        let cors = self.cors.iter().map(|line| &line.place);
        let report = self.csp_report.iter().map(|(place, _)| place);
        fields.chain(csp).chain(hsts).chain(cors).chain(report)
    }
}

/// A value as it may be sent: control characters except tab are left out. CR and LF are errors, because they end a field, and
/// so is a text that is too long or empty (guard semantics, section 9).
pub fn field_value(text: &str) -> Result<Box<str>, String> {
    if text.contains(['\r', '\n']) {
        return Err("expected a value without line ends".into());
    }
    if text.len() > VALUE_BYTES_MAX {
        return Err(format!("expected a value of at most {VALUE_BYTES_MAX} bytes, found {}", text.len()));
    }
    let value: String = text.chars().filter(|char| !char.is_ascii() || is_value_byte(*char as u8)).collect();
    match value.trim_matches([' ', '\t']) {
        "" => Err(format!("expected a value, found {}", shown(text))),
        value => Ok(value.into()),
    }
}

fn field_name(words: &mut Words) -> Result<Box<str>, String> {
    let expected = "the name of a field such as X-Frame-Options";
    let name = words.value(expected)?;
    if !is_token(name.as_bytes()) {
        return Err(format!("expected {expected}, found {}", shown(&name)));
    }
    let lower = name.to_ascii_lowercase();
    match lower.as_str() {
        "strict-transport-security" => Err("expected a line hsts for Strict-Transport-Security".into()),
        "content-security-policy" => Err("expected lines csp for Content-Security-Policy".into()),
        _ if RESERVED.contains(&lower.as_str()) => {
            Err(format!("{name} is weir's own: expected a field that does not frame or route messages"))
        }
        _ => Ok(name.into()),
    }
}

pub(super) fn headers(draft: &mut Draft, words: &mut Words) -> Result<(), String> {
    let of = match (words.accept("on"), words.accept("own"), words.accept("off")) {
        (true, _, _) => HeadersOf::All,
        (_, true, _) => HeadersOf::Own,
        (_, _, true) => HeadersOf::Nothing,
        (false, false, false) => return Err(words.unexpected("on, own or off")),
    };
    words.end()?;
    draft.directives.headers.of = of;
    draft.single("headers")
}

pub(super) fn header(draft: &mut Draft, words: &mut Words) -> Result<(), String> {
    let off = words.accept("off");
    let name = field_name(words)?;
    let value = match off {
        true => None,
        false => Some(field_value(&words.value("a value, \"in quotes\" if it has blanks")?)?),
    };
    let overwrite = value.is_some() && words.accept("overwrite");
    if value.is_some() && !overwrite {
        // The default, which may be written.
        words.accept("if-absent");
    }
    words.end()?;
    if draft.directives.headers.fields.len() >= HEADERS_MAX {
        return Err(format!("expected at most {HEADERS_MAX} lines with header"));
    }
    let lower = name.to_ascii_lowercase();
    draft.once(format!("header {lower}"), |line| {
        format!("{name} again: expected once, and line {line} has it")
    })?;
    let text = match &value {
        None => format!("header off {name}"),
        Some(value) => {
            let overwrite = if overwrite { " overwrite" } else { "" };
            format!("header {name} {}{overwrite}", word_text(value))
        }
    };
    let place = draft.place(text);
    draft.directives.headers.fields.push(HeaderLine { place, name, value, overwrite });
    Ok(())
}

/// `csp DIRECTIVE [SOURCE ...][; DIRECTIVE ...]`, `csp overwrite`.
pub(super) fn csp(draft: &mut Draft, words: &mut Words) -> Result<(), String> {
    if words.accept("overwrite") {
        words.end()?;
        draft.directives.headers.csp_overwrite = true;
        return draft.single("csp overwrite");
    }
    let expected = "a directive with its sources, such as default-src 'self'";
    let mut line = words.value(expected)?;
    while words.peek().is_some() {
        line = line + " " + &words.value(expected)?;
    }
    let mut found = Vec::new();
    for directive in line.split(';').map(str::trim).filter(|directive| !directive.is_empty()) {
        let (name, _) = directive.split_once(' ').unwrap_or((directive, ""));
        let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        // A comma begins another policy (CSP3, section 2.2.2).
        let is_plain = directive.bytes().all(|byte| (b' '..0x7F).contains(&byte) && byte != b',');
        if !(is_name && is_plain) {
            return Err(format!(
                "expected {expected}, in ASCII and without commas, found {}",
                shown(directive)
            ));
        }
        let lower = name.to_ascii_lowercase();
        draft.once(format!("csp {lower}"), |line| {
            format!("{name} again: expected once, and line {line} has it")
        })?;
        let sources: Vec<_> = directive.split(' ').skip(1).filter(|source| !source.is_empty()).collect();
        for unsafe_source in sources.iter().filter(|source| is_unsafe(source)) {
            draft.warn(format!("csp: {name} has {unsafe_source}, which lets injected scripts or styles run"));
        }
        found.push(std::iter::once(lower.as_str()).chain(sources).collect::<Vec<_>>().join(" "));
    }
    if found.is_empty() {
        return Err(format!("expected {expected}, found {}", shown(&line)));
    }
    let length: usize = draft.directives.headers.csp.iter().map(|(_, csp)| csp.len() + 2).sum();
    if length + line.len() > VALUE_BYTES_MAX {
        return Err(format!("expected a policy of at most {VALUE_BYTES_MAX} bytes in all"));
    }
    for directive in found {
        let place = draft.place(format!("csp {directive}"));
        draft.directives.headers.csp.push((place, directive.into()));
    }
    Ok(())
}

fn is_unsafe(source: &str) -> bool {
    source.eq_ignore_ascii_case("'unsafe-inline'") || source.eq_ignore_ascii_case("'unsafe-eval'")
}

pub(super) fn hsts(draft: &mut Draft, words: &mut Words) -> Result<(), String> {
    let expected = "max-age=31536000, a time such as max-age=365d, or off";
    draft.single("hsts")?;
    if words.accept("off") {
        words.end()?;
        let place = draft.place("hsts off".to_owned());
        draft.directives.headers.hsts = Some(HstsLine { place, value: None });
        return Ok(());
    }
    let word = words.value(expected)?;
    let age = word.strip_prefix("max-age=");
    let max_age_s = seconds(age.ok_or_else(|| format!("expected {expected}, found {}", shown(&word)))?)?;
    let mut given = (false, false);
    let known: [Optional<(bool, bool)>; 2] = [
        ("include-subdomains", |given, _| {
            given.0 = true;
            Ok(())
        }),
        ("preload", |given, _| {
            given.1 = true;
            Ok(())
        }),
    ];
    words.options(&mut given, &known)?;
    let (mut subdomains, mut preload) = given;
    if preload && max_age_s < PRELOAD_MAX_AGE_S {
        draft.warn(format!("hsts: preload needs a max-age of at least {PRELOAD_MAX_AGE_S}, and is left out"));
        preload = false;
    }
    subdomains |= preload;
    let word = |given, word| if given { word } else { "" };
    let text = format!(
        "hsts max-age={max_age_s}{}{}",
        word(subdomains, " include-subdomains"),
        word(preload, " preload")
    );
    let value = format!(
        "max-age={max_age_s}{}{}",
        word(subdomains, "; includeSubDomains"),
        word(preload, "; preload")
    );
    let place = draft.place(text);
    draft.directives.headers.hsts = Some(HstsLine { place, value: Some(value.into()) });
    Ok(())
}

/// Seconds: a bare number, or a time with its unit.
fn seconds(text: &str) -> Result<u64, String> {
    match !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => number(text, 0, MAX_AGE_S_MAX),
        false => duration(text)
            .map(|ms| ms / 1000)
            .map_err(|_| format!("expected seconds, or a time such as 365d, found {}", shown(text))),
    }
}

pub(super) fn cors(draft: &mut Draft, words: &mut Words) -> Result<(), String> {
    let mut line = CorsLine::default();
    let known: [Optional<CorsLine>; 7] = [
        ("origins", |line, words| origins(line, words)),
        ("methods", |line, words| methods(words).map(|methods| line.methods = methods)),
        ("headers", |line, words| names(words).map(|headers| line.headers = headers)),
        ("expose", |line, words| names(words).map(|exposed| line.exposed = exposed)),
        ("credentials", |line, _| {
            line.credentials = true;
            Ok(())
        }),
        ("max-age", |line, words| {
            line.max_age_s = Some(seconds(&words.value("a time such as 600 or 10m")?)?);
            Ok(())
        }),
        ("overwrite", |line, _| {
            line.overwrite = true;
            Ok(())
        }),
    ];
    if !words.options(&mut line, &known)?.contains(&"origins") {
        return Err("expected the origins, such as cors origins https://app.example".into());
    }
    if line.any && line.credentials {
        return Err("origins * with credentials would let every site act as the user: expected the origins \
                    that may"
            .into());
    }
    draft.single("cors")?;
    line.place = draft.place(cors_text(&line));
    draft.directives.headers.cors = Some(line);
    Ok(())
}

fn origins(line: &mut CorsLine, words: &mut Words) -> Result<(), String> {
    let expected = "origins such as https://app.example or http://localhost:3000, in lower case and without a \
                    path, or *";
    for text in words.list(expected)? {
        if text == "*" {
            line.any = true;
        } else if is_origin(&text) {
            line.origins.push(text.into());
        } else {
            return Err(format!("expected {expected}, found {}", shown(&text)));
        }
    }
    line.origins = sorted_once(std::mem::take(&mut line.origins), "origin")?;
    match line.origins.len() {
        ..=ORIGINS_MAX => Ok(()),
        _ => Err(format!("expected at most {ORIGINS_MAX} origins")),
    }
}

/// An origin as browsers serialise it (RFC 6454 section 6.2): scheme, host, and a port unless it is the scheme's. `null` is
/// the origin of many documents, and identifies none.
fn is_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return false };
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte));
    let is_of_host =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._:[]".contains(&byte);
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => "/",
    };
    is_scheme
        && !authority.is_empty()
        && authority.bytes().all(is_of_host)
        && !authority.ends_with(default_port)
}

fn names(words: &mut Words) -> Result<Vec<Box<str>>, String> {
    let expected = "names of fields such as X-Requested-With,Content-Type, or *";
    let names = words.list(expected)?;
    match names.iter().find(|name| !is_token(name.as_bytes())) {
        Some(wrong) => Err(format!("expected {expected}, found {}", shown(wrong))),
        // Without a list all are allowed.
        None if names == ["*"] => Ok(Vec::new()),
        None => sorted_once(names.into_iter().map(String::into_boxed_str).collect(), "field"),
    }
}

fn cors_text(line: &CorsLine) -> String {
    let any = if line.any { Some("*") } else { None };
    let origins: Vec<&str> = any.into_iter().chain(line.origins.iter().map(|origin| &**origin)).collect();
    let mut text = format!("cors origins {}", origins.join(","));
    for (name, list) in [("methods", &line.methods), ("headers", &line.headers), ("expose", &line.exposed)] {
        if !list.is_empty() {
            text.push_str(&format!(" {name} {}", list.join(",")));
        }
    }
    text.push_str(if line.credentials { " credentials" } else { "" });
    if let Some(max_age_s) = line.max_age_s {
        text.push_str(&format!(" max-age {max_age_s}"));
    }
    text.push_str(if line.overwrite { " overwrite" } else { "" });
    text
}

pub(super) fn csp_report(draft: &mut Draft, words: &mut Words) -> Result<(), String> {
    let path = path_prefix(words)?;
    words.end()?;
    draft.single("csp-report")?;
    let place = draft.place(format!("csp-report {}", word_text(&path)));
    draft.directives.headers.csp_report = Some((place, path));
    Ok(())
}
