//! Files of bans: plain lists, and the exports of fail2ban and CrowdSec. The format is recognised from the content.
//!
//! - A plain list has addresses and networks, one or several in a line, and `#` comments.
//! - fail2ban: `fail2ban-client get JAIL banip`, the same with `--with-time`, and `fail2ban-client banned`.
//! - CrowdSec: `cscli decisions list -o json` and `-o raw` (CSV), and the input of `cscli decisions import`.
//!
//! A faulty line is reported and left out, and the others are used: a list that many share must not fail as a whole. A file
//! with nothing but faults is no list of bans. A ban without an end lasts as long as it is in the file.

mod crowdsec;
mod list;
mod plain;

pub use list::{BanList, FileBan, PROBLEMS_MAX, Problem, Times, too_many};

/// Largest file (chosen): a million bans with all fields of CrowdSec's JSON are larger, and should be exported as CSV.
pub const FILE_BYTES_MAX: usize = 128 << 20;

/// Reads a file. Bans beyond `bans_max` are left out, and one of the problems says how many.
pub fn parse(content: &[u8], times: Times, bans_max: usize) -> Result<BanList, Vec<Problem>> {
    if content.len() > FILE_BYTES_MAX {
        let message = format!("{} bytes: a file of bans has at most {FILE_BYTES_MAX}", content.len());
        return Err(vec![Problem { line: 0, message }]);
    }
    let content = crate::words::without_mark(content);
    let mut list = BanList::new(times, bans_max);
    match format_of(content) {
        Format::Json => crowdsec::read_json(content, &mut list),
        Format::Csv => crowdsec::read_csv(content, &mut list),
        Format::Jails => plain::read_jails(content, &mut list),
        Format::Plain => plain::read_lines(content, &mut list),
    }
    list.finish()
}

enum Format {
    /// Addresses, networks, and lines of fail2ban with times.
    Plain,
    /// Jails of fail2ban with their addresses, as Python writes them.
    Jails,
    /// JSON of CrowdSec.
    Json,
    /// CSV of CrowdSec.
    Csv,
}

fn format_of(content: &[u8]) -> Format {
    let start = content.trim_ascii_start();
    let inside = start.iter().find(|byte| !matches!(byte, b'[' | b'{') && !byte.is_ascii_whitespace());
    match start.first() {
        Some(b'[' | b'{') if inside == Some(&b'\'') => Format::Jails,
        Some(b'[' | b'{') => Format::Json,
        // Go writes an empty list as `null`.
        _ if start.trim_ascii_end() == b"null" => Format::Json,
        _ if crowdsec::is_header(start.split(|byte| *byte == b'\n').next().unwrap_or_default()) => {
            Format::Csv
        }
        _ => Format::Plain,
    }
}

#[cfg(test)]
mod tests;
