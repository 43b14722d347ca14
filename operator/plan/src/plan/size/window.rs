//! Stabilization: of the recommendations of the last minutes the most cautious one is followed.

use super::is_within;
use crate::spec::PoolSpec;
use crate::status::pool::BUCKET_MS;
use crate::status::{Bucket, Utc};

/// Follows a recommendation as far as those of the window agree: a pool grows to the smallest one of its window for growing
/// and shrinks to the largest one of its window for shrinking. A bucket counts until its last instant has left the window.
pub(super) fn stabilized(pool: &PoolSpec, buckets: &[Bucket], now: Utc, current: u32, recommended: u32) -> u32 {
    let within = |window_ms: u64| {
        buckets.iter().filter(move |bucket| window_ms > 0 && is_within(Utc(bucket.at.0 + BUCKET_MS), now, window_ms))
    };
    if recommended > current {
        let smallest = within(pool.scale_up.window_ms).map(|bucket| bucket.low).fold(recommended, u32::min);
        current.max(smallest)
    } else {
        let largest = within(pool.scale_down.window_ms).map(|bucket| bucket.high).fold(recommended, u32::max);
        current.min(largest)
    }
}

#[cfg(test)]
mod tests {
    use throng_core::Millis;

    use super::super::policy::tests::pool;
    use super::*;

    fn bucket(at_s: u64, low: u32, high: u32) -> Bucket {
        Bucket { at: Utc(Millis(at_s * 1000)), low, high, load_percent: 0, added: 0, removed: 0 }
    }

    #[test]
    fn a_pool_grows_at_once_and_shrinks_when_the_largest_wish_of_five_minutes_is_small() {
        let buckets = [bucket(100, 4, 9), bucket(200, 2, 5), bucket(300, 2, 3)];
        for (now_s, recommended, is) in [
            (300, 12, 12),
            (300, 6, 6),
            (300, 2, 6),
            (409, 2, 6),
            (410, 2, 5),
            (509, 2, 5),
            (510, 2, 3),
            (610, 2, 2),
            (610, 6, 6),
        ] {
            assert_eq!(stabilized(&pool(), &buckets, Utc(Millis(now_s * 1000)), 6, recommended), is, "{now_s}");
        }
    }

    #[test]
    fn with_a_window_for_growing_the_smallest_wish_in_it_counts() {
        let mut pool = pool();
        pool.scale_up.window_ms = 60_000;
        let buckets = [bucket(100, 4, 9), bucket(110, 8, 12)];
        let at = |now_s: u64| stabilized(&pool, &buckets, Utc(Millis(now_s * 1000)), 3, 12);
        assert_eq!([at(119), at(169), at(170), at(179), at(180)], [4, 4, 8, 8, 12]);
    }

    #[test]
    fn without_a_window_only_the_latest_wish_counts() {
        let mut pool = pool();
        pool.scale_down.window_ms = 0;
        assert_eq!(stabilized(&pool, &[bucket(100, 9, 9)], Utc(Millis(105_000)), 9, 2), 2);
    }
}
