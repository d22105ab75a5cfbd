//! What the guard file says of detection.

use super::category::{Categories, Category};

/// Paths on which nothing is detected, and what lies below them (guard semantics, section 1).
pub const EXCLUDED: [&str; 6] =
    ["/docs", "/redoc", "/openapi.json", "/openapi.yaml", "/favicon.ico", "/static"];

/// What is done about a request in which an attack was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Nothing is looked for.
    #[default]
    Off,
    /// It is told.
    Observe,
    /// It is refused.
    Block,
}

/// A category that is not looked for, everywhere or below a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffLine {
    /// The categories of the line.
    pub categories: Categories,
    /// Beginning of the path in its comparable form; `None`: everywhere.
    pub path: Option<Box<str>>,
}

/// A field in which a category is let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowLine {
    /// What is let through.
    pub category: Category,
    /// Beginning of the path in its comparable form; `None`: everywhere.
    pub path: Option<Box<str>>,
    /// The name of the parameter, cookie, header or leaf; `None`: each.
    pub param: Option<Box<str>>,
}

/// A pattern of the guard file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomPattern {
    /// Its name.
    pub name: Box<str>,
    /// A regular expression, read without regard to case, in several lines.
    pub pattern: Box<str>,
}

/// Everything that the guard file says of detection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetectRules {
    /// What is done about an attack.
    pub mode: Mode,
    /// The line of the mode in the guard file, from 1.
    pub line: u32,
    /// What is not looked for.
    pub off: Vec<OffLine>,
    /// What is let through.
    pub allow: Vec<AllowLine>,
    /// Patterns beside those of the table.
    pub patterns: Vec<CustomPattern>,
    /// Whether a request is refused that exhausts a budget.
    pub exhausted_blocks: bool,
    /// Paths on which nothing is looked for, and what lies below them.
    pub excluded: Vec<Box<str>>,
}

impl Default for DetectRules {
    fn default() -> DetectRules {
        DetectRules {
            mode: Mode::Off,
            line: 0,
            off: Vec::new(),
            allow: Vec::new(),
            patterns: Vec::new(),
            exhausted_blocks: true,
            excluded: EXCLUDED.into_iter().map(Into::into).collect(),
        }
    }
}

impl DetectRules {
    /// Whether a path, in its comparable form, is one on which nothing is looked for.
    pub fn excludes(&self, path: &[u8]) -> bool {
        self.excluded.iter().any(|excluded| {
            let rest = path.strip_prefix(excluded.as_bytes());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/") || excluded.ends_with('/'))
        })
    }
}
