//! The stream of one Pod.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http::uri::InvalidUri;
use jiff::Timestamp;
use throng_core::Role;
use throng_plan::status::Utc;
use throng_proto::key::PodKey;
use throng_proto::link::node_client::NodeClient;
use throng_proto::link::{DescribeRequest, PressureRequest};
use throng_runtime::sample::{sample, slots};
use tokio::time::{Instant, sleep, timeout};
use tonic::Status;
use tonic::service::interceptor::InterceptedService;
use tracing::debug;

use super::link::connect;
use super::{Heard, Place};
use crate::metrics::Metrics;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(1);
/// A stream that is silent for so long is opened anew: a Pod gives a sample a second.
const SILENT: Duration = Duration::from_secs(5);
/// Time between two questions about slots, and about why it is not ready.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// First and longest time until another try.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// What follows one Pod.
pub(super) struct Stream {
    pub(super) uid: String,
    pub(super) place: Place,
    pub(super) key: PodKey,
    pub(super) heard: Arc<Heard>,
    pub(super) metrics: Metrics,
}

/// Counts a stream as open as long as it lives, however it ends.
struct Open<'a>(&'a Metrics);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.streams.dec();
    }
}

impl Stream {
    /// Follows the Pod until dropped.
    pub(super) async fn run(self) {
        let mut pause = RETRY.0;
        loop {
            let began = Instant::now();
            if let Err(error) = self.follow().await {
                debug!(address = self.place.address, %error, "the pressure stream has ended; it is opened again");
            }
            pause = if began.elapsed() > RETRY.1 { RETRY.0 } else { (pause * 2).min(RETRY.1) };
            // Many Pods whose streams broke together come back one after the other.
            sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
        }
    }

    async fn follow(&self) -> Result<(), Status> {
        let late = |_| Status::deadline_exceeded("the Pod is silent");
        let origin = format!("http://{}", self.place.address).parse();
        let origin: Uri = origin.map_err(|error: InvalidUri| Status::invalid_argument(error.to_string()))?;
        let (link, _driver) = timeout(CONNECT, connect(&self.place.address)).await.map_err(late)??;
        let mut client = NodeClient::with_origin(InterceptedService::new(link, self.key.attach()), origin);
        let samples = timeout(SILENT, client.pressure(PressureRequest {})).await.map_err(late)??;
        let mut samples = samples.into_inner();
        self.metrics.streams.inc();
        let _open = Open(&self.metrics);
        let mut asked: Option<Instant> = None;
        while let Some(said) = timeout(SILENT, samples.message()).await.map_err(late)?? {
            self.metrics.samples.inc();
            self.heard.hear_sample(&self.uid, sample(said, Utc::of(Timestamp::now())));
            if asked.is_none_or(|asked| asked.elapsed() >= ASK_EVERY) {
                asked = Some(Instant::now());
                let described = timeout(SILENT, client.describe(DescribeRequest {})).await.map_err(late)??.into_inner();
                let at = Utc::of(Timestamp::now());
                if self.place.role != Role::Gateway {
                    self.heard.hear_slots(&self.uid, at, self.place.role, slots(&described.slots));
                }
                self.heard.hear_unready(&self.uid, at, described.reasons);
            }
        }
        Ok(())
    }
}
