//! One pool under load: people come and go, Pods start and are emptied, everybody says what he carries. The planner looks
//! once a second. Of its actions only those on the Pods of this pool are done.

use std::collections::{BTreeMap, BTreeSet};

use throng_core::{Millis, Role, Slot};
use throng_plan::plan::{Action, Plan};
use throng_plan::spec::pool::{Change, Policy, Scaling, Select};
use throng_plan::status::Utc;
use throng_plan::world::sample::users_load;
use throng_plan::world::{Claim, Member, Phase, Pod, Sample, World};

use crate::model::{Model, PER_POD};

/// A pool and what it went through.
#[derive(Clone)]
pub(crate) struct Pool {
    pub(crate) world: World,
    pub(crate) role: Role,
    /// Users of each Pod, by uid.
    pub(crate) users: BTreeMap<String, u64>,
    /// Seconds from the creation of a Pod until it serves.
    pub(crate) start_s: u64,
    /// Users that a draining Pod gives away in a second.
    pub(crate) pace: u64,
    /// No Pod says anything.
    pub(crate) blackout: bool,
    /// The sizes that were wanted, one a look.
    pub(crate) wanted: Vec<u32>,
    pub(crate) made: u64,
    pub(crate) undrained: u64,
    pub(crate) cut: u64,
}

fn policy(change: Change) -> Policy {
    Policy { change, period_ms: 15_000 }
}

impl Pool {
    /// A pool of `min` to `max` Pods with the defaults of an autoscaler, at rest with its smallest number.
    pub(crate) fn new(role: Role, min: u32, max: u32) -> Self {
        let mut world = Model::new([1, 1, 1]).world;
        let pool = world.spec.pools.of_mut(role);
        (pool.min, pool.max) = (min, max);
        let scaling = |window_ms, policies| Scaling { window_ms, tolerance: 0.1, select: Select::Max, policies };
        pool.scale_up = scaling(0, vec![policy(Change::Pods(4)), policy(Change::Percent(100))]);
        pool.scale_down = scaling(300_000, vec![policy(Change::Percent(100))]);
        let mut pool = Self {
            world,
            role,
            users: BTreeMap::new(),
            start_s: 3,
            pace: 50,
            blackout: false,
            wanted: vec![],
            made: 0,
            undrained: 0,
            cut: 0,
        };
        pool.run(60, |_| 0);
        pool.wanted.clear();
        pool
    }

    /// A pool that has grown with its load, so that all its Pods carry alike.
    pub(crate) fn grown(min: u32, load: u64) -> Self {
        let mut pool = Self::new(Role::Gateway, min, 60);
        pool.run(200, |second| load * second / 200);
        pool.run(60, |_| load);
        pool.wanted.clear();
        pool
    }

    /// So many seconds with as many users as `load` says for each.
    pub(crate) fn run(&mut self, seconds: u64, load: impl Fn(u64) -> u64) -> Plan {
        let mut plan = throng_plan::plan(&self.world);
        for second in 0..seconds {
            self.world.now = Utc(self.world.now.0 + 1000);
            self.start();
            self.drain();
            self.arrive(load(second));
            self.say();
            plan = throng_plan::plan(&self.world);
            self.follow(&plan);
        }
        plan
    }

    pub(crate) fn why(&self) -> &str {
        &self.world.status.pools.of(self.role).why
    }

    pub(crate) fn pods(&self) -> impl Iterator<Item = (&String, &Pod)> {
        self.world.pods.iter().filter(|(_, pod)| pod.role == self.role)
    }

    fn members(&self) -> &BTreeMap<String, Member> {
        &self.world.registry.as_ref().unwrap().members
    }

    /// Uids of the Pods that take users.
    pub(crate) fn serving(&self) -> Vec<String> {
        let serves = |pod: &Pod| pod.serving && self.members().get(&pod.uid).is_some_and(|member| !member.draining);
        self.pods().filter(|(_, pod)| serves(pod)).map(|(_, pod)| pod.uid.clone()).collect()
    }

    /// Users that the Pods that serve can carry.
    pub(crate) fn capacity(&self) -> u64 {
        self.serving().len() as u64 * PER_POD
    }

    pub(crate) fn draining(&self) -> usize {
        self.world.status.drains.len()
    }

    fn start(&mut self) {
        let (now, start_ms) = (self.world.now, self.start_s * 1000);
        let members = &mut self.world.registry.as_mut().unwrap().members;
        for (name, pod) in &mut self.world.pods {
            if pod.phase == Phase::Pending && now.0.since(pod.created.0) >= start_ms {
                (pod.phase, pod.ready) = (Phase::Running, true);
                let member = Member { pod: name.clone(), role: pod.role, ready: true, draining: false };
                members.insert(pod.uid.clone(), member);
                self.users.insert(pod.uid.clone(), 0);
            }
        }
    }

    fn drain(&mut self) {
        let draining: Vec<String> =
            self.members().iter().filter(|(_, m)| m.draining).map(|(uid, _)| uid.clone()).collect();
        for uid in draining {
            let left = self.users[&uid];
            let moved = left.min(self.pace);
            self.users.insert(uid, left - moved);
            self.add(moved);
        }
    }

    /// People come to the emptiest Pods that serve, and leave from all alike.
    fn arrive(&mut self, load: u64) {
        let present: u64 = self.users.values().sum();
        if load >= present {
            self.add(load - present);
        } else {
            let mut leave = present - load;
            for users in self.users.values_mut() {
                let share = (*users * (present - load)).div_ceil(present).min(leave).min(*users);
                *users -= share;
                leave -= share;
            }
        }
    }

    fn add(&mut self, users: u64) {
        let serving = self.serving();
        if serving.is_empty() || users == 0 {
            return;
        }
        // Filled up to one level, as many small steps to the emptiest would.
        let mut rest = users;
        while rest > 0 {
            let least = serving.iter().min_by_key(|uid| self.users[*uid]).unwrap();
            let step = rest.min((users / 50).max(1));
            *self.users.get_mut(least).unwrap() += step;
            rest -= step;
        }
    }

    fn say(&mut self) {
        if self.blackout {
            return;
        }
        for (uid, member) in &self.world.registry.as_ref().unwrap().members {
            let users = self.users[uid];
            let load = [(users_load(member.role).to_owned(), users as f64)].into();
            self.world.samples.insert(
                uid.clone(),
                Sample { at: self.world.now, load, left: users, draining: member.draining, unready: vec![] },
            );
        }
    }

    fn follow(&mut self, plan: &Plan) {
        self.world.status = plan.status.clone();
        self.wanted.push(plan.status.pools.of(self.role).wanted);
        for action in &plan.actions {
            match action {
                Action::CreatePod { name, role, revision, index, zone } if *role == self.role => {
                    self.made += 1;
                    let pod = Pod {
                        uid: format!("uid-{}", self.made),
                        role: *role,
                        revision: *revision,
                        index: *index,
                        node: Some("node-0".into()),
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
                Action::DeletePod { name, uid, .. } => {
                    self.world.pods.remove(name);
                    self.world.samples.remove(uid);
                    self.cut += self.users.remove(uid).unwrap_or(0);
                    self.world.registry.as_mut().unwrap().members.remove(uid);
                }
                Action::DrainPod { uid, .. } | Action::UndrainPod { uid, .. } => {
                    let draining = matches!(action, Action::DrainPod { .. });
                    self.undrained += u64::from(!draining);
                    self.world.registry.as_mut().unwrap().members.get_mut(uid).unwrap().draining = draining;
                }
                Action::LabelServing { name, serving, .. } => {
                    self.world.pods.get_mut(name).unwrap().serving = *serving;
                }
                Action::Apply(object) => {
                    self.world.owned.insert(object.clone());
                }
                _ => {}
            }
        }
        let hash = self.world.spec.shape.clone();
        let revision = throng_plan::world::Revision { hash, image: String::new(), created: self.world.now };
        self.world.revisions.entry(1).or_insert(revision);
    }

    /// Gives all users of a Pod to one slot.
    pub(crate) fn heat(&mut self, uid: &str, users: u64) {
        self.users.insert(uid.to_owned(), users);
        let claim = Claim { uid: uid.into(), rooms: 1, users };
        let claims = &mut self.world.registry.as_mut().unwrap().claims;
        claims.of_mut(self.role).insert(Slot::new(17).unwrap(), &claim);
    }

    /// Instants at which the size turned from growing to shrinking, and those at which it turned back, in looks.
    pub(crate) fn turns(&self) -> (Vec<usize>, Vec<usize>) {
        let changes = self.wanted.windows(2).enumerate().filter(|(_, pair)| pair[0] != pair[1]);
        let changes: Vec<(usize, bool)> = changes.map(|(at, pair)| (at, pair[1] > pair[0])).collect();
        let turns = |up: bool| {
            let pairs = changes.windows(2).filter(move |pair| pair[1].1 == up && pair[0].1 != up);
            pairs.map(|pair| pair[1].0).collect()
        };
        (turns(false), turns(true))
    }

    pub(crate) fn names(&self) -> BTreeSet<&str> {
        self.pods().map(|(name, _)| name.as_str()).collect()
    }
}

/// An instant as people write it.
pub(crate) fn utc(text: &str) -> Millis {
    let at: Utc = serde_json::from_str(&format!("{text:?}")).unwrap();
    at.0
}
