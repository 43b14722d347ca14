//! Redis forgets exactly what memory forgets, whatever is appended in whatever order: its Functions look at the streams of
//! a room only when something may have to go, and this is where a wrong guess would show.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use throng_core::{Epoch, Lane, Stamp};
use throng_store::{LogLimits, LogRange, MemoryDb, RedisOptions, Store, Write};

use crate::servers::RedisServer;
use crate::suite::{append, message, room, write};
use crate::worlds::{GRACE_MS, Hand, connected, instance, options};

/// Longer than the test runs: what expires by Redis's own clock is another case.
const LIMITS: LogLimits =
    LogLimits { lossless_keep_ms: 1_000_000, lossless_bytes: 4_000, sampled_keep_ms: 500_000, sampled_bytes: 2_000 };
const LANES: [Lane; 3] = [Lane::Control, Lane::Protected, Lane::Normal];

#[tokio::test]
async fn redis_forgets_what_memory_forgets() {
    let server = RedisServer::start(&[]);
    for seed in 0..6 {
        let mut random = StdRng::seed_from_u64(seed);
        let name = format!("twin{seed}");
        let redis = connected(RedisOptions { limits: LIMITS, ..options(&server, &name) }).await as Arc<dyn Store>;
        let memory = MemoryDb::new(Arc::new(Hand::default()), LIMITS, GRACE_MS).store(instance("a"));
        let stores = [redis, Arc::new(memory)];
        let (mut at_ms, mut last) = (10_000_000, [[0_u64; 3]; 3]);
        for step in 0..120 {
            let mut writes = Vec::new();
            for _ in 0..random.random_range(1..4) {
                let (epoch, lane) = (random.random_range(0..3), random.random_range(0..3));
                let seq = &mut last[epoch][lane];
                if random.random_ratio(1, 8) {
                    let seq = random.random_range(0..=*seq) + 1;
                    let stamp = Stamp { epoch: Epoch(epoch as u64 + 1), lane: LANES[lane], seq };
                    writes.push(Write::DeleteMessage { room: room(), stamp });
                    continue;
                }
                *seq += 1;
                // Mostly a little later, sometimes much: of two as old as each other, either may go first.
                at_ms += 1 + [0, 1_000, 50_000, 400_000, 1_200_000][random.random_range(0..10_usize).saturating_sub(5)];
                let data = "x".repeat(random.random_range(1..900));
                writes.push(append(epoch as u64 + 1, message(LANES[lane], *seq, at_ms, &data)));
            }
            if random.random_ratio(1, 40) {
                writes.push(Write::ForgetEpochs { room: room(), before: Epoch(2) });
            }
            for store in &stores {
                write(store, 3, writes.clone()).await.unwrap();
            }
            let (redis, memory) = (kept(&stores[0]).await, kept(&stores[1]).await);
            assert_eq!(redis, memory, "seed {seed}, step {step}");
        }
    }
}

/// What both keep, by epoch and lane.
async fn kept(store: &Arc<dyn Store>) -> Vec<(u64, Lane, Vec<u64>)> {
    let mut kept = Vec::new();
    for epoch in 1..=3 {
        for lane in LANES {
            let range = LogRange { epoch: Epoch(epoch), lane, after: 0, limit: 1_000 };
            let page = store.log(room(), range).await.unwrap();
            kept.push((epoch, lane, page.messages.iter().map(|message| message.seq).collect()));
        }
    }
    kept
}
