//! How many slots move away at one time, so that a drain ends before its deadline.
//!
//! Few at a time disturb the least: rooms pause for a moment while they move, and their new owners warm up. A process that
//! is asked to end within half a minute cannot be that patient with thousands of slots, and what it has not handed over by
//! then is taken over the slow way.

use super::words::MAX_BATCH;

/// So long a batch of moves takes, in milliseconds: 2,048 slots in 256 batches took 25 s.
const BATCH_MS: usize = 100;
/// How many times as long a batch may take on a busy day, with the deadline still kept.
const SPARE: usize = 3;

/// Slots that move at one time: `least`, more where `slots` left and the milliseconds left ask for it, and never more than
/// a batch of claims takes. None: there is no deadline. Asked again before each batch, so that a drain that lags speeds up.
pub(super) fn moves_at_once(least: usize, slots: usize, left_ms: Option<u64>) -> usize {
    let most = MAX_BATCH.max(least);
    let Some(left_ms) = left_ms else { return least };
    let left_ms = usize::try_from(left_ms).unwrap_or(usize::MAX).max(1);
    (slots * BATCH_MS * SPARE).div_ceil(left_ms).clamp(least, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: usize = 8;

    /// How long it takes if each batch takes so long, in milliseconds.
    fn drained_in(slots: usize, within_ms: u64, batch_ms: u64) -> u64 {
        let (mut left, mut now) = (slots, 0_u64);
        while left > 0 {
            left = left.saturating_sub(moves_at_once(LEAST, left, Some(within_ms.saturating_sub(now))));
            now += batch_ms;
        }
        now
    }

    #[test]
    fn as_many_move_as_the_time_left_asks_for_and_not_one_more() {
        for slots in 0..=4096 {
            let mut before = MAX_BATCH;
            for left_ms in (0..=60_000).step_by(500) {
                let moves = moves_at_once(LEAST, slots, Some(left_ms));
                assert!((LEAST..=MAX_BATCH).contains(&moves), "{slots} in {left_ms}: {moves}");
                assert!(moves <= before, "more time asks for fewer: {slots} in {left_ms}");
                assert!(moves >= moves_at_once(LEAST, slots.saturating_sub(1), Some(left_ms)));
                let enough = |moves: usize| moves as u64 * left_ms >= (slots * BATCH_MS * SPARE) as u64;
                assert!(moves == MAX_BATCH || enough(moves), "{slots} in {left_ms}: {moves}");
                assert!(moves == LEAST || left_ms == 0 || !enough(moves - 1), "{slots} in {left_ms}: {moves}");
                before = moves;
            }
        }
    }

    #[test]
    fn without_a_deadline_or_with_a_far_one_few_move_and_after_it_as_many_as_can() {
        assert_eq!(moves_at_once(LEAST, 4096, None), 8);
        assert_eq!(moves_at_once(LEAST, 4096, Some(30 * 60_000)), 8);
        assert_eq!(moves_at_once(LEAST, 4096, Some(u64::MAX)), 8);
        assert_eq!(moves_at_once(LEAST, 1, Some(0)), 64);
        assert_eq!(moves_at_once(LEAST, 0, Some(0)), 8);
        assert_eq!(moves_at_once(100, 4096, Some(1)), 100, "whoever wants more from the start gets it");
    }

    #[test]
    fn half_of_all_slots_leave_within_half_a_minute_though_batches_take_three_times_as_long() {
        for slots in [0, 1, 100, 1365, 2048, 4096] {
            for batch_ms in [50, 100, 200, 300] {
                let took_ms = drained_in(slots, 30_000, batch_ms);
                assert!(took_ms <= 30_000, "{slots} slots, {batch_ms} ms a batch: {took_ms} ms");
            }
        }
        let calm_ms = drained_in(2048, 30_000, 100);
        assert!((10_000..20_000).contains(&calm_ms), "{calm_ms}");
    }
}
