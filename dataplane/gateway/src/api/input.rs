//! What a caller said: parts of the path, the query and the body, each checked and never longer than it may be.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use throng_core::room::{ListName, Role};
use throng_core::{RoomId, UserId};
use throng_proto::by_name::ByName;
use throng_proto::codes::ErrorCode;
use throng_proto::words::for_people;

use super::error::ApiError;
use super::{Api, MAX_BODY_BYTES};

/// The filled-in parts of the path, percent-decoded.
pub(super) struct Params(RawPathParams);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let params = RawPathParams::from_request_parts(parts, state).await;
        params.map(Self).map_err(|error| ApiError::new(ErrorCode::BadId, error.body_text()))
    }
}

impl Params {
    fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value)
    }

    pub(super) fn room(&self) -> Result<RoomId, ApiError> {
        room(self.text("room"))
    }

    pub(super) fn user(&self) -> Result<UserId, ApiError> {
        user("user", self.text("user"))
    }

    pub(super) fn number(&self, name: &str) -> Result<u64, ApiError> {
        let text = self.text(name);
        text.parse().map_err(|_| ApiError::bad_request(format!("{name} is a number, {text:?} is none")))
    }

    /// The list of a path; roles are called by their names alone there.
    pub(super) fn list(&self) -> Result<(&'static str, ListName), ApiError> {
        let given = self.text("list");
        LISTS.into_iter().find(|(name, _)| *name == given).ok_or_else(|| {
            let message = "a list is one of mute, block, allow, except, owner, admin, speaker";
            ApiError::new(ErrorCode::NotFound, message)
        })
    }
}

const LISTS: [(&str, ListName); 7] = [
    ("mute", ListName::Mute),
    ("block", ListName::Block),
    ("allow", ListName::Allow),
    ("except", ListName::Except),
    ("owner", ListName::Role(Role::Owner)),
    ("admin", ListName::Role(Role::Admin)),
    ("speaker", ListName::Role(Role::Speaker)),
];

/// Reads the id of a room.
pub(super) fn room(text: &str) -> Result<RoomId, ApiError> {
    RoomId::new(text).map_err(|error| ApiError::bad_id("room", error))
}

/// Reads the id of a user; `what` names the field.
pub(super) fn user(what: &str, text: &str) -> Result<UserId, ApiError> {
    UserId::new(text).map_err(|error| ApiError::bad_id(what, error))
}

/// The query; a name that the call does not know is an error.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let query = axum::extract::Query::<T>::try_from_uri(&parts.uri);
        query.map(|query| Self(query.0)).map_err(|error| {
            // What lies behind it names the parameter; the words before that are the library's.
            let cause =
                std::error::Error::source(&error).map_or_else(|| "it does not read".into(), |cause| for_people(&cause));
            ApiError::bad_request(format!("the query: {cause}"))
        })
    }
}

/// The query, or the body, of a call that takes none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// The body: one JSON object, `{}` where there is none. Its type refuses unknown fields.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Api> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Api) -> Result<Self, ApiError> {
        let body = tokio::time::timeout(api.0.deadline, Bytes::from_request(request, api)).await;
        let body = body.map_err(|_| ApiError::bad_request("the body did not come in time"))?.map_err(|error| {
            if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
                ApiError::new(ErrorCode::TooLarge, format!("a body has at most {MAX_BODY_BYTES} bytes"))
            } else {
                ApiError::bad_request("the body broke off before its end")
            }
        })?;
        let body = if body.is_empty() { &b"{}"[..] } else { &body };
        let read = serde_json::from_slice::<ByName<T>>(body);
        read.map(|ByName(body)| Self(body))
            .map_err(|error| ApiError::bad_request(format!("the body: {}", for_people(&error))))
    }
}

/// A field that is `null` counts as left out.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Most rows of a page.
const MAX_LIMIT: u32 = 1000;
/// Rows of a page that asks for no number.
const DEFAULT_LIMIT: u32 = 100;

/// Which page.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    after: Option<String>,
    limit: Option<u32>,
}

impl Page {
    /// The name after which the page starts; none: the first page.
    pub(super) fn after(&self) -> Option<&str> {
        self.after.as_deref().filter(|after| !after.is_empty())
    }

    pub(super) fn limit(&self) -> Result<u32, ApiError> {
        match self.limit.unwrap_or(DEFAULT_LIMIT) {
            limit @ 1..=MAX_LIMIT => Ok(limit),
            _ => Err(ApiError::bad_request(format!("limit is 1 to {MAX_LIMIT}"))),
        }
    }
}
