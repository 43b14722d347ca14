//! What the end-to-end tests share: the binary as a child process, clients, a browser.
//!
//! The tests run the binary that `THRONG_BIN` names, or the release build of this workspace; `cargo xtask test` builds it.

#![allow(clippy::indexing_slicing, reason = "a JSON value answers null where nothing is")]

pub mod bench;
pub mod browser;
pub mod client;
pub mod cluster;
pub mod dev;
pub mod http;
pub mod raw;
pub mod stores;
pub mod talk;
pub mod tokens;

use std::time::{Duration, Instant};

/// How many times as wide as promised a bound on wall-clock time is, because tests share a machine: `THRONG_TEST_SLACK`, or 3.
#[must_use]
pub fn slack() -> f64 {
    std::env::var("THRONG_TEST_SLACK").ok().and_then(|slack| slack.parse().ok()).unwrap_or(3.0)
}

/// Longest wait for what others do by themselves.
const PATIENCE: Duration = Duration::from_secs(15);

/// Waits until something holds, at most a quarter of a minute.
///
/// # Panics
///
/// If it does not.
pub fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// As [`until`], of what is asked asynchronously.
///
/// # Panics
///
/// If it does not hold in time.
pub async fn until_async(what: &str, holds: impl AsyncFn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
