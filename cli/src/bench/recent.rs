//! What happened lately: rates of the last second, latency of the last ten.

use std::collections::VecDeque;

use serde::Serialize;

use super::stats::Latency;

/// Seconds over which latency is told.
const SECONDS: usize = 10;

/// Counts of one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    /// Messages that the room took.
    pub(crate) accepted: u64,
    /// Publishes answered `limited`.
    pub(crate) limited: u64,
    /// Publishes refused for another reason.
    pub(crate) refused: u64,
    /// Messages received, over all clients.
    pub(crate) delivered: u64,
    /// Messages declared as not delivered, over all clients.
    pub(crate) dropped: u64,
}

/// Counts of the last full second, latency of the last ten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Lately {
    /// A second's counts.
    #[serde(flatten)]
    pub(crate) counts: Counts,
    /// From sending to receipt, half of all deliveries at most, milliseconds; none: nothing was delivered.
    pub(crate) p50_ms: Option<f64>,
    /// The same of 99 in 100.
    pub(crate) p99_ms: Option<f64>,
}

/// The last ten seconds of latency.
#[derive(Debug, Default)]
pub(super) struct Recent(VecDeque<Latency>);

impl Recent {
    /// A second is over.
    pub(super) fn second(&mut self, counts: Counts, latency: Latency) -> Lately {
        self.0.push_back(latency);
        if self.0.len() > SECONDS {
            self.0.pop_front();
        }
        let mut all = Latency::default();
        for second in &self.0 {
            all.add(second);
        }
        let known = all.percentiles();
        Lately { counts, p50_ms: known.map(|known| known.p50), p99_ms: known.map(|known| known.p99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(us: u64) -> Latency {
        let mut latency = Latency::default();
        latency.record_us(us);
        latency
    }

    #[test]
    fn latency_is_that_of_ten_seconds_and_counts_are_those_of_one() {
        let mut recent = Recent::default();
        let counts = Counts { delivered: 7, ..Counts::default() };
        let first = recent.second(counts, second(90_000));
        assert_eq!((first.counts.delivered, first.p99_ms.map(f64::round)), (7, Some(90.0)));
        for _ in 0..9 {
            assert!(recent.second(Counts::default(), second(1_000)).p99_ms > Some(80.0));
        }
        let later = recent.second(Counts::default(), second(1_000));
        assert_eq!((later.counts, later.p99_ms.map(f64::round)), (Counts::default(), Some(1.0)));
    }

    #[test]
    fn silence_has_no_latency() {
        let mut recent = Recent::default();
        assert_eq!(recent.second(Counts::default(), Latency::default()), Lately::default());
    }
}
