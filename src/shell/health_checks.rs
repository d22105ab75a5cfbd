//! Active health checks of the gateway's upstreams, on a separate thread: checks and loops do not wait for each other.
//!
//! Each upstream is checked at the interval of its route: one connection, one request, and the status line of the response.
//! All checks that are due run at the same time, so an upstream that does not answer delays no other. The system looks names
//! up; a name without an address decides nothing about its upstream, because requests look it up with weir's resolver.

use crate::gateway::rules::{Checked, Gateway};
use crate::gateway::upstream::Change;
use crate::http::target::Host;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bytes of a response that are looked at (chosen): a status line is shorter.
const RESPONSE_BYTES_MAX: usize = 4096;

/// Checks under way at once (chosen): each has a descriptor.
const PROBES_MAX: usize = 256;

/// The thread looks up at least this often (chosen).
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
    ends: bool,
}

impl HealthChecks {
    /// Starts the thread. `now_ms` returns the time on the clock of all loops.
    pub fn start(now_ms: impl Fn() -> u64 + Send + 'static) -> io::Result<HealthChecks> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let orders = Arc::new(Orders { wanted: Mutex::default(), waker });
        let mut checker = Checker { poll, subjects: Vec::new(), now_ms: Box::new(now_ms) };
        let own = Arc::clone(&orders);
        let run = move || {
            if let Err(error) = checker.run(&own) {
                log::error!("gateway: no more health checks: {error}");
            }
        };
        let thread = std::thread::Builder::new().name("weir-health".to_owned()).spawn(run)?;
        Ok(HealthChecks { orders, thread: Some(thread) })
    }

    /// Checks the upstreams of this gateway from now on; `None` ends the checks.
    pub fn set(&self, gateway: Option<&Gateway>) -> io::Result<()> {
        self.order(|wanted| wanted.checked = Some(gateway.map(Gateway::checked).unwrap_or_default()))
    }

    fn order(&self, change: impl FnOnce(&mut Wanted)) -> io::Result<()> {
        change(&mut self.orders.wanted.lock().unwrap_or_else(PoisonError::into_inner));
        self.orders.waker.wake()
    }
}

impl Drop for HealthChecks {
    fn drop(&mut self) {
        if self.order(|wanted| wanted.ends = true).is_ok() {
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
    /// The name has no address, which was logged.
    is_unknown: bool,
}

/// A check that is under way.
struct Probe {
    socket: TcpStream,
    request: Vec<u8>,
    sent: usize,
    response: Vec<u8>,
    until: Instant,
}

struct Checker {
    poll: Poll,
    subjects: Vec<Subject>,
    now_ms: Box<dyn Fn() -> u64 + Send>,
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
            .map(|checked| Subject { due: due(&checked), checked, probe: None, is_unknown: false })
            .collect();
    }

    /// The time until the next check or deadline.
    fn pause(&self, now: Instant) -> Duration {
        let next = self.subjects.iter().map(|subject| match &subject.probe {
            Some(probe) => probe.until,
            None => subject.due,
        });
        next.min().map_or(IDLE, |next| next.saturating_duration_since(now)).min(IDLE)
    }

    fn end_late(&mut self, now: Instant) {
        for at in 0..self.subjects.len() {
            if self.subjects[at].probe.as_ref().is_some_and(|probe| probe.until <= now) {
                self.conclude(at, Err("no response in time".to_owned()));
            }
        }
    }

    fn begin_due(&mut self, now: Instant) {
        let mut under_way = self.subjects.iter().filter(|subject| subject.probe.is_some()).count();
        for at in 0..self.subjects.len() {
            let subject = &mut self.subjects[at];
            if subject.probe.is_some() || subject.due > now || under_way >= PROBES_MAX {
                continue;
            }
            subject.due = now + Duration::from_millis(subject.checked.check.every_ms);
            match subject.begin(now) {
                Ok(Some(mut probe)) => {
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    match self.poll.registry().register(&mut probe.socket, Token(at), interest) {
                        Ok(()) => {
                            subject.probe = Some(probe);
                            under_way += 1;
                        }
                        Err(error) => self.conclude(at, Err(error.to_string())),
                    }
                }
                Ok(None) => {}
                Err(error) => self.conclude(at, Err(error.to_string())),
            }
        }
    }

    fn advance(&mut self, at: usize) {
        let Some(probe) = self.subjects.get_mut(at).and_then(|subject| subject.probe.as_mut()) else {
            return;
        };
        match probe.advance() {
            Ok(None) => {}
            Ok(Some(status)) => self.conclude(at, Ok(status)),
            Err(error) => self.conclude(at, Err(error.to_string())),
        }
    }

    /// Ends a check with a status or a failure.
    fn conclude(&mut self, at: usize, outcome: Result<u16, String>) {
        let subject = &mut self.subjects[at];
        if let Some(mut probe) = subject.probe.take() {
            // The socket is closed in any case.
            let _ = self.poll.registry().deregister(&mut probe.socket);
        }
        let checked = &subject.checked;
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
    /// Begins a check; none, if the upstream's name has no address.
    fn begin(&mut self, now: Instant) -> io::Result<Option<Probe>> {
        let Checked { check, host, upstream, .. } = &self.checked;
        let address = match upstream.authority.host {
            Host::Address(address) => Some(SocketAddr::new(address, upstream.authority.port)),
            Host::Name(name) => {
                (name.as_str(), upstream.authority.port).to_socket_addrs().ok().and_then(|mut all| all.next())
            }
        };
        let Some(address) = address else {
            if !std::mem::replace(&mut self.is_unknown, true) {
                log::warn!("gateway: {} is not checked: its name has no address", upstream.authority);
            }
            return Ok(None);
        };
        self.is_unknown = false;
        let mut request = format!("{} {} HTTP/1.1\r\nHost: ", check.method, check.path).into_bytes();
        host.write(&mut request, Some(80));
        request.extend_from_slice(
            b"\r\nUser-Agent: weir-health\r\nAccept: */*\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
        let socket = TcpStream::connect(address)?;
        let until = now + Duration::from_millis(check.timeout_ms);
        Ok(Some(Probe { socket, request, sent: 0, response: Vec::new(), until }))
    }
}

impl Probe {
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
        loop {
            match self.socket.read(&mut bytes) {
                Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "it closed before a response")),
                Ok(count) => self.response.extend_from_slice(&bytes[..count]),
                Err(error) if waits(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
            if let Some(end) = memchr::memchr(b'\n', &self.response) {
                let status = status(&self.response[..end]);
                let unreadable = || io::Error::new(ErrorKind::InvalidData, "no response of HTTP/1");
                return status.map(Some).ok_or_else(unreadable);
            }
            if self.response.len() >= RESPONSE_BYTES_MAX {
                return Err(io::Error::new(ErrorKind::InvalidData, "no status line"));
            }
        }
    }
}

fn waits(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected | ErrorKind::Interrupted)
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
}
