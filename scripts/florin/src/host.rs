//! Our own host: one process that runs `template.yaml`.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::process::Pid;
use serde::Deserialize;

use crate::{
    build::{self, Built},
    place::Place,
    process,
    stack::{Outputs, Parameters, REGION, STACK_NAME},
};

/// What the functions may see of the caller's environment.
const PASSED_ON: [&str; 2] = ["RUST_LOG", "RUST_BACKTRACE"];

/// How often the start of a file that is busy is tried.
const SPAWN_TRIES_MAX: u32 = 50;
/// Between two tries.
const SPAWN_AGAIN_MS: u64 = 20;

/// How to run it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ways {
    /// On 127.0.0.1.
    pub(crate) port: u16,
    /// Take what is built or edited while it runs.
    pub(crate) watch: bool,
    /// Stop function processes between invocations, as Lambda does.
    pub(crate) freeze: bool,
    /// Functions' names in colour, for a person who watches.
    pub(crate) colour: bool,
}

/// What the host writes when everything answers.
#[derive(Debug, Deserialize)]
struct Ready {
    outputs: Outputs,
}

/// Starts the host, which deploys the template by itself, and waits until everything answers.
pub(crate) async fn start(
    place: &Place,
    ways: Ways,
    data: &Path,
    parameters: &Parameters,
    built: &Built,
) -> Result<(Pid, Outputs)> {
    process::remove(&place.ready_file())?;
    let mut command = process::command(place, &by_its_name(place, &built.host)?)?;
    let mark = format!("{}={}", process::MARK, place.state.display());
    command
        .arg("--template")
        .arg(place.root.join("template.yaml"))
        .arg("--binaries")
        .arg(one_folder(place, &built.functions)?)
        .arg("--data")
        .arg(data)
        .args(["--port", &ways.port.to_string(), "--stack-name", STACK_NAME, "--region", REGION])
        .arg("--ready-file")
        .arg(place.ready_file())
        // Secrets go by standard input, where no process list shows them.
        .arg("--parameters-stdin")
        .args(["--extra-env", &mark])
        .stdin(Stdio::piped());
    for name in PASSED_ON {
        if let Ok(value) = env::var(name) {
            command.args(["--extra-env", &format!("{name}={value}")]);
        }
    }
    for (wanted, option) in [(ways.watch, "--watch"), (ways.freeze, "--freeze"), (ways.colour, "--colour")] {
        if wanted {
            command.arg(option);
        }
    }
    let mut child = spawn(place, &mut command).await?;
    let mut input = child.stdin.take().context("the host takes no input")?;
    match input.write_all(serde_json::to_string(parameters)?.as_bytes()) {
        // It ended before it read: its log says why.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        written => written?,
    }
    drop(input);
    let pid = Pid::from_child(&child);
    let file = place.ready_file();
    let ready = process::await_start(place, pid, async || read(&file)).await?;
    Ok((pid, ready.outputs))
}

/// A file that was just written cannot be run while a process that was being started meanwhile still has it open.
async fn spawn(place: &Place, command: &mut Command) -> Result<Child> {
    for _ in 1..SPAWN_TRIES_MAX {
        match process::spawn(place, command) {
            Err(error) if is_busy(&error) => tokio::time::sleep(Duration::from_millis(SPAWN_AGAIN_MS)).await,
            done => return done,
        }
    }
    process::spawn(place, command)
}

fn is_busy(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<std::io::Error>();
    error.is_some_and(|error| error.kind() == ErrorKind::ExecutableFileBusy)
}

fn read(file: &Path) -> Result<Option<Ready>> {
    match fs::read(file) {
        Ok(text) => serde_json::from_slice(&text).map(Some).with_context(|| format!("{} is damaged", file.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

/// A folder that holds every function's binary by its name: where cargo put them, or copies of what cargo-lambda made.
fn one_folder(place: &Place, functions: &BTreeMap<String, PathBuf>) -> Result<PathBuf> {
    let folder = functions.values().next().and_then(|path| path.parent()).context("the template names no function")?;
    if functions.iter().all(|(name, path)| *path == folder.join(name)) {
        return Ok(folder.to_path_buf());
    }
    let copies = place.temporary().join("binaries");
    for (name, path) in functions {
        copy(path, &copies, name)?;
    }
    Ok(copies)
}

/// The host under its own name: cargo-lambda calls everything `bootstrap`, as Lambda wants it.
fn by_its_name(place: &Place, host: &Path) -> Result<PathBuf> {
    if host.ends_with(build::HOST) { Ok(host.to_path_buf()) } else { copy(host, &place.temporary(), build::HOST) }
}

/// A copy, no link: cargo-lambda writes into the files that it made before, which must not be what runs.
fn copy(path: &Path, folder: &Path, name: &str) -> Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let copy = folder.join(name);
    process::remove(&copy)?;
    fs::copy(path, &copy).with_context(|| format!("cannot copy {}", path.display()))?;
    Ok(copy)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::place::StateDir;

    struct Given {
        folder: tempfile::TempDir,
        place: Place,
    }

    fn given() -> Given {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::find(&StateDir { state_dir: folder.path().join("state") }).unwrap();
        Given { folder, place }
    }

    impl Given {
        /// A host of a few lines of shell, and functions as cargo-lambda lays them out.
        fn built(&self, script: &str) -> Built {
            let host = self.folder.path().join("bootstrap");
            // Written by another process: a file that this one has open cannot be run, and a fork of another test's
            // thread keeps it open for a moment.
            let write = r#"printf '#!/bin/sh\n%s\n' "$1" >"$0" && chmod 755 "$0""#;
            let written = std::process::Command::new("sh").args(["-c", write]).arg(&host).arg(script).status();
            assert!(written.unwrap().success());
            let functions = ["api", "sweeper"].map(|name| {
                let at = self.folder.path().join("lambda").join(name);
                fs::create_dir_all(&at).unwrap();
                fs::write(at.join("bootstrap"), name).unwrap();
                (name.to_owned(), at.join("bootstrap"))
            });
            Built { functions: functions.into(), host }
        }
    }

    const WAYS: Ways = Ways { port: 1, watch: true, freeze: false, colour: false };

    #[tokio::test]
    async fn the_host_gets_its_parameters_by_standard_input_and_tells_the_outputs() {
        let given = given();
        // Writes down what it was given, is ready, and stays.
        let built = given.built(
            r#"cat >input; echo "$@" >arguments; for folder in "$4"; do cat $folder/api; done >function
            echo '{"outputs":{"ApiUrl":"http://there"},"endpoint":"x","pid":1}' >new; mv new ready.json; exec sleep 60"#,
        );
        let parameters = Parameters::from([("RootKey".to_owned(), "secret".to_owned())]);

        let (pid, outputs) = start(&given.place, WAYS, Path::new("/data"), &parameters, &built).await.unwrap();

        let written = |name: &str| fs::read_to_string(given.place.state.join(name)).unwrap();
        assert_eq!(outputs.get("ApiUrl").unwrap(), "http://there");
        assert_eq!(written("input"), r#"{"RootKey":"secret"}"#);
        assert_eq!(written("function"), "api", "every binary lies in one folder by its name");
        let arguments = written("arguments");
        assert!(!arguments.contains("secret"), "{arguments}");
        for wanted in ["--data /data", "--port 1", "--watch", "--extra-env FLORIN_EMULATOR_STATE_DIR=/"] {
            assert!(arguments.contains(wanted), "{arguments}");
        }
        assert!(!arguments.contains("--freeze"), "{arguments}");
        assert_eq!(process::running(&given.place), Some(pid));
        assert!(given.place.temporary().join(build::HOST).is_file(), "it runs under its own name");
        process::stop(&given.place).await.unwrap();
        assert!(!given.place.ready_file().exists());
    }

    #[tokio::test]
    async fn a_host_that_does_not_start_is_quoted() {
        let given = given();
        let built = given.built("echo 'line 7: Nonsense is no property of a queue' >&2; exit 1");
        let failed = start(&given.place, WAYS, Path::new("/data"), &Parameters::new(), &built).await;
        let error = failed.unwrap_err().to_string();
        assert!(error.contains("line 7: Nonsense"), "{error}");
        assert_eq!(process::running(&given.place), None);
    }
}
