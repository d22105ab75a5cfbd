use super::*;
use crate::guard::clouds::Provider;
use crate::guard::directives::draft::CHECKS_MAX;
use crate::guard::directives::values::PER_CLIENT;
use crate::guard::directives::{Per, Scope, Violation};
use crate::guard::store::EscalationConstants;
use crate::words::FILE_BYTES_MAX;

/// The lines of issue 13, as they stand there.
const ISSUE: &str = r#"
    trust 10.0.0.0/8 depth 1            # whose X-Forwarded-For / PROXY header counts
    exempt 192.0.2.0/24                 # never limited; bans still hold
    limit 600/1m per client
    limit 20/10s per client+host  path /api/  methods POST,PUT
    escalate 50/1m  block 15m after 3  forever after 10 in 24h
    ban 203.0.113.0/24 for 7d reason "abuse report"
    ban-after limit 20 in 10m for 1h
    cloud deny client aws,gcp  except aws:eu-central-1   # --cloud-ranges DIR, or fetched
    cloud deny destination azure
    store redis://127.0.0.1:6379 on-failure local
"#;

fn read(text: &str) -> Directives {
    parse(text.as_bytes()).unwrap_or_else(|problems| panic!("{text}: {problems:?}"))
}

/// Numbers of the faulty lines, and all messages in one text.
fn problems(text: &str) -> (Vec<u32>, String) {
    let problems = parse(text.as_bytes()).expect_err(text);
    let lines = problems.iter().map(|problem| problem.line).collect();
    (lines, problems.into_iter().map(|problem| problem.message).collect::<Vec<_>>().join("\n"))
}

/// The canonical text of a line.
fn canonical_text(line: &str) -> String {
    let found = read(line);
    let places: Vec<_> = found.places().collect();
    assert_eq!(places.iter().map(|place| place.line).collect::<Vec<_>>(), [1], "{line}");
    places[0].text.to_string()
}

#[test]
fn the_lines_of_the_issue_load_as_they_stand() {
    let found = read(ISSUE);
    let network = |text: &str| text.parse::<IpNet>().unwrap();
    assert_eq!(found.trust[0].networks, [network("10.0.0.0/8")]);
    assert_eq!((found.trust[0].depth, found.trust[0].fields.len(), found.trust[0].place.line), (1, 0, 2));
    assert_eq!(found.exempt, [(network("192.0.2.0/24"), 3)]);
    assert_eq!(
        (found.limits[0].limit, found.limits[0].window_ms, found.limits[0].per),
        (600, 60_000, PER_CLIENT)
    );
    assert_eq!(found.limits[0].scope, Scope::default());
    let second = &found.limits[1];
    assert_eq!((second.limit, second.window_ms), (20, 10_000));
    assert_eq!(second.per, Per { host: true, ..PER_CLIENT });
    let methods = vec!["POST".into(), "PUT".into()];
    assert_eq!(second.scope, Scope { path: Some("/api/".into()), host: None, methods });
    assert!(!second.approximate && !second.observe);
    let constants = EscalationConstants {
        requests_max: 50,
        window_ms: 60_000,
        block_after: 3,
        block_ms: 900_000,
        permanent_after: Some(10),
        permanent_window_ms: 86_400_000,
    };
    assert_eq!((found.escalations[0].constants, found.escalations[0].per), (constants, PER_CLIENT));
    let ban = &found.bans[0];
    assert_eq!((ban.network, ban.duration_ms), (network("203.0.113.0/24"), Some(7 * 86_400_000)));
    assert_eq!((&*ban.reason, ban.place.line), ("abuse report", 7));
    let after = &found.ban_after[0];
    assert_eq!((after.violation, after.count), (Violation::Limit, 20));
    assert_eq!((after.window_ms, after.duration_ms), (600_000, Some(3_600_000)));
    assert_eq!(found.clouds[0].side, CloudSide::Client);
    let excepted = vec![(Provider::Aws, vec!["eu-central-1".into()]), (Provider::Gcp, vec![])];
    assert_eq!(found.clouds[0].providers, excepted);
    assert_eq!((found.clouds[1].side, found.clouds[1].place.line), (CloudSide::Destination, 10));
    let store = found.store.unwrap();
    assert_eq!((&*store.url, store.on_failure), ("redis://127.0.0.1:6379", OnFailure::Local));
    assert_eq!((store.deadline_ms, &*store.prefix), (50, "guard_core:"));
    // With other line ends, and a mark before the first line.
    let windows = format!("\u{feff}{}", ISSUE.replace('\n', "\r\n"));
    assert_eq!(read(&windows).limits, read(ISSUE).limits);
}

#[test]
fn every_line_has_one_canonical_text() {
    let cases = [
        ("trust 10.0.0.0/8", "trust 10.0.0.0/8"),
        ("trust 10.0.0.0/8 depth 1", "trust 10.0.0.0/8"),
        ("trust 2001:DB8::/32, 10.1.2.3 depth 2", "trust 10.1.2.3,2001:db8::/32 depth 2"),
        (
            "trust ::ffff:10.0.0.0/104 fields Forwarded,X-Real-IP",
            "trust 10.0.0.0/8 fields forwarded,x-real-ip",
        ),
        ("trust cloudflare", "trust cloudflare"),
        (
            "trust cloudflare fields CF-Connecting-IP depth 2",
            "trust cloudflare depth 2 fields cf-connecting-ip",
        ),
        ("limit 600/60s per client", "limit 600/1m per client"),
        ("limit 600/1m per client/64", "limit 600/1m per client"),
        ("limit 600/90s per client/56", "limit 600/90s per client/56"),
        ("limit 600/1h per client/24,48", "limit 600/1h per client/24,48"),
        ("limit 600/24h per client/32,56", "limit 600/1d per client/56"),
        (
            "limit 5/1s observe approximate per method+path+host+user+client",
            "limit 5/1s per client+user+host+path+method approximate observe",
        ),
        (
            "limit 5/500ms per user methods put,GET path /%61pi/../x host Example.COM.",
            "limit 5/500ms per user path /x host example.com methods GET,PUT",
        ),
        ("limit 5/1s per host host *.Example.com", "limit 5/1s per host host *.example.com"),
        #[cfg(feature = "idna")]
        ("limit 5/1s per host host .bücher.example", "limit 5/1s per host host .xn--bcher-kva.example"),
        ("limit 5/1s per host host 2001:DB8::1", "limit 5/1s per host host [2001:db8::1]"),
        ("limit 5/1s per host host 127.1", "limit 5/1s per host host 127.0.0.1"),
        ("limit 5/1s per client path \"/a b\"", "limit 5/1s per client path \"/a b\""),
        ("limit 5/1s per client path /a%20b", "limit 5/1s per client path \"/a b\""),
        ("escalate 50/1m block 900s after 3", "escalate 50/1m block 15m after 3 per client"),
        (
            "escalate 50/1m per client+path methods POST forever after 10 in 24h block 15m after 3 observe",
            "escalate 50/1m block 15m after 3 forever after 10 in 1d per client+path methods POST observe",
        ),
        ("ban 203.0.113.9/32", "ban 203.0.113.9"),
        ("ban 203.0.113.9 for ever", "ban 203.0.113.9"),
        ("ban 203.0.113.9 for forever reason x", "ban 203.0.113.9 reason x"),
        ("ban 203.0.113.9 reason \"for 7d\" for 14d", "ban 203.0.113.9 for 2w reason \"for 7d\""),
        (
            "ban 203.0.113.9 reason \"a \\\"b\\\" # \\\\\" # c",
            "ban 203.0.113.9 reason \"a \\\"b\\\" # \\\\\"",
        ),
        ("ban-file \"a b.txt\"", "ban-file \"a b.txt\""),
        ("ban-file bans.txt", "ban-file bans.txt"),
        ("ban-after detect 5 in 60m for ever observe", "ban-after detect 5 in 1h for ever observe"),
        #[cfg(feature = "detection")]
        ("ban-after detect xss,sqli,xss 5 in 60m for 1d", "ban-after detect sqli,xss 5 in 1h for 1d"),
        ("cloud deny destination Vultr,AWS", "cloud deny destination aws,vultr"),
        (
            "cloud deny client aws,gcp except gcp:US-east1,aws:us-west-2, aws:eu-central-1 observe",
            "cloud deny client aws,gcp except aws:eu-central-1,aws:us-west-2,gcp:us-east1 observe",
        ),
        (
            "store redis://127.0.0.1",
            "store redis://127.0.0.1 on-failure local deadline 50ms prefix guard_core:",
        ),
        (
            "store redis://u:secret@a:1 prefix weir: deadline 1s on-failure closed",
            "store redis://u:***@a:1 on-failure closed deadline 1s prefix weir:",
        ),
        (
            "store rediss://a roots ca.pem",
            "store rediss://a on-failure local deadline 50ms roots ca.pem prefix guard_core:",
        ),
        (
            "store redis://a password-file \"/etc/a b\" on-failure open",
            "store redis://a on-failure open deadline 50ms password-file \"/etc/a b\" prefix guard_core:",
        ),
        ("events unix:/run/e mute rate_limited,ip_banned", "events unix:/run/e mute ip_banned,rate_limited"),
        ("events \"a b\"", "events \"a b\""),
    ];
    for (line, expected) in cases {
        assert_eq!(canonical_text(line), expected, "{line}");
        // The text of a store has no password, and would not open it.
        assert_eq!(canonical_text(expected), expected);
        let (mut one, mut other) = (read(line), read(expected));
        for store in [&mut one.store, &mut other.store].into_iter().flatten() {
            store.url = without_secret(&store.url).into();
        }
        assert_eq!(one, other, "{line}");
    }
}

#[test]
fn directives_without_a_place() {
    let found = read(
        "guard-keys 1000\nbans-max 2\nrate-limit-fields\npassive # all of it\nexempt 10.0.0.1, 10.0.0.2 ::1\n",
    );
    assert_eq!((found.keys_max, found.bans_max), (Some(1000), Some(2)));
    assert!(found.rate_limit_fields && found.passive);
    assert_eq!(found.exempt.len(), 3);
    assert_eq!(read(""), Directives::default());
    assert_eq!(read("\u{feff}# nothing\r\n\r\n"), Directives::default());
}

#[test]
fn faulty_lines_say_what_was_expected() {
    let cases = [
        ("limt 5/1s per client", "(did you mean limit?)"),
        ("Limit 5/1s per client", "(did you mean limit?)"),
        ("\"limit\" 5/1s per client", "unknown directive \"limit\""),
        ("frobnicate", "expected trust, exempt, limit"),
        ("limit", "expected a number of requests and a time, such as 600/1m, found the end of the line"),
        ("limit 5 per client", "such as 600/1m, found \"5\""),
        ("limit 0/1s per client", "expected a number from 1 to 1000000, found \"0\""),
        ("limit 1000001/1s per client", "found \"1000001\""),
        ("limit -1/1s per client", "found \"-1\""),
        ("limit 5/0s per client", "expected a time longer than 0, found \"0s\""),
        ("hsts max-age=x", "expected seconds, or a time such as 365d, found \"x\""),
        ("hsts max-age=", "expected seconds, or a time such as 365d, found \"\""),
        ("limit 5/10 per client", "expected a time with its unit"),
        ("limit 5/s per client", "expected a time with its unit"),
        ("limit 5/1.5s per client", "expected a time with its unit"),
        ("limit 5/1y per client", "expected a time with its unit"),
        ("limit 5/1M per client", "expected a time with its unit"),
        ("limit 5/3651d per client", "expected a time of at most 3650d"),
        ("limit 5/99999999999999999999s per client", "expected a time of at most 3650d"),
        ("limit 5/18446744073709551615w per client", "expected a time of at most 3650d"),
        ("limit 5/1s", "expected what is counted, such as per client"),
        ("limit 5/1s per", "expected client, user, host"),
        ("limit 5/1s per clients", "found \"clients\""),
        ("limit 5/1s per client+client", "found \"client+client\""),
        ("limit 5/1s per client+", "found \"client+\""),
        ("limit 5/1s per host/24", "found \"host/24\""),
        ("limit 5/1s per client/129", "expected a number from 16 to 128, found \"129\""),
        ("limit 5/1s per client/0", "expected a number from 16 to 128"),
        ("limit 5/1s per client/33,64", "expected a number from 8 to 32"),
        ("limit 5/1s per client per host", "per again: expected once"),
        ("limit 5/1s per client observ", "(did you mean observe?)"),
        ("limit 5/1s per client \"observe\"", "expected per, path, host, methods, approximate, observe"),
        ("limit 5/1s per client path api", "expected the beginning of a path such as /api/"),
        ("limit 5/1s per client path /api?x=1", "without a query"),
        ("limit 5/1s per client path /%2525252525", "expected the beginning of a path"),
        ("limit 5/1s per client path /%2525252561", "expected the beginning of a path"),
        ("limit 5/1s per client path /%ff", "expected the beginning of a path"),
        ("limit 5/1s per client path /%0a", "expected the beginning of a path"),
        ("limit 5/1s per client host example.com:80", "expected a host such as"),
        ("limit 5/1s per client host a..b", "expected a host such as"),
        ("limit 5/1s per client host *.192.0.2.1", "expected a host such as"),
        ("limit 5/1s per client host a.*.b", "expected a host such as"),
        ("limit 5/1s per client methods GET;PUT", "expected methods such as POST,PUT"),
        ("limit 5/1s per client methods GET,get", "GET again: expected each method once"),
        ("limit 5/1s per client methods GET,", "with one comma between two"),
        ("escalate 50/1m", "such as block 15m after 3"),
        ("escalate 50/1m block 15m", "expected after, as in: block 15m after 3, found the end of the line"),
        ("escalate 50/1m block after 3", "expected a time with its unit"),
        ("escalate 50/1m block 15m after 0", "expected a number from 1"),
        ("escalate 50/1m block 15m after 3 forever after 10", "expected in, as in"),
        ("escalate 50/1m block 15m after 3 approximate", "expected block, forever, per"),
        (
            "ban 10.1.2.3/8",
            "\"10.1.2.3/8\" has bits behind its prefix: expected 10.0.0.0/8, or 10.1.2.3 alone",
        ),
        ("trust ::ffff:10.1.2.3/104", "expected 10.0.0.0/8"),
        ("ban example.com", "expected an address or a network such as"),
        ("ban 192.0.2.1 reason abuse report", "expected for, reason, found \"report\""),
        ("ban 192.0.2.1 reason \"\"", "of 1 to 200 bytes"),
        ("ban 192.0.2.1 for", "expected a time such as 7d, or ever"),
        ("ban 192.0.2.1 for never", "(or ever)"),
        ("ban 127.0.0.1", "expected a network without"),
        ("ban 0.0.0.0/0", "the addresses of this machine"),
        ("ban ::/0", "the addresses of this machine"),
        ("trust 10.0.0.0/8 depth 0", "expected a number from 1 to 32"),
        ("trust 10.0.0.0/8 fields a b", "expected depth, fields, found \"b\""),
        ("trust 10.0.0.0/8 fields a:b", "expected names of fields"),
        ("trust 10.0.0.0/8 fields A,a", "a again: expected each field once"),
        ("trust cloudfare", "expected an address or a network"),
        ("exempt", "found the end of the line"),
        ("ban-file", "expected a path"),
        ("ban-file \"\"", "expected a path"),
        ("ban-file a b", "expected timezone, found \"b\""),
        ("ban-after rate 5 in 1m for 1h", "expected limit or detect, found \"rate\""),
        ("ban-after limit 5 for 1h", "expected in, as in: ban-after limit 20 in 10m for 1h, found \"for\""),
        ("cloud allow client aws", "expected deny, as in"),
        ("cloud deny clients aws", "expected client or destination"),
        (
            "cloud deny client asw",
            "expected aws, gcp, azure, digitalocean, linode, vultr (did you mean aws?)",
        ),
        ("cloud deny client aws,aws", "aws again"),
        ("cloud deny client aws except gcp:x", "expected regions of the providers before except"),
        ("cloud deny client aws except aws", "expected regions with their provider"),
        ("cloud deny client aws except aws:", "expected regions with their provider"),
        ("cloud deny client aws except aws:x,aws:X", "x again: expected each region once"),
        ("store", "expected the URL of a store"),
        ("store memcached://a", "expected a URL such as redis://127.0.0.1:6379"),
        ("store redis://a on-failure never", "expected local, open or closed, found \"never\""),
        ("store redis://a deadline 11s", "expected a deadline of at most 10s"),
        ("store redis://a:b@c password-file d", "expected one of the two"),
        ("store redis://a roots ca.pem", "rediss://"),
        ("store mongodb://a roots ca.pem", "rediss://"),
        ("guard-keys", "expected a number such as 1000000"),
        ("guard-keys 0", "expected a number from 1 to 100000000"),
        ("guard-keys 1k", "found \"1k\""),
        ("bans-max 5 6", "expected the end of the line, found \"6\""),
        ("events unix:", "expected a path behind unix:"),
        ("events a mute rate_limit", "(did you mean rate_limited?)"),
        ("passive yes", "expected the end of the line, found \"yes\""),
        ("rate-limit-fields on", "expected the end of the line"),
        ("ban \"192.0.2.1", "no closing quote"),
        ("ban 192.0.2.1\x07", "control character"),
    ];
    for (line, expected) in cases {
        // Between two good lines, so that the number is right.
        let (lines, text) = problems(&format!("limit 7/7s per user\n{line}\nlimit 8/8s per user\n"));
        assert_eq!(lines, [2], "{line}: {text}");
        assert!(text.contains(expected), "{line}: {text}");
        assert!(text.contains("expected") && !text.contains(char::is_control), "{line}: {text}");
    }
}

#[test]
fn lines_that_repeat_or_contradict_name_the_earlier_one() {
    let cases = [
        ("store redis://a", "store redis://b", "line 1 has it"),
        ("guard-keys 5", "guard-keys 6", "line 1 has it"),
        ("bans-max 5", "bans-max 5", "line 1 has it"),
        ("events a", "events b", "line 1 has it"),
        ("passive", "passive", "line 1 has it"),
        ("rate-limit-fields", "rate-limit-fields", "line 1 has it"),
        ("limit 5/1m per client", "limit 5/60s per client", "line 1 counts the same"),
        ("limit 5/1m per client", "limit 6/1m per client approximate", "line 1 counts the same"),
        ("limit 5/1m per client", "limit 5/1m per client observe", "the same as line 1 but for observe"),
        ("escalate 5/1m block 1m after 1", "escalate 6/1m block 2m after 1", "line 1 counts the same"),
        ("ban 192.0.2.1", "ban 192.0.2.1/32 for 1d", "192.0.2.1 again: expected once, and line 1 has it"),
        ("exempt 192.0.2.0/24", "exempt 10.0.0.1,192.0.2.0/24", "line 1 has it"),
        ("trust 10.0.0.0/8", "trust 10.0.0.0/8 depth 2", "line 1 has it"),
        ("ban-file a", "ban-file a", "line 1 has it"),
        ("ban-after limit 5 in 1m for 1h", "ban-after limit 6 in 1m for 1h", "line 1 counts the same"),
        ("cloud deny client aws", "cloud deny client gcp,aws except aws:x", "line 1 has it"),
        ("trust 10.0.0.0/8", "ban 10.1.0.0/16", "proxies that line 1 trusts"),
        ("trust 10.1.2.3", "ban 10.0.0.0/8", "proxies that line 1 trusts"),
        ("trust cloudflare", "ban 104.16.0.1", "proxies that line 1 trusts"),
    ];
    for (first, second, expected) in cases {
        let (lines, text) = problems(&format!("{first}\n{second}\n"));
        assert_eq!(lines, [2], "{first}, {second}: {text}");
        assert!(text.contains(expected), "{first}, {second}: {text}");
    }
    // The other way round the ban is still what is wrong.
    assert_eq!(problems("ban 10.1.0.0/16\ntrust 10.0.0.0/8").0, [1]);
    let no_contradictions = [
        "limit 5/1m per client\nlimit 6/2m per client",
        "limit 5/1m per client\nlimit 6/1m per client observe",
        "limit 5/1m per client\nlimit 5/1m per client/56",
        "limit 5/1m per client\nlimit 5/1m per client path /a",
        "limit 5/1m per client\nescalate 5/1m block 1m after 1",
        "cloud deny client aws\ncloud deny destination aws",
        "ban 192.0.2.0/24\nban 192.0.2.1",
        "exempt 192.0.2.0/24\nban 192.0.2.1",
        "trust 10.0.0.0/8\ntrust 10.1.0.0/16 depth 2",
        "ban-after limit 5 in 1m for 1h\nban-after detect 5 in 1m for 1h",
    ];
    for text in no_contradictions {
        read(text);
    }
}

#[test]
fn all_faulty_lines_are_told_at_once_and_bounded() {
    let (lines, text) =
        problems("limt\n\nban 10.1.2.3/8\nlimit 5/1m per client\nban 127.0.0.1\nstore\n\u{e9}");
    assert_eq!(lines, [1, 3, 5, 6, 7]);
    assert_eq!(text.lines().count(), 5);
    let (lines, text) = problems(&"limt\n".repeat(1000));
    assert_eq!((lines.len(), lines[PROBLEMS_MAX]), (PROBLEMS_MAX + 1, PROBLEMS_MAX as u32));
    assert!(text.ends_with("the rest was not read"));
    assert_eq!(problems(&"#".repeat(FILE_BYTES_MAX + 1)).0, [0]);
    assert_eq!(read(&"#".repeat(FILE_BYTES_MAX)), Directives::default());
    let limits = |count: usize| (1..=count).map(|n| format!("limit 5/{n}s per client\n")).collect::<String>();
    assert_eq!(read(&limits(CHECKS_MAX)).limits.len(), CHECKS_MAX);
    assert_eq!(problems(&limits(CHECKS_MAX + 1)).0, [CHECKS_MAX as u32 + 1]);
    let trusted =
        (0..=TRUSTED_MAX).map(|n| format!("trust 10.0.{}.{}\n", n / 256, n % 256)).collect::<String>();
    assert_eq!(problems(&trusted).0, [TRUSTED_MAX as u32 + 1]);
}

#[test]
fn guard_12_a_password_is_in_no_message_and_no_text() {
    for line in [
        "store on-failure redis://u:s3cret@a",
        "store redis://u:s3cret@a on-failure redis://u:s3cret@a",
        "store redis://u:s3/cret@a",
        "redis://u:s3cret@a",
        "store redis://u:s3cret@a:x",
    ] {
        let (_, text) = problems(line);
        assert!(!text.contains("cret"), "{text}");
    }
}

#[test]
fn every_directive_has_a_form_that_begins_with_its_name() {
    for directive in TABLE {
        assert!(directive.form.split(' ').next() == Some(directive.name), "{}", directive.form);
    }
}

/// A sliding window in memory has 31 bits for its milliseconds: all stores count the same time.
#[test]
fn longer_windows_than_any_are_cut_with_a_warning() {
    let read =
        read("limit 5/30d per client\nlimit 5/24d per client path /a\nban-after limit 3 in 52w for 1h\n");
    let warned: Vec<u32> = read.warnings.iter().map(|warning| warning.line).collect();
    assert_eq!(warned, [1, 3], "{:?}", read.warnings);
    let windows = [read.limits[0].window_ms, read.limits[1].window_ms, read.ban_after[0].window_ms];
    assert_eq!(windows, [1 << 31, 24 * 86_400_000, 1 << 31]);
}

#[test]
fn a_ban_file_may_have_local_times() {
    let offset = |line: &str| {
        parse(line.as_bytes())
            .map(|read| (read.ban_files[0].utc_offset_s, read.ban_files[0].place.text.to_string()))
    };
    for (zone, offset_s) in
        [("+00:00", 0), ("+02:00", 7200), ("-03:30", -12_600), ("+14:00", 50_400), ("-12:00", -43_200)]
    {
        let told =
            if offset_s == 0 { "ban-file a".to_owned() } else { format!("ban-file a timezone {zone}") };
        assert_eq!(offset(&format!("ban-file a timezone {zone}")), Ok((offset_s, told)));
    }
    for zone in
        ["", "02:00", "+2:00", "+02:60", "+14:01", "-12:30", "+15:00", "+02", "UTC", "é02:00", "+02:00:00"]
    {
        let problems = offset(&format!("ban-file a timezone {zone}")).expect_err(zone);
        assert!(
            problems[0].message.contains("expected a time zone") || zone.is_empty(),
            "{zone}: {problems:?}"
        );
    }
}

const SAMPLE: &str = include_str!("../../../config/guard.conf");

#[test]
fn the_sample_is_harmless_as_it_is() {
    let loopback = ["127.0.0.0/8", "::1/128"].map(|text| text.parse().unwrap());
    let found = read(SAMPLE);
    assert_eq!(found.exempt.iter().map(|(network, _)| *network).collect::<Vec<_>>(), loopback);
    assert_eq!(Directives { exempt: Vec::new(), first_lines: Vec::new(), ..found }, Directives::default());
}

#[test]
#[cfg(feature = "detection")]
fn the_sample_shows_every_directive_and_each_example_loads() {
    let is_example =
        |line: &&str| TABLE.iter().any(|directive| line.split(' ').next() == Some(directive.name));
    let examples: Vec<&str> =
        SAMPLE.lines().map(|line| line.trim_start_matches('#')).filter(is_example).collect();
    for line in &examples {
        assert_ne!(read(line), Directives::default(), "{line}");
    }
    for directive in TABLE {
        let name = directive.name;
        assert!(examples.iter().any(|line| line.split(' ').next() == Some(name)), "{name} is not shown");
        // Every option of the form, too.
        for option in directive.form.split([' ', '|']).filter_map(|word| word.strip_prefix('[')) {
            let option = option.trim_end_matches(']');
            let is_word = option.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
            assert!(
                !is_word || examples.iter().any(|line| line.contains(option)),
                "{name}: {option} is not shown"
            );
        }
    }
}

/// Bans for which there is no room are not even kept as lines. The number of the file counts, wherever it stands.
#[test]
fn bans_beyond_the_bound_are_left_out() {
    let lines: String = (1..=9).map(|number| format!("ban 192.0.2.{number}\n")).collect();
    for (text, kept) in [
        (lines.clone(), 4),
        (format!("bans-max 2\n{lines}"), 2),
        (format!("{lines}bans-max 6\n"), 6),
        (format!("{lines}bans-max 100\n"), 9),
    ] {
        let (found, problems) = super::read(text.as_bytes(), 4);
        assert_eq!((found.bans.len(), problems.len()), (kept, 0), "{text}");
        let told =
            found.warnings.iter().find_map(|warning| warning.message.split(" bans are left out").next());
        assert_eq!(told.map(str::to_owned), (kept < 9).then(|| (9 - kept).to_string()), "{text}");
    }
}
