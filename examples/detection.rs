//! Tries sets of texts that are not in the repository: what detection finds, and what it does not.
//!
//! ```text
//! cargo run --release --example detection FOLDER
//! ```
//!
//! FOLDER holds folders `query`, `path` (whole targets), `header` (whole lines) and `body` with attacks, and `benign` with values of
//! bodies, each with files `*.txt` of one text in a line. Printed are numbers, what was missed, and what was taken for an attack.

#[cfg(not(feature = "detection"))]
fn main() {
    eprintln!("built without detection");
}

#[cfg(feature = "detection")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use std::path::PathBuf;
    use weir::guard::detection::{Context, DetectRules, DetectionResult, Detector, Findings, Mode, Scratch};

    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("expected a folder")?);
    let detector = Detector::new(&DetectRules { mode: Mode::Block, ..DetectRules::default() })?;
    let mut scratch = Scratch::default();
    let mut look = |place: &str, text: &str| -> Option<Findings> {
        let mut findings = detector.begin(Some(b"/a"), &mut scratch)?;
        let query = format!("/a?id=1&q={}", text.replace('&', "%26").replace('#', "%23"));
        let (target, field) = match place {
            "query" => (query.as_str(), None),
            "path" => (text, None),
            "header" => ("/a", text.split_once(": ")),
            _ => {
                detector.scan(Context::Body, b"q", text.as_bytes(), &mut scratch, &mut findings);
                return Some(findings);
            }
        };
        let fields = field.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        detector.scan_request(Some(target.as_bytes()), fields, &mut scratch, &mut findings);
        Some(findings)
    };
    for place in ["query", "path", "header", "body", "benign"] {
        let Ok(entries) = std::fs::read_dir(folder.join(place)) else { continue };
        for path in entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()? {
            let text = std::fs::read_to_string(&path)?;
            let found =
                text.lines().filter(|line| !line.trim().is_empty()).map(|line| (line, look(place, line)));
            let is_threat = |findings: &Findings| findings.result() != DetectionResult::Clean;
            let (hit, clean): (Vec<_>, Vec<_>) =
                found.partition(|(_, findings)| findings.as_ref().is_some_and(is_threat));
            println!("| {place} | {} | {} of {} found |", path.display(), hit.len(), hit.len() + clean.len());
            for (line, findings) in if place == "benign" { hit } else { clean } {
                let patterns = findings.iter().flat_map(Findings::found).map(|finding| &*finding.pattern);
                println!("    {line}   {}", patterns.collect::<Vec<_>>().join(" "));
            }
        }
    }
    Ok(())
}
