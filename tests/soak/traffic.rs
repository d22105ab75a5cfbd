//! The clients of the soak: each kind of request, and all properties of its response.

use crate::common::{DEADLINE, Framing, Hash, Head, Response, Wire, pattern};
use crate::server::offset_of;
use base64::Engine as _;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Requests on one connection before the client closes it.
const REUSES_MAX: u32 = 40;

/// Requests sent at once without waiting for an answer.
const PIPELINED: u64 = 8;

/// Pages that the cache may store, of up to so many bytes: more than it has room for.
const PAGES: u64 = 97;
const PAGE_BYTES_MAX: u64 = 250_000;

/// So long may a head take.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(2);

/// Names that exist.
pub const NAMES: u64 = 200;

/// Everything that a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Kept,
    Closed,
    Named,
    Head,
    UploadLength,
    UploadChunked,
    UploadExpecting,
    DownloadLarge,
    DownloadChunked,
    DownloadUntilClose,
    TunnelEcho,
    TunnelPush,
    TunnelReset,
    DownloadAborted,
    UploadAborted,
    HeadAborted,
    SlowSender,
    SlowReader,
    Pipelined,
    RefusedByRule,
    WrongPassword,
    NoPassword,
    Malformed,
    UnknownName,
    RefusedPort,
    OriginReset,
    OriginTrickles,
    HeadTimeout,
    Shared,
    SharedPart,
    SharedKnown,
    SharedAborted,
    Purged,
}

/// How often each happens, in thousandths.
pub const MIX: [(Kind, u64); 33] = [
    (Kind::Kept, 168),
    (Kind::Closed, 100),
    (Kind::Named, 100),
    (Kind::Head, 20),
    (Kind::UploadLength, 70),
    (Kind::UploadChunked, 50),
    (Kind::UploadExpecting, 30),
    (Kind::DownloadLarge, 10),
    (Kind::DownloadChunked, 40),
    (Kind::DownloadUntilClose, 20),
    (Kind::TunnelEcho, 40),
    (Kind::TunnelPush, 20),
    (Kind::TunnelReset, 15),
    (Kind::DownloadAborted, 20),
    (Kind::UploadAborted, 15),
    (Kind::HeadAborted, 20),
    (Kind::SlowSender, 10),
    (Kind::SlowReader, 3),
    (Kind::Pipelined, 12),
    (Kind::RefusedByRule, 30),
    // Fewer than one in a second, which is what a client gets back of its guesses (rule 47): a right password is a guess, too,
    // when it comes for the first time after a reload.
    (Kind::WrongPassword, 2),
    (Kind::NoPassword, 13),
    (Kind::Malformed, 10),
    (Kind::UnknownName, 5),
    (Kind::RefusedPort, 5),
    (Kind::OriginReset, 10),
    (Kind::OriginTrickles, 10),
    (Kind::HeadTimeout, 2),
    (Kind::Shared, 110),
    (Kind::SharedPart, 15),
    (Kind::SharedKnown, 15),
    (Kind::SharedAborted, 7),
    (Kind::Purged, 3),
];

/// Which kind a number below 1000 stands for.
pub fn kind_of(number: u64) -> Kind {
    let mut left = number % 1000;
    for (kind, share) in MIX {
        match left.checked_sub(share) {
            None => return kind,
            Some(rest) => left = rest,
        }
    }
    Kind::Kept
}

/// The addresses of all servers.
#[derive(Clone, Debug)]
pub struct Places {
    pub proxy: SocketAddr,
    pub http: SocketAddr,
    pub tunnel: SocketAddr,
    pub refusing: u16,
}

/// A client: a connection that it keeps, and numbers of its own.
pub struct Client {
    places: Places,
    kept: Option<(Wire, u32)>,
    credentials: [String; 2],
}

fn bad(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.to_string())
}

fn expect(wanted: bool, what: impl FnOnce() -> String) -> io::Result<()> {
    if wanted { Ok(()) } else { Err(bad(what())) }
}

fn field(user: &str, password: &str) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Proxy-Authorization: Basic {text}\r\n")
}

impl Client {
    /// With the names and passwords of two users.
    pub fn new(places: Places, users: [(&str, &str); 2]) -> Client {
        Client { places, kept: None, credentials: users.map(|(user, password)| field(user, password)) }
    }

    /// Closes what is kept.
    pub fn leave(&mut self) {
        self.kept = None;
    }

    fn connect(&self) -> io::Result<Wire> {
        Wire::new(TcpStream::connect_timeout(&self.places.proxy, DEADLINE)?, None)
    }

    /// The kept connection, or a new one.
    fn kept(&mut self) -> io::Result<(Wire, u32)> {
        match self.kept.take() {
            Some(kept) if kept.1 < REUSES_MAX => Ok(kept),
            Some(_) | None => Ok((self.connect()?, 0)),
        }
    }

    fn credentials(&self, seed: u64) -> &str {
        &self.credentials[(seed % 2) as usize]
    }

    /// A head for the HTTP origin, by its address.
    fn request(&self, method: &str, path: &str, seed: u64, fields: &str) -> String {
        let http = self.places.http;
        let user = self.credentials(seed);
        format!("{method} http://{http}{path} HTTP/1.1\r\nHost: {http}\r\n{user}{fields}\r\n")
    }

    fn connect_tunnel(&self, seed: u64) -> io::Result<Wire> {
        let (tunnel, user) = (self.places.tunnel, self.credentials(seed));
        let mut wire = self.connect()?;
        wire.send(format!("CONNECT {tunnel} HTTP/1.1\r\nHost: {tunnel}\r\n{user}\r\n"))?;
        expect_status(&wire.read_response("CONNECT")?, 200)?;
        Ok(wire)
    }

    /// Does it. Returns how many lines the access log must have for it.
    pub fn perform(&mut self, kind: Kind, seed: u64) -> io::Result<u64> {
        match kind {
            Kind::Kept => self.get_kept("length", 100 + seed % 4000, seed),
            Kind::DownloadChunked => self.get_kept("chunked", seed % 100_000, seed),
            Kind::OriginTrickles => self.get_kept("trickle", 100 + seed % 1000, seed),
            Kind::DownloadLarge => self.get_kept("length", (1 << 20) + seed % (3 << 20), seed),
            Kind::Closed => self.get_closed("length", seed % 20_000, seed),
            Kind::DownloadUntilClose => self.get_closed("close", seed % 50_000, seed),
            Kind::Named => self.named(seed),
            Kind::Head => self.head(seed),
            Kind::UploadLength | Kind::UploadChunked | Kind::UploadExpecting => self.upload(kind, seed),
            Kind::TunnelEcho => self.tunnel_echo(seed),
            Kind::TunnelPush => self.tunnel_push(seed),
            Kind::TunnelReset => self.tunnel_reset(seed),
            Kind::DownloadAborted => self.abort_download(seed),
            Kind::UploadAborted => self.abort_upload(seed),
            Kind::HeadAborted => self.abort_head(seed),
            Kind::SlowSender => self.send_slowly(seed),
            Kind::SlowReader => self.read_slowly(seed),
            Kind::Pipelined => self.pipeline(seed),
            Kind::RefusedByRule => self.expect_answer("blocked.soak.test", self.credentials(seed), 403),
            Kind::WrongPassword => {
                let user = ["paul", "bea"][(seed % 2) as usize];
                self.expect_answer("blocked.soak.test", &field(user, &format!("wrong-{seed}")), 407)
            }
            Kind::NoPassword => self.expect_answer("blocked.soak.test", "", 407),
            Kind::UnknownName => self.expect_answer("missing.soak.test", self.credentials(seed), 502),
            Kind::RefusedPort => {
                let host = format!("127.0.0.1:{}", self.places.refusing);
                self.expect_answer(&host, self.credentials(seed), 502)
            }
            Kind::Malformed => self.malformed(seed),
            Kind::OriginReset => self.origin_reset(seed),
            Kind::HeadTimeout => self.time_out(),
            Kind::Shared => self.get_shared("", seed),
            Kind::SharedPart => {
                let (_, length) = page_of(seed);
                let first = seed / 11 % length;
                self.get_shared(&format!("Range: bytes={first}-{}\r\n", first + seed / 13 % length), seed)
            }
            Kind::SharedKnown => {
                self.get_shared(&format!("If-None-Match: \"{}\"\r\n", page_of(seed).0), seed)
            }
            Kind::SharedAborted => self.abort_shared(seed),
            Kind::Purged => self.purge(&shared_path(seed), ""),
        }
    }

    fn get_kept(&mut self, form: &str, length: u64, seed: u64) -> io::Result<u64> {
        let (mut wire, uses) = self.kept()?;
        wire.send(self.request("GET", &format!("/{form}/{length}/{seed}"), seed, ""))?;
        let head = wire.read_head()?;
        let framing = check_body(&mut wire, &head, length, seed)?;
        let wanted = if form == "chunked" { Framing::Chunked } else { Framing::Length };
        expect(framing == wanted, || format!("{framing:?} instead of {wanted:?}: {head:?}"))?;
        self.kept = Some((wire, uses + 1));
        Ok(1)
    }

    fn get_closed(&mut self, form: &str, length: u64, seed: u64) -> io::Result<u64> {
        let mut wire = self.connect()?;
        let path = format!("/{form}/{length}/{seed}");
        wire.send(self.request("GET", &path, seed, "Connection: close\r\n"))?;
        let head = wire.read_head()?;
        check_body(&mut wire, &head, length, seed)?;
        expect_end(&mut wire)?;
        Ok(1)
    }

    fn named(&mut self, seed: u64) -> io::Result<u64> {
        let (mut wire, uses) = self.kept()?;
        let host = format!("host-{}.soak.test:{}", seed % NAMES, self.places.http.port());
        let (length, user) = (seed % 3000, self.credentials(seed));
        wire.send(format!(
            "GET http://{host}/length/{length}/{seed} HTTP/1.1\r\nHost: {host}\r\n{user}\r\n"
        ))?;
        let head = wire.read_head()?;
        check_body(&mut wire, &head, length, seed)?;
        self.kept = Some((wire, uses + 1));
        Ok(1)
    }

    fn head(&mut self, seed: u64) -> io::Result<u64> {
        let (mut wire, uses) = self.kept()?;
        wire.send(self.request("HEAD", &format!("/length/{}/{seed}", 1 << 30), seed, ""))?;
        let answer = wire.read_response("HEAD")?;
        expect_status(&answer, 200)?;
        expect(answer.head.get("content-length") == Some("1073741824"), || format!("{answer:?}"))?;
        self.kept = Some((wire, uses + 1));
        Ok(1)
    }

    fn upload(&mut self, kind: Kind, seed: u64) -> io::Result<u64> {
        let length = seed % 150_000;
        let body = pattern(offset_of(seed), length as usize);
        let chunked = kind == Kind::UploadChunked;
        let framing = match kind {
            Kind::UploadChunked => "Transfer-Encoding: chunked\r\n".to_owned(),
            Kind::UploadExpecting => format!("Content-Length: {length}\r\nExpect: 100-continue\r\n"),
            _ => format!("Content-Length: {length}\r\n"),
        };
        let (mut wire, uses) = self.kept()?;
        wire.send(self.request("POST", "/sink", seed, &framing))?;
        if kind == Kind::UploadExpecting {
            let head = wire.read_head()?;
            expect(head.status() == 100, || format!("instead of 100 {head:?}"))?;
        }
        if chunked {
            for piece in body.chunks(1 + (seed % 9000) as usize) {
                wire.send([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat())?;
            }
            wire.send("0\r\n\r\n")?;
        } else {
            wire.send(&body)?;
        }
        let answer = wire.read_response("POST")?;
        expect_status(&answer, 200)?;
        let mut hash = Hash::new();
        hash.update(&body);
        expect(answer.text() == hash.to_string(), || format!("{} is not {hash}", answer.text()))?;
        self.kept = Some((wire, uses + 1));
        Ok(1)
    }

    fn tunnel_echo(&mut self, seed: u64) -> io::Result<u64> {
        let mut wire = self.connect_tunnel(seed)?;
        wire.send("echo\n")?;
        let mut hash = Hash::new();
        for piece in pattern(offset_of(seed), (seed % 200_000) as usize).chunks(16 << 10) {
            hash.update(piece);
            wire.send(piece)?;
            let back = wire.read_exact(piece.len())?;
            expect(back == piece, || "a tunnel's bytes came back changed".to_owned())?;
        }
        wire.half_close()?;
        let end = String::from_utf8_lossy(&wire.read_to_end()?).into_owned();
        expect(end == format!("end {hash}"), || format!("{end:?} after a half-close, not {hash}"))?;
        Ok(1)
    }

    fn tunnel_push(&mut self, seed: u64) -> io::Result<u64> {
        let mut wire = self.connect_tunnel(seed)?;
        let length = seed % 300_000;
        wire.send(format!("push {length} {seed}\n"))?;
        let came = wire.read_to_end()?;
        let wanted = pattern(offset_of(seed), length as usize);
        expect(came == wanted, || format!("{} bytes, or others, instead of {length}", came.len()))?;
        // The other direction is still open.
        wire.send("done")?;
        Ok(1)
    }

    fn tunnel_reset(&mut self, seed: u64) -> io::Result<u64> {
        let mut wire = self.connect_tunnel(seed)?;
        wire.send("echo\nhello")?;
        wire.read_exact(5)?;
        wire.reset();
        Ok(1)
    }

    fn abort_download(&mut self, seed: u64) -> io::Result<u64> {
        let mut wire = self.connect()?;
        wire.send(self.request("GET", &format!("/length/{}/{seed}", 8 << 20), seed, ""))?;
        let head = wire.read_head()?;
        expect(head.status() == 200, || format!("{head:?}"))?;
        let some = wire.read_exact(30_000)?;
        expect(some == pattern(offset_of(seed), some.len()), || "other bytes".to_owned())?;
        if seed % 2 == 0 {
            wire.reset();
        }
        Ok(1)
    }

    fn abort_upload(&mut self, seed: u64) -> io::Result<u64> {
        let mut wire = self.connect()?;
        let fields = "Content-Length: 1000000\r\nExpect: 100-continue\r\n";
        wire.send(self.request("POST", "/sink", seed, fields))?;
        let head = wire.read_head()?;
        expect(head.status() == 100, || format!("{head:?}"))?;
        wire.send(pattern(0, 100_000))?;
        if seed % 2 == 0 {
            wire.reset();
        }
        Ok(1)
    }

    /// A page that may be stored: all of it, a part, or that it is the known one.
    fn get_shared(&mut self, fields: &str, seed: u64) -> io::Result<u64> {
        let (page, length) = page_of(seed);
        let (mut wire, uses) = self.kept()?;
        wire.send(self.request("GET", &shared_path(seed), seed, fields))?;
        let answer = wire.read_response("GET")?;
        let bytes = &answer.body.bytes;
        let right = match (answer.status(), first_of(&answer.head)) {
            (200, None) => *bytes == pattern(offset_of(page), length as usize),
            (206, Some(first)) => *bytes == pattern(offset_of(page) + first, bytes.len()),
            (304, None) => fields.starts_with("If-None-Match") && bytes.is_empty(),
            _ => false,
        };
        expect(right, || format!("not page {page} of {length} bytes: {:?}, {}", answer.head, bytes.len()))?;
        self.kept = Some((wire, uses + 1));
        Ok(1)
    }

    fn abort_shared(&mut self, seed: u64) -> io::Result<u64> {
        let mut wire = self.connect()?;
        wire.send(self.request("GET", &shared_path(seed), seed, ""))?;
        let head = wire.read_head()?;
        expect(head.status() == 200, || format!("{head:?}"))?;
        wire.read_exact(20)?;
        if seed % 2 == 0 {
            wire.reset();
        }
        Ok(1)
    }

    /// Takes something out of the cache.
    pub fn purge(&mut self, path: &str, fields: &str) -> io::Result<u64> {
        let mut wire = self.connect()?;
        wire.send(self.request("PURGE", path, 0, fields))?;
        expect_status(&wire.read_response("PURGE")?, 200)?;
        Ok(1)
    }

    /// Goes away in the middle of a head: a line, and no answer. Without a reset, which may overtake the bytes.
    fn abort_head(&mut self, seed: u64) -> io::Result<u64> {
        let mut wire = self.connect()?;
        let head = self.request("GET", "/length/1/1", seed, "");
        wire.send(&head[..1 + seed as usize % (head.len() - 2)])?;
        Ok(1)
    }

    fn send_slowly(&mut self, seed: u64) -> io::Result<u64> {
        let mut wire = self.connect()?;
        let (length, mut sent) = (seed % 2000, 0);
        let head = self.request("GET", &format!("/length/{length}/{seed}"), seed, "");
        let began = Instant::now();
        while sent < head.len() {
            let take = (head.len() - sent).min(7);
            wire.send(&head[sent..sent + take])?;
            sent += take;
            std::thread::sleep(Duration::from_millis(20));
        }
        let took = began.elapsed();
        let head = wire.read_head()?;
        // Where the machine was too busy for as much as that.
        if head.status() == 408 && took >= HEAD_TIMEOUT {
            return Ok(1);
        }
        check_body(&mut wire, &head, length, seed)?;
        Ok(1)
    }

    fn read_slowly(&mut self, seed: u64) -> io::Result<u64> {
        let mut wire = self.connect()?;
        let length = 2 << 20;
        wire.send(self.request("GET", &format!("/length/{length}/{seed}"), seed, ""))?;
        let head = wire.read_head()?;
        // Until every buffer on the way is full.
        std::thread::sleep(Duration::from_millis(1500));
        check_body(&mut wire, &head, length, seed)?;
        Ok(1)
    }

    fn pipeline(&mut self, seed: u64) -> io::Result<u64> {
        let mut wire = self.connect()?;
        let heads = (0..PIPELINED).map(|n| {
            let path = format!("/length/{}/{}", 100 * n, seed + n);
            self.request("GET", &path, seed + n, "")
        });
        wire.send(heads.collect::<String>())?;
        for n in 0..PIPELINED {
            let head = wire.read_head()?;
            check_body(&mut wire, &head, 100 * n, seed + n)?;
        }
        Ok(PIPELINED)
    }

    /// An answer of weir's own that keeps the connection.
    fn expect_answer(&self, host: &str, user: &str, status: u16) -> io::Result<u64> {
        let mut wire = self.connect()?;
        for _ in 0..2 {
            wire.send(format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n{user}\r\n"))?;
            expect_status(&wire.read_response("GET")?, status)?;
        }
        Ok(2)
    }

    fn malformed(&mut self, seed: u64) -> io::Result<u64> {
        let mut wire = self.connect()?;
        wire.send(self.request("POST", "/sink", seed, "Content-Length: 1\r\nContent-Length: 2\r\n"))?;
        expect_status(&wire.read_response("POST")?, 400)?;
        expect_end(&mut wire)?;
        Ok(1)
    }

    fn origin_reset(&mut self, seed: u64) -> io::Result<u64> {
        let mut wire = self.connect()?;
        wire.send(self.request("GET", &format!("/reset/100000/{seed}"), seed, ""))?;
        match wire.read_response("GET") {
            Ok(answer) if answer.status() == 502 => Ok(1),
            Ok(answer) => Err(bad(format!("half a body passed for a whole one: {:?}", answer.head))),
            Err(error) if error.kind() == ErrorKind::TimedOut => Err(error),
            Err(_) => Ok(1),
        }
    }

    fn time_out(&mut self) -> io::Result<u64> {
        let mut wire = self.connect()?;
        wire.send("GET http://")?;
        expect_status(&wire.read_response("GET")?, 408)?;
        expect_end(&mut wire)?;
        Ok(1)
    }
}

/// A page, the first ones more often, and its length.
fn page_of(seed: u64) -> (u64, u64) {
    let page = (seed / 3 % PAGES) * (seed / 311 % PAGES) / PAGES;
    (page, 200 + page * 7919 % PAGE_BYTES_MAX)
}

fn shared_path(seed: u64) -> String {
    let (page, length) = page_of(seed);
    let form = if page % 4 == 3 { "shared-chunked" } else { "shared" };
    format!("/{form}/{length}/{page}")
}

/// The first byte of a part.
fn first_of(head: &Head) -> Option<u64> {
    head.get("content-range")?.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

fn expect_status(answer: &Response, status: u16) -> io::Result<()> {
    expect(answer.status() == status, || format!("instead of {status} {answer:?}"))
}

fn expect_end(wire: &mut Wire) -> io::Result<()> {
    let rest = wire.read_to_end()?;
    expect(rest.is_empty(), || format!("{} bytes behind the answer", rest.len()))
}

/// Reads a body and compares every byte as it comes.
fn check_body(wire: &mut Wire, head: &Head, length: u64, seed: u64) -> io::Result<Framing> {
    expect(head.status() == 200, || format!("{head:?}"))?;
    let (mut at, mut right) = (0, true);
    let (framing, trailers) = wire.read_body_into(head, true, &mut |part| {
        right &= part == pattern(offset_of(seed) + at, part.len());
        at += part.len() as u64;
    })?;
    expect(right && at == length && trailers.is_empty(), || {
        format!("{at} bytes of {length}, {}", if right { "short or long" } else { "some of them others" })
    })?;
    Ok(framing)
}

/// How long one of the small requests takes.
pub fn timed(work: impl FnOnce() -> io::Result<u64>) -> (io::Result<u64>, u32) {
    let began = Instant::now();
    let result = work();
    (result, began.elapsed().as_micros().min(u128::from(u32::MAX)) as u32)
}
