//! Paths of files that are of no use to an attacker: what a site shows or is built from, deep below a folder of documents, and sources
//! below the home folder of a user in the protocol of an editor.
//!
//! Who can read any file asks for accounts, keys, logs, settings and sessions, and for files whose place is known on every machine.
//! The names of folders within a project are known only to those who have listed the folders above them, which is found.

use super::confirm::{is_no_import, is_no_pattern, is_no_prose};
use std::ops::Range;

/// The path is none of an ordinary file of a site, and none of the certificates that every system has.
pub(super) fn is_no_ordinary_file(text: &[u8], _: Range<usize>) -> bool {
    let text = text.trim_ascii();
    let is_certificate =
        text == b"/etc/ssl/certs" || text.strip_prefix(b"/etc/ssl/certs/").is_some_and(is_harmless);
    !is_certificate && !is_file_of_site(text)
}

/// The path is no pattern, no subject of a sentence, and none of an ordinary file of a site.
pub(super) fn is_file_of_system(text: &[u8], range: Range<usize>) -> bool {
    is_no_pattern(text, range.clone()) && is_no_ordinary_file(text, range)
}

/// The path is no module that code imports, and of no ordinary file two folders above: a page that includes files asks for others.
pub(super) fn is_traversal_of_windows(text: &[u8], range: Range<usize>) -> bool {
    let below = text.strip_prefix(b"..\\..\\").unwrap_or_default();
    let is_ordinary_file = is_ordinary(below.split(|byte| *byte == b'\\'), NAMES_MIN - 1);
    !is_ordinary_file && is_no_import(text, range)
}

/// The path is no module that code imports, and of no source in a folder of the same project.
pub(super) fn is_traversal(text: &[u8], range: Range<usize>) -> bool {
    !is_source_of_project(text.trim_ascii()) && is_no_import(text, range)
}

/// The path, from folders above, is that of a source that is compiled before a server has it, below folders whose names only the project knows.
fn is_source_of_project(path: &[u8]) -> bool {
    let mut below = path.strip_prefix(b"./").unwrap_or(path);
    let mut above = 0;
    while let Some(rest) = below.strip_prefix(b"../") {
        (below, above) = (rest, above + 1);
    }
    let kind = memchr::memrchr(b'.', below).map(|dot| &below[dot + 1..]);
    let names = below.split(|byte| *byte == b'/');
    above <= ABOVE_MAX
        && kind.is_some_and(|kind| OF_BUNDLES.contains(&kind))
        && names.clone().count() >= NAMES_MIN
        && names.clone().all(is_harmless)
}

/// Most folders above a source from which others are imported (chosen: attacks go up to the root).
const ABOVE_MAX: usize = 4;

/// Kinds of files that a bundler puts into one.
const OF_BUNDLES: [&[u8]; 8] = [b"jsx", b"less", b"scss", b"svelte", b"svg", b"ts", b"tsx", b"vue"];

/// The path leads to the accounts of a system, and not to a source file with such a name (`src/etc/passwd.c`): no system keeps a
/// copy of the accounts in a file of that kind.
pub(super) fn is_file_of_accounts(text: &[u8], range: Range<usize>) -> bool {
    let kind = text[range.clone()].ends_with(b".").then(|| &text[range.end..]);
    let kind = kind.map(|kind| &kind[..kind.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count()]);
    let is_source = kind.is_some_and(|kind| OF_SOURCES.contains(&kind))
        && text.get(range.end + kind.map_or(0, <[u8]>::len)).is_none_or(|byte| b" #?&:)\"'".contains(byte));
    !is_source && is_no_prose(text, range)
}

/// Kinds of source files and manuals.
const OF_SOURCES: [&[u8]; 12] =
    [b"adoc", b"c", b"cc", b"cpp", b"go", b"h", b"java", b"md", b"po", b"rs", b"rst", b"ts"];

/// Folders whose files a server shows or runs, and the folder in which Jenkins builds.
const ROOTS: [&[u8]; 9] = [
    b"htdocs",
    b"html",
    b"httpdocs",
    b"httpsdocs",
    b"public_html",
    b"webapps",
    b"workspace",
    b"www",
    b"wwwroot",
];

/// Fewest names below such a folder: two folders and a file (chosen: lists of files to try have shorter ones).
const NAMES_MIN: usize = 3;

/// Kinds of files that a site shows, or that are code.
const KINDS: [&[u8]; 46] = [
    b"c", b"class", b"cpp", b"cs", b"cshtml", b"css", b"dart", b"dll", b"eot", b"ex", b"gif", b"go", b"h",
    b"hs", b"htm", b"html", b"ico", b"jar", b"java", b"jpeg", b"jpg", b"js", b"jsx", b"kt", b"less", b"lua",
    b"md", b"mjs", b"pdf", b"php", b"png", b"py", b"rb", b"rs", b"scala", b"scss", b"svg", b"svelte",
    b"swift", b"ts", b"tsx", b"ttf", b"vue", b"webp", b"woff", b"woff2",
];

/// Parts of names of files with secrets, settings or data.
const SENSITIVE: [&[u8]; 24] = [
    b"account",
    b"auth",
    b"backup",
    b"conf",
    b"connect",
    b"cred",
    b"database",
    b"db.",
    b"dbconn",
    b"debug",
    b"dump",
    b"env",
    b"flag",
    b"-inf",
    b"phpinfo",
    b"key.",
    b"keys",
    b"logs",
    b"passw",
    b"private",
    b"secret",
    b"sess",
    b"setting",
    b"token",
];

/// Settings of containers: the places at which they find folders.
const MOUNTS: [&[u8]; 8] = [
    b"containerpath",
    b"container_path",
    b"hostpath",
    b"mountpath",
    b"mount_path",
    b"mountpoint",
    b"readonlypaths",
    b"maskedpaths",
];

/// The field is a setting of a container, and the path is that of a folder of data or settings as a whole.
pub(super) fn is_mount(field: &[u8], path: &[u8]) -> bool {
    let mut names = path.split(|byte| *byte == b'/').skip(1);
    MOUNTS.iter().any(|name| field.eq_ignore_ascii_case(name))
        && path.first() == Some(&b'/')
        && names.all(|name| is_harmless(name) || name == b"etc")
        && ![&b"passwd"[..], b"shadow", b"root"].iter().any(|name| path.ends_with(name))
}

fn is_file_of_site(path: &[u8]) -> bool {
    let names = || path.split(|byte| matches!(byte, b'/' | b'\\')).filter(|name| !name.is_empty());
    let Some(root) = names().position(|name| ROOTS.contains(&name)) else { return false };
    let is_build = || names().nth(root) == Some(b"workspace");
    is_ordinary(names().skip(root + 1), NAMES_MIN)
        || is_build() && is_ordinary_of_build(names().skip(root + 1))
}

/// Reports of a build are XML, too.
fn is_ordinary_of_build<'t>(names: impl Iterator<Item = &'t [u8]> + Clone) -> bool {
    let stem = |name: &'t [u8]| name.strip_suffix(b".xml");
    let last = names.clone().last().and_then(stem);
    last.is_some() && names.clone().count() >= NAMES_MIN && names.clone().all(is_harmless)
}

fn is_ordinary<'t>(names: impl Iterator<Item = &'t [u8]> + Clone, least: usize) -> bool {
    let kind = names.clone().last().and_then(|name| Some(&name[memchr::memrchr(b'.', name)? + 1..]));
    kind.is_some_and(|kind| KINDS.contains(&kind))
        && names.clone().count() >= least
        && names.clone().all(is_harmless)
}

/// A name of plain characters that is not hidden and names nothing that is secret.
fn is_harmless(name: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-@+~ ".contains(byte);
    name.first() != Some(&b'.')
        && name != b"etc"
        && name.iter().all(is_plain)
        && !SENSITIVE.iter().any(|part| memchr::memmem::find(name, part).is_some())
}

/// The address is that of a source file, or of a folder, below the home folder of a user, as editors send them (Language Server
/// Protocol, `DocumentUri`).
pub(super) fn is_address_of_editor(address: &[u8]) -> bool {
    let address = address.to_ascii_lowercase();
    let Some(path) = address.strip_prefix(b"file:///") else { return false };
    let is_letter = path.first().is_some_and(u8::is_ascii_alphabetic);
    let drive = [&b":/"[..], b"%3a/"].iter().find_map(|colon| path.get(1..)?.strip_prefix(*colon));
    let path = drive.filter(|_| is_letter).unwrap_or(path);
    let names = || path.split(|byte| *byte == b'/');
    let homes = match names().next() {
        Some(b"home" | b"users") => 2,
        Some(b"workspace" | b"workspaces") => 1,
        Some(_) | None => return false,
    };
    let below = || names().skip(homes);
    let is_folder = || below().count() >= NAMES_MIN - 1 || homes == 1;
    let is_bare = below().last().is_some_and(|name| !name.is_empty() && !name.contains(&b'.'));
    let is_file = is_ordinary(below(), NAMES_MIN - 1);
    is_file || is_bare && is_folder() && below().all(is_harmless)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_a_site_is_deep_and_holds_no_secret() {
        for (path, is_one) in [
            ("d:\\xampp\\htdocs\\shop\\inc\\class-cart.php", true),
            ("/var/lib/jenkins/workspace/erp@2/target/a.test.xml", true),
            ("/var/lib/jenkins/workspace/erp/../../secrets/a.xml", false),
            ("/var/lib/jenkins/workspace/erp/src/credentials.xml", false),
            ("/var/www/html/shop/vendor/a/kernel.php", true),
            ("/var/www/html/index.php", false),
            ("/var/www/html/shop/inc/config.php", false),
            ("/var/www/html/shop/web-inf/a.class", false),
            ("/var/www/html/shop/.git/a.js", false),
            ("/var/www/html/shop/a/passwords.txt", false),
            ("/var/www/images/../../../etc/a.js", false),
            ("/etc/www/a", false),
        ] {
            assert_eq!(is_file_of_site(path.as_bytes()), is_one, "{path}");
        }
    }

    #[test]
    fn an_address_of_an_editor_is_below_a_home_folder() {
        for (address, is_one) in [
            ("file:///home/anna/src/app/main.py", true),
            ("file:///c%3A/Users/tom/proj/index.js", true),
            ("file:///Users/marie/dev/site", true),
            ("file:///workspaces/weather", true),
            ("file:///home/anna/.ssh/id_rsa", false),
            ("file:///home/anna/app/settings.py", false),
            ("file:///home/anna", false),
            ("file:///home/anna/main.py", false),
            ("file:///home/anna/src/../../../etc/a.py", false),
            ("file:///etc/app/main.py", false),
        ] {
            assert_eq!(is_address_of_editor(address.as_bytes()), is_one, "{address}");
        }
    }
}
