//! Who may ask, and how much of the proxy one client may have.

mod common;
mod shell;

use common::{Origin, Raw, Weir};
use rustix::thread::UnshareFlags;
use shell::Shell;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::process::Command;
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
            // Who goes makes room for a neighbour.
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
