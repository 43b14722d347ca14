//! The shell of the ownership machine: one task that asks the registry what the machine wants and tells it the answers.
//!
//! Decisions are all in `throng_core::ownership`; here is only who is asked and with which deadline: the registry
//! ([`calls`]), the store ([`store`]), other Pods ([`peers`]) and the role itself ([`Rooms`]). A gateway runs it too, with no
//! slots: its lease and member entry are kept the same way.

mod calls;
pub mod metrics;
mod peers;
mod refused;
mod store;
mod translate;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::stream::{FuturesUnordered, StreamExt as _};
use throng_core::ownership::{Config, Duty, Input, Me, Output, Ownership, Status};
use throng_core::placement::Placement;
use throng_core::routes::SlotChange;
use throng_core::{Epoch, InstanceId, Millis, Role, Slot};
use throng_proto::key::PodKey;
use throng_proto::link::GatheredRoom;
use throng_registry::{Member, Registry, View};
use throng_store::Store;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use calls::Calls;
pub use refused::Refusals;
use refused::Refused;

/// Longest time between two looks at the reactors.
const PULSE_EVERY_MS: u64 = 200;

/// Longest time that the role may not take what opens and closes: as long as a right lasts that nothing confirms.
const TOLD_WITHIN: Duration = Duration::from_secs(2);

/// What a process is to the others.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its role.
    pub role: Role,
    /// This run of it.
    pub instance: InstanceId,
    /// What it says of itself; `draining` and `redis_ok` are the machine's.
    pub member: Member,
}

/// Shortest time between two looks at what is served.
const STATUS_EVERY_MS: u64 = 20;
/// News of the role that may wait to be heard.
const NEWS: usize = 8192;

/// A boxed future, as an object-safe trait needs it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a role that owns rooms does for its ownership.
pub trait Rooms: Send + Sync + 'static {
    /// Takes note of what message Pods knew of the rooms of slots that are about to open.
    fn gathered(&self, rooms: Vec<(Slot, Vec<GatheredRoom>)>) -> BoxFuture<'_, ()>;

    /// Waits until nothing of a slot waits for the store, before it is moved. False: that takes too long.
    fn settled(&self, slot: Slot) -> BoxFuture<'_, bool>;
}

/// Calls that wait for their answers.
type UnderWay = FuturesUnordered<calls::Call>;

/// How a turn ended.
enum Turn {
    Done,
    /// All is given up.
    Stopped,
    /// The role does not take what it must know.
    Unheard,
}

/// The driver; [`Driver::run`] is its task.
pub struct Driver {
    config: Config,
    machine: Ownership,
    role: Role,
    began: Instant,
    calls: Calls,
    registry: Arc<dyn Registry>,
    slots: mpsc::Sender<SlotChange>,
    commands: watch::Receiver<Part>,
    status: watch::Sender<Status>,
    news: mpsc::Receiver<Input>,
    rights: Arc<AtomicU64>,
    placement_revision: u64,
    next_status: Millis,
    /// Since when slots are being taken over, and how many were open then.
    taking_since: Option<(Millis, usize)>,
}

/// What part a process is to take.
#[derive(Clone, Copy, Debug)]
enum Part {
    Takes,
    /// It gives everything away.
    Leaves {
        by: Option<Millis>,
    },
}

/// What others may ask of a driver. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    part: watch::Sender<Part>,
    status: watch::Receiver<Status>,
    news: mpsc::Sender<Input>,
    began: Instant,
    rights: Arc<AtomicU64>,
    refused: Refused,
}

impl Handle {
    /// Begins to give everything to others: within so long, as far as it can; none: in its own time.
    pub fn drain(&self, within: Option<Duration>) {
        let by = within.map(|within| since(self.began) + u64::try_from(within.as_millis()).unwrap_or(u64::MAX));
        self.part.send_replace(Part::Leaves { by });
    }

    /// Takes a drain back.
    pub fn undrain(&self) {
        self.part.send_replace(Part::Takes);
    }

    /// Whether it is to be emptied.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        matches!(*self.part.borrow(), Part::Leaves { .. })
    }

    /// What is served and what is not.
    #[must_use]
    pub fn status(&self) -> Status {
        *self.status.borrow()
    }

    /// Why the registry or the store refuses this process, if one does.
    #[must_use]
    pub fn refusals(&self) -> Refusals {
        self.refused.said()
    }

    /// Where the role tells what the machine must hear: hand-overs, later epochs, slots that somebody waits for, activity.
    #[must_use]
    pub fn news(&self) -> mpsc::Sender<Input> {
        self.news.clone()
    }

    /// Whether every slot that was opened, and not closed since, may be served at this instant. A process that was stopped
    /// for a while learns here, before anything else, that its rights are over.
    #[must_use]
    pub fn holds_rights(&self) -> bool {
        since(self.began).0 < self.rights.load(Ordering::Acquire)
    }
}

fn since(began: Instant) -> Millis {
    Millis(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX))
}

impl Driver {
    /// A driver of `identity` that tells `slots` what opens and closes. The lease is the only right to
    /// serve: fences and grace come with a shared store ([`Self::with_store`]).
    #[must_use]
    pub fn new(identity: Identity, registry: Arc<dyn Registry>, slots: mpsc::Sender<SlotChange>) -> (Self, Handle) {
        let Identity { role, instance, member } = identity;
        let me = Me {
            instance,
            pod: Arc::clone(&member.pod),
            uid: Arc::clone(&member.uid),
            address: Arc::clone(&member.address),
            revision: Arc::clone(&member.revision),
        };
        let duty = if role == Role::Chatroom { Duty::Rooms } else { Duty::Users };
        let mut config = Config::new(me.clone(), duty, false);
        if role == Role::Gateway {
            config.slots.clear();
        }
        let (part, commands) = watch::channel(Part::Takes);
        let (status, seen) = watch::channel(Status::default());
        let (told, news) = mpsc::channel(NEWS);
        let (began, rights) = (Instant::now(), Arc::new(AtomicU64::new(u64::MAX)));
        let refused = Refused::default();
        let driver = Self {
            machine: Ownership::new(config.clone(), Millis::ZERO),
            config,
            role,
            began,
            calls: Calls::new(role, me, member, Arc::clone(&registry), refused.clone()),
            registry,
            slots,
            commands,
            status,
            news,
            rights: Arc::clone(&rights),
            placement_revision: 0,
            next_status: Millis::ZERO,
            taking_since: None,
        };
        (driver, Handle { part, status: seen, news: told, began, rights, refused })
    }

    /// Fences and grace in a store that all processes of the role share. Before [`Self::run`].
    #[must_use]
    pub fn with_store(mut self, store: Arc<dyn Store>) -> Self {
        self.config.store = true;
        self.machine = Ownership::new(self.config.clone(), self.now());
        self.calls.use_store(store);
        self
    }

    /// Other Pods can be asked, with the key that they share.
    #[must_use]
    pub fn with_peers(mut self, key: PodKey) -> Self {
        self.calls.use_peers(key);
        self
    }

    /// The role owns rooms: promises are gathered for it, and it settles what it moves.
    #[must_use]
    pub fn with_rooms(mut self, rooms: Arc<dyn Rooms>) -> Self {
        self.calls.use_rooms(rooms);
        self
    }

    fn now(&self) -> Millis {
        since(self.began)
    }

    /// Runs until stopped, then gives everything up. Dropping it instead is a crash: the lease expires.
    ///
    /// It also ends if the role does not take what is opened and closed for it within [`TOLD_WITHIN`]: whoever does not hear
    /// what it must not serve any more is taken for dead. Its rights end at once, and nothing is given up, as in a crash.
    ///
    /// `pulse` tells when the slowest of the process's other threads last answered: the time since, in milliseconds.
    pub async fn run(mut self, mut pulse: impl FnMut() -> u64 + Send, stop: CancellationToken) {
        let mut views = self.registry.watch();
        let mut under_way = UnderWay::new();
        let mut stopping = false;
        let mut inputs = vec![Input::Timer];
        views.mark_changed();
        loop {
            inputs.push(Input::Reactors(self.now() - pulse()));
            let turn = self.turn(&mut inputs, &mut under_way).await;
            self.publish();
            match turn {
                Turn::Stopped => return,
                Turn::Unheard => {
                    self.rights.store(0, Ordering::Release);
                    error!("the role has not taken its slots for {TOLD_WITHIN:?}: this process ends, others take over");
                    return;
                }
                Turn::Done if !inputs.is_empty() => continue,
                Turn::Done => {}
            }
            let sleep = self.until_next();
            tokio::select! {
                Some(answers) = under_way.next(), if !under_way.is_empty() => inputs.extend(answers),
                Some(input) = self.news.recv() => inputs.push(input),
                changed = views.changed() => {
                    if changed.is_err() {
                        warn!("the registry is gone");
                        return;
                    }
                    let view = Arc::clone(&views.borrow_and_update());
                    self.calls.look(&view);
                    self.look(&view, &mut inputs);
                }
                Ok(()) = self.commands.changed() => {
                    let part = *self.commands.borrow_and_update();
                    info!(?part, "drain");
                    inputs.push(match part {
                        Part::Takes => Input::Undrain,
                        Part::Leaves { by } => Input::Drain { by },
                    });
                }
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    inputs.push(Input::Stop);
                }
                () = tokio::time::sleep(sleep) => inputs.push(Input::Timer),
            }
        }
    }

    /// Tells the machine what is new, does what it wants, and takes the answers that are there already into `inputs`.
    async fn turn(&mut self, inputs: &mut Vec<Input>, under_way: &mut UnderWay) -> Turn {
        for input in inputs.iter() {
            self.calls.hear(input);
        }
        let (now, mut outputs) = (self.now(), Vec::new());
        self.machine.handle_all(inputs.drain(..), now, &mut outputs);
        let mut turn = Turn::Done;
        let mut gathers: Vec<(Slot, Epoch)> = Vec::new();
        for output in outputs {
            if let Some(change) = output.slot_change() {
                if !self.tell(change).await {
                    return Turn::Unheard;
                }
                continue;
            }
            match output {
                Output::Stopped => turn = Turn::Stopped,
                Output::Gather { slot, epoch } => gathers.push((slot, epoch)),
                output => under_way.extend(self.calls.start(output)),
            }
        }
        // What has ended was told: from here on the role may rely on the rest.
        if let Some(until) = self.machine.rights_until(self.now()) {
            self.rights.store(until.0, Ordering::Release);
        }
        if !gathers.is_empty() {
            under_way.extend(self.calls.gather(&gathers));
        }
        // All at once: a take-over of thousands of slots is as many small answers.
        while let Some(Some(answers)) = under_way.next().now_or_never() {
            inputs.extend(answers);
        }
        while let Ok(input) = self.news.try_recv() {
            inputs.push(input);
        }
        turn
    }

    /// Tells the role what opens or closes; false: it does not take it.
    async fn tell(&self, change: SlotChange) -> bool {
        // A role that is gone, which it is only when the process ends, has nothing to hear.
        tokio::time::timeout(TOLD_WITHIN, self.slots.send(change)).await.is_ok()
    }

    fn look(&mut self, view: &View, inputs: &mut Vec<Input>) {
        if !view.health.is_healthy() {
            return;
        }
        if let Some(stored) = view.placement(self.role)
            && stored.mod_revision != self.placement_revision
        {
            self.placement_revision = stored.mod_revision;
            match Placement::decode(&stored.bytes) {
                Ok(placement) => inputs.push(Input::Placement(Arc::new(placement))),
                Err(error) => warn!(%error, "a placement document that does not read; the last one stays"),
            }
        }
        inputs.push(Input::View(Box::new(translate::view(view, self.role))));
    }

    /// Tells what is served. Not each time: every slot is looked at for it.
    fn publish(&mut self) {
        let now = self.now();
        if now < self.next_status {
            return;
        }
        self.next_status = now + STATUS_EVERY_MS;
        let status = self.machine.status(now);
        if status.taking > 0 && self.taking_since.is_none() {
            self.taking_since = Some((now, status.open));
            info!(slots = status.taking, unowned = status.unowned, "taking slots over");
        } else if let Some((since, open)) = self.taking_since.filter(|_| status.taking == 0) {
            self.taking_since = None;
            let slots = status.open.saturating_sub(open);
            info!(slots, unowned = status.unowned, took_ms = now.since(since), "slots are taken over");
        }
        self.status.send_if_modified(|last| std::mem::replace(last, status) != status);
    }

    fn until_next(&self) -> Duration {
        let now = self.now();
        let wake = self.machine.wake_at().map_or(PULSE_EVERY_MS, |at| at.since(now));
        Duration::from_millis(wake.clamp(1, PULSE_EVERY_MS))
    }
}
