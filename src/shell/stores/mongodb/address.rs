//! The database and the collections that a URL names.

use std::io;

/// The reference system's database, the default for a URL without a path.
const DATABASE: &str = "vegy_security";

/// Collections; the comment of each has the option of the URL that sets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    pub database: String,
    /// `collection=`: fixed windows with escalation.
    pub escalations: String,
    /// `windowsCollection=`: sliding windows, which the reference system does not have.
    pub windows: String,
    /// `sessionsCollection=`.
    pub sessions: String,
}

impl Places {
    /// Removes the options for collections from a URL; the rest is for the driver.
    pub fn split_off(url: &str) -> io::Result<(String, Places)> {
        let mut places = Places {
            database: DATABASE.to_owned(),
            escalations: "rate_limits_global".to_owned(),
            windows: "rate_windows".to_owned(),
            sessions: "sessions".to_owned(),
        };
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let mut rest = Vec::new();
        for option in query.split('&').filter(|option| !option.is_empty()) {
            let place = match option.split_once('=') {
                Some(("collection", value)) => Some((&mut places.escalations, value)),
                Some(("windowsCollection", value)) => Some((&mut places.windows, value)),
                Some(("sessionsCollection", value)) => Some((&mut places.sessions, value)),
                Some(_) | None => None,
            };
            match place {
                Some((place, value)) if is_name(value) => *place = value.to_owned(),
                Some(_) => return Err(wrong("a collection's name has letters, digits, '-', '_' and '.'")),
                None => rest.push(option),
            }
        }
        let path =
            base.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
        if !path.is_empty() {
            if !is_name(path) {
                return Err(wrong("a database's name has letters, digits, '-', '_' and '.'"));
            }
            path.clone_into(&mut places.database);
        }
        let slash = if base.split_once("://").is_some_and(|(_, rest)| rest.contains('/')) { "" } else { "/" };
        let url = if rest.is_empty() { base.to_owned() } else { format!("{base}{slash}?{}", rest.join("&")) };
        Ok((url, places))
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

pub fn wrong(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("URL of the store: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guard_6_and_7_a_url_names_database_and_collections() {
        for (url, rest, database, escalations, windows, sessions) in [
            ("mongodb://h", "mongodb://h", "vegy_security", "rate_limits_global", "rate_windows", "sessions"),
            (
                "mongodb://u:p@h:1/db",
                "mongodb://u:p@h:1/db",
                "db",
                "rate_limits_global",
                "rate_windows",
                "sessions",
            ),
            (
                "mongodb://h/?collection=a&tls=true&windowsCollection=b&sessionsCollection=c",
                "mongodb://h/?tls=true",
                "vegy_security",
                "a",
                "b",
                "c",
            ),
            (
                "mongodb://h?tls=true",
                "mongodb://h/?tls=true",
                "vegy_security",
                "rate_limits_global",
                "rate_windows",
                "sessions",
            ),
        ] {
            let (found, places) = Places::split_off(url).expect("a URL");
            assert_eq!(found, rest);
            let places = [&places.database, &places.escalations, &places.windows, &places.sessions];
            assert_eq!(places, [database, escalations, windows, sessions], "{url}");
        }
        for url in ["mongodb://h/a/b", "mongodb://h/?collection=", "mongodb://h/?collection=$cmd"] {
            assert!(Places::split_off(url).is_err(), "{url}");
        }
    }
}
