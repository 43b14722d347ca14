//! What the load will be when a Pod that is made now is ready: its slope, and how long a Pod takes to start.

use super::super::census::Seat;
use crate::status::pool::{BUCKET_MS, MAX_STARTS};
use crate::status::{Bucket, Utc};

/// A Pod takes so long where none was seen to start.
const START_MS: u64 = 30_000;
/// No Pod is awaited for longer: a slope says nothing of later.
const LONGEST_START_MS: u64 = 300_000;
/// A slope is taken since about so long ago, and since about so long. The smaller one counts, so that a jump is not taken
/// for a climb.
const SINCE_MS: [u64; 2] = [10_000, 30_000];
/// What is older by so much than it should be says nothing of now.
const LATE_MS: u64 = 2 * BUCKET_MS;

/// What comes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Growth {
    /// So much of a Pod's load more each second.
    pub(super) per_s: f64,
    /// Time that a Pod needs to start.
    pub(super) start_ms: u64,
}

impl Growth {
    /// What is added while a Pod starts, in Pods.
    pub(super) fn pods(&self) -> f64 {
        self.per_s * (self.start_ms as f64 / 1000.0)
    }
}

/// How fast the load grows, in Pods a second; zero if it falls, or if the history is too short to tell.
pub(super) fn slope_per_s(buckets: &[Bucket], now: Utc, sum: f64) -> f64 {
    let since = |ago_ms: u64| {
        let ended = |bucket: &&Bucket| {
            let age_ms = now.0.0.checked_sub(bucket.at.0.0 + BUCKET_MS);
            age_ms.is_some_and(|age_ms| (ago_ms..=ago_ms + LATE_MS).contains(&age_ms))
        };
        let bucket = buckets.iter().rev().find(ended)?;
        let seconds = now.0.since(bucket.at.0 + BUCKET_MS) as f64 / 1000.0;
        Some((sum - f64::from(bucket.load_percent) / 100.0) / seconds)
    };
    let [short, long] = SINCE_MS.map(since);
    short.zip(long).map_or(0.0, |(short, long)| short.min(long).max(0.0))
}

/// How long a Pod takes to start: of the latest the 90th percentile.
pub(super) fn start_ms(starts_ms: &[u32]) -> u64 {
    let mut starts: Vec<u64> = starts_ms.iter().map(|&start| u64::from(start)).collect();
    starts.sort_unstable();
    let rank = (starts.len() * 9).div_ceil(10);
    let start = rank.checked_sub(1).and_then(|at| starts.get(at)).copied();
    start.unwrap_or(START_MS).min(LONGEST_START_MS)
}

/// Notes how long the Pods took that serve for the first time now: their label says that they did not before.
pub(super) fn note_starts(starts_ms: &mut Vec<u32>, now: Utc, seats: &[Seat<'_>]) {
    let first = seats.iter().filter(|seat| seat.serves() && !seat.pod.serving);
    for seat in first {
        let start = now.0.since(seat.pod.created.0);
        let Some(start) = u32::try_from(start).ok().filter(|_| start <= LONGEST_START_MS) else { continue };
        // Seen again before its label was written, it is the same Pod.
        if starts_ms.last() != Some(&start) {
            starts_ms.push(start);
        }
    }
    starts_ms.drain(..starts_ms.len().saturating_sub(MAX_STARTS));
}

#[cfg(test)]
mod tests {
    use throng_core::Millis;

    use super::*;

    fn buckets(loads: &[u32]) -> Vec<Bucket> {
        let bucket = |(at, &load_percent): (usize, &u32)| Bucket {
            at: Utc(Millis(at as u64 * BUCKET_MS)),
            low: 1,
            high: 1,
            load_percent,
            added: 0,
            removed: 0,
        };
        loads.iter().enumerate().map(bucket).collect()
    }

    #[test]
    fn a_steady_climb_is_seen_and_neither_a_jump_nor_a_fall_is_taken_for_one() {
        let slope = |loads: &[u32], now_ms, sum| slope_per_s(&buckets(loads), Utc(Millis(now_ms)), sum);
        assert!((slope(&[100, 200, 300, 400], 50_000, 5.0) - 0.1).abs() < 1e-9);
        assert!(slope(&[100, 100, 100, 100], 50_000, 5.0) < 0.14, "a jump within ten seconds");
        assert!(slope(&[500, 400, 300, 200], 50_000, 1.0).abs() < 1e-9);
        assert!(slope(&[100, 500, 500, 500], 50_000, 5.0).abs() < 1e-9, "a jump that is over");
    }

    #[test]
    fn a_history_that_is_short_or_old_says_nothing() {
        let slope = |loads: &[u32], now_ms| slope_per_s(&buckets(loads), Utc(Millis(now_ms)), 9.0);
        for (loads, now_ms) in [
            (&[][..], 50_000),
            (&[100][..], 5000),
            (&[100][..], 30_000),
            (&[100, 100, 100][..], 100_000),
            (&[100; 3][..], 5000),
        ] {
            assert!(slope(loads, now_ms).abs() < 1e-9, "{loads:?} {now_ms}");
        }
    }

    #[test]
    fn of_ten_starts_the_ninth_counts() {
        assert_eq!(start_ms(&[]), START_MS);
        assert_eq!(start_ms(&[7000]), 7000);
        assert_eq!(start_ms(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 90_000]), 9);
        assert_eq!(start_ms(&[4_000_000]), LONGEST_START_MS);
    }
}
