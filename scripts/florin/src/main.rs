//! `florin`: the command-line tool behind the scripts.

#[macro_use]
mod progress;

mod dead_letters;
mod down;
mod emulator;
mod functions;
mod local_env;
mod place;
mod python;
mod seed;
mod stack;
mod status;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs and operates Florin.
#[derive(Debug, Parser)]
#[command(name = "florin", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts everything on this machine: emulator, functions, a seeded merchant
    Up(up::Options),
    /// Stops everything that `up` started
    Down(down::Options),
    /// Creates a merchant or a webhook endpoint in the running stack
    Seed(seed::Options),
    /// Shows the address and how deep the queues are
    Status(status::Options),
    /// Lists, shows and replays messages that used up their receives
    DeadLetters(dead_letters::Options),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Up(options) => up::run(&options).await,
        Command::Down(options) => down::run(&options).await,
        Command::Seed(options) => seed::run(&options).await,
        Command::Status(options) => status::run(&options).await,
        Command::DeadLetters(options) => dead_letters::run(&options).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
