//! How fast one user may write into one room.
//!
//! The generic cell rate algorithm (ITU-T I.371): a user's whole state is one time, eight bytes, at which the next
//! message would be on schedule. Only users who wrote recently have one: a state that lies in the past says nothing.

use hashbrown::HashMap;

use crate::{Millis, UserId};

/// States above this number trigger a sweep; afterwards twice as many as were left do.
const SWEEP_AT: usize = 1024;

/// Limits of all users of a room. Lost on a restart: everybody starts anew.
#[derive(Debug)]
pub struct UserLimits {
    per_s: u32,
    /// Microseconds since the monotonic origin.
    on_schedule_at_us: HashMap<UserId, u64>,
    sweep_at: usize,
}

impl UserLimits {
    /// At most `per_s` messages a second, of which a whole second's worth may come at once. Zero: no limit.
    #[must_use]
    pub fn new(per_s: u32) -> Self {
        Self { per_s, on_schedule_at_us: HashMap::new(), sweep_at: SWEEP_AT }
    }

    /// Takes a new limit from now on.
    pub fn set_rate(&mut self, per_s: u32) {
        self.per_s = per_s;
    }

    /// Milliseconds until `user` may write; zero: now. Takes nothing, see [`Self::take`].
    #[must_use]
    pub fn wait_ms(&self, user: &UserId, now: Millis) -> u64 {
        let Some(interval_us) = self.interval_us() else { return 0 };
        let Some(&scheduled_us) = self.on_schedule_at_us.get(user) else { return 0 };
        let tolerance_us = 1_000_000u64.saturating_sub(interval_us);
        scheduled_us.saturating_sub(now.0.saturating_mul(1000)).saturating_sub(tolerance_us).div_ceil(1000)
    }

    /// Counts one message of `user`.
    pub fn take(&mut self, user: &UserId, now: Millis) {
        let Some(interval_us) = self.interval_us() else { return };
        let now_us = now.0.saturating_mul(1000);
        if self.on_schedule_at_us.len() >= self.sweep_at {
            self.on_schedule_at_us.retain(|_, scheduled_us| *scheduled_us > now_us);
            self.sweep_at = (self.on_schedule_at_us.len() * 2).max(SWEEP_AT);
        }
        if let Some(scheduled_us) = self.on_schedule_at_us.get_mut(user) {
            *scheduled_us = (*scheduled_us).max(now_us) + interval_us;
        } else {
            self.on_schedule_at_us.insert(user.clone(), now_us + interval_us);
        }
    }

    fn interval_us(&self) -> Option<u64> {
        1_000_000u64.checked_div(u64::from(self.per_s))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn user(number: usize) -> UserId {
        UserId::new(&format!("u{number}")).unwrap()
    }

    fn try_take(limits: &mut UserLimits, user: &UserId, now: Millis) -> bool {
        let free = limits.wait_ms(user, now) == 0;
        if free {
            limits.take(user, now);
        }
        free
    }

    #[test]
    fn a_second_s_worth_may_come_at_once_and_the_wait_told_is_enough() {
        let mut limits = UserLimits::new(10);
        let (ana, now) = (user(1), Millis(5_000));
        assert_eq!((0..30).filter(|_| try_take(&mut limits, &ana, now)).count(), 10);
        let wait_ms = limits.wait_ms(&ana, now);
        assert_eq!(wait_ms, 100);
        assert!(!try_take(&mut limits, &ana, now + (wait_ms - 1)));
        assert!(try_take(&mut limits, &ana, now + wait_ms));
    }

    #[test]
    fn one_user_does_not_slow_another_and_zero_means_no_limit() {
        let mut limits = UserLimits::new(1);
        assert!(try_take(&mut limits, &user(1), Millis(1)));
        assert!(!try_take(&mut limits, &user(1), Millis(1)));
        assert!(try_take(&mut limits, &user(2), Millis(1)));
        limits.set_rate(0);
        assert!((0..1000).all(|_| try_take(&mut limits, &user(1), Millis(1))));
    }

    #[test]
    fn users_who_fell_silent_are_forgotten() {
        let mut limits = UserLimits::new(10);
        for number in 0..20_000 {
            limits.take(&user(number), Millis(number as u64));
        }
        assert!(limits.on_schedule_at_us.len() <= 2 * SWEEP_AT);
    }

    proptest! {
        /// Over any stretch of time nobody gets more than the rate and one second's worth.
        #[test]
        fn nobody_gets_more_than_the_rate(rate in 1u32..50, steps in prop::collection::vec(0u64..400, 1..200)) {
            let mut limits = UserLimits::new(rate);
            let start = Millis(777);
            let mut now = start;
            let mut taken = 0u64;
            for step in steps {
                now = now + step;
                taken += u64::from(try_take(&mut limits, &user(1), now));
                prop_assert!(taken * 1000 <= u64::from(rate) * (now.since(start) + 1000) + 1000);
            }
        }
    }
}
