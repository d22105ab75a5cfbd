//! Rule 27: of the variants that are stored for other wishes, one in the language that a request prefers (RFC 9110 section
//! 12.5.4, RFC 4647 section 3.3.1).

use super::common::Head;
use super::scene::{Reply, Scene, is_hit, ok, status};

/// An origin that has these languages, and gives the one that is liked best; the first if none is.
fn speaks(scene_options: &[&str], languages: &'static [&'static str], more: &'static str) -> Scene {
    Scene::with(scene_options, move |head, _| answer(head, languages, more))
}

fn answer(head: &Head, languages: &[&str], more: &str) -> Reply {
    let asked = head.get("accept-language").unwrap_or("");
    let quality = |language: &str| {
        let members =
            asked.split(',').map(|member| member.trim().split_once(";q=").unwrap_or((member.trim(), "1")));
        let found = members.filter(|(range, _)| range.eq_ignore_ascii_case(language) || *range == "*");
        found
            .map(|(_, quality)| (quality.parse::<f64>().expect("a quality") * 1000.0) as u32)
            .max()
            .unwrap_or(0)
    };
    let best = languages.iter().rev().max_by_key(|language| quality(language)).expect("a language");
    let user = head.get("x-user").unwrap_or("nobody");
    let fields = format!(
        "Cache-Control: max-age=60|Vary: Accept-Language{more}|Content-Language: {best}|X-Is: {user}"
    );
    ok(&fields, best)
}

#[test]
fn rule_27_kind_16_the_preferred_language_is_chosen_among_what_is_stored() {
    for options in [&[][..], &["--workers=2"]] {
        let scene = speaks(options, &["en", "de", "fr"], "");
        for language in ["en", "de, en;q=0.9"] {
            assert!(!is_hit(&scene.get_with("/", &format!("Accept-Language: {language}"))));
        }
        for (asked, language) in [
            ("fr;q=0.5, de;q=1.0", "de"),
            ("en;q=0.8, de;q=0.9", "de"),
            ("en;q=0.9, de;q=0.8", "en"),
            ("DE", "de"),
            ("de;q=0.7", "de"),
            ("en, *;q=0.1", "en"),
            ("en, de;q=0", "en"),
        ] {
            for method in ["GET", "HEAD"] {
                let answer = scene.ask(method, "/", &format!("Accept-Language: {asked}"));
                assert_eq!(
                    (answer.head.get("content-language"), is_hit(&answer)),
                    (Some(language), true),
                    "{asked}"
                );
            }
        }
        assert_eq!(scene.asked("/"), 2);
        // The preferred language is not stored: the origin is asked.
        let french = scene.get_with("/", "Accept-Language: fr, de;q=0.9, en;q=0.8");
        assert_eq!((french.text().as_str(), is_hit(&french)), ("fr", false));
        assert!(status(&french).contains("vary-miss"), "{french:?}");
        // Now it is there.
        let french = scene.get_with("/", "Accept-Language: fr, en;q=0.3");
        assert_eq!((french.text().as_str(), is_hit(&french)), ("fr", true));
        // No language that the request did not ask for is a hit.
        for asked in ["", "Accept-Language: en;q=0", "Accept-Language: nl", "Accept-Language: de;q=7"] {
            assert!(!is_hit(&scene.get_with("/", asked)), "{asked}");
        }
    }
}

/// A variant of another user, or in another coding, is none, whatever its language.
#[test]
fn rule_27_kind_16_no_variant_that_differs_in_another_field_is_chosen_by_its_language() {
    let scene = speaks(&[], &["en", "de"], ", X-User");
    scene.get_with("/", "Accept-Language: de, en;q=0.5|X-User: alice");
    let alice = scene.get_with("/", "Accept-Language: de|X-User: alice");
    assert_eq!((alice.head.get("x-is"), is_hit(&alice)), (Some("alice"), true));
    for (fields, user) in [
        ("Accept-Language: de|X-User: bob", "bob"),
        ("Accept-Language: de, x;q=0.1", "nobody"),
        ("Accept-Language: de, en;q=0.5|X-User: Alice", "Alice"),
    ] {
        let other = scene.get_with("/", fields);
        assert_eq!((other.head.get("x-is"), is_hit(&other)), (Some(user), false), "{fields}");
    }
    let scene = speaks(&[], &["en", "de"], ", Accept-Encoding");
    scene.get_with("/", "Accept-Language: de, en;q=0.5|Accept-Encoding: gzip");
    assert!(!is_hit(&scene.get_with("/", "Accept-Language: de|Accept-Encoding: br")));
    assert!(is_hit(&scene.get_with("/", "Accept-Language: de;q=0.5|Accept-Encoding: gzip")));
    // Where the response does not say that it is chosen by language, language chooses nothing.
    let scene = Scene::new(|head, _| {
        ok(
            "Cache-Control: max-age=60|Vary: X-User|Content-Language: de",
            head.get("x-user").unwrap_or("nobody"),
        )
    });
    scene.get_with("/", "Accept-Language: de|X-User: alice");
    assert_eq!(scene.get_with("/", "Accept-Language: de|X-User: bob").text(), "bob");
}

#[test]
fn rule_27_kind_16_what_is_stale_or_not_what_was_asked_for_is_not_chosen_by_its_language() {
    // It has only English, and calls it so.
    let scene = speaks(&[], &["en"], "");
    scene.get_with("/", "Accept-Language: de");
    assert!(!is_hit(&scene.get_with("/", "Accept-Language: en")), "not what was asked for");
    assert!(is_hit(&scene.get_with("/", "Accept-Language: en, de;q=0.5")));
    // All of it is called English.
    let scene = Scene::new(|head, _| {
        let body = head.get("accept-language").unwrap_or("nothing");
        ok("Cache-Control: max-age=60|Vary: Accept-Language|Content-Language: en", body)
    });
    scene.get_with("/", "Accept-Language: de");
    assert_eq!(scene.get_with("/", "Accept-Language: en").text(), "en");
    // Stale, or to be validated: a variant of its own is asked for, and nothing is said about the other one.
    let scene = Scene::new(|head, number| {
        let age = if number == 0 { "Age: 100" } else { "Age: 0" };
        let fields = format!(
            "Cache-Control: max-age=60|Vary: Accept-Language|Content-Language: de|ETag: \"{number}\"|{age}"
        );
        assert!(number == 0 || !head.has("if-none-match"));
        ok(&fields, &number.to_string())
    });
    scene.get_with("/", "Accept-Language: de, en;q=0.5");
    assert_eq!(scene.get_with("/", "Accept-Language: de").text(), "1");
    assert_eq!(scene.get_with("/", "Accept-Language: de;q=0.3").text(), "1");
    assert_eq!(scene.get_with("/", "Accept-Language: de;q=0.4|Cache-Control: no-cache").text(), "2");
    assert_eq!(scene.at_rest().get("cache_entries"), 3);
    // It says no language, or several.
    for language in ["X: 1", "Content-Language: de, en"] {
        let fields = format!("Cache-Control: max-age=60|Vary: Accept-Language|{language}");
        let scene = Scene::answering(&fields, "x");
        scene.get_with("/", "Accept-Language: de, en;q=0.5");
        assert!(!is_hit(&scene.get_with("/", "Accept-Language: de")), "{language}");
    }
}
