//! The planner at work on a laptop: reads the registry, asks `throng-plan` where slots should be and what the next step
//! there is, writes it down.
//!
//! The same decisions as on a cluster; only who looks and who writes differs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use throng_core::placement::Placement;
use throng_core::{Role, Slot};
use throng_plan::moves::{Held, step};
use throng_plan::placement::{Pod, placement};
use throng_registry::{Conflict, Error, Fence, Registry, View};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::world::World;

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A pool that is just starting is placed when it is complete, or after so long.
const SETTLE: Duration = Duration::from_millis(1500);
/// Users whose slots may be on the way at one time, unless a single slot has more.
const USERS_AT_ONCE: u64 = 500;

/// How many Pods a pool begins with.
#[derive(Clone, Copy)]
pub(crate) struct Expected {
    pub(crate) chatrooms: usize,
    pub(crate) messages: usize,
}

/// Plans until stopped.
pub(crate) async fn run(registry: Arc<dyn Registry>, world: Arc<World>, expected: Expected, stop: CancellationToken) {
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
            if settled && let Err(error) = place(&*registry, &world, &view, role, epoch).await {
                if matches!(error, Error::Conflict(Conflict::LeaderEpoch { .. })) {
                    leader_epoch = None;
                }
                debug!(%role, %error, "placement not written");
            }
        }
    }
}

async fn place(
    registry: &dyn Registry,
    world: &World,
    view: &View,
    role: Role,
    leader_epoch: u64,
) -> Result<(), Error> {
    let read = |stored: &throng_registry::Placement| Placement::decode(&stored.bytes).ok();
    let fence = |stored: Option<&throng_registry::Placement>| Fence {
        leader_epoch,
        after: stored.map(|stored| stored.mod_revision),
    };
    let (in_force, aim) = (view.placement(role).and_then(read), view.target(role).and_then(read));
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
    let mut target = match placement(&pods, aim.as_ref().or(in_force.as_ref()), leader_epoch) {
        Ok(planned) => planned.placement,
        Err(error) => {
            warn!(%role, %error, "cannot place");
            return Ok(());
        }
    };
    target.version = in_force.as_ref().map_or(0, |document| document.version);
    if in_force.as_ref() == Some(&target) {
        return Ok(());
    }
    // A planner that starts anew goes on with the same steps.
    let aim = aim.map(|mut aim| {
        aim.version = target.version;
        aim
    });
    if aim.as_ref() != Some(&target) {
        registry.put_target(role, target.encode(), fence(view.target(role))).await?;
    }
    let step = step(in_force.as_ref(), &target, &held(world, view, role), USERS_AT_ONCE);
    if in_force.as_ref() != Some(&step.placement) {
        let (starts, under_way, waiting) = (step.starts, step.under_way, step.waiting);
        info!(%role, pods = pods.len(), starts, under_way, waiting, "placement");
        registry.put_placement(role, step.placement.encode(), fence(view.placement(role))).await?;
    }
    Ok(())
}

/// Slots whose owners live and stay, with what they carry.
fn held(world: &World, view: &View, role: Role) -> BTreeMap<Slot, Held> {
    let activity = world.activity(role);
    let held = view.claims(role).filter_map(|(slot, claim)| {
        let owner = &view.members(role).get(&claim.holder.instance)?.member;
        let activity = Some(activity.get(&slot).copied().unwrap_or_default());
        (!owner.draining).then(|| (slot, Held { pod: Arc::clone(&owner.pod), activity }))
    });
    held.collect()
}
