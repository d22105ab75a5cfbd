//! Queries that are the whole of a value: calls of the shell of MongoDB, paths of XPath, filters of LDAP.
//!
//! An injection continues the query of a server: it ends a string or a bracket that began there. A text that begins a query, opens what
//! it closes, and ends with it, is an error of syntax within another query.

use super::brackets::{behind_group, has_quote, may_be_in_other_string, may_be_in_string};
use super::confirm::{is_no_filter, is_no_remark, is_no_script_of_statements};
use super::sources::is_in_no_definition;
use super::words::{holds, is_word, words_before};
use std::ops::Range;

/// Methods of collections that take a filter or stages.
const OF_COLLECTIONS: [&[u8]; 19] = [
    b"aggregate",
    b"count",
    b"countdocuments",
    b"deletemany",
    b"deleteone",
    b"distinct",
    b"exists",
    b"find",
    b"findone",
    b"findoneandupdate",
    b"replaceone",
    b"updatemany",
    b"updateone",
    b"match",
    b"where",
    b"remove",
    b"update",
    b"findbyidandupdate",
    b"findoneanddelete",
];

/// The operator is in no filter, and in no call with a filter: a server takes an operator from an object, and a call is none.
pub(super) fn is_no_query(text: &[u8], range: Range<usize>) -> bool {
    let breaks_out = may_be_in_string(&text[..range.start]);
    is_no_filter(text, range) && (breaks_out || !is_call_of_collection(text))
}

/// The script is no call that lists a collection, and is in no definition. The shell names collections by a call; servers have had no `db` since 2013.
pub(super) fn is_no_listing(text: &[u8], range: Range<usize>) -> bool {
    let is_listing = text[range.clone()].starts_with(b"db.getcollection(") && is_call_of_collection(text);
    !is_listing && is_in_no_definition(text, range)
}

/// The value is a call of a method of a collection: `db.users.find({ age: { $gt: 18 } }).limit(5)`.
fn is_call_of_collection(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    let text = text.strip_suffix(b";").unwrap_or(text);
    let mut rest = text;
    for word in [&b"await "[..], b"return "] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    if let Some((_, value)) = assigned(rest) {
        rest = value;
    }
    let (mut is_collection, mut calls) = (false, 0);
    loop {
        let len =
            rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"_.$".contains(byte)).count();
        let name = &rest[..len];
        let method = &name[memchr::memrchr(b'.', name).map_or(0, |dot| dot + 1)..];
        let is_chained = name.first().is_some_and(u8::is_ascii_alphabetic) && calls == 0
            || name.starts_with(b".") && calls > 0;
        let Some(end) = (is_chained && method.len() < len && rest.get(len) == Some(&b'('))
            .then(|| behind_group(rest, len))
            .flatten()
        else {
            return false;
        };
        is_collection |= OF_COLLECTIONS.contains(&method);
        calls += 1;
        rest = &rest[end..];
        if rest.is_empty() {
            return is_collection;
        }
    }
}

/// The query is in no script of statements, and is no argument of a method.
pub(super) fn is_query_of_attack(text: &[u8], range: Range<usize>) -> bool {
    is_no_script_of_statements(text, range.clone()) && !is_argument_of_method(text, &range)
}

/// The query is a whole string that a program in PHP passes to a method, `$db->prepare('select ...')`: what ends a string of the server
/// there is followed by a word, and the arrow by a call. Each is an error of syntax in SQL.
fn is_argument_of_method(text: &[u8], range: &Range<usize>) -> bool {
    let (Some((quote, call)), tail) = (text[..range.start].split_last(), &text[range.end..]) else {
        return false;
    };
    let name = call.strip_suffix(b"(").and_then(|call| {
        let arrow = memchr::memmem::rfind(call, b"->")?;
        Some(&call[arrow + 2..])
    });
    let is_name = |name: &[u8]| name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    matches!(quote, b'"' | b'\'')
        && text.starts_with(b"$")
        && name.is_some_and(is_name)
        && !has_quote(call)
        && memchr::memchr(*quote, tail)
            .is_some_and(|end| tail[end + 1..].trim_ascii_start().starts_with(b")"))
}

/// Name and value of an assignment: `const rows = await ...`.
fn assigned(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, value) = text.split_at(memchr::memchr(b'=', text)?);
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_ ".contains(byte);
    let value = value[1..].trim_ascii_start();
    name.iter().all(is_of_name).then_some((name, value.strip_prefix(b"await ").unwrap_or(value)))
}

/// The path is none that a text begins with, or that is an argument: `//div[@class='price']/following-sibling::a`.
pub(super) fn is_no_whole_path(text: &[u8], range: Range<usize>) -> bool {
    let asked: [&[u8]; 3] = [b"user", b"pass", b"account"];
    let is_asked = asked.iter().any(|name| holds(text, name));
    let breaks_out = || may_be_in_string(&text[..range.start]) || has_quote(&text[range.clone()]);
    let is_path = is_path(text.trim_ascii()) && !breaks_out();
    is_asked || !(is_path || is_argument(text, &range))
}

/// The text is a path of XPath from the root or the current node, with the ends of all its strings and brackets.
fn is_path(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"xpath=").unwrap_or(text);
    let bare = text.strip_prefix(b"(").unwrap_or(text);
    let grouped = [&b"("[..], text, b")"].concat();
    (bare.starts_with(b"//") || bare.starts_with(b".//")) && behind_group(&grouped, 0) == Some(grouped.len())
}

/// The match is in a string that is an argument of a call which begins the value, and the string is a path.
fn is_argument(text: &[u8], range: &Range<usize>) -> bool {
    let (lead, tail) = (&text[..range.start], &text[range.end..]);
    let begins_call = text.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'=');
    let is_path_in = |quote: u8| {
        let begins = [&b"//"[..], b".//", b"(//", b"xpath=//"];
        let paths = begins.map(|begin| [&[quote], begin].concat());
        // The match may begin with the path.
        let seen = &text[..range.start + range.len().min(PATH_BYTES)];
        let Some(open) = paths.iter().filter_map(|path| memchr::memmem::rfind(seen, path)).max() else {
            return false;
        };
        let Some(close) = memchr::memchr(quote, tail) else { return false };
        let before = lead[..open.min(lead.len())].trim_ascii_end();
        matches!(before.last(), Some(b'(' | b',' | b';'))
            && before.contains(&b'(')
            && !may_be_in_string(before)
            && !may_be_in_other_string(lead, quote)
            && !text[open + 1..range.end].contains(&quote)
            && matches!(tail[close + 1..].trim_ascii_start().first(), Some(b')' | b','))
    };
    begins_call && (is_path_in(b'"') || is_path_in(b'\''))
}

/// Bytes by which a path begins (`"//`).
const PATH_BYTES: usize = 4;

/// Fewest words before a filter that is mentioned (chosen).
const MENTION_WORDS: usize = 2;

/// The filter is no example in a sentence, where words are before it and each of its brackets has a counterpart, and no whole filter: an
/// assertion cannot have brackets in its value, so within another filter it is an error.
pub(super) fn is_no_shown_filter(text: &[u8], range: Range<usize>) -> bool {
    let mut depth = 0i32;
    let is_balanced = text.iter().all(|byte| {
        depth += i32::from(*byte == b'(') - i32::from(*byte == b')');
        depth >= 0
    });
    let first = memchr::memchr(b'(', text).unwrap_or(range.start);
    let is_shown = is_balanced && depth == 0 && words_before(&text[..first], is_word) >= MENTION_WORDS;
    // `if (!(file = open(name))) {` is code: the words of a filter are attributes.
    let is_condition = matches!(text[..first].trim_ascii(), b"if" | b"while") && is_balanced;
    !is_shown && !is_condition && !is_whole_filter(behind_address(text)) && is_no_remark(text, range)
}

/// The filter of an address, `ldap://host/dc=example??sub?(cn=a)`, or of a command, `ldapsearch -x "(cn=a)"`.
fn behind_address(text: &[u8]) -> &[u8] {
    let is_address = text.starts_with(b"ldap://") || text.starts_with(b"ldaps://");
    if text.starts_with(b"ldapsearch ") {
        let filter = |quote: &[u8; 2], close: &[u8; 2]| {
            let open = memchr::memmem::find(text, quote)?;
            let end = memchr::memmem::find(&text[open..], close)?;
            Some(&text[open + 1..=open + end])
        };
        return filter(b"\"(", b")\"").or_else(|| filter(b"'(", b")'")).unwrap_or(text);
    }
    let start = memchr::memchr(b'(', text).filter(|start| is_address && text[..*start].ends_with(b"?"));
    start.map_or(text, |start| &text[start..])
}

/// One filter from the first to the last character, which asks for a class of objects or a value that a program inserts, and for no
/// password.
fn is_whole_filter(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    let asks = CLASSES.iter().any(|class| {
        let value = memchr::memmem::find(text, class).and_then(|at| text.get(at + class.len()));
        value.is_some_and(u8::is_ascii_alphabetic)
    });
    let is_template = || PLACEHOLDERS.iter().any(|placeholder| holds(text, placeholder));
    let is_plain = |byte: &u8| {
        byte.is_ascii_graphic() && !b"'\"`\\;<".contains(byte) || *byte == b' ' || !byte.is_ascii()
    };
    text.first() == Some(&b'(')
        && behind_group(text, 0) == Some(text.len())
        && text.iter().all(is_plain)
        && (asks || is_template())
        && !holds(text, b"pass")
}

/// Attributes for the kind of an object.
const CLASSES: [&[u8]; 3] = [b"(objectclass=", b"(objectcategory=", b"(memberof="];

/// What programs replace in a filter of their settings.
const PLACEHOLDERS: [&[u8]; 6] = [b"={0}", b"=%s", b"=%u", b"=%(user", b"={user", b"={login"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_of_a_collection_is_the_whole_value() {
        for (text, is_one) in [
            ("db.a.find({ b: { $ne: 1 } }).sort({ c: -1 });", true),
            ("const a = await b.findone({ c: { $in: ['d'] } })", true),
            ("db.getcollection('a').find({ b: { $gt: 1 } })", true),
            ("db.a.find({ $ne: 1 }", false),
            ("find({ $ne: 1 })", false),
            ("{ $ne: 1 }", false),
            ("db.a.find({}), { $ne: 1 }", false),
        ] {
            assert_eq!(is_call_of_collection(text.as_bytes()), is_one, "{text}");
        }
    }

    #[test]
    fn a_whole_filter_asks_for_a_class() {
        for (text, is_one) in [
            ("(&(objectclass=user)(!(cn=a*)))", true),
            ("(uid={0})", true),
            ("(&(objectclass=user)(uid=*))(cn=a", false),
            ("(objectclass=*)", false),
            ("(&(objectclass=user)(userpassword=*))", false),
            ("*)(objectclass=user)(cn=a*)", false),
        ] {
            assert_eq!(is_whole_filter(text.as_bytes()), is_one, "{text}");
        }
    }
}
