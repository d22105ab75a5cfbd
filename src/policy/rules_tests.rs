use super::*;

fn read(text: &[u8]) -> (Vec<String>, Vec<(u32, &'static str)>) {
    let mut rules = Vec::new();
    let errors = parse_rules(text, |line, rule| {
        rules.push(format!("{line} {rule}"));
        Ok(())
    });
    (rules, errors.errors.into_iter().map(|error| (error.line, error.expected)).collect())
}

#[test]
fn a_line_is_a_rule() {
    let cases: &[(&str, &[&str])] = &[
        ("example.com", &["example.com"]),
        ("Example.COM.", &["example.com"]),
        ("  example.com\t", &["example.com"]),
        ("example.com\r", &["example.com"]),
        ("*.ads.com", &["*.ads.com"]),
        (".ads.com", &[".ads.com"]),
        ("*.ADS.com.:80", &["*.ads.com:80"]),
        ("localhost", &["localhost"]),
        ("a_b.example", &["a_b.example"]),
        ("example.com:443", &["example.com:443"]),
        ("example.com:1-1024", &["example.com:1-1024"]),
        ("example.com # why", &["example.com"]),
        ("example.com# why", &["example.com"]),
        ("example.com#why", &["example.com"]),
        ("# only a comment", &[]),
        ("! only a comment", &[]),
        ("[Adblock Plus 2.0]", &[]),
        ("", &[]),
        (" \t ", &[]),
        ("10.0.0.0/8", &["10.0.0.0/8"]),
        ("0.0.0.0/0", &["0.0.0.0/0"]),
        ("192.0.2.1", &["192.0.2.1"]),
        ("192.0.2.1:25", &["192.0.2.1:25"]),
        ("192.0.2.0/24:25-26", &["192.0.2.0/24:25-26"]),
        ("2001:db8::/32", &["2001:db8::/32"]),
        ("2001:DB8::/32", &["2001:db8::/32"]),
        ("2001:db8::5", &["2001:db8::5"]),
        ("::", &["::"]),
        ("::/0", &["::/0"]),
        ("[2001:db8::5]", &["2001:db8::5"]),
        ("[2001:db8::5]:443", &["[2001:db8::5]:443"]),
        ("[2001:db8::]/32:443", &["[2001:db8::/32]:443"]),
        ("[2001:db8::/32]:443-444", &["[2001:db8::/32]:443-444"]),
        ("::ffff:10.0.0.0/104", &["10.0.0.0/8"]),
        ("::ffff:10.0.0.1", &["10.0.0.1"]),
        #[cfg(feature = "idna")]
        ("bücher.example", &["xn--bcher-kva.example"]),
        #[cfg(feature = "idna")]
        ("*.BÜCHER.example:80", &["*.xn--bcher-kva.example:80"]),
        #[cfg(feature = "idna")]
        ("пример.рф", &["xn--e1afmkfd.xn--p1ai"]),
        #[cfg(feature = "idna")]
        ("例。jp", &["xn--fsq.jp"]),
        ("0.0.0.0 ads.example", &["ads.example"]),
        ("0.0.0.0\tads.example   Two.example. # both", &["ads.example", "two.example"]),
        ("127.0.0.1 ads.example", &["ads.example"]),
        ("::1 ads.example", &["ads.example"]),
        (":: ads.example", &["ads.example"]),
        ("127.0.0.1 localhost", &[]),
        ("127.0.0.1 LocalHost ads.example", &["ads.example"]),
        ("255.255.255.255 broadcasthost", &[]),
        ("fe80::1%lo0 localhost", &[]),
        ("ff02::1 ip6-allnodes", &[]),
        ("0.0.0.0 0.0.0.0", &[]),
        ("||ads.example^", &[".ads.example"]),
        ("||Ads.example^$important", &[".ads.example"]),
        ("||ads.example^$important,all", &[".ads.example"]),
        ("||ads.example^*", &[".ads.example"]),
        ("||192.0.2.7^", &["192.0.2.7"]),
        ("||*.ads.example^", &["*.ads.example"]),
        ("||ads.example:8080^", &[".ads.example:8080"]),
        ("||ads.example^ # why", &[".ads.example"]),
    ];
    for (line, expected) in cases {
        let expected_at = |at: u32| expected.iter().map(|rule| format!("{at} {rule}")).collect::<Vec<_>>();
        assert_eq!(read(line.as_bytes()), (expected_at(1), vec![]), "{line:?}");
        // With a mark, and with lines around it.
        let mut file = b"\xEF\xBB\xBF".to_vec();
        file.extend_from_slice(format!("# first\r\n{line}\nlast.example").as_bytes());
        let mut all = expected_at(2);
        all.push("3 last.example".to_owned());
        assert_eq!(read(&file), (all, vec![]), "{line:?} in a file");
    }
}

#[test]
fn a_line_that_cannot_be_honoured_says_what_was_expected() {
    let label = "a".repeat(64);
    let long = format!("{}example", "abcdefghi.".repeat(25));
    let cases: &[(&str, &str)] = &[
        ("exa mple.com", EXPECTED_HOSTS),
        ("192.168.1.1 router", EXPECTED_HOSTS),
        ("fe80::1%lo0 router", EXPECTED_HOSTS),
        ("0.0.0.0 bad/name", EXPECTED_NAME),
        ("0.0.0.0 192.0.2.1", EXPECTED_NAME),
        ("http://example.com/", EXPECTED_NO_PATH),
        ("//example.com/", EXPECTED_NO_PATH),
        ("example.com/path", EXPECTED_NO_PATH),
        ("example.com:", EXPECTED_PORTS),
        ("example.com:0", EXPECTED_PORTS),
        ("example.com:65536", EXPECTED_PORTS),
        ("example.com:20-10", EXPECTED_PORTS),
        ("example..com", EXPECTED_NAME),
        ("..example.com", EXPECTED_NAME),
        ("*", EXPECTED_WILDCARD),
        ("*.", EXPECTED_RULE),
        (".", EXPECTED_RULE),
        ("ads*.example", EXPECTED_WILDCARD),
        ("*ads.example", EXPECTED_WILDCARD),
        ("*.*.example", EXPECTED_WILDCARD),
        (&label, EXPECTED_NAME),
        (&long, EXPECTED_NAME),
        ("256.1.1.1", EXPECTED_ADDRESS),
        ("1.2.3", EXPECTED_ADDRESS),
        ("2130706433", EXPECTED_ADDRESS),
        ("0x7f.1", EXPECTED_ADDRESS),
        ("0x7f.0x1", EXPECTED_ADDRESS),
        ("0177.0.0.1", EXPECTED_ADDRESS),
        ("127.0.0.1.", EXPECTED_ADDRESS),
        (".1.2.3.4", EXPECTED_NAME),
        ("*.0.0.127", EXPECTED_NAME),
        ("10.1.2.3/8", EXPECTED_PREFIX),
        ("10.1.2.3/8:80", EXPECTED_PREFIX),
        ("2001:db8::5/32", EXPECTED_PREFIX),
        ("[2001:db8::5/32]", EXPECTED_PREFIX),
        ("::ffff:10.1.2.3/104", EXPECTED_PREFIX),
        ("10.0.0.0/33", EXPECTED_NETWORK),
        ("10.0.0.0/", EXPECTED_NETWORK),
        ("10.0.0.0/+8", EXPECTED_NETWORK),
        ("10.0.0.0/255.0.0.0", EXPECTED_NETWORK),
        ("10.0.0/8", EXPECTED_ADDRESS),
        ("2001:db8::/129", EXPECTED_NETWORK),
        ("::ffff:10.0.0.0/129", EXPECTED_NETWORK),
        ("2001:db8:::1", EXPECTED_ADDRESS),
        ("[2001:db8::1", EXPECTED_ADDRESS),
        ("[192.0.2.1]", EXPECTED_ADDRESS),
        ("[2001:db8::1]443", EXPECTED_NETWORK),
        ("[2001:db8::1/64]/64", EXPECTED_NO_PATH),
        ("[fe80::1%eth0]", EXPECTED_ADDRESS),
        ("a\u{0}b.example", EXPECTED_NAME),
        ("１２７.0.0.１", if cfg!(feature = "idna") { EXPECTED_ADDRESS } else { idna::EXPECTED }),
        ("xn\u{2d}\u{2d}ü", idna::EXPECTED),
        ("&ad_box=", EXPECTED_NAME),
        ("ads.example^", EXPECTED_NAME),
        ("ads.example$script", EXPECTED_NAME),
    ];
    for (line, expected) in cases {
        assert_eq!(read(line.as_bytes()), (vec![], vec![(1, *expected)]), "{line:?}");
        let file = format!("a.example\n{line}\r\nb.example\n");
        let rules = vec!["1 a.example".to_owned(), "3 b.example".to_owned()];
        assert_eq!(read(file.as_bytes()), (rules, vec![(2, *expected)]), "{line:?} in a file");
    }
}

#[test]
fn every_bad_line_is_reported_up_to_the_limit() {
    assert_eq!(read(b"a b\nx.example\n\xFF\xFE\n*"), {
        let errors = vec![(1, EXPECTED_HOSTS), (3, EXPECTED_UTF8), (4, EXPECTED_WILDCARD)];
        (vec!["2 x.example".to_owned()], errors)
    });
    let errors = parse_rules("*\n".repeat(5000).as_bytes(), |_, _| Ok(())).errors;
    assert_eq!(errors.len(), ERRORS_MAX);
    assert_eq!(errors.last().map(|error| (error.line, error.expected)), Some((1000, EXPECTED_FEWER)));
    let long = format!("{}\nb.example", "a".repeat(LINE_BYTES_MAX + 1));
    assert_eq!(read(long.as_bytes()), (vec!["2 b.example".to_owned()], vec![(1, EXPECTED_SHORT)]));
    let refused =
        parse_rules(b"a.example\nb.example", |line, _| if line == 2 { Err("less") } else { Ok(()) });
    assert_eq!(refused.errors, vec![RuleError { line: 2, found: "b.example".to_owned(), expected: "less" }]);
}

/// A line that only a browser can apply is skipped in every file: a proxy that took its host would block more than it
/// says.
#[test]
fn kind_24_lines_for_browsers_are_skipped_in_any_file() {
    let cases = [
        ("||ads.example", EXPECTED_ADBLOCK),
        ("||ads.example^path", EXPECTED_ADBLOCK),
        ("||ads.example^|", EXPECTED_ADBLOCK),
        ("||ads.example/path^", EXPECTED_NO_PATH),
        ("||ads.*^", EXPECTED_WILDCARD),
        ("||.ads.example^", EXPECTED_ADBLOCK),
        ("||ads.example^$third-party", EXPECTED_OPTIONS),
        ("||ads.example^$3p", EXPECTED_OPTIONS),
        ("||ads.example^$~third-party", EXPECTED_OPTIONS),
        ("||ads.example^$script", EXPECTED_OPTIONS),
        ("||ads.example^$important,image", EXPECTED_OPTIONS),
        ("||ads.example^$document", EXPECTED_OPTIONS),
        ("||ads.example^$popup", EXPECTED_OPTIONS),
        ("||ads.example^$domain=a.example", EXPECTED_OPTIONS),
        ("||ads.example^$badfilter", EXPECTED_OPTIONS),
        ("||ads.example^$removeparam=utm", EXPECTED_OPTIONS),
        ("||ads.example^$", EXPECTED_OPTIONS),
        ("|https://ads.example^", EXPECTED_ADBLOCK),
        ("@@||ads.example^", EXPECTED_NO_EXCEPTION),
        ("@@ads.example", EXPECTED_NO_EXCEPTION),
        ("/banner/*", EXPECTED_NO_PATTERN),
        ("/^https?:.*ads/", EXPECTED_NO_PATTERN),
        ("example.com##.banner", EXPECTED_NO_HIDING),
        ("example.com#@#.banner", EXPECTED_NO_HIDING),
        ("example.com#?#.banner", EXPECTED_NO_HIDING),
        ("example.com#$#body { }", EXPECTED_NO_HIDING),
        ("example.com#%#script", EXPECTED_NO_HIDING),
    ];
    for (line, expected) in cases {
        for (first, last) in
            [("a.example", "b.example"), ("! list", "||b.example^"), ("0.0.0.0 a.example", "b.example")]
        {
            let (text, mut rules) = (format!("{first}\n{line}\r\n{last}\n"), 0);
            let unread = parse_rules(text.as_bytes(), |number, _| {
                assert_ne!(number, 2, "{line}");
                rules += 1;
                Ok(())
            });
            assert_eq!((unread.errors, unread.skipped), (vec![], 1), "{line} in {text}");
            assert_eq!(rules, if first.starts_with('!') { 1 } else { 2 });
            assert_eq!(unread.first_skipped, Some(RuleError { line: 2, found: line.to_owned(), expected }));
        }
        // An option is written for weir only.
        assert_eq!(parse_one(line, |_| Ok(())).map_err(|error| error.expected), Err(expected), "{line}");
    }
    for (text, expected) in [
        ("!10.0.0.5", EXPECTED_NO_NEGATION),
        ("! x", EXPECTED_RULE),
        ("# x", EXPECTED_RULE),
        ("", EXPECTED_RULE),
        ("a b", EXPECTED_HOSTS),
    ] {
        assert_eq!(parse_one(text, |_| Ok(())).map_err(|error| error.expected), Err(expected), "{text}");
    }
    assert_eq!(parse_one("||a.example^", |_| Ok(())), Ok(()));
}

/// `!name` is an exception for other programs. Taken for a comment, it would let an allowlist allow too much.
#[test]
fn a_negation_is_no_comment() {
    for (text, wrong) in [
        ("10.0.0.0/8\n!10.0.0.5\n", Some(2)),
        (".a.example\n!ok.a.example\n", Some(2)),
        ("!10.0.0.5\n", Some(1)),
        (".a.example\n! ok.a.example is nice\n!----\n!word\n", None),
        ("!Title\n||a.example^\n!2024.01.01\n!ok.a.example\n", None),
    ] {
        let unread = parse_rules(text.as_bytes(), |_, _| Ok(()));
        let found: Vec<u32> = unread.errors.iter().map(|error| error.line).collect();
        assert_eq!((found, unread.skipped), (wrong.into_iter().collect(), 0), "{text}");
        assert!(unread.errors.iter().all(|error| error.expected == EXPECTED_NO_NEGATION), "{text}");
    }
}

/// In a file for other programs no line is the user's mistake.
#[test]
fn kind_24_files_for_others_are_told_by_how_they_begin() {
    let list = "||ads.example^\nads.example##.banner\n##.ad\n###ad\n@@||good.example^\n/banner/*\n||x.example^$script\n\
                &ad_box=\n-banner-$image\n192.168.1.1 router\n*\né*\n.b.example\n## heading\n";
    let read = |first: &str| {
        let mut rules = Vec::new();
        let unread = parse_rules(format!("{first}{list}").as_bytes(), |_, rule| {
            rules.push(rule.to_string());
            Ok(())
        });
        (rules.join(" "), unread.skipped, unread.errors.len())
    };
    for (first, more) in [
        ("[Adblock Plus 2.0]\n", ""),
        ("[uBlock Origin / AdBlock]\n", ""),
        ("! Title: a list\n", ""),
        ("\n\n! later\n", ""),
        ("# Title\n#\n! later\n", ""),
        ("# Title\n||c.example^\n", ".c.example "),
        ("@@||c.example^$script\n", ""),
        ("# Title\r\n127.0.0.1 localhost\r\n", ""),
        ("0.0.0.0 c.example d.example\n", "c.example d.example "),
    ] {
        let (rules, skipped, errors) = read(first);
        assert_eq!((rules, errors), (format!("{more}.ads.example .b.example"), 0), "{first:?}");
        assert_eq!(skipped, 11 + u32::from(first.starts_with("@@")), "{first:?}");
    }
    // In weir's own files the others are mistakes.
    for first in
        ["a.example\n", "*.a.example\n", "# mine\n10.0.0.0/8\n", "10.0.0.1 a.example\n", "0.0.0.0 a/b\n"]
    {
        let (rules, skipped, errors) = read(first);
        assert!(rules.ends_with(".ads.example .b.example"), "{first:?}: {rules}");
        let own = u32::from(first.contains(' ') && !first.starts_with('#'));
        assert_eq!((skipped, errors as u32), (4, 5 + own), "{first:?}");
    }
    // A rule without room is an error in every file.
    let full = parse_rules(b"! list\n||a.example^\n", |_, _| Err("fewer"));
    assert_eq!((full.skipped, full.errors.len()), (0, 1));
}

#[test]
fn kind_24_lines_for_some_browsers_only_are_skipped() {
    let list = "! list\n!#if env_firefox\n||a.example^\n!#if ext_ublock\n0.0.0.0 b.example\n!#else\n||c.example^\n!#endif\n\
                ! comment\n||d.example^\n!#endif\n||e.example^\n!#endif\n||f.example^\n";
    let mut rules = Vec::new();
    let unread = parse_rules(list.as_bytes(), |line, rule| {
        rules.push(format!("{line} {rule}"));
        Ok(())
    });
    assert_eq!((rules.join(", ").as_str(), unread.skipped), ("12 .e.example, 14 .f.example", 4));
    assert_eq!(unread.first_skipped.map(|first| (first.line, first.expected)), Some((3, EXPECTED_ALWAYS)));
}

#[test]
fn what_was_found_is_short_and_harmless() {
    let errors = parse_rules(b"a\x1b[31m b", |_, _| Ok(())).errors;
    assert_eq!(errors[0].found, "a\\u{1b}[31m b");
    let errors = parse_rules("é*".repeat(2000).as_bytes(), |_, _| Ok(())).errors;
    assert_eq!(errors[0].found.chars().count(), FOUND_CHARS_MAX + 1);
}

#[test]
fn a_single_rule_matches_hosts() {
    let name = |text: &str| Host::Name(Name::parse(text.as_bytes()).unwrap());
    let address = |text: &str| Host::Address(text.parse().unwrap());
    let cases = [
        ("ads.com", name("ads.com"), true),
        ("ads.com", name("www.ads.com"), false),
        ("*.ads.com", name("ads.com"), false),
        ("*.ads.com", name("a.b.ads.com"), true),
        ("*.ads.com", name("bads.com"), false),
        (".ads.com", name("ads.com"), true),
        (".ads.com", name("x.ads.com"), true),
        (".ads.com", name("xads.com"), false),
        (".ads.com:81", name("ads.com"), false),
        (".ads.com:80", name("ads.com"), true),
        ("10.0.0.0/8", address("10.1.1.1"), true),
        ("10.0.0.0/8", address("::ffff:10.1.1.1"), true),
        ("10.0.0.0/8", address("11.1.1.1"), false),
        ("10.0.0.0/8", name("ads.com"), false),
        ("ads.com", address("10.1.1.1"), false),
    ];
    for (rule, host, expected) in cases {
        assert_eq!(Rule::parse(rule).unwrap().matches(&host, 80), expected, "{rule} {host:?}");
    }
}
