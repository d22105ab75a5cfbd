//! Plain lists, and the output of fail2ban.

use super::list::BanList;
use crate::http::date::seconds;

/// The reason of fail2ban's bans, in front of the name of the jail.
const FAIL2BAN: &str = "fail2ban";

/// One or several addresses and networks in each line, or one with the times of fail2ban.
pub(super) fn read_lines(content: &[u8], list: &mut BanList) {
    for (index, line) in content.split(|byte| *byte == b'\n').enumerate() {
        let number = index as u32 + 1;
        let Ok(line) = std::str::from_utf8(line) else {
            list.problem(number, "expected UTF-8 text", "other bytes");
            continue;
        };
        let line = line.split('#').next().unwrap_or_default();
        match line.split_once('\t').filter(|(_, times)| times.contains(" = ")) {
            Some((address, times)) => read_with_times(number, address.trim(), times, list),
            None => line.split_whitespace().for_each(|word| list.ban(number, word, None, "")),
        }
    }
}

/// `2024-01-01 10:00:00 + 600 = 2024-01-01 10:10:00` in local time; -1 stands for a permanent ban.
fn read_with_times(number: u32, address: &str, times: &str, list: &mut BanList) {
    let begin_and_seconds = times.split_once(" = ").and_then(|(begin, _)| begin.split_once(" + "));
    let read = begin_and_seconds.and_then(|(begin, duration)| {
        Some((unix_s(begin.trim(), list.times().utc_offset_s)?, duration.trim().parse::<i64>().ok()?))
    });
    match read {
        Some((_, duration_s)) if duration_s < 0 => list.ban(number, address, None, FAIL2BAN),
        Some((begin_s, duration_s)) => {
            let until_ms = begin_s.saturating_add(duration_s).max(0).unsigned_abs().saturating_mul(1000);
            list.ban(number, address, Some(until_ms), FAIL2BAN);
        }
        None => list.problem(number, "expected 2024-01-01 10:00:00 + 600 = 2024-01-01 10:10:00", times),
    }
}

/// A local time as seconds since 1970.
fn unix_s(text: &str, utc_offset_s: i64) -> Option<i64> {
    let (date, time) = text.split_once(' ')?;
    let [year, month, day] = numbers(date.split('-'))?;
    let [hour, minute, second] = numbers(time.split(':'))?;
    let is_time = hour < 24 && minute < 60 && second <= 60;
    let time_of_day = is_time.then_some(hour * 3600 + minute * 60 + second)?;
    Some(seconds(year, month, day, time_of_day)? - utc_offset_s)
}

/// Three numbers of at most four digits.
fn numbers<'t>(parts: impl Iterator<Item = &'t str>) -> Option<[i64; 3]> {
    let is_number =
        |part: &&str| (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    let numbers: Option<Vec<i64>> = parts.map(|part| Some(part).filter(is_number)?.parse().ok()).collect();
    numbers?.try_into().ok()
}

/// `[{'sshd': ['192.0.2.1', '192.0.2.2']}, {'nginx': []}]`: a text in quotes before a colon is a jail, others are addresses.
pub(super) fn read_jails(content: &[u8], list: &mut BanList) {
    let mut reason = FAIL2BAN.to_owned();
    for (index, line) in content.split(|byte| *byte == b'\n').enumerate() {
        let number = index as u32 + 1;
        let line = String::from_utf8_lossy(line);
        let mut rest = line.as_ref();
        while let Some((before, behind)) = rest.split_once('\'') {
            if let Some(found) = other_than_marks(before) {
                list.problem(
                    number,
                    "expected jails with addresses as fail2ban-client banned prints them",
                    found,
                );
            }
            let Some((text, behind)) = behind.split_once('\'') else {
                list.problem(number, "expected a closing quote", behind);
                rest = "";
                break;
            };
            rest = behind;
            match rest.trim_start().strip_prefix(':') {
                Some(addresses) => {
                    reason = format!("{FAIL2BAN} {text}");
                    rest = addresses;
                }
                None => list.ban(number, text, None, &reason),
            }
        }
        if let Some(found) = other_than_marks(rest) {
            list.problem(
                number,
                "expected jails with addresses as fail2ban-client banned prints them",
                found,
            );
        }
    }
}

/// The rest of a text behind the marks around texts.
fn other_than_marks(text: &str) -> Option<&str> {
    let at = text.find(|char: char| !matches!(char, '[' | ']' | '{' | '}' | ',') && !char.is_whitespace());
    at.map(|at| &text[at..])
}
