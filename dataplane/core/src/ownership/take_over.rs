//! From a claim to serving.
//!
//! Revoke the instance that the fence names (not whoever claimed last), wait for what is left of its grace, raise the
//! fence over it; the store compares the holder, and if it is another by then, that one is revoked and waited for. Then
//! gather: every live message Pod promises to take nothing more from older epochs, and tells what it has. Then open.
//!
//! Without the store: if a live member reaches it, leave the slot to that one; if nobody does, wait 5 s, look again, and
//! go on without the fence.

use super::place::{Step, TakeOver, Tenure};
use super::words::{Claim, Origin, Output, StoreCall, StoreReply};
use super::{Duty, Ownership, RETRY_MS};
use crate::{Epoch, InstanceId, Millis, Slot};

/// So long a new owner waits for the hand-over of a move, in milliseconds: longer than the old one trusts its lease
/// after sending it.
pub(super) const HAND_OVER_MS: u64 = 1500;
/// So long a taker waits when nobody reaches the store, in milliseconds.
const BLIND_MS: u64 = 5000;

impl Ownership {
    /// Starts the way from a claim of mine to serving.
    pub(super) fn begin(&mut self, slot: Slot, claim: &Claim, now: Millis, out: &mut Vec<Output>) {
        let epoch = self.epoch_of(claim.mod_revision);
        let Some(place) = self.places.get_mut(&slot) else { return };
        let until = now + HAND_OVER_MS;
        place.next = Some(TakeOver {
            epoch,
            mod_revision: claim.mod_revision,
            lease: claim.lease,
            fenced: false,
            step: Step::Expecting { until },
        });
        if self.config.duty == Duty::Users {
            self.open(slot, Origin::Gathered, now, out);
        } else if place.handed == Some(epoch) {
            self.open(slot, Origin::HandedOver, now, out);
        } else if place.asked_for {
            self.raise(slot, None, None, now, out);
        } else {
            self.wake_by(until);
        }
    }

    /// Goes on when a wait is over.
    pub(super) fn advance(&mut self, slot: Slot, now: Millis, out: &mut Vec<Output>) {
        let Some(next) = self.places.get(&slot).and_then(|place| place.next.as_ref()) else { return };
        match next.step.clone() {
            Step::Expecting { until } if until <= now => self.raise(slot, None, None, now, out),
            Step::Waiting { until, over, blind_at } if until <= now => self.raise(slot, over, blind_at, now, out),
            Step::Expecting { until } | Step::Waiting { until, .. } => self.wake_by(until),
            Step::Fencing { .. } | Step::Revoking { .. } | Step::Gathering => {}
        }
    }

    fn step(&mut self, slot: Slot, step: Step) -> Option<Epoch> {
        let next = self.places.get_mut(&slot)?.next.as_mut()?;
        next.step = step;
        Some(next.epoch)
    }

    fn raise(
        &mut self,
        slot: Slot,
        over: Option<InstanceId>,
        blind_at: Option<Millis>,
        now: Millis,
        out: &mut Vec<Output>,
    ) {
        if !self.config.fences() {
            return self.gather(slot, now, out);
        }
        let taking = self.config.rules.wait_after_emptied;
        if let Some(epoch) = self.step(slot, Step::Fencing { blind_at }) {
            out.push(Output::Store(StoreCall::RaiseFence { slot, epoch, over, taking }));
        }
    }

    /// Promises and tails; not needed by an owner that is its own successor.
    fn gather(&mut self, slot: Slot, now: Millis, out: &mut Vec<Output>) {
        let rights = self.rights();
        let Some(place) = self.places.get(&slot) else { return };
        if place.unbroken || place.tenure.as_ref().is_some_and(|tenure| now < rights.until(tenure)) {
            return self.open(slot, Origin::Own, now, out);
        }
        if let Some(epoch) = self.step(slot, Step::Gathering) {
            out.push(Output::Gather { slot, epoch });
        }
    }

    pub(super) fn gathered(
        &mut self,
        slot: Slot,
        epoch: Epoch,
        stale: Option<Epoch>,
        now: Millis,
        out: &mut Vec<Output>,
    ) {
        let Some(next) = self.places.get(&slot).and_then(|place| place.next.as_ref()) else { return };
        if next.epoch != epoch || next.step != Step::Gathering {
            return;
        }
        match stale.filter(|seen| *seen > epoch) {
            Some(seen) => self.stale(slot, seen, now, out),
            None => self.open(slot, Origin::Gathered, now, out),
        }
    }

    /// The owner before has handed over. If its claim is not known to be ours yet, etcd is asked first.
    pub(super) fn handed_over(&mut self, slot: Slot, epoch: Epoch, now: Millis, out: &mut Vec<Output>) {
        let lease = self.lease.id();
        let known = self.epoch_of(self.places.get(&slot).and_then(|p| p.mine(lease)).map_or(0, |c| c.mod_revision));
        let Some(place) = self.places.get_mut(&slot) else { return };
        if place.last >= epoch {
            return;
        }
        place.handed = Some(epoch);
        let expecting = |next: &TakeOver| next.epoch == epoch && matches!(next.step, Step::Expecting { .. });
        if place.next.as_ref().is_some_and(expecting) {
            self.open(slot, Origin::HandedOver, now, out);
        } else {
            place.must_read |= known < epoch;
            self.pursue(slot, now, out);
        }
    }

    /// Serves from now on, under the lease of the claim.
    fn open(&mut self, slot: Slot, origin: Origin, now: Millis, out: &mut Vec<Output>) {
        let right = self.lease.id().filter(|_| now < self.lease.until());
        let (run, rights) = (self.grace.run(), self.rights());
        let Some(place) = self.places.get_mut(&slot) else { return };
        let Some(next) = place.next.as_mut() else { return };
        if right != Some(next.lease) {
            // The fence is raised again when the lease is confirmed: much may have happened since.
            next.step = Step::Waiting { until: now + RETRY_MS, over: None, blind_at: None };
            return self.wake_by(now + RETRY_MS);
        }
        let Some(next) = place.next.take() else { return };
        let tenure = Tenure {
            epoch: next.epoch,
            mod_revision: next.mod_revision,
            lease: Some(next.lease),
            run: run.filter(|_| next.fenced),
            fenced: next.fenced,
            fencing: false,
            fence_at: now,
            blind: self.config.fences() && !next.fenced && origin != Origin::HandedOver,
            moving: None,
        };
        // Not looked for among all slots: thousands open in one take-over.
        self.lapse_at = self.lapse_at.min(rights.until(&tenure));
        let before = place.tenure.replace(tenure);
        place.last = next.epoch;
        place.unbroken = true;
        place.incumbent = true;
        place.handed = None;
        self.first.remove(&slot);
        if let Some(before) = before {
            out.push(Output::Close { slot, epoch: before.epoch, moved_to: None });
        }
        out.push(Output::Open { slot, epoch: next.epoch, origin });
    }

    /// Sorts the store's answers to whom they concern.
    pub(super) fn stored(&mut self, call: StoreCall, reply: StoreReply, now: Millis, out: &mut Vec<Output>) {
        let reached = reply != StoreReply::Unreachable;
        if reached != self.store_ok {
            self.store_answers(reached);
        }
        match call {
            StoreCall::RaiseFence { slot, epoch, over, .. } => {
                if self.is_taking(slot, epoch) {
                    self.fence_answered(slot, epoch, over, reply, now, out);
                } else if self.is_serving(slot, epoch) {
                    self.refenced(slot, reply, now, out);
                }
            }
            StoreCall::Revoke { slot, epoch, instance } => {
                if self.is_taking(slot, epoch) {
                    self.revoke_answered(slot, instance, &reply, now, out);
                } else if self.is_serving(slot, epoch) {
                    let over = Some(instance).filter(|_| reached);
                    let call = StoreCall::RaiseFence { slot, epoch, over, taking: false };
                    out.push(Output::Store(call));
                }
            }
            StoreCall::RenewGrace { .. } | StoreCall::CreateGrace { .. } => self.graced(&call, reply, now, out),
            StoreCall::RaiseIncarnation { to } => self.incarnation_stored(to, &reply, now, out),
            StoreCall::DropGrace => {}
        }
    }

    fn is_taking(&self, slot: Slot, epoch: Epoch) -> bool {
        self.places.get(&slot).and_then(|place| place.next.as_ref()).is_some_and(|next| next.epoch == epoch)
    }

    fn is_serving(&self, slot: Slot, epoch: Epoch) -> bool {
        self.places.get(&slot).and_then(|place| place.tenure.as_ref()).is_some_and(|tenure| tenure.epoch == epoch)
    }

    fn fence_answered(
        &mut self,
        slot: Slot,
        epoch: Epoch,
        over: Option<InstanceId>,
        reply: StoreReply,
        now: Millis,
        out: &mut Vec<Output>,
    ) {
        let Some(next) = self.places.get_mut(&slot).and_then(|place| place.next.as_mut()) else { return };
        let Step::Fencing { blind_at } = next.step else { return };
        match reply {
            StoreReply::Raised => {
                next.fenced = true;
                self.gather(slot, now, out);
            }
            StoreReply::Held(fence) if self.config.rules.wait_for_grace => {
                next.step = Step::Revoking { blind_at };
                out.push(Output::Store(StoreCall::Revoke { slot, epoch, instance: fence.instance }));
            }
            StoreReply::Held(fence) => self.raise(slot, Some(fence.instance), blind_at, now, out),
            StoreReply::Stale(seen) => self.stale(slot, seen, now, out),
            StoreReply::Emptied(wait_ms) => {
                let until = now + wait_ms;
                next.step = Step::Waiting { until, over: None, blind_at: None };
                self.wake_by(until);
            }
            _ => self.without_store(slot, over, blind_at, now, out),
        }
    }

    fn revoke_answered(
        &mut self,
        slot: Slot,
        instance: InstanceId,
        reply: &StoreReply,
        now: Millis,
        out: &mut Vec<Output>,
    ) {
        let Some(next) = self.places.get_mut(&slot).and_then(|place| place.next.as_mut()) else { return };
        let Step::Revoking { blind_at } = next.step else { return };
        match reply {
            StoreReply::Revoked(0) => self.raise(slot, Some(instance), None, now, out),
            StoreReply::Revoked(left_ms) => {
                let until = now + *left_ms;
                next.step = Step::Waiting { until, over: Some(instance), blind_at: None };
                self.wake_by(until);
            }
            _ => self.without_store(slot, None, blind_at, now, out),
        }
    }

    /// The store does not answer a taker.
    fn without_store(
        &mut self,
        slot: Slot,
        over: Option<InstanceId>,
        blind_at: Option<Millis>,
        now: Millis,
        out: &mut Vec<Output>,
    ) {
        if self.others_reach_the_store() {
            let own = self.places.get(&slot).and_then(|place| place.own(slot, self.lease.id()));
            return self.give_up(own.into_iter().collect(), now, out);
        }
        let wait_ms = if self.config.rules.wait_when_blind { BLIND_MS } else { 0 };
        let blind_at = blind_at.unwrap_or(now + wait_ms);
        if blind_at <= now {
            return self.gather(slot, now, out);
        }
        let until = blind_at.min(now + RETRY_MS);
        self.step(slot, Step::Waiting { until, over, blind_at: Some(blind_at) });
        self.wake_by(until);
    }
}
