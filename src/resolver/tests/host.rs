//! Names that the program around the resolver is asked for.

use super::*;

fn await_host(net: &mut Network, text: &str) -> LookUpId {
    let look_up = net.resolver.await_host(net.now(), &name(text));
    net.drain();
    let LookUp::Pending(id) = look_up else { panic!("{look_up:?}") };
    id
}

/// The outcomes since the last call.
fn done(net: &mut Network) -> Vec<(LookUpId, Outcome)> {
    net.drain();
    net.done.drain(..).map(|(_, id, outcome)| (id, outcome)).collect()
}

#[test]
fn what_the_host_says_ends_the_wait_of_all() {
    let mut net = Network::new(&[Server::Answers(MS)], |_| {});
    for outcome in [addresses(&["192.0.2.1"]), failed(Failure::NotFound)] {
        let id = await_host(&mut net, "www.example");
        assert_eq!(await_host(&mut net, "www.example"), id);
        // A look-up that would have queried the servers joins, too.
        assert_eq!(net.look_up("www.example"), LookUp::Pending(id));
        assert!(net.take_sent().is_empty());
        let now = net.now();
        net.resolver.tell(now, &name("other.example"), failed(Failure::NotFound));
        net.resolver.tell(now, &name("www.example"), outcome.clone());
        net.resolver.tell(now, &name("www.example"), failed(Failure::ServerFailure));
        assert_eq!(done(&mut net), [(id, outcome)]);
        assert_eq!(net.resolver.in_flight(), 0);
        assert_eq!(net.resolver.valid_until_us(&name("www.example")), 0);
    }
}

#[test]
fn the_host_may_leave_a_name_to_the_servers() {
    let mut net = Network::new(&[Server::Answers(MS)], |_| {});
    let id = await_host(&mut net, "four.example");
    let now = net.now();
    net.resolver.ask_servers(now, &name("four.example"));
    net.drain();
    assert_eq!(net.take_sent().len(), 2);
    // The answers of the host program have no effect any more.
    net.resolver.tell(now, &name("four.example"), failed(Failure::NotFound));
    net.resolver.ask_servers(now, &name("four.example"));
    net.settle();
    assert_eq!(done(&mut net), [(id, addresses(&["192.0.2.4"]))]);
    // Hosts file and cache need no server.
    for (text, outcome) in
        [("in.hosts", addresses(&["192.0.2.77"])), ("four.example", addresses(&["192.0.2.4"]))]
    {
        let id = await_host(&mut net, text);
        let now = net.now();
        net.resolver.ask_servers(now, &name(text));
        assert_eq!(done(&mut net), [(id, outcome)]);
    }
    assert!(net.take_sent().is_empty());
}

/// A request for which the host program was asked joins a look-up for which servers are queried: the first answer ends both.
#[test]
fn what_the_host_says_ends_a_look_up_of_servers_that_it_was_asked_for() {
    let mut net = Network::new(&[Server::Silent], |_| {});
    let LookUp::Pending(id) = net.look_up("www.example") else { panic!("servers are to be queried") };
    let told = addresses(&["192.0.2.1"]);
    let now = net.now();
    net.resolver.tell(now, &name("www.example"), told.clone());
    assert!(done(&mut net).is_empty(), "the host was not asked");
    assert_eq!(await_host(&mut net, "www.example"), id);
    net.resolver.tell(now, &name("www.example"), told.clone());
    assert_eq!(done(&mut net), [(id, told)]);
    assert!(net.resolver.in_flight() == 0 && net.open.is_empty());

    // Left to the servers, which are not queried again.
    let LookUp::Pending(id) = net.look_up("www.example") else { panic!("servers are to be queried") };
    assert_eq!(await_host(&mut net, "www.example"), id);
    net.take_sent();
    net.resolver.ask_servers(now, &name("www.example"));
    net.resolver.tell(now, &name("www.example"), failed(Failure::NotFound));
    assert!(done(&mut net).is_empty() && net.take_sent().is_empty());
}

#[test]
fn a_host_that_says_nothing_has_half_a_minute() {
    let mut net = Network::new(&[Server::Answers(MS)], |_| {});
    let id = await_host(&mut net, "www.example");
    net.resolver.reconfigure(Settings::default(), Hosts::default());
    net.now_us += 30 * S - 1;
    net.resolver.handle_timeout(net.now());
    assert!(done(&mut net).is_empty());
    net.now_us += 1;
    assert_eq!(net.resolver.next_timeout_us(), Some(net.now_us));
    net.resolver.handle_timeout(net.now());
    assert_eq!(done(&mut net), [(id, failed(Failure::Timeout))]);
    assert!(net.take_sent().is_empty() && net.resolver.in_flight() == 0);
}

#[test]
fn clients_that_go_end_the_wait() {
    let mut net = Network::new(&[Server::Answers(MS)], |settings| settings.look_ups_max = 1);
    let id = await_host(&mut net, "www.example");
    assert_eq!(net.resolver.await_host(net.now(), &name("other.example")), LookUp::Full);
    await_host(&mut net, "www.example");
    net.resolver.cancel(id);
    assert_eq!(net.resolver.in_flight(), 1);
    net.resolver.cancel(id);
    assert_eq!(net.resolver.in_flight(), 0);
    let now = net.now();
    net.resolver.tell(now, &name("www.example"), failed(Failure::NotFound));
    assert!(done(&mut net).is_empty());
}
