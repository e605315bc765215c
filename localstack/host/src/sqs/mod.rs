//! Queues: state in memory, every change on disk before it is answered.

//!
//! `wire` and `batch` read calls, `engine` holds the state, `store` keeps it. Standard queues only.

mod attributes;
mod batch;
mod engine;
mod errors;
mod fields;
mod handle;
mod manage;
mod message;
mod moves;
mod queue;
mod rows;
mod settings;
mod store;
mod waiters;
mod wire;
mod wire_message;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use serde_json::Value;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until, timeout_at},
};

use self::{
    engine::{Attempt, Receive, State},
    moves::Status,
    settings::milliseconds,
    store::Writer,
};
use crate::{
    clock::now_ms,
    counters::POLLER,
    deliveries::{DeliveryFault, DeliveryFaults},
    error::ServiceError,
    model,
};

/// Messages of one receive in process: the largest batch that a mapping can have. A call receives at most 10.
const RECEIVE_MESSAGES_MAX: usize = 10_000;

/// How long a receive in process may wait. A call waits 20 seconds at most.
const RECEIVE_WAIT_MAX: Duration = Duration::from_secs(86_400);
/// A receiver whose messages a fault rule withholds looks again after this time.
const WITHHELD_EVERY: Duration = Duration::from_millis(200);

/// All queues. Clones share them.
#[derive(Debug, Clone)]
pub struct Queues(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    place: model::Place,
    /// `None` until a rule is set, so that nothing is asked before.
    faults: RwLock<Option<DeliveryFaults>>,
    state: Mutex<State>,
    writer: Writer,
}

/// A message to send.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewMessage {
    /// Body.
    pub body: String,
    /// Message attributes.
    pub attributes: BTreeMap<String, Attribute>,
    /// Instead of the queue's own delay.
    pub delay: Option<Duration>,
    /// `AWSTraceHeader`.
    pub trace_header: Option<String>,
}

/// A message attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// `String`, `Number`, `Binary`, or one of them with a suffix such as `Number.int`.
    pub data_type: String,
    /// The value; text of strings and numbers.
    pub value: AttributeValue,
}

/// The value of a message attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttributeValue {
    /// `StringValue`.
    Text(String),
    /// `BinaryValue`.
    Binary(Vec<u8>),
}

/// A message as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Message id.
    pub id: String,
    /// What deletes it or changes its visibility.
    pub receipt_handle: String,
    /// Body.
    pub body: String,
    /// MD5 of the body, in hexadecimal.
    pub md5_of_body: String,
    /// Message attributes.
    pub attributes: BTreeMap<String, Attribute>,
    /// MD5 over the attributes as AWS computes it; `None` without attributes.
    pub md5_of_attributes: Option<String>,
    /// Receives so far, this one included.
    pub receive_count: u32,
    /// Milliseconds since 1970.
    pub sent_at_ms: u64,
    /// Milliseconds since 1970.
    pub first_received_at_ms: u64,
    /// Who sent it: the access key id's account.
    pub sender_id: String,
    /// `AWSTraceHeader`.
    pub trace_header: Option<String>,
    /// ARN of the queue it was a message of before it became a dead letter.
    pub dead_letter_source: Option<String>,
}

/// Messages of a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Ready.
    pub visible: u64,
    /// Received, not deleted, not yet visible again.
    pub in_flight: u64,
    /// Sent with a delay that is not over.
    pub delayed: u64,
}

impl Queues {
    /// Opens the queues kept at `path`, or begins with none. Move tasks that were running go on.
    ///
    /// # Errors
    /// When the file cannot be read or written, or another process has it.
    pub fn open(path: &Path, place: model::Place) -> anyhow::Result<Self> {
        let connection = store::open(path)?;
        let kept = rows::load(&connection).with_context(|| format!("cannot read {}", path.display()))?;
        let state = State::new(place.clone(), kept, now_ms());
        let running = state.moves.iter().filter(|task| task.status == Status::Running);
        let running: Vec<u64> = running.map(|task| task.id).collect();
        let writer = Writer::start(connection)?;
        let queues = Self(Arc::new(Shared { place, faults: RwLock::default(), state: Mutex::new(state), writer }));
        for id in running {
            queues.drive_move(id)?;
        }
        Ok(queues)
    }

    /// Asks `faults` before each receive from now on. It is not asked under a lock.
    pub fn set_delivery_faults(&self, faults: DeliveryFaults) {
        *self.0.faults.write().unwrap_or_else(PoisonError::into_inner) = Some(faults);
    }

    /// Creates the queue, or gives it these settings and keeps its messages. A dead-letter queue may be declared after
    /// the queues that use it.
    ///
    /// # Errors
    /// When its redrive policy names a queue that does not allow it.
    pub async fn declare(&self, queue: &model::Queue) -> Result<(), ServiceError> {
        self.commit(|state, now_ms| state.declare(queue, now_ms)).await
    }

    /// The names of all queues, in order.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.lock().queues.keys().cloned().collect()
    }

    /// Sends each message to the queue with the name beside it: all of them or, after a crash, none. Used by topics.
    /// A queue that does not exist is an error and nothing is sent. Answers their ids, in order.
    ///
    /// # Errors
    /// The queue's refusal.
    pub async fn send_all(&self, messages: Vec<(String, NewMessage)>) -> Result<Vec<String>, ServiceError> {
        messages.iter().try_for_each(|(_, message)| attributes::check(message))?;
        self.commit(|state, now_ms| state.send_all(messages, now_ms)).await
    }

    /// Waits up to `wait` (a day at most) for up to `max` messages (10,000 at most), which then stay hidden for
    /// `visibility` (12 hours at most) or the queue's own time. Who waits longest is served first.
    ///
    /// The future may be dropped at any time: it marks messages as received only when it is about to answer. While it
    /// is kept it has to be polled, because messages may wait for it.
    ///
    /// # Errors
    /// The queue's refusal.
    pub async fn receive(
        &self,
        queue: &str,
        max: usize,
        wait: Duration,
        visibility: Option<Duration>,
    ) -> Result<Vec<Received>, ServiceError> {
        self.receive_as(POLLER, queue, max, wait, visibility).await
    }

    /// The same, for a caller that fault rules may tell from others.
    async fn receive_as(
        &self,
        caller: &str,
        queue: &str,
        max: usize,
        wait: Duration,
        visibility: Option<Duration>,
    ) -> Result<Vec<Received>, ServiceError> {
        let deadline = Instant::now() + wait.min(RECEIVE_WAIT_MAX);
        let has_faults = self.0.faults.read().unwrap_or_else(PoisonError::into_inner).is_some();
        let mut fault = (!has_faults).then(DeliveryFault::default);
        let mut line: Option<PlaceInLine<'_>> = None;
        loop {
            let request = Receive {
                queue,
                max: max.clamp(1, RECEIVE_MESSAGES_MAX),
                visibility_ms: visibility.map(milliseconds),
                fault,
                ticket: line.as_ref().map(|line| line.ticket),
                waits: Instant::now() < deadline,
                is_short: wait.is_zero(),
            };
            match self.act(|state, now_ms| state.receive(request, now_ms))? {
                Attempt::Taken(taken) => {
                    return Ok(taken.into_iter().map(message::Taken::into_received).collect());
                }
                Attempt::AskFaults => match self.ask_faults(queue, caller) {
                    asked if !asked.withheld => fault = Some(asked),
                    _ if Instant::now() >= deadline => return Ok(Vec::new()),
                    _ => sleep_until(deadline.min(Instant::now() + WITHHELD_EVERY)).await,
                },
                Attempt::Wait { join, until_ms } => {
                    if let Some((ticket, wake)) = join {
                        line = Some(PlaceInLine { queues: self, queue, ticket, wake });
                    }
                    let until = until_ms.map(|until_ms| {
                        // At least the timer's own precision, or a message that is due this very millisecond would
                        // be looked for in a loop.
                        Instant::now() + Duration::from_millis(until_ms.saturating_sub(now_ms()).max(1))
                    });
                    if let Some(line) = &line
                        && timeout_at(until.map_or(deadline, |until| until.min(deadline)), line.wake.notified())
                            .await
                            .is_err()
                    {
                        // Time to look again.
                    }
                }
            }
        }
    }

    fn ask_faults(&self, queue: &str, caller: &str) -> DeliveryFault {
        let faults = self.0.faults.read().unwrap_or_else(PoisonError::into_inner).clone();
        faults.map(|faults| (faults.0)(queue, caller)).unwrap_or_default()
    }

    /// Deletes messages by their receipt handles: all of them or, if a handle is none of this queue's, none.
    ///
    /// # Errors
    /// The queue's refusal; a handle that is out of date is none.
    pub async fn delete(&self, queue: &str, receipt_handles: &[String]) -> Result<(), ServiceError> {
        self.commit(|state, now_ms| {
            let parsed = receipt_handles.iter().map(|text| state.handle(queue, text)).collect::<Result<Vec<_>, _>>()?;
            parsed.into_iter().try_for_each(|handle| state.delete(queue, handle, now_ms))
        })
        .await
    }

    /// How many messages there are.
    ///
    /// # Errors
    /// When there is no such queue.
    pub fn counts(&self, queue: &str) -> Result<Counts, ServiceError> {
        self.act(|state, now_ms| {
            state.settle(queue, now_ms);
            Ok(state.queue(queue)?.counts())
        })
    }

    /// Answers one call of the JSON protocol: `operation` is what follows `AmazonSQS.` in `X-Amz-Target`.
    ///
    /// # Errors
    /// The service's refusal, by its own name.
    pub async fn call(&self, operation: &str, input: Value) -> Result<Value, ServiceError> {
        wire::call(self, operation, &input).await
    }

    /// Waits until everything that was changed is on disk; for an orderly end.
    pub async fn flush(&self) {
        if self.commit(|_, _| Ok(())).await.is_err() {
            // Those whose changes cannot be written have been told.
        }
    }

    fn place(&self) -> &model::Place {
        &self.0.place
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the state.
    fn look<T>(&self, look: impl FnOnce(&State) -> Result<T, ServiceError>) -> Result<T, ServiceError> {
        look(&self.lock())
    }

    /// Changes the state; what changes is written soon.
    fn act<T>(&self, act: impl FnOnce(&mut State, u64) -> Result<T, ServiceError>) -> Result<T, ServiceError> {
        self.check_disk()?;
        let mut state = self.lock();
        let outcome = act(&mut state, now_ms());
        let changes = state.take_changes();
        self.0.writer.append(changes);
        outcome
    }

    /// Changes the state and answers when that is on disk.
    async fn commit<T>(&self, act: impl FnOnce(&mut State, u64) -> Result<T, ServiceError>) -> Result<T, ServiceError> {
        self.check_disk()?;
        let (outcome, written) = {
            let mut state = self.lock();
            let outcome = act(&mut state, now_ms());
            let changes = state.take_changes();
            // Also without a change of its own: what it saw may not be on disk yet, such as another caller's delete of
            // the same message.
            (outcome, self.0.writer.commit(changes))
        };
        let outcome = outcome?;
        match written.await {
            Ok(Ok(())) => Ok(outcome),
            Ok(Err(reason)) => Err(not_written(&reason.0)),
            Err(_) => Err(not_written("the writer has ended")),
        }
    }

    /// After a failed write, memory is ahead of the disk: nothing is answered any more, so that nothing that a restart
    /// would take back is believed.
    fn check_disk(&self) -> Result<(), ServiceError> {
        self.0.writer.broken().map_or(Ok(()), |reason| Err(not_written(&reason.0)))
    }

    /// Gives a move task a thread of its own until it ends.
    fn drive_move(&self, id: u64) -> Result<(), ServiceError> {
        let shared = Arc::downgrade(&self.0);
        let spawned = thread::Builder::new().name("sqs-move".to_owned()).spawn(move || drive(&shared, id));
        spawned.map(|_| ()).map_err(|error| ServiceError::internal(format!("no thread for the move task: {error}")))
    }
}

fn not_written(reason: &str) -> ServiceError {
    ServiceError::internal(format!("the queues cannot be written: {reason}"))
}

/// Takes the steps of a move task. Ends with the task, or with the queues.
fn drive(shared: &Weak<Shared>, id: u64) {
    while let Some(queues) = shared.upgrade().map(Queues) {
        let (next_ms, written) = {
            let mut state = queues.lock();
            let next_ms = state.step_move(id, now_ms());
            let changes = state.take_changes();
            (next_ms, queues.0.writer.commit(changes))
        };
        // A step at a time, so that a task cannot fill the writer's channel.
        let is_written = matches!(written.blocking_recv(), Ok(Ok(())));
        let Some(next_ms) = next_ms.filter(|_| is_written) else { return };
        drop(queues);
        // Parking may end early for no reason.
        while let Some(left_ms) = next_ms.checked_sub(now_ms()).filter(|left_ms| *left_ms > 0) {
            thread::park_timeout(Duration::from_millis(left_ms));
        }
    }
}

/// A receiver's place among those who wait. Dropping it leaves what was kept for the receiver to the next.
#[derive(Debug)]
struct PlaceInLine<'a> {
    queues: &'a Queues,
    queue: &'a str,
    ticket: u64,
    wake: Arc<Notify>,
}

impl Drop for PlaceInLine<'_> {
    fn drop(&mut self) {
        let mut state = self.queues.lock();
        if let Ok(queue) = state.queue_mut(self.queue) {
            queue.waiters.leave(self.ticket);
            queue.rouse();
        }
    }
}
