//! weir's own fields in responses from the cache.

use crate::cache::rfc::status;
use crate::engine::settings::Settings;
use crate::http::head::Version;

/// weir's own fields in every head from the cache: Via and the name in Cache-Status, as far as they are configured. One for
/// each version of the origin.
#[derive(Debug)]
pub(in crate::engine) struct Signature {
    http10: Vec<u8>,
    http11: Vec<u8>,
    /// The last line is a Cache-Status to be continued.
    pub status: bool,
}

impl Signature {
    pub fn new(settings: &Settings) -> Signature {
        let status = settings.caching().is_some_and(|cache| cache.status);
        let lines = |version: Version| {
            let mut out = Vec::new();
            if let Some(via) = &settings.via {
                out = [b"Via: ", version.digits().as_bytes(), b" ", via.as_bytes(), b"\r\n"].concat();
            }
            if status {
                status::write_name(&mut out, cache_name(settings));
            }
            out
        };
        Signature { http10: lines(Version::Http10), http11: lines(Version::Http11), status }
    }

    pub fn lines(&self, version: Version) -> &[u8] {
        match version {
            Version::Http10 => &self.http10,
            Version::Http11 => &self.http11,
        }
    }
}

/// The name of the cache in Cache-Status.
pub(in crate::engine) fn cache_name(settings: &Settings) -> &str {
    settings.via.as_deref().unwrap_or("weir")
}
