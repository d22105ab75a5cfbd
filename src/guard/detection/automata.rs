//! One pass for the literals that signatures need, then the automata of those that may match.

use super::category::Category;
use super::confirm::Confirm;
use super::rules::CustomPattern;
use super::signatures::{ANY_CONTEXT, ANY_VIEW, Signature};
use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use regex_automata::Input;
use regex_automata::meta::{BuildError, Cache, Config, Regex};
use regex_automata::util::syntax;
use std::collections::BTreeMap;
use std::error::Error;

/// Most memory of the automaton of one pattern in one loop, in bytes (chosen): beyond it the slower automaton takes over, which
/// is linear, too.
const LAZY_BYTES_MAX: usize = 256 * 1024;

/// Most memory that a pattern takes when it is compiled, in bytes (chosen): bounds what `{1000}` may ask for.
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
}

/// All signatures of a detector.
#[derive(Debug)]
pub(super) struct Automata {
    signatures: Vec<Compiled>,
    literals: AhoCorasick,
    /// The signatures that need a literal, by the number of the literal.
    needing: Vec<Vec<u16>>,
    /// Signatures that are tried on everything.
    always: Vec<u16>,
}

/// What a loop keeps for the automata: states of the patterns that were tried.
#[derive(Debug, Default)]
pub(super) struct Caches {
    caches: Vec<Option<Cache>>,
    candidates: Vec<bool>,
    listed: Vec<u16>,
}

impl Automata {
    /// Compiles the table and the patterns of the guard file.
    pub(super) fn new(tables: &[&[Signature]], custom: &[CustomPattern]) -> Result<Automata, String> {
        let mut signatures = Vec::new();
        let mut by_literal: BTreeMap<&str, Vec<u16>> = BTreeMap::new();
        let mut always = Vec::new();
        for signature in tables.iter().copied().flatten() {
            let place = signatures.len() as u16;
            for literal in signature.literals {
                by_literal.entry(literal).or_default().push(place);
            }
            if signature.literals.is_empty() {
                always.push(place);
            }
            signatures.push(Compiled {
                name: signature.name.into(),
                category: signature.category,
                score: signature.score,
                contexts: signature.contexts,
                views: signature.views,
                regex: compile(signature.pattern, false)
                    .map_err(|error| format!("{}: {error}", signature.name))?,
                confirm: signature.confirm,
            });
        }
        for pattern in custom {
            always.push(signatures.len() as u16);
            signatures.push(Compiled {
                name: pattern.name.clone(),
                category: Category::Custom,
                score: super::findings::THREAT_SCORE,
                contexts: ANY_CONTEXT,
                views: ANY_VIEW,
                regex: compile(&pattern.pattern, true)
                    .map_err(|error| format!("{}: {error}", pattern.name))?,
                confirm: None,
            });
        }
        let literals = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(by_literal.keys())
            .map_err(|error| error.to_string())?;
        let needing = by_literal.into_values().collect();
        Ok(Automata { signatures, literals, needing, always })
    }

    /// Tells each match of a signature that is for this context and one of these views: at most one for each signature.
    pub(super) fn scan(
        &self,
        text: &[u8],
        (context, views): (u8, u8),
        caches: &mut Caches,
        mut found: impl FnMut(usize, &Compiled, std::ops::Range<usize>),
    ) {
        let Caches { caches, candidates, listed } = caches;
        caches.resize_with(self.signatures.len(), || None);
        candidates.resize(self.signatures.len(), false);
        listed.clear();
        let mut list = |place: u16| {
            let candidate = &mut candidates[usize::from(place)];
            if !std::mem::replace(candidate, true) {
                listed.push(place);
            }
        };
        self.always.iter().for_each(|place| list(*place));
        for literal in self.literals.find_overlapping_iter(text) {
            self.needing[literal.pattern().as_usize()].iter().for_each(|place| list(*place));
        }
        listed.sort_unstable();
        for place in listed.iter().map(|place| usize::from(*place)) {
            candidates[place] = false;
            let signature = &self.signatures[place];
            if signature.contexts & context == 0 || signature.views & views == 0 {
                continue;
            }
            let cache = caches[place].get_or_insert_with(|| signature.regex.create_cache());
            if let Some(range) = signature.find(text, cache) {
                found(place, signature, range);
            }
        }
    }
}

impl Compiled {
    /// The first match that is confirmed. At most [`CONFIRMATIONS_MAX`] are looked at.
    fn find(&self, text: &[u8], cache: &mut Cache) -> Option<std::ops::Range<usize>> {
        let mut from = 0;
        for _ in 0..CONFIRMATIONS_MAX {
            let found = self.regex.search_with(cache, &Input::new(text).range(from..))?;
            if self.confirm.is_none_or(|confirm| confirm(text, found.range())) {
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

/// Most matches of one pattern in one view that are shown to its confirming code (chosen): it may look at the whole text, and
/// the whole is to stay linear.
const CONFIRMATIONS_MAX: usize = 8;

fn compile(pattern: &str, custom: bool) -> Result<Regex, String> {
    let config = Config::new()
        .utf8_empty(false)
        .dfa(false)
        .nfa_size_limit(Some(PATTERN_BYTES_MAX))
        .hybrid_cache_capacity(LAZY_BYTES_MAX);
    // The views are in lower case; patterns of the guard file are read without regard to case.
    let syntax = syntax::Config::new().unicode(false).utf8(false).case_insensitive(custom).multi_line(custom);
    Regex::builder().configure(config).syntax(syntax).build(pattern).map_err(|error| told(&error))
}

/// What is wrong with a pattern of the guard file, and what was expected.
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
