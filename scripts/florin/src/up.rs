//! `florin up`: everything on this machine, on loopback only.

use std::{
    env,
    fs::File,
    io::{IsTerminal, Read, Seek, SeekFrom, stdout},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use clap::Args;
use rustix::process::Pid;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    build::{self, Built, Wanted},
    cloudformation, down,
    emulator::Emulator,
    host,
    local_env::LocalEnv,
    ministack,
    place::{Place, StateDir},
    process,
    progress::{pass_on, step},
    python, seed,
    settings::{self, Settings},
    stack,
};

/// Between two looks at the log.
const LOG_EVERY_MS: u64 = 250;
/// Port of an emulator that is started here.
const PORT: u16 = 4566;

/// What `florin up` takes.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    state: StateDir,
    /// What plays AWS: `host` (our own), `ministack`, or the address of any other emulator that runs already
    #[arg(long, default_value = "host", value_name = "host|ministack|URL")]
    emulator: Emulator,
    /// Start empty, with new keys, instead of going on with the data of the last run
    #[arg(long)]
    fresh: bool,
    /// Deploy again whenever the template is edited or a function is rebuilt (host only)
    #[arg(long)]
    watch: bool,
    /// Stop function processes between invocations, as Lambda does (host only)
    #[arg(long)]
    freeze: bool,
    /// Return when everything answers, instead of showing the log until Ctrl-C
    #[arg(long)]
    detach: bool,
    /// Run exactly what is deployed: cargo-lambda's build in the release profile
    #[arg(long)]
    release: bool,
    /// Port of the emulator on 127.0.0.1 [default: 4566]
    #[arg(long)]
    port: Option<u16>,
    /// Take the functions and the host as they were last built
    #[arg(long)]
    no_build: bool,
}

impl Options {
    /// What goes with one emulator only is refused for the others, not ignored.
    fn check(&self) -> Result<()> {
        let host_only = [(self.watch, "--watch"), (self.freeze, "--freeze")];
        let given = host_only.into_iter().find(|(given, _)| *given);
        if let Some((_, name)) = given.filter(|_| self.emulator != Emulator::Host) {
            bail!("{name} is for the local host; {} has nothing like it", self.emulator);
        }
        if self.watch && self.release {
            bail!("--watch is for the quick profile: a release build takes minutes");
        }
        if self.port.is_some() && matches!(self.emulator, Emulator::Other(_)) {
            bail!("--port is for an emulator that is started here; an address has its own");
        }
        Ok(())
    }

    fn port(&self) -> u16 {
        self.port.unwrap_or(PORT)
    }

    fn endpoint(&self) -> String {
        self.emulator.endpoint(self.port())
    }
}

/// Runs `florin up`.
pub(crate) async fn run(options: &Options) -> Result<()> {
    options.check()?;
    let started = Instant::now();
    let place = Place::find(&options.state)?;
    let lock = place.lock()?;
    if runs_already(&place, options).await? {
        return Ok(());
    }
    let is_ours = !matches!(options.emulator, Emulator::Other(_));
    if is_ours {
        if down::stop(&place).await? {
            step("Stopped what was left of an earlier run");
        }
        process::ensure_port_is_free(options.port())?;
    }
    let wanted =
        Wanted { release: options.release, as_built: options.no_build, host: options.emulator == Emulator::Host };
    let built = build::build(&place, wanted)?;

    // From here on there is something to clean up, whatever happens.
    let outcome = tokio::select! {
        outcome = bring_up(&place, options, &built) => outcome,
        () = interrupted() => bail_interrupted(),
    };
    let (env, pid) = match outcome {
        Ok(up) => up,
        Err(error) => {
            if is_ours {
                down::stop(&place).await?;
            }
            return Err(error);
        }
    };
    introduce(&place, &env, started)?;
    drop(lock);
    // Who runs another emulator has its log.
    let Some(pid) = pid.filter(|_| !options.detach) else { return Ok(()) };
    say!("Ctrl-C stops everything. The log:\n");
    let outcome = tokio::select! {
        outcome = follow_log(&place, pid) => outcome,
        () = interrupted() => Ok(()),
    };
    // Another terminal may have stopped this stack and started the next.
    let _lock = place.lock()?;
    if process::running(&place).is_some_and(|running| running != pid) {
        return Ok(());
    }
    step("Stopping");
    down::stop(&place).await?;
    outcome
}

/// Says so if it does; what runs elsewhere than asked for is an error.
async fn runs_already(place: &Place, options: &Options) -> Result<bool> {
    if let Some(env) = stack::running(place).await? {
        let emulator = Emulator::of(&env)?;
        if emulator != options.emulator {
            bail!("Florin runs already, on {emulator}; {} stops it", place.script("down"));
        }
        say!("Florin runs already, at {}; nothing was changed.", env.required("FLORIN_API_URL")?);
        say!("Its settings are in {}; {} stops it.", place.local_env().display(), place.script("down"));
        return Ok(true);
    }
    // Elsewhere it may run or not: the same address is deployed to again, any other would be forgotten.
    let described = LocalEnv::read(&place.local_env())?.map(|env| Emulator::of(&env)).transpose()?;
    match described {
        Some(emulator @ Emulator::Other(_)) if emulator != options.emulator => {
            bail!("Florin is deployed to {emulator}; {} removes it there", place.script("down"))
        }
        _ => Ok(false),
    }
}

async fn bring_up(place: &Place, options: &Options, built: &Built) -> Result<(LocalEnv, Option<Pid>)> {
    let emulator = &options.emulator;
    let endpoint = options.endpoint();
    let data = place.data(emulator);
    if options.fresh {
        settings::forget(&data)?;
    }
    let settings = Settings::prepare(&data)?;
    let parameters = stack::parameters(&settings, &endpoint);
    let (pid, outputs) = match emulator {
        Emulator::Host => {
            step(&format!("Starting the host on {endpoint}"));
            let (pid, outputs) = host::start(place, options.ways(), &data, &parameters, built).await?;
            (Some(pid), outputs)
        }
        Emulator::MiniStack => {
            let python = python::ensure(place)?;
            step(&format!("Starting MiniStack on {endpoint}"));
            let pid = ministack::start(place, &python, options.port(), &data).await?;
            step("Deploying template.yaml through CloudFormation");
            (Some(pid), cloudformation::deploy(place, &python, &endpoint, &parameters, built).await?)
        }
        Emulator::Other(_) => {
            let python = python::ensure(place)?;
            if !stack::answers(emulator, &endpoint).await {
                bail!("nothing answers at {endpoint}; start the emulator first");
            }
            if options.fresh {
                step(&format!("Deleting the stack at {endpoint}"));
                cloudformation::delete(place, &python, &endpoint).await?;
            }
            step(&format!("Deploying template.yaml through CloudFormation at {endpoint}"));
            (None, cloudformation::deploy(place, &python, &endpoint, &parameters, built).await?)
        }
    };
    let mut env = stack::local_env(&outputs, &settings, emulator, &endpoint)?;
    if let Some(pid) = pid {
        env.set("FLORIN_EMULATOR_PID", pid.as_raw_nonzero().to_string());
        env.set("FLORIN_EMULATOR_LOG", place.emulator_log().display().to_string());
    }
    // At once: the functions' first start takes longer than all the rest.
    let (seeded, ()) = tokio::try_join!(seed::first_merchants(&env, &settings), stack::await_ready(&env))?;
    if seeded == 0 {
        step("The two merchants are there from an earlier run (--fresh starts empty)");
    } else {
        step("Seeded two merchants");
    }
    env.write(&place.local_env())?;
    Ok((env, pid))
}

impl Options {
    fn ways(&self) -> host::Ways {
        // Colour is for a person who watches, unless that person says no (https://no-color.org).
        let colour = !self.detach && stdout().is_terminal() && env::var_os("NO_COLOR").is_none();
        host::Ways { port: self.port(), watch: self.watch, freeze: self.freeze, colour }
    }
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
        seconds(started.elapsed())
    );
    Ok(())
}

/// With one decimal.
fn seconds(time: Duration) -> String {
    format!("{}.{}", time.as_secs(), time.subsec_millis() / 100)
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
        if !process::is_alive(pid) {
            // `down` from another terminal is an end like Ctrl-C; anything else is not.
            if place.local_env().exists() {
                bail!("the emulator ended by itself; its log is {}", place.emulator_log().display());
            }
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(LOG_EVERY_MS)).await;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn check(line: &str) -> Result<Options> {
        let options = Line::try_parse_from(line.split(' '))?.options;
        options.check()?;
        Ok(options)
    }

    #[test]
    fn the_host_is_the_default() {
        let options = check("up").unwrap();
        assert_eq!(
            (options.emulator.clone(), options.endpoint()),
            (Emulator::Host, "http://127.0.0.1:4566".to_owned())
        );
        assert_eq!(check("up --port 9 --emulator ministack").unwrap().endpoint(), "http://127.0.0.1:9");
        assert_eq!(check("up --emulator http://127.0.0.1:9297").unwrap().endpoint(), "http://127.0.0.1:9297");
    }

    #[test]
    fn what_an_emulator_cannot_do_is_refused() {
        for (line, named) in [
            ("up --emulator ministack --watch", "--watch"),
            ("up --emulator http://127.0.0.1:1 --freeze", "--freeze"),
            ("up --emulator http://127.0.0.1:1 --port 2", "--port"),
            ("up --watch --release", "--watch"),
            ("up --emulator localstack", "ministack"),
            ("up --keep", "--keep"),
        ] {
            let error = check(line).unwrap_err().to_string();
            assert!(error.contains(named), "{line}: {error}");
        }
    }

    #[tokio::test]
    async fn a_stack_deployed_elsewhere_is_not_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::find(&StateDir { state_dir: folder.path().to_path_buf() }).unwrap();
        let mut env = LocalEnv::default();
        env.set(crate::emulator::VARIABLE, "other");
        env.set("AWS_ENDPOINT_URL", "http://127.0.0.1:9297");
        env.write(&place.local_env()).unwrap();

        let error = runs_already(&place, &check("up").unwrap()).await.unwrap_err().to_string();
        assert!(error.contains("http://127.0.0.1:9297") && error.contains("down"), "{error}");
        assert!(!runs_already(&place, &check("up --emulator http://127.0.0.1:9297").unwrap()).await.unwrap());
    }

    #[test]
    fn time_has_one_decimal() {
        assert_eq!(seconds(Duration::from_millis(1_990)), "1.9");
        assert_eq!(seconds(Duration::from_millis(60_050)), "60.0");
    }
}
