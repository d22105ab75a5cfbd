//! One request and its response, from the head to the log record.

pub(in crate::engine) mod examine;
pub mod log_record;
pub(in crate::engine) mod page;
pub(in crate::engine) mod purge;
pub(in crate::engine) mod refusal;
pub(in crate::engine) mod response;
pub(in crate::engine) mod settle;
pub(in crate::engine) mod timings;
pub(in crate::engine) mod transaction;
pub(in crate::engine) mod upload;
pub(in crate::engine) mod verification;
