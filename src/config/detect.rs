//! `weir detect`: the findings of detection in a text, for authors of patterns, and for a search for the cause of a
//! false positive.

use super::guard::detect_rules;
use super::problem::{Origin, Problems};
use super::settings::Settings;
use crate::guard::detection::Context;
use std::io;
use std::path::Path;

/// The findings in a text at that place of a request, a line for each signature, and whether the score makes it an attack.
/// The lines of the guard file apply, if one is configured.
#[cfg(feature = "detection")]
pub fn report(
    settings: &Settings,
    context: Context,
    text: &[u8],
    read_file: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<(String, bool), Problems> {
    use crate::guard::detection::{DetectionResult, Detector, Mode, Scratch};
    use std::fmt::Write as _;
    let mut rules = detect_rules(settings, read_file)?;
    if rules.mode == Mode::Off {
        rules.mode = Mode::Observe;
    }
    let detector = Detector::new(&rules).map_err(|message| {
        let mut problems = Problems::new();
        problems.add(Origin::Default, message);
        problems
    })?;
    let mut scratch = Scratch::default();
    let Some(mut findings) = detector.begin(None, &mut scratch) else {
        return Ok(("nothing is looked for\n".to_owned(), false));
    };
    match context {
        Context::Path => detector.scan_request(Some(text), [], &mut scratch, &mut findings),
        Context::Query | Context::Header | Context::Body => {
            detector.scan(context, b"", text, &mut scratch, &mut findings);
        }
    }
    let score = |hundredths: u16| format!("{}.{:02}", hundredths / 100, hundredths % 100);
    let mut out = String::new();
    for finding in findings.found() {
        // Writing into a string cannot fail.
        let _ = writeln!(
            out,
            "{}  {}  view={}  score={}  {:?}",
            finding.category.name(),
            finding.pattern,
            finding.view.name(),
            score(finding.score),
            finding.preview
        );
    }
    let verdict = match findings.result() {
        DetectionResult::Clean if findings.found().is_empty() => "nothing found".to_owned(),
        DetectionResult::Clean => "no attack: the scores together are below 1.00".to_owned(),
        DetectionResult::Threat(category) => format!("attack: {}", category.name()),
        DetectionResult::Exhausted => {
            "exhausted: more bytes or more layers of encoding than are looked at".to_owned()
        }
    };
    let _ = writeln!(out, "{verdict}");
    Ok((out, findings.result() != DetectionResult::Clean))
}

/// A build without the feature has no findings.
#[cfg(not(feature = "detection"))]
pub fn report(
    settings: &Settings,
    _context: Context,
    _text: &[u8],
    read_file: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<(String, bool), Problems> {
    let _ = detect_rules(settings, read_file)?;
    let mut problems = Problems::new();
    problems.add(
        Origin::Argument(String::new()),
        "detect: expected a weir that was built with the feature detection",
    );
    Err(problems)
}
