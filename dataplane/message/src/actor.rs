//! The one task that owns the machines. It takes events in batches, never waits for a stream, and writes what the machines
//! want done into the outboxes.

use std::collections::BTreeMap;
use std::sync::Arc;

use throng_core::ownership::Input as News;
use throng_core::relay::{Effect, GatewayId, HomeEffect, Homes, LinkId, Relay, Subscription, Upstream};
use throng_core::routes::{Routes, SlotChange};
use throng_core::{Epoch, InstanceId, Millis, RoomId, SessionId, Slot, UserId};
use throng_proto::link::{self, message_to_gateway, relay_to_chatroom};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Duration, Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::forward::{self, Forwards};
use crate::handle::{Handle, Metrics, Sample};
use crate::outbox::Outbox;
use crate::uplink::{self, Uplinks};
use crate::wire::{self, Body, GatewaySays, OwnerSays};

/// Events taken in one go.
const BATCH: usize = 256;
/// Time between two looks at figures, late answers and freed bytes that nobody waits for.
const ROUND_MS: u64 = 500;
/// Reports of offline members that wait for one link, and what each is taken to weigh.
const MAX_REPORTS: usize = 256;
const REPORT_BYTES: usize = 64 << 10;

/// Segments in one answer to a gather, in bytes: less than the taker's limit for a message.
const GATHER_BYTES: usize = 16 << 20;

/// What happens to the actor.
pub(crate) enum Event {
    GatewayUp { gateway: GatewayId, instance: InstanceId, outbox: Arc<Outbox<link::MessageToGateway>> },
    Gateway { gateway: GatewayId, says: GatewaySays },
    GatewayDown { gateway: GatewayId, heard: Instant },
    LinkUp { link: LinkId, outbox: Arc<Outbox<link::RelayToChatroom>> },
    Owner { link: LinkId, says: OwnerSays },
    LinkDown { link: LinkId },
    Gather { slots: Vec<(Slot, Epoch)>, reply: oneshot::Sender<link::GatherReply> },
    Direct { user: UserId, message: link::Directed, reply: oneshot::Sender<link::DirectReply> },
    Kick { user: UserId, session: Option<SessionId>, kick: link::KickUser, reply: oneshot::Sender<link::DirectReply> },
}

struct Gateway {
    instance: InstanceId,
    outbox: Arc<Outbox<link::MessageToGateway>>,
}

struct Link {
    stop: CancellationToken,
    outbox: Option<Arc<Outbox<link::RelayToChatroom>>>,
    /// Reports that wait for the link to come up.
    reports: Vec<link::RelayToChatroom>,
}

/// What the actor listens to.
pub(crate) struct Inputs {
    pub(crate) events: mpsc::Receiver<Event>,
    pub(crate) notify: Arc<Notify>,
    pub(crate) routes: watch::Receiver<Arc<Routes>>,
    pub(crate) slots: mpsc::Receiver<SlotChange>,
    pub(crate) stop: CancellationToken,
}

/// The machines and the ends of their streams.
pub(crate) struct Actor {
    start: Instant,
    relay: Relay<Body>,
    homes: Homes<message_to_gateway::Kind>,
    forwards: Forwards,
    gateways: BTreeMap<GatewayId, Gateway>,
    links: BTreeMap<LinkId, Link>,
    routes: Arc<Routes>,
    uplinks: Uplinks,
    routes_changed: watch::Sender<u64>,
    handle: Handle,
    metrics: Metrics,
    next_round: Millis,
    next_figures: Millis,
    /// Where ownership hears how many users a slot has.
    pub(crate) news: Option<mpsc::Sender<News>>,
}

impl Actor {
    pub(crate) fn new(
        machines: (Relay<Body>, Homes<message_to_gateway::Kind>),
        uplinks: Uplinks,
        routes_changed: watch::Sender<u64>,
        handle: Handle,
        metrics: Metrics,
    ) -> Self {
        Self {
            start: Instant::now(),
            relay: machines.0,
            homes: machines.1,
            forwards: Forwards::default(),
            gateways: BTreeMap::new(),
            links: BTreeMap::new(),
            routes: Arc::default(),
            uplinks,
            routes_changed,
            handle,
            metrics,
            next_round: Millis::ZERO,
            next_figures: Millis::ZERO,
            news: None,
        }
    }

    /// Works until told to stop. Routes and slots may end before: what was known last stays true.
    pub(crate) async fn run(mut self, mut inputs: Inputs) {
        let mut batch = Vec::with_capacity(BATCH);
        let (mut has_routes, mut has_slots) = (true, true);
        self.learn_routes(&mut inputs.routes);
        loop {
            let due = self.start + Duration::from_millis(self.next_due().0);
            tokio::select! {
                () = inputs.stop.cancelled() => break,
                taken = inputs.events.recv_many(&mut batch, BATCH) => if taken == 0 { break },
                () = inputs.notify.notified() => {}
                () = sleep_until(due) => {}
                changed = inputs.routes.changed(), if has_routes => {
                    has_routes = changed.is_ok();
                    self.learn_routes(&mut inputs.routes);
                }
                slot = inputs.slots.recv(), if has_slots => {
                    has_slots = slot.is_some();
                    self.learn_slots(slot, &mut inputs.slots);
                }
            }
            let now = self.now();
            for event in batch.drain(..) {
                self.handle(event, now);
            }
            self.work(now);
        }
        for link in self.links.values() {
            link.stop.cancel();
        }
        for gateway in self.gateways.values() {
            gateway.outbox.close();
        }
    }

    fn now(&self) -> Millis {
        Millis(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn next_due(&self) -> Millis {
        let due = self.relay.next_due().min(self.next_round);
        self.homes.next_due().map_or(due, |homes| due.min(homes))
    }

    fn learn_routes(&mut self, routes: &mut watch::Receiver<Arc<Routes>>) {
        self.routes = routes.borrow_and_update().clone();
        self.relay.set_routes(self.routes.clone(), self.now());
        self.routes_changed.send_modify(|changes| *changes += 1);
    }

    fn learn_slots(&mut self, first: Option<SlotChange>, more: &mut mpsc::Receiver<SlotChange>) {
        let mut next = first;
        while let Some(change) = next {
            match change {
                SlotChange::Open { slot, epoch, .. } => self.homes.open(slot, epoch),
                SlotChange::Close { slot, .. } => self.homes.close(slot),
                _ => tracing::warn!("a change of a slot that this version does not know"),
            }
            next = more.try_recv().ok();
        }
    }

    /// Everything that is due, and everything that the machines want done.
    fn work(&mut self, now: Millis) {
        for (gateway, end) in &self.gateways {
            let freed = end.outbox.take_freed();
            if freed > 0 {
                self.relay.credit(*gateway, freed, now);
            }
        }
        self.relay.tick(now);
        self.homes.tick(now);
        if self.next_round <= now {
            self.next_round = now + ROUND_MS;
            for (gateway, reply) in self.forwards.tick(now) {
                self.tell(gateway, message_to_gateway::Kind::Published(reply));
            }
            self.figures(now);
        }
        self.carry_out(now);
        for (gateway, end) in &self.gateways {
            let waits = self.relay.waits(*gateway);
            end.outbox.set_starving(waits);
            if waits && end.outbox.has_freed() {
                // It left between the harvest above and the mark, unannounced.
                self.uplinks.notify.notify_one();
            }
        }
    }

    fn figures(&mut self, now: Millis) {
        if self.next_figures > now {
            return;
        }
        self.next_figures = now + 1_000;
        let counters = self.relay.counters();
        let mut sample = Sample {
            users: self.homes.users() as u64,
            sessions: self.homes.sessions() as u64,
            deliveries_per_s: 0,
            rooms: counters.rooms,
            ring_bytes: counters.ring_bytes,
            gateways: self.gateways.len() as u64,
            upstream_links: self.relay.links_up() as u64,
        };
        sample.deliveries_per_s = self.metrics.update(&sample, &counters, now);
        let slots: Vec<_> = self.homes.activity().map(|(slot, users)| (slot, users as u64)).collect();
        if let Some(news) = &self.news {
            // One that is not taken is followed by another in a second.
            let _ = news.try_send(News::Heat(slots.iter().copied().collect()));
        }
        self.handle.publish(&sample, slots);
    }

    fn handle(&mut self, event: Event, now: Millis) {
        match event {
            Event::Gateway { gateway, says } => self.gateway_says(gateway, says, now),
            Event::Owner { link, says } => self.owner_says(link, says, now),
            Event::GatewayUp { gateway, instance, outbox } => {
                self.relay.gateway_up(gateway);
                self.homes.gateway_up(&instance, gateway);
                self.gateways.insert(gateway, Gateway { instance, outbox });
            }
            Event::GatewayDown { gateway, heard } => self.gateway_down(gateway, heard, now),
            Event::LinkUp { link, outbox } => {
                if let Some(end) = self.links.get_mut(&link) {
                    for report in end.reports.drain(..) {
                        outbox.push(report, REPORT_BYTES, 0);
                    }
                    end.outbox = Some(outbox);
                    self.relay.link_up(link, now);
                }
            }
            Event::LinkDown { link } => {
                if let Some(end) = self.links.get_mut(&link) {
                    end.outbox = None;
                }
                self.relay.link_down(link, now);
                for (gateway, reply) in self.forwards.link_down(link) {
                    self.tell(gateway, message_to_gateway::Kind::Published(reply));
                }
            }
            // Whoever asked may have gone; an answer that nobody takes is no loss.
            Event::Gather { slots, reply } => reply.send(self.gather(&slots, now)).unwrap_or_default(),
            Event::Direct { user, message, reply } => {
                let answer = self.tell_user(&user, None, &message_to_gateway::Kind::Directed(message), now);
                reply.send(answer).unwrap_or_default();
            }
            Event::Kick { user, session, kick, reply } => {
                let answer = self.tell_user(&user, session, &message_to_gateway::Kind::Kick(kick), now);
                reply.send(answer).unwrap_or_default();
            }
        }
    }

    fn gateway_says(&mut self, gateway: GatewayId, says: GatewaySays, now: Millis) {
        match says {
            GatewaySays::Subscribe(wish) => self.relay.subscribe(gateway, &wish, now),
            GatewaySays::Unsubscribe(room) => self.relay.unsubscribe(gateway, &room, now),
            GatewaySays::Read(room, read) => self.relay.read(gateway, &room, read, now),
            GatewaySays::Audit(rooms) => self.relay.audit(gateway, &rooms, now),
            GatewaySays::Publish(room, publish) => self.forward(gateway, &room, publish, now),
            GatewaySays::Sessions { number, full, sent, changes } => {
                if let Some(end) = self.gateways.get(&gateway) {
                    if let Some(sent) = sent {
                        self.homes.heard(&end.instance, sent, now);
                    }
                    self.homes.apply(&end.instance, number, full, &changes, now);
                }
                self.tell(gateway, message_to_gateway::Kind::SessionsApplied(number));
            }
        }
    }

    fn owner_says(&mut self, link: LinkId, says: OwnerSays, now: Millis) {
        match says {
            OwnerSays::Segment(packed) => self.relay.segment(link, packed, now),
            OwnerSays::Subscribed(room, cursor, sealed) => self.relay.subscribed(link, &room, cursor, sealed, now),
            OwnerSays::Sealed(room, sealed) => self.relay.sealed(link, &room, sealed, now),
            OwnerSays::Moved(room, epoch, address) => self.relay.moved(link, &room, epoch, &address, now),
            OwnerSays::Closed(room, reason) => self.relay.closed(link, &room, &reason, now),
            OwnerSays::Deleted(room, epoch, lane, seq) => self.relay.deleted(link, &room, epoch, lane, seq, now),
            OwnerSays::LogPage(room, range, page) => self.relay.log_read(link, &room, range, &page, now),
            OwnerSays::Published(reply) => {
                if let Some((gateway, reply)) = self.forwards.answered(reply) {
                    self.tell(gateway, message_to_gateway::Kind::Published(reply));
                }
            }
        }
    }

    fn gateway_down(&mut self, gateway: GatewayId, heard: Instant, now: Millis) {
        self.relay.gateway_down(gateway, now);
        if let Some(end) = self.gateways.remove(&gateway) {
            let silent_ms = u64::try_from(heard.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.homes.gateway_down(&end.instance, gateway, now, wire::unix_ms() - silent_ms);
        }
    }

    /// Sends a publish to the owner for a gateway that cannot reach it.
    fn forward(&mut self, gateway: GatewayId, room: &RoomId, mut publish: link::Publish, now: Millis) {
        let request = publish.request;
        let link = self.relay.link_of(room, now).filter(|(_, up)| *up).map(|(link, _)| link);
        let outbox = link.and_then(|link| self.links.get(&link)?.outbox.clone());
        let number = link.and_then(|link| self.forwards.send(gateway, request, link, now));
        let (Some(outbox), Some(number)) = (outbox, number) else {
            let reply = link::PublishReply { untaken: true, ..forward::refusal(request) };
            return self.tell(gateway, message_to_gateway::Kind::Published(reply));
        };
        publish.request = number;
        let bytes = publish.data.len();
        outbox.push(link::RelayToChatroom { kind: Some(relay_to_chatroom::Kind::Publish(publish)) }, bytes, 0);
    }

    fn gather(&mut self, slots: &[(Slot, Epoch)], now: Millis) -> link::GatherReply {
        let gathered = self.relay.gather(slots, GATHER_BYTES, now);
        let stale = |(slot, epoch): (Slot, Epoch)| link::SlotEpoch { slot: u32::from(slot.number()), epoch: epoch.0 };
        link::GatherReply {
            rooms: gathered.rooms.into_iter().map(wire::to_gathered).collect(),
            stale: gathered.stale.into_iter().map(stale).collect(),
        }
    }

    /// Sends something to every gateway that has a connection of a user, and later to those that are reported late; MOVED if
    /// the user's home is elsewhere.
    fn tell_user(
        &mut self,
        user: &UserId,
        session: Option<SessionId>,
        message: &message_to_gateway::Kind,
        now: Millis,
    ) -> link::DirectReply {
        let word = (message.clone(), weight(message));
        let Some(found) = self.homes.tell(user, session, word, now) else {
            let owner = self.routes.users.owner(Slot::of(user.as_str()));
            let moved = owner.map(|owner| (owner.epoch.0, owner.address.as_ref().to_owned())).unwrap_or_default();
            let moved = link::Moved { room: String::new(), epoch: moved.0, address: moved.1 };
            return link::DirectReply { moved: Some(moved), ..link::DirectReply::default() };
        };
        for gateway in &found.gateways {
            self.tell(*gateway, to_sessions(message.clone(), found.at(*gateway)));
        }
        link::DirectReply { connections: found.connections(), ..link::DirectReply::default() }
    }

    /// Sends what is not part of a room's stream, outside of the relay's window.
    fn tell(&self, gateway: GatewayId, message: message_to_gateway::Kind) {
        if let Some(end) = self.gateways.get(&gateway) {
            let bytes = weight(&message);
            end.outbox.push(wire::frame(message), bytes, 0);
        }
    }

    fn carry_out(&mut self, now: Millis) {
        let homes: Vec<_> = self.homes.effects().collect();
        for effect in homes {
            self.carry_out_home(effect, now);
        }
        self.carry_out_relay();
    }

    fn carry_out_relay(&mut self) {
        let effects: Vec<Effect> = self.relay.effects().collect();
        for effect in effects {
            match effect {
                Effect::Down(gateway, message) => {
                    if let Some(end) = self.gateways.get(&gateway) {
                        let bytes = message.weight();
                        end.outbox.push(wire::to_gateway(message), bytes, bytes);
                    }
                }
                Effect::Up(link, message) => self.send_up(link, message),
                Effect::Drop(gateway) => {
                    if let Some(end) = self.gateways.get(&gateway) {
                        tracing::warn!(instance = %end.instance, "a gateway takes nothing; its stream is ended");
                        end.outbox.close();
                    }
                }
                Effect::Open { link, address } => {
                    let stop = CancellationToken::new();
                    tokio::spawn(uplink::run(link, address, self.uplinks.clone(), stop.clone()));
                    self.links.insert(link, Link { stop, outbox: None, reports: Vec::new() });
                }
                Effect::Close(link) => {
                    if let Some(end) = self.links.remove(&link) {
                        end.stop.cancel();
                    }
                }
            }
        }
    }

    fn carry_out_home(&mut self, effect: HomeEffect<message_to_gateway::Kind>, now: Millis) {
        match effect {
            HomeEffect::Replace { gateway, user, session } => {
                let kick = link::KickUser {
                    user: user.as_str().to_owned(),
                    session: session.0,
                    reason: "replaced".to_owned(),
                    sessions: Vec::new(),
                };
                self.tell(gateway, message_to_gateway::Kind::Kick(kick));
            }
            HomeEffect::Late { gateway, session, word } => {
                self.tell(gateway, to_sessions(word, std::iter::once(session)));
            }
            HomeEffect::Offline { room, members } => {
                let link = self.relay.link_of(&room, now).map(|(link, _)| link);
                // The link may have been opened just now.
                self.carry_out_relay();
                let Some(end) = link.and_then(|link| self.links.get_mut(&link)) else { return };
                let report = wire::to_offline(&room, &members);
                match &end.outbox {
                    Some(outbox) => drop(outbox.push(report, REPORT_BYTES, 0)),
                    None if end.reports.len() < MAX_REPORTS => end.reports.push(report),
                    // The owner has a link to each gateway too, and learns from it.
                    None => tracing::warn!(%room, "a report of offline members is dropped: no link to the owner"),
                }
            }
        }
    }

    fn send_up(&self, link: LinkId, message: Upstream) {
        if let Some(outbox) = self.links.get(&link).and_then(|end| end.outbox.as_ref()) {
            let bytes = match &message {
                Upstream::Subscribe(Subscription { older, told, .. }) => 64 * (older.len() + told.len()),
                Upstream::Audit(rooms) => 32 * rooms.len(),
                Upstream::Unsubscribe(_) | Upstream::Stale { .. } | Upstream::ReadLog(..) => 0,
            };
            outbox.push(wire::to_owner(message), bytes, 0);
        }
    }
}

/// The same for these sessions only: who came to the gateway since is not meant.
fn to_sessions(
    mut message: message_to_gateway::Kind,
    sessions: impl Iterator<Item = SessionId>,
) -> message_to_gateway::Kind {
    let sessions = sessions.map(|session| session.0).collect();
    match &mut message {
        message_to_gateway::Kind::Directed(directed) => directed.sessions = sessions,
        message_to_gateway::Kind::Kick(kick) => kick.sessions = sessions,
        _ => {}
    }
    message
}

/// What a message weighs in a queue, bytes.
fn weight(message: &message_to_gateway::Kind) -> usize {
    match message {
        message_to_gateway::Kind::Directed(directed) => directed.data.len(),
        _ => 0,
    }
}
