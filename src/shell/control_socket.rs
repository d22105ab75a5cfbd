//! The socket for operators (`control`): the client sends one line of words, the daemon answers and closes.
//!
//! The lines of an answer begin with a blank. The last line does not: it has the exit code for `weir ctl`, and possibly a
//! text. Threads other than the loops answer, as for monitoring systems: see `visits`.

use super::handover;
use super::visits::{self, Timed};
use socket2::{Domain, SockAddr, Socket, Type};
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a client may take for its line, and for reading the answer (chosen).
const VISIT_WITHIN: Duration = Duration::from_secs(5);

/// How long a successor may take from the receipt of its sockets to its readiness (chosen, as for a reload: the largest lists
/// take seconds).
const TAKEN_WITHIN: Duration = Duration::from_secs(60);

/// The messages of a successor: it requests the listening sockets; it serves them.
const TAKE_OVER: &str = "take-over";
const TAKEN: &str = "taken";

/// The command that a successor's readiness causes, as if an operator had sent it.
const DRAIN: &str = "drain";

/// Longest line (chosen: several times the longest command).
const LINE_BYTES_MAX: usize = 4096;

/// Connections that wait to be taken (chosen).
const BACKLOG: i32 = 16;

/// Only the owner may connect; for a socket that is the right to write.
const MODE: u32 = 0o600;

/// A socket that listens for operators, and its file.
#[derive(Debug)]
pub struct ControlSocket {
    socket: Socket,
    file: SocketFile,
}

/// Device, inode and the time of the last change: the number of a removed inode is soon another file's.
type Identity = (u64, u64, i64, i64);

fn identity(metadata: &fs::Metadata) -> Identity {
    (metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
}

/// The file of a socket; removed when dropped, unless another one has its name by now.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: Identity,
}

/// The answer to one line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// Lines to be printed.
    pub body: String,
    /// The exit code.
    pub code: u8,
    /// A further text; may be empty.
    pub text: String,
}

impl ControlSocket {
    /// Listens. A socket on which no process listens any more is replaced; anything else of that name stays, and is an error.
    pub fn bind(path: &Path) -> io::Result<ControlSocket> {
        remove_stale(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // On Linux the file gets its mode from the socket, so other users cannot connect at any moment. On other systems this
        // may fail, and connections are refused until the socket listens.
        let _ = rustix::fs::fchmod(&socket, rustix::fs::Mode::from_raw_mode(MODE as _));
        socket.bind(&SockAddr::unix(path)?)?;
        fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
        socket.listen(BACKLOG)?;
        let metadata = fs::symlink_metadata(path)?;
        let file = SocketFile { path: std::path::absolute(path)?, identity: identity(&metadata) };
        Ok(ControlSocket { socket, file })
    }

    /// Starts threads that answer until the process ends. `answer` is called with the line and the number of the client's
    /// user; `sockets` returns the sockets for a successor (an error refuses them).
    pub fn serve(
        self,
        answer: impl Fn(&str, Option<u32>) -> Reply + Send + Sync + 'static,
        sockets: impl Fn() -> io::Result<Vec<OwnedFd>> + Send + Sync + 'static,
    ) -> io::Result<SocketFile> {
        let has_successor = AtomicBool::new(false);
        let give = move |socket: &Socket| {
            // Two that serve the same sockets would stay beside each other for good.
            if has_successor.swap(true, Ordering::SeqCst) {
                return Err(io::Error::other("another weir takes over already"));
            }
            hand_over(socket, &sockets).inspect_err(|_| has_successor.store(false, Ordering::SeqCst))
        };
        visits::serve("weir-control", self.socket, move |socket| visit(socket, &answer, &give))?;
        Ok(self.file)
    }
}

/// A socket on which no process listens is left over from one that was killed.
fn remove_stale(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(ErrorKind::AlreadyExists, "there is a file that is no socket"));
    }
    match connect(path, Duration::ZERO) {
        Ok(_) => Err(ErrorKind::AddrInUse.into()),
        // Its queue is full.
        Err(error) if error.kind() == ErrorKind::TimedOut => Err(ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let found = fs::symlink_metadata(&self.path);
        if found.is_ok_and(|found| identity(&found) == self.identity) {
            if let Err(error) = fs::remove_file(&self.path) {
                log::warn!("{}: the socket stays: {error}", self.path.display());
            }
        }
    }
}

fn visit(
    socket: &Socket,
    answer: &dyn Fn(&str, Option<u32>) -> Reply,
    give: &dyn Fn(&Socket) -> io::Result<()>,
) {
    let mut timed = Timed::new(socket, VISIT_WITHIN);
    let Ok(line) = timed.read_until(LINE_BYTES_MAX, |bytes| bytes.contains(&b'\n')) else { return };
    let reply = match line.as_deref().map(line_of) {
        Some(Some(TAKE_OVER)) => match give(socket) {
            Ok(()) => answer(DRAIN, user_of(socket)),
            Err(error) => Reply { code: 71, text: error.to_string(), ..Reply::default() },
        },
        Some(Some(line)) => answer(line, user_of(socket)),
        Some(None) | None => Reply {
            code: 64,
            text: format!("expected one line of text of at most {LINE_BYTES_MAX} bytes"),
            ..Reply::default()
        },
    };
    // The command may have taken longer than a visit.
    let mut timed = Timed::new(socket, VISIT_WITHIN);
    if timed.write_all(reply.written().as_bytes()).is_ok() {
        timed.finish();
    }
}

/// Gives a successor the sockets, and waits until it serves them. Until then this process serves them as before, and
/// continues if the successor fails.
fn hand_over(socket: &Socket, sockets: &dyn Fn() -> io::Result<Vec<OwnedFd>>) -> io::Result<()> {
    give_until_taken(socket, &sockets()?).inspect_err(|error| {
        log::warn!(
            "control: the weir that asked for the listening sockets does not serve them: going on ({error})"
        );
    })
}

fn give_until_taken(socket: &Socket, sockets: &[OwnedFd]) -> io::Result<()> {
    let borrowed: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
    handover::give(socket, &borrowed, Reply::default().written().as_bytes())?;
    let line = Timed::new(socket, TAKEN_WITHIN)
        .read_until(LINE_BYTES_MAX, |bytes| bytes.contains(&b'\n'))
        .map_err(|error| in_words(error, TAKEN_WITHIN))?;
    match line.as_deref().and_then(line_of) {
        Some(TAKEN) => Ok(()),
        Some(_) => Err(io::Error::other("expected taken")),
        None => Err(io::Error::other("it has closed the connection")),
    }
}

/// The error in words, if the other weir was late: it may be stopped, or have no processor time.
fn in_words(error: io::Error, within: Duration) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            io::Error::new(ErrorKind::TimedOut, format!("no answer came within {within:?}"))
        }
        _ => error,
    }
}

/// The first line, without control characters.
fn line_of(bytes: &[u8]) -> Option<&str> {
    let end = memchr::memchr(b'\n', bytes)?;
    let line = std::str::from_utf8(&bytes[..end]).ok()?;
    let line = line.strip_suffix('\r').unwrap_or(line);
    (!line.contains(|c: char| c.is_control())).then_some(line)
}

/// The user of the process at the other end, from the system.
#[cfg(target_os = "linux")]
fn user_of(socket: &Socket) -> Option<u32> {
    rustix::net::sockopt::socket_peercred(socket).ok().map(|peer| peer.uid.as_raw())
}

/// Other systems do not report the user.
#[cfg(not(target_os = "linux"))]
fn user_of(_socket: &Socket) -> Option<u32> {
    None
}

impl Reply {
    /// A successful reply with these lines.
    pub fn done(body: impl Into<String>) -> Reply {
        Reply { body: body.into(), ..Reply::default() }
    }

    fn written(&self) -> String {
        let mut out: String = self.body.lines().map(|line| format!(" {line}\n")).collect();
        // The text must be one line.
        let text = self.text.replace(['\n', '\r'], "; ");
        out.push_str(format!("{} {text}", self.code).trim_end());
        out.push('\n');
        out
    }

    /// Reads an answer; `None` if it is incomplete.
    fn read(text: &str) -> Option<Reply> {
        let mut reply = Reply::default();
        let mut lines = text.strip_suffix('\n')?.split('\n').peekable();
        while let Some(line) = lines.next() {
            match (line.strip_prefix(' '), lines.peek()) {
                (Some(line), Some(_)) => {
                    reply.body.push_str(line);
                    reply.body.push('\n');
                }
                (None, None) => {
                    let (code, text) = line.split_once(' ').unwrap_or((line, ""));
                    (reply.code, reply.text) = (code.parse().ok()?, text.to_owned());
                    return Some(reply);
                }
                (Some(_), None) | (None, Some(_)) => return None,
            }
        }
        None
    }
}

/// Connects to a running daemon. Waits while its queue is full, at most `within`, and fails with [`ErrorKind::TimedOut`] then: a daemon
/// that stands still takes no connection.
fn connect(path: &Path, within: Duration) -> io::Result<UnixStream> {
    const TRY_EVERY: Duration = Duration::from_millis(20);
    let until = Instant::now() + within;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let address = SockAddr::unix(path)?;
    loop {
        match socket.connect(&address) {
            Ok(()) => break,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if Instant::now() >= until {
            return Err(ErrorKind::TimedOut.into());
        }
        std::thread::sleep(TRY_EVERY);
    }
    socket.set_nonblocking(false)?;
    Ok(socket.into())
}

/// Sends a line to a running daemon, and waits for its answer, at most `within`.
pub fn ask(path: &Path, line: &str, within: Duration) -> io::Result<Reply> {
    let mut stream = connect(path, within)?;
    stream.write_all(format!("{line}\n").as_bytes())?;
    let socket = Socket::from(stream);
    let mut timed = Timed::new(&socket, within);
    let mut answer = Vec::new();
    io::Read::read_to_end(&mut timed, &mut answer)?;
    let reply = std::str::from_utf8(&answer).ok().and_then(Reply::read);
    reply.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "the answer is not whole"))
}

/// The connection to the weir whose sockets this one takes.
#[derive(Debug)]
pub struct Predecessor(UnixStream);

/// Requests the listening sockets of a running daemon. The daemon continues to serve until [`Predecessor::relieve`].
pub fn take_over(path: &Path) -> io::Result<(Predecessor, Vec<OwnedFd>)> {
    let mut stream = connect(path, VISIT_WITHIN).map_err(|error| in_words(error, VISIT_WITHIN))?;
    stream.set_read_timeout(Some(VISIT_WITHIN))?;
    stream.write_all(format!("{TAKE_OVER}\n").as_bytes())?;
    let (text, sockets) = handover::take(&stream).map_err(|error| in_words(error, VISIT_WITHIN))?;
    match std::str::from_utf8(&text).ok().and_then(Reply::read) {
        Some(Reply { code: 0, .. }) if !sockets.is_empty() => Ok((Predecessor(stream), sockets)),
        Some(reply) => Err(io::Error::other(reply.text)),
        None => Err(io::Error::new(ErrorKind::InvalidData, "the answer is not whole")),
    }
}

impl Predecessor {
    /// Reports that its sockets are served, so that it drains. Returns its reply.
    pub fn relieve(self) -> io::Result<Reply> {
        let sent = (&self.0).write_all(format!("{TAKEN}\n").as_bytes());
        let mut answer = Vec::new();
        let received = io::Read::read_to_end(&mut &self.0, &mut answer);
        // The old weir has replied and closed already if it has waited for too long.
        if let Some(reply) = std::str::from_utf8(&answer).ok().and_then(Reply::read) {
            return Ok(reply);
        }
        sent.and(received).map_err(|error| in_words(error, VISIT_WITHIN))?;
        Err(io::Error::new(ErrorKind::InvalidData, "the answer is not whole"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for (body, code, text, expected) in [
            ("", 0, "", "0\n"),
            ("a\n b\n\n", 0, "", " a\n  b\n \n0\n"),
            ("0\n", 78, "a\nb", " 0\n78 a; b\n"),
        ] {
            let reply = Reply { body: body.to_owned(), code, text: text.to_owned() };
            let written = reply.written();
            assert_eq!(written, expected);
            let read = Reply::read(&written).expect("a whole answer");
            assert_eq!((read.body.as_str(), read.code, read.text), (body, code, text.replace('\n', "; ")));
            for end in 0..written.len() {
                assert_eq!(Reply::read(&written[..end]), None, "{:?} is not whole", &written[..end]);
            }
        }
        assert_eq!(Reply::read("0\n0\n"), None);
        assert_eq!(Reply::read("x\n"), None);
    }

    #[test]
    fn a_successor_that_is_late_reads_why_the_weir_before_goes_on() {
        let (before, successor) = UnixStream::pair().unwrap();
        let reply = Reply { code: 71, text: "no answer came within 60s".to_owned(), ..Reply::default() };
        (&before).write_all(reply.written().as_bytes()).unwrap();
        drop(before);
        assert_eq!(Predecessor(successor).relieve().unwrap(), reply);
    }

    #[test]
    fn lines_are_text() {
        for (bytes, line) in [
            (&b"stats\n"[..], Some("stats")),
            (b"stats\r\nmore", Some("stats")),
            (b"\n", Some("")),
            (b"stats", None),
            (b"a\tb\n", None),
            (b"\xff\n", None),
        ] {
            assert_eq!(line_of(bytes), line, "{bytes:?}");
        }
    }

    #[test]
    fn a_stale_socket_is_replaced_and_nothing_else() {
        let folder = std::env::temp_dir().join(format!("weir-control-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("socket");
        let first = ControlSocket::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(ControlSocket::bind(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
        // As if the process had been killed.
        let ControlSocket { socket, file } = first;
        drop(socket);
        let second = ControlSocket::bind(&path).unwrap();
        drop(file);
        assert!(path.exists(), "it is another's");
        drop(second);
        assert!(!path.exists());
        fs::write(&path, "precious").unwrap();
        assert_eq!(ControlSocket::bind(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);
        let link = folder.join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(ControlSocket::bind(&link).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        fs::remove_dir_all(folder).unwrap();
    }
}
