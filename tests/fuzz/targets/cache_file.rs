//! The file that the cache was saved to.

use weir::cache::rfc::range::Part;
use weir::cache::store::persistence::{Ending, load, save};
use weir::cache::store::{Limits, Store};
use weir::time::Now;

use super::pieces::shown;

const NOW: Now = Now { monotonic_us: 3_000_000, unix_us: 1_795_305_600_000_000, common_us: 3_000_000 };

const HEADER_BYTES: usize = 32;
const RECORD_BYTES: usize = 72;

/// Any bytes as a cache file, and again with all checksums right: the loaded entries are within bounds, and stay the
/// same when they are saved and loaded again.
pub fn cache_file(bytes: &[u8]) {
    reload(bytes);
    reload(&with_checksums(bytes));
}

fn reload(bytes: &[u8]) {
    let limits = Limits { object_max: 1000, ..Limits::with_budget(1 << 20, [1, 2]) };
    let store = Store::new(limits);
    let loaded = load(&mut &bytes[..], &store, NOW, || true);
    let entries = store.entries();
    assert_eq!(entries.len() as u64, loaded.entries, "{}", shown(bytes));
    assert!(store.memory().bytes() <= limits.budget, "{}", shown(bytes));
    for entry in &entries {
        assert!(entry.block().is_valid() && !entry.reason().contains(&b'\n'), "{}", shown(bytes));
        assert!(matches!(entry.status, 200..=999) && entry.body.len() <= limits.object_max);
        assert!(entry.clock_s(NOW) >= NOW.unix_s(), "{}", shown(bytes));
        let parts: Vec<Part> = entry.parts().collect();
        assert_eq!(parts.iter().map(|part| part.len).sum::<u64>(), entry.body.len(), "{}", shown(bytes));
        assert!(parts.windows(2).all(|two| two[0].end() < two[1].start), "{}", shown(bytes));
        assert!(parts.last().is_some_and(|last| last.end() <= entry.length()), "{}", shown(bytes));
    }
    let mut saved = Vec::new();
    save(&mut saved, &store, NOW).expect("room for it");
    let again = Store::new(limits);
    let loaded = load(&mut &saved[..], &again, NOW, || true);
    assert_eq!(
        (loaded.ending, loaded.damaged, loaded.left_out),
        (Ending::Complete, 0, 0),
        "{}",
        shown(bytes)
    );
    let told = |store: &Store| {
        let mut told: Vec<String> = store
            .entries()
            .iter()
            .map(|entry| format!("{:?} {:?}", entry.head(), entry.body.segments().collect::<Vec<_>>()))
            .collect();
        told.sort_unstable();
        told
    };
    assert_eq!(told(&store), told(&again), "{}", shown(bytes));
}

/// Otherwise nearly every change would end at a checksum.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let Some(header) = bytes.first_chunk_mut::<HEADER_BYTES>() else { return bytes };
    header[8..12].copy_from_slice(&1_u32.to_le_bytes());
    let sum = crc32fast::hash(&[&header[..12], &header[16..]].concat());
    header[12..16].copy_from_slice(&sum.to_le_bytes());
    let mut rest = &mut bytes[HEADER_BYTES..];
    while let Some((record, behind)) = std::mem::take(&mut rest).split_first_chunk_mut::<RECORD_BYTES>() {
        let sum = crc32fast::hash(&record[4..]);
        record[..4].copy_from_slice(&sum.to_le_bytes());
        let (body, lengths) = record[12..40].split_at(8);
        let body = body.iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        let text = lengths
            .chunks(4)
            .map(|length| length.iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte)))
            .sum::<u64>();
        let payload = usize::try_from(body.saturating_add(text)).unwrap_or(usize::MAX);
        let Some((payload, behind)) = behind.split_at_mut_checked(payload) else { break };
        let Some((sum, behind)) = behind.split_first_chunk_mut::<4>() else { break };
        *sum = crc32fast::hash(payload).to_le_bytes();
        rest = behind;
    }
    bytes
}
