//! The figures that the test command measures, and what they must be.
//!
//! `throng bench` itself fails when a promise is broken (loss, order, duplicates). Here are the bounds on cost: CPU is
//! compared with the bound or, on a slower machine, with what the bare loop of the same run needs; times may be three times
//! as long as promised, because the machine of a test is shared.

use anyhow::{Result, ensure};
use serde_json::Value;

/// Times may be so much longer than promised.
const SLACK: f64 = 3.0;
/// The gateway may need so much more CPU than the bare loop of the same run, where that is above the bound.
const OVER_FLOOR: f64 = 1.5;

/// A run of `throng bench` and its bounds.
pub(crate) struct Figure {
    /// Arguments of `throng bench`.
    pub(crate) args: Vec<String>,
    bounds: &'static [Bound],
}

/// One bound on a report.
enum Bound {
    /// A time, in milliseconds, at a JSON pointer.
    Time(&'static str, f64),
    /// CPU of the gateway per delivery, in microseconds.
    CpuPerDelivery(f64),
    /// Latency of a quiet room against that of the bare loop.
    LatencyOverFloor(f64),
    /// A value at a JSON pointer must not be larger.
    AtMost(&'static str, f64),
    /// A value at a JSON pointer must not be larger than so many times that of the run before.
    OverPrevious(&'static str, f64),
    /// A rate at a JSON pointer must not be smaller than a third of this.
    Rate(&'static str, f64),
}

impl Figure {
    fn new(line: &str, bounds: &'static [Bound]) -> Self {
        Self { args: line.split_whitespace().map(ToOwned::to_owned).collect(), bounds }
    }

    /// Holds a report against the bounds. Some compare it with the report of the run before.
    pub(crate) fn judge(&self, report: &str, previous: &str) -> Result<()> {
        let report: Value = serde_json::from_str(report.trim())?;
        let previous = serde_json::from_str(previous.trim()).unwrap_or_default();
        self.bounds.iter().try_for_each(|bound| bound.judge(&report, &previous))
    }
}

impl Bound {
    fn judge(&self, report: &Value, previous: &Value) -> Result<()> {
        match *self {
            Self::Time(at, ms) => at_most(at, number(report, at)?, ms * SLACK),
            Self::CpuPerDelivery(us) => {
                let floor = number(report, "/floor_cpu_us_per_delivery")?;
                let at = "/gateway_cpu_us_per_delivery";
                at_most(at, number(report, at)?, us.max(floor * OVER_FLOOR))
            }
            Self::LatencyOverFloor(times) => {
                let floor = number(report, "/floor_latency_ms/p99")?;
                at_most("/latency_ms/p99", number(report, "/latency_ms/p99")?, floor * times * SLACK)
            }
            Self::AtMost(at, most) => at_most(at, number(report, at)?, most),
            Self::OverPrevious(at, times) => at_most(at, number(report, at)?, number(previous, at)? * times),
            Self::Rate(at, least) => {
                let rate = number(report, at)?;
                ensure!(rate >= least / SLACK, "{at} is {rate}, at least {} is promised here", least / SLACK);
                Ok(())
            }
        }
    }
}

fn number(report: &Value, at: &str) -> Result<f64> {
    let found = report.pointer(at).and_then(Value::as_f64);
    found.ok_or_else(|| anyhow::anyhow!("the report has no number at {at}"))
}

fn at_most(at: &str, value: f64, most: f64) -> Result<()> {
    ensure!(value <= most, "{at} is {value}, at most {most} is promised here");
    Ok(())
}

/// The runs; shortened unless `full`.
pub(crate) fn figures(full: bool) -> Vec<Figure> {
    let (fanout_s, joins_s) = if full { (20, 30) } else { (10, 10) };
    let failover = if full {
        "--members 1000 --rate 100 --rooms 4000 --times 5"
    } else {
        "--members 200 --rate 50 --rooms 600 --faults chatroom-kill,chatroom-cut,message-kill,message-stop,move"
    };
    let fanout = format!("fanout --subscribers 5000 --seconds {fanout_s} --max-rate 0 --gateways 1");
    let budget = format!("fanout --subscribers 5000 --seconds {fanout_s} --gateways 1 --floor-seconds 0");
    vec![
        Figure::new(
            &format!("{fanout} --rate 200"),
            &[Bound::CpuPerDelivery(0.35), Bound::Time("/latency_ms/p99", 250.0)],
        ),
        Figure::new(
            &format!("{fanout} --rate 20"),
            &[Bound::CpuPerDelivery(2.5), Bound::Time("/latency_ms/p99", 150.0)],
        ),
        Figure::new(&format!("{fanout} --rate 4"), &[Bound::LatencyOverFloor(1.5)]),
        Figure::new(
            "idle --connections 15000",
            &[
                Bound::AtMost("/rss_bytes_per_connection", 1536.0),
                Bound::AtMost("/idle_cpu_us_per_s_per_connection", 1.0 * SLACK),
            ],
        ),
        Figure::new(
            &format!("joins --connections 10000 --rate 20000 --seconds {joins_s}"),
            &[
                Bound::Rate("/joins_per_s", 19_000.0),
                Bound::Rate("/leaves_per_s", 19_000.0),
                Bound::Time("/join_ms/p99", 500.0),
                Bound::Time("/count_exact_after_ms", 1000.0),
            ],
        ),
        Figure::new("storm --connections 8000", &[Bound::Time("/back_ms/p99", 10_000.0)]),
        Figure::new(
            &format!("slow --subscribers 2000 --stalled-percent 20 --overload 5 --seconds {fanout_s}"),
            &[Bound::Time("/lossless_latency_ms/p99", 300.0)],
        ),
        // With the default budget a flooded room costs its viewers hardly more than a lively one.
        Figure::new(&format!("{budget} --rate 40"), &[]),
        Figure::new(&format!("{budget} --rate 1000"), &[Bound::OverPrevious("/bytes_per_viewer_per_s", 1.3)]),
        Figure::new(
            &format!("failover {failover} --slack {SLACK}"),
            &[Bound::Time("/outage_ms_max", 5_000.0), Bound::Time("/move_gap_ms_max", 500.0)],
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(bound: &Bound, report: &str) -> bool {
        let previous = serde_json::json!({"bytes_per_viewer_per_s": 1000.0});
        bound.judge(&serde_json::from_str(report).unwrap_or_default(), &previous).is_ok()
    }

    #[test]
    fn a_bound_can_be_broken() {
        let time = Bound::Time("/latency_ms/p99", 100.0);
        assert!(judge(&time, r#"{"latency_ms":{"p99":299.0}}"#));
        assert!(!judge(&time, r#"{"latency_ms":{"p99":301.0}}"#));
        assert!(!judge(&time, "{}"));
        let cpu = Bound::CpuPerDelivery(0.35);
        let report = |cpu: f64, floor: f64| {
            format!(r#"{{"gateway_cpu_us_per_delivery":{cpu},"floor_cpu_us_per_delivery":{floor}}}"#)
        };
        assert!(judge(&cpu, &report(0.34, 0.1)));
        assert!(judge(&cpu, &report(0.5, 0.4)));
        assert!(!judge(&cpu, &report(0.5, 0.2)));
        let ratio = Bound::OverPrevious("/bytes_per_viewer_per_s", 1.3);
        assert!(judge(&ratio, r#"{"bytes_per_viewer_per_s":1300.0}"#));
        assert!(!judge(&ratio, r#"{"bytes_per_viewer_per_s":1301.0}"#));
    }
}
