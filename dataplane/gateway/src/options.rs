//! What can be configured. Every field has a default that a production gateway can run with, except the keys.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
pub use throng_core::secrets::{Algorithm, MIN_SECRET_BYTES as MIN_RESUME_SECRET_BYTES};

/// Configuration of a gateway. Unknown fields are errors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Reactor threads, each with a listener of its own; 0: one a core.
    pub reactors: usize,
    /// Who may connect.
    pub auth: Auth,
    /// Origins of web pages that may connect, such as `https://example.com`; empty: any. Clients that are no browsers
    /// send none and are not affected.
    pub origins: Vec<String>,
    /// A connection that was silent for so long is pinged; after twice as long it is closed. At least 25 s is sensible.
    pub ping_ms: u32,
    /// What a client gets of lanes 2-3.
    pub downstream: Downstream,
    /// Bounds of what clients may cost.
    pub limits: Limits,
    /// Connections a second that the fleet can take in: paces a drain.
    pub drain_per_s: u32,
    /// Connections begin with a PROXY v2 header from a load balancer. Never set it where clients can connect directly.
    pub proxy_protocol: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            reactors: 0,
            auth: Auth::default(),
            origins: Vec::new(),
            ping_ms: 25_000,
            downstream: Downstream::default(),
            limits: Limits::default(),
            drain_per_s: 1000,
            proxy_protocol: false,
        }
    }
}

/// Who may connect, and with what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// Keys that sign tokens. A token names its key by `kid`; without one, all keys are tried in order.
    pub jwt: Vec<JwtKey>,
    /// The `aud` that tokens must have; none: not looked at.
    pub audience: Option<String>,
    /// The `iss` that tokens must have; none: not looked at.
    pub issuer: Option<String>,
    /// Keys of resume tokens, alike on all gateways of a cluster. The first signs, all are accepted. None: no resume.
    pub resume: Vec<ResumeKey>,
    /// Keys that may use the server API under `/v1/`. None: nobody may.
    pub api_keys: Vec<Secret>,
    /// Directory with further keys that sign tokens, such as a mounted Secret: the name of a file is the `kid`. Whoever
    /// starts the gateway reads it.
    pub jwt_dir: Option<PathBuf>,
    /// Algorithms that keys of `jwt_dir` may be for.
    pub jwt_algorithms: Vec<Algorithm>,
    /// Directory with further keys of resume tokens: the name of a file is their id, the last name signs.
    pub resume_dir: Option<PathBuf>,
    /// Directory with further keys of the server API, one a file.
    pub api_keys_dir: Option<PathBuf>,
}

/// A secret that anybody could guess. The words name it and never repeat it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WeakSecret {
    /// The key of tokens holds nothing: a secret that was never filled in.
    #[error(
        "gateway.auth.jwt[{at}]{named}: its key is empty, so that anybody could sign tokens: give the secret that your \
         application signs with"
    )]
    EmptyJwt {
        /// Its place in the list, mounted keys behind those that are written.
        at: usize,
        /// Its id, for people; empty if it has none.
        named: String,
    },
    /// The secret of resume tokens can be found by trying.
    #[error(
        "gateway.auth.resume[{at}] ({id}): its secret has {bytes} bytes, and signs who a user is: give at least \
         {MIN_RESUME_SECRET_BYTES} random ones, as openssl rand -base64 32 makes them"
    )]
    ShortResume {
        /// Its place in the list, mounted keys behind those that are written.
        at: usize,
        /// Its id.
        id: String,
        /// How long it is.
        bytes: usize,
    },
}

impl Auth {
    /// Refuses secrets that were never filled in, and those of resume tokens that are too short, wherever they came from.
    pub fn check(&self) -> Result<(), WeakSecret> {
        if let Some((at, key)) = self.jwt.iter().enumerate().find(|(_, key)| key.key.0.trim().is_empty()) {
            let named = key.id.as_ref().map_or_else(String::new, |id| format!(" ({id})"));
            return Err(WeakSecret::EmptyJwt { at, named });
        }
        let short = |key: &ResumeKey| key.secret.0.trim().len() < MIN_RESUME_SECRET_BYTES;
        match self.resume.iter().enumerate().find(|(_, key)| short(key)) {
            Some((at, key)) => {
                Err(WeakSecret::ShortResume { at, id: key.id.clone(), bytes: key.secret.0.trim().len() })
            }
            None => Ok(()),
        }
    }
}

/// A key that signs tokens, with the one algorithm it may be used with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtKey {
    /// The `kid` of tokens that it signed.
    #[serde(default)]
    pub id: Option<String>,
    /// The algorithm; a token that names another is refused.
    pub algorithm: Algorithm,
    /// The shared secret (HS256) or the public key in PEM (RS256, ES256).
    pub key: Secret,
}

/// A key of resume tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResumeKey {
    /// Stands in each token: letters, digits, `-` and `_`.
    pub id: String,
    /// At least 32 random bytes, as text.
    pub secret: Secret,
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Budget of lanes 2-3, for each room that a client is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Downstream {
    /// For clients that declare no `max_rate`.
    pub messages_per_second: u32,
    /// The most that a client may declare.
    pub max_messages_per_second: u32,
    /// Whether `max_rate: 0` gets everything; else it gets the most that may be declared.
    pub allow_unlimited: bool,
}

impl Default for Downstream {
    fn default() -> Self {
        Self { messages_per_second: 20, max_messages_per_second: 400, allow_unlimited: false }
    }
}

/// Bounds of what clients may cost. What goes over one gets the named error or close code, and is counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// HTTP head of the handshake, in bytes (status 431).
    pub header_bytes: usize,
    /// Time for the handshake (the connection is dropped).
    pub header_ms: u64,
    /// Time from the handshake to `hello` (close 4000).
    pub hello_ms: u64,
    /// WebSocket message, in bytes (close 1009).
    pub message_bytes: usize,
    /// Fragments of a message (close 1009).
    pub fragments: u32,
    /// Frames or commands a second (close 4004).
    pub frames_per_s: u32,
    /// What may wait for a slow client, in bytes; then lanes 3 and 2 are dropped, and at last close 4003.
    pub queue_bytes: usize,
    /// How long a frame may wait for a slow client.
    pub queue_age_ms: u64,
    /// Connections from one address to one gateway (close 4006); 0: any number.
    pub connections_per_address: u32,
    /// Connections of one user to one gateway (close 4006); 0: any number.
    pub connections_per_user: u32,
    /// Rooms of one connection (error `too_many_rooms`).
    pub rooms_per_connection: usize,
    /// `hello`s a second that the gateway takes in (close 1013 with `retry_ms`); 0: any number. Resumes are taken in
    /// before new ones.
    pub accepts_per_s: u32,
    /// Connections of the whole gateway, without those that are refused or on their way out (close 1013); 0: any number.
    /// As many as a quarter of it, and 64 at least, are told so at a time; others are closed without a word.
    pub connections: u32,
    /// Time for a join, a publish or a pull to be answered by the other Pods (error `unavailable`).
    pub answer_ms: u64,
    /// Unsent kernel bytes of a connection above which nothing is handed to the kernel, so that lanes are chosen late.
    pub unsent_bytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 8 * 1024,
            header_ms: 5000,
            hello_ms: 10_000,
            message_bytes: 64 * 1024,
            fragments: 64,
            frames_per_s: 100,
            queue_bytes: 256 * 1024,
            queue_age_ms: 10_000,
            connections_per_address: 1000,
            connections_per_user: 20,
            rooms_per_connection: 100,
            accepts_per_s: 5000,
            connections: 0,
            answer_ms: 5000,
            unsent_bytes: 16 * 1024,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_read_back_and_unknown_fields_are_refused() {
        let text = serde_json::to_string(&Options::default()).unwrap();
        assert_eq!(serde_json::from_str::<Options>(&text).unwrap(), Options::default());
        assert!(serde_json::from_str::<Options>(r#"{"reactor":1}"#).is_err());
        assert!(serde_json::from_str::<Options>(r#"{"limits":{"queue_byte":1}}"#).is_err());
    }

    #[test]
    fn a_secret_that_was_never_filled_in_or_is_short_is_refused_and_named() {
        let jwt = |key: &str| JwtKey { id: None, algorithm: Algorithm::HS256, key: Secret(key.into()) };
        let resume = |secret: &str| ResumeKey { id: "k1".into(), secret: Secret(secret.into()) };
        let said = |auth: Auth| auth.check().unwrap_err().to_string();
        for empty in ["", "  ", "\n"] {
            let said = said(Auth { jwt: vec![jwt("good"), jwt(empty)], ..Auth::default() });
            assert!(said.contains("gateway.auth.jwt[1]") && said.contains("give the secret"), "{said}");
            let mounted = JwtKey { id: Some("main".into()), ..jwt(empty) };
            assert!(Auth { jwt: vec![mounted], ..Auth::default() }.check().unwrap_err().to_string().contains("(main)"));
        }
        for short in ["", " ", "tangerine", &"x".repeat(31), &format!("{:<40}", "padded")] {
            let said = said(Auth { resume: vec![resume(short)], ..Auth::default() });
            assert!(said.contains("gateway.auth.resume[0] (k1)") && said.contains("at least 32"), "{said}");
            assert!(!said.contains("tangerine"), "{said}");
        }
        let good = Auth { jwt: vec![jwt("k")], resume: vec![resume(&"x".repeat(32))], ..Auth::default() };
        assert_eq!(good.check(), Ok(()));
        assert_eq!(Auth::default().check(), Ok(()), "no key at all opens nothing");
    }

    #[test]
    fn a_secret_is_never_printed() {
        let key = JwtKey { id: None, algorithm: Algorithm::HS256, key: Secret("hush".into()) };
        assert!(!format!("{key:?}").contains("hush"));
    }
}
