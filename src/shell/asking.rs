//! Queries of a loop: DNS queries, whose replies are given to the engine, and questions to the store.

use super::{EventLoop, QUERIES, listener};
use crate::engine::Action;
use crate::guard::store::StoreFailure;
use crate::resolver::{self, Message, QueryId, Transport};
use std::io;
use std::net::SocketAddr;

impl EventLoop {
    /// Sends the questions of this turn's requests to the store. Without a store the requests continue at once, and may ask
    /// again.
    pub(super) fn ask_store(&mut self) {
        loop {
            let without_store = self.store_questions.send(self.index);
            if without_store.is_empty() {
                return;
            }
            for job in without_store {
                self.engine.handle_store_answer(self.now, job, Err(StoreFailure::Unreachable));
            }
            self.carry_out_actions();
        }
    }

    /// Gives the names that were looked up for another thread to it.
    pub(super) fn tell_names(&mut self) {
        while let Some((name, addresses)) = self.engine.next_known_name() {
            self.store_questions.link().name_found(name, addresses);
        }
    }

    /// Sends a DNS query. If descriptors are short, the same is given up for it as for a connection.
    pub(super) fn ask(&mut self, query: QueryId, server: SocketAddr, transport: Transport, message: Message) {
        // A query that was put off may have been cancelled since.
        if !self.engine.awaits_reply(query) {
            return;
        }
        let EventLoop { poll, queries, shortage, pipes, delivering, engine, .. } = self;
        let mut begin =
            || queries.begin(poll.registry(), QUERIES, query, server, transport, message.as_bytes());
        let is_short = |sent: &io::Result<()>| sent.as_ref().is_err_and(listener::is_shortage);
        let mut sent = begin();
        if is_short(&sent) {
            shortage.count += 1;
            if pipes.shed() | delivering.shed() {
                sent = begin();
            }
        }
        if is_short(&sent) {
            if engine.shed_idle_upstreams() {
                // Tried again when those are closed.
                let send = resolver::Action::Send { query, server, transport, message };
                engine.defer(Action::Resolver(send));
                return;
            }
            if shortage.reserved.give_up() {
                sent = begin();
            }
        }
        let Err(error) = &sent else { return };
        log::debug!("cannot ask {server}: {error}");
        if is_short(&sent) {
            self.ask_others_to_shed();
            self.engine.handle_query_shortage(self.now, query);
        } else {
            self.engine.handle_query_failure(self.now, query);
        }
    }

    /// Something arrived for a DNS query.
    pub(super) fn serve_query(&mut self, index: usize) {
        while let Some((query, reply)) = self.queries.receive(index) {
            match reply {
                Ok(message) => self.engine.handle_reply(self.now, query, &message),
                Err(error) => {
                    log::debug!("a name server failed: {error}");
                    self.engine.handle_query_failure(self.now, query);
                }
            }
            self.carry_out_actions();
        }
    }
}
