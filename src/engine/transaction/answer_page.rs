//! The phase in which a page of the program around the proxy answers.

use super::Transaction;
use super::answer::Answer;
use super::calling::write_answer;
use super::collecting::{Collected, OfLonger, collected};
use super::examine::{Decision, Examiner, Step};
use super::log_record::{LogRecord, Text};
use super::machine::{Services, Transactions};
use super::page_progress::{Next, PageProgress, PageStage};
use super::refusal::Refusal;
use super::request::{Phase, RequestInfo};
use super::store_wait::Awaited;
use crate::engine::context::Context;
use crate::engine::effect::Effect;
use crate::engine::ids::{StoreJob, TransactionId};
use crate::engine::pages::{ASKED_MAX, OwnPages, PageReply, PageRequest, Session, Told, is_form};
use crate::guard::csrf::{self, Forged};
use crate::guard::sessions;
use crate::guard::store::StoreFailure;
use crate::guard::values::ValueAnswer;
use crate::guard::verdict::{Cause, Denial};
use crate::http::head::RequestHead;
use crate::http::target::{Authority, Target};
use crate::http::web_origin::WebOrigin;
use crate::part::pages::lasting;

/// The word for a page that breaks a rule or a bound.
const WRONG_ANSWER: &[u8] = b"page_answer";

/// The word for a body that is longer than the bound.
const TOO_LONG: &[u8] = b"page_body_too_long";

/// The store has not answered: a retry may succeed.
const STORE_FAILED: Refusal =
    Refusal::Guarded(Denial { cause: Cause::StoreFailed, line: 0, retry_after_s: 1 });

/// The request.
struct Asked<'a, 'h> {
    head: &'a RequestHead<'h, 'a>,
    body: &'a [u8],
    path: Option<&'a [u8]>,
    record: &'a LogRecord,
    host: &'a str,
    /// The origin of forms of these pages.
    own_origin: Option<WebOrigin>,
    pages: &'a OwnPages,
}

impl Examiner<'_> {
    /// Whether a request for this authority is one for a page.
    pub(super) fn is_page(&self, authority: &Authority, out: &mut Vec<u8>) -> bool {
        let Some(pages) = self.pages.filter(|_| self.gateway.is_none()) else { return false };
        out.clear();
        authority.host.write(out);
        let is_named = std::str::from_utf8(out).is_ok_and(|host| pages.has_host(host));
        out.clear();
        is_named || self.is_own(authority)
    }

    /// Runs a page; waits for the body, and for the store.
    pub(super) fn answer_page(
        &mut self,
        head: &RequestHead<'_, '_>,
        target: &Target<'_>,
        info: &RequestInfo,
        record: &mut LogRecord,
        out: &mut Vec<u8>,
    ) -> Result<Step, Refusal> {
        let Some(pages) = self.pages.map(lasting) else { return Ok(Step::Continue(Phase::Cache)) };
        let body = match collected(info.body, self.behind, OfLonger::Nothing).map_err(Refusal::Fault)? {
            Collected::Whole(body) => body,
            Collected::Part => return Ok(Step::Decide(Decision::Collect)),
            Collected::TooLong => {
                record.set(Text::Reason, TOO_LONG);
                return Err(Refusal::Callback(413));
            }
        };
        out.clear();
        info.authority.host.write(out);
        let host = String::from_utf8_lossy(out).into_owned();
        let own_origin = self.own_origin(head, target, info);
        let (path, told) = (target.path(), &*record);
        let asked = Asked { head, body: &body, path, record: told, host: &host, own_origin, pages };
        let mut progress = match self.guarded.page.take() {
            Some(progress) => progress,
            None => {
                self.inspect_page(asked.path, head, &body, record)?;
                Box::new(PageProgress::new(pages))
            }
        };
        let answer = loop {
            match self.advance(&mut progress, &asked) {
                Ok(Next::Answer(answer)) => break answer,
                Ok(Next::Ask(request)) if self.may_ask_store() => {
                    self.guarded.page = Some(progress);
                    return Ok(Step::Decide(Decision::AskValue(Box::new(request))));
                }
                // An outage costs a few requests their deadline, and not all.
                Ok(Next::Ask(_)) => progress.said = Some(ValueAnswer::Failed(StoreFailure::Unreachable)),
                Err(Some(refusal)) => return Err(refusal),
                Err(None) => return Err(wrong_answer(record)),
            }
        };
        if let (Some(id), Some(response_fields)) =
            (progress.session.new_id(), &mut self.guarded.response_fields)
        {
            let mut line = Vec::new();
            sessions::write_cookie(&mut line, id, response_fields.circumstances.secure);
            response_fields.cookie = Some(line.into());
        }
        out.clear();
        let Some(fields_bytes) = write_answer(&answer, out) else { return Err(wrong_answer(record)) };
        let of_type = |(name, _): &&(String, String)| name.eq_ignore_ascii_case("content-type");
        if let Some((_, media_type)) = answer.fields.iter().find(of_type) {
            record.set_content_type(media_type.as_bytes());
        }
        Ok(Step::Decide(Decision::Answer(Answer::Page { status: answer.status, fields_bytes })))
    }

    /// Whether a shared store may be asked now.
    fn may_ask_store(&mut self) -> bool {
        let is_shared = self.guard.is_some_and(|guard| guard.store().is_some());
        !is_shared || self.breaker.may_ask(self.now.monotonic_us)
    }

    /// Takes a request for a page as far as possible without the store. An error without a refusal is a fault of the handler.
    fn advance(&self, progress: &mut PageProgress, asked: &Asked<'_, '_>) -> Result<Next, Option<Refusal>> {
        let cookie = csrf::cookie(asked.head.fields.all("cookie"), sessions::COOKIE);
        let presented = cookie.and_then(|id| std::str::from_utf8(id).ok()).unwrap_or_default();
        // Without an answer the store was not asked, or not in time.
        let said = progress.said.take().unwrap_or(ValueAnswer::Failed(StoreFailure::Late));
        match std::mem::replace(&mut progress.stage, PageStage::Begun) {
            PageStage::Begun => match sessions::load(presented) {
                Some(load) => {
                    progress.stage = PageStage::Loading;
                    Ok(Next::Ask(load))
                }
                None => self.begin_page(progress, asked),
            },
            // By the contract the session is then empty, and any form would count as forged.
            PageStage::Loading
                if matches!(said, ValueAnswer::Failed(_)) && !csrf::is_safe(asked.head.method) =>
            {
                Err(Some(STORE_FAILED))
            }
            PageStage::Loading => {
                let loaded = sessions::loaded(said, self.now.unix_ms());
                progress.session = Session::new(presented, loaded, asked.pages.draw());
                self.begin_page(progress, asked)
            }
            PageStage::AskingStore => self.ask_page(progress, asked, Some(&Told::from(said))),
            PageStage::Saving { must_succeed: true, .. } if matches!(said, ValueAnswer::Failed(_)) => {
                Err(Some(STORE_FAILED))
            }
            PageStage::Saving { answer, writes, .. } => Ok(progress.save(answer, writes)),
        }
    }

    /// Calls the handler for the first time, unless the request may be forged.
    fn begin_page(
        &self,
        progress: &mut PageProgress,
        asked: &Asked<'_, '_>,
    ) -> Result<Next, Option<Refusal>> {
        if !csrf::is_safe(asked.head.method) {
            if let Err(forged) = judge(&progress.session, asked) {
                if let Some(guard) = self.guard {
                    guard.note_forged(forged, &self.asked(asked.head, asked.record), self.now);
                }
                let denial = Denial { cause: Cause::Forged, line: 0, retry_after_s: 0 };
                return Err(Some(Refusal::Guarded(denial)));
            }
        }
        self.ask_page(progress, asked, None)
    }

    /// Calls the handler.
    fn ask_page(
        &self,
        progress: &mut PageProgress,
        asked: &Asked<'_, '_>,
        told: Option<&Told>,
    ) -> Result<Next, Option<Refusal>> {
        let target = asked.path.unwrap_or_default();
        let at = target.iter().position(|byte| *byte == b'?').unwrap_or(target.len());
        let reply = (asked.pages.handler())(&mut PageRequest {
            client: self.client,
            method: asked.head.method,
            host: asked.host,
            path: text(&target[..at]),
            query: text(target.get(at + 1..).unwrap_or_default()),
            body: asked.body,
            session: &mut progress.session,
            told,
            fields: asked.head.fields,
        });
        match reply {
            PageReply::Answer(answer) => progress.end(answer, self.now.unix_ms()).ok_or(None),
            PageReply::Ask(_) if progress.asked >= ASKED_MAX => Err(None),
            PageReply::Ask(ask) => {
                progress.asked += 1;
                progress.stage = PageStage::AskingStore;
                ask.to_request().map(Next::Ask).ok_or(None)
            }
        }
    }
}

impl Transactions {
    /// Handles the store's answer to the question of a page, or its failure.
    pub fn handle_value_answer(
        &mut self,
        cx: &mut Context,
        services: &mut Services,
        job: StoreJob,
        answer: ValueAnswer,
    ) {
        let Some(Awaited::Value { is_shared }) = services.store_waits.awaited(job) else { return };
        let is_shared = *is_shared;
        let Some(waiting) = services.store_waits.take(job) else { return };
        if is_shared {
            services.store_waits.note(cx, waiting.asked_us, answer.failure());
        }
        self.conclude_value(cx, waiting.transaction, job, answer);
    }

    /// Continues a waiting page.
    pub(super) fn conclude_value(
        &mut self,
        cx: &mut Context,
        id: TransactionId,
        job: StoreJob,
        answer: ValueAnswer,
    ) {
        let waits = |transaction: &&mut Transaction| transaction.stage == super::Stage::AskingStore(job);
        let Some(transaction) = self.get_mut(id).filter(waits) else { return };
        transaction.stage = super::Stage::Begun;
        if let Some(progress) = &mut transaction.guarded.page {
            progress.said = Some(answer);
        }
        cx.set_timer(transaction.client, cx.settings.timeouts.exchange_ms);
        cx.send(Effect::Examine(id));
    }
}

/// Whether an unsafe request proves that it comes from a page of this session.
fn judge(session: &Session, asked: &Asked<'_, '_>) -> Result<(), Forged> {
    let fields = asked.head.fields;
    csrf::judge_origin(asked.own_origin, fields)?;
    let of_form = || csrf::form_field(asked.body, csrf::FORM_FIELD).filter(|_| is_form(fields));
    let again = fields.get(csrf::FIELD).or_else(of_form);
    csrf::judge_kept(session.get(csrf::FORM_FIELD).unwrap_or_default().as_bytes(), again)
}

/// A path that is not UTF-8 is a path of no page.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

fn wrong_answer(record: &mut LogRecord) -> Refusal {
    record.set(Text::Reason, WRONG_ANSWER);
    Refusal::Callback(500)
}
