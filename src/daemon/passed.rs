//! Sockets that listen already, which a service manager has opened (sd_listen_fds(3)).

use listenfd::ListenFd;
use log::warn;
use std::net::TcpListener;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// Descriptors up to this one are the process's own.
const STANDARD_ERROR: RawFd = 2;

/// Takes the sockets for TCP, and closes all other descriptors that were passed: a client of theirs would wait for ever. To be called
/// before anything is opened: a manager that counts wrong names descriptors that are not its own.
pub fn sockets() -> Vec<TcpListener> {
    let mut given = ListenFd::from_env();
    let count = given.len();
    let take = |index| match given.take_tcp_listener(index) {
        Ok(socket) => socket,
        Err(error) => {
            warn!("LISTEN_FDS: socket {index} does not listen for TCP, and is closed: {error}");
            let rejected = given.take_raw_fd(index).ok().flatten();
            // `LISTEN_FDS_FIRST_FD` may name any number.
            rejected.into_iter().filter(|descriptor| *descriptor > STANDARD_ERROR).for_each(close);
            None
        }
    };
    (0..count).filter_map(take).collect()
}

#[allow(unsafe_code)]
fn close(descriptor: RawFd) {
    // SAFETY: the descriptor was passed to this process and taken from the list of those, so it has no other owner.
    drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
}
