//! The role as a component: made from what it needs, run until cancelled.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::registry::Registry;
use throng_core::InstanceId;
use throng_core::ownership::Input as News;
use throng_core::routes::SlotChange;
use throng_proto::key::PodKey;
use throng_proto::link::{self, chatroom_server::ChatroomServer};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::service::{Routes, interceptor::InterceptedService};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::actor::{Actor, Inbox, Rights};
use crate::grpc::Calls;
use crate::handle::Handle;
use crate::input::Input;
use crate::log::{Log, LogEvent};
use crate::options::Options;
use crate::stream::Clock;

/// Inputs that wait for the owner of the rooms; streams wait for room in it.
const INPUTS: usize = 4096;
/// Largest message between Pods: a complete list of members of a full gateway.
const MAX_MESSAGE_BYTES: usize = 32 * 1024 * 1024;
/// Calls given up by the other side before they were looked at; with more its connection ends, and all streams on it.
const MAX_CANCELLED: usize = 4096;
/// Bytes under way in one stream before the reader has to confirm.
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// Why the service ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The socket cannot be used.
    #[error("the listener of the chatroom gRPC cannot be used: {0}")]
    Listener(#[from] std::io::Error),
    /// The server failed.
    #[error("the chatroom gRPC has ended: {0}")]
    Server(#[from] tonic::transport::Error),
}

/// What the role needs.
pub struct Start {
    /// Its options.
    pub options: Options,
    /// Where it answers its gRPC.
    pub listener: TcpListener,
    /// The address of that, as other Pods reach it.
    pub address: String,
    /// The key of all calls between Pods.
    pub key: PodKey,
    /// Name of the Pod.
    pub pod: String,
    /// This run of the process.
    pub instance: InstanceId,
    /// The revision it belongs to.
    pub revision: String,
    /// Slots to serve and to stop serving.
    pub slots: mpsc::Receiver<SlotChange>,
    /// Where rooms outlive this process.
    pub log: Arc<dyn Log>,
    /// What became of writes.
    pub log_events: mpsc::Receiver<LogEvent>,
    /// Further gRPC services on the same port, such as `Node`.
    pub more: Routes,
    /// Ends the service.
    pub cancel: CancellationToken,
}

/// The chatroom role. Holds its rooms in memory: a restart is a new owner.
pub struct Service {
    start: Start,
    handle: Handle,
    received: mpsc::Receiver<Input>,
    news: Option<mpsc::Sender<News>>,
    rights: Option<Rights>,
}

impl Service {
    /// Makes the service and registers its metrics; nothing runs yet.
    #[must_use]
    pub fn new(start: Start, registry: &mut Registry) -> Self {
        let (inputs, received) = mpsc::channel(INPUTS);
        let handle = Handle::new(registry, start.options.rooms.clone(), inputs);
        Self { start, handle, received, news: None, rights: None }
    }

    /// Tells ownership what it must hear of slots: hand-overs, later epochs, activity.
    #[must_use]
    pub fn tell_ownership(mut self, news: mpsc::Sender<News>) -> Self {
        self.news = Some(news);
        self
    }

    /// Asks before anything is taken whether every open slot may be served at that instant.
    #[must_use]
    pub fn with_rights(mut self, rights: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.rights = Some(Arc::new(rights));
        self
    }

    /// What the rest of the process sees of it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves until cancelled. Streams are cut then: gateways and relays link elsewhere.
    pub async fn run(self) -> Result<(), Error> {
        let Self { start, handle, received, news, rights } = self;
        let clock = Clock::start();
        let calls = Calls {
            inputs: handle.inputs(),
            open: link::Open { pod: start.pod, instance: start.instance.to_string(), revision: start.revision },
            gateway_queue_bytes: start.options.gateway_queue_bytes,
            relay_queue_bytes: start.options.relay_queue_bytes,
            next: Arc::new(AtomicU64::new(1)),
            clock,
        };
        let inbox =
            Inbox { inputs: received, slots: start.slots, log_events: start.log_events, rooms: handle.watch_rooms() };
        let mut actor = Actor::new(&start.options, start.log, handle, start.key.clone(), start.address, clock);
        actor.news = news;
        if let Some(rights) = rights {
            actor.rights = rights;
        }
        let actor = tokio::spawn(actor.run(inbox, start.cancel.clone()));

        start.listener.set_nonblocking(true)?;
        let incoming = TcpIncoming::from(tokio::net::TcpListener::from_std(start.listener)?).with_nodelay(Some(true));
        let chatroom = ChatroomServer::new(calls)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let served = Server::builder()
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(STREAM_WINDOW_BYTES.saturating_mul(2))
            .http2_max_pending_accept_reset_streams(Some(MAX_CANCELLED))
            .add_routes(start.more)
            .add_service(InterceptedService::new(chatroom, start.key.demand()))
            .serve_with_incoming(incoming);
        // Streams last for ever: waiting for them to end would be waiting for ever.
        let ended = tokio::select! {
            ended = served => ended.map_err(Error::from),
            () = start.cancel.cancelled() => Ok(()),
        };
        start.cancel.cancel();
        let _ = actor.await;
        ended
    }
}
