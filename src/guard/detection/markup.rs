//! Markup that does no harm: handlers and scripts of a page that only call its own functions, scripts from the same host.

use super::words::{holds, is_blank};
use std::ops::Range;

/// Longest script that is read (chosen: snippets that pages include are shorter).
const SCRIPT_BYTES_MAX: usize = 2048;

/// Longest handler that is read (chosen).
const HANDLER_BYTES_MAX: usize = 160;

/// What a script must use to do harm: dialogs by which attacks are shown, code from text, other addresses, what a page keeps secret.
const MEANS: [&[u8]; 45] = [
    b"\\",
    b"`",
    b"//",
    b"http",
    b"data:",
    b"script:",
    b"<",
    b"alert",
    b"confirm",
    b"prompt",
    b"print",
    b"eval",
    b"atob",
    b"unescape",
    b"decodeuri",
    b"fromcharcode",
    b"cookie",
    b"storage",
    b"domain",
    b"fetch",
    b"xmlhttp",
    b"beacon",
    b"websocket",
    b"postmessage",
    b"import",
    b"constructor",
    b"prototype",
    b"createelement",
    b"innerhtml",
    b"outerhtml",
    b"insertadjacent",
    b"document.write",
    b"srcdoc",
    b"throw",
    b"onerror",
    b"function('",
    b"function(\"",
    b"timeout('",
    b"timeout(\"",
    b"[\"",
    b"['",
    b"[/",
    b"top[",
    b"$.get",
    b"xss",
];

/// What harms others in a text about code, too, if a page shows the text as markup.
const ALWAYS_HARMFUL: [&[u8]; 9] = [
    b"document.cookie",
    b"document['cookie']",
    b"localstorage",
    b"sessionstorage",
    b"eval(",
    b"atob(",
    b"fromcharcode",
    b"src=//",
    b"sendbeacon",
];

/// Whether code has more than a dialog: it reads secrets, or hides what it does.
pub(super) fn harms(code: &[u8]) -> bool {
    let code = &code[..code.len().min(SCRIPT_BYTES_MAX)];
    ALWAYS_HARMFUL.iter().any(|means| holds(code, means))
}

/// Whether a script calls only what its page has defined.
fn is_tame(script: &[u8]) -> bool {
    let leaves_page = || {
        holds(script, b"location") && script.iter().any(|byte| matches!(byte, b'+' | b'#'))
            || holds(script, b"location.hash")
            || holds(script, b"location.search")
            || holds(script, b"window.name")
    };
    !MEANS.iter().any(|means| holds(script, means)) && !leaves_page()
}

/// The handler runs more than functions of its page: `onclick="save()"` does not. Handlers of attacks are seldom quoted and complete.
pub(super) fn is_handler_with_means(text: &[u8], range: Range<usize>) -> bool {
    // The match ends with the first character of the handler.
    let Some(equals) = memchr::memrchr(b'=', &text[range.clone()]) else { return true };
    let value = text[range.start + equals + 1..].trim_ascii_start();
    let Some(quote) = value.first().filter(|byte| matches!(byte, b'"' | b'\'')) else { return true };
    let value = &value[1..value.len().min(HANDLER_BYTES_MAX)];
    let Some(end) = memchr::memchr(*quote, value) else { return true };
    let handler = value[..end].trim_ascii();
    // A click that prints the page is what its user wants.
    let is_click = text[range.start..range.start + equals].trim_ascii_end().ends_with(b"onclick");
    let handler = handler.strip_prefix(b"window.print()").filter(|_| is_click).unwrap_or(handler);
    if is_click && matches!(handler, b"" | b";" | b";return false;" | b"; return false;" | b";return false") {
        return false;
    }
    let acts = handler.iter().any(|byte| matches!(byte, b'(' | b'=')) || handler.starts_with(b"return");
    !(acts && is_tame(handler))
}

/// The script does more than call functions of its page, or is loaded from another host.
pub(super) fn is_script_with_means(rest: &[u8]) -> bool {
    let Some(tag) = rest.strip_prefix(b"<script") else { return true };
    let Some(end) = memchr::memchr(b'>', tag) else { return true };
    let (attributes, inside) = (&tag[..end], &tag[end + 1..]);
    if is_data_block(attributes) || is_module(attributes, inside) {
        return false;
    }
    if holds(attributes, b"href") {
        // A script in a drawing is loaded from there.
        return true;
    }
    let is_set = |at: &usize| attributes[at + 3..].trim_ascii_start().starts_with(b"=");
    if memchr::memmem::find_iter(attributes, b"src").filter(is_set).nth(1).is_some() {
        // Which of them a browser takes is a question of its parser.
        return true;
    }
    if source(attributes).is_some_and(is_concatenated) && is_end_in_string(inside) {
        return false;
    }
    let inside = &inside[..inside.len().min(SCRIPT_BYTES_MAX)];
    let Some(close) = memchr::memmem::find(inside, b"</script") else { return true };
    let script = inside[..close].trim_ascii();
    match source(attributes) {
        Some(source) => !(script.is_empty() && is_usual_source(source)),
        None => !(script.len() >= DEFINITION_BYTES_MIN && is_tame(behind_imports(attributes, script))),
    }
}

/// The element holds data, which no browser runs: its first attribute is the type of the data (HTML, section 4.12.1).
fn is_data_block(attributes: &[u8]) -> bool {
    // A plus sign is a blank in one of the views.
    let types: [&[u8]; 5] = [
        b"application/json",
        b"application/ld json",
        b"application/ld+json",
        b"text/template",
        b"text/x-handlebars-template",
    ];
    let value = attributes.trim_ascii_start().strip_prefix(b"type=");
    attributes.first().is_some_and(u8::is_ascii_whitespace)
        && value.is_some_and(|value| {
            types.iter().any(|kind| {
                let rest = value.strip_prefix(b"\"").and_then(|value| value.strip_prefix(*kind));
                rest.is_some_and(|rest| matches!(rest.strip_prefix(b"\""), Some(b"" | [b' ', ..])))
            })
        })
}

/// The script begins as a module, and no attribute makes it one: a component of Vue or Svelte. `import a` and `export a` are errors of
/// syntax in other scripts, so that a browser runs nothing of it.
fn is_module(attributes: &[u8], inside: &[u8]) -> bool {
    let attributes = attributes.split(is_blank).filter(|word| !word.is_empty());
    let inside = inside.trim_ascii_start();
    let rest = inside.strip_prefix(b"import").or_else(|| inside.strip_prefix(b"export"));
    let is_begin = rest.is_some_and(|rest| {
        // What is imported by a call follows a bracket.
        let begin = rest.trim_ascii_start();
        let is_apart = begin.len() < rest.len() || begin.first() == Some(&b'{');
        is_apart && begin.first().is_some_and(|byte| byte.is_ascii_alphanumeric() || b"{*'\"".contains(byte))
    });
    attributes.clone().all(|attribute| OF_COMPONENTS.contains(&attribute)) && is_begin
}

/// The script of a module without what it imports from files of the same host: `import A from './a.js';`.
fn behind_imports<'t>(attributes: &[u8], script: &'t [u8]) -> &'t [u8] {
    let mut rest = script;
    while let Some(import) = rest.strip_prefix(b"import ").filter(|_| attributes == b" type=\"module\"") {
        let is_of_names = |byte: &u8| byte.is_ascii_alphanumeric() || b"_$ {},*".contains(byte);
        let file = &import[import.iter().take_while(|byte| is_of_names(byte)).count()..];
        let Some(quote @ (b'\'' | b'"')) = file.first() else { return script };
        let Some(len) = memchr::memchr(*quote, &file[1..]) else { return script };
        let (file, behind) = (&file[1..=len], &file[len + 2..]);
        let is_local = file.starts_with(b"./") || file.starts_with(b"/");
        let Some(behind) = behind.strip_prefix(b";").filter(|_| is_local && is_usual_source(file)) else {
            return script;
        };
        rest = behind.trim_ascii_start();
    }
    rest
}

/// Attributes of scripts in components.
const OF_COMPONENTS: [&[u8]; 7] = [
    b"setup",
    b"lang=\"ts\"",
    b"lang='ts'",
    b"lang=\"tsx\"",
    b"lang=\"js\"",
    b"context=\"module\"",
    b"module",
];

/// Fewest bytes of a script that defines something (chosen).
const DEFINITION_BYTES_MIN: usize = 16;

/// The address of a script.
fn source(attributes: &[u8]) -> Option<&[u8]> {
    let at = memchr::memmem::find(attributes, b"src")?;
    let value = attributes[at + 3..].trim_ascii_start().strip_prefix(b"=").unwrap_or_default().trim_ascii();
    Some(match value.first() {
        Some(quote @ (b'"' | b'\'')) => {
            let value = &value[1..];
            &value[..memchr::memchr(*quote, value).unwrap_or(0)]
        }
        Some(_) | None => &value[..value.iter().position(is_blank).unwrap_or(value.len())],
    })
}

/// The address is put together by a program: `src="' + base + '/a.js"`. To a browser that is a path on the same host.
fn is_concatenated(source: &[u8]) -> bool {
    let is_of_expression = |byte: &u8| byte.is_ascii_alphanumeric() || b" +'\"._/?&=-".contains(byte);
    matches!(source.first(), Some(b'\'' | b'"'))
        && source.iter().all(is_of_expression)
        && !holds(source, b"//")
}

/// The text begins with the end of an element, perhaps as a string of a script has it: no script, wherever it stands.
fn is_end_in_string(inside: &[u8]) -> bool {
    inside.starts_with(b"</") || inside.starts_with(b"<\\/")
}

/// Hosts of scripts that very many pages include, and whose owners choose every file. Hosts where others publish files, or that answer
/// with code of the address (`callback=`), are none of them: attacks load their scripts from there.
const HOSTS: [&[u8]; 11] = [
    b"ajax.aspnetcdn.com",
    b"code.jquery.com",
    b"connect.facebook.net",
    b"js.stripe.com",
    b"maxcdn.bootstrapcdn.com",
    b"platform.linkedin.com",
    b"platform.twitter.com",
    b"platform.x.com",
    b"player.vimeo.com",
    b"stackpath.bootstrapcdn.com",
    b"www.instagram.com",
];

/// A file of the same host, or of a host that very many pages include.
fn is_usual_source(source: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_./?=&@%,:~{}#".contains(byte);
    let path = &source[..memchr::memchr(b'?', source).unwrap_or(source.len())];
    let is_file = !holds(source, b"//") && !source.contains(&b':') && path.ends_with(b".js");
    let address = source.strip_prefix(b"https:").unwrap_or(source).strip_prefix(b"//");
    let host = address.map(|address| &address[..memchr::memchr(b'/', address).unwrap_or(address.len())]);
    let is_known = host.is_some_and(|host| HOSTS.contains(&host)) && path.len() == source.len();
    source.iter().all(is_plain) && (is_file || is_known)
}
