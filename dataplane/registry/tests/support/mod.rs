//! What the tests of the registry share.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, though not tests themselves"
)]

pub mod cases;
pub mod etcd_server;

use std::sync::Arc;
use std::time::Duration;

use throng_core::{InstanceId, Millis, Slot};
use throng_registry::{Change, Claim, ClaimKey, Holder, LeaseId, Member, Outcome, Own, Registry, View};
use tokio::sync::watch;

pub fn instance(name: &str) -> InstanceId {
    InstanceId::new(name).unwrap()
}

pub fn holder(name: &str) -> Holder {
    Holder { instance: instance(name), address: format!("{name}:7000").into(), revision: "r1".into() }
}

pub fn member(name: &str) -> Member {
    Member {
        pod: name.into(),
        uid: format!("uid-{name}").into(),
        address: format!("{name}:7000").into(),
        http_address: format!("{name}:8080").into(),
        revision: "r1".into(),
        draining: false,
        redis_ok: true,
        ready: true,
        started_ms: Millis(1_795_289_705_306),
    }
}

pub fn rooms(slot: u16) -> ClaimKey {
    ClaimKey::Rooms(Slot::new(slot).unwrap())
}

pub fn users(slot: u16) -> ClaimKey {
    ClaimKey::Users(Slot::new(slot).unwrap())
}

/// The answer of a write that must have one.
pub fn known<T>(outcome: Outcome<T>) -> T {
    match outcome {
        Outcome::Known(answer) => answer,
        Outcome::Unknown => panic!("the registry is healthy and did not answer"),
    }
}

/// The revision of a write that must have been made.
pub fn made(change: &Change) -> u64 {
    match change {
        Change::Made { mod_revision } => *mod_revision,
        Change::Lost { now } => panic!("not made, it is {now:?}"),
    }
}

/// Who has it instead.
pub fn lost(change: &Change) -> Option<&Claim> {
    match change {
        Change::Made { mod_revision } => panic!("made at {mod_revision}"),
        Change::Lost { now } => now.as_ref(),
    }
}

/// Claims one key that must be free.
pub async fn take(registry: &dyn Registry, key: ClaimKey, owner: &str, lease: LeaseId, incarnation: u64) -> Own {
    let changes = registry.claim(std::slice::from_ref(&key), &holder(owner), lease, incarnation).await.unwrap();
    Own { key, mod_revision: made(&known(changes)[0]), lease }
}

/// Waits for a view that shows something, no longer than `within`.
pub async fn seen_within(
    views: &mut watch::Receiver<Arc<View>>,
    within: Duration,
    what: &str,
    mut shows: impl FnMut(&View) -> bool,
) -> Arc<View> {
    let found = tokio::time::timeout(within, views.wait_for(|view| shows(view))).await;
    let found = found.ok().map(|view| Arc::clone(&view.unwrap()));
    found.unwrap_or_else(|| {
        let last = Arc::clone(&views.borrow());
        panic!("{what}: not seen within {within:?}; the last view is {:?} at revision {}", last.health, last.revision)
    })
}

/// Waits for a view that shows something, for a while.
pub async fn seen(views: &mut watch::Receiver<Arc<View>>, what: &str, shows: impl FnMut(&View) -> bool) -> Arc<View> {
    seen_within(views, Duration::from_secs(5), what, shows).await
}
