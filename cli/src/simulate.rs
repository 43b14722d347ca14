//! `throng simulate`: the planner in a model of Kubernetes, through faults drawn from a seed.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};
use throng_sim::operator::tally::{Fault, Transition};
use throng_sim::operator::{INVARIANTS, Planner, Report, Tally, run_seed};

/// Failures that are told in full.
const TOLD: usize = 5;
/// Where nobody sees a bar, a line is written so often.
const LINE: Duration = Duration::from_secs(15);

/// Simulates the operator: random worlds, each from a seed, with the planner that clusters run.
///
/// Every world has nodes, kubelets, users, an API server and etcd of its own, a day of faults, and must be as its spec says
/// in the end. The same seed is the same run on every machine: `digest` in the report says so. The report is one JSON object
/// on stdout; progress, traces and what went wrong go to stderr.
#[derive(Args)]
#[command(after_help = "Examples:
  throng simulate                                a thousand random worlds
  throng simulate --seeds 20000 --at-least 1000  as cargo xtask test does: every fault and step 1,000 times
  throng simulate --first 20000 --seeds 1000     the next thousand
  throng simulate --seed 4711 --trace            one of them, told line by line
  throng simulate --planner ignores-deadlines    what it looks like when a promise is broken

Exit code 1: a promise was broken, and the command that replays it is printed; or, with --at-least, something
occurred too seldom to prove anything.")]
pub(crate) struct SimulateArgs {
    /// How many seeds to run.
    #[arg(long, default_value_t = 1000, conflicts_with = "seed", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0, conflicts_with = "seed")]
    first: u64,
    /// Run this seed alone.
    #[arg(long)]
    seed: Option<u64>,
    /// Tell on stderr what happens, second by second.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Fail if a fault or a transition occurred less often than this.
    #[arg(long, value_name = "TIMES", conflicts_with = "seed")]
    at_least: Option<u64>,
    /// The planner: the one that clusters run, or one that is broken on purpose and must be caught.
    #[arg(long, value_enum, default_value = "real")]
    planner: PlannerArg,
    /// Seeds that run at the same time.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=256))]
    threads: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PlannerArg {
    /// The one that clusters run.
    Real,
    /// Its drains end at once, users or not.
    IgnoresDeadlines,
    /// It shrinks pools by samples of any age.
    BelievesOldSamples,
    /// It gives users to a blocked revision.
    UsesBlocked,
    /// It keeps its drains in memory.
    Remembers,
    /// It gives an index away while a process of it lives.
    UsesIndexTwice,
    /// It takes away what is too much before it looks who needs it.
    IgnoresUsers,
}

impl From<PlannerArg> for Planner {
    fn from(planner: PlannerArg) -> Self {
        match planner {
            PlannerArg::Real => Self::Real,
            PlannerArg::IgnoresDeadlines => Self::IgnoresDeadlines,
            PlannerArg::BelievesOldSamples => Self::BelievesOldSamples,
            PlannerArg::UsesBlocked => Self::UsesBlocked,
            PlannerArg::Remembers => Self::Remembers,
            PlannerArg::UsesIndexTwice => Self::UsesIndexTwice,
            PlannerArg::IgnoresUsers => Self::IgnoresUsers,
        }
    }
}

/// What came of all seeds. The order in which they ended does not count.
#[derive(Default)]
struct Sum {
    tally: Tally,
    digest: u64,
    failed: Vec<Report>,
}

impl Sum {
    fn add(&mut self, report: Report) {
        self.tally.add(&report.tally);
        self.digest = self.digest.wrapping_add(report.digest);
        if !report.broken.is_empty() {
            self.failed.push(report);
        }
    }

    fn join(&mut self, other: Self) {
        self.tally.add(&other.tally);
        self.digest = self.digest.wrapping_add(other.digest);
        self.failed.extend(other.failed);
    }
}

/// Simulates.
pub(crate) fn run(args: &SimulateArgs) -> Result<ExitCode> {
    let sum = if let Some(seed) = args.seed { one(seed, args) } else { many(args)? };
    let rare = args.at_least.map(|least| sum.tally.rarer_than(least)).unwrap_or_default();
    eprint!("{}", sum.tally);
    println!("{}", report(args, &sum, &rare));
    for report in sum.failed.iter().take(TOLD) {
        eprintln!("seed {}: a promise was broken", report.seed);
        for broken in report.broken.iter().take(TOLD) {
            eprintln!("  {} ({}): {}", broken.name, promise(broken.name), broken.what);
        }
        eprintln!("  replay: {}", replay(args, report.seed));
    }
    if !sum.failed.is_empty() {
        eprintln!("{} of the seeds failed", sum.failed.len());
        return Ok(ExitCode::FAILURE);
    }
    ensure!(rare.is_empty(), "these occurred too seldom to prove anything: {}; run more seeds", rare.join(", "));
    Ok(ExitCode::SUCCESS)
}

fn one(seed: u64, args: &SimulateArgs) -> Sum {
    let report = run_seed(seed, args.planner.into(), args.trace);
    report.trace.iter().for_each(|line| eprintln!("{line}"));
    let mut sum = Sum::default();
    sum.add(report);
    sum
}

/// Runs all seeds; whichever thread is free takes the next.
fn many(args: &SimulateArgs) -> Result<Sum> {
    let end = args.first.checked_add(args.seeds);
    let end = end.context("the last seed would be larger than any number: choose a smaller --first")?;
    let (next, bar) = (AtomicU64::new(args.first), Progress::over(args.seeds));
    let work = || {
        let mut sum = Sum::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return sum;
            }
            sum.add(run_seed(seed, args.planner.into(), false));
            bar.bar.inc(1);
        }
    };
    let mut sum = Sum::default();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..args.threads).map(|_| scope.spawn(work)).collect();
        while threads.iter().any(|thread| !thread.is_finished()) {
            thread::park_timeout(Duration::from_millis(20));
            bar.say();
        }
        for thread in threads {
            sum.join(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
    });
    bar.close();
    sum.failed.sort_by_key(|report| report.seed);
    Ok(sum)
}

/// The report: the same for the same seeds, however long they took.
fn report(args: &SimulateArgs, sum: &Sum, rare: &[String]) -> Value {
    let count = |name: String, times: Option<&u64>| (name, Value::from(times.copied().unwrap_or(0)));
    let faults = Fault::ALL.iter().map(|word| count(format!("{word:?}"), sum.tally.faults.get(word)));
    let done = Transition::ALL.iter().map(|word| count(format!("{word:?}"), sum.tally.transitions.get(word)));
    let failed = sum.failed.iter().map(|report| {
        let broken = report
            .broken
            .iter()
            .map(|broken| json!({"invariant": broken.name, "promise": promise(broken.name), "what": broken.what}));
        json!({"seed": report.seed, "broken": broken.collect::<Vec<_>>(), "replay": replay(args, report.seed)})
    });
    json!({
        "first": args.seed.unwrap_or(args.first),
        "seeds": if args.seed.is_some() { 1 } else { args.seeds },
        "digest": format!("{:016x}", sum.digest),
        "plans": sum.tally.plans,
        "requests": sum.tally.requests,
        "faults": faults.collect::<Map<_, _>>(),
        "transitions": done.collect::<Map<_, _>>(),
        "too_rare": rare,
        "failed": failed.collect::<Vec<_>>(),
    })
}

fn promise(name: &str) -> &'static str {
    INVARIANTS.iter().find(|known| known.name == name).map_or("", |known| known.sentence)
}

fn replay(args: &SimulateArgs, seed: u64) -> String {
    let planner = args.planner.to_possible_value().filter(|_| args.planner != PlannerArg::Real);
    let planner = planner.map_or_else(String::new, |planner| format!(" --planner {}", planner.get_name()));
    format!("throng simulate --seed {seed} --trace{planner}")
}

/// How far it is: a bar for people, a line now and then for logs.
struct Progress {
    bar: ProgressBar,
    began: Instant,
    lines: bool,
    said: std::cell::Cell<u64>,
}

impl Progress {
    fn over(seeds: u64) -> Self {
        let style = ProgressStyle::with_template("{bar:40} {pos} of {len} worlds, {per_sec}, {eta} left");
        let bar = ProgressBar::new(seeds).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let lines = !std::io::stderr().is_terminal();
        Self { bar, began: Instant::now(), lines, said: std::cell::Cell::new(0) }
    }

    fn say(&self) {
        let turn = self.began.elapsed().as_secs() / LINE.as_secs();
        if self.lines && turn > self.said.replace(turn) {
            let (done, all) = (self.bar.position(), self.bar.length().unwrap_or(0));
            eprintln!("{done} of {all} worlds in {} s", self.began.elapsed().as_secs());
        }
    }

    fn close(&self) {
        let (all, seconds) = (self.bar.position(), self.began.elapsed().as_secs_f64());
        self.bar.finish_and_clear();
        eprintln!("{all} worlds in {seconds:.1} s, {:.0} a second", all as f64 / seconds.max(0.001));
    }
}
