//! Links to other Pods: one task each, on the hub's thread, that keeps a gRPC stream open and comes back when it breaks.
//!
//! Both sides beat every 500 ms; a link that was silent for 1.5 s is dead. What was handed to a dead link is lost: the hub
//! keeps what must not be.

use std::sync::Arc;
use std::time::Duration;

use throng_proto::key::PodKey;
use throng_proto::link::chatroom_client::ChatroomClient;
use throng_proto::link::relay_client::RelayClient;
use throng_proto::link::{
    Beat, ChatroomToGateway, GatewayToChatroom, GatewayToMessage, MessageToGateway, Open, chatroom_to_gateway,
    gateway_to_chatroom, gateway_to_message, message_to_gateway,
};
use throng_proto::{BEAT_MS, DEAD_MS};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

use crate::hub::{Address, FromLink, MAX_ON_LINK, Role};

/// What waits for one link: members and subscriptions find room beside all messages that it may hold.
pub(crate) const QUEUE: usize = 4 * MAX_ON_LINK;
/// Largest message between Pods: full lists of a room's members here.
const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;
const WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Waits between attempts: they double up to the second, and are jittered.
const RETRY_MS: (u64, u64) = (50, 1000);

/// What all links of a gateway share.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) key: PodKey,
    pub(crate) open: Open,
    pub(crate) events: mpsc::Sender<(Role, Address, FromLink)>,
}

/// What goes out on a link.
#[derive(Debug)]
pub(crate) enum Out {
    Chatroom(gateway_to_chatroom::Kind),
    Message(gateway_to_message::Kind),
}

/// A channel to a Pod, with the windows that segments and lists need.
pub(crate) fn endpoint(address: &str) -> Option<Endpoint> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).ok()?;
    Some(
        endpoint
            .tcp_nodelay(true)
            .connect_timeout(Duration::from_millis(DEAD_MS))
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES),
    )
}

/// Keeps a link until its queue is closed.
pub(crate) async fn keep(role: Role, address: Address, mut queue: mpsc::Receiver<Out>, context: Context) {
    let Some(endpoint) = endpoint(&address) else {
        tracing::error!(%address, "the registry names an address that is none");
        return;
    };
    let mut wait_ms = RETRY_MS.0;
    loop {
        if queue.is_closed() {
            return;
        }
        if let Ok(Ok(channel)) = timeout(Duration::from_millis(DEAD_MS), endpoint.connect()).await {
            let end = match role {
                Role::Chatroom => run::<Chatrooms>(&address, channel, &mut queue, &context).await,
                Role::Message => run::<Messages>(&address, channel, &mut queue, &context).await,
            };
            if let End::Lost { was_up, why } = end {
                tracing::debug!(%address, ?role, why, "link lost");
                if was_up {
                    wait_ms = RETRY_MS.0;
                    while queue.try_recv().is_ok() {}
                    if context.events.send((role, Arc::clone(&address), FromLink::Down)).await.is_err() {
                        return;
                    }
                }
            } else {
                return;
            }
        }
        sleep(Duration::from_millis(jitter(&context.open.instance, &address, wait_ms))).await;
        wait_ms = (wait_ms * 2).min(RETRY_MS.1);
    }
}

/// Between half of a wait and all of it, different for each pair of processes and each moment.
fn jitter(instance: &str, address: &str, wait_ms: u64) -> u64 {
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.subsec_nanos());
    let hash = xxhash_rust::xxh3::xxh3_64_with_seed(format!("{instance} {address}").as_bytes(), u64::from(nanos));
    wait_ms / 2 + hash % (wait_ms / 2 + 1)
}

enum End {
    /// Nobody needs it any more.
    Done,
    Lost {
        was_up: bool,
        why: &'static str,
    },
}

/// One of the two services, as far as a link is concerned.
trait Dialect {
    const ROLE: Role;
    type Out: Send + 'static;
    type In: Send;
    fn open(open: Open) -> Self::Out;
    fn beat() -> Self::Out;
    fn out(out: Out) -> Option<Self::Out>;
    fn read(message: Self::In) -> Option<FromLink>;
    async fn call(
        channel: Channel,
        key: &PodKey,
        out: ReceiverStream<Self::Out>,
    ) -> Result<Streaming<Self::In>, tonic::Status>;
}

struct Chatrooms;

impl Dialect for Chatrooms {
    const ROLE: Role = Role::Chatroom;
    type Out = GatewayToChatroom;
    type In = ChatroomToGateway;

    fn open(open: Open) -> Self::Out {
        GatewayToChatroom { kind: Some(gateway_to_chatroom::Kind::Open(open)) }
    }

    fn beat() -> Self::Out {
        GatewayToChatroom { kind: Some(gateway_to_chatroom::Kind::Beat(Beat { at_ms: 0 })) }
    }

    fn out(out: Out) -> Option<Self::Out> {
        match out {
            Out::Chatroom(kind) => Some(GatewayToChatroom { kind: Some(kind) }),
            Out::Message(_) => None,
        }
    }

    fn read(message: Self::In) -> Option<FromLink> {
        match message.kind? {
            chatroom_to_gateway::Kind::Beat(_) => None,
            kind => Some(FromLink::Chatroom(kind)),
        }
    }

    async fn call(
        channel: Channel,
        key: &PodKey,
        out: ReceiverStream<Self::Out>,
    ) -> Result<Streaming<Self::In>, tonic::Status> {
        let mut client =
            ChatroomClient::with_interceptor(channel, key.attach()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        Ok(client.gateway(out).await?.into_inner())
    }
}

struct Messages;

impl Dialect for Messages {
    const ROLE: Role = Role::Message;
    type Out = GatewayToMessage;
    type In = MessageToGateway;

    fn open(open: Open) -> Self::Out {
        GatewayToMessage { kind: Some(gateway_to_message::Kind::Open(open)) }
    }

    fn beat() -> Self::Out {
        GatewayToMessage { kind: Some(gateway_to_message::Kind::Beat(Beat { at_ms: 0 })) }
    }

    fn out(out: Out) -> Option<Self::Out> {
        match out {
            Out::Message(kind) => Some(GatewayToMessage { kind: Some(kind) }),
            Out::Chatroom(_) => None,
        }
    }

    fn read(message: Self::In) -> Option<FromLink> {
        match message.kind? {
            message_to_gateway::Kind::Beat(_) => None,
            kind => Some(FromLink::Message(kind)),
        }
    }

    async fn call(
        channel: Channel,
        key: &PodKey,
        out: ReceiverStream<Self::Out>,
    ) -> Result<Streaming<Self::In>, tonic::Status> {
        let mut client =
            RelayClient::with_interceptor(channel, key.attach()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        Ok(client.gateway(out).await?.into_inner())
    }
}

async fn run<D: Dialect>(
    address: &Address,
    channel: Channel,
    queue: &mut mpsc::Receiver<Out>,
    context: &Context,
) -> End {
    let dead = Duration::from_millis(DEAD_MS);
    let (out, outgoing) = mpsc::channel(256);
    let lost = |was_up, why| End::Lost { was_up, why };
    if out.send(D::open(context.open.clone())).await.is_err() {
        return lost(false, "no stream");
    }
    let called = timeout(dead, D::call(channel, &context.key, ReceiverStream::new(outgoing))).await;
    let mut incoming = match called {
        Ok(Ok(incoming)) => incoming,
        Ok(Err(status)) => {
            tracing::warn!(%address, role = ?D::ROLE, code = ?status.code(), "a Pod refused the link: {}", status.message());
            return lost(false, "refused");
        }
        Err(_) => return lost(false, "no answer"),
    };
    if context.events.send((D::ROLE, Arc::clone(address), FromLink::Up)).await.is_err() {
        return End::Done;
    }
    let mut beat = interval(Duration::from_millis(BEAT_MS));
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let silence = sleep(dead);
    tokio::pin!(silence);
    loop {
        let next = tokio::select! {
            biased;
            message = incoming.message() => match message {
                Ok(Some(message)) => {
                    silence.as_mut().reset(Instant::now() + dead);
                    if let Some(event) = D::read(message)
                        && context.events.send((D::ROLE, Arc::clone(address), event)).await.is_err()
                    {
                        return End::Done;
                    }
                    continue;
                }
                Ok(None) => return lost(true, "closed"),
                Err(_) => return lost(true, "broken"),
            },
            () = &mut silence => return lost(true, "silent"),
            _ = beat.tick() => D::beat(),
            queued = queue.recv() => match queued {
                None => return End::Done,
                Some(queued) => match D::out(queued) {
                    Some(message) => message,
                    None => continue,
                },
            },
        };
        // A peer that takes nothing for so long is as dead as one that says nothing.
        if !matches!(timeout(dead, out.send(next)).await, Ok(Ok(()))) {
            return lost(true, "stuck");
        }
    }
}
