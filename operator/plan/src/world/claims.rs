//! Who owns which slot, by columns: 4,096 slots are looked at and copied at every look, so an owner is a number of two bytes
//! and only slots that carry something are told apart.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use throng_core::Slot;
use throng_core::slot::SLOTS;

use super::Claim;
use crate::moves::Activity;

/// No owner, in the column of owners.
const NOBODY: u16 = u16::MAX;

/// The slots of one role that somebody owns. In JSON a map from the slot to its [`Claim`].
#[derive(Clone, Debug, Default)]
pub struct Claims {
    /// Place of the owner in `uids`, by slot; empty as long as nobody has claimed anything.
    owners: Vec<u16>,
    uids: Vec<Arc<str>>,
    places: BTreeMap<Arc<str>, u16>,
    carries: BTreeMap<Slot, Activity>,
}

impl Claims {
    /// Uid of the Pod that owns a slot.
    #[inline]
    #[must_use]
    pub fn owner(&self, slot: Slot) -> Option<&Arc<str>> {
        self.uids.get(self.place(slot)?)
    }

    /// Place of a slot's owner in [`Claims::uids`].
    #[inline]
    #[must_use]
    pub fn place(&self, slot: Slot) -> Option<usize> {
        self.owners.get(slot.index()).filter(|place| **place != NOBODY).map(|place| usize::from(*place))
    }

    /// Uids of all owners, and perhaps of some that own nothing any more.
    #[must_use]
    pub fn uids(&self) -> &[Arc<str>] {
        &self.uids
    }

    /// Place of a Pod in [`Claims::uids`], if it ever owned anything.
    #[must_use]
    pub fn place_of_uid(&self, uid: &str) -> Option<usize> {
        self.places.get(uid).map(|place| usize::from(*place))
    }

    /// What a slot carries, as its owner said last.
    #[inline]
    #[must_use]
    pub fn activity(&self, slot: Slot) -> Activity {
        self.carries.get(&slot).copied().unwrap_or_default()
    }

    /// Slots that carry something, with their owners.
    pub fn busy(&self) -> impl Iterator<Item = (Slot, &Arc<str>, Activity)> {
        self.carries.iter().filter_map(|(&slot, &activity)| Some((slot, self.owner(slot)?, activity)))
    }

    /// Slots that somebody owns, with the places of their owners.
    pub fn owned(&self) -> impl Iterator<Item = (Slot, usize)> {
        Slot::all()
            .zip(&self.owners)
            .filter(|(_, place)| **place != NOBODY)
            .map(|(slot, place)| (slot, (*place).into()))
    }

    /// How many slots each owner has, by its place.
    #[must_use]
    pub fn counts(&self) -> Vec<u32> {
        let mut counts = vec![0; self.uids.len()];
        for (_, place) in self.owned() {
            if let Some(count) = counts.get_mut(place) {
                *count += 1;
            }
        }
        counts
    }

    /// Writes the claim of a slot over the one before.
    pub fn insert(&mut self, slot: Slot, claim: &Claim) {
        if self.owners.is_empty() {
            self.owners = vec![NOBODY; usize::from(SLOTS)];
        }
        let place = self.place_of(&claim.uid);
        if let Some(owner) = self.owners.get_mut(slot.index()) {
            *owner = place;
        }
        self.carry(slot, Activity { rooms: claim.rooms, users: claim.users });
    }

    /// Notes what a slot carries.
    pub fn carry(&mut self, slot: Slot, activity: Activity) {
        if activity == Activity::default() {
            self.carries.remove(&slot);
        } else {
            self.carries.insert(slot, activity);
        }
    }

    /// Takes all claims of a Pod away.
    pub fn release(&mut self, uid: &str) {
        let Some(&place) = self.places.get(uid) else { return };
        for owner in self.owners.iter_mut().filter(|owner| **owner == place) {
            *owner = NOBODY;
        }
        let owners = &self.owners;
        self.carries.retain(|slot, _| owners.get(slot.index()).is_some_and(|owner| *owner != NOBODY));
    }

    fn place_of(&mut self, uid: &Arc<str>) -> u16 {
        if let Some(&place) = self.places.get(uid) {
            return place;
        }
        // There are never more Pods at a time than a placement can name, which is one less than numbers.
        let place = u16::try_from(self.uids.len()).unwrap_or(NOBODY);
        self.uids.push(Arc::clone(uid));
        self.places.insert(Arc::clone(uid), place);
        place
    }

    fn iter(&self) -> impl Iterator<Item = (Slot, Claim)> {
        self.owned().filter_map(|(slot, place)| {
            let (uid, Activity { rooms, users }) = (self.uids.get(place)?, self.activity(slot));
            Some((slot, Claim { uid: Arc::clone(uid), rooms, users }))
        })
    }
}

impl PartialEq for Claims {
    /// Whether the same Pods own the same slots; in which order they came does not count.
    fn eq(&self, other: &Self) -> bool {
        let owners = |claims: &Self| Slot::all().map(|slot| claims.owner(slot).cloned()).collect::<Vec<_>>();
        self.carries == other.carries
            && (self.owners == other.owners && self.uids == other.uids || owners(self) == owners(other))
    }
}

impl Eq for Claims {}

impl FromIterator<(Slot, Claim)> for Claims {
    fn from_iter<T: IntoIterator<Item = (Slot, Claim)>>(claims: T) -> Self {
        let mut all = Self::default();
        claims.into_iter().for_each(|(slot, claim)| all.insert(slot, &claim));
        all
    }
}

impl Serialize for Claims {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeMap::<Slot, Claim>::deserialize(deserializer).map(|claims| claims.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(number: u16) -> Slot {
        Slot::new(number).unwrap()
    }

    fn claim(uid: &str, users: u64) -> Claim {
        Claim { uid: uid.into(), rooms: 0, users }
    }

    #[test]
    fn a_claim_replaces_the_one_before_and_goes_with_its_pod() {
        let mut claims = Claims::default();
        assert_eq!((claims.owner(slot(7)), claims.owned().count()), (None, 0));
        for (number, uid, users) in [(7, "a", 3), (8, "a", 0), (9, "b", 5), (7, "b", 4)] {
            claims.insert(slot(number), &claim(uid, users));
        }
        assert_eq!(claims.owner(slot(7)).map(|uid| &**uid), Some("b"));
        assert_eq!((claims.activity(slot(7)).users, claims.counts()), (4, vec![1, 2]));
        assert_eq!(claims.busy().map(|(slot, ..)| slot.number()).collect::<Vec<_>>(), [7, 9]);
        claims.release("b");
        assert_eq!((claims.counts(), claims.busy().count(), claims.activity(slot(7)).users), (vec![1, 0], 0, 0));
        claims.release("nobody");
    }

    #[test]
    fn the_order_in_which_claims_came_does_not_count() {
        let all = [(1, "a", 0), (2, "b", 9), (3, "a", 1)];
        let one = |(number, uid, users): (u16, &str, u64)| (slot(number), claim(uid, users));
        let claims: Claims = all.into_iter().map(one).collect();
        let turned: Claims = all.into_iter().rev().map(one).collect();
        assert_eq!(claims, turned);
        let fewer: Claims = all.into_iter().take(2).map(one).collect();
        assert_ne!(claims, fewer);
        let json = serde_json::to_string(&claims).unwrap();
        assert!(json.starts_with(r#"{"1":{"uid":"a","rooms":0,"users":0},"2":"#), "{json}");
        assert_eq!(serde_json::from_str::<Claims>(&json).unwrap(), claims);
    }
}
