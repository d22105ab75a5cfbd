//! How old a response is, for how long it is fresh, and whether it may be used now (RFC 9111 section 4.2, RFC 5861).

use crate::http::block::FieldLines;
use crate::http::date::parse_http_date;
use crate::http::fields::list;

use crate::cache::rfc::control::{RequestDirectives, ResponseDirectives, SECONDS_MAX, delta_seconds};

/// The operator's settings for freshness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// Longest lifetime that is guessed from Last-Modified, in seconds.
    pub heuristic_max_s: u32,
    /// Lifetime in seconds of errors without an explicit one; 0 for none.
    pub negative_ttl_s: u32,
}

impl Default for Freshness {
    /// At most a day (RFC 9111 section 4.2.2 asks for care; chosen as Squid and browsers do); errors have no
    /// lifetime.
    fn default() -> Freshness {
        Freshness { heuristic_max_s: 24 * 3600, negative_ttl_s: 0 }
    }
}

/// When the request was sent and the response head received: seconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// The request was sent.
    pub requested_s: u64,
    /// The response head was received.
    pub received_s: u64,
}

/// The properties that decide whether a stored response may be used. Computed once, when the response is stored or
/// updated. Times are seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Time of receipt, since 1970-01-01 UTC.
    pub received_s: u64,
    /// Age at the time of receipt (corrected_initial_age, RFC 9111 section 4.2.3).
    pub initial_age_s: u32,
    /// freshness_lifetime (RFC 9111 section 4.2.1), counted from the Date of the response.
    pub lifetime_s: u32,
    /// stale-while-revalidate; 0 where it is missing or forbidden.
    pub while_revalidate_s: u32,
    /// stale-if-error; `None` where it is missing.
    pub if_error_s: Option<u32>,
    /// `no-cache`: never used without validation.
    pub no_cache: bool,
    /// Never used stale: `must-revalidate`, `proxy-revalidate`, `no-cache`, `s-maxage`.
    pub forbids_stale: bool,
    /// The response itself tells the lifetime.
    pub explicit: bool,
}

/// How a stored response may be used for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// The stored response is sent.
    Fresh,
    /// The stored response is sent; one fetch in the background renews it.
    StaleWhileRevalidate,
    /// The stored response is sent, because the client accepts stale responses.
    StaleAccepted,
    /// The stored response is validated first.
    Validate,
}

/// The decision about a stored response for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// How the stored response may be used now.
    pub usage: Use,
    /// The current age, for the Age field.
    pub age_s: u32,
    /// Seconds of freshness that are left, negative if stale; for Cache-Status.
    pub ttl_s: i64,
    /// Whether the stored response is sent if the origin answers 500, 502, 503 or 504.
    pub if_error: bool,
    /// Whether the stored response is sent if the origin cannot be reached or closes before its response.
    pub if_unreachable: bool,
}

impl Terms {
    /// Seconds of freshness that were left at the time of receipt.
    pub fn ttl_s(&self) -> i64 {
        i64::from(self.lifetime_s) - i64::from(self.initial_age_s)
    }

    /// The terms of a response with that status and these fields.
    pub fn new<'b>(
        status: u16,
        fields: impl FieldLines<'b>,
        directives: &ResponseDirectives,
        times: Times,
        settings: &Freshness,
    ) -> Terms {
        let date_s = date_s(fields, times.received_s);
        let (lifetime_s, explicit) = lifetime(status, fields, directives, date_s, times, settings);
        let forbids_stale = directives.forbids_stale();
        Terms {
            received_s: times.received_s,
            initial_age_s: initial_age_s(fields, date_s, times),
            lifetime_s,
            while_revalidate_s: directives.while_revalidate_s.filter(|_| !forbids_stale).unwrap_or(0),
            if_error_s: directives.if_error_s,
            no_cache: directives.no_cache,
            forbids_stale,
            explicit,
        }
    }

    /// The age of the response.
    pub fn age_s(&self, now_s: u64) -> u32 {
        let resident_s = now_s.saturating_sub(self.received_s);
        saturated(u64::from(self.initial_age_s).saturating_add(resident_s))
    }
}

fn saturated(seconds: u64) -> u32 {
    u32::try_from(seconds).unwrap_or(SECONDS_MAX).min(SECONDS_MAX)
}

/// The time at which the response was made: its Date, or else the time of receipt (rule 8). Seconds since 1970-01-01 UTC.
pub fn date_s<'b>(fields: impl FieldLines<'b>, received_s: u64) -> i64 {
    let date = fields.value("date").and_then(|value| parse_http_date(value, received_s));
    date.unwrap_or(i64::try_from(received_s).unwrap_or(i64::MAX))
}

/// The lifetime of a response, and whether the response itself tells it. Rules 3 to 7, 14, 15; RFC 9111 sections 4.2.1 and 4.2.2.
fn lifetime<'b>(
    status: u16,
    fields: impl FieldLines<'b>,
    directives: &ResponseDirectives,
    date_s: i64,
    times: Times,
    settings: &Freshness,
) -> (u32, bool) {
    if let Some(seconds) = directives.s_maxage_s.or(directives.max_age_s) {
        return (seconds, true);
    }
    // A targeted field replaces both Cache-Control and Expires.
    if !directives.targeted && fields.contains("expires") {
        let expires = fields.single("expires").and_then(|value| parse_http_date(value, times.received_s));
        let seconds = expires.map_or(0, |expires| expires.saturating_sub(date_s));
        return (saturated(u64::try_from(seconds).unwrap_or(0)), true);
    }
    if !directives.public && !is_heuristic_status(status) {
        return (0, false);
    }
    let modified = fields.single("last-modified").and_then(|value| parse_http_date(value, times.received_s));
    if let Some(modified) = modified {
        let unchanged_s = u64::try_from(date_s.saturating_sub(modified)).unwrap_or(0);
        return (saturated(unchanged_s / 10).min(settings.heuristic_max_s), false);
    }
    match status {
        400.. if settings.negative_ttl_s > 0 => (settings.negative_ttl_s.min(SECONDS_MAX), false),
        _ => (0, false),
    }
}

/// Whether a response with that status may be stored without an explicit lifetime (RFC 9110 section 15.1).
pub fn is_heuristic_status(status: u16) -> bool {
    matches!(status, 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// The age at receipt. Rules 7 and 9; RFC 9111 section 4.2.3.
pub(in crate::cache) fn initial_age_s<'b>(fields: impl FieldLines<'b>, date_s: i64, times: Times) -> u32 {
    let received_s = i64::try_from(times.received_s).unwrap_or(i64::MAX);
    let apparent_s = u64::try_from(received_s.saturating_sub(date_s)).unwrap_or(0);
    let age = fields.value("age").and_then(|value| list(value).next()).and_then(delta_seconds);
    let delay_s = times.received_s.saturating_sub(times.requested_s);
    saturated(apparent_s.max(u64::from(age.unwrap_or(0)).saturating_add(delay_s)))
}

/// Decides whether a stored response may be used for a request with these directives.
#[inline]
pub fn decide(terms: &Terms, request: &RequestDirectives, now_s: u64) -> Decision {
    let age_s = terms.age_s(now_s);
    let ttl_s = i64::from(terms.lifetime_s) - i64::from(age_s);
    // Strictly: at an age of exactly its lifetime it is stale (RFC 9111 section 4.2).
    let fresh = ttl_s > 0;
    let stale_s = ttl_s.unsigned_abs();
    let refused = terms.no_cache || request.no_cache;
    // An age of 0 was rounded down; a request with max-age=0 is for the origin.
    let too_old = request.max_age_s.is_some_and(|max_age_s| max_age_s == 0 || age_s > max_age_s);
    let too_soon = request.min_fresh_s.is_some_and(|min_fresh_s| ttl_s < i64::from(min_fresh_s));
    let accepted = request.max_stale_s.is_some_and(|max_stale_s| stale_s <= u64::from(max_stale_s));
    // A client that sends max-age without max-stale accepts nothing stale (RFC 9111 section 5.2.1.1).
    let while_revalidate = request.max_age_s.is_none() && stale_s < u64::from(terms.while_revalidate_s);
    let usage = match fresh {
        _ if refused || too_old || too_soon => Use::Validate,
        true => Use::Fresh,
        false if terms.forbids_stale => Use::Validate,
        false if while_revalidate => Use::StaleWhileRevalidate,
        false if accepted => Use::StaleAccepted,
        false => Use::Validate,
    };
    let may_be_stale = !refused && (fresh || !terms.forbids_stale);
    let within = |window_s: Option<u32>| window_s.map(|window_s| fresh || stale_s <= u64::from(window_s));
    // The longer window of the two applies (RFC 5861 section 4).
    let window = match (within(terms.if_error_s), within(request.if_error_s)) {
        (None, asked) => asked,
        (given, None) => given,
        (Some(given), Some(asked)) => Some(given || asked),
    };
    Decision {
        usage,
        age_s,
        ttl_s,
        if_error: may_be_stale && window.unwrap_or(false),
        if_unreachable: may_be_stale && window.unwrap_or(true),
    }
}

/// Whether a response with that status may be replaced by a stale one, see [`Decision::if_error`] (RFC 5861 section
/// 4).
pub fn is_error(status: u16) -> bool {
    matches!(status, 500 | 502..=504)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::block::FieldBlock;
    use crate::http::date::http_date;

    /// 2026-11-22 00:00:00 UTC
    const NOW: u64 = 1_795_305_600;

    const AT_ONCE: Times = Times { requested_s: NOW, received_s: NOW };

    fn date(unix_s: u64) -> String {
        String::from_utf8(http_date(unix_s).to_vec()).unwrap()
    }

    fn terms_of(status: u16, lines: &str, times: Times, settings: &Freshness) -> Terms {
        let fields = FieldBlock::new(lines.as_bytes());
        Terms::new(status, fields, &ResponseDirectives::read(fields, &["CDN-Cache-Control"]), times, settings)
    }

    fn terms(lines: &str) -> Terms {
        terms_of(200, lines, AT_ONCE, &Freshness::default())
    }

    fn decided(lines: &str, asked: &str, after_s: u64) -> Decision {
        let text = format!("Cache-Control: {asked}\r\n");
        let asked = RequestDirectives::read(FieldBlock::new(text.as_bytes()));
        decide(&terms(lines), &asked, NOW + after_s)
    }

    #[test]
    fn rule_03_lifetimes_saturate() {
        for (value, lifetime_s) in
            [("007", 7), ("2147483648", SECONDS_MAX), ("99999999999", SECONDS_MAX), ("-1", 0), ("1.5", 0)]
        {
            assert_eq!(
                terms(&format!("Cache-Control: max-age={value}\r\n")).lifetime_s,
                lifetime_s,
                "{value}"
            );
        }
        let eternal = terms("Cache-Control: max-age=99999999999\r\nAge: 99999999999\r\n");
        assert_eq!(decide(&eternal, &RequestDirectives::default(), u64::MAX).usage, Use::Validate);
    }

    #[test]
    fn rule_04_precedence() {
        let expires = format!("Expires: {}\r\n", date(NOW + 30));
        for (lines, lifetime_s) in [
            ("Cache-Control: max-age=20, s-maxage=10\r\n", 10),
            ("Cache-Control: max-age=20\r\nCache-Control: s-maxage=40\r\n", 40),
            ("Cache-Control: max-age=20\r\n", 20),
            ("Cache-Control: max-age=x\r\n", 0),
            ("Cache-Control: public\r\n", 30),
            ("", 30),
            // Rule 44: a targeted field replaces both.
            ("CDN-Cache-Control: max-age=50\r\nCache-Control: max-age=20\r\n", 50),
            ("CDN-Cache-Control: foo\r\nCache-Control: max-age=20\r\n", 0),
            ("CDN-Cache-Control: &\r\nCache-Control: max-age=20\r\n", 20),
        ] {
            let found = terms(&format!("{lines}{expires}"));
            assert_eq!(found.lifetime_s, lifetime_s, "{lines}");
        }
    }

    #[test]
    fn rule_06_fresh_only_while_the_lifetime_is_longer_than_the_age() {
        let lines = "Cache-Control: max-age=10\r\n";
        for (after_s, usage, ttl_s) in
            [(0, Use::Fresh, 10), (9, Use::Fresh, 1), (10, Use::Validate, 0), (11, Use::Validate, -1)]
        {
            let found = decided(lines, "", after_s);
            assert_eq!((found.usage, found.ttl_s, found.age_s), (usage, ttl_s, after_s as u32), "{after_s}");
        }
        let same = format!("Date: {0}\r\nExpires: {0}\r\n", date(NOW));
        assert_eq!(decided(&same, "", 0).usage, Use::Validate);
    }

    #[test]
    fn rule_07_age_and_lifetime() {
        let delayed = Times { requested_s: NOW - 5, received_s: NOW };
        for (lines, initial_age_s) in [
            (String::new(), 5),
            (format!("Date: {}\r\n", date(NOW)), 5),
            (format!("Date: {}\r\n", date(NOW - 20)), 20),
            (format!("Date: {}\r\n", date(NOW + 20)), 5),
            (format!("Date: {}\r\nAge: 10\r\n", date(NOW - 20)), 20),
            (format!("Date: {}\r\nAge: 16\r\n", date(NOW - 20)), 21),
            (format!("Date: {}\r\n", date(0)), NOW as u32),
        ] {
            let found = terms_of(200, &lines, delayed, &Freshness::default());
            assert_eq!(found.initial_age_s, initial_age_s, "{lines}");
            assert_eq!(found.age_s(NOW + 100), initial_age_s + 100);
            // A clock that goes back makes no response younger than at its receipt.
            assert_eq!(found.age_s(NOW - 100), initial_age_s);
        }
        // The origin's clock is an hour behind or ahead: the lifetime is the same.
        for skewed in [NOW - 3600, NOW + 3600] {
            let lines = format!("Date: {}\r\nExpires: {}\r\n", date(skewed), date(skewed + 60));
            assert_eq!(terms(&lines).lifetime_s, 60);
        }
    }

    #[test]
    fn rule_08_no_valid_date_is_the_time_of_receipt() {
        let expires = format!("Expires: {}\r\n", date(NOW + 30));
        for lines in ["", "Date: x\r\n", "Date:\r\n", "Date: Sun, 06 Nov 94 08:49:37 GMT\r\n"] {
            let found = terms(&format!("{lines}{expires}"));
            assert_eq!((found.lifetime_s, found.initial_age_s), (30, 0), "{lines}");
        }
    }

    #[test]
    fn rule_09_age() {
        for (lines, initial_age_s) in [
            ("Age: 7\r\n", 7),
            ("Age: 007\r\n", 7),
            ("Age: 7, 9\r\n", 7),
            ("Age: 7\r\nAge: 9\r\n", 7),
            ("Age: x, 9\r\n", 0),
            ("Age: 7.5\r\n", 0),
            ("Age: -7\r\n", 0),
            ("Age: seven\r\n", 0),
            ("Age: \"7\"\r\n", 0),
            ("Age:\r\n", 0),
            ("Age: 2147483648\r\n", SECONDS_MAX),
            ("Age: 99999999999999999999999\r\n", SECONDS_MAX),
        ] {
            assert_eq!(terms(lines).initial_age_s, initial_age_s, "{lines}");
        }
    }

    #[test]
    fn rule_13_invalid_expires_are_stale() {
        for lines in [
            "Expires: 0\r\n".to_owned(),
            "Expires: -1\r\n".to_owned(),
            "Expires:\r\n".to_owned(),
            format!("Expires: {}\r\n", date(NOW + 60).replace("GMT", "UTC")),
            format!("Expires: {}, {0}\r\n", date(NOW + 60)),
            format!("Expires: {}\r\nExpires: {0}\r\n", date(NOW + 60)),
            format!("Expires: {}\r\n", date(NOW - 1)),
        ] {
            // Last-Modified does not count, even so.
            let found = terms(&format!("{lines}Last-Modified: {}\r\n", date(NOW - 1000)));
            assert_eq!((found.lifetime_s, found.explicit), (0, true), "{lines}");
        }
    }

    #[test]
    fn rule_14_heuristics() {
        let lines = format!("Last-Modified: {}\r\n", date(NOW - 1000));
        let settings = Freshness { heuristic_max_s: 150, negative_ttl_s: 0 };
        for status in 200..=599 {
            let may = [200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501].contains(&status);
            let found = terms_of(status, &lines, AT_ONCE, &settings);
            assert_eq!((found.lifetime_s, found.explicit), (if may { 100 } else { 0 }, false), "{status}");
            let public = format!("{lines}Cache-Control: public\r\n");
            assert_eq!(terms_of(status, &public, AT_ONCE, &settings).lifetime_s, 100, "{status}");
        }
        for (ago_s, lifetime_s) in [(1499, 149), (1500, 150), (1_000_000, 150), (9, 0), (0, 0)] {
            let lines = format!("Last-Modified: {}\r\n", date(NOW - ago_s));
            assert_eq!(terms_of(200, &lines, AT_ONCE, &settings).lifetime_s, lifetime_s, "{ago_s}");
        }
        let later = format!("Last-Modified: {}\r\n", date(NOW + 1000));
        assert_eq!(terms(&later).lifetime_s, 0);
    }

    #[test]
    fn rule_14_errors_that_say_nothing() {
        let settings = Freshness { negative_ttl_s: 7, ..Freshness::default() };
        for (status, lines, lifetime_s) in [
            (404, "", 7),
            (410, "", 7),
            (501, "", 7),
            (200, "", 0),
            (403, "", 0),
            (503, "", 0),
            (404, "Cache-Control: max-age=3\r\n", 3),
            (404, "Expires: 0\r\n", 0),
        ] {
            assert_eq!(
                terms_of(status, lines, AT_ONCE, &settings).lifetime_s,
                lifetime_s,
                "{status} {lines}"
            );
        }
        assert_eq!(terms_of(404, "", AT_ONCE, &Freshness::default()).lifetime_s, 0);
    }

    #[test]
    fn rule_15_nothing_said_is_validated() {
        for lines in ["", "ETag: \"a\"\r\n", "Cache-Control: public\r\n", "Last-Modified: x\r\n"] {
            let found = terms(lines);
            assert_eq!((found.lifetime_s, found.explicit), (0, false), "{lines}");
            assert_eq!(decide(&found, &RequestDirectives::default(), NOW).usage, Use::Validate, "{lines}");
        }
    }

    #[test]
    fn rule_19_no_cache_is_validated_on_every_use() {
        for asked in ["", "max-stale", "stale-if-error=99"] {
            let found =
                decided("Cache-Control: no-cache, max-age=100, stale-while-revalidate=99\r\n", asked, 0);
            assert_eq!(
                (found.usage, found.if_error, found.if_unreachable),
                (Use::Validate, false, false),
                "{asked}"
            );
        }
        let found = decided("Cache-Control: no-cache=\"a\", max-age=100\r\n", "", 0);
        assert_eq!(found.usage, Use::Fresh);
    }

    #[test]
    fn rule_23_stale_when_the_origin_cannot_be_reached() {
        for (directives, if_unreachable) in [
            ("max-age=10", true),
            ("max-age=10, must-revalidate", false),
            ("max-age=10, proxy-revalidate", false),
            ("max-age=10, no-cache", false),
            ("s-maxage=10", false),
            ("max-age=10, stale-if-error=5", true),
            ("max-age=10, stale-if-error=4", false),
        ] {
            let found = decided(&format!("Cache-Control: {directives}\r\n"), "", 15);
            let expected = (Use::Validate, if_unreachable);
            assert_eq!((found.usage, found.if_unreachable), expected, "{directives}");
        }
        assert!(!decided("Cache-Control: max-age=10\r\n", "no-cache", 15).if_unreachable);
        assert!(decided("Cache-Control: max-age=10\r\n", "max-age=0", 15).if_unreachable);
        // Fresh, but the client wanted the origin.
        assert!(decided("Cache-Control: max-age=10, must-revalidate\r\n", "max-age=0", 5).if_unreachable);
    }

    #[test]
    fn rule_24_stale_while_revalidate() {
        for (directives, after_s, usage) in [
            ("stale-while-revalidate=5", 9, Use::Fresh),
            ("stale-while-revalidate=5", 10, Use::StaleWhileRevalidate),
            ("stale-while-revalidate=5", 14, Use::StaleWhileRevalidate),
            ("stale-while-revalidate=5", 15, Use::Validate),
            ("stale-while-revalidate=0", 10, Use::Validate),
            ("stale-while-revalidate=x", 10, Use::Validate),
            ("stale-while-revalidate=5, must-revalidate", 10, Use::Validate),
            ("stale-while-revalidate=5, proxy-revalidate", 10, Use::Validate),
            ("stale-while-revalidate=5, s-maxage=10", 10, Use::Validate),
        ] {
            let found = decided(&format!("Cache-Control: max-age=10, {directives}\r\n"), "", after_s);
            assert_eq!(found.usage, usage, "{directives} {after_s}");
        }
        for asked in ["no-cache", "max-age=100", "min-fresh=1"] {
            let found = decided("Cache-Control: max-age=10, stale-while-revalidate=5\r\n", asked, 10);
            assert_eq!(found.usage, Use::Validate, "{asked}");
        }
    }

    #[test]
    fn rule_25_stale_if_error() {
        for (directives, asked, after_s, if_error) in [
            ("max-age=10, stale-if-error=5", "", 15, true),
            ("max-age=10, stale-if-error=5", "", 16, false),
            ("max-age=10", "", 10, false),
            ("max-age=10", "stale-if-error=5", 15, true),
            ("max-age=10", "stale-if-error=5", 16, false),
            ("max-age=10, stale-if-error=2", "stale-if-error=5", 14, true),
            ("max-age=10, stale-if-error=5, must-revalidate", "", 12, false),
            ("max-age=10, stale-if-error=5", "no-cache", 12, false),
        ] {
            let found = decided(&format!("Cache-Control: {directives}\r\n"), asked, after_s);
            assert_eq!(found.if_error, if_error, "{directives} / {asked} {after_s}");
        }
        let errors: Vec<_> = (100..=999).filter(|status| is_error(*status)).collect();
        assert_eq!(errors, [500, 502, 503, 504]);
    }

    #[test]
    fn rule_39_request_directives() {
        for (directives, asked, after_s, usage) in [
            ("max-age=10", "max-age=0", 0, Use::Validate),
            ("max-age=10", "max-age=5", 5, Use::Fresh),
            ("max-age=10", "max-age=5", 6, Use::Validate),
            ("max-age=10", "max-age=x", 0, Use::Validate),
            ("max-age=10", "min-fresh=5", 5, Use::Fresh),
            ("max-age=10", "min-fresh=5", 6, Use::Validate),
            ("max-age=10", "min-fresh=x", 0, Use::Validate),
            ("max-age=10", "max-stale", 1_000_000, Use::StaleAccepted),
            ("max-age=10", "max-stale=5", 15, Use::StaleAccepted),
            ("max-age=10", "max-stale=5", 16, Use::Validate),
            ("max-age=10", "max-stale=x", 11, Use::Validate),
            ("max-age=10", "max-stale=5, max-age=12", 12, Use::StaleAccepted),
            ("max-age=10", "max-stale=5, max-age=12", 13, Use::Validate),
            ("max-age=10, must-revalidate", "max-stale", 10, Use::Validate),
            ("s-maxage=10", "max-stale", 10, Use::Validate),
            ("max-age=10", "no-cache", 0, Use::Validate),
            ("max-age=10", "only-if-cached", 9, Use::Fresh),
            ("max-age=10", "no-store, foo", 9, Use::Fresh),
        ] {
            let found = decided(&format!("Cache-Control: {directives}\r\n"), asked, after_s);
            assert_eq!(found.usage, usage, "{directives} / {asked} {after_s}");
        }
    }
}
