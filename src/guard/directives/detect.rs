//! The directives of detection: `detect` and `exclude`.

use super::draft::Draft;
use super::values::{path_prefix, text};
use super::words::{Optional, Words, shown};
use crate::guard::detection::{AllowLine, Categories, Category, CustomPattern, Mode, OffLine};
use crate::nearest::{hint, nearest};

/// Most lines with `detect off` and with `detect allow`, each (chosen): every request is compared with all of them.
const LINES_MAX: usize = 256;

/// Most patterns of a guard file (chosen): each is tried on every value.
const PATTERNS_MAX: usize = 64;

const FORMS: &str = "block, observe, off, allow, exhausted or pattern";

/// Compiles a pattern to see whether it can be.
#[cfg(feature = "detection")]
use crate::guard::detection::check_pattern;

#[cfg(not(feature = "detection"))]
fn check_pattern(_: &str) -> Result<(), String> {
    Err(WITHOUT.to_owned())
}

#[cfg(not(feature = "detection"))]
const WITHOUT: &str = "expected a weir that was built with the feature detection";

pub(super) fn detect(draft: &mut Draft, words: &mut Words) -> Result<(), String> {
    #[cfg(not(feature = "detection"))]
    if words.peek().is_some() {
        return Err(WITHOUT.to_owned());
    }
    if words.accept("block") {
        return mode(draft, words, Mode::Block);
    }
    if words.accept("observe") {
        return mode(draft, words, Mode::Observe);
    }
    if words.accept("off") {
        return off(draft, words);
    }
    if words.accept("allow") {
        return allow(draft, words);
    }
    if words.accept("exhausted") {
        return exhausted(draft, words);
    }
    if words.accept("pattern") {
        return pattern(draft, words);
    }
    Err(words.unexpected(FORMS))
}

fn mode(draft: &mut Draft, words: &mut Words, mode: Mode) -> Result<(), String> {
    words.end()?;
    draft.single("detect block or observe")?;
    (draft.directives.detect.mode, draft.directives.detect.line) = (mode, draft.line);
    Ok(())
}

/// A list of categories without a repeated name, in one order, so that equal lines have equal texts.
pub(super) fn categories(words: &mut Words) -> Result<Vec<Category>, String> {
    let names = words.list("categories such as sqli,xss")?;
    let mut categories = names.iter().map(|name| category(name)).collect::<Result<Vec<_>, _>>()?;
    categories.sort_by_key(|category| *category as usize);
    categories.dedup();
    Ok(categories)
}

fn category(name: &str) -> Result<Category, String> {
    let names = || Category::ALL.into_iter().map(Category::name);
    Category::of_name(name).ok_or_else(|| {
        let near = hint(nearest(name, names()));
        let names = names().collect::<Vec<_>>().join(", ");
        format!("unknown category {}: expected {names}{near}", shown(name))
    })
}

fn off(draft: &mut Draft, words: &mut Words) -> Result<(), String> {
    let categories = categories(words)?;
    let set = categories.iter().fold(Categories::default(), |set, one| set.with(Categories::of(*one)));
    let mut line = OffLine { categories: set, path: None };
    words.options(
        &mut line,
        &[("path", |line, words| path_prefix(words).map(|path| line.path = Some(path)))],
    )?;
    room(draft.directives.detect.off.len(), "detect off")?;
    let place = line.path.as_deref().unwrap_or_default();
    for category in &categories {
        once(draft, &format!("detect off {} {place}", category.name()))?;
    }
    draft.directives.detect.off.push(line);
    Ok(())
}

fn allow(draft: &mut Draft, words: &mut Words) -> Result<(), String> {
    let categories = categories(words)?;
    let mut line = AllowLine { category: Category::Custom, path: None, param: None };
    let known: [Optional<AllowLine>; 2] = [
        ("path", |line, words| path_prefix(words).map(|path| line.path = Some(path))),
        ("param", |line, words| {
            text(words, "the name of a parameter, a cookie, a field or a leaf")
                .map(|name| line.param = Some(name))
        }),
    ];
    if words.options(&mut line, &known)?.is_empty() {
        return Err("expected where, such as path /search param q; detect off is for everywhere".into());
    }
    room(draft.directives.detect.allow.len() + categories.len() - 1, "detect allow")?;
    let place = format!("{:?} {:?}", line.path, line.param);
    for category in &categories {
        once(draft, &format!("detect allow {} {place}", category.name()))?;
    }
    for category in categories {
        draft.directives.detect.allow.push(AllowLine { category, ..line.clone() });
    }
    Ok(())
}

/// Records what a line says about one category in one place; the line repeats no other.
fn once(draft: &mut Draft, key: &str) -> Result<(), String> {
    draft.once(key.to_owned(), |line| format!("the same again: expected once, and line {line} has it"))
}

fn room(lines: usize, name: &str) -> Result<(), String> {
    if lines < LINES_MAX { Ok(()) } else { Err(format!("expected at most {LINES_MAX} lines with {name}")) }
}

fn exhausted(draft: &mut Draft, words: &mut Words) -> Result<(), String> {
    let blocks = match (words.accept("block"), words.accept("pass")) {
        (true, _) => true,
        (false, true) => false,
        (false, false) => return Err(words.unexpected("block or pass")),
    };
    words.end()?;
    draft.single("detect exhausted")?;
    draft.directives.detect.exhausted_blocks = blocks;
    Ok(())
}

fn pattern(draft: &mut Draft, words: &mut Words) -> Result<(), String> {
    let name = text(words, "a name for the pattern")?;
    let pattern = words.value("a regular expression, \"in quotes\" if it has blanks")?;
    words.end()?;
    check_pattern(&pattern)?;
    draft.once(format!("detect pattern {name}"), |line| {
        format!("the pattern {} again: expected each name once, and line {line} has it", shown(&name))
    })?;
    if draft.directives.detect.patterns.len() >= PATTERNS_MAX {
        return Err(format!("expected at most {PATTERNS_MAX} patterns"));
    }
    draft.directives.detect.patterns.push(CustomPattern { name, pattern: pattern.into() });
    Ok(())
}

pub(super) fn exclude(draft: &mut Draft, words: &mut Words) -> Result<(), String> {
    draft.single("exclude")?;
    let mut excluded = Vec::new();
    if words.accept("none") {
        words.end()?;
    } else {
        for path in words.list("paths such as /docs,/static")? {
            let mut one = Words::of(path.as_bytes())?;
            let prefix = path_prefix(&mut one)?;
            if excluded.contains(&prefix) {
                return Err(format!("{prefix} again: expected each path once"));
            }
            excluded.push(prefix);
        }
        words.end()?;
    }
    draft.directives.detect.excluded = excluded;
    Ok(())
}

#[cfg(test)]
#[cfg(feature = "detection")]
mod tests {
    use super::*;
    use crate::guard::directives::parse;

    #[test]
    fn guard_11_every_form_of_detect() {
        let file = "detect block\ndetect off recon,cms_probing path /search\ndetect allow sqli path /search param q\n\
                    detect exhausted pass\ndetect pattern ours \\d{2,3},[a-z]+\nexclude /docs,/%73tatic\n";
        let rules = parse(file.as_bytes()).unwrap().detect;
        assert_eq!((rules.mode, rules.line, rules.exhausted_blocks), (Mode::Block, 1, false));
        assert!(rules.off[0].categories.contains(Category::CmsProbing));
        assert_eq!(rules.off[0].path.as_deref(), Some("/search"));
        assert_eq!(rules.allow[0].param.as_deref(), Some("q"));
        let excluded: Vec<&str> = rules.excluded.iter().map(|path| &**path).collect();
        assert_eq!(excluded, ["/docs", "/static"]);
        assert!(rules.excludes(b"/docs/a") && rules.excludes(b"/docs") && !rules.excludes(b"/docsa"));
    }

    #[test]
    fn fault_13_3_a_pattern_may_have_commas() {
        let rules = parse(b"detect observe\ndetect pattern a \\d{2,3}\n").unwrap().detect;
        assert_eq!(&*rules.patterns[0].pattern, "\\d{2,3}");
    }

    #[test]
    fn ours_11_what_cannot_be_applied_is_told_with_its_line() {
        for (file, expected) in [
            ("detect\n", "expected block, observe"),
            ("detect maybe\n", "found \"maybe\""),
            ("detect block\ndetect observe\n", "line 1 has it"),
            ("detect off sql\n", "did you mean sqli?"),
            ("detect allow xss\n", "expected where"),
            ("detect pattern a (?=b)\n", "look-around"),
            ("detect pattern a (b)\\1\n", "back-references"),
            ("detect pattern a (\n", "expected a regular expression"),
            ("detect pattern a b\ndetect pattern a c\n", "line 1 has it"),
            ("detect exhausted maybe\n", "expected block or pass"),
            ("exclude docs\n", "beginning of a path"),
        ] {
            let problems = parse(file.as_bytes()).unwrap_err();
            assert!(problems[0].message.contains(expected), "{file}: {problems:?}");
        }
    }
}
