<<<<<<< HEAD
//! The one binary: every role, `dev`, `bench` and the tools of an operator.
//!
//! Data goes to standard output, everything else to standard error. [`dev`] runs a whole cluster in one process.

//mod dev;
mod logs;
mod token;
=======
//! The one binary.

mod bench;
>>>>>>> bench

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Live chatrooms of up to millions of people.
#[derive(Parser)]
<<<<<<< HEAD
#[command(
    name = "throng",
    version,
    after_help = "Start here:\n  throng dev            a whole cluster on this machine; open the URL it prints\n  throng token --help   tokens for it"
)]
struct Args {
=======
#[command(name = "throng", version)]
struct Cli {
>>>>>>> bench
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
<<<<<<< HEAD
    /// Run a whole cluster in one process, with a page where two people chat.
    Dev(dev::DevArgs),
    /// Sign a token that `throng dev` accepts.
    Token(token::TokenArgs),
}

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Dev(args) => dev::run(args),
        Command::Token(args) => token::run(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("throng: {error:#}");
            ExitCode::FAILURE
        }
=======
    Bench(bench::BenchArgs),
}

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().command {
        Command::Bench(args) => bench::run(args),
>>>>>>> bench
    }
}
