//! Requests of weir's own: a stale response was served, and is fetched anew (stale-while-revalidate, RFC 5861 section 3).
//!
//! Such a request is a transaction like any other, with a client that has no socket: it asks with the fields of the request
//! that brought it about, under the same policy, and ends as soon as the head of the response has come. It leaves a log
//! entry, too.

use crate::cache::store::stored::Stored;
use crate::engine::listener::ListenerId;
use std::net::SocketAddr;
use std::sync::Arc;

/// Refreshes under way at once in one loop (chosen: each holds an origin connection; what is not refreshed now is when
/// it is next asked for).
pub const REFRESHES_MAX: usize = 64;

/// The order to fetch anew what a transaction is being served, with the request that it made.
#[derive(Debug)]
pub(in crate::engine) struct Refresh {
    /// The client that brought it about.
    pub address: SocketAddr,
    /// Where that one has connected.
    pub listener: ListenerId,
    pub head: Vec<u8>,
    pub stored: Arc<Stored>,
}
