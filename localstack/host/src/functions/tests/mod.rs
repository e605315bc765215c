//! Functions as real processes, and what tests of them share. They need the example `test_function`, which cargo builds
//! for tests unless it is told to build the library's tests alone.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test stops at the first surprise"
)]

mod deployments;
mod orphans;
mod processes;
mod refusals;

use std::{
    env, fs, io,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use futures::future::join_all;
use rustix::process::{Pid, Signal as KernelSignal, kill_process, test_kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{runtime_api::Signal, *};
use crate::{
    error::ServiceError,
    sqs::{NewMessage, Received},
};

/// A source without messages.
struct Nothing;

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
struct Logged(Arc<Mutex<Vec<u8>>>);

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
    fn text(&self) -> String {
        String::from_utf8(locked(&self.0).clone()).unwrap()
    }
}

/// Functions, and what they leave behind.
struct Bench {
    functions: Functions,
    counters: Arc<Counters>,
    logged: Logged,
    folder: Option<TempDir>,
}

impl Bench {
    async fn with(stack: &model::Stack, freeze: bool, source: Arc<dyn Source>) -> Self {
        let folder = TempDir::new().unwrap();
        let bench = Self::at(folder.path(), stack, freeze, source).await;
        Self { folder: Some(folder), ..bench }
    }

    async fn at(folder: &Path, stack: &model::Stack, freeze: bool, source: Arc<dyn Source>) -> Self {
        let options = Options {
            endpoint: "http://127.0.0.1:1".to_owned(),
            region: "eu-central-1".to_owned(),
            folder: folder.to_owned(),
            freeze,
            colour: false,
            extra_environment: vec![("MARK".to_owned(), "here".to_owned())],
        };
        let (counters, logged) = (Arc::<Counters>::default(), Logged::default());
        let log = Log::to(Box::new(logged.clone()), false);
        let functions =
            Functions::start_with(options, source, Arc::clone(&counters), Arc::default(), log).await.unwrap();
        functions.deploy(stack, &|_| test_function()).await.unwrap();
        Self { functions, counters, logged, folder: None }
    }

    async fn of(function: model::Function) -> Self {
        Self::with(&stack(function), false, Arc::new(Nothing)).await
    }

    fn folder(&self) -> &Path {
        self.folder.as_ref().unwrap().path()
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

fn function() -> model::Function {
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

fn stack(function: model::Function) -> model::Stack {
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
