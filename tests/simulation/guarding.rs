//! The guard: what worlds count and ban, and a model that knows what has to come of it.
//!
//! The model is told when a request begins and when it is seen to have passed or to be refused, and hears what the store is
//! asked and what it says. Where a store counts, the model knows the verdict on each request exactly. Where the process
//! counts by itself, the moment of counting lies between two moments that the model knows: so many requests at least, or at
//! most, were counted by then.

use super::book::Checked;
use super::client::address;
use super::dice::{Dice, mix};
use super::messages::{Ask, Key, Kind};
use super::site::Keeping;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use weir::engine::StoreJob;
use weir::guard::breaker::{Breaker, FAILURES_MAX, PROBE_EVERY_US};
use weir::guard::clouds::Clouds;
use weir::guard::directives::{OnFailure, parse};
use weir::guard::rules::{Counted, Guard, Subject};
use weir::guard::state::{Change, State};
use weir::guard::store::{Answer, Check, EscalationStep, EscalationVerdict, StoreFailure, StoreOrder};
use weir::guard::told::Asker;
use weir::http::target::Host;
use weir::time::Now;

/// How long a request waits for the store, microseconds.
const DEADLINE_US: u64 = 50_000;

/// A deadline may be noticed so late while others have their turns, microseconds (measured: a tenth of that).
const NOTICED_WITHIN_US: u64 = 5_000;

/// Hits of a sliding window have whole milliseconds.
const ROUNDING_US: u64 = 2_000;

/// What a store says of one request.
pub type Answered = Result<Vec<Answer>, StoreFailure>;

/// What has happened in a run, so that it can be seen that something was tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reached {
    /// 429 by a sliding window of the process itself.
    Limited,
    /// 429 because the store said so.
    LimitedByStore,
    /// 429 by a fixed window.
    Over,
    /// 429 by a block.
    Blocked,
    /// 403 by a block for ever.
    BlockedForEver,
    /// 503 without the store.
    Closed,
    /// A request that went on without the store.
    WithoutStore,
    /// 403 by a ban.
    Banned,
    /// A request that went on after a ban had ended.
    AfterBan,
    /// A ban that followed from refusals.
    BannedByLimit,
    /// Tunnels that a ban has cut, and other connections.
    TunnelCut,
    RequestCut,
    /// Breakers that opened, let a probe through, and closed.
    Opened,
    Probed,
    Reclosed,
    /// Answers that came after their deadline.
    Late,
    /// Requests that waited because their client goes at a pace, and 429 because there were too many of them.
    Paced,
    TooManyWait,
    /// Bans that followed from what responses say.
    BannedByResponses,
    /// 400 for an attack, and requests that went on because there was none.
    Attack,
    Inspected,
}

impl Reached {
    pub const ALL: [Reached; 21] = [
        Reached::Limited,
        Reached::LimitedByStore,
        Reached::Over,
        Reached::Blocked,
        Reached::BlockedForEver,
        Reached::Closed,
        Reached::WithoutStore,
        Reached::Banned,
        Reached::AfterBan,
        Reached::BannedByLimit,
        Reached::TunnelCut,
        Reached::RequestCut,
        Reached::Opened,
        Reached::Probed,
        Reached::Reclosed,
        Reached::Late,
        Reached::Paced,
        Reached::TooManyWait,
        Reached::BannedByResponses,
        Reached::Attack,
        Reached::Inspected,
    ];
}

/// What the process itself counts for each address, beside what the store does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Own {
    /// Nothing that can be reached.
    Nothing,
    /// A sliding window.
    Window { limit: usize, window_us: u64 },
    /// A fixed window with blocks.
    Escalation { limit: usize },
    /// Requests beyond the limit go at a pace.
    Pace { limit: usize, interval_us: u64 },
    /// More matching responses than that are a ban.
    Responses { limit: usize },
}

/// The guard of a world, as it is told to the engine.
#[derive(Clone)]
pub struct Plan {
    pub guard: Arc<Guard>,
    text: &'static str,
    policy: Option<OnFailure>,
    /// The store refuses a quarter of what it is asked.
    refuses: bool,
    own: Own,
    /// Operators ban clients.
    pub bans: bool,
    /// What is sent is looked at.
    pub inspects: bool,
    /// The store is away.
    outage: Option<(u64, u64)>,
    changes: Arc<Mutex<Vec<Change>>>,
}

/// Limits that are never reached, whatever the store does: requests go on as if they had not been counted.
const UNREACHED: &str = "limit 60000/1s per client+host\nlimit 1000000/1h per host\n";
/// Counted by the store, for each client and path.
const COUNTED: &str = "limit 60000/1s per client+path\n";
const LIMITED: &str = "limit 5/5s per client\n";
const BANNED: &str = "ban-after limit 3 in 1m for 3s\n";
const PACED: &str = "behaviour usage 4 together action throttle rate 1/4s\n";
/// Nothing waits for so long.
const SLOWED: &str = "behaviour usage 4 together action throttle rate 1/40s\n";
/// Of a body of random bytes nearly every one has this letter.
const TAPPED: &str = "behaviour return e 2 together action ban for 3s\n";
/// Bodies of responses are looked at as well, and nothing comes of it.
const INSPECTED: &str = "detect block\nbehaviour return json:a.b==c 1000 together\n";
const ESCALATED: &str = "escalate 3/10s per client  block 1s after 2  forever after 3 in 24h\n";

impl Plan {
    /// The guard of a world, by chances of its own: all else is as it would be without.
    pub fn draw(dice: &mut Dice, crowded: bool, span_us: u64) -> Option<Plan> {
        use OnFailure::{Closed, Local, Open};
        if !dice.percent(if crowded { 20 } else { 40 }) {
            return None;
        }
        let window = Own::Window { limit: 5, window_us: 5_000_000 };
        // Where there are very many clients, nothing would be left to do but to refuse them.
        let kind = dice.below(if crowded { 2 } else { 16 });
        let (lines, policy, own, refuses, bans): (&[&str], _, _, _, _) = match kind {
            0 => (&[UNREACHED], Some(Local), Own::Nothing, false, false),
            1 => (&[UNREACHED], Some(Open), Own::Nothing, false, false),
            2 | 3 => (&[UNREACHED], None, Own::Nothing, false, true),
            4 | 5 => (&[COUNTED], Some(Closed), Own::Nothing, true, dice.percent(50)),
            6 => (&[COUNTED, LIMITED], Some(Local), window, true, false),
            7 => (&[COUNTED], Some(Open), Own::Nothing, true, dice.percent(50)),
            8 => (&[LIMITED, BANNED], None, window, false, true),
            9 | 10 => (&[ESCALATED], None, Own::Escalation { limit: 3 }, false, dice.percent(30)),
            11 => (&[PACED], None, Own::Pace { limit: 4, interval_us: 4_000_000 }, false, dice.percent(30)),
            12 => (&[SLOWED], None, Own::Pace { limit: 4, interval_us: 40_000_000 }, false, false),
            13 | 14 => (&[TAPPED], None, Own::Responses { limit: 2 }, false, false),
            _ => (&[INSPECTED], None, Own::Nothing, false, false),
        };
        let store = match policy {
            Some(Local) => "store redis://192.0.2.1:6379 deadline 50ms on-failure local\n",
            Some(Open) => "store redis://192.0.2.1:6379 deadline 50ms on-failure open\n",
            Some(Closed) => "store redis://192.0.2.1:6379 deadline 50ms on-failure closed\n",
            None => "",
        };
        let text: &'static str = Box::leak(format!("{}{store}", lines.concat()).into_boxed_str());
        let changes: Arc<Mutex<Vec<Change>>> = Arc::default();
        let heard = Arc::clone(&changes);
        let sink = Box::new(move |change| heard.lock().expect("the changes").push(change));
        let begin = dice.between(0, span_us / 2);
        let outage = dice.percent(50).then(|| (begin, begin + dice.pick(&[500_000, 5_000_000])));
        let guard = Arc::new(guard(text, State::new([5, 6], 10_000, sink)));
        let inspects = kind > 14;
        Some(Plan { guard, text, policy, refuses, own, bans, inspects, outage, changes })
    }

    /// Whether refusals end by the clock on the wall: bans, by operators or for what clients do, and blocks of an escalation.
    pub fn reads_date(&self) -> bool {
        self.bans || matches!(self.own, Own::Responses { .. } | Own::Escalation { .. })
    }

    /// How the sessions of weir's own pages are kept beside it; `None`: the guard would refuse and ban their visitors for what it
    /// counts itself.
    pub fn keeping(&self) -> Option<Keeping> {
        let counts = self.own != Own::Nothing;
        let kept = if self.policy.is_some() { Keeping::Shared } else { Keeping::Memory };
        (!counts).then_some(kept)
    }

    /// The store's key of a request, as a guard of its own finds it.
    fn key(&self, ask: &Ask, authority: &str) -> Option<Box<str>> {
        let twin = guard(self.text, State::new([7, 8], 10_000, Box::new(|_| ())));
        let host = Host::parse(authority.as_bytes()).ok()?;
        let path = ask.path();
        let subject = Subject {
            client: address(ask.key.client).ip(),
            user: b"",
            host: &host,
            path: (!matches!(ask.kind, Kind::Connect | Kind::Own)).then_some(path.as_bytes()),
            method: ask.method,
        };
        let asked = || Asker::by(subject.client);
        match twin.count(&subject, asked, Now::default(), &mut Breaker::default(), &mut Vec::new()) {
            Counted::Ask(question) => question.checks.first().map(|check| key_of(check).into()),
            Counted::Decided(_) => None,
        }
    }
}

fn guard(text: &str, state: State) -> Guard {
    let directives = parse(text.as_bytes()).expect("a guard file");
    Guard::new(&directives, Arc::new(state), &Clouds::default())
}

fn key_of(check: &Check) -> &str {
    match check {
        Check::Window { key, .. } | Check::Escalation { key, .. } => key,
    }
}

/// What has come of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Waits,
    Answered,
    /// The store has failed, or was too late.
    Failed,
}

#[derive(Debug)]
struct Asked {
    at_us: u64,
    fate: Fate,
}

/// The breaker of one loop.
#[derive(Debug, Default)]
struct Circuit {
    failures: u32,
    /// When the next probe may go, while it is open.
    probe_at_us: Option<u64>,
    /// Since when and until when it was open.
    open: Vec<(u64, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Ban {
    ip: IpAddr,
    from_us: u64,
    until_us: u64,
}

/// One request, as it was counted.
#[derive(Debug)]
struct Counting {
    began_us: u64,
    /// By then it was.
    by_us: Option<u64>,
}

/// What is known of one address.
#[derive(Debug, Default)]
struct Known {
    requests: BTreeMap<Key, Counting>,
    /// When those began that were seen to pass, and when that was seen.
    passed: Vec<(u64, u64)>,
    /// Since then, and until then, nothing passes.
    shut: Vec<(u64, u64)>,
}

/// The model.
#[derive(Default)]
pub struct Guarding {
    plan: Option<Plan>,
    /// The store's key of each request.
    keys: HashMap<Key, Box<str>>,
    /// Those of one request alone.
    unique: HashSet<Box<str>>,
    asked: HashMap<(usize, u64), Asked>,
    of_key: HashMap<Box<str>, Vec<(usize, u64)>>,
    due: Vec<VecDeque<(u64, u64)>>,
    circuits: Vec<Circuit>,
    known: HashMap<IpAddr, Known>,
    /// Requests with an attack in them.
    attacks: HashSet<Key>,
    bans: Vec<Ban>,
    /// When time was gone at once.
    jumped_us: u64,
    unjust: Option<String>,
    pub reached: BTreeMap<Reached, u64>,
}

impl Guarding {
    pub fn new(plan: Option<Plan>, loops: usize) -> Guarding {
        Guarding {
            plan,
            due: vec![VecDeque::new(); loops],
            circuits: (0..loops).map(|_| Circuit::default()).collect(),
            ..Guarding::default()
        }
    }

    fn note(&mut self, reached: Reached) {
        *self.reached.entry(reached).or_default() += 1;
    }

    /// A request that will be made.
    pub fn add(&mut self, ask: &Ask, authority: &str) {
        if ask.attacks {
            self.attacks.insert(ask.key);
        }
        let Some(plan) = self.plan.as_ref().filter(|plan| plan.policy.is_some()) else { return };
        let Some(check) = plan.key(ask, authority) else { return };
        if plan.refuses && matches!(ask.kind, Kind::Plain | Kind::Upgrade | Kind::MalformedBody) {
            self.unique.insert(check.clone());
        }
        self.keys.insert(ask.key, check);
    }

    /// Its first byte was sent.
    pub fn begin(&mut self, key: Key, now_us: u64) {
        if self.plan.is_some() {
            let counting = Counting { began_us: now_us, by_us: None };
            self.known.entry(address(key.client).ip()).or_default().requests.insert(key, counting);
        }
    }

    pub fn jump(&mut self, now_us: u64) {
        self.jumped_us = now_us;
    }

    /// What the guard has told since.
    pub fn changes(&self) -> Vec<Change> {
        let changes = self.plan.as_ref().map(|plan| plan.changes.lock().expect("the changes"));
        changes.map(|mut changes| std::mem::take(&mut *changes)).unwrap_or_default()
    }

    /// Bodies of responses are looked at, so that none comes from the cache.
    pub fn taps(&self) -> bool {
        let of_bodies = |plan: &Plan| plan.inspects || matches!(plan.own, Own::Responses { .. });
        self.plan.as_ref().is_some_and(of_bodies)
    }

    /// What is banned, from now on.
    pub fn order(&mut self, order: StoreOrder, now: Now) {
        let StoreOrder::Ban { network, until_unix_ms: Some(until_ms), reason } = order else { return };
        let until_us = now.monotonic_us + (until_ms * 1000).saturating_sub(now.unix_us);
        // The newer word counts: a ban may be shortened.
        let older = self.bans.iter_mut().filter(|ban| ban.ip == network.addr());
        older.for_each(|ban| ban.until_us = ban.until_us.min(now.monotonic_us));
        self.bans.push(Ban { ip: network.addr(), from_us: now.monotonic_us, until_us });
        match &*reason {
            "threshold_exceeded" => self.note(Reached::BannedByLimit),
            "behavioral_violation" => {
                self.note(Reached::BannedByResponses);
                let plan = self.plan.as_ref().map(|plan| plan.own);
                let passed = self.known.get(&network.addr()).map_or(0, |known| known.passed.len());
                let due = matches!(plan, Some(Own::Responses { limit }) if passed > limit);
                self.unjust = (!due).then(|| format!("{network}: a ban after {passed} requests"));
            }
            _ => {}
        }
    }

    /// A ban without a reason.
    pub fn check_bans(&mut self) -> Checked<()> {
        self.unjust.take().map_or(Ok(()), Err)
    }

    pub fn is_banned(&self, ip: IpAddr, now_us: u64) -> bool {
        self.bans.iter().any(|ban| ban.ip == ip && (ban.from_us..ban.until_us).contains(&now_us))
    }

    // The store.

    /// The store is asked by a loop. Returns what it will say and after which time: honest, late, silent, gone, or a lie; it may
    /// say something twice. With each answer comes whether it is one.
    pub fn ask(
        &mut self,
        dice: &mut Dice,
        number: usize,
        job: StoreJob,
        checks: &[Check],
        now_us: u64,
    ) -> Checked<Vec<(u64, Answered, bool)>> {
        let Some(plan) = self.plan.clone().filter(|plan| plan.policy.is_some()) else {
            return Err("a store is asked that is not there".to_string());
        };
        let first = checks.first().ok_or("the store is asked for nothing")?;
        let check: Box<str> = key_of(first).into();
        if self.unique.contains(&check) && self.of_key.contains_key(&check) {
            return Err(format!("{check}: counted twice"));
        }
        self.of_key.entry(check.clone()).or_default().push((number, job.to_bits()));
        let refused = plan.refuses && is_refused(&check);
        self.note_asked(number, job, now_us)?;
        let within = Answer::Window { within: true, left: 7, retry_after_ms: 0 };
        let mut honest = vec![within; checks.len()];
        if let (true, Some(first)) = (refused, honest.first_mut()) {
            *first = Answer::Window { within: false, left: 0, retry_after_ms: 1500 };
        }
        let (answer, is_one, after_us) =
            match if self.is_away(now_us) { dice.pick(&[11, 13, 15]) } else { dice.below(20) } {
                0..=10 => (Ok(honest), true, dice.pick(&[1, 1_000, 20_000, 49_000])),
                11 | 12 => (Ok(honest), true, dice.pick(&[51_000, 80_000, 300_000, 5_000_000])),
                13 | 14 => return Ok(Vec::new()),
                15 | 16 => (Err(StoreFailure::Unreachable), false, 1),
                17 => (Ok([honest, vec![within]].concat()), false, 500),
                18 => (Ok(Vec::new()), false, 500),
                _ => {
                    let verdict = EscalationVerdict::Permanent;
                    let step = EscalationStep { verdict, is_violation: true, next_after_ms: 0 };
                    (Ok(vec![Answer::Escalation(step); checks.len()]), false, 500)
                }
            };
        let times = dice.pick(&[1, 1, 1, 2]);
        Ok((0..times).map(|_| (after_us, answer.clone(), is_one)).collect())
    }

    /// The store is asked, by a circuit that is not open.
    pub fn note_asked(&mut self, number: usize, job: StoreJob, now_us: u64) -> Checked<()> {
        let circuit = &mut self.circuits[number];
        if let Some(probe_at_us) = &mut circuit.probe_at_us {
            if now_us < *probe_at_us {
                return Err("a store is asked whose circuit is open".to_string());
            }
            *probe_at_us = now_us + PROBE_EVERY_US;
            self.note(Reached::Probed);
        }
        self.due[number].push_back((now_us + DEADLINE_US, job.to_bits()));
        let asked = Asked { at_us: now_us, fate: Fate::Waits };
        self.asked.insert((number, job.to_bits()), asked);
        Ok(())
    }

    /// Whether the store is away.
    pub fn is_away(&self, now_us: u64) -> bool {
        let outage = self.plan.as_ref().and_then(|plan| plan.outage);
        outage.is_some_and(|(from, until)| (from..until).contains(&now_us))
    }

    /// An answer arrives.
    pub fn hear(&mut self, number: usize, job: StoreJob, is_one: bool, now_us: u64) {
        let jumped_us = self.jumped_us;
        let Some(asked) = self.asked.get_mut(&(number, job.to_bits())) else { return };
        let is_late = now_us > asked.at_us + DEADLINE_US + NOTICED_WITHIN_US && jumped_us < asked.at_us;
        match asked.fate {
            Fate::Waits if is_one && !is_late => {
                asked.fate = Fate::Answered;
                self.succeeded(number, now_us);
            }
            Fate::Waits => {
                asked.fate = Fate::Failed;
                self.failed(number, now_us);
            }
            Fate::Failed if is_one => self.note(Reached::Late),
            Fate::Failed | Fate::Answered => {}
        }
    }

    /// A loop looks at its deadlines.
    pub fn tick(&mut self, number: usize, now_us: u64) {
        while let Some((_, job)) = self.due[number].front().copied().filter(|(due_us, _)| *due_us <= now_us) {
            self.due[number].pop_front();
            let Some(asked) = self.asked.get_mut(&(number, job)) else { continue };
            if asked.fate == Fate::Waits {
                asked.fate = Fate::Failed;
                self.failed(number, now_us);
            }
        }
    }

    fn failed(&mut self, number: usize, now_us: u64) {
        let circuit = &mut self.circuits[number];
        circuit.failures += 1;
        if circuit.failures >= FAILURES_MAX && circuit.probe_at_us.is_none() {
            circuit.probe_at_us = Some(now_us + PROBE_EVERY_US);
            circuit.open.push((now_us, u64::MAX));
            self.note(Reached::Opened);
        }
    }

    fn succeeded(&mut self, number: usize, now_us: u64) {
        let circuit = &mut self.circuits[number];
        circuit.failures = 0;
        if circuit.probe_at_us.take().is_some() {
            if let Some((_, until_us)) = circuit.open.last_mut() {
                *until_us = now_us;
            }
            self.note(Reached::Reclosed);
        }
    }

    // Requests.

    /// Whether the guard may refuse a request that has begun, or cut it.
    pub fn may_refuse(&self, key: Key) -> bool {
        let Some(plan) = &self.plan else { return false };
        let ip = address(key.client).ip();
        let Some(known) = self.known.get(&ip) else { return false };
        let began_us = known.requests.get(&key).map_or(u64::MAX, |request| request.began_us);
        let own = match plan.own {
            Own::Nothing => false,
            Own::Window { limit, .. }
            | Own::Escalation { limit }
            | Own::Pace { limit, .. }
            | Own::Responses { limit } => known.requests.len() > limit,
        };
        own || self.attacks.contains(&key)
            || plan.policy == Some(OnFailure::Closed)
            || plan.refuses && self.keys.get(&key).is_some_and(|check| is_refused(check))
            || self.bans.iter().any(|ban| ban.ip == ip && ban.until_us >= began_us)
    }

    /// Whether the store has answered a request, and whether one was decided without it.
    fn fates(&self, key: Key, began_us: u64, now_us: u64) -> (bool, bool) {
        let jobs = self.keys.get(&key).and_then(|check| self.of_key.get(check)).into_iter().flatten();
        let fates: Vec<Fate> = jobs.filter_map(|job| Some(self.asked.get(job)?.fate)).collect();
        let is_open = |&(from, until): &(u64, u64)| from <= now_us && began_us <= until;
        let was_open = self.circuits.iter().flat_map(|circuit| &circuit.open).any(is_open);
        (fates.contains(&Fate::Answered), fates.contains(&Fate::Failed) || was_open)
    }

    /// A request is seen to have passed.
    pub fn check_passed(&mut self, key: Key, now_us: u64) -> Checked<()> {
        let Some(plan) = self.plan.clone() else { return Ok(()) };
        let ip = address(key.client).ip();
        let known = self.known.entry(ip).or_default();
        let Some(request) = known.requests.get_mut(&key) else { return Ok(()) };
        let (began_us, first) = (request.began_us, request.by_us.is_none());
        request.by_us.get_or_insert(now_us);
        // What begins in the same moment may have been before.
        let within = |&(from, until): &(u64, u64)| from < began_us && now_us < until;
        if known.shut.iter().any(within) {
            return Err(format!("{key}: passes in spite of a block"));
        }
        if first {
            known.passed.push((began_us, now_us));
        }
        if let Own::Window { limit, window_us } = plan.own {
            let since_us = (now_us + ROUNDING_US).saturating_sub(window_us);
            let recent = known.passed.iter().filter(|(began_us, _)| *began_us > since_us);
            if plan.policy.is_none() && recent.count() > limit {
                return Err(format!("{key}: passes beyond the limit"));
            }
        }
        if let Own::Pace { limit, interval_us } = plan.own {
            // The one that exceeds the limit goes still, and one may have begun a pause before.
            let since_us = known.passed.iter().map(|(began_us, _)| *began_us).min().unwrap_or(now_us);
            let at_most = limit as u64 + 2 + (now_us - since_us) / interval_us;
            if known.passed.len() as u64 > at_most {
                return Err(format!("{key}: passes at once, after {at_most} of its client"));
            }
        }
        if self.attacks.contains(&key) {
            return Err(format!("{key}: an attack passes"));
        }
        let mut of_client = self.bans.iter().filter(|ban| ban.ip == ip);
        if of_client.clone().any(|ban| within(&(ban.from_us, ban.until_us))) {
            return Err(format!("{key}: passes in spite of a ban"));
        }
        if of_client.any(|ban| ban.until_us <= began_us) {
            self.note(Reached::AfterBan);
        }
        if first && plan.inspects {
            self.note(Reached::Inspected);
        }
        let (Some(policy), Some(check)) = (plan.policy, self.keys.get(&key)) else { return Ok(()) };
        let refused = plan.refuses && is_refused(check);
        let (answered, failed) = self.fates(key, began_us, now_us);
        let may = match policy {
            OnFailure::Closed => answered && !refused,
            OnFailure::Open | OnFailure::Local => failed || answered && !refused,
        };
        if !may {
            let how = format!("refused {refused}, answered {answered}, failed {failed}");
            return Err(format!("{key}: passes the store ({how})"));
        }
        if !answered {
            self.note(Reached::WithoutStore);
        }
        Ok(())
    }

    /// A request is seen to have been refused by the guard, for that reason.
    pub fn check_refused(
        &mut self,
        key: Key,
        status: u16,
        word: &str,
        retry_after_s: Option<u64>,
        now_us: u64,
    ) -> Checked<()> {
        let wrong = || format!("{key}: refused by the guard without reason: {status} {word}");
        let plan = self.plan.clone().ok_or_else(wrong)?;
        let ip = address(key.client).ip();
        let known = self.known.entry(ip).or_default();
        let request = known.requests.get_mut(&key).ok_or_else(wrong)?;
        let began_us = request.began_us;
        request.by_us.get_or_insert(now_us);
        // So many requests at most can have been counted.
        let counted = |window_us: u64| {
            let since_us = began_us.saturating_sub(window_us);
            known
                .requests
                .values()
                .filter(|request| request.by_us.is_none_or(|by_us| by_us >= since_us))
                .count()
        };
        let by_own = match plan.own {
            Own::Nothing => false,
            Own::Window { limit, window_us } => counted(window_us) > limit,
            Own::Escalation { limit } | Own::Pace { limit, .. } | Own::Responses { limit } => {
                counted(u64::MAX) > limit
            }
        };
        let paces = matches!(plan.own, Own::Pace { .. });
        let waits = retry_after_s.is_some_and(|seconds| seconds > 0);
        let (answered, failed) = self.fates(key, began_us, now_us);
        let (by_store, in_memory) = match plan.policy {
            Some(_) => (
                plan.refuses && answered && self.keys.get(&key).is_some_and(|check| is_refused(check)),
                false,
            ),
            None => (false, true),
        };
        let escalates = matches!(plan.own, Own::Escalation { .. });
        let was_banned = self.bans.iter().any(|ban| ban.ip == ip && ban.until_us > began_us);
        let (may, reached) = match (status, word) {
            (400, "suspicious") => (plan.inspects && self.attacks.contains(&key), Reached::Attack),
            (403, "banned") => (was_banned, Reached::Banned),
            (429, "throttled") => (waits && paces && by_own, Reached::TooManyWait),
            (429, "rate_limit") if by_store => (waits, Reached::LimitedByStore),
            (429, "rate_limit") => (waits && !escalates && by_own && (in_memory || failed), Reached::Limited),
            (429, "rate_limit_window") => (waits && escalates && by_own, Reached::Over),
            (429, "blocked") => (waits && escalates && by_own, Reached::Blocked),
            (403, "blocked_forever") => (escalates && by_own, Reached::BlockedForEver),
            (503, "guard_store") => {
                (waits && failed && plan.policy == Some(OnFailure::Closed), Reached::Closed)
            }
            _ => (false, Reached::Late),
        };
        if !may {
            return Err(wrong());
        }
        let shut_until_us = match reached {
            Reached::BlockedForEver => u64::MAX,
            Reached::Limited | Reached::Over | Reached::Blocked if in_memory => {
                began_us + retry_after_s.unwrap_or(0).saturating_sub(1) * 1_000_000
            }
            _ => 0,
        };
        self.known.entry(ip).or_default().shut.push((now_us, shut_until_us));
        self.note(reached);
        Ok(())
    }

    /// So many requests of a loop had to wait for their client's pace.
    pub fn note_paced(&mut self, requests: u64) {
        if requests > 0 {
            *self.reached.entry(Reached::Paced).or_default() += requests;
        }
    }

    /// Bans have cut so many connections, of which so many were tunnels.
    pub fn note_cut(&mut self, tunnels: u64, all: u64) {
        *self.reached.entry(Reached::TunnelCut).or_default() += tunnels;
        *self.reached.entry(Reached::RequestCut).or_default() += all.saturating_sub(tunnels);
    }
}

/// Whether the store refuses whatever has that key.
fn is_refused(check: &str) -> bool {
    check.bytes().fold(0, |hash, byte| mix(hash ^ u64::from(byte))) % 4 == 0
}
