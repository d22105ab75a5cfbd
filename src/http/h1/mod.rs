//! What is HTTP/1.1 on the wire: where a head ends, and the chunks of a body, both ways.

pub mod decode;
pub mod encode;
pub(super) mod plain;
pub(super) mod scan;
