//! The address of the client: trusted proxies, the PROXY protocol, and the uses of the address.

use super::{Guarded, ask};
use crate::common::{Origin, Scratch, Weir};

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
