//! What others may know of the service: figures for pressure, descriptions and metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use throng_core::relay::Counters;
use throng_core::{Millis, Slot};

/// Figures of the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Users whose home is here.
    pub users: u64,
    /// Their sessions, with a connection or not.
    pub sessions: u64,
    /// Messages handed to gateways in the last second: one message to three gateways is three.
    pub deliveries_per_s: u64,
    /// Rooms with an interested gateway.
    pub rooms: u64,
    /// Bytes in rings.
    pub ring_bytes: u64,
    /// Gateways connected.
    pub gateways: u64,
    /// Links to chatroom Pods that are up.
    pub upstream_links: u64,
}

/// A cheap view of a running service. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Handle(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    users: AtomicU64,
    sessions: AtomicU64,
    deliveries_per_s: AtomicU64,
    rooms: AtomicU64,
    ring_bytes: AtomicU64,
    gateways: AtomicU64,
    upstream_links: AtomicU64,
    slots: Mutex<Vec<(Slot, u64)>>,
}

impl Handle {
    /// The figures, at most a second old.
    #[must_use]
    pub fn sample(&self) -> Sample {
        let read = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        Sample {
            users: read(&self.0.users),
            sessions: read(&self.0.sessions),
            deliveries_per_s: read(&self.0.deliveries_per_s),
            rooms: read(&self.0.rooms),
            ring_bytes: read(&self.0.ring_bytes),
            gateways: read(&self.0.gateways),
            upstream_links: read(&self.0.upstream_links),
        }
    }

    /// Occupied slots of users and how many have their home there, at most a second old.
    #[must_use]
    pub fn slots(&self) -> Vec<(Slot, u64)> {
        self.0.slots.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn publish(&self, sample: &Sample, slots: Vec<(Slot, u64)>) {
        let write = |figure: &AtomicU64, value| figure.store(value, Ordering::Relaxed);
        write(&self.0.users, sample.users);
        write(&self.0.sessions, sample.sessions);
        write(&self.0.deliveries_per_s, sample.deliveries_per_s);
        write(&self.0.rooms, sample.rooms);
        write(&self.0.ring_bytes, sample.ring_bytes);
        write(&self.0.gateways, sample.gateways);
        write(&self.0.upstream_links, sample.upstream_links);
        *self.0.slots.lock().unwrap_or_else(PoisonError::into_inner) = slots;
    }
}

/// The figures as Prometheus metrics, brought up to date once a second.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    users: Gauge,
    sessions: Gauge,
    rooms: Gauge,
    ring_bytes: Gauge,
    gateways: Gauge,
    upstream_links: Gauge,
    segments: Counter,
    sent: Counter,
    deliveries: Counter,
    duplicates: Counter,
    stale: Counter,
    mended: Counter,
    waited: Counter,
    last: Counters,
    last_at: Millis,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("throng_message");
        registry.register("users", "Users whose home is here", metrics.users.clone());
        registry.register("sessions", "Sessions of those users", metrics.sessions.clone());
        registry.register("rooms", "Rooms with an interested gateway", metrics.rooms.clone());
        registry.register("ring_bytes", "Bytes of recent segments", metrics.ring_bytes.clone());
        registry.register("gateways", "Gateways connected", metrics.gateways.clone());
        registry.register("upstream_links", "Links to chatroom Pods that are up", metrics.upstream_links.clone());
        registry.register("segments", "Segments taken from owners", metrics.segments.clone());
        registry.register("sent", "Segments handed to gateways", metrics.sent.clone());
        registry.register("deliveries", "Messages handed to gateways", metrics.deliveries.clone());
        registry.register("duplicates", "Segments that were known already", metrics.duplicates.clone());
        registry.register("stale", "Segments of an owner whose time was over", metrics.stale.clone());
        registry.register("mended", "Times a room was asked for again", metrics.mended.clone());
        registry.register("waited", "Times a gateway waited for its window", metrics.waited.clone());
        metrics
    }

    /// Writes the figures; returns deliveries a second since the last call.
    pub(crate) fn update(&mut self, sample: &Sample, now: &Counters, at: Millis) -> u64 {
        let gauge = |gauge: &Gauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        gauge(&self.users, sample.users);
        gauge(&self.sessions, sample.sessions);
        gauge(&self.rooms, sample.rooms);
        gauge(&self.ring_bytes, sample.ring_bytes);
        gauge(&self.gateways, sample.gateways);
        gauge(&self.upstream_links, sample.upstream_links);
        let deliveries = now.deliveries - self.last.deliveries;
        self.segments.inc_by(now.segments - self.last.segments);
        self.sent.inc_by(now.sent - self.last.sent);
        self.deliveries.inc_by(deliveries);
        self.duplicates.inc_by(now.duplicates - self.last.duplicates);
        self.stale.inc_by(now.stale - self.last.stale);
        self.mended.inc_by(now.mended - self.last.mended);
        self.waited.inc_by(now.waited - self.last.waited);
        let elapsed_ms = at.since(self.last_at).max(1);
        self.last = *now;
        self.last_at = at;
        deliveries.saturating_mul(1_000) / elapsed_ms
    }
}
