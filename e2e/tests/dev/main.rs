//! The main job from outside: `throng dev`, two people, a page, a client in another language.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test says so by failing")]

mod door;
mod page;
mod printed;
mod python;

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use throng_e2e::client::Client;
use throng_e2e::dev::{Dev, binary};
use throng_e2e::slack;
use throng_e2e::stores::Stores;

const SOON: Duration = Duration::from_secs(5);
/// A cluster is ready so soon after its start.
const READY: Duration = Duration::from_secs(2);

#[tokio::test]
async fn two_people_chat_through_real_pods() {
    let dev = Dev::start(&[]).unwrap();
    assert!(dev.took < READY.mul_f64(slack()), "ready after {:?}", dev.took);
    let (mut ana, hello) = Client::hello(&dev.ready.url, &dev.token("ana").unwrap()).await.unwrap();
    assert_eq!(hello["user"], "ana");
    let (mut ben, _) = Client::hello(&dev.ready.url, &dev.token("ben").unwrap()).await.unwrap();
    let joined = ana.ask(json!({"join": {"room": "r"}})).await.unwrap();
    assert!(joined["epoch"].as_u64().unwrap() > 0, "{joined}");
    ben.ask(json!({"join": {"room": "r"}})).await.unwrap();
    for text in ["one", "two", "three"] {
        let ok = ana.ask(json!({"publish": {"room": "r", "data": {"text": text}}})).await.unwrap();
        assert_eq!(ok["state"], "accepted");
    }
    let mut heard = Vec::new();
    while heard.len() < 3 {
        heard.extend(ben.messages(SOON).await.unwrap());
    }
    let texts: Vec<&Value> = heard.iter().map(|message| &message["data"]["text"]).collect();
    assert_eq!(texts, ["one", "two", "three"]);
    let numbers: Vec<u64> = heard.iter().map(|message| message["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert!(heard.iter().all(|message| message["from"] == "ana"));
}

#[tokio::test]
async fn a_newcomer_reads_what_was_said_before() {
    let dev = Dev::start(&[]).unwrap();
    let (mut ana, _) = Client::hello(&dev.ready.url, &dev.token("ana").unwrap()).await.unwrap();
    ana.ask(json!({"join": {"room": "r"}})).await.unwrap();
    for text in ["one", "two"] {
        ana.ask(json!({"publish": {"room": "r", "data": text}})).await.unwrap();
    }
    ana.messages(SOON).await.unwrap();
    let (mut ben, _) = Client::hello(&dev.ready.url, &dev.token("ben").unwrap()).await.unwrap();
    let joined = ben.ask(json!({"join": {"room": "r", "history": 20}})).await.unwrap();
    let texts: Vec<&Value> = joined["messages"].as_array().unwrap().iter().map(|message| &message["data"]).collect();
    assert_eq!(texts, ["one", "two"]);
}

#[test]
fn it_leaves_nothing_behind_and_says_when_its_port_is_taken() {
    let mut dev = Dev::start(&[]).unwrap();
    let address = dev.ready.http.strip_prefix("http://").unwrap().to_owned();
    let second = Command::new(binary().unwrap()).args(["dev", "--listen", &address]).output().unwrap();
    assert!(!second.status.success());
    let complaint = String::from_utf8_lossy(&second.stderr);
    assert!(complaint.contains(&address) && complaint.contains("--listen"), "{complaint}");
    assert!(dev.end(SOON).unwrap(), "it ends by itself when asked to");
    assert!(TcpStream::connect(&address).is_err(), "nobody listens any more");
}

/// The page and its buttons are served by gateways: without one nobody could ask for another.
#[test]
fn the_last_gateway_is_replaced_when_it_is_killed() {
    let dev = Dev::start(&["--gateways", "1"]).unwrap();
    let alone = dev.ready.pods.iter().find(|pod| pod.role == "gateway").unwrap();
    // The answer may die with the gateway that was asked.
    let _ = dev.act("kill", &alone.name);
    let began = Instant::now();
    while !dev.http("GET", "/dev/state", "").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
        assert!(began.elapsed() < 3 * SOON, "no gateway serves the page any more");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Each run is a cluster of its own in a Redis and an etcd, which nobody will ask for again.
#[test]
fn ctrl_c_leaves_no_key_in_redis_and_etcd() {
    let stores = Stores::start().unwrap();
    let args = stores.args();
    let mut dev = Dev::start(&args.each_ref().map(String::as_str)).unwrap();
    let said = dev.api("POST", "/v1/rooms/r/messages", &json!({"data": 1, "lane": 1, "ack": "stored"})).unwrap();
    assert_eq!(said.0, 200, "{}", said.1);
    // One that dies without a goodbye gives nothing back.
    dev.act("kill", "dev-message-1-0").unwrap();
    let (redis, etcd) = stores.keys().unwrap();
    assert!(redis > 0 && etcd > 0, "the run uses both: {redis}, {etcd}");
    dev.interrupt().unwrap();
    assert!(dev.wait(3 * SOON).unwrap(), "it ends by itself when asked to");
    assert_eq!(stores.keys().unwrap(), (0, 0), "keys are left in Redis, etcd");
}

/// Ctrl-C as soon as something is written, long before it is ready.
#[test]
fn ctrl_c_while_it_starts_leaves_no_key_either() {
    let stores = Stores::start().unwrap();
    let mut command = Command::new(binary().unwrap());
    command.args(["dev", "--json", "--listen", "127.0.0.1:0"]).args(stores.args());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut dev = command.spawn().unwrap();
    let began = Instant::now();
    while stores.keys().unwrap() == (0, 0) {
        assert!(began.elapsed() < 3 * SOON, "nothing is written");
        std::thread::sleep(Duration::from_millis(2));
    }
    let pid = rustix::process::Pid::from_child(&dev);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    // Only the test's patience ends it otherwise.
    while dev.try_wait().unwrap().is_none() {
        if began.elapsed() > 6 * SOON {
            dev.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = dev.wait_with_output().unwrap();
    assert!(output.status.success(), "{:?}", output.status);
    assert_eq!(stores.keys().unwrap(), (0, 0), "keys are left in Redis, etcd");
    assert!(output.stdout.is_empty(), "it was not ready yet: {}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_redis_or_etcd_that_is_not_there_is_named_before_anything_starts() {
    for (flag, url) in [("--redis", "redis://127.0.0.1:1"), ("--etcd", "http://127.0.0.1:1")] {
        let mut command = Command::new(binary().unwrap());
        let output = command.args(["dev", "--json", "--listen", "127.0.0.1:0", flag, url]).output().unwrap();
        assert!(!output.status.success(), "{flag}");
        let complaint = String::from_utf8_lossy(&output.stderr);
        let last = complaint.lines().last().unwrap_or_default();
        assert!(last.starts_with("throng: ") && last.contains(flag) && last.contains("127.0.0.1:1"), "{complaint}");
        assert!(complaint.lines().count() < 20, "{complaint}");
    }
}
