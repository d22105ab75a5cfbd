//! Requests of weir's own: fetching a response that was served stale (stale-while-revalidate, RFC 5861 section 3).
//!
//! Such a request is a transaction like any other, with a client without a socket: it has the fields of the request that
//! caused it, the same policy, and ends as soon as the head of the response has arrived. It leaves a log record, too.

use crate::cache::store::stored::Stored;
use crate::engine::listener::ListenerId;
use std::net::SocketAddr;
use std::sync::Arc;

/// Refreshes under way at once in one loop (chosen: each holds an upstream connection; a response that is not refreshed
/// now is refreshed at its next request).
pub const REFRESHES_MAX: usize = 64;

/// The order to fetch a response that a transaction gets stale, with the transaction's request.
#[derive(Debug)]
pub(in crate::engine) struct Refresh {
    /// The client that brought it about.
    pub address: SocketAddr,
    /// The listener of that transaction's client.
    pub listener: ListenerId,
    pub head: Vec<u8>,
    pub stored: Arc<Stored>,
}
