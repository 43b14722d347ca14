//! When something happened at a peer, on our own clock: clocks of two processes agree on nothing but how fast they go.
//!
//! Each message of a peer says when it was sent, by the peer's clock. Arrival less sending is the difference of the clocks plus
//! the time on the way; the least of the last seconds is the one that waited least (the minimum filter of NTP, RFC 5905
//! section 10). Added to a time of the peer it gives ours, late by the quickest way there is and by no queue.

use crate::Millis;

/// The least is looked for in this period and the one before. Two quartz clocks part by at most 0.2 ms in one second, so
/// by 2 ms in both.
const PERIOD_MS: u64 = 5_000;

/// What is known of one peer's clock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lag {
    least: Option<i64>,
    before: Option<i64>,
    began: Millis,
}

impl Lag {
    /// Something arrived at `now` that the peer sent at `sent`, by its own clock.
    pub(super) fn observe(&mut self, sent: Millis, now: Millis) {
        let lag = now.0.wrapping_sub(sent.0).cast_signed();
        let age_ms = now.since(self.began);
        if age_ms >= PERIOD_MS {
            self.before = self.least.take().filter(|_| age_ms < 2 * PERIOD_MS);
            self.began = now;
        }
        self.least = Some(self.least.map_or(lag, |least| least.min(lag)));
    }

    /// The time here at which it was `there` at the peer; never earlier, but for what the clocks parted since. Negative: before
    /// our clock began. None: nothing has arrived yet.
    pub(super) fn here(&self, there: Millis) -> Option<i64> {
        let least = self.least.into_iter().chain(self.before).min()?;
        Some(there.0.cast_signed().saturating_add(least))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quickest_message_of_the_last_seconds_tells_the_difference_of_the_clocks() {
        let mut lag = Lag::default();
        assert_eq!(lag.here(Millis(5)), None);
        // Our clock is 1,000 behind; the ways take 90, 3 and 40.
        for (sent, way) in [(11_000, 90), (12_000, 3), (13_000, 40)] {
            lag.observe(Millis(sent), Millis(sent - 1_000 + way));
        }
        assert_eq!(lag.here(Millis(13_000)), Some(12_003));
        assert_eq!(lag.here(Millis(900)), Some(-97), "before our clock began");
    }

    #[test]
    fn what_is_older_than_two_periods_counts_no_more() {
        let quick_then = |pause: u64| {
            let mut lag = Lag::default();
            lag.observe(Millis(100), Millis(101));
            lag.observe(Millis(100 + pause), Millis(120 + pause));
            lag.here(Millis(0)).unwrap()
        };
        assert_eq!(quick_then(PERIOD_MS), 1);
        assert_eq!(quick_then(2 * PERIOD_MS), 20);
    }
}
