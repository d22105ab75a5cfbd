//! The gateway: finds the upstream for a request that was sent to weir itself, as to an origin server.
//!
//! A gateway file has one route on each line ([`directives`]). A route applies to requests with its host and the beginning of
//! its path ([`table`], [`path`]), and has one upstream or several ([`balance`]). The state of an upstream decides whether it
//! is used, avoided or drained ([`upstream`]). [`rules::Gateway`] is a compiled gateway file: immutable, and one for all
//! loops. The gateways before and after a reload share the state of their upstreams.

pub mod balance;
pub mod command;
pub mod directives;
pub mod fields;
pub mod path;
pub mod rules;
pub mod table;
pub mod upstream;
