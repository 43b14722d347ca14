//! What to do about a Lease. Pure: time is an argument, of the process's own clock.

use std::time::Duration;

use throng_core::Millis;

/// How long a Lease is valid after a renewal, for others.
pub const VALID: Duration = Duration::from_secs(15);
/// How long its holder may write after a renewal.
pub const MAY_WRITE: Duration = Duration::from_secs(10);
/// Time between two looks of who leads.
pub const EVERY: Duration = Duration::from_secs(2);
/// Time between two looks of who does not: a Lease that is given back is taken that soon.
pub const WAITING: Duration = Duration::from_millis(500);
/// How long a released Lease says that it is valid, for those who only read that.
pub const RELEASED: Duration = Duration::from_secs(1);

/// A Lease as it stands in the API server. What changes with every renewal is its version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Who holds it; nobody if empty.
    pub holder: String,
    /// How often it changed hands.
    pub transitions: u32,
    /// How long it is valid after a renewal, in milliseconds, as its holder says.
    pub valid_ms: u64,
    /// Version of the object: another one after every write.
    pub version: String,
}

/// A Lease as this process has seen it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The record; none: there is no Lease.
    pub record: Option<Record>,
    /// Since when it has been so.
    pub since: Millis,
}

impl Sighting {
    /// The next sighting: an unchanged record keeps its time.
    #[must_use]
    pub fn next(before: Option<&Self>, record: Option<Record>, now: Millis) -> Self {
        let since = before.filter(|before| before.record == record).map_or(now, |before| before.since);
        Self { record, since }
    }
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Take it: nobody holds it, or nobody renews it. Its next number of transitions.
    Acquire {
        /// How often it has changed hands then.
        transitions: u32,
    },
    /// Renew it: it is one's own.
    Renew,
    /// Leave it to its holder.
    Yield,
}

/// Decides. An unchanged record of somebody else is free when it is older than it says, and never before [`VALID`].
#[must_use]
pub fn evaluate(seen: &Sighting, me: &str, now: Millis) -> Verdict {
    let Some(record) = &seen.record else { return Verdict::Acquire { transitions: 1 } };
    let acquire = Verdict::Acquire { transitions: record.transitions.saturating_add(1) };
    if record.holder.is_empty() {
        return acquire;
    }
    if record.holder == me {
        return Verdict::Renew;
    }
    let valid_ms = record.valid_ms.max(u64::try_from(VALID.as_millis()).unwrap_or(u64::MAX));
    if now.since(seen.since) >= valid_ms { acquire } else { Verdict::Yield }
}

/// Pause until the next look.
#[must_use]
pub const fn pause(leads: bool) -> Duration {
    if leads { EVERY } else { WAITING }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: &str = "me";

    fn seen(holder: &str, valid_ms: u64) -> Sighting {
        let record = Record { holder: holder.into(), transitions: 7, valid_ms, version: "1".into() };
        Sighting { record: Some(record), since: Millis(1000) }
    }

    #[test]
    fn every_lease_at_every_age_has_its_verdict() {
        let taken = Verdict::Acquire { transitions: 8 };
        let ages = [0, 1, 14_999, 15_000, 15_001, 29_999, 30_000, 1_000_000];
        for age in ages {
            let now = Millis(1000 + age);
            assert_eq!(evaluate(&seen("", 15_000), ME, now), taken, "released, {age}");
            assert_eq!(evaluate(&seen(ME, 15_000), ME, now), Verdict::Renew, "mine, {age}");
            let others = if age >= 15_000 { taken } else { Verdict::Yield };
            assert_eq!(evaluate(&seen("other", 15_000), ME, now), others, "another's, {age}");
            assert_eq!(evaluate(&seen("other", 0), ME, now), others, "one that says nothing of its time, {age}");
            let patient = if age >= 30_000 { taken } else { Verdict::Yield };
            assert_eq!(evaluate(&seen("other", 30_000), ME, now), patient, "one that asks for more, {age}");
            let none = Sighting { record: None, since: Millis(1000) };
            assert_eq!(evaluate(&none, ME, now), Verdict::Acquire { transitions: 1 }, "none, {age}");
        }
    }

    #[test]
    fn only_an_unchanged_lease_grows_old() {
        let first = Sighting::next(None, seen("other", 15_000).record, Millis(1000));
        let same = Sighting::next(Some(&first), first.record.clone(), Millis(9000));
        assert_eq!(same.since, Millis(1000));
        let renewed = Record { version: "2".into(), ..first.record.clone().unwrap() };
        let renewed = Sighting::next(Some(&same), Some(renewed), Millis(15_900));
        assert_eq!(renewed.since, Millis(15_900));
        assert_eq!(evaluate(&renewed, ME, Millis(16_100)), Verdict::Yield);
        let gone = Sighting::next(Some(&renewed), None, Millis(17_000));
        assert_eq!(gone, Sighting { record: None, since: Millis(17_000) });
    }

    #[test]
    fn a_clock_that_goes_back_takes_no_lease() {
        assert_eq!(evaluate(&seen("other", 15_000), ME, Millis(0)), Verdict::Yield);
    }

    #[test]
    fn a_leader_stops_to_write_before_another_may_begin() {
        assert!(MAY_WRITE + EVERY < VALID);
    }

    #[test]
    fn whoever_waits_sees_a_lease_that_is_given_back_within_a_second() {
        assert!(pause(false) < Duration::from_secs(1));
        assert_eq!(pause(true), EVERY);
    }
}
