//! Origins that do what a script says, and remember what they saw.

use super::bytes::{replace, show};
use super::wire::{Body, Head, Wire};
use super::{DEADLINE, Hash, pattern};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Instant;

/// Bytes kept per connection; bulk beyond that is only counted.
const KEPT_BYTES_MAX: usize = 1 << 20;

#[derive(Default)]
struct Seen {
    connections: usize,
    ended: usize,
    heads: Vec<Head>,
    received: Vec<Vec<u8>>,
    received_bytes: u64,
    sent_bytes: u64,
    faults: Vec<String>,
}

#[derive(Default)]
struct Record {
    seen: Mutex<Seen>,
    changed: Condvar,
}

impl Record {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("what was seen")
    }

    fn change(&self, how: impl FnOnce(&mut Seen)) {
        how(&mut self.seen());
        self.changed.notify_all();
    }
}

/// A listener of its own port, with a thread per connection that runs the script. Stops when dropped; an assertion
/// that failed in a script then fails the test.
pub struct Origin {
    address: SocketAddr,
    record: Arc<Record>,
    stopped: Arc<AtomicBool>,
}

/// A request as the origin read it.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its head.
    pub head: Head,
    /// Its body.
    pub body: Body,
}

/// One connection in the hands of a script.
pub struct Conn {
    wire: Wire,
    /// How many connections came before this one.
    pub number: usize,
    record: Arc<Record>,
}

impl Deref for Conn {
    type Target = Wire;
    fn deref(&self) -> &Wire {
        &self.wire
    }
}

impl DerefMut for Conn {
    fn deref_mut(&mut self) -> &mut Wire {
        &mut self.wire
    }
}

impl Conn {
    /// The next request head, remembered.
    pub fn head(&mut self) -> io::Result<Head> {
        let head = self.wire.read_head()?;
        self.record.change(|seen| seen.heads.push(head.clone()));
        Ok(head)
    }

    /// The next request with its body; `None` at the end of the connection.
    pub fn request(&mut self) -> io::Result<Option<Request>> {
        let Some(head) = self.wire.read_head_or_end()? else { return Ok(None) };
        self.record.change(|seen| seen.heads.push(head.clone()));
        let body = self.wire.read_body(&head, false)?;
        Ok(Some(Request { head, body }))
    }

    /// Sends, and counts what was sent.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.wire.send(bytes.as_ref())?;
        self.record.change(|seen| seen.sent_bytes += bytes.as_ref().len() as u64);
        Ok(())
    }

    /// Sends the next request's answer, request by request, to the end of the connection.
    pub fn answer_all(&mut self, answer: impl AsRef<[u8]>) -> io::Result<()> {
        while self.request()?.is_some() {
            self.send(answer.as_ref())?;
        }
        Ok(())
    }

    /// Gives up the connection with a reset.
    pub fn reset(self) {
        self.wire.reset();
    }

    /// Sends endlessly until nothing more is taken for a second; says how much was.
    pub fn send_until_stuck(&mut self) -> io::Result<u64> {
        let block = pattern(0, 64 * 1024);
        let mut sent = 0;
        loop {
            match self.wire.send_some(&block, std::time::Duration::from_secs(1))? {
                0 => return Ok(sent),
                taken => sent += taken as u64,
            }
            self.record.change(|seen| seen.sent_bytes = sent);
        }
    }
}

impl Origin {
    /// Runs the script for every connection. An I/O error ends the script and is no failure.
    pub fn serve(script: impl Fn(&mut Conn) -> io::Result<()> + Send + Sync + 'static) -> Origin {
        Origin::serve_owned(move |mut conn| {
            let outcome = script(&mut conn);
            // Without that the end would wait for a program that another test is just starting: it holds all descriptors for
            // a moment.
            let _ = conn.half_close();
            outcome
        })
    }

    /// The same with a connection that the script may give up.
    pub fn serve_owned(script: impl Fn(Conn) -> io::Result<()> + Send + Sync + 'static) -> Origin {
        Origin::serve_at("127.0.0.1:0", script)
    }

    /// The same at a certain address.
    pub fn serve_at(
        address: &str,
        script: impl Fn(Conn) -> io::Result<()> + Send + Sync + 'static,
    ) -> Origin {
        let listener = TcpListener::bind(address).expect("an origin's port");
        // Two thousand connections may come at once. The standard library's backlog is 128, and the system resets some of the others.
        socket2::SockRef::from(&listener).listen(4096).expect("a backlog");
        let address = listener.local_addr().expect("an origin's address");
        let record = Arc::new(Record::default());
        let stopped = Arc::new(AtomicBool::new(false));
        let script = Arc::new(script);
        let (thread_record, thread_stopped) = (record.clone(), stopped.clone());
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if thread_stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (script, record) = (script.clone(), thread_record.clone());
                let Ok(conn) = Conn::new(stream, record.clone()) else { continue };
                std::thread::spawn(move || run_script(conn, &record, &*script));
            }
        });
        Origin { address, record, stopped }
    }

    /// Answers every request with these bytes, keeping the connection.
    pub fn answering(answer: impl AsRef<[u8]>) -> Origin {
        let answer = answer.as_ref().to_vec();
        Origin::serve(move |conn| conn.answer_all(&answer))
    }

    /// Answers one request per connection with these bytes, and closes.
    pub fn closing(answer: impl AsRef<[u8]>) -> Origin {
        let answer = answer.as_ref().to_vec();
        Origin::serve(move |conn| {
            conn.request()?;
            conn.send(&answer)
        })
    }

    /// Answers every request with `200` and a short body that says its number on this connection.
    pub fn ok() -> Origin {
        Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    }

    /// Answers every request with what it saw: the head's bytes, then the body's.
    pub fn echo() -> Origin {
        Origin::serve(|conn| {
            while let Some(request) = conn.request()? {
                let body = [request.head.raw, request.body.bytes].concat();
                let length = if request.head.start.starts_with("HEAD") { 0 } else { body.len() };
                conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()))?;
                conn.send(&body[..length])?;
            }
            Ok(())
        })
    }

    /// Reads bodies of any size and answers with `BYTES:HASH` of them.
    pub fn sink() -> Origin {
        Origin::serve(|conn| {
            while let Some(head) = conn.wire.read_head_or_end()? {
                conn.record.change(|seen| seen.heads.push(head.clone()));
                let mut hash = Hash::new();
                conn.wire.read_body_into(&head, false, &mut |part| hash.update(part))?;
                let text = hash.to_string();
                conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()))?;
            }
            Ok(())
        })
    }

    /// Serves `/length/N`, `/chunked/N` and `/close/N`: N bytes of the pattern in that framing.
    pub fn generator() -> Origin {
        Origin::serve(|conn| {
            while let Some(request) = conn.request()? {
                let mut parts = request.head.target().rsplit('/');
                let length = parts.next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
                let form = parts.next().unwrap_or("").to_owned();
                match form.as_str() {
                    "chunked" => conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?,
                    "close" => conn.send("HTTP/1.1 200 OK\r\n\r\n")?,
                    _ => conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"))?,
                }
                conn.send_generated(length, form == "chunked")?;
                if form == "close" {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// `http://ADDRESS` and a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Bytes with every `{o}` replaced by its authority, `{p}` by its port.
    pub fn fill(&self, template: impl AsRef<[u8]>) -> Vec<u8> {
        let filled = replace(template.as_ref(), b"{o}", self.address.to_string().as_bytes());
        replace(&filled, b"{p}", self.address.port().to_string().as_bytes())
    }

    /// An absolute-form GET for a path here.
    pub fn get(&self, path: &str) -> Vec<u8> {
        self.fill(format!("GET http://{{o}}{path} HTTP/1.1\r\nHost: {{o}}\r\n\r\n"))
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.record.seen().connections
    }

    /// Request heads so far, in the order in which they were read.
    pub fn heads(&self) -> Vec<Head> {
        self.record.seen().heads.clone()
    }

    /// The only request head so far.
    #[track_caller]
    pub fn head(&self) -> Head {
        let heads = self.heads();
        assert_eq!(heads.len(), 1, "the origin saw {heads:?}");
        heads[0].clone()
    }

    /// All that came on one connection (the first MB).
    pub fn received(&self, connection: usize) -> Vec<u8> {
        self.record.seen().received.get(connection).cloned().unwrap_or_default()
    }

    /// Bytes received on all connections.
    pub fn received_bytes(&self) -> u64 {
        self.record.seen().received_bytes
    }

    /// Bytes that scripts have sent on all connections.
    pub fn sent_bytes(&self) -> u64 {
        self.record.seen().sent_bytes
    }

    #[track_caller]
    fn wait<T>(&self, what: &str, mut wanted: impl FnMut(&Seen) -> Option<T>) -> T {
        let end = Instant::now() + DEADLINE;
        let mut seen = self.record.seen();
        loop {
            if let Some(found) = wanted(&seen) {
                return found;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "not within {DEADLINE:?}: {what}; the origin saw {:?}", seen.heads);
            seen = self.record.changed.wait_timeout(seen, left).expect("what was seen").0;
        }
    }

    /// Waits for so many connections in all.
    #[track_caller]
    pub fn wait_for_connections(&self, count: usize) {
        self.wait(&format!("{count} connections"), |seen| (seen.connections >= count).then_some(()));
    }

    /// Waits until so many connections have ended.
    #[track_caller]
    pub fn wait_for_ends(&self, count: usize) {
        self.wait(&format!("{count} ended connections"), |seen| (seen.ended >= count).then_some(()));
    }

    /// Waits for so many request heads, and gives the last of them.
    #[track_caller]
    pub fn wait_for_head(&self, count: usize) -> Head {
        self.wait(&format!("{count} heads"), |seen| seen.heads.get(count - 1).cloned())
    }

    /// Waits until a connection has received these bytes somewhere.
    #[track_caller]
    pub fn wait_for_received(&self, connection: usize, bytes: &[u8]) {
        self.wait(&format!("{} received", show(bytes)), |seen| {
            let received = seen.received.get(connection)?;
            super::contains(received, bytes).then_some(())
        });
    }
}

impl Conn {
    fn new(stream: TcpStream, record: Arc<Record>) -> io::Result<Conn> {
        let mut number = 0;
        record.change(|seen| {
            number = seen.connections;
            seen.connections += 1;
            seen.received.push(Vec::new());
        });
        let reading = record.clone();
        let note = move |bytes: &[u8]| {
            reading.change(|seen| {
                let kept = &mut seen.received[number];
                let room = KEPT_BYTES_MAX.saturating_sub(kept.len()).min(bytes.len());
                kept.extend_from_slice(&bytes[..room]);
                seen.received_bytes += bytes.len() as u64;
            });
        };
        Ok(Conn { wire: Wire::new(stream, Some(Box::new(note)))?, number, record })
    }

    fn send_generated(&mut self, length: u64, chunked: bool) -> io::Result<()> {
        let mut offset = 0;
        while offset < length {
            let take = (length - offset).min(48 * 1024);
            let mut bytes = pattern(offset, take as usize);
            if chunked {
                bytes = [format!("{take:x}\r\n").as_bytes(), &bytes, b"\r\n"].concat();
            }
            self.send(bytes)?;
            offset += take;
        }
        if chunked { self.send("0\r\n\r\n") } else { Ok(()) }
    }
}

fn run_script(conn: Conn, record: &Record, script: &dyn Fn(Conn) -> io::Result<()>) {
    let number = conn.number;
    match catch_unwind(AssertUnwindSafe(|| script(conn))) {
        // A closed connection ends a script; the test asserts what it must have received before.
        Ok(Ok(()) | Err(_)) => record.change(|seen| seen.ended += 1),
        Err(_) => record.change(|seen| {
            seen.ended += 1;
            seen.faults.push(format!("the script of connection {number} failed"));
        }),
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect_timeout(&self.address, DEADLINE);
        if !std::thread::panicking() {
            let faults = std::mem::take(&mut self.record.seen().faults);
            assert!(faults.is_empty(), "{faults:?}");
        }
    }
}

/// A port of 127.0.0.1 where nothing listens. A socket has it until the tests end, so that no other test is given it.
pub fn refusing_port() -> u16 {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    let address = socket.local_addr().ok().and_then(|address| address.as_socket());
    std::mem::forget(socket);
    address.expect("its address").port()
}

/// A port of 127.0.0.1 for a program that is about to listen there: it was just given back by the system.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port()
}

/// A listener that accepts nothing beyond its backlog and never answers.
pub struct Mute {
    listener: TcpListener,
}

impl Mute {
    /// Listens.
    pub fn new() -> Mute {
        Mute { listener: TcpListener::bind("127.0.0.1:0").expect("a port") }
    }

    /// Where.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("its address")
    }

    /// Whether a client has connected.
    pub fn was_dialled(&self) -> bool {
        self.listener.set_nonblocking(true).expect("a mode");
        !matches!(self.listener.accept(), Err(error) if error.kind() == ErrorKind::WouldBlock)
    }
}
