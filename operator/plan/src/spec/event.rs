//! When many people are expected, and how many Pods must stand ready for them.

use serde::{Deserialize, Serialize};
use throng_core::Millis;

use crate::pools::Pools;

/// One event. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its name; unique in the cluster.
    pub name: String,
    /// From here on the floor counts, so that Pods are ready at the start.
    pub ramp_at: Millis,
    /// When people are expected.
    pub starts_at: Millis,
    /// From here on the floor counts no more.
    pub ends_at: Millis,
    /// Fewest Pods of each pool while it lasts; 0: no floor.
    pub floor: Pools<u32>,
}

impl Event {
    /// Whether the floor counts at `now`.
    #[must_use]
    pub fn counts_at(&self, now: Millis) -> bool {
        self.ramp_at <= now && now < self.ends_at
    }
}

/// Fewest Pods of each pool that the events ask for at `now`: the largest floor wins.
#[must_use]
pub fn floor_at(events: &[Event], now: Millis) -> Pools<u32> {
    Pools::from_fn(|role| {
        events.iter().filter(|event| event.counts_at(now)).map(|event| *event.floor.of(role)).max().unwrap_or(0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(ramp_at: u64, ends_at: u64, gateways: u32) -> Event {
        Event {
            name: "final".into(),
            ramp_at: Millis(ramp_at),
            starts_at: Millis(ramp_at + 10),
            ends_at: Millis(ends_at),
            floor: Pools { gateway: gateways, chatroom: 2, message: 0 },
        }
    }

    #[test]
    fn a_floor_counts_from_its_ramp_until_its_end() {
        let events = [event(100, 200, 40)];
        let at = |now| floor_at(&events, Millis(now)).gateway;
        assert_eq!([at(99), at(100), at(199), at(200)], [0, 40, 40, 0]);
    }

    #[test]
    fn of_events_at_the_same_time_the_largest_floor_wins() {
        let events = [event(100, 200, 40), event(150, 300, 10)];
        let at = |now| floor_at(&events, Millis(now));
        assert_eq!(at(160), Pools { gateway: 40, chatroom: 2, message: 0 });
        assert_eq!(at(250), Pools { gateway: 10, chatroom: 2, message: 0 });
    }
}
