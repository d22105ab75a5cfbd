//! Requests to the gateway: which route one has, which upstream gets it, and which one is tried when that has failed.
//!
//! | state of a [`Routing`] | what moves it on |
//! | --- | --- |
//! | none: the request is for a forward proxy | |
//! | *found*, without a lease | `Identify` has found the route of host and path |
//! | *leased* | `Route` has chosen an upstream, or a failed one had a successor |
//! | *answered*, with the lease | the final head: the upstream has succeeded or failed; the lease ends with the transaction |
//!
//! A request goes to another upstream while nothing of it was sent, or if sending it twice means the same (RFC 9110 section
//! 9.2.2) and all of its body is still there; so often as its route says.

use super::Transaction;
use super::edits::{HOST, PROTO};
use super::examine::Examiner;
use super::machine::{Services, Transactions};
use super::refusal::Refusal;
use super::request::{Phase, RequestInfo};
use crate::engine::context::Context;
use crate::engine::effect::Effect;
use crate::engine::ids::TransactionId;
use crate::engine::upstream::bond::Bond;
use crate::engine::upstream::route::Route;
use crate::engine::upstream::routing::{Routing, Unrouted};
use crate::gateway::directives::HostField;
use crate::gateway::rules::{Gateway, GatewayRoute, Miss};
use crate::gateway::upstream::Failed;
use crate::http::forwarding::ForwardedPolicy;
use crate::http::head::Scanner;
use crate::http::message::RequestHead;
use crate::http::target::{Authority, Host, Target};
use crate::net::Purpose;
use crate::part::guard::{Lent, lasting};
use crate::policy::acl;
use std::net::IpAddr;

impl<'a> Examiner<'a> {
    /// Finds the route of a request that has come to a listener of the gateway.
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
            Target::Asterisk => return Ok(()),
        };
        let found = gateway.find(authority, path, out);
        let routing = found.map(|found| Routing::begin(found.index, found.path_at));
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

    /// What the rules say of a request to the gateway. Its configuration says already where requests may go, so rules hold that
    /// block a host, and none of those that are there for a forward proxy: allowlists, ports, what is built in.
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
            Ok(grant) => Ok(grant),
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
        // A callback may have said where to.
        if routing.lease.is_some() || matches!(info.route, Route::Chosen(_)) {
            return Ok(());
        }
        let Some(route) = gateway.route(routing.route) else { return Ok(()) };
        let bound = self.origins.pinned_hop(self.peer).filter(|hop| hop.configured);
        let bound = bound.and_then(|hop| route.choose_bound(hop.authority));
        let chosen = bound.or_else(|| route.choose(self.client, routing.tried, self.now.common_ms()));
        let Some(chosen) = chosen else {
            let retry_after_s = route.retry_after_s().min(u16::MAX.into()) as u16;
            return Err(Refusal::Unrouted(Unrouted::NoUpstream { retry_after_s }));
        };
        info.route = Route::Configured(routing.take(chosen));
        Ok(())
    }

    /// The route that a request has, if it is one to the gateway.
    pub(super) fn routed(&self) -> Option<(Lent<'a, Gateway>, &'a GatewayRoute, &Routing)> {
        let (gateway, routing) = (self.gateway?, self.routing.as_ref()?);
        Some((gateway, lasting(gateway).route(routing.route)?, routing))
    }

    /// What is written about the client: what strangers say is not passed on, what a trusted proxy says is.
    pub(super) fn forwarded_by_gateway(&self) -> ForwardedPolicy {
        match self.is_peer_trusted() {
            true => ForwardedPolicy::Append,
            false => ForwardedPolicy::Replace,
        }
    }

    /// Scheme and host, as far as a trusted proxy has told them.
    pub(super) fn told_by_peer(&self, head: &RequestHead<'_, '_>) -> [bool; 2] {
        let trusted = self.is_peer_trusted();
        [PROTO, HOST].map(|name| trusted && head.fields.get(name).is_some())
    }

    pub(super) fn is_peer_trusted(&self) -> bool {
        self.guard.is_some_and(|guard| self.peer_address.is_some_and(|peer: IpAddr| guard.trusts(peer)))
    }
}

/// How an upstream has failed, if a refusal says that it has.
fn failure(refusal: Refusal, was_sent: bool) -> Option<Failed> {
    match refusal {
        Refusal::Connect(_) | Refusal::Dns(_) if !was_sent => Some(Failed::Connect),
        Refusal::Connect(_)
        | Refusal::OriginClosed
        | Refusal::OriginIncomplete
        | Refusal::OriginFault(_)
        | Refusal::UpgradeUnasked
        | Refusal::TooManyInformational => Some(Failed::Reset),
        Refusal::OriginTimeout => Some(Failed::Timeout),
        // What is not the upstream's doing.
        _ => None,
    }
}

impl Transactions {
    /// Has another upstream of the route tried, if there is one and the request may go there. Before a refusal is written.
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
        let Some(failed) = failure(refusal, !untouched) else { return false };
        let Some(next) = transaction.next_upstream(cx, failed, untouched || harmless) else { return false };
        cx.metrics.gateway_retries += 1;
        self.detach(cx, services, id);
        let Some(transaction) = self.get_mut(id) else { return false };
        transaction.carrier.bond = Bond::None;
        transaction.incoming.scanner = Scanner::default();
        transaction.record.origin_reused = false;
        transaction.info.route = Route::Configured(next);
        let effect = match untouched {
            true if transaction.rewrite_host(cx) => Effect::Connect(id),
            true => Effect::Refuse(id, Refusal::NoMemory),
            false => {
                transaction.take_back(cx);
                Effect::Examine(id)
            }
        };
        cx.send(effect);
        true
    }
}

impl Transaction {
    /// Whether what was sent may be sent once more, to whichever server, and is still here.
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
            && self.carrier.bond != Bond::Authenticated;
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

    /// Writes the Host of another upstream into the head that waits to be sent, where it is to have that. False if there is no
    /// room for it.
    fn rewrite_host(&mut self, cx: &mut Context) -> bool {
        let rewrites = self.route().is_some_and(|(route, _)| route.host_field == HostField::Rewrite);
        if !rewrites {
            return true;
        }
        let head = self.up.head.bytes(&cx.pool);
        // The request line, and Host behind it: that is how heads are written.
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

    /// Takes back what was sent of the request: its head is written again, and its body begins anew.
    pub(super) fn take_back(&mut self, cx: &mut Context) {
        self.up.rewind(&mut cx.pool);
        (self.up.sent, self.up.received) = (0, 0);
        self.rates.up.forget();
        // What has come of the body is still there.
        self.consumed = self.info.head_bytes;
        // What is stored may be another answer by now, and the head has to be written again.
        self.info.phase = Phase::Cache;
    }
}
