//! The planner on one machine: Pods are threads, the API server is memory.
//!
//! The same decisions as on a cluster; only who looks and who acts differs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use throng_core::Role;
use throng_plan::status::ClusterStatus;
use throng_plan::world::{Cluster, Document, Node, Object, Rendered, Revision};
use throng_plan::{Action, World, plan, waves};
use throng_proto::link::{DrainRequest, ShedRequest};
use throng_registry::{Conflict, Error as RegistryError, Fence, Placement as Written, Registry, View};
use throng_runtime::registry::{Activities, known_epoch, registry};
use throng_runtime::{Runtime, follow};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::control::{Control, Wanted};
use super::fleet::Seen;
use super::now;
use super::pod::Birth;
use crate::roles::Config;

/// Changes that come together are looked at together: slots that move tell of themselves many times a second.
const GATHER: Duration = Duration::from_millis(50);
/// So many times as long as it thought the planner leaves the machine to the Pods, whatever changes.
const LEAVE: u32 = 4;
/// Longest time between two looks: what threads and sockets do comes without a word.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Pause after a look that failed.
const AGAIN: Duration = Duration::from_millis(250);
/// Longest wait until what was written is seen.
const SEEN: Duration = Duration::from_secs(1);

/// The runtime of one machine. Its memory ends with the process, as its Pods do.
pub(super) struct Local {
    control: Arc<Control>,
    registry: Arc<dyn Registry>,
    /// The dead among gateways in processes of their own are not replaced.
    isolate_gateways: bool,
    epoch: Option<u64>,
    /// Revision of the registry after the last write of this look, or of one before.
    written: u64,
    stored: Stored,
    /// Pods that are being made, all at the same time.
    births: JoinSet<anyhow::Result<()>>,
    /// Of the look that is under way.
    wanted: Option<Wanted>,
    view: Option<Arc<View>>,
}

/// What an API server would hold.
#[derive(Default)]
struct Stored {
    status: ClusterStatus,
    finalizer: bool,
    revisions: BTreeMap<u64, (Revision, Arc<Config>)>,
    owned: BTreeSet<Object>,
}

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// A Pod did not start.
    #[error("{0:#}")]
    Start(anyhow::Error),
    /// More users are on a Pod than were planned with.
    #[error("{0} has got users")]
    Stale(String),
    /// The registry refused or did not answer.
    #[error("the registry: {0}")]
    Registry(#[from] RegistryError),
    /// Nobody answers at all.
    #[error("throng dev is ending")]
    Ending,
}

impl throng_runtime::Failure for Failure {
    fn ends_the_pass(&self) -> bool {
        matches!(self, Self::Registry(_) | Self::Ending)
    }
}

impl Failure {
    /// That somebody came in between, or that something was written since, is no failure.
    const fn is_passing(&self) -> bool {
        matches!(self, Self::Stale(_) | Self::Registry(RegistryError::Conflict(_)))
    }
}

impl Local {
    pub(super) fn new(control: Arc<Control>, registry: Arc<dyn Registry>, isolate_gateways: bool) -> Self {
        Self {
            control,
            registry,
            isolate_gateways,
            epoch: None,
            written: 0,
            stored: Stored::default(),
            births: JoinSet::new(),
            wanted: None,
            view: None,
        }
    }

    /// Looks again and again until stopped.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut views = self.registry.watch();
        loop {
            views.mark_unchanged();
            let (pause, thought) = self.look().await;
            let gather = (thought * LEAVE).clamp(GATHER, LOOK_EVERY);
            let changed = async {
                sleep(gather).await;
                // A registry that is gone changes no more.
                if views.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(pause) => {}
                () = self.control.rung() => {}
                () = changed => {}
            }
        }
    }

    /// One look: see, plan, remember, act. When to look again, and how long it took to see and plan.
    async fn look(&mut self) -> (Duration, Duration) {
        let names = self.control.fleet.notice_ends();
        if self.isolate_gateways {
            self.forgo_dead_gateways();
        }
        let wanted = self.wanted.insert(self.control.begin_look(&names));
        let (spec, leaving) = (wanted.spec.clone(), wanted.leaving.clone());
        let generation = wanted.generation;
        let view = Arc::clone(&self.registry.watch().borrow());
        self.view = Some(Arc::clone(&view));
        let epoch = self.leader_epoch(&view).await;
        let began = Instant::now();
        let seen = self.control.fleet.seen();
        let seen_view = view.health.is_healthy().then_some(&*view).zip(epoch);
        let world = self.world(spec, generation, &leaving, seen, seen_view);
        let plan = plan(&world);
        let thought = began.elapsed();
        let result = follow(self, &world.status, &plan).await;
        self.seen().await;
        if matches!(result, Err(Failure::Registry(RegistryError::Conflict(Conflict::LeaderEpoch { .. })))) {
            self.epoch = None;
        }
        let pause = if result.is_ok() { Duration::from_millis(plan.look_again_ms).min(LOOK_EVERY) } else { AGAIN };
        let failed = result.err().filter(|failure| !failure.is_passing());
        let starts = !matches!(failed, Some(Failure::Start(_)));
        self.control.end_look(plan.why, failed.map(|failure| failure.to_string()), starts);
        (pause, thought)
    }

    fn forgo_dead_gateways(&self) {
        let dead = self.control.fleet.seen().into_iter();
        for seen in dead.filter(|seen| seen.pod.role == Role::Gateway && seen.pod.phase.is_over()) {
            self.control.forgo(Role::Gateway, &seen.name);
        }
    }

    /// The leader epoch: taken once, before anything is written to the registry.
    async fn leader_epoch(&mut self, view: &View) -> Option<u64> {
        if !view.health.is_healthy() || self.epoch.is_some() {
            return self.epoch;
        }
        match self.registry.next_leader_epoch(known_epoch(view)).await {
            Ok(epoch) => self.epoch = Some(epoch),
            Err(error) => debug!(%error, "no leader epoch yet"),
        }
        self.epoch
    }

    /// What is seen, for the planner.
    fn world(
        &self,
        spec: throng_plan::spec::ClusterSpec,
        generation: i64,
        leaving: &BTreeSet<String>,
        seen: Vec<Seen>,
        view: Option<(&View, u64)>,
    ) -> World {
        let now = now();
        let mut activities = Activities::default();
        let (mut pods, mut nodes, mut samples) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for Seen { name, mut pod, sample, slots } in seen {
            if !pod.phase.is_over() {
                activities.pods.insert(pod.uid.clone());
                activities.slots.of_mut(pod.role).extend(slots);
            }
            // Slots get owners by a placement, and it names those who are ready.
            let unplaced =
                pod.role != Role::Gateway && view.is_some_and(|(view, _)| view.placement(pod.role).is_none());
            pod.ready |= unplaced && !pod.phase.is_over();
            samples.extend(sample.map(|sample| (pod.uid.clone(), sample)));
            let cordoned = leaving.contains(&name);
            nodes.insert(name.clone(), Node { cordoned, ready: true, since: pod.created, ..Node::default() });
            pods.insert(name, pod);
        }
        let stored = &self.stored;
        World {
            now,
            cluster: Cluster {
                name: self.control.name.clone(),
                generation,
                deleted_at: None,
                finalizer: stored.finalizer,
                let_go: false,
            },
            spec,
            leader_epoch: view.map_or(0, |(_, epoch)| epoch),
            status: stored.status.clone(),
            revisions: stored.revisions.iter().map(|(number, (revision, _))| (*number, revision.clone())).collect(),
            pods,
            nodes,
            registry: view.map(|(view, _)| registry(view, &activities)),
            samples,
            operations: self.wanted.as_ref().map(|wanted| wanted.operations.clone()).unwrap_or_default(),
            owned: stored.owned.clone(),
            edited: BTreeSet::new(),
            rendered: Rendered::default(),
        }
    }

    async fn act(&mut self, action: &Action) -> Result<(), Failure> {
        match action {
            Action::SetFinalizer => self.stored.finalizer = true,
            Action::RemoveFinalizer => self.stored.finalizer = false,
            Action::Apply(object) => self.apply(object),
            // What this process keeps itself nobody can edit.
            Action::Restore(_) => {}
            Action::CreatePod { name, role, revision, index, .. } => {
                let config = self.config_of(*revision).ok_or(Failure::Ending)?;
                let birth = Birth { name: name.clone(), role: *role, revision: *revision, index: *index, config };
                let control = Arc::clone(&self.control);
                self.births.spawn_blocking(move || control.fleet.make(&birth));
            }
            Action::DeletePod { name, uid, most_users_cut, .. } => {
                if !self.control.fleet.delete(uid, *most_users_cut) {
                    return Err(Failure::Stale(name.clone()));
                }
            }
            Action::DrainPod { uid, deadline, users_per_s, .. } => {
                let deadline_ms = deadline.0.since(now().0);
                let request = DrainRequest { deadline_ms, per_second: users_per_s.unwrap_or(0) };
                self.control.fleet.with(uid, |pod| pod.hooks.drain(&request));
            }
            Action::ShedUsers { uid, users, users_per_s, .. } => {
                let request = ShedRequest { users: *users, per_second: *users_per_s };
                self.control.fleet.with(uid, |pod| pod.hooks.shed(&request));
            }
            Action::WriteOperation { name, uid, status } => self.control.write_operation(name, uid, status),
            Action::DeleteOperation { name, uid } => self.control.delete_operation(name, uid),
            Action::DeleteRevision { name, number } => {
                self.stored.revisions.remove(number);
                self.stored.owned.retain(|known| known.name() != name);
            }
            Action::UndrainPod { uid, .. } => drop(self.control.fleet.with(uid, |pod| pod.hooks.undrain())),
            Action::LabelServing { uid, serving, .. } => {
                self.control.fleet.with(uid, |pod| pod.label(*serving));
            }
            Action::WriteTarget { role, document } => {
                let fence = self.fence(document, |view| view.target(*role));
                let write = self.registry.put_target(*role, document.0.encode(), fence);
                self.written = self.written.max(write.await?);
            }
            Action::WritePlacement { role, document } => {
                let fence = self.fence(document, |view| view.placement(*role));
                let write = self.registry.put_placement(*role, document.0.encode(), fence);
                self.written = self.written.max(write.await?);
            }
            Action::ForgetKeys { leader_epoch } => self.registry.forget_cluster(*leader_epoch).await?,
            Action::WritePolicy { policy } => {
                let after = self.view.as_ref().and_then(|view| view.policy()).map(|stored| stored.mod_revision);
                self.written = self.written.max(self.registry.put_policy(policy, after).await?);
            }
        }
        Ok(())
    }

    /// Writes an object. Of those that stand for something of Kubernetes there is nothing to do but to know that they are as
    /// they should be.
    fn apply(&mut self, object: &Object) {
        if let (Object::ControllerRevision { number, hash, .. }, Some(wanted)) = (object, &self.wanted) {
            let revision = Revision { hash: hash.clone(), image: wanted.image.clone(), created: now() };
            self.stored.revisions.entry(*number).or_insert_with(|| (revision, Arc::clone(&wanted.config)));
        }
        let same = |known: &Object| {
            std::mem::discriminant(known) == std::mem::discriminant(object) && known.name() == object.name()
        };
        self.stored.owned.retain(|known| !same(known));
        self.stored.owned.insert(object.clone());
    }

    /// What the Pods of a revision run with. Those of the present one follow what is hot in the spec.
    fn config_of(&self, revision: u64) -> Option<Arc<Config>> {
        let wanted = self.wanted.as_ref()?;
        let stored = self.stored.revisions.get(&revision).filter(|(stored, _)| stored.hash != wanted.spec.shape);
        Some(Arc::clone(stored.map_or(&wanted.config, |(_, config)| config)))
    }

    /// A document is written after the one that was planned with, and after no other.
    fn fence<'v>(&'v self, document: &Document, read: impl Fn(&'v View) -> Option<&'v Written>) -> Fence {
        let after = self.view.as_deref().and_then(read).map(|stored| stored.mod_revision);
        Fence { leader_epoch: document.0.leader_epoch, after }
    }

    /// Waits until what was written is seen: planned before, the same would be written again.
    async fn seen(&self) {
        let mut views = self.registry.watch();
        let seen = views.wait_for(|view| view.revision >= self.written || !view.health.is_healthy());
        let _ = timeout(SEEN, seen).await;
    }

    /// Waits until the Pods that are being made have started, or have not.
    async fn born(&mut self) -> Vec<Result<(), Failure>> {
        let mut results = Vec::new();
        while let Some(born) = self.births.join_next().await {
            results.push(born.map_err(|_| Failure::Ending).and_then(|born| born.map_err(Failure::Start)));
        }
        results
    }
}

impl Runtime for Local {
    type Failure = Failure;

    async fn remember(&mut self, status: &ClusterStatus) -> Result<(), Failure> {
        self.stored.status = status.clone();
        Ok(())
    }

    async fn together(&mut self, actions: &[&Action]) -> Vec<Result<(), Failure>> {
        let mut results = Vec::with_capacity(actions.len());
        for action in actions {
            let (kind, what) = (waves::kind(action), waves::describe(action));
            let result = self.act(action).await;
            match &result {
                Ok(()) => info!(kind, what, "done"),
                Err(failure) => warn!(kind, what, %failure, "not done; it is tried again"),
            }
            results.push(result);
        }
        results.extend(self.born().await);
        results
    }
}
