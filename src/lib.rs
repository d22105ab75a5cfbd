//! weir, a forward proxy.
pub mod buffer;
pub mod config;
pub mod engine;
pub mod event_loop;
pub mod http;
pub mod log;
pub mod policy;
pub mod resolver;
pub mod time;
