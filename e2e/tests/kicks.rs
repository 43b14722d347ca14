//! Kicked or spoken to right after a hello, while gateways gather what they tell the homes of users.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says so by failing"
)]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use throng_e2e::client::Client;
use throng_e2e::dev::Dev;
use throng_e2e::raw::Raw;
use throng_e2e::tokens::{claims, hs256};

const SOON: Duration = Duration::from_secs(5);
/// Longer than a gateway waits before it tells homes what it knows.
const TOLD: Duration = Duration::from_millis(250);
const ROUNDS: u32 = 50;

static DEV: OnceLock<Dev> = OnceLock::new();

/// Two gateways and one home, which keeps its users: what was said to a user is not handed over with its slot.
fn dev() -> &'static Dev {
    DEV.get_or_init(|| Dev::start(&["--gateways", "2", "--chatrooms", "1", "--messages", "1"]).unwrap())
}

fn token(user: &str) -> String {
    hs256(&dev().ready.token_secret, &claims(user)).unwrap()
}

/// Times of two processes are compared to the millisecond: who comes that much later is not meant for sure.
const LATER: Duration = Duration::from_millis(10);

/// People who come and go all the time, so that a batch is always waiting.
async fn others(stop: &AtomicBool) {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        drop(Client::hello(&dev().ready.url, &token(&format!("other-{}", number % 50))).await.unwrap());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Does something while others come and go.
async fn amid_others<T>(doing: impl Future<Output = T>) -> T {
    let stop = AtomicBool::new(false);
    let done = async {
        // Until the gateways have told the homes so often that they gather.
        tokio::time::sleep(TOLD).await;
        let done = doing.await;
        stop.store(true, Ordering::Relaxed);
        done
    };
    tokio::join!(done, others(&stop)).0
}

/// A call of the server API from a thread of its own; the number of connections that it reached at once. None: on a machine
/// that does other things too a Pod did not answer in time, and nobody knows whether it did what it was asked.
async fn call(path: String, body: Value) -> Option<u64> {
    let answer = tokio::task::spawn_blocking(move || dev().api("POST", &path, &body).unwrap()).await.unwrap();
    assert!([200, 503].contains(&answer.0), "{answer:?}");
    (answer.0 == 200).then(|| answer.1["connections"].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kick_right_after_a_hello_ends_that_connection_and_none_that_comes_later() {
    let late = amid_others(async {
        let (mut late, mut stay) = (0, Vec::new());
        for round in 0..ROUNDS {
            let user = format!("ana-{round}");
            let mut raw = Raw::hello(&dev().ready.url, &token(&user)).await.unwrap().0;
            let Some(reached) = call(format!("/v1/users/{user}/kick"), Value::Null).await else { continue };
            late += u32::from(reached == 0);
            tokio::time::sleep(LATER).await;
            stay.push(Client::hello(&dev().ready.url, &token(&user)).await.unwrap().0);
            assert_eq!(raw.closed(SOON).await.unwrap().0, 4005, "round {round}");
        }
        tokio::time::sleep(TOLD).await;
        for (round, again) in stay.iter_mut().enumerate() {
            again.ask(json!({"ping": {}})).await.unwrap_or_else(|error| panic!("kicked in round {round}: {error}"));
        }
        late
    });
    let late = Box::pin(late).await;
    println!("{late} of {ROUNDS} kicks came before the home knew whom");
    assert!(late > ROUNDS / 2, "too little was tested: the homes knew of most connections in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directed_message_right_after_a_hello_arrives_once_and_not_where_somebody_comes_later() {
    let late = amid_others(async {
        let (mut late, mut all) = (0, Vec::new());
        for round in 0..ROUNDS {
            let user = format!("bob-{round}");
            let mut first = Client::hello(&dev().ready.url, &token(&user)).await.unwrap().0;
            let mut second = Client::hello(&dev().ready.url, &token(&user)).await.unwrap().0;
            let body = json!({"data": round});
            let Some(reached) = call(format!("/v1/users/{user}/messages"), body).await else { continue };
            late += u32::from(reached < 2);
            tokio::time::sleep(LATER).await;
            let third = Client::hello(&dev().ready.url, &token(&user)).await.unwrap().0;
            for client in [&mut first, &mut second] {
                let said = client.next(SOON).await.unwrap();
                assert_eq!((&said["event"]["kind"], &said["event"]["data"]), (&json!("direct"), &json!(round)));
            }
            all.extend([("1st", first), ("2nd", second), ("3rd", third)].map(|(which, client)| (round, which, client)));
        }
        tokio::time::sleep(TOLD).await;
        for (round, which, client) in &mut all {
            client.ask(json!({"ping": {}})).await.unwrap();
            assert!(client.next(Duration::from_millis(1)).await.is_err(), "the {which} of round {round}");
        }
        late
    });
    let late = Box::pin(late).await;
    println!("{late} of {ROUNDS} messages came before the home knew of both connections");
    assert!(late > ROUNDS / 2, "too little was tested: the homes knew of most connections in time");
}
