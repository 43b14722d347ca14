//! What the role costs, in CPU time of its thread. Run it alone, in release:
//! `THRONG_TEST_FULL=1 cargo test --release -p throng-message --test cost -- --nocapture`

#[cfg(test)]
mod support;

use std::time::Duration;

use support::{Chatroom, Down, Gateway, alone, cpu_us};
use throng_proto::link::{self, gateway_to_message};

const GATEWAYS: usize = 20;
const ROOMS: usize = 100;
const SECONDS: u64 = 5;

async fn count_segments(gateway: &mut Gateway, wanted: usize) {
    let mut seen = 0;
    while seen < wanted {
        seen += usize::from(matches!(gateway.next().await, Down::Segment(_)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cpu_per_relayed_segment_and_gateway() {
    if std::env::var_os("THRONG_TEST_FULL").is_none() {
        return;
    }
    let owner = Chatroom::start(7);
    let (message, schedstat) = alone().await;
    message.owned_by(&owner, 7);
    let rooms: Vec<String> = (0..ROOMS).map(|n| format!("room-{n}")).collect();
    let mut gateways = Vec::new();
    for n in 0..GATEWAYS {
        let mut gateway = message.gateway(&format!("g-{n}")).await;
        for room in &rooms {
            gateway.subscribed(room).await;
        }
        gateways.push(gateway);
    }
    for (messages, every_ms) in [(1, 10), (20, 10), (20, 100)] {
        let rounds = SECONDS * 1_000 / every_ms;
        let per_round = ROOMS / 10;
        let segments = usize::try_from(rounds).unwrap() * per_round;
        let before = cpu_us(&schedstat);
        let readers: Vec<_> = gateways
            .drain(..)
            .map(|mut gateway| {
                tokio::spawn(async move {
                    count_segments(&mut gateway, segments).await;
                    gateway
                })
            })
            .collect();
        let mut tick = tokio::time::interval(Duration::from_millis(every_ms));
        for round in 0..rounds {
            tick.tick().await;
            for n in 0..per_round {
                let room = &rooms[(usize::try_from(round).unwrap() * per_round + n) % ROOMS];
                owner.publish(room, &vec![2; messages], &[b'1'; 100]);
            }
        }
        for reader in readers {
            gateways.push(reader.await.unwrap());
        }
        let cpu = cpu_us(&schedstat) - before;
        let deliveries = segments * GATEWAYS;
        println!(
            "{messages} messages of 100 B a segment, {per_round} segments each {every_ms} ms, {GATEWAYS} gateways: \
             {:.2} us of CPU per segment and gateway, {deliveries} of them",
            cpu as f64 / deliveries as f64
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cpu_per_session_change() {
    const CHANGES: u64 = 1_000;
    const ROUNDS: u64 = 100;
    if std::env::var_os("THRONG_TEST_FULL").is_none() {
        return;
    }
    let (message, schedstat) = alone().await;
    let mut gateway = message.gateway("g-1").await;
    let before = cpu_us(&schedstat);
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    for number in 1..=ROUNDS {
        tick.tick().await;
        let first = (number - 1) / 2 * CHANGES;
        let change = |n: u64| link::SessionChange {
            user: format!("user-{}", first + n),
            session: first + n,
            conn_epoch: 1,
            online: number % 2 == 1,
            joined: if number % 2 == 1 { vec!["final".into()] } else { vec![] },
            ended: number % 2 == 0,
            ..link::SessionChange::default()
        };
        let batch = link::SessionBatch { number, full: false, changes: (0..CHANGES).map(change).collect(), sent_ms: 0 };
        gateway.say(gateway_to_message::Kind::Sessions(batch)).await;
        while gateway.next().await != Down::SessionsApplied(number) {}
    }
    let cpu = cpu_us(&schedstat) - before;
    println!("{:.2} us of CPU per session change, 20,000 a second", cpu as f64 / (CHANGES * ROUNDS) as f64);
}
