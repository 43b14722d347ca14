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

use std::time::Duration;

use serde_json::{Value, json};
use throng_e2e::client::Client;
use throng_e2e::dev::Dev;

/// Time for what happens at once, on a machine that does other things too.
const SOON: Duration = Duration::from_secs(5);

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
