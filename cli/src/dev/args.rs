//! Arguments of `throng dev`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

/// Arguments of `throng dev`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  throng dev                                    open http://127.0.0.1:8080 and chat
  throng dev --bots 2000 --rate 200             beside 2,000 bots that say 200 messages/s
  throng dev --gateways 4 --listen 0.0.0.0:9000
  throng dev -f examples/live.yaml --bots 2000  a ChatroomCluster as kubectl takes it; edit it, and the pools follow
  throng dev --redis redis://127.0.0.1:6379 --etcd http://127.0.0.1:2379
  throng dev --set gateway.downstream.messages_per_second=40
                                                any key of docs/configuration.md but node.*")]
pub(crate) struct DevArgs {
    /// Where the page, `/connect` and `/v1/` are served, by every gateway at once.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub(crate) listen: SocketAddr,
    /// A file with a `ChatroomCluster`, as `kubectl apply -f` takes it: its replicas, pressure, behavior, events, drain, rooms and
    /// settings are followed, and followed again whenever the file changes. What one machine cannot do is named at the start.
    #[arg(short = 'f', long, value_name = "FILE", conflicts_with_all = ["gateways", "chatrooms", "messages", "isolate_gateways"])]
    pub(crate) file: Option<PathBuf>,
    /// Gateway Pods to begin with.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) gateways: u16,
    /// Chatroom Pods to begin with.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) chatrooms: u16,
    /// Message Pods to begin with.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) messages: u16,
    /// Bots in the room of the page, `lobby`: real clients over loopback. They come when the cluster is ready, and come back
    /// when a gateway dies.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=50_000))]
    pub(crate) bots: u32,
    /// Messages a second that all bots together say: chat, likes, entries, now and then a gift.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub(crate) rate: u32,
    /// A Redis to keep rooms in, instead of memory.
    #[arg(long, value_name = "URL")]
    pub(crate) redis: Option<String>,
    /// An etcd to find each other in, instead of memory; may be repeated.
    #[arg(long, value_name = "URL")]
    pub(crate) etcd: Vec<String>,
    /// Run each gateway in a process of its own, so that its CPU and memory can be measured alone: for benches. There is no page
    /// then, and no Pod is added, drained or killed by it.
    #[arg(long)]
    pub(crate) isolate_gateways: bool,
    /// A configuration file: sections `gateway`, `chatroom`, `message`.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// One configuration value, as in `gateway.limits.frames_per_s=200`; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) sets: Vec<String>,
    /// Print one JSON object when ready, and end when standard input closes: for programs.
    #[arg(long)]
    pub(crate) json: bool,
}
