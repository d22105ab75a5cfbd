//! Decisions of CrowdSec.

use super::list::BanList;
use serde::{Deserialize, Deserializer};

/// An alert with its decisions, or a decision: neither has the fields of the other.
#[derive(Deserialize)]
struct Decision {
    /// The inner `None` is a null.
    #[serde(default, deserialize_with = "present")]
    decisions: Option<Option<Vec<Decision>>>,
    value: Option<String>,
    scope: Option<String>,
    duration: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(alias = "reason")]
    scenario: Option<String>,
    #[serde(default)]
    simulated: Option<bool>,
}

impl Decision {
    /// An object without any field of an alert or a decision.
    fn is_neither(&self) -> bool {
        let texts = [&self.value, &self.scope, &self.duration, &self.kind, &self.scenario];
        texts.iter().all(|text| text.is_none()) && self.decisions.is_none() && self.simulated.is_none()
    }
}

/// A field that is there, even if it is null.
fn present<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Option<Vec<Decision>>>, D::Error> {
    Deserialize::deserialize(field).map(Some)
}

/// A list of alerts or decisions.
pub(super) fn read_json(content: &[u8], list: &mut BanList) {
    match serde_json::from_slice::<Option<Vec<Decision>>>(content) {
        Ok(found) => {
            for (index, item) in found.unwrap_or_default().iter().enumerate() {
                match item.decisions.as_ref().and_then(Option::as_ref) {
                    Some(decisions) => {
                        decisions.iter().for_each(|decision| read_decision(index, decision, list))
                    }
                    None if item.is_neither() => {
                        let found = format!("neither in entry {}", index + 1);
                        list.problem(0, "expected an alert or a decision of CrowdSec", &found);
                    }
                    // An alert of which no decision is left.
                    None if item.value.is_none() && item.duration.is_none() => list.skipped += 1,
                    None => read_decision(index, item, list),
                }
            }
        }
        Err(error) => {
            let line = u32::try_from(error.line()).unwrap_or(0);
            list.problem(line, "expected the JSON of cscli decisions list", &error.to_string());
        }
    }
}

fn read_decision(index: usize, decision: &Decision, list: &mut BanList) {
    let Some(value) = &decision.value else {
        return list.problem(0, "expected a value in each decision", &format!("none in entry {}", index + 1));
    };
    let entry = Entry {
        value,
        scope: decision.scope.as_deref(),
        duration: decision.duration.as_deref(),
        kind: decision.kind.as_deref(),
        reason: decision.scenario.as_deref().unwrap_or_default(),
        is_simulated: decision.simulated.unwrap_or(false),
    };
    entry.read(0, list);
}

/// A decision in either format.
struct Entry<'t> {
    value: &'t str,
    scope: Option<&'t str>,
    duration: Option<&'t str>,
    kind: Option<&'t str>,
    reason: &'t str,
    is_simulated: bool,
}

impl Entry<'_> {
    fn read(&self, line: u32, list: &mut BanList) {
        let is_any = |word: Option<&str>, known: &[&str]| {
            word.is_none_or(|word| known.iter().any(|known| word.eq_ignore_ascii_case(known)))
        };
        if self.is_simulated || !is_any(self.scope, &["ip", "range"]) || !is_any(self.kind, &["ban"]) {
            list.skipped += 1;
            return;
        }
        let until = match self.duration {
            None => None,
            Some(text) => match milliseconds(text) {
                Some(ms) => Some(list.times().written_unix_ms.saturating_add_signed(ms)),
                None => return list.problem(line, "expected a duration such as 3h59m49s", text),
            },
        };
        list.ban(line, self.value, until, self.reason);
    }
}

/// A duration as Go writes it: numbers with units, the larger first; the last may have decimals. Negative for a ban that has
/// ended. Fractions of a millisecond are dropped.
fn milliseconds(text: &str) -> Option<i64> {
    let (sign, mut rest) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    if rest == "0" {
        return Some(0);
    }
    let mut total: i64 = 0;
    loop {
        let digits_end = rest.find(|char: char| !char.is_ascii_digit() && char != '.')?;
        let (number, behind) = rest.split_at(digits_end);
        let unit_end = behind.find(|char: char| char.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit_end);
        // In millionths of a millisecond, so that decimals of all units are whole numbers.
        let unit_ns: i64 = match unit {
            "d" => 86_400_000_000_000,
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" | "µs" | "μs" => 1_000,
            "ns" => 1,
            _ => return None,
        };
        let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
        let decimals = decimals.get(..decimals.len().min(9))?;
        let scaled = format!("{decimals:0<9}").parse::<i64>().ok()?;
        let part_ns = i128::from(scaled) * i128::from(unit_ns) / 1_000_000_000;
        let whole_ns = i128::from(whole.parse::<u32>().ok()?) * i128::from(unit_ns);
        total = total.checked_add(i64::try_from((whole_ns + part_ns) / 1_000_000).ok()?)?;
        rest = behind;
        if rest.is_empty() {
            return Some(sign * total);
        }
    }
}

/// The columns that are read.
struct Columns {
    value: usize,
    /// The value has its scope in front: `Ip:192.0.2.1`.
    has_scope: bool,
    scope: Option<usize>,
    duration: Option<usize>,
    kind: Option<usize>,
    reason: Option<usize>,
    simulated: Option<usize>,
}

impl Columns {
    fn of(header: &[u8]) -> Option<Columns> {
        let names = cells(std::str::from_utf8(header).ok()?)?;
        let column = |wanted: [&str; 2]| names.iter().position(|name| wanted.contains(&name.trim()));
        let found = Columns {
            value: column(["ip", "value"])?,
            has_scope: names.iter().any(|name| name.trim() == "ip"),
            scope: column(["scope", "scope"]),
            duration: column(["expiration", "duration"]),
            kind: column(["action", "type"]),
            reason: column(["reason", "scenario"]),
            simulated: column(["simulated", "simulated"]),
        };
        // One column alone is no table.
        (names.len() > 1).then_some(found)
    }
}

/// Whether this is the first line of a table.
pub(super) fn is_header(line: &[u8]) -> bool {
    Columns::of(line).is_some()
}

/// A table with a header.
pub(super) fn read_csv(content: &[u8], list: &mut BanList) {
    let mut columns = None;
    for (index, line) in content.split(|byte| *byte == b'\n').enumerate() {
        let number = index as u32 + 1;
        let line = line.trim_ascii();
        match &columns {
            _ if line.is_empty() => {}
            None => columns = Columns::of(line),
            Some(columns) => match std::str::from_utf8(line).ok().and_then(cells) {
                Some(cells) => read_row(number, columns, &cells, list),
                None => list.problem(number, "expected a row of a table", &String::from_utf8_lossy(line)),
            },
        }
    }
}

fn read_row(number: u32, columns: &Columns, cells: &[String], list: &mut BanList) {
    let cell = |column: Option<usize>| column.and_then(|column| cells.get(column)).map(|cell| cell.trim());
    let given = |column: Option<usize>| cell(column).filter(|cell| !cell.is_empty());
    let Some(value) = given(Some(columns.value)) else {
        return list.problem(number, "expected a value in each row", &cells.join(","));
    };
    let (scope, value) = match value.split_once(':').filter(|_| columns.has_scope) {
        Some((scope, value)) if scope.bytes().all(|byte| byte.is_ascii_alphabetic()) => (Some(scope), value),
        Some(_) | None => (None, value),
    };
    let entry = Entry {
        value,
        scope: scope.or(given(columns.scope)),
        duration: given(columns.duration),
        kind: given(columns.kind),
        reason: cell(columns.reason).unwrap_or_default(),
        is_simulated: cell(columns.simulated).is_some_and(|cell| cell.eq_ignore_ascii_case("true")),
    };
    entry.read(number, list);
}

/// The cells of a row (RFC 4180), in one line. `None` if a quote is not closed.
fn cells(row: &str) -> Option<Vec<String>> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    let mut chars = row.trim_end_matches('\r').chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cells.last_mut()?.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            char => cells.last_mut()?.push(char),
        }
    }
    if quoted { None } else { Some(cells) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_go() {
        for (text, expected) in [
            ("3h59m49s", Some(14_389_000)),
            ("3h59m49.5s", Some(14_389_500)),
            ("2m53.949221341s", Some(173_949)),
            ("-1m2s", Some(-62_000)),
            ("1.5h", Some(5_400_000)),
            ("0", Some(0)),
            ("0s", Some(0)),
            ("87600h", Some(315_360_000_000)),
            ("4d", Some(345_600_000)),
            ("1µs", Some(0)),
            ("250ms", Some(250)),
            ("", None),
            ("5", None),
            ("h", None),
            ("1h5", None),
            ("1x", None),
            ("1.5.5s", None),
            ("99999999999h", None),
            ("--1s", None),
            ("never", None),
        ] {
            assert_eq!(milliseconds(text), expected, "{text}");
        }
    }

    #[test]
    fn rows_of_tables() {
        let row = |text: &str| cells(text).map(|cells| cells.join("|"));
        assert_eq!(row("a,b"), Some("a|b".into()));
        assert_eq!(row("a,\"b, \"\"c\"\"\",,d"), Some("a|b, \"c\"||d".into()));
        assert_eq!(row(""), Some(String::new()));
        assert_eq!(row("a,\"b"), None);
    }
}
