//! What joins the guard's state, the loops and the client of the shared store.
//!
//! The state tells of every change through a sink, from whichever thread has made it: a ban is for all loops, whose clients
//! it cuts, and an order is for the store. Loops ask the store through here as well, because a reload may put another store
//! in its place.

use super::clock::Clock;
use super::message::{Remote, WorkerMessage};
use super::stores::{StoreClient, StoreReply, StoreSettings, StoreSlot};
use crate::engine::StoreJob;
use crate::guard::state::{Change, State};
use crate::guard::store::{Check, StoreFailure, StoreNews};
use crate::guard::values::{ValueAnswer, ValueRequest};
use crate::time::Now;
use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard};

/// Shared by the sink of the state, the loops and the thread that reloads.
pub struct GuardLink {
    clock: Clock,
    remotes: RwLock<Vec<Remote>>,
    store: Arc<StoreSlot>,
    /// Has the values of pages where no store is shared.
    values: OnceLock<StoreClient>,
}

impl GuardLink {
    /// Without loops and without a store. The common clock begins.
    pub fn new(clock: Clock) -> GuardLink {
        GuardLink { clock, remotes: RwLock::default(), store: Arc::default(), values: OnceLock::new() }
    }

    /// The clock that all loops have in common.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The time for threads beside the loops, which have no clock of their own.
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// Tells loops, and the store if there is one.
    pub fn tell(&self, change: Change) {
        match change {
            Change::Bans => {
                for remote in self.read_remotes().iter() {
                    remote.send(WorkerMessage::Bans);
                }
            }
            Change::Alert(line) => log::error!("{line}"),
            Change::Order(order) => {
                if let Some(store) = self.store.read().as_ref() {
                    store.order(order);
                }
            }
        }
    }

    /// From now on these loops are told.
    pub fn set_remotes(&self, remotes: &[Remote]) {
        *self.remotes.write().unwrap_or_else(PoisonError::into_inner) = remotes.to_vec();
    }

    /// From now on that store is asked, or none.
    pub fn set_store(
        self: &Arc<Self>,
        settings: Option<StoreSettings>,
        state: &Arc<State>,
    ) -> io::Result<()> {
        // The old one ends before the new one begins: two would answer each other's news.
        self.store.replace(None);
        let Some(settings) = settings else { return Ok(()) };
        let (link, state, clock) = (Arc::downgrade(self), Arc::clone(state), self.clock.clone());
        let deliver = move |index: usize, replies: Vec<StoreReply>| {
            let Some(link) = link.upgrade() else { return };
            if let Some(remote) = link.read_remotes().get(index) {
                remote.send(WorkerMessage::StoreAnswered(replies));
            }
        };
        let client = StoreClient::start(settings, deliver, move |news| learn(&state, news, clock.now()))?;
        self.store.replace(Some(client));
        Ok(())
    }

    /// From now on values are kept here where no store is shared.
    pub fn set_values(&self, client: StoreClient) {
        // It is set once, before anything is asked.
        let _ = self.values.set(client);
    }

    /// Asks for a value for one request of a loop: the shared store, or the one of this process.
    pub fn ask_value(&self, remote: &Remote, job: StoreJob, request: ValueRequest) {
        let remote = remote.clone();
        let tell = move |answer| remote.send(WorkerMessage::Value(job, answer));
        let store = self.store.read();
        match store.as_ref().or(self.values.get()) {
            Some(client) => client.value(request, tell),
            None => tell(ValueAnswer::Failed(StoreFailure::Unreachable)),
        }
    }

    /// Where the client of the store is.
    pub fn store(&self) -> &Arc<StoreSlot> {
        &self.store
    }

    fn read_remotes(&self) -> RwLockReadGuard<'_, Vec<Remote>> {
        self.remotes.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the requests of one loop ask the store in one turn: all goes there together, since a thread is woken for it.
#[derive(Debug)]
pub struct StoreQuestions {
    link: Arc<GuardLink>,
    asked: Vec<(StoreJob, Vec<Check>)>,
}

impl StoreQuestions {
    /// None so far.
    pub fn new(link: Arc<GuardLink>) -> StoreQuestions {
        StoreQuestions { link, asked: Vec::new() }
    }

    /// What joins this loop with the others and the store.
    pub fn link(&self) -> &GuardLink {
        &self.link
    }

    /// One more request.
    pub fn add(&mut self, job: StoreJob, checks: Vec<Check>) {
        self.asked.push((job, checks));
    }

    /// Asks for the loop of this index. The jobs of which nothing will be heard, since there is no store.
    pub fn send(&mut self, index: usize) -> Vec<StoreJob> {
        if self.asked.is_empty() {
            return Vec::new();
        }
        match self.link.store.read().as_ref() {
            Some(store) => {
                store.ask(index, self.asked.drain(..).map(|(job, checks)| (job.to_bits(), checks)));
                Vec::new()
            }
            None => self.asked.drain(..).map(|(job, _)| job).collect(),
        }
    }
}

/// Passes on what the store tells of its own accord.
fn learn(state: &State, news: StoreNews, now: Now) {
    match &news {
        StoreNews::Reached => log::info!("guard: the store answers"),
        StoreNews::ScriptReloaded => log::info!("guard: the store was sent a script that it had forgotten"),
        StoreNews::Lost(error) => log::warn!("guard: the store does not answer: {error}"),
        StoreNews::Banned { .. } | StoreNews::Unbanned(_) | StoreNews::AllBans(_) => {}
    }
    state.learn(&news, now);
}

impl fmt::Debug for GuardLink {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("GuardLink").finish_non_exhaustive()
    }
}
