//! A chatroom Pod and gateways that speak the real gRPC to the service under test, on loopback.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus_client::registry::Registry;
use prost::Message as _;
use throng_core::ownership::Origin;
use throng_core::routes::{Owner, Peer, Routes, SlotChange};
use throng_core::{Epoch, InstanceId, Slot};
use throng_message::{Dependencies, Handle, Identity, Options, Service};
use throng_proto::key::PodKey;
use throng_proto::link::{
    self, chatroom_to_relay, gateway_to_message, message_to_gateway, relay_client::RelayClient, relay_to_chatroom,
};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream, UnboundedReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

pub(crate) const KEY: &str = "between-pods";
pub(crate) type Down = message_to_gateway::Kind;

pub(crate) fn loopback() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// The service under test.
pub(crate) struct Message {
    pub(crate) address: SocketAddr,
    pub(crate) handle: Handle,
    pub(crate) routes: watch::Sender<Arc<Routes>>,
    pub(crate) slots: mpsc::Sender<SlotChange>,
    pub(crate) metrics: Registry,
    pub(crate) stop: CancellationToken,
}

impl Message {
    /// Starts it in the current runtime, with all slots of users open.
    pub(crate) async fn start(options: Options) -> Self {
        Self::start_with(options, |service| service).await
    }

    /// The same with a service that is prepared first.
    pub(crate) async fn start_with(options: Options, prepare: impl FnOnce(Service) -> Service) -> Self {
        let (message, service) = Self::build(options);
        let service = prepare(service);
        for slot in Slot::all() {
            message.slots.send(SlotChange::Open { slot, epoch: Epoch(1), origin: Origin::Gathered }).await.unwrap();
        }
        tokio::spawn(async { service.run().await.unwrap() });
        message
    }

    pub(crate) fn build(options: Options) -> (Self, Service) {
        let (listener, address) = loopback();
        let (routes, routes_seen) = watch::channel(Arc::default());
        let (slots, slots_seen) = mpsc::channel(8_192);
        let stop = CancellationToken::new();
        let identity = Identity {
            pod: "live-message-1-0".into(),
            instance: InstanceId::new("m-1").unwrap(),
            revision: "1".into(),
        };
        let dependencies = Dependencies {
            identity,
            listener,
            key: PodKey::new(KEY).unwrap(),
            routes: routes_seen,
            slots: slots_seen,
            services: tonic::service::Routes::default(),
            stop: stop.clone(),
        };
        let mut metrics = Registry::default();
        let service = Service::new(options, dependencies, &mut metrics);
        (Self { address, handle: service.handle(), routes, slots, metrics, stop }, service)
    }

    /// All slots of rooms are claimed by this Pod under this epoch.
    pub(crate) fn owned_by(&self, owner: &Chatroom, epoch: u64) {
        let mut routes = Routes::default();
        let instance = InstanceId::new(&format!("c-{}", owner.address.port())).unwrap();
        let address: Arc<str> = owner.address.to_string().into();
        for slot in Slot::all() {
            let claim = Owner { instance: instance.clone(), address: address.clone(), epoch: Epoch(epoch) };
            routes.rooms.set(slot, Some(claim));
        }
        routes.chatroom.insert(instance, Peer { pod: "c".into(), address, draining: false });
        self.routes.send_replace(Arc::new(routes));
    }

    pub(crate) async fn client(
        &self,
        key: &str,
    ) -> RelayClient<
        tonic::service::interceptor::InterceptedService<
            tonic::transport::Channel,
            impl tonic::service::Interceptor + Clone,
        >,
    > {
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        let channel = channel.initial_stream_window_size(1 << 16).connect().await.unwrap();
        RelayClient::with_interceptor(channel, PodKey::new(key).unwrap().attach())
    }

    pub(crate) async fn gateway(&self, name: &str) -> Gateway {
        Gateway::open(self, name).await
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A gateway's stream.
pub(crate) struct Gateway {
    pub(crate) out: mpsc::Sender<link::GatewayToMessage>,
    pub(crate) stream: Streaming<link::MessageToGateway>,
    beats: tokio::task::JoinHandle<()>,
}

impl Gateway {
    pub(crate) async fn open(message: &Message, name: &str) -> Self {
        let (out, outgoing) = mpsc::channel(10_000);
        let open = link::Open { pod: name.into(), instance: name.into(), revision: "1".into() };
        out.send(link::GatewayToMessage { kind: Some(gateway_to_message::Kind::Open(open)) }).await.unwrap();
        let mut client = message.client(KEY).await.max_decoding_message_size(64 << 20);
        let stream = client.gateway(ReceiverStream::new(outgoing)).await.unwrap().into_inner();
        let beat = out.clone();
        let beats = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(500)).await;
                let kind = gateway_to_message::Kind::Beat(link::Beat { at_ms: 0 });
                if beat.send(link::GatewayToMessage { kind: Some(kind) }).await.is_err() {
                    return;
                }
            }
        });
        Self { out, stream, beats }
    }

    pub(crate) async fn say(&self, kind: gateway_to_message::Kind) {
        self.out.send(link::GatewayToMessage { kind: Some(kind) }).await.unwrap();
    }

    pub(crate) async fn subscribe(&self, room: &str, cursor: Option<link::Cursor>) {
        let wish = link::SubscribeRoom { room: room.into(), cursor, ..link::SubscribeRoom::default() };
        self.say(gateway_to_message::Kind::Subscribe(wish)).await;
    }

    /// The next message that is neither a beat nor the Open.
    pub(crate) async fn next(&mut self) -> Down {
        loop {
            let frame = timeout(Duration::from_secs(10), self.stream.message()).await.expect("an answer in time");
            match frame.expect("a whole stream").expect("an open stream").kind.expect("a kind") {
                Down::Beat(_) | Down::Open(_) => {}
                kind => return kind,
            }
        }
    }

    /// Reads until `done` says so, noting everything.
    pub(crate) async fn until(&mut self, mut done: impl FnMut(&Down) -> bool) -> Vec<Down> {
        let mut seen = Vec::new();
        loop {
            let kind = self.next().await;
            let stop = done(&kind);
            seen.push(kind);
            if stop {
                return seen;
            }
        }
    }

    pub(crate) async fn subscribed(&mut self, room: &str) -> link::Cursor {
        self.subscribe(room, None).await;
        let Down::Subscribed(subscribed) = self.next().await else { panic!("not subscribed") };
        subscribed.cursor.unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.beats.abort();
    }
}

/// One room as its owner keeps it: everything it ever sent.
#[derive(Default)]
struct Log {
    epoch: u64,
    head: [u64; 4],
    sent: Vec<chatroom_to_relay::Kind>,
}

#[derive(Default)]
struct Rooms {
    epoch: u64,
    logs: BTreeMap<String, Log>,
    streams: Vec<(mpsc::UnboundedSender<link::ChatroomToRelay>, Vec<String>)>,
    heard: Vec<relay_to_chatroom::Kind>,
    silent: bool,
}

/// A chatroom Pod that keeps everything and answers subscriptions from it.
pub(crate) struct Chatroom {
    pub(crate) address: SocketAddr,
    rooms: Arc<Mutex<Rooms>>,
    server: tokio::task::JoinHandle<()>,
}

impl Chatroom {
    pub(crate) fn start(epoch: u64) -> Self {
        Self::serve(Arc::new(Mutex::new(Rooms { epoch, ..Rooms::default() })))
    }

    fn serve(rooms: Arc<Mutex<Rooms>>) -> Self {
        let (listener, address) = loopback();
        listener.set_nonblocking(true).unwrap();
        let incoming = TcpListenerStream::new(tokio::net::TcpListener::from_std(listener).unwrap());
        let service = link::chatroom_server::ChatroomServer::new(Served(rooms.clone()));
        let service = tonic::service::interceptor::InterceptedService::new(service, PodKey::new(KEY).unwrap().demand());
        let server = tokio::spawn(async move {
            tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
        Self { address, rooms, server }
    }

    /// The Pod dies; another takes its rooms over under a later epoch, knowing everything and sealing what was.
    pub(crate) fn taken_over(self, epoch: u64) -> Self {
        self.server.abort();
        let mut rooms = std::mem::take(&mut *self.rooms.lock().unwrap());
        rooms.epoch = epoch;
        rooms.streams.clear();
        for (name, log) in &mut rooms.logs {
            log.sent.push(chatroom_to_relay::Kind::Sealed(link::Sealed {
                room: name.clone(),
                epoch: log.epoch,
                last: log.head.to_vec(),
                next_epoch: epoch,
            }));
            (log.epoch, log.head) = (epoch, [0; 4]);
        }
        Self::serve(Arc::new(Mutex::new(rooms)))
    }

    /// Orders one message a lane given and sends them as one segment.
    pub(crate) fn publish(&self, room: &str, lanes: &[u32], data: &[u8]) {
        let mut rooms = self.rooms.lock().unwrap();
        let epoch = rooms.epoch;
        let log = rooms.logs.entry(room.into()).or_insert_with(|| Log { epoch, ..Log::default() });
        let after = log.head;
        let messages = lanes.iter().map(|lane| {
            log.head[*lane as usize] += 1;
            link::Message {
                lane: *lane,
                seq: log.head[*lane as usize],
                from: "ana".into(),
                kind: "text".into(),
                data: data.to_vec().into(),
                at_ms: 1,
            }
        });
        let body = link::SegmentBody { messages: messages.collect(), ..link::SegmentBody::default() };
        let segment = chatroom_to_relay::Kind::Segment(link::Segment {
            room: room.into(),
            epoch: log.epoch,
            after: after.to_vec(),
            last: log.head.to_vec(),
            body: body.encode_to_vec().into(),
        });
        log.sent.push(segment.clone());
        rooms.tell(room, &segment);
    }

    pub(crate) fn tell(&self, room: &str, kind: &chatroom_to_relay::Kind) {
        self.rooms.lock().unwrap().tell(room, kind);
    }

    /// Stops to speak, beats included, without closing anything.
    pub(crate) fn fall_silent(&self) {
        self.rooms.lock().unwrap().silent = true;
    }

    /// What relays said since the last call, beats and audits aside.
    pub(crate) fn heard(&self) -> Vec<relay_to_chatroom::Kind> {
        std::mem::take(&mut self.rooms.lock().unwrap().heard)
    }

    pub(crate) async fn hears(&self, wanted: impl Fn(&relay_to_chatroom::Kind) -> bool) -> relay_to_chatroom::Kind {
        for _ in 0..800 {
            if let Some(kind) = self.heard().into_iter().find(&wanted) {
                return kind;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the chatroom Pod did not hear of it");
    }
}

impl Drop for Chatroom {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Rooms {
    fn tell(&mut self, room: &str, kind: &chatroom_to_relay::Kind) {
        for (stream, taken) in &self.streams {
            if taken.iter().any(|taken| taken == room) {
                let _ = stream.send(link::ChatroomToRelay { kind: Some(kind.clone()) });
            }
        }
    }

    /// Answers a subscription: everything behind the cursor, or from now on.
    fn subscribe(&mut self, stream: usize, wish: &link::SubscribeRoom) {
        let epoch = self.epoch;
        let log = self.logs.entry(wish.room.clone()).or_insert_with(|| Log { epoch, ..Log::default() });
        let head = link::Cursor { epoch: log.epoch, seq: log.head.to_vec() };
        let cursor = wish.cursor.clone().unwrap_or(head);
        let mut answer = vec![chatroom_to_relay::Kind::Subscribed(link::Subscribed {
            room: wish.room.clone(),
            cursor: Some(cursor.clone()),
            ..link::Subscribed::default()
        })];
        answer.extend(log.sent.iter().filter(|sent| is_behind(sent, &cursor)).cloned());
        let (sender, taken) = &mut self.streams[stream];
        taken.push(wish.room.clone());
        for kind in answer {
            let _ = sender.send(link::ChatroomToRelay { kind: Some(kind) });
        }
    }
}

fn is_behind(kind: &chatroom_to_relay::Kind, cursor: &link::Cursor) -> bool {
    match kind {
        chatroom_to_relay::Kind::Segment(segment) => {
            segment.epoch > cursor.epoch
                || (segment.epoch == cursor.epoch && segment.last.iter().zip(&cursor.seq).any(|(last, seq)| last > seq))
        }
        chatroom_to_relay::Kind::Sealed(sealed) => sealed.epoch >= cursor.epoch,
        _ => false,
    }
}

struct Served(Arc<Mutex<Rooms>>);

type Stream<T> = std::pin::Pin<Box<dyn tokio_stream::Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl link::chatroom_server::Chatroom for Served {
    type GatewayStream = Stream<link::ChatroomToGateway>;
    type RelayStream = Stream<link::ChatroomToRelay>;

    async fn relay(
        &self,
        request: Request<Streaming<link::RelayToChatroom>>,
    ) -> Result<Response<Self::RelayStream>, Status> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let number = {
            let mut rooms = self.0.lock().unwrap();
            rooms.streams.push((sender.clone(), Vec::new()));
            rooms.streams.len() - 1
        };
        let rooms = self.0.clone();
        tokio::spawn(async move {
            let open = chatroom_to_relay::Kind::Open(link::Open::default());
            let _ = sender.send(link::ChatroomToRelay { kind: Some(open) });
            loop {
                tokio::time::sleep(Duration::from_millis(400)).await;
                let beat = chatroom_to_relay::Kind::Beat(link::Beat { at_ms: 0 });
                let silent = rooms.lock().unwrap().silent;
                if !silent && sender.send(link::ChatroomToRelay { kind: Some(beat) }).is_err() {
                    return;
                }
            }
        });
        let rooms = self.0.clone();
        let mut incoming = request.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(frame)) = incoming.message().await {
                let mut rooms = rooms.lock().unwrap();
                match frame.kind.unwrap() {
                    relay_to_chatroom::Kind::Open(_)
                    | relay_to_chatroom::Kind::Beat(_)
                    | relay_to_chatroom::Kind::Audit(_) => {}
                    kind => {
                        if let relay_to_chatroom::Kind::Subscribe(wish) = &kind
                            && !rooms.silent
                        {
                            rooms.subscribe(number, wish);
                        }
                        if let relay_to_chatroom::Kind::Unsubscribe(room) = &kind {
                            rooms.streams[number].1.retain(|taken| taken != room);
                        }
                        rooms.heard.push(kind);
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(receiver).map(Ok))))
    }

    async fn gateway(
        &self,
        _: Request<Streaming<link::GatewayToChatroom>>,
    ) -> Result<Response<Self::GatewayStream>, Status> {
        Err(Status::unimplemented("not in these tests"))
    }

    async fn hand_over(&self, _: Request<Streaming<link::HandOver>>) -> Result<Response<link::HandOverReply>, Status> {
        Err(Status::unimplemented("not in these tests"))
    }

    async fn admin(&self, _: Request<link::AdminRequest>) -> Result<Response<link::AdminReply>, Status> {
        Err(Status::unimplemented("not in these tests"))
    }

    async fn announce(&self, _: Request<link::AnnounceRequest>) -> Result<Response<link::AnnounceReply>, Status> {
        Err(Status::unimplemented("not in these tests"))
    }

    async fn list_rooms(&self, _: Request<link::ListRoomsRequest>) -> Result<Response<link::ListRoomsReply>, Status> {
        Err(Status::unimplemented("not in these tests"))
    }
}

/// Follows a room's stream as a gateway does: where it stands, and every number it got. Panics on a hole or a repetition.
#[derive(Default)]
pub(crate) struct Follower {
    pub(crate) at: link::Cursor,
    pub(crate) got: Vec<(u64, u32, u64)>,
    pub(crate) sealed: Vec<(u64, u64)>,
}

impl Follower {
    pub(crate) fn see(&mut self, kind: &Down) {
        match kind {
            Down::Subscribed(subscribed) => {
                assert_eq!(subscribed.gaps, []);
                self.at = subscribed.cursor.clone().unwrap();
            }
            Down::Segment(segment) => {
                assert_eq!((segment.epoch, &segment.after), (self.at.epoch, &self.at.seq));
                self.add(segment);
                self.at.seq.clone_from(&segment.last);
            }
            Down::Sealed(sealed) => {
                assert_eq!((sealed.epoch, &sealed.last), (self.at.epoch, &self.at.seq));
                self.sealed.push((sealed.epoch, sealed.next_epoch));
                self.at = link::Cursor { epoch: sealed.next_epoch, seq: vec![0; 4] };
            }
            other => panic!("not part of a stream: {other:?}"),
        }
    }

    pub(crate) fn add(&mut self, segment: &link::Segment) {
        let body = link::SegmentBody::decode(segment.body.clone()).unwrap();
        self.got.extend(body.messages.iter().map(|m| (segment.epoch, m.lane, m.seq)));
    }
}

/// The service alone on a thread of its own; returns it and the file where the kernel counts the thread's CPU time.
pub(crate) async fn alone() -> (Message, String) {
    let (message, service) = Message::build(Options::default());
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let thread = std::fs::read_link("/proc/thread-self").unwrap();
        tell.send(format!("/proc/{}/schedstat", thread.display())).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(service.run()).unwrap();
    });
    for slot in Slot::all() {
        message.slots.send(SlotChange::Open { slot, epoch: Epoch(1), origin: Origin::Gathered }).await.unwrap();
    }
    (message, told.await.unwrap())
}

/// CPU time of that thread so far.
pub(crate) fn cpu_us(schedstat: &str) -> u64 {
    let text = std::fs::read_to_string(schedstat).unwrap();
    text.split(' ').next().unwrap().parse::<u64>().unwrap() / 1_000
}
