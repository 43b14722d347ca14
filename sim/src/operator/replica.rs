//! A process of the operator: what it has seen, and nothing that must survive it. And who of two leads.

use std::collections::BTreeMap;

use throng_core::Millis;
use throng_plan::status::DrainStatus;
use throng_plan::world::{Registry, Sample};

use super::api::Kind;
use super::api::watch::Informer;

/// A Lease that nobody renews for so long may be taken.
const VALID_MS: u64 = 15_000;
/// Its holder writes for so long after a renewal.
const MAY_WRITE_MS: u64 = 10_000;

/// One process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replica {
    pub(crate) informer: Informer,
    /// Everything was listed then.
    pub(crate) listed_at: Option<Millis>,
    /// Revision of the registry that was seen last.
    pub(crate) registry_at: u64,
    /// Revision of the registry that the last plan was made of.
    pub(crate) planned_at: u64,
    /// The registry of that revision, kept because it is large.
    pub(crate) registry: Option<(u64, Registry)>,
    pub(crate) heard: BTreeMap<String, Sample>,
    /// The epoch that was taken in a term.
    pub(crate) epoch: Option<(u32, u64)>,
    pub(crate) next_look: Millis,
    /// Revisions of both stores after the last look.
    pub(crate) looked_at: (u64, u64),
    /// It is dead or stands still until then.
    pub(crate) away_until: Millis,
    /// What a broken planner keeps.
    pub(crate) memory: Vec<DrainStatus>,
}

impl Replica {
    /// Its version of the cluster.
    pub(crate) fn cluster_version(&self, uid: &str) -> Option<u64> {
        self.informer.view(Kind::Cluster).values().find(|cluster| cluster.uid == uid).map(|cluster| cluster.version)
    }
}

/// Who leads. A Lease in the large: renewals, and what others may do when they stop.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lease {
    holder: Option<usize>,
    renewed: Millis,
    /// Counts its holders.
    pub(crate) term: u32,
}

impl Lease {
    /// A process that runs renews its Lease, or takes one that nobody renews.
    pub(crate) fn run(&mut self, who: usize, now: Millis) {
        if self.holder == Some(who) {
            self.renewed = now;
        } else if self.holder.is_none() || now.since(self.renewed) >= VALID_MS {
            (self.holder, self.renewed, self.term) = (Some(who), now, self.term + 1);
        }
    }

    /// Its holder ends well.
    pub(crate) const fn release(&mut self) {
        self.holder = None;
    }

    pub(crate) const fn holder(&self) -> Option<usize> {
        self.holder
    }

    /// Whether somebody leads who runs.
    pub(crate) fn is_led(&self, now: Millis) -> bool {
        self.holder.is_some() && self.renewed == now
    }

    /// Whether a process may write in a term that it holds.
    pub(crate) fn may_write(&self, who: usize, term: u32, now: Millis) -> bool {
        self.holder == Some(who) && self.term == term && now.since(self.renewed) < MAY_WRITE_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_stops_to_write_before_another_may_take_the_lease() {
        let mut lease = Lease::default();
        lease.run(0, Millis(1000));
        for now in (1000..16_000).step_by(500).map(Millis) {
            lease.run(1, now);
            assert_eq!(lease.holder(), Some(0));
            assert_eq!(lease.may_write(0, 1, now), now.0 < 11_000);
        }
        lease.run(1, Millis(16_000));
        assert!(lease.may_write(1, 2, Millis(16_000)) && !lease.may_write(0, 1, Millis(16_000)));
        lease.release();
        lease.run(0, Millis(16_001));
        assert!(lease.may_write(0, 3, Millis(16_001)));
    }
}
