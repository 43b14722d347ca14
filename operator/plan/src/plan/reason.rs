//! Why a condition is what it is, in one word that programs may rely on.

use std::fmt;

use crate::status::Holds;

/// Reason of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Of `Ready`.
    AllServe,
    /// Of `Ready` and `Progressing`.
    PodsStarting,
    /// Of `Ready`.
    PoolDown,
    /// Of `Ready` and `Progressing`.
    Deleting,
    /// Of `Progressing` and `Paused`.
    Paused,
    /// Of `Progressing`.
    Draining,
    /// Of `Progressing`.
    SlotsMoving,
    /// Of `Progressing`.
    AtRest,
    /// Of `Degraded`.
    RegistryUnreachable,
    /// Of `Degraded`.
    PodsLost,
    /// Of `Degraded`.
    PodsFailing,
    /// Of `Degraded`.
    Healthy,
    /// Of `Paused`.
    Following,
    /// Of `DrainBlocked`.
    CapacityNeeded,
    /// Of `DrainBlocked`.
    RevisionMissing,
    /// Of `DrainBlocked`.
    TooManyPods,
    /// Of `DrainBlocked`.
    TooManyDrains,
    /// Of `DrainBlocked`.
    NothingWaits,
    /// Of `MetricsStale`.
    SamplesMissing,
    /// Of `MetricsStale`.
    SamplesContradict,
    /// Of `MetricsStale`.
    SamplesFresh,
    /// Of `RoomTooHot`.
    SlotTooHot,
    /// Of `RoomTooHot`.
    SlotsFit,
    /// Of `Progressing`.
    RollingOut,
    /// Of `Progressing`.
    RollingBack,
    /// Of `Degraded`.
    RolloutHalted,
    /// Of `Paused`.
    RolloutPaused,
    /// Of `RolledBack`.
    RevisionBlocked,
    /// Of `RolledBack`.
    NothingBlocked,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 29] = [
        Self::AllServe,
        Self::PodsStarting,
        Self::PoolDown,
        Self::Deleting,
        Self::Paused,
        Self::Draining,
        Self::SlotsMoving,
        Self::AtRest,
        Self::RegistryUnreachable,
        Self::PodsLost,
        Self::PodsFailing,
        Self::Healthy,
        Self::Following,
        Self::CapacityNeeded,
        Self::RevisionMissing,
        Self::TooManyPods,
        Self::TooManyDrains,
        Self::NothingWaits,
        Self::SamplesMissing,
        Self::SamplesContradict,
        Self::SamplesFresh,
        Self::SlotTooHot,
        Self::SlotsFit,
        Self::RollingOut,
        Self::RollingBack,
        Self::RolloutHalted,
        Self::RolloutPaused,
        Self::RevisionBlocked,
        Self::NothingBlocked,
    ];

    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AllServe => "AllServe",
            Self::PodsStarting => "PodsStarting",
            Self::PoolDown => "PoolDown",
            Self::Deleting => "Deleting",
            Self::Paused => "Paused",
            Self::Draining => "Draining",
            Self::SlotsMoving => "SlotsMoving",
            Self::AtRest => "AtRest",
            Self::RegistryUnreachable => "RegistryUnreachable",
            Self::PodsLost => "PodsLost",
            Self::PodsFailing => "PodsFailing",
            Self::Healthy => "Healthy",
            Self::Following => "Following",
            Self::CapacityNeeded => "CapacityNeeded",
            Self::RevisionMissing => "RevisionMissing",
            Self::TooManyPods => "TooManyPods",
            Self::TooManyDrains => "TooManyDrains",
            Self::NothingWaits => "NothingWaits",
            Self::SamplesMissing => "SamplesMissing",
            Self::SamplesContradict => "SamplesContradict",
            Self::SamplesFresh => "SamplesFresh",
            Self::SlotTooHot => "SlotTooHot",
            Self::SlotsFit => "SlotsFit",
            Self::RollingOut => "RollingOut",
            Self::RollingBack => "RollingBack",
            Self::RolloutHalted => "RolloutHalted",
            Self::RolloutPaused => "RolloutPaused",
            Self::RevisionBlocked => "RevisionBlocked",
            Self::NothingBlocked => "NothingBlocked",
        }
    }

    /// The conditions that may have it, each with the status that it then has.
    #[must_use]
    pub const fn says(self) -> &'static [(&'static str, Holds)] {
        match self {
            Self::AllServe => &[("Ready", Holds::True)],
            Self::PodsStarting | Self::Deleting => &[("Ready", Holds::False), ("Progressing", Holds::True)],
            Self::PoolDown => &[("Ready", Holds::False)],
            Self::Paused => &[("Progressing", Holds::False), ("Paused", Holds::True)],
            Self::Draining | Self::SlotsMoving | Self::RollingOut | Self::RollingBack => {
                &[("Progressing", Holds::True)]
            }
            Self::AtRest => &[("Progressing", Holds::False)],
            Self::RegistryUnreachable | Self::PodsLost | Self::PodsFailing | Self::RolloutHalted => {
                &[("Degraded", Holds::True)]
            }
            Self::Healthy => &[("Degraded", Holds::False)],
            Self::Following => &[("Paused", Holds::False)],
            Self::CapacityNeeded | Self::RevisionMissing | Self::TooManyPods | Self::TooManyDrains => {
                &[("DrainBlocked", Holds::True)]
            }
            Self::NothingWaits => &[("DrainBlocked", Holds::False)],
            Self::SamplesMissing | Self::SamplesContradict => &[("MetricsStale", Holds::True)],
            Self::SamplesFresh => &[("MetricsStale", Holds::False)],
            Self::SlotTooHot => &[("RoomTooHot", Holds::True)],
            Self::SlotsFit => &[("RoomTooHot", Holds::False)],
            Self::RolloutPaused => &[("Paused", Holds::True)],
            Self::RevisionBlocked => &[("RolledBack", Holds::True)],
            Self::NothingBlocked => &[("RolledBack", Holds::False)],
        }
    }

    /// What it means, and what a person can do: a row of the table of reasons in the documents.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::AllServe => "Every pool has as many serving Pods as it wants.",
            Self::PodsStarting => {
                "A pool has fewer serving Pods than it wants, or Pods that should go wait for others in their place; those that are missing are made."
            }
            Self::PoolDown => "A pool has no serving Pod at all. Look at the reasons of its Pods.",
            Self::Deleting => "The cluster is to be deleted: its gateways are drained, then everything goes.",
            Self::Paused => "spec.paused is true: the operator reports and changes nothing.",
            Self::Draining => "Pods are being emptied before they go, or wait for that: DrainBlocked says for what.",
            Self::SlotsMoving => "Slots are on their way to other Pods.",
            Self::AtRest => "Everything is as it should be.",
            Self::RegistryUnreachable => {
                "The operator cannot reach etcd: no Pod is drained or deleted and no slot moves until it can. Chat goes on. The message names the endpoints and the last error."
            }
            Self::PodsLost => "Pods are on nodes that do not answer; others take their place.",
            Self::PodsFailing => {
                "Pods do not start or have ended. The message names the first and what Kubernetes says."
            }
            Self::Healthy => "No Pod is lost or failing.",
            Self::Following => "The operator follows the spec.",
            Self::CapacityNeeded => {
                "Pods should go, but the others could not carry the users without them, and nothing that is on its way changes that: no more Pods can be made, or those that were made are in trouble or do not serve after two minutes. Give the pool more Pods, or nodes for those that start."
            }
            Self::RevisionMissing => {
                "Pods are missing whose revision is not stored any more, so that none can be made. Apply a spec that asks for other Pods, or the one that they were of."
            }
            Self::TooManyPods => {
                "A pool has more Pods than a placement can name: those beyond get no rooms and no users. Lower replicas.max."
            }
            Self::TooManyDrains => "As many Pods are emptied as the status can name; others wait until some are done.",
            Self::NothingWaits => "No Pod waits for its drain, but for those whose replacements start.",
            Self::SamplesMissing => {
                "A Pod has not said for 15 s what it carries. It counts as full before its pool shrinks; while more than a fifth of a pool is silent, it does not shrink at all."
            }
            Self::SamplesContradict => {
                "What a Pod says it carries cannot be true: it counts as if it said nothing. Look at its log and its clock."
            }
            Self::SamplesFresh => "Every Pod says what it carries.",
            Self::SlotTooHot => {
                "A single slot carries more than one Pod should, and more Pods would not help. The message names it; a larger Pod would, or people in more rooms."
            }
            Self::SlotsFit => "No slot carries more than one Pod should.",
            Self::RollingOut => {
                "A new revision takes over: its Pods start, get a share of the users, or get everybody. The message says how far it is."
            }
            Self::RollingBack => "Everybody goes back to a revision before, because an operation asked for it.",
            Self::RolloutHalted => {
                "The new revision is not healthy; it gets no further users. The message says why. Apply another spec, or create a Rollback or a Resume."
            }
            Self::RolloutPaused => "An operation holds the rollout where it is. A Resume goes on.",
            Self::RevisionBlocked => {
                "A rollback is in force: the revision of the spec gets nobody, however often it is applied. Apply a spec that asks for other Pods."
            }
            Self::NothingBlocked => "No rollback is in force: the spec is followed.",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
