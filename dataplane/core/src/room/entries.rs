//! Who came and went, gathered into at most one event a second.

use crate::{Millis, RoomId, UserId};

/// Least time between two events of a room.
pub const EVENT_EVERY_MS: u64 = 1000;
/// Most names of each kind in one event; the rest is counted.
pub const MAX_NAMES: usize = 20;
/// In a larger room nobody is named: names would change faster than anyone reads.
pub const NAMED_UP_TO_MEMBERS: u64 = 1000;

/// What members see of the coming and going.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomEvent {
    /// The room.
    pub room: RoomId,
    /// Members now.
    pub members: u64,
    /// The count may still grow: not every gateway has been heard.
    pub provisional: bool,
    /// Some who joined.
    pub joined: Vec<UserId>,
    /// How many more joined.
    pub joined_others: u64,
    /// Some who left.
    pub left: Vec<UserId>,
    /// How many more left.
    pub left_others: u64,
}

/// Gathers entries between two events. Lost on a restart: the next event has the count in any case.
#[derive(Debug, Default)]
pub struct Entries {
    joined: Side,
    left: Side,
    changed: bool,
    not_before: Millis,
}

#[derive(Debug, Default)]
struct Side {
    names: Vec<UserId>,
    total: u64,
}

impl Side {
    fn add(&mut self, user: &UserId, members: u64) {
        self.total += 1;
        if members <= NAMED_UP_TO_MEMBERS && self.names.len() < MAX_NAMES {
            self.names.push(user.clone());
        }
    }

    /// Takes a name back; false if it is not among those named.
    fn cancel(&mut self, user: &UserId) -> bool {
        let Some(place) = self.names.iter().position(|name| name == user) else { return false };
        self.names.remove(place);
        self.total -= 1;
        true
    }

    fn flush(&mut self, members: u64) -> (Vec<UserId>, u64) {
        let mut names = std::mem::take(&mut self.names);
        if members > NAMED_UP_TO_MEMBERS {
            names.clear();
        }
        let others = self.total - names.len() as u64;
        self.total = 0;
        (names, others)
    }
}

impl Entries {
    /// A user came in: the first of its sessions.
    pub fn joined(&mut self, user: &UserId, members: u64) {
        self.changed = true;
        if !self.left.cancel(user) {
            self.joined.add(user, members);
        }
    }

    /// A user is out: the last of its sessions.
    pub fn left(&mut self, user: &UserId, members: u64) {
        self.changed = true;
        if !self.joined.cancel(user) {
            self.left.add(user, members);
        }
    }

    /// Something else about the count changed: send an event.
    pub fn touch(&mut self) {
        self.changed = true;
    }

    /// When the next event is due; none: there is nothing to tell.
    #[must_use]
    pub fn due(&self) -> Option<Millis> {
        self.changed.then_some(self.not_before)
    }

    /// The event, if one is due at `now` (monotonic).
    pub fn flush(&mut self, room: &RoomId, members: u64, provisional: bool, now: Millis) -> Option<RoomEvent> {
        if self.due()? > now {
            return None;
        }
        self.changed = false;
        self.not_before = now + EVENT_EVERY_MS;
        let (joined, joined_others) = self.joined.flush(members);
        let (left, left_others) = self.left.flush(members);
        Some(RoomEvent { room: room.clone(), members, provisional, joined, joined_others, left, left_others })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(number: usize) -> UserId {
        UserId::new(&format!("u{number}")).unwrap()
    }

    fn room() -> RoomId {
        RoomId::new("final").unwrap()
    }

    #[test]
    fn there_is_at_most_one_event_a_second() {
        let mut entries = Entries::default();
        assert_eq!(entries.flush(&room(), 0, false, Millis(5)), None);
        entries.joined(&user(1), 1);
        assert!(entries.flush(&room(), 1, false, Millis(10)).is_some());
        entries.joined(&user(2), 2);
        assert_eq!(entries.due(), Some(Millis(1010)));
        assert_eq!(entries.flush(&room(), 2, false, Millis(1009)), None);
        let event = entries.flush(&room(), 2, false, Millis(1010)).unwrap();
        assert_eq!((event.members, event.joined), (2, vec![user(2)]));
    }

    #[test]
    fn twenty_are_named_and_the_rest_is_counted() {
        let mut entries = Entries::default();
        (0..50).for_each(|i| entries.joined(&user(i), i as u64 + 1));
        entries.left(&user(49), 49);
        entries.left(&user(3), 48);
        let event = entries.flush(&room(), 48, false, Millis(1)).unwrap();
        assert_eq!((event.joined.len(), event.joined_others), (19, 30));
        assert_eq!((event.left, event.left_others), (vec![user(49)], 0));
    }

    #[test]
    fn a_large_room_names_nobody() {
        let mut entries = Entries::default();
        entries.joined(&user(1), 1001);
        entries.left(&user(2), 1000);
        let event = entries.flush(&room(), 1001, false, Millis(1)).unwrap();
        assert!(event.joined.is_empty() && event.left.is_empty());
        assert_eq!((event.joined_others, event.left_others), (1, 1));
    }
}
