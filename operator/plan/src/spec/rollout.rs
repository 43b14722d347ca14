//! How a new revision takes over from the last good one.

use serde::{Deserialize, Serialize};

/// The way of a new revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// Shares of users on the new revision, one step each, rising, 1-99. Empty: no canary.
    pub canary_percent: Vec<u8>,
    /// How long a step is watched before the next one.
    pub hold_ms: u64,
    /// New Pods that are not ready after so long halt the rollout.
    pub progress_deadline_ms: u64,
    /// How long the last good revision stays warm after the rollout.
    pub warm_ms: u64,
    /// How many Pods of each of its pools stay warm.
    pub warm_floor: u32,
    /// What halts a rollout on its own.
    pub halt: HaltWhen,
    /// How many revisions are remembered, the serving one included.
    pub history: u32,
}

/// Signs of an unhealthy revision. One is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaltWhen {
    /// Share of failed requests at which it halts, percent; none: not looked at.
    pub error_percent: Option<u8>,
    /// Delivery time at which it halts, p99, milliseconds; none: not looked at.
    pub p99_ms: Option<u32>,
    /// Container restarts of new Pods at which it halts; none: not looked at.
    pub restarts: Option<u32>,
}
