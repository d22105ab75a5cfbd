//! weir, a forward proxy: HTTP/1.1 and CONNECT, access lists, authentication, a cache, in one small loop.
//!
//! # A proxy inside a program
//!
//! [`Proxy`] is the one type that runs anything, and the daemon is built on it. [`Proxy::builder`] takes a [`Configuration`]
//! (the options of the daemon, and the files that they name, from memory or from the disk), sockets and a sink for the access
//! log. [`Proxy::run`] serves until the end; [`Proxy::poll`] does one turn, so that the program keeps its own loop.
//! [`Control`] reloads, drains, stops and counts, from any thread. `examples/embed.rs` is a whole program.
//!
//! [`pages`] lets the program answer requests for the proxy itself, with sessions and forms: `examples/shortener.rs`.
//!
//! With [`callback`] the program decides about connections, requests and names while the proxy runs.
//!
//! What this page shows is stable within a minor version: [`Proxy`], [`Builder`], [`Configuration`], [`Control`] and what
//! they return, the modules [`callback`] and [`pages`], and the names of options and of the numbers in [`metrics`] (options and
//! numbers may be added). All other modules can be reached because weir's own tests, benches and fuzz targets use them. They are
//! hidden here and change without notice.
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
//! main, daemon, ffi -> embed -> shell -> engine -> { policy, guard, gateway, cache, resolver, metrics } -> http -> net
//!            config, log, sandbox, random                                     time, part, text, nearest, words: for all
//! ```
//!
//! Imports point to the right only, and the rooms in braces do not import each other; `tests/tidy.rs` reads the sources
//! and fails where that is not so. From `engine` on no room names sockets, files, threads or clocks.
//!
//! - `time`: the time of a call, as a value
//! - `part`: types for values of parts that a build may lack (Cargo features)
//! - `text`: texts from the network: bounded, escaped, as JSON
//! - `nearest`, `words`: the name that was probably meant; the words of a line of a file
//! - `net`: the pool that lends 4 KB blocks; rings and linear buffers over them
//! - `http`: the HTTP/1.1 grammar, and what a proxy rewrites
//! - `policy`: access rules, users, header edits
//! - `guard`: what clients have been doing decides what they may do next
//! - `gateway`: which upstream a request goes to that was sent to weir itself
//! - `cache`: RFC 9111, and the store
//! - `resolver`: DNS without a system call
//! - [`metrics`]: descriptors of counters and gauges, and their values at one moment
//! - `engine`: connections, transactions and tunnels; begin reading there
//! - `shell`: mio, sockets, the run queue, the threads of the loops
//! - `config`, `log`: options and files, the access log
//! - `random`: random numbers from the system
//! - `embed`: [`Proxy`]
//! - `ffi`: [`Proxy`] for programs in C (feature `capi`)
//! - `daemon`, `main`: the program, with its signals, rights and files. It imports `embed`, `config`, `log` and `sandbox`
//! - `sandbox`: the rights that the daemon gives up before it serves
//!
//! # One request
//!
//! The loop accepts a connection and tells the engine, which gives it a slot and no memory. When bytes arrive, the pool
//! lends a block; the scanner finds the end of the head with a saved cursor, and the head is parsed once. Everything
//! ambiguous is refused. The policy judges user, name and port, the guard
//! counts the request. An idle upstream connection is reused, or the resolver
//! answers, the policy judges every address, and only allowed ones are dialled. A new head is written; the client's bytes
//! are never forwarded as they are. Two relays carry the bodies, each at its own pace. When both are done, the transaction
//! is settled: one log record, the upstream connection back to the pool, the blocks back, the client idle or closing.

// Links into rooms that are hidden here are for who reads the sources (`cargo doc --document-private-items`).
#![allow(rustdoc::private_intra_doc_links)]

#[doc(hidden)]
pub mod cache;
#[doc(hidden)]
pub mod config;
#[doc(hidden)]
pub mod embed;
#[doc(hidden)]
pub mod engine;
#[cfg(feature = "capi")]
#[doc(hidden)]
pub mod ffi;
#[doc(hidden)]
pub mod gateway;
#[doc(hidden)]
pub mod guard;
#[doc(hidden)]
pub mod http;
#[doc(hidden)]
pub mod log;
pub mod metrics;
pub(crate) mod nearest;
#[doc(hidden)]
pub mod net;
#[doc(hidden)]
pub mod part;
#[doc(hidden)]
pub mod policy;
pub(crate) mod random;
#[doc(hidden)]
pub mod resolver;
#[doc(hidden)]
pub mod sandbox;
#[doc(hidden)]
pub mod shell;
pub(crate) mod text;
#[doc(hidden)]
pub mod time;
pub(crate) mod words;

pub use engine::callback;
pub use engine::pages;

pub use embed::{
    BanError, BuildError, Builder, Configuration, Control, Failure, ListenError, Origin, Problem, Problems,
    Proxy, Reloaded, Status, Time,
};
