//! Everything the memory store keeps, and what each call does with it. Pure: the time is an argument.

use std::collections::BTreeMap;

use throng_core::{Epoch, InstanceId, Message, Millis, RoomId, SessionId, Slot};

use super::room::Room;
use crate::StoreError;
use crate::image::{MemberCursor, MemberPage, RoomImage, StoredRoom};
use crate::limits::LogLimits;
use crate::ownership::{AnySlot, Birth, Fence, GraceCreated, Mark, Raised, Renewal};
use crate::write::{Member, Tag, Write, tags};
use crate::{LogPage, LogRange};

/// Members a page.
const PAGE_MEMBERS: usize = 5_000;

/// The database.
pub(super) struct State {
    limits: LogLimits,
    grace_ms: u64,
    born: Option<Millis>,
    incarnation: u64,
    fences: BTreeMap<AnySlot, Fence>,
    /// When each grace ends.
    graces: BTreeMap<InstanceId, Millis>,
    marks: BTreeMap<InstanceId, BTreeMap<AnySlot, Epoch>>,
    /// Epoch of the last writer of each tag.
    written: BTreeMap<Tag, Epoch>,
    rooms: BTreeMap<Slot, BTreeMap<RoomId, Room>>,
    shards: BTreeMap<(RoomId, u16), BTreeMap<SessionId, Member>>,
}

impl State {
    pub(super) fn new(limits: LogLimits, grace_ms: u64) -> Self {
        Self {
            limits,
            grace_ms,
            born: None,
            incarnation: 0,
            fences: BTreeMap::new(),
            graces: BTreeMap::new(),
            marks: BTreeMap::new(),
            written: BTreeMap::new(),
            rooms: BTreeMap::new(),
            shards: BTreeMap::new(),
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.limits, self.grace_ms);
    }

    /// Applies writes under their fences; answers whether a tag had been forgotten.
    pub(super) fn write(
        &mut self,
        slot: Slot,
        epoch: Epoch,
        writes: &[Write],
        now: Millis,
    ) -> Result<bool, StoreError> {
        let tags = tags(slot, writes)?;
        for tag in &tags {
            self.admit(tag, epoch)?;
        }
        let mut emptied = false;
        for tag in tags {
            emptied |= self.written.insert(tag, epoch).is_none();
        }
        for write in writes {
            self.apply(slot, write, now);
        }
        self.trim(slot, writes);
        Ok(emptied)
    }

    fn admit(&self, tag: &Tag, epoch: Epoch) -> Result<(), StoreError> {
        match self.written.get(tag) {
            Some(later) if *later > epoch => Err(StoreError::Stale { epoch: *later }),
            _ => Ok(()),
        }
    }

    fn apply(&mut self, slot: Slot, write: &Write, now: Millis) {
        match write {
            Write::DeleteRoom { room } => {
                self.rooms.entry(slot).or_default().remove(room);
            }
            Write::SetMember { room, shard, member } => {
                self.shards.entry((room.clone(), *shard)).or_default().insert(member.session, member.clone());
            }
            Write::RemoveMember { room, shard, session } => {
                if let Some(members) = self.shards.get_mut(&(room.clone(), *shard)) {
                    members.remove(session);
                }
            }
            Write::ClearMembers { room, shard } => {
                self.shards.remove(&(room.clone(), *shard));
            }
            write if write.frees() => {
                if let Some(room) = self.rooms.entry(slot).or_default().get_mut(write.room()) {
                    room.apply(write, &self.limits, now);
                }
            }
            write => {
                let rooms = self.rooms.entry(slot).or_default();
                rooms.entry(write.room().clone()).or_default().apply(write, &self.limits, now);
            }
        }
    }

    fn trim(&mut self, slot: Slot, writes: &[Write]) {
        let mut newest: BTreeMap<&RoomId, Millis> = BTreeMap::new();
        for write in writes {
            if let Write::Append { room, message: Message { at_ms, .. }, .. } = write {
                let newest_of_room = newest.entry(room).or_default();
                *newest_of_room = (*newest_of_room).max(*at_ms);
            }
        }
        let Some(rooms) = self.rooms.get_mut(&slot) else { return };
        for (room, at_ms) in newest {
            if let Some(room) = rooms.get_mut(room) {
                room.log.trim(at_ms, &self.limits);
            }
        }
    }

    pub(super) fn rooms(&self, slot: Slot) -> Vec<StoredRoom> {
        self.rooms.get(&slot).into_iter().flatten().map(|(id, room)| room.stored(id)).collect()
    }

    fn room(&self, id: &RoomId) -> Option<&Room> {
        self.rooms.get(&Slot::of(id.as_str()))?.get(id)
    }

    pub(super) fn load(&self, room: &RoomId, tail: usize, now: Millis) -> Option<RoomImage> {
        Some(self.room(room)?.image(tail, &self.limits, now))
    }

    pub(super) fn log(&self, room: &RoomId, range: LogRange, now: Millis) -> LogPage {
        self.room(room).map(|room| room.log.page(range, &self.limits, now)).unwrap_or_default()
    }

    /// A page; the position is one more than the last session of the page before.
    pub(super) fn members(&self, room: &RoomId, from: MemberCursor) -> MemberPage {
        let Some(shard) = self.shards.get(&(room.clone(), from.shard)) else { return MemberPage::default() };
        let members: Vec<Member> =
            shard.range(SessionId(from.position)..).take(PAGE_MEMBERS).map(|(_, member)| member.clone()).collect();
        let next = members
            .last()
            .filter(|_| members.len() == PAGE_MEMBERS)
            .and_then(|last| last.session.0.checked_add(1))
            .map(|position| MemberCursor { shard: from.shard, position });
        MemberPage { members, next }
    }

    pub(super) fn raise_fence(
        &mut self,
        slot: AnySlot,
        mine: Fence,
        expected: Option<&InstanceId>,
    ) -> Result<Raised, StoreError> {
        let holder = self.fences.get(&slot);
        if let Some(holder) = holder.filter(|holder| holder.epoch > mine.epoch) {
            return Err(StoreError::Stale { epoch: holder.epoch });
        }
        let is_expected = match holder {
            Some(holder) => holder.instance == mine.instance || Some(&holder.instance) == expected,
            None => expected.is_none(),
        };
        if !is_expected {
            return Ok(Raised::Held { by: holder.cloned() });
        }
        let epoch = mine.epoch;
        let previous = self.fences.insert(slot, mine);
        if let AnySlot::Room(slot) = slot {
            self.admit(&Tag::Slot(slot), epoch)?;
            self.written.insert(Tag::Slot(slot), epoch);
        }
        Ok(Raised::Mine { previous })
    }

    pub(super) fn fence(&self, slot: AnySlot) -> Option<Fence> {
        self.fences.get(&slot).cloned()
    }

    pub(super) fn create_grace(
        &mut self,
        instance: &InstanceId,
        mine: &[(AnySlot, Epoch)],
        now: Millis,
    ) -> GraceCreated {
        let mut stale = Vec::new();
        for (slot, epoch) in mine {
            match self.fences.get(slot) {
                Some(fence) if fence.epoch > *epoch => stale.push(Mark { slot: *slot, epoch: fence.epoch }),
                _ => {
                    self.fences.insert(*slot, Fence { epoch: *epoch, instance: instance.clone() });
                }
            }
        }
        self.graces.insert(instance.clone(), now + self.grace_ms);
        GraceCreated { stale, revoked: self.marks_of(instance) }
    }

    pub(super) fn renew_grace(&mut self, instance: &InstanceId, now: Millis) -> Renewal {
        match self.graces.get_mut(instance) {
            Some(end) if *end > now => {
                *end = now + self.grace_ms;
                Renewal::Renewed { revoked: self.marks_of(instance) }
            }
            _ => {
                self.graces.remove(instance);
                Renewal::Missing
            }
        }
    }

    fn marks_of(&self, instance: &InstanceId) -> Vec<Mark> {
        let marks = self.marks.get(instance).into_iter().flatten();
        marks.map(|(slot, epoch)| Mark { slot: *slot, epoch: *epoch }).collect()
    }

    pub(super) fn grace_left_ms(&self, instance: &InstanceId, now: Millis) -> u64 {
        self.graces.get(instance).map_or(0, |end| end.since(now))
    }

    pub(super) fn revoke(&mut self, instance: InstanceId, slot: AnySlot, epoch: Epoch) {
        let mark = self.marks.entry(instance).or_default().entry(slot).or_default();
        *mark = (*mark).max(epoch);
    }

    pub(super) fn forget_instance(&mut self, instance: &InstanceId) {
        self.marks.remove(instance);
        self.graces.remove(instance);
    }

    pub(super) const fn incarnation(&self) -> u64 {
        self.incarnation
    }

    pub(super) fn raise_incarnation(&mut self, incarnation: u64) -> u64 {
        self.incarnation = self.incarnation.max(incarnation);
        self.incarnation
    }

    pub(super) fn birth(&mut self, now: Millis) -> Birth {
        Birth { age_ms: now.since(*self.born.get_or_insert(now)) }
    }
}
