//! The administrator's texts for refused clients: a contact, and pages that replace weir's own.

use crate::http::template::{Kind, Template};
use std::fmt;
use std::sync::Arc;

/// The statuses of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statuses {
    /// One status, from 400 to 599.
    One(u16),
    /// One class, 4 or 5.
    Class(u16),
}

impl Statuses {
    /// Reads `403` or `4xx`. The error says what was expected.
    pub fn parse(text: &str) -> Result<Statuses, &'static str> {
        const EXPECTED: &str = "a status from 400 to 599, 4xx or 5xx";
        match text {
            "4xx" | "4XX" => Ok(Statuses::Class(4)),
            "5xx" | "5XX" => Ok(Statuses::Class(5)),
            _ if text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                let status = text.parse().ok().filter(|status| (400..=599).contains(status));
                status.map(Statuses::One).ok_or(EXPECTED)
            }
            _ => Err(EXPECTED),
        }
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Statuses::One(status) => write!(f, "{status}"),
            Statuses::Class(hundreds) => write!(f, "{hundreds}xx"),
        }
    }
}

/// The texts of refusals.
#[derive(Clone, Debug, Default)]
pub struct Pages {
    contact: Arc<str>,
    templates: Arc<[(Statuses, Template)]>,
}

impl Pages {
    /// The contact (empty for none) and the pages.
    pub fn new(contact: &str, templates: Vec<(Statuses, Template)>) -> Pages {
        Pages { contact: contact.into(), templates: templates.into() }
    }

    /// The contact; empty if there is none.
    pub fn contact(&self) -> &str {
        &self.contact
    }

    /// The page for a status. A page for exactly that status comes before one for its class, and then a page in the
    /// wanted form, HTML or text, before one in the other form.
    pub fn find(&self, status: u16, html: bool) -> Option<&Template> {
        [Statuses::One(status), Statuses::Class(status / 100)].into_iter().find_map(|wanted| {
            let templates = || self.templates.iter().filter(|(statuses, _)| *statuses == wanted);
            let suits = |(_, template): &&(Statuses, Template)| (template.kind() == Kind::Html) == html;
            templates().find(suits).or_else(|| templates().next()).map(|(_, template)| template)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_26_statuses() {
        for (text, expected) in [
            ("403", Some(Statuses::One(403))),
            ("400", Some(Statuses::One(400))),
            ("599", Some(Statuses::One(599))),
            ("4xx", Some(Statuses::Class(4))),
            ("5XX", Some(Statuses::Class(5))),
            ("399", None),
            ("600", None),
            ("200", None),
            ("3xx", None),
            ("+40", None),
            ("0403", None),
            ("", None),
        ] {
            assert_eq!(Statuses::parse(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn kind_26_the_page_that_suits_best() {
        let page = |statuses, text: &str, kind| (statuses, Template::parse(text.as_bytes(), kind).unwrap());
        let pages = Pages::new(
            "",
            vec![
                page(Statuses::Class(4), "class", Kind::Html),
                page(Statuses::One(403), "text", Kind::Text),
                page(Statuses::One(403), "html", Kind::Html),
                page(Statuses::One(407), "json", Kind::Json),
            ],
        );
        for (status, html, expected) in [
            (403, true, "html"),
            (403, false, "text"),
            (407, true, "json"),
            (407, false, "json"),
            (400, true, "class"),
            (400, false, "class"),
            (502, true, ""),
        ] {
            let mut out = Vec::new();
            if let Some(template) = pages.find(status, html) {
                template.write(&mut out, |_| "");
            }
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{status} {html}");
        }
    }
}
