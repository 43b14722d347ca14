//! The server API: HTTP/JSON under `/v1/`, for the application's own servers. `docs/server-api.md` is its manual.
//!
//! Every gateway serves it and owns nothing of what it speaks about: a call is checked here, translated, and answered by
//! the Pod that owns the room or is the user's home. The way of a call through the files:
//!
//! - [`mod@table`]: every path, once; [`auth`]: who may, and how many at once;
//! - [`input`], [`content`]: what the caller said, checked; [`error`]: every failure, with its status;
//! - [`rooms`], [`members`], [`messages`], [`lists`], [`users`]: one command each, translated there and back;
//! - [`owners`], [`pool`]: the Pod that answers, found by the claims and by following its MOVED.
//!
//! Nothing here outlives a call except the channels to other Pods; a restart loses nothing.

mod auth;
mod calls;
mod content;
mod error;
mod input;
mod lists;
mod members;
mod messages;
mod owners;
mod pages;
mod pool;
mod repeat;
mod rooms;
mod table;
#[cfg(test)]
mod tests;
mod users;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::any;
use throng_core::Millis;
use throng_core::routes::Routes;
use throng_proto::key::PodKey;
use tokio::sync::{Semaphore, watch};

use self::error::ApiError;
use self::pool::Pool;

pub use self::auth::ApiKeys;
pub use self::calls::Calls;
pub use self::table::TABLE;

/// Largest body of a call.
pub const MAX_BODY_BYTES: usize = 64 * 1024;
/// Calls that one gateway works on at once; more are answered `limited`.
pub const MAX_CALLS: usize = 64;
/// How long a call may take when nothing else is said.
pub const DEADLINE: Duration = Duration::from_secs(3);

/// What the API needs of its gateway.
#[derive(Clone, Debug)]
pub struct ApiDeps {
    /// Keys that callers may use.
    pub keys: ApiKeys,
    /// Who owns what; a call reads the newest value.
    pub routes: watch::Receiver<Arc<Routes>>,
    /// The key that calls between Pods carry.
    pub pod_key: PodKey,
    /// How long one call may wait for its body, and again for other Pods.
    pub deadline: Duration,
    /// Where calls are counted.
    pub counted: Calls,
}

/// The API as a router with whole paths (`/v1/...`) and without a fallback, so that it can be merged into another one.
///
/// Answers every path under `/v1`, unknown ones too. Must be served inside a tokio runtime: channels live there.
pub fn router(deps: ApiDeps) -> Router {
    let api = Api(Arc::new(Shared {
        keys: deps.keys,
        calls: Semaphore::new(MAX_CALLS),
        routes: deps.routes,
        pod_key: deps.pod_key,
        pool: Pool::default(),
        deadline: deps.deadline,
        counted: deps.counted,
    }));
    table::routes()
        .route("/v1", any(no_such_path))
        .route("/v1/", any(no_such_path))
        .route("/v1/{*rest}", any(no_such_path))
        .method_not_allowed_fallback(|| async { ApiError::wrong_method() })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .route_layer(axum::middleware::from_fn_with_state(api.clone(), auth::admit))
        .with_state(api)
}

async fn no_such_path() -> ApiError {
    ApiError::no_such_path()
}

/// What all calls of one gateway share.
#[derive(Clone)]
struct Api(Arc<Shared>);

struct Shared {
    keys: ApiKeys,
    calls: Semaphore,
    routes: watch::Receiver<Arc<Routes>>,
    pod_key: PodKey,
    pool: Pool,
    deadline: Duration,
    counted: Calls,
}

impl Api {
    fn routes(&self) -> Arc<Routes> {
        Arc::clone(&self.0.routes.borrow())
    }
}

/// Unix time; the only clock of the API beside its deadlines.
fn unix_now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
