//! What is promised of the operator, in one place: every run of every kind looks for the opposite of each.

use std::collections::{BTreeMap, BTreeSet};

use throng_core::{Millis, Role, Slot};
use throng_plan::status::{ClusterStatus, DrainCause, DrainStatus, RollbackStatus};
use throng_plan::world::pod::pod_name;
use throng_plan::world::{Document, Pod};
use throng_plan::{Action, Plan, World};

use super::api::Kind;
use super::ground::Ground;
use super::ground::spec::{CLUSTER, DEADLINE_MS, PER_POD};
use super::outcome::Outcome;
use super::request::Request;

/// A promise.
#[derive(Clone, Copy, Debug)]
pub struct Invariant {
    /// Its name, by which a failure is told.
    pub name: &'static str,
    /// What is promised.
    pub sentence: &'static str,
    check: fn(&Moment<'_>) -> Option<String>,
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Name of the invariant.
    pub name: &'static str,
    /// What was seen, and when.
    pub what: String,
}

/// When promises are looked at.
pub(crate) enum Moment<'a> {
    /// A plan was made of a world.
    Planned { world: &'a World, plan: &'a Plan },
    /// A request is about to be done; drains have been in the status since; `late`: it was given up.
    Arrives { ground: &'a Ground, begun: &'a BTreeMap<String, Millis>, request: &'a Request, late: bool },
    /// Something that may take capacity away was done, planned with nothing but the truth.
    /// `changes`: the stored status tells of two revisions.
    Took { role: Role, before: Capacity, after: Capacity, users: u64, changes: bool, what: &'a Request },
    /// A look that saw nothing but the truth has done all that it wanted; gateways that served those they had, before it.
    Looked { ground: &'a Ground, carried: &'a BTreeSet<String> },
    /// A tick is over.
    Ticked { ground: &'a Ground },
    /// Faults are over and a long time has passed, or nothing happens any more.
    Rested { quiet: bool, found: &'a Outcome, expected: &'a Outcome, last: &'a str },
    /// It acted again after it had come to rest.
    ActedAgain { plan: &'a Plan },
}

/// Pods of a role.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity {
    /// They serve those that they have.
    carry: usize,
    /// New users may come to them too.
    open: usize,
}

impl Capacity {
    /// As it is.
    pub(crate) fn of(ground: &Ground, role: Role) -> Self {
        Self { carry: ground.carrying(role), open: ground.serving(role) }
    }
}

/// All of them.
pub const INVARIANTS: [Invariant; 12] = [
    Invariant { name: "converges", sentence: "once faults end, the operator comes to rest", check: converges },
    Invariant { name: "stays", sentence: "once at rest, it does nothing more", check: stays },
    Invariant { name: "spec-alone", sentence: "the final world depends on the final spec alone", check: spec_alone },
    Invariant {
        name: "one-pod-per-index",
        sentence: "there are never two Pods for one index, nor two processes",
        check: one_pod_per_index,
    },
    Invariant {
        name: "users-until-deadline",
        sentence: "no Pod with users is deleted before the deadline of its drain",
        check: users_until_deadline,
    },
    Invariant {
        name: "capacity",
        sentence: "our own action never takes serving capacity below the users",
        check: capacity,
    },
    Invariant {
        name: "capacity-as-seen",
        sentence: "no plan takes serving capacity below the users of the world that it was made of",
        check: capacity_as_seen,
    },
    Invariant {
        name: "metrics-to-shrink",
        sentence: "no pool shrinks while more than a fifth of its Pods do not say what they carry",
        check: metrics_to_shrink,
    },
    Invariant {
        name: "leader-epoch-grows",
        sentence: "the epoch of the leader that signs documents only grows, and within it the version of a placement",
        check: leader_epoch_grows,
    },
    Invariant {
        name: "progress-in-status",
        sentence: "what is done to a Pod over time is in the stored status before it begins",
        check: progress_in_status,
    },
    Invariant { name: "blocked-gets-nobody", sentence: "a blocked revision gets no users", check: blocked_gets_nobody },
    Invariant {
        name: "asked-once",
        sentence: "an operation takes effect once, and nothing is taken back that nobody asked for",
        check: asked_once,
    },
];

/// Looks at all promises.
pub(crate) fn check(moment: &Moment<'_>) -> Vec<Broken> {
    let broken = |invariant: &Invariant| (invariant.check)(moment).map(|what| Broken { name: invariant.name, what });
    INVARIANTS.iter().filter_map(broken).collect()
}

fn converges(moment: &Moment<'_>) -> Option<String> {
    let Moment::Rested { quiet: false, found, expected, last } = moment else { return None };
    Some(format!("it never comes to rest; last plan: {last}\n  {}", found.difference(expected)))
}

fn stays(moment: &Moment<'_>) -> Option<String> {
    let Moment::ActedAgain { plan } = moment else { return None };
    Some(format!("it acts again: {:?}", plan.actions.iter().map(throng_plan::waves::describe).collect::<Vec<_>>()))
}

fn spec_alone(moment: &Moment<'_>) -> Option<String> {
    let Moment::Rested { quiet: true, found, expected, .. } = moment else { return None };
    (found != expected).then(|| found.difference(expected))
}

fn one_pod_per_index(moment: &Moment<'_>) -> Option<String> {
    match moment {
        Moment::Planned { world, plan } => {
            let mut asked = BTreeSet::new();
            let members: BTreeSet<&str> =
                world.registry.iter().flat_map(|r| r.members.values()).map(|m| &*m.pod).collect();
            plan.actions.iter().find_map(|action| {
                let Action::CreatePod { name, role, revision, index, .. } = action else { return None };
                let taken = world.pods.contains_key(name) || members.contains(name.as_str()) || !asked.insert(name);
                let named = *name == pod_name(CLUSTER, *role, *revision, *index);
                (taken || !named).then(|| format!("a Pod {name} is asked for while another of its index lives"))
            })
        }
        Moment::Ticked { ground } => {
            let mut names = BTreeSet::new();
            let living = ground.processes.iter().filter(|(uid, process)| ground.serves(uid) && !process.pod.is_empty());
            living.into_iter().find_map(|(_, process)| {
                (!names.insert(&process.pod)).then(|| format!("two processes serve as {}", process.pod))
            })
        }
        _ => None,
    }
}

fn users_until_deadline(moment: &Moment<'_>) -> Option<String> {
    let Moment::Arrives { ground, begun, request: Request::Delete { name, expected, uid, because }, .. } = moment
    else {
        return None;
    };
    let users = ground.users(uid);
    let since = ground.api.get(Kind::Cluster, CLUSTER).and_then(|cluster| cluster.deleted_at);
    let since = begun.get(uid).copied().into_iter().chain(since).min();
    let over = since.is_some_and(|since| ground.now.since(since) >= DEADLINE_MS);
    // What was written since is refused.
    let known = |version: u64| expected.version.is_none_or(|expected| expected == version);
    let same = ground.api.get(Kind::Pod, name);
    let same = same.is_some_and(|pod| pod.uid == *uid && known(pod.version) && pod.deleted_at.is_none());
    (same && users > 0 && !over).then(|| {
        format!("{name} is deleted ({because:?}) with {users} users, drained since {since:?}, now {:?}", ground.now)
    })
}

fn capacity(moment: &Moment<'_>) -> Option<String> {
    let Moment::Took { role, before, after, users, changes, what } = moment else { return None };
    let needed = usize::try_from(users.div_ceil(PER_POD)).unwrap_or(usize::MAX);
    // With two revisions the Service may be left to few gateways; those that are out of it serve whom they have.
    let (before, after, least) = match what {
        Request::Label { .. } if *changes => (before.open, after.open, 1),
        Request::Label { .. } => (before.open, after.open, needed),
        _ => (before.carry, after.carry, needed),
    };
    (after < least.min(before))
        .then(|| format!("{role}: {before} Pods served, now {after} for {users} users, by: {what}"))
}

fn capacity_as_seen(moment: &Moment<'_>) -> Option<String> {
    let Moment::Planned { world, plan } = moment else { return None };
    world.registry.as_ref().filter(|_| world.cluster.deleted_at.is_none())?;
    let changes = plan.status.rollout.is_some() || plan.status.rollback.is_some();
    let (mut taken, mut closed, mut opened) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for action in &plan.actions {
        match action {
            Action::DeletePod { uid, .. } | Action::DrainPod { uid, .. } => drop(taken.insert(uid.as_str())),
            Action::LabelServing { uid, serving: false, .. } => drop(closed.insert(uid.as_str())),
            Action::LabelServing { uid, .. } => drop(opened.insert(uid.as_str())),
            _ => {}
        }
    }
    Role::ALL.into_iter().find_map(|role| {
        let pods = || world.pods.values().filter(move |pod| pod.role == role);
        // One whose drain is taken back before it was told serves as if there had been none.
        let served = |status| pods().filter(move |pod| can_serve(world, status, pod));
        let stays = |pod: &&Pod| !taken.contains(pod.uid.as_str()) && (changes || !closed.contains(pod.uid.as_str()));
        let users: u64 = pods().map(|pod| users_seen(world, pod)).sum();
        let (before, after) = (served(&world.status).count(), served(&plan.status).filter(stays).count());
        let needed = usize::try_from(users.div_ceil(PER_POD)).unwrap_or(usize::MAX);
        if after < needed.min(before) {
            return Some(format!("{role}: {before} Pods serve, {after} would for {users} users"));
        }
        let open = |pod: &&Pod| pod.serving || opened.contains(pod.uid.as_str());
        let open_before = served(&world.status).filter(|pod| pod.serving).count();
        let open_after = served(&plan.status).filter(|pod| open(pod) && !closed.contains(pod.uid.as_str())).count();
        (open_before > 0 && open_after == 0).then(|| format!("{role}: nobody could come, {open_before} were open"))
    })
}

/// Users of a Pod, as a world says. Nobody is on one whose process does not answer and that was last heard of long ago.
fn users_seen(world: &World, pod: &Pod) -> u64 {
    let answers = world.registry.as_ref().is_some_and(|registry| registry.members.contains_key(&pod.uid));
    let sample = world.samples.get(&pod.uid).filter(|sample| answers || sample.is_fresh(world.now));
    sample.map_or(0, |sample| sample.users(pod.role))
}

/// Whether a Pod can have users, as a world says, and keeps them in a status.
fn can_serve(world: &World, status: &ClusterStatus, pod: &Pod) -> bool {
    let member = world.registry.as_ref().and_then(|registry| registry.members.get(&pod.uid));
    let drained = status.drains.iter().any(|drain| drain.uid == pod.uid);
    member.is_some_and(|member| member.ready && !member.draining)
        && pod.ready
        && !drained
        && !pod.phase.is_over()
        && pod.terminating.is_none()
}

/// Gateways that serve those that they have, while a revision is blocked.
pub(crate) fn carrying_gateways(ground: &Ground) -> BTreeSet<String> {
    if ground.status().is_none_or(|status| status.rollback.is_none()) {
        return BTreeSet::new();
    }
    let gateways = ground.processes.iter().filter(|(_, process)| process.role == Role::Gateway);
    gateways.map(|(uid, _)| uid).filter(|uid| ground.carries(uid)).cloned().collect()
}

fn blocked_gets_nobody(moment: &Moment<'_>) -> Option<String> {
    match moment {
        Moment::Planned { world, plan } => {
            let stands = world.cluster.deleted_at.is_none() && !world.spec.paused && world.registry.is_some();
            let rollback = plan.status.rollback.as_ref().filter(|_| stands)?;
            given_to_blocked(world, plan, rollback)
        }
        Moment::Looked { ground, carried } => {
            let cluster = ground.api.get(Kind::Cluster, CLUSTER)?;
            let status = ground.statuses.of(cluster);
            let rollback = status.rollback.as_ref()?;
            if cluster.deleted_at.is_some() || cluster.field("spec.paused") == "true" {
                return None;
            }
            let drained = |uid: &String| status.drains.iter().any(|drain| drain.uid == *uid);
            let of = |number: u64| {
                let all = ground.processes.iter();
                all.filter(move |(_, process)| process.role == Role::Gateway && process.revision == number)
            };
            let good = of(rollback.to).any(|(uid, _)| carried.contains(uid) && ground.carries(uid) && !drained(uid));
            let mut blocked = of(rollback.blocked_revision.number).filter(|(uid, _)| good && ground.serves(uid));
            blocked.next().map(|(_, process)| format!("{} is in the Service, its revision is blocked", process.pod))
        }
        _ => None,
    }
}

/// What a plan gives to the blocked revision.
fn given_to_blocked(world: &World, plan: &Plan, rollback: &RollbackStatus) -> Option<String> {
    let number = rollback.blocked_revision.number;
    let gateways = || world.pods.values().filter(|pod| pod.role == Role::Gateway && pod.revision == number);
    let is_blocked = |uid: &str| gateways().any(|pod| pod.uid == uid);
    let good = |role| {
        let mut pods = world.pods.values().filter(move |pod| pod.role == role && pod.revision == rollback.to);
        pods.any(|pod| can_serve(world, &plan.status, pod))
    };
    let closes = |uid: &str| {
        let close =
            |action: &Action| matches!(action, Action::LabelServing { uid: of, serving: false, .. } if of == uid);
        plan.actions.iter().any(close)
    };
    let left = gateways().filter(|pod| pod.serving).find(|pod| {
        let lives = !pod.phase.is_over() && pod.terminating.is_none() && can_serve(world, &world.status, pod);
        lives && !closes(&pod.uid)
    });
    if let Some(pod) = left.filter(|_| good(Role::Gateway)) {
        return Some(format!("{} of the blocked revision {number} stays in the Service", pod.uid));
    }
    plan.actions.iter().find_map(|action| match action {
        Action::CreatePod { name, revision, .. } if *revision == number => {
            Some(format!("{name} is made, of the blocked revision {number}"))
        }
        Action::LabelServing { name, uid, serving: true } if is_blocked(uid) && good(Role::Gateway) => {
            Some(format!("{name} of the blocked revision {number} comes into the Service"))
        }
        Action::WriteTarget { role, document } => {
            let before = world.registry.as_ref()?.documents.of(*role).target.as_ref()?;
            let number = number.to_string();
            let table: BTreeSet<&str> = document.0.pods().iter().map(|placed| &*placed.pod).collect();
            let given = Slot::all().find(|slot| {
                let to = document.0.owner(*slot).is_some_and(|placed| *placed.revision == *number);
                let from = before.0.owner(*slot).filter(|placed| *placed.revision != *number);
                to && from.is_some_and(|placed| table.contains(&*placed.pod))
            });
            given.map(|slot| format!("{slot:?} of {role} is given to the blocked revision {number}"))
        }
        _ => None,
    })
}

fn asked_once(moment: &Moment<'_>) -> Option<String> {
    let Moment::Arrives { ground, request, .. } = moment else { return None };
    match request {
        Request::Status { expected, status } => {
            let cluster = ground.api.get(Kind::Cluster, CLUSTER)?;
            let before = ground.statuses.of(cluster);
            let blocked = |status: &ClusterStatus| status.rollback.as_ref().map(|rollback| rollback.operation.clone());
            let held = |status: &ClusterStatus| status.rollout.as_ref().and_then(|rollout| rollout.operation.clone());
            let new = |of: &dyn Fn(&ClusterStatus) -> Option<String>| {
                of(status).filter(|now| of(&before).as_ref() != Some(now))
            };
            // One that somebody has taken away may still be seen, and do what it asks for: once.
            let mut taken = [new(&blocked), new(&held)].into_iter().flatten();
            let again = taken.find(|name| ground.was_effective(name));
            again
                .filter(|_| expected.version == Some(cluster.version))
                .map(|name| format!("{name} takes effect, and has before or is over"))
        }
        Request::Answer { name, expected, status } => {
            let version = ground.api.get(Kind::Operation, name).map(|found| found.version);
            let before = ground.answer(name).filter(|_| version == expected.version)?;
            let before = Some(before).filter(|before| before.phase.is_final() && before.phase != status.phase)?;
            Some(format!("{name} was {:?}, and is written to be {:?}", before.phase, status.phase))
        }
        _ => None,
    }
}

fn metrics_to_shrink(moment: &Moment<'_>) -> Option<String> {
    let Moment::Planned { world, plan } = moment else { return None };
    world.registry.as_ref().filter(|_| world.cluster.deleted_at.is_none())?;
    let begins = |drain: &&DrainStatus| {
        drain.cause == DrainCause::ScaleIn && !world.status.drains.iter().any(|before| before.uid == drain.uid)
    };
    plan.status.drains.iter().filter(begins).find_map(|drain| {
        let Pod { role, revision, .. } = *world.pods.get(&drain.pod)?;
        // A canary stands beside the Pods that are needed.
        let beside = plan.status.rollout.as_ref().filter(|rollout| rollout.to == revision);
        if beside.is_some_and(|rollout| rollout.target_percent < 100) {
            return None;
        }
        let all: Vec<&Pod> = world.pods.values().filter(|pod| pod.role == role).collect();
        // What a person wrote is followed, whatever is known.
        let most = world.spec.pools.of(role).max as usize;
        let heard = |uid: &str| world.samples.get(uid).is_some_and(|sample| sample.is_fresh(world.now));
        let silent = all.iter().filter(|pod| can_serve(world, &world.status, pod) && !heard(&pod.uid)).count();
        (all.len() <= most && silent * 5 > all.len())
            .then(|| format!("{} is taken from {role}, of whose {} Pods {silent} are silent", drain.pod, all.len()))
    })
}

fn leader_epoch_grows(moment: &Moment<'_>) -> Option<String> {
    let Moment::Arrives { ground, request: Request::Write { role, is_target, document, read }, .. } = moment else {
        return None;
    };
    let documents = ground.etcd.now().documents.of(*role);
    let before = if *is_target { &documents.target } else { &documents.in_force }.as_ref()?;
    // A target has no versions of its own.
    let age = |document: &Document| (document.0.leader_epoch, document.0.version);
    let (old, new) = (age(before), age(document));
    let is_taken = ground.etcd.takes(*role, *is_target, document, *read).is_ok();
    (is_taken && new < old).then(|| {
        let ((old_epoch, old_version), (epoch, version)) = (old, new);
        format!("{role}: version {old_version} of epoch {old_epoch} is followed by {version} of epoch {epoch}")
    })
}

fn progress_in_status(moment: &Moment<'_>) -> Option<String> {
    let Moment::Arrives { ground, begun, request, late: false } = moment else { return None };
    let status = ground.status()?;
    if let Request::Shed { uid, .. } = request {
        let told = status.rollout.as_ref().is_some_and(|rollout| rollout.shift.is_some());
        return (!told).then(|| format!("users of {uid} are asked to connect anew, and no status says so"));
    }
    let Request::Drain { uid, on: true } = request else { return None };
    let stored = status.drains.iter().any(|drain| drain.uid == *uid);
    (!stored && !begun.contains_key(uid)).then(|| format!("{uid} is drained, and no status says so"))
}
