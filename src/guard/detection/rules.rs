//! The rules of the guard file for detection.

use super::category::{Categories, Category};

/// Paths that are not scanned, and all paths below them (guard semantics, section 1).
pub const EXCLUDED: [&str; 6] =
    ["/docs", "/redoc", "/openapi.json", "/openapi.yaml", "/favicon.ico", "/static"];

/// The handling of a request with an attack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Nothing is scanned.
    #[default]
    Off,
    /// The attack is reported.
    Observe,
    /// The request is refused.
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
    /// The category that is allowed.
    pub category: Category,
    /// Beginning of the path in its comparable form; `None`: everywhere.
    pub path: Option<Box<str>>,
    /// The name of the parameter, cookie, header or leaf; `None`: each.
    pub param: Option<Box<str>>,
}

/// A pattern of the guard file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomPattern {
    /// The name of the pattern.
    pub name: Box<str>,
    /// A regular expression, case-insensitive, in multi-line mode.
    pub pattern: Box<str>,
}

/// All rules of the guard file for detection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetectRules {
    /// The handling of an attack.
    pub mode: Mode,
    /// The line of the mode in the guard file, from 1.
    pub line: u32,
    /// The categories that are not scanned.
    pub off: Vec<OffLine>,
    /// The categories that are allowed in some places.
    pub allow: Vec<AllowLine>,
    /// Patterns beside those of the tables.
    pub patterns: Vec<CustomPattern>,
    /// Whether a request is refused that exhausts a budget.
    pub exhausted_blocks: bool,
    /// Paths that are not scanned, and all paths below them.
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
    /// Whether a path, in its form for comparison, is not scanned.
    pub fn excludes(&self, path: &[u8]) -> bool {
        self.excluded.iter().any(|excluded| {
            let rest = path.strip_prefix(excluded.as_bytes());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/") || excluded.ends_with('/'))
        })
    }
}
