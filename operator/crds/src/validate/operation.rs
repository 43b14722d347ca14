//! From a `ChatroomOperation` to what the planner is asked.

use throng_core::Millis;
use throng_plan::spec::Operation;
use throng_plan::spec::operation::{Action, Pace, Whom};

use super::{Flaw, not_admitted, span};
use crate::operation::{self, ChatroomOperation, ChatroomOperationSpec, DrainPods};

/// Converts an operation.
///
/// # Errors
/// Values that an API server with the CRD of this version would have refused.
pub fn operation(object: &ChatroomOperation) -> Result<Operation, Vec<Flaw>> {
    let mut refused = Vec::new();
    let action = action(&object.spec).ok_or_else(|| vec![not_admitted("spec", "write exactly one action")])?;
    let ttl_ms = span(&object.spec.ttl, "spec.ttl", &mut refused);
    if !refused.is_empty() {
        return Err(refused);
    }
    let created = object.metadata.creation_timestamp.as_ref();
    let asked_at = created.and_then(|time| u64::try_from(time.0.as_millisecond()).ok()).map_or(Millis::ZERO, Millis);
    Ok(Operation {
        name: object.metadata.name.clone().unwrap_or_default(),
        uid: object.metadata.uid.clone().unwrap_or_default(),
        asked_at,
        action,
        ttl_ms,
        status: object.status.clone().unwrap_or_default(),
    })
}

fn action(spec: &ChatroomOperationSpec) -> Option<Action> {
    let rollback = spec.rollback.as_ref().map(|rollback| Action::Rollback {
        to: rollback.to,
        pace: match rollback.pace {
            operation::Pace::Fast => Pace::Fast,
            operation::Pace::Gentle => Pace::Gentle,
        },
    });
    let drain = match &spec.drain {
        Some(drain) => Some(Action::Drain(whom(drain)?)),
        None => None,
    };
    let given = [
        rollback,
        spec.pause.map(|_| Action::Pause),
        spec.resume.map(|_| Action::Resume),
        spec.promote.map(|_| Action::Promote),
        drain,
        spec.rebalance.map(|_| Action::Rebalance),
    ];
    only(given)
}

fn whom(drain: &DrainPods) -> Option<Whom> {
    let labels = drain.node_selector.as_ref();
    let labels = labels.map(|labels| labels.iter().map(|(name, value)| (name.clone(), value.clone())).collect());
    only([drain.pods.clone().map(Whom::Pods), labels.map(Whom::Nodes), drain.zone.clone().map(Whom::Zone)])
}

/// The one that is given; none if none or several are.
fn only<T, const N: usize>(given: [Option<T>; N]) -> Option<T> {
    let mut given = given.into_iter().flatten();
    let first = given.next()?;
    given.next().is_none().then_some(first)
}
