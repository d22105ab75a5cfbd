//! Structural rules, checked against the sources: imports between rooms, names that the core must not use.

mod documents;
mod length;
mod packaging;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Rooms and the rooms that each may import: `main, daemon, ffi -> embed -> shell -> engine -> { policy, guard, gateway, cache,
/// resolver, metrics } -> http -> net`; `time`, `part`, `text`, `nearest`, `words` are for all, `config`, `log` the shell's, `sandbox` the
/// daemon's, `random` for rooms from `config` and the shell on.
const IMPORTS: [(&str, &str); 23] = [
    ("random", ""),
    ("time", ""),
    ("part", ""),
    ("text", ""),
    ("nearest", ""),
    ("words", "nearest"),
    ("sandbox", ""),
    ("net", "time"),
    ("http", "time net"),
    ("policy", "time part words http net"),
    ("guard", "time part text nearest words http net"),
    ("cache", "time part http net"),
    ("resolver", "time http net"),
    ("gateway", "time part nearest words http net"),
    ("metrics", "time http net"),
    ("engine", "time part text net http policy guard gateway cache resolver metrics"),
    ("log", "time text net http engine"),
    ("config", "time part text random nearest words net http policy guard gateway cache resolver engine log"),
    ("shell", "time part text random net http policy guard gateway cache resolver metrics engine log config"),
    (
        "embed",
        "time part text random net http policy guard gateway cache resolver metrics engine log config shell",
    ),
    ("ffi", "embed metrics"),
    ("daemon", "embed config log sandbox"),
    ("main", "daemon embed config log"),
];

/// The rooms that touch no socket, file, clock, thread or randomness.
const CORE: [&str; 14] = [
    "time", "part", "text", "nearest", "words", "net", "http", "policy", "guard", "gateway", "cache",
    "resolver", "metrics", "engine",
];

/// Names that the core must not use.
#[rustfmt::skip]
const FORBIDDEN: [&str; 26] = [
    "std::net::Tcp", "std::net::Udp", "std::net::ToSocketAddrs", "TcpStream", "TcpListener", "UdpSocket", "std::fs", "stdin", "stdout",
    "stderr", "println", "eprintln", "std::os", "std::env", "std::process", "std::thread", "std::sync::mpsc",
    "Instant", "SystemTime", "RandomState", "mio", "socket2", "rustix", "getrandom", "signal_hook", "env_logger",
];

/// What the core must not know either: state of the process, mappings, the allocator. Comments count, too.
const OF_THE_PROCESS: [&str; 13] = [
    "static",
    "OnceLock",
    "LazyLock",
    "thread_local",
    "memmap2",
    "mmap",
    "libc",
    "std::alloc",
    "GlobalAlloc",
    "malloc",
    "malloc_trim",
    "mallopt",
    "M_MMAP_THRESHOLD",
];

/// Files of the core that name one of these all the same, and why.
const KNOWING: [(&str, &str, &str); 2] = [
    ("src/net/mapping.rs", "memmap2", "the one place that maps memory: of no file, and bounded by the owner"),
    (
        "src/cache/store/memory_budget.rs",
        "M_MMAP_THRESHOLD",
        "a budget of resident memory has to estimate what an allocation takes",
    ),
];

struct Source {
    /// Relative to the package.
    path: String,
    text: String,
    /// Without comments, strings and test code.
    code: String,
}

impl Source {
    /// The folder (or file) right below `src/`.
    fn room(&self) -> &str {
        let below = self.path.strip_prefix("src/").unwrap_or("");
        let first = below.split('/').next().unwrap_or("");
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// Its path as a module.
    fn module(&self) -> Vec<String> {
        let below = self.path.strip_prefix("src/").unwrap_or("");
        let path = below.strip_suffix(".rs").unwrap_or(below);
        path.strip_suffix("/mod").unwrap_or(path).split('/').map(str::to_owned).collect()
    }
}

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![package().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(package()).unwrap_or(path).to_string_lossy().into_owned()
}

fn sources() -> Vec<Source> {
    let rust = files("src").into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs"));
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a source file");
        let path = relative(&path);
        let code = if is_test_file(&path) { String::new() } else { without_tests(&bare_code(&text)) };
        Source { path, text, code }
    };
    let all: Vec<_> = rust.map(read).collect();
    assert!(all.len() > 10, "no sources were found");
    all
}

/// Test code that has a file of its own, by its name.
fn is_test_file(path: &str) -> bool {
    path.split('/').any(|part| part == "tests" || part == "tests.rs" || part.ends_with("_tests.rs"))
}

/// Blanks comments and the insides of strings and character literals, keeping every line where it is.
fn bare_code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => until(&chars, at, |rest| rest[0] == '\n'),
            '/' if chars.get(at + 1) == Some(&'*') => {
                until(&chars, at + 2, |rest| rest.starts_with(&['*', '/'])) + 2
            }
            '"' => string_end(&chars, at),
            'r' if is_raw_string(&chars, at) => raw_string_end(&chars, at),
            '\'' => char_end(&chars, at),
            _ => at,
        };
        if end == at {
            out.push(chars[at]);
            at += 1;
            continue;
        }
        let end = end.min(chars.len());
        out.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    out
}

fn until(chars: &[char], from: usize, found: impl Fn(&[char]) -> bool) -> usize {
    (from..chars.len()).find(|&at| found(&chars[at..])).unwrap_or(chars.len())
}

fn string_end(chars: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

fn is_raw_string(chars: &[char], at: usize) -> bool {
    let hashes = chars[at + 1..].iter().take_while(|&&c| c == '#').count();
    let part_of_word =
        at > 0 && (chars[at - 1].is_alphanumeric() && chars[at - 1] != 'b' || chars[at - 1] == '_');
    !part_of_word && chars.get(at + 1 + hashes) == Some(&'"')
}

fn raw_string_end(chars: &[char], at: usize) -> usize {
    let hashes = chars[at + 1..].iter().take_while(|&&c| c == '#').count();
    let closing: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    until(chars, at + 2 + hashes, |rest| rest.starts_with(&closing)) + closing.len()
}

/// The end of a character literal, or the place itself for a lifetime.
fn char_end(chars: &[char], at: usize) -> usize {
    match (chars.get(at + 1), chars.get(at + 2)) {
        (Some('\\'), _) => until(chars, at + 3, |rest| rest[0] == '\'') + 1,
        (Some(_), Some('\'')) => at + 3,
        _ => at,
    }
}

/// Blanks every item behind `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    while let Some(start) = out.find("#[cfg(test)]") {
        let rest = &out[start..];
        let end = match (rest.find('{'), rest.find(';')) {
            (Some(brace), semicolon) if semicolon.is_none_or(|semicolon| brace < semicolon) => {
                closing(rest, brace)
            }
            (_, Some(semicolon)) => semicolon + 1,
            _ => rest.len(),
        };
        let blank: String = rest[..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        out.replace_range(start..start + end, &blank);
    }
    out
}

fn closing(text: &str, brace: usize) -> usize {
    let mut depth = 0;
    for (at, byte) in text.bytes().enumerate().skip(brace) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    text.len()
}

/// Whether `name` stands in `line` as a path or word of its own.
fn names(line: &str, name: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(name).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + name.len()..].chars().next();
        // `std::net::Tcp` is the beginning of several words.
        !before.is_some_and(word)
            && (name.ends_with("Tcp") || name.ends_with("Udp") || !after.is_some_and(word))
    })
}

/// Every path in `code` that begins with `start`, without it; groups in braces are written out. `super` of a module that
/// stands in the file is the file.
fn paths(code: &str, start: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let opened =
        code.match_indices("mod ").filter_map(|(at, _)| Some((at, code[at..].find(['{', ';'])? + at)));
    let inner = opened.filter(|&(_, end)| code[end..].starts_with('{'));
    let inner: Vec<_> = inner.map(|(at, brace)| at..brace + closing(&code[brace..], 0)).collect();
    let start = format!("{start}::");
    for (at, _) in code.match_indices(&start) {
        let before = code[..at].chars().next_back();
        let is_inner = start == "super::" && inner.iter().any(|inner| inner.contains(&at));
        // `pub(in crate::engine)` imports nothing.
        let is_inner = is_inner || code[..at].ends_with("(in ");
        if !is_inner && !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            write_out(&code[at + start.len()..], &[], &mut found);
        }
    }
    found
}

fn write_out(text: &str, before: &[String], found: &mut Vec<Vec<String>>) {
    let text = text.trim_start();
    if text.starts_with('{') {
        let mut depth = 0;
        let top = |c: char| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            depth == 0 && c == ','
        };
        let group = &text[1..closing(text, 0).saturating_sub(1)];
        group.split(top).filter(|one| !one.trim().is_empty()).for_each(|one| write_out(one, before, found));
        return;
    }
    let name: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let rest = &text[name.len()..];
    let path: Vec<String> =
        before.iter().cloned().chain([name].into_iter().filter(|name| !name.is_empty())).collect();
    match rest.strip_prefix("::") {
        Some(rest) => write_out(rest, &path, found),
        None => found.push(path),
    }
}

/// The rooms that the code names.
fn imported(code: &str, root: &str) -> BTreeSet<String> {
    paths(code, root).into_iter().filter_map(|path| path.into_iter().next()).collect()
}

/// The files of one room, and which of them import which. A `pub use` is no import: it is the face of a folder, and who
/// imports from there imports from the file behind it.
#[derive(Default)]
struct Imports {
    edges: BTreeMap<Vec<String>, BTreeSet<Vec<String>>>,
    shown: BTreeMap<Vec<String>, Vec<String>>,
}

impl Imports {
    fn of(sources: &[&Source]) -> Imports {
        let mut all = Imports::default();
        let mut rest = Vec::new();
        for source in sources {
            let (own, inside) = (source.module(), &source.code);
            let is_shown = |line: &&str| {
                let outside = ["crate::", "super::"].iter().any(|start| line.contains(start));
                line.trim_start().starts_with("pub") && line.contains(" use ") && !outside
            };
            let (shown, others): (Vec<&str>, Vec<&str>) = inside.split_inclusive(';').partition(is_shown);
            for statement in shown {
                let (_, what) = statement.split_once(" use ").unwrap_or_default();
                let mut found = Vec::new();
                write_out(what, &[], &mut found);
                for path in found {
                    let name = [own.clone(), path.last().cloned().into_iter().collect()].concat();
                    all.shown.insert(name, [own.clone(), path].concat());
                }
            }
            all.edges.insert(own.clone(), BTreeSet::new());
            rest.push((own, others.concat()));
        }
        for (own, code) in rest {
            let mut named: Vec<Vec<String>> = paths(&code, "crate");
            named.extend(
                paths(&code, "super").into_iter().map(|path| [vec!["super".to_owned()], path].concat()).map(
                    |path| {
                        let ups = path.iter().take_while(|name| *name == "super").count();
                        [&own[..own.len().saturating_sub(ups)], &path[ups..]].concat()
                    },
                ),
            );
            let children =
                all.edges.keys().filter(|other| other.len() == own.len() + 1 && other.starts_with(&own));
            for child in children {
                let name = &child[own.len()];
                named.extend(paths(&code, name).into_iter().map(|path| [child.clone(), path].concat()));
            }
            let targets = named.into_iter().filter_map(|path| all.file(path)).filter(|file| *file != own);
            let targets = targets.collect();
            all.edges.insert(own, targets);
        }
        all
    }

    /// The file that a path leads to, if it is one of the room.
    fn file(&self, mut path: Vec<String>) -> Option<Vec<String>> {
        let behind = (1..=path.len()).find_map(|len| Some((len, self.shown.get(&path[..len])?)));
        if let Some((len, behind)) = behind {
            path = [behind.clone(), path[len..].to_vec()].concat();
        }
        while !path.is_empty() && !self.edges.contains_key(&path) {
            path.pop();
        }
        (!path.is_empty()).then_some(path)
    }

    fn reached(&self, from: &Vec<String>) -> BTreeSet<Vec<String>> {
        let mut reached = BTreeSet::new();
        let mut next = vec![from];
        while let Some(file) = next.pop() {
            next.extend(self.edges[file].iter().filter(|other| reached.insert((*other).clone())));
        }
        reached
    }

    /// The imports that make a circle.
    fn inside(&self, circle: &BTreeSet<Vec<String>>) -> Vec<String> {
        let both = |file: &Vec<String>| {
            let others = self.edges[file].intersection(circle);
            others.map(|other| format!("  {} -> {}", file.join("::"), other.join("::"))).collect::<Vec<_>>()
        };
        circle.iter().flat_map(both).collect()
    }

    /// Files that import each other, over however many others: a group for each circle.
    fn circles(&self) -> BTreeSet<BTreeSet<Vec<String>>> {
        let reached: BTreeMap<_, _> = self.edges.keys().map(|file| (file, self.reached(file))).collect();
        let circle = |file: &Vec<String>| {
            reached[file]
                .iter()
                .filter(|other| reached[*other].contains(file))
                .cloned()
                .collect::<BTreeSet<_>>()
        };
        self.edges.keys().map(circle).filter(|circle| !circle.is_empty()).collect()
    }
}

#[track_caller]
fn expect_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

/// Imports point to the right only, and siblings do not import each other.
#[test]
fn imports_point_to_the_right() {
    let mut wrong = Vec::new();
    for source in sources() {
        let Some((room, allowed)) = IMPORTS.iter().find(|(room, _)| *room == source.room()) else { continue };
        let root = if ["main", "daemon"].contains(room) { "weir" } else { "crate" };
        for name in imported(&source.code, root) {
            let is_room = IMPORTS.iter().any(|(known, _)| *known == name);
            if is_room && name != *room && !allowed.split(' ').any(|one| one == name) {
                wrong.push(format!("{} imports {name}", source.path));
            }
        }
    }
    expect_none("imports that do not point to the right", &wrong);
}

/// Files of one room do not import each other in a circle.
#[test]
fn files_of_a_room_import_in_one_direction() {
    let sources = sources();
    let mut wrong = Vec::new();
    for room in sources.iter().map(Source::room).collect::<BTreeSet<_>>() {
        let files: Vec<_> = sources.iter().filter(|source| source.room() == room).collect();
        let imports = Imports::of(&files);
        let inside = |circle: &BTreeSet<Vec<String>>| imports.inside(circle);
        wrong.extend(imports.circles().iter().flat_map(inside));
    }
    expect_none("files that import each other in a circle", &wrong);
}

/// Every folder of `src/` is a room of the plan, so that none escapes the other tests.
#[test]
fn every_room_is_known() {
    let known = |name: &str| IMPORTS.iter().any(|(room, _)| *room == name) || name == "lib";
    let unknown: BTreeSet<_> =
        sources().iter().map(|source| source.room().to_owned()).filter(|r| !known(r)).collect();
    expect_none("rooms without a place in the plan", &unknown.into_iter().collect::<Vec<_>>());
}

/// The core names no socket, file, clock, thread or randomness.
#[test]
fn core_is_pure() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| CORE.contains(&source.room())) {
        for (number, line) in source.code.lines().enumerate() {
            for name in FORBIDDEN.iter().filter(|name| names(line, name)) {
                wrong.push(format!("{}:{}: {name}", source.path, number + 1));
            }
        }
    }
    expect_none("sockets, files, clocks, threads or randomness in the core", &wrong);
}

/// The core has no state of the process, and knows one kind of mapping and nothing of the allocator.
#[test]
fn core_is_of_no_process() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| CORE.contains(&source.room()) && !source.code.is_empty()) {
        for (number, (line, code)) in source.text.lines().zip(source.code.lines()).enumerate() {
            // The lifetime, and the word in a comment, are none.
            let code = code.replace("'static", "");
            for name in OF_THE_PROCESS {
                let is_named = names(&code, name) || name != "static" && names(line, name);
                let is_known = KNOWING.iter().any(|(path, known, _)| *path == source.path && *known == name);
                if is_named && !is_known {
                    wrong.push(format!("{}:{}: {name}", source.path, number + 1));
                }
            }
        }
    }
    for (path, name, _) in KNOWING {
        let text = std::fs::read_to_string(package().join(path)).unwrap_or_default();
        if !text.lines().any(|line| names(line, name)) {
            wrong.push(format!("{path} is on the list, and does not name {name}"));
        }
    }
    expect_none("process-wide state, mappings or the allocator in the core", &wrong);
}

/// Nothing in the core is unsafe, not even its tests.
#[test]
fn core_is_safe() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| CORE.contains(&source.room())) {
        for (number, line) in
            bare_code(&source.text).lines().enumerate().filter(|(_, line)| names(line, "unsafe"))
        {
            wrong.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
        }
    }
    expect_none("unsafe in the core", &wrong);
}

/// httparse accepts more than this proxy does, so its one caller is the file that checks heads.
#[test]
fn httparse_has_one_caller() {
    let callers: Vec<_> = sources()
        .iter()
        .filter(|source| source.path != "src/http/head.rs" && names(&source.code, "httparse"))
        .map(|source| source.path.clone())
        .collect();
    expect_none("httparse outside of src/http/head.rs", &callers);
}

/// Nothing is left for later, and no test is switched off.
#[test]
fn nothing_is_left_for_later() {
    // Spelt in two parts, so that this file does not find itself.
    let marks = [
        "TO\u{44}O",
        "FIX\u{4d}E",
        "XX\u{58}",
        "HAC\u{4b}",
        "to\u{64}o!(",
        "unimplemente\u{64}!(",
        "#[ign\u{6f}re",
    ];
    let mut wrong = Vec::new();
    for folder in ["src", "tests", "benches", "examples", "scripts", "config", ".ci"] {
        for path in files(folder) {
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            for (number, line) in text.lines().enumerate() {
                if marks.iter().any(|mark| line.contains(mark)) {
                    wrong.push(format!("{}:{}: {}", relative(&path), number + 1, line.trim()));
                }
            }
        }
    }
    expect_none("marks of unfinished work", &wrong);
}

/// Every numbered rule of the rule book has a test that names it.
#[test]
fn every_rule_has_a_test() {
    let mut text = String::new();
    for path in files("tests") {
        text.push_str(&std::fs::read_to_string(path).unwrap_or_default());
    }
    let missing: Vec<_> = (1..=50)
        .map(|rule| format!("fn rule_{rule:02}_"))
        .filter(|name| !text.contains(name.as_str()))
        .collect();
    expect_none("rules without a test", &missing);
}

/// So has every rule of the cache, beside the code or against the daemon.
#[test]
fn every_rule_of_the_cache_has_a_test() {
    let mut text = String::new();
    for path in files("src/cache").iter().chain(&files("tests/cache")) {
        text.push_str(&std::fs::read_to_string(path).unwrap_or_default());
    }
    let named = |rule: &str| text.contains(&format!("fn rule_{rule}_"));
    let missing: Vec<_> = (1..=59)
        .filter(|rule| !named(&format!("{rule}")) && !named(&format!("{rule:02}")))
        .map(|rule| format!("rule {rule}"))
        .collect();
    expect_none("rules of the cache without a test", &missing);
}

/// Faults that were found by other people's clients and servers are numbered, too: each kind has a test that names it.
#[test]
fn every_kind_of_fault_has_a_test() {
    let mut text = String::new();
    for path in files("src").iter().chain(&files("tests")) {
        text.push_str(&std::fs::read_to_string(path).unwrap_or_default());
    }
    let named = |kind: &str| text.lines().any(|line| line.contains("fn ") && line.contains(kind));
    let missing: Vec<_> =
        (1..=27).map(|kind| format!("kind_{kind:02}_")).filter(|kind| !named(kind)).collect();
    expect_none("kinds of faults without a test", &missing);
}

/// The checks above see what they should, and only that.
#[test]
fn checks_can_fail() {
    let text = "use crate::{http::{a, b}, engine};\n// std::fs\nlet s = \"mio \\\" mio\"; let c = '\"'; // mio\n\
        fn f<'a>(x: &'a str) { crate::policy::go() }\nlet r = r#\"unsafe\"#;\n\
        #[cfg(test)]\nmod tests { fn x() { std::fs::read(); { } } }\nlet t = std::net::TcpStream;\n";
    let code = without_tests(&bare_code(text));
    assert_eq!(imported("use weir::{config, embed::Proxy};", "weir").len(), 2);
    assert_eq!(imported(&code, "crate"), ["engine", "http", "policy"].map(str::to_owned).into());
    assert!(!names(&code, "std::fs") && !names(&code, "mio") && !names(&code, "unsafe"));
    assert!(names(&code, "std::net::Tcp") && names(&code, "TcpStream"));
    assert_eq!(code.lines().count(), text.lines().count());
    assert!(names("use mio::Poll;", "mio") && !names("let premiom = 1;", "mio"));
    assert!(!names("let x: Instantly;", "Instant") && names("Instant::now()", "Instant"));
    assert!(is_test_file("src/policy/acl_tests.rs") && is_test_file("src/http/tests/a.rs"));
    assert!(!is_test_file("src/policy/acl.rs"));
}

/// Circles are found through groups, faces of folders, and other files; children and inner modules are none.
#[test]
fn circles_can_be_found() {
    let source = |path: &str, text: &str| {
        let (path, text) = (format!("src/{path}"), text.to_owned());
        Source { path, code: bare_code(&text), text }
    };
    let mut all = vec![
        source("a/mod.rs", "mod b;\nmod c;\npub use b::{B, other::O};\npub(crate) use c::C;\n"),
        source("a/b.rs", "use super::{C, d::D};\nmod inner { use super::B; }\n"),
        source("a/c.rs", "use crate::{http::X, a::d::{self, D}};\n"),
        source("a/d.rs", "fn f(x: super::B) {}\n"),
    ];
    let found = |all: &[Source]| {
        let circles = Imports::of(&all.iter().collect::<Vec<_>>()).circles();
        circles.iter().flatten().map(|file| file.join("::")).collect::<Vec<_>>()
    };
    assert_eq!(found(&all), ["a::b", "a::c", "a::d"]);
    all[3] = source("a/d.rs", "// super::B\nuse super::e;\n");
    assert!(found(&all).is_empty());
    all[0] = source("a/mod.rs", "mod d;\nfn f() { d::run() }\nstruct S;\n");
    all[3] = source("a/d.rs", "use super::S;\n");
    assert_eq!(found(&all), ["a", "a::d"]);
}
