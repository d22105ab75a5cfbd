//! Several upstreams: turns, failures, checks, drains.

use super::common::dns::{Answer, FakeDns};
use super::common::origin::refusing_port;
use super::common::{Conn, Origin, eventually};
use super::{Gateway, named};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// An origin that answers checks and requests as the flag says: with 200, or with 503.
fn moody() -> (Origin, Arc<AtomicBool>) {
    let well = Arc::new(AtomicBool::new(true));
    let is_well = Arc::clone(&well);
    let origin = Origin::serve(move |conn: &mut Conn| {
        while conn.request()?.is_some() {
            let status = if is_well.load(SeqCst) { "200 OK" } else { "503 Ill" };
            conn.send(format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\nmoody"))?;
        }
        Ok(())
    });
    (origin, well)
}

/// An origin that reads a request and closes without an answer.
fn closing() -> Origin {
    Origin::serve(|conn: &mut Conn| {
        conn.request()?;
        Err(io::ErrorKind::ConnectionReset.into())
    })
}

#[test]
fn gateway_14_upstreams_take_turns() {
    let (a, b) = (named("a"), named("b"));
    let gateway = Gateway::start(&format!("*/ -> {} {} weight 2\n", a.address(), b.address()));
    let answers: String = (0..6).map(|_| gateway.get("x", "/").text()).collect();
    assert_eq!((answers.matches('a').count(), answers.matches('b').count()), (2, 4), "{answers}");
    let hashed = Gateway::start(&format!("*/ -> {} {} hash-client\n", a.address(), b.address()));
    let answers: String = (0..6).map(|_| hashed.get("x", "/").text()).collect();
    assert!(answers == "aaaaaa" || answers == "bbbbbb", "{answers}");
}

#[test]
#[cfg_attr(not(feature = "admin"), ignore = "needs the feature admin")]
fn gateway_14_an_upstream_that_is_gone_is_passed_over() {
    let (gone, b) = (refusing_port(), named("b"));
    let gateway = Gateway::start(&format!("*/ -> 127.0.0.1:{gone} {} host rewrite\n", b.address()));
    // Nothing was sent to the one that is gone, so that a POST may go to the other one, too.
    for request in
        ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"]
    {
        for _ in 0..4 {
            assert_eq!(gateway.ask(request).text(), "b", "{request}");
        }
    }
    assert!(b.heads().iter().all(|head| head.get("host") == Some(&*b.address().to_string())));
    assert!(gateway.row(&format!(":{gone}")).contains("down for"));
    gateway.weir.wait_for_error(|line| line.contains("is marked down"));
    assert!(gateway.weir.statistics().get("gateway_retries") >= 3);
}

/// A client that waits for a 100 for ever, and sends no body, does not make a server that ignores Expect look dead.
#[test]
fn gateway_14_clients_that_wait_for_a_100_mark_no_upstream_down() {
    let patient = Origin::serve(|conn: &mut Conn| {
        while let Some(request) = conn.request()? {
            let name = if request.body.bytes.is_empty() { "patient" } else { "body" };
            conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len()))?;
        }
        Ok(())
    });
    let backup = named("backup");
    let (one, other) = (patient.address(), backup.address());
    let lines = format!("*/ -> {one} {other} backup down-after 1 in 10s for 10s\n");
    let gateway = Gateway::with_options(&lines, &["--timeout", "1"]);
    let waits = "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(gateway.ask(waits).status(), 504);
    assert_eq!(gateway.get("x", "/").text(), "patient");
}

/// The head that was written for the first upstream does not suit one that speaks HTTP/1.0.
#[test]
fn gateway_14_an_old_server_gets_neither_chunks_nor_expect_in_place_of_another() {
    let old = Origin::serve(|conn: &mut Conn| {
        while let Some(request) = conn.request()? {
            assert!(!request.head.has("expect") && !request.head.has("transfer-encoding"), "{request:?}");
            conn.send("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold")?;
        }
        Ok(())
    });
    let (gone, address) = (refusing_port(), old.address());
    let lines =
        format!("old.example/ -> {address}\n*/ -> 127.0.0.1:{gone} {address} backup down-after never\n");
    let gateway = Gateway::start(&lines);
    assert_eq!(gateway.get("old.example", "/").text(), "old");
    let mut client = gateway.weir.connect();
    client.send("PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(client.read_head().start, "HTTP/1.1 100 Continue");
    client.send("hello");
    assert_eq!(client.read_response().text(), "old");
    let chunked = "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    assert_eq!(gateway.ask(chunked).status(), 411);
}

#[test]
fn gateway_14_only_what_is_idempotent_is_sent_again() {
    let (bad, good) = (closing(), named("good"));
    let gateway = Gateway::start(&format!(
        "*/ -> {} {} backup down-after never\nx.example/lone -> {} down-after never retries 3\n",
        bad.address(),
        good.address(),
        bad.address()
    ));
    for request in
        ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"]
    {
        assert_eq!(gateway.ask(request).text(), "good", "{request}");
    }
    let (seen_bad, seen_good) = (bad.heads().len(), good.heads().len());
    assert_eq!(gateway.ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc").status(), 502);
    assert_eq!((bad.heads().len(), good.heads().len()), (seen_bad + 1, seen_good));
    // There is no other one.
    assert_eq!(gateway.get("x.example", "/lone").status(), 502);
}

/// Checks look names up as requests do: at the name servers of --dns, also when the first answer has no address.
#[test]
fn gateway_14_checks_use_the_resolver_of_weir() {
    let origin = Origin::ok();
    let dns = FakeDns::start(&[("up.test", Answer::short(0, &["127.0.0.1"]))]);
    let lines = format!(
        "*/ -> up.test:{} health GET /healthz every 50ms slow-start off\n\
         */none/ -> none.test:1 health GET /healthz every 50ms\n",
        origin.port()
    );
    let mut gateway = Gateway::with_options(&lines, &["--dns", &dns.address()]);
    eventually("two checks", || {
        let checks = origin.heads().into_iter().filter(|head| head.target() == "/healthz");
        (checks.count() >= 2).then_some(())
    });
    gateway.weir.wait_for_error(|line| line.contains("none.test:1 is not checked: its name has no address"));
    gateway.weir.signal(rustix::process::Signal::TERM);
    assert_eq!(gateway.weir.wait_exit().code(), Some(0));
}

/// A server that listens at one address of its name takes the requests, and is well.
#[test]
#[cfg_attr(not(feature = "admin"), ignore = "needs the feature admin")]
fn gateway_14_a_check_tries_all_addresses_of_a_name() {
    let origin = Origin::ok();
    // The first two refuse: nothing listens on that port there.
    let addresses = Answer::short(0, &["127.99.0.1", "127.99.0.2", "127.0.0.1"]);
    let dns = FakeDns::start(&[("up.test", addresses), ("none.test", Answer::short(0, &["127.99.0.1"]))]);
    let lines = format!(
        "*/ -> up.test:{0} health GET /healthz every 50ms fall 1\n\
         */none/ -> none.test:{0} health GET /healthz every 50ms fall 1\n",
        origin.port()
    );
    let gateway = Gateway::with_options(&lines, &["--dns", &dns.address()]);
    eventually("two checks", || {
        let checks = origin.heads().into_iter().filter(|head| head.target() == "/healthz");
        (checks.count() >= 2).then_some(())
    });
    gateway.weir.wait_for_error(|line| line.contains("none.test") && line.contains("is unhealthy"));
    assert!(!gateway.row("up.test").contains("unhealthy"), "{}", gateway.row("up.test"));
    assert_eq!(gateway.get("x", "/").status(), 200);
}

/// A status marks an upstream down only where `fail-on` names it.
#[test]
#[cfg_attr(not(feature = "admin"), ignore = "needs the feature admin")]
fn gateway_14_statuses_mark_an_upstream_down_where_that_is_asked_for() {
    for (options, is_down) in [("fail-on connect,503", true), ("fail-on connect,504", false)] {
        let (moody, well) = moody();
        well.store(false, SeqCst);
        let gateway =
            Gateway::start(&format!("*/ -> {} down-after 2 in 1m for 1h {options}\n", moody.address()));
        let found = [(); 2].map(|()| gateway.get("x", "/").status());
        assert_eq!(found, [503; 2], "{options}");
        assert_eq!(gateway.row(&moody.address().to_string()).contains("down for"), is_down, "{options}");
    }
}

/// A response that is beyond the limits of weir is no failure of the upstream: the client has asked for it.
#[test]
fn gateway_14_responses_beyond_the_limits_mark_no_upstream_down() {
    let echo = |name: &'static str| {
        Origin::serve(move |conn: &mut Conn| {
            while let Some(request) = conn.request()? {
                let fields = match request.head.target() {
                    "/long" => format!("Location: {}\r\n", "a".repeat(70_000)),
                    "/many" => "A: b\r\n".repeat(1000),
                    "/early" => return conn.send("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100)),
                    _ => String::new(),
                };
                conn.send(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 1\r\n\r\n{name}"))?;
            }
            Ok(())
        })
    };
    let (first, backup) = (echo("a"), named("backup"));
    let (one, other) = (first.address(), backup.address());
    let gateway = Gateway::start(&format!("*/ -> {one} {other} backup down-after 1 in 10s for 1h\n"));
    for path in ["/long", "/many", "/early"] {
        assert_eq!(gateway.get("x", path).status(), 502, "{path}");
        assert_eq!(gateway.get("x", "/").text(), "a", "{path}");
    }
    assert!(backup.heads().is_empty());
}

/// Upstreams that answer no check, more of them than there are checks at the same time, keep no other one from being checked.
#[test]
fn gateway_14_checks_that_hang_delay_no_others() {
    let (mute, gone) = (super::common::origin::Mute::new(), super::common::origin::refusing_port());
    let check = "health GET / every 100ms fall 1 down-after never";
    let mut lines: String =
        (0..300).map(|at| format!("h{at}.example/ -> {} {check}\n", mute.address())).collect();
    lines += &format!("last.example/ -> 127.0.0.1:{gone} {check}\n");
    let gateway = Gateway::start(&lines);
    gateway.weir.wait_for_error(|line| line.contains("of last.example:80/ is unhealthy"));
}

/// A chunked body goes to the upstream of the route that takes it.
#[test]
fn gateway_14_an_upstream_of_http_1_0_gets_no_chunks_while_another_one_takes_them() {
    let old = Origin::closing("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let new = Origin::ok();
    let gateway = Gateway::start(&format!("*/ -> {} {}\n", old.address(), new.address()));
    // Now it is known.
    assert_eq!([(); 2].map(|()| gateway.get("x", "/").status()), [200; 2]);
    let put = "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    assert_eq!([(); 4].map(|()| gateway.ask(put).status()), [200; 4]);
    assert_eq!(new.heads().iter().filter(|head| head.method() == "PUT").count(), 4);
}

/// A server whose tunnels work has come back, and one failure of it is one.
#[test]
#[cfg_attr(not(feature = "admin"), ignore = "needs the feature admin")]
fn gateway_14_an_upgrade_ends_the_trial_of_an_upstream() {
    let origin = Origin::serve(|conn: &mut Conn| {
        let head = conn.head()?;
        match head.target() {
            "/bad" => conn
                .send("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
            _ => conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
        }
    });
    let address = origin.address().to_string();
    let gateway =
        Gateway::start(&format!("*/ -> {address} down-after 2 in 1m for 100ms fail-on 503 slow-start off\n"));
    let is_down = || gateway.row(&address).contains("down for");
    assert_eq!([(); 2].map(|()| gateway.get("x", "/bad").status()), [503; 2]);
    eventually("its time is over", || (!is_down()).then_some(()));
    let upgrade = "GET /up HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    let mut client = gateway.weir.connect();
    client.send(upgrade);
    assert_eq!(client.read_head().status(), 101);
    assert_eq!(gateway.get("x", "/bad").status(), 503);
    assert!(!is_down(), "{}", gateway.row(&address));
}

/// A server that sends 103 before its response is well, and one whose status is not in the list is not.
#[test]
#[cfg_attr(not(feature = "admin"), ignore = "needs the feature admin")]
fn gateway_14_the_final_status_of_a_check_decides() {
    let hinting = Origin::serve(|conn: &mut Conn| {
        while conn.request()?.is_some() {
            conn.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")?;
        }
        Ok(())
    });
    let check = "health GET /healthz every 50ms rise 2 fall 2 status";
    let gateway = Gateway::start(&format!(
        "a.example/ -> {} {check} 200-299\nb.example/ -> {} {check} 200\n",
        hinting.address(),
        hinting.address()
    ));
    let row = |name: &str| gateway.row(&format!("{name}.example:80/"));
    eventually("one is unhealthy", || row("b").contains("unhealthy").then_some(()));
    gateway.weir.wait_for_error(|line| line.contains("status 204"));
    assert!(!row("a").contains("unhealthy"), "{}", row("a"));
}

#[test]
#[cfg_attr(not(feature = "admin"), ignore = "needs the feature admin")]
fn gateway_14_checks_take_an_upstream_out_and_bring_it_back() {
    let (moody, well) = moody();
    let gateway =
        Gateway::start(&format!("*/ -> {} health GET /healthz every 50ms slow-start off\n", moody.address()));
    let state = |wanted: &str| gateway.row(&moody.address().to_string()).contains(wanted);
    assert_eq!(gateway.get("x", "/").status(), 200);
    well.store(false, SeqCst);
    eventually("it is unhealthy", || state("unhealthy").then_some(()));
    let refusal = gateway.get("x", "/");
    assert_eq!((refusal.status(), refusal.head.get("retry-after")), (503, Some("1")));
    gateway.weir.wait_for_log(|line| line.contains("reason=no_upstream "));
    gateway.weir.wait_for_error(|line| line.contains("is unhealthy: status 503"));
    well.store(true, SeqCst);
    eventually("it is well", || (!state("unhealthy")).then_some(()));
    assert_eq!(gateway.get("x", "/").status(), 200);
    let checks = moody.heads().into_iter().find(|head| head.target() == "/healthz").expect("a check");
    assert_eq!(checks.get("host"), Some(&*moody.address().to_string()));
}

#[test]
#[cfg_attr(not(feature = "admin"), ignore = "needs the feature admin")]
fn gateway_14_one_that_comes_back_starts_slowly() {
    let ((moody, well), b) = (moody(), named("b"));
    let lines = format!("*/ -> {} {} health GET / every 50ms slow-start 1h\n", moody.address(), b.address());
    let gateway = Gateway::start(&lines);
    let state = |wanted: &str| gateway.row(&moody.address().to_string()).contains(wanted);
    well.store(false, SeqCst);
    eventually("it is unhealthy", || state("unhealthy").then_some(()));
    assert!((0..6).all(|_| gateway.get("x", "/").text() == "b"));
    well.store(true, SeqCst);
    eventually("it starts slowly", || state("starting slowly (25 %)").then_some(()));
    let answers: Vec<String> = (0..20).map(|_| gateway.get("x", "/").text()).collect();
    assert_eq!(answers.iter().filter(|text| *text == "moody").count(), 4, "{answers:?}");
}

#[test]
#[cfg_attr(not(feature = "admin"), ignore = "needs the feature admin")]
fn gateway_14_an_operator_drains_an_upstream() {
    let (a, b) = (named("a"), named("b"));
    let lines = format!("*/ -> {} {}\n", a.address(), b.address());
    let gateway = Gateway::start(&lines);
    let address = a.address().to_string();
    let drained = gateway.ctl(&["drain-upstream", &address]);
    assert_eq!((drained.code, drained.out.contains("is drained")), (0, true), "{drained:?}");
    assert!((0..4).all(|_| gateway.get("x", "/").text() == "b"));
    // A drain outlives a reload.
    gateway.reload(&format!("# changed\n{lines}"));
    assert!((0..4).all(|_| gateway.get("x", "/").text() == "b"));
    assert!(gateway.row(&address).contains("drained"));
    assert_eq!(gateway.ctl(&["enable-upstream", &address]).code, 0);
    let answers: String = (0..10).map(|_| gateway.get("x", "/").text()).collect();
    assert!(answers.contains('a'), "{answers}");
    assert_eq!(gateway.ctl(&["drain-upstream", "127.0.0.1:1"]).code, 1);
    assert_eq!(gateway.ctl(&["drain-upstream"]).code, 64);
    let json = gateway.ctl(&["upstreams", "--json"]);
    assert!(json.out.starts_with("[{\"route\":\"*/\",\"upstream\":"), "{json:?}");
    for number in ["weight", "in_flight", "requests", "failures", "checks_failed", "marked_down"] {
        let value = json.out.split(&format!("\"{number}\":")).nth(1).unwrap_or_default();
        assert!(value.starts_with(|c: char| c.is_ascii_digit()), "{number}: {json:?}");
    }
}
