//! The guard's decisions about a request: its client, the admission of that client, and its limits.

use super::examine::{Decision, Examiner, Step};
use super::log_record::{LogRecord, Text};
use super::noting::AGENT_FIELD;
use super::refusal::Refusal;
#[cfg(feature = "detection")]
use super::request::Method;
use super::request::{Phase, RequestInfo};
#[cfg(feature = "detection")]
use crate::engine::body::filter::Report;
#[cfg(feature = "detection")]
use crate::engine::body::inspection::Inspection;
use crate::guard::rules::{Counted, Guard, Subject};
use crate::guard::told::Asker;
use crate::http::forwarding;
#[cfg(feature = "detection")]
use crate::http::framing::Body;
use crate::http::head::RequestHead;
use crate::http::target::{Host, Target};
use crate::part::guard::Lent;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};

impl Examiner<'_> {
    /// Finds the client of a request from a trusted proxy.
    pub(super) fn find_client(&mut self, head: &RequestHead<'_, '_>, record: &mut LogRecord) {
        let Some(guard) = self.guard else { return };
        // The port of the client is not known.
        if let Some(v4) = guard.usual_client(&self.client, head.fields) {
            (self.client, record.client) = (IpAddr::V4(v4), SocketAddrV4::new(v4, 0).into());
        } else if let Some(client) = self.find_unusual_client(guard, head, record) {
            (self.client, record.client) = (client, SocketAddr::new(client, 0));
        }
    }

    #[inline(never)]
    fn find_unusual_client(
        &self,
        guard: Lent<'_, Guard>,
        head: &RequestHead<'_, '_>,
        record: &LogRecord,
    ) -> Option<IpAddr> {
        guard.client(self.client, head.fields, || self.asked(head, record), self.now)
    }

    /// Refuses banned clients, and clients of refused clouds.
    pub(super) fn admit_guarded(
        &self,
        head: &RequestHead<'_, '_>,
        target: &Target<'_>,
        record: &mut LogRecord,
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        match self.guard {
            Some(guard) if !guard.is_usual(&self.client) => {
                // The authority is found behind this phase, and a refusal is recorded with the URL.
                if let (Target::Origin { path }, Ok(Some(authority))) =
                    (target, forwarding::route_target(head, target))
                {
                    self.note_url(&authority, path, record, out);
                }
                guard.admit(self.client, || self.asked(head, record), self.now).map_err(Refusal::Guarded)
            }
            Some(_) | None => Ok(()),
        }
    }

    // A separate function: mostly no event is recorded.
    /// The request in the form for events.
    #[inline(never)]
    pub(super) fn asked<'r>(&self, head: &RequestHead<'_, 'r>, record: &'r LogRecord) -> Asker<'r> {
        asked(self.client, self.taken_us(), head, record)
    }

    /// Counts the request in the client's limits.
    pub(super) fn count(
        &mut self,
        head: &RequestHead<'_, '_>,
        target: &Target<'_>,
        info: &mut RequestInfo,
        record: &mut LogRecord,
        out: &mut Vec<u8>,
    ) -> Result<Step, Refusal> {
        let Some(guard) = self.guard else { return Ok(self.behind_guard(info)) };
        let is_destination = self.gateway.is_none() && !info.is_page;
        if let (Host::Address(address), true) =
            (&info.authority.host, is_destination && guard.denies_destinations())
        {
            let asked = || self.asked(head, record);
            guard.admit_destination(*address, asked, self.now).map_err(Refusal::Guarded)?;
        }
        if !guard.counts() {
            return Ok(self.behind_counting(guard, info));
        }
        let decided = match guard.count_usual(&self.client, || self.asked(head, record), self.now) {
            Some(decided) => decided,
            None => match self.count_unusual(guard, head, target, info, record, out) {
                Counted::Decided(decided) => decided,
                Counted::Ask(question) => {
                    // The head is not available when the answer arrives.
                    note_agent(head, record);
                    return Ok(Step::Decide(Decision::Ask(Box::new(question))));
                }
            },
        };
        info.quota = decided.quota;
        match decided.denial {
            Some(denial) => Err(Refusal::Guarded(denial)),
            None => Ok(self.behind_counting(guard, info)),
        }
    }

    /// Counts a request by more than its client, or asks the store about it.
    #[inline(never)]
    fn count_unusual(
        &mut self,
        guard: Lent<'_, Guard>,
        head: &RequestHead<'_, '_>,
        target: &Target<'_>,
        info: &RequestInfo,
        record: &LogRecord,
        out: &mut Vec<u8>,
    ) -> Counted {
        let subject = self.subject(head, target, info, record);
        let (client, taken_us) = (self.client, self.taken_us());
        let counted =
            guard.count(&subject, || asked(client, taken_us, head, record), self.now, self.breaker, out);
        out.clear();
        counted
    }

    fn taken_us(&self) -> u64 {
        self.now.monotonic_us.saturating_sub(self.began_us)
    }

    // A phase without configuration is skipped: each costs a request a check.

    fn behind_counting(&self, guard: Lent<'_, Guard>, info: &RequestInfo) -> Step {
        if guard.inspects() { Step::Continue(Phase::Inspect) } else { self.behind_inspection(guard, info) }
    }

    fn behind_inspection(&self, guard: Lent<'_, Guard>, info: &RequestInfo) -> Step {
        if self.gateway.is_some() {
            Step::Continue(Phase::Protect)
        } else {
            self.behind_protection(guard, info)
        }
    }

    pub(super) fn behind_protection(&self, guard: Lent<'_, Guard>, info: &RequestInfo) -> Step {
        if guard.has_behaviour() { Step::Continue(Phase::Behaviour) } else { self.behind_guard(info) }
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
            path: target.path(),
            method: head.method,
        }
    }

    /// Looks for an attack in the head.
    pub(super) fn inspect(
        &mut self,
        head: &RequestHead<'_, '_>,
        target: &Target<'_>,
        info: &RequestInfo,
        record: &mut LogRecord,
    ) -> Result<Step, Refusal> {
        let Some(guard) = self.guard else { return Ok(self.behind_guard(info)) };
        #[cfg(feature = "detection")]
        {
            let path = target.path();
            let asked = || self.asked(head, record);
            guard.inspect_head(path, head.fields, asked, self.now).map_err(Refusal::Guarded)?;
            self.guarded.outlives_ban |= guard.is_banned(self.client, self.now);
            self.inspect_body(path, head, info, record);
        }
        #[cfg(not(feature = "detection"))]
        let _ = (head, target, info, record);
        Ok(self.behind_inspection(guard, info))
    }

    /// Inserts the detector before the request's body, if it has one.
    #[cfg(feature = "detection")]
    fn inspect_body(
        &mut self,
        path: Option<&[u8]>,
        head: &RequestHead<'_, '_>,
        info: &RequestInfo,
        record: &mut LogRecord,
    ) {
        let has_body = !matches!(info.body, Body::None | Body::Length(0))
            && info.method != Method::Connect
            // The body of a page is scanned as a whole, before its handler is called.
            && !info.is_page;
        let (Some(guard), Some(path), true) = (&self.settings.guard, path, has_body) else { return };
        if let Some(inspection) = Inspection::new(guard, path, head.fields) {
            self.up.insert_filter(Box::new(inspection));
            // The head is not available at the end of the body.
            note_agent(head, record);
        }
    }

    /// Looks for an attack in the body for a page.
    pub(super) fn inspect_page(
        &self,
        path: Option<&[u8]>,
        head: &RequestHead<'_, '_>,
        body: &[u8],
        record: &LogRecord,
    ) -> Result<(), Refusal> {
        #[cfg(feature = "detection")]
        if let (Some(guard), Some(path), false) = (&self.settings.guard, path, body.is_empty()) {
            let found =
                Inspection::new(guard, path, head.fields).and_then(|inspection| inspection.of_whole(body));
            if let Some(Report::Detected(findings)) = found {
                let asked = self.asked(head, record);
                guard.conclude_findings(&findings, &asked, self.now).map_err(Refusal::Guarded)?;
            }
        }
        #[cfg(not(feature = "detection"))]
        let _ = (path, head, body, record);
        Ok(())
    }

    /// Applies the behaviour rules to the request, and sets their watch on its response.
    pub(super) fn behave(
        &mut self,
        head: &RequestHead<'_, '_>,
        target: &Target<'_>,
        info: &mut RequestInfo,
        record: &mut LogRecord,
        out: &mut Vec<u8>,
    ) -> Result<Step, Refusal> {
        let Some(guard) = self.guard else { return Ok(self.behind_guard(info)) };
        let subject = self.subject(head, target, info, record);
        let met = guard.meet(&subject, || self.asked(head, record), self.now, out);
        out.clear();
        if met.watch.is_some() {
            note_agent(head, record);
        }
        // A response that others may share does not pass the tap.
        info.filters_response |= met.watch.as_ref().is_some_and(|watch| watch.wants_body());
        self.guarded.watch = met.watch;
        if let Some(denial) = met.denial {
            return Err(Refusal::Guarded(denial));
        }
        Ok(match met.wait_us {
            0 => self.behind_guard(info),
            wait_us => Step::Decide(Decision::Delay(wait_us)),
        })
    }
}

/// Notes the User-Agent for an event that may follow.
fn note_agent(head: &RequestHead<'_, '_>, record: &mut LogRecord) {
    record.set(Text::Agent, head.fields.get(AGENT_FIELD).unwrap_or_default());
}

/// The request in the form for events. Its User-Agent is not taken from the record, which need not have it.
fn asked<'r>(client: IpAddr, taken_us: u64, head: &RequestHead<'_, 'r>, record: &'r LogRecord) -> Asker<'r> {
    let user_agent = head.fields.get(AGENT_FIELD).unwrap_or_default();
    Asker { client, user_agent, taken_us: Some(taken_us), ..record.asked() }
}
