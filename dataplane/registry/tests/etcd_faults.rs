//! What a real etcd does to its users: it dies, forgets, stalls, refuses, and is fought over.

#![allow(clippy::unwrap_used, reason = "helpers of tests, though not tests themselves")]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use etcd_client::{Client, PermissionType};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use support::etcd_server::EtcdServer;
use support::{holder, instance, known, made, member, rooms, seen, seen_within, take};
use throng_core::Role;
use throng_registry::{
    Change, Conflict, Credentials, Error, EtcdOptions, EtcdRegistry, Outcome, Own, Registry, Tls, View,
};
use tokio::sync::watch;

const PATIENCE: Duration = Duration::from_secs(15);

fn options(server: &EtcdServer) -> EtcdOptions {
    EtcdOptions { jitter_ms: 100, ..EtcdOptions::new(vec![server.url()], "test", "faults") }
}

/// A registry that has answered, and has incarnation 1.
async fn begun(options: EtcdOptions) -> (EtcdRegistry, watch::Receiver<Arc<View>>) {
    let registry = EtcdRegistry::new(options).unwrap();
    let mut views = registry.watch();
    seen_within(&mut views, PATIENCE, "a live view", |view| view.health.is_healthy()).await;
    assert_eq!(registry.create_incarnation(1).await, Ok(1));
    (registry, views)
}

#[tokio::test]
async fn killed_and_back_with_its_data_it_shows_the_same_claims_and_says_when_it_was_away() {
    let mut server = EtcdServer::start();
    let (registry, mut views) = begun(options(&server)).await;
    let lease = registry.grant(30_000).await.unwrap();
    let own = take(&registry, rooms(1), "c-0", lease.id, 1).await;
    seen(&mut views, "the claim", |view| view.claim(rooms(1)).is_some()).await;

    server.kill();
    let view = seen_within(&mut views, PATIENCE, "the outage", |view| !view.health.is_healthy()).await;
    assert!(view.claim(rooms(1)).is_some(), "the last view stays");
    let start = Instant::now();
    assert!(registry.keep_alive(lease, Duration::from_millis(300)).await.unwrap_err().is_temporary());
    assert!(registry.read_claims(&[rooms(1)]).await.unwrap_err().is_temporary());
    let refused = registry.claim(&[rooms(2)], &holder("c-0"), lease.id, 1).await;
    assert!(matches!(refused, Err(Error::Unavailable { .. })), "nothing was sent: {refused:?}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());

    server.run();
    let view = seen_within(&mut views, PATIENCE, "the return", |view| view.health.is_healthy()).await;
    assert_eq!(view.claim(rooms(1)).map(|claim| claim.mod_revision), Some(own.mod_revision));
    assert_eq!((view.claims(Role::Chatroom).count(), view.incarnation), (1, Some(1)));
    assert_eq!(registry.keep_alive(lease, Duration::from_secs(1)).await, Ok(lease.ttl_ms));
    made(&known(registry.bump(&[own], &holder("c-0"), 1).await.unwrap())[0]);
    seen(&mut views, "changes again", |view| view.revision > 1).await;
}

#[tokio::test]
async fn back_empty_it_shows_nothing_and_refuses_the_claims_of_before() {
    let mut server = EtcdServer::start();
    let (registry, mut views) = begun(options(&server)).await;
    let lease = registry.grant(30_000).await.unwrap();
    registry.put_member(Role::Chatroom, &instance("c-0"), lease.id, &member("c-0")).await.unwrap();
    let own = take(&registry, rooms(1), "c-0", lease.id, 1).await;
    let before = seen(&mut views, "the claim", |view| view.claim(rooms(1)).is_some()).await;

    server.kill();
    server.run_empty();
    let view = seen_within(&mut views, PATIENCE, "emptiness", |view| {
        view.health.is_healthy() && view.revision < before.revision
    })
    .await;
    assert_eq!((view.incarnation, view.members(Role::Chatroom).len()), (None, 0));
    assert_eq!(view.claims(Role::Chatroom).count(), 0);

    assert_eq!(registry.keep_alive(lease, Duration::from_secs(1)).await, Err(Error::LeaseGone(lease.id)));
    let conflict = Err(Error::Conflict(Conflict::Incarnation { expected: 1, found: None }));
    let new = registry.grant(30_000).await.unwrap();
    assert_eq!(registry.claim(&[rooms(1)], &holder("c-0"), new.id, 1).await, conflict);
    assert_eq!(registry.bump(std::slice::from_ref(&own), &holder("c-0"), 1).await, conflict);

    registry.create_incarnation(2).await.unwrap();
    let again = take(&registry, rooms(1), "c-0", new.id, 2).await;
    assert!(again.mod_revision < 1 << 40);
    let view = seen(&mut views, "the new claim", |view| view.claim(rooms(1)).is_some()).await;
    let epoch = view.routes().rooms.owner(throng_core::Slot::new(1).unwrap()).unwrap().epoch;
    assert!(epoch > before.epoch(before.claim(rooms(1)).unwrap()).unwrap(), "epochs grow past an emptied etcd");
}

#[tokio::test]
async fn stalled_calls_end_in_time_and_a_write_has_an_unknown_outcome_that_can_be_read_back() {
    let server = EtcdServer::start();
    let (registry, mut views) = begun(EtcdOptions { call_ms: 500, ..options(&server) }).await;
    let lease = registry.grant(30_000).await.unwrap();
    let own = take(&registry, rooms(1), "c-0", lease.id, 1).await;
    seen(&mut views, "the claim", |view| view.claim(rooms(1)).is_some()).await;

    server.pause();
    let start = Instant::now();
    assert_eq!(registry.claim(&[rooms(2)], &holder("c-0"), lease.id, 1).await, Ok(Outcome::Unknown));
    assert!(registry.read_claims(&[rooms(2)]).await.unwrap_err().is_temporary());
    assert!(registry.keep_alive(lease, Duration::from_millis(200)).await.unwrap_err().is_temporary());
    assert!(start.elapsed() < Duration::from_millis(1900), "{:?}", start.elapsed());
    let moved = registry.move_claim(&own, &holder("c-1"), lease.id, 1).await;
    assert!(matches!(moved, Ok(Outcome::Unknown) | Err(Error::Unavailable { .. })), "{moved:?}");
    seen_within(&mut views, PATIENCE, "the silence", |view| !view.health.is_healthy()).await;
    tokio::time::sleep(Duration::from_secs(3).saturating_sub(start.elapsed())).await;
    server.resume();

    seen_within(&mut views, PATIENCE, "the return", |view| view.health.is_healthy()).await;
    let read = registry.read_claims(&[rooms(1), rooms(2)]).await.unwrap();
    let [Some(first), second] = read.claims.as_slice() else { panic!("{read:?}") };
    // Either may have come into force. A bump settles it: whatever still travels compares an old revision.
    let settled = Own { mod_revision: first.mod_revision, ..own.clone() };
    let bumped = made(&known(registry.bump(&[settled], &first.holder, 1).await.unwrap())[0]);
    let late = known(registry.move_claim(&own, &holder("c-1"), lease.id, 1).await.unwrap());
    assert!(matches!(late, Change::Lost { now: Some(claim) } if claim.mod_revision == bumped));
    if let Some(second) = second {
        assert_eq!((&*second.holder, second.lease), (&holder("c-0"), lease.id));
    }
}

#[tokio::test]
async fn one_dead_endpoint_of_two_is_no_outage() {
    let (dead, server) = (EtcdServer::start(), EtcdServer::start());
    let endpoints = vec![dead.url(), server.url()];
    drop(dead);
    let (registry, _views) = begun(EtcdOptions { endpoints, ..options(&server) }).await;
    for _ in 0..30 {
        assert_eq!(registry.incarnation().await, Ok(Some(1)));
    }
}

#[tokio::test]
async fn a_process_may_start_before_its_etcd() {
    let mut server = EtcdServer::not_yet();
    let registry = EtcdRegistry::new(options(&server)).unwrap();
    let mut views = registry.watch();
    assert!(registry.grant(3000).await.unwrap_err().is_temporary());
    assert!(!views.borrow().health.is_healthy());
    server.run();
    seen_within(&mut views, PATIENCE, "a live view", |view| view.health.is_healthy()).await;
    registry.grant(3000).await.unwrap();
}

/// Authentication with a user that may touch one cluster only.
async fn with_users(server: &EtcdServer) {
    let mut root = Client::connect([server.url()], None).await.unwrap();
    for (user, role) in [("root", "root"), ("throng", "faults")] {
        root.user_add(user, format!("{user}-password"), None).await.unwrap();
        root.role_add(role).await.unwrap();
        root.user_grant_role(user, role).await.unwrap();
    }
    let range = etcd_client::Permission::new(PermissionType::Readwrite, "test/faults/").with_prefix();
    root.role_grant_permission("faults", range).await.unwrap();
    root.auth_enable().await.unwrap();
}

#[tokio::test]
async fn a_refusal_says_what_to_do_and_the_right_user_may_do_everything_under_its_prefix() {
    let server = EtcdServer::start();
    with_users(&server).await;
    let with = |password: &str, cluster: &str| {
        let credentials = Credentials::Given { user: "throng".into(), password: password.into() };
        let options = EtcdOptions { credentials: Some(credentials), cluster: cluster.into(), ..options(&server) };
        EtcdRegistry::new(options).unwrap()
    };
    let advice = |error: Result<Option<u64>, Error>| match error {
        Err(Error::Refused { reason }) => reason,
        other => panic!("{other:?}"),
    };
    assert!(advice(EtcdRegistry::new(options(&server)).unwrap().incarnation().await).contains("configure a user"));
    assert!(advice(with("wrong", "faults").incarnation().await).contains("check etcd's user"));
    assert!(advice(with("throng-password", "other").incarnation().await).contains("grant etcd's user a role"));

    let mine = with("throng-password", "faults");
    let mut views = mine.watch();
    mine.create_incarnation(1).await.unwrap();
    let lease = mine.grant(30_000).await.unwrap();
    mine.put_member(Role::Chatroom, &instance("c-0"), lease.id, &member("c-0")).await.unwrap();
    let own = take(&mine, rooms(1), "c-0", lease.id, 1).await;
    assert_eq!(mine.keep_alive(lease, Duration::from_secs(1)).await, Ok(lease.ttl_ms));
    seen_within(&mut views, PATIENCE, "the claim", |view| view.claim(rooms(1)).is_some()).await;
    made(&known(mine.give_up(&[own]).await.unwrap())[0]);
    mine.revoke(lease.id).await.unwrap();
}

#[tokio::test]
async fn a_rotated_password_is_found_in_its_file() {
    let server = EtcdServer::start();
    with_users(&server).await;
    let file = |name: &str, text: &str| {
        let path = server.dir().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (user, password) = (file("user", "throng\n"), file("password", "not yet\n"));
    let credentials = Some(Credentials::Files { user, password });
    let registry = EtcdRegistry::new(EtcdOptions { credentials, ..options(&server) }).unwrap();
    let mut views = registry.watch();
    assert!(matches!(registry.incarnation().await, Err(Error::Refused { .. })));
    file("password", "throng-password\n");
    assert_eq!(registry.incarnation().await, Ok(None));
    seen_within(&mut views, PATIENCE, "a live view", |view| view.health.is_healthy()).await;
}

/// An authority, and what it signed for 127.0.0.1, as files beside the server.
struct Authority {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(dir: &Path, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let dir = dir.join(name);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { dir, issuer: Issuer::new(params, key) }
    }

    fn ca(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    fn sign(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let (certificate, private) = (self.dir.join(format!("{name}.pem")), self.dir.join(format!("{name}.key")));
        std::fs::write(&certificate, params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        std::fs::write(&private, key.serialize_pem()).unwrap();
        (certificate, private)
    }
}

#[tokio::test]
async fn over_tls_both_sides_show_who_they_are_and_a_stranger_is_named_as_such() {
    let mut server = EtcdServer::not_yet();
    let authority = Authority::new(server.dir(), "house");
    let (certificate, key) = authority.sign("etcd");
    server.give(&[
        format!("--cert-file={}", certificate.display()),
        format!("--key-file={}", key.display()),
        format!("--trusted-ca-file={}", authority.ca().display()),
        "--client-cert-auth".to_owned(),
    ]);
    server.run();
    let trusting = |ca: Option<std::path::PathBuf>, identity: Option<(std::path::PathBuf, std::path::PathBuf)>| {
        let identity = identity.map(|(certificate, key)| (certificate.into(), key.into()));
        let tls = Some(Tls { ca: ca.map(Into::into), identity, domain: None });
        EtcdRegistry::new(EtcdOptions { tls, ..options(&server) }).unwrap()
    };
    let registry = trusting(Some(authority.ca()), Some(authority.sign("throng")));
    let mut views = registry.watch();
    seen_within(&mut views, PATIENCE, "a live view", |view| view.health.is_healthy()).await;
    assert_eq!(registry.create_incarnation(1).await, Ok(1));

    let nameless = trusting(Some(authority.ca()), None);
    assert!(nameless.incarnation().await.is_err(), "etcd asks for a certificate");
    let stranger = Authority::new(server.dir(), "stranger");
    let wary = trusting(Some(stranger.ca()), Some(authority.sign("again")));
    assert!(matches!(wary.incarnation().await, Err(Error::Refused { reason }) if reason.contains("does not trust")));
    let of_the_system = trusting(None, Some(authority.sign("third")));
    let said = of_the_system.incarnation().await;
    assert!(matches!(&said, Err(Error::Refused { reason }) if reason.contains("does not trust")), "{said:?}");
    let missing = trusting(Some(server.dir().join("missing.pem")), None);
    assert!(matches!(missing.incarnation().await, Err(Error::Refused { reason }) if reason.contains("missing.pem")));
}

const ROUNDS: u16 = 8;

/// Run by the race below, twice, each in a process of its own: claims what it can and prints what it won.
#[tokio::test]
async fn racer() {
    let (Ok(url), Ok(name)) = (std::env::var("RACE_URL"), std::env::var("RACE_NAME")) else { return };
    let registry = EtcdRegistry::new(EtcdOptions::new(vec![url], "test", "race")).unwrap();
    let mut views = registry.watch();
    let lease = registry.grant(60_000).await.unwrap();
    registry.put_member(Role::Chatroom, &instance(&name), lease.id, &member(&name)).await.unwrap();
    seen_within(&mut views, Duration::from_secs(20), "both racers", |view| view.members(Role::Chatroom).len() == 2)
        .await;
    // The test harness may have begun a line.
    println!();
    for round in 0..ROUNDS {
        let mut keys: Vec<_> = (round * 64..(round + 1) * 64).map(rooms).collect();
        if name == "b" {
            keys.reverse();
        }
        // Whole batches are won or lost whole; small ones in opposite order meet in the middle.
        for keys in keys.chunks(if round % 2 == 0 { 64 } else { 4 }) {
            let changes = known(registry.claim(keys, &holder(&name), lease.id, 1).await.unwrap());
            for (key, change) in keys.iter().zip(changes) {
                match (key, change) {
                    (throng_registry::ClaimKey::Rooms(slot), Change::Made { .. }) => println!("won {slot}"),
                    (_, Change::Lost { now }) => assert_ne!(now.unwrap().holder.instance, instance(&name)),
                    (key, change) => panic!("{key:?} {change:?}"),
                }
            }
        }
    }
}

#[tokio::test]
async fn of_two_processes_that_race_for_64_claims_exactly_one_wins_each() {
    let server = EtcdServer::start();
    let (judge, _views) = begun(EtcdOptions::new(vec![server.url()], "test", "race")).await;
    let start = |name: &str| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "racer", "--nocapture"])
            .env("RACE_URL", server.url())
            .env("RACE_NAME", name)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let racers = [start("a"), start("b")];
    let mut won: Vec<(u16, &str)> = Vec::new();
    for (racer, name) in racers.into_iter().zip(["a", "b"]) {
        let output = tokio::task::spawn_blocking(|| racer.wait_with_output().unwrap()).await.unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        won.extend(text.lines().filter_map(|line| Some((line.strip_prefix("won ")?.parse().ok()?, name))));
    }
    won.sort_unstable();
    let slots: Vec<_> = won.iter().map(|(slot, _)| *slot).collect();
    assert_eq!(slots, (0..ROUNDS * 64).collect::<Vec<_>>(), "each slot has exactly one winner");
    for batch in won.chunks(64) {
        let keys: Vec<_> = batch.iter().map(|(slot, _)| rooms(*slot)).collect();
        let read = judge.read_claims(&keys).await.unwrap();
        for ((_, name), claim) in batch.iter().zip(read.claims) {
            assert_eq!(claim.unwrap().holder.instance, instance(name), "who was told so holds it");
        }
    }
}

#[tokio::test]
async fn what_is_erased_is_all_of_one_cluster_and_nothing_of_the_next() {
    let server = EtcdServer::start();
    let (gone, _views) = begun(EtcdOptions::new(vec![server.url()], "test", "one")).await;
    let (stays, _others) = begun(EtcdOptions::new(vec![server.url()], "test", "one-more")).await;
    assert_eq!(gone.erase(PATIENCE).await, Ok(1));
    assert_eq!(gone.erase(PATIENCE).await, Ok(0));
    assert_eq!(stays.erase(PATIENCE).await, Ok(1), "another cluster whose name begins alike has kept its key");
    drop(server);
    assert!(gone.erase(Duration::from_millis(200)).await.unwrap_err().is_temporary());
}
