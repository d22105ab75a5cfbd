use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::super::slow;
use super::*;

const SHA512: &str =
    "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1";
const SHA256: &str = "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5";
const SHA256_ROUNDS: &str = "$5$rounds=10000$saltstringsaltst$3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA";
const BCRYPT: &str = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

fn of(user: &str, password: &str) -> Credentials {
    of_bytes(&[user.as_bytes(), b":", password.as_bytes()].concat())
}

fn of_bytes(decoded: &[u8]) -> Credentials {
    credentials(format!("Basic {}", STANDARD.encode(decoded)).as_bytes()).unwrap()
}

/// The user's name if accepted, after any slow job; and whether there was one.
fn check(users: &Users, credentials: &Credentials) -> (Option<String>, bool) {
    match users.check(credentials) {
        Check::Accepted(user) => (Some(users.name(user).to_owned()), false),
        Check::Wrong => (None, false),
        Check::Slow(job) => {
            let user = job.verify().then(|| users.name(job.user().unwrap()).to_owned());
            (user, true)
        }
    }
}

#[test]
fn plain_passwords_are_compared_at_once() {
    let text = "\u{FEFF}# users\r\n\r\nalice:secret\r\nbob:a:b#c \nŁucja:zażółć\n  \nsam:$ecret\n";
    let users = Users::parse(text.as_bytes(), 9).unwrap();
    assert_eq!(users.len(), 4);
    let cases = [
        ("alice", "secret", true),
        ("alice", "Secret", false),
        ("alice", "secre", false),
        ("alice", "secrets", false),
        ("alice", "secret\u{a0}", false),
        ("alice", "", false),
        ("Alice", "secret", false),
        ("alic", "secret", false),
        ("bob", "a:b#c ", true),
        ("bob", "a:b#c", false),
        ("bob", "a", false),
        ("Łucja", "zażółć", true),
        ("sam", "$ecret", true),
        ("nobody", "secret", false),
        ("", "", false),
    ];
    for (user, password, right) in cases {
        let expected = (right.then(|| user.to_owned()), false);
        assert_eq!(check(&users, &of(user, password)), expected, "{user}:{password}");
    }
    assert_eq!(check(&users, &of_bytes(b"alice:\xFF")), (None, false));
    assert_eq!(users.find(b"bob").map(|user| users.name(user)), Some("bob"));
    assert_eq!(users.find(b"bo"), None);
    assert!(matches!(Users::parse(b"", 9).unwrap().check(&of("", "")), Check::Wrong));
}

#[test]
fn slow_hashes_become_jobs() {
    let fallen = BCRYPT.replace("$2a$", "$2y$");
    let text = format!("a:{SHA512}\nb:{SHA256}\nc:{SHA256_ROUNDS}\nd:{BCRYPT}\ne:{fallen}\nf:plain");
    let users = Users::parse(text.as_bytes(), 9).unwrap();
    let cases = [
        ("a", "Hello world!", true, true),
        ("a", "Hello world", false, true),
        ("b", "Hello world!", true, true),
        ("c", "Hello world!", true, true),
        ("d", "U*U", true, true),
        ("d", "U*V", false, true),
        ("e", "U*U", true, true),
        ("f", "plain", true, false),
        // A wrong plain password takes as long, and so does an unknown name, which is wrong even with the password of
        // the decoy.
        ("f", "other", false, true),
        ("f", "U*U", false, true),
        ("g", "Hello world!", false, true),
    ];
    for (user, password, right, slow) in cases {
        let expected = (right.then(|| user.to_owned()), slow);
        assert_eq!(check(&users, &of(user, password)), expected, "{user}:{password}");
    }
    for user in ["a", "d"] {
        assert_eq!(check(&users, &of_bytes(&[user.as_bytes(), b":\xFF\xFE"].concat())), (None, true));
    }
}

#[test]
fn bad_lines_are_all_told_and_never_shown() {
    let cases: &[(&str, &str)] = &[
        ("alice", EXPECTED_LINE),
        (":secret", EXPECTED_NAME),
        (" alice:secret", EXPECTED_NAME),
        ("alice :secret", EXPECTED_NAME),
        ("al\tice:secret", EXPECTED_NAME),
        ("alice:", EXPECTED_PASSWORD),
        ("alice:sec\tret", EXPECTED_PASSWORD),
        ("alice:$apr1$salt$secret", EXPECTED_HASH),
        ("alice:{SHA}secret", EXPECTED_HASH),
        ("alice:$1$salt$secret", EXPECTED_HASH),
        ("alice:$argon2id$secret", EXPECTED_HASH),
        ("alice:$y$secret", EXPECTED_HASH),
        ("alice:$scrypt$ln=16$secret", EXPECTED_HASH),
        ("alice:$pbkdf2-sha256$29000$secret", EXPECTED_HASH),
        ("alice:$2$05$secret", EXPECTED_HASH),
        ("alice:$sha1$40000$secret", EXPECTED_HASH),
        ("alice:$md5,rounds=904$secret", EXPECTED_HASH),
        ("alice:_J9..rasmBYk8r9AiWNc", EXPECTED_HASH),
        ("alice:{SMD5}secret", EXPECTED_HASH),
        ("alice:{SSHA512}secret", EXPECTED_HASH),
        ("alice:{CRYPT}secret", EXPECTED_HASH),
        ("alice:{PLAIN}secret", EXPECTED_HASH),
        ("alice:!", EXPECTED_UNLOCKED),
        ("alice:*", EXPECTED_UNLOCKED),
        ("alice:!!", EXPECTED_UNLOCKED),
        ("alice:!$6$salt$secret", EXPECTED_UNLOCKED),
        ("alice:$2y$05$secret", slow::EXPECTED_BCRYPT),
        ("alice:$2y$5$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", slow::EXPECTED_BCRYPT),
        ("alice:$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOe!", slow::EXPECTED_BCRYPT),
        ("alice:$2y$16$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", slow::EXPECTED_COST),
        ("alice:$2y$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", slow::EXPECTED_COST),
        ("alice:$2y$03$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", slow::EXPECTED_COST),
        ("alice:$6$secret", slow::EXPECTED_SHA),
        ("alice:$6$salt$secret", slow::EXPECTED_SHA),
        ("alice:$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEl8$", slow::EXPECTED_SHA),
        ("alice:$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWElE", slow::EXPECTED_SHA),
        ("alice:$5$rounds=secret$salt$x", slow::EXPECTED_ROUNDS),
        ("alice:$5$rounds=999$salt$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEl8", slow::EXPECTED_ROUNDS),
        ("alice:$5$rounds=1000001$salt$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEl8", slow::EXPECTED_ROUNDS),
        ("alice:$5$rounds=999999999$salt$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEl8", slow::EXPECTED_ROUNDS),
    ];
    let long_name = format!("{}:secret", "n".repeat(NAME_BYTES_MAX + 1));
    let long_password = format!("alice:{}", "p".repeat(PASSWORD_BYTES_MAX + 1));
    let bounds = [(long_name.as_str(), EXPECTED_NAME), (long_password.as_str(), EXPECTED_PASSWORD)];
    for (line, expected) in cases.iter().chain(&bounds) {
        let errors = Users::parse(line.as_bytes(), 9).unwrap_err();
        assert_eq!(errors, [UserError { line: 1, expected, first_line: None }], "{line}");
        assert!(!errors[0].to_string().contains("secret"), "{}", errors[0]);
    }
    let file: String = cases.iter().map(|(line, _)| format!("{line}\n")).collect();
    let errors = Users::parse(file.as_bytes(), 9).unwrap_err();
    let found: Vec<_> = errors.iter().map(|error| error.expected).collect();
    assert_eq!(found, cases.iter().map(|&(_, expected)| expected).collect::<Vec<_>>());
    let errors = Users::parse(b"a:b\n\xFF:c", 9).unwrap_err();
    assert_eq!(errors, [UserError { line: 2, expected: EXPECTED_UTF8, first_line: None }]);
    assert_eq!(Users::parse("x\n".repeat(5000).as_bytes(), 9).unwrap_err().len(), ERRORS_MAX);
}

/// A reload forgets a verdict, right or wrong, if and only if the user's line has changed.
#[test]
fn rule_47_verdicts_hold_until_the_line_of_the_user_changes() {
    let before = format!("alice:secret\nbob:{BCRYPT}\n");
    for (after, user, same) in [
        (format!("# new\nbob:{BCRYPT}\nalice:secret\ncarol:x\n"), "alice", true),
        (format!("alice:other\nbob:{BCRYPT}\n"), "alice", false),
        (format!("alice:{BCRYPT}\nbob:{BCRYPT}\n"), "alice", false),
        (format!("bob:{BCRYPT}\n"), "alice", false),
        (format!("alice:other\nbob:{BCRYPT}\n"), "bob", true),
        (format!("alice:secret\nbob:{SHA512}\n"), "bob", false),
        (format!("alice:secret\nbob:{BCRYPT}\ncarol:x\n"), "carol", false),
        ("alice:secret\n".to_owned(), "carol", true),
    ] {
        let (one, other) = (Users::parse(before.as_bytes(), 9), Users::parse(after.as_bytes(), 9));
        let (one, other) = (one.unwrap(), other.unwrap());
        for password in ["secret", "other", ""] {
            let given = of(user, password);
            assert_eq!(one.key(&given) == other.key(&given), same, "{user}:{password} after {after}");
        }
    }
    let users = Users::parse(b"alice:secret\n", 9).unwrap();
    let others = Users::parse(b"alice:secret\n", 10).unwrap();
    assert_ne!(users.key(&of("alice", "secret")), others.key(&of("alice", "secret")), "the seed counts");
    assert_ne!(users.key(&of("alice", "secret")), users.key(&of("alice", "secre")));
    assert_ne!(users.key(&of("alice", "secret")), users.key(&of("alic", "secret")));
}

#[test]
fn a_name_comes_once() {
    let errors = Users::parse(b"a:1\nb:2\n\na:3\nb:2", 9).unwrap_err();
    let told: Vec<_> = errors.iter().map(|error| format!("{}: {error}", error.line)).collect();
    assert_eq!(
        told,
        [
            "4: expected a name that no other line has, but line 1 has it",
            "5: expected a name that no other line has, but line 2 has it",
        ]
    );
}

#[test]
fn the_longest_names_and_passwords_fit_credentials() {
    let (name, password) = ("n".repeat(NAME_BYTES_MAX), "p".repeat(PASSWORD_BYTES_MAX));
    let users = Users::parse(format!("{name}:{password}").as_bytes(), 9).unwrap();
    assert_eq!(check(&users, &of(&name, &password)), (Some(name), false));
}

/// Passwords that bcrypt would truncate, or that make SHA-crypt slow, are wrong: at once if no hash of the file takes
/// so long ones.
#[test]
fn kind_17_long_passwords_are_wrong() {
    let of_72 = "x".repeat(slow::BCRYPT_PASSWORD_BYTES_MAX);
    let of_256 = "y".repeat(slow::SHA_CRYPT_PASSWORD_BYTES_MAX);
    let bcrypt = bcrypt::hash(&of_72, 4).unwrap();
    let sha512 = sha_crypt::sha512_simple(&of_256, &sha_crypt::Sha512Params::new(1000).unwrap()).unwrap();
    let longest = "z".repeat(PASSWORD_BYTES_MAX);
    let only_bcrypt = Users::parse(format!("b:{bcrypt}\np:{longest}").as_bytes(), 9).unwrap();
    let both = Users::parse(format!("b:{bcrypt}\ns:{sha512}\np:{longest}").as_bytes(), 9).unwrap();
    for (users, longest_slow) in [(&only_bcrypt, 72), (&both, 256)] {
        assert_eq!(check(users, &of("b", &of_72)), (Some("b".to_owned()), true));
        assert_eq!(check(users, &of("b", &format!("{of_72}!"))), (None, longest_slow > 72));
        assert_eq!(check(users, &of("p", &longest)), (Some("p".to_owned()), false));
        for user in ["b", "s", "p", "nobody"] {
            assert_eq!(check(users, &of(user, &"w".repeat(longest_slow))), (None, true), "{user}");
            assert_eq!(check(users, &of(user, &"w".repeat(longest_slow + 1))), (None, false), "{user}");
        }
    }
    assert_eq!(check(&both, &of("s", &of_256)), (Some("s".to_owned()), true));
    assert_eq!(check(&both, &of("s", &format!("{of_256}y"))), (None, false));
}

#[test]
fn many_users_are_found() {
    let file: String = (0..2000).map(|n| format!("user{n}:pass{n}\n")).collect();
    let users = Users::parse(file.as_bytes(), 9).unwrap();
    for n in 0..2000 {
        let name = format!("user{n}");
        assert_eq!(check(&users, &of(&name, &format!("pass{n}"))), (Some(name.clone()), false));
        assert_eq!(check(&users, &of(&name, "pass")), (None, false));
    }
}

#[test]
fn secrets_are_not_shown() {
    let users = Users::parse(format!("a:{BCRYPT}").as_bytes(), 9).unwrap();
    let Check::Slow(job) = users.check(&of("a", "secret")) else { panic!() };
    let shown = format!("{users:?} {job:?}");
    assert!(!shown.contains("secret") && !shown.contains("CCC"), "{shown}");
    fn sendable<T: Send>(_: &T) {}
    sendable(&job);
}

#[test]
fn no_hash_that_loads_stops_the_thread_that_verifies_it() {
    const CHARACTERS: &[u8] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for (kind, chars, loaded) in [(5, 43, 16), (6, 86, 4)] {
        let mut count = 0;
        for last in CHARACTERS {
            let hash = format!("{}{}", "x".repeat(chars - 1), char::from(*last));
            let line = format!("a:${kind}$rounds=1000$salt${hash}");
            let Ok(users) = Users::parse(line.as_bytes(), 9) else { continue };
            let Check::Slow(job) = users.check(&of("a", "secret")) else { panic!() };
            assert!(!job.verify());
            count += 1;
        }
        assert_eq!(count, loaded, "of ${kind}$");
    }
}
