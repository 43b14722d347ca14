//! Documents in etcd, under the leader epoch, each after the one that was planned with.

use std::time::Duration;

use throng_core::Role;
use throng_plan::world::Document;
use throng_registry::{EtcdRegistry, Fence, Placement as Stored, Policy, Registry as _, View};
use tokio::time::timeout;

use super::{Failure, Hands, late_as};

/// Longest wait for etcd, a little more than the registry's own.
const WRITE: Duration = Duration::from_millis(2500);
/// Longest wait until what was written is seen: planned before, the same would be written again.
const SEEN: Duration = Duration::from_secs(1);

impl Hands<'_> {
    pub(super) async fn write_target(&self, role: Role, document: &Document) -> Result<(), Failure> {
        let (registry, view) = self.etcd()?;
        let fence = fence(document.0.leader_epoch, view.target(role));
        self.written(registry, registry.put_target(role, document.0.encode(), fence)).await
    }

    pub(super) async fn write_placement(&self, role: Role, document: &Document) -> Result<(), Failure> {
        let (registry, view) = self.etcd()?;
        let fence = fence(document.0.leader_epoch, view.placement(role));
        self.written(registry, registry.put_placement(role, document.0.encode(), fence)).await
    }

    pub(super) async fn write_policy(&self, policy: &Policy) -> Result<(), Failure> {
        let (registry, view) = self.etcd()?;
        let after = view.policy().map(|stored| stored.mod_revision);
        self.written(registry, registry.put_policy(policy, after)).await
    }

    /// Removes the keys of the cluster, which is about to go.
    pub(super) async fn forget_keys(&self, leader_epoch: u64) -> Result<(), Failure> {
        let (registry, _) = self.etcd()?;
        let within = self.term.within(WRITE).ok_or(Failure::Deposed)?;
        late_as(within, timeout(within, registry.forget_cluster(leader_epoch)).await)??;
        Ok(())
    }

    /// The registry, and the view that was planned with.
    fn etcd(&self) -> Result<(&EtcdRegistry, &View), Failure> {
        self.registry.as_ref().map(|(registry, view)| (*registry, &**view)).ok_or(Failure::NoRegistry)
    }

    async fn written(&self, registry: &EtcdRegistry, call: throng_registry::Call<'_, u64>) -> Result<(), Failure> {
        let within = self.term.within(WRITE).ok_or(Failure::Deposed)?;
        let revision = late_as(within, timeout(within, call).await)??;
        let mut views = registry.watch();
        let seen = views.wait_for(|view| view.revision >= revision || !view.health.is_healthy());
        // If it is not seen in time, the next look writes the same once more.
        let _ = timeout(SEEN, seen).await;
        Ok(())
    }
}

/// A document is written after the one that was planned with, and after no other.
fn fence(leader_epoch: u64, read: Option<&Stored>) -> Fence {
    Fence { leader_epoch, after: read.map(|stored| stored.mod_revision) }
}
