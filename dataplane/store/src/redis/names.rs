//! Names of keys.
//!
//! Every key starts with `<namespace>/<cluster>/` and has one hash tag: `{own}` for ownership, `{r:<slot>}` for the rooms
//! of a slot, `{m:<room>:<shard>}` for a shard of members. What is in one tag is on one node of a cluster and can be
//! changed by one call.
//!
//! Ownership has a tag of its own because fences, grace, marks and the birth mark have to be lost together or not at all:
//! were the fence of a slot on another node than the grace of its owner, a node that comes back empty could let a taker
//! believe that nobody owns the slot, while the owner's grace goes on elsewhere.

use throng_core::{InstanceId, RoomId, Slot};

use crate::error::StoreError;
use crate::write::Tag;

/// Names of one Throng cluster.
#[derive(Clone, Debug)]
pub(super) struct Names {
    prefix: String,
}

impl Names {
    /// Names under `<namespace>/<cluster>`. Braces would break the hash tags.
    pub(super) fn new(namespace: &str, cluster: &str) -> Result<Self, StoreError> {
        for part in [namespace, cluster] {
            if part.is_empty() || part.contains(['{', '}', '/']) || part.chars().any(char::is_control) {
                return Err(StoreError::refused(format!(
                    "a namespace or cluster name must not be empty nor hold braces or slashes: {part:?}"
                )));
            }
        }
        Ok(Self { prefix: format!("{namespace}/{cluster}") })
    }

    /// What matches every key of the cluster and no other, as `SCAN` reads it.
    pub(super) fn pattern(&self) -> String {
        let special = |c: char| matches!(c, '*' | '?' | '[' | ']' | '\\').then_some('\\');
        let literal: String = self.prefix.chars().flat_map(|c| special(c).into_iter().chain([c])).collect();
        literal + "/*"
    }

    pub(super) fn birth(&self) -> String {
        self.own("birth")
    }

    pub(super) fn incarnation(&self) -> String {
        self.own("incarnation")
    }

    pub(super) fn fences(&self) -> String {
        self.own("fences")
    }

    pub(super) fn grace(&self, instance: &InstanceId) -> String {
        self.own(&format!("grace:{instance}"))
    }

    pub(super) fn marks(&self, instance: &InstanceId) -> String {
        self.own(&format!("marks:{instance}"))
    }

    fn own(&self, name: &str) -> String {
        format!("{}/{{own}}:{name}", self.prefix)
    }

    /// Fence of the writers of a tag.
    pub(super) fn write_fence(&self, tag: &Tag) -> String {
        match tag {
            Tag::Slot(slot) => self.slot(*slot, "fence"),
            Tag::Shard(room, shard) => self.shard(room, *shard, "fence"),
        }
    }

    /// Hash of the rooms of a slot: room to meta.
    pub(super) fn rooms(&self, slot: Slot) -> String {
        self.slot(slot, "rooms")
    }

    /// Hash of all list entries of a room.
    pub(super) fn lists(&self, slot: Slot, room: &RoomId) -> String {
        self.slot(slot, &format!("lists:{room}"))
    }

    /// Hash of the ended epochs of a room.
    pub(super) fn sealed(&self, slot: Slot, room: &RoomId) -> String {
        self.slot(slot, &format!("sealed:{room}"))
    }

    /// Hash of the last numbers of a room.
    pub(super) fn ends(&self, slot: Slot, room: &RoomId) -> String {
        self.slot(slot, &format!("ends:{room}"))
    }

    /// Sorted set of the keys of recent publishes.
    pub(super) fn remembered(&self, slot: Slot, room: &RoomId) -> String {
        self.slot(slot, &format!("keys:{room}"))
    }

    /// Start of the names of a room's log streams; `<epoch>:<lane>` follows.
    pub(super) fn log_prefix(&self, slot: Slot, room: &RoomId) -> String {
        self.slot(slot, &format!("log:{room}:"))
    }

    /// Hash of a shard's members.
    pub(super) fn members(&self, room: &RoomId, shard: u16) -> String {
        self.shard(room, shard, "members")
    }

    fn slot(&self, slot: Slot, name: &str) -> String {
        format!("{}/{{r:{slot}}}:{name}", self.prefix)
    }

    fn shard(&self, room: &RoomId, shard: u16, name: &str) -> String {
        format!("{}/{{m:{}:{shard}}}:{name}", self.prefix, escape(room.as_str()))
    }
}

/// A hash tag ends at the first closing brace: a room's name must not hold one.
fn escape(room: &str) -> String {
    room.replace('%', "%25").replace('{', "%7B").replace('}', "%7D")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn names() -> Names {
        Names::new("live", "final").unwrap()
    }

    /// The part of a key that Redis hashes.
    fn hash_tag(key: &str) -> &str {
        let from = key.find('{').unwrap() + 1;
        let tag = &key[from..];
        &tag[..tag.find('}').unwrap()]
    }

    fn all_of(room: &RoomId) -> Vec<String> {
        let (names, slot) = (names(), Slot::of(room.as_str()));
        let mut all = vec![
            names.lists(slot, room),
            names.sealed(slot, room),
            names.ends(slot, room),
            names.remembered(slot, room),
            names.members(room, 0),
            names.members(room, 1),
            names.write_fence(&Tag::Shard(room.clone(), 0)),
        ];
        for (epoch, lane) in [(1, 0), (1, 1), (11, 1)] {
            all.push(format!("{}{epoch}:{lane}", names.log_prefix(slot, room)));
        }
        all
    }

    #[test]
    fn keys_read_as_documented() {
        let room = RoomId::new("final").unwrap();
        assert_eq!(names().rooms(Slot::of("final")), "live/final/{r:1764}:rooms");
        assert_eq!(names().members(&room, 3), "live/final/{m:final:3}:members");
        assert_eq!(names().fences(), "live/final/{own}:fences");
    }

    #[test]
    fn braces_in_a_cluster_name_are_refused() {
        assert!(Names::new("live", "a{b").is_err());
        assert!(Names::new("", "a").is_err());
        assert!(Names::new("a/b", "a").is_err());
    }

    proptest! {
        #[test]
        fn no_two_rooms_share_a_key(a in "[ab:{}%0-9]{1,6}", b in "[ab:{}%0-9]{1,6}") {
            prop_assume!(a != b);
            let (a, b) = (RoomId::new(&a).unwrap(), RoomId::new(&b).unwrap());
            let keys: BTreeSet<String> = all_of(&a).into_iter().chain(all_of(&b)).collect();
            prop_assert_eq!(keys.len(), 20);
        }

        #[test]
        fn what_is_changed_together_shares_a_hash_tag(room in "[ab:{}%0-9]{1,6}") {
            let room = RoomId::new(&room).unwrap();
            let slot = Slot::of(room.as_str());
            let tag = Tag::Slot(slot);
            for key in [names().lists(slot, &room), names().log_prefix(slot, &room), names().rooms(slot)] {
                let fence = names().write_fence(&tag);
                prop_assert_eq!(hash_tag(&key), hash_tag(&fence));
            }
            let (members, fence) = (names().members(&room, 7), names().write_fence(&Tag::Shard(room.clone(), 7)));
            prop_assert_eq!(hash_tag(&members), hash_tag(&fence));
            let other = names().members(&room, 8);
            prop_assert_ne!(hash_tag(&members), hash_tag(&other));
        }
    }
}
