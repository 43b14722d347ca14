//! Streams of pressure against real Pods' servers: samples arrive with what slots carry, a wrong key gets nothing, and a
//! Pod that comes back is found again.

#![allow(clippy::unwrap_used, reason = "helpers of tests, though not tests themselves")]

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use throng_core::{Role, Slot};
use throng_node::service::{Ending, Hooks, NodeService};
use throng_operator::kube_api::Observer;
use throng_operator::metrics::Metrics;
use throng_operator::pressure::{Place, Streams};
use throng_plan::status::Utc;
use throng_plan::world::sample::FRESH_MS;
use throng_proto::key::PodKey;
use throng_proto::link::{DescribeReply, DrainRequest, PressureSample, SlotActivity};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

struct Pod;

impl Hooks for Pod {
    fn sample(&self) -> PressureSample {
        let load = HashMap::from([("members".to_owned(), 7.0), ("broken".to_owned(), f64::NAN)]);
        PressureSample { at_ms: 1, load, draining: false, left: 3 }
    }
    fn drain(&self, _: &DrainRequest) -> u64 {
        3
    }
    fn undrain(&self) -> u64 {
        3
    }
    fn describe(&self) -> DescribeReply {
        let slot = SlotActivity { slot: 9, rooms: 2, users: 7, messages_per_second: 0.0 };
        let none = SlotActivity { slot: 70_000, ..slot };
        DescribeReply { slots: vec![slot, none], ..DescribeReply::default() }
    }
}

async fn serve(address: &str) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let key = PodKey::new("house").unwrap();
    let service = InterceptedService::new(NodeService::server(Arc::new(Pod), Ending::default()), key.demand());
    let serving = tokio::spawn(async move {
        Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener)).await.unwrap();
    });
    (address, serving)
}

fn place(address: SocketAddr) -> BTreeMap<String, Place> {
    BTreeMap::from([("u1".to_owned(), Place { role: Role::Chatroom, address: address.to_string() })])
}

fn now() -> Utc {
    Utc::of(jiff::Timestamp::now())
}

async fn until(within: Duration, what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + within;
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        sleep(Duration::from_millis(20)).await;
    }
}

const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_pod_is_heard_with_what_its_slots_carry() {
    let (address, _serving) = serve("127.0.0.1:0").await;
    let mut streams = Streams::new(Metrics::new(Observer::default()));
    streams.follow(place(address), Some("house"));
    let heard = Arc::clone(streams.heard());
    until(PATIENCE, "a sample", || heard.sample("u1").is_some()).await;
    let sample = heard.sample("u1").unwrap();
    assert_eq!((sample.users(Role::Chatroom), sample.left), (7, 3));
    assert!(!sample.load.contains_key("broken"), "what is no number is no load");
    assert!(sample.at.0.0 > 1_700_000_000_000, "dated by the clock of whoever hears it");
    until(PATIENCE, "its slots", || !heard.activities(now()).pods.is_empty()).await;
    let activities = heard.activities(now());
    assert!(activities.pods.contains("u1"));
    let slots = activities.slots.chatroom;
    let activity = slots[&Slot::new(9).unwrap()];
    assert_eq!((slots.len(), activity.rooms, activity.users), (1, 2, 7));
    let later = Utc(now().0 + FRESH_MS + 1000);
    let activities = heard.activities(later);
    assert!(activities.pods.is_empty() && activities.slots.chatroom.is_empty(), "what was said long ago is not known");
    streams.follow(BTreeMap::new(), Some("house"));
    assert!(heard.samples().is_empty(), "a Pod that is gone is forgotten");
}

#[tokio::test]
async fn without_the_key_nothing_is_heard_and_with_it_at_once() {
    let (address, _serving) = serve("127.0.0.1:0").await;
    let mut streams = Streams::new(Metrics::new(Observer::default()));
    let heard = Arc::clone(streams.heard());
    for key in [None, Some("guess")] {
        streams.follow(place(address), key);
        sleep(Duration::from_millis(300)).await;
        assert!(heard.samples().is_empty());
    }
    streams.follow(place(address), Some("house"));
    until(PATIENCE, "a sample", || heard.sample("u1").is_some()).await;
}

#[tokio::test]
async fn a_pod_that_comes_back_is_heard_again() {
    let (address, serving) = serve("127.0.0.1:0").await;
    let mut streams = Streams::new(Metrics::new(Observer::default()));
    let heard = Arc::clone(streams.heard());
    streams.follow(place(address), Some("house"));
    until(PATIENCE, "a sample", || heard.sample("u1").is_some()).await;
    serving.abort();
    let _ = serving.await;
    let last = heard.sample("u1").unwrap().at;
    sleep(Duration::from_millis(200)).await;
    let (_, _again) = serve(&address.to_string()).await;
    // The connection of the server that was ended may linger until it is silent for too long.
    until(Duration::from_secs(20), "a newer sample", || heard.sample("u1").unwrap().at > last).await;
}
