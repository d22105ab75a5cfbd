//! Payload on its way: the decoder, filters, relays, what leaves next through a socket, tunnels.

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
