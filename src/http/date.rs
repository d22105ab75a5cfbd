//! Dates as HTTP writes them (RFC 9110 section 5.6.7).

const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// The last second that has four digits for its year; later times are written as this one.
const UNIX_S_MAX: u64 = 253_402_300_799;

/// An IMF-fixdate such as `Sun, 06 Nov 1994 08:49:37 GMT` from seconds since 1970-01-01 UTC. Always ASCII.
pub fn http_date(unix_s: u64) -> [u8; 29] {
    let unix_s = unix_s.min(UNIX_S_MAX);
    let (days, second) = (unix_s / 86_400, unix_s % 86_400);
    let (year, month, day) = civil(days);
    let mut date = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    date[..3].copy_from_slice(DAYS[(days % 7) as usize]);
    two_digits(&mut date[5..7], day);
    date[8..11].copy_from_slice(MONTHS[(month - 1) as usize]);
    two_digits(&mut date[12..14], year / 100);
    two_digits(&mut date[14..16], year % 100);
    two_digits(&mut date[17..19], second / 3600);
    two_digits(&mut date[20..22], second / 60 % 60);
    two_digits(&mut date[23..25], second % 60);
    date
}

/// Seconds since 1970-01-01 UTC of an HTTP-date in one of the three forms that a recipient must accept (RFC 9110 section
/// 5.6.7), negative before 1970; `now_unix_s` decides the century of a year of two digits. `None` for any other text. Names
/// may be in any case and the day of the week may be wrong, because senders err there; the rest must be exact: a date that
/// only some readers accept makes caches disagree.
pub fn parse_http_date(text: &[u8], now_unix_s: u64) -> Option<i64> {
    match memchr::memchr(b',', text) {
        Some(3) => imf_fixdate(text),
        Some(_) => rfc850_date(text, now_unix_s),
        None => asctime_date(text),
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn imf_fixdate(text: &[u8]) -> Option<i64> {
    let text: &[u8; 29] = text.try_into().ok()?;
    day_name(&text[..3])?;
    let exact = text[3..5] == *b", "
        && text[7] == b' '
        && text[11] == b' '
        && text[16] == b' '
        && is_gmt(&text[25..]);
    let year = number(&text[12..16]).filter(|_| exact)?;
    seconds(year, month(&text[8..11])?, number(&text[5..7])?, time_of_day(&text[17..25])?)
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn rfc850_date(text: &[u8], now_unix_s: u64) -> Option<i64> {
    let at = text.len().checked_sub(24)?;
    let (day, text) = text.split_at(at);
    // The rest of each name behind its first three letters.
    const ENDS: [&[u8]; 7] = [b"rsday", b"day", b"urday", b"day", b"day", b"sday", b"nesday"];
    let end = ENDS[day_name(day.get(..3)?)?];
    let exact = day[3..].eq_ignore_ascii_case(end)
        && text[..2] == *b", "
        && text[4] == b'-'
        && text[8] == b'-'
        && text[11] == b' '
        && is_gmt(&text[20..]);
    let digits = number(&text[9..11]).filter(|_| exact)?;
    let (month, day, time) = (month(&text[5..8])?, number(&text[2..4])?, time_of_day(&text[12..20])?);
    let now = i64::try_from(now_unix_s.min(UNIX_S_MAX)).ok()?;
    let (this_year, ..) = civil(now.unsigned_abs() / 86_400);
    // The latest year with these digits that is at most 50 years ahead.
    let latest = i64::try_from(this_year).ok()? + 50;
    let year = latest - (latest - digits).rem_euclid(100);
    let ahead = days_since_1970(year - 50, month, day) * 86_400 + time > now;
    seconds(if ahead { year - 100 } else { year }, month, day, time)
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime_date(text: &[u8]) -> Option<i64> {
    let text: &[u8; 24] = text.try_into().ok()?;
    day_name(&text[..3])?;
    let exact = text[3] == b' ' && text[7] == b' ' && text[10] == b' ' && text[19] == b' ';
    let day = match text[8] {
        b' ' => number(&text[9..10]),
        _ => number(&text[8..10]),
    };
    let year = number(&text[20..]).filter(|_| exact)?;
    seconds(year, month(&text[4..7])?, day?, time_of_day(&text[11..19])?)
}

/// The place in [`DAYS`].
fn day_name(text: &[u8]) -> Option<usize> {
    DAYS.iter().position(|day| day.eq_ignore_ascii_case(text))
}

/// 1 to 12.
fn month(text: &[u8]) -> Option<i64> {
    MONTHS.iter().zip(1..).find(|(month, _)| month.eq_ignore_ascii_case(text)).map(|(_, number)| number)
}

fn is_gmt(text: &[u8]) -> bool {
    text.eq_ignore_ascii_case(b" GMT")
}

/// Digits only, at most four.
fn number(digits: &[u8]) -> Option<i64> {
    super::fields::decimal(digits).and_then(|number| i64::try_from(number).ok())
}

/// `08:49:37` as seconds; 60 is a leap second.
fn time_of_day(text: &[u8]) -> Option<i64> {
    let exact = text[2] == b':' && text[5] == b':';
    let (hour, minute, second) = (number(&text[..2])?, number(&text[3..5])?, number(&text[6..])?);
    (exact && hour < 24 && minute < 60 && second <= 60).then_some(hour * 3600 + minute * 60 + second)
}

/// Seconds since 1970-01-01 of a date in the Gregorian calendar, months and days counted from 1. `None` for a day that the
/// month does not have.
pub fn seconds(year: i64, month: i64, day: i64, time_of_day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    ((1..=12).contains(&month) && (1..=last).contains(&day))
        .then(|| days_since_1970(year, month, day) * 86_400 + time_of_day)
}

/// The inverse of [`civil`], for years before 1970 too.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn two_digits(to: &mut [u8], value: u64) {
    to[0] = b'0' + (value / 10 % 10) as u8;
    to[1] = b'0' + (value % 10) as u8;
}

/// Year, month (1 to 12) and day (1 to 31) of a count of days since 1970-01-01 in the Gregorian calendar. Years are counted from March,
/// so that the leap day is the last one and months follow a fixed pattern of 153 days per five.
pub fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // 0000-03-01 to 1970-01-01
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_28_dates() {
        for (unix_s, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (UNIX_S_MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(std::str::from_utf8(&http_date(unix_s)).unwrap(), text);
        }
    }

    /// 2026-11-22 00:00:00 UTC
    const NOW: u64 = 1_795_305_600;

    fn parsed(text: &str) -> Option<i64> {
        parse_http_date(text.as_bytes(), NOW)
    }

    #[test]
    fn rule_12_dates_that_are_taken() {
        for (text, unix_s) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("sun, 06 nOV 1994 08:49:37 gmt", 784_111_777),
            ("Sunday, 06-Nov-94 08:49:37 GMT", 784_111_777),
            ("SUNDAY, 06-nov-94 08:49:37 Gmt", 784_111_777),
            ("Sun Nov  6 08:49:37 1994", 784_111_777),
            ("sun nov 06 08:49:37 1994", 784_111_777),
            ("Wed Nov 16 08:49:37 1994", 784_975_777),
            // Not a Monday.
            ("Mon, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Wed, 31 Dec 1969 23:59:59 GMT", -1),
            ("Tue, 29 Feb 2000 00:00:00 GMT", 951_782_400),
            ("Sat, 31 Dec 2016 23:59:60 GMT", 1_483_228_800),
            ("Tue, 19 Jan 2038 03:14:08 GMT", 1 << 31),
            ("Fri, 31 Dec 9999 23:59:59 GMT", UNIX_S_MAX as i64),
            ("Sat, 01 Jan 0000 00:00:00 GMT", -62_167_219_200),
        ] {
            assert_eq!(parsed(text), Some(unix_s), "{text}");
        }
    }

    #[test]
    fn rule_12_two_digit_years_are_at_most_50_years_ahead() {
        for (text, year) in [
            ("Sunday, 22-Nov-26 00:00:00 GMT", 2026),
            ("Sunday, 22-Nov-76 00:00:00 GMT", 2076),
            ("Sunday, 22-Nov-76 00:00:01 GMT", 1976),
            ("Sunday, 23-Nov-76 00:00:00 GMT", 1976),
            ("Sunday, 01-Jan-77 00:00:00 GMT", 1977),
            ("Sunday, 31-Dec-99 00:00:00 GMT", 1999),
            ("Sunday, 01-Jan-00 00:00:00 GMT", 2000),
            ("Thursday, 29-Feb-00 00:00:00 GMT", 2000),
        ] {
            let found = parsed(text).map(|unix_s| civil(unix_s as u64 / 86_400).0);
            assert_eq!(found, Some(year), "{text}");
        }
        assert_eq!(parsed("Monday, 29-Feb-01 00:00:00 GMT"), None);
        // Late in a century the next one is meant.
        let late = parse_http_date(b"Monday, 01-Jan-10 00:00:00 GMT", 3_500_000_000);
        assert_eq!(late.map(|unix_s| civil(unix_s as u64 / 86_400).0), Some(2110));
        for now in [0, UNIX_S_MAX, u64::MAX] {
            assert!(parse_http_date(b"Sunday, 06-Nov-94 08:49:37 GMT", now).is_some());
        }
    }

    #[test]
    fn rule_13_dates_that_are_refused() {
        for text in [
            "",
            "0",
            "-1",
            ",",
            "Sun,",
            "784111777",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 AEST",
            "Sun, 06 Nov 1994 08:49:37 +0000",
            "Sun, 06 Nov 1994 08:49:37 GMT ",
            " Sun, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun 06 Nov 1994 08:49:37 GMT",
            "Sun,06 Nov 1994 08:49:37 GMT",
            "Sun,  06 Nov 1994 08:49:37 GMT",
            "Sun, 06  Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994  08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37  GMT",
            "Sun, 06-Nov-1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08-49-37 GMT",
            "Sun, 06 Nov 1994 08.49.37 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sun, 06 Nov 1994  8:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:60:37 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "Mon, 29 Feb 1900 08:49:37 GMT",
            "Sun, 06 Now 1994 08:49:37 GMT",
            "Sux, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37\tGMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov -994 08:49:37 GMT",
            "Sunda, 06-Nov-94 08:49:37 GMT",
            "Sun, 06-Nov-94 08:49:37 GMT",
            "Monnday, 06-Nov-94 08:49:37 GMT",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Sunday, 06 Nov 94 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 UTC",
            "Sunday 06-Nov-94 08:49:37 GMT",
            "Sun Nov 6 08:49:37 1994",
            "Sun Nov  6 08:49:37 1994 GMT",
            "Sun Nov  6 08:49:37 94",
            "Sun Nov 36 08:49:37 1994",
            "Sun  Nov 6 08:49:37 1994",
            "\u{e9}\u{e9}n, 06 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(parsed(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for unix_s in (0..=UNIX_S_MAX).step_by(1_234_567_891) {
            assert_eq!(parse_http_date(&http_date(unix_s), NOW), Some(unix_s as i64));
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut last = (1970, 1, 0);
        for days in 0..200_000 {
            let today = civil(days);
            let follows = today == (last.0, last.1, last.2 + 1)
                || today == (last.0, last.1 + 1, 1) && last.2 >= 28
                || today == (last.0 + 1, 1, 1) && last.1 == 12 && last.2 == 31;
            assert!(follows, "{last:?} then {today:?}");
            last = today;
        }
    }
}
