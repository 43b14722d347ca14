//! The status: what people see of a world, and what the next look must know.

use throng_core::Role;

use super::census::{Census, Part, Seat, State};
use super::size::pressure::of_sample;
use super::{Action, BUSY_LOOK_MS, Draft, LOOK_AGAIN_MS, Look, Plan, SCALING_LOOK_MS, conditions, revision};
use crate::pools::Pools;
use crate::status::{
    ClusterStatus, DrainStatus, EventPhase, EventStatus, MAX_COUNT, MovesStatus, PoolStatus, RevisionState,
    RevisionStatus, Utc,
};
use crate::world::sample::FRESH_MS;

/// Ages of samples are told in steps of so many seconds, so that a status at rest stays the same.
const AGE_STEP_S: u64 = 5;

/// Makes the plan of what was decided.
pub(super) fn report(look: &Look<'_>, census: &Census<'_>, mut draft: Draft) -> Plan {
    let world = look.world;
    let actions = draft.actions();
    let mut status = ClusterStatus {
        observed_generation: world.cluster.generation,
        next_revision: next_revision(look),
        drains: drains(census),
        events: events(look),
        revisions: revisions(look, census),
        moves: moves(look, &draft),
        revision: Some(look.course.memory.current),
        rollout: look.course.memory.rollout.clone(),
        rollback: look.course.memory.rollback.clone(),
        ..world.status.clone()
    };
    status.pools = Pools::from_fn(|role| pool(look, role, census.of(role), &actions, &draft));
    totals(&mut status);
    conditions::write(&mut status.conditions, look, census, &status.pools, &draft);
    let sizes = look.wanted.iter().map(|(role, wanted)| format!("{role}: {}", wanted.why));
    let why: Vec<String> = draft.blocked.into_iter().chain(draft.why).chain(sizes).collect();
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

/// While a revision is not stored, its own number: asked for again, it is the same revision.
fn next_revision(look: &Look<'_>) -> u64 {
    if look.course.asked.new { look.course.asked.number } else { revision::next(look.world) }
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
    let line = draft.blocked.iter().chain(&draft.why).find_map(|line| line.strip_prefix(&prefix));
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

/// Drains that are on their way, by name.
fn drains(census: &Census<'_>) -> Vec<DrainStatus> {
    let mut drains: Vec<DrainStatus> = census.all().filter_map(|seat| seat.drain.clone()).collect();
    drains.sort_by(|a, b| a.pod.cmp(&b.pod));
    drains
}

fn moves(look: &Look<'_>, draft: &Draft) -> Option<MovesStatus> {
    let (room_slots, user_slots) = draft.slots_away;
    let operation = look.course.operations.rebalance.clone();
    (room_slots + user_slots > 0).then(|| MovesStatus { room_slots, user_slots, operation, ..MovesStatus::default() })
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

/// Revisions that are stored, newest first.
fn revisions(look: &Look<'_>, census: &Census<'_>) -> Vec<RevisionStatus> {
    let (world, course) = (look.world, &look.course);
    let status = |(&number, revision): (&u64, &crate::world::Revision)| {
        let known = world.status.revisions.iter().find(|known| known.number == number);
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
    world.revisions.iter().rev().map(status).collect()
}
