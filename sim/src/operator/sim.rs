//! The operator in the model: two processes, one of which leads, that look, plan and act as the real shell does.
//!
//! [`throng_runtime::follow`] says what is done in which order, as everywhere: the status first, under the version that was
//! seen, then actions in their waves, those on Pods in any order within one. Between any two requests the process may die, a
//! second may pass, a request or its answer may be lost.

use std::collections::BTreeMap;
use std::sync::Arc;

use throng_core::{Millis, Role};
use throng_plan::plan::stray;
use throng_plan::status::{DrainStatus, Utc};
use throng_plan::{Action, Plan, World};
use throng_runtime::follow;

use super::api::{Expected, Kind, Refusal};
use super::digest::Digest;
use super::ground::spec::CLUSTER;
use super::ground::{Ground, TICK_MS};
use super::hand::{Hand, at_once};
use super::invariants::{self, Broken, Capacity, Moment};
use super::planner::Planner;
use super::replica::{Lease, Replica};
use super::request::{Failure, Request, request};
use super::tally::{Fault, Transition};
use super::weather::Weather;
use super::{see, steps};

/// Longest time between two looks.
const LOOK_MS: u64 = 5_000;
/// Everything is listed again after so long, which heals what a watch has missed.
const LIST_MS: u64 = 60_000;
/// Lines of a trace that are kept.
const TRACE: usize = 4000;

/// A run.
#[derive(Clone, Debug)]
pub(crate) struct Sim {
    pub(crate) ground: Ground,
    pub(crate) replicas: [Replica; 2],
    pub(crate) lease: Lease,
    pub(crate) planner: Planner,
    pub(crate) weather: Weather,
    /// This run is about releases.
    pub(crate) releases: bool,
    /// A size that somebody thinks better of: at the latest when, of which pool, and what it was.
    pub(crate) regret: Option<(Millis, Role, u64)>,
    /// Requests that arrive later than their sender believes.
    in_flight: Vec<(Millis, Request)>,
    /// The operator dies at this request; whether the request is done.
    pub(crate) crash_at: Option<(u64, bool)>,
    pub(crate) requests: u64,
    /// Requests and writes until it came to rest last.
    pub(crate) rested: (u64, u64),
    /// Since when a Pod has been drained, as the status said that named it first.
    begun: BTreeMap<String, Millis>,
    /// This look sees the truth, and nothing has happened since.
    fresh: bool,
    pub(crate) last: Option<Plan>,
    /// The last look ended without a failure.
    pub(crate) done: bool,
    /// Promises that were broken.
    pub(crate) broken: Vec<Broken>,
    /// Every request that arrived, and when.
    pub(crate) digest: Digest,
    /// What happened, if somebody wants to read it.
    pub(crate) trace: Option<Vec<String>>,
}

impl Sim {
    /// A cluster that nobody has looked at yet.
    pub(crate) fn new(seed: u64, sizes: [u32; 3], planner: Planner) -> Self {
        Self {
            ground: Ground::new(seed, sizes),
            replicas: [Replica::default(), Replica::default()],
            lease: Lease::default(),
            planner,
            weather: Weather::default(),
            releases: false,
            regret: None,
            in_flight: Vec::new(),
            crash_at: None,
            requests: 0,
            rested: (0, 0),
            begun: BTreeMap::new(),
            fresh: false,
            last: None,
            done: false,
            broken: Vec::new(),
            digest: Digest::default(),
            trace: None,
        }
    }

    pub(crate) fn say(&mut self, line: impl FnOnce() -> String) {
        let now = self.ground.now.0 / 1000 % 100_000;
        if let Some(trace) = self.trace.as_mut().filter(|trace| trace.len() < TRACE) {
            trace.push(format!("{now:>6} s  {}", line()));
        }
    }

    /// A second passes, and whoever leads looks.
    pub(crate) fn step(&mut self) {
        self.pass_second();
        let now = self.ground.now;
        for who in 0..2 {
            let Some(replica) = self.replicas.get(who).filter(|replica| replica.away_until <= now) else { continue };
            let due = replica.next_look <= now || replica.looked_at != self.revisions();
            if self.weather.api_answers(now) {
                self.lease.run(who, now);
            }
            if due && self.lease.holder() == Some(who) {
                self.look(who);
            }
        }
    }

    fn revisions(&self) -> (u64, u64) {
        (self.ground.api.revision(), self.ground.etcd.revision())
    }

    pub(crate) fn pass_second(&mut self) {
        self.ground.tick();
        let now = self.ground.now;
        let (due, later) = std::mem::take(&mut self.in_flight).into_iter().partition(|(at, _)| *at <= now);
        self.in_flight = later;
        let due: Vec<(Millis, Request)> = due;
        for (_, request) in due {
            self.say(|| format!("arrives late: {request}"));
            let _ = self.arrive(&request, true);
        }
        self.judge(|sim| invariants::check(&Moment::Ticked { ground: &sim.ground }));
    }

    /// The leader dies; its memory is gone.
    pub(crate) fn crash(&mut self, who: usize, away_ms: u64) {
        self.say(|| format!("operator {who} dies"));
        let away_until = Millis(self.ground.now.0 + away_ms);
        if let Some(replica) = self.replicas.get_mut(who) {
            *replica = Replica { away_until, ..Replica::default() };
        }
    }

    fn judge(&mut self, check: impl FnOnce(&Self) -> Vec<Broken>) {
        let found = check(self);
        for broken in found {
            self.say(|| format!("BROKEN {}: {}", broken.name, broken.what));
            if self.broken.len() < 100 {
                self.broken.push(broken);
            }
        }
    }

    pub(crate) fn judge_moment(&mut self, moment: &Moment<'_>) {
        self.judge(|_| invariants::check(moment));
    }

    fn look(&mut self, who: usize) {
        let Some(replica) = self.replicas.get_mut(who) else { return };
        let mut replica = std::mem::take(replica);
        let before = self.ground.tally.all_faults();
        self.weather.see(&mut self.ground, &mut replica, LIST_MS);
        let term = self.lease.term;
        let registry = self.registry(&mut replica, term);
        self.fresh = before == self.ground.tally.all_faults() && self.in_flight.is_empty();
        self.fresh &= self.weather.api_answers(self.ground.now);
        // A change that was missed stays missed, a Pod that was never heard of says nothing, and one that died just now does not
        // say so.
        let heard = |uid: &String| replica.heard.get(uid).is_some_and(|sample| sample.at.0 == self.ground.now);
        let pods = replica.informer.view(Kind::Pod);
        let mut ready = pods.values().filter(|pod| pod.state("ready") == "true");
        self.fresh &= replica.informer.is_whole() && self.ground.processes.keys().all(heard);
        self.fresh &= ready.all(|pod| heard(&pod.uid));
        let epoch = replica.epoch.map_or(0, |(_, epoch)| epoch);
        let sight = see::Sight {
            now: self.ground.now,
            informer: &replica.informer,
            leader_epoch: epoch,
            registry,
            statuses: &self.ground.statuses,
            answers: &self.ground.answers,
            heard: &mut replica.heard,
        };
        let world = see::world(sight);
        let failed;
        let mut pause = LOOK_MS;
        if let Some(mut world) = world {
            let plan = self.planner.plan(&world, &mut replica.memory);
            self.ground.tally.plans += 1;
            self.judge_moment(&Moment::Planned { world: &world, plan: &plan });
            pause = plan.look_again_ms.min(LOOK_MS);
            let (seen, known) = (replica.registry_at, world.registry.is_some());
            let carried = invariants::carrying_gateways(&self.ground);
            failed = self.follow(who, &mut replica, &world, &plan, term);
            replica.heard = std::mem::take(&mut world.samples);
            replica.registry = world.registry.take().map(|registry| (seen, registry));
            if failed.is_ok() && self.fresh && known {
                self.judge(|sim| invariants::check(&Moment::Looked { ground: &sim.ground, carried: &carried }));
            }
            self.last = Some(plan);
        } else {
            failed = self.answer_strays(who, &mut replica, term);
            self.last = None;
        }
        self.done = failed.is_ok();
        if failed == Err(Failure::Dead) {
            let away_ms = 1000 * self.ground.dice.below(20);
            return self.crash(who, away_ms);
        }
        let pause = if failed.is_err() { TICK_MS } else { pause };
        replica.next_look = Millis(self.ground.now.0 + pause).max(replica.away_until);
        replica.looked_at = self.revisions();
        if let Some(place) = self.replicas.get_mut(who) {
            *place = replica;
        }
    }

    /// The registry as it is seen, with an epoch of this term; none while it cannot be reached.
    fn registry(&mut self, replica: &mut Replica, term: u32) -> Option<throng_plan::world::Registry> {
        if self.weather.registry_down_until > self.ground.now {
            return None;
        }
        let behind = self.weather.registry_behind(&mut self.ground);
        let (at, seen) = self.ground.etcd.view(behind, replica.registry_at);
        (replica.registry_at, replica.planned_at) = (at, at);
        if replica.epoch.is_none_or(|(of, _)| of != term) {
            self.ground.etcd.epoch += 1;
            replica.epoch = Some((term, self.ground.etcd.epoch));
            self.ground.tally.transition(Transition::EpochTaken);
        }
        let kept = replica.registry.take().filter(|(of, _)| *of == at).map(|(_, registry)| registry);
        Some(kept.unwrap_or_else(|| throng_plan::world::Registry::clone(&seen)))
    }

    /// Writes the status, then does the actions, in the order of every runtime.
    fn follow(
        &mut self,
        who: usize,
        replica: &mut Replica,
        world: &World,
        plan: &Plan,
        term: u32,
    ) -> Result<(), Failure> {
        let Some(mut hand) = Hand::of(self, who, term, replica, world, CLUSTER) else { return Ok(()) };
        at_once(follow(&mut hand, &world.status, plan))
    }

    pub(super) fn act(
        &mut self,
        who: usize,
        term: u32,
        replica: &mut Replica,
        world: &World,
        (action, mut version): (&Action, Option<u64>),
        cluster: &Expected,
    ) -> Result<(), Failure> {
        if let Action::DeletePod { name, uid, most_users_cut, .. } = action {
            let role = world.pods.get(name).map_or(Role::Gateway, |pod| pod.role);
            if world.samples.get(uid).is_some_and(|sample| sample.users(role) > *most_users_cut) {
                self.ground.tally.transition(Transition::DeleteRefused);
                return Err(Failure::Stale);
            }
        }
        if let Action::WriteOperation { name, .. } = action {
            version = replica.informer.view(Kind::Operation).get(name).map(|found| found.version);
        }
        let shape = match action {
            Action::CreatePod { revision, .. } => world.revisions.get(revision).map(|revision| &revision.hash),
            _ => None,
        };
        let shape = shape.unwrap_or(&world.spec.shape).as_str().to_owned();
        self.send(who, term, replica, request(action, cluster, version, &shape))
    }

    /// Answers operations on a cluster that is not there.
    fn answer_strays(&mut self, who: usize, replica: &mut Replica, term: u32) -> Result<(), Failure> {
        let asked = see::operations(&replica.informer, &self.ground.answers);
        let now = Utc(self.ground.now);
        for action in asked.values().filter_map(|asks| stray(asks, CLUSTER, now)) {
            let (Action::WriteOperation { name, .. } | Action::DeleteOperation { name, .. }) = &action else {
                continue;
            };
            let version = replica.informer.view(Kind::Operation).get(name).map(|found| found.version);
            let request = request(&action, &Expected::default(), version, "");
            self.send(who, term, replica, request)?;
        }
        Ok(())
    }

    /// Sends a request through the weather.
    pub(super) fn send(
        &mut self,
        who: usize,
        term: u32,
        replica: &mut Replica,
        request: Request,
    ) -> Result<(), Failure> {
        if !self.lease.may_write(who, term, self.ground.now) {
            return Err(Failure::Deposed);
        }
        self.requests += 1;
        self.ground.tally.requests += 1;
        if request.is_for_api() && !self.weather.api_answers(self.ground.now) {
            self.ground.count(Fault::RequestRefused);
            return Err(Failure::Unavailable);
        }
        let dies = self.crash_at.filter(|(at, _)| *at == self.requests);
        if let Some((_, false)) = dies {
            self.ground.count(Fault::OperatorCrash);
            return Err(Failure::Dead);
        }
        if let Some(fault) = self.weather.meets(&mut self.ground) {
            self.ground.count(fault);
            self.fresh = false;
            self.say(|| format!("{fault:?}: {request}"));
            match fault {
                Fault::RequestRefused => return Err(Failure::Unavailable),
                Fault::RequestLost => return Err(Failure::Late),
                Fault::OperatorCrash => return Err(Failure::Dead),
                Fault::RequestSlow => {
                    let at = Millis(self.ground.now.0 + TICK_MS * (1 + self.ground.dice.below(12)));
                    self.in_flight.push((at, request));
                    return Err(Failure::Late);
                }
                // It stands still with the request on its way, until another leads; then both go on.
                Fault::OperatorPaused => {
                    let until = Millis(self.ground.now.0 + TICK_MS * (16 + self.ground.dice.below(8)));
                    (replica.away_until, replica.next_look) = (until, until);
                    self.in_flight.push((until, request));
                    return Err(Failure::Late);
                }
                Fault::AnswerLost => {
                    let _ = self.arrive(&request, false);
                    return Err(Failure::Late);
                }
                _ => self.pass_second(),
            }
        }
        let done = self.arrive(&request, false);
        if dies.is_some() {
            self.ground.count(Fault::OperatorCrash);
            return Err(Failure::Dead);
        }
        match done {
            Ok(Some((key, object))) => {
                replica.informer.learn(key, object);
                Ok(())
            }
            Ok(None) => {
                if matches!(request, Request::Write { .. } | Request::Policy { .. } | Request::ForgetKeys { .. }) {
                    replica.registry_at = self.ground.etcd.revision();
                }
                Ok(())
            }
            Err(failure) => {
                if failure == Failure::EpochLost {
                    replica.epoch = None;
                }
                if matches!((&failure, &request), (Failure::Refused(Refusal::Conflict(_)), Request::Delete { .. })) {
                    self.ground.tally.transition(Transition::DeleteRefused);
                }
                Err(failure)
            }
        }
    }

    /// A request arrives at its server.
    fn arrive(&mut self, request: &Request, late: bool) -> super::request::Done {
        self.digest.note(self.ground.now.0, request);
        self.say(|| request.to_string());
        self.judge(|sim| {
            let (ground, begun) = (&sim.ground, &sim.begun);
            invariants::check(&Moment::Arrives { ground, begun, request, late })
        });
        let deleted = self.ground.api.get(Kind::Cluster, CLUSTER).is_none_or(|cluster| cluster.deleted_at.is_some());
        // What was promised of a drain was promised when it began.
        let began = |uid: &str| self.begun.get(uid).is_some_and(|since| *since < self.ground.now);
        let role = request.takes_away().filter(|uid| self.fresh && !deleted && !began(uid));
        let role = role.and_then(|uid| self.ground.processes.get(uid)).map(|process| process.role);
        let before = role.map(|role| Capacity::of(&self.ground, role));
        let status = self.ground.status();
        let done = self.ground.perform(request);
        if let (Some(role), Some(before)) = (role, before) {
            let (after, users) = (Capacity::of(&self.ground, role), self.ground.users_of(role));
            let changes = status.as_ref().is_some_and(|status| status.rollout.is_some() || status.rollback.is_some());
            self.judge_moment(&Moment::Took { role, before, after, users, changes, what: request });
        }
        if let (Request::Status { status: after, .. }, Some(before), true) = (request, status, done.is_ok()) {
            for step in steps::between(&before, after) {
                self.ground.tally.transition(step);
            }
            self.note_drains();
        }
        done
    }

    /// Notes which drains the stored status names.
    fn note_drains(&mut self) {
        let Some(cluster) = self.ground.api.get(Kind::Cluster, CLUSTER).map(Arc::clone) else { return };
        let status = self.ground.statuses.of(&cluster);
        let before = std::mem::take(&mut self.begun);
        let since = |drain: &DrainStatus| before.get(&drain.uid).copied().unwrap_or(drain.since.0.min(self.ground.now));
        self.begun = status.drains.iter().map(|drain| (drain.uid.clone(), since(drain))).collect();
    }
}
