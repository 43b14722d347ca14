//! What gateways and relays say: members, messages, subscriptions.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Pod;
use crate::room::members::{Change, ChangeKind, Effect, GatewayNo};
use crate::room::now::Now;
use crate::room::output::{Asker, Output, RelayNo};
use crate::room::publish::{Moved, Publish, Refusal};
use crate::room::seals::Sealed;
use crate::{Cursor, Epoch, RoomId, SessionId, Slot};

/// What a gateway says of its members of one room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomChanges {
    /// The room.
    pub room: RoomId,
    /// The list is complete: sessions of this gateway that it does not name are out.
    pub full: bool,
    /// The changes, in order.
    pub changes: Vec<Change>,
}

/// A join that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Whose.
    pub session: SessionId,
    /// Why.
    pub why: Refusal,
}

/// What became of [`RoomChanges`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomApplied {
    /// The room.
    pub room: RoomId,
    /// Its epoch.
    pub epoch: Epoch,
    /// Members now.
    pub members: u64,
    /// Joins that were refused.
    pub refused: Vec<Refused>,
    /// Some: the room is not served here, nothing was applied.
    pub moved: Option<Moved>,
}

/// What a relay says when it wants the stream of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The room.
    pub room: RoomId,
    /// Where the relay's ring ends; none: from now on. With epoch 0: everything that is kept.
    pub cursor: Option<Cursor>,
    /// Cursors of the relay's subscribers in older epochs.
    pub older: Vec<Cursor>,
    /// Ends of older epochs that they were told.
    pub told: Vec<Sealed>,
}

impl Pod {
    /// Applies a batch of a gateway. A batch that was applied before is answered again and changes nothing.
    pub fn members(
        &mut self,
        now: Now,
        gateway: GatewayNo,
        number: u64,
        rooms: Vec<RoomChanges>,
    ) -> Arc<[RoomApplied]> {
        if let Some(answer) = self.gateways.repeated(gateway, number) {
            self.stats.repeated_batches += 1;
            return answer;
        }
        let answer: Arc<[RoomApplied]> = rooms.into_iter().map(|room| self.apply_room(now, gateway, room)).collect();
        self.gateways.answered(gateway, number, answer.clone());
        answer
    }

    /// Applies what session homes say of members whose gateway is gone. A member whose gateway is linked here is left to
    /// that gateway.
    pub fn members_away(&mut self, now: Now, rooms: Vec<RoomChanges>) {
        for RoomChanges { room, mut changes, .. } in rooms {
            let known = self.rooms.get(&room);
            let at = |change: &Change| known?.members.gateway_of(&change.user, change.session);
            changes.retain(|change| !at(change).is_some_and(|gateway| self.gateways.is_alive(gateway)));
            if !changes.is_empty() {
                self.apply_room(now, GatewayNo::NOWHERE, RoomChanges { room, full: false, changes });
            }
        }
    }

    fn apply_room(&mut self, now: Now, gateway: GatewayNo, changes: RoomChanges) -> RoomApplied {
        let RoomChanges { room: id, full, changes } = changes;
        let nothing = |epoch, moved| RoomApplied { room: id.clone(), epoch, members: 0, refused: vec![], moved };
        let slot = self.slots.get(&Slot::of(id.as_str()));
        let open = slot.map(|slot| slot.epoch);
        let young = slot.is_some_and(|slot| now.mono.since(slot.opened) < self.options.lists_within_ms);
        // An empty list or a leave makes no room. Nor does who is away, but while this Pod cannot know all rooms yet: else
        // a room that was destroyed would come back with its last ghost.
        let makes_room = changes.iter().any(|change| match change.kind {
            ChangeKind::Join => true,
            ChangeKind::Away(_) => young,
            ChangeKind::Leave => false,
        });
        if (makes_room || open.is_none())
            && let Err(Refusal::Elsewhere(moved)) = self.ensure(now, &id)
        {
            return nothing(moved.epoch(), Some(moved));
        }
        let mut refused = Vec::new();
        let (mut joins, mut leaves) = (0, 0);
        let applied = self.with_room(now, &id, |room, desk| {
            let list = full.then(|| changes.iter().map(|change| change.session).collect::<hashbrown::HashSet<_>>());
            for change in changes {
                let session = change.session;
                match room.apply(gateway, &change, now) {
                    Ok(Effect::Joined { .. }) => joins += 1,
                    Ok(Effect::Left { .. }) => leaves += 1,
                    Ok(_) => {}
                    Err(why) => refused.push(Refused { session, why }),
                }
            }
            if let Some(list) = list {
                leaves += room.listed(gateway, &list, now);
            }
            (desk.slot.epoch, room.members.count())
        });
        self.stats.joins += joins;
        self.stats.leaves += leaves;
        let Some((epoch, members)) = applied else { return nothing(open.unwrap_or_default(), None) };
        RoomApplied { room: id, epoch, members, refused, moved: None }
    }

    /// Orders a message, or refuses it; the answer is an output.
    pub fn publish(&mut self, now: Now, asker: Asker, id: &RoomId, publish: &Publish) {
        self.stats.publishes += 1;
        let before = self.out.len();
        if let Err(refusal) = self.room_to_publish(now, id, publish) {
            if let Refusal::Elsewhere(moved) = &refusal {
                self.say_moved(asker, id, moved.clone());
            }
            self.out.push(Output::Published { to: asker, result: Err(refusal) });
        } else {
            self.with_room(now, id, |room, desk| room.publish(publish, asker, desk));
        }
        let new = self.out.get(before..).unwrap_or_default();
        let refused = new.iter().any(|output| matches!(output, Output::Published { result: Err(_), .. }));
        self.stats.refused += u64::from(refused);
    }

    /// A message of the server API makes its room; a user is in the room already, or this Pod has just begun to serve
    /// it and cannot know yet.
    fn room_to_publish(&mut self, now: Now, id: &RoomId, publish: &Publish) -> Result<(), Refusal> {
        let open = self.slots.get(&Slot::of(id.as_str()));
        let old = open.is_some_and(|slot| now.mono.since(slot.opened) >= self.options.lists_within_ms);
        if old && publish.session.is_some() && !self.rooms.contains_key(id) {
            return Err(Refusal::NotJoined);
        }
        self.ensure(now, id)
    }

    fn say_moved(&mut self, asker: Asker, room: &RoomId, moved: Moved) {
        let (relays, gateways) = match asker {
            Asker::Gateway(gateway, _) => (vec![], vec![gateway]),
            Asker::Relay(relay, _) => (vec![relay], vec![]),
            Asker::Server(_) | Asker::Nobody => return,
        };
        self.out.push(Output::Moved { relays, gateways, room: room.clone(), moved });
    }

    /// A relay wants the stream of a room.
    pub fn subscribe(&mut self, now: Now, relay: RelayNo, subscription: Subscription) {
        let Subscription { room: id, cursor, older, told } = subscription;
        if let Err(Refusal::Elsewhere(moved)) = self.ensure(now, &id) {
            self.out.push(Output::Moved { relays: vec![relay], gateways: vec![], room: id, moved });
            return;
        }
        self.relays.entry(relay).or_default().insert(id.clone());
        self.with_room(now, &id, |room, desk| {
            for sealed in told {
                room.learn_end(sealed.epoch, sealed.last, desk);
            }
            for cursor in older {
                room.learn_end(cursor.epoch, cursor.seq, desk);
            }
            room.subscribe(relay, cursor, desk);
        });
    }

    /// A relay wants a room's stream no longer.
    pub fn unsubscribe(&mut self, now: Now, relay: RelayNo, id: &RoomId) {
        if let Some(rooms) = self.relays.get_mut(&relay) {
            rooms.remove(id);
        }
        self.with_room(now, id, |room, _| room.unsubscribe(relay));
    }

    /// The complete list of rooms that a relay takes: what it does not take any more ends, for what it should have but
    /// has not it is asked to subscribe again.
    pub fn audit(&mut self, now: Now, relay: RelayNo, rooms: &BTreeSet<RoomId>) {
        let known = self.relays.get(&relay).cloned().unwrap_or_default();
        for id in known.difference(rooms) {
            self.unsubscribe(now, relay, id);
        }
        for id in rooms.difference(&known) {
            let moved = Moved { owner: self.moved.get(&Slot::of(id.as_str())).cloned() };
            self.out.push(Output::Moved { relays: vec![relay], gateways: vec![], room: id.clone(), moved });
        }
    }

    /// A relay's link overflowed and has room again: everything of one room after the cursor where it stopped.
    pub fn resume(&mut self, now: Now, relay: RelayNo, id: &RoomId, cursor: Cursor) {
        self.with_room(now, id, |room, desk| room.catch_up(relay, cursor, desk.out));
    }

    /// A relay's link is dead.
    pub fn relay_lost(&mut self, now: Now, relay: RelayNo) {
        for id in self.relays.remove(&relay).unwrap_or_default() {
            self.with_room(now, &id, |room, _| room.unsubscribe(relay));
        }
    }
}
