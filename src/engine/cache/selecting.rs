//! The fields by which a stored response is selected: those of the request as it goes on to the origin (cache rule 51).
//!
//! A client can take fields out of what the origin sees: Connection names them. If the response were stored under what the
//! client has sent, the answer to the poorer request would be given to all who send the richer one.

use crate::http::block::FieldLines;
use crate::http::forwarding::{ForwardedPolicy, RequestFilter};
use crate::http::head::{Fields, RequestHead};
use crate::http::target::Host;
use crate::policy::Policy;
use crate::policy::edit::{Direction, HostEdits};

/// The fields of one request as the origin sees them, but for those that weir writes for itself: conditions and ranges of
/// the cache, Forwarded, Via.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct AsForwarded<'s, 'b> {
    fields: Fields<'s, 'b>,
    filter: RequestFilter,
    edits: HostEdits<'b>,
}

impl<'s, 'b> AsForwarded<'s, 'b> {
    /// Those of a GET or HEAD without a body that asks for no upgrade: no others are answered from the store.
    pub fn new(
        head: &RequestHead<'s, 'b>,
        host: &'b Host,
        policy: &'b Policy,
        forwarded: ForwardedPolicy,
    ) -> Self {
        let edits = policy.edits.for_host(Direction::Request, host);
        let filter = RequestFilter {
            version: head.version,
            upgrade: false,
            chunked: false,
            counts_hops: false,
            forwarded,
        };
        AsForwarded { fields: head.fields, filter, edits }
    }
}

impl<'b> FieldLines<'b> for AsForwarded<'_, 'b> {
    fn lines(self) -> impl Iterator<Item = (&'b str, &'b [u8])> {
        let edits = self.edits;
        let removes = move |name: &str| edits.removed().any(|removed| removed.eq_ignore_ascii_case(name));
        let kept = self.filter.kept(self.fields, removes);
        kept.chain(self.edits.added().map(|(name, value)| (name, value.as_bytes())))
    }
}
