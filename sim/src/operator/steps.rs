//! What a status that was written says of a rollout, of a rollback and of drains: steps that can be counted.

use throng_plan::status::{ClusterStatus, DrainCause, HaltCause, RevisionState, RolloutPhase, RolloutStatus};

use super::tally::Transition;

/// What happened between two statuses.
pub(crate) fn between(before: &ClusterStatus, after: &ClusterStatus) -> Vec<Transition> {
    let mut steps = Vec::new();
    rollout(before, after, &mut steps);
    rollback(before, after, &mut steps);
    warm(before, after, &mut steps);
    let begins = after.drains.iter().filter(|drain| !before.drains.iter().any(|known| known.uid == drain.uid));
    steps.extend(begins.map(|drain| match drain.cause {
        DrainCause::ScaleIn => Transition::DrainForSize,
        DrainCause::Cordoned => Transition::DrainForCordon,
        DrainCause::Tainted => Transition::DrainForTaint,
        DrainCause::Rollout => Transition::DrainForRollout,
        DrainCause::Rollback => Transition::DrainForRollback,
        DrainCause::Operation => Transition::DrainForOperation,
        DrainCause::Eviction => Transition::DrainForEviction,
        DrainCause::Deleted => Transition::DrainForDeletion,
    }));
    steps
}

fn rollout(before: &ClusterStatus, after: &ClusterStatus, steps: &mut Vec<Transition>) {
    let same = |old: &RolloutStatus, new: &RolloutStatus| (old.from, old.to) == (new.from, new.to);
    match (&before.rollout, &after.rollout) {
        (None, None) => {}
        (Some(old), None) if after.revision == Some(old.to) => steps.push(Transition::RolloutDone),
        (Some(_), None) => steps.push(Transition::RolloutDropped),
        (Some(old), Some(new)) if same(old, new) => {
            phase(old, new, steps);
            if new.reached_at.is_some() && old.reached_at.is_none() {
                steps.push(Transition::ShareReached);
            }
        }
        (old, Some(new)) => {
            steps.push(Transition::RolloutBegun);
            steps.extend(old.as_ref().map(|_| Transition::RolloutReplaced));
            steps.extend(enters(new));
        }
    }
}

fn phase(old: &RolloutStatus, new: &RolloutStatus, steps: &mut Vec<Transition>) {
    if old.phase == new.phase {
        let next = new.phase == RolloutPhase::Canary && new.target_percent != old.target_percent;
        steps.extend(next.then_some(Transition::CanaryBegun));
        return;
    }
    match old.phase {
        RolloutPhase::Halted => steps.push(Transition::HaltLeft),
        RolloutPhase::Paused => steps.push(Transition::HoldLeft),
        RolloutPhase::Starting | RolloutPhase::Canary | RolloutPhase::Promoting => steps.extend(enters(new)),
    }
}

/// The step that a phase is.
fn enters(new: &RolloutStatus) -> Option<Transition> {
    Some(match new.phase {
        RolloutPhase::Starting => return None,
        RolloutPhase::Canary => Transition::CanaryBegun,
        RolloutPhase::Promoting => Transition::PromoteBegun,
        RolloutPhase::Paused => Transition::RolloutHeld,
        RolloutPhase::Halted => match new.halted_for? {
            HaltCause::NotStarting => Transition::HaltedNotStarting,
            HaltCause::Restarts => Transition::HaltedRestarts,
            HaltCause::Errors => Transition::HaltedErrors,
            HaltCause::Slow => Transition::HaltedSlow,
        },
    })
}

fn rollback(before: &ClusterStatus, after: &ClusterStatus, steps: &mut Vec<Transition>) {
    match (&before.rollback, &after.rollback) {
        (Some(_), None) => steps.push(Transition::BlockLifted),
        (old, Some(new)) => {
            let begins = old.as_ref().is_none_or(|old| old.operation != new.operation);
            let ends = new.done_at.is_some() && (begins || old.as_ref().is_some_and(|old| old.done_at.is_none()));
            steps.extend(begins.then_some(Transition::RollbackBegun));
            steps.extend(ends.then_some(Transition::RollbackDone));
        }
        (None, None) => {}
    }
}

fn warm(before: &ClusterStatus, after: &ClusterStatus, steps: &mut Vec<Transition>) {
    let warm = |status: &ClusterStatus| {
        let mut all = status.revisions.iter().filter(|revision| revision.state == RevisionState::Warm);
        all.next().map(|revision| revision.number)
    };
    let (old, new) = (warm(before), warm(after));
    if old != new {
        steps.extend(new.map(|_| Transition::WarmBegun));
        steps.extend(old.map(|_| Transition::WarmEnded));
    }
}
