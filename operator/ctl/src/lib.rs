//! What people ask of a cluster from outside: `throng status`, `plan`, `check`, `drain`, `rollback`, `pause`, `resume` and
//! `promote`; the same as `kubectl throng`.
//!
//! Everything is read from the API server and nothing is written but `ChatroomOperation`s: who uses this needs no right on
//! Pods or clusters. What is shown is decided in pure code: [`overview`] makes a picture of what was [`seen`], [`text`]
//! draws it, with the time, the width and the colours as arguments. [`status`] shows it, [`operate`] asks for something,
//! [`planning`] tells what the operator would do with another spec, [`check`] what is missing. [`reach`] is the thin way to
//! the API server, [`error`] what can go wrong and what to do about it.
//!
//! Compile it with a version feature of `k8s-openapi`, which only binaries and tests choose.

pub mod check;
pub mod error;
pub mod operate;
pub mod overview;
pub mod planning;
pub mod reach;
pub mod screen;
pub mod seen;
pub mod status;
pub mod text;

use std::process::ExitCode;

use check::CheckArgs;
pub use error::Error;
use operate::args::{DrainArgs, PlainArgs, RollbackArgs};
use operate::intent::Intent;
use planning::PlanArgs;
use status::StatusArgs;

/// Name under which `kubectl` finds this program as its plugin.
pub const PLUGIN: &str = "kubectl-throng";

/// The commands.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum Command {
    /// Show clusters as trees: users, pressure, Pods, what is under way, and why.
    Status(StatusArgs),
    /// Tell what the operator would do with another YAML, without doing it.
    Plan(PlanArgs),
    /// Check a YAML, and what it needs in a cluster.
    Check(CheckArgs),
    /// Empty Pods and replace them.
    Drain(DrainArgs),
    /// Go back to a revision before, and block the present one.
    Rollback(RollbackArgs),
    /// Hold the rollout where it is.
    Pause(PlainArgs),
    /// Go on with a rollout that was held or halted.
    Resume(PlainArgs),
    /// End the canary now and give everybody the new revision.
    Promote(PlainArgs),
}

/// Does what is asked for.
///
/// # Errors
/// Why it could not be done, and what to do about it.
pub fn run(command: Command) -> Result<ExitCode, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::NotDone(error.to_string()))?;
    runtime.block_on(async {
        match command {
            Command::Status(args) => Box::pin(status::run(args)).await,
            Command::Plan(args) => Box::pin(planning::run(args)).await,
            Command::Check(args) => Box::pin(check::run(args)).await,
            Command::Drain(args) => Box::pin(operate::drain(args)).await,
            Command::Rollback(args) => Box::pin(operate::rollback(args)).await,
            Command::Pause(args) => Box::pin(operate::simple(args, Intent::Pause)).await,
            Command::Resume(args) => Box::pin(operate::simple(args, Intent::Resume)).await,
            Command::Promote(args) => Box::pin(operate::simple(args, Intent::Promote)).await,
        }
    })
}

/// Whether the program was called under the name of the plugin: `program` is how it was called.
#[must_use]
pub fn is_plugin(program: &std::path::Path) -> bool {
    program.file_stem().is_some_and(|name| name == PLUGIN)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod worlds;
