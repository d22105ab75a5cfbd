//! `weir explain`: the verdict on one request, from the code that judges all of them.

use super::policy::resolver_settings;
use super::settings::Settings;
use crate::http::target::{Authority, Host, Target};
use crate::policy::Policy;
use crate::policy::acl::{Grant, Judgement, Refusal, Subject};
use crate::resolver::{Action, LookUp, Outcome, Resolver, Transport};
use crate::time::Now;
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

/// Longest wait for one reply; the resolver has its own deadlines within it.
const REPLY_WITHIN: Duration = Duration::from_millis(50);

/// The request that is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Asked by this user.
    pub user: Option<&'a str>,
    /// Asked from this address; loopback if none.
    pub client: Option<IpAddr>,
    /// The method.
    pub method: &'a str,
    /// A URL, or `host:port`.
    pub target: &'a str,
}

/// The verdict in lines of text, and whether it is yes. Fails with what was expected of the target.
pub fn explain(
    settings: &Settings,
    policy: &Policy,
    question: &Question<'_>,
    seed: [u64; 2],
    read_file: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<(String, bool), String> {
    let authority = parse_target(question)?;
    let subject = Subject {
        client: question.client.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        user: question.user,
        method: question.method,
        host: &authority.host,
        port: authority.port,
        connect: question.method == "CONNECT",
    };
    let unknown = question
        .user
        .filter(|user| policy.users.as_ref().is_some_and(|users| users.find(user.as_bytes()).is_none()));
    let asked = format!("{} {authority}", question.method);
    if policy.users.is_some() && question.user.is_none() {
        return Ok((format!("refused: {asked}\n  credentials are asked for: say --user NAME\n"), false));
    }
    if let Some(user) = unknown {
        return Ok((format!("refused: {asked}\n  the user {user:?} is not in the user file\n"), false));
    }
    match policy.acl.judge(&subject) {
        Judgement::Refused(refusal) => Ok((refused(policy, &asked, refusal), false)),
        Judgement::Granted(grant) => match authority.host {
            Host::Address(address) => Ok((granted(policy, &asked, &grant, &[address], authority.port), true)),
            Host::Name(name) => {
                let (resolver, hosts) = resolver_settings(settings, read_file);
                let outcome = resolve(&mut Resolver::new(resolver, hosts, seed), &name);
                Ok(judge_outcome(policy, &asked, &grant, authority.port, outcome))
            }
        },
    }
}

fn parse_target(question: &Question<'_>) -> Result<Authority, String> {
    let target = question.target.as_bytes();
    match Target::parse(question.method, target, false) {
        Ok(Target::Absolute { authority, .. } | Target::Authority(authority)) => return Ok(authority),
        Ok(Target::Origin { .. } | Target::Asterisk) | Err(_) => {}
    }
    // A bare host:port is judged for any method, an https URL as the CONNECT that clients make of it.
    let https = target.strip_prefix(b"https://");
    let bare = https.map(|rest| rest.split(|&byte| byte == b'/').next().unwrap_or(rest)).unwrap_or(target);
    Authority::parse(bare, Some(if https.is_some() { 443 } else { 80 }))
        .map_err(|fault| format!("{}: expected a URL or HOST:PORT: {}", question.target, fault.explanation()))
}

fn refused(policy: &Policy, asked: &str, refusal: Refusal) -> String {
    format!("refused: {asked}\n  by {}\n", refusal.describe(&policy.acl))
}

fn granted(policy: &Policy, asked: &str, grant: &Grant, addresses: &[IpAddr], port: u16) -> String {
    let by_address =
        addresses.iter().find_map(|address| policy.acl.decide_address(grant, *address, port).ok().flatten());
    match grant.by.or(by_address) {
        Some(rule) => format!("allowed: {asked}\n  by {}\n", policy.acl.describe(rule)),
        None => format!("allowed: {asked}\n  no rule forbids it\n"),
    }
}

fn judge_outcome(policy: &Policy, asked: &str, grant: &Grant, port: u16, outcome: Outcome) -> (String, bool) {
    let addresses = match outcome {
        Outcome::Addresses(addresses) => addresses,
        Outcome::Failed(_) if grant.undecided => {
            return (refused(policy, asked, Refusal::NotOnAllowlist), false);
        }
        Outcome::Failed(failure) => {
            let mut text = granted(policy, asked, grant, &[], port);
            text.push_str(&format!(
                "  the name could not be resolved here ({failure:?}); its addresses would be judged, too\n"
            ));
            return (text, true);
        }
    };
    let verdicts: Vec<_> = addresses
        .as_slice()
        .iter()
        .map(|address| (*address, policy.acl.judge_address(grant, *address, port)))
        .collect();
    let approved: Vec<IpAddr> =
        verdicts.iter().filter(|(_, verdict)| verdict.is_ok()).map(|(address, _)| *address).collect();
    let first_refusal = verdicts.iter().find_map(|(_, verdict)| verdict.err());
    let mut text = match first_refusal {
        Some(refusal) if approved.is_empty() => refused(policy, asked, refusal),
        Some(_) | None => granted(policy, asked, grant, &approved, port),
    };
    for (address, verdict) in &verdicts {
        let word = match verdict {
            Ok(()) => "would be dialled".to_string(),
            Err(refusal) => format!("refused by {}", refusal.describe(&policy.acl)),
        };
        text.push_str(&format!("  {address}: {word}\n"));
    }
    (text, !approved.is_empty())
}

/// Drives the resolver with blocking sockets: there is nothing else to do here meanwhile.
fn resolve(resolver: &mut Resolver, name: &crate::http::target::Name) -> Outcome {
    let began = Instant::now();
    let now = || Now { monotonic_us: began.elapsed().as_micros() as u64, unix_us: 0 };
    let look_up = match resolver.look_up(now(), name) {
        LookUp::Ready(outcome) => return outcome,
        LookUp::Pending(look_up) => look_up,
        LookUp::Full => return Outcome::Failed(crate::resolver::Failure::ServerFailure),
    };
    let mut sockets = HashMap::new();
    loop {
        while let Some(action) = resolver.next_action() {
            match action {
                Action::Done { id, outcome } if id == look_up => return outcome,
                Action::Done { .. } => {}
                Action::Abandon(query) => drop(sockets.remove(&query)),
                Action::Send { query, server, transport: Transport::Tcp, message } => {
                    match ask_over_tcp(server, message.as_bytes()) {
                        Ok(reply) => resolver.handle_reply(now(), query, &reply),
                        Err(_) => resolver.handle_failure(now(), query),
                    }
                }
                Action::Send { query, server, transport: Transport::Udp, message } => {
                    match ask_over_udp(server, message.as_bytes()) {
                        Ok(socket) => drop(sockets.insert(query, socket)),
                        Err(_) => resolver.handle_failure(now(), query),
                    }
                }
            }
        }
        let mut replies = Vec::new();
        for (query, socket) in &sockets {
            let mut reply = vec![0; 4096];
            match socket.recv(&mut reply) {
                Ok(count) => replies.push((*query, Ok(reply[..count].to_vec()))),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                }
                Err(error) => replies.push((*query, Err(error))),
            }
        }
        for (query, reply) in replies {
            match reply {
                Ok(message) => resolver.handle_reply(now(), query, &message),
                Err(_) => resolver.handle_failure(now(), query),
            }
        }
        resolver.handle_timeout(now());
    }
}

fn ask_over_udp(server: SocketAddr, message: &[u8]) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(REPLY_WITHIN))?;
    socket.send(message)?;
    Ok(socket)
}

fn ask_over_tcp(server: SocketAddr, message: &[u8]) -> io::Result<Vec<u8>> {
    let within = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&server, within)?;
    stream.set_read_timeout(Some(within))?;
    stream.write_all(&[&(message.len() as u16).to_be_bytes(), message].concat())?;
    let mut len = [0; 2];
    stream.read_exact(&mut len)?;
    let mut reply = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut reply)?;
    Ok(reply)
}
