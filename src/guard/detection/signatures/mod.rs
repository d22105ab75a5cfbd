//! The signatures: their literals, patterns, views and contexts.
//!
//! Each signature is written from the literature on its class of attacks, and tests what makes the text an attack: a quote
//! that ends the server's string before an operator, not the operator. Patterns are read in lower case, without Unicode.

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

/// All signatures, class by class.
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
