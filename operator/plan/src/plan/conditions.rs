//! The state of a cluster in conditions.

use super::census::{Census, Seat, State};
use super::size::{Silence, TooHot};
use super::words::{are, pods};
use super::{Draft, Look, Reason};
use crate::status::{Condition, Holds, PoolStatus, RolloutPhase, RolloutStatus, set_condition};

/// What a condition says.
struct Statement {
    kind: &'static str,
    holds: bool,
    reason: Reason,
    message: String,
}

/// Writes the conditions of the planner into the list; others in it stay.
pub(super) fn write(
    conditions: &mut Vec<Condition>,
    look: &Look<'_>,
    census: &Census<'_>,
    all: &crate::pools::Pools<PoolStatus>,
    draft: &Draft,
) {
    let counts: Vec<String> = all.iter().map(|(role, pool)| format!("{role} {}/{}", pool.ready, pool.wanted)).collect();
    let counts = counts.join(", ");
    let missing = all.iter().any(|(_, pool)| pool.ready < pool.wanted);
    let down = all.iter().any(|(_, pool)| pool.ready == 0);
    let statements = [
        ready(look, missing, down, &counts),
        progressing(look, census, missing, &counts, draft),
        degraded(look, census),
        paused(look),
        blocked(draft),
        stale(look),
        too_hot(look),
        rolled_back(look),
    ];
    for Statement { kind, holds, reason, message } in statements {
        let status = if holds { Holds::True } else { Holds::False };
        debug_assert!(reason.says().contains(&(kind, status)), "the table of {reason} lacks {kind} {status:?}");
        let condition = Condition {
            kind: kind.to_owned(),
            status,
            observed_generation: Some(look.world.cluster.generation),
            last_transition_time: look.world.now,
            reason: reason.as_str().to_owned(),
            message,
        };
        set_condition(conditions, condition);
    }
}

fn ready(look: &Look<'_>, missing: bool, down: bool, counts: &str) -> Statement {
    let reason = match () {
        () if look.world.cluster.deleted_at.is_some() => Reason::Deleting,
        () if down => Reason::PoolDown,
        () if missing => Reason::PodsStarting,
        () => Reason::AllServe,
    };
    Statement { kind: "Ready", holds: reason == Reason::AllServe, reason, message: format!("serving: {counts}") }
}

fn progressing(look: &Look<'_>, census: &Census<'_>, missing: bool, counts: &str, draft: &Draft) -> Statement {
    let evicted = census.all().filter(|seat| seat.is_evicted(look.world)).count();
    let (draining, waiting) = ((census.draining() + evicted) as u64, draft.waiting.pods as u64);
    let waits = || format!("{} {} to be emptied", pods(waiting), if waiting == 1 { "waits" } else { "wait" });
    let (rooms, users) = draft.known_away();
    let (reason, message) = match () {
        () if look.world.cluster.deleted_at.is_some() => {
            (Reason::Deleting, format!("{} left", pods(census.all().count() as u64)))
        }
        () if look.world.spec.paused => (Reason::Paused, String::new()),
        () if let Some(message) = rolling_back(look) => (Reason::RollingBack, message),
        () if let Some(message) = rolling_out(look) => (Reason::RollingOut, message),
        () if missing => (Reason::PodsStarting, format!("serving: {counts}")),
        () if draining > 0 => (Reason::Draining, format!("{} {} being emptied", pods(draining), are(draining))),
        () if waiting > 0 && draft.waiting.start => (Reason::PodsStarting, format!("{} until others serve", waits())),
        () if waiting > 0 => (Reason::Draining, waits()),
        () if rooms + users > 0 => (Reason::SlotsMoving, format!("{rooms} slots of rooms, {users} of users")),
        () => (Reason::AtRest, String::new()),
    };
    let holds = !matches!(reason, Reason::Paused | Reason::AtRest);
    Statement { kind: "Progressing", holds, reason, message }
}

fn degraded(look: &Look<'_>, census: &Census<'_>) -> Statement {
    let first = |which: &dyn Fn(&Seat<'_>) -> bool| census.all().find(|seat| which(seat));
    let lost = first(&|seat| seat.state == State::Lost);
    let failing = first(&|seat| seat.state == State::Over || seat.state == State::Live && seat.pod.trouble.is_some());
    let rollout = look.course.memory.rollout.as_ref();
    let halted = rollout.and_then(|rollout| Some((rollout.to, rollout.halted_because.as_ref()?)));
    let (reason, message) = match (lost, failing) {
        _ if look.world.registry.is_none() => (Reason::RegistryUnreachable, registry_problem(look)),
        _ if let Some((number, because)) = halted => (Reason::RolloutHalted, format!("revision {number}: {because}")),
        (Some(seat), _) => {
            (Reason::PodsLost, format!("{} on {}", seat.name, seat.pod.node.as_deref().unwrap_or("no node")))
        }
        (None, Some(seat)) => {
            (Reason::PodsFailing, format!("{}: {}", seat.name, seat.pod.trouble.as_deref().unwrap_or("it has ended")))
        }
        (None, None) => (Reason::Healthy, String::new()),
    };
    Statement { kind: "Degraded", holds: reason != Reason::Healthy, reason, message }
}

/// What whoever took the snapshot says of the way to etcd.
fn registry_problem(look: &Look<'_>) -> String {
    let mut conditions = look.world.status.conditions.iter();
    let said = conditions.find(|condition| condition.kind == "EtcdUsable" && condition.status == Holds::False);
    said.map_or_else(|| "etcd does not answer".to_owned(), |condition| condition.message.clone())
}

fn paused(look: &Look<'_>) -> Statement {
    let rollout = look.course.memory.rollout.as_ref();
    let held = rollout.filter(|rollout| rollout.phase == RolloutPhase::Paused);
    let (reason, message) = match held {
        _ if look.world.spec.paused => (Reason::Paused, String::new()),
        Some(rollout) => {
            let operation = rollout.operation.as_deref().unwrap_or_default();
            let share = rollout.target_percent;
            (Reason::RolloutPaused, format!("operation {operation} holds revision {} at {share} %", rollout.to))
        }
        None => (Reason::Following, String::new()),
    };
    Statement { kind: "Paused", holds: reason != Reason::Following, reason, message }
}

/// How far a rollout is.
fn rolling_out(look: &Look<'_>) -> Option<String> {
    let rollout = look.course.memory.rollout.as_ref()?;
    let RolloutStatus { to, target_percent: share, users_percent: is, .. } = rollout;
    Some(match rollout.phase {
        RolloutPhase::Starting => format!("the first Pods of revision {to} start"),
        RolloutPhase::Canary if rollout.reached_at.is_some() => {
            format!("{share} % of the users are on revision {to}, watched")
        }
        RolloutPhase::Canary => format!("{is} % of the users are on revision {to}, {share} % are to be"),
        RolloutPhase::Promoting => format!("everybody moves to revision {to}, {is} % are there"),
        RolloutPhase::Paused => format!("revision {to} is held at {share} % of the users"),
        RolloutPhase::Halted => format!("revision {to} has halted, {is} % of the users are on it"),
    })
}

/// How far a rollback is, until it is done.
fn rolling_back(look: &Look<'_>) -> Option<String> {
    let rollback = look.course.memory.rollback.as_ref().filter(|rollback| rollback.done_at.is_none())?;
    Some(format!("everybody goes from revision {} to {}", rollback.blocked_revision.number, rollback.to))
}

fn rolled_back(look: &Look<'_>) -> Statement {
    let rollback = look.course.memory.rollback.as_ref();
    let message = rollback.map_or_else(String::new, |rollback| {
        let number = rollback.blocked_revision.number;
        format!("operation {} blocks revision {number}, revision {} serves", rollback.operation, rollback.to)
    });
    let reason = if rollback.is_some() { Reason::RevisionBlocked } else { Reason::NothingBlocked };
    Statement { kind: "RolledBack", holds: rollback.is_some(), reason, message }
}

fn blocked(draft: &Draft) -> Statement {
    let first = draft.blocked.iter().chain(&draft.waiting.blocked).next().cloned();
    let holds = first.is_some();
    let (reason, message) = first.unwrap_or((Reason::NothingWaits, String::new()));
    Statement { kind: "DrainBlocked", holds, reason, message }
}

fn stale(look: &Look<'_>) -> Statement {
    let gaps = look.wanted.iter().find_map(|(role, wanted)| Some((role, wanted, wanted.gaps.as_ref()?)));
    let Some((role, wanted, gaps)) = gaps else {
        let reason = Reason::SamplesFresh;
        return Statement { kind: "MetricsStale", holds: false, reason, message: String::new() };
    };
    let reason = match gaps.silence {
        Silence::Missing => Reason::SamplesMissing,
        Silence::Contradicts => Reason::SamplesContradict,
    };
    let others = if gaps.pods > 1 { format!(" and {} more of its pool", gaps.pods - 1) } else { String::new() };
    let frozen = if wanted.frozen() { format!("; {role} does not shrink") } else { String::new() };
    Statement { kind: "MetricsStale", holds: true, reason, message: format!("{}{others}{frozen}", gaps.first) }
}

fn too_hot(look: &Look<'_>) -> Statement {
    let hottest = look.wanted.iter().filter_map(|(_, wanted)| wanted.too_hot.as_ref()).max_by_key(|hot| hot.percent);
    let message = hottest.map_or_else(String::new, |TooHot { slot, pod, percent }| {
        format!("slot {} on {pod} carries {percent} % of what one Pod should", slot.number())
    });
    let reason = if hottest.is_some() { Reason::SlotTooHot } else { Reason::SlotsFit };
    Statement { kind: "RoomTooHot", holds: hottest.is_some(), reason, message }
}
