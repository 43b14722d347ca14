//! Planned moves, as the old owner sees them.
//!
//! The new owner warms up; the old one sends the transaction while it serves, stops when it knows that it happened, and
//! hands over. While the outcome is unknown its lease proves nothing (the claim may be on another one), so it counts on
//! it for one second only, less than the new owner waits for the hand-over; its grace holds until it is revoked. A claim
//! that turns out to be still its own is written again, so that a straggler of the transaction fails.

use super::place::{Busy, Moving, Place};
use super::words::{Claim, Output, Write};
use super::{Duty, Ownership, pace};
use crate::{InstanceId, Millis, Slot};

/// So long the old owner counts on its lease after sending a move, in milliseconds.
const SENT_MS: u64 = 1000;
/// So long a new owner may take to warm up, in milliseconds.
const WARM_UP_MS: u64 = 10_000;
/// Before a move that failed is tried again, in milliseconds.
const REST_MS: u64 = 2000;

impl Ownership {
    /// Starts the moves that the placement asks for, idle slots first, a few at a time. None while etcd or the store is
    /// unhealthy.
    pub(super) fn start_moves(&mut self, now: Millis, out: &mut Vec<Output>) {
        if !self.is_healthy(now) {
            return;
        }
        let moving = |place: &Place| place.tenure.as_ref().is_some_and(|tenure| tenure.moving.is_some());
        let under_way = self.places.values().filter(|place| moving(place)).count();
        let free = self.moves_at_once(now).saturating_sub(under_way);
        if free == 0 {
            return;
        }
        let heat = |slot: Slot| self.heat.get(&slot).copied().unwrap_or(0);
        let mut wanted: Vec<(u64, Slot, InstanceId)> = self
            .places
            .iter()
            .filter(|(_, place)| self.may_move(place, now))
            .filter_map(|(&slot, _)| Some((heat(slot), slot, self.target(slot)?)))
            .collect();
        wanted.sort_unstable();
        for (_, slot, to) in wanted.into_iter().take(free) {
            self.start_move(slot, to, now, out);
        }
    }

    fn moves_at_once(&self, now: Millis) -> usize {
        let slots = self.places.values().filter(|place| place.tenure.is_some()).count();
        let left_ms = self.leaving.deadline().map(|by| by.since(now));
        pace::moves_at_once(self.config.moves_at_once, slots, left_ms)
    }

    fn may_move(&self, place: &Place, now: Millis) -> bool {
        let by_lease = place.tenure.as_ref().is_some_and(|t| t.moving.is_none() && t.lease == self.lease.id());
        by_lease && place.busy.is_none() && !place.must_read && place.rest_until <= now
    }

    /// The process that should have a slot of mine, if not this one.
    fn target(&self, slot: Slot) -> Option<InstanceId> {
        let me = &*self.config.me.pod;
        let pod = if self.leaving.is_leaving() {
            self.electorate.heir_but(&self.placement, slot, Some(me))?
        } else {
            // Without a list nobody says that it should be elsewhere.
            self.placement.owner(slot)?;
            self.electorate.listed(&self.placement, slot)?
        };
        if pod == me {
            return None;
        }
        let live = self.members.iter().find(|(_, member)| *member.pod == *pod && !member.draining);
        live.map(|(instance, _)| instance.clone())
    }

    fn is_healthy(&self, now: Millis) -> bool {
        let store = !self.config.fences() || (self.store_ok && now < self.grace.until());
        let founded = self.incarnation > 0 && self.incarnation >= self.known_incarnation;
        founded && store && self.lease.answered && now < self.lease.until() && !self.leaving.is_stopping()
    }

    pub(super) fn start_move(&mut self, slot: Slot, to: InstanceId, now: Millis, out: &mut Vec<Output>) {
        if !self.is_healthy(now) || to == self.config.me.instance || !self.members.contains_key(&to) {
            return;
        }
        let Some(place) = self.places.get(&slot).filter(|place| self.may_move(place, now)) else { return };
        if place.tenure.is_none() {
            return;
        }
        let until = now + WARM_UP_MS;
        if let Some(tenure) = self.places.get_mut(&slot).and_then(|place| place.tenure.as_mut()) {
            tenure.moving = Some(Moving::Warming { to: to.clone(), until });
        }
        self.wake_by(until);
        match self.config.duty {
            Duty::Rooms => out.push(Output::WarmUp { slot, to }),
            Duty::Users => self.warm(slot, &to, now, out),
        }
    }

    /// The new owner follows closely: the claim is moved, while this one goes on serving.
    pub(super) fn warm(&mut self, slot: Slot, to: &InstanceId, now: Millis, out: &mut Vec<Output>) {
        let lease = self.lease.id();
        let ready = self.is_healthy(now);
        let member = self.members.get(to).filter(|member| !member.draining && ready).cloned();
        let Some(place) = self.places.get_mut(&slot) else { return };
        let Some(tenure) = place.tenure.as_ref() else { return };
        let warming = matches!(&tenure.moving, Some(Moving::Warming { to: expected, .. }) if expected == to);
        if !warming || place.busy.is_some() {
            return;
        }
        let own = place.own(slot, lease).filter(|own| own.mod_revision == tenure.mod_revision);
        let (Some(member), Some(own)) = (member, own) else { return self.end_move(slot, now, out) };
        place.busy = Some(Busy::Moving);
        if let Some(tenure) = place.tenure.as_mut() {
            tenure.moving = Some(Moving::Sent { to: to.clone(), lease_until: now + SENT_MS });
        }
        self.lapse_at = Millis::ZERO;
        out.push(Output::Write(Write::Move {
            own,
            to: to.clone(),
            address: member.address,
            revision: member.revision,
            to_lease: member.lease,
            incarnation: self.incarnation,
        }));
    }

    /// The claim is the new owner's: stop and hand over.
    pub(super) fn moved(&mut self, slot: Slot, claim: Claim, now: Millis, out: &mut Vec<Output>) {
        let next = self.epoch_of(claim.mod_revision);
        let to = claim.instance.clone();
        let me = self.config.me.instance.clone();
        let Some(place) = self.places.get_mut(&slot) else { return };
        let revision = claim.mod_revision;
        place.learn(Some(claim), revision, &me, now);
        place.asked_for = false;
        let epoch = place.tenure.as_ref().map(|tenure| tenure.epoch);
        self.close(slot, out);
        if let Some(epoch) = epoch {
            out.push(Output::HandOver { slot, epoch, next, to });
        }
    }

    /// A move that did not happen; it is tried again later if it is still wanted.
    pub(super) fn end_move(&mut self, slot: Slot, now: Millis, out: &mut Vec<Output>) {
        let Some(place) = self.places.get_mut(&slot) else { return };
        let Some(tenure) = place.tenure.as_mut() else { return };
        if tenure.moving.take().is_some() {
            place.rest_until = now + REST_MS;
            out.push(Output::MoveEnded { slot });
            self.wake_by(now + REST_MS);
        }
    }
}
