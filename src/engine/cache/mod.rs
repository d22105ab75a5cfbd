//! The cache's work for transactions: look-up, answer, fill, and shared fills.

pub(in crate::engine) mod actions;
pub(in crate::engine) mod collapse;
pub(in crate::engine) mod coordination;
pub(in crate::engine) mod decision;
pub(in crate::engine) mod fill;
pub(in crate::engine) mod filling;
pub(in crate::engine) mod hit_response;
pub(in crate::engine) mod hold;
pub(in crate::engine) mod leading;
pub(in crate::engine) mod look_up;
pub(in crate::engine) mod message;
pub(in crate::engine) mod publisher;
pub(in crate::engine) mod reader;
pub(in crate::engine) mod refresh;
pub(in crate::engine) mod selecting;
pub(in crate::engine) mod settings;
pub(in crate::engine) mod signature;
pub(in crate::engine) mod state;
pub(in crate::engine) mod subscriber;
pub(in crate::engine) mod window;

use crate::cache::store::stored::Stored;
use crate::engine::context::Context;
use crate::net::Keyed;
use crate::part;
use collapse::{Collapses, InProgress};
use fill::Fill;
use refresh::Background;
use slab::Slab;

/// The cache's work under way in one loop: responses that are being stored, and requests that wait for them.
pub(in crate::engine) struct Fills {
    pub slab: Slab<Fill>,
    pub collapses: Collapses,
    /// The fills that continue without readers.
    pub(super) unread: Background,
    serial: u32,
}

impl Fills {
    pub fn new(keyed: Keyed, loops: usize) -> Fills {
        Fills {
            slab: Slab::new(),
            collapses: Collapses::new(keyed, loops),
            unread: Background::default(),
            serial: 0,
        }
    }

    /// `self`, or `None` in a build without a cache, so that the compiler removes the code for fills.
    pub fn built(&mut self) -> Option<&mut Fills> {
        part::cache::built().map(|_| self)
    }

    fn next_serial(&mut self) -> u32 {
        self.serial = self.serial.wrapping_add(1);
        self.serial
    }

    /// Whether a stale response may be fetched in the background: weir does not drain, and no other request fetches it.
    pub fn may_refresh(&self, cx: &Context, stored: &Stored) -> bool {
        let Some(cache) = cx.settings.caching() else { return false };
        let hash = cache.store.variant_hash(stored.hash(), stored.selecting());
        let is_locked = || cache.store.fill_locks().is_locked(hash);
        !cx.is_draining()
            && self.collapses.find(hash, stored.key()) == InProgress::Nothing
            && !(self.collapses.loops > 1 && is_locked())
    }
}
