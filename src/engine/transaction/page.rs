//! The response of a refusal: the cause and its limit, the rule and its text, the request, and for a CONNECT the name of the
//! refusing proxy in the reason phrase, because many clients show nothing else of it (rules 39 and 50).

use crate::engine::settings::Settings;
use crate::engine::transaction::Transaction;
use crate::engine::transaction::log_record::{Kind, Text};
use crate::engine::transaction::refusal::{Refusal, SocketError, Wording};
use crate::engine::transaction::request::Method;
use crate::engine::transaction::response_fields::write_quota;
use crate::engine::upstream::routing::Unrouted;
use crate::guard::headers::Author;
use crate::guard::verdict::{Cause, Denial};
use crate::http::fault::Fault;
use crate::http::fields::{write_decimal, write_ipv4};
use crate::http::forwarding::Edits as _;
use crate::http::head::Version;
use crate::http::reply::{Asked, Prepared, Reply, reason_phrase};
use crate::part;
use crate::policy::{Policy, RuleRef, acl};
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

/// Longest list of ports in a text (chosen).
const PORTS_BYTES_MAX: usize = 200;

/// Prepared texts at once (chosen: a proxy refuses for a few of about a hundred reasons).
const PREPARED_MAX: usize = 32;

/// The texts of refusals that are equal for all requests with one reason: under one policy and one set of settings they are
/// built once.
#[derive(Default)]
pub(in crate::engine) struct RefusalTexts {
    under: Option<(Arc<Policy>, Arc<Settings>)>,
    prepared: Vec<(Reason, Texts)>,
    /// Buffer for the texts to fill in.
    scratch: Vec<u8>,
}

/// The facts that decide about the text.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Reason {
    /// Without the rule.
    refusal: Refusal,
    connect: bool,
    /// The listener is the gateway's.
    gateway: bool,
    html: bool,
    /// The head of the answer had begun.
    answered: bool,
}

/// The texts for one reason.
struct Texts {
    phrase: String,
    explanation: String,
    prepared: Prepared,
}

impl RefusalTexts {
    /// Forgets everything: a policy would be kept in memory.
    pub fn clear(&mut self) {
        (self.under, self.prepared) = (None, Vec::new());
    }

    /// The index of the texts for a refusal, which are prepared if they are missing.
    fn find(&mut self, transaction: &Transaction, refusal: Refusal) -> usize {
        let (policy, settings) = (&transaction.policy, &transaction.settings);
        let same = |(old, older): &(Arc<Policy>, Arc<Settings>)| {
            Arc::ptr_eq(old, policy) && Arc::ptr_eq(older, settings)
        };
        if !self.under.as_ref().is_some_and(same) {
            self.clear();
            self.under = Some((Arc::clone(policy), Arc::clone(settings)));
        }
        let reason = Reason {
            refusal: match refusal {
                Refusal::Denied(acl::Refusal::Rule(_)) => {
                    Refusal::Denied(acl::Refusal::Rule(RuleRef { source: 0, line: 0 }))
                }
                Refusal::Guarded(denial) => Refusal::Guarded(Denial { line: 0, retry_after_s: 0, ..denial }),
                other => other,
            },
            connect: transaction.info.method == Method::Connect,
            gateway: is_at_gateway(transaction),
            html: transaction.info.html,
            answered: transaction.record.waits.ttfb_us.is_some(),
        };
        if let Some(place) = self.prepared.iter().position(|(known, _)| *known == reason) {
            if names_client(refusal) {
                self.prepared[place].1 = Texts::prepare(transaction, refusal);
            }
            return place;
        }
        if self.prepared.len() == PREPARED_MAX {
            self.prepared.clear();
        }
        self.prepared.push((reason, Texts::prepare(transaction, refusal)));
        self.prepared.len() - 1
    }
}

/// Whether the explanation contains the client (guard semantics, section 6), so that it differs for each.
fn names_client(refusal: Refusal) -> bool {
    match refusal {
        Refusal::Guarded(denial) => matches!(denial.cause, Cause::Over | Cause::Blocked | Cause::Permanent),
        _ => false,
    }
}

impl Texts {
    fn prepare(transaction: &Transaction, refusal: Refusal) -> Texts {
        let (mut phrase, mut explanation) = (String::new(), String::new());
        // Writing into a string cannot fail.
        let _ = write_phrase(transaction, refusal, &mut phrase);
        let _ = write_explanation(transaction, refusal, &mut explanation);
        let wording = refusal.wording();
        let reply = Reply {
            phrase: &phrase,
            explanation: &explanation,
            proxy_status: Some((wording.error, "")),
            ..of_reason(transaction, refusal, &wording)
        };
        let prepared = Prepared::of(&reply);
        Texts { phrase, explanation, prepared }
    }
}

/// The response, as far as its reason decides about it.
fn of_reason<'t>(transaction: &'t Transaction, refusal: Refusal, wording: &Wording) -> Reply<'t> {
    let (info, pages) = (&transaction.info, &transaction.policy.pages);
    let extra_fields: &[(&str, &str)] = match refusal {
        Refusal::Unrouted(Unrouted::Connect) => {
            &[("Allow", "GET, HEAD, POST, PUT, DELETE, OPTIONS, TRACE, PATCH")]
        }
        _ if wording.status == 407 => &[("Proxy-Authenticate", "Basic realm=\"weir\", charset=\"UTF-8\"")],
        _ => &[],
    };
    let advice = match refusal {
        Refusal::Fault(fault) if is_at_gateway(transaction) => fault.advice_for_gateway(),
        _ => wording.advice,
    };
    Reply {
        status: wording.status,
        advice: Some(advice),
        template: pages.find(wording.status, info.html),
        retry_after: retry_after_s(refusal, wording.status),
        extra_fields,
        html: info.html,
        pseudonym: pseudonym(transaction),
        ..Reply::default()
    }
}

/// Whether the client has reached a listener of the gateway, which has further fields for responses of weir's own. A build without the
/// gateway has no texts for it.
fn is_at_gateway(transaction: &Transaction) -> bool {
    part::guard::built().is_some() && transaction.guarded.response_fields.is_some()
}

/// Seconds after which a retry makes sense, if they are the same for all.
fn retry_after_s(refusal: Refusal, status: u16) -> Option<u32> {
    match refusal {
        Refusal::Guarded(_) => None,
        Refusal::Unrouted(Unrouted::NoUpstream { retry_after_s }) => Some(retry_after_s.into()),
        _ => matches!(status, 429 | 503).then_some(1),
    }
}

/// Writes the response of a refusal.
pub(in crate::engine) fn write_refusal(
    transaction: &mut Transaction,
    texts: &mut RefusalTexts,
    date: &str,
    refusal: Refusal,
    out: &mut Vec<u8>,
) {
    let wording = refusal.wording();
    let place = texts.find(transaction, refusal);
    let RefusalTexts { prepared, scratch, .. } = texts;
    let (_, Texts { phrase, explanation, prepared }) = &prepared[place];
    let filled = Filled::write(scratch, transaction, refusal);
    transaction.record.kind = Kind::Transaction;
    transaction.record.status = wording.status;
    transaction.record.set(Text::Reason, filled.get(&filled.reason).as_bytes());
    let hidden = is_hidden(transaction, refusal);
    let changing = write_changing(transaction, refusal);
    let (info, record) = (&transaction.info, &transaction.record);
    let text = |which: Text| std::str::from_utf8(record.text(which)).unwrap_or_default();
    let reply = Reply {
        phrase,
        proxy_status: Some((wording.error, if hidden { "" } else { filled.get(&filled.reason) })),
        explanation,
        rule: filled.get(&filled.rule),
        asked: Asked {
            method: text(Text::Method),
            url: text(Text::Target),
            host: filled.get(&filled.host),
            client: filled.get(&filled.client),
            user: text(Text::User),
        },
        contact: transaction.policy.pages.contact(),
        changing: &changing,
        head_only: info.method == Method::Head,
        keep_alive: !transaction.closes,
        http10: info.version == Version::Http10,
        date,
        ..of_reason(transaction, refusal, &wording)
    };
    out.clear();
    prepared.write(out, &reply);
    let media_type = reply.content_type();
    transaction.record.set_content_type(media_type.as_bytes());
}

/// The fields that differ from client to client: the time of the next attempt, the quota, a cookie.
fn write_changing(transaction: &Transaction, refusal: Refusal) -> Vec<u8> {
    let mut out = Vec::new();
    if let Refusal::Guarded(Denial { retry_after_s: seconds @ 1.., .. }) = refusal {
        out.extend_from_slice(b"Retry-After: ");
        write_decimal(&mut out, u64::from(seconds));
        out.extend_from_slice(b"\r\n");
    }
    write_quota(transaction.info.quota, &mut out);
    // Fields that every page of weir's own has already, and one that a page in HTML has.
    let own = [("X-Content-Type-Options", &b""[..]), ("Content-Security-Policy", b"")];
    let has = own.into_iter().take(1 + usize::from(transaction.info.html));
    if let Some(additions) = transaction.additions(Author::Own, has) {
        additions.write_added(&mut out);
    }
    out.extend_from_slice(transaction.cookie());
    out
}

/// Whether the client is not to know which rule it was.
fn is_hidden(transaction: &Transaction, refusal: Refusal) -> bool {
    transaction.policy.quiet_refusals && matches!(refusal, Refusal::Denied(_) | Refusal::Guarded(_))
}

fn pseudonym(transaction: &Transaction) -> &str {
    transaction.settings.via.as_deref().unwrap_or("weir")
}

/// Texts to fill in that are in no other buffer.
struct Filled<'s> {
    all: &'s str,
    /// The word for the log, or the rule with its file and line.
    reason: Range<usize>,
    /// The text of the rule.
    rule: Range<usize>,
    host: Range<usize>,
    client: Range<usize>,
}

impl Filled<'_> {
    fn write<'s>(scratch: &'s mut Vec<u8>, transaction: &Transaction, refusal: Refusal) -> Filled<'s> {
        scratch.clear();
        // The reason of a callback is recorded already.
        let told = transaction.record.text(Text::Reason);
        match refusal {
            Refusal::Callback(_) if !told.is_empty() => scratch.extend_from_slice(told),
            _ => refusal.write_reason(&transaction.policy, scratch),
        }
        let reason_end = scratch.len();
        write_rule(transaction, refusal, scratch);
        let rule_end = scratch.len();
        let authority = &transaction.info.authority;
        // Before the request was understood it has no authority.
        if authority.port != 0 {
            authority.host.write(scratch);
        }
        let host_end = scratch.len();
        match transaction.record.client.ip().to_canonical() {
            IpAddr::V4(address) => write_ipv4(scratch, address),
            // Writing into a Vec cannot fail.
            IpAddr::V6(address) => _ = write!(scratch, "{address}"),
        }
        Filled {
            // Once for all: the check for ASCII handles many bytes at a time.
            all: std::str::from_utf8(scratch).unwrap_or_default(),
            reason: 0..reason_end,
            rule: reason_end..rule_end,
            host: rule_end..host_end,
            client: host_end..scratch.len(),
        }
    }

    fn get(&self, section: &Range<usize>) -> &str {
        self.all.get(section.clone()).unwrap_or_default()
    }
}

fn write_rule(transaction: &Transaction, refusal: Refusal, out: &mut Vec<u8>) {
    let authority = &transaction.info.authority;
    if let (Refusal::Denied(acl::Refusal::Rule(rule)), false) = (refusal, is_hidden(transaction, refusal)) {
        transaction.policy.acl.write_rule(rule, &authority.host, authority.port, out);
    }
}

/// The reason phrase of a refused CONNECT, because many clients show nothing else of it; nothing for other methods, whose
/// page they show.
fn write_phrase(transaction: &Transaction, refusal: Refusal, out: &mut String) -> fmt::Result {
    let name = pseudonym(transaction);
    match (transaction.info.method, refusal) {
        (Method::Connect, Refusal::Denied(_) | Refusal::Guarded(Denial { cause: Cause::Banned, .. })) => {
            write!(out, "Blocked by {name}")
        }
        // The request of a refused connection is not known, so it may be a CONNECT.
        (Method::Connect, _) | (_, Refusal::TooManyConnections | Refusal::TooManyPerClient) => {
            let wording = refusal.wording();
            write!(out, "{} ({name}: {})", reason_phrase(wording.status), wording.reason)
        }
        _ => Ok(()),
    }
}

fn write_explanation(transaction: &Transaction, refusal: Refusal, out: &mut String) -> fmt::Result {
    out.push_str(refusal.wording().explanation);
    if let Refusal::OriginFault(fault) = refusal {
        write!(out, " {}", fault.explanation())?;
    }
    write_limit(transaction, refusal, out)
}

/// Appends the exceeded limit, and the option that sets it.
fn write_limit(transaction: &Transaction, refusal: Refusal, out: &mut String) -> fmt::Result {
    let (settings, timeouts) = (&transaction.settings, &transaction.settings.timeouts);
    match refusal {
        Refusal::Fault(fault) | Refusal::OriginFault(fault) => write_limit_of(transaction, fault, out),
        Refusal::Denied(denial) if !is_hidden(transaction, refusal) => write_ports(transaction, denial, out),
        Refusal::HeadTimeout => write_time(timeouts.head_ms, "head-timeout", out),
        Refusal::BodyTimeout => write_time(timeouts.exchange_ms, "timeout", out),
        // The head of the response had begun.
        Refusal::OriginTimeout if transaction.record.waits.ttfb_us.is_some() => {
            write_time(timeouts.head_ms, "head-timeout", out)
        }
        Refusal::OriginTimeout => write_time(timeouts.exchange_ms, "timeout", out),
        Refusal::Connect(SocketError::TimedOut) => write_time(timeouts.connect_ms, "connect-timeout", out),
        Refusal::TooSlow => {
            write!(out, " The limit is {} bytes per second (--min-rate).", settings.rate_min)
        }
        Refusal::TooManyConnections => {
            write!(out, " The limit is {} (--max-connections).", settings.clients_max)
        }
        Refusal::TooManyPerClient => {
            write!(out, " The limit is {} (--max-per-client).", settings.clients_per_address_max)
        }
        Refusal::NoMemory => out.write_str(" --buffers sets how many there are."),
        Refusal::Guarded(denial) => write_client(transaction, denial.cause, out),
        Refusal::Denied(_)
        | Refusal::Callback(_)
        | Refusal::CredentialsMissing
        | Refusal::CredentialsWrong
        | Refusal::Loop
        | Refusal::AskedForProxy
        | Refusal::OriginForm
        | Refusal::ProxyHeader
        | Refusal::Unrouted(_)
        | Refusal::LengthRequired
        | Refusal::Filtered(_)
        | Refusal::OnlyIfCached
        | Refusal::PurgeDenied
        | Refusal::PurgeByBrowser
        | Refusal::PurgeScope
        | Refusal::PurgeTokenMissing
        | Refusal::TooManyVerifications
        | Refusal::TooManyGuesses
        | Refusal::TooManyLookUps
        | Refusal::Dns(_)
        | Refusal::Connect(
            SocketError::Refused
            | SocketError::Unreachable
            | SocketError::Reset
            | SocketError::Closed
            | SocketError::Exhausted
            | SocketError::Other,
        )
        | Refusal::OriginClosed
        | Refusal::OriginIncomplete
        | Refusal::UpgradeUnasked
        | Refusal::TooManyInformational => Ok(()),
    }
}

/// Appends the client of a fixed window with escalation (guard semantics, section 6).
fn write_client(transaction: &Transaction, cause: Cause, out: &mut String) -> fmt::Result {
    let client = transaction.record.client.ip().to_canonical();
    match cause {
        Cause::Over | Cause::Permanent => write!(out, " {client}."),
        Cause::Blocked => write!(out, " {client}. Temporarily blocked."),
        Cause::Banned
        | Cause::ClientInCloud(_)
        | Cause::DestinationInCloud(_)
        | Cause::Limit
        | Cause::Throttled
        | Cause::Forged
        | Cause::Suspicious
        | Cause::BannedNow
        | Cause::StoreFailed => Ok(()),
    }
}

fn write_limit_of(transaction: &Transaction, fault: Fault, out: &mut String) -> fmt::Result {
    let limits = &transaction.settings.head;
    match fault {
        Fault::TargetTooLong => {
            write!(out, " The limit is {} bytes (--target-max).", limits.target_bytes_max)
        }
        Fault::HeadTooLarge => write!(out, " The limit is {} bytes (--head-max).", limits.head_bytes_max),
        Fault::TooManyFields => write!(out, " The limit is {} fields (--fields-max).", limits.fields_max),
        _ => Ok(()),
    }
}

fn write_ports(transaction: &Transaction, denial: acl::Refusal, out: &mut String) -> fmt::Result {
    match denial {
        acl::Refusal::Port { connect } => {
            let option = if connect { "connect-ports" } else { "ports" };
            let ports = transaction.policy.acl.ports(connect).to_string();
            match ports.len() {
                0..=PORTS_BYTES_MAX => write!(out, " It may connect to {ports} (--{option})."),
                _ => write!(out, " --{option} sets to which it may."),
            }
        }
        acl::Refusal::Rule(_)
        | acl::Refusal::BuiltIn(_)
        | acl::Refusal::OwnListener
        | acl::Refusal::NotOnAllowlist
        | acl::Refusal::Client => Ok(()),
    }
}

fn write_time(ms: u64, option: &str, out: &mut String) -> fmt::Result {
    match (ms / 1000, ms % 1000) {
        (seconds, 0) => write!(out, " The limit is {seconds} s (--{option})."),
        _ => write!(out, " The limit is {ms} ms (--{option})."),
    }
}
