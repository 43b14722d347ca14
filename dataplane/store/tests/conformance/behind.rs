//! The write-behind queue before a real store, with its runner.

use std::sync::Arc;
use std::time::{Duration, Instant};

use throng_core::{Epoch, Lane};
use throng_store::{Ack, BehindOptions, LogRange, MemoryDb, NotStored, Notice, Store, StoreError, Write, WriteBehind};
use tokio::sync::mpsc;

use crate::servers::RedisServer;
use crate::suite::{append, message, room, slot};
use crate::worlds::{connected, instance, options};

/// Answers, each with the number of who asked.
type AnswersOf = mpsc::UnboundedReceiver<(u64, Result<(), NotStored>)>;

/// Acknowledgements that end in a channel.
fn acks() -> (impl Fn(u64) -> Option<Ack>, AnswersOf) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let ack = move |number| -> Option<Ack> {
        let sender = sender.clone();
        Some(Box::new(move |outcome| {
            let _ = sender.send((number, outcome));
        }))
    };
    (ack, receiver)
}

pub(crate) async fn stored(store: &dyn Store, epoch: u64) -> Vec<u64> {
    let range = LogRange { epoch: Epoch(epoch), lane: Lane::Protected, after: 0, limit: 100_000 };
    store.log(room(), range).await.unwrap().messages.iter().map(|message| message.seq).collect()
}

#[tokio::test]
async fn everything_pushed_is_stored_and_acknowledged_in_order() {
    let server = RedisServer::start(&[]);
    let mut settings = options(&server, "behind");
    settings.limits.lossless_bytes = 64 << 20;
    let store = connected(settings).await;
    let (behind, _notices, runner) = WriteBehind::new(store.clone(), BehindOptions::default());
    let running = tokio::spawn(runner.run());
    let (ack, mut answers) = acks();
    for seq in 1..=5_000 {
        behind.push(Epoch(3), append(3, message(Lane::Protected, seq, seq / 10, "{}")), ack(seq));
    }
    assert!(behind.settle(slot(), Duration::from_secs(10)).await);
    for seq in 1..=5_000 {
        assert_eq!(answers.recv().await, Some((seq, Ok(()))));
    }
    assert_eq!(stored(&*store, 3).await, (1..=5_000).collect::<Vec<_>>());
    let metrics = behind.metrics();
    assert_eq!((metrics.depth, metrics.written, metrics.dropped), (0, 5_000, 0));
    assert!(metrics.flushes <= 40, "batches, not single writes: {}", metrics.flushes);
    assert!(behind.close(Duration::from_secs(1)).await);
    running.await.unwrap();
}

#[tokio::test]
async fn a_store_that_is_away_fails_acknowledgements_in_time_and_gets_everything_later() {
    let store = MemoryDb::default().store(instance("a"));
    let options = BehindOptions { ack_wait_ms: 100, ..BehindOptions::default() };
    let (behind, _notices, runner) = WriteBehind::new(Arc::new(store.clone()), options);
    tokio::spawn(runner.run());
    let (ack, mut answers) = acks();
    store.set_away(true);
    let pushed = Instant::now();
    behind.push(Epoch(1), append(1, message(Lane::Protected, 1, 1, "1")), ack(1));
    assert!(pushed.elapsed() < Duration::from_millis(50), "a push never waits");
    assert_eq!(answers.recv().await, Some((1, Err(NotStored::TooLate))));
    assert!((90..1_000).contains(&pushed.elapsed().as_millis()));
    assert!(behind.metrics().errors > 0 && behind.metrics().oldest_age_ms >= 90);
    store.set_away(false);
    assert!(behind.settle(slot(), Duration::from_secs(5)).await);
    assert_eq!(stored(&store, 1).await, [1]);
}

#[tokio::test]
async fn a_later_owner_is_told_and_nothing_of_the_earlier_one_is_stored() {
    let db = MemoryDb::default();
    let store = db.store(instance("a"));
    let (behind, mut notices, runner) = WriteBehind::new(Arc::new(store), BehindOptions::default());
    tokio::spawn(runner.run());
    let later = db.store(instance("b"));
    let put = vec![Write::PutRoom { room: room(), meta: "b".into() }];
    later.write(slot(), Epoch(9), throng_store::Batch::of(put)).await.unwrap();
    let (ack, mut answers) = acks();
    behind.push(Epoch(5), append(5, message(Lane::Protected, 1, 1, "1")), ack(1));
    assert_eq!(answers.recv().await, Some((1, Err(NotStored::Stale(Epoch(9))))));
    assert_eq!(notices.next().await, Notice::Stale { slot: slot(), epoch: Epoch(9) });
    assert!(stored(&later, 5).await.is_empty());
}

#[tokio::test]
async fn closing_carries_out_what_waits_and_refuses_what_comes() {
    let store = MemoryDb::default().store(instance("a"));
    let options = BehindOptions { flush_ms: 60_000, ..BehindOptions::default() };
    let (behind, _notices, runner) = WriteBehind::new(Arc::new(store.clone()), options);
    let running = tokio::spawn(runner.run());
    let (ack, mut answers) = acks();
    behind.push(Epoch(1), append(1, message(Lane::Protected, 1, 1, "1")), ack(1));
    assert!(behind.close(Duration::from_secs(5)).await);
    assert_eq!(answers.recv().await, Some((1, Ok(()))));
    behind.push(Epoch(1), append(1, message(Lane::Protected, 2, 1, "1")), ack(2));
    assert_eq!(answers.recv().await, Some((2, Err(NotStored::Closed))));
    assert_eq!(stored(&store, 1).await, [1]);
    running.await.unwrap();
}

#[tokio::test]
async fn closing_before_a_store_that_is_away_ends_in_time() {
    let store = MemoryDb::default().store(instance("a"));
    store.set_away(true);
    let (behind, _notices, runner) = WriteBehind::new(Arc::new(store), BehindOptions::default());
    let running = tokio::spawn(runner.run());
    let (ack, mut answers) = acks();
    behind.push(Epoch(1), append(1, message(Lane::Protected, 1, 1, "1")), ack(1));
    assert!(!behind.close(Duration::from_millis(100)).await);
    assert_eq!(answers.recv().await, Some((1, Err(NotStored::Closed))));
    running.await.unwrap();
}

#[tokio::test]
async fn dropping_the_handle_ends_the_runner() {
    let store = MemoryDb::default().store(instance("a"));
    let (behind, _notices, runner) = WriteBehind::new(Arc::new(store), BehindOptions::default());
    let running = tokio::spawn(runner.run());
    drop(behind);
    running.await.unwrap();
}

#[tokio::test]
async fn a_redis_that_dies_in_the_middle_loses_no_acknowledged_message() {
    let mut server = RedisServer::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let mut settings = options(&server, "killed");
    settings.limits.lossless_bytes = 64 << 20;
    let store = connected(settings).await;
    assert!(store.description().durable);
    let (behind, mut notices, runner) = WriteBehind::new(store.clone(), BehindOptions::default());
    tokio::spawn(runner.run());
    let (ack, mut answers) = acks();
    for seq in 1..=3_000 {
        behind.push(Epoch(3), append(3, message(Lane::Protected, seq, seq / 10, "{}")), ack(seq));
        if seq % 100 == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        if seq == 1_500 {
            server.kill();
        }
        if seq == 2_500 {
            server.run().unwrap();
        }
    }
    assert!(behind.settle(slot(), Duration::from_secs(20)).await);
    for seq in 1..=3_000 {
        assert_eq!(answers.recv().await, Some((seq, Ok(()))), "with a wait of 5 s all of them make it");
    }
    assert_eq!(stored(&*store, 3).await, (1..=3_000).collect::<Vec<_>>());
    // The first write met an empty store; the restart did not.
    assert_eq!(notices.next().await, Notice::Rewrite { slot: slot() });
    let none = tokio::time::timeout(Duration::from_millis(50), notices.next()).await;
    assert!(none.is_err(), "a store that kept its file forgot nothing");
}

#[tokio::test]
async fn a_stalled_redis_delays_writes_and_nothing_else() {
    let server = RedisServer::start(&[]);
    let mut settings = options(&server, "stalled");
    settings.write_ms = 500;
    let store = connected(settings).await;
    let (behind, _notices, runner) = WriteBehind::new(store.clone(), BehindOptions::default());
    tokio::spawn(runner.run());
    let client = redis::Client::open(server.url()).unwrap();
    let sleeper = std::thread::spawn(move || {
        let mut connection = client.get_connection().unwrap();
        redis::cmd("DEBUG").arg("SLEEP").arg("3").query::<()>(&mut connection).unwrap();
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (ack, mut answers) = acks();
    let started = Instant::now();
    for seq in 1..=10 {
        behind.push(Epoch(1), append(1, message(Lane::Protected, seq, seq, "{}")), ack(seq));
    }
    let asked = store.ping().await;
    assert!(matches!(asked, Err(StoreError::Unavailable { .. })), "{asked:?}");
    assert!(started.elapsed() < Duration::from_millis(1_500), "a call has a deadline");
    for seq in 1..=10 {
        assert_eq!(answers.recv().await, Some((seq, Ok(()))));
    }
    // What was given up and came to Redis late all the same changed nothing.
    assert_eq!(stored(&*store, 1).await, (1..=10).collect::<Vec<_>>());
    sleeper.join().unwrap();
}
