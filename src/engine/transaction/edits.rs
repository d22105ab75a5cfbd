//! Edits of a forwarded request beside those of configuration: by the cache, and by the gateway.

use crate::cache::rfc::range;
use crate::cache::rfc::validation::{CONDITIONAL_FIELDS, Validators};
use crate::cache::store::stored::Stored;
use crate::engine::cache::state::Caching;
use crate::gateway::fields::{GatewayFilter, HOST, PROTO};
use crate::http::forwarding::{self, Edits};
use crate::http::target::Authority;

/// Edits of a request that validates a stored response, asks for its missing bytes, or fetches it anew for all clients: conditions and
/// range are the cache's own (rules 24, 31 and 35). A part is validated with the client's range: if the representation has changed, the client gets its
/// range of the new one (RFC 9110 section 13.2.2: If-None-Match comes first).
#[derive(Debug)]
pub(super) struct OwnConditions<'a> {
    edits: &'a dyn Edits,
    /// `None`: the response is fetched without conditions.
    stored: Option<&'a Stored>,
    missing: Option<range::Part>,
}

impl<'a> OwnConditions<'a> {
    /// The edits for what the cache asks the origin for, if it asks for something of its own.
    pub fn of(caching: &'a Caching, edits: &'a dyn Edits) -> Option<OwnConditions<'a>> {
        let (stored, missing) = match (caching.to_validate(), caching.to_complete()) {
            (Some(stored), _) => (Some(&**stored), None),
            (None, Some((stored, missing))) => (Some(&**stored), Some(missing)),
            (None, None) if caching.fetches_for_all() => (None, None),
            (None, None) => return None,
        };
        Some(OwnConditions { edits, stored, missing })
    }
}

impl Edits for OwnConditions<'_> {
    fn removes_nothing(&self) -> bool {
        false
    }

    fn removes(&self, name: &str) -> bool {
        let is_one_of = |fields: &[&str]| fields.iter().any(|field| field.eq_ignore_ascii_case(name));
        let validates_part =
            self.missing.is_none() && self.stored.is_some_and(|stored| stored.fragment().is_some());
        let kept = validates_part && is_one_of(&["range", "if-range"]);
        self.edits.removes(name) || (is_one_of(&CONDITIONAL_FIELDS) && !kept)
    }

    fn write_added(&self, out: &mut Vec<u8>) {
        self.edits.write_added(out);
        let Some(stored) = self.stored else { return };
        let validators = Validators::read(stored.block());
        let Some(missing) = self.missing else {
            for (name, value) in validators.conditions() {
                forwarding::write_field(out, name, value);
            }
            return;
        };
        range::write_range(out, missing);
        // If the representation has changed, the whole new one is sent.
        if let Some(tag) = validators.etag {
            forwarding::write_field(out, "If-Range", tag);
        }
    }
}

/// Edits of a request by the gateway, beside those of configuration: the client's claims about itself are not forwarded, and
/// neither are fields that CGI and WSGI would take for others.
#[derive(Debug)]
pub(super) struct GatewayEdits<'a> {
    pub edits: &'a dyn Edits,
    /// The requested host.
    pub asked: &'a Authority,
    /// The fields that it does not forward.
    pub filter: GatewayFilter,
    /// Whether a trusted proxy tells scheme and host, which are then forwarded. Otherwise weir writes them, in place of received ones.
    pub told: [bool; 2],
}

impl GatewayEdits<'_> {
    /// Whether weir writes a field of this name itself.
    fn writes(&self, name: &str) -> bool {
        let [proto_told, host_told] = self.told;
        (!proto_told && name.eq_ignore_ascii_case(PROTO)) || (!host_told && name.eq_ignore_ascii_case(HOST))
    }
}

impl Edits for GatewayEdits<'_> {
    fn removes_nothing(&self) -> bool {
        false
    }

    fn removes(&self, name: &str) -> bool {
        self.filter.removes(name) || self.writes(name) || self.edits.removes(name)
    }

    fn write_added(&self, out: &mut Vec<u8>) {
        let [proto_told, host_told] = self.told;
        if !proto_told && !self.edits.removes(PROTO) {
            forwarding::write_field(out, PROTO, b"http");
        }
        if !host_told && !self.edits.removes(HOST) {
            out.extend_from_slice(b"X-Forwarded-Host: ");
            self.asked.write(out, Some(80));
            out.extend_from_slice(b"\r\n");
        }
        self.edits.write_added(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateway_14_what_strangers_say_of_a_client_is_not_passed_on() {
        let asked = Authority::parse(b"app.example", Some(80)).unwrap();
        let filter = GatewayFilter { is_trusted: false, allows_underscores: false };
        let stranger = GatewayEdits { edits: &(), asked: &asked, filter, told: [false; 2] };
        for name in ["X-Forwarded-Proto", "x-forwarded-host", "X-Forwarded-Port", "X-Real-IP", "PROXY"] {
            assert!(stranger.removes(name), "{name}");
        }
        // weir writes this field itself, in place of the received one.
        assert!(!stranger.removes("X-Forwarded-For"));
        let mut added = Vec::new();
        stranger.write_added(&mut added);
        assert_eq!(added, b"X-Forwarded-Proto: http\r\nX-Forwarded-Host: app.example\r\n");
        let filter = GatewayFilter { is_trusted: true, ..filter };
        let trusted = GatewayEdits { filter, told: [true; 2], ..stranger };
        assert!(!trusted.removes("X-Forwarded-Proto") && !trusted.removes("X-Real-IP"));
        let told_otherwise = GatewayEdits { told: [false; 2], ..trusted };
        assert!(told_otherwise.removes("X-Forwarded-Proto") && told_otherwise.removes("x-forwarded-host"));
        assert!(!told_otherwise.removes("X-Forwarded-Port"));
        added.clear();
        trusted.write_added(&mut added);
        assert!(added.is_empty());
    }
}
