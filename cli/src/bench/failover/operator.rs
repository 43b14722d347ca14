//! What the operator does for a cluster, done by the bench: it leads, and writes where slots should be. The same planner
//! decides; on command the document names every slot's standby as its owner, so that all move.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use throng_core::placement::Placement;
use throng_core::{InstanceId, Role, Slot};
use throng_plan::placement::{Pod, placement};
use throng_registry::{Conflict, Error, EtcdOptions, EtcdRegistry, Fence, Registry, View};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Roles that own slots.
const ROLES: [Role; 2] = [Role::Chatroom, Role::Message];

/// Names of Pods, by role.
pub(super) type Names = BTreeMap<Role, Vec<String>>;
/// Revision of all Pods: what a process calls itself that nobody told another.
const REVISION: &str = "1";

/// The operator's thread. Dropping it ends it.
pub(super) struct Operator {
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    swapped: AtomicBool,
    interrupted: AtomicBool,
    stop: CancellationToken,
    seen: Mutex<Seen>,
}

/// What the operator saw last.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Every slot is held by the Pod that the placement in force names.
    pub(super) settled: bool,
    /// Live members: gateways, chatroom and message Pods.
    pub(super) members: [usize; 3],
    /// Documents are written for all roles.
    pub(super) placed: bool,
    /// Why it is not settled.
    pub(super) reason: String,
}

impl Operator {
    /// Begins to lead the cluster and places slots on the Pods that are about to start: `first`, names by role.
    pub(super) fn start(etcd: Vec<String>, namespace: &str, cluster: &str, first: Names) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared::default());
        let at = etcd.join(", ");
        let options = EtcdOptions::new(etcd, namespace, cluster);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mine = Arc::clone(&shared);
        let (say, started) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::spawn(hear_signals(Arc::clone(&mine)));
                let registry = EtcdRegistry::new(options);
                let _ = say.send(registry.as_ref().map(|_| ()).map_err(ToString::to_string));
                if let Ok(registry) = registry {
                    Leader { registry, shared: mine, first, epoch: None, highest: 0, plans: BTreeMap::new() }
                        .run()
                        .await;
                }
            });
        });
        let this = Self { shared, thread: Some(thread) };
        let started = started.recv().context("the operator's thread has ended")?;
        started.map_err(|error| anyhow::anyhow!("cannot use etcd at {at}: {error}"))?;
        Ok(this)
    }

    /// From now on every slot should be at its standby, or at its owner again.
    pub(super) fn swap(&self, swapped: bool) {
        self.seen(|seen| seen.settled = false);
        self.shared.swapped.store(swapped, Ordering::SeqCst);
    }

    /// Waits until the first placement is written, so that Pods find it when they start.
    pub(super) fn placed(&self) -> anyhow::Result<()> {
        for _ in 0..200 {
            if self.seen(|seen| seen.placed) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("no placement could be written within 10 s: {}", self.look().reason)
    }

    /// What it saw last.
    pub(super) fn look(&self) -> Seen {
        self.seen(|seen| seen.clone())
    }

    /// Somebody asked the bench to end: Ctrl-C, or SIGTERM.
    pub(super) fn interrupted(&self) -> bool {
        self.shared.interrupted.load(Ordering::SeqCst)
    }

    fn seen<T>(&self, of: impl FnOnce(&mut Seen) -> T) -> T {
        of(&mut self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.shared.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn hear_signals(shared: Arc<Shared>) {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    shared.interrupted.store(true, Ordering::SeqCst);
}

struct Leader {
    registry: EtcdRegistry,
    shared: Arc<Shared>,
    /// Pods that are about to start, until all of a role are there.
    first: Names,
    epoch: Option<u64>,
    /// The largest leader epoch so far: an emptied etcd must not take it back.
    highest: u64,
    /// What the planner wants, by role, and the version of the document written last. Outlives an etcd that lost it.
    plans: BTreeMap<Role, (Placement, u64)>,
}

impl Leader {
    async fn run(mut self) {
        let views = self.registry.watch();
        let mut timer = tokio::time::interval(LOOK_EVERY);
        let stop = self.shared.stop.clone();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = timer.tick() => {}
            }
            let swapped = self.shared.swapped.load(Ordering::SeqCst);
            let view = Arc::clone(&views.borrow());
            let seen = match self.look(&view, swapped).await {
                Ok(()) => Seen { settled: true, ..Seen::default() },
                Err(reason) => Seen { reason, ..Seen::default() },
            };
            let placed = ROLES.iter().all(|role| view.placement(*role).is_some());
            let members = Role::ALL.map(|role| view.members(role).len());
            // An answer to an older wish says nothing of the one in force.
            let settled = seen.settled && swapped == self.shared.swapped.load(Ordering::SeqCst);
            *self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner) =
                Seen { settled, members, placed, ..seen };
        }
    }

    /// Writes what is to be written. An error says why not all is as it should be.
    async fn look(&mut self, view: &View, swapped: bool) -> Result<(), String> {
        if !view.health.is_healthy() {
            return Err("etcd is out of reach".to_owned());
        }
        let epoch = match self.epoch {
            Some(epoch) => epoch,
            None => self.registry.next_leader_epoch(self.highest).await.map_err(|error| error.to_string())?,
        };
        (self.epoch, self.highest) = (Some(epoch), epoch);
        let mut all = Ok(());
        for role in ROLES {
            all = all.and(self.place(view, role, epoch, swapped).await);
        }
        all
    }

    async fn place(&mut self, view: &View, role: Role, epoch: u64, swapped: bool) -> Result<(), String> {
        let mut pods = pods(view, role);
        match self.first.get(&role) {
            Some(first) if pods.len() < first.len() => pods = first.iter().map(|name| pod(name, REVISION)).collect(),
            _ => drop(self.first.remove(&role)),
        }
        let known = self.plans.get(&role);
        let (base, version) = (known.map(|(base, _)| base), known.map_or(0, |(_, version)| *version));
        if pods.is_empty() {
            return Err(format!("there are no {role} Pods"));
        }
        let planned = placement(&pods, base, epoch).map_err(|error| error.to_string())?;
        let mut wanted = if swapped { swap(&planned) } else { planned.clone() };
        let stored = view.placement(role).and_then(|stored| Placement::decode(&stored.bytes).ok());
        (wanted.leader_epoch, wanted.version) = (epoch, version);
        self.plans.insert(role, (planned, version));
        if stored.as_ref() != Some(&wanted) {
            let known = stored.map_or(0, |stored| stored.version);
            wanted.version = known.max(version) + 1;
            if let Some((_, version)) = self.plans.get_mut(&role) {
                *version = wanted.version;
            }
            let after = view.placement(role).map(|stored| stored.mod_revision);
            let fence = Fence { leader_epoch: epoch, after };
            let written = self.registry.put_placement(role, wanted.encode(), fence).await;
            if let Err(error) = written {
                if matches!(error, Error::Conflict(Conflict::LeaderEpoch { .. })) {
                    self.epoch = None;
                }
                return Err(format!("the placement of the {role} pool is not written: {error}"));
            }
            return Err(format!("the placement of the {role} pool has just been written"));
        }
        let astray = astray(view, role, &wanted);
        if astray == 0 {
            Ok(())
        } else {
            Err(format!("{astray} slots of the {role} pool are not where they should be"))
        }
    }
}

fn pods(view: &View, role: Role) -> Vec<Pod> {
    let members = view.members(role).values().map(|entry| &entry.member).filter(|member| member.ready);
    members.map(|member| pod(&member.pod, &member.revision)).collect()
}

/// No Pod of a bench is drained: all have the same share.
fn pod(name: &str, revision: &str) -> Pod {
    Pod { name: name.into(), revision: revision.into(), weight: 1 }
}

/// The same with every list's first two names exchanged.
fn swap(planned: &Placement) -> Placement {
    let Ok(mut swapped) = Placement::over(planned.pods().to_vec()) else { return planned.clone() };
    swapped.blocked.clone_from(&planned.blocked);
    for slot in Slot::all() {
        let place = |pod| planned.pods().iter().position(|known| known == pod);
        let mut list: Vec<usize> = planned.list(slot).filter_map(place).collect();
        if let [first, second, ..] = list.as_mut_slice() {
            std::mem::swap(first, second);
        }
        swapped.set(slot, list);
    }
    swapped
}

/// Slots that are not held by the Pod that should have them.
fn astray(view: &View, role: Role, wanted: &Placement) -> usize {
    let members = view.members(role);
    let pod_of = |instance: &InstanceId| members.get(instance).map(|entry| &*entry.member.pod);
    let held: BTreeMap<Slot, &str> =
        view.claims(role).filter_map(|(slot, claim)| Some((slot, pod_of(&claim.holder.instance)?))).collect();
    Slot::all().filter(|slot| held.get(slot).copied() != wanted.owner(*slot).map(|owner| &*owner.pod)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_moves_every_slot_and_two_swaps_none() {
        let planned = placement(&[pod("a", "1"), pod("b", "1")], None, 1).unwrap();
        let swapped = swap(&planned);
        assert!(Slot::all().all(|slot| swapped.owner(slot) != planned.owner(slot)));
        let back = swap(&swapped);
        assert!(Slot::all().all(|slot| back.owner(slot) == planned.owner(slot)));
    }
}
