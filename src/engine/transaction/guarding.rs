//! What the guard has to say of a request: whose it is, whether that client may ask, whether it has asked too often.

use super::examine::{Decision, Examiner, Step};
use super::log_record::{LogRecord, Text};
use super::refusal::Refusal;
use super::request::{Phase, RequestInfo};
use crate::guard::rules::{Counted, Subject};
use crate::http::head::RequestHead;
use crate::http::message::Fields;
use crate::http::target::{Host, Target};
use std::net::SocketAddr;

impl Examiner<'_> {
    /// Finds whose request it is, if a trusted proxy has sent it.
    pub(super) fn find_client(&mut self, fields: Fields<'_, '_>, record: &mut LogRecord) {
        let Some(guard) = self.guard else { return };
        if let Some(client) = guard.client(self.client, fields, self.now) {
            // Its port is not known.
            (self.client, record.client) = (client, SocketAddr::new(client, 0));
        }
    }

    /// Whether the client is banned, or comes from a cloud that is refused.
    pub(super) fn admit_guarded(&self) -> Result<(), Refusal> {
        let Some(guard) = self.guard else { return Ok(()) };
        guard.admit(self.client, self.now).map_err(Refusal::Guarded)
    }

    /// Whether the client has asked too often.
    pub(super) fn count(
        &mut self,
        head: &RequestHead<'_, '_>,
        target: &Target<'_>,
        info: &mut RequestInfo,
        record: &LogRecord,
        out: &mut Vec<u8>,
    ) -> Result<Step, Refusal> {
        let next = Step::Continue(Phase::Protect);
        let Some(guard) = self.guard else { return Ok(self.behind_guard()) };
        if let (Host::Address(address), None) = (info.authority.host, self.gateway) {
            guard.admit_destination(self.client, address, self.now).map_err(Refusal::Guarded)?;
        }
        let subject = self.subject(head, target, info, record);
        let counted = guard.count(&subject, self.now, self.breaker, out);
        out.clear();
        match counted {
            Counted::Ask(question) => Ok(Step::Decide(Decision::Ask(question))),
            Counted::Decided(decided) => {
                info.quota = decided.quota;
                decided.denial.map_or(Ok(next), |denial| Err(Refusal::Guarded(denial)))
            }
        }
    }

    pub(super) fn subject<'a>(
        &self,
        head: &RequestHead<'_, 'a>,
        target: &Target<'a>,
        info: &'a RequestInfo,
        record: &'a LogRecord,
    ) -> Subject<'a> {
        Subject {
            client: self.client,
            user: record.text(Text::User),
            host: &info.authority.host,
            path: match target {
                Target::Absolute { path, .. } | Target::Origin { path } => Some(*path),
                Target::Authority(_) | Target::Asterisk => None,
            },
            method: head.method,
        }
    }

    /// What the behaviour rules say of the request, and what they want to see of its response.
    pub(super) fn behave(
        &mut self,
        head: &RequestHead<'_, '_>,
        target: &Target<'_>,
        info: &RequestInfo,
        record: &LogRecord,
        out: &mut Vec<u8>,
    ) -> Result<Step, Refusal> {
        let Some(guard) = self.guard else { return Ok(self.behind_guard()) };
        let met = guard.meet(&self.subject(head, target, info, record), self.now, out);
        out.clear();
        *self.watch = met.watch;
        if let Some(denial) = met.denial {
            return Err(Refusal::Guarded(denial));
        }
        Ok(match met.wait_us {
            0 => self.behind_guard(),
            wait_us => Step::Decide(Decision::Delay(wait_us)),
        })
    }
}
