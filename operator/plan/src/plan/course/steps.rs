//! A rollout goes on: its first Pods start, a share of the users comes, is watched, then the next share, then everybody.

use throng_core::Role;

use super::super::census::{Census, Seat, State};
use super::{Memory, canary_pods, halt, memory, share, was_promoting};
use crate::status::{HaltCause, RolloutPhase, RolloutStatus};
use crate::world::World;

/// Moves a rollout, or a rollback, on as far as this look lets it.
pub(super) fn advance(world: &World, census: &Census<'_>, memory: &mut Memory) {
    if world.registry.is_none() {
        return;
    }
    if let Some(rollback) = memory.rollback.as_mut().filter(|rollback| rollback.done_at.is_none())
        && is_alone(world, census, rollback.to, None)
    {
        rollback.done_at = Some(world.now);
        memory.why.push(format!("everybody is back on revision {}", rollback.to));
    }
    let Some(mut rollout) = memory.rollout.take() else { return };
    heed(world, census, &mut rollout, &mut memory.why);
    match rollout.phase {
        RolloutPhase::Starting => start(world, census, &mut rollout, &mut memory.why),
        RolloutPhase::Canary => watch(world, census, &mut rollout, &mut memory.why),
        RolloutPhase::Promoting => {
            if is_alone(world, census, rollout.to, Some(rollout.from)) {
                memory.why.push(format!("everybody is on revision {}: the rollout is done", rollout.to));
                (memory.current, memory.warms) = (rollout.to, Some(rollout.from));
                return;
            }
        }
        RolloutPhase::Paused | RolloutPhase::Halted => {}
    }
    rollout.users_percent = share::percent(census, rollout.to);
    memory.rollout = Some(rollout);
}

/// Holds a rollout at the first sign, and lets go again when Pods that did not start do.
fn heed(world: &World, census: &Census<'_>, rollout: &mut RolloutStatus, why: &mut Vec<String>) {
    let sign = halt::sign(world, census, rollout);
    match (rollout.phase, sign) {
        (RolloutPhase::Halted, None) if rollout.halted_for == Some(HaltCause::NotStarting) => {
            (rollout.halted_for, rollout.halted_because) = (None, None);
            go_on(world, rollout);
            why.push(format!("the Pods of revision {} start after all: the rollout goes on", rollout.to));
        }
        // One that a person holds: Pods that do not start take nothing from anybody, and when they start nothing may go on by itself.
        (RolloutPhase::Halted, _) | (_, None) | (RolloutPhase::Paused, Some((HaltCause::NotStarting, _))) => {}
        (_, Some((cause, because))) => {
            why.push(format!("the rollout of revision {} halts: {because}", rollout.to));
            rollout.phase = RolloutPhase::Halted;
            (rollout.halted_for, rollout.halted_because, rollout.shift) = (Some(cause), Some(because), None);
        }
    }
}

/// Goes on with what was held.
pub(in super::super) fn go_on(world: &World, rollout: &mut RolloutStatus) {
    rollout.phase = match rollout.target_percent {
        0 => RolloutPhase::Starting,
        _ if was_promoting(rollout) => RolloutPhase::Promoting,
        _ => RolloutPhase::Canary,
    };
    rollout.step_since = world.now;
    rollout.reached_at = rollout.reached_at.map(|_| world.now);
    (rollout.halted_for, rollout.halted_because) = (None, None);
    (rollout.sick_since, rollout.missing_since) = (None, None);
}

/// Gives everybody the new revision.
pub(in super::super) fn promote(world: &World, rollout: &mut RolloutStatus) {
    rollout.phase = RolloutPhase::Promoting;
    rollout.step = u32::try_from(world.spec.rollout.canary_percent.len()).unwrap_or(u32::MAX);
    (rollout.step_since, rollout.reached_at, rollout.target_percent, rollout.shift) = (world.now, None, 100, None);
}

/// The first Pods serve: users may come. A revision that never was good needs no canary to be left.
fn start(world: &World, census: &Census<'_>, rollout: &mut RolloutStatus, why: &mut Vec<String>) {
    let untried = memory::good_since(world, rollout.from).is_none();
    if !untried && !Role::ALL.into_iter().all(|role| are_ready(world, census, rollout, role)) {
        return;
    }
    let first = world.spec.rollout.canary_percent.first().filter(|_| !untried);
    enter(world, rollout, first.copied(), why);
}

/// Begins a step: this share of the users, or everybody after the last one.
fn enter(world: &World, rollout: &mut RolloutStatus, percent: Option<u8>, why: &mut Vec<String>) {
    if let Some(percent) = percent {
        rollout.phase = RolloutPhase::Canary;
        (rollout.step_since, rollout.reached_at, rollout.target_percent) = (world.now, None, u32::from(percent));
    } else {
        promote(world, rollout);
    }
    why.push(format!("revision {} gets {} % of the users", rollout.to, rollout.target_percent));
}

/// Whether as many Pods of the new revision serve as this step needs.
pub(super) fn are_ready(world: &World, census: &Census<'_>, rollout: &RolloutStatus, role: Role) -> bool {
    let (serve, needed) = ready(world, census, rollout, role);
    serve >= needed
}

/// Pods of the new revision that serve, and how many of them this step needs.
pub(in super::super) fn ready(
    world: &World,
    census: &Census<'_>,
    rollout: &RolloutStatus,
    role: Role,
) -> (usize, usize) {
    let wanted = world.status.pools.of(role).wanted.max(1);
    let serves = |seat: &&Seat<'_>| seat.pod.revision == rollout.to && seat.serves();
    let needed = canary_pods(&world.spec.rollout, rollout, wanted) as usize;
    (census.of(role).iter().filter(serves).count(), needed)
}

/// Watches a share, and begins the next step when it was held long enough.
fn watch(world: &World, census: &Census<'_>, rollout: &mut RolloutStatus, why: &mut Vec<String>) {
    if rollout.reached_at.is_none() && share::is_reached(world, census, rollout) {
        rollout.reached_at = Some(world.now);
        why.push(format!("{} % of the users are on revision {}: it is watched", rollout.target_percent, rollout.to));
    }
    let hold_ms = world.spec.rollout.hold_ms;
    let held = rollout.reached_at.is_some_and(|reached| world.now.0.since(reached.0) >= hold_ms);
    if !held || !Role::ALL.into_iter().all(|role| are_ready(world, census, rollout, role)) {
        return;
    }
    rollout.step += 1;
    let next = world.spec.rollout.canary_percent.get(rollout.step as usize);
    enter(world, rollout, next.copied(), why);
}

/// Whether nobody is on another revision any more: its Pods are gone, but for those that stay warm, told and empty.
fn is_alone(world: &World, census: &Census<'_>, number: u64, warm: Option<u64>) -> bool {
    let warm = warm.filter(|_| world.spec.rollout.warm_ms > 0);
    let others = |seat: &&Seat<'_>| seat.pod.revision != number && matches!(seat.state, State::Live | State::Going);
    let told = |seat: &Seat<'_>| seat.is_told() && seat.load.is_nothing();
    Role::ALL.into_iter().all(|role| {
        let mut left = census.of(role).iter().filter(others);
        let count = census.of(role).iter().filter(others).count();
        let floor = world.spec.rollout.warm_floor as usize;
        count == 0 || count <= floor && left.all(|seat| Some(seat.pod.revision) == warm && told(seat))
    })
}
