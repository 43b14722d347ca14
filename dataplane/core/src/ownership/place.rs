//! What a process knows and does about one slot.

use super::grace::Run;
use super::words::{Claim, LeaseId, Own};
use crate::{Epoch, InstanceId, Millis, Slot};

/// One slot. Its parts are independent on purpose: an owner may serve an old epoch by grace ([`Tenure`]) while its new
/// claim is being written ([`Busy`]) or taken over ([`TakeOver`]).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
#[expect(clippy::struct_excessive_bools, reason = "facts that are independent of each other")]
pub(super) struct Place {
    /// The claim, as last known; see `known_at`.
    pub(super) claim: Option<Claim>,
    /// etcd's revision at which it was known. Older news is ignored.
    pub(super) known_at: u64,
    /// Since when nobody is known to hold it.
    pub(super) unowned_since: Option<Millis>,
    /// What is served.
    pub(super) tenure: Option<Tenure>,
    /// The take-over under way.
    pub(super) next: Option<TakeOver>,
    /// The write or read under way; never two.
    pub(super) busy: Option<Busy>,
    /// The largest epoch ever opened here: none is opened twice.
    pub(super) last: Epoch,
    /// Nobody else can have opened the slot since `last`: the claim was never out of our hands.
    pub(super) unbroken: bool,
    /// It was served here, and was neither moved away nor lost to anybody.
    pub(super) incumbent: bool,
    /// A claim of mine comes from my own write, not from a move to me.
    pub(super) asked_for: bool,
    /// A hand-over for my claim of this epoch has arrived.
    pub(super) handed: Option<Epoch>,
    /// Not to be written or moved before: the last attempt failed.
    pub(super) rest_until: Millis,
    /// The claim must be read before anything else.
    pub(super) must_read: bool,
}

/// A request about the claim on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Busy {
    Claiming,
    Bumping,
    GivingUp,
    Moving,
    Reading,
}

/// A slot being served.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Tenure {
    pub(super) epoch: Epoch,
    pub(super) mod_revision: u64,
    /// The lease under which it was claimed, as long as it can be a right.
    pub(super) lease: Option<LeaseId>,
    /// The grace that was held, beside the lease, at some time of this tenure.
    pub(super) run: Option<Run>,
    /// The fence was ours at some time of this tenure.
    pub(super) fenced: bool,
    /// A fence call is on its way.
    pub(super) fencing: bool,
    pub(super) fence_at: Millis,
    /// It was opened without the store: its log is still to be read.
    pub(super) blind: bool,
    pub(super) moving: Option<Moving>,
}

/// A planned move, seen by the old owner.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Moving {
    /// The new owner warms up.
    Warming { to: InstanceId, until: Millis },
    /// The transaction is on its way; by the lease we serve only so long.
    Sent { to: InstanceId, lease_until: Millis },
}

/// The way from a claim to serving.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct TakeOver {
    pub(super) epoch: Epoch,
    pub(super) mod_revision: u64,
    pub(super) lease: LeaseId,
    /// The fence is ours.
    pub(super) fenced: bool,
    pub(super) step: Step,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// The claim was moved here: the owner before is about to hand over.
    Expecting { until: Millis },
    /// The fence is being raised, over a holder that was revoked. `blind_at`: the store is out of reach since before.
    Fencing { blind_at: Option<Millis> },
    /// The holder is being revoked.
    Revoking { blind_at: Option<Millis> },
    /// Until the grace of the revoked one has ended, the store is old enough, or it is tried again.
    Waiting { until: Millis, over: Option<InstanceId>, blind_at: Option<Millis> },
    /// Promises and tails are being gathered.
    Gathering,
}

impl Place {
    /// The claim, if it is attached to this lease.
    pub(super) fn mine(&self, lease: Option<LeaseId>) -> Option<&Claim> {
        self.claim.as_ref().filter(|claim| Some(claim.lease) == lease)
    }

    pub(super) fn own(&self, slot: Slot, lease: Option<LeaseId>) -> Option<Own> {
        self.mine(lease).map(|claim| Own { slot, lease: claim.lease, mod_revision: claim.mod_revision })
    }

    /// Nothing is to be done as long as nothing happens: a request is on its way, another holds it, or it is served.
    pub(super) fn is_at_rest(&self, lease: Option<LeaseId>, incarnation: u64, now: Millis) -> bool {
        if self.busy.is_some() {
            return true;
        }
        if now < self.rest_until || self.must_read {
            return false;
        }
        let Some(claim) = &self.claim else { return false };
        let serves = |tenure: &Tenure| {
            let epoch = Epoch::of_claim(incarnation, claim.mod_revision);
            let asks = matches!(tenure.moving, Some(Moving::Warming { .. }));
            tenure.epoch == epoch && !asks && (tenure.moving.is_some() || tenure.lease.is_some())
        };
        Some(claim.lease) != lease || self.tenure.as_ref().is_some_and(serves)
    }

    /// Notes what etcd says, as of a revision. False: it is no news.
    pub(super) fn learn(&mut self, claim: Option<Claim>, revision: u64, me: &InstanceId, now: Millis) -> bool {
        if revision < self.known_at {
            return false;
        }
        self.known_at = revision;
        match &claim {
            None => {
                self.unowned_since.get_or_insert(now);
            }
            Some(_) => self.unowned_since = None,
        }
        if self.claim == claim {
            return false;
        }
        let written = claim.as_ref().map(|claim| (claim.lease, claim.mod_revision));
        if let Some(tenure) = self.tenure.as_mut().filter(|t| written.map(|(_, at)| at) != Some(t.mod_revision)) {
            tenure.lease = None;
        }
        if self.next.as_ref().is_some_and(|next| written != Some((next.lease, next.mod_revision))) {
            self.next = None;
        }
        self.unbroken &= claim.is_some();
        if claim.as_ref().is_some_and(|claim| claim.instance != *me) {
            self.unbroken = false;
            self.incumbent = false;
        }
        self.claim = claim;
        true
    }
}
