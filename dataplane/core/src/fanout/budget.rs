//! How many messages of lanes 2-3 a class of subscribers gets of a tick.
//!
//! Two rules together: never more than the rate within any second, and, once a room offers more than that, an even flow
//! instead of all at the start of each second. A room below the rate is passed on whole, bursts included.

use crate::Millis;

const BUCKET_MS: u64 = 100;
/// The current bucket and ten before it cover at least one second.
const BUCKETS: usize = 11;

/// Budget of one room and rate class on one reactor. Lost on a restart: a new one starts unspent.
#[derive(Clone, Debug)]
pub struct Budget {
    per_s: u32,
    /// Thousandths of a message saved up.
    saved_milli: u64,
    at: Millis,
    offered: Window,
    spent: Window,
}

impl Budget {
    /// An unspent budget of `per_s` messages a second.
    #[must_use]
    pub fn new(per_s: u32) -> Self {
        Self { per_s, saved_milli: 0, at: Millis::ZERO, offered: Window::default(), spent: Window::default() }
    }

    /// How many of `offered` messages of lanes 2-3 pass at `now`. The `exempt` ones of the same tick (lanes 0-1) pass
    /// anyway and use the budget first. A `now` that runs backwards saves nothing up.
    pub fn take(&mut self, now: Millis, exempt: u32, offered: u32) -> u32 {
        // What the window allows on average; of what was not used before, one message is kept.
        let gained = now.since(self.at).min(1000) * u64::from(self.per_s) * 10 / BUCKETS as u64;
        self.saved_milli = self.saved_milli.min(1000) + gained;
        self.at = self.at.max(now);
        let bucket = self.at.0 / BUCKET_MS;
        self.offered.add(bucket, exempt.saturating_add(offered));
        let left = self.per_s.saturating_sub(self.spent.sum(bucket));
        let for_exempt = exempt.min(left);
        let for_rest = left - for_exempt;
        let evenly = u32::try_from(self.saved_milli / 1000).unwrap_or(u32::MAX).saturating_sub(for_exempt);
        let overloaded = self.offered.sum(bucket) > self.per_s;
        let pass = if overloaded { offered.min(for_rest).min(evenly.max(for_rest / 4)) } else { offered.min(for_rest) };
        self.spent.add(bucket, for_exempt + pass);
        self.saved_milli = self.saved_milli.saturating_sub(u64::from(for_exempt + pass) * 1000);
        pass
    }
}

/// Counts of the last second.
#[derive(Clone, Debug, Default)]
struct Window {
    counts: [u32; BUCKETS],
    newest: u64,
}

impl Window {
    fn advance(&mut self, bucket: u64) {
        let steps = bucket.saturating_sub(self.newest).min(BUCKETS as u64);
        for step in 1..=steps {
            *self.slot(self.newest + step) = 0;
        }
        if steps == BUCKETS as u64 {
            self.counts = [0; BUCKETS];
        }
        self.newest = self.newest.max(bucket);
    }

    #[expect(clippy::indexing_slicing, reason = "a remainder is inside the array")]
    #[expect(clippy::cast_possible_truncation, reason = "below eleven")]
    fn slot(&mut self, bucket: u64) -> &mut u32 {
        &mut self.counts[(bucket % BUCKETS as u64) as usize]
    }

    fn add(&mut self, bucket: u64, count: u32) {
        self.advance(bucket);
        let slot = self.slot(bucket);
        *slot = slot.saturating_add(count);
    }

    fn sum(&mut self, bucket: u64) -> u32 {
        self.advance(bucket);
        self.counts.iter().fold(0, |sum, &count| sum.saturating_add(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_room_below_the_rate_passes_whole_even_in_one_burst() {
        let mut budget = Budget::new(20);
        assert_eq!(budget.take(Millis(50_000), 0, 15), 15);
        assert_eq!(budget.take(Millis(51_200), 0, 20), 20);
    }

    #[test]
    fn an_overloaded_room_flows_evenly_once_it_has_settled() {
        let mut budget = Budget::new(20);
        let passed: Vec<u32> = (0..100).map(|tick| budget.take(Millis(10_000 + tick * 100), 0, 100)).collect();
        let settled = &passed[50..];
        assert!(settled.iter().all(|&count| count <= 4), "{passed:?}");
        let per_s = settled.iter().sum::<u32>() / 5;
        assert!((17..=20).contains(&per_s), "{per_s}/s: {passed:?}");
    }

    #[test]
    fn the_exempt_use_the_budget_first() {
        let mut budget = Budget::new(20);
        assert_eq!(budget.take(Millis(9000), 15, 5), 5);
        assert_eq!(budget.take(Millis(9010), 30, 5), 0);
    }

    proptest! {
        /// Whatever is offered when, no second carries more than the rate.
        #[test]
        fn no_second_carries_more_than_the_rate(
            ticks in prop::collection::vec((0_u64..700, 0_u32..5, 0_u32..80), 1..200),
            rate in 1_u32..60,
        ) {
            let mut budget = Budget::new(rate);
            let mut now = Millis(1_000_000);
            let mut passed: Vec<(Millis, u32)> = Vec::new();
            for (wait, exempt, offered) in ticks {
                now = now + wait;
                passed.push((now, budget.take(now, exempt, offered)));
                let last_second: u32 = passed.iter().filter(|(at, _)| now.since(*at) < 1000).map(|(_, n)| n).sum();
                prop_assert!(last_second <= rate, "{last_second} in a second at {rate}/s");
            }
        }
    }
}
