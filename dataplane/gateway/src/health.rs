//! Whether a gateway does its work well, as a rollout asks: how late messages are, and how many commands fail.

use std::sync::atomic::{AtomicU64, Ordering};

use throng_core::gateway::{ERROR_PERCENT, P99_MS};
use throng_proto::codes::ErrorCode;

use crate::counters::{Counters, DELAYS_MS};

/// Fewer messages or commands than this tell nothing.
const TELLING: u64 = 20;
/// Errors that are the service's own fault.
const OWN_FAULTS: [ErrorCode; 3] = [ErrorCode::Unavailable, ErrorCode::NotStored, ErrorCode::Internal];

/// What was counted at an instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    delays: [u64; DELAYS_MS.len()],
    commands: u64,
    faults: u64,
}

/// How well it went between two instants. None: too little happened to tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Health {
    /// Of a hundred messages all but one were handed to their subscribers within so many milliseconds of being ordered, by
    /// the lower end of a class of [`DELAYS_MS`].
    pub p99_ms: Option<f64>,
    /// Share of commands that failed through no fault of the client, percent.
    pub error_percent: Option<f64>,
}

impl Health {
    /// As loads of a sample, by the names that the planner knows them by. What cannot be told is left out.
    pub fn loads(&self) -> impl Iterator<Item = (&'static str, f64)> + use<> {
        let known = [(P99_MS, self.p99_ms), (ERROR_PERCENT, self.error_percent)];
        known.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }
}

impl Seen {
    /// What is counted now.
    #[must_use]
    pub fn now(counters: &Counters) -> Self {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let mut seen = Self { commands: get(&counters.commands), ..Self::default() };
        for (seen, count) in seen.delays.iter_mut().zip(&counters.delays) {
            *seen = get(count);
        }
        let of_code = ErrorCode::ALL.iter().zip(&counters.errors).filter(|(code, _)| OWN_FAULTS.contains(code));
        seen.faults = of_code.map(|(_, count)| get(count)).sum();
        seen
    }

    /// How well it went since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Health {
        let mut delays = self.delays;
        for (now, before) in delays.iter_mut().zip(&before.delays) {
            *now = now.saturating_sub(*before);
        }
        let commands = self.commands.saturating_sub(before.commands);
        let faults = self.faults.saturating_sub(before.faults);
        let share = faults as f64 * 100.0 / commands.max(faults).max(1) as f64;
        Health { p99_ms: p99(&delays), error_percent: (commands >= TELLING).then_some(share) }
    }
}

fn p99(delays: &[u64; DELAYS_MS.len()]) -> Option<f64> {
    let all: u64 = delays.iter().sum();
    let mut later = all;
    let class = delays.iter().zip(DELAYS_MS).find_map(|(count, from_ms)| {
        later -= count;
        (later * 100 < all).then_some(from_ms)
    });
    class.filter(|_| all >= TELLING).map(|from_ms| from_ms as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::Counts;

    fn health(delays: &[(u64, u64)], commands: u64, errors: &[(ErrorCode, u64)]) -> Health {
        let counters = Counters::default();
        let before = Seen::now(&counters);
        let mut counts = Counts { commands, ..Counts::default() };
        for (ms, messages) in delays {
            counts.delayed(*ms, *messages);
        }
        for (code, times) in errors {
            (0..*times).for_each(|_| counts.failed(*code));
        }
        counters.add(&counts);
        Seen::now(&counters).since(&before)
    }

    #[test]
    fn what_enough_commands_and_messages_tell_are_two_loads_of_a_sample() {
        let told: Vec<_> = health(&[(1, 50)], 50, &[(ErrorCode::Internal, 1)]).loads().collect();
        assert_eq!(told.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["p99_ms", "error_percent"]);
        assert!(told.contains(&(ERROR_PERCENT, 2.0)), "{told:?}");
        assert_eq!(health(&[(1, 5)], 50, &[]).loads().collect::<Vec<_>>(), [(ERROR_PERCENT, 0.0)]);
        assert_eq!(health(&[], 5, &[]).loads().count(), 0);
    }

    #[test]
    fn one_late_message_of_a_hundred_is_not_the_99th() {
        assert_eq!(health(&[(40, 199), (900, 1)], 0, &[]).p99_ms, Some(35.0));
        assert_eq!(health(&[(40, 196), (900, 4)], 0, &[]).p99_ms, Some(800.0));
        assert_eq!(health(&[(499, 100)], 0, &[]).p99_ms, Some(450.0));
        assert_eq!(health(&[(500, 100)], 0, &[]).p99_ms, Some(500.0));
        assert_eq!(health(&[(10_000_000, 100)], 0, &[]).p99_ms, Some(60_000.0));
        assert_eq!(health(&[(900, 19)], 0, &[]).p99_ms, None, "too few to tell");
    }

    #[test]
    fn errors_are_those_that_are_not_the_clients() {
        let errors = [(ErrorCode::Unavailable, 2), (ErrorCode::Internal, 1), (ErrorCode::Limited, 50)];
        assert_eq!(health(&[], 300, &errors).error_percent, Some(1.0));
        assert_eq!(health(&[], 19, &errors).error_percent, None);
        assert_eq!(health(&[], 100, &[]).error_percent, Some(0.0));
    }
}
