//! The credentials of one request: Proxy-Authorization with the Basic scheme (RFC 7617).

use std::fmt;
use std::hint::black_box;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Longest base64 text that is decoded, in bytes (chosen; the longest name and password of a user file fit).
pub const BASE64_BYTES_MAX: usize = 1024;

/// Longest `name:password` in bytes: the length that the longest base64 text decodes to.
pub const DECODED_BYTES_MAX: usize = BASE64_BYTES_MAX / 4 * 3;

/// Some clients leave out the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Number of a user, valid only for the [`super::auth::Users`] that returned it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UserId(pub(super) u32);

/// A name and a password on the stack: they never reach the heap, and are overwritten when dropped.
pub struct Credentials {
    bytes: [u8; DECODED_BYTES_MAX],
    user_len: usize,
    len: usize,
}

impl Credentials {
    /// The name, as the client sent it.
    pub fn user(&self) -> &[u8] {
        &self.bytes[..self.user_len]
    }

    /// The password, as the client sent it.
    pub fn password(&self) -> &[u8] {
        &self.bytes[self.user_len + 1..self.len]
    }
}

impl Drop for Credentials {
    fn drop(&mut self) {
        erase(&mut self.bytes);
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// Overwrites a secret in a way that the compiler should not remove.
pub(super) fn erase(bytes: &mut [u8]) {
    bytes.fill(0);
    black_box(bytes);
}

/// Reads the value of a Proxy-Authorization field. `None` for other schemes, for invalid or too long base64, and for
/// control characters in name or password (RFC 7617 section 2).
pub fn credentials(value: &[u8]) -> Option<Credentials> {
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let text = rest.trim_ascii();
    if text.len() > BASE64_BYTES_MAX {
        return None;
    }
    let mut credentials = Credentials { bytes: [0; DECODED_BYTES_MAX], user_len: 0, len: 0 };
    credentials.len = BASE64.decode_slice(text, &mut credentials.bytes).ok()?;
    let decoded = &credentials.bytes[..credentials.len];
    if decoded.iter().any(u8::is_ascii_control) {
        return None;
    }
    credentials.user_len = memchr::memchr(b':', decoded)?;
    Some(credentials)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Option<(String, String)> {
        let found = credentials(value.as_bytes())?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Some((text(found.user()), text(found.password())))
    }

    #[test]
    fn basic_credentials_are_decoded() {
        let cases = [
            ("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", Some(("Aladdin", "open sesame"))),
            ("basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", Some(("Aladdin", "open sesame"))),
            ("BASIC   QWxhZGRpbjpvcGVuIHNlc2FtZQ==  ", Some(("Aladdin", "open sesame"))),
            ("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ", Some(("Aladdin", "open sesame"))),
            ("Basic dGVzdDoxMjPCow==", Some(("test", "123£"))),
            ("Basic YTpiOmM=", Some(("a", "b:c"))),
            ("Basic YTo=", Some(("a", ""))),
            ("Basic OmI=", Some(("", "b"))),
            ("Basic Og==", Some(("", ""))),
            ("Basic YWI=", None),
            ("Basic ", None),
            ("Basic", None),
            ("", None),
            ("Basic\tYTpi", None),
            ("BasicYTpi", None),
            ("Bearer YTpi", None),
            ("Digest username=a", None),
            ("Basic YTpi!", None),
            ("Basic YTpi YTpi", None),
            ("Basic YTpi===", None),
            ("Basic YTpiCg==", None),
            ("Basic YQA6Yg==", None),
        ];
        for (value, expected) in cases {
            let expected = expected.map(|(user, password)| (user.to_owned(), password.to_owned()));
            assert_eq!(read(value), expected, "{value}");
        }
    }

    #[test]
    fn the_longest_fit_and_longer_ones_do_not() {
        for (len, fits) in [(DECODED_BYTES_MAX, true), (DECODED_BYTES_MAX + 1, false), (100_000, false)] {
            let plain = format!("u:{}", "p".repeat(len - 2));
            let value = format!("Basic {}", BASE64.encode(&plain));
            assert_eq!(read(&value), fits.then(|| ("u".to_owned(), plain[2..].to_owned())), "{len}");
        }
    }

    #[test]
    fn nothing_is_shown() {
        assert_eq!(format!("{:?}", credentials(b"Basic YTpi").unwrap()), "Credentials");
    }
}
