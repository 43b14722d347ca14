//! What the operator says of itself at `/metrics`. A test holds `docs/operator.md` to [`ALL`].

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use crate::kube_api::Observer;
use crate::watch::Watches;

/// Names and meanings of all metrics.
pub const ALL: [(&str, &str); 11] = [
    ("throng_operator_leads", "1 while this process leads, else 0"),
    ("throng_operator_clusters", "Clusters that it looks after"),
    ("throng_operator_watch_age_seconds", "Time since a watch of the resource was opened last, in seconds"),
    ("throng_operator_unreadable", "Objects of the resource that cannot be read"),
    (
        "throng_operator_kube_calls_total",
        "Calls to the API server by verb, resource and status code; code 0: no answer",
    ),
    ("throng_operator_looks_total", "Looks at a cluster by their result: `done`, `failed` or `blind`"),
    ("throng_operator_actions_total", "Actions by kind and result"),
    ("throng_operator_plan_seconds", "Time to plan, in seconds"),
    ("throng_operator_streams", "Pods whose pressure stream is open"),
    ("throng_operator_samples_total", "Samples of pressure received"),
    ("throng_operator_events_dropped_total", "Events that the API server did not take"),
];

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
            watch_age: Family::default(),
            unreadable: Family::default(),
            observer,
        }
    }

    /// Puts them into a registry.
    pub fn register(&self, registry: &mut Registry) {
        let help = |name: &str| {
            let full = format!("throng_operator_{name}");
            let found = ALL.iter().find(|(known, _)| known.trim_end_matches("_total") == full);
            found.map_or("", |(_, help)| *help)
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
    use super::*;

    #[test]
    fn every_metric_stands_in_the_documents_with_its_meaning() {
        let page = include_str!("../../../docs/operator.md");
        for (name, help) in ALL {
            assert!(page.contains(&format!("| `{name}` | {help} |")), "{name}");
        }
        assert_eq!(page.matches("\n| `throng_operator_").count(), ALL.len(), "the page has metrics that do not exist");
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
        let labels = [("verb", "get".to_owned()), ("resource", "pods".to_owned()), ("code", "200".to_owned())];
        metrics.observer.calls.get_or_create(&labels).inc();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let mut shown = Vec::new();
        for line in text.lines().filter_map(|line| line.strip_prefix("# HELP ")) {
            let (name, help) = line.split_once(' ').unwrap();
            let known = ALL.iter().find(|(known, _)| known.trim_end_matches("_total") == name).unwrap();
            assert_eq!(help.trim_end_matches('.'), known.1);
            shown.push(name.to_owned());
        }
        assert_eq!(shown.len(), ALL.len(), "{shown:?}");
    }
}
