//! Looks for attacks in values.

use super::automata::{Automata, Caches};
use super::category::{Categories, Category, Context};
use super::findings::{DetectionResult, Finding, Findings, THREAT_SCORE, View, field_text, preview};
use super::json::leaves;
use super::ordinary_files::{is_address_of_editor, is_mount};
use super::rules::{DetectRules, Mode};
use super::signatures::TABLES;
use super::speech::Shape;
use super::views::Views;
use crate::guard::events::is_secret;
use crate::guard::inspection::{Part, PartKind, is_for_clients, media, takes_query};
use crate::guard::path::{ComparedPath, comparison_form};
use std::sync::{Arc, Mutex, PoisonError};

/// The number of bytes before a chunk of a stream that must be scanned again with the chunk, so that a match across the edge
/// is found (chosen: longer than any attack of the labelled sets).
pub const OVERLAP_BYTES: usize = 512;

/// Depth to which JSON inside of values is walked (guard semantics, section 11).
const JSON_DEPTH_MAX: usize = 32;

/// The compiled signatures and rules. Immutable, and one for all loops.
#[derive(Debug)]
pub struct Detector {
    rules: DetectRules,
    automata: Arc<Automata>,
    /// Buffers that loops have given back.
    spare: Mutex<Vec<Scratch>>,
}

/// Most buffers that are kept for the next request (chosen): a loop needs one at a time, so the total is the number that
/// loops have needed at once.
const SPARE_MAX: usize = 16;

/// Buffers and states of automata, kept by a loop from request to request.
#[derive(Debug, Default)]
pub struct Scratch {
    views: Views,
    caches: Caches,
    /// To which detector the states belong.
    owner: Option<Arc<Automata>>,
    path: Vec<u8>,
}

impl Detector {
    /// Compiles the rules of a guard file. The error is about a pattern of the file; [`check_pattern`](super::check_pattern)
    /// finds it earlier.
    pub fn new(rules: &DetectRules) -> Result<Detector, String> {
        let automata = Arc::new(Automata::new(&TABLES, &rules.patterns)?);
        Ok(Detector { rules: rules.clone(), automata, spare: Mutex::default() })
    }

    /// A detector for other rules that shares the automata. `None` if the patterns differ.
    pub fn with_rules(&self, rules: &DetectRules) -> Option<Detector> {
        let automata = Arc::clone(&self.automata);
        (self.rules.patterns == rules.patterns).then(|| Detector {
            rules: rules.clone(),
            automata,
            spare: Mutex::default(),
        })
    }

    /// The rules of the guard file.
    pub fn rules(&self) -> &DetectRules {
        &self.rules
    }

    /// Lends buffers, and keeps them for the next request.
    pub fn with_scratch<T>(&self, work: impl FnOnce(&mut Scratch) -> T) -> T {
        let kept = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut scratch = kept.unwrap_or_default();
        let done = work(&mut scratch);
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE_MAX {
            spare.push(scratch);
        }
        done
    }

    /// Begins a request for a path (with or without its query), as sent. `None` if nothing is scanned there.
    pub fn begin(&self, path: Option<&[u8]>, scratch: &mut Scratch) -> Option<Findings> {
        if self.rules.mode == Mode::Off {
            return None;
        }
        let form = path.map(|path| comparison_form(path, &mut scratch.path));
        // A path that still has escapes, or has parameters or dot segments, may be another path to the server: no exception
        // applies to it.
        let is_clear = |form: &ComparedPath<'_>| !(form.is_escaped || form.has_parameters || form.has_dots);
        let path = form.filter(is_clear).map(|form| form.bytes);
        if path.is_some_and(|path| self.rules.excludes(path)) {
            return None;
        }
        let covers = |prefix: &Option<Box<str>>| {
            prefix.as_ref().is_none_or(|prefix| path.is_some_and(|path| path.starts_with(prefix.as_bytes())))
        };
        let off = self.rules.off.iter().filter(|line| covers(&line.path));
        let categories = off.fold(Categories::ALL, |on, line| on.without(line.categories));
        let allow = self.rules.allow.iter().enumerate().filter(|(_, line)| covers(&line.path));
        Some(Findings::new(categories, allow.map(|(place, _)| place).collect()))
    }

    /// Whether a request with this result must be refused.
    pub fn refuses(&self, result: DetectionResult) -> bool {
        let is_wrong = match result {
            DetectionResult::Clean => false,
            DetectionResult::Threat(_) => true,
            DetectionResult::Exhausted => self.rules.exhausted_blocks,
        };
        is_wrong && self.rules.mode == Mode::Block
    }

    /// Scans one value and its name. Both may be encoded in any way that occurs in requests; JSON in the value is walked.
    /// Bytes beyond the budget of the request are not scanned, which [`Findings::result`] shows.
    ///
    /// For a stream, call this chunk by chunk, each with the last [`OVERLAP_BYTES`] bytes before it.
    pub fn scan(
        &self,
        context: Context,
        name: &[u8],
        value: &[u8],
        scratch: &mut Scratch,
        findings: &mut Findings,
    ) {
        if context != Context::Header {
            self.scan_name(context, name, scratch, findings);
        }
        self.scan_value(context, name, value, scratch, findings);
    }

    /// Looks at one part of a body.
    pub fn scan_part(&self, part: &Part<'_>, scratch: &mut Scratch, findings: &mut Findings) {
        let known = findings.found().len();
        match part.kind {
            PartKind::Operator => self.note_operator(part.bytes, findings),
            PartKind::Name => self.scan_name(Context::Body, part.bytes, scratch, findings),
            PartKind::Header => self.scan_header(part, scratch, findings),
            PartKind::Value | PartKind::FileName | PartKind::Text => {
                if !media::is_legible_xml(part.bytes) {
                    findings.exhaust();
                }
                self.scan_value(Context::Body, part.field, part.bytes, scratch, findings);
            }
        }
        if part.is_in_secret {
            findings.withhold(known);
        }
    }

    /// Scans the value of a header line of a part of multipart/form-data. A line `allow` names the part, or the header line.
    fn scan_header(&self, part: &Part<'_>, scratch: &mut Scratch, findings: &mut Findings) {
        if part.header.eq_ignore_ascii_case(b"content-type") && !media::is_legible(part.bytes) {
            findings.exhaust();
        }
        let on = self.categories_for(&[part.field, part.header], findings);
        let name = match part.field {
            b"" => part.header.to_vec(),
            field => [field, b":", part.header].concat(),
        };
        self.scan_in(on, (Context::Body, &name), part.bytes, scratch, findings);
    }

    /// Looks at a name alone.
    pub fn scan_name(&self, context: Context, name: &[u8], scratch: &mut Scratch, findings: &mut Findings) {
        let on = self.categories_for(&[name], findings);
        let granted = findings.spend(context, name.len());
        self.scan_text(context, name, &name[..granted], on, scratch, findings);
    }

    /// Scans a value alone: its name was scanned before, or is a word of weir's.
    pub fn scan_value(
        &self,
        context: Context,
        name: &[u8],
        value: &[u8],
        scratch: &mut Scratch,
        findings: &mut Findings,
    ) {
        let on = self.categories_for(&[name], findings);
        self.scan_in(on, (context, name), value, scratch, findings);
    }

    /// Scans a value for these categories.
    fn scan_in(
        &self,
        on: Categories,
        (context, name): (Context, &[u8]),
        value: &[u8],
        scratch: &mut Scratch,
        findings: &mut Findings,
    ) {
        let granted = findings.spend(context, value.len());
        let value = &value[..granted];
        let unescaped = escaped_json(context, value);
        match leaves(unescaped.as_deref().unwrap_or(value), JSON_DEPTH_MAX) {
            Some(texts) => {
                let known = findings.found().len();
                // In a field for queries an operator below a name is a part of the query.
                let is_query =
                    takes_query(name) && texts.first().is_some_and(|first| !first.starts_with(b"$"));
                for text in texts.iter().filter(|text| !(is_query && is_for_clients(text))) {
                    self.scan_text(context, name, text, on, scratch, findings);
                }
                // A key below a key is the same as a path of both.
                if texts.windows(2).any(|pair| pair[0] == b"constructor" && pair[1] == b"prototype") {
                    self.scan_text(context, name, b"constructor.prototype", on, scratch, findings);
                }
                // The texts are shown without the keys that tell which of them are secret.
                if findings.found().len() > known
                    && texts.iter().any(|text| is_secret(&String::from_utf8_lossy(text)))
                {
                    findings.withhold(known);
                }
            }
            None => self.scan_text(context, name, value, on, scratch, findings),
        }
    }

    /// Records a JSON key that is an operator of MongoDB: a threat by itself, if that category is scanned.
    pub fn note_operator(&self, key: &[u8], findings: &mut Findings) {
        if !self.categories_for(&[key], findings).contains(Category::Nosql) {
            return;
        }
        findings.add_value(vec![Finding {
            category: Category::Nosql,
            pattern: "mongodb_operator".into(),
            view: View::Raw,
            score: THREAT_SCORE,
            context: Context::Body,
            field: field_text(key),
            preview: preview(b"", key, 0, key.len()),
        }]);
    }

    /// The categories to scan in a field, which may have several names.
    fn categories_for(&self, names: &[&[u8]], findings: &Findings) -> Categories {
        let lines = findings.allowed.iter().filter_map(|place| self.rules.allow.get(*place));
        let lines = lines.filter(|line| {
            let is_named = |param: &str| names.iter().any(|name| name.eq_ignore_ascii_case(param.as_bytes()));
            line.param.as_deref().is_none_or(is_named)
        });
        lines.fold(findings.categories, |on, line| on.without(Categories::of(line.category)))
    }

    fn scan_text(
        &self,
        context: Context,
        name: &[u8],
        text: &[u8],
        on: Categories,
        scratch: &mut Scratch,
        findings: &mut Findings,
    ) {
        if text.is_empty() || self.rules.patterns.is_empty() && text.iter().all(is_of_numbers) {
            return;
        }
        scratch.belong_to(&self.automata);
        let Scratch { views, caches, owner: _, path: _ } = scratch;
        let plus_is_blank = matches!(context, Context::Query | Context::Body);
        views.fill(text, plus_is_blank);
        if views.is_exhausted {
            findings.exhaust();
        }
        let on = on.without(skipped(context, name, text));
        let mut found: Vec<(usize, Finding)> = Vec::new();
        let is_body = context == Context::Body && name.is_empty();
        let shape = match context {
            Context::Path => Shape::default(),
            Context::Query | Context::Header | Context::Body => {
                Shape::of(views.raw(), views.with_lines(), is_body, plus_is_blank)
            }
        };
        for (view, bytes) in views.distinct() {
            let counts_as = views.stands_for(view);
            self.automata.scan(
                bytes,
                (context.bit(), counts_as, shape.in_view(view != View::Processed)),
                caches,
                |place, signature, range| {
                    let is_known = found.iter().any(|(known, _)| *known == place);
                    if is_known || !on.contains(signature.category) {
                        return;
                    }
                    let finding = Finding {
                        category: signature.category,
                        pattern: signature.name.clone(),
                        view,
                        score: signature.score,
                        context,
                        field: field_text(name),
                        preview: preview(name, bytes, range.start, range.end),
                    };
                    found.push((place, finding));
                },
            );
        }
        views.shrink();
        if !found.is_empty() {
            findings.add_value(found.into_iter().map(|(_, finding)| finding).collect());
        }
    }
}

/// Escaped JSON, as in queries and cookies. `None` if the value is none.
fn escaped_json(context: Context, value: &[u8]) -> Option<Vec<u8>> {
    let (begin, end) = (value.get(..3)?, value.get(value.len() - 3..)?);
    let is_json = begin.eq_ignore_ascii_case(b"%7b") && end.eq_ignore_ascii_case(b"%7d")
        || begin.eq_ignore_ascii_case(b"%5b") && end.eq_ignore_ascii_case(b"%5d");
    let is_escaped = is_json
        || matches!((value[0], value[value.len() - 1]), (b'{', b'}') | (b'[', b']')) && value.contains(&b'%');
    match context {
        Context::Query | Context::Header if is_escaped => Some(unescaped(value, context == Context::Query)),
        Context::Query | Context::Header | Context::Path | Context::Body => None,
    }
}

/// Decodes percent escapes once, and plus signs if they stand for blanks.
fn unescaped(value: &[u8], plus_is_blank: bool) -> Vec<u8> {
    let digit = |at: usize| value.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let (mut out, mut at) = (Vec::with_capacity(value.len()), 0);
    while at < value.len() {
        let (byte, len) = match (value[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => ((high << 4 | low) as u8, 3),
            (b'+', _, _) if plus_is_blank => (b' ', 1),
            (byte, _, _) => (byte, 1),
        };
        out.push(byte);
        at += len;
    }
    out
}

/// Numbers, dates and versions cannot contain an attack.
fn is_of_numbers(byte: &u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'.' | b',' | b':' | b'-')
}

impl Scratch {
    /// Bytes of memory that are kept from request to request.
    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        self.views.heap_bytes() + self.caches.heap_bytes() + self.path.capacity()
    }

    /// States of automata are of use to the automata that made them only.
    fn belong_to(&mut self, automata: &Arc<Automata>) {
        if self.owner.as_ref().is_none_or(|owner| !Arc::ptr_eq(owner, automata)) {
            self.caches = Caches::default();
            self.owner = Some(Arc::clone(automata));
        }
    }
}

/// Fields whose values are addresses by nature: an address there is no sign of request forgery.
const ADDRESS_FIELDS: [&[u8]; 11] = [
    b"host",
    b"origin",
    b"referer",
    b"forwarded",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-server",
    b"x-real-ip",
    b"x-client-ip",
    b"via",
    b"x-original-host",
];

/// Parameters with addresses that a browser opens, not the server. The browser of a developer opens its own host.
const BROWSER_FIELDS: [&[u8]; 15] = [
    b"cancel_url",
    b"frontchannel_logout_uri",
    b"initiate_login_uri",
    b"logout_uri",
    b"origin",
    b"redirect_uri",
    b"redirect_uris",
    b"redirect_url",
    b"redirecturi",
    b"post_logout_redirect_uri",
    b"referrer",
    b"return_url",
    b"returnurl",
    b"success_url",
    b"web_origin",
];

/// Settings that tell a program where it is itself, or what it talks to on the machine of its developer.
const OWN_ADDRESSES: [&[u8]; 12] = [
    b"externalurl",
    b"generatorurl",
    b"apibaseurl",
    b"apiurl",
    b"api_url",
    b"appurl",
    b"app_url",
    b"baseurl",
    b"base_url",
    b"cors",
    b"homepage",
    b"publicurl",
];

/// Lists of such addresses, which are set up and not followed: a device in a house has an inner address.
const BROWSER_LISTS: [&[u8]; 4] =
    [b"redirect_uris", b"post_logout_redirect_uris", b"web_origins", b"allowed_origins"];

/// The address is on the host of the browser (RFC 8252, section 7.3): nothing before or behind the name makes another host of it.
fn is_loopback(address: &[u8]) -> bool {
    let address = unescaped(address, false).to_ascii_lowercase();
    let rest = address.strip_prefix(b"https://").or_else(|| address.strip_prefix(b"http://"));
    let host = rest.and_then(|rest| {
        [&b"localhost"[..], b"127.0.0.1", b"[::1]"].iter().find_map(|host| rest.strip_prefix(*host))
    });
    host.is_some_and(|behind| {
        matches!(behind.first(), None | Some(b':' | b'/' | b'?' | b'#')) && !behind.contains(&b'@')
    })
}

fn skipped(context: Context, name: &[u8], text: &[u8]) -> Categories {
    let is_one_of = |fields: &[&[u8]]| fields.iter().any(|field| name.eq_ignore_ascii_case(field));
    let holds = |word: &[u8]| memchr::memmem::find(text, word).is_some();
    let is_address = match context {
        Context::Header => is_one_of(&ADDRESS_FIELDS),
        Context::Query | Context::Path | Context::Body => {
            is_one_of(&BROWSER_FIELDS) && is_loopback(text)
                || context == Context::Body && is_one_of(&OWN_ADDRESSES) && !holds(b"169.254.")
                || is_one_of(&BROWSER_LISTS) && !holds(b"169.254.")
        }
    };
    if is_address {
        return Categories::of(Category::Ssrf);
    }
    let is_of_editor = || name.len() >= 3 && name[name.len() - 3..].eq_ignore_ascii_case(b"uri");
    if context == Context::Body && is_of_editor() && is_address_of_editor(text) {
        return Categories::of(Category::FileInclusion);
    }
    if context == Context::Body && is_mount(name, text) {
        return Categories::of(Category::SensitiveFile);
    }
    // In a report of a browser, what it did not run.
    let is_sample = context == Context::Body && name == b"script-sample";
    if is_sample { Categories::of(Category::Xss) } else { Categories::default() }
}
