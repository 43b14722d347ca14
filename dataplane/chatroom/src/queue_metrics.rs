//! What goes to the store and comes from it, as Prometheus metrics; `docs/metrics.md` explains each.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use throng_store::WriteBehind;

use crate::StoredLog;

/// Registers the metrics of a log; names start with `throng_store_`.
pub fn register(log: &StoredLog, registry: &mut Registry) {
    let store = registry.sub_registry_with_prefix("throng_store");
    store.register_collector(Box::new(Queue(log.behind().clone())));
    store.register("reads", "Calls that read the store: slots taken over, pulls of old messages", log.reads().clone());
}

struct Queue(WriteBehind);

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Queue")
    }
}

impl Collector for Queue {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let now = self.0.metrics();
        for (name, help, value) in [
            ("queue_writes", "Writes that wait for the store or are on their way", now.depth),
            ("queue_bytes", "What they weigh", now.weight_bytes),
            ("queue_batches", "Batches on their way", now.in_flight),
        ] {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        let help = "How long the oldest write has waited";
        let metric = encoder.encode_descriptor("queue_oldest_age_seconds", help, None, MetricType::Gauge)?;
        ConstGauge::new(now.oldest_age_ms as f64 / 1000.0).encode(metric)?;
        for (name, help, value) in [
            ("writes", "Writes carried out", now.written),
            ("batches", "Batches carried out", now.flushes),
            ("batch_errors", "Batches that failed and are tried again", now.errors),
            ("writes_dropped", "Writes dropped: no place, too old, or another owner", now.dropped),
            ("writes_superseded", "Writes that a later one replaced before they were sent", now.superseded),
            ("acks_failed", "Publishers told that their message is not known to be stored", now.acks_failed),
        ] {
            ConstCounter::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        Ok(())
    }
}
