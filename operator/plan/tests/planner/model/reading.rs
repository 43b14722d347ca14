//! What tests ask a model.

use throng_core::Role;
use throng_plan::world::{Document, Pod};

use super::Model;

impl Model {
    pub(crate) fn pods(&self, role: Role) -> Vec<(&String, &Pod)> {
        self.world.pods.iter().filter(|(_, pod)| pod.role == role).collect()
    }

    pub(crate) fn names(&self, role: Role) -> Vec<&str> {
        self.pods(role).into_iter().map(|(name, _)| name.as_str()).collect()
    }

    pub(crate) fn uid(&self, name: &str) -> String {
        self.world.pods[name].uid.clone()
    }

    /// Pods that serve as the world says, by its own count.
    pub(crate) fn serving(&self, role: Role) -> usize {
        let drained = |pod: &Pod| {
            self.world.registry.as_ref().is_some_and(|r| r.members.get(&pod.uid).is_none_or(|m| m.draining))
        };
        self.pods(role).into_iter().filter(|(_, pod)| pod.ready && pod.terminating.is_none() && !drained(pod)).count()
    }

    pub(crate) fn users_of(&self, role: Role) -> u64 {
        self.pods(role).into_iter().map(|(_, pod)| self.users.get(&pod.uid).copied().unwrap_or(0)).sum()
    }

    pub(crate) fn document(&self, role: Role) -> Option<Document> {
        self.world.registry.as_ref().unwrap().documents.of(role).in_force.clone()
    }
}
