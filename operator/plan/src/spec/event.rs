//! When many people are expected, and how many Pods must stand ready for them.

use serde::{Deserialize, Serialize};
use throng_core::{Millis, Role};

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

/// The event that asks for most Pods of a pool at `now`, with its floor: of several that count the largest floor wins, of
/// equal ones the first of the spec.
#[must_use]
pub fn highest(events: &[Event], role: Role, now: Millis) -> Option<(&Event, u32)> {
    let floors = events.iter().filter(|event| event.counts_at(now)).map(|event| (event, *event.floor.of(role)));
    floors.filter(|(_, floor)| *floor > 0).rev().max_by_key(|(_, floor)| *floor)
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
        let at = |now| highest(&events, Role::Gateway, Millis(now)).map_or(0, |(_, floor)| floor);
        assert_eq!([at(99), at(100), at(199), at(200)], [0, 40, 40, 0]);
    }

    #[test]
    fn of_events_at_the_same_time_the_largest_floor_wins() {
        let events = [event(100, 200, 40), event(150, 300, 10)];
        let at = |role, now| highest(&events, role, Millis(now)).map(|(event, floor)| (event.starts_at.0, floor));
        assert_eq!(at(Role::Gateway, 160), Some((110, 40)));
        assert_eq!(at(Role::Gateway, 250), Some((160, 10)));
        assert_eq!(at(Role::Chatroom, 160), Some((110, 2)), "of equal floors the first");
        assert_eq!(at(Role::Message, 160), None);
    }
}
