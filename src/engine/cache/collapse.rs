//! One request per key at a time (rule 48): the leader of each key, and the requests that wait for its response.
//!
//! A request without a usable stored response leads a collapse; requests for the same key wait until the leader's response
//! head has arrived. If that response may be stored and shared it becomes a fill, and they join it; otherwise each of them
//! goes to the origin by itself. In both cases they are examined again, so every rule applies to each of them separately.
//!
//! A collapse belongs to one loop. With several loops, a leader locks the key first, in a table that they share
//! (`fill_locks`); if another loop has locked it, the collapse is led there (see [`crate::engine::cache::coordination`]).
//!
//! | state of a [`Collapse`] | left when |
//! | --- | --- |
//! | `Asking` | the leader has a response that may be shared (`Filling`), or has none: the collapse ends |
//! | `Filling` | the fill has ended: the collapse ends |
//!
//! A leader whose response does not come in time is overtaken: a transaction that waited leads in its place. The response of the
//! overtaken one, if it comes first, is a fill beside the `Asking`, which requests join as if there were no other.

use crate::engine::ids::{FillId, TransactionId};
use crate::engine::transaction::refusal::Refusal;
use crate::net::Keyed;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

/// Requests that wait for one leader (chosen: more than any page has readers in one round trip; the next ones ask by
/// themselves).
pub const WAITERS_MAX: usize = 4096;

/// How long a request waits for a leader before it asks the origin itself (chosen: nginx's default of
/// `proxy_cache_lock_timeout`). The origin may be silent only because of the leader's request.
pub(in crate::engine) const COLLAPSE_WAIT_MS: u64 = 5000;

/// How often a request waits for a leader before it asks the origin itself (chosen: a third leader that fails is more likely the
/// origin's fault than the leaders'; a wait for another loop counts twice, see `WAITS_MAX`).
pub(in crate::engine) const COLLAPSES_MAX: u8 = 4;

/// How long a key whose response was for its leader only has no collapse, in milliseconds (chosen: short beside the time in which a
/// resource becomes shareable, long beside the time of one response).
const UNSHAREABLE_MS: u64 = 10_000;

/// Most keys that are known to be so (chosen: 8 KB; a new one takes the place of another).
const UNSHAREABLE_MAX: usize = 512;

/// A key for which the origin is being asked.
#[derive(Debug)]
pub(in crate::engine) struct Collapse {
    key: Box<[u8]>,
    state: CollapseState,
}

/// The state of a collapse.
#[derive(Debug)]
enum CollapseState {
    /// The final response head has not arrived.
    Asking {
        /// `None` if another loop asks.
        leader: Option<TransactionId>,
        waiters: Vec<TransactionId>,
        /// The fill of a leader that was overtaken.
        late: Option<FillId>,
    },
    /// The body is arriving.
    Filling(FillId),
}

/// The state of a collapse, for a request that asks for the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum InProgress {
    Nothing,
    /// A request is under way, and one more request may wait.
    Asking,
    /// A request is under way, and as many wait as may.
    Crowded,
    /// The response is arriving.
    Filling(FillId),
}

/// All collapses of one loop.
#[derive(Debug)]
pub(in crate::engine) struct Collapses {
    by_hash: HashMap<u64, Collapse, Keyed>,
    /// Hashes of keys whose last response was for its leader only, each with the time until which no request waits for another:
    /// waiting would make all requests slower, and bring none a response. Empty until there is one.
    unshareable: Vec<(u64, u64)>,
    /// All loops of the process.
    pub loops: usize,
}

impl Collapses {
    pub fn new(keyed: Keyed, loops: usize) -> Collapses {
        Collapses { by_hash: HashMap::with_hasher(keyed), unshareable: Vec::new(), loops }
    }

    /// Keys in collapse.
    pub fn len(&self) -> usize {
        self.by_hash.len()
    }

    /// The state of the collapse for that key.
    pub fn find(&self, hash: u64, key: &[u8]) -> InProgress {
        match self.by_hash.get(&hash) {
            None => InProgress::Nothing,
            // Another key with the same hash: extremely unlikely, and not collapsed.
            Some(collapse) if *collapse.key != *key => InProgress::Crowded,
            Some(Collapse {
                state: CollapseState::Filling(fill) | CollapseState::Asking { late: Some(fill), .. },
                ..
            }) => InProgress::Filling(*fill),
            Some(Collapse { state: CollapseState::Asking { waiters, .. }, .. })
                if waiters.len() < WAITERS_MAX =>
            {
                InProgress::Asking
            }
            Some(Collapse { state: CollapseState::Asking { .. }, .. }) => InProgress::Crowded,
        }
    }

    /// Whether requests for a key should ask for themselves.
    pub fn is_unshareable(&self, hash: u64, now_ms: u64) -> bool {
        let place = self.unshareable.get(hash as usize % UNSHAREABLE_MAX);
        place.is_some_and(|(known, until_ms)| *known == hash && now_ms < *until_ms)
    }

    /// Notes whether the response for a key could be shared.
    pub fn note_response(&mut self, hash: u64, shareable: bool, now_ms: u64) {
        if self.unshareable.is_empty() {
            if shareable {
                return;
            }
            self.unshareable.resize(UNSHAREABLE_MAX, (0, 0));
        }
        let place = &mut self.unshareable[hash as usize % UNSHAREABLE_MAX];
        if !shareable {
            *place = (hash, now_ms + UNSHAREABLE_MS);
        } else if place.0 == hash {
            *place = (0, 0);
        }
    }

    /// Begins a collapse.
    pub fn lead(&mut self, hash: u64, key: &[u8], leader: TransactionId) {
        let state = CollapseState::Asking { leader: Some(leader), waiters: Vec::new(), late: None };
        self.by_hash.insert(hash, Collapse { key: key.into(), state });
    }

    /// Waits for the leader; without one, another loop leads. Returns whether this is the first request that waits for
    /// another loop.
    pub fn wait(&mut self, hash: u64, key: &[u8], waiter: TransactionId) -> bool {
        let led_by_other_loop = || Collapse {
            key: key.into(),
            state: CollapseState::Asking { leader: None, waiters: Vec::new(), late: None },
        };
        match &mut self.by_hash.entry(hash).or_insert_with(led_by_other_loop).state {
            CollapseState::Asking { leader, waiters, late: _ } => {
                waiters.push(waiter);
                leader.is_none() && waiters.len() == 1
            }
            CollapseState::Filling(_) => false,
        }
    }

    /// The transaction of this loop that leads a key.
    pub fn leader(&self, hash: u64) -> Option<TransactionId> {
        self.by_hash.get(&hash).and_then(Collapse::leader)
    }

    /// Whether transactions wait for another loop's request for the key.
    pub fn is_led_by_other_loop(&self, hash: u64, key: &[u8]) -> bool {
        self.by_hash
            .get(&hash)
            .is_some_and(|collapse| collapse.is_led_by_other_loop() && *collapse.key == *key)
    }

    /// This fill gets the response that another loop receives. Returns the transactions that waited; `None` if no transaction
    /// waits, or only for another key.
    pub fn subscribe(&mut self, hash: u64, key: &[u8], fill: FillId) -> Option<Vec<TransactionId>> {
        if !self.is_led_by_other_loop(hash, key) {
            return None;
        }
        let collapse = self.by_hash.get_mut(&hash)?;
        match std::mem::replace(&mut collapse.state, CollapseState::Filling(fill)) {
            CollapseState::Asking { waiters, .. } => Some(waiters),
            CollapseState::Filling(_) => None,
        }
    }

    /// The fill that brings that key.
    pub fn fill(&self, hash: u64) -> Option<FillId> {
        match self.by_hash.get(&hash)?.state {
            CollapseState::Filling(fill) => Some(fill),
            CollapseState::Asking { .. } => None,
        }
    }

    /// Ends the wait for another loop. Returns the transactions that waited.
    pub fn end_wait_for_other_loop(&mut self, hash: u64) -> Vec<TransactionId> {
        match self.by_hash.get_mut(&hash) {
            Some(collapse) if collapse.is_led_by_other_loop() => self.end_asking(hash),
            Some(_) | None => Vec::new(),
        }
    }

    /// Removes a waiting transaction.
    pub fn leave(&mut self, hash: u64, waiter: TransactionId) {
        if let Some(Collapse { state: CollapseState::Asking { waiters, .. }, .. }) =
            self.by_hash.get_mut(&hash)
        {
            waiters.retain(|other| *other != waiter);
        }
    }

    /// The leader's response becomes a fill. Returns the transactions that waited.
    pub fn turn_into_fill(&mut self, hash: u64, leader: TransactionId, fill: FillId) -> Vec<TransactionId> {
        match self.by_hash.get_mut(&hash) {
            Some(collapse) if collapse.leader() == Some(leader) => {
                match std::mem::replace(&mut collapse.state, CollapseState::Filling(fill)) {
                    CollapseState::Asking { waiters, .. } => waiters,
                    CollapseState::Filling(_) => Vec::new(),
                }
            }
            Some(_) | None => Vec::new(),
        }
    }

    /// The leader has no response that could be shared, or none in time. Returns the transactions that waited.
    pub fn give_up(&mut self, hash: u64, leader: TransactionId) -> Vec<TransactionId> {
        match self.by_hash.get_mut(&hash) {
            Some(collapse) if collapse.leader() == Some(leader) => self.end_asking(hash),
            Some(_) | None => Vec::new(),
        }
    }

    /// Ends a collapse without a response, but for the fill of a leader that was overtaken.
    fn end_asking(&mut self, hash: u64) -> Vec<TransactionId> {
        let Some(collapse) = self.by_hash.get_mut(&hash) else { return Vec::new() };
        let CollapseState::Asking { waiters, late, .. } = &mut collapse.state else { return Vec::new() };
        let (waiters, late) = (std::mem::take(waiters), *late);
        match late {
            Some(fill) => collapse.state = CollapseState::Filling(fill),
            None => drop(self.by_hash.remove(&hash)),
        }
        waiters
    }

    /// The key of a leader, which is being overtaken.
    pub fn key_of(&self, hash: u64, leader: TransactionId) -> Option<Box<[u8]>> {
        let collapse = self.by_hash.get(&hash).filter(|collapse| collapse.leader() == Some(leader));
        collapse.map(|collapse| collapse.key.clone())
    }

    /// The response of a leader that was overtaken has become a fill. Returns the transactions that waited for its successor.
    pub fn add_late_fill(&mut self, hash: u64, key: Box<[u8]>, fill: FillId) -> Vec<TransactionId> {
        match self.by_hash.entry(hash) {
            Entry::Vacant(place) => {
                place.insert(Collapse { key, state: CollapseState::Filling(fill) });
                Vec::new()
            }
            Entry::Occupied(mut found) if found.get().key == key => match &mut found.get_mut().state {
                CollapseState::Asking { waiters, late, .. } => {
                    late.get_or_insert(fill);
                    std::mem::take(waiters)
                }
                CollapseState::Filling(_) => Vec::new(),
            },
            Entry::Occupied(_) => Vec::new(),
        }
    }

    /// The transactions that wait for that key, which wait no more.
    pub fn take_waiters(&mut self, hash: u64, key: &[u8]) -> Vec<TransactionId> {
        match self.by_hash.get_mut(&hash) {
            Some(Collapse { key: known, state: CollapseState::Asking { waiters, .. } })
                if **known == *key =>
            {
                std::mem::take(waiters)
            }
            Some(_) | None => Vec::new(),
        }
    }

    /// A fill has ended: no transaction joins it any more.
    pub fn end_fill(&mut self, hash: u64, fill: FillId) {
        match self.by_hash.get_mut(&hash).map(|collapse| &mut collapse.state) {
            Some(CollapseState::Filling(other)) if *other == fill => drop(self.by_hash.remove(&hash)),
            Some(CollapseState::Asking { late, .. }) if *late == Some(fill) => *late = None,
            Some(_) | None => {}
        }
    }
}

impl Collapse {
    fn leader(&self) -> Option<TransactionId> {
        match &self.state {
            CollapseState::Asking { leader, .. } => *leader,
            CollapseState::Filling(_) => None,
        }
    }

    fn is_led_by_other_loop(&self) -> bool {
        matches!(self.state, CollapseState::Asking { leader: None, .. })
    }
}

/// The result of a leader.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) enum CollapseOutcome {
    /// The response is in the store, or the leader failed or ended without one: look up again, and ask the origin if nothing
    /// is stored.
    LookAgain,
    /// The response is for the leader only.
    NotShareable,
    /// The origin cannot be reached, which is the result for the others, too.
    Refused(Refusal),
}

/// The end of a wait.
#[derive(Debug)]
pub(in crate::engine) struct Conclusion {
    pub waiters: Vec<TransactionId>,
    pub outcome: CollapseOutcome,
    /// The number of waits that it counts as.
    pub counts: u8,
}
