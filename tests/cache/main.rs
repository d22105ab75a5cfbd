//! The cache of the running daemon, rule by rule, against an origin that counts its requests. The tables beside the
//! code test parsing and decisions; these tests check what clients and origins see.

mod aliases;
mod clients;
mod collapsing;
#[path = "../common/mod.rs"]
mod common;
mod freshness;
mod gaps;
mod languages;
mod lasting;
mod lone_parts;
mod loops;
mod parts;
mod persistence;
mod poisoning;
mod purging;
mod scene;
mod sharing;
mod stale;
mod stalled;
mod storing;
mod unread;
mod validation;
