//! How long the tick of a busy room is: longer while its gateways run out of CPU, shorter while they have time.
//!
//! The cost of a room at its gateways is the number of writes, so it falls with a longer tick, and rises with a shorter
//! one. Each threshold is set so that the load which follows from a change does not undo it, with a fifth to spare for the
//! rest of the gateway's work. A longer tick comes quickly, a shorter one only after a calm.

use crate::Millis;

/// (tick in milliseconds, gateway load in percent at which a longer one is taken, load below which a shorter one is).
const LEVELS: [(u64, u8, u8); 5] = [(50, 25, 0), (100, 70, 10), (150, 80, 38), (250, 90, 40), (500, u8::MAX, 38)];
const DEFAULT: usize = 1;

/// A longer tick is not followed by another before its effect is known: a load is told once a second, of the second before.
const LONGER_AFTER_MS: u64 = 2_000;
/// The load must have been low for so long.
const SHORTER_AFTER_MS: u64 = 5_000;

/// The tick of one room. Lost on a restart: a new owner begins with 100 ms.
#[derive(Debug)]
pub(super) struct Level {
    at: usize,
    changed_at: Millis,
    low_since: Option<Millis>,
}

impl Default for Level {
    fn default() -> Self {
        Self { at: DEFAULT, changed_at: Millis::ZERO, low_since: None }
    }
}

impl Level {
    /// The tick, milliseconds.
    pub(super) fn tick_ms(&self) -> u64 {
        self.level().0
    }

    /// Follows the load of the room's busiest gateway, at `now` (monotonic). Where no gateway tells one, the tick goes
    /// back to what it is by default.
    pub(super) fn follow(&mut self, now: Millis, load_percent: Option<u8>) {
        let (_, longer_at, shorter_at) = self.level();
        let wants_longer = load_percent.map_or(self.at < DEFAULT, |load| load >= longer_at);
        let wants_shorter = load_percent.map_or(self.at > DEFAULT, |load| load < shorter_at);
        if !wants_shorter {
            self.low_since = None;
        }
        if wants_longer && now.since(self.changed_at) >= LONGER_AFTER_MS {
            self.change((self.at + 1).min(LEVELS.len() - 1), now);
        } else if wants_shorter {
            let since = *self.low_since.get_or_insert(now);
            if now.since(since) >= SHORTER_AFTER_MS {
                self.change(self.at.saturating_sub(1), now);
            }
        }
    }

    fn change(&mut self, at: usize, now: Millis) {
        *self = Self { at, changed_at: now, low_since: None };
    }

    fn level(&self) -> (u64, u8, u8) {
        LEVELS.get(self.at).copied().unwrap_or((100, u8::MAX, 0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A gateway that uses `fixed` percent of its CPU anyway, and `writes` percent for this room at a tick of 100 ms. It
    /// tells its load once a second, of the second before. Returns the tick of each second.
    fn live(level: &mut Level, seconds: std::ops::Range<u64>, fixed: u64, writes: u64, noise: &[i64]) -> Vec<u64> {
        let mut told = None;
        let mut ticks = Vec::new();
        for second in seconds {
            let mut load_sum = 0;
            for step in 0..10 {
                level.follow(Millis(10_000 + second * 1000 + step * 100), told);
                load_sum += fixed + writes * 100 / level.tick_ms();
            }
            let place = usize::try_from(second).unwrap();
            let wobble = noise.get(place % noise.len().max(1)).copied().unwrap_or(0);
            let load = i64::try_from(load_sum / 10).unwrap() * (100 + wobble) / 100;
            told = Some(u8::try_from(load.clamp(0, 100)).unwrap());
            ticks.push(level.tick_ms());
        }
        ticks
    }

    #[test]
    fn an_overloaded_gateway_gets_longer_ticks_within_seconds_and_an_idle_one_shorter_ones_in_time() {
        let mut level = Level::default();
        let ticks = live(&mut level, 0..10, 95, 20, &[]);
        assert_eq!((ticks[2], ticks[9]), (150, 500), "{ticks:?}");
        let ticks = live(&mut level, 10..60, 2, 3, &[]);
        assert_eq!((ticks[3], ticks[49]), (500, 50), "{ticks:?}");
    }

    #[test]
    fn a_load_in_between_changes_nothing() {
        let mut level = Level::default();
        assert!(live(&mut level, 0..60, 10, 40, &[]).iter().all(|tick| *tick == 100));
    }

    #[test]
    fn without_a_load_the_tick_is_the_default_again() {
        for load in [Some(100), Some(0)] {
            let mut level = Level::default();
            (0..100).for_each(|step| level.follow(Millis(10_000 + step * 200), load));
            assert_ne!(level.tick_ms(), 100);
            (0..200).for_each(|step| level.follow(Millis(40_000 + step * 200), None));
            assert_eq!(level.tick_ms(), 100);
        }
    }

    #[test]
    fn a_short_calm_is_not_taken_for_the_end() {
        let mut level = Level::default();
        live(&mut level, 0..10, 95, 20, &[]);
        for second in 10..60_u64 {
            let load = if second % 4 == 0 { 60 } else { 5 };
            (0..10).for_each(|step| level.follow(Millis(10_000 + second * 1000 + step * 100), Some(load)));
            assert_eq!(level.tick_ms(), 500);
        }
    }

    proptest! {
        /// Whatever a gateway does beside it, and with a load that wobbles by a few percent: the tick settles and stays.
        #[test]
        fn it_does_not_flap(fixed in 0_u64..100, writes in 0_u64..400, noise in prop::collection::vec(-5_i64..=5, 1..20)) {
            let mut level = Level::default();
            live(&mut level, 0..60, fixed, writes, &noise);
            let settled = live(&mut level, 60..180, fixed, writes, &noise);
            // A wobble may carry a load over an edge that it lies at, once; it does not carry it back.
            let changes = settled.windows(2).filter(|pair| pair[0] != pair[1]).count();
            prop_assert!(changes <= 1, "{settled:?}");
        }
    }
}
