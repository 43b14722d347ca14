//! What a gateway counts, as Prometheus metrics; `docs/metrics.md` explains each. They are read when somebody asks.

use std::fmt;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use throng_core::Lane;
use throng_proto::codes::{CloseCode, ErrorCode};

use crate::Handle;
use crate::api::Calls;
use crate::counters::Withheld;

/// Field of [`crate::counters::Counters`], name and help of each counter without labels.
const COUNTERS: &[(&str, &str, &str)] = &[
    ("opened", "accepts", "Connections accepted"),
    ("dropped", "sockets_closed", "Sockets of clients closed"),
    ("http", "http_connections", "Connections handed to the server API"),
    ("refused", "handshakes_refused", "Handshakes answered with an HTTP error"),
    ("head_timeouts", "handshakes_late", "Connections dropped because their handshake took too long"),
    ("unauthorized", "tokens_refused", "Tokens refused"),
    ("hellos", "hellos", "Sessions opened or resumed"),
    ("resumes", "resumes", "Sessions resumed"),
    ("unrecovered", "rooms_unrecovered", "Rooms that a resume could not bring back whole"),
    ("sessions_closed", "sessions_closed", "Sessions whose connection ended"),
    ("closed_by_client", "closed_by_client", "Connections closed by their clients"),
    ("commands", "commands", "Commands of clients"),
    ("joins", "joins", "Joins begun"),
    ("publishes", "publishes", "Messages sent on to be ordered"),
    ("directed", "messages_directed", "Directed messages handed to clients"),
    ("writes", "writes", "Writes to sockets of clients"),
    ("egress_bytes", "sent_bytes", "Bytes written to clients"),
    ("gaps", "gaps", "Gaps declared because a client was slow or something was lost"),
    ("pings", "pings", "Pings sent"),
    ("goaways", "goaways", "Clients asked to go elsewhere"),
];

/// Fields that are no metric of their own: the sum of others.
#[cfg(test)]
const SUMS: &[&str] = &["deliveries"];

/// Registers the metrics of a gateway and of its server API; names start with `throng_gateway_`.
pub fn register(handle: &Handle, calls: &Calls, registry: &mut Registry) {
    let all = All { handle: handle.clone(), calls: calls.clone() };
    registry.sub_registry_with_prefix("throng_gateway").register_collector(Box::new(all));
}

struct All {
    handle: Handle,
    calls: Calls,
}

impl fmt::Debug for All {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("All")
    }
}

impl Collector for All {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.counters(&mut encoder)?;
        self.by_label(&mut encoder)?;
        self.gauges(&mut encoder)
    }
}

impl All {
    fn counters(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut values = Vec::with_capacity(COUNTERS.len());
        self.handle.counters().each(|field, value| values.push((field, value)));
        for (field, name, help) in COUNTERS {
            let value = values.iter().find(|(known, _)| known == field).map_or(0, |(_, value)| *value);
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(metric)?;
        }
        Ok(())
    }

    fn by_label(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let counters = self.handle.counters();
        let lanes = Lane::ALL.map(|lane| lane.number().to_string());
        let help = "Connections that the gateway closed, by close code";
        let mut metric = encoder.encode_descriptor("closes", help, None, MetricType::Counter)?;
        for (code, total) in CloseCode::ALL.iter().zip(&counters.closes) {
            let labels = [("code", code.number().to_string()), ("reason", code.as_str().to_owned())];
            ConstCounter::new(total.load(Ordering::Relaxed)).encode(metric.encode_family(&labels)?)?;
        }
        let help = "Commands answered with an error, by its code";
        let mut metric = encoder.encode_descriptor("errors", help, None, MetricType::Counter)?;
        for (code, total) in ErrorCode::ALL.iter().zip(&counters.errors) {
            let labels = [("code", code.as_str())];
            ConstCounter::new(total.load(Ordering::Relaxed)).encode(metric.encode_family(&labels)?)?;
        }
        let help = "Messages of rooms handed to clients, by lane";
        let mut metric = encoder.encode_descriptor("messages_delivered", help, None, MetricType::Counter)?;
        for (lane, total) in lanes.iter().zip(&counters.delivered) {
            let labels = [("lane", lane.as_str())];
            ConstCounter::new(total.load(Ordering::Relaxed)).encode(metric.encode_family(&labels)?)?;
        }
        let help = "Messages of rooms that a client was not sent but told of as a gap, by reason and lane";
        let mut metric = encoder.encode_descriptor("messages_dropped", help, None, MetricType::Counter)?;
        for (why, totals) in Withheld::ALL.iter().zip(&counters.withheld) {
            for (lane, total) in lanes.iter().zip(totals) {
                let labels = [("lane", lane.as_str()), ("reason", why.as_str())];
                ConstCounter::new(total.load(Ordering::Relaxed)).encode(metric.encode_family(&labels)?)?;
            }
        }
        let help = "Calls of the server API, by route and status";
        let mut metric = encoder.encode_descriptor("api_requests", help, None, MetricType::Counter)?;
        for ((method, route, status), total) in self.calls.totals() {
            let labels = [("method", method), ("route", route), ("status", &status.to_string())];
            ConstCounter::new(total).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn gauges(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (counters, state) = (self.handle.counters(), &self.handle.state);
        let gauges = [
            ("connections", "Connections now", &counters.connections),
            ("queue_connections", "Connections that something waits for", &counters.waiting_connections),
            ("queue_bytes", "Bytes that wait for slow clients", &counters.waiting_bytes),
            ("rooms", "Rooms that somebody here is in", &state.open_rooms),
        ];
        for (name, help, value) in gauges {
            let value = i64::try_from(value.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
            ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        let help = "Links to other Pods, by their role and state";
        let mut metric = encoder.encode_descriptor("links", help, None, MetricType::Gauge)?;
        for (role, (up, down)) in ["chatroom", "message"].into_iter().zip(&state.links) {
            for (state, value) in [("up", up), ("down", down)] {
                let value = i64::try_from(value.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
                ConstGauge::new(value).encode(metric.encode_family(&[("role", role), ("state", state)])?)?;
            }
        }
        let help = "Longest turn of a reactor since this was last asked";
        let metric = encoder.encode_descriptor("slowest_turn_seconds", help, None, MetricType::Gauge)?;
        let slowest_us = counters.slowest_turn_us.swap(0, Ordering::Relaxed);
        ConstGauge::new(slowest_us as f64 / 1e6).encode(metric)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::Counters;

    #[test]
    fn every_counter_is_a_metric() {
        Counters::default().each(|field, _| {
            let known = COUNTERS.iter().any(|(known, ..)| *known == field) || SUMS.contains(&field);
            assert!(known, "{field}");
        });
        assert!(COUNTERS.iter().all(|(field, ..)| {
            let mut found = false;
            Counters::default().each(|known, _| found |= known == *field);
            found
        }));
    }
}
