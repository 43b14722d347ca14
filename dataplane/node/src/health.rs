//! `/healthz`, `/readyz` and `/metrics` of a process, on a port of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::service::Hooks;

/// Whether the process is to be given work. It is ready from the first time that nothing keeps it from serving, and stays
/// so: a registry or a store that fails later fails for all Pods, and a load balancer that takes them all away would turn a
/// loss that nobody notices into an outage. Draining takes it away.
struct Readiness {
    hooks: Arc<dyn Hooks>,
    was_ready: AtomicBool,
}

impl Readiness {
    /// Why it is not ready; empty: it is.
    fn reasons(&self) -> Vec<String> {
        let now = self.hooks.describe();
        if now.draining {
            return vec!["it is draining".to_owned()];
        }
        if self.was_ready.load(Ordering::Relaxed) {
            return Vec::new();
        }
        self.was_ready.store(now.reasons.is_empty(), Ordering::Relaxed);
        now.reasons
    }
}

#[derive(Clone)]
struct Shared {
    readiness: Arc<Readiness>,
    metrics: Arc<Registry>,
}

/// The three paths as a router, to be served alone or beside others.
pub fn router(hooks: Arc<dyn Hooks>, metrics: Arc<Registry>) -> Router {
    let readiness = Arc::new(Readiness { hooks, was_ready: AtomicBool::new(false) });
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(encode))
        .with_state(Shared { readiness, metrics })
}

/// Serves the three paths until cancelled.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) -> std::io::Result<()> {
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn readyz(State(shared): State<Shared>) -> impl IntoResponse {
    let reasons = shared.readiness.reasons();
    if reasons.is_empty() {
        (StatusCode::OK, "ready\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n")
    }
}

async fn encode(State(shared): State<Shared>) -> impl IntoResponse {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &shared.metrics) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            (StatusCode::OK, [(header::CONTENT_TYPE, kind)], text)
        }
        Err(error) => {
            let kind = "text/plain; charset=utf-8";
            (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, kind)], format!("metrics: {error}\n"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use throng_proto::link::{DescribeReply, DrainRequest, PressureSample};

    use super::*;

    #[derive(Default)]
    struct Pod(Mutex<DescribeReply>);

    impl Hooks for Pod {
        fn sample(&self) -> PressureSample {
            PressureSample::default()
        }
        fn drain(&self, _: &DrainRequest) -> u64 {
            0
        }
        fn undrain(&self) -> u64 {
            0
        }
        fn describe(&self) -> DescribeReply {
            self.0.lock().unwrap().clone()
        }
    }

    #[test]
    fn a_process_is_ready_once_nothing_is_missing_and_until_it_drains() {
        let pod = Arc::new(Pod::default());
        let hooks = Arc::clone(&pod) as Arc<dyn Hooks>;
        let readiness = Readiness { hooks, was_ready: AtomicBool::new(false) };
        let missing = |what: &[&str]| {
            pod.0.lock().unwrap().reasons = what.iter().map(|what| (*what).to_owned()).collect();
        };
        missing(&["its lease is not confirmed"]);
        assert_eq!(readiness.reasons(), ["its lease is not confirmed"]);
        missing(&[]);
        assert!(readiness.reasons().is_empty());
        missing(&["its lease is not confirmed"]);
        assert!(readiness.reasons().is_empty(), "what all lose together takes nobody away");
        pod.0.lock().unwrap().draining = true;
        assert_eq!(readiness.reasons(), ["it is draining"]);
        pod.0.lock().unwrap().draining = false;
        assert!(readiness.reasons().is_empty());
    }
}
