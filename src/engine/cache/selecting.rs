//! The fields that select a stored response: those of the request as it is forwarded to the origin (cache rule 51).
//!
//! A client can remove fields from the forwarded request: Connection names them. If the response were stored under the
//! client's fields, the response to the reduced request would be given to all clients that send the full one.

use crate::gateway::fields::{GatewayFilter, is_in_key};
use crate::http::block::FieldLines;
use crate::http::forwarding::{ForwardedPolicy, RequestFilter};
use crate::http::head::{Fields, RequestHead, Version};
use crate::http::target::Host;
use crate::policy::Policy;
use crate::policy::edit::{Direction, HostEdits};

/// The fields of one request as the origin gets them, without those that weir writes for itself: conditions and ranges of the
/// cache, Forwarded, Via.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct AsForwarded<'s, 'b> {
    fields: Fields<'s, 'b>,
    filter: RequestFilter,
    edits: HostEdits<'b>,
    /// The fields that a gateway does not forward.
    by_gateway: Option<GatewayFilter>,
}

impl<'s, 'b> AsForwarded<'s, 'b> {
    /// The fields of a GET or HEAD without a body and without an upgrade: no other requests are answered from the store.
    pub fn new(
        head: &RequestHead<'s, 'b>,
        host: &'b Host,
        policy: &'b Policy,
        forwarded: ForwardedPolicy,
        by_gateway: Option<GatewayFilter>,
    ) -> Self {
        let edits = policy.edits.for_host(Direction::Request, host);
        let filter = RequestFilter {
            expects: head.version == Version::Http11,
            upgrade: false,
            chunked: false,
            counts_hops: false,
            forwarded,
        };
        AsForwarded { fields: head.fields, filter, edits, by_gateway }
    }
}

impl<'b> FieldLines<'b> for AsForwarded<'_, 'b> {
    fn lines(self) -> impl Iterator<Item = (&'b str, &'b [u8])> {
        let (edits, by_gateway) = (self.edits, self.by_gateway);
        let removes = move |name: &str| {
            edits.removed().any(|removed| removed.eq_ignore_ascii_case(name))
                || by_gateway.is_some_and(|filter| filter.removes(name) || is_in_key(name))
        };
        let kept = self.filter.kept(self.fields, removes);
        kept.chain(self.edits.added().map(|(name, value)| (name, value.as_bytes())))
    }
}
