//! The stack of functions that cases of mappings and HTTP APIs run on: an emulator of its own with
//! `tests/conformance/template.yaml`, or a stack that is deployed already.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    net::TcpListener,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::context::Queue;
use crate::place::{host, root};

/// How long the start of an emulator may take, its deployment included.
const START_WITHIN: Duration = Duration::from_secs(60);
/// How long it may take to end.
const STOP_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(50);
const REGION: &str = "us-east-1";
const STACK_NAME: &str = "conformance";

/// The running stack.
pub struct Probe {
    outputs: BTreeMap<String, String>,
    /// Where its queues are.
    pub sqs: aws_sdk_sqs::Client,
    emulator: Option<Emulator>,
}

/// A process group with a folder of its own.
struct Emulator {
    child: Child,
    folder: PathBuf,
}

impl Probe {
    /// Starts it on an emulator of the kind under test. `binary` is the probe's.
    pub async fn start(kind: &str, binary: &Path) -> Result<Self> {
        if let Ok(path) = std::env::var("FLORIN_CONFORMANCE_OUTPUTS") {
            let outputs = serde_json::from_slice(&fs::read(&path).with_context(|| path.clone())?)?;
            let aws = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
            return Ok(Self { outputs, sqs: aws_sdk_sqs::Client::new(&aws), emulator: None });
        }
        let binary = binary.to_owned();
        let kind = kind.to_owned();
        let (outputs, endpoint, emulator) = tokio::task::spawn_blocking(move || match kind.as_str() {
            "host" => start_host(&binary),
            "ministack" => start_ministack(&binary),
            other => bail!(
                "{other} is not started here: deploy tests/conformance/template.yaml to it, and name a JSON file of its \
                 outputs in FLORIN_CONFORMANCE_OUTPUTS"
            ),
        })
        .await??;
        let aws = aws_config::defaults(aws_config::BehaviorVersion::latest()).endpoint_url(endpoint).load().await;
        Ok(Self { outputs, sqs: aws_sdk_sqs::Client::new(&aws), emulator: Some(emulator) })
    }

    pub fn output(&self, name: &str) -> Result<&str> {
        self.outputs.get(name).map(String::as_str).with_context(|| format!("the stack has no output {name}"))
    }

    /// A queue of the template.
    pub fn queue(&self, name: &str) -> Result<Queue> {
        let url = self.output(&format!("{name}Url"))?.to_owned();
        let queue_name = url.rsplit('/').next().unwrap_or_default().to_owned();
        Ok(Queue { sqs: self.sqs.clone(), url, name: queue_name })
    }

    /// What the emulator and its functions have said.
    pub fn log(&self) -> Option<PathBuf> {
        self.emulator.as_ref().map(|emulator| emulator.folder.join("log"))
    }
}

impl Emulator {
    /// Starts the command in a process group of its own, with a log.
    fn spawn(command: &mut Command, folder: &Path) -> Result<Self> {
        let log = fs::File::create(folder.join("log"))?;
        command.env("TMPDIR", folder).stdout(log.try_clone()?).stderr(log).process_group(0);
        let child = command.spawn().with_context(|| format!("cannot run {:?}", command.get_program()))?;
        Ok(Self { child, folder: folder.to_owned() })
    }

    /// Waits until it is ready.
    fn ready<T>(&mut self, mut look: impl FnMut() -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + START_WITHIN;
        loop {
            if let Some(answer) = look() {
                return Ok(answer);
            }
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                let lines: Vec<_> = log.lines().rev().take(15).collect();
                bail!(
                    "the emulator does not start; it said: {}",
                    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
                );
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn signal(&self, signal: &str) {
        let group = format!("-{}", self.child.id());
        let command = Command::new("kill").args([signal, "--", &group]).stderr(Stdio::null()).status();
        drop(command); // a group that has ended needs no signal
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.signal("-TERM");
        let deadline = Instant::now() + STOP_WITHIN;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(LOOK_EVERY);
        }
        self.signal("-KILL");
        drop(self.child.wait());
    }
}

type Started = (BTreeMap<String, String>, String, Emulator);

/// A new, empty folder below the build's own.
fn empty_folder(binary: &Path) -> Result<PathBuf> {
    let folder = binary.with_file_name("conformance");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn parameters(endpoint: &str) -> Value {
    json!({ "ApiUrlPrefix": format!("{endpoint}/_aws/execute-api/") })
}

fn start_host(binary: &Path) -> Result<Started> {
    let (folder, port) = (empty_folder(binary)?, free_port()?);
    let endpoint = format!("http://127.0.0.1:{port}");
    let host = host(binary)?;
    let ready = folder.join("ready.json");
    let mut command = Command::new(host);
    command.arg("--template").arg(root().join("tests/conformance/template.yaml"));
    command.arg("--binaries").arg(binary.parent().context("a binary without a folder")?);
    command.arg("--data").arg(folder.join("data")).args(["--port", &port.to_string(), "--fresh"]);
    command.args(["--stack-name", STACK_NAME, "--parameters-stdin"]).arg("--ready-file").arg(&ready);
    let mut emulator = Emulator::spawn(command.stdin(Stdio::piped()), &folder)?;
    let mut input = emulator.child.stdin.take().context("the host takes no input")?;
    input.write_all(parameters(&endpoint).to_string().as_bytes())?;
    drop(input);
    let ready: Value = emulator.ready(|| serde_json::from_slice(&fs::read(&ready).ok()?).ok())?;
    let outputs = serde_json::from_value(ready.get("outputs").cloned().context("the ready file has no outputs")?)?;
    Ok((outputs, endpoint, emulator))
}

fn start_ministack(binary: &Path) -> Result<Started> {
    let (folder, port) = (empty_folder(binary)?, free_port()?);
    let endpoint = format!("http://127.0.0.1:{port}");
    let python = root().join(".florin/venv/bin/python");
    ensure!(python.exists(), "{} is missing: start MiniStack once with ./scripts/up", python.display());
    let credentials =
        [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"), ("AWS_CONFIG_FILE", "/dev/null")];
    let mut command = Command::new(&python);
    command.arg(root().join("localstack/start.py")).current_dir(&folder).stdin(Stdio::null()).envs(credentials);
    command.env("GATEWAY_PORT", port.to_string()).envs([("BIND_HOST", "127.0.0.1"), ("MINISTACK_HOST", "127.0.0.1")]);
    command.envs([("SFTP_ENABLED", "0"), ("IOT_MTLS_ENABLED", "0"), ("PERSIST_STATE", "0")]);
    command.env("AWS_ENDPOINT_URL", &endpoint).env("MINISTACK_REGION", REGION).env("STATE_DIR", folder.join("state"));
    let mut emulator = Emulator::spawn(&mut command, &folder)?;
    emulator.ready(|| std::net::TcpStream::connect(("127.0.0.1", port)).ok())?;
    let request = json!({
        "endpoint": endpoint, "region": REGION, "stack_name": STACK_NAME,
        "template": root().join("tests/conformance/template.yaml"),
        "binaries": { "conformance-probe": binary }, "parameters": parameters(&endpoint),
    });
    let mut deploy = Command::new(&python);
    deploy.arg(root().join("localstack/deploy.py")).envs(credentials).env("NO_PROXY", "127.0.0.1");
    let mut deploy = deploy.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    deploy.stdin.take().context("the deployment takes no input")?.write_all(request.to_string().as_bytes())?;
    let output = deploy.wait_with_output()?;
    ensure!(output.status.success(), "the deployment failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok((serde_json::from_slice(&output.stdout)?, endpoint, emulator))
}
