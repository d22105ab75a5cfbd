//! Orders from other threads: a queue and a waker.

use super::scoreboard::Round;
use crate::engine::{Finding, JobId, Message, Settings};
use crate::log::format::Format;
use crate::policy::Policy;
use crate::resolver;
use mio::{Registry, Token, Waker};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel as queue};
use std::time::Duration;

/// What a loop can be told.
#[derive(Clone, Debug)]
pub enum Command {
    /// ResponseDecision by this from now on.
    SetPolicy(Arc<Policy>),
    /// Resolve by these from now on.
    SetResolver(resolver::Settings, resolver::Hosts),
    /// Go by these from now on; each loop takes its share. The entries of the log are written in this format, and statistics
    /// every so often.
    SetSettings(Arc<Settings>, Format, Duration),
    /// Let go of this: everything that came before has been obeyed.
    Settled(Sender<()>),
    /// Put the counters on the board, and let go of the round.
    Report(Arc<Round>),
    /// A password was right, or was not.
    Verified(JobId, bool),
    /// Another loop has verified a password.
    Learn(Finding),
    /// The loop with that number has got further with what this one waits for, or waits itself.
    Message(usize, Message),
    /// Another loop is short of descriptors.
    ShedIdleOrigins,
    /// Finish what is under way, take nothing new, and end.
    Drain,
    /// End at once.
    Quit,
}

/// The sending end, for any thread.
#[derive(Clone, Debug)]
pub struct Remote {
    commands: Sender<Command>,
    waker: Arc<Waker>,
}

/// The loop's end.
#[derive(Debug)]
pub struct Inbox {
    commands: Receiver<Command>,
}

/// Both ends.
pub fn channel(registry: &Registry, token: Token) -> io::Result<(Remote, Inbox)> {
    let waker = Arc::new(Waker::new(registry, token)?);
    let (sender, receiver) = queue();
    Ok((Remote { commands: sender, waker }, Inbox { commands: receiver }))
}

impl Remote {
    /// Tells the loop. Nothing happens if it has ended.
    pub fn send(&self, command: Command) {
        if self.commands.send(command).is_ok() {
            self.wake();
        }
    }

    /// Has the loop look around, without any order.
    pub(super) fn wake(&self) {
        let _ = self.waker.wake();
    }
}

impl Inbox {
    /// The next order.
    pub fn next(&mut self) -> Option<Command> {
        self.commands.try_recv().ok()
    }
}
