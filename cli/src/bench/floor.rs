//! The limit of the machine: a bare loop, in a process of its own, that writes one frame to N sockets and does nothing else.
//! The same clients read it, and the same referee checks it, so that what a scenario costs more is the server's own.

use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};
use throng_core::{Epoch, Lane, Message, Millis, RoomId, UserId};

use super::args::{FloorArgs, FloorLoopArgs};
use super::clock::{now_us, own_cpu_us};
use super::conn::Identity;
use super::drive;
use super::fleet::{Endpoint, Fleet};
use super::opening::Pace;
use super::process::Cores;
use super::progress::Progress;
use super::publisher::Publisher;
use super::report::Report;
use super::stats::Percentiles;
use super::verdict::Verdict;
use super::{commands, process, wire};

/// The room of the bare loop.
const ROOM: &str = "floor";
/// Writes a second that one core is sure to manage; a run without a tick is slowed down to it.
const FEASIBLE_WRITES_PER_S: f64 = 100_000.0;
/// Between the last accept and the first frame.
const BREATH: Duration = Duration::from_millis(500);

/// What the bare loop writes.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Plan {
    /// Sockets.
    pub(super) subscribers: u32,
    /// Messages in each frame.
    pub(super) messages_per_frame: u64,
    /// Time between two frames.
    pub(super) interval_us: u64,
    /// Frames.
    pub(super) frames: u64,
    /// Size of a message's content.
    pub(super) payload_bytes: usize,
}

impl Plan {
    /// What `throng bench floor` shows by default: a lively room in one frame a tick.
    pub(super) fn stated(seconds: u64) -> Self {
        Self::new(5_000, 200.0, Some(100.0), seconds, 100)
    }

    /// Messages at `rate_per_s` in one frame a tick, or in a frame each if `tick_ms` is none.
    pub(super) fn new(subscribers: u32, rate_per_s: f64, tick_ms: Option<f64>, seconds: u64, payload: usize) -> Self {
        let interval_s = tick_ms.map_or(1.0 / rate_per_s, |ms| (ms / 1000.0).max(1.0 / rate_per_s));
        let per_frame = (rate_per_s * interval_s).round().max(1.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive and far below 2^53")]
        let whole = |count: f64| (count as u64).max(1);
        Self {
            subscribers,
            messages_per_frame: whole(per_frame),
            interval_us: whole(interval_s * 1e6),
            frames: whole((seconds as f64 / interval_s).ceil()),
            payload_bytes: payload,
        }
    }
}

/// What the bare loop did.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
struct Done {
    writes: u64,
    skipped: u64,
    cpu_us: u64,
    wall_us: u64,
}

/// Figures of one run of the bare loop.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FloorReport {
    /// Time between two frames.
    #[serde(serialize_with = "super::report::rounded")]
    pub(crate) interval_ms: f64,
    /// Messages in each frame.
    pub(crate) messages_per_frame: u64,
    /// Bytes of each frame.
    pub(crate) frame_bytes: u64,
    /// Writes a second that were done.
    #[serde(serialize_with = "super::report::rounded")]
    pub(crate) writes_per_s: f64,
    /// Writes left out because a client had not read the ones before.
    pub(crate) skipped: u64,
    /// CPU time of the loop per write.
    #[serde(serialize_with = "super::report::rounded")]
    pub(crate) cpu_us_per_write: f64,
    /// CPU time of the loop per message and client.
    #[serde(serialize_with = "super::report::rounded")]
    pub(crate) cpu_us_per_delivery: f64,
    /// The loop's share of one core.
    #[serde(serialize_with = "super::report::rounded")]
    pub(crate) cpu_percent: f64,
    /// The load client's share of one core.
    #[serde(serialize_with = "super::report::rounded")]
    pub(crate) client_cpu_percent: f64,
    /// From the stamp to the receipt. In a run with a tick, stamps are spread over the tick.
    pub(crate) latency_ms: Option<Percentiles>,
    /// Messages that clients did not get.
    pub(crate) lost: u64,
}

/// `throng bench floor`: once with a frame for each message, once with a frame for each tick.
pub(super) fn scenario(args: &FloorArgs, cores: Cores, progress: &Progress) -> anyhow::Result<Report> {
    let feasible = args.rate.min(FEASIBLE_WRITES_PER_S / f64::from(args.subscribers));
    let single = Plan::new(args.subscribers, feasible, None, args.seconds, args.payload_bytes);
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a tick")]
    let tick_ms = args.tick as f64;
    let ticked = Plan::new(args.subscribers, args.rate, Some(tick_ms), args.seconds, args.payload_bytes);
    let runs = vec![measure(single, cores, progress)?, measure(ticked, cores, progress)?];
    let mut report = Report {
        scenario: "floor",
        subscribers: Some(u64::from(args.subscribers)),
        rate_per_s: Some(args.rate),
        seconds: Some(args.seconds as f64),
        payload_bytes: Some(args.payload_bytes as u64),
        floor_cpu_us_per_write: runs.first().map(|run| run.cpu_us_per_write),
        floor_cpu_us_per_delivery: runs.last().map(|run| run.cpu_us_per_delivery),
        floor_latency_ms: runs.last().and_then(|run| run.latency_ms),
        lost: Some(runs.iter().map(|run| run.lost).sum()),
        cores: Some(cores),
        floor: runs,
        ..Report::default()
    };
    report.judge();
    Ok(report)
}

/// Runs the bare loop once, with clients.
pub(super) fn measure(plan: Plan, cores: Cores, progress: &Progress) -> anyhow::Result<FloorReport> {
    progress.stage("bare loop: connecting");
    cores.pin_load();
    let child = Loop::start(plan, cores)?;
    let mut fleet = Fleet::new(vec![Endpoint::from(child.address)])?;
    fleet.shared.bare = true;
    fleet.shared.parser.measure_from(1);
    let room = fleet.shared.parser.room(ROOM);
    for _ in 0..plan.subscribers {
        fleet.add(Identity { rooms: vec![room], viewer: true, ..Identity::default() });
    }
    let pace = Pace { per_s: 20_000, in_flight: 256, deadline: Duration::from_mins(1), tries: 5 };
    drive::connect(&mut fleet, 0..plan.subscribers as usize, pace, progress)?;
    progress.stage("bare loop: writing");
    let cpu_us = own_cpu_us();
    let mut silent = Publisher::silent();
    let most_us = plan.frames * plan.interval_us * 20 + 30_000_000;
    let deadline_us = now_us() + most_us;
    let done = loop {
        drive::settle(&mut fleet, &mut silent, Duration::from_secs(1), Duration::from_millis(20), |_, _| false)?;
        progress.at(fleet.shared.stats.frames, plan.frames * u64::from(plan.subscribers));
        if let Ok(done) = child.lines.try_recv() {
            break serde_json::from_str::<Done>(&done).context("the bare loop said no JSON")?;
        }
        if now_us() > deadline_us {
            bail!("the bare loop did not end in time");
        }
    };
    drive::settle(&mut fleet, &mut silent, Duration::from_millis(300), Duration::from_secs(10), |_, _| false)?;
    let client_us = own_cpu_us() - cpu_us;
    let messages = done.writes * plan.messages_per_frame;
    let per = |sum: u64, of: u64| sum as f64 / of.max(1) as f64;
    Ok(FloorReport {
        interval_ms: plan.interval_us as f64 / 1000.0,
        messages_per_frame: plan.messages_per_frame,
        frame_bytes: frame(&plan, 1, 0).len() as u64,
        writes_per_s: per(done.writes * 1_000_000, done.wall_us),
        skipped: done.skipped,
        cpu_us_per_write: per(done.cpu_us, done.writes),
        cpu_us_per_delivery: per(done.cpu_us, messages),
        cpu_percent: 100.0 * per(done.cpu_us, done.wall_us),
        client_cpu_percent: 100.0 * per(client_us, done.wall_us),
        latency_ms: fleet.shared.stats.all_lanes().percentiles(),
        lost: Verdict::of(&fleet, |_| true).lost(),
    })
}

/// The child process.
struct Loop {
    child: Child,
    address: SocketAddr,
    lines: Receiver<String>,
}

impl Loop {
    fn start(plan: Plan, cores: Cores) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let mut command = Command::new(program);
        command.args(["bench", "floor-loop", "--plan", &serde_json::to_string(&plan)?]);
        if let Some(core) = cores.server {
            command.args(["--core", &core.to_string()]);
        }
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot start the bare loop")?;
        let stdout = child.stdout.take();
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            let said = stdout.map(BufReader::new).into_iter().flat_map(BufReader::lines).map_while(Result::ok);
            for line in said {
                let _ = send.send(line);
            }
        });
        let mut this = Self { child, address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), lines };
        let port = this.lines.recv_timeout(Duration::from_secs(10)).context("the bare loop did not start")?;
        this.address.set_port(port.trim().parse().context("the bare loop named no port")?);
        Ok(this)
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The child: accepts all clients, writes all frames, says what it cost, and waits for the end of its stdin.
pub(super) fn child(args: &FloorLoopArgs) -> anyhow::Result<()> {
    let plan: &Plan = &serde_json::from_str(&args.plan).context("the plan of the bare loop is no JSON")?;
    if let Some(core) = args.core {
        process::pin(None, core);
    }
    let listener = listen().context("cannot listen on 127.0.0.1")?;
    say(&listener.local_addr()?.port().to_string())?;
    let mut clients = Vec::with_capacity(plan.subscribers as usize);
    while clients.len() < plan.subscribers as usize {
        let (stream, _) = listener.accept().context("cannot accept")?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        clients.push(Client { stream, rest: Vec::new() });
    }
    std::thread::sleep(BREATH);
    say(&serde_json::to_string(&write_all(plan, &mut clients)?)?)?;
    // The clients read on; the parent closes this end when they are done.
    let _ = std::io::stdin().lines().next();
    Ok(())
}

/// With a queue for more clients than connect at once.
fn listen() -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

fn say(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush().context("nobody listens to the bare loop")
}

struct Client {
    stream: TcpStream,
    /// What a full socket did not take of a frame.
    rest: Vec<u8>,
}

impl Client {
    /// True: written, or its rest is kept. False: left out, because there was a rest of the frame before.
    fn write(&mut self, frame: &[u8]) -> anyhow::Result<bool> {
        if !self.rest.is_empty() {
            let written = send(&mut self.stream, &self.rest)?;
            self.rest.drain(..written);
            if !self.rest.is_empty() {
                return Ok(false);
            }
        }
        let written = send(&mut self.stream, frame)?;
        self.rest.extend_from_slice(frame.get(written..).unwrap_or_default());
        Ok(written > 0)
    }
}

fn send(stream: &mut TcpStream, bytes: &[u8]) -> anyhow::Result<usize> {
    match stream.write(bytes) {
        Ok(written) => Ok(written),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(0),
        Err(error) => Err(error).context("a client of the bare loop is gone"),
    }
}

fn write_all(plan: &Plan, clients: &mut [Client]) -> anyhow::Result<Done> {
    let (begun_us, cpu_us) = (now_us(), own_cpu_us());
    let mut done = Done::default();
    for number in 0..plan.frames {
        let due_us = begun_us + (number + 1) * plan.interval_us;
        let now = now_us();
        if due_us > now {
            std::thread::sleep(Duration::from_micros(due_us - now));
        }
        let frame = frame(plan, number * plan.messages_per_frame + 1, now_us());
        for client in &mut *clients {
            if client.write(&frame)? {
                done.writes += 1;
            } else {
                done.skipped += 1;
            }
        }
    }
    done.cpu_us = own_cpu_us() - cpu_us;
    done.wall_us = now_us() - begun_us;
    Ok(done)
}

/// A segment as a gateway writes it, numbers from `first`; stamps are spread evenly over the interval that ends at `now_us`.
fn frame(plan: &Plan, first: u64, now_us: u64) -> Vec<u8> {
    let filler = commands::filler(plan.payload_bytes);
    let count = plan.messages_per_frame;
    let (Ok(room), Ok(from)) = (RoomId::new(ROOM), UserId::new("bench-12")) else { return Vec::new() };
    let message = |index: u64| {
        let before_us = plan.interval_us * (count - 1 - index) / count;
        let seq = first + index;
        let data = format!(r#"{{"t":{},"n":{seq},"p":"{filler}"}}"#, now_us.saturating_sub(before_us));
        let at_ms = Millis(1_795_289_705_306);
        Message { lane: Lane::Normal, seq, from: from.clone(), kind: "text".into(), data: Bytes::from(data), at_ms }
    };
    let messages: Vec<Message> = (0..count).map(message).collect();
    let mut payload = Vec::new();
    throng_proto::client::json::write_segment(&room, Epoch(1), messages.iter(), &[], &mut payload);
    let mut frame = Vec::new();
    wire::encode_unmasked(&payload, &mut frame);
    frame
}

/// The bare loop beside a scenario: same subscribers, frames and cadence.
pub(super) fn beside(report: &mut Report, plan: Plan, cores: Cores, progress: &Progress) -> anyhow::Result<()> {
    let run = measure(plan, cores, progress)?;
    report.floor_cpu_us_per_write = Some(run.cpu_us_per_write);
    report.floor_cpu_us_per_delivery = Some(run.cpu_us_per_delivery);
    report.floor_latency_ms = run.latency_ms;
    report.floor = vec![run];
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_gathers_messages_and_a_quiet_room_sends_each_alone() {
        let ticked = Plan::new(5000, 200.0, Some(100.0), 5, 100);
        assert_eq!((ticked.messages_per_frame, ticked.interval_us, ticked.frames), (20, 100_000, 50));
        let quiet = Plan::new(5000, 4.0, None, 5, 100);
        assert_eq!((quiet.messages_per_frame, quiet.interval_us, quiet.frames), (1, 250_000, 20));
        let short = Plan::new(5000, 4.0, Some(50.0), 5, 100);
        assert_eq!((short.messages_per_frame, short.interval_us), (1, 250_000));
    }

    #[test]
    fn the_frame_of_the_bare_loop_is_read_by_hand() {
        let plan = Plan::new(1, 200.0, Some(100.0), 1, 100);
        let bytes = frame(&plan, 41, 1_000_000);
        let at = wire::decode(&bytes).unwrap().expect("complete");
        let scanned = super::super::scan::segment(&bytes[at.payload]).expect("the usual form");
        assert_eq!(scanned.messages.len(), 20);
        let stamps: Vec<u64> = scanned.messages.iter().filter_map(|m| m.mark).map(|mark| mark.sent_us).collect();
        assert_eq!((stamps[0], stamps[19]), (905_000, 1_000_000));
    }
}
