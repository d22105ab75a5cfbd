//! The engine without sockets: a shell that copies bytes, and the exchanges that are counted and timed through it.
//!
//! Shared by `benches/engine.rs` (time), `benches/instructions.rs` (instructions) and `tests/allocations.rs`.

#![allow(dead_code, reason = "each bench uses a part of it")]

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use weir::cache::store::{Limits, Store};
use weir::engine::transaction::log_record::TextSet;
use weir::engine::{Action, CacheSettings, Engine, Event, ListenerId, PeerId, Settings};
use weir::log::format::Format;
use weir::policy::Policy;
use weir::policy::acl::{AclBuilder, ListKind};
use weir::policy::auth::Users;
use weir::policy::edit::{Direction, Edits};
use weir::resolver::{self, Hosts, Resolver};
use weir::time::Now;

/// Time that passes with every run, in microseconds: timers come due now and then.
const RUN_US: u64 = 1000;

/// A step of one side.
pub enum Step {
    Client(Vec<u8>),
    Origin(Vec<u8>),
    ClientEnds,
    OriginEnds,
}

/// One way to use the proxy, over and over.
pub struct Case {
    pub name: &'static str,
    pub shell: Shell,
    pub steps: Vec<Step>,
    /// Of the log record that each run writes.
    pub status: u16,
    /// Most allocations of one run in the steady state.
    pub allocations_max: u64,
}

impl Case {
    pub fn run(&mut self) {
        self.shell.run(&self.steps);
    }

    /// The steady state: queues have their size, entries and connections are reused.
    #[must_use]
    pub fn warm_up(mut self) -> Case {
        for _ in 0..300 {
            self.run();
        }
        assert_eq!(self.shell.records, 300, "{}: one log record for each run", self.name);
        assert_eq!(self.shell.status, self.status, "{}", self.name);
        let expected = self.steps.iter().any(|step| matches!(step, Step::Origin(_)));
        assert_eq!(expected, self.shell.to_origin > 0, "{}: what went to the origin", self.name);
        self
    }
}

/// An engine with one client and one origin at a time.
pub struct Shell {
    pub engine: Engine,
    now: Now,
    client: Option<PeerId>,
    origin: Option<PeerId>,
    pub to_origin: usize,
    pub to_client: usize,
    pub records: u64,
    pub status: u16,
}

impl Default for Shell {
    fn default() -> Shell {
        Shell::new(Edits::default(), None)
    }
}

impl Shell {
    pub fn new(edits: Edits, users: Option<Users>) -> Shell {
        Shell::with(Settings::default(), edits, users)
    }

    /// One with a cache, in which these steps have left something.
    pub fn caching(steps: &[Step]) -> Shell {
        let store = Arc::new(Store::new(Limits::with_budget(16 << 20, [1, 2])));
        let settings = Settings { cache: Some(CacheSettings::new(store)), ..Settings::default() };
        let mut shell = Shell::with(settings, Edits::default(), None);
        shell.run(steps);
        Shell { to_origin: 0, to_client: 0, records: 0, ..shell }
    }

    /// One with a guard file, where the build has the guard: clients behind a trusted proxy, bans, one limit, and a cloud.
    #[cfg(feature = "guard")]
    pub fn guarded() -> Shell {
        use weir::guard;
        use weir::guard::bans::{Ban, BanOrigin};
        use weir::guard::clouds::{self, Clouds, Provider};
        use weir::guard::rules::Guard;
        use weir::guard::state::{KEYS_MAX, State};

        let directives = guard::directives::parse(GUARD_FILE.as_bytes()).expect("a valid guard file");
        let ranges = clouds::parse(Provider::Aws, CLOUD).expect("ranges");
        let clouds = Clouds::new(vec![(Provider::Aws, Arc::new(ranges))]);
        let state = Arc::new(State::new([1, 2], KEYS_MAX, Box::new(|_| ())));
        let bans = directives.bans.iter().map(|line| {
            let (reason, origin) = (line.reason.clone(), BanOrigin::GuardFile);
            (line.network, Ban { until_unix_ms: None, reason, origin, line: line.place.line })
        });
        state.set(&directives, bans.collect(), 0);
        let guard = Guard::new(&directives, state, &clouds);
        let settings = Settings { guard: Some(Arc::new(guard)), ..Settings::default() };
        Shell::with(settings, Edits::default(), None)
    }

    fn with(settings: Settings, edits: Edits, users: Option<Users>) -> Shell {
        let mut builder = AclBuilder::new(1);
        builder.add_list(ListKind::Block, "blocklist", b"ads.example\n*.tracker.example\n198.51.100.0/24\n");
        let acl = builder.build().expect("valid rules");
        let policy = Policy {
            acl,
            users: users.map(Arc::new),
            edits,
            cache_rules: Default::default(),
            pages: Default::default(),
            quiet_refusals: false,
        };
        // The daemon's default: it records the texts for its log.
        let settings = Settings { noted: TextSet::of(Format::Weir.texts()), ..settings };
        let hosts = Hosts::parse(b"192.0.2.1 origin.example\n");
        let resolver = Resolver::new(resolver::Settings::default(), hosts, [1, 2]);
        Shell {
            engine: Engine::new(settings, Arc::new(policy), resolver),
            now: Now { monotonic_us: 1, unix_us: 1_800_000_000_000_000, common_us: 1 },
            client: None,
            origin: None,
            to_origin: 0,
            to_client: 0,
            records: 0,
            status: 0,
        }
    }

    pub fn run(&mut self, steps: &[Step]) {
        self.now.monotonic_us += RUN_US;
        self.now.unix_us += RUN_US;
        self.now.common_us += RUN_US;
        if self.engine.next_timeout_us().is_some_and(|due| due <= self.now.monotonic_us) {
            self.engine.handle_timeout(self.now);
            self.drain();
        }
        for step in steps {
            match step {
                Step::Client(bytes) => {
                    let client = self.client();
                    self.receive(client, bytes);
                }
                Step::Origin(bytes) => {
                    let origin = self.origin.expect("an origin was dialled");
                    self.receive(origin, bytes);
                }
                Step::ClientEnds => self.end(self.client),
                Step::OriginEnds => self.end(self.origin),
            }
        }
    }

    /// The client, or a new one if it is gone.
    fn client(&mut self) -> PeerId {
        let address = SocketAddr::from(([127, 0, 0, 1], 4711));
        let client =
            self.client.unwrap_or_else(|| self.engine.accept(self.now, ListenerId::default(), address));
        self.client = Some(client);
        client
    }

    fn end(&mut self, peer: Option<PeerId>) {
        // A closed connection cannot end again.
        let Some(peer) = peer else { return };
        self.engine.handle(self.now, peer, Event::EndOfStream);
        self.drain();
    }

    fn receive(&mut self, peer: PeerId, mut bytes: &[u8]) {
        let mut stalled = false;
        while !bytes.is_empty() {
            let Some(mut space) = self.engine.space(peer) else {
                assert!(!stalled, "not taken: {}", bytes.escape_ascii());
                stalled = true;
                self.drain();
                continue;
            };
            stalled = false;
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
                    Action::Log(record) => {
                        self.records += 1;
                        self.status = record.status;
                        self.engine.recycle(record);
                    }
                    Action::Close(peer)
                    | Action::CloseDelivered(peer)
                    | Action::Reset(peer)
                    | Action::ResetDelivered(peer) => {
                        self.client = self.client.filter(|client| *client != peer);
                        self.origin = self.origin.filter(|origin| *origin != peer);
                    }
                    Action::ShutdownWrite(_)
                    | Action::Resolver(_)
                    | Action::Verify { .. }
                    | Action::AskStore { .. }
                    | Action::AskValue { .. }
                    | Action::SendToLoops(_) => {}
                }
            }
            let Some(peer) = self.engine.next_runnable() else { return };
            // Repeated as the loop would: sent bytes may free capacity for more.
            loop {
                let count = self.engine.to_send(peer).iter().map(|slice| black_box(slice).len()).sum();
                if count == 0 {
                    break;
                }
                *(if Some(peer) == self.client { &mut self.to_client } else { &mut self.to_origin }) += count;
                self.engine.handle(self.now, peer, Event::Sent(count));
            }
        }
    }
}

const AGENT: &str = "User-Agent: bench/1\r\nAccept: */*\r\nAccept-Encoding: gzip\r\n";

/// A request in absolute-form.
pub fn request(method: &str, host: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("{method} http://{host}/index.html HTTP/1.1\r\nHost: {host}\r\n{AGENT}{fields}\r\n");
    [head.as_bytes(), body].concat()
}

/// A response.
pub fn response(status: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nServer: bench\r\nDate: Sat, 21 Nov 2026 10:00:00 GMT\r\nContent-Type: text/plain\r\n{fields}\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// 200 with a body of that size.
pub fn sized(bytes: usize) -> Vec<u8> {
    response("200 OK", &format!("Content-Length: {bytes}\r\n"), &vec![b'x'; bytes])
}

/// The response, fresh for a year.
fn cacheable(bytes: usize) -> Vec<u8> {
    let fields = format!("Cache-Control: max-age=31536000\r\nETag: \"1\"\r\nContent-Length: {bytes}\r\n");
    response("200 OK", &fields, &vec![b'x'; bytes])
}

/// Answers out of the cache, and one that is put there again and again.
fn caching_cases() -> Vec<Case> {
    use Step::{Client, Origin};
    let get = |fields| Client(request("GET", "192.0.2.1", fields, b""));
    // Without anything to validate it by.
    let plain =
        response("200 OK", "Cache-Control: max-age=31536000\r\nContent-Length: 1024\r\n", &[b'x'; 1024]);
    let other = Client(request("GET", "origin.example", "", b""));
    let private = response("200 OK", "Cache-Control: no-store\r\nContent-Length: 1024\r\n", &[b'x'; 1024]);
    let case = |name, status, allocations_max, bytes, steps| Case {
        name,
        shell: Shell::caching(&[get(""), Origin(cacheable(bytes))]),
        steps,
        status,
        allocations_max,
    };
    vec![
        case("hit 1k", 200, 0, 1024, vec![get("")]),
        case("hit 100k", 200, 0, 100_000, vec![get("")]),
        case("hit, condition", 304, 0, 1024, vec![get("If-None-Match: \"1\"\r\n")]),
        case("hit, range", 206, 0, 1024, vec![get("Range: bytes=10-19\r\n")]),
        case("not stored 1k", 200, 1, 1024, vec![other, Origin(private)]),
        case("stored 1k", 200, 13, 1024, vec![get("Cache-Control: no-cache\r\n"), Origin(plain)]),
    ]
}

fn pieces(bytes: &[u8], make: fn(Vec<u8>) -> Step) -> impl Iterator<Item = Step> {
    bytes.chunks(16).map(move |piece| make(piece.to_vec()))
}

fn edits() -> Edits {
    let mut edits = Edits::default();
    for direction in [Direction::Request, Direction::Response] {
        edits.parse_remove(direction, "User-Agent").expect("an edit");
        edits.parse_remove(direction, "Server").expect("an edit");
        edits.parse_add(direction, "X-Added: by the proxy").expect("an edit");
    }
    edits
}

fn users() -> Option<Users> {
    Some(Users::parse(b"alice:secret\n", 7).expect("users"))
}

/// The guard of the cases that have one. The limit is never reached.
const GUARD_FILE: &str = "trust 127.0.0.0/8\nban 203.0.113.0/24\nban 198.51.100.7\n\
                          limit 200/100ms per client\ncloud deny client aws\n";

/// Networks of a cloud.
const CLOUD: &[u8] = include_bytes!("../../tests/guard/clouds/aws-ip-ranges.json");

/// All of them.
pub fn cases() -> Vec<Case> {
    use Step::{Client, ClientEnds, Origin, OriginEnds};
    let case = |name, status, allocations_max, steps: Vec<Step>| Case {
        name,
        shell: Shell::default(),
        steps,
        status,
        allocations_max,
    };
    let get = || Client(request("GET", "192.0.2.1", "", b""));
    let kilobyte = vec![b'x'; 1024];
    let chunks = [b"400\r\n", &kilobyte[..], b"\r\n0\r\n\r\n"].concat();
    let trailers = [b"400\r\n", &kilobyte[..], b"\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n"].concat();
    let chunked = "Transfer-Encoding: chunked\r\n";
    let connect = || Client(b"CONNECT 192.0.2.1:443 HTTP/1.1\r\nHost: 192.0.2.1:443\r\n\r\n".to_vec());
    let origin_form = format!("GET /index.html HTTP/1.1\r\nHost: 192.0.2.1\r\n{AGENT}\r\n");
    let credentials = "Proxy-Authorization: Basic YWxpY2U6c2VjcmV0\r\n";
    let long = format!("X-Long: {}\r\n", "x".repeat(6000));
    let upgrade = "Connection: upgrade\r\nUpgrade: bench\r\n";
    #[cfg(feature = "guard")]
    let guarded = Case {
        shell: Shell::guarded(),
        ..case(
            "get 1k guarded",
            200,
            0,
            vec![
                Client(request("GET", "192.0.2.1", "X-Forwarded-For: 192.0.2.77\r\n", b"")),
                Origin(sized(1024)),
            ],
        )
    };
    let mut cases = vec![
        #[cfg(feature = "guard")]
        guarded,
        case("get 1k", 200, 0, vec![get(), Origin(sized(1024))]),
        case("get 64k", 200, 0, vec![get(), Origin(sized(65_536))]),
        case(
            "get 1k forwarded",
            200,
            0,
            vec![
                Client(request("GET", "192.0.2.1", "X-Forwarded-For: 192.0.2.77\r\n", b"")),
                Origin(sized(1024)),
            ],
        ),
        case(
            "head",
            200,
            0,
            vec![
                Client(request("HEAD", "192.0.2.1", "", b"")),
                Origin(response("200 OK", "Content-Length: 1024\r\n", b"")),
            ],
        ),
        case("not modified", 304, 0, vec![get(), Origin(response("304 Not Modified", "", b""))]),
        case(
            "post 1k",
            200,
            0,
            vec![
                Client(request("POST", "192.0.2.1", "Content-Length: 1024\r\n", &kilobyte)),
                Origin(sized(0)),
            ],
        ),
        case(
            "post chunked",
            200,
            0,
            vec![Client(request("POST", "192.0.2.1", chunked, &chunks)), Origin(sized(0))],
        ),
        case("chunked", 200, 0, vec![get(), Origin(response("200 OK", chunked, &chunks))]),
        case(
            "chunked, trailers",
            200,
            3,
            vec![
                Client(request("GET", "192.0.2.1", "Connection: TE\r\nTE: trailers\r\n", b"")),
                Origin(response("200 OK", chunked, &trailers)),
            ],
        ),
        case(
            "post chunked, trailers",
            200,
            3,
            vec![Client(request("POST", "192.0.2.1", chunked, &trailers)), Origin(sized(0))],
        ),
        case(
            "expect 100",
            200,
            0,
            vec![
                Client(request("POST", "192.0.2.1", "Expect: 100-continue\r\nContent-Length: 1024\r\n", b"")),
                Origin(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()),
                Client(kilobyte.clone()),
                Origin(sized(0)),
            ],
        ),
        case("origin-form", 200, 0, vec![Client(origin_form.into_bytes()), Origin(sized(1024))]),
        case(
            "name in hosts",
            200,
            0,
            vec![Client(request("GET", "origin.example", "", b"")), Origin(sized(1024))],
        ),
        Case { shell: Shell::new(edits(), None), ..case("edits", 200, 0, vec![get(), Origin(sized(1024))]) },
        Case {
            shell: Shell::new(Edits::default(), users()),
            ..case(
                "credentials",
                200,
                0,
                vec![Client(request("GET", "192.0.2.1", credentials, b"")), Origin(sized(1024))],
            )
        },
        Case { shell: Shell::new(Edits::default(), users()), ..case("no credentials", 407, 0, vec![get()]) },
        case("long head", 200, 2, vec![Client(request("GET", "192.0.2.1", &long, b"")), Origin(sized(1024))]),
        case(
            "long head back",
            200,
            2,
            vec![get(), Origin(response("200 OK", &format!("{long}Content-Length: 1024\r\n"), &kilobyte))],
        ),
        case(
            "in pieces",
            200,
            0,
            pieces(&request("GET", "192.0.2.1", "", b""), Client)
                .chain(pieces(&sized(1024), Origin))
                .collect(),
        ),
        case("refused by rule", 403, 0, vec![Client(request("GET", "ads.example", "", b""))]),
        case(
            "refused as malformed",
            400,
            0,
            vec![
                Client(b"GET http://192.0.2.1/ HTTP/1.1\r\nHost: other\r\nHost: two\r\n\r\n".to_vec()),
                ClientEnds,
            ],
        ),
        case(
            "new client each",
            200,
            0,
            vec![
                Client(request("GET", "192.0.2.1", "Connection: close\r\n", b"")),
                Origin(sized(1024)),
                ClientEnds,
            ],
        ),
        case(
            "new origin each",
            200,
            0,
            vec![get(), Origin(response("200 OK", "Connection: close\r\nContent-Length: 4\r\n", b"body"))],
        ),
        case(
            "until close",
            200,
            0,
            vec![get(), Origin(response("200 OK", "", &kilobyte)), OriginEnds, ClientEnds],
        ),
        case(
            "connect",
            200,
            1,
            vec![connect(), Client(b"ping".to_vec()), Origin(b"pong".to_vec()), ClientEnds, OriginEnds],
        ),
        case(
            "connect 64k",
            200,
            1,
            vec![connect(), Client(vec![b'x'; 65_536]), Origin(vec![b'x'; 65_536]), ClientEnds, OriginEnds],
        ),
        case(
            "upgrade",
            101,
            1,
            vec![
                Client(request("GET", "192.0.2.1", upgrade, b"")),
                Origin(format!("HTTP/1.1 101 Switching Protocols\r\n{upgrade}\r\n").into_bytes()),
                Client(b"ping".to_vec()),
                Origin(b"pong".to_vec()),
                ClientEnds,
                OriginEnds,
            ],
        ),
    ];
    if cfg!(feature = "cache") {
        cases.extend(caching_cases());
    }
    cases
}
