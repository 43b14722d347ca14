//! The lease: asked for, renewed while the process answers, counted from sending.

use super::words::{LeaseId, Output};
use crate::Millis;

/// Renewals within a time to live.
const RENEWALS: u64 = 6;
/// After a failure, in milliseconds.
const RETRY_MS: u64 = 300;
/// A reactor that has not answered for so long stops the renewals, in milliseconds.
pub const REACTOR_MS: u64 = 1000;

/// What is known of the process's lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub(super) struct LeaseState {
    held: Option<Held>,
    /// A grant or a renewal is on its way.
    asking: bool,
    /// No request before this.
    next_at: Millis,
    /// The last request was answered.
    pub(super) answered: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Held {
    id: LeaseId,
    ttl_ms: u64,
    /// Sending time of the last request that was confirmed.
    confirmed: Millis,
}

impl LeaseState {
    pub(super) fn id(&self) -> Option<LeaseId> {
        self.held.as_ref().map(|held| held.id)
    }

    /// Until when it is a right to serve: two thirds of its time to live after the sending of what confirmed it.
    pub(super) fn until(&self) -> Millis {
        self.held.as_ref().map_or(Millis::ZERO, |held| held.confirmed + held.ttl_ms * 2 / 3)
    }

    pub(super) fn granted(&mut self, id: LeaseId, ttl_ms: u64, asked: Millis, now: Millis) {
        self.held = Some(Held { id, ttl_ms, confirmed: asked });
        self.settle(true, now + ttl_ms / RENEWALS);
    }

    pub(super) fn renewed(&mut self, id: LeaseId, ttl_ms: u64, asked: Millis, now: Millis) {
        if let Some(held) = self.held.as_mut().filter(|held| held.id == id) {
            held.ttl_ms = ttl_ms;
            held.confirmed = held.confirmed.max(asked);
            self.settle(true, now.max(asked + ttl_ms / RENEWALS));
        }
    }

    pub(super) fn gone(&mut self, id: LeaseId, now: Millis) {
        if self.id() == Some(id) {
            self.held = None;
            self.settle(true, now);
        }
    }

    pub(super) fn unanswered(&mut self, now: Millis) {
        self.settle(false, now + RETRY_MS);
    }

    fn settle(&mut self, answered: bool, next_at: Millis) {
        self.answered = answered;
        self.asking = false;
        self.next_at = next_at;
    }

    /// The request that is due, if any.
    pub(super) fn due(&mut self, ttl_ms: u64, reactors: Millis, now: Millis) -> Option<Output> {
        if self.asking || now < self.next_at || now.since(reactors) > REACTOR_MS {
            return None;
        }
        self.asking = true;
        Some(match &self.held {
            None => Output::GrantLease { ttl_ms, asked: now },
            Some(held) => Output::RenewLease { lease: held.id, asked: now },
        })
    }

    pub(super) fn wake_at(&self) -> Option<Millis> {
        (!self.asking).then_some(self.next_at)
    }
}
