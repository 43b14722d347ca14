//! All connections of one reactor, as one machine without I/O.
//!
//! A [`Shard`] is told what happened (a socket opened, bytes came, a socket can be written again, the hub said something,
//! time passed) and acts through a [`Transport`]: it writes, closes, hands sockets over. What the rest of the process has
//! to do waits in [`Shard::take_for_hub`]. It reads no clock: [`Shard::at`] tells it the time.
//!
//! - [`input`] turns bytes into commands, [`commands`] answers them, [`joins`] brings members into rooms;
//! - [`fanout`] hands segments to subscribers with the shared frames of [`frames`], [`output`] writes or queues;
//! - [`life`] has hello, resume, close and deadlines (on the [`wheel`]), [`drain`] sends everybody elsewhere, [`follow`] changes what they get.

mod commands;
mod conn;
mod drain;
mod fanout;
mod follow;
mod frames;
mod hello;
mod input;
mod joins;
mod life;
mod output;
mod past;
mod room;
#[cfg(test)]
mod tests;
mod wheel;

use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use slab::Slab;
use throng_core::fanout::{Cohort, RateClass, outbox};
use throng_core::{Lane, Millis, RoomId, SessionId, UserId};
use throng_proto::client::Format;
use throng_proto::codes::CloseCode;

use crate::auth::Keys;
use crate::counters::Counts;
use crate::guard::{Guard, address_key};
use crate::options::{Downstream, Options};
use crate::seats::Seat;
use crate::traffic::{Origin, ToHub, ToShard};
use conn::{Conn, Declared, Group, Stage};
use joins::Pending;
use room::Room;
use wheel::Wheel;

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "what a socket can answer")]
pub enum Sent {
    /// So many bytes went out; fewer than given: the rest must wait for [`Shard::writable`].
    Bytes(usize),
    /// None went out; wait for [`Shard::writable`].
    Blocked,
    /// The socket is dead.
    Closed,
}

/// The sockets of a reactor, or a simulation of them. Numbers of connections are the shard's.
pub trait Transport {
    /// Writes as much as goes at once.
    fn send(&mut self, conn: u32, bytes: &[u8]) -> Sent;
    /// Sends no more: the peer sees the end after what was written.
    fn finish(&mut self, conn: u32);
    /// Forgets the socket.
    fn close(&mut self, conn: u32);
    /// Gives the socket, with what was read of it and its place, to the HTTP server; the shard has forgotten it.
    fn hand_over(&mut self, conn: u32, read: Vec<u8>, place: AddressPlace);
}

/// A place among the connections of an address, given back when it is dropped.
pub struct AddressPlace {
    shared: Arc<Shared>,
    /// None: it was not counted.
    address: Option<u64>,
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        if let Some(address) = self.address {
            self.shared.guard.leave_address(address);
        }
    }
}

/// What all shards of a gateway share.
pub struct Shared {
    /// The configuration.
    pub options: Options,
    /// The keys that it began with.
    pub keys: Arc<Keys>,
    /// Limits over all reactors.
    pub guard: Guard,
    /// Unix time of the clock's origin.
    pub origin: Origin,
}

/// The machine. Everything in it is lost on a restart: clients resume elsewhere.
pub struct Shard<T> {
    /// The sockets.
    pub io: T,
    shared: Arc<Shared>,
    /// What tokens are taken by now.
    keys: Arc<Keys>,
    /// What clients get now.
    downstream: Downstream,
    /// Its number among the reactors of the process.
    number: u16,
    now: Millis,
    /// Source of session ids: a counter, spread by a secret of the process.
    seed: u64,
    next_id: u64,
    conns: Slab<Conn>,
    users: HashTable<u32>,
    hasher: DefaultHashBuilder,
    rooms: Slab<Room>,
    room_of: HashMap<RoomId, u32>,
    pending: Slab<Pending>,
    resumes: Slab<hello::Resume>,
    wheel: Wheel,
    /// Rooms with something to hand out at the end of the turn.
    arrived: Vec<u32>,
    /// Connections that failed during a fan-out.
    failed: Vec<(u32, CloseCode)>,
    swept: Millis,
    /// Connections that something waits for and how many bytes, and when that was found.
    waiting: (u64, u64),
    summed: Millis,
    drain: Option<drain::Drain>,
    hub: Vec<ToHub>,
    counts: Counts,
    limits: outbox::Limits,
    wire_limits: throng_ws::Limits,
}

impl<T: Transport> Shard<T> {
    /// A shard without connections. `seed` is secret and different for each shard of the cluster.
    #[must_use]
    pub fn new(io: T, shared: Arc<Shared>, number: u16, seed: u64) -> Self {
        let limits = &shared.options.limits;
        Self {
            io,
            keys: Arc::clone(&shared.keys),
            downstream: shared.options.downstream,
            number,
            now: Millis::ZERO,
            seed,
            next_id: 0,
            conns: Slab::new(),
            users: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            rooms: Slab::new(),
            room_of: HashMap::new(),
            pending: Slab::new(),
            resumes: Slab::new(),
            wheel: Wheel::default(),
            arrived: Vec::new(),
            failed: Vec::new(),
            swept: Millis::ZERO,
            waiting: (0, 0),
            summed: Millis::ZERO,
            drain: None,
            hub: Vec::new(),
            counts: Counts::default(),
            limits: outbox::Limits { bytes: limits.queue_bytes, age_ms: limits.queue_age_ms },
            wire_limits: throng_ws::Limits {
                message_bytes: limits.message_bytes,
                fragments: limits.fragments,
                header_bytes: limits.header_bytes,
            },
            shared,
        }
    }

    /// Tells the time: monotonic milliseconds. To be called before each round of events.
    pub fn at(&mut self, now: Millis) {
        self.now = self.now.max(now);
    }

    /// A socket was accepted. The number of the connection; none if it must be dropped at once.
    pub fn opened(&mut self, address: IpAddr) -> Option<u32> {
        let address = address_key(address);
        let proxied = self.shared.options.proxy_protocol;
        let (guard, seats) = (&self.shared.guard, &self.shared.guard.seats);
        let counted = !proxied && guard.enter_address(address);
        let welcome = counted || proxied;
        self.counts.opened += 1;
        let Some(seat) = (if welcome { seats.enter() } else { seats.step_out(Seat::Free) }) else {
            self.counts.dropped += 1;
            if counted {
                guard.leave_address(address);
            }
            return None;
        };
        let refused = match (welcome, seat) {
            (false, _) => Some(CloseCode::TooManyConnections),
            (true, Seat::Outside) => Some(CloseCode::TryAgain),
            (true, _) => None,
        };
        self.next_id += 1;
        let entry = self.conns.vacant_entry();
        let conn = u32::try_from(entry.key()).ok()?;
        let step = wheel::step_of(self.now);
        let deadline = self.now + self.shared.options.limits.header_ms;
        entry.insert(Conn {
            stage: Stage::Head(Vec::new()),
            decoder: throng_ws::Decoder::default(),
            outbox: None,
            user: None,
            session: SessionId(0),
            conn_epoch: 0,
            expires_s: u64::MAX,
            rights: None,
            rooms: smallvec::SmallVec::new(),
            address,
            generation: generation(self.next_id),
            look_step: self.wheel.enter(conn, deadline, self.now),
            opened_step: step,
            heard_step: step,
            pinged_step: 0,
            spoke_step: 0,
            end_step: 0,
            second: 0,
            frames: 0,
            group: Group::new(Format::Json, RateClass::UNLIMITED, Cohort::new(0)),
            declared: Declared::NOTHING,
            best_lane: Lane::Normal,
            counted_address: counted,
            seat,
            refused,
            leaving: false,
        });
        Some(conn)
    }

    /// The hub said something.
    pub fn from_hub(&mut self, message: ToShard) {
        match message {
            ToShard::Open(room, at) => self.room_opened(&room, at),
            ToShard::Segment(segment) => self.segment_arrived(segment),
            ToShard::Declared { room, gaps, at } => self.declared(&room, &gaps, at),
            ToShard::Sealed { sealed, gaps, at } => self.sealed(&sealed, &gaps, at),
            ToShard::Joined(ticket, result) => self.join_answered(ticket, result),
            ToShard::Published(asker, result) => self.published(asker, result),
            ToShard::Pulled(asker, result) => self.pulled(asker, result),
            ToShard::CaughtUp(ticket, result) => self.caught_up(ticket, result),
            ToShard::Event(room, event) => self.event(&room, event),
            ToShard::Removed(room, users, reason) => self.removed(&room, &users, &reason),
            ToShard::Direct(user, sessions, event) => self.direct(&user, &sessions, &event),
            ToShard::Kick(user, sessions, reason) => self.kick(&user, &sessions, &reason),
            ToShard::ListRoom(room) => self.list_room(room),
            ToShard::ListSessions(slots) => self.list_sessions(&slots),
            ToShard::Drain { within_ms, per_s } => self.drain(within_ms, per_s),
            ToShard::Undrain => self.undrain(),
            ToShard::Shed { users, per_s } => self.shed(users, per_s),
            ToShard::Downstream(downstream) => self.follow_downstream(downstream),
            ToShard::Keys(keys) => self.keys = keys,
        }
    }

    /// Ends a round of events: hands out what arrived and does what is due.
    pub fn turn(&mut self) {
        self.flush_arrived();
        self.look_at_due();
        self.drain_some();
        self.flush_arrived();
    }

    /// How long nothing is due if nothing happens, milliseconds.
    #[must_use]
    pub fn idle_ms(&self) -> u64 {
        if self.conns.is_empty() { 250 } else { wheel::STEP_MS }
    }

    /// Takes what the hub has to be told.
    pub fn take_for_hub(&mut self) -> Vec<ToHub> {
        std::mem::take(&mut self.hub)
    }

    /// Takes what happened since the last call.
    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    /// Connections that there are.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.conns.len()
    }

    /// Connections that something waits for because they read slowly, and how many bytes; every two seconds.
    #[must_use]
    pub fn waiting(&self) -> (u64, u64) {
        self.waiting
    }

    fn conn(&self, conn: u32) -> Option<&Conn> {
        self.conns.get(conn as usize)
    }

    fn conn_mut(&mut self, conn: u32) -> Option<&mut Conn> {
        self.conns.get_mut(conn as usize)
    }

    fn room(&self, room: u32) -> Option<&Room> {
        self.rooms.get(room as usize)
    }

    fn room_mut(&mut self, room: u32) -> Option<&mut Room> {
        self.rooms.get_mut(room as usize)
    }

    fn hash_of(&self, user: &UserId) -> u64 {
        std::hash::BuildHasher::hash_one(&self.hasher, user)
    }

    /// Connections of a user on this reactor.
    fn conns_of(&self, user: &UserId) -> Vec<u32> {
        let hash = self.hash_of(user);
        let is_theirs = |conn: &&u32| self.conn(**conn).is_some_and(|conn| conn.user.as_ref() == Some(user));
        self.users.iter_hash(hash).filter(is_theirs).copied().collect()
    }

    fn now_s(&self) -> u64 {
        self.shared.origin.unix(self.now).0 / 1000
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low half tells apart four thousand million connections")]
const fn generation(id: u64) -> u32 {
    id as u32
}
