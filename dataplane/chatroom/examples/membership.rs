//! What a membership change and a publish cost the owner of a room: CPU time of this thread, no sockets.
//!
//! `cargo run --release -p throng-chatroom --example membership`

use std::time::Duration;

use anyhow::{Context as _, Result};
use throng_core::room::{
    Ack, Asker, Change, ChangeKind, GatewayNo, Now, Overrides, Pod, Publish, RelayNo, RoomChanges, RoomOptions,
    Subscription,
};
use throng_core::{Epoch, InstanceId, Lane, Millis, RoomId, SessionId, Slot, UserId};

const BATCH: u64 = 1_000;
const PUBLISHES: u64 = 200_000;

fn main() -> Result<()> {
    println!("members  us/join  us/leave  bytes/member");
    for members in [10_000, 100_000, 1_000_000] {
        membership(members)?;
    }
    publishes()
}

struct Scene {
    pod: Pod,
    now: Now,
    room: RoomId,
    gateway: GatewayNo,
    batch: u64,
}

impl Scene {
    fn new() -> Result<Self> {
        let room = RoomId::new("final")?;
        let now = Now { mono: Millis(100_000), unix: Millis(1_800_000_000_000) };
        let mut pod = Pod::new(RoomOptions::default());
        let gateway = pod.gateway_opened(now, &InstanceId::new("g-0")?);
        pod.open(Now { mono: Millis::ZERO, ..now }, Slot::of(room.as_str()), Epoch(7), vec![]);
        Ok(Self { pod, now, room, gateway, batch: 0 })
    }

    fn batch(&mut self, from: u64, kind: ChangeKind) -> Result<()> {
        let change = |number: u64| {
            let user = UserId::new(&format!("user-{number}"))?;
            Ok(Change { user, session: SessionId(number), conn_epoch: 1, kind })
        };
        let changes = (from..from + BATCH).map(change).collect::<Result<Vec<_>>>()?;
        self.batch += 1;
        self.now.mono = self.now.mono + 50;
        let rooms = vec![RoomChanges { room: self.room.clone(), full: false, changes }];
        self.pod.members(self.now, self.gateway, self.batch, rooms);
        self.pod.run_due(self.now);
        drop(self.pod.take_output());
        Ok(())
    }
}

fn membership(members: u64) -> Result<()> {
    let mut scene = Scene::new()?;
    let rss = rss_bytes()?;
    for from in (0..members).step_by(usize::try_from(BATCH)?) {
        scene.batch(from, ChangeKind::Join)?;
    }
    let bytes_per_member = (rss_bytes()?.saturating_sub(rss)) as f64 / members as f64;
    // The room stays as large as it is: what joins leaves again.
    let rounds = 200;
    let mut joins = Duration::ZERO;
    let mut leaves = Duration::ZERO;
    for round in 0..rounds {
        let from = members + round * BATCH;
        let started = cpu_time()?;
        scene.batch(from, ChangeKind::Join)?;
        let joined = cpu_time()?;
        // Those who leave have been there for long: their entries are not in the caches.
        scene.batch((round * 7_919 * BATCH) % members, ChangeKind::Leave)?;
        joins += joined.saturating_sub(started);
        leaves += cpu_time()?.saturating_sub(joined);
    }
    let us = |time: Duration| time.as_secs_f64() * 1e6 / (rounds * BATCH) as f64;
    println!("{members:>7}  {:>7.2}  {:>8.2}  {bytes_per_member:>12.0}", us(joins), us(leaves));
    Ok(())
}

fn publishes() -> Result<()> {
    let mut scene = Scene::new()?;
    let unlimited = Overrides { messages_per_s: Some(u32::MAX), user_messages_per_s: Some(0), ..Overrides::default() };
    scene.pod.create(scene.now, &scene.room, unlimited)?;
    scene.batch(0, ChangeKind::Join)?;
    let cursor = None;
    for relay in 0..3 {
        let subscription = Subscription { room: scene.room.clone(), cursor, older: vec![], told: vec![] };
        scene.pod.subscribe(scene.now, RelayNo(relay), subscription);
    }
    let publish = Publish {
        user: UserId::new("user-1")?,
        session: Some(SessionId(1)),
        wish: Lane::Normal,
        best: Lane::Normal,
        kind: "text".into(),
        data: vec![b'1'; 100].into(),
        key: None,
        ack: Ack::Accepted,
    };
    let started = cpu_time()?;
    for number in 0..PUBLISHES {
        if number % 20 == 0 {
            scene.now.mono = scene.now.mono + 1;
            scene.now.unix = scene.now.unix + 1;
            scene.pod.run_due(scene.now);
            drop(scene.pod.take_output());
        }
        scene.pod.publish(scene.now, Asker::Gateway(scene.gateway, number), &scene.room, &publish);
    }
    let spent = cpu_time()?.saturating_sub(started);
    let us = spent.as_secs_f64() * 1e6 / PUBLISHES as f64;
    println!("one room, one core: {us:.2} us a publish, {:.0} publishes/s", 1e6 / us);
    Ok(())
}

/// CPU time of this process, which has one thread.
fn cpu_time() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/schedstat")?;
    let nanos = stat.split_whitespace().next().context("schedstat holds the time on the CPU")?;
    Ok(Duration::from_nanos(nanos.parse()?))
}

fn rss_bytes() -> Result<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split_whitespace().nth(1).context("statm holds resident pages")?.parse()?;
    Ok(pages * 4096)
}
