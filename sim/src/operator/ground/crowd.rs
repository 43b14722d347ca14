//! Users: how many there want to be, and on which gateway they are.

use std::collections::BTreeMap;

use throng_core::{Role, Slot};
use throng_plan::pools::Pools;

use super::Ground;

/// Users that a draining gateway moves in a tick.
const PACE: u64 = 15;
/// Most users that come or go in a tick.
const RUSH: u64 = 30;

/// Everybody.
#[derive(Clone, Debug, Default)]
pub(crate) struct Crowd {
    /// How many there want to be: connections, members, users with a home.
    pub(crate) wanted: Pools<u64>,
    /// Users in each slot that has some.
    pub(super) in_slots: Pools<BTreeMap<Slot, u64>>,
}

impl Ground {
    /// Users come, go, and leave draining gateways; those in slots come and go.
    pub(super) fn move_crowd(&mut self) {
        let takers: Vec<String> =
            self.processes.keys().filter(|uid| self.is_gateway(uid) && self.serves(uid)).cloned().collect();
        if self.stuck_until <= self.now && !takers.is_empty() {
            self.leave_draining(&takers);
        }
        let (is, wanted) = (self.users_of(Role::Gateway), self.crowd.wanted.gateway);
        for _ in 0..wanted.saturating_sub(is).min(RUSH) {
            self.connect(&takers);
        }
        for _ in 0..is.saturating_sub(wanted).min(RUSH) {
            let fullest = self.processes.values_mut().filter(|p| p.users > 0).max_by_key(|p| p.users);
            if let Some(process) = fullest {
                process.users -= 1;
            }
        }
        for role in [Role::Chatroom, Role::Message] {
            self.fill_slots(role);
        }
    }

    /// Some users of a gateway connect anew.
    pub(crate) fn shed(&mut self, uid: &str, users: u64) {
        let Some(process) = self.processes.get_mut(uid) else { return };
        process.users -= users.min(process.users);
    }

    fn is_gateway(&self, uid: &str) -> bool {
        self.processes.get(uid).is_some_and(|process| process.role == Role::Gateway)
    }

    fn leave_draining(&mut self, takers: &[String]) {
        let mut left = 0;
        for process in self.processes.values_mut().filter(|process| process.draining) {
            let moved = process.users.min(PACE);
            process.users -= moved;
            left += moved;
        }
        for _ in 0..left {
            self.connect(takers);
        }
    }

    /// One user connects to the gateway that has the fewest.
    fn connect(&mut self, takers: &[String]) {
        let emptiest = takers.iter().min_by_key(|uid| self.processes.get(*uid).map(|process| process.users));
        if let Some(process) = emptiest.and_then(|uid| self.processes.get_mut(uid)) {
            process.users += 1;
        }
    }

    fn fill_slots(&mut self, role: Role) {
        let wanted = *self.crowd.wanted.of(role);
        let is: u64 = self.crowd.in_slots.of(role).values().sum();
        for _ in 0..wanted.saturating_sub(is).min(RUSH) {
            let slot = u16::try_from(self.dice.below(24) * 170).ok().and_then(Slot::new);
            if let Some(slot) = slot {
                *self.crowd.in_slots.of_mut(role).entry(slot).or_default() += 1;
            }
        }
        let users = self.crowd.in_slots.of_mut(role);
        for _ in 0..is.saturating_sub(wanted).min(RUSH) {
            if let Some(users) = users.values_mut().max() {
                *users -= 1;
            }
        }
        users.retain(|_, users| *users > 0);
    }
}
