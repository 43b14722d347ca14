//! Tokens as an application signs them, and as somebody without the key would like to.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

/// Unix time in so many seconds from now.
#[must_use]
pub fn in_seconds(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    i64::try_from(now).unwrap_or(0) + seconds
}

/// Claims of a user, good for an hour.
#[must_use]
pub fn claims(user: &str) -> Value {
    json!({"sub": user, "exp": in_seconds(3600)})
}

/// Signed with a shared secret.
pub fn hs256(secret: &str, claims: &Value) -> Result<String> {
    Ok(encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(secret.as_bytes()))?)
}

/// Signed by any key with any algorithm that fits it.
pub fn signed(algorithm: Algorithm, key: &EncodingKey, claims: &Value) -> Result<String> {
    Ok(encode(&Header::new(algorithm), claims, key)?)
}

/// A header of one's own choice, with the signature of HS256, or without any.
pub fn with_header(header: &Value, claims: &Value, secret: Option<&str>) -> Result<String> {
    let text = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", text(header), text(claims));
    let signature = match secret {
        Some(secret) => {
            let key = EncodingKey::from_secret(secret.as_bytes());
            jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256)?
        }
        None => String::new(),
    };
    Ok(format!("{message}.{signature}"))
}
