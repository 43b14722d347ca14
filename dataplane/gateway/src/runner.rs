//! The loop around the hub, on its thread.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use hashbrown::HashMap;
use mio::Waker;
use throng_core::Millis;
use throng_core::routes::Routes;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::auth::Keys;
use crate::gauge::Gauge;
use crate::handle::Handle;
use crate::hub::{Action, Address, FromLink, Hub, Role};
use crate::links::{self, Out};
use crate::options::Downstream;
use crate::traffic::{ToHub, ToShard};

/// How long a stuck reactor holds the hub back.
const STUCK: Duration = Duration::from_secs(1);
/// How often the gauges of metrics are brought up to date.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// A reactor, as the hub's loop sees it.
pub(crate) struct ShardEnd {
    pub(crate) sender: Sender<ToShard>,
    pub(crate) waker: Waker,
    /// Something was put into its queue in this round.
    pub(crate) told: bool,
}

impl ShardEnd {
    fn tell(&mut self, number: u16, message: ToShard) {
        let sent = self.sender.send_timeout(message, STUCK);
        self.told = true;
        if sent.is_err() {
            tracing::error!(number, "a reactor takes nothing any more");
        }
    }
}

/// What comes to the loop.
pub(crate) struct Inputs {
    pub(crate) from_shards: mpsc::Receiver<(u16, Vec<ToHub>)>,
    pub(crate) link_events: mpsc::Receiver<(Role, Address, FromLink)>,
    pub(crate) orders: mpsc::Receiver<ToShard>,
    pub(crate) downstream: watch::Receiver<Downstream>,
    pub(crate) keys: watch::Receiver<Arc<Keys>>,
    pub(crate) routes: watch::Receiver<Arc<Routes>>,
}

/// The loop around the hub.
pub(crate) struct Runner {
    pub(crate) hub: Hub,
    pub(crate) shards: Vec<ShardEnd>,
    pub(crate) links: HashMap<(Role, Address), mpsc::Sender<Out>>,
    pub(crate) context: links::Context,
    pub(crate) handle: Handle,
    pub(crate) gauge: Gauge,
    pub(crate) began: Instant,
}

impl Runner {
    /// Runs until it is stopped or no reactor is left.
    pub(crate) async fn run(mut self, mut inputs: Inputs, stop: CancellationToken) -> Vec<ShardEnd> {
        self.at();
        let routes = Arc::clone(&inputs.routes.borrow_and_update());
        self.hub.routes(routes);
        self.act();
        let mut told = Instant::now();
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
                Some(order) = inputs.orders.recv() => self.tell_all(&order),
                Ok(()) = inputs.downstream.changed() => {
                    let downstream = *inputs.downstream.borrow_and_update();
                    self.tell_all(&ToShard::Downstream(downstream));
                }
                Ok(()) = inputs.keys.changed() => {
                    let keys = Arc::clone(&inputs.keys.borrow_and_update());
                    self.tell_all(&ToShard::Keys(keys));
                }
                Ok(()) = inputs.routes.changed() => {
                    self.at();
                    let routes = Arc::clone(&inputs.routes.borrow_and_update());
                    self.hub.routes(routes);
                }
                () = sleep(idle) => self.at(),
            }
            self.hub.tick();
            self.tell_load();
            self.act();
            if told.elapsed() >= TELL_EVERY {
                told = Instant::now();
                self.tell_metrics();
            }
        }
    }

    fn now(&self) -> Millis {
        Millis(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn at(&mut self) {
        self.hub.at(self.now());
    }

    /// Owners of rooms choose their ticks by how busy the gateways are.
    fn tell_load(&mut self) {
        let now = self.now();
        if self.gauge.is_due(now)
            && let Some(percent) = self.gauge.read(now, self.handle.threads_cpu_us())
        {
            self.hub.load(percent);
        }
    }

    fn tell_metrics(&self) {
        let state = &self.handle.state;
        state.open_rooms.store(self.hub.open_rooms() as u64, Ordering::Relaxed);
        for (gauges, role) in state.links.iter().zip([Role::Chatroom, Role::Message]) {
            let (up, down) = self.hub.links_to(role);
            gauges.0.store(up, Ordering::Relaxed);
            gauges.1.store(down, Ordering::Relaxed);
        }
    }

    fn count_links(&self, event: &FromLink) {
        let up = &self.handle.state.links_up;
        match event {
            FromLink::Up => drop(up.fetch_add(1, Ordering::Relaxed)),
            FromLink::Down => drop(up.fetch_sub(1, Ordering::Relaxed)),
            FromLink::Chatroom(_) | FromLink::Message(_) => {}
        }
    }

    fn tell_all(&mut self, order: &ToShard) {
        for (number, shard) in (0..).zip(&mut self.shards) {
            shard.tell(number, order.clone());
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
                        shard.tell(number, message);
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
