//! Telling the service manager how far the daemon is (sd_notify(3)): a few lines over a datagram socket that it names in
//! `NOTIFY_SOCKET`. Nobody waits for it, and that nobody listens is no fault.

use rustix::time::{ClockId, clock_gettime};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;

/// Where the manager listens.
const VARIABLE: &str = "NOTIFY_SOCKET";

/// Longest status that is told (chosen): a line to be read.
const STATUS_CHARS_MAX: usize = 300;

/// The service manager, if there is one that wants to be told.
#[derive(Debug, Default)]
pub struct Manager(Option<UnixDatagram>);

impl Manager {
    /// Connects, which is to be done before the sandbox: what is connected stays so.
    pub fn connect() -> Manager {
        let Some(place) = std::env::var_os(VARIABLE).filter(|place| !place.is_empty()) else {
            return Manager(None);
        };
        match connect(place.as_bytes()) {
            Ok(socket) => Manager(Some(socket)),
            Err(error) => {
                log::warn!("cannot tell the service manager anything: {VARIABLE}: {error}");
                Manager(None)
            }
        }
    }

    /// Connections are taken, or the configuration has been read again, whatever came of it.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={}\n", line(status)));
    }

    /// The configuration is being read again.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let now_us = now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={now_us}\nSTATUS=reading the configuration again\n"));
    }

    /// The end has begun.
    pub fn stopping(&self, status: &str) {
        self.tell(&format!("STOPPING=1\nSTATUS={}\n", line(status)));
    }

    fn tell(&self, text: &str) {
        if let Some(Err(error)) = self.0.as_ref().map(|socket| socket.send(text.as_bytes())) {
            log::debug!("the service manager was not told: {error}");
        }
    }
}

fn connect(place: &[u8]) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    match place.strip_prefix(b"@") {
        Some(name) => connect_abstract(&socket, name)?,
        None => socket.connect(std::ffi::OsStr::from_bytes(place))?,
    }
    Ok(socket)
}

/// A name that is no path, which only Linux has.
#[cfg(target_os = "linux")]
fn connect_abstract(socket: &UnixDatagram, name: &[u8]) -> io::Result<()> {
    use std::os::linux::net::SocketAddrExt;
    socket.connect_addr(&std::os::unix::net::SocketAddr::from_abstract_name(name)?)
}

#[cfg(not(target_os = "linux"))]
fn connect_abstract(_socket: &UnixDatagram, _name: &[u8]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// One line, since each is an assignment.
fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(STATUS_CHARS_MAX).collect()
}
