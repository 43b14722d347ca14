//! The shared key between Pods.

use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Request, Status, service::Interceptor};

/// The key as metadata: put on every call by clients, demanded of every call by servers.
///
/// Both at once: as a client-side interceptor use [`PodKey::attach`], as a server-side one [`PodKey::demand`].
#[derive(Clone)]
pub struct PodKey(MetadataValue<Ascii>);

impl PodKey {
    /// Takes a key; `None` if it holds anything but visible ASCII.
    #[must_use]
    pub fn new(key: &str) -> Option<Self> {
        let mut value: MetadataValue<Ascii> = format!("Bearer {key}").parse().ok()?;
        value.set_sensitive(true);
        Some(Self(value))
    }

    /// Puts the key on a call.
    #[must_use]
    pub fn attach(&self) -> impl Interceptor + Clone + Send + Sync + use<> {
        let value = self.0.clone();
        move |mut request: Request<()>| {
            request.metadata_mut().insert("authorization", value.clone());
            Ok(request)
        }
    }

    /// Refuses a call without the key. The comparison takes the same time wherever the first difference is.
    #[must_use]
    pub fn demand(&self) -> impl Interceptor + Clone + Send + Sync + use<> {
        let value = self.0.clone();
        move |request: Request<()>| {
            let given = request.metadata().get("authorization").map_or(&[][..], |given| given.as_bytes());
            if same(given, value.as_bytes()) {
                Ok(request)
            } else {
                Err(Status::unauthenticated("the key between Pods is missing or wrong: give every Pod the same podKey"))
            }
        }
    }
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

    #[test]
    fn a_call_without_the_key_is_refused() {
        let key = PodKey::new("secret").unwrap();
        let other = PodKey::new("guess").unwrap();
        assert!(key.demand().call(Request::new(())).is_err());
        assert!(key.demand().call(other.attach().call(Request::new(())).unwrap()).is_err());
        assert!(key.demand().call(key.attach().call(Request::new(())).unwrap()).is_ok());
        assert!(!format!("{key:?}").contains("secret"));
    }
}
