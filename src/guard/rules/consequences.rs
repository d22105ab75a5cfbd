//! The consequences of a judgement: a refusal, an event, a ban after too many of them.

use super::identity::hash_text;
use crate::guard::detection::Categories;
use crate::guard::directives::{BanAfter, Per, Violation};
use crate::guard::state::{State, THRESHOLD_EXCEEDED};
use crate::guard::store::Answer;
use crate::guard::told::{Asker, Happened, Told};
use crate::guard::verdict::Denial;
use crate::time::Now;
use std::sync::Arc;

/// The settings that all parts of a guard file share for their consequences.
#[derive(Debug)]
pub(super) struct Consequences {
    pub(super) state: Arc<State>,
    /// The guard is passive: nothing is refused, no client is banned.
    pub(super) passive: bool,
    /// The `ban-after` lines, each with an identity like a counter's.
    ban_after: Vec<(u64, BanAfter)>,
}

impl Consequences {
    pub(super) fn new(state: Arc<State>, passive: bool, ban_after: &[BanAfter]) -> Consequences {
        let ban_after = ban_after.iter().map(|rule| (hash_text(&rule.place.text), rule.clone())).collect();
        Consequences { state, passive, ban_after }
    }

    /// Refuses, unless the guard is passive or the directive observes; records the event in any case.
    pub(super) fn refuse(
        &self,
        told: Told<'_>,
        denial: Denial,
        observe: bool,
        now: Now,
    ) -> Result<(), Denial> {
        let logged_only = self.passive || observe;
        self.state.tell(now, Told { denial: Some(denial), logged_only, ..told });
        if logged_only { Ok(()) } else { Err(denial) }
    }

    /// Counts a violation of one of these categories towards bans: the lines for the category, and the lines for all of them.
    pub(super) fn violate(
        &self,
        (violation, found): (Violation, Categories),
        asked: &Asker<'_>,
        per: Per,
        now: Now,
    ) {
        if violation == Violation::Detect {
            self.state.note_suspicion(per.network(asked.client), now);
        }
        let covers = |rule: &BanAfter| rule.violation == violation && rule.categories.contains_all(found);
        for (identity, rule) in self.ban_after.iter().filter(|(_, rule)| covers(rule)) {
            let network = per.network(asked.client);
            let key = self.state.key(*identity, |hasher| {
                hasher.write_prefix(&network.addr(), [per.prefix4, per.prefix6]);
            });
            // The last of `count` violations is the first beyond a limit of `count` - 1.
            let answer = match rule.count.checked_sub(1) {
                Some(0) | None => Answer::Window { within: false, left: 0, retry_after_ms: 0 },
                Some(limit) => self.state.windows.record(key, limit, rule.window_ms, now.common_ms()),
            };
            if matches!(answer, Answer::Window { within: false, .. }) {
                let bans = !self.passive && !rule.observe;
                if !bans || self.state.ban_automatically(network, rule, asked, now).is_err() {
                    let told = Told {
                        client: network,
                        reason: THRESHOLD_EXCEEDED,
                        line: rule.place.line,
                        until_unix_ms: rule.until_unix_ms(now),
                        logged_only: true,
                        ..Told::by(Happened::Banned, asked)
                    };
                    self.state.tell(now, told);
                }
                if bans {
                    self.state.windows.forget(key);
                }
            }
        }
    }
}
