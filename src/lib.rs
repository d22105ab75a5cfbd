//! weir, a forward proxy: HTTP/1.1 and CONNECT, access lists, authentication, in one small loop.
//!
//! # The one idea
//!
//! Every decision is made by a core that touches no socket, no file, no clock, no thread and no randomness; a thin shell
//! moves bytes. The core is handed events and the time, lends out slices to read into, and hands back bytes to send and
//! actions to take. So any interleaving of partial reads, stalls and resets can be replayed from a seed, and the same core
//! runs under mio or inside somebody else's loop.
//!
//! # The house
//!
//! ```text
//! main -> shell -> engine -> { policy, cache, resolver, metrics } -> http -> net
//!         config, log, sandbox
//! ```
//!
//! Imports point to the right only, and the rooms in braces do not know each other; a test reads the sources and fails
//! where that is not so. `main`, [`shell`], [`config`], [`log`] and [`sandbox`] are the shell: sockets, files, threads
//! and clocks are named there and nowhere else.
//!
//! - [`net`]: the pool that lends 4 KB blocks, rings and heads over them
//! - [`http`]: the HTTP/1.1 grammar, and what a proxy rewrites
//! - [`policy`]: who may go where, and who may ask
//! - [`cache`]: what RFC 9111 says about storing and reusing responses, and the store
//! - [`resolver`]: DNS without a system call
//! - [`metrics`]: what is counted, and the numbers of one moment
//! - [`engine`]: connections, exchanges and tunnels; begin reading there
//! - [`shell`]: mio, sockets, the run queue
//! - [`config`], [`log`]: options and files, the access log
//! - [`sandbox`]: what the daemon gives up before it serves; only `main` knows it
//!
//! # One request
//!
//! The loop accepts a connection and tells the engine, which gives it a slot and no memory. When bytes come, the pool lends
//! a block; the end of the head is found with a saved cursor, and the head is parsed once. Everything ambiguous is refused.
//! The policy judges user, name and port; an idle origin connection is reused, or the resolver answers and the policy
//! judges every address again, and only approved ones are dialled. A new head is written, never the client's bytes. Two
//! relays carry the bodies, each at its own rate_meter; when both are done the exchange is settled: one log entry, the origin
//! connection back to the pool, the blocks back, the client idle or closing.

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
