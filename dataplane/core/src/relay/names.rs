//! Names of rooms as small numbers, for the many sessions that hold them.

use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::RoomId;

/// A room, while some session holds it.
pub(crate) type RoomKey = u32;

/// Names of rooms, each kept once whatever the number of sessions in it.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    keys: HashMap<RoomId, RoomKey>,
    names: HashMap<RoomKey, (RoomId, u32)>,
    next: RoomKey,
}

impl Rooms {
    /// The key of a room for a session that has `rooms`; none if it is among them.
    pub(crate) fn take(&mut self, room: &RoomId, rooms: &[RoomKey]) -> Option<RoomKey> {
        if let Some(key) = self.keys.get(room) {
            if rooms.contains(key) {
                return None;
            }
            if let Some((_, users)) = self.names.get_mut(key) {
                *users += 1;
            }
            return Some(*key);
        }
        while self.names.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let key = self.next;
        self.next = self.next.wrapping_add(1);
        self.keys.insert(room.clone(), key);
        self.names.insert(key, (room.clone(), 1));
        Some(key)
    }

    /// Takes a room from a session's list.
    pub(crate) fn drop_from(&mut self, room: &RoomId, rooms: &mut SmallVec<[RoomKey; 2]>) {
        let Some(key) = self.keys.get(room).copied() else { return };
        if let Some(index) = rooms.iter().position(|other| *other == key) {
            rooms.swap_remove(index);
            self.release(SmallVec::from_slice(&[key]));
        }
    }

    /// Gives back the rooms of a session.
    pub(crate) fn release(&mut self, rooms: SmallVec<[RoomKey; 2]>) {
        for key in rooms {
            let Some((name, users)) = self.names.get_mut(&key) else { continue };
            *users -= 1;
            if *users == 0 {
                self.keys.remove(name);
                self.names.remove(&key);
            }
        }
    }

    /// The name of a key that is in use.
    pub(crate) fn name(&self, key: RoomKey) -> Option<RoomId> {
        Some(self.names.get(&key)?.0.clone())
    }
}
