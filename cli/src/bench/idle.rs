//! `throng bench idle`: what a connection at rest costs, in memory by slope and in CPU by a minute of silence.

use std::time::Duration;

use throng_core::Lane;

use super::args::IdleArgs;
use super::bounds::Slack;
use super::clock::now_us;
use super::conn::Identity;
use super::drive;
use super::fleet::Fleet;
use super::process::Cores;
use super::progress::Progress;
use super::publisher::{Publisher, Stream};
use super::report::Report;
use super::server::Server;
use super::verdict::Verdict;

/// Connections that the bounds are stated for, and the bounds.
const STATED: u32 = 15_000;
const RSS_BYTES: f64 = 1_536.0;
const CPU_US_PER_S: f64 = 1.0;
/// Time for the server to give back what connecting took, before its memory is read.
const REST_US: u64 = 3_000_000;

/// Runs it.
pub(super) fn scenario(args: &IdleArgs, cores: Cores, progress: &Progress) -> anyhow::Result<Report> {
    progress.stage("starting the server");
    let mut server = Server::start(&args.server, 1, &[])?;
    server.pin_gateways(cores);
    cores.pin_load();
    let (mut fleet, mut publisher) = clients(args, &server)?;
    let mut samples = Vec::new();
    let mut from = 0;
    for third in 1..=3 {
        let to = args.connections as usize * third / 3;
        progress.stage("connecting");
        drive::connect(&mut fleet, from..to, args.server.pace(), progress)?;
        progress.stage("one message for everybody");
        let before = fleet.shared.stats.received;
        publisher.begin(now_us(), 1.0, true, &mut fleet.shared);
        let all = move |fleet: &Fleet, _: &Publisher| fleet.shared.stats.received >= before + to as u64;
        drive::settle(&mut fleet, &mut publisher, Duration::from_secs(5), Duration::from_secs(10), all)?;
        drive::run(&mut fleet, &mut publisher, now_us() + REST_US, progress)?;
        if let Some(rss) = server.gateway_rss_bytes()? {
            samples.push((to as u64, rss));
        }
        from = to;
    }
    progress.stage("resting");
    let pings_before: Vec<u32> = fleet.conns().iter().map(|conn| conn.tally.pings).collect();
    let (begun_us, cpu_before) = (now_us(), server.gateway_cpu_us()?);
    drive::run(&mut fleet, &mut publisher, begun_us + args.seconds * 1_000_000, progress)?;
    let (ended_us, cpu_after) = (now_us(), server.gateway_cpu_us()?);
    server.check()?;

    let seconds = (ended_us - begun_us) as f64 / 1e6;
    let verdict = Verdict::of(&fleet, |_| true);
    let pings = fleet.conns().iter().zip(pings_before).map(|(conn, before)| conn.tally.pings - before);
    let mut report = Report {
        scenario: "idle",
        subscribers: Some(u64::from(args.connections)),
        seconds: Some(seconds),
        gateways: Some(1),
        published: Some(publisher.total().accepted),
        delivered: Some(fleet.shared.stats.delivered),
        lost: Some(verdict.lost()),
        declared_gaps: Some(verdict.declared()),
        duplicated: Some(verdict.faults.duplicated + fleet.shared.parser.conflicts()),
        reordered: Some(verdict.faults.reordered),
        unannounced_epochs: Some(verdict.faults.unannounced),
        disconnects: Some(fleet.shared.ended.len() as u64),
        rss_bytes_per_connection: slope(&samples),
        rss_samples: samples,
        idle_cpu_us_per_s_per_connection: cpu_before
            .zip(cpu_after)
            .map(|(before, after)| (after - before) as f64 / seconds / f64::from(args.connections)),
        pings_per_connection_min: pings.min(),
        cores: Some(cores),
        ..Report::default()
    };
    judge(args, &mut report, &publisher, &fleet);
    Ok(report)
}

/// The promises of this scenario, and what it may cost.
fn judge(args: &IdleArgs, report: &mut Report, publisher: &Publisher, fleet: &Fleet) {
    report.judge();
    let rounds = args.seconds / 30;
    let pinged = report.pings_per_connection_min.unwrap_or(0);
    report.promise(u64::from(pinged) >= rounds, || {
        format!("some connection was pinged only {pinged} times, {rounds} are due")
    });
    report.first_end(&fleet.shared);
    report.promise(publisher.total().accepted == 3, || "not all of the three messages were published".to_owned());
    if args.connections >= STATED && args.server.is_own() {
        // Memory does not hang on the machine.
        report.at_most("rss_bytes_per_connection", report.rss_bytes_per_connection, RSS_BYTES, Slack(1.0));
        let cpu = report.idle_cpu_us_per_s_per_connection;
        report.at_most("idle_cpu_us_per_s_per_connection", cpu, CPU_US_PER_S, args.server.slack());
    }
}

fn clients(args: &IdleArgs, server: &Server) -> anyhow::Result<(Fleet, Publisher)> {
    let (mut fleet, signer) = server.fleet()?;
    let room = fleet.shared.parser.room("bench");
    for number in 0..args.connections {
        let token = signer.sign(&format!("bench-{number}"), None)?;
        fleet.add(Identity { token, rooms: vec![room], viewer: true, ..Identity::default() });
    }
    let stream = Stream { conns: vec![0], room, lane: Lane::Normal, rate_per_s: 1.0, payload_bytes: 100 };
    let publisher = Publisher::new(vec![stream], &fleet);
    Ok((fleet, publisher))
}

/// Slope of the least-squares line through (connections, bytes); none of fewer than two sizes.
fn slope(samples: &[(u64, u64)]) -> Option<f64> {
    let count = samples.len() as f64;
    let mean_x = samples.iter().map(|(x, _)| *x as f64).sum::<f64>() / count;
    let mean_y = samples.iter().map(|(_, y)| *y as f64).sum::<f64>() / count;
    let covariance: f64 = samples.iter().map(|(x, y)| (*x as f64 - mean_x) * (*y as f64 - mean_y)).sum();
    let variance: f64 = samples.iter().map(|(x, _)| (*x as f64 - mean_x).powi(2)).sum();
    (variance > 0.0).then(|| covariance / variance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_leaves_out_what_the_process_weighs_by_itself() {
        let base = 20_000_000;
        let samples = [(5_000, base + 5_000 * 900), (10_000, base + 10_000 * 900), (15_000, base + 15_000 * 900)];
        assert!((slope(&samples).unwrap() - 900.0).abs() < 1e-6);
        assert_eq!(slope(&samples[..1]), None);
        assert_eq!(slope(&[]), None);
    }
}
