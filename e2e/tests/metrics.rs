//! `/metrics` of running Pods, held to `docs/metrics.md`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says so by failing"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use throng_e2e::client::Client;
use throng_e2e::dev::{Dev, root};
use throng_e2e::raw::{Raw, TEXT, unmasked};

const SOON: Duration = Duration::from_secs(5);

/// Name and kind of every metric that a Pod of a role has.
fn told(dev: &Dev, role: &str) -> BTreeMap<String, String> {
    let types = text(dev, role);
    let types = types.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let full = |name: &str, kind: &str| if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
    types.map(|(name, kind)| (full(name, kind), kind.to_owned())).collect()
}

fn text(dev: &Dev, role: &str) -> String {
    let pod = dev.ready.pods.iter().find(|pod| pod.role == role).unwrap();
    dev.metrics(pod).unwrap()
}

/// The value of a series.
fn value(text: &str, series: &str) -> f64 {
    let found = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("{series} is not in {text}")).parse().unwrap()
}

/// Name and kind of every row under a heading of the page.
fn documented(role: &str) -> BTreeMap<String, String> {
    let page = std::fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    let section = page.split("\n## ").find(|section| section.to_lowercase().starts_with(role)).unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    rows.map(|(name, rest)| (name.to_owned(), rest.split(' ').next().unwrap().to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_stands_in_the_documents_and_tells_what_happened() {
    let dev = Dev::start(&["--gateways", "1", "--chatrooms", "1", "--messages", "1"]).unwrap();
    for role in ["gateway", "chatroom", "message"] {
        assert_eq!(told(&dev, role), documented(role), "{role}");
    }
    let (mut ana, _) = Client::hello(&dev.ready.url, &dev.token("ana").unwrap()).await.unwrap();
    let (mut ben, _) = Client::hello(&dev.ready.url, &dev.token("ben").unwrap()).await.unwrap();
    ana.ask(json!({"join": {"room": "r"}})).await.unwrap();
    ben.ask(json!({"join": {"room": "r"}})).await.unwrap();
    ana.ask(json!({"publish": {"room": "r", "data": 1, "ack": "stored"}})).await.unwrap();
    ben.messages(SOON).await.unwrap();
    ana.messages(SOON).await.unwrap();
    let _ = ana.try_ask(json!({"publish": {"room": "elsewhere"}})).await.unwrap();
    let mut raw = Raw::connect(&dev.ready.url).await.unwrap();
    raw.write(&unmasked(TEXT, b"{}")).await;
    assert_eq!(raw.closed(SOON).await.unwrap().0, 1002);
    assert_eq!(dev.api("GET", "/v1/rooms/r", &Value::Null).unwrap().0, 200);
    assert_eq!(dev.api("POST", "/v1/users/ben/messages", &json!({"data": 1})).unwrap().0, 200);
    ben.next(SOON).await.unwrap();

    let expected = [
        ("gateway", "throng_gateway_connections", 2.0),
        ("gateway", "throng_gateway_hellos_total", 2.0),
        ("gateway", "throng_gateway_rooms", 1.0),
        ("gateway", "throng_gateway_messages_delivered_total{lane=\"2\"}", 2.0),
        ("gateway", "throng_gateway_messages_directed_total", 1.0),
        ("gateway", "throng_gateway_errors_total{code=\"not_joined\"}", 1.0),
        ("gateway", "throng_gateway_closes_total{code=\"1002\",reason=\"protocol_error\"}", 1.0),
        ("gateway", "throng_gateway_links{role=\"chatroom\",state=\"up\"}", 1.0),
        ("gateway", "throng_gateway_links{role=\"message\",state=\"down\"}", 0.0),
        ("gateway", "throng_gateway_messages_dropped_total{lane=\"0\",reason=\"lost\"}", 0.0),
        ("gateway", "throng_gateway_queue_bytes", 0.0),
        ("gateway", "throng_gateway_api_requests_total{method=\"GET\",route=\"/v1/rooms/{room}\",status=\"200\"}", 1.0),
        ("chatroom", "throng_chatroom_members", 2.0),
        ("chatroom", "throng_store_queue_writes", 0.0),
        ("message", "throng_message_sessions", 2.0),
    ];
    let until = Instant::now() + SOON;
    for (role, series, wanted) in expected {
        // What is counted once a second may come late.
        loop {
            let is = value(&text(&dev, role), series);
            if (is - wanted).abs() < 1e-9 {
                break;
            }
            assert!(Instant::now() < until, "{series} is {is}, not {wanted}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    assert!(value(&text(&dev, "gateway"), "throng_gateway_sent_bytes_total") > 500.0);
    assert!(value(&text(&dev, "chatroom"), "throng_store_writes_total") >= 1.0);
}
