//! Development tasks of the project: `cargo xtask test` is the whole proof, `cargo xtask lint` the quick part.
//!
//! Top-down: [`main`] reads the command, [`tiers`] says what each one runs and in which order, [`run`] runs and counts
//! it, [`lint`] has it linted, [`cluster`] starts a real Kubernetes, [`image`] makes the container image, [`previous`] that of the commit before,
//! [`setup`] installs what the tests need, [`bench`] judges figures, [`house`] holds the rules of the house that no compiler
//! knows, [`deny`] what is built in to `deny.toml`.

mod bench;
mod cluster;
mod deny;
mod deps;
mod house;
mod image;
mod lint;
mod outside;
mod previous;
mod run;
mod setup;
mod tiers;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tasks for people who work on Throng.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    after_help = "Examples:\n  cargo xtask test\n  cargo xtask test --only unit\n  cargo xtask lint"
)]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Everything: set-up, lint, unit tests, benches, end-to-end tests, fast ones first.
    Test {
        /// The stated durations and repetitions of outages, holds and benches instead of the short ones.
        #[arg(long)]
        full: bool,
        /// Only this tier (see `cargo xtask tiers`); may be given several times.
        #[arg(long, value_name = "TIER")]
        only: Vec<String>,
        /// Bounds on time are so many times as wide as promised: 3, because tests share a machine; with --full as promised.
        #[arg(long, value_name = "TIMES")]
        slack: Option<f64>,
        /// Install nothing: fail and name the missing packages instead.
        #[arg(long)]
        no_install: bool,
    },
    /// Formatting, clippy with warnings denied, and the rules of the house.
    Lint,
    /// Install the Debian packages that the tests need (as root), or say which are missing.
    Setup,
    /// List the tiers of `test`, in their order.
    Tiers,
    /// A real Kubernetes cluster on this machine, without Docker: up, down, cut, heal ...
    Cluster(cluster::ClusterArgs),
    /// Build the container image, without Docker.
    Image(image::ImageArgs),
}

fn main() -> ExitCode {
    let args = Args::parse();
    let root = run::root();
    let passed = match args.task {
        Task::Test { full, only, slack, no_install } => {
            let slack = slack.unwrap_or(if full { 1.0 } else { 3.0 });
            tiers::test(&root, &tiers::Choice { full, only, slack, install: !no_install })
        }
        Task::Lint => tiers::lint(&root),
        Task::Setup => setup::ensure(true, true).and_then(|()| setup::python()).map(|_| true),
        Task::Tiers => {
            tiers::list();
            Ok(true)
        }
        Task::Cluster(args) => cluster::run(&root, args),
        Task::Image(args) => image::run(&root, args),
    };
    match passed {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
