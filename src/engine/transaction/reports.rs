//! Hands the reports of body filters to the guard.

use super::Transaction;
use super::machine::Transactions;
use super::refusal::Refusal;
use crate::engine::body::filter::Report;
use crate::engine::body::relay::BodyFault;
use crate::engine::context::Context;
use crate::engine::effect::Effect;
use crate::engine::ids::TransactionId;
use crate::time::Now;

impl Transaction {
    /// Reports findings in the request's body to the guard, and returns the refusal that follows.
    fn report_upload(&mut self, now: Now) -> Option<Refusal> {
        let reports = self.up.take_reports();
        reports.into_iter().fold(None, |refusal, report| self.report(report, now).or(refusal))
    }

    /// Reports findings in the response's body to the guard.
    pub(super) fn report_download(&mut self, now: Now) {
        for report in self.down.take_reports() {
            self.report(report, now);
        }
    }

    /// Reports what the filters of the response's body have seen of a body that ends here, incomplete.
    pub(super) fn report_broken_download(&mut self, now: Now) {
        self.down.handle_break();
        self.report_download(now);
    }

    #[cfg(feature = "detection")]
    fn report(&mut self, report: Report, now: Now) -> Option<Refusal> {
        let refusal = match report {
            Report::Detected(findings) => {
                let guard = self.settings.guard.as_ref()?;
                let asked = self.since.asked(&self.record, now);
                guard.conclude_findings(&findings, &asked, now).err().map(Refusal::Guarded)
            }
            Report::Watched { mut watch, whole } => {
                watch.end(whole, || self.since.asked(&self.record, now), now);
                None
            }
        };
        self.guarded.outlives_ban |= self.is_client_banned(now);
        refusal
    }

    #[cfg(not(feature = "detection"))]
    fn report(&self, report: Report, _: Now) -> Option<Refusal> {
        match report {}
    }

    /// Whether the client is banned by now. A request that has caused that itself keeps its response; the next one is refused.
    pub(super) fn is_client_banned(&self, now: Now) -> bool {
        let client = self.record.client.ip();
        self.settings.guard.as_ref().is_some_and(|guard| guard.is_banned(client, now))
    }
}

impl Transactions {
    /// Handles the result of decoder and filters for the request's body. False if the request was refused.
    pub(super) fn conclude_upload(
        &mut self,
        cx: &mut Context,
        id: TransactionId,
        outcome: Result<(), BodyFault>,
    ) -> bool {
        let Some(transaction) = self.get_mut(id) else { return false };
        let reported = transaction.report_upload(cx.now);
        let Err(fault) = outcome else { return true };
        // Bytes behind the point where the body was aborted are unknown.
        transaction.closes |= reported.is_some();
        cx.send(Effect::Refuse(id, reported.unwrap_or(fault.of_request())));
        false
    }
}
