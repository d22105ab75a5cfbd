//! Pipes that stay filled with the pages of a body that is sent often, and with the head that it is sent with.
//!
//! To find the pages of a body takes the system a part of what it takes to send them (measured, 100 KB: 1.5 of 25 us); a page_pipe
//! has them, and tee(2) gives another pipe the same. It is known by the body that it was filled from, which it does not keep
//! alive: where that is gone, the page_pipe is as good as gone, and no other body can be taken for it.
//!
//! The head of an answer out of the cache is the same for all who ask within a second, mostly. A second pipe that has it, too,
//! saves the call that sends it (measured, 100 KB: 0.9 of 25 us).

use super::splice::Pipe;
use crate::cache::body::Body;
use std::sync::{Arc, Weak};

/// Bodies that are remembered (chosen: a page_pipe takes up to four descriptors, and up to a pipe's room of pages that nobody may
/// need any more).
const PAGE_PIPES_MAX: usize = 8;

/// How often a body is seen among the last ones before it gets a page_pipe, and how much more often a head than others before it is
/// in there, too (chosen: to fill one costs a few times what it saves).
const SEEN_MIN: u8 = 8;

/// Longer heads are sent apart from their bodies (chosen: one page).
const HEAD_BYTES_MAX: usize = 4096;

/// The page_pipes of one loop, and what may become one: those that were used last come first.
#[derive(Debug, Default)]
pub struct PagePipes(Vec<(Weak<Body>, PagePipe)>);

#[derive(Debug)]
enum PagePipe {
    /// So often.
    Seen(u8),
    Filled(Filled),
    /// There was no pipe that could take it.
    Unfit,
}

#[derive(Debug)]
struct Filled {
    body: Pipe,
    /// Holds this head and the body.
    both: Option<(Vec<u8>, Pipe)>,
    /// The head of the next such pipe, if it is seen so much more often than all others.
    next: Vec<u8>,
    seen: u8,
}

impl PagePipes {
    /// A pipe with all of that body, whose bytes are these; and whether that head is in front of it.
    pub fn find(&mut self, head: &[u8], body: &Arc<Body>, pages: &[&[u8]]) -> Option<(&Pipe, bool)> {
        match self.0.iter().position(|(known, _)| known.as_ptr() == Arc::as_ptr(body)) {
            Some(at) => self.0[..=at].rotate_right(1),
            None => {
                self.0.truncate(PAGE_PIPES_MAX - 1);
                self.0.insert(0, (Arc::downgrade(body), PagePipe::Seen(0)));
            }
        }
        let (_, page_pipe) = self.0.first_mut()?;
        if let PagePipe::Seen(times) = page_pipe {
            *page_pipe = match *times {
                SEEN_MIN => Pipe::filled(pages, body.len()).map_or(PagePipe::Unfit, PagePipe::from),
                times => PagePipe::Seen(times + 1),
            };
        }
        match page_pipe {
            PagePipe::Filled(filled) => Some(filled.with(head)),
            PagePipe::Seen(_) | PagePipe::Unfit => None,
        }
    }

    /// Whether there are any.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives up those of bodies that are gone.
    pub fn tidy(&mut self) {
        self.0.retain(|(body, _)| body.strong_count() > 0);
    }

    /// Gives up all.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl From<Pipe> for PagePipe {
    fn from(body: Pipe) -> PagePipe {
        PagePipe::Filled(Filled { body, both: None, next: Vec::new(), seen: 0 })
    }
}

impl Filled {
    fn with(&mut self, head: &[u8]) -> (&Pipe, bool) {
        match &self.both {
            Some((known, _)) if known == head => self.seen = self.seen.saturating_sub(1),
            Some(_) | None => self.consider(head),
        }
        match &self.both {
            Some((known, both)) if known == head => (both, true),
            Some(_) | None => (&self.body, false),
        }
    }

    /// The next head is the one that most have: of those who ask within a second, mostly.
    fn consider(&mut self, head: &[u8]) {
        match (self.next == head, self.seen) {
            (true, SEEN_MIN) => {
                self.both = self.body.behind(head).map(|both| (head.to_vec(), both));
                self.seen = 0;
            }
            (true, _) => self.seen += 1,
            (false, 0) => {
                self.next.clear();
                self.next.extend_from_slice(&head[..head.len().min(HEAD_BYTES_MAX)]);
            }
            (false, _) => self.seen -= 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::fill::streaming_body::StreamingBody;
    use crate::cache::store::memory_budget::MemoryBudget;

    fn body(len: usize, with: u8) -> Arc<Body> {
        let mut growing = StreamingBody::new(&Arc::new(MemoryBudget::default()), Some(len as u64));
        while growing.len() < len as u64 {
            let space = growing.space();
            space.fill(with);
            let count = space.len();
            growing.commit(count);
        }
        Arc::new(growing.finish().expect("all of it"))
    }

    /// What comes from a page_pipe: nothing, that body, or that body behind the head, and nothing else.
    fn sends_both(page_pipes: &mut PagePipes, head: &[u8], body: &Arc<Body>, with: u8) -> (bool, bool) {
        let pages: Vec<&[u8]> = body.segments().collect();
        let Some((page_pipe, has_head)) = page_pipes.find(head, body, &pages) else { return (false, false) };
        let ahead = if has_head { head } else { b"" };
        let count = ahead.len() + body.len() as usize;
        let mut bytes = vec![0; count + 1];
        let pipe = Pipe::empty().expect("a pipe");
        assert_eq!(pipe.take_same(page_pipe), Ok(count));
        assert_eq!(pipe.read_to(&mut bytes), count);
        assert!(bytes.starts_with(ahead));
        assert!(bytes[ahead.len()..count].iter().all(|byte| *byte == with));
        (true, has_head)
    }

    /// Whether it comes from a page_pipe, whatever head it has.
    fn sends(page_pipes: &mut PagePipes, body: &Arc<Body>, with: u8) -> bool {
        sends_both(page_pipes, b"head", body, with).0
    }

    #[test]
    fn a_head_that_is_sent_often_is_in_the_mould() {
        let mut page_pipes = PagePipes::default();
        let body = body(100_000, 1);
        let mut times = |head: &[u8], times: u8| -> usize {
            (0..times).filter(|_| sends_both(&mut page_pipes, head, &body, 1).1).count()
        };
        assert_eq!(times(b"first", SEEN_MIN), 0, "no page_pipe yet");
        for head in [b"first", b"third", b"first"] {
            assert_eq!(times(head, SEEN_MIN + 1), 0);
            assert_eq!(times(head, 3), 3);
        }
        // Others in between do not change it, until one of them is what most have.
        assert!(
            (0..20).all(|_| times(b"here", 1) == 0 && times(b"there", 1) == 0 && times(b"first", 1) == 1)
        );
        assert_eq!(times(b"first of all", 1), 0);
        let mixed: Vec<usize> = (0..40).map(|_| times(b"third", 3) + 10 * times(b"first", 1)).collect();
        assert_eq!((mixed[0], mixed[39]), (10, 3));
        for bytes in [HEAD_BYTES_MAX, HEAD_BYTES_MAX + 1] {
            assert_eq!(times(&vec![b'x'; bytes], 4 * SEEN_MIN) > 0, bytes == HEAD_BYTES_MAX);
        }
    }

    #[test]
    fn what_is_sent_often_gets_a_mould_and_only_that() {
        let mut page_pipes = PagePipes::default();
        let often = body(100_000, 1);
        let sent: Vec<bool> = (0..20).map(|_| sends(&mut page_pipes, &often, 1)).collect();
        assert!(sent.iter().position(|from_mould| *from_mould) == Some(usize::from(SEEN_MIN)), "{sent:?}");
        assert!(sent[usize::from(SEEN_MIN)..].iter().all(|from_mould| *from_mould));
        // Many that are seen once each leave no more than there is room for.
        let others: Vec<_> = (0..20).map(|_| body(40_000, 2)).collect();
        assert!(others.iter().all(|other| !sends(&mut page_pipes, other, 2)));
        assert_eq!(page_pipes.0.len(), PAGE_PIPES_MAX);
        assert!(!sends(&mut page_pipes, &often, 1), "it was not among the last ones");
        // More than a pipe has room for.
        let long = body(400_000, 3);
        assert!((0..20).all(|_| !sends(&mut page_pipes, &long, 3)));
    }

    /// The next body lies where the one before it lay.
    #[test]
    fn no_body_is_taken_for_one_that_is_gone() {
        let mut page_pipes = PagePipes::default();
        for with in 0..100 {
            let next = body(100_000, with);
            let sent: Vec<bool> = (0..12).map(|_| sends(&mut page_pipes, &next, with)).collect();
            assert_eq!(sent.iter().filter(|from_mould| **from_mould).count(), 12 - usize::from(SEEN_MIN));
        }
        assert_eq!(page_pipes.0.len(), PAGE_PIPES_MAX);
        page_pipes.tidy();
        assert!(page_pipes.is_empty(), "their bodies are gone");
    }
}
