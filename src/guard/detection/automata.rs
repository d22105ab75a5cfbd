//! One pass for the literals of signatures, then the automata of the signatures that may match.

use super::category::Category;
use super::confirm::Confirm;
use super::rules::CustomPattern;
use super::signatures::{ANY_CONTEXT, ANY_VIEW, Signature};
use super::speech::{Shape, Talk};
use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use regex_automata::Input;
use regex_automata::hybrid::regex::{Cache, Regex};
use regex_automata::hybrid::{BuildError, dfa};
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;
use std::collections::BTreeMap;
use std::error::Error;
use std::ops::Range;

/// Most memory of the states of one pattern, read in one direction, in bytes (chosen: the signatures need a tenth of it on
/// the labelled sets). Beyond it states are computed again, which is linear, too.
pub(super) const LAZY_BYTES_MAX: usize = 128 * 1024;

/// Most memory of the states of all patterns in one loop, in bytes (chosen: benign requests need a quarter of it). Beyond it
/// all states are dropped and computed again.
pub(super) const STATES_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Most memory of a compiled pattern, in bytes (chosen): bounds repetitions such as `{1000}`.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;

/// One signature, compiled.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) name: Box<str>,
    pub(super) category: Category,
    pub(super) score: u16,
    pub(super) contexts: u8,
    pub(super) views: u8,
    regex: Regex,
    confirm: Option<Confirm>,
    talk: Talk,
}

/// All signatures of a detector.
#[derive(Debug)]
pub(super) struct Automata {
    signatures: Vec<Compiled>,
    literals: AhoCorasick,
    /// The signatures that need a literal, by the number of the literal.
    needing: Vec<Vec<Need>>,
    /// The lists that must be found before a signature is tried, by its index.
    wanted: Vec<u8>,
    /// Signatures that are tried on everything.
    always: Vec<u16>,
}

/// A signature needs a literal.
#[derive(Clone, Copy, Debug)]
struct Need {
    signature: u16,
    /// [`FIRST`], [`SECOND`] or [`THIRD`]: the list that contains the literal.
    list: u8,
    /// Whether no letter may be before the literal, and none behind it.
    alone: (bool, bool),
}

/// A literal of the first list was found.
const FIRST: u8 = 1;
/// A literal of the second list was found.
const SECOND: u8 = 2;
/// A literal of the third list was found.
const THIRD: u8 = 4;

/// The memory of a loop for the automata: states of the patterns that were tried.
#[derive(Debug, Default)]
pub(super) struct Caches {
    caches: Vec<Option<Cache>>,
    states_bytes: usize,
    found: Vec<u8>,
    touched: Vec<u16>,
}

impl Caches {
    /// Bytes of memory in use.
    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        let states: usize = self.caches.iter().flatten().map(Cache::memory_usage).sum();
        states
            + self.caches.capacity() * size_of::<Option<Cache>>()
            + self.found.capacity()
            + 2 * self.touched.capacity()
    }
}

impl Automata {
    /// Compiles the table and the patterns of the guard file.
    pub(super) fn new(tables: &[&[Signature]], custom: &[CustomPattern]) -> Result<Automata, String> {
        let mut signatures = Vec::new();
        let mut by_literal: BTreeMap<&str, Vec<Need>> = BTreeMap::new();
        let (mut wanted, mut always) = (Vec::new(), Vec::new());
        for signature in tables.iter().copied().flatten() {
            let place = signatures.len() as u16;
            let [second, third] = signature.also;
            for (list, literals) in [(FIRST, signature.literals), (SECOND, second), (THIRD, third)] {
                for literal in literals {
                    let (literal, need) = needed(literal, place, list);
                    by_literal.entry(literal).or_default().push(need);
                }
            }
            let has = |list: &[&str], bit| if list.is_empty() { 0 } else { bit };
            wanted.push(FIRST | has(second, SECOND) | has(third, THIRD));
            signatures.push(Compiled {
                name: signature.name.into(),
                category: signature.category,
                score: signature.score,
                contexts: signature.contexts,
                views: signature.views,
                regex: compile(signature.pattern, false)
                    .map_err(|error| format!("{}: {error}", signature.name))?,
                confirm: signature.confirm,
                talk: signature.talk,
            });
        }
        for pattern in custom {
            always.push(signatures.len() as u16);
            wanted.push(0);
            signatures.push(Compiled {
                name: pattern.name.clone(),
                category: Category::Custom,
                score: super::findings::THREAT_SCORE,
                contexts: ANY_CONTEXT,
                views: ANY_VIEW,
                regex: compile(&pattern.pattern, true)
                    .map_err(|error| format!("{}: {error}", pattern.name))?,
                confirm: None,
                talk: Talk::Never,
            });
        }
        let literals = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::DFA))
            .build(by_literal.keys())
            .map_err(|error| error.to_string())?;
        let needing = by_literal.into_values().collect();
        Ok(Automata { signatures, literals, needing, wanted, always })
    }

    /// Reports each match of a signature for this context and one of these views: at most one for each signature.
    pub(super) fn scan(
        &self,
        text: &[u8],
        (context, views, shape): (u8, u8, Shape<'_>),
        caches: &mut Caches,
        mut found: impl FnMut(usize, &Compiled, Range<usize>),
    ) {
        self.find_literals(text, caches);
        let Caches { caches, states_bytes, found: literals_found, touched } = caches;
        touched.sort_unstable();
        for place in touched.iter().chain(&self.always).map(|place| usize::from(*place)) {
            let signature = &self.signatures[place];
            let has = std::mem::take(&mut literals_found[place]);
            if has != self.wanted[place] || signature.contexts & context == 0 || signature.views & views == 0
            {
                continue;
            }
            let cache = &mut caches[place];
            let before = cache.as_ref().map_or(0, Cache::memory_usage);
            let cache = cache.get_or_insert_with(|| signature.regex.create_cache());
            if let Some(range) = signature.find(text, shape, cache) {
                found(place, signature, range);
            }
            *states_bytes += cache.memory_usage().saturating_sub(before);
            if *states_bytes > STATES_BYTES_MAX {
                caches.iter_mut().for_each(|cache| *cache = None);
                *states_bytes = 0;
            }
        }
    }

    /// Notes for each signature which of its literals are in a text.
    fn find_literals(&self, text: &[u8], caches: &mut Caches) {
        caches.caches.resize_with(self.signatures.len(), || None);
        caches.found.resize(self.signatures.len(), 0);
        caches.touched.clear();
        for literal in self.literals.find_overlapping_iter(text) {
            let is_letter = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_lowercase);
            let before = is_letter(literal.start().checked_sub(1).and_then(|at| text.get(at)));
            let behind = is_letter(text.get(literal.end()));
            for need in &self.needing[literal.pattern().as_usize()] {
                if need.alone.0 && before || need.alone.1 && behind {
                    continue;
                }
                let found = &mut caches.found[usize::from(need.signature)];
                if *found == 0 {
                    caches.touched.push(need.signature);
                }
                *found |= need.list;
            }
        }
    }
}

/// A literal of a table, without its marks: `^` before it and `$` or `~` behind it forbid a letter there.
fn needed(literal: &str, signature: u16, list: u8) -> (&str, Need) {
    let (bare, before) = literal.strip_prefix('^').map_or((literal, false), |bare| (bare, true));
    let (bare, behind) = match bare.strip_suffix('$') {
        Some(bare) if before && !bare.is_empty() => (bare, true),
        Some(_) | None => match bare.strip_suffix('~') {
            Some(bare) if !bare.is_empty() => (bare, true),
            Some(_) | None => (bare, false),
        },
    };
    (bare, Need { signature, list, alone: (before, behind) })
}

impl Compiled {
    /// The first confirmed match. At most [`CONFIRMATIONS_MAX`] matches are tested.
    fn find(&self, text: &[u8], shape: Shape<'_>, cache: &mut Cache) -> Option<Range<usize>> {
        let mut from = 0;
        for _ in 0..CONFIRMATIONS_MAX {
            // The automata have no bytes at which they give up.
            let found = self.regex.try_search(cache, &Input::new(text).range(from..)).ok().flatten()?;
            let is_confirmed = self.confirm.is_none_or(|confirm| confirm(text, found.range()));
            if is_confirmed && !shape.is_talk(self.talk, text, &found.range()) {
                return Some(found.range());
            }
            from = found.end().max(found.start() + 1);
            if from >= text.len() {
                break;
            }
        }
        None
    }
}

/// Most matches of one pattern in one view that are tested by its confirming code (chosen): that code may read the whole
/// text, and the total must stay linear.
const CONFIRMATIONS_MAX: usize = 8;

fn compile(pattern: &str, custom: bool) -> Result<Regex, String> {
    let nfa = thompson::Config::new().utf8(false).nfa_size_limit(Some(PATTERN_BYTES_MAX));
    let states = dfa::Config::new().cache_capacity(LAZY_BYTES_MAX).skip_cache_capacity_check(true);
    // The views are in lower case; patterns of the guard file are read without regard to case.
    let syntax = syntax::Config::new().unicode(false).utf8(false).case_insensitive(custom).multi_line(custom);
    let built = Regex::builder().thompson(nfa).dfa(states).syntax(syntax).build(pattern);
    built.map_err(|error| told(&error))
}

/// Checks a pattern of the guard file; an error contains what was expected.
pub fn check_pattern(pattern: &str) -> Result<(), String> {
    compile(pattern, true).map(|_| ()).map_err(|message| {
        let backwards = ["look-around", "backreference"].iter().any(|word| message.contains(word));
        match backwards {
            true => format!("{message}: expected a pattern without look-around and back-references, which cannot be matched in linear time"),
            false => format!("{message}: expected a regular expression of at most {PATTERN_BYTES_MAX} bytes when compiled"),
        }
    })
}

/// The innermost cause, in one line.
fn told(error: &BuildError) -> String {
    let mut cause: &dyn Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let text = cause.to_string();
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    last.trim().trim_start_matches("error: ").to_owned()
}
