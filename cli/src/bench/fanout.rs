//! `throng bench fanout`: one room, many subscribers, a steady rate.

use std::time::Duration;

use anyhow::Context as _;
use throng_core::Lane;

use super::args::FanoutArgs;
use super::bounds::Slack;
use super::clock::{now_us, own_cpu_us};
use super::conn::{Conn, Identity};
use super::drive;
use super::fleet::Fleet;
use super::floor::{self, Plan};
use super::frames::RoomKey;
use super::process::Cores;
use super::progress::Progress;
use super::publisher::{Publisher, Stream};
use super::report::Report;
use super::server::{Server, Setting};
use super::verdict::Verdict;

/// Messages a second that one user publishes: under the limit that users have by default.
const PER_PUBLISHER: f64 = 5.0;
/// The room of the bench.
const ROOM: &str = "bench";
/// Messages a second of lanes 2-3 for a client that asks for no other budget.
const DEFAULT_BUDGET: u32 = 20;
/// What a viewer may get of them in any one second: segments of a busy gateway are late, and may meet the next ones.
const BURST: f64 = 1.25;
/// What a viewer receives in a flooded room, compared with a lively one: its budget is the same.
const OVER_BASELINE: f64 = 1.3;
/// What a quiet room's latency may be, compared with the bare loop's.
const OVER_FLOOR: f64 = 1.5;
/// Subscribers that the bounds are stated for.
const STATED: u32 = 5_000;
/// Rooms slower than this are not ticked; the bare loop beside them writes each message alone.
const QUIET_PER_S: f64 = 5.0;

/// Runs it, and the bare loop after it.
pub(super) fn scenario(args: &FanoutArgs, cores: Cores, progress: &Progress) -> anyhow::Result<Report> {
    let baseline = match args.baseline_rate {
        Some(rate) => Some(measure(&FanoutArgs { rate, ..args.clone() }, cores, progress)?),
        None => None,
    };
    let mut report = measure(args, cores, progress)?;
    if let Some(baseline) = baseline {
        report.baseline_bytes_per_viewer_per_s = baseline.bytes_per_viewer_per_s;
        report.broken.extend(baseline.broken.into_iter().map(|broken| format!("at --baseline-rate: {broken}")));
    }
    let floor_seconds = args.server.floor.floor_seconds;
    if floor_seconds > 0 {
        let tick_ms = report.tick_ms.filter(|_| args.rate >= QUIET_PER_S);
        let viewer_rate = report.delivered.unwrap_or(0) as f64 / (f64::from(args.subscribers) * args.seconds as f64);
        let rate = if viewer_rate > 0.0 { viewer_rate } else { args.rate };
        let plan = Plan::new(args.subscribers, rate, tick_ms, floor_seconds, args.payload_bytes);
        floor::beside(&mut report, plan, cores, progress)?;
    } else if args.rate < QUIET_PER_S {
        progress.stage("without the bare loop the bound against it is not judged");
    }
    bound(args, &mut report);
    Ok(report)
}

fn measure(args: &FanoutArgs, cores: Cores, progress: &Progress) -> anyhow::Result<Report> {
    progress.stage("starting the server");
    let mut server = Server::start(&args.server, args.gateways, &settings(args))?;
    server.pin_gateways(cores);
    cores.pin_load();
    let rss_before = server.gateway_rss_bytes()?;
    let (mut fleet, stream) = clients(args, &server)?;
    progress.stage("connecting");
    drive::connect(&mut fleet, 0..args.subscribers as usize, args.server.pace(), progress)?;
    let rss_after = server.gateway_rss_bytes()?;

    progress.stage("warming up");
    let mut publisher = Publisher::new(vec![stream], &fleet);
    publisher.begin(now_us(), f64::MAX, false, &mut fleet.shared);
    drive::run(&mut fleet, &mut publisher, now_us() + args.warm_up * 1_000_000, progress)?;

    progress.stage("measuring");
    let seconds = args.seconds as f64;
    let before = Sample::take(&fleet, &server)?;
    fleet.shared.window_us = Some(before.at_us);
    publisher.begin(before.at_us, seconds, true, &mut fleet.shared);
    drive::run(&mut fleet, &mut publisher, before.at_us + args.seconds * 1_000_000, progress)?;
    let after = Sample::take(&fleet, &server)?;
    fleet.shared.window_us = None;

    progress.stage("waiting for the last messages");
    let everything = publisher.wanted(seconds) * u64::from(args.subscribers);
    let (quiet, most) = (Duration::from_secs(2), Duration::from_secs(20));
    drive::settle(&mut fleet, &mut publisher, quiet, most, |fleet, _| fleet.shared.stats.delivered >= everything)?;
    // A message that comes twice comes now.
    drive::settle(&mut fleet, &mut publisher, Duration::from_millis(300), Duration::from_secs(5), |_, _| false)?;
    server.check()?;

    let mut report = report(args, &fleet, &publisher);
    before.compare(&after, &fleet, &mut report);
    report.rss_bytes_per_connection = rss_before
        .zip(rss_after)
        .map(|(before, after)| after.saturating_sub(before) as f64 / f64::from(args.subscribers));
    report.cores = Some(cores);
    judge(args, &mut report, &publisher, &fleet);
    report.tell_losses(&fleet, |_| true);
    Ok(report)
}

/// The room takes what is published, with some room for jitter; a user takes its share; `--max-rate` is granted.
fn settings(args: &FanoutArgs) -> Vec<Setting> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate")]
    let rate = args.rate.ceil() as u32;
    let mut settings = vec![Setting::RoomRate((rate * 3 / 2).max(200))];
    settings.extend(args.max_rate.map(Setting::MaxRateCap));
    settings
}

fn clients(args: &FanoutArgs, server: &Server) -> anyhow::Result<(Fleet, Stream)> {
    let (mut fleet, signer) = server.fleet()?;
    let gateways = server.ready.urls.len();
    let room: RoomKey = fleet.shared.parser.room(ROOM);
    let lane = Lane::from_number(args.lane).context("a lane is 0, 1, 2 or 3")?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
    let publishers = (args.rate / PER_PUBLISHER).ceil().clamp(1.0, f64::from(args.subscribers)) as u32;
    for number in 0..args.subscribers {
        let rights = (number < publishers).then_some(lane);
        fleet.add(Identity {
            endpoint: number as usize % gateways,
            token: signer.sign(&format!("bench-{number}"), rights)?,
            rooms: vec![room],
            max_rate: args.max_rate,
            viewer: number >= publishers,
            watched: number == args.subscribers - 1,
        });
    }
    let conns = (0..publishers as usize).collect();
    let stream = Stream { conns, room, lane, rate_per_s: args.rate, payload_bytes: args.payload_bytes };
    Ok((fleet, stream))
}

/// Counters at one end of the window.
struct Sample {
    at_us: u64,
    gateway_cpu_us: Option<u64>,
    client_cpu_us: u64,
    received: u64,
    frames: u64,
    bytes: u64,
    viewers_bytes: u64,
}

impl Sample {
    fn take(fleet: &Fleet, server: &Server) -> anyhow::Result<Self> {
        let stats = &fleet.shared.stats;
        Ok(Self {
            at_us: now_us(),
            gateway_cpu_us: server.gateway_cpu_us()?,
            client_cpu_us: own_cpu_us(),
            received: stats.received,
            frames: stats.frames,
            bytes: stats.bytes,
            viewers_bytes: viewers(fleet).map(|conn| conn.tally.bytes).sum(),
        })
    }

    fn compare(&self, later: &Self, fleet: &Fleet, report: &mut Report) {
        let wall_us = (later.at_us - self.at_us) as f64;
        let received = (later.received - self.received) as f64;
        let frames = (later.frames - self.frames) as f64;
        let subscribers = fleet.conns().len() as f64;
        let gateway_us = self.gateway_cpu_us.zip(later.gateway_cpu_us).map(|(before, after)| (after - before) as f64);
        report.gateway_cpu_us_per_delivery = gateway_us.map(|us| us / received.max(1.0));
        report.gateway_cpu_percent = gateway_us.map(|us| 100.0 * us / wall_us);
        report.client_cpu_percent = Some(100.0 * (later.client_cpu_us - self.client_cpu_us) as f64 / wall_us);
        report.messages_per_frame = Some(received / frames.max(1.0));
        report.bytes_per_subscriber_per_s = Some((later.bytes - self.bytes) as f64 / subscribers / (wall_us / 1e6));
        let viewers_bytes = (later.viewers_bytes - self.viewers_bytes) as f64;
        let count = viewers(fleet).count() as f64;
        report.bytes_per_viewer_per_s = Some(viewers_bytes / count.max(1.0) / (wall_us / 1e6));
        let most = viewers(fleet).map(|conn| conn.tally.budgeted).max();
        report.viewer_messages_per_s_max = most.map(|most| most as f64 / (wall_us / 1e6));
        report.viewer_burst_max = Some(fleet.shared.stats.burst_max);
    }
}

/// Those who only look on.
fn viewers(fleet: &Fleet) -> impl Iterator<Item = &Conn> {
    fleet.conns().iter().filter(|conn| conn.identity.viewer)
}

fn report(args: &FanoutArgs, fleet: &Fleet, publisher: &Publisher) -> Report {
    let verdict = Verdict::of(fleet, |_| true);
    let stats = &fleet.shared.stats;
    Report {
        scenario: "fanout",
        subscribers: Some(u64::from(args.subscribers)),
        rate_per_s: Some(args.rate),
        seconds: Some(args.seconds as f64),
        max_rate: args.max_rate,
        gateways: Some(args.gateways),
        lane: Some(args.lane),
        payload_bytes: Some(args.payload_bytes as u64),
        published: Some(publisher.total().accepted),
        publish_limited: Some(publisher.total().limited),
        publish_refused: Some(publisher.total().refused),
        delivered: Some(stats.delivered),
        declared_gaps: Some(verdict.declared()),
        lost: Some(verdict.lost()),
        duplicated: Some(verdict.faults.duplicated + fleet.shared.parser.conflicts()),
        reordered: Some(verdict.faults.reordered),
        unannounced_epochs: Some(verdict.faults.unannounced),
        disconnects: Some(fleet.shared.ended.len() as u64),
        latency_ms: stats.all_lanes().percentiles(),
        tick_ms: stats.tick_ms(),
        ..Report::default()
    }
}

/// What it may cost, at the load of the README or more.
fn bound(args: &FanoutArgs, report: &mut Report) {
    let slack = args.server.slack();
    // What a viewer gets does not hang on the machine.
    if let Some(bytes) = report.baseline_bytes_per_viewer_per_s {
        report.at_most("bytes_per_viewer_per_s", report.bytes_per_viewer_per_s, OVER_BASELINE * bytes, Slack(1.0));
    }
    if args.max_rate.is_none() && args.server.is_own() {
        let burst = report.viewer_burst_max.map(|most| most as f64);
        report.at_most("viewer_burst_max", burst, BURST * f64::from(DEFAULT_BUDGET), Slack(1.0));
    }
    let stated = args.subscribers >= STATED && args.max_rate == Some(0) && args.gateways == 1;
    if !(stated && args.server.is_own()) {
        return;
    }
    let p99 = report.latency_ms.map(|latency| latency.p99);
    if args.rate < QUIET_PER_S {
        report.at_most("latency_ms.p99", p99, 40.0, slack);
        if let Some(floor) = report.floor_latency_ms {
            report.at_most("latency_ms.p99 against the bare loop's", p99, OVER_FLOOR * floor.p99, slack);
        }
        return;
    }
    let (cpu_us, ms) = if args.rate < 200.0 { (2.5, 150.0) } else { (0.35, 250.0) };
    report.cpu_at_most(cpu_us, slack);
    report.at_most("latency_ms.p99", p99, ms, slack);
}

/// The promises of this scenario.
fn judge(args: &FanoutArgs, report: &mut Report, publisher: &Publisher, fleet: &Fleet) {
    report.judge();
    report.first_end(&fleet.shared);
    let (accepted, wanted) = (publisher.total().accepted as f64, 0.99 * args.rate * args.seconds as f64);
    let refusal = publisher.first_refusal.as_deref().map_or_else(String::new, |why| format!("; refused: {why}"));
    report.promise(accepted >= wanted, || {
        format!("only {accepted} messages were published, the run needs {wanted:.0}{refusal}")
    });
    let (delivered, gaps) = (report.delivered.unwrap_or(0), report.declared_gaps.unwrap_or(0));
    if args.max_rate == Some(0) {
        let due = publisher.total().accepted * u64::from(args.subscribers);
        report.promise(delivered == due, || {
            format!("{delivered} of {due} messages were delivered, with no budget asked")
        });
        report.promise(gaps == 0, || format!("{gaps} messages were declared missing, with no budget asked"));
    }
    // What another server has for those who ask for nothing is not known.
    let budget = args.max_rate.or_else(|| args.server.url.is_empty().then_some(DEFAULT_BUDGET));
    if let (Some(budget), Some(most)) = (budget.filter(|rate| *rate > 0), report.viewer_messages_per_s_max) {
        // The budget may be used a second ahead.
        let allowed = f64::from(budget) * (1.0 + 1.0 / args.seconds as f64);
        report.promise(most <= allowed, || format!("a viewer got {most:.1} messages a second, its budget is {budget}"));
    }
}
