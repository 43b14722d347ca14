//! When what was ordered leaves: at once in a quiet room, else with the next tick.
//!
//! The cost of fan-out is the number of socket writes, so a busy room gathers messages and sends them together. Below
//! 5 messages/s there is nothing to gather and a tick would only cost latency. The tick is 100 ms; it grows when the
//! gateways of the room run out of CPU and shrinks when they are idle: see [`super::level`]. Thresholds up and down differ,
//! so that a rate in between changes nothing.

use xxhash_rust::xxh3::xxh3_64;

use super::level::Level;
use crate::{Lane, Millis, RoomId};

const BUCKET_MS: u64 = 250;
const BUCKETS: usize = 8;
/// Messages within two seconds at which ticks begin: over 5 a second, with room for uneven arrival.
const BUSY_IN_2_S: u32 = 12;
/// Messages within half a second that are a burst: ticks begin without waiting for the longer count.
const BURST: u32 = 8;
/// Messages within two seconds at which ticks end.
const QUIET_IN_2_S: u32 = 8;
/// Lanes 0-1 wait no longer than this, however long the tick is.
const PROTECTED_WAITS_MS: u64 = 100;

/// Rhythm of one room. Lost on a restart: a new owner begins as in a quiet room.
#[derive(Debug)]
pub struct Tick {
    phase: u64,
    counts: [u32; BUCKETS],
    newest: u64,
    busy: bool,
    level: Level,
}

impl Tick {
    /// The rhythm of a room that was silent; its name decides when in a tick it is its turn.
    #[must_use]
    pub fn new(room: &RoomId) -> Self {
        Self {
            phase: xxh3_64(room.as_str().as_bytes()),
            counts: [0; BUCKETS],
            newest: 0,
            busy: false,
            level: Level::default(),
        }
    }

    /// Counts one message ordered at `now` (monotonic) and tells when it leaves, with all that waits. `load_percent` is
    /// that of the busiest gateway of the room, if it is known.
    pub fn next_flush(&mut self, now: Millis, lane: Lane, load_percent: Option<u8>) -> Millis {
        self.roll(now);
        if let Some(count) = self.counts.get_mut(bucket(self.newest)) {
            *count = count.saturating_add(1);
        }
        let in_2_s = self.in_last(BUCKETS);
        let starts = in_2_s >= BUSY_IN_2_S || self.in_last(2) >= BURST;
        self.busy = starts || (self.busy && in_2_s > QUIET_IN_2_S);
        if !self.busy {
            return now;
        }
        self.level.follow(now, load_percent);
        let tick_ms = match self.level.tick_ms() {
            long if lane.is_lossless() => long.min(PROTECTED_WAITS_MS),
            any => any,
        };
        let phase = self.phase % tick_ms;
        Millis(((now.0 + tick_ms - phase) / tick_ms) * tick_ms + phase)
    }

    /// The tick; zero: none.
    #[must_use]
    pub fn tick_ms(&self) -> u64 {
        if self.busy { self.level.tick_ms() } else { 0 }
    }

    /// Messages a second, over the last two.
    #[must_use]
    pub fn rate_per_s(&mut self, now: Millis) -> f64 {
        self.roll(now);
        f64::from(self.in_last(BUCKETS)) / 2.0
    }

    fn roll(&mut self, now: Millis) {
        let current = now.0 / BUCKET_MS;
        let passed = current.saturating_sub(self.newest);
        for old in (self.newest + 1..=current).take(BUCKETS) {
            if let Some(count) = self.counts.get_mut(bucket(old)) {
                *count = 0;
            }
        }
        if passed > BUCKETS as u64 {
            self.counts = [0; BUCKETS];
        }
        self.newest = self.newest.max(current);
    }

    fn in_last(&self, buckets: usize) -> u32 {
        let numbers = (0..buckets as u64).filter_map(|back| self.newest.checked_sub(back));
        numbers.filter_map(|number| self.counts.get(bucket(number))).sum()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "smaller than the number of buckets")]
const fn bucket(number: u64) -> usize {
    (number % BUCKETS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick() -> Tick {
        Tick::new(&RoomId::new("final").unwrap())
    }

    /// Feeds an even rate; returns the largest wait and how often ticks began or ended in the second half.
    fn feed(tick: &mut Tick, per_s: u64, from_ms: u64, for_ms: u64, load: Option<u8>) -> (u64, usize) {
        let mut waits = Vec::new();
        let mut modes = Vec::new();
        for i in 0..for_ms * per_s / 1000 {
            let now = Millis(from_ms + i * 1000 / per_s);
            let wait = tick.next_flush(now, Lane::Normal, load).since(now);
            if i > for_ms * per_s / 2000 {
                waits.push(wait);
                modes.push(tick.tick_ms());
            }
        }
        (waits.into_iter().max().unwrap_or(0), modes.windows(2).filter(|pair| pair[0] != pair[1]).count())
    }

    #[test]
    fn a_quiet_room_waits_for_nothing() {
        assert_eq!(feed(&mut tick(), 4, 0, 20_000, None), (0, 0));
        assert_eq!(feed(&mut tick(), 1, 123, 20_000, None), (0, 0));
    }

    #[test]
    fn a_busy_room_ticks_at_100_ms_without_flapping() {
        for rate in [6, 10, 20, 200, 1000] {
            let mut tick = tick();
            let (longest, changes) = feed(&mut tick, rate, 77, 20_000, None);
            assert!(longest <= 100 && changes == 0 && tick.tick_ms() == 100, "{rate}/s: {longest} ms, {changes}");
        }
    }

    #[test]
    fn a_rate_at_the_threshold_does_not_flap() {
        let mut busy = tick();
        feed(&mut busy, 20, 0, 4_000, None);
        assert_eq!(feed(&mut busy, 5, 4_000, 20_000, None).1, 0);
        assert_eq!(feed(&mut tick(), 5, 0, 20_000, None).1, 0);
    }

    #[test]
    fn a_burst_ticks_at_once_and_a_room_that_fell_silent_stops() {
        let mut tick = tick();
        for _ in 0..8 {
            tick.next_flush(Millis(10_000), Lane::Normal, None);
        }
        assert_eq!(tick.tick_ms(), 100);
        assert_eq!(tick.next_flush(Millis(15_000), Lane::Normal, None), Millis(15_000));
    }

    #[test]
    fn loaded_gateways_get_longer_ticks_and_idle_ones_shorter() {
        let mut tick = tick();
        assert!(feed(&mut tick, 100, 0, 10_000, Some(95)).0 > 250);
        assert_eq!(tick.tick_ms(), 500);
        assert_eq!(feed(&mut tick, 100, 10_000, 10_000, Some(60)).1, 0);
        feed(&mut tick, 100, 20_000, 30_000, Some(5));
        assert_eq!(tick.tick_ms(), 50);
        assert_eq!(feed(&mut tick, 100, 50_000, 10_000, Some(20)).1, 0);
    }

    #[test]
    fn protected_messages_do_not_wait_for_a_long_tick() {
        let mut tick = tick();
        feed(&mut tick, 100, 0, 10_000, Some(95));
        assert_eq!(tick.tick_ms(), 500);
        let waits = (0..500).map(|step| {
            let now = Millis(10_000 + step);
            tick.next_flush(now, Lane::Protected, Some(95)).since(now)
        });
        assert!(waits.max() <= Some(100));
    }

    #[test]
    fn rooms_take_turns_within_a_tick() {
        let turns: std::collections::BTreeSet<u64> = (0..100)
            .map(|i| {
                let mut tick = Tick::new(&RoomId::new(&format!("room-{i}")).unwrap());
                (0..12).map(|_| tick.next_flush(Millis(1_000), Lane::Normal, None).0).max().unwrap_or(0) % 100
            })
            .collect();
        assert!(turns.len() > 50);
    }
}
