//! The HTTP/1.1 grammar: heads, targets, framing, and what a proxy must rewrite.
//!
//! One request passes through this room as follows: [`head`] finds the end of its head while bytes arrive and parses it once,
//! into a [`message::Message`]; [`target`] and [`framing`] refuse everything that two readers could read in two ways, and
//! [`forwarding`] writes a new head from the parsed lines; lines in weir's own form are copied together. [`h1`] has the
//! scanner and the chunks of bodies. The numbered rules in comments and tests are those of the project's rule book for HTTP.
pub mod block;
mod class;
pub mod date;
pub mod fault;
pub mod fields;
mod foreign;
pub mod forwarding;
pub mod framing;
pub mod h1;
pub mod head;
mod hop;
mod host;
mod host_field;
pub mod idna;
pub mod message;
pub mod path;
pub mod repair;
pub mod reply;
mod request_filter;
pub mod session_auth;
pub mod target;
pub mod template;
mod trailers;
pub mod web_origin;

#[cfg(test)]
mod properties;

#[cfg(test)]
pub(crate) mod testing {
    //! Parsed heads for the tests of the files beside this one.
    use super::head::{Limits, Message, RequestHead, ResponseHead};

    pub fn with_request<T>(text: &[u8], test: impl FnOnce(&RequestHead<'_, '_>) -> T) -> T {
        let mut storage = Message::new();
        test(&RequestHead::parse(text, &mut storage, &Limits::default()).unwrap())
    }

    pub fn with_response<T>(text: &[u8], test: impl FnOnce(&ResponseHead<'_, '_>) -> T) -> T {
        let mut storage = Message::new();
        test(&ResponseHead::parse(text, &mut storage, &Limits::default()).unwrap())
    }
}
