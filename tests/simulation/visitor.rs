//! A visitor of weir's own pages: one request after the other, with a cookie, and forms with and without their token.

use super::book::Checked;
use super::client::{gap, segment};
use super::dice::Dice;
use super::http::{Framing, Head, Item, Reader, chunked};
use super::network::{LinkId, Network};
use super::site::{HOST, STEADY, Site};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What a visitor asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// A page that needs no session.
    Look,
    /// A form: it brings a session and its token.
    Form,
    /// The form is sent.
    Post,
    /// The session goes on under another identifier.
    Renew,
    /// A value of the store.
    Ask,
}

/// A request under way.
#[derive(Debug)]
struct Asked {
    number: u64,
    what: What,
    bytes: Vec<u8>,
    sent: usize,
    /// The cookie that was sent.
    cookie: Option<String>,
    /// Cookie and token are those of the session.
    right: bool,
    too_long: bool,
}

/// The response that is coming.
#[derive(Debug)]
struct Coming {
    head: Head,
    body: Vec<u8>,
}

#[derive(Debug)]
pub struct Visitor {
    number: u32,
    link: Option<LinkId>,
    /// Requests that are still to be made.
    left: u32,
    asked: Option<Asked>,
    /// Where each request has ended among the bytes sent.
    ends: Vec<u64>,
    reader: Reader,
    coming: Option<Coming>,
    /// Its session, as the last answer with one has told.
    cookie: Option<String>,
    token: Option<String>,
    posts: u64,
    /// What is left of a request that was answered before all of it was sent: it goes before the next one.
    unsent: Vec<u8>,
    slow: bool,
    /// weir has said that it will close.
    told_to_go: bool,
    pub done: bool,
}

pub fn address(number: u32) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(100, 71, 0, number as u8)), 3000 + number as u16)
}

impl Visitor {
    pub fn new(number: u32, dice: &mut Dice) -> Visitor {
        Visitor {
            number,
            link: None,
            left: dice.between(1, 12) as u32,
            asked: None,
            ends: Vec::new(),
            reader: Reader::new(),
            coming: None,
            cookie: None,
            token: None,
            posts: 0,
            unsent: Vec::new(),
            slow: dice.percent(10),
            told_to_go: false,
            done: false,
        }
    }

    pub fn arrive(&mut self, link: LinkId) {
        self.link = Some(link);
    }

    /// Whether so many read bytes end between two requests.
    pub fn is_at_boundary(&self, read: u64) -> bool {
        read == 0 || self.ends.contains(&read)
    }

    /// Draws the next request.
    fn draw(&mut self, dice: &mut Dice, others: Option<String>) {
        let number = u64::from(self.number) << 16 | self.ends.len() as u64;
        let what = match (dice.below(20), &self.token) {
            (0..=2, _) => What::Look,
            (3 | 4, _) => What::Ask,
            (5, Some(_)) => What::Renew,
            (6..=14, Some(_)) => What::Post,
            (15, None) => What::Post,
            (_, _) => What::Form,
        };
        let invented = || Some(format!("00000000-0000-4000-8000-{number:012}"));
        let cookie = match dice.below(20) {
            0 => None,
            1 => invented(),
            _ => self.cookie.clone(),
        };
        let token = match dice.below(20) {
            0 | 1 => None,
            2 => Some("0".repeat(32)),
            3 => others,
            _ => self.token.clone(),
        };
        let is_form = matches!(what, What::Post | What::Renew);
        let right = cookie.is_some() && cookie == self.cookie && token.is_some() && token == self.token;
        let padding = if dice.percent(5) { 66_000 } else { dice.length() as usize };
        let form = match (is_form, &token) {
            (false, _) => None,
            (true, Some(token)) => Some(format!("pad={}&csrf_token={token}", "p".repeat(padding))),
            (true, None) => Some(format!("pad={}", "p".repeat(padding))),
        };
        let too_long = form.as_ref().is_some_and(|form| form.len() > 64 * 1024);
        let path = match what {
            What::Look => "/look",
            What::Form => "/form",
            What::Post => "/post",
            What::Renew => "/renew",
            What::Ask => "/ask",
        };
        let method = if is_form { "POST" } else { "GET" };
        let before = if dice.percent(50) { format!("http://{HOST}") } else { String::new() };
        let mut head = format!("{method} {before}{path}?n={number} HTTP/1.1\r\nHost: {HOST}\r\n");
        head.push_str(&format!("X-Visitor: v{}\r\n", self.number));
        if let Some(cookie) = &cookie {
            head.push_str(&format!("Cookie: a=b; session_id={cookie}\r\n"));
        }
        let mut bytes = Vec::new();
        if let Some(form) = form {
            head.push_str("Content-Type: application/x-www-form-urlencoded\r\n");
            head.push_str(&format!("X-Length: {}\r\n", form.len()));
            bytes = match dice.percent(30) {
                true => {
                    head.push_str("Transfer-Encoding: chunked\r\n");
                    chunked(form.as_bytes(), &[], dice)
                }
                false => {
                    head.push_str(&format!("Content-Length: {}\r\n", form.len()));
                    form.into_bytes()
                }
            };
        }
        let bytes = [format!("{head}\r\n").into_bytes(), bytes].concat();
        let end = self.ends.last().copied().unwrap_or(0) + bytes.len() as u64;
        self.ends.push(end);
        let bytes = [std::mem::take(&mut self.unsent), bytes].concat();
        self.left -= 1;
        self.asked = Some(Asked { number, what, bytes, sent: 0, cookie, right, too_long });
    }

    pub fn send(&mut self, net: &mut Network, exact: bool, others: Option<String>) {
        let Some(link) = self.link.filter(|_| !self.done) else { return };
        if self.asked.is_none() {
            if self.left == 0 || self.told_to_go {
                net.close(link);
                self.done = true;
                return;
            }
            self.draw(&mut net.dice, others);
        }
        let Some(asked) = &mut self.asked else { return };
        let most = segment(&mut net.dice, self.slow, asked.sent);
        let bytes = &asked.bytes[asked.sent..];
        let bytes = &bytes[..bytes.len().min(most)];
        if bytes.is_empty() {
            return;
        }
        let Some(count) = net.send(link, bytes) else { return };
        asked.sent += count;
        let all = count == bytes.len();
        net.trace(|| format!("visitor {} sent {count}, exact: {exact}", self.number));
        if all {
            let gap = gap(&mut net.dice, self.slow);
            net.plan_send(link, gap);
        }
    }

    pub fn read(&mut self, net: &mut Network, site: &mut Site) -> Checked<()> {
        let Some(link) = self.link.filter(|_| !self.done) else { return Ok(()) };
        let most = net.dice.pick(&[1, 50, 4096, 65_536]).max(net.links[link].to_peer.len() / 20);
        let bytes = net.receive(link, most);
        self.reader.sender(&bytes);
        while let Some(item) = self.reader.next().map_err(|error| self.blame(error))? {
            match item {
                Item::Head(head) => {
                    net.trace(|| format!("visitor {}: {}", self.number, head.line));
                    let framing = head.framing().map_err(|error| self.blame(error))?;
                    self.reader.begin(framing.unwrap_or(Framing::UntilClose));
                    self.coming = Some(Coming { head, body: Vec::new() });
                }
                Item::Payload(bytes) => {
                    if let Some(coming) = &mut self.coming {
                        coming.body.extend(bytes);
                    }
                }
                Item::End(_) => self.take_answer(site)?,
            }
        }
        let one = &net.links[link];
        if !one.to_peer.is_empty() {
            let gap = gap(&mut net.dice, self.slow);
            net.plan_read(link, gap);
        } else if one.reset_to_peer || one.fin_to_peer {
            net.close(link);
            self.done = true;
            // What is too long may be refused, and reset, before all of it is sent.
            let waits = self.asked.as_ref().is_some_and(|asked| !asked.too_long);
            let left_alone = waits && site.exact && !self.told_to_go;
            return if left_alone { Err(self.blame("no answer")) } else { Ok(()) };
        } else if self.asked.is_none() {
            net.plan_send(link, 20);
        }
        Ok(())
    }

    /// Holds an answer against what is known of the session.
    fn take_answer(&mut self, site: &mut Site) -> Checked<()> {
        site.check()?;
        let (Some(asked), Some(coming)) = (&self.asked, self.coming.take()) else {
            return Err(self.blame("an answer to nothing"));
        };
        let head = &coming.head;
        let status: u16 = head.line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let refused = match head.get("x-page") {
            Some(page) if page != asked.number.to_string() => return Err(self.blame("the answer to another")),
            Some(_) => false,
            None => true,
        };
        let is_form = matches!(asked.what, What::Post | What::Renew);
        if refused {
            let by_guard = site.guarded && matches!(status, 400 | 403 | 429 | 503);
            let may = match status {
                403 => is_form && (!asked.right || site.is_shared()),
                413 => asked.too_long,
                503 => site.is_shared() || !site.exact,
                408 => !site.exact,
                _ => false,
            };
            let must_not = site.exact && asked.right && !asked.too_long;
            if !may && !by_guard || must_not {
                return Err(self.blame(format!("refused with {}", head.line)));
            }
            site.tally[1] += u64::from(status == 403);
            site.tally[2] += u64::from(status == 503 && site.is_shared());
        } else {
            let body = String::from_utf8_lossy(&coming.body).into_owned();
            if status != 200 || body != format!("page {}", asked.number) {
                return Err(self.blame(format!("{} {body:?}", head.line)));
            }
            if is_form && (!asked.right || asked.too_long) {
                return Err(self.blame("a form without its token was taken"));
            }
            let told = head.get("x-told").unwrap_or_default();
            if asked.what == What::Ask && site.exact && told != format!("Text({STEADY:?})") {
                return Err(self.blame(format!("the store has told {told:?}")));
            }
            self.follow(head, site)?;
            site.tally[0] += 1;
        }
        self.told_to_go = head.lists("connection", "close");
        if let Some(mut asked) = self.asked.take() {
            self.unsent = asked.bytes.split_off(asked.sent);
        }
        Ok(())
    }

    /// Follows the session through an answer.
    fn follow(&mut self, head: &Head, site: &Site) -> Checked<()> {
        let Some(asked) = &self.asked else { return Ok(()) };
        let line = head.get("set-cookie").and_then(|line| line.strip_prefix("session_id="));
        let new = line.and_then(|line| line.split(';').next()).map(str::to_owned);
        if new.is_some() && new == asked.cookie {
            return Err(self.blame("the identifier of the client is that of the new session"));
        }
        if new.as_ref().is_some_and(|new| !site.keeps(new)) {
            return Err(self.blame("an answer before its session is kept"));
        }
        let own = asked.cookie.is_some() && asked.cookie == self.cookie;
        let renews = asked.what == What::Renew;
        let posts: u64 = head.get("x-posts").and_then(|posts| posts.parse().ok()).unwrap_or(0);
        if site.exact {
            let is_form = matches!(asked.what, What::Post | What::Renew);
            let expected = if own { self.posts + u64::from(is_form) } else { 0 };
            if posts != expected {
                return Err(self.blame(format!("{posts} forms were sent, {expected} in truth")));
            }
            if new.is_some() != (renews || asked.what == What::Form && !own) {
                return Err(self.blame(format!("the session goes on as {new:?}")));
            }
            let old = asked.cookie.as_ref().filter(|_| renews);
            if old.is_some_and(|old| site.keeps(old)) {
                return Err(self.blame("a renewed session lives on under its old identifier"));
            }
        }
        let token = head.get("x-token").map(str::to_owned);
        if renews && token == self.token {
            return Err(self.blame("a renewed session has its old token"));
        }
        if new.is_some() || own {
            self.posts = posts;
            self.cookie = new.or(self.cookie.take());
            self.token = token.or(self.token.take());
        }
        Ok(())
    }

    /// The token of its session, which is wrong for any other one.
    pub fn token(&self) -> Option<String> {
        self.token.clone()
    }

    fn blame(&self, error: impl std::fmt::Display) -> String {
        let asked = self.asked.as_ref().map(|asked| (asked.number, asked.what));
        format!("visitor {} with {asked:?}: {error}", self.number)
    }
}
