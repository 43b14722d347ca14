//! What is remembered of revisions, as far as the spec still asks for the same.

use super::super::census::Census;
use super::super::revision::Asked;
use crate::status::{RevisionStatus, RollbackStatus, RolloutPhase, RolloutStatus, Utc};
use crate::world::World;

/// What the status says of revisions: taken up at the start of a look, written at its end.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Memory {
    /// The revision that has the users.
    pub(in super::super) current: u64,
    /// The rollout on its way.
    pub(in super::super) rollout: Option<RolloutStatus>,
    /// The rollback in force.
    pub(in super::super) rollback: Option<RollbackStatus>,
    /// The revision that is warm from this look on.
    pub(in super::super) warms: Option<u64>,
    /// Lines about what changed.
    pub(in super::super) why: Vec<String>,
}

/// Takes up the memory. A spec of another shape than the blocked one ends a rollback, and a new one takes the place of any
/// rollout, however far that is.
pub(super) fn recall(world: &World, census: &Census<'_>, asked: Asked) -> Memory {
    let status = &world.status;
    let blocks = |rollback: &RollbackStatus| rollback.blocked_revision.hash == world.spec.shape.as_str();
    let known = |number: &u64| world.revisions.contains_key(number) || has_pods(census, *number);
    let mut memory = Memory {
        current: status.revision.filter(known).unwrap_or(asked.number),
        rollout: None,
        rollback: status.rollback.clone().filter(blocks),
        warms: None,
        why: Vec::new(),
    };
    if let Some(rollback) = &memory.rollback {
        memory.current = rollback.to;
        return memory;
    }
    let before = status.rollout.clone().filter(|rollout| rollout.from == memory.current && known(&rollout.to));
    if let Some(before) = before {
        if before.to == asked.number {
            memory.rollout = Some(before);
            return memory;
        }
        memory.why.push(format!("the rollout of revision {} is over: the spec asks for {}", before.to, asked.number));
        if super::was_promoting(&before) && serving(census, before.to) > serving(census, before.from) {
            memory.current = before.to;
        }
    }
    if memory.current != asked.number {
        memory.why.push(format!("a rollout of revision {} begins", asked.number));
        memory.rollout = Some(begin(world, memory.current, asked.number));
    }
    memory
}

fn begin(world: &World, from: u64, to: u64) -> RolloutStatus {
    RolloutStatus {
        from,
        to,
        phase: RolloutPhase::Starting,
        step: 0,
        step_since: world.now,
        reached_at: None,
        target_percent: 0,
        users_percent: 0,
        halted_because: None,
        halted_for: None,
        sick_since: None,
        missing_since: None,
        restarts_forgiven: 0,
        shift: None,
        operation: None,
    }
}

fn has_pods(census: &Census<'_>, number: u64) -> bool {
    census.all().any(|seat| seat.pod.revision == number)
}

fn serving(census: &Census<'_>, number: u64) -> usize {
    census.all().filter(|seat| seat.pod.revision == number && seat.serves()).count()
}

/// Since when a revision is known to be good: every pool of it served while it had the users.
pub(in super::super) fn good_since(world: &World, number: u64) -> Option<Utc> {
    known(world, number).and_then(|known| known.good_since)
}

/// What the status says of a revision.
pub(in super::super) fn known(world: &World, number: u64) -> Option<&RevisionStatus> {
    world.status.revisions.iter().find(|known| known.number == number)
}

/// The revision that was good last, beside one.
pub(in super::super) fn last_good(world: &World, but: u64) -> Option<u64> {
    let others = world.status.revisions.iter().filter(|known| known.number != but);
    let stored = others.filter(|known| world.revisions.contains_key(&known.number));
    let good = stored
        .filter_map(|known| Some((known.state == crate::status::RevisionState::Warm, known.good_since?, known.number)));
    good.max().map(|(.., number)| number)
}
