//! How large a pool may be, and from what pressure it grows and shrinks.
//!
//! The words and defaults are those of the `HorizontalPodAutoscaler` v2, so that what people know of it holds here.

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

/// All kinds of load, by the names of pressure samples.
pub const LOADS: [&str; 7] =
    ["connections", "egress_mbps", "members", "joins_per_second", "users", "deliveries_per_second", "cpu_percent"];

/// Size and growth of one pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolSpec {
    /// Fewest Pods; at least 1.
    pub min: u32,
    /// Most Pods; at least `min`.
    pub max: u32,
    /// What a Pod should carry at most. Never empty.
    pub targets: Vec<Target>,
    /// How fast the pool grows.
    pub scale_up: Scaling,
    /// How fast it shrinks.
    pub scale_down: Scaling,
}

/// One kind of load and how much of it a Pod should carry.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Target {
    /// Its name among the samples of the Pods, such as `connections`.
    pub load: &'static str,
    /// How much of it one Pod should carry; more than zero. Unit: that of the load.
    pub per_pod: f64,
}

/// A target as it is read: its load may be any text.
#[derive(Deserialize)]
struct ReadTarget {
    load: String,
    per_pod: f64,
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = ReadTarget::deserialize(deserializer)?;
        let load = LOADS.into_iter().find(|load| *load == read.load);
        let load = load.ok_or_else(|| D::Error::custom(format!("no Pod reports a load {:?}", read.load)))?;
        Ok(Self { load, per_pod: read.per_pod })
    }
}

/// How fast a pool changes its size in one direction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scaling {
    /// The most cautious recommendation within so long is followed.
    pub window_ms: u64,
    /// A wish that differs from the size by less than this share is not followed; 0.1 is ten percent.
    pub tolerance: f64,
    /// Which policy counts if there are several.
    pub select: Select,
    /// The most that may change. Never empty.
    pub policies: Vec<Policy>,
}

/// Which of several policies counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Select {
    /// The one that allows the largest change.
    Max,
    /// The one that allows the smallest change.
    Min,
    /// None: the pool does not change in this direction.
    Disabled,
}

/// The most that may change within a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// How much.
    pub change: Change,
    /// Within how long.
    pub period_ms: u64,
}

/// A number of Pods, absolute or relative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// So many Pods.
    Pods(u32),
    /// So many percent of the Pods at the start of the period.
    Percent(u32),
}
