//! The shared key between Pods.

use std::sync::{Arc, PoisonError, RwLock};

use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Request, Status, service::Interceptor};

/// The key as metadata: put on every call by clients, demanded of every call by servers.
///
/// Both at once: as a client-side interceptor use [`PodKey::attach`], as a server-side one [`PodKey::demand`]. Clones and
/// interceptors share the key, so that [`PodKey::replace`] rotates it everywhere; calls that are under way go on.
#[derive(Clone)]
pub struct PodKey(Arc<RwLock<Keys>>);

/// What is sent and what is taken.
#[derive(Clone, PartialEq)]
struct Keys {
    sent: MetadataValue<Ascii>,
    taken: Vec<MetadataValue<Ascii>>,
}

impl PodKey {
    /// Takes a key, or several on lines of their own: the first is sent, each is taken. `None` if one of them holds anything
    /// but visible ASCII, or there is none.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        Some(Self(Arc::new(RwLock::new(Keys::read(text, "")?))))
    }

    /// Sends the first key of `text` from now on, and takes those of both texts; false, and nothing changes, if `text` is no
    /// key. Whoever rotates a key while others may not know it yet first takes it, and later sends it.
    #[must_use]
    pub fn replace(&self, text: &str, also_taken: &str) -> bool {
        let Some(keys) = Keys::read(text, also_taken) else { return false };
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys;
        true
    }

    /// Puts the key on a call.
    #[must_use]
    pub fn attach(&self) -> impl Interceptor + Clone + Send + Sync + use<> {
        let keys = Arc::clone(&self.0);
        move |mut request: Request<()>| {
            let sent = keys.read().unwrap_or_else(PoisonError::into_inner).sent.clone();
            request.metadata_mut().insert("authorization", sent);
            Ok(request)
        }
    }

    /// Refuses a call without the key. The comparison takes the same time wherever the first difference is.
    #[must_use]
    pub fn demand(&self) -> impl Interceptor + Clone + Send + Sync + use<> {
        let keys = Arc::clone(&self.0);
        move |request: Request<()>| {
            let given = request.metadata().get("authorization").map_or(&[][..], |given| given.as_bytes());
            let keys = keys.read().unwrap_or_else(PoisonError::into_inner);
            if keys.taken.iter().fold(false, |found, key| found | same(given, key.as_bytes())) {
                Ok(request)
            } else {
                Err(Status::unauthenticated("the key between Pods is missing or wrong: give every Pod the same podKey"))
            }
        }
    }
}

impl Keys {
    fn read(text: &str, also: &str) -> Option<Self> {
        let read = |text: &str| {
            let keys = text.lines().map(str::trim).filter(|line| !line.is_empty());
            keys.map(value).collect::<Option<Vec<_>>>()
        };
        let mut taken = read(text)?;
        let sent = taken.first()?.clone();
        taken.extend(read(also)?);
        Some(Self { sent, taken })
    }
}

fn value(key: &str) -> Option<MetadataValue<Ascii>> {
    // Headers would take other bytes, too, and read back as something else.
    if !throng_core::secrets::is_sendable(key) {
        return None;
    }
    let mut value: MetadataValue<Ascii> = format!("Bearer {key}").parse().ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl std::fmt::Debug for PodKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PodKey(..)")
    }
}

fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (x, y)| difference | (x ^ y)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether `to` takes what `from` sends.
    fn passes(from: &PodKey, to: &PodKey) -> bool {
        to.demand().call(from.attach().call(Request::new(())).unwrap()).is_ok()
    }

    #[test]
    fn a_call_without_the_key_is_refused() {
        let key = PodKey::new("secret").unwrap();
        let other = PodKey::new("guess").unwrap();
        assert!(key.demand().call(Request::new(())).is_err());
        assert!(!passes(&other, &key));
        assert!(passes(&key, &key));
        assert!(!format!("{key:?}").contains("secret"));
    }

    #[test]
    fn of_several_keys_the_first_is_sent_and_all_are_taken() {
        let (old, new) = (PodKey::new("old").unwrap(), PodKey::new("new\n").unwrap());
        let both = PodKey::new("old\nnew\n").unwrap();
        assert!(passes(&old, &both) && passes(&new, &both) && passes(&both, &old) && !passes(&both, &new));
        assert!(["", " \n", "not visible\u{e9}"].into_iter().all(|text| PodKey::new(text).is_none()));
    }

    #[test]
    fn a_replaced_key_is_followed_by_what_was_made_of_it_before() {
        let (pod, other) = (PodKey::new("old").unwrap(), PodKey::new("old").unwrap());
        let (mut attach, mut demand) = (pod.attach(), pod.demand());
        // Others have not heard of the new key yet: it is taken, and not sent.
        assert!(pod.replace("old", "new"));
        assert!(passes(&other, &pod) && passes(&pod, &other) && passes(&PodKey::new("new").unwrap(), &pod));
        assert!(pod.replace("new", "old"));
        let new = PodKey::new("new").unwrap();
        assert!(passes(&pod, &new) && passes(&other, &pod));
        assert!(new.demand().call(attach.call(Request::new(())).unwrap()).is_ok());
        assert!(demand.call(other.attach().call(Request::new(())).unwrap()).is_ok());
        assert!(pod.replace("new", "") && !passes(&other, &pod));
        assert!(!pod.replace("", "") && passes(&pod, &new), "what is no key changes nothing");
    }
}
