//! Rules 1 to 15 and 39: for how long something is used.

use super::common::Weir;
use super::scene::{Reply, Scene, is_hit, ok, response, status};

/// Asks twice for each; whether the second answer came from memory.
#[track_caller]
fn expect_reuse(cases: &[(&str, bool)]) {
    let owned: Vec<String> = cases.iter().map(|(fields, _)| (*fields).to_owned()).collect();
    let scene = Scene::new(move |head, _| {
        let index: usize = head.target()[1..].parse().expect("a number");
        ok(&owned[index], "body")
    });
    for (index, (fields, reused)) in cases.iter().enumerate() {
        let path = format!("/{index}");
        let first = scene.get(&path);
        assert!(!is_hit(&first), "{fields}");
        let second = scene.get(&path);
        assert_eq!(
            (is_hit(&second), scene.asked(&path)),
            (*reused, if *reused { 1 } else { 2 }),
            "{fields}: {second:?}"
        );
        assert_eq!(second.text(), "body", "{fields}");
    }
}

#[test]
fn rules_1_to_5_cache_control() {
    expect_reuse(&[
        ("Cache-Control: max-age=60", true),
        ("Cache-Control: frobnicate, max-age=60, x=\"a, no-store\"", true),
        ("CACHE-CONTROL: Max-Age=60", true),
        ("Cache-Control: max-age=00060", true),
        ("Cache-Control: max-age=4294967296", true),
        ("Cache-Control: max-age=-1", false),
        ("Cache-Control: max-age=1.5", false),
        ("Cache-Control: max-age='60'", false),
        ("Cache-Control: max-age=0, s-maxage=60", true),
        ("Cache-Control: max-age=60, s-maxage=0", false),
        ("Cache-Control: public|Cache-Control: max-age=60", true),
        ("Expires: Thu, 01 Jan 1970 00:00:00 GMT|Cache-Control: max-age=60", true),
        ("Cache-Control: max-age=0, max-age=60", false),
        ("Cache-Control: max-age=0|Cache-Control: max-age=60", false),
    ]);
}

#[test]
fn rules_6_to_9_and_13_to_15_age_dates_and_guesses() {
    let now = common_date(0);
    let soon = common_date(3600);
    let long_ago = common_date(-100 * 86_400);
    let cases = [
        (format!("Date: {now}|Expires: {now}"), false),
        (format!("Date: {now}|Expires: {soon}"), true),
        (format!("Date: {long_ago}|Expires: {now}"), false),
        (format!("Expires: {soon}"), true),
        (format!("Date: yesterday|Expires: {soon}"), true),
        (format!("Expires: {}", soon.replace("GMT", "UTC")), false),
        (format!("Expires: {soon}|Expires: {soon}"), false),
        ("Cache-Control: max-age=60|Age: 59".to_owned(), true),
        ("Cache-Control: max-age=60|Age: 60".to_owned(), false),
        ("Cache-Control: max-age=60|Age: 99999999999".to_owned(), false),
        ("Cache-Control: max-age=60|Age: old".to_owned(), true),
        ("Cache-Control: max-age=60|Age: -70".to_owned(), true),
        ("Cache-Control: max-age=60|Age: 10, 80".to_owned(), true),
        (format!("Date: {now}|Last-Modified: {long_ago}"), true),
        (format!("Date: {now}|Last-Modified: {now}|ETag: \"a\""), false),
        ("ETag: \"a\"".to_owned(), false),
        ("X-Nothing: 1".to_owned(), false),
    ];
    let cases: Vec<(&str, bool)> = cases.iter().map(|(fields, reused)| (fields.as_str(), *reused)).collect();
    expect_reuse(&cases);
}

/// An IMF-fixdate some seconds from now.
fn common_date(offset_s: i64) -> String {
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let run = std::process::Command::new("date")
        .args(["-u", "-d", &format!("@{}", now as i64 + offset_s), "+%a, %d %b %Y %H:%M:%S GMT"])
        .env("LC_ALL", "C")
        .output()
        .expect("date runs");
    String::from_utf8_lossy(&run.stdout).trim().to_owned()
}

#[test]
fn rule_10_a_miss_passes_age_and_date() {
    let date = common_date(-30);
    let fields = format!("Date: {date}|Age: 20|Cache-Control: max-age=1000");
    let scene = Scene::new(move |_, _| ok(&fields, "body"));
    let miss = scene.get("/");
    assert_eq!((miss.head.get("age"), miss.head.get("date")), (Some("20"), Some(&*date)));
}

#[test]
fn rule_11_a_hit_has_a_correct_age_and_the_stored_date() {
    let date = common_date(-30);
    let fields = format!("Date: {date}|Age: 20|Cache-Control: max-age=1000");
    let scene = Scene::new(move |_, _| ok(&fields, "body"));
    scene.get("/");
    let hit = scene.get("/");
    assert!(is_hit(&hit));
    assert_eq!((hit.head.all("age").len(), hit.head.all("date")), (1, vec![&*date]));
    let age: u64 = hit.head.get("age").and_then(|age| age.parse().ok()).expect("an age");
    assert!((30..60).contains(&age), "{age}");
    assert!(status(&hit).contains("ttl=9"), "{}", status(&hit));
}

#[test]
fn rule_12_asctime_and_rfc_850_dates_count() {
    let scene = Scene::new(|head, _| match head.target() {
        "/asctime" => ok("Date: Sun Nov  6 08:49:37 1994|Expires: Sun Nov  6 08:49:37 2044", "x"),
        _ => ok("Expires: Sunday, 06-Nov-44 08:49:37 GMT", "x"),
    });
    for path in ["/asctime", "/rfc850"] {
        scene.get(path);
        let second = scene.get(path);
        // A response of 1994 is older than 50 years of freshness only in 2044.
        assert!(is_hit(&second), "{path}: {second:?}");
    }
}

#[test]
fn rule_39_request_directives() {
    let scene = Scene::new(|_, _| ok("Cache-Control: max-age=100|Age: 50", "x"));
    scene.get("/");
    for (fields, hit) in [
        ("Cache-Control: max-age=60", true),
        ("Cache-Control: min-fresh=40", true),
        ("Cache-Control: no-cache", false),
        ("Pragma: no-cache", false),
        ("Cache-Control: max-age=1000|Pragma: no-cache", true),
        ("Cache-Control: max-age=40", false),
        ("Cache-Control: min-fresh=60", false),
        ("Cache-Control: only-if-cached", true),
    ] {
        let answer = scene.get_with("/", fields);
        assert_eq!(is_hit(&answer), hit, "{fields}: {answer:?}");
    }
    assert_eq!(scene.get_with("/other", "Cache-Control: only-if-cached").status(), 504);
    assert_eq!(scene.asked("/other"), 0);
    // What is not for the cache to answer is not for the origin either (RFC 9111 section 5.2.1.7).
    let stored = "Cache-Control: only-if-cached";
    for fields in ["If-Match: \"x\"", "If-Unmodified-Since: Sat, 29 Oct 1994 19:43:31 GMT"] {
        let answer = scene.get_with("/", &format!("{stored}|{fields}"));
        assert_eq!(answer.status(), 504, "{fields}: {answer:?}");
    }
    // An empty body is none.
    assert!(is_hit(&scene.get_with("/", "Content-Length: 0")));
    assert_eq!(scene.asked("/"), 5, "as often as it was no hit");
    scene.get_with("/unstored", "Cache-Control: no-store");
    assert!(!is_hit(&scene.get("/unstored")));
}

#[test]
fn rule_39_max_stale_takes_what_is_stale() {
    let scene = Scene::new(|_, _| ok("Cache-Control: max-age=100|Age: 150|ETag: \"a\"", "x"));
    scene.get("/");
    assert!(!is_hit(&scene.get_with("/", "Cache-Control: max-stale=10")));
    let stale = scene.get_with("/", "Cache-Control: max-stale=1000");
    assert!(is_hit(&stale) && status(&stale).contains("ttl=-5"), "{stale:?}");
    assert!(is_hit(&scene.get_with("/", "Cache-Control: max-stale")));
}

#[test]
fn rule_14_the_guess_is_bounded_and_errors_may_be_kept_for_a_while() {
    let options = ["--cache-heuristic-max", "0", "--cache-negative-ttl", "60"];
    let scene = Scene::with(&options, |head, _| match head.target() {
        "/old" => ok("Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT", "x"),
        "/404" => Reply::Bytes(response(404, "", "nothing here")),
        _ => Reply::Bytes(response(500, "Cache-Control: no-store", "broken")),
    });
    for (path, hit) in [("/old", false), ("/404", true), ("/500", false)] {
        scene.get(path);
        assert_eq!(is_hit(&scene.get(path)), hit, "{path}");
    }
}

#[test]
fn rule_44_targeted_fields_count_in_place_of_cache_control() {
    let scene = Scene::with(&["--cache-targeted", "CDN-Cache-Control"], |head, _| match head.target() {
        "/longer" => ok("Cache-Control: no-store|CDN-Cache-Control: max-age=60", "x"),
        "/shorter" => ok("Cache-Control: max-age=60|CDN-Cache-Control: no-store", "x"),
        _ => ok("Cache-Control: max-age=60|CDN-Cache-Control: max-age=\"60", "x"),
    });
    for (path, hit) in [("/longer", true), ("/shorter", false), ("/invalid", true)] {
        let first = scene.get(path);
        assert!(first.head.has("cdn-cache-control"), "it is passed on");
        assert_eq!(is_hit(&scene.get(path)), hit, "{path}");
    }
}

#[test]
fn off_by_default_and_silent_when_asked_to_be() {
    let scene = Scene::with(&["--no-cache-status"], |_, _| ok("Cache-Control: max-age=60", "x"));
    assert!(!scene.get("/").head.has("cache-status"));
    let hit = scene.get("/");
    assert!(!hit.head.has("cache-status") && hit.head.has("age") && scene.asked("/") == 1);
    let weir = Weir::start(&[]);
    let mut client = weir.connect();
    for _ in 0..2 {
        let answer = client.ask(scene.origin.get("/off"));
        assert!(!answer.head.has("cache-status") && !answer.head.has("age"), "{answer:?}");
    }
    assert_eq!(scene.asked("/off"), 2);
    let line = weir.wait_for_log(|line| line.contains("/off"));
    assert!(line.ends_with(" cache=-"), "{line}");
}
