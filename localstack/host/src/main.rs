//! `florin-host`: runs a template on this machine.

use std::{collections::BTreeMap, io::Read, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::Parser;
use florin_host::{
    host::{Host, Options},
    log::{self, HOST},
};
use tokio::signal::unix::{SignalKind, signal};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Worker threads: the functions need the rest of the machine.
const WORKER_THREADS: usize = 2;

/// Runs a SAM template on this machine, on loopback only: DynamoDB, SQS, SNS, functions, schedules, HTTP APIs
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The SAM template
    #[arg(long, default_value = "template.yaml")]
    template: PathBuf,
    /// Folder with the functions' binaries, by their cargo names
    #[arg(long)]
    binaries: PathBuf,
    /// Folder that keeps tables, queues and topics
    #[arg(long)]
    data: PathBuf,
    /// Forget what the data folder keeps
    #[arg(long)]
    fresh: bool,
    /// Port on 127.0.0.1
    #[arg(long, default_value_t = 4566)]
    port: u16,
    /// AWS::StackName
    #[arg(long, default_value = "local")]
    stack_name: String,
    /// AWS::Region
    #[arg(long, default_value = "us-east-1")]
    region: String,
    /// Read the template's parameters from standard input, as one JSON object
    #[arg(long)]
    parameters_stdin: bool,
    /// Stop functions (SIGSTOP) while they have nothing to do, as Lambda freezes them
    #[arg(long)]
    freeze: bool,
    /// Apply changes of the template and the binaries while running
    #[arg(long)]
    watch: bool,
    /// Colour the names in the log
    #[arg(long)]
    colour: bool,
    /// A variable that every function gets on top of the template's; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    extra_env: Vec<(String, String)>,
    /// File that is written when everything answers: JSON with endpoint, pid and outputs
    #[arg(long)]
    ready_file: Option<PathBuf>,
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKER_THREADS).enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(run(Arguments::parse())),
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    // The signals are caught from the first moment: an end in order leaves no process behind.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let options = Options {
        template: arguments.template,
        parameters: if arguments.parameters_stdin { read_parameters()? } else { BTreeMap::new() },
        binaries: arguments.binaries,
        data: arguments.data,
        fresh: arguments.fresh,
        port: arguments.port,
        stack_name: arguments.stack_name,
        region: arguments.region,
        freeze: arguments.freeze,
        colour: arguments.colour,
        extra_environment: arguments.extra_env,
    };
    let mut host = Host::start(options).await?;
    if let Some(path) = &arguments.ready_file {
        host.write_ready_file(path)?;
    }
    log::line(HOST, &format!("ready at {}", host.endpoint()));
    let watching = async {
        if arguments.watch {
            host.watch().await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = watching => {}
    }
    log::line(HOST, "stopping");
    host.stop().await;
    Ok(())
}

fn read_parameters() -> Result<BTreeMap<String, String>> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("cannot read the parameters")?;
    // The text is not shown: it holds keys.
    serde_json::from_str(&text).ok().context("the parameters are not a JSON object of texts")
}
