//! The verdicts of all subscribers together.

use std::collections::BTreeMap;

use throng_core::{Gap, Lane};

use super::checker::{Faults, LaneVerdict, Ledger};
use super::conn::ConnId;
use super::fleet::Fleet;
use super::truth::Truth;

/// Most places of losses that are told.
const TOLD: usize = 8;

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

    /// Where messages were lost: each range of numbers with the clients that lack just it, the most common first.
    pub(super) fn losses(fleet: &Fleet, counts: impl Fn(ConnId) -> bool) -> Vec<String> {
        let mut lacking: BTreeMap<(&str, Gap), Vec<ConnId>> = BTreeMap::new();
        for (id, conn) in fleet.conns().iter().enumerate().filter(|(id, _)| counts(*id)) {
            for (room, ledger) in conn.ledgers() {
                for hole in ledger.holes(fleet.shared.parser.known(room)) {
                    lacking.entry((fleet.shared.parser.name(room), hole)).or_default().push(id);
                }
            }
        }
        let mut lacking: Vec<_> = lacking.into_iter().collect();
        lacking.sort_by_key(|(_, clients)| std::cmp::Reverse(clients.len()));
        let told = |((room, gap), clients): &((&str, Gap), Vec<ConnId>)| {
            let Gap { epoch, lane, from, to } = gap;
            let first = clients.first().copied().unwrap_or_default();
            let gateway = fleet.conns().get(first).map_or(0, |conn| conn.identity.endpoint);
            let (clients, lane, epoch) = (clients.len(), lane.number(), epoch.0);
            format!(
                "{clients} clients lack {from} to {to} of lane {lane}, epoch {epoch}, room {room}; the first is client {first} at \
                 gateway {gateway}"
            )
        };
        lacking.iter().take(TOLD).map(told).collect()
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
