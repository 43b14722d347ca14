//! Bounds on cost and time: each is stated once, beside the scenario that measures it, and stands in the report with the
//! figure that it bounds. They hold for the load of the README's table, on a machine with nothing else to do; `--slack`
//! widens those that hang on the machine for another.

use serde::Serialize;

use super::report::Report;

/// With slack, a gateway may need so many times the CPU of the bare loop of the same run, where that is above the bound.
const OVER_FLOOR: f64 = 1.5;

/// A figure of the report and what it must not pass.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Bound {
    /// The figure, as it is called in the report.
    pub(crate) name: String,
    /// What was measured; none: nothing, which meets no bound.
    pub(crate) value: Option<f64>,
    /// What is promised, slack included.
    #[serde(flatten)]
    pub(crate) limit: Limit,
    /// Whether the figure is inside.
    pub(crate) met: bool,
}

/// On which side of the limit a figure must be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Limit {
    /// Not above it.
    AtMost(f64),
    /// Not below it.
    AtLeast(f64),
}

impl Bound {
    fn new(name: impl Into<String>, value: Option<f64>, limit: Limit) -> Self {
        let met = value.is_some_and(|value| match limit {
            Limit::AtMost(most) => value <= most,
            Limit::AtLeast(least) => value >= least,
        });
        Self { name: name.into(), value, limit, met }
    }

    /// The miss in words.
    pub(super) fn words(&self) -> String {
        let value = self.value.map_or_else(|| "not measured".to_owned(), |value| format!("{value:.3}"));
        match self.limit {
            Limit::AtMost(most) => format!("{} is {value}, at most {most:.3} is promised", self.name),
            Limit::AtLeast(least) => format!("{} is {value}, at least {least:.3} is promised", self.name),
        }
    }
}

/// How much wider than promised bounds are: 1 on the machine of the promise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Slack(pub(super) f64);

impl Report {
    /// A figure that hangs on the speed of the machine may not be larger than `most`, times the slack.
    pub(super) fn at_most(&mut self, name: impl Into<String>, value: Option<f64>, most: f64, slack: Slack) {
        self.bounds.push(Bound::new(name, value, Limit::AtMost(most * slack.0)));
    }

    /// The same for a rate, which may not be smaller than `least`, divided by the slack.
    pub(super) fn at_least(&mut self, name: impl Into<String>, value: Option<f64>, least: f64, slack: Slack) {
        self.bounds.push(Bound::new(name, value, Limit::AtLeast(least / slack.0)));
    }

    /// CPU per delivery, in microseconds. A slower machine shows in its bare loop too, so with slack that is the measure.
    pub(super) fn cpu_at_most(&mut self, us: f64, slack: Slack) {
        let floor = self.floor_cpu_us_per_delivery.filter(|_| slack.0 > 1.0).unwrap_or(0.0);
        let limit = Limit::AtMost(us.max(OVER_FLOOR * floor));
        self.bounds.push(Bound::new("gateway_cpu_us_per_delivery", self.gateway_cpu_us_per_delivery, limit));
    }

    /// Whether every promise was kept and every bound met.
    pub(super) fn passed(&self) -> bool {
        self.broken.is_empty() && self.bounds.iter().all(|bound| bound.met)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_outside_its_bound_and_one_that_is_missing_fail_the_run() {
        let passed = |value: Option<f64>, slack: f64| {
            let mut report = Report::default();
            report.at_most("p99", value, 100.0, Slack(slack));
            report.at_least("rate", value, 50.0, Slack(slack));
            report.passed()
        };
        assert!(passed(Some(100.0), 1.0));
        assert!(!passed(Some(101.0), 1.0));
        assert!(passed(Some(101.0), 2.0));
        assert!(!passed(Some(49.0), 1.0));
        assert!(passed(Some(49.0), 2.0));
        assert!(!passed(None, 3.0));
    }

    #[test]
    fn slack_measures_cpu_by_the_bare_loop_of_the_same_run() {
        let passed = |cpu: f64, floor: f64, slack: f64| {
            let mut report = Report {
                gateway_cpu_us_per_delivery: Some(cpu),
                floor_cpu_us_per_delivery: Some(floor),
                ..Report::default()
            };
            report.cpu_at_most(0.35, Slack(slack));
            report.passed()
        };
        assert!(passed(0.35, 0.1, 1.0));
        assert!(!passed(0.5, 0.4, 1.0));
        assert!(passed(0.5, 0.4, 3.0));
        assert!(!passed(0.5, 0.2, 3.0));
    }

    #[test]
    fn a_bound_stands_in_the_report_with_its_figure() {
        let mut report = Report::default();
        report.at_most("latency_ms.p99", Some(12.0), 250.0, Slack(3.0));
        let bound = serde_json::to_value(&report.bounds).unwrap();
        assert_eq!(
            bound,
            serde_json::json!([{"name": "latency_ms.p99", "value": 12.0, "at_most": 750.0, "met": true}])
        );
    }
}
