//! What a pool remembers between two looks: ten seconds a bucket, as far back as anything asks.

use super::demand::pods;
use super::is_within;
use crate::spec::PoolSpec;
use crate::status::pool::{BUCKET_MS, MAX_BUCKETS};
use crate::status::{Bucket, ScaleMemo, Utc};

/// After so long without a bucket nobody knows what was wished meanwhile: the windows begin anew.
const GAP_MS: u64 = 60_000;
/// As far back as slopes are taken.
const SLOPES_MS: u64 = 60_000;

/// Whether there was a look within the last minute.
pub(super) fn was_looked_at(memo: &ScaleMemo, now: Utc) -> bool {
    memo.buckets.last().is_some_and(|bucket| is_within(Utc(bucket.at.0 + BUCKET_MS), now, GAP_MS))
}

/// Readies the history for a look: what was written by a clock that is far ahead is no history, and after a time without a
/// look the present size counts as what was wished in it, as it does for an autoscaler that just started.
pub(super) fn open(memo: &mut ScaleMemo, now: Utc, current: u32) {
    memo.buckets.retain(|bucket| bucket.at.0.since(now.0) < GAP_MS);
    if !was_looked_at(memo, now) {
        memo.buckets.clear();
        memo.buckets.push(Bucket { low: current, high: current, ..empty(now) });
    }
}

/// Notes a recommendation, and the load if that of all Pods is known; else the one before stays.
pub(super) fn write(memo: &mut ScaleMemo, pool: &PoolSpec, now: Utc, recommended: u32, load_percent: Option<u32>) {
    let bucket = latest(memo, now, recommended);
    bucket.low = bucket.low.min(recommended);
    bucket.high = bucket.high.max(recommended);
    bucket.load_percent = load_percent.unwrap_or(bucket.load_percent);
    let keep_ms = kept_ms(pool);
    memo.buckets.retain(|bucket| is_within(Utc(bucket.at.0 + BUCKET_MS), now, keep_ms));
    memo.buckets.drain(..memo.buckets.len().saturating_sub(MAX_BUCKETS));
}

/// Notes a change of the size.
pub(super) fn note_change(memo: &mut ScaleMemo, now: Utc, before: u32, after: u32) {
    if before == after {
        return;
    }
    memo.scaled_at = Some(now);
    let bucket = latest(memo, now, after);
    bucket.added = bucket.added.saturating_add(after.saturating_sub(before)).min(MOST);
    bucket.removed = bucket.removed.saturating_add(before.saturating_sub(after)).min(MOST);
}

/// Bound of the counts of a bucket.
const MOST: u32 = 100_000;

/// A load as buckets hold it.
pub(super) fn percent(sum: f64) -> u32 {
    pods((sum * 100.0).round())
}

/// The bucket of now; the latest one if the clock went back.
fn latest(memo: &mut ScaleMemo, now: Utc, recommended: u32) -> &mut Bucket {
    let at = Bucket::start(now.0);
    let load_percent = memo.buckets.last().map_or(0, |bucket| bucket.load_percent);
    if memo.buckets.last().is_none_or(|bucket| bucket.at < at) {
        memo.buckets.push(Bucket { low: recommended, high: recommended, load_percent, ..empty(now) });
    }
    let last = memo.buckets.len() - 1;
    #[expect(clippy::indexing_slicing, reason = "there is one: it was just pushed if there was none")]
    let bucket = &mut memo.buckets[last];
    bucket
}

const fn empty(now: Utc) -> Bucket {
    Bucket { at: Bucket::start(now.0), low: 0, high: 0, load_percent: 0, added: 0, removed: 0 }
}

/// How far back the longest window and the longest period reach.
fn kept_ms(pool: &PoolSpec) -> u64 {
    let directions = [&pool.scale_up, &pool.scale_down];
    let windows = directions.iter().map(|scaling| scaling.window_ms);
    let periods = directions.iter().flat_map(|scaling| scaling.policies.iter().map(|policy| policy.period_ms));
    windows.chain(periods).fold(SLOPES_MS, u64::max)
}

#[cfg(test)]
mod tests {
    use throng_core::Millis;

    use super::super::policy::tests::pool;
    use super::*;

    fn at(now_ms: u64) -> Utc {
        Utc(Millis(now_ms))
    }

    #[test]
    fn a_bucket_holds_the_smallest_and_the_largest_wish_and_the_last_load() {
        let mut memo = ScaleMemo::default();
        for (now_ms, recommended, load) in [(10_000, 5, Some(400)), (14_000, 9, Some(800)), (19_999, 3, None)] {
            write(&mut memo, &pool(), at(now_ms), recommended, load);
        }
        let bucket = Bucket { at: at(10_000), low: 3, high: 9, load_percent: 800, added: 0, removed: 0 };
        assert_eq!(memo.buckets, [bucket]);
        write(&mut memo, &pool(), at(20_000), 4, None);
        assert_eq!(memo.buckets[1], Bucket { at: at(20_000), low: 4, high: 4, ..bucket }, "the load before stays");
    }

    #[test]
    fn what_no_window_reaches_is_forgotten_and_the_longest_history_fits() {
        let mut memo = ScaleMemo::default();
        for second in 0..2000 {
            write(&mut memo, &pool(), at(second * 1000), 2, Some(100));
        }
        assert_eq!(memo.buckets.len(), 31);
        let mut longest = pool();
        longest.scale_down.window_ms = 3_600_000;
        for second in 2000..9000 {
            write(&mut memo, &longest, at(second * 1000), 2, Some(100));
            assert!(memo.buckets.len() <= MAX_BUCKETS);
        }
        assert_eq!(memo.buckets.len(), MAX_BUCKETS);
    }

    #[test]
    fn after_a_time_without_a_look_the_size_counts_as_wished() {
        let mut memo = ScaleMemo::default();
        open(&mut memo, at(5000), 7);
        assert_eq!((memo.buckets[0].low, memo.buckets[0].high), (7, 7));
        write(&mut memo, &pool(), at(6000), 3, Some(1));
        let before = memo.clone();
        open(&mut memo, at(69_999), 7);
        assert_eq!(memo, before, "a minute after its end");
        open(&mut memo, at(70_000), 5);
        assert_eq!((memo.buckets.len(), memo.buckets[0].high), (1, 5));
    }

    #[test]
    fn a_clock_that_goes_back_writes_into_the_latest_bucket_and_one_far_ahead_is_not_believed() {
        let mut memo = ScaleMemo::default();
        write(&mut memo, &pool(), at(50_000), 4, Some(1));
        write(&mut memo, &pool(), at(35_000), 6, Some(2));
        assert_eq!((memo.buckets.len(), memo.buckets[0].high), (1, 6));
        write(&mut memo, &pool(), at(900_000_000), 90, Some(1));
        open(&mut memo, at(60_000), 4);
        assert_eq!((memo.buckets.len(), memo.buckets[0].high), (1, 4));
    }

    #[test]
    fn changes_are_counted_by_direction() {
        let mut memo = ScaleMemo::default();
        for (now_ms, before, after) in [(10_000, 2, 6), (11_000, 6, 6), (12_000, 6, 5), (13_000, 5, 9)] {
            note_change(&mut memo, at(now_ms), before, after);
        }
        assert_eq!((memo.buckets[0].added, memo.buckets[0].removed, memo.scaled_at), (8, 1, Some(at(13_000))));
    }
}
