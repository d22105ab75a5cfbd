//! Clients and origins as they are: what they send although a grammar has it otherwise, and what other proxies take from them.

#[path = "../common/mod.rs"]
mod common;
#[path = "../shell/mod.rs"]
mod shell;

mod connect;
mod framing;
mod protocols;
mod targets;
mod trailers;
mod whitespace;
