//! Claims of real tasks on a shared registry: every slot has one owner, also after one of them dies without goodbye.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test says so by failing")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use throng_core::routes::SlotChange;
use throng_core::{Epoch, InstanceId, Millis, Role, Slot};
use throng_node::ownership::{Driver, Handle, Identity};
use throng_registry::{Member, MemoryRegistry, Registry};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

struct Pod {
    slots: mpsc::Receiver<SlotChange>,
    handle: Handle,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    open: BTreeMap<Slot, Epoch>,
}

impl Pod {
    fn start(registry: &Arc<dyn Registry>, name: &str) -> Self {
        Self::with_room_for(10_000, registry, name)
    }

    /// So many changes may wait to be read.
    fn with_room_for(changes: usize, registry: &Arc<dyn Registry>, name: &str) -> Self {
        let member = Member {
            pod: name.into(),
            uid: name.into(),
            address: format!("{name}:1").into(),
            http_address: format!("{name}:2").into(),
            revision: "1".into(),
            draining: false,
            redis_ok: true,
            ready: true,
            started_ms: Millis(0),
        };
        let identity =
            Identity { role: Role::Chatroom, instance: InstanceId::new(&format!("i-{name}")).unwrap(), member };
        let (tx, slots) = mpsc::channel(changes);
        let stop = CancellationToken::new();
        let (driver, handle) = Driver::new(identity, Arc::clone(registry), tx);
        let task = tokio::spawn(driver.run(|| 0, stop.clone()));
        Self { slots, handle, stop, task, open: BTreeMap::new() }
    }

    fn read(&mut self) {
        while let Ok(change) = self.slots.try_recv() {
            match change {
                SlotChange::Open { slot, epoch, .. } => {
                    assert!(self.open.insert(slot, epoch).is_none(), "opened twice");
                }
                SlotChange::Close { slot, .. } => {
                    assert!(self.open.remove(&slot).is_some(), "closed what was not open");
                }
                _ => unreachable!("no other change"),
            }
        }
    }
}

async fn until(what: &str, within: Duration, mut holds: impl FnMut() -> bool) -> Duration {
    let began = tokio::time::Instant::now();
    while !holds() {
        assert!(began.elapsed() < within, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    began.elapsed()
}

#[tokio::test]
async fn every_slot_has_one_owner_and_finds_another_when_it_dies() {
    let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::new());
    let mut a = Pod::start(&registry, "a");
    let mut b = Pod::start(&registry, "b");
    until("all slots are open", Duration::from_secs(3), || {
        a.read();
        b.read();
        a.open.len() + b.open.len() == 4096
    })
    .await;
    assert!(a.open.keys().all(|slot| !b.open.contains_key(slot)));
    assert!(a.open.len() > 1000 && b.open.len() > 1000, "{} and {}", a.open.len(), b.open.len());

    let before = a.open.clone();
    a.task.abort();
    let took = until("the other takes over", Duration::from_secs(6), || {
        b.read();
        b.open.len() == 4096
    })
    .await;
    assert!(took > Duration::from_secs(1), "a lease outlives its owner: {took:?}");
    assert!(before.iter().all(|(slot, epoch)| b.open[slot] > *epoch), "epochs only grow");

    b.stop.cancel();
    (&mut b.task).await.unwrap();
    b.read();
    assert!(b.open.is_empty(), "whoever leaves closes first");
    let views = registry.watch();
    until("nothing is claimed any more", Duration::from_secs(1), || views.borrow().claims(Role::Chatroom).count() == 0)
        .await;
}

#[tokio::test]
async fn a_draining_process_hands_its_slots_to_the_others() {
    let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::new());
    let mut a = Pod::start(&registry, "a");
    let mut b = Pod::start(&registry, "b");
    until("all slots are open", Duration::from_secs(3), || {
        a.read();
        b.read();
        a.open.len() + b.open.len() == 4096
    })
    .await;
    a.handle.drain(None);
    until("the other has all", Duration::from_secs(30), || {
        a.read();
        b.read();
        a.open.is_empty() && b.open.len() == 4096
    })
    .await;
}

#[tokio::test]
async fn a_process_whose_role_hears_nothing_ends_and_others_take_its_slots() {
    let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::new());
    let deaf = Pod::with_room_for(1, &registry, "deaf");
    let handle = deaf.handle.clone();
    tokio::time::timeout(Duration::from_secs(10), deaf.task).await.expect("it ends by itself").unwrap();
    assert!(!handle.holds_rights(), "what was told may not be served either");
    let mut b = Pod::start(&registry, "b");
    until("the other has all", Duration::from_secs(10), || {
        b.read();
        b.open.len() == 4096
    })
    .await;
}
