//! Who may connect, and who may use the server API.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SecretRef;

/// Who may connect, and who may use the server API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Auth {
    /// Tokens of users.
    pub jwt: Jwt,
    /// Secret whose values are keys of the server API under `/v1/`, one each. Without it nobody may use the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_keys_secret_ref: Option<SecretRef>,
    /// Origins of web pages that may connect, such as `https://example.com`. Empty: any. Clients that are no browsers send none
    /// and are not affected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    pub origins: Vec<String>,
}

/// Tokens of users: JSON Web Tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Jwt {
    /// Secret with the keys that sign tokens: the name of an entry is the `kid` of tokens, its value a public key in PEM or,
    /// for HS256, the shared secret of at least 32 bytes. It is mounted as files and read again when it changes.
    pub secret_ref: SecretRef,
    /// Algorithms that tokens may use: `ES256`, `RS256` (public keys) or `HS256` (shared secrets). No other is accepted.
    #[serde(default = "es256")]
    #[schemars(length(min = 1, max = 3), extend("x-kubernetes-list-type" = "set"))]
    pub algorithms: Vec<Algorithm>,
    /// The `aud` that tokens must have. Without it, it is not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub audience: Option<String>,
    /// The `iss` that tokens must have. Without it, it is not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub issuer: Option<String>,
}

fn es256() -> Vec<Algorithm> {
    vec![Algorithm::ES256]
}

/// How a token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Algorithm {
    /// ECDSA on P-256.
    ES256,
    /// RSA.
    RS256,
    /// A shared secret.
    HS256,
}

impl From<Algorithm> for throng_core::secrets::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::ES256 => Self::ES256,
            Algorithm::RS256 => Self::RS256,
            Algorithm::HS256 => Self::HS256,
        }
    }
}
