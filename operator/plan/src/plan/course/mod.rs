//! Which revision has the users, which gets some of them, and which goes: the three pools are one revision.
//!
//! A look takes up the [`memory`] of the one before and the operations that change it, then [`steps`] moves a rollout on,
//! unless [`halt`] sees a sign that holds it; [`share`] says what to do so that the canary has its share of the users. The
//! outcome is a [`Course`]: plain numbers that the rest of a look goes by.

pub(super) mod halt;
pub(super) mod memory;
pub(super) mod share;
mod steps;

pub(super) use memory::Memory;
pub(super) use steps::{go_on, promote, ready};

use super::census::{Census, Part};
use super::operations::{self, Operations};
use super::revision::{self, Asked};
use crate::spec::Rollout;
use crate::spec::operation::Pace;
use crate::status::{DrainCause, RevisionState, RolloutPhase, RolloutStatus};
use crate::world::World;

/// What each revision is for.
#[derive(Debug)]
pub(super) struct Course {
    /// That of the spec.
    pub(super) asked: Asked,
    /// What is remembered of it.
    pub(super) memory: Memory,
    /// What operations ask for, and what becomes of them.
    pub(super) operations: Operations,
    /// The revision that has the users, or gets all of them.
    pub(super) main: u64,
    /// The one that gets a share of them.
    pub(super) canary: Option<u64>,
    /// The one of which a few Pods stay, without users.
    pub(super) warm: Option<u64>,
    /// The one that gets nobody.
    pub(super) blocked: Option<u64>,
    /// Who may be connected to, and who is asked to connect anew.
    pub(super) routes: share::Routes,
}

impl Course {
    /// Takes the course of this look, and gives each Pod its part in it.
    pub(super) fn take(world: &World, census: &mut Census<'_>) -> Self {
        let asked = revision::asked(world);
        let mut memory = memory::recall(world, census, asked);
        let acts = world.cluster.deleted_at.is_none() && !world.spec.paused;
        let mut operations = operations::take(world, census, asked, &mut memory, acts);
        if acts {
            steps::advance(world, census, &mut memory);
        }
        operations.settle(world, census, &memory);
        let mut course = Self {
            main: memory.current,
            canary: None,
            warm: None,
            blocked: None,
            asked,
            memory,
            operations,
            routes: share::Routes::default(),
        };
        course.part();
        course.warm = course.warm_revision(world);
        census.assign(world, &course);
        course.routes = share::routes(world, census, &mut course.memory, course.canary);
        census.route(&course);
        course
    }

    /// Who is main and who is canary.
    fn part(&mut self) {
        self.blocked = self.memory.rollback.as_ref().map(|rollback| rollback.blocked_revision.number);
        let Some(rollout) = &self.memory.rollout else { return };
        if rollout.phase == RolloutPhase::Promoting {
            self.main = rollout.to;
        } else {
            (self.main, self.canary) = (rollout.from, Some(rollout.to));
        }
    }

    /// While everybody moves the one before is to be warm; later the status says which, and how long.
    fn warm_revision(&self, world: &World) -> Option<u64> {
        if world.spec.rollout.warm_ms == 0 {
            return None;
        }
        if let Some(rollout) = self.memory.rollout.as_ref().filter(|rollout| rollout.phase == RolloutPhase::Promoting) {
            return Some(rollout.from);
        }
        let warm = |known: &&crate::status::RevisionStatus| {
            known.state == RevisionState::Warm && known.warm_until.is_some_and(|until| world.now < until)
        };
        let known = || world.status.revisions.iter().find(warm).map(|known| known.number);
        let warm = self.memory.warms.or_else(known);
        warm.filter(|number| *number != self.main && Some(*number) != self.canary && Some(*number) != self.blocked)
    }

    /// What a Pod of a revision is.
    pub(super) fn part_of(&self, number: u64) -> Part {
        match number {
            number if number == self.main => Part::Main,
            number if Some(number) == self.canary => Part::Canary,
            _ => Part::Rest,
        }
    }

    /// Why a Pod of another revision goes.
    pub(super) fn cause(&self, number: u64) -> DrainCause {
        if Some(number) == self.blocked { DrainCause::Rollback } else { DrainCause::Rollout }
    }

    /// Everybody moves back as fast as the fleet takes them in.
    pub(super) fn is_fast(&self) -> bool {
        self.memory.rollback.as_ref().is_some_and(|rollback| rollback.pace == pace_text(Pace::Fast))
    }

    /// Whether Pods of a revision can be made: it is stored, or is about to be.
    pub(super) fn can_be_made(&self, world: &World, number: u64) -> bool {
        number == self.asked.number || world.revisions.contains_key(&number)
    }

    /// Share of slots that is on the canary, percent; none: all Pods that serve are alike.
    pub(super) fn split(&self) -> Option<u32> {
        let rollout = self.memory.rollout.as_ref().filter(|_| self.canary.is_some())?;
        Some(rollout.target_percent).filter(|target| *target < 100)
    }
}

/// A pace as the status holds it.
pub(super) fn pace_text(pace: Pace) -> &'static str {
    match pace {
        Pace::Fast => "Fast",
        Pace::Gentle => "Gentle",
    }
}

/// Most Pods of a pool of this size that may run beside it while others take their place.
pub(super) fn surge(wanted: u32) -> u32 {
    (wanted / 4).max(1)
}

/// Pods of a pool of this size that a share needs: at least one. Without canary steps, as many as replace others at a time.
pub(super) fn canary_pods(spec: &Rollout, rollout: &RolloutStatus, wanted: u32) -> u32 {
    match spec.canary_percent.get(rollout.step as usize) {
        Some(percent) => wanted.saturating_mul(u32::from(*percent)).div_ceil(100).max(1),
        None => surge(wanted).min(wanted.max(1)),
    }
}

/// Whether everybody was to move when it was held.
pub(super) fn was_promoting(rollout: &RolloutStatus) -> bool {
    rollout.target_percent >= 100
}
