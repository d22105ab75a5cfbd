//! The address of Azure's file: its name contains a date, and a page links to it.

use super::ranges::CloudError;
use crate::http::date::{civil, seconds};

/// Age above which a file should cause a warning (section 8).
pub const AZURE_AGE_DAYS_MAX: u64 = 90;

/// The only place that the file may come from.
const TRUSTED: &str = "https://download.microsoft.com/";

/// The address that the page itself chooses.
const FAILOVER: &str = "id=\"failoverLink\"";

const NAME_START: &str = "ServiceTags_Public_";

/// The file of Azure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AzureFile {
    /// The address of the file: https, on download.microsoft.com, printable ASCII.
    pub url: String,
    /// Days since the date in its name; `None` if it has none.
    pub age_days: Option<u64>,
}

/// Finds the address of the file in the download page: the failover link, else the newest name with a date that is not in the
/// future. `today` is the number of days since 1970.
pub fn azure_file(page: &[u8], today: u64) -> Result<AzureFile, CloudError> {
    // In scripts slashes may be escaped.
    let page = String::from_utf8_lossy(page).replace("\\/", "/");
    let today_digits = {
        let (year, month, day) = civil(today);
        year * 10_000 + month * 100 + day
    };
    let found = failover(&page).or_else(|| {
        let dated = addresses(&page).filter_map(|url| Some((date(url)?, url)));
        dated.filter(|(date, _)| *date <= today_digits).max_by_key(|(date, _)| *date).map(|(_, url)| url)
    });
    let url = found.ok_or_else(|| {
        CloudError::Malformed(format!("expected an address of {NAME_START}YYYYMMDD.json on {TRUSTED}"))
    })?;
    let age_days = azure_age_days(url, today);
    Ok(AzureFile { url: url.to_owned(), age_days })
}

/// Days since the date in the name of a file of Azure; `None` if it has none. `today` is the number of days since 1970.
pub fn azure_age_days(path: &str, today: u64) -> Option<u64> {
    date(path).and_then(days).map(|day| today.saturating_sub(day))
}

/// The address of the failover link, if it is a trusted one.
fn failover(page: &str) -> Option<&str> {
    let at = page.find(FAILOVER)?;
    let start = page[..at].rfind('<')?;
    let tag = &page[start..at + page[at..].find('>')?];
    let (_, value) = tag.split_once("href=\"")?;
    let (url, _) = value.split_once('"')?;
    // The whole value is the address.
    addresses(url).next().filter(|found| found.len() == url.len())
}

/// All addresses of JSON files in the trusted place. The search text contains the slash behind the host, so a longer host
/// does not match.
fn addresses(page: &str) -> impl Iterator<Item = &str> {
    page.match_indices(TRUSTED).filter_map(|(at, _)| {
        let rest = &page[at..];
        let is_end = |char: char| {
            !char.is_ascii_graphic()
                || matches!(char, '"' | '\'' | '<' | '>' | '\\' | '(' | ')' | '&' | '?' | '#')
        };
        let url = &rest[..rest.find(is_end).unwrap_or(rest.len())];
        url.ends_with(".json").then_some(url)
    })
}

/// The date in a name as the number YYYYMMDD.
fn date(url: &str) -> Option<u64> {
    let name = url.rsplit('/').next()?;
    let digits = name.strip_prefix(NAME_START)?.strip_suffix(".json")?;
    let is_date = digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = if is_date { digits.parse().ok()? } else { return None };
    days(number).map(|_| number)
}

/// Days since 1970 of a date in digits; `None` for one that is not in the calendar.
fn days(digits: u64) -> Option<u64> {
    let part = |value: u64| i64::try_from(value).ok();
    let (year, month, day) = (part(digits / 10_000)?, part(digits / 100 % 100)?, part(digits % 100)?);
    u64::try_from(seconds(year, month, day, 0)?).ok().map(|seconds| seconds / 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2025-12-10
    const TODAY: u64 = 20_432;

    fn link(url: &str) -> String {
        format!("<a href=\"{url}\">x</a>\n")
    }

    fn file(date: &str) -> String {
        format!("https://download.microsoft.com/download/7/1/d/0000/ServiceTags_Public_{date}.json")
    }

    fn found(page: &str) -> Option<(String, Option<u64>)> {
        azure_file(page.as_bytes(), TODAY).ok().map(|file| (file.url, file.age_days))
    }

    #[test]
    fn guard_8_the_failover_link_wins() {
        let page = format!(
            "{}<a class=\"x\"\n href=\"{}\" id=\"failoverLink\" rel=\"noopener\">here</a>{}",
            link(&file("20251208")),
            file("20251201"),
            link(&file("20251209"))
        );
        assert_eq!(found(&page), Some((file("20251201"), Some(9))));
        let before = format!("<a id=\"failoverLink\" href=\"{}\">", file("20250101"));
        assert_eq!(found(&before), Some((file("20250101"), Some(343))));
        let undated = "https://download.microsoft.com/download/ranges.json";
        assert_eq!(
            found(&format!("<a id=\"failoverLink\" href=\"{undated}\">")),
            Some((undated.into(), None))
        );
    }

    #[test]
    fn guard_8_else_the_newest_that_is_not_in_the_future() {
        let dates =
            ["20251201", "20251210", "20251124", "20251211", "20991231", "20251399", "2025121", "202512100"];
        let page: String = dates.iter().map(|date| link(&file(date))).collect();
        assert_eq!(found(&page), Some((file("20251210"), Some(0))));
        let script = format!("{{\"url\":\"{}\"}}", file("20251201").replace('/', "\\/"));
        assert_eq!(found(&script), Some((file("20251201"), Some(9))));
        assert_eq!(found(&link(&file("20251211"))), None);
    }

    #[test]
    fn guard_8_no_other_place_is_ever_chosen() {
        let decoys = [
            "https://evil.example/ServiceTags_Public_20251209.json",
            "https://download.microsoft.com.evil.example/ServiceTags_Public_20251209.json",
            "https://download.microsoft.com@evil.example/ServiceTags_Public_20251209.json",
            "https://download.microsoft.com:8443/ServiceTags_Public_20251209.json",
            "http://download.microsoft.com/ServiceTags_Public_20251209.json",
            "//download.microsoft.com/ServiceTags_Public_20251209.json",
            "https://download.microsoft.com/x.exe",
            "https://download.microsoft.com/ServiceTags_Public_20251209.json.exe",
        ];
        for decoy in decoys {
            assert_eq!(found(&link(decoy)), None, "{decoy}");
            let failover = format!("<a id=\"failoverLink\" href=\"{decoy}\">");
            assert_eq!(found(&failover), None, "{decoy}");
            assert_eq!(
                found(&(failover + &link(&file("20251201")))),
                Some((file("20251201"), Some(9))),
                "{decoy}"
            );
        }
        for page in ["", "<", "id=\"failoverLink\"", "<a id=\"failoverLink\" href=\"", "<html>\u{fffd}"] {
            assert_eq!(found(page), None, "{page}");
        }
    }
}
