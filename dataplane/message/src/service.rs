//! The service: what it is given, and how it runs.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use prometheus_client::registry::Registry;
use throng_core::ownership::Input as News;
use throng_core::relay::{Homes, Relay};
use throng_core::routes::{Routes, SlotChange};
use throng_core::{InstanceId, Millis};
use throng_proto::key::PodKey;
use throng_proto::link::{self, relay_server::RelayServer};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;

use crate::actor::{Actor, Inputs};
use crate::handle::{Handle, Metrics};
use crate::options::Options;
use crate::server::Server;
use crate::uplink::Uplinks;
use crate::wire::Body;

/// Events that may wait for the actor; beyond that streams wait, and with them whoever sends.
const EVENTS: usize = 4_096;
/// Largest frame taken from a gateway: a full list of sessions.
const MAX_FRAME_BYTES: usize = 64 << 20;
/// How long open streams may take to end when the service stops.
const GOODBYE: Duration = Duration::from_secs(1);
/// Calls given up by the other side before they were looked at; with more its connection ends, and all streams on it.
const MAX_CANCELLED: usize = 4096;
/// HTTP/2 windows: bytes on the way that nobody has read yet.
const WINDOW_BYTES: u32 = 1 << 20;

/// Why the service ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The listener does not work.
    #[error("the listener for gateways and Pods does not work: {0}")]
    Listener(#[from] std::io::Error),
    /// The gRPC server failed.
    #[error("the gRPC server failed: {0}")]
    Server(#[from] tonic::transport::Error),
}

/// Who this process is, as it tells the other side of every stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Name of the Pod.
    pub pod: String,
    /// This run of the process.
    pub instance: InstanceId,
    /// Revision that it runs.
    pub revision: String,
}

/// What the service is given.
#[derive(Debug)]
pub struct Dependencies {
    /// Who this process is.
    pub identity: Identity,
    /// Bound already; gateways, other Pods and the operator connect here.
    pub listener: std::net::TcpListener,
    /// Shared by all Pods.
    pub key: PodKey,
    /// Who owns rooms and users. When the sender is dropped the last value stays true.
    pub routes: watch::Receiver<Arc<Routes>>,
    /// Slots of users that this process serves.
    pub slots: mpsc::Receiver<SlotChange>,
    /// Further gRPC services on the same listener, already behind the key; empty: none.
    pub services: tonic::service::Routes,
    /// Ends the service.
    pub stop: CancellationToken,
}

/// The message role, ready to run.
#[derive(Debug)]
pub struct Service {
    options: Options,
    dependencies: Dependencies,
    handle: Handle,
    metrics: Metrics,
    news: Option<mpsc::Sender<News>>,
}

impl Service {
    /// Puts the service together and registers its metrics. Nothing runs yet, but connections are accepted by the listener's
    /// backlog.
    #[must_use]
    pub fn new(options: Options, dependencies: Dependencies, registry: &mut Registry) -> Self {
        Self { options, dependencies, handle: Handle::default(), metrics: Metrics::register(registry), news: None }
    }

    /// Tells ownership how many users each slot has.
    #[must_use]
    pub fn tell_ownership(mut self, news: mpsc::Sender<News>) -> Self {
        self.news = Some(news);
        self
    }

    /// A view of it that outlives it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Runs until `stop`. A restart loses all state; gateways and owners bring it again.
    pub async fn run(self) -> Result<(), Error> {
        let Dependencies { identity, listener, key, routes, slots, services, stop } = self.dependencies;
        let stop = stop.child_token();
        listener.set_nonblocking(true)?;
        let incoming = tonic::transport::server::TcpIncoming::from(tokio::net::TcpListener::from_std(listener)?)
            .with_nodelay(Some(true));
        let open =
            link::Open { pod: identity.pod, instance: identity.instance.to_string(), revision: identity.revision };
        let (sender, events) = mpsc::channel(EVENTS);
        let notify = Arc::new(Notify::new());
        let (routes_changed, changes) = watch::channel(0);
        let uplinks = Uplinks {
            events: sender.clone(),
            notify: notify.clone(),
            open: open.clone(),
            key: key.clone(),
            routes_changed: changes,
        };
        let server = Server {
            events: sender,
            notify: notify.clone(),
            open,
            // The relay machine keeps to its window; one large answer may overdraw it, and the rest is for what is not a
            // room's.
            outbox_bytes: self.options.gateway_bytes.saturating_mul(2).saturating_add(64 << 20),
            next: AtomicU32::new(0),
        };
        let machines = (Relay::new(self.options.relay(), Body, Millis::ZERO), Homes::new(self.options.homes()));
        let mut actor = Actor::new(machines, uplinks, routes_changed, self.handle, self.metrics);
        actor.news = self.news;
        let inputs = Inputs { events, notify, routes, slots, stop: stop.clone() };
        let relay = RelayServer::new(server).max_decoding_message_size(MAX_FRAME_BYTES);
        let grpc = tonic::transport::Server::builder()
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(2 * WINDOW_BYTES)
            .http2_max_pending_accept_reset_streams(Some(MAX_CANCELLED))
            .add_routes(services)
            .add_service(InterceptedService::new(relay, key.demand()))
            .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
        let goodbye = async {
            stop.cancelled().await;
            tokio::time::sleep(GOODBYE).await;
        };
        let serving = async {
            let outcome = tokio::select! {
                outcome = grpc => outcome,
                () = goodbye => Ok(()),
            };
            stop.cancel();
            outcome
        };
        let ((), outcome) = tokio::join!(actor.run(inputs), serving);
        Ok(outcome?)
    }
}
