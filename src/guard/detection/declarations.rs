//! Files of PHP that only declare: classes, interfaces, traits, functions.
//!
//! A server that stores such a file and opens it runs nothing of it, since the bodies run only when other code calls them.

use super::brackets::behind_group;
use super::words::holds;
use std::ops::Range;

/// The file has more than declarations.
pub(super) fn is_file_that_runs(text: &[u8], _: Range<usize>) -> bool {
    !is_of_declarations(text.trim_ascii())
}

/// Signs of comments, long strings and values in strings, in which brackets and quotes are others than they seem, and of the end of code.
const OBSCURE: [&[u8]; 9] = [b"//", b"/*", b"#", b"<<<", b"?>", b"<?", b"{$", b"${", b"`"];

fn is_of_declarations(text: &[u8]) -> bool {
    let Some(code) =
        text.strip_prefix(b"<?php").filter(|code| code.starts_with(b" ") || code.starts_with(b"\n"))
    else {
        return false;
    };
    let code = code.strip_suffix(b"?>").unwrap_or(code);
    if OBSCURE.iter().any(|sign| holds(code, sign)) {
        return false;
    }
    let (mut rest, mut has_one) = (code.trim_ascii(), false);
    while !rest.is_empty() {
        let behind = behind_import(rest).map(|end| (end, false));
        let Some((end, is_one)) = behind.or_else(|| Some((behind_declaration(rest)?, true))) else {
            return false;
        };
        has_one |= is_one;
        rest = rest[end..].trim_ascii_start();
    }
    has_one
}

/// The place behind `declare(strict_types=1);`, `namespace ...;` or `use ...;`.
fn behind_import(code: &[u8]) -> Option<usize> {
    let strict = b"declare(strict_types=1);";
    if code.starts_with(strict) {
        return Some(strict.len());
    }
    let is_import = code.starts_with(b"namespace ") || code.starts_with(b"use ");
    let is_of_import = |byte: &u8| is_of_name(byte) || b" ,\n".contains(byte);
    let is_of_group = |byte: &u8| is_of_import(byte) || b"{}".contains(byte) && code.starts_with(b"use ");
    let len = code.iter().take_while(|byte| is_of_group(byte)).count();
    (is_import && code.get(len) == Some(&b';')).then_some(len + 1)
}

/// The place behind a class or a function.
fn behind_declaration(code: &[u8]) -> Option<usize> {
    let mut rest = code;
    for modifier in [&b"abstract "[..], b"final ", b"readonly "] {
        rest = rest.strip_prefix(modifier).unwrap_or(rest);
    }
    let is_function = rest.starts_with(b"function ");
    let kinds: [&[u8]; 4] = [b"class ", b"interface ", b"trait ", b"enum "];
    if !is_function && !kinds.iter().any(|kind| rest.starts_with(kind)) {
        return None;
    }
    let is_of_head = |byte: &u8| is_of_name(byte) || b" ,:\n?|".contains(byte);
    let head = |from: usize| rest[from..].iter().take_while(|byte| is_of_head(byte)).count() + from;
    let mut open = head(0);
    if is_function {
        open = head((rest.get(open) == Some(&b'(')).then(|| behind_group(rest, open))??);
    }
    let end = (rest.get(open) == Some(&b'{')).then(|| behind_group(rest, open))??;
    Some(code.len() - rest.len() + end)
}

fn is_of_name(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_\\".contains(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_declarations_has_nothing_outside_of_them() {
        for (text, is_one) in [
            ("<?php namespace a\\b; use c\\{d, e}; final class f extends g { public $h = ['}']; }", true),
            ("<?php declare(strict_types=1);\nfunction a(int $b = 1): ?int { return b(\"}\"); }", true),
            ("<?php interface a { public function b(): c; } ?>", true),
            ("<?php class a { } new a;", false),
            ("<?php namespace a { b(); }", false),
            ("<?php class a { /* ' */ } b(); /* ' */ }", false),
            ("<?php class a { // '\n } b(); // '\n }", false),
            ("<?php class a { const b = \"{$c[\"} b(); {\"]}\"; }", false),
            ("<?php class a { } ?><?php b(); class c { }", false),
            ("<?php use a;", false),
            ("<?php a(); class b { }", false),
            ("x<?php class a { }", false),
        ] {
            assert_eq!(is_of_declarations(text.as_bytes()), is_one, "{text}");
        }
    }
}
