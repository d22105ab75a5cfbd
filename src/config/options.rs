//! The one table of options. The command line, the environment, configuration files, `--help` and `--print-config` are
//! all driven by it, so that nothing is said twice and nothing can disagree.

use super::problem::{Located, Problem};
use super::settings::Settings;
use super::values;

/// What follows the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing on the command line (or `=yes`, `=no`); nothing, yes or no in a file.
    Flag,
    /// As a flag, but it counts.
    Count,
    /// A value.
    Value,
    /// A path; relative ones in a file are relative to that file.
    Path,
}

/// How often it may be set in one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Once in a file; on the command line the last one counts.
    Once,
    /// Any number of times, one value each. In the environment one per line.
    Many,
    /// Any number of times, several values in one, separated by commas, everywhere.
    List,
}

/// Where it may be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Command line, environment and file.
    Everywhere,
    /// Command line and environment.
    NotInFiles,
    /// Command line only.
    CommandLine,
}

/// The heading under which `--help` lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Starting it.
    General,
    /// Policy.
    Access,
    /// Access log and statistics.
    Log,
    /// Times.
    Timeouts,
    /// Bounds.
    Limits,
    /// What is accepted and what is rewritten, and DNS.
    Messages,
    /// The cache.
    Cache,
    /// Shown in the usage line only.
    Explain,
}

/// Takes the values of one layer, the last of which counts where there may be one, and says what is wrong with them.
pub type Apply = fn(&mut Settings, &[Located<String>]) -> Vec<Problem>;

/// One row.
#[derive(Debug)]
pub struct Spec {
    /// The long option, the key in files, and in capitals with `WEIR_` before it the environment variable.
    pub name: &'static str,
    /// The short option, or empty.
    pub short: &'static str,
    /// Other names for it.
    pub aliases: &'static [&'static str],
    /// What follows the name.
    pub takes: Takes,
    /// How its value is called in the help; empty for flags.
    pub placeholder: &'static str,
    /// How often.
    pub repeat: Repeat,
    /// Where.
    pub scope: Scope,
    /// The heading.
    pub section: Section,
    /// Its value if nobody sets it, in the form of a file; empty for nothing at all.
    pub default: &'static str,
    /// What it does, in a few words.
    pub help: &'static str,
    /// Puts it into the settings.
    pub apply: Apply,
}

impl Spec {
    const fn value(
        section: Section,
        name: &'static str,
        placeholder: &'static str,
        default: &'static str,
        help: &'static str,
        apply: Apply,
    ) -> Spec {
        Spec {
            name,
            short: "",
            aliases: &[],
            takes: Takes::Value,
            placeholder,
            repeat: Repeat::Once,
            scope: Scope::Everywhere,
            section,
            default,
            help,
            apply,
        }
    }

    const fn flag(section: Section, name: &'static str, help: &'static str, apply: Apply) -> Spec {
        Spec { takes: Takes::Flag, ..Spec::value(section, name, "", "no", help, apply) }
    }

    const fn path(
        section: Section,
        name: &'static str,
        placeholder: &'static str,
        help: &'static str,
        apply: Apply,
    ) -> Spec {
        Spec { takes: Takes::Path, ..Spec::value(section, name, placeholder, "", help, apply) }
    }

    const fn short(self, short: &'static str) -> Spec {
        Spec { short, ..self }
    }

    const fn aliases(self, aliases: &'static [&'static str]) -> Spec {
        Spec { aliases, ..self }
    }

    const fn repeat(self, repeat: Repeat) -> Spec {
        Spec { repeat, ..self }
    }

    /// A flag that is set unless somebody says no.
    const fn on(self) -> Spec {
        Spec { default: "yes", ..self }
    }

    const fn counting(self) -> Spec {
        Spec { takes: Takes::Count, repeat: Repeat::Many, default: "0", ..self }
    }

    const fn scope(self, scope: Scope) -> Spec {
        // What is not a setting has no default to print.
        Spec { scope, default: "", ..self }
    }

    /// All its long names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }
}

/// The variable that sets an option.
pub fn environment_name(name: &str) -> String {
    format!("WEIR_{}", name.to_ascii_uppercase().replace('-', "_"))
}

/// The row of a name or an alias.
pub fn find(name: &str) -> Option<&'static Spec> {
    TABLE.iter().find(|spec| spec.names().any(|known| known == name))
}

/// Sets a field to the last good value.
fn one<T>(
    field: &mut T,
    texts: &[Located<String>],
    parse: impl Fn(&str) -> Result<T, values::Expected>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for text in texts {
        match parse(&text.value) {
            Ok(value) => *field = value,
            Err(expected) => problems.push(malformed(text, &expected)),
        }
    }
    problems
}

/// Replaces a list by all the good values.
fn many<T>(
    field: &mut Vec<Located<T>>,
    texts: &[Located<String>],
    parse: impl Fn(&str) -> Result<T, values::Expected>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    field.clear();
    for text in texts {
        match parse(&text.value) {
            Ok(value) => field.push(text.with(value)),
            Err(expected) => problems.push(malformed(text, &expected)),
        }
    }
    problems
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

/// A flag that is not a setting: what it asks for is read from the command line itself.
const ASKED: Apply = |_, v| one(&mut false, v, values::flag);

use crate::policy::port_set::{DEFAULT_CONNECT_PORTS, DEFAULT_PLAIN_PORTS};
use Repeat::{List, Many};
use Section::{Access, Cache, Explain, General, Limits, Log, Messages, Timeouts};

/// All options, in the order of `--help` and `--print-config`.
pub static TABLE: &[Spec] = &[
    Spec::value(General, "host", "ADDR", "127.0.0.1", "listen on this, repeatable; :: for all", |s, v| {
        many(&mut s.hosts, v, values::address)
    })
    .repeat(List),
    Spec::value(General, "port", "N", "8888", "0: any free", |s, v| one(&mut s.port, v, values::port))
        .short("p"),
    Spec::value(General, "workers", "N|auto[,pin]", "1", "or auto,pin", |s, v| {
        one(&mut s.workers, v, values::workers)
    }),
    Spec::path(General, "config", "FILE", "read 'key value' lines from it; kill -HUP: again", |s, v| {
        one(&mut s.config, v, |text| values::path(text).map(Some))
    })
    .short("c")
    .scope(Scope::NotInFiles),
    Spec::value(General, "user", "NAME[:GROUP]", "", "then run as", |s, v| {
        let mut users = Vec::new();
        let problems = many(&mut users, v, values::any_user);
        s.user = users.pop();
        problems
    }),
    Spec::flag(General, "sandbox", "=no: without", |s, v| one(&mut s.sandbox, v, values::flag)).on(),
    Spec::flag(General, "no-splice", "copy bulk", |s, v| one(&mut s.no_splice, v, values::flag)),
    Spec::value(General, "stats-every", "SECONDS", "60", "statistics", |s, v| {
        one(&mut s.stats_every, v, values::duration_or_zero)
    }),
    Spec::flag(General, "check", "validate", ASKED).scope(Scope::CommandLine),
    Spec::flag(General, "print-config", "settings", ASKED).scope(Scope::CommandLine),
    Spec::flag(General, "verbose", "-vv: more", |s, v| counted(&mut s.verbose, v)).short("v").counting(),
    Spec::flag(General, "quiet", "only errors", |s, v| one(&mut s.quiet, v, values::flag)).short("q"),
    Spec::flag(General, "version", "", ASKED).short("V").scope(Scope::CommandLine),
    Spec::flag(General, "help", "", ASKED).short("h").scope(Scope::CommandLine),
    Spec::path(Access, "blocklist", "FILE", "refuse what its rules match (also --blacklist)", |s, v| {
        many(&mut s.blocklists, v, values::path)
    })
    .aliases(&["blacklist"])
    .repeat(Many),
    Spec::path(Access, "allowlist", "FILE", "allow what its rules match and nothing else", |s, v| {
        many(&mut s.allowlists, v, values::path)
    })
    .aliases(&["whitelist"])
    .repeat(Many),
    Spec::value(Access, "block", "RULE", "", "one rule: a.example, *.a.example, 10.0.0.0/8:80", |s, v| {
        many(&mut s.block, v, values::rule)
    })
    .repeat(List),
    Spec::value(Access, "allow", "RULE", "", "one rule that overrides the built-in refusals", |s, v| {
        many(&mut s.allow, v, values::rule)
    })
    .repeat(List),
    Spec::value(
        Access,
        "allow-client",
        "NETWORK",
        "",
        "who may ask, repeatable; everybody if unset",
        |s, v| many(&mut s.allow_clients, v, values::network),
    )
    .repeat(List),
    Spec::flag(Access, "deny-private", "10.0.0.0/8...", |s, v| one(&mut s.deny_private, v, values::flag)),
    Spec::flag(Access, "quiet-refusals", "no rule", |s, v| one(&mut s.quiet_refusals, v, values::flag)),
    Spec::value(Access, "connect-ports", "LIST", DEFAULT_CONNECT_PORTS, "for CONNECT; or any", |s, v| {
        one(&mut s.connect_ports, v, values::port_list)
    }),
    Spec::value(
        Access,
        "ports",
        "LIST",
        DEFAULT_PLAIN_PORTS,
        "for other requests; all but mail, telnet and the like",
        |s, v| one(&mut s.ports, v, values::port_list),
    ),
    Spec::path(Access, "auth-file", "FILE", "ask for a name and password: 'name:password' lines", |s, v| {
        let mut files = Vec::new();
        let problems = many(&mut files, v, values::path);
        s.auth_file = files.pop();
        problems
    }),
    Spec::path(Log, "log-dir", "DIR", "write DIR/access.log (default: standard output)", |s, v| {
        one(&mut s.log_dir, v, |text| values::path(text).map(Some))
    }),
    Spec::value(Log, "log-format", "F", "weir", "or combined, squid, json, none", |s, v| {
        one(&mut s.log_format, v, values::log_format)
    }),
    Spec::value(Log, "log-max-size", "SIZE", "64M", "0: no limit", |s, v| {
        one(&mut s.log_max_size_bytes, v, values::rotation_size)
    }),
    Spec::value(Log, "log-keep", "N", "5", "old files", |s, v| {
        one(&mut s.log_keep, v, |text| values::number(text, 0, LOG_KEEP_MAX).map(|keep| keep as u32))
    }),
    Spec::value(Timeouts, "timeout", "SECONDS", "60", "silence", |s, v| {
        one(&mut s.timeout, v, values::duration)
    }),
    Spec::value(Timeouts, "connect-timeout", "SECONDS", "10", "dialling", |s, v| {
        one(&mut s.connect_timeout, v, values::duration)
    }),
    Spec::value(Timeouts, "head-timeout", "SECONDS", "30", "request head", |s, v| {
        one(&mut s.head_timeout, v, values::duration)
    }),
    Spec::value(Timeouts, "idle-timeout", "SECONDS", "60", "next request", |s, v| {
        one(&mut s.idle_timeout, v, values::duration)
    }),
    Spec::value(Timeouts, "tunnel-timeout", "SECONDS", "600", "idle tunnel", |s, v| {
        one(&mut s.tunnel_timeout, v, values::duration)
    }),
    Spec::value(Timeouts, "idle-origin-timeout", "SECONDS", "30", "kept origin", |s, v| {
        one(&mut s.idle_origin_timeout, v, values::duration)
    }),
    Spec::value(Timeouts, "drain-timeout", "SECONDS", "30", "at stop", |s, v| {
        one(&mut s.drain_timeout, v, values::duration_or_zero)
    }),
    Spec::value(Timeouts, "min-rate", "BYTES", "100", "body bytes/s", |s, v| {
        one(&mut s.min_rate, v, |text| values::number(text, 0, MIN_RATE_MAX).map(|rate| rate as u32))
    }),
    Spec::value(Limits, "max-connections", "N", "10000", "clients", |s, v| {
        one(&mut s.max_connections, v, |text| {
            values::number(text, 1, CONNECTIONS_MAX).map(|most| most as u32)
        })
    }),
    Spec::value(Limits, "max-per-client", "N", "0", "0: no limit", |s, v| {
        one(&mut s.max_per_client, v, |text| values::number(text, 0, CONNECTIONS_MAX).map(|most| most as u32))
    }),
    Spec::value(Limits, "buffers", "N", "16384", "4 KB each", |s, v| {
        one(&mut s.buffers, v, |text| {
            values::number(text, BUFFERS_MIN, BUFFERS_MAX).map(|count| count as u32)
        })
    }),
    Spec::value(Limits, "head-max", "SIZE", "32K", "of a message", |s, v| {
        one(&mut s.head_max_bytes, v, |text| {
            values::size(text, 1 << 10, HEAD_BYTES_MAX).map(|most| most as u32)
        })
    }),
    Spec::value(Limits, "target-max", "SIZE", "16K", "of a URL", |s, v| {
        one(&mut s.target_max_bytes, v, |text| {
            values::size(text, 256, HEAD_BYTES_MAX).map(|most| most as u32)
        })
    }),
    Spec::value(Limits, "fields-max", "N", "200", "of a head", |s, v| {
        one(&mut s.fields_max, v, |text| values::number(text, 1, FIELDS_MAX).map(|most| most as u32))
    }),
    Spec::value(Limits, "idle-origins", "N", "512", "kept, all", |s, v| {
        one(&mut s.idle_origins, v, |text| values::number(text, 0, CONNECTIONS_MAX).map(|most| most as u32))
    }),
    Spec::value(Limits, "idle-per-origin", "N", "256", "kept, each", |s, v| {
        one(&mut s.idle_per_origin, v, |text| {
            values::number(text, 0, CONNECTIONS_MAX).map(|most| most as u32)
        })
    }),
    Spec::flag(Messages, "no-origin-form", "only URLs", |s, v| one(&mut s.no_origin_form, v, values::flag)),
    Spec::flag(Messages, "strict-targets", "RFC 3986", |s, v| one(&mut s.strict_targets, v, values::flag)),
    Spec::flag(Messages, "accept-bare-lf", "as line end", |s, v| one(&mut s.accept_bare_lf, v, values::flag)),
    Spec::value(Messages, "via", "NAME", "weir", "or off", |s, v| one(&mut s.via, v, values::via)),
    Spec::value(Messages, "forwarded", "F", "off", "or append, replace, remove", |s, v| {
        one(&mut s.forwarded, v, values::forwarded)
    }),
    Spec::value(Messages, "remove-header", "NAME", "", "of requests", |s, v| {
        many(&mut s.remove_headers, v, values::removal)
    })
    .repeat(Many),
    Spec::value(Messages, "add-header", "'N: V'", "", "to requests", |s, v| {
        many(&mut s.add_headers, v, values::addition)
    })
    .repeat(Many),
    Spec::value(Messages, "remove-response-header", "NAME", "", "", |s, v| {
        many(&mut s.remove_response_headers, v, values::removal)
    })
    .repeat(Many),
    Spec::value(Messages, "add-response-header", "'N: V'", "", "", |s, v| {
        many(&mut s.add_response_headers, v, values::addition)
    })
    .repeat(Many),
    Spec::value(Messages, "dns", "SERVER,...", "", "to ask", |s, v| many(&mut s.dns, v, values::dns_server))
        .repeat(List),
    Spec::flag(Messages, "dns-0x20", "mixed case", |s, v| one(&mut s.dns_0x20, v, values::flag)),
    Spec::flag(Cache, "cache", "", |s, v| one(&mut s.cache, v, values::flag)),
    Spec::value(Cache, "cache-size", "SIZE", "64M", "", |s, v| {
        one(&mut s.cache_size_bytes, v, |text| values::size(text, 1 << 20, CACHE_BYTES_MAX))
    }),
    Spec::value(Cache, "cache-max-object", "SIZE", "0", "", |s, v| {
        one(&mut s.cache_max_object_bytes, v, |text| values::size(text, 0, CACHE_BYTES_MAX))
    }),
    Spec::value(Cache, "cache-heuristic-max", "TIME", "24h", "", |s, v| {
        one(&mut s.cache_heuristic_max, v, values::duration_or_zero)
    }),
    Spec::value(Cache, "cache-negative-ttl", "TIME", "0", "", |s, v| {
        one(&mut s.cache_negative_ttl, v, values::duration_or_zero)
    }),
    Spec::value(Cache, "cache-targeted", "FIELD", "", "", |s, v| {
        many(&mut s.cache_targeted, v, values::field_name)
    })
    .repeat(List),
    Spec::flag(Cache, "no-cache-status", "", |s, v| one(&mut s.no_cache_status, v, values::flag)),
    Spec::path(Cache, "cache-rules", "FILE", "", |s, v| {
        let mut files = Vec::new();
        let problems = many(&mut files, v, values::path);
        s.cache_rules = files.pop();
        problems
    }),
    Spec::path(Cache, "cache-file", "FILE", "", |s, v| {
        let mut files = Vec::new();
        let problems = many(&mut files, v, values::path);
        s.cache_file = files.pop();
        problems
    }),
    Spec::value(Cache, "purge-from", "NETWORK", "", "", |s, v| many(&mut s.purge_from, v, values::network))
        .repeat(List),
    Spec::value(Explain, "client", "ADDR", "", "judge as this client", |s, v| {
        one(&mut s.explain_client, v, |text| values::address(text).map(Some))
    })
    .scope(Scope::CommandLine),
];

/// Most old log files (chosen).
const LOG_KEEP_MAX: u64 = 1000;
/// Most bytes per second that may be asked of a client (chosen).
const MIN_RATE_MAX: u64 = 1 << 30;
/// Most connections of any kind (chosen): more than one machine has ports for.
const CONNECTIONS_MAX: u64 = 1_000_000;
/// Fewest blocks of one loop (chosen): a few exchanges must be able to make progress.
pub(super) const BUFFERS_MIN: u64 = 64;
/// Most blocks: 16 GB (chosen).
const BUFFERS_MAX: u64 = 4 << 20;
/// Largest cache: 1 TB (chosen).
const CACHE_BYTES_MAX: u64 = 1 << 40;
/// Largest head that may be allowed (chosen).
const HEAD_BYTES_MAX: u64 = 1 << 20;
/// Most fields that may be allowed (chosen): what the parser has room for.
const FIELDS_MAX: u64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_well_formed() {
        let mut names: Vec<&str> = TABLE.iter().flat_map(Spec::names).collect();
        let shorts: Vec<&str> =
            TABLE.iter().map(|spec| spec.short).filter(|short| !short.is_empty()).collect();
        assert_eq!(shorts, ["p", "c", "v", "q", "V", "h"]);
        assert!(names.iter().all(|name| name.len() > 1
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn every_default_is_well_formed_and_every_option_has_its_own_field() {
        let mut texts = Vec::new();
        for spec in TABLE {
            let value = Located { value: spec.default.to_owned(), ..Located::default() };
            let values = if spec.default.is_empty() { vec![] } else { vec![value] };
            let mut settings = Settings::default();
            assert_eq!((spec.apply)(&mut settings, &values), vec![], "{}", spec.name);
            // Flags that are off and what has no default change nothing; the others each change something else.
            let text = format!("{settings:?}");
            if text != format!("{:?}", Settings::default()) {
                assert!(!texts.contains(&text), "{}", spec.name);
                texts.push(text);
            }
        }
    }

    #[test]
    fn environment_names() {
        assert_eq!(environment_name("dns-0x20"), "WEIR_DNS_0X20");
        assert_eq!(find("blacklist").map(|spec| spec.name), Some("blocklist"));
        assert!(find("nothing").is_none());
    }
}
