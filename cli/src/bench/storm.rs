//! `throng bench storm`: all clients are cut off and come back at once; then a gateway dies. Messages flow all the time, and
//! nobody may miss one.

use std::time::Duration;

use anyhow::Context as _;
use throng_core::Lane;

use super::args::StormArgs;
use super::bounds::Slack;
use super::clock::now_us;
use super::conn::Identity;
use super::drive::{self, TURN};
use super::fleet::Fleet;
use super::notes::Opened;
use super::opening::{Opening, Pace};
use super::process::{self, Cores};
use super::progress::Progress;
use super::publisher::{Publisher, Stream};
use super::report::Report;
use super::server::Server;
use super::stats::{Latency, Percentiles};
use super::verdict::Verdict;

const ROOM: &str = "bench";
/// Users who publish, and are not cut off in the first part.
const PUBLISHERS: usize = 8;
/// What chatroom Pods read from the store; no other role reads rooms.
const READS: &str = "throng_store_reads_total";
/// Of 100 clients, 99 must be back by then.
const BACK_WITHIN_MS: f64 = 10_000.0;
/// Memory of the gateways may rise to so many times what it was.
const PEAK: f64 = 1.5;
/// The bench looks on for a while longer, to say how late the rest was.
const LOOK: Duration = Duration::from_secs(30);
/// Calm before the first part, between the parts and after the last.
const CALM_US: u64 = 3_000_000;
/// Time between two looks at the server's memory.
const SAMPLE_US: u64 = 100_000;
/// Who is heard later than this after the cut is connected to a gateway that lives: messages flow all the time.
const NOTICED_US: u64 = 500_000;

/// Runs it.
pub(super) fn scenario(args: &StormArgs, cores: Cores, progress: &Progress) -> anyhow::Result<Report> {
    progress.stage("starting the server");
    let mut server = Server::start(&args.server, args.gateways, &[])?;
    server.pin_gateways(cores);
    cores.pin_load();
    let (mut fleet, stream) = clients(args, &server)?;
    let everybody = args.connections as usize + PUBLISHERS;
    progress.stage("connecting");
    drive::connect(&mut fleet, 0..everybody, args.server.pace(), progress)?;
    let mut publisher = Publisher::new(vec![stream], &fleet);
    publisher.begin(now_us(), f64::MAX, true, &mut fleet.shared);
    progress.stage("calm");
    drive::run(&mut fleet, &mut publisher, now_us() + CALM_US, progress)?;

    let read_before = server.metric("chatroom", READS)?;
    let mut parts = Parts { steady: server.gateway_rss_now(), peak: 0, recovered: 0, partly: 0, fresh: 0 };
    progress.stage("everybody comes back at once");
    let clients: Vec<_> = (PUBLISHERS..everybody).collect();
    for id in &clients {
        fleet.cut(*id);
    }
    let back = parts.play(&mut fleet, &mut publisher, &server, clients, progress)?;
    progress.stage("calm");
    drive::run(&mut fleet, &mut publisher, now_us() + CALM_US, progress)?;
    let mut after_kill = None;
    if let Some(victim) = server.pods("gateway").next().filter(|_| args.gateways > 1) {
        progress.stage("a gateway dies");
        process::kill(victim.pid)?;
        after_kill = parts.play(&mut fleet, &mut publisher, &server, Vec::new(), progress)?;
        progress.stage("calm");
        drive::run(&mut fleet, &mut publisher, now_us() + CALM_US, progress)?;
    }
    publisher.end();
    drive::settle(&mut fleet, &mut publisher, Duration::from_secs(2), Duration::from_secs(20), |_, _| false)?;
    server.check()?;
    let reads = read_before.zip(server.metric("chatroom", READS)?).map(|(before, after)| after - before);

    let mut report = report(args, &fleet, &publisher, &parts);
    let returns = (parts.recovered + parts.partly + parts.fresh).max(1) as f64;
    report.store_reads_per_resume = reads.map(|reads| reads / returns);
    report.back_ms = back;
    report.back_after_kill_ms = after_kill;
    report.cores = Some(cores);
    judge(args, &mut report, &parts);
    report.tell_losses(&fleet, |_| true);
    Ok(report)
}

fn clients(args: &StormArgs, server: &Server) -> anyhow::Result<(Fleet, Stream)> {
    let (mut fleet, signer) = server.fleet()?;
    let gateways = server.ready.urls.len();
    let room = fleet.shared.parser.room(ROOM);
    for number in 0..args.connections as usize + PUBLISHERS {
        let rights = (number < PUBLISHERS).then_some(Lane::Protected);
        fleet.add(Identity {
            endpoint: number % gateways,
            token: signer.sign(&format!("bench-{number}"), rights)?,
            rooms: vec![room],
            ..Identity::default()
        });
    }
    let conns = (0..PUBLISHERS).collect();
    Ok((fleet, Stream { conns, room, lane: Lane::Protected, rate_per_s: args.rate, payload_bytes: 100 }))
}

/// What both parts add up to.
struct Parts {
    steady: u64,
    peak: u64,
    recovered: u64,
    partly: u64,
    fresh: u64,
}

impl Parts {
    /// Brings back `cut` and whoever else is cut off meanwhile. How long it took them, none if there was nobody.
    fn play(
        &mut self,
        fleet: &mut Fleet,
        publisher: &mut Publisher,
        server: &Server,
        cut: Vec<usize>,
        progress: &Progress,
    ) -> anyhow::Result<Option<Percentiles>> {
        let begun_us = now_us();
        // At once: nothing is held back on this side.
        let pace = Pace { per_s: 1_000_000, in_flight: usize::MAX, deadline: LOOK, tries: 1_000 };
        let mut opening = Opening::new(cut, pace, begun_us);
        let mut sampled_us = 0;
        loop {
            let now = now_us();
            if opening.is_done() && now > begun_us + NOTICED_US {
                // An end that was not read yet is not known: only who is heard again is back.
                let deaf = fleet.conns().iter().filter(|conn| conn.tally.heard_us < begun_us + NOTICED_US).count();
                if deaf == 0 {
                    break;
                }
                let late = now > begun_us + drive::micros(LOOK);
                anyhow::ensure!(!late, "{deaf} connections are open and have heard nothing for {LOOK:?}");
            }
            opening.pump(fleet, now).context("not everybody came back")?;
            publisher.pump(fleet, now);
            fleet.turn(TURN)?;
            for note in fleet.take_notes() {
                publisher.note(&note, &mut fleet.shared);
                opening.note(&note, now_us())?;
            }
            if now > sampled_us + SAMPLE_US {
                sampled_us = now;
                self.peak = self.peak.max(server.gateway_rss_now());
            }
            progress.at(opening.ready.len() as u64, opening.wanted() as u64);
        }
        let mut back = Latency::default();
        for (how, at_us) in &opening.ready {
            back.record_us(at_us - begun_us);
            *match how {
                Opened::Recovered => &mut self.recovered,
                Opened::Partly => &mut self.partly,
                Opened::Fresh => &mut self.fresh,
            } += 1;
        }
        Ok(back.percentiles())
    }
}

fn report(args: &StormArgs, fleet: &Fleet, publisher: &Publisher, parts: &Parts) -> Report {
    let verdict = Verdict::of(fleet, |_| true);
    let total = publisher.total();
    let known = |bytes: u64| Some(bytes).filter(|bytes| *bytes > 0);
    Report {
        scenario: "storm",
        subscribers: Some(u64::from(args.connections)),
        rate_per_s: Some(args.rate),
        gateways: Some(args.gateways),
        lane: Some(Lane::Protected.number()),
        published: Some(total.accepted),
        publish_limited: Some(total.limited),
        publish_refused: Some(total.refused),
        delivered: Some(fleet.shared.stats.delivered),
        declared_gaps: Some(verdict.declared()),
        lost: Some(verdict.lost()),
        duplicated: Some(verdict.faults.duplicated + fleet.shared.parser.conflicts()),
        reordered: Some(verdict.faults.reordered),
        unannounced_epochs: Some(verdict.faults.unannounced),
        latency_ms: fleet.shared.stats.all_lanes().percentiles(),
        recovered: Some(parts.recovered),
        recovered_partly: Some(parts.partly),
        sessions_lost: Some(parts.fresh),
        rss_steady_bytes: known(parts.steady),
        rss_peak_bytes: known(parts.peak),
        ..Report::default()
    }
}

/// The promises of this scenario.
fn judge(args: &StormArgs, report: &mut Report, parts: &Parts) {
    report.judge();
    let (partly, fresh) = (parts.partly, parts.fresh);
    report.promise(partly == 0, || format!("{partly} clients came back with recovered: false"));
    report.promise(fresh == 0, || format!("{fresh} clients could not resume and began a new session"));
    // A server of one's own is measured, so nothing known of it is nothing proved.
    let reads = report.store_reads_per_resume;
    let kept = reads.map_or(!args.server.is_own(), |reads| reads <= 0.0);
    report.promise(kept, || format!("each resume cost {reads:.4?} reads of the store, none are promised"));
    let gaps = report.declared_gaps.unwrap_or(0);
    report.promise(gaps == 0, || format!("{gaps} messages of lane 1 were declared missing"));
    let slack = args.server.slack();
    if parts.steady > 0 {
        // Memory does not hang on the machine.
        let peak = report.rss_peak_bytes.map(|bytes| bytes as f64);
        report.at_most("rss_peak_bytes", peak, PEAK * parts.steady as f64, Slack(1.0));
    }
    for (name, back) in [("back_ms.p99", report.back_ms), ("back_after_kill_ms.p99", report.back_after_kill_ms)] {
        if let Some(back) = back {
            report.at_most(name, Some(back.p99), BACK_WITHIN_MS, slack);
        }
    }
}
