//! From the kinds to the plain values of the planner.
//!
//! What an API server let through is converted: spans to milliseconds, local times to instants, names of loads to those of
//! the samples. What a schema cannot know becomes a [`Flaw`], which shows as a condition: an unknown time zone costs its
//! event, nothing else. A spec that should never have got through (an older CRD is installed, say) is an error as a whole,
//! and the state before it keeps running.

mod events;
mod operation;
mod pools;

use std::fmt;

pub use operation::operation;
use throng_plan::pools::Pools;
use throng_plan::spec::rollout::HaltWhen;
use throng_plan::spec::{ClusterSpec, Drain, Rollout, Rooms};

use crate::cluster::policy;
use crate::span::Span;
use crate::{ChatroomClusterSpec, shape};

/// Something in a spec that no schema can know to be wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Where, such as `spec.events[0].timeZone`.
    pub path: String,
    /// What kind of flaw: the reason of the condition.
    pub reason: Reason,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Kind of a flaw; its text is the reason of the condition `SpecValid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// No time zone has this name.
    UnknownTimeZone,
    /// No calendar has this time.
    ImpossibleTime,
    /// The value should have been refused by the schema: the installed CRD is not the one of this operator.
    NotAdmitted,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::UnknownTimeZone, Self::ImpossibleTime, Self::NotAdmitted];

    /// Its text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownTimeZone => "UnknownTimeZone",
            Self::ImpossibleTime => "ImpossibleTime",
            Self::NotAdmitted => "NotAdmitted",
        }
    }

    /// What it means and what to do: a row of the table in `docs/operator.md`.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::UnknownTimeZone => "No time zone has the name that an event gives: the event is left out.",
            Self::ImpossibleTime => "No calendar has the time that an event gives: the event is left out.",
            Self::NotAdmitted => {
                "The spec should have been refused: the installed CRD is not of this operator's version. Nothing is changed until it is."
            }
        }
    }
}

/// A spec that can be planned with, and what had to be left out of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Validated {
    /// The spec.
    pub spec: ClusterSpec,
    /// What was left out. Empty: nothing.
    pub flaws: Vec<Flaw>,
}

/// Converts the spec of a cluster.
///
/// # Errors
/// Values that an API server with the CRD of this version would have refused.
pub fn cluster(spec: &ChatroomClusterSpec) -> Result<Validated, Vec<Flaw>> {
    let mut refused = Vec::new();
    let mut flaws = Vec::new();
    let validated = ClusterSpec {
        shape: shape::hash(spec),
        paused: spec.paused,
        pools: Pools {
            gateway: pools::gateway(&spec.gateway, &mut refused),
            chatroom: pools::chatroom(&spec.chatroom, &mut refused),
            message: pools::message(&spec.message, &mut refused),
        },
        drain: Drain {
            deadline_ms: span(&spec.drain.deadline, "spec.drain.deadline", &mut refused),
            users_per_s: spec.drain.users_per_second,
            taints: spec.drain.taints.clone(),
        },
        rollout: rollout(&spec.rollout, &mut refused),
        events: events::convert(&spec.events, &mut flaws, &mut refused),
        rooms: rooms(&spec.rooms, &mut refused),
    };
    if refused.is_empty() { Ok(Validated { spec: validated, flaws }) } else { Err(refused) }
}

/// What the end of a cluster needs, of a spec that [`cluster`] refuses: the stores, the keys and the pace of drains, with
/// defaults for all else, and `refused` as its flaws. The last word of a person is to be followed however the rest reads.
#[must_use]
pub fn parting(spec: &ChatroomClusterSpec, refused: Vec<Flaw>) -> Option<Validated> {
    let mut drain = spec.drain.clone();
    if drain.deadline.as_ms().is_none() {
        drain.deadline = policy::Drain::default().deadline;
    }
    let rest = ChatroomClusterSpec {
        drain,
        gateway: crate::cluster::pools::GatewayPool::default(),
        chatroom: crate::cluster::pools::ChatroomPool::default(),
        message: crate::cluster::pools::MessagePool::default(),
        rooms: policy::Rooms::default(),
        rollout: policy::Rollout::default(),
        events: Vec::new(),
        ..spec.clone()
    };
    let Validated { spec: parting, .. } = cluster(&rest).ok()?;
    Some(Validated { spec: ClusterSpec { shape: shape::hash(spec), ..parting }, flaws: refused })
}

fn rollout(rollout: &policy::Rollout, refused: &mut Vec<Flaw>) -> Rollout {
    let on = |bound: u32| (bound > 0).then_some(bound);
    let halt = &rollout.halt_when;
    Rollout {
        canary_percent: rollout.canary_percent.clone(),
        hold_ms: span(&rollout.hold, "spec.rollout.hold", refused),
        progress_deadline_ms: span(&rollout.progress_deadline, "spec.rollout.progressDeadline", refused),
        warm_ms: span(&rollout.warm_rollback, "spec.rollout.warmRollback", refused),
        warm_floor: rollout.warm_floor,
        halt: HaltWhen {
            error_percent: (halt.error_percent > 0).then_some(halt.error_percent),
            p99_ms: on(halt.p99_ms),
            restarts: on(halt.restarts),
        },
        history: rollout.history,
    }
}

fn rooms(rooms: &policy::Rooms, refused: &mut Vec<Flaw>) -> Rooms {
    Rooms {
        messages_per_s: rooms.upstream.messages_per_second,
        user_messages_per_s: rooms.upstream.user_messages_per_second,
        downstream_per_s: rooms.downstream.messages_per_second,
        max_downstream_per_s: rooms.downstream.max_messages_per_second,
        offline_after_ms: u64::from(rooms.offline.after_seconds) * 1000,
        offline_after_messages: rooms.offline.after_messages,
        idle_ms: span(&rooms.idle, "spec.rooms.idle", refused),
        protected_types: rooms.protected_types.clone(),
    }
}

/// A span in milliseconds; 0, and a flaw, if it is none.
fn span(span: &Span, path: &str, refused: &mut Vec<Flaw>) -> u64 {
    span.as_ms().unwrap_or_else(|| {
        refused.push(not_admitted(path, format!("{span:?} is no span of time: write one such as 90s, 30m or 1h30m")));
        0
    })
}

fn not_admitted(path: &str, message: impl Into<String>) -> Flaw {
    Flaw { path: path.into(), reason: Reason::NotAdmitted, message: message.into() }
}

#[cfg(test)]
mod tests;
