//! What becomes of a stored part when another part of the same resource comes (RFC 9111 section 3.4, RFC 9110 section
//! 15.3.7.3).
//!
//! An entry holds one stretch of bytes without gaps. A new part that touches it makes it longer; of two that do not touch
//! the longer one stays, with the fields of the new one, which are the most recent. When nothing is missing any more the
//! entry is like any other.

use super::body::Body;
use super::ledger::Ledger;
use super::range::{Fragment, may_combine};
use super::stored::{Head, Stored};
use std::sync::Arc;

/// Combines a new part with what is stored for the same requests. `None` if what is stored stays, `Some(None)` if the new one takes its place as it is. `held_max` bounds the bytes that the result may keep in memory.
pub(super) fn combine(
    ledger: &Arc<Ledger>,
    old: &Stored,
    new: &Stored,
    held_max: u64,
) -> Option<Option<Stored>> {
    // A whole one is not given up for a part.
    old.fragment()?;
    let same = may_combine(old.block(), new.block())
        && old.length() == new.length()
        && old.status == new.status
        // Who may have bytes from one address need not be allowed those from another.
        && old.address == new.address;
    if !same {
        return Some(None);
    }
    let (held, came) = (old.part(), new.part());
    if came.holds(held) {
        return Some(None);
    }
    if held.holds(came) {
        return Some(Some(with(ledger, new, old.fragment(), &old.body)));
    }
    let joined = match (held.touches(came), held.start < came.start) {
        (false, _) => None,
        (true, true) => Body::joined(ledger, &old.body, &new.body, held.end() - came.start, held_max),
        (true, false) => Body::joined(ledger, &new.body, &old.body, came.end() - held.start, held_max),
    };
    match joined {
        Some(body) => {
            let part = super::range::Part { start: held.start.min(came.start), len: body.len() };
            Some(Some(with(ledger, new, Fragment::of(part, new.length()), &Arc::new(body))))
        }
        None if held.len > came.len => Some(Some(with(ledger, new, old.fragment(), &old.body))),
        None => Some(None),
    }
}

/// The new head over other bytes.
fn with(ledger: &Arc<Ledger>, new: &Stored, fragment: Option<Fragment>, body: &Arc<Body>) -> Stored {
    Stored::new(ledger, new.hash(), &Head { fragment, ..new.head() }, Arc::clone(body))
}

#[cfg(test)]
mod tests {
    use super::super::freshness::Terms;
    use super::super::range::Part;
    use super::*;
    use crate::http::block::FieldLines as _;
    use crate::http::head::Version;
    use std::net::{IpAddr, Ipv4Addr};

    const TEXT: &[u8] = b"0123456789";

    fn stored(ledger: &Arc<Ledger>, (start, end): (u64, u64), block: &str, length: u64, last: u8) -> Stored {
        let block: String = block.split('|').map(|line| format!("{line}\r\n")).collect();
        let part = Part { start, len: end - start };
        let head = Head {
            key: b"http://a/",
            names: b"",
            selecting: b"",
            reason: b"OK",
            block: block.as_bytes(),
            status: 200,
            version: Version::Http11,
            terms: Terms::default(),
            received_us: 0,
            address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)),
            set_cookie: false,
            fragment: Fragment::of(part, length),
        };
        let bytes = TEXT[start as usize..end as usize].to_vec().into_boxed_slice();
        Stored::new(ledger, 1, &head, Arc::new(Body::whole(ledger, bytes)))
    }

    /// Every part of ten bytes beside every other one.
    #[test]
    fn rule_35_parts_that_touch_become_one_and_others_do_not() {
        let ledger = Arc::new(Ledger::default());
        let all = || (0..10).flat_map(|start| (start + 1..=10).map(move |end| (start, end)));
        for (one, other) in all().flat_map(|one| all().map(move |other| (one, other))) {
            let old = stored(&ledger, one, "ETag: \"a\"|X: old", 10, 1);
            let new = stored(&ledger, other, "ETag: \"a\"|X: new", 10, 1);
            if other == (0, 10) {
                // A whole one is not combined: it replaces.
                continue;
            }
            let Some(combined) = combine(&ledger, &old, &new, u64::MAX) else {
                assert_eq!(one, (0, 10), "{one:?} {other:?}");
                continue;
            };
            let found = combined.unwrap_or(new);
            let touching = one.0 <= other.1 && other.0 <= one.1;
            let expected = match touching {
                true => (one.0.min(other.0), one.1.max(other.1)),
                false if one.1 - one.0 > other.1 - other.0 => one,
                false => other,
            };
            let part = found.part();
            assert_eq!((part.start, part.end()), expected, "{one:?} {other:?}");
            let bytes = found.body.segments().collect::<Vec<_>>().concat();
            assert_eq!(bytes, TEXT[expected.0 as usize..expected.1 as usize], "{one:?} {other:?}");
            assert_eq!(found.fragment().is_none(), expected == (0, 10), "{one:?} {other:?}");
            assert_eq!((found.length(), found.block().value("x")), (10, Some(&b"new"[..])));
        }
        let (whole, other) =
            (stored(&ledger, (0, 10), "ETag: \"a\"", 10, 1), stored(&ledger, (0, 4), "ETag: \"b\"", 10, 1));
        assert!(combine(&ledger, &whole, &other, u64::MAX).is_none());
    }

    #[test]
    fn rule_35_only_parts_of_the_same_are_combined() {
        let ledger = Arc::new(Ledger::default());
        let old = stored(&ledger, (0, 4), "ETag: \"a\"", 10, 1);
        for (block, length, last, combines) in [
            ("ETag: \"a\"", 10, 1, true),
            ("ETag: \"b\"", 10, 1, false),
            ("ETag: W/\"a\"", 10, 1, false),
            ("X: no tag", 10, 1, false),
            ("ETag: \"a\"|Content-Encoding: gzip", 10, 1, false),
            ("ETag: \"a\"", 11, 1, false),
            ("ETag: \"a\"", 10, 2, false),
        ] {
            let new = stored(&ledger, (4, 8), block, length, last);
            let combined = combine(&ledger, &old, &new, 8).expect("the old one is a part");
            assert_eq!(combined.map(|found| found.part().len), combines.then_some(8), "{block} {length}");
        }
        // No room for both: the longer one stays.
        let new = stored(&ledger, (4, 7), "ETag: \"a\"", 10, 1);
        let kept = combine(&ledger, &old, &new, 6).expect("a part").expect("the old bytes");
        assert_eq!((kept.part().start, kept.part().len), (0, 4));
    }
}
