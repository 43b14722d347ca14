//! Operations: what people ask for beside the spec. One after another in the order in which they were asked for.
//!
//! Those about a rollout take effect at once ([`rollout`]), a drain or a new placement runs until it is done, one at a time
//! ([`drain`]). What has taken effect stands in the status of the cluster, which is written before that of the operation, with
//! its outcome ([`answers`]): a planner that dies in between, or sees the operation as it was, answers it and does nothing
//! more. [`stray`] answers those that no cluster does.

mod answers;
mod drain;
mod nobodys;
mod rollout;

use std::collections::{BTreeMap, BTreeSet};

pub use nobodys::{refused, stray};

use super::Action;
use super::census::Census;
use super::course::Memory;
use super::revision::Asked;
use crate::spec::Operation;
use crate::spec::operation::Action as Asks;
use crate::status::{AnswerStatus, Condition, Holds, OperationPhase, OperationStatus, Utc, set_condition};
use crate::world::World;

/// What operations ask for in this look, and what becomes of them.
#[derive(Debug, Default)]
pub(super) struct Operations {
    /// Pods that are to be emptied, with the operation that asks for it.
    pub(super) drains: BTreeMap<String, String>,
    /// Zones that get no new Pods.
    pub(super) closed_zones: BTreeSet<String>,
    /// The operation that asks for a new placement.
    pub(super) rebalance: Option<String>,
    /// Those that are not at their end, with what is known of them now.
    open: BTreeMap<String, OperationStatus>,
    /// Those whose time to live is over.
    over: Vec<Action>,
    /// What the status of the cluster is to remember of them.
    pub(super) answers: Vec<AnswerStatus>,
}

/// Takes up all operations. While the cluster is paused they wait; when it is to be deleted they fail.
pub(super) fn take(world: &World, census: &Census<'_>, asked: Asked, memory: &mut Memory, acts: bool) -> Operations {
    let over = world.operations.values().filter_map(|asks| over(asks, world.now)).collect();
    let mut operations = Operations { over, ..Operations::default() };
    let mut open: Vec<&Operation> = world.operations.values().filter(|asks| !asks.status.phase.is_final()).collect();
    open.sort_by_key(|asks| (asks.asked_at, &asks.name));
    for asks in open {
        let mut status = OperationStatus {
            observed_generation: asks.status.observed_generation.max(1),
            action: asks.action.word().to_owned(),
            ..asks.status.clone()
        };
        if answers::recall(world, asks, &mut status) {
            operations.open.insert(asks.name.clone(), status);
            continue;
        }
        if world.cluster.deleted_at.is_some() {
            fail(&mut status, "the cluster is being deleted".to_owned());
        } else if !acts {
            "the cluster is paused: set spec.paused to false".clone_into(&mut status.message);
        } else {
            operations.take_up(world, census, asked, memory, asks, &mut status);
        }
        operations.open.insert(asks.name.clone(), status);
    }
    operations
}

impl Operations {
    fn take_up(
        &mut self,
        world: &World,
        census: &Census<'_>,
        asked: Asked,
        memory: &mut Memory,
        asks: &Operation,
        status: &mut OperationStatus,
    ) {
        if let Some(first) = self.running(world).filter(|_| asks.action.is_long()) {
            status.message = format!("it waits for operation {first}");
            return;
        }
        match &asks.action {
            Asks::Rollback { to, pace } => rollout::roll_back(world, asked, memory, asks, (*to, *pace), status),
            Asks::Pause => rollout::pause(memory, asks, status),
            Asks::Resume => rollout::resume(world, census, memory, asks, status),
            Asks::Promote => rollout::promote(world, memory, asks, status),
            Asks::Drain(whom) => drain::drain(world, census, self, asks, whom, status),
            Asks::Rebalance => {
                run(status, "rooms and users are placed anew".to_owned());
                self.rebalance = Some(asks.name.clone());
            }
        }
        if status.started_at.is_none() {
            status.started_at = Some(world.now);
        }
    }

    /// The drain or placement that runs.
    fn running(&self, world: &World) -> Option<String> {
        let long = |name: &String| world.operations.get(name).is_some_and(|asks| asks.action.is_long());
        let mut running = self.open.iter().filter(|(_, status)| status.phase == OperationPhase::Running);
        running.find(|(name, _)| long(name)).map(|(name, _)| name.clone())
    }

    /// What became of those that run, once a rollback was moved on.
    pub(super) fn settle(&mut self, world: &World, census: &Census<'_>, memory: &Memory) {
        for (name, status) in &mut self.open {
            let Some(asks) = world.operations.get(name).filter(|_| status.phase == OperationPhase::Running) else {
                continue;
            };
            match &asks.action {
                Asks::Rollback { .. } => rollout::settle(census, memory, name, status),
                Asks::Drain(_) => drain::settle(census, &self.drains, name, status),
                _ => {}
            }
        }
    }

    /// A new placement is in force, and all slots are where it says. Where nothing says so, it waits.
    pub(super) fn settle_rebalance(&mut self, slots_away: Option<u32>) {
        let Some(status) = self.rebalance.as_ref().and_then(|name| self.open.get_mut(name)) else { return };
        match slots_away {
            Some(0) => succeed(status, "all rooms and users are where they should be".to_owned()),
            Some(slots) => status.message = format!("{slots} slots are on their way"),
            None => "it waits for etcd, and for Pods of both pools".clone_into(&mut status.message),
        }
    }

    /// Writes what changed, and deletes what is over.
    pub(super) fn actions(&mut self, world: &World) -> Vec<Action> {
        self.answers = answers::remember(world, &self.open);
        let mut actions = std::mem::take(&mut self.over);
        for (name, mut status) in std::mem::take(&mut self.open) {
            let Some(asks) = world.operations.get(&name) else { continue };
            if status.phase.is_final() {
                end(&mut status, world.now, asks.ttl_ms);
            }
            status.clamp();
            if status != asks.status {
                let uid = asks.uid.clone();
                actions.push(Action::WriteOperation { name, uid, status: Box::new(status) });
            }
        }
        actions
    }
}

/// The end of an operation whose time to live is over.
fn over(asks: &Operation, now: Utc) -> Option<Action> {
    let finished = asks.status.finished_at.filter(|_| asks.status.phase.is_final())?;
    let is_over = now.0.since(finished.0) >= asks.ttl_ms;
    is_over.then(|| Action::DeleteOperation { name: asks.name.clone(), uid: asks.uid.clone() })
}

/// How an operation can end: the condition that it then has, which is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Its phase.
    pub phase: OperationPhase,
    /// Type of the condition.
    pub kind: &'static str,
    /// Its reason.
    pub reason: &'static str,
    /// What it means and what to do: a row of the table in `docs/operator.md`.
    pub meaning: &'static str,
}

/// All ends of operations.
pub const ENDS: [End; 3] = [
    End {
        phase: OperationPhase::Succeeded,
        kind: "Complete",
        reason: "Succeeded",
        meaning: "The operation has done what it was asked for. It is deleted when its time to live is over.",
    },
    End {
        phase: OperationPhase::Failed,
        kind: "Failed",
        reason: "Failed",
        meaning: "The operation could not be done, or only in part. The message says why; create another.",
    },
    End {
        phase: OperationPhase::Superseded,
        kind: "Failed",
        reason: "Superseded",
        meaning: "Another operation, or another spec, took its place before it was done. The message names it.",
    },
];

fn end(status: &mut OperationStatus, now: Utc, ttl_ms: u64) {
    status.started_at.get_or_insert(now);
    status.finished_at.get_or_insert(now);
    status.expires_at.get_or_insert(Utc(now.0 + ttl_ms));
    let Some(End { kind, reason, .. }) = ENDS.into_iter().find(|end| end.phase == status.phase) else { return };
    let condition = Condition {
        kind: kind.to_owned(),
        status: Holds::True,
        observed_generation: Some(status.observed_generation),
        last_transition_time: now,
        reason: reason.to_owned(),
        message: status.message.clone(),
    };
    set_condition(&mut status.conditions, condition);
}

/// How many users still have to move, and how many those were at most.
fn progress(status: &mut OperationStatus, left: u64) {
    status.users = Some(status.users.unwrap_or(left).max(left));
    status.users_left = Some(left);
}

fn run(status: &mut OperationStatus, message: String) {
    (status.phase, status.message) = (OperationPhase::Running, message);
}

fn succeed(status: &mut OperationStatus, message: String) {
    (status.phase, status.message) = (OperationPhase::Succeeded, message);
}

fn fail(status: &mut OperationStatus, message: String) {
    (status.phase, status.message) = (OperationPhase::Failed, message);
}

fn supersede(status: &mut OperationStatus, message: String) {
    (status.phase, status.message) = (OperationPhase::Superseded, message);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_that_is_an_end_has_its_condition() {
        use OperationPhase::{Failed, Pending, Running, Succeeded, Superseded};
        for phase in [Pending, Running, Succeeded, Failed, Superseded] {
            let mut status = OperationStatus { phase, ..OperationStatus::default() };
            end(&mut status, Utc::default(), 0);
            let said: Vec<_> =
                status.conditions.iter().map(|said| (said.kind.as_str(), said.reason.as_str())).collect();
            let kind = if phase == Succeeded { "Complete" } else { "Failed" };
            let word = format!("{phase:?}");
            let wanted: Vec<_> = phase.is_final().then_some((kind, word.as_str())).into_iter().collect();
            assert_eq!(said, wanted, "{phase:?}");
        }
    }
}
