//! A set of name rules: one byte arena, and a hash table of offsets into it.
//!
//! The hash of a name takes its labels from the right. So the hashes of `com` and `example.com` are steps towards the
//! hash of `www.example.com`, and each of them is probed. Depths that no rule has are not probed. Several rules for
//! one name are entries of equal hash; a look-up compares all of them, and the most specific one wins. The hash is
//! keyed, so the author of a public list cannot make names collide.
//!
//! A record in the arena: length of the name, flags, the name, the line (4 bytes), and the first and last port (4
//! bytes, if flagged). The source is not in the record: rules are added source by source, so the offset tells it.
//! Within a source they are added line by line, so a rule can be found by its location: the offsets of some records
//! are kept as bookmarks.

use crate::net::{HashKeys, fold};
use std::io::Write as _;

use hashbrown::HashTable;

use super::location::RuleRef;
use super::port_set::PortRange;
use super::rules::NameKind;
use crate::http::target::{Host, Name};

/// Most bytes of rules in one set: offsets are 32 bits wide.
pub const ARENA_BYTES_MAX: usize = u32::MAX as usize;

/// The expectation that a rule error names when a set is full.
pub(super) const EXPECTED_ROOM: &str = "fewer rules: names take at most 4 GB";

const KIND_MASK: u8 = 0b0011;
const PORTS_FLAG: u8 = 0b0100;
const HEAD_BYTES: usize = 2;
const LINE_BYTES: usize = 4;
const PORTS_BYTES: usize = 4;

/// Bytes of the arena between two bookmarks (chosen: reading that many takes a microsecond, and a bookmark four bytes).
const BOOKMARK_BYTES: u32 = 4096;

/// The result of a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DomainMatch {
    /// The most specific rule for the name and port: longest name, exact before wildcard, fewest ports, first line.
    pub rule: RuleRef,
    /// The rule names exactly this host, without a wildcard.
    pub exact: bool,
    /// An exact rule names exactly this port.
    pub exact_port: bool,
}

/// Collects rules; the hashes are computed when the last rule is known.
#[derive(Debug, Default)]
pub struct DomainSetBuilder {
    arena: Vec<u8>,
    count: usize,
    sources: Vec<(u32, u16)>,
}

impl DomainSetBuilder {
    /// Reserves room for about this many bytes of names, to avoid copies.
    pub fn reserve(&mut self, bytes: usize) {
        self.arena.reserve(bytes.min(ARENA_BYTES_MAX));
    }

    /// Adds a rule. The rules of one source must follow each other. False if the set is full.
    #[must_use]
    pub fn push(&mut self, kind: NameKind, name: &Name, ports: Option<PortRange>, rule: RuleRef) -> bool {
        let name = name.as_bytes();
        let Ok(len) = u8::try_from(name.len()) else { return false };
        let Ok(offset) = u32::try_from(self.arena.len()) else { return false };
        if self.sources.last().is_none_or(|&(_, source)| source != rule.source) {
            self.sources.push((offset, rule.source));
        }
        let kind = match kind {
            NameKind::Exact => 0,
            NameKind::Below => 1,
            NameKind::ApexAndBelow => 2,
        };
        self.arena.extend_from_slice(&[len, if ports.is_some() { kind | PORTS_FLAG } else { kind }]);
        self.arena.extend_from_slice(name);
        self.arena.extend_from_slice(&rule.line.to_le_bytes());
        if let Some(ports) = ports {
            self.arena.extend_from_slice(&ports.first.to_le_bytes());
            self.arena.extend_from_slice(&ports.last.to_le_bytes());
        }
        self.count += 1;
        true
    }

    /// Builds the set. The seed keys its hash.
    pub fn build(mut self, seed: u64) -> DomainSet {
        self.arena.shrink_to_fit();
        let mut set = DomainSet {
            keys: NameHash::new(seed),
            table: HashTable::with_capacity(self.count),
            arena: self.arena,
            sources: self.sources,
            bookmarks: Vec::new(),
            depths: [Depths::default(); 2],
            len: 0,
        };
        set.index_records();
        set
    }
}

/// A set of depths (numbers of labels): bit n for n labels; a name has at most 127 (RFC 1035).
#[derive(Clone, Copy, Debug, Default)]
struct Depths(u128);

impl Depths {
    fn insert(&mut self, labels: usize) {
        self.0 |= 1u128 << labels.min(127);
    }

    fn contains(self, labels: usize) -> bool {
        self.0 & (1u128 << labels.min(127)) != 0
    }
}

/// A set of name rules.
#[derive(Debug)]
pub struct DomainSet {
    keys: NameHash,
    table: HashTable<u32>,
    arena: Vec<u8>,
    sources: Vec<(u32, u16)>,
    /// Offsets of records, about one per [`BOOKMARK_BYTES`].
    bookmarks: Vec<u32>,
    /// Depths of rules for a name itself, and of rules for the names below it.
    depths: [Depths; 2],
    len: usize,
}

impl DomainSet {
    /// Number of rules, without repeated ones.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Heap bytes of the set.
    pub fn heap_bytes(&self) -> usize {
        self.arena.capacity()
            + self.table.allocation_size()
            + self.sources.capacity() * size_of::<(u32, u16)>()
            + self.bookmarks.capacity() * size_of::<u32>()
    }

    /// Appends the text of the rule at a location. If a line has several rules: the first that covers this host, or else the
    /// first. False if there is none.
    pub fn write_rule_at(&self, place: RuleRef, host: &Host, port: u16, out: &mut Vec<u8>) -> bool {
        let record = self.record_at(place, host, port);
        record.as_ref().inspect(|record| record.write(out)).is_some()
    }

    fn record_at(&self, place: RuleRef, host: &Host, port: u16) -> Option<Record<'_>> {
        let at = self.sources.iter().position(|&(_, source)| source == place.source)?;
        let begin = self.sources[at].0;
        let end = self.sources.get(at + 1).map_or(self.arena.len() as u32, |&(next, _)| next);
        let within = self.bookmarks.partition_point(|&mark| mark < begin)
            ..self.bookmarks.partition_point(|&mark| mark < end);
        let within = self.bookmarks.get(within)?;
        let before =
            |&mark: &u32| Record::read(&self.arena, mark).is_some_and(|record| record.line < place.line);
        let passed = within.partition_point(before);
        let mut offset = passed.checked_sub(1).and_then(|at| within.get(at)).copied().unwrap_or(begin);
        let mut first = None;
        while offset < end {
            let record = Record::read(&self.arena, offset)?;
            offset = record.end;
            if record.line > place.line {
                break;
            }
            if record.line == place.line {
                if record.covers(host, port) {
                    return Some(record);
                }
                first.get_or_insert(record);
            }
        }
        first
    }

    /// The most specific rule for this name and port.
    pub fn find(&self, name: &Name, port: u16) -> Option<DomainMatch> {
        if self.is_empty() {
            return None;
        }
        let name = name.as_bytes();
        let mut best: Option<Found> = None;
        self.keys.for_each_suffix(name, |hash, start, labels| {
            let whole = start == 0;
            if self.depths[usize::from(!whole)].contains(labels) {
                // A longer name is more specific, and replaces the match so far.
                best = self.probe(hash, &name[start..], whole, port).or(best);
            }
        });
        best.map(|found| DomainMatch {
            rule: RuleRef { source: self.source_at(found.offset), line: found.line },
            exact: found.exact,
            exact_port: found.exact_port,
        })
    }

    /// All rules for one suffix of the requested name; `whole` if the suffix is the name itself.
    fn probe(&self, hash: u64, suffix: &[u8], whole: bool, port: u16) -> Option<Found> {
        let mut best: Option<Found> = None;
        let mut exact_port = false;
        for &offset in self.table.iter_hash(hash) {
            let Some(record) = Record::read(&self.arena, offset) else { continue };
            let covers = match record.kind {
                NameKind::Exact => whole,
                NameKind::Below => !whole,
                NameKind::ApexAndBelow => true,
            };
            if record.name != suffix || !covers || !record.ports.is_none_or(|ports| ports.contains(port)) {
                continue;
            }
            let exact = matches!(record.kind, NameKind::Exact);
            exact_port |= exact && record.ports.is_some_and(|ports| ports.is_only(port));
            let found = Found {
                exact,
                exact_port: false,
                ports: record.ports.map_or(u32::MAX, PortRange::count),
                offset,
                line: record.line,
            };
            if best.as_ref().is_none_or(|best| found.rank() < best.rank()) {
                best = Some(found);
            }
        }
        best.map(|best| Found { exact_port, ..best })
    }

    fn source_at(&self, offset: u32) -> u16 {
        let after = self.sources.partition_point(|&(from, _)| from <= offset);
        after.checked_sub(1).and_then(|at| self.sources.get(at)).map_or(0, |&(_, source)| source)
    }

    fn index_records(&mut self) {
        let DomainSet { keys, table, arena, depths, bookmarks, .. } = self;
        let mut offset = 0;
        while let Some(record) = Record::read(arena, offset) {
            if bookmarks.last().is_none_or(|mark| offset - mark >= BOOKMARK_BYTES) {
                bookmarks.push(offset);
            }
            let (hash, labels) = keys.hash(record.name);
            let same =
                |&other: &u32| Record::read(arena, other).is_some_and(|other| other.is_duplicate_of(&record));
            if table.find(hash, same).is_none() {
                let rehash =
                    |&other: &u32| Record::read(arena, other).map_or(0, |other| keys.hash(other.name).0);
                table.insert_unique(hash, offset, rehash);
                match record.kind {
                    NameKind::Exact => depths[0].insert(labels),
                    NameKind::Below => depths[1].insert(labels),
                    NameKind::ApexAndBelow => depths.iter_mut().for_each(|depths| depths.insert(labels)),
                }
            }
            offset = record.end;
        }
        self.len = self.table.len();
    }
}

/// The best rule so far for one suffix.
#[derive(Clone, Copy)]
struct Found {
    exact: bool,
    exact_port: bool,
    ports: u32,
    offset: u32,
    line: u32,
}

impl Found {
    /// Smaller is more specific.
    fn rank(&self) -> (bool, u32, u32) {
        (!self.exact, self.ports, self.offset)
    }
}

/// A record of the arena.
struct Record<'a> {
    kind: NameKind,
    name: &'a [u8],
    line: u32,
    ports: Option<PortRange>,
    /// Offset of the next record.
    end: u32,
}

impl<'a> Record<'a> {
    fn read(arena: &'a [u8], offset: u32) -> Option<Record<'a>> {
        let bytes = arena.get(offset as usize..)?;
        let (&[len, flags], rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let (name, rest) = rest.split_at_checked(usize::from(len))?;
        let (line, rest) = rest.split_first_chunk::<LINE_BYTES>()?;
        let ports = if flags & PORTS_FLAG != 0 {
            let &[a, b, c, d] = rest.first_chunk::<PORTS_BYTES>()?;
            Some(PortRange { first: u16::from_le_bytes([a, b]), last: u16::from_le_bytes([c, d]) })
        } else {
            None
        };
        let kind = match flags & KIND_MASK {
            0 => NameKind::Exact,
            1 => NameKind::Below,
            _ => NameKind::ApexAndBelow,
        };
        let bytes = HEAD_BYTES + name.len() + LINE_BYTES + ports.map_or(0, |_| PORTS_BYTES);
        let end = offset.saturating_add(bytes as u32);
        Some(Record { kind, name, line: u32::from_le_bytes(*line), ports, end })
    }

    /// Whether the rule covers this host and port.
    fn covers(&self, host: &Host, port: u16) -> bool {
        let Host::Name(name) = host else { return false };
        self.ports.is_none_or(|ports| ports.contains(port)) && self.kind.covers(self.name, name.as_bytes())
    }

    /// Appends the rule in weir's own form: refusals tell it.
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.kind.prefix().as_bytes());
        out.extend_from_slice(self.name);
        if let Some(ports) = self.ports {
            // Writing into a Vec cannot fail.
            _ = write!(out, ":{ports}");
        }
    }

    /// Whether the other record is the same rule, possibly on another line.
    fn is_duplicate_of(&self, other: &Record<'_>) -> bool {
        self.kind == other.kind && self.ports == other.ports && self.name == other.name
    }
}

/// The keyed hash of names.
#[derive(Clone, Copy, Debug)]
struct NameHash(HashKeys);

impl NameHash {
    fn new(seed: u64) -> NameHash {
        NameHash(HashKeys::new(seed))
    }

    /// Walks through a name from its end and calls `each` at the beginning of each label: with the hash of the name
    /// from there on, the position, and the number of labels.
    ///
    /// A word holds seven bytes, and their number in its upper byte. Only the last word of a label has fewer, so the
    /// positions of the dots change the hash.
    fn for_each_suffix(self, name: &[u8], mut each: impl FnMut(u64, usize, usize)) {
        let HashKeys { start, word: factor, finish } = self.0;
        let (mut hash, mut word, mut filled, mut labels) = (start, 0u64, 0u64, 0);
        for (at, &byte) in name.iter().enumerate().rev() {
            if byte == b'.' {
                labels += 1;
                hash = fold(hash ^ (filled << 56 | word), factor);
                each(fold(hash ^ start, finish), at + 1, labels);
                (word, filled) = (0, 0);
                continue;
            }
            word = word << 8 | u64::from(byte);
            filled += 1;
            if filled == 7 {
                hash = fold(hash ^ (filled << 56 | word), factor);
                (word, filled) = (0, 0);
            }
        }
        hash = fold(hash ^ (filled << 56 | word), factor);
        each(fold(hash ^ start, finish), 0, labels + 1);
    }

    /// The hash of a whole name, and its number of labels.
    fn hash(self, name: &[u8]) -> (u64, usize) {
        let mut whole = (0, 0);
        self.for_each_suffix(name, |hash, _, labels| whole = (hash, labels));
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::rules::{Pattern, Rule};
    use crate::policy::test_numbers::Numbers;

    fn name(text: &str) -> Name {
        Name::parse(text.as_bytes()).unwrap()
    }

    fn set(rules: &[&str]) -> DomainSet {
        let mut builder = DomainSetBuilder::default();
        for (index, text) in rules.iter().enumerate() {
            let rule = Rule::parse(text).unwrap();
            let Pattern::Name(kind, name) = rule.pattern else { panic!("{text}") };
            let rule_ref = RuleRef { source: index as u16 / 10, line: index as u32 };
            assert!(builder.push(kind, &name, rule.ports, rule_ref));
        }
        builder.build(7)
    }

    #[test]
    fn the_most_specific_rule_wins() {
        let rules = [
            ".example.com",
            "*.example.com",
            "www.example.com",
            "www.example.com:443",
            "www.example.com:400-500",
            "*.a.example.com:80",
            "com",
            "*.net",
            "b.net:25",
            "b.net:26",
            ".example.com",
        ];
        let set = set(&rules);
        assert_eq!(set.len(), 10, "the repetition is not kept");
        let cases = [
            ("example.com", 80, Some((0, false, false))),
            ("www.example.com", 80, Some((2, true, false))),
            ("www.example.com", 443, Some((3, true, true))),
            ("www.example.com", 444, Some((4, true, false))),
            ("x.example.com", 80, Some((0, false, false))),
            ("a.example.com", 80, Some((0, false, false))),
            ("x.a.example.com", 80, Some((5, false, false))),
            ("x.a.example.com", 81, Some((0, false, false))),
            ("x.y.z.a.example.com", 80, Some((5, false, false))),
            ("xexample.com", 80, None),
            ("com", 1, Some((6, true, false))),
            ("a.com", 1, None),
            ("net", 1, None),
            ("x.net", 1, Some((7, false, false))),
            ("b.net", 25, Some((8, true, true))),
            ("b.net", 26, Some((9, true, true))),
            ("b.net", 27, Some((7, false, false))),
            ("org", 1, None),
        ];
        for (host, port, expected) in cases {
            let found = set.find(&name(host), port);
            let found = found.map(|found| (found.rule.line, found.exact, found.exact_port));
            assert_eq!(found, expected, "{host}:{port}");
        }
    }

    #[test]
    fn sources_are_told_by_offset() {
        let rules: Vec<String> = (0..35).map(|n| format!("n{n}.example")).collect();
        let set = set(&rules.iter().map(String::as_str).collect::<Vec<_>>());
        for n in 0..35u32 {
            let found = set.find(&name(&format!("n{n}.example")), 80).unwrap();
            assert_eq!(found.rule, RuleRef { source: n as u16 / 10, line: n });
        }
    }

    #[test]
    fn an_empty_set_and_the_longest_names() {
        assert_eq!(DomainSetBuilder::default().build(1).find(&name("a.b"), 80), None);
        let deep = "a.".repeat(126) + "a";
        let set = set(&[&format!("*.{}", &deep[2..]), &deep]);
        assert_eq!(set.find(&name(&deep), 80).map(|found| found.rule.line), Some(1));
        let sibling = format!("b{}", &deep[1..]);
        assert_eq!(set.find(&name(&sibling), 80).map(|found| found.rule.line), Some(0));
        assert_eq!(set.find(&name(&deep[4..]), 80), None);
    }

    #[test]
    fn the_hash_depends_on_seed_and_label_ends() {
        let keys = NameHash::new(1);
        let names = [
            "ab.c",
            "a.bc",
            "abc",
            "a.b.c",
            "c.ab",
            "abcdefgh",
            "abcdefg.h",
            "abcdefg",
            "abcdef.g",
            "a\0",
            "a",
        ];
        for (index, one) in names.iter().enumerate() {
            for other in &names[..index] {
                assert_ne!(keys.hash(one.as_bytes()).0, keys.hash(other.as_bytes()).0, "{one} {other}");
            }
            assert_ne!(keys.hash(one.as_bytes()), NameHash::new(2).hash(one.as_bytes()));
        }
    }

    /// A plain implementation that looks at every rule.
    fn naive(rules: &[Rule], host: &Name, port: u16) -> Option<(u32, bool, bool)> {
        let host_kind = crate::http::target::Host::Name(*host);
        let covering = rules.iter().enumerate().filter(|(_, rule)| rule.matches(&host_kind, port));
        let rank = |rule: &Rule| {
            let Pattern::Name(kind, name) = rule.pattern else { panic!() };
            let ports = rule.ports.map_or(u32::MAX, PortRange::count);
            (usize::MAX - name.as_bytes().len(), kind != NameKind::Exact, ports)
        };
        let is_exact = |rule: &Rule| matches!(rule.pattern, Pattern::Name(NameKind::Exact, _));
        let names_port = |rule: &Rule| is_exact(rule) && rule.ports.is_some_and(|ports| ports.is_only(port));
        let exact_port = covering.clone().any(|(_, rule)| names_port(rule));
        let best = covering.min_by_key(|(index, rule)| (rank(rule), *index));
        best.map(|(index, rule)| (index as u32, is_exact(rule), exact_port))
    }

    #[test]
    fn a_set_agrees_with_looking_at_every_rule() {
        for seed in 0..40 {
            let mut numbers = Numbers::new(seed);
            let labels = ["a", "b", "cc", "abcdefgh", "abcdefghi", "com"];
            let random_name = |numbers: &mut Numbers| {
                let count = 1 + numbers.below(4);
                let parts: Vec<&str> = (0..count).map(|_| labels[numbers.below(labels.len())]).collect();
                parts.join(".")
            };
            let mut rules = Vec::new();
            for _ in 0..numbers.below(300) {
                let prefix = ["", "*.", "."][numbers.below(3)];
                let suffix = ["", "", ":1", ":2", ":1-2", ":2-4"][numbers.below(6)];
                let text = format!("{prefix}{}{suffix}", random_name(&mut numbers));
                rules.push(Rule::parse(&text).unwrap());
            }
            let mut builder = DomainSetBuilder::default();
            for (index, rule) in rules.iter().enumerate() {
                let Pattern::Name(kind, name) = rule.pattern else { panic!() };
                assert!(builder.push(kind, &name, rule.ports, RuleRef { source: 0, line: index as u32 }));
            }
            let set = builder.build(seed);
            for _ in 0..500 {
                let host = name(&random_name(&mut numbers));
                let port = 1 + numbers.below(5) as u16;
                let found = set.find(&host, port);
                let found = found.map(|found| (found.rule.line, found.exact, found.exact_port));
                assert_eq!(found, naive(&rules, &host, port), "seed {seed}: {host}:{port}");
            }
        }
    }
}
