//! A shell without sockets: the test says what happens, the engine says what is to be done, and time passes when told.

#![allow(dead_code, reason = "every test file uses a part of its own")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use weir::engine::transaction::log_record::{LogRecord, Text};
use weir::engine::{Action, Engine, Event, JobId, ListenerId, PeerId, Settings, StoreJob};
use weir::guard::store::Check;
use weir::policy::Policy;
use weir::policy::acl::{AclBuilder, ListKind};
use weir::policy::auth::{SlowJob, Users};
use weir::policy::edit::Edits;
use weir::resolver::{self, Hosts, QueryId, Resolver};
use weir::time::Now;

/// Deadlines have this resolution, in milliseconds: time passes in steps of it.
const STEP_MS: u64 = 250;

/// The engine, and all that it has asked for so far.
pub struct Shell {
    pub engine: Engine,
    pub now: Now,
    /// Connections asked for, in order.
    pub connects: Vec<(PeerId, SocketAddr)>,
    /// DNS queries sent, in order.
    pub queries: Vec<QueryId>,
    /// The requests.
    pub asked: Vec<Vec<u8>>,
    /// The peers that got a FIN.
    pub fins: Vec<PeerId>,
    pub closed: Vec<PeerId>,
    pub resets: Vec<PeerId>,
    /// Passwords that wait to be verified, in order.
    pub jobs: VecDeque<(JobId, SlowJob)>,
    /// What the store was asked.
    pub asked_store: VecDeque<(StoreJob, Vec<Check>)>,
    pub log: Vec<LogRecord>,
}

/// The rules of all these tests: loopback and a documentation network may be reached. Each user file has a key of its
/// own, as every load of one has.
pub fn policy(users: Option<(&str, u128)>) -> Arc<Policy> {
    let mut builder = AclBuilder::new(1);
    builder.add_list(ListKind::Allow, "allow", b"127.0.0.0/8\n192.0.2.0/24\n");
    let acl = builder.build().expect("valid rules");
    let users = users.map(|(text, key)| Users::parse(text.as_bytes(), key).expect("valid users"));
    Arc::new(Policy {
        acl,
        users: users.map(Arc::new),
        edits: Edits::default(),
        cache_rules: Default::default(),
        pages: Default::default(),
        quiet_refusals: false,
    })
}

impl Shell {
    /// An engine as it is without options.
    pub fn new() -> Shell {
        Shell::with(Settings::default(), None, "")
    }

    /// With names known from a hosts file.
    pub fn with_hosts(hosts: &str) -> Shell {
        Shell::with(Settings::default(), None, hosts)
    }

    /// With users and the key of their file.
    pub fn with_users(users: &str, key: u128) -> Shell {
        Shell::with(Settings::default(), Some((users, key)), "")
    }

    /// With everything that can be told.
    pub fn with(settings: Settings, users: Option<(&str, u128)>, hosts: &str) -> Shell {
        let hosts = Hosts::parse(hosts.as_bytes());
        let resolver = Resolver::new(resolver::Settings::default(), hosts, [3, 4]);
        Shell {
            engine: Engine::new(settings, policy(users), resolver),
            now: Now { monotonic_us: 1_000_000, unix_us: 1_800_000_000_000_000, common_us: 1_000_000 },
            connects: Vec::new(),
            queries: Vec::new(),
            asked: Vec::new(),
            fins: Vec::new(),
            closed: Vec::new(),
            resets: Vec::new(),
            jobs: VecDeque::new(),
            asked_store: VecDeque::new(),
            log: Vec::new(),
        }
    }

    /// A client of its own port on this machine.
    pub fn client(&mut self) -> PeerId {
        self.client_from("127.0.0.1:4711")
    }

    pub fn client_from(&mut self, address: &str) -> PeerId {
        let id = self.engine.accept(self.now, ListenerId::default(), address.parse().expect("an address"));
        self.act();
        id
    }

    /// A client that has sent this.
    pub fn client_with(&mut self, bytes: impl AsRef<[u8]>) -> PeerId {
        let id = self.client();
        self.receive(id, bytes);
        id
    }

    /// The peer has sent this, and the engine must want all of it.
    #[track_caller]
    pub fn receive(&mut self, peer: PeerId, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let taken = self.offer(peer, bytes);
        assert_eq!(taken, bytes.len(), "not taken: {}", bytes[taken..].escape_ascii());
    }

    /// The peer has sent this: how much of it the engine takes.
    pub fn offer(&mut self, peer: PeerId, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while taken < bytes.len() {
            let Some(mut space) = self.engine.space(peer) else { break };
            let count = space.fill(&bytes[taken..]);
            if count == 0 {
                break;
            }
            taken += count;
            self.event(peer, Event::Received(count));
        }
        taken
    }

    /// All bytes that the engine has for the peer.
    pub fn send(&mut self, peer: PeerId) -> String {
        let mut sent = Vec::new();
        while self.engine.wants_write(peer) {
            let bytes = self.engine.to_send(peer).concat();
            assert!(!bytes.is_empty(), "there is something to send, but what?");
            sent.extend_from_slice(&bytes);
            self.event(peer, Event::Sent(bytes.len()));
        }
        String::from_utf8_lossy(&sent).into_owned()
    }

    pub fn event(&mut self, peer: PeerId, event: Event) {
        self.engine.handle(self.now, peer, event);
        self.act();
    }

    /// The peer has finished sending, which only a shell that reads from it can tell.
    #[track_caller]
    pub fn end(&mut self, peer: PeerId) {
        assert!(self.engine.wants_read(peer), "nobody reads from {peer:?}, so nobody would notice its end");
        self.event(peer, Event::EndOfStream);
    }

    /// Name servers answer all that was asked for so far: each name has this address, and no other.
    pub fn resolve(&mut self, address: [u8; 4]) {
        for (query, mut message) in
            std::mem::take(&mut self.queries).into_iter().zip(std::mem::take(&mut self.asked))
        {
            // A response to the question that is there; its answer for A, if that was the question (RFC 1035 section 4.1).
            let name_end =
                12 + message[12..].iter().position(|byte| *byte == 0).expect("the end of the name");
            message.truncate(name_end + 5);
            let is_a = message[name_end + 2] == 1;
            message[2..4].copy_from_slice(&[0x81, 0x80]);
            message[6..12].copy_from_slice(&[0, u8::from(is_a), 0, 0, 0, 0]);
            if is_a {
                message.extend_from_slice(&[0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                message.extend_from_slice(&address);
            }
            self.engine.handle_reply(self.now, query, &message);
            self.act();
        }
    }

    /// A connection that was asked for stands, and what there is to send is sent.
    #[track_caller]
    pub fn establish(&mut self, index: usize) -> (PeerId, String) {
        let Some(&(peer, _)) = self.connects.get(index) else {
            panic!("no connection {index} was asked for: {:?}, log {:?}", self.connects, self.log)
        };
        self.event(peer, Event::Connected);
        (peer, self.send(peer))
    }

    /// Time passes.
    pub fn pass(&mut self, duration_ms: u64) {
        for _ in 0..duration_ms.div_ceil(STEP_MS) {
            self.now.monotonic_us += STEP_MS * 1000;
            self.now.unix_us += STEP_MS * 1000;
            self.engine.handle_timeout(self.now);
            self.act();
        }
    }

    /// A client has heard the last of weir: FIN or close.
    pub fn is_ended(&self, peer: PeerId) -> bool {
        self.fins.contains(&peer) || self.closed.contains(&peer) || self.resets.contains(&peer)
    }

    /// The only log record.
    #[track_caller]
    pub fn record(&self) -> &LogRecord {
        assert_eq!(self.log.len(), 1, "{:?}", self.log);
        &self.log[0]
    }

    /// Does what the engine wants done.
    pub fn act(&mut self) {
        while let Some(action) = self.engine.next_action() {
            match action {
                Action::Connect { peer, address } => self.connects.push((peer, address)),
                Action::ShutdownWrite(peer) => self.fins.push(peer),
                Action::Close(peer) | Action::CloseDelivered(peer) => self.closed.push(peer),
                Action::Reset(peer) | Action::ResetDelivered(peer) => self.resets.push(peer),
                // It is alone.
                Action::SendToLoops(_) => {}
                Action::AskStore { job, checks } => self.asked_store.push_back((job, checks)),
                // There are no pages.
                Action::AskValue { .. } => {}
                Action::Verify { job, work, .. } => self.jobs.push_back((job, work)),
                Action::Log(entry) => self.log.push(*entry),
                Action::Resolver(resolver::Action::Send { query, message, .. }) => {
                    self.queries.push(query);
                    self.asked.push(message.as_bytes().to_vec());
                }
                Action::Resolver(resolver::Action::Cancel(_) | resolver::Action::Done { .. }) => {}
            }
        }
    }
}

/// A text of a log record.
pub fn text(entry: &LogRecord, which: Text) -> String {
    String::from_utf8_lossy(entry.text(which)).into_owned()
}

/// The status of a response.
#[track_caller]
pub fn status(response: &str) -> u16 {
    let word = response.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.split(' ').next());
    word.and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("no status in {response:?}"))
}

/// The value of Connection in a response head; empty without one.
pub fn connection(response: &str) -> String {
    let head = response.split("\r\n\r\n").next().unwrap_or("");
    let value = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("connection").then(|| value.trim().to_ascii_lowercase())
    };
    head.lines().find_map(value).unwrap_or_default()
}
