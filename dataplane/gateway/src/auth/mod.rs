//! Who a client is and what it may do: tokens that others signed ([`jwt`]) and those that gateways sign themselves, for
//! coming back ([`resume`]).

pub mod jwt;
pub mod resume;

use throng_core::Lane;
use throng_proto::codes::ErrorCode;

pub use jwt::{BadKey, Verifier};
pub use resume::{Resumed, Signer};

use crate::options::Auth;

/// The keys of a gateway: what it takes tokens by. Replaced whole when one of them is rotated.
pub struct Keys {
    /// Checks tokens.
    pub verifier: Verifier,
    /// Signs and checks resume tokens.
    pub signer: Signer,
}

impl Keys {
    /// Takes the configured keys.
    ///
    /// # Errors
    /// Which of them does not read.
    pub fn new(auth: &Auth) -> Result<Self, BadKey> {
        Ok(Self { verifier: Verifier::new(auth)?, signer: Signer::new(&auth.resume) })
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(..)")
    }
}

/// What a token allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Rooms, by name or by a beginning followed by `*`; none: every room.
    pub rooms: Option<Vec<String>>,
    /// The most important lane that the user may publish on.
    pub best_lane: Lane,
}

impl Rights {
    /// Whether they cover a room.
    #[must_use]
    pub fn cover(&self, room: &str) -> bool {
        let fits = |pattern: &String| match pattern.strip_suffix('*') {
            Some(beginning) => room.starts_with(beginning),
            None => room == pattern,
        };
        self.rooms.as_ref().is_none_or(|rooms| rooms.iter().any(fits))
    }
}

/// Why a token was refused. The words say what to do and never repeat the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// Not a token, signed by another key, of another algorithm, or not for this service.
    #[error("the token was refused: check its key, algorithm, audience and issuer")]
    Refused,
    /// Its time is over.
    #[error("the token has expired: get a new one")]
    Expired,
    /// A claim that must be there is missing or of a wrong form.
    #[error("the token's claim `{0}` is missing or of a wrong form")]
    Claim(&'static str),
    /// A resume token that this cluster did not sign, or no longer accepts.
    #[error("the resume token was refused: say hello with a token")]
    BadResume,
}

impl AuthError {
    /// Its code in the protocol.
    #[must_use]
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::Refused | Self::Claim(_) => ErrorCode::Unauthorized,
            Self::Expired => ErrorCode::TokenExpired,
            Self::BadResume => ErrorCode::BadResume,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_cover_names_and_beginnings() {
        let rights = Rights { rooms: Some(vec!["final".into(), "game-*".into()]), best_lane: Lane::Normal };
        assert!(rights.cover("final") && rights.cover("game-7"));
        assert!(!rights.cover("finals") && !rights.cover("gam"));
        assert!(Rights { rooms: None, best_lane: Lane::Normal }.cover("anything"));
    }
}
