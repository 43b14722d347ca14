//! How many Pods a pool has, in the words of the `HorizontalPodAutoscaler` v2.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many Pods a pool may have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Replicas {
    /// Fewest Pods.
    #[schemars(range(min = 1, max = 5000))]
    pub min: u32,
    /// Most Pods, draining ones not counted. Equal to `min`: the pool does not scale.
    #[schemars(range(min = 1, max = 5000))]
    pub max: u32,
}

impl Default for Replicas {
    fn default() -> Self {
        Self { min: 2, max: 10 }
    }
}

/// How fast a pool grows and shrinks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Behavior {
    /// How fast it grows. At first at once, by the larger of 4 Pods and 100 % every 15 seconds.
    pub scale_up: ScaleUp,
    /// How fast it shrinks. At first by up to 100 % every 15 seconds, but not below what was needed in the last 5 minutes.
    pub scale_down: ScaleDown,
}

#[expect(clippy::derivable_impls, reason = "kept beside the defaults that it is made of")]
impl Default for Behavior {
    fn default() -> Self {
        Self { scale_up: ScaleUp::default(), scale_down: ScaleDown::default() }
    }
}

/// How fast a pool grows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScaleUp {
    /// The smallest recommendation of so many seconds is followed. 0: the latest one.
    #[schemars(range(min = 0, max = 3600))]
    pub stabilization_window_seconds: u32,
    /// Which policy counts: the one that allows most (`Max`), least (`Min`), or none, so that the pool never grows
    /// (`Disabled`).
    pub select_policy: SelectPolicy,
    /// How many Pods may be added.
    #[schemars(length(min = 1, max = 8))]
    pub policies: Vec<ScalingPolicy>,
    /// Share by which pressure may differ from what is wanted without any change: 0.1 is ten percent.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub tolerance: f64,
}

impl Default for ScaleUp {
    fn default() -> Self {
        let pods = ScalingPolicy { kind: PolicyKind::Pods, value: 4, period_seconds: 15 };
        let percent = ScalingPolicy { kind: PolicyKind::Percent, value: 100, period_seconds: 15 };
        Self {
            stabilization_window_seconds: 0,
            select_policy: SelectPolicy::Max,
            policies: vec![pods, percent],
            tolerance: 0.1,
        }
    }
}

/// How fast a pool shrinks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScaleDown {
    /// The largest recommendation of so many seconds is followed. 0: the latest one.
    #[schemars(range(min = 0, max = 3600))]
    pub stabilization_window_seconds: u32,
    /// Which policy counts: the one that allows most (`Max`), least (`Min`), or none, so that the pool never shrinks
    /// (`Disabled`).
    pub select_policy: SelectPolicy,
    /// How many Pods may be taken away. Each is emptied first.
    #[schemars(length(min = 1, max = 8))]
    pub policies: Vec<ScalingPolicy>,
    /// Share by which pressure may differ from what is wanted without any change: 0.1 is ten percent.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub tolerance: f64,
}

impl Default for ScaleDown {
    fn default() -> Self {
        Self {
            stabilization_window_seconds: 300,
            select_policy: SelectPolicy::Max,
            policies: vec![ScalingPolicy { kind: PolicyKind::Percent, value: 100, period_seconds: 15 }],
            tolerance: 0.1,
        }
    }
}

/// Which of several policies counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SelectPolicy {
    /// The one that allows most.
    #[default]
    Max,
    /// The one that allows least.
    Min,
    /// None.
    Disabled,
}

/// The most that may change within a period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScalingPolicy {
    /// What `value` counts: `Pods`, or `Percent` of the Pods at the start of the period.
    #[serde(rename = "type")]
    pub kind: PolicyKind,
    /// How many.
    #[schemars(range(min = 1, max = 100_000))]
    pub value: u32,
    /// Within how many seconds.
    #[schemars(range(min = 1, max = 1800))]
    pub period_seconds: u32,
}

/// What the value of a policy counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PolicyKind {
    /// Pods.
    Pods,
    /// Percent of the Pods.
    Percent,
}
