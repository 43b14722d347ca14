//! Which Pod *should* own a slot: the document `placement/<role>`, written by the operator, read by every role.
//!
//! Placement is intent. Who *does* own a slot say the claims, see [`crate::ownership`]. The document is compact
//! ([`Placement::encode`], about 24 KiB whatever the number of Pods) because it is rewritten as slots move.

mod codec;
mod turn;

use std::collections::BTreeSet;
use std::sync::Arc;

pub use codec::DecodeError;
pub use turn::{Electorate, STAGGER_MS, Turn};

use crate::Slot;
use crate::slot::SLOTS;

/// Pods on a preference list: the owner, its standby and a second one.
pub const LIST: usize = 3;

/// No Pod, in the table of indices.
const NOBODY: u16 = u16::MAX;

/// A Pod that slots may be placed on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlacedPod {
    /// Name of the Pod. It outlives a restart of its container.
    pub pod: Arc<str>,
    /// Revision of the cluster that it runs.
    pub revision: Arc<str>,
}

/// Preference lists of one role's slots. Owned and written by the operator's leader only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Counts the documents of a role; readers take no smaller one of the same leader epoch.
    pub version: u64,
    /// Epoch of the leader that wrote it: a counter of the cluster in etcd, zero where nobody leads (`throng dev`).
    pub leader_epoch: u64,
    /// Revisions whose Pods must not claim by themselves: a rollback blocked them.
    pub blocked: BTreeSet<Arc<str>>,
    pods: Vec<PlacedPod>,
    lists: Vec<[u16; LIST]>,
}

impl std::hash::Hash for Placement {
    /// The version says it all, or nearly: a hash of 4,096 lists would cost more than it tells apart.
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (self.leader_epoch, self.version, &self.pods).hash(state);
    }
}

impl Default for Placement {
    fn default() -> Self {
        Self {
            version: 0,
            leader_epoch: 0,
            blocked: BTreeSet::new(),
            pods: Vec::new(),
            lists: vec![[NOBODY; LIST]; usize::from(SLOTS)],
        }
    }
}

/// More Pods than indices: 65,535 is the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a placement names at most 65,535 Pods, this one {0}")]
pub struct TooManyPods(pub usize);

impl Placement {
    /// An empty document over a table of Pods: every list is empty.
    pub fn over(pods: Vec<PlacedPod>) -> Result<Self, TooManyPods> {
        if pods.len() >= usize::from(NOBODY) {
            return Err(TooManyPods(pods.len()));
        }
        Ok(Self { pods, ..Self::default() })
    }

    /// The table of Pods.
    #[must_use]
    pub fn pods(&self) -> &[PlacedPod] {
        &self.pods
    }

    /// Writes a slot's list: places in the table, the owner first. Places outside the table and those beyond
    /// [`LIST`] are left out.
    #[inline]
    pub fn set(&mut self, slot: Slot, places: impl IntoIterator<Item = usize>) {
        let mut list = [NOBODY; LIST];
        let known = places.into_iter().filter(|&place| place < self.pods.len());
        for (entry, place) in list.iter_mut().zip(known) {
            *entry = u16::try_from(place).unwrap_or(NOBODY);
        }
        if let Some(entry) = self.lists.get_mut(slot.index()) {
            *entry = list;
        }
    }

    /// A slot's list, the owner first.
    pub fn list(&self, slot: Slot) -> impl Iterator<Item = &PlacedPod> {
        self.places(slot).filter_map(|place| self.pods.get(place))
    }

    /// Place in the table of the Pod that should own a slot.
    #[inline]
    #[must_use]
    pub fn place(&self, slot: Slot) -> Option<usize> {
        self.places(slot).next()
    }

    /// A slot's list as places in the table, the owner first.
    #[inline]
    pub fn places(&self, slot: Slot) -> impl Iterator<Item = usize> {
        let list = self.lists.get(slot.index()).copied().unwrap_or([NOBODY; LIST]);
        list.into_iter().map(usize::from).filter(|place| *place < self.pods.len())
    }

    /// The Pod that should own a slot.
    #[must_use]
    pub fn owner(&self, slot: Slot) -> Option<&PlacedPod> {
        self.list(slot).next()
    }

    /// Whether it differs from `other` by its version at most.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        let rest = |of: &Self| (of.leader_epoch, of.pods.len(), of.lists.len());
        rest(self) == rest(other)
            && self.blocked == other.blocked
            && self.pods == other.pods
            && self.lists == other.lists
    }

    /// Whether it replaces `other`: a later leader's, or a later one of the same leader.
    #[must_use]
    pub fn supersedes(&self, other: &Self) -> bool {
        (self.leader_epoch, self.version) > (other.leader_epoch, other.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_the_owner_first_and_forgets_unknown_places() {
        let pods = ["a", "b"].map(|pod| PlacedPod { pod: pod.into(), revision: "r1".into() });
        let mut placement = Placement::over(pods.into()).unwrap();
        let slot = Slot::new(7).unwrap();
        assert_eq!(placement.owner(slot), None);
        placement.set(slot, [1, 9, 0, 1]);
        let names: Vec<_> = placement.list(slot).map(|pod| &*pod.pod).collect();
        assert_eq!(names, ["b", "a", "b"]);
        assert_eq!((placement.place(slot), placement.place(Slot::new(8).unwrap())), (Some(1), None));
    }

    #[test]
    fn a_new_leader_outranks_every_version_of_the_old_one() {
        let old = Placement { leader_epoch: 3, version: 90, ..Placement::default() };
        let new = Placement { leader_epoch: 4, version: 1, ..Placement::default() };
        assert!(new.supersedes(&old) && !old.supersedes(&new) && !old.supersedes(&old));
        assert!(!new.says_the_same(&old));
        assert!(new.says_the_same(&Placement { version: 2, ..new.clone() }));
    }
}
