//! What the rest of the process sees of the role: counters, rates, the activity of slots.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use throng_core::Slot;
use throng_core::room::{Activity, Stats};
use throng_proto::link;
use tokio::sync::{mpsc, watch};
use tracing::warn;

use crate::convert;
use crate::input::Input;
use crate::options::Rooms;

/// Rates over the last second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Sessions that came into a room, applied here.
    pub joins_per_s: f64,
    /// Sessions that left a room, applied here.
    pub leaves_per_s: f64,
    /// Publishes asked for.
    pub publishes_per_s: f64,
}

/// Cheap to clone; every read is of a counter or a small lock.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(crate) metrics: Metrics,
    shared: Arc<Shared>,
    rooms: watch::Sender<Rooms>,
    inputs: mpsc::Sender<Input>,
}

#[derive(Debug)]
struct Shared {
    began: Instant,
    /// When the task that owns the rooms last showed that it lives, in milliseconds since `began`.
    beat_ms: AtomicU64,
    rates: Mutex<Rates>,
    activity: Mutex<Vec<Activity>>,
}

impl Handle {
    pub(crate) fn new(registry: &mut Registry, rooms: Rooms, inputs: mpsc::Sender<Input>) -> Self {
        let shared = Shared {
            began: Instant::now(),
            beat_ms: AtomicU64::new(0),
            rates: Mutex::default(),
            activity: Mutex::default(),
        };
        let metrics = Metrics::register(registry);
        Self { metrics, shared: Arc::new(shared), rooms: watch::Sender::new(rooms), inputs }
    }

    /// So long the task that owns the rooms has shown no sign of life, in milliseconds.
    #[must_use]
    pub fn silent_ms(&self) -> u64 {
        self.shared.now_ms().saturating_sub(self.shared.beat_ms.load(Ordering::Relaxed))
    }

    pub(crate) fn beat(&self) {
        self.shared.beat_ms.store(self.shared.now_ms(), Ordering::Relaxed);
    }

    /// Members of all rooms of this Pod, as of the last second.
    #[must_use]
    pub fn members(&self) -> u64 {
        u64::try_from(self.metrics.members.get()).unwrap_or(0)
    }

    /// Rooms of this Pod, as of the last second.
    #[must_use]
    pub fn rooms(&self) -> u64 {
        u64::try_from(self.metrics.rooms.get()).unwrap_or(0)
    }

    /// What the Pod has done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            joins: self.metrics.joins.get(),
            leaves: self.metrics.leaves.get(),
            publishes: self.metrics.publishes.get(),
            refused: self.metrics.refused.get(),
            repeated_batches: self.metrics.repeated_batches.get(),
        }
    }

    /// Rates over the last second.
    #[must_use]
    pub fn rates(&self) -> Rates {
        *self.shared.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What goes on in each occupied slot, as of the last second.
    #[must_use]
    pub fn activity(&self) -> Vec<Activity> {
        self.shared.activity.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// New defaults for all rooms, in force at once.
    pub fn set_rooms(&self, rooms: Rooms) {
        self.rooms.send_replace(rooms);
    }

    /// What message Pods knew of the rooms of slots, gathered before they open. A room that does not read is left out.
    pub async fn gathered(&self, slots: Vec<(Slot, Vec<link::GatheredRoom>)>) {
        let read = |room| convert::gathered(room).inspect_err(|bad| warn!(%bad, "a gathered room does not read"));
        let of_slot = |(slot, rooms): (Slot, Vec<link::GatheredRoom>)| {
            (slot, rooms.into_iter().filter_map(|room| read(room).ok()).collect())
        };
        // The role is gone only when the process ends.
        let _ = self.inputs.send(Input::Gathered(slots.into_iter().map(of_slot).collect())).await;
    }

    pub(crate) fn inputs(&self) -> mpsc::Sender<Input> {
        self.inputs.clone()
    }

    pub(crate) fn watch_rooms(&self) -> watch::Receiver<Rooms> {
        self.rooms.subscribe()
    }

    pub(crate) fn publish_sample(&self, rates: Rates, activity: Vec<Activity>) {
        *self.shared.rates.lock().unwrap_or_else(PoisonError::into_inner) = rates;
        *self.shared.activity.lock().unwrap_or_else(PoisonError::into_inner) = activity;
    }
}

impl Shared {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

type Count = Counter<u64, AtomicU64>;

/// Metrics of the role; names start with `throng_chatroom_`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) joins: Count,
    pub(crate) leaves: Count,
    pub(crate) publishes: Count,
    pub(crate) refused: Count,
    pub(crate) repeated_batches: Count,
    pub(crate) segments: Count,
    pub(crate) overflows: Count,
    pub(crate) not_stored: Count,
    pub(crate) members: Gauge,
    pub(crate) rooms: Gauge,
    pub(crate) slots: Gauge,
    pub(crate) gateways: Gauge,
    pub(crate) relays: Gauge,
}

impl Metrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("throng_chatroom");
        let counters = [
            ("joins", "Sessions that came into a room", &metrics.joins),
            ("leaves", "Sessions that left a room", &metrics.leaves),
            ("publishes", "Messages that asked to enter a room", &metrics.publishes),
            ("refused", "Messages that were refused", &metrics.refused),
            (
                "repeated_batches",
                "Batches of membership changes that had been applied before",
                &metrics.repeated_batches,
            ),
            ("segments", "Segments sent, once for each relay", &metrics.segments),
            ("overflows", "Times that a queue to a relay or gateway was full", &metrics.overflows),
            ("not_stored", "Writes that the store did not take", &metrics.not_stored),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        let gauges = [
            ("members", "Members of all rooms", &metrics.members),
            ("rooms", "Rooms", &metrics.rooms),
            ("slots", "Slots that are served", &metrics.slots),
            ("gateways", "Gateways linked", &metrics.gateways),
            ("relays", "Relays linked", &metrics.relays),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
        metrics
    }

    /// Brings the counters to what the Pod has done.
    pub(crate) fn take(&self, stats: Stats) {
        let raise = |counter: &Count, to: u64| counter.inc_by(to.saturating_sub(counter.get()));
        raise(&self.joins, stats.joins);
        raise(&self.leaves, stats.leaves);
        raise(&self.publishes, stats.publishes);
        raise(&self.refused, stats.refused);
        raise(&self.repeated_batches, stats.repeated_batches);
    }
}
