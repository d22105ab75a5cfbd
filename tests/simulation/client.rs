//! A client: asks, one after the other or several at once, reads what comes, and holds it against the book.

use super::book::{Book, Checked, guard_word};
use super::dice::{Dice, content};
use super::filters;
use super::http::{Framing, Head, Item, Reader};
use super::identity::Session;
use super::messages::{Ask, Key, Kind, Login};
use super::network::{LinkId, Network, Task};
use super::sharing::Share;
use super::tunnel::{TunnelEnd, maybe_bulk, waits_for_end};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Longest wait for a 100, microseconds.
const CONTINUE_US: u64 = 1_000_000;

/// A fault of a client, after so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    FinAfter(u64),
    ResetAfter(u64),
    CloseAfter(u64),
    /// Sends nothing more.
    StallAfter(u64),
    /// Having received so many.
    ResetReading(u64),
    CloseReading(u64),
    /// Reads nothing more, for a while.
    StopReading(u64),
}

/// How it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    Close,
    /// Says so and waits for the other side.
    Fin,
    /// Says so with the last request.
    EarlyFin,
    /// Waits to be closed.
    Idle,
}

/// The answer that is coming.
#[derive(Debug)]
struct Coming {
    key: Key,
    /// From which upstream connection; `None`: weir's own, or one that need not be checked.
    serial: Option<u32>,
    /// The received part of a page.
    share: Option<Share>,
    payload: u64,
    closes: bool,
}

#[derive(Debug)]
pub struct Client {
    pub number: u32,
    pub link: Option<LinkId>,
    /// The loop that has accepted it.
    pub at: usize,
    asks: Vec<Key>,
    /// The one being sent, and how much of it was.
    asking: usize,
    sent_of_ask: usize,
    sent: u64,
    received: u64,
    /// The one whose answer is next.
    answering: usize,
    depth: usize,
    reader: Reader,
    coming: Option<Coming>,
    /// The 100 has come, or was waited for long enough.
    continues: bool,
    waits_since: Option<u64>,
    /// weir has said that it will close.
    told_to_go: bool,
    session: Session,
    tunnel: Option<TunnelEnd>,
    tunnel_open: bool,
    eager: bool,
    fault: Fault,
    leaving: Leaving,
    slow: bool,
    left: bool,
    pub done: bool,
}

pub fn address(number: u32) -> SocketAddr {
    let group = (number / 6) as u16;
    let ip = Ipv4Addr::new(100, 70, (group >> 8) as u8, group as u8);
    SocketAddr::new(IpAddr::V4(ip), 2000 + number as u16)
}

impl Client {
    pub fn new(dice: &mut Dice, book: &mut Book, number: u32) -> Client {
        let bulk = book.scenario.bulk_percent > 0;
        let fault = match dice.percent(book.scenario.fault_percent) {
            true if book.scenario.together && dice.percent(80) => draw_leaving(dice),
            true => draw_fault(dice, bulk),
            false => Fault::None,
        };
        let count = match book.scenario.cache {
            None => dice.pick(&[1, 1, 2, 3, 5, 12]),
            Some(_) if book.scenario.together => dice.pick(&[2, 6, 12]),
            Some(_) => dice.pick(&[1, 2, 3, 5, 12]),
        };
        let wrong = dice.pick(&[Login::None, Login::PlainWrong, Login::SlowWrong, Login::Unknown]);
        let login = dice.pick(&[Login::Plain, Login::Plain, Login::SlowRight, wrong]);
        let mut asks = Vec::new();
        for at in 0..count {
            let ask =
                Ask::new(dice, &book.scenario, Key { client: number, number: at }, login, at + 1 == count);
            asks.push(ask.key);
            let ends = !ask.keeps || matches!(ask.kind, Kind::Malformed | Kind::MalformedBody);
            book.add(dice, ask, fault == Fault::None);
            if ends {
                break;
            }
        }
        Client {
            number,
            link: None,
            at: 0,
            asks,
            asking: 0,
            sent_of_ask: 0,
            sent: 0,
            received: 0,
            answering: 0,
            depth: dice.pick(&[1, 1, 1, 2, 5]),
            reader: Reader::new(),
            coming: None,
            continues: false,
            waits_since: None,
            told_to_go: false,
            session: Session::default(),
            tunnel: None,
            tunnel_open: false,
            eager: dice.percent(30),
            fault,
            leaving: dice.pick(&[
                Leaving::Close,
                Leaving::Close,
                Leaving::Fin,
                Leaving::EarlyFin,
                Leaving::Idle,
            ]),
            slow: dice.percent(10),
            left: false,
            done: false,
        }
    }

    /// Bytes of complete messages and of the one under way, as far as weir could have read them: whether `read` of
    /// them end between two requests.
    pub fn is_at_boundary(&self, book: &Book, read: u64) -> bool {
        let mut end = 0;
        for key in &self.asks {
            if read == end {
                return true;
            }
            let ask = &book.record(*key).ask;
            end += (ask.head.len() + ask.coded.len()) as u64;
        }
        read == end
    }

    /// Every byte of it has come to its end: nothing was thrown away.
    pub fn is_served(&self, book: &Book) -> bool {
        let clean = self.asks.iter().all(|key| book.failure_reason(book.record(*key)).is_none());
        let complete = match &self.tunnel {
            Some(tunnel) => tunnel.finished && tunnel.ended && tunnel.is_received(),
            None => self.answering == self.asks.len(),
        };
        clean && complete && !self.told_to_go
    }

    /// Whether its tunnel goes on.
    pub fn has_open_tunnel(&self) -> bool {
        self.tunnel_open && !self.done
    }

    /// Its tunnel, if it has one.
    pub fn tunnel_key(&self) -> Option<Key> {
        self.tunnel.as_ref().and_then(|_| self.asks.get(self.asking).copied())
    }

    pub fn send(&mut self, net: &mut Network, book: &mut Book) -> Checked<()> {
        let Some(link) = self.link.filter(|_| !self.done && !self.left) else { return Ok(()) };
        let offset = self.tunnel.as_ref().map_or(self.sent_of_ask, |tunnel| 300 + tunnel.sent());
        let most = segment(&mut net.dice, self.slow, offset);
        let bytes = self.next_bytes(net, book, most);
        if bytes.is_empty() {
            self.leave_if_done(net, link);
            return Ok(());
        }
        let bytes = &bytes[..bytes.len().min(self.until_fault())];
        let Some(count) = net.send(link, bytes) else { return Ok(()) };
        net.trace(|| {
            let ask = self.asks.get(self.asking).map(|key| &book.record(*key).ask);
            format!("client {} sent {count} from {} of {ask:?}", self.number, self.sent_of_ask)
        });
        self.sent += count as u64;
        self.advance(net, book, count);
        if self.apply_fault(net, book, link) {
            return Ok(());
        }
        if count == bytes.len() {
            let gap = gap(&mut net.dice, self.slow);
            net.plan_send(link, gap);
        }
        Ok(())
    }

    fn until_fault(&self) -> usize {
        match self.fault {
            Fault::FinAfter(at) | Fault::ResetAfter(at) | Fault::CloseAfter(at) | Fault::StallAfter(at) => {
                (at - self.sent) as usize
            }
            Fault::None | Fault::ResetReading(_) | Fault::CloseReading(_) | Fault::StopReading(_) => {
                usize::MAX
            }
        }
    }

    /// Applies the fault that is due. True if nothing is sent afterwards.
    fn apply_fault(&mut self, net: &mut Network, book: &mut Book, link: LinkId) -> bool {
        match self.fault {
            Fault::FinAfter(at) if self.sent >= at => net.finish(link),
            Fault::ResetAfter(at) if self.sent >= at => {
                net.reset(link);
                self.done = true;
            }
            Fault::CloseAfter(at) if self.sent >= at => {
                net.close(link);
                self.done = true;
            }
            Fault::StallAfter(at) if self.sent >= at => {}
            _ => return false,
        }
        net.trace(|| format!("client {}: {:?}", self.number, self.fault));
        self.left = true;
        self.note_reset(book);
        true
    }

    fn next_bytes(&mut self, net: &mut Network, book: &mut Book, most: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let (mut asking, mut offset) = (self.asking, self.sent_of_ask);
        while out.len() < most && !self.told_to_go {
            if let Some(tunnel) = &self.tunnel {
                if self.tunnel_open || self.eager {
                    out.extend(tunnel.next(most - out.len()));
                }
                break;
            }
            let Some(key) = self.asks.get(asking) else { break };
            if offset == 0 && asking - self.answering >= self.depth {
                break;
            }
            let ask = &book.record(*key).ask;
            if offset == ask.head.len() && ask.expects && !self.may_continue(net) {
                break;
            }
            let piece = if offset < ask.head.len() {
                &ask.head[offset..]
            } else {
                &ask.coded[offset - ask.head.len()..]
            };
            let count = piece.len().min(most - out.len());
            out.extend_from_slice(&piece[..count]);
            offset += count;
            if offset == ask.head.len() + ask.coded.len() {
                if ask.is_tunnel() {
                    break;
                }
                (asking, offset) = (asking + 1, 0);
            }
        }
        out
    }

    fn may_continue(&mut self, net: &mut Network) -> bool {
        let since = *self.waits_since.get_or_insert(net.now_us);
        let waited = net.now_us >= since + CONTINUE_US;
        if let (false, false, Some(link)) = (self.continues, waited, self.link) {
            net.plan_send(link, CONTINUE_US);
        }
        self.continues || waited
    }

    /// So many bytes went out.
    fn advance(&mut self, net: &Network, book: &mut Book, count: usize) {
        let mut left = count;
        while left > 0 {
            if let Some(tunnel) = &mut self.tunnel {
                tunnel.advance(left);
                return;
            }
            let key = self.asks[self.asking];
            if self.sent_of_ask == 0 {
                book.record_mut(key).began_us = Some(net.now_us);
                book.guarding.begin(key, net.now_us);
                let paged = book.record(key).ask.kind == Kind::Shared;
                book.tally.asked += 1;
                book.tally.paged += u64::from(paged);
            }
            let ask = &book.record(key).ask;
            let len = ask.head.len() + ask.coded.len();
            let step = left.min(len - self.sent_of_ask);
            self.sent_of_ask += step;
            left -= step;
            if self.sent_of_ask == len {
                if ask.is_tunnel() {
                    let name = maybe_bulk(tunnel_name(key), book.scenario.bulk_percent);
                    self.tunnel = Some(TunnelEnd::new(name));
                    self.eager &= ask.kind == Kind::Connect;
                } else {
                    (self.asking, self.sent_of_ask) = (self.asking + 1, 0);
                    (self.continues, self.waits_since) = (false, None);
                }
            }
        }
    }

    /// Leaves if there is nothing to send any more.
    fn leave_if_done(&mut self, net: &mut Network, link: LinkId) {
        if let Some(tunnel) = &mut self.tunnel {
            if tunnel.is_sent() && self.tunnel_open && (tunnel.ended || !waits_for_end(tunnel.name)) {
                tunnel.finish(net, link);
            }
            if tunnel.finished && tunnel.ended {
                net.close(link);
                self.done = true;
            }
            return;
        }
        let all_sent = self.asking == self.asks.len();
        let all_answered = self.answering == self.asks.len();
        match self.leaving {
            Leaving::EarlyFin if all_sent => net.finish(link),
            Leaving::Fin if all_answered => net.finish(link),
            Leaving::Close if all_answered => {
                net.close(link);
                self.done = true;
            }
            _ => return,
        }
        self.left = true;
    }

    pub fn read(&mut self, net: &mut Network, book: &mut Book) -> Checked<()> {
        let Some(link) = self.link.filter(|_| !self.done) else { return Ok(()) };
        let most = net.dice.pick(&[1, 50, 4096, 65_536]).max(net.links[link].to_peer.len() / 20);
        let bytes = net.receive(link, most);
        self.received += bytes.len() as u64;
        net.trace(|| format!("client {} received {}", self.number, bytes.len()));
        self.reader.sender(&bytes);
        while let Some(item) = self.reader.next().map_err(|error| self.blame(error))? {
            match item {
                Item::Head(head) => self.take_head(net, book, &head)?,
                Item::Payload(bytes) => self.take_payload(book, &bytes)?,
                Item::End(trailers) => self.take_end(book, &trailers)?,
            }
        }
        if self.stop_reading(net, book, link) {
            return Ok(());
        }
        let one = &net.links[link];
        if !one.to_peer.is_empty() {
            let gap = gap(&mut net.dice, self.slow);
            net.plan_read(link, gap);
        } else if one.reset_to_peer || one.fin_to_peer {
            let reset = one.reset_to_peer;
            return self.take_end_of_stream(net, book, link, reset);
        }
        net.plan_send(link, 20);
        Ok(())
    }

    fn stop_reading(&mut self, net: &mut Network, book: &mut Book, link: LinkId) -> bool {
        match self.fault {
            Fault::ResetReading(at) if self.received >= at => net.reset(link),
            Fault::CloseReading(at) if self.received >= at => net.close(link),
            Fault::StopReading(at) if self.received >= at => {
                self.fault = Fault::None;
                net.plan_read(link, 200_000_000);
                return true;
            }
            _ => return false,
        }
        self.done = true;
        self.note_reset(book);
        true
    }

    /// A tunnel that ends like this must not look finished at its other end.
    fn note_reset(&self, book: &mut Book) {
        if let (true, Some(share)) = (self.done, self.coming.as_ref().and_then(|coming| coming.share)) {
            book.note_reader(&share, self.at, true);
        }
        let resets = matches!(self.fault, Fault::ResetAfter(_) | Fault::ResetReading(_));
        if let (true, true, Some(key)) = (resets, self.tunnel_open, self.tunnel_key()) {
            book.record_mut(key).was_reset = true;
        }
    }

    fn blame(&self, error: impl std::fmt::Display) -> String {
        let key = self.asks.get(self.answering);
        format!("client {} reading the answer to {key:?}: {error}", self.number)
    }

    fn take_head(&mut self, net: &mut Network, book: &mut Book, head: &Head) -> Checked<()> {
        net.trace(|| format!("client {}: {}", self.number, head.line));
        let status = head.line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse::<u16>().ok());
        let status = status.ok_or_else(|| self.blame(&head.line))?;
        let own = ["x-answer", "x-stray", "x-busy"].iter().all(|name| head.get(name).is_none());
        let begun = self.asks.get(self.answering).filter(|key| book.record(**key).began_us.is_some());
        let Some(&key) = begun.filter(|_| !self.told_to_go) else {
            // Too many connections: weir says so before it was asked.
            let limit = own && matches!(status, 429 | 503) && !book.scenario.strict && !self.told_to_go;
            self.reader.begin(head.framing()?.unwrap_or(Framing::None));
            self.told_to_go = true;
            self.asks.truncate(self.answering);
            return if limit { Ok(()) } else { Err(self.blame(format!("unasked: {head:?}"))) };
        };
        if (100..200).contains(&status) && status != 101 {
            book.check_interim(key, head)?;
            self.continues = true;
            self.reader.skip();
            return Ok(());
        }
        self.session.take_answer(key, book.record(key).ask.host, head)?;
        let kind = book.record(key).ask.kind;
        let switches =
            (kind == Kind::Connect && status == 200 && own) || (kind == Kind::Upgrade && status == 101);
        if switches {
            return self.open_tunnel(net, book, key);
        }
        let closes = head.lists("connection", "close");
        let mut share = None;
        let (framing, serial) = if head.get("x-stray").is_some() {
            if !book.record(key).raced && book.races == 0 {
                return Err(self.blame("a stray answer"));
            }
            book.races = book.races.saturating_sub(1);
            let bodiless = book.record(key).ask.method == "HEAD";
            let framing = head.framing()?.unwrap_or(Framing::UntilClose);
            (if bodiless { Framing::None } else { framing }, None)
        } else if head.get("x-busy").is_some() {
            book.check_busy(key, status, head)?;
            let bodiless = book.record(key).ask.method == "HEAD";
            (if bodiless { Framing::None } else { head.framing()?.unwrap_or(Framing::UntilClose) }, None)
        } else if kind == Kind::Shared && head.get("proxy-status").is_none() {
            let (framing, its) = book.check_shared(key, status, head, net.now_us)?;
            book.note_reader(&its, self.at, false);
            share = Some(its);
            if closes {
                book.check_close_shared(key)?;
            }
            (framing, None)
        } else if own && guard_word(head).is_some() {
            book.check_guarded(key, status, head, net.now_us)?;
            let bodiless = book.record(key).ask.method == "HEAD";
            (if bodiless { Framing::None } else { head.framing()?.unwrap_or(Framing::None) }, None)
        } else if own {
            book.check_own(key, status, head)?;
            book.tally.filters_refused +=
                u64::from(status == 403 && filters::aborts(&book.record(key).plan.request));
            if kind == Kind::Purge && status == 200 {
                book.note_purge(key, net.now_us);
            }
            let bodiless = book.record(key).ask.method == "HEAD";
            (if bodiless { Framing::None } else { head.framing()?.unwrap_or(Framing::None) }, None)
        } else {
            let (framing, serial) = book.check_head(key, status, head)?;
            if closes {
                book.check_close(key, Some(serial))?;
            }
            (framing, Some(serial))
        };
        if matches!(kind, Kind::Malformed | Kind::MalformedBody)
            && !closes
            && own
            && status != 407
            && status != 403
        {
            return Err(self.blame(format!("open after a malformed request: {head:?}")));
        }
        let closes = closes || framing == Framing::UntilClose;
        self.coming = Some(Coming { key, serial, share, payload: 0, closes });
        self.reader.begin(framing);
        Ok(())
    }

    fn open_tunnel(&mut self, net: &mut Network, book: &mut Book, key: Key) -> Checked<()> {
        book.guarding.check_passed(key, net.now_us)?;
        if !book.is_allowed(key) {
            return Err(self.blame("a tunnel in spite of the policy"));
        }
        // A ban cuts tunnels, which are seldom open when one comes by itself.
        if book.scenario.guard.as_ref().is_some_and(|plan| plan.bans) && net.dice.percent(30) {
            let after_us = net.dice.pick(&[1, 100, 3_000]);
            net.info(after_us, Task::Ban(self.number));
        }
        self.tunnel_open = true;
        book.tally.tunnels += 1;
        self.reader.open_tunnel();
        Ok(())
    }

    fn take_payload(&mut self, book: &mut Book, bytes: &[u8]) -> Checked<()> {
        if let (true, Some(tunnel)) = (self.tunnel_open, &mut self.tunnel) {
            return tunnel.receive(bytes);
        }
        let Some(coming) = &mut self.coming else { return Ok(()) };
        if let Some(serial) = coming.serial {
            let filtered = book.filtered_answer(coming.key, serial)?;
            let start = coming.payload as usize;
            if filtered.bytes.get(start..start + bytes.len()) != Some(bytes) {
                return Err(format!("{}: wrong bytes at {} of the answer", coming.key, coming.payload));
            }
        }
        if let Some(share) = coming.share {
            if content(share.content, share.start + coming.payload, bytes.len()) != bytes {
                return Err(format!("{}: wrong bytes at {} of {share:?}", coming.key, coming.payload));
            }
            if coming.payload + bytes.len() as u64 > share.length {
                return Err(format!("{}: more bytes than there are in {share:?}", coming.key));
            }
        }
        coming.payload += bytes.len() as u64;
        Ok(())
    }

    fn take_end(&mut self, book: &mut Book, trailers: &[String]) -> Checked<()> {
        let Some(coming) = self.coming.take() else { return Ok(()) };
        match (coming.serial, coming.share) {
            (Some(serial), _) => book.check_whole(coming.key, serial, coming.payload, trailers)?,
            (None, Some(share)) => book.check_share_whole(coming.key, &share, coming.payload)?,
            (None, None) => book.tally.refused += 1,
        }
        self.answering += 1;
        self.told_to_go = coming.closes;
        if coming.closes {
            self.asks.truncate(self.answering);
        }
        Ok(())
    }

    fn take_end_of_stream(
        &mut self,
        net: &mut Network,
        book: &mut Book,
        link: LinkId,
        reset: bool,
    ) -> Checked<()> {
        net.trace(|| format!("client {}: {}", self.number, if reset { "reset" } else { "end" }));
        if let (true, Some(tunnel)) = (self.tunnel_open, &mut self.tunnel) {
            tunnel.ended = true;
            let whole = !reset && tunnel.is_received();
            let (other, key) = (tunnel.other(), self.asks[self.answering]);
            if !whole && book.must_complete_tunnel(key) {
                return Err(format!("{key}: the tunnel was cut (reset: {reset})"));
            }
            if whole && book.tunnel_key(other).is_some_and(|its| its != key) {
                return Err(format!("{key}: the other end is {other:?}"));
            }
            if !reset && !tunnel.finished && !self.left {
                net.plan_send(link, 10);
                return Ok(());
            }
        } else if let (true, false, Some(coming)) = (self.reader.is_raw(), reset, &self.coming) {
            match (coming.serial, coming.share) {
                (Some(serial), _) => book.check_whole(coming.key, serial, coming.payload, &[])?,
                (None, Some(share)) => book.check_share_whole(coming.key, &share, coming.payload)?,
                (None, None) => {}
            }
            self.answering += 1;
        } else if let Some(coming) = &self.coming {
            book.tally.cut += 1;
            book.check_unfinished(coming.key, "the answer was cut")?;
        } else if !self.reader.is_between() && !self.told_to_go {
            let key = self.asks[self.answering];
            book.check_unfinished(key, "the answer's head was cut")?;
        } else if let Some(&key) = self.asks.get(self.answering) {
            if book.record(key).began_us.is_some() {
                book.check_unfinished(key, "there was no answer")?;
            }
        }
        self.done = true;
        net.close(link);
        Ok(())
    }
}

pub fn tunnel_name(key: Key) -> u64 {
    1 << 63 | u64::from(key.client) << 32 | u64::from(key.number)
}

pub fn tunnel_key(name: u64) -> Key {
    Key { client: (name >> 32) as u32 & 0x3fff_ffff, number: name as u32 }
}

/// Whether the origin end finishes only after the client has; never both.
pub fn waits_for_client(serial: u32, client: u64) -> bool {
    !waits_for_end(client) && serial % 2 == 0
}

fn draw_fault(dice: &mut Dice, bulk: bool) -> Fault {
    let sent =
        if bulk { dice.pick(&[400, 20_000, 100_000, 200_000]) } else { dice.pick(&[20, 200, 400, 5_000]) };
    let at = dice.between(1, sent);
    match dice.below(if bulk { 14 } else { 7 }) {
        0 => Fault::FinAfter(at),
        1 => Fault::ResetAfter(at),
        2 => Fault::CloseAfter(at),
        3 => Fault::StallAfter(at),
        4 => Fault::ResetReading(at),
        5 | 7 | 8 => Fault::CloseReading(at),
        9 | 10 => Fault::ResetReading(at),
        _ => Fault::StopReading(at),
    }
}

/// A reader that leaves in the middle, or reads no more.
fn draw_leaving(dice: &mut Dice) -> Fault {
    let most = dice.pick(&[1_000, 100_000, 300_000, 300_000, 1_000_000]);
    let at = dice.between(1, most);
    match dice.below(7) {
        0..=2 => Fault::ResetReading(at),
        3 | 4 => Fault::CloseReading(at),
        _ => Fault::StopReading(at),
    }
}

/// How many bytes go at once: byte by byte only where that is a few hundred steps.
pub fn segment(dice: &mut Dice, slow: bool, offset: usize) -> usize {
    if slow && offset < 300 {
        return dice.between(1, 3) as usize;
    }
    if offset > 4096 && dice.percent(80) {
        return dice.between(4096, 100_000) as usize;
    }
    match dice.below(8) {
        0 => 1,
        1 => dice.between(1, 20) as usize,
        2 | 3 => dice.between(1, 1460) as usize,
        _ => dice.between(1000, 20_000) as usize,
    }
}

pub fn gap(dice: &mut Dice, slow: bool) -> u64 {
    if slow { dice.between(100, 3_000) } else { dice.pick(&[1, 1, 10, 100, 1_000, 5_000]) }
}
