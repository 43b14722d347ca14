//! Every failure of a call: a code of the client protocol, a sentence, a status, and when to try again.

use axum::Json;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use throng_core::IdError;
use throng_proto::codes::ErrorCode;
use tonic::{Code, Status};

use super::repeat::is_lost;

/// When to try again where the owner of a room or user cannot be reached; a take-over lasts 3 to 5 seconds.
pub(super) const UNAVAILABLE_RETRY_MS: u64 = 1000;
/// When to try again where this gateway has too many calls.
const BUSY_RETRY_MS: u64 = 200;

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    code: ErrorCode,
    status: StatusCode,
    message: String,
    retry_ms: Option<u64>,
}

#[derive(Serialize)]
struct Wrapped<'a> {
    error: Fields<'a>,
}

#[derive(Serialize)]
struct Fields<'a> {
    code: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_ms: Option<u64>,
}

impl ApiError {
    /// An error of a code, with the status that fits it.
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, status: status_of(code), message: message.into(), retry_ms: None }
    }

    fn retry(mut self, after_ms: u64) -> Self {
        self.retry_ms = Some(after_ms);
        self
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::BadRequest, message)
    }

    pub(super) fn bad_id(what: &str, error: IdError) -> Self {
        Self::new(ErrorCode::BadId, format!("{what}: {error}"))
    }

    pub(super) fn unauthorized(message: &str) -> Self {
        Self::new(ErrorCode::Unauthorized, message)
    }

    pub(super) fn too_many_calls() -> Self {
        Self::new(ErrorCode::Limited, "this gateway works on as many calls as it may; try again").retry(BUSY_RETRY_MS)
    }

    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Unavailable, message).retry(UNAVAILABLE_RETRY_MS)
    }

    pub(super) fn no_such_path() -> Self {
        Self::new(ErrorCode::NotFound, "there is no such path; docs/server-api.md lists all of them")
    }

    pub(super) fn wrong_method() -> Self {
        let message = "this path has no such method; the Allow header names those it has";
        Self { status: StatusCode::METHOD_NOT_ALLOWED, ..Self::bad_request(message) }
    }

    /// A Pod answered without what it was asked for: it is of another make.
    pub(super) fn incomplete(what: &str) -> Self {
        Self::new(ErrorCode::Internal, format!("the owner answered without {what}; are all Pods of one version?"))
    }

    /// What a Pod refused, in its own words.
    pub(super) fn refused(code: &str, message: &str, retry_ms: u64) -> Self {
        let Some(known) = ErrorCode::parse(code) else {
            return Self::new(ErrorCode::Internal, format!("the owner answered with the unknown code {code:?}"));
        };
        let message = if message.is_empty() { known.as_str() } else { message };
        let retry_ms = match known {
            ErrorCode::Unavailable | ErrorCode::Limited if retry_ms == 0 => UNAVAILABLE_RETRY_MS,
            _ => retry_ms,
        };
        Self { retry_ms: (retry_ms > 0).then_some(retry_ms), ..Self::new(known, message) }
    }

    /// What went wrong on the way to a Pod.
    pub(super) fn from_status(status: &Status) -> Self {
        match status.code() {
            code if code == Code::DeadlineExceeded || is_lost(status) => {
                Self::unavailable(format!("the owner could not be reached: {}; {REPEAT}", status.message()))
            }
            Code::ResourceExhausted => Self::refused(ErrorCode::Limited.as_str(), status.message(), 0),
            Code::InvalidArgument => Self::bad_request(status.message()),
            _ => Self::new(ErrorCode::Internal, format!("the owner answered {}: {}", status.code(), status.message())),
        }
    }

    pub(super) fn too_late() -> Self {
        Self::unavailable(format!("the owner did not answer in time; {REPEAT}"))
    }

    #[cfg(test)]
    pub(super) fn text(&self) -> (ErrorCode, &str) {
        (self.code, &self.message)
    }
}

const REPEAT: &str = "it may have been carried out or not, repeat it (a message: with a key)";

/// The HTTP status of a code; `docs/server-api.md` holds the same table.
pub(super) fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::BadRequest | ErrorCode::HelloFirst | ErrorCode::BadId | ErrorCode::BadCursor => {
            StatusCode::BAD_REQUEST
        }
        ErrorCode::Unauthorized | ErrorCode::TokenExpired | ErrorCode::BadResume => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden | ErrorCode::Muted | ErrorCode::Blocked => StatusCode::FORBIDDEN,
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::NotJoined | ErrorCode::TooManyRooms => StatusCode::CONFLICT,
        ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::Limited => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Unavailable | ErrorCode::NotStored => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let fields = Fields { code: self.code.as_str(), message: &self.message, retry_ms: self.retry_ms };
        let mut response = (self.status, Json(Wrapped { error: fields })).into_response();
        if let Some(retry_ms) = self.retry_ms {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_ms.div_ceil(1000)));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pod_refuses_keeps_its_code_and_its_words() {
        let limited = ApiError::refused("limited", "try again in 180 ms", 180);
        assert_eq!((limited.status.as_u16(), limited.retry_ms), (429, Some(180)));
        assert_eq!(limited.text(), (ErrorCode::Limited, "try again in 180 ms"));
        assert_eq!(ApiError::refused("unavailable", "", 0).retry_ms, Some(UNAVAILABLE_RETRY_MS));
        assert_eq!(ApiError::refused("not_found", "", 0).text(), (ErrorCode::NotFound, "not_found"));
        assert_eq!(ApiError::refused("nonsense", "x", 0).code, ErrorCode::Internal);
    }

    #[test]
    fn what_goes_wrong_on_the_way_is_unavailable_and_a_wrong_pod_key_is_not() {
        let of = |code| ApiError::from_status(&Status::new(code, "x")).code;
        assert_eq!(of(Code::Unavailable), ErrorCode::Unavailable);
        assert_eq!(of(Code::DeadlineExceeded), ErrorCode::Unavailable);
        assert_eq!(of(Code::Unauthenticated), ErrorCode::Internal);
        assert_eq!(of(Code::InvalidArgument), ErrorCode::BadRequest);
        assert_eq!(of(Code::ResourceExhausted), ErrorCode::Limited);
    }
}
