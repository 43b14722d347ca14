//! The status: what people see of a world, and what the next look must know.

use throng_core::Role;

use super::census::{Census, Part, Seat, State};
use super::course::memory;
use super::size::pressure::of_sample;
use super::{Action, BUSY_LOOK_MS, Draft, LOOK_AGAIN_MS, Look, Plan, SCALING_LOOK_MS, conditions, revision, telling};
use crate::pools::Pools;
use crate::status::{
    ClusterStatus, DrainCause, DrainStatus, EventPhase, EventStatus, MAX_COUNT, MAX_DRAINS, MovesStatus, PoolStatus,
    RevisionState, RevisionStatus, Utc,
};
use crate::world::Revision;
use crate::world::sample::FRESH_MS;

/// Ages of samples are told in steps of so many seconds, so that a status at rest stays the same.
const AGE_STEP_S: u64 = 5;

/// Makes the plan of what was decided.
pub(super) fn report(look: &Look<'_>, census: &Census<'_>, mut draft: Draft) -> Plan {
    let world = look.world;
    let actions = draft.actions();
    let mut status = ClusterStatus {
        observed_generation: world.cluster.generation,
        next_revision: revision::next(look.world),
        drains: drains(look, census),
        events: events(look),
        revisions: revisions(look, census, &actions),
        moves: moves(look, &draft),
        revision: Some(look.course.memory.current),
        rollout: look.course.memory.rollout.clone(),
        rollback: look.course.memory.rollback.clone(),
        answers: look.course.operations.answers.clone(),
        ..world.status.clone()
    };
    status.pools = Pools::from_fn(|role| pool(look, role, census.of(role), &actions, &draft));
    totals(&mut status);
    conditions::write(&mut status.conditions, look, census, &status.pools, &draft);
    let sizes = look.wanted.iter().map(|(role, wanted)| format!("{role}: {}", wanted.why));
    let head = telling::head(look, census);
    let blocked = draft.blocked.into_iter().chain(draft.waiting.blocked).map(|(_, line)| line);
    let why = head.into_iter().chain(blocked).chain(draft.waiting.lines).chain(draft.why).chain(sizes);
    let why: Vec<String> = why.collect();
    status.why.clone_from(&why);
    status.clamp();
    let busy = !actions.is_empty()
        || status.pools.iter().any(|(_, pool)| pool.ready < pool.wanted)
        || !status.drains.is_empty()
        || status.moves.is_some()
        || status.rollout.is_some()
        || status.rollback.as_ref().is_some_and(|rollback| rollback.done_at.is_none())
        || world.nodes.values().any(|node| !node.ready)
        || world.cluster.deleted_at.is_some();
    let scales = look.wanted.iter().any(|(_, wanted)| wanted.scales);
    let look_again_ms = match () {
        () if busy => BUSY_LOOK_MS,
        () if scales => SCALING_LOOK_MS,
        () => LOOK_AGAIN_MS.min(falls_silent_ms(look, census)),
    };
    Plan { actions, conditions: status.conditions.clone(), status, why, look_again_ms }
}

/// Until the first Pod whose sample is believed now would count as silent, if it said nothing more. Samples come without a
/// word, and so does their end.
fn falls_silent_ms(look: &Look<'_>, census: &Census<'_>) -> u64 {
    let now = look.world.now;
    let samples = census.all().filter_map(|seat| look.world.samples.get(&seat.pod.uid));
    let left = samples.filter(|sample| sample.is_fresh(now)).map(|sample| FRESH_MS - now.0.since(sample.at.0) + 1);
    left.min().unwrap_or(LOOK_AGAIN_MS)
}

fn totals(status: &mut ClusterStatus) {
    let sum =
        |of: fn(&PoolStatus) -> u32| status.pools.iter().fold(0u32, |sum, (_, pool)| sum.saturating_add(of(pool)));
    let (ready, wanted, draining) = (sum(|pool| pool.ready), sum(|pool| pool.wanted), sum(|pool| pool.draining));
    let pressure = status.pools.iter().map(|(_, pool)| pool.pressure_percent).max().unwrap_or(0);
    status.ready = format!("{ready}/{wanted}");
    status.users = status.pools.gateway.users;
    status.pressure = format!("{pressure}%");
    status.draining = draining;
}

fn pool(look: &Look<'_>, role: Role, seats: &[Seat<'_>], actions: &[Action], draft: &Draft) -> PoolStatus {
    let (world, wanted) = (look.world, look.wanted.of(role));
    let before = world.status.pools.of(role);
    let count = |which: &dyn Fn(&Seat<'_>) -> bool| {
        u32::try_from(seats.iter().filter(|seat| which(seat)).count()).unwrap_or(u32::MAX)
    };
    let made = actions.iter().filter_map(|action| match action {
        Action::CreatePod { role: of, index, .. } if *of == role => Some(*index),
        _ => None,
    });
    let largest = seats.iter().map(|seat| seat.pod.index).chain(made).max();
    let samples = seats.iter().filter(|seat| seat.serves()).filter_map(|seat| world.samples.get(&seat.pod.uid));
    let age = samples.map(|sample| world.now.0.since(sample.at.0) / 1000).max().unwrap_or(0);
    let prefix = format!("{role}: ");
    let blocked = draft.blocked.iter().chain(&draft.waiting.blocked).map(|(_, line)| line);
    let line = blocked.chain(&draft.waiting.lines).chain(&draft.why).find_map(|line| line.strip_prefix(&prefix));
    PoolStatus {
        wanted: wanted.pods,
        pods: count(&|_| true),
        ready: count(&|seat| seat.serves() && (seat.part != Part::Canary || look.course.split().is_none())),
        draining: count(&|seat| seat.drain.is_some() || seat.state == State::Going),
        users: seats.iter().fold(0u64, |users, seat| users.saturating_add(seat.load.users)).min(MAX_COUNT),
        pressure_percent: pressure(look, role, seats),
        sample_age_seconds: u32::try_from(age - age % AGE_STEP_S).unwrap_or(u32::MAX).min(1_000_000_000),
        why: line.unwrap_or(&wanted.why).to_owned(),
        next_index: before.next_index.max(largest.map_or(0, |index| u64::from(index) + 1)),
        memo: wanted.memo.clone(),
    }
}

/// Mean pressure of the serving Pods: of each the load that comes nearest to its target, in percent.
fn pressure(look: &Look<'_>, role: Role, seats: &[Seat<'_>]) -> u32 {
    let targets = &look.world.spec.pools.of(role).targets;
    let of = |seat: &Seat<'_>| of_sample(targets, look.world.samples.get(&seat.pod.uid)?);
    let pressures: Vec<f64> = seats.iter().filter(|seat| seat.serves()).filter_map(of).collect();
    if pressures.is_empty() {
        return 0;
    }
    let mean = pressures.iter().sum::<f64>() / pressures.len() as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it lies within the bounds of the clamp"
    )]
    let percent = (mean * 100.0).round().clamp(0.0, 1_000_000.0) as u32;
    percent
}

/// Drains that are on their way, by name: those that were decided on, and Pods that others have ended while they were used.
fn drains(look: &Look<'_>, census: &Census<'_>) -> Vec<DrainStatus> {
    let decided = census.all().filter_map(|seat| {
        let drain = seat.drain.clone()?;
        let users_left = if seat.state == State::Going { users(seat) } else { drain.users_left };
        Some(DrainStatus { users_left, ..drain })
    });
    let mut drains: Vec<DrainStatus> = decided.collect();
    // What was decided must not be lost for what others did: that goes on without the operator.
    let room = MAX_DRAINS.saturating_sub(drains.len());
    drains.extend(census.all().filter_map(|seat| evicted(look, seat)).take(room));
    drains.sort_by(|a, b| a.pod.cmp(&b.pod));
    drains
}

/// The drain of a Pod that others have ended while it was used.
fn evicted(look: &Look<'_>, seat: &Seat<'_>) -> Option<DrainStatus> {
    let since = seat.pod.terminating.filter(|_| seat.is_evicted(look.world))?;
    Some(DrainStatus {
        pod: seat.name.to_owned(),
        uid: seat.pod.uid.clone(),
        cause: DrainCause::Eviction,
        why: "somebody evicted or deleted it".to_owned(),
        since,
        deadline: Utc(since.0 + look.world.spec.drain.deadline_ms),
        users_at_start: users(seat),
        users_left: users(seat),
        operation: None,
    })
}

fn users(seat: &Seat<'_>) -> u64 {
    seat.load.users.min(MAX_COUNT)
}

fn moves(look: &Look<'_>, draft: &Draft) -> Option<MovesStatus> {
    let (room_slots, user_slots) = draft.known_away();
    let operation = look.course.operations.rebalance.clone();
    (room_slots + user_slots > 0).then_some(MovesStatus { room_slots, user_slots, operation })
}

fn events(look: &Look<'_>) -> Vec<EventStatus> {
    let now = look.world.now.0;
    let event = |event: &crate::spec::Event| EventStatus {
        name: event.name.clone(),
        phase: match now {
            now if now < event.ramp_at => EventPhase::Upcoming,
            now if now < event.starts_at => EventPhase::Ramping,
            now if now < event.ends_at => EventPhase::Live,
            _ => EventPhase::Over,
        },
        ramp_time: Utc(event.ramp_at),
        start_time: Utc(event.starts_at),
        end_time: Utc(event.ends_at),
    };
    look.world.spec.events.iter().map(event).collect()
}

/// Revisions that are stored, newest first. One that is forgotten now is named no more: whoever sees it stored later sees
/// what was.
fn revisions(look: &Look<'_>, census: &Census<'_>, actions: &[Action]) -> Vec<RevisionStatus> {
    let (world, course) = (look.world, &look.course);
    let forgotten = |forgot: u64| {
        actions.iter().any(|action| matches!(action, Action::DeleteRevision { number, .. } if *number == forgot))
    };
    let status = |(&number, revision): (&u64, &crate::world::Revision)| {
        let known = memory::known(world, number);
        let state = match number {
            number if Some(number) == course.blocked => RevisionState::Blocked,
            number if number == course.memory.current => RevisionState::Serving,
            number if course.memory.rollout.as_ref().is_some_and(|rollout| rollout.to == number) => {
                RevisionState::Canary
            }
            number if Some(number) == course.warm => RevisionState::Warm,
            _ => RevisionState::Retiring,
        };
        let before = known.filter(|known| known.state == state);
        let since = before.map_or(world.now, |before| before.since);
        let seats = || census.all().filter(|seat| seat.pod.revision == number);
        let users = seats().filter(|seat| seat.pod.role == Role::Gateway);
        let serves = |role| census.of(role).iter().any(|seat| seat.pod.revision == number && seat.serves());
        let is_good = state == RevisionState::Serving && world.registry.is_some() && Role::ALL.into_iter().all(serves);
        RevisionStatus {
            number,
            hash: revision.hash.as_str().to_owned(),
            state,
            image: revision.image.clone(),
            since,
            good_since: known.and_then(|known| known.good_since).or(is_good.then_some(world.now)),
            warm_until: (state == RevisionState::Warm).then(|| Utc(since.0 + world.spec.rollout.warm_ms)),
            pods: u32::try_from(seats().count()).unwrap_or(u32::MAX),
            ready: u32::try_from(seats().filter(|seat| seat.serves()).count()).unwrap_or(u32::MAX),
            users: users.fold(0u64, |users, seat| users.saturating_add(seat.load.users)).min(MAX_COUNT),
        }
    };
    let mut all: Vec<RevisionStatus> =
        world.revisions.iter().rev().filter(|(number, _)| !forgotten(**number)).map(status).collect();
    if course.asked.new {
        // One that was deleted is not forgotten before it is stored again, and the number of a new one is its own from now on:
        // whoever does not see it stored yet gives it to no other shape.
        let known = memory::known(world, course.asked.number);
        let (hash, image) = (world.spec.shape.clone(), String::new());
        let new = Revision { hash, image, created: world.now };
        all.push(known.cloned().unwrap_or_else(|| status((&course.asked.number, &new))));
        all.sort_by_key(|revision| std::cmp::Reverse(revision.number));
    }
    all
}
