//! A gateway's registry at the other end of a pipe.
#![allow(clippy::unwrap_used, reason = "helpers of tests, though not tests themselves")]

mod support;

use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use support::{holder, instance, known, member, rooms, seen, take, users};
use throng_core::{Role, Slot};
use throng_registry::{Error, MemoryRegistry, PipedRegistry, Policy, Registry, View, feed};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;

/// All that a view can hold.
async fn full() -> MemoryRegistry {
    let registry = MemoryRegistry::new();
    registry.create_incarnation(3).await.unwrap();
    let leader_epoch = registry.next_leader_epoch(0).await.unwrap();
    registry.put_policy(&Policy { leader_epoch, version: 1, ..Policy::default() }, None).await.unwrap();
    let lease = registry.grant(60_000).await.unwrap();
    for (role, name) in [(Role::Gateway, "g-0"), (Role::Chatroom, "c-0"), (Role::Message, "m-0")] {
        registry.put_member(role, &instance(name), lease.id, &member(name)).await.unwrap();
    }
    for (batch, slots) in Slot::all().map(Slot::number).collect::<Vec<_>>().chunks(64).enumerate() {
        let owner = holder(if batch % 2 == 0 { "c-0" } else { "c-1" });
        let keys: Vec<_> = slots.iter().copied().map(rooms).collect();
        known(registry.claim(&keys, &owner, lease.id, 3).await.unwrap());
    }
    take(&registry, users(9), "m-0", lease.id, 3).await;
    registry
}

fn all_of(view: &View) -> bool {
    view.claims(Role::Chatroom).count() == 4096 && view.claims(Role::Message).count() == 1
}

#[tokio::test]
async fn the_child_sees_what_the_parent_sees_and_every_change_of_it() {
    let registry = full().await;
    let mut there = registry.watch();
    let parent = seen(&mut there, "everything", all_of).await;
    let (sender, receiver) = pipe::pipe().unwrap();
    let child = PipedRegistry::new(receiver);
    let mut here = child.watch();
    assert!(!here.borrow().health.is_healthy());
    let feeding = tokio::spawn(feed(there, sender));

    let view = seen(&mut here, "everything", all_of).await;
    assert_eq!(*view, *parent);
    assert_eq!(view.routes(), parent.routes());
    assert_eq!(child.incarnation().await, Ok(Some(3)));

    let lease = parent.members(Role::Gateway)[&instance("g-0")].lease;
    registry.revoke(lease).await.unwrap();
    seen(&mut here, "the end of all leases", |view| view.routes().rooms.iter().count() == 0).await;
    registry.set_away(true);
    seen(&mut here, "the outage", |view| !view.health.is_healthy()).await;
    registry.set_away(false);
    seen(&mut here, "the return", |view| view.health.is_healthy()).await;

    drop(registry);
    feeding.await.unwrap().unwrap();
    tokio::time::timeout(Duration::from_secs(5), child.closed()).await.unwrap();
    assert!(!here.borrow().health.is_healthy());
    assert!(child.keep_alive(child.grant(1000).await.unwrap(), Duration::from_secs(1)).await.is_err());
}

#[tokio::test]
async fn a_gateway_pretends_its_lease_and_may_claim_nothing() {
    let (_sender, receiver) = pipe::pipe().unwrap();
    let child: Arc<dyn Registry> = Arc::new(PipedRegistry::new(receiver));
    let lease = child.grant(3000).await.unwrap();
    assert_ne!(lease.id, child.grant(3000).await.unwrap().id);
    assert_eq!(child.keep_alive(lease, Duration::from_secs(1)).await, Ok(3000));
    child.put_member(Role::Gateway, &instance("g-0"), lease.id, &member("g-0")).await.unwrap();
    let refused = child.claim(&[rooms(1)], &holder("g-0"), lease.id, 1).await;
    assert!(matches!(refused, Err(Error::Refused { .. })));
    assert!(matches!(child.read_claims(&[rooms(1)]).await, Err(Error::Refused { .. })));
    assert!(matches!(child.next_leader_epoch(0).await, Err(Error::Refused { .. })));
    child.revoke(lease.id).await.unwrap();
}

#[tokio::test]
async fn a_line_that_cannot_be_read_leaves_the_last_view_marked_stale() {
    let registry = full().await;
    let mut there = registry.watch();
    seen(&mut there, "everything", all_of).await;
    let (mut sender, receiver) = tokio::io::duplex(1 << 16);
    let child = PipedRegistry::new(receiver);
    let mut here = child.watch();
    let mut line = Vec::new();
    let fed = tokio::time::timeout(Duration::from_millis(200), feed(there, &mut line)).await;
    assert!(fed.is_err(), "it feeds on as long as there may be changes");
    sender.write_all(&line).await.unwrap();
    seen(&mut here, "everything", |view| view.health.is_healthy() && all_of(view)).await;
    sender.write_all(b"{\"revision\":\n").await.unwrap();
    seen(&mut here, "doubt", |view| !view.health.is_healthy() && all_of(view)).await;
    sender.write_all(&line).await.unwrap();
    seen(&mut here, "everything again", |view| view.health.is_healthy()).await;
    drop(sender);
    child.closed().await;
}

#[tokio::test]
async fn a_child_that_went_away_ends_the_feeding() {
    let registry = MemoryRegistry::new();
    let (sender, receiver) = pipe::pipe().unwrap();
    drop(receiver);
    assert!(feed(registry.watch(), sender).await.is_err());
}

/// Run by the next test as a process of its own: lives on what it is fed.
#[tokio::test]
async fn fed_child() {
    if std::env::var("FED").is_err() {
        return;
    }
    let child = PipedRegistry::from_stdin().unwrap();
    let view = seen(&mut child.watch(), "everything", all_of).await;
    // The test harness may have begun a line.
    println!("\nowners {}", view.routes().rooms.iter().count());
    child.closed().await;
    println!("closed");
}

#[tokio::test]
async fn a_child_process_is_fed_by_its_standard_input_and_ends_with_it() {
    let registry = full().await;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "fed_child", "--nocapture"])
        .env("FED", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdin = pipe::Sender::from_owned_fd(OwnedFd::from(child.stdin.take().unwrap())).unwrap();
    let feeding = tokio::spawn(feed(registry.watch(), stdin));
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let said = tokio::task::spawn_blocking(move || (said.any(|line| line == "owners 4096"), said)).await.unwrap();
    let (true, said) = said else { panic!("the child ended without a view") };
    drop(registry);
    feeding.await.unwrap().unwrap();
    assert!(tokio::task::spawn_blocking(move || said.filter(|line| line == "closed").count() == 1).await.unwrap());
    assert!(child.wait().unwrap().success());
}
