//! Functions as processes of this machine, through a real Runtime API.

use std::{path::PathBuf, sync::Arc};

use crate::{counters::Counters, model, sqs::Queues};

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
pub struct Functions {}

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

impl Functions {
    /// Starts the Runtime API on a port of its own.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(options: Options, queues: Queues, counters: Arc<Counters>) -> anyhow::Result<Self> {
        let _ = (options, queues, counters);
        anyhow::bail!("not written yet")
    }

    /// Deploys the stack's functions, mappings and schedules. What is unchanged goes on undisturbed; a function whose
    /// settings or binary changed gets new environments, and the old ones end when they have finished.
    /// `binary` finds the file of a cargo binary by its name.
    ///
    /// # Errors
    /// A binary that is missing, by name.
    pub async fn deploy(
        &self,
        stack: &model::Stack,
        binary: &(dyn Fn(&str) -> PathBuf + Send + Sync),
    ) -> anyhow::Result<()> {
        let _ = (stack, binary);
        Ok(())
    }

    /// Invokes a function by its logical id and waits for its answer.
    ///
    /// # Errors
    /// See [`InvokeError`].
    pub async fn invoke(&self, function: &str, payload: Vec<u8>) -> Result<Vec<u8>, InvokeError> {
        let _ = (function, payload);
        Ok(Vec::new())
    }

    /// Starts an environment of each function ahead of its first invocation, so that the first is warm.
    pub fn warm_up(&self) {}

    /// Kills (SIGKILL) the environment that signs its calls with this access key id, as a fault rule asks.
    /// Returns whether there was one.
    pub fn kill_environment(&self, access_key_id: &str) -> bool {
        let _ = access_key_id;
        false
    }

    /// Lets no invocation begin any more, waits for those at work up to their time-outs, ends every process.
    pub async fn stop(&self) {}
}
