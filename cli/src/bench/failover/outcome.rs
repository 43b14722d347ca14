//! What a fault cost, as it stands in the report, and whether that keeps the promises.

use serde::Serialize;

use super::faults::Fault;
use super::probes::Outcome;
use super::prove::Proof;
use crate::bench::bounds::Slack;
use crate::bench::report::Report;
use crate::bench::stats::Percentiles;

/// What one fault cost.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FaultReport {
    /// Which one.
    pub(crate) fault: &'static str,
    /// How long an outage may be; of `move`: how long a room may be silent.
    pub(crate) bound_ms: f64,
    /// By room, its worst: from the first attempt of a publish to its receipt by every member.
    pub(crate) outage_ms: Option<Percentiles>,
    /// From the first attempt to the acknowledgement that it is stored.
    pub(crate) stored_ms: Option<Percentiles>,
    /// Time between two segments of the hot room, at each member.
    pub(crate) gap_ms: Option<Percentiles>,
    /// Publishes to all rooms, one a second each.
    pub(crate) published: u64,
    /// Times that one of them was sent again.
    pub(crate) retries: u64,
    /// Those that were never acknowledged as stored.
    pub(crate) never_stored: u64,
    /// Receipts that are missing, of those.
    pub(crate) never_received: u64,
    /// Receipts that are missing, of publishes that were acknowledged as stored.
    pub(crate) lost_after_stored: u64,
    /// Messages that were acknowledged as stored and that the new primary does not have; absent: nothing failed over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) missing_in_store: Option<u64>,
    /// From the blow until the servers of the store that are left had shown that they work: slots moved and a Pod registered, or
    /// every room had something stored. Absent: none are left, or they have not within the time allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) proved_after_ms: Option<f64>,
    /// Whether some were to be left.
    #[serde(skip)]
    to_prove: bool,
    /// Receipts that a client had to ask for.
    pub(crate) pulled: u64,
    /// Connections that ended.
    pub(crate) disconnects: u64,
    /// From the blow until all slots were in place again; none: not within the time allowed.
    pub(crate) settled_after_ms: Option<f64>,
    /// Why they were not.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) unsettled: String,
}

impl FaultReport {
    pub(super) fn new(fault: Fault, outcome: Outcome, gap_ms: Option<Percentiles>, proof: Option<Proof>) -> Self {
        Self {
            fault: fault.name(),
            bound_ms: fault.bound_ms(),
            outage_ms: outcome.outage,
            stored_ms: outcome.stored,
            gap_ms,
            published: outcome.published,
            retries: outcome.retries,
            never_stored: outcome.never_stored,
            never_received: outcome.never_received,
            lost_after_stored: outcome.lost_after_stored,
            missing_in_store: proof.filter(|_| fault == Fault::RedisFailover).map(|proof| proof.missing),
            proved_after_ms: proof.and_then(|proof| proof.after_ms),
            to_prove: proof.is_some(),
            pulled: outcome.pulled,
            disconnects: 0,
            settled_after_ms: None,
            unsettled: String::new(),
        }
    }

    /// The worst outage; of a move the longest silence too. None: nothing was measured.
    pub(super) fn worst_ms(&self, fault: Fault) -> Option<f64> {
        let outage = self.outage_ms?.max;
        if fault == Fault::Move { Some(outage.max(self.gap_ms?.max)) } else { Some(outage) }
    }

    /// Holds it against the promises.
    pub(super) fn judge(&self, fault: Fault, slack: Slack, report: &mut Report) {
        let name = self.fault;
        let figure = if fault == Fault::Move { "move_gap_ms" } else { "outage_ms" };
        report.at_most(format!("{name}: {figure}"), self.worst_ms(fault), self.bound_ms, slack);
        let lost = self.lost_after_stored;
        report.promise(lost == 0, || format!("{name}: {lost} receipts of stored messages are missing"));
        let (never, unstored) = (self.never_received, self.never_stored);
        report.promise(never + unstored == 0, || {
            format!("{name}: {unstored} publishes were never stored, however often they were repeated; {never} receipts of them are missing")
        });
        let missing = self.missing_in_store.unwrap_or(0);
        report.promise(missing == 0, || format!("{name}: {missing} stored messages are not at the new primary"));
        let proved = !self.to_prove || self.proved_after_ms.is_some();
        report.promise(proved, || format!("{name}: the servers that are left were not seen to do their work"));
        if let Some(bound_ms) = fault.stored_bound_ms() {
            report.at_most(format!("{name}: proved_after_ms"), self.proved_after_ms, bound_ms, slack);
        }
        let ended = self.disconnects;
        report.promise(ended == 0 || fault.disconnects(), || format!("{name}: {ended} connections ended"));
        report.promise(self.settled_after_ms.is_some(), || format!("{name}: not all is as it was: {}", self.unsettled));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::bounds::Bound;

    /// Something was measured, and nothing is wrong with it.
    fn fine(fault: Fault, proof: Option<Proof>) -> FaultReport {
        let times = Some(Percentiles { p50: 1.0, p99: 1.0, p999: 1.0, max: 1.0 });
        let mut found = FaultReport::new(fault, Outcome { outage: times, ..Outcome::default() }, times, proof);
        found.settled_after_ms = Some(1.0);
        found
    }

    fn broken(fault: Fault, change: impl FnOnce(&mut FaultReport)) -> Vec<String> {
        let mut found = fine(fault, None);
        change(&mut found);
        let mut report = Report::default();
        found.judge(fault, Slack(1.0), &mut report);
        let missed = report.bounds.iter().filter(|bound| !bound.met).map(Bound::words);
        report.broken.iter().cloned().chain(missed).collect()
    }

    #[test]
    fn each_promise_can_be_broken() {
        let times = |max| Some(Percentiles { p50: 1.0, p99: 1.0, p999: 1.0, max });
        assert!(broken(Fault::ChatroomKill, |found| found.outage_ms = times(4999.0)).is_empty());
        assert_eq!(broken(Fault::ChatroomKill, |found| found.outage_ms = times(5001.0)).len(), 1);
        assert_eq!(broken(Fault::ChatroomKill, |found| found.outage_ms = None).len(), 1, "nothing was measured");
        assert_eq!(broken(Fault::Move, |found| found.gap_ms = None).len(), 1);
        assert!(broken(Fault::GatewayKill, |found| found.outage_ms = times(9999.0)).is_empty());
        assert_eq!(broken(Fault::Move, |found| found.gap_ms = times(501.0)).len(), 1);
        assert!(broken(Fault::ChatroomKill, |found| found.gap_ms = times(501.0)).is_empty());
        assert_eq!(broken(Fault::Move, |found| found.disconnects = 1).len(), 1);
        assert!(broken(Fault::GatewayStop, |found| found.disconnects = 1).is_empty());
        assert_eq!(broken(Fault::RedisKill, |found| found.lost_after_stored = 1).len(), 1);
        assert_eq!(broken(Fault::RedisKill, |found| found.never_stored = 1).len(), 1);
        assert_eq!(broken(Fault::EtcdKill, |found| found.settled_after_ms = None).len(), 1);
    }

    #[test]
    fn servers_that_are_left_must_do_their_work() {
        let proved =
            |fault, after_ms, missing| broken(fault, |found| *found = fine(fault, Some(Proof { after_ms, missing })));
        assert!(proved(Fault::EtcdLeader, Some(90_000.0), 0).is_empty());
        assert_eq!(proved(Fault::EtcdLeader, None, 0).len(), 1);
        assert!(proved(Fault::RedisFailover, Some(14_999.0), 0).is_empty());
        assert_eq!(proved(Fault::RedisFailover, Some(15_001.0), 0).len(), 1);
        assert_eq!(proved(Fault::RedisFailover, Some(1.0), 1).len(), 1);
        assert_eq!(proved(Fault::RedisFailover, None, 0).len(), 2);
    }
}
