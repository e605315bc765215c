//! An environment from its start to its end: one process, one event at a time. All of its state is in one task.

use std::{
    io,
    process::ExitStatus,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::body::Bytes;
use serde_json::Value;
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, sleep_until, timeout},
};

use super::{
    InvokeError,
    failure::{self, Failure},
    log::Output,
    pool::{Alive, Job, Kill, Parked, Pool, reply},
    process::Process,
    runtime_api::{Event, Registration, Signal},
    usage::{Status, Usage, milliseconds, report},
};
use crate::{clock, counters::Invocation};

/// How long the first try of an init may take, as in Lambda.
const INIT_MS_MAX: u64 = 10_000;
/// How long an environment is kept without work.
const IDLE_MS_MAX: u64 = 600_000;
/// How long the caller's answer waits for the runtime to ask for its next event. Usually it asks at once, and then the
/// caller's next event finds it warm.
const NEXT_GRACE_MS: u64 = 50;
/// How long what a dead process wrote last may take to arrive: its children may hold its output open for ever.
const LAST_WORDS_MS: u64 = 100;

/// An environment whose init is done.
struct Environment {
    registration: Registration,
    signals: mpsc::Receiver<Signal>,
    process: Process,
    output: Output,
    usage: Usage,
    /// The request for an event that waits; there is one whenever the environment is not at work.
    next: Option<oneshot::Sender<Event>>,
    /// How long its init took, until the first event is reported.
    init: Option<Duration>,
    /// Last, so that it counts until everything else is gone.
    alive: Alive,
}

/// Starts an environment and keeps it working until it is not needed any more, or dies.
pub(crate) async fn run(alive: Alive) {
    let pool = Arc::clone(&alive.0);
    let mut limit = Duration::from_millis(INIT_MS_MAX);
    let mut started = Environment::start(alive, limit).await;
    // Lambda tries a failed init once more, as a part of the invocation that waits for it.
    if let Err((failure, took, alive)) = started {
        pool.say(&init_report(&failure, took));
        if !pool.is_awaited() {
            return pool.not_started(&failure, took);
        }
        limit = pool.function.timeout;
        started = Environment::start(alive, limit).await;
    }
    match started {
        Ok(environment) => environment.work().await,
        Err((failure, took, _alive)) => {
            pool.say(&failure.what());
            pool.not_started(&failure, took);
        }
    }
}

fn init_report(failure: &Failure, took: Duration) -> String {
    let status = match failure.status() {
        Status::TimedOut => "Status: timeout".to_owned(),
        Status::Died(error_type) => format!("Status: error\tError Type: {error_type}"),
        Status::Answered => String::new(),
    };
    let what = failure.what();
    format!("{what}\nINIT_REPORT Init Duration: {} ms\tPhase: init\t{status}\t", milliseconds(took))
}

impl Environment {
    /// Starts a process and waits for its first request for an event. Gives everything back when that fails.
    async fn start(alive: Alive, limit: Duration) -> Result<Self, (Failure, Duration, Alive)> {
        let begun = Instant::now();
        match Self::launch(&alive.0) {
            Err(error) => {
                let path = alive.0.folder.join("bootstrap");
                let why = format!("{} cannot be started: {error}", path.display());
                Err((Failure::NotStarted(why), begun.elapsed(), alive))
            }
            Ok((registration, mut signals, mut process, mut output)) => {
                let first = timeout(limit, first_next(&mut signals, &mut process, &mut output)).await;
                match first.unwrap_or(Err(Failure::TimedOut(limit))) {
                    Ok(next) => Ok(Self {
                        registration,
                        signals,
                        usage: Usage::of(process.pid),
                        process,
                        output,
                        next: Some(next),
                        init: Some(begun.elapsed()),
                        alive,
                    }),
                    Err(failure) => {
                        let took = begun.elapsed();
                        process.kill().await;
                        last_words(&mut output).await;
                        Err((failure, took, alive))
                    }
                }
            }
        }
    }

    fn launch(pool: &Pool) -> io::Result<(Registration, mpsc::Receiver<Signal>, Process, Output)> {
        let shared = &pool.shared;
        let (output, writer) = Output::new(Arc::clone(&shared.log), Arc::clone(&pool.label))?;
        let (registration, signals) = shared.runtime_api.register(&pool.function.name);
        let process = Process::start(&pool.function, &shared.options, &pool.folder, &registration, writer)?;
        registration.runs_as(process.pid);
        Ok((registration, signals, process, output))
    }

    async fn work(mut self) {
        let pool = Arc::clone(&self.alive.0);
        let mut parked = pool.started(self.registration.id);
        loop {
            let job = match parked {
                Parked::Retired => None,
                Parked::Work(job) => Some(job),
                Parked::Idle(job) => self.idle(&pool, job).await,
            };
            let Some(job) = job else { break };
            match self.serve(&pool, job).await {
                Some(next) => parked = next,
                None => break,
            }
        }
        self.process.kill().await;
        last_words(&mut self.output).await;
    }

    /// Waits for an event. Nothing comes when the process has ended or is not needed any more.
    async fn idle(&mut self, pool: &Arc<Pool>, mut job: oneshot::Receiver<Job>) -> Option<Job> {
        if pool.shared.options.freeze {
            self.output.drain();
            self.process.freeze();
        }
        let reap = sleep(Duration::from_millis(IDLE_MS_MAX));
        tokio::pin!(reap);
        loop {
            let Self { process, output, signals, .. } = self;
            tokio::select! {
                job = &mut job => {
                    process.thaw();
                    return job.ok();
                }
                status = process.ended() => {
                    let failure = exit(status, output).await;
                    pool.say(&format!("{} while it had nothing to do", failure.what()));
                    if !pool.unpark(self.registration.id) && let Ok(job) = job.await {
                        pool.resubmit(job);
                    }
                    return None;
                }
                signal = signals.recv() => match signal {
                    // A runtime that has lost its connection asks again.
                    Some(Signal::Next(next)) => self.next = Some(next),
                    Some(other) => other.refuse(),
                    None => return None,
                },
                () = output.pump() => {}
                () = &mut reap => {
                    if pool.unpark(self.registration.id) {
                        return None;
                    }
                    process.thaw();
                    return job.await.ok();
                }
            }
        }
    }

    /// Gives the event to the process and its answer to the caller. Nothing is next when the process is dead.
    async fn serve(&mut self, pool: &Arc<Pool>, job: Job) -> Option<Parked> {
        let begun = Instant::now();
        let limit = pool.function.timeout;
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let event = Event {
            request_id: job.request_id.clone(),
            deadline_ms: clock::now_ms().saturating_add(limit_ms),
            function_arn: pool.function.arn.clone(),
            trace: job.trace.clone(),
            payload: job.payload.clone(),
        };
        if job.kill == Some(Kill::WithTheEvent) {
            self.process.kill().await;
        }
        // A process that died just now has closed its connection: the event never reached it.
        if self.next.take().is_none_or(|next| next.send(event).is_err()) && job.kill.is_none() {
            pool.resubmit(job);
            return None;
        }
        let late = sleep_until((begun + limit).into());
        tokio::pin!(late);
        let answered = tokio::select! {
            answered = self.answer(&job.request_id) => answered,
            () = &mut late => Err(Failure::TimedOut(limit)),
        };
        let duration = begun.elapsed();
        let answered = match answered {
            Ok(_) if job.kill.is_some() => Err(Failure::Exited("exited with error: signal: killed".to_owned())),
            answered => answered,
        };
        match answered {
            Ok(result) => {
                self.output.drain();
                self.account(pool, &job.request_id, duration, result.is_err(), Status::Answered);
                let asked = timeout(Duration::from_millis(NEXT_GRACE_MS), self.next_request()).await;
                // It is back before the caller has its answer, so that the caller's next event finds it.
                let next = matches!(asked, Ok(Ok(()))).then(|| pool.park(self.registration.id));
                reply(job, result.map_err(InvokeError::Function));
                if next.is_some() || asked.is_ok() {
                    return next;
                }
                tokio::select! {
                    asked = self.next_request() => asked.is_ok().then(|| pool.park(self.registration.id)),
                    () = &mut late => None,
                }
            }
            Err(failure) => {
                self.process.kill().await;
                last_words(&mut self.output).await;
                pool.say(&format!("RequestId: {} Error: {}", job.request_id, failure.what()));
                self.account(pool, &job.request_id, duration, true, failure.status());
                let error = failure.error(&job.request_id);
                reply(job, Err(InvokeError::Function(error)));
                None
            }
        }
    }

    /// Waits until the process has answered this event, or has died.
    async fn answer(&mut self, id: &str) -> Result<Result<Bytes, Value>, Failure> {
        loop {
            match self.hear().await? {
                Signal::Answer { request_id, result, taken } if request_id == id => {
                    taken.send(true).unwrap_or_default();
                    return Ok(result);
                }
                other => other.refuse(),
            }
        }
    }

    /// Waits until the process asks for its next event.
    async fn next_request(&mut self) -> Result<(), Failure> {
        loop {
            match self.hear().await? {
                Signal::Next(next) => {
                    self.next = Some(next);
                    return Ok(());
                }
                other => other.refuse(),
            }
        }
    }

    /// The next thing that the process says to the Runtime API, or how it ended. Passes on its output meanwhile.
    async fn hear(&mut self) -> Result<Signal, Failure> {
        hear(&mut self.signals, &mut self.process, &mut self.output).await
    }

    /// Reports and counts an invocation.
    fn account(&mut self, pool: &Pool, request_id: &str, duration: Duration, failed: bool, status: Status<'_>) {
        let init = self.init.take();
        let memory_mib = pool.function.memory_mib;
        let memory_kib_max = self.usage.memory_kib_max();
        pool.say(&report(request_id, memory_mib, duration, init, memory_kib_max, status));
        pool.shared.counters.invoked(&Invocation {
            function: &pool.function.name,
            memory_mib,
            duration,
            init,
            cpu: self.usage.cpu(),
            memory_kib_max,
            failed,
        });
    }
}

/// Waits until the process asks for its first event.
async fn first_next(
    signals: &mut mpsc::Receiver<Signal>,
    process: &mut Process,
    output: &mut Output,
) -> Result<oneshot::Sender<Event>, Failure> {
    loop {
        match hear(signals, process, output).await? {
            Signal::Next(next) => return Ok(next),
            Signal::InitError { error, taken } => {
                taken.send(true).unwrap_or_default();
                return Err(Failure::Init(error));
            }
            other => other.refuse(),
        }
    }
}

async fn hear(
    signals: &mut mpsc::Receiver<Signal>,
    process: &mut Process,
    output: &mut Output,
) -> Result<Signal, Failure> {
    loop {
        tokio::select! {
            // What it said before it died counts.
            biased;
            Some(signal) = signals.recv() => return Ok(signal),
            status = process.ended() => return Err(exit(status, output).await),
            () = output.pump() => {}
        }
    }
}

async fn exit(status: io::Result<ExitStatus>, output: &mut Output) -> Failure {
    last_words(output).await;
    Failure::Exited(match status {
        Ok(status) => failure::exit(status, output.out_of_memory()),
        Err(error) => format!("cannot be waited for: {error}"),
    })
}

/// What a dead process wrote last.
async fn last_words(output: &mut Output) {
    // Whatever is missing then is never read.
    drop(timeout(Duration::from_millis(LAST_WORDS_MS), output.rest()).await);
}
