//! The one task that owns the rooms.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use throng_core::ownership::Input as News;
use throng_core::relay::LogRange;
use throng_core::room::{Activity, Asker, Now, Pod, RelayNo, RoomState, Stats};
use throng_core::routes::SlotChange;
use throng_core::{Epoch, RoomId, Slot};
use throng_proto::key::PodKey;
use throng_proto::link;
use throng_proto::link::chatroom_to_gateway::Kind as ToGateway;
use throng_proto::link::chatroom_to_relay::Kind as ToRelay;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::handle::{Handle, Rates};
use crate::input::Input;
use crate::links::Links;
use crate::loading::{Loaded, Loading};
use crate::log::{Log, LogEvent};
use crate::options::{Options, Rooms};
use crate::parked::Parked;
use crate::stream::Clock;
use crate::{convert, handover};

/// Inputs taken in one turn, at most: outputs leave between turns.
const TURN: usize = 256;
/// Slots that open or close, answers of the log, slots that were read: so many of each in one turn. They go before the
/// traffic, however much of that there is: a Pod that takes over thousands of slots has as many of each.
const FIRST: usize = 1024;
/// How often paused streams are looked at.
const RESUME_EVERY: Duration = Duration::from_millis(20);
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// How often the task shows that it lives: the lease of the process hangs on it.
const BEAT_EVERY: Duration = Duration::from_millis(250);
/// Between two looks at rights that have run out.
const RIGHTS_EVERY: Duration = Duration::from_millis(5);
/// After so long ownership is taken to hang, and every slot is closed.
const RIGHTS_WITHIN: Duration = Duration::from_secs(1);

/// Whether every open slot may be served at this instant.
pub(crate) type Rights = Arc<dyn Fn() -> bool + Send + Sync>;
/// Reads of the log for pulls at a time.
const LOG_READS: usize = 64;
/// A reader waits no longer.
const LOG_READ_WITHIN: Duration = Duration::from_secs(1);

/// What comes in.
pub(crate) struct Inbox {
    pub(crate) inputs: mpsc::Receiver<Input>,
    pub(crate) slots: mpsc::Receiver<SlotChange>,
    pub(crate) log_events: mpsc::Receiver<LogEvent>,
    pub(crate) rooms: watch::Receiver<Rooms>,
}

/// The rooms and everything they are connected to.
pub(crate) struct Actor {
    pub(crate) pod: Pod,
    pub(crate) links: Links,
    pub(crate) log: Arc<dyn Log>,
    /// Calls of the server API that wait for the answer to a publish.
    pub(crate) calls: BTreeMap<u64, oneshot::Sender<link::AdminReply>>,
    pub(crate) next_call: u64,
    pub(crate) address: String,
    pub(crate) handle: Handle,
    /// Ownership, where it wants to hear of hand-overs, later epochs, slots that somebody waits for, and activity.
    pub(crate) news: Option<mpsc::Sender<News>>,
    pub(crate) rights: Rights,
    loading: Loading,
    parked: Parked,
    hand_over: handover::Sender,
    log_reads: Arc<Semaphore>,
    clock: Clock,
    sampled: Stats,
}

impl Actor {
    pub(crate) fn new(
        options: &Options,
        log: Arc<dyn Log>,
        handle: Handle,
        key: PodKey,
        address: String,
        clock: Clock,
    ) -> Self {
        Self {
            pod: Pod::new(options.room_options()),
            links: Links::default(),
            loading: Loading::new(log.clone(), options.load_within_ms, options.loads),
            log,
            calls: BTreeMap::new(),
            next_call: 0,
            address,
            handle,
            news: None,
            rights: Arc::new(|| true),
            parked: Parked::default(),
            hand_over: handover::Sender::new(key),
            log_reads: Arc::new(Semaphore::new(LOG_READS)),
            clock,
            sampled: Stats::default(),
        }
    }

    /// Runs until cancelled, or until nobody can tell it anything any more.
    pub(crate) async fn run(mut self, mut inbox: Inbox, cancel: CancellationToken) {
        let mut turn = Vec::with_capacity(TURN);
        let mut samples = tokio::time::interval(SAMPLE_EVERY);
        samples.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut beats = tokio::time::interval(BEAT_EVERY);
        beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let wake = self.wake_at();
            tokio::select! {
                () = cancel.cancelled() => break,
                count = inbox.inputs.recv_many(&mut turn, TURN) => {
                    if count == 0 {
                        break;
                    }
                    self.regain_rights(&mut inbox.slots).await;
                    let now = self.now();
                    for input in turn.drain(..) {
                        self.take(now, input);
                        self.deliver();
                    }
                }
                Some(change) = inbox.slots.recv() => self.change_slot(change),
                Some(event) = inbox.log_events.recv() => self.log_event(event),
                loaded = self.loading.next() => self.open(loaded),
                Ok(()) = inbox.rooms.changed() => {
                    let settings = inbox.rooms.borrow_and_update().settings();
                    self.pod.set_defaults(self.now(), settings);
                }
                _ = samples.tick() => self.sample(),
                _ = beats.tick() => self.handle.beat(),
                () = tokio::time::sleep_until(wake) => {}
            }
            self.take_first(&mut inbox);
            while let Some(slot) = self.parked.overdue() {
                self.unpark(slot);
            }
            self.pod.run_due(self.now());
            self.deliver();
            self.resume_paused();
            self.handle.metrics.take(self.pod.stats());
        }
    }

    pub(crate) fn now(&self) -> Now {
        self.clock.now()
    }

    /// Takes what is there of the little that goes before the traffic.
    fn take_first(&mut self, inbox: &mut Inbox) {
        for change in std::iter::from_fn(|| inbox.slots.try_recv().ok()).take(FIRST) {
            self.change_slot(change);
        }
        for event in std::iter::from_fn(|| inbox.log_events.try_recv().ok()).take(FIRST) {
            self.log_event(event);
        }
        for _ in 0..FIRST {
            let Some(loaded) = self.loading.next().now_or_never() else { break };
            self.open(loaded);
        }
    }

    /// A process that was stopped for a while may wake up without a right. It takes nothing until it knows which slots are
    /// not its own any more.
    async fn regain_rights(&mut self, slots: &mut mpsc::Receiver<SlotChange>) {
        let until = Instant::now() + RIGHTS_WITHIN;
        while !(self.rights)() {
            while let Ok(change) = slots.try_recv() {
                self.change_slot(change);
            }
            if Instant::now() >= until {
                warn!("ownership does not answer: nothing is served until it does");
                let open: Vec<_> = self.pod.open_slots().map(|(slot, _)| slot).collect();
                for slot in open {
                    self.pod.close(slot, None);
                }
                break;
            }
            tokio::time::sleep(RIGHTS_EVERY).await;
        }
    }

    fn wake_at(&self) -> Instant {
        let far = Instant::now() + SAMPLE_EVERY;
        let due = self.pod.next_due().and_then(|due| self.clock.at(due));
        let paused = self.links.has_paused().then(|| Instant::now() + RESUME_EVERY);
        [due, paused, self.parked.due()].into_iter().flatten().fold(far, Instant::min)
    }

    // ---- slots

    fn change_slot(&mut self, change: SlotChange) {
        match change {
            SlotChange::Open { slot, epoch, origin } => {
                if let Some(rooms) = self.loading.open(slot, epoch, origin) {
                    self.open(Loaded { slot, epoch, late: false, owed: false, rooms });
                }
            }
            SlotChange::ReadLog { slot, epoch } => self.loading.read_late(slot, epoch),
            SlotChange::Close { slot, moved_to } => {
                self.loading.close(slot);
                let state = self.pod.slot_state(self.now(), slot).or_else(|| self.loading.take_kept(slot));
                match (&moved_to, state) {
                    (Some(owner), Some((epoch, rooms))) => {
                        self.hand_over.send(&owner.address, slot, epoch, owner.epoch, rooms);
                    }
                    (None, Some((epoch, rooms))) => self.loading.keep(slot, epoch, rooms),
                    (_, None) => {}
                }
                self.pod.close(slot, moved_to);
            }
            other => warn!(?other, "a change of a slot that this version does not know"),
        }
    }

    fn open(&mut self, loaded: Loaded) {
        let Loaded { slot, epoch, late, owed, rooms } = loaded;
        if late {
            self.pod.absorb_stored(self.now(), slot, epoch, rooms);
        } else {
            self.pod.open(self.now(), slot, epoch, rooms);
        }
        if owed && self.pod.slot_epoch(slot) == Some(epoch) {
            self.loading.read_late(slot, epoch);
        }
        self.unpark(slot);
    }

    /// Answers what waited for a slot, whether it is open by now or not.
    fn unpark(&mut self, slot: Slot) {
        for input in self.parked.take(slot) {
            self.take_now(self.now(), input);
        }
    }

    /// The slot of a request that had better wait: it is about to be served here, and nobody else is known to serve it.
    fn awaited(&self, input: &Input) -> Option<Slot> {
        let room = match input {
            Input::GatewayPublish { room, .. } | Input::RelayPublish { room, .. } => room,
            Input::Subscribe(_, subscription) => &subscription.room,
            _ => return None,
        };
        let slot = Slot::of(room.as_str());
        let elsewhere = self.pod.moved_to(slot).is_some() && !self.loading.is_opening(slot);
        (!self.pod.serves(slot) && !elsewhere).then_some(slot)
    }

    fn tell(&self, news: News) {
        if let Some(ownership) = &self.news
            && ownership.try_send(news).is_err()
        {
            warn!("ownership does not listen: it learns this later by itself");
        }
    }

    fn log_event(&mut self, event: LogEvent) {
        match event {
            LogEvent::Stored { slot, epoch, ticket } => self.pod.stored(slot, epoch, ticket),
            LogEvent::Failed { slot, epoch, ticket } => {
                self.handle.metrics.not_stored.inc();
                self.pod.not_stored(slot, epoch, ticket);
            }
            LogEvent::Stale { slot, epoch } => self.stale(slot, epoch),
            LogEvent::Rewrite { slot } => self.pod.rewrite(self.now(), slot),
        }
    }

    fn stale(&mut self, slot: Slot, epoch: Epoch) {
        // The later owner may be this one, whose fence is raised before the slot is opened again.
        let state = self.pod.slot_state(self.now(), slot);
        if self.pod.stale(slot, epoch) {
            if let Some((ended, rooms)) = state {
                self.loading.keep(slot, ended, rooms);
            }
            info!(%slot, %epoch, "closed a slot: it has a later owner");
        }
        self.tell(News::Stale { slot, epoch });
    }

    // ---- inputs

    fn take(&mut self, now: Now, input: Input) {
        let Some(slot) = self.awaited(&input) else { return self.take_now(now, input) };
        self.loading.hurry(slot);
        if let Some(input) = self.parked.park(slot, input) {
            self.take_now(now, input);
        }
    }

    fn take_now(&mut self, now: Now, input: Input) {
        match input {
            Input::GatewayOpened { link, instance, outbox, number } => {
                let gateway = self.pod.gateway_opened(now, &instance);
                self.links.add_gateway(gateway, link, outbox);
                let _ = number.send(gateway);
            }
            Input::GatewayLost { link, gateway } => {
                if self.links.remove_gateway(gateway, link) {
                    self.pod.gateway_lost(now, gateway);
                }
            }
            Input::Members { gateway, number, rooms } => {
                for room in &rooms {
                    self.hurry(&room.room);
                }
                let applied = self.pod.members(now, gateway, number, rooms);
                self.links.tell_gateway(gateway, ToGateway::Applied(convert::applied(number, &applied)));
            }
            Input::GatewayPublish { gateway, request, room, publish } => {
                self.hurry(&room);
                self.pod.publish(now, Asker::Gateway(gateway, request), &room, &publish);
            }
            Input::RelayPublish { relay, request, room, publish } => {
                self.hurry(&room);
                self.pod.publish(now, Asker::Relay(relay, request), &room, &publish);
            }
            Input::RelayOpened { relay, outbox } => self.links.add_relay(relay, outbox),
            Input::RelayLost(relay) => {
                self.links.remove_relay(relay);
                self.pod.relay_lost(now, relay);
            }
            Input::Subscribe(relay, subscription) => {
                self.hurry(&subscription.room);
                self.links.restart(relay, &subscription.room);
                self.pod.subscribe(now, relay, subscription);
            }
            Input::Unsubscribe(relay, room) => {
                self.links.restart(relay, &room);
                self.pod.unsubscribe(now, relay, &room);
            }
            Input::Audit(relay, rooms) => self.pod.audit(now, relay, &rooms),
            Input::ReadLog(relay, room, range) => self.read_log(relay, room, range),
            Input::Away(rooms) => self.pod.members_away(now, rooms),
            Input::Stale(slot, epoch) => self.stale(slot, epoch),
            Input::Admin(request, reply) => self.admin(now, *request, reply),
            Input::Announce(publish, reply) => {
                let _ = reply.send(self.pod.announce(now, &publish));
            }
            Input::ListRooms(after, limit, reply) => {
                let (rooms, next) = self.pod.list_rooms(now, after.as_ref(), limit);
                let rooms = rooms.iter().map(|room| convert::described(room, &self.address)).collect();
                let next = next.map_or_else(String::new, |next| next.as_str().to_owned());
                let _ = reply.send(link::ListRoomsReply { rooms, next });
            }
            Input::GatewayLoad(gateway, percent) => self.pod.gateway_load(now, gateway, percent),
            Input::Gathered(slots) => {
                for (slot, rooms) in slots {
                    self.learn(now, slot, Epoch::NONE, rooms);
                }
            }
            Input::HandOver { slot, epoch, next_epoch, rooms, taken } => {
                self.learn(now, slot, epoch, rooms);
                self.tell(News::HandedOver { slot, epoch: next_epoch });
                let _ = taken.send(());
            }
        }
    }

    /// Others know something of the rooms of a slot, whether it is open here already or not yet.
    fn learn(&mut self, now: Now, slot: Slot, from: Epoch, rooms: Vec<RoomState>) {
        if self.pod.serves(slot) {
            self.pod.absorb(now, slot, from, rooms);
        } else {
            self.loading.hand_over(slot, rooms);
        }
    }

    /// Reads the log beside the rooms. A question too many, or one that fails, is not answered: readers have deadlines.
    fn read_log(&self, relay: RelayNo, room: RoomId, range: LogRange) {
        let Some(outbox) = self.links.outbox(relay).filter(|_| self.pod.serves(Slot::of(room.as_str()))) else {
            return;
        };
        let Ok(permit) = Arc::clone(&self.log_reads).try_acquire_owned() else { return };
        let log = Arc::clone(&self.log);
        tokio::spawn(async move {
            match tokio::time::timeout(LOG_READ_WITHIN, log.read(room.clone(), range)).await {
                Ok(Ok(page)) => {
                    let kind = ToRelay::LogPage(convert::log_page(&room, range, &page));
                    // A full queue: the reader asks again.
                    let _ = outbox.send(link::ChatroomToRelay { kind: Some(kind) });
                }
                Ok(Err(problem)) => warn!(%room, %problem, "the log could not be read for a pull"),
                Err(_) => warn!(%room, "the log was not read in time for a pull"),
            }
            drop(permit);
        });
    }

    /// Somebody waits for a room: if its slot is still being loaded, it comes first.
    fn hurry(&mut self, room: &RoomId) {
        self.loading.hurry(Slot::of(room.as_str()));
    }

    // ---- figures

    fn sample(&mut self) {
        let stats = self.pod.stats();
        let before = std::mem::replace(&mut self.sampled, stats);
        let rates = Rates {
            joins_per_s: stats.joins.saturating_sub(before.joins) as f64,
            leaves_per_s: stats.leaves.saturating_sub(before.leaves) as f64,
            publishes_per_s: stats.publishes.saturating_sub(before.publishes) as f64,
        };
        let activity = self.pod.activity(self.now());
        self.loading.tidy();
        self.tell(News::Heat(activity.iter().map(|slot| (slot.slot, heat(slot))).collect()));
        self.handle.publish_sample(rates, activity);
        let metrics = &self.handle.metrics;
        let (gateways, relays) = self.links.counts();
        let set = |gauge: &prometheus_client::metrics::gauge::Gauge, value: u64| {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        set(&metrics.members, self.pod.members_total());
        set(&metrics.rooms, self.pod.rooms_total() as u64);
        set(&metrics.slots, self.pod.open_slots().count() as u64);
        set(&metrics.gateways, gateways as u64);
        set(&metrics.relays, relays as u64);
    }
}

/// How much a move of a slot is felt: its members, and its messages more.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is small and not negative")]
fn heat(slot: &Activity) -> u64 {
    slot.members.saturating_add((slot.messages_per_s * 100.0) as u64).saturating_add(u64::from(slot.rooms))
}
