//! Who may use the API, and how many calls at once. Decided from the head of a request: its body is not read before.

use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};

use super::Api;
use super::error::ApiError;

/// The keys that callers may use. Clones share them, so that whoever rotates keys reaches the API that serves.
#[derive(Clone)]
pub struct ApiKeys(Arc<RwLock<Keys>>);

impl ApiKeys {
    /// Takes keys. None: every call is refused, with a sentence that says how to set one.
    #[must_use]
    pub fn new(keys: &[String]) -> Self {
        Self(Arc::new(RwLock::new(Keys::new(keys))))
    }

    /// Takes these and no others from the next call on.
    pub fn replace(&self, keys: &[String]) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Keys::new(keys);
    }

    fn check(&self, request: &Request) -> Result<(), ApiError> {
        check(&self.0.read().unwrap_or_else(PoisonError::into_inner), request)
    }
}

impl std::fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiKeys(..)")
    }
}

/// The configured keys, as digests: comparing those tells nothing about a key, not even its length.
struct Keys(Vec<[u8; 32]>);

impl Keys {
    /// Takes keys. An empty text is no key: a secret that was never filled in must not open the API.
    fn new(keys: &[String]) -> Self {
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
    api.0.keys.check(&request)?;
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

    #[test]
    fn a_rotated_key_counts_from_the_next_call_on() {
        let call = |key: &str| {
            let request = Request::builder().header(AUTHORIZATION, format!("Bearer {key}"));
            request.body(axum::body::Body::empty()).unwrap()
        };
        let keys = ApiKeys::new(&["old".into()]);
        let served = keys.clone();
        keys.replace(&["old".into(), "new".into()]);
        assert!(served.check(&call("old")).is_ok() && served.check(&call("new")).is_ok());
        keys.replace(&["new".into()]);
        assert!(served.check(&call("old")).is_err() && served.check(&call("new")).is_ok());
        assert!(!format!("{keys:?}").contains("new"));
    }
}
