//! The requests to a provider, and the meaning of its answers: the steps between the schedule and the transport.

use crate::guard::clouds::{AZURE_AGE_DAYS_MAX, FILE_BYTES_MAX, Provider, azure_file};
use std::time::Duration;

/// Longest time of one request (guard semantics, section 8).
const REQUEST_MAX: Duration = Duration::from_secs(10);

/// Longest time of Azure's page and file together, with all attempts (section 8).
const AZURE_MAX: Duration = Duration::from_secs(20);

/// Attempts to get Azure's page and file (section 8).
const AZURE_ATTEMPTS: u32 = 3;

/// Between two of them (section 8).
const AZURE_PAUSE: Duration = Duration::from_secs(2);

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask<'a> {
    pub url: &'a str,
    /// The tag of the known document, which the provider need not send again.
    pub etag: Option<&'a str>,
    /// Bytes that the answer may have.
    pub bytes_max: usize,
    /// Longest time of the whole request.
    pub within: Duration,
}

/// One answer, whatever its status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub etag: Option<String>,
    pub body: Vec<u8>,
}

/// Sends requests and measures time.
pub trait Transport {
    /// Makes a request and follows no redirect. An error is a text for people.
    fn get(&mut self, ask: &Ask<'_>) -> Result<Reply, String>;
    /// Lets time pass.
    fn wait(&mut self, time: Duration);
    /// The time since some moment.
    fn elapsed(&self) -> Duration;
    /// Days since 1970.
    fn today(&self) -> u64;
}

/// Identifies a version of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    url: String,
    etag: String,
}

/// The result of fetching.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// The provider still has the document of the tag.
    Unchanged,
    /// The document, and its tag if the provider sent one.
    Document(Vec<u8>, Option<Tag>),
}

/// Fetches the document that a provider publishes at this address.
pub fn fetch(
    provider: Provider,
    url: &str,
    tag: Option<&Tag>,
    transport: &mut impl Transport,
) -> Result<Fetched, String> {
    if provider != Provider::Azure {
        return document(url, tag, REQUEST_MAX, transport);
    }
    let end = transport.elapsed() + AZURE_MAX;
    let mut attempt = 1;
    loop {
        let fetched = azure(url, tag, end, transport);
        let is_last = attempt == AZURE_ATTEMPTS || transport.elapsed() + AZURE_PAUSE >= end;
        if fetched.is_ok() || is_last {
            return fetched;
        }
        attempt += 1;
        transport.wait(AZURE_PAUSE);
    }
}

/// The page, and then the file that it names. A mirror may have the file in the place of the page.
fn azure(
    url: &str,
    tag: Option<&Tag>,
    end: Duration,
    transport: &mut impl Transport,
) -> Result<Fetched, String> {
    let page = match document(url, tag, left(end, transport)?, transport)? {
        Fetched::Document(body, _) if !body.trim_ascii_start().starts_with(b"{") => body,
        fetched @ (Fetched::Document(..) | Fetched::Unchanged) => return Ok(fetched),
    };
    let file = azure_file(&page, transport.today()).map_err(|error| error.to_string())?;
    if let Some(days) = file.age_days.filter(|days| *days > AZURE_AGE_DAYS_MAX) {
        log::warn!("guard: the networks of azure are {days} days old: {}", file.url);
    }
    document(&file.url, tag, left(end, transport)?, transport)
}

/// The time for the next request.
fn left(end: Duration, transport: &impl Transport) -> Result<Duration, String> {
    match end.saturating_sub(transport.elapsed()) {
        Duration::ZERO => Err(format!("not within {} s", AZURE_MAX.as_secs())),
        left => Ok(left.min(REQUEST_MAX)),
    }
}

fn document(
    url: &str,
    tag: Option<&Tag>,
    within: Duration,
    transport: &mut impl Transport,
) -> Result<Fetched, String> {
    let etag = tag.filter(|tag| tag.url == url).map(|tag| tag.etag.as_str());
    let reply = transport.get(&Ask { url, etag, bytes_max: FILE_BYTES_MAX, within })?;
    match reply.status {
        200 => {
            let tag = reply.etag.map(|etag| Tag { url: url.to_owned(), etag });
            Ok(Fetched::Document(reply.body, tag))
        }
        304 if etag.is_some() => Ok(Fetched::Unchanged),
        // A server that redirects could name any place.
        300..=399 => Err(format!("{url}: a redirect (status {}), which is not followed", reply.status)),
        status => Err(format!("{url}: expected status 200, found {status}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "https://www.microsoft.com/page";
    const FILE: &str = "https://download.microsoft.com/x/ServiceTags_Public_20251208.json";

    /// Answers in their order; each takes a second.
    #[derive(Default)]
    struct Script {
        replies: Vec<Result<Reply, String>>,
        asked: Vec<(String, Option<String>, u64)>,
        now: Duration,
        takes: Duration,
    }

    impl Transport for Script {
        fn get(&mut self, ask: &Ask<'_>) -> Result<Reply, String> {
            self.asked.push((ask.url.to_owned(), ask.etag.map(str::to_owned), ask.within.as_secs()));
            self.now += self.takes.min(ask.within);
            self.replies.remove(0)
        }

        fn wait(&mut self, time: Duration) {
            self.now += time;
        }

        fn elapsed(&self) -> Duration {
            self.now
        }

        fn today(&self) -> u64 {
            20_432
        }
    }

    fn ok(body: &str, etag: &str) -> Result<Reply, String> {
        let etag = (!etag.is_empty()).then(|| etag.to_owned());
        Ok(Reply { status: 200, etag, body: body.into() })
    }

    fn status(status: u16) -> Result<Reply, String> {
        Ok(Reply { status, ..Reply::default() })
    }

    fn run(script: &mut Script, provider: Provider, url: &str, tag: Option<&Tag>) -> Result<Fetched, String> {
        fetch(provider, url, tag, script)
    }

    #[test]
    fn ours_8_requests_are_conditional() {
        let url = "https://a.test/x";
        let mut script = Script { replies: vec![ok("{}", "\"1\""), status(304)], ..Script::default() };
        let first = run(&mut script, Provider::Aws, url, None).expect("a document");
        let Fetched::Document(_, tag) = first else { panic!("{first:?}") };
        assert_eq!(run(&mut script, Provider::Aws, url, tag.as_ref()), Ok(Fetched::Unchanged));
        let asked = [(url.to_owned(), None, 10), (url.to_owned(), Some("\"1\"".to_owned()), 10)];
        assert_eq!(script.asked, asked);
        // The tag of another place is none, and nothing is unchanged that was not asked for.
        script.replies = vec![status(304)];
        assert!(run(&mut script, Provider::Aws, "https://b.test/x", tag.as_ref()).is_err());
        assert_eq!(script.asked[2].1, None);
    }

    #[test]
    fn guard_8_redirects_and_errors_are_failures() {
        for (answer, part) in [
            (status(301), "redirect"),
            (status(302), "redirect"),
            (status(307), "redirect"),
            (status(304), "redirect"),
            (status(404), "found 404"),
            (status(500), "found 500"),
            (status(206), "found 206"),
            (Err("timeout".to_owned()), "timeout"),
        ] {
            let mut script = Script { replies: vec![answer], ..Script::default() };
            let error = run(&mut script, Provider::Gcp, "https://a.test/x", None).expect_err(part);
            assert!(error.contains(part), "{error}");
            assert_eq!(script.asked.len(), 1, "only Azure is asked again at once");
        }
    }

    #[test]
    fn guard_8_azure_has_a_page_and_a_file() {
        let page = format!("<a href=\"{FILE}\">");
        let mut script = Script { replies: vec![ok(&page, "\"p\""), ok("{}", "\"f\"")], ..Script::default() };
        let fetched = run(&mut script, Provider::Azure, PAGE, None).expect("a document");
        let tag = Tag { url: FILE.to_owned(), etag: "\"f\"".to_owned() };
        assert_eq!(fetched, Fetched::Document("{}".into(), Some(tag.clone())));
        script.replies = vec![ok(&page, "\"p\""), status(304)];
        assert_eq!(run(&mut script, Provider::Azure, PAGE, Some(&tag)), Ok(Fetched::Unchanged));
        let asked: Vec<_> =
            script.asked[2..].iter().map(|(url, etag, _)| (url.as_str(), etag.as_deref())).collect();
        assert_eq!(asked, [(PAGE, None), (FILE, Some("\"f\""))]);
        // A mirror has the file itself.
        script.replies = vec![ok(" {}", "")];
        assert_eq!(run(&mut script, Provider::Azure, PAGE, None), Ok(Fetched::Document(" {}".into(), None)));
    }

    #[test]
    fn guard_8_azure_is_tried_three_times_and_for_twenty_seconds() {
        let page = || ok(&format!("<a href=\"{FILE}\">"), "");
        let refused = || Err::<Reply, _>("refused".to_owned());
        let mut script = Script {
            replies: vec![refused(), page(), status(503), page(), ok("{}", "")],
            ..Script::default()
        };
        assert!(run(&mut script, Provider::Azure, PAGE, None).is_ok());
        assert_eq!(script.now, Duration::from_secs(4), "two pauses");
        script.replies = vec![refused(), refused(), refused()];
        assert!(run(&mut script, Provider::Azure, PAGE, None).is_err());
        // Slow: 10 s, a pause, and what is left.
        let mut slow =
            Script { replies: vec![refused(), refused()], takes: Duration::MAX, ..Script::default() };
        assert!(run(&mut slow, Provider::Azure, PAGE, None).is_err());
        assert_eq!(slow.now, Duration::from_secs(20));
        assert_eq!(slow.asked.iter().map(|asked| asked.2).collect::<Vec<_>>(), [10, 8]);
    }

    #[test]
    fn guard_8_a_page_of_azure_without_its_file_is_a_failure() {
        let decoy = "<a href=\"https://evil.example/ServiceTags_Public_20251208.json\">";
        let mut script =
            Script { replies: vec![ok(decoy, ""), ok(decoy, ""), ok("", "")], ..Script::default() };
        let error = run(&mut script, Provider::Azure, PAGE, None).expect_err("a decoy");
        assert!(error.contains("download.microsoft.com"), "{error}");
        assert!(script.asked.iter().all(|(url, ..)| url == PAGE));
    }
}
