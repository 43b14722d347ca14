//! `throng bench joins`: existing connections join and leave one room, each in its turn.
//!
//! Half of the connections begin inside the room, the other half outside; every command turns one of them round, so joins and
//! leaves alternate at the same rate and the room keeps its size. One connection more, the watcher, stays inside and hears the
//! count.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::Context as _;

use super::args::JoinsArgs;
use super::clock::{now_us, own_cpu_us};
use super::commands;
use super::conn::{ConnId, FIRST_FREE_ID, Identity};
use super::drive;
use super::fleet::Fleet;
use super::frames::ErrorReply;
use super::notes::Note;
use super::process::Cores;
use super::progress::Progress;
use super::report::Report;
use super::server::{Server, Setting};
use super::stats::Latency;

const ROOM: &str = "bench";
const JOINS: &str = "throng_chatroom_joins_total";
const LEAVES: &str = "throng_chatroom_leaves_total";
const MEMBERS: &str = "throng_chatroom_members";
const ASK_EVERY_US: u64 = 100_000;
/// The count must be exact so long after the last command; the bench looks longer to say how late it was.
const EXACT_WITHIN_MS: f64 = 1_000.0;
const LOOK_US: u64 = 5_000_000;
/// A join is answered by then, in 99 of 100 cases.
const JOIN_MS: f64 = 500.0;
/// Share of the asked rate that must be applied.
const APPLIED: f64 = 0.95;
/// A join and a leave of one connection inside one batch of the gateway (50-100 ms) cancel.
const BATCH_S: f64 = 0.1;

/// Runs it.
pub(super) fn scenario(args: &JoinsArgs, cores: Cores, progress: &Progress) -> anyhow::Result<Report> {
    progress.stage("starting the server");
    let mut server = Server::start(&args.server, args.gateways, &[frames_allowed(args)])?;
    server.pin_gateways(cores);
    cores.pin_load();
    let mut fleet = clients(args, &server)?;
    progress.stage("connecting");
    drive::connect(&mut fleet, 0..args.connections as usize + 1, args.server.pace(), progress)?;

    let mut traffic = Traffic::new(args);
    progress.stage("half of them join");
    let half = u64::from(args.connections).div_ceil(2);
    traffic.run(&mut fleet, Order { begun_us: now_us(), per_s: 10_000.0, count: half }, progress)?;
    traffic.answered(&mut fleet, Duration::from_secs(10))?;
    traffic.begin();

    progress.stage("measuring");
    let before = applied(&server)?;
    let (begun_us, cpu, client) = (now_us(), server.gateway_cpu_us()?, own_cpu_us());
    let order = Order { begun_us, per_s: 2.0 * f64::from(args.rate), count: 2 * u64::from(args.rate) * args.seconds };
    traffic.run(&mut fleet, order, progress)?;
    let ended_us = now_us();
    // What is applied while the count is waited for is not of the measured time.
    let after = applied(&server)?;
    let (cpu_after, client_after) = (server.gateway_cpu_us()?, own_cpu_us());
    progress.stage("waiting for the count");
    let exact_us = traffic.count(&mut fleet, &server, ended_us)?;
    traffic.answered(&mut fleet, Duration::from_secs(10))?;
    server.check()?;

    let seconds = (ended_us - begun_us) as f64 / 1e6;
    let wall_us = (ended_us - begun_us) as f64;
    let counted_s = (after.at_us - before.at_us) as f64 / 1e6;
    let per_s = |(before, after): (f64, f64)| (after - before) / counted_s;
    let mut report = Report {
        scenario: "joins",
        subscribers: Some(u64::from(args.connections)),
        rate_per_s: Some(f64::from(args.rate)),
        seconds: Some(seconds),
        gateways: Some(args.gateways),
        joins_per_s: before.joins.zip(after.joins).map(per_s),
        leaves_per_s: before.leaves.zip(after.leaves).map(per_s),
        join_ms: traffic.latency.percentiles(),
        joins_refused: Some(traffic.refused),
        members_expected: Some(traffic.inside()),
        members_counted: traffic.counted,
        count_exact_after_ms: exact_us.map(|us| us.saturating_sub(ended_us) as f64 / 1000.0),
        gateway_cpu_percent: cpu.zip(cpu_after).map(|(before, after)| 100.0 * (after - before) as f64 / wall_us),
        client_cpu_percent: Some(100.0 * (client_after - client) as f64 / wall_us),
        disconnects: Some(fleet.shared.ended.len() as u64),
        cores: Some(cores),
        ..Report::default()
    };
    judge(args, &mut report, &traffic);
    Ok(report)
}

/// What a connection may send a second: its part of the commands, with room for what is late.
fn frames_allowed(args: &JoinsArgs) -> Setting {
    let commands_per_s = 2.0 * f64::from(args.rate) / f64::from(args.connections);
    if 1.0 / commands_per_s < 1.5 * BATCH_S {
        eprintln!(
            "bench: each connection turns round {commands_per_s:.1} times a second: some joins and leaves will cancel"
        );
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small rate")]
    Setting::FramesPerS(((commands_per_s * 4.0) as u32).max(100))
}

fn clients(args: &JoinsArgs, server: &Server) -> anyhow::Result<Fleet> {
    let (mut fleet, signer) = server.fleet()?;
    let gateways = server.ready.urls.len();
    let room = fleet.shared.parser.room(ROOM);
    for number in 0..args.connections as usize {
        let token = signer.sign(&format!("bench-{number}"), None)?;
        fleet.add(Identity { endpoint: number % gateways, token, ..Identity::default() });
    }
    let token = signer.sign("bench-watcher", None)?;
    fleet.add(Identity { token, rooms: vec![room], watched: true, ..Identity::default() });
    Ok(fleet)
}

/// What the chatroom Pods have applied.
struct Applied {
    /// When they had said so.
    at_us: u64,
    joins: Option<f64>,
    leaves: Option<f64>,
}

fn applied(server: &Server) -> anyhow::Result<Applied> {
    let (joins, leaves) = (server.metric("chatroom", JOINS)?, server.metric("chatroom", LEAVES)?);
    Ok(Applied { at_us: now_us(), joins, leaves })
}

/// So many commands at this pace.
#[derive(Clone, Copy)]
struct Order {
    begun_us: u64,
    per_s: f64,
    count: u64,
}

/// A command that was sent.
#[derive(Clone, Copy)]
struct Sent {
    id: u64,
    at_us: u64,
    join: bool,
}

/// Who is inside, and which commands wait for their answer. A connection has one command under way at a time: a leave that
/// overtakes its own join would cancel it, and measure nothing.
struct Traffic {
    inside: Vec<bool>,
    waiting: Vec<Option<Sent>>,
    /// Whose turn is next.
    idle: VecDeque<ConnId>,
    outstanding: u64,
    next_id: u64,
    watcher: ConnId,
    latency: Latency,
    refused: u64,
    first_refusal: Option<String>,
    counted: Option<u64>,
    counted_us: u64,
}

impl Traffic {
    fn new(args: &JoinsArgs) -> Self {
        let connections = args.connections as usize;
        Self {
            inside: vec![false; connections],
            waiting: vec![None; connections],
            idle: (0..connections).step_by(2).collect(),
            outstanding: 0,
            next_id: FIRST_FREE_ID,
            watcher: connections,
            latency: Latency::default(),
            refused: 0,
            first_refusal: None,
            counted: None,
            counted_us: 0,
        }
    }

    /// Half of them are inside; what comes now counts.
    fn begin(&mut self) {
        self.idle = (0..self.inside.len()).collect();
        self.latency = Latency::default();
    }

    /// Members that there should be, the watcher included.
    fn inside(&self) -> u64 {
        self.inside.iter().filter(|inside| **inside).count() as u64 + 1
    }

    /// Sends all commands of an order, or as many as twice its time allows.
    fn run(&mut self, fleet: &mut Fleet, order: Order, progress: &Progress) -> anyhow::Result<()> {
        let mut sent = 0;
        while sent < order.count {
            let elapsed_s = now_us().saturating_sub(order.begun_us) as f64 / 1e6;
            if elapsed_s * order.per_s > 2.0 * order.count as f64 + order.per_s {
                return Ok(());
            }
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of commands")]
            let due = ((elapsed_s * order.per_s) as u64).min(order.count);
            // In small helpings, so that answers are read on time.
            for _ in 0..due.saturating_sub(sent).min(200) {
                let Some(conn) = self.idle.pop_front() else { break };
                self.turn_round(fleet, conn);
                sent += 1;
            }
            let late = sent < due && !self.idle.is_empty();
            fleet.turn(if late { Duration::ZERO } else { drive::TURN })?;
            self.take(fleet);
            progress.at(sent, order.count);
        }
        Ok(())
    }

    /// Whoever is inside leaves, whoever is outside joins.
    fn turn_round(&mut self, fleet: &mut Fleet, conn: ConnId) {
        let (Some(inside), Some(waiting)) = (self.inside.get(conn), self.waiting.get_mut(conn)) else { return };
        let (id, join) = (self.next_id, !*inside);
        self.next_id += 1;
        let text = if join { commands::join(id, ROOM) } else { commands::leave(id, ROOM) };
        *waiting = Some(Sent { id, at_us: now_us(), join });
        self.outstanding += 1;
        fleet.send(conn, &text);
    }

    fn take(&mut self, fleet: &mut Fleet) {
        let now = now_us();
        for note in fleet.take_notes() {
            match note {
                Note::Reply { conn, id, result } => self.answer(conn, id, result.err(), now),
                Note::Event { conn, event, .. } if conn == self.watcher && event.members.is_some() => {
                    (self.counted, self.counted_us) = (event.members, now);
                }
                _ => {}
            }
        }
    }

    fn answer(&mut self, conn: ConnId, id: u64, error: Option<ErrorReply>, now: u64) {
        let (Some(inside), Some(waiting)) = (self.inside.get_mut(conn), self.waiting.get_mut(conn)) else { return };
        let Some(sent) = waiting.take_if(|sent| sent.id == id) else { return };
        self.outstanding -= 1;
        self.idle.push_back(conn);
        if let Some(error) = error {
            // It is still where it was.
            self.refused += 1;
            self.first_refusal.get_or_insert_with(|| format!("{}: {}", error.code, error.message));
            return;
        }
        *inside = sent.join;
        if sent.join {
            self.latency.record_us(now.saturating_sub(sent.at_us));
        }
    }

    /// Waits until every command is answered.
    fn answered(&mut self, fleet: &mut Fleet, most: Duration) -> anyhow::Result<()> {
        let deadline_us = now_us() + drive::micros(most);
        while self.outstanding > 0 {
            fleet.turn(drive::TURN)?;
            self.take(fleet);
            if now_us() > deadline_us {
                let why = self.first_refusal.clone().unwrap_or_else(|| "no answer".to_owned());
                anyhow::bail!("{} joins and leaves were not answered within {most:?} ({why})", self.outstanding);
            }
        }
        Ok(())
    }

    /// Waits until the server counts what it should; none if it does not in time.
    fn count(&mut self, fleet: &mut Fleet, server: &Server, ended_us: u64) -> anyhow::Result<Option<u64>> {
        let mut asked_us = 0;
        while now_us() < ended_us + LOOK_US {
            if now_us() > asked_us + ASK_EVERY_US {
                asked_us = now_us();
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of members")]
                let members = server.metric("chatroom", MEMBERS)?.map(|members| members as u64);
                if members.is_some() {
                    (self.counted, self.counted_us) = (members, now_us());
                }
            }
            if self.outstanding == 0 && self.counted == Some(self.inside()) {
                return Ok(Some(self.counted_us.max(ended_us)));
            }
            fleet.turn(drive::TURN).context("while waiting for the count")?;
            self.take(fleet);
        }
        Ok(None)
    }
}

fn judge(args: &JoinsArgs, report: &mut Report, traffic: &Traffic) {
    report.judge();
    report.promise(report.count_exact_after_ms.is_some(), || {
        let counted = traffic.counted.map_or_else(|| "nothing".to_owned(), |count| count.to_string());
        format!("the server counted {counted} instead of {} members 5 s after the end", traffic.inside())
    });
    let refused = traffic.refused;
    let why = traffic.first_refusal.clone().unwrap_or_default();
    report.promise(refused == 0, || format!("{refused} joins and leaves were refused; the first: {why}"));
    let slack = args.server.slack();
    if args.server.url.is_empty() {
        let enough = APPLIED * f64::from(args.rate);
        report.at_least("joins_per_s", report.joins_per_s, enough, slack);
        report.at_least("leaves_per_s", report.leaves_per_s, enough, slack);
    }
    report.at_most("join_ms.p99", report.join_ms.map(|join| join.p99), JOIN_MS, slack);
    report.at_most("count_exact_after_ms", report.count_exact_after_ms, EXACT_WITHIN_MS, slack);
}
