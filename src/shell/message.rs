//! The messages of loops and other threads to loops: one enum, and for each loop one inbox with a waker.

use super::scoreboard::Round;
use super::stores::StoreReplies;
use crate::engine::callback::NameVerdict;
use crate::engine::{Finding, JobId, Message, Settings, StoreJob};
use crate::guard::values::ValueAnswer;
use crate::http::target::Name;
use crate::log::format::Format;
use crate::policy::Policy;
use crate::resolver;
use mio::{Registry, Token, Waker};
use std::io;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// A message of another thread to a loop.
#[derive(Clone, Debug)]
pub enum WorkerMessage {
    /// From the host: a new policy.
    SetPolicy(Arc<Policy>),
    /// From the host: new name servers and hosts.
    SetResolver(resolver::Settings, resolver::Hosts),
    /// From the host: the addresses of a name that loops wait for.
    NameFound(Box<Name>, NameVerdict),
    /// From the health checks: a name of an upstream to look up.
    FindName(Box<Name>),
    /// From the host: new settings, of which each loop uses its share, the format of the access log, and the time between two
    /// lines of statistics.
    SetSettings(Arc<Settings>, Format, Duration),
    /// From the host: the loop drops the sender when it has carried out all messages before this one.
    Settled(Sender<()>),
    /// From the host or from the loop that logs statistics: put the counters on the board, and drop the round, if there is
    /// one.
    Report(Option<Arc<Round>>),
    /// From the host: accept nothing new, finish requests under way, and end.
    Drain,
    /// From the host, or from a loop that has failed: end at once.
    Quit,
    /// From the verifier: whether a password is right; `None` if there is no thread to find that out.
    Verified(JobId, Option<bool>),
    /// From the client of the store: the answers for some requests, or their failure.
    StoreAnswered(StoreReplies),
    /// From the client of a store: the answer to the question of a page.
    Value(StoreJob, ValueAnswer),
    /// From the guard: new bans; clients that are banned now are to be cut.
    Bans,
    /// From the store: the counters of this client are to be removed.
    Unblock(IpAddr),
    /// From another loop: the result of the verification of a password.
    Finding(Finding),
    /// From another loop: a message about a fill that this loop waits for, or about a request that waits for a
    /// fill of this loop.
    Fill(Message),
    /// From another loop: descriptors are short, so idle upstream connections are to be closed.
    ShedIdleUpstreams,
    /// From another loop: a client has closed while all loops together had the most clients allowed, so this loop may accept
    /// a connection that waits in its backlog.
    CapacityFreed,
}

/// The sending end of a loop's inbox, for any thread.
#[derive(Clone, Debug)]
pub struct Remote {
    messages: Sender<WorkerMessage>,
    /// Weak, so that the descriptor is closed with the loop and not with the last remote.
    waker: Weak<Waker>,
}

/// The receiving end, for the loop.
#[derive(Debug)]
pub struct Inbox {
    messages: Receiver<WorkerMessage>,
    _waker: Arc<Waker>,
}

/// Both ends of a new inbox.
pub fn inbox(registry: &Registry, token: Token) -> io::Result<(Remote, Inbox)> {
    let waker = Arc::new(Waker::new(registry, token)?);
    let (sender, receiver) = channel();
    let remote = Remote { messages: sender, waker: Arc::downgrade(&waker) };
    Ok((remote, Inbox { messages: receiver, _waker: waker }))
}

impl Remote {
    /// Sends a message to the loop. No effect if the loop has ended.
    pub fn send(&self, message: WorkerMessage) {
        if self.messages.send(message).is_ok() {
            self.wake();
        }
    }

    /// Ends a wait of the loop, even if it takes no more messages.
    pub fn wake(&self) {
        if let Some(waker) = self.waker.upgrade() {
            let _ = waker.wake();
        }
    }
}

impl Inbox {
    /// Drops the messages that wait, and those to come: a thread that waits until one is carried out goes on.
    pub fn close(&mut self) {
        self.messages = channel().1;
    }

    /// The next message.
    pub fn next(&mut self) -> Option<WorkerMessage> {
        self.messages.try_recv().ok()
    }
}
