//! `--judge-cnames`: a stored response is no way around a rule for a name that a CNAME leads to.

use super::common::{Answer, FakeDns, Raw, Scratch, eventually};
use super::scene::{Reply, Scene, is_hit, ok, unmodified};
use rustix::process::Signal;

/// `www.test` leads over a tracker to the origin, `clean.test` over no such name.
fn names() -> FakeDns {
    FakeDns::start(&[
        ("www.test", Answer::Alias(3600, "edge.tracker.test".into())),
        ("edge.tracker.test", Answer::Alias(3600, "node.test".into())),
        ("clean.test", Answer::Alias(3600, "node.test".into())),
        ("node.test", Answer::addresses(&["127.0.0.1"])),
    ])
}

/// Each response is fresh for long, and confirmed if that is asked.
fn confirming(options: &[&str]) -> Scene {
    Scene::with(options, |head, _| match head.get("if-none-match") {
        None => ok("Cache-Control: max-age=6000|ETag: \"a\"", "stored"),
        Some(_) => unmodified("Cache-Control: max-age=6000"),
    })
}

/// The status of a GET, and whether it was a hit.
#[track_caller]
fn get(scene: &Scene, client: &mut Raw, name: &str) -> (u16, bool) {
    let authority = format!("{name}:{}", scene.origin.port());
    let answer = client.ask(format!("GET http://{authority}/ HTTP/1.1\r\nHost: {authority}\r\n\r\n"));
    (answer.status(), answer.status() == 200 && is_hit(&answer))
}

#[track_caller]
fn reload(scene: &Scene, scratch: &Scratch, config: &str) {
    let reloads = || scene.weir.error_lines().iter().filter(|line| line.contains("reloaded: ")).count();
    let before = reloads();
    scratch.file("weir.conf", config);
    scene.weir.signal(Signal::HUP);
    eventually("a reload", || (reloads() > before).then_some(()));
}

/// A rule that comes, and an option that comes, hold for stored responses. A name that no rule blocks is asked for once.
#[test]
fn kind_05_a_hit_after_a_reload_is_judged_by_aliases() {
    let rule = "block .tracker.test\n";
    for workers in ["1", "2"] {
        for before in ["judge-cnames yes\n", "judge-cnames no\n", "judge-cnames no\nblock .tracker.test\n"] {
            let (dns, scratch) = (names(), Scratch::new());
            let config = scratch.file("weir.conf", before);
            let scene = confirming(&["-c", &config, "--dns", &dns.address(), "--workers", workers]);
            let mut client = scene.weir.connect();
            for hit in [false, true] {
                assert_eq!(get(&scene, &mut client, "www.test"), (200, hit), "{before}");
                assert_eq!(get(&scene, &mut client, "clean.test"), (200, hit), "{before}");
            }
            reload(&scene, &scratch, &format!("judge-cnames yes\n{rule}"));
            for hit in [false, true] {
                assert_eq!(get(&scene, &mut client, "www.test"), (403, false), "{before}");
                assert_eq!(get(&scene, &mut client, "clean.test"), (200, hit), "{before}");
            }
            assert_eq!(scene.asked("/"), 3, "the 304 makes the entry current again");
            scene.weir.wait_for_log(|line| line.contains("clean.test") && line.contains("cache=revalidated"));
            // What the rules no longer block may be had again, and without the option nothing is asked.
            reload(&scene, &scratch, "judge-cnames yes\n");
            assert_eq!(get(&scene, &mut client, "www.test"), (200, false), "{before}");
            assert_eq!(get(&scene, &mut client, "www.test"), (200, true), "{before}");
            reload(&scene, &scratch, "judge-cnames no\n");
            assert_eq!(get(&scene, &mut client, "clean.test"), (200, true), "{before}");
        }
    }
}

/// An entry whose way was not judged is in no place of an error, and answers no request that forbids to ask the origin.
#[test]
fn kind_05_a_hit_that_is_not_judged_is_no_answer() {
    let (dns, scratch) = (names(), Scratch::new());
    let config = scratch.file("weir.conf", "judge-cnames yes\n");
    let scene = Scene::with(&["-c", &config, "--dns", &dns.address()], |_, number| match number {
        0 | 1 => ok("Cache-Control: max-age=6000, stale-if-error=6000|ETag: \"a\"", "stored"),
        _ => Reply::Last(Vec::new()),
    });
    let mut client = scene.weir.connect();
    assert_eq!(get(&scene, &mut client, "www.test"), (200, false));
    let address = scene.get("/");
    assert_eq!((address.status(), is_hit(&address)), (200, false));
    reload(&scene, &scratch, "judge-cnames yes\nblock .tracker.test\n");
    let authority = format!("www.test:{}", scene.origin.port());
    let asked = format!(
        "GET http://{authority}/ HTTP/1.1\r\nHost: {authority}\r\nCache-Control: only-if-cached\r\n\r\n"
    );
    assert_eq!(client.ask(asked).status(), 504);
    assert_eq!(get(&scene, &mut client, "www.test"), (403, false));
    reload(&scene, &scratch, "judge-cnames yes\n");
    dns.set("www.test", Answer::Fail);
    assert_eq!(get(&scene, &mut client, "www.test"), (502, false));
    assert!(is_hit(&scene.get("/")), "no alias leads to an address");
}

#[test]
fn kind_05_a_hit_after_a_restart_is_judged_by_aliases() {
    let (dns, scratch) = (names(), Scratch::new());
    let (file, dns_address) = (scratch.join("cache"), dns.address());
    let options = ["--dns", &dns_address, "--cache-file", &file];
    let mut scene = confirming(&options);
    for name in ["www.test", "clean.test"] {
        assert_eq!(get(&scene, &mut scene.weir.connect(), name), (200, false));
    }
    scene.stop(Signal::TERM);
    scene.start(&[&options[..], &["--judge-cnames", "--block", ".tracker.test"]].concat());
    scene.weir.wait_for_error(|line| line.contains("loaded 2 of 2 entries"));
    for hit in [false, true] {
        assert_eq!(get(&scene, &mut scene.weir.connect(), "www.test"), (403, false));
        assert_eq!(get(&scene, &mut scene.weir.connect(), "clean.test"), (200, hit));
    }
}

/// A stale response is not served for the rest of its window once its refresh is refused, by a rule for an alias or for an
/// address.
#[test]
fn rule_24_a_refresh_that_is_refused_removes_the_entry() {
    let elsewhere = [Answer::Alias(3600, "edge.tracker.test".into()), Answer::addresses(&["127.0.0.3"])];
    for answer in elsewhere {
        let dns = names();
        dns.set("www.test", Answer::Alias(1, "node.test".into()));
        let rules = ["--judge-cnames", "--block", ".tracker.test", "--block", "127.0.0.3"];
        let scene = Scene::with(&[&["--dns", &dns.address()], &rules[..]].concat(), |_, _| {
            Reply::Last(
                b"HTTP/1.1 200 OK\r\nCache-Control: max-age=1, stale-while-revalidate=600\r\nAge: 5\r\n\
                Content-Length: 2\r\n\r\nok"
                    .to_vec(),
            )
        });
        let mut client = scene.weir.connect();
        assert_eq!(get(&scene, &mut client, "www.test"), (200, false));
        assert_eq!(get(&scene, &mut client, "www.test"), (200, true));
        dns.set("www.test", answer);
        eventually("a refusal", || (get(&scene, &mut client, "www.test").0 == 403).then_some(()));
        assert_eq!(get(&scene, &mut client, "www.test"), (403, false));
        scene.weir.wait_for_log(|line| line.contains("cache=refresh") && line.contains(" refused "));
        assert_eq!(scene.at_rest().get("cache_entries"), 0);
    }
}
