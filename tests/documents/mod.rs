//! What documents and comments say, checked against the sources.

use super::{expect_none, files, names, package, relative};

/// Comments name clients, peers, loops and users: a reader has to know which of them is meant.
#[test]
fn comments_name_their_subjects() {
    let vague = ["nobody", "somebody", "anybody", "everybody", "whoever"];
    let mut wrong = Vec::new();
    for folder in ["src", "tests", "benches", "examples"] {
        for path in files(folder).into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs")) {
            let text = std::fs::read_to_string(&path).expect("a source");
            for (number, line) in text.lines().enumerate() {
                let comment = line.split_once("//").map_or("", |(_, comment)| comment).to_lowercase();
                if vague.iter().any(|word| names(&comment, word)) {
                    wrong.push(format!("{}:{}: {}", relative(&path), number + 1, line.trim()));
                }
            }
        }
    }
    expect_none("comments without a subject", &wrong);
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
