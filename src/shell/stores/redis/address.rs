//! The servers that a URL names.

#[cfg(feature = "tls")]
use crate::shell::stores::crypto::install_provider;
use crate::shell::stores::settings::StoreSettings;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};
use std::io;

/// Port of Redis (IANA).
const PORT: u16 = 6379;
/// Port of Sentinel (its documentation).
const SENTINEL_PORT: u16 = 26379;

/// Servers and their relation.
pub enum Target {
    /// One server.
    Single(ConnectionInfo),
    /// Servers of a cluster; at least one must be reachable.
    Cluster(Vec<ConnectionInfo>),
    /// Sentinels that know the master of this name. Connections to it are like `template`, with its own address.
    Sentinel { sentinels: Vec<ConnectionInfo>, name: String, template: ConnectionInfo },
}

impl Target {
    /// The number of the database.
    pub fn database(&self) -> i64 {
        match self {
            Target::Single(info) | Target::Sentinel { template: info, .. } => info.redis_settings().db(),
            Target::Cluster(_) => 0,
        }
    }

    /// Parses `redis://`, `redis-cluster://USER:PASSWORD@HOST:PORT,HOST:PORT` and
    /// `redis-sentinel://HOST:PORT,HOST:PORT/NAME/DB`; each with `rediss` for TLS.
    pub fn parse(settings: &StoreSettings) -> io::Result<Target> {
        let (scheme, rest) = settings.url.split_once("://").ok_or_else(|| wrong("a URL has ://"))?;
        let (base, kind) = match scheme.split_once('-') {
            None => return connection(settings, &settings.url).map(Target::Single),
            Some(parts) => parts,
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let user = if user.is_empty() { String::new() } else { format!("{user}@") };
        let hosts: Vec<&str> = hosts.split(',').filter(|host| !host.is_empty()).collect();
        if hosts.is_empty() {
            return Err(wrong("no server is named"));
        }
        match kind {
            "cluster" if path.is_empty() => {
                let each =
                    |host: &&str| connection(settings, &format!("{base}://{user}{}", with_port(host, PORT)));
                hosts.iter().map(each).collect::<io::Result<_>>().map(Target::Cluster)
            }
            "cluster" => Err(wrong("a cluster has no path, because it has one database only")),
            "sentinel" => {
                let (name, database) = path.split_once('/').unwrap_or((path, ""));
                if name.is_empty() {
                    return Err(wrong("the name of the master is missing: redis-sentinel://HOST:PORT/NAME"));
                }
                // Sentinels have no users of their own as a rule: user and password are the master's.
                let plain = StoreSettings { password: None, ..settings.clone() };
                let each =
                    |host: &&str| connection(&plain, &format!("{base}://{}", with_port(host, SENTINEL_PORT)));
                let sentinels = hosts.iter().map(each).collect::<io::Result<_>>()?;
                let template = connection(settings, &format!("{base}://{user}master/{database}"))?;
                Ok(Target::Sentinel { sentinels, name: name.to_owned(), template })
            }
            other => Err(wrong(&format!("{other} is neither cluster nor sentinel"))),
        }
    }
}

/// A copy of a connection, with another address.
pub fn moved_to(info: &ConnectionInfo, new_host: &str, new_port: u16) -> ConnectionInfo {
    let mut address = info.addr().clone();
    match &mut address {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            (*host, *port) = (new_host.to_owned(), new_port);
        }
        _ => {}
    }
    info.clone().set_addr(address)
}

fn with_port(host: &str, port: u16) -> String {
    let bare = host.rsplit_once(']').map_or(host, |(_, end)| end);
    if bare.contains(':') { host.to_owned() } else { format!("{host}:{port}") }
}

/// The parameters of a connection to one server.
fn connection(settings: &StoreSettings, url: &str) -> io::Result<ConnectionInfo> {
    let tls = url.starts_with("rediss://") || url.starts_with("valkeys://");
    // The crate knows no such URL without the feature, and cannot say why.
    if tls && !cfg!(feature = "tls") {
        return Err(wrong("TLS needs the feature tls, which this weir was built without"));
    }
    #[cfg(feature = "tls")]
    if tls {
        install_provider();
    }
    // The crate's own errors may show the URL, and so a password.
    let info = url.into_connection_info().map_err(|_| wrong("no such URL is known to Redis"))?;
    #[cfg(feature = "tls")]
    let info = if tls { with_roots(settings, info)? } else { info };
    let password = settings.password.as_deref();
    let with_password = |password| info.redis_settings().clone().set_password(password);
    Ok(match password {
        Some(password) => info.clone().set_redis_settings(with_password(password)),
        None => info,
    })
}

/// Adds the certificates of the settings, if there are any.
#[cfg(feature = "tls")]
fn with_roots(settings: &StoreSettings, info: ConnectionInfo) -> io::Result<ConnectionInfo> {
    let Some(roots) = &settings.roots_pem else { return Ok(info) };
    let certificates = redis::TlsCertificates { client_tls: None, root_cert: Some(roots.to_vec()) };
    let client = redis::Client::build_with_tls(info, certificates);
    Ok(client.map_err(|error| wrong(&error.to_string()))?.get_connection_info().clone())
}

fn wrong(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("URL of the store: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> String {
        let mut settings = StoreSettings::new(url);
        settings.password = Some("from-file".into());
        let show = |info: &ConnectionInfo| {
            let redis = info.redis_settings();
            let password = redis.password().unwrap_or("-");
            format!("{}#{} {} {password}", info.addr(), redis.db(), redis.username().unwrap_or("-"))
        };
        match Target::parse(&settings) {
            Ok(Target::Single(info)) => show(&info),
            Ok(Target::Cluster(infos)) => infos.iter().map(show).collect::<Vec<_>>().join(", "),
            Ok(Target::Sentinel { sentinels, name, template }) => {
                let sentinels = sentinels.iter().map(show).collect::<Vec<_>>().join(", ");
                format!("{sentinels} {name}: {}", show(&template))
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn urls_name_servers() {
        for (url, expected) in [
            ("redis://h", "h:6379#0 - from-file"),
            #[cfg(feature = "tls")]
            ("rediss://u:p@h:1/3", "h:1#3 u from-file"),
            ("redis-cluster://a:1,b", "a:1#0 - from-file, b:6379#0 - from-file"),
            #[cfg(feature = "tls")]
            ("rediss-cluster://u:p@[::1]:1,[::2]/", "::1:1#0 u from-file, ::2:6379#0 u from-file"),
            ("redis-sentinel://u:p@a:1,b/main/2", "a:1#0 - -, b:26379#0 - - main: master:6379#2 u from-file"),
        ] {
            assert_eq!(shown(url), expected, "{url}");
        }
        let encrypted = shown("rediss://h");
        assert_eq!(encrypted.contains("needs the feature tls"), !cfg!(feature = "tls"), "{encrypted}");
        for url in [
            "redis",
            "redis-cluster://",
            "redis-cluster://a/1",
            "redis-sentinel://a",
            "redis-x://a",
            "redis://:x:y",
        ] {
            let error = shown(url);
            assert!(error.starts_with("URL of the store: "), "{url}: {error}");
        }
    }
}
