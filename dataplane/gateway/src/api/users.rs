//! Users, wherever they are connected: tell one something, end its connections.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use throng_proto::link::{Directed, KickUser};

use super::content::Content;
use super::error::ApiError;
use super::input::{Body, Nothing, Params, Query};
use super::{Api, unix_now};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Direct {
    from: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    data: Option<Box<RawValue>>,
}

/// Whom it reached.
#[derive(Serialize)]
pub(super) struct Reached {
    user: String,
    connections: u32,
}

/// Tells a user something on every connection. 0 connections: the user is not here, and will not hear of it later.
pub(super) async fn direct(
    State(api): State<Api>,
    params: Params,
    _: Query<Nothing>,
    Body(direct): Body<Direct>,
) -> Result<Json<Reached>, ApiError> {
    let user = params.user()?;
    let Content { from, kind, data } =
        Content::new(direct.from.as_deref(), direct.kind.as_deref(), direct.data.as_deref())?;
    let to = user.as_str().to_owned();
    let connections = api
        .direct(&user, Directed { to: to.clone(), from, kind, data, at_ms: unix_now().0, ..Directed::default() })
        .await?;
    Ok(Json(Reached { user: to, connections }))
}

/// Ends all connections of a user. The user may come back: block it, or stop giving it tokens.
pub(super) async fn kick(
    State(api): State<Api>,
    params: Params,
    _: Query<Nothing>,
    _: Body<Nothing>,
) -> Result<Json<Reached>, ApiError> {
    let user = params.user()?;
    let name = user.as_str().to_owned();
    let kick = KickUser { user: name.clone(), reason: "kicked".to_owned(), ..KickUser::default() };
    let connections = api.kick_user(&user, kick).await?;
    Ok(Json(Reached { user: name, connections }))
}
