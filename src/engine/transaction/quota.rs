//! The fields by which a client is told what it may still ask for.

use crate::guard::verdict::Quota;
use crate::http::forwarding::{self, Edits};
use crate::policy::edit::HostEdits;

/// The edits of the configuration, and what the client may still ask for.
#[derive(Debug)]
pub(in crate::engine) struct WithQuota<'a> {
    pub edits: &'a HostEdits<'a>,
    pub quota: Option<Quota>,
}

impl Edits for WithQuota<'_> {
    fn removes_nothing(&self) -> bool {
        self.quota.is_none() && self.edits.removes_nothing()
    }

    /// The origin's own fields of these names would be about another limit.
    fn removes(&self, name: &str) -> bool {
        let is_own = |own: &str| name.eq_ignore_ascii_case(own);
        self.edits.removes(name)
            || (self.quota.is_some() && (is_own("ratelimit") || is_own("ratelimit-policy")))
    }

    fn write_added(&self, out: &mut Vec<u8>) {
        self.edits.write_added(out);
        write_quota(self.quota, out);
    }
}

/// Appends what the client may still ask for.
#[inline]
pub(in crate::engine) fn write_quota(quota: Option<Quota>, out: &mut Vec<u8>) {
    let Some(quota) = quota else { return };
    for (name, value) in quota.fields() {
        forwarding::write_field(out, name, value.as_bytes());
    }
}
