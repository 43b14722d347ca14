//! Operations about a rollout: hold it, go on, end it, take it back.

use throng_core::Role;

use super::super::census::Census;
use super::super::course::{self, Memory, halt, memory as remembered, pace_text};
use super::super::revision::Asked;
use super::{fail, progress, run, succeed, supersede};
use crate::spec::Operation;
use crate::spec::operation::Pace;
use crate::status::{BlockedRevision, MAX_COUNT, OperationPhase, OperationStatus, RollbackStatus, RolloutPhase};
use crate::world::World;

const NO_ROLLOUT: &str = "there is no rollout: one begins when the spec asks for other Pods";

/// Holds the rollout where it is.
pub(super) fn pause(memory: &mut Memory, asks: &Operation, status: &mut OperationStatus) {
    let Some(rollout) = memory.rollout.as_mut() else { return fail(status, NO_ROLLOUT.to_owned()) };
    let share = rollout.target_percent;
    match rollout.phase {
        RolloutPhase::Paused => succeed(status, format!("the rollout was held already, at {share} % of the users")),
        RolloutPhase::Halted => succeed(status, "the rollout has halted on its own: it does not go on".to_owned()),
        RolloutPhase::Starting | RolloutPhase::Canary | RolloutPhase::Promoting => {
            (rollout.phase, rollout.operation) = (RolloutPhase::Paused, Some(asks.name.clone()));
            rollout.shift = None;
            memory.why.push(format!("the rollout of revision {} is held by operation {}", rollout.to, asks.name));
            succeed(status, format!("the rollout of revision {} is held at {share} % of the users", rollout.to));
        }
    }
}

/// Goes on with a rollout that was held or has halted.
pub(super) fn resume(
    world: &World,
    census: &Census<'_>,
    memory: &mut Memory,
    asks: &Operation,
    status: &mut OperationStatus,
) {
    let Some(rollout) = memory.rollout.as_mut() else { return fail(status, NO_ROLLOUT.to_owned()) };
    if matches!(rollout.phase, RolloutPhase::Paused | RolloutPhase::Halted) {
        rollout.restarts_forgiven = halt::restarts_of(census, rollout.to);
        course::go_on(world, rollout);
        rollout.operation = Some(asks.name.clone());
        memory.why.push(format!("the rollout of revision {} goes on by operation {}", rollout.to, asks.name));
    }
    succeed(status, format!("the rollout of revision {} goes on", rollout.to));
}

/// Gives everybody the new revision now.
pub(super) fn promote(world: &World, memory: &mut Memory, asks: &Operation, status: &mut OperationStatus) {
    let Some(rollout) = memory.rollout.as_mut() else { return fail(status, NO_ROLLOUT.to_owned()) };
    match rollout.phase {
        RolloutPhase::Halted => {
            let because = rollout.halted_because.as_deref().unwrap_or("it is not healthy");
            fail(status, format!("the rollout has halted: {because}. Create a Resume first, or a Rollback"));
        }
        RolloutPhase::Starting | RolloutPhase::Paused if rollout.target_percent == 0 => {
            let message =
                "no Pod of the new revision serves yet in every pool: try again when the rollout is in its canary";
            fail(status, message.to_owned());
        }
        RolloutPhase::Promoting => succeed(status, format!("everybody moves to revision {} already", rollout.to)),
        RolloutPhase::Starting | RolloutPhase::Canary | RolloutPhase::Paused => {
            course::promote(world, rollout);
            rollout.operation = Some(asks.name.clone());
            memory.why.push(format!("revision {} is promoted by operation {}", rollout.to, asks.name));
            succeed(status, format!("everybody moves to revision {}", rollout.to));
        }
    }
}

/// Blocks the revision of the spec and gives everybody another one. From any state of a rollout, and long after it.
pub(super) fn roll_back(
    world: &World,
    asked: Asked,
    memory: &mut Memory,
    asks: &Operation,
    (to, pace): (Option<u64>, Pace),
    status: &mut OperationStatus,
) {
    if memory.rollback.as_ref().is_some_and(|rollback| rollback.operation == asks.name) {
        status.phase = OperationPhase::Running;
    }
    if status.phase == OperationPhase::Running {
        // It was begun. Whether another took its place is told with how far it is.
        return;
    }
    let before = memory.rollback.as_ref().map(|rollback| rollback.to);
    let before = before.or_else(|| memory.rollout.as_ref().map(|rollout| rollout.from));
    let before = before.or_else(|| remembered::last_good(world, memory.current));
    // One that the status names no more is on its way out, even if it is still seen.
    let is_stored = |number: u64| world.revisions.contains_key(&number) && remembered::known(world, number).is_some();
    let others = world.revisions.keys().filter(|number| **number != asked.number && is_stored(**number));
    let others: Vec<String> = others.map(u64::to_string).collect();
    let others =
        if others.is_empty() { "there is none".to_owned() } else { format!("those are {}", others.join(", ")) };
    let Some(to) = to.or(before) else {
        let message = format!(
            "no revision before this one is known to be good: write the number of one in spec.rollback.to, {others}"
        );
        return fail(status, message);
    };
    if to == asked.number {
        let message =
            format!("revision {to} is the one that the spec asks for: write another one in spec.rollback.to, {others}");
        return fail(status, message);
    }
    if !is_stored(to) {
        return fail(status, format!("revision {to} is not known: write another one in spec.rollback.to, {others}"));
    }
    let blocked = BlockedRevision { number: asked.number, hash: world.spec.shape.as_str().to_owned() };
    let operation = asks.name.clone();
    let pace = pace_text(pace).to_owned();
    memory
        .why
        .push(format!("revision {} is blocked by operation {operation}: everybody goes back to {to}", asked.number));
    memory.rollback =
        Some(RollbackStatus { blocked_revision: blocked, to, pace, since: world.now, done_at: None, operation });
    (memory.current, memory.rollout) = (to, None);
    run(status, String::new());
}

/// How far a rollback is.
pub(super) fn settle(census: &Census<'_>, memory: &Memory, name: &str, status: &mut OperationStatus) {
    let Some(rollback) = memory.rollback.as_ref().filter(|rollback| rollback.operation == *name) else {
        return supersede(status, "a later rollback took its place, or the spec asks for other Pods since".to_owned());
    };
    let others = census.of(Role::Gateway).iter().filter(|seat| seat.pod.revision != rollback.to);
    let left = others.fold(0u64, |left, seat| left.saturating_add(seat.load.users)).min(MAX_COUNT);
    progress(status, left);
    let blocked = rollback.blocked_revision.number;
    if rollback.done_at.is_some() {
        let message = format!(
            "everybody is on revision {}; revision {blocked} gets nobody until the spec asks for other Pods",
            rollback.to
        );
        succeed(status, message);
    } else {
        run(status, format!("users go back to revision {}", rollback.to));
    }
}
