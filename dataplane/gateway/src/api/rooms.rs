//! Rooms: list, create or change, describe, destroy.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use throng_core::Millis;
use throng_proto::convert::MAX_KIND_BYTES;
use throng_proto::link::admin_request::Command;
use throng_proto::link::{AdminReply, ListRoomsRequest, RoomDescription, RoomSettings};

use super::content::is_kind;
use super::error::ApiError;
use super::input::{self, Body, Nothing, Page, Params, Query};
use super::{Api, pages, unix_now};

/// Most protected message types of one room.
const MAX_PROTECTED_TYPES: usize = 100;
/// Longest reason for the end of a room, in bytes.
const MAX_REASON_BYTES: usize = 128;

/// Settings, as a caller gives them and gets them back; what is absent keeps the cluster's default or the former value.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Settings {
    #[serde(skip_serializing_if = "Option::is_none")]
    messages_per_second: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_messages_per_second: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    destroy_at_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mute_all: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protected_types: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offline_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offline_after_messages: Option<u32>,
}

impl Settings {
    /// Checks settings and writes them for the owner. `now` is Unix time.
    fn translate(self, now: Millis) -> Result<RoomSettings, ApiError> {
        if self.destroy_at_ms.is_some_and(|at| at != 0 && at <= now.0) {
            return Err(ApiError::bad_request("destroy_at_ms is in the past; DELETE the room to end it now"));
        }
        let types = match self.protected_types {
            None => Vec::new(),
            // Between Pods an empty list cannot be told from none: to say nothing would be to do nothing in silence.
            Some(types) if types.is_empty() => {
                return Err(ApiError::bad_request("protected_types names at least one type, or is left out"));
            }
            Some(types) => types,
        };
        if types.len() > MAX_PROTECTED_TYPES || !types.iter().all(|kind| is_kind(kind)) {
            let message = format!(
                "protected_types has at most {MAX_PROTECTED_TYPES} of 1 to {MAX_KIND_BYTES} bytes without control characters"
            );
            return Err(ApiError::bad_request(message));
        }
        Ok(RoomSettings {
            messages_per_second: self.messages_per_second,
            user_messages_per_second: self.user_messages_per_second,
            destroy_at_ms: self.destroy_at_ms,
            idle_ms: self.idle_ms,
            mute_all: self.mute_all,
            protected_types: types,
            offline_after_ms: self.offline_after_ms,
            offline_after_messages: self.offline_after_messages,
        })
    }
}

impl From<RoomSettings> for Settings {
    fn from(settings: RoomSettings) -> Self {
        Self {
            messages_per_second: settings.messages_per_second,
            user_messages_per_second: settings.user_messages_per_second,
            destroy_at_ms: settings.destroy_at_ms,
            idle_ms: settings.idle_ms,
            mute_all: settings.mute_all,
            protected_types: Some(settings.protected_types),
            offline_after_ms: settings.offline_after_ms,
            offline_after_messages: settings.offline_after_messages,
        }
    }
}

/// A room, as its owner describes it.
#[derive(Serialize)]
pub(super) struct RoomView {
    room: String,
    epoch: u64,
    seq: Vec<u64>,
    members: u64,
    provisional: bool,
    created_ms: u64,
    messages_per_second: f64,
    tick_ms: u32,
    owner: String,
    settings: Settings,
}

impl From<RoomDescription> for RoomView {
    fn from(room: RoomDescription) -> Self {
        Self {
            room: room.room,
            epoch: room.epoch,
            seq: room.seq,
            members: room.members,
            provisional: room.provisional,
            created_ms: room.created_ms,
            messages_per_second: room.messages_per_second,
            tick_ms: room.tick_ms,
            owner: room.owner,
            settings: room.settings.unwrap_or_default().into(),
        }
    }
}

fn view(reply: AdminReply) -> Result<Json<RoomView>, ApiError> {
    reply.room.map(|room| Json(room.into())).ok_or_else(|| ApiError::incomplete("a description"))
}

#[derive(Serialize)]
pub(super) struct RoomsView {
    rooms: Vec<RoomView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A page of all rooms. A Pod that does not answer fails the call: a page that leaves rooms out would look complete.
pub(super) async fn list(State(api): State<Api>, Query(page): Query<Page>) -> Result<Json<RoomsView>, ApiError> {
    let limit = page.limit()?;
    let after = page.after().map(input::room).transpose()?;
    let request = ListRoomsRequest { after: after.map_or(String::new(), |after| after.as_str().to_owned()), limit };
    let answers = api.list_rooms(&request).await?;
    let pages = answers.into_iter().map(|from| from.answer).collect::<Result<_, _>>()?;
    let (rooms, next) = pages::merge(pages, usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(Json(RoomsView { rooms: rooms.into_iter().map(RoomView::from).collect(), next }))
}

/// Creates a room, or changes the settings of one that exists.
pub(super) async fn put(
    State(api): State<Api>,
    params: Params,
    _: Query<Nothing>,
    Body(settings): Body<Settings>,
) -> Result<Json<RoomView>, ApiError> {
    let command = Command::Create(settings.translate(unix_now())?);
    view(api.admin(&params.room()?, command).await?)
}

/// Describes a room.
pub(super) async fn describe(
    State(api): State<Api>,
    params: Params,
    _: Query<Nothing>,
) -> Result<Json<RoomView>, ApiError> {
    view(api.admin(&params.room()?, Command::Describe(true)).await?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Why {
    reason: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Destroyed {
    room: String,
    reason: String,
}

/// Ends a room.
pub(super) async fn destroy(
    State(api): State<Api>,
    params: Params,
    Query(why): Query<Why>,
) -> Result<Json<Destroyed>, ApiError> {
    let room = params.room()?;
    let reason = why.reason.unwrap_or_else(|| "destroyed".to_owned());
    if reason.is_empty() || reason.len() > MAX_REASON_BYTES || reason.chars().any(char::is_control) {
        let message = format!("reason has 1 to {MAX_REASON_BYTES} bytes without control characters");
        return Err(ApiError::bad_request(message));
    }
    api.admin(&room, Command::Destroy(reason.clone())).await?;
    Ok(Json(Destroyed { room: room.as_str().to_owned(), reason }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_would_do_nothing_or_harm_are_refused() {
        let refused = |settings: Settings| settings.translate(Millis(1000)).is_err();
        assert!(refused(Settings { destroy_at_ms: Some(1000), ..Settings::default() }));
        assert!(refused(Settings { protected_types: Some(vec![]), ..Settings::default() }));
        assert!(refused(Settings { protected_types: Some(vec![String::new()]), ..Settings::default() }));
        assert!(refused(Settings { protected_types: Some(vec!["x".into(); 101]), ..Settings::default() }));
        assert!(!refused(Settings { destroy_at_ms: Some(0), ..Settings::default() }));
        assert!(!refused(Settings { destroy_at_ms: Some(1001), ..Settings::default() }));
    }
}
