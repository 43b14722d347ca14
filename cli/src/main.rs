//! The one binary.

mod bench;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Live chatrooms of up to millions of people.
#[derive(Parser)]
#[command(name = "throng", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Bench(bench::BenchArgs),
}

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().command {
        Command::Bench(args) => bench::run(args),
    }
}
