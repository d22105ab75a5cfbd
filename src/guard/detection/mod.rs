//! Detection of attacks in requests: guard semantics, section 11.
//!
//! A value (a parameter, a field, a leaf of JSON, the path) is scanned in several `View`s: as sent, decoded, decoded
//! without comments and superfluous blanks, and as a shell would read it. One pass of an automaton over each view finds the
//! literals that patterns need; only patterns whose literal occurs are tried, each in time linear in the bytes. If a pattern
//! alone has too many false matches, code confirms the match. Everything is bounded, and a reached bound is a verdict.

#[cfg(feature = "detection")]
mod automata;
#[cfg(feature = "detection")]
mod brackets;
mod category;
#[cfg(feature = "detection")]
mod confirm;
#[cfg(feature = "detection")]
mod declarations;
#[cfg(feature = "detection")]
mod detector;
#[cfg(feature = "detection")]
mod discussion;
#[cfg(feature = "detection")]
mod findings;
#[cfg(feature = "detection")]
mod json;
#[cfg(feature = "detection")]
mod markup;
#[cfg(feature = "detection")]
mod objects;
#[cfg(feature = "detection")]
mod ordinary_files;
#[cfg(feature = "detection")]
mod places;
#[cfg(feature = "detection")]
mod queries;
#[cfg(feature = "detection")]
mod request;
mod rules;
#[cfg(feature = "detection")]
mod signatures;
#[cfg(feature = "detection")]
mod sources;
#[cfg(feature = "detection")]
mod speech;
#[cfg(feature = "detection")]
mod traces;
#[cfg(feature = "detection")]
mod views;
#[cfg(feature = "detection")]
mod words;

#[cfg(feature = "detection")]
pub use automata::check_pattern;
pub use category::{Categories, Category, Context};
#[cfg(feature = "detection")]
pub use detector::{Detector, OVERLAP_BYTES, Scratch};
#[cfg(feature = "detection")]
pub use findings::{BODY_BYTES_MAX, DetectionResult, Finding, Findings, HEAD_BYTES_MAX, THREAT_SCORE, View};
pub use rules::{AllowLine, CustomPattern, DetectRules, EXCLUDED, Mode, OffLine};

#[cfg(all(test, feature = "detection"))]
mod tests;
