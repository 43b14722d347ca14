//! What a bench prints: one object, the same names in every scenario.

use serde::{Serialize, Serializer};

use super::conn::ConnId;
use super::fleet::Fleet;
use super::notes::Shared;
use super::process::Cores;
use super::stats::Percentiles;
use super::verdict::Verdict;

/// The outcome of one bench. Fields that a scenario does not measure are left out.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Report {
    /// Which scenario.
    pub(crate) scenario: &'static str,
    /// Connections that were in the room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subscribers: Option<u64>,
    /// Messages (`joins`: joins) a second that were asked for.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rounded_if")]
    pub(crate) rate_per_s: Option<f64>,
    /// Length of the measured window.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rounded_if")]
    pub(crate) seconds: Option<f64>,
    /// Budget that each client asked for; 0: none; absent: the server's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_rate: Option<u32>,
    /// Gateways.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gateways: Option<u32>,
    /// Lane of the messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lane: Option<u8>,
    /// Size of a message's content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) payload_bytes: Option<u64>,
    /// Messages of the window that the room ordered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) published: Option<u64>,
    /// Publishes of the window that a quota refused; each was sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) publish_limited: Option<u64>,
    /// Publishes of the window that were refused otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) publish_refused: Option<u64>,
    /// Messages of the window that clients received, summed over clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delivered: Option<u64>,
    /// Numbers that were declared missing and not received, summed over clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) declared_gaps: Option<u64>,
    /// Numbers neither received nor declared, summed over clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lost: Option<u64>,
    /// Numbers received twice, summed over clients; and stamps with two contents, publishes with two stamps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) duplicated: Option<u64>,
    /// Numbers received after a larger one of their lane, summed over clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reordered: Option<u64>,
    /// Segments of an epoch that no `sealed` announced, summed over clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unannounced_epochs: Option<u64>,
    /// Connections that the server ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disconnects: Option<u64>,
    /// From the send stamp inside a message to its receipt by a client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) latency_ms: Option<Percentiles>,
    /// Usual time between two segments at one client.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rounded_if")]
    pub(crate) tick_ms: Option<f64>,
    /// Messages in a segment, on average.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rounded_if")]
    pub(crate) messages_per_frame: Option<f64>,
    /// Bytes that a client received in a second of the window, on average.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rounded_if")]
    pub(crate) bytes_per_subscriber_per_s: Option<f64>,
    /// The same of clients that only look on.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rounded_if")]
    pub(crate) bytes_per_viewer_per_s: Option<f64>,
    /// The same at `--baseline-rate`.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rounded_if")]
    pub(crate) baseline_bytes_per_viewer_per_s: Option<f64>,
    /// Messages of lanes 2-3 a second, over the whole window, of the client that got most; clients that publish do not count.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rounded_if")]
    pub(crate) viewer_messages_per_s_max: Option<f64>,
    /// The most messages of lanes 2-3 that such a client got in one second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) viewer_burst_max: Option<u64>,
    /// CPU time of all threads of all gateways in the window, per message delivered in it.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rounded_if")]
    pub(crate) gateway_cpu_us_per_delivery: Option<f64>,
    /// The same, as a share of one core.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rounded_if")]
    pub(crate) gateway_cpu_percent: Option<f64>,
    /// CPU time of the load client in the window, as a share of one core.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rounded_if")]
    pub(crate) client_cpu_percent: Option<f64>,
    /// CPU time of the bare loop per write.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rounded_if")]
    pub(crate) floor_cpu_us_per_write: Option<f64>,
    /// CPU time of the bare loop per message delivered, at the cadence of the scenario.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rounded_if")]
    pub(crate) floor_cpu_us_per_delivery: Option<f64>,
    /// Latency of the bare loop at the cadence of the scenario.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) floor_latency_ms: Option<Percentiles>,
    /// The runs of the bare loop.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) floor: Vec<super::floor::FloorReport>,
    /// Resident memory of the gateway per connection; `idle`: by slope.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rounded_if")]
    pub(crate) rss_bytes_per_connection: Option<f64>,
    /// Connections and resident bytes of the gateway, as measured for the slope.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) rss_samples: Vec<(u64, u64)>,
    /// CPU time of the gateway at rest, per second and connection.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rounded_if")]
    pub(crate) idle_cpu_us_per_s_per_connection: Option<f64>,
    /// Pings that the connection with the fewest got while at rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pings_per_connection_min: Option<u32>,
    /// Joins applied at the chatroom Pod, a second of the window.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rounded_if")]
    pub(crate) joins_per_s: Option<f64>,
    /// Leaves applied at the chatroom Pod, a second of the window.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rounded_if")]
    pub(crate) leaves_per_s: Option<f64>,
    /// From a join command to its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) join_ms: Option<Percentiles>,
    /// Joins and leaves that were answered with an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) joins_refused: Option<u64>,
    /// Members that the room should have at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) members_expected: Option<u64>,
    /// Members that the server counted at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) members_counted: Option<u64>,
    /// Time from the last command until the count was exact.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rounded_if")]
    pub(crate) count_exact_after_ms: Option<f64>,
    /// Messages a second that were offered on lanes 2-3.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rounded_if")]
    pub(crate) offered_per_s: Option<f64>,
    /// The same in megabytes a second, to all members together.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rounded_if")]
    pub(crate) offered_mb_per_s: Option<f64>,
    /// Megabytes a second that one core writes to so many sockets, by the bare loop.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rounded_if")]
    pub(crate) floor_mb_per_s: Option<f64>,
    /// Members that stopped reading.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stalled: Option<u64>,
    /// Latency on lanes 0 and 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lossless_latency_ms: Option<Percentiles>,
    /// What became of each lane, for the clients that read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) lanes: Vec<LaneReport>,
    /// From the cut of all connections to the return of each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) back_ms: Option<Percentiles>,
    /// From the death of the gateway to the return of each of its connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) back_after_kill_ms: Option<Percentiles>,
    /// Returns that went on with their session and lost nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) recovered: Option<u64>,
    /// Returns that went on with their session and could not recover all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) recovered_partly: Option<u64>,
    /// Returns that had to begin a new session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sessions_lost: Option<u64>,
    /// Connections that were told to go elsewhere because their gateway goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) goaways: Option<u64>,
    /// Those of them that were closed before their client had moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) late: Option<u64>,
    /// Silences of over two seconds in the lively room, summed over clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) silences: Option<u64>,
    /// Times between two segments of the lively room at one client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gap_ms: Option<Percentiles>,
    /// The same while a client changed to another gateway, because its own was going.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) moved_gap_ms: Option<Percentiles>,
    /// Sessions cut off: closed without a warning, not resumed whole, or silent for over two seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cut_off: Option<u64>,
    /// Reads of the store while clients were away and came back, for each of them.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rounded_if")]
    pub(crate) store_reads_per_resume: Option<f64>,
    /// Resident memory of all gateways before the trouble.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rss_steady_bytes: Option<u64>,
    /// The most resident memory of all gateways meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rss_peak_bytes: Option<u64>,
    /// Rooms of `failover`, beside the one that all are in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rooms: Option<u64>,
    /// What each fault cost, in their order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) faults: Vec<super::failover::FaultReport>,
    /// The worst outage of the faults that interrupt something, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rounded_if")]
    pub(crate) outage_ms_max: Option<f64>,
    /// The longest time without a message in the planned moves, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rounded_if")]
    pub(crate) move_gap_ms_max: Option<f64>,
    /// Messages that were acknowledged as stored and that a member neither received nor could pull.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lost_after_stored: Option<u64>,
    /// Messages that were acknowledged as accepted, which a member neither received nor was told to be missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lost_after_accepted: Option<u64>,
    /// Numbers neither received nor declared, summed over clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) undeclared_gaps: Option<u64>,
    /// Where the processes ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cores: Option<Cores>,
    /// Bounds on cost and time; none if the load is not the one that they are stated for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) bounds: Vec<super::bounds::Bound>,
    /// Promises that were broken, in words; empty: all kept.
    pub(crate) broken: Vec<String>,
}

/// What became of one lane.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LaneReport {
    /// 0 to 3.
    pub(crate) lane: u8,
    /// Messages of the window that the room ordered.
    pub(crate) published: u64,
    /// Numbers received, summed over clients, warm-up included.
    pub(crate) received: u64,
    /// Numbers declared missing and not received, summed over clients.
    pub(crate) declared_gaps: u64,
    /// Numbers neither received nor declared, summed over clients.
    pub(crate) lost: u64,
    /// From the send stamp to the receipt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) latency_ms: Option<Percentiles>,
}

impl Report {
    /// Notes a broken promise if `broken`.
    pub(super) fn promise(&mut self, kept: bool, or_else: impl FnOnce() -> String) {
        if !kept {
            self.broken.push(or_else());
        }
    }

    /// Says of what was lost where.
    pub(super) fn tell_losses(&mut self, fleet: &Fleet, counts: impl Fn(ConnId) -> bool) {
        if self.lost.unwrap_or(0) > 0 {
            self.broken.extend(Verdict::losses(fleet, counts));
        }
    }

    /// Why the server ended the first connection that it ended, if it did.
    pub(super) fn first_end(&mut self, shared: &Shared) {
        if let Some(end) = &shared.first_end {
            self.broken.push(format!("the first connection to end was told: {end}"));
        }
    }

    /// The promises that hold in every scenario with messages.
    pub(super) fn judge(&mut self) {
        let count = |field: Option<u64>| field.unwrap_or(0);
        let (lost, duplicated, reordered) = (count(self.lost), count(self.duplicated), count(self.reordered));
        let (unannounced, disconnects) = (count(self.unannounced_epochs), count(self.disconnects));
        self.promise(lost == 0, || format!("{lost} messages were lost: neither received nor declared missing"));
        self.promise(duplicated == 0, || format!("{duplicated} messages were received twice"));
        self.promise(reordered == 0, || format!("{reordered} messages were received out of order"));
        self.promise(unannounced == 0, || format!("{unannounced} epochs began without a `sealed` of the one before"));
        self.promise(disconnects == 0, || format!("{disconnects} connections were ended by the server"));
    }

    /// The whole as JSON.
    pub(super) fn to_json(&self, one_line: bool) -> anyhow::Result<String> {
        Ok(if one_line { serde_json::to_string(self)? } else { serde_json::to_string_pretty(self)? })
    }
}

/// Writes a figure with three digits behind the point: more than any of them is worth.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
pub(super) fn rounded<S: Serializer>(figure: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((figure * 1000.0).round() / 1000.0)
}

#[expect(clippy::ref_option, reason = "serde hands out references")]
fn rounded_if<S: Serializer>(figure: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match figure {
        Some(figure) => rounded(figure, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_a_double_and_a_disorder_each_break_a_promise() {
        let mut report = Report { scenario: "fanout", lost: Some(0), duplicated: Some(0), ..Report::default() };
        report.judge();
        assert!(report.broken.is_empty());
        let broken = |report: Report| {
            let mut report = report;
            report.judge();
            report.broken.len()
        };
        assert_eq!(broken(Report { lost: Some(1), ..Report::default() }), 1);
        assert_eq!(broken(Report { duplicated: Some(1), reordered: Some(1), ..Report::default() }), 2);
        assert_eq!(broken(Report { disconnects: Some(3), unannounced_epochs: Some(1), ..Report::default() }), 2);
    }

    #[test]
    fn what_was_not_measured_is_left_out_and_figures_are_rounded() {
        let report = Report { scenario: "idle", tick_ms: Some(99.123_456), ..Report::default() };
        assert_eq!(report.to_json(true).unwrap(), r#"{"scenario":"idle","tick_ms":99.123,"broken":[]}"#);
    }
}
