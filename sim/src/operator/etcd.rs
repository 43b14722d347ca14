//! The registry of a cluster: members under leases, claims, documents of the leader.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use throng_core::policy::Policy;
use throng_core::{Millis, Role};
use throng_plan::world::{Document, Member, Registry};

use super::request::Failure;

/// A process that is not heard of for so long is no member any more.
const LEASE_MS: u64 = 6_000;
/// Writes that are remembered.
const REMEMBERED: usize = 64;

/// The registry, with what it was.
#[derive(Clone, Debug, Default)]
pub(crate) struct Etcd {
    registry: Arc<Registry>,
    revision: u64,
    history: VecDeque<(u64, Arc<Registry>)>,
    leases: BTreeMap<String, Millis>,
    /// Revision of the last write of each document.
    written: BTreeMap<(Role, bool), u64>,
    policy_written: u64,
    /// The epoch of the leader that took one last.
    pub(crate) epoch: u64,
}

impl Etcd {
    pub(crate) const fn now(&self) -> &Arc<Registry> {
        &self.registry
    }

    pub(crate) const fn revision(&self) -> u64 {
        self.revision
    }

    /// The registry as it was `behind` writes ago, but not before `least`, with the revision of that.
    pub(crate) fn view(&self, behind: u64, least: u64) -> (u64, Arc<Registry>) {
        let wanted = self.revision.saturating_sub(behind).max(least);
        let stored = self.history.iter().find(|(revision, _)| *revision >= wanted);
        stored.map_or_else(|| (self.revision, Arc::clone(&self.registry)), |(at, then)| (*at, Arc::clone(then)))
    }

    /// A write.
    pub(crate) fn write(&mut self, change: impl FnOnce(&mut Registry)) {
        self.history.push_back((self.revision, Arc::clone(&self.registry)));
        if self.history.len() > REMEMBERED {
            self.history.pop_front();
        }
        self.revision += 1;
        change(Arc::make_mut(&mut self.registry));
    }

    /// A process says that it lives, and how it is.
    pub(crate) fn renew(&mut self, now: Millis, uid: &str, member: &Member) {
        self.leases.insert(uid.to_owned(), now);
        if self.registry.members.get(uid) != Some(member) {
            let member = member.clone();
            self.write(|registry| drop(registry.members.insert(uid.to_owned(), member)));
        }
    }

    /// A process ends well, or its lease has run out: its membership and its claims go.
    pub(crate) fn leave(&mut self, uid: &str) {
        self.leases.remove(uid);
        if self.registry.members.contains_key(uid) {
            self.write(|registry| {
                registry.members.remove(uid);
                for role in [Role::Chatroom, Role::Message] {
                    registry.claims.of_mut(role).release(uid);
                }
            });
        }
    }

    /// Leases that have run out.
    pub(crate) fn expired(&self, now: Millis) -> Vec<String> {
        let expired = self.leases.iter().filter(|(_, renewed)| now.since(**renewed) >= LEASE_MS);
        expired.map(|(uid, _)| uid.clone()).collect()
    }

    /// Writes a document of the leader, if it may be written.
    pub(crate) fn put(&mut self, role: Role, is_target: bool, document: Document, read: u64) -> Result<(), Failure> {
        self.takes(role, is_target, &document, read)?;
        self.write(|registry| {
            let documents = registry.documents.of_mut(role);
            let place = if is_target { &mut documents.target } else { &mut documents.in_force };
            *place = Some(document);
        });
        self.written.insert((role, is_target), self.revision);
        Ok(())
    }

    /// Writes the policy, if it may be written.
    pub(crate) fn put_policy(&mut self, policy: Policy, read: u64) -> Result<(), Failure> {
        if policy.leader_epoch != self.epoch {
            return Err(Failure::EpochLost);
        }
        if self.policy_written > read {
            return Err(Failure::Stale);
        }
        self.write(|registry| registry.policy = Some(policy));
        self.policy_written = self.revision;
        Ok(())
    }

    /// Removes all keys, if the epoch is still the one that was taken last.
    pub(crate) fn forget(&mut self, leader_epoch: u64) -> Result<(), Failure> {
        if leader_epoch != self.epoch {
            return Err(Failure::EpochLost);
        }
        self.write(|registry| *registry = Registry::default());
        self.leases.clear();
        self.written.clear();
        Ok(())
    }

    /// Whether a document may be written: its epoch is the one that was taken last, and the document in its place is the
    /// one of the view of revision `read`, which its writer planned with.
    pub(crate) fn takes(&self, role: Role, is_target: bool, document: &Document, read: u64) -> Result<(), Failure> {
        if document.0.leader_epoch != self.epoch {
            return Err(Failure::EpochLost);
        }
        if self.written.get(&(role, is_target)).is_some_and(|&written| written > read) {
            return Err(Failure::Stale);
        }
        Ok(())
    }
}
