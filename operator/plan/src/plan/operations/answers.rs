//! An operation takes effect once: what became of it is remembered by its uid, in the status that its effect is written with.

use std::collections::BTreeMap;

use crate::spec::Operation;
use crate::spec::operation::Action as Asks;
use crate::status::{AnswerStatus, MAX_ANSWERS, OperationPhase, OperationStatus};
use crate::world::World;

/// Takes up what is remembered of an operation; whether that was its end.
pub(super) fn recall(world: &World, asks: &Operation, status: &mut OperationStatus) -> bool {
    let Some(answer) = world.status.answers.iter().find(|answer| answer.uid == asks.uid) else { return false };
    status.phase = answer.phase;
    if answer.phase.is_final() {
        status.message.clone_from(&answer.message);
    }
    answer.phase.is_final()
}

/// What is to be remembered: ends, and rollbacks from when they take effect. The latest are kept.
pub(super) fn remember(world: &World, open: &BTreeMap<String, OperationStatus>) -> Vec<AnswerStatus> {
    let mut answers = world.status.answers.clone();
    for (name, status) in open {
        let Some(asks) = world.operations.get(name) else { continue };
        let took_effect = status.phase == OperationPhase::Running && matches!(asks.action, Asks::Rollback { .. });
        if !took_effect && !status.phase.is_final() {
            continue;
        }
        let message = if status.phase.is_final() { status.message.clone() } else { String::new() };
        let answer = AnswerStatus { uid: asks.uid.clone(), phase: status.phase, message };
        match answers.iter_mut().find(|known| known.uid == asks.uid) {
            Some(known) => *known = answer,
            None => answers.push(answer),
        }
    }
    let old = answers.len().saturating_sub(MAX_ANSWERS);
    answers.drain(..old);
    answers
}
