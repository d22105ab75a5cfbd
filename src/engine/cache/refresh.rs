//! What is fetched without a client that waits for it: a response that was served stale (stale-while-revalidate, RFC 5861
//! section 3), and the rest of one whose readers have left.
//!
//! A refresh is a transaction like any other, with a client without a socket: it has the fields of the request that caused it,
//! the same policy, and ends as soon as the head of the response has arrived. It leaves a log record, too. From there on it is
//! a fill without readers.

use crate::cache::store::stored::Stored;
use crate::engine::ids::PeerId;
use crate::engine::listener::ListenerId;
use std::net::SocketAddr;
use std::sync::Arc;

/// Refreshes, or fills without readers, at once in one loop (chosen: each holds an upstream connection; a response that is not
/// refreshed now is refreshed at its next request).
const BACKGROUND_MAX: usize = 64;

/// Those of one origin (chosen: an origin that does not answer must leave room for others).
const BACKGROUND_OF_ORIGIN_MAX: usize = 8;

/// The refreshes under way in one loop, or its fills without readers: a connection of each, and the origin.
#[derive(Debug, Default)]
pub(in crate::engine) struct Background(Vec<(PeerId, Box<[u8]>)>);

impl Background {
    /// The number of them.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether one more may begin, for the response with that key.
    pub fn may_begin(&self, key: &[u8]) -> bool {
        self.may_begin_beside(&Background::default(), key)
    }

    /// The same if the others count as well.
    pub fn may_begin_beside(&self, others: &Background, key: &[u8]) -> bool {
        let origin = origin_of(key);
        let of_origin = |all: &Background| all.0.iter().filter(|(_, other)| **other == *origin).count();
        self.len() + others.len() < BACKGROUND_MAX
            && of_origin(self) + of_origin(others) < BACKGROUND_OF_ORIGIN_MAX
    }

    /// One begins, with the client without a socket of a refresh, or the upstream connection of a fill.
    pub fn begin(&mut self, connection: PeerId, key: &[u8]) {
        self.0.push((connection, origin_of(key).into()));
    }

    /// The one with that connection has ended.
    pub fn end(&mut self, connection: PeerId) {
        self.0.retain(|(other, _)| *other != connection);
    }

    /// Their connections.
    pub fn connections(&self) -> impl Iterator<Item = PeerId> {
        self.0.iter().map(|(connection, _)| *connection)
    }
}

/// The scheme and the authority of a key.
fn origin_of(key: &[u8]) -> &[u8] {
    let end = memchr::memchr_iter(b'/', key).nth(2);
    &key[..end.unwrap_or(key.len())]
}

/// The order to fetch a response that a transaction gets stale, with the transaction's request.
#[derive(Debug)]
pub(in crate::engine) struct Refresh {
    /// The client that brought it about.
    pub address: SocketAddr,
    /// Its peer, which differs where a trusted proxy names the client: the proxy's fields are in the head.
    pub peer: SocketAddr,
    /// The listener of that transaction's client.
    pub listener: ListenerId,
    pub head: Vec<u8>,
    pub stored: Arc<Stored>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_that_does_not_answer_leaves_room_for_others() {
        let mut refreshes = Background::default();
        let key = |origin: usize, number: usize| format!("http://o{origin}.test/{number}").into_bytes();
        let mut begun = 0;
        for (origin, number) in (0..10).flat_map(|origin| (0..20).map(move |number| (origin, number))) {
            if refreshes.may_begin(&key(origin, number)) {
                refreshes.begin(PeerId::from_token(begun), &key(origin, number));
                begun += 1;
            }
        }
        assert_eq!((begun, refreshes.len()), (BACKGROUND_MAX, BACKGROUND_MAX));
        assert!(!refreshes.may_begin(&key(9, 0)));
        refreshes.end(PeerId::from_token(0));
        assert!(refreshes.may_begin(&key(9, 0)) && refreshes.may_begin(&key(0, 99)));
        assert!(!refreshes.may_begin(&key(1, 0)));
    }
}
