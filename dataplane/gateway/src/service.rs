//! The whole role: what it is given, and its threads.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use hashbrown::HashMap;
use throng_core::InstanceId;
use throng_core::routes::Routes;
use throng_proto::key::PodKey;
use throng_proto::link::Open;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::auth::{BadKey, Keys};
use crate::gauge::Gauge;
use crate::guard::Guard;
use crate::handle::{Handle, State};
use crate::hub::{Hub, Settings};
use crate::options::WeakSecret;
use crate::reactor::{Handed, Reactor, Wiring};
use crate::runner::{Inputs, Runner, ShardEnd};
use crate::shard::Shared;
use crate::traffic::{Origin, ToHub, ToShard};
use crate::{Options, http, links};

/// Messages that wait for a reactor. A reactor that lets so many wait is stuck, and so is then the hub, and the Pod is
/// taken for dead, which is what it is.
const SHARD_QUEUE: usize = 65_536;
/// Rounds of a reactor's news that wait for the hub.
const HUB_QUEUE: usize = 1024;
const LINK_EVENTS: usize = 4096;
const HTTP_QUEUE: usize = 256;
const ORDERS_QUEUE: usize = 16;

/// What a gateway is given.
pub struct Deps {
    /// The configuration.
    pub options: Options,
    /// One listener a reactor, all of the same address: see [`crate::bind`]. Their number is that of the reactors.
    pub listeners: Vec<TcpListener>,
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
    /// A secret in the configuration that anybody could guess.
    #[error(transparent)]
    Weak(#[from] WeakSecret),
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

impl Service {
    /// Checks the configuration. Nothing runs yet, but the listeners' backlogs fill.
    pub fn new(deps: Deps) -> Result<(Self, Handle), Error> {
        let reactors = deps.listeners.len();
        if reactors == 0 || reactors > 64 {
            return Err(Error::Reactors);
        }
        deps.options.auth.check()?;
        let mut options = deps.options.clone();
        let share = |total: u32| total.div_ceil(u32::try_from(reactors).unwrap_or(1));
        options.drain_per_s = share(options.drain_per_s);
        options.limits.connections = share(options.limits.connections);
        let began = Instant::now();
        let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis());
        let keys = Arc::new(Keys::new(&deps.options.auth)?);
        let shared = Arc::new(Shared {
            keys: Arc::clone(&keys),
            guard: Guard::new(&deps.options.limits),
            origin: Origin { unix_ms: u64::try_from(unix_ms).unwrap_or(u64::MAX) },
            options,
        });
        let (orders, taken) = mpsc::channel(ORDERS_QUEUE);
        let state = State {
            counters: Arc::default(),
            accepting: Arc::new(AtomicBool::new(true)),
            open: Arc::new(AtomicBool::new(true)),
            alive: (0..reactors).map(|_| Arc::default()).collect(),
            threads: (0..=reactors).map(|_| Arc::default()).collect(),
            links_up: AtomicU64::new(0),
            links: Default::default(),
            open_rooms: AtomicU64::new(0),
            began,
            orders,
            downstream: watch::Sender::new(deps.options.downstream),
            keys: watch::Sender::new(keys),
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
    fn run_here(mut self) -> Result<(), Error> {
        if let Some(thread) = self.handle.state.threads.last() {
            thread.store(thread_number(), Ordering::Relaxed);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stop = Arc::new(AtomicBool::new(false));
        let (to_hub, from_shards) = mpsc::channel(HUB_QUEUE);
        let (to_http, handed) = mpsc::channel(HTTP_QUEUE);
        let listeners = std::mem::take(&mut self.deps.listeners);
        let mut shards = Vec::new();
        let mut threads = Vec::new();
        for (number, listener) in listeners.into_iter().enumerate() {
            let (shard, thread) = self.spawn_reactor(number, listener, &to_hub, &to_http, &stop)?;
            shards.push(shard);
            threads.push(thread);
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
            gauge: Gauge::default(),
            began: self.began,
        };
        let state = &self.handle.state;
        let (downstream, keys) = (state.downstream.subscribe(), state.keys.subscribe());
        let orders = self.orders;
        let inputs = Inputs { from_shards, link_events, orders, downstream, keys, routes: self.deps.routes };
        let pages = self.deps.pages;
        let for_http = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let ended = CancellationToken::new();
        let until = ended.clone();
        let serving = std::thread::Builder::new().name("gateway-http".to_owned());
        threads.push(serving.spawn(move || {
            for_http.block_on(until.run_until_cancelled(http::serve(handed, pages)));
        })?);
        let shards = runtime.block_on(runner.run(inputs, self.deps.stop));
        ended.cancel();
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

    fn spawn_reactor(
        &self,
        number: usize,
        listener: TcpListener,
        to_hub: &mpsc::Sender<(u16, Vec<ToHub>)>,
        http: &mpsc::Sender<Handed>,
        stop: &Arc<AtomicBool>,
    ) -> Result<(ShardEnd, JoinHandle<()>), Error> {
        let state = &self.handle.state;
        let (Some(alive), Some(thread)) = (state.alive.get(number), state.threads.get(number)) else {
            return Err(Error::Reactors);
        };
        let (sender, from_hub) = crossbeam_channel::bounded(SHARD_QUEUE);
        let wiring = Wiring {
            number: u16::try_from(number).unwrap_or(u16::MAX),
            seed: secret(),
            listener,
            shared: Arc::clone(&self.shared),
            from_hub,
            to_hub: to_hub.clone(),
            http: http.clone(),
            counters: Arc::clone(&state.counters),
            accepting: Arc::clone(&state.accepting),
            open: Arc::clone(&state.open),
            stop: Arc::clone(stop),
            alive: Arc::clone(alive),
            thread: Arc::clone(thread),
            began: self.began,
        };
        let (reactor, waker) = Reactor::new(wiring)?;
        let thread = std::thread::Builder::new().name(format!("gateway-{number}")).spawn(move || reactor.run())?;
        Ok((ShardEnd { sender, waker, told: false }, thread))
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
