//! Reports the state of the daemon to the service manager (sd_notify(3)): a few lines over a datagram socket that `NOTIFY_SOCKET` names.
//! The daemon waits for no answer, and a socket without a listener is no fault. With `WATCHDOG_USEC` the daemon also reports that the
//! loops turn; the manager restarts a daemon that is silent for that time (sd_watchdog_enabled(3)).

use rustix::time::{ClockId, clock_gettime};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::thread;
use std::time::{Duration, Instant};

/// Names the socket of the manager.
const VARIABLE: &str = "NOTIFY_SOCKET";

/// The time in microseconds after which the manager restarts a silent process, and the id of that process.
const WATCHDOG: &str = "WATCHDOG_USEC";
const WATCHDOG_PROCESS: &str = "WATCHDOG_PID";

/// The loops are asked at most this often (chosen: a shorter time would load them).
const ASKED_EVERY_MIN: Duration = Duration::from_millis(10);

/// Longest status in characters (chosen: one line for a reader).
const STATUS_CHARS_MAX: usize = 300;

/// The service manager, if one has set `NOTIFY_SOCKET`.
#[derive(Debug, Default)]
pub struct Manager(Option<UnixDatagram>);

impl Manager {
    /// Connects. Called before the sandbox is entered; an open connection stays usable.
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

    /// Reports that connections are accepted, or that a reload has ended, with any outcome.
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

    /// Starts a thread that asks the loops twice in the manager's time, and reports to the manager each time that all of them have
    /// turned. The thread never answers for a loop: when one loop stands still, the manager hears nothing. `all_turn` waits for the
    /// loops, at most for the given time.
    pub fn begin_watch(&self, all_turn: impl Fn(Duration) -> bool + Send + 'static) -> io::Result<()> {
        let variable = |name| std::env::var(name).ok();
        let every = watched_every(variable(WATCHDOG).as_deref(), variable(WATCHDOG_PROCESS).as_deref());
        let (Some(socket), Some(every)) = (&self.0, every) else { return Ok(()) };
        let manager = Manager(Some(socket.try_clone()?));
        let body = move || {
            loop {
                manager.watch_once(every, &all_turn);
            }
        };
        thread::Builder::new().name("weir-watchdog".to_owned()).spawn(body).map(drop)
    }

    /// Takes as long as `every`, or as long as the loops need beyond that.
    fn watch_once(&self, every: Duration, all_turn: &impl Fn(Duration) -> bool) {
        let asked = Instant::now();
        if all_turn(every) {
            self.tell("WATCHDOG=1\n");
            thread::sleep(every.saturating_sub(asked.elapsed()));
        }
    }

    fn tell(&self, text: &str) {
        if let Some(Err(error)) = self.0.as_ref().map(|socket| socket.send(text.as_bytes())) {
            log::debug!("the service manager was not told: {error}");
        }
    }
}

/// How often to ask the loops: twice in the manager's time, if it is set for this process.
fn watched_every(time: Option<&str>, process: Option<&str>) -> Option<Duration> {
    let own = process.is_none_or(|process| process.parse() == Ok(std::process::id()));
    let time_us: u64 = time?.parse().ok().filter(|&time| time > 0)?;
    own.then(|| (Duration::from_micros(time_us) / 2).max(ASKED_EVERY_MIN))
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

/// Connects to an abstract name, which only Linux has.
#[cfg(target_os = "linux")]
fn connect_abstract(socket: &UnixDatagram, name: &[u8]) -> io::Result<()> {
    use std::os::linux::net::SocketAddrExt;
    socket.connect_addr(&std::os::unix::net::SocketAddr::from_abstract_name(name)?)
}

#[cfg(not(target_os = "linux"))]
fn connect_abstract(_socket: &UnixDatagram, _name: &[u8]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The text as one line, because each line is an assignment.
fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(STATUS_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn the_manager_is_told_only_when_all_loops_have_turned() {
        let (own, other) = UnixDatagram::pair().unwrap();
        other.set_nonblocking(true).unwrap();
        let manager = Manager(Some(own));
        let turned = Cell::new(false);
        for (turns, heard) in [(true, 1), (false, 0), (false, 0), (true, 1)] {
            turned.set(turns);
            manager.watch_once(Duration::ZERO, &|_| turned.get());
            let mut text = [0; 64];
            let messages: Vec<_> =
                std::iter::from_fn(|| other.recv(&mut text).ok().map(|count| text[..count].to_vec()))
                    .collect();
            assert_eq!(messages, vec![b"WATCHDOG=1\n".to_vec(); heard], "{turns}");
        }
    }

    #[test]
    fn the_loops_are_asked_twice_in_the_time_of_the_manager() {
        let own = std::process::id().to_string();
        let ms = Duration::from_millis;
        for (time, process, every) in [
            (Some("30000000"), Some(own.as_str()), Some(ms(15_000))),
            (Some("30000000"), None, Some(ms(15_000))),
            (Some("30000000"), Some("1"), None),
            (Some("30000000"), Some("x"), None),
            (Some("1"), None, Some(ASKED_EVERY_MIN)),
            (Some("0"), None, None),
            (Some("-1"), None, None),
            (Some(""), None, None),
            (None, None, None),
        ] {
            assert_eq!(watched_every(time, process), every, "{time:?} {process:?}");
        }
    }
}
