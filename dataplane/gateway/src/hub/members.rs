//! Who is in which room, told to the rooms' owners in batches of a short window.
//!
//! A join and a leave of the same session inside one window cancel. A batch is kept until it is applied; what a lost
//! link or another owner did not apply goes into the next batch. An owner that is new, or a link that is, gets full
//! lists, collected from the reactors: whoever asks gets them, for its claim may be newer than the routes here; and an
//! owner that has not asked soon after its slot came to it gets them unasked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use throng_core::{Millis, RoomId, SessionId, Slot};
use throng_proto::codes::ErrorCode;
use throng_proto::link::{self, gateway_to_chatroom};

use super::{Action, Address, BATCH_MS, Hub, Role};
use crate::traffic::{Failure, Member, Ticket, ToShard};

/// Most changes of one batch; the rest goes into the next.
const MAX_CHANGES: usize = 4000;

/// One change on its way.
#[derive(Clone, Debug)]
struct Change {
    member: Member,
    join: bool,
    offline_since_ms: u64,
    /// Who waits for a join.
    ticket: Option<Ticket>,
    /// A leave undoes it as if it had never been.
    fresh: bool,
}

/// Changes of a room that no batch carries yet, in order; a session has one at most.
#[derive(Debug, Default)]
struct Waiting {
    changes: Vec<Option<Change>>,
    of_session: HashMap<SessionId, usize>,
}

impl Waiting {
    fn push(&mut self, change: Change) {
        let session = change.member.session;
        let at = self.of_session.get(&session).copied();
        let Some(slot) = at.and_then(|at| self.changes.get_mut(at)) else {
            self.of_session.insert(session, self.changes.len());
            return self.changes.push(Some(change));
        };
        if slot.as_ref().is_some_and(|before| before.member.conn_epoch > change.member.conn_epoch) {
            // The end of a connection that the session has replaced by another.
            return;
        }
        let undone = slot.as_ref().is_some_and(|before| before.join && before.fresh)
            && !change.join
            && change.offline_since_ms == 0;
        *slot = if undone { None } else { Some(change) };
        if undone {
            self.of_session.remove(&session);
        }
    }

    /// Puts back what was perhaps not applied; a newer change of the session holds.
    fn put_back(&mut self, change: Change) {
        // Perhaps it was: a leave must follow it then.
        let change = Change { fresh: false, ..change };
        if !self.of_session.contains_key(&change.member.session) {
            self.push(change);
        }
    }
}

/// A batch that was sent and not answered.
type Sent = Vec<(RoomId, Vec<Change>)>;

/// An owner that has not asked for the members of its rooms so long after its slot came to it gets them unasked: its
/// question, or the answer, was lost.
const UNASKED_MS: u64 = 2000;
/// A list that was sent so short a time ago is not sent again for a doubt.
const DOUBT_MS: u64 = 1000;
/// A reactor that has not answered for so long does not: the list is begun anew.
const LISTING_MS: u64 = 2000;

/// A full list that is being collected.
#[derive(Debug)]
struct Listing {
    begun: Millis,
    left: u32,
    members: Vec<Member>,
    /// Who gets it.
    to: BTreeSet<Address>,
    /// Who asked since it was begun: they get the next one, which knows more.
    next: BTreeSet<Address>,
}

/// All changes on their way.
#[derive(Debug, Default)]
pub(super) struct Members {
    waiting: HashMap<RoomId, Waiting>,
    sent: BTreeMap<(Address, u64), Sent>,
    listings: HashMap<RoomId, Listing>,
    /// Slots with another owner than before, and when that was seen.
    new_owners: BTreeMap<Slot, Millis>,
    number: u64,
    flush_at: Option<Millis>,
}

impl Members {
    fn push(&mut self, room: RoomId, change: Change, now: Millis) {
        self.waiting.entry(room).or_default().push(change);
        self.flush_at.get_or_insert(now + BATCH_MS);
    }

    /// The link that carried some batches is gone.
    pub(super) fn put_back(&mut self, address: &Address) {
        let lost: Vec<_> = self.sent.keys().filter(|(to, _)| to == address).cloned().collect();
        for key in lost {
            for (room, changes) in self.sent.remove(&key).into_iter().flatten() {
                let waiting = self.waiting.entry(room).or_default();
                for change in changes {
                    waiting.put_back(change);
                }
            }
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}

impl Hub {
    pub(super) fn join(&mut self, room: RoomId, member: Member, ticket: Ticket, fresh: bool) {
        self.homes.joined(&member, &room, self.now);
        let change = Change { member, join: true, offline_since_ms: 0, ticket: Some(ticket), fresh };
        self.members.push(room, change, self.now);
    }

    pub(super) fn leave(&mut self, room: RoomId, member: Member) {
        self.homes.left(&member, &room, self.now);
        let change = Change { member, join: false, offline_since_ms: 0, ticket: None, fresh: false };
        self.members.push(room, change, self.now);
    }

    /// A connection is gone: its session leaves, or stays as offline until it comes back or the owner takes it out.
    pub(super) fn member_gone(&mut self, room: &RoomId, member: &Member, ended: bool) {
        let offline_since_ms = if ended { 0 } else { self.unix_ms() };
        let change = Change { member: member.clone(), join: !ended, offline_since_ms, ticket: None, fresh: false };
        self.members.push(room.clone(), change, self.now);
    }

    /// Sends what has waited for its window, to owners whose link stands.
    pub(super) fn flush_members(&mut self) {
        if self.members.flush_at.is_none_or(|at| self.now < at) {
            return;
        }
        let mut by_owner: BTreeMap<Address, Vec<RoomId>> = BTreeMap::new();
        for room in self.members.waiting.keys() {
            if let Some(owner) = self.owner_of(room).filter(|owner| self.is_up(Role::Chatroom, owner)) {
                by_owner.entry(owner).or_default().push(room.clone());
            }
        }
        for (owner, mut rooms) in by_owner {
            rooms.sort_unstable();
            for room in rooms {
                let Some(waiting) = self.members.waiting.remove(&room) else { continue };
                let changes: Vec<Change> = waiting.changes.into_iter().flatten().collect();
                for part in changes.chunks(MAX_CHANGES) {
                    self.send_batch(&owner, &room, part, false);
                }
            }
        }
        self.members.flush_at = (!self.members.waiting.is_empty()).then(|| self.now + BATCH_MS);
    }

    fn send_batch(&mut self, owner: &Address, room: &RoomId, changes: &[Change], full: bool) {
        let wire = |change: &Change| link::MemberChange {
            user: change.member.user.as_str().to_owned(),
            session: change.member.session.0,
            conn_epoch: change.member.conn_epoch,
            join: change.join,
            offline_since_ms: change.offline_since_ms,
        };
        let part =
            link::RoomChanges { room: room.as_str().to_owned(), full, changes: changes.iter().map(wire).collect() };
        // Rooms of one owner and window share a batch, as far as it is not too long.
        let last = match self.out.last_mut() {
            Some(Action::Chatroom(to, gateway_to_chatroom::Kind::Members(batch))) if to == owner => {
                let size: usize = batch.rooms.iter().map(|room| room.changes.len()).sum();
                (size + changes.len() <= MAX_CHANGES).then_some(batch)
            }
            _ => None,
        };
        let number = if let Some(batch) = last {
            batch.rooms.push(part);
            batch.number
        } else {
            self.members.number += 1;
            let number = self.members.number;
            let batch = link::MemberBatch { number, rooms: vec![part] };
            self.out.push(Action::Chatroom(Arc::clone(owner), gateway_to_chatroom::Kind::Members(batch)));
            number
        };
        let sent = self.members.sent.entry((Arc::clone(owner), number)).or_default();
        sent.push((room.clone(), changes.to_vec()));
    }

    /// An owner has applied a batch, or says of some rooms that it does not own them.
    pub(super) fn applied(&mut self, from: &Address, applied: link::MembersApplied) {
        let Some(sent) = self.members.sent.remove(&(Arc::clone(from), applied.number)) else { return };
        let mut answers: HashMap<String, link::RoomApplied> =
            applied.rooms.into_iter().map(|room| (room.room.clone(), room)).collect();
        for (room, changes) in sent {
            match answers.get_mut(room.as_str()) {
                Some(answer) if answer.moved.is_none() => self.room_applied(answer, changes),
                answer => {
                    if let Some(moved) = answer.and_then(|answer| answer.moved.take()) {
                        self.note_moved(&room, &moved);
                    }
                    let waiting = self.members.waiting.entry(room).or_default();
                    for change in changes {
                        waiting.put_back(change);
                    }
                    self.members.flush_at.get_or_insert(self.now + BATCH_MS);
                }
            }
        }
    }

    fn room_applied(&mut self, answer: &link::RoomApplied, changes: Vec<Change>) {
        let refused: HashMap<u64, &link::Refused> =
            answer.refused.iter().map(|refused| (refused.session, refused)).collect();
        for change in changes {
            let Some(ticket) = change.ticket else { continue };
            let result = match refused.get(&change.member.session.0) {
                None => Ok(answer.members),
                Some(refused) => Err(Failure::new(
                    ErrorCode::parse(&refused.code).unwrap_or(ErrorCode::Forbidden),
                    refused.message.clone(),
                )),
            };
            self.out.push(Action::Shard(ticket.shard, ToShard::Joined(ticket.number, result)));
        }
    }

    /// The owner wants to know everybody of a room here.
    pub(super) fn want_list(&mut self, from: &Address, room: &str) {
        let Ok(id) = RoomId::new(room) else { return };
        match self.rooms.get(&id) {
            Some(_) => self.list_room(&id, from),
            None => self.send_batch(from, &id, &[], true),
        }
    }

    pub(super) fn list_all_rooms_of(&mut self, owner: &Address) {
        let theirs: Vec<RoomId> =
            self.rooms.keys().filter(|room| self.owner_of(room).as_ref() == Some(owner)).cloned().collect();
        for room in theirs {
            self.list_room(&room, owner);
        }
    }

    /// A slot has another owner than before.
    pub(super) fn owner_is_new(&mut self, slot: Slot) {
        self.members.new_owners.insert(slot, self.now);
    }

    /// Tells owners that are new and did not ask.
    pub(super) fn list_unasked(&mut self) {
        let due = |seen: &Millis| *seen + UNASKED_MS <= self.now;
        if !self.members.new_owners.values().any(due) {
            return;
        }
        let slots: BTreeMap<Slot, Millis> =
            self.members.new_owners.iter().filter(|(_, seen)| due(seen)).map(|(slot, seen)| (*slot, *seen)).collect();
        self.members.new_owners.retain(|slot, _| !slots.contains_key(slot));
        let mut unasked = Vec::new();
        for (id, room) in &self.rooms {
            let Some(seen) = slots.get(&Slot::of(id.as_str())) else { continue };
            // It may have asked before this gateway saw that it is the owner.
            let asked =
                |owner: &Address| room.listed.as_ref().is_some_and(|(to, at)| to == owner && *at + UNASKED_MS >= *seen);
            unasked.extend(self.owner_of(id).filter(|owner| !asked(owner)).map(|owner| (id.clone(), owner)));
        }
        for (id, owner) in unasked {
            self.list_room(&id, &owner);
        }
    }

    /// An owner does not know somebody who is in the room here: it gets the list, unless it has just had it.
    pub(super) fn doubted(&mut self, id: &RoomId) {
        let Some(owner) = self.owner_of(id) else { return };
        let lately = |(to, at): &(Address, Millis)| *to == owner && self.now < *at + DOUBT_MS;
        if self.rooms.get(id).is_some_and(|room| !room.listed.as_ref().is_some_and(lately)) {
            self.list_room(id, &owner);
        }
    }

    fn list_room(&mut self, id: &RoomId, to: &Address) {
        let now = self.now;
        let Some(room) = self.rooms.get_mut(id) else { return };
        room.listed = Some((Arc::clone(to), now));
        let left = u32::try_from(room.shards().count()).unwrap_or(0);
        let mut to = BTreeSet::from([Arc::clone(to)]);
        if let Some(under_way) = self.members.listings.get_mut(id) {
            if now < under_way.begun + LISTING_MS {
                under_way.next.append(&mut to);
                return;
            }
            to.append(&mut under_way.to);
            to.append(&mut under_way.next);
        }
        let listing = Listing { begun: now, left, members: Vec::new(), to, next: BTreeSet::new() };
        self.members.listings.insert(id.clone(), listing);
        self.tell_room(id, |id| ToShard::ListRoom(id.clone()));
    }

    /// A reactor said who is in a room.
    pub(super) fn room_listed(&mut self, id: &RoomId, members: Vec<Member>) {
        let Some(listing) = self.members.listings.get_mut(id) else { return };
        listing.members.extend(members);
        listing.left = listing.left.saturating_sub(1);
        if listing.left > 0 {
            return;
        }
        let Some(listing) = self.members.listings.remove(id) else { return };
        let mut seen = HashSet::new();
        let changes: Vec<Change> = listing
            .members
            .into_iter()
            .filter(|member| seen.insert(member.session))
            .map(|member| Change { member, join: true, offline_since_ms: 0, ticket: None, fresh: false })
            .collect();
        for to in listing.to.iter().filter(|to| self.is_up(Role::Chatroom, to)).cloned().collect::<Vec<_>>() {
            self.send_batch(&to, id, &changes, true);
        }
        for to in listing.next {
            self.list_room(id, &to);
        }
    }

    /// Unix time now; the shell's clock starts at its origin.
    fn unix_ms(&self) -> u64 {
        self.settings.origin.unix(self.now).0
    }
}
