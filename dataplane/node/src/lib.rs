//! What every role of the data plane shares, so that each role is only its own idea.
//!
//! [`config`] reads file, environment and flags into one typed struct; [`health`] serves `/healthz`, `/readyz` and
//! `/metrics`; [`service`] answers the `Node` gRPC (pressure, drain, describe) from a role's [`service::Hooks`]; [`ownership`]
//! keeps the process's lease and its slots; [`cpu`] measures how much CPU a role uses.

pub mod config;
pub mod cpu;
pub mod health;
pub mod ownership;
pub mod service;
