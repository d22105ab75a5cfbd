//! The reasons for a response of weir's own in place of an origin's, and the texts of that response.

use crate::engine::transaction::log_record::Verdict;
use crate::engine::upstream::routing::Unrouted;
use crate::guard::verdict::{Cause, Denial};
use crate::http::fault::Fault;
use crate::policy::{Policy, acl};
use crate::resolver;
use std::io::Write as _;

/// The error of a connection that was not established or broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketError {
    /// No program listens at the address.
    Refused,
    /// The address is unreachable.
    Unreachable,
    /// The system gave up waiting.
    TimedOut,
    /// The other side reset the connection.
    Reset,
    /// The other side takes nothing more, after it had ended its own direction or after an error that was reported.
    Closed,
    /// The process or the system has no descriptor, port or memory left.
    Exhausted,
    /// Anything else.
    Other,
}

/// Every reason, grouped by the side at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Refusal {
    // The client.
    Fault(Fault),
    Denied(acl::Refusal),
    /// The guard: a ban, a limit, a cloud.
    Guarded(Denial),
    /// A callback, with that status.
    Callback(u16),
    /// The bytes of a trusted proxy are no PROXY header.
    ProxyHeader,
    CredentialsMissing,
    CredentialsWrong,
    Loop,
    /// An origin-form request for weir itself: the client takes the proxy for a web server.
    AskedForProxy,
    /// Origin-form is switched off.
    OriginForm,
    HeadTimeout,
    BodyTimeout,
    /// The body arrived more slowly than `--min-rate`.
    TooSlow,
    /// Chunks for an origin that speaks HTTP/1.0 only.
    LengthRequired,
    /// A filter has ended its body; the word for the log.
    Filtered(&'static str),
    /// The client accepts only a stored response, and none is usable.
    OnlyIfCached,
    /// PURGE from an address that may not purge.
    PurgeDenied,
    /// PURGE that a page may have had a browser send.
    PurgeByBrowser,
    /// PURGE that names no known scope.
    PurgeScope,
    /// PURGE without the token, or with another one.
    PurgeTokenMissing,
    /// The gateway has no upstream for the request.
    Unrouted(Unrouted),
    // Limits.
    TooManyConnections,
    TooManyPerClient,
    TooManyVerifications,
    /// Too many wrong passwords of one client.
    TooManyGuesses,
    TooManyLookUps,
    NoMemory,
    // The origin, or the path to it.
    Dns(resolver::Failure),
    Connect(SocketError),
    OriginFault(Fault),
    OriginClosed,
    OriginIncomplete,
    OriginTimeout,
    UpgradeUnasked,
    TooManyInformational,
}

/// The texts of a refusal: status, RFC 9209 error type, the word for the log, an explanation, and advice.
#[derive(Debug)]
pub(in crate::engine) struct Wording {
    pub status: u16,
    pub error: &'static str,
    pub reason: &'static str,
    pub explanation: &'static str,
    pub advice: &'static str,
}

const fn wording(
    status: u16,
    error: &'static str,
    reason: &'static str,
    explanation: &'static str,
    advice: &'static str,
) -> Wording {
    Wording { status, error, reason, explanation, advice }
}

const ASK_ADMIN: &str = "If you need it, ask the operator of this proxy.";
const TRY_LATER: &str = "Try again in a moment.";
const CHECK_ORIGIN: &str = "Check the address, or try again later.";

impl Refusal {
    /// The side at fault, for the log and the statistics.
    pub fn verdict(self) -> Verdict {
        match self {
            Refusal::Fault(_)
            | Refusal::AskedForProxy
            | Refusal::OriginForm
            | Refusal::HeadTimeout
            | Refusal::BodyTimeout
            | Refusal::TooSlow
            | Refusal::ProxyHeader
            | Refusal::Unrouted(Unrouted::Faulty(_))
            | Refusal::LengthRequired => Verdict::Malformed,
            Refusal::Denied(_)
            | Refusal::Unrouted(Unrouted::Host | Unrouted::Path | Unrouted::Connect)
            | Refusal::Guarded(_)
            | Refusal::Callback(_)
            | Refusal::CredentialsMissing
            | Refusal::CredentialsWrong
            | Refusal::Loop
            | Refusal::Filtered(_)
            | Refusal::PurgeDenied
            | Refusal::PurgeByBrowser
            | Refusal::PurgeScope
            | Refusal::PurgeTokenMissing
            | Refusal::TooManyConnections
            | Refusal::TooManyPerClient
            | Refusal::TooManyVerifications
            | Refusal::TooManyGuesses
            | Refusal::TooManyLookUps
            | Refusal::NoMemory => Verdict::Refused,
            // No rule and no limit has refused it: there is nothing stored.
            Refusal::OnlyIfCached
            | Refusal::Dns(_)
            | Refusal::Connect(_)
            | Refusal::OriginFault(_)
            | Refusal::OriginClosed
            | Refusal::OriginIncomplete
            | Refusal::OriginTimeout
            | Refusal::UpgradeUnasked
            | Refusal::Unrouted(Unrouted::NoUpstream { .. })
            | Refusal::TooManyInformational => Verdict::Failed,
        }
    }

    /// Whether the client's next request can be found behind this one.
    pub fn keeps_connection(self) -> bool {
        match self {
            Refusal::Fault(_)
            | Refusal::AskedForProxy
            | Refusal::OriginForm
            | Refusal::HeadTimeout
            | Refusal::BodyTimeout
            | Refusal::TooSlow
            | Refusal::TooManyConnections
            | Refusal::TooManyPerClient
            | Refusal::NoMemory
            | Refusal::ProxyHeader
            | Refusal::Filtered(_)
            | Refusal::Unrouted(Unrouted::Faulty(_)) => false,
            Refusal::Denied(_)
            | Refusal::Guarded(_)
            | Refusal::Callback(_)
            | Refusal::Unrouted(
                Unrouted::Host | Unrouted::Path | Unrouted::Connect | Unrouted::NoUpstream { .. },
            )
            | Refusal::CredentialsMissing
            | Refusal::CredentialsWrong
            | Refusal::Loop
            | Refusal::LengthRequired
            | Refusal::OnlyIfCached
            | Refusal::PurgeDenied
            | Refusal::PurgeByBrowser
            | Refusal::PurgeScope
            | Refusal::PurgeTokenMissing
            | Refusal::TooManyVerifications
            | Refusal::TooManyGuesses
            | Refusal::TooManyLookUps
            | Refusal::Dns(_)
            | Refusal::Connect(_)
            | Refusal::OriginFault(_)
            | Refusal::OriginClosed
            | Refusal::OriginIncomplete
            | Refusal::OriginTimeout
            | Refusal::UpgradeUnasked
            | Refusal::TooManyInformational => true,
        }
    }

    /// Whether the origin could not be asked, or closed before its response: a stale response may replace it (RFC
    /// 9111 section 4.2.4).
    pub fn is_disconnection(self) -> bool {
        match self {
            Refusal::Dns(_)
            | Refusal::Connect(_)
            | Refusal::OriginClosed
            | Refusal::OriginIncomplete
            | Refusal::Unrouted(Unrouted::NoUpstream { .. })
            | Refusal::OriginTimeout => true,
            Refusal::Fault(_)
            | Refusal::Denied(_)
            | Refusal::Guarded(_)
            | Refusal::Callback(_)
            | Refusal::Unrouted(Unrouted::Host | Unrouted::Path | Unrouted::Faulty(_) | Unrouted::Connect)
            | Refusal::ProxyHeader
            | Refusal::CredentialsMissing
            | Refusal::CredentialsWrong
            | Refusal::Loop
            | Refusal::AskedForProxy
            | Refusal::OriginForm
            | Refusal::HeadTimeout
            | Refusal::BodyTimeout
            | Refusal::TooSlow
            | Refusal::LengthRequired
            | Refusal::Filtered(_)
            | Refusal::OnlyIfCached
            | Refusal::PurgeDenied
            | Refusal::PurgeByBrowser
            | Refusal::PurgeScope
            | Refusal::PurgeTokenMissing
            | Refusal::TooManyConnections
            | Refusal::TooManyPerClient
            | Refusal::TooManyVerifications
            | Refusal::TooManyGuesses
            | Refusal::TooManyLookUps
            | Refusal::NoMemory
            | Refusal::OriginFault(_)
            | Refusal::UpgradeUnasked
            | Refusal::TooManyInformational => false,
        }
    }

    pub fn wording(self) -> Wording {
        match self {
            Refusal::Fault(fault) => wording(
                fault.status(),
                "http_request_error",
                fault.rule(),
                fault.explanation(),
                fault.advice(),
            ),
            Refusal::Denied(refusal) => denied(refusal),
            Refusal::Guarded(denial) => guarded(denial.cause),
            Refusal::Callback(status) => wording(
                status,
                "http_request_denied",
                "callback",
                "The program that this proxy is a part of has refused the request.",
                ASK_ADMIN,
            ),
            Refusal::Unrouted(why) => unrouted(why),
            Refusal::ProxyHeader => wording(
                400,
                "http_request_error",
                "proxy_header",
                "The connection of a trusted proxy begins with no valid PROXY protocol header.",
                "Have the proxy send it (HAProxy: send-proxy), or start this one without --proxy-protocol.",
            ),
            Refusal::CredentialsMissing => wording(
                407,
                "http_request_denied",
                "credentials_missing",
                "This proxy asks for a user name and a password.",
                "Give them to your client, for example: curl --proxy-user NAME:PASSWORD",
            ),
            Refusal::CredentialsWrong => wording(
                407,
                "http_request_denied",
                "credentials_wrong",
                "The user name or the password is wrong.",
                "Check both; they are those of the proxy, not those of the web site.",
            ),
            Refusal::Loop => wording(
                508,
                "proxy_loop_detected",
                "loop",
                "The request has passed through this proxy before (Via).",
                "Two proxies point at each other, or share a name: see --via.",
            ),
            Refusal::AskedForProxy => wording(
                400,
                "http_request_error",
                "asked_for_proxy",
                "This is a proxy, not a web server.",
                "Set it as the HTTP proxy of your client: http_proxy=http://HOST:PORT, or curl --proxy HOST:PORT URL",
            ),
            Refusal::OriginForm => wording(
                400,
                "http_request_error",
                "origin_form",
                "The request names no scheme and host in its request line.",
                "Configure this address as a proxy in the client; do not send requests to it directly.",
            ),
            Refusal::HeadTimeout => wording(
                408,
                "http_request_error",
                "head_timeout",
                "The request did not arrive in time.",
                TRY_LATER,
            ),
            Refusal::BodyTimeout => wording(
                408,
                "http_request_error",
                "body_timeout",
                "The request's body stopped arriving.",
                TRY_LATER,
            ),
            Refusal::TooSlow => wording(
                408,
                "http_request_error",
                "min_rate",
                "The request's body arrived too slowly.",
                "Send it faster, or ask the operator of this proxy about --min-rate.",
            ),
            Refusal::LengthRequired => wording(
                411,
                "http_request_error",
                "length_required",
                "The origin speaks HTTP/1.0 and cannot take a chunked body.",
                "Send the body with a Content-Length.",
            ),
            // Bytes behind the point where the filter stopped are unknown.
            Refusal::Filtered(reason) => wording(
                403,
                "http_request_denied",
                reason,
                "A filter of this proxy has stopped the request's body.",
                ASK_ADMIN,
            ),
            Refusal::PurgeDenied => wording(
                403,
                "http_request_denied",
                "purge_denied",
                "PURGE is not taken from your address.",
                "Add it to --purge-from.",
            ),
            Refusal::PurgeByBrowser => wording(
                403,
                "http_request_denied",
                "purge_by_browser",
                "PURGE is not taken from browsers: the page that it shows may have sent it.",
                "Send it by another program, without Origin, Referer and fields that begin with Sec-.",
            ),
            Refusal::PurgeScope => wording(
                400,
                "http_request_error",
                "purge_scope",
                "PURGE removes this address, all of its host, or everything, and the field Purge says something else.",
                "Send Purge: host, Purge: all, or no such field.",
            ),
            Refusal::PurgeTokenMissing => wording(
                403,
                "http_request_denied",
                "purge_token",
                "PURGE is taken with the right token only.",
                "Send it in Purge-Token; it is in the file that --purge-token-file names.",
            ),
            Refusal::OnlyIfCached => wording(
                504,
                "http_request_error",
                "only_if_cached",
                "The request asked for a stored response only (only-if-cached), and none is stored that it may have.",
                "Ask without only-if-cached.",
            ),
            Refusal::TooManyConnections => wording(
                503,
                "connection_limit_reached",
                "max_connections",
                "This proxy carries as many connections as it may.",
                TRY_LATER,
            ),
            Refusal::TooManyPerClient => wording(
                429,
                "connection_limit_reached",
                "max_per_client",
                "Your address, or its IPv6 network, has as many connections to this proxy as it may.",
                "Close some of them.",
            ),
            Refusal::TooManyVerifications => wording(
                429,
                "http_request_denied",
                "verifications_max",
                "Too many passwords are waiting to be verified.",
                TRY_LATER,
            ),
            Refusal::TooManyGuesses => wording(
                429,
                "http_request_denied",
                "guesses_max",
                "Too many passwords that came from your address, or its IPv6 network, were wrong.",
                "Wait a while before you try another one.",
            ),
            Refusal::TooManyLookUps => wording(
                503,
                "proxy_internal_error",
                "look_ups_max",
                "Too many names are being looked up.",
                TRY_LATER,
            ),
            Refusal::NoMemory => wording(
                503,
                "proxy_internal_error",
                "buffers_max",
                "This proxy has no buffer left for the request.",
                TRY_LATER,
            ),
            Refusal::Dns(failure) => dns(failure),
            Refusal::Connect(error) => connect(error),
            Refusal::OriginFault(fault) => wording(
                502,
                "http_protocol_error",
                fault.rule(),
                match fault.is_limit() {
                    true => "The origin's answer is more than this proxy takes.",
                    false => "The origin's answer is not valid HTTP/1.1.",
                },
                CHECK_ORIGIN,
            ),
            Refusal::OriginClosed => wording(
                502,
                "http_response_incomplete",
                "http_response_incomplete",
                "The origin closed the connection without an answer.",
                CHECK_ORIGIN,
            ),
            Refusal::OriginIncomplete => wording(
                502,
                "http_response_incomplete",
                "http_response_incomplete",
                "The origin closed the connection in the middle of its answer.",
                CHECK_ORIGIN,
            ),
            Refusal::OriginTimeout => wording(
                504,
                "http_response_timeout",
                "http_response_timeout",
                "The origin did not answer in time.",
                CHECK_ORIGIN,
            ),
            Refusal::UpgradeUnasked => wording(
                502,
                "http_upgrade_failed",
                "upgrade_unasked",
                "The origin switched protocols without being asked to.",
                CHECK_ORIGIN,
            ),
            Refusal::TooManyInformational => wording(
                502,
                "http_protocol_error",
                "informational_max",
                "The origin sent too many interim answers.",
                CHECK_ORIGIN,
            ),
        }
    }

    /// The word for the log and for `details`: the rule with its file and line if there is one.
    pub fn write_reason(self, policy: &Policy, out: &mut Vec<u8>) {
        match self {
            // The usual case, without a formatter.
            Refusal::Denied(acl::Refusal::Rule(rule)) => policy.acl.locate(rule).write(out),
            // Writing into a Vec cannot fail.
            Refusal::Denied(refusal) => _ = write!(out, "{}", refusal.describe(&policy.acl)),
            Refusal::Guarded(denial) if denial.line > 0 => {
                _ = write!(out, "{}:guard:{}", denial.cause.word(), denial.line);
            }
            other => out.extend_from_slice(other.wording().reason.as_bytes()),
        }
    }
}

fn denied(refusal: acl::Refusal) -> Wording {
    let explanation = match refusal {
        acl::Refusal::Rule(_) => "A rule of this proxy blocks the destination.",
        acl::Refusal::BuiltIn(_) => {
            "The destination's address is one that this proxy never connects to unasked."
        }
        acl::Refusal::OwnListener => "The destination is this proxy itself.",
        acl::Refusal::NotOnAllowlist => "The destination is not on this proxy's list of allowed ones.",
        acl::Refusal::Port { .. } => "This proxy does not connect to that port.",
        acl::Refusal::Client => "Your address may not use this proxy.",
    };
    let error = match refusal {
        acl::Refusal::BuiltIn(_) => "destination_ip_prohibited",
        acl::Refusal::OwnListener => "proxy_loop_detected",
        acl::Refusal::Rule(_)
        | acl::Refusal::NotOnAllowlist
        | acl::Refusal::Port { .. }
        | acl::Refusal::Client => "http_request_denied",
    };
    let advice = match refusal {
        acl::Refusal::BuiltIn(_) => "If you need it, ask the operator of this proxy to allow it (--allow).",
        acl::Refusal::Client => "Ask the operator of this proxy to name it (--allow-client).",
        acl::Refusal::Rule(_)
        | acl::Refusal::OwnListener
        | acl::Refusal::NotOnAllowlist
        | acl::Refusal::Port { .. } => ASK_ADMIN,
    };
    wording(403, error, "denied", explanation, advice)
}

/// The default texts are those of the reference systems (guard semantics, sections 1 and 6).
fn guarded(cause: Cause) -> Wording {
    const WAIT: &str = "Wait for the time in Retry-After before you ask again.";
    let (status, error, explanation, advice) = match cause {
        Cause::Banned => (403, "http_request_denied", "IP address banned.", ASK_ADMIN),
        Cause::Suspicious => (400, "http_request_error", "Suspicious activity detected.", ASK_ADMIN),
        Cause::BannedNow => (403, "http_request_denied", "IP has been banned.", ASK_ADMIN),
        Cause::ClientInCloud(_) => (
            403,
            "http_request_denied",
            "Cloud provider IP not allowed.",
            "Come from a network that is no cloud's.",
        ),
        Cause::DestinationInCloud(_) => (
            403,
            "destination_ip_prohibited",
            "The destination's address belongs to a cloud that this proxy does not connect to.",
            ASK_ADMIN,
        ),
        Cause::Limit => (429, "http_request_denied", "Too many requests.", WAIT),
        Cause::Forged => (
            403,
            "http_request_denied",
            "The request does not show that it comes from a page of this site.",
            "Load the page again, and send the form from there. Cookies have to be allowed.",
        ),
        Cause::Throttled => (429, "http_request_denied", "Too many requests are waiting.", WAIT),
        Cause::Over => (429, "http_request_denied", "Rate limit exceeded for IP", WAIT),
        Cause::Blocked => (429, "http_request_denied", "Too many requests from", WAIT),
        Cause::Permanent => (403, "http_request_denied", "Access permanently blocked for IP", ASK_ADMIN),
        Cause::StoreFailed => (
            503,
            "proxy_internal_error",
            "Security check failed: the store of the limits does not answer.",
            TRY_LATER,
        ),
    };
    wording(status, error, cause.word(), explanation, advice)
}

fn unrouted(why: Unrouted) -> Wording {
    let (status, error, explanation, advice) = match why {
        Unrouted::Host => (
            421,
            "destination_not_found",
            "No route of this gateway is for the host that the request names.",
            "Check the address; the operator of this gateway can add the host to its file.",
        ),
        Unrouted::Path => (
            404,
            "destination_not_found",
            "No route of this gateway is for this path.",
            "Check the address; the operator of this gateway can add the path to its file.",
        ),
        Unrouted::Faulty(_) => (
            400,
            "http_request_error",
            "The path of the request is one that servers read in different ways.",
            "Send the path without dot segments, and without encoded slashes, dots and control characters.",
        ),
        Unrouted::Connect => (
            405,
            "http_request_error",
            "This address is a gateway to web servers: it opens no tunnels.",
            "Send the request to the server itself, without a proxy.",
        ),
        Unrouted::NoUpstream { .. } => (
            503,
            "destination_unavailable",
            "None of the servers for this address can be used at present.",
            "Wait for the time in Retry-After before you ask again.",
        ),
    };
    wording(status, error, why.word(), explanation, advice)
}

fn dns(failure: resolver::Failure) -> Wording {
    const CHECK_NAME: &str = "Check the spelling of the host name.";
    match failure {
        resolver::Failure::NotFound => {
            wording(502, "dns_error", "dns_error:not_found", "The host name does not exist.", CHECK_NAME)
        }
        resolver::Failure::NoAddress => {
            wording(502, "dns_error", "dns_error:no_address", "The host name has no address.", CHECK_NAME)
        }
        resolver::Failure::ServerFailure => wording(
            502,
            "dns_error",
            "dns_error:server_failure",
            "The name servers could not answer.",
            TRY_LATER,
        ),
        resolver::Failure::Timeout => {
            wording(504, "dns_timeout", "dns_timeout", "The name servers did not answer in time.", TRY_LATER)
        }
        resolver::Failure::Malformed => wording(
            502,
            "dns_error",
            "dns_error:malformed",
            "The name servers' answer makes no sense.",
            TRY_LATER,
        ),
        resolver::Failure::Exhausted => connect(SocketError::Exhausted),
    }
}

fn connect(error: SocketError) -> Wording {
    match error {
        SocketError::Refused => wording(
            502,
            "connection_refused",
            "connection_refused",
            "The origin refused the connection.",
            CHECK_ORIGIN,
        ),
        SocketError::Unreachable => wording(
            502,
            "destination_ip_unroutable",
            "destination_ip_unroutable",
            "There is no way to the origin's address.",
            CHECK_ORIGIN,
        ),
        SocketError::TimedOut => wording(
            504,
            "connection_timeout",
            "connection_timeout",
            "The origin did not take the connection in time.",
            CHECK_ORIGIN,
        ),
        SocketError::Reset | SocketError::Closed => wording(
            502,
            "http_response_incomplete",
            "connection_terminated:reset",
            "The origin reset the connection.",
            CHECK_ORIGIN,
        ),
        SocketError::Exhausted => wording(
            503,
            "proxy_internal_error",
            "descriptors_max",
            "This proxy cannot open another connection now.",
            TRY_LATER,
        ),
        SocketError::Other => wording(
            502,
            "destination_unavailable",
            "destination_unavailable",
            "The connection to the origin failed.",
            CHECK_ORIGIN,
        ),
    }
}
