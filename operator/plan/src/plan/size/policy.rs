//! Policies: how much a pool may change within a time.

use super::is_within;
use crate::spec::pool::{Change, Policy, Scaling, Select};
use crate::status::pool::BUCKET_MS;
use crate::status::{Bucket, ScaleMemo, Utc};

/// Largest size that a pool may grow to now; never less than it has.
pub(super) fn most(scaling: &Scaling, memo: &ScaleMemo, now: Utc, current: u32) -> u32 {
    let allowed = scaling.policies.iter().map(|policy| {
        let start = at_start(policy, memo, now, current);
        match policy.change {
            Change::Pods(pods) => start.saturating_add(u64::from(pods)),
            Change::Percent(percent) => start.saturating_add((start * u64::from(percent)).div_ceil(100)),
        }
    });
    let allowed = match scaling.select {
        Select::Max => allowed.max(),
        Select::Min => allowed.min(),
        Select::Disabled => None,
    };
    narrow(allowed).unwrap_or(current).max(current)
}

/// Smallest size that a pool may shrink to now; never more than it has.
pub(super) fn least(scaling: &Scaling, memo: &ScaleMemo, now: Utc, current: u32) -> u32 {
    let allowed = scaling.policies.iter().map(|policy| {
        let start = at_start(policy, memo, now, current);
        match policy.change {
            Change::Pods(pods) => start.saturating_sub(u64::from(pods)),
            Change::Percent(percent) => start * u64::from(100u32.saturating_sub(percent)) / 100,
        }
    });
    let allowed = match scaling.select {
        Select::Max => allowed.min(),
        Select::Min => allowed.max(),
        Select::Disabled => None,
    };
    narrow(allowed).unwrap_or(current).min(current)
}

/// The size before what was added and taken away within the period of the policy.
fn at_start(policy: &Policy, memo: &ScaleMemo, now: Utc, current: u32) -> u64 {
    let within = memo.buckets.iter().filter(|bucket| is_within(changed_at(bucket, memo), now, policy.period_ms));
    let (added, removed) = within.fold((0u64, 0u64), |(added, removed), bucket| {
        (added + u64::from(bucket.added), removed + u64::from(bucket.removed))
    });
    (u64::from(current) + removed).saturating_sub(added)
}

/// When the last change of a bucket can have been: of the latest change it is known.
fn changed_at(bucket: &Bucket, memo: &ScaleMemo) -> Utc {
    let latest = memo.scaled_at.filter(|scaled| Bucket::start(scaled.0) == bucket.at);
    latest.unwrap_or(Utc(bucket.at.0 + BUCKET_MS))
}

fn narrow(pods: Option<u64>) -> Option<u32> {
    pods.map(|pods| u32::try_from(pods).unwrap_or(u32::MAX))
}

#[cfg(test)]
pub(super) mod tests {
    use throng_core::Millis;

    use super::*;
    use crate::spec::PoolSpec;
    use crate::spec::pool::Target;

    /// A pool with the defaults of an autoscaler, of 1 to 100 Pods.
    pub(in super::super) fn pool() -> PoolSpec {
        let (pods, percent) = (Change::Pods(4), Change::Percent(100));
        let policies =
            |changes: &[Change]| changes.iter().map(|&change| Policy { change, period_ms: 15_000 }).collect::<Vec<_>>();
        let scaling = |window_ms, changes: &[Change]| Scaling {
            window_ms,
            tolerance: 0.1,
            select: Select::Max,
            policies: policies(changes),
        };
        PoolSpec {
            min: 1,
            max: 100,
            targets: vec![Target { load: "connections", per_pod: 100.0 }],
            scale_up: scaling(0, &[pods, percent]),
            scale_down: scaling(300_000, &[percent]),
        }
    }

    fn scaling(select: Select, changes: &[Change]) -> Scaling {
        let policies = changes.iter().map(|&change| Policy { change, period_ms: 15_000 }).collect();
        Scaling { window_ms: 0, tolerance: 0.1, select, policies }
    }

    /// A change of so many Pods at so many milliseconds.
    fn changed(at_ms: u64, added: u32, removed: u32) -> ScaleMemo {
        let at = Utc(Millis(at_ms));
        let bucket = Bucket { at: Bucket::start(at.0), low: 1, high: 1, load_percent: 0, added, removed };
        ScaleMemo { buckets: vec![bucket], scaled_at: Some(at), ..ScaleMemo::default() }
    }

    const NOW: Utc = Utc(Millis(100_000));

    #[test]
    fn the_selected_policy_decides() {
        let both = [Change::Pods(4), Change::Percent(50)];
        let rest = ScaleMemo::default();
        for (select, current, up, down) in [
            (Select::Max, 2, 6, 0),
            (Select::Max, 20, 30, 10),
            (Select::Min, 2, 3, 1),
            (Select::Min, 20, 24, 16),
            (Select::Min, 1, 2, 0),
            (Select::Disabled, 20, 20, 20),
            (Select::Max, 0, 4, 0),
            (Select::Max, u32::MAX, u32::MAX, u32::MAX / 2),
        ] {
            let scaling = scaling(select, &both);
            assert_eq!(most(&scaling, &rest, NOW, current), up, "{select:?} {current}");
            assert_eq!(least(&scaling, &rest, NOW, current), down, "{select:?} {current}");
        }
    }

    #[test]
    fn what_changed_within_the_period_counts_and_no_longer() {
        let double = scaling(Select::Max, &[Change::Percent(100)]);
        // From 4 to 8: for 15 s no more, then 16. The instant of the latest change is known.
        for (now_ms, up) in [(100_000, 8), (114_999, 8), (115_000, 16)] {
            assert_eq!(most(&double, &changed(100_000, 4, 0), Utc(Millis(now_ms)), 8), up, "{now_ms}");
        }
        let halve = scaling(Select::Max, &[Change::Percent(50)]);
        for (now_ms, down) in [(100_000, 4), (114_999, 4), (115_000, 2)] {
            assert_eq!(least(&halve, &changed(100_000, 0, 4), Utc(Millis(now_ms)), 4), down, "{now_ms}");
        }
    }

    #[test]
    fn an_earlier_change_counts_until_the_end_of_its_bucket_has_left_the_period() {
        let double = scaling(Select::Max, &[Change::Percent(100)]);
        let mut memo = changed(102_000, 4, 0);
        memo.scaled_at = Some(Utc(Millis(95_000)));
        assert_eq!(most(&double, &memo, Utc(Millis(124_999)), 8), 8);
        assert_eq!(most(&double, &memo, Utc(Millis(125_000)), 8), 16);
    }
}
