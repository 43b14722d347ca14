//! What the gateway is to the other Pods, as one machine without I/O: one hub a process, the reactors are its clients.
//!
//! It is told what reactors want, what links bring, what the registry says and what time it is; what is to be done comes
//! out as [`Action`]s. [`rooms`] subscribes each room once, at one relay, and moves to the next when that one fails;
//! [`members`] tells owners of rooms who comes and goes; [`homes`] tells homes of users; [`publish`] carries messages to
//! owners and their answers back; [`past`] fetches what clients missed, once for all that missed the same.
//!
//! All of it can be rebuilt from the reactors, and is, whenever a link is new or an owner asks.

mod homes;
mod members;
mod past;
mod publish;
#[cfg(test)]
mod publish_tests;
mod rooms;
#[cfg(test)]
mod take_over_tests;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use hashbrown::HashMap;
use throng_core::routes::{Peer, Routes};
use throng_core::{Epoch, InstanceId, Millis, RoomId, SessionId, Slot, UserId};
use throng_proto::client::Event;
use throng_proto::convert;
use throng_proto::link::{self, chatroom_to_gateway, gateway_to_chatroom, gateway_to_message, message_to_gateway};

pub(crate) use publish::MAX_ON_LINK;

use crate::traffic::{Origin, ToHub, ToShard};

/// Address of a process: `host:port`.
pub type Address = Arc<str>;

/// Which service a link speaks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a gateway talks to these two")]
pub enum Role {
    /// Owners of rooms.
    Chatroom,
    /// Relays, and homes of users.
    Message,
}

/// What happened on a link.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "both ends are in this crate")]
pub enum FromLink {
    /// It stands; what was sent before on another is lost.
    Up,
    /// It is gone.
    Down,
    /// A chatroom Pod said something.
    Chatroom(chatroom_to_gateway::Kind),
    /// A message Pod said something.
    Message(message_to_gateway::Kind),
}

/// What is to be done.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "the runner does each of these")]
pub enum Action {
    /// Keep a link to a process.
    Connect(Role, Address),
    /// Give it up.
    Disconnect(Role, Address),
    /// Tell a chatroom Pod.
    Chatroom(Address, gateway_to_chatroom::Kind),
    /// Tell a message Pod.
    Message(Address, gateway_to_message::Kind),
    /// Tell a reactor.
    Shard(u16, ToShard),
}

/// How the hub behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This process, as relays are chosen by it.
    pub instance: InstanceId,
    /// Reactors, numbered from 0; at most 64.
    pub shards: u16,
    /// How long an answer of another Pod may take.
    pub answer_ms: u64,
    /// Unix time of the clock's origin.
    pub origin: Origin,
}

/// Window in which joins and leaves are gathered.
const BATCH_MS: u64 = 50;
/// Interest is compared with relays so often.
const AUDIT_MS: u64 = 10_000;

/// The machine. Lost on a restart together with the connections it serves.
pub struct Hub {
    settings: Settings,
    now: Millis,
    routes: Arc<Routes>,
    /// Links that are kept, and whether they stand.
    links: BTreeMap<(Role, Address), bool>,
    /// Owners that a MOVED named, until the claims say the same or something newer.
    moved: HashMap<Slot, (Epoch, Address)>,
    rooms: HashMap<RoomId, rooms::Room>,
    members: members::Members,
    homes: homes::Homes,
    publishes: publish::Publishes,
    pasts: past::Pasts,
    next_audit: Millis,
    next_look: Millis,
    out: Vec<Action>,
}

impl Hub {
    /// A hub that knows nobody yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            now: Millis::ZERO,
            routes: Arc::default(),
            links: BTreeMap::new(),
            moved: HashMap::new(),
            rooms: HashMap::new(),
            members: members::Members::default(),
            homes: homes::Homes::default(),
            publishes: publish::Publishes::default(),
            pasts: past::Pasts::default(),
            next_audit: Millis::ZERO,
            next_look: Millis::ZERO,
            out: Vec::new(),
        }
    }

    /// Tells the time: monotonic milliseconds. To be called before each round of events.
    pub fn at(&mut self, now: Millis) {
        self.now = self.now.max(now);
    }

    /// Takes what is to be done, in order.
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.out)
    }

    /// A reactor said something.
    pub fn from_shard(&mut self, shard: u16, message: ToHub) {
        match message {
            ToHub::Wanted(room) => self.wanted(shard, room),
            ToHub::Unwanted(room) => self.unwanted(shard, &room),
            ToHub::Join { room, member, ticket, fresh } => self.join(room, member, ticket, fresh),
            ToHub::Leave { room, member } => self.leave(room, member),
            ToHub::NotIn { room, member } => self.homes.left(&member, &room, self.now),
            ToHub::Online(member) => self.homes.online(&member, self.now),
            ToHub::Gone { member, rooms, ended } => self.gone(&member, &rooms, ended),
            ToHub::Publish(order) => self.publish(*order),
            ToHub::Pull { room, pull, asker } => self.pull(&room, &pull, asker),
            ToHub::CatchUp { room, since, limit, held_from, ticket } => {
                self.catch_up(&room, since, limit, held_from, ticket);
            }
            ToHub::RoomMembers(room, members) => self.room_listed(&room, members),
            ToHub::Sessions(sessions) => self.sessions_listed(sessions),
        }
    }

    /// A link brought something.
    pub fn from_link(&mut self, role: Role, from: &Address, event: FromLink) {
        if !self.links.contains_key(&(role, Arc::clone(from))) {
            return;
        }
        match event {
            FromLink::Up => self.link_up(role, from),
            FromLink::Down => self.link_down(role, from),
            FromLink::Chatroom(kind) => self.chatroom_said(from, kind),
            FromLink::Message(kind) => self.message_pod_said(from, kind),
        }
    }

    /// The registry has a new picture.
    pub fn routes(&mut self, routes: Arc<Routes>) {
        let before = std::mem::replace(&mut self.routes, routes);
        let routes = Arc::clone(&self.routes);
        self.moved.retain(|slot, (epoch, _)| routes.rooms.owner(*slot).is_none_or(|owner| owner.epoch < *epoch));
        self.owners_changed(&before);
        self.keep_links();
        self.homes_changed(&before);
        self.relays_changed();
        self.flush_members();
        self.retry_publishes();
    }

    /// Does what is due.
    pub fn tick(&mut self) {
        self.flush_members();
        self.flush_homes();
        self.list_unasked();
        self.retry_publishes();
        self.look_around();
        if self.now >= self.next_audit {
            self.next_audit = self.now + AUDIT_MS;
            self.audit();
        }
    }

    /// Rooms that are open here.
    #[must_use]
    pub fn open_rooms(&self) -> usize {
        self.rooms.len()
    }

    /// Links to Pods of a role: those that stand, and those that are being made.
    #[must_use]
    pub fn links_to(&self, role: Role) -> (u64, u64) {
        let links = self.links.iter().filter(|((of, _), _)| *of == role);
        links.fold((0, 0), |(up, down), (_, stands)| if *stands { (up + 1, down) } else { (up, down + 1) })
    }

    /// How busy this gateway is, in percent; about once a second. All chatroom Pods are told: any may own its rooms.
    pub fn load(&mut self, percent: u8) {
        let up = self.links.iter().filter(|((role, _), up)| *role == Role::Chatroom && **up);
        let told = up.map(|((_, address), _)| {
            Action::Chatroom(Arc::clone(address), gateway_to_chatroom::Kind::LoadPercent(u32::from(percent)))
        });
        self.out.extend(told);
    }

    /// How long until something may be due.
    #[must_use]
    pub fn idle_ms(&self) -> u64 {
        let busy = self.members.is_waiting() || self.publishes.is_waiting() || self.homes.is_waiting();
        if busy { BATCH_MS / 2 } else { 250 }
    }

    /// What takes a look at everything, now and then.
    fn look_around(&mut self) {
        if self.now >= self.next_look {
            self.relays_changed();
            self.expire_pasts();
        }
    }

    fn chatroom_said(&mut self, from: &Address, kind: chatroom_to_gateway::Kind) {
        use chatroom_to_gateway::Kind;
        match kind {
            Kind::Open(_) | Kind::Beat(_) => {}
            Kind::Published(reply) => self.published(Role::Chatroom, from, &reply),
            Kind::Applied(applied) => self.applied(from, applied),
            Kind::Moved(moved) => self.owner_moved(from, &moved),
            Kind::Event(event) => self.room_event(event),
            Kind::Removed(removed) => self.members_removed(&removed),
            Kind::ListRoom(room) => self.want_list(from, &room),
        }
    }

    fn message_pod_said(&mut self, from: &Address, kind: message_to_gateway::Kind) {
        use message_to_gateway::Kind;
        match kind {
            Kind::Open(_) | Kind::Beat(_) | Kind::SessionsApplied(_) => {}
            Kind::Subscribed(subscribed) => self.subscribed(from, &subscribed),
            Kind::Segment(segment) => self.segment(from, &segment),
            Kind::Sealed(sealed) => self.room_sealed(from, &sealed),
            Kind::Closed(closed) => self.room_closed(&closed),
            Kind::Pulled(pulled) => self.pull_answered(pulled),
            Kind::CaughtUp(past) => self.past_came(past),
            Kind::Directed(directed) => self.directed(directed),
            Kind::Kick(kick) => self.kick(&kick),
            Kind::Published(reply) => self.published(Role::Message, from, &reply),
            Kind::Delete(delete) => self.deleted(&delete),
            Kind::Lost(room) => self.relay_lost_owner(from, &room),
        }
    }

    fn link_up(&mut self, role: Role, address: &Address) {
        self.links.insert((role, Arc::clone(address)), true);
        match role {
            Role::Chatroom => {
                self.list_all_rooms_of(address);
                self.flush_members();
            }
            Role::Message => {
                self.list_all_sessions_of(address);
                self.relays_changed();
            }
        }
        self.look_for_ways();
    }

    fn link_down(&mut self, role: Role, address: &Address) {
        self.links.insert((role, Arc::clone(address)), false);
        match role {
            Role::Chatroom => self.members.put_back(address),
            Role::Message => self.relay_down(address),
        }
        self.publishes_cut(role, address);
    }

    /// Links to all live Pods, and to owners that only a MOVED has named so far.
    fn keep_links(&mut self) {
        let live = |peers: &BTreeMap<InstanceId, Peer>| {
            peers.values().map(|peer| Arc::clone(&peer.address)).collect::<Vec<_>>()
        };
        let chatroom = live(&self.routes.chatroom).into_iter().map(|address| (Role::Chatroom, address));
        let message = live(&self.routes.message).into_iter().map(|address| (Role::Message, address));
        let named = self.moved.values().map(|(_, address)| (Role::Chatroom, Arc::clone(address)));
        let wanted: std::collections::BTreeSet<_> = chatroom.chain(message).chain(named).collect();
        let gone: Vec<_> = self.links.keys().filter(|link| !wanted.contains(*link)).cloned().collect();
        for (role, address) in gone {
            self.link_down(role, &address);
            self.links.remove(&(role, Arc::clone(&address)));
            self.out.push(Action::Disconnect(role, address));
        }
        for (role, address) in wanted {
            if let Entry::Vacant(entry) = self.links.entry((role, Arc::clone(&address))) {
                entry.insert(false);
                self.out.push(Action::Connect(role, address));
            }
        }
    }

    fn is_up(&self, role: Role, address: &Address) -> bool {
        self.links.get(&(role, Arc::clone(address))).copied().unwrap_or(false)
    }

    /// Who owns a room, as far as is known.
    fn owner_of(&self, room: &RoomId) -> Option<Address> {
        let slot = Slot::of(room.as_str());
        let claimed = self.routes.rooms.owner(slot);
        match self.moved.get(&slot) {
            Some((epoch, address)) if claimed.is_none_or(|owner| owner.epoch < *epoch) => Some(Arc::clone(address)),
            _ => claimed.map(|owner| Arc::clone(&owner.address)),
        }
    }

    /// A Pod named another owner of a room.
    fn owner_moved(&mut self, from: &Address, moved: &link::Moved) {
        let Ok(room) = RoomId::new(&moved.room) else { return };
        self.note_moved(&room, moved);
        self.publishes_moved(from, &room);
        self.flush_members();
    }

    fn note_moved(&mut self, room: &RoomId, moved: &link::Moved) {
        if moved.address.is_empty() {
            return;
        }
        let slot = Slot::of(room.as_str());
        let epoch = Epoch(moved.epoch);
        if self.moved.get(&slot).is_none_or(|(known, _)| *known < epoch) {
            self.moved.insert(slot, (epoch, moved.address.as_str().into()));
            self.owner_is_new(slot);
            self.keep_links();
        }
    }

    /// Slots of rooms have other owners.
    fn owners_changed(&mut self, before: &Routes) {
        let routes = Arc::clone(&self.routes);
        for (slot, owner) in routes.rooms.iter() {
            if before.rooms.owner(slot).is_none_or(|known| known.epoch != owner.epoch) {
                self.owner_is_new(slot);
            }
        }
    }

    fn gone(&mut self, member: &crate::traffic::Member, rooms: &[RoomId], ended: bool) {
        for room in rooms {
            self.member_gone(room, member, ended);
        }
        self.homes.gone(member, rooms, ended, self.now);
    }

    fn directed(&mut self, directed: link::Directed) {
        let Ok(to) = UserId::new(&directed.to) else { return };
        let sessions = directed.sessions.into_iter().map(SessionId).collect();
        let event = Arc::new(Event {
            kind: "direct",
            from: Some(directed.from),
            message_type: Some(directed.kind.into()),
            data: Some(directed.data),
            at_ms: Some(Millis(directed.at_ms)),
            ..Event::default()
        });
        self.all_shards(&ToShard::Direct(to, sessions, event));
    }

    fn kick(&mut self, kick: &link::KickUser) {
        let Ok(user) = UserId::new(&kick.user) else { return };
        let one = std::iter::once(kick.session).filter(|session| *session != 0);
        let sessions = one.chain(kick.sessions.iter().copied()).map(SessionId).collect();
        self.all_shards(&ToShard::Kick(user, sessions, kick.reason.as_str().into()));
    }

    fn room_event(&mut self, event: link::RoomEvent) {
        let Ok(room) = convert::room(&event.room) else { return };
        let shown = Event {
            room: Some(room.clone()),
            kind: "count",
            members: Some(event.members),
            provisional: event.provisional,
            joined: event.joined,
            joined_others: event.joined_others,
            left: event.left,
            left_others: event.left_others,
            ..Event::default()
        };
        let shown = Arc::new(shown);
        self.tell_room(&room, |room| ToShard::Event(room.clone(), Arc::clone(&shown)));
    }

    fn deleted(&mut self, delete: &link::DeleteMessage) {
        let (Ok(room), Ok(lane)) = (convert::room(&delete.room), convert::lane(delete.lane)) else { return };
        let stamp = throng_core::Stamp { epoch: Epoch(delete.epoch), lane, seq: delete.seq };
        let event = Event { room: Some(room.clone()), kind: "deleted", stamp: Some(stamp), ..Event::default() };
        let event = Arc::new(event);
        self.tell_room(&room, |room| ToShard::Event(room.clone(), Arc::clone(&event)));
    }

    fn members_removed(&mut self, removed: &link::Removed) {
        let Ok(room) = convert::room(&removed.room) else { return };
        let users: Vec<UserId> = removed.users.iter().filter_map(|user| UserId::new(user).ok()).collect();
        if users.is_empty() && !removed.users.is_empty() {
            return;
        }
        let reason: Arc<str> = removed.reason.as_str().into();
        self.tell_room(&room, |room| ToShard::Removed(room.clone(), users.clone(), Arc::clone(&reason)));
    }

    fn room_closed(&mut self, closed: &link::RoomClosed) {
        let Ok(room) = convert::room(&closed.room) else { return };
        let reason: Arc<str> = closed.reason.as_str().into();
        self.tell_room(&room, |room| ToShard::Removed(room.clone(), Vec::new(), Arc::clone(&reason)));
    }

    fn all_shards(&mut self, message: &ToShard) {
        for shard in 0..self.settings.shards {
            self.out.push(Action::Shard(shard, message.clone()));
        }
    }

    /// Tells the reactors that have a room.
    fn tell_room(&mut self, room: &RoomId, message: impl Fn(&RoomId) -> ToShard) {
        let Some(entry) = self.rooms.get(room) else { return };
        for shard in entry.shards() {
            self.out.push(Action::Shard(shard, message(room)));
        }
    }
}
