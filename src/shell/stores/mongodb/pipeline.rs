//! The content of documents, written and read (guard semantics, sections 5 and 6). Each check is one update by an aggregation
//! pipeline, which the server carries out atomically. Times are dates of BSON: milliseconds since 1970, UTC.

use crate::guard::escalation::PERMANENT_AFTER_MAX;
use crate::guard::store::{Answer, EscalationConstants, EscalationStep, EscalationVerdict, StoreFailure};
use mongodb::bson::{Bson, DateTime, Document, doc};

/// Digits of the hash behind the address in keys of counters that are kept for more than an address.
const HASH_DIGITS: usize = 64;

/// The guard's prefix of keys of this kind; the names of the reference's documents are addresses without a prefix.
const NAMESPACE: &str = "escalation:";

fn date(ms: i64) -> Bson {
    Bson::DateTime(DateTime::from_millis(ms))
}

/// Numbers of the configuration that do not fit are as good as for ever.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The `_id` of the document for a key of the guard.
pub fn escalation_id(key: &str) -> &str {
    key.strip_prefix(NAMESPACE).unwrap_or(key)
}

/// Matches the documents of all keys of the guard that begin with `key` and end with a hash.
pub fn hashed_ids(key: &str) -> Document {
    let id = escalation_id(key).replace('.', "\\.");
    doc! { "_id": { "$regex": format!("^{id}:[0-9a-f]{{{HASH_DIGITS}}}$") } }
}

/// One step of a fixed window with escalation: the stages of section 6, in order.
pub fn escalation(id: &str, constants: &EscalationConstants, now_ms: i64) -> Vec<Document> {
    let is_hash = |text: &str| text.len() == HASH_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let ip = id.rsplit_once(':').filter(|(_, hash)| is_hash(hash)).map_or(id, |(ip, _)| ip);
    let before = |span: u64| date(now_ms.saturating_sub(signed(span)));
    let (now, block_end) = (date(now_ms), date(now_ms.saturating_add(signed(constants.block_ms))));
    let most = constants.permanent_after.map(|after| i64::from(after.clamp(1, PERMANENT_AFTER_MAX)));
    // Without a permanent block the times of violations are not needed.
    let events = match most {
        Some(most) => {
            let all = doc! { "$concatArrays": ["$violation_events", [now.clone()]] };
            let newest = doc! { "$slice": [all, -most] };
            doc! { "$cond": ["$_over", newest, "$violation_events"] }
        }
        None => doc! { "$cond": ["$_over", [], "$violation_events"] },
    };
    let is_permanent = match most {
        Some(most) => doc! { "$and": ["$_over", { "$gte": [{ "$size": "$violation_events" }, most] }] },
        None => doc! { "$and": ["$_over", false] },
    };
    let is_recent = doc! { "$gte": ["$$event", before(constants.permanent_window_ms)] };
    let known = doc! { "$ifNull": ["$violation_events", []] };
    vec![
        doc! { "$set": {
            "ip": { "$ifNull": ["$ip", ip] },
            "count": { "$ifNull": ["$count", 0_i64] },
            "window_start": { "$ifNull": ["$window_start", now.clone()] },
            "violations": { "$ifNull": ["$violations", 0_i64] },
            "blocked_until": { "$ifNull": ["$blocked_until", Bson::Null] },
            "permanent_blocked": { "$ifNull": ["$permanent_blocked", false] },
            "permanent_blocked_at": { "$ifNull": ["$permanent_blocked_at", Bson::Null] },
            "violation_events": { "$filter": { "input": known, "as": "event", "cond": is_recent } },
        } },
        doc! { "$set": { "_blocked": { "$or": [
            "$permanent_blocked",
            { "$and": [{ "$ne": ["$blocked_until", Bson::Null] }, { "$gt": ["$blocked_until", now.clone()] }] },
        ] } } },
        doc! { "$set": { "_expired": { "$and": [
            { "$eq": ["$_blocked", false] },
            { "$lt": ["$window_start", before(constants.window_ms)] },
        ] } } },
        doc! { "$set": {
            "window_start": { "$cond": ["$_expired", now.clone(), "$window_start"] },
            "count": { "$cond": ["$_expired", 1_i64, { "$cond": ["$_blocked", "$count", { "$add": ["$count", 1_i64] }] }] },
        } },
        doc! { "$set": { "_over": { "$and": [
            { "$eq": ["$_blocked", false] },
            { "$gt": ["$count", i64::from(constants.requests_max)] },
        ] } } },
        doc! { "$set": {
            "violations": { "$cond": ["$_over", { "$add": ["$violations", 1_i64] }, "$violations"] },
            "violation_events": events,
        } },
        doc! { "$set": { "_blocks": { "$and": ["$_over", { "$gte": ["$violations", i64::from(constants.block_after)] }] } } },
        doc! { "$set": {
            "blocked_until": { "$cond": ["$_blocks", block_end, "$blocked_until"] },
            "permanent_blocked": { "$or": ["$permanent_blocked", is_permanent] },
        } },
        doc! { "$set": { "permanent_blocked_at": { "$cond": [
            "$permanent_blocked",
            { "$ifNull": ["$permanent_blocked_at", now] },
            "$permanent_blocked_at",
        ] } } },
        doc! { "$unset": ["_blocked", "_expired", "_over", "_blocks"] },
    ]
}

/// The answer in the document after the update.
pub fn escalation_answer(
    document: &Document,
    constants: &EscalationConstants,
    now_ms: i64,
) -> Result<Answer, StoreFailure> {
    let wrong = |_| StoreFailure::WrongType;
    let span = |ms: i64| u64::try_from(ms).unwrap_or(0);
    let blocked_until = match document.get("blocked_until") {
        Some(Bson::DateTime(until)) => Some(until.timestamp_millis()),
        Some(Bson::Null) | None => None,
        Some(_) => return Err(StoreFailure::WrongType),
    };
    let left_ms = || -> Result<u64, StoreFailure> {
        let start = document.get_datetime("window_start").map_err(wrong)?.timestamp_millis();
        let end = start.saturating_add(signed(constants.window_ms));
        Ok(span(end.saturating_sub(now_ms)).max(1))
    };
    let (count, most) = (number(document, "count"), i64::from(constants.requests_max));
    let mut next_after_ms = 0;
    let verdict = if document.get_bool("permanent_blocked").map_err(wrong)? {
        EscalationVerdict::Permanent
    } else if let Some(until) = blocked_until.filter(|until| *until > now_ms) {
        EscalationVerdict::Blocked { retry_after_ms: span(until.saturating_sub(now_ms)) }
    } else if count? > most {
        EscalationVerdict::Over { retry_after_ms: left_ms()? }
    } else {
        next_after_ms = if count? == most { left_ms()? } else { 0 };
        EscalationVerdict::Pass
    };
    // A request at the very time of the block, of another process, counts as one that causes it.
    let is_violation = match verdict {
        EscalationVerdict::Pass => false,
        EscalationVerdict::Over { .. } => true,
        EscalationVerdict::Blocked { retry_after_ms } => retry_after_ms == constants.block_ms,
        EscalationVerdict::Permanent => match document.get("permanent_blocked_at") {
            Some(Bson::DateTime(at)) => at.timestamp_millis() == now_ms,
            Some(_) | None => false,
        },
    };
    Ok(Answer::Escalation(EscalationStep { verdict, is_violation, next_after_ms }))
}

/// A number of either width: another program may have written the document.
fn number(document: &Document, name: &str) -> Result<i64, StoreFailure> {
    match document.get(name) {
        Some(Bson::Int64(number)) => Ok(*number),
        Some(Bson::Int32(number)) => Ok(i64::from(*number)),
        Some(_) | None => Err(StoreFailure::WrongType),
    }
}

/// Records a hit: the newest `limit + 1` decide.
pub fn window(limit: u32, window_ms: u64, now_ms: i64) -> Vec<Document> {
    let is_recent = doc! { "$gt": ["$$hit", date(now_ms.saturating_sub(signed(window_ms)))] };
    let known = doc! { "$ifNull": ["$hits", []] };
    let recent = doc! { "$filter": { "input": known, "as": "hit", "cond": is_recent } };
    let all = doc! { "$concatArrays": [recent, [date(now_ms)]] };
    let end = date(now_ms.saturating_add(signed(window_ms)));
    vec![doc! { "$set": { "hits": { "$slice": [all, -(i64::from(limit) + 1)] }, "expire_at": end } }]
}

/// The answer in the hits after the update.
pub fn window_answer(
    document: &Document,
    limit: u32,
    window_ms: u64,
    now_ms: i64,
) -> Result<Answer, StoreFailure> {
    let hits = document.get_array("hits").map_err(|_| StoreFailure::WrongType)?;
    let limit_hits = limit as usize;
    let retry_after_ms = match hits.len().checked_sub(limit_hits).and_then(|at| hits.get(at)) {
        Some(Bson::DateTime(hit)) => {
            let leaves = hit.timestamp_millis().saturating_add(signed(window_ms));
            u64::try_from(leaves.saturating_sub(now_ms)).unwrap_or(0)
        }
        Some(_) => return Err(StoreFailure::WrongType),
        // With a limit of 0 the next place is behind the last hit.
        None if limit == 0 => window_ms,
        None => 0,
    };
    let left = limit.saturating_sub(u32::try_from(hits.len()).unwrap_or(u32::MAX));
    Ok(Answer::Window { within: hits.len() <= limit_hits, left, retry_after_ms })
}
