//! One end of a TCP connection that speaks bytes, and just enough HTTP to read what comes back.

use super::bytes::{find, latin1, show};
use super::{DEADLINE, Hash};
use socket2::{Domain, SockRef, Socket, Type};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// A head as it came: exact bytes, and the fields one by one (one character per byte, values trimmed).
#[derive(Clone)]
pub struct Head {
    /// Everything up to and with the empty line.
    pub raw: Vec<u8>,
    /// The first line.
    pub start: String,
    /// Names as spelt, values.
    pub fields: Vec<(String, String)>,
}

impl std::fmt::Debug for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&show(&self.raw))
    }
}

impl Head {
    fn parse(raw: Vec<u8>) -> io::Result<Head> {
        let text = latin1(&raw);
        if text.replace("\r\n", "").contains(['\r', '\n', '\0']) {
            return Err(io::Error::new(ErrorKind::InvalidData, format!("stray line ends in {}", show(&raw))));
        }
        let mut lines = text.split("\r\n");
        let start = lines.next().unwrap_or("").to_owned();
        let fields = fields_of(lines.take_while(|line| !line.is_empty()))?;
        Ok(Head { raw, start, fields })
    }

    /// Status of a response.
    #[track_caller]
    pub fn status(&self) -> u16 {
        let word = self.start.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)).unwrap_or("");
        word.parse().unwrap_or_else(|_| panic!("no status in {self:?}"))
    }

    /// Method of a request.
    pub fn method(&self) -> &str {
        self.start.split(' ').next().unwrap_or("")
    }

    /// Target of a request.
    pub fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or("")
    }

    /// All values of a field, line by line.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }

    /// The value of a field that must not be there twice.
    #[track_caller]
    pub fn get(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} is there {} times in {self:?}", all.len());
        all.first().copied()
    }

    /// Whether a field is there.
    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// Whether the comma-separated field names this member (without regard to case).
    pub fn lists(&self, name: &str, member: &str) -> bool {
        self.all(name).iter().flat_map(|v| v.split(',')).any(|m| m.trim().eq_ignore_ascii_case(member))
    }
}

fn fields_of<'a>(lines: impl Iterator<Item = &'a str>) -> io::Result<Vec<(String, String)>> {
    let split = |line: &'a str| match line.split_once(':') {
        Some((name, value)) if !name.is_empty() && !name.contains([' ', '\t']) => {
            Ok((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
        }
        _ => Err(io::Error::new(ErrorKind::InvalidData, format!("not a field line: {line:?}"))),
    };
    lines.map(split).collect()
}

/// How the end of a body was marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    Empty,
    /// Content-Length.
    Length,
    /// Transfer-Encoding: chunked.
    Chunked,
    /// The end of the connection.
    UntilClose,
}

/// A body, read to its end.
#[derive(Clone, Debug)]
pub struct Body {
    /// Without chunk framing.
    pub bytes: Vec<u8>,
    /// Fields after the last chunk.
    pub trailers: Vec<(String, String)>,
    /// How it was framed.
    pub framing: Framing,
}

/// A final response with the interim ones that came before it.
#[derive(Clone)]
pub struct Response {
    /// 1xx heads, in order.
    pub interim: Vec<Head>,
    /// The final head.
    pub head: Head,
    /// Its body.
    pub body: Body,
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {}", self.head, show(&self.body.bytes))
    }
}

impl Response {
    /// Status of the final head.
    #[track_caller]
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        latin1(&self.body.bytes)
    }
}

/// A callback for all received bytes.
pub type Onlooker = Box<dyn FnMut(&[u8]) + Send>;

/// One end of a connection. Every wait ends at the deadline, as an error.
pub struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
    seen: Option<Onlooker>,
}

impl Wire {
    /// Takes over a connected stream; `seen` is shown everything that is received.
    pub fn new(stream: TcpStream, seen: Option<Onlooker>) -> io::Result<Wire> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Wire { stream, buffer: Vec::new(), seen })
    }

    /// The stream itself.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends all of it.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Sends what the socket takes at once; 0 when it takes nothing for `patience`.
    pub fn send_some(&mut self, bytes: &[u8], patience: Duration) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(patience))?;
        let sent = match self.stream.write(bytes) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(0),
            other => other,
        };
        self.stream.set_write_timeout(Some(DEADLINE))?;
        sent
    }

    /// Says that nothing more is sent.
    pub fn half_close(&mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Ends the connection with a reset.
    pub fn reset(self) {
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut block = [0; 16 * 1024];
        let length = loop {
            match self.stream.read(&mut block) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let had = show(&self.buffer);
                    return Err(io::Error::new(
                        ErrorKind::TimedOut,
                        format!("nothing came for long; before: {had}"),
                    ));
                }
                other => break other?,
            }
        };
        if let Some(seen) = &mut self.seen {
            seen(&block[..length]);
        }
        self.buffer.extend_from_slice(&block[..length]);
        Ok(length)
    }

    fn fill_or_end(&mut self) -> io::Result<()> {
        match self.fill()? {
            0 => Err(io::Error::new(ErrorKind::UnexpectedEof, format!("ended after {}", show(&self.buffer)))),
            _ => Ok(()),
        }
    }

    /// Everything up to and with `mark`.
    pub fn read_until(&mut self, mark: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = find(&self.buffer, mark) {
                return Ok(self.buffer.drain(..at + mark.len()).collect());
            }
            self.fill_or_end()?;
        }
    }

    /// Exactly `length` bytes.
    pub fn read_exact(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < length {
            self.fill_or_end()?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    /// At least one byte, or none at the end.
    pub fn read_some(&mut self) -> io::Result<Vec<u8>> {
        if self.buffer.is_empty() {
            self.fill()?;
        }
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Everything to the end; a reset is an error.
    pub fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        while self.fill()? > 0 {}
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Whether anything can be read within `patience`: bytes, an end or an error.
    pub fn is_silent_for(&mut self, patience: Duration) -> io::Result<bool> {
        if !self.buffer.is_empty() {
            return Ok(false);
        }
        self.stream.set_read_timeout(Some(patience))?;
        let silent = match self.stream.peek(&mut [0]) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => true,
            Ok(_) | Err(_) => false,
        };
        self.stream.set_read_timeout(Some(DEADLINE))?;
        Ok(silent)
    }

    /// A head; `None` if the connection ends cleanly before its first byte.
    pub fn read_head_or_end(&mut self) -> io::Result<Option<Head>> {
        if self.buffer.is_empty() && self.fill()? == 0 {
            return Ok(None);
        }
        self.read_head().map(Some)
    }

    /// A head.
    pub fn read_head(&mut self) -> io::Result<Head> {
        Head::parse(self.read_until(b"\r\n\r\n")?)
    }

    /// The body that belongs to a head, in pieces; `until_close` says what no framing at all means.
    pub fn read_body_into(
        &mut self,
        head: &Head,
        until_close: bool,
        sink: &mut dyn FnMut(&[u8]),
    ) -> io::Result<(Framing, Vec<(String, String)>)> {
        if head.has("transfer-encoding") {
            return Ok((Framing::Chunked, self.read_chunks(sink)?));
        }
        if let Some(length) = head.get("content-length") {
            let bad = |_| io::Error::new(ErrorKind::InvalidData, format!("Content-Length {length:?}"));
            self.read_counted(length.parse().map_err(bad)?, sink)?;
            return Ok((Framing::Length, Vec::new()));
        }
        if !until_close {
            return Ok((Framing::Empty, Vec::new()));
        }
        loop {
            sink(&std::mem::take(&mut self.buffer));
            if self.fill()? == 0 {
                return Ok((Framing::UntilClose, Vec::new()));
            }
        }
    }

    fn read_counted(&mut self, length: u64, sink: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let mut left = length;
        while left > 0 {
            if self.buffer.is_empty() {
                self.fill_or_end()?;
            }
            let take = (self.buffer.len() as u64).min(left) as usize;
            sink(&self.buffer[..take]);
            self.buffer.drain(..take);
            left -= take as u64;
        }
        Ok(())
    }

    fn read_chunks(&mut self, sink: &mut dyn FnMut(&[u8])) -> io::Result<Vec<(String, String)>> {
        loop {
            let line = latin1(&self.read_until(b"\r\n")?);
            let bad = |_| io::Error::new(ErrorKind::InvalidData, format!("chunk size line {line:?}"));
            let size = u64::from_str_radix(line.trim_end(), 16).map_err(bad)?;
            if size == 0 {
                break;
            }
            self.read_counted(size, sink)?;
            let end = self.read_exact(2)?;
            if end != b"\r\n" {
                return Err(io::Error::new(
                    ErrorKind::InvalidData,
                    format!("after chunk data: {}", show(&end)),
                ));
            }
        }
        let mut lines = Vec::new();
        loop {
            let line = latin1(&self.read_until(b"\r\n")?);
            if line == "\r\n" {
                return fields_of(lines.iter().map(|line: &String| line.trim_end_matches("\r\n")));
            }
            lines.push(line);
        }
    }

    /// The body that belongs to a head.
    pub fn read_body(&mut self, head: &Head, until_close: bool) -> io::Result<Body> {
        let mut bytes = Vec::new();
        let (framing, trailers) =
            self.read_body_into(head, until_close, &mut |part| bytes.extend_from_slice(part))?;
        Ok(Body { bytes, trailers, framing })
    }

    /// A response to a request with this method, interim responses first.
    pub fn read_response(&mut self, method: &str) -> io::Result<Response> {
        let mut interim = Vec::new();
        loop {
            let head = self.read_head()?;
            let status = head.status();
            if (100..200).contains(&status) && status != 101 {
                interim.push(head);
                continue;
            }
            let empty = method == "HEAD" || matches!(status, 101 | 204 | 304);
            let connected = method == "CONNECT" && (200..300).contains(&status);
            let body = if empty || connected {
                Body { bytes: Vec::new(), trailers: Vec::new(), framing: Framing::Empty }
            } else {
                self.read_body(&head, true)?
            };
            return Ok(Response { interim, head, body });
        }
    }
}

/// A client that speaks bytes; whatever does not happen by the deadline fails the test.
pub struct Raw(Wire);

impl Raw {
    /// Connects.
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Raw {
        let stream = TcpStream::connect_timeout(&address, DEADLINE).expect("a connection");
        Raw(Wire::new(stream, None).expect("socket options"))
    }

    /// Connects from a certain address of this machine.
    #[track_caller]
    pub fn connect_from(address: SocketAddr, source: IpAddr) -> Raw {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::new(source, 0).into()).expect("a source address");
        socket.connect_timeout(&address.into(), DEADLINE).expect("a connection");
        Raw(Wire::new(socket.into(), None).expect("socket options"))
    }

    /// Connects with a receive buffer as small as the system allows, for readers that do not read.
    #[track_caller]
    pub fn connect_small(address: SocketAddr) -> Raw {
        Raw::connect_with_window(address, 16 * 1024)
    }

    /// Connects with a receive buffer of so many bytes.
    pub fn connect_with_window(address: SocketAddr, bytes: usize) -> Raw {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(bytes).expect("a buffer size");
        socket.connect_timeout(&address.into(), DEADLINE).expect("a connection");
        Raw(Wire::new(socket.into(), None).expect("socket options"))
    }

    /// The Results-giving end below.
    pub fn wire(&mut self) -> &mut Wire {
        &mut self.0
    }

    /// The address this end has.
    #[track_caller]
    pub fn local(&self) -> SocketAddr {
        self.0.stream.local_addr().expect("a local address")
    }

    /// A second handle on the same socket, with nothing buffered: one thread sends, another reads.
    #[track_caller]
    pub fn second_handle(&self) -> Raw {
        Raw(Wire::new(self.0.stream.try_clone().expect("a second handle"), None).expect("socket options"))
    }

    /// Sends all of it.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.send(bytes.as_ref()).unwrap_or_else(|e| panic!("sending {}: {e}", show(bytes.as_ref())));
    }

    /// Sends what may already be unwelcome: a closed connection is no failure.
    pub fn send_if_open(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.0.send(bytes);
    }

    /// Sends in pieces of `size` bytes, each a segment of its own.
    #[track_caller]
    pub fn send_slowly(&mut self, bytes: impl AsRef<[u8]>, size: usize) {
        for piece in bytes.as_ref().chunks(size) {
            self.send(piece);
            // The other side's loop gets a turn between any two pieces.
            std::thread::sleep(Duration::from_micros(300));
        }
    }

    /// Sends `length` bytes of the pattern.
    #[track_caller]
    pub fn send_pattern(&mut self, length: u64) {
        let mut offset = 0;
        while offset < length {
            let take = (length - offset).min(1 << 16);
            self.send(super::pattern(offset, take as usize));
            offset += take;
        }
    }

    /// A head.
    #[track_caller]
    pub fn read_head(&mut self) -> Head {
        self.0.read_head().unwrap_or_else(|e| panic!("reading a head: {e}"))
    }

    /// A response to a GET (or anything else with a body).
    #[track_caller]
    pub fn read_response(&mut self) -> Response {
        self.read_response_to("GET")
    }

    /// A response to a request with this method.
    #[track_caller]
    pub fn read_response_to(&mut self, method: &str) -> Response {
        self.0.read_response(method).unwrap_or_else(|e| panic!("reading a response to {method}: {e}"))
    }

    /// A response, or how it fell short.
    pub fn try_read_response(&mut self, method: &str) -> io::Result<Response> {
        self.0.read_response(method)
    }

    /// Sends and reads the response.
    #[track_caller]
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> Response {
        let method = latin1(request.as_ref()).split(' ').next().unwrap_or("").to_owned();
        self.send(request);
        self.read_response_to(&method)
    }

    /// Exactly `length` bytes.
    #[track_caller]
    pub fn read_exact(&mut self, length: usize) -> Vec<u8> {
        self.0.read_exact(length).unwrap_or_else(|e| panic!("reading {length} bytes: {e}"))
    }

    /// Everything up to and with `mark`.
    #[track_caller]
    pub fn read_until(&mut self, mark: &[u8]) -> Vec<u8> {
        self.0.read_until(mark).unwrap_or_else(|e| panic!("reading until {}: {e}", show(mark)))
    }

    /// The body of a response, only hashed.
    #[track_caller]
    pub fn hash_body(&mut self, head: &Head) -> (Hash, Framing) {
        let mut hash = Hash::new();
        let (framing, _) = self
            .0
            .read_body_into(head, true, &mut |part| hash.update(part))
            .unwrap_or_else(|e| panic!("reading a body: {e}"));
        (hash, framing)
    }

    /// The bytes before the end, a FIN or a reset; fails without an end.
    #[track_caller]
    pub fn read_to_end(&mut self) -> Vec<u8> {
        match self.0.read_to_end() {
            Ok(bytes) => bytes,
            Err(error) if is_reset(&error) => std::mem::take(&mut self.0.buffer),
            Err(error) => panic!("the connection did not end: {error}"),
        }
    }

    /// The connection ends now, by FIN or reset, without another byte.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        let bytes = self.read_to_end();
        assert!(bytes.is_empty(), "instead of an end came {}", show(&bytes));
    }

    /// The connection ends now with a FIN.
    #[track_caller]
    pub fn expect_fin(&mut self) {
        match self.0.read_to_end() {
            Ok(bytes) => assert!(bytes.is_empty(), "instead of a FIN came {}", show(&bytes)),
            Err(error) => panic!("instead of a FIN: {error}"),
        }
    }

    /// The connection is reset now.
    #[track_caller]
    pub fn expect_reset(&mut self) {
        match self.0.read_to_end() {
            Ok(bytes) => panic!("instead of a reset came {} and a FIN", show(&bytes)),
            Err(error) => assert!(is_reset(&error), "instead of a reset: {error}"),
        }
    }

    /// Nothing comes for a while: for what must not happen.
    #[track_caller]
    pub fn expect_silence(&mut self, patience: Duration) {
        let silent = self.0.is_silent_for(patience).expect("socket options");
        assert!(silent, "silence was broken by {:?}", self.0.read_some().map(|bytes| show(&bytes)));
    }

    /// Says that nothing more is sent.
    #[track_caller]
    pub fn half_close(&mut self) {
        self.0.half_close().unwrap_or_else(|e| panic!("half-closing: {e}"));
    }

    /// Ends the connection with a reset.
    pub fn reset(self) {
        self.0.reset();
    }
}

fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe)
}
