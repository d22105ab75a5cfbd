//! The gateway: which upstream a request goes to that was sent to weir itself, as to an origin server.
//!
//! A gateway file has one route on each line ([`directives`]). Its host and the beginning of its path say which requests it
//! is about ([`table`], [`path`]), and a route has one upstream or several ([`balance`]), of which each is used, avoided or
//! drained by what is known of it ([`upstream`]). [`rules::Gateway`] is a gateway file compiled: immutable, and one for all
//! loops; what is known of upstreams is shared by the gateways before and after a reload.

pub mod balance;
pub mod command;
pub mod directives;
pub mod path;
pub mod rules;
pub mod table;
pub mod upstream;
