//! What the operator says of itself at `/metrics`. The table in `docs/operator.md` is made of [`ALL`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use throng_plan::status::Condition;
use tokio::time::Instant;

use crate::kube_api::Observer;
use crate::watch::{ClusterKey, Watches};

/// Names, kinds and meanings of all metrics.
pub const ALL: [(&str, &str, &str); 12] = [
    ("throng_operator_leads", "gauge", "1 while this process leads, else 0"),
    ("throng_operator_clusters", "gauge", "Clusters that it looks after"),
    ("throng_operator_watch_age_seconds", "gauge", "Time since a watch of the resource was opened last, in seconds"),
    ("throng_operator_unreadable", "gauge", "Objects of the resource that cannot be read"),
    (
        "throng_operator_kube_calls_total",
        "counter",
        "Calls to the API server by verb, resource and status code; code 0: no answer",
    ),
    ("throng_operator_looks_total", "counter", "Looks at a cluster by their result: `done`, `failed` or `blind`"),
    ("throng_operator_actions_total", "counter", "Actions by kind and result"),
    ("throng_operator_plan_seconds", "histogram", "Time to plan, in seconds"),
    ("throng_operator_streams", "gauge", "Pods whose pressure stream is open"),
    ("throng_operator_samples_total", "counter", "Samples of pressure received"),
    (
        "throng_operator_events_dropped_total",
        "counter",
        "Events that were not told: the API server did not take them, or one look had more than 16",
    ),
    (
        "throng_operator_condition",
        "gauge",
        "1 for each condition as it is, by `cluster_namespace`, `cluster`, `type`, `status` and `reason`; only who leads says it",
    ),
];

/// Where a condition is, and what it says.
type ConditionLabels = [(&'static str, String); 5];

/// Conditions of all clusters, as they were stated last. Clones are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conditions {
    gauges: Family<ConditionLabels, Gauge>,
    shown: Arc<Mutex<BTreeMap<ClusterKey, BTreeSet<ConditionLabels>>>>,
}

impl Conditions {
    fn shown(&self) -> MutexGuard<'_, BTreeMap<ClusterKey, BTreeSet<ConditionLabels>>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows these conditions of a cluster and no others.
    pub(crate) fn show(&self, key: &ClusterKey, conditions: &[Condition]) {
        let labels = |condition: &Condition| {
            [
                ("cluster_namespace", key.namespace.clone()),
                ("cluster", key.name.clone()),
                ("type", condition.kind.clone()),
                ("status", format!("{:?}", condition.status)),
                ("reason", condition.reason.clone()),
            ]
        };
        let now: BTreeSet<ConditionLabels> = conditions.iter().map(labels).collect();
        let mut shown = self.shown();
        let before = shown.remove(key).unwrap_or_default();
        for gone in before.difference(&now) {
            self.gauges.remove(gone);
        }
        for one in &now {
            self.gauges.get_or_create(one).set(1);
        }
        if !now.is_empty() {
            shown.insert(key.clone(), now);
        }
    }

    /// Says nothing more of a cluster.
    pub(crate) fn forget(&self, key: &ClusterKey) {
        self.show(key, &[]);
    }
}

/// The meters. Clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Whether this process leads.
    pub(crate) leads: Gauge,
    /// Clusters looked after.
    pub(crate) clusters: Gauge,
    /// Looks by result.
    pub(crate) looks: Family<[(&'static str, &'static str); 1], Counter>,
    /// Actions by kind and result.
    pub(crate) actions: Family<[(&'static str, &'static str); 2], Counter>,
    /// How long planning takes.
    pub(crate) plan_seconds: Histogram,
    /// Open pressure streams.
    pub(crate) streams: Gauge,
    /// Samples received.
    pub(crate) samples: Counter,
    /// Events that were not taken.
    pub(crate) events_dropped: Counter,
    /// Conditions of clusters.
    pub(crate) conditions: Conditions,
    watch_age: Family<[(&'static str, String); 1], Gauge>,
    unreadable: Family<[(&'static str, &'static str); 1], Gauge>,
    observer: Observer,
}

impl Metrics {
    /// Meters of this process.
    #[must_use]
    pub fn new(observer: Observer) -> Self {
        Self {
            leads: Gauge::default(),
            clusters: Gauge::default(),
            looks: Family::default(),
            actions: Family::default(),
            plan_seconds: Histogram::new([0.0001, 0.001, 0.005, 0.01, 0.05, 0.15, 0.5]),
            streams: Gauge::default(),
            samples: Counter::default(),
            events_dropped: Counter::default(),
            conditions: Conditions::default(),
            watch_age: Family::default(),
            unreadable: Family::default(),
            observer,
        }
    }

    /// Puts them into a registry.
    pub fn register(&self, registry: &mut Registry) {
        let help = |name: &str| {
            let full = format!("throng_operator_{name}");
            let found = ALL.iter().find(|(known, ..)| known.trim_end_matches("_total") == full);
            found.map_or("", |(.., help)| *help)
        };
        let registry = registry.sub_registry_with_prefix("throng_operator");
        registry.register("leads", help("leads"), self.leads.clone());
        registry.register("clusters", help("clusters"), self.clusters.clone());
        registry.register("watch_age_seconds", help("watch_age_seconds"), self.watch_age.clone());
        registry.register("unreadable", help("unreadable"), self.unreadable.clone());
        registry.register("kube_calls", help("kube_calls"), self.observer.calls.clone());
        registry.register("looks", help("looks"), self.looks.clone());
        registry.register("actions", help("actions"), self.actions.clone());
        registry.register("plan_seconds", help("plan_seconds"), self.plan_seconds.clone());
        registry.register("streams", help("streams"), self.streams.clone());
        registry.register("samples", help("samples"), self.samples.clone());
        registry.register("events_dropped", help("events_dropped"), self.events_dropped.clone());
        registry.register("condition", help("condition"), self.conditions.gauges.clone());
    }

    /// Notes what only counts when somebody asks.
    pub fn refresh(&self, watches: &Watches) {
        let now = Instant::now();
        for (resource, opened) in self.observer.opened() {
            let age = now.saturating_duration_since(opened).as_secs();
            self.watch_age.get_or_create(&[("resource", resource)]).set(i64::try_from(age).unwrap_or(i64::MAX));
        }
        for (resource, count) in watches.unreadable() {
            let gauge = self.unreadable.get_or_create(&[("resource", resource)]);
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use throng_plan::status::{Holds, Utc};

    use super::*;

    fn condition(kind: &str, status: Holds, reason: &str) -> Condition {
        Condition {
            kind: kind.into(),
            status,
            observed_generation: None,
            last_transition_time: Utc::default(),
            reason: reason.into(),
            message: "tangerine".into(),
        }
    }

    #[test]
    fn a_condition_counts_while_it_is_so_and_as_long_as_somebody_says_it() {
        let mut registry = Registry::default();
        let metrics = Metrics::new(Observer::default());
        metrics.register(&mut registry);
        let said = || {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            let all: Vec<String> =
                text.lines().filter(|line| line.starts_with("throng_operator_condition{")).map(str::to_owned).collect();
            all
        };
        let key = |name: &str| ClusterKey { namespace: "stage".into(), name: name.into() };
        let line = |cluster: &str, kind: &str, status: &str, reason: &str| {
            format!(
                "throng_operator_condition{{cluster_namespace=\"stage\",cluster=\"{cluster}\",type=\"{kind}\",status=\"{status}\",reason=\"{reason}\"}} 1"
            )
        };
        metrics.conditions.show(&key("a"), &[condition("Degraded", Holds::True, "PodsLost")]);
        metrics.conditions.show(&key("b"), &[condition("Degraded", Holds::False, "Healthy")]);
        let [lost, fine] = [line("a", "Degraded", "True", "PodsLost"), line("b", "Degraded", "False", "Healthy")];
        assert_eq!(BTreeSet::from_iter(said()), BTreeSet::from([lost, fine.clone()]));
        metrics.conditions.show(&key("a"), &[condition("Degraded", Holds::False, "Healthy")]);
        let healed = line("a", "Degraded", "False", "Healthy");
        assert_eq!(
            BTreeSet::from_iter(said()),
            BTreeSet::from([healed, fine.clone()]),
            "what was is not said any more"
        );
        metrics.conditions.forget(&key("a"));
        assert_eq!(said(), [fine]);
    }

    #[test]
    fn every_registered_metric_is_in_the_table() {
        let mut registry = Registry::default();
        let metrics = Metrics::new(Observer::default());
        metrics.register(&mut registry);
        // A family is shown with its first member.
        metrics.looks.get_or_create(&[("result", "done")]).inc();
        metrics.actions.get_or_create(&[("kind", "apply"), ("result", "done")]).inc();
        metrics.watch_age.get_or_create(&[("resource", "pods".to_owned())]).set(1);
        metrics.unreadable.get_or_create(&[("resource", "pods")]).set(1);
        let key = ClusterKey { namespace: "live".into(), name: "live".into() };
        metrics.conditions.show(&key, &[condition("Ready", Holds::True, "AllServe")]);
        let labels = [("verb", "get".to_owned()), ("resource", "pods".to_owned()), ("code", "200".to_owned())];
        metrics.observer.calls.get_or_create(&labels).inc();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let mut shown = Vec::new();
        for line in text.lines().filter_map(|line| line.strip_prefix("# HELP ")) {
            let (name, help) = line.split_once(' ').unwrap();
            let (_, kind, meaning) = ALL.iter().find(|(known, ..)| known.trim_end_matches("_total") == name).unwrap();
            assert_eq!(help.trim_end_matches('.'), *meaning);
            assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name}");
            shown.push(name.to_owned());
        }
        assert_eq!(shown.len(), ALL.len(), "{shown:?}");
    }
}
