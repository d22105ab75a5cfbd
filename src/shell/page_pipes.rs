//! Pipes that stay filled with the pages of a frequently sent body.
//!
//! Finding the pages of a body takes the system a part of the time of sending them (measured, 100 KB: 1.5 of 25 us); a page
//! pipe has the pages, and tee(2) gives them to another pipe as well. A page pipe is identified by the body that it was
//! filled from, without keeping the body alive: when the body is dropped, the page pipe is useless, and no other body can
//! match it.

use super::splice::Pipe;
use crate::cache::body::Body;
use std::sync::{Arc, Weak};

/// Bodies in the list (chosen: a page pipe takes two descriptors, and up to a pipe's capacity of pages that may be unused).
const PAGE_PIPES_MAX: usize = 8;

/// How often a body must be sent, among the last bodies, before it gets a page pipe (chosen: filling one costs a few times
/// what it saves).
const SEEN_MIN: u8 = 8;

/// The page pipes of one loop, and the bodies that may get one: the last used come first.
#[derive(Debug, Default)]
pub struct PagePipes(Vec<(Weak<Body>, PagePipe)>);

#[derive(Debug)]
enum PagePipe {
    /// The body was sent this many times.
    Seen(u8),
    Filled(Pipe),
    /// No pipe could hold the body.
    Unfit,
}

impl PagePipes {
    /// The page pipe of a body with these bytes.
    pub fn find(&mut self, body: &Arc<Body>, pages: &[&[u8]]) -> Option<&Pipe> {
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
                SEEN_MIN => Pipe::filled(pages, body.len()).map_or(PagePipe::Unfit, PagePipe::Filled),
                times => PagePipe::Seen(times + 1),
            };
        }
        match page_pipe {
            PagePipe::Filled(pipe) => Some(pipe),
            PagePipe::Seen(_) | PagePipe::Unfit => None,
        }
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Drops the page pipes of dropped bodies.
    pub fn tidy(&mut self) {
        self.0.retain(|(body, _)| body.strong_count() > 0);
    }

    /// Gives up all.
    pub fn clear(&mut self) {
        self.0.clear();
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

    /// Whether that body comes from a page pipe: all of it, and nothing else.
    fn sends(page_pipes: &mut PagePipes, body: &Arc<Body>, with: u8) -> bool {
        let pages: Vec<&[u8]> = body.segments().collect();
        let Some(page_pipe) = page_pipes.find(body, &pages) else { return false };
        let count = body.len() as usize;
        let mut bytes = vec![0; count + 1];
        let pipe = Pipe::empty().expect("a pipe");
        assert_eq!(pipe.take_same(page_pipe), Ok(count));
        assert_eq!(pipe.read_to(&mut bytes), count);
        assert!(bytes[..count].iter().all(|byte| *byte == with));
        true
    }

    #[test]
    fn what_is_sent_often_gets_a_page_pipe_and_only_that() {
        let mut page_pipes = PagePipes::default();
        let often = body(100_000, 1);
        let sent: Vec<bool> = (0..20).map(|_| sends(&mut page_pipes, &often, 1)).collect();
        assert!(
            sent.iter().position(|from_page_pipe| *from_page_pipe) == Some(usize::from(SEEN_MIN)),
            "{sent:?}"
        );
        assert!(sent[usize::from(SEEN_MIN)..].iter().all(|from_page_pipe| *from_page_pipe));
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
            assert_eq!(
                sent.iter().filter(|from_page_pipe| **from_page_pipe).count(),
                12 - usize::from(SEEN_MIN)
            );
        }
        assert_eq!(page_pipes.0.len(), PAGE_PIPES_MAX);
        page_pipes.tidy();
        assert!(page_pipes.is_empty(), "their bodies are gone");
    }
}
