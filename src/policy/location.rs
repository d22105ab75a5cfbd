//! The place where a rule was written.

use crate::http::fields::write_decimal;
use std::fmt;

/// The location of a rule. [`super::acl::Acl::locate`] turns it into words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleRef {
    /// Number of the file or option.
    pub source: u16,
    /// The line in the file, or the position among the options of that name; counted from 1.
    pub line: u32,
}

/// The location of a rule in words, such as `blocklist.txt:12`.
#[derive(Clone, Copy, Debug)]
pub struct RuleLocation<'a> {
    /// The name of the source.
    pub source: &'a str,
    /// The line.
    pub line: u32,
}

impl RuleLocation<'_> {
    /// Appends the text of `Display`, without a formatter: many log records have the rule that allowed the request.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.source.as_bytes());
        out.push(b':');
        write_decimal(out, u64::from(self.line));
    }
}

impl fmt::Display for RuleLocation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.source, self.line)
    }
}
