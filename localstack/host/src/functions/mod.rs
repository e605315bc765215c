//! Functions as processes of this machine, through a real Runtime API.
//!
//! | file | what it knows |
//! |---|---|
//! | `runtime_api.rs` | the HTTP server that runtimes talk to |
//! | `environment.rs` | one process from its start to its end, one event at a time |
//! | `process.rs` | what a process is given and may use |
//! | `pool.rs` | the environments of one function |
//! | `deploy.rs` | what changes from one template to the next |
//! | `mappings` | queues that feed functions |
//! | `schedules` | the clock, and asynchronous invocation with its retries |
//! | `log.rs`, `usage.rs`, `failure.rs` | what is written about all that |

mod deploy;
mod environment;
mod failure;
mod log;
mod mappings;
mod pool;
mod process;
mod runtime_api;
mod schedules;
#[cfg(test)]
mod tests;
mod usage;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::body::Bytes;
use futures::future::BoxFuture;
use serde_json::json;

pub use self::process::end_leftovers;
use self::{
    deploy::Tasks,
    log::Log,
    mappings::{Polled, Source, Target},
    pool::{Job, Kill, Pool, Shared},
    runtime_api::RuntimeApi,
};
use crate::{
    counters::Counters,
    faults::{Call, Fault, Faults, Service},
    model,
    sqs::Queues,
};

/// Bytes of the largest event and of the largest answer: 6 MB and 100 bytes, as in Lambda's own messages.
const PAYLOAD_BYTES_MAX: usize = 6 * 1024 * 1024 + 100;

/// How functions run; the same for all of them.
#[derive(Debug, Clone)]
pub struct Options {
    /// The address that SDKs in functions call.
    pub endpoint: String,
    /// Region.
    pub region: String,
    /// Where binaries are linked as `NAME/bootstrap`, and what functions get as `/tmp`-like folder.
    pub folder: PathBuf,
    /// Whether a process is stopped (SIGSTOP) while it has nothing to do.
    pub freeze: bool,
    /// Whether log lines are coloured.
    pub colour: bool,
    /// Variables that every function gets on top, such as the mark by which leftovers are found.
    pub extra_environment: Vec<(String, String)>,
}

/// All functions, their processes, mappings and schedules. Clones share them.
#[derive(Debug, Clone)]
pub struct Functions {
    pools: Arc<Pools>,
    tasks: Arc<tokio::sync::Mutex<Tasks>>,
}

/// Why an invocation gave no answer of the function's own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvokeError {
    /// There is no such function.
    #[error("there is no function {0}")]
    Unknown(String),
    /// Every environment is at work.
    #[error("TooManyRequestsException: Rate Exceeded.")]
    Throttled,
    /// The function answered with an error, timed out or died: the service's error object, as
    /// `{"errorType":…,"errorMessage":…}`.
    #[error("{0}")]
    Function(serde_json::Value),
}

/// The functions that are deployed, by logical id.
pub(crate) struct Pools {
    shared: Arc<Shared>,
    deployed: Mutex<BTreeMap<String, Arc<Pool>>>,
    is_stopping: AtomicBool,
}

impl std::fmt::Debug for Pools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Pools").field(&self.deployed).finish()
    }
}

impl Functions {
    /// Starts the Runtime API on a port of its own.
    ///
    /// # Errors
    /// When no port can be had, or the folder's path is empty.
    pub async fn start(
        options: Options,
        queues: Queues,
        counters: Arc<Counters>,
        faults: Arc<Faults>,
    ) -> anyhow::Result<Self> {
        let log = Log::stdout(options.colour);
        let source = Polled { queues, counters: Arc::clone(&counters), faults: Arc::clone(&faults) };
        Self::start_with(options, Arc::new(source), counters, faults, log).await
    }

    async fn start_with(
        mut options: Options,
        source: Arc<dyn Source>,
        counters: Arc<Counters>,
        faults: Arc<Faults>,
        log: Log,
    ) -> anyhow::Result<Self> {
        // Processes are started from folders of their own.
        options.folder = std::path::absolute(&options.folder)?;
        end_leftovers(&options.folder);
        let runtime_api = RuntimeApi::start().await?;
        let shared = Arc::new(Shared { options, runtime_api, counters, faults, log: Arc::new(log) });
        let pools = Arc::new(Pools { shared, deployed: Mutex::default(), is_stopping: AtomicBool::new(false) });
        Ok(Self { pools, tasks: Arc::new(tokio::sync::Mutex::new(Tasks::new(source))) })
    }

    /// Whether the stack could be deployed.
    ///
    /// # Errors
    /// As [`Self::deploy`].
    pub fn check(&self, stack: &model::Stack, binary: &dyn Fn(&str) -> PathBuf) -> anyhow::Result<()> {
        Tasks::check(stack, binary)
    }

    /// Deploys the stack's functions, mappings and schedules. What is unchanged goes on undisturbed; a function whose
    /// settings or binary changed gets new environments, and the old ones end when they have finished.
    /// `binary` finds the file of a cargo binary by its name.
    ///
    /// # Errors
    /// A binary that is missing, by name; a schedule or a mapping that this host cannot run. Nothing is changed then.
    pub async fn deploy(
        &self,
        stack: &model::Stack,
        binary: &(dyn Fn(&str) -> PathBuf + Send + Sync),
    ) -> anyhow::Result<()> {
        self.tasks.lock().await.deploy(&self.pools, stack, binary).await
    }

    /// Invokes a function by its logical id and waits for its answer. An event above 6 MB is answered with a
    /// `RequestEntityTooLargeException`.
    ///
    /// # Errors
    /// See [`InvokeError`].
    pub async fn invoke(&self, function: &str, payload: Vec<u8>) -> Result<Vec<u8>, InvokeError> {
        self.pools.invoke(function, payload.into()).await.map(Vec::from)
    }

    /// The logical id of the function of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<String> {
        let deployed = locked(&self.pools.deployed);
        deployed.iter().find(|(_, pool)| pool.function.name == name).map(|(id, _)| id.clone())
    }

    /// Starts an environment of each function ahead of its first invocation, so that the first is warm.
    pub fn warm_up(&self) {
        locked(&self.pools.deployed).values().for_each(Pool::warm_up);
    }

    /// Kills (SIGKILL) the environment that signs its calls with this access key id, as a fault rule asks.
    /// Returns whether there was one.
    pub fn kill_environment(&self, access_key_id: &str) -> bool {
        self.pools.shared.runtime_api.kill(access_key_id)
    }

    /// Lets no invocation begin any more, waits for those at work up to their time-outs, ends every process.
    pub async fn stop(&self) {
        let mut tasks = self.tasks.lock().await;
        // Batches that were received are still handed over.
        tasks.stop_mappings_and_schedules().await;
        self.pools.is_stopping.store(true, Ordering::Relaxed);
        let pools = locked(&self.pools.deployed).clone();
        pools.values().for_each(|pool| pool.retire());
        for pool in pools.values() {
            pool.all_ended().await;
        }
        tasks.earlier_have_ended().await;
        self.pools.shared.runtime_api.stop();
    }
}

impl Pools {
    fn find(&self, function: &str) -> Option<Arc<Pool>> {
        locked(&self.deployed).get(function).cloned()
    }

    /// Invokes a function by its logical id, as fault rules will have it.
    pub(crate) async fn invoke(&self, function: &str, payload: Bytes) -> Result<Bytes, InvokeError> {
        let name = self.find(function).map(|pool| pool.function.name.clone());
        let resource = name.as_deref().unwrap_or(function);
        let call = Call { service: Service::Function, operation: "Invoke", resource, function: "" };
        let by_rule = || {
            let error = json!({ "errorType": "ServiceException", "errorMessage": "a fault rule asked for this" });
            Err(InvokeError::Function(error))
        };
        match self.shared.faults.decide(&call) {
            None | Some(Fault::Conflict {} | Fault::Duplicate {} | Fault::Reorder {} | Fault::DropReply {}) => {
                self.hand_over(function, payload, None).await
            }
            Some(Fault::Throttle {}) => Err(InvokeError::Throttled),
            Some(Fault::Outage {} | Fault::ErrorBefore {}) => by_rule(),
            Some(Fault::ErrorAfter {}) => {
                // What it answered is lost.
                drop(self.hand_over(function, payload, None).await);
                by_rule()
            }
            Some(Fault::Delay { delay_ms }) => {
                tokio::time::sleep(Duration::from_millis(delay_ms)).await;
                self.hand_over(function, payload, None).await
            }
            Some(Fault::DelayAfter { delay_ms }) => {
                let answer = self.hand_over(function, payload, None).await;
                tokio::time::sleep(Duration::from_millis(delay_ms)).await;
                answer
            }
            Some(Fault::KillBefore {}) => self.hand_over(function, payload, Some(Kill::WithTheEvent)).await,
            Some(Fault::KillAfter {}) => self.hand_over(function, payload, Some(Kill::WithItsAnswer)).await,
        }
    }

    async fn hand_over(&self, function: &str, payload: Bytes, kill: Option<Kill>) -> Result<Bytes, InvokeError> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            let message = format!("{} byte payload is too large for the Invoke operation", payload.len());
            let error = json!({ "errorType": "RequestEntityTooLargeException", "errorMessage": message });
            return Err(InvokeError::Function(error));
        }
        let stopping = || {
            let error = json!({ "errorType": "ServiceException", "errorMessage": "the host is stopping" });
            InvokeError::Function(error)
        };
        let (mut job, answer) = Job::new(payload, kill);
        loop {
            if self.is_stopping.load(Ordering::Relaxed) {
                return Err(stopping());
            }
            let pool = self.find(function).ok_or_else(|| InvokeError::Unknown(function.to_owned()))?;
            match pool.submit(job) {
                Ok(()) => break,
                // It was replaced just now.
                Err(back) => job = back,
            }
            tokio::task::yield_now().await;
        }
        answer.await.unwrap_or_else(|_| Err(stopping()))
    }
}

impl Target for Pools {
    fn invoke<'a>(&'a self, function: &'a str, payload: Bytes) -> BoxFuture<'a, Result<Bytes, InvokeError>> {
        Box::pin(Self::invoke(self, function, payload))
    }
}

/// The content of a lock. Nothing panics while it holds one; if it did, the content would be as good as before.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
