//! What the answers to requests to a gateway carry besides: security headers, CORS, and cookies of weir's own.

use super::visit::Visit;
use crate::engine::settings::Settings;
use crate::guard::behaviour::Watch;
use crate::guard::headers::{Additions, Author, Circumstances};
use crate::guard::verdict::Quota;
use crate::http::forwarding::{Edits, write_field};
use crate::policy::edit::HostEdits;

/// What the guard has to do with the answer to one request.
#[derive(Debug, Default)]
pub(in crate::engine) struct GuardedAnswer {
    /// What behaviour rules watch of it.
    pub watch: Option<Box<Watch>>,
    /// What it carries besides, if a gateway or a page was asked.
    pub dressing: Option<Dressing>,
    /// How far the page has come that is to answer.
    pub visit: Option<Box<Visit>>,
}

/// What the answer to one request to a gateway depends on.
#[derive(Clone, Debug, Default)]
pub(in crate::engine) struct Dressing {
    pub circumstances: Circumstances,
    /// A line Set-Cookie, if the answer sets one.
    pub cookie: Option<Box<[u8]>>,
}

impl Dressing {
    /// What an answer with these fields gets besides.
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

/// The edits of the configuration, what the client may still ask for, and what the answers of a gateway carry besides.
#[derive(Debug)]
pub(in crate::engine) struct ResponseEdits<'a> {
    pub edits: &'a HostEdits<'a>,
    pub quota: Option<Quota>,
    pub additions: Option<Additions<'a>>,
    pub cookie: &'a [u8],
}

impl ResponseEdits<'_> {
    /// Whether there is nothing beside the edits of the configuration.
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

/// Appends what the client may still ask for.
#[inline]
pub(in crate::engine) fn write_quota(quota: Option<Quota>, out: &mut Vec<u8>) {
    let Some(quota) = quota else { return };
    for (name, value) in quota.fields() {
        write_field(out, name, value.as_bytes());
    }
}
