//! What homes of users are told: who is connected here, and in which rooms.
//!
//! Changes of a session inside a window become one. Nothing is kept until it is applied: a home that is new, or whose
//! link is, gets all sessions of its users, collected from the reactors.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hashbrown::HashMap;
use throng_core::routes::Routes;
use throng_core::{Millis, RoomId, SessionId, Slot};
use throng_proto::link::{self, gateway_to_message};

use super::{Action, Address, Hub, Role};
use crate::traffic::{Member, Slots, ToShard};

/// Window in which changes of sessions are gathered, after the first, which goes at once. Who is kicked or spoken to inside
/// it is not missed: each change tells its age, and homes remember what they said for longer than this.
const WINDOW_MS: u64 = 100;
/// Most changes of one batch.
const MAX_CHANGES: usize = 4000;

/// Changes on their way, and full lists being collected.
#[derive(Debug, Default)]
pub(super) struct Homes {
    changes: HashMap<SessionId, Change>,
    flush_at: Option<Millis>,
    flushed: Millis,
    /// Homes that wait for a full list, reactors that have not answered, and what came.
    listing: Option<Listing>,
    wanting: BTreeSet<Address>,
    number: u64,
}

#[derive(Debug)]
struct Change {
    told: link::SessionChange,
    /// When its hello was heard of here.
    came: Option<Millis>,
}

#[derive(Debug)]
struct Listing {
    homes: Vec<Address>,
    left: u16,
    sessions: Vec<(Member, Vec<RoomId>)>,
}

impl Homes {
    fn change(&mut self, member: &Member, now: Millis) -> &mut Change {
        self.flush_at.get_or_insert(now.max(self.flushed + WINDOW_MS));
        let change = self.changes.entry(member.session).or_insert_with(|| Change {
            told: link::SessionChange {
                user: member.user.as_str().to_owned(),
                session: member.session.0,
                online: true,
                ..link::SessionChange::default()
            },
            came: None,
        });
        change.told.conn_epoch = change.told.conn_epoch.max(member.conn_epoch);
        change
    }

    pub(super) fn online(&mut self, member: &Member, now: Millis) {
        let change = self.change(member, now);
        change.told.online = true;
        change.told.ended = false;
        change.came = Some(now);
    }

    pub(super) fn joined(&mut self, member: &Member, room: &RoomId, now: Millis) {
        let change = &mut self.change(member, now).told;
        change.left.retain(|left| left != room.as_str());
        change.joined.push(room.as_str().to_owned());
    }

    pub(super) fn left(&mut self, member: &Member, room: &RoomId, now: Millis) {
        let change = &mut self.change(member, now).told;
        change.joined.retain(|joined| joined != room.as_str());
        change.left.push(room.as_str().to_owned());
    }

    pub(super) fn gone(&mut self, member: &Member, rooms: &[RoomId], ended: bool, now: Millis) {
        let change = &mut self.change(member, now).told;
        if change.conn_epoch > member.conn_epoch {
            // The session has come back before this end of it was told.
            return;
        }
        change.online = false;
        change.ended = ended;
        if ended {
            change.left.extend(rooms.iter().map(|room| room.as_str().to_owned()));
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.flush_at.is_some()
    }
}

impl Hub {
    fn home_of(&self, user: &str) -> Option<Address> {
        self.routes.users.owner(Slot::of(user)).map(|owner| Arc::clone(&owner.address))
    }

    pub(super) fn flush_homes(&mut self) {
        if self.homes.flush_at.is_none_or(|at| self.now < at) {
            return;
        }
        self.homes.flush_at = None;
        self.homes.flushed = self.now;
        let mut by_home: BTreeMap<Address, Vec<link::SessionChange>> = BTreeMap::new();
        for (_, Change { told: mut change, came }) in std::mem::take(&mut self.homes.changes) {
            change.age_ms = change.online.then(|| self.age_ms(change.conn_epoch, came));
            // Without a home that can hear it is not kept: the next one gets a full list.
            if let Some(home) = self.home_of(&change.user).filter(|home| self.is_up(Role::Message, home)) {
                by_home.entry(home).or_default().push(change);
            }
        }
        for (home, mut changes) in by_home {
            changes.sort_unstable_by_key(|change| change.session);
            for part in changes.chunks(MAX_CHANGES) {
                self.send_sessions(&home, part.to_vec(), false);
            }
        }
    }

    fn send_sessions(&mut self, home: &Address, changes: Vec<link::SessionChange>, full: bool) {
        self.homes.number += 1;
        let batch = link::SessionBatch { number: self.homes.number, full, changes, sent_ms: self.now.0 };
        self.out.push(Action::Message(Arc::clone(home), gateway_to_message::Kind::Sessions(batch)));
    }

    /// How long a session has been connected. Its connection epoch is the Unix time of its hello, or a little more; then
    /// what counts is when this was heard of.
    fn age_ms(&self, conn_epoch: u64, came: Option<Millis>) -> u64 {
        let by_epoch = self.settings.origin.unix(self.now).since(Millis(conn_epoch));
        by_epoch.max(came.map_or(0, |came| self.now.since(came)))
    }

    /// A home's link is new.
    pub(super) fn list_all_sessions_of(&mut self, home: &Address) {
        self.homes.wanting.insert(Arc::clone(home));
        self.list_sessions();
    }

    /// Slots of users have other homes: each home that got one is told all its sessions.
    pub(super) fn homes_changed(&mut self, before: &Routes) {
        let routes = Arc::clone(&self.routes);
        for (slot, owner) in routes.users.iter() {
            if before.users.owner(slot).map(|owner| &owner.address) != Some(&owner.address) {
                self.homes.wanting.insert(Arc::clone(&owner.address));
            }
        }
        self.list_sessions();
    }

    fn list_sessions(&mut self) {
        if self.homes.listing.is_some() {
            return;
        }
        let homes: Vec<Address> =
            self.homes.wanting.iter().filter(|home| self.is_up(Role::Message, home)).cloned().collect();
        for home in &homes {
            self.homes.wanting.remove(home);
        }
        let mut slots = Slots::default();
        for (slot, owner) in self.routes.users.iter() {
            if homes.contains(&owner.address) {
                slots.insert(slot);
            }
        }
        if homes.is_empty() || slots.is_empty() {
            return;
        }
        self.homes.listing = Some(Listing { homes, left: self.settings.shards, sessions: Vec::new() });
        self.all_shards(&ToShard::ListSessions(Arc::new(slots)));
    }

    /// A reactor said which sessions it has.
    pub(super) fn sessions_listed(&mut self, sessions: Vec<(Member, Vec<RoomId>)>) {
        let Some(listing) = &mut self.homes.listing else { return };
        listing.sessions.extend(sessions);
        listing.left = listing.left.saturating_sub(1);
        if listing.left > 0 {
            return;
        }
        let Some(listing) = self.homes.listing.take() else { return };
        let mut by_home: BTreeMap<Address, Vec<link::SessionChange>> =
            listing.homes.into_iter().map(|home| (home, Vec::new())).collect();
        for (member, rooms) in listing.sessions {
            let home = self.home_of(member.user.as_str());
            let age_ms = Some(self.age_ms(member.conn_epoch, None));
            if let Some(changes) = home.and_then(|home| by_home.get_mut(&home)) {
                changes.push(link::SessionChange {
                    user: member.user.as_str().to_owned(),
                    session: member.session.0,
                    conn_epoch: member.conn_epoch,
                    online: true,
                    joined: rooms.iter().map(|room| room.as_str().to_owned()).collect(),
                    left: Vec::new(),
                    ended: false,
                    age_ms,
                });
            }
        }
        for (home, mut changes) in by_home {
            if self.is_up(Role::Message, &home) {
                changes.sort_unstable_by_key(|change| change.session);
                self.send_sessions(&home, changes, true);
            }
        }
        self.list_sessions();
    }
}
