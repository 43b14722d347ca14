//! What is known of one pool, and what its autoscaling remembers.

use serde::{Deserialize, Serialize};
use throng_core::Millis;

use super::Utc;
#[cfg(feature = "schema")]
use super::{MAX_COUNT, MAX_LINE, MAX_NAME};

/// Length of a bucket of the autoscaling history, in milliseconds.
pub const BUCKET_MS: u64 = 10_000;
/// Most buckets kept: the longest stabilization window is one hour.
pub const MAX_BUCKETS: usize = 361;
/// Most start times kept, to tell how long a Pod needs.
pub const MAX_STARTS: usize = 20;

/// One pool as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PoolStatus {
    /// Pods that there should be, draining ones not counted.
    #[cfg_attr(feature = "schema", schemars(range(max = 100_000)))]
    pub wanted: u32,
    /// Pods that exist, draining ones included.
    #[cfg_attr(feature = "schema", schemars(range(max = 100_000)))]
    pub pods: u32,
    /// Pods that serve; those of a canary stand beside them and are not counted.
    #[cfg_attr(feature = "schema", schemars(range(max = 100_000)))]
    pub ready: u32,
    /// Pods that are being emptied.
    #[cfg_attr(feature = "schema", schemars(range(max = 100_000)))]
    pub draining: u32,
    /// Users on them: connections of gateways, members of chatroom Pods, sessions of message Pods.
    #[cfg_attr(feature = "schema", schemars(range(max = MAX_COUNT)))]
    pub users: u64,
    /// Mean pressure of its serving Pods, percent of what they should carry at most.
    #[cfg_attr(feature = "schema", schemars(range(max = 1_000_000)))]
    pub pressure_percent: u32,
    /// Age of the oldest pressure sample that counts, in seconds.
    #[cfg_attr(feature = "schema", schemars(range(max = 1_000_000_000)))]
    pub sample_age_seconds: u32,
    /// Why the pool has this size, or why it cannot have it.
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_LINE)))]
    pub why: String,
    /// One more than the largest index that its Pod names ever had. A free index is used again.
    #[cfg_attr(feature = "schema", schemars(range(max = MAX_COUNT)))]
    pub next_index: u64,
    /// What the autoscaling remembers.
    pub memo: ScaleMemo,
}

/// What the autoscaling of a pool remembers between two looks: all of it is here, none in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ScaleMemo {
    /// History in buckets of 10 s, oldest first, as long as the longest window of the spec.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_BUCKETS)))]
    pub buckets: Vec<Bucket>,
    /// How long the latest Pods took from their creation to readiness, in milliseconds, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_STARTS), inner(range(max = 86_400_000))))]
    pub starts_ms: Vec<u32>,
    /// When the size changed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaled_at: Option<Utc>,
    /// Since when samples are missing or contradict each other, so that the pool does not shrink.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frozen_since: Option<Utc>,
    /// Name of the event whose floor counts now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_NAME)))]
    pub event: Option<String>,
}

/// Ten seconds of a pool. Times without a bucket were not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Bucket {
    /// Start of the bucket, a multiple of ten seconds.
    pub at: Utc,
    /// Smallest recommendation, in Pods.
    #[cfg_attr(feature = "schema", schemars(range(max = 100_000)))]
    pub low: u32,
    /// Largest recommendation, in Pods.
    #[cfg_attr(feature = "schema", schemars(range(max = 100_000)))]
    pub high: u32,
    /// Sum of the pressures of its Pods at the end, in percent of one Pod.
    #[cfg_attr(feature = "schema", schemars(range(max = 100_000_000)))]
    pub load_percent: u32,
    /// Pods added in it.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[cfg_attr(feature = "schema", schemars(range(max = 100_000)))]
    pub added: u32,
    /// Pods taken away in it.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[cfg_attr(feature = "schema", schemars(range(max = 100_000)))]
    pub removed: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Bucket {
    /// Start of the bucket that `now` falls into.
    #[must_use]
    pub const fn start(now: Millis) -> Utc {
        Utc(Millis(now.0 - now.0 % BUCKET_MS))
    }
}
