//! The Pod that answers: found by the claims, followed when it says MOVED, asked again if that is harmless and the call got
//! lost, given up after a deadline.

use std::future::Future;
use std::sync::Arc;

use throng_core::routes::{Claims, Routes};
use throng_core::{RoomId, Slot, UserId};
use throng_proto::link::admin_request::Command;
use throng_proto::link::chatroom_client::ChatroomClient;
use throng_proto::link::relay_client::RelayClient;
use throng_proto::link::{
    AdminReply, AdminRequest, AnnounceReply, AnnounceRequest, DirectReply, Directed, KickUser, ListRoomsReply,
    ListRoomsRequest, Moved,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tonic::Status;
use tonic::transport::Channel;

use super::Api;
use super::error::ApiError;
use super::repeat::Repeat;

/// How often a MOVED is followed in one call.
const MAX_MOVES: usize = 3;
/// Largest answer of a Pod: a list of 100,000 users of 128 bytes and an end each.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// An answer that may say that its Pod is the wrong one.
trait Answer {
    fn moved(&self) -> Option<&Moved>;
}

impl Answer for AdminReply {
    fn moved(&self) -> Option<&Moved> {
        self.moved.as_ref()
    }
}

impl Answer for DirectReply {
    fn moved(&self) -> Option<&Moved> {
        self.moved.as_ref()
    }
}

/// What one chatroom Pod said, of all that were asked.
pub(super) struct FromPod<T> {
    /// The Pod's name.
    pub(super) pod: Arc<str>,
    /// Its answer.
    pub(super) answer: Result<T, ApiError>,
}

impl Api {
    /// Asks the owner of a room. A refusal is an error, except that of a publish, which stands in its own reply.
    pub(super) async fn admin(&self, room: &RoomId, command: Command) -> Result<AdminReply, ApiError> {
        let repeat = Repeat::of(&command);
        let request = AdminRequest { room: room.as_str().to_owned(), command: Some(command) };
        let slot = Slot::of(room.as_str());
        let key = &self.0.pod_key;
        let reply = self
            .follow(
                |routes| &routes.rooms,
                slot,
                "room",
                repeat,
                |channel| {
                    let client = ChatroomClient::with_interceptor(channel, key.attach());
                    let mut client = client.max_decoding_message_size(MAX_ANSWER_BYTES);
                    let request = request.clone();
                    async move { Ok(client.admin(request).await?.into_inner()) }
                },
            )
            .await?;
        if reply.code.is_empty() {
            return Ok(reply);
        }
        let retry_ms = reply.published.map_or(0, |published| published.retry_ms);
        Err(ApiError::refused(&reply.code, &reply.message, retry_ms))
    }

    /// Hands a message to a user's home. Returns how many connections it was handed to.
    pub(super) async fn direct(&self, to: &UserId, message: Directed) -> Result<u32, ApiError> {
        let key = &self.0.pod_key;
        let call = |channel| {
            let mut client = RelayClient::with_interceptor(channel, key.attach());
            let message = message.clone();
            async move { Ok(client.direct(message).await?.into_inner()) }
        };
        let slot = Slot::of(to.as_str());
        connections(&self.follow(|routes| &routes.users, slot, "user", Repeat::Never, call).await?)
    }

    /// Ends a user's connections, by its home. Returns how many.
    pub(super) async fn kick_user(&self, user: &UserId, kick: KickUser) -> Result<u32, ApiError> {
        let key = &self.0.pod_key;
        let call = |channel| {
            let mut client = RelayClient::with_interceptor(channel, key.attach());
            let kick = kick.clone();
            async move { Ok(client.kick(kick).await?.into_inner()) }
        };
        let slot = Slot::of(user.as_str());
        connections(&self.follow(|routes| &routes.users, slot, "user", Repeat::Never, call).await?)
    }

    /// Asks every chatroom Pod for its rooms.
    pub(super) async fn list_rooms(
        &self,
        request: &ListRoomsRequest,
    ) -> Result<Vec<FromPod<ListRoomsReply>>, ApiError> {
        let key = &self.0.pod_key;
        self.all_chatrooms(Repeat::Harmless, |channel| {
            let client = ChatroomClient::with_interceptor(channel, key.attach());
            let mut client = client.max_decoding_message_size(MAX_ANSWER_BYTES);
            let request = request.clone();
            async move { Ok(client.list_rooms(request).await?.into_inner()) }
        })
        .await
    }

    /// Has every chatroom Pod say something in all its rooms.
    pub(super) async fn announce(&self, request: &AnnounceRequest) -> Result<Vec<FromPod<AnnounceReply>>, ApiError> {
        let key = &self.0.pod_key;
        self.all_chatrooms(Repeat::Never, |channel| {
            let mut client = ChatroomClient::with_interceptor(channel, key.attach());
            let request = request.clone();
            async move { Ok(client.announce(request).await?.into_inner()) }
        })
        .await
    }

    /// Calls the owner of a slot, and whoever it says has the slot now. `what` the slot is of, for the error.
    async fn follow<T, F>(
        &self,
        claims: impl Fn(&Routes) -> &Claims,
        slot: Slot,
        what: &str,
        mut repeat: Repeat,
        call: impl Fn(Channel) -> F,
    ) -> Result<T, ApiError>
    where
        T: Answer,
        F: Future<Output = Result<T, Status>>,
    {
        let until = Instant::now() + self.0.deadline;
        let claimed = || {
            let routes = self.routes();
            let owner = claims(&routes).owner(slot).map(|owner| Arc::clone(&owner.address));
            owner.ok_or_else(|| ApiError::unavailable(format!("nobody serves this {what} right now; try again")))
        };
        let mut address = claimed()?;
        let mut times = 0;
        while times <= MAX_MOVES {
            let channel = self.0.pool.channel(&address, &self.routes())?;
            let answer = match timeout_at(until, call(channel)).await.map_err(|_| ApiError::too_late())? {
                Ok(answer) => answer,
                Err(status) if repeat.after(&status) => {
                    // Its slots may be with another by now.
                    address = claimed()?;
                    continue;
                }
                Err(status) => return Err(ApiError::from_status(&status)),
            };
            times += 1;
            let Some(moved) = answer.moved() else { return Ok(answer) };
            let next = if moved.address.is_empty() { claimed()? } else { Arc::from(&*moved.address) };
            if next == address {
                break;
            }
            address = next;
        }
        Err(ApiError::unavailable(format!("this {what} is moving to another Pod; try again")))
    }

    /// Calls all live chatroom Pods at once; an error only where there is none.
    async fn all_chatrooms<T, F>(
        &self,
        mut repeat: Repeat,
        call: impl Fn(Channel) -> F,
    ) -> Result<Vec<FromPod<T>>, ApiError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Status>> + Send + 'static,
    {
        let until = Instant::now() + self.0.deadline;
        let routes = self.routes();
        let mut calls = JoinSet::new();
        for peer in routes.chatroom.values() {
            let channel = self.0.pool.channel(&peer.address, &routes)?;
            // A call does nothing before it is awaited.
            let (first, second) = (call(channel.clone()), call(channel));
            let both = async move {
                match first.await {
                    Err(status) if repeat.after(&status) => second.await,
                    answer => answer,
                }
            };
            let pod = Arc::clone(&peer.pod);
            calls.spawn(async move {
                let answer = match timeout_at(until, both).await {
                    Ok(answer) => answer.map_err(|status| ApiError::from_status(&status)),
                    Err(_) => Err(ApiError::too_late()),
                };
                FromPod { pod, answer }
            });
        }
        if calls.is_empty() {
            return Err(ApiError::unavailable("no chatroom Pod is there right now; try again"));
        }
        let mut answers = Vec::with_capacity(calls.len());
        while let Some(answer) = calls.join_next().await {
            answers.push(answer.map_err(|_| ApiError::too_late())?);
        }
        answers.sort_by(|a, b| a.pod.cmp(&b.pod));
        Ok(answers)
    }
}

fn connections(reply: &DirectReply) -> Result<u32, ApiError> {
    if reply.code.is_empty() { Ok(reply.connections) } else { Err(ApiError::refused(&reply.code, "", 0)) }
}
