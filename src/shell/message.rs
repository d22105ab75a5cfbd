//! What loops and the threads beside them tell each other: one enum, and for each loop one inbox with a waker.

use super::scoreboard::Round;
use super::stores::StoreReply;
use crate::engine::callback::NameVerdict;
use crate::engine::{Finding, JobId, Message, Settings, StoreJob};
use crate::guard::values::ValueAnswer;
use crate::http::target::Name;
use crate::log::format::Format;
use crate::policy::Policy;
use crate::resolver;
use mio::{Registry, Token, Waker};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// Everything that a loop can be told by another thread.
#[derive(Clone, Debug)]
pub enum WorkerMessage {
    /// From the host: this policy holds from now on.
    SetPolicy(Arc<Policy>),
    /// From the host: these name servers and hosts hold from now on.
    SetResolver(resolver::Settings, resolver::Hosts),
    /// From the host: where a name leads that loops wait for.
    NameFound(Box<Name>, NameVerdict),
    /// From the host: these settings hold from now on, of which each loop takes its share. The access log has this format,
    /// and statistics are logged every so often.
    SetSettings(Arc<Settings>, Format, Duration),
    /// From the host: everything that was sent before has been obeyed when this sender is dropped.
    Settled(Sender<()>),
    /// From the host or from the loop that logs statistics: put the counters on the board, and drop the round, if there is
    /// one.
    Report(Option<Arc<Round>>),
    /// From the host: finish what is under way, take nothing new, and end.
    Drain,
    /// From the host, or from a loop that has failed: end at once.
    Quit,
    /// From the verifier: a password was right, or was not.
    Verified(JobId, bool),
    /// From the client of the store: what it has answered for some requests, or that it does not answer.
    StoreAnswered(Vec<StoreReply>),
    /// From the client of a store: what it has answered to what a page has asked.
    Value(StoreJob, ValueAnswer),
    /// From the guard: there are more bans, and clients that are banned now are to be cut.
    Bans,
    /// From another loop: what the verification of a password has found out.
    Finding(Finding),
    /// From the loop with that index: news of a fill that this loop waits for, or of a request that waits for a fill here.
    Fill(usize, Message),
    /// From another loop: descriptors are short, idle upstream connections hold some.
    ShedIdleOrigins,
    /// From another loop: a client has gone while all loops together had as many as they may have, so this loop may accept
    /// a connection that waits in its backlog.
    CapacityFreed,
}

/// The sending end of a loop's inbox, for any thread.
#[derive(Clone, Debug)]
pub struct Remote {
    messages: Sender<WorkerMessage>,
    waker: Arc<Waker>,
}

/// The receiving end, for the loop.
#[derive(Debug)]
pub struct Inbox {
    messages: Receiver<WorkerMessage>,
}

/// Both ends of a new inbox.
pub fn inbox(registry: &Registry, token: Token) -> io::Result<(Remote, Inbox)> {
    let waker = Arc::new(Waker::new(registry, token)?);
    let (sender, receiver) = channel();
    Ok((Remote { messages: sender, waker }, Inbox { messages: receiver }))
}

impl Remote {
    /// Tells the loop. Nothing happens if the loop has ended.
    pub fn send(&self, message: WorkerMessage) {
        if self.messages.send(message).is_ok() {
            let _ = self.waker.wake();
        }
    }
}

impl Inbox {
    /// The next message.
    pub fn next(&mut self) -> Option<WorkerMessage> {
        self.messages.try_recv().ok()
    }
}
