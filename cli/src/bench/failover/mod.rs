//! `throng bench failover`: what fails, and what people notice of it.
//!
//! [`world`] starts the real thing, every process for itself: [`stores`] (Redis and etcd), two Pods of each role, and the
//! [`operator`]'s part, which places slots. As root each [`child`] lives in a namespace of its [`net`]. The [`crowd`] talks
//! in one hot room and comes back when it is cut off; [`probes`] ask every room once a second whether it lives. [`faults`]
//! says what is done and promised, [`prove`] what is seen of those that are left, [`outcome`] what came of it. All messages are checked as in every bench.

mod args;
mod child;
mod crowd;
mod faults;
mod net;
mod operator;
mod outcome;
mod probes;
mod prove;
mod stores;
mod world;

use std::time::Duration;

use anyhow::bail;
use throng_core::Lane;

pub(super) use args::{EXAMPLES, FailoverArgs};
pub(super) use crowd::Crowd;
pub(crate) use outcome::FaultReport;

use super::bounds::Slack;
use super::clock::now_us;
use super::drive::{self, TURN, micros};
use super::fleet::Fleet;
use super::notes::Silence;
use super::opening::Pace;
use super::progress::Progress;
use super::publisher::{Publisher, Stream};
use super::report::Report;
use super::token::Signer;
use super::verdict::Verdict;
use crowd::Rooms;
use faults::Fault;
use probes::Probes;
use world::World;

/// The cluster has placed all its slots by then, at the start and after each fault.
const SETTLED_WITHIN: Duration = Duration::from_mins(1);
/// Between the first probe and the blow.
const BEFORE: Duration = Duration::from_millis(1_200);
/// Probing goes on for so long after a fault is healed.
const AFTER: Duration = Duration::from_secs(3);
/// What is under way then is stored and received by then.
const FINISHED_WITHIN: Duration = Duration::from_secs(30);
/// Answers to pulls come by then.
const PULLED_WITHIN: Duration = Duration::from_secs(3);
/// Time between two looks at the processes.
const CHECK_US: u64 = 200_000;
/// Messages a second that one user publishes in the hot room.
const PER_PUBLISHER: f64 = 5.0;

/// Runs it.
pub(super) fn scenario(args: &FailoverArgs, progress: &Progress) -> anyhow::Result<Report> {
    let once: Vec<Fault> = args.faults.iter().flat_map(|fault| fault.each()).collect();
    let faults: Vec<Fault> = (0..args.times).flat_map(|_| once.clone()).collect();
    progress.stage("starting stores and Pods");
    let mut world = World::start(args, &faults)?;
    wait_settled(&mut world)?;
    let mut fleet = Fleet::new(world.endpoints()?)?;
    let rooms = Rooms::fill(args, &mut fleet, &Signer::new(&world.secret), world::PODS)?;
    progress.stage("connecting");
    let pace = Pace { per_s: 500, in_flight: 64, deadline: Duration::from_mins(1), tries: 20 };
    drive::connect(&mut fleet, 0..args.members as usize, pace, progress)?;

    let publisher = Publisher::new(vec![hot_stream(args, &rooms)], &fleet);
    let (probes, crowd) = (Probes::new(&rooms), Crowd::new(world::PODS));
    let mut bench = Bench { args, world, fleet, rooms, publisher, probes, crowd, checked_us: 0, progress };
    bench.publisher.begin(now_us(), f64::MAX, true, &mut bench.fleet.shared);
    let mut report = Report { scenario: "failover", ..Report::default() };
    for fault in &faults {
        let found = bench.play(*fault)?;
        let worst_ms = found.worst_ms(*fault).unwrap_or(f64::NAN);
        // Told at once: a run that is interrupted has shown something all the same.
        eprintln!("bench: {}: worst {worst_ms:.0} ms: {}", found.fault, serde_json::to_string(&found)?);
        report.faults.push(found);
    }
    progress.stage("waiting for the last messages");
    bench.publisher.end();
    bench.turns(Duration::from_secs(3), |_| false)?;
    bench.report(&faults, &mut report);
    Ok(report)
}

/// Several users in turn, so that none is over its limit; all others look on.
fn hot_stream(args: &FailoverArgs, rooms: &Rooms) -> Stream {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
    let publishers = ((args.rate / PER_PUBLISHER).ceil() as usize).clamp(1, args.members as usize);
    let conns = (0..publishers).collect();
    Stream { conns, room: rooms.hot, lane: Lane::Normal, rate_per_s: args.rate, payload_bytes: 100 }
}

fn wait_settled(world: &mut World) -> anyhow::Result<()> {
    let deadline_us = now_us() + micros(SETTLED_WITHIN);
    loop {
        world.check()?;
        let seen = world.operator.look();
        if seen.settled && seen.members.iter().all(|count| *count >= world::PODS) {
            return Ok(());
        }
        if now_us() > deadline_us {
            bail!("the cluster was not ready within {SETTLED_WITHIN:?}: {}; members: {:?}", seen.reason, seen.members);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Everything that runs together.
struct Bench<'b> {
    args: &'b FailoverArgs,
    world: World,
    fleet: Fleet,
    rooms: Rooms,
    publisher: Publisher,
    probes: Probes,
    crowd: Crowd,
    checked_us: u64,
    progress: &'b Progress,
}

impl Bench<'_> {
    /// One fault from the first probe to the last receipt, and until all is as it was.
    fn play(&mut self, fault: Fault) -> anyhow::Result<FaultReport> {
        self.progress.stage(fault.name());
        let ended = self.crowd.disconnects;
        self.fleet.shared.silence = Silence { room: Some(self.rooms.hot), since_us: now_us(), ..Silence::default() };
        self.probes.begin(now_us());
        self.turns(BEFORE, |_| false)?;
        let struck_us = now_us();
        self.world.strike(fault)?;
        if fault == Fault::Move {
            self.turns(SETTLED_WITHIN, |bench| bench.world.operator.look().settled)?;
        }
        let proof = self.prove(fault, struck_us)?;
        self.world.heal(fault)?;
        if fault == Fault::Move {
            self.turns(SETTLED_WITHIN, |bench| bench.world.operator.look().settled)?;
        }
        self.turns(AFTER, |_| false)?;
        self.probes.close();
        self.turns(FINISHED_WITHIN, |bench| bench.probes.is_done())?;
        if !self.probes.is_done() {
            self.probes.pull(&mut self.fleet);
            self.turns(PULLED_WITHIN, |bench| bench.probes.is_done())?;
        }
        self.fleet.shared.silence.room = None;
        let gap_ms = self.fleet.shared.silence.times.percentiles();
        let mut found = FaultReport::new(fault, self.probes.outcome(), gap_ms, proof);
        found.disconnects = self.crowd.disconnects - ended;
        for odd in self.probes.take_odd() {
            eprintln!("bench: {}: {odd}", fault.name());
        }
        self.restore()?;
        match self.not_restored() {
            None => found.settled_after_ms = Some((now_us() - struck_us) as f64 / 1000.0),
            Some(reason) => found.unsettled = reason,
        }
        Ok(found)
    }

    /// Replaces what was killed and waits until all is as it was before.
    fn restore(&mut self) -> anyhow::Result<()> {
        self.world.replace()?;
        for (place, endpoint) in self.world.endpoints()?.into_iter().enumerate() {
            self.fleet.replace(place, endpoint);
        }
        self.turns(SETTLED_WITHIN, Self::is_restored)
    }

    fn is_restored(&self) -> bool {
        self.not_restored().is_none()
    }

    /// Why not all is as it was; none if it is.
    fn not_restored(&self) -> Option<String> {
        let seen = self.world.operator.look();
        if !seen.settled {
            return Some(seen.reason);
        }
        if seen.members.iter().any(|count| *count != world::PODS) {
            return Some(format!("there are {:?} Pods", seen.members));
        }
        if !self.crowd.is_complete(&self.fleet) {
            return Some("clients are not back in their rooms".to_owned());
        }
        self.world.stores_not_restored()
    }

    /// Lets everything run until `done`, at most for `most`.
    fn turns(&mut self, most: Duration, done: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        let (begun_us, most_us) = (now_us(), micros(most));
        loop {
            let now = now_us();
            if now - begun_us >= most_us || done(self) {
                return Ok(());
            }
            if now > self.checked_us + CHECK_US {
                self.checked_us = now;
                self.world.check()?;
            }
            self.publisher.pump(&mut self.fleet, now);
            self.probes.pump(&mut self.fleet, now);
            self.crowd.pump(&mut self.fleet, now);
            self.fleet.turn(TURN)?;
            for receipt in std::mem::take(&mut self.fleet.shared.receipts) {
                self.probes.receive(receipt);
            }
            for note in self.fleet.take_notes() {
                self.publisher.note(&note, &mut self.fleet.shared);
                self.probes.note(&note, &mut self.fleet);
                self.crowd.note(&note, &mut self.fleet);
            }
            self.progress.at((now - begun_us) / 1_000_000, most_us / 1_000_000);
        }
    }

    fn report(&self, faults: &[Fault], report: &mut Report) {
        let fleet = &self.fleet;
        let verdict = Verdict::of(fleet, |_| true);
        let total = self.publisher.total();
        report.subscribers = Some(u64::from(self.args.members));
        report.rooms = Some(u64::from(self.args.rooms));
        report.rate_per_s = Some(self.args.rate);
        report.published = Some(total.accepted);
        report.publish_limited = Some(total.limited);
        report.publish_refused = Some(total.refused);
        report.delivered = Some(fleet.shared.stats.delivered);
        report.declared_gaps = Some(verdict.declared());
        report.undeclared_gaps = Some(verdict.lost());
        report.duplicated = Some(verdict.faults.duplicated + self.probes.twice + fleet.shared.parser.two_contents());
        report.reordered = Some(verdict.faults.reordered);
        report.unannounced_epochs = Some(verdict.faults.unannounced);
        report.sessions_lost = Some(self.crowd.sessions_lost);
        report.recovered_partly = Some(self.crowd.partly);
        report.lost_after_stored = Some(report.faults.iter().map(|found| found.lost_after_stored).sum());
        report.lost_after_accepted = Some(self.lost_after_accepted());
        let worst = |moves: bool| {
            let chosen = faults.iter().zip(&report.faults).filter(|(fault, _)| (**fault == Fault::Move) == moves);
            chosen.filter_map(|(fault, found)| found.worst_ms(*fault)).reduce(f64::max)
        };
        (report.outage_ms_max, report.move_gap_ms_max) = (worst(false), worst(true));
        self.judge(faults, report);
    }

    /// Messages of the hot room that were acknowledged and that somebody neither got nor was told to be missing.
    fn lost_after_accepted(&self) -> u64 {
        let accounted = |room, stamp| {
            let ledgers = self.fleet.conns().iter().filter_map(|conn| conn.ledger(room));
            ledgers.into_iter().all(|ledger| ledger.accounts_for(stamp))
        };
        self.publisher.accepted.iter().filter(|(room, stamp)| !accounted(*room, *stamp)).count() as u64
    }

    fn judge(&self, faults: &[Fault], report: &mut Report) {
        report.judge();
        let undeclared = report.undeclared_gaps.unwrap_or(0);
        report.promise(undeclared == 0, || format!("{undeclared} messages were neither received nor declared missing"));
        let lost = self.crowd.sessions_lost;
        report.promise(lost == 0, || format!("{lost} clients could not resume and began a new session"));
        for (fault, found) in faults.iter().zip(report.faults.clone()) {
            found.judge(*fault, Slack(self.args.slack), report);
        }
        if undeclared > 0 {
            report.broken.extend(Verdict::losses(&self.fleet, |_| true));
        }
        if report.passed() {
            return;
        }
        let end = self.crowd.first_end.as_ref().map(|end| format!("the first connection to end was told: {end}"));
        let error = self.probes.first_error.as_ref();
        let error = error.map(|error| format!("the first error that no retry mends was {error}"));
        for hint in end.into_iter().chain(error) {
            if report.broken.is_empty() {
                // A missed bound is no broken promise, whatever explains it.
                eprintln!("bench: {hint}");
            } else {
                report.broken.push(hint);
            }
        }
    }
}
