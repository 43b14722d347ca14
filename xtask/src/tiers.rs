//! The tiers of the test command, fast ones first, so that a failure shows early.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::run::Tally;
use crate::{house, setup};

/// What of it is to run.
pub(crate) struct Choice {
    /// Stated durations instead of short ones.
    pub(crate) full: bool,
    /// Only these tiers; none: all.
    pub(crate) only: Vec<String>,
    /// Missing packages may be installed.
    pub(crate) install: bool,
}

type Run = fn(&Path, &Choice, &mut Tally) -> Result<bool>;

const TIERS: &[(&str, &str, Run)] = &[
    ("lint", "formatting, clippy with warnings denied, the rules of the house", run_lint),
    ("unit", "unit, property and conformance tests of every crate, real Redis and etcd included", run_unit),
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
    setup::ensure(choice.install)?;
    let mut tally = Tally::default();
    for (name, _, run) in TIERS {
        if (choice.only.is_empty() || choice.only.iter().any(|only| only == name)) && !run(root, choice, &mut tally)? {
            break;
        }
    }
    Ok(tally.close())
}

/// Runs the first tier alone.
pub(crate) fn lint(root: &Path) -> Result<bool> {
    let mut tally = Tally::default();
    run_lint(root, &Choice { full: false, only: Vec::new(), install: false }, &mut tally)?;
    Ok(tally.close())
}

fn run_lint(root: &Path, _: &Choice, tally: &mut Tally) -> Result<bool> {
    let tidy = house::check(root)?;
    tally.note("rules of the house", tidy);
    Ok(tally.run("formatting", &mut cargo(root, &["fmt", "--all", "--check"]))?
        & tally.run(
            "clippy",
            &mut cargo(root, &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]),
        )?
        & tidy)
}

fn run_unit(root: &Path, choice: &Choice, tally: &mut Tally) -> Result<bool> {
    let mut command = cargo(root, &["test", "--workspace", "--no-fail-fast"]);
    if choice.full {
        command.env("THRONG_TEST_FULL", "1");
    }
    tally.run("tests of every crate", &mut command)
}

/// A cargo command in the workspace, of the toolchain that runs this.
fn cargo(root: &Path, args: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(args).current_dir(root);
    command
}
