//! `weir explain`: the verdict on one request, by the same code that judges all requests ([`Trial`]).

use super::explain_route::{self, Asked, authority, bracketed, without_userinfo};
use super::guard::GuardFile;
use super::settings::Settings;
use super::trial::{Judges, Trial};
use crate::engine::transaction::log_record::{Text, Verdict};
use crate::gateway::directives::Directives;
use crate::gateway::rules::Gateway;
use crate::guard::rules;
use crate::http::target::{Authority, Host, Target};
use crate::part;
use crate::policy::Policy;
use crate::policy::acl::{Grant, Judgement, Subject};
use crate::policy::auth::Users;
use crate::resolver::Addresses;
use base64::Engine as _;
use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

/// The password of the user in a trial; it exists there only.
const PASSWORD: &str = "explain";

/// The request to explain.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The user of the request.
    pub user: Option<&'a str>,
    /// The address of the client; loopback by default.
    pub client: Option<IpAddr>,
    /// The method; by default the method that a client would use.
    pub method: Option<&'a str>,
    /// A URL, or `host:port`.
    pub target: &'a str,
}

/// What the files of a configuration say.
#[derive(Debug)]
pub struct Rules {
    /// The access rules and users.
    pub policy: Policy,
    /// The guard file.
    pub guard: Option<GuardFile>,
    /// The gateway file.
    pub gateway: Option<Directives>,
}

/// The request as a client sends it.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    method: String,
    target: String,
    host: String,
    /// What it is for, if that can be read.
    authority: Option<Authority>,
}

/// The verdict in lines of text, and whether the request is allowed.
pub fn explain(
    settings: &Settings,
    rules: Rules,
    listeners: Vec<SocketAddr>,
    question: &Question<'_>,
    seed: [u64; 2],
    read_file: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
) -> (String, bool) {
    let Rules { policy, guard, gateway } = rules;
    // In a build without these parts the compiler knows that both are `None`.
    let (guard, gateway) = (part::guard::built().and(guard), part::guard::built().and(gateway));
    let asked =
        gateway.as_ref().and_then(|gateway| explain_route::ask(gateway, question.method, question.target));
    let request = match &asked {
        Some(asked) => Request::to_gateway(asked),
        None => Request::of(question),
    };
    let client = SocketAddr::new(question.client.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), 0);
    let (policy, credentials) = admit_user(policy, question.user, seed);
    let head = request.head(credentials.as_deref());
    let policy = Arc::new(policy);
    let routes = asked.as_ref().and(gateway.as_ref());
    let gateway = routes.and_then(|directives| part::guard::share(Gateway::new(directives, None)));
    let judges = Judges { policy: Arc::clone(&policy), guard, gateway: gateway.clone() };
    let mut trial = Trial::run(settings, judges, listeners, client, head.as_bytes(), seed, read_file);
    let subject = request.subject(client.ip(), question.user);
    let known = subject.and_then(|subject| trial.known_addresses(&subject));
    let verdicts =
        Verdicts { policy: &policy, request: &request, question, client: client.ip(), trial, known };
    match (asked, routes, gateway) {
        (Some(asked), Some(directives), Some(gateway)) => {
            verdicts.text_of_gateway(&asked, asked.route(directives, &gateway))
        }
        _ => verdicts.text(),
    }
}

/// The policy with a known password for the user, and the credentials. A user that is not in the file stays unknown.
fn admit_user(policy: Policy, user: Option<&str>, seed: [u64; 2]) -> (Policy, Option<String>) {
    let (Some(users), Some(user)) = (&policy.users, user) else { return (policy, None) };
    let credentials = format!("{user}:{PASSWORD}");
    let encoded = base64::engine::general_purpose::STANDARD.encode(&credentials);
    if users.find(user.as_bytes()).is_none() {
        return (policy, Some(encoded));
    }
    let known = Users::parse(credentials.as_bytes(), u128::from(seed[0]) << 64 | u128::from(seed[1]));
    (Policy { users: known.ok().map(Arc::new), ..policy }, Some(encoded))
}

impl Request {
    /// The request that a client makes of a URL: https becomes CONNECT, whatever the method inside the tunnel.
    fn of(question: &Question<'_>) -> Request {
        let (method, target) = (question.method, question.target);
        let scheme = target.split_once("://").map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest));
        match (scheme.as_ref().map(|(scheme, rest)| (scheme.as_str(), *rest)), method) {
            (Some(("https" | "wss", rest)), _) => Request::connect(without_userinfo(authority(rest)), 443),
            (Some(("http" | "ws", rest)), Some("CONNECT")) => {
                Request::connect(without_userinfo(authority(rest)), 80)
            }
            (Some((_, rest)), _) => Request::plain(method, target.to_owned(), authority(rest)),
            (None, Some("CONNECT")) => Request::connect(target, 443),
            (None, Some("OPTIONS")) if target == "*" => {
                Request::plain(method, target.to_owned(), "weir.invalid")
            }
            (None, None) if target.ends_with(":443") && bracketed(target) == target => {
                Request::connect(target, 443)
            }
            (None, _) => {
                let target = bracketed(target);
                Request::plain(method, format!("http://{target}"), authority(&target))
            }
        }
    }

    fn connect(target: &str, default_port: u16) -> Request {
        let target = bracketed(target);
        let after_host = target.rfind(']').map_or(target.as_str(), |end| &target[end..]);
        let target = match after_host.split_once(':') {
            None => format!("{target}:{default_port}"),
            Some((_, "")) => format!("{target}{default_port}"),
            Some(_) => target,
        };
        Request::new("CONNECT", target.clone(), target)
    }

    fn plain(method: Option<&str>, target: String, host: &str) -> Request {
        Request::new(method.unwrap_or("GET"), target, host.to_owned())
    }

    fn new(method: &str, target: String, host: String) -> Request {
        let authority = match Target::parse(method, target.as_bytes(), false) {
            Ok(Target::Absolute { authority, .. } | Target::Authority(authority)) => Some(authority),
            Ok(Target::Origin { .. } | Target::Asterisk) | Err(_) => None,
        };
        Request { method: method.to_owned(), target, host, authority }
    }

    fn to_gateway(asked: &Asked) -> Request {
        let Asked { method, target, host, authority } = asked;
        Request { method: method.clone(), target: target.clone(), host: host.clone(), authority: *authority }
    }

    /// What the rules judge, if the authority can be read.
    fn subject<'s>(&'s self, client: IpAddr, user: Option<&'s str>) -> Option<Subject<'s>> {
        let Authority { host, port } = self.authority.as_ref()?;
        let (method, connect) = (self.method.as_str(), self.method == "CONNECT");
        Some(Subject { client, user, method, host, port: *port, connect })
    }

    fn head(&self, credentials: Option<&str>) -> String {
        let Request { method, target, host, .. } = self;
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n");
        if let Some(credentials) = credentials {
            let _ = write!(head, "Proxy-Authorization: Basic {credentials}\r\n");
        }
        head.push_str("\r\n");
        head
    }
}

/// The state for the printed lines.
struct Verdicts<'a> {
    policy: &'a Policy,
    request: &'a Request,
    question: &'a Question<'a>,
    client: IpAddr,
    trial: Trial,
    /// The addresses of the name, and the grant by which they were judged.
    known: Option<(Addresses, Grant)>,
}

impl Verdicts<'_> {
    fn text(self) -> (String, bool) {
        let authority = self.request.authority;
        let asked = match &authority {
            Some(authority) => format!("{} {authority}", self.request.method),
            None => format!("{} {}", self.request.method, self.request.target.escape_debug()),
        };
        let addresses = authority.map(|authority| self.addresses(&authority)).unwrap_or_default();
        let (text, allowed) = if self.trial.dialled.is_empty() {
            self.local_outcome(&asked)
        } else {
            let by = authority.and_then(|authority| self.allowing_rule(&authority));
            let why = by.map_or("no rule forbids it".to_owned(), |rule| format!("by {rule}"));
            (format!("allowed: {asked}\n  {why}\n{}", self.counters(false)), true)
        };
        (text + &addresses, allowed)
    }

    /// The text about a request to the gateway: its route, if it has one, and what is sent to the upstream of the route.
    fn text_of_gateway(self, request: &Asked, route: Option<(String, String)>) -> (String, bool) {
        let Asked { method, target, host, .. } = request;
        let asked = format!("{method} {} of {} at the gateway", target.escape_debug(), host.escape_debug());
        let (mut text, allowed) = match &self.trial.record {
            _ if !self.trial.dialled.is_empty() => (format!("allowed: {asked}\n"), true),
            Some(record) if record.verdict != Verdict::Malformed => {
                let (text, allowed) = self.local_outcome(&asked);
                (format!("{text}  answered with {}\n", record.status), allowed)
            }
            Some(_) | None => self.local_outcome(&asked),
        };
        let (upstreams, sent) = route.unwrap_or_default();
        text.push_str(&upstreams);
        if !self.trial.dialled.is_empty() {
            text.push_str(&sent);
            text.push_str(&self.counters(true));
        }
        (text, allowed)
    }

    /// The lines of the guard file that count the request, or ask for a token; only the running weir knows their counts.
    fn counters(&self, at_gateway: bool) -> String {
        let (Some(guard), Some(authority)) = (&self.trial.guard, self.request.authority) else {
            return String::new();
        };
        let path = match Target::parse(&self.request.method, self.request.target.as_bytes(), false) {
            Ok(Target::Absolute { path, .. } | Target::Origin { path }) => Some(path),
            Ok(Target::Authority(_) | Target::Asterisk) | Err(_) => None,
        };
        let subject = rules::Subject {
            client: self.client,
            user: self.question.user.unwrap_or_default().as_bytes(),
            host: &authority.host,
            path,
            method: &self.request.method,
        };
        let mut text = String::new();
        if let Some(line) = guard.exempting(self.client) {
            let _ = writeln!(text, "  not counted, by guard:{line}: the client is exempt");
        }
        let mut scratch = Vec::new();
        for (line, directive) in guard.covering(&subject, &mut scratch) {
            let _ = writeln!(text, "  counted by guard:{line}: {directive}");
        }
        for line in guard.watching(&subject, &mut scratch) {
            let _ = writeln!(text, "  watched by guard:{line}: behaviour");
        }
        // Of a forward proxy no token is asked for.
        if let Some(line) = guard.protecting_line(&subject, &mut scratch).filter(|_| at_gateway) {
            let _ = writeln!(text, "  protected by guard:{line}: csrf protect");
        }
        text
    }

    /// The lines for a request for which no address was dialled.
    fn local_outcome(&self, asked: &str) -> (String, bool) {
        let Some(record) = &self.trial.record else {
            return (format!("failed: {asked}\n  the name servers did not answer in time\n"), false);
        };
        let reason = String::from_utf8_lossy(record.text(Text::Reason)).into_owned();
        let word = match record.verdict {
            Verdict::Allowed => "allowed",
            Verdict::Refused => "refused",
            Verdict::Malformed => "malformed",
            Verdict::Failed => "failed",
        };
        let why = match (record.verdict, record.status, reason.as_str()) {
            (Verdict::Allowed, _, _) => "weir answers it itself".to_owned(),
            (_, 407, _) => match self.question.user {
                None => "credentials are asked for: say --user NAME".to_owned(),
                Some(user) => format!("the user \"{}\" is not in the user file", user.escape_debug()),
            },
            (_, _, "dns_error:not_found") => "the name does not exist, so there is nowhere to go".to_owned(),
            (_, _, "dns_error:no_address") => "the name has no address, so there is nowhere to go".to_owned(),
            (_, _, "dns_error:server_failure") => "the name servers could not answer".to_owned(),
            (_, _, "dns_timeout") => "the name servers did not answer in time".to_owned(),
            (Verdict::Malformed, status, _) => format!("{reason}: answered with {status}"),
            (Verdict::Refused | Verdict::Failed, _, _) => format!("by {reason}"),
        };
        (format!("{word}: {asked}\n  {why}\n"), record.verdict == Verdict::Allowed)
    }

    /// The addresses of the name that would be dialled, and the reasons against the others.
    fn addresses(&self, authority: &Authority) -> String {
        let Host::Name(_) = &authority.host else { return String::new() };
        let (acl, dialled) = (&self.policy.acl, &self.trial.dialled);
        let mut text = String::new();
        for address in dialled {
            let _ = writeln!(text, "  {address}: would be dialled");
        }
        let Some((addresses, grant)) = &self.known else { return text };
        let guard = self.trial.guard.as_ref();
        for address in addresses.as_slice().iter().filter(|address| !dialled.contains(address)) {
            if let Err(refusal) = acl.judge_address(grant, *address, authority.port) {
                let _ = writeln!(text, "  {address}: refused by {}", refusal.describe(acl));
            } else if let Some(denial) = guard.and_then(|guard| guard.destination_denial(*address)) {
                let _ =
                    writeln!(text, "  {address}: refused by {}:guard:{}", denial.cause.word(), denial.line);
            }
        }
        text
    }

    /// The rule that allows the name, or else the first address.
    fn allowing_rule(&self, authority: &Authority) -> Option<String> {
        let acl = &self.policy.acl;
        let judged = || match acl.judge(&self.request.subject(self.client, self.question.user)?) {
            Judgement::Granted(grant) => Some(grant),
            Judgement::Refused(_) => None,
        };
        let grant = self.known.as_ref().map(|(_, grant)| *grant).or_else(judged)?;
        let by_address = || {
            let mut dialled = self.trial.dialled.iter();
            dialled.find_map(|address| acl.decide_address(&grant, *address, authority.port).ok().flatten())
        };
        grant.by.or_else(by_address).map(|rule| acl.locate(rule).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_22_a_url_becomes_what_clients_make_of_it() {
        let cases = [
            (None, "http://a.test/x", "GET http://a.test/x a.test"),
            (None, "HTTP://a.test:81", "GET HTTP://a.test:81 a.test:81"),
            (None, "a.test", "GET http://a.test a.test"),
            (None, "a.test:8080/x?y", "GET http://a.test:8080/x?y a.test:8080"),
            (None, "https://a.test/x", "CONNECT a.test:443 a.test:443"),
            (None, "HTTPS://u:p@a.test:8443?x", "CONNECT a.test:8443 a.test:8443"),
            (None, "wss://a.test#x", "CONNECT a.test:443 a.test:443"),
            (None, "ws://a.test/", "GET ws://a.test/ a.test"),
            (None, "ftp://a.test/", "GET ftp://a.test/ a.test"),
            (None, "a.test:443", "CONNECT a.test:443 a.test:443"),
            (None, "::1", "GET http://[::1] [::1]"),
            (None, "2001:db8::443", "GET http://[2001:db8::443] [2001:db8::443]"),
            (None, "[2001:db8::1]:443", "CONNECT [2001:db8::1]:443 [2001:db8::1]:443"),
            (Some("GET"), "a.test:443", "GET http://a.test:443 a.test:443"),
            (Some("POST"), "https://[::1]/", "CONNECT [::1]:443 [::1]:443"),
            (Some("CONNECT"), "a.test", "CONNECT a.test:443 a.test:443"),
            (Some("CONNECT"), "a.test:", "CONNECT a.test:443 a.test:443"),
            (Some("CONNECT"), "a.test:25", "CONNECT a.test:25 a.test:25"),
            (Some("CONNECT"), "::1", "CONNECT [::1]:443 [::1]:443"),
            (Some("CONNECT"), "[::1]", "CONNECT [::1]:443 [::1]:443"),
            (Some("CONNECT"), "http://a.test/", "CONNECT a.test:80 a.test:80"),
            (Some("CONNECT"), "u@a.test:443", "CONNECT u@a.test:443 u@a.test:443"),
            (Some("OPTIONS"), "*", "OPTIONS * weir.invalid"),
        ];
        for (method, target, expected) in cases {
            let Request { method: sent, target: to, host, .. } =
                Request::of(&Question { user: None, client: None, method, target });
            assert_eq!(format!("{sent} {to} {host}"), expected, "{method:?} {target}");
        }
    }
}
