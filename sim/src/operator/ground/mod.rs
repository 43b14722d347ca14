//! What is really so: nodes, Pods, processes, users, and the two stores that tell of them.
//!
//! A tick is one second. In it [`nodes`] come and go and Pods are bound to them, [`kubelet`]s start and end processes, [`crowd`]
//! moves users of gateways and [`slots`] those of rooms; everybody who can renews his lease and says what he carries.
//! [`spec`] is what a person asks for, [`asks`] what beside that, [`statuses`] what operators wrote about both; [`shapes`] are
//! the ills of releases.

pub(crate) mod asks;
pub(crate) mod crowd;
pub(crate) mod kubelet;
pub(crate) mod nodes;
pub(crate) mod shapes;
pub(crate) mod slots;
pub(crate) mod spec;
pub(crate) mod statuses;

use std::collections::{BTreeMap, BTreeSet};

use throng_core::{Millis, Role};
use throng_plan::pools::Pools;
use throng_plan::status::{ClusterStatus, OperationStatus, Utc};
use throng_plan::world::sample::users_load;
use throng_plan::world::{Member, Sample};

use self::crowd::Crowd;
use self::nodes::Machine;
use self::shapes::Ills;
use self::statuses::Statuses;
use super::api::{Expected, Kind, Object, Server};
use super::dice::Dice;
use super::etcd::Etcd;
use super::see::WATCHED;
use super::tally::{Fault, Tally};

/// Length of a tick, in milliseconds.
pub(crate) const TICK_MS: u64 = 1000;
/// A process serves so long after its start.
const READY_MS: u64 = 1000;
/// More statuses than any view is writes behind.
const REMEMBERED: usize = 512;

/// A process of a Pod. Its uid is its key.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) pod: String,
    pub(crate) role: Role,
    pub(crate) shape: String,
    pub(crate) revision: u64,
    pub(crate) node: String,
    born: Millis,
    pub(crate) draining: bool,
    /// Connections of a gateway.
    pub(crate) users: u64,
    /// It has lost its lease, and serves nobody.
    fenced: bool,
}

impl Process {
    /// Whether it is ready to serve.
    fn is_up(&self, now: Millis, ills: &Ills) -> bool {
        now.since(self.born) >= READY_MS && !ills.stuck.contains(&self.shape)
    }
}

/// Everything that is so.
#[derive(Clone, Debug)]
pub(crate) struct Ground {
    pub(crate) now: Millis,
    pub(crate) dice: Dice,
    pub(crate) api: Server,
    pub(crate) etcd: Etcd,
    pub(crate) statuses: Statuses<ClusterStatus>,
    pub(crate) answers: Statuses<OperationStatus>,
    /// Operations that have taken effect or are over: none of them may do anything more.
    pub(super) effective: BTreeSet<String>,
    pub(crate) machines: BTreeMap<String, Machine>,
    pub(crate) processes: BTreeMap<String, Process>,
    /// When containers that do not run are started, by uid of their Pod.
    starts: BTreeMap<String, Millis>,
    pub(crate) crowd: Crowd,
    slots: Pools<slots::Seen>,
    /// Shapes whose Pods are not well.
    pub(crate) ills: Ills,
    /// Nobody leaves a draining Pod until then.
    pub(crate) stuck_until: Millis,
    /// Pods that say nothing until then.
    pub(crate) silent: BTreeMap<String, Millis>,
    pub(crate) tally: Tally,
}

impl Ground {
    /// Six nodes in three zones, a cluster that is asked for, and nothing else.
    pub(crate) fn new(seed: u64, sizes: [u32; 3]) -> Self {
        let mut ground = Self {
            now: Millis(1_000_000_000),
            dice: Dice::new(seed),
            api: Server::default(),
            etcd: Etcd::default(),
            statuses: Statuses::keep(REMEMBERED),
            answers: Statuses::keep(usize::MAX),
            effective: BTreeSet::new(),
            machines: BTreeMap::new(),
            processes: BTreeMap::new(),
            starts: BTreeMap::new(),
            crowd: Crowd::default(),
            slots: Pools::from_fn(|_| slots::Seen::default()),
            ills: Ills::default(),
            stuck_until: Millis::ZERO,
            silent: BTreeMap::new(),
            tally: Tally::default(),
        };
        for number in 0..6 {
            ground.add_node(number);
        }
        let cluster = (Kind::Cluster, spec::CLUSTER.to_owned());
        let _ = ground.api.create(ground.now, cluster, spec::object(sizes));
        ground
    }

    /// A second passes.
    pub(crate) fn tick(&mut self) {
        self.now = Millis(self.now.0 + TICK_MS);
        self.run_nodes();
        self.schedule();
        self.run_kubelets();
        self.crash_some();
        self.renew_leases();
        self.move_crowd();
        self.move_slots();
        self.api.collect_garbage(self.now);
    }

    fn renew_leases(&mut self) {
        for (uid, process) in &mut self.processes {
            if self.machines.get(&process.node).is_some_and(Machine::reachable) {
                process.fenced = false;
                let ready = process.is_up(self.now, &self.ills);
                let member = Member { pod: process.pod.clone(), role: process.role, ready, draining: process.draining };
                self.etcd.renew(self.now, uid, &member);
            }
        }
        for uid in self.etcd.expired(self.now) {
            self.etcd.leave(&uid);
            if let Some(process) = self.processes.get_mut(&uid) {
                // It stops by its own clock before that; its users look for another.
                (process.fenced, process.users) = (true, 0);
            }
        }
    }

    /// Ends a process at once; its users look for another.
    pub(crate) fn end(&mut self, uid: &str, well: bool) {
        if self.processes.remove(uid).is_some() && well {
            self.etcd.leave(uid);
        }
    }

    /// Whether a process can serve.
    pub(crate) fn serves(&self, uid: &str) -> bool {
        let Some(process) = self.processes.get(uid) else { return false };
        let pod = self.api.get(Kind::Pod, &process.pod).filter(|pod| pod.uid == uid && pod.deleted_at.is_none());
        let selected = |pod: &Object| pod.field("labels.serving") == "true" && !pod.field(WATCHED).is_empty();
        let in_service = |pod: &Object| process.role != Role::Gateway || selected(pod);
        self.carries(uid) && pod.is_some_and(|pod| in_service(pod))
    }

    /// Whether a process serves those that it has, in the Service or out of it.
    pub(crate) fn carries(&self, uid: &str) -> bool {
        let Some(process) = self.processes.get(uid) else { return false };
        let pod = self.api.get(Kind::Pod, &process.pod).filter(|pod| pod.uid == uid && pod.deleted_at.is_none());
        let up = !process.draining && !process.fenced && process.is_up(self.now, &self.ills);
        up && pod.is_some_and(|pod| pod.state("ready") == "true")
            && self.machines.get(&process.node).is_some_and(Machine::reachable)
    }

    /// Pods of a role that can serve.
    pub(crate) fn serving(&self, role: Role) -> usize {
        self.processes.iter().filter(|(uid, process)| process.role == role && self.serves(uid)).count()
    }

    /// Pods of a role that serve those that they have.
    pub(crate) fn carrying(&self, role: Role) -> usize {
        self.processes.iter().filter(|(uid, process)| process.role == role && self.carries(uid)).count()
    }

    /// Users on a Pod.
    pub(crate) fn users(&self, uid: &str) -> u64 {
        match self.processes.get(uid) {
            None => 0,
            Some(process) if process.role == Role::Gateway => process.users,
            Some(process) => self.users_of_slots(process.role, uid),
        }
    }

    /// Users on all Pods of a role.
    pub(crate) fn users_of(&self, role: Role) -> u64 {
        let of_role = self.processes.iter().filter(|(_, process)| process.role == role);
        of_role.map(|(uid, _)| self.users(uid)).sum()
    }

    /// What a Pod says of itself; none if nothing is heard of it.
    pub(crate) fn sample(&self, uid: &str) -> Option<Sample> {
        let process = self.processes.get(uid)?;
        let heard = self.machines.get(&process.node).is_some_and(Machine::reachable)
            && self.silent.get(uid).is_none_or(|until| *until <= self.now);
        let users = self.users(uid);
        let left = if process.role == Role::Gateway { users } else { self.slots_of(process.role, uid) };
        let mut load = [(users_load(process.role).to_owned(), users as f64)].into();
        self.ills.said_by(&process.shape, &mut load);
        heard.then_some(Sample { at: Utc(self.now), load, left, draining: process.draining, unready: Vec::new() })
    }

    /// Names of the Pods with their uids.
    pub(crate) fn pods(&self) -> Vec<(String, String)> {
        self.api.list(Kind::Pod).map(|(name, pod)| (name.to_owned(), pod.uid.clone())).collect()
    }

    /// A Pod is over for good.
    pub(crate) fn fail(&mut self, name: &str, uid: &str) {
        self.end(uid, false);
        let _ = self.api.edit(&(Kind::Pod, name.to_owned()), &Expected::default(), |pod| {
            pod.set_state("phase", "Failed");
            pod.set_state("ready", false);
        });
    }

    /// The container of a Pod dies; it is started again.
    pub(crate) fn kill(&mut self, name: &str, uid: &str) {
        self.end(uid, false);
        self.starts.insert(uid.to_owned(), Millis(self.now.0 + 2 * TICK_MS));
        let _ = self.api.edit(&(Kind::Pod, name.to_owned()), &Expected::default(), |pod| {
            let restarts: u32 = pod.state("restarts").parse().unwrap_or(0);
            pod.set_state("restarts", restarts + 1);
            pod.set_state("ready", false);
        });
    }

    pub(crate) fn count(&mut self, fault: Fault) {
        self.tally.fault(fault);
    }
}
