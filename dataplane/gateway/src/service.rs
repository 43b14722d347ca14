//! The whole role: threads, the loop around the hub, and the handle by which others see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use crossbeam_channel::Sender;
use hashbrown::HashMap;
use mio::Waker;
use throng_core::routes::Routes;
use throng_core::{InstanceId, Millis};
use throng_proto::key::PodKey;
use throng_proto::link::Open;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::auth::jwt::BadKey;
use crate::auth::{Signer, Verifier};
use crate::counters::Counters;
use crate::guard::Guard;
use crate::hub::{Action, Address, FromLink, Hub, Role, Settings};
use crate::links::{self, Out};
use crate::reactor::{Reactor, Wiring};
use crate::shard::Shared;
use crate::traffic::{Origin, ToHub, ToShard};
use crate::{Options, http};

/// Messages that wait for a reactor. A reactor that lets so many wait is stuck, and so is then the hub, and the Pod is
/// taken for dead, which is what it is.
const SHARD_QUEUE: usize = 65_536;
/// Rounds of a reactor's news that wait for the hub.
const HUB_QUEUE: usize = 1024;
const LINK_EVENTS: usize = 4096;
const HTTP_QUEUE: usize = 256;
const ORDERS_QUEUE: usize = 16;
/// How long a stuck reactor holds the hub back.
const STUCK: Duration = Duration::from_secs(1);

/// What a gateway is given.
pub struct Deps {
    /// The configuration.
    pub options: Options,
    /// One listener a reactor, all of the same address: see [`crate::bind`]. Their number is that of the reactors.
    pub listeners: Vec<std::net::TcpListener>,
    /// The key between Pods.
    pub key: PodKey,
    /// Who serves what.
    pub routes: watch::Receiver<Arc<Routes>>,
    /// This run of this process.
    pub instance: InstanceId,
    /// Name of the Pod, and its revision, for the other side of links.
    pub pod: String,
    /// See `pod`.
    pub revision: String,
    /// Pages that are served beside the server API on the public port; empty: none.
    pub pages: Router,
    /// Ends the role: connections are closed without a word. Drain first.
    pub stop: CancellationToken,
}

/// Why a gateway cannot start, or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A key in the configuration.
    #[error(transparent)]
    Key(#[from] BadKey),
    /// No listener, or more than 64.
    #[error("a gateway has 1 to 64 reactors, each with a listener")]
    Reactors,
    /// A socket, a thread or the runtime.
    #[error("the gateway cannot start: {0}")]
    Io(#[from] std::io::Error),
}

/// A gateway before it runs.
pub struct Service {
    deps: Deps,
    shared: Arc<Shared>,
    handle: Handle,
    orders: mpsc::Receiver<ToShard>,
    began: Instant,
}

/// How others see a gateway. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    state: Arc<State>,
}

struct State {
    counters: Arc<Counters>,
    accepting: Arc<AtomicBool>,
    alive: Vec<Arc<AtomicU64>>,
    threads: Vec<Arc<AtomicU64>>,
    links_up: AtomicU64,
    began: Instant,
    orders: mpsc::Sender<ToShard>,
}

/// What a gateway carries, as rates since the last sample.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Connections now.
    pub connections: f64,
    /// Megabits a second to clients.
    pub egress_mbps: f64,
    /// CPU time of the gateway's threads; 100 is one core.
    pub cpu_percent: f64,
    /// Joins a second.
    pub joins_per_second: f64,
    /// Messages handed to subscribers a second.
    pub deliveries_per_second: f64,
}

/// Where a [`Handle::load`] left off.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    at: Instant,
    egress_bytes: u64,
    joins: u64,
    deliveries: u64,
    cpu_ms: u64,
}

impl Handle {
    /// Everything that is counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.state.counters
    }

    /// What is carried since `last`, which is moved to now. Start with `None`.
    pub fn load(&self, last: &mut Option<Sample>) -> Load {
        let counters = &self.state.counters;
        let sample = Sample {
            at: Instant::now(),
            egress_bytes: counters.egress_bytes.load(Ordering::Relaxed),
            joins: counters.joins.load(Ordering::Relaxed),
            deliveries: counters.deliveries.load(Ordering::Relaxed),
            cpu_ms: self.cpu_ms(),
        };
        let connections = counters.connections.load(Ordering::Relaxed) as f64;
        let Some(before) = last.replace(sample) else { return Load { connections, ..Load::default() } };
        let seconds = sample.at.duration_since(before.at).as_secs_f64().max(0.001);
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        Load {
            connections,
            egress_mbps: rate(sample.egress_bytes, before.egress_bytes) * 8.0 / 1e6,
            cpu_percent: rate(sample.cpu_ms, before.cpu_ms) / 10.0,
            joins_per_second: rate(sample.joins, before.joins),
            deliveries_per_second: rate(sample.deliveries, before.deliveries),
        }
    }

    /// CPU time of the gateway's threads since they began, milliseconds; 0 where the system does not tell.
    #[must_use]
    pub fn cpu_ms(&self) -> u64 {
        self.state.threads.iter().map(|thread| thread_cpu_ms(thread.load(Ordering::Relaxed))).sum()
    }

    /// Whether every reactor has ended a turn within the last second.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let now = u64::try_from(self.state.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.state.alive.iter().all(|at| now.saturating_sub(at.load(Ordering::Relaxed)) < 1000)
    }

    /// Links to other Pods that stand now.
    #[must_use]
    pub fn links_up(&self) -> u64 {
        self.state.links_up.load(Ordering::Relaxed)
    }

    /// Stops accepting and asks all clients, at a pace, to go elsewhere. Those that stay are closed ten seconds later.
    pub fn drain(&self, deadline: Duration) {
        self.state.accepting.store(false, Ordering::Relaxed);
        let within_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        let _ = self.state.orders.try_send(ToShard::Drain { within_ms });
    }

    /// Accepts again and asks nobody else to go.
    pub fn undrain(&self) {
        self.state.accepting.store(true, Ordering::Relaxed);
        let _ = self.state.orders.try_send(ToShard::Undrain);
    }

    /// Whether it is draining.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        !self.state.accepting.load(Ordering::Relaxed)
    }

    /// Connections that are left.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.state.counters.connections.load(Ordering::Relaxed)
    }
}

/// User and system time of a thread of this process, in milliseconds (proc(5): clock ticks are 10 ms).
fn thread_cpu_ms(thread: u64) -> u64 {
    let read = || {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).ok()?;
        let (_, after_name) = stat.rsplit_once(')')?;
        let mut fields = after_name.split_ascii_whitespace().skip(11);
        let user: u64 = fields.next()?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        Some((user + system) * 10)
    };
    read().unwrap_or(0)
}

impl Service {
    /// Checks the configuration. Nothing runs yet, but the listeners' backlogs fill.
    pub fn new(deps: Deps) -> Result<(Self, Handle), Error> {
        let reactors = deps.listeners.len();
        if reactors == 0 || reactors > 64 {
            return Err(Error::Reactors);
        }
        let mut options = deps.options.clone();
        let share = |total: u32| total.div_ceil(u32::try_from(reactors).unwrap_or(1));
        options.drain_per_s = share(options.drain_per_s);
        options.limits.connections = share(options.limits.connections);
        let began = Instant::now();
        let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis());
        let shared = Arc::new(Shared {
            verifier: Verifier::new(&deps.options.auth)?,
            signer: Signer::new(&deps.options.auth.resume),
            guard: Guard::new(&deps.options.limits),
            origin: Origin { unix_ms: u64::try_from(unix_ms).unwrap_or(u64::MAX) },
            options,
        });
        let (orders, taken) = mpsc::channel(ORDERS_QUEUE);
        let state = State {
            counters: Arc::default(),
            accepting: Arc::new(AtomicBool::new(true)),
            alive: (0..reactors).map(|_| Arc::default()).collect(),
            threads: (0..=reactors).map(|_| Arc::default()).collect(),
            links_up: AtomicU64::new(0),
            began,
            orders,
        };
        let handle = Handle { state: Arc::new(state) };
        Ok((Self { deps, shared, handle: handle.clone(), orders: taken, began }, handle))
    }

    /// Runs until it is stopped or a reactor fails. Its threads have ended when it returns.
    pub async fn run(self) -> Result<(), Error> {
        let (ended, end) = oneshot::channel();
        std::thread::Builder::new().name("gateway-hub".to_owned()).spawn(move || {
            let _ = ended.send(self.run_here());
        })?;
        end.await.unwrap_or(Ok(()))
    }

    /// Starts the reactors and becomes the hub's thread.
    fn run_here(self) -> Result<(), Error> {
        if let Some(thread) = self.handle.state.threads.last() {
            thread.store(thread_number(), Ordering::Relaxed);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stop = Arc::new(AtomicBool::new(false));
        let (to_hub, from_shards) = mpsc::channel(HUB_QUEUE);
        let (to_http, handed) = mpsc::channel(HTTP_QUEUE);
        let mut shards = Vec::new();
        let mut threads = Vec::new();
        let state = &self.handle.state;
        let places = state.alive.iter().zip(&state.threads).enumerate();
        for (listener, (number, (alive, thread))) in self.deps.listeners.into_iter().zip(places) {
            let (sender, from_hub) = crossbeam_channel::bounded(SHARD_QUEUE);
            let wiring = Wiring {
                number: u16::try_from(number).unwrap_or(u16::MAX),
                seed: secret(),
                listener,
                shared: Arc::clone(&self.shared),
                from_hub,
                to_hub: to_hub.clone(),
                http: to_http.clone(),
                counters: Arc::clone(&state.counters),
                accepting: Arc::clone(&state.accepting),
                stop: Arc::clone(&stop),
                alive: Arc::clone(alive),
                thread: Arc::clone(thread),
                began: self.began,
            };
            let (reactor, waker) = Reactor::new(wiring)?;
            let name = format!("gateway-{number}");
            threads.push(std::thread::Builder::new().name(name).spawn(move || reactor.run())?);
            shards.push(ShardEnd { sender, waker, told: false });
        }
        drop((to_hub, to_http));
        let hub = Hub::new(Settings {
            instance: self.deps.instance.clone(),
            shards: u16::try_from(shards.len()).unwrap_or(u16::MAX),
            answer_ms: self.shared.options.limits.answer_ms,
            origin: self.shared.origin,
        });
        let (events, link_events) = mpsc::channel(LINK_EVENTS);
        let open =
            Open { pod: self.deps.pod, instance: self.deps.instance.as_str().to_owned(), revision: self.deps.revision };
        let runner = Runner {
            hub,
            shards,
            links: HashMap::new(),
            context: links::Context { key: self.deps.key, open, events },
            handle: self.handle.clone(),
            began: self.began,
        };
        let inputs = Inputs { from_shards, link_events, orders: self.orders, routes: self.deps.routes };
        let pages = self.deps.pages;
        let shards = runtime.block_on(async {
            let serving = tokio::spawn(http::serve(handed, pages));
            let shards = runner.run(inputs, self.deps.stop).await;
            serving.abort();
            shards
        });
        stop.store(true, Ordering::Relaxed);
        for shard in &shards {
            let _ = shard.waker.wake();
        }
        // Their channels must be gone, or a full one would hold a reactor back.
        drop(shards);
        drop(runtime);
        for thread in threads {
            let _ = thread.join();
        }
        Ok(())
    }
}

/// A reactor, as the hub's loop sees it.
struct ShardEnd {
    sender: Sender<ToShard>,
    waker: Waker,
    /// Something was put into its queue in this round.
    told: bool,
}

struct Inputs {
    from_shards: mpsc::Receiver<(u16, Vec<ToHub>)>,
    link_events: mpsc::Receiver<(Role, Address, FromLink)>,
    orders: mpsc::Receiver<ToShard>,
    routes: watch::Receiver<Arc<Routes>>,
}

/// The loop around the hub.
struct Runner {
    hub: Hub,
    shards: Vec<ShardEnd>,
    links: HashMap<(Role, Address), mpsc::Sender<Out>>,
    context: links::Context,
    handle: Handle,
    began: Instant,
}

impl Runner {
    async fn run(mut self, mut inputs: Inputs, stop: CancellationToken) -> Vec<ShardEnd> {
        self.at();
        let routes = Arc::clone(&inputs.routes.borrow_and_update());
        self.hub.routes(routes);
        self.act();
        loop {
            let idle = Duration::from_millis(self.hub.idle_ms());
            tokio::select! {
                () = stop.cancelled() => return self.shards,
                event = inputs.link_events.recv() => {
                    self.at();
                    let mut next = event;
                    // A burst is one round: one wake of each reactor.
                    while let Some((role, address, event)) = next {
                        self.count_links(&event);
                        self.hub.from_link(role, &address, event);
                        next = inputs.link_events.try_recv().ok();
                    }
                }
                news = inputs.from_shards.recv() => {
                    // All reactors have ended: there is nothing left to serve.
                    let Some((shard, news)) = news else { return self.shards };
                    self.at();
                    for message in news {
                        self.hub.from_shard(shard, message);
                    }
                }
                Some(order) = inputs.orders.recv() => {
                    for shard in &mut self.shards {
                        shard.told |= shard.sender.try_send(order.clone()).is_ok();
                    }
                }
                Ok(()) = inputs.routes.changed() => {
                    self.at();
                    let routes = Arc::clone(&inputs.routes.borrow_and_update());
                    self.hub.routes(routes);
                }
                () = sleep(idle) => self.at(),
            }
            self.hub.tick();
            self.act();
        }
    }

    fn at(&mut self) {
        self.hub.at(Millis(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)));
    }

    fn count_links(&self, event: &FromLink) {
        let up = &self.handle.state.links_up;
        match event {
            FromLink::Up => drop(up.fetch_add(1, Ordering::Relaxed)),
            FromLink::Down => drop(up.fetch_sub(1, Ordering::Relaxed)),
            FromLink::Chatroom(_) | FromLink::Message(_) => {}
        }
    }

    fn act(&mut self) {
        for action in self.hub.take_actions() {
            match action {
                Action::Connect(role, address) => self.connect(role, address),
                Action::Disconnect(role, address) => drop(self.links.remove(&(role, address))),
                Action::Chatroom(address, kind) => self.send(Role::Chatroom, address, Out::Chatroom(kind)),
                Action::Message(address, kind) => self.send(Role::Message, address, Out::Message(kind)),
                Action::Shard(number, message) => {
                    if let Some(shard) = self.shards.get_mut(usize::from(number)) {
                        let sent = shard.sender.send_timeout(message, STUCK);
                        shard.told = true;
                        if sent.is_err() {
                            tracing::error!(number, "a reactor takes nothing any more");
                        }
                    }
                }
            }
        }
        for shard in &mut self.shards {
            if std::mem::take(&mut shard.told) {
                let _ = shard.waker.wake();
            }
        }
    }

    fn connect(&mut self, role: Role, address: Address) {
        let (sender, queue) = mpsc::channel(links::QUEUE);
        let task = links::keep(role, Arc::clone(&address), queue, self.context.clone());
        tokio::spawn(task);
        self.links.insert((role, address), sender);
    }

    /// A link whose queue is full is given up and made anew: the hub then tells everything again.
    fn send(&mut self, role: Role, address: Address, out: Out) {
        let full = self.links.get(&(role, Arc::clone(&address))).is_some_and(|link| link.try_send(out).is_err());
        if full {
            tracing::warn!(%address, ?role, "a link takes nothing any more; it is made anew");
            self.links.remove(&(role, Arc::clone(&address)));
            self.hub.from_link(role, &address, FromLink::Down);
            self.connect(role, address);
        }
    }
}

/// The number of this thread, by which the system counts its time.
pub(crate) fn thread_number() -> u64 {
    u64::try_from(rustix::thread::gettid().as_raw_nonzero().get()).unwrap_or(0)
}

/// A number that nobody can guess, from the seed that the standard library draws for its maps.
fn secret() -> u64 {
    std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), 0_u64)
}
