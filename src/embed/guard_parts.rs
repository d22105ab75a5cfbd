//! The parts of a proxy's guard that outlive a guard file: counters, the networks of clouds, the receiver of events.

use super::clouds::CloudParts;
use super::guard_settings::unusable_events;
use crate::config::Problems;
use crate::config::guard::GuardFile;
use crate::guard::rules::Guard;
use crate::guard::state::{KEYS_MAX, State};
use crate::part::guard::{Built, Shared, built, share};
use crate::shell::{EventSink, EventTarget, GuardLink};
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The state of the guard, and the receiver of its events.
#[derive(Debug)]
pub(super) struct GuardParts {
    _built: Built,
    pub state: Arc<State>,
    /// To send events with, from before rights were given up.
    event_socket: Option<Arc<UnixDatagram>>,
    events: Mutex<Events>,
    pub clouds: CloudParts,
}

/// The receiver of events, and the thread that writes to it.
#[derive(Debug, Default)]
struct Events {
    target: Option<(PathBuf, bool)>,
    sink: Option<EventSink>,
    /// Of the first event that no receiver has got.
    cursor: u64,
}

impl GuardParts {
    /// Counters and bans that report their changes to loops and store, and the networks of files. The seed keys hashes of what
    /// clients choose. `None` in a build without the guard.
    pub fn new(
        link: &Arc<GuardLink>,
        file: Option<&GuardFile>,
        event_socket: Option<UnixDatagram>,
        seed: [u64; 2],
    ) -> io::Result<Option<GuardParts>> {
        let Some(_built) = built() else { return Ok(None) };
        let (link, clock) = (Arc::clone(link), link.clock().clone());
        let keys_max = file.and_then(|file| file.directives.keys_max).unwrap_or(KEYS_MAX);
        let state = State::new(seed, keys_max, Box::new(move |change| link.tell(change)))
            .timed_by(Box::new(move || u64::try_from(clock.elapsed().as_nanos()).unwrap_or(u64::MAX)));
        let (event_socket, events) = (event_socket.map(Arc::new), Mutex::default());
        let clouds = CloudParts::default();
        clouds.set_files(file);
        Ok(Some(GuardParts { _built, state: Arc::new(state), event_socket, events, clouds }))
    }

    /// The guard of a guard file over the present state, for the loops.
    pub fn hold(&self, file: GuardFile) -> Option<Shared<Guard>> {
        share(file.into_guard(&self.state, &self.clouds.known.clouds()))
    }

    /// Reports a receiver of events that cannot be used with the rights of this process: nothing is replaced then.
    pub fn check_events(&self, file: Option<&GuardFile>) -> Result<(), Problems> {
        let Some((file, target)) = file.and_then(|file| Some((file, file.events()?))) else { return Ok(()) };
        let is_new = self.lock_events().target.as_ref() != Some(&target);
        let outcome = if is_new { self.receiver(target).and_then(|to| to.check()) } else { Ok(()) };
        outcome.map_err(|error| unusable_events(file, &error))
    }

    /// Sends events to that file or socket from now on, beginning with the oldest in the ring that was not sent.
    pub fn set_events(&self, target: Option<(PathBuf, bool)>) -> io::Result<()> {
        let mut events = self.lock_events();
        if events.target == target {
            return Ok(());
        }
        // The old thread ends first, after it has written all its events.
        let ended = events.sink.take().and_then(EventSink::end);
        let cursor = ended.unwrap_or(events.cursor);
        *events = Events { target: None, sink: None, cursor };
        let Some(named) = target.clone() else { return Ok(()) };
        let sink = EventSink::start(Arc::clone(&self.state), self.receiver(named)?, cursor)?;
        *events = Events { target, sink: Some(sink), cursor };
        Ok(())
    }

    fn lock_events(&self) -> MutexGuard<'_, Events> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn receiver(&self, (path, is_socket): (PathBuf, bool)) -> io::Result<EventTarget> {
        Ok(match is_socket {
            false => EventTarget::File(path),
            true => EventTarget::Socket(path, self.event_socket()?),
        })
    }

    /// The socket that was given, or a new one.
    fn event_socket(&self) -> io::Result<Arc<UnixDatagram>> {
        if let Some(socket) = &self.event_socket {
            return Ok(Arc::clone(socket));
        }
        let socket = UnixDatagram::unbound().map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("{error}; expected a guard file with that line at the start"),
            )
        })?;
        socket.set_nonblocking(true)?;
        Ok(Arc::new(socket))
    }
}

#[cfg(all(test, feature = "guard"))]
mod tests {
    use crate::{Configuration, Proxy};

    /// The hash of a client's words in a proxy with this seed.
    fn hash(seed: Option<[u64; 2]>) -> u64 {
        let configuration = Configuration::new().memory_only().text("host 127.0.0.1\nport 0\n");
        let builder = Proxy::builder().configuration(configuration);
        let proxy =
            seed.into_iter().fold(builder, |builder, seed| builder.seed(seed)).build().expect("a proxy");
        let parts = proxy.control().shared().parts().expect("a guard");
        parts.state.key(1, |key| key.write(b"a client"))
    }

    #[test]
    fn the_seed_is_the_guards_as_well() {
        assert_eq!(hash(Some([1, 2])), hash(Some([1, 2])));
        assert_ne!(hash(Some([1, 2])), hash(Some([1, 3])));
        assert_ne!(hash(None), hash(None));
    }
}
