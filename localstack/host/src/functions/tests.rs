//! Functions as real processes. They need the example `test_function`, which `cargo test -p florin-host` builds.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

use std::{
    env, fs, io,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use futures::future::join_all;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::{error::ServiceError, sqs::Received};

/// A source without messages.
pub(super) struct Nothing;

impl Source for Nothing {
    fn receive<'a>(
        &'a self,
        _queue: &'a str,
        _max: usize,
        _wait: Duration,
    ) -> BoxFuture<'a, Result<Vec<Received>, ServiceError>> {
        Box::pin(std::future::pending())
    }

    fn delete<'a>(&'a self, _queue: &'a str, _handles: &'a [String]) -> BoxFuture<'a, Result<(), ServiceError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// What was logged.
#[derive(Debug, Clone, Default)]
pub(super) struct Logged(Arc<Mutex<Vec<u8>>>);

impl io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        locked(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Logged {
    pub(super) fn text(&self) -> String {
        String::from_utf8(locked(&self.0).clone()).unwrap()
    }
}

/// Functions, and what they leave behind.
pub(super) struct Bench {
    pub(super) functions: Functions,
    pub(super) logged: Logged,
    pub(super) folder: TempDir,
}

impl Bench {
    pub(super) async fn with(stack: &model::Stack, freeze: bool, source: Arc<dyn Source>) -> Self {
        let folder = TempDir::new().unwrap();
        let options = Options {
            endpoint: "http://127.0.0.1:1".to_owned(),
            region: "eu-central-1".to_owned(),
            folder: folder.path().to_owned(),
            freeze,
            colour: false,
            extra_environment: vec![("MARK".to_owned(), "here".to_owned())],
        };
        let logged = Logged::default();
        let log = Log::to(Box::new(logged.clone()), false);
        let functions = Functions::start_with(options, source, Arc::default(), log).await.unwrap();
        functions.deploy(stack, &|_| test_function()).await.unwrap();
        Self { functions, logged, folder }
    }

    pub(super) async fn of(function: model::Function) -> Self {
        Self::with(&stack(function), false, Arc::new(Nothing)).await
    }

    async fn invoke(&self, event: Value) -> Result<Value, InvokeError> {
        let answer = self.functions.invoke("Tested", event.to_string().into_bytes()).await?;
        Ok(serde_json::from_slice(&answer).unwrap())
    }

    async fn pid(&self) -> i32 {
        pid_of(&self.invoke(json!({ "do": "echo" })).await.unwrap())
    }

    /// The error's type and message, without the id of the request.
    async fn error(&self, event: Value) -> (String, String) {
        let Err(InvokeError::Function(error)) = self.invoke(event).await else { panic!("it did not fail") };
        let message = error["errorMessage"].as_str().unwrap();
        let message = match message.strip_prefix("RequestId: ") {
            Some(rest) => rest.split_once(' ').unwrap().1,
            None => message,
        };
        (error["errorType"].as_str().unwrap().to_owned(), message.to_owned())
    }
}

fn test_function() -> PathBuf {
    let path = env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("examples/test_function");
    assert!(path.exists(), "build it first: cargo build -p florin-host --example test_function");
    path
}

pub(super) fn function() -> model::Function {
    model::Function {
        name: "shop-tested".to_owned(),
        arn: "arn:aws:lambda:eu-central-1:000000000000:function:shop-tested".to_owned(),
        binary: "test_function".to_owned(),
        handler: "bootstrap".to_owned(),
        memory_mib: 128,
        timeout: Duration::from_secs(5),
        environment: BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]),
        reserved_concurrency: None,
        async_retries_max: 2,
        async_event_age_max: Duration::from_secs(3_600),
        application_log_level: Some("INFO".to_owned()),
        log_group: "/aws/lambda/shop-tested".to_owned(),
    }
}

pub(super) fn stack(function: model::Function) -> model::Stack {
    model::Stack { functions: BTreeMap::from([("Tested".to_owned(), function)]), ..model::Stack::default() }
}

fn pid_of(answer: &Value) -> i32 {
    i32::try_from(answer["pid"].as_i64().unwrap()).unwrap()
}

fn is_alive(pid: i32) -> bool {
    test_kill_process(Pid::from_raw(pid).unwrap()).is_ok()
}

/// The letter that /proc has for what the process does.
fn state(pid: i32) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1[..1].to_owned()
}

async fn eventually(what: impl Fn() -> bool) {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < Duration::from_secs(5), "it never came to that");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warm_environment_is_used_again() {
    let bench = Bench::of(function()).await;
    let first = bench.invoke(json!({ "do": "echo", "x": [1, "two"] })).await.unwrap();
    assert_eq!(first["event"], json!({ "do": "echo", "x": [1, "two"] }));
    for _ in 0..50 {
        assert_eq!(bench.pid().await, pid_of(&first));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_at_work_has_an_environment_of_its_own() {
    let bench = Bench::of(function()).await;
    let answers = join_all((0..4).map(|_| bench.invoke(json!({ "do": "sleep", "n": 300 })))).await;
    let mut pids: Vec<i32> = answers.into_iter().map(|answer| pid_of(&answer.unwrap())).collect();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 4);

    // The one that was used last comes first.
    let last = bench.pid().await;
    assert_eq!(bench.pid().await, last);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_has_lambdas_variables_and_nothing_of_the_hosts() {
    let bench = Bench::of(function()).await;
    let answer = bench.invoke(json!({ "do": "environment" })).await.unwrap();
    let variables = answer["variables"].as_object().unwrap();
    let folder = bench.folder.path().join("shop-tested");
    let folder = folder.to_str().unwrap();
    for (name, value) in [
        ("GREETING", "hello"),
        ("MARK", "here"),
        ("_HANDLER", "bootstrap"),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_DEFAULT_REGION", "eu-central-1"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
        ("AWS_ACCESS_KEY_ID", "host.shop-tested.1"),
        ("AWS_SECRET_ACCESS_KEY", "local"),
        ("AWS_LAMBDA_FUNCTION_NAME", "shop-tested"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/shop-tested"),
        ("AWS_LAMBDA_LOG_LEVEL", "INFO"),
        ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
        ("AWS_CONFIG_FILE", "/dev/null"),
        ("LAMBDA_TASK_ROOT", folder),
        ("TZ", ":UTC"),
        ("NO_PROXY", "*"),
    ] {
        assert_eq!(variables[name], value, "{name}");
    }
    for name in ["HOME", "CARGO_MANIFEST_DIR", "USER", "AWS_PROFILE", "AWS_SESSION_TOKEN"] {
        assert!(!variables.contains_key(name), "{name}");
    }
    assert_eq!(answer["folder"], folder);
    assert_eq!(answer["arn"], "arn:aws:lambda:eu-central-1:000000000000:function:shop-tested");
    assert_eq!(answer["request_id"].as_str().unwrap().len(), 36);
    assert!(answer["trace"].as_str().unwrap().starts_with("Root=1-"), "{answer}");
    let left = answer["deadline"].as_u64().unwrap() - crate::clock::now_ms();
    assert!((4_000..=5_000).contains(&left), "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_function_is_passed_on_and_keeps_its_environment() {
    let bench = Bench::of(function()).await;
    let pid = bench.pid().await;
    let error = bench.error(json!({ "do": "error" })).await;
    assert_eq!(error, ("TestError".to_owned(), "a test was asked to fail".to_owned()));
    let (_, message) = bench.error(json!({ "do": "panic" })).await;
    assert!(message.contains("a test was asked to panic"), "{message}");
    assert_eq!(bench.pid().await, pid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_fails_its_event_alone() {
    let bench = Bench::of(function()).await;
    let pid = bench.pid().await;
    let error = bench.error(json!({ "do": "exit", "n": 1 })).await;
    assert_eq!(error, ("Runtime.ExitError".to_owned(), "Error: Runtime exited with error: exit status 1".to_owned()));
    let error = bench.error(json!({ "do": "exit", "n": 0 })).await;
    assert_eq!(error.1, "Error: Runtime exited without providing a reason");
    let error = bench.error(json!({ "do": "abort" })).await;
    assert_eq!(error.1, "Error: Runtime exited with error: signal: aborted");
    assert_ne!(bench.pid().await, pid);
    assert!(bench.logged.text().contains("Status: error\tError Type: Runtime.ExitError"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_that_is_killed_at_work_is_told_as_lambda_tells_it() {
    let bench = Bench::of(function()).await;
    bench.pid().await;
    let error = bench.error(json!({ "do": "sleep", "n": 4_000 }));
    let kill = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!bench.functions.kill_environment("host.shop-tested.2"));
        assert!(bench.functions.kill_environment("host.shop-tested.1"));
    };
    let (error, ()) = tokio::join!(error, kill);
    assert_eq!(error.1, "Error: Runtime exited with error: signal: killed");
    assert!(!bench.functions.kill_environment("host.shop-tested.1"), "it is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_an_idle_environment_is_killed() {
    let bench = Bench::of(function()).await;
    for _ in 0..20 {
        let pid = bench.pid().await;
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
        // Not even at once, unless the kernel has not closed its connection yet.
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_ne!(bench.pid().await, pid);
    }
    assert!(bench.logged.text().contains("signal: killed while it had nothing to do"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_takes_too_long_ends_its_environment() {
    let bench = Bench::of(model::Function { timeout: Duration::from_millis(500), ..function() }).await;
    let pid = bench.pid().await;
    let begun = Instant::now();
    let error = bench.error(json!({ "do": "sleep", "n": 4_000 })).await;
    assert_eq!(error, ("Sandbox.Timedout".to_owned(), "Error: Task timed out after 0.50 seconds".to_owned()));
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert!(!is_alive(pid));
    assert_ne!(bench.pid().await, pid);
    assert!(bench.logged.text().contains("\tStatus: timeout\t"));
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_function_has_the_memory_it_was_given_and_no_more() {
    let bench = Bench::of(function()).await;
    assert_eq!(bench.invoke(json!({ "do": "allocate", "n": 90 })).await.unwrap()["sum"], 90 * 1024 * 1024);
    let error = bench.error(json!({ "do": "allocate", "n": 200 })).await;
    assert_eq!(error, ("Runtime.ExitError".to_owned(), "Error: Runtime exited with error: signal: killed".to_owned()));
    let log = bench.logged.text();
    assert!(log.contains("memory allocation of 209715200 bytes failed"), "{log}");
    let used = log.split("Max Memory Used: ").nth(1).unwrap().split(' ').next().unwrap();
    assert!((90..128).contains(&used.parse::<u32>().unwrap()), "{used}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_environment_does_nothing_between_events() {
    let bench = Bench::with(&stack(function()), true, Arc::new(Nothing)).await;
    let pid = pid_of(&bench.invoke(json!({ "do": "work on" })).await.unwrap());
    eventually(|| state(pid) == "T").await;
    assert_eq!(bench.pid().await, pid);
    eventually(|| state(pid) == "T").await;
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    eventually(|| !is_alive(pid)).await;
    assert_ne!(bench.pid().await, pid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_init_is_tried_twice_and_fails_the_event() {
    let environment = BTreeMap::from([("INIT".to_owned(), "exit".to_owned())]);
    let bench = Bench::of(model::Function { environment, ..function() }).await;
    let error = bench.error(json!({ "do": "echo" })).await;
    assert_eq!(error, ("Runtime.ExitError".to_owned(), "Error: Runtime exited with error: exit status 3".to_owned()));
    let log = bench.logged.text();
    assert_eq!(log.matches("init gives up").count(), 2, "{log}");
    assert_eq!(log.matches("INIT_REPORT").count(), 1, "{log}");
    assert!(log.contains("Phase: init\tStatus: error\tError Type: Runtime.ExitError"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binary_that_cannot_run_fails_the_event() {
    let bench = Bench::of(function()).await;
    fs::remove_file(bench.folder.path().join("shop-tested/bootstrap")).unwrap();
    let (error_type, message) = bench.error(json!({ "do": "echo" })).await;
    assert_eq!(error_type, "Runtime.InvalidEntrypoint");
    assert!(message.contains("shop-tested/bootstrap cannot be started: No such file"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_events_than_reserved_concurrency_are_throttled() {
    let bench = Bench::of(model::Function { reserved_concurrency: Some(2), ..function() }).await;
    let answers = join_all((0..5).map(|_| bench.invoke(json!({ "do": "sleep", "n": 200 })))).await;
    let throttled = answers.iter().filter(|answer| **answer == Err(InvokeError::Throttled)).count();
    assert_eq!(throttled, 3);
    bench.pid().await;

    let bench = Bench::of(model::Function { reserved_concurrency: Some(0), ..function() }).await;
    assert_eq!(bench.invoke(json!({ "do": "echo" })).await, Err(InvokeError::Throttled));
    assert_eq!(bench.functions.invoke("Other", vec![]).await, Err(InvokeError::Unknown("Other".to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_and_answers_have_a_limit() {
    let bench = Bench::of(function()).await;
    let event = format!("\"{}\"", "x".repeat(PAYLOAD_BYTES_MAX - 1));
    let Err(InvokeError::Function(error)) = bench.functions.invoke("Tested", event.into_bytes()).await else {
        panic!("too large");
    };
    assert_eq!(error["errorType"], "RequestEntityTooLargeException");
    let answer = bench.invoke(json!({ "do": "answer", "n": PAYLOAD_BYTES_MAX - 2 })).await.unwrap();
    assert_eq!(answer.as_str().unwrap().len(), PAYLOAD_BYTES_MAX - 2);
    let error = bench.error(json!({ "do": "answer", "n": PAYLOAD_BYTES_MAX - 1 })).await;
    assert_eq!(error.0, "Function.ResponseSizeTooLarge");
    bench.pid().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_has_its_functions_name_and_precedes_the_report() {
    let bench = Bench::of(function()).await;
    bench.invoke(json!({ "do": "print", "n": 20_000 })).await.unwrap();
    bench.functions.stop().await;
    let log = bench.logged.text();
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines[..2], ["shop-tested | to standard output", "shop-tested | to standard error"]);
    assert_eq!(lines[2].len(), "shop-tested | ".len() + 100_000);
    assert!(lines[3].starts_with("shop-tested | REPORT RequestId: "), "{}", lines[3]);
    assert!(lines[3].contains("Memory Size: 128 MB\tMax Memory Used: "), "{}", lines[3]);
    assert!(lines[3].contains("\tInit Duration: "), "{}", lines[3]);
    assert_eq!(lines[4], "shop-tested | without an end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_leaves_alone_what_stays_as_it_is() {
    let bench = Bench::of(function()).await;
    let first = bench.pid().await;
    bench.functions.deploy(&stack(function()), &|_| test_function()).await.unwrap();
    assert_eq!(bench.pid().await, first);

    // Other settings: the event at work finishes in the old environment, the next one gets a new one.
    let at_work = bench.invoke(json!({ "do": "sleep", "n": 300 }));
    let deploy = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let changed = model::Function { memory_mib: 256, ..function() };
        bench.functions.deploy(&stack(changed), &|_| test_function()).await.unwrap();
        assert_ne!(bench.pid().await, first);
    };
    let (answer, ()) = tokio::join!(at_work, deploy);
    assert_eq!(pid_of(&answer.unwrap()), first);
    eventually(|| !is_alive(first)).await;

    // Another binary.
    let second = bench.pid().await;
    let built = bench.folder.path().join("built");
    fs::copy(test_function(), &built).unwrap();
    let changed = stack(model::Function { memory_mib: 256, ..function() });
    bench.functions.deploy(&changed, &|_| bench.folder.path().join("built")).await.unwrap();
    assert_ne!(bench.pid().await, second);

    // No function.
    let third = bench.pid().await;
    bench.functions.deploy(&model::Stack::default(), &|_| test_function()).await.unwrap();
    assert_eq!(bench.invoke(json!({})).await, Err(InvokeError::Unknown("Tested".to_owned())));
    eventually(|| !is_alive(third)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_cannot_be_changes_nothing() {
    let bench = Bench::of(function()).await;
    let pid = bench.pid().await;
    let error = bench.functions.deploy(&stack(function()), &|name| Path::new("/nowhere").join(name)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "shop-tested: its binary test_function is not at /nowhere/test_function: build it first"
    );
    let schedule = model::Schedule {
        name: "nightly".to_owned(),
        arn: String::new(),
        function: "Tested".to_owned(),
        rate: model::Rate::Cron("0 0 L * ? *".to_owned()),
        input: None,
        enabled: true,
    };
    let wrong = model::Stack { schedules: vec![schedule], ..stack(model::Function { memory_mib: 512, ..function() }) };
    let error = bench.functions.deploy(&wrong, &|_| test_function()).await.unwrap_err();
    assert!(error.to_string().starts_with("the schedule nightly: L of the day of month"), "{error}");
    assert_eq!(bench.pid().await, pid);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_waits_for_what_is_at_work_and_leaves_no_process() {
    let bench = Bench::of(function()).await;
    bench.functions.warm_up();
    let pid = bench.pid().await;
    let at_work = bench.invoke(json!({ "do": "sleep", "n": 300 }));
    let stop = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        bench.functions.stop().await;
        assert!(!is_alive(pid));
        assert!(bench.invoke(json!({ "do": "echo" })).await.is_err());
    };
    let (answer, ()) = tokio::join!(at_work, stop);
    assert_eq!(pid_of(&answer.unwrap()), pid);
    assert_eq!(fs::read_dir(bench.folder.path().join("shop-tested/tmp")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_are_called_bootstrap() {
    let bench = Bench::of(function()).await;
    let pid = bench.pid().await;
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/comm")).unwrap().trim(), "bootstrap");
}

/// Prints what the machinery costs; run it with `--ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement, not a check"]
async fn measure() {
    let bench = Bench::of(function()).await;
    let mut cold = Vec::new();
    for _ in 0..20 {
        let begun = Instant::now();
        let pid = bench.pid().await;
        cold.push(begun.elapsed());
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cold.sort_unstable();
    bench.pid().await;
    const WARM: u32 = 5_000;
    let begun = Instant::now();
    for _ in 0..WARM {
        bench.functions.invoke("Tested", br#"{"do":"echo"}"#.to_vec()).await.unwrap();
    }
    let one = begun.elapsed();
    let begun = Instant::now();
    let lane = || async {
        for _ in 0..WARM / 4 {
            bench.functions.invoke("Tested", br#"{"do":"echo"}"#.to_vec()).await.unwrap();
        }
    };
    tokio::join!(lane(), lane(), lane(), lane());
    let four = begun.elapsed();
    let status = Command::new("grep").args(["VmHWM", "/proc/self/status"]).output().unwrap();
    let rate = |took: Duration| u128::from(WARM) * 1_000_000 / took.as_micros();
    eprintln!(
        "cold: median {:?}, worst {:?}; warm: {:?} each, {}/s one after the other, {}/s four at once; {}",
        cold[cold.len() / 2],
        cold.last().unwrap(),
        one / WARM,
        rate(one),
        rate(four),
        String::from_utf8_lossy(&status.stdout)
    );
}
