//! Channels to other Pods, one an address, shared by all calls.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use throng_core::ownership::LEASE_TTL_MS;
use throng_core::routes::Routes;
use tonic::transport::{Channel, Endpoint};

use super::error::ApiError;

const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// A connection with calls on it that is silent for so long is asked whether it lives.
const ASKED_AFTER: Duration = Duration::from_secs(1);
/// And is dead after so long without an answer: as long as a Pod keeps its slots without its lease, and not less, for a Pod
/// that only lacks CPU time still owns what the calls are about, and nobody else would answer them.
const DEAD_AFTER: Duration = Duration::from_millis(LEASE_TTL_MS);
/// Channels beyond those to live Pods before the pool is swept.
const SPARE: usize = 16;

/// The channels. They connect when first used, reconnect by themselves, and multiplex all calls to one Pod.
#[derive(Default)]
pub(super) struct Pool(Mutex<HashMap<Arc<str>, Channel>>);

impl Pool {
    /// The channel to an address. `routes` bounds the pool: channels to Pods that no longer live are dropped.
    pub(super) fn channel(&self, address: &str, routes: &Routes) -> Result<Channel, ApiError> {
        let mut channels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(address) {
            return Ok(channel.clone());
        }
        let peers = || routes.chatroom.values().chain(routes.message.values());
        if channels.len() >= peers().count() + SPARE {
            let live: BTreeSet<&str> = peers().map(|peer| &*peer.address).collect();
            channels.retain(|address, _| live.contains(&**address));
        }
        let channel = endpoint(address)?.connect_lazy();
        channels.insert(Arc::from(address), channel.clone());
        Ok(channel)
    }
}

fn endpoint(address: &str) -> Result<Endpoint, ApiError> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| ApiError::unavailable(format!("the owner's address {address:?} is none: {error}")))?;
    Ok(endpoint
        .connect_timeout(CONNECT_WITHIN)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(ASKED_AFTER)
        .keep_alive_timeout(DEAD_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use throng_core::InstanceId;
    use throng_core::routes::Peer;

    #[tokio::test]
    async fn the_pool_forgets_pods_that_are_gone() {
        let mut routes = Routes::default();
        let live = Peer { pod: "a".into(), address: "127.0.0.1:1".into(), draining: false };
        routes.chatroom.insert(InstanceId::new("a").unwrap(), live);
        let pool = Pool::default();
        for port in 1..200 {
            pool.channel(&format!("127.0.0.1:{port}"), &routes).unwrap();
        }
        let channels = pool.0.lock().unwrap();
        assert!(channels.len() <= 1 + SPARE, "{}", channels.len());
        assert!(channels.contains_key("127.0.0.1:1"));
    }

    #[tokio::test]
    async fn an_address_that_is_none_is_no_panic() {
        assert!(Pool::default().channel("not an address", &Routes::default()).is_err());
    }
}
