//! Commands of operators for the cache, carried out on its store.

use super::control::Control;
use crate::cache::command::Command;
use crate::guard::command::Answer;

impl Control {
    /// Carries out a command of an operator for the cache.
    #[doc(hidden)]
    pub fn obey_cache_command(&self, command: &Command) -> Answer {
        match &self.shared().store {
            Some(store) => Answer::Done(format!("{} purged", command.carry_out(store))),
            None => Answer::Refused("the cache is off (--cache)".to_owned()),
        }
    }
}
