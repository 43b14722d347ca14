//! Who may use the API, and how many calls at once. Decided from the head of a request: its body is not read before.

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};

use super::Api;
use super::error::ApiError;

/// The configured keys, as digests: comparing those tells nothing about a key, not even its length.
pub(super) struct Keys(Vec<[u8; 32]>);

impl Keys {
    /// Takes keys. An empty text is no key: a secret that was never filled in must not open the API.
    pub(super) fn new(keys: &[String]) -> Self {
        Self(keys.iter().map(|key| key.trim()).filter(|key| !key.is_empty()).map(digest).collect())
    }

    /// Takes the same time for every wrong key, wherever it differs and with whichever key it is compared.
    fn has(&self, given: &str) -> bool {
        let given = digest(given);
        self.0.iter().fold(false, |found, key| found | (difference(key, &given) == 0))
    }
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

fn difference(a: &[u8; 32], b: &[u8; 32]) -> u8 {
    a.iter().zip(b).fold(0, |difference, (x, y)| difference | (x ^ y))
}

/// Lets a call with a key through, if there is room for it, and counts it with its answer.
pub(super) async fn admit(State(api): State<Api>, request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = admitted(&api, request, next).await.into_response();
    api.0.counted.count(&method, &path, response.status());
    response
}

async fn admitted(api: &Api, request: Request, next: Next) -> Result<Response, ApiError> {
    check(&api.0.keys, &request)?;
    let _place = api.0.calls.try_acquire().map_err(|_| ApiError::too_many_calls())?;
    Ok(next.run(request).await)
}

fn check(keys: &Keys, request: &Request) -> Result<(), ApiError> {
    if keys.0.is_empty() {
        return Err(ApiError::unauthorized(
            "no API key is configured, so the server API is closed: set auth.api_keys of the gateways, or \
             spec.auth.apiKeysSecretRef of the ChatroomCluster",
        ));
    }
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some((scheme, key)) = header.and_then(|text| text.split_once(' ')) else {
        return Err(ApiError::unauthorized("send an API key: Authorization: Bearer <key>"));
    };
    if scheme.eq_ignore_ascii_case("bearer") && keys.has(key.trim()) {
        Ok(())
    } else {
        Err(ApiError::unauthorized("the API key is wrong; it must be one of auth.api_keys of the gateways"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_of_the_configured_ones_and_never_empty() {
        let keys = Keys::new(&["first".into(), " second\n".into(), String::new(), " ".into()]);
        assert!(keys.has("first") && keys.has("second"));
        assert!(!keys.has("") && !keys.has("firs") && !keys.has("first "));
        assert!(Keys::new(&[String::new()]).0.is_empty());
    }
}
