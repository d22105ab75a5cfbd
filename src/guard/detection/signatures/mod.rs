//! The signatures: which literals, which pattern, in which views and contexts.
//!
//! Each is written from the literature on its class of attacks, and is about what makes the attack one: a quote that ends the
//! server's string before an operator, not the operator. Patterns are read in lower case, without Unicode.

mod command;
mod files;
mod recon;
mod script;
mod server;
mod shells;
mod signature;
mod sql;
mod whole;

pub(super) use signature::{ANY_CONTEXT, ANY_VIEW, Signature};

/// All of them, class by class.
pub(super) const TABLES: [&[Signature]; 8] = [
    sql::TABLE,
    script::TABLE,
    command::TABLE,
    shells::TABLE,
    files::TABLE,
    server::TABLE,
    whole::TABLE,
    recon::TABLE,
];
