//! Who is looked at next.

use super::{Engine, PeerId};

impl Engine {
    /// The next peer that may be able to read or write.
    pub fn next_runnable(&mut self) -> Option<PeerId> {
        self.unpark_next();
        let id = self.runnable.pop_front()?;
        if let Some(peer) = self.peers.get_mut(id.index()) {
            peer.queued = false;
        }
        Some(id)
    }

    /// Whether anybody is on the run queue, or would be put there by the next look: one who waits for a block that is there.
    pub fn has_runnable(&self) -> bool {
        !self.runnable.is_empty() || self.unparks_any()
    }

    /// From now on the shell reads and writes for this peer until it has neither to read nor to write: whatever happens, nobody
    /// need wake it. A shell that does not say so finds it on the run queue again.
    pub fn begin_turn(&mut self, id: PeerId) {
        self.turn = Some(id);
    }

    /// The shell turns to others.
    pub fn end_turn(&mut self) {
        self.turn = None;
    }

    /// Puts a peer on the run queue, once: because its socket is ready, or its turn was cut short.
    pub fn wake(&mut self, id: PeerId) {
        if self.turn == Some(id) {
            return;
        }
        if let Some(peer) = self.peers.get_mut(id.index()) {
            if !peer.queued {
                peer.queued = true;
                self.runnable.push_back(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Event, Settings};
    use crate::policy::Policy;
    use crate::policy::acl::AclBuilder;
    use crate::resolver::{self, Hosts, Resolver};
    use crate::time::Now;
    use std::sync::Arc;

    /// The answer is written by the shell whose turn it is, or by one that finds the client on the run queue.
    #[test]
    fn nobody_is_woken_in_its_own_turn() {
        let acl = AclBuilder::new(1).build().unwrap();
        let (edits, cache_rules) = Default::default();
        let policy = Arc::new(Policy {
            acl,
            users: None,
            edits,
            cache_rules,
            pages: Default::default(),
            quiet_refusals: false,
        });
        for says_so in [true, false] {
            let resolver = Resolver::new(resolver::Settings::default(), Hosts::parse(b""), [1, 2]);
            let mut engine = Engine::new(Settings::default(), Arc::clone(&policy), resolver);
            let client = engine.accept(Now::default(), ([127, 0, 0, 1], 4711).into());
            while engine.next_runnable().is_some() {}
            if says_so {
                engine.begin_turn(client);
            }
            let count = engine.space(client).unwrap().fill(b"OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n");
            engine.handle(Now::default(), client, Event::Received(count));
            assert!(engine.wants_write(client));
            assert_eq!(engine.has_runnable(), !says_so);
            engine.end_turn();
            engine.wake(client);
            assert_eq!((engine.next_runnable(), engine.next_runnable()), (Some(client), None));
        }
    }
}
