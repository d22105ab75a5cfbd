//! `examples/shortener`, as a browser uses it: curl with a jar for cookies.

mod common;
#[cfg(feature = "redis")]
#[allow(dead_code, reason = "its other tests use the rest")]
#[path = "stores/redis_server.rs"]
mod redis_server;
#[allow(dead_code, reason = "its main function is the program's")]
#[path = "../examples/shortener.rs"]
mod shortener;

use common::{Raw, Scratch};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// Has the arguments of the example for the process that is it, one a line.
const ARGUMENTS: &str = "SHORTENER_ARGUMENTS";

/// The example itself, in the processes that the tests below start: so it is always the one of the present sources.
#[test]
fn the_program() {
    let Ok(arguments) = std::env::var(ARGUMENTS) else { return };
    if let Err(error) = shortener::run(arguments.lines().map(str::to_owned)) {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a path"));
    command.args(["--exact", "the_program", "--nocapture"]).env(ARGUMENTS, arguments.join("\n"));
    command
}

/// The program, killed when dropped.
struct Shortener {
    child: Child,
    at: SocketAddr,
}

impl Shortener {
    /// Starts it on a port that the system picks.
    fn start(store: &str) -> Shortener {
        let mut command = program(&["--port", "0", "--store", store]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the example starts");
        let out = BufReader::new(child.stdout.take().expect("its output"));
        let address = out
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("http://")?.strip_suffix('/')?.parse().ok());
        Shortener { child, at: address.expect("its address") }
    }

    /// What a program says that does not start.
    fn fails(arguments: &[&str]) -> String {
        let output = program(arguments).output().expect("the example");
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.at)
    }
}

impl Drop for Shortener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A browser: curl with a jar for cookies.
struct Browser {
    jar: Scratch,
}

/// What curl has got.
#[derive(Debug)]
struct Got {
    status: u16,
    head: String,
    body: String,
}

impl Got {
    fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

impl Browser {
    fn new() -> Browser {
        Browser { jar: Scratch::new() }
    }

    #[track_caller]
    fn curl(&self, arguments: &[&str]) -> Got {
        let mut command = Command::new("curl");
        let jar = self.jar.join("cookies");
        command.args([
            "--silent",
            "--show-error",
            "--max-time",
            "20",
            "--noproxy",
            "",
            "-i",
            "-b",
            &jar,
            "-c",
            &jar,
        ]);
        let output = command.args(arguments).output().expect("curl");
        let text = String::from_utf8(output.stdout).expect("text");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {said}"));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Got { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// The token of the form on the page.
    #[track_caller]
    fn token(&self, shortener: &Shortener) -> String {
        let page = self.curl(&[&shortener.url("/")]);
        assert_eq!(page.status, 200, "{page:?}");
        let (_, rest) = page.body.split_once("name=\"csrf_token\" value=\"").expect("a form with a token");
        rest.split('"').next().expect("its end").to_owned()
    }

    #[track_caller]
    fn make(&self, shortener: &Shortener, token: &str, name: &str, target: &str) -> Got {
        let (token, name) = (format!("csrf_token={token}"), format!("name={name}"));
        let target = format!("target={target}");
        let url = shortener.url("/links");
        let form = ["--data-urlencode", &token, "--data-urlencode", &name, "--data-urlencode", &target];
        self.curl(&[&form[..], &[&url]].concat())
    }
}

/// Without curl there is nothing to be seen; in continuous integration it has to be there.
#[track_caller]
fn has_curl() -> bool {
    let found = Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_ok();
    assert!(found || std::env::var_os("CI").is_none(), "curl is not installed; scripts/test installs it");
    found
}

/// From the page to the link, and where it leads: in the browser, and in one that has weir for its proxy.
#[track_caller]
fn makes_and_follows(shortener: &Shortener, name: &str) {
    let browser = Browser::new();
    let token = browser.token(shortener);
    let made = browser.make(shortener, &token, name, "https://example.com/a?b=c&d");
    assert_eq!((made.status, made.field("location")), (303, Some("/")), "{made:?}");
    let page = browser.curl(&[&shortener.url("/")]);
    assert!(page.body.contains(&format!(">go/{name}</a>")), "{page:?}");
    assert!(!Browser::new().curl(&[&shortener.url("/")]).body.contains(name), "others have made others");
    leads(shortener, name, "https://example.com/a?b=c&d");
    let taken = browser.make(shortener, &token, name, "https://example.com/other");
    assert_eq!(taken.status, 409, "{taken:?}");
    assert!(taken.body.contains("value=\"https://example.com/other\""), "what was typed is there: {taken:?}");
    // The same form once more, and not by another browser.
    let again = browser.make(shortener, &token, name, "https://example.com/a?b=c&d");
    assert_eq!((again.status, again.field("location")), (303, Some("/")), "{again:?}");
    let page = browser.curl(&[&shortener.url("/")]);
    assert_eq!(page.body.matches(&format!(">go/{name}</a>")).count(), 1, "{page:?}");
    let stranger = Browser::new();
    let foreign = stranger.token(shortener);
    assert_eq!(stranger.make(shortener, &foreign, name, "https://example.com/a?b=c&d").status, 409);
    leads(shortener, name, "https://example.com/a?b=c&d");
}

#[track_caller]
fn leads(shortener: &Shortener, name: &str, target: &str) {
    let proxy = shortener.url("/");
    for arguments in [
        &[&*shortener.url(&format!("/{name}"))][..],
        &[&*shortener.url(&format!("/go/{name}"))],
        &["-x", &proxy, &format!("http://go/{name}")],
        &["--head", &shortener.url(&format!("/{name}"))],
    ] {
        let got = Browser::new().curl(arguments);
        assert_eq!((got.status, got.field("location")), (302, Some(target)), "{arguments:?}: {got:?}");
        assert!(got.field("set-cookie").is_none(), "to follow a link needs no session: {got:?}");
    }
}

#[test]
fn a_link_is_made_on_the_page_and_leads_there() {
    if !has_curl() {
        return;
    }
    let shortener = Shortener::start("memory");
    makes_and_follows(&shortener, "home");
    let browser = Browser::new();
    let page = browser.curl(&[&shortener.url("/")]);
    let cookie = page.field("set-cookie").expect("a session");
    assert!(cookie.contains("; SameSite=Lax; HttpOnly"), "{cookie}");
    assert!(page.field("content-security-policy").expect("a policy").starts_with("default-src 'none'"));
    assert_eq!(page.field("x-frame-options"), Some("SAMEORIGIN"));
    for (path, status) in
        [("/none", 404), ("/go/none", 404), ("/a/b", 404), ("/links", 405), ("/a%0d%0ab", 404)]
    {
        assert_eq!(browser.curl(&[&shortener.url(path)]).status, status, "{path}");
    }
    assert_eq!(browser.curl(&["--path-as-is", &shortener.url("/../../etc/passwd")]).status, 404);
}

#[test]
fn ours_7_a_form_without_the_token_of_its_session_makes_nothing() {
    if !has_curl() {
        return;
    }
    let shortener = Shortener::start("memory");
    let (browser, other) = (Browser::new(), Browser::new());
    let (token, foreign) = (browser.token(&shortener), other.token(&shortener));
    let stranger = Browser::new();
    for (browser, token) in [(&browser, ""), (&browser, &*foreign), (&other, &token), (&stranger, &token)] {
        let got = browser.make(&shortener, token, "mine", "http://evil.test/");
        assert_eq!(got.status, 403, "{got:?}");
    }
    let url = shortener.url("/links");
    let without = browser.curl(&[
        "--data-urlencode",
        "name=mine",
        "--data-urlencode",
        "target=http://evil.test/",
        &url,
    ]);
    assert_eq!(without.status, 403, "{without:?}");
    let form = format!("csrf_token={token}&name=mine&target=http://evil.test/");
    let of_other_site = browser.curl(&["-H", "Origin: http://evil.test", "--data", &form, &url]);
    assert_eq!(of_other_site.status, 403, "{of_other_site:?}");
    assert_eq!(browser.curl(&[&shortener.url("/mine")]).status, 404, "nothing was made");
    assert_eq!(browser.make(&shortener, &token, "mine", "http://good.test/").status, 303);
}

#[test]
fn what_is_no_name_or_no_address_of_the_web_is_refused_and_shown_harmless() {
    if !has_curl() {
        return;
    }
    let shortener = Shortener::start("memory");
    let browser = Browser::new();
    let token = browser.token(&shortener);
    for target in [
        "javascript:alert(1)",
        "JavaScript://example.com/%0aalert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "//example.com/",
        "http:example.com",
        "http://",
        "http:///x",
        "http://a b/",
        "http://a/\r\nSet-Cookie: x=y",
        "http://é/",
        "",
        &format!("http://a/{}", "x".repeat(2000)),
    ] {
        let got = browser.make(&shortener, &token, "x", target);
        assert_eq!(got.status, 400, "{target}: {got:?}");
        assert!(got.field("location").is_none() && !got.head.contains("x=y"), "{got:?}");
    }
    for name in [
        "../x",
        "a/b",
        "a b",
        "<script>alert(1)</script>",
        "\"onload=\"x",
        "a\r\nb",
        "links",
        "",
        "é",
        &"x".repeat(65),
    ] {
        let got = browser.make(&shortener, &token, name, "http://example.com/");
        assert_eq!(got.status, 400, "{name}: {got:?}");
        assert!(!got.body.contains("<script>") && !got.body.contains("\"onload"), "{got:?}");
    }
    assert!(browser.curl(&[&shortener.url("/")]).body.contains("<ul>\n</ul>"), "nothing was made");
}

/// Section 6: 50 a minute, then refused, then blocked.
#[test]
fn guard_6_the_51st_link_of_a_minute_is_refused_and_the_third_time_blocks() {
    if !has_curl() {
        return;
    }
    let shortener = Shortener::start("memory");
    let browser = Browser::new();
    let token = browser.token(&shortener);
    let session = std::fs::read_to_string(browser.jar.join("cookies")).expect("a jar");
    let id = session.split_whitespace().next_back().expect("an id");
    // On one connection, all at once: each is one attempt, whether it makes anything or not.
    let attempt = |number: u32| {
        let form = format!("csrf_token={token}&name=n{number}&target=http://example.com/{number}");
        let lines = format!("Content-Type: application/x-www-form-urlencoded\r\nCookie: session_id={id}\r\n");
        format!(
            "POST /links HTTP/1.1\r\nHost: {}\r\n{lines}Content-Length: {}\r\n\r\n{form}",
            shortener.at,
            form.len()
        )
    };
    let mut client = Raw::connect(shortener.at);
    client.send((1..=53).map(attempt).collect::<String>());
    let answers: Vec<_> = (1..=53).map(|_| client.read_response().head).collect();
    for (number, head) in (1..).zip(&answers) {
        let wait = head.get("retry-after").map(|seconds| seconds.parse::<u32>().expect("seconds"));
        match number {
            1..=50 => assert_eq!((head.status(), wait), (303, None), "{number}: {head:?}"),
            51 | 52 => {
                assert!(head.status() == 429 && wait.is_some_and(|wait| (1..=60).contains(&wait)), "{head:?}")
            }
            _ => assert_eq!((head.status(), wait), (429, Some(900)), "{number}: {head:?}"),
        }
    }
    let blocked = browser.make(&shortener, &token, "late", "http://example.com/");
    assert_eq!(blocked.status, 429, "{blocked:?}");
    let wait: u32 = blocked.field("retry-after").expect("a wait").parse().expect("seconds");
    assert!((600..=900).contains(&wait), "{blocked:?}");
    leads(&shortener, "n50", "http://example.com/50");
    assert_eq!(browser.curl(&[&shortener.url("/n51")]).status, 404);
    // Forms of other sites, which go through it as through any proxy, are not counted.
    let mut client = Raw::connect(shortener.at);
    client.send("POST http://127.1.2.3:1/links HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.read_head().status(), 403);
}

#[test]
fn forms_that_are_huge_broken_or_cut_off_do_no_harm() {
    if !has_curl() {
        return;
    }
    let shortener = Shortener::start("memory");
    let browser = Browser::new();
    let token = browser.token(&shortener);
    let huge = browser.jar.file("huge", format!("csrf_token={token}&name={}", "x".repeat(100_000)));
    let got = browser.curl(&["--data", &format!("@{huge}"), &shortener.url("/links")]);
    assert_eq!(got.status, 413, "{got:?}");
    let got = browser.curl(&[
        "-H",
        "Transfer-Encoding: chunked",
        "--data",
        &format!("@{huge}"),
        &shortener.url("/links"),
    ]);
    assert_eq!(got.status, 413, "{got:?}");
    // Clients that stop in the middle of their forms, and stay, keep nothing from the others.
    let head = format!("POST /links HTTP/1.1\r\nHost: {}\r\nContent-Length: 1000\r\n\r\nname=", shortener.at);
    let mut slow: Vec<_> = (0..20).map(|_| Raw::connect(shortener.at)).collect();
    slow.iter_mut().for_each(|client| client.send(&head));
    assert_eq!(browser.make(&shortener, &token, "fine", "http://example.com/").status, 303);
    leads(&shortener, "fine", "http://example.com/");
}

#[test]
fn links_in_a_file_outlive_the_program() {
    if !has_curl() {
        return;
    }
    let folder = Scratch::new();
    let store = format!("memory:{}", folder.join("links"));
    let shortener = Shortener::start(&store);
    makes_and_follows(&shortener, "kept");
    assert!(Shortener::fails(&["--store", &store]).contains("links"), "one program at a time has the file");
    // As it is: killed.
    drop(shortener);
    let shortener = Shortener::start(&store);
    leads(&shortener, "kept", "https://example.com/a?b=c&d");
    let browser = Browser::new();
    let token = browser.token(&shortener);
    assert_eq!(browser.make(&shortener, &token, "kept", "http://example.com/").status, 409);
    let broken = folder.file("broken", "no links\n");
    assert!(Shortener::fails(&["--store", &format!("memory:{broken}")]).contains("line 1 is no entry"));
    assert!(Shortener::fails(&["--port", "x"]).contains("no port"));
    assert!(Shortener::fails(&["--store", "sqlite://x"]).contains("sqlite"));
}

/// Two programs with one store: what one makes the other knows, sessions and limits included.
#[cfg(feature = "redis")]
#[test]
fn links_in_redis_are_those_of_all_programs() {
    let Some(redis) = redis_server::RedisServer::start().filter(|_| has_curl()) else { return };
    let (first, second) = (Shortener::start(&redis.url()), Shortener::start(&redis.url()));
    makes_and_follows(&first, "shared");
    leads(&second, "shared", "https://example.com/a?b=c&d");
    let keys = || redis.query::<Vec<String>>(&["KEYS", "*"]);
    assert!(keys().contains(&"guard_core:weir:link:shared".to_owned()), "{:?}", keys());
    assert_eq!(redis.query::<i64>(&["TTL", "guard_core:weir:link:shared"]), -1, "it stays");
    // The cookie of one is one of the other: cookies are those of a host, whatever its port.
    let browser = Browser::new();
    let token = browser.token(&first);
    assert_eq!(browser.make(&second, &token, "other", "http://example.com/").status, 303);
    leads(&first, "other", "http://example.com/");
    drop((first, second));
    let third = Shortener::start(&redis.url());
    leads(&third, "shared", "https://example.com/a?b=c&d");
    // Without the store there is no link, and no form can be believed: the client may try again.
    drop(redis);
    let lost = common::eventually("the store is missed", || {
        let got = browser.curl(&[&third.url("/shared")]);
        (got.status != 302).then_some(got)
    });
    assert_eq!((lost.status, lost.field("retry-after")), (503, Some("1")), "{lost:?}");
    let got = browser.make(&third, &token, "more", "http://example.com/");
    assert_eq!((got.status, got.field("retry-after")), (503, Some("1")), "{got:?}");
}
