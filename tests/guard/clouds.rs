//! Networks of clouds from a directory of files: clients and destinations that are refused, and what a reload changes.

use super::ask;
use crate::common::{Answer, FakeDns, Origin, Raw, Scratch, Weir, eventually, run};
use rustix::process::Signal;

/// The form of Amazon's file: networks with their regions.
fn aws(networks: &[(&str, &str)]) -> String {
    let rows = |v6: bool, key: &str| {
        let of_family = networks.iter().filter(|(network, _)| network.contains(':') == v6);
        let row = |(network, region): &(&str, &str)| {
            format!(r#"{{"{key}":"{network}","region":"{region}","service":"AMAZON"}}"#)
        };
        of_family.map(row).collect::<Vec<_>>().join(",")
    };
    let (v4, v6) = (rows(false, "ip_prefix"), rows(true, "ipv6_prefix"));
    format!(r#"{{"prefixes":[{v4}],"ipv6_prefixes":[{v6}]}}"#)
}

const GCP: &str =
    r#"{"prefixes":[{"ipv4Prefix":"203.0.113.0/26","service":"Google Cloud","scope":"europe-west3"}]}"#;

/// A part of the sample of the specification.
fn sample() -> String {
    aws(&[
        ("192.0.2.0/25", "eu-west-1"),
        ("192.0.2.64/26", "GLOBAL"),
        ("192.0.2.128/32", "us-east-1"),
        ("2001:db8:a000::/36", "eu-west-1"),
    ])
}

/// A daemon with a guard file, and the files of clouds in a directory.
struct Scene {
    weir: Weir,
    origin: Origin,
    clouds: Scratch,
    guard: Scratch,
}

impl Scene {
    #[track_caller]
    fn start(lines: &str, files: &[(&str, &str)], options: &[&str]) -> Scene {
        let (clouds, guard) = (Scratch::new(), Scratch::new());
        for (name, text) in files {
            clouds.file(name, text);
        }
        let file = guard.file("guard.conf", format!("trust 127.0.0.0/8\n{lines}\ncloud refresh off\n"));
        let directory = clouds.path().display().to_string();
        let weir = Weir::start(&[&["--guard", &file, "--cloud-ranges", &directory], options].concat());
        Scene { weir, origin: Origin::ok(), clouds, guard }
    }

    #[track_caller]
    fn status(&self, client: &str) -> u16 {
        ask(&mut self.weir.connect(), &self.origin, client, "GET", "/", "").0
    }

    /// Has all files read again, and waits for what is said of that.
    #[track_caller]
    fn reload(&self, expected: &str) {
        let said = || self.weir.error_lines().iter().filter(|line| line.contains(expected)).count();
        let before = said();
        self.weir.signal(Signal::HUP);
        eventually(expected, || (said() > before).then_some(()));
    }

    /// The status of a GET by that host, of a client that no rule is about.
    #[track_caller]
    fn get_at(&self, raw: &mut Raw, host: &str) -> u16 {
        let host = format!("{host}:{}", self.origin.port());
        raw.ask(format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n")).status()
    }
}

#[test]
fn guard_8_clients_in_clouds_are_refused() {
    let files = [("aws-ip-ranges.json", sample()), ("cloud.json", GCP.to_owned())];
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    for (lines, refused, passing) in [
        (
            "cloud deny client aws",
            &["192.0.2.1", "192.0.2.70", "192.0.2.128", "2001:db8:a000::1", "::ffff:192.0.2.1"][..],
            &["192.0.2.129", "203.0.113.1", "2001:db8:b000::1", "10.0.0.1"][..],
        ),
        ("cloud deny client aws,gcp", &["192.0.2.1", "203.0.113.63"], &["203.0.113.64", "192.0.2.200"]),
        // Any network outside of the exceptions denies, and not only the most specific one.
        (
            "cloud deny client aws except aws:global",
            &["192.0.2.1", "192.0.2.70", "192.0.2.128"],
            &["192.0.2.129"],
        ),
        (
            "cloud deny client aws except aws:EU-west-1",
            &["192.0.2.70", "192.0.2.128"],
            &["192.0.2.1", "2001:db8:a000::1", "::ffff:192.0.2.1"],
        ),
        ("cloud deny client aws observe", &[], &["192.0.2.1", "2001:db8:a000::1"]),
        ("passive\ncloud deny client aws", &[], &["192.0.2.1"]),
        ("exempt 192.0.2.0/26\ncloud deny client aws", &["192.0.2.70"], &["192.0.2.1"]),
        // Whose networks are not known denies nothing.
        ("cloud deny client azure", &[], &["192.0.2.1", "203.0.113.1"]),
    ] {
        let scene = Scene::start(lines, &files, &[]);
        for client in refused {
            assert_eq!(scene.status(client), 403, "{lines}: {client}");
        }
        for client in passing {
            assert_eq!(scene.status(client), 200, "{lines}: {client}");
        }
    }
}

#[test]
fn guard_8_the_log_names_the_line() {
    let lines = "# a comment\ncloud deny client gcp\ncloud deny client aws";
    let scene = Scene::start(lines, &[("aws.json", &sample()), ("gcp.json", GCP)], &[]);
    for (client, line) in [("203.0.113.1", 3), ("192.0.2.1", 4)] {
        assert_eq!(scene.status(client), 403);
        let cause = format!("cloud_client:guard:{line}");
        scene.weir.wait_for_log(|line| line.contains(&cause) && line.contains(client));
    }
}

#[test]
fn guard_8_destinations_in_clouds_are_refused() {
    let origin = Origin::ok();
    let dns = FakeDns::start(&[
        ("cloud.test", Answer::short(3600, &["127.0.0.1"])),
        ("both.test", Answer::short(3600, &["127.9.9.9", "127.0.0.1"])),
    ]);
    let ask = |weir: &Weir, host: &str| {
        let host = format!("{host}:{}", origin.port());
        weir.connect().ask(format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n")).status()
    };
    let (here, elsewhere) = ([("127.0.0.1/32", "here")], [("127.9.9.9/32", "elsewhere")]);
    for (networks, lines, expected) in [
        (&here, "cloud deny destination aws", [403, 403, 403, 502]),
        // Of the addresses of a name those are dialled that are not denied.
        (&elsewhere, "cloud deny destination aws", [200, 200, 200, 200]),
        (&here, "cloud deny destination aws except aws:here", [200, 200, 200, 200]),
        (&here, "cloud deny destination aws observe", [200, 200, 200, 200]),
        (&here, "cloud deny client gcp", [200, 200, 200, 200]),
    ] {
        let dns = dns.address();
        let scene = Scene::start(lines, &[("aws.json", &aws(networks))], &["--dns", &dns]);
        let hosts = ["127.0.0.1", "[::ffff:127.0.0.1]", "cloud.test", "both.test"];
        let statuses = hosts.map(|host| ask(&scene.weir, host));
        assert_eq!(statuses, expected, "{networks:?}: {lines}");
        if expected[0] == 403 {
            scene.weir.wait_for_logs(3, |line| line.contains("cloud_destination:guard:2"));
            let mut raw = scene.weir.connect();
            let (host, port) = ("cloud.test", origin.port());
            raw.send(format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"));
            assert_eq!(raw.read_response().status(), 403, "a tunnel");
        }
    }
}

#[test]
fn ours_8_networks_come_from_files_and_a_reload_reads_them_again() {
    let scene = Scene::start("cloud deny client aws,gcp", &[("aws.json", &sample())], &[]);
    let statuses = || ["192.0.2.1", "198.51.100.1", "203.0.113.1"].map(|client| scene.status(client));
    assert_eq!(statuses(), [403, 200, 200]);
    scene
        .clouds
        .file("aws.json", aws(&[("198.51.100.0/25", "eu-west-1"), ("2001:db8:a000::/36", "eu-west-1")]));
    scene.clouds.file("gcp-cloud.json", GCP);
    scene.reload(" reloaded: ");
    assert_eq!(statuses(), [200, 403, 403]);
    // A faulty file is told by its name, and what held holds.
    for faulty in ["{\"prefixes\":[", "<html>an error</html>", "{\"prefixes\":[],\"ipv6_prefixes\":[]}"] {
        scene.clouds.file("aws.json", faulty);
        scene.reload("aws.json: ");
        assert_eq!(statuses(), [200, 403, 403], "{faulty}");
    }
    std::fs::remove_file(scene.clouds.join("gcp-cloud.json")).expect("removing");
    scene.clouds.file("aws.json", sample());
    scene.guard.file("guard.conf", "trust 127.0.0.0/8\ncloud deny client aws,gcp\nban 192.0.2.200\ncloud refresh off\ncloud change-max 9\n");
    scene.reload(" reloaded: ");
    assert_eq!(statuses(), [403, 200, 200]);
}

#[test]
fn guard_8_providers_without_networks_are_told() {
    let scene =
        Scene::start("cloud deny client aws\ncloud deny destination gcp,vultr", &[("gcp.json", GCP)], &[]);
    let told = |said: &[String], line: u32, provider: &str| {
        let parts = [format!("guard.conf:{line}: "), format!("nothing of {provider} is denied")];
        said.iter().filter(|line| parts.iter().all(|part| line.contains(part))).count()
    };
    // It is said by a thread of its own, perhaps behind the line that weir listens.
    scene.weir.wait_for_error(|line| line.contains("nothing of aws is denied"));
    scene.weir.wait_for_error(|line| line.contains("nothing of vultr is denied"));
    let said = scene.weir.error_lines();
    let counts = [(2, "aws"), (3, "gcp"), (3, "vultr")].map(|(line, provider)| told(&said, line, provider));
    assert_eq!(counts, [1, 0, 1], "{said:#?}");
    scene.clouds.file("aws.json", sample());
    scene.reload(" reloaded: ");
    let said = scene.weir.error_lines();
    let counts = [(2, "aws"), (3, "gcp"), (3, "vultr")].map(|(line, provider)| told(&said, line, provider));
    assert_eq!(counts, [1, 0, 2], "{said:#?}");
}

/// The name of Azure's file has its date.
#[test]
fn guard_8_an_old_file_of_azure_is_told() {
    let name = "ServiceTags_Public_20251208.json";
    let content = r#"{"values":[{"name":"AzureCloud","id":"AzureCloud","properties":{"addressPrefixes":["192.0.2.0/24"]}}]}"#;
    let scene = Scene::start("cloud deny client azure", &[(name, content)], &[]);
    scene.weir.wait_for_error(|line| line.contains("networks of azure are ") && line.contains(name));
}

#[test]
fn guard_8_a_faulty_file_is_an_error_of_the_configuration() {
    let (clouds, guard) = (Scratch::new(), Scratch::new());
    let file = guard.file("guard.conf", "cloud deny client aws\n");
    let directory = clouds.path().display().to_string();
    let aws = |network| aws(&[(network, "eu-west-1")]);
    for (name, text, code) in [
        ("aws.json", aws("192.0.2.0/25"), 0),
        // Files of none of the providers are passed by.
        ("README.md", "a text".to_owned(), 0),
        ("aws.json", aws("192.0.2.129/25"), 78),
        ("aws.json", aws("0.0.0.0/0"), 78),
        ("aws.json", aws("192.0.2.0/25").replace("\"service\"", "\"servce\""), 78),
        ("azure.json", r#"{"values":[]}"#.to_owned(), 78),
    ] {
        let path = clouds.file(name, &text);
        let said = run(&["--check", "--guard", &file, "--cloud-ranges", &directory]);
        assert_eq!(said.code, code, "{name} {text}: {}", said.said());
        assert!(code == 0 || said.err.contains(&path), "{}", said.err);
        std::fs::remove_file(path).expect("removing");
    }
    let missing = clouds.join("missing");
    let said = run(&["--check", "--guard", &file, "--cloud-ranges", &missing]);
    assert!(said.code != 0 && said.err.contains(&missing), "{}", said.said());
}

#[test]
fn guard_8_explain_says_which_line_decides() {
    let (clouds, guard) = (Scratch::new(), Scratch::new());
    clouds.file("aws.json", sample());
    let file = guard.file("guard.conf", "cloud deny client aws\ncloud deny destination aws\n");
    let directory = clouds.path().display().to_string();
    for (client, host, code, expected) in [
        ("192.0.2.1", "203.0.113.1", 1, "by cloud_client:guard:1"),
        ("::ffff:192.0.2.1", "203.0.113.1", 1, "by cloud_client:guard:1"),
        ("198.51.100.1", "192.0.2.1", 1, "by cloud_destination:guard:2"),
        ("198.51.100.1", "[2001:db8:a000::1]", 1, "by cloud_destination:guard:2"),
        // Through a translator (RFC 6052) and a relay (RFC 3056).
        ("198.51.100.1", "[64:ff9b::192.0.2.1]", 1, "by cloud_destination:guard:2"),
        ("198.51.100.1", "[2002:c000:201::1]", 1, "by cloud_destination:guard:2"),
        ("198.51.100.1", "203.0.113.1", 0, "allowed"),
        ("198.51.100.1", "[64:ff9b::203.0.113.1]", 0, "allowed"),
    ] {
        let options = ["--guard", &file, "--cloud-ranges", &directory, "explain", "--client", client];
        let said = run(&[&options[..], &[&format!("http://{host}/")]].concat());
        assert!(said.code == code && said.out.contains(expected), "{client} {host}: {}", said.said());
    }
    // Of a name each address has its reason.
    let dns = FakeDns::start(&[
        ("cloud.test", Answer::short(3600, &["192.0.2.1"])),
        ("both.test", Answer::short(3600, &["192.0.2.1", "203.0.113.1"])),
    ]);
    let dns = dns.address();
    for (host, code, expected) in [
        (
            "cloud.test",
            1,
            &["by cloud_destination:guard:2\n", "  192.0.2.1: refused by cloud_destination:guard:2\n"],
        ),
        (
            "both.test",
            0,
            &["  203.0.113.1: would be dialled\n", "  192.0.2.1: refused by cloud_destination:guard:2\n"],
        ),
    ] {
        let options = ["--guard", &file, "--cloud-ranges", &directory, "--dns", &dns, "explain"];
        let said = run(&[&options[..], &[&format!("http://{host}/")]].concat());
        assert_eq!(said.code, code, "{host}: {}", said.said());
        assert!(expected.iter().all(|line| said.out.contains(line)), "{host}: {}", said.out);
    }
}

/// An idle connection to an address that is denied by now carries no request, whether or not the request could be repeated.
#[test]
fn guard_8_idle_connections_to_denied_addresses_are_not_used() {
    let dns = FakeDns::start(&[("cloud.test", Answer::short(3600, &["127.0.0.1"]))]);
    let scene = Scene::start(
        "cloud deny destination aws",
        &[("aws.json", &aws(&[("127.9.9.9/32", "x")]))],
        &["--dns", &dns.address()],
    );
    let mut client = scene.weir.connect();
    for _ in 0..2 {
        assert_eq!(scene.get_at(&mut client, "cloud.test"), 200);
    }
    assert_eq!(scene.origin.connections(), 1, "the connection waits and is used again");
    scene.clouds.file("aws.json", aws(&[("127.0.0.1/32", "x")]));
    scene.reload(" reloaded: ");
    assert_eq!(scene.get_at(&mut client, "cloud.test"), 403);
    assert_eq!((scene.origin.heads().len(), scene.origin.connections()), (2, 1));
    // What only is observed stays in use.
    scene
        .guard
        .file("guard.conf", "trust 127.0.0.0/8\ncloud deny destination aws observe\ncloud refresh off\n");
    scene.reload(" reloaded: ");
    assert_eq!(scene.get_at(&mut client, "cloud.test"), 200);
    assert_eq!(scene.origin.connections(), 1);
}

/// A response from an address that is denied by now is not served from the cache.
#[test]
#[cfg_attr(not(feature = "cache"), ignore = "needs the feature cache")]
fn guard_8_cached_responses_from_denied_addresses_are_not_served() {
    let dns = FakeDns::start(&[("cloud.test", Answer::short(3600, &["127.0.0.1"]))]);
    let mut scene = Scene::start(
        "cloud deny destination aws",
        &[("aws.json", &aws(&[("127.9.9.9/32", "x")]))],
        &["--dns", &dns.address(), "--cache"],
    );
    scene.origin =
        Origin::answering("HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\nContent-Length: 2\r\n\r\nok");
    let get = || scene.get_at(&mut scene.weir.connect(), "cloud.test");
    assert_eq!((get(), get()), (200, 200));
    assert_eq!(scene.origin.heads().len(), 1, "the second one is a hit");
    scene.clouds.file("aws.json", aws(&[("127.0.0.1/32", "x")]));
    scene.reload(" reloaded: ");
    assert_eq!(get(), 403);
    scene.clouds.file("aws.json", aws(&[("127.9.9.9/32", "x")]));
    scene.reload(" reloaded: ");
    assert_eq!(get(), 200);
    assert_eq!(scene.origin.heads().len(), 1, "it is still there");
}

/// Nor is a connection that is bound to one client used: the client goes with that connection.
#[test]
fn guard_8_a_bound_connection_to_a_denied_address_is_not_used() {
    let dns = FakeDns::start(&[("cloud.test", Answer::short(3600, &["127.0.0.1"]))]);
    let scene = Scene::start(
        "cloud deny destination aws",
        &[("aws.json", &aws(&[("127.9.9.9/32", "x")]))],
        &["--dns", &dns.address()],
    );
    let mut client = scene.weir.connect();
    let host = format!("cloud.test:{}", scene.origin.port());
    let request = format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nAuthorization: NTLM x\r\n\r\n");
    for _ in 0..2 {
        assert_eq!(client.ask(&request).status(), 200);
    }
    assert_eq!(scene.origin.connections(), 1);
    scene.clouds.file("aws.json", aws(&[("127.0.0.1/32", "x")]));
    scene.reload(" reloaded: ");
    assert_eq!(client.ask(&request).status(), 403);
    assert_eq!((scene.origin.heads().len(), scene.origin.connections()), (2, 1));
}
