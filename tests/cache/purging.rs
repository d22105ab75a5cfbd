//! PURGE: the token, and requests of browsers.

use super::common::{Response, Scratch, run};
use super::scene::{Scene, is_hit, ok};
use rustix::process::Signal;

const TOKEN: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";

fn scene(options: &[&str]) -> Scene {
    let options = [&["--purge-from", "127.0.0.1"], options].concat();
    Scene::with(&options, |_, _| ok("Cache-Control: max-age=60", "x"))
}

/// Stores a page, and says whether it still is when that was asked.
fn purges(scene: &Scene, method: &str, fields: &str) -> (Response, bool) {
    scene.get("/page");
    assert!(is_hit(&scene.get("/page")));
    let answer = scene.ask(method, "/page", fields);
    let kept = scene.get_with("/page", "Cache-Control: only-if-cached").status() == 200;
    (answer, !kept)
}

/// Rule 59: PURGE that a web page could make a browser send is refused, whatever the browser says about its origin.
#[test]
fn rule_59_purge_by_a_browser_is_refused() {
    let scene = scene(&[]);
    for fields in [
        "Origin: http://evil.test",
        "origin: null",
        "Origin:",
        "Origin: http://a.test|Origin: http://b.test",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-origin",
        "sec-fetch-site: none",
        "SEC-FETCH-MODE: cors",
        "Sec-CH-UA: \"Chromium\"",
        "Referer: http://evil.test/page",
        "Connection: Origin|Origin: http://evil.test",
        "Purge: all|Origin: http://evil.test",
        "Purge: host|Referer: http://evil.test/",
    ] {
        let (answer, purged) = purges(&scene, "PURGE", fields);
        assert_eq!((answer.status(), purged), (403, false), "{fields}: {answer:?}");
        assert!(answer.head.get("proxy-status").is_some_and(|said| said.contains("purge_by_browser")));
        assert!(!answer.head.has("access-control-allow-origin"), "{answer:?}");
    }
    let line = scene.weir.wait_for_log(|line| line.contains("reason=purge_by_browser"));
    assert!(line.contains(" refused 403 PURGE "), "{line}");
    for fields in
        ["", "Cookie: a=b", "User-Agent: Mozilla/5.0", "Security: none", "Origins: 1", "X-Origin: a"]
    {
        let (answer, purged) = purges(&scene, "PURGE", fields);
        assert_eq!((answer.status(), purged), (200, true), "{fields}: {answer:?}");
    }
    assert!(scene.origin.heads().iter().all(|head| head.method() != "PURGE"));
}

/// Neither is a request a PURGE that only says so in a field, nor does an OPTIONS that is answered here allow one.
#[test]
fn kind_19_nothing_else_purges_and_no_preflight_is_answered() {
    let scene = scene(&[]);
    for (method, fields) in [
        ("GET", "X-HTTP-Method-Override: PURGE"),
        ("GET", "X-HTTP-Method: PURGE|Purge: all"),
        ("HEAD", "X-Method-Override: PURGE|Purge: all"),
        ("GET", "Purge: all"),
    ] {
        let (answer, purged) = purges(&scene, method, fields);
        assert_eq!((answer.status(), purged), (200, false), "{method} {fields}: {answer:?}");
    }
    let preflight =
        "Origin: http://evil.test|Access-Control-Request-Method: PURGE|Access-Control-Request-Headers: purge";
    let answer = scene.ask("OPTIONS", "/page", &format!("{preflight}|Max-Forwards: 0"));
    assert_eq!(answer.status(), 200);
    let mut client = scene.weir.connect();
    let fields = preflight.replace('|', "\r\n");
    let whole = client.ask(format!("OPTIONS * HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"));
    for answer in [answer, whole] {
        let head = &answer.head;
        assert!(
            !head.has("access-control-allow-origin") && !head.has("access-control-allow-methods"),
            "{head:?}"
        );
        assert!(!head.lists("allow", "PURGE"), "{head:?}");
    }
}

/// Rule 59: with a token PURGE needs it as well. It goes to no origin, into no answer and no log, is read again by HUP, and
/// cannot be guessed at will.
#[test]
fn rule_59_purge_needs_the_token() {
    let scratch = Scratch::new();
    let file = scratch.file("token.txt", format!("{TOKEN}\n"));
    let mut scene = scene(&["--purge-token-file", &file, "-vv"]);
    let right = format!("Purge-Token: {TOKEN}");
    let refused: &[&str] = &[
        "",
        "Purge-Token:",
        "Purge-Token: 0f1e2d3c4b5a69788796a5b4c3d2e1f",
        "Purge-Token: 0F1E2D3C4B5A69788796A5B4C3D2E1F0",
        &format!("{right}x"),
        &format!("{right}|{right}"),
        &format!("{right}|Purge-Token: other"),
        &format!("Authorization: Bearer {TOKEN}"),
        &format!("{right}|Origin: http://evil.test"),
    ];
    for fields in refused {
        let (answer, purged) = purges(&scene, "PURGE", fields);
        assert_eq!((answer.status(), purged), (403, false), "{fields}: {answer:?}");
        assert!(!answer.text().contains(TOKEN));
    }
    for fields in [right.clone(), right.to_lowercase(), right.replace(": ", ": \t")] {
        let (answer, purged) = purges(&scene, "PURGE", &fields);
        assert_eq!((answer.status(), purged), (200, true), "{fields}: {answer:?}");
    }
    // A client that sends the token with another request does not reveal it to the origin.
    scene.get_with("/other", &right);
    assert!(!scene.last("/other").has("purge-token"));
    let echo = scene.ask("TRACE", "/page", &format!("{right}|Max-Forwards: 0"));
    assert!(echo.status() == 200 && !echo.text().contains(TOKEN), "{echo:?}");
    let other = scratch.file("token.txt", "a-token-that-is-another-one");
    scene.weir.signal(Signal::HUP);
    scene.weir.wait_for_error(|line| line.contains("reloaded: "));
    super::common::eventually("the new token", || {
        let (answer, _) = purges(&scene, "PURGE", "Purge-Token: a-token-that-is-another-one");
        (answer.status() == 200).then_some(())
    });
    assert_eq!(purges(&scene, "PURGE", &right).0.status(), 403, "{other}");
    // Guesses are bounded; the right one is none.
    let statuses: Vec<u16> = (0..200)
        .map(|number| scene.ask("PURGE", "/page", &format!("Purge-Token: guess-{number}")).status())
        .collect();
    assert!(statuses.contains(&403) && statuses.contains(&429), "{statuses:?}");
    let known = "Purge-Token: a-token-that-is-another-one";
    assert_eq!(scene.ask("PURGE", "/page", known).status(), 200);
    scene.stop(Signal::TERM);
    let said = format!("{:?}{:?}", scene.weir.log_lines(), scene.weir.error_lines());
    assert!(!said.contains(TOKEN) && !said.contains("another-one"), "{said}");
}

/// An invalid token, and a token without `--purge-from`, are clear errors that do not show the token.
#[test]
fn kind_19_a_token_file_is_checked() {
    let scratch = Scratch::new();
    for text in ["", "short-token", "two\nlines-of-a-token", "a token with blanks in it"] {
        let file = scratch.file("token.txt", text);
        let said = run(&["--check", "--cache", "--purge-from", "127.0.0.1", "--purge-token-file", &file]);
        assert_eq!(said.code, 78, "{text:?}: {}", said.said());
        assert!(said.err.contains("token.txt: expected one line: a token of 16 to 512"), "{}", said.said());
        assert!(text.is_empty() || !said.said().contains(text), "{}", said.said());
    }
    let file = scratch.file("token.txt", TOKEN);
    let said = run(&["--check", "--cache", "--purge-token-file", &file]);
    assert!(said.code == 64 && said.err.contains("purge-token-file without purge-from"), "{}", said.said());
    let said =
        run(&["--check", "--cache", "--purge-from", "::/0", "--purge-token-file", &scratch.join("none")]);
    assert!(said.code == 78 && said.err.contains("cannot be read"), "{}", said.said());
    let said = run(&["--print-config", "--purge-from", "::/0", "--purge-token-file", &file]);
    assert!(
        said.code == 0 && said.out.contains("token.txt") && !said.said().contains(TOKEN),
        "{}",
        said.said()
    );
}

/// A scope that does not exist removes nothing, and is told: it may be a slip of the pen.
#[test]
fn rule_50_an_unknown_scope_is_an_error() {
    let scene = scene(&[]);
    for fields in ["Purge: hosts", "Purge: all|Purge: host", "Purge:"] {
        let (answer, purged) = purges(&scene, "PURGE", fields);
        assert_eq!((answer.status(), purged), (400, false), "{fields}: {answer:?}");
    }
}
