//! The progress of a request for a page of the host program.
//!
//! | stage of a [`PageProgress`] | what moves it on |
//! | --- | --- |
//! | *begun* | the whole body is there: the session is loaded, if the client has named one |
//! | *loading* | the store's answer. An unsafe method has the token of its session, and the handler is called |
//! | *asking* | the store's answer to what the handler has asked: the handler is called again |
//! | *saving* | the store's answer: the session is saved before the client has the answer of the handler |

use crate::engine::callback::Answer;
use crate::engine::pages::{OwnPages, Session};
use crate::guard::sessions::Loaded;
use crate::guard::values::{ValueAnswer, ValueRequest};

/// The progress of a request for a page.
#[derive(Debug)]
pub(in crate::engine) struct PageProgress {
    pub stage: PageStage,
    pub session: Session,
    /// The store's answer to the last question; `None` while it is under way.
    pub said: Option<ValueAnswer>,
    /// Number of the handler's questions.
    pub asked: u8,
}

#[derive(Debug)]
pub(in crate::engine) enum PageStage {
    Begun,
    Loading,
    AskingStore,
    Saving {
        answer: Answer,
        /// Requests to write, the last one first.
        writes: Vec<ValueRequest>,
        /// Whether the client gets an error if writing fails.
        must_succeed: bool,
    },
}

/// The next step of a request for a page.
pub(in crate::engine) enum Next {
    Ask(ValueRequest),
    Answer(Answer),
}

impl PageProgress {
    pub fn new(pages: &OwnPages) -> PageProgress {
        let session = Session::new("", Loaded::default(), pages.draw());
        PageProgress { stage: PageStage::Begun, session, said: None, asked: 0 }
    }

    /// Saves the session, and deletes old data, before the client gets the answer. `None` if the session is too long.
    pub fn end(&mut self, answer: Answer, now_unix_ms: u64) -> Option<Next> {
        let writes = self.session.writes(now_unix_ms).ok()?;
        Some(self.save(answer, writes))
    }

    /// The next write, or the answer.
    pub fn save(&mut self, answer: Answer, mut writes: Vec<ValueRequest>) -> Next {
        let Some(write) = writes.pop() else { return Next::Answer(answer) };
        self.stage = PageStage::Saving { answer, writes, must_succeed: write.must_succeed() };
        Next::Ask(write)
    }
}
