//! The right to serve: the lease under which a slot was claimed, confirmed within two thirds of its time to live, or the
//! grace that was held beside it and has been unbroken since. A right that has ended is never revived.

use super::grace::{Graced, Run};
use super::place::{Moving, Tenure};
use super::words::{LeaseId, Output, StoreCall, StoreReply};
use super::{Ownership, RETRY_MS};
use crate::{Epoch, Millis, Slot};

/// Rights that end sooner than this are worked out anew, in milliseconds.
const NEAR_MS: u64 = 500;

/// What the process holds at this instant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rights {
    lease: Option<LeaseId>,
    lease_until: Millis,
    run: Option<Run>,
    grace_until: Millis,
    suspend_moves: bool,
    any_lease: bool,
}

impl Rights {
    /// Until when a tenure has its lease as a right.
    fn by_lease(&self, tenure: &Tenure) -> Millis {
        if tenure.lease.is_none() || (tenure.lease != self.lease && !self.any_lease) {
            return Millis::ZERO;
        }
        match tenure.moving {
            Some(Moving::Sent { lease_until, .. }) if self.suspend_moves => self.lease_until.min(lease_until),
            _ => self.lease_until,
        }
    }

    fn by_grace(&self, tenure: &Tenure) -> Millis {
        let same = tenure.run.is_some() && tenure.run == self.run;
        if same { self.grace_until } else { Millis::ZERO }
    }

    /// Until when a tenure may be served, as things are.
    pub(super) fn until(&self, tenure: &Tenure) -> Millis {
        self.by_lease(tenure).max(self.by_grace(tenure))
    }
}

impl Ownership {
    pub(super) fn rights(&self) -> Rights {
        Rights {
            lease: self.lease.id(),
            lease_until: self.lease.until(),
            run: self.grace.run(),
            grace_until: self.grace.until(),
            suspend_moves: self.config.rules.unknown_move_suspends,
            any_lease: !self.config.rules.lease_of_the_claim,
        }
    }

    /// Stops what has no right any more.
    pub(super) fn lapse(&mut self, now: Millis, out: &mut Vec<Output>) {
        if now < self.lapse_at {
            return;
        }
        self.grace.lapse(now);
        let rights = self.rights();
        let mut next = Millis(u64::MAX);
        let mut ended = Vec::new();
        for (slot, place) in &self.places {
            let Some(tenure) = &place.tenure else { continue };
            let until = rights.until(tenure);
            if until <= now {
                ended.push(*slot);
            } else {
                next = next.min(until);
            }
        }
        self.lapse_at = next;
        for slot in ended {
            self.close(slot, out);
        }
    }

    /// Until when every slot that is served may be: what is taken from then on may be without a right. None: it has to be
    /// worked out first, by the next input.
    pub fn rights_until(&mut self, now: Millis) -> Option<Millis> {
        if self.lapse_at == Millis::ZERO {
            return None;
        }
        // Rights are prolonged all the time; looking at every slot each time would cost more than the renewal.
        if self.lapse_at < now + NEAR_MS {
            let rights = self.rights();
            let tenures = self.places.values().filter_map(|place| place.tenure.as_ref());
            let until = tenures.map(|tenure| rights.until(tenure)).min().unwrap_or(Millis(u64::MAX));
            self.lapse_at = self.lapse_at.max(until);
        }
        Some(self.lapse_at)
    }

    /// Ends a tenure, if there is one. Whoever is known to hold the claim now is named.
    pub(super) fn close(&mut self, slot: Slot, out: &mut Vec<Output>) {
        let claim = self.places.get(&slot).and_then(|place| place.claim.as_ref());
        let foreign = claim.filter(|claim| claim.instance != self.config.me.instance);
        let moved_to = foreign.map(|claim| self.owner_of(claim));
        let Some(tenure) = self.places.get_mut(&slot).and_then(|place| place.tenure.take()) else { return };
        out.push(Output::Close { slot, epoch: tenure.epoch, moved_to });
    }

    /// Somebody has seen a larger epoch: this owner stops, and takes no part in that slot with a smaller one.
    pub(super) fn stale(&mut self, slot: Slot, seen: Epoch, now: Millis, out: &mut Vec<Output>) {
        self.known_incarnation = self.known_incarnation.max(seen.0 >> 40);
        let incarnation = self.incarnation;
        let lease = self.lease.id();
        let Some(place) = self.places.get_mut(&slot) else { return };
        if place.next.as_ref().is_some_and(|next| next.epoch < seen) {
            place.next = None;
        }
        let fooled = place.tenure.as_ref().is_some_and(|tenure| tenure.epoch < seen);
        if fooled || place.last < seen {
            place.unbroken = false;
            place.incumbent = false;
        }
        let outdated = |own: &super::words::Own| Epoch::of_claim(incarnation, own.mod_revision) < seen;
        let own = place.own(slot, lease).filter(outdated);
        if fooled {
            self.close(slot, out);
        }
        if let Some(own) = own {
            self.give_up(vec![own], now, out);
        }
    }

    pub(super) fn lease_gone(&mut self, lease: LeaseId, now: Millis, out: &mut Vec<Output>) {
        if let Some(predecessors) = &mut self.predecessors {
            predecessors.remove(&lease);
        }
        if self.lease.id() == Some(lease) {
            self.lease.gone(lease, now);
            self.leaving.lease_gone();
            self.lapse_at = Millis::ZERO;
            for place in self.places.values_mut() {
                place.next = None;
            }
        }
        self.pursue_all(now, out);
    }

    /// Creates and renews the grace.
    pub(super) fn keep_grace(&mut self, now: Millis, out: &mut Vec<Output>) {
        if !self.config.fences() || self.leaving.is_stopping() {
            return;
        }
        if !self.grace.is_due(now) {
            return;
        }
        let tenures = || self.places.iter().filter_map(|(&slot, place)| Some((slot, place.tenure.as_ref()?)));
        // A slot that was opened without its fence gets it first, the careful way.
        let may_create = now < self.lease.until() && tenures().all(|(_, tenure)| tenure.fenced);
        let needed = self.config.rules.grace_needs_fences;
        let mine = || tenures().filter(|_| needed).map(|(slot, tenure)| (slot, tenure.epoch)).collect();
        let due = self.grace.due(may_create.then(mine), now);
        out.extend(due.map(Output::Store));
    }

    /// An answer about the grace.
    pub(super) fn graced(&mut self, call: &StoreCall, reply: StoreReply, now: Millis, out: &mut Vec<Output>) {
        let counted = |asked: Millis| if self.config.rules.count_from_sending { asked } else { now };
        let (asked, creating) = match call {
            StoreCall::RenewGrace { asked } => (*asked, false),
            StoreCall::CreateGrace { asked, .. } => (*asked, true),
            _ => return,
        };
        match self.grace.answered(counted(asked), creating, reply, now) {
            Graced::Nothing => {}
            Graced::Revoked(revoked) => self.revoked(revoked, out),
            Graced::Began(run, revoked) => {
                self.revoked(revoked, out);
                let lease = self.lease.id().filter(|_| now < self.lease.until());
                let tenures = self.places.values_mut().filter_map(|place| place.tenure.as_mut());
                for tenure in tenures.filter(|tenure| lease.is_some() && tenure.lease == lease && tenure.fenced) {
                    tenure.run = Some(run);
                }
            }
            // What lives by this grace alone ends now.
            Graced::Missing => self.lapse_at = Millis::ZERO,
        }
    }

    /// Stops the slots that a taker has revoked. A mark does not expire, so it counts only against smaller epochs.
    fn revoked(&mut self, revoked: Vec<(Slot, Epoch)>, out: &mut Vec<Output>) {
        for (slot, by) in revoked {
            let Some(place) = self.places.get_mut(&slot) else { continue };
            let smaller = |tenure: &Tenure| tenure.epoch < by || !self.config.rules.marks_compare_epochs;
            if place.tenure.as_ref().is_some_and(smaller) {
                place.unbroken = false;
                place.incumbent = false;
                self.close(slot, out);
            }
        }
    }

    /// Writes the fences of slots that were opened without: after a hand-over, or when the store was out of reach.
    pub(super) fn keep_fences(&mut self, now: Millis, out: &mut Vec<Output>) {
        if !self.config.fences() || now >= self.lease.until() {
            return;
        }
        let lease = self.lease.id();
        for (&slot, place) in &mut self.places {
            let Some(tenure) = place.tenure.as_mut() else { continue };
            if tenure.fenced || tenure.fencing || tenure.lease != lease || tenure.fence_at > now {
                continue;
            }
            tenure.fencing = true;
            tenure.fence_at = now + RETRY_MS;
            let call = StoreCall::RaiseFence { slot, epoch: tenure.epoch, over: None, taking: false };
            out.push(Output::Store(call));
        }
    }

    /// An answer about the fence of a slot that is already served.
    pub(super) fn refenced(&mut self, slot: Slot, reply: StoreReply, now: Millis, out: &mut Vec<Output>) {
        let lease_ok = now < self.lease.until();
        let run = self.grace.run();
        let Some(tenure) = self.places.get_mut(&slot).and_then(|place| place.tenure.as_mut()) else { return };
        let epoch = tenure.epoch;
        tenure.fencing = false;
        match reply {
            StoreReply::Raised => {
                tenure.fenced = true;
                if lease_ok && tenure.lease == self.lease.id() {
                    tenure.run = run;
                }
                if std::mem::take(&mut tenure.blind) {
                    out.push(Output::ReadLog { slot, epoch });
                }
            }
            // Served already, by hand-over or without the store: the holder is revoked without waiting for it.
            StoreReply::Held(fence) => {
                tenure.fencing = true;
                out.push(Output::Store(StoreCall::Revoke { slot, epoch, instance: fence.instance }));
            }
            StoreReply::Stale(seen) => self.stale(slot, seen, now, out),
            _ => {
                tenure.fence_at = now + RETRY_MS;
                self.wake_by(now + RETRY_MS);
            }
        }
    }
}
