//! The network between weir and its peers: byte streams with small buffers, ends and resets, and an agenda of what
//! happens when. It behaves as Linux does towards an edge-triggered epoll.

use super::dice::Dice;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use weir::engine::SocketError;
use weir::net::Space;
use weir::time::Now;

pub type LinkId = usize;

/// How weir closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    Regular,
    /// Bytes on their way may be lost.
    Reset,
    /// With a reset behind all bytes.
    ResetDelivered,
}

/// Whose turn it is at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Task {
    /// The peer at the far end of a link sends what it has to send.
    Send(LinkId),
    /// It reads what has arrived.
    Read(LinkId),
    /// A handshake ends.
    Establish(LinkId),
    /// Client number so and so connects.
    Arrive(u32),
    /// A visitor of weir's own pages.
    Visit(u32),
    /// A DNS reply, by its number.
    Reply(u64),
    /// A password was verified, by the number of the job.
    Verified(u64),
    /// The store has something to say to a question, by its number.
    Answered(u64),
    /// An operator bans the client of that number.
    Ban(u32),
    /// A loop hears that there are more bans.
    Bans(usize),
    /// An event that concerns the whole world, by its number.
    GlobalEvent(usize),
}

/// The far end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Client(u32),
    Origin(u32),
    /// Of weir's own pages.
    Visitor(u32),
}

/// Bytes in order.
#[derive(Debug, Default)]
pub struct Queue {
    bytes: Vec<u8>,
    start: usize,
}

impl Queue {
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn take(&mut self, count: usize) -> &[u8] {
        let begin = self.start;
        self.start += count;
        &self.bytes[begin..begin + count]
    }

    /// Frees what was taken.
    fn compact(&mut self) {
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        } else if self.start > 16_384 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }

    fn truncate(&mut self, len: usize) {
        self.bytes.truncate(self.start + len);
    }
}

/// One connection.
#[derive(Debug)]
pub struct Link {
    pub peer: Peer,
    pub to_weir: Queue,
    /// The peer has said that it has finished.
    pub fin_to_weir: bool,
    /// The connection is gone: the error of weir's next call, once the bytes before it are read.
    pub broken: Option<SocketError>,
    /// A call has had the error, which the system tells once.
    is_error_told: bool,
    pub to_peer: Queue,
    pub fin_to_peer: bool,
    pub reset_to_peer: bool,
    /// Most bytes that weir can send before the peer reads.
    room: usize,
    /// weir's last write did not fit: an edge is owed to it.
    write_blocked: bool,
    /// The peer's last write did not fit.
    pub peer_blocked: bool,
    pub weir_open: bool,
    pub peer_open: bool,
    pub established: bool,
    /// The system has something to report.
    edge: bool,
    /// Bytes or an end without a request are on their way to weir.
    pub unsolicited: bool,
    /// Bytes that weir has read.
    pub read_by_weir: u64,
    send_due: bool,
    read_due: bool,
}

/// The readiness that epoll would report.
#[derive(Clone, Copy, Debug, Default)]
pub struct Readiness {
    pub readable: bool,
    pub writable: bool,
    pub read_closed: bool,
    pub write_closed: bool,
    pub error: bool,
}

pub struct Network {
    pub dice: Dice,
    pub now_us: u64,
    pub unix_us: u64,
    pub tracing: bool,
    pub links: Vec<Link>,
    pub edges: Vec<LinkId>,
    /// Bytes that weir may have on their way to a peer.
    room_max: usize,
    /// Bytes that a peer may have on their way to weir.
    window: usize,
    agenda: BinaryHeap<Reverse<(u64, u64, Task)>>,
    planned: u64,
}

impl Link {
    /// A reset arrives: behind the end of the peer's direction it is another error (EPIPE in tcp_reset() of Linux).
    fn fall(&mut self) {
        self.broken = Some(if self.fin_to_weir { SocketError::Closed } else { SocketError::Reset });
    }

    fn take_error(&mut self) -> Option<SocketError> {
        self.broken.filter(|_| !std::mem::replace(&mut self.is_error_told, true))
    }
}

impl Network {
    pub fn new(dice: Dice, room_max: usize, window: usize, tracing: bool) -> Network {
        Network {
            dice,
            now_us: 1_000_000,
            unix_us: 1_700_000_000_000_000,
            tracing,
            links: Vec::new(),
            edges: Vec::new(),
            room_max,
            window,
            agenda: BinaryHeap::new(),
            planned: 0,
        }
    }

    pub fn now(&self) -> Now {
        Now { monotonic_us: self.now_us, unix_us: self.unix_us, common_us: self.now_us }
    }

    pub fn trace(&self, what: impl FnOnce() -> String) {
        if self.tracing {
            println!("{:>12} {}", self.now_us, what());
        }
    }

    /// Time passes, on both clocks.
    pub fn advance_to(&mut self, now_us: u64) {
        self.unix_us += now_us - self.now_us;
        self.now_us = now_us;
    }

    /// Puts a task on the agenda.
    pub fn info(&mut self, after_us: u64, task: Task) {
        self.planned += 1;
        self.agenda.push(Reverse((self.now_us + after_us, self.planned, task)));
    }

    pub fn next_task_us(&self) -> Option<u64> {
        self.agenda.peek().map(|Reverse((at, _, _))| *at)
    }

    /// The next task whose time has come.
    pub fn next_task(&mut self) -> Option<Task> {
        if self.next_task_us()? > self.now_us {
            return None;
        }
        let Reverse((_, _, task)) = self.agenda.pop()?;
        match task {
            Task::Send(link) => self.links[link].send_due = false,
            Task::Read(link) => self.links[link].read_due = false,
            Task::Establish(_)
            | Task::Arrive(_)
            | Task::Visit(_)
            | Task::Reply(_)
            | Task::Verified(_)
            | Task::Answered(_)
            | Task::Ban(_)
            | Task::Bans(_)
            | Task::GlobalEvent(_) => {}
        }
        Some(task)
    }

    pub fn open(&mut self, peer: Peer, established: bool) -> LinkId {
        let room = self.pick_room();
        self.links.push(Link {
            peer,
            to_weir: Queue::default(),
            fin_to_weir: false,
            broken: None,
            is_error_told: false,
            to_peer: Queue::default(),
            fin_to_peer: false,
            reset_to_peer: false,
            room,
            write_blocked: false,
            peer_blocked: false,
            weir_open: true,
            peer_open: true,
            established,
            edge: false,
            unsolicited: false,
            read_by_weir: 0,
            send_due: false,
            read_due: false,
        });
        self.links.len() - 1
    }

    fn pick_room(&mut self) -> usize {
        let room = match self.dice.below(20) {
            0 => 1,
            1 => 17,
            2 | 3 => 300,
            4..=6 => 1460,
            7..=10 => 4096,
            _ => 65_536,
        };
        room.min(self.room_max)
    }

    /// The peer wants to send soon.
    pub fn plan_send(&mut self, link: LinkId, after_us: u64) {
        if !std::mem::replace(&mut self.links[link].send_due, true) {
            self.info(after_us, Task::Send(link));
        }
    }

    /// The peer has something to look at.
    pub fn plan_read(&mut self, link: LinkId, after_us: u64) {
        if !std::mem::replace(&mut self.links[link].read_due, true) {
            self.info(after_us, Task::Read(link));
        }
    }

    pub fn raise_edge(&mut self, link: LinkId) {
        let one = &mut self.links[link];
        if one.weir_open && !std::mem::replace(&mut one.edge, true) {
            self.edges.push(link);
        }
    }

    /// The readiness that epoll reports with the edge.
    pub fn take_edge(&mut self, link: LinkId) -> Readiness {
        let one = &mut self.links[link];
        one.edge = false;
        let broken = one.broken.is_some();
        if !one.established {
            return Readiness { error: broken, ..Readiness::default() };
        }
        Readiness {
            readable: !one.to_weir.is_empty() || one.fin_to_weir || broken,
            writable: one.to_peer.len() < one.room || broken,
            read_closed: one.fin_to_weir || broken,
            write_closed: (one.fin_to_weir && one.fin_to_peer) || broken,
            error: broken,
        }
    }

    // The peer's calls.

    /// Sends as much as fits. `None`: the connection is gone.
    pub fn send(&mut self, link: LinkId, bytes: &[u8]) -> Option<usize> {
        let one = &mut self.links[link];
        if !one.peer_open || one.reset_to_peer || one.fin_to_weir {
            return None;
        }
        if !one.weir_open {
            self.reset_peer(link);
            return None;
        }
        let count = bytes.len().min(self.window.saturating_sub(one.to_weir.len()));
        one.peer_blocked = count < bytes.len();
        one.to_weir.push(&bytes[..count]);
        if count > 0 {
            self.raise_edge(link);
        }
        Some(count)
    }

    /// FIN: the peer has finished sending.
    pub fn finish(&mut self, link: LinkId) {
        let one = &mut self.links[link];
        if one.peer_open && !one.fin_to_weir {
            one.fin_to_weir = true;
            self.raise_edge(link);
        }
    }

    /// The peer resets. weir may or may not read the peer's earlier bytes before that.
    pub fn reset(&mut self, link: LinkId) {
        let keep = self.dice.percent(50);
        let one = &mut self.links[link];
        if !one.peer_open {
            return;
        }
        one.peer_open = false;
        if !keep && !one.fin_to_weir {
            one.to_weir = Queue::default();
        }
        one.to_peer = Queue::default();
        one.fall();
        self.raise_edge(link);
    }

    /// The peer closes: with unread bytes that is a reset.
    pub fn close(&mut self, link: LinkId) {
        let one = &mut self.links[link];
        if !one.to_peer.is_empty() {
            self.reset(link);
        } else if one.peer_open {
            one.peer_open = false;
            if !one.fin_to_weir {
                one.fin_to_weir = true;
                self.raise_edge(link);
            }
        }
    }

    /// Reads up to so many bytes.
    pub fn receive(&mut self, link: LinkId, most: usize) -> Vec<u8> {
        let room = self.pick_room();
        let one = &mut self.links[link];
        let count = one.to_peer.len().min(most);
        let bytes = one.to_peer.take(count).to_vec();
        one.to_peer.compact();
        if count > 0 && one.write_blocked {
            one.room = room.max(one.to_peer.len() + 1);
            one.write_blocked = false;
            self.raise_edge(link);
        }
        bytes
    }

    /// weir's side closes in a way that the peer sees as a reset; bytes on their way may be lost.
    fn reset_peer(&mut self, link: LinkId) {
        let kept = match self.dice.below(3) {
            0 => self.links[link].to_peer.len(),
            1 => self.dice.below(self.links[link].to_peer.len() + 1),
            _ => 0,
        };
        let one = &mut self.links[link];
        one.to_peer.truncate(kept);
        one.reset_to_peer = true;
        self.plan_read(link, 50);
    }

    // weir's calls.

    /// read(2): a count, 0 for the end, `None` for EAGAIN.
    pub fn read(&mut self, link: LinkId, space: &mut Space<'_>) -> Result<Option<usize>, SocketError> {
        let one = &mut self.links[link];
        let count = one.to_weir.len().min(space.len());
        if count > 0 {
            space.fill(one.to_weir.take(count));
            one.to_weir.compact();
            one.read_by_weir += count as u64;
            if std::mem::take(&mut one.peer_blocked) {
                self.plan_send(link, 30);
            }
            return Ok(Some(count));
        }
        match (one.fin_to_weir, one.take_error()) {
            (true, _) => Ok(Some(0)),
            (false, Some(error)) => Err(error),
            (false, None) => Ok(one.broken.map(|_| 0)),
        }
    }

    /// SO_ERROR.
    pub fn take_error(&mut self, link: LinkId) -> Option<SocketError> {
        self.links[link].take_error()
    }

    /// writev(2): a count, `None` for EAGAIN.
    pub fn write(&mut self, link: LinkId, bytes: &[u8]) -> Result<Option<usize>, SocketError> {
        let one = &mut self.links[link];
        assert!(!one.fin_to_peer, "weir wrote to a socket that it had shut");
        if one.broken.is_some() {
            return Err(one.take_error().unwrap_or(SocketError::Closed));
        }
        if !one.peer_open {
            // The socket is closed: the answer is a reset.
            one.fall();
            self.raise_edge(link);
            return Ok(Some(bytes.len()));
        }
        let count = bytes.len().min(one.room.saturating_sub(one.to_peer.len()));
        one.write_blocked = count < bytes.len();
        one.to_peer.push(&bytes[..count]);
        if count == 0 {
            return Ok(None);
        }
        let after_us = self.dice.between(1, 300);
        self.plan_read(link, after_us);
        Ok(Some(count))
    }

    pub fn shutdown_write(&mut self, link: LinkId) {
        let one = &mut self.links[link];
        if one.broken.is_some() {
            return;
        }
        one.fin_to_peer = true;
        if one.fin_to_weir {
            self.raise_edge(link);
        }
        self.plan_read(link, 100);
    }

    /// close(2): with unread bytes that is a reset.
    pub fn weir_closes(&mut self, link: LinkId, closing: Closing) {
        let one = &mut self.links[link];
        one.weir_open = false;
        match closing {
            // The peer gets all bytes before the reset.
            Closing::ResetDelivered => {
                one.reset_to_peer = true;
                self.plan_read(link, 50);
            }
            Closing::Regular if one.to_weir.is_empty() => {
                one.fin_to_peer = true;
                self.plan_read(link, 100);
            }
            Closing::Regular | Closing::Reset => self.reset_peer(link),
        }
    }

    /// Whether weir could read or write now, whatever it knows of it.
    pub fn is_readable(&self, link: LinkId) -> bool {
        let one = &self.links[link];
        one.established && (!one.to_weir.is_empty() || one.fin_to_weir || one.broken.is_some())
    }

    pub fn is_writable(&self, link: LinkId) -> bool {
        let one = &self.links[link];
        one.established && (one.to_peer.len() < one.room || one.broken.is_some())
    }
}
