//! Grace: one key per instance in the store, renewed every 500 ms, that prolongs the right to serve while etcd is away.
//!
//! A *run* is the time between a creation and the first missed deadline. A renewal never creates the key: an emptied store
//! has forgotten who was revoked, so a new run begins only under a confirmed lease, after the fences of all served slots
//! were written again; and it is a right only for slots that had one, by the lease, when it began.

use super::words::{StoreCall, StoreReply};
use crate::{Epoch, Millis, Slot};

/// Time to live of the key, in milliseconds.
pub const GRACE_MS: u64 = 1500;
/// Time between renewals, in milliseconds.
pub const RENEW_MS: u64 = 500;
/// Two clocks may differ by so much within a grace, in milliseconds: the owner stops that much earlier.
pub const DRIFT_MS: u64 = 50;

/// One uninterrupted grace, named by when its creation was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Run(pub(super) Millis);

/// What is known of the process's grace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub(super) struct GraceState {
    held: Option<(Run, Millis)>,
    asking: bool,
    next_at: Millis,
    /// The last call was answered.
    pub(super) answered: bool,
}

/// What an answer changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Graced {
    /// Nothing that concerns slots.
    Nothing,
    /// These slots are revoked, by these epochs.
    Revoked(Vec<(Slot, Epoch)>),
    /// A new run began.
    Began(Run, Vec<(Slot, Epoch)>),
    /// The key is gone, and perhaps the fences with it.
    Missing,
}

impl GraceState {
    pub(super) fn run(&self) -> Option<Run> {
        self.held.map(|(run, _)| run)
    }

    /// Until when the run is a right.
    pub(super) fn until(&self) -> Millis {
        self.held.map_or(Millis::ZERO, |(_, until)| until)
    }

    /// A run whose deadline has passed is over, whatever a late answer says.
    pub(super) fn lapse(&mut self, now: Millis) {
        if self.held.is_some_and(|(_, until)| until <= now) {
            self.held = None;
        }
    }

    pub(super) fn answered(&mut self, asked: Millis, creating: bool, reply: StoreReply, now: Millis) -> Graced {
        self.asking = false;
        self.answered = reply != StoreReply::Unreachable;
        let until = asked + (GRACE_MS - DRIFT_MS);
        match reply {
            StoreReply::Grace(revoked) if !creating => {
                self.next_at = now.max(asked + RENEW_MS);
                if let Some((_, end)) = &mut self.held {
                    *end = (*end).max(until);
                }
                Graced::Revoked(revoked)
            }
            StoreReply::Grace(revoked) if until > now => {
                self.next_at = now.max(asked + RENEW_MS);
                let run = Run(asked);
                self.held = Some((run, until));
                Graced::Began(run, revoked)
            }
            StoreReply::Missing => {
                // What was renewed before still holds in the store's own time, but what it guards may be forgotten.
                self.held = None;
                self.next_at = now;
                Graced::Missing
            }
            _ => {
                self.next_at = now + RENEW_MS / 2;
                Graced::Nothing
            }
        }
    }

    /// The call that is due. `mine`: the slots whose fences are to be written before a grace is created; none if it must
    /// not be.
    pub(super) fn due(&mut self, mine: Option<Vec<(Slot, Epoch)>>, now: Millis) -> Option<StoreCall> {
        if !self.is_due(now) {
            return None;
        }
        let call = match self.held {
            Some(_) => StoreCall::RenewGrace { asked: now },
            None => StoreCall::CreateGrace { asked: now, mine: mine? },
        };
        self.asking = true;
        Some(call)
    }

    /// Whether a call is due.
    pub(super) fn is_due(&self, now: Millis) -> bool {
        !self.asking && now >= self.next_at
    }

    pub(super) fn wake_at(&self) -> Option<Millis> {
        (!self.asking).then_some(self.next_at)
    }
}
