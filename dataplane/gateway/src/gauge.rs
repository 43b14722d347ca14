//! How busy a gateway is: the CPU time of its busiest thread, as a share of the time that passed.
//!
//! A reactor is one thread, so the one that is busiest is the one that its connections wait for; an average over reactors
//! would hide it. 100 is a whole core.

use throng_core::Millis;

/// A reading covers at least so long.
const OVER_MS: u64 = 1_000;

/// Turns CPU times into a load, about once a second. In memory only.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    before: Option<(Millis, Vec<u64>)>,
}

impl Gauge {
    /// Whether it is time for another reading.
    pub(crate) fn is_due(&self, now: Millis) -> bool {
        self.before.as_ref().is_none_or(|(at, _)| now.since(*at) >= OVER_MS)
    }

    /// The load since the last reading, percent; none at the first. `cpu_us` is the CPU time of each thread since it began,
    /// microseconds, always in the same order.
    pub(crate) fn read(&mut self, now: Millis, cpu_us: Vec<u64>) -> Option<u8> {
        let (at, before) = self.before.replace((now, cpu_us))?;
        let (_, after) = self.before.as_ref()?;
        let passed_us = now.since(at).saturating_mul(1000).max(1);
        let used = after.iter().zip(&before).map(|(after, before)| after.saturating_sub(*before));
        let busiest_us = used.max()?;
        Some(u8::try_from(busiest_us.saturating_mul(100) / passed_us).unwrap_or(u8::MAX).min(100))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_thread_counts() {
        let mut gauge = Gauge::default();
        assert!(gauge.is_due(Millis(5_000)));
        assert_eq!(gauge.read(Millis(5_000), vec![900_000, 100_000]), None);
        assert!(!gauge.is_due(Millis(5_999)));
        assert!(gauge.is_due(Millis(6_000)));
        assert_eq!(gauge.read(Millis(6_000), vec![1_000_000, 850_000]), Some(75));
        assert_eq!(gauge.read(Millis(8_000), vec![1_000_000, 1_050_000]), Some(10));
    }

    #[test]
    fn a_clock_that_stands_and_a_thread_that_is_gone_are_no_trouble() {
        let mut gauge = Gauge::default();
        gauge.read(Millis(1_000), vec![500]);
        assert_eq!(gauge.read(Millis(1_000), vec![10_000_000]), Some(100));
        assert_eq!(gauge.read(Millis(2_000), vec![0]), Some(0));
        assert_eq!(gauge.read(Millis(3_000), vec![]), None);
    }
}
