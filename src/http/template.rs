//! Pages of an administrator for weir's responses: text with placeholders, `{{host}}`.
//!
//! A template is read once, and every mistake in it is reported with its line. Values come from the network: they are escaped
//! for the format of the template, and bounded.

use std::fmt;

/// Largest template (chosen: a page with its style and a picture or two inside it).
pub const TEMPLATE_BYTES_MAX: usize = 64 * 1024;

/// Most placeholders of a template (chosen).
pub const PLACEHOLDERS_MAX: usize = 100;

/// Longest escaped value (chosen: weir's own pages fit into a block with it).
pub const VALUE_BYTES_MAX: usize = 800;

/// Behind so many bytes of a page nothing more is filled in (chosen: twice the largest template).
const PAGE_BYTES_MAX: usize = 2 * TEMPLATE_BYTES_MAX;

/// The format of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// HTML, for browsers.
    Html,
    /// Plain text, for terminals.
    Text,
    /// JSON, for programs. Placeholders stand within quotes.
    Json,
}

impl Kind {
    /// The format for the extension of a file's name, in lower case.
    pub fn of_extension(extension: &str) -> Option<Kind> {
        match extension {
            "html" | "htm" => Some(Kind::Html),
            "txt" => Some(Kind::Text),
            "json" => Some(Kind::Json),
            _ => None,
        }
    }

    /// The value of Content-Type.
    pub fn content_type(self) -> &'static str {
        match self {
            Kind::Html => "text/html; charset=utf-8",
            Kind::Text => "text/plain; charset=utf-8",
            Kind::Json => "application/json",
        }
    }

    /// Appends a text from the network, escaped so that it cannot act: as a tag, an attribute, the end of a string, or a
    /// control of a terminal. A text that is too long is cut, with a mark.
    pub fn write_value(self, out: &mut Vec<u8>, text: &str) {
        const CUT: &[u8] = b"...";
        let full = out.len() + VALUE_BYTES_MAX - CUT.len();
        let mut rest = text;
        loop {
            let (run, behind) = self.split_plain(rest);
            if run.len() > full - out.len() {
                out.extend_from_slice(&run.as_bytes()[..full - out.len()]);
                break;
            }
            out.extend_from_slice(run.as_bytes());
            let mut characters = behind.chars();
            let Some(character) = characters.next() else { return };
            let before = out.len();
            match self {
                Kind::Html => write_html(out, character),
                Kind::Text => write_plain(out, character),
                Kind::Json => write_json(out, character),
            }
            if out.len() > full {
                out.truncate(before);
                break;
            }
            rest = characters.as_str();
        }
        out.extend_from_slice(CUT);
    }

    /// Splits a text behind its leading characters that need no escape: these are nearly all, and are written together.
    pub(super) fn split_plain(self, text: &str) -> (&str, &str) {
        let plain = match self {
            Kind::Html => plain_bytes(text, |byte| Kind::Html.is_plain(byte)),
            Kind::Text => plain_bytes(text, |byte| Kind::Text.is_plain(byte)),
            Kind::Json => plain_bytes(text, |byte| Kind::Json.is_plain(byte)),
        };
        text.split_at(plain)
    }

    /// Whether a byte is a character that stands for itself.
    #[inline]
    fn is_plain(self, byte: u8) -> bool {
        let escaped = match self {
            Kind::Html => (byte == b'&') | (byte == b'<') | (byte == b'>') | (byte == b'"') | (byte == b'\''),
            Kind::Text => false,
            Kind::Json => (byte == b'"') | (byte == b'\\'),
        };
        (byte.wrapping_sub(b' ') <= b'~' - b' ') & !escaped
    }
}

/// The number of bytes before the first that is not plain. Tests many at a time, without a branch for each.
fn plain_bytes(text: &str, is_plain: impl Fn(u8) -> bool) -> usize {
    let bytes = text.as_bytes();
    let mut rest = bytes;
    let has_others = |piece: &[u8; 16]| piece.iter().fold(false, |any, &byte| any | !is_plain(byte));
    while let Some((piece, behind)) = rest.split_first_chunk::<16>() {
        if has_others(piece) {
            break;
        }
        rest = behind;
    }
    // The rest of most values is plain, and one test finds that: of the last bytes, those before the rest are plain.
    let mut padded = [b' '; 16];
    let last = match bytes.last_chunk() {
        Some(last) => last,
        None => {
            padded.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
            &padded
        }
    };
    if rest.len() < last.len() && !has_others(last) {
        return bytes.len();
    }
    let plain = rest.iter().position(|&byte| !is_plain(byte)).unwrap_or(rest.len());
    bytes.len() - rest.len() + plain
}

fn write_html(out: &mut Vec<u8>, character: char) {
    match character {
        '&' => out.extend_from_slice(b"&amp;"),
        '<' => out.extend_from_slice(b"&lt;"),
        '>' => out.extend_from_slice(b"&gt;"),
        '"' => out.extend_from_slice(b"&quot;"),
        '\'' => out.extend_from_slice(b"&#39;"),
        _ if character.is_control() => out.push(b'?'),
        _ => write_character(out, character),
    }
}

/// Control characters could move a terminal's cursor or set its title, and a line feed begin another line.
fn write_plain(out: &mut Vec<u8>, character: char) {
    if character.is_control() { out.push(b'?') } else { write_character(out, character) }
}

fn write_json(out: &mut Vec<u8>, character: char) {
    match character {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        _ if character.is_control() => out.push(b'?'),
        _ => write_character(out, character),
    }
}

fn write_character(out: &mut Vec<u8>, character: char) {
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

/// One table: each placeholder, its name, and its meaning.
macro_rules! placeholders {
    ($($name:literal $placeholder:ident $meaning:literal,)*) => {
        /// The values that a template can contain.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Placeholder {
            $(#[doc = $meaning] $placeholder,)*
        }

        /// Name, placeholder and meaning.
        pub const PLACEHOLDERS: &[(&str, Placeholder, &str)] =
            &[$(($name, Placeholder::$placeholder, $meaning)),*];
    };
}

placeholders! {
    "status" Status "the status, such as 403",
    "title" Title "what the status means, such as Forbidden",
    "explanation" Explanation "what happened, in a sentence or two",
    "advice" Advice "what to do about it",
    "reason" Reason "the rule's file and line, or a word for the error; empty with quiet-refusals",
    "rule" Rule "what that rule says; empty if it was none",
    "method" Method "the method of the request",
    "url" Url "what was asked for",
    "host" Host "its host",
    "client" Client "the address of the client",
    "user" User "the name that it gave, if that was right",
    "time" Time "when, in GMT",
    "contact" Contact "what contact says",
    "proxy" Proxy "the name of this proxy, as in via",
}

/// A mistake in a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// Counted from 1; 0 for the file as a whole.
    pub line: u32,
    message: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A page with places to be filled in.
#[derive(Clone, Debug)]
pub struct Template {
    kind: Kind,
    /// The texts between placeholders.
    text: Box<str>,
    /// The positions in the text, each with its placeholder.
    holes: Vec<(usize, Placeholder)>,
}

impl Template {
    /// Reads a template, or fails with all mistakes in it.
    pub fn parse(bytes: &[u8], kind: Kind) -> Result<Template, Vec<TemplateError>> {
        let whole = |message: String| vec![TemplateError { line: 0, message }];
        if bytes.len() > TEMPLATE_BYTES_MAX {
            return Err(whole(format!("expected a page of at most {} KB", TEMPLATE_BYTES_MAX / 1024)));
        }
        let Ok(page) = std::str::from_utf8(bytes) else {
            return Err(whole("expected UTF-8 text".to_owned()));
        };
        let page = page.strip_prefix('\u{feff}').unwrap_or(page);
        if page.trim().is_empty() {
            return Err(whole("expected a page, found nothing".to_owned()));
        }
        let mut template = Template { kind, text: Box::default(), holes: Vec::new() };
        let (mut text, mut errors) = (String::with_capacity(page.len()), Vec::new());
        for (line, content) in (1..).zip(page.split_inclusive('\n')) {
            if let Err(message) = template.read_line(content, &mut text) {
                errors.push(TemplateError { line, message });
            }
        }
        if template.holes.len() > PLACEHOLDERS_MAX {
            errors.extend(whole(format!("expected at most {PLACEHOLDERS_MAX} placeholders")));
        }
        template.text = text.into();
        if errors.is_empty() { Ok(template) } else { Err(errors) }
    }

    fn read_line(&mut self, line: &str, text: &mut String) -> Result<(), String> {
        let mut rest = line;
        while let Some((before, after)) = rest.split_once("{{") {
            text.push_str(before);
            let Some((name, after)) = after.split_once("}}") else {
                return Err(
                    "{{ without }} on the same line: expected a placeholder such as {{host}}".to_owned()
                );
            };
            self.holes.push((text.len(), placeholder(name.trim())?));
            rest = after;
        }
        text.push_str(rest);
        Ok(())
    }

    /// The format of the page.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Appends the page; `value` returns the text for a placeholder.
    pub fn write<'v>(&self, out: &mut Vec<u8>, value: impl Fn(Placeholder) -> &'v str) {
        let begin = out.len();
        let mut written = 0;
        for &(at, placeholder) in &self.holes {
            out.extend_from_slice(self.text[written..at].as_bytes());
            written = at;
            if out.len() - begin < PAGE_BYTES_MAX {
                self.kind.write_value(out, value(placeholder));
            }
        }
        out.extend_from_slice(self.text[written..].as_bytes());
    }
}

fn placeholder(name: &str) -> Result<Placeholder, String> {
    if let Some((_, placeholder, _)) = PLACEHOLDERS.iter().find(|(known, ..)| *known == name) {
        return Ok(*placeholder);
    }
    let found: String = name.chars().take(40).flat_map(char::escape_debug).collect();
    let names: Vec<&str> = PLACEHOLDERS.iter().map(|(name, ..)| *name).collect();
    Err(format!("placeholder \"{found}\": expected one of {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(page: &str, kind: Kind, value: &str) -> String {
        let template = Template::parse(page.as_bytes(), kind).unwrap();
        let mut out = b"before".to_vec();
        template.write(&mut out, |placeholder| match placeholder {
            Placeholder::Status => "403",
            Placeholder::Url => value,
            _ => "",
        });
        String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_owned()
    }

    #[test]
    fn kind_26_placeholders_are_filled_in_and_nothing_else_changes() {
        for (page, expected) in [
            ("plain", "plain"),
            ("{{status}}", "403"),
            ("a{{status}}b{{ url }}c\n{{status}}", "a403bvaluec\n403"),
            ("{status} }} { { {{{status}}}", "{status} }} { { "),
            ("@media(x){a{b:c}}\r\n{{host}}.", "@media(x){a{b:c}}\r\n."),
            ("\u{feff}{{url}}", "value"),
        ] {
            if page.contains("{{{") {
                assert!(Template::parse(page.as_bytes(), Kind::Html).is_err(), "{page}");
                continue;
            }
            assert_eq!(written(page, Kind::Html, "value"), expected, "{page}");
        }
    }

    #[test]
    fn kind_26_values_are_escaped_for_what_they_go_into() {
        let evil = "<script>'\"&\\\n\r\x1b\u{85}é}}{{status}}";
        for (kind, expected) in [
            (Kind::Html, "&lt;script&gt;&#39;&quot;&amp;\\????é}}{{status}}"),
            (Kind::Text, "<script>'\"&\\????é}}{{status}}"),
            (Kind::Json, "<script>'\\\"&\\\\????é}}{{status}}"),
        ] {
            assert_eq!(written("{{url}}", kind, evil), expected, "{kind:?}");
        }
    }

    #[test]
    fn kind_26_values_are_cut_between_characters() {
        for kind in [Kind::Html, Kind::Text, Kind::Json] {
            for piece in ["a", "é", "\u{1F600}", "<", "\"", "\\"] {
                let value = written("{{url}}", kind, &piece.repeat(2000));
                assert!(
                    value.len() <= VALUE_BYTES_MAX && value.len() > VALUE_BYTES_MAX - 16,
                    "{kind:?} {piece}"
                );
                assert!(value.ends_with("..."), "{value}");
            }
        }
        assert_eq!(written("{{url}}", Kind::Html, "short"), "short");
        // A page does not grow without bound, whatever is asked for.
        let page = "{{url}}".repeat(PLACEHOLDERS_MAX) + &"x".repeat(TEMPLATE_BYTES_MAX - 700);
        assert!(written(&page, Kind::Html, &"<".repeat(5000)).len() <= PAGE_BYTES_MAX + TEMPLATE_BYTES_MAX);
    }

    #[test]
    fn kind_26_every_mistake_is_told_with_its_line() {
        let said = |page: &[u8]| -> Vec<String> {
            let errors = Template::parse(page, Kind::Html).unwrap_err();
            errors.iter().map(|error| format!("{}: {error}", error.line)).collect()
        };
        let all = PLACEHOLDERS.iter().map(|(name, ..)| *name).collect::<Vec<_>>().join(", ");
        assert_eq!(
            said(b"fine {{host}}\n{{ursl}}\n\n{{host\n}} {{}}\n"),
            [
                format!("2: placeholder \"ursl\": expected one of {all}"),
                "4: {{ without }} on the same line: expected a placeholder such as {{host}}".to_owned(),
                format!("5: placeholder \"\": expected one of {all}"),
            ]
        );
        assert_eq!(said(b" \n"), ["0: expected a page, found nothing"]);
        assert_eq!(said(b"\xff"), ["0: expected UTF-8 text"]);
        assert_eq!(said(&vec![b'x'; TEMPLATE_BYTES_MAX + 1]), ["0: expected a page of at most 64 KB"]);
        assert_eq!(said("{{url}}".repeat(101).as_bytes()), ["0: expected at most 100 placeholders"]);
    }
}
