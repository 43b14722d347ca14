//! Placement documents in etcd, under the leader epoch.

use std::time::Duration;

use throng_core::Role;
use throng_plan::world::Document;
use throng_registry::{EtcdRegistry, Registry as _};
use tokio::time::timeout;

use super::{Failure, Hands, late_as};

/// Longest wait for etcd, a little more than the registry's own.
const WRITE: Duration = Duration::from_millis(2500);
/// Longest wait until what was written is seen: planned before, the same would be written again.
const SEEN: Duration = Duration::from_secs(1);

impl Hands<'_> {
    pub(super) async fn write_target(&self, role: Role, document: &Document) -> Result<(), Failure> {
        let (registry, epoch) = (self.etcd()?, document.0.leader_epoch);
        let bytes = document.0.encode();
        self.written(registry, registry.put_target(role, bytes, epoch)).await
    }

    pub(super) async fn write_placement(&self, role: Role, document: &Document) -> Result<(), Failure> {
        let (registry, epoch) = (self.etcd()?, document.0.leader_epoch);
        let bytes = document.0.encode();
        self.written(registry, registry.put_placement(role, bytes, epoch)).await
    }

    fn etcd(&self) -> Result<&EtcdRegistry, Failure> {
        self.registry.as_ref().map(|(registry, _)| *registry).ok_or(Failure::NoRegistry)
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
