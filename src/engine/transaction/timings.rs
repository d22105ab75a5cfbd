//! How long a transaction takes, phase by phase: it waits for a look-up, for a connection, and for the answer, one after the other.

use crate::engine::transaction::{Stage, Transaction};
use crate::time::Now;

impl Transaction {
    /// Notes how long the look-up or the connecting took that is over, however that ended.
    pub fn end_phase(&mut self, now: Now) {
        let phases = &mut self.record.phases;
        let phase_us = match self.stage {
            Stage::Resolving(_) => &mut phases.dns_us,
            Stage::Dialling(_) => &mut phases.connect_us,
            Stage::Begun
            | Stage::Verifying
            | Stage::Awaiting
            | Stage::Relaying
            | Stage::Replying
            | Stage::Waiting(_)
            | Stage::CacheReader => return,
        };
        let passed_us = now.monotonic_us.saturating_sub(self.phase_us);
        *phase_us = Some(phase_us.unwrap_or(0).saturating_add(passed_us));
    }

    /// Notes that the first byte of a response head is there.
    pub fn note_first_byte(&mut self, now: Now) {
        self.record.phases.ttfb_us = Some(now.monotonic_us.saturating_sub(self.phase_us));
    }

    /// Notes that an answer begins that no origin gives.
    pub fn note_answer_from_cache(&mut self, now: Now) {
        let phases = &mut self.record.phases;
        let before_us = phases.dns_us.unwrap_or(0).saturating_add(phases.connect_us.unwrap_or(0));
        let after_us = now.monotonic_us.saturating_sub(self.began_us);
        phases.ttfb_us.get_or_insert(after_us.saturating_sub(before_us));
    }

    /// What the log says of a transaction that is over.
    pub fn note_end(&mut self, now: Now) {
        let duration = now.monotonic_us.saturating_sub(self.began_us);
        self.record.duration_us = duration;
        self.record.started_unix_us = now.unix_us.saturating_sub(duration);
        // The request of a refresh is that of another transaction, whose entry has these bytes.
        let head_bytes = if self.caching.background { 0 } else { self.info.head_bytes as u64 };
        self.record.client_bytes = head_bytes + self.up.received;
        self.record.sent_bytes = self.down.sent;
    }
}
