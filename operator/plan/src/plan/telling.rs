//! The first line of why: what a rollout or a rollback does now, why, and what comes next.
//!
//! Said anew in every look, and in the same words while nothing changes: an end is told as an instant, not as what is left of
//! the time, so that a status at rest is not written again.

use throng_core::Role;

use super::Look;
use super::census::{Census, State};
use super::course::{ready, was_promoting};
use super::words::{pods, users};
use crate::status::{HaltCause, RollbackStatus, RolloutPhase, RolloutStatus, Utc};

/// What everything else follows from; nothing, if there is no such thing.
pub(super) fn head(look: &Look<'_>, census: &Census<'_>) -> Option<String> {
    let memory = &look.course.memory;
    if look.world.cluster.deleted_at.is_some() {
        return None;
    }
    if look.world.spec.paused {
        return Some("the cluster is paused: nothing is changed".to_owned());
    }
    let rollout = memory.rollout.as_ref().map(|rollout| Told { look, census, rollout }.line());
    let rollback = || memory.rollback.as_ref().map(|rollback| back(census, rollback));
    let line = rollout.or_else(rollback)?;
    let is_done = memory.rollback.as_ref().is_some_and(|rollback| rollback.done_at.is_some());
    let stands = look.world.registry.is_none() && !is_done;
    Some(if stands { format!("{line}; it stands still until etcd answers") } else { line })
}

/// A rollout that is told of.
struct Told<'t> {
    look: &'t Look<'t>,
    census: &'t Census<'t>,
    rollout: &'t RolloutStatus,
}

impl Told<'_> {
    fn line(&self) -> String {
        let RolloutStatus { to, users_percent: is, .. } = self.rollout;
        match self.rollout.phase {
            RolloutPhase::Starting => {
                let next = self.share(0).map_or_else(
                    || "everybody moves to it".to_owned(),
                    |percent| format!("it gets {percent} % of the users"),
                );
                format!("revision {to} starts: of its first Pods {} serve; then {next}", self.counts(false))
            }
            RolloutPhase::Canary => self.rollout.reached_at.map_or_else(|| self.fills(), |at| self.watched(at)),
            RolloutPhase::Promoting => {
                let warm = &self.look.world.spec.rollout;
                let stays = warm.warm_ms > 0 && warm.warm_floor > 0;
                let (from, span) = (self.rollout.from, span(warm.warm_ms));
                let then =
                    if stays { format!("revision {from} stays warm for {span}") } else { "it is done".to_owned() };
                let left = left(self.census, *to);
                format!("everybody moves to revision {to}: {is} % are there, {left} are left on others; then {then}")
            }
            RolloutPhase::Paused => {
                let operation = self.rollout.operation.as_deref().unwrap_or_default();
                let what = if was_promoting(self.rollout) {
                    format!("the move of everybody to revision {to} is held, {is} % are there")
                } else {
                    format!("revision {to} is held at {is} % of the users")
                };
                format!("{what}, by operation {operation}: a Resume goes on, a Rollback takes it back")
            }
            RolloutPhase::Halted => {
                let because = self.rollout.halted_because.as_deref().unwrap_or("it is not healthy");
                let help = if self.rollout.halted_for == Some(HaltCause::NotStarting) {
                    "it goes on when its Pods start; else apply another spec, or create a Rollback"
                } else {
                    "apply another spec, or create a Rollback or a Resume"
                };
                format!("revision {to} has halted with {is} % of the users: {because}; {help}")
            }
        }
    }

    /// Its share of the users comes.
    fn fills(&self) -> String {
        let RolloutStatus { to, users_percent: is, target_percent: share, .. } = self.rollout;
        let lacking = self.counts(true);
        let start = if lacking.is_empty() { String::new() } else { format!(" when its Pods serve ({lacking})") };
        let hold_ms = self.look.world.spec.rollout.hold_ms;
        format!("revision {to} has {is} % of the users and gets {share} %{start}, to be watched for {}", span(hold_ms))
    }

    /// Its share of the users is there, since an instant.
    fn watched(&self, reached_at: Utc) -> String {
        let RolloutStatus { to, users_percent: is, .. } = self.rollout;
        let lacking = self.counts(true);
        let health = match self.rollout.sick_since {
            Some(since) => {
                format!("but its samples are bad since {}, and it halts if they stay so", since.clock(since))
            }
            None if !lacking.is_empty() => format!("but not all of its Pods serve ({lacking})"),
            None => "and is healthy".to_owned(),
        };
        let next = self.share(self.rollout.step as usize + 1);
        let next = next.map_or_else(|| "everybody".to_owned(), |percent| format!("{percent} %"));
        let end = Utc(reached_at.0 + self.look.world.spec.rollout.hold_ms);
        let then = if self.look.world.now < end {
            format!("watched until {}, then {next}", end.clock(reached_at))
        } else {
            format!("watched long enough, {next} when its Pods serve")
        };
        format!("revision {to} has {is} % of the users {health}: {then}")
    }

    /// Share of a step; none: everybody.
    fn share(&self, step: usize) -> Option<u8> {
        self.look.world.spec.rollout.canary_percent.get(step).copied()
    }

    /// Pods of each pool that serve, of those that this step needs; `lacking`: only where that are too few.
    fn counts(&self, lacking: bool) -> String {
        let counts = Role::ALL.map(|role| (role, ready(self.look.world, self.census, self.rollout, role)));
        let told = counts.iter().filter(|(_, (serve, needed))| !lacking || serve < needed);
        told.map(|(role, (serve, needed))| format!("{role} {serve}/{needed}")).collect::<Vec<_>>().join(", ")
    }
}

/// A rollback, and after it what it holds.
fn back(census: &Census<'_>, rollback: &RollbackStatus) -> String {
    let RollbackStatus { to, operation, .. } = rollback;
    let blocked = rollback.blocked_revision.number;
    if rollback.done_at.is_some() {
        return format!(
            "revision {blocked} gets nobody, as operation {operation} asks, until the spec asks for other Pods: revision {to} serves"
        );
    }
    let left = left(census, *to);
    format!(
        "everybody goes back from revision {blocked} to {to}, as operation {operation} asks: {left} are left on others"
    )
}

/// Users and Pods that are on other revisions than one, those not counted that wait there, warm and empty.
fn left(census: &Census<'_>, number: u64) -> String {
    let others = || {
        let lives = |state| matches!(state, State::Live | State::Going);
        census.all().filter(move |seat| seat.pod.revision != number && lives(seat.state) && !seat.is_parked())
    };
    let gateways = others().filter(|seat| seat.pod.role == Role::Gateway);
    let on_them = gateways.fold(0u64, |users, seat| users.saturating_add(seat.load.users));
    format!("{} and {}", users(on_them), pods(others().count() as u64))
}

/// A length of time, as people write it.
fn span(ms: u64) -> String {
    match ms / 1000 {
        seconds if seconds > 0 && seconds % 3600 == 0 => format!("{} h", seconds / 3600),
        seconds if seconds > 0 && seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}
