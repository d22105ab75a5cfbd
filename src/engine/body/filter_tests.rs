//! Filters in a relay: each whole, byte by byte, and with bytes behind; every framing.

use super::*;
use crate::engine::body::relay::{BodyFault, Relay};
use crate::http::framing::Body;
use std::sync::Mutex;

/// What a filter of these tests does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    /// Nothing but to count.
    Count,
    /// Holds back all, up to the bound.
    HoldAll(WhenFull),
    /// Holds back until so many bytes were seen, then lets go.
    HoldUntil(usize),
    /// Doubles every byte, and ends with its trailer.
    Double,
    /// Puts something in front and behind, and drops the rest.
    Exchange,
    /// Leaves after so many bytes.
    Leave(usize),
    Abort(usize),
    /// Replaces without having said so.
    Lie,
}

#[derive(Debug)]
struct Tester {
    doing: Doing,
    seen: Arc<Mutex<Vec<u8>>>,
    ends: usize,
}

impl Filter for Tester {
    fn replaces(&self) -> bool {
        matches!(self.doing, Doing::Double | Doing::Exchange)
    }

    fn handle_payload(&mut self, payload: &[u8], output: &mut Output<'_>) -> FilterDecision {
        assert!(!payload.is_empty() && payload.len() <= BLOCK_BYTES && self.ends == 0);
        let mut seen = self.seen.lock().unwrap();
        let first = seen.is_empty();
        seen.extend_from_slice(payload);
        match self.doing {
            Doing::Count => FilterDecision::Pass,
            Doing::HoldAll(_) => FilterDecision::Hold,
            Doing::HoldUntil(bytes) if seen.len() < bytes => FilterDecision::Hold,
            Doing::HoldUntil(_) => FilterDecision::Pass,
            Doing::Double => {
                payload.iter().for_each(|byte| output.write(&[*byte, *byte]));
                FilterDecision::Drop
            }
            Doing::Exchange => {
                if first {
                    output.write(b"<");
                }
                FilterDecision::Drop
            }
            Doing::Leave(bytes) if seen.len() < bytes => FilterDecision::Pass,
            Doing::Leave(_) => FilterDecision::Leave,
            Doing::Abort(bytes) if seen.len() < bytes => FilterDecision::Hold,
            Doing::Abort(_) => FilterDecision::Abort("test"),
            Doing::Lie => FilterDecision::Drop,
        }
    }

    fn handle_end(&mut self, trailers: &mut Vec<u8>, output: &mut Output<'_>) -> FilterDecision {
        self.ends += 1;
        assert_eq!(self.ends, 1);
        match self.doing {
            Doing::Double if !trailers.is_empty() => trailers.extend_from_slice(b"X-Twice: 1\r\n"),
            Doing::Exchange => output.write(b">"),
            Doing::Count
            | Doing::HoldAll(_)
            | Doing::HoldUntil(_)
            | Doing::Double
            | Doing::Leave(_)
            | Doing::Abort(_)
            | Doing::Lie => {}
        }
        FilterDecision::Hold
    }

    fn when_full(&self) -> WhenFull {
        match self.doing {
            Doing::HoldAll(when_full) => when_full,
            _ => WhenFull::Abort("full"),
        }
    }
}

/// What each filter of a list has seen.
type Sightings = Vec<Arc<Mutex<Vec<u8>>>>;

/// The filters, and what each of them has seen.
fn filters(doings: &[Doing]) -> (Vec<Box<dyn Filter>>, Sightings) {
    let seen: Sightings = doings.iter().map(|_| Arc::default()).collect();
    let one = |(doing, seen): (&Doing, &Arc<_>)| -> Box<dyn Filter> {
        Box::new(Tester { doing: *doing, seen: Arc::clone(seen), ends: 0 })
    };
    (doings.iter().zip(&seen).map(one).collect(), seen)
}

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index * 7 % 251) as u8).collect()
}

fn chunked(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for part in payload.chunks(777) {
        out.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\nX-Sum: 1\r\n\r\n");
    out
}

/// Undoes chunked framing, with nothing of the code under test. `None` if it has no end.
fn unchunk(mut bytes: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
    let mut payload = Vec::new();
    loop {
        let Some(line) = bytes.windows(2).position(|pair| pair == b"\r\n") else { return (payload, None) };
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..line]).unwrap(), 16).unwrap();
        bytes = &bytes[line + 2..];
        if size == 0 {
            return (payload, Some(bytes.to_vec()));
        }
        payload.extend_from_slice(&bytes[..size]);
        assert_eq!(&bytes[size..size + 2], b"\r\n");
        bytes = &bytes[size + 2..];
    }
}

struct Run {
    relay: Relay,
    pool: Pool,
    out: Vec<u8>,
    excess: Vec<u8>,
    fault: Option<BodyFault>,
    spliced: bool,
}

/// Pushes `input` through a relay in pieces of at most `piece` bytes; sends in pieces of `send`.
fn pass(
    (body, chunked_out): (Body, bool),
    filters: Vec<Box<dyn Filter>>,
    input: &[u8],
    (piece, send): (usize, usize),
) -> Run {
    let mut relay = Relay::new(Purpose::Download);
    relay.set_filters(Filters::new(filters, Purpose::Download));
    relay.frame(body, chunked_out);
    let mut run =
        Run { relay, pool: Pool::new(256), out: Vec::new(), excess: Vec::new(), fault: None, spliced: false };
    run.go_on(input, (piece, send));
    run
}

impl Run {
    fn go_on(&mut self, input: &[u8], (piece, send): (usize, usize)) {
        let Run { relay, pool, out, excess, fault, spliced } = self;
        let mut rest = input;
        loop {
            let mut moved = false;
            *spliced |= relay.splice_allowed().is_some();
            if relay.wants_bytes() && !rest.is_empty() && fault.is_none() {
                let count = relay.space(pool).unwrap().fill(&rest[..piece.min(rest.len())]);
                rest = &rest[count..];
                *fault = relay.handle_received(pool, count, excess).err();
                moved = true;
            }
            if fault.is_some() && !relay.is_truncated() {
                relay.truncate(None);
            }
            if relay.wants_send() {
                let sent: Vec<u8> = relay.outgoing(pool).concat().into_iter().take(send).collect();
                relay.handle_sent(pool, sent.len());
                moved |= !sent.is_empty();
                out.extend(sent);
            }
            if !moved {
                excess.extend_from_slice(rest);
                return;
            }
        }
    }

    fn end(&mut self) {
        self.fault = self.fault.or(self.relay.handle_end(&mut self.pool).err());
        self.go_on(b"", (4096, 4096));
    }
}

/// Every filter and some lists of them, every framing, whole, byte by byte, and with bytes behind.
#[test]
fn what_comes_out_is_what_the_filters_say() {
    let input = payload(10_000);
    let doubled: Vec<u8> = input.iter().flat_map(|byte| [*byte, *byte]).collect();
    let full = WhenFull::Abort("full");
    let cases: [(&[Doing], &[u8]); 10] = [
        (&[Doing::Count], &input),
        (&[Doing::HoldAll(full)], &input),
        (&[Doing::HoldUntil(5000)], &input),
        (&[Doing::Double], &doubled),
        (&[Doing::Exchange], b"<>"),
        (&[Doing::Leave(3000)], &input),
        (&[Doing::Count, Doing::HoldUntil(3000), Doing::HoldAll(full)], &input),
        (&[Doing::HoldUntil(100), Doing::Double, Doing::Count], &doubled),
        (&[Doing::Double, Doing::HoldUntil(7000), Doing::Leave(1)], &doubled),
        (&[Doing::Leave(1), Doing::HoldAll(full), Doing::Exchange], b"<>"),
    ];
    let coded = chunked(&input);
    let length = Body::Length(input.len() as u64);
    for (doings, expected) in cases {
        let replaces = doings.iter().any(|doing| matches!(doing, Doing::Double | Doing::Exchange));
        for (body, bytes) in [(length, &input), (Body::UntilClose, &input), (Body::Chunked, &coded)] {
            for sizes in [(1, 4096), (100_000, 100_000), (4096, 1), (7, 13), (9000, 300)] {
                for chunked_out in [true, false] {
                    let case = format!("{doings:?} {body:?} {sizes:?} {chunked_out}");
                    let (list, seen) = filters(doings);
                    let behind: &[u8] = if body == Body::UntilClose { b"" } else { b"next" };
                    let mut run = pass((body, chunked_out), list, &[bytes, behind].concat(), sizes);
                    run.end();
                    assert_eq!((run.fault, &run.excess[..]), (None, behind), "{case}");
                    assert!(run.relay.is_complete(), "{case}");
                    assert_eq!(run.relay.sent, run.out.len() as u64);
                    assert_eq!((run.pool.lent(), run.pool.spilled_bytes()), (0, 0), "{case}");
                    let leaves = matches!(doings[0], Doing::Leave(_)) && !replaces && doings.len() == 1;
                    let busy = sizes.0 > 10_000 && body != Body::Chunked;
                    assert!(run.spliced <= leaves && run.spliced >= (leaves && busy), "{case}");
                    if !matches!(doings[0], Doing::Leave(_)) {
                        assert!(*seen[0].lock().unwrap() == input, "{case}");
                    }
                    if chunked_out {
                        let (out, trailers) = unchunk(&run.out);
                        assert!(out == expected, "{case}: {} of {}", out.len(), expected.len());
                        let twice = doings.contains(&Doing::Double);
                        let lines: &[u8] = match body {
                            Body::Chunked if twice => b"X-Sum: 1\r\nX-Twice: 1\r\n\r\n",
                            Body::Chunked => b"X-Sum: 1\r\n\r\n",
                            _ => b"\r\n",
                        };
                        assert_eq!(trailers.as_deref(), Some(lines), "{case}");
                    } else {
                        assert!(run.out == expected, "{case}");
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_aborted_never_ends_properly_and_shows_nothing_of_what_was_held() {
    let input = payload(100_000);
    let cases = [
        (&[Doing::Abort(5_000)][..], "test"),
        (&[Doing::Count, Doing::Abort(1)], "test"),
        (&[Doing::HoldAll(WhenFull::Abort("full"))], "full"),
        (&[Doing::Lie], "filter_undeclared"),
    ];
    for (doings, reason) in cases {
        for (body, chunked_out) in
            [(Body::Length(100_000), false), (Body::Length(100_000), true), (Body::UntilClose, true)]
        {
            for sizes in [(1000, 4096), (1_000_000, 1_000_000), (4096, 100)] {
                let mut run = pass((body, chunked_out), filters(doings).0, &input, sizes);
                assert_eq!(run.fault, Some(BodyFault::Filter(FilterFault::Refused(reason))));
                assert_eq!(run.relay.filter_fault(), Some(reason));
                assert!(run.relay.is_truncated() && !run.relay.is_complete() && !run.relay.wants_send());
                assert_eq!(run.out.len(), 0, "{doings:?}");
                run.relay.release(&mut run.pool);
                assert_eq!((run.pool.lent(), run.pool.spilled_bytes()), (0, 0));
            }
        }
    }
}

#[test]
fn what_is_cut_short_has_no_end_and_drops_what_was_held() {
    let (list, _) = filters(&[Doing::HoldUntil(5000)]);
    let mut run = pass((Body::Length(10_000), true), list, &payload(4000), (100, 100));
    run.end();
    assert!(run.relay.is_truncated() && run.out.is_empty());
    run.relay.release(&mut run.pool);
    assert_eq!((run.pool.lent(), run.pool.spilled_bytes()), (0, 0));
}

#[test]
fn beyond_the_bound_what_is_held_passes_if_the_filter_says_so() {
    let input = payload(300_000);
    for sizes in [(4096, 4096), (1_000_000, 1_000_000)] {
        let (list, _) = filters(&[Doing::HoldAll(WhenFull::Pass)]);
        let mut run = pass((Body::Length(300_000), false), list, &input, sizes);
        assert!(run.relay.is_complete() && run.out == input);
        run.relay.release(&mut run.pool);
        assert_eq!((run.pool.lent(), run.pool.spilled_bytes()), (0, 0));
    }
}

/// A filter that is slower than nothing: while its output waits, nothing is received.
#[test]
fn what_has_passed_and_waits_stops_the_source() {
    let input = payload(5000);
    let (list, _) = filters(&[Doing::Double]);
    let mut run = pass((Body::Length(5000), true), list, &input[..1], (1, 0));
    assert!(!run.relay.wants_bytes() && run.relay.wants_send());
    run.go_on(&input[1..], (4096, 3));
    assert!(run.relay.is_complete());
}

/// Whatever was passed and held when the connection was lost: the filters see the body once, and the origin gets it whole.
#[test]
fn a_request_that_is_sent_once_more_is_not_shown_again() {
    let input = payload(9000);
    for doings in [
        &[Doing::Count][..],
        &[Doing::HoldUntil(2000)],
        &[Doing::HoldUntil(6000), Doing::HoldUntil(500)],
        &[Doing::HoldAll(WhenFull::Pass), Doing::Count],
        &[Doing::Leave(300), Doing::HoldUntil(1500)],
    ] {
        for came in [1, 1000, 1999, 2000, 5000, 9000] {
            for sizes in [(1, 4096), (100_000, 100_000), (1000, 0)] {
                let (list, seen) = filters(doings);
                let mut run = pass((Body::Length(9000), false), list, &input[..came], sizes);
                let received = came - run.excess.len();
                run.relay.rewind(&mut run.pool);
                (run.out, run.excess) = (Vec::new(), Vec::new());
                run.relay.frame(Body::Length(9000), false);
                run.go_on(&input, (700, 900));
                let case = format!("{doings:?} {came} ({received}) {sizes:?}");
                assert!(run.relay.is_complete() && run.fault.is_none(), "{case}");
                assert!(run.out == input, "{case}");
                let seen = seen[0].lock().unwrap();
                assert!(*seen == input[..seen.len()], "{case}");
                assert_eq!(run.pool.lent(), 0, "{case}");
            }
        }
    }
}

/// The last filter leaves with the piece that brings the end, and the trailers with it (seed 230 of the simulation).
#[test]
fn trailers_outlive_the_last_filter() {
    let (list, _) = filters(&[Doing::Leave(1)]);
    let run = pass((Body::Chunked, true), list, &chunked(b"abc"), (4096, 4096));
    assert_eq!(unchunk(&run.out), (b"abc".to_vec(), Some(b"X-Sum: 1\r\n\r\n".to_vec())));
}

/// Takes heap with the body, a block for each byte.
#[derive(Debug)]
struct Heavy {
    blocks: usize,
    is_needed: bool,
}

impl Filter for Heavy {
    fn handle_payload(&mut self, payload: &[u8], _: &mut Output<'_>) -> FilterDecision {
        self.blocks += payload.len();
        FilterDecision::Pass
    }

    fn heap_bytes(&self) -> usize {
        self.blocks * BLOCK_BYTES
    }

    fn is_needed(&self) -> bool {
        self.is_needed
    }
}

/// Heap of a filter counts as blocks. Where there are none left, the body goes no further, or goes on without the filter.
#[test]
fn heap_of_filters_is_bounded_by_the_pool() {
    for (bytes, is_needed, fault, charged) in [
        (10, true, None, 10),
        (10, false, None, 10),
        (300, true, Some(FilterFault::NoMemory), 100),
        (300, false, None, 200),
    ] {
        let heavy = Heavy { blocks: 0, is_needed };
        let input = vec![b'x'; bytes];
        let mut run = pass((Body::Length(1000), false), vec![Box::new(heavy)], &input, (100, 1000));
        assert_eq!(run.fault, fault.map(BodyFault::Filter), "{bytes} {is_needed}");
        if fault.is_none() {
            assert_eq!(run.out, input);
        }
        run.relay.release_unused(&mut run.pool);
        // A filter that has left at the end of the list is dropped with its heap.
        let expected = if bytes == 300 && !is_needed { 0 } else { charged };
        assert_eq!(
            256 - run.pool.lendable(Purpose::Reply) - run.pool.lent(),
            expected,
            "{bytes} {is_needed}"
        );
        run.relay.release(&mut run.pool);
        assert_eq!((run.pool.lent(), run.pool.lendable(Purpose::Reply)), (0, 256));
    }
}
