//! Networks of clouds that weir fetches from a double of the providers: what comes first, what is unchanged, what is refused,
//! what a start without a network knows. All of it in the sandbox, as the daemon is started.

use super::ask;
use crate::common::{Origin, Run, Scratch, Weir, eventually, run};
use rustix::process::Signal;
use std::collections::HashMap;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

/// The form of Amazon's file.
fn aws(networks: &[&str]) -> String {
    let row =
        |network: &&str| format!(r#"{{"ip_prefix":"{network}","region":"eu-west-1","service":"AMAZON"}}"#);
    let rows: Vec<_> = networks.iter().map(row).collect();
    format!(r#"{{"prefixes":[{}],"ipv6_prefixes":[]}}"#, rows.join(","))
}

const GCP: &str =
    r#"{"prefixes":[{"ipv4Prefix":"203.0.113.0/26","service":"Google Cloud","scope":"europe-west3"}]}"#;

const AZURE: &str =
    r#"{"values":[{"name":"AzureCloud","properties":{"addressPrefixes":["198.51.100.0/25"]}}]}"#;

const LINODE: &str =
    "# a comment\n203.0.113.128/26,DE,DE-HE,Frankfurt,\nnonsense\n192.0.2.192/27,US,US-GA,Atlanta,\n";

const VULTR: &str = r#"{"subnets":[{"ip_prefix":"203.0.113.224/28","region":"US-NJ"},{"ip_prefix":""}]}"#;

/// A whole answer with an entity tag made of the body.
fn document(body: &str) -> String {
    let tag = body.len();
    format!("HTTP/1.1 200 OK\r\nETag: \"{tag}\"\r\nContent-Length: {tag}\r\n\r\n{body}")
}

/// What the double answers for each path. A conditional request for what it has is answered 304.
struct Double {
    origin: Origin,
    answers: Arc<Mutex<HashMap<String, String>>>,
}

impl Double {
    fn start(answers: &[(&str, String)]) -> Double {
        let answers = answers.iter().map(|(path, answer)| ((*path).to_owned(), answer.clone())).collect();
        let answers: Arc<Mutex<HashMap<String, String>>> = Arc::new(Mutex::new(answers));
        let served = answers.clone();
        let origin = Origin::serve(move |conn| {
            while let Some(request) = conn.request()? {
                let answer = served.lock().expect("answers").get(request.head.target()).cloned();
                // A path without an answer is a server that is down.
                let Some(answer) = answer else { return Ok(()) };
                match request.head.get("if-none-match") {
                    Some(tag) if answer.contains(&format!("ETag: {tag}\r\n")) => {
                        conn.send("HTTP/1.1 304 Not Modified\r\n\r\n")?;
                    }
                    Some(_) | None => conn.send(&answer)?,
                }
                if answer.contains("Connection: close") {
                    return Ok(());
                }
            }
            Ok(())
        });
        Double { origin, answers }
    }

    fn set(&self, path: &str, answer: Option<String>) {
        let mut answers = self.answers.lock().expect("answers");
        match answer {
            Some(answer) => drop(answers.insert(path.to_owned(), answer)),
            None => drop(answers.remove(path)),
        }
    }

    /// The directive by which a provider is fetched from here.
    fn source(&self, provider: &str) -> String {
        format!("cloud source {provider} {}\n", self.origin.url(&format!("/{provider}")))
    }
}

/// A daemon that fetches.
struct Fetching {
    weir: Weir,
    origin: Origin,
    control: String,
    guard: Scratch,
}

impl Fetching {
    #[track_caller]
    fn start(lines: &str, directory: Option<&Scratch>) -> Fetching {
        let guard = Scratch::new();
        let file = guard.file("guard.conf", format!("trust 127.0.0.0/8\n{lines}"));
        let control = guard.join("control");
        let allowed = ["--allow", "127.0.0.0/8", "--workers", "2"];
        let mut options = [&allowed[..], &["--guard", &file]].concat();
        if cfg!(feature = "admin") {
            options.extend(["--control", &control]);
        }
        let directory = directory.map(|directory| directory.path().display().to_string());
        options.extend(directory.iter().flat_map(|directory| ["--cloud-ranges", directory]));
        // A proxy of the environment has no say.
        let environment =
            ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"];
        let weir = Weir::start_with(&options, &environment.map(|name| (name, "http://127.0.0.1:1")));
        Fetching { weir, origin: Origin::ok(), control, guard }
    }

    #[track_caller]
    fn status(&self, client: &str) -> u16 {
        ask(&mut self.weir.connect(), &self.origin, client, "GET", "/", "").0
    }

    #[track_caller]
    fn until(&self, client: &str, status: u16) {
        eventually(&format!("{client} gets {status}"), || (self.status(client) == status).then_some(()));
    }

    fn ctl(&self, words: &[&str]) -> Run {
        run(&[&["ctl", "--control", &self.control], words].concat())
    }

    /// A number of a provider.
    #[track_caller]
    fn number(&self, name: &str) -> Option<u64> {
        let told = self.ctl(&["stats"]).out;
        let mut pairs = told.lines().filter_map(|line| line.split_once(' '));
        pairs.find(|(found, _)| *found == name).and_then(|(_, number)| number.parse().ok())
    }

    #[track_caller]
    fn until_number(&self, name: &str, least: u64) {
        eventually(&format!("{name} is {least}"), || (self.number(name) >= Some(least)).then_some(()));
    }

    /// Has everything fetched again.
    fn reload(&self) {
        self.weir.signal(Signal::HUP);
    }
}

#[test]
#[cfg_attr(not(feature = "admin"), ignore = "needs the feature admin")]
fn guard_8_networks_are_fetched_and_hold_for_all_loops() {
    let double = Double::start(&[
        ("/aws", document(&aws(&["192.0.2.0/25"]))),
        ("/gcp", document(GCP)),
        ("/azure", document(AZURE)),
        ("/linode", document(LINODE)),
        ("/vultr", document(VULTR)),
        ("/digitalocean", document("198.51.100.128/27,NL,NL-NH,Amsterdam,\n")),
    ]);
    let names = ["aws", "gcp", "azure", "linode", "vultr", "digitalocean"];
    let sources: String = names.iter().map(|name| double.source(name)).collect();
    let on = Fetching::start(&format!("cloud deny client {}\n{sources}", names.join(",")), None);
    on.weir.wait_for_error(|line| line.contains("nothing of aws is denied until"));
    for client in
        ["192.0.2.1", "203.0.113.1", "198.51.100.1", "203.0.113.130", "203.0.113.230", "198.51.100.130"]
    {
        on.until(client, 403);
    }
    assert_eq!(on.status("192.0.2.130"), 200);
    on.until_number("guard_cloud_refreshes_vultr", 1);
    assert_eq!(
        (on.number("guard_cloud_networks_linode"), on.number("guard_cloud_failures_aws")),
        (Some(2), Some(0))
    );
    assert!(on.number("guard_cloud_age_s_gcp").is_some());
    let text = on.ctl(&["stats", "--openmetrics"]).out;
    assert!(text.contains("weir_guard_cloud_networks{provider=\"aws\"} 1\n"), "{text}");
    let said = on.weir.error_lines();
    let told = said.iter().filter(|line| line.contains("nothing of aws")).count();
    assert_eq!(told, 1, "{said:#?}");
    for head in double.origin.heads() {
        assert!(head.has("user-agent") && !head.has("if-none-match"), "{head:?}");
    }
}

#[test]
#[cfg_attr(not(feature = "admin"), ignore = "needs the feature admin")]
fn ours_8_what_has_not_changed_is_not_fetched_again() {
    let double = Double::start(&[("/aws", document(&aws(&["192.0.2.0/25"])))]);
    let on = Fetching::start(&format!("cloud deny client aws\n{}", double.source("aws")), None);
    on.until("192.0.2.1", 403);
    on.reload();
    let head = double.origin.wait_for_head(2);
    assert_eq!(
        head.get("if-none-match"),
        double.answers.lock().expect("answers")["/aws"]
            .split("ETag: ")
            .nth(1)
            .and_then(|rest| rest.split("\r\n").next())
    );
    on.until_number("guard_cloud_refreshes_aws", 2);
    assert_eq!((on.status("192.0.2.1"), on.number("guard_cloud_failures_aws")), (403, Some(0)));
    double.set("/aws", Some(document(&aws(&["192.0.2.0/25", "198.51.100.0/25"]))));
    on.reload();
    on.until("198.51.100.1", 403);
}

#[test]
#[cfg_attr(not(feature = "admin"), ignore = "needs the feature admin")]
fn guard_8_what_is_wrong_is_discarded_as_a_whole_and_the_last_good_set_stays() {
    let double = Double::start(&[("/aws", document(&aws(&["192.0.2.0/25"])))]);
    let on = Fetching::start(&format!("cloud deny client aws\n{}", double.source("aws")), None);
    on.until("192.0.2.1", 403);
    let many: Vec<String> = (0..9).map(|number| format!("198.51.{number}.0/25")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let target = double.origin.url("/other");
    double.set("/other", Some(document(&aws(&["198.51.100.0/25"]))));
    for (number, (answer, part)) in [
        (Some(document("{\"prefixes\":[")), "expected the JSON of the provider"),
        (Some(document(&aws(&["198.51.100.0/25", "192.0.2.129/25"]))), "expected 192.0.2.128/25"),
        (Some(document(&aws(&["0.0.0.0/0"]))), "expected prefixes of at least"),
        (Some(document("<html>an error</html>")), "expected the JSON"),
        (Some(document(&aws(&[]))), "no networks"),
        (Some(document(&aws(&many))), "expected at most 2 times as many"),
        (
            Some(format!("HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n")),
            "a redirect (status 302)",
        ),
        (Some("HTTP/1.1 503 Gone\r\nContent-Length: 0\r\n\r\n".to_owned()), "found 503"),
        // A body that ends early.
        (Some("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 999\r\n\r\n{}".to_owned()), "/aws"),
        // Nothing at all.
        (None, "/aws"),
    ]
    .into_iter()
    .enumerate()
    {
        let failed = number as u64 + 1;
        // A server that answers and goes: the double closes what it has no answer for.
        double.set("/aws", answer);
        on.reload();
        on.until_number("guard_cloud_failures_aws", failed);
        on.weir.wait_for_error(|line| {
            line.contains("the networks of aws stay as they are") && line.contains(part)
        });
        assert_eq!((on.status("192.0.2.1"), on.status("198.51.100.1")), (403, 200), "{part}");
    }
    assert!(double.origin.heads().iter().all(|head| head.target() == "/aws"), "a redirect was followed");
    // Back again, with something new.
    double.set("/aws", Some(document(&aws(&["192.0.2.0/25", "198.51.100.0/25"]))));
    on.reload();
    on.until("198.51.100.1", 403);
    // An operator may allow more.
    double.set("/aws", Some(document(&aws(&many))));
    on.guard.file(
        "guard.conf",
        format!("trust 127.0.0.0/8\ncloud deny client aws\ncloud change-max 100\n{}", double.source("aws")),
    );
    on.reload();
    on.until("198.51.3.1", 403);
}

#[test]
#[cfg_attr(not(feature = "admin"), ignore = "needs the feature admin")]
fn ours_8_the_last_good_set_is_on_disk() {
    let (double, directory) = (Double::start(&[("/aws", document(&aws(&["192.0.2.0/25"])))]), Scratch::new());
    let lines = format!("cloud deny client aws\n{}", double.source("aws"));
    let on = Fetching::start(&lines, Some(&directory));
    on.until("192.0.2.1", 403);
    on.until_number("guard_cloud_refreshes_aws", 1);
    drop(on);
    let kept = eventually("the file", || std::fs::read_to_string(directory.join("fetched-aws.json")).ok());
    assert_eq!(kept, aws(&["192.0.2.0/25"]));
    let names = std::fs::read_dir(directory.path()).expect("a directory").count();
    assert_eq!(names, 1, "nothing but the file");
    // The network is away.
    double.set("/aws", None);
    let on = Fetching::start(&lines, Some(&directory));
    assert_eq!(on.status("192.0.2.1"), 403, "at once");
    on.until_number("guard_cloud_failures_aws", 1);
    assert_eq!(on.status("192.0.2.1"), 403);
    drop(on);
    // What is in the file no more is passed by; it is weir's own.
    directory.file("fetched-aws.json", "{\"prefixes\":[");
    let on = Fetching::start(&lines, Some(&directory));
    on.weir.wait_for_error(|line| line.contains("fetched-aws.json: is passed by"));
    assert_eq!(on.status("192.0.2.1"), 200);
    double.set("/aws", Some(document(&aws(&["192.0.2.0/25"]))));
    on.reload();
    on.until("192.0.2.1", 403);
}

#[test]
fn ours_8_a_set_on_disk_that_changes_beyond_reason_is_refused_at_a_reload() {
    let directory = Scratch::new();
    directory.file("aws.json", aws(&["192.0.2.0/25"]));
    let on = Fetching::start("cloud deny client aws\ncloud refresh off\n", Some(&directory));
    assert_eq!(on.status("192.0.2.1"), 403);
    directory.file("aws.json", aws(&["198.51.100.0/25", "198.51.101.0/25", "198.51.102.0/25"]));
    on.reload();
    on.weir.wait_for_error(|line| {
        line.contains("aws.json: 3 networks, 1 before") && line.contains("cloud change-max")
    });
    assert_eq!((on.status("192.0.2.1"), on.status("198.51.100.1")), (403, 200));
    on.guard.file(
        "guard.conf",
        "trust 127.0.0.0/8\ncloud deny client aws\ncloud refresh off\ncloud change-max 3\n",
    );
    on.reload();
    on.until("198.51.100.1", 403);
    assert_eq!(on.status("192.0.2.1"), 200);
}

#[test]
fn guard_8_requests_never_wait_for_a_provider_that_does_not_answer() {
    let mute = crate::common::origin::Mute::new();
    let source = format!("cloud source aws http://{}/\n", mute.address());
    let on = Fetching::start(&format!("cloud deny client aws\n{source}"), None);
    eventually("the provider is asked", || mute.was_dialled().then_some(()));
    assert_eq!(on.status("192.0.2.1"), 200);
    let (mut weir, _guard) = (on.weir, on.guard);
    weir.signal(Signal::TERM);
    assert!(weir.wait_exit().success(), "nor does the end");
}

/// A server with TLS that answers with the files of a directory; stopped when dropped.
struct Tls(Child, u16);

impl Tls {
    fn start(directory: &Scratch) -> Option<Tls> {
        let openssl = |words: &[&str]| {
            let mut command = Command::new("openssl");
            command.current_dir(directory.path()).args(words).stderr(Stdio::null()).stdout(Stdio::null());
            command.status().ok().filter(|status| status.success())
        };
        let (names, alone) = ("subjectAltName=DNS:localhost", "basicConstraints=critical,CA:FALSE");
        let words =
            ["req", "-x509", "-days", "2", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        let files = [
            "-subj",
            "/CN=weir test",
            "-addext",
            names,
            "-addext",
            alone,
            "-keyout",
            "key.pem",
            "-out",
            "roots.pem",
        ];
        if openssl(&[&words[..], &files].concat()).is_none() {
            assert!(std::env::var_os("CI").is_none(), "openssl is not installed");
            return None;
        }
        let start = || {
            let port = crate::common::origin::free_port();
            let mut command = Command::new("openssl");
            let accept = port.to_string();
            command.args(["s_server", "-WWW", "-accept", &accept, "-cert", "roots.pem", "-key", "key.pem"]);
            command.current_dir(directory.path()).stdout(Stdio::null()).stderr(Stdio::null());
            Some(Tls(command.spawn().ok()?, port))
        };
        let mut server = start()?;
        eventually("the server listens", || {
            // Another test may have got the port meanwhile.
            if server.0.try_wait().expect("a child").is_some() {
                server = start()?;
            }
            std::net::TcpStream::connect(("127.0.0.1", server.1)).ok()
        });
        Some(server)
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Over TLS, and by a name that the C library looks up inside of the sandbox.
#[test]
#[cfg_attr(not(feature = "admin"), ignore = "needs the feature admin")]
fn guard_8_https_holds_with_roots_of_ones_own_and_not_without() {
    let directory = Scratch::new();
    directory.file("aws.json", aws(&["192.0.2.0/25"]));
    let Some(server) = Tls::start(&directory) else { return };
    let port = server.1;
    let source = format!("cloud deny client aws\ncloud source aws https://localhost:{port}/aws.json\n");
    let on = Fetching::start(&source, None);
    on.until_number("guard_cloud_failures_aws", 1);
    let said = on.weir.wait_for_error(|line| line.contains("stay as they are"));
    assert!(said.to_lowercase().contains("certificate"), "{said}");
    on.guard.file("roots.pem", std::fs::read(directory.join("roots.pem")).expect("a certificate"));
    on.guard.file("guard.conf", format!("trust 127.0.0.0/8\n{source}cloud roots roots.pem\n"));
    on.reload();
    on.until("192.0.2.1", 403);
    drop(on);
    // A certificate of another name.
    let source = format!("cloud deny client aws\ncloud source aws https://127.0.0.1:{port}/aws.json\n");
    let on = Fetching::start(&source, None);
    on.guard.file("roots.pem", std::fs::read(directory.join("roots.pem")).expect("a certificate"));
    on.guard.file("guard.conf", format!("trust 127.0.0.0/8\n{source}cloud roots roots.pem\n"));
    on.reload();
    on.weir.wait_for_error(|line| line.contains("NotValidForName") || line.contains("not valid for name"));
    assert_eq!(on.status("192.0.2.1"), 200);
}
