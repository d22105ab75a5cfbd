//! Further fields of responses to requests to a gateway: security headers, CORS, and weir's own cookies.

use super::page_progress::PageProgress;
use crate::engine::settings::Settings;
use crate::guard::behaviour::Watch;
use crate::guard::headers::{Additions, Author, Circumstances};
use crate::guard::verdict::Quota;
use crate::http::forwarding::{Edits, write_field};
use crate::policy::edit::HostEdits;

/// The guard's part of the response to one request.
#[derive(Debug, Default)]
pub(in crate::engine) struct GuardedAnswer {
    /// The watch of the behaviour rules on the response.
    pub watch: Option<Box<Watch>>,
    /// The further fields of the response, for a gateway or a page.
    pub response_fields: Option<ResponseFields>,
    /// The progress of the page that answers.
    pub page: Option<Box<PageProgress>>,
    /// The request has caused the ban of its client itself, and is not cut because of it.
    pub outlives_ban: bool,
}

/// The facts that decide about the further fields of one response.
#[derive(Clone, Debug, Default)]
pub(in crate::engine) struct ResponseFields {
    pub circumstances: Circumstances,
    /// The value of Set-Cookie, if the response sets a cookie.
    pub cookie: Option<Box<[u8]>>,
}

impl ResponseFields {
    /// The further fields of a response that has these fields.
    pub fn additions<'a, 'n>(
        &self,
        settings: &'a Settings,
        author: Author,
        fields: impl Iterator<Item = (&'n str, &'n [u8])>,
    ) -> Additions<'a> {
        settings.security_headers().for_answer(author, self.circumstances, fields)
    }

    /// The line Set-Cookie of weir's own.
    pub fn cookie(&self) -> &[u8] {
        self.cookie.as_deref().unwrap_or_default()
    }
}

/// The edits of the configuration, the client's remaining quota, and the further fields of a gateway's responses.
#[derive(Debug)]
pub(in crate::engine) struct ResponseEdits<'a> {
    pub edits: &'a HostEdits<'a>,
    pub quota: Option<Quota>,
    pub additions: Option<Additions<'a>>,
    pub cookie: &'a [u8],
}

impl ResponseEdits<'_> {
    /// Whether only the edits of the configuration apply.
    pub fn is_empty(&self) -> bool {
        self.quota.is_none() && self.additions.is_none() && self.cookie.is_empty()
    }
}

impl Edits for ResponseEdits<'_> {
    fn removes_nothing(&self) -> bool {
        self.quota.is_none()
            && self.edits.removes_nothing()
            && self.additions.as_ref().is_none_or(Edits::removes_nothing)
    }

    /// The origin's own fields of these names would be about another limit.
    fn removes(&self, name: &str) -> bool {
        let is_own = |own: &str| name.eq_ignore_ascii_case(own);
        self.edits.removes(name)
            || (self.quota.is_some() && (is_own("ratelimit") || is_own("ratelimit-policy")))
            || self.additions.as_ref().is_some_and(|additions| additions.removes(name))
    }

    fn write_added(&self, out: &mut Vec<u8>) {
        self.edits.write_added(out);
        write_quota(self.quota, out);
        if let Some(additions) = &self.additions {
            additions.write_added(out);
        }
        out.extend_from_slice(self.cookie);
    }
}

/// Appends the fields with the client's remaining quota.
#[inline]
pub(in crate::engine) fn write_quota(quota: Option<Quota>, out: &mut Vec<u8>) {
    let Some(quota) = quota else { return };
    for (name, value) in quota.fields() {
        write_field(out, name, value.as_bytes());
    }
}
