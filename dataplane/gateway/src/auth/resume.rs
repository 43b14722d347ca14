//! Resume tokens: what a gateway signs so that any gateway of the cluster takes the client back at the cost of one MAC.
//!
//! `<key id>.<payload>.<HMAC-SHA256 of both>`, the last two in base64url. The payload holds the user, the session, its
//! connection epoch, the rights and the end of the token that opened the session, which is also this token's end.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use throng_core::{Lane, SessionId, UserId};

use super::{AuthError, Rights};
use crate::options::ResumeKey;

/// Whom a resume token takes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// The user.
    pub user: UserId,
    /// The session that goes on.
    pub session: SessionId,
    /// Connection epoch of the connection that it was given to.
    pub conn_epoch: u64,
    /// When the token that opened the session ends, seconds of Unix time.
    pub expires_s: u64,
    /// What that token allowed.
    pub rights: Rights,
}

/// Signs and checks resume tokens. Stateless.
pub struct Signer {
    keys: Vec<(String, Hmac<Sha256>)>,
}

impl Signer {
    /// Takes the configured keys.
    #[must_use]
    pub fn new(keys: &[ResumeKey]) -> Self {
        let keys = keys
            .iter()
            .filter_map(|key| Some((key.id.clone(), Hmac::<Sha256>::new_from_slice(key.secret.0.as_bytes()).ok()?)));
        Self { keys: keys.collect() }
    }

    /// Signs, with the first key. Empty if there is none: then nothing can be resumed.
    #[must_use]
    pub fn sign(&self, resumed: &Resumed) -> String {
        let Some((id, key)) = self.keys.first() else { return String::new() };
        let signed = format!("{id}.{}", URL_SAFE_NO_PAD.encode(write(resumed)));
        let mac = key.clone().chain_update(&signed).finalize().into_bytes();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac))
    }

    /// Checks a token at `now_s`, Unix time.
    pub fn verify(&self, token: &str, now_s: u64) -> Result<Resumed, AuthError> {
        let (signed, mac) = token.rsplit_once('.').ok_or(AuthError::BadResume)?;
        let (id, payload) = signed.split_once('.').ok_or(AuthError::BadResume)?;
        let mac = URL_SAFE_NO_PAD.decode(mac).map_err(|_| AuthError::BadResume)?;
        // A key that was replaced under its name has the same id as its successor.
        let mut named = self.keys.iter().filter(|(known, _)| known == id);
        if !named.any(|(_, key)| key.clone().chain_update(signed).verify_slice(&mac).is_ok()) {
            return Err(AuthError::BadResume);
        }
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| AuthError::BadResume)?;
        let resumed = read(&payload).ok_or(AuthError::BadResume)?;
        if resumed.expires_s <= now_s { Err(AuthError::Expired) } else { Ok(resumed) }
    }
}

/// First byte of a payload; another form gets another number.
const FORM: u8 = 1;

fn write(resumed: &Resumed) -> Vec<u8> {
    let mut out = vec![FORM, resumed.rights.best_lane.number()];
    for number in [resumed.session.0, resumed.conn_epoch, resumed.expires_s] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    let mut text = |text: &str| {
        // Ids and patterns have at most 128 bytes.
        out.push(u8::try_from(text.len()).unwrap_or(0));
        out.extend_from_slice(text.as_bytes());
    };
    text(resumed.user.as_str());
    for room in resumed.rights.rooms.iter().flatten() {
        text(room);
    }
    if resumed.rights.rooms.as_ref().is_some_and(Vec::is_empty) {
        // A list of nothing differs from no list: no room has an empty name.
        text("");
    }
    out
}

fn read(payload: &[u8]) -> Option<Resumed> {
    let ([form, lane], rest) = payload.split_first_chunk::<2>()?;
    let lane = Lane::from_number(*lane).filter(|_| *form == FORM)?;
    let (session, rest) = rest.split_first_chunk::<8>()?;
    let (conn_epoch, rest) = rest.split_first_chunk::<8>()?;
    let (expires_s, mut rest) = rest.split_first_chunk::<8>()?;
    let mut text = || {
        let (length, after) = rest.split_first()?;
        let (text, after) = after.split_at_checked(usize::from(*length))?;
        rest = after;
        std::str::from_utf8(text).ok()
    };
    let user = UserId::new(text()?).ok()?;
    let rooms: Vec<String> = std::iter::from_fn(text).map(str::to_owned).collect();
    Some(Resumed {
        user,
        session: SessionId(u64::from_be_bytes(*session)),
        conn_epoch: u64::from_be_bytes(*conn_epoch),
        expires_s: u64::from_be_bytes(*expires_s),
        rights: Rights { rooms: (!rooms.is_empty()).then_some(rooms), best_lane: lane },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Secret;
    use proptest::prelude::*;

    fn signer(ids: &[&str]) -> Signer {
        let keys: Vec<_> = ids
            .iter()
            .map(|id| ResumeKey { id: (*id).to_owned(), secret: Secret(format!("secret of {id}")) })
            .collect();
        Signer::new(&keys)
    }

    fn resumed() -> Resumed {
        Resumed {
            user: UserId::new("ana").unwrap(),
            session: SessionId(77),
            conn_epoch: 5,
            expires_s: 100,
            rights: Rights { rooms: Some(vec!["a".into(), "b-*".into()]), best_lane: Lane::Protected },
        }
    }

    #[test]
    fn any_gateway_with_the_key_takes_it_back_until_it_expires() {
        let token = signer(&["new", "old"]).sign(&resumed());
        assert_eq!(signer(&["newer", "new"]).verify(&token, 99), Ok(resumed()));
        assert_eq!(signer(&["new"]).verify(&token, 100), Err(AuthError::Expired));
        assert_eq!(signer(&["other"]).verify(&token, 99), Err(AuthError::BadResume));
    }

    #[test]
    fn a_key_that_was_replaced_under_its_name_is_accepted_beside_the_new_one() {
        let key = |secret: &str| ResumeKey { id: "r1".into(), secret: Secret(secret.into()) };
        let (old, new) = (Signer::new(&[key("old")]), Signer::new(&[key("new"), key("old")]));
        assert_eq!(new.verify(&old.sign(&resumed()), 1), Ok(resumed()));
        assert_eq!(old.verify(&new.sign(&resumed()), 1), Err(AuthError::BadResume), "the first signs");
    }

    #[test]
    fn without_a_key_there_is_no_token() {
        assert_eq!(signer(&[]).sign(&resumed()), "");
        assert_eq!(signer(&[]).verify("", 1), Err(AuthError::BadResume));
    }

    #[test]
    fn rights_to_nothing_and_to_everything_stay_apart() {
        let signer = signer(&["k"]);
        for rooms in [None, Some(vec![])] {
            let given = Resumed { rights: Rights { rooms, best_lane: Lane::Low }, ..resumed() };
            let taken = signer.verify(&signer.sign(&given), 1).unwrap();
            assert_eq!(taken.rights.cover("x"), given.rights.cover("x"));
        }
    }

    proptest! {
        #[test]
        fn a_changed_token_is_refused(at in 0_usize..200, byte in 33_u8..127) {
            let signer = signer(&["k"]);
            let token = signer.sign(&resumed());
            let mut changed = token.clone().into_bytes();
            let at = at % changed.len();
            changed[at] = byte;
            let changed = String::from_utf8(changed).unwrap();
            prop_assume!(changed != token);
            // The last letter of base64 may hold bits that nobody reads; those are refused as well.
            prop_assert!(signer.verify(&changed, 1).is_err());
        }
    }
}
