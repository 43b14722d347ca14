//! Who is in a room: users, and for each the sessions that are in it.
//!
//! A member is a set of (session, connection epoch). A connection epoch grows with each connection of its session, so a
//! late leave of an older connection does not undo a newer join. Counts are of users. In memory only: a new owner gets
//! full lists from the gateways.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use super::index::{Index, hash_of};
use super::now::Now;
use crate::{Millis, SessionId, UserId};

/// Most sessions of one user in one room; further ones are refused.
pub const MAX_SESSIONS: usize = 64;

/// A gateway process, numbered by the Pod that speaks with it. Numbers are not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatewayNo(pub u32);

impl GatewayNo {
    /// Of members whose gateway was gone before this Pod heard of them.
    pub const NOWHERE: Self = Self(0);
}

/// What a gateway says of one of its sessions and a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Whose session.
    pub user: UserId,
    /// Which.
    pub session: SessionId,
    /// Which connection of the session.
    pub conn_epoch: u64,
    /// What happened.
    pub kind: ChangeKind,
}

/// What happened to a session in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It came in, or is in.
    Join,
    /// It is in, but its connection is gone since then (monotonic time).
    Away(Millis),
    /// It left.
    Leave,
}

/// What a change did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing new: repeated, or overtaken by a newer connection.
    None,
    /// A session came in; `first`: the user was not in the room before.
    Joined {
        /// The user's first session.
        first: bool,
    },
    /// A session left; `last`: the user is out.
    Left {
        /// The user's last session.
        last: bool,
    },
    /// The user has [`MAX_SESSIONS`] in the room already.
    Full,
}

/// When members who went offline are taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfflineRule {
    /// After so long.
    pub after_ms: u64,
    /// Or after so many missed messages ...
    pub missed: u64,
    /// ... but not before so long.
    pub missed_not_before_ms: u64,
}

/// A member who has been away for too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overdue {
    /// Who.
    pub user: UserId,
    /// Which session.
    pub session: SessionId,
    /// Where it was last.
    pub gateway: GatewayNo,
}

/// One line of the list of members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRow {
    /// Who.
    pub user: UserId,
    /// With how many sessions.
    pub sessions: usize,
    /// Since when, Unix time.
    pub joined: Millis,
}

/// Members of one room.
#[derive(Debug, Default)]
pub struct Members {
    index: Index,
    users: Vec<Option<User>>,
    free: Vec<u32>,
    /// Sessions by gateway, sorted by gateway.
    by_gateway: SmallVec<[(GatewayNo, u32); 4]>,
    away: BTreeMap<(Millis, SessionId), Away>,
}

#[derive(Debug)]
struct User {
    id: UserId,
    joined: Millis,
    sessions: SmallVec<[Presence; 1]>,
}

#[derive(Clone, Copy, Debug)]
struct Presence {
    session: SessionId,
    conn_epoch: u64,
    /// [`HERE`] or since when away.
    away_since: Millis,
    gateway: GatewayNo,
}

const HERE: Millis = Millis(u64::MAX);

#[derive(Debug)]
struct Away {
    user: UserId,
    ordered_then: u64,
}

impl Members {
    /// How many users are in.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.index.len() as u64
    }

    /// Gateways that have members, with their number of sessions.
    #[must_use]
    pub fn gateways(&self) -> &[(GatewayNo, u32)] {
        &self.by_gateway
    }

    /// How many sessions a gateway has in the room.
    #[must_use]
    pub fn sessions_of(&self, gateway: GatewayNo) -> u32 {
        let found = self.by_gateway.binary_search_by_key(&gateway, |(gateway, _)| *gateway);
        found.ok().and_then(|at| self.by_gateway.get(at)).map_or(0, |(_, sessions)| *sessions)
    }

    /// Whether a session of the user is in.
    #[must_use]
    pub fn has(&self, user: &UserId, session: SessionId) -> bool {
        self.user(user).is_some_and(|user| user.sessions.iter().any(|presence| presence.session == session))
    }

    /// Which gateway a session of the user is at, if it is in.
    #[must_use]
    pub fn gateway_of(&self, user: &UserId, session: SessionId) -> Option<GatewayNo> {
        let mut sessions = self.user(user)?.sessions.iter();
        sessions.find(|presence| presence.session == session).map(|presence| presence.gateway)
    }

    /// Applies what a gateway says. `ordered` is the number of messages that the room has ordered so far.
    pub fn apply(&mut self, gateway: GatewayNo, change: &Change, now: Now, ordered: u64) -> Effect {
        let &Change { ref user, session, conn_epoch, kind } = change;
        let presence = |away_since| Presence { session, conn_epoch, away_since, gateway };
        match kind {
            ChangeKind::Join => self.put(user, presence(HERE), now, ordered),
            ChangeKind::Away(since) => self.put(user, presence(since.min(now.mono)), now, ordered),
            ChangeKind::Leave => self.leave(user, session, conn_epoch),
        }
    }

    fn put(&mut self, id: &UserId, new: Presence, now: Now, ordered: u64) -> Effect {
        let hash = hash_of(id);
        let Some(place) = self.place(id, hash) else {
            self.note_away(id, new, ordered);
            self.count_session(new.gateway, 1);
            let user = User { id: id.clone(), joined: now.unix, sessions: SmallVec::from_buf([new]) };
            let place = self.store(user);
            self.index.insert(id, hash, place, |place| name(&self.users, place));
            return Effect::Joined { first: true };
        };
        let Some(Some(user)) = self.users.get_mut(place as usize) else { return Effect::None };
        let Some(old) = user.sessions.iter_mut().find(|presence| presence.session == new.session) else {
            if user.sessions.len() >= MAX_SESSIONS {
                return Effect::Full;
            }
            user.sessions.push(new);
            self.note_away(id, new, ordered);
            self.count_session(new.gateway, 1);
            return Effect::Joined { first: false };
        };
        // A connection belongs to one gateway; a session home that reports it away does not know to which.
        let new = if new.gateway == GatewayNo::NOWHERE { Presence { gateway: old.gateway, ..new } } else { new };
        let newer = new.conn_epoch > old.conn_epoch;
        let same =
            new.conn_epoch == old.conn_epoch && (new.gateway == old.gateway || old.gateway == GatewayNo::NOWHERE);
        if !newer && !same {
            return Effect::None;
        }
        let before = std::mem::replace(old, new);
        self.away.remove(&(before.away_since, before.session));
        self.note_away(id, new, ordered);
        if before.gateway != new.gateway {
            self.count_session(before.gateway, -1);
            self.count_session(new.gateway, 1);
        }
        Effect::None
    }

    fn note_away(&mut self, user: &UserId, presence: Presence, ordered_then: u64) {
        if presence.away_since != HERE {
            self.away.insert((presence.away_since, presence.session), Away { user: user.clone(), ordered_then });
        }
    }

    fn leave(&mut self, id: &UserId, session: SessionId, conn_epoch: u64) -> Effect {
        self.drop_session(id, |presence| presence.session == session && presence.conn_epoch <= conn_epoch)
    }

    /// Takes a session out, whatever its connection.
    pub fn remove_session(&mut self, id: &UserId, session: SessionId) -> Effect {
        self.drop_session(id, |presence| presence.session == session)
    }

    fn drop_session(&mut self, id: &UserId, which: impl Fn(&Presence) -> bool) -> Effect {
        let hash = hash_of(id);
        let Some(place) = self.place(id, hash) else { return Effect::None };
        let Some(Some(user)) = self.users.get_mut(place as usize) else { return Effect::None };
        let Some(at) = user.sessions.iter().position(which) else { return Effect::None };
        let gone = user.sessions.swap_remove(at);
        let last = user.sessions.is_empty();
        self.away.remove(&(gone.away_since, gone.session));
        self.count_session(gone.gateway, -1);
        if last {
            self.forget(hash, place);
        }
        Effect::Left { last }
    }

    /// Takes a user out; returns the gateways where it had sessions, empty if it was not in.
    pub fn remove_user(&mut self, id: &UserId) -> Vec<GatewayNo> {
        let hash = hash_of(id);
        let Some(place) = self.place(id, hash) else { return Vec::new() };
        let Some(user) = self.users.get_mut(place as usize).and_then(Option::take) else { return Vec::new() };
        self.index.remove(hash, place);
        self.free.push(place);
        let mut gateways: Vec<GatewayNo> = Vec::new();
        for gone in &user.sessions {
            self.away.remove(&(gone.away_since, gone.session));
            self.count_session(gone.gateway, -1);
            gateways.push(gone.gateway);
        }
        gateways.sort_unstable();
        gateways.dedup();
        gateways
    }

    /// Sessions of a gateway that are not in its complete list. Looks at every member: ask only when the number of
    /// sessions says that there is one.
    #[must_use]
    pub fn missing_from(&self, gateway: GatewayNo, list: &hashbrown::HashSet<SessionId>) -> Vec<(UserId, SessionId)> {
        let sessions = self.present_at(gateway);
        sessions
            .filter(|(_, presence)| !list.contains(&presence.session))
            .map(|(u, p)| (u.id.clone(), p.session))
            .collect()
    }

    /// Its gateway is gone since then: all its sessions are away. Looks at every member.
    pub fn gateway_lost(&mut self, gateway: GatewayNo, since: Millis, ordered: u64) {
        let here = |presence: &Presence| presence.gateway == gateway && presence.away_since == HERE;
        for user in self.users.iter_mut().flatten() {
            for presence in user.sessions.iter_mut().filter(|presence| here(presence)) {
                presence.away_since = since;
                self.away.insert((since, presence.session), Away { user: user.id.clone(), ordered_then: ordered });
            }
        }
    }

    /// Takes out who has been away for too long, `ordered` messages having been ordered so far. Whom `keep` names stays,
    /// and is not asked for again before [`Self::reconsider`].
    pub fn take_overdue(
        &mut self,
        rule: OfflineRule,
        now: Millis,
        ordered: u64,
        keep: impl Fn(&UserId) -> bool,
    ) -> Vec<Overdue> {
        let mut out = Vec::new();
        while self.due(rule, ordered).is_some_and(|due| due <= now) {
            let Some(((_, session), away)) = self.away.pop_first() else { break };
            if keep(&away.user) {
                continue;
            }
            let gateway = self.user(&away.user).and_then(|user| user.sessions.iter().find(|p| p.session == session));
            if let Some(gateway) = gateway.map(|presence| presence.gateway) {
                out.push(Overdue { user: away.user, session, gateway });
            }
        }
        out
    }

    /// When [`Self::take_overdue`] has something to do, as things stand; none: nobody is away.
    #[must_use]
    pub fn due(&self, rule: OfflineRule, ordered: u64) -> Option<Millis> {
        let ((since, _), away) = self.away.first_key_value()?;
        let missed = ordered.saturating_sub(away.ordered_then);
        let wait_ms = if missed >= rule.missed { rule.missed_not_before_ms.min(rule.after_ms) } else { rule.after_ms };
        Some(*since + wait_ms)
    }

    /// The rule applies again to somebody it did not apply to.
    pub fn reconsider(&mut self, user: &UserId, ordered: u64) {
        let sessions = self.user(user).map(|user| user.sessions.clone()).unwrap_or_default();
        for presence in sessions {
            if presence.away_since != HERE && !self.away.contains_key(&(presence.away_since, presence.session)) {
                self.note_away(user, presence, ordered);
            }
        }
    }

    /// At most `limit` members after `after`, in an order that depends on names only: who stays throughout is listed
    /// exactly once. The next page starts after the last of this one.
    #[must_use]
    pub fn page(&self, after: Option<&UserId>, limit: usize) -> Vec<MemberRow> {
        let places = self.index.after(after, |place| name(&self.users, place));
        let users = places.filter_map(|place| self.users.get(place as usize)?.as_ref());
        let row = |user: &User| MemberRow { user: user.id.clone(), sessions: user.sessions.len(), joined: user.joined };
        users.take(limit).map(row).collect()
    }

    fn present_at(&self, gateway: GatewayNo) -> impl Iterator<Item = (&User, &Presence)> {
        let users = self.users.iter().flatten();
        users.flat_map(move |user| {
            user.sessions
                .iter()
                .filter(move |presence| presence.gateway == gateway)
                .map(move |presence| (user, presence))
        })
    }

    fn user(&self, id: &UserId) -> Option<&User> {
        let place = self.place(id, hash_of(id))?;
        self.users.get(place as usize)?.as_ref()
    }

    fn place(&self, id: &UserId, hash: u64) -> Option<u32> {
        self.index.find(id, hash, |place| name(&self.users, place))
    }

    fn store(&mut self, user: User) -> u32 {
        if let Some(place) = self.free.pop() {
            if let Some(entry) = self.users.get_mut(place as usize) {
                *entry = Some(user);
            }
            return place;
        }
        self.users.push(Some(user));
        u32::try_from(self.users.len() - 1).unwrap_or(u32::MAX)
    }

    fn forget(&mut self, hash: u64, place: u32) {
        self.index.remove(hash, place);
        if let Some(entry) = self.users.get_mut(place as usize) {
            *entry = None;
        }
        if self.index.len() == 0 {
            (self.users, self.free) = (Vec::new(), Vec::new());
        } else {
            self.free.push(place);
        }
    }

    fn count_session(&mut self, gateway: GatewayNo, by: i32) {
        match self.by_gateway.binary_search_by_key(&gateway, |(gateway, _)| *gateway) {
            Ok(at) => {
                let Some((_, sessions)) = self.by_gateway.get_mut(at) else { return };
                *sessions = sessions.saturating_add_signed(by);
                if *sessions == 0 {
                    self.by_gateway.remove(at);
                }
            }
            Err(at) if by > 0 => self.by_gateway.insert(at, (gateway, by.unsigned_abs())),
            Err(_) => {}
        }
    }
}

fn name(users: &[Option<User>], place: u32) -> Option<&UserId> {
    users.get(place as usize)?.as_ref().map(|user| &user.id)
}

#[cfg(test)]
mod tests;
