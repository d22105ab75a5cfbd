//! Requests to the gateway: the route of a request, its upstream, and the next upstream after a failure.
//!
//! | state of a [`Routing`] | what moves it on |
//! | --- | --- |
//! | none: the request is for a forward proxy | |
//! | *found*, without a lease | `Identify` has found the route of host and path |
//! | *leased* | `Route` has chosen an upstream, or a failed one had a successor |
//! | *answered*, with the lease | the final head: the upstream has succeeded or failed; the lease ends with the transaction |
//!
//! A request is sent to another upstream while nothing of it was sent, or if sending it twice has the same effect (RFC 9110
//! section 9.2.2) and its whole body is still in memory; as often as its route allows.

use super::Transaction;
use super::edits::GatewayEdits;
use super::examine::Examiner;
use super::machine::{Services, Transactions};
use super::refusal::Refusal;
use super::request::{Phase, RequestInfo};
use crate::cache::rfc::key::Scheme;
use crate::engine::context::Context;
use crate::engine::effect::Effect;
use crate::engine::ids::TransactionId;
use crate::engine::upstream::pinning::Pinning;
use crate::engine::upstream::route::Route;
use crate::engine::upstream::routing::{Routing, Unrouted};
use crate::gateway::directives::HostField;
use crate::gateway::fields::{GatewayFilter, HOST, PROTO, Requested};
use crate::gateway::rules::{Gateway, GatewayRoute, Miss};
use crate::gateway::upstream::Failed;
use crate::http::fault::Fault;
use crate::http::forwarding::{self, Edits, ForwardedPolicy};
use crate::http::framing::Body;
use crate::http::head::Scanner;
use crate::http::message::Fields;
use crate::http::target::{Authority, Host, Target};
use crate::http::web_origin::WebOrigin;
use crate::net::Purpose;
use crate::part;
use crate::part::guard::{Lent, lasting};
use crate::policy::acl;
use crate::policy::edit::Direction;
use std::net::IpAddr;

impl<'a> Examiner<'a> {
    /// Finds the route of a request that arrived at a listener of the gateway.
    pub(super) fn find_route(
        &mut self,
        gateway: Lent<'_, Gateway>,
        target: &Target<'_>,
        authority: &Authority,
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        let path = match target {
            Target::Absolute { path, .. } | Target::Origin { path } => *path,
            Target::Authority(_) => return Err(Refusal::Unrouted(Unrouted::Connect)),
            Target::Asterisk if gateway.has_host(authority) => return Ok(()),
            Target::Asterisk => return Err(Refusal::Unrouted(Unrouted::Host)),
        };
        let found = gateway.find(authority, path, out);
        let filter = GatewayFilter {
            is_trusted: self.is_peer_trusted(),
            allows_underscores: gateway.allows_underscores,
        };
        let routing = found.map(|found| Routing::begin(found.index, found.path_at, filter));
        out.clear();
        *self.routing = routing.map_err(|miss| {
            Refusal::Unrouted(match miss {
                Miss::Host => Unrouted::Host,
                Miss::Path => Unrouted::Path,
                Miss::Refused(fault) => Unrouted::Faulty(fault),
            })
        })?;
        Ok(())
    }

    /// Notes the scheme that a trusted proxy names to the upstreams, and whether its fields tell them of another URL than the
    /// request's: their answers may depend on both.
    pub(super) fn note_told(&self, fields: Fields<'_, '_>, target: &Target<'_>, info: &mut RequestInfo) {
        let secure = self.is_secure(fields);
        info.scheme = if secure { Scheme::Https } else { Scheme::Http };
        // Only a cache must know.
        if self.cache.is_none() || !self.is_peer_trusted() {
            return;
        }
        let path = match target {
            Target::Absolute { path, .. } | Target::Origin { path } => *path,
            Target::Authority(_) | Target::Asterisk => b"",
        };
        let requested = Requested { origin: WebOrigin::requested(secure, info.authority), secure, path };
        let told = [PROTO, HOST].map(|name| (name, self.told(fields, name)));
        let told = told.into_iter().filter_map(|(name, value)| Some((name, value?)));
        // Upstreams do not get all of them.
        let edits = self.policy.edits.for_host(Direction::Request, &info.authority.host);
        let removed = |name: &str| edits.removed().any(|removed| removed.eq_ignore_ascii_case(name));
        let forwarded = |name: &str| !removed(name) && forwarding::is_end_to_end(fields, name);
        let lines = fields.iter().filter(|(name, _)| forwarded(name));
        info.tells_other_url = requested.is_told_otherwise(lines, told);
    }

    /// Judges a request to the gateway. The gateway file already names the possible destinations, so only rules that block a
    /// host apply, and none that exist for a forward proxy: allowlists, ports, built-in blocks.
    pub(super) fn judge_routed(&self, authority: &Authority) -> Result<acl::Grant, Refusal> {
        let (acl, port) = (&self.policy.acl, authority.port);
        let judged = match &authority.host {
            Host::Name(name) => acl.judge_name(name, port),
            Host::Address(address) => {
                let grant = acl::Grant::default();
                acl.judge_address(&grant, *address, port).map(|()| grant)
            }
        };
        match judged {
            Ok(grant) => Ok(acl::Grant { undecided: false, ..grant }),
            Err(refusal @ (acl::Refusal::Rule(_) | acl::Refusal::Client)) => Err(Refusal::Denied(refusal)),
            Err(
                acl::Refusal::BuiltIn(_)
                | acl::Refusal::OwnListener
                | acl::Refusal::NotOnAllowlist
                | acl::Refusal::Port { .. },
            ) => Ok(acl::Grant::default()),
        }
    }

    /// Chooses the upstream that gets a request, unless one was chosen in place of one that has failed.
    pub(super) fn choose_upstream(&mut self, info: &mut RequestInfo) -> Result<(), Refusal> {
        let (Some(gateway), Some(routing)) = (self.gateway, self.routing.as_mut()) else { return Ok(()) };
        // A callback may have chosen the destination.
        if routing.lease.is_some() || matches!(info.route, Route::Chosen(_)) {
            return Ok(());
        }
        let Some(route) = gateway.route(routing.route) else { return Ok(()) };
        let pinned = self.upstreams.pool.pinned_hop(self.peer).filter(|hop| hop.configured);
        let pinned = pinned.and_then(|hop| route.choose_pinned(hop.authority));
        let chosen = pinned.or_else(|| route.choose(self.client, routing.tried, self.now.common_ms()));
        let Some(chosen) = chosen else {
            let retry_after_s = route.retry_after_s().min(u16::MAX.into()) as u16;
            return Err(Refusal::Unrouted(Unrouted::NoUpstream { retry_after_s }));
        };
        info.route = Route::Configured(routing.take(chosen));
        Ok(())
    }

    /// Chooses another upstream of the route than those that were chosen so far. False if there is none.
    pub(super) fn choose_another(&mut self, info: &mut RequestInfo) -> bool {
        let (Some(gateway), Some(routing)) = (self.gateway, self.routing.as_mut()) else { return false };
        let route = gateway.route(routing.route).filter(|_| !matches!(info.route, Route::Chosen(_)));
        let chosen = route.and_then(|route| route.choose(self.client, routing.tried, self.now.common_ms()));
        let Some(chosen) = chosen else { return false };
        info.route = Route::Configured(routing.take(chosen));
        true
    }

    /// The route of a request to the gateway.
    pub(super) fn routed(&self) -> Option<(Lent<'a, Gateway>, &'a GatewayRoute, &Routing)> {
        let (gateway, routing) = (self.gateway?, self.routing.as_ref()?);
        Some((gateway, lasting(gateway).route(routing.route)?, routing))
    }

    /// The handling of X-Forwarded-For and Forwarded: values of an untrusted peer are dropped, those of a trusted proxy are kept.
    pub(super) fn forwarded_by_gateway(&self) -> ForwardedPolicy {
        match self.is_peer_trusted() {
            true => ForwardedPolicy::Append,
            false => ForwardedPolicy::Replace,
        }
    }

    /// What a trusted proxy tells in a field of this name: the value that the upstream gets, too. `None` if there are several lines,
    /// of which an upstream might read another one, or if Connection names the field, which then ends at weir.
    pub(super) fn told<'r>(&self, fields: Fields<'_, 'r>, name: &str) -> Option<&'r [u8]> {
        let mut lines = fields.all(name);
        let told = lines.next().filter(|_| self.is_peer_trusted())?;
        (lines.next().is_none() && forwarding::is_end_to_end(fields, name)).then_some(told)
    }

    /// The edits of a request to the gateway, beside those of configuration.
    pub(super) fn gateway_edits<'e>(
        &self,
        filter: GatewayFilter,
        fields: Fields<'_, '_>,
        asked: &'e Authority,
        edits: &'e dyn Edits,
    ) -> GatewayEdits<'e> {
        let told = [PROTO, HOST].map(|name| self.told(fields, name).is_some());
        GatewayEdits { edits, asked, filter, told }
    }

    pub(super) fn is_peer_trusted(&self) -> bool {
        // Also for a request of weir's own, which has the fields of a client's.
        let guard = part::guard::lend(self.settings.guard.as_ref());
        guard.is_some_and(|guard| self.peer_address.is_some_and(|peer: IpAddr| guard.trusts(peer)))
    }
}

/// The failure of an upstream that caused a refusal, if one did.
fn failure(refusal: Refusal, was_sent: bool) -> Option<Failed> {
    match refusal {
        Refusal::Connect(_) | Refusal::Dns(_) if !was_sent => Some(Failed::Connect),
        // The upstream has answered, with more than the limits of weir: what a client asks for can cause that.
        Refusal::OriginFault(Fault::HeadTooLarge | Fault::TooManyFields) | Refusal::TooManyInformational => {
            None
        }
        Refusal::Connect(_)
        | Refusal::OriginClosed
        | Refusal::OriginIncomplete
        | Refusal::OriginFault(_)
        | Refusal::UpgradeUnasked => Some(Failed::Reset),
        Refusal::OriginTimeout => Some(Failed::Timeout),
        // Failures that are not the upstream's.
        _ => None,
    }
}

impl Transactions {
    /// Tries another upstream of the route, if there is one and the request may be sent to it. Called before a refusal is
    /// written.
    pub(super) fn fail_over(
        &mut self,
        cx: &mut Context,
        services: &mut Services,
        id: TransactionId,
        refusal: Refusal,
    ) -> bool {
        let Some(transaction) = self.get_mut(id) else { return false };
        if transaction.routing.is_none() || transaction.is_answering() {
            return false;
        }
        let (untouched, harmless) = (transaction.up.sent == 0, transaction.may_be_sent_again());
        // A client that goes on waiting for a 100 may be what keeps the upstream silent (RFC 9110 section 10.1.1).
        if refusal == Refusal::OriginTimeout && transaction.may_wait() {
            return false;
        }
        let Some(failed) = failure(refusal, !untouched) else { return false };
        let Some(next) = transaction.next_upstream(cx, failed, untouched || harmless) else { return false };
        cx.metrics.gateway_retries += 1;
        self.detach(cx, services, id);
        let Some(transaction) = self.get_mut(id) else { return false };
        transaction.upstream_use.pinning = Pinning::None;
        transaction.incoming.scanner = Scanner::default();
        transaction.record.origin_reused = false;
        transaction.info.route = Route::Configured(next);
        let chunked = transaction.info.body_out == Body::Chunked;
        // The head was written for a hop that speaks HTTP/1.1, as far as is known.
        let is_unfit = (chunked || transaction.info.expects_continue)
            && services.upstreams.pool.speaks_http10(cx.now.monotonic_ms(), &next);
        let effect = if !untouched || (is_unfit && transaction.has_body_in_hand()) {
            transaction.take_back(cx);
            Effect::Examine(id)
        } else if is_unfit && chunked {
            Effect::Refuse(id, Refusal::LengthRequired)
        } else if transaction.rewrite_host(cx) {
            Effect::Connect(id)
        } else {
            Effect::Refuse(id, Refusal::NoMemory)
        };
        cx.send(effect);
        true
    }
}

impl Transaction {
    /// Whether the sent bytes may be sent again, to any server, and are still in memory.
    pub(super) fn may_be_sent_again(&self) -> bool {
        self.info.method.is_idempotent() && self.has_body_in_hand()
    }

    /// Whether another upstream may still be tried.
    pub(super) fn has_more_upstreams(&self) -> bool {
        self.route().is_some_and(|(route, routing)| {
            routing.tried.count_ones() <= u32::from(route.retries) && route.upstreams() > 1
        })
    }

    fn route(&self) -> Option<(&GatewayRoute, &Routing)> {
        let (gateway, routing) = (self.settings.gateway.as_ref()?, self.routing.as_ref()?);
        Some((gateway.route(routing.route)?, routing))
    }

    /// Notes that the upstream has failed, and chooses another one if that is allowed.
    fn next_upstream(&mut self, cx: &mut Context, failed: Failed, may: bool) -> Option<Authority> {
        let now_ms = cx.now.common_ms();
        let may = may
            && failed != Failed::Timeout
            && self.incoming.informational == 0
            && self.upstream_use.pinning != Pinning::Authenticated;
        let may = may && self.has_more_upstreams();
        let gateway = self.settings.gateway.as_ref()?;
        let routing = self.routing.as_mut()?;
        let lease = routing.lease.take()?;
        if lease.fail(failed, now_ms) {
            log::warn!("upstream {} is marked down", lease.authority());
        }
        let route = gateway.route(routing.route).filter(|_| may)?;
        let chosen = route.choose(self.record.client.ip(), routing.tried, now_ms)?;
        Some(routing.take(chosen))
    }

    /// The upstream has answered with a final status.
    pub(super) fn note_upstream_status(&self, cx: &Context) {
        let Some(lease) = self.routing.as_ref().and_then(|routing| routing.lease.as_ref()) else { return };
        match self.record.status {
            status @ 502..=504 => {
                if lease.fail(Failed::Status(status), cx.now.common_ms()) {
                    log::warn!("upstream {} is marked down", lease.authority());
                }
            }
            _ => lease.succeed(),
        }
    }

    /// Writes the Host of another upstream into the waiting head, if the route rewrites it. False if memory is short.
    fn rewrite_host(&mut self, cx: &mut Context) -> bool {
        let rewrites = self.route().is_some_and(|(route, _)| route.host_field == HostField::Rewrite);
        if !rewrites {
            return true;
        }
        let head = self.up.head.bytes(&cx.pool);
        // The request line, and Host behind it: the order in which heads are written.
        let mut lines = memchr::memmem::find_iter(head, b"\r\n").map(|at| at + 2);
        let (Some(line_end), Some(host_end)) = (lines.next(), lines.next()) else { return false };
        let out = &mut cx.scratch;
        out.clear();
        out.extend_from_slice(&head[..line_end]);
        out.extend_from_slice(b"Host: ");
        self.info.next_hop().authority.write(out, Some(80));
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&head[host_end..]);
        self.up.head.release(&mut cx.pool);
        self.up.head.append(&mut cx.pool, Purpose::Reply, out)
    }

    /// Undoes the sending of the request: its head will be written again, and its body begins anew.
    pub(super) fn take_back(&mut self, cx: &mut Context) {
        self.up.rewind(&mut cx.pool);
        (self.up.sent, self.up.received) = (0, 0);
        self.rates.up.forget();
        // The received part of the body is still in memory.
        self.consumed = self.info.head_bytes;
        // The stored response may have changed, and the head has to be written again.
        self.info.phase = Phase::Cache;
    }
}
