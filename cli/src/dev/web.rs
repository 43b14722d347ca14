//! The page of `throng dev` and what its buttons do. Served by whichever gateway answers.

use std::sync::Weak;

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use rust_embed::RustEmbed;
use serde::{Deserialize, Serialize};

use super::bots::BotsRow;
use super::control::Control;
use super::pools::{PodRow, Rates};
use crate::token;

#[derive(RustEmbed)]
#[folder = "assets/dev/"]
struct Assets;

/// Tokens of the page live so long.
const TOKEN_S: u64 = 24 * 3600;

/// What the page shows, once a second.
#[derive(Serialize)]
pub(crate) struct PageState {
    pub(crate) pods: Vec<PodRow>,
    pub(crate) rates: Rates,
    pub(crate) rooms: Vec<RoomRow>,
    pub(crate) bots: Option<BotsRow>,
    /// What the planner says, the most important line first.
    pub(crate) why: Vec<String>,
    /// The file that says what there should be.
    pub(crate) file: Option<FileRow>,
}

/// A file that is followed.
#[derive(Clone, Serialize)]
pub(crate) struct FileRow {
    pub(crate) path: String,
    /// Why what it says now is not followed.
    pub(crate) problem: Option<String>,
}

/// One room. What is delivered is measured by clients: without bots in the room nobody knows it.
#[derive(Serialize)]
pub(crate) struct RoomRow {
    pub(crate) room: String,
    pub(crate) members: u64,
    pub(crate) messages_per_s: f64,
    pub(crate) delivered_per_s: Option<u64>,
    pub(crate) dropped_per_s: Option<u64>,
    /// From sending to receipt, over ten seconds.
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    pub(crate) tick_ms: u32,
    pub(crate) owner: String,
}

/// The router. It holds the cluster weakly: gateways hold the router, and the cluster holds the gateways.
pub(crate) fn router(control: Weak<Control>) -> Router {
    Router::new()
        .route("/", get(|| async { asset("index.html") }))
        .route("/dev/{file}", get(|Path(file): Path<String>| async move { asset(&file) }))
        .route("/dev/token", get(dev_token))
        .route("/dev/state", get(state))
        .route("/dev/pods/{verb}", post(act))
        .with_state(control)
}

fn asset(name: &str) -> Response {
    let kind = match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        _ => "application/octet-stream",
    };
    match Assets::get(name) {
        Some(file) => ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], file.data.into_owned())
            .into_response(),
        None => (StatusCode::NOT_FOUND, "there is no such page\n").into_response(),
    }
}

#[derive(Deserialize)]
struct Who {
    user: String,
}

async fn dev_token(Query(who): Query<Who>) -> Response {
    if let Err(error) = throng_core::UserId::new(&who.user) {
        return (StatusCode::BAD_REQUEST, format!("user: {error}\n")).into_response();
    }
    match token::sign(token::DEV_SECRET, &who.user, 1, &[], TOKEN_S) {
        Ok(token) => token.into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn state(State(control): State<Weak<Control>>) -> Response {
    match control.upgrade() {
        Some(control) => Json(control.page_state().await).into_response(),
        None => gone(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    name: String,
}

async fn act(State(control): State<Weak<Control>>, Path(verb): Path<String>, Json(target): Json<Target>) -> Response {
    let Some(control) = control.upgrade() else { return gone() };
    // A client that does not wait for the answer does not take back what it asked for.
    match tokio::spawn(async move { control.act(&verb, &target.name).await }).await {
        Ok(Ok(())) => StatusCode::NO_CONTENT.into_response(),
        Ok(Err(error)) => (StatusCode::BAD_REQUEST, format!("{error:#}\n")).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

fn gone() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "throng dev is ending\n").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_gets_a_token_that_would_be_refused() {
        let status = async |user: &str| dev_token(Query(Who { user: user.to_owned() })).await.status();
        assert_eq!(status("ana").await, StatusCode::OK);
        for user in ["", "a\nb", &"x".repeat(129)] {
            assert_eq!(status(user).await, StatusCode::BAD_REQUEST, "{user:?}");
        }
    }
}
