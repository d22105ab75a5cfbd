//! A body that is not stored after all and has one reader: the rest of it goes from the origin to that client as it would without
//! a cache, through blocks or inside the kernel.
//!
//! So who reads slowly keeps nothing of the cache's memory, and who reads fast is served as fast as by any other response. It
//! happens as soon as the reader has all that had come until then; meanwhile the origin waits.

use crate::engine::Engine;
use crate::engine::cache::fill::FillId;
use crate::engine::peer::{OriginState, Peer, Role};
use crate::engine::transaction::Stage;
use crate::time::Now;

impl Engine {
    /// Has the one reader of a fill that is not stored go on without it, if it has everything that has come.
    pub(in crate::engine) fn hand_over(&mut self, now: Now, id: FillId) {
        let Some(fill) = id.get(&self.fills) else { return };
        let [reader] = fill.readers[..] else { return };
        if fill.storable || !fill.is_receiving() || !fill.is_lone() {
            return;
        }
        let Engine { transactions, fills, peers, deadlines, .. } = self;
        let transaction =
            transactions.get_mut(reader.index as usize).filter(|found| found.serial == reader.serial);
        let Some(transaction) = transaction else { return };
        let drained = transaction.reader.as_ref().is_some_and(|reader| reader.is_drained(fills));
        if !matches!(transaction.stage, Stage::CacheReader) || !drained {
            return;
        }
        let fill = fills.remove(id.index as usize);
        let (hash, lock, origin) = (fill.pending.hash(), fill.lock, fill.origin);
        transaction.opened_ms = fill.opened_ms;
        if let (Some((rest, withheld, reusable)), Some(reader)) =
            (fill.into_rest(), transaction.reader.take())
        {
            transaction.down.resume(rest, reader.into_frame());
            transaction.down.withheld = withheld;
            transaction.origin = origin;
            transaction.origin_reusable = reusable;
            transaction.stage = Stage::Relaying;
        }
        let client = transaction.client;
        if let Some(origin) = origin {
            if let Some(Peer { role: Role::Origin(found), .. }) = peers.get_mut(origin.index()) {
                found.state = OriginState::Busy(reader);
            }
            deadlines.clear(origin);
            self.wake(origin);
        }
        self.forget_collapse_of_fill(id, hash);
        self.release_filled(lock);
        self.touch(now, reader);
        self.wake(client);
    }
}
