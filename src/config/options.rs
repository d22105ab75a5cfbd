//! The one table of options. The command line, the environment, configuration files, `--help` and `--print-config`
//! use it, so no name and no default is written twice. [`Spec`] describes a row.

use super::feature;
use super::problem::{Located, Problem};
use super::spec::Apply;
pub use super::spec::{Repeat, Scope, Section, Spec, Takes};
use super::values;
use std::path::PathBuf;

/// The environment variable of an option.
pub fn environment_name(name: &str) -> String {
    format!("WEIR_{}", name.to_ascii_uppercase().replace('-', "_"))
}

/// The row of a name or an alias.
pub fn find(name: &str) -> Option<&'static Spec> {
    TABLE.iter().find(|spec| spec.names().any(|known| known == name))
}

/// Takes each text, and returns the problems with those that are malformed. One function for values of all types.
fn each(
    texts: &[Located<String>],
    take: &mut dyn FnMut(&Located<String>) -> Result<(), values::Expected>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for text in texts {
        if let Err(expected) = take(text) {
            problems.push(malformed(text, &expected));
        }
    }
    problems
}

/// Sets a field to the last valid value.
fn one<T>(
    field: &mut T,
    texts: &[Located<String>],
    parse: impl Fn(&str) -> Result<T, values::Expected>,
) -> Vec<Problem> {
    each(texts, &mut |text| {
        *field = parse(&text.value)?;
        Ok(())
    })
}

/// Stores the last valid value, with its origin.
fn last<T>(
    field: &mut Option<Located<T>>,
    texts: &[Located<String>],
    parse: impl Fn(&str) -> Result<T, values::Expected>,
) -> Vec<Problem> {
    *field = None;
    each(texts, &mut |text| {
        *field = Some(text.with(parse(&text.value)?));
        Ok(())
    })
}

fn located_path(field: &mut Option<Located<PathBuf>>, texts: &[Located<String>]) -> Vec<Problem> {
    last(field, texts, values::path)
}

/// Replaces a list by all valid values.
fn many<T>(
    field: &mut Vec<Located<T>>,
    texts: &[Located<String>],
    parse: impl Fn(&str) -> Result<T, values::Expected>,
) -> Vec<Problem> {
    field.clear();
    each(texts, &mut |text| {
        field.push(text.with(parse(&text.value)?));
        Ok(())
    })
}

fn malformed(text: &Located<String>, expected: &str) -> Problem {
    Problem { origin: text.origin.clone(), message: format!("{:?}: expected {expected}", text.value) }
}

/// Counts how often a flag is given.
fn counted(field: &mut u8, texts: &[Located<String>]) -> Vec<Problem> {
    let mut counts = Vec::new();
    let problems = many(&mut counts, texts, values::count);
    *field = counts.iter().fold(0, |sum, count| sum.saturating_add(count.value));
    problems
}

/// A flag that is a command, not a setting: it is read from the command line itself.
const ASKED: Apply = |_, v| one(&mut false, v, values::flag);

use crate::policy::port_set::{DEFAULT_CONNECT_PORTS, DEFAULT_PLAIN_PORTS};
use Repeat::{List, Many};
use Section::{Access, Cache, Control, Detect, Explain, General, Limits, Log, Messages, Timeouts};

/// All options, in the order of `--help` and `--print-config`.
pub static TABLE: &[Spec] = &[
    Spec::value(General, "host", "ADDR", "127.0.0.1", "listen here; repeatable; :: is all", |s, v| {
        many(&mut s.hosts, v, values::address)
    })
    .restart()
    .common()
    .repeat(List),
    Spec::value(General, "port", "N", "8888", "listen on this port; 0 takes any free one", |s, v| {
        one(&mut s.port, v, values::port)
    })
    .restart()
    .common()
    .short("p"),
    Spec::value(
        General,
        "workers",
        "N|auto[,pin]",
        "1",
        "run this many loops; auto: one per processor; with ,pin each keeps to a processor of its own",
        |s, v| one(&mut s.workers, v, values::workers),
    )
    .restart(),
    Spec::path(General, "config", "FILE", "read options from this file: 'key value' lines", |s, v| {
        one(&mut s.config, v, |text| values::path(text).map(Some))
    })
    .common()
    .short("c")
    .scope(Scope::NotInFiles),
    Spec::value(
        General,
        "user",
        "NAME[:GROUP]",
        "",
        "become this user once the port is bound, if root",
        |s, v| last(&mut s.user, v, values::any_user),
    )
    .restart()
    .common(),
    Spec::path(General, "pid-file", "FILE", "write the process id here, for weir reload", |s, v| located_path(&mut s.pid_file, v))
    .restart(),
    Spec::flag(General, "sandbox", "allow only the paths and system calls that weir needs", |s, v| {
        one(&mut s.sandbox, v, values::flag)
    })
    .restart()
    .on()
    .needs(feature::SANDBOX),
    Spec::flag(
        General,
        "no-splice",
        "copy long bodies in weir instead of moving them inside the kernel",
        |s, v| one(&mut s.no_splice, v, values::flag),
    )
    .restart()
    .needs(feature::SPLICE),
    Spec::value(
        General,
        "stats-every",
        "SECONDS",
        "60",
        "write a line of statistics this often, if a number has changed; 0: never",
        |s, v| one(&mut s.stats_every, v, values::duration_or_zero),
    ),
    Spec::path(
        General,
        "control",
        "PATH",
        "listen on this Unix socket for weir ctl; for this user and root only",
        |s, v| located_path(&mut s.control, v),
    )
    .restart()
    .needs(feature::ADMIN),
    Spec::path(
        General,
        "take-over",
        "PATH",
        "take the listening sockets of the weir with this --control, and have that weir drain",
        |s, v| located_path(&mut s.take_over, v),
    )
    .scope(Scope::CommandLine)
    .needs(feature::ADMIN),
    Spec::value(
        General,
        "metrics",
        "ADDR:PORT",
        "",
        "serve the numbers as OpenMetrics text here: /metrics, /healthz, /readyz",
        |s, v| last(&mut s.metrics, v, values::socket_address),
    )
    .restart()
    .needs(feature::ADMIN),
    Spec::flag(General, "check", "report all errors, and exit", ASKED)
        .common()
        .scope(Scope::CommandLine),
    Spec::flag(General, "print-config", "show each setting and where it is from, and exit", ASKED)
        .common()
        .scope(Scope::CommandLine),
    Spec::flag(General, "verbose", "write more to standard error; -vv: still more", |s, v| {
        counted(&mut s.verbose, v)
    })
    .common()
    .short("v")
    .counting(),
    Spec::flag(General, "quiet", "write only errors, and where weir listens", |s, v| {
        one(&mut s.quiet, v, values::flag)
    })
    .short("q"),
    Spec::flag(General, "version", "print the version, and exit", ASKED)
        .common()
        .short("V")
        .scope(Scope::CommandLine),
    Spec::flag(General, "help", "print this; --help TOPIC prints more", ASKED)
        .common()
        .short("h")
        .scope(Scope::CommandLine),
    Spec::path(Access, "blocklist", "FILE", "refuse what a rule in this file matches", |s, v| {
        many(&mut s.blocklists, v, values::path)
    })
    .common()
    .aliases(&["blacklist"])
    .repeat(Many),
    Spec::path(Access, "allowlist", "FILE", "allow only what a rule in this file matches", |s, v| {
        many(&mut s.allowlists, v, values::path)
    })
    .common()
    .aliases(&["whitelist"])
    .repeat(Many),
    Spec::value(Access, "block", "RULE", "", "refuse one: a.example, .a.example, 10.0.0.0/8:80", |s, v| {
        many(&mut s.block, v, values::rule)
    })
    .common()
    .repeat(List),
    Spec::value(Access, "allow", "RULE", "", "allow one host, even if it is refused by default", |s, v| {
        many(&mut s.allow, v, values::rule)
    })
    .common()
    .repeat(List),
    Spec::value(
        Access,
        "allow-client",
        "NET",
        "",
        "serve only clients from this network; repeatable",
        |s, v| many(&mut s.allow_clients, v, values::network),
    )
    .common()
    .repeat(List),
    Spec::flag(Access, "deny-private", "refuse the addresses of private networks, too", |s, v| {
        one(&mut s.deny_private, v, values::flag)
    }),
    Spec::flag(
        Access,
        "judge-cnames",
        "judge the names that CNAMEs lead to as well: a block for one of them refuses the request",
        |s, v| one(&mut s.judge_cnames, v, values::flag),
    ),
    Spec::flag(
        Access,
        "quiet-refusals",
        "tell clients that they are refused, but not by which rule",
        |s, v| one(&mut s.quiet_refusals, v, values::flag),
    ),
    Spec::value(
        Access,
        "contact",
        "TEXT",
        "",
        "name this person or address on the pages that refuse something",
        |s, v| one(&mut s.contact, v, values::contact),
    ),
    Spec::keyed_path(
        Access,
        "error-page",
        "STATUS=FILE",
        "refuse with this page (.html, .txt, .json) in place of weir's own; STATUS is 403, 4xx or the like",
        |s, v| many(&mut s.error_pages, v, values::error_page),
    )
    .repeat(Many),
    Spec::value(
        Access,
        "connect-ports",
        "LIST",
        DEFAULT_CONNECT_PORTS,
        "allow CONNECT, which https needs, to these ports only",
        |s, v| one(&mut s.connect_ports, v, values::port_list),
    ),
    Spec::value(
        Access,
        "ports",
        "LIST",
        DEFAULT_PLAIN_PORTS,
        "allow other requests to these ports only; by default to all but those of mail, telnet and the like",
        |s, v| one(&mut s.ports, v, values::port_list),
    ),
    Spec::path(Access, "auth-file", "FILE", "ask for a user and password that are in this file", |s, v| {
        located_path(&mut s.auth_file, v)
    })
    .common(),
    Spec::path(Access, "guard", "FILE", "ban, limit and refuse clients as this file says (weir help guard)", |s, v| {
        located_path(&mut s.guard, v)
    })
    .needs(feature::GUARD),
    Spec::path(Access, "gateway", "FILE", "stand before the servers of this file (weir help gateway)", |s, v| {
        located_path(&mut s.gateway, v)
    })
    .restart()
    .needs(feature::GUARD),
    Spec::path(Access, "cloud-ranges", "DIR", "keep the networks of the clouds in files in this directory", |s, v| {
        located_path(&mut s.cloud_ranges, v)
    })
    .needs(feature::GUARD),
    Spec::flag(
        Access,
        "proxy-protocol",
        "expect a PROXY header (version 1 or 2) from peers that the guard file trusts",
        |s, v| one(&mut s.proxy_protocol, v, values::flag),
    )
    .needs(feature::GUARD),
    Spec::path(Log, "log-dir", "DIR", "write access.log here, not to standard output", |s, v| {
        one(&mut s.log_dir, v, |text| values::path(text).map(Some))
    })
    .restart()
    .common(),
    Spec::value(Log, "log-format", "F", "weir", "write weir, combined, squid, json or none", |s, v| {
        one(&mut s.log_format, v, values::log_format)
    })
    .common(),
    Spec::flag(
        Log,
        "log-tunnel-start",
        "write a line when a tunnel has been set up, too, not only when it ends",
        |s, v| one(&mut s.log_tunnel_start, v, values::flag),
    ),
    Spec::value(
        Log,
        "log-max-size",
        "SIZE",
        "64M",
        "begin a new access.log when it has reached this size; 0: never",
        |s, v| one(&mut s.log_max_size_bytes, v, values::rotation_size),
    ),
    Spec::value(Log, "log-keep", "N", "5", "keep this many old files beside access.log", |s, v| {
        one(&mut s.log_keep, v, |text| values::number(text, 0, LOG_KEEP_MAX).map(|keep| keep as u32))
    }),
    Spec::value(
        Timeouts,
        "timeout",
        "SECONDS",
        "60",
        "give up when either side is silent for this long during a request",
        |s, v| one(&mut s.timeout, v, values::duration),
    ),
    Spec::value(
        Timeouts,
        "connect-timeout",
        "SECONDS",
        "10",
        "give up on one address of an origin after this long",
        |s, v| one(&mut s.connect_timeout, v, values::duration),
    ),
    Spec::value(
        Timeouts,
        "head-timeout",
        "SECONDS",
        "30",
        "let a client, or an origin, take this long for the head of a message",
        |s, v| one(&mut s.head_timeout, v, values::duration),
    ),
    Spec::value(
        Timeouts,
        "idle-timeout",
        "SECONDS",
        "60",
        "close a client connection that has had no request for this long",
        |s, v| one(&mut s.idle_timeout, v, values::duration),
    ),
    Spec::value(
        Timeouts,
        "tunnel-timeout",
        "SECONDS",
        "600",
        "close a tunnel that has been silent for this long",
        |s, v| one(&mut s.tunnel_timeout, v, values::duration),
    ),
    Spec::value(
        Timeouts,
        "idle-origin-timeout",
        "SECONDS",
        "30",
        "keep an unused origin connection for this long",
        |s, v| one(&mut s.idle_origin_timeout, v, values::duration),
    ),
    Spec::value(
        Timeouts,
        "origin-lifetime",
        "SECONDS",
        "600",
        "do not reuse an origin connection that is older than this; 0: no limit",
        |s, v| one(&mut s.origin_lifetime, v, values::duration_or_zero),
    ),
    Spec::value(
        Timeouts,
        "drain-timeout",
        "SECONDS",
        "30",
        "let requests take this long to finish when weir stops",
        |s, v| one(&mut s.drain_timeout, v, values::duration_or_zero),
    ),
    Spec::value(
        Timeouts,
        "min-rate",
        "BYTES",
        "100",
        "disconnect clients that send or read fewer bytes of a body per second, averaged over --timeout; 0: no limit",
        |s, v| one(&mut s.min_rate, v, |text| values::number(text, 0, MIN_RATE_MAX).map(|rate| rate as u32)),
    ),
    Spec::value(
        Limits,
        "memory",
        "SIZE",
        "0",
        "use no more memory than this in all: connections, blocks, tables and the cache share it; 0: as their options say",
        |s, v| one(&mut s.memory_bytes, v, |text| values::size(text, 0, CACHE_BYTES_MAX)),
    ),
    Spec::value(
        Limits,
        "max-connections",
        "N",
        "10000",
        "serve this many client connections at most",
        |s, v| {
            one(&mut s.max_connections, v, |text| {
                values::number(text, 1, CONNECTIONS_MAX).map(|most| most as u32)
            })
        },
    ),
    Spec::value(
        Limits,
        "max-per-client",
        "N",
        "0",
        "serve this many connections of one client address at most; 0: no limit",
        |s, v| {
            one(&mut s.max_per_client, v, |text| {
                values::number(text, 0, CONNECTIONS_MAX).map(|most| most as u32)
            })
        },
    ),
    Spec::value(
        Limits,
        "client-prefix6",
        "BITS",
        "64",
        "count IPv6 clients by prefixes of this length, here and for all that one may use; 128: by address",
        |s, v| {
            one(&mut s.client_prefix6, v, |text| {
                values::number(text, CLIENT_PREFIX6_MIN, 128).map(|bits| bits as u8)
            })
        },
    )
    .restart(),
    Spec::value(Limits, "buffers", "N", "16384", "use this many blocks of 4 KB at most", |s, v| {
        one(&mut s.buffers, v, |text| {
            values::number(text, values::BUFFERS_MIN, BUFFERS_MAX).map(|count| count as u32)
        })
    })
    .restart(),
    Spec::value(Limits, "head-max", "SIZE", "32K", "refuse heads of messages that are larger", |s, v| {
        one(&mut s.head_max_bytes, v, |text| {
            values::size(text, 1 << 10, HEAD_BYTES_MAX).map(|most| most as u32)
        })
    }),
    Spec::value(
        Limits,
        "target-max",
        "SIZE",
        "16K",
        "refuse request targets (URLs) that are longer",
        |s, v| {
            one(&mut s.target_max_bytes, v, |text| {
                values::size(text, 256, HEAD_BYTES_MAX).map(|most| most as u32)
            })
        },
    ),
    Spec::value(Limits, "fields-max", "N", "200", "refuse heads with more fields", |s, v| {
        one(&mut s.fields_max, v, |text| values::number(text, 1, FIELDS_MAX).map(|most| most as u32))
    }),
    Spec::value(
        Limits,
        "idle-origins",
        "N",
        "512",
        "keep this many unused origin connections at most",
        |s, v| {
            one(&mut s.idle_origins, v, |text| {
                values::number(text, 0, CONNECTIONS_MAX).map(|most| most as u32)
            })
        },
    ),
    Spec::value(
        Limits,
        "idle-per-origin",
        "N",
        "256",
        "keep this many of them at most to any one origin",
        |s, v| {
            one(&mut s.idle_per_origin, v, |text| {
                values::number(text, 0, CONNECTIONS_MAX).map(|most| most as u32)
            })
        },
    ),
    Spec::flag(
        Messages,
        "no-origin-form",
        "refuse requests that name their host only in the field Host",
        |s, v| one(&mut s.no_origin_form, v, values::flag),
    ),
    Spec::flag(
        Messages,
        "strict-targets",
        "refuse targets with bytes that no URI has (RFC 3986): \"<>\\^`{|} and bytes over 0x7F",
        |s, v| one(&mut s.strict_targets, v, values::flag),
    ),
    Spec::flag(Messages, "accept-bare-lf", "accept a line feed alone as the end of a line", |s, v| {
        one(&mut s.accept_bare_lf, v, values::flag)
    }),
    Spec::value(
        Messages,
        "via",
        "NAME",
        "weir",
        "call weir by this name in the field Via; off: send no Via",
        |s, v| one(&mut s.via, v, values::via),
    ),
    Spec::value(
        Messages,
        "forwarded",
        "F",
        "off",
        "tell origins the client address in Forwarded and X-Forwarded-For: off, append, replace, or remove received ones",
        |s, v| one(&mut s.forwarded, v, values::forwarded),
    ),
    Spec::flag(
        Messages,
        "anonymous",
        "remove request fields that tell about the user: Referer, From, X-Forwarded-For and the like",
        |s, v| one(&mut s.anonymous, v, values::flag),
    ),
    Spec::value(
        Messages,
        "remove-header",
        "NAME",
        "",
        "remove this field from requests; to some hosts: NAME .a.example",
        |s, v| many(&mut s.remove_headers, v, values::removal),
    )
    .repeat(Many),
    Spec::value(
        Messages,
        "add-header",
        "'N: V'",
        "",
        "add this field to requests, in place of received ones, or behind them: 'append N: V'; to some hosts: 'N: V if .a.example'",
        |s, v| many(&mut s.add_headers, v, values::addition),
    )
    .repeat(Many),
    Spec::value(
        Messages,
        "remove-response-header",
        "NAME",
        "",
        "remove this field from responses",
        |s, v| many(&mut s.remove_response_headers, v, values::removal),
    )
    .repeat(Many),
    Spec::value(Messages, "add-response-header", "'N: V'", "", "add this field to responses, likewise", |s, v| {
        many(&mut s.add_response_headers, v, values::addition)
    })
    .repeat(Many),
    Spec::value(
        Messages,
        "dns",
        "SERVER,...",
        "",
        "ask these name servers, not those of /etc/resolv.conf",
        |s, v| many(&mut s.dns, v, values::dns_server),
    )
    .repeat(List),
    Spec::flag(
        Messages,
        "dns-0x20",
        "mix upper and lower case in queries, which makes answers harder to forge",
        |s, v| one(&mut s.dns_0x20, v, values::flag),
    ),
    Spec::flag(Cache, "cache", "keep responses in memory and answer from them", |s, v| {
        one(&mut s.cache, v, values::cache)
    })
    .restart()
    .common(),
    Spec::value(Cache, "cache-size", "SIZE", "64M", "use this much memory for it at most", |s, v| {
        one(&mut s.cache_size_bytes, v, |text| values::size(text, 1 << 20, CACHE_BYTES_MAX))
    })
    .restart(),
    Spec::value(
        Cache,
        "cache-max-object",
        "SIZE",
        "0",
        "store no body that is larger; 0: an eighth of the size",
        |s, v| one(&mut s.cache_max_object_bytes, v, |text| values::size(text, 0, CACHE_BYTES_MAX)),
    )
    .restart(),
    Spec::value(
        Cache,
        "cache-heuristic-max",
        "TIME",
        "24h",
        "treat a response as fresh for this long at most, if only Last-Modified tells",
        |s, v| one(&mut s.cache_heuristic_max, v, values::duration_or_zero),
    ),
    Spec::value(
        Cache,
        "cache-negative-ttl",
        "TIME",
        "0",
        "store errors without an explicit lifetime for this time",
        |s, v| one(&mut s.cache_negative_ttl, v, values::duration_or_zero),
    ),
    Spec::value(
        Cache,
        "cache-targeted",
        "FIELD",
        "",
        "let this field, such as CDN-Cache-Control, replace Cache-Control",
        |s, v| many(&mut s.cache_targeted, v, values::field_name),
    )
    .repeat(List),
    Spec::flag(Cache, "no-cache-status", "do not tell clients in Cache-Status what the cache did", |s, v| {
        one(&mut s.no_cache_status, v, values::flag)
    }),
    Spec::path(
        Cache,
        "cache-rules",
        "FILE",
        "read exceptions for some hosts from this file: PATTERN off, PATTERN 10m",
        |s, v| located_path(&mut s.cache_rules, v),
    ),
    Spec::path(Cache, "cache-file", "FILE", "save the cache to this file at a stop, and load it at the start", |s, v| located_path(&mut s.cache_file, v))
    .restart(),
    Spec::value(
        Cache,
        "purge-from",
        "NETWORK",
        "",
        "let clients from this network remove stored responses, by PURGE",
        |s, v| many(&mut s.purge_from, v, values::network),
    )
    .repeat(List),
    Spec::path(Cache, "purge-token-file", "FILE", "accept PURGE only with the token in this file, in the field Purge-Token", |s, v| {
        located_path(&mut s.purge_token_file, v)
    }),
    Spec::flag(Control, "json", "print the answer as JSON", ASKED)
        .scope(Scope::CommandLine)
        .needs(feature::ADMIN),
    Spec::flag(Control, "follow", "go on with events as they come", ASKED)
        .scope(Scope::CommandLine)
        .needs(feature::ADMIN),
    Spec::flag(Control, "openmetrics", "print statistics as OpenMetrics text", ASKED)
        .scope(Scope::CommandLine)
        .needs(feature::ADMIN),
    Spec::value(Explain, "client", "ADDR", "", "judge as if this client asked", |s, v| {
        one(&mut s.explain_client, v, |text| values::address(text).map(Some))
    })
    .scope(Scope::CommandLine),
    Spec::value(Detect, "context", "PLACE", "", "detect as in this place: query, path, header or body", |s, v| {
        one(&mut s.detect_context, v, |text| values::context(text).map(Some))
    })
    .scope(Scope::CommandLine)
    .needs(feature::DETECTION),
];

/// Most old log files (chosen).
const LOG_KEEP_MAX: u64 = 1000;
/// Largest minimum rate of a client, in bytes per second (chosen).
const MIN_RATE_MAX: u64 = 1 << 30;
/// Most connections of any kind (chosen): more than the ports of one machine.
const CONNECTIONS_MAX: u64 = 1_000_000;
/// Shortest prefix that counts as one client (chosen: the prefix of a provider for all its customers, RFC 6177).
const CLIENT_PREFIX6_MIN: u64 = 32;
/// Most blocks: 16 GB (chosen).
const BUFFERS_MAX: u64 = 4 << 20;
/// Largest cache, and most memory: 1 TB (chosen).
const CACHE_BYTES_MAX: u64 = 1 << 40;
/// Largest head size that can be set (chosen).
const HEAD_BYTES_MAX: u64 = 1 << 20;
/// Most fields that can be set (chosen): the room of the parser.
const FIELDS_MAX: u64 = 1000;

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
