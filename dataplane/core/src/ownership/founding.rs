//! The incarnation: which life of etcd this is, so that epochs go on growing when etcd comes back empty.
//!
//! It is created as 1 + the largest that the store, this process and every reachable Pod know; the store's copy is raised
//! first, so that a life that everybody in memory forgets is still remembered there. If the store cannot be reached,
//! nothing is created: etcd empty and the store away is two losses at once, and slots wait.

use super::words::{Output, StoreCall, StoreReply};
use super::{Ownership, RETRY_MS};
use crate::Millis;

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(super) struct Founding {
    step: Step,
    next_at: Millis,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
enum Step {
    #[default]
    Idle,
    /// The store and the Pods are being asked.
    Asking,
    /// The store's copy is being raised.
    Storing,
    /// etcd's is being written.
    Writing,
}

impl Founding {
    pub(super) fn rest(&mut self, now: Millis) {
        *self = Self { step: Step::Idle, next_at: now + RETRY_MS };
    }
}

impl Ownership {
    /// Starts, if etcd has no incarnation, or one that is smaller than what is known.
    pub(super) fn found(&mut self, now: Millis, out: &mut Vec<Output>) {
        let seen = self.predecessors.is_some();
        let wanting = self.wants_incarnation();
        let connected = self.lease.id().is_some() && now < self.lease.until();
        if !seen || !wanting || !connected || self.founding.step != Step::Idle || self.leaving.is_leaving() {
            return;
        }
        if now < self.founding.next_at {
            let at = self.founding.next_at;
            return self.wake_by(at);
        }
        self.founding.step = Step::Asking;
        out.push(Output::AskIncarnations);
    }

    /// etcd has none, or one that is smaller than what is known.
    const fn wants_incarnation(&self) -> bool {
        self.incarnation == 0 || self.incarnation < self.known_incarnation
    }

    pub(super) fn incarnations(&mut self, store: Option<u64>, pods: u64, now: Millis, out: &mut Vec<Output>) {
        if self.founding.step != Step::Asking {
            return;
        }
        if !self.wants_incarnation() {
            return self.founding.rest(now);
        }
        let pods = if self.config.rules.ask_pods_for_incarnation { pods } else { 0 };
        let stored = if self.config.store { store } else { Some(store.unwrap_or(0)) };
        let Some(stored) = stored else { return self.founding.rest(now) };
        let news = pods.max(stored);
        if news > self.known_incarnation {
            // Somebody may be founding at this moment: etcd is looked at again before this process goes further.
            self.known_incarnation = news;
            return self.founding.rest(now);
        }
        let to = self.known_incarnation + 1;
        if self.config.store && self.config.rules.store_incarnation_first {
            self.founding.step = Step::Storing;
            out.push(Output::Store(StoreCall::RaiseIncarnation { to }));
        } else {
            self.write_incarnation(to, out);
        }
    }

    pub(super) fn incarnation_stored(&mut self, to: u64, reply: &StoreReply, now: Millis, out: &mut Vec<Output>) {
        if self.founding.step != Step::Storing {
            return;
        }
        match *reply {
            _ if !self.wants_incarnation() => self.founding.rest(now),
            StoreReply::Incarnation(stored) if stored == to => self.write_incarnation(to, out),
            // Another Pod was faster: look again at what etcd holds.
            StoreReply::Incarnation(stored) => {
                self.known_incarnation = self.known_incarnation.max(stored.saturating_sub(1));
                self.founding.rest(now);
            }
            _ => self.founding.rest(now),
        }
    }

    fn write_incarnation(&mut self, to: u64, out: &mut Vec<Output>) {
        self.founding.step = Step::Writing;
        out.push(match self.incarnation {
            0 => Output::CreateIncarnation(to),
            from => Output::RaiseIncarnation { from, to },
        });
    }
}
