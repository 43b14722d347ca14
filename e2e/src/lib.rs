//! What the end-to-end tests share: the binary as a child process, clients, a browser.
//!
//! The tests run the binary that `THRONG_BIN` names, or the release build of this workspace; `cargo xtask test` builds it.

#![allow(clippy::indexing_slicing, reason = "a JSON value answers null where nothing is")]

pub mod bench;
pub mod browser;
pub mod client;
pub mod cluster;
pub mod dev;
pub mod raw;
pub mod talk;
pub mod tokens;
