//! The environments of one deployed function: an event goes to the one that was used last, or to a new one.

use std::{
    collections::VecDeque,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::body::Bytes;
use tokio::sync::{Notify, oneshot};

use super::{
    InvokeError, Options, environment,
    failure::Failure,
    locked,
    log::{Label, Log},
    runtime_api::RuntimeApi,
    usage::report,
};
use crate::{
    counters::{Counters, Invocation},
    faults::Faults,
    ids, model,
};

/// Environments of a function without reserved concurrency. An account of AWS has 1,000 for all functions together; on
/// one machine more processes than this only take turns.
const ENVIRONMENTS_MAX: usize = 50;
/// Environments of a function that start at the same time. Lambda has a machine for each; here a start takes the time
/// of many invocations, and by its end one that works is often free.
const STARTS_AT_ONCE_MAX: usize = 2;

/// What every function needs of the host.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) runtime_api: Arc<RuntimeApi>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) log: Arc<Log>,
}

/// When a fault rule has the process killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kill {
    /// As it gets the event, before it can do anything.
    WithTheEvent,
    /// As it answers, after it has done everything.
    WithItsAnswer,
}

/// An event that waits for its answer.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) request_id: String,
    pub(crate) trace: String,
    pub(crate) payload: Bytes,
    pub(crate) kill: Option<Kill>,
    pub(crate) answer: oneshot::Sender<Result<Bytes, InvokeError>>,
}

impl Job {
    /// A new event, and where its answer will come.
    pub(crate) fn new(payload: Bytes, kill: Option<Kill>) -> (Self, oneshot::Receiver<Result<Bytes, InvokeError>>) {
        let (answer, receiver) = oneshot::channel();
        (Self { request_id: ids::uuid(), trace: ids::trace(), payload, kill, answer }, receiver)
    }
}

/// What an environment does next.
#[derive(Debug)]
pub(crate) enum Parked {
    /// This.
    Work(Job),
    /// It waits. When the other end is gone, it is not needed any more.
    Idle(oneshot::Receiver<Job>),
    /// Nothing: the function was replaced.
    Retired,
}

/// A deployed function.
pub(crate) struct Pool {
    pub(crate) shared: Arc<Shared>,
    pub(crate) function: model::Function,
    /// Where its binary is.
    pub(crate) folder: PathBuf,
    pub(crate) label: Arc<Mutex<Label>>,
    state: Mutex<State>,
    /// An environment has ended.
    ended: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The one that was used last is the last.
    idle: Vec<(u64, oneshot::Sender<Job>)>,
    /// Events that take the first environment that is free, one that starts or one that works. While there are any, an
    /// environment is starting.
    waiting: VecDeque<Job>,
    starting: usize,
    /// All environments.
    alive: usize,
    retired: bool,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("function", &self.function.name).field("state", &self.state).finish()
    }
}

impl Pool {
    /// A function without environments.
    pub(crate) fn new(shared: Arc<Shared>, function: model::Function, folder: PathBuf, label: Label) -> Arc<Self> {
        let label = Arc::new(Mutex::new(label));
        Arc::new(Self { shared, function, folder, label, state: Mutex::default(), ended: Notify::new() })
    }

    fn environments_max(&self) -> usize {
        let reserved = self.function.reserved_concurrency.map(|max| usize::try_from(max).unwrap_or(usize::MAX));
        reserved.unwrap_or(ENVIRONMENTS_MAX)
    }

    /// Hands the event to an environment, or refuses it by its answer. A function that was replaced gives it back.
    pub(crate) fn submit(self: &Arc<Self>, mut job: Job) -> Result<(), Job> {
        let mut state = locked(&self.state);
        if state.retired {
            return Err(job);
        }
        while let Some((_, idle)) = state.idle.pop() {
            match idle.send(job) {
                Ok(()) => return Ok(()),
                // It ended just now.
                Err(back) => job = back,
            }
        }
        // None is idle here.
        let at_work = state.alive.saturating_sub(state.starting) + state.waiting.len();
        if at_work < self.environments_max() {
            state.waiting.push_back(job);
            self.start_awaited(&mut state);
        } else {
            drop(state);
            reply(job, Err(InvokeError::Throttled));
        }
        Ok(())
    }

    /// Starts environments for events that wait.
    fn start_awaited(self: &Arc<Self>, state: &mut State) {
        while state.starting < state.waiting.len().min(STARTS_AT_ONCE_MAX) && state.alive < self.environments_max() {
            self.start_one(state);
        }
    }

    /// Starts an environment if there is none.
    pub(crate) fn warm_up(self: &Arc<Self>) {
        let mut state = locked(&self.state);
        if state.alive == 0 && self.environments_max() > 0 && !state.retired {
            self.start_one(&mut state);
        }
    }

    fn start_one(self: &Arc<Self>, state: &mut State) {
        state.starting += 1;
        state.alive += 1;
        tokio::spawn(environment::run(Alive(Arc::clone(self))));
    }

    /// Whether an event waits for an environment that starts.
    pub(crate) fn is_awaited(&self) -> bool {
        let state = locked(&self.state);
        state.waiting.len() >= state.starting && !state.waiting.is_empty()
    }

    /// An environment has started.
    pub(crate) fn started(self: &Arc<Self>, id: u64) -> Parked {
        locked(&self.state).starting -= 1;
        let parked = self.park(id);
        self.start_awaited(&mut locked(&self.state));
        parked
    }

    /// An environment could not start: an event that waits for it fails.
    pub(crate) fn not_started(self: &Arc<Self>, failure: &Failure, took: Duration) {
        let job = {
            let mut state = locked(&self.state);
            state.starting -= 1;
            let job = if state.waiting.len() > state.starting { state.waiting.pop_front() } else { None };
            self.start_awaited(&mut state);
            job
        };
        let Some(job) = job else { return };
        let function = &self.function;
        self.say(&report(&job.request_id, function.memory_mib, took, None, None, failure.status()));
        self.shared.counters.invoked(&Invocation {
            function: &function.name,
            memory_mib: function.memory_mib,
            duration: took,
            init: None,
            cpu: None,
            memory_kib_max: None,
            failed: true,
        });
        let error = failure.error(&job.request_id);
        reply(job, Err(InvokeError::Function(error)));
    }

    /// What the environment, which has nothing to do, does next.
    pub(crate) fn park(&self, id: u64) -> Parked {
        let mut state = locked(&self.state);
        if let Some(job) = state.waiting.pop_front() {
            return Parked::Work(job);
        }
        if state.retired {
            return Parked::Retired;
        }
        let (idle, job) = oneshot::channel();
        state.idle.push((id, idle));
        Parked::Idle(job)
    }

    /// Takes an idle environment out; false when it has just been given an event.
    pub(crate) fn unpark(&self, id: u64) -> bool {
        let mut state = locked(&self.state);
        let before = state.idle.len();
        state.idle.retain(|(other, _)| *other != id);
        state.idle.len() < before
    }

    /// Takes an event back that an environment did not get.
    pub(crate) fn resubmit(self: &Arc<Self>, job: Job) {
        if let Err(job) = self.submit(job) {
            let failure = Failure::Exited("exited with error: signal: killed".to_owned());
            let error = failure.error(&job.request_id);
            reply(job, Err(InvokeError::Function(error)));
        }
    }

    /// Takes no event any more; idle environments end now, the others when they have finished.
    pub(crate) fn retire(&self) {
        let mut state = locked(&self.state);
        state.retired = true;
        state.idle.clear();
    }

    /// Waits until no environment is left.
    pub(crate) async fn all_ended(&self) {
        loop {
            let ended = self.ended.notified();
            if locked(&self.state).alive == 0 {
                return;
            }
            ended.await;
        }
    }

    /// Writes a line of the host's own to the function's log.
    pub(crate) fn say(&self, line: &str) {
        let label = locked(&self.label).clone();
        self.shared.log.line(&label, line);
    }
}

/// Answers an event; a caller that went away does not mind.
pub(crate) fn reply(job: Job, result: Result<Bytes, InvokeError>) {
    drop(job.answer.send(result));
}

/// An environment of a function, counted as long as this lives.
#[derive(Debug)]
pub(crate) struct Alive(pub(crate) Arc<Pool>);

impl Drop for Alive {
    fn drop(&mut self) {
        locked(&self.0.state).alive -= 1;
        self.0.ended.notify_waiters();
    }
}
