//! What is counted while clients read.

use hdrhistogram::Histogram;
use serde::Serialize;
use throng_core::Lane;

/// Longest latency that is told apart, in microseconds.
const MAX_LATENCY_US: u64 = 120_000_000;

/// Latencies in microseconds.
#[derive(Clone, Debug)]
pub(super) struct Latency(Histogram<u64>);

/// Latencies as people read them, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Percentiles {
    /// Half of all were at most so long.
    #[serde(serialize_with = "super::report::rounded")]
    pub(crate) p50: f64,
    /// 99 of 100.
    #[serde(serialize_with = "super::report::rounded")]
    pub(crate) p99: f64,
    /// 999 of 1,000.
    #[serde(serialize_with = "super::report::rounded")]
    pub(crate) p999: f64,
    /// The longest.
    #[serde(serialize_with = "super::report::rounded")]
    pub(crate) max: f64,
}

impl Default for Latency {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, MAX_LATENCY_US, 3);
        Self(histogram.unwrap_or_else(|_| Histogram::new(3).unwrap_or_else(|_| unreachable!("3 digits are allowed"))))
    }
}

impl Latency {
    /// Counts one; longer ones than two minutes as two minutes.
    pub(super) fn record_us(&mut self, us: u64) {
        self.0.saturating_record(us);
    }

    /// Counts all of another.
    pub(super) fn add(&mut self, other: &Self) {
        // Both have the same bounds, so the sum fits.
        let _ = self.0.add(&other.0);
    }

    /// None before the first.
    pub(super) fn percentiles(&self) -> Option<Percentiles> {
        let ms = |us: u64| us as f64 / 1000.0;
        (!self.0.is_empty()).then(|| Percentiles {
            p50: ms(self.0.value_at_quantile(0.5)),
            p99: ms(self.0.value_at_quantile(0.99)),
            p999: ms(self.0.value_at_quantile(0.999)),
            max: ms(self.0.max()),
        })
    }
}

/// Sums over all connections.
#[derive(Debug, Default)]
pub(super) struct Stats {
    /// Messages received, measured or not.
    pub(super) received: u64,
    /// Messages declared as not delivered.
    pub(super) declared: u64,
    /// Measured messages received.
    pub(super) delivered: u64,
    /// Frames with segments received.
    pub(super) frames: u64,
    /// Bytes received.
    pub(super) bytes: u64,
    /// Pings answered.
    pub(super) pings: u64,
    /// Segments of rooms that the connection had not joined.
    pub(super) strangers: u64,
    /// Send stamp to receipt, by lane.
    pub(super) latency: [Latency; Lane::COUNT],
    /// When the watched connection got segments, microseconds.
    pub(super) watched_us: Vec<u64>,
    /// Most messages of lanes 2-3 that one viewer got in one second of the window.
    pub(super) burst_max: u64,
}

impl Stats {
    /// Latency over all lanes.
    pub(super) fn all_lanes(&self) -> Latency {
        let mut all = Latency::default();
        for lane in &self.latency {
            all.add(lane);
        }
        all
    }

    /// The usual time between two segments of the watched connection, in milliseconds.
    pub(super) fn tick_ms(&self) -> Option<f64> {
        let mut times: Vec<u64> =
            self.watched_us.iter().zip(self.watched_us.iter().skip(1)).map(|(a, b)| b.saturating_sub(*a)).collect();
        times.sort_unstable();
        times.get(times.len() / 2).map(|us| *us as f64 / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_in_milliseconds() {
        let mut latency = Latency::default();
        assert_eq!(latency.percentiles(), None);
        for us in 1..=1000 {
            latency.record_us(us * 1000);
        }
        let found = latency.percentiles().unwrap();
        assert!((found.p50 - 500.0).abs() < 1.0 && (found.p99 - 990.0).abs() < 1.0 && (found.max - 1000.0).abs() < 1.0);
    }

    #[test]
    fn the_tick_is_the_usual_time_between_segments() {
        let stats = Stats { watched_us: vec![0, 100_000, 200_000, 300_000, 900_000], ..Stats::default() };
        assert_eq!(stats.tick_ms(), Some(100.0));
        assert_eq!(Stats::default().tick_ms(), None);
    }
}
