//! The shape of the sources: no struct has so many fields that it is several things.

use std::path::{Path, PathBuf};

/// Most fields of a struct (chosen).
const FIELDS_MAX: usize = 24;

/// Structs with more: lists of settings and of counters.
const WIDE: [&str; 1] = ["Settings"];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// The structs with named fields that begin at the left margin, and how many fields each has.
fn structs(text: &str) -> Vec<(String, usize)> {
    let (mut found, mut inside) = (Vec::new(), false);
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let begins = words.iter().position(|word| *word == "struct").filter(|_| !line.starts_with(' '));
        match begins {
            Some(at) if line.ends_with('{') => {
                let name = words.get(at + 1).copied().unwrap_or_default();
                let name = name.split(['<', '{', '(']).next().unwrap_or_default();
                found.push((name.to_owned(), 0));
                inside = true;
            }
            Some(_) | None if line == "}" => inside = false,
            Some(_) | None => {}
        }
        let field = line.strip_prefix("    ").filter(|rest| inside && !rest.starts_with([' ', '/', '#']));
        let name =
            field.and_then(|field| field.split_once(": ")).and_then(|(name, _)| name.split(' ').next_back());
        if let (Some(_), Some((_, fields))) = (name, found.last_mut()) {
            *fields += 1;
        }
    }
    found
}

#[test]
fn structs_are_narrow() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let mut wide = Vec::new();
    let mut seen = 0;
    for file in files {
        for (name, fields) in structs(&std::fs::read_to_string(&file).expect("a source file")) {
            seen += 1;
            if fields > FIELDS_MAX && !WIDE.contains(&name.as_str()) {
                wide.push(format!("{name} has {fields} fields"));
            }
        }
    }
    assert!(seen > 100, "only {seen} structs were found");
    assert!(wide.is_empty(), "structs of more than {FIELDS_MAX} fields:\n  {}", wide.join("\n  "));
}

#[test]
fn fields_are_counted() {
    let text = "pub struct A<'a> {\n    /// Not: this\n    pub a: u8,\n    #[x(y: z)]\n    pub(crate) b: Vec<\n        u8,\n    >,\n}\n\n\
                struct B(u8);\nstruct C {\n    c: u8,\n}\nfn f() {\n    let x: u8 = 1;\n}\n";
    assert_eq!(structs(text), [("A".to_owned(), 2), ("C".to_owned(), 1)]);
}
