//! The one binary: every role, `dev`, `bench` and the tools of an operator.
//!
//! Data goes to standard output, everything else to standard error. [`dev`] runs a whole cluster in one process, [`roles`]
//! puts a role and a node together, [`bench`] measures from outside; `throng-ctl` is what people ask of a cluster. Called as
//! `kubectl-throng` it is the plugin of `kubectl`, and does the same.

mod bench;
mod crds;
mod dev;
#[cfg(test)]
mod documents;
mod logs;
mod operator;
mod roles;
mod simulate;
mod token;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use throng_core::Role;

/// Live chatrooms of up to millions of people.
#[derive(Parser)]
#[command(
    name = "throng",
    version,
    after_help = "Start here:\n  throng dev            a whole cluster on this machine; open the URL it prints\n  throng token --help   tokens for it\n  throng bench --help   what it can carry\n  throng status         what runs on Kubernetes, and why; also as `kubectl throng status`"
)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a whole cluster in one process, with a page where two people chat.
    Dev(dev::DevArgs),
    /// Run a gateway: connections and fan-out.
    Gateway(roles::RoleArgs),
    /// Run a chatroom Pod: owner of rooms.
    Chatroom(roles::RoleArgs),
    /// Run a message Pod: relay of rooms, home of users.
    Message(roles::RoleArgs),
    /// A gateway of `throng dev --isolate-gateways`.
    #[command(hide = true)]
    DevGateway,
    /// Look after the `ChatroomCluster`s of a Kubernetes cluster.
    Operator(operator::OperatorArgs),
    /// Print the custom resource definitions of `ChatroomCluster` and `ChatroomOperation`.
    Crds(crds::CrdsArgs),
    /// Run the planner in a model of Kubernetes, through faults drawn from seeds.
    Simulate(simulate::SimulateArgs),
    /// Sign a token that `throng dev` accepts.
    Token(token::TokenArgs),
    /// Measure, from outside, what the promises say.
    Bench(bench::BenchArgs),
    #[command(flatten)]
    Ctl(throng_ctl::Command),
}

/// Reads what was asked for. As a plugin of `kubectl`, usages say how it was called.
fn parse() -> Args {
    let called = std::env::args_os().next().unwrap_or_default();
    if !throng_ctl::is_plugin(std::path::Path::new(&called)) {
        return Args::parse();
    }
    let matches = Args::command().name("kubectl throng").bin_name("kubectl throng").get_matches();
    Args::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

fn main() -> ExitCode {
    let result = match parse().command {
        Command::Dev(args) => dev::run(&args),
        Command::Gateway(args) => roles::run(Role::Gateway, &args),
        Command::Chatroom(args) => roles::run(Role::Chatroom, &args),
        Command::Message(args) => roles::run(Role::Message, &args),
        Command::DevGateway => dev::run_child(),
        Command::Operator(args) => operator::run(args),
        Command::Crds(args) => crds::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Token(args) => token::run(&args),
        Command::Bench(args) => bench::run(args),
        Command::Ctl(command) => throng_ctl::run(command).map_err(anyhow::Error::from),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("throng: {error:#}");
            ExitCode::FAILURE
        }
    }
}
