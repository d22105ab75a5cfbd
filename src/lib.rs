//! weir, a forward proxy: HTTP/1.1 and CONNECT, access lists, authentication, in one small loop.
//!
//! # The one idea
//!
//! A core makes every decision. It touches no socket, no file, no clock, no thread and no randomness; a thin shell moves
//! the bytes. The shell hands events and the time to the core; the core lends out slices to read into, and hands back
//! bytes to send and actions to carry out. So a test can replay every interleaving of partial reads, stalls and resets
//! from a seed, and the core can run in another event loop than mio's.
//!
//! # The house
//!
//! ```text
//! main -> shell -> engine -> { policy, cache, resolver, metrics } -> http -> net
//!         config, log, sandbox
//! ```
//!
//! Imports point to the right only, and the rooms in braces do not import each other; `tests/tidy.rs` reads the sources
//! and fails where that is not so. `main`, [`shell`], [`config`], [`log`] and [`sandbox`] are the shell: only they name
//! sockets, files, threads and clocks.
//!
//! - [`net`]: the pool that lends 4 KB blocks; rings and linear buffers over them
//! - [`http`]: the HTTP/1.1 grammar, and what a proxy rewrites
//! - [`policy`]: access rules, users, header edits
//! - [`cache`]: RFC 9111, and the store
//! - [`resolver`]: DNS without a system call
//! - [`metrics`]: descriptors of counters and gauges, and their values at one moment
//! - [`engine`]: connections, transactions and tunnels; begin reading there
//! - [`shell`]: mio, sockets, the run queue
//! - [`config`], [`log`]: options and files, the access log
//! - [`sandbox`]: the rights that the daemon gives up before it serves; only `main` uses it
//!
//! # One request
//!
//! The loop accepts a connection and tells the engine, which gives it a slot and no memory. When bytes arrive, the pool
//! lends a block; the scanner finds the end of the head with a saved cursor, and the head is parsed once. Everything
//! ambiguous is refused. The policy judges user, name and port. An idle origin connection is reused, or the resolver
//! answers, the policy judges every address, and only allowed ones are dialled. A new head is written; the client's bytes
//! are never forwarded as they are. Two relays carry the bodies, each at its own pace. When both are done, the transaction
//! is settled: one log record, the origin connection back to the pool, the blocks back, the client idle or closing.

pub mod cache;
pub mod config;
pub mod engine;
pub mod http;
pub mod log;
pub mod metrics;
pub mod net;
pub mod policy;
pub mod resolver;
pub mod sandbox;
pub mod shell;
pub mod time;
