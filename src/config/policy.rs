//! Compiles the settings, and the files that they name, into the policy and settings of the engine, or reports all
//! problems.

use super::interface;
use super::problem::{Located, Origin, Problems};
use super::settings::Settings;
use super::values::{self, ErrorPage};
use crate::cache::rfc::freshness::Freshness;
use crate::cache::store::{Limits, Store};
use crate::engine;
use crate::http::head;
use crate::http::template::Template;
use crate::part::cache::built;
use crate::policy::Policy;
use crate::policy::acl::{Acl, AclBuilder, ListError, ListKind};
use crate::policy::auth::Users;
use crate::policy::cache_rules::{CacheRules, PURGE_TOKEN_FIELD, PurgeToken, Treatment};
use crate::policy::edit::{Direction, Edits};
use crate::policy::pages::{Pages, Statuses};
use crate::policy::rules::Rule;
use crate::resolver;
use crate::words;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The system's list of name servers.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The system's list of names.
const HOSTS: &str = "/etc/hosts";

/// The addresses of this proxy and this machine.
#[derive(Clone, Debug, Default)]
pub struct LocalAddresses {
    /// The listeners.
    pub listeners: Vec<SocketAddr>,
    /// The addresses of this machine's interfaces.
    pub addresses: Vec<IpAddr>,
}

/// Compiles the policy. `read_file` reads one file; the seed keys hashes and must be random.
pub fn compile(
    settings: &Settings,
    own: &LocalAddresses,
    seed: [u64; 2],
    read_file: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Policy, Problems> {
    let mut problems = Problems::new();
    let acl = compile_acl(settings, own, seed[0], read_file, &mut problems);
    let users = compile_users(settings, seed, read_file, &mut problems);
    let edits = compile_edits(settings, &mut problems);
    let mut cache_rules = compile_cache_rules(settings, read_file, &mut problems);
    if let Some(token) = compile_purge_token(settings, seed, read_file, &mut problems) {
        cache_rules.set_purge_token(token);
    }
    let pages = compile_pages(settings, read_file, &mut problems);
    match acl {
        Some(acl) if problems.is_empty() => {
            Ok(Policy { acl, users, edits, cache_rules, pages, quiet_refusals: settings.quiet_refusals })
        }
        Some(_) | None => Err(problems),
    }
}

/// The addresses on which this process listens: for clients, and for monitoring systems.
fn own_listeners(settings: &Settings, own: &LocalAddresses) -> Vec<SocketAddr> {
    let metrics = settings.metrics.iter().map(|metrics| metrics.value);
    own.listeners.iter().copied().chain(metrics).collect()
}

fn compile_acl(
    settings: &Settings,
    own: &LocalAddresses,
    seed: u64,
    read_file: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
    problems: &mut Problems,
) -> Option<Acl> {
    let mut builder = AclBuilder::new(seed);
    builder
        .deny_private(settings.deny_private)
        .own_listeners(own_listeners(settings, own))
        .own_addresses(own.addresses.clone())
        .connect_ports(settings.connect_ports.clone())
        .plain_ports(settings.ports.clone())
        .clients(settings.allow_clients.iter().map(|network| network.value).collect());
    let mut sources = Sources::default();
    for (kind, files) in
        [(ListKind::Block, &settings.blocklists), (ListKind::AllowOnly, &settings.allowlists)]
    {
        for file in files {
            match read_file(&file.value) {
                Ok(text) => drop(builder.add_list(kind, &sources.add_file(&file.value), &text)),
                Err(error) => problems.add_file(file.value.clone(), unreadable(file, &error)),
            }
        }
    }
    let options = [(ListKind::Block, "block", &settings.block), (ListKind::Allow, "allow", &settings.allow)];
    for (kind, name, rules) in options {
        for (place, rule) in (1..).zip(rules.iter()) {
            let (source, line) = sources.add_option(name, place, &rule.origin);
            builder.add_rule(kind, &source, line, &rule.value);
        }
    }
    match builder.build() {
        Ok(acl) => Some(acl),
        Err(errors) => {
            for error in errors {
                problems.add(sources.origin(&error), error.error.to_string());
            }
            None
        }
    }
}

/// The names of the rule sources, for clients and the log.
#[derive(Default)]
struct Sources {
    files: Vec<(String, PathBuf)>,
    options: Vec<(String, u32, Origin)>,
}

impl Sources {
    /// A file gets its last path component as its name, if that is unique: clients need not see its directory.
    fn add_file(&mut self, path: &Path) -> String {
        let name = Some(file_name(path))
            .filter(|short| self.files.iter().all(|(known, _)| known != short))
            .unwrap_or_else(|| path.display().to_string());
        self.files.push((name.clone(), path.to_owned()));
        name
    }

    /// Names the rule of an option by its location: file and line, or option and position among the rules of the same option.
    fn add_option(&mut self, name: &str, place: u32, origin: &Origin) -> (String, u32) {
        let (source, line) = match origin {
            Origin::File { path, line } => (file_name(path), (*line).max(1)),
            Origin::Environment(variable) => (variable.clone(), place),
            Origin::Default | Origin::Memory | Origin::Argument(_) => (format!("--{name}"), place),
        };
        self.options.push((source.clone(), line, origin.clone()));
        (source, line)
    }

    fn origin(&self, error: &ListError) -> Origin {
        let line = error.error.line;
        let option = self.options.iter().find(|(name, at, _)| *name == error.source && *at == line);
        let file = self.files.iter().find(|(name, _)| *name == error.source);
        match (file, option) {
            (Some((_, path)), _) => Origin::File { path: path.as_path().into(), line },
            (None, Some((_, _, origin))) => origin.clone(),
            (None, None) => Origin::Default,
        }
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

fn compile_users(
    settings: &Settings,
    seed: [u64; 2],
    read_file: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
    problems: &mut Problems,
) -> Option<Arc<Users>> {
    let file = settings.auth_file.as_ref()?;
    let text = match read_file(&file.value) {
        Ok(text) => text,
        Err(error) => {
            problems.add_file(file.value.clone(), unreadable(file, &error));
            return None;
        }
    };
    match Users::parse(&text, whole_seed(seed)) {
        Ok(users) if users.is_empty() => {
            problems
                .add_file(file.value.clone(), "expected at least one name:password, found none".to_string());
            None
        }
        Ok(users) => Some(Arc::new(users)),
        Err(errors) => {
            for error in errors {
                let origin = Origin::File { path: file.value.as_path().into(), line: error.line };
                problems.add(origin, error.to_string());
            }
            None
        }
    }
}

fn compile_edits(settings: &Settings, problems: &mut Problems) -> Edits {
    let mut edits = Edits::default();
    if settings.anonymous {
        edits.remove_anonymous_fields();
    }
    let removals = [
        (Direction::Request, &settings.remove_headers),
        (Direction::Response, &settings.remove_response_headers),
    ];
    for (direction, texts) in removals {
        for text in texts {
            if let Err(error) = edits.parse_remove(direction, &text.value) {
                problems.add(text.origin.clone(), error.to_string());
            }
        }
    }
    let additions =
        [(Direction::Request, &settings.add_headers), (Direction::Response, &settings.add_response_headers)];
    for (direction, texts) in additions {
        for text in texts {
            if let Err(error) = edits.parse_add(direction, &text.value) {
                problems.add(text.origin.clone(), error.to_string());
            }
        }
    }
    // A client that sends the token to an origin by mistake does not reveal it.
    if settings.purge_token_file.is_some() {
        edits.remove_internal_field(PURGE_TOKEN_FIELD);
    }
    edits
}

fn compile_pages(
    settings: &Settings,
    read_file: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
    problems: &mut Problems,
) -> Pages {
    let mut templates: Vec<(Statuses, Template)> = Vec::new();
    for page in &settings.error_pages {
        let ErrorPage { statuses, kind, path } = &page.value;
        if templates.iter().any(|(other, template)| other == statuses && template.kind() == *kind) {
            let message = format!("error-page {statuses} again: expected one file of each kind for a status");
            problems.add(page.origin.clone(), message);
            continue;
        }
        let text = match read_file(path) {
            Ok(text) => text,
            Err(error) => {
                problems.add_file(path.clone(), unreadable(&page.with(path.clone()), &error));
                continue;
            }
        };
        match Template::parse(&text, *kind) {
            Ok(template) => templates.push((*statuses, template)),
            Err(errors) => {
                for error in errors {
                    let origin = Origin::File { path: path.as_path().into(), line: error.line };
                    problems.add(origin, error.to_string());
                }
            }
        }
    }
    Pages::new(settings.contact.as_deref().unwrap_or_default(), templates)
}

fn compile_purge_token(
    settings: &Settings,
    seed: [u64; 2],
    read_file: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
    problems: &mut Problems,
) -> Option<PurgeToken> {
    let file = built().and(settings.purge_token_file.as_ref())?;
    let text = match read_file(&file.value) {
        Ok(text) => text,
        Err(error) => {
            problems.add_file(file.value.clone(), unreadable(file, &error));
            return None;
        }
    };
    let token = PurgeToken::parse(&text, whole_seed(seed));
    token.map_err(|expected| problems.add_file(file.value.clone(), format!("expected {expected}"))).ok()
}

fn whole_seed(seed: [u64; 2]) -> u128 {
    u128::from(seed[0]) << 64 | u128::from(seed[1])
}

/// Lines of `PATTERN off` or `PATTERN TIME`.
fn compile_cache_rules(
    settings: &Settings,
    read_file: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
    problems: &mut Problems,
) -> CacheRules {
    let mut rules = CacheRules::default();
    let Some(file) = built().and(settings.cache_rules.as_ref()) else { return rules };
    let text = match read_file(&file.value) {
        Ok(text) => text,
        Err(error) => {
            problems.add_file(file.value.clone(), unreadable(file, &error));
            return rules;
        }
    };
    let text = words::without_mark(&text);
    for (line, bytes) in (1..).zip(text.split(|&byte| byte == b'\n')) {
        let text = String::from_utf8_lossy(bytes);
        let text = text.split('#').next().unwrap_or_default().trim();
        if text.is_empty() {
            continue;
        }
        let problem = match read_cache_rule(text) {
            Ok((rule, treatment)) if rules.push(rule, treatment) => continue,
            Ok(_) => "at most 256 cache rules".to_owned(),
            Err(expected) => expected,
        };
        let found: String = text.chars().take(80).flat_map(char::escape_debug).collect();
        let origin = Origin::File { path: file.value.as_path().into(), line };
        problems.add(origin, format!("expected {problem}, found \"{found}\""));
    }
    rules
}

fn read_cache_rule(text: &str) -> Result<(Rule, Treatment), String> {
    let mut words = text.split_ascii_whitespace();
    let (Some(pattern), Some(treatment), None) = (words.next(), words.next(), words.next()) else {
        return Err("a host pattern, then off or the longest time: PATTERN off, PATTERN 10m".to_owned());
    };
    let rule = Rule::parse(pattern)?;
    if treatment == "off" {
        return Ok((rule, Treatment::Off));
    }
    let most = values::duration_or_zero(treatment).map_err(|expected| format!("off, or {expected}"))?;
    Ok((rule, Treatment::AtMost(u32::try_from(most.as_secs()).unwrap_or(u32::MAX))))
}

pub(super) fn unreadable(file: &Located<PathBuf>, error: &io::Error) -> String {
    format!("cannot be read ({error}); named by {}", file.origin)
}

/// The resolver's settings: the system's, unless servers are configured.
pub fn resolver_settings(
    settings: &Settings,
    read_file: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
) -> (resolver::Settings, resolver::Hosts) {
    // A machine without these files has no name servers and no names of its own.
    let text = read_file(Path::new(RESOLV_CONF)).unwrap_or_default();
    let mut dns = resolver::Settings::parse_resolv_conf(&text, &interface::index);
    if !settings.dns.is_empty() {
        dns.servers = settings.dns.iter().map(|server| server.value).collect();
    }
    dns.case_randomised = settings.dns_0x20;
    dns.aliases = settings.judge_cnames;
    (dns, resolver::Hosts::parse(&read_file(Path::new(HOSTS)).unwrap_or_default()))
}

/// The error of a file with the system's name servers or names that exists but cannot be read.
pub fn unreadable_name_files(read_file: &dyn Fn(&Path) -> io::Result<Vec<u8>>) -> Option<String> {
    [RESOLV_CONF, HOSTS].into_iter().find_map(|path| match read_file(Path::new(path)) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Some(format!("{path}: {error}")),
        Ok(_) | Err(_) => None,
    })
}

/// A store, shared by all loops, if the cache is on.
pub fn new_store(settings: &Settings, seed: [u64; 2]) -> Option<Arc<Store>> {
    built()?;
    if !settings.cache {
        return None;
    }
    let mut limits =
        Limits::with_budget(usize::try_from(settings.cache_size_bytes).unwrap_or(usize::MAX), seed);
    if settings.cache_max_object_bytes > 0 {
        limits.object_max = settings.cache_max_object_bytes;
    }
    Some(Arc::new(Store::new(limits)))
}

fn cache_settings(settings: &Settings, store: Arc<Store>) -> engine::CacheSettings {
    let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    engine::CacheSettings {
        freshness: Freshness {
            heuristic_max_s: seconds(settings.cache_heuristic_max),
            negative_ttl_s: seconds(settings.cache_negative_ttl),
        },
        targeted: settings.cache_targeted.iter().map(|name| name.value.clone()).collect(),
        status: !settings.no_cache_status,
        purge_from: settings.purge_from.iter().map(|network| network.value).collect(),
        ..engine::CacheSettings::new(store)
    }
}

/// The settings of a listener.
fn listener(settings: &Settings, address: SocketAddr) -> engine::Listener {
    engine::Listener { address, proxy_protocol: settings.proxy_protocol, gateway: false }
}

/// The engine's settings, with the store of all loops.
pub fn engine_settings(
    settings: &Settings,
    listeners: &[SocketAddr],
    seed: [u64; 2],
    store: Option<Arc<Store>>,
) -> engine::Settings {
    let ms = |duration: Duration| duration.as_millis() as u64;
    engine::Settings {
        head: head::Limits {
            head_bytes_max: settings.head_max_bytes as usize,
            target_bytes_max: settings.target_max_bytes as usize,
            fields_max: settings.fields_max as usize,
            accept_bare_lf: settings.accept_bare_lf,
            strict_targets: settings.strict_targets,
        },
        timeouts: engine::Timeouts {
            exchange_ms: ms(settings.timeout),
            head_ms: ms(settings.head_timeout),
            idle_ms: ms(settings.idle_timeout),
            connect_ms: ms(settings.connect_timeout),
            tunnel_ms: ms(settings.tunnel_timeout),
            origin_idle_ms: ms(settings.idle_origin_timeout),
            drain_ms: ms(settings.drain_timeout),
        },
        loops: 1,
        clients_max: settings.max_connections as usize,
        clients_per_address_max: settings.max_per_client as usize,
        rate_min: settings.min_rate.into(),
        blocks_max: settings.buffers as usize,
        origin_lifetime_ms: ms(settings.origin_lifetime),
        origins_idle_max: settings.idle_origins as usize,
        origins_idle_per_authority_max: settings.idle_per_origin as usize,
        splices: !settings.no_splice,
        via: settings.via.clone(),
        forwarded: settings.forwarded,
        client_prefix6: settings.client_prefix6,
        origin_form: !settings.no_origin_form,
        noted: engine::transaction::log_record::TextSet::of(settings.log_format.texts()),
        logs_tunnel_starts: settings.log_tunnel_start,
        listeners: listeners.iter().map(|address| listener(settings, *address)).collect(),
        cache: store.map(|store| cache_settings(settings, store)),
        guard: None,
        gateway: None,
        headers: Arc::default(),
        seed,
    }
}
