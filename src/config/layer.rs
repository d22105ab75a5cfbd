//! The texts of one layer of settings (command line, environment, file, defaults), before they are checked.

use super::foreign;
use super::options::TABLE;
use super::problem::Located;
use super::settings::Layer;
use super::spec::{Repeat, Spec};
use crate::nearest::{hint, nearest};

/// A layer without settings.
pub(super) fn blank_layer() -> Layer {
    vec![Vec::new(); TABLE.len()]
}

/// Splits a text into the values of a list.
pub(super) fn split(spec: &Spec, text: Located<String>) -> Vec<Located<String>> {
    match spec.repeat {
        Repeat::Once | Repeat::Many => vec![text],
        Repeat::List => text.value.split(',').map(|item| text.with(item.trim().to_owned())).collect(),
    }
}

/// A hint for an error message, or nothing.
pub(super) fn did_you_mean<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    if let Some(found) = foreign::find(word) {
        return format!(" ({})", found.message_about(word));
    }
    hint(nearest(word, names))
}
