//! Pages that several clients request again and again, and the origins' fields for them: the test of the cache.
//!
//! Every version of a page has bytes of its own, which follow from the page, the variant, the version and the user.
//! Each response has a number in `X-Given`; a 304 replaces the number of the response that it confirms by its own.

use super::book::Book;
use super::dice::{Dice, content_key, mix};
use super::http::{Framing, Head};
use super::messages::{Answer, Ask, Ending, Key};
use super::scenario::Host;
use weir::http::date::http_date;

/// The origins' clock when the simulated one says 0.
const UNIX_S: u64 = 1_699_999_999;

/// The directives of Cache-Control. Seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Says {
    pub max_age_s: Option<u64>,
    pub s_maxage_s: Option<u64>,
    /// By Expires.
    pub expires_s: Option<u64>,
    pub while_revalidate_s: Option<u64>,
    pub if_error_s: Option<u64>,
    /// The Age field: it was somewhere else before.
    pub age_s: u64,
    pub no_cache: bool,
    pub no_store: bool,
    pub private: bool,
    pub public: bool,
    pub must_revalidate: bool,
    pub proxy_revalidate: bool,
}

impl Says {
    fn draw(dice: &mut Dice, per_user: bool, expires: bool) -> Says {
        let mut says = Says::default();
        let seconds = Some(dice.pick(&[1, 3, 3, 10, 10, 30, 600]));
        match dice.below(20) {
            0 => says.s_maxage_s = seconds,
            1 => (says.no_cache, says.max_age_s) = (true, seconds),
            2 if dice.percent(50) => says.no_store = true,
            3 if dice.percent(50) => (says.private, says.max_age_s) = (true, seconds),
            4 => says.max_age_s = Some(0),
            5 => says.public = dice.percent(50),
            _ => says.max_age_s = seconds,
        }
        if expires {
            (says.expires_s, says.max_age_s) = (seconds, None);
        }
        let mut window = || Some(dice.pick(&[2, 5, 20])).filter(|_| dice.percent(30));
        (says.while_revalidate_s, says.if_error_s) = (window(), window());
        says.public |= dice.percent(15);
        says.must_revalidate = dice.percent(12);
        says.proxy_revalidate = dice.percent(5);
        says.age_s = if dice.percent(10) { dice.pick(&[1, 2, 8]) } else { 0 };
        if per_user {
            // Nothing that would let the answer for one user go to another.
            (says.public, says.must_revalidate, says.s_maxage_s) = (false, false, None);
        }
        says
    }

    pub fn forbids_stale(&self) -> bool {
        self.must_revalidate || self.proxy_revalidate || self.no_cache || self.s_maxage_s.is_some()
    }

    pub fn is_for_all(&self) -> bool {
        self.public || self.must_revalidate || self.s_maxage_s.is_some()
    }

    fn lines(&self, date_s: Option<u64>) -> String {
        let text = |unix_s: u64| String::from_utf8_lossy(&http_date(unix_s)).into_owned();
        let mut out = "Cache-Control: x-sim".to_string();
        let timed = [
            ("max-age", self.max_age_s),
            ("s-maxage", self.s_maxage_s),
            ("stale-while-revalidate", self.while_revalidate_s),
            ("stale-if-error", self.if_error_s),
        ];
        for (name, seconds) in timed {
            out.extend(seconds.map(|seconds| format!(", {name}={seconds}")));
        }
        let plain = [
            ("no-cache", self.no_cache),
            ("no-store", self.no_store),
            ("private", self.private),
            ("public", self.public),
            ("must-revalidate", self.must_revalidate),
            ("proxy-revalidate", self.proxy_revalidate),
        ];
        plain.iter().filter(|(_, is)| *is).for_each(|(name, _)| out.push_str(&format!(", {name}")));
        out.push_str("\r\n");
        if self.age_s > 0 {
            out.push_str(&format!("Age: {}\r\n", self.age_s));
        }
        if let Some(date_s) = date_s {
            out.push_str(&format!("Date: {}\r\n", text(date_s)));
            out.extend(self.expires_s.map(|seconds| format!("Expires: {}\r\n", text(date_s + seconds))));
        }
        out
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tagging {
    None,
    Strong,
    Weak,
}

/// The field that selects variants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Varying {
    Nothing,
    /// X-Variant.
    Field,
    /// Unknown: `Vary: *`.
    Anything,
}

#[derive(Clone, Debug)]
pub struct Page {
    pub host: usize,
    /// Its origin always answers as it should.
    pub clean: bool,
    says: [Says; 2],
    pub tagging: Tagging,
    pub modified: bool,
    pub varying: Varying,
    /// The page is different for each user.
    pub per_user: bool,
    /// Date says so many seconds too little; `None`: there is none.
    date_off_s: Option<u64>,
    length_max: u64,
    /// It is longer than any window.
    long: bool,
    /// A new version comes after so long.
    period_us: u64,
    ranges: bool,
    /// Most of its readers want parts of it, which touch, overlap and leave gaps.
    in_parts: bool,
    cookie: bool,
    /// Only 304s and the answers to HEAD say that it varies.
    varies_late: bool,
    /// Its origin often breaks off in the middle of an answer.
    breaks: bool,
    /// Its origin seldom says how long an answer is.
    open_ended: bool,
}

impl Page {
    fn draw(dice: &mut Dice, hosts: &[Host], length_max: u64) -> Page {
        let host = if dice.percent(75) { 0 } else { dice.below(hosts.len()) };
        let per_user = dice.percent(20);
        let expires = dice.percent(15);
        let date_off_s = dice.pick(&[Some(0), Some(0), Some(0), Some(2), Some(100), None]);
        let in_parts = dice.percent(25);
        let tagging = dice.pick(&[Tagging::None, Tagging::Strong, Tagging::Strong, Tagging::Weak]);
        Page {
            host,
            clean: dice.percent(50),
            says: [Says::draw(dice, per_user, expires), Says::draw(dice, per_user, expires)],
            tagging: if in_parts { Tagging::Strong } else { tagging },
            modified: dice.percent(50),
            varying: match dice.below(20) {
                0 => Varying::Anything,
                1..=8 => Varying::Field,
                _ => Varying::Nothing,
            },
            per_user,
            date_off_s: if expires { Some(0) } else { date_off_s },
            length_max: dice.pick(&[200, 5_000, 20_000, length_max]).min(length_max),
            long: false,
            period_us: dice.pick(&[1_000_000, 7_000_000, 40_000_000, u64::MAX]),
            ranges: dice.percent(60) || in_parts,
            in_parts,
            cookie: dice.percent(15),
            varies_late: dice.percent(15),
            breaks: false,
            open_ended: false,
        }
    }

    pub fn draw_all(dice: &mut Dice, hosts: &[Host], length_max: u64) -> Vec<Page> {
        let count = dice.pick(&[1, 2, 4, 8, 16]);
        (0..count).map(|_| Page::draw(dice, hosts, length_max)).collect()
    }

    /// A few that all may read together, and that are long.
    pub fn draw_long(dice: &mut Dice, hosts: &[Host]) -> Vec<Page> {
        let says = Says { max_age_s: Some(600), ..Says::default() };
        let page = |dice: &mut Dice| Page {
            host: 0,
            clean: dice.percent(30),
            says: [says; 2],
            varying: Varying::Nothing,
            per_user: false,
            date_off_s: Some(0),
            length_max: dice.pick(&[400_000, 1_200_000]),
            long: true,
            cookie: false,
            ..Page::draw(dice, hosts, 0)
        };
        let count = dice.pick(&[1, 1, 2]);
        (0..count).map(|_| page(dice)).collect()
    }

    /// A few of any kind and length, most of which can be stored; or, if the world `flows`, too long ones of a good origin.
    pub fn draw_together(dice: &mut Dice, hosts: &[Host], flows: bool) -> Vec<Page> {
        let count = dice.pick(&[1, 3, 6]);
        let page = |dice: &mut Dice| {
            let hosts = if flows || dice.percent(90) { &hosts[..1] } else { hosts };
            let length_max = dice.pick(&[20_000, 100_000, 100_000, 300_000, 600_000]);
            let mut page = Page { length_max, long: dice.percent(80), ..Page::draw(dice, hosts, length_max) };
            if flows || dice.percent(75) {
                let says = Says { max_age_s: dice.pick(&[Some(1), Some(600)]), ..Says::default() };
                (page.says, page.per_user, page.date_off_s) = ([says; 2], false, Some(0));
                (page.varying, page.in_parts) = (Varying::Nothing, false);
            }
            if flows {
                (page.clean, page.long, page.ranges, page.length_max) = (true, true, false, 600_000);
            }
            page.breaks = !page.clean && dice.percent(60);
            page.open_ended = page.length_max > 120_000 || dice.percent(50);
            page.period_us = dice.pick(&[300_000, 3_000_000, u64::MAX, u64::MAX]);
            page
        };
        (0..count).map(|_| page(dice)).collect()
    }

    pub fn has_validators(&self) -> bool {
        self.tagging != Tagging::None || self.modified
    }

    /// Answers differ by these two.
    fn selected(&self, ask: &Ask) -> (u64, u64) {
        let variant = if self.varying == Varying::Nothing { 0 } else { ask.shared.seen_variant() };
        let user = if self.per_user { ask.shared.user.map_or(0, |user| 1 + u64::from(user)) } else { 0 };
        (variant, user)
    }

    /// The entity tag of what that request would get, if it were of that version.
    pub fn tag(&self, ask: &Ask, version: u64) -> String {
        let (variant, user) = self.selected(ask);
        let weak = if self.tagging == Tagging::Weak { "W/" } else { "" };
        format!("{weak}\"p{}-{variant}-{version}-{user}\"", ask.shared.page)
    }

    /// Answers that are stale may be served while they are asked for anew.
    pub fn is_renewed(&self) -> bool {
        self.says.iter().any(|says| says.while_revalidate_s.is_some())
    }

    /// Its Last-Modified.
    fn modified_s(&self, ask: &Ask, version: u64) -> u64 {
        let (variant, user) = self.selected(ask);
        1_600_000_000 + 20 * version + 4 * variant + user
    }
}

/// Cache directives, ranges and conditions of a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wants {
    pub page: usize,
    /// 0: no X-Variant.
    pub variant: u8,
    /// Connection names X-Variant: the origin does not see it.
    pub hidden: bool,
    /// The origin fails because of a field of this request.
    pub poison: bool,
    /// Authorization.
    pub user: Option<u8>,
    pub no_cache: bool,
    pub no_store: bool,
    pub max_age_s: Option<u64>,
    pub min_fresh_s: Option<u64>,
    pub max_stale_s: Option<u64>,
    pub only_if_cached: bool,
    /// The version that it has: If-None-Match or If-Modified-Since.
    pub has: Option<u64>,
    /// From and to; `None` for one of them: to the end, or the last so many.
    pub range: Option<(Option<u64>, Option<u64>)>,
    /// If-Range, with the tag of that version.
    pub if_range: Option<u64>,
    /// PURGE of everything.
    pub purge_all: bool,
}

impl Wants {
    /// What the request of that key wants of one of the pages; of the page `at`, if there is one.
    pub fn draw(dice: &mut Dice, pages: &[Page], method: &str, client: u32, at: Option<u32>) -> Wants {
        // Some are asked for more often than others.
        let page = dice.below(pages.len()).min(dice.below(pages.len()));
        let page = at.map_or(page, |at| at as usize % pages.len());
        let mut wants = Wants { page, ..Wants::default() };
        if at.is_some_and(|at| dice.percent(if at < 2 { 90 } else { 60 })) {
            return wants;
        }
        let page = &pages[page];
        wants.variant = dice.pick(&[0, 1, 1, 1, 2]);
        wants.hidden = dice.percent(10);
        wants.poison = dice.percent(4);
        let authorized = if page.per_user { 50 } else { 8 };
        wants.user = dice.percent(authorized).then_some((client % 3) as u8);
        wants.purge_all = dice.percent(30);
        if !matches!(method, "GET" | "HEAD") {
            return wants;
        }
        match dice.below(40) {
            0 => wants.no_cache = true,
            1 => wants.no_store = true,
            2 => wants.max_age_s = Some(dice.pick(&[0, 1, 5])),
            3 => wants.min_fresh_s = Some(dice.pick(&[1, 5])),
            4 | 5 => wants.max_stale_s = Some(dice.pick(&[1, 10, 1000])),
            6 => wants.only_if_cached = true,
            7 => (wants.max_age_s, wants.max_stale_s) = (Some(5), Some(5)),
            _ => {}
        }
        if page.has_validators() && dice.percent(15) {
            wants.has = Some(dice.below(4) as u64);
        } else if method == "GET" && dice.percent(if page.in_parts { 70 } else { 15 }) {
            let step = 1 + page.length_max / 16;
            let (from, to) = match page.in_parts {
                true => (step * dice.between(0, 12), step * dice.between(0, 3)),
                false => (dice.between(0, 3_000), dice.between(0, 6_000)),
            };
            wants.range = Some(match dice.below(3) {
                0 => (Some(from), None),
                1 => (None, Some(1 + to)),
                _ => (Some(from), Some(from + to)),
            });
            let tagged = page.tagging == Tagging::Strong && dice.percent(40);
            wants.if_range = tagged.then(|| dice.below(3) as u64);
        }
        wants
    }

    /// The fields of the request.
    pub fn lines(&self, page: &Page, ask: &Ask) -> String {
        let mut out = String::new();
        let mut line = |name: &str, value: String| out.push_str(&format!("{name}: {value}\r\n"));
        if self.variant > 0 {
            line("X-Variant", format!("v{}", self.variant));
        }
        if self.hidden {
            line("Connection", "X-Variant".to_string());
        }
        if self.poison {
            line("X-Poison", "1".to_string());
        }
        if let Some(user) = self.user {
            line("Authorization", format!("Sim u{user}"));
        }
        if self.purge_all && ask.method == "PURGE" {
            line("Purge", "all".to_string());
        }
        let timed =
            [("max-age", self.max_age_s), ("min-fresh", self.min_fresh_s), ("max-stale", self.max_stale_s)];
        let timed = timed.iter().filter_map(|(name, seconds)| Some(format!("{name}={}", (*seconds)?)));
        let plain = [
            ("no-cache", self.no_cache),
            ("no-store", self.no_store),
            ("only-if-cached", self.only_if_cached),
        ];
        let plain = plain.iter().filter(|(_, is)| *is).map(|(name, _)| (*name).to_string());
        let directives: Vec<String> = timed.chain(plain).collect();
        if !directives.is_empty() {
            line("Cache-Control", directives.join(", "));
        }
        match self.has {
            Some(version) if page.tagging != Tagging::None => line("If-None-Match", page.tag(ask, version)),
            Some(version) => {
                let date = http_date(page.modified_s(ask, version));
                line("If-Modified-Since", String::from_utf8_lossy(&date).into_owned());
            }
            None => {}
        }
        if let Some((from, to)) = self.range {
            let text = |number: Option<u64>| number.map_or(String::new(), |number| number.to_string());
            line("Range", format!("bytes={}-{}", text(from), text(to)));
        }
        if let Some(version) = self.if_range {
            line("If-Range", page.tag(ask, version));
        }
        out
    }

    /// The value of X-Variant that the origin sees.
    pub fn seen_variant(&self) -> u64 {
        if self.hidden { 0 } else { u64::from(self.variant) }
    }

    /// First byte and count of what is asked for, of so many bytes. `None`: nothing of that is there.
    pub fn part(&self, length: u64) -> Option<(u64, u64)> {
        part(self.range?, length)
    }
}

fn part((from, to): (Option<u64>, Option<u64>), length: u64) -> Option<(u64, u64)> {
    match (from, to) {
        (Some(from), to) if from < length => {
            let last = to.unwrap_or(u64::MAX).min(length - 1);
            Some((from, last - from + 1))
        }
        (None, Some(last)) if length > 0 => Some((length - last.min(length), last.min(length))),
        _ => None,
    }
}

/// One answer of an origin about a page.
#[derive(Clone, Debug)]
pub struct Given {
    pub key: Key,
    pub page: usize,
    pub variant: u64,
    /// It says that it varies.
    pub varies: bool,
    /// It answers a HEAD.
    pub bare: bool,
    pub version: u64,
    pub status: u16,
    pub says: Says,
    /// When the origin has seen the request, and said what it would say.
    pub made_us: u64,
    /// The request had Authorization.
    pub authorized: bool,
    /// It came over a connection that is one client's alone.
    pub pinned: bool,
    /// The request said no-store, or the answer ends in two ways.
    pub withheld: bool,
    /// The whole of it.
    pub length: u64,
    pub content: u64,
    pub tag: Option<String>,
    pub modified: bool,
    /// It goes out to its end.
    pub whole: bool,
    /// Nothing about it would make a proxy say that the origin has failed.
    pub clean: bool,
    /// The origin has sent all of it that it will.
    pub sent: bool,
    /// Loops whose clients read it before that, one bit for each.
    pub loops: u8,
    /// A client that read it left before that.
    pub left: bool,
    /// Its first byte and count, of a part.
    part: Option<(u64, u64)>,
    lines: String,
}

impl Given {
    /// Whether a heuristic lifetime applies: errors have none.
    pub fn may_be_heuristic(&self) -> bool {
        self.modified && self.status < 400
    }

    pub fn is_error(&self) -> bool {
        matches!(self.status, 500 | 502..=504)
    }

    /// The fields that the origin sends with it.
    pub fn lines(&self) -> &str {
        &self.lines
    }

    /// Where what goes over the wire begins.
    pub fn start(&self) -> u64 {
        self.part.map_or(0, |(start, _)| start)
    }
}

/// Something that made what was said before worthless: a request that changed pages, or a purge.
#[derive(Clone, Copy, Debug)]
pub struct Invalidation {
    /// `None`: all pages.
    pub page: Option<usize>,
    /// A response that was made before this time,
    pub made_us: u64,
    /// must not be sent to a request after this one.
    pub seen_us: u64,
}

/// All responses about pages.
#[derive(Debug, Default)]
pub struct Sayings {
    pub given: Vec<Given>,
    /// Changes of each page, beside those that time brings.
    bumps: Vec<u64>,
    pub invalidations: Vec<Invalidation>,
    /// The clock was set back.
    pub set_back_us: Vec<u64>,
}

impl Book {
    /// The origin's response to a request for a page, and its number.
    pub fn answer_page(&mut self, dice: &mut Dice, key: Key, head: &Head, now_us: u64) -> (Answer, u32) {
        let record = &self.records[&key];
        let (ask, page) = (&record.ask, &self.scenario.pages[record.ask.shared.page]);
        let sayings = &mut self.sayings;
        sayings.bumps.resize(self.scenario.pages.len(), 0);
        let safe = matches!(ask.method, "GET" | "HEAD");
        let number = sayings.given.len() as u32;
        let mut status = match dice.below(100) {
            0..=9 if !page.clean => dice.pick(&[500, 502, 503, 504]),
            10..=13 if !page.clean => 404,
            _ if safe => 200,
            0..=15 => dice.pick(&[404, 500]),
            16..=40 => 303,
            _ => 200,
        };
        if !safe && status < 400 {
            sayings.bumps[ask.shared.page] += 1;
        }
        let current = now_us / page.period_us + sayings.bumps[ask.shared.page];
        let (variant, user) = page.selected(ask);
        // A HEAD that finds a stale response makes weir fetch another one by GET.
        let bodiless = head.line.starts_with("HEAD ");
        let representation = safe && status == 200;
        let has = if representation { conditional(page, ask, current, head) } else { Condition::None };
        let version = match has {
            Condition::Matches(version) => {
                status = 304;
                version
            }
            // About something else than what was asked about.
            Condition::Differs if !page.clean && dice.percent(15) => {
                status = 304;
                current
            }
            Condition::Differs | Condition::None => current,
        };
        let salt = if representation { version } else { 1 << 40 | u64::from(number) };
        let content = content_key([(ask.shared.page as u64) << 16 | variant << 8 | user, salt, 0x5A6E]);
        let length_max = if representation { page.length_max } else { 300 };
        let least = if representation && page.long { length_max / 2 } else { 0 };
        let length = least + mix(content) % (length_max - least + 1);
        let mut given = Given {
            key,
            page: ask.shared.page,
            variant,
            varies: !page.varies_late || status == 304 || bodiless,
            bare: bodiless,
            version,
            status,
            // The fields may change without the content.
            says: page.says[usize::from(if dice.percent(80) { version % 2 == 1 } else { version % 2 == 0 })],
            made_us: now_us,
            authorized: ask.shared.user.is_some(),
            pinned: false,
            withheld: ask.shared.no_store,
            length,
            content,
            tag: (representation && page.tagging != Tagging::None).then(|| page.tag(ask, version)),
            modified: representation && page.modified,
            whole: true,
            clean: true,
            sent: false,
            loops: 0,
            left: false,
            part: None,
            lines: String::new(),
        };
        if status == 200 && page.ranges && !bodiless && ranges_apply(page, ask, version, head) {
            // Of a proxy's own, too.
            given.part = asked_range(head).and_then(|range| part(range, length));
            given.status = if given.part.is_some() { 206 } else { 200 };
        }
        given.lines = head_lines(page, ask, &given, number);
        let mut answer = draw_answer(dice, &self.scenario.hosts[ask.host], head, &given, page.open_ended);
        if !page.clean && matches!(given.status, 200 | 206) && dice.percent(20) {
            answer.draw_fault(dice);
        }
        if page.breaks && matches!(given.status, 200 | 206) && dice.percent(50) {
            answer.ending = Ending::Cut { thousandths: dice.between(0, 999), reset: dice.percent(50) };
        }
        if head.get("x-poison").is_some() {
            answer.ending = dice.pick(&[Ending::Garbage, Ending::Silence, Ending::Gone { reset: false }]);
        }
        answer.fit(ask);
        (given.whole, given.clean) = (answer.is_whole(), answer.is_clean());
        given.withheld |= answer.ending == Ending::Doubled;
        sayings.given.push(given);
        self.tally.given += 1;
        (answer, number)
    }
}

/// The result of If-None-Match or If-Modified-Since.
enum Condition {
    None,
    Differs,
    /// The client, or the cache, has that version.
    Matches(u64),
}

fn conditional(page: &Page, ask: &Ask, current: u64, head: &Head) -> Condition {
    if let Some(tag) = head.get("if-none-match") {
        return match page.tagging != Tagging::None && tag == page.tag(ask, current) {
            true => Condition::Matches(current),
            false => Condition::Differs,
        };
    }
    let Some(since) = head.get("if-modified-since") else { return Condition::None };
    let date = http_date(page.modified_s(ask, current));
    match page.modified && since.as_bytes() == date {
        true => Condition::Matches(current),
        false => Condition::Differs,
    }
}

fn ranges_apply(page: &Page, ask: &Ask, version: u64, head: &Head) -> bool {
    let holds = |tag: &str| page.tagging == Tagging::Strong && tag == page.tag(ask, version);
    head.get("if-range").is_none_or(holds)
}

fn asked_range(head: &Head) -> Option<(Option<u64>, Option<u64>)> {
    let (from, to) = head.get("range")?.strip_prefix("bytes=")?.split_once('-')?;
    Some((from.parse().ok(), to.parse().ok()))
}

fn head_lines(page: &Page, ask: &Ask, given: &Given, number: u32) -> String {
    let date_s = page.date_off_s.map(|off_s| UNIX_S + given.made_us / 1_000_000 - off_s);
    let mut out = format!("X-Given: {number}\r\n{}", given.says.lines(date_s));
    out.extend(given.tag.as_ref().map(|tag| format!("ETag: {tag}\r\n")));
    if given.modified {
        let date = http_date(page.modified_s(ask, given.version));
        out.push_str(&format!("Last-Modified: {}\r\n", String::from_utf8_lossy(&date)));
    }
    match page.varying {
        _ if !given.varies => {}
        Varying::Nothing => {}
        Varying::Field => out.push_str("Vary: X-Variant\r\n"),
        Varying::Anything => out.push_str("Vary: *\r\n"),
    }
    if let Some((start, count)) = given.part {
        out.push_str(&format!("Content-Range: bytes {start}-{}/{}\r\n", start + count - 1, given.length));
    }
    if page.cookie {
        out.push_str(&format!("Set-Cookie: c={number}\r\n"));
    }
    out
}

fn draw_answer(dice: &mut Dice, host: &Host, head: &Head, given: &Given, open_ended: bool) -> Answer {
    let payload = given.part.map_or(given.length, |(_, count)| count);
    let framing = match dice.below(10) {
        _ if given.status == 304 => Framing::None,
        0 => Framing::UntilClose,
        1..=3 if !host.http10 => Framing::Chunked,
        4..=8 if open_ended && !host.http10 => Framing::Chunked,
        _ => Framing::Length(payload),
    };
    Answer {
        interims: dice.pick(&[0, 0, 0, 0, 0, 0, 1, 2]),
        early: None,
        http10: host.http10,
        status: given.status,
        framing,
        payload,
        trailers: false,
        bodiless: given.bare,
        closes: dice.percent(10),
        ending: Ending::Whole,
        padding: dice.pick(&[0, 0, 0, 0, 0, 0, 0, 100, 4000]),
        delay_us: match head.line.starts_with("GET ") {
            true => dice.pick(&[0, 10, 10_000, 100_000, 1_500_000]),
            false => dice.pick(&[0, 10, 10_000]),
        },
    }
}
