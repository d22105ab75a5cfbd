//! The directives that count: `limit`, `escalate`, `ban-after`.

use super::detect::categories;
use super::draft::Draft;
use super::values::{
    PER_CLIENT, duration, duration_or_ever, duration_text, host_pattern, methods, number, path_prefix, per,
    per_text, rate, scope_text,
};
use super::words::{Optional, Words};
use super::{BanAfter, Escalate, Limit, Place, Scope, Violation};
use crate::guard::detection::Categories;
use crate::guard::store::EscalationConstants;
use crate::guard::window::WINDOW_MS_MAX;

/// Highest number of requests in a window (chosen): the exact window of a key keeps a time for each.
const REQUESTS_MAX: u64 = 1_000_000;

/// How long a violation counts towards a permanent block (guard semantics, section 6).
const PERMANENT_WINDOW_MS: u64 = 24 * 3_600_000;

pub(super) fn limit(draft: &mut Draft, words: &mut Words) -> Result<(), String> {
    let (requests, window_ms) = rate(words, REQUESTS_MAX)?;
    let mut limit = Limit {
        place: Place::default(),
        limit: requests,
        window_ms,
        per: PER_CLIENT,
        scope: Scope::default(),
        approximate: false,
        observe: false,
    };
    let known: [Optional<Limit>; 6] = [
        ("per", |limit, words| per(words).map(|per| limit.per = per)),
        ("path", |limit, words| path_prefix(words).map(|path| limit.scope.path = Some(path))),
        ("host", |limit, words| host_pattern(words).map(|host| limit.scope.host = Some(host))),
        ("methods", |limit, words| methods(words).map(|methods| limit.scope.methods = methods)),
        ("approximate", |limit, _| {
            limit.approximate = true;
            Ok(())
        }),
        ("observe", |limit, _| {
            limit.observe = true;
            Ok(())
        }),
    ];
    if !words.options(&mut limit, &known)?.contains(&"per") {
        return Err("expected what is counted, such as per client".into());
    }
    let counts =
        format!("{} per {}{}", duration_text(window_ms), per_text(limit.per), scope_text(&limit.scope));
    let approximate = if limit.approximate { " approximate" } else { "" };
    let observe = if limit.observe { " observe" } else { "" };
    let text = format!("limit {requests}/{counts}{approximate}{observe}");
    draft.check(&format!("limit {counts}"), limit.observe, &text)?;
    limit.window_ms = bounded_window(draft, "limit", window_ms);
    limit.place = draft.place(text);
    draft.directives.limits.push(limit);
    Ok(())
}

/// A time that a sliding window can have; a longer one becomes the longest one, with a warning.
fn bounded_window(draft: &mut Draft, name: &str, window_ms: u64) -> u64 {
    if window_ms > WINDOW_MS_MAX {
        draft.warn(format!(
            "{name}: expected a time of at most 24.8 days, the time of a sliding window: taking that"
        ));
    }
    window_ms.min(WINDOW_MS_MAX)
}

pub(super) fn escalate(draft: &mut Draft, words: &mut Words) -> Result<(), String> {
    let (requests_max, window_ms) = rate(words, REQUESTS_MAX)?;
    let constants = EscalationConstants {
        requests_max,
        window_ms,
        block_after: 0,
        block_ms: 0,
        permanent_after: None,
        permanent_window_ms: PERMANENT_WINDOW_MS,
    };
    let (per_client, scope, observe) = (PER_CLIENT, Scope::default(), false);
    let mut escalate = Escalate { place: Place::default(), constants, per: per_client, scope, observe };
    let known: [Optional<Escalate>; 7] = [
        ("block", |escalate, words| {
            escalate.constants.block_ms = duration(&words.value("a time such as 15m")?)?;
            words.expect("after", "block 15m after 3")?;
            escalate.constants.block_after = violations(words)?;
            Ok(())
        }),
        ("forever", |escalate, words| {
            words.expect("after", "forever after 10 in 24h")?;
            escalate.constants.permanent_after = Some(violations(words)?);
            words.expect("in", "forever after 10 in 24h")?;
            escalate.constants.permanent_window_ms = duration(&words.value("a time such as 24h")?)?;
            Ok(())
        }),
        ("per", |escalate, words| per(words).map(|per| escalate.per = per)),
        ("path", |escalate, words| path_prefix(words).map(|path| escalate.scope.path = Some(path))),
        ("host", |escalate, words| host_pattern(words).map(|host| escalate.scope.host = Some(host))),
        ("methods", |escalate, words| methods(words).map(|methods| escalate.scope.methods = methods)),
        ("observe", |escalate, _| {
            escalate.observe = true;
            Ok(())
        }),
    ];
    if !words.options(&mut escalate, &known)?.contains(&"block") {
        return Err("expected how long and when clients are blocked, such as block 15m after 3".into());
    }
    let text = escalation_text(&escalate);
    let (per, scope) = (per_text(escalate.per), scope_text(&escalate.scope));
    draft.check(
        &format!("escalate {} per {per}{scope}", duration_text(window_ms)),
        escalate.observe,
        &text,
    )?;
    escalate.place = draft.place(text);
    draft.directives.escalations.push(escalate);
    Ok(())
}

fn violations(words: &mut Words) -> Result<u32, String> {
    number(&words.value("a number of violations")?, 1, REQUESTS_MAX).map(|count| count as u32)
}

fn escalation_text(escalate: &Escalate) -> String {
    let EscalationConstants {
        requests_max,
        window_ms,
        block_after,
        block_ms,
        permanent_after,
        permanent_window_ms,
    } = escalate.constants;
    let (window, block) = (duration_text(window_ms), duration_text(block_ms));
    let forever = permanent_after.map_or(String::new(), |count| {
        format!(" forever after {count} in {}", duration_text(permanent_window_ms))
    });
    let (per, scope) = (per_text(escalate.per), scope_text(&escalate.scope));
    let observe = if escalate.observe { " observe" } else { "" };
    format!(
        "escalate {requests_max}/{window} block {block} after {block_after}{forever} per {per}{scope}{observe}"
    )
}

pub(super) fn ban_after(draft: &mut Draft, words: &mut Words) -> Result<(), String> {
    let form = "ban-after limit 20 in 10m for 1h";
    let (violation, name) = match (words.accept("limit"), words.accept("detect")) {
        (true, _) => (Violation::Limit, "limit"),
        (false, true) => (Violation::Detect, "detect"),
        (false, false) => return Err(words.unexpected("limit or detect")),
    };
    let named = match violation {
        Violation::Detect
            if words.peek().is_some_and(|word| word.text.starts_with(|c: char| c.is_ascii_alphabetic())) =>
        {
            categories(words)?
        }
        Violation::Detect | Violation::Limit => Vec::new(),
    };
    let names: String = named.iter().map(|category| format!(",{}", category.name())).collect();
    let name = if names.is_empty() { name.to_owned() } else { format!("{name} {}", &names[1..]) };
    let some = named.iter().fold(Categories::default(), |set, one| set.with(Categories::of(*one)));
    let categories = if named.is_empty() { Categories::ALL } else { some };
    let count = violations(words)?;
    words.expect("in", form)?;
    let window_ms = duration(&words.value("a time such as 10m")?)?;
    words.expect("for", form)?;
    let duration_ms = duration_or_ever(words)?;
    let mut line = BanAfter {
        place: Place::default(),
        violation,
        categories,
        count,
        window_ms,
        duration_ms,
        observe: false,
    };
    words.options(
        &mut line,
        &[("observe", |line, _| {
            line.observe = true;
            Ok(())
        })],
    )?;
    let observe = if line.observe { " observe" } else { "" };
    draft.once(format!("ban-after {name} {}{observe}", duration_text(window_ms)), |earlier| {
        format!("line {earlier} counts the same in the same time: expected one of the two")
    })?;
    let how_long = duration_ms.map_or_else(|| "ever".to_owned(), duration_text);
    let window = duration_text(window_ms);
    line.window_ms = bounded_window(draft, "ban-after", window_ms);
    line.place = draft.place(format!("ban-after {name} {count} in {window} for {how_long}{observe}"));
    draft.directives.ban_after.push(line);
    Ok(())
}
