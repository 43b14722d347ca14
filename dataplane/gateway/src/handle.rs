//! How others see a gateway: what it carries, whether it lives, and the drain.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use crate::auth::{BadKey, Keys};
use crate::counters::Counters;
use crate::options::{Auth, Downstream};
use crate::traffic::ToShard;

/// How others see a gateway. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(crate) state: Arc<State>,
}

pub(crate) struct State {
    pub(crate) counters: Arc<Counters>,
    pub(crate) accepting: Arc<AtomicBool>,
    pub(crate) open: Arc<AtomicBool>,
    pub(crate) alive: Vec<Arc<AtomicU64>>,
    pub(crate) threads: Vec<Arc<AtomicU64>>,
    pub(crate) links_up: AtomicU64,
    /// Links that stand and links that do not, to chatroom and to message Pods.
    pub(crate) links: [(AtomicU64, AtomicU64); 2],
    pub(crate) open_rooms: AtomicU64,
    pub(crate) began: Instant,
    pub(crate) orders: mpsc::Sender<ToShard>,
    /// What clients get, and what tokens are taken by, as was said last.
    pub(crate) downstream: watch::Sender<Downstream>,
    pub(crate) keys: watch::Sender<Arc<Keys>>,
}

/// What a gateway carries, as rates since the last sample.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Connections now.
    pub connections: f64,
    /// Megabits a second to clients.
    pub egress_mbps: f64,
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
        };
        let connections = counters.connections.load(Ordering::Relaxed) as f64;
        let Some(before) = last.replace(sample) else { return Load { connections, ..Load::default() } };
        let seconds = sample.at.duration_since(before.at).as_secs_f64().max(0.001);
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        Load {
            connections,
            egress_mbps: rate(sample.egress_bytes, before.egress_bytes) * 8.0 / 1e6,
            joins_per_second: rate(sample.joins, before.joins),
            deliveries_per_second: rate(sample.deliveries, before.deliveries),
        }
    }

    /// CPU time of the gateway's threads since they began, milliseconds; 0 where the system does not tell.
    #[must_use]
    pub fn cpu_ms(&self) -> u64 {
        self.state.threads.iter().map(|thread| thread_cpu_ms(thread.load(Ordering::Relaxed))).sum()
    }

    /// CPU time of each of its threads since it began, microseconds; 0 where the system does not tell.
    pub(crate) fn threads_cpu_us(&self) -> Vec<u64> {
        self.state.threads.iter().map(|thread| thread_cpu_us(thread.load(Ordering::Relaxed))).collect()
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
    /// `per_second`: how many at most, 0: as the configuration says; more, if the deadline is too near for that.
    pub fn drain(&self, deadline: Duration, per_second: u32) {
        self.state.accepting.store(false, Ordering::Relaxed);
        let within_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        let per_s = per_second.div_ceil(self.shards());
        let _ = self.state.orders.try_send(ToShard::Drain { within_ms, per_s });
    }

    /// Reactors, each with its part of the connections.
    fn shards(&self) -> u32 {
        u32::try_from(self.state.alive.len()).unwrap_or(u32::MAX).max(1)
    }

    /// Accepts again and asks nobody else to go.
    pub fn undrain(&self) {
        self.state.accepting.store(true, Ordering::Relaxed);
        let _ = self.state.orders.try_send(ToShard::Undrain);
    }

    /// Takes new connections or takes none, where no Service in front of it sees to that. Whoever is connected stays.
    pub fn open(&self, open: bool) {
        self.state.open.store(open, Ordering::Relaxed);
    }

    /// Asks so many users to connect anew, the idle ones first; everybody else stays. Nobody while it is draining.
    pub fn shed(&self, users: u64, per_second: u32) {
        if self.is_draining() {
            return;
        }
        let users = users.div_ceil(u64::from(self.shards()));
        let per_s = per_second.div_ceil(self.shards());
        let _ = self.state.orders.try_send(ToShard::Shed { users, per_s });
    }

    /// What clients get of lanes 2-3 from now on, those that are connected too. In force within a turn of each reactor.
    pub fn set_downstream(&self, downstream: Downstream) {
        self.state.downstream.send_if_modified(|now| std::mem::replace(now, downstream) != downstream);
    }

    /// Takes other keys for tokens and resume tokens. Whoever is connected stays.
    ///
    /// # Errors
    /// Which key does not read; then all stay as they are.
    pub fn set_keys(&self, auth: &Auth) -> Result<(), BadKey> {
        self.state.keys.send_replace(Arc::new(Keys::new(auth)?));
        Ok(())
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

/// Time that a thread of this process was on a CPU, in microseconds. `schedstat` counts nanoseconds, where the kernel has it.
fn thread_cpu_us(thread: u64) -> u64 {
    let read = || {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).ok()?;
        stat.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    read().map_or_else(|| thread_cpu_ms(thread) * 1000, |on_cpu_ns| on_cpu_ns / 1000)
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
