//! Other Pods, as ownership asks them: message Pods for promises, all for the incarnation that they know.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use throng_core::ownership::Input;
use throng_core::{Epoch, Slot};
use throng_proto::key::PodKey;
use throng_proto::link::node_client::NodeClient;
use throng_proto::link::relay_client::RelayClient;
use throng_proto::link::{DescribeRequest, GatherReply, GatherRequest, GatheredRoom, SlotEpoch};
use throng_store::Store;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tracing::{debug, warn};

use super::Rooms;

/// So long a taker waits for promises. A Pod that is gone has no connection any more, so this is the time of one that is
/// busy: what it knows is worth the wait, or retries of what it relayed are ordered again.
const GATHER_WITHIN: Duration = Duration::from_secs(1);
/// So long it waits for the incarnations that others know.
const DESCRIBE_WITHIN: Duration = Duration::from_millis(500);
const CONNECT_WITHIN: Duration = Duration::from_millis(250);
/// So long the role may take to note what was gathered.
const NOTE_WITHIN: Duration = Duration::from_millis(500);
/// Largest answer taken.
const MAX_ANSWER_BYTES: usize = 64 << 20;
/// Slots that one call asks about.
pub(super) const SLOTS_A_CALL: usize = 256;
/// Connections kept; with more, all are made anew.
const MAX_CHANNELS: usize = 256;

/// Connections to other Pods, made when they are needed.
pub(super) struct Peers {
    key: PodKey,
    channels: Mutex<HashMap<Arc<str>, Channel>>,
}

impl Peers {
    pub(super) fn new(key: PodKey) -> Self {
        Self { key, channels: Mutex::default() }
    }

    fn channel(&self, address: &Arc<str>) -> Option<Channel> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(address) {
            return Some(channel.clone());
        }
        if channels.len() >= MAX_CHANNELS {
            channels.clear();
        }
        let endpoint = Endpoint::from_shared(format!("http://{address}")).ok()?;
        let channel = endpoint.connect_timeout(CONNECT_WITHIN).tcp_nodelay(true).connect_lazy();
        channels.insert(Arc::clone(address), channel.clone());
        Some(channel)
    }

    /// A connection that did not answer is not used again: what is left of it may hang for long.
    fn forget(&self, address: &str) {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner).remove(address);
    }

    async fn promise(&self, address: &Arc<str>, request: GatherRequest) -> Option<GatherReply> {
        let mut client = RelayClient::with_interceptor(self.channel(address)?, self.key.attach())
            .max_decoding_message_size(MAX_ANSWER_BYTES);
        match timeout(GATHER_WITHIN, client.gather(request)).await {
            Ok(Ok(reply)) => Some(reply.into_inner()),
            Ok(Err(status)) => {
                debug!(address = &**address, %status, "a message Pod promised nothing");
                self.forget(address);
                None
            }
            Err(_) => {
                debug!(address = &**address, "a message Pod did not promise in time");
                self.forget(address);
                None
            }
        }
    }

    async fn incarnation(&self, address: &Arc<str>) -> Option<u64> {
        let mut client = NodeClient::with_interceptor(self.channel(address)?, self.key.attach());
        let reply = timeout(DESCRIBE_WITHIN, client.describe(DescribeRequest {})).await;
        let Ok(Ok(reply)) = reply else {
            self.forget(address);
            return None;
        };
        Some(reply.into_inner().incarnation)
    }
}

/// Asks message Pods to promise epochs of slots, and gives what they know to the owner of rooms.
pub(super) async fn gather(
    peers: Arc<Peers>,
    relays: Vec<Arc<str>>,
    rooms: Arc<dyn Rooms>,
    slots: Vec<(Slot, Epoch)>,
) -> Vec<Input> {
    let asked = slots.iter().map(|(slot, epoch)| SlotEpoch { slot: u32::from(slot.number()), epoch: epoch.0 });
    let request = GatherRequest { slots: asked.collect() };
    let replies = join_all(relays.iter().map(|relay| peers.promise(relay, request.clone()))).await;
    let mut stale: BTreeMap<Slot, Epoch> = BTreeMap::new();
    let mut found: BTreeMap<Slot, Vec<GatheredRoom>> = BTreeMap::new();
    for reply in replies.into_iter().flatten() {
        for SlotEpoch { slot, epoch } in reply.stale {
            let Some(slot) = u16::try_from(slot).ok().and_then(Slot::new) else { continue };
            let seen = stale.entry(slot).or_default();
            *seen = (*seen).max(Epoch(epoch));
        }
        for room in reply.rooms {
            found.entry(Slot::of(&room.room)).or_default().push(room);
        }
    }
    // In one piece: the role has a queue, and each piece waits behind everything in it.
    if !found.is_empty() && timeout(NOTE_WITHIN, rooms.gathered(found.into_iter().collect())).await.is_err() {
        warn!(slots = slots.len(), "what message Pods knew of these slots was not taken in time");
    }
    let answer = |(slot, epoch)| Input::Gathered { slot, epoch, stale: stale.get(&slot).copied() };
    slots.into_iter().map(answer).collect()
}

/// Asks the store and every Pod for the largest incarnation that they know.
pub(super) async fn incarnations(
    store: Option<Arc<dyn Store>>,
    peers: Option<Arc<Peers>>,
    pods: Vec<Arc<str>>,
) -> Input {
    let known = async {
        match peers {
            Some(peers) => join_all(pods.iter().map(|pod| peers.incarnation(pod))).await,
            None => Vec::new(),
        }
    };
    let stored = async {
        match store {
            // Without a shared store nobody but the registry and the Pods remember.
            None => Some(0),
            Some(store) => store.incarnation().await.ok(),
        }
    };
    let (stored, known) = tokio::join!(stored, known);
    Input::Incarnations { store: stored, pods: known.into_iter().flatten().max().unwrap_or(0) }
}
