//! What a process serves and by which right, as Prometheus metrics; `docs/metrics.md` explains each.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::Handle;

/// Registers the status of a driver; names start with `throng_ownership_`.
pub fn register(ownership: &Handle, registry: &mut Registry) {
    registry.sub_registry_with_prefix("throng_ownership").register_collector(Box::new(Owned(ownership.clone())));
}

#[derive(Debug)]
struct Owned(Handle);

impl Collector for Owned {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let status = self.0.status();
        let help = "Slots by what is known of them";
        let mut metric = encoder.encode_descriptor("slots", help, None, MetricType::Gauge)?;
        for (state, slots) in [
            ("open", status.open),
            ("taking", status.taking),
            ("moving", status.moving),
            ("blind", status.blind),
            ("unowned", status.unowned),
        ] {
            let slots = i64::try_from(slots).unwrap_or(i64::MAX);
            ConstGauge::new(slots).encode(metric.encode_family(&[("state", state)])?)?;
        }
        let incarnation = i64::try_from(status.incarnation).unwrap_or(i64::MAX);
        for (name, help, value) in [
            ("lease", "Whether the lease is confirmed", i64::from(status.lease)),
            ("grace", "Whether the grace is held", i64::from(status.grace)),
            ("store", "Whether the store answers", i64::from(status.store)),
            ("draining", "Whether it is to be emptied", i64::from(self.0.is_draining())),
            ("incarnation", "The largest incarnation of etcd that is known", incarnation),
        ] {
            ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        Ok(())
    }
}
