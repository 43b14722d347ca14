//! Tokens of the application: JSON Web Tokens (RFC 7519).
//!
//! Claims: `sub`, the user's id, and `exp` must be there; `nbf` is respected. `rooms`, a list of names or beginnings
//! followed by `*`, limits where the user may be; absent: everywhere. `lane`, 0 to 3, is the most important lane that the
//! user may publish on; absent: 2. `aud` and `iss` must be there and fit if the configuration names one. Other claims are not
//! looked at.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use serde::{Deserialize, Deserializer};
use throng_core::{Lane, UserId};

use super::{AuthError, Rights};
use crate::options::{Algorithm, Auth};

/// Most patterns in `rooms`.
const MAX_ROOMS: usize = 100;

/// What a good token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// `sub`.
    pub user: UserId,
    /// `exp`, seconds of Unix time.
    pub expires_s: u64,
    /// `rooms` and `lane`.
    pub rights: Rights,
}

/// Checks tokens. Stateless.
pub struct Verifier {
    keys: Vec<Key>,
}

struct Key {
    id: Option<String>,
    decoding: DecodingKey,
    rules: Validation,
}

/// A key in the configuration that does not read.
#[derive(Debug, thiserror::Error)]
#[error("auth.jwt[{at}]: this is not a public key in PEM for its algorithm")]
pub struct BadKey {
    at: usize,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    #[serde(deserialize_with = "seconds")]
    exp: u64,
    rooms: Option<Vec<String>>,
    lane: Option<u8>,
}

/// A `NumericDate`, which may have fractions (RFC 7519, section 2): seconds since 1970, rounded down.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a number out of range becomes the nearest one"
)]
fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    f64::deserialize(from).map(|seconds| seconds as u64)
}

impl Verifier {
    /// Takes the configured keys.
    pub fn new(auth: &Auth) -> Result<Self, BadKey> {
        let keys = auth.jwt.iter().enumerate().map(|(at, configured)| {
            let bytes = configured.key.0.as_bytes();
            let (algorithm, key) = match configured.algorithm {
                Algorithm::HS256 => (jsonwebtoken::Algorithm::HS256, Ok(DecodingKey::from_secret(bytes))),
                Algorithm::RS256 => (jsonwebtoken::Algorithm::RS256, DecodingKey::from_rsa_pem(bytes)),
                Algorithm::ES256 => (jsonwebtoken::Algorithm::ES256, DecodingKey::from_ec_pem(bytes)),
            };
            let mut rules = Validation::new(algorithm);
            rules.leeway = 0;
            // The caller's clock decides, see `verify`.
            rules.validate_exp = false;
            rules.validate_nbf = true;
            rules.validate_aud = auth.audience.is_some();
            // A claim that is missing passes unless it is required: an audience that a token may leave out guards nothing.
            let named = [("aud", auth.audience.is_some()), ("iss", auth.issuer.is_some())];
            let named = named.into_iter().filter(|(_, configured)| *configured).map(|(claim, _)| claim);
            rules.set_required_spec_claims(&["exp", "sub"].into_iter().chain(named).collect::<Vec<_>>());
            if let Some(audience) = &auth.audience {
                rules.set_audience(&[audience]);
            }
            if let Some(issuer) = &auth.issuer {
                rules.set_issuer(&[issuer]);
            }
            Ok(Key { id: configured.id.clone(), decoding: key.map_err(|_| BadKey { at })?, rules })
        });
        Ok(Self { keys: keys.collect::<Result<_, _>>()? })
    }

    /// Checks a token at `now_s`, Unix time.
    pub fn verify(&self, token: &str, now_s: u64) -> Result<Verified, AuthError> {
        let kid = decode_header(token).map_err(|_| AuthError::Refused)?.kid;
        let mut keys = self.keys.iter().filter(|key| kid.is_none() || key.id.is_none() || key.id == kid);
        let claims = keys.find_map(|key| match decode::<Claims>(token, &key.decoding, &key.rules) {
            Ok(data) => Some(Ok(data.claims)),
            Err(error) => match error.kind() {
                ErrorKind::MissingRequiredClaim(claim) if claim == "aud" || claim == "iss" => None,
                ErrorKind::Json(_) | ErrorKind::MissingRequiredClaim(_) => {
                    Some(Err(AuthError::Claim("sub, exp, rooms or lane")))
                }
                _ => None,
            },
        });
        let claims = claims.unwrap_or(Err(AuthError::Refused))?;
        if claims.exp <= now_s {
            return Err(AuthError::Expired);
        }
        let lane = claims.lane.unwrap_or(Lane::Normal.number());
        if claims
            .rooms
            .as_ref()
            .is_some_and(|rooms| rooms.len() > MAX_ROOMS || rooms.iter().any(|room| room.len() > 128))
        {
            return Err(AuthError::Claim("rooms"));
        }
        Ok(Verified {
            user: UserId::new(&claims.sub).map_err(|_| AuthError::Claim("sub"))?,
            expires_s: claims.exp,
            rights: Rights { rooms: claims.rooms, best_lane: Lane::from_number(lane).ok_or(AuthError::Claim("lane"))? },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{JwtKey, Secret};
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::json;

    const NOW_S: u64 = 1_795_000_000;

    fn verifier(keys: &[(Option<&str>, &str)]) -> Verifier {
        let jwt = keys
            .iter()
            .map(|(id, secret)| JwtKey {
                id: id.map(str::to_owned),
                algorithm: Algorithm::HS256,
                key: Secret((*secret).to_owned()),
            })
            .collect();
        Verifier::new(&Auth { jwt, ..Auth::default() }).unwrap()
    }

    fn token(header: &Header, secret: &str, claims: &serde_json::Value) -> String {
        encode(header, claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
    }

    fn plain(claims: &serde_json::Value) -> Result<Verified, AuthError> {
        verifier(&[(None, "k")]).verify(&token(&Header::default(), "k", claims), NOW_S)
    }

    #[test]
    fn a_good_token_names_its_user_and_rights() {
        let got = plain(&json!({"sub": "ana", "exp": NOW_S + 60, "rooms": ["game-*"], "lane": 1})).unwrap();
        assert_eq!(got.user.as_str(), "ana");
        assert_eq!(got.expires_s, NOW_S + 60);
        assert_eq!(got.rights, Rights { rooms: Some(vec!["game-*".into()]), best_lane: Lane::Protected });
    }

    #[test]
    fn a_time_may_have_fractions() {
        assert_eq!(plain(&json!({"sub": "ana", "exp": NOW_S as f64 + 60.7})).unwrap().expires_s, NOW_S + 60);
        assert!(matches!(plain(&json!({"sub": "ana", "exp": "soon"})), Err(AuthError::Claim(_))));
    }

    #[test]
    fn expired_forged_and_incomplete_tokens_are_refused() {
        assert_eq!(plain(&json!({"sub": "ana", "exp": NOW_S})), Err(AuthError::Expired));
        assert!(matches!(plain(&json!({"sub": "ana"})), Err(AuthError::Claim(_))));
        assert!(matches!(plain(&json!({"exp": NOW_S + 9})), Err(AuthError::Claim(_))));
        assert!(matches!(plain(&json!({"sub": "", "exp": NOW_S + 9})), Err(AuthError::Claim("sub"))));
        assert!(matches!(plain(&json!({"sub": "a", "exp": NOW_S + 9, "lane": 4})), Err(AuthError::Claim("lane"))));
        let forged = token(&Header::default(), "other", &json!({"sub": "ana", "exp": NOW_S + 9}));
        assert_eq!(verifier(&[(None, "k")]).verify(&forged, NOW_S), Err(AuthError::Refused));
        assert_eq!(verifier(&[(None, "k")]).verify("nonsense", NOW_S), Err(AuthError::Refused));
    }

    #[test]
    fn the_algorithm_is_the_configured_one() {
        let claims = json!({"sub": "ana", "exp": NOW_S + 9});
        let other = token(&Header::new(jsonwebtoken::Algorithm::HS512), "k", &claims);
        assert_eq!(verifier(&[(None, "k")]).verify(&other, NOW_S), Err(AuthError::Refused));
        let unsigned = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbmEiLCJleHAiOjk5OTk5OTk5OTl9.";
        assert_eq!(verifier(&[(None, "k")]).verify(unsigned, NOW_S), Err(AuthError::Refused));
    }

    #[test]
    fn a_token_of_another_audience_or_issuer_or_of_none_is_refused() {
        let auth = |audience: Option<&str>, issuer: Option<&str>| {
            let jwt = vec![JwtKey { id: None, algorithm: Algorithm::HS256, key: Secret("k".to_owned()) }];
            let (audience, issuer) = (audience.map(str::to_owned), issuer.map(str::to_owned));
            Verifier::new(&Auth { jwt, audience, issuer, ..Auth::default() }).unwrap()
        };
        let strict = [("aud", auth(Some("chat"), None)), ("iss", auth(None, Some("chat")))];
        let good = [json!("chat"), json!(["shop", "chat"])];
        let bad = [json!("shop"), json!(["shop"]), json!([]), json!(7), json!({"chat": 1}), json!("")];
        for (claim, verifier) in &strict {
            let verify = |value: Option<&serde_json::Value>| {
                let mut claims = json!({"sub": "ana", "exp": NOW_S + 9});
                if let Some(value) = value {
                    claims[*claim] = value.clone();
                }
                verifier.verify(&token(&Header::default(), "k", &claims), NOW_S)
            };
            assert_eq!(verify(None), Err(AuthError::Refused), "a token without {claim}");
            for value in &bad {
                assert!(verify(Some(value)).is_err(), "{claim} {value}");
            }
            for value in &good {
                assert!(verify(Some(value)).is_ok(), "{claim} {value}");
            }
        }
        let open = auth(None, None);
        let claims = json!({"sub": "ana", "exp": NOW_S + 9, "aud": "shop", "iss": "shop"});
        assert!(open.verify(&token(&Header::default(), "k", &claims), NOW_S).is_ok(), "nobody asked for one");
    }

    #[test]
    fn a_token_may_name_its_key() {
        let verifier = verifier(&[(Some("old"), "k1"), (Some("new"), "k2")]);
        let claims = json!({"sub": "ana", "exp": NOW_S + 9});
        let header = |kid: &str| Header { kid: Some(kid.to_owned()), ..Header::default() };
        assert!(verifier.verify(&token(&header("new"), "k2", &claims), NOW_S).is_ok());
        assert!(verifier.verify(&token(&header("old"), "k2", &claims), NOW_S).is_err());
        assert!(verifier.verify(&token(&Header::default(), "k2", &claims), NOW_S).is_ok());
    }
}
