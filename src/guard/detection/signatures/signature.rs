//! The properties of a signature.

use crate::guard::detection::category::{Category, Context};
use crate::guard::detection::confirm::Confirm;
use crate::guard::detection::findings::{THREAT_SCORE, View};
use crate::guard::detection::speech::Talk;
use crate::guard::detection::views::bit;

/// Every context.
pub(in crate::guard::detection) const ANY_CONTEXT: u8 =
    Context::Query.bit() | Context::Path.bit() | Context::Header.bit() | Context::Body.bit();

/// Every context except the path.
pub(super) const NOT_PATH: u8 = ANY_CONTEXT & !Context::Path.bit();

/// A set of contexts.
pub(super) const fn in_contexts(contexts: &[Context]) -> u8 {
    let (mut set, mut at) = (0, 0);
    while at < contexts.len() {
        set |= contexts[at].bit();
        at += 1;
    }
    set
}

/// Every view except the unquoted one, which is for shells.
pub(in crate::guard::detection) const ANY_VIEW: u8 =
    bit(View::Raw) | bit(View::Decoded) | bit(View::Processed);

/// One signature.
#[derive(Clone, Copy, Debug)]
pub(in crate::guard::detection) struct Signature {
    pub(in crate::guard::detection) name: &'static str,
    pub(in crate::guard::detection) category: Category,
    /// One of these literals occurs in every match. `^` before a literal forbids a letter before it, and with that `$` behind
    /// it a letter behind it; `~` behind a literal forbids a letter behind it.
    pub(in crate::guard::detection) literals: &'static [&'static str],
    /// One literal of each of these lists, unless it is empty, occurs in every match, too.
    pub(in crate::guard::detection) also: [&'static [&'static str]; 2],
    pub(in crate::guard::detection) pattern: &'static str,
    pub(in crate::guard::detection) score: u16,
    pub(in crate::guard::detection) contexts: u8,
    pub(in crate::guard::detection) views: u8,
    pub(in crate::guard::detection) confirm: Option<Confirm>,
    pub(in crate::guard::detection) talk: Talk,
}

impl Signature {
    /// A signature that makes a value a threat, wherever it stands: decoded or processed.
    pub(super) const fn new(
        category: Category,
        name: &'static str,
        literals: &'static [&'static str],
        pattern: &'static str,
    ) -> Signature {
        let views = bit(View::Decoded) | bit(View::Processed);
        let (score, contexts, confirm) = (THREAT_SCORE, ANY_CONTEXT, None);
        let (also, talk) = ([&[] as &[&str]; 2], Talk::of(category));
        Signature { name, category, literals, also, pattern, score, contexts, views, confirm, talk }
    }

    /// Requires one of these literals as well; a second call adds another list.
    pub(super) const fn with(self, list: &'static [&'static str]) -> Signature {
        let [first, second] = self.also;
        Signature { also: if first.is_empty() { [list, second] } else { [first, list] }, ..self }
    }

    /// Worth less than a threat.
    pub(super) const fn worth(self, score: u16) -> Signature {
        Signature { score, ..self }
    }

    /// Restricts the signature to these contexts.
    pub(super) const fn only_in(self, contexts: u8) -> Signature {
        Signature { contexts, ..self }
    }

    /// Adds the raw view, for text that decoding would destroy.
    pub(super) const fn and_raw(self) -> Signature {
        Signature { views: self.views | bit(View::Raw), ..self }
    }

    /// Adds the view of a shell.
    pub(super) const fn and_unquoted(self) -> Signature {
        Signature { views: self.views | bit(View::Unquoted), ..self }
    }

    /// Excused by this talk instead of the usual one of the category.
    pub(super) const fn excused(self, talk: Talk) -> Signature {
        Signature { talk, ..self }
    }

    /// If this agrees.
    pub(super) const fn confirmed(self, confirm: Confirm) -> Signature {
        Signature { confirm: Some(confirm), ..self }
    }
}
