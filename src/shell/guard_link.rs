//! Connects the guard's state, the loops, the client of the shared store and the gateway's health checks.
//!
//! The state reports every change through a sink, on the thread that made it. A ban goes to all loops, which cut the clients
//! concerned; an order goes to the store. Loops send their questions to the store through the link as well, because a reload
//! may replace the store.

use super::clock::Clock;
use super::message::{Remote, WorkerMessage};
use super::stores::{StoreClient, StoreReplies, StoreSettings, StoreSlot};
use crate::engine::StoreJob;
use crate::guard::networks::network_text;
use crate::guard::state::{Change, State};
use crate::guard::store::{Check, StoreFailure, StoreNews};
use crate::guard::values::{ValueAnswer, ValueRequest};
use crate::http::target::Name;
use crate::part::guard::built;
use crate::resolver::Addresses;
use crate::time::Now;
use ipnet::IpNet;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// Networks that one line of the log names (chosen).
const SHOWN_MAX: usize = 10;

/// Shared by the sink of the state, the loops and the thread that reloads.
pub struct GuardLink {
    clock: Clock,
    remotes: RwLock<Vec<Remote>>,
    store: Arc<StoreSlot>,
    /// Has the values of pages if no store is shared.
    values: StoreSlot,
    /// Gets the addresses of names that it has asked for.
    names: RwLock<Option<NameReceiver>>,
}

/// A function that gets a name and its addresses.
pub type NameReceiver = Box<dyn Fn(Name, Option<Addresses>) + Send + Sync>;

impl GuardLink {
    /// Without loops and without a store. The common clock begins.
    pub fn new(clock: Clock) -> GuardLink {
        GuardLink {
            clock,
            remotes: RwLock::default(),
            store: Arc::default(),
            values: StoreSlot::default(),
            names: RwLock::default(),
        }
    }

    /// The clock that all loops have in common.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The time for threads other than the loops, which have no clock.
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// Reports a change to the loops, and to the store if there is one.
    pub fn tell(&self, change: Change) {
        match change {
            Change::Bans => {
                for remote in self.read_remotes().iter() {
                    remote.send(WorkerMessage::Bans);
                }
            }
            Change::Alert(line) => log::error!("{line}"),
            Change::Trusted(networks) => log::info!(
                "guard: {} bans have ended, because the guard file trusts their networks: {}",
                networks.len(),
                first(&networks)
            ),
            Change::Refused(bans) => {
                for (network, why) in bans.iter().take(SHOWN_MAX) {
                    log::warn!("guard: store: {} is not banned: {why}", network_text(*network));
                }
                if bans.len() > SHOWN_MAX {
                    let untold = bans.len() - SHOWN_MAX;
                    log::warn!("guard: store: {untold} more networks are not banned for such reasons");
                }
            }
            Change::Order(order) => {
                if let Some(store) = self.store.read().as_ref() {
                    store.order(order);
                }
            }
        }
    }

    /// Another process has removed what was counted of a client. One loop does it for all, because they share their counters.
    fn unblock(&self, client: IpAddr) {
        if let Some(remote) = self.read_remotes().first() {
            remote.send(WorkerMessage::Unblock(client));
        }
    }

    /// Sets the loops that get reports.
    pub fn set_remotes(&self, remotes: &[Remote]) {
        *self.remotes.write().unwrap_or_else(PoisonError::into_inner) = remotes.to_vec();
    }

    /// Replaces the store; `None` for no store. The present client answers until the new one is connected.
    pub fn set_store(
        self: &Arc<Self>,
        settings: Option<StoreSettings>,
        state: &Arc<State>,
    ) -> io::Result<()> {
        let Some(settings) = settings else {
            self.store.replace(None);
            return Ok(());
        };
        let (own_link, own_state) = (Arc::downgrade(self), Arc::clone(state));
        let (link, state, clock) = (Arc::downgrade(self), Arc::clone(state), self.clock.clone());
        let deliver = move |index: usize, replies: StoreReplies| {
            let Some(link) = link.upgrade() else { return };
            if let Some(remote) = link.read_remotes().get(index) {
                remote.send(WorkerMessage::StoreAnswered(replies));
            }
        };
        let news_link = Arc::downgrade(self);
        let news = move |news| {
            if let (StoreNews::Unblocked(client), Some(link)) = (&news, news_link.upgrade()) {
                link.unblock(*client);
            }
            learn(&state, news, clock.now());
        };
        self.store.change(|ready| {
            let ready = move || {
                ready();
                if let Some(link) = own_link.upgrade() {
                    link.hand_over_bans(&own_state);
                }
            };
            StoreClient::start(settings, deliver, news, Box::new(ready))
        })
    }

    /// Has the bans of this process written to a store that does not have them. The lock of the bans is held, so that the order to
    /// end one of them comes behind.
    fn hand_over_bans(&self, state: &State) {
        let bans = state.read_bans();
        let own = bans.own(self.now().unix_ms());
        if let Some(store) = self.store.read().as_ref() {
            store.adopt(own.map(|(network, ban)| (network, ban.until_unix_ms, &*ban.reason)));
        }
    }

    /// Sets the store of this process for values, which is used if no store is shared.
    pub fn set_values(&self, client: StoreClient) {
        self.values.replace(Some(client));
    }

    /// Ends the clients of all stores: there are no more questions.
    pub fn close(&self) {
        self.store.replace(None);
        self.values.replace(None);
    }

    /// Requests a value for one request of a loop, from the shared store or the store of this process.
    pub fn ask_value(&self, remote: &Remote, job: StoreJob, request: ValueRequest) {
        let remote = remote.clone();
        let tell = move |answer| remote.send(WorkerMessage::Value(job, answer));
        let (store, values) = (self.store.read(), self.values.read());
        match store.as_ref().or(values.as_ref()) {
            Some(client) => client.value(request, tell),
            None => tell(ValueAnswer::Failed(StoreFailure::Unreachable)),
        }
    }

    /// Sets the receiver of addresses.
    pub fn set_name_receiver(&self, receiver: NameReceiver) {
        *self.names.write().unwrap_or_else(PoisonError::into_inner) = Some(receiver);
    }

    /// Has a loop look a name up, for the receiver of addresses. False before there are loops.
    pub fn find_name(&self, name: Name) -> bool {
        let remotes = self.read_remotes();
        let remote = remotes.first();
        remote.iter().for_each(|remote| remote.send(WorkerMessage::FindName(Box::new(name))));
        remote.is_some()
    }

    /// Gives the addresses of a name to the receiver.
    pub fn name_found(&self, name: Name, addresses: Option<Addresses>) {
        if let Some(receiver) = &*self.names.read().unwrap_or_else(PoisonError::into_inner) {
            receiver(name, addresses);
        }
    }

    /// The slot of the store's client.
    pub fn store(&self) -> &Arc<StoreSlot> {
        &self.store
    }

    fn read_remotes(&self) -> RwLockReadGuard<'_, Vec<Remote>> {
        self.remotes.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The questions of one loop's requests in one turn. All are sent together, because sending wakes a thread.
#[derive(Debug)]
pub struct StoreQuestions {
    link: Arc<GuardLink>,
    asked: Vec<(StoreJob, Vec<Check>)>,
}

impl StoreQuestions {
    /// An empty list.
    pub fn new(link: Arc<GuardLink>) -> StoreQuestions {
        StoreQuestions { link, asked: Vec::new() }
    }

    /// The link to the other loops and the store.
    pub fn link(&self) -> &GuardLink {
        &self.link
    }

    /// Adds the questions of one request.
    pub fn add(&mut self, job: StoreJob, checks: Vec<Check>) {
        self.asked.push((job, checks));
    }

    /// Sends the questions for the loop of this index. Returns the jobs that get no answer, because there is no store.
    pub fn send(&mut self, index: usize) -> Vec<StoreJob> {
        if built().is_none() || self.asked.is_empty() {
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

/// The first networks, for a line of the log.
fn first(networks: &[IpNet]) -> String {
    let first: Vec<String> = networks.iter().take(SHOWN_MAX).map(|network| network_text(*network)).collect();
    let more = if networks.len() > SHOWN_MAX { ", ..." } else { "" };
    format!("{}{more}", first.join(", "))
}

/// Applies news that the store sends without a question.
fn learn(state: &State, news: StoreNews, now: Now) {
    match &news {
        StoreNews::Reached => log::info!("guard: the store answers"),
        StoreNews::ScriptReloaded => log::info!("guard: the store was sent a script that it had forgotten"),
        StoreNews::Lost(error) => log::warn!("guard: the store does not answer: {error}"),
        StoreNews::Vanished(networks) => {
            log::warn!(
                "guard: {} bans of this process have gone from the store, and have ended: {}",
                networks.len(),
                first(networks)
            );
        }
        StoreNews::Warning(text) => log::warn!("guard: store: {text}"),
        StoreNews::Banned { .. }
        | StoreNews::Unbanned(_)
        | StoreNews::Unblocked(_)
        | StoreNews::AllBans(_) => {}
    }
    state.learn(&news, now);
}

impl fmt::Debug for GuardLink {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("GuardLink").finish_non_exhaustive()
    }
}
