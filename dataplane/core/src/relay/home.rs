//! Homes of users: where each user's sessions are.
//!
//! A message Pod is the home of the users of its slots. Gateways tell it of sessions that connect, disconnect, join and
//! leave; it answers where a directed message or a kick must go ([`telling`]), ends older sessions of a user where only one is allowed, and
//! reports the members of a gateway that is gone as offline since it was last heard.
//!
//! Nothing here is stored: after a restart, or when a slot moves, gateways send their full lists again. A session belongs to
//! the connection with the largest `conn_epoch`, whatever the order in which gateways report.

mod newest;
mod telling;

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::{HashMap, HashSet};
use smallvec::SmallVec;

use super::effect::GatewayId;
use super::lag::Lag;
use super::names::{RoomKey, Rooms};
use super::recent::{GatewayKey, Recent};
use crate::slot::SLOTS;
use crate::{Epoch, InstanceId, Millis, RoomId, SessionId, Slot, UserId};

/// How many sessions a user may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionPolicy {
    /// As many as the gateways allow.
    #[default]
    Many,
    /// One: the newest connection ends the others.
    NewestWins,
}

/// Figures of the homes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HomeOptions {
    /// How many sessions a user may have.
    pub sessions: SessionPolicy,
    /// How long a gateway may be silent before its sessions count as offline, since it was last heard.
    pub lost_ms: u64,
    /// How long a session without a connection is remembered.
    pub keep_ms: u64,
}

impl Default for HomeOptions {
    fn default() -> Self {
        Self { sessions: SessionPolicy::Many, lost_ms: 5_000, keep_ms: 120_000 }
    }
}

/// What a gateway tells of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionChange {
    /// Whose.
    pub user: UserId,
    /// Which.
    pub session: SessionId,
    /// Number of its connection; grows with each.
    pub conn_epoch: u64,
    /// Connected, or not any more.
    pub online: bool,
    /// Rooms joined since the last change.
    pub joined: Vec<RoomId>,
    /// Rooms left since.
    pub left: Vec<RoomId>,
    /// It will not resume.
    pub ended: bool,
    /// Since when it is connected, by the gateway's clock; none: not known, or not connected.
    pub connected: Option<Millis>,
}

/// What homes want done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HomeEffect<W = ()> {
    /// End a session at a gateway: a newer one of the user took over.
    Replace {
        /// The gateway's stream.
        gateway: GatewayId,
        /// Whose.
        user: UserId,
        /// Which.
        session: SessionId,
    },
    /// Tell a session what its user was told before the session was known here, though it was connected.
    Late {
        /// The gateway's stream.
        gateway: GatewayId,
        /// Which.
        session: SessionId,
        /// What was given to [`Homes::tell`].
        word: W,
    },
    /// Tell the room's owner that these members are offline.
    Offline {
        /// The room.
        room: RoomId,
        /// Its members that are offline.
        members: Vec<OfflineMember>,
    },
}

/// A member whose gateway is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfflineMember {
    /// Whose session.
    pub user: UserId,
    /// The session.
    pub session: SessionId,
    /// Its last connection.
    pub conn_epoch: u64,
    /// When its gateway was last heard, Unix time.
    pub since_ms: Millis,
}

/// Where a user is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whereabouts {
    /// Streams of the gateways that have a connection of the user, each once.
    pub gateways: Vec<GatewayId>,
    /// Connections there, one each, by stream and session.
    pub sessions: Vec<(GatewayId, SessionId)>,
}

impl Whereabouts {
    /// How many connections there are.
    #[must_use]
    pub fn connections(&self) -> u32 {
        u32::try_from(self.sessions.len()).unwrap_or(u32::MAX)
    }

    /// Sessions at one gateway.
    pub fn at(&self, gateway: GatewayId) -> impl Iterator<Item = SessionId> {
        self.sessions.iter().filter(move |(at, _)| *at == gateway).map(|(_, session)| *session)
    }
}

/// A gateway's view of who owns a slot is never so far ahead, in milliseconds: it is behind, and the users are elsewhere.
const AHEAD_MS: u64 = 60_000;
/// Members of one report at most; a room with more gets several.
const MAX_REPORT: usize = 1_000;

#[derive(Debug)]
struct Session {
    user: UserId,
    gateway: GatewayKey,
    conn_epoch: u64,
    online: bool,
    /// When it connected last; negative: before this process began.
    since: i64,
    /// When it is forgotten, while it is offline.
    forget_at: Millis,
    rooms: SmallVec<[RoomKey; 2]>,
}

#[derive(Debug)]
struct Gateway {
    instance: InstanceId,
    /// Its stream, while there is one.
    stream: Option<GatewayId>,
    /// Number of the last batch.
    number: u64,
    /// When its stream ended, and when it was last heard (Unix time).
    lost: Option<(Millis, Millis)>,
    /// Its clock.
    lag: Lag,
    sessions: HashSet<SessionId>,
}

#[derive(Debug, Default)]
struct Bucket {
    epoch: Option<Epoch>,
    users: HashMap<UserId, SmallVec<[SessionId; 1]>>,
}

/// All homes of one message Pod. `W`: what users are told, in the language of the shell.
#[derive(Debug)]
pub struct Homes<W = ()> {
    options: HomeOptions,
    buckets: Vec<Bucket>,
    sessions: HashMap<SessionId, Session>,
    gateways: BTreeMap<GatewayKey, Gateway>,
    keys: BTreeMap<InstanceId, GatewayKey>,
    next_key: GatewayKey,
    rooms: Rooms,
    offline: BTreeSet<(Millis, SessionId)>,
    /// Slots that are not open here, and since when gateways tell of their users.
    ahead: BTreeMap<Slot, Millis>,
    recent: Recent<W>,
    out: Vec<HomeEffect<W>>,
}

impl<W: Clone> Homes<W> {
    /// Homes of nobody yet, with no slot open.
    #[must_use]
    pub fn new(options: HomeOptions) -> Self {
        Self {
            options,
            buckets: (0..SLOTS).map(|_| Bucket::default()).collect(),
            sessions: HashMap::new(),
            gateways: BTreeMap::new(),
            keys: BTreeMap::new(),
            next_key: 0,
            rooms: Rooms::default(),
            offline: BTreeSet::new(),
            ahead: BTreeMap::new(),
            recent: Recent::default(),
            out: Vec::new(),
        }
    }

    /// What is to be done since the last call, in order.
    pub fn effects(&mut self) -> std::vec::Drain<'_, HomeEffect<W>> {
        self.out.drain(..)
    }

    /// Users whose home is here.
    #[must_use]
    pub fn users(&self) -> usize {
        self.activity().map(|(_, users)| users).sum()
    }

    /// Sessions here, with a connection or not.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Occupied slots and their users.
    pub fn activity(&self) -> impl Iterator<Item = (Slot, usize)> {
        let here = |bucket: &&Bucket| bucket.epoch.is_some() && !bucket.users.is_empty();
        Slot::all().zip(&self.buckets).filter(move |(_, b)| here(b)).map(|(s, b)| (s, b.users.len()))
    }

    /// The Pod owns a slot of users from now on. Gateways may have told of them before: their view of the claim can be
    /// ahead. One that is behind tells of users who have gone; they do not count, and are forgotten after [`AHEAD_MS`].
    pub fn open(&mut self, slot: Slot, epoch: Epoch) {
        self.ahead.remove(&slot);
        if let Some(bucket) = self.buckets.get_mut(slot.index()) {
            bucket.epoch = Some(epoch);
        }
    }

    /// The Pod no longer owns a slot: its users are forgotten.
    pub fn close(&mut self, slot: Slot) {
        let Some(bucket) = self.buckets.get_mut(slot.index()) else { return };
        bucket.epoch = None;
        self.ahead.remove(&slot);
        for session in std::mem::take(&mut bucket.users).into_values().flatten() {
            self.drop_session(session);
        }
        self.recent.forget(|user| Slot::of(user.as_str()) == slot);
    }

    /// A gateway's stream opened. Its sessions stand as they were until it lists them.
    pub fn gateway_up(&mut self, instance: &InstanceId, stream: GatewayId) {
        let key = self.key(instance);
        if let Some(gateway) = self.gateways.get_mut(&key) {
            gateway.stream = Some(stream);
            gateway.lost = None;
        }
        self.newest_wins_again(key);
    }

    /// A gateway's stream ended at `now`; it was last heard at `heard_ms`, Unix time. A newer stream of the same gateway
    /// makes this nothing.
    pub fn gateway_down(&mut self, instance: &InstanceId, stream: GatewayId, now: Millis, heard_ms: Millis) {
        let Some(gateway) = self.keys.get(instance).and_then(|key| self.gateways.get_mut(key)) else { return };
        if gateway.stream == Some(stream) {
            gateway.stream = None;
            gateway.lost = Some((now, heard_ms));
        }
    }

    /// Changes of sessions, in a batch with a number that grows; one that was seen changes nothing. `full`: the list is
    /// complete, whoever of this gateway is not in it is gone.
    pub fn apply(&mut self, instance: &InstanceId, number: u64, full: bool, changes: &[SessionChange], now: Millis) {
        let key = self.key(instance);
        let Some(gateway) = self.gateways.get_mut(&key) else { return };
        if number <= gateway.number {
            return;
        }
        gateway.number = number;
        let mut unlisted = if full { gateway.sessions.clone() } else { HashSet::new() };
        for change in changes {
            unlisted.remove(&change.session);
            self.change(key, change, full, now);
        }
        let mut unlisted: Vec<SessionId> = unlisted.into_iter().collect();
        unlisted.sort_unstable();
        for session in unlisted {
            self.end(session);
        }
    }

    fn change(&mut self, key: GatewayKey, change: &SessionChange, full: bool, now: Millis) {
        let known = self.sessions.get(&change.session);
        if known.is_some_and(|known| known.conn_epoch > change.conn_epoch || known.user != change.user) {
            return;
        }
        if change.ended {
            return self.end(change.session);
        }
        let connects = change.online && known.is_none_or(|known| !known.online || known.conn_epoch < change.conn_epoch);
        if known.is_none() {
            self.enter(key, change, now);
        }
        let connected = self.connected(key, change);
        let Some(session) = self.sessions.get_mut(&change.session) else { return };
        if session.gateway != key {
            if let Some(before) = self.gateways.get_mut(&session.gateway) {
                before.sessions.remove(&change.session);
            }
            session.gateway = key;
        }
        if let Some(gateway) = self.gateways.get_mut(&key) {
            gateway.sessions.insert(change.session);
        }
        session.conn_epoch = change.conn_epoch;
        if full {
            self.rooms.release(std::mem::take(&mut session.rooms));
        }
        for room in &change.joined {
            let room = self.rooms.take(room, &session.rooms);
            session.rooms.extend(room);
        }
        for room in &change.left {
            self.rooms.drop_from(room, &mut session.rooms);
        }
        if !change.online && session.forget_at == Millis::ZERO {
            session.forget_at = now + self.options.keep_ms;
            self.offline.insert((session.forget_at, change.session));
        } else if change.online {
            session.forget_at = Millis::ZERO;
        }
        session.online = change.online;
        if connects {
            session.since = connected.unwrap_or(now.0.cast_signed());
            self.newest_wins(change, full);
        }
        if change.online {
            self.tell_late(key, change, now);
        }
    }

    fn enter(&mut self, key: GatewayKey, change: &SessionChange, now: Millis) {
        let slot = Slot::of(change.user.as_str());
        let Some(bucket) = self.buckets.get_mut(slot.index()) else { return };
        bucket.users.entry(change.user.clone()).or_default().push(change.session);
        if bucket.epoch.is_none() {
            self.ahead.entry(slot).or_insert(now);
        }
        let session = Session {
            user: change.user.clone(),
            gateway: key,
            conn_epoch: change.conn_epoch,
            online: change.online,
            since: now.0.cast_signed(),
            forget_at: Millis::ZERO,
            rooms: SmallVec::new(),
        };
        self.sessions.insert(change.session, session);
    }

    fn sessions_of(&self, user: &UserId) -> impl Iterator<Item = SessionId> {
        let bucket = self.buckets.get(Slot::of(user.as_str()).index());
        bucket.and_then(|bucket| bucket.users.get(user)).into_iter().flatten().copied()
    }

    fn stream(&self, gateway: GatewayKey) -> Option<GatewayId> {
        self.gateways.get(&gateway)?.stream
    }

    fn end(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else { return };
        let user = session.user.clone();
        if let Some(bucket) = self.buckets.get_mut(Slot::of(user.as_str()).index())
            && let Some(sessions) = bucket.users.get_mut(&user)
        {
            sessions.retain(|other| *other != id);
            if sessions.is_empty() {
                bucket.users.remove(&user);
            }
        }
        self.drop_session(id);
    }

    fn drop_session(&mut self, id: SessionId) {
        let Some(session) = self.sessions.remove(&id) else { return };
        self.rooms.release(session.rooms);
        if let Some(gateway) = self.gateways.get_mut(&session.gateway) {
            gateway.sessions.remove(&id);
        }
    }

    fn key(&mut self, instance: &InstanceId) -> GatewayKey {
        if let Some(key) = self.keys.get(instance) {
            return *key;
        }
        let key = self.next_key;
        self.next_key += 1;
        let gateway = Gateway {
            instance: instance.clone(),
            stream: None,
            number: 0,
            lost: None,
            lag: Lag::default(),
            sessions: HashSet::new(),
        };
        self.gateways.insert(key, gateway);
        self.keys.insert(instance.clone(), key);
        key
    }

    // ---- questions

    /// Where a user is connected; `session` narrows it to one. None: the user's home is not here.
    #[must_use]
    pub fn find(&self, user: &UserId, session: Option<SessionId>) -> Option<Whereabouts> {
        self.buckets.get(Slot::of(user.as_str()).index())?.epoch?;
        let mut found = Whereabouts::default();
        for id in self.sessions_of(user).filter(|id| session.is_none_or(|session| session == *id)) {
            let Some(session) = self.sessions.get(&id).filter(|session| session.online) else { continue };
            let Some(stream) = self.stream(session.gateway) else { continue };
            found.sessions.push((stream, id));
            if !found.gateways.contains(&stream) {
                found.gateways.push(stream);
            }
        }
        Some(found)
    }

    // ---- time

    /// When [`Homes::tick`] wants to be called; it may be called at any time.
    #[must_use]
    pub fn next_due(&self) -> Option<Millis> {
        let lost = self.gateways.values().filter_map(|gateway| gateway.lost.map(|(at, _)| at + self.options.lost_ms));
        let ahead = self.ahead.values().map(|since| *since + AHEAD_MS);
        lost.chain(self.offline.first().map(|(at, _)| *at)).chain(ahead).min()
    }

    /// Gives up gateways that stayed away, and forgets sessions that did not resume.
    pub fn tick(&mut self, now: Millis) {
        self.recent.expire(now);
        let is_over = |(slot, since): (&Slot, &Millis)| (now.since(*since) >= AHEAD_MS).then_some(*slot);
        while let Some(slot) = self.ahead.iter().find_map(is_over) {
            self.close(slot);
        }
        let is_lost = |gateway: &Gateway| gateway.lost.filter(|(at, _)| now.since(*at) >= self.options.lost_ms);
        let lost: Vec<(GatewayKey, Millis)> =
            self.gateways.iter().filter_map(|(key, gateway)| Some((*key, is_lost(gateway)?.1))).collect();
        for (key, heard_ms) in lost {
            self.give_up(key, now, heard_ms);
        }
        while let Some((at, session)) = self.offline.first().filter(|(at, _)| *at <= now).copied() {
            self.offline.pop_first();
            // It may have resumed since, and gone offline again later.
            if self.sessions.get(&session).is_some_and(|session| session.forget_at == at) {
                self.end(session);
            }
        }
    }

    /// A gateway is gone: its sessions are offline since it was last heard, and the owners of their rooms hear of it.
    fn give_up(&mut self, key: GatewayKey, now: Millis, heard_ms: Millis) {
        let Some(gateway) = self.gateways.remove(&key) else { return };
        self.keys.remove(&gateway.instance);
        let mut ids: Vec<SessionId> = gateway.sessions.into_iter().collect();
        ids.sort_unstable();
        let mut reports: BTreeMap<RoomKey, Vec<OfflineMember>> = BTreeMap::new();
        for id in ids {
            let Some(session) = self.sessions.get_mut(&id).filter(|session| session.online) else { continue };
            session.online = false;
            session.forget_at = now + self.options.keep_ms;
            self.offline.insert((session.forget_at, id));
            for room in &session.rooms {
                reports.entry(*room).or_default().push(OfflineMember {
                    user: session.user.clone(),
                    session: id,
                    conn_epoch: session.conn_epoch,
                    since_ms: heard_ms,
                });
            }
        }
        for (room, members) in reports {
            let Some(room) = self.rooms.name(room) else { continue };
            for part in members.chunks(MAX_REPORT) {
                self.out.push(HomeEffect::Offline { room: room.clone(), members: part.to_vec() });
            }
        }
    }
}
