//! One run: all peers, in an order that the seed decides.

use super::book::{Book, Checked, Tally};
use super::client::{self, Client};
use super::dice::Dice;
use super::network::{LinkId, Network, Peer, Task};
use super::origin::OriginEnd;
use super::scenario::{Dialling, GlobalEvent, Scenario};
use super::shell::Shell;
use super::site::Site;
use super::visitor;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use weir::engine::{ClientLimits, Engine, Message, SocketError};
use weir::guard::bans::{Ban, BanOrigin};
use weir::guard::state::Change;
use weir::resolver::{Hosts, Resolver};

/// Steps and rounds after which a run should have ended (measured: the longest take a tenth of that).
const STEPS_MAX: u64 = 5_000_000;

/// Everything but the shell.
pub struct Surroundings {
    pub net: Network,
    pub book: Book,
    clients: Vec<Client>,
    origins: Vec<OriginEnd>,
    /// weir's own pages, and who visits them.
    pub site: Option<Site>,
    /// Where a link will lead when its handshake ends.
    destinations: Vec<Option<SocketAddr>>,
    /// Whose a link's socket is, and at which index.
    places: Vec<Option<(usize, usize)>>,
    /// Messages that loops have not received yet, with their senders.
    pub post: Vec<VecDeque<(usize, Message)>>,
    /// Fetches and exchanges of each loop.
    pub under_way: Vec<(usize, usize)>,
}

impl Surroundings {
    pub fn place_of(&self, link: LinkId) -> Option<(usize, usize)> {
        self.places.get(link).copied().flatten()
    }

    /// Whether the socket of the link belongs to another loop.
    pub fn belongs_to_other_loop(&self, number: usize, link: LinkId) -> bool {
        self.place_of(link).is_some_and(|(owner, _)| owner != number)
    }

    pub fn set_place(&mut self, link: LinkId, place: (usize, usize)) {
        if link >= self.places.len() {
            self.places.resize(link + 1, None);
        }
        self.places[link] = Some(place);
    }

    pub fn remove_place(&mut self, link: LinkId) {
        self.places[link] = None;
    }

    fn dialling(&self, address: SocketAddr) -> Dialling {
        let known = self.book.scenario.hosts.iter().flat_map(|host| &host.addresses);
        known
            .into_iter()
            .find(|(ip, _)| *ip == address.ip())
            .map_or(Dialling::Silent, |(_, dialling)| *dialling)
    }

    pub fn immediate_dial_error(&self, address: SocketAddr) -> Option<SocketError> {
        (self.dialling(address) == Dialling::Unreachable).then_some(SocketError::Unreachable)
    }

    /// Begins a handshake.
    pub fn dial(&mut self, address: SocketAddr, failed: bool) -> LinkId {
        let link = self.net.open(Peer::Origin(u32::MAX), false);
        self.destinations.resize(link + 1, None);
        self.destinations[link] = Some(address);
        if !failed && self.dialling(address) != Dialling::Silent {
            let after_us = self.net.dice.pick(&[1, 100, 5_000, 300_000]);
            self.net.info(after_us, Task::Establish(link));
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
        self.origins.push(OriginEnd::new(&mut self.net, &mut self.book, serial, link, address));
        self.book.tally.connections += 1;
        if dialling == Dialling::Resets {
            self.net.reset(link);
        }
    }

    /// The origin at the far end is idle, and nothing is on its way to it.
    pub fn is_between(&self, link: LinkId) -> bool {
        match self.net.links[link].peer {
            Peer::Client(_) | Peer::Visitor(_) | Peer::Origin(u32::MAX) => false,
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
            Peer::Visitor(number) => {
                let read = self.net.links[link].read_by_weir;
                let visitors = self.site.as_ref().map(|site| &site.visitors);
                visitors.is_some_and(|visitors| !visitors[number as usize].is_at_boundary(read))
            }
            Peer::Origin(_) => false,
        }
    }

    /// What the guard has told since: loops hear of it a little later.
    fn hear_changes(&mut self) -> Checked<()> {
        for change in self.book.guarding.changes() {
            match change {
                Change::Bans => {
                    for number in 0..self.post.len() {
                        let after_us = self.net.dice.pick(&[1, 100, 3_000]);
                        self.net.info(after_us, Task::Bans(number));
                    }
                }
                Change::Order(order) => {
                    self.net.trace(|| format!("{order:?}"));
                    self.book.guarding.order(order, self.net.now());
                }
                Change::Alert(_) | Change::Trusted(_) | Change::Refused(_) => {}
            }
        }
        self.book.guarding.check_bans()
    }

    /// The client at the far end, if its tunnel goes on.
    pub fn tunnel_of(&self, link: LinkId) -> Option<IpAddr> {
        match self.net.links[link].peer {
            Peer::Client(number) => {
                let open = self.clients[number as usize].has_open_tunnel();
                open.then(|| client::address(number).ip())
            }
            Peer::Origin(_) | Peer::Visitor(_) => None,
        }
    }

    /// Whether the tunnel of that client must end properly.
    pub fn must_complete_tunnel(&self, address: SocketAddr) -> bool {
        let number = usize::from(address.port()) - 2000;
        self.clients
            .get(number)
            .and_then(Client::tunnel_key)
            .is_some_and(|key| self.book.must_complete_tunnel(key))
    }

    /// So many bytes were moved from there inside the kernel.
    pub fn note_moved(&mut self, link: LinkId, count: usize) {
        let tally = &mut self.book.tally;
        tally.moved_bytes += count as u64;
        let (one_of, tunnel) = match self.net.links[link].peer {
            Peer::Client(number) => {
                (&mut tally.moved_up, self.clients[number as usize].tunnel_key().is_some())
            }
            Peer::Visitor(_) => (&mut tally.moved_up, false),
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
            Peer::Visitor(number) => {
                if let Some(site) = &mut self.site {
                    site.send(number, &mut self.net);
                }
                Ok(())
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
        if origin.plans_unsolicited_bytes() {
            let after_us = self.net.dice.pick(&[1, 20, 60, 150, 400]);
            self.net.info(after_us, Task::Send(origin.link));
        }
    }

    fn read(&mut self, link: LinkId) -> Checked<()> {
        match self.net.links[link].peer {
            Peer::Client(number) => self.clients[number as usize].read(&mut self.net, &mut self.book),
            Peer::Visitor(number) => match &mut self.site {
                Some(site) => site.read(number, &mut self.net),
                None => Ok(()),
            },
            Peer::Origin(serial) => match self.origins.get_mut(serial as usize) {
                Some(origin) => origin.read(&mut self.net, &mut self.book),
                None => Ok(()),
            },
        }
    }
}

pub struct World {
    around: Surroundings,
    /// One for each loop.
    shells: Vec<Shell>,
    quiet: u64,
    rounds: u64,
    drain_by_us: Option<u64>,
}

impl World {
    /// The world of a seed, or that where clients in several loops read the same pages together.
    pub fn new(seed: u64, together: bool, tracing: bool) -> World {
        let mut dice = Dice::new(seed);
        let scenario = Scenario::new(&mut dice, together);
        let client_limits = Arc::new(ClientLimits::new(&scenario.settings));
        let engine = |dice: &mut Dice| {
            let resolver =
                Resolver::new(scenario.resolver.clone(), Hosts::default(), [dice.next(), dice.next()]);
            let policy = Arc::clone(&scenario.policies[scenario.first_policy].1);
            Engine::new(scenario.settings.clone(), policy, resolver)
                .with_client_limits(Arc::clone(&client_limits))
        };
        let loops = scenario.loops;
        let mut shells: Vec<Shell> = (0..loops).map(|number| Shell::new(number, engine(&mut dice))).collect();
        let mut net = Network::new(dice, scenario.room_max, scenario.window, tracing);
        let mut book = Book::new(scenario);
        if book.scenario.filters {
            shells.iter_mut().for_each(|shell| shell.engine.set_filters(book.filtering.source()));
        }
        let mut clients = Vec::new();
        for number in 0..book.scenario.clients {
            clients.push(Client::new(&mut net.dice, &mut book, number));
            let at = net.dice.between(0, book.scenario.arrivals_us);
            net.info(at, Task::Arrive(number));
        }
        let mut site = book.scenario.site();
        if let Some(site) = &mut site {
            let callbacks = site.callbacks();
            shells.iter_mut().for_each(|shell| shell.engine.set_callbacks(callbacks.clone()));
            for (number, at) in site.arrivals(book.scenario.arrivals_us) {
                net.info(at, Task::Visit(number));
            }
        }
        for (number, (at, _)) in book.scenario.global_events.iter().enumerate() {
            net.info(*at, Task::GlobalEvent(number));
        }
        let around = Surroundings {
            net,
            book,
            clients,
            origins: Vec::new(),
            site,
            destinations: Vec::new(),
            places: Vec::new(),
            post: vec![VecDeque::new(); loops],
            under_way: vec![(0, 0); loops],
        };
        World { around, shells, quiet: 0, rounds: 0, drain_by_us: None }
    }

    /// Runs until no peer has anything left to do.
    pub fn run(mut self) -> Checked<Tally> {
        loop {
            while let Some(task) = self.around.net.next_task() {
                self.shells.iter_mut().for_each(Shell::expect_progress);
                self.perform(task)?;
                self.around.hear_changes()?;
                if self.around.net.dice.percent(40) {
                    break;
                }
            }
            if self.shells.iter().map(|shell| shell.steps).sum::<u64>() + self.rounds > STEPS_MAX {
                return Err("no end".to_string());
            }
            let with_work: Vec<usize> =
                (0..self.shells.len()).filter(|number| self.shells[*number].has_work(&self.around)).collect();
            if !with_work.is_empty() {
                self.rounds += 1;
                let late = self.drain_by_us.is_some_and(|by| self.around.net.now_us > by);
                let number =
                    if with_work.len() > 1 { self.around.net.dice.pick(&with_work) } else { with_work[0] };
                let shell = &mut self.shells[number];
                shell.round(&mut self.around)?;
                self.around.hear_changes()?;
                if late && !shell.engine.is_empty() {
                    return Err("draining has no end".to_string());
                }
                shell.check_balance()?;
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

    /// Nothing to do now: on to the next moment. False if there is none.
    fn wait(&mut self) -> Checked<bool> {
        let task = self.around.net.next_task_us();
        if task.is_some_and(|at| at <= self.around.net.now_us) {
            return Ok(true);
        }
        self.quiet += 1;
        let live: usize = self.shells.iter().map(|shell| shell.live).sum();
        if self.quiet % (1 + live as u64 / 20) == 0 {
            for shell in &mut self.shells {
                shell.check_rest(&self.around)?;
            }
        }
        let busy = self.shells.iter().filter(|shell| !shell.has_finished());
        let timer = busy.filter_map(|shell| shell.engine.next_timeout_us()).min();
        let Some(next) = [task, timer].into_iter().flatten().min() else { return Ok(false) };
        self.around.net.advance_to(next);
        self.shells.iter_mut().for_each(Shell::expect_progress);
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
            Task::Visit(number) => {
                self.visit(number);
                Ok(())
            }
            Task::Reply(number) => self.shells[(number >> 32) as usize].reply(&mut self.around, number),
            Task::Verified(number) => self.shells[(number >> 32) as usize].verified(&mut self.around, number),
            Task::Answered(number) => self.shells[(number >> 32) as usize].answered(&mut self.around, number),
            Task::Ban(number) => self.apply_global_event(GlobalEvent::Ban(number, 300_000)),
            Task::Bans(number) => self.shells[number].hear_of_bans(&mut self.around),
            Task::GlobalEvent(number) => {
                let (_, event) = self.around.book.scenario.global_events[number];
                self.apply_global_event(event)
            }
        }
    }

    fn arrive(&mut self, number: u32) {
        let Surroundings { net, book, clients, .. } = &mut self.around;
        let client = &mut clients[number as usize];
        if book.draining {
            client.done = true;
            return;
        }
        let link = net.open(Peer::Client(number), true);
        client.link = Some(link);
        book.tally.connections += 1;
        net.plan_send(link, 1);
        let loops = self.shells.len();
        let shell = if loops > 1 { net.dice.below(loops) } else { 0 };
        client.at = shell;
        self.shells[shell].backlog.push((link, client::address(number)));
    }

    /// A visitor of the own pages connects, to any loop.
    fn visit(&mut self, number: u32) {
        let Surroundings { net, book, site: Some(site), .. } = &mut self.around else { return };
        let visitor = &mut site.visitors[number as usize];
        if book.draining {
            visitor.done = true;
            return;
        }
        let link = net.open(Peer::Visitor(number), true);
        visitor.arrive(link);
        net.plan_send(link, 1);
        let loops = self.shells.len();
        let shell = if loops > 1 { net.dice.below(loops) } else { 0 };
        self.shells[shell].backlog.push((link, visitor::address(number)));
    }

    fn apply_global_event(&mut self, event: GlobalEvent) -> Checked<()> {
        let Surroundings { net, book, .. } = &mut self.around;
        net.trace(|| format!("{event:?}"));
        let now = net.now();
        match event {
            GlobalEvent::Jump(us) => {
                book.guarding.jump(net.now_us);
                net.advance_to(net.now_us + us);
            }
            GlobalEvent::SetClock(seconds) => {
                if seconds < 0 {
                    book.sayings.set_back_us.push(net.now_us);
                }
                net.unix_us = net.unix_us.saturating_add_signed(seconds * 1_000_000);
            }
            GlobalEvent::SetPolicy(number) => book.policies.push((net.now_us, number)),
            GlobalEvent::Drain => {
                book.draining = true;
                self.drain_by_us =
                    Some(net.now_us + book.scenario.settings.timeouts.drain_ms * 1000 + 1_000_000);
            }
            GlobalEvent::PurgeAll => {
                if let Some(cache) = &book.scenario.cache {
                    cache.store.purge(|_| true);
                    book.note_purge_of_all(net.now_us);
                }
            }
            GlobalEvent::Ban(number, lasts_us) => {
                if let Some(plan) = &book.scenario.guard {
                    let until_unix_ms = Some((now.unix_us + lasts_us) / 1000);
                    let (reason, origin) = ("abuse".into(), BanOrigin::Control);
                    let ban = Ban { until_unix_ms, reason, origin, line: 0 };
                    // One that has ended already is refused.
                    let _ = plan.guard.state().ban(client::address(number).ip().into(), ban, now);
                }
            }
            GlobalEvent::SetResolver | GlobalEvent::Exhaustion(_) | GlobalEvent::ShedIdle => {}
        }
        for shell in &mut self.shells {
            shell.apply_global_event(&mut self.around, event, now)?;
        }
        Ok(())
    }

    /// No peer can do anything: then all must be closed.
    fn finish(mut self) -> Checked<Tally> {
        if let Some(stuck) = self.shells.iter().find(|shell| !shell.engine.is_empty()) {
            return Err(format!("stuck: {:?}", stuck.engine.metrics()));
        }
        if let Some(client) = self.around.clients.iter().find(|client| !client.done) {
            return Err(format!("nobody told client {client:?}"));
        }
        if let Some(site) = &self.around.site {
            site.check_end()?;
            self.around.book.tally.visited = site.tally;
        }
        for client in self.around.clients.iter().filter(|client| client.is_served(&self.around.book)) {
            let address = client::address(client.number);
            let logged: u64 = self.shells.iter().filter_map(|shell| shell.received.get(&address)).sum();
            let read = client.link.map_or(0, |link| self.around.net.links[link].read_by_weir);
            if logged != read {
                return Err(format!("client {}: {logged} bytes logged of {read}", client.number));
            }
        }
        for shell in &mut self.shells {
            shell.check_end(&mut self.around)?;
            shell.check_cache_end(&mut self.around.book)?;
        }
        drop(self.around.post);
        self.around.book.check_store_end()?;
        self.around.book.note_together();
        self.around.book.tally.guard = std::mem::take(&mut self.around.book.guarding.reached);
        Ok(self.around.book.tally)
    }
}
