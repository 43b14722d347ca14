//! From what is asked for to a size: tolerance, then the window, then the policies; events and bounds stand above them.

use super::coverage::Coverage;
use super::demand::{Demand, pods};
use super::policy;
use super::rule::Rule;
use super::window::stabilized;
use crate::spec::pool::Select;
use crate::spec::{Event, PoolSpec};
use crate::status::{ScaleMemo, Utc};

/// Everything that a decision needs.
#[derive(Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) now: Utc,
    pub(super) pool: &'a PoolSpec,
    /// The size that was wanted before, within the bounds of the spec.
    pub(super) current: u32,
    /// What is asked for if silent Pods carry nothing: it makes the pool grow.
    pub(super) up: &'a Demand,
    /// What is asked for if silent Pods are full: it lets the pool shrink.
    pub(super) down: &'a Demand,
    pub(super) coverage: &'a Coverage,
    /// The event that asks for most, with its floor.
    pub(super) event: Option<(&'a Event, u32)>,
    /// Its history, opened for this look.
    pub(super) memo: &'a ScaleMemo,
}

/// A size and how it came about.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Decision {
    /// The size.
    pub(super) pods: u32,
    /// What the load alone recommends now; for the history.
    pub(super) recommended: u32,
    /// What decided.
    pub(super) rule: Rule,
}

/// Decides.
pub(super) fn decide(case: &Case<'_>) -> Decision {
    let Case { now, pool, current, memo, .. } = *case;
    let (recommended, mut rule) = recommend(case);
    let stable = stabilized(pool, &memo.buckets, now, current, recommended);
    let grows = recommended > current;
    let scaling = if grows { &pool.scale_up } else { &pool.scale_down };
    if stable != recommended {
        rule = Rule::Window { recommended, window_s: scaling.window_ms / 1000 };
    }
    let size = if grows {
        stable.min(policy::most(scaling, memo, now, current))
    } else {
        stable.max(policy::least(scaling, memo, now, current))
    };
    if size != stable {
        let disabled = scaling.select == Select::Disabled;
        rule = if disabled { Rule::Disabled { recommended } } else { Rule::Policy { recommended } };
    }
    let (pods, rule) = bounded(case, size, recommended, rule);
    Decision { pods, recommended, rule }
}

/// The bounds of a pool. They saturate: what was never admitted makes no pool empty.
pub(super) fn bounds(pool: &PoolSpec) -> (u32, u32) {
    let min = pool.min.max(1);
    (min, pool.max.max(min))
}

/// What the load alone asks for; the present size if that is near enough, or if too little is known to shrink.
fn recommend(case: &Case<'_>) -> (u32, Rule) {
    let (pool, current, size) = (case.pool, case.current, f64::from(case.current));
    let (up, term) = case.up.most();
    // A wide tolerance must not leave fewer Pods than the load fills: none of them could be replaced, for nobody would take its users.
    if up > size * (1.0 + pool.scale_up.tolerance) || case.up.sum > size + 1e-6 {
        return (pods(up), Rule::Carries(term, *case.up));
    }
    let silent = case.coverage.silent();
    let frozen = Rule::Frozen { silent, pods: case.coverage.pods };
    let (down, down_term) = case.down.most();
    if down >= size * (1.0 - pool.scale_down.tolerance) || pods(down) >= current {
        let rule = match pods(up) {
            asked if asked == current => Rule::Carries(term, *case.up),
            asked if asked < current && silent > 0 => frozen,
            _ => Rule::NearEnough(*case.up),
        };
        return (current, rule);
    }
    if case.coverage.frozen() {
        return (current, frozen);
    }
    (pods(down), Rule::Carries(down_term, *case.down))
}

/// Events and bounds: what a person wrote counts at once and above all.
fn bounded(case: &Case<'_>, size: u32, recommended: u32, rule: Rule) -> (u32, Rule) {
    let (min, max) = bounds(case.pool);
    let floor = case.event.map_or(0, |(_, floor)| floor);
    let pods = size.max(floor).clamp(min, max);
    let asked = recommended.max(floor);
    let rule = match case.event {
        _ if pods == max && asked > max => Rule::Largest { asked },
        Some((event, floor)) if floor >= size && asked > recommended.max(min) => Rule::Event(event.name.clone()),
        _ if pods == min && asked <= min => Rule::Smallest,
        _ => rule,
    };
    (pods, rule)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use throng_core::Millis;

    use super::super::ahead::Growth;
    use super::super::history;
    use super::super::policy::tests::pool;
    use super::super::pressure::{Reading, Readings, Silence};
    use super::*;
    use crate::pools::Pools;

    /// A pool whose load is spread evenly over the Pods that it wants.
    struct Spread {
        pool: PoolSpec,
        now: Utc,
        current: u32,
        memo: ScaleMemo,
        event: Option<Event>,
        rule: Rule,
    }

    impl Spread {
        fn new(current: u32) -> Self {
            let rule = Rule::Smallest;
            Self { pool: pool(), now: Utc(Millis(1_000_000)), current, memo: ScaleMemo::default(), event: None, rule }
        }

        /// Looks at a load of so many full Pods, of which `silent` say nothing; then a second passes.
        fn look(&mut self, load: f64, silent: u32) -> u32 {
            let reading = |at: u32| Reading {
                pod: format!("p{at}"),
                serves: true,
                pressure: if at < silent { Err(Silence::Missing) } else { Ok(load / f64::from(self.current)) },
            };
            let readings = Readings { pods: (0..self.current).map(reading).collect(), too_hot: None };
            let demand = |silent| Demand::of(&readings, silent, Growth::default());
            let (min, max) = bounds(&self.pool);
            let before = self.current;
            self.current = before.clamp(min, max);
            history::open(&mut self.memo, self.now, self.current);
            let decision = decide(&Case {
                now: self.now,
                pool: &self.pool,
                current: self.current,
                up: &demand(0.0),
                down: &demand(1.0),
                coverage: &Coverage::of(&readings),
                event: self.event.as_ref().map(|event| (event, event.floor.gateway)),
                memo: &self.memo,
            });
            history::write(&mut self.memo, &self.pool, self.now, decision.recommended, None);
            history::note_change(&mut self.memo, self.now, before, decision.pods);
            self.now = Utc(self.now.0 + 1000);
            (self.current, self.rule) = (decision.pods, decision.rule);
            self.current
        }

        fn looks(&mut self, seconds: u32, load: f64) -> u32 {
            (0..seconds).map(|_| self.look(load, 0)).last().unwrap()
        }

        /// A history in which the present size was never wished.
        fn forgiven(mut self) -> Self {
            self.pool.scale_down.window_ms = 0;
            self
        }
    }

    #[test]
    fn a_size_that_differs_by_a_tenth_is_near_enough() {
        for (load, is) in [(8.2, 10), (9.0, 10), (9.85, 10), (9.91, 12), (8.09, 9), (5.0, 6), (0.0, 1)] {
            assert_eq!(Spread::new(10).forgiven().look(load, 0), is, "{load}");
        }
        let mut exact = Spread::new(10).forgiven();
        (exact.pool.scale_up.tolerance, exact.pool.scale_down.tolerance) = (0.0, 0.0);
        assert_eq!(exact.look(9.1, 0), 11);
    }

    #[test]
    fn a_wide_tolerance_holds_until_the_pods_are_full() {
        let mut wide = Spread::new(3).forgiven();
        wide.pool.scale_up.tolerance = 0.5;
        assert_eq!((wide.look(3.0, 0), wide.look(3.05, 0)), (3, 4));
    }

    #[test]
    fn it_grows_by_four_or_by_as_many_again_every_fifteen_seconds() {
        let mut spread = Spread::new(2);
        let sizes: Vec<u32> = (0..46).map(|_| spread.look(36.0, 0)).collect();
        assert_eq!([sizes[0], sizes[14], sizes[15], sizes[29], sizes[30], sizes[45]], [6, 6, 12, 12, 24, 40]);
    }

    #[test]
    fn it_shrinks_when_nothing_else_was_wished_for_five_minutes() {
        let mut spread = Spread::new(10);
        assert_eq!(spread.looks(300, 2.7), 10);
        assert!(matches!(spread.rule, Rule::Window { recommended: 3, window_s: 300 }), "{:?}", spread.rule);
        assert_eq!(spread.looks(11, 2.7), 3);
    }

    #[test]
    fn a_direction_that_is_disabled_keeps_the_size() {
        let mut spread = Spread::new(10).forgiven();
        (spread.pool.scale_up.select, spread.pool.scale_down.select) = (Select::Disabled, Select::Disabled);
        assert_eq!((spread.look(50.0, 0), spread.look(0.9, 0)), (10, 10));
        assert_eq!(spread.rule, Rule::Disabled { recommended: 1 });
    }

    #[test]
    fn bounds_and_events_count_at_once_and_events_stay_within_bounds() {
        let floor = |gateway| Pools { gateway, ..Pools::default() };
        let times = (Millis(0), Millis(0), Millis(u64::MAX));
        let event = |gateway| Event {
            name: "final".into(),
            ramp_at: times.0,
            starts_at: times.1,
            ends_at: times.2,
            floor: floor(gateway),
        };
        for (min, max, asked, load, is, rule) in [
            (30, 100, 0, 0.9, 30, Rule::Smallest),
            (1, 5, 0, 9.0, 5, Rule::Largest { asked: 10 }),
            (1, 100, 40, 9.0, 40, Rule::Event("final".into())),
            (1, 20, 40, 9.0, 20, Rule::Largest { asked: 40 }),
            (30, 100, 20, 9.0, 30, Rule::Smallest),
            (7, 7, 0, 0.1, 7, Rule::Smallest),
            (0, 0, 0, 0.1, 1, Rule::Smallest),
            (9, 4, 0, 0.1, 9, Rule::Smallest),
        ] {
            let mut spread = Spread::new(10);
            (spread.pool.min, spread.pool.max) = (min, max);
            spread.event = (asked > 0).then(|| event(asked));
            assert_eq!((spread.look(load, 0), &spread.rule), (is, &rule), "{min} {max} {asked} {load}");
        }
    }

    #[test]
    fn while_pods_are_silent_it_may_grow_and_does_not_shrink() {
        for (silent, load, is) in [(0, 2.0, 3), (1, 2.0, 5), (2, 2.0, 6), (3, 2.0, 10), (10, 2.0, 10), (3, 20.0, 20)] {
            assert_eq!(Spread::new(10).forgiven().look(load, silent), is, "{silent} of 10 are silent, load {load}");
        }
    }

    /// A stretch of seconds with a load of so many full Pods, in tenths, and so many silent Pods.
    fn stretch() -> impl Strategy<Value = (u32, u32, u32)> {
        (1u32..200, 0u32..400, prop_oneof![3 => Just(0u32), 1 => 0u32..40])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever the load does: never above the largest size or below the smallest, never smaller while too few are
        /// heard of, never smaller within a window after it grew (so it turns from growing to shrinking once in a window at
        /// most), and a second look at the same instant decides the same.
        #[test]
        fn every_trace_keeps_the_rules(
            stretches in prop::collection::vec(stretch(), 1..8),
            (min, more) in (1u32..8, 0u32..30),
            window_s in prop_oneof![Just(0u32), Just(60), Just(300)],
        ) {
            let mut spread = Spread::new(min);
            (spread.pool.min, spread.pool.max) = (min, min + more);
            spread.pool.scale_down.window_ms = u64::from(window_s) * 1000;
            let (mut second, mut grew_at) = (0u32, None);
            for (seconds, tenths, silent) in stretches {
                for _ in 0..seconds {
                    let (before, silent) = (spread.current, silent.min(spread.current));
                    let after = spread.look(f64::from(tenths) / 10.0, silent);
                    prop_assert!((min..=min + more).contains(&after));
                    if 5 * (before - silent) < 4 * before {
                        prop_assert!(after >= before, "{silent} of {before} are silent");
                    }
                    if after < before {
                        prop_assert!(grew_at.is_none_or(|grew| second - grew >= window_s), "{grew_at:?} {second}");
                    }
                    if after > before {
                        grew_at = Some(second);
                    }
                    prop_assert!(spread.memo.buckets.len() <= 32);
                    second += 1;
                }
            }
        }

        /// Bounds that change take hold at once, whatever was before.
        #[test]
        fn new_bounds_take_hold_at_the_next_look(
            bounds in prop::collection::vec((0u32..60, 0u32..60, 0u32..400, 0u32..5), 1..20),
        ) {
            let mut spread = Spread::new(3);
            for (min, max, tenths, silent) in bounds {
                (spread.pool.min, spread.pool.max) = (min, max);
                let size = spread.look(f64::from(tenths) / 10.0, silent.min(spread.current));
                prop_assert!(size >= min.max(1) && size <= max.max(min).max(1));
            }
        }
    }
}
