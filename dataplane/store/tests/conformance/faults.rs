//! What only a real Redis can do wrong.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use throng_core::{Epoch, Lane, UserId};
use throng_store::{
    AnySlot, Batch, Kind, List, Raised, RedisMode, RedisOptions, RedisStore, Renewal, Store, StoreError, Write, Written,
};

use crate::servers::{RedisCluster, RedisServer};
use crate::suite::{append, message, room, slot, write};
use crate::worlds::{GRACE_MS, connected, instance, options};

async fn open(options: RedisOptions) -> Arc<dyn Store> {
    connected(options).await
}

fn mute(name: &str) -> Write {
    Write::SetEntry {
        room: room(),
        list: List::Mute,
        user: UserId::new(name).unwrap(),
        until_ms: throng_core::Millis(0),
    }
}

#[tokio::test]
async fn a_full_redis_says_so_while_ownership_and_deletions_go_on() {
    let server = RedisServer::start(&["--maxmemory", "8mb"]);
    let mut settings = options(&server, "full");
    settings.limits.lossless_bytes = 1 << 30;
    let store = open(settings).await;
    store.create_grace(vec![]).await.unwrap();
    write(&store, 1, vec![mute("bob")]).await.unwrap();
    let data = "x".repeat(30_000);
    let mut full = None;
    for seq in 1..1_000 {
        match write(&store, 1, vec![append(1, message(Lane::Control, seq, 1, &data))]).await {
            Ok(_) => {}
            Err(error) => {
                full = Some(error);
                break;
            }
        }
    }
    assert!(matches!(full, Some(StoreError::Full { .. })), "{full:?}");
    let any = AnySlot::Room(slot());
    assert_eq!(store.raise_fence(any, Epoch(2), None).await, Ok(Raised::Mine { previous: None }));
    assert_eq!(store.create_grace(vec![(any, Epoch(2))]).await.unwrap().stale, []);
    assert_eq!(store.renew_grace().await, Ok(Renewal::Renewed { revoked: vec![] }));
    store.revoke(instance("z"), any, Epoch(2)).await.unwrap();
    assert_eq!(store.raise_incarnation(4).await, Ok(4));
    let remove = Write::RemoveEntry { room: room(), list: List::Mute, user: UserId::new("bob").unwrap() };
    write(&store, 2, vec![remove, Write::DeleteRoom { room: room() }]).await.unwrap();
    // Redis gives the memory back in the background.
    let until = Instant::now() + Duration::from_secs(5);
    while write(&store, 2, vec![mute("bob")]).await.is_err() {
        assert!(Instant::now() < until, "still full");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_call_that_arrives_after_a_later_one_changes_nothing() {
    let server = RedisServer::start(&[]);
    let store = open(options(&server, "late")).await;
    let until = |store: Arc<dyn Store>| async move { store.load(room(), 0).await.unwrap().unwrap().lists };
    write(&store, 5, vec![mute("bob")]).await.unwrap();
    let before = until(store.clone()).await;
    // What the first attempt of an earlier batch would have sent, had it been stuck on a connection given up since.
    let library = format!("{:?}", server.command(&["FUNCTION", "LIST"]));
    let library = &library.split("throng_").nth(1).unwrap()[..8];
    let slot_tag = format!("test/late/{{r:{}}}", slot());
    let (fence, lists) = (format!("{slot_tag}:fence"), format!("{slot_tag}:lists:final"));
    let late = |number: &str| {
        let function = format!("throng_{library}_write");
        let call =
            ["FCALL", &function, "2", &fence, &lists, "5", number, "1", "1", "1", "1", "remove_entry", "2", "mute/bob"];
        server.command(&call)
    };
    let word = |text: &str| redis::Value::Array(vec![redis::Value::BulkString(text.into())]);
    assert_eq!(late("0"), word("LATE"));
    assert_eq!(until(store.clone()).await, before);
    assert_ne!(late("1000"), word("LATE"));
    // The handle's own numbers are behind now; it says so instead of dropping writes in silence.
    let overtaken = write(&store, 5, vec![mute("bob")]).await;
    assert!(matches!(overtaken, Err(StoreError::Unavailable { .. })), "{overtaken:?}");
}

#[tokio::test]
async fn an_emptied_redis_is_young_and_tells_the_writer() {
    let server = RedisServer::start(&[]);
    let store = open(options(&server, "emptied")).await;
    store.birth().await.unwrap();
    store.create_grace(vec![(AnySlot::Room(slot()), Epoch(1))]).await.unwrap();
    assert!(write(&store, 1, vec![mute("bob")]).await.unwrap().emptied);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(store.birth().await.unwrap().age_ms >= 300);
    server.command(&["FLUSHALL"]);
    assert_eq!(store.birth().await.unwrap().age_ms, 0);
    assert_eq!(store.renew_grace().await, Ok(Renewal::Missing));
    assert_eq!(store.fence(AnySlot::Room(slot())).await, Ok(None));
    assert!(write(&store, 1, vec![mute("bob")]).await.unwrap().emptied);
    assert!(!write(&store, 1, vec![mute("bob")]).await.unwrap().emptied);
}

#[tokio::test]
async fn a_restarted_redis_is_found_again() {
    // With `everysec` an answer may be ahead of the file for two seconds, while a slow disk is still busy with the last sync.
    let mut server = RedisServer::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let store = open(options(&server, "restarted")).await;
    write(&store, 1, vec![mute("bob")]).await.unwrap();
    server.kill();
    let gone = write(&store, 1, vec![mute("eve")]).await;
    assert!(matches!(gone, Err(StoreError::Unavailable { .. })), "{gone:?}");
    assert!(matches!(store.ping().await, Err(StoreError::Unavailable { .. })));
    server.run().unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    while store.ping().await.is_err() {
        assert!(Instant::now() < until);
    }
    let written = write(&store, 1, vec![mute("eve")]).await;
    assert_eq!(written, Ok(Written { emptied: false, confirmed: true }), "the file was kept");
    assert_eq!(store.load(room(), 0).await.unwrap().unwrap().lists.len(), 2);
}

#[tokio::test]
async fn functions_that_were_lost_are_loaded_again() {
    let server = RedisServer::start(&[]);
    let store = open(options(&server, "functions")).await;
    server.command(&["FUNCTION", "FLUSH"]);
    write(&store, 1, vec![mute("bob")]).await.unwrap();
    server.command(&["FUNCTION", "FLUSH"]);
    assert_eq!(store.renew_grace().await, Ok(Renewal::Missing));
}

#[tokio::test]
async fn a_store_that_would_throw_rooms_away_is_refused() {
    let server = RedisServer::start(&["--maxmemory", "10mb", "--maxmemory-policy", "allkeys-lru"]);
    let store = RedisStore::open(options(&server, "evicting")).unwrap();
    let refused = store.ready(Duration::from_secs(5)).await.unwrap_err();
    assert!(matches!(&refused, StoreError::Refused { reason } if reason.contains("noeviction")), "{refused}");
    let refused = store.write(slot(), Epoch(1), Batch::default()).await;
    assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_store_without_its_file_warns() {
    let server = RedisServer::start(&[]);
    let description = open(options(&server, "volatile")).await.description();
    assert_eq!((description.kind, description.durable), (Kind::Redis, false));
    assert!(description.warnings[0].contains("appendonly yes"), "{description:?}");
}

/// The commands that docs/configuration.md asks for, as they stand there: the user of the test has these and no other.
fn documented_rights() -> String {
    let page = include_str!("../../../../docs/configuration.md");
    let asked = page.split("and the commands `").nth(1).and_then(|rest| rest.split('`').next()).unwrap();
    assert!(asked.split_whitespace().all(|right| right.starts_with('+')), "{asked}");
    asked.to_owned()
}

/// Every command that the library calls, and every one that is sent beside it, must be among the rights: a case that no
/// test comes to would be refused in somebody's cluster.
#[test]
fn the_documents_ask_for_every_command_that_is_used() {
    let rights = documented_rights();
    let rights: Vec<&str> = rights.split_whitespace().filter_map(|right| right.strip_prefix('+')).collect();
    let library = include_str!("../../src/redis/functions.lua");
    let called = library.split("call('").skip(1).filter_map(|rest| rest.split('\'').next()).map(str::to_lowercase);
    let called: std::collections::BTreeSet<String> = called.collect();
    assert!(called.len() > 10, "{called:?}");
    for command in &called {
        assert!(rights.contains(&command.as_str()), "docs/configuration.md does not ask for +{command}");
    }
}

#[tokio::test]
async fn users_of_the_acl_get_in_and_others_are_told_why_not() {
    let server = RedisServer::start(&[]);
    let mut acl = vec!["ACL", "SETUSER", "throng", "on", ">s3cret", "~test/acl/*", "resetchannels", "-@all"];
    let rights = documented_rights();
    acl.extend(rights.split_whitespace());
    server.command(&acl);
    server.command(&["ACL", "SETUSER", "default", "off"]);
    let mut settings = options(&server, "acl");
    let credentials = |password| throng_store::redis::Credentials {
        username: Some("throng".into()),
        password: Some(throng_store::redis::Secret::new(password)),
    };
    settings.credentials = Some(credentials("wrong"));
    let stranger = RedisStore::open(settings.clone()).unwrap();
    let refused = stranger.ready(Duration::from_secs(5)).await.unwrap_err();
    assert!(matches!(&refused, StoreError::Refused { reason } if reason.contains("password")), "{refused}");
    assert!(!refused.to_string().contains("wrong"));
    // The secret is mended while the process runs.
    stranger.replace_credentials(&credentials("s3cret"));
    let store: Arc<dyn Store> = Arc::new(stranger);
    let until = Instant::now() + Duration::from_secs(1);
    while store.ping().await.is_err() || store.rooms(slot()).await.is_err() {
        assert!(Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    write(&store, 1, vec![mute("bob"), append(1, message(Lane::Control, 1, 1, "1"))]).await.unwrap();
    assert_eq!(store.load(room(), 9).await.unwrap().unwrap().tail.len(), 1);
    store.create_grace(vec![(AnySlot::Room(slot()), Epoch(1))]).await.unwrap();
    store.birth().await.unwrap();
    let elsewhere = RedisStore::open(RedisOptions {
        cluster: "other".into(),
        credentials: Some(credentials("s3cret")),
        ..settings
    });
    let elsewhere = elsewhere.unwrap().incarnation().await;
    assert!(matches!(elsewhere, Err(StoreError::Refused { .. })), "{elsewhere:?}");
}

#[tokio::test]
async fn a_rotated_password_is_used_when_it_is_needed_and_a_connection_that_works_goes_on() {
    let server = RedisServer::start(&[]);
    server.command(&["ACL", "SETUSER", "throng", "on", ">old", "~*", "resetchannels", "+@all"]);
    let credentials = |password: &str| throng_store::redis::Credentials {
        username: Some("throng".into()),
        password: Some(throng_store::redis::Secret::new(password)),
    };
    let mut settings = options(&server, "rotated");
    settings.credentials = Some(credentials("old"));
    let store = RedisStore::open(settings).unwrap();
    store.ready(Duration::from_secs(5)).await.unwrap();
    let count = || {
        let list: String = redis::from_redis_value(server.command(&["CLIENT", "LIST"])).unwrap();
        list.lines().filter(|line| line.contains("user=throng")).count()
    };
    let connections = count();
    // The Secret is changed before Redis knows of it: nobody notices.
    store.replace_credentials(&credentials("new"));
    for _ in 0..5 {
        store.ping().await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(count(), connections);
    // Redis takes the new one only, and ends what was connected with the old one.
    server.command(&["ACL", "SETUSER", "throng", ">new", "<old"]);
    server.command(&["CLIENT", "KILL", "USER", "throng"]);
    let until = Instant::now() + Duration::from_secs(5);
    while store.ping().await.is_err() {
        assert!(Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // A user whose rights are taken and given back under another password is let in again, too.
    store.replace_credentials(&credentials("newest"));
    server.command(&["ACL", "SETUSER", "throng", "reset", "on", ">newest", "~*", "resetchannels", "-@all"]);
    let refused = store.ping().await.unwrap_err();
    assert!(matches!(&refused, StoreError::Refused { .. }), "{refused}");
    server.command(&["ACL", "SETUSER", "throng", "+@all"]);
    let until = Instant::now() + Duration::from_secs(5);
    while store.ping().await.is_err() {
        assert!(Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn addresses_that_make_no_sense_are_refused_without_repeating_the_password() {
    let options = |url: &str| RedisOptions::standalone(url, "n", "c", instance("a"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    for url in ["http://h", "nonsense s3cret", ""] {
        let refused = RedisStore::open(options(url)).err().unwrap();
        assert!(matches!(refused, StoreError::Refused { .. }), "{refused}");
        assert!(!refused.to_string().contains("s3cret"), "{refused}");
    }
    assert!(RedisStore::open(RedisOptions { urls: vec![], ..options("redis://h") }).is_err());
    let half = vec!["redis://:s3cret@h".to_owned(), "rediss://:s3cret@h".to_owned()];
    assert!(RedisStore::open(RedisOptions { urls: half, ..options("redis://h") }).is_err());
    let mode = RedisMode::Sentinel { primary: "p".into() };
    assert!(RedisStore::open(RedisOptions { mode, ..options("rediss://h") }).is_err());
    assert!(RedisStore::open(RedisOptions { cluster: "a{b".into(), ..options("redis://h") }).is_err());
}

async fn in_sync(replica: &RedisServer) {
    let up = || {
        let info: String = redis::from_redis_value(replica.command(&["INFO", "replication"])).unwrap();
        info.contains("master_link_status:up")
    };
    let until = Instant::now() + Duration::from_secs(10);
    while !up() {
        assert!(Instant::now() < until, "the replica does not follow");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_confirmed_batch_is_on_the_replica() {
    let primary = RedisServer::start(&["--repl-diskless-sync-delay", "0"]);
    let replica = RedisServer::start(&["--replicaof", "127.0.0.1", &primary.port.to_string()]);
    in_sync(&replica).await;
    let store = open(RedisOptions { wait_replicas: 1, wait_ms: 1_500, ..options(&primary, "replicas") }).await;
    let batch = |seq| Batch { writes: vec![append(1, message(Lane::Control, seq, 1, "1"))], confirm: true };
    let confirmed = store.write(slot(), Epoch(1), batch(1)).await.unwrap();
    assert!(confirmed.confirmed);
    let fence = format!("test/replicas/{{r:{}}}:fence", slot());
    assert_ne!(replica.command(&["GET", &fence]), redis::Value::Nil);
    drop(replica);
    let alone = store.write(slot(), Epoch(1), batch(2)).await.unwrap();
    assert!(!alone.confirmed);
    // The next ones do not wait in vain; ownership goes on.
    let started = Instant::now();
    for seq in 3..10 {
        assert!(!store.write(slot(), Epoch(1), batch(seq)).await.unwrap().confirmed);
    }
    assert!(started.elapsed() < Duration::from_millis(1_500));
    store.raise_fence(AnySlot::Room(slot()), Epoch(2), None).await.unwrap();
}

#[tokio::test]
async fn sentinel_names_the_primary_and_a_failover_is_followed() {
    let primary = RedisServer::start(&["--repl-diskless-sync-delay", "0"]);
    let replica = RedisServer::start(&["--replicaof", "127.0.0.1", &primary.port.to_string()]);
    in_sync(&replica).await;
    let sentinel = RedisServer::sentinel("rooms", &primary);
    let mut settings = options(&primary, "sentinel");
    settings.urls = vec![sentinel.url()];
    settings.mode = RedisMode::Sentinel { primary: "rooms".into() };
    let store = open(settings).await;
    write(&store, 1, vec![mute("bob")]).await.unwrap();
    let fence = format!("test/sentinel/{{r:{}}}:fence", slot());
    let until = Instant::now() + Duration::from_secs(20);
    while replica.command(&["GET", &fence]) == redis::Value::Nil {
        assert!(Instant::now() < until, "the replica gets nothing");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    while sentinel.try_command(&["SENTINEL", "FAILOVER", "rooms"]).is_err() {
        assert!(Instant::now() < until, "the Sentinel does not see the replica");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    loop {
        let role: String = redis::from_redis_value(replica.command(&["INFO", "replication"])).unwrap();
        if role.contains("role:master") {
            break;
        }
        assert!(Instant::now() < until, "no failover");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // The former primary takes writes for a moment more (and would for ten seconds, if nobody asked the Sentinels).
    let until = Instant::now() + Duration::from_secs(5);
    loop {
        let written = write(&store, 7, vec![mute("eve")]).await;
        let there = replica.try_command(&["GET", &fence]);
        let arrived = matches!(&there, Ok(redis::Value::BulkString(value)) if value.starts_with(b"7 "));
        if written.is_ok() && arrived {
            break;
        }
        assert!(Instant::now() < until, "{written:?} {there:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let lists = store.load(room(), 0).await.unwrap().unwrap().lists;
    assert_eq!(lists.len(), 2, "{lists:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_keeps_the_slots_of_its_living_primaries_and_takes_the_others_back() {
    let mut cluster = RedisCluster::start();
    let mut settings = options(&cluster.nodes[0], "nodes");
    settings.urls = cluster.nodes.iter().map(RedisServer::url).collect();
    settings.mode = RedisMode::Cluster;
    settings.write_ms = 1_000;
    let store = open(settings).await;
    let rooms: Vec<_> = (0..30).map(|n| throng_core::RoomId::new(&format!("room-{n}")).unwrap()).collect();
    let put = |room: &throng_core::RoomId| {
        let batch = Batch::of(vec![Write::PutRoom { room: room.clone(), meta: Bytes::from_static(b"1") }]);
        store.write(throng_core::Slot::of(room.as_str()), Epoch(1), batch)
    };
    for room in &rooms {
        put(room).await.unwrap();
    }
    // A node without the functions gets them with the first call that misses them.
    cluster.nodes[1].command(&["FUNCTION", "FLUSH"]);
    for room in &rooms {
        put(room).await.unwrap();
    }
    cluster.nodes[2].kill();
    let mut outcomes = Vec::new();
    for room in &rooms {
        outcomes.push(put(room).await);
        if outcomes.len() == 6 {
            break;
        }
    }
    // Whichever came first: rooms of living nodes are written while others fail in time.
    for (outcome, room) in outcomes.iter().zip(&rooms) {
        let fits = matches!(outcome, Ok(_) | Err(StoreError::Unavailable { .. }));
        assert!(fits, "{room}: {outcome:?}");
    }
    assert!(outcomes.iter().any(Result::is_ok) && outcomes.iter().any(Result::is_err), "{outcomes:?}");
    cluster.nodes[2].run().unwrap();
    cluster.wait_until_complete();
    let until = Instant::now() + Duration::from_secs(10);
    let mut emptied = 0;
    for room in &rooms {
        loop {
            match put(room).await {
                Ok(written) => {
                    emptied += u32::from(written.emptied);
                    break;
                }
                Err(error) => assert!(Instant::now() < until, "{room}: {error}"),
            }
        }
    }
    assert!(emptied > 0, "the node came back without what it held, and its writers were told");
    assert_eq!(store.grace_left_ms(instance("a")).await, Ok(0));
    store.create_grace(vec![]).await.unwrap();
    assert!(store.grace_left_ms(instance("a")).await.unwrap() <= GRACE_MS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_move_between_nodes_are_followed() {
    let cluster = RedisCluster::start();
    let mut settings = options(&cluster.nodes[0], "moved");
    settings.urls = cluster.nodes.iter().map(RedisServer::url).collect();
    settings.mode = RedisMode::Cluster;
    let store = open(settings).await;
    write(&store, 1, vec![mute("bob"), append(1, message(Lane::Control, 1, 1, "1"))]).await.unwrap();
    let hash_slot = |node: &RedisServer, key: &str| -> u16 {
        redis::from_redis_value(node.command(&["CLUSTER", "KEYSLOT", key])).unwrap()
    };
    let number = hash_slot(&cluster.nodes[0], &format!("test/moved/{{r:{}}}:fence", slot()));
    let from = usize::from(number / 5_461).min(2);
    let to = (from + 1) % 3;
    // The target has lost its functions: it gets them when the slot arrives.
    cluster.nodes[to].command(&["FUNCTION", "FLUSH"]);
    cluster.move_slot(number, from, to);
    // First a pipeline meets the moved slot, then a single call.
    let image = store.load(room(), 9).await.unwrap().unwrap();
    assert_eq!((image.lists.len(), image.tail.len()), (1, 1));
    let written = write(&store, 1, vec![mute("eve")]).await.unwrap();
    assert!(!written.emptied);
    assert_eq!(store.load(room(), 9).await.unwrap().unwrap().lists.len(), 2);
}

#[tokio::test]
async fn what_is_erased_is_all_of_one_cluster_and_nothing_of_the_next() {
    let mut server = RedisServer::start(&[]);
    let of =
        |cluster: &str| RedisStore::open(RedisOptions { cluster: cluster.into(), ..options(&server, "") }).unwrap();
    // Names that begin alike, and one that a pattern taken from another would match.
    let (gone, longer, matched) = (of("a*c"), of("a*cd"), of("abc"));
    for store in [&gone, &longer, &matched] {
        store.ready(Duration::from_secs(5)).await.unwrap();
        store.birth().await.unwrap();
        let batch = Batch::of(vec![mute("bob"), append(1, message(Lane::Control, 1, 1, "1"))]);
        store.write(slot(), Epoch(1), batch).await.unwrap();
    }
    // More than a step of the scan sees at once.
    for number in 0..2_500 {
        server.command(&["SET", &format!("test/a*c/{{own}}:extra:{number}"), "1"]);
    }
    let all = || match server.command(&["DBSIZE"]) {
        redis::Value::Int(all) => u64::try_from(all).unwrap(),
        other => panic!("{other:?}"),
    };
    let before = all();
    let erased = gone.erase(Duration::from_secs(10)).await.unwrap();
    assert!(erased > 2_500, "{erased}");
    assert_eq!(all(), before - erased);
    assert_eq!(gone.erase(Duration::from_secs(10)).await.unwrap(), 0);
    for other in [&longer, &matched] {
        assert!(other.load(room(), 9).await.unwrap().is_some(), "another cluster has lost its room");
    }
    server.kill();
    let late = gone.erase(Duration::from_millis(200)).await;
    assert!(matches!(late, Err(StoreError::Unavailable { .. })), "{late:?}");
}
