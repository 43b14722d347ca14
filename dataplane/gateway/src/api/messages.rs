//! Messages to rooms: into one, out of one, into all.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use throng_core::Lane;
use throng_proto::client::json::MAX_KEY_BYTES;
use throng_proto::codes::ErrorCode;
use throng_proto::convert;
use throng_proto::link::admin_request::Command;
use throng_proto::link::{self, AnnounceRequest};

use super::Api;
use super::content::Content;
use super::error::ApiError;
use super::input::{self, Body, Nothing, Params, Query};

/// How safe a message must be before the call is answered.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", try_from = "String")]
enum Ack {
    #[default]
    Accepted,
    Stored,
}

impl TryFrom<String> for Ack {
    type Error = &'static str;

    fn try_from(ack: String) -> Result<Self, Self::Error> {
        match ack.as_str() {
            "accepted" => Ok(Self::Accepted),
            "stored" => Ok(Self::Stored),
            _ => Err("ack is accepted or stored"),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Publish {
    from: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    data: Option<Box<RawValue>>,
    lane: Option<Lane>,
    key: Option<String>,
    #[serde(default, deserialize_with = "input::or_default")]
    ack: Ack,
}

impl Publish {
    /// As the owner takes it: session 0 stands for the server API, which every lane is open to.
    fn translate(self, room: &str) -> Result<link::Publish, ApiError> {
        if self.key.as_ref().is_some_and(|key| key.is_empty() || key.len() > MAX_KEY_BYTES) {
            return Err(ApiError::bad_request(format!("key has 1 to {MAX_KEY_BYTES} bytes")));
        }
        let content = Content::new(self.from.as_deref(), self.kind.as_deref(), self.data.as_deref())?;
        Ok(link::Publish {
            request: 0,
            room: room.to_owned(),
            user: content.from,
            session: 0,
            lane: u32::from(self.lane.unwrap_or(Lane::Normal).number()),
            best_lane: u32::from(Lane::Control.number()),
            kind: content.kind,
            data: content.data,
            key: self.key.unwrap_or_default(),
            stored: self.ack == Ack::Stored,
        })
    }
}

/// The same answer that a client gets.
#[derive(Serialize)]
pub(super) struct Published {
    state: Ack,
    epoch: u64,
    lane: u32,
    seq: u64,
}

/// Says something in a room.
pub(super) async fn publish(
    State(api): State<Api>,
    params: Params,
    _: Query<Nothing>,
    Body(publish): Body<Publish>,
) -> Result<Json<Published>, ApiError> {
    let room = params.room()?;
    let command = Command::Publish(publish.translate(room.as_str())?);
    let reply = api.admin(&room, command).await?;
    let published = reply.published.ok_or_else(|| ApiError::incomplete("a receipt"))?;
    if !published.code.is_empty() {
        return Err(ApiError::refused(&published.code, &published.message, published.retry_ms));
    }
    let state = if published.stored { Ack::Stored } else { Ack::Accepted };
    Ok(Json(Published { state, epoch: published.epoch, lane: published.lane, seq: published.seq }))
}

#[derive(Serialize)]
pub(super) struct Deleted {
    room: String,
    epoch: u64,
    lane: u32,
    seq: u64,
}

/// Takes a message out for everybody.
pub(super) async fn delete(
    State(api): State<Api>,
    params: Params,
    _: Query<Nothing>,
) -> Result<Json<Deleted>, ApiError> {
    let room = params.room()?;
    let (epoch, seq) = (params.number("epoch")?, params.number("seq")?);
    let lane = u32::try_from(params.number("lane")?).unwrap_or(u32::MAX);
    convert::lane(lane).map_err(|error| ApiError::bad_request(error.to_string()))?;
    let room = room.as_str().to_owned();
    let command = Command::Delete(link::DeleteMessage { room: room.clone(), epoch, lane, seq });
    api.admin(&params.room()?, command).await?;
    Ok(Json(Deleted { room, epoch, lane, seq }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Announce {
    from: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    data: Option<Box<RawValue>>,
    lane: Option<Lane>,
}

#[derive(Serialize)]
pub(super) struct Announced {
    rooms: u64,
    /// Pods whose rooms may not have heard it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unreached: Vec<String>,
}

/// Says something in all rooms. It reaches the rooms of the Pods that answer: told, because a retry says it there twice.
pub(super) async fn announce(
    State(api): State<Api>,
    _: Query<Nothing>,
    Body(announce): Body<Announce>,
) -> Result<Json<Announced>, ApiError> {
    let content = Content::new(announce.from.as_deref(), announce.kind.as_deref(), announce.data.as_deref())?;
    let lane = u32::from(announce.lane.unwrap_or(Lane::Protected).number());
    let request = AnnounceRequest { from: content.from, kind: content.kind, data: content.data, lane };
    let mut said = Announced { rooms: 0, unreached: Vec::new() };
    let mut reached = false;
    for from in api.announce(&request).await? {
        if let Ok(reply) = from.answer {
            reached = true;
            said.rooms += reply.rooms;
        } else {
            said.unreached.push(from.pod.as_ref().to_owned());
        }
    }
    if reached { Ok(Json(said)) } else { Err(ApiError::refused(ErrorCode::Unavailable.as_str(), NOBODY, 0)) }
}

const NOBODY: &str = "no chatroom Pod answered; some may have heard it, repeat it if twice is better than never";
