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
