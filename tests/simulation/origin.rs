//! An origin's end of one connection: reads requests as strictly as it can, answers as the book says, and misbehaves
//! where the book says so.

use super::book::{Book, Checked, Said};
use super::client::{gap, segment, tunnel_key, waits_for_client};
use super::dice::Dice;
use super::filters;
use super::http::{Framing, Head, Item, Reader};
use super::identity::Identity;
use super::messages::{Answer, Ending, Key, Kind, STRAY, busy_answer};
use super::network::{LinkId, Network};
use super::scenario::Scenario;
use super::tunnel::{TunnelEnd, maybe_bulk};
use std::net::SocketAddr;

/// The request that is being read or answered.
#[derive(Debug)]
struct Request {
    key: Key,
    answer: Answer,
    /// The number of what is said about a page.
    given: Option<u32>,
    received: u64,
    /// All of it has come.
    whole: bool,
    /// The answer has begun.
    begun: bool,
}

/// What the origin does when everything has been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// There is nothing to send.
    Wait,
    /// Only interim answers went out.
    Answer,
    Keep,
    Close,
    Reset,
    /// The answer was no good; weir has to end it.
    Stay,
    /// Between requests: close, or speak unasked.
    Mischief,
}

/// A fault of the origin while it reads, after so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mishap {
    None,
    /// It reads nothing more, for a while.
    Stops(u64),
    Resets(u64),
}

impl Mishap {
    fn draw(dice: &mut Dice, scenario: &Scenario) -> Mishap {
        if scenario.strict || !dice.percent(scenario.fault_percent) || !dice.percent(30) {
            return Mishap::None;
        }
        let most = dice.pick(&[400, 5_000, 100_000]);
        let at = dice.between(1, most);
        if dice.percent(50) { Mishap::Stops(at) } else { Mishap::Resets(at) }
    }
}

#[derive(Debug)]
pub struct OriginEnd {
    pub serial: u32,
    pub link: LinkId,
    address: SocketAddr,
    reader: Reader,
    request: Option<Request>,
    requests: u32,
    out: Vec<u8>,
    out_sent: usize,
    next: Next,
    /// The user of the connection.
    identity: Identity,
    /// Nothing may be asked here any more; why not.
    spent: Option<&'static str>,
    tunnel: Option<TunnelEnd>,
    slow: bool,
    /// It pauses in the middle of answers.
    pauses: bool,
    mishap: Mishap,
    received: u64,
    /// It has no time for this connection, and said so without being asked (rule 35).
    busy: bool,
    pub gone: bool,
}

impl OriginEnd {
    pub fn new(
        net: &mut Network,
        book: &mut Book,
        serial: u32,
        link: LinkId,
        address: SocketAddr,
    ) -> OriginEnd {
        let mut end = OriginEnd {
            serial,
            link,
            address,
            reader: Reader::new(),
            request: None,
            requests: 0,
            out: Vec::new(),
            out_sent: 0,
            next: Next::Wait,
            identity: Identity::default(),
            spent: None,
            tunnel: None,
            slow: net.dice.percent(10),
            pauses: book.scenario.together && net.dice.percent(85),
            mishap: Mishap::draw(&mut net.dice, &book.scenario),
            received: 0,
            busy: false,
            gone: false,
        };
        if address.port() == 443 {
            end.open_tunnel(net, book);
        } else if book.scenario.is_sloppy(address.ip()) && net.dice.percent(8) {
            end.answer_unasked(net, book);
        }
        end
    }

    fn open_tunnel(&mut self, net: &mut Network, book: &Book) {
        let name = maybe_bulk(u64::from(self.serial), book.scenario.bulk_percent);
        self.tunnel = Some(TunnelEnd::new(name));
        self.reader.open_tunnel();
        net.plan_send(self.link, 5);
    }

    /// Answers the request before it comes, and ends.
    fn answer_unasked(&mut self, net: &mut Network, book: &mut Book) {
        (self.busy, self.out, self.next) = (true, busy_answer(self.serial), Next::Close);
        let at_once = net.dice.percent(50);
        book.busy.insert(self.serial, at_once);
        if at_once {
            self.send_more(net, book);
        }
        let after_us = net.dice.pick(&[1, 100, 10_000]);
        net.plan_send(self.link, after_us);
    }

    /// Nothing is being asked or answered here.
    pub fn is_between(&self) -> bool {
        self.tunnel.is_none() && self.request.is_none() && self.reader.is_between()
    }

    pub fn is_tunnel(&self) -> bool {
        self.tunnel.is_some()
    }

    /// Whether the origin waits for a moment to send unsolicited bytes, or to close.
    pub fn plans_unsolicited_bytes(&self) -> bool {
        self.next == Next::Mischief && !self.gone
    }

    pub fn read(&mut self, net: &mut Network, book: &mut Book) -> Checked<()> {
        if self.gone {
            return Ok(());
        }
        let most = net.dice.pick(&[1, 100, 4096, 65_536]).max(net.links[self.link].to_peer.len() / 20);
        let bytes = net.receive(self.link, most);
        self.received += bytes.len() as u64;
        net.trace(|| format!("origin {} received {}", self.serial, bytes.len()));
        if let (Some(why), false) = (self.spent, bytes.is_empty()) {
            let reading = self.request.as_ref().is_some_and(|request| !request.whole);
            if !reading {
                return Err(format!("origin {}: used again in spite of {why}", self.serial));
            }
        }
        if !self.busy {
            self.reader.sender(&bytes);
        }
        while let Some(item) = self.reader.next().map_err(|error| self.blame(&error))? {
            match item {
                Item::Head(head) => self.take_head(net, book, &head)?,
                Item::Payload(bytes) => self.take_payload(net, book, &bytes)?,
                Item::End(trailers) => self.take_end(net, book, &trailers)?,
            }
        }
        if self.apply_read_fault(net) {
            return Ok(());
        }
        if self.tunnel.is_some() {
            // Whether it is the client that waits for the end may only be known now.
            net.plan_send(self.link, 20);
        }
        let one = &net.links[self.link];
        if !one.to_peer.is_empty() {
            let gap = gap(&mut net.dice, self.slow);
            net.plan_read(self.link, gap);
        } else if one.reset_to_peer || one.fin_to_peer {
            return self.take_end_of_stream(net, book);
        }
        Ok(())
    }

    /// Applies the fault of reading that is due. True if the origin stops.
    fn apply_read_fault(&mut self, net: &mut Network) -> bool {
        match self.mishap {
            Mishap::Stops(at) if self.received >= at => net.plan_read(self.link, 200_000_000),
            Mishap::Resets(at) if self.received >= at => {
                net.reset(self.link);
                self.gone = true;
            }
            Mishap::None | Mishap::Stops(_) | Mishap::Resets(_) => return false,
        }
        net.trace(|| format!("origin {}: {:?}", self.serial, self.mishap));
        self.mishap = Mishap::None;
        true
    }

    fn blame(&self, error: &str) -> String {
        format!("origin {} ({}) reading {:?}: {error}", self.serial, self.address, self.request)
    }

    fn take_head(&mut self, net: &mut Network, book: &mut Book, head: &Head) -> Checked<()> {
        net.trace(|| format!("origin {}: {}", self.serial, head.line));
        if self.request.is_some() {
            return Err(self.blame(&format!("asked before it had answered: {head:?}")));
        }
        if let Some(why) = self.spent {
            return Err(self.blame(&format!("asked again in spite of {why}: {head:?}")));
        }
        let key =
            head.get("x-exchange").and_then(Key::parse).ok_or_else(|| self.blame("nobody's request"))?;
        let attempt = book.check_asked(key, true, net.now_us)?;
        self.check_head(book, key, head)?;
        let authenticates = book.scenario.hosts[book.record(key).ask.host].authenticates;
        self.identity.take_request(&mut net.dice, authenticates, key, head)?;
        book.tally.pinned += u64::from(self.identity.is_for_one_client());
        if net.links[self.link].unsolicited {
            book.record_mut(key).raced = true;
        }
        self.requests += 1;
        let (answer, given) = if book.record(key).ask.kind == Kind::Shared {
            book.check_page_asked(key, head)?;
            let (answer, given) = book.answer_page(&mut net.dice, key, head, net.now_us);
            book.sayings.given[given as usize].pinned = self.identity.is_for_one_client();
            (answer, Some(given))
        } else {
            (book.record(key).answers[attempt.min(1)], None)
        };
        let record = book.record(key);
        let (framing, kind, expects) = (book.upload_framing(record), record.ask.kind, record.ask.expects);
        book.record_mut(key).said.push(Said { serial: self.serial, answer });
        self.request = Some(Request { key, answer, given, received: 0, whole: false, begun: false });
        self.reader.begin(framing);
        if kind == Kind::Upgrade && self.serial % 4 != 0 {
            self.out = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: sim\r\nX-Answer: {key}-{}\r\n\r\n",
                self.serial
            )
            .into_bytes();
            self.identity.write_identity(&mut self.out);
            (self.out_sent, self.next) = (0, Next::Keep);
            self.open_tunnel(net, book);
            return Ok(());
        }
        if answer.interims > 0 {
            self.out = answer.interim_bytes(key, self.serial, expects);
            (self.out_sent, self.next) = (0, Next::Answer);
            net.plan_send(self.link, 5);
        }
        self.begin_if_early(net, book);
        Ok(())
    }

    fn check_head(&self, book: &Book, key: Key, head: &Head) -> Checked<()> {
        let ask = &book.record(key).ask;
        let host = &book.scenario.hosts[ask.host];
        // A stored response is refreshed by GET, whatever has found it stale.
        let refreshes = ask.kind == Kind::Shared && ask.method == "HEAD" && head.line.starts_with("GET ");
        let method = if refreshes { "GET" } else { ask.method };
        let line = format!("{method} {} HTTP/1.1", ask.path());
        let served = host.addresses.iter().any(|(address, _)| *address == self.address.ip());
        let hop_by_hop = ["proxy-authorization", "proxy-connection", "keep-alive", "te", "x-hop"]
            .iter()
            .any(|name| head.get(name).is_some());
        let connection: Vec<_> = head.all("connection").collect();
        let upgrades = ask.kind == Kind::Upgrade;
        let persistent = if upgrades { connection == ["upgrade"] } else { connection.is_empty() };
        let framing = head.framing()?.unwrap_or(Framing::None);
        let expects = head.get("expect").is_some();
        let hosts: Vec<_> = head.all("host").collect();
        let fine = head.line == line
            && served
            && !hop_by_hop
            && persistent
            && framing == book.upload_framing(book.record(key))
            && hosts == [host.authority.as_str()]
            && head.get("via").is_some()
            // An old server would not answer it, so weir does.
            && (expects == ask.expects || (host.http10 && !expects));
        if fine { Ok(()) } else { Err(self.blame(&format!("a wrong head {head:?} for {ask:?} of {host:?}"))) }
    }

    fn take_payload(&mut self, net: &mut Network, book: &mut Book, bytes: &[u8]) -> Checked<()> {
        if let Some(tunnel) = &mut self.tunnel {
            tunnel.receive(bytes)?;
            if let Some(name) = tunnel.other() {
                let key = tunnel_key(name);
                book.tunnels.insert(self.serial, key);
            }
            return Ok(());
        }
        let Some(request) = &mut self.request else { return Ok(()) };
        let filtered = book.filtered_upload(request.key);
        let ask = &book.record(request.key).ask;
        let start = request.received as usize;
        request.received += bytes.len() as u64;
        let expected = filtered.bytes.get(start..start + bytes.len());
        // A body that was spoilt says anything, but never that it is complete.
        let spoilt = ask.kind == Kind::MalformedBody;
        if !spoilt && expected != Some(bytes) {
            return Err(format!("{}: wrong bytes in the request's body", request.key));
        }
        self.begin_if_early(net, book);
        Ok(())
    }

    fn take_end(&mut self, net: &mut Network, book: &mut Book, trailers: &[String]) -> Checked<()> {
        let Some(request) = &mut self.request else { return Ok(()) };
        let expected = book.filtered_upload(request.key).bytes.len() as u64;
        book.check_filtered_upload(request.key)?;
        let record = book.record(request.key);
        let ask = &record.ask;
        let dropped = trailers.is_empty() && !book.scenario.strict;
        let lines = filters::trailers(&record.plan.request, ask.trailers.clone());
        let whole = request.received == expected && (trailers == lines || dropped);
        if !whole || ask.kind == Kind::MalformedBody {
            return Err(self.blame(&format!("complete with trailers {trailers:?}, but it is {ask:?}")));
        }
        request.whole = true;
        if request.begun {
            // The answer was there first.
            if self.next == Next::Wait {
                self.request = None;
            }
        } else {
            self.begin_answer(net, book);
        }
        Ok(())
    }

    fn begin_if_early(&mut self, net: &mut Network, book: &Book) {
        let early = |request: &Request| {
            !request.begun && request.answer.early.is_some_and(|early| request.received >= early)
        };
        if self.request.as_ref().is_some_and(early) {
            self.begin_answer(net, book);
        }
    }

    fn begin_answer(&mut self, net: &mut Network, book: &Book) {
        let Some(request) = &mut self.request else { return };
        request.begun = true;
        let answer = request.answer;
        let given = request.given.and_then(|given| book.sayings.given.get(given as usize));
        let ask = &book.record(request.key).ask;
        let (mut bytes, next) = match answer.ending {
            Ending::Silence => {
                self.spent = Some("its silence");
                return;
            }
            Ending::Gone { reset: true } => (Vec::new(), Next::Reset),
            Ending::Gone { reset: false } => (Vec::new(), Next::Close),
            Ending::Cut { reset, .. } => (
                answer.bytes(&mut net.dice, ask, self.serial, given),
                if reset { Next::Reset } else { Next::Close },
            ),
            Ending::Whole | Ending::Surplus | Ending::Doubled => {
                let next = if answer.closes { Next::Close } else { Next::Keep };
                (answer.bytes(&mut net.dice, ask, self.serial, given), next)
            }
            Ending::BadChunk | Ending::Garbage | Ending::Ambiguous | Ending::Switches => {
                (answer.bytes(&mut net.dice, ask, self.serial, given), Next::Stay)
            }
        };
        if !answer.keeps() {
            self.spent = Some("how it answered");
        }
        self.identity.write_identity(&mut bytes);
        self.out.extend_from_slice(&bytes);
        self.next = next;
        net.plan_send(self.link, answer.delay_us);
    }

    pub fn send(&mut self, net: &mut Network, book: &mut Book) -> Checked<()> {
        if self.gone {
            return Ok(());
        }
        if self.out_sent < self.out.len() {
            self.send_more(net, book);
            return Ok(());
        }
        if self.tunnel.is_some() {
            self.send_tunnel(net, book);
            return Ok(());
        }
        match self.next {
            Next::Wait | Next::Answer | Next::Stay => {}
            Next::Keep => self.settle(net, book),
            Next::Close => {
                let reading = self.request.as_ref().is_some_and(|request| !request.whole);
                if reading {
                    // A close would be a reset and could destroy the answer.
                    net.finish(self.link);
                } else {
                    net.close(self.link);
                    self.gone = true;
                }
            }
            Next::Reset => {
                net.reset(self.link);
                self.gone = true;
            }
            Next::Mischief => self.apply_fault(net),
        }
        Ok(())
    }

    fn send_more(&mut self, net: &mut Network, book: &mut Book) {
        let rest = self.out.len() - self.out_sent;
        let most = if self.pauses { 16_000 } else { rest };
        let mut count = segment(&mut net.dice, self.slow, self.out_sent).min(rest).min(most);
        let excess = self.request.as_ref().is_some_and(|request| request.answer.ending == Ending::Surplus);
        if excess && self.next == Next::Keep && rest - count <= STRAY.len() {
            // Together with the last byte of the response, so that weir must have seen it.
            count = rest;
            net.links[self.link].unsolicited = true;
        }
        let bytes = &self.out[self.out_sent..self.out_sent + count];
        let Some(sent) = net.send(self.link, bytes) else {
            self.gone = true;
            return;
        };
        net.trace(|| format!("origin {} sent {sent}", self.serial));
        self.out_sent += sent;
        if self.out_sent == self.out.len() && self.next != Next::Answer {
            let given = self.request.as_ref().and_then(|request| request.given);
            let given = given.and_then(|number| book.sayings.given.get_mut(number as usize));
            given.into_iter().for_each(|given| given.sent = true);
        }
        if excess && sent < count {
            // It did come too late.
            self.spent = None;
        }
        if self.out_sent == self.out.len() && self.next == Next::Keep && self.tunnel.is_none() {
            self.settle(net, book);
        } else if sent == count {
            let pauses = self.pauses && net.dice.percent(50);
            let pause = |dice: &mut Dice| dice.pick(&[5_000, 50_000, 500_000]);
            let gap = if pauses { pause(&mut net.dice) } else { gap(&mut net.dice, self.slow) };
            net.plan_send(self.link, gap);
        }
    }

    /// The answer is out, and the connection stays.
    fn settle(&mut self, net: &mut Network, book: &Book) {
        (self.out, self.out_sent, self.next) = (Vec::new(), 0, Next::Wait);
        let Some(request) = &self.request else { return };
        if !request.whole {
            return;
        }
        let sloppy = book.scenario.hosts[book.record(request.key).ask.host].sloppy;
        self.request = None;
        if sloppy && net.dice.percent(60) {
            self.next = Next::Mischief;
            let after_us = net.dice.pick(&[1, 100, 10_000, 400_000, 2_000_000]);
            net.plan_send(self.link, after_us);
        }
    }

    /// Ends an idle connection, or sends unsolicited bytes on it.
    fn apply_fault(&mut self, net: &mut Network) {
        if self.request.is_some() || !self.reader.is_between() || !net.links[self.link].to_peer.is_empty() {
            return;
        }
        net.trace(|| format!("origin {}: mischief", self.serial));
        net.links[self.link].unsolicited = true;
        self.next = Next::Wait;
        match net.dice.below(4) {
            0 | 1 => {
                let _ = net.send(self.link, STRAY);
            }
            2 => {
                net.close(self.link);
                self.gone = true;
            }
            _ => {
                net.reset(self.link);
                self.gone = true;
            }
        }
    }

    fn send_tunnel(&mut self, net: &mut Network, _book: &Book) {
        let Some(tunnel) = &mut self.tunnel else { return };
        let most = segment(&mut net.dice, self.slow, 300 + tunnel.sent());
        let bytes = tunnel.next(most);
        if bytes.is_empty() {
            let waits = tunnel.other().is_none_or(|name| !waits_for_client(self.serial, name));
            if tunnel.ended || (tunnel.other().is_some() && waits) {
                tunnel.finish(net, self.link);
                if tunnel.ended {
                    net.close(self.link);
                    self.gone = true;
                }
            }
            return;
        }
        let Some(sent) = net.send(self.link, &bytes) else {
            self.gone = true;
            return;
        };
        tunnel.advance(sent);
        if sent == bytes.len() {
            let gap = gap(&mut net.dice, self.slow);
            net.plan_send(self.link, gap);
        }
    }

    fn take_end_of_stream(&mut self, net: &mut Network, book: &mut Book) -> Checked<()> {
        let reset = net.links[self.link].reset_to_peer;
        net.trace(|| format!("origin {}: {}", self.serial, if reset { "reset" } else { "end" }));
        if let Some(tunnel) = &mut self.tunnel {
            tunnel.ended = true;
            let whole = !reset && tunnel.is_received();
            let owed = tunnel.other().is_some_and(|name| {
                let key = tunnel_key(name);
                book.must_complete_tunnel(key)
            });
            if owed && !whole {
                return Err(format!("origin {}: the tunnel was cut (reset: {reset})", self.serial));
            }
            let hidden = tunnel.other().is_some_and(|name| {
                let was_reset = book.record(tunnel_key(name)).was_reset;
                was_reset && book.scenario.strict && !reset && !whole
            });
            if hidden {
                return Err(format!("origin {}: a reset tunnel looks finished", self.serial));
            }
            if !reset && !tunnel.finished {
                net.plan_send(self.link, 10);
                return Ok(());
            }
        }
        net.close(self.link);
        self.gone = true;
        Ok(())
    }
}
