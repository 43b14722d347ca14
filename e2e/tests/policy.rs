//! Hot policy: a change of the document in etcd is followed by processes that run, without a restart.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test says so by failing")]

use std::time::{Duration, Instant};

use serde_json::json;
use throng_core::policy::{Policy, Rooms};
use throng_e2e::client::Client;
use throng_e2e::cluster::Cluster;
use throng_registry::{EtcdOptions, EtcdRegistry, Registry as _};

/// A change is followed by then.
const SOON: Duration = Duration::from_secs(10);
/// Messages of one burst: fewer than a window of the upstream quota takes by default.
const BURST: usize = 30;

/// An operator in the small: writes the policy under a leader epoch.
struct Leader {
    registry: EtcdRegistry,
    epoch: u64,
    version: u64,
    after: Option<u64>,
}

impl Leader {
    async fn new(cluster: &Cluster) -> Self {
        let options = EtcdOptions::new(vec![cluster.etcd_url()], "e2e", "roles");
        let registry = EtcdRegistry::new(options).unwrap();
        let epoch = registry.next_leader_epoch(0).await.unwrap();
        Self { registry, epoch, version: 0, after: None }
    }

    async fn say(&mut self, rooms: Rooms) {
        self.version += 1;
        let policy = Policy { leader_epoch: self.epoch, version: self.version, rooms };
        self.after = Some(self.registry.put_policy(&policy, self.after).await.unwrap());
    }
}

/// Publishes a burst; how many of it were taken.
async fn publish(speaker: &mut Client) -> usize {
    let mut taken = 0;
    for number in 0..BURST {
        let answer = speaker.try_ask(json!({"publish": {"room": "r", "data": number}})).await.unwrap();
        assert!(answer.get("ok").is_some() || answer["error"]["code"] == "limited", "{answer}");
        taken += usize::from(answer.get("ok").is_some());
    }
    taken
}

/// How many messages come until nothing does for half a second.
async fn heard(listener: &mut Client) -> usize {
    let mut heard = 0;
    while let Ok(messages) = listener.messages(Duration::from_millis(500)).await {
        heard += messages.len();
    }
    heard
}

#[tokio::test]
async fn running_pods_follow_a_change_of_the_policy() {
    let cluster = Cluster::new(1_000).unwrap();
    let _etcd = cluster.start_etcd().unwrap();
    let pods = ["chatroom", "message", "gateway"].map(|role| cluster.start_ready(role, role).unwrap());
    let url = pods[2].url();
    let mut leader = Leader::new(&cluster).await;
    let open = Rooms { user_messages_per_s: 0, downstream_per_s: 400, messages_per_s: 1_000, ..Rooms::default() };
    leader.say(open.clone()).await;
    let mut clients = Vec::new();
    for user in ["ana", "ben"] {
        let (mut client, _) = Client::hello(&url, &cluster.token(user).unwrap()).await.unwrap();
        client.ask(json!({"join": {"room": "r"}})).await.unwrap();
        clients.push(client);
    }
    let [ana, ben] = clients.as_mut_slice() else { panic!("two people") };
    // Everything passes ...
    wait(ana, ben, &cluster, |taken, heard| taken == BURST && heard == BURST).await;
    // ... until the rooms take in less ...
    leader.say(Rooms { messages_per_s: 10, ..open.clone() }).await;
    wait(ana, ben, &cluster, |taken, heard| taken < BURST / 2 && heard == taken).await;
    // ... or clients get less, those that are connected too.
    leader.say(Rooms { downstream_per_s: 2, ..open.clone() }).await;
    wait(ana, ben, &cluster, |taken, heard| taken == BURST && heard < BURST / 2).await;
    leader.say(open).await;
    wait(ana, ben, &cluster, |taken, heard| taken == BURST && heard == BURST).await;
    for pod in pods {
        assert_eq!(pod.get("/healthz").unwrap().0, 200);
    }
}

/// Waits until bursts are as they should be.
async fn wait(ana: &mut Client, ben: &mut Client, cluster: &Cluster, fits: impl Fn(usize, usize) -> bool) {
    let until = Instant::now() + SOON;
    loop {
        let taken = publish(ana).await;
        let heard = heard(ben).await;
        if fits(taken, heard) {
            return;
        }
        assert!(Instant::now() < until, "taken {taken}, heard {heard}\n{}", cluster.log("chatroom"));
        // What was used up is there again.
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
}
