//! Claims: whose turn it is, writes in batches, and what became of them.

use super::place::{Busy, Moving};
use super::words::{Change, Claim, MAX_BATCH, Output, Own, Write, Wrote};
use super::{Ownership, RETRY_MS};
use crate::placement::Turn;
use crate::{Millis, Slot};

/// Batches of claims under way at one time.
const BATCHES: usize = 16;
/// After an etcd that came back empty, who served a slot before may claim it so long before others, in milliseconds.
pub(super) const INCUMBENTS_MS: u64 = 5000;

impl Ownership {
    /// Looks at every slot: after time passed or the world changed.
    pub(super) fn pursue_all(&mut self, now: Millis, out: &mut Vec<Output>) {
        self.wake = None;
        // Most slots want nothing, and there are thousands: those are passed over in one walk.
        let (lease, incarnation) = (self.lease.id(), self.incarnation);
        let wanting = |place: &super::place::Place| !place.is_at_rest(lease, incarnation, now);
        let slots: Vec<Slot> = self.places.iter().filter(|(_, place)| wanting(place)).map(|(slot, _)| *slot).collect();
        for slot in slots {
            self.pursue(slot, now, out);
        }
        self.start_moves(now, out);
    }

    /// Does what a slot needs next, if nothing of it is under way.
    pub(super) fn pursue(&mut self, slot: Slot, now: Millis, out: &mut Vec<Output>) {
        if self.leaving.is_stopping() {
            return;
        }
        let Some(place) = self.places.get_mut(&slot) else { return };
        if place.busy.is_some() {
            return;
        }
        if now < place.rest_until {
            let at = place.rest_until;
            return self.wake_by(at);
        }
        if place.must_read {
            place.busy = Some(Busy::Reading);
            out.push(Output::ReadClaim(slot));
            return;
        }
        let lease = self.lease.id();
        if let Some(claim) = place.mine(lease).cloned() {
            self.pursue_mine(slot, &claim, now, out);
        } else if place.claim.is_none() {
            match self.my_turn(slot) {
                Some(at) if at <= now => drop(self.wanted.insert(slot)),
                Some(at) => self.wake_by(at),
                None => drop(self.wanted.remove(&slot)),
            }
        }
    }

    fn pursue_mine(&mut self, slot: Slot, claim: &Claim, now: Millis, out: &mut Vec<Output>) {
        if now >= self.lease.until() {
            return;
        }
        let epoch = self.epoch_of(claim.mod_revision);
        let again = self.config.rules.bump_before_reopening;
        let Some(place) = self.places.get_mut(&slot) else { return };
        match &mut place.tenure {
            Some(tenure) if tenure.epoch == epoch => {
                match tenure.moving {
                    Some(Moving::Warming { until, .. }) if until <= now => self.end_move(slot, now, out),
                    Some(Moving::Warming { until, .. }) => self.wake_by(until),
                    // A move of unknown outcome that did not happen: a new epoch makes a straggler fail.
                    None if tenure.lease.is_none() => self.bump(slot, now, out),
                    Some(Moving::Sent { .. }) | None => {}
                }
            }
            _ if place.next.is_some() => self.advance(slot, now, out),
            _ if epoch > place.last || (!again && epoch == place.last) => self.begin(slot, claim, now, out),
            _ => self.bump(slot, now, out),
        }
    }

    /// From when I may claim a slot that nobody owns; none: not as things are.
    fn my_turn(&self, slot: Slot) -> Option<Millis> {
        let place = self.places.get(&slot)?;
        let unowned_since = place.unowned_since?;
        let listed = self.members.contains_key(&self.config.me.instance);
        let settled = self.predecessors.as_ref().is_some_and(std::collections::BTreeSet::is_empty);
        let founded = self.incarnation > 0 && self.incarnation >= self.known_incarnation;
        if !listed || !settled || !founded || self.leaving.is_leaving() || self.others_reach_the_store() {
            return None;
        }
        if place.incumbent {
            return Some(unowned_since);
        }
        let Turn::After(ms) = self.electorate.turn(&self.placement, slot, &self.config.me.pod) else { return None };
        let emptied = if self.incarnation > 1 { self.incarnation_since + INCUMBENTS_MS } else { Millis::ZERO };
        Some((unowned_since + ms).max(emptied))
    }

    /// I cannot reach the store, and another live member reports that it can.
    pub(super) fn others_reach_the_store(&self) -> bool {
        let me = &self.config.me.instance;
        let other = |(instance, member): (_, &super::Member)| instance != me && !member.draining && member.redis_ok;
        let rule = self.config.rules.leave_it_to_who_reaches_the_store;
        rule && self.config.fences() && !self.store_ok && self.members.iter().any(other)
    }

    /// Sends claims in batches, slots with waiting rooms first.
    pub(super) fn claim_wanted(&mut self, now: Millis, out: &mut Vec<Output>) {
        let Some(lease) = self.lease.id().filter(|_| now < self.lease.until()) else { return };
        while self.claims_under_way < BATCHES && !self.wanted.is_empty() {
            let urgent: Vec<Slot> = self.wanted.intersection(&self.first).take(MAX_BATCH).copied().collect();
            let rest = self.wanted.iter().filter(|slot| !self.first.contains(slot)).take(MAX_BATCH - urgent.len());
            let mut slots: Vec<Slot> = urgent.iter().chain(rest).copied().collect();
            for slot in &slots {
                self.wanted.remove(slot);
            }
            slots.retain(|slot| self.places.get(slot).is_some_and(|p| p.busy.is_none() && p.claim.is_none()));
            if slots.is_empty() {
                continue;
            }
            for slot in &slots {
                if let Some(place) = self.places.get_mut(slot) {
                    place.busy = Some(Busy::Claiming);
                    place.asked_for = true;
                }
            }
            self.claims_under_way += 1;
            out.push(Output::Write(Write::Claim { slots, lease, incarnation: self.incarnation }));
        }
    }

    fn bump(&mut self, slot: Slot, now: Millis, out: &mut Vec<Output>) {
        let lease = self.lease.id();
        let Some(place) = self.places.get_mut(&slot) else { return };
        let Some(own) = place.own(slot, lease).filter(|_| now < self.lease.until()) else { return };
        place.busy = Some(Busy::Bumping);
        place.asked_for = true;
        // One after the other into one write, as far as they follow each other.
        if let Some(Output::Write(Write::Bump { own: batch, .. })) = out.last_mut()
            && batch.len() < MAX_BATCH
        {
            batch.push(own);
            return;
        }
        out.push(Output::Write(Write::Bump { own: vec![own], incarnation: self.incarnation }));
    }

    /// Deletes claims of mine.
    pub(super) fn give_up(&mut self, own: Vec<Own>, now: Millis, out: &mut Vec<Output>) {
        let mut free = Vec::new();
        for own in own {
            let Some(place) = self.places.get_mut(&own.slot).filter(|place| place.busy.is_none()) else { continue };
            place.busy = Some(Busy::GivingUp);
            place.next = None;
            place.rest_until = now + RETRY_MS;
            free.push(own);
        }
        for batch in free.chunks(MAX_BATCH) {
            out.push(Output::Write(Write::GiveUp { own: batch.to_vec() }));
        }
    }

    pub(super) fn wrote(&mut self, write: &Write, outcome: Wrote, now: Millis, out: &mut Vec<Output>) {
        let (slots, incarnation): (Vec<Slot>, Option<u64>) = match write {
            Write::Claim { slots, incarnation, .. } => (slots.clone(), Some(*incarnation)),
            Write::Bump { own, incarnation } => (own.iter().map(|own| own.slot).collect(), Some(*incarnation)),
            Write::GiveUp { own } => (own.iter().map(|own| own.slot).collect(), None),
            Write::Move { own, incarnation, .. } => (vec![own.slot], Some(*incarnation)),
        };
        if matches!(write, Write::Claim { .. }) {
            self.claims_under_way = self.claims_under_way.saturating_sub(1);
        }
        // An answer of an etcd that has since come back empty says nothing of this one.
        let current = incarnation.is_none_or(|incarnation| incarnation == self.incarnation);
        let unsure = !matches!(outcome, Wrote::Refused);
        let changes = match outcome {
            Wrote::Done(changes) if current => changes.into_iter().map(Some).collect(),
            _ => vec![None; slots.len()],
        };
        for (slot, change) in slots.into_iter().zip(changes) {
            if let Some(place) = self.places.get_mut(&slot) {
                place.busy = None;
                if change.is_none() {
                    place.must_read |= unsure;
                    place.rest_until = if unsure { now } else { now + RETRY_MS };
                }
            }
            match change {
                Some(change) => self.changed(slot, write, change, now, out),
                None if !unsure && matches!(write, Write::Move { .. }) => self.end_move(slot, now, out),
                None => {}
            }
            self.lapse_at = Millis::ZERO;
            self.pursue(slot, now, out);
        }
    }

    fn changed(&mut self, slot: Slot, write: &Write, change: Change, now: Millis, out: &mut Vec<Output>) {
        let me = self.config.me.clone();
        let mine = |lease, mod_revision| Claim {
            instance: me.instance.clone(),
            address: me.address.clone(),
            lease,
            mod_revision,
        };
        let (claim, revision) = match (change, write) {
            (Change::Made { mod_revision }, Write::Claim { lease, .. }) => {
                (Some(mine(*lease, mod_revision)), mod_revision)
            }
            (Change::Made { mod_revision }, Write::Bump { own, .. }) => {
                let Some(own) = own.iter().find(|own| own.slot == slot) else { return };
                (Some(mine(own.lease, mod_revision)), mod_revision)
            }
            (Change::Made { mod_revision }, Write::GiveUp { .. }) => (None, mod_revision),
            (Change::Made { mod_revision }, Write::Move { to, address, to_lease, .. }) => {
                let claim = Claim { instance: to.clone(), address: address.clone(), lease: *to_lease, mod_revision };
                return self.moved(slot, claim, now, out);
            }
            (Change::Lost { now: Some(claim) }, _) => {
                let revision = claim.mod_revision;
                (Some(claim), revision)
            }
            (Change::Lost { now: None }, _) => {
                let Some(place) = self.places.get_mut(&slot) else { return };
                place.must_read = true;
                (place.claim.clone(), place.known_at)
            }
        };
        if matches!(write, Write::Move { .. }) {
            self.end_move(slot, now, out);
        }
        if let Some(place) = self.places.get_mut(&slot) {
            place.learn(claim, revision, &me.instance, now);
        }
    }

    /// What a read past every cache says.
    pub(super) fn read(
        &mut self,
        slot: Slot,
        read: Option<(u64, u64, Option<Claim>)>,
        now: Millis,
        out: &mut Vec<Output>,
    ) {
        let incarnation = self.incarnation;
        let me = self.config.me.instance.clone();
        let Some(place) = self.places.get_mut(&slot) else { return };
        place.busy = None;
        let Some((_, revision, claim)) = read.filter(|(read, ..)| *read == incarnation) else {
            place.rest_until = now + RETRY_MS;
            return self.wake_by(now + RETRY_MS);
        };
        place.must_read = false;
        let sent = place.tenure.as_ref().and_then(|tenure| match &tenure.moving {
            Some(Moving::Sent { to, .. }) => Some((to.clone(), tenure.mod_revision)),
            _ => None,
        });
        match (sent, claim) {
            (Some((to, was)), Some(claim)) if claim.instance == to && claim.mod_revision > was => {
                self.moved(slot, claim, now, out);
            }
            (sent, claim) => {
                if let Some(tenure) = place.tenure.as_mut().filter(|_| sent.is_some()) {
                    tenure.moving = None;
                    if self.config.rules.unknown_move_bumps {
                        tenure.lease = None;
                    }
                    out.push(Output::MoveEnded { slot });
                }
                place.learn(claim, revision, &me, now);
            }
        }
        self.lapse_at = Millis::ZERO;
        self.pursue(slot, now, out);
    }
}
