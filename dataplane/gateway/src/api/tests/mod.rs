//! The API against real gRPC servers on loopback that answer what a test tells them to.

mod cluster;
mod commands;
mod documents;
mod faults;
mod requests;
