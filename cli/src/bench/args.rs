//! The command line of `throng bench`.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::bounds::Slack;
use super::failover::FailoverArgs;
use super::opening::Pace;

/// Measures Throng, and checks every message on the way.
///
/// Starts a server of its own unless --url is given. Progress goes to stderr, one JSON object to stdout; the exit code is 1 if a
/// promise was broken (something lost, doubled or out of order, or too little published: `broken` in the JSON) or, at the load that
/// they are stated for, a bound on cost or time was missed (`bounds`); stderr says which.
#[derive(Args, Clone, Debug)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    pub(super) scenario: Scenario,
}

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Scenario {
    /// The limit of this machine: one thread writing one frame to N sockets, and nothing else.
    #[command(after_help = "Example:\n  throng bench floor --subscribers 5000 --json")]
    Floor(FloorArgs),
    /// One room, many subscribers: CPU of the gateway per delivery, latency, loss.
    #[command(after_help = "Examples:\n  \
        throng bench fanout --subscribers 5000 --rate 200 --seconds 20 --max-rate 0 --gateways 1 --json\n  \
        throng bench fanout --subscribers 5000 --rate 4 --seconds 20 --max-rate 0 --json\n  \
        throng bench fanout --subscribers 5000 --rate 1000 --baseline-rate 40 --json  # the default budget of 20 msg/s\n  \
        throng bench fanout --url ws://127.0.0.1:8080/connect --token-secret S --subscribers 100 --rate 20")]
    Fanout(FanoutArgs),
    /// Connections at rest: memory each, CPU each.
    #[command(after_help = "Example:\n  throng bench idle --connections 15000 --json")]
    Idle(IdleArgs),
    /// Joins and leaves into one room, over existing connections.
    #[command(after_help = "Example:\n  throng bench joins --connections 10000 --rate 20000 --seconds 30 --json")]
    Joins(JoinsArgs),
    /// All clients come back at once, then a gateway is killed; messages flow while they are away.
    #[command(after_help = "Example:\n  throng bench storm --connections 8000 --json")]
    Storm(StormArgs),
    /// Stalled readers and an overload: what must not be lost arrives all the same.
    #[command(after_help = "Example:\n  throng bench slow --subscribers 2000 --stalled-percent 20 --overload 5 --json")]
    Slow(SlowArgs),
    /// Processes, stores and links fail while people talk; then every slot moves.
    #[command(after_help = super::failover::EXAMPLES)]
    Failover(FailoverArgs),
    /// People in a lively room and several small ones, as long as stdin is open; what they notice while servers change.
    #[command(after_help = "Examples:\n  \
        throng bench attend --url ws://10.0.0.1:30080/connect --url ws://10.0.0.2:30080/connect --token-secret S --watch\n  \
        throng bench attend --subscribers 100 --seconds 10 --json")]
    Attend(AttendArgs),
    /// The child process of `floor`.
    #[command(hide = true)]
    FloorLoop(FloorLoopArgs),
}

/// Where the server is, and how the bench talks to it.
#[derive(Args, Clone, Debug)]
pub(super) struct ServerArgs {
    /// A gateway that runs already, ws://host:port/connect; may be repeated. CPU and memory are not measured then.
    #[arg(long)]
    pub(super) url: Vec<String>,
    /// The secret that signs tokens (HS256) for --url.
    #[arg(long, env = "THRONG_TOKEN_SECRET", hide_env_values = true)]
    pub(super) token_secret: Option<String>,
    /// Configuration of the server that the bench starts, key=value; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// The JSON object on one line.
    #[arg(long)]
    pub(super) json: bool,
    /// Connections opened a second.
    #[arg(long, default_value_t = 4_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) connect_rate: u32,
    /// All connections must be open by then, in seconds.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub(super) connect_deadline: u64,
    /// Bounds on time, idle CPU and applied joins are so many times as wide as promised, that on CPU per delivery follows the
    /// bare loop: for a slower or shared machine.
    #[arg(long, default_value_t = 1.0, value_name = "TIMES")]
    slack: f64,
    #[command(flatten)]
    pub(super) floor: FloorTime,
}

/// How long the bare loop runs beside a figure.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct FloorTime {
    /// Length of the bare loop's run, which shows what this machine can do; 0: none.
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    pub(super) floor_seconds: u64,
}

/// Arguments of `floor`.
#[derive(Args, Clone, Debug)]
pub(super) struct FloorArgs {
    /// Sockets to write to.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=19_000))]
    pub(super) subscribers: u32,
    /// Messages a second, carried in one frame per tick; without a tick, in a frame each.
    #[arg(long, default_value_t = 200.0)]
    pub(super) rate: f64,
    /// Length of the tick.
    #[arg(long, default_value_t = 100, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub(super) tick: u64,
    /// Length of each of the two runs.
    #[arg(long, default_value_t = 5)]
    pub(super) seconds: u64,
    /// Size of a message's content.
    #[arg(long, default_value_t = 100)]
    pub(super) payload_bytes: usize,
    /// The JSON object on one line.
    #[arg(long)]
    pub(super) json: bool,
}

/// Arguments of `fanout`.
#[derive(Args, Clone, Debug)]
pub(super) struct FanoutArgs {
    #[command(flatten)]
    pub(super) server: ServerArgs,
    /// Members of the room, publishers included.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=19_000))]
    pub(super) subscribers: u32,
    /// Messages a second.
    #[arg(long, default_value_t = 200.0)]
    pub(super) rate: f64,
    /// Length of the measured window.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(super) seconds: u64,
    /// Messages a second that each client asks for; 0: no budget; without it the server's default.
    #[arg(long)]
    pub(super) max_rate: Option<u32>,
    /// Gateways, each a process with one reactor.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub(super) gateways: u32,
    /// Lane of the messages.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=3))]
    pub(super) lane: u8,
    /// Size of a message's content.
    #[arg(long, default_value_t = 100)]
    pub(super) payload_bytes: usize,
    /// Publishing before the window, so that the tick has settled.
    #[arg(long, default_value_t = 3, value_name = "SECONDS")]
    pub(super) warm_up: u64,
    /// Runs at this rate first; a viewer may get 1.3 times its bytes at --rate.
    #[arg(long, value_name = "RATE")]
    pub(super) baseline_rate: Option<f64>,
}

/// Arguments of `idle`.
#[derive(Args, Clone, Debug)]
pub(super) struct IdleArgs {
    #[command(flatten)]
    pub(super) server: ServerArgs,
    /// Connections; memory is measured at a third, two thirds and all of them.
    #[arg(long, default_value_t = 15_000, value_parser = clap::value_parser!(u32).range(3..=19_000))]
    pub(super) connections: u32,
    /// Time at rest over which CPU is measured.
    #[arg(long, default_value_t = 60)]
    pub(super) seconds: u64,
}

/// Arguments of `joins`.
#[derive(Args, Clone, Debug)]
pub(super) struct JoinsArgs {
    #[command(flatten)]
    pub(super) server: ServerArgs,
    /// Connections that join and leave in turn.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(2..=19_000))]
    pub(super) connections: u32,
    /// Joins a second, and as many leaves.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) rate: u32,
    /// Length of the measured window.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(super) seconds: u64,
    /// Gateways, each a process with one reactor.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub(super) gateways: u32,
}

/// Arguments of `storm`.
#[derive(Args, Clone, Debug)]
pub(super) struct StormArgs {
    #[command(flatten)]
    pub(super) server: ServerArgs,
    /// Clients that are cut off.
    #[arg(long, default_value_t = 8_000, value_parser = clap::value_parser!(u32).range(1..=18_000))]
    pub(super) connections: u32,
    /// Messages a second on lane 1, all the time.
    #[arg(long, default_value_t = 20.0)]
    pub(super) rate: f64,
    /// Gateways; the first is killed in the second part, which is left out if there is only one.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub(super) gateways: u32,
}

/// Arguments of `slow`.
#[derive(Args, Clone, Debug)]
pub(super) struct SlowArgs {
    #[command(flatten)]
    pub(super) server: ServerArgs,
    /// Members of the room.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(2..=19_000))]
    pub(super) subscribers: u32,
    /// Share of them that stops reading.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=90))]
    pub(super) stalled_percent: u32,
    /// Lanes 2-3 are offered at so many times what the bare loop writes, in bytes.
    #[arg(long, default_value_t = 5.0)]
    pub(super) overload: f64,
    /// Messages a second on lanes 2-3, instead of --overload.
    #[arg(long, value_name = "RATE")]
    pub(super) offered: Option<f64>,
    /// Length of the measured window.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(super) seconds: u64,
    /// Size of a message's content on lanes 2-3.
    #[arg(long, default_value_t = 8_000)]
    pub(super) payload_bytes: usize,
}

/// Arguments of `attend`.
#[derive(Args, Clone, Debug)]
pub(super) struct AttendArgs {
    #[command(flatten)]
    pub(super) server: ServerArgs,
    /// Clients; each is in the lively room and in one of the small ones.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=19_000))]
    pub(super) subscribers: u32,
    /// Small rooms, each with a message a second on lane 1.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=15))]
    pub(super) rooms: u32,
    /// Messages a second in the lively room, on lane 2.
    #[arg(long, default_value_t = 20.0)]
    pub(super) rate: f64,
    /// How long; without it until stdin ends.
    #[arg(long)]
    pub(super) seconds: Option<u64>,
    /// What names of users and rooms begin with.
    #[arg(long, default_value = "bench", value_name = "NAME")]
    pub(super) name: String,
    /// Also a line of JSON a second: what they noticed so far.
    #[arg(long)]
    pub(super) watch: bool,
    /// Something is to fail: that people are cut off and come back breaks no promise.
    #[arg(long)]
    pub(super) may_cut: bool,
}

/// Arguments of the child process of `floor`.
#[derive(Args, Clone, Debug)]
pub(super) struct FloorLoopArgs {
    /// What to write, as JSON.
    #[arg(long)]
    pub(super) plan: String,
    /// The core to run on.
    #[arg(long)]
    pub(super) core: Option<usize>,
}

impl Scenario {
    /// For how many seconds the bare loop runs beside it; none: it has no need of one, or none is wanted.
    pub(super) const fn floor(&self) -> Option<u64> {
        let FloorTime { floor_seconds } = match self {
            Self::Fanout(args) => args.server.floor,
            Self::Idle(args) => args.server.floor,
            Self::Joins(args) => args.server.floor,
            Self::Storm(args) => args.server.floor,
            Self::Slow(args) => args.server.floor,
            Self::Failover(args) => args.floor,
            Self::Floor(_) | Self::FloorLoop(_) | Self::Attend(_) => return None,
        };
        if floor_seconds == 0 { None } else { Some(floor_seconds) }
    }

    /// Whether the report is wanted on one line.
    pub(super) const fn one_line(&self) -> bool {
        match self {
            Self::Floor(args) => args.json,
            Self::Fanout(args) => args.server.json,
            Self::Idle(args) => args.server.json,
            Self::Joins(args) => args.server.json,
            Self::Storm(args) => args.server.json,
            Self::Slow(args) => args.server.json,
            Self::Failover(args) => args.json,
            Self::Attend(args) => args.server.json,
            Self::FloorLoop(_) => true,
        }
    }
}

impl ServerArgs {
    /// How much wider than promised bounds are.
    pub(super) const fn slack(&self) -> Slack {
        Slack(self.slack)
    }

    /// Whether the server is the bench's own: what it costs can be measured, and its configuration is known.
    pub(super) fn is_own(&self) -> bool {
        self.url.is_empty() && self.set.is_empty()
    }

    /// How connections are opened.
    pub(super) fn pace(&self) -> Pace {
        Pace {
            per_s: self.connect_rate,
            in_flight: 256,
            deadline: Duration::from_secs(self.connect_deadline),
            tries: 5,
        }
    }
}
