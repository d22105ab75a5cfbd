//! Dates of HTTP and of the log, against a calendar that counts every year.

use weir::engine::transaction::log_record::LogRecord;
use weir::http::date::{civil, http_date};
use weir::log::format::{Format, write_record};

/// The last second of the year 9999.
const LAST_UNIX_S: u64 = 253_402_300_799;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// Year, month from 0, and day from 1.
fn counted(mut days: u64) -> (u64, usize, u64) {
    let mut year = 1970;
    let leap = |year: u64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    (year, month, days + 1)
}

/// Any eight bytes as a time; fewer as a small one.
pub fn dates(bytes: &[u8]) {
    let mut octets = [0; 8];
    let len = bytes.len().min(8);
    octets[..len].copy_from_slice(&bytes[..len]);
    let unix = u64::from_le_bytes(octets);
    // As seconds, and as the microseconds that the log has.
    for unix_s in [unix, unix / 1_000_000] {
        let capped = unix_s.min(LAST_UNIX_S);
        let (year, month, day) = counted(capped / 86_400);
        let (hour, minute, second) = (capped / 3600 % 24, capped / 60 % 60, capped % 60);
        let (weekday, month_name) = (DAYS[(capped / 86_400 % 7) as usize], MONTHS[month]);
        let expected =
            format!("{weekday}, {day:02} {month_name} {year:04} {hour:02}:{minute:02}:{second:02} GMT");
        assert_eq!(std::str::from_utf8(&http_date(unix_s)), Ok(&expected[..]), "{unix_s}");
        assert_eq!(civil(capped / 86_400), (year, month as u64 + 1, day));
    }
    let mut entry = LogRecord::new(([192, 0, 2, 1], 1).into());
    entry.started_unix_us = unix;
    entry.duration_us = u64::from(bytes.get(8).copied().unwrap_or_default()) << 56;
    let capped = (unix / 1_000_000).min(LAST_UNIX_S);
    let (year, month, day) = counted(capped / 86_400);
    let (hour, minute, second) = (capped / 3600 % 24, capped / 60 % 60, capped % 60);
    let line = |format| {
        let mut out = Vec::new();
        write_record(&mut out, format, &entry);
        String::from_utf8(out).expect("ASCII")
    };
    let milli = unix / 1000 % 1000;
    let time = format!("{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z", month + 1);
    assert!(line(Format::Weir).starts_with(&format!("{time} ")), "{unix}");
    assert!(line(Format::Json).starts_with(&format!("{{\"time\":\"{time}\",")), "{unix}");
    let time = format!("[{day:02}/{}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000]", MONTHS[month]);
    assert!(line(Format::Combined).contains(&time), "{unix}");
    let ended_ms = unix.saturating_add(entry.duration_us) / 1000;
    let time = format!("{}.{:03} ", ended_ms / 1000, ended_ms % 1000);
    assert!(line(Format::Squid).starts_with(&time), "{unix}");
}
