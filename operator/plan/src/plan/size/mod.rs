//! How many Pods each pool wants: autoscaling from pressure.
//!
//! The way of a look: [`pressure`] reads what each Pod says it carries, [`coverage`] whether enough of them say anything;
//! [`demand`] turns that into Pods, with [`ahead`] for the time that a new one needs. [`decide`] goes from a demand to a size,
//! in the words of the `HorizontalPodAutoscaler`: tolerance, [`window`], [`policy`], and above them events and the bounds of
//! the spec. [`history`] writes down what the next look must know; [`rule`] says in one line what decided.

mod ahead;
mod coverage;
mod decide;
mod demand;
mod history;
mod policy;
pub(super) mod pressure;
mod rule;
mod window;

pub(super) use coverage::Gaps;
pub(super) use pressure::{Silence, TooHot};
use throng_core::Role;

use self::ahead::Growth;
use self::coverage::Coverage;
use self::decide::{Case, bounds, decide};
use self::demand::Demand;
use super::census::{Census, Seat};
use crate::pools::Pools;
use crate::spec::PoolSpec;
use crate::spec::event::highest;
use crate::status::{ScaleMemo, Utc};
use crate::world::World;
use crate::world::sample::users_load;

/// Size that a pool should have.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    /// Pods, draining ones not counted.
    pub(super) pods: u32,
    /// Why so many.
    pub(super) why: String,
    /// What the next look must know.
    pub(super) memo: ScaleMemo,
    /// Pods that do not say what they carry.
    pub(super) gaps: Option<Gaps>,
    /// The hottest slot, if it is too hot for one Pod.
    pub(super) too_hot: Option<TooHot>,
    /// Pressure may change the size.
    pub(super) scales: bool,
}

impl Wanted {
    /// Too few Pods say what they carry: the pool does not shrink.
    pub(super) const fn frozen(&self) -> bool {
        self.memo.frozen_since.is_some()
    }
}

/// The sizes of all pools.
pub(super) fn wanted(world: &World, census: &Census<'_>) -> Pools<Wanted> {
    world.spec.pools.map(|role, pool| size(world, role, pool, census.of(role)))
}

/// The size of one pool.
fn size(world: &World, role: Role, pool: &PoolSpec, seats: &[Seat<'_>]) -> Wanted {
    let (now, before) = (world.now, world.status.pools.of(role));
    let mut memo = before.memo.clone();
    let (min, max) = bounds(pool);
    let current = if before.wanted > 0 { before.wanted } else { staying(seats) }.clamp(min, max);
    let readings = pressure::read(world, role, &pool.targets, seats);
    let coverage = Coverage::of(&readings);
    // Pods that come up while nobody looks tell nothing of the time that they need.
    if history::was_looked_at(&memo, now) && !is_routed_about(world) {
        ahead::note_starts(&mut memo.starts_ms, now, seats);
    }
    history::open(&mut memo, now, current);
    let known = readings.sum(0.0);
    let load_percent = history::percent(known);
    let growth = Growth {
        per_s: if coverage.is_whole() { ahead::slope_per_s(&memo.buckets, now, known) } else { 0.0 },
        start_ms: ahead::start_ms(&memo.starts_ms),
    };
    memo.frozen_since = coverage.frozen().then(|| memo.frozen_since.unwrap_or(now));
    let event = highest(&world.spec.events, role, now.0);
    memo.event = event.map(|(event, _)| event.name.clone());
    let decision = decide(&Case {
        now,
        pool,
        current,
        up: &Demand::of(&readings, 0.0, growth),
        down: &Demand::of(&readings, 1.0, growth),
        coverage: &coverage,
        event,
        memo: &memo,
    });
    let load = coverage.is_whole().then_some(load_percent);
    history::write(&mut memo, pool, now, decision.recommended, load);
    if before.wanted > 0 {
        history::note_change(&mut memo, now, before.wanted, decision.pods);
    }
    Wanted {
        pods: decision.pods,
        why: format!("{} wanted: {}", decision.pods, decision.rule),
        memo,
        gaps: coverage.gaps,
        too_hot: readings.too_hot,
        scales: pool.min < pool.max,
    }
}

/// Labels come and go with the share of a canary and with a rollback: they do not tell that a Pod has just started.
fn is_routed_about(world: &World) -> bool {
    let status = &world.status;
    status.rollout.is_some() || status.rollback.as_ref().is_some_and(|rollback| rollback.done_at.is_none())
}

/// Pods that there are, where no status says how many there should be.
fn staying(seats: &[Seat<'_>]) -> u32 {
    let staying = seats.iter().filter(|seat| seat.stays() && seat.unfit.is_none()).count();
    u32::try_from(staying).unwrap_or(u32::MAX)
}

/// Whether `at` lies within the last `window_ms` before `now`.
const fn is_within(at: Utc, now: Utc, window_ms: u64) -> bool {
    now.0.since(at.0) < window_ms
}

/// Fewest serving Pods that so many users need, as far as the pool may grow. Own actions never go below.
pub(super) fn needed(world: &World, role: Role, users: u64) -> u32 {
    let pool = world.spec.pools.of(role);
    let per_pod = pool.targets.iter().find(|target| target.load == users_load(role)).map(|target| target.per_pod);
    let Some(per_pod) = per_pod.filter(|per_pod| *per_pod > 0.0) else { return 0 };
    demand::pods(users as f64 / per_pod).min(pool.max)
}
