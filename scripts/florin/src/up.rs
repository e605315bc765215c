//! `florin up`: everything on this machine, on loopback only.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use clap::Args;
use rustix::process::Pid;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    down, emulator,
    functions::{self, Binaries, Profile},
    local_env::LocalEnv,
    place::{Place, StateDir},
    progress::{pass_on, step},
    python, seed,
    stack::{self, Settings},
};

/// Between two looks at the log.
const LOG_EVERY_MS: u64 = 250;

/// What `florin up` takes.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    state: StateDir,
    /// Return when everything answers, instead of showing the log until Ctrl-C
    #[arg(long)]
    detach: bool,
    /// Run exactly what is deployed: cargo-lambda's build in the release profile
    #[arg(long)]
    release: bool,
    /// Port of the emulator on 127.0.0.1
    #[arg(long, default_value_t = 4566)]
    port: u16,
    /// Keep the data when the stack goes down, and go on with what was kept
    #[arg(long)]
    keep: bool,
    /// Take the functions as they were last built
    #[arg(long)]
    no_build: bool,
}

/// Runs `florin up`.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let started = Instant::now();
    let place = Place::find(&options.state)?;
    let lock = place.lock()?;
    if let Some(env) = stack::running(&place).await? {
        say!("Florin runs already, at {}; nothing was changed.", env.required("FLORIN_API_URL")?);
        say!("Its settings are in {}; ./scripts/down stops it.", place.local_env().display());
        return Ok(());
    }
    if down::stop(&place).await? {
        step("Stopped what was left of an earlier run");
    }
    emulator::ensure_port_is_free(options.port)?;
    let python = python::ensure(&place)?;
    let profile = match (options.no_build, options.release) {
        (true, release) => Profile::AsBuilt { release },
        (false, true) => Profile::Release,
        (false, false) => Profile::Quick,
    };
    let binaries = functions::build(&place, profile)?;

    // From here on there is something to clean up, whatever happens.
    let outcome = tokio::select! {
        outcome = bring_up(&place, &python, options, &binaries) => outcome,
        () = interrupted() => bail_interrupted(),
    };
    let (env, pid) = match outcome {
        Ok(up) => up,
        Err(error) => {
            down::stop(&place).await?;
            return Err(error);
        }
    };
    introduce(&place, &env, started)?;
    drop(lock);
    if options.detach {
        return Ok(());
    }
    say!("Ctrl-C stops everything. The log:\n");
    let outcome = tokio::select! {
        outcome = follow_log(&place, pid) => outcome,
        () = interrupted() => Ok(()),
    };
    step("Stopping");
    down::stop(&place).await?;
    outcome
}

async fn bring_up(place: &Place, python: &Path, options: &Options, binaries: &Binaries) -> Result<(LocalEnv, Pid)> {
    let settings = Settings::prepare(place, options.keep)?;
    step(&format!("Starting the emulator on {}", emulator::endpoint(options.port)));
    let pid = emulator::start(place, python, options.port, options.keep).await?;
    step("Deploying template.yaml through CloudFormation");
    let outputs = stack::deploy(place, python, options.port, &settings, binaries).await?;
    let mut env = stack::local_env(&outputs, &settings, options.port, pid.as_raw_nonzero().get())?;
    env.set("FLORIN_EMULATOR_LOG", place.emulator_log().display().to_string());
    step("Seeding two merchants");
    seed::first_merchants(&env, &settings).await?;
    step("Waiting until everything answers");
    stack::await_ready(&env).await?;
    env.write(&place.local_env())?;
    Ok((env, pid))
}

/// Ctrl-C, or the polite way of other programs to say it.
async fn interrupted() {
    let signals = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
    let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = signals else {
        // Without handlers the signals end this process as they would any other.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

fn bail_interrupted<T>() -> Result<T> {
    bail!("interrupted; everything that was started is stopped")
}

fn introduce(place: &Place, env: &LocalEnv, started: Instant) -> Result<()> {
    let (api, key) = (env.required("FLORIN_API_URL")?, env.required("FLORIN_API_KEY")?);
    let (gateway, gateway_key) = (env.required("FLORIN_GATEWAY_URL")?, env.required("FLORIN_GATEWAY_KEY")?);
    let local_env = place.local_env();
    let local_env = local_env.strip_prefix(&place.root).unwrap_or(&local_env).display();
    say!(
        r#"
Florin is up, after {} s.

  API       {api}
  API key   {key}
  Settings  {local_env}  (in shell syntax: `. {local_env}`)

Pay with a test card, list the payments, see the charges at the gateway:

  curl -s '{api}/v1/payments' -H 'Authorization: Bearer {key}' -H 'Idempotency-Key: first' -H 'Content-Type: application/json' \
    -d '{{"amount":10000,"currency":"NGN","source":{{"type":"card","number":"4242 4242 4242 4242","expiry":"12/30","cvv":"123","holder_name":"Ada Obi"}}}}'

  curl -s '{api}/v1/payments?limit=5' -H 'Authorization: Bearer {key}'

  curl -s '{gateway}/v1/payment_intents?limit=5' -H 'Authorization: Bearer {gateway_key}'
"#,
        started.elapsed().as_secs()
    );
    Ok(())
}

/// Shows what the emulator and the functions say, until the emulator ends.
async fn follow_log(place: &Place, pid: Pid) -> Result<()> {
    let mut log = File::open(place.emulator_log())?;
    log.seek(SeekFrom::End(0))?;
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        log.read_to_end(&mut buffer)?;
        pass_on(&buffer);
        if !emulator::is_alive(pid) {
            // `down` from another terminal is an end like Ctrl-C; anything else is not.
            if place.local_env().exists() {
                bail!("the emulator ended by itself; its log is {}", place.emulator_log().display());
            }
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(LOG_EVERY_MS)).await;
    }
}
