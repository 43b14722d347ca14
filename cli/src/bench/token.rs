//! Tokens for the users of a bench.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use jsonwebtoken::{EncodingKey, Header};
use throng_core::Lane;

/// A token outlives every bench.
const LIFETIME_S: u64 = 24 * 3600;

#[derive(serde::Serialize)]
struct Claims<'c> {
    sub: &'c str,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    lane: Option<Lane>,
}

/// Signs tokens with the secret of the server under test (HS256).
pub(super) struct Signer {
    key: EncodingKey,
    expires_s: u64,
}

impl Signer {
    pub(super) fn new(secret: &str) -> Self {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self { key: EncodingKey::from_secret(secret.as_bytes()), expires_s: now_s + LIFETIME_S }
    }

    /// A token of `user`, which may publish on `lane` and less important ones; none: as the server has it.
    pub(super) fn sign(&self, user: &str, lane: Option<Lane>) -> anyhow::Result<Box<str>> {
        let claims = Claims { sub: user, exp: self.expires_s, lane };
        let token = jsonwebtoken::encode(&Header::default(), &claims, &self.key).context("cannot sign a token")?;
        Ok(token.into_boxed_str())
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation, decode};

    use super::*;

    #[test]
    fn a_token_says_who_and_until_when() {
        let token = Signer::new("secret").sign("bench-1", Some(Lane::Protected)).unwrap();
        let read = decode::<serde_json::Value>(&*token, &DecodingKey::from_secret(b"secret"), &Validation::default());
        let claims = read.unwrap().claims;
        assert_eq!((claims["sub"].as_str(), claims["lane"].as_u64()), (Some("bench-1"), Some(1)));
    }
}
