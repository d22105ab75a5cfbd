//! Tokens against forged requests (guard semantics, section 7): a page of another site can make a browser send a request with
//! the user's cookies, but cannot read them.
//!
//! A token is a unique value with a signature by the key (HMAC-SHA256, RFC 2104). The signature covers the session as well,
//! so a token of one session is worthless in another: a site that can plant cookies (a sibling domain) cannot plant its own
//! token. The token is in a cookie that pages can read, and is repeated in a field or a form: the *signed double submit*. A
//! page with a session may keep the token in the session instead ([`judge_kept`]).
//!
//! Origin and Referer are checked first: browsers send them with every unsafe request, and no page can forge them.

use crate::http::message::Fields;
use crate::http::web_origin::WebOrigin;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// The cookie that has the token.
pub const COOKIE: &str = "csrf_token";

/// The field of a request that has it again.
pub const FIELD: &str = "X-CSRF-Token";

/// The field of a form that has it again.
pub const FORM_FIELD: &str = "csrf_token";

/// Bytes of the value that distinguishes tokens (chosen: 128 bits). It need not be secret: the signature protects it.
const UNIQUE_BYTES: usize = 16;

/// Bytes of the signature (SHA-256).
const SIGNATURE_BYTES: usize = 32;

/// Characters of a token: both parts as base64.
pub const TOKEN_BYTES: usize = (UNIQUE_BYTES + SIGNATURE_BYTES) / 3 * 4;

/// The shortest key in bytes (chosen, as RFC 2104 section 3 advises: no shorter than the hash).
pub const KEY_BYTES_MIN: usize = 32;

/// The key that signs tokens.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

impl std::fmt::Debug for Key {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Key(..)")
    }
}

/// The reason why a request counts as forged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forged {
    /// The request comes from a page of another origin.
    Origin,
    /// The token is missing, in the cookie or in its repetition.
    Missing,
    /// The token is not one of this session, or the two are not the same.
    Wrong,
}

impl Forged {
    /// The word for log and events.
    pub fn word(self) -> &'static str {
        match self {
            Forged::Origin => "origin",
            Forged::Missing => "token_missing",
            Forged::Wrong => "token_wrong",
        }
    }
}

impl Key {
    /// A key of these bytes; `None` if they are fewer than [`KEY_BYTES_MIN`].
    pub fn new(bytes: &[u8]) -> Option<Key> {
        if bytes.len() < KEY_BYTES_MIN {
            return None;
        }
        Hmac::new_from_slice(bytes).ok().map(Key)
    }

    /// The token of a session, from a value that no other token has. `session` is empty without a session.
    pub fn token(&self, session: &[u8], unique: u128) -> String {
        let unique = unique.to_be_bytes();
        let signature = self.signed(session, &unique).finalize().into_bytes();
        URL_SAFE_NO_PAD.encode([&unique[..], &signature[..]].concat())
    }

    fn signed(&self, session: &[u8], unique: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        // With its length, so that another session cannot be a prefix of this one.
        mac.update(&(session.len() as u64).to_be_bytes());
        mac.update(session);
        mac.update(unique);
        mac
    }

    /// Whether a token is one of this session's. Takes the same time whatever is wrong with the signature.
    pub fn is_token(&self, session: &[u8], token: &[u8]) -> bool {
        if token.len() != TOKEN_BYTES {
            return false;
        }
        let Ok(bytes) = URL_SAFE_NO_PAD.decode(token) else { return false };
        let Some((unique, signature)) = bytes.split_at_checked(UNIQUE_BYTES) else { return false };
        self.signed(session, unique).verify_slice(signature).is_ok()
    }

    /// Judges the token of the cookie and its repetition.
    pub fn judge(&self, session: &[u8], cookie: Option<&[u8]>, again: Option<&[u8]>) -> Result<(), Forged> {
        let (Some(cookie), Some(again)) = (cookie, again) else { return Err(Forged::Missing) };
        let same = bool::from(cookie.ct_eq(again));
        if same && self.is_token(session, cookie) { Ok(()) } else { Err(Forged::Wrong) }
    }
}

/// Judges a token that the session itself contains, without a cookie of its own.
pub fn judge_kept(kept: &[u8], again: Option<&[u8]>) -> Result<(), Forged> {
    let Some(again) = again else { return Err(Forged::Missing) };
    if !kept.is_empty() && bool::from(kept.ct_eq(again)) { Ok(()) } else { Err(Forged::Wrong) }
}

/// Judges the source of an unsafe request. `own` is the requested origin, if it is known. Without Origin and Referer the source
/// is unknown, and the token decides. Several lines of one of them are no browser's, and readers disagree which one counts.
pub fn judge_origin(own: Option<WebOrigin>, fields: Fields<'_, '_>) -> Result<(), Forged> {
    let (mut origins, mut referers) = (fields.all("origin"), fields.all("referer"));
    let (lines, source) = match (origins.next(), referers.next()) {
        (Some(origin), _) => (1 + origins.count(), WebOrigin::parse(origin)),
        (None, Some(referer)) => (1 + referers.count(), WebOrigin::of_uri(referer)),
        (None, None) => return Ok(()),
    };
    if lines == 1 && source.is_some() && source == own { Ok(()) } else { Err(Forged::Origin) }
}

/// The value of a cookie, in the values of the fields Cookie. `None` if the name is missing, or occurs more than once: it is
/// unknown which of them a server would use.
pub fn cookie<'a>(fields: impl Iterator<Item = &'a [u8]>, name: &str) -> Option<&'a [u8]> {
    let mut found = cookies(fields, name);
    found.next().filter(|_| found.next().is_none())
}

/// The session that a cookie of this name has; empty without the cookie. With several the session is unknown, so that no token is
/// one of it: a site that can plant a cookie must not turn the session off.
pub fn session<'a>(fields: impl Iterator<Item = &'a [u8]>, name: &str) -> Result<&'a [u8], Forged> {
    let mut found = cookies(fields, name);
    let session = found.next().unwrap_or_default();
    if found.next().is_none() { Ok(session) } else { Err(Forged::Wrong) }
}

/// The values of all cookies of this name.
fn cookies<'a>(fields: impl Iterator<Item = &'a [u8]>, name: &str) -> impl Iterator<Item = &'a [u8]> {
    let pairs = fields.flat_map(|value| value.split(|byte| *byte == b';'));
    pairs.filter_map(move |pair| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        let (own, value) = (pair[..at].trim_ascii(), &pair[at + 1..]);
        (own == name.as_bytes()).then_some(value.trim_ascii())
    })
}

/// The value of a field of a form (`application/x-www-form-urlencoded`); like [`cookie`], `None` if there are several. Tokens
/// have no characters that are escaped, so an escaped value is no token.
pub fn form_field<'a>(form: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut found = form.split(|byte| *byte == b'&').filter_map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        (&pair[..at] == name.as_bytes()).then_some(&pair[at + 1..])
    });
    found.next().filter(|_| found.next().is_none())
}

/// The content of the part of that name in `multipart/form-data` (RFC 7578). The end of the form may be missing: an incomplete
/// part is none. `None` if there are several such parts, or if the part is a file.
pub fn part<'a>(form: &'a [u8], boundary: &[u8], name: &str) -> Option<&'a [u8]> {
    let delimiter = [b"\r\n--", boundary].concat();
    // The first delimiter may stand at the very beginning.
    let begins = form.strip_prefix(&delimiter[2..]).map(|rest| form.len() - rest.len());
    let mut ends = memchr::memmem::find_iter(form, &delimiter);
    let mut at = match begins {
        Some(begins) => begins,
        None => ends.next()? + delimiter.len(),
    };
    let mut found = None;
    for end in ends {
        let part = form.get(at..end).unwrap_or_default();
        at = end + delimiter.len();
        let Some(head_end) = memchr::memmem::find(part, b"\r\n\r\n") else { continue };
        // Behind what is left of the line of the delimiter.
        let lines = part[..head_end].split(|byte| *byte == b'\n').skip(1);
        if !lines.map(<[u8]>::trim_ascii).any(|line| names_field(line, name)) {
            continue;
        }
        if found.is_some() {
            return None;
        }
        found = Some(&part[head_end + 4..]);
    }
    found
}

/// Whether a header line makes its part the field of that name, and no file.
fn names_field(line: &[u8], name: &str) -> bool {
    let mut parameters = line.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let is_disposition =
        parameters.next().is_some_and(|first| first.eq_ignore_ascii_case(b"content-disposition: form-data"));
    let (mut is_named, mut is_file) = (false, false);
    for parameter in parameters {
        let at = parameter.iter().position(|byte| *byte == b'=').unwrap_or(parameter.len());
        let (key, value) =
            (parameter[..at].to_ascii_lowercase(), parameter.get(at + 1..).unwrap_or_default());
        is_file |= key.starts_with(b"filename");
        let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
        is_named |= key == b"name" && unquoted == name.as_bytes();
    }
    is_disposition && is_named && !is_file
}

/// Whether a method must not change anything (RFC 9110 section 9.2.1), so that it needs no token.
pub fn is_safe(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE")
}

/// The field Set-Cookie for a token. Pages read the token, so the cookie is not HttpOnly.
pub fn write_cookie(out: &mut Vec<u8>, token: &str, secure: bool) {
    let secure = if secure { "; Secure" } else { "" };
    let line = format!("Set-Cookie: {COOKIE}={token}; Path=/; SameSite=Strict{secure}\r\n");
    out.extend_from_slice(line.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::with_request;

    fn key() -> Key {
        Key::new(&[7; 32]).unwrap()
    }

    #[test]
    fn ours_7_a_token_is_of_its_key_and_session() {
        let token = key().token(b"s", 1);
        assert_eq!(token.len(), TOKEN_BYTES);
        assert!(key().is_token(b"s", token.as_bytes()));
        assert_ne!(key().token(b"s", 2), token);
        let mut flipped = token.clone().into_bytes();
        flipped[40] ^= 1;
        for (session, token) in [
            (&b""[..], token.as_bytes()),
            (b"t", token.as_bytes()),
            (b"s", &token.as_bytes()[1..]),
            (b"s", &flipped),
            (b"s", b""),
            (b"s", &[b'='; TOKEN_BYTES]),
            (b"s", &[0xFF; TOKEN_BYTES]),
        ] {
            assert!(!key().is_token(session, token), "{}", String::from_utf8_lossy(token));
        }
        assert!(!Key::new(&[8; 32]).unwrap().is_token(b"s", token.as_bytes()));
        assert!(Key::new(&[7; 31]).is_none());
        assert_eq!(format!("{:?}", key()), "Key(..)");
    }

    /// RFC 4231, test case 2 shows that the signature is HMAC-SHA256; here with what is signed spelled out.
    #[test]
    fn ours_7_the_signature_is_hmac_sha256() {
        let token = URL_SAFE_NO_PAD.decode(key().token(b"ab", 5)).unwrap();
        let (inner, outer) = ([7 ^ 0x36u8; 32], [7 ^ 0x5Cu8; 32]);
        let (inner_rest, outer_rest) = ([0x36u8; 32], [0x5Cu8; 32]);
        use sha2::Digest as _;
        let signed = [&2u64.to_be_bytes()[..], b"ab", &5u128.to_be_bytes()].concat();
        let first = Sha256::digest([&inner[..], &inner_rest, &signed].concat());
        let second = Sha256::digest([&outer[..], &outer_rest, &first].concat());
        assert_eq!(&token[UNIQUE_BYTES..], &second[..]);
    }

    #[test]
    fn ours_7_both_halves_of_a_double_submit_are_needed() {
        let (token, other) = (key().token(b"s", 1), key().token(b"s", 2));
        let (token, other) = (token.as_bytes(), other.as_bytes());
        for (session, cookie, again, expected) in [
            (&b"s"[..], Some(token), Some(token), Ok(())),
            (b"s", Some(token), None, Err(Forged::Missing)),
            (b"s", None, Some(token), Err(Forged::Missing)),
            (b"s", None, None, Err(Forged::Missing)),
            (b"s", Some(token), Some(other), Err(Forged::Wrong)),
            (b"t", Some(token), Some(token), Err(Forged::Wrong)),
            (b"s", Some(b"x"), Some(b"x"), Err(Forged::Wrong)),
            (b"s", Some(b""), Some(b""), Err(Forged::Wrong)),
        ] {
            assert_eq!(key().judge(session, cookie, again), expected);
        }
        assert_eq!(judge_kept(b"x", Some(b"x")), Ok(()));
        assert_eq!(judge_kept(b"x", Some(b"y")), Err(Forged::Wrong));
        assert_eq!(judge_kept(b"", Some(b"")), Err(Forged::Wrong));
        assert_eq!(judge_kept(b"x", None), Err(Forged::Missing));
    }

    #[test]
    fn ours_7_where_a_request_comes_from() {
        let own = WebOrigin::parse(b"https://app.example");
        let site = "Origin: https://app.example\r\n";
        for (lines, expected) in [
            (site.to_owned(), Ok(())),
            (format!("{site}Origin: https://evil.test\r\n"), Err(Forged::Origin)),
            (format!("Origin: https://evil.test\r\n{site}"), Err(Forged::Origin)),
            (format!("{site}{site}"), Err(Forged::Origin)),
            ("Origin: https://app.example https://evil.test\r\n".to_owned(), Err(Forged::Origin)),
            ("Origin: \r\n".to_owned(), Err(Forged::Origin)),
            (
                "Referer: https://app.example/\r\nReferer: https://evil.test/\r\n".to_owned(),
                Err(Forged::Origin),
            ),
        ] {
            let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
            let judged = with_request(text.as_bytes(), |head| judge_origin(own, head.fields));
            assert_eq!(judged, expected, "{lines}");
        }
        for (origin, referer, expected) in [
            ("https://app.example", "", Ok(())),
            ("HTTPS://app.EXAMPLE", "", Ok(())),
            ("https://app.example:443", "", Ok(())),
            ("https://app.example:80", "", Err(Forged::Origin)),
            ("", "https://app.example:443/forms/", Ok(())),
            ("", "https://app.example:8443/forms/", Err(Forged::Origin)),
            ("https://app.example", "https://evil.test/", Ok(())),
            ("http://app.example", "", Err(Forged::Origin)),
            ("https://app.example:8443", "", Err(Forged::Origin)),
            ("https://app.example.evil.test", "", Err(Forged::Origin)),
            ("null", "https://app.example/", Err(Forged::Origin)),
            ("", "https://app.example/forms/", Ok(())),
            ("", "https://app.example", Ok(())),
            ("", "https://app.example.evil.test/", Err(Forged::Origin)),
            ("", "https://app.example@evil.test/", Err(Forged::Origin)),
            ("", "https://app", Err(Forged::Origin)),
            ("", "", Ok(())),
        ] {
            let line = |name: &str, value: &str| match value {
                "" => String::new(),
                value => format!("{name}: {value}\r\n"),
            };
            let lines = line("Origin", origin) + &line("Referer", referer);
            let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
            let judged = with_request(text.as_bytes(), |head| judge_origin(own, head.fields));
            assert_eq!(judged, expected, "{origin} {referer}");
            // A site whose own origin is unknown has no pages.
            let unknown = with_request(text.as_bytes(), |head| judge_origin(None, head.fields));
            assert_eq!(unknown.is_ok(), lines.is_empty(), "{origin} {referer}");
        }
    }

    #[test]
    fn ours_7_a_form_with_files_has_its_token_in_a_part() {
        let part = |name: &str, value: &str| {
            format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let file = "--B\r\nContent-Disposition: form-data; name=\"csrf_token\"; filename=\"x\"\r\n\r\nx\r\n";
        let typed =
            "--B\r\nContent-Type: text/plain\r\ncontent-disposition: form-data; name=csrf_token\r\n\r\nt\r\n";
        let token = part("csrf_token", "t");
        for (form, expected) in [
            (format!("{token}--B--\r\n"), Some("t")),
            (format!("{}{token}{file}--B--", part("a", "b\r\n\r\nc")), Some("t")),
            (format!("preamble\r\n{token}--B--"), Some("t")),
            (format!("{typed}--B--"), Some("t")),
            (format!("{token}{}", "x".repeat(10)), None),
            (format!("{}--B\r\nContent-", token), Some("t")),
            (format!("{token}{token}--B--"), None),
            (format!("{file}--B--"), None),
            (format!("{}--B--", part("xcsrf_token", "t")), None),
            (format!("{}--B--", part("a", &token.replace("--B", "--C"))), None),
            (token.replace("--B", "--C"), None),
            (String::new(), None),
            ("--B".to_owned(), None),
        ] {
            let found = super::part(form.as_bytes(), b"B", FORM_FIELD);
            assert_eq!(found, expected.map(str::as_bytes), "{form}");
        }
    }

    #[test]
    fn ours_7_cookies_and_forms() {
        for (fields, value) in [
            (&["a=1; csrf_token=x"][..], Some("x")),
            (&["csrf_token=x;b=2"], Some("x")),
            (&["a=1", "csrf_token = x "], Some("x")),
            (&["csrf_token=x; csrf_token=y"], None),
            (&["csrf_token=x", "csrf_token=x"], None),
            (&["xcsrf_token=x; csrf_token"], None),
            (&["CSRF_TOKEN=x"], None),
            (&[], None),
        ] {
            let found = cookie(fields.iter().map(|field| field.as_bytes()), COOKIE);
            assert_eq!(found, value.map(str::as_bytes), "{fields:?}");
        }
        for (form, value) in [
            ("a=1&csrf_token=x&b", Some("x")),
            ("csrf_token=x", Some("x")),
            ("csrf_token=", Some("")),
            ("csrf_token=x&csrf_token=y", None),
            ("csrf%5Ftoken=x", None),
            ("", None),
        ] {
            assert_eq!(form_field(form.as_bytes(), FORM_FIELD), value.map(str::as_bytes), "{form}");
        }
        for (method, safe) in
            [("GET", true), ("HEAD", true), ("POST", false), ("get", false), ("PURGE", false)]
        {
            assert_eq!(is_safe(method), safe, "{method}");
        }
        let mut out = Vec::new();
        write_cookie(&mut out, "x", true);
        assert_eq!(out, b"Set-Cookie: csrf_token=x; Path=/; SameSite=Strict; Secure\r\n");
    }
}
