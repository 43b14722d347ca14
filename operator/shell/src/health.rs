//! `/healthz`, `/readyz` and `/metrics` of the operator.
//!
//! Alive means more here than for a role of the data plane: a process whose watches have gone silent sees an old world and
//! must be started again. So these paths are not those of `throng-node`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use crate::kube_api::Observer;
use crate::metrics::Metrics;
use crate::watch::Watches;

/// A watch that was not opened for so long, while the API server answered other calls, is dead: each is opened anew after
/// 45 s. While it answers nobody a restart would not help, however long that lasts.
pub const STALE: Duration = Duration::from_mins(5);

/// What the three paths answer from.
#[derive(Clone)]
pub struct Health {
    /// What is watched.
    pub watches: Watches,
    /// When it was opened.
    pub observer: Observer,
    /// The meters.
    pub metrics: Metrics,
    /// All that is shown.
    pub registry: Arc<Registry>,
}

/// The three paths.
pub fn router(health: Health) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(health)
}

async fn healthz(State(health): State<Health>) -> impl IntoResponse {
    let now = Instant::now();
    answer(&stale(health.observer.opened(), health.observer.answers_since(), now))
}

/// Watches that are dead, for people.
fn stale(opened: BTreeMap<String, Instant>, answers_since: Option<Instant>, now: Instant) -> Vec<String> {
    let Some(since) = answers_since else { return Vec::new() };
    let dead = opened.into_iter().filter(|(_, at)| now.saturating_duration_since(since.max(*at)) > STALE);
    dead.map(|(resource, _)| format!("the watch of {resource} is stale")).collect()
}

/// Ready to lead: everything was listed once. Whether it leads does not matter.
async fn readyz(State(health): State<Health>) -> impl IntoResponse {
    let missing: Vec<String> =
        health.watches.unsynced().into_iter().map(|kind| format!("{kind} were not listed yet")).collect();
    answer(&missing)
}

fn answer(reasons: &[String]) -> (StatusCode, String) {
    if reasons.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n")
    }
}

async fn metrics(State(health): State<Health>) -> impl IntoResponse {
    health.metrics.refresh(&health.watches);
    let mut text = String::new();
    // Writing into a text cannot fail.
    let _ = prometheus_client::encoding::text::encode(&mut text, &health.registry);
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_is_stale_only_while_the_api_server_answers_others() {
        let began = Instant::now();
        let at = |seconds: u64| began + Duration::from_secs(seconds);
        let opened = || BTreeMap::from([("nodes".to_owned(), at(590)), ("pods".to_owned(), at(0))]);
        assert_eq!(stale(opened(), Some(at(0)), at(600)), ["the watch of pods is stale"]);
        assert!(stale(opened(), Some(at(0)), at(300)).is_empty());
        assert!(stale(opened(), None, at(600)).is_empty(), "it is away: a restart helps nobody");
        assert!(stale(opened(), Some(at(550)), at(600)).is_empty(), "it is back, and the watches come next");
        assert_eq!(stale(opened(), Some(at(550)), at(851)), ["the watch of pods is stale"]);
    }
}
