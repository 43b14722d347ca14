//! The one task that owns the rooms.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use throng_core::relay::LogRange;
use throng_core::room::{Asker, Now, Pod, RelayNo, RoomState, Stats};
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
use crate::stream::Clock;
use crate::{convert, handover};

/// Inputs taken in one turn, at most: outputs leave between turns.
const TURN: usize = 256;
/// How often paused streams are looked at.
const RESUME_EVERY: Duration = Duration::from_millis(20);
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
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
    /// Who is told of slots that were handed over, with the epoch that they were handed over to.
    pub(crate) handed_over: Option<mpsc::Sender<(Slot, Epoch)>>,
    loading: Loading,
    log_reads: Arc<Semaphore>,
    key: PodKey,
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
            handed_over: None,
            log_reads: Arc::new(Semaphore::new(LOG_READS)),
            key,
            clock,
            sampled: Stats::default(),
        }
    }

    /// Runs until cancelled, or until nobody can tell it anything any more.
    pub(crate) async fn run(mut self, mut inbox: Inbox, cancel: CancellationToken) {
        let mut turn = Vec::with_capacity(TURN);
        let mut samples = tokio::time::interval(SAMPLE_EVERY);
        samples.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            let wake = self.wake_at();
            tokio::select! {
                () = cancel.cancelled() => break,
                count = inbox.inputs.recv_many(&mut turn, TURN) => {
                    if count == 0 {
                        break;
                    }
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
                () = tokio::time::sleep_until(wake) => {}
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

    fn wake_at(&self) -> Instant {
        let far = Instant::now() + SAMPLE_EVERY;
        let due = self.pod.next_due().and_then(|due| self.clock.at(due));
        let paused = self.links.has_paused().then(|| Instant::now() + RESUME_EVERY);
        [due, paused].into_iter().flatten().fold(far, Instant::min)
    }

    // ---- slots

    fn change_slot(&mut self, change: SlotChange) {
        match change {
            SlotChange::Open { slot, epoch } => self.loading.open(slot, epoch),
            SlotChange::Close { slot, moved_to } => {
                self.loading.close(slot);
                if let (Some(owner), Some((epoch, rooms))) = (&moved_to, self.pod.slot_state(self.now(), slot)) {
                    let (address, key, next_epoch) = (owner.address.clone(), self.key.clone(), owner.epoch);
                    tokio::spawn(async move {
                        if let Err(problem) = handover::send(address, key, slot, epoch, next_epoch, rooms).await {
                            warn!(%slot, problem, "the slot was not handed over: its next owner has what is stored");
                        }
                    });
                }
                self.pod.close(slot, moved_to);
            }
            other => warn!(?other, "a change of a slot that this version does not know"),
        }
    }

    fn open(&mut self, loaded: Loaded) {
        if let Some(rooms) = loaded.rooms {
            self.pod.open(self.now(), loaded.slot, loaded.epoch, rooms);
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
        if self.pod.stale(slot, epoch) {
            info!(%slot, %epoch, "closed a slot: it has a later owner");
        }
    }

    // ---- inputs

    fn take(&mut self, now: Now, input: Input) {
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
            Input::GatewayLoad(gateway, percent) => self.pod.gateway_load(gateway, percent),
            Input::Gathered(slot, rooms) => self.learn(now, slot, Epoch::NONE, rooms),
            Input::HandOver { slot, epoch, next_epoch, rooms, taken } => {
                self.learn(now, slot, epoch, rooms);
                if let Some(handed_over) = &self.handed_over
                    && handed_over.try_send((slot, next_epoch)).is_err()
                {
                    warn!(%slot, "nobody heard that the slot was handed over: it opens after the usual wait");
                }
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
