//! Memory that many connections needed is freed when they are gone, and requests that find none are answered: the engine driven without
//! sockets.

mod shell;

use shell::{Shell, status};
use std::sync::Arc;
use weir::cache::body::Body;
use weir::cache::fill::streaming_body::StreamingBody;
use weir::cache::store::memory_budget::MemoryBudget;
use weir::engine::transaction::log_record::Verdict;
use weir::engine::{Event, PeerId, Settings, SocketError};

fn client_limits(shell: &mut Shell) -> Vec<PeerId> {
    (0..5000).map(|_| shell.client()).collect()
}

#[test]
fn tables_shrink_when_most_are_gone() {
    let mut shell = Shell::new();
    assert!(!shell.engine.may_shrink());
    let mut clients = client_limits(&mut shell);
    assert!(!shell.engine.may_shrink(), "all of it is needed");
    let last = clients.pop().expect("a client");
    clients.into_iter().for_each(|client| shell.event(client, Event::EndOfStream));
    assert!(shell.engine.may_shrink());
    assert!(!shell.engine.shrink(), "it was needed a moment ago");
    assert!(shell.engine.shrink());
    assert!(!shell.engine.may_shrink(), "the remaining connections keep the table as it is");
    shell.event(last, Event::EndOfStream);
    assert!(shell.engine.may_shrink() && shell.engine.shrink() && !shell.engine.may_shrink());
    assert!(shell.closed.len() == 5000 && shell.engine.is_empty());
}

#[test]
fn a_table_that_has_shrunk_may_do_so_again() {
    let mut shell = Shell::new();
    for _ in 0..2 {
        let clients = client_limits(&mut shell);
        clients.into_iter().for_each(|client| shell.event(client, Event::EndOfStream));
        assert!(shell.engine.may_shrink() && !shell.engine.shrink() && shell.engine.shrink());
        assert!(!shell.engine.may_shrink());
    }
}

/// New requests wait while memory is scarce, each of them gets its turn afterwards, and what has begun goes on.
#[test]
fn requests_wait_while_memory_is_scarce() {
    let request = b"GET http://192.0.2.1/ HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n";
    let mut shell = Shell::new();
    let begun = shell.client_with(request);
    let (origin, _) = shell.establish(0);
    let waiting = [shell.client(), shell.client()];
    shell.engine.set_scarce(true);
    shell.engine.set_scarce(true);
    for client in waiting {
        assert_eq!(shell.offer(client, request), 0);
    }
    shell.receive(origin, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert!(shell.send(begun).ends_with("\r\n\r\nok"));
    while shell.engine.next_runnable().is_some() {}
    shell.engine.set_scarce(false);
    for client in waiting {
        assert_eq!(shell.engine.next_runnable(), Some(client));
        assert_eq!(shell.offer(client, request), request.len());
    }
    let counted = shell.engine.metrics();
    assert_eq!((counted.limit_memory_clients, counted.requests), (1, 3));
}

/// Idle upstream connections that are closed for want of memory are counted as such.
#[test]
fn idle_origins_go_when_memory_is_scarce() {
    let mut shell = Shell::new();
    let client = shell.client_with("GET http://192.0.2.1/ HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n");
    let (origin, _) = shell.establish(0);
    shell.receive(origin, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert!(shell.send(client).ends_with("ok"));
    assert_eq!(shell.engine.metrics().origins_idle, 1);
    shell.engine.shed_upstreams();
    shell.engine.shed_upstreams();
    shell.act();
    let counted = shell.engine.metrics();
    assert_eq!((counted.origins_idle, counted.limit_memory_origins, counted.origins_shed), (0, 1, 1));
    assert_eq!(shell.engine.shed_cache(shell.now, 1 << 20), 0, "there is none");
}

/// A large body of which little has come: it takes one page of its own, if it has any.
#[cfg(target_os = "linux")]
fn large(memory: &Arc<MemoryBudget>) -> Body {
    let mut growing = StreamingBody::new(memory, Some(40_000));
    growing.space()[0] = 1;
    growing.commit(1);
    growing.finish().expect("a whole body")
}

/// A process may have so many mappings and no more: with too many of them pages could not even be given back.
#[cfg(target_os = "linux")]
#[test]
fn a_large_cache_with_holes_leaves_mappings_for_everybody() {
    let number = |path: &str| std::fs::read_to_string(path).expect("what the system tells");
    let most: usize = number("/proc/sys/vm/max_map_count").trim().parse().expect("a number");
    let memory = Arc::new(MemoryBudget::default());
    let mut bodies: Vec<Option<Body>> = (0..90_000).map(|_| Some(large(&memory))).collect();
    bodies.iter_mut().step_by(2).for_each(|body| *body = None);
    let mappings = number("/proc/self/maps").lines().count();
    assert!(mappings <= most.min(65_530) * 6 / 10, "{mappings} of {most}");
    drop(bodies);
    assert_eq!(memory.bytes(), 0);
}

/// Starts downloads without readers until a new request finds no block, and returns the client that waits.
fn exhaust(shell: &mut Shell) -> PeerId {
    let response = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(8000));
    for _ in 0..100 {
        let client = shell.client();
        if shell.offer(client, b"GET http://127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n") == 0 {
            return client;
        }
        let (origin, _) = shell.establish(shell.connects.len() - 1);
        shell.offer(origin, response.as_bytes());
    }
    panic!("the pool is not exhausted: {:?}", shell.engine.metrics());
}

/// A request that there is no memory for is told so, and leaves its line in the log.
#[test]
fn request_without_a_block_is_answered_in_the_end() {
    let settings = Settings { blocks_max: 16, ..Settings::default() };
    let head_ms = settings.timeouts.head_ms;
    let mut shell = Shell::with(settings, None, "");
    let waiting = exhaust(&mut shell);
    shell.pass(head_ms + 1000);
    assert_eq!(status(&shell.send(waiting)), 503);
    let record = shell.record();
    assert_eq!((record.status, record.verdict), (503, Verdict::Refused));
    assert!(shell.is_ended(waiting));
}

/// The same if there is memory at last, but its turn has not come yet.
#[test]
fn request_that_was_woken_too_late_is_answered_too() {
    let settings = Settings { blocks_max: 16, ..Settings::default() };
    let (head_ms, mut shell) = (settings.timeouts.head_ms, Shell::with(settings, None, ""));
    let waiting = exhaust(&mut shell);
    shell.pass(head_ms - 500);
    let first = shell.engine.connection_at(0).expect("a connection");
    shell.event(first, Event::Failed(SocketError::Reset));
    shell.pass(1500);
    assert_eq!(status(&shell.send(waiting)), 503);
}
