//! The settings as a whole: layers, problems, commands, the help, and the way back from what is printed.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::help::{help, help_on, list_of_topics, print_config};
use super::options::{Scope, Section, TABLE};
use super::topics::TOPICS;
use super::values::Workers;
use super::*;
use crate::http::forwarding::ForwardedPolicy;
use crate::log::format::Format;

/// Loads with some variables and with files by their path.
fn load(
    arguments: &[&str],
    variables: &[(&str, &str)],
    files: &[(&str, &str)],
) -> Result<Settings, Problems> {
    let arguments: Vec<String> = arguments.iter().map(|argument| argument.to_string()).collect();
    let variables: Vec<(String, String)> =
        variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let read = |path: &Path| match files.iter().find(|(name, _)| Path::new(name) == path) {
        Some((_, content)) => Ok(content.as_bytes().to_vec()),
        None => Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    Settings::load(&arguments, &variables, read)
}

fn problems(arguments: &[&str], variables: &[(&str, &str)], file: &str) -> (Vec<String>, u8) {
    let mut all = vec!["-c", "weir.conf"];
    all.extend(arguments);
    let problems = load(&all, variables, &[("weir.conf", file)]).unwrap_err();
    (problems.iter().map(ToString::to_string).collect(), problems.exit_code())
}

fn values<T: Clone>(list: &[Located<T>]) -> Vec<T> {
    list.iter().map(|item| item.value.clone()).collect()
}

/// Found by mutating the corpus: a value that is invalid in a file made the output of --print-config unloadable.
#[test]
fn control_characters_are_refused_wherever_they_come_from() {
    let (said, code) = problems(
        &["--user", "a\x05", "--allow=b\x1b[2J"],
        &[("WEIR_LOG_DIR", "/tmp/\x07")],
        "auth-file c\x01\nport 1\n",
    );
    assert_eq!(
        said,
        [
            "--user: control character \\u{5}: expected printable text",
            "--allow: control character \\u{1b}: expected printable text",
            "WEIR_LOG_DIR: control character \\u{7}: expected printable text",
            "weir.conf:1: control character \\u{1}: expected printable text",
        ]
    );
    assert_eq!(code, exit::USAGE);
}

#[test]
fn defaults_are_the_documented_ones() {
    let s = load(&[], &[], &[]).unwrap();
    assert_eq!(format!("{s:?}"), format!("{:?}", Settings::built_in()));
    assert_eq!(s.command, Command::Run);
    assert_eq!(values(&s.hosts), ["127.0.0.1".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!((s.port, s.max_connections, s.max_per_client, s.buffers), (8888, 10_000, 0, 16_384));
    assert_eq!((s.log_max_size_bytes, s.log_keep, s.log_format), (64 << 20, 5, Format::Weir));
    assert_eq!((s.head_max_bytes, s.target_max_bytes, s.fields_max), (32 << 10, 16 << 10, 200));
    assert_eq!((s.idle_origins, s.idle_per_origin, s.min_rate), (512, 256, 100));
    assert_eq!((s.workers, s.workers_on(8)), (Workers { count: Some(1), pinned: false }, 1));
    let seconds = [
        s.stats_every,
        s.timeout,
        s.connect_timeout,
        s.head_timeout,
        s.idle_timeout,
        s.tunnel_timeout,
        s.drain_timeout,
        s.idle_origin_timeout,
        s.origin_lifetime,
    ];
    assert_eq!(seconds.map(|time| time.as_secs()), [60, 60, 10, 30, 60, 600, 30, 30, 600]);
    assert_eq!((s.via.as_deref(), s.forwarded), (Some("weir"), ForwardedPolicy::Off));
    assert!(s.connect_ports.contains(443) && !s.connect_ports.contains(25));
    assert_eq!((s.log_dir.as_ref(), s.auth_file.as_ref()), (None, None));
    let flags = [
        s.deny_private,
        s.quiet_refusals,
        s.no_origin_form,
        s.strict_targets,
        s.accept_bare_lf,
        s.dns_0x20,
        s.quiet,
    ];
    assert_eq!(flags, [false; 7]);
    assert!(s.blocklists.is_empty() && s.allowlists.is_empty() && s.block.is_empty() && s.allow.is_empty());
    assert!(s.dns.is_empty() && s.add_headers.is_empty() && s.allow_clients.is_empty());
    for spec in TABLE {
        assert_eq!(s.origin(spec.name), Origin::Default);
    }
}

#[test]
fn options_beat_environment_beats_file_beats_defaults() {
    let file = (
        "weir.conf",
        "# first\nport 1\ntimeout 1\nhead-timeout 1\nblock a.example\nblock b.example\ndeny-private\n",
    );
    let environment = [
        ("WEIR_PORT", "2"),
        ("WEIR_TIMEOUT", "2"),
        ("WEIR_BLOCK", "c.example,d.example"),
        ("WEIR_CONFIG", "weir.conf"),
    ];
    let arguments = ["--port", "3", "--blacklist=x", "--blocklist", "y", "--deny-private=no"];
    let s = load(&arguments, &environment, &[file]).unwrap();
    assert_eq!((s.port, s.origin("port").to_string().as_str()), (3, "--port"));
    assert_eq!(
        (s.timeout, s.origin("timeout").to_string().as_str()),
        (Duration::from_secs(2), "WEIR_TIMEOUT")
    );
    assert_eq!(
        (s.head_timeout, s.origin("head-timeout").to_string().as_str()),
        (Duration::from_secs(1), "weir.conf:4")
    );
    assert_eq!(values(&s.block), ["c.example", "d.example"]);
    assert_eq!(values(&s.blocklists), [PathBuf::from("x"), PathBuf::from("y")]);
    assert_eq!(s.blocklists[0].origin.to_string(), "--blacklist");
    assert!(!s.deny_private);
    assert_eq!(s.origin("connect-timeout"), Origin::Default);
    // Without the layers above, the file holds; an empty variable is none.
    let s = load(&["-c", "weir.conf"], &[("WEIR_PORT", "")], &[file]).unwrap();
    assert_eq!((s.port, s.origin("port").to_string().as_str()), (1, "weir.conf:2"));
    assert_eq!(values(&s.block), ["a.example", "b.example"]);
    assert_eq!(s.block[1].origin.to_string(), "weir.conf:6");
    assert!(s.deny_private);
}

#[test]
fn forms_of_the_command_line() {
    let s = load(
        &[
            "-p80",
            "--host=::",
            "--host",
            "[::1],127.0.0.1",
            "-vv",
            "--add-header",
            "A: b, c",
            "--deny-private",
        ],
        &[],
        &[],
    )
    .unwrap();
    assert_eq!((s.port, s.hosts.len(), s.verbose, s.deny_private), (80, 3, 2, true));
    assert_eq!(s.add_headers[0].value, "A: b, c");
    // The last one counts, also among short and long ones.
    let s = load(&["-p", "1", "--port", "2", "-vp3"], &[], &[]).unwrap();
    assert_eq!((s.port, s.verbose), (3, 1));
    let s = load(
        &[
            "--via",
            "off",
            "--dns",
            "192.0.2.1,[2001:db8::1]:54",
            "--log-format",
            "json",
            "--stats-every=0",
            "--log-max-size=0",
        ],
        &[],
        &[],
    )
    .unwrap();
    assert_eq!(
        (s.via, s.log_format, s.stats_every, s.log_max_size_bytes),
        (None, Format::Json, Duration::ZERO, 0)
    );
    assert_eq!(
        s.dns.iter().map(|server| server.value.to_string()).collect::<Vec<_>>(),
        ["192.0.2.1:53", "[2001:db8::1]:54"]
    );
    // Lists in the environment: one per line where a value may hold a comma.
    let s = load(
        &[],
        &[("WEIR_ADD_HEADER", "A: b, c\nD: e\n"), ("WEIR_BLACKLIST", "a,b\nc"), ("WEIR_VERBOSE", "2")],
        &[],
    )
    .unwrap();
    assert_eq!(
        (s.add_headers.len(), values(&s.blocklists), s.verbose),
        (2, vec!["a,b".into(), "c".into()], 2)
    );
}

#[test]
fn paths_in_a_file_are_relative_to_it() {
    let text = "blocklist lists/a.txt\nallowlist /etc/b.txt\nauth-file users.txt # c\nlog-dir \"log #1\"\n";
    for (config, prefix) in
        [("/etc/weir/weir.conf", "/etc/weir/"), ("conf/weir.conf", "conf/"), ("weir.conf", "")]
    {
        let s = load(&["-c", config], &[], &[(config, text)]).unwrap();
        assert_eq!(values(&s.blocklists), [PathBuf::from(format!("{prefix}lists/a.txt"))]);
        assert_eq!(values(&s.allowlists), [PathBuf::from("/etc/b.txt")]);
        assert_eq!(
            s.auth_file.as_ref().map(|file| file.value.clone()),
            Some(format!("{prefix}users.txt").into())
        );
        assert_eq!(s.auth_file.map(|file| file.origin.to_string()), Some(format!("{config}:3")));
        assert_eq!(s.log_dir, Some(format!("{prefix}log #1").into()));
        assert_eq!(s.config, Some(config.into()));
    }
    let s =
        load(&["--blocklist", "a", "-c", "conf/w"], &[("WEIR_ALLOWLIST", "b")], &[("conf/w", "")]).unwrap();
    assert_eq!((values(&s.blocklists), values(&s.allowlists)), (vec!["a".into()], vec!["b".into()]));
}

#[test]
fn all_problems_come_at_once() {
    let file = "port 80x\nprot 8080\ntimeout\ndeny-private maybe\nport = 80\n\nmax-connections 0\nconfig other\nlog-dir \"a\ntimeout 1\ntimeout 2\n";
    let environment =
        [("WEIR_LOG_KEEP", "many"), ("WEIR_PORT", "65536"), ("WEIR_PROT", "1"), ("WIER_PORT", "x")];
    let arguments = [
        "--hsot",
        "::",
        "-x",
        "--port",
        "1",
        "--check=maybe",
        "-vq=3",
        "--user",
        "a:b:c",
        "--client",
        "::1",
        "--head-max",
        "1",
        "--tunnel-timeout",
    ];
    let (found, code) = problems(&arguments, &environment, file);
    let expected = [
        "--hsot: unknown option: expected one of those that weir --help lists (did you mean host?)",
        "-x: unknown option: expected one of those that weir --help lists",
        "-vq=3: expected letters of options without a =, or --NAME=VALUE",
        "--tunnel-timeout: expected a value, SECONDS",
        "--user: \"a:b:c\": expected a user of this system such as nobody, or with a group: nobody:nogroup",
        "--check: \"maybe\": expected yes or no",
        "--head-max: \"1\": expected a size from 1K to 1M, such as 64K",
        "command line: \"::\": expected options, or a command: explain, detect, reload, ctl, help",
        "command line: --client goes with explain: expected weir explain --client ... METHOD URL",
        "WEIR_PROT: unknown variable: expected the name of an option (did you mean WEIR_PORT?)",
        "WEIR_PORT: \"65536\": expected a number from 0 to 65535",
        "WEIR_LOG_KEEP: \"many\": expected a number from 0 to 1000",
        "weir.conf:1: port \"80x\": expected a number from 0 to 65535",
        "weir.conf:2: unknown key \"prot\": expected one of those that --print-config lists (did you mean port?)",
        "weir.conf:3: timeout: expected a value, SECONDS",
        "weir.conf:4: deny-private \"maybe\": expected yes or no",
        "weir.conf:5: port again: expected once, and line 1 has it",
        "weir.conf:7: max-connections \"0\": expected a number from 1 to 1000000",
        "weir.conf:8: config: expected on the command line only (--config)",
        "weir.conf:9: no closing quote: expected \"value\"",
        "weir.conf:11: timeout again: expected once, and line 10 has it",
    ];
    assert_eq!(found, expected);
    assert_eq!(code, exit::USAGE);
}

#[test]
fn every_malformed_value_says_where_and_what_was_expected() {
    let cases = [
        ("host", "localhost"),
        ("port", "-1"),
        ("workers", "0"),
        ("user", "a:b:c"),
        ("pid-file", ""),
        ("sandbox", "2"),
        ("control", ""),
        ("metrics", "9100"),
        ("verbose", "lots"),
        ("quiet", "maybe"),
        ("blocklist", ""),
        ("allowlist", ""),
        ("block", "a b"),
        ("allow", ""),
        ("allow-client", "10.0.0.0/33"),
        ("deny-private", "2"),
        ("judge-cnames", "2"),
        ("connect-ports", "https"),
        ("ports", "any,"),
        ("auth-file", ""),
        ("quiet-refusals", "2"),
        ("contact", " "),
        ("error-page", "403"),
        ("log-dir", ""),
        ("log-format", "xml"),
        ("log-tunnel-start", "2"),
        ("log-max-size", "1"),
        ("log-keep", "1001"),
        ("stats-every", "often"),
        ("timeout", "0"),
        ("connect-timeout", "0"),
        ("head-timeout", "1d"),
        ("idle-timeout", "-1"),
        ("tunnel-timeout", "169h"),
        ("idle-origin-timeout", "0"),
        ("origin-lifetime", "never"),
        ("drain-timeout", "x"),
        ("min-rate", "-1"),
        ("memory", "64X"),
        ("max-connections", "0"),
        ("max-per-client", "-1"),
        ("client-prefix6", "129"),
        ("buffers", "63"),
        ("head-max", "2M"),
        ("target-max", "255"),
        ("fields-max", "1001"),
        ("idle-origins", "x"),
        ("idle-per-origin", "1.5"),
        ("no-splice", "2"),
        ("no-origin-form", "2"),
        ("strict-targets", "2"),
        ("accept-bare-lf", "2"),
        ("anonymous", "2"),
        ("via", "on"),
        ("forwarded", "yes"),
        ("remove-header", "Host"),
        ("add-header", "A"),
        ("remove-response-header", "A:"),
        ("add-response-header", "Content-Length: 1"),
        ("dns", "resolver"),
        ("dns-0x20", "2"),
        ("cache", "perhaps"),
        ("cache-size", "1000"),
        ("cache-max-object", "x"),
        ("cache-heuristic-max", "1y"),
        ("cache-negative-ttl", "-1"),
        ("cache-targeted", "a b"),
        ("no-cache-status", "2"),
        ("cache-rules", ""),
        ("cache-file", ""),
        ("purge-from", "localhost"),
        ("purge-token-file", ""),
        ("guard", ""),
        ("gateway", ""),
        ("cloud-ranges", ""),
        ("proxy-protocol", "2"),
    ];
    // Every option that can be set anywhere is in the table above.
    let settable: Vec<&str> =
        TABLE.iter().filter(|spec| spec.scope == Scope::Everywhere).map(|spec| spec.name).collect();
    let mut named: Vec<&str> = cases.iter().map(|(name, _)| *name).collect();
    for name in &settable {
        assert!(named.contains(name), "{name}");
    }
    for (name, value) in cases {
        let line = format!("{name} {}\n", super::file::to_file_syntax(value));
        let spec = super::options::find(name).unwrap();
        let expected = spec.missing.map_or("expected", |_| "needs the feature");
        let (found, code) = problems(&[], &[], &line);
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        assert!(
            found[0].starts_with(&format!("weir.conf:1: {name}")) && found[0].contains(expected),
            "{found:?}"
        );
        assert_eq!(code, exit::CONFIGURATION);
        // The value is equally wrong if a higher layer overrides it, and on the command line.
        if !spec.default.is_empty() {
            let good = format!("--{name}={}", spec.default);
            let good = if spec.short.is_empty() || name == "port" { vec![good.as_str()] } else { vec![] };
            assert_eq!(problems(&good, &[], &line).0, found);
        }
        if !matches!(name, "verbose" | "quiet") {
            let failed = load(&[&format!("--{name}={value}")], &[], &[]).unwrap_err();
            assert!(failed.to_string().starts_with(&format!("weir: --{name}: ")), "{failed}");
            assert_eq!((failed.iter().count(), failed.exit_code()), (1, exit::USAGE));
        }
    }
    named.sort_unstable();
    named.dedup();
    assert_eq!(named.len(), settable.len());
}

#[test]
fn problems_of_other_kinds() {
    let failed = load(&["-c", "/no/such"], &[], &[]).unwrap_err();
    assert!(failed.to_string().starts_with("weir: /no/such: cannot read"), "{failed}");
    assert_eq!(failed.exit_code(), exit::CONFIGURATION);
    let failed = load(&["--config="], &[], &[]).unwrap_err().to_string();
    assert_eq!(failed, "weir: --config: \"\": expected a path");
    assert!(load(&["--anonymous"], &[], &[]).is_ok_and(|settings| settings.anonymous));
    let failed = load(&["-vq"], &[], &[]).unwrap_err();
    assert!(failed.to_string().contains("expected one of them"), "{failed}");
    let failed = load(&["stray", "--", "-p"], &[], &[]).unwrap_err();
    assert_eq!(failed.iter().count(), 2, "{failed}");
    // No output can carry an escape sequence.
    let failed =
        load(&["--port", "\u{1b}[2J", "\u{1b}", "--\u{1b}x"], &[("WEIR_VIA", "\u{1b}")], &[]).unwrap_err();
    assert_eq!(failed.iter().count(), 4);
    assert!(!failed.to_string().contains('\u{1b}'), "{failed}");
}

#[test]
fn levels() {
    use ::log::LevelFilter::*;
    let files = [("q", "quiet"), ("v", "verbose 2")];
    for (arguments, expected) in [
        (&[][..], Info),
        (&["-v"], Debug),
        (&["-vv"], Trace),
        (&["-v", "--verbose", "-v"], Trace),
        (&["-q"], Error),
        (&["-c", "q"], Error),
        (&["-c", "q", "-v"], Debug),
        (&["-c", "v"], Trace),
        (&["-c", "v", "-q"], Error),
    ] {
        assert_eq!(load(arguments, &[], &files).unwrap().level(), expected, "{arguments:?}");
    }
}

#[test]
fn commands() {
    let explain = |user: Option<&str>, client: Option<&str>, method: &str, target: &str| Command::Explain {
        user: user.map(str::to_owned),
        client: client.map(|client| client.parse().unwrap()),
        method: Some(method.to_owned()).filter(|method| !method.is_empty()),
        target: target.to_owned(),
    };
    let topics = |names: &[&str]| Command::HelpOn(names.iter().map(ToString::to_string).collect());
    let cases: [(&[&str], Option<Command>); 33] = [
        (&[], Some(Command::Run)),
        (&["--check"], Some(Command::Check)),
        (&["--print-config"], Some(Command::PrintConfig)),
        (&["--check", "--print-config"], Some(Command::Check)),
        (&["-h"], Some(Command::Help)),
        (&["--bogus", "--help", "--port=x"], Some(Command::Help)),
        (&["-V"], Some(Command::Version)),
        (&["help"], Some(topics(&[]))),
        (&["help", "rules", "x"], Some(topics(&["rules", "x"]))),
        (&["help", "--port"], Some(topics(&["--port"]))),
        (&["--bogus", "help", "log"], Some(topics(&["log"]))),
        (&["--help", "rules"], Some(topics(&["rules"]))),
        (&["explain", "--help"], Some(topics(&["explain"]))),
        (&["--help", "else"], Some(topics(&["else"]))),
        (&["--version", "-p", "x"], Some(Command::Version)),
        (&["explain", "GET", "http://a.example/"], Some(explain(None, None, "GET", "http://a.example/"))),
        (
            &["--block", "a", "explain", "--user", "u", "CONNECT", "--client=::1", "a:443"],
            Some(explain(Some("u"), Some("::1"), "CONNECT", "a:443")),
        ),
        (&["explain", "http://a.example/"], Some(explain(None, None, "", "http://a.example/"))),
        (&["explain", "--client=::1", "a:443"], Some(explain(None, Some("::1"), "", "a:443"))),
        (&["explain"], None),
        (&["explain", ""], None),
        (&["explain", "GET"], None),
        (&["explain", "GET", "a", "b"], None),
        (&["explain", "G T", "a"], None),
        (&["explain", "GET", ""], None),
        (&["explain", "--user", "", "GET", "a"], None),
        (&["explain", "--client", "a", "GET", "a"], None),
        (&["--user", "nobody:nogroup"], Some(Command::Run)),
        (&["--user", "no body"], None),
        (&["explain", "--user", "no body", "GET", "a"], Some(explain(Some("no body"), None, "GET", "a"))),
        (&["explain", "--user", "a:b", "GET", "a"], None),
        (&["run"], None),
        (&["--client", "::1"], None),
    ];
    for (arguments, expected) in cases {
        let found = load(arguments, &[], &[]);
        assert_eq!(found.as_ref().ok().map(|settings| &settings.command), expected.as_ref(), "{arguments:?}");
        if let Err(failed) = found {
            assert_eq!(failed.exit_code(), exit::USAGE, "{arguments:?}");
        }
    }
    let misspelt = load(&["explian", "GET", "a"], &[], &[]).unwrap_err();
    assert!(misspelt.to_string().contains("did you mean explain?"), "{misspelt}");
}

#[test]
fn whom_a_file_has_the_daemon_become_asks_no_question() {
    let files = [("w", "user nobody:nogroup\nsandbox no\n")];
    let user = |arguments: &[&str]| load(arguments, &[], &files).unwrap().user.map(|user| user.value);
    let asker = |arguments: &[&str]| match load(arguments, &[], &files).unwrap().command {
        Command::Explain { user, .. } => user,
        other => panic!("{other:?}"),
    };
    assert_eq!(user(&["-c", "w"]).as_deref(), Some("nobody:nogroup"));
    assert_eq!(user(&["-c", "w", "--user=daemon"]).as_deref(), Some("daemon"));
    assert_eq!(user(&[]), None);
    assert_eq!(asker(&["-c", "w", "explain", "GET", "a"]), None);
    assert_eq!(asker(&["-c", "w", "--user=anna", "explain", "GET", "a"]).as_deref(), Some("anna"));
    let sandbox = |arguments: &[&str]| load(arguments, &[], &files).unwrap().sandbox;
    #[cfg(feature = "sandbox")]
    assert!(sandbox(&[]) && sandbox(&["-c", "w", "--sandbox"]));
    assert!(!sandbox(&["-c", "w"]) && !sandbox(&["--sandbox=no"]));
}

#[test]
fn workers_are_a_number_or_one_for_each_processor() {
    let workers = |arguments: &[&str]| load(arguments, &[], &[]).map(|s| (s.workers.pinned, s.workers_on(6)));
    let good = [
        ("3", (false, 3)),
        ("3,pin", (true, 3)),
        ("auto", (false, 6)),
        ("auto, pin", (true, 6)),
        ("1", (false, 1)),
        ("256", (false, 256)),
    ];
    for (text, expected) in good {
        assert_eq!(workers(&["--workers", text]).unwrap(), expected, "{text}");
    }
    for text in ["0", "257", "", "pin", "3,pins", "3,", "auto,3", "-1", "3 pin"] {
        let problems = workers(&["--workers", text]).unwrap_err().to_string();
        assert!(problems.contains("expected a number from 1 to 256, or auto"), "{text}: {problems}");
    }
    // Buffers are divided: `auto` gives as many workers as have enough of them, and a higher number is an error.
    assert_eq!(workers(&["--workers=auto", "--buffers=200"]).unwrap(), (false, 3));
    assert_eq!(workers(&["--workers=3", "--buffers=200"]).unwrap(), (false, 3));
    let problems = workers(&["--workers=4", "--buffers=200"]).unwrap_err().to_string();
    assert!(problems.contains("--workers: 4 workers: expected at most 3"), "{problems}");
}

#[test]
fn kind_27_help_fits_one_screen_names_every_option_and_explains_what_many_need() {
    let help = help();
    assert!(help.lines().count() <= 48, "{} lines\n{help}", help.lines().count());
    for line in help.lines() {
        assert!(line.chars().count() <= 80 && line.trim_end() == line, "{line:?}");
    }
    let of_commands = [Section::Control, Section::Explain, Section::Detect];
    for spec in TABLE.iter().filter(|spec| !of_commands.contains(&spec.section)) {
        assert!(help.contains(&format!("--{}", spec.name)), "{}", spec.name);
        assert!(help.contains(spec.help) == spec.common || spec.missing.is_some(), "{}", spec.name);
    }
    for answer in ["curl -x", "https_proxy", "8888", "--block ", "standard output", "access.log", "WEIR_"] {
        assert!(help.contains(answer), "{answer}");
    }
    for signal in ["HUP", "USR1", "USR2", "TERM", "INT"] {
        assert!(help.contains(signal), "{signal}");
    }
    for code in [exit::OK, exit::REFUSED, exit::USAGE, exit::UNAVAILABLE, exit::OS_ERROR, exit::CONFIGURATION]
    {
        assert!(help.contains(&format!(" {code} ")), "{code}");
    }
}

#[test]
fn kind_27_every_option_has_a_phrase_and_a_topic() {
    for spec in TABLE {
        let words = spec.help.split(' ').count();
        let begins = spec.help.starts_with(|c: char| c.is_ascii_lowercase());
        assert!(words >= 4 && begins && !spec.help.ends_with('.'), "{}: {:?}", spec.name, spec.help);
        let topics = TOPICS.iter().filter(|topic| topic.section == Some(spec.section));
        let names: Vec<&str> = topics.map(|topic| topic.name).collect();
        let [topic] = names[..] else { panic!("{} belongs to {names:?}", spec.name) };
        // The phrase is in the topic, in the text of all options and under its own name.
        let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        for asked in [topic, "all", spec.name, &format!("--{}", spec.name)] {
            let text = help_on(asked).unwrap();
            assert!(flat(&text).contains(&flat(spec.help)), "{} in {asked}: {text}", spec.name);
        }
    }
    for topic in TOPICS {
        let text = help_on(topic.name).unwrap();
        assert!(help_on(&topic.name.to_uppercase()).is_ok() && list_of_topics().contains(topic.name));
        for name in topic.others {
            assert!(text.contains(&format!("--{name} ")) || text.contains(&format!("--{name}\n")), "{name}");
        }
        for line in text.lines().chain(list_of_topics().lines()) {
            assert!(line.chars().count() <= 80 && line.trim_end() == line, "{line:?}");
        }
    }
    let expected = help_on("pors").unwrap_err();
    assert!(
        expected.contains("one of start, config, rules") && expected.contains("did you mean port"),
        "{expected}"
    );
    let port = help_on("port").unwrap();
    assert!(port.contains("WEIR_PORT=N") && port.contains("needs a restart"), "{port}");
}

#[test]
fn what_is_printed_reads_back_as_the_same_settings() {
    let file = "host ::\nhost 127.0.0.1\nblocklist \"a #1.txt\"\nadd-header X: \"a\" # comment\nvia off\nverbose 2\n\
                auth-file /etc/users\nlog-dir logs\ntimeout 1.5\nhead-max 64K\nallow a.example:80\n";
    let arguments = [
        "-c",
        "conf/weir.conf",
        "-p0",
        "--strict-targets",
        "--dns",
        "192.0.2.1,::1",
        "--block=a,b",
        "--add-header=A:  #x \\",
    ];
    let before = load(&arguments, &[("WEIR_LOG_FORMAT", "squid")], &[("conf/weir.conf", file)]).unwrap();
    let printed = print_config(&before);
    for expected in [
        "port 0 ",
        "# --port\n",
        "log-format squid ",
        "# WEIR_LOG_FORMAT\n",
        "# conf/weir.conf:1\n",
        "# default\n",
    ] {
        assert!(printed.contains(expected), "{expected}: {printed}");
    }
    let again = load(&["-c", "/elsewhere/w"], &[], &[("/elsewhere/w", &printed)]).unwrap();
    // The values are the same, the origins are lines of the new file: without them the two print the same.
    let without_origins = |text: &str| {
        let values: Vec<String> =
            text.lines().map(|line| line.rsplit_once(" # ").unwrap().0.trim_end().to_owned()).collect();
        values.join("\n")
    };
    assert_eq!(without_origins(&print_config(&again)), without_origins(&printed));
    assert_eq!((again.port, again.via, again.strict_targets, again.verbose), (0, None, true, 2));
    assert_eq!((again.timeout, again.head_max_bytes), (Duration::from_millis(1500), 64 << 10));
    assert_eq!(values(&again.add_headers), values(&before.add_headers));
    assert_eq!((values(&again.dns), values(&again.block)), (values(&before.dns), values(&before.block)));
    let absolute = std::path::absolute("conf/a #1.txt").unwrap();
    assert_eq!(values(&again.blocklists), [absolute]);
    // Every option is printed, also an option without a value.
    for spec in TABLE.iter().filter(|spec| spec.scope == Scope::Everywhere) {
        assert!(
            printed.lines().any(|line| line.trim_start_matches("# ").starts_with(&format!("{} ", spec.name))),
            "{}",
            spec.name
        );
    }
}

/// The file that comes with weir.
const SAMPLE: &str = include_str!("../../config/weir.conf");

#[test]
fn the_sample_file_works_as_it_is_and_shows_every_key() {
    let s = load(&["-c", "config/weir.conf"], &[], &[("config/weir.conf", SAMPLE)]).unwrap();
    assert_eq!(values(&s.blocklists), [PathBuf::from("config/blocklist.txt")]);
    // Commented keys are valid too, and show the default if there is one.
    let is_key = |line: &&str| {
        line.strip_prefix('#').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
    };
    for spec in TABLE.iter().filter(|spec| spec.scope == Scope::Everywhere) {
        let shown = |line: &&str| {
            line.trim_start_matches('#').starts_with(&format!("{} ", spec.name)) && !line.starts_with("# ")
        };
        let lines: Vec<&str> = SAMPLE.lines().filter(shown).collect();
        assert_eq!(lines.len(), 1, "{}", spec.name);
        if is_key(&lines[0]) && !spec.default.is_empty() {
            assert_eq!(lines[0], format!("#{} {}", spec.name, spec.default));
        }
    }
    let key = |line: &&str| line.trim_start_matches('#').split(' ').next().and_then(super::options::find);
    let is_missing = |line: &&str| key(line).is_some_and(|spec| spec.missing.is_some());
    let lines = SAMPLE.lines().filter(|line| !is_missing(line));
    let uncommented: Vec<&str> = lines.map(|line| if is_key(&line) { &line[1..] } else { line }).collect();
    let s = load(&["-c", "w"], &[], &[("w", &uncommented.join("\n"))]).unwrap();
    assert_eq!((s.dns.len(), s.add_headers.len(), s.port), (2, 1, 8888));
}

#[test]
fn kind_26_every_placeholder_is_documented() {
    let text = super::help::help_on("pages").unwrap();
    for (name, ..) in crate::http::template::PLACEHOLDERS {
        assert!(text.contains(&format!("{{{{{name}}}}}")), "{name}");
    }
    let named = text.matches("{{").count();
    assert_eq!(named, crate::http::template::PLACEHOLDERS.len(), "{text}");
}

#[test]
fn kind_26_pages_are_relative_to_the_file_that_names_them() {
    let s = load(
        &["-c", "conf/w", "--contact", " help desk "],
        &[],
        &[("conf/w", "error-page 403=a.html\nerror-page 5xx=/b/c.txt\n")],
    );
    let s = s.unwrap();
    let paths: Vec<PathBuf> = values(&s.error_pages).into_iter().map(|page| page.path).collect();
    assert_eq!(paths, [PathBuf::from("conf/a.html"), PathBuf::from("/b/c.txt")]);
    assert_eq!(s.contact.as_deref(), Some("help desk"));
    let absolute = std::path::absolute("conf/a.html").unwrap();
    assert!(
        print_config(&s).contains(&format!("error-page 403={}", absolute.display())),
        "{}",
        print_config(&s)
    );
    for (value, expected) in [
        ("403", "a status and a file, such as 403=blocked.html"),
        ("200=a.html", "a status from 400 to 599, 4xx or 5xx, before ="),
        ("403=", "a path"),
        ("403=a.png", "a file whose name ends in .html, .txt or .json"),
        ("403=a", "a file whose name ends in .html, .txt or .json"),
    ] {
        let (found, _) = problems(&["--error-page", value], &[], "");
        assert_eq!(found, [format!("--error-page: {value:?}: expected {expected}")]);
    }
}
