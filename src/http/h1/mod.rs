//! HTTP/1.1 on the wire: the end of a head, and the chunks of a body, in both directions.

pub mod decode;
pub mod encode;
pub(super) mod plain;
pub(super) mod scan;
