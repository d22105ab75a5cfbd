//! What the cache does for a transaction: looks up, answers, fills, and lets others share a fill.

pub(in crate::engine) mod actions;
pub(in crate::engine) mod collapse;
pub(in crate::engine) mod coordination;
pub(in crate::engine) mod decision;
pub(in crate::engine) mod fill;
pub(in crate::engine) mod handover;
pub(in crate::engine) mod hit_response;
pub(in crate::engine) mod look_up;
pub(in crate::engine) mod publisher;
pub(in crate::engine) mod reader;
pub(in crate::engine) mod refresh;
pub(in crate::engine) mod selecting;
pub(in crate::engine) mod subscriber;
pub(in crate::engine) mod window;
