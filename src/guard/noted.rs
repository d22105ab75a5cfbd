//! The results of detection, as counters and histograms have them.

use super::detection::Category;

/// The result of detection in a request, as the counters have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// An attack was found.
    Attack(Category),
    /// The request exceeded a bound of the inspection.
    Exhausted,
    /// The rest of a long binary content passed without a scan.
    Unseen,
}

impl Noted {
    /// The number of results.
    pub(super) const COUNT: usize = Category::ALL.len() + 2;

    /// The words of all results.
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        Category::ALL.into_iter().map(Category::name).chain(["exhausted", "unseen"])
    }

    /// The place of a result among these words.
    pub(super) fn place(self) -> usize {
        match self {
            Noted::Attack(category) => category as usize,
            Noted::Exhausted => Category::ALL.len(),
            Noted::Unseen => Category::ALL.len() + 1,
        }
    }
}
