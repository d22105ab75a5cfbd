//! `cloud refresh`, `cloud source`, `cloud roots` and `cloud change-max`: the settings for fetching the networks of the clouds.

use super::draft::Draft;
use super::values::{duration, number, provider, word_text};
use super::words::{Words, shown};
use crate::guard::clouds::{CHANGE_MAX, Provider, REFRESH_MS, REFRESH_MS_LEAST, REFRESH_MS_MOST};
use std::net::IpAddr;
use std::path::PathBuf;

/// Longest address of a source (chosen: the usual limit of web servers).
const URL_BYTES_MAX: usize = 2048;

/// The largest factor that can be allowed (chosen): larger ones allow everything.
const FACTOR_MAX: u64 = 1_000_000;

/// The settings for fetching the networks of the clouds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudFetch {
    /// The interval in milliseconds; `None` for never.
    pub refresh_ms: Option<u64>,
    /// Addresses that replace those of the providers.
    pub sources: Vec<(Provider, Box<str>)>,
    /// A file with certificates in PEM of trusted authorities, in place of the public ones; as written, relative to the guard
    /// file.
    pub roots: Option<PathBuf>,
    /// The largest factor by which a set may differ from the last one.
    pub change_max: u64,
}

impl Default for CloudFetch {
    fn default() -> CloudFetch {
        CloudFetch { refresh_ms: Some(REFRESH_MS), sources: Vec::new(), roots: None, change_max: CHANGE_MAX }
    }
}

impl CloudFetch {
    /// The address of a provider's document.
    pub fn url(&self, provider: Provider) -> &str {
        let own = self.sources.iter().find(|(other, _)| *other == provider);
        own.map_or(provider.url(), |(_, url)| url)
    }
}

/// Reads the rest of a `cloud` line; `None` if it is another directive.
pub(super) fn cloud_fetch(draft: &mut Draft, words: &mut Words) -> Option<Result<(), String>> {
    if words.accept("refresh") {
        Some(refresh(draft, words))
    } else if words.accept("source") {
        Some(source(draft, words))
    } else if words.accept("roots") {
        Some(roots(draft, words))
    } else if words.accept("change-max") {
        Some(change_max(draft, words))
    } else {
        None
    }
}

fn refresh(draft: &mut Draft, words: &mut Words) -> Result<(), String> {
    let refresh_ms = match words.accept("off") {
        true => None,
        false => Some(duration(&words.value("a time such as 1h, or off")?)?),
    };
    if refresh_ms.is_some_and(|time| !(REFRESH_MS_LEAST..=REFRESH_MS_MOST).contains(&time)) {
        return Err("expected a time from 1m to 24h, or off".to_owned());
    }
    words.end()?;
    draft.single("cloud refresh")?;
    draft.directives.cloud_fetch.refresh_ms = refresh_ms;
    Ok(())
}

fn source(draft: &mut Draft, words: &mut Words) -> Result<(), String> {
    let provider = provider(&words.value("a provider such as aws")?)?;
    let url = words.value("an address such as https://mirror.example/ip-ranges.json")?;
    words.end()?;
    check_url(&url)?;
    draft.single(&format!("cloud source {}", provider.name()))?;
    draft.directives.cloud_fetch.sources.push((provider, url.into()));
    Ok(())
}

/// Without TLS an attacker on the way could choose the refused clients, so TLS is required except on loopback.
fn check_url(url: &str) -> Result<(), String> {
    let expected = "expected https://HOST/PATH, or http:// with a loopback address";
    let wrong = || format!("{expected}, found {}", shown(url));
    let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let is_clean = url.len() <= URL_BYTES_MAX
        && url.bytes().all(|byte| byte.is_ascii_graphic())
        && !authority.contains('@')
        && !url.contains(['#', '"', '<', '>', '\\']);
    let host = match authority.strip_prefix('[') {
        Some(inside) => inside.split(']').next(),
        None => authority.split(':').next(),
    };
    let host = host.filter(|host| !host.is_empty() && is_clean).ok_or_else(wrong)?;
    let is_loopback = host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    match scheme {
        "https" => Ok(()),
        "http" if is_loopback => Ok(()),
        _ => Err(wrong()),
    }
}

fn roots(draft: &mut Draft, words: &mut Words) -> Result<(), String> {
    let path = words.value("a file with certificates in PEM")?;
    words.end()?;
    if path.is_empty() {
        return Err(format!("expected a file with certificates in PEM, found {}", word_text(&path)));
    }
    draft.single("cloud roots")?;
    draft.directives.cloud_fetch.roots = Some(path.into());
    Ok(())
}

fn change_max(draft: &mut Draft, words: &mut Words) -> Result<(), String> {
    let factor = number(&words.value("a number such as 2")?, 1, FACTOR_MAX)?;
    words.end()?;
    draft.single("cloud change-max")?;
    draft.directives.cloud_fetch.change_max = factor;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::directives::parse;

    #[test]
    fn guard_8_how_networks_are_fetched_is_read() {
        let read = |text: &str| parse(text.as_bytes()).map(|directives| directives.cloud_fetch);
        assert_eq!(read(""), Ok(CloudFetch::default()));
        assert_eq!(read("cloud refresh off").map(|fetch| fetch.refresh_ms), Ok(None));
        for (time, ms) in [("1m", 60_000), ("1h", 3_600_000), ("24h", 86_400_000)] {
            assert_eq!(read(&format!("cloud refresh {time}")).map(|fetch| fetch.refresh_ms), Ok(Some(ms)));
        }
        let all = "cloud source aws https://mirror.example:8443/a.json?x=1\ncloud source gcp http://127.0.0.1:8/x\n\
                   cloud source linode http://[::1]/\ncloud roots \"a b.pem\"\ncloud change-max 20\n";
        let fetch = read(all).expect("it is right");
        assert_eq!(fetch.url(Provider::Aws), "https://mirror.example:8443/a.json?x=1");
        assert_eq!(fetch.url(Provider::Gcp), "http://127.0.0.1:8/x");
        assert_eq!(fetch.url(Provider::Azure), Provider::Azure.url());
        assert_eq!((fetch.roots, fetch.change_max), (Some("a b.pem".into()), 20));
    }

    #[test]
    fn guard_8_what_is_wrong_with_it_is_told() {
        for (line, part) in [
            ("cloud refresh 59s", "from 1m to 24h"),
            ("cloud refresh 25h", "from 1m to 24h"),
            ("cloud refresh", "a time such as 1h"),
            ("cloud refresh 1h now", "expected the end"),
            ("cloud refresh 1h\ncloud refresh 2h", "line 1 has it"),
            ("cloud source aws", "an address such as"),
            ("cloud source oracle https://a/", "unknown provider"),
            ("cloud source aws ftp://a/", "expected https://"),
            ("cloud source aws http://mirror.example/", "expected https://"),
            ("cloud source aws http://localhost/", "loopback address"),
            ("cloud source aws http://127.0.0.1.evil.example/", "expected https://"),
            ("cloud source aws https://u:p@a/", "expected https://"),
            ("cloud source aws https:///a", "expected https://"),
            ("cloud source aws https://a/#b", "expected https://"),
            ("cloud source aws mirror.example", "expected https://"),
            ("cloud source aws https://a/\ncloud source AWS https://b/", "line 1 has it"),
            ("cloud roots", "a file with certificates"),
            ("cloud roots \"\"", "a file with certificates"),
            ("cloud change-max 0", "from 1 to"),
            ("cloud change-max two", "from 1 to"),
        ] {
            let problems = parse(line.as_bytes()).expect_err(line);
            assert!(problems.iter().any(|problem| problem.message.contains(part)), "{line}: {problems:?}");
        }
        let secret = parse(b"cloud source aws https://user:secret@a/").expect_err("a password");
        assert!(!secret[0].message.contains("secret"), "{secret:?}");
    }
}
