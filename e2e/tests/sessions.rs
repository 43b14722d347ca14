//! What becomes of a user's sessions, across roles: who is offline leaves the room, and where one session is allowed the newest
//! wins.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says so by failing"
)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use throng_e2e::client::Client;
use throng_e2e::cluster::{Cluster, Pod, Process};
use throng_e2e::raw::Raw;
use throng_e2e::slack;

const SOON: Duration = Duration::from_secs(5);
/// A cluster that has just started, or lost a gateway, has settled by then.
const PATIENCE: Duration = Duration::from_secs(20);
/// The offline rule of these tests.
const OFFLINE_MS: u64 = 1_000;
/// So long a chatroom Pod waits for a gateway whose link to it is dead, if no home tells it more.
const LINK_GRACE: Duration = Duration::from_secs(3);
/// Longer than a gateway waits before it tells homes of its sessions.
const TOLD: Duration = Duration::from_millis(250);

/// One chatroom and one message Pod, two gateways.
struct World {
    cluster: Cluster,
    gateways: Vec<Pod>,
    others: Vec<Pod>,
    _etcd: Process,
}

impl World {
    fn start(chatroom: &[&str], message: &[&str]) -> Self {
        let cluster = Cluster::new(1_000).unwrap();
        let etcd = cluster.start_etcd().unwrap();
        let start = |role: &str, name: &str, sets: &[&str]| {
            let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
            let pod = cluster.start_with(role, name, &sets).unwrap();
            pod.wait_ready(PATIENCE).unwrap_or_else(|error| panic!("{error}: {}", cluster.log(name)));
            pod
        };
        let others = vec![start("chatroom", "chatroom", chatroom), start("message", "message", message)];
        let gateways = ["gateway-0", "gateway-1"].map(|name| start("gateway", name, &[])).into();
        Self { cluster, gateways, others, _etcd: etcd }
    }

    fn token(&self, user: &str) -> String {
        self.cluster.token(user).unwrap()
    }

    /// A client in the room; until owners are known it is told to try again.
    async fn joined(&self, user: &str, gateway: usize) -> Client {
        let until = Instant::now() + PATIENCE;
        loop {
            let (mut client, _) = Client::hello(&self.gateways[gateway].url(), &self.token(user)).await.unwrap();
            match client.ask(json!({"join": {"room": "r"}})).await {
                Ok(_) => return client,
                Err(error) => assert!(Instant::now() < until, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// A call of the server API, by the gateway that stays.
    fn api(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.gateways.last().unwrap().api(method, path, body).unwrap();
        assert_eq!(status, 200, "{method} {path}: {answer}");
        answer
    }

    /// Who is in the room, by the room's owner.
    fn members(&self) -> BTreeSet<String> {
        let answer = self.api("GET", "/v1/rooms/r/members", &Value::Null);
        answer["members"].as_array().unwrap().iter().map(|row| row["user"].as_str().unwrap().to_owned()).collect()
    }
}

fn names<const N: usize>(users: [&str; N]) -> BTreeSet<String> {
    users.map(str::to_owned).into()
}

/// Waits until a watcher is told that somebody left, and how many are left then; nobody else may leave before.
async fn sees_leave(world: &World, watcher: &mut Client, user: &str) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let said = watcher.next(left).await.unwrap_or_else(|error| {
            panic!("{user} has not left: {error}\n{}{}", world.cluster.log("chatroom"), world.cluster.log("message"))
        });
        let event = &said["event"];
        if event["kind"] == "count" && event["left"].as_array().is_some_and(|left| !left.is_empty()) {
            assert_eq!(event["left"], json!([user]), "{event}");
            return event["members"].clone();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_offline_leaves_the_room_and_who_is_on_the_allow_list_stays() {
    let offline = format!("chatroom.rooms.offline_after_ms={OFFLINE_MS}");
    let mut world = World::start(&[&offline], &["message.gateway_lost_ms=1000"]);
    let mut watcher = world.joined("watcher", 1).await;
    let [ana, ben, vip, guest] = [
        world.joined("ana", 1).await,
        world.joined("ben", 0).await,
        world.joined("vip", 1).await,
        world.joined("guest", 0).await,
    ];
    world.api("POST", "/v1/rooms/r/lists/allow", &json!({"add": [{"user": "vip"}, {"user": "guest"}]}));
    assert_eq!(world.members(), names(["ana", "ben", "guest", "vip", "watcher"]));

    // Two connections break: one of the two may stay.
    let began = Instant::now();
    drop((ana, vip));
    assert_eq!(sees_leave(&world, &mut watcher, "ana").await, 4);
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(OFFLINE_MS - 100), "taken out after {took:?}: nobody could have come back");
    println!("a lost connection left the room after {took:?}");

    // A gateway dies with all of its clients.
    let began = Instant::now();
    drop(world.gateways.remove(0));
    assert_eq!(sees_leave(&world, &mut watcher, "ben").await, 3);
    let took = began.elapsed();
    assert!(took < LINK_GRACE, "taken out after {took:?}: the chatroom Pod saw it by itself, no home had told it");
    println!("the client of a dead gateway left the room after {took:?}");
    drop((ben, guest));
    tokio::time::sleep(Duration::from_millis(2 * OFFLINE_MS)).await;
    assert_eq!(world.members(), names(["guest", "vip", "watcher"]));

    // Who is taken off the list leaves as others do.
    world.api("POST", "/v1/rooms/r/lists/allow", &json!({"remove": ["vip"]}));
    assert_eq!(sees_leave(&world, &mut watcher, "vip").await, 2);
    assert_eq!(world.members(), names(["guest", "watcher"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_one_session_is_allowed_the_newest_closes_the_older_at_any_gateway_with_4008() {
    let world = World::start(&[], &["message.sessions=newest_wins"]);
    // The home knows of its gateways.
    let mut watcher = world.joined("watcher", 0).await;
    let (urls, token) = (world.gateways.iter().map(Pod::url).collect::<Vec<_>>(), world.token("ana"));
    let (mut first, _) = Raw::hello(&urls[0], &token).await.unwrap();
    tokio::time::sleep(TOLD).await;
    for (newer, older) in [(1, 0), (1, 1), (0, 1)] {
        let (next, _) = Raw::hello(&urls[newer], &token).await.unwrap();
        let (code, reason) = first.closed(SOON.mul_f64(slack())).await.expect("the older is closed");
        assert_eq!((code, reason.as_str()), (4008, "replaced"), "a session at gateway {older}, a newer one at {newer}");
        first = next;
        tokio::time::sleep(TOLD).await;
    }
    // The newest is not closed, and others are not meant.
    first.text(r#"{"id":9,"join":{"room":"r"}}"#).await.unwrap();
    let answer = loop {
        let said = first.json(SOON).await.unwrap();
        if said["id"] == 9 {
            break said;
        }
    };
    assert!(answer["ok"].is_object(), "{answer}");
    watcher.ask(json!({"ping": {}})).await.unwrap();
    assert_eq!(world.members(), names(["ana", "watcher"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_session_that_comes_while_nobody_is_its_home_closes_the_first_once_there_is_one() {
    const ONE: &str = "message.sessions=newest_wins";
    let mut world = World::start(&[], &[ONE]);
    let mut watcher = world.joined("watcher", 0).await;
    let (urls, token) = (world.gateways.iter().map(Pod::url).collect::<Vec<_>>(), world.token("ana"));
    let (mut first, _) = Raw::hello(&urls[0], &token).await.unwrap();
    tokio::time::sleep(TOLD).await;
    // The only message Pod is killed, and nobody hears of the second session.
    drop(world.others.pop());
    tokio::time::sleep(TOLD).await;
    let (mut second, _) = Raw::hello(&urls[1], &token).await.unwrap();
    tokio::time::sleep(TOLD).await;
    let next = world.cluster.start_with("message", "message-1", &[ONE.to_owned()]).unwrap();
    next.wait_ready(PATIENCE).unwrap();
    let closed = first.closed(PATIENCE).await;
    let (code, reason) = closed.unwrap_or_else(|error| panic!("{error}; {}", world.cluster.log("message-1")));
    assert_eq!((code, reason.as_str()), (4008, "replaced"));
    second.text(r#"{"id":9,"ping":{}}"#).await.unwrap();
    let answer = second.json(SOON).await.unwrap();
    assert_eq!((&answer["id"], answer["ok"].is_object()), (&json!(9), true), "{answer}");
    watcher.ask(json!({"ping": {}})).await.unwrap();
}
