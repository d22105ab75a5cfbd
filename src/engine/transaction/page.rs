//! What a client is told of a refusal: what happened and by which limit, the rule and what it says, what was asked for, and in
//! the reason phrase who has refused a CONNECT, since many clients show nothing else of it (rules 39 and 50).

use crate::engine::transaction::Transaction;
use crate::engine::transaction::examine::Method;
use crate::engine::transaction::log_record::{Kind, Text};
use crate::engine::transaction::refusal::{Refusal, SocketError};
use crate::http::fault::Fault;
use crate::http::head::Version;
use crate::http::reply::{Asked, Reply, reason_phrase, write};
use crate::policy::acl;
use std::fmt::{self, Write as _};
use std::ops::Range;

/// Room for the texts of a refusal as most are (chosen): one allocation does then.
const TEXTS_BYTES: usize = 768;

/// Longest list of ports that is told (chosen).
const PORTS_BYTES_MAX: usize = 200;

/// Writes the answer that says no.
pub(in crate::engine) fn write_refusal(
    transaction: &mut Transaction,
    date: &str,
    refusal: Refusal,
    out: &mut Vec<u8>,
) {
    let wording = refusal.wording();
    let texts = Texts::write(transaction, refusal);
    transaction.record.kind = Kind::Transaction;
    transaction.record.status = wording.status;
    transaction.record.set(Text::Reason, texts.get(&texts.reason).as_bytes());
    let hidden = is_hidden(transaction, refusal);
    let challenge = [("Proxy-Authenticate", "Basic realm=\"weir\", charset=\"UTF-8\"")];
    let (info, record, pages) = (&transaction.info, &transaction.record, &transaction.policy.pages);
    let text = |which: Text| std::str::from_utf8(record.text(which)).unwrap_or_default();
    let reply = Reply {
        status: wording.status,
        phrase: texts.get(&texts.phrase),
        proxy_status: Some((wording.error, if hidden { "" } else { texts.get(&texts.reason) })),
        explanation: texts.get(&texts.explanation),
        advice: Some(wording.advice),
        rule: texts.get(&texts.rule),
        asked: Asked {
            method: text(Text::Method),
            url: text(Text::Target),
            host: texts.get(&texts.host),
            client: texts.get(&texts.client),
            user: text(Text::User),
        },
        contact: pages.contact(),
        template: pages.find(wording.status, info.html),
        retry_after: matches!(wording.status, 429 | 503).then_some(1),
        extra_fields: if wording.status == 407 { &challenge } else { &[] },
        html: info.html,
        head_only: info.method == Method::Head,
        keep_alive: !transaction.closes,
        http10: info.version == Version::Http10,
        date,
        pseudonym: pseudonym(transaction),
    };
    out.clear();
    write(out, &reply);
    let media_type = reply.content_type();
    transaction.record.set_content_type(media_type.as_bytes());
}

/// Whether the client is not to know which rule it was.
fn is_hidden(transaction: &Transaction, refusal: Refusal) -> bool {
    transaction.policy.quiet_refusals && matches!(refusal, Refusal::Denied(_))
}

fn pseudonym(transaction: &Transaction) -> &str {
    transaction.settings.via.as_deref().unwrap_or("weir")
}

/// What is to be said and is not written anywhere yet.
#[derive(Default)]
struct Texts {
    all: String,
    /// The word for the log, or the rule with its file and line.
    reason: Range<usize>,
    /// What the rule says.
    rule: Range<usize>,
    explanation: Range<usize>,
    host: Range<usize>,
    client: Range<usize>,
    phrase: Range<usize>,
}

impl Texts {
    fn write(transaction: &Transaction, refusal: Refusal) -> Texts {
        let mut all = String::with_capacity(TEXTS_BYTES);
        let mut section = |write: &dyn Fn(&mut String) -> fmt::Result| {
            let begin = all.len();
            // Writing into a string cannot fail.
            let _ = write(&mut all);
            begin..all.len()
        };
        let authority = &transaction.info.authority;
        Texts {
            reason: section(&|out| {
                refusal.write_reason(&transaction.policy, out);
                Ok(())
            }),
            rule: section(&|out| write_rule(transaction, refusal, out)),
            explanation: section(&|out| write_explanation(transaction, refusal, out)),
            // Before the request was understood there is none.
            host: section(&|out| {
                if authority.port == 0 { Ok(()) } else { write!(out, "{}", authority.host) }
            }),
            client: section(&|out| write!(out, "{}", transaction.record.client.ip().to_canonical())),
            phrase: section(&|out| write_phrase(transaction, refusal, out)),
            all,
        }
    }

    fn get(&self, section: &Range<usize>) -> &str {
        self.all.get(section.clone()).unwrap_or_default()
    }
}

fn write_rule(transaction: &Transaction, refusal: Refusal, out: &mut String) -> fmt::Result {
    let authority = &transaction.info.authority;
    match refusal {
        Refusal::Denied(acl::Refusal::Rule(rule)) if !is_hidden(transaction, refusal) => {
            let text = transaction.policy.acl.rule_text(rule, &authority.host, authority.port);
            text.map_or(Ok(()), |text| write!(out, "{text}"))
        }
        _ => Ok(()),
    }
}

/// The reason phrase of a refused CONNECT, the only thing that many clients show of it; nothing for other methods, of which
/// they show the page.
fn write_phrase(transaction: &Transaction, refusal: Refusal, out: &mut String) -> fmt::Result {
    let name = pseudonym(transaction);
    match (transaction.info.method, refusal) {
        (Method::Connect, Refusal::Denied(_)) => write!(out, "Blocked by {name}"),
        // Of a connection that is refused nothing is known, so that it may be for a tunnel.
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

/// Appends the limit that was met, and the option that sets it.
fn write_limit(transaction: &Transaction, refusal: Refusal, out: &mut String) -> fmt::Result {
    let (settings, timeouts) = (&transaction.settings, &transaction.settings.timeouts);
    match refusal {
        Refusal::Fault(fault) | Refusal::OriginFault(fault) => write_limit_of(transaction, fault, out),
        Refusal::Denied(denial) if !is_hidden(transaction, refusal) => write_ports(transaction, denial, out),
        Refusal::HeadTimeout => write_time(timeouts.head_ms, "head-timeout", out),
        Refusal::BodyTimeout => write_time(timeouts.exchange_ms, "timeout", out),
        // Its head had begun.
        Refusal::OriginTimeout if transaction.record.phases.ttfb_us.is_some() => {
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
        Refusal::Denied(_)
        | Refusal::CredentialsMissing
        | Refusal::CredentialsWrong
        | Refusal::Loop
        | Refusal::AskedForProxy
        | Refusal::OriginForm
        | Refusal::LengthRequired
        | Refusal::Filtered(_)
        | Refusal::OnlyIfCached
        | Refusal::PurgeDenied
        | Refusal::PurgeByBrowser
        | Refusal::PurgeTokenMissing
        | Refusal::TooManyVerifications
        | Refusal::TooManyGuesses
        | Refusal::TooManyLookUps
        | Refusal::Dns(_)
        | Refusal::Connect(
            SocketError::Refused
            | SocketError::Unreachable
            | SocketError::Reset
            | SocketError::Exhausted
            | SocketError::Other,
        )
        | Refusal::OriginClosed
        | Refusal::OriginIncomplete
        | Refusal::UpgradeUnasked
        | Refusal::TooManyInformational => Ok(()),
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
