//! From pressures to Pods: the largest of what the load, the hottest Pods and the next seconds ask for.

use super::ahead::Growth;
use super::pressure::Readings;

/// Share of its target that a Pod carries when the pool has the size that its load asks for. The rest is for what comes
/// before the next Pod does.
const FULL: f64 = 0.9;
/// Hot Pods ask for at most so many times what the load of the whole pool does. Users stay where they are when a gateway
/// comes, so a hot Pod would make the pool double again and again.
const HOT_FACTOR: f64 = 1.5;
/// Most Pods that anything can ask for: the bound of the status.
const MOST: f64 = 100_000.0;

/// What is asked for, in Pods and parts of Pods.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Demand {
    /// Sum of the pressures of all Pods.
    pub(super) sum: f64,
    /// By the sum, if no Pod carries more than 90 %.
    pub(super) load: f64,
    /// So that those of the 95th percentile carry no more than they should.
    pub(super) hot: f64,
    /// By the sum when a Pod that is made now is there.
    pub(super) ahead: f64,
    /// Pressure of the 95th percentile of the Pods that serve.
    pub(super) p95: f64,
    /// What comes.
    pub(super) growth: Growth,
}

/// What asks for most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Term {
    /// The load of all Pods.
    Load,
    /// The hottest Pods.
    Hot,
    /// What comes in the next seconds.
    Ahead,
}

impl Demand {
    /// Sums up; a Pod whose pressure is not known counts `silent`.
    pub(super) fn of(readings: &Readings, silent: f64, growth: Growth) -> Self {
        let serving = readings.pods.iter().filter(|reading| reading.serves);
        let mut serving: Vec<f64> = serving.map(|reading| reading.pressure.unwrap_or(silent)).collect();
        serving.sort_by(f64::total_cmp);
        let sum = readings.sum(silent);
        let (load, p95) = (sum / FULL, percentile_95(&serving));
        Self {
            sum,
            load,
            hot: (serving.len() as f64 * p95).min(HOT_FACTOR * load),
            ahead: (sum + growth.pods()) / FULL,
            p95,
            growth,
        }
    }

    /// The largest, and which it is. Of equals the plainest.
    pub(super) fn most(&self) -> (f64, Term) {
        let mut most = (self.load, Term::Load);
        for other in [(self.hot, Term::Hot), (self.ahead, Term::Ahead)] {
            // A small excess is noise of the arithmetic.
            if other.0 > most.0 + 1e-6 {
                most = other;
            }
        }
        most
    }
}

/// By the nearest rank: of fewer than 20 the largest.
fn percentile_95(sorted: &[f64]) -> f64 {
    let rank = (sorted.len() * 95).div_ceil(100);
    rank.checked_sub(1).and_then(|at| sorted.get(at)).copied().unwrap_or(0.0)
}

/// Whole Pods for so many and a part; what is no number asks for none.
pub(super) fn pods(asked: f64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it lies within the bounds of the clamp, and what is no number becomes zero"
    )]
    let pods = (asked - 1e-6).ceil().clamp(0.0, MOST) as u32;
    pods
}

#[cfg(test)]
mod tests {
    use super::super::pressure::{Reading, Silence};
    use super::*;

    fn readings(pressures: &[f64]) -> Readings {
        let reading = |pressure: &f64| Reading {
            pod: "p".into(),
            serves: *pressure >= 0.0,
            pressure: if pressure.is_nan() { Err(Silence::Missing) } else { Ok(pressure.abs()) },
        };
        Readings { pods: pressures.iter().map(reading).collect(), too_hot: None }
    }

    fn asked(pressures: &[f64], silent: f64) -> (u32, Term) {
        let (most, term) = Demand::of(&readings(pressures), silent, Growth::default()).most();
        (pods(most), term)
    }

    #[test]
    fn a_pool_is_large_enough_when_its_pods_carry_nine_tenths() {
        for (pressures, wanted) in [
            (&[][..], 0),
            (&[0.0, 0.0][..], 0),
            (&[0.9][..], 1),
            (&[0.9, 0.9, 0.9][..], 3),
            (&[0.91, 0.9, 0.9][..], 4),
            (&[0.3, 0.3, 0.3][..], 1),
            (&[1.8][..], 2),
        ] {
            assert_eq!(asked(pressures, 0.0), (wanted, Term::Load), "{pressures:?}");
        }
    }

    #[test]
    fn the_load_of_a_draining_pod_counts_and_its_capacity_does_not() {
        // Negative here: it does not serve. Three Pods serve; were the fourth capacity, the hot term would ask for more.
        assert_eq!(asked(&[0.6, 0.6, 0.6, -0.6], 0.0), (3, Term::Load));
        assert_eq!(asked(&[0.6, 0.6, 0.6, -2.0], 0.0), (5, Term::Load));
    }

    #[test]
    fn a_hot_pod_asks_for_more_although_the_mean_is_low() {
        assert_eq!(asked(&[1.6, 0.4, 0.4, 0.4, 0.4], 0.0), (6, Term::Hot));
        assert_eq!(asked(&[1.0, 0.1, 0.1, 0.1, 0.1], 0.0), (3, Term::Hot), "half as much again as the load asks for");
        let mut one_of_forty = vec![0.4; 40];
        one_of_forty[7] = 3.0;
        assert_eq!(asked(&one_of_forty, 0.0).1, Term::Load, "beyond the percentile");
    }

    #[test]
    fn a_silent_pod_is_full_when_deciding_down_and_empty_when_deciding_up() {
        assert_eq!(asked(&[0.9, f64::NAN, f64::NAN], 0.0).0, 1);
        let mut silent = readings(&[0.9, 0.9]);
        silent.pods.push(Reading { pod: "p".into(), serves: true, pressure: Err(Silence::Missing) });
        assert_eq!(pods(Demand::of(&silent, 0.0, Growth::default()).most().0), 3, "the two that speak are hot");
        assert_eq!(pods(Demand::of(&silent, 1.0, Growth::default()).most().0), 4);
    }

    #[test]
    fn what_comes_while_a_pod_starts_is_asked_for_now() {
        let growth = Growth { per_s: 0.1, start_ms: 20_000 };
        let demand = Demand::of(&readings(&[0.7]), 0.0, growth);
        assert_eq!((pods(demand.most().0), demand.most().1), (3, Term::Ahead));
    }

    #[test]
    fn the_percentile_is_that_of_the_nearest_rank() {
        let pods = |count: u32| (1..=count).map(f64::from).collect::<Vec<f64>>();
        for (count, is) in [(0, 0.0), (1, 1.0), (2, 2.0), (19, 19.0), (20, 19.0), (21, 20.0), (100, 95.0)] {
            assert!((percentile_95(&pods(count)) - is).abs() < 1e-9, "{count}");
        }
    }

    #[test]
    fn parts_of_pods_are_rounded_up_within_bounds() {
        for (asked, is) in [
            (0.0, 0),
            (-3.0, 0),
            (0.2, 1),
            (1.0, 1),
            (3.6 / 0.9, 4),
            (4.001, 5),
            (1e300, 100_000),
            (f64::NAN, 0),
            (f64::INFINITY, 100_000),
        ] {
            assert_eq!(pods(asked), is, "{asked}");
        }
    }
}
