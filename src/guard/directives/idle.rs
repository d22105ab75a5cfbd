//! Lines of a guard file that are right and have no effect, because another line or a gateway is missing. The author of such a line may
//! take a server for protected that is not.

use super::{Directives, Problem, Violation};
use crate::guard::detection::Mode;

/// Directives for the responses of a gateway, or for requests to it.
const OF_GATEWAY: [&str; 7] = ["headers", "header", "csp", "hsts", "cors", "csp-report", "csrf"];

const NO_DETECTION: &str = "has no effect: expected a line with detect block or detect observe, too";
const NO_CLOUDS: &str = "has no effect: expected a line with cloud deny, too";
const NO_COUNTERS: &str = "has no effect: expected a line with limit or escalate, too";
const NO_LIMITS: &str = "has no effect: expected a line with limit, too";
const NO_GATEWAY: &str = "has no effect on forwarded requests: expected --gateway";

/// A warning for each line, or for the first of its kind. `gateway` if there is one.
pub fn without_effect(directives: &Directives, gateway: bool) -> Vec<Problem> {
    let mut warnings = Vec::new();
    let mut warn = |line: u32, name: &str, message: &str| {
        warnings.push(Problem { line, message: format!("{name} {message}") });
    };
    let is_off = directives.detect.mode == Mode::Off;
    let counts = !directives.limits.is_empty() || !directives.escalations.is_empty();
    for ban in &directives.ban_after {
        match ban.violation {
            Violation::Limit if !counts => warn(ban.place.line, "ban-after limit", NO_COUNTERS),
            Violation::Detect if is_off => warn(ban.place.line, "ban-after detect", NO_DETECTION),
            Violation::Limit | Violation::Detect => {}
        }
    }
    for (name, line) in &directives.first_lines {
        match *name {
            "detect" | "exclude" if is_off => warn(*line, name, NO_DETECTION),
            "cloud" if directives.clouds.is_empty() => warn(*line, name, NO_CLOUDS),
            "rate-limit-fields" if directives.limits.is_empty() => warn(*line, name, NO_LIMITS),
            name if !gateway && OF_GATEWAY.contains(&name) => warn(*line, name, NO_GATEWAY),
            _ => {}
        }
    }
    warnings.sort_by_key(|warning| warning.line);
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::directives::parse;

    #[test]
    #[cfg_attr(not(feature = "detection"), ignore = "needs the feature detection")]
    fn lines_without_effect_are_told() {
        for (text, gateway, expected) in [
            ("ban-after limit 20 in 10m for 1h\n", true, &[1][..]),
            ("limit 5/1m per client\nban-after limit 20 in 10m for 1h\n", true, &[]),
            ("\nban-after detect 5 in 1h for 1h\ndetect exhausted pass\nexclude /docs\n", true, &[2, 3, 4]),
            (
                "ban-after detect 5 in 1h for 1h\ndetect pattern ours \"internal-[0-9]\"\ndetect observe\n",
                true,
                &[],
            ),
            ("cloud refresh 1h\n", true, &[1]),
            ("cloud deny client aws\ncloud refresh 1h\nrate-limit-fields\n", true, &[3]),
            (
                "escalate 9/1m block 1m after 3\nban-after limit 2 in 1m for 1h\nrate-limit-fields\n",
                true,
                &[3],
            ),
            (
                "headers on\nheader X-A b\nheader X-B c\nhsts max-age=1\ncsrf protect path /\n",
                false,
                &[1, 2, 4, 5],
            ),
            ("headers on\nheader X-A b\nhsts max-age=1\ncsrf protect path /\n", true, &[]),
        ] {
            let directives = parse(text.as_bytes()).unwrap();
            let found: Vec<u32> =
                without_effect(&directives, gateway).iter().map(|warning| warning.line).collect();
            assert_eq!(found, expected, "{text}");
        }
    }
}
