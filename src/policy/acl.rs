//! The verdict on a request: client, port, name and each address.
//!
//! # Theory of operation
//!
//! A request is judged in two steps. [`Acl::judge`] looks at the request: client, port, host. If the host is a name,
//! the best answer is a [`Grant`], and each address that the name resolves to must pass [`Acl::judge_address`] with
//! that grant before it is dialled. If the host is an address, both steps happen at once.
//!
//! The order is: explicit block, explicit allow, built-in block, default. The default is to allow, or to refuse if
//! there is an allowlist. In detail:
//!
//! - Ports come first: rules open hosts, not ports.
//! - An allow rule for the address, or for the exact name, lifts the built-in block. A wildcard does not: the owner
//!   of a name below it could point that name at this machine (DNS rebinding).
//! - With an allowlist, a name without an allow rule may still resolve to an allowed network, if there are any. It may also become
//!   another name by a search list, which is judged by [`Acl::judge_name`].
//! - weir's own listeners are refused before allow rules are looked at, because a request to them would loop, and because the
//!   one for monitoring systems is not for clients. They are allowed only by a rule that names exactly this port (and the exact
//!   name, if it is a rule for names).
//! - An address that embeds other addresses is refused if one of them is. An allow rule for the outer form lifts the
//!   built-in block from the embedded ones, but no explicit block.

use std::fmt;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;

use super::address::{BuiltIn, built_in};
use super::address_set::{AddressSet, AddressSetBuilder};
use super::domain_set::{DomainSet, DomainSetBuilder, EXPECTED_ROOM};
use super::location::{RuleLocation, RuleRef};
use super::port_set::PortSet;
use super::rules::{Pattern, Rule, RuleError, parse_one, parse_rules};
use crate::http::target::{Host, Name};
use crate::net::Embedded;

/// Most sources of rules: they are numbered with 16 bits.
pub const SOURCES_MAX: usize = u16::MAX as usize;

/// The effect of the rules of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// Refuse.
    Block,
    /// Allow, also against the built-in block.
    Allow,
    /// Allow, and refuse every request without an allow rule.
    AllowOnly,
}

/// An invalid line of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListError {
    /// The name of the file or option.
    pub source: String,
    /// Line, what was found, what was expected.
    pub error: RuleError,
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.source, self.error.line, self.error)
    }
}

/// The request that is judged.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The client.
    pub client: IpAddr,
    /// The authenticated user. No rule uses it yet.
    pub user: Option<&'a str>,
    /// The method. No rule uses it yet.
    pub method: &'a str,
    /// The requested host.
    pub host: &'a Host,
    /// The requested port.
    pub port: u16,
    /// The request is a CONNECT.
    pub connect: bool,
}

/// Why a request or an address is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A rule blocks the host or the address.
    Rule(RuleRef),
    /// The address is in a built-in block, and no rule lifts it.
    BuiltIn(BuiltIn),
    /// The address and port are a listener of weir.
    OwnListener,
    /// An allowlist is configured, and no rule of it matches.
    NotOnAllowlist,
    /// The port is not allowed for this kind of request.
    Port {
        /// The request is a CONNECT.
        connect: bool,
    },
    /// The client is not allowed to use the proxy.
    Client,
}

impl Refusal {
    /// The reason in words for logs and replies: `blocklist.txt:12`, `built-in:loopback`, `connect-ports`.
    pub fn describe(self, acl: &Acl) -> Reason<'_> {
        Reason { refusal: self, acl }
    }
}

/// A refusal in words.
#[derive(Clone, Copy, Debug)]
pub struct Reason<'a> {
    refusal: Refusal,
    acl: &'a Acl,
}

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.refusal {
            Refusal::Rule(rule) => self.acl.locate(rule).fmt(f),
            Refusal::BuiltIn(reason) => write!(f, "built-in:{}", reason.name()),
            Refusal::OwnListener => f.write_str("own-listener"),
            Refusal::NotOnAllowlist => f.write_str("allowlist"),
            Refusal::Port { connect: true } => f.write_str("connect-ports"),
            Refusal::Port { connect: false } => f.write_str("plain-ports"),
            Refusal::Client => f.write_str("clients"),
        }
    }
}

/// Permission to resolve and dial. Each address must still be judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// The rule that allows the request; `None` by default.
    pub by: Option<RuleRef>,
    /// The rule names exactly this host, so it lifts the built-in block.
    pub exact: bool,
    /// This rule, or another one for exactly this host, names exactly this port: it may be a listener of weir.
    pub exact_port: bool,
    /// There is an allowlist without a rule for the name: each address must be on it.
    pub undecided: bool,
}

/// The verdict on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The request is refused.
    Refused(Refusal),
    /// The request continues, and each address is judged.
    Granted(Grant),
}

/// The rules that block, or the rules that allow.
#[derive(Debug)]
struct RuleSet {
    names: DomainSet,
    addresses: AddressSet,
}

/// The loaded access rules. Clones share the rules.
#[derive(Clone, Debug)]
pub struct Acl {
    sources: Arc<Vec<Box<str>>>,
    block: Arc<RuleSet>,
    allow: Arc<RuleSet>,
    allow_only: bool,
    /// See [`Acl::edition`].
    edition: u16,
    connect_ports: PortSet,
    plain_ports: PortSet,
    deny_private: bool,
    own_listeners: Vec<SocketAddr>,
    /// The addresses of this machine's interfaces: sorted, in canonical form.
    own_addresses: Vec<IpAddr>,
    clients: Vec<IpNet>,
    skipped: Arc<Vec<Skipped>>,
}

/// A list with lines that only a browser can apply.
#[derive(Debug)]
pub struct Skipped {
    /// The name of the file.
    pub source: Box<str>,
    /// Number of such lines.
    pub lines: u32,
    /// The first error.
    pub first: RuleError,
    /// Number of rules in the list.
    pub rules: u32,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Skipped { source, lines, first, rules } = self;
        let are = if *lines == 1 { "line skipped that is" } else { "lines skipped that are" };
        write!(
            f,
            "{source}: {lines} {are} for browsers, beside {rules} rules; the first is line {}: {first}",
            first.line
        )
    }
}

impl Acl {
    /// Judges a request.
    pub fn judge(&self, subject: &Subject<'_>) -> Judgement {
        match self.grant(subject) {
            Ok(grant) => Judgement::Granted(grant),
            Err(refusal) => Judgement::Refused(refusal),
        }
    }

    /// Judges an address that the name of a granted request resolved to.
    pub fn judge_address(&self, grant: &Grant, address: IpAddr, port: u16) -> Result<(), Refusal> {
        self.decide_address(grant, address, port).map(|_| ())
    }

    /// Judges an address like [`Acl::judge_address`], and returns the rule that allows it, if there is one.
    pub fn decide_address(
        &self,
        grant: &Grant,
        address: IpAddr,
        port: u16,
    ) -> Result<Option<RuleRef>, Refusal> {
        let address = address.to_canonical();
        let embedded = Embedded::of(address);
        let inner = || embedded.iter();
        let find_block = |address: IpAddr| self.block.addresses.find(address, port);
        let blocked = find_block(address).or_else(|| find_block(reached(address)));
        if let Some(found) = blocked.or_else(|| inner().find_map(find_block)) {
            return Err(Refusal::Rule(found.rule));
        }
        let allowed = self.allow.addresses.find(address, port);
        let names_port = grant.exact_port || allowed.is_some_and(|found| found.names_port);
        let is_own = |address: IpAddr| self.is_own_listener(address, port);
        if !names_port && (is_own(address) || inner().any(is_own)) {
            return Err(Refusal::OwnListener);
        }
        if let Some(found) = allowed {
            return Ok(Some(found.rule));
        }
        self.check_built_in(grant.exact, address)?;
        // The embedded addresses may be allowed for themselves. The outer address is on the allowlist if all of them
        // are.
        let mut by = None;
        let mut all = true;
        for inner in inner() {
            let found = self.allow.addresses.find(inner, port);
            self.check_built_in(grant.exact || found.is_some(), inner)?;
            by = by.or(found.map(|found| found.rule));
            all &= found.is_some();
        }
        let by = by.filter(|_| all);
        if grant.undecided && by.is_none() {
            return Err(Refusal::NotOnAllowlist);
        }
        Ok(by)
    }

    /// Whether there are allow rules for addresses: then one of them may allow what a granted name resolved to.
    pub fn allows_addresses(&self) -> bool {
        !self.allow.addresses.is_empty()
    }

    /// The location of a rule in words.
    pub fn locate(&self, rule: RuleRef) -> RuleLocation<'_> {
        let source = self.sources.get(usize::from(rule.source)).map_or("", |source| source);
        RuleLocation { source, line: rule.line }
    }

    /// Appends the text of a blocking rule, in weir's own form. If a line has several names: the name that blocks this host,
    /// or else the first.
    pub fn write_rule(&self, rule: RuleRef, host: &Host, port: u16, out: &mut Vec<u8>) {
        if self.block.names.write_rule_at(rule, host, port, out) {
            return;
        }
        if let Some(rule) = self.block.addresses.rule_at(rule) {
            // Writing into a Vec cannot fail.
            _ = write!(out, "{rule}");
        }
    }

    /// The ports that are allowed for CONNECT, or for other requests.
    pub fn ports(&self, connect: bool) -> &PortSet {
        if connect { &self.connect_ports } else { &self.plain_ports }
    }

    /// Whether the client may use the proxy at all. [`Acl::judge`] checks this, too.
    pub fn allows_client(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        self.clients.is_empty() || self.clients.iter().any(|network| network.contains(&client))
    }

    /// Number of loaded rules, without repeated names.
    pub fn len(&self) -> usize {
        [&self.block, &self.allow].map(|set| set.names.len() + set.addresses.len()).iter().sum()
    }

    /// Number of loaded rules for networks of IPv4, and of IPv6.
    pub fn networks(&self) -> [usize; 2] {
        let [blocked, allowed] = [&self.block, &self.allow].map(|set| set.addresses.counts());
        [blocked[0] + allowed[0], blocked[1] + allowed[1]]
    }

    /// Lists with lines that only a browser can apply.
    pub fn skipped(&self) -> impl Iterator<Item = &Skipped> {
        self.skipped.iter()
    }

    /// Whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Heap bytes of the rules.
    pub fn heap_bytes(&self) -> usize {
        [&self.block, &self.allow].map(|set| set.names.heap_bytes() + set.addresses.heap_bytes()).iter().sum()
    }

    fn grant(&self, subject: &Subject<'_>) -> Result<Grant, Refusal> {
        if !self.allows_client(subject.client) {
            return Err(Refusal::Client);
        }
        if !self.ports(subject.connect).contains(subject.port) {
            return Err(Refusal::Port { connect: subject.connect });
        }
        match subject.host {
            Host::Address(address) => {
                let grant = Grant { undecided: self.allow_only, ..Grant::default() };
                let by = self.decide_address(&grant, *address, subject.port)?;
                Ok(Grant { by, ..grant })
            }
            Host::Name(name) => match self.judge_name(name, subject.port) {
                Ok(grant) if grant.undecided && !self.allows_addresses() => Err(Refusal::NotOnAllowlist),
                judged => judged,
            },
        }
    }

    /// Judges a name by the name rules alone: an alias or target that stands in for the requested name. It is refused only if
    /// a rule blocks it; whether it is on the allowlist may be undecided.
    pub fn judge_name(&self, name: &Name, port: u16) -> Result<Grant, Refusal> {
        if let Some(found) = self.block.names.find(name, port) {
            return Err(Refusal::Rule(found.rule));
        }
        match self.allow.names.find(name, port) {
            Some(found) => Ok(Grant {
                by: Some(found.rule),
                exact: found.exact,
                exact_port: found.exact_port,
                undecided: false,
            }),
            None => Ok(Grant { undecided: self.allow_only, ..Grant::default() }),
        }
    }

    /// The edition of the rules: a reload has the next one. A verdict that is kept with its edition is told from a verdict of
    /// other rules. Never 0; it begins again after 65,535 reloads.
    pub fn edition(&self) -> u16 {
        self.edition
    }

    /// The rules as those that come after others in this process.
    pub fn succeeding(self, others: &Acl) -> Acl {
        Acl { edition: others.edition.checked_add(1).unwrap_or(1), ..self }
    }

    /// Applies the built-in block, unless a rule lifts it.
    fn check_built_in(&self, lifted: bool, address: IpAddr) -> Result<(), Refusal> {
        if lifted {
            return Ok(());
        }
        let own = || self.own_addresses.binary_search(&address).is_ok().then_some(BuiltIn::OwnAddress);
        built_in(address, self.deny_private)
            .or_else(own)
            .map_or(Ok(()), |reason| Err(Refusal::BuiltIn(reason)))
    }

    /// The rules for a machine whose interfaces have these addresses.
    pub fn with_own_addresses(&self, addresses: Vec<IpAddr>) -> Acl {
        Acl { own_addresses: sorted(addresses.into_iter()), ..self.clone() }
    }

    /// The addresses of this machine's interfaces, sorted.
    pub fn own_addresses(&self) -> &[IpAddr] {
        &self.own_addresses
    }

    /// Whether a connection to this address and port would come back to weir.
    fn is_own_listener(&self, address: IpAddr, port: u16) -> bool {
        let address = reached(address);
        self.own_listeners.iter().filter(|listener| listener.port() == port).any(|listener| {
            let reached = match listener.ip() {
                IpAddr::V4(Ipv4Addr::UNSPECIFIED) => address.is_ipv4(),
                // A wildcard IPv6 socket may accept IPv4 connections as well.
                IpAddr::V6(Ipv6Addr::UNSPECIFIED) => true,
                own => return own == address,
            };
            reached && (address.is_loopback() || self.own_addresses.binary_search(&address).is_ok())
        })
    }
}

/// The address that a connection to an address reaches: the unspecified addresses lead to the loopback interface.
fn reached(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        other => other,
    }
}

/// Collects the parts of an [`Acl`]. Errors are kept until the end, so that all are reported at once.
#[derive(Debug)]
pub struct AclBuilder {
    seed: u64,
    block: (DomainSetBuilder, AddressSetBuilder),
    allow: (DomainSetBuilder, AddressSetBuilder),
    errors: Vec<ListError>,
    sources: Vec<Box<str>>,
    skipped: Vec<Skipped>,
    /// The access list without rules: its sets are empty.
    acl: Acl,
}

impl AclBuilder {
    /// A builder with no rules, the default ports, no denied private ranges, and all clients. The seed keys the hash of names.
    pub fn new(seed: u64) -> AclBuilder {
        let empty = || {
            let names = DomainSetBuilder::default().build(seed);
            Arc::new(RuleSet { names, addresses: AddressSetBuilder::default().build() })
        };
        AclBuilder {
            seed,
            block: Default::default(),
            allow: Default::default(),
            errors: Vec::new(),
            sources: Vec::new(),
            skipped: Vec::new(),
            acl: Acl {
                sources: Arc::default(),
                block: empty(),
                allow: empty(),
                allow_only: false,
                edition: 1,
                connect_ports: PortSet::connect_default(),
                plain_ports: PortSet::plain_default(),
                deny_private: false,
                own_listeners: Vec::new(),
                own_addresses: Vec::new(),
                clients: Vec::new(),
                skipped: Arc::default(),
            },
        }
    }

    /// Adds the text of a rule file.
    pub fn add_list(&mut self, kind: ListKind, source_name: &str, text: &[u8]) -> &mut AclBuilder {
        self.add(kind, source_name, |names, addresses, source| {
            names.reserve(text.len());
            let mut rules = 0u32;
            let unread = parse_rules(text, |line, rule| {
                rules = rules.saturating_add(1);
                push(names, addresses, rule, RuleRef { source, line })
            });
            let source = source_name.into();
            let skipped =
                unread.first_skipped.map(|first| Skipped { source, lines: unread.skipped, first, rules });
            (unread.errors, skipped)
        })
    }

    /// Adds the rule of an option; `line` is its position among the options of that name.
    pub fn add_rule(&mut self, kind: ListKind, source_name: &str, line: u32, text: &str) -> &mut AclBuilder {
        self.add(kind, source_name, |names, addresses, source| {
            let outcome = parse_one(text, |rule| push(names, addresses, rule, RuleRef { source, line }));
            (outcome.err().map(|error| RuleError { line, ..error }).into_iter().collect(), None)
        })
    }

    /// Numbers the source and reads it.
    fn add(
        &mut self,
        kind: ListKind,
        source_name: &str,
        read: impl FnOnce(&mut DomainSetBuilder, &mut AddressSetBuilder, u16) -> (Vec<RuleError>, Option<Skipped>),
    ) -> &mut AclBuilder {
        let number = u16::try_from(self.sources.len()).ok();
        let Some(source) = number.filter(|&number| usize::from(number) < SOURCES_MAX) else {
            let error =
                RuleError { line: 0, found: source_name.to_owned(), expected: "at most 65535 rule files" };
            self.errors.push(ListError { source: source_name.to_owned(), error });
            return self;
        };
        self.sources.push(source_name.into());
        self.acl.allow_only |= matches!(kind, ListKind::AllowOnly);
        let (names, addresses) = match kind {
            ListKind::Block => &mut self.block,
            ListKind::Allow | ListKind::AllowOnly => &mut self.allow,
        };
        let (errors, skipped) = read(names, addresses, source);
        self.skipped.extend(skipped);
        let named = errors.into_iter().map(|error| ListError { source: source_name.to_owned(), error });
        self.errors.extend(named);
        self
    }

    /// Sets the ports that CONNECT may name.
    pub fn connect_ports(&mut self, ports: PortSet) -> &mut AclBuilder {
        self.acl.connect_ports = ports;
        self
    }

    /// Sets the ports that other requests may name.
    pub fn plain_ports(&mut self, ports: PortSet) -> &mut AclBuilder {
        self.acl.plain_ports = ports;
        self
    }

    /// Also closes private and other special ranges.
    pub fn deny_private(&mut self, deny: bool) -> &mut AclBuilder {
        self.acl.deny_private = deny;
        self
    }

    /// Sets the addresses that weir listens on, as they were bound.
    pub fn own_listeners(&mut self, listeners: Vec<SocketAddr>) -> &mut AclBuilder {
        let canonical = |listener: SocketAddr| SocketAddr::new(listener.ip().to_canonical(), listener.port());
        self.acl.own_listeners = listeners.into_iter().map(canonical).collect();
        self
    }

    /// Sets the addresses of this machine's interfaces. They are closed on every port, and a listener on a wildcard
    /// address listens on them.
    pub fn own_addresses(&mut self, addresses: Vec<IpAddr>) -> &mut AclBuilder {
        self.acl.own_addresses = sorted(addresses.into_iter());
        self
    }

    /// Sets the networks of allowed clients; none means any client.
    pub fn clients(&mut self, networks: Vec<IpNet>) -> &mut AclBuilder {
        self.acl.clients = networks;
        self
    }

    /// Builds the rules, or returns all errors.
    pub fn build(self) -> Result<Acl, Vec<ListError>> {
        if !self.errors.is_empty() {
            return Err(self.errors);
        }
        let seed = self.seed;
        let set = |(names, addresses): (DomainSetBuilder, AddressSetBuilder)| RuleSet {
            names: names.build(seed),
            addresses: addresses.build(),
        };
        let (block, allow) = (Arc::new(set(self.block)), Arc::new(set(self.allow)));
        Ok(Acl { block, allow, sources: self.sources.into(), skipped: self.skipped.into(), ..self.acl })
    }
}

/// Addresses in their canonical form, sorted, each once. By insertion: there are few, and a sort of their own is 3 KB of code.
pub fn sorted(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut sorted = Vec::new();
    for address in addresses.map(|address| address.to_canonical()) {
        if let Err(at) = sorted.binary_search(&address) {
            sorted.insert(at, address);
        }
    }
    sorted
}

fn push(
    names: &mut DomainSetBuilder,
    addresses: &mut AddressSetBuilder,
    Rule { pattern, ports }: &Rule,
    rule: RuleRef,
) -> Result<(), &'static str> {
    let added = match pattern {
        Pattern::Name(kind, name) => names.push(*kind, name, *ports, rule),
        Pattern::Network(network) => addresses.push(*network, *ports, rule),
    };
    if added { Ok(()) } else { Err(EXPECTED_ROOM) }
}

#[cfg(test)]
#[path = "acl_tests.rs"]
mod tests;
