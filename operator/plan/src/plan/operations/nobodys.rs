//! Operations on a cluster that does not exist: nobody else would answer them.

use super::super::Action;
use super::{end, fail, over, word};
use crate::spec::Operation;
use crate::status::{OperationStatus, Utc};

/// A cluster that is applied together with its operation may come a moment later.
const WAIT_MS: u64 = 10_000;

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
    word(&asks.action).clone_into(&mut status.action);
    let message = format!(
        "there is no ChatroomCluster {cluster} in this namespace: `kubectl get crc -A` shows all; create the operation beside the one that is meant"
    );
    fail(&mut status, message);
    end(&mut status, now, asks.ttl_ms);
    status.clamp();
    Some(Action::WriteOperation { name: asks.name.clone(), uid: asks.uid.clone(), status: Box::new(status) })
}
