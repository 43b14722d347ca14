//! Builds views from listings and changes. Pure.

use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;
use throng_core::{Millis, Role};

use super::{Health, View};
use crate::keys::{Key, Keys};
use crate::kv::Record;
use crate::ledger::parse_number;
use crate::model::{Claim, ClaimKey, Holder, Placement, Registered, StoredPolicy};

/// Holders kept for sharing before those that nobody refers to are dropped.
const HOLDERS_KEPT: usize = 256;

/// The registry's content as last heard.
pub(crate) struct Table {
    keys: Keys,
    view: View,
    /// One value for all claims that say the same, so that 4,096 claims of one owner are 4,096 pointers, parsed once.
    holders: HashMap<Bytes, Arc<Holder>>,
}

impl Table {
    pub(crate) fn new(keys: Keys, since_ms: Millis) -> Self {
        Self { keys, view: View::empty(since_ms), holders: HashMap::new() }
    }

    /// Begins again with a full listing of the cluster's keys at `revision`: what is not in it is gone, whatever was heard
    /// before.
    pub(crate) fn rebuild<'a>(&mut self, listing: impl Iterator<Item = (&'a str, Record)>, revision: u64) {
        self.view = View::empty(Millis::ZERO);
        for (key, record) in listing {
            self.apply(key, Some(record), revision);
        }
        self.view.revision = revision;
        self.view.health = Health::Live;
        self.forget_unused_holders();
    }

    /// Notes a change: a record, or none where the key was deleted. Keys of others, and values that cannot be read, count
    /// as nothing.
    pub(crate) fn apply(&mut self, key: &str, record: Option<Record>, revision: u64) {
        self.view.revision = self.view.revision.max(revision);
        match self.keys.read(key) {
            Some(Key::Claim(claimed)) => {
                let claim = record.and_then(|record| self.claim(record));
                self.set_claim(claimed, claim);
            }
            Some(Key::Member(role, instance)) => {
                let members = Arc::make_mut(of_role(&mut self.view.members, role));
                match record.as_ref().and_then(registered) {
                    Some(member) => members.insert(instance, Arc::new(member)),
                    None => members.remove(&instance),
                };
            }
            Some(Key::Placement(role)) => {
                *of_role(&mut self.view.placements, role) =
                    record.map(|record| Placement { bytes: record.value, mod_revision: record.mod_revision });
            }
            Some(Key::Target(role)) => {
                *of_role(&mut self.view.targets, role) =
                    record.map(|record| Placement { bytes: record.value, mod_revision: record.mod_revision });
            }
            Some(Key::Policy) => self.view.policy = record.as_ref().map(policy),
            Some(Key::Incarnation) => self.view.incarnation = record.and_then(|record| parse_number(&record.value)),
            Some(Key::LeaderEpoch) => self.view.leader_epoch = record.and_then(|record| parse_number(&record.value)),
            None => {}
        }
    }

    /// What is known now.
    pub(crate) fn view(&self) -> View {
        self.view.fork()
    }

    pub(crate) const fn revision(&self) -> u64 {
        self.view.revision
    }

    pub(crate) const fn is_live(&self) -> bool {
        self.view.health.is_healthy()
    }

    /// What is known stays, no longer current since `since_ms`, or longer if it was stale before.
    pub(crate) const fn mark_stale(&mut self, since_ms: Millis) {
        if self.is_live() {
            self.view.health = Health::Stale { since_ms };
        }
    }

    /// What is known is current.
    pub(crate) const fn mark_live(&mut self) {
        self.view.health = Health::Live;
    }

    fn set_claim(&mut self, key: ClaimKey, claim: Option<Claim>) {
        let (table, slot) = match key {
            ClaimKey::Rooms(slot) => (&mut self.view.rooms, slot),
            ClaimKey::Users(slot) => (&mut self.view.users, slot),
        };
        if let Some(entry) = Arc::make_mut(table).get_mut(slot.index()) {
            *entry = claim;
        }
    }

    fn claim(&mut self, record: Record) -> Option<Claim> {
        let lease = record.lease?;
        let mod_revision = record.mod_revision;
        Some(Claim { holder: self.holder(record.value)?, lease, mod_revision })
    }

    fn holder(&mut self, value: Bytes) -> Option<Arc<Holder>> {
        if let Some(holder) = self.holders.get(&value) {
            return Some(Arc::clone(holder));
        }
        let holder: Arc<Holder> = Arc::new(serde_json::from_slice(&value).ok()?);
        if self.holders.len() >= HOLDERS_KEPT {
            self.forget_unused_holders();
        }
        self.holders.insert(value, Arc::clone(&holder));
        Some(holder)
    }

    fn forget_unused_holders(&mut self) {
        self.holders.retain(|_, holder| Arc::strong_count(holder) > 1);
    }
}

fn registered(record: &Record) -> Option<Registered> {
    Some(Registered { lease: record.lease?, member: serde_json::from_slice(&record.value).ok()? })
}

fn policy(record: &Record) -> StoredPolicy {
    let policy = serde_json::from_slice(&record.value).ok().map(Arc::new);
    StoredPolicy { policy, mod_revision: record.mod_revision }
}

const fn of_role<T>(table: &mut [T; Role::ALL.len()], role: Role) -> &mut T {
    let [gateway, chatroom, message] = table;
    match role {
        Role::Gateway => gateway,
        Role::Chatroom => chatroom,
        Role::Message => message,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use throng_core::{Epoch, InstanceId, Slot};

    use super::*;
    use crate::model::{LeaseId, Member};

    fn keys() -> Keys {
        Keys::new("ns", "live").unwrap()
    }

    fn record(value: &impl serde::Serialize, mod_revision: u64, lease: i64) -> Record {
        Record { value: Bytes::from(serde_json::to_vec(value).unwrap()), mod_revision, lease: Some(LeaseId(lease)) }
    }

    fn holder(name: &str) -> Holder {
        Holder { instance: InstanceId::new(name).unwrap(), address: format!("{name}:1").into(), revision: "r1".into() }
    }

    fn member(ready: bool) -> Member {
        Member {
            pod: "pod".into(),
            uid: "u".into(),
            address: "a:1".into(),
            http_address: "a:2".into(),
            revision: "r1".into(),
            draining: false,
            redis_ok: true,
            ready,
            started_ms: Millis(5),
        }
    }

    fn number(text: &str) -> Record {
        Record { value: Bytes::copy_from_slice(text.as_bytes()), mod_revision: 1, lease: None }
    }

    #[test]
    fn a_claim_becomes_a_route_with_the_epoch_of_its_revision_and_incarnation() {
        let mut table = Table::new(keys(), Millis::ZERO);
        let slot = Slot::new(7).unwrap();
        let key = keys().claim(ClaimKey::Rooms(slot));
        table.rebuild([(key.as_str(), record(&holder("c-0"), 90, 5))].into_iter(), 90);
        assert_eq!(table.view().routes().rooms.owner(slot), None, "without an incarnation a claim gives no right");

        table.apply("ns/live/incarnation", Some(number("3")), 91);
        let view = table.view();
        let routes = view.routes();
        let owner = routes.rooms.owner(slot).unwrap();
        assert_eq!((owner.instance.as_str(), &*owner.address), ("c-0", "c-0:1"));
        assert_eq!(owner.epoch, Epoch::of_claim(3, 90));
        assert_eq!((view.revision, view.health), (91, Health::Live));
    }

    #[test]
    fn a_member_that_is_not_ready_gets_nothing_new() {
        let mut table = Table::new(keys(), Millis::ZERO);
        let instance = InstanceId::new("m-0").unwrap();
        let key = keys().member(Role::Message, &instance);
        table.apply(&key, Some(record(&member(false), 1, 5)), 1);
        assert!(table.view().routes().message[&instance].draining);
        table.apply(&key, Some(record(&member(true), 2, 5)), 2);
        assert!(!table.view().routes().message[&instance].draining);
        table.apply(&key, None, 3);
        assert!(table.view().routes().message.is_empty());
    }

    #[test]
    fn members_of_a_newer_version_are_read_and_garbage_is_nothing() {
        let mut table = Table::new(keys(), Millis::ZERO);
        let mut newer = serde_json::to_value(member(true)).unwrap();
        newer["later"] = serde_json::json!({"x": 1});
        table.apply("ns/live/member/gateway/g", Some(record(&newer, 1, 5)), 1);
        assert_eq!(table.view().members(Role::Gateway).len(), 1);
        table.apply("ns/live/member/gateway/g", Some(number("not json")), 2);
        table.apply("ns/live/claim/chatroom/1", Some(number("{}")), 3);
        assert_eq!(table.view().members(Role::Gateway).len(), 0);
        assert_eq!(table.view().claims(Role::Chatroom).count(), 0);
    }

    #[test]
    fn claims_of_one_owner_share_it_and_a_view_keeps_what_it_showed() {
        let mut table = Table::new(keys(), Millis::ZERO);
        for slot in Slot::all() {
            table.apply(&keys().claim(ClaimKey::Users(slot)), Some(record(&holder("m-0"), 9, 5)), 9);
        }
        let before = table.view();
        let shared: Vec<_> = before.claims(Role::Message).map(|(_, claim)| Arc::as_ptr(&claim.holder)).collect();
        assert_eq!(shared.len(), 4096);
        assert!(shared.iter().all(|&at| at == shared[0]));

        table.apply(&keys().claim(ClaimKey::Users(Slot::new(1).unwrap())), None, 10);
        assert_eq!(before.claims(Role::Message).count(), 4096);
        assert_eq!(table.view().claims(Role::Message).count(), 4095);
        assert!(Arc::ptr_eq(&before.rooms, &table.view().rooms), "a table that did not change is shared");
    }

    #[test]
    fn holders_that_nobody_refers_to_are_forgotten() {
        let mut table = Table::new(keys(), Millis::ZERO);
        for n in 0..2000 {
            let key = keys().claim(ClaimKey::Rooms(Slot::new(7).unwrap()));
            table.apply(&key, Some(record(&holder(&format!("c-{n}")), n, 5)), n);
        }
        assert!(table.holders.len() <= HOLDERS_KEPT);
    }

    proptest! {
        /// Changes one by one and one listing of what is left show the same.
        #[test]
        fn a_listing_shows_what_the_changes_led_to(steps in prop::collection::vec((0u16..6, 0u8..4, any::<bool>()), 0..60)) {
            let mut changed = Table::new(keys(), Millis::ZERO);
            let mut stored = std::collections::BTreeMap::new();
            for (revision, (slot, owner, kept)) in (1u64..).zip(steps) {
                let slot = Slot::new(slot).unwrap();
                let key = keys().claim(if owner % 2 == 0 { ClaimKey::Rooms(slot) } else { ClaimKey::Users(slot) });
                let now = kept.then(|| record(&holder(&format!("o-{owner}")), revision, 5));
                changed.apply(&key, now.clone(), revision);
                match now { Some(now) => stored.insert(key, now), None => stored.remove(&key) };
            }
            let revision = changed.revision();
            changed.mark_live();
            let mut listed = Table::new(keys(), Millis::ZERO);
            listed.apply("ns/live/incarnation", Some(number("9")), 1);
            listed.rebuild(stored.iter().map(|(key, record)| (key.as_str(), record.clone())), revision);
            prop_assert_eq!(listed.view(), changed.view());
        }
    }
}
