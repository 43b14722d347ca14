//! The server API, as the owner of a room answers it.

use super::{Described, ListEntries, MemberPage, Pod};
use crate::room::life::{EndReason, Overrides};
use crate::room::lists::{ListChange, ListName, Role};
use crate::room::now::Now;
use crate::room::output::Asker;
use crate::room::publish::{Moved, Publish, Refusal};
use crate::room::room::Room;
use crate::{RoomId, Slot, Stamp, UserId};

/// Longest page of members or rooms.
const MAX_PAGE: usize = 1000;

impl Pod {
    /// Makes a room, or updates the settings of one that exists.
    pub fn create(&mut self, now: Now, id: &RoomId, settings: Overrides) -> Result<Described, Refusal> {
        self.ensure(now, id)?;
        self.update(now, id, settings)
    }

    /// Changes settings of a room, in force at once.
    pub fn update(&mut self, now: Now, id: &RoomId, settings: Overrides) -> Result<Described, Refusal> {
        self.in_room(id)?;
        self.with_room(now, id, |room, desk| {
            room.update(settings, desk);
            describe(room, now)
        })
        .ok_or(Refusal::NotFound("room"))
    }

    /// Ends a room: everybody is told, everything of it is dropped.
    pub fn destroy(&mut self, now: Now, id: &RoomId, reason: EndReason) -> Result<(), Refusal> {
        self.in_room(id)?;
        self.end_room(now, id, reason);
        Ok(())
    }

    /// Describes a room.
    pub fn describe(&mut self, now: Now, id: &RoomId) -> Result<Described, Refusal> {
        self.in_room(id)?;
        self.with_room(now, id, |room, _| describe(room, now)).ok_or(Refusal::NotFound("room"))
    }

    /// A page of members, at most 1,000.
    pub fn page(&self, now: Now, id: &RoomId, after: Option<&UserId>, limit: usize) -> Result<MemberPage, Refusal> {
        self.in_room(id)?;
        let room = self.rooms.get(id).ok_or(Refusal::NotFound("room"))?;
        let limit = limit.clamp(1, MAX_PAGE);
        let mut rows = room.members.page(after, limit + 1);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|row| row.user.clone());
        let role = |user: &UserId| room.lists.role(user, now.unix).map_or("", Role::as_str);
        let rows = rows.into_iter().map(|row| (role(&row.user), row)).map(|(role, row)| (row, role)).collect();
        Ok(MemberPage { rows, next, total: room.members.count() })
    }

    /// Takes a user out of a room.
    pub fn kick(&mut self, now: Now, id: &RoomId, user: &UserId) -> Result<(), Refusal> {
        self.in_room(id)?;
        match self.with_room(now, id, |room, desk| room.remove(user, "kicked", desk)) {
            Some(true) => Ok(()),
            _ => Err(Refusal::NotFound("member")),
        }
    }

    /// Takes a message out for everybody.
    pub fn delete(&mut self, now: Now, id: &RoomId, stamp: Stamp) -> Result<(), Refusal> {
        self.in_room(id)?;
        self.with_room(now, id, |room, desk| room.delete(stamp, desk)).ok_or(Refusal::NotFound("room"))?
    }

    /// Changes a list, in force at once. Who is blocked is taken out. Makes the room: people are blocked ahead of time.
    pub fn change_list(&mut self, now: Now, id: &RoomId, change: ListChange) -> Result<(), Refusal> {
        self.ensure(now, id)?;
        self.with_room(now, id, |room, desk| room.change_list(change, desk)).ok_or(Refusal::NotFound("room"))?
    }

    /// Reads a list.
    pub fn read_list(&self, now: Now, id: &RoomId, list: ListName) -> Result<ListEntries, Refusal> {
        self.in_room(id)?;
        let room = self.rooms.get(id).ok_or(Refusal::NotFound("room"))?;
        Ok(room.lists.entries(list, now.unix).collect())
    }

    /// Says something to every room; returns to how many.
    pub fn announce(&mut self, now: Now, publish: &Publish) -> u64 {
        let ids: Vec<_> = self.rooms.keys().cloned().collect();
        for id in &ids {
            self.publish(now, Asker::Nobody, id, publish);
        }
        ids.len() as u64
    }

    /// Rooms after `after` in order of their names, at most 1,000, and where the next page starts.
    pub fn list_rooms(&mut self, now: Now, after: Option<&RoomId>, limit: usize) -> (Vec<Described>, Option<RoomId>) {
        use std::ops::Bound::{Excluded, Unbounded};
        let limit = limit.clamp(1, MAX_PAGE);
        let rest = self.rooms.range_mut::<RoomId, _>((after.map_or(Unbounded, Excluded), Unbounded));
        let rooms: Vec<_> = rest.take(limit).map(|(_, room)| describe(room, now)).collect();
        let next = rooms.last().filter(|_| rooms.len() == limit).map(|last| last.room.clone());
        (rooms, next)
    }

    fn in_room(&self, id: &RoomId) -> Result<(), Refusal> {
        let slot = Slot::of(id.as_str());
        if !self.slots.contains_key(&slot) {
            return Err(Refusal::Elsewhere(Moved { owner: self.moved.get(&slot).cloned() }));
        }
        if self.rooms.contains_key(id) { Ok(()) } else { Err(Refusal::NotFound("room")) }
    }
}

fn describe(room: &mut Room, now: Now) -> Described {
    let messages_per_s = room.rate_per_s(now);
    Described {
        room: room.id.clone(),
        epoch: room.flushed().epoch,
        last: room.last(),
        members: room.members.count(),
        provisional: room.is_provisional(),
        created: room.created,
        settings: room.settings.clone(),
        messages_per_s,
        tick_ms: room.tick.tick_ms(),
    }
}
