//! What is promised of the cluster, and how the model looks for the opposite.

use std::collections::BTreeSet;

use throng_core::Epoch;

use crate::process::the_slot;
use crate::relay::Relay;
use crate::world::{STEP_MS, World};

/// Steps after the last fault within which everything must be well again: the longest chain of waits (a lease to
/// expire, five seconds for incumbents or for a store that nobody reaches, a grace to end) and some more.
pub const SETTLE_STEPS: u32 = 30;

/// What must never be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Violation {
    /// Two processes had the right to serve at one instant.
    TwoOwners,
    /// A stamp was given two contents.
    StampTwice,
    /// A message Pod took something from e's owner after it had seen e' > e.
    LawBroken,
    /// An epoch was opened that is not larger than all opened before.
    EpochNotLarger,
    /// Long after the last fault nobody serves the slot, or not without interruption.
    NotServed,
    /// Long after the last fault a planned move has not ended.
    MoveNotEnded,
    /// Long after the last fault message Pods were told different ends of an epoch.
    EndsDiffer,
    /// A process never came to rest within a step.
    Restless,
}

impl Violation {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::TwoOwners,
        Self::StampTwice,
        Self::LawBroken,
        Self::EpochNotLarger,
        Self::NotServed,
        Self::MoveNotEnded,
        Self::EndsDiffer,
        Self::Restless,
    ];

    /// What is promised instead.
    #[must_use]
    pub const fn promise(self) -> &'static str {
        match self {
            Self::TwoOwners => "at no instant do two processes have the right to serve",
            Self::StampTwice => "no stamp has two contents",
            Self::LawBroken => "who has seen e' > e takes nothing more from e's owner",
            Self::EpochNotLarger => "epochs only grow",
            Self::NotServed => "once faults stop, the slot is served",
            Self::MoveNotEnded => "every planned move ends",
            Self::EndsDiffer => "everybody is told the same end of an epoch",
            Self::Restless => "every process comes to rest",
        }
    }
}

impl World {
    /// Faults end, and time passes: then everything must be well. It must be so with the dead left dead, as long as somebody
    /// lives, and again when they are back.
    pub fn settle(&mut self) {
        if self.processes.iter().any(Option::is_none) && self.processes.iter().any(Option::is_some) {
            let mut without = self.clone();
            without.settle_alive();
            self.violations.extend(without.violations);
        }
        for pod in 0..self.processes.len() {
            if self.processes.get(pod).is_some_and(Option::is_none) {
                self.start(pod);
            }
        }
        self.settle_alive();
    }

    /// All faults but deaths end, and time passes.
    fn settle_alive(&mut self) {
        if !self.etcd.up {
            self.etcd.restart(self.now);
        }
        self.redis.up = true;
        self.held.clear();
        for process in self.processes.iter_mut().flatten() {
            (process.paused, process.no_etcd, process.no_watch) = (false, false, false);
            (process.no_redis, process.slow) = (false, false);
        }
        for relay in &mut self.relays {
            relay.reachable = true;
        }
        self.served_since = None;
        for _ in 0..SETTLE_STEPS {
            self.step(false);
            if self.unwell().is_empty() {
                return;
            }
        }
        let unwell = self.unwell();
        self.violations.extend(unwell);
    }

    /// What is not as it should be when all faults are over.
    fn unwell(&self) -> Vec<Violation> {
        let mut unwell = Vec::new();
        if self.served_since.is_none_or(|since| self.now.since(since) < 5 * STEP_MS) {
            unwell.push(Violation::NotServed);
        }
        if self.processes.iter().flatten().any(|p| p.machine.status(self.now).moving > 0) {
            unwell.push(Violation::MoveNotEnded);
        }
        if self.owners().count() > 1 {
            unwell.push(Violation::TwoOwners);
        }
        let mut told = self.relays.iter().map(Relay::told);
        let first = told.next();
        if told.any(|other| Some(other) != first) {
            unwell.push(Violation::EndsDiffer);
        }
        unwell
    }

    /// Looks for two owners at one instant.
    pub(crate) fn count_owners(&mut self) {
        // The known limit of the protocol: the later one took over while nobody told it of one that reached the store.
        let owners: BTreeSet<Epoch> = self.owners().map(|(_, epoch)| epoch).collect();
        if self.owners().count() > 1 && owners.last().is_none_or(|last| !self.blind.contains(last)) {
            self.violations.insert(Violation::TwoOwners);
        }
    }

    /// Notes since when somebody serves.
    pub(crate) fn watch_service(&mut self) {
        let served =
            self.processes.iter().flatten().any(|p| !p.paused && p.machine.serves(the_slot(), self.now).is_some());
        self.served_since = if served { self.served_since.or(Some(self.now)) } else { None };
    }
}
