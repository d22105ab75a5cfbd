//! The address of the client: trusted proxies, the PROXY protocol, and the uses of the address.

use super::{Guarded, ask};
use crate::common::rights::reload_says;
use crate::common::{Origin, Raw, Scratch, Weir, eventually};

#[test]
fn guard_2_only_trusted_peers_are_believed() {
    let scratch = Scratch::new();
    let file = scratch.file("guard.conf", "trust 10.0.0.0/8\nban 203.0.113.0/24\n");
    let weir = Weir::start(&["--guard", &file]);
    let origin = Origin::ok();
    assert_eq!(ask(&mut weir.connect(), &origin, "203.0.113.1", "GET", "/", "").0, 200);
    let line = weir.wait_for_log(|line| line.contains(" 200 "));
    assert!(line.contains("127.0.0.1"), "{line}");
}

#[test]
fn guard_2_the_address_found_is_that_of_log_and_acl() {
    let guarded = Guarded::with_options("", &["--allow-client", "192.0.2.0/24"]);
    assert_eq!(guarded.get("192.0.2.1", "/").0, 200);
    assert_eq!(guarded.get("198.51.100.1", "/").0, 403);
    let line = guarded.weir.wait_for_log(|line| line.contains(" 200 "));
    assert!(line.contains("192.0.2.1"), "{line}");
    let line = guarded.weir.wait_for_log(|line| line.contains(" 403 "));
    assert!(line.contains("198.51.100.1"), "{line}");
}

/// Connections of a balancer are those of many clients, before the header of each has arrived and where it names no client.
#[test]
fn ours_2_connections_of_a_trusted_proxy_are_not_those_of_one_client() {
    let guarded = Guarded::with_options("", &["--proxy-protocol", "--max-per-client", "2"]);
    let mut raws: [Raw; 11] = std::array::from_fn(|_| guarded.weir.connect());
    let mut statuses = Vec::new();
    for (row, raw) in raws.iter_mut().enumerate() {
        let header = match row {
            0..4 => format!("PROXY TCP4 192.0.2.{row} 192.0.2.200 40000 3128\r\n"),
            4..8 => "PROXY UNKNOWN\r\n".to_owned(),
            _ => "PROXY TCP4 192.0.2.77 192.0.2.200 40000 3128\r\n".to_owned(),
        };
        raw.send(header);
        raw.send_if_open(guarded.origin.get("/"));
        statuses.push(raw.read_response().status());
    }
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 429]);
}

/// A tunnel makes the connection of a proxy that of one client, which may have some only.
#[test]
fn ours_2_tunnels_behind_a_trusted_proxy_are_those_of_their_clients() {
    let guarded = Guarded::with_options("", &["--max-per-client", "2", "--connect-ports", "any"]);
    let mut tunnels: [Raw; 4] = std::array::from_fn(|_| guarded.weir.connect());
    let to = guarded.origin.address();
    let mut statuses = Vec::new();
    for (raw, client) in tunnels.iter_mut().zip(["192.0.2.9", "192.0.2.9", "192.0.2.9", "192.0.2.10"]) {
        raw.send(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\nX-Forwarded-For: {client}\r\n\r\n"));
        statuses.push(raw.read_response_to("CONNECT").status());
    }
    assert_eq!(statuses, [200, 200, 429, 200]);
}

/// A proxy that names clients in a field keeps connections for all of them. A reload may trust it, or no longer do so.
#[test]
fn guard_2_kept_connections_of_a_trusted_proxy_are_not_those_of_one_client() {
    let scratch = Scratch::new();
    let file = scratch.file("guard.conf", "trust 127.0.0.0/8\n");
    let weir = Weir::start(&["--guard", &file, "--max-per-client", "2"]);
    let origin = Origin::ok();
    let mut kept: Vec<Raw> = (0..4).map(|_| weir.connect()).collect();
    for raw in &mut kept {
        assert_eq!(ask(raw, &origin, "192.0.2.1", "GET", "/", "").0, 200);
    }
    scratch.file("guard.conf", "trust 192.0.2.200\n");
    reload_says(&weir, &["reloaded"]);
    assert_eq!(ask(&mut weir.connect(), &origin, "192.0.2.1", "GET", "/", "").0, 429);
    kept.truncate(1);
    eventually("the others are gone", || {
        (ask(&mut weir.connect(), &origin, "192.0.2.1", "GET", "/", "").0 == 200).then_some(())
    });
}

#[test]
fn ours_2_the_address_of_a_proxy_header_replaces_the_peer() {
    let guarded = Guarded::with_options("ban 203.0.113.0/24", &["--proxy-protocol"]);
    for (client, status) in [("203.0.113.5", 403), ("192.0.2.5", 200)] {
        let mut raw = guarded.weir.connect();
        raw.send(format!("PROXY TCP4 {client} 192.0.2.200 40000 3128\r\n"));
        // The header counts for the connection, once. The peer that is seen then is the client, which is not trusted.
        for _ in 0..2 {
            assert_eq!(ask(&mut raw, &guarded.origin, "192.0.2.77", "GET", "/", "").0, status);
        }
    }
    let line = guarded.weir.wait_for_log(|line| line.contains(" 200 "));
    assert!(line.contains("192.0.2.5"), "{line}");
    let mut raw = guarded.weir.connect();
    raw.send(guarded.origin.get("/"));
    assert_eq!(raw.read_response().status(), 400);
    guarded.weir.wait_for_log(|line| line.contains("proxy_header"));
}
