//! Upstream quota of one room: how many messages may enter in each fixed window of time.
//!
//! A window holds `reserved` messages that only lanes 0-2 may use, `shared` that any lane may use, and
//! `protected_extra` that only lanes 0-1 may use. A lane takes the narrowest allowance first, so that chatter never eats
//! what was kept for others. At 200 messages a second that is 20 + 20 + 20 in 200 ms; the rule holds
//! for any rate.

use crate::{Lane, Millis};

/// Length of a window at ordinary rates.
const WINDOW_MS: u64 = 200;
/// Below so many messages a second a window lasts a whole second, or it would hold none or one.
const SLOW_BELOW_PER_S: u32 = 10;

/// Limits of one room. All counts are messages per window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaLimits {
    /// Length of a window. Zero is taken as one millisecond.
    pub window_ms: u64,
    /// For lanes 0-2 only.
    pub reserved: u32,
    /// For every lane.
    pub shared: u32,
    /// For lanes 0-1 only, on top of the rest.
    pub protected_extra: u32,
}

impl QuotaLimits {
    /// Limits that admit `messages_per_s` of lanes 2-3 together, rounded up to whole messages per window, half of it
    /// kept from lane 3, and half as much again for lanes 0-1. Zero leaves only one protected message a second.
    #[must_use]
    pub fn of_rate(messages_per_s: u32) -> Self {
        let (window_ms, total) = if messages_per_s < SLOW_BELOW_PER_S {
            (1000, messages_per_s)
        } else {
            (WINDOW_MS, messages_per_s.div_ceil(5))
        };
        let reserved = total / 2;
        Self { window_ms, reserved, shared: total - reserved, protected_extra: total.div_ceil(2).max(1) }
    }
}

impl Default for QuotaLimits {
    /// 200 messages/s of chat, and 100 more for protected senders.
    fn default() -> Self {
        Self::of_rate(200)
    }
}

/// The quota of one room, owned by the Pod that owns the room. Lost on a restart: a new owner starts a fresh window.
#[derive(Debug)]
pub struct Quota {
    limits: QuotaLimits,
    window: u64,
    used: Used,
}

/// What the current window has given out. Kept as used, not as left, so that new limits count at once.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    reserved: u32,
    shared: u32,
    protected_extra: u32,
}

impl Quota {
    /// A quota whose first window starts with the first message.
    #[must_use]
    pub fn new(limits: QuotaLimits) -> Self {
        Self { limits, window: 0, used: Used::default() }
    }

    /// Takes new limits from now on, for the window that is open too.
    pub fn set_limits(&mut self, limits: QuotaLimits) {
        if limits.window_ms != self.limits.window_ms {
            self.window = 0;
            self.used = Used::default();
        }
        self.limits = limits;
    }

    /// Asks for one message on `lane` at `now`, a monotonic time.
    ///
    /// A `now` that runs backwards is served from the current window: time may stall, it never refunds.
    ///
    /// # Errors
    /// Milliseconds until the next window opens, at least one.
    pub fn admit(&mut self, lane: Lane, now: Millis) -> Result<(), u64> {
        let window_ms = self.limits.window_ms.max(1);
        let window = now.0 / window_ms;
        if window > self.window {
            self.window = window;
            self.used = Used::default();
        }
        if self.used.take(&self.limits, lane) {
            return Ok(());
        }
        let next = (self.window + 1).saturating_mul(window_ms);
        Err(Millis(next).since(now).max(1))
    }
}

impl Used {
    /// Takes one from the narrowest allowance that `lane` may use.
    fn take(&mut self, limits: &QuotaLimits, lane: Lane) -> bool {
        let narrowest_first = [
            (lane <= Lane::Protected, &mut self.protected_extra, limits.protected_extra),
            (lane <= Lane::Normal, &mut self.reserved, limits.reserved),
            (true, &mut self.shared, limits.shared),
        ];
        for (may_use, used, limit) in narrowest_first {
            if may_use && *used < limit {
                *used += 1;
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: Millis = Millis(1000);

    fn admitted(quota: &mut Quota, lane: Lane, asked: u32, now: Millis) -> u32 {
        (0..asked).map(|_| u32::from(quota.admit(lane, now).is_ok())).sum()
    }

    #[test]
    fn low_lanes_leave_room_for_chat_and_chat_for_the_protected() {
        let mut quota = Quota::new(QuotaLimits::default());
        assert_eq!(admitted(&mut quota, Lane::Low, 100, START), 20);
        assert_eq!(admitted(&mut quota, Lane::Normal, 100, START), 20);
        assert_eq!(admitted(&mut quota, Lane::Protected, 100, START), 20);
    }

    #[test]
    fn the_refused_learn_when_the_next_window_opens_and_it_does() {
        let mut quota = Quota::new(QuotaLimits::default());
        let now = START + 50;
        assert_eq!(admitted(&mut quota, Lane::Normal, 41, now), 40);
        assert_eq!(quota.admit(Lane::Normal, now), Err(150));
        assert_eq!(quota.admit(Lane::Normal, now + 150), Ok(()));
    }

    #[test]
    fn raised_limits_count_inside_the_open_window_and_lowered_ones_too() {
        let mut quota = Quota::new(QuotaLimits::default());
        assert_eq!(admitted(&mut quota, Lane::Normal, 100, START), 40);
        quota.set_limits(QuotaLimits::of_rate(1000));
        assert_eq!(admitted(&mut quota, Lane::Normal, 1000, START), 160);
        quota.set_limits(QuotaLimits::of_rate(200));
        assert_eq!(admitted(&mut quota, Lane::Normal, 100, START), 0);
    }

    #[test]
    fn a_slow_rate_is_met_over_a_second() {
        let mut quota = Quota::new(QuotaLimits::of_rate(3));
        let per_second = |quota: &mut Quota, second: u64| {
            (0..100).map(|i| admitted(quota, Lane::Normal, 1, Millis(second * 1000 + i * 10))).sum::<u32>()
        };
        assert_eq!(per_second(&mut quota, 1), 3);
        assert_eq!(per_second(&mut quota, 2), 3);
    }

    proptest! {
        /// Whatever arrives in whatever order, no window admits more than its limits, nor a lane more than it may use.
        #[test]
        fn no_window_admits_more_than_its_limits(rate in 0u32..2000, lanes in prop::collection::vec(0u8..4, 0..400)) {
            let limits = QuotaLimits::of_rate(rate);
            let mut quota = Quota::new(limits);
            let mut accepted = [0u32; 4];
            for number in lanes {
                let lane = Lane::from_number(number).unwrap();
                if quota.admit(lane, START).is_ok() { accepted[lane.index()] += 1; }
            }
            prop_assert!(accepted[3] <= limits.shared);
            prop_assert!(accepted[2] + accepted[3] <= limits.shared + limits.reserved);
            prop_assert!(accepted.iter().sum::<u32>() <= limits.shared + limits.reserved + limits.protected_extra);
        }
    }
}
