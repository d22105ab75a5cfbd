//! Exchanges through the engine without sockets: what weir itself costs, beside the system.

use divan::{AllocProfiler, Bencher, black_box};
use std::net::SocketAddr;
use std::sync::Arc;
use weir::engine::{Action, Engine, Event, PeerId, Settings};
use weir::policy::Policy;
use weir::policy::acl::{AclBuilder, ListKind};
use weir::policy::edit::Edits;
use weir::resolver::{self, Hosts, Resolver};
use weir::time::Now;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

const REQUEST: &[u8] =
    b"GET http://192.0.2.1/index.html HTTP/1.1\r\nHost: 192.0.2.1\r\nUser-Agent: bench/1\r\n\
    Accept: */*\r\nAccept-Encoding: gzip\r\n\r\n";

fn response(body: usize) -> Vec<u8> {
    let mut response = format!(
        "HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Sat, 21 Nov 2026 10:00:00 GMT\r\nContent-Type: text/plain\r\n\
         Content-Length: {body}\r\n\r\n"
    )
    .into_bytes();
    response.resize(response.len() + body, b'x');
    response
}

/// A shell that moves bytes by copying them.
struct Shell {
    engine: Engine,
    now: Now,
    client: PeerId,
    origin: Option<PeerId>,
    to_origin: usize,
    to_client: usize,
}

impl Shell {
    fn new() -> Shell {
        let mut builder = AclBuilder::new(1);
        builder.add_list(ListKind::Block, "blocklist", b"ads.example\n*.tracker.example\n198.51.100.0/24\n");
        let acl = builder.build().expect("valid rules");
        let policy = Policy { acl, users: None, edits: Edits::default(), quiet_refusals: false };
        let resolver = Resolver::new(resolver::Settings::default(), Hosts::default(), [1, 2]);
        let mut engine = Engine::new(Settings::default(), Arc::new(policy), resolver);
        let now = Now { monotonic_us: 1, unix_us: 1_800_000_000_000_000 };
        let client = engine.accept(now, SocketAddr::from(([127, 0, 0, 1], 4711)));
        Shell { engine, now, client, origin: None, to_origin: 0, to_client: 0 }
    }

    fn receive(&mut self, peer: PeerId, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let Some(mut space) = self.engine.space(peer) else {
                self.drain();
                continue;
            };
            let count = space.fill(bytes);
            bytes = &bytes[count..];
            self.engine.handle(self.now, peer, Event::Received(count));
        }
        self.drain();
    }

    /// Sends whatever there is to send, and carries out the actions.
    fn drain(&mut self) {
        loop {
            while let Some(action) = self.engine.next_action() {
                match action {
                    Action::Connect { peer, .. } => {
                        self.origin = Some(peer);
                        self.engine.handle(self.now, peer, Event::Connected);
                    }
                    Action::Log(entry) => self.engine.recycle(entry),
                    Action::ShutdownWrite(_) | Action::Close(_) | Action::Reset(_) => {}
                    Action::Resolver(_) | Action::Verify { .. } => {}
                }
            }
            let Some(peer) = self.engine.next_runnable() else { return };
            let count = self.engine.to_send(peer).iter().map(|slice| black_box(slice).len()).sum();
            if count > 0 {
                *if peer == self.client { &mut self.to_client } else { &mut self.to_origin } += count;
                self.engine.handle(self.now, peer, Event::Sent(count));
            }
        }
    }

    fn exchange(&mut self, response: &[u8]) {
        self.receive(self.client, REQUEST);
        let origin = self.origin.expect("an origin was dialled");
        self.receive(origin, response);
    }
}

/// One keep-alive exchange: head in, head out, response in, response out, log entry.
#[divan::bench(args = [0, 1024, 65_536])]
fn exchange(bencher: Bencher, body: usize) {
    let mut shell = Shell::new();
    let response = response(body);
    for _ in 0..100 {
        shell.exchange(&response);
    }
    assert!(shell.to_origin > 10_000 && shell.to_client > 100 * body);
    bencher.bench_local(|| shell.exchange(&response));
    assert_eq!(shell.engine.metrics().blocks_lent, 0, "at rest nothing is lent");
}

/// The same with the request in pieces of 16 bytes.
#[divan::bench]
fn exchange_in_pieces(bencher: Bencher) {
    let mut shell = Shell::new();
    let response = response(1024);
    shell.exchange(&response);
    bencher.bench_local(|| {
        for piece in REQUEST.chunks(16) {
            shell.receive(shell.client, piece);
        }
        let origin = shell.origin.expect("an origin was dialled");
        shell.receive(origin, &response);
    });
}

/// A refusal by rule, page and log entry included.
#[divan::bench]
fn refusal(bencher: Bencher) {
    let mut shell = Shell::new();
    let request = b"GET http://ads.example/ HTTP/1.1\r\nHost: ads.example\r\n\r\n";
    bencher.bench_local(|| shell.receive(shell.client, request));
}

/// 64 KB through an established tunnel, one 4 KB block at a time.
#[divan::bench]
fn tunnel_64k(bencher: Bencher) {
    let mut shell = Shell::new();
    shell.receive(shell.client, b"CONNECT 192.0.2.1:443 HTTP/1.1\r\nHost: 192.0.2.1:443\r\n\r\n");
    let bytes = vec![b'x'; 65_536];
    bencher.bench_local(|| shell.receive(shell.client, &bytes));
}
