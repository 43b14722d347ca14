//! `throng bench`: the referee.
//!
//! One thread plays thousands of clients ([`fleet`], [`conn`]) with a WebSocket codec ([`wire`]) and a reader of frames
//! ([`frames`], [`scan`]) of its own, so that no fault of the server's code hides in the client. Every message is checked
//! against what the room promises ([`checker`], with what all clients together know in [`truth`]), and timed ([`stats`]).
//! What it may cost is said in [`bounds`].
//! [`server`] starts what is measured, [`process`] and [`metrics`] look at it from outside, [`opening`], [`publisher`] and
//! [`drive`] keep the pace. A scenario puts these together and fills in a [`report`]: [`floor`] is the limit of the machine,
//! [`fanout`] the cost of a delivery, [`idle`] that of a connection at rest, [`joins`] the traffic of members,
//! [`storm`] what it takes when all come back at once, [`slow`] what reaches readers when others stall and too much is said,
//! [`failover`] what it costs when processes, stores and links fail, [`attend`] what people notice while servers change.
//!
//! [`crowd`] lends the same clients, without a referee, to `throng dev`: [`comers`] says who comes when, [`recent`] what
//! happened lately.

mod args;
mod attend;
mod bounds;
mod checker;
mod clock;
mod comers;
mod commands;
mod conn;
pub(crate) mod crowd;
mod drive;
mod failover;
mod fanout;
mod fleet;
mod floor;
mod frames;
mod idle;
mod joins;
mod metrics;
mod notes;
mod opening;
mod process;
mod progress;
mod publisher;
pub(crate) mod recent;
mod report;
mod runs;
mod scan;
mod server;
mod slow;
mod stats;
mod storm;
mod token;
mod truth;
mod verdict;
mod wire;

#[cfg(test)]
mod tests;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;

pub(crate) use args::BenchArgs;
use args::Scenario;
use process::Cores;
use progress::Progress;

/// Runs a scenario: one JSON object on stdout, all else on stderr. The exit code is 1 if a promise was broken or a bound
/// missed; an error means that there was nothing to judge.
pub(crate) fn run(args: BenchArgs) -> anyhow::Result<ExitCode> {
    let progress = Progress::new();
    let cores = Cores::apart();
    let (floor, one_line) = (args.scenario.floor(), args.scenario.one_line());
    let mut report = match args.scenario {
        Scenario::Floor(args) => floor::scenario(&args, cores, &progress)?,
        Scenario::Fanout(args) => fanout::scenario(&args, cores, &progress)?,
        Scenario::Idle(args) => idle::scenario(&args, cores, &progress)?,
        Scenario::Joins(args) => joins::scenario(&args, cores, &progress)?,
        Scenario::Storm(args) => storm::scenario(&args, cores, &progress)?,
        Scenario::Slow(args) => slow::scenario(&args, cores, &progress)?,
        Scenario::Failover(args) => failover::scenario(&args, &progress)?,
        Scenario::Attend(args) => attend::scenario(&args, &progress)?,
        Scenario::FloorLoop(args) => {
            return floor::child(&args).map(|()| ExitCode::SUCCESS);
        }
    };
    if let Some(seconds) = floor.filter(|_| report.floor.is_empty()) {
        floor::beside(&mut report, floor::Plan::stated(seconds), cores, &progress)?;
    }
    drop(progress);
    writeln!(std::io::stdout(), "{}", report.to_json(one_line)?).context("cannot write to stdout")?;
    for broken in &report.broken {
        eprintln!("bench: broken: {broken}");
    }
    for missed in report.bounds.iter().filter(|bound| !bound.met) {
        eprintln!("bench: missed: {}", missed.words());
    }
    Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
