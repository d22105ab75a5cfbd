//! The shares of `--memory`.

use super::*;

const MIB: u64 = 1 << 20;

fn demand(mib: u64) -> Demand {
    Demand { total: mib * MIB, loops: 1, ..Demand::default() }
}

/// Demands of many kinds.
fn demands() -> Vec<Demand> {
    let mut all = Vec::new();
    for mib in [16, 17, 32, 64, 128, 500, 4096] {
        for loops in [1, 2, 8] {
            for bits in 0..16 {
                let (cache, guard, users, pages) =
                    (bits & 1 != 0, bits & 2 != 0, bits & 4 != 0, bits & 8 != 0);
                let content_bytes =
                    Content { bytes: mib * 1000, upstreams: 1, ..Content::default() }.memory();
                all.push(Demand { loops, cache, guard, users, pages, content_bytes, ..demand(mib) });
            }
        }
    }
    all
}

#[test]
fn the_table_is_in_the_order_of_the_parts() {
    assert!(PARTS.iter().enumerate().all(|(at, row)| row.part as usize == at && row.cost > 0));
}

#[test]
fn all_bounds_together_fit() {
    for demand in demands() {
        match shares(&demand) {
            Ok(shares) => {
                assert!(shares.sum() <= demand.total / HEADROOM_SHARE * 7, "{demand:?}: {shares:?}")
            }
            Err(error) => {
                assert!(demand.total < 64 * MIB && error.needed > demand.total, "{demand:?}: {error}")
            }
        }
    }
}

#[test]
fn nothing_is_less_than_weir_works_with_nor_more_than_without() {
    for demand in demands() {
        let Ok(shares) = shares(&demand) else { continue };
        for row in PARTS.iter().filter(|row| demand.takes_part(row.part)) {
            let (count, least) = (shares.of(row.part), demand.least(row));
            assert!(count >= least, "{row:?}: {count} of {demand:?}");
            assert!(row.most == 0 || count <= row.most.max(least), "{row:?}: {count} of {demand:?}");
        }
        let without = PARTS.iter().filter(|row| !demand.takes_part(row.part));
        assert!(without.into_iter().all(|row| shares.of(row.part) == 0));
    }
}

#[test]
fn more_memory_is_never_less_of_anything() {
    let mut before: Option<Shares> = None;
    for mib in (16..600).step_by(8) {
        let now = shares(&Demand { cache: true, guard: true, ..demand(mib) }).expect("enough");
        let grows = |part: Part| before.as_ref().is_none_or(|before| now.of(part) >= before.of(part));
        assert!(PARTS.iter().all(|row| grows(row.part)), "{mib}: {before:?}, {now:?}");
        before = Some(now);
    }
}

#[test]
fn what_nothing_else_needs_is_the_cache() {
    let large = shares(&Demand { cache: true, ..demand(1024) }).expect("enough");
    assert_eq!((large.of(Part::Buffers), large.of(Part::Connections)), (16_384, 10_000));
    assert!(large.of(Part::Cache) > 700 * MIB, "{large:?}");
}

#[test]
fn what_is_given_is_taken_and_the_rest_is_shared() {
    let mut given = Demand { cache: true, ..demand(32) };
    let by_itself = shares(&given).expect("enough");
    given.give(Part::Cache, 2 * MIB);
    given.give(Part::Connections, 100);
    let shares = shares(&given).expect("enough");
    assert_eq!((shares.of(Part::Cache), shares.of(Part::Connections)), (2 * MIB, 100));
    assert!(shares.of(Part::Buffers) > by_itself.of(Part::Buffers));
    assert!(shares.sum() <= 28 * MIB);
}

#[test]
fn the_smallest_size_that_works_is_told_and_works() {
    for mut demand in demands() {
        for (part, count) in [(Part::Buffers, 3000), (Part::Connections, 16), (Part::Cache, 5 * MIB)] {
            if demand.takes_part(part) {
                demand.give(part, count);
            }
        }
        demand.total = 2 * MIB;
        let error = shares(&demand).expect_err("far too small");
        demand.total = error.needed;
        shares(&demand).expect("the size that was told");
        demand.total = error.needed - 4096;
        shares(&demand).expect_err("less than what was told");
        let text = error.to_string();
        let parts = [
            format!("expected {}K or more, not 2048K", error.needed / 1024),
            "24000K for 3000 buffers".into(),
        ];
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
}

#[test]
fn files_count_and_absurd_numbers_do_no_harm() {
    let without = shares(&demand(32)).expect("enough");
    let bytes = |mib| Content { bytes: mib * MIB, ..Content::default() };
    let with = shares(&Demand { content_bytes: bytes(1).memory(), ..demand(32) }).expect("enough");
    assert_eq!(with.fixed - without.fixed, MIB * FILE_FACTOR);
    assert!(with.of(Part::Buffers) < without.of(Part::Buffers));
    let upstreams = Content { upstreams: 10_000, ..bytes(1) };
    for content_bytes in [bytes(100).memory(), upstreams.memory(), bytes(u64::MAX / MIB).memory()] {
        assert!(shares(&Demand { content_bytes, ..demand(32) }).is_err());
    }
    let mut absurd = demand(0);
    absurd.give(Part::Connections, u64::MAX);
    assert!(shares(&absurd).is_err());
    assert!(
        shares(&Demand { total: u64::MAX, loops: 256, cache: true, guard: true, ..Demand::default() })
            .is_ok()
    );
}

/// A detector takes more than all of a small weir: the size that it needs is told before it is there.
#[test]
fn a_detector_is_part_of_the_size() {
    let with = |total, loops, detectors| {
        shares(&Demand { total, loops, detectors, guard: true, ..Demand::default() })
    };
    let needed = |loops, detectors| with(MIB, loops, detectors).expect_err("too small").needed;
    assert!(needed(1, 1) > needed(1, 0) + 9 * MIB);
    assert!(needed(1, 2) > needed(1, 1) + 5 * MIB && needed(2, 1) > needed(1, 1) + 4 * MIB);
    let least = needed(1, 1);
    assert!(with(least, 1, 1).is_ok() && with(least - 64 * 1024, 1, 1).is_err());
    let buffers = |detectors| with(32 * MIB, 1, detectors).expect("enough").of(Part::Buffers);
    assert!(buffers(1) < buffers(0));
}

/// Entries of short lines take more than a multiple of their bytes.
#[test]
fn entries_of_files_count_beside_their_bytes() {
    let mut text = Content::default();
    text.add(b"a b\n\n  1.2.3.4\r\n");
    text.add(b"d");
    assert_eq!((text.bytes, text.words), (17, 4));
    assert_eq!(text.memory(), 17 * FILE_FACTOR + 4 * WORD_BYTES);
    let none = Content::default();
    let entries = [
        (Content { networks: [1, 0], ..none }, 64),
        (Content { networks: [0, 1], ..none }, 112),
        (Content { users: [1, 0], ..none }, 64),
        (Content { users: [0, 1], ..none }, 144),
        (Content { upstreams: 1, ..none }, 4096),
    ];
    assert!(entries.iter().all(|(content, bytes)| content.memory() == *bytes), "{entries:?}");
    assert_eq!(Content { words: u64::MAX, users: [usize::MAX; 2], ..none }.memory(), u64::MAX);
}
