//! One run: everybody, in an order that the seed decides.

use super::book::{Book, Checked, Tally};
use super::client::{self, Client};
use super::dice::Dice;
use super::network::{LinkId, Network, Peer, Task};
use super::origin::OriginEnd;
use super::scenario::{Dialling, Scenario, Upheaval, other_resolver_settings};
use super::shell::Shell;
use std::net::SocketAddr;
use std::sync::Arc;
use weir::engine::{Engine, SocketError};
use weir::resolver::{Hosts, Resolver};

/// Steps and rounds after which a run should have ended (measured: the longest take a tenth of that).
const STEPS_MAX: u64 = 5_000_000;

/// Everything but the shell.
pub struct Surroundings {
    pub net: Network,
    pub book: Book,
    clients: Vec<Client>,
    origins: Vec<OriginEnd>,
    /// Where a link will lead when its handshake ends.
    destinations: Vec<Option<SocketAddr>>,
    /// The engine's index of a link's socket.
    indices: Vec<Option<usize>>,
}

impl Surroundings {
    pub fn index_of(&self, link: LinkId) -> Option<usize> {
        self.indices.get(link).copied().flatten()
    }

    pub fn set_index(&mut self, link: LinkId, index: usize) {
        if link >= self.indices.len() {
            self.indices.resize(link + 1, None);
        }
        self.indices[link] = Some(index);
    }

    pub fn forget_index(&mut self, link: LinkId) {
        self.indices[link] = None;
    }

    fn dialling(&self, address: SocketAddr) -> Dialling {
        let known = self.book.scenario.hosts.iter().flat_map(|host| &host.addresses);
        known
            .into_iter()
            .find(|(ip, _)| *ip == address.ip())
            .map_or(Dialling::Silent, |(_, dialling)| *dialling)
    }

    pub fn fails_at_once(&self, address: SocketAddr) -> Option<SocketError> {
        (self.dialling(address) == Dialling::Unreachable).then_some(SocketError::Unreachable)
    }

    /// Begins a handshake.
    pub fn dial(&mut self, address: SocketAddr, failed: bool) -> LinkId {
        let link = self.net.open(Peer::Origin(u32::MAX), false);
        self.destinations.resize(link + 1, None);
        self.destinations[link] = Some(address);
        if !failed && self.dialling(address) != Dialling::Silent {
            let after_us = self.net.dice.pick(&[1, 100, 5_000, 300_000]);
            self.net.plan(after_us, Task::Establish(link));
        }
        link
    }

    fn establish(&mut self, link: LinkId) {
        let Some(address) = self.destinations.get(link).copied().flatten() else { return };
        if !self.net.links[link].weir_open {
            return;
        }
        let dialling = self.dialling(address);
        if dialling == Dialling::Refuses {
            self.net.links[link].broken = Some(SocketError::Refused);
            self.net.raise_edge(link);
            return;
        }
        let serial = self.origins.len() as u32;
        self.net.links[link].peer = Peer::Origin(serial);
        self.net.links[link].established = true;
        self.net.raise_edge(link);
        self.origins.push(OriginEnd::new(&mut self.net, &self.book, serial, link, address));
        self.book.tally.connections += 1;
        if dialling == Dialling::Resets {
            self.net.reset(link);
        }
    }

    /// The origin at the far end is idle, and nothing is on its way to it.
    pub fn is_between(&self, link: LinkId) -> bool {
        match self.net.links[link].peer {
            Peer::Client(_) | Peer::Origin(u32::MAX) => false,
            Peer::Origin(serial) => {
                self.origins[serial as usize].is_between() && self.net.links[link].to_peer.is_empty()
            }
        }
    }

    /// weir has read a part of a request.
    pub fn is_in_head(&self, link: LinkId) -> bool {
        match self.net.links[link].peer {
            Peer::Client(number) => {
                let read = self.net.links[link].read_by_weir;
                !self.clients[number as usize].is_at_boundary(&self.book, read)
            }
            Peer::Origin(_) => false,
        }
    }

    /// Whether that client's tunnel has to come to a proper end.
    pub fn owes_tunnel(&self, address: SocketAddr) -> bool {
        let number = usize::from(address.port()) - 2000;
        self.clients.get(number).and_then(Client::tunnel_key).is_some_and(|key| self.book.owes_tunnel(key))
    }

    /// So many bytes were moved from there inside the kernel.
    pub fn note_moved(&mut self, link: LinkId, count: usize) {
        let tally = &mut self.book.tally;
        tally.moved_bytes += count as u64;
        let (one_of, tunnel) = match self.net.links[link].peer {
            Peer::Client(number) => {
                (&mut tally.moved_up, self.clients[number as usize].tunnel_key().is_some())
            }
            Peer::Origin(serial) => {
                (&mut tally.moved_down, self.origins.get(serial as usize).is_some_and(OriginEnd::is_tunnel))
            }
        };
        if tunnel {
            tally.moved_tunnels += 1;
        } else {
            *one_of += 1;
        }
    }

    fn send(&mut self, link: LinkId) -> Checked<()> {
        match self.net.links[link].peer {
            Peer::Client(number) => {
                self.provoke();
                self.clients[number as usize].send(&mut self.net, &mut self.book)
            }
            Peer::Origin(serial) => match self.origins.get_mut(serial as usize) {
                Some(origin) => origin.send(&mut self.net, &mut self.book),
                None => Ok(()),
            },
        }
    }

    /// Origins that are up to something between two requests like to do it when the next one is on its way.
    fn provoke(&mut self) {
        let recent = self.origins.len().min(16);
        if recent == 0 || !self.net.dice.percent(70) {
            return;
        }
        let origin = &self.origins[self.origins.len() - 1 - self.net.dice.below(recent)];
        if origin.is_up_to_mischief() {
            let after_us = self.net.dice.pick(&[1, 20, 60, 150, 400]);
            self.net.plan(after_us, Task::Send(origin.link));
        }
    }

    fn read(&mut self, link: LinkId) -> Checked<()> {
        match self.net.links[link].peer {
            Peer::Client(number) => self.clients[number as usize].read(&mut self.net, &mut self.book),
            Peer::Origin(serial) => match self.origins.get_mut(serial as usize) {
                Some(origin) => origin.read(&mut self.net, &mut self.book),
                None => Ok(()),
            },
        }
    }
}

pub struct World {
    around: Surroundings,
    shell: Shell,
    quiet: u64,
    rounds: u64,
    drain_by_us: Option<u64>,
}

impl World {
    pub fn new(seed: u64, tracing: bool) -> World {
        let mut dice = Dice::new(seed);
        let scenario = Scenario::new(&mut dice);
        let resolver = Resolver::new(scenario.resolver.clone(), Hosts::default(), [dice.next(), dice.next()]);
        let policy = Arc::clone(&scenario.policies[scenario.first_policy].1);
        let engine = Engine::new(scenario.settings.clone(), policy, resolver);
        let mut net = Network::new(dice, scenario.room_max, scenario.window, tracing);
        let mut book = Book::new(scenario);
        let mut clients = Vec::new();
        for number in 0..book.scenario.clients {
            clients.push(Client::new(&mut net.dice, &mut book, number));
            let at = net.dice.between(0, book.scenario.arrivals_us);
            net.plan(at, Task::Arrive(number));
        }
        for (number, (at, _)) in book.scenario.upheavals.iter().enumerate() {
            net.plan(*at, Task::Upheaval(number));
        }
        let around = Surroundings {
            net,
            book,
            clients,
            origins: Vec::new(),
            destinations: Vec::new(),
            indices: Vec::new(),
        };
        World { around, shell: Shell::new(engine), quiet: 0, rounds: 0, drain_by_us: None }
    }

    /// Until nobody has anything left to do.
    pub fn run(mut self) -> Checked<Tally> {
        loop {
            while let Some(task) = self.around.net.next_task() {
                self.shell.expect_progress();
                self.perform(task)?;
                if self.around.net.dice.percent(40) {
                    break;
                }
            }
            if self.shell.steps + self.rounds > STEPS_MAX {
                return Err("no end".to_string());
            }
            if self.has_work() {
                self.rounds += 1;
                let late = self.drain_by_us.is_some_and(|by| self.around.net.now_us > by);
                self.shell.round(&mut self.around)?;
                if late && !self.shell.engine.is_empty() {
                    return Err("draining has no end".to_string());
                }
                self.shell.check_balance()?;
                let after_us = self.around.net.dice.between(1, 60);
                self.around.net.advance_to(self.around.net.now_us + after_us);
                continue;
            }
            if !self.wait()? {
                break;
            }
        }
        self.finish()
    }

    fn has_finished(&self) -> bool {
        self.shell.engine.is_draining() && self.shell.engine.is_empty()
    }

    fn has_work(&self) -> bool {
        let engine = &self.shell.engine;
        let timer = engine.next_timeout_us().is_some_and(|due| due <= self.around.net.now_us);
        let waiting = !self.shell.backlog.is_empty() && engine.may_accept() && !self.shell.is_exhausted();
        !self.has_finished()
            && (!self.around.net.edges.is_empty() || engine.has_runnable() || timer || waiting)
    }

    /// Nothing to do now: on to the next moment. False if there is none.
    fn wait(&mut self) -> Checked<bool> {
        let task = self.around.net.next_task_us();
        if task.is_some_and(|at| at <= self.around.net.now_us) {
            return Ok(true);
        }
        self.quiet += 1;
        if self.quiet % (1 + self.shell.live as u64 / 20) == 0 {
            self.shell.check_rest(&self.around)?;
        }
        let timer = self.shell.engine.next_timeout_us().filter(|_| !self.has_finished());
        let Some(next) = [task, timer].into_iter().flatten().min() else { return Ok(false) };
        self.around.net.advance_to(next);
        self.shell.expect_progress();
        Ok(true)
    }

    fn perform(&mut self, task: Task) -> Checked<()> {
        match task {
            Task::Send(link) => self.around.send(link),
            Task::Read(link) => self.around.read(link),
            Task::Establish(link) => {
                self.around.establish(link);
                Ok(())
            }
            Task::Arrive(number) => {
                self.arrive(number);
                Ok(())
            }
            Task::Reply(number) => self.shell.reply(&mut self.around, number),
            Task::Verified(number) => self.shell.verified(&mut self.around, number),
            Task::Upheaval(number) => {
                let (_, upheaval) = self.around.book.scenario.upheavals[number];
                self.upset(upheaval)
            }
        }
    }

    fn arrive(&mut self, number: u32) {
        let client = &mut self.around.clients[number as usize];
        if self.around.book.draining {
            client.done = true;
            return;
        }
        let link = self.around.net.open(Peer::Client(number), true);
        client.link = Some(link);
        self.around.book.tally.connections += 1;
        self.around.net.plan_send(link, 1);
        self.shell.backlog.push((link, client::address(number)));
    }

    fn upset(&mut self, upheaval: Upheaval) -> Checked<()> {
        let Surroundings { net, book, .. } = &mut self.around;
        net.trace(|| format!("{upheaval:?}"));
        let now = net.now();
        self.shell.steps += 1;
        match upheaval {
            Upheaval::Jump(us) => net.advance_to(net.now_us + us),
            Upheaval::SetClock(seconds) => {
                if seconds < 0 {
                    book.sayings.set_back_us.push(net.now_us);
                }
                net.unix_us = net.unix_us.saturating_add_signed(seconds * 1_000_000);
            }
            Upheaval::SetPolicy(number) => {
                self.shell.engine.set_policy(Arc::clone(&book.scenario.policies[number].1));
                book.policies.push((net.now_us, number));
            }
            Upheaval::SetResolver => {
                let settings = other_resolver_settings(&mut net.dice);
                self.shell.engine.set_resolver(now, settings, Hosts::default());
            }
            Upheaval::Drain => {
                book.draining = true;
                for (link, _) in std::mem::take(&mut self.shell.backlog) {
                    net.weir_closes(link, true);
                }
                self.shell.engine.drain(now);
                self.drain_by_us =
                    Some(net.now_us + book.scenario.settings.timeouts.drain_ms * 1000 + 1_000_000);
            }
            Upheaval::Exhaustion(exhausted) => return self.shell.set_exhausted(&mut self.around, exhausted),
            Upheaval::ShedIdle => drop(self.shell.engine.shed_idle_origins()),
            Upheaval::PurgeAll => {
                if let Some(cache) = &book.scenario.cache {
                    cache.store.purge(|_| true);
                    book.note_purge_of_all(net.now_us);
                }
            }
        }
        self.shell.act(&mut self.around)
    }

    /// Nobody can do anything: then everybody must be gone.
    fn finish(mut self) -> Checked<Tally> {
        if !self.shell.engine.is_empty() {
            return Err(format!("stuck: {:?}", self.shell.engine.metrics()));
        }
        if let Some(client) = self.around.clients.iter().find(|client| !client.done) {
            return Err(format!("nobody told client {client:?}"));
        }
        for client in self.around.clients.iter().filter(|client| client.is_served(&self.around.book)) {
            let logged = self.shell.received.get(&client::address(client.number)).copied().unwrap_or(0);
            let read = client.link.map_or(0, |link| self.around.net.links[link].read_by_weir);
            if logged != read {
                return Err(format!("client {}: {logged} bytes logged of {read}", client.number));
            }
        }
        self.shell.check_end(&mut self.around)?;
        self.shell.check_cache_end(&mut self.around.book)?;
        Ok(self.around.book.tally)
    }
}
