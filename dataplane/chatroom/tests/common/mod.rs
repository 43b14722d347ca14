//! A chatroom Pod on loopback, with gateways and relays made of the generated clients.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test that fails says so")]

use std::collections::VecDeque;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use throng_chatroom::{Handle, Options, Service, Start, StoredLog};
use throng_core::ownership::Origin;
use throng_core::routes::SlotChange;
use throng_core::{Epoch, InstanceId, Slot};
use throng_proto::key::PodKey;
use throng_proto::link::chatroom_client::ChatroomClient;
use throng_proto::link::{
    self, Beat, ChatroomToGateway, ChatroomToRelay, GatewayToChatroom, Open, RelayToChatroom, chatroom_to_gateway,
    chatroom_to_relay, gateway_to_chatroom, relay_to_chatroom,
};
use throng_store::{BehindOptions, MemoryDb, MemoryStore};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

pub const KEY: &str = "test-key";
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(5);

pub struct Pod {
    pub address: String,
    pub slots: mpsc::Sender<SlotChange>,
    pub handle: Handle,
    pub store: MemoryStore,
    cancel: CancellationToken,
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Pod {
    pub fn start(options: Options, database: &MemoryDb) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (slots, changes) = mpsc::channel(8192);
        let cancel = CancellationToken::new();
        let instance = InstanceId::new(&address).unwrap();
        let store = database.store(instance.clone());
        let behind = BehindOptions { ack_wait_ms: 300, ..BehindOptions::default() };
        let (log, log_events, task) = StoredLog::new(Arc::new(store.clone()), behind);
        tokio::spawn(task.run());
        let start = Start {
            options,
            listener,
            address: address.clone(),
            key: PodKey::new(KEY).unwrap(),
            pod: "c-0".into(),
            instance,
            revision: "r1".into(),
            slots: changes,
            log: Arc::new(log),
            log_events,
            more: tonic::service::Routes::default(),
            cancel: cancel.clone(),
        };
        let service = Service::new(start, &mut Registry::default());
        let handle = service.handle();
        tokio::spawn(async move { service.run().await.unwrap() });
        Self { address, slots, handle, store, cancel }
    }

    /// A Pod that has served the rooms for long enough to know who is in them.
    pub async fn serving(rooms: &[&str]) -> Self {
        let pod = Self::start(Options { lists_within_ms: 0, ..Options::default() }, &MemoryDb::default());
        pod.open(rooms, 7).await;
        pod
    }

    pub async fn open(&self, rooms: &[&str], epoch: u64) {
        for room in rooms {
            self.slots
                .send(SlotChange::Open { slot: Slot::of(room), epoch: Epoch(epoch), origin: Origin::Gathered })
                .await
                .unwrap();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    pub async fn client(
        &self,
        key: &str,
    ) -> ChatroomClient<InterceptedService<Channel, impl tonic::service::Interceptor + Clone>> {
        let channel = Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap();
        ChatroomClient::with_interceptor(channel, PodKey::new(key).unwrap().attach())
            .max_decoding_message_size(64 * 1024 * 1024)
    }

    pub async fn admin(&self, room: &str, command: link::admin_request::Command) -> link::AdminReply {
        let request = link::AdminRequest { room: room.to_owned(), command: Some(command) };
        self.client(KEY).await.admin(request).await.unwrap().into_inner()
    }

    pub async fn members(&self, room: &str) -> u64 {
        let reply = self.admin(room, link::admin_request::Command::Describe(true)).await;
        reply.room.map_or(0, |room| room.members)
    }
}

/// Our end of a stream: what was heard and not asked for yet is kept.
pub struct Stream<In, Out> {
    pub outgoing: mpsc::Sender<Out>,
    inbound: Streaming<In>,
    kept: VecDeque<In>,
    beats: tokio::task::JoinHandle<()>,
}

impl<In, Out> Drop for Stream<In, Out> {
    fn drop(&mut self) {
        self.beats.abort();
    }
}

fn beating<Out: Send + 'static>(outgoing: mpsc::Sender<Out>, beat: fn() -> Out) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        while outgoing.send(beat()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
    })
}

impl<In, Out> Stream<In, Out> {
    /// The first message that `pick` takes; others are kept.
    pub async fn wait<T>(&mut self, mut pick: impl FnMut(&In) -> Option<T>) -> T {
        for at in 0..self.kept.len() {
            if let Some(found) = pick(&self.kept[at]) {
                self.kept.remove(at);
                return found;
            }
        }
        let search = async {
            loop {
                let next = self.inbound.message().await.expect("the stream").expect("more of the stream");
                if let Some(found) = pick(&next) {
                    return found;
                }
                self.kept.push_back(next);
            }
        };
        tokio::time::timeout(PATIENCE, search).await.expect("an answer in time")
    }

    /// Waits until the other end closes the stream.
    pub async fn wait_end(&mut self) {
        let search = async { while let Ok(Some(_)) = self.inbound.message().await {} };
        tokio::time::timeout(PATIENCE, search).await.expect("an end in time");
    }

    /// Keeps the stream open without saying anything.
    pub fn fall_silent(&mut self) {
        self.beats.abort();
    }
}

pub type Gateway = Stream<ChatroomToGateway, GatewayToChatroom>;
pub type Relay = Stream<ChatroomToRelay, RelayToChatroom>;

fn open(instance: &str) -> Open {
    Open { pod: instance.into(), instance: instance.into(), revision: "r1".into() }
}

pub async fn gateway(pod: &Pod, instance: &str) -> Gateway {
    let (outgoing, stream) = mpsc::channel(1024);
    let say = |kind| GatewayToChatroom { kind: Some(kind) };
    outgoing.send(say(gateway_to_chatroom::Kind::Open(open(instance)))).await.unwrap();
    let inbound = pod.client(KEY).await.gateway(ReceiverStream::new(stream)).await.unwrap().into_inner();
    let beat = || GatewayToChatroom { kind: Some(gateway_to_chatroom::Kind::Beat(Beat::default())) };
    let beats = beating(outgoing.clone(), beat);
    Stream { outgoing, inbound, kept: VecDeque::new(), beats }
}

pub async fn relay(pod: &Pod, instance: &str) -> Relay {
    let (outgoing, stream) = mpsc::channel(1024);
    let say = |kind| RelayToChatroom { kind: Some(kind) };
    outgoing.send(say(relay_to_chatroom::Kind::Open(open(instance)))).await.unwrap();
    let inbound = pod.client(KEY).await.relay(ReceiverStream::new(stream)).await.unwrap().into_inner();
    let beat = || RelayToChatroom { kind: Some(relay_to_chatroom::Kind::Beat(Beat::default())) };
    let beats = beating(outgoing.clone(), beat);
    Stream { outgoing, inbound, kept: VecDeque::new(), beats }
}

impl Gateway {
    pub async fn say(&self, kind: gateway_to_chatroom::Kind) {
        self.outgoing.send(GatewayToChatroom { kind: Some(kind) }).await.unwrap();
    }

    pub async fn batch(
        &mut self,
        number: u64,
        room: &str,
        full: bool,
        changes: Vec<link::MemberChange>,
    ) -> link::RoomApplied {
        let rooms = vec![link::RoomChanges { room: room.into(), full, changes }];
        self.say(gateway_to_chatroom::Kind::Members(link::MemberBatch { number, rooms })).await;
        let applied = self.wait(|heard| match &heard.kind {
            Some(chatroom_to_gateway::Kind::Applied(applied)) if applied.number == number => Some(applied.clone()),
            _ => None,
        });
        applied.await.rooms.remove(0)
    }

    pub async fn publish(&mut self, publish: link::Publish) -> link::PublishReply {
        let request = publish.request;
        self.say(gateway_to_chatroom::Kind::Publish(publish)).await;
        self.wait(|heard| match &heard.kind {
            Some(chatroom_to_gateway::Kind::Published(reply)) if reply.request == request => Some(reply.clone()),
            _ => None,
        })
        .await
    }
}

impl Relay {
    pub async fn say(&self, kind: relay_to_chatroom::Kind) {
        self.outgoing.send(RelayToChatroom { kind: Some(kind) }).await.unwrap();
    }

    pub async fn subscribe(&mut self, room: &str, cursor: Option<link::Cursor>) -> link::Subscribed {
        let subscribe = link::SubscribeRoom { room: room.into(), cursor, older: vec![], told: vec![] };
        self.say(relay_to_chatroom::Kind::Subscribe(subscribe)).await;
        self.wait(|heard| match &heard.kind {
            Some(chatroom_to_relay::Kind::Subscribed(subscribed)) => Some(subscribed.clone()),
            _ => None,
        })
        .await
    }

    pub async fn segment(&mut self) -> throng_core::Segment {
        let segment = self.wait(|heard| match &heard.kind {
            Some(chatroom_to_relay::Kind::Segment(segment)) => Some(segment.clone()),
            _ => None,
        });
        throng_proto::convert::segment(&segment.await).unwrap()
    }
}

pub fn change(user: &str, session: u64, join: bool) -> link::MemberChange {
    link::MemberChange { user: user.into(), session, conn_epoch: 1, join, offline_since_ms: 0 }
}

pub fn text(request: u64, room: &str, user: &str, session: u64) -> link::Publish {
    link::Publish {
        request,
        room: room.into(),
        user: user.into(),
        session,
        lane: 2,
        best_lane: 2,
        kind: "text".into(),
        data: "\"hi\"".into(),
        key: String::new(),
        stored: false,
    }
}
