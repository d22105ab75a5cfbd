//! Filters of bodies through the engine's public seam: what a client, an origin and the cache notice of them.

mod shell;

use shell::{Shell, connection, status, text};
use std::sync::{Arc, Mutex};
use weir::cache::store::{Limits, Store};
use weir::engine::filter::{Filter, FilterDecision, FilterLists, Output};
use weir::engine::transaction::log_record::{CacheUse, Text, Verdict};
use weir::engine::{CacheSettings, Settings};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Does as it is told, and notes what it has seen.
#[derive(Debug)]
struct Tester {
    verdict: FilterDecision,
    replaces: bool,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Filter for Tester {
    fn replaces(&self) -> bool {
        self.replaces
    }

    fn handle_payload(&mut self, payload: &[u8], output: &mut Output<'_>) -> FilterDecision {
        self.seen.lock().expect("the bytes").extend_from_slice(payload);
        if self.replaces {
            output.write(&payload.to_ascii_uppercase());
        }
        self.verdict
    }
}

/// A shell whose requests, or responses, go through such a filter if they have a field X-Filter; and what that has seen.
fn filtering(
    settings: Settings,
    (of_response, verdict, replaces): (bool, FilterDecision, bool),
) -> (Shell, Arc<Mutex<Vec<u8>>>) {
    let mut shell = Shell::with(settings, None, "");
    let seen = Arc::<Mutex<Vec<u8>>>::default();
    let shared = Arc::clone(&seen);
    shell.engine.set_filters(Arc::new(move |head| {
        let mut lists = FilterLists::default();
        if head.fields.get("x-filter").is_some() {
            let filter: Box<dyn Filter> = Box::new(Tester { verdict, replaces, seen: Arc::clone(&shared) });
            if of_response { lists.response.push(filter) } else { lists.request.push(filter) }
        }
        lists
    }));
    (shell, seen)
}

fn request(line: &str, fields: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}\r\n")
}

const REPLACE: (FilterDecision, bool) = (FilterDecision::Drop, true);

#[test]
fn request_that_a_filter_aborts_is_refused_and_says_why() {
    let (mut shell, _) = filtering(Settings::default(), (false, FilterDecision::Abort("attack"), false));
    let post = request("POST http://127.0.0.1/", "X-Filter: 1\r\nContent-Length: 5\r\n");
    let client = shell.client_with(post + "he");
    let answer = shell.send(client);
    assert_eq!((status(&answer), connection(&answer).as_str()), (403, "close"), "{answer}");
    assert!(answer.contains("Proxy-Status:") && answer.contains("http_request_denied"), "{answer}");
    assert_eq!(
        (shell.record().verdict, text(shell.record(), Text::Reason)),
        (Verdict::Refused, "attack".into())
    );
    assert_eq!(shell.engine.metrics().blocks_lent, 0);
}

#[test]
fn response_that_a_filter_aborts_has_no_end() {
    let (mut shell, _) = filtering(Settings::default(), (true, FilterDecision::Abort("leak"), false));
    let client = shell.client_with(request("GET http://127.0.0.1/", "X-Filter: 1\r\n"));
    let (origin, _) = shell.establish(0);
    shell.receive(origin, OK);
    let answer = shell.send(client);
    assert!(answer.contains("Content-Length: 2\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert!(shell.is_ended(client));
    assert_eq!(
        (shell.record().verdict, text(shell.record(), Text::Reason)),
        (Verdict::Refused, "leak".into())
    );
    assert_eq!(shell.engine.metrics().blocks_lent, 0);
}

/// Where the length may change, no head announces one: nor that of an answer to HEAD.
#[test]
fn what_may_be_replaced_has_no_length() {
    let (mut shell, _) = filtering(Settings::default(), (false, REPLACE.0, REPLACE.1));
    let post = request("POST http://127.0.0.1/", "X-Filter: 1\r\nContent-Length: 5\r\n");
    shell.client_with(post + "hello");
    let (_, sent) = shell.establish(0);
    assert!(sent.contains("Transfer-Encoding: chunked\r\n") && !sent.contains("Content-Length"), "{sent}");
    assert!(sent.ends_with("\r\n\r\n5\r\nHELLO\r\n0\r\n\r\n"), "{sent}");

    for (line, version, end) in [
        ("GET", "HTTP/1.1", "\r\n\r\n2\r\nOK\r\n0\r\n\r\n"),
        ("GET", "HTTP/1.0", "\r\n\r\nOK"),
        ("HEAD", "HTTP/1.1", "\r\n\r\n"),
    ] {
        let (mut shell, _) = filtering(Settings::default(), (true, REPLACE.0, REPLACE.1));
        let head = format!("{line} http://127.0.0.1/ {version}\r\nHost: 127.0.0.1\r\nX-Filter: 1\r\n\r\n");
        let client = shell.client_with(head);
        let (origin, _) = shell.establish(0);
        shell.receive(origin, if line == "HEAD" { &OK[..OK.len() - 2] } else { OK });
        let answer = shell.send(client);
        assert!(!answer.contains("Content-Length") && answer.ends_with(end), "{line} {version}: {answer}");
        assert_eq!(shell.is_ended(client), version == "HTTP/1.0");
    }
}

/// What filters make of a response is for the client that asked, and what is stored has not gone through them.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn filtered_responses_pass_the_cache_by() {
    let cache = Some(CacheSettings::new(Arc::new(Store::new(Limits::with_budget(1 << 22, [1, 2])))));
    let settings = Settings { cache, ..Settings::default() };
    let (mut shell, _) = filtering(settings, (true, REPLACE.0, REPLACE.1));
    let stored =
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=900\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
    for (index, (fields, body, cached)) in [
        ("X-Filter: 1\r\n", "OK", CacheUse::Bypass),
        ("", "ok", CacheUse::Miss),
        ("X-Filter: 1\r\n", "OK", CacheUse::Bypass),
    ]
    .into_iter()
    .enumerate()
    {
        let client = shell.client_with(request("GET http://127.0.0.1/", fields));
        let (origin, _) = shell.establish(index);
        shell.receive(origin, stored);
        assert!(shell.send(client).contains(body));
        assert_eq!(shell.log.last().map(|record| record.cache), Some(cached), "{fields}");
    }
    let client = shell.client_with(request("GET http://127.0.0.1/", ""));
    assert!(shell.send(client).ends_with("\r\n\r\nok"));
    assert_eq!((shell.connects.len(), shell.log.last().map(|record| record.cache)), (3, Some(CacheUse::Hit)));
}

/// Rule 34: a request that is sent once more is not shown again, and one that was replaced is not sent once more.
#[test]
fn request_that_is_repeated_is_seen_once() {
    for (verdict, replaces) in [(FilterDecision::Pass, false), (FilterDecision::Hold, false), REPLACE] {
        let (mut shell, seen) = filtering(Settings::default(), (false, verdict, replaces));
        let client = shell.client_with(request("GET http://127.0.0.1/1", ""));
        let (origin, _) = shell.establish(0);
        shell.receive(origin, OK);
        assert_eq!(status(&shell.send(client)), 200);
        shell.pass(2000);
        let put = request("PUT http://127.0.0.1/2", "X-Filter: 1\r\nContent-Length: 5\r\n");
        shell.receive(client, put + "hello");
        let sent = if shell.connects.len() == 1 { shell.send(origin) } else { String::new() };
        shell.end(origin);
        let case = format!("{verdict:?} {sent}");
        if replaces {
            // Either at once on a fresh connection, or not at all.
            assert!(shell.connects.len() == 2 || status(&shell.send(client)) == 502, "{case}");
        } else {
            let (_, again) = shell.establish(1);
            assert!(again.ends_with("\r\n\r\nhello"), "{case}: {again}");
        }
        assert_eq!(*seen.lock().expect("the bytes"), b"hello", "{case}");
    }
}
