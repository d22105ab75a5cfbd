//! The responses that a client may get for a page: simpler than the cache, and as strict as whole seconds allow.

use super::book::{Book, Checked, Record};
use super::http::{Framing, Head};
use super::messages::{Ask, Key};
use super::pages::{Given, Invalidation, Page, Varying};

/// Times are counted in whole seconds, rounded down.
const ROUNDING_US: u64 = 1_001_000;

/// Longest time from an origin's response to its arrival, or to the refusal of the waiting requests.
const DELAY_US: u64 = 70_000_000;

/// The body that a client has to get.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// The number of the response, if it has one.
    given: Option<usize>,
    pub content: u64,
    pub start: u64,
    pub length: u64,
    /// The origin has sent all of it, or the cache may have it from several answers.
    whole: bool,
}

impl Book {
    fn page(&self, ask: &Ask) -> &Page {
        &self.scenario.pages[ask.shared.page]
    }

    /// The final head of an answer about a page: how does its body end, and what is it?
    pub fn check_shared(
        &mut self,
        key: Key,
        status: u16,
        head: &Head,
        now_us: u64,
    ) -> Checked<(Framing, Share)> {
        let record = self.record(key);
        let wrong = |what: &str| format!("{key}: {what} in {head:?} for {:?}", record.ask);
        if !self.is_allowed(key) {
            return Err(wrong("an answer in spite of the policy"));
        }
        let hop_by_hop = ["keep-alive", "proxy-connection", "te", "upgrade"];
        let hops = hop_by_hop.iter().any(|name| head.get(name).is_some());
        if hops || head.get("date").is_none() || head.get("via").is_none() {
            return Err(wrong("a wrong head"));
        }
        let number = head.get("x-given").and_then(|number| number.parse::<usize>().ok());
        let (framing, share, shared) = match number.and_then(|number| self.sayings.given.get(number)) {
            Some(given) => {
                let (framing, share) = self
                    .check_given(record, given, status, head)
                    .map_err(|what| wrong(&format!("{what} (given {given:?}, now {now_us})")))?;
                (framing, Share { given: number, ..share }, given.key != key)
            }
            None => {
                self.check_bare(record, status, head).map_err(wrong)?;
                (Framing::None, Share { given: None, content: 0, start: 0, length: 0, whole: true }, true)
            }
        };
        self.check_cookies(key, head).map_err(wrong)?;
        self.note_change(key, number, now_us);
        self.guarding.check_passed(key, now_us)?;
        let tally = &mut self.tally;
        tally.shared += u64::from(shared);
        tally.parts += u64::from(shared && status == 206);
        tally.unmodified += u64::from(shared && status == 304);
        Ok((framing, share))
    }

    /// A cookie is for the client of its request, unless it was stored with a whole response or a part: a cookie of a
    /// 304, or of the response to a HEAD, reaches no other client.
    fn check_cookies(&self, key: Key, head: &Head) -> Result<(), &'static str> {
        for cookie in head.all("set-cookie") {
            let number = cookie.strip_prefix("c=").and_then(|number| number.parse::<usize>().ok());
            let given =
                number.and_then(|number| self.sayings.given.get(number)).ok_or("a cookie of nobody's")?;
            if given.key != key && (given.status == 304 || given.bare) {
                return Err("a cookie of another client");
            }
        }
        Ok(())
    }

    /// An answer that says which one it is.
    fn check_given(
        &self,
        record: &Record,
        given: &Given,
        status: u16,
        head: &Head,
    ) -> Result<(Framing, Share), &'static str> {
        let ask = &record.ask;
        let direct = given.key == ask.key;
        // The received bytes of a truncated response are a part, which may have been completed with a strong tag (RFC
        // 9111 sections 3.3 and 3.4). Wrong bytes are recognized by their content.
        let is_strong = given.tag.as_ref().is_some_and(|tag| !tag.starts_with("W/"));
        let complete = given.whole || (!direct && is_strong);
        let (content, length) = (given.content, given.length);
        let whole = Share { given: None, content, start: 0, length, whole: complete };
        let nothing = Share { length: 0, whole: true, ..whole };
        if given.page != ask.shared.page {
            return Err("the answer for another page");
        }
        if !direct {
            self.may_have(given, record)?;
            let age_s = head.get("age").and_then(|age| age.parse::<u64>().ok()).ok_or("no Age")?;
            let age_us = self.age_us(given, record);
            if age_s * 1_000_000 + self.rounding_us(given) < age_us {
                return Err("too low an Age");
            }
        }
        if status == 304 {
            // The origin's own answer to a condition of the client's own.
            let asked = ask.shared.has.is_some() && given.status == 304;
            return if asked { Ok((Framing::None, nothing)) } else { Err("a 304 to nothing") };
        }
        let stored = if matches!(given.status, 304 | 206) { 200 } else { given.status };
        let framing = head.framing().map_err(|_| "two lengths")?;
        if ask.method == "HEAD" {
            let fits = framing.is_none_or(|framing| framing == Framing::Length(given.length));
            let fits = fits || framing == Some(Framing::Chunked);
            return if status == stored && fits {
                Ok((Framing::None, nothing))
            } else {
                Err("a wrong length")
            };
        }
        let share = match status {
            206 => {
                let (start, length) = ask.shared.part(given.length).ok_or("a part that is not there")?;
                let range = format!("bytes {start}-{}/{}", start + length - 1, given.length);
                if head.get("content-range") != Some(&range) || ask.method != "GET" {
                    return Err("another part");
                }
                let tag = ask.shared.if_range.map(|version| self.page(ask).tag(ask, version));
                if tag.is_some() && tag != given.tag {
                    return Err("a part of another version");
                }
                Share { start, length, whole: complete || !direct, ..whole }
            }
            _ if status == stored => whole,
            _ => return Err("another status"),
        };
        let bodiless = framing.is_none() && !ask.http10;
        match framing {
            Some(Framing::Length(length)) if length != share.length => Err("another length"),
            None if bodiless => Err("no length"),
            Some(Framing::Chunked) if ask.http10 => Err("chunks for HTTP/1.0"),
            _ => Ok((framing.unwrap_or(Framing::UntilClose), share)),
        }
    }

    /// A 304 or 416 of the cache's own: there must be something that it can be about.
    fn check_bare(&self, record: &Record, status: u16, head: &Head) -> Result<(), &'static str> {
        let ask = &record.ask;
        let page = self.page(ask);
        let mut known = self.sayings.given.iter().rev().filter(|given| {
            given.page == ask.shared.page
                && matches!(given.status, 200 | 206 | 304)
                && (given.key == ask.key || self.may_have(given, record).is_ok())
        });
        match (status, ask.shared.has) {
            (304, Some(version)) if page.tagging != super::pages::Tagging::None => {
                let tag = page.tag(ask, version);
                let said = head.get("etag").is_none_or(|said| said == tag);
                let known = known.any(|given| given.tag.as_ref() == Some(&tag));
                if said && known { Ok(()) } else { Err("a 304 about nothing that it may have") }
            }
            (304, Some(version)) => {
                let known = known.any(|given| given.modified && given.version <= version);
                if known { Ok(()) } else { Err("a 304 about nothing so old") }
            }
            (416, None) if ask.shared.range.is_some() => {
                let range = head.get("content-range").unwrap_or_default();
                let length = range.strip_prefix("bytes */").and_then(|length| length.parse::<u64>().ok());
                let known = known
                    .any(|given| Some(given.length) == length && ask.shared.part(given.length).is_none());
                if known { Ok(()) } else { Err("a 416 about nothing that it may have") }
            }
            _ => Err("an answer of nobody's"),
        }
    }

    /// The least age of that response for a request: its age at the time of the request.
    fn age_us(&self, given: &Given, record: &Record) -> u64 {
        let began_us = record.began_us.unwrap_or(0);
        given.says.age_s * 1_000_000 + began_us.saturating_sub(given.made_us)
    }

    /// The largest error of a correct cache about an age.
    fn rounding_us(&self, given: &Given) -> u64 {
        let from_us = self.record(given.key).began_us.unwrap_or(0);
        let until_us = given.made_us + DELAY_US;
        let steps = &self.sayings.set_back_us;
        match steps.last() {
            // While it was under way: how long that took is counted on the clock that was set.
            Some(_) if steps.iter().any(|at| (from_us..=until_us).contains(at)) => DELAY_US,
            // The time before it came and that since are rounded each by itself.
            Some(last) if *last > until_us => 2 * ROUNDING_US,
            Some(_) | None => ROUNDING_US,
        }
    }

    fn lifetime_us(&self, given: &Given) -> u64 {
        let says = &given.says;
        let guessed = given.may_be_heuristic().then_some(self.scenario.heuristic_max_s);
        let lifetime_s = says.s_maxage_s.or(says.max_age_s).or(says.expires_s).or(guessed).unwrap_or(0);
        lifetime_s * 1_000_000
    }

    /// Whether the origin cannot be had, or could not just now.
    fn is_unreachable(&self, record: &Record) -> bool {
        let host = &self.scenario.hosts[record.ask.host];
        let since_us = record.began_us.unwrap_or(0).saturating_sub(DELAY_US);
        let failed =
            |given: &Given| given.page == record.ask.shared.page && !given.clean && given.made_us >= since_us;
        !self.scenario.strict
            || !host.steady
            || self.draining
            || record.raced
            || record.ask.shared.poison
            || (!self.page(&record.ask).clean && self.sayings.given.iter().rev().any(failed))
    }

    /// Whether a response to another client may be sent to this request, by the record of the request.
    fn may_have(&self, given: &Given, record: &Record) -> Result<(), &'static str> {
        let (says, ask) = (&given.says, &record.ask);
        let (page, wants) = (self.page(ask), &ask.shared);
        let began_us = record.began_us.unwrap_or(0);
        if given.page != wants.page {
            return Err("the answer for another page");
        }
        if says.no_store || says.private || given.withheld {
            return Err("another client's response, which was not to be stored");
        }
        if given.pinned {
            return Err("another client's response, over a connection of its own");
        }
        if given.authorized && !says.is_for_all() {
            return Err("another client's response, whose request had credentials");
        }
        match page.varying {
            _ if !given.varies => {}
            Varying::Nothing => {}
            Varying::Anything => return Err("another client's response in spite of Vary: *"),
            Varying::Field if given.variant == wants.seen_variant() => {}
            Varying::Field => return Err("another variant"),
        }
        let gone = |one: &Invalidation| {
            one.page.is_none_or(|page| page == given.page)
                && one.seen_us < began_us
                && given.made_us < one.made_us
        };
        if self.sayings.invalidations.iter().any(gone) {
            return Err("what had been invalidated");
        }
        self.is_fresh_enough(given, record)
    }

    fn is_fresh_enough(&self, given: &Given, record: &Record) -> Result<(), &'static str> {
        let (says, wants) = (&given.says, &record.ask.shared);
        let newer = given.made_us >= record.began_us.unwrap_or(0);
        if says.no_cache || (wants.no_cache && !newer) {
            return Err("what had to be validated");
        }
        // In favour of what is served: the age is at least so much.
        let age_us = self.age_us(given, record).saturating_sub(self.rounding_us(given));
        let lifetime_us = self.lifetime_us(given);
        let (fresh, stale_us) = (age_us < lifetime_us, age_us.saturating_sub(lifetime_us));
        let within = |window: Option<u64>| window.is_some_and(|window_s| stale_us <= window_s * 1_000_000);
        let young = match wants.max_age_s {
            None => true,
            Some(0) => newer,
            Some(max_age_s) => age_us < (max_age_s + 1) * 1_000_000,
        };
        let lasting =
            wants.min_fresh_s.is_none_or(|min_fresh_s| age_us + min_fresh_s * 1_000_000 <= lifetime_us);
        if fresh && young && lasting {
            return Ok(());
        }
        let may_be_stale = fresh || !says.forbids_stale();
        let refreshed = wants.max_age_s.is_none() && lasting && within(says.while_revalidate_s);
        let accepted = young && lasting && within(wants.max_stale_s);
        let failed = self.is_unreachable(record) && says.if_error_s.is_none();
        let error = |given: &Given| given.key == record.ask.key && given.is_error();
        let failing = self.is_unreachable(record) || self.sayings.given.iter().rev().any(error);
        let replaced = failing && (fresh && says.if_error_s.is_some() || within(says.if_error_s));
        match may_be_stale && (refreshed || accepted || failed || replaced) {
            true => Ok(()),
            false if says.forbids_stale() => Err("what must not be used stale"),
            false => Err("what is stale"),
        }
    }

    /// A request that changes its page has been answered: earlier responses are invalid.
    fn note_change(&mut self, key: Key, number: Option<usize>, now_us: u64) {
        let Some(given) = number.and_then(|number| self.sayings.given.get(number)) else { return };
        let safe = matches!(self.record(key).ask.method, "GET" | "HEAD");
        if safe || given.key != key || given.status >= 400 {
            return;
        }
        let page = Some(given.page);
        self.sayings.invalidations.push(Invalidation { page, made_us: given.made_us, seen_us: now_us });
        self.tally.changes += 1;
    }

    /// weir says that it has forgotten.
    pub fn note_purge(&mut self, key: Key, now_us: u64) {
        let record = self.record(key);
        let page = Some(record.ask.shared.page).filter(|_| !record.ask.shared.purge_all);
        let made_us = record.began_us.unwrap_or(0);
        self.sayings.invalidations.push(Invalidation { page, made_us, seen_us: now_us });
    }

    /// Everything was purged.
    pub fn note_purge_of_all(&mut self, now_us: u64) {
        self.sayings.invalidations.push(Invalidation { page: None, made_us: now_us, seen_us: now_us });
    }

    /// The client has a complete answer.
    pub fn check_share_whole(&mut self, key: Key, share: &Share, payload: u64) -> Checked<()> {
        if !share.whole || payload != share.length {
            return Err(format!("{key}: {payload} bytes look complete, of {share:?}"));
        }
        self.tally.answered += 1;
        if self.failure_reason(self.record(key)).is_none() {
            self.tally.owed += 1;
        }
        Ok(())
    }

    /// A client of that loop begins to read a response, or has left it in the middle.
    pub fn note_reader(&mut self, share: &Share, at: usize, leaves: bool) {
        let given = share.given.and_then(|number| self.sayings.given.get_mut(number));
        if let Some(given) = given.filter(|given| !given.sent) {
            given.loops |= 1 << at;
            given.left |= leaves;
        }
    }

    /// The responses that clients of several loops have read while they arrived.
    pub fn note_together(&mut self) {
        for given in self.sayings.given.iter().filter(|given| given.loops.count_ones() > 1) {
            let what = [true, given.left, !given.whole];
            self.tally.together.iter_mut().zip(what).for_each(|(count, is)| *count += u64::from(is));
        }
    }

    /// weir says that it will close.
    pub fn check_close_shared(&self, key: Key) -> Checked<()> {
        let record = self.record(key);
        let ask = &record.ask;
        let told =
            !ask.keeps || ask.http10 || ask.body != Framing::None || self.failure_reason(record).is_some();
        if told { Ok(()) } else { Err(format!("{key}: closed without a reason: {record:?}")) }
    }

    /// An origin is asked about a page.
    pub fn check_page_asked(&self, key: Key, head: &Head) -> Checked<()> {
        let ask = &self.record(key).ask;
        let seen = ask.shared.seen_variant();
        let variant = Some(format!("v{seen}")).filter(|_| seen > 0);
        let user = ask.shared.user.map(|user| format!("Sim u{user}"));
        let given = head.all("authorization").find(|value| value.starts_with("Sim "));
        if head.get("x-variant") != variant.as_deref() || given != user.as_deref() {
            return Err(format!("{key}: a wrong head {head:?} for {ask:?}"));
        }
        // A page that was sent stale is renewed by a background request; what is looked at on its way passes the cache by.
        let from_origin = self.page(ask).is_renewed() || self.guarding.taps();
        if ask.shared.only_if_cached && !from_origin {
            return Err(format!("{key}: an origin was asked for {ask:?}"));
        }
        Ok(())
    }
}
