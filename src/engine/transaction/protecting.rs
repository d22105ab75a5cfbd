//! The guard's own responses for a gateway, and requests that may be forged (guard semantics, sections 7 and 9).

use super::answer::Answer;
use super::collecting::{Collected, OfLonger, collected};
use super::examine::{Decision, Examiner, Step};
use super::log_record::LogRecord;
use super::refusal::Refusal;
use super::request::RequestInfo;
use super::response_fields::ResponseFields;
use crate::engine::pages::is_form;
use crate::gateway::fields::{HOST, PROTO};
use crate::guard::csrf::{self, Forged, Key};
use crate::guard::directives::CsrfLine;
use crate::guard::headers::report;
use crate::guard::inspection::media;
use crate::guard::rules::Guard;
use crate::http::head::RequestHead;
use crate::http::message::Fields;
use crate::http::path::EitherPath;
use crate::http::target::Target;
use crate::http::web_origin::WebOrigin;
use crate::part::guard::Lent;

impl Examiner<'_> {
    /// Records the facts for the further fields of the response. A forward proxy needs none: its responses are other servers'.
    pub(super) fn prepare_fields(&mut self, fields: Fields<'_, '_>) {
        if self.gateway.is_none() {
            return;
        }
        let secure = self.is_secure(fields);
        let circumstances = self.settings.security_headers().circumstances(secure, fields);
        self.guarded.response_fields = Some(ResponseFields { circumstances, cookie: None });
    }

    /// Records the facts for the further fields of a page's response.
    pub(super) fn prepare_page_fields(&mut self, fields: Fields<'_, '_>) {
        let secure = self.pages.is_some_and(|pages| pages.is_secure()) || self.is_secure(fields);
        let circumstances = self.settings.security_headers().circumstances(secure, fields);
        self.guarded.response_fields = Some(ResponseFields { circumstances, cookie: None });
    }

    /// The origin of this site's forms. `None` if a trusted proxy names a host that is none.
    pub(super) fn own_origin(
        &self,
        head: &RequestHead<'_, '_>,
        target: &Target<'_>,
        info: &RequestInfo,
    ) -> Option<WebOrigin> {
        let secure = self
            .guarded
            .response_fields
            .as_ref()
            .is_some_and(|response_fields| response_fields.circumstances.secure);
        if let Some(host) = self.told(head.fields, HOST) {
            return WebOrigin::of_host(secure, host);
        }
        match (target, head.fields.get("host")) {
            (Target::Origin { .. } | Target::Asterisk, Some(host)) => WebOrigin::of_host(secure, host),
            (
                Target::Absolute { .. } | Target::Authority(_) | Target::Origin { .. } | Target::Asterisk,
                _,
            ) => Some(WebOrigin::requested(secure, info.authority)),
        }
    }

    /// Whether the client speaks TLS, to a trusted proxy before weir.
    pub(super) fn is_secure(&self, fields: Fields<'_, '_>) -> bool {
        self.told(fields, PROTO).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"https"))
    }

    /// The response to a preflight, if the guard file has rules for other origins: an OPTIONS request with Origin and
    /// Access-Control-Request-Method (Fetch standard).
    pub(super) fn answer_preflight(&self, head: &RequestHead<'_, '_>, out: &mut Vec<u8>) -> Option<Step> {
        let response_fields = self.guarded.response_fields.as_ref()?;
        let cors = self.settings.security_headers().cors()?;
        let method = head.fields.get("access-control-request-method").filter(|_| head.method == "OPTIONS")?;
        head.fields.get("origin")?;
        let headers: Vec<&[u8]> = head.fields.all("access-control-request-headers").collect();
        let preflight = cors.preflight(response_fields.circumstances.admitted, method, &headers);
        out.clear();
        out.extend_from_slice(b"Content-Type: text/plain; charset=utf-8\r\n");
        out.extend_from_slice(&preflight.fields);
        let fields_bytes = out.len();
        out.extend_from_slice(preflight.body.as_bytes());
        Some(Step::Decide(Decision::Answer(Answer::Preflight { status: preflight.status, fields_bytes })))
    }

    /// Handles preflights, reports of browsers, and tokens. May wait for the body.
    pub(super) fn protect(
        &mut self,
        head: &RequestHead<'_, '_>,
        target: &Target<'_>,
        info: &RequestInfo,
        record: &LogRecord,
        out: &mut Vec<u8>,
    ) -> Result<Step, Refusal> {
        let (Some(guard), Some(_)) = (self.guard, self.gateway) else { return Ok(self.behind_guard(info)) };
        if let Some(answer) = self.answer_preflight(head, out) {
            return Ok(answer);
        }
        let subject = self.subject(head, target, info, record);
        let path = subject.path.map(|path| EitherPath::new(path, out));
        if path.as_ref().is_some_and(|path| guard.headers().takes_reports_at(path.form())) {
            return self.take_report(guard, head, info, record, out);
        }
        let lines: Vec<&CsrfLine> = guard.protecting(&subject, path.as_ref()).collect();
        out.clear();
        let (Some(first), Some(key)) = (lines.first(), guard.key()) else {
            return Ok(self.behind_protection(guard, info));
        };
        if !csrf::is_safe(head.method) {
            let own = self.own_origin(head, target, info);
            for line in &lines {
                let judged = match session(head, line) {
                    Ok(session) => self.is_forged(key, session, head, own, info)?,
                    Err(forged) => Some(Err(forged)),
                };
                let Some(judged) = judged else { return Ok(Step::Decide(Decision::Collect)) };
                if let Err(forged) = judged {
                    let asked = self.asked(head, record);
                    if let Err(denial) = guard.refuse_forged(line, forged, &asked, self.now) {
                        self.set_token(guard, key, first, head);
                        return Err(Refusal::Guarded(denial));
                    }
                }
            }
        }
        self.set_token(guard, key, first, head);
        Ok(self.behind_protection(guard, info))
    }

    /// Sets the cookie for the next request with the answer, unless the client has a valid token.
    fn set_token(&mut self, guard: Lent<'_, Guard>, key: &Key, line: &CsrfLine, head: &RequestHead<'_, '_>) {
        let token = csrf::cookie(head.fields.all("cookie"), csrf::COOKIE);
        let has_none = |session: &&[u8]| !token.is_some_and(|token| key.is_token(session, token));
        if let Some(session) = session(head, line).ok().filter(has_none) {
            let token = key.token(session, guard.state().unique(self.now));
            if let Some(response_fields) = &mut self.guarded.response_fields {
                let mut line = Vec::new();
                csrf::write_cookie(&mut line, &token, response_fields.circumstances.secure);
                response_fields.cookie = Some(line.into());
            }
        }
    }

    /// Whether an unsafe request lacks the proof that it comes from a page of this site. `None`: more of the body must arrive.
    fn is_forged(
        &self,
        key: &Key,
        session: &[u8],
        head: &RequestHead<'_, '_>,
        own: Option<WebOrigin>,
        info: &RequestInfo,
    ) -> Result<Option<Result<(), Forged>>, Refusal> {
        let fields = head.fields;
        if let Err(forged) = csrf::judge_origin(own, fields) {
            return Ok(Some(Err(forged)));
        }
        let cookie = csrf::cookie(fields.all("cookie"), csrf::COOKIE);
        if let Some(again) = fields.get(csrf::FIELD) {
            return Ok(Some(key.judge(session, cookie, Some(again))));
        }
        let boundary = media::boundary_of(fields.get("content-type").unwrap_or_default());
        if !is_form(fields) && boundary.is_none() {
            return Ok(Some(Err(Forged::Missing)));
        }
        match collected(info.body, self.behind, OfLonger::Beginning).map_err(Refusal::Fault)? {
            Collected::Part => Ok(None),
            Collected::TooLong => Ok(Some(Err(Forged::Missing))),
            Collected::Whole(form) => {
                let again = match &boundary {
                    Some(boundary) => csrf::part(&form, boundary, csrf::FORM_FIELD),
                    None => csrf::form_field(&form, csrf::FORM_FIELD),
                };
                Ok(Some(key.judge(session, cookie, again)))
            }
        }
    }

    /// Takes the report of a browser.
    fn take_report(
        &self,
        guard: Lent<'_, Guard>,
        head: &RequestHead<'_, '_>,
        info: &RequestInfo,
        record: &LogRecord,
        out: &mut Vec<u8>,
    ) -> Result<Step, Refusal> {
        out.clear();
        let (status, text) = match head.method {
            "POST" => match collected(info.body, self.behind, OfLonger::Nothing).map_err(Refusal::Fault)? {
                Collected::Part => return Ok(Step::Decide(Decision::Collect)),
                Collected::TooLong => (report::Invalid::TooLong.status(), "The report is too long.\n"),
                Collected::Whole(body) => {
                    match report::read(head.fields.get("content-type").unwrap_or_default(), &body) {
                        Ok(reports) => {
                            guard.note_reports(reports, &self.asked(head, record), self.now);
                            (204, "")
                        }
                        Err(invalid) => (invalid.status(), "Not a report.\n"),
                    }
                }
            },
            _ => {
                out.extend_from_slice(b"Allow: POST\r\n");
                (405, "Reports are sent with POST.\n")
            }
        };
        if !text.is_empty() {
            out.extend_from_slice(b"Content-Type: text/plain; charset=utf-8\r\n");
        }
        let fields_bytes = out.len();
        out.extend_from_slice(text.as_bytes());
        Ok(Step::Decide(Decision::Answer(Answer::Guard { status, fields_bytes })))
    }
}

/// The session that a line names.
fn session<'r>(head: &RequestHead<'_, 'r>, line: &CsrfLine) -> Result<&'r [u8], Forged> {
    csrf::session(head.fields.all("cookie"), &line.session_cookie)
}
