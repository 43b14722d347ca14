//! Pods that answer from a script, and a gateway's API in front of them.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request as HttpRequest, StatusCode};
use serde_json::Value;
use throng_core::routes::{Owner, Peer, Routes};
use throng_core::{Epoch, InstanceId, Slot};
use throng_proto::key::PodKey;
use throng_proto::link::admin_request::Command;
use throng_proto::link::chatroom_server::{Chatroom, ChatroomServer};
use throng_proto::link::relay_server::{Relay, RelayServer};
use throng_proto::link::{self, AdminReply, AdminRequest, DirectReply, Moved};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Empty, Stream};
use tonic::{Request, Response, Status, Streaming};
use tower::ServiceExt as _;

use super::super::{ApiDeps, ApiKeys, Calls, router};

pub(super) const KEY: &str = "test-key";
pub(super) const POD_KEY: &str = "pod-key";
const DEADLINE: Duration = Duration::from_secs(3);

/// What a Pod was asked.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Seen {
    Admin(AdminRequest),
    Announce(link::AnnounceRequest),
    ListRooms(link::ListRoomsRequest),
    Direct(link::Directed),
    Kick(link::KickUser),
}

type OnAdmin = dyn Fn(&AdminRequest) -> Result<AdminReply, Status> + Send + Sync;

/// How a Pod answers; the defaults are the answers of the documents.
#[derive(Clone)]
pub(super) struct Script {
    pub(super) admin: Arc<OnAdmin>,
    pub(super) rooms: Vec<link::RoomDescription>,
    pub(super) direct: DirectReply,
    pub(super) after: Duration,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            admin: Arc::new(|request| Ok(documented(request))),
            rooms: vec![description("final", settings()), description("semi", settings())],
            direct: DirectReply { connections: 2, ..DirectReply::default() },
            after: Duration::ZERO,
        }
    }
}

impl Script {
    /// Answers every admin call alike.
    pub(super) fn admin(reply: AdminReply) -> Self {
        Self { admin: Arc::new(move |_| Ok(reply.clone())), ..Self::default() }
    }

    /// Says that everything is elsewhere.
    pub(super) fn moved(address: &str) -> Self {
        let moved = || Some(Moved { address: address.into(), ..Moved::default() });
        let admin = AdminReply { code: "unavailable".into(), moved: moved(), ..AdminReply::default() };
        Self { direct: DirectReply { moved: moved(), ..DirectReply::default() }, ..Self::admin(admin) }
    }
}

pub(super) fn settings() -> link::RoomSettings {
    link::RoomSettings {
        messages_per_second: Some(200),
        user_messages_per_second: Some(10),
        // The owner leaves out what is not set.
        destroy_at_ms: None,
        idle_ms: Some(3_600_000),
        mute_all: Some(false),
        protected_types: vec!["gift".into()],
        offline_after_ms: Some(30_000),
        offline_after_messages: Some(30),
    }
}

pub(super) fn description(room: &str, settings: link::RoomSettings) -> link::RoomDescription {
    link::RoomDescription {
        room: room.into(),
        epoch: 7,
        seq: vec![0, 3, 120, 9],
        members: 1042,
        provisional: false,
        created_ms: 1_795_289_700_000,
        settings: Some(settings),
        messages_per_second: 12.5,
        tick_ms: 100,
        owner: "10.0.3.7:7400".into(),
    }
}

fn documented(request: &AdminRequest) -> AdminReply {
    let mut reply = AdminReply::default();
    let member = |user: &str, sessions, joined_ms, role: &str| link::MemberEntry {
        user: user.into(),
        sessions,
        joined_ms,
        role: role.into(),
    };
    let entry = |user: &str, until_ms| link::ListEntry { user: user.into(), until_ms };
    match request.command.as_ref().unwrap() {
        Command::Create(given) | Command::Update(given) => {
            let settings = link::RoomSettings {
                mute_all: given.mute_all.or(Some(false)),
                protected_types: given.protected_types.clone(),
                ..settings()
            };
            reply.room = Some(description(&request.room, settings));
        }
        Command::Describe(_) => reply.room = Some(description(&request.room, settings())),
        Command::Members(_) => {
            let members = vec![member("ana", 2, 1_795_289_701_000, "admin"), member("bob", 1, 1_795_289_702_000, "")];
            reply.members = Some(link::MembersReply { members, next: "bob".into(), total: 1042 });
        }
        Command::Publish(publish) => {
            let (lane, stored) = (publish.lane, publish.stored);
            reply.published =
                Some(link::PublishReply { epoch: 7, lane, seq: 121, stored, ..link::PublishReply::default() });
        }
        Command::ReadList(_) => {
            let entries = vec![entry("bob", 1_795_293_301_000), entry("eve", 0)];
            reply.list = Some(link::ListReply { entries });
        }
        Command::Destroy(_) | Command::Delete(_) | Command::Kick(_) | Command::List(_) => {}
    }
    reply
}

#[derive(Clone)]
struct Service {
    script: Script,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Service {
    async fn note(&self, seen: Seen) {
        self.seen.lock().unwrap().push(seen);
        tokio::time::sleep(self.script.after).await;
    }
}

type Out<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Chatroom for Service {
    type GatewayStream = Out<link::ChatroomToGateway>;
    type RelayStream = Empty<Result<link::ChatroomToRelay, Status>>;

    async fn gateway(
        &self,
        _: Request<Streaming<link::GatewayToChatroom>>,
    ) -> Result<Response<Self::GatewayStream>, Status> {
        Err(Status::unimplemented("no streams here"))
    }

    async fn relay(&self, _: Request<Streaming<link::RelayToChatroom>>) -> Result<Response<Self::RelayStream>, Status> {
        Err(Status::unimplemented("no streams here"))
    }

    async fn hand_over(&self, _: Request<Streaming<link::HandOver>>) -> Result<Response<link::HandOverReply>, Status> {
        Err(Status::unimplemented("no streams here"))
    }

    async fn admin(&self, request: Request<AdminRequest>) -> Result<Response<AdminReply>, Status> {
        let request = request.into_inner();
        self.note(Seen::Admin(request.clone())).await;
        (self.script.admin)(&request).map(Response::new)
    }

    async fn announce(&self, request: Request<link::AnnounceRequest>) -> Result<Response<link::AnnounceReply>, Status> {
        self.note(Seen::Announce(request.into_inner())).await;
        Ok(Response::new(link::AnnounceReply { rooms: 12 }))
    }

    async fn list_rooms(
        &self,
        request: Request<link::ListRoomsRequest>,
    ) -> Result<Response<link::ListRoomsReply>, Status> {
        let request = request.into_inner();
        self.note(Seen::ListRooms(request.clone())).await;
        let limit = usize::try_from(request.limit).unwrap();
        let after = self.script.rooms.iter().filter(|room| room.room > request.after);
        let rooms: Vec<_> = after.take(limit).cloned().collect();
        let next = rooms.last().filter(|_| rooms.len() == limit).map_or(String::new(), |last| last.room.clone());
        Ok(Response::new(link::ListRoomsReply { rooms, next }))
    }
}

#[tonic::async_trait]
impl Relay for Service {
    type GatewayStream = Out<link::MessageToGateway>;

    async fn gateway(
        &self,
        _: Request<Streaming<link::GatewayToMessage>>,
    ) -> Result<Response<Self::GatewayStream>, Status> {
        Err(Status::unimplemented("no streams here"))
    }

    async fn gather(&self, _: Request<link::GatherRequest>) -> Result<Response<link::GatherReply>, Status> {
        Err(Status::unimplemented("nothing to gather here"))
    }

    async fn direct(&self, request: Request<link::Directed>) -> Result<Response<DirectReply>, Status> {
        self.note(Seen::Direct(request.into_inner())).await;
        Ok(Response::new(self.script.direct.clone()))
    }

    async fn kick(&self, request: Request<link::KickUser>) -> Result<Response<DirectReply>, Status> {
        self.note(Seen::Kick(request.into_inner())).await;
        Ok(Response::new(self.script.direct.clone()))
    }
}

/// A server of both services on a free port of loopback. Ends with its handle.
pub(super) struct Pod {
    pub(super) address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    server: JoinHandle<()>,
}

impl Pod {
    pub(super) async fn start(script: Script) -> Self {
        Self::start_with_key(script, POD_KEY).await
    }

    pub(super) async fn start_with_key(script: Script, key: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let service = Service { script, seen: Arc::default() };
        let seen = Arc::clone(&service.seen);
        let key = PodKey::new(key).unwrap();
        let server = tonic::transport::Server::builder()
            .add_service(ChatroomServer::with_interceptor(service.clone(), key.demand()))
            .add_service(RelayServer::with_interceptor(service, key.demand()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        Self { address, seen, server: tokio::spawn(async move { server.await.unwrap() }) }
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Routes where the slots belong to the Pods in turn.
pub(super) fn routes(chatroom: &[&str], message: &[&str]) -> Routes {
    let mut routes = Routes::default();
    for slot in Slot::all() {
        let owner = |addresses: &[&str]| {
            let address = addresses.get(slot.index() % addresses.len().max(1))?;
            Some(Owner { instance: InstanceId::new(address).unwrap(), address: (*address).into(), epoch: Epoch(7) })
        };
        routes.rooms.set(slot, owner(chatroom));
        routes.users.set(slot, owner(message));
    }
    let peers = |addresses: &[&str]| {
        let peer = |(i, address): (usize, &&str)| {
            let peer = Peer { pod: format!("pod-{i}").into(), address: (**address).into(), draining: false };
            (InstanceId::new(address).unwrap(), peer)
        };
        addresses.iter().enumerate().map(peer).collect()
    };
    routes.chatroom = peers(chatroom);
    routes.message = peers(message);
    routes
}

/// An answer of the API.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

impl Answer {
    pub(super) fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    pub(super) fn message(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap_or_default()
    }

    /// Status and error code.
    pub(super) fn failure(&self) -> (u16, &str) {
        (self.status.as_u16(), self.code())
    }
}

/// The API of one gateway.
pub(super) struct Gateway {
    pub(super) router: Router,
    pub(super) routes: watch::Sender<Arc<Routes>>,
}

impl Gateway {
    pub(super) fn new(first: Routes) -> Self {
        Self::with(first, &[KEY], DEADLINE)
    }

    pub(super) fn with(first: Routes, keys: &[&str], deadline: Duration) -> Self {
        let (sender, routes) = watch::channel(Arc::new(first));
        let keys = ApiKeys::new(&keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>());
        let pod_key = PodKey::new(POD_KEY).unwrap();
        let deps = ApiDeps { keys, routes, pod_key, deadline, counted: Calls::default() };
        Self { router: router(deps), routes: sender }
    }

    pub(super) async fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        self.send(request(method, path).body(Body::from(body.to_owned())).unwrap()).await
    }

    pub(super) async fn send(&self, request: HttpRequest<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 24).await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { status, headers, body }
    }
}

pub(super) fn request(method: &str, path: &str) -> axum::http::request::Builder {
    HttpRequest::builder().method(method).uri(path).header("authorization", format!("Bearer {KEY}"))
}
