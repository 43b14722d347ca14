//! Which Pods count: every Pod of the world with what is known of it.

use std::collections::BTreeMap;

use throng_core::Role;

use super::course::{Course, share};
use crate::pools::Pools;
use crate::status::{DrainCause, DrainStatus};
use crate::world::{Member, Node, Phase, Pod, World};

/// A Pod on a node that does not answer is given up after so long, if its process does not answer either.
const LOST_MS: u64 = 10_000;

/// All Pods, by pool, in the order of their names.
#[derive(Debug)]
pub(super) struct Census<'a> {
    pub(super) pools: Pools<Vec<Seat<'a>>>,
}

/// A Pod and what is known of it. `drain` is decided on during a look.
#[derive(Debug)]
pub(super) struct Seat<'a> {
    pub(super) name: &'a str,
    pub(super) pod: &'a Pod,
    pub(super) state: State,
    pub(super) member: Option<&'a Member>,
    pub(super) load: Load,
    /// Why it should go whatever the size of the pool.
    pub(super) unfit: Option<DrainCause>,
    /// It is being emptied.
    pub(super) drain: Option<DrainStatus>,
    /// What its revision is for.
    pub(super) part: Part,
    /// It stays when it is empty: it is to be warm.
    pub(super) keep: bool,
    /// New users may come to it.
    pub(super) routed: bool,
    healthy: bool,
}

/// What the revision of a Pod is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// It has the users, or gets all of them.
    Main,
    /// It gets a share of them.
    Canary,
    /// It goes.
    Rest,
}

/// How a Pod counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It runs or is about to.
    Live,
    /// Its node and its process do not answer.
    Lost,
    /// Its containers are over for good.
    Over,
    /// Somebody deleted or evicted it.
    Going,
}

/// Who is on a Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    /// Users, as far as is known.
    pub(super) users: u64,
    /// What it would have to give away.
    pub(super) left: u64,
    /// It is certain, not only remembered.
    pub(super) known: bool,
    /// Nobody can have come since it was counted.
    pub(super) closed: bool,
}

impl Load {
    /// Whether certainly nobody and nothing is on it.
    pub(super) const fn is_nothing(self) -> bool {
        self.known && self.users == 0 && self.left == 0
    }
}

impl<'a> Census<'a> {
    /// All Pods as they are; the course of the look is still to be told ([`Self::assign`], [`Self::route`]).
    pub(super) fn take(world: &'a World) -> Self {
        let drains: BTreeMap<&str, &DrainStatus> =
            world.status.drains.iter().map(|drain| (drain.uid.as_str(), drain)).collect();
        let mut pools = Pools::from_fn(|_| Vec::new());
        for (name, pod) in &world.pods {
            let mut seat = Seat::of(world, name, pod);
            seat.drain = drains.get(pod.uid.as_str()).map(|drain| (*drain).clone());
            pools.of_mut(pod.role).push(seat);
        }
        Self { pools }
    }

    /// Gives each Pod its part.
    pub(super) fn assign(&mut self, world: &World, course: &Course) {
        for role in Role::ALL {
            let seats = self.pools.of_mut(role);
            for seat in seats.iter_mut() {
                seat.part = course.part_of(seat.pod.revision);
                if course.operations.drains.contains_key(seat.name) {
                    seat.unfit = Some(DrainCause::Operation);
                } else if seat.part == Part::Rest && seat.unfit.is_none() {
                    seat.unfit = Some(course.cause(seat.pod.revision));
                }
            }
            let stays = |seat: &&mut Seat<'_>| {
                Some(seat.pod.revision) == course.warm
                    && seat.state == State::Live
                    && seat.unfit == Some(DrainCause::Rollout)
            };
            let mut warm: Vec<&mut Seat<'_>> = seats.iter_mut().filter(stays).collect();
            warm.sort_by_key(|seat| (!seat.is_told(), seat.pod.index));
            let floor = world.spec.rollout.warm_floor as usize;
            warm.into_iter().take(floor).for_each(|seat| seat.keep = true);
        }
    }

    /// Says to which gateways new users may come.
    pub(super) fn route(&mut self, course: &Course) {
        route(self.pools.of_mut(Role::Gateway), course);
    }

    pub(super) fn of(&self, role: Role) -> &[Seat<'a>] {
        self.pools.of(role)
    }

    /// All Pods of all pools.
    pub(super) fn all(&self) -> impl Iterator<Item = &Seat<'a>> {
        self.pools.iter().flat_map(|(_, seats)| seats)
    }

    /// Pods that are being emptied.
    pub(super) fn draining(&self) -> usize {
        self.all().filter(|seat| seat.drain.is_some()).count()
    }
}

impl<'a> Seat<'a> {
    fn of(world: &'a World, name: &'a str, pod: &'a Pod) -> Self {
        let node = pod.node.as_ref().map(|node| world.nodes.get(node));
        let member = world.registry.as_ref().and_then(|registry| registry.members.get(&pod.uid));
        let answers = member.is_some() || world.registry.is_none();
        let gone =
            |node: Option<&Node>| node.is_none_or(|node| !node.ready && world.now.0.since(node.since.0) >= LOST_MS);
        let state = match node {
            _ if pod.terminating.is_some() => State::Going,
            _ if pod.phase.is_over() => State::Over,
            Some(node) if !answers && gone(node) => State::Lost,
            _ => State::Live,
        };
        let unfit = unfit(world, node.flatten());
        // What a process was told is in etcd: while that does not answer, nobody gets new users who did not before.
        let healthy = pod.ready && member.map_or(world.registry.is_none() && pod.serving, |member| member.ready);
        let load = load(world, pod, state, answers);
        let (part, keep, routed) = (Part::Main, false, true);
        Self { name, pod, state, member, load, unfit, drain: None, part, keep, routed, healthy }
    }

    /// Somebody deleted or evicted it while it was used, and its process empties itself. One whose process is gone has nobody any
    /// more.
    pub(super) fn is_evicted(&self, world: &World) -> bool {
        let answers = self.member.is_some() || world.registry.is_none();
        self.state == State::Going && self.drain.is_none() && !self.load.is_nothing() && answers
    }

    /// Whether it counts towards the size of its pool, or does until it is drained.
    pub(super) fn stays(&self) -> bool {
        self.state == State::Live && self.drain.is_none() && !self.is_parked()
    }

    /// Its process was told to empty itself.
    pub(super) fn is_told(&self) -> bool {
        self.member.is_some_and(|member| member.draining)
    }

    /// It waits, warm and without users.
    pub(super) fn is_parked(&self) -> bool {
        self.keep && self.drain.is_none() && self.is_told()
    }

    /// Whether it has the label of serving once the plan is done.
    pub(super) fn is_labelled(&self) -> bool {
        self.stays() && self.routed && (self.pod.serving || self.serves())
    }

    /// Whether it can have users and may get more. One that was told to empty itself takes nobody until it was told to stay.
    pub(super) fn serves(&self) -> bool {
        self.stays() && self.healthy && !self.is_told()
    }

    /// Whether it could serve if it were not drained.
    pub(super) const fn healthy(&self) -> bool {
        self.healthy
    }
}

/// Says to which gateways new users may come. Asked again when one comes back.
pub(super) fn route(gateways: &mut [Seat<'_>], course: &Course) {
    let main = gateways.iter().any(|seat| seat.part == Part::Main && seat.serves());
    for seat in gateways {
        seat.routed = match (seat.part, course.routes.canary) {
            (Part::Main, _) => !course.routes.main_closed,
            // Where no other gateway serves, one that should have a share only is better than none.
            (Part::Canary, share::Canary::Open) => true,
            (Part::Canary, _) if !main => true,
            (Part::Canary, share::Canary::Stay) => seat.pod.serving,
            (Part::Canary, share::Canary::Closed) => false,
            (Part::Rest, _) => !main || Some(seat.pod.revision) != course.blocked,
        };
    }
}

/// Why a Pod should leave its node.
fn unfit(world: &World, node: Option<&Node>) -> Option<DrainCause> {
    match node {
        Some(node) if node.cordoned => Some(DrainCause::Cordoned),
        Some(node) if node.is_tainted(&world.spec.drain.taints) => Some(DrainCause::Tainted),
        _ => None,
    }
}

/// Who is on a Pod. A Pod that never came up, or whose process is certainly gone, has nobody; of others only a fresh sample
/// is certain.
fn load(world: &World, pod: &Pod, state: State, answers: bool) -> Load {
    let sample = world.samples.get(&pod.uid);
    if let Some(sample) = sample.filter(|sample| sample.is_fresh(world.now)) {
        return Load { users: sample.users(pod.role), left: sample.left, known: true, closed: sample.draining };
    }
    let nobody = matches!(state, State::Lost | State::Over) || pod.phase == Phase::Pending;
    if nobody && !answers {
        return Load { users: 0, left: 0, known: true, closed: true };
    }
    let remembered = sample.map_or((0, 0), |sample| (sample.users(pod.role), sample.left));
    Load { users: remembered.0, left: remembered.1, known: false, closed: false }
}
