//! What is found, and what is not.

use super::*;

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
    assert_eq!(findings.verdict(), Verdict::Clean);
    detector.scan(Context::Body, b"q", b"%3Cscript%3Ealert(1)", &mut scratch, &mut findings);
    assert_eq!(findings.verdict(), Verdict::Threat(Category::Xss));
    assert_eq!((findings.found()[0].view, findings.found()[0].score), (View::Decoded, THREAT_SCORE));
}

/// What is found in a head.
fn of_head(target: &str, field: Option<(&str, &str)>) -> Verdict {
    let (detector, mut scratch) = (detector(), Scratch::default());
    let mut findings = detector.begin(Some(b"/a"), &mut scratch).expect("a path that is not excluded");
    let fields = field.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    detector.scan_request(Some(target.as_bytes()), fields, &mut scratch, &mut findings);
    findings.verdict()
}

#[test]
fn guard_11_a_browser_goes_to_its_own_host_and_a_server_does_not() {
    for (target, is_found) in [
        ("/a?redirect_uri=http://localhost:3000/", false),
        ("/a?Redirect_URI=http%3A%2F%2F127.0.0.1%3A8080%2Fcallback", false),
        ("/a?url=http://localhost:3000/", true),
        ("/a?redirect_uri=http://169.254.169.254/latest/meta-data/", true),
        ("/a?redirect_uri=http://192.168.0.1/", true),
    ] {
        assert_eq!(of_head(target, None) == Verdict::Threat(Category::Ssrf), is_found, "{target}");
    }
}

#[test]
fn guard_11_names_of_files_in_fields_are_looked_at() {
    for (name, value, is_found) in [
        ("X-Filename", "shop.php", true),
        ("X_File_Name", "page.jspx..", true),
        ("X.Filename", "photo.jpg", false),
        ("X-Page", "shop.php", false),
    ] {
        let verdict = of_head("/a", Some((name, value)));
        assert_eq!(verdict == Verdict::Threat(Category::FileUpload), is_found, "{name}: {value}");
    }
}
