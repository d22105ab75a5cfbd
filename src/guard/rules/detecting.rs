//! Attacks in requests: their events and consequences.

use super::consequences::Consequences;
use crate::guard::detection::{Categories, DetectRules, DetectionResult, Detector, Findings, Mode};
use crate::guard::directives::{PER_CLIENT, Violation};
use crate::guard::events::{Event, EventType};
use crate::guard::noted::Noted;
use crate::guard::state::State;
use crate::guard::told::Asker;
use crate::guard::verdict::{Cause, Denial};
use crate::time::Now;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

/// Most patterns in an event (chosen): the others are of the same request.
const TOLD_MAX: usize = 8;

/// Compiles the detection lines of a guard file; none if detection is off.
pub(super) fn compiled(rules: &DetectRules, state: &State) -> Option<Arc<Detector>> {
    if rules.mode == Mode::Off {
        return None;
    }
    let mut last = state.detector.lock().unwrap_or_else(PoisonError::into_inner);
    let again = last.upgrade().and_then(|last| last.with_rules(rules));
    // The patterns were compiled already when the file was read.
    let detector = Arc::new(again.or_else(|| Detector::new(rules).ok())?);
    *last = Arc::downgrade(&detector);
    Some(detector)
}

/// The consequences of findings in a request: an event, a violation that counts towards a ban, a refusal.
pub(super) fn conclude(
    detector: &Detector,
    (findings, asked): (&Findings, &Asker<'_>),
    consequences: &Consequences,
    now: Now,
) -> Result<(), Denial> {
    let result = findings.result();
    if findings.has_skipped_rest() {
        consequences.state.note_detected(Noted::Unseen);
    }
    if let Some(noted) = noted(result) {
        consequences.state.note_detected(noted);
    }
    let categories = match result {
        DetectionResult::Clean => return Ok(()),
        DetectionResult::Threat(category) => Categories::of(category),
        DetectionResult::Exhausted => Categories::ALL,
    };
    if result == DetectionResult::Exhausted && !detector.rules().exhausted_blocks {
        return Ok(());
    }
    let refuses = detector.refuses(result) && !consequences.passive;
    consequences.state.push(event(findings, asked, refuses, now));
    let line = detector.rules().line;
    consequences.violate((Violation::Detect, categories), asked, PER_CLIENT, now);
    if !refuses {
        return Ok(());
    }
    // This violation may cause the ban.
    let cause = match is_banned(asked.client, consequences, now) {
        true => Cause::BannedNow,
        false => Cause::Suspicious,
    };
    Err(Denial { cause, line, retry_after_s: 0 })
}

/// A result as the counters have it; `None` without a finding.
pub(super) fn noted(result: DetectionResult) -> Option<Noted> {
    match result {
        DetectionResult::Clean => None,
        DetectionResult::Threat(category) => Some(Noted::Attack(category)),
        DetectionResult::Exhausted => Some(Noted::Exhausted),
    }
}

fn is_banned(client: IpAddr, consequences: &Consequences, now: Now) -> bool {
    consequences.state.banned(client, now).is_some()
}

/// The event `pattern_detected` (guard semantics, section 12).
fn event(findings: &Findings, asked: &Asker<'_>, refuses: bool, now: Now) -> Event {
    let action = if refuses { "request_blocked" } else { "logged_only" };
    let mut event = Event::of_request(now, EventType::PatternDetected, asked, action);
    event.reason = match findings.result() {
        DetectionResult::Threat(category) => format!("suspicious request: {}", category.name()),
        DetectionResult::Exhausted => "more to look at than the bounds allow".to_owned(),
        DetectionResult::Clean => String::new(),
    };
    if let Some(first) = findings.found().first() {
        event.rule = first.pattern.to_string();
        event.metadata.push(("pattern", first.pattern.to_string()));
        event.metadata.push(("category", first.category.name().to_owned()));
        let context = match first.field.is_empty() {
            true => first.context.name().to_owned(),
            false => format!("{}:{}", first.context.name(), first.field),
        };
        event.metadata.push(("context", context));
        event.metadata.push(("view", first.view.name().to_owned()));
        event.metadata.push(("content_preview", first.preview.to_string()));
    }
    let told = || findings.found().iter().take(TOLD_MAX);
    let score = told().map(|finding| finding.score).fold(0, u16::saturating_add).min(100);
    event.metadata.push(("threat_score", format!("{}.{:02}", score / 100, score % 100)));
    let threats: Vec<&str> = told().map(|finding| &*finding.pattern).collect();
    event.metadata.push(("threats", threats.join(",")));
    let mut categories: Vec<&str> = told().map(|finding| finding.category.name()).collect();
    categories.sort_unstable();
    categories.dedup();
    event.metadata.push(("threat_categories", categories.join(",")));
    event.metadata.push(("detection_method", "automata".to_owned()));
    event
}
