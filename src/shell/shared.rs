//! What the loops of one proxy have in common beside what their engines share.

use super::guard_link::GuardLink;
use super::verifier::Verifier;
use crate::log::format::Format;
use crate::log::writer::LogSender;
use std::sync::Arc;

/// Where log entries go, and in which form.
#[derive(Clone, Debug)]
pub struct AccessLog {
    /// The writer's end.
    pub sender: LogSender,
    /// One of the formats.
    pub format: Format,
}

/// Given to each loop.
#[derive(Clone)]
pub(super) struct SharedParts {
    pub verifier: Verifier,
    pub guard_link: Arc<GuardLink>,
}
