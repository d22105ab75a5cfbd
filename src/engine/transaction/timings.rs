//! The durations of a transaction's waits: it waits for a look-up, for a connection, and for the response, one after the other.

use crate::engine::transaction::Transaction;
use crate::engine::upstream::connect::Timings;
use crate::time::Now;

impl Transaction {
    /// Notes how long look-ups and handshakes took, and the address that was tried last.
    pub fn note_connect(&mut self, timings: &Timings) {
        let waits = &mut self.record.waits;
        for (sum_us, taken_us) in
            [(&mut waits.dns_us, timings.dns_us), (&mut waits.connect_us, timings.connect_us)]
        {
            if let Some(taken_us) = taken_us {
                *sum_us = Some(sum_us.unwrap_or(0).saturating_add(taken_us));
            }
        }
        self.record.upstream = timings.address.or(self.record.upstream);
    }

    /// Records the arrival of the first byte of a response head.
    pub fn note_first_byte(&mut self, now: Now) {
        self.record.waits.ttfb_us = Some(now.monotonic_us.saturating_sub(self.since.phase_us));
    }

    /// Notes that an answer begins that no origin gives.
    pub fn note_answer_from_cache(&mut self, now: Now) {
        let waits = &mut self.record.waits;
        let before_us = waits.dns_us.unwrap_or(0).saturating_add(waits.connect_us.unwrap_or(0));
        let after_us = now.monotonic_us.saturating_sub(self.since.began_us);
        waits.ttfb_us.get_or_insert(after_us.saturating_sub(before_us));
    }

    /// Records the totals of a transaction that has ended.
    pub fn note_end(&mut self, now: Now) {
        let duration = now.monotonic_us.saturating_sub(self.since.began_us);
        self.record.duration_us = duration;
        self.record.started_unix_us = now.unix_us.saturating_sub(duration);
        let mut head_bytes = self.info.head_bytes as u64;
        if self.caching.background {
            // A refresh has the request of another transaction, whose record has these bytes, and no client gets its response.
            (head_bytes, self.record.status) = (0, 0);
        }
        self.record.client_bytes = head_bytes + self.up.received;
        self.record.sent_bytes = self.down.sent;
    }
}
