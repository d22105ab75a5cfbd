//! Pages of weir's own: a handler and a store that see everything.
//!
//! A form without the token of its session must not reach the handler, nor the session of one visitor another one. The store has
//! the sessions in memory, or is shared: then it is late, lies, says nothing, and is away. It knows which sessions it was told to
//! keep, and whether it has said that it does.

use super::book::Checked;
use super::dice::Dice;
use super::network::Network;
use super::visitor::Visitor;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use weir::callback::Answer;
use weir::engine::{Callbacks, StoreJob};
use weir::guard::store::StoreFailure;
use weir::guard::values::{ValueAnswer, ValueRequest, Values};
use weir::pages::{Ask, OwnPages, PageReply, PageRequest, Pages, TOKEN_FIELD};

/// The host of the pages.
pub const HOST: &str = "pages.sim";

/// The text of the value that a page asks for.
pub const STEADY: &str = "steady";

/// What the handler has seen.
#[derive(Debug, Default)]
struct Seen {
    handled: HashSet<String>,
    wrong: Option<String>,
}

impl Seen {
    fn blame(&mut self, what: &str, request: &PageRequest<'_>) {
        self.wrong.get_or_insert(format!("{what}: {request:?}"));
    }
}

/// How the store behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// In memory, at once.
    Memory,
    /// Shared: late, lying, silent, away.
    Shared,
}

pub struct Site {
    seen: Arc<Mutex<Seen>>,
    pages: OwnPages,
    values: Values,
    /// Sessions that the store has said to keep.
    kept: HashSet<Box<str>>,
    /// Of each save under way: the session.
    saves: HashMap<(usize, u64), Box<str>>,
    dice: Dice,
    keeping: Keeping,
    pub visitors: Vec<Visitor>,
    /// Nothing disturbs the visitors: each answer is known.
    pub exact: bool,
    /// The guard may refuse.
    pub guarded: bool,
    /// Pages that were answered, forms that were refused, and requests that failed because the store did.
    pub tally: [u64; 3],
}

impl Site {
    pub fn new(visitors: u32, keeping: Keeping, exact: bool, guarded: bool, mut dice: Dice) -> Site {
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let sees = Arc::clone(&seen);
        let handler =
            move |request: &mut PageRequest<'_>| handle(&mut sees.lock().expect("what was seen"), request);
        let mut values = Values::new(10_000, 1 << 24, [dice.next(), dice.next()]);
        let steady = ValueRequest::Add { key: "weir:steady".into(), payload: STEADY.into() };
        values.answer(&steady);
        Site {
            seen,
            pages: OwnPages::new(Pages::new(handler).host(HOST), &[dice.below(200) as u8; 32]),
            values,
            kept: HashSet::new(),
            saves: HashMap::new(),
            visitors: (0..visitors).map(|number| Visitor::new(number, &mut dice)).collect(),
            dice,
            keeping,
            exact,
            guarded,
            tally: [0; 3],
        }
    }

    /// What the engines are told.
    pub fn callbacks(&mut self) -> Callbacks {
        let pages = std::mem::replace(&mut self.pages, OwnPages::new(Pages::new(|_| nothing()), &[0; 32]));
        Callbacks { pages: weir::part::pages::share(pages), ..Callbacks::default() }
    }

    pub fn is_shared(&self) -> bool {
        self.keeping == Keeping::Shared
    }

    /// A loop asks the store: what it will say, and after which time.
    pub fn ask(
        &mut self,
        (number, job): (usize, StoreJob),
        request: &ValueRequest,
        is_away: bool,
    ) -> Vec<(u64, ValueAnswer)> {
        match request {
            ValueRequest::Save { key, .. } => drop(self.saves.insert((number, job.to_bits()), key.clone())),
            ValueRequest::Delete { key } => drop(self.kept.remove(key)),
            ValueRequest::Load { .. } | ValueRequest::Add { .. } => {}
        }
        if self.keeping == Keeping::Memory {
            let after_us = self.dice.pick(&[1, 10, 1_000]);
            return vec![(after_us, self.values.answer(request))];
        }
        match if is_away { self.dice.pick(&[13, 15]) } else { self.dice.below(20) } {
            0..=11 => vec![(self.dice.pick(&[1, 1_000, 20_000, 49_000]), self.values.answer(request))],
            12 => vec![(self.dice.pick(&[51_000, 300_000, 5_000_000]), self.values.answer(request))],
            13 => Vec::new(),
            14 => {
                // The value is saved, and its answer is lost.
                self.values.answer(request);
                Vec::new()
            }
            15 | 16 => vec![(1, ValueAnswer::Failed(StoreFailure::Unreachable))],
            17 => vec![(500, ValueAnswer::Absent), (900, self.values.answer(request))],
            _ => vec![(500, self.lie())],
        }
    }

    /// A payload that no session has.
    fn lie(&mut self) -> ValueAnswer {
        let payload = match self.dice.below(5) {
            0 => return ValueAnswer::Done,
            1 => return ValueAnswer::Taken,
            2 => serde_json::json!(7),
            3 => serde_json::json!({"data": {"owner": "a liar"}, "expires_at": "never"}),
            _ => serde_json::json!({"data": ["a liar"], "expires_at": 1e12}),
        };
        ValueAnswer::Found(payload)
    }

    /// An answer reaches a loop.
    pub fn note_told(&mut self, number: usize, job: StoreJob, answer: &ValueAnswer) {
        let saved = self.saves.remove(&(number, job.to_bits()));
        if !matches!(answer, ValueAnswer::Failed(_)) {
            self.kept.extend(saved);
        }
    }

    /// Whether the store has said to keep the session.
    pub fn keeps(&self, cookie: &str) -> bool {
        self.kept.contains(format!("sess:{cookie}").as_str())
    }

    /// When each visitor arrives.
    pub fn arrivals(&mut self, within_us: u64) -> Vec<(u32, u64)> {
        let numbers = 0..self.visitors.len() as u32;
        numbers.map(|number| (number, self.dice.between(0, within_us))).collect()
    }

    pub fn send(&mut self, number: u32, net: &mut Network) {
        // A token that is right for another visitor.
        let at = self.dice.below(self.visitors.len());
        let others = self.visitors[at].token().filter(|_| at != number as usize);
        let exact = self.exact;
        self.visitors[number as usize].send(net, exact, others);
    }

    pub fn read(&mut self, number: u32, net: &mut Network) -> Checked<()> {
        let gone = Visitor::new(number, &mut self.dice);
        let mut visitor = std::mem::replace(&mut self.visitors[number as usize], gone);
        let read = visitor.read(net, self);
        self.visitors[number as usize] = visitor;
        read
    }

    /// All visitors have left.
    pub fn check_end(&self) -> Checked<()> {
        self.check()?;
        match self.visitors.iter().find(|visitor| !visitor.done) {
            Some(visitor) => Err(format!("nobody told visitor {visitor:?}")),
            None => Ok(()),
        }
    }

    /// What the handler has found wrong.
    pub fn check(&self) -> Checked<()> {
        let seen = self.seen.lock().expect("what was seen");
        seen.wrong.clone().map_or(Ok(()), Err)
    }
}

fn nothing() -> PageReply {
    PageReply::Answer(Answer { status: 404, ..Answer::default() })
}

/// The pages: each tells for whom and for what it is.
fn handle(seen: &mut Seen, request: &mut PageRequest<'_>) -> PageReply {
    let field = |name| request.field(name).map(|value| String::from_utf8_lossy(value).into_owned());
    let (visitor, length) = (field("x-visitor").unwrap_or_default(), field("x-length"));
    let number = request.parameter("n").unwrap_or_default();
    if request.told.is_none() && !seen.handled.insert(number.clone()) {
        seen.blame("handled twice", request);
    }
    if request.session.get("owner").is_some_and(|owner| owner != visitor) {
        seen.blame("the session of another visitor", request);
    }
    let posts = request.session.get("posts").and_then(|posts| posts.parse::<u64>().ok()).unwrap_or(0);
    if request.method == "POST" {
        let sent = request.form(TOKEN_FIELD);
        if sent.is_none() || sent.as_deref() != request.session.get(TOKEN_FIELD) {
            seen.blame("a form without the token of its session", request);
        }
        if length != Some(request.body.len().to_string()) {
            seen.blame("a form that is not whole", request);
        }
        request.session.set("posts", &(posts + 1).to_string());
    }
    let mut fields = vec![("X-Page".to_owned(), number.clone())];
    match (request.path, request.told) {
        ("/form", _) => {
            request.session.set("owner", &visitor);
            fields.push(("X-Token".to_owned(), request.session.token()));
        }
        ("/renew", _) => {
            request.session.renew();
            fields.push(("X-Token".to_owned(), request.session.token()));
        }
        ("/ask", None) => return PageReply::Ask(Ask::Get { name: "steady".to_owned() }),
        ("/ask", Some(told)) => fields.push(("X-Told".to_owned(), format!("{told:?}"))),
        (_, _) => {}
    }
    let posts = request.session.get("posts").unwrap_or("0").to_owned();
    fields.push(("X-Posts".to_owned(), posts));
    PageReply::Answer(Answer { status: 200, fields, body: format!("page {number}").into_bytes() })
}
