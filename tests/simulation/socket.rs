//! A socket as weir's loop sees it (`shell::socket`), with the pipe that bytes for it are in.

use super::book::Checked;
use super::network::LinkId;
use std::sync::Arc;
use weir::cache::body::Body;
use weir::engine::Outgoing;

#[derive(Debug)]
pub struct Socket {
    pub link: LinkId,
    /// Bytes for this socket inside a pipe.
    pub pipe: Vec<u8>,
    /// They are pages of a stored body, which the engine still counts as not sent.
    refers: bool,
    pub connecting: bool,
    pub readable: bool,
    pub writable: bool,
    pub ending: bool,
    pub hung_up: bool,
}

impl Socket {
    pub fn new(link: LinkId, connecting: bool, ready: bool) -> Socket {
        Socket {
            link,
            pipe: Vec::new(),
            refers: false,
            connecting,
            readable: ready,
            writable: ready,
            ending: false,
            hung_up: false,
        }
    }

    /// The bytes to write next, and how many of them come before the bytes of the pipe; with `room`, as many pages of
    /// stored bodies as that enter the pipe before (vmsplice(2)).
    pub fn next_bytes(&mut self, outgoing: &Outgoing<'_>, room: Option<usize>) -> Checked<(usize, Vec<u8>)> {
        let bytes = outgoing.concat();
        if self.refers && !bytes.starts_with(&self.pipe) {
            return Err("what a pipe refers to is not what comes next".to_string());
        }
        let is_whole =
            |body: &Arc<Body>| outgoing.split().1.concat() == body.segments().collect::<Vec<_>>().concat();
        if !outgoing.whole.is_none_or(is_whole) {
            return Err("what is called a whole body is none".to_string());
        }
        if let Some(room) = room {
            // A pipe that was filled before has the head in front, sometimes.
            if outgoing.whole.is_some() && room % 2 == 0 {
                (self.pipe, self.refers) = (bytes.clone(), true);
                return Ok((0, bytes));
            }
            let ahead = outgoing.split().0.concat().len();
            let end = bytes.len().min(ahead + room);
            (self.pipe, self.refers) = (bytes[ahead..end].to_vec(), true);
            return Ok((ahead, bytes[..end].to_vec()));
        }
        let piped = bytes.is_empty() || self.refers;
        Ok(if piped { (0, self.pipe.clone()) } else { (bytes.len(), bytes) })
    }

    /// Records the result of writing these bytes.
    pub fn note_written(&mut self, written: Option<usize>, ahead: usize, bytes: usize) {
        let count = written.unwrap_or(0);
        self.writable = count == bytes;
        self.pipe.drain(..count.saturating_sub(ahead));
        // The bytes that the pipe refers to are not needed, or not now.
        if self.refers && (count < ahead || self.pipe.is_empty()) {
            self.pipe.clear();
            self.refers = false;
        }
    }
}
