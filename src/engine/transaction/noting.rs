//! Records facts of a request head in the log record.

use super::Transaction;
use super::examine::Examiner;
use super::log_record::{LogRecord, Text};
use crate::engine::upstream::route::Route;
use crate::http::fault::Fault;
use crate::http::head::{RequestHead, Version};
use crate::http::target::{Authority, Target};
use crate::policy::acl::Grant;
use std::net::SocketAddr;

/// RFC 9110 section 10.1.5.
pub(super) const AGENT_FIELD: &str = "user-agent";

impl Examiner<'_> {
    pub(super) fn note_head(&self, head: &RequestHead<'_, '_>, record: &mut LogRecord) {
        record.set(Text::Method, head.method.as_bytes());
        record.minor_version = Some(match head.version {
            Version::Http10 => 0,
            Version::Http11 => 1,
        });
        for (text, name) in [(Text::Agent, AGENT_FIELD), (Text::Referrer, "referer")] {
            if self.is_noted(text) {
                record.set(text, head.fields.get(name).unwrap_or_default());
            }
        }
    }

    /// Records the target. A target that may contain a password is recorded without its authority (rule 7).
    pub(super) fn note_target(
        &self,
        head: &RequestHead<'_, '_>,
        target: &Result<Target<'_>, Fault>,
        record: &mut LogRecord,
    ) {
        match target {
            Err(Fault::Userinfo) => record.set(Text::Target, b"(userinfo withheld)"),
            Err(_) if head.target.contains(&b'@') || head.target.windows(3).any(|three| three == b"%40") => {
                record.set(Text::Target, b"(malformed, withheld)");
            }
            Ok(_) | Err(_) => record.set_target(b"", head.target),
        }
    }

    /// Notes the URL that a target in origin-form means.
    pub(super) fn note_url(
        &self,
        authority: &Authority,
        path: &[u8],
        record: &mut LogRecord,
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(b"http://");
        authority.write(out, Some(80));
        record.set_target(out, path);
        out.clear();
    }
}

impl Transaction {
    /// Records the rule that allows the address of the response's source, which was judged by this grant, if no rule for the
    /// requested name has allowed the request before. Addresses of the gateway's upstreams are not judged.
    pub fn note_allowing_rule(
        &mut self,
        grant: Option<Grant>,
        address: Option<SocketAddr>,
        scratch: &mut Vec<u8>,
    ) {
        let acl = &self.policy.acl;
        if !self.settings.noted.contains(Text::Reason) {
            return;
        }
        let is_judged = match self.info.route {
            Route::Direct => self.routing.is_none(),
            Route::Chosen(_) => true,
            Route::Configured(_) => false,
        };
        let decided = !is_judged || self.info.grant.is_some_and(|grant| grant.by.is_some());
        let Some((grant, address)) = grant.zip(address).filter(|_| !decided) else { return };
        let by_address = || acl.decide_address(&grant, address.ip(), address.port()).ok().flatten();
        let rule = grant.by.or_else(|| acl.allows_addresses().then(by_address).flatten());
        if rule.is_none() && self.record.text(Text::Reason).is_empty() {
            return;
        }
        scratch.clear();
        if let Some(rule) = rule {
            acl.locate(rule).write(scratch);
        }
        self.record.set(Text::Reason, scratch);
    }
}
