//! Payload on its way: the decoder, filters, relays, the bytes to send, tunnels.

pub mod filter;
#[cfg(feature = "detection")]
pub(in crate::engine) mod inspection;
pub(in crate::engine) mod intake;
pub(in crate::engine) mod outgoing;
pub(in crate::engine) mod relay;
#[cfg(feature = "detection")]
pub(in crate::engine) mod tap;
pub(in crate::engine) mod tunnel;
pub(in crate::engine) mod tunnel_half;
