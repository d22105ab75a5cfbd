//! Parts that the loops of one proxy share, beside those of their engines.

use super::guard_link::GuardLink;
use super::verifier::Verifier;
use crate::log::format::Format;
use crate::log::writer::LogSender;
use std::sync::Arc;

/// The receiver and the format of log records.
#[derive(Clone, Debug)]
pub struct AccessLog {
    /// The writer's end.
    pub sender: LogSender,
    /// The format of the lines.
    pub format: Format,
}

/// Given to each loop.
#[derive(Clone)]
pub(super) struct SharedParts {
    pub verifier: Verifier,
    pub guard_link: Arc<GuardLink>,
}
