//! The loop of one cluster: see, plan, write the status, act, wait.
//!
//! Every process that looks after a cluster keeps what it needs for that open: etcd, streams, Secrets. Only the one that
//! leads plans and writes; the others can begin at once when it is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::Api;
use throng_core::Role;
use throng_crds::ChatroomCluster;
use throng_crds::validate::{self, Validated};
use throng_plan::status::{Condition, Utc, set_condition};
use throng_plan::world::Object;
use throng_plan::{Plan, World, plan};
use throng_registry::{Registry as _, View};
use throng_runtime::registry::known_epoch;
use throng_runtime::{Runtime as _, carry_out};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::etcd::Etcd;
use super::secrets::Secrets;
use super::statements::{self, Reason, statement};
use crate::apply::{Failure, Hands, Undone, parting, status};
use crate::events::{self, Before, Teller};
use crate::kube_api::Clients;
use crate::lease::{Leadership, Term};
use crate::metrics::Metrics;
use crate::names;
use crate::pressure::{Place, Streams};
use crate::render::pod::GRPC_PORT;
use crate::render::{keys, secrets as named_secrets};
use crate::snapshot::{Objects, Sight, owner, world};
use crate::watch::table::Unreadable;
use crate::watch::{ClusterKey, Watches};

/// Changes that come together are looked at together.
const GATHER: Duration = Duration::from_millis(100);
/// Samples come without a word; so they are looked at at least so often.
const SAMPLES: Duration = Duration::from_secs(5);
/// An etcd that does not answer is asked why again after so long.
const ASK_ETCD: Duration = Duration::from_secs(10);
/// Pause after the first look that failed, and after the many that followed.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// What all clusters share.
#[derive(Clone)]
pub struct Shared {
    /// To the API server.
    pub clients: Clients,
    /// What it tells.
    pub watches: Watches,
    /// Whether this process leads.
    pub leadership: Leadership,
    /// What counts.
    pub metrics: Metrics,
    /// What tells.
    pub teller: Teller,
}

/// Looks after one cluster.
pub struct Worker {
    shared: Shared,
    key: ClusterKey,
    bell: Arc<Notify>,
    secrets: Secrets,
    etcd: Option<Etcd>,
    streams: Streams,
    /// The leader epoch of the cluster, with the term that it was taken in.
    epoch: Option<(u32, u64)>,
    /// Why etcd gave no leader epoch.
    no_epoch: Option<String>,
    /// What an etcd whose view is old answered when it was asked, and when that was.
    asked: Option<(Instant, Option<String>)>,
    failures: u32,
    /// Objects that were as they should be at the last look.
    at_rest: BTreeSet<Object>,
    /// What could not be done at the last look.
    failed: Option<String>,
}

/// How a look ended.
enum Look {
    /// All that was asked for was done; look again after so long.
    Done(Duration),
    /// Something was not.
    Failed,
    /// Nothing could be decided.
    Blind,
}

impl Worker {
    /// A worker that `bell` wakes.
    #[must_use]
    pub fn new(shared: Shared, key: ClusterKey, bell: Arc<Notify>) -> Self {
        let streams = Streams::new(shared.metrics.clone());
        let secrets = Secrets::default();
        Self {
            shared,
            key,
            bell,
            secrets,
            etcd: None,
            streams,
            epoch: None,
            no_epoch: None,
            asked: None,
            failures: 0,
            at_rest: BTreeSet::new(),
            failed: None,
        }
    }

    /// Looks again and again until stopped.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut leadership = self.shared.leadership.clone();
        loop {
            let look = self.look().await;
            let (result, pause) = match look {
                Look::Done(pause) => ("done", pause.min(SAMPLES)),
                Look::Failed => ("failed", backoff(self.failures)),
                Look::Blind => ("blind", SAMPLES),
            };
            self.shared.metrics.looks.get_or_create(&[("result", result)]).inc();
            let failed = matches!(look, Look::Failed);
            self.failures = if failed { self.failures.saturating_add(1) } else { 0 };
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(pause) => continue,
                // After a failure nothing shortens the pause, or own half-done writes would make it a storm.
                () = self.bell.notified(), if !failed => {}
                () = leadership.changed() => {}
            }
            sleep(GATHER).await;
        }
    }

    async fn look(&mut self) -> Look {
        let Some(cluster) = self.shared.watches.cluster(&self.key) else {
            if let Some(unreadable) = self.shared.watches.unreadable_cluster(&self.key) {
                return self.report_unreadable(&unreadable).await;
            }
            return Look::Blind;
        };
        // Asked before the objects are read: what is listed from here on is missing from them.
        let unsynced = self.shared.watches.unsynced();
        let objects = self.shared.watches.objects_of(&self.key);
        let etcd_problem = self.keep_open(&cluster, &objects).await;
        let Some(term) = self.shared.leadership.term() else {
            self.shared.metrics.conditions.forget(&self.key);
            // Whoever leads now may change what is wanted.
            self.at_rest.clear();
            return Look::Blind;
        };
        if !unsynced.is_empty() {
            debug!(cluster = %self.key, ?unsynced, "not everything was listed yet");
            return Look::Blind;
        }
        let validated = match validate::cluster(&cluster.spec) {
            Ok(validated) => validated,
            Err(flaws) => {
                let (_, reason, message) = statements::spec(&flaws);
                let deleted = cluster.metadata.deletion_timestamp.is_some();
                match deleted.then(|| validate::parting(&cluster.spec, flaws)).flatten() {
                    Some(parting) => parting,
                    None => return self.report(&cluster, term, "SpecValid", reason, message).await,
                }
            }
        };
        let view = self.etcd.as_ref().map(Etcd::view);
        let epoch = self.leader_epoch(term, view.as_deref()).await;
        let etcd_problem = self.etcd_problem(&cluster, etcd_problem).await;
        let conditions = self.conditions(&cluster, &validated, etcd_problem, view.as_deref());
        let operations = self.shared.watches.operations_of(&self.key);
        let nodes = self.shared.watches.all_nodes();
        let (activities, samples) = (self.streams.heard().activities(now()), self.streams.heard().samples());
        let world = world(&Sight {
            now: now(),
            cluster: &cluster,
            validated: &validated,
            leader_epoch: epoch.unwrap_or(0),
            objects: &objects,
            nodes: &nodes,
            operations: &operations,
            // One that was edited is there, too: it is told, and not written over.
            has_keys: self.secrets.entries(&names::key_secret(owner(&cluster).name)).is_some(),
            // Without an epoch nothing could be written, so it counts as out of reach.
            view: view.as_deref().filter(|_| epoch.is_some()),
            activities: &activities,
            samples: &samples,
            conditions: &conditions,
        });
        let began = Instant::now();
        let plan = plan(&world);
        self.shared.metrics.plan_seconds.observe(began.elapsed().as_secs_f64());
        self.follow(&cluster, &objects, &world, &plan, term, view).await
    }

    /// Keeps Secrets, etcd and streams open; returns what is wrong with the way to etcd.
    async fn keep_open(&mut self, cluster: &ChatroomCluster, objects: &Objects) -> Option<String> {
        let owner = owner(cluster);
        let own = names::key_secret(owner.name);
        let mut wanted = vec![own.as_str()];
        wanted.extend(named_secrets(owner.spec).into_iter().map(|named| named.name));
        let api = Api::<Secret>::namespaced(self.shared.clients.usual.clone(), owner.namespace);
        self.secrets.refresh(&api, &wanted).await;
        let problem = Etcd::keep(&mut self.etcd, &owner, &self.secrets, &self.bell).err();
        let view = self.etcd.as_ref().map(Etcd::view);
        let pods = objects.pods.iter().filter_map(|pod| place(pod, view.as_deref()));
        let pods: BTreeMap<String, Place> = pods.collect();
        let key = self.pod_key(cluster);
        self.streams.follow(pods, key.as_deref());
        problem
    }

    fn pod_key(&self, cluster: &ChatroomCluster) -> Option<String> {
        self.secrets.text(&names::key_secret(owner(cluster).name), keys::POD_KEY)
    }

    /// The leader epoch of the cluster: taken once in each term, before anything is written to etcd in it.
    async fn leader_epoch(&mut self, term: Term, view: Option<&View>) -> Option<u64> {
        let view = view.filter(|view| view.health.is_healthy())?;
        let stored = view.leader_epoch;
        if let Some((of, epoch)) = self.epoch.filter(|(of, _)| *of == term.number) {
            // An etcd that came back empty knows no epoch, or a smaller one.
            if stored.is_some_and(|stored| stored >= epoch) {
                return Some(epoch);
            }
            debug!(cluster = %self.key, term = of, epoch, "etcd has lost the leader epoch");
        }
        let above = known_epoch(view).max(self.epoch.map_or(0, |(_, epoch)| epoch));
        let etcd = self.etcd.as_ref()?;
        match etcd.registry.next_leader_epoch(above).await {
            Ok(epoch) => {
                self.no_epoch = None;
                self.epoch = Some((term.number, epoch));
                let mut views = etcd.views();
                // Seen, it is not taken once more at the next look.
                let seen = views.wait_for(|view| view.leader_epoch >= Some(epoch));
                let _ = tokio::time::timeout(Duration::from_secs(1), seen).await;
                Some(epoch)
            }
            Err(error) => {
                warn!(cluster = %self.key, %error, "no leader epoch");
                self.no_epoch = Some(error.to_string());
                None
            }
        }
    }

    /// What keeps etcd from being used: how the spec describes it, or what it answers.
    async fn etcd_problem(&mut self, cluster: &ChatroomCluster, spec: Option<String>) -> Option<(Reason, String)> {
        if let Some(problem) = spec {
            return Some((Reason::OptionsRefused, problem));
        }
        let etcd = self.etcd.as_ref()?;
        let problem = if etcd.view().health.is_healthy() {
            self.asked = None;
            self.no_epoch.clone()
        } else {
            if self.asked.as_ref().is_none_or(|(at, _)| at.elapsed() >= ASK_ETCD) {
                let answer = etcd.registry.incarnation().await;
                self.asked = Some((Instant::now(), answer.err().map(|error| error.to_string())));
            }
            self.asked.as_ref().and_then(|(_, problem)| problem.clone())
        };
        problem
            .map(|problem| (Reason::EtcdUnreachable, format!("{}: {problem}", cluster.spec.etcd.endpoints.join(", "))))
    }

    /// What the shell states itself.
    fn conditions(
        &self,
        cluster: &ChatroomCluster,
        validated: &Validated,
        etcd: Option<(Reason, String)>,
        view: Option<&View>,
    ) -> Vec<Condition> {
        let (now, generation) = (now(), cluster.metadata.generation.unwrap_or(0));
        let state = |kind: &str, holds, reason: &str, message| statement(kind, holds, reason, message, generation, now);
        let (valid, reason, message) = statements::spec(&validated.flaws);
        let mut all = vec![state("SpecValid", valid, reason, message)];
        let named = statements::secrets(&named_secrets(&cluster.spec), &self.secrets);
        let own = statements::own_secret(&names::key_secret(owner(cluster).name), &self.secrets);
        let (found, reason, message) = match own {
            Some((reason, message)) if named.0 => (false, reason, message),
            _ => named,
        };
        all.push(state("SecretsFound", found, reason.as_str(), message));
        let (reason, message) = etcd.unwrap_or((Reason::Usable, String::new()));
        all.push(state("EtcdUsable", reason == Reason::Usable, reason.as_str(), message));
        let mut two = |kind: &str, problem: Option<String>, good: Reason, bad: Reason| {
            let reason = if problem.is_none() { good } else { bad };
            all.push(state(kind, problem.is_none(), reason.as_str(), problem.unwrap_or_default()));
        };
        let samples = self.streams.heard().samples();
        let store = view.and_then(|view| statements::store(view, &samples, &cluster.spec.redis));
        two("StoreReachable", store, Reason::StoreAnswers, Reason::StoreUnreachable);
        let unreadable = self.shared.watches.unreadable_of(&self.key);
        two("ObjectsReadable", unreadable, Reason::AllReadable, Reason::ObjectUnreadable);
        two("Applied", self.failed.clone(), Reason::Done, Reason::ActionFailed);
        all
    }

    /// Writes the status, tells what changed, and does what the plan asks for.
    async fn follow(
        &mut self,
        cluster: &ChatroomCluster,
        objects: &Objects,
        world: &World,
        plan: &Plan,
        term: Term,
        view: Option<Arc<View>>,
    ) -> Look {
        let before = cluster.status.clone().unwrap_or_default();
        let pod_key = self.pod_key(cluster);
        let mut hands = Hands {
            clients: &self.shared.clients,
            watches: &self.shared.watches,
            term,
            cluster,
            objects,
            world,
            registry: self.etcd.as_ref().map(|etcd| &etcd.registry).zip(view),
            pod_key: pod_key.as_deref(),
            heard: self.streams.heard(),
            metrics: &self.shared.metrics,
            before: Before { drains: &plan.status.drains, at_rest: &self.at_rest },
            told: Vec::new(),
        };
        if plan.status != before
            && let Err(undone) = hands.remember(&plan.status).await
        {
            self.say_unwritten(&undone.failure);
            return Look::Failed;
        }
        self.shared.metrics.conditions.show(&self.key, &plan.conditions);
        let mut told = events::of_conditions(&before.conditions, &plan.conditions);
        let result = carry_out(&mut hands, &plan.actions).await;
        told.append(&mut hands.told);
        self.shared.teller.tell(cluster, told);
        self.at_rest = events::at_rest(&world.owned, &plan.actions, &self.at_rest, result.is_ok());
        self.secrets.forget_missing(&names::key_secret(owner(cluster).name));
        match result {
            Ok(()) => {
                self.failed = None;
                Look::Done(Duration::from_millis(plan.look_again_ms))
            }
            Err(Undone { what, failure }) => {
                if failure.lost_epoch() {
                    self.epoch = None;
                }
                if !failure.is_passing() {
                    self.failed = Some(format!("{what}: {failure}"));
                }
                Look::Failed
            }
        }
    }

    fn say_unwritten(&self, failure: &Failure) {
        match failure {
            Failure::Stale(why) => {
                debug!(cluster = %self.key, why, "the cluster was written by somebody else: looks again");
            }
            failure => warn!(cluster = %self.key, error = %failure, "the status was not written"),
        }
    }

    /// Reports one condition of a cluster that cannot be planned for; nothing else of its status changes.
    async fn report(&self, cluster: &ChatroomCluster, term: Term, kind: &str, reason: &str, message: String) -> Look {
        let mut status = cluster.status.clone().unwrap_or_default();
        let generation = cluster.metadata.generation.unwrap_or(0);
        set_condition(&mut status.conditions, statement(kind, false, reason, message, generation, now()));
        self.shared.metrics.conditions.show(&self.key, &status.conditions);
        if cluster.status.as_ref() != Some(&status) {
            let before = cluster.status.as_ref().map_or(&[][..], |status| &status.conditions);
            self.shared.teller.tell(cluster, events::of_conditions(before, &status.conditions));
            let api = Api::namespaced(self.shared.clients.usual.clone(), &self.key.namespace);
            match status::write(&api, term, cluster, &status).await {
                Ok(written) => self.shared.watches.clusters.learn(written),
                Err(error) => warn!(cluster = %self.key, %error, "the status was not written"),
            }
        }
        Look::Blind
    }

    /// Says of a cluster that cannot be read that it cannot. Nothing else of it is touched, unless it is to be deleted.
    async fn report_unreadable(&mut self, unreadable: &Unreadable) -> Look {
        let Some(term) = self.shared.leadership.term() else { return Look::Blind };
        let Unreadable { error, metadata, .. } = unreadable;
        let client = &self.shared.clients.usual;
        if parting::is_due(metadata, now()) {
            match parting::let_go(client, term, &self.key, metadata).await {
                Ok(()) => info!(cluster = %self.key, error, "the cluster cannot be read, was deleted and is let go"),
                Err(error) => warn!(cluster = %self.key, %error, "the finalizer was not taken off"),
            }
            return Look::Blind;
        }
        let ends = "; it is deleted, and goes without a drain after half an hour or with the annotation throng.dev/let-go=true";
        let ends = parting::deleted_since(metadata).map_or("", |_| ends);
        let message = format!("{error}: apply the CRDs of this version{ends}");
        if self.failed.as_ref() == Some(&message) {
            return Look::Blind;
        }
        warn!(cluster = %self.key, error, "the cluster cannot be read: apply the CRDs of this version");
        let condition = statement("SpecValid", false, Reason::Unreadable.as_str(), message.clone(), 0, now());
        self.shared.metrics.conditions.show(&self.key, std::slice::from_ref(&condition));
        match status::write_condition(client, term, &self.key, &condition).await {
            Ok(()) => self.failed = Some(message),
            Err(error) => warn!(cluster = %self.key, %error, "the condition was not written"),
        }
        Look::Blind
    }
}

/// Whoever is gone says nothing more.
impl Drop for Worker {
    fn drop(&mut self) {
        self.shared.metrics.conditions.forget(&self.key);
    }
}

fn backoff(failures: u32) -> Duration {
    BACKOFF.0.saturating_mul(1 << failures.min(8)).min(BACKOFF.1)
}

fn now() -> Utc {
    Utc::of(Timestamp::now())
}

/// Where a Pod answers, by its uid; none if it has not started yet or is over.
fn place(pod: &Pod, view: Option<&View>) -> Option<(String, Place)> {
    let role = pod.metadata.labels.as_ref()?.get(names::ROLE)?;
    let place = Place { role: Role::from_text(role)?, address: address(pod, view)? };
    Some((pod.metadata.uid.clone()?, place))
}

/// Where the process of a Pod answers: as it said itself in etcd, or else where its Pod is.
pub(crate) fn address(pod: &Pod, view: Option<&View>) -> Option<String> {
    let uid = pod.metadata.uid.as_deref()?;
    let members = view.into_iter().flat_map(|view| Role::ALL.into_iter().flat_map(|role| view.members(role).values()));
    let mut own: Vec<_> = members.map(|entry| &entry.member).filter(|member| *member.uid == *uid).collect();
    own.sort_by_key(|member| member.started_ms);
    if let Some(member) = own.last() {
        return Some(member.address.to_string());
    }
    let status = pod.status.as_ref()?;
    let running = status.phase.as_deref() == Some("Running");
    let ip = status.pod_ip.as_deref().filter(|ip| running && !ip.is_empty())?;
    Some(if ip.contains(':') { format!("[{ip}]:{GRPC_PORT}") } else { format!("{ip}:{GRPC_PORT}") })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_pause_grows_to_five_seconds_and_stays() {
        let pauses: Vec<u128> = (0..8).map(|failures| backoff(failures).as_millis()).collect();
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 5000, 5000, 5000]);
        assert_eq!(backoff(u32::MAX), BACKOFF.1);
    }

    #[test]
    fn a_pod_that_etcd_does_not_know_answers_where_it_runs() {
        let pod = |status: serde_json::Value| {
            let pod = json!({"metadata": {"uid": "u"}, "status": status});
            address(&serde_json::from_value(pod).unwrap(), None)
        };
        assert_eq!(pod(json!({"phase": "Running", "podIP": "10.0.0.7"})).as_deref(), Some("10.0.0.7:7070"));
        assert_eq!(pod(json!({"phase": "Running", "podIP": "fd00::7"})).as_deref(), Some("[fd00::7]:7070"));
        for none in [json!({"phase": "Pending"}), json!({"phase": "Running"}), json!({"phase": "Failed", "podIP": "1"})]
        {
            assert_eq!(pod(none), None);
        }
    }
}
