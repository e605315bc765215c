//! A local stack of a test's own, and what may be done to it: faults by rule, processes killed, the host killed.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use aws_sdk_sqs::types::QueueAttributeName::VisibilityTimeout;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::{
    place::{built_beside, is_release, root},
    stack::{Stack, until},
};

/// How long a message of a killed function stays hidden. The template's own time-outs, up to three minutes, would only
/// make a test wait.
const VISIBILITY_S: &str = "10";
/// How often it is looked whether a rule has fired.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Every queue with its dead letters, and what the topic could not hand over.
const DEAD_LETTERS: [&str; 4] =
    ["PROCESSING_DEAD_LETTERS", "WEBHOOK_DEAD_LETTERS", "ANALYTICS_DEAD_LETTERS", "UNDELIVERED_EVENTS"];

/// Whether the local host is tested: other emulators cannot be treated like this.
pub fn is_wanted() -> bool {
    std::env::var("FLORIN_EMULATOR").as_deref() == Ok("host")
}

/// A number by option, or what continuous integration can afford.
pub fn option(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |number| number.parse().unwrap())
}

/// A stack of its own, which ends with the test.
pub struct Own {
    state: String,
    port: u16,
    has_short_visibility: bool,
    pub stack: Stack,
}

impl Own {
    /// Builds and starts a stack without data in `.florin/<name>`. The port is below those that the system gives to
    /// outgoing connections.
    pub async fn start(name: &str, port: u16) -> Self {
        let state = format!(".florin/{name}");
        let stack = up(&state, port, true).await;
        Self { state, port, has_short_visibility: false, stack }
    }

    /// With messages of killed functions coming back soon.
    pub async fn with_short_visibility(mut self) -> Self {
        self.has_short_visibility = true;
        self.shorten_visibility().await;
        self
    }

    async fn shorten_visibility(&self) {
        for queue in ["PROCESSING", "WEBHOOK", "ANALYTICS"] {
            let url = self.stack.setting(&format!("FLORIN_{queue}_QUEUE_URL"));
            let request = self.stack.sqs.set_queue_attributes().queue_url(url);
            request.attributes(VisibilityTimeout, VISIBILITY_S).send().await.unwrap();
        }
    }

    /// Kills the host and starts it again on what it has kept. Returns how long it was away.
    pub async fn kill_host(&mut self) -> Duration {
        let killed = Instant::now();
        let pid = self.stack.setting("FLORIN_EMULATOR_PID");
        assert!(kill(pid.parse().unwrap()), "process {pid}, the host, was not there");
        self.stack = up(&self.state, self.port, false).await;
        // The template was deployed anew.
        if self.has_short_visibility {
            self.shorten_visibility().await;
        }
        killed.elapsed()
    }

    /// Runs the command-line tool on this stack and returns what it says.
    pub async fn florin(&self, arguments: &[&str]) -> String {
        let mut command = tool(&self.state, false);
        command.args(arguments);
        tokio::task::spawn_blocking(move || said(&mut command)).await.unwrap()
    }

    /// Puts a rule in force and returns its number.
    pub async fn add_fault(&self, rule: Value) -> u64 {
        self.host(Method::POST, "/_host/faults", Some(rule)).await["id"].as_u64().unwrap()
    }

    /// Ends one rule.
    pub async fn clear_fault(&self, id: u64) {
        self.host(Method::DELETE, &format!("/_host/faults/{id}"), None).await;
    }

    /// Ends all rules.
    pub async fn clear_faults(&self) {
        self.host(Method::DELETE, "/_host/faults", None).await;
    }

    /// The rules in force, with how often each has hit.
    pub async fn faults(&self) -> Vec<Value> {
        let listed = self.host(Method::GET, "/_host/faults", None).await;
        listed["faults"].as_array().unwrap().clone()
    }

    /// What was called so far.
    pub async fn counters(&self) -> Value {
        self.host(Method::GET, "/_host/counters", None).await
    }

    /// Has the queue give nothing to its function. Returns the number of the rule.
    pub async fn hold_back(&self, queue: &str) -> u64 {
        self.add_fault(json!({ "service": "sqs", "operation": "ReceiveMessage", "resource": queue,
                               "function": "poller", "fault": { "kind": "outage" } }))
            .await
    }

    /// Has the gateway away for so long: whoever asks gets 503, not from the gateway.
    pub async fn gateway_away(&self, seconds: u64) -> u64 {
        self.add_fault(json!({ "service": "http", "resource": self.gateway_id(), "for_seconds": seconds,
                               "fault": { "kind": "outage" } }))
            .await
    }

    /// The id of the gateway's HTTP API, by which rules name it.
    pub fn gateway_id(&self) -> &str {
        self.stack.gateway_url.rsplit('/').next().unwrap()
    }

    /// Runs a function now, whatever its schedule. Whether it came to its end is for the caller's rules to say.
    pub async fn invoke(&self, function: &str) {
        let url = format!("{}/_host/invoke/{function}", self.stack.setting("AWS_ENDPOINT_URL"));
        let answer = self.stack.http.post(url).json(&json!({})).send().await.unwrap();
        assert_ne!(answer.status().as_u16(), 404, "there is no function {function}");
    }

    /// A call of the host's control address.
    async fn host(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let mut request = self.stack.http.request(method, format!("{}{path}", self.stack.setting("AWS_ENDPOINT_URL")));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let (status, answer) = (answer.status(), answer.json::<Value>().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {answer}");
        answer
    }

    /// The processes of the functions whose name ends with this; all for an empty one.
    pub fn processes(&self, function: &str) -> Vec<i32> {
        // The host itself runs from elsewhere in the state folder.
        let folder = root().join(&self.state).join("data/host/functions").canonicalize().unwrap();
        let is_ours = |process: &fs::DirEntry| {
            // A binary that was replaced still has its old path, with a mark behind it.
            let Ok(binary) = fs::read_link(process.path().join("exe")) else { return false };
            let name = binary.parent().and_then(|folder| folder.file_name()).unwrap_or_default().to_string_lossy();
            binary.starts_with(&folder) && name.ends_with(function)
        };
        let processes = fs::read_dir("/proc").unwrap().flatten().filter(is_ours);
        processes.filter_map(|process| process.file_name().to_str()?.parse().ok()).collect()
    }

    /// Kills the processes of a function each time when one of these rules hits, until all have.
    pub async fn kill_when_fired(&self, function: &str, rules: &[u64]) {
        let mut waiting = rules.to_vec();
        while !waiting.is_empty() {
            let faults = self.faults().await;
            let fired = |id: &u64| faults.iter().any(|fault| fault["id"] == *id && fault["fired"] != 0);
            if waiting.iter().any(fired) {
                waiting.retain(|id| !fired(id));
                for pid in self.processes(function) {
                    kill(pid);
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Checks that nothing was given up.
    pub async fn has_no_dead_letters(&self) {
        for queue in DEAD_LETTERS {
            let url = self.stack.setting(&format!("FLORIN_{queue}_URL"));
            assert_eq!(self.stack.depth(url).await, (0, 0), "{queue}");
        }
    }

    /// Waits until every queue is empty and nothing is left in flight.
    pub async fn drained(&self, within: Duration) {
        until("every queue is empty, twice in a row", within, async || {
            for _ in 0..2 {
                for queue in ["PROCESSING", "WEBHOOK", "ANALYTICS"] {
                    if self.stack.depth(self.stack.setting(&format!("FLORIN_{queue}_QUEUE_URL"))).await != (0, 0) {
                        return None;
                    }
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Some(())
        })
        .await;
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let mut down = tool(&self.state, false);
        drop(down.arg("down").stdout(Stdio::null()).stderr(Stdio::null()).status());
    }
}

/// Kills a process (SIGKILL). Returns whether it was there.
pub fn kill(pid: i32) -> bool {
    let kill = Command::new("kill").args(["-9", &pid.to_string()]).stderr(Stdio::null()).status();
    kill.is_ok_and(|status| status.success())
}

/// Held while a stack is built and started: two builds at once take each other's binaries away.
static BUILDING: Mutex<()> = Mutex::const_new(());

/// Starts the stack: with nothing, or with what it has kept.
async fn up(state: &str, port: u16, fresh: bool) -> Stack {
    let _alone = BUILDING.lock().await;
    let mut command = tool(state, fresh);
    command.args(["up", "--detach", "--emulator", "host", "--port", &port.to_string()]);
    command.arg(if fresh { "--fresh" } else { "--no-build" });
    command.args(is_release().then_some("--release"));
    tokio::task::spawn_blocking(move || said(&mut command)).await.unwrap();
    Stack::from_file(&root().join(state).join("local.env")).await
}

/// The command-line tool on this stack. Cargo builds it; after that it is run directly, which is quicker.
fn tool(state: &str, build: bool) -> Command {
    let built = std::env::current_exe().map(|test| test.parent().and_then(|deps| deps.parent()).map(PathBuf::from));
    let built = built.ok().flatten().and_then(|folder| built_beside(&folder.join("test"), "florin").ok());
    let mut command = match built {
        Some(path) if !build => Command::new(path),
        _ => {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["run", "--quiet", "--bin", "florin", "--"]);
            cargo
        }
    };
    command.env("FLORIN_STATE_DIR", state).current_dir(root()).stdin(Stdio::null());
    command
}

/// What a command that has to succeed says.
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}
