//! Shows the beginning of a response's body to the behaviour rules while it passes.

use crate::engine::body::filter::{Filter, FilterDecision, Output, Report};
use crate::guard::behaviour::Watch;
use crate::guard::inspection::Content;
use std::ops::ControlFlow;

/// Shows passing payload to a watch, decoded; every piece passes at once.
#[derive(Debug)]
pub(in crate::engine) struct ResponseTap {
    watch: Option<Box<Watch>>,
    content: Content,
    /// The watch has seen all that it wants to see: and whether that is the whole body.
    done: Option<bool>,
}

impl ResponseTap {
    /// A tap for a response with these lines of Content-Encoding.
    pub fn new<'a>(watch: Box<Watch>, codings: impl IntoIterator<Item = &'a [u8]>) -> ResponseTap {
        ResponseTap { watch: Some(watch), content: Content::new(codings), done: None }
    }
}

impl Filter for ResponseTap {
    fn handle_payload(&mut self, payload: &[u8], _: &mut Output<'_>) -> FilterDecision {
        let Some(watch) = &mut self.watch else { return FilterDecision::Leave };
        let read = self.content.push(payload, &mut |stretch| {
            watch.feed(stretch);
            if watch.wants_more() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        if read.is_ok() && watch.wants_more() {
            return FilterDecision::Pass;
        }
        self.done = Some(false);
        FilterDecision::Leave
    }

    fn handle_end(&mut self, _: &mut Vec<u8>, _: &mut Output<'_>) -> FilterDecision {
        self.done = self.done.or(Some(self.content.end().is_ok()));
        FilterDecision::Pass
    }

    fn handle_break(&mut self) {
        self.done = self.done.or(Some(false));
    }

    fn heap_bytes(&self) -> usize {
        self.content.heap_bytes() + self.watch.as_ref().map_or(0, |watch| watch.heap_bytes())
    }

    fn is_needed(&self) -> bool {
        false
    }

    fn take_report(&mut self) -> Option<Report> {
        let whole = self.done?;
        self.watch.take().map(|watch| Report::Watched { watch, whole })
    }
}
