//! `florin`: the command-line tool behind the scripts.

#[macro_use]
mod progress;

mod build;
mod cloudformation;
mod control;
mod counters;
mod dead_letters;
mod down;
mod emulator;
mod faults;
mod host;
mod local_env;
mod ministack;
mod operations;
mod place;
mod process;
mod python;
mod seed;
mod settings;
mod stack;
mod status;
mod stuck;
mod table;
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
    /// Starts everything on this machine: the host, the functions, two seeded merchants
    Up(up::Options),
    /// Stops everything that `up` started
    Down(down::Options),
    /// Creates a merchant or a webhook endpoint in the running stack
    Seed(seed::Options),
    /// Shows the address, how deep the queues are, and what was counted
    Status(status::Options),
    /// Makes calls fail on purpose: throttled, lost, late, twice, or their caller killed
    Faults(faults::Options),
    /// Shows what was called, and what AWS would bill for it
    Counters(counters::Options),
    /// Lists payments and refunds that wait for a person, and decides what becomes of them
    Stuck(stuck::Options),
    /// Prints the operator key that belongs to the root key on standard input
    OperatorKey,
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
        Command::Faults(options) => faults::run(&options).await,
        Command::Counters(options) => counters::run(&options).await,
        Command::Stuck(options) => stuck::run(&options).await,
        Command::DeadLetters(options) => dead_letters::run(&options).await,
        Command::OperatorKey => seed::print_operator_key(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
