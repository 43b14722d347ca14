//! Members of a room: list them, take one out.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use throng_proto::link::admin_request::Command;
use throng_proto::link::{MemberEntry, MembersPage, MembersReply};

use super::Api;
use super::error::ApiError;
use super::input::{self, Body, Nothing, Page, Params, Query};

#[derive(Serialize)]
pub(super) struct MemberView {
    user: String,
    sessions: u32,
    joined_ms: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    role: String,
}

#[derive(Serialize)]
pub(super) struct MembersView {
    members: Vec<MemberView>,
    total: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    next: String,
}

impl From<MembersReply> for MembersView {
    fn from(reply: MembersReply) -> Self {
        let view = |MemberEntry { user, sessions, joined_ms, role }| MemberView { user, sessions, joined_ms, role };
        Self { members: reply.members.into_iter().map(view).collect(), total: reply.total, next: reply.next }
    }
}

/// A page of members, in the order of the owner's hash: one that does not change while people come and go.
pub(super) async fn page(
    State(api): State<Api>,
    params: Params,
    Query(page): Query<Page>,
) -> Result<Json<MembersView>, ApiError> {
    let after = page.after().map(|after| input::user("after", after)).transpose()?;
    let after = after.map_or(String::new(), |after| after.as_str().to_owned());
    let command = Command::Members(MembersPage { after, limit: page.limit()? });
    let reply = api.admin(&params.room()?, command).await?;
    reply.members.map(|members| Json(members.into())).ok_or_else(|| ApiError::incomplete("members"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kick {
    user: String,
}

#[derive(Serialize)]
pub(super) struct Kicked {
    room: String,
    user: String,
}

/// Takes a user out of a room, with all sessions.
pub(super) async fn kick(
    State(api): State<Api>,
    params: Params,
    _: Query<Nothing>,
    Body(kick): Body<Kick>,
) -> Result<Json<Kicked>, ApiError> {
    let room = params.room()?;
    let user = input::user("user", &kick.user)?;
    api.admin(&room, Command::Kick(user.as_str().to_owned())).await?;
    Ok(Json(Kicked { room: room.as_str().to_owned(), user: user.as_str().to_owned() }))
}
