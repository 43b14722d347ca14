//! A cluster small enough to be sure of: it does what actions say, if what they name is still true, and lets time pass.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use throng_core::{Millis, Role, Slot};
use throng_plan::plan::{Action, Because, Plan};
use throng_plan::spec::Operation;
use throng_plan::spec::operation::Action as Asks;
use throng_plan::status::{ClusterStatus, OperationPhase, OperationStatus, Utc};
use throng_plan::world::sample::users_load;
use throng_plan::world::{
    Claim, Cluster, Member, Node, Object, Phase, Pod, Registry, Rendered, Revision, Sample, World,
};

#[path = "model/reading.rs"]
mod reading;
#[path = "model/spec.rs"]
mod spec;

pub(crate) use spec::spec;

/// Users that one Pod should carry.
pub(crate) const PER_POD: u64 = 100;
pub(crate) const DEADLINE_MS: u64 = 60_000;

/// A world, and what is true of it beyond what a planner sees.
#[derive(Clone)]
pub(crate) struct Model {
    pub(crate) world: World,
    /// Users of each Pod, by uid.
    pub(crate) users: BTreeMap<String, u64>,
    /// Users that a draining Pod moves in one tick.
    pub(crate) pace: u64,
    /// Revisions whose Pods never become ready.
    pub(crate) broken: BTreeSet<u64>,
    /// Revisions whose Pods the API server does not let be made.
    pub(crate) refused: BTreeSet<u64>,
    /// Nodes whose Pods never answer.
    pub(crate) dead_nodes: BTreeSet<String>,
    /// Everything that went against a promise.
    pub(crate) broken_promises: Vec<String>,
    /// Users who connect in the next tick.
    pub(crate) arriving: u64,
    /// Seconds for which a blocked revision was in the Service beside a good one.
    pub(crate) blocked_for: u32,
    /// Loads that Pods of a revision say beside their users.
    pub(crate) says: BTreeMap<u64, Vec<(&'static str, f64)>>,
    /// Users that were cut, and Pods made.
    pub(crate) cut: u64,
    pub(crate) made: u64,
}

impl Model {
    /// Three zones with two nodes each, and nothing else yet.
    pub(crate) fn new(sizes: [u32; 3]) -> Self {
        let node = |i: usize| {
            let zone = ["a", "b", "c"][i % 3].to_owned();
            (format!("node-{i}"), Node { zone, ready: true, ..Node::default() })
        };
        let rendered = Rendered {
            services: [("live-gateway".to_owned(), "s1".to_owned())].into(),
            network_policies: [("live".to_owned(), "n1".to_owned())].into(),
        };
        let world = World {
            now: Utc(Millis(1_000_000_000)),
            cluster: Cluster { name: "live".into(), generation: 1, ..Cluster::default() },
            spec: spec(sizes),
            leader_epoch: 1,
            status: ClusterStatus::default(),
            revisions: BTreeMap::new(),
            pods: BTreeMap::new(),
            nodes: (0..6).map(node).collect(),
            registry: Some(Registry::default()),
            samples: BTreeMap::new(),
            operations: BTreeMap::new(),
            owned: BTreeSet::new(),
            edited: BTreeSet::new(),
            rendered,
        };
        Self {
            world,
            users: BTreeMap::new(),
            pace: 30,
            broken: BTreeSet::new(),
            refused: BTreeSet::new(),
            dead_nodes: BTreeSet::new(),
            broken_promises: vec![],
            arriving: 0,
            blocked_for: 0,
            says: BTreeMap::new(),
            cut: 0,
            made: 0,
        }
    }

    /// A cluster that has come to rest, with so many users on each Pod.
    pub(crate) fn at_rest(sizes: [u32; 3], users: u64) -> Self {
        let mut model = Self::new(sizes);
        model.settle();
        for pod in model.world.pods.values() {
            model.users.insert(pod.uid.clone(), users);
        }
        model.settle();
        model
    }

    pub(crate) fn plan(&self) -> Plan {
        throng_plan::plan(&self.world)
    }

    /// Writes the status, then does the first `prefix` actions. The planner dies after that.
    pub(crate) fn perform(&mut self, plan: &Plan, prefix: usize) {
        if prefix == 0 {
            return;
        }
        self.world.status = plan.status.clone();
        for action in plan.actions.iter().take(prefix - 1) {
            self.act(action);
        }
    }

    /// Looks, acts, lets a second pass; until a look has nothing to do and nothing happens any more.
    pub(crate) fn settle(&mut self) -> u32 {
        for round in 0..2000 {
            let plan = self.plan();
            let (before, users) = (self.world.clone(), self.users.clone());
            self.perform(&plan, usize::MAX);
            self.tick();
            let still = |world: &World| {
                (world.pods.clone(), world.registry.clone(), world.owned.clone(), world.status.drains.clone())
            };
            let is_still = still(&before) == still(&self.world) && users == self.users;
            if plan.actions.is_empty() && is_still && self.plan().actions.is_empty() {
                return round;
            }
        }
        panic!("it never comes to rest: {:#?}", self.plan().actions);
    }

    pub(crate) fn step(&mut self) -> Plan {
        let plan = self.plan();
        self.perform(&plan, usize::MAX);
        self.tick();
        plan
    }

    pub(crate) fn steps(&mut self, count: usize) {
        for _ in 0..count {
            self.step();
        }
    }

    fn has(&self, name: &str, uid: &str) -> bool {
        self.world.pods.get(name).is_some_and(|pod| pod.uid == uid)
    }

    fn members(&mut self) -> &mut BTreeMap<String, Member> {
        &mut self.world.registry.as_mut().unwrap().members
    }

    /// Does one action, or nothing if what it names is true no more.
    pub(crate) fn act(&mut self, action: &Action) {
        match action {
            Action::SetFinalizer => self.world.cluster.finalizer = true,
            Action::RemoveFinalizer => self.world.cluster.finalizer = false,
            Action::Apply(object) => self.apply(object),
            Action::Restore(edited) => drop(self.world.edited.remove(edited)),
            Action::CreatePod { name, role, revision, index, zone } => {
                if self.world.pods.contains_key(name) || self.refused.contains(revision) {
                    return;
                }
                self.made += 1;
                let pod = Pod {
                    uid: format!("uid-{}", self.made),
                    role: *role,
                    revision: *revision,
                    index: *index,
                    node: None,
                    zone: zone.clone(),
                    phase: Phase::Pending,
                    ready: false,
                    serving: false,
                    terminating: None,
                    trouble: None,
                    restarts: 0,
                    created: self.world.now,
                };
                self.world.pods.insert(name.clone(), pod);
            }
            Action::DeletePod { name, uid, because, most_users_cut } => {
                let users = self.users.get(uid).copied().unwrap_or(0);
                if !self.has(name, uid) || users > *most_users_cut {
                    return;
                }
                self.check_delete(name, uid, *because, users);
                let now = self.world.now;
                let pod = self.world.pods.get_mut(name).unwrap();
                pod.terminating.get_or_insert(now);
            }
            Action::DrainPod { name, uid, .. } | Action::UndrainPod { name, uid } => {
                let draining = matches!(action, Action::DrainPod { .. });
                if self.has(name, uid)
                    && let Some(member) = self.members().get_mut(uid)
                {
                    member.draining = draining;
                }
            }
            Action::ShedUsers { name, uid, users, .. } => {
                if self.has(name, uid) {
                    let moved = self.users.get(uid).copied().unwrap_or(0).min(*users);
                    self.users.entry(uid.clone()).and_modify(|users| *users -= moved);
                    self.arriving += moved;
                }
            }
            Action::WriteOperation { name, uid, status } => {
                if let Some(asks) = self.world.operations.get_mut(name).filter(|asks| asks.uid == *uid) {
                    if asks.status.phase.is_final() {
                        self.broken_promises.push(format!("operation {name} was written after its end"));
                    }
                    asks.status = (**status).clone();
                }
            }
            Action::DeleteOperation { name, uid } => {
                self.world.operations.retain(|of, asks| of != name || asks.uid != *uid);
            }
            Action::DeleteRevision { number, name } => {
                if self.world.pods.values().any(|pod| pod.revision == *number) {
                    self.broken_promises.push(format!("revision {number} was forgotten while it has Pods"));
                }
                self.world.revisions.remove(number);
                self.world.owned.retain(|object| object.name() != name);
            }
            Action::LabelServing { name, uid, serving } => {
                if self.has(name, uid) {
                    self.world.pods.get_mut(name).unwrap().serving = *serving;
                }
            }
            Action::WriteTarget { role, document } => {
                self.world.registry.as_mut().unwrap().documents.of_mut(*role).target = Some(document.clone());
            }
            Action::WritePlacement { role, document } => {
                let before =
                    self.world.registry.as_mut().unwrap().documents.of_mut(*role).in_force.replace(document.clone());
                if before.is_some_and(|before| !document.0.supersedes(&before.0)) {
                    self.broken_promises.push(format!("{role}: a placement went back"));
                }
            }
            Action::ForgetKeys { .. } => {
                *self.world.registry.as_mut().unwrap() = Registry::default();
            }
            Action::WritePolicy { policy } => {
                let before = self.world.registry.as_mut().unwrap().policy.replace(policy.clone());
                if before.is_some_and(|before| before.version >= policy.version) {
                    self.broken_promises.push("a policy went back".to_owned());
                }
            }
        }
    }

    fn apply(&mut self, object: &Object) {
        if let Object::ControllerRevision { number, hash, .. } = object {
            let revision = Revision { hash: hash.clone(), image: "throng:1".into(), created: self.world.now };
            if self.world.revisions.insert(*number, revision).is_some() {
                self.broken_promises.push(format!("revision {number} was written twice"));
            }
        }
        self.world.owned.retain(|owned| {
            std::mem::discriminant(owned) != std::mem::discriminant(object) || owned.name() != object.name()
        });
        self.world.owned.insert(object.clone());
    }

    fn check_delete(&mut self, name: &str, uid: &str, because: Because, users: u64) {
        let drain = self.world.status.drains.iter().find(|drain| drain.uid == *uid);
        let over = drain.is_some_and(|drain| self.world.now >= Utc(drain.since.0 + DEADLINE_MS));
        if users > 0 && !over {
            self.broken_promises
                .push(format!("{name} was deleted ({because:?}) with {users} users before its deadline"));
        }
        self.cut += users;
    }

    /// One second: Pods start, drain and end, slots follow their placement, everybody says what he carries.
    pub(crate) fn tick(&mut self) {
        self.world.now = Utc(self.world.now.0 + 1000);
        self.end_pods();
        self.start_pods();
        self.move_users();
        self.connect();
        self.check_blocked();
        self.move_slots();
        self.say();
    }

    fn end_pods(&mut self) {
        let gone: Vec<String> =
            self.world.pods.iter().filter(|(_, pod)| pod.terminating.is_some()).map(|(name, _)| name.clone()).collect();
        for name in gone {
            let pod = self.world.pods[&name].clone();
            if pod.node.as_ref().is_some_and(|node| self.dead_nodes.contains(node)) {
                continue;
            }
            self.world.pods.remove(&name);
            self.forget(&pod.uid);
        }
        let over = self.world.pods.values().filter(|pod| pod.phase.is_over()).map(|pod| pod.uid.clone());
        let dead =
            self.world.pods.values().filter(|pod| pod.node.as_ref().is_some_and(|node| self.dead_nodes.contains(node)));
        for uid in over.chain(dead.map(|pod| pod.uid.clone())).collect::<Vec<_>>() {
            self.forget(&uid);
        }
    }

    /// A process is gone, with its users and its claims.
    fn forget(&mut self, uid: &str) {
        self.users.remove(uid);
        self.world.samples.remove(uid);
        if let Some(registry) = &mut self.world.registry {
            registry.members.remove(uid);
            for role in Role::ALL {
                registry.claims.of_mut(role).release(uid);
            }
        }
    }

    fn start_pods(&mut self) {
        let Some(registry) = &mut self.world.registry else { return };
        for (name, pod) in &mut self.world.pods {
            if pod.phase.is_over() || pod.terminating.is_some() {
                continue;
            }
            if pod.node.is_none() {
                let taints = &self.world.spec.drain.taints;
                let tainted = |node: &Node| taints.iter().any(|key| node.taints.contains(key));
                let open = self.world.nodes.iter().filter(|(_, node)| node.ready && !node.cordoned && !tainted(node));
                let mut fits: Vec<_> = open.filter(|(_, node)| pod.zone.is_empty() || node.zone == pod.zone).collect();
                fits.sort_by_key(|(node, _)| (u64::from(pod.index) + node.len() as u64) % 2);
                pod.node = fits.first().map(|(name, _)| (*name).clone());
                continue;
            }
            if pod.node.as_ref().is_some_and(|node| self.dead_nodes.contains(node)) {
                pod.ready = false;
                continue;
            }
            if self.broken.contains(&pod.revision) {
                pod.trouble = Some("ImagePullBackOff".into());
                continue;
            }
            (pod.phase, pod.ready) = (Phase::Running, true);
            let member = Member { pod: name.clone(), role: pod.role, ready: true, draining: false };
            registry.members.entry(pod.uid.clone()).or_insert(member);
        }
    }

    /// Users of a draining Pod go to those of its pool that serve.
    fn move_users(&mut self) {
        let Some(registry) = &self.world.registry else { return };
        for role in Role::ALL {
            let pods = self.world.pods.values().filter(|pod| pod.role == role);
            let (from, to): (Vec<_>, Vec<_>) = pods
                .filter(|pod| registry.members.contains_key(&pod.uid))
                .partition(|pod| registry.members.get(&pod.uid).is_some_and(|m| m.draining));
            // Clients find a gateway by its label; slots find their Pod by the placement.
            let routed = |pod: &&Pod| pod.ready && (role != Role::Gateway || pod.serving) && pod.terminating.is_none();
            let to: Vec<_> = to.into_iter().filter(routed).collect();
            for pod in from {
                let left = self.users.get(&pod.uid).copied().unwrap_or(0);
                let moved = left.min(self.pace);
                self.users.insert(pod.uid.clone(), left - moved);
                if let Some(taker) = to.iter().min_by_key(|to| self.users.get(&to.uid).copied().unwrap_or(0)) {
                    *self.users.entry(taker.uid.clone()).or_default() += moved;
                }
            }
        }
    }

    /// Who connects is spread over the gateways in the Service, as a load balancer does.
    fn connect(&mut self) {
        let Some(registry) = &self.world.registry else { return };
        let in_service = |pod: &&Pod| {
            let member = registry.members.get(&pod.uid);
            pod.role == Role::Gateway && pod.serving && pod.ready && member.is_some_and(|member| !member.draining)
        };
        let takers: Vec<String> = self.world.pods.values().filter(in_service).map(|pod| pod.uid.clone()).collect();
        if takers.is_empty() {
            return;
        }
        for (_, taker) in (0..self.arriving).zip(takers.iter().cycle()) {
            *self.users.entry(taker.clone()).or_default() += 1;
        }
        self.arriving = 0;
    }

    /// No gateway of a blocked revision is in the Service beside one that serves.
    fn check_blocked(&mut self) {
        let Some(rollback) = self.world.status.rollback.clone() else { return };
        let good = self.world.pods.values().any(|pod| {
            pod.role == Role::Gateway
                && pod.revision == rollback.to
                && pod.serving
                && pod.ready
                && pod.terminating.is_none()
        });
        let blocked = self.world.pods.iter().find(|(_, pod)| {
            pod.role == Role::Gateway && pod.revision == rollback.blocked_revision.number && pod.serving
        });
        self.blocked_for = if good && blocked.is_some() { self.blocked_for + 1 } else { 0 };
        // A look sees that one serves, acts, and the next second shows it.
        if self.blocked_for > 2 {
            self.broken_promises.push(format!("{} of a blocked revision is in the Service", blocked.unwrap().0));
        }
    }

    /// Somebody asks for something beside the spec.
    pub(crate) fn ask(&mut self, name: &str, action: Asks) {
        let uid = format!("operation-{name}");
        let asks = Operation {
            name: name.into(),
            uid,
            asked_at: self.world.now.0,
            action,
            ttl_ms: 3_600_000,
            status: OperationStatus::default(),
        };
        self.world.operations.insert(name.into(), asks);
    }

    pub(crate) fn outcome(&self, name: &str) -> (OperationPhase, &str) {
        let status = &self.world.operations[name].status;
        (status.phase, status.message.as_str())
    }

    /// Users on gateways of a revision, and on all.
    pub(crate) fn share(&self, revision: u64) -> (u64, u64) {
        let of = |which: &dyn Fn(&Pod) -> bool| {
            let pods = self.pods(Role::Gateway).into_iter().filter(|(_, pod)| which(pod));
            pods.map(|(_, pod)| self.users.get(&pod.uid).copied().unwrap_or(0)).sum()
        };
        (of(&|pod| pod.revision == revision), of(&|_| true))
    }

    fn move_slots(&mut self) {
        let Some(registry) = &mut self.world.registry else { return };
        for role in [Role::Chatroom, Role::Message] {
            let Some(document) = registry.documents.of(role).in_force.clone() else { continue };
            let names: BTreeMap<&str, Arc<str>> =
                registry.members.iter().map(|(uid, member)| (member.pod.as_str(), Arc::from(uid.as_str()))).collect();
            let claims = registry.claims.of_mut(role);
            for slot in Slot::all() {
                let owner = document.0.list(slot).find_map(|placed| names.get(&*placed.pod));
                if let Some(uid) = owner {
                    claims.insert(slot, &Claim { uid: Arc::clone(uid), rooms: 0, users: 0 });
                }
            }
        }
    }

    /// Does an action that was done already.
    pub(crate) fn act_again(&mut self, action: &Action) {
        let promises = self.broken_promises.len();
        self.act(action);
        self.broken_promises.truncate(promises);
    }

    /// Processes whose Pod is gone end with it.
    pub(crate) fn drop_strays(&mut self) {
        let members =
            self.world.registry.iter().flat_map(|registry| registry.members.keys().cloned()).collect::<Vec<_>>();
        let living: BTreeSet<&str> = self.world.pods.values().map(|pod| pod.uid.as_str()).collect();
        let strays: Vec<String> = members.into_iter().filter(|uid| !living.contains(uid.as_str())).collect();
        for uid in &strays {
            self.forget(uid);
        }
    }

    pub(crate) fn say_again(&mut self) {
        self.say();
    }

    fn say(&mut self) {
        let Some(registry) = &self.world.registry else { return };
        for (uid, member) in &registry.members {
            let users = self.users.get(uid).copied().unwrap_or(0);
            let mut load: BTreeMap<String, f64> = [(users_load(member.role).to_owned(), users as f64)].into();
            let revision = self.world.pods.get(&member.pod).map_or(0, |pod| pod.revision);
            load.extend(self.says.get(&revision).into_iter().flatten().map(|(name, load)| ((*name).to_owned(), *load)));
            let sample = Sample { at: self.world.now, load, left: users, draining: member.draining, unready: vec![] };
            self.world.samples.insert(uid.clone(), sample);
        }
    }
}
