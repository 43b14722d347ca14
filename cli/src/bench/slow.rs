//! `throng bench slow`: some readers stall and lanes 2-3 are flooded; lanes 0 and 1 must reach everybody who reads.
//!
//! A tick gathers messages, so the number of writes is no limit: bytes are. The bare loop says how many bytes a second one
//! core hands to so many sockets; lanes 2-3 are offered at a multiple of that. Clients have small receive buffers, so that
//! what waits does so in the gateway, which must choose. A run in which everything arrived was none, and fails.

use std::time::Duration;

use throng_core::Lane;

use super::args::SlowArgs;
use super::clock::now_us;
use super::conn::Identity;
use super::drive;
use super::fleet::Fleet;
use super::floor::{self, Plan};
use super::process::Cores;
use super::progress::Progress;
use super::publisher::{Publisher, Stream};
use super::report::{LaneReport, Report};
use super::server::{Server, Setting};
use super::stats::Latency;
use super::verdict::Verdict;

const ROOM: &str = "bench";
/// Messages a second on the lanes that must not lose anything.
const CONTROL_PER_S: f64 = 1.0;
const PROTECTED_PER_S: f64 = 20.0;
const LOSSLESS_BYTES: usize = 100;
/// Messages a second that one user publishes: under the limit that users have by default.
const PER_PUBLISHER: f64 = 5.0;
/// Flooding before the window, so that the buffers of those who stall are full.
const WARM_UP_S: u64 = 3;
/// The bare loop's frames: of 16 KB, ten a second, which it can write with time to spare.
const FLOOR_PER_S: f64 = 200.0;
const FLOOR_TICK_MS: f64 = 100.0;
const FLOOR_PAYLOAD_BYTES: usize = 800;
/// Receive buffer of a client: what it may have unread is read within the time promised.
const RECEIVE_BYTES: usize = 32 << 10;
/// Time between two looks at the server's memory.
const LOOK_US: u64 = 250_000;

/// Runs it.
pub(super) fn scenario(args: &SlowArgs, cores: Cores, progress: &Progress) -> anyhow::Result<Report> {
    let mut report = Report { scenario: "slow", ..Report::default() };
    let frames = Plan::new(args.subscribers, FLOOR_PER_S, Some(FLOOR_TICK_MS), 3, FLOOR_PAYLOAD_BYTES);
    floor::beside(&mut report, frames, cores, progress)?;
    let written = report.floor.first().map_or(0.0, |run| run.frame_bytes as f64 * 1e6 / run.cpu_us_per_write.max(0.1));
    let per_message = (args.payload_bytes * args.subscribers as usize) as f64;
    let offered = args.offered.unwrap_or(args.overload * written / per_message);
    report.floor_mb_per_s = Some(written / 1e6);
    report.offered_mb_per_s = Some(offered * per_message / 1e6);

    progress.stage("starting the server");
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate")]
    let quota = (2.0 * offered) as u32 + 200;
    let mut server = Server::start(&args.server, 1, &[Setting::RoomRate(quota), Setting::MaxRateCap(0)])?;
    server.pin_gateways(cores);
    cores.pin_load();
    let stalled = args.subscribers * args.stalled_percent / 100;
    let readers = (args.subscribers - stalled) as usize;
    let (mut fleet, mut publisher) = clients(args, &server, offered, readers)?;
    progress.stage("connecting");
    drive::connect(&mut fleet, 0..args.subscribers as usize, args.server.pace(), progress)?;
    report.rss_steady_bytes = Some(server.gateway_rss_now()).filter(|rss| *rss > 0);
    for id in readers..args.subscribers as usize {
        fleet.stall(id);
    }

    let mut peak = 0;
    progress.stage("warming up");
    publisher.begin(now_us(), f64::MAX, false, &mut fleet.shared);
    watch(&mut fleet, &mut publisher, &server, &mut peak, WARM_UP_S)?;
    progress.stage("measuring");
    publisher.begin(now_us(), args.seconds as f64, true, &mut fleet.shared);
    watch(&mut fleet, &mut publisher, &server, &mut peak, args.seconds)?;
    progress.stage("waiting for the last messages");
    drive::settle(&mut fleet, &mut publisher, Duration::from_secs(3), Duration::from_secs(30), |_, _| false)?;
    server.check()?;

    report.rss_peak_bytes = Some(peak).filter(|peak| *peak > 0);
    report.rate_per_s = Some(offered + CONTROL_PER_S + PROTECTED_PER_S);
    report.offered_per_s = Some(offered);
    report.subscribers = Some(u64::from(args.subscribers));
    report.stalled = Some(u64::from(stalled));
    report.seconds = Some(args.seconds as f64);
    report.payload_bytes = Some(args.payload_bytes as u64);
    report.cores = Some(cores);
    fill(&mut report, &fleet, &publisher, readers);
    judge(args, &mut report, &publisher);
    report.tell_losses(&fleet, |id| id < readers);
    if report.disconnects != Some(0) {
        report.first_end(&fleet.shared);
    }
    Ok(report)
}

/// Runs for a while, with an eye on the server's memory.
fn watch(
    fleet: &mut Fleet,
    publisher: &mut Publisher,
    server: &Server,
    peak: &mut u64,
    seconds: u64,
) -> anyhow::Result<()> {
    let end_us = now_us() + seconds * 1_000_000;
    let silent = Progress::hidden();
    while now_us() < end_us {
        drive::run(fleet, publisher, end_us.min(now_us() + LOOK_US), &silent)?;
        *peak = (*peak).max(server.gateway_rss_now());
    }
    Ok(())
}

fn clients(args: &SlowArgs, server: &Server, offered: f64, readers: usize) -> anyhow::Result<(Fleet, Publisher)> {
    let (mut fleet, signer) = server.fleet()?;
    fleet.receive_bytes = Some(RECEIVE_BYTES);
    let gateways = server.ready.urls.len();
    let room = fleet.shared.parser.room(ROOM);
    for number in 0..args.subscribers as usize {
        // Readers may publish on every lane; which ones do is settled below.
        let rights = (number < readers).then_some(Lane::Control);
        fleet.add(Identity {
            endpoint: number % gateways,
            token: signer.sign(&format!("bench-{number}"), rights)?,
            rooms: vec![room],
            max_rate: Some(0),
            ..Identity::default()
        });
    }
    let rates = [CONTROL_PER_S, PROTECTED_PER_S, offered / 2.0, offered / 2.0];
    let mut next = 0;
    let mut stream = |(lane, rate_per_s): (Lane, f64)| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
        let count = ((rate_per_s / PER_PUBLISHER).ceil() as usize).clamp(1, readers);
        let conns = (next..next + count).map(|number| number % readers).collect();
        next += count;
        let payload_bytes = if lane.is_lossless() { LOSSLESS_BYTES } else { args.payload_bytes };
        Stream { conns, room, lane, rate_per_s, payload_bytes }
    };
    let streams = Lane::ALL.into_iter().zip(rates).map(&mut stream).collect();
    let publisher = Publisher::new(streams, &fleet);
    Ok((fleet, publisher))
}

fn fill(report: &mut Report, fleet: &Fleet, publisher: &Publisher, readers: usize) {
    let verdict = Verdict::of(fleet, |id| id < readers);
    let stats = &fleet.shared.stats;
    let total = publisher.total();
    let mut lossless = Latency::default();
    for lane in Lane::ALL {
        let (Some(found), Some(count), Some(latency)) =
            (verdict.lanes.get(lane.index()), publisher.measured.get(lane.index()), stats.latency.get(lane.index()))
        else {
            continue;
        };
        if lane.is_lossless() {
            lossless.add(latency);
        }
        report.lanes.push(LaneReport {
            lane: lane.number(),
            published: count.accepted,
            received: found.received,
            declared_gaps: found.declared,
            lost: found.lost,
            latency_ms: latency.percentiles(),
        });
    }
    report.lossless_latency_ms = lossless.percentiles();
    report.published = Some(total.accepted);
    report.publish_limited = Some(total.limited);
    report.publish_refused = Some(total.refused);
    report.delivered = Some(stats.delivered);
    report.declared_gaps = Some(verdict.declared());
    report.lost = Some(verdict.lost());
    report.duplicated = Some(verdict.faults.duplicated + fleet.shared.parser.conflicts());
    report.reordered = Some(verdict.faults.reordered);
    report.unannounced_epochs = Some(verdict.faults.unannounced);
    report.disconnects = Some(fleet.shared.ended.iter().filter(|id| **id < readers).count() as u64);
    report.latency_ms = stats.all_lanes().percentiles();
}

/// The promises of this scenario: all of lanes 0 and 1 arrives.
fn judge(args: &SlowArgs, report: &mut Report, publisher: &Publisher) {
    report.judge();
    let missing: u64 = report.lanes.iter().take(2).map(|lane| lane.declared_gaps).sum();
    report.promise(missing == 0, || {
        format!("{missing} messages of lanes 0 and 1 were declared missing to clients that read")
    });
    let dropped: u64 = report.lanes.iter().skip(2).map(|lane| lane.declared_gaps).sum();
    report.promise(dropped > 0, || "everything arrived, so this was no overload: raise --overload".to_owned());
    let wanted = 0.99 * publisher.wanted(args.seconds as f64) as f64;
    let accepted = publisher.total().accepted as f64;
    let refusal = publisher.first_refusal.as_deref().map_or_else(String::new, |why| format!("; refused: {why}"));
    report.promise(accepted >= wanted, || {
        format!("only {accepted} messages were published, the run needs {wanted:.0}{refusal}")
    });
}
