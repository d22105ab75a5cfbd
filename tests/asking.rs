//! Allowed clients and users, and how much of the proxy one client may use.

mod common;
mod shell;

use common::{Origin, Raw, Scratch, Weir};
use rustix::thread::UnshareFlags;
use shell::Shell;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::process::Command;
use std::time::Instant;
use weir::engine::Settings;

/// Runs in a network of its own, in which all of 2001:db8::/32 is this machine. Without root or `ip` there is none, which
/// in CI is a failure.
fn in_own_network(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(|| {
        #[allow(deprecated, reason = "no descriptors are unshared, and this form is not unsafe")]
        let own = rustix::process::geteuid().is_root()
            && rustix::thread::unshare(UnshareFlags::NEWNET).is_ok()
            && ["link set lo up", "-6 route add local 2001:db8::/32 dev lo"].iter().all(|arguments| {
                let run = Command::new("ip").args(arguments.split(' ')).status();
                run.is_ok_and(|status| status.success())
            })
            // Of this thread's network.
            && std::fs::write("/proc/sys/net/ipv6/ip_nonlocal_bind", "1").is_ok();
        if own {
            test();
        } else {
            assert!(std::env::var_os("CI").is_none(), "CI runs the tests as root, and has iproute2");
        }
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Where a daemon that listens on `::` is found by IPv6 and by IPv4.
fn found_at(weir: &Weir) -> [SocketAddr; 2] {
    let port = weir.address().port();
    [SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port), SocketAddr::from(([127, 0, 0, 1], port))]
}

fn connect(weir: &Weir, from: &str) -> Raw {
    let from: IpAddr = from.parse().expect("an address");
    let [six, four] = found_at(weir);
    Raw::connect_from(if from.is_ipv4() { four } else { six }, from)
}

/// The status of one request on a connection that is kept, from there.
fn asks(weir: &Weir, origin: &Origin, from: &str, kept: &mut Vec<Raw>) -> u16 {
    let mut client = connect(weir, from);
    client.send_if_open(origin.get("/"));
    let status = client.try_read_response("GET").expect("an answer").status();
    kept.push(client);
    status
}

/// Rule 46: the share of one client is that of its /64, over all loops; an option says otherwise; IPv4 that comes over an
/// IPv6 socket is IPv4.
#[test]
fn rule_46_a_share_is_that_of_a_network() {
    in_own_network(|| {
        let origin = Origin::ok();
        let start = |options: &[&str]| {
            Weir::start(&[&["--host=::", "--max-per-client=2", "--allow-client=::/0"], options].concat())
        };
        for workers in ["--workers=1", "--workers=4"] {
            let weir = start(&[workers, "--allow-client=0.0.0.0/0"]);
            let (mut kept, origin) = (Vec::new(), &origin);
            let mut asks = |from| asks(&weir, origin, from, &mut kept);
            let network = ["2001:db8:1:1::1", "2001:db8:1:1:ffff::2", "2001:db8:1:1::3"];
            assert_eq!(network.map(&mut asks), [200, 200, 429], "{workers}");
            assert_eq!(["2001:db8:1:2::1", "2001:db8:1:1::4"].map(&mut asks), [200, 429], "{workers}");
            let mapped = ["127.0.0.1", "127.0.0.2", "127.0.0.1", "127.0.0.1"];
            assert_eq!(mapped.map(&mut asks), [200, 200, 200, 429], "{workers}");
            weir.wait_for_log(|line| line.contains(" 429 ") && line.contains("max_per_client"));
            // A client that leaves makes room for another one of its prefix.
            kept.remove(0);
            common::eventually("a free place", || {
                let status = self::asks(&weir, origin, "2001:db8:1:1::9", &mut Vec::new());
                (status == 200).then_some(())
            });
        }
        let (single, wide) = (start(&["--client-prefix6=128"]), start(&["--client-prefix6", "48"]));
        let mut kept = Vec::new();
        let three = ["2001:db8:1:1::1", "2001:db8:1:1::2", "2001:db8:1:2::3"];
        assert_eq!(three.map(|from| asks(&single, &origin, from, &mut kept)), [200; 3]);
        assert_eq!(three.map(|from| asks(&wide, &origin, from, &mut kept)), [200, 200, 429]);
    });
}

/// Look-ups are divided among networks, too: one that asks without end leaves room for others, and for no neighbour.
#[test]
fn kind_18_look_ups_are_shared_between_networks() {
    for (prefix6, neighbour_asks) in [(64, false), (128, true)] {
        let mut shell = Shell::with(Settings { client_prefix6: prefix6, ..Settings::default() }, None, "");
        let mut asks = |from: &str, name: &str| {
            let before = shell.queries.len();
            let client = shell.client_from(from);
            shell.receive(client, format!("GET http://{name}/ HTTP/1.1\r\nHost: {name}\r\n\r\n"));
            shell.queries.len() > before
        };
        for number in 0..600 {
            asks("[2001:db8::1]:4711", &format!("n{number}.example"));
        }
        assert_eq!(asks("[2001:db8::2:0:0:1]:4711", "a.example"), neighbour_asks, "/{prefix6}");
        assert!(asks("[2001:db8:0:1::1]:4711", "b.example"), "/{prefix6}");
        assert!(asks("[::ffff:192.0.2.1]:4711", "c.example"), "/{prefix6}");
    }
}

fn basic(credentials: &str) -> String {
    use base64::Engine;
    let encoded = base64::engine::general_purpose::STANDARD.encode(credentials);
    format!("Proxy-Authorization: Basic {encoded}\r\n")
}

/// A request to the origin with these fields.
fn request(origin: &Origin, fields: &str) -> Vec<u8> {
    origin.fill(format!("GET http://{{o}}/ HTTP/1.1\r\nHost: {{o}}\r\n{fields}\r\n"))
}

/// Rule 46: a client that is not allowed learns that and nothing else, whatever its request: neither whether there
/// are users, nor whether its credentials are right, nor what is wrong with the request.
#[test]
fn rule_46_strangers_are_refused_before_anything_else() {
    let scratch = Scratch::new();
    let users = scratch.file("users.txt", "anna:secret\n");
    let origin = Origin::ok();
    let good = basic("anna:secret");
    let sets: Vec<_> =
        common::built([&[][..], &["--cache", "--purge-from", "127.0.0.0/8"], &["--workers", "2"]]).collect();
    for more in sets.iter().copied() {
        let options = ["--auth-file", &users, "--allow-client", "127.0.0.9", "--head-timeout", "1"];
        let weir = Weir::start(&[&options, more].concat());
        let long = format!("GET http://a.test/{} HTTP/1.1\r\nHost: a.test\r\n\r\n", "x".repeat(20_000));
        let requests: &[&str] = &[
            "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
            &format!("OPTIONS * HTTP/1.1\r\nHost: a\r\n{good}\r\n"),
            "OPTIONS http://{o}/ HTTP/1.1\r\nHost: {o}\r\nMax-Forwards: 0\r\n\r\n",
            "TRACE http://{o}/ HTTP/1.1\r\nHost: {o}\r\nMax-Forwards: 0\r\n\r\n",
            "PURGE http://{o}/ HTTP/1.1\r\nHost: {o}\r\n\r\n",
            "GET http://{o}/ HTTP/1.1\r\nHost: {o}\r\n\r\n",
            "GET http://{o}/ HTTP/1.0\r\n\r\n",
            &format!("GET http://{{o}}/ HTTP/1.1\r\nHost: {{o}}\r\n{good}\r\n"),
            &format!("GET http://{{o}}/ HTTP/1.1\r\nHost: {{o}}\r\n{}\r\n", basic("anna:wrong")),
            "POST http://{o}/ HTTP/1.1\r\nHost: {o}\r\nContent-Length: 5\r\n\r\nhello",
            "POST http://{o}/ HTTP/1.1\r\nHost: {o}\r\nExpect: 200-ok\r\nContent-Length: 5\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: {o}\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a.test\r\nVia: 1.1 weir\r\n\r\n",
            "CONNECT {o} HTTP/1.1\r\nHost: {o}\r\n\r\n",
            "CONNECT {o}:443/x HTTP/1.1\r\nHost: {o}\r\n\r\n",
            "GET https://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
            "GET http://u:p@a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
            "GET http://a.test/ HTTP/1.1\r\n\r\n",
            "GET http://a.test/ HTTP/3.0\r\nHost: a.test\r\n\r\n",
            "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: x\r\n\r\n",
            "GET http://a.test/ HTTP/1.1\nHost: a.test\n\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\u{fc}\u{3}\u{3}\r\n\r\n",
            "nonsense\r\n\r\n",
            // Not whole in time.
            "GET http://a.test/ HTTP/1.1\r\nHost:",
            &long,
        ];
        for request in requests {
            let mut stranger = weir.connect();
            stranger.send(origin.fill(request));
            let method = request.split(' ').next().unwrap_or("");
            let answer = stranger.read_response_to(if method == "CONNECT" { "GET" } else { method });
            assert_eq!(answer.status(), 403, "{request:.60}: {answer:?}");
            assert!(!answer.head.has("proxy-authenticate"), "{request:.60}: {answer:?}");
            assert!(answer.text().contains("Your address may not use this proxy"), "{answer:?}");
            stranger.expect_closed();
        }
        let lines = weir.wait_for_logs(requests.len(), |line| line.contains(" refused 403 "));
        assert!(lines.iter().all(|line| line.contains(" reason=clients ")), "{lines:#?}");
        assert!(lines[0].contains(" OPTIONS * "), "{}", lines[0]);
        // Those who may ask are asked who they are, and told what is wrong.
        let guest = |request: &str| weir.connect_from("127.0.0.9").ask(origin.fill(request)).status();
        assert_eq!(requests[..2].iter().map(|request| guest(request)).collect::<Vec<_>>(), [407, 200]);
        assert_eq!(guest(requests[7]), 200);
        assert_eq!(guest("nonsense\r\n\r\n"), 400);
    }
    assert_eq!(origin.heads().len(), sets.len());
}

/// Rule 47: whatever the form in which a password is kept, a client has so many guesses, over all loops, and then so many per
/// second. Others have theirs; and credentials that were right before are no guess.
#[test]
fn rule_47_guesses_are_bounded_whatever_the_form() {
    const GUESSES: usize = 64;
    let (scratch, origin) = (Scratch::new(), Origin::ok());
    let hash = bcrypt::hash("secret", 4).expect("a hash");
    let forms =
        [("plain", "anna:secret\nbert:right\n".to_owned()), ("hash", format!("anna:{hash}\nbert:{hash}\n"))];
    for (form, text) in &forms {
        let users = scratch.file("users.txt", text);
        for workers in ["1", "4"] {
            let weir = Weir::start(&["--auth-file", &users, "--workers", workers]);
            let ask = |from: &str, credentials: &str| {
                weir.connect_from(from).ask(request(&origin, &basic(credentials))).status()
            };
            assert_eq!(ask("127.0.0.1", "anna:secret"), 200);
            let begin = Instant::now();
            let statuses: Vec<u16> = (0..GUESSES + 80)
                .map(|number| {
                    let user = ["anna", "bert", "nobody"][number % 3];
                    ask("127.0.0.1", &format!("{user}:guess-{number}"))
                })
                .collect();
            // Guesses that came back meanwhile.
            let more = begin.elapsed().as_secs() as usize + 1;
            let wrong = statuses.iter().filter(|&&status| status == 407).count();
            let bounded = statuses.iter().filter(|&&status| status == 429).count();
            assert_eq!(wrong + bounded, statuses.len(), "{form}: {statuses:?}");
            assert!(
                (GUESSES..=GUESSES + more).contains(&wrong),
                "{form}, {workers} loops: {wrong}, {more} s"
            );
            assert!(statuses[..GUESSES].iter().all(|&status| status == 407), "{form}: {statuses:?}");
            weir.wait_for_logs(bounded, |line| {
                line.contains(" refused 429 ") && line.contains("reason=guesses_max")
            });
            assert_eq!(weir.statistics().get("limit_guesses"), bounded as u64);
            // Whichever loop a connection comes to, it is not the one that has seen them before.
            for _ in 0..8 {
                assert_eq!(ask("127.0.0.1", "anna:secret"), 200, "{form}: what was right stays right");
            }
            assert_eq!(ask("127.0.0.2", "anna:secret"), 200, "{form}: another client");
            assert_eq!(ask("127.0.0.2", "anna:wrong"), 407, "{form}: another client");
            let answer = weir.connect().ask(request(&origin, ""));
            assert_eq!(answer.status(), 407, "{form}: who gives no password guesses none");
        }
    }
}

/// A client without guesses cannot find out that another client has just used the right password.
#[test]
fn kind_17_without_guesses_no_password_is_known_to_be_right() {
    let (scratch, origin) = (Scratch::new(), Origin::ok());
    let hash = bcrypt::hash("secret", 4).expect("a hash");
    for password in ["secret", &hash] {
        let users = scratch.file("users.txt", format!("anna:{password}\n"));
        for workers in ["1", "4"] {
            let weir = Weir::start(&["--auth-file", &users, "--workers", workers]);
            let ask = |from: &str, credentials: &str| {
                weir.connect_from(from).ask(request(&origin, &basic(credentials))).status()
            };
            // So often that every loop remembers it.
            for _ in 0..16 {
                assert_eq!(ask("127.0.0.2", "anna:secret"), 200);
            }
            // A guess may become free in between, but not for all three.
            let answers = ["127.0.0.3", "127.0.0.4", "127.0.0.5"].map(|from| {
                let mut number = 0;
                while ask(from, &format!("anna:guess-{number}")) == 407 {
                    number += 1;
                }
                ask(from, "anna:secret")
            });
            assert!(answers.contains(&429), "{password}, {workers} loops: {answers:?}");
            assert_eq!(ask("127.0.0.2", "anna:secret"), 200);
        }
    }
}

/// A client that repeats the same wrong password makes one guess, which does not use up the others.
#[test]
fn kind_17_the_same_wrong_password_is_one_guess() {
    let (scratch, origin) = (Scratch::new(), Origin::ok());
    let weir = Weir::start(&["--auth-file", &scratch.file("users.txt", "anna:secret\n")]);
    let mut client = weir.connect();
    for _ in 0..300 {
        assert_eq!(client.ask(request(&origin, &basic("anna:old"))).status(), 407);
    }
    assert_eq!(client.ask(request(&origin, &basic("anna:secret"))).status(), 200);
}

/// Rule 47: in a file with hashes every wrong password costs a hash, whether the name is unknown, has a plain
/// password, or has a hash; a password that is too long for all hashes costs none.
#[test]
fn rule_47_a_wrong_name_costs_what_a_wrong_password_costs() {
    let (scratch, origin) = (Scratch::new(), Origin::ok());
    let hash = bcrypt::hash("secret", 4).expect("a hash");
    let weir =
        Weir::start(&["--auth-file", &scratch.file("users.txt", format!("anna:secret\nbert:{hash}\n"))]);
    let verifications = |credentials: &str, status: u16| {
        let before = weir.statistics().get("verifications");
        let answer = weir.connect().ask(request(&origin, &basic(credentials)));
        assert_eq!(answer.status(), status, "{credentials}");
        weir.statistics().get("verifications") - before
    };
    let long = "x".repeat(73);
    for (credentials, status, cost) in [
        ("anna:secret", 200, 0),
        ("bert:secret", 200, 1),
        ("anna:wrong", 407, 1),
        ("bert:wrong", 407, 1),
        ("nobody:secret", 407, 1),
        (&format!("anna:{long}"), 407, 0),
        (&format!("bert:{long}"), 407, 0),
        (&format!("nobody:{long}"), 407, 0),
    ] {
        assert_eq!(verifications(credentials, status), cost, "{credentials}");
    }
}
