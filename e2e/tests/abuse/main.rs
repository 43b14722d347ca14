//! What clients do wrong, by accident or to do harm: each gets its documented answer, costs bounded memory, and disturbs
//! nobody else. Against the binary, over sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says so by failing"
)]

mod api;
mod commands;
mod crowds;
mod cursors;
mod frames;
mod readers;
mod rights;
mod slow;
mod tokens;
mod wire;

use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};
use throng_e2e::client::Client;
use throng_e2e::dev::Dev;

/// Time for what happens at once, on a machine that does other things too.
const SOON: Duration = Duration::from_secs(5);

/// Clusters that tests share, one after the other, each in rooms of its own. They end with this process.
static PLAIN: OnceLock<Dev> = OnceLock::new();
static QUICK: OnceLock<Dev> = OnceLock::new();
static STRICT: OnceLock<Dev> = OnceLock::new();

/// With the defaults of `throng dev`.
fn plain() -> &'static Dev {
    PLAIN.get_or_init(|| one_of_each(&[]))
}

/// Takes any number of commands and messages of one client.
fn quick() -> &'static Dev {
    let sets = ["gateway.limits.frames_per_s=65000", "chatroom.rooms.user_messages_per_second=0"];
    QUICK.get_or_init(|| one_of_each(&sets))
}

/// Shorter times than the defaults (5 and 10 s), a quota of a user that can be reached, and two welcome origins.
fn strict() -> &'static Dev {
    let sets = [
        "gateway.limits.header_ms=1200",
        "gateway.limits.hello_ms=1200",
        "gateway.limits.frames_per_s=10000",
        "chatroom.rooms.user_messages_per_second=10",
        r#"gateway.origins=["https://chat.example", "https://www.chat.example"]"#,
    ];
    STRICT.get_or_init(|| one_of_each(&sets))
}

/// One Pod of each role, so that limits of a gateway can be counted exactly.
fn one_of_each(sets: &[&str]) -> Dev {
    let mut args = vec!["--gateways", "1", "--chatrooms", "1", "--messages", "1"];
    for set in sets {
        args.extend(["--set", set]);
    }
    Dev::start(&args).unwrap()
}

async fn hello(dev: &Dev, user: &str) -> Client {
    Client::hello(&dev.ready.url, &dev.token(user).unwrap()).await.unwrap().0
}

async fn join(client: &mut Client, room: &str) -> Value {
    client.ask(json!({"join": {"room": room}})).await.unwrap()
}

/// The code of an answer that must be an error.
fn code(answer: &Value) -> &str {
    answer["error"]["code"].as_str().unwrap_or_else(|| panic!("this is no error: {answer}"))
}

/// An error's text speaks of the protocol, not of the program behind it.
fn is_for_people(answer: &Value) {
    let text = answer["error"]["message"].as_str().unwrap_or_else(|| panic!("no text: {answer}")).to_lowercase();
    for word in ["struct", "deserialize", "a sequence", "expected u8", "expected u16", "expected u32", "expected u64"] {
        assert!(!text.contains(word), "{answer}");
    }
}

/// How many connections the gateway has closed with a code. The client cannot always see it: who does not read is reset.
fn closes(dev: &Dev, code: u16) -> u64 {
    let gateway = dev.ready.pods.iter().find(|pod| pod.role == "gateway").unwrap();
    let start = format!("throng_gateway_closes_total{{code=\"{code}\"");
    let text = dev.metrics(gateway).unwrap();
    let counts = text.lines().filter(|line| line.starts_with(&start)).map(|line| line.rsplit(' ').next().unwrap());
    counts.map(|count| count.parse::<u64>().unwrap()).sum()
}
