//! `throng simulate`: the planner in a model of Kubernetes, through faults drawn from a seed.

use std::process::ExitCode;
use std::thread;

use anyhow::{Result, ensure};
use clap::Args;
use throng_sim::operator::{INVARIANTS, Planner, Report, Tally, run_seed};

/// Failures that are told in full.
const TOLD: usize = 5;

/// Which worlds to simulate.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  throng simulate                      a thousand random worlds\n  throng simulate --seeds 20000 --at-least 1000\n  throng simulate --seed 4711          one of them, told line by line\n\nExit code 1: a promise was broken; the command that replays it is printed."
)]
pub(crate) struct SimulateArgs {
    /// How many seeds to run.
    #[arg(long, default_value_t = 1000, conflicts_with = "seed")]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0, conflicts_with = "seed")]
    first: u64,
    /// Run this seed alone and tell what happens.
    #[arg(long)]
    seed: Option<u64>,
    /// Fail if a fault or a transition occurred less often than this.
    #[arg(long, value_name = "TIMES", conflicts_with = "seed")]
    at_least: Option<u64>,
    /// Seeds that run at the same time.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=256))]
    threads: u64,
}

/// Simulates.
pub(crate) fn run(args: &SimulateArgs) -> Result<ExitCode> {
    let (tally, failed) = match args.seed {
        Some(seed) => {
            let report = run_seed(seed, Planner::Real, true);
            report.trace.iter().for_each(|line| println!("{line}"));
            (report.tally.clone(), if report.broken.is_empty() { vec![] } else { vec![report] })
        }
        None => many(args),
    };
    print!("{tally}");
    for report in failed.iter().take(TOLD) {
        eprintln!("seed {}: a promise was broken", report.seed);
        for broken in report.broken.iter().take(TOLD) {
            let sentence = INVARIANTS.iter().find(|known| known.name == broken.name).map(|known| known.sentence);
            eprintln!("  {} ({}): {}", broken.name, sentence.unwrap_or_default(), broken.what);
        }
        eprintln!("  replay: throng simulate --seed {}", report.seed);
    }
    if !failed.is_empty() {
        eprintln!("{} seeds failed", failed.len());
        return Ok(ExitCode::FAILURE);
    }
    let rare = args.at_least.map(|least| tally.rarer_than(least)).unwrap_or_default();
    ensure!(rare.is_empty(), "these occurred too seldom to prove anything: {}; run more seeds", rare.join(", "));
    Ok(ExitCode::SUCCESS)
}

/// Runs all seeds, and keeps what failed.
fn many(args: &SimulateArgs) -> (Tally, Vec<Report>) {
    let share = |thread: u64| {
        let (mut tally, mut failed) = (Tally::default(), Vec::new());
        for seed in (args.first..args.first.saturating_add(args.seeds)).filter(|seed| seed % args.threads == thread) {
            let report = run_seed(seed, Planner::Real, false);
            tally.add(&report.tally);
            if !report.broken.is_empty() {
                failed.push(report);
            }
        }
        (tally, failed)
    };
    let (mut tally, mut failed) = (Tally::default(), Vec::new());
    thread::scope(|scope| {
        let threads: Vec<_> = (0..args.threads).map(|thread| scope.spawn(move || share(thread))).collect();
        for thread in threads {
            let (counts, reports) = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            tally.add(&counts);
            failed.extend(reports);
        }
    });
    failed.sort_by_key(|report| report.seed);
    (tally, failed)
}
