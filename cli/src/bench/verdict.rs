//! The verdicts of all subscribers together.

use throng_core::Lane;

use super::checker::{Faults, LaneVerdict, Ledger};
use super::conn::ConnId;
use super::fleet::Fleet;
use super::truth::Truth;

/// What became of every message at every subscriber.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// By lane, summed over subscribers.
    pub(super) lanes: [LaneVerdict; Lane::COUNT],
    /// Summed over subscribers.
    pub(super) faults: Faults,
}

impl Verdict {
    /// Judges the subscribers that `counts` picks.
    pub(super) fn of(fleet: &Fleet, counts: impl Fn(ConnId) -> bool) -> Self {
        let mut verdict = Self::default();
        for (_, conn) in fleet.conns().iter().enumerate().filter(|(id, _)| counts(*id)) {
            for (room, ledger) in conn.ledgers() {
                verdict.add(ledger, fleet.shared.parser.known(room));
            }
        }
        verdict
    }

    fn add(&mut self, ledger: &Ledger, truth: &Truth) {
        for (sum, lane) in self.lanes.iter_mut().zip(ledger.verdict(truth)) {
            sum.received += lane.received;
            sum.declared += lane.declared;
            sum.lost += lane.lost;
        }
        let faults = ledger.faults();
        self.faults.duplicated += faults.duplicated;
        self.faults.reordered += faults.reordered;
        self.faults.unannounced += faults.unannounced;
    }

    /// Numbers neither received nor declared.
    pub(super) fn lost(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.lost).sum()
    }

    /// Numbers declared and not received.
    pub(super) fn declared(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.declared).sum()
    }
}
