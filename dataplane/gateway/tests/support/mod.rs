//! A small world around a gateway: one chatroom and one message Pod, made of the generated services and a few maps.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    clippy::wildcard_imports,
    clippy::too_many_lines,
    reason = "help for tests"
)]

mod client;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};
use throng_core::routes::{Owner, Peer, Routes};
use throng_core::{Cursor, Epoch, InstanceId, Lane, Segment, Slot};
use throng_gateway::options::{Algorithm, Auth, JwtKey, ResumeKey, Secret};
use throng_gateway::{Deps, Handle, Options, Service};
use throng_proto::codes::ErrorCode;
use throng_proto::key::PodKey;
use throng_proto::link::chatroom_server::{Chatroom, ChatroomServer};
use throng_proto::link::relay_server::{Relay, RelayServer};
use throng_proto::link::*;
use throng_proto::{convert, link};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

pub use client::Client;

pub const SECRET: &str = "a secret of at least thirty-two bytes";

pub fn token(user: &str) -> String {
    token_with(json!({"sub": user, "exp": 4_000_000_000_u64, "lane": 0}))
}

pub fn token_with(claims: Value) -> String {
    encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

type ToGateway<T> = mpsc::Sender<Result<T, Status>>;

#[derive(Default)]
pub struct RoomState {
    pub epoch: u64,
    pub seq: [u64; 4],
    pub members: BTreeSet<(String, u64)>,
    pub log: Vec<Segment>,
    pub sealed: Vec<link::Sealed>,
    pub subscribers: Vec<ToGateway<MessageToGateway>>,
}

#[derive(Default)]
pub struct WorldState {
    pub rooms: BTreeMap<String, RoomState>,
    pub chatroom_links: Vec<ToGateway<ChatroomToGateway>>,
    pub message_links: Vec<ToGateway<MessageToGateway>>,
    pub sessions: Vec<SessionChange>,
    pub batches: u64,
    pub muted: BTreeSet<String>,
    pub blocked: BTreeSet<String>,
    pub catch_ups: u64,
    /// Publishes are swallowed.
    pub deaf: bool,
}

/// The Pods around the gateway.
#[derive(Clone, Default)]
pub struct World(pub Arc<Mutex<WorldState>>);

impl WorldState {
    pub fn room(&mut self, name: &str) -> &mut RoomState {
        self.rooms.entry(name.to_owned()).or_insert_with(|| RoomState { epoch: 7, ..RoomState::default() })
    }

    /// Orders messages as one segment and hands it to all subscribers.
    pub fn order(&mut self, room: &str, messages: &[(Lane, &str, &str)]) -> Segment {
        let state = self.room(room);
        let after = throng_core::Seqs(state.seq);
        let mut ordered = Vec::new();
        for (lane, from, data) in messages {
            state.seq[lane.index()] += 1;
            ordered.push(throng_core::Message {
                lane: *lane,
                seq: state.seq[lane.index()],
                from: throng_core::UserId::new(from).unwrap(),
                kind: "text".into(),
                data: (*data).to_owned().into(),
                at_ms: throng_core::Millis(1_795_289_705_306),
            });
        }
        ordered.sort_by_key(|message| message.lane);
        let segment = Segment {
            room: throng_core::RoomId::new(room).unwrap(),
            epoch: Epoch(state.epoch),
            after,
            messages: ordered,
            gaps: Vec::new(),
        };
        state.log.push(segment.clone());
        let wire = message_to_gateway::Kind::Segment(convert::to_segment(&segment));
        tell(&state.subscribers, &wire);
        segment
    }

    /// Ends the epoch; `next` follows.
    pub fn seal(&mut self, room: &str, next: u64) {
        let state = self.room(room);
        let sealed =
            link::Sealed { room: room.to_owned(), epoch: state.epoch, last: state.seq.to_vec(), next_epoch: next };
        state.sealed.push(sealed.clone());
        state.epoch = next;
        state.seq = [0; 4];
        tell(&state.subscribers, &message_to_gateway::Kind::Sealed(sealed));
    }
}

fn tell(links: &[ToGateway<MessageToGateway>], kind: &message_to_gateway::Kind) {
    for link in links {
        let _ = link.try_send(Ok(MessageToGateway { kind: Some(kind.clone()) }));
    }
}

impl World {
    pub fn with<T>(&self, act: impl FnOnce(&mut WorldState) -> T) -> T {
        act(&mut self.0.lock().unwrap())
    }

    pub fn tell_gateways(&self, kind: message_to_gateway::Kind) {
        self.with(|world| tell(&world.message_links, &kind));
    }

    pub fn tell_from_chatroom(&self, kind: chatroom_to_gateway::Kind) {
        self.with(|world| {
            for link in &world.chatroom_links {
                let _ = link.try_send(Ok(ChatroomToGateway { kind: Some(kind.clone()) }));
            }
        });
    }

    fn publish(&self, publish: &Publish) -> Option<PublishReply> {
        self.with(|world| {
            if world.deaf {
                return None;
            }
            if world.muted.contains(&publish.user) {
                let code = "muted".to_owned();
                return Some(PublishReply {
                    request: publish.request,
                    code,
                    message: "hush".to_owned(),
                    ..PublishReply::default()
                });
            }
            let lane = convert::lane(publish.lane.max(publish.best_lane)).unwrap();
            let data = std::str::from_utf8(&publish.data).unwrap().to_owned();
            let segment = world.order(&publish.room, &[(lane, publish.user.as_str(), data.as_str())]);
            Some(PublishReply {
                request: publish.request,
                epoch: segment.epoch.0,
                lane: u32::from(lane.number()),
                seq: segment.last()[lane],
                stored: publish.stored,
                ..PublishReply::default()
            })
        })
    }

    fn apply(&self, batch: MemberBatch) -> MembersApplied {
        self.with(|world| {
            world.batches += 1;
            let blocked = world.blocked.clone();
            let rooms = batch.rooms.into_iter().map(|changes| {
                let room = world.room(&changes.room);
                if changes.full {
                    room.members.clear();
                }
                let mut refused = Vec::new();
                for change in changes.changes {
                    if blocked.contains(&change.user) {
                        refused.push(Refused { session: change.session, code: "blocked".into(), message: "no".into() });
                    } else if change.join {
                        room.members.insert((change.user, change.session));
                    } else {
                        room.members.remove(&(change.user, change.session));
                    }
                }
                RoomApplied {
                    room: changes.room,
                    epoch: room.epoch,
                    members: room.members.len() as u64,
                    refused,
                    moved: None,
                }
            });
            MembersApplied { number: batch.number, rooms: rooms.collect() }
        })
    }

    fn catch_up(&self, ask: &CatchUp) -> CaughtUp {
        self.with(|world| {
            world.catch_ups += 1;
            let room = world.room(&ask.room);
            let until = convert::cursor(ask.until.as_ref().unwrap()).unwrap();
            let Some(since) = ask.since.as_ref().map(|since| convert::cursor(since).unwrap()) else {
                let mut last: Vec<Segment> = room.log.clone();
                let extra = last.len().saturating_sub(ask.limit as usize);
                last.drain(..extra);
                let segments = last.iter().map(convert::to_segment).collect();
                return CaughtUp {
                    request: ask.request,
                    segments,
                    cursor: ask.until.clone(),
                    recovered: true,
                    ..CaughtUp::default()
                };
            };
            if since.epoch.0 < room.epoch && !room.sealed.iter().any(|sealed| sealed.epoch == since.epoch.0) {
                let code = ErrorCode::BadCursor.as_str().to_owned();
                return CaughtUp { request: ask.request, code, ..CaughtUp::default() };
            }
            let missed = |segment: &&Segment| {
                let later = segment.epoch > since.epoch
                    || Lane::ALL.iter().any(|lane| segment.last()[*lane] > since.seq[*lane]);
                let before = segment.epoch < until.epoch
                    || Lane::ALL.iter().all(|lane| segment.last()[*lane] <= until.seq[*lane]);
                segment.epoch >= since.epoch && later && before
            };
            let segments: Vec<link::Segment> = room.log.iter().filter(missed).map(convert::to_segment).collect();
            let sealed = room.sealed.iter().filter(|sealed| sealed.epoch >= since.epoch.0).cloned().collect();
            CaughtUp {
                request: ask.request,
                segments,
                sealed,
                recovered: true,
                cursor: ask.until.clone(),
                ..CaughtUp::default()
            }
        })
    }
}

#[tonic::async_trait]
impl Chatroom for World {
    type GatewayStream = ReceiverStream<Result<ChatroomToGateway, Status>>;
    type RelayStream = ReceiverStream<Result<ChatroomToRelay, Status>>;

    async fn gateway(
        &self,
        request: Request<Streaming<GatewayToChatroom>>,
    ) -> Result<Response<Self::GatewayStream>, Status> {
        let mut incoming = request.into_inner();
        let (out, stream) = mpsc::channel(10_000);
        self.with(|world| world.chatroom_links.push(out.clone()));
        beat(out.clone(), || ChatroomToGateway { kind: Some(chatroom_to_gateway::Kind::Beat(Beat { at_ms: 0 })) });
        let world = self.clone();
        tokio::spawn(async move {
            while let Ok(Some(message)) = incoming.message().await {
                let answer = match message.kind {
                    Some(gateway_to_chatroom::Kind::Publish(publish)) => {
                        world.publish(&publish).map(chatroom_to_gateway::Kind::Published)
                    }
                    Some(gateway_to_chatroom::Kind::Members(batch)) => {
                        Some(chatroom_to_gateway::Kind::Applied(world.apply(batch)))
                    }
                    _ => None,
                };
                if let Some(kind) = answer {
                    let _ = out.send(Ok(ChatroomToGateway { kind: Some(kind) })).await;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn relay(&self, _: Request<Streaming<RelayToChatroom>>) -> Result<Response<Self::RelayStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn hand_over(&self, _: Request<Streaming<HandOver>>) -> Result<Response<HandOverReply>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn admin(&self, _: Request<AdminRequest>) -> Result<Response<AdminReply>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn announce(&self, _: Request<AnnounceRequest>) -> Result<Response<AnnounceReply>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn list_rooms(&self, _: Request<ListRoomsRequest>) -> Result<Response<ListRoomsReply>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

#[tonic::async_trait]
impl Relay for World {
    type GatewayStream = ReceiverStream<Result<MessageToGateway, Status>>;

    async fn gateway(
        &self,
        request: Request<Streaming<GatewayToMessage>>,
    ) -> Result<Response<Self::GatewayStream>, Status> {
        let mut incoming = request.into_inner();
        let (out, stream) = mpsc::channel(10_000);
        self.with(|world| world.message_links.push(out.clone()));
        beat(out.clone(), || MessageToGateway { kind: Some(message_to_gateway::Kind::Beat(Beat { at_ms: 0 })) });
        let world = self.clone();
        tokio::spawn(async move {
            while let Ok(Some(message)) = incoming.message().await {
                let answer = match message.kind {
                    Some(gateway_to_message::Kind::Subscribe(subscribe)) => world.with(|world| {
                        let room = world.room(&subscribe.room);
                        room.subscribers.push(out.clone());
                        let cursor = Cursor { epoch: Epoch(room.epoch), seq: throng_core::Seqs(room.seq) };
                        let cursor = Some(convert::to_cursor(cursor));
                        Some(message_to_gateway::Kind::Subscribed(Subscribed {
                            room: subscribe.room,
                            cursor,
                            ..Subscribed::default()
                        }))
                    }),
                    Some(gateway_to_message::Kind::CatchUp(ask)) => {
                        Some(message_to_gateway::Kind::CaughtUp(world.catch_up(&ask)))
                    }
                    Some(gateway_to_message::Kind::Pull(pull)) => world.with(|world| {
                        let room = world.room(&pull.room);
                        let lane = convert::lane(pull.lane).unwrap();
                        let wanted = |message: &&throng_core::Message| message.lane == lane && message.seq > pull.after;
                        let found: Vec<throng_core::Message> = room
                            .log
                            .iter()
                            .flat_map(|s| &s.messages)
                            .filter(wanted)
                            .take(pull.limit as usize)
                            .cloned()
                            .collect();
                        let body = Some(convert::to_body(&found, &[]));
                        Some(message_to_gateway::Kind::Pulled(Pulled {
                            request: pull.request,
                            epoch: room.epoch,
                            body,
                            ..Pulled::default()
                        }))
                    }),
                    Some(gateway_to_message::Kind::Publish(publish)) => {
                        world.publish(&publish).map(message_to_gateway::Kind::Published)
                    }
                    Some(gateway_to_message::Kind::Sessions(batch)) => world.with(|world| {
                        world.sessions.extend(batch.changes);
                        Some(message_to_gateway::Kind::SessionsApplied(batch.number))
                    }),
                    _ => None,
                };
                if let Some(kind) = answer {
                    let _ = out.send(Ok(MessageToGateway { kind: Some(kind) })).await;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn gather(&self, _: Request<GatherRequest>) -> Result<Response<GatherReply>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn direct(&self, _: Request<Directed>) -> Result<Response<DirectReply>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn kick(&self, _: Request<KickUser>) -> Result<Response<DirectReply>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

fn beat<T: Send + 'static>(out: ToGateway<T>, make: impl Fn() -> T + Send + 'static) {
    tokio::spawn(async move {
        while out.send(Ok(make())).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
}

/// A running gateway in a running world.
pub struct Running {
    pub world: World,
    pub address: SocketAddr,
    pub handle: Handle,
    pub routes: watch::Sender<Arc<Routes>>,
    pub pods: SocketAddr,
    pub stop: CancellationToken,
    pub key: PodKey,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub fn options() -> Options {
    let mut options = Options {
        auth: Auth {
            jwt: vec![JwtKey { id: None, algorithm: Algorithm::HS256, key: Secret(SECRET.into()) }],
            resume: vec![ResumeKey { id: "k1".into(), secret: Secret(SECRET.into()) }],
            ..Auth::default()
        },
        ..Options::default()
    };
    options.downstream.allow_unlimited = true;
    options
}

pub async fn start(options: Options) -> Running {
    let world = World::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let pods = listener.local_addr().unwrap();
    let key = PodKey::new("pods").unwrap();
    let server = tonic::transport::Server::builder()
        .add_service(ChatroomServer::with_interceptor(world.clone(), key.demand()))
        .add_service(RelayServer::with_interceptor(world.clone(), key.demand()))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    let (routes, _) = watch::channel(Arc::new(routes_to(&pods)));
    gateway(options, world, pods, routes, key).await
}

pub async fn gateway(
    options: Options,
    world: World,
    pods: SocketAddr,
    routes: watch::Sender<Arc<Routes>>,
    key: PodKey,
) -> Running {
    let first = throng_gateway::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = first.local_addr().unwrap();
    let listeners = vec![first, throng_gateway::bind(address).unwrap()];
    let stop = CancellationToken::new();
    let deps = Deps {
        options,
        listeners,
        key: key.clone(),
        routes: routes.subscribe(),
        instance: InstanceId::new("gateway-1").unwrap(),
        pod: "gateway-1".into(),
        revision: "1".into(),
        pages: axum::Router::new().route("/", axum::routing::get(|| async { "a page" })),
        stop: stop.clone(),
    };
    let (service, handle) = Service::new(deps).unwrap();
    tokio::spawn(service.run());
    for _ in 0..100 {
        if handle.links_up() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Running { world, address, handle, routes, pods, stop, key }
}

pub fn routes_to(pods: &SocketAddr) -> Routes {
    let mut routes = Routes::default();
    let instance = InstanceId::new("pods-1").unwrap();
    let address: Arc<str> = pods.to_string().into();
    let owner = Owner { instance: instance.clone(), address: Arc::clone(&address), epoch: Epoch(7) };
    for slot in Slot::all() {
        routes.rooms.set(slot, Some(owner.clone()));
        routes.users.set(slot, Some(owner.clone()));
    }
    let peer = Peer { pod: "pods-1".into(), address, draining: false };
    routes.chatroom.insert(instance.clone(), peer.clone());
    routes.message.insert(instance, peer);
    routes
}
