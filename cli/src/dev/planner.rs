//! The planner at work on a laptop: reads the registry, asks `throng-plan` where slots should be, writes it down.
//!
//! The same decisions as on a cluster; only who looks and who writes differs.

use std::sync::Arc;
use std::time::Duration;

use throng_core::Role;
use throng_core::placement::Placement;
use throng_plan::placement::{Pod, placement};
use throng_registry::{Error, Registry, View};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A pool that is just starting is placed when it is complete, or after so long.
const SETTLE: Duration = Duration::from_millis(1500);

/// How many Pods a pool begins with.
#[derive(Clone, Copy)]
pub(crate) struct Expected {
    pub(crate) chatrooms: usize,
    pub(crate) messages: usize,
}

/// Plans until stopped.
pub(crate) async fn run(registry: Arc<dyn Registry>, expected: Expected, stop: CancellationToken) {
    let began = tokio::time::Instant::now();
    let mut leader_epoch = None;
    let mut timer = tokio::time::interval(LOOK_EVERY);
    let views = registry.watch();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = timer.tick() => {}
        }
        let epoch = match leader_epoch {
            Some(epoch) => epoch,
            None => match registry.next_leader_epoch(0).await {
                Ok(epoch) => *leader_epoch.insert(epoch),
                Err(error) => {
                    debug!(%error, "no leader epoch yet");
                    continue;
                }
            },
        };
        let view = Arc::clone(&views.borrow());
        if !view.health.is_healthy() {
            continue;
        }
        for (role, wanted) in [(Role::Chatroom, expected.chatrooms), (Role::Message, expected.messages)] {
            let settled = view.members(role).len() >= wanted || began.elapsed() > SETTLE;
            if settled && let Err(error) = place(&*registry, &view, role, epoch).await {
                if matches!(error, Error::Conflict(_)) {
                    leader_epoch = None;
                }
                debug!(%role, %error, "placement not written");
            }
        }
    }
}

async fn place(registry: &dyn Registry, view: &View, role: Role, leader_epoch: u64) -> Result<(), Error> {
    let previous = view.placement(role).and_then(|stored| Placement::decode(&stored.bytes).ok());
    let pods: Vec<Pod> = view
        .members(role)
        .values()
        .map(|entry| &entry.member)
        .filter(|member| member.ready)
        .map(|member| Pod {
            name: Arc::clone(&member.pod),
            revision: Arc::clone(&member.revision),
            weight: u32::from(!member.draining),
        })
        .collect();
    if pods.is_empty() {
        return Ok(());
    }
    let planned = match placement(&pods, previous.as_ref(), leader_epoch) {
        Ok(planned) => planned,
        Err(error) => {
            warn!(%role, %error, "cannot place");
            return Ok(());
        }
    };
    let same = previous.as_ref().is_some_and(|before| {
        before.pods() == planned.placement.pods() && before.leader_epoch == leader_epoch && planned.changes.is_empty()
    });
    if !same {
        info!(%role, pods = pods.len(), changes = planned.changes.len(), "placement");
        registry.put_placement(role, planned.placement.encode(), leader_epoch).await?;
    }
    Ok(())
}
