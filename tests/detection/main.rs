//! Detection on labelled sets: `attacks/CLASS.txt` has one attack in a line, `benign/KIND.txt` one value that must pass.
//!
//! Each attack is tried in each encoding and in each place of a request. `scripts/detection` prints the tables.
#![cfg(feature = "detection")]

use std::fmt::Write as _;
use std::path::Path;
use weir::guard::detection::{Context, DetectRules, DetectionResult, Detector, Findings, Mode, Scratch};

/// Of a hundred attacks of a class, in one encoding and one place, so many are found at least.
const FLOOR_PERCENT: usize = 95;

/// Of a hundred tricky values at most so many are taken for attacks.
const TRICKY_PERCENT_MAX: usize = 2;

/// Fewest attacks and benign values: a set that has shrunk proves less.
const SET_MIN: usize = 500;

const ENCODINGS: [&str; 5] = ["plain", "url", "double", "full", "u"];
const PLACES: [&str; 5] = ["query", "path", "cookie", "header", "body"];

fn lines(folder: &str) -> Vec<(String, Vec<String>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/detection").join(folder);
    let mut sets: Vec<_> = std::fs::read_dir(&folder)
        .expect("a folder of labelled sets")
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let text = std::fs::read_to_string(&path).expect("a set of UTF-8");
            let lines = text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
            (path.file_stem().expect("a name").to_string_lossy().into_owned(), lines)
        })
        .collect();
    sets.sort();
    sets
}

fn percent(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => write!(out, "%{byte:02X}").expect("a string takes it"),
        }
    }
    out
}

fn encoded(encoding: &str, text: &str) -> String {
    match encoding {
        "plain" => text.to_owned(),
        "url" => percent(text),
        "double" => percent(&percent(text)),
        "full" => text.bytes().map(|byte| format!("%{byte:02x}")).collect(),
        "u" => text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect(),
        other => panic!("no encoding {other}"),
    }
}

/// Bytes without a meaning, sent as text: a picture in a form, an archive with a wrong type.
#[test]
fn noise_is_no_attack() {
    let mut looker = Looker::new();
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    let taken = (0..100).filter(|_| {
        let value: Vec<u8> = (0..20_000).map(|_| noise()).collect();
        let Looker { detector, scratch } = &mut looker;
        let mut findings = detector.begin(Some(b"/a"), scratch).expect("a path that is not excluded");
        detector.scan(Context::Body, b"q", &value, scratch, &mut findings);
        findings.result() != DetectionResult::Clean
    });
    // Two million bytes.
    assert!(taken.count() <= 1);
}

struct Looker {
    detector: Detector,
    scratch: Scratch,
}

impl Looker {
    fn new() -> Looker {
        let rules = DetectRules { mode: Mode::Block, ..DetectRules::default() };
        Looker {
            detector: Detector::new(&rules).expect("a table that compiles"),
            scratch: Scratch::default(),
        }
    }

    /// What is found in the head of a request with this target and, perhaps, this field.
    fn head(&mut self, target: &str, field: Option<(&str, &str)>) -> Findings {
        let Looker { detector, scratch } = self;
        let mut findings = detector.begin(Some(b"/a"), scratch).expect("a path that is not excluded");
        let fields = field.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        detector.scan_request(Some(target.as_bytes()), fields, scratch, &mut findings);
        findings
    }

    fn findings(&mut self, place: &str, text: &str) -> Findings {
        match place {
            // What a client has to escape there, it escapes.
            "query" => {
                self.head(&format!("/a?id=1&q={}", text.replace('&', "%26").replace('#', "%23")), None)
            }
            "path" => {
                let segment = text.replace('?', "%3f").replace(' ', "%20").replace('/', "%2f");
                self.head(&format!("/a/{segment}"), None)
            }
            "cookie" => self.head("/a", Some(("Cookie", &format!("a=b; c={}", text.replace(';', "%3b"))))),
            "header" => self.head("/a", Some(("X-Custom", text))),
            "body" => {
                let Looker { detector, scratch } = self;
                let mut findings = detector.begin(Some(b"/a"), scratch).expect("a path");
                detector.scan(Context::Body, b"q", text.as_bytes(), scratch, &mut findings);
                findings
            }
            other => panic!("no place {other}"),
        }
    }
}

/// Attacks that are none in a path: what an upload would do there, or a whole value, comes from a parameter.
fn is_meant_for(place: &str, class: &str) -> bool {
    place != "path" || !matches!(class, "counterparts" | "files" | "spoken" | "varied" | "shells" | "whole")
}

#[test]
fn guard_11_attacks_are_found_in_every_encoding_and_place() {
    let (mut looker, mut report, mut wrong) = (Looker::new(), String::new(), String::new());
    let sets = lines("attacks");
    let total: usize = sets.iter().map(|(_, attacks)| attacks.len()).sum();
    assert!(total >= SET_MIN, "{total} attacks");
    for (class, attacks) in &sets {
        for place in PLACES.into_iter().filter(|place| is_meant_for(place, class)) {
            write!(report, "| {class:<16} | {place:<7} |").expect("a string takes it");
            for encoding in ENCODINGS {
                let missed: Vec<_> = attacks
                    .iter()
                    .filter(|attack| {
                        let findings = looker.findings(place, &encoded(encoding, attack));
                        !matches!(findings.result(), DetectionResult::Threat(_))
                    })
                    .collect();
                let found = (attacks.len() - missed.len()) * 100 / attacks.len();
                write!(report, " {encoding} {found:>3} % |").expect("a string takes it");
                if found < FLOOR_PERCENT {
                    writeln!(wrong, "{class} {place} {encoding}: {found} %, missed {missed:?}")
                        .expect("a string");
                }
            }
            report.push('\n');
        }
    }
    println!("{report}");
    assert!(wrong.is_empty(), "below {FLOOR_PERCENT} %:\n{wrong}");
}

/// Sets of attacks that work behind words: text that breaks out, and text that runs where it is stored. An address or a path with words
/// beside it is none, and a command needs the end of another one.
const SPOKEN_CLASSES: [&str; 10] = [
    "outside_nosql",
    "outside_prototype",
    "outside_sqli",
    "outside_template",
    "outside_xml",
    "outside_xss",
    "outside_code",
    "sqli",
    "textbook_client",
    "xss",
];

#[test]
fn ours_11_words_beside_an_attack_do_not_hide_it() {
    let mut looker = Looker::new();
    let sets = lines("attacks");
    let spoken = || sets.iter().filter(|(class, _)| SPOKEN_CLASSES.contains(&class.as_str()));
    let total: usize = spoken().map(|(_, attacks)| attacks.len()).sum();
    assert!(total >= SET_MIN, "{total} attacks");
    // Measured: 96, 94, 95 and 74.
    for (before, behind, floor) in [
        ("hello there friend ", "", 95),
        ("we wrote to you last week about the order and have no answer ", "", 92),
        ("", " and please tell us what you think about it.", 94),
        ("Dear team,\n\nwe have a question.\nThe box arrived late and it was open.\n\n", "", 72),
    ] {
        let found = spoken()
            .flat_map(|(_, attacks)| attacks)
            .filter(|attack| {
                let findings = looker.findings("body", &format!("{before}{attack}{behind}"));
                matches!(findings.result(), DetectionResult::Threat(_))
            })
            .count();
        println!("| {before:?} before, {behind:?} behind | {found} of {total} |");
        assert!(found * 100 >= total * floor, "{before:?}, {behind:?}: {found} of {total}");
    }
}

#[test]
fn guard_11_benign_values_pass_in_every_place() {
    let mut looker = Looker::new();
    let (mut wrong, mut total) = (String::new(), 0);
    for (kind, values) in lines("benign") {
        total += values.len();
        let is_tricky = kind.starts_with("tricky");
        let mut taken = Vec::new();
        for value in &values {
            let places = ["query", "body", "header"].into_iter().zip(["url", "plain", "plain"]);
            let found = places.into_iter().find_map(|(place, encoding)| {
                let findings = looker.findings(place, &encoded(encoding, value));
                (findings.result() != DetectionResult::Clean)
                    .then(|| format!("{place} {value:?} {:?}", findings.found()))
            });
            taken.extend(found);
        }
        println!("| {kind:<16} | {:>5} values | {:>3} taken for attacks |", values.len(), taken.len());
        let most = if is_tricky { values.len() * TRICKY_PERCENT_MAX / 100 } else { 0 };
        if taken.len() > most {
            writeln!(wrong, "{kind}: {} of {}:\n  {}", taken.len(), values.len(), taken.join("\n  "))
                .expect("a string takes it");
        }
    }
    assert!(total >= SET_MIN, "{total} benign values");
    assert!(wrong.is_empty(), "{wrong}");
}
