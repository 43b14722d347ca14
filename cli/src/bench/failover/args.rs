//! Arguments of `failover`.

use std::path::PathBuf;

use clap::Args;

use super::faults::{self, Fault};
use crate::bench::args::FloorTime;

/// Shown below the help.
pub(in crate::bench) const EXAMPLES: &str = "Examples:
  throng bench failover --members 1000 --rate 100 --rooms 4000 --json
  throng bench failover --members 100 --rooms 400 --faults chatroom-kill,move
  throng bench failover --members 100 --rooms 400 --faults redis-kill,etcd-kill,links-cut --etcd-seconds 60
  throng bench failover --members 100 --rooms 400 --faults etcd-leader,redis-failover

Starts redis-server and etcd, two chatroom, two message and two gateway processes. With etcd-leader, etcd has three
members; with redis-failover, Redis is a primary with two replicas under three Sentinels, and stored is what a replica has
too (node.redis_wait_replicas=1). While the one that led is dead, those that are left must do their work. As root each of them has a network
namespace of its own, so that links can be cut without a word; cuts are refused otherwise. Everything is removed at the end.";

/// Arguments of `failover`.
#[derive(Args, Clone, Debug)]
pub(in crate::bench) struct FailoverArgs {
    /// Clients, over both gateways. All are in one hot room, and each in some of the others.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    pub(super) members: u32,
    /// Rooms beside the hot one.
    #[arg(long, default_value_t = 4_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) rooms: u32,
    /// Members of each of these rooms.
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u8).range(2..=32))]
    pub(super) room_members: u8,
    /// Messages a second in the hot room, on lane 2.
    #[arg(long, default_value_t = 100.0)]
    pub(super) rate: f64,
    /// What fails, one after the other.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = faults::STATED)]
    pub(super) faults: Vec<Fault>,
    /// The whole list so many times.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(super) times: u32,
    /// How long a process stays stopped or cut off, and the leader of etcd dead.
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    pub(super) hold_seconds: u64,
    /// How long Redis stays away, stalled or full, and its primary dead at least.
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    pub(super) redis_seconds: u64,
    /// How long etcd stays away.
    #[arg(long, default_value_t = 20, value_name = "SECONDS")]
    pub(super) etcd_seconds: u64,
    /// Bounds on time are so many times as long as promised: for a machine that is shared.
    #[arg(long, default_value_t = 1.0, value_name = "TIMES")]
    pub(super) slack: f64,
    /// A Redis that runs already. It is not made to fail, and no link is cut.
    #[arg(long, value_name = "URL")]
    pub(super) redis: Option<String>,
    /// An etcd that runs already. It is not made to fail, and no link is cut.
    #[arg(long, value_name = "URL")]
    pub(super) etcd: Option<String>,
    /// Configuration of the processes, key=value; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// Keep the logs of all processes in this folder.
    #[arg(long, value_name = "FOLDER")]
    pub(super) logs: Option<PathBuf>,
    /// The JSON object on one line.
    #[arg(long)]
    pub(in crate::bench) json: bool,
    #[command(flatten)]
    pub(in crate::bench) floor: FloorTime,
}
