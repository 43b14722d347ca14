//! The gRPC `Relay`: gateways' streams, gathers, directed messages and kicks, handed to the actor.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use throng_core::relay::GatewayId;
use throng_core::{InstanceId, SessionId, Slot};
use throng_proto::link::{self, gateway_to_message, message_to_gateway};
use throng_proto::{DEAD_MS, convert};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

use crate::actor::Event;
use crate::outbox::Outbox;
use crate::wire;

/// The actor answers within this, or not at all.
const ANSWER: Duration = Duration::from_secs(2);

/// The server's side of the actor.
pub(crate) struct Server {
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) notify: Arc<Notify>,
    pub(crate) open: link::Open,
    pub(crate) outbox_bytes: usize,
    pub(crate) next: AtomicU32,
}

type Answer<T> = Result<Response<T>, Status>;

impl Server {
    async fn ask<T>(&self, event: impl FnOnce(oneshot::Sender<T>) -> Event) -> Result<T, Status> {
        let busy = || Status::unavailable("this message Pod is too busy or stopping; try again");
        let asked = async {
            let (reply, answer) = oneshot::channel();
            self.events.send(event(reply)).await.ok()?;
            answer.await.ok()
        };
        timeout(ANSWER, asked).await.ok().flatten().ok_or_else(busy)
    }
}

#[tonic::async_trait]
impl link::relay_server::Relay for Server {
    type GatewayStream = Pin<Box<dyn Stream<Item = Result<link::MessageToGateway, Status>> + Send>>;

    async fn gateway(&self, request: Request<Streaming<link::GatewayToMessage>>) -> Answer<Self::GatewayStream> {
        let gateway = GatewayId(self.next.fetch_add(1, Ordering::Relaxed));
        let (outbox, outgoing) = Outbox::new(self.outbox_bytes, self.notify.clone(), wire::beat_to_gateway);
        outbox.push(wire::frame(message_to_gateway::Kind::Open(self.open.clone())), 0, 0);
        tokio::spawn(listen(gateway, request.into_inner(), outbox, self.events.clone()));
        Ok(Response::new(Box::pin(outgoing.map(Ok))))
    }

    async fn gather(&self, request: Request<link::GatherRequest>) -> Answer<link::GatherReply> {
        let read = |asked: &link::SlotEpoch| {
            let slot = u16::try_from(asked.slot).ok().and_then(Slot::new);
            let slot = slot.ok_or_else(|| Status::invalid_argument("a slot is a number below 4096"))?;
            Ok::<_, Status>((slot, throng_core::Epoch(asked.epoch)))
        };
        let slots = request.get_ref().slots.iter().map(read).collect::<Result<_, _>>()?;
        self.ask(|reply| Event::Gather { slots, reply }).await.map(Response::new)
    }

    async fn direct(&self, request: Request<link::Directed>) -> Answer<link::DirectReply> {
        let message = request.into_inner();
        let user = convert::user(&message.to).map_err(|error| Status::invalid_argument(error.to_string()))?;
        self.ask(|reply| Event::Direct { user, message, reply }).await.map(Response::new)
    }

    async fn kick(&self, request: Request<link::KickUser>) -> Answer<link::DirectReply> {
        let kick = request.into_inner();
        let user = convert::user(&kick.user).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let session = (kick.session != 0).then_some(SessionId(kick.session));
        self.ask(|reply| Event::Kick { user, session, kick, reply }).await.map(Response::new)
    }
}

/// Reads one gateway's stream to its end: a silence of 1.5 s, a frame that does not read, or a goodbye.
async fn listen(
    gateway: GatewayId,
    mut stream: Streaming<link::GatewayToMessage>,
    outbox: Arc<Outbox<link::MessageToGateway>>,
    events: mpsc::Sender<Event>,
) {
    let silence = Duration::from_millis(DEAD_MS);
    let first = timeout(silence, stream.message()).await;
    let Ok(Ok(Some(link::GatewayToMessage { kind: Some(gateway_to_message::Kind::Open(open)) }))) = first else {
        return outbox.close();
    };
    let Ok(instance) = InstanceId::new(&open.instance) else { return outbox.close() };
    tracing::info!(pod = open.pod, %instance, "gateway connected");
    if events.send(Event::GatewayUp { gateway, instance, outbox: outbox.clone() }).await.is_err() {
        return outbox.close();
    }
    let mut heard = Instant::now();
    let why = loop {
        match timeout(silence, stream.message()).await {
            _ if outbox.is_closed() => break "its way back was ended".to_owned(),
            Ok(Ok(Some(frame))) => match wire::from_gateway(frame) {
                Ok(Some(says)) => {
                    if events.send(Event::Gateway { gateway, says }).await.is_err() {
                        break "this Pod stops".to_owned();
                    }
                }
                Ok(None) => {}
                Err(error) => break format!("a frame does not read: {error}"),
            },
            Ok(Ok(None)) => break "it closed".to_owned(),
            Ok(Err(status)) => break format!("the stream broke: {}", status.message()),
            Err(_) => break "it was silent for 1.5 s".to_owned(),
        }
        heard = Instant::now();
    };
    tracing::info!(pod = open.pod, why, "gateway gone");
    outbox.close();
    // A stopping actor needs no goodbye.
    events.send(Event::GatewayDown { gateway, heard }).await.unwrap_or_default();
}
