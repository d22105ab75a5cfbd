//! Requests and responses, drawn in advance: the bytes of both sides follow from them.

use super::dice::{Dice, content, content_key, mix};
use super::http::{Framing, chunked};
use super::pages::{Given, Wants};
use super::scenario::Scenario;
use base64::Engine as _;
use std::fmt;

/// Names one request: the client, and which of its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub client: u32,
    pub number: u32,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.client, self.number)
    }
}

impl Key {
    pub fn parse(text: &str) -> Option<Key> {
        let (client, number) = text.split_once('-')?;
        Some(Key { client: client.parse().ok()?, number: number.parse().ok()? })
    }

    /// The key of the bytes of the request's body.
    pub fn upload(self) -> u64 {
        content_key([u64::from(self.client), u64::from(self.number), 1])
    }
}

/// The key of the bytes of the response bodies on one upstream connection.
pub fn download(key: Key, serial: u32) -> u64 {
    content_key([u64::from(key.client), u64::from(key.number), 2 + u64::from(serial)])
}

/// The number of a request that no client ever asks: it hides behind malformed ones.
pub const SMUGGLED: u32 = 9999;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Plain,
    /// `OPTIONS *`: weir answers.
    Own,
    /// The head breaks the grammar.
    Malformed,
    /// The head is fine and the body is not.
    MalformedBody,
    Connect,
    Upgrade,
    /// For a page that others ask for, too.
    Shared,
    /// PURGE of the page: weir answers.
    Purge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    None,
    Plain,
    PlainWrong,
    SlowRight,
    SlowWrong,
    Unknown,
}

impl Login {
    pub fn is_right(self) -> bool {
        matches!(self, Login::Plain | Login::SlowRight)
    }

    pub fn is_slow(self) -> bool {
        matches!(self, Login::SlowRight | Login::SlowWrong | Login::Unknown | Login::PlainWrong)
    }

    fn credentials(self) -> Option<&'static str> {
        match self {
            Login::None => None,
            Login::Plain => Some("plain:secret"),
            Login::PlainWrong => Some("plain:guess"),
            Login::SlowRight => Some("slow-right:secret"),
            Login::SlowWrong => Some("slow-wrong:guess"),
            Login::Unknown => Some("nobody:secret"),
        }
    }
}

/// One request.
#[derive(Clone)]
pub struct Ask {
    pub key: Key,
    pub kind: Kind,
    pub host: usize,
    pub method: &'static str,
    pub http10: bool,
    pub keeps: bool,
    pub expects: bool,
    pub body: Framing,
    pub body_bytes: u64,
    pub trailers: Vec<String>,
    pub login: Login,
    /// It authenticates the connection.
    pub authenticates: bool,
    /// A guard that looks at it must not let it pass.
    pub attacks: bool,
    /// Of a page.
    pub shared: Wants,
    pub head: Vec<u8>,
    /// The body with its framing.
    pub coded: Vec<u8>,
}

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ask { key, kind, host, method, http10, keeps, expects, body, trailers, login, .. } = self;
        write!(
            f,
            "{key} {kind:?} {method} of host {host}, http10: {http10}, keeps: {keeps}, expects: {expects}, "
        )?;
        write!(f, "{body:?} of {}, {trailers:?}, {login:?}", self.body_bytes)?;
        match kind {
            Kind::Shared | Kind::Purge => write!(f, ", {:?}", self.shared),
            Kind::Plain
            | Kind::Own
            | Kind::Malformed
            | Kind::MalformedBody
            | Kind::Connect
            | Kind::Upgrade => Ok(()),
        }
    }
}

impl Ask {
    pub fn is_idempotent(&self) -> bool {
        matches!(self.method, "GET" | "HEAD" | "PUT" | "DELETE" | "OPTIONS")
    }

    /// As the origin sees it.
    pub fn path(&self) -> String {
        match self.kind {
            Kind::Shared | Kind::Purge => format!("/s/{}", self.shared.page),
            Kind::Plain
            | Kind::Own
            | Kind::Malformed
            | Kind::MalformedBody
            | Kind::Connect
            | Kind::Upgrade => format!("/e/{}", self.key),
        }
    }

    pub fn is_tunnel(&self) -> bool {
        matches!(self.kind, Kind::Connect | Kind::Upgrade)
    }

    pub fn new(dice: &mut Dice, scenario: &Scenario, key: Key, login: Login, last: bool) -> Ask {
        let kind = match dice.below(100) {
            0..=1 => Kind::Own,
            2..=3 if dice.percent(scenario.fault_percent) => Kind::Malformed,
            4..=5 if dice.percent(scenario.fault_percent) => Kind::MalformedBody,
            6..=25 if last => Kind::Connect,
            26..=32 if last => Kind::Upgrade,
            _ if scenario.together && key.number < 2 => Kind::Shared,
            33..=34 if scenario.cache.as_ref().is_some_and(|cache| cache.purges) => Kind::Purge,
            _ if scenario.cache.is_some() && dice.percent(scenario.pages_percent) => Kind::Shared,
            _ => Kind::Plain,
        };
        let mut ask = Ask {
            key,
            kind,
            host: dice.below(scenario.hosts.len()),
            method: dice
                .pick(&["GET", "GET", "GET", "HEAD", "POST", "POST", "PUT", "DELETE", "OPTIONS", "BREW"]),
            http10: kind != Kind::MalformedBody && dice.percent(8),
            keeps: !dice.percent(if scenario.together { 3 } else { 10 }),
            expects: false,
            body: Framing::None,
            body_bytes: 0,
            trailers: Vec::new(),
            login,
            authenticates: false,
            attacks: false,
            shared: Wants::default(),
            head: Vec::new(),
            coded: Vec::new(),
        };
        if matches!(kind, Kind::Shared | Kind::Purge) {
            ask.draw_page(dice, scenario);
        }
        ask.draw_body(dice, scenario);
        match kind {
            Kind::Own => ask.method = "OPTIONS",
            Kind::Connect => (ask.method, ask.http10, ask.keeps) = ("CONNECT", false, true),
            Kind::Upgrade => (ask.method, ask.http10, ask.keeps) = ("GET", false, true),
            Kind::Plain | Kind::Malformed | Kind::MalformedBody | Kind::Shared | Kind::Purge => {}
        }
        ask.draw_credentials(dice, scenario.hosts[ask.host].authenticates);
        ask.write_head(dice, scenario);
        if matches!(kind, Kind::Malformed | Kind::MalformedBody) {
            ask.break_grammar(dice);
        }
        ask
    }

    fn draw_page(&mut self, dice: &mut Dice, scenario: &Scenario) {
        self.method = match dice.below(40) {
            _ if self.kind == Kind::Purge => "PURGE",
            0 | 1 => "HEAD",
            2 => dice.pick(&["POST", "PUT", "DELETE", "BREW"]),
            _ => "GET",
        };
        // All clients go through the pages in the same order.
        let at = scenario.together.then_some(self.key.number);
        self.shared = Wants::draw(dice, &scenario.pages, self.method, self.key.client, at);
        let page = &scenario.pages[self.shared.page];
        self.host = page.host;
        // Nothing would tell its answer from one about another version.
        if self.method == "HEAD" && !page.has_validators() {
            self.method = "GET";
        }
    }

    fn draw_body(&mut self, dice: &mut Dice, scenario: &Scenario) {
        let likely = matches!(self.method, "POST" | "PUT" | "BREW");
        let bodied = match self.kind {
            // A POST without a body is whole with its head, and must not be sent twice all the same.
            Kind::Plain => dice.percent(if likely { 75 } else { 8 }),
            Kind::Shared => likely && dice.percent(50),
            Kind::MalformedBody => true,
            Kind::Own | Kind::Malformed | Kind::Connect | Kind::Upgrade | Kind::Purge => false,
        };
        if !bodied {
            return;
        }
        self.body_bytes = scenario.length(dice);
        let payload = content(self.key.upload(), 0, self.body_bytes as usize);
        if !self.http10 && (self.kind == Kind::MalformedBody || dice.percent(50)) {
            self.body = Framing::Chunked;
            if dice.percent(30) {
                self.trailers = vec![format!("X-Trailer: {}", self.key)];
            }
            self.coded = chunked(&payload, &self.trailers, dice);
        } else {
            self.body = Framing::Length(self.body_bytes);
            self.coded = payload;
        }
        self.expects = self.kind == Kind::Plain && !self.http10 && self.body_bytes > 0 && dice.percent(15);
    }

    fn write_head(&mut self, dice: &mut Dice, scenario: &Scenario) {
        let (method, authority, key) = (self.method, &scenario.hosts[self.host].authority, self.key);
        let version = if self.http10 { "HTTP/1.0" } else { "HTTP/1.1" };
        let target = match self.kind {
            Kind::Own => "*".to_string(),
            Kind::Connect => format!("{authority}:443"),
            Kind::Plain
            | Kind::Malformed
            | Kind::MalformedBody
            | Kind::Upgrade
            | Kind::Shared
            | Kind::Purge => {
                let absolute = self.http10 || dice.percent(85);
                if absolute { format!("http://{authority}{}", self.path()) } else { self.path() }
            }
        };
        let mut head = format!("{method} {target} {version}\r\nHost: {authority}\r\nX-Exchange: {key}\r\n");
        if let Some(credentials) = self.login.credentials() {
            let coded = base64::engine::general_purpose::STANDARD.encode(credentials);
            head.push_str(&format!("Proxy-Authorization: Basic {coded}\r\n"));
        }
        match self.body {
            Framing::Length(length) => head.push_str(&format!("Content-Length: {length}\r\n")),
            Framing::Chunked => head.push_str("Transfer-Encoding: chunked\r\n"),
            Framing::None | Framing::UntilClose => {}
        }
        match (self.kind, self.keeps, self.http10) {
            (Kind::Upgrade, ..) => {
                head.push_str("Connection: x-hop, upgrade\r\nUpgrade: sim\r\nX-Hop: 1\r\n")
            }
            (_, false, false) => head.push_str("Connection: close\r\n"),
            (_, true, true) => head.push_str("Proxy-Connection: keep-alive\r\n"),
            (_, true, false) | (_, false, true) => {}
        }
        if self.expects {
            head.push_str("Expect: 100-continue\r\n");
        }
        if matches!(self.kind, Kind::Shared | Kind::Purge) {
            head.push_str(&self.shared.lines(&scenario.pages[self.shared.page], self));
        }
        head.push_str(&self.credentials_line());
        if scenario.guard.as_ref().is_some_and(|plan| plan.inspects) {
            self.add_what_is_inspected(&mut head);
        }
        let padding = dice.pick(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 200, 200, 3900, 4096, 9000, 20_000]);
        if padding > 0 {
            head.push_str(&format!("X-Padding: {}\r\n", "p".repeat(padding)));
        }
        head.push_str("\r\n");
        self.head = head.into_bytes();
    }

    /// A type of the body that is looked at, and an attack in some.
    fn add_what_is_inspected(&mut self, head: &mut String) {
        // Without a throw of the dice, so that all else is as it would be.
        let number = mix(u64::from(self.key.client) << 32 | u64::from(self.key.number));
        if self.body != Framing::None {
            let types = ["text/plain", "application/x-www-form-urlencoded", "application/json"];
            head.push_str(&format!("Content-Type: {}\r\n", types[number as usize % 3]));
        }
        self.attacks = self.kind == Kind::Plain && number % 5 == 0;
        if self.attacks {
            head.push_str("X-Search: 1' UNION SELECT name, password FROM users --\r\n");
        }
    }

    /// Breaks the grammar, and hides another request behind the fault.
    fn break_grammar(&mut self, dice: &mut Dice) {
        let smuggled = Key { number: SMUGGLED, ..self.key };
        let behind = format!(
            "GET http://h0.sim/e/{smuggled} HTTP/1.1\r\nHost: h0.sim\r\nX-Exchange: {smuggled}\r\n\r\n"
        );
        if self.kind == Kind::MalformedBody {
            // Before the last chunk: the rest must never look complete.
            let end = 5 + self.trailers.iter().map(|line| line.len() + 2).sum::<usize>();
            let cut = dice.below(self.coded.len() - end);
            self.coded.truncate(cut);
            self.coded.extend_from_slice(b"\r\nzz\r\n");
            self.coded.extend_from_slice(behind.as_bytes());
            return;
        }
        let text = String::from_utf8_lossy(&self.head).into_owned();
        self.head = match dice.below(9) {
            0 => text.replacen("\r\n", "\n", 1),
            1 => text.replacen(' ', "  ", 1),
            2 => text.replacen("\r\n\r\n", "\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 1),
            3 => text.replacen("Host:", "Host :", 1),
            4 => text.replacen("HTTP/1.", "HTTP/2.", 1),
            5 => text.replacen("\r\n\r\n", "\r\n folded\r\n\r\n", 1),
            6 => text.replacen("X-Exchange", "X-\u{0}change", 1),
            7 => text.replacen("\r\n\r\n", "\r\nContent-Length: +5\r\n\r\n", 1),
            _ => "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\r\n\r\n".to_string(),
        }
        .into_bytes();
        self.coded = behind.into_bytes();
    }
}

/// How an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Whole,
    /// After so many thousandths of it the connection is finished or reset.
    Cut {
        thousandths: u64,
        reset: bool,
    },
    /// Bytes behind it that belong to no response.
    Surplus,
    /// A chunk that is none.
    BadChunk,
    /// Not HTTP.
    Garbage,
    /// Two lengths.
    Ambiguous,
    /// A length beside the chunks: it is read by these, once, and nothing of it is for others.
    Doubled,
    /// 101 without having been asked.
    Switches,
    /// Nothing, for ever.
    Silence,
    /// The connection is finished or reset without an answer.
    Gone {
        reset: bool,
    },
}

/// One answer.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    pub interims: u8,
    /// Comes once so many bytes of the request's body have; `None`: after all of it.
    pub early: Option<u64>,
    pub http10: bool,
    pub status: u16,
    pub framing: Framing,
    pub payload: u64,
    pub trailers: bool,
    /// To HEAD: the body is only described.
    pub bodiless: bool,
    /// The connection ends behind it, and says so.
    pub closes: bool,
    pub ending: Ending,
    pub padding: usize,
    pub delay_us: u64,
}

impl Answer {
    pub fn new(dice: &mut Dice, scenario: &Scenario, ask: &Ask) -> Answer {
        let host = &scenario.hosts[ask.host];
        let mut answer = Answer {
            interims: dice.pick(&[0, 0, 0, 0, 0, 1, 2, 5]),
            early: None,
            http10: host.http10,
            status: dice.pick(&[200, 200, 200, 200, 404, 500, 302, 204, 304]),
            framing: Framing::None,
            payload: scenario.length(dice),
            trailers: dice.percent(20),
            bodiless: ask.method == "HEAD",
            closes: dice.percent(15),
            ending: Ending::Whole,
            padding: dice.pick(&[0, 0, 0, 0, 0, 0, 0, 0, 100, 4000, 9000]),
            delay_us: dice.pick(&[0, 0, 10, 1_000, 100_000]),
        };
        answer.framing = match dice.below(10) {
            _ if matches!(answer.status, 204 | 304) => Framing::None,
            0 => Framing::UntilClose,
            1 | 2 if answer.payload > 60_000 => Framing::UntilClose,
            1..=4 if !host.http10 => Framing::Chunked,
            _ => Framing::Length(answer.payload),
        };
        if ask.body != Framing::None && dice.percent(10) {
            answer.early = Some(dice.between(0, ask.body_bytes));
        }
        if host.sloppy && dice.percent(40) {
            answer.ending = Ending::Surplus;
        }
        if dice.percent(scenario.fault_percent) && dice.percent(50) {
            answer.draw_fault(dice);
        }
        answer.fit(ask);
        answer
    }

    pub fn draw_fault(&mut self, dice: &mut Dice) {
        self.ending = match dice.below(10) {
            0..=3 => Ending::Cut { thousandths: dice.between(0, 999), reset: dice.percent(50) },
            4 => Ending::BadChunk,
            5 => Ending::Garbage,
            6 => Ending::Ambiguous,
            7 => dice.pick(&[Ending::Switches, Ending::Silence]),
            8 => {
                self.interims = 40;
                Ending::Whole
            }
            _ => Ending::Gone { reset: dice.percent(50) },
        };
    }

    /// Makes the parts agree with each other and with the request.
    pub fn fit(&mut self, ask: &Ask) {
        if self.ending == Ending::BadChunk {
            let status = if self.status == 206 { 206 } else { 200 };
            (self.framing, self.status, self.http10) = (Framing::Chunked, status, false);
        }
        if self.http10 {
            (self.interims, self.trailers) = (0, false);
        }
        if self.framing == Framing::UntilClose {
            self.closes = true;
            self.ending = match self.ending {
                // A FIN would be a proper end, and bytes behind the end are the body.
                Ending::Cut { thousandths, .. } => Ending::Cut { thousandths, reset: true },
                Ending::Surplus => Ending::Whole,
                other => other,
            };
        }
        if self.bodiless && matches!(self.ending, Ending::BadChunk | Ending::Ambiguous) {
            self.ending = Ending::Whole;
        }
        if matches!(self.status, 204 | 304) && self.ending == Ending::Ambiguous {
            self.ending = Ending::Whole;
        }
        if self.framing == Framing::Chunked && self.ending == Ending::Ambiguous {
            self.ending = Ending::Doubled;
        }
        self.trailers &=
            self.framing == Framing::Chunked && !self.bodiless && self.ending != Ending::BadChunk;
        if self.framing == Framing::None {
            self.payload = 0;
        }
        if ask.kind == Kind::Upgrade && self.ending == Ending::Switches {
            self.ending = Ending::Silence;
        }
        if ask.expects {
            self.interims = self.interims.max(u8::from(!self.http10));
        }
    }

    /// Nothing about it gives a proxy a reason to fail.
    pub fn is_clean(&self) -> bool {
        self.is_whole() && self.interims < 30
    }

    /// The client can be given all of it.
    pub fn is_whole(&self) -> bool {
        matches!(self.ending, Ending::Whole | Ending::Surplus | Ending::Doubled)
    }

    /// Another request may follow on the same connection.
    pub fn keeps(&self) -> bool {
        !self.closes && self.ending == Ending::Whole && !self.http10
    }

    /// How much of the body goes over the wire.
    pub fn sent_payload(&self) -> u64 {
        if self.bodiless { 0 } else { self.payload }
    }

    pub fn trailer_lines(&self, key: Key, serial: u32) -> Vec<String> {
        if self.trailers { vec![format!("X-Trailer: {key}-{serial}")] } else { Vec::new() }
    }

    /// All interim heads.
    pub fn interim_bytes(&self, key: Key, serial: u32, expects: bool) -> Vec<u8> {
        let mut out = String::new();
        for number in 0..self.interims {
            let line = if number == 0 && expects { "100 Continue" } else { "103 Early Hints" };
            out.push_str(&format!("HTTP/1.1 {line}\r\nX-Answer: {key}-{serial}\r\n\r\n"));
        }
        out.into_bytes()
    }

    /// The final answer as the origin sends it, without what follows a cut.
    pub fn bytes(&self, dice: &mut Dice, ask: &Ask, serial: u32, given: Option<&Given>) -> Vec<u8> {
        let key = ask.key;
        let version = if self.http10 { "HTTP/1.0" } else { "HTTP/1.1" };
        let mut head = format!("{version} {} Sim\r\nX-Answer: {key}-{serial}\r\n", self.status);
        // Whitespace that is put right before the head is read.
        let colon = dice.pick(&[":", ": ", ": ", ": ", ": ", " : ", "\t:", ":\r\n ", " : \r\n\t"]);
        match self.framing {
            Framing::Length(length) => head.push_str(&format!("Content-Length{colon}{length}\r\n")),
            Framing::Chunked => head.push_str(&format!("Transfer-Encoding{colon}chunked\r\n")),
            Framing::None | Framing::UntilClose => {}
        }
        match self.ending {
            Ending::Garbage => return content(u64::from(serial), 0, 200),
            Ending::Ambiguous => head.push_str("Content-Length: 3\r\nContent-Length: 4\r\n"),
            Ending::Doubled => head.push_str(dice.pick(&[
                "Content-Length: 3\r\n",
                "Content-Length: 40000\r\nContent-Length: 4\r\n",
                "Content-Length: x\r\n",
            ])),
            Ending::Switches => {
                return b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n".to_vec();
            }
            Ending::Whole
            | Ending::Cut { .. }
            | Ending::Surplus
            | Ending::BadChunk
            | Ending::Silence
            | Ending::Gone { .. } => {}
        }
        if self.closes && !self.http10 {
            head.push_str("Connection: close\r\n");
        }
        if self.padding > 0 {
            head.push_str(&format!("X-Padding{colon}{}\r\n", "q".repeat(self.padding)));
        }
        head.extend(given.map(Given::lines));
        head.push_str("Keep-Alive: timeout=5\r\n\r\n");
        let mut out = head.into_bytes();
        let (source, start) =
            given.map_or((download(key, serial), 0), |given| (given.content, given.start()));
        let payload = content(source, start, self.sent_payload() as usize);
        match self.framing {
            Framing::Chunked if !self.bodiless => {
                let mut coded = chunked(&payload, &self.trailer_lines(key, serial), dice);
                if self.ending == Ending::BadChunk {
                    coded.truncate(coded.len() - 5);
                    coded.extend_from_slice(b"0x0\r\n\r\n");
                }
                out.extend_from_slice(&coded);
            }
            Framing::None | Framing::Length(_) | Framing::Chunked | Framing::UntilClose => {
                out.extend_from_slice(&payload);
            }
        }
        match self.ending {
            Ending::Cut { thousandths, .. } => {
                let cut = out.len() as u64 * thousandths / 1000;
                out.truncate(cut as usize);
            }
            Ending::Surplus => out.extend_from_slice(STRAY),
            Ending::Whole
            | Ending::BadChunk
            | Ending::Garbage
            | Ending::Ambiguous
            | Ending::Doubled
            | Ending::Switches
            | Ending::Silence
            | Ending::Gone { .. } => {}
        }
        out
    }
}

/// A whole response without a request.
pub const STRAY: &[u8] = b"HTTP/1.1 200 Stray\r\nX-Stray: 1\r\nContent-Length: 5\r\n\r\nstray";

/// What a server that is busy says on a new connection.
pub fn busy_answer(serial: u32) -> Vec<u8> {
    format!("HTTP/1.1 503 Busy\r\nX-Busy: {serial}\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbusy")
        .into_bytes()
}
