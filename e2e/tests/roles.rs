//! The roles as processes: ready when they serve, governed over gRPC, emptied by SIGTERM.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says so by failing"
)]

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use throng_e2e::client::Client;
use throng_e2e::cluster::{Cluster, POD_KEY, Pod};
use throng_e2e::slack;
use throng_proto::key::PodKey;
use throng_proto::link::node_client::NodeClient;
use throng_proto::link::{DescribeRequest, DrainRequest, PressureRequest};
use tonic::transport::Channel;

const SOON: Duration = Duration::from_secs(5);
/// A cluster that has just started, or lost an owner, serves again by then.
const PATIENCE: Duration = Duration::from_secs(20);
/// A process must end by then, on a machine that tests share ...
const DRAIN: Duration = Duration::from_mins(1);
/// ... and not because its time was over.
const DEADLINE_MS: u64 = 90_000;

#[test]
fn a_pod_is_alive_but_not_ready_until_it_reaches_etcd() {
    let cluster = Cluster::new(1_000).unwrap();
    let pods = ["chatroom", "message", "gateway"].map(|role| cluster.start(role, role).unwrap());
    for pod in &pods {
        let until = Instant::now() + SOON;
        while pod.get("/healthz").is_err() {
            assert!(Instant::now() < until, "{}", cluster.log("chatroom"));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    std::thread::sleep(Duration::from_millis(500));
    for pod in &pods {
        assert_eq!(pod.get("/healthz").unwrap(), (200, "ok\n".to_owned()));
        let (status, why) = pod.get("/readyz").unwrap();
        assert_eq!(status, 503);
        assert!(why.contains("its lease is not confirmed"), "{why}");
    }
    let etcd = cluster.start_etcd().unwrap();
    for pod in &pods {
        pod.wait_ready(PATIENCE).unwrap();
    }
    drop(etcd);
    std::thread::sleep(Duration::from_secs(4));
    for pod in &pods {
        assert_eq!(pod.get("/readyz").unwrap().0, 200, "what all lose together takes nobody away");
    }
}

/// A release that names a wrong Redis would get users otherwise, if somebody asks at the right moment.
#[test]
fn a_chatroom_pod_is_not_ready_before_redis_has_answered_it() {
    let cluster = Cluster::new(1_000).unwrap();
    let _etcd = cluster.start_etcd().unwrap();
    let (_redis, good) = cluster.start_redis("right").unwrap();
    let at = |url: &str| [format!("node.redis=[{:?}]", url.replace("//", "//:right@"))];
    // It has all slots: nothing else keeps the other one from being ready.
    let owner = cluster.start_with("chatroom", "owner", &at(&good)).unwrap();
    owner.wait_ready(PATIENCE).unwrap();

    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let pod = cluster.start_with("chatroom", "other", &at(&format!("redis://{address}"))).unwrap();
    let end = Instant::now() + PATIENCE;
    let mut held_back_since = None;
    while held_back_since.is_none_or(|since: Instant| since.elapsed() < SOON) {
        match pod.get("/readyz") {
            Ok((200, _)) => panic!("it is ready: {}", cluster.log("other")),
            Ok((_, why)) if why.lines().all(|reason| reason.contains("store") || reason.contains("Redis")) => {
                held_back_since.get_or_insert_with(Instant::now);
            }
            answer => assert!(Instant::now() < end, "{answer:?}\n{}", cluster.log("other")),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(silent);
    let _there = cluster.start_redis_at(address, "right").unwrap();
    pod.wait_ready(PATIENCE).unwrap();
}

/// A cluster with two Pods of each role and two people on different gateways, one of whom speaks.
struct World {
    cluster: Cluster,
    pods: Vec<(String, Pod)>,
    _etcd: throng_e2e::cluster::Process,
}

impl World {
    fn start() -> Self {
        let cluster = Cluster::new(DEADLINE_MS).unwrap();
        let etcd = cluster.start_etcd().unwrap();
        let mut pods = Vec::new();
        for role in ["chatroom", "message", "gateway"] {
            for number in 0..2 {
                let name = format!("{role}-{number}");
                let pod = cluster.start_ready(role, &name).unwrap();
                pods.push((name, pod));
            }
        }
        Self { cluster, pods, _etcd: etcd }
    }

    fn pod(&mut self, name: &str) -> &mut Pod {
        self.pods.iter_mut().find(|(known, _)| known == name).map(|(_, pod)| pod).unwrap()
    }

    async fn client(&mut self, user: &str, gateway: &str) -> (Client, Value, Value) {
        let (url, token) = (self.pod(gateway).url(), self.cluster.token(user).unwrap());
        let until = Instant::now() + PATIENCE;
        loop {
            let (mut client, hello) = Client::hello(&url, &token).await.unwrap();
            match client.ask(json!({"join": {"room": "r"}})).await {
                Ok(joined) => return (client, hello, joined),
                Err(error) => assert!(Instant::now() < until, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Says a number until it is taken.
async fn say(speaker: &mut Client, number: u64) {
    let publish = json!({"publish": {"room": "r", "data": number, "key": number.to_string()}});
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = speaker.try_ask(publish.clone()).await.expect("who is not on the Pod that leaves is not cut off");
        if answer.get("ok").is_some() {
            return;
        }
        assert!(Instant::now() < until, "{answer}");
        let pause = answer["error"]["retry_ms"].as_u64().unwrap_or(100);
        tokio::time::sleep(Duration::from_millis(pause.min(300))).await;
    }
}

fn numbers(messages: &[Value]) -> impl Iterator<Item = u64> {
    messages.iter().filter_map(|message| message["data"].as_u64())
}

#[tokio::test]
async fn sigterm_empties_owners_and_relays_while_people_talk() {
    let mut world = World::start();
    let (mut ana, ..) = world.client("ana", "gateway-0").await;
    let (mut ben, ..) = world.client("ben", "gateway-1").await;
    let (mut said, mut heard) = (0, BTreeSet::new());
    for name in ["chatroom-0", "message-0"] {
        let pod = world.pod(name);
        let began = Instant::now();
        pod.terminate().unwrap();
        let status = loop {
            said += 1;
            say(&mut ana, said).await;
            if let Some(status) = world.pod(name).ended().unwrap() {
                break status;
            }
            assert!(began.elapsed() < DRAIN, "{name} has not ended: {}", world.cluster.log(name));
            tokio::time::sleep(Duration::from_millis(250)).await;
        };
        assert!(status.success(), "{status}: {}", world.cluster.log(name));
        println!("{name} was empty after {:?}", began.elapsed());
    }
    said += 1;
    say(&mut ana, said).await;
    while !heard.contains(&said) {
        for number in numbers(&ben.messages(SOON).await.unwrap()) {
            assert!(heard.insert(number), "{number} came twice");
        }
    }
    assert_eq!(heard, (1..=said).collect(), "nothing is missing");
}

#[tokio::test]
async fn sigterm_sends_the_clients_of_a_gateway_to_another_before_it_ends() {
    let mut world = World::start();
    let (mut ana, ..) = world.client("ana", "gateway-1").await;
    let (mut ben, _, joined) = world.client("ben", "gateway-0").await;
    say(&mut ana, 1).await;
    let mut heard: Vec<u64> = numbers(&ben.messages(SOON).await.unwrap()).collect();
    let began = Instant::now();
    world.pod("gateway-0").terminate().unwrap();
    let goaway = loop {
        let frame = ben.next(SOON).await.expect("it is told before it is cut off");
        if let Some(goaway) = frame.get("goaway") {
            break goaway.clone();
        }
    };
    assert_eq!(goaway["reason"], "draining");
    // The old connection still serves while the new one is opened.
    say(&mut ana, 2).await;
    heard.extend(numbers(&ben.messages(SOON).await.unwrap()));
    let mut again = Client::open(&world.pod("gateway-1").url()).await.unwrap();
    let cursor = json!({"epoch": joined["epoch"], "seq": [0, 0, heard.len(), 0]});
    let resume = json!({"hello": {"resume": goaway["resume"], "rooms": {"r": cursor}}});
    let resumed = again.ask(resume).await.unwrap();
    assert_eq!(resumed["rooms"]["r"]["recovered"], true, "{resumed}");
    drop(ben);
    say(&mut ana, 3).await;
    heard.extend(numbers(&again.messages(SOON).await.unwrap()));
    assert_eq!(heard, [1, 2, 3]);
    let status = loop {
        if let Some(status) = world.pod("gateway-0").ended().unwrap() {
            break status;
        }
        assert!(began.elapsed() < DRAIN, "{}", world.cluster.log("gateway-0"));
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(status.success(), "{status}: {}", world.cluster.log("gateway-0"));
    println!("the gateway was empty after {:?}", began.elapsed());
}

/// What nobody can take over does not keep a Pod that is told to end.
#[tokio::test]
async fn sigterm_ends_a_pod_at_its_deadline_when_there_is_nobody_to_hand_its_slots_to() {
    for role in ["chatroom", "message"] {
        let mut only = Only::start().await;
        let began = Instant::now();
        only.pod(role).terminate().unwrap();
        only.ends_at_its_deadline(role, began).await;
    }
}

/// Who does not heed a goaway does not keep a gateway that is told to end, and is told why it is cut off.
#[tokio::test]
async fn sigterm_ends_a_gateway_at_its_deadline_and_tells_who_has_not_gone() {
    let mut only = Only::start().await;
    let began = Instant::now();
    only.pod("gateway").terminate().unwrap();
    let mut told = false;
    let end = loop {
        match only.ana.next(Only::late()).await {
            Ok(frame) => told |= frame.get("goaway").is_some(),
            Err(end) => break end.to_string(),
        }
    };
    let after = began.elapsed();
    assert!(told, "it was asked to go first");
    // 1001, as the page of the protocol has it.
    assert!(end.starts_with("closed: ") && end.contains("Away"), "{end}");
    assert!(after >= Only::DRAIN, "it was cut off after {after:?}, while there was time");
    only.ends_at_its_deadline("gateway", began).await;
}

/// One Pod of each role, so that nobody can take over from it, and somebody in a room.
struct Only {
    cluster: Cluster,
    _etcd: throng_e2e::cluster::Process,
    pods: Vec<(&'static str, Pod)>,
    ana: Client,
}

impl Only {
    const DRAIN: Duration = Duration::from_secs(1);

    async fn start() -> Self {
        let cluster = Cluster::new(1_000).unwrap();
        let etcd = cluster.start_etcd().unwrap();
        let pods = ["chatroom", "message", "gateway"].map(|role| (role, cluster.start_ready(role, role).unwrap()));
        let (mut ana, _) = Client::hello(&pods[2].1.url(), &cluster.token("ana").unwrap()).await.unwrap();
        let until = Instant::now() + PATIENCE;
        while let Err(error) = ana.ask(json!({"join": {"room": "r"}})).await {
            assert!(Instant::now() < until, "{error}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Self { cluster, _etcd: etcd, pods: pods.into(), ana }
    }

    fn pod(&mut self, role: &str) -> &mut Pod {
        self.pods.iter_mut().find(|(known, _)| *known == role).map(|(_, pod)| pod).unwrap()
    }

    /// A Pod has ended so long after SIGTERM.
    fn late() -> Duration {
        Self::DRAIN.mul_f64(2.0 * slack())
    }

    async fn ends_at_its_deadline(&mut self, role: &str, began: Instant) {
        let late = Self::late();
        let status = loop {
            if let Some(status) = self.pod(role).ended().unwrap() {
                break status;
            }
            let took = began.elapsed();
            assert!(took < late, "{role} has not ended after {took:?}: {}", self.cluster.log(role));
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let (took, log) = (began.elapsed(), self.cluster.log(role));
        assert!(status.success(), "{status}: {log}");
        assert!(took >= Self::DRAIN, "{role} ended after {took:?}, while there was time: {log}");
        assert!(log.contains("the drain has reached its deadline"), "{log}");
        println!("{role} ended {took:?} after SIGTERM, with a deadline of {:?}", Self::DRAIN);
    }
}

async fn channel(pod: &Pod) -> Channel {
    Channel::from_shared(format!("http://{}", pod.grpc)).unwrap().connect().await.unwrap()
}

#[tokio::test]
async fn every_role_answers_the_node_service_to_those_who_have_the_key() {
    let cluster = Cluster::new(1_000).unwrap();
    let _etcd = cluster.start_etcd().unwrap();
    for role in ["chatroom", "message", "gateway"] {
        let pod = cluster.start_ready(role, role).unwrap();
        let stranger = PodKey::new("a guess").unwrap();
        let mut refused = NodeClient::with_interceptor(channel(&pod).await, stranger.attach());
        let code = refused.describe(DescribeRequest {}).await.unwrap_err().code();
        assert_eq!(code, tonic::Code::Unauthenticated, "{role}");

        let key = PodKey::new(POD_KEY).unwrap();
        let mut node = NodeClient::with_interceptor(channel(&pod).await, key.attach());
        let described = node.describe(DescribeRequest {}).await.unwrap().into_inner();
        assert_eq!((described.role.as_str(), described.pod.as_str()), (role, role));
        assert!(described.ready && !described.draining, "{described:?}");

        let mut pressure = node.pressure(PressureRequest {}).await.unwrap().into_inner();
        let began = Instant::now();
        let mut samples = Vec::new();
        while samples.len() < 3 {
            samples.push(pressure.message().await.unwrap().expect("the stream goes on"));
        }
        let took = began.elapsed();
        assert!(took > Duration::from_millis(1_500) && took < SOON, "three samples in {took:?}, one a second");
        let load = if role == "gateway" {
            "connections"
        } else if role == "chatroom" {
            "members"
        } else {
            "users"
        };
        assert!(samples.iter().all(|sample| sample.load.contains_key(load) && !sample.draining), "{samples:?}");
        assert!(samples.windows(2).all(|pair| pair[0].at_ms < pair[1].at_ms));

        // Idempotent, and taken back.
        for _ in 0..2 {
            node.drain(DrainRequest { deadline_ms: 10_000, per_second: 0 }).await.unwrap();
        }
        assert!(node.describe(DescribeRequest {}).await.unwrap().into_inner().draining, "{role}");
        assert_eq!(pod.get("/readyz").unwrap().0, 503, "a Pod that drains is given no work");
        assert!(pressure.message().await.unwrap().unwrap().draining);
        for _ in 0..2 {
            node.undrain(DrainRequest::default()).await.unwrap();
        }
        assert!(!node.describe(DescribeRequest {}).await.unwrap().into_inner().draining, "{role}");
        pod.wait_ready(SOON).unwrap();
    }
}
