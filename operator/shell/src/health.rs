//! `/healthz`, `/readyz` and `/metrics` of the operator.
//!
//! Alive means more here than for a role of the data plane: a process whose watches have gone silent sees an old world and
//! must be started again. So these paths are not those of `throng-node`.

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

/// A watch that was not opened for so long is dead: each is opened anew after 45 s. Long enough for an API server that is
/// gone for minutes, when a restart would help nobody.
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
    let opened = health.observer.opened().into_iter();
    let stale = opened.filter(|(_, at)| now.saturating_duration_since(*at) > STALE);
    let stale: Vec<String> = stale.map(|(resource, _)| format!("the watch of {resource} is stale")).collect();
    answer(&stale)
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
