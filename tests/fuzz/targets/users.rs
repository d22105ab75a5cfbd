//! User files, and credentials as clients send them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use weir::policy::auth::{Check, Users, credentials};

use super::pieces::shown;

/// Any bytes as a user file, and as the value of Proxy-Authorization.
pub fn user_file(bytes: &[u8]) {
    one_field(bytes);
    let users = match Users::parse(bytes, 3) {
        Ok(users) => users,
        Err(errors) => {
            let lines = bytes.iter().filter(|byte| **byte == b'\n').count() as u32 + 1;
            assert!(!errors.is_empty() && errors.len() <= 1000);
            for error in errors {
                let in_file = (1..=lines).contains(&error.line);
                // The expectation of an error is one of weir's sentences: never text from the file.
                assert!(in_file && error.first_line.is_none_or(|first| first < error.line));
                assert!(!error.to_string().contains(char::is_control));
            }
            return;
        }
    };
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let mut count = 0;
    let mut slow = 0;
    for line in bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line)) {
        // Comments may be in any encoding.
        if line.trim_ascii().is_empty() || line.starts_with(b"#") {
            continue;
        }
        count += 1;
        let line = std::str::from_utf8(line).unwrap_or_else(|_| panic!("not UTF-8: {}", shown(line)));
        let (name, password) = line.split_once(':').expect("a colon");
        let user = users.find(name.as_bytes()).unwrap_or_else(|| panic!("{name:?} is lost"));
        assert_eq!(users.name(user), name);
        match check(&users, name, password) {
            Check::Accepted(found) => assert_eq!(found, user),
            Check::Wrong => panic!("{name:?} cannot log in with {password:?}"),
            Check::Slow(job) => {
                assert_eq!(job.user(), Some(user));
                // Not too slow to be tried: hashes of strange shape must not stop the thread that looks at them.
                if slow < 2 && (password.contains("$04$") || password.contains("$rounds=1000$")) {
                    slow += 1;
                    job.verify();
                }
            }
        }
        for wrong in [&format!("{password}x"), ""] {
            assert!(!matches!(check(&users, name, wrong), Check::Accepted(_)), "{name:?} with {wrong:?}");
        }
    }
    assert_eq!(users.len(), count, "{}", shown(bytes));
    assert!(!matches!(check(&users, "nobody at all", "x"), Check::Accepted(_)));
}

fn check(users: &Users, name: &str, password: &str) -> Check {
    let value = format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
    match credentials(value.as_bytes()) {
        Some(credentials) => {
            assert_eq!(credentials.user(), name.as_bytes());
            assert_eq!(credentials.password(), password.as_bytes());
            users.check(&credentials)
        }
        // A password with one byte too many, which the caller adds.
        None => Check::Wrong,
    }
}

fn one_field(bytes: &[u8]) {
    let Some(found) = credentials(bytes) else { return };
    let (user, password) = (found.user(), found.password());
    assert!(!user.contains(&b':'), "{}", shown(bytes));
    assert!(!user.iter().chain(password).any(u8::is_ascii_control), "{}", shown(bytes));
    let again = format!("basic {}", STANDARD.encode([user, b":", password].concat()));
    let again = credentials(again.as_bytes()).expect("what was read can be written");
    assert_eq!((again.user(), again.password()), (user, password));
}
