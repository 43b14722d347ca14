//! What the store has of what it was said to have: read by the same code that a new owner reads with.

use std::collections::BTreeMap;
use std::thread::JoinHandle;

use anyhow::anyhow;
use throng_core::{InstanceId, RoomId, Stamp};
use throng_store::Store as _;
use throng_store::redis::{RedisMode, RedisOptions, RedisStore};

/// More than a room was sent in one fault.
const TAIL: usize = 10_000;

/// Messages that were acknowledged as stored, by room.
pub(in crate::bench::failover) type Wanted = BTreeMap<String, Vec<Stamp>>;

/// A reading under way, on a thread of its own: clients must not wait for it.
pub(in crate::bench::failover) struct Kept(JoinHandle<anyhow::Result<u64>>);

impl Kept {
    /// Begins to look for these at the primary that the Sentinels at `urls` name.
    pub(in crate::bench::failover) fn read(urls: Vec<String>, cluster: (&str, &str), wanted: Wanted) -> Self {
        let (namespace, cluster) = (cluster.0.to_owned(), cluster.1.to_owned());
        Self(std::thread::spawn(move || {
            let instance = InstanceId::new("bench-reader")?;
            let mode = RedisMode::Sentinel { primary: super::PRIMARY.to_owned() };
            let first = urls.first().cloned().unwrap_or_default();
            let options =
                RedisOptions { urls, mode, ..RedisOptions::standalone(&first, &namespace, &cluster, instance) };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(missing(options, wanted))
        }))
    }

    /// Whether it is done.
    pub(in crate::bench::failover) fn is_done(&self) -> bool {
        self.0.is_finished()
    }

    /// How many are not there.
    pub(in crate::bench::failover) fn missing(self) -> anyhow::Result<u64> {
        self.0.join().map_err(|_| anyhow!("the thread that reads the store has ended"))?
    }
}

async fn missing(options: RedisOptions, wanted: Wanted) -> anyhow::Result<u64> {
    let store = RedisStore::open(options)?;
    let mut missing = 0;
    for (room, stamps) in wanted {
        let image = store.load(RoomId::new(&room)?, TAIL).await?.unwrap_or_default();
        let there = |stamp: &Stamp| {
            let of = |(epoch, message): &(_, throng_core::Message)| {
                *epoch == stamp.epoch && message.lane == stamp.lane && message.seq == stamp.seq
            };
            image.tail.iter().any(of)
        };
        missing += stamps.iter().filter(|stamp| !there(stamp)).count() as u64;
    }
    Ok(missing)
}
