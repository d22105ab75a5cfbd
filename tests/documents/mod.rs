//! What documents and comments say, checked against the sources.

use super::{CORE, IMPORTS, bare_code, expect_none, files, names, package, relative, sources};
use std::collections::BTreeSet;

/// Comments name clients, peers, loops and users: a reader has to know which of them is meant.
#[test]
fn comments_name_their_subjects() {
    let mut wrong = Vec::new();
    for folder in ["src", "tests", "benches", "examples"] {
        for path in files(folder).into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs")) {
            let text = std::fs::read_to_string(&path).expect("a source");
            for (number, line) in text.lines().enumerate() {
                let comment = line.split_once("//").map_or("", |(_, comment)| comment).to_lowercase();
                if is_vague(&comment) {
                    wrong.push(format!("{}:{}: {}", relative(&path), number + 1, line.trim()));
                }
            }
        }
    }
    expect_none("comments without a subject", &wrong);
}

/// So do documents.
#[test]
fn documents_name_their_subjects() {
    let own = ["README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md", "benches/README.md"];
    let mut all: Vec<_> = files("docs").iter().map(|path| relative(path)).collect();
    all.extend(own.map(str::to_owned));
    let mut wrong = Vec::new();
    for path in all.iter().filter(|path| path.ends_with(".md")) {
        for (number, line) in
            read(path).lines().enumerate().filter(|(_, line)| is_vague(&line.to_lowercase()))
        {
            wrong.push(format!("{path}:{}: {}", number + 1, line.trim()));
        }
    }
    expect_none("documents without a subject", &wrong);
}

/// Whether a line in lower case has a word that leaves open who is meant.
fn is_vague(line: &str) -> bool {
    let vague = ["nobody", "somebody", "anybody", "everybody", "anyone", "someone", "everyone", "whoever"];
    vague.iter().any(|word| names(line, word))
}

/// The reference of options is what `weir help all` prints. `UPDATE_DOCS=1 cargo test --test tidy` writes it anew.
#[test]
fn the_reference_of_options_is_current() {
    let help = weir::config::help::help_on("all").expect("a topic");
    let text = format!(
        "# Options\n\nWhat `weir help all` prints. Each option is a key of the configuration file (`port 8080`) and a variable\n\
         (`WEIR_PORT=8080`) as well; `weir help TOPIC` says more.\n\n```\n{}\n```\n",
        help.trim_end()
    );
    let path = package().join("docs/options.md");
    if weir::config::options::TABLE.iter().any(|spec| spec.missing.is_some()) {
        return; // The reference is that of the whole daemon.
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &text).expect("docs/options.md can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == text, "docs/options.md is not current: run UPDATE_DOCS=1 cargo test --test tidy");
}

fn read(path: &str) -> String {
    std::fs::read_to_string(package().join(path)).expect(path)
}

/// The names in backticks.
fn quoted(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// What stands between two texts of a document.
fn between<'t>(text: &'t str, start: &str, end: &str) -> &'t str {
    let after = text.split_once(start).expect(start).1;
    after.split_once(end).expect(end).0
}

/// The folders and files of `src/` that have a place in the plan.
fn rooms() -> BTreeSet<String> {
    IMPORTS.iter().map(|(room, _)| (*room).to_owned()).chain(["ffi".to_owned()]).collect()
}

/// Each list of the core in a document names the rooms that the tests of the core read.
#[test]
fn documents_name_the_core() {
    let (security, contributing, architecture) =
        (read("SECURITY.md"), read("CONTRIBUTING.md"), read("docs/architecture.md"));
    let row = contributing.lines().find(|line| line.contains("| the core: ")).expect("a row for the core");
    let sentence = architecture.lines().find(|line| line.contains(" are the core.")).expect("a sentence");
    let core: BTreeSet<String> = CORE.iter().map(|room| (*room).to_owned()).collect();
    assert_eq!(quoted(between(&security, "The core (", ")")), core, "SECURITY.md");
    assert_eq!(quoted(between(row, "| ", " | the core: ")), core, "CONTRIBUTING.md");
    assert_eq!(quoted(between(sentence, "", " are the core.")), core, "docs/architecture.md");
}

/// Each place that may be unsafe is on the list that users read, and no other one.
#[test]
fn documents_name_the_unsafe_places() {
    let allowed =
        sources().into_iter().filter(|source| bare_code(&source.text).contains("allow(unsafe_code)"));
    let allowed: BTreeSet<String> = allowed
        .map(|source| source.path.strip_suffix("/mod.rs").unwrap_or(&source.path).to_owned())
        .collect();
    let security = read("SECURITY.md");
    let list = between(&security, "except in ", "Tests fail if");
    let listed = list.lines().filter_map(|line| {
        quoted(line.strip_prefix("- ")?).into_iter().find(|name| name.starts_with("src/"))
    });
    assert_eq!(listed.collect::<BTreeSet<_>>(), allowed, "SECURITY.md");
}

/// Every room has a row in each table of rooms.
#[test]
fn documents_name_every_room() {
    let first = |line: &str| Some(quoted(line.strip_prefix("| ")?.split_once(" | ")?.0));
    let rows = |text: &str| text.lines().filter_map(first).flatten().collect::<BTreeSet<_>>();
    let listed = |line: &str| Some(quoted(line.strip_prefix("//! - ")?.split_once(": ")?.0));
    let known = [
        ("docs/architecture.md", rows(between(&read("docs/architecture.md"), "## Rooms", "## Machines"))),
        ("CONTRIBUTING.md", rows(between(&read("CONTRIBUTING.md"), "## The map", "## Style"))),
        ("src/lib.rs", read("src/lib.rs").lines().filter_map(listed).flatten().collect()),
    ];
    let mut wrong = Vec::new();
    for (document, named) in known {
        let named: BTreeSet<_> =
            named.iter().map(|name| name.strip_suffix(".rs").unwrap_or(name).to_owned()).collect();
        wrong.extend(rooms().difference(&named).map(|room| format!("{document}: {room}")));
    }
    expect_none("rooms that a document does not name", &wrong);
}

/// Each counter of a bound or a time-out has a row, or a sentence, in the page about limits.
#[test]
fn limits_name_every_counter() {
    let (tables, limits) = (read("src/metrics/tables.rs"), read("docs/limits.md"));
    let of_bounds = |name: &&str| name.starts_with("limit_") || name.starts_with("timeouts_");
    let counters = tables.lines().filter_map(|line| line.trim_start().split_once(": ")).map(|(name, _)| name);
    let counters: Vec<_> = counters.filter(of_bounds).collect();
    assert!(counters.len() > 30, "{counters:?}");
    let missing = counters.into_iter().filter(|name| !limits.contains(&format!("`{name}`")));
    expect_none(
        "counters that docs/limits.md does not name",
        &missing.map(str::to_owned).collect::<Vec<_>>(),
    );
}

/// The page about the log names each key of the formats weir and json.
#[test]
fn the_page_of_the_log_names_every_field() {
    let (format, page) = (read("src/log/format.rs"), read("docs/log.md"));
    let code = format.split_once("\nuse ").expect("code behind the comment").1;
    let keys = |start: &str, end: &str| {
        let behind = code.match_indices(start).map(|(at, _)| &code[at + start.len()..]);
        let key = |rest: &str| {
            let key = rest.split(|c: char| !c.is_ascii_lowercase() && c != '_').next()?;
            (!key.is_empty() && rest[key.len()..].starts_with(end)).then(|| key.to_owned())
        };
        behind.filter_map(key).collect::<BTreeSet<_>>()
    };
    let columns = keys("b\" ", "=").into_iter().map(|key| format!("`{key}=`"));
    let members = keys("\\\"", "\\\":").into_iter().chain(keys("write_json_text(out, b\"", "\""));
    let all: BTreeSet<_> = columns.chain(members.map(|key| format!("`{key}`"))).collect();
    assert!(all.len() > 30, "{all:?}");
    let missing: Vec<_> = all.into_iter().filter(|key| !page.contains(key.as_str())).collect();
    expect_none("fields that docs/log.md does not name", &missing);
}
