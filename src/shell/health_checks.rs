//! Active health checks of the gateway's upstreams, on a separate thread: checks and loops do not wait for each other.
//!
//! Each upstream is checked at the interval of its route: one connection, one request, and the status line of the response.
//! All checks that are due run at the same time, so an upstream that does not answer delays no other. A loop looks names up, as for
//! requests; a name without an address decides nothing about its upstream.

use super::guard_link::NameReceiver;
use super::threads;
use crate::gateway::rules::{Checked, Gateway};
use crate::gateway::upstream::Change;
use crate::http::target::{Host, Name};
use crate::resolver::Addresses;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bytes of a response that are looked at (chosen): a status line is shorter.
const RESPONSE_BYTES_MAX: usize = 4096;

/// Bytes that a check receives at most (chosen: many interim responses).
const RECEIVED_BYTES_MAX: usize = 64 * 1024;

/// Checks under way at once (chosen): each has a descriptor.
const PROBES_MAX: usize = 256;

/// Time until a check is tried again for which no loop could look up the name (chosen: the loops are starting).
const TRIED_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// The thread wakes up at least this often (chosen).
const IDLE: Duration = Duration::from_secs(60);

/// The token of the waker; probes have the index of their upstream.
const WAKER: Token = Token(usize::MAX);

/// The checking thread. Dropping this value ends it.
#[derive(Debug)]
pub struct HealthChecks {
    orders: Arc<Orders>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Orders {
    wanted: Mutex<Wanted>,
    waker: Waker,
}

#[derive(Debug, Default)]
struct Wanted {
    /// The upstreams to check from now on, if they have changed.
    checked: Option<Vec<Checked>>,
    /// Names that were looked up.
    found: Vec<(Name, Option<Addresses>)>,
    ends: bool,
}

impl Orders {
    fn give(&self, change: impl FnOnce(&mut Wanted)) -> io::Result<()> {
        change(&mut self.wanted.lock().unwrap_or_else(PoisonError::into_inner));
        self.waker.wake()
    }
}

impl HealthChecks {
    /// Starts the thread. `now_ms` returns the time on the clock of all loops; `find_name` has a name looked up, whose addresses are to
    /// be given to the [`HealthChecks::name_receiver`]; it returns `false` while there is no loop that could do that.
    pub fn start(
        now_ms: impl Fn() -> u64 + Send + 'static,
        find_name: impl Fn(Name) -> bool + Send + 'static,
    ) -> io::Result<HealthChecks> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let orders = Arc::new(Orders { wanted: Mutex::default(), waker });
        let (now_ms, find_name) = (Box::new(now_ms), Box::new(find_name));
        let mut checker = Checker { poll, subjects: Vec::new(), next: 0, now_ms, find_name };
        let own = Arc::clone(&orders);
        let run = move || {
            if let Err(error) = checker.run(&own) {
                log::error!("gateway: no more health checks: {error}");
            }
        };
        let thread = threads::spawn("weir-health", run)?;
        Ok(HealthChecks { orders, thread: Some(thread) })
    }

    /// Checks the upstreams of this gateway from now on; `None` ends the checks.
    pub fn set(&self, gateway: Option<&Gateway>) -> io::Result<()> {
        self.orders.give(|wanted| wanted.checked = Some(gateway.map(Gateway::checked).unwrap_or_default()))
    }

    /// What gets the addresses of names. It does not keep the thread's descriptors open.
    pub fn name_receiver(&self) -> NameReceiver {
        let orders = Arc::downgrade(&self.orders);
        Box::new(move |name, addresses| {
            if let Some(orders) = orders.upgrade() {
                // A thread that cannot be woken has ended.
                let _ = orders.give(|wanted| wanted.found.push((name, addresses)));
            }
        })
    }
}

impl Drop for HealthChecks {
    fn drop(&mut self) {
        if self.orders.give(|wanted| wanted.ends = true).is_ok() {
            // The thread waits for nothing but its poll.
            let _ = self.thread.take().map(JoinHandle::join);
        }
    }
}

/// An upstream and its check.
struct Subject {
    checked: Checked,
    due: Instant,
    probe: Option<Probe>,
    /// Its name is looked up for a check.
    awaits_name: bool,
    /// The name has no address, which was logged.
    is_unknown: bool,
}

/// A check that is under way.
struct Probe {
    socket: TcpStream,
    /// The addresses of the name that are left if this one takes no connection.
    others: VecDeque<SocketAddr>,
    /// When the next address is tried if this one has not taken the connection.
    connects_until: Instant,
    request: Vec<u8>,
    /// Bytes of the request: none before the connection is established.
    sent: usize,
    response: Vec<u8>,
    /// Bytes that have been received, also of interim responses.
    received: usize,
    until: Instant,
}

struct Checker {
    poll: Poll,
    subjects: Vec<Subject>,
    /// The place of the subject that comes first when checks begin.
    next: usize,
    now_ms: Box<dyn Fn() -> u64 + Send>,
    find_name: Box<dyn Fn(Name) -> bool + Send>,
}

impl Checker {
    fn run(&mut self, orders: &Orders) -> io::Result<()> {
        let mut events = Events::with_capacity(PROBES_MAX);
        loop {
            let wanted = std::mem::take(&mut *orders.wanted.lock().unwrap_or_else(PoisonError::into_inner));
            if wanted.ends {
                return Ok(());
            }
            if let Some(checked) = wanted.checked {
                self.set(checked);
            }
            let now = Instant::now();
            self.end_late(now);
            for (name, addresses) in wanted.found {
                self.take_addresses(&name, addresses.as_ref(), now);
            }
            self.begin_due(now);
            match self.poll.poll(&mut events, Some(self.pause(Instant::now()))) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                Ok(()) | Err(_) => {}
            }
            for event in events.iter().filter(|event| event.token() != WAKER) {
                self.advance(event.token().0);
            }
        }
    }

    /// Upstreams that were checked before keep their times; others are due at once.
    fn set(&mut self, checked: Vec<Checked>) {
        let before = std::mem::take(&mut self.subjects);
        let due = |new: &Checked| {
            let same = before.iter().find(|old| Arc::ptr_eq(&old.checked.upstream, &new.upstream));
            same.filter(|old| old.checked.check == new.check).map_or_else(Instant::now, |old| old.due)
        };
        self.subjects = checked
            .into_iter()
            .map(|checked| Subject {
                due: due(&checked),
                checked,
                probe: None,
                awaits_name: false,
                is_unknown: false,
            })
            .collect();
        // A check that has ended since may have said something of an upstream that nothing checks any more.
        let is_checked = |old: &Subject| {
            self.subjects.iter().any(|new| Arc::ptr_eq(&old.checked.upstream, &new.checked.upstream))
        };
        before.iter().filter(|old| !is_checked(old)).for_each(|old| old.checked.upstream.forget_checks());
    }

    /// The time until the next check or deadline.
    fn pause(&self, now: Instant) -> Duration {
        let is_full = self.subjects.iter().filter(|subject| subject.probe.is_some()).count() >= PROBES_MAX;
        let next = self.subjects.iter().filter_map(|subject| match &subject.probe {
            Some(probe) => Some(probe.due()),
            // It waits for the end of another one.
            None if is_full => None,
            None => Some(subject.due),
        });
        next.min().map_or(IDLE, |next| next.saturating_duration_since(now)).min(IDLE)
    }

    fn end_late(&mut self, now: Instant) {
        for at in 0..self.subjects.len() {
            if self.subjects[at].probe.as_ref().is_some_and(|probe| probe.due() <= now) {
                self.fail(at, "no response in time".to_owned(), now);
            }
        }
    }

    fn begin_due(&mut self, now: Instant) {
        let mut under_way = self.subjects.iter().filter(|subject| subject.probe.is_some()).count();
        // Behind the last one that was begun: upstreams that hang keep no others from being checked.
        let (first, count) = (self.next, self.subjects.len());
        for at in (0..count).map(|offset| (first + offset) % count) {
            let subject = &mut self.subjects[at];
            if subject.probe.is_some() || subject.due > now {
                continue;
            }
            if under_way >= PROBES_MAX {
                break;
            }
            self.next = at + 1;
            subject.due = now + Duration::from_millis(subject.checked.check.every_ms);
            let authority = subject.checked.upstream.authority;
            match authority.host {
                Host::Address(address) => {
                    under_way += 1;
                    self.begin(at, VecDeque::from([SocketAddr::new(address, authority.port)]), now);
                }
                Host::Name(name) => {
                    subject.awaits_name = (self.find_name)(name);
                    if !subject.awaits_name {
                        subject.due = now + TRIED_AGAIN_AFTER;
                    }
                }
            }
        }
    }

    /// Begins the checks that have waited for the addresses of a name.
    fn take_addresses(&mut self, name: &Name, addresses: Option<&Addresses>, now: Instant) {
        for at in 0..self.subjects.len() {
            let subject = &mut self.subjects[at];
            let authority = subject.checked.upstream.authority;
            if authority.host != Host::Name(*name) || !std::mem::take(&mut subject.awaits_name) {
                continue;
            }
            let was_unknown = std::mem::replace(&mut subject.is_unknown, addresses.is_none());
            match addresses {
                Some(addresses) if subject.probe.is_none() => {
                    let addresses = addresses.as_slice().iter();
                    let addresses = addresses.map(|address| SocketAddr::new(*address, authority.port));
                    self.begin(at, addresses.collect(), now);
                }
                Some(_) => {}
                None if !was_unknown => {
                    log::warn!("gateway: {authority} is not checked: its name has no address");
                }
                None => {}
            }
        }
    }

    fn begin(&mut self, at: usize, addresses: VecDeque<SocketAddr>, now: Instant) {
        let until = now + Duration::from_millis(self.subjects[at].checked.check.timeout_ms);
        self.connect(at, addresses, (now, until), "no address".to_owned());
    }

    /// Connects to the first of these addresses for which that can be begun. The check fails for this reason if there is none.
    fn connect(
        &mut self,
        at: usize,
        mut addresses: VecDeque<SocketAddr>,
        (now, until): (Instant, Instant),
        mut reason: String,
    ) {
        while let Some(address) = addresses.pop_front() {
            let begun = self.subjects[at].begin(address, until).and_then(|mut probe| {
                let interest = Interest::READABLE | Interest::WRITABLE;
                self.poll.registry().register(&mut probe.socket, Token(at), interest)?;
                Ok(probe)
            });
            match begun {
                Ok(mut probe) => {
                    // Each address has the same share of the time that is left.
                    let share = until.saturating_duration_since(now) / (addresses.len() as u32 + 1);
                    (probe.connects_until, probe.others) = (now + share, addresses);
                    self.subjects[at].probe = Some(probe);
                    return;
                }
                Err(error) => reason = error.to_string(),
            }
        }
        self.conclude(at, Err(reason));
    }

    /// A probe has failed: the next address is tried if this one has taken no connection.
    fn fail(&mut self, at: usize, reason: String, now: Instant) {
        let Some(probe) = &mut self.subjects[at].probe else { return };
        if probe.sent > 0 || probe.until <= now {
            return self.conclude(at, Err(reason));
        }
        let (others, until) = (std::mem::take(&mut probe.others), probe.until);
        self.end_probe(at);
        self.connect(at, others, (now, until), reason);
    }

    fn end_probe(&mut self, at: usize) {
        if let Some(mut probe) = self.subjects[at].probe.take() {
            // The socket is closed in any case.
            let _ = self.poll.registry().deregister(&mut probe.socket);
        }
    }

    fn advance(&mut self, at: usize) {
        let Some(probe) = self.subjects.get_mut(at).and_then(|subject| subject.probe.as_mut()) else {
            return;
        };
        match probe.advance() {
            Ok(None) => {}
            Ok(Some(status)) => self.conclude(at, Ok(status)),
            Err(error) => self.fail(at, error.to_string(), Instant::now()),
        }
    }

    /// Ends a check with a status or a failure.
    fn conclude(&mut self, at: usize, outcome: Result<u16, String>) {
        self.end_probe(at);
        let checked = &self.subjects[at].checked;
        let (is_well, found) = match outcome {
            Ok(status) => (checked.is_well(status), format!("status {status}")),
            Err(error) => (false, error),
        };
        let (upstream, route) = (checked.upstream.authority, &checked.route);
        match checked.note(is_well, (self.now_ms)()) {
            Some(Change::Down) => log::warn!("gateway: upstream {upstream} of {route} is unhealthy: {found}"),
            Some(Change::Up) => log::info!("gateway: upstream {upstream} of {route} is well again"),
            None => {}
        }
    }
}

impl Subject {
    /// Begins a check at this address.
    fn begin(&self, address: SocketAddr, until: Instant) -> io::Result<Probe> {
        let Checked { check, host, .. } = &self.checked;
        let mut request = format!("{} {} HTTP/1.1\r\nHost: ", check.method, check.path).into_bytes();
        host.write(&mut request, Some(80));
        request.extend_from_slice(
            b"\r\nUser-Agent: weir-health\r\nAccept: */*\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
        let socket = TcpStream::connect(address)?;
        Ok(Probe {
            socket,
            others: VecDeque::new(),
            connects_until: until,
            request,
            sent: 0,
            response: Vec::new(),
            received: 0,
            until,
        })
    }
}

impl Probe {
    /// The end of the time for the next step.
    fn due(&self) -> Instant {
        if self.sent > 0 { self.until } else { self.connects_until }
    }

    /// Sends and receives as far as possible. Returns the status when it is complete.
    fn advance(&mut self) -> io::Result<Option<u16>> {
        if let Some(error) = self.socket.take_error()? {
            return Err(error);
        }
        while self.sent < self.request.len() {
            match self.socket.write(&self.request[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if waits(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let mut bytes = [0; RESPONSE_BYTES_MAX];
        while Instant::now() < self.until && self.received < RECEIVED_BYTES_MAX {
            match self.socket.read(&mut bytes) {
                Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "it closed before a response")),
                Ok(count) => {
                    self.received += count;
                    self.response.extend_from_slice(&bytes[..count]);
                }
                Err(error) if waits(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
            if let Some(status) = final_status(&mut self.response)? {
                return Ok(Some(status));
            }
            if self.response.len() >= RESPONSE_BYTES_MAX {
                return Err(io::Error::new(ErrorKind::InvalidData, "no status line"));
            }
        }
        // Interim responses may have no end.
        let why =
            if self.received < RECEIVED_BYTES_MAX { "no response in time" } else { "no final response" };
        Err(io::Error::new(ErrorKind::TimedOut, why))
    }
}

fn waits(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected | ErrorKind::Interrupted)
}

/// The status of the final response, when its status line has arrived. Heads of interim responses (RFC 9110 section 15.2) are
/// taken off the bytes.
fn final_status(response: &mut Vec<u8>) -> io::Result<Option<u16>> {
    loop {
        let Some(end) = memchr::memchr(b'\n', response) else { return Ok(None) };
        let unreadable = || io::Error::new(ErrorKind::InvalidData, "no response of HTTP/1");
        let status = status(&response[..end]).ok_or_else(unreadable)?;
        // Behind 101 there is no other response.
        if status >= 200 || status == 101 {
            return Ok(Some(status));
        }
        let Some(head) = memchr::memmem::find(response, b"\r\n\r\n") else { return Ok(None) };
        response.drain(..head + 4);
    }
}

/// The status in the status line of HTTP/1.
fn status(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let digits = rest.strip_prefix(b"0 ").or_else(|| rest.strip_prefix(b"1 "))?.get(..3)?;
    std::str::from_utf8(digits).ok()?.parse().ok().filter(|status| (100..600).contains(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_read() {
        for (line, expected) in [
            ("HTTP/1.1 200 OK\r", Some(200)),
            ("HTTP/1.0 503\r", Some(503)),
            ("HTTP/1.1 099 x", None),
            ("HTTP/2 200", None),
            ("HTTP/1.1 20", None),
            ("SSH-2.0", None),
        ] {
            assert_eq!(status(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn interim_responses_are_passed_over() {
        for (response, expected) in [
            ("HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 200 OK\r\n", Some(200)),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 x\r\n\r\nHTTP/1.1 503\r\n", Some(503)),
            ("HTTP/1.1 101 Switching Protocols\r\n", Some(101)),
            ("HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n", None),
            ("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 20", None),
        ] {
            // One byte at a time, as it may arrive.
            let mut bytes = Vec::new();
            let found = response.bytes().find_map(|byte| {
                bytes.push(byte);
                final_status(&mut bytes).unwrap()
            });
            assert_eq!(found, expected, "{response}");
        }
        assert!(final_status(&mut b"SSH-2.0\n".to_vec()).is_err());
    }
}
