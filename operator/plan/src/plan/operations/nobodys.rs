//! Operations that nobody else would answer: on a cluster that does not exist, or such as nobody can read.

use super::super::Action;
use super::{end, fail, over};
use crate::spec::Operation;
use crate::status::{OperationStatus, Utc};

/// A cluster that is applied together with its operation may come a moment later.
const WAIT_MS: u64 = 10_000;

/// The end of an operation that cannot be followed, with what to write instead. How long it was to be kept nobody knows: it
/// stays until somebody deletes it.
#[must_use]
pub fn refused(before: &OperationStatus, message: String, now: Utc) -> OperationStatus {
    let mut status = OperationStatus { observed_generation: before.observed_generation.max(1), ..before.clone() };
    fail(&mut status, message);
    end(&mut status, now, 0);
    status.expires_at = None;
    status.clamp();
    status
}

/// What to do about an operation on `cluster`, which is not there. None: nothing yet, or nothing any more.
#[must_use]
pub fn stray(asks: &Operation, cluster: &str, now: Utc) -> Option<Action> {
    if asks.status.phase.is_final() {
        return over(asks, now);
    }
    if now.0.since(asks.asked_at) < WAIT_MS {
        return None;
    }
    let mut status = OperationStatus { observed_generation: 1, ..asks.status.clone() };
    asks.action.word().clone_into(&mut status.action);
    let message = format!(
        "there is no ChatroomCluster {cluster} in this namespace: `kubectl get crc -A` shows all; create the operation beside the one that is meant"
    );
    fail(&mut status, message);
    end(&mut status, now, asks.ttl_ms);
    status.clamp();
    Some(Action::WriteOperation { name: asks.name.clone(), uid: asks.uid.clone(), status: Box::new(status) })
}
