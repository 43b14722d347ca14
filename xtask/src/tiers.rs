//! The tiers of the test command, fast ones first, so that a failure shows early.

use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::run::{Rank, Tally, cargo};
use crate::{bench, cluster, house, image, lint, outside, setup};

/// What of it is to run.
pub(crate) struct Choice {
    /// Stated durations instead of short ones.
    pub(crate) full: bool,
    /// Bounds on time are so many times as wide as promised.
    pub(crate) slack: f64,
    /// Only these tiers; none: all.
    pub(crate) only: Vec<String>,
    /// Missing packages may be installed.
    pub(crate) install: bool,
}

impl Choice {
    /// Whether a tier is to run.
    fn takes(&self, tier: &str) -> bool {
        // Half an hour of scenarios is for those who ask for them.
        let asked = self.only.is_empty() && (tier != CLUSTER || self.full);
        asked || self.names(tier)
    }

    /// Whether somebody asks for it by its name.
    pub(crate) fn names(&self, tier: &str) -> bool {
        self.only.iter().any(|only| only == tier)
    }
}

/// The test of stores, gateways and links that fail while people talk.
const OUTAGES: &str = "outages";
/// The test of clients that misuse what is open to them: it measures that others are not disturbed.
const ABUSE: &str = "abuse";

type Run = fn(&Path, &Choice, &mut Tally) -> Result<bool>;

/// The tier that needs Kubernetes.
pub(crate) const CLUSTER: &str = "cluster";

const TIERS: &[(&str, &str, Run)] = &[
    (
        "lint",
        "formatting, the rules of the house; clippy with warnings denied, unless the next tier compiles with it",
        run_lint,
    ),
    (
        "unit",
        "clippy, then unit, property and conformance tests of every crate, real Redis and etcd included",
        run_unit,
    ),
    ("release", "the release build that the tiers below run, and 20,000 simulated worlds with it", run_release),
    ("e2e", "throng dev from outside: clients in two languages, the page in Chromium", run_e2e),
    ("bench", "the figures of the README, shortened: promises and bounds gate, times with slack", run_bench),
    ("autobahn", "conformance to RFC 6455: 298 OK, 0 NON-STRICT, 0 FAILED, 3 INFORMATIONAL", run_autobahn),
    (
        CLUSTER,
        "with --full or by name: the operator on a real Kubernetes of three nodes, with people in the rooms (root and Go)",
        cluster::tier,
    ),
];

/// Prints the tiers.
pub(crate) fn list() {
    for (name, what, _) in TIERS {
        println!("{name:10} {what}");
    }
}

/// Runs the chosen tiers; stops after the first that fails.
pub(crate) fn test(root: &Path, choice: &Choice) -> Result<bool> {
    for name in &choice.only {
        if !TIERS.iter().any(|(tier, ..)| tier == name) {
            bail!("there is no tier {name:?}; `cargo xtask tiers` lists them");
        }
    }
    setup::ensure(choice.install, choice.takes(CLUSTER))?;
    if choice.takes("autobahn") {
        // It is one of the last: better known now than after all the others.
        setup::python()?;
    }
    let mut tally = Tally::default();
    if choice.takes(CLUSTER) {
        cluster::begin(root, choice, &mut tally)?;
    }
    for (name, _, run) in TIERS {
        // The last two measure times.
        let quiet = !matches!(*name, "bench" | CLUSTER) || tally.gather()?;
        if choice.takes(name) && !(quiet && run(root, choice, &mut tally)?) {
            break;
        }
    }
    tally.gather()?;
    Ok(tally.close())
}

/// Runs the first tier alone.
pub(crate) fn lint(root: &Path) -> Result<bool> {
    let mut tally = Tally::default();
    let only = vec!["lint".to_owned()];
    run_lint(root, &Choice { full: false, slack: 1.0, only, install: false }, &mut tally)?;
    Ok(tally.close())
}

fn run_lint(root: &Path, choice: &Choice, tally: &mut Tally) -> Result<bool> {
    let tidy = house::check(root)?;
    let wrong = Vec::from_iter((!tidy).then(|| "the first lines of the output say which".to_owned()));
    tally.note("rules of the house", tidy, std::time::Duration::ZERO, wrong);
    let formatted = tally.run("formatting", &mut cargo(root, &["fmt", "--all", "--check"]))?;
    // Else the tests are compiled through Clippy.
    let linted = choice.takes("unit") || lint::alone(root, tally)?;
    Ok(tidy && formatted && linted)
}

fn run_unit(root: &Path, choice: &Choice, tally: &mut Tally) -> Result<bool> {
    let mut compile = cargo(root, &["test", "--workspace", "--all-targets", "--no-run", "--quiet"]);
    let mut outside = outside::run(root, &outside::all(root)?)?;
    if !tally.run("clippy, and all tests compiled", lint::as_compiler(&mut compile)?)?
        || !tally.run("clippy, and tests from outside compiled", outside.args(["--no-run", "--quiet"]))?
    {
        return Ok(false);
    }
    if choice.takes("release") {
        // Half of the time these tests wait, for clocks and for servers.
        tally.beside(RELEASE, Rank::Idle, &image::program(root))?;
    }
    let mut command = cargo(root, &["test", "--workspace", "--no-fail-fast"]);
    if choice.full {
        command.env("THRONG_TEST_FULL", "1");
    }
    tally.run("tests of every crate", lint::as_compiler(&mut command)?)
}

/// The release build, begun while others wait.
const RELEASE: &str = "release build, begun beside the tests";

/// Arguments of `throng simulate`: how many worlds, and how often every fault and every step of the operator must be counted
/// in them.
const WORLDS: &[&str] = &["simulate", "--seeds", "20000", "--at-least", "1000"];

fn run_release(root: &Path, _: &Choice, tally: &mut Tally) -> Result<bool> {
    if !tally.wait_for(RELEASE)?
        || tally.step("release build", || image::build(root)).is_none()
        || !tally.run("echo server", &mut image::release(root, &["-p", "throng-ws", "--examples"]))?
    {
        return Ok(false);
    }
    tally.beside("simulated worlds", Rank::Idle, Command::new(image::programs(root).join("throng")).args(WORLDS))?;
    Ok(true)
}

/// One test at a time: each has a whole cluster, and two cores are all there is. But the outages, which wait more than they work,
/// go beside those that measure nothing.
fn run_e2e(root: &Path, choice: &Choice, tally: &mut Tally) -> Result<bool> {
    let command = |names: &[String]| -> Result<Command> {
        let mut command = outside::run(root, names)?;
        command.args(["--", "--test-threads=1"]);
        command
            .env("THRONG_BIN", image::programs(root).join("throng"))
            .env("THRONG_TEST_SLACK", choice.slack.to_string());
        if choice.full {
            command.env("THRONG_TEST_FULL", "1");
        }
        Ok(command)
    };
    if !setup::is_root() {
        tally.skip("links cut between roles", "links are cut between network namespaces, which need root");
    }
    let mut others = outside::names(root, outside::PROCESSES)?;
    others.retain(|name| ![OUTAGES, ABUSE].contains(&name.as_str()));
    let quiet = tally.run("end to end, abuse", &mut command(&[ABUSE.to_owned()])?)?;
    tally.beside("end to end, outages", Rank::Equal, &command(&[OUTAGES.to_owned()])?)?;
    Ok(tally.run("end to end", &mut command(&others)?)? && quiet)
}

fn run_bench(root: &Path, choice: &Choice, tally: &mut Tally) -> Result<bool> {
    let throng = image::programs(root).join("throng");
    let mut all = true;
    let cuts = setup::is_root();
    if !cuts {
        tally.skip("failover: a cut link", "links are cut between network namespaces, which need root");
    }
    for args in bench::figures(choice.full, choice.slack, cuts) {
        let began = std::time::Instant::now();
        let mut name = format!("bench {args}");
        let mut verdict = measure(&throng, &args)?;
        if matches!(verdict, bench::Verdict::Missed(_)) {
            // Costs and times may be those of a machine that is busy for a moment. A broken promise is never measured away:
            // what was lost once was lost.
            name += " (second attempt)";
            verdict = measure(&throng, &args)?;
        }
        let wrong = match verdict {
            bench::Verdict::Passed => Vec::new(),
            bench::Verdict::Missed(wrong) | bench::Verdict::Broken(wrong) => wrong,
        };
        let passed = wrong.is_empty();
        tally.note(&name, passed, began.elapsed(), wrong);
        all &= passed;
    }
    let slack = choice.slack.to_string();
    // As compiled for the tests, which is stricter: `cargo bench` would compile the planner and all it needs once more.
    let planner = ["test", "--quiet", "--workspace", "--bench", "plan", "--", "--slack", &slack];
    Ok(tally.run("planner, 3 pools of 1,000 Pods", lint::as_compiler(&mut cargo(root, &planner))?)? && all)
}

/// Runs a bench. One that fails without a report fails the tier, not the figures after it.
fn measure(throng: &Path, args: &str) -> Result<bench::Verdict> {
    eprintln!("\n=== throng bench {args}");
    let mut command = Command::new(throng);
    command.arg("bench").args(args.split(' ')).arg("--json").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let said = child.stderr.take();
    let progress = std::thread::spawn(move || pass_on(said));
    let output = child.wait_with_output()?;
    let last = progress.join().unwrap_or_default();
    let report = String::from_utf8_lossy(&output.stdout);
    println!("{report}");
    Ok(match bench::judge(&report) {
        Ok(bench::Verdict::Passed) if !output.status.success() => bench::Verdict::Broken(vec![last]),
        Ok(verdict) => verdict,
        Err(error) => bench::Verdict::Broken(vec![format!("{error:#}"), last]),
    })
}

/// Passes on what a bench says of itself; its last line, which tells why it gave up.
fn pass_on(said: Option<impl Read>) -> String {
    let mut last = String::new();
    for line in said.into_iter().flat_map(|said| BufReader::new(said).lines()).map_while(Result::ok) {
        eprintln!("{line}");
        if !line.trim().is_empty() {
            last = line;
        }
    }
    last
}

fn run_autobahn(root: &Path, _: &Choice, tally: &mut Tally) -> Result<bool> {
    let mut command = Command::new(setup::python()?);
    let echo = image::programs(root).join("examples/echo");
    command.current_dir(root).arg("e2e/autobahn/run.py").args(["--port", "9301"]);
    command.arg("--server-command").arg(format!("{} {{port}}", echo.display()));
    tally.run("Autobahn", &mut command)
}
