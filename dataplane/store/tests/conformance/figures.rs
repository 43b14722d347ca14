//! What writes cost Redis, and how fast a slot's rooms are taken over. Not a test: it prints.
//!
//! `THRONG_TEST_FULL=1 cargo test --release -p throng-store --test conformance figures -- --nocapture`

use std::time::{Duration, Instant};

use throng_core::{Epoch, Lane, Message, Millis, RoomId, SessionId, Slot, UserId};
use throng_store::{
    AnySlot, BehindOptions, LogLimits, Member, RedisStore, Store, Write, WriteBehind, shards::shard_of,
};
use tokio::task::JoinSet;

use crate::servers::RedisServer;
use crate::worlds::{connected, options};

const WRITES: u64 = 100_000;
const ROOMS: u64 = 1_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures() {
    if std::env::var_os("THRONG_TEST_FULL").is_none() {
        return;
    }
    let server = RedisServer::start(&[]);
    let store =
        connected(throng_store::RedisOptions { limits: LogLimits::default(), ..options(&server, "figures") }).await;
    let (behind, _notices, runner) = WriteBehind::new(store.clone(), BehindOptions::default());
    tokio::spawn(runner.run());
    measure(&server, &behind, "members, one shard", |n| set_member(n, 1)).await;
    measure(&server, &behind, "members, 32 shards", |n| set_member(n, 32)).await;
    measure(&server, &behind, "messages, one room", |n| append("final", n)).await;
    measure(&server, &behind, "messages, 1,000 rooms", |n| append(&format!("r{}", n % ROOMS), n)).await;
    take_over(&store).await;
}

async fn measure(server: &RedisServer, behind: &WriteBehind, what: &str, write: impl Fn(u64) -> Write) {
    let (cpu, started, before) = (cpu_us(server), Instant::now(), behind.metrics());
    for number in 0..WRITES {
        while behind.metrics().depth > 20_000 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        behind.push(Epoch(1), write(number), None);
    }
    while behind.metrics().depth > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let writes = WRITES as f64;
    println!(
        "{what}: {:.0} writes/s, {:.2} us of Redis CPU each, {:.0} a batch",
        writes / started.elapsed().as_secs_f64(),
        (cpu_us(server) - cpu) / writes,
        writes / (behind.metrics().flushes - before.flushes) as f64
    );
}

/// Fences raised and rooms loaded as a new owner does, 64 at a time.
async fn take_over(store: &std::sync::Arc<RedisStore>) {
    let started = Instant::now();
    let mut loads = JoinSet::new();
    let mut messages = 0;
    for number in 0..ROOMS {
        let store = store.clone();
        loads.spawn(async move {
            let room = RoomId::new(&format!("r{number}")).unwrap();
            let slot = AnySlot::Room(Slot::of(room.as_str()));
            store.raise_fence(slot, Epoch(2), None).await.unwrap();
            store.load(room, 200).await.unwrap().unwrap().tail.len()
        });
        if loads.len() == 64 {
            messages += loads.join_next().await.unwrap().unwrap();
        }
    }
    while let Some(loaded) = loads.join_next().await {
        messages += loaded.unwrap();
    }
    println!("{ROOMS} rooms taken over with {messages} messages in {} ms", started.elapsed().as_millis());
}

fn set_member(number: u64, shards: u16) -> Write {
    let session = SessionId(number);
    let member = Member {
        session,
        conn_epoch: 1,
        user: UserId::new("user-123456").unwrap(),
        joined_ms: Millis(1_700_000_000_000),
        offline_since_ms: None,
    };
    Write::SetMember { room: RoomId::new("final").unwrap(), shard: shard_of(session, shards), member }
}

fn append(room: &str, number: u64) -> Write {
    let message = Message {
        lane: Lane::Protected,
        seq: number + 1,
        from: UserId::new("user-123456").unwrap(),
        kind: "text".into(),
        data: bytes::Bytes::from_static(&[b'x'; 100]),
        at_ms: Millis(1_700_000_000_000 + number),
    };
    Write::Append { room: RoomId::new(room).unwrap(), epoch: Epoch(1), message }
}

fn cpu_us(server: &RedisServer) -> f64 {
    let info: String = redis::from_redis_value(server.command(&["INFO", "cpu"])).unwrap();
    let field =
        |name: &str| -> f64 { info.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().parse().unwrap() };
    (field("used_cpu_sys:") + field("used_cpu_user:")) * 1e6
}
