//! What the guard reads: its file, files of bans, networks of clouds, and PROXY headers.

use std::sync::Arc;

use weir::guard::ban_file::{self, Times};
use weir::guard::clouds::{Clouds, Provider, azure_file, parse as parse_ranges};
use weir::guard::directives::{Directives, parse};
use weir::guard::proxy_header::{self, ProxyHeader, V2_BYTES_MAX};

use super::pieces::shown;

/// Any bytes as a guard file: problems name lines that are there, and the canonical text of each line means the same again.
pub fn guard_file(bytes: &[u8]) {
    let count = bytes.iter().filter(|byte| **byte == b'\n').count() as u32 + 1;
    match parse(bytes) {
        Ok(found) => check_texts(&found),
        Err(problems) => {
            assert!(!problems.is_empty(), "{}", shown(bytes));
            for problem in problems {
                assert!(problem.line <= count && !problem.message.is_empty(), "{problem:?}");
                assert!(!problem.message.contains(char::is_control), "{problem:?}");
            }
        }
    }
}

fn check_texts(found: &Directives) {
    for place in found.places() {
        let again = parse(place.text.as_bytes()).unwrap_or_else(|problems| panic!("{place:?}: {problems:?}"));
        let texts: Vec<_> = again.places().map(|place| &place.text).collect();
        assert_eq!(texts, [&place.text]);
    }
}

/// Any bytes as a file of bans: no ban has ended, and problems are printable.
pub fn ban_file(bytes: &[u8]) {
    const BANS_MAX: usize = 20;
    let times =
        Times { now_unix_ms: 1_704_103_500_000, written_unix_ms: 1_704_103_440_000, utc_offset_s: 3600 };
    let count = bytes.iter().filter(|byte| **byte == b'\n').count() as u32 + 1;
    let problems = match ban_file::parse(bytes, times, BANS_MAX) {
        Ok(list) => {
            assert!(list.bans.len() <= BANS_MAX && list.faults() >= list.problems.len() as u64 / 2);
            for ban in &list.bans {
                assert!(ban.until_unix_ms.is_none_or(|until| until > times.now_unix_ms), "{ban:?}");
                assert!(
                    ban.network == ban.network.trunc() && !ban.reason.contains(char::is_control),
                    "{ban:?}"
                );
            }
            list.problems
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            problems
        }
    };
    for problem in problems {
        assert!(problem.line <= count && !problem.message.contains(char::is_control), "{problem:?}");
    }
}

/// Any bytes at the beginning of a connection: more of them never change what was decided, and the decision comes in time.
pub fn proxy_header(bytes: &[u8]) {
    let whole = proxy_header::read(bytes);
    let mut decided = false;
    for end in 0..=bytes.len().min(V2_BYTES_MAX) {
        let found = proxy_header::read(&bytes[..end]);
        let is_open = matches!(found, ProxyHeader::Incomplete);
        assert!(!(decided && is_open), "undecided again at {end}: {}", shown(bytes));
        decided = !is_open;
        if decided {
            assert_eq!(found, whole, "at {end}: {}", shown(bytes));
        }
        if let ProxyHeader::Done { length, .. } = found {
            assert!(length <= end, "{length} of {end}: {}", shown(bytes));
            return;
        }
    }
    assert!(decided || bytes.len() < V2_BYTES_MAX, "{}", shown(bytes));
}

/// Any bytes as what a cloud provider publishes: each network of a set is found again, and the page of Azure leads nowhere else.
pub fn cloud_ranges(bytes: &[u8]) {
    for provider in Provider::ALL {
        match parse_ranges(provider, bytes) {
            Ok(ranges) => {
                assert!(!ranges.is_empty() && ranges.check_change(&ranges, 1).is_ok(), "{}", shown(bytes));
                let networks: Vec<_> = ranges.iter().map(|(network, _)| network).collect();
                let clouds = Clouds::new(vec![(provider, Arc::new(ranges))]);
                for network in networks {
                    let found = clouds.details(network.addr()).map(|found| found.network);
                    assert!(found.is_some_and(|found| network.contains(&found)), "{network}: {found:?}");
                }
            }
            Err(error) => assert!(!error.to_string().contains(char::is_control), "{error}"),
        }
    }
    if let Ok(file) = azure_file(bytes, 20_432) {
        assert!(
            file.url.starts_with("https://download.microsoft.com/") && file.url.ends_with(".json"),
            "{file:?}"
        );
        assert!(file.url.bytes().all(|byte| byte.is_ascii_graphic()), "{file:?}");
    }
}
