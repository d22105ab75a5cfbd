//! Keys of tinyproxy and Squid, and weir's options for the same purpose.

use super::options;

/// A key of another program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// The program.
    pub program: &'static str,
    /// The option or advice in its place.
    pub instead: &'static str,
}

impl Foreign {
    /// The message about such a key.
    pub fn message_about(&self, key: &str) -> String {
        let Foreign { program, instead } = self;
        let first = instead.split([' ', ',']).next().unwrap_or_default();
        match options::find(first) {
            Some(_) => format!("{key} is {program}'s: expected {instead}"),
            None => format!("{key} is {program}'s: expected no such line, since {instead}"),
        }
    }
}

/// Finds the key of another program, in any case. Some keys have another meaning in weir, so this comes before
/// guesses at a misspelt option.
pub fn find(key: &str) -> Option<Foreign> {
    let key = key.to_ascii_lowercase();
    let of = |program: &'static str, table: &[(&str, &'static str)]| {
        let found = table.iter().find(|(name, _)| *name == key);
        found.map(|(_, instead)| Foreign { program, instead })
    };
    of("tinyproxy", TINYPROXY).or_else(|| of("Squid", SQUID))
}

const NO_PARENTS: &str = "weir asks origins itself, never another proxy";
const NO_REVERSE: &str = "gateway FILE, a file with the routes of a gateway: weir help gateway";
const NO_PATTERNS: &str = "rules of a blocklist are hosts and networks, not expressions";
const STATISTICS: &str = "control PATH for weir ctl stats, metrics ADDRESS:PORT for monitoring systems, or stats-every SECONDS for the log";
const TRUST: &str = "guard FILE, with a line `trust NETWORK` for the proxies whose X-Forwarded-For counts";
const NO_NEED: &str = "weir needs no such setting";

/// tinyproxy.conf(5), in lower case.
const TINYPROXY: &[(&str, &str)] = &[
    ("addheader", "add-header \"NAME: VALUE\""),
    ("allow", "allow-client NETWORK (`allow` is about destinations)"),
    ("anonymous", "anonymous yes, and remove-header NAME for single fields"),
    ("basicauth", "auth-file FILE, with a line `user:password` in it"),
    ("basicauthrealm", NO_NEED),
    (
        "bind",
        "the system chooses the address that origins are asked from; host ADDRESS and port N are for listening",
    ),
    ("bindsame", "the system chooses the address that origins are asked from"),
    ("connectport", "connect-ports LIST, as in connect-ports 443,563"),
    ("defaulterrorfile", "error-page STATUS=FILE"),
    ("deny", "allow-client NETWORK for the allowed clients: all others are refused"),
    ("disableviaheader", "via off"),
    ("errorfile", "error-page STATUS=FILE"),
    ("filter", "blocklist FILE"),
    ("filtercasesensitive", NO_PATTERNS),
    ("filterdefaultdeny", "allowlist FILE in place of blocklist FILE: what it does not allow is refused"),
    ("filterextended", NO_PATTERNS),
    ("filtertype", NO_PATTERNS),
    ("filterurls", "rules of a blocklist are about hosts: weir does not look at paths"),
    ("group", "user NAME:GROUP"),
    ("listen", "host ADDRESS"),
    ("logfile", "log-dir DIRECTORY, where access.log is written; without it the log is on standard output"),
    ("loglevel", "verbose yes, or quiet yes"),
    ("maxclients", "max-connections N"),
    ("maxrequestsperchild", NO_NEED),
    ("maxspareservers", NO_NEED),
    ("minspareservers", NO_NEED),
    ("pidfile", "pid-file FILE"),
    ("port", "port N"),
    ("reversebaseurl", NO_REVERSE),
    ("reversemagic", NO_REVERSE),
    ("reverseonly", NO_REVERSE),
    ("reversepath", NO_REVERSE),
    ("startservers", NO_NEED),
    ("statfile", STATISTICS),
    ("stathost", STATISTICS),
    ("syslog", "weir logs to standard output and standard error, which systemd takes to the journal"),
    ("timeout", "timeout SECONDS"),
    ("upstream", NO_PARENTS),
    ("user", "user NAME[:GROUP]"),
    ("viaproxyname", "via NAME"),
    ("xtinyproxy", "forwarded append"),
];

/// Squid's most common configuration directives.
const SQUID: &[(&str, &str)] = &[
    ("access_log", "log-dir DIRECTORY, where access.log is written, and log-format squid"),
    (
        "acl",
        "allow-client NETWORK for clients, block RULE or blocklist FILE for destinations, connect-ports and ports for ports",
    ),
    ("acl_uses_indirect_client", TRUST),
    ("adaptation_access", "weir changes no bodies"),
    ("always_direct", NO_PARENTS),
    ("auth_param", "auth-file FILE, with `user:password` lines or hashes"),
    ("cache_access_log", "log-dir DIRECTORY, where access.log is written, and log-format squid"),
    (
        "cache_dir",
        "cache-file FILE, which keeps the cache between two runs; it is in memory meanwhile: cache-size SIZE",
    ),
    ("cache_effective_group", "user NAME:GROUP"),
    ("cache_effective_user", "user NAME[:GROUP]"),
    ("cache_log", "weir says what it does on standard error"),
    ("cache_mem", "cache yes, and cache-size SIZE"),
    ("cache_mgr", "contact TEXT"),
    ("cache_peer", NO_PARENTS),
    ("cache_peer_access", NO_PARENTS),
    ("cache_replacement_policy", NO_NEED),
    ("cache_store_log", NO_NEED),
    ("client_idle_pconn_timeout", "idle-timeout SECONDS"),
    ("client_ip_max_connections", "max-per-client N"),
    (
        "client_lifetime",
        "tunnel-timeout, timeout and min-rate, which end connections that move nothing or little",
    ),
    ("collapsed_forwarding", "the cache always does it"),
    ("connect_timeout", "connect-timeout SECONDS"),
    ("coredump_dir", "weir writes no core files"),
    ("cpu_affinity_map", "workers N,pin"),
    ("debug_options", "verbose yes"),
    ("delay_access", "weir limits no rates"),
    ("delay_pools", "weir limits no rates"),
    ("deny_info", "error-page STATUS=FILE"),
    ("dns_nameservers", "dns SERVER,..."),
    ("dns_timeout", NO_NEED),
    ("error_directory", "error-page STATUS=FILE"),
    ("follow_x_forwarded_for", TRUST),
    ("forward_timeout", "connect-timeout SECONDS"),
    ("forwarded_for", "forwarded append, replace, remove or off"),
    ("half_closed_clients", NO_NEED),
    ("hierarchy_stoplist", NO_NEED),
    ("hosts_file", "weir reads /etc/hosts"),
    (
        "http_access",
        "allow-client NETWORK for clients, block and allow RULE for destinations; `weir help rules` has their order",
    ),
    ("http_port", "port N, and host ADDRESS"),
    ("http_reply_access", "block and allow RULE for destinations"),
    ("https_port", "clients talk to weir without TLS: port N"),
    ("icap_enable", "weir changes no bodies"),
    ("icap_service", "weir changes no bodies"),
    ("include", "one file has all settings; blocklist, allowlist and others name further files"),
    ("log_mime_hdrs", "log-format combined or json"),
    ("logfile_rotate", "log-keep N, and log-max-size SIZE"),
    ("logformat", "log-format weir, combined, squid, json or none"),
    ("max_filedescriptors", "max-connections N: weir raises the limit of descriptors to what that needs"),
    ("maximum_object_size", "cache-max-object SIZE"),
    ("maximum_object_size_in_memory", "cache-max-object SIZE"),
    ("memory_replacement_policy", NO_NEED),
    ("minimum_object_size", NO_NEED),
    ("negative_dns_ttl", NO_NEED),
    ("negative_ttl", "cache-negative-ttl TIME"),
    ("never_direct", NO_PARENTS),
    ("pconn_timeout", "idle-origin-timeout SECONDS"),
    ("persistent_request_timeout", "idle-timeout SECONDS"),
    ("pid_filename", "pid-file FILE"),
    ("positive_dns_ttl", NO_NEED),
    ("quick_abort_max", NO_NEED),
    ("quick_abort_min", NO_NEED),
    ("range_offset_limit", NO_NEED),
    ("read_timeout", "timeout SECONDS"),
    ("refresh_pattern", "cache-rules FILE, with lines `PATTERN TIME`, and cache-heuristic-max TIME"),
    ("reply_body_max_size", "weir does not limit bodies"),
    ("reply_header_access", "remove-response-header NAME"),
    ("reply_header_add", "add-response-header \"NAME: VALUE\""),
    ("reply_header_max_size", "head-max SIZE"),
    ("request_body_max_size", "weir does not limit bodies"),
    ("request_header_access", "remove-header NAME, or anonymous yes"),
    ("request_header_add", "add-header \"NAME: VALUE\""),
    ("request_header_max_size", "head-max SIZE"),
    ("request_timeout", "head-timeout SECONDS"),
    ("server_idle_pconn_timeout", "idle-origin-timeout SECONDS"),
    ("shutdown_lifetime", "drain-timeout SECONDS"),
    ("sslproxy_cert_error", "weir does not look into TLS"),
    ("snmp_port", "metrics ADDRESS:PORT"),
    ("ssl_bump", "weir does not look into TLS"),
    ("store_id_program", NO_NEED),
    ("strip_query_terms", NO_NEED),
    ("tcp_outgoing_address", "the system chooses the address that origins are asked from"),
    ("tls_outgoing_options", "weir does not look into TLS"),
    ("udp_incoming_address", NO_NEED),
    ("unique_hostname", "via NAME"),
    ("uri_whitespace", NO_NEED),
    ("url_rewrite_program", "weir rewrites no URLs"),
    ("visible_hostname", "via NAME"),
    ("write_timeout", "timeout SECONDS"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_23_keys_of_others_are_answered_with_keys_that_exist() {
        for (program, table) in [("tinyproxy", TINYPROXY), ("Squid", SQUID)] {
            for (key, instead) in table {
                assert_eq!(*key, key.to_ascii_lowercase());
                assert_eq!(table.iter().filter(|(other, _)| other == key).count(), 1, "{key}");
                // A sentence, or a key of weir's first.
                let first = instead.split([' ', ',']).next().unwrap_or_default();
                let sentence = ["weir", "the", "rules", "one", "clients"].contains(&first);
                assert!(sentence || options::find(first).is_some(), "{program} {key}: {instead}");
            }
        }
        for (key, instead) in [
            ("Allow", "allow-client"),
            ("Deny", "allow-client"),
            ("Listen", "host"),
            ("ConnectPort", "connect-ports"),
            ("BasicAuth", "auth-file"),
            ("MaxClients", "max-connections"),
            ("FilterDefaultDeny", "allowlist"),
            ("http_port", "port"),
            ("HTTP_ACCESS", "allow-client"),
            ("cache_mem", "cache yes, and cache-size"),
            ("visible_hostname", "via"),
        ] {
            assert!(find(key).is_some_and(|found| found.instead.starts_with(instead)), "{key}");
        }
        assert_eq!(find("frobnicate"), None);
    }
}
