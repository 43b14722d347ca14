//! Slots and who owns them: owners follow the placement in force, idle slots at once, busy ones two a second.

use std::collections::BTreeMap;
use std::sync::Arc;

use throng_core::{Role, Slot};
use throng_plan::moves::Activity;
use throng_plan::world::Claim;

use super::Ground;

/// Busy slots of a role that move in a tick.
const BUSY_AT_ONCE: usize = 2;
/// Owners say what their slots carry so often, in ticks.
const SAY_EVERY: u64 = 5;

/// What owners acted on last: nothing moves while it is the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    revision: Option<u64>,
    moving: bool,
    /// Slots of each Pod, as of a revision.
    counts: (u64, BTreeMap<Arc<str>, u64>),
}

impl Ground {
    pub(super) fn users_of_slots(&self, role: Role, uid: &str) -> u64 {
        let claims = self.etcd.now().claims.of(role);
        let Some(its) = claims.place_of_uid(uid) else { return 0 };
        let own = |slot: &Slot| claims.place(*slot) == Some(its);
        self.crowd.in_slots.of(role).iter().filter(|(slot, _)| own(slot)).map(|(_, users)| users).sum()
    }

    /// Slots of a Pod at the end of the last tick.
    pub(super) fn slots_of(&self, role: Role, uid: &str) -> u64 {
        self.slots.of(role).counts.1.get(uid).copied().unwrap_or(0)
    }

    fn count_slots(&mut self, role: Role) {
        let revision = self.etcd.revision();
        if self.slots.of(role).counts.0 == revision {
            return;
        }
        let claims = self.etcd.now().claims.of(role);
        let counts = claims.uids().iter().cloned().zip(claims.counts().into_iter().map(u64::from)).collect();
        self.slots.of_mut(role).counts = (revision, counts);
    }

    /// Slots of both roles that have some.
    pub(super) fn move_slots(&mut self) {
        for role in [Role::Chatroom, Role::Message] {
            let seen = self.slots.of(role);
            if seen.revision != Some(self.etcd.revision()) || seen.moving {
                self.follow_placement(role);
            }
            if (self.now.0 / 1000).is_multiple_of(SAY_EVERY) {
                self.say(role);
            }
            self.count_slots(role);
        }
    }

    fn follow_placement(&mut self, role: Role) {
        let registry = Arc::clone(self.etcd.now());
        let Some(document) = &registry.documents.of(role).in_force else { return };
        let members = registry.members.iter().filter(|(_, member)| member.role == role && member.ready);
        let living: BTreeMap<&str, Arc<str>> =
            members.map(|(uid, member)| (member.pod.as_str(), Arc::from(uid.as_str()))).collect();
        let claims = registry.claims.of(role);
        let table: Vec<Option<&Arc<str>>> = document.0.pods().iter().map(|placed| living.get(&*placed.pod)).collect();
        let (mut moves, mut busy, mut moving) = (Vec::new(), 0, false);
        for slot in Slot::all() {
            let first = document.0.places(slot).find_map(|place| table.get(place).copied().flatten());
            let Some(to) = first else { continue };
            let users = self.crowd.in_slots.of(role).get(&slot).copied().unwrap_or(0);
            match claims.owner(slot) {
                Some(owner) if owner == to => continue,
                Some(_) if users > 0 && (busy >= BUSY_AT_ONCE || self.stuck_until > self.now) => {
                    moving = true;
                    continue;
                }
                Some(_) if users > 0 => busy += 1,
                _ => {}
            }
            let rooms = u64::from(users > 0 && role == Role::Chatroom);
            moves.push((slot, Claim { uid: Arc::clone(to), rooms, users }));
        }
        if !moves.is_empty() {
            self.etcd.write(|registry| {
                let claims = registry.claims.of_mut(role);
                for (slot, claim) in &moves {
                    claims.insert(*slot, claim);
                }
            });
        }
        let revision = Some(self.etcd.revision());
        let seen = self.slots.of_mut(role);
        (seen.revision, seen.moving) = (revision, moving);
    }

    /// Owners say what their slots carry.
    fn say(&mut self, role: Role) {
        let (users, claims) = (self.crowd.in_slots.of(role), self.etcd.now().claims.of(role));
        let known = claims.busy().map(|(slot, ..)| slot).chain(users.keys().copied());
        let is = |slot: &Slot| users.get(slot).copied().unwrap_or(0);
        let differs = |slot: &Slot| claims.owner(*slot).is_some() && claims.activity(*slot).users != is(slot);
        let changed: Vec<(Slot, u64)> = known.filter(differs).map(|slot| (slot, is(&slot))).collect();
        if changed.is_empty() {
            return;
        }
        self.etcd.write(|registry| {
            for (slot, users) in changed {
                let rooms = u64::from(users > 0 && role == Role::Chatroom);
                registry.claims.of_mut(role).carry(slot, Activity { rooms, users });
            }
        });
    }
}
