//! Message move tasks: dead letters go back to where they came from, or elsewhere.
//!
//! A task is kept with every step it takes, in the transaction of the step: after a restart it goes on where it was.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    engine::State,
    errors::{invalid_parameter, namespaced, no_resource},
    message::{Content, Position},
    store::Change,
};
use crate::{error::ServiceError, ids};

/// Messages of one step: the lock is let go in between.
const STEP_MESSAGES_MAX: u64 = 100;
/// Tasks that are remembered of a queue: as many as `ListMessageMoveTasks` can list.
pub(super) const REMEMBERED_MAX: usize = 10;
/// Steps in a second of a task with a rate, if it moves more than that many messages in it.
const PACED_STEPS_PER_SECOND: u64 = 20;

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Status {
    Running,
    Completed,
    Cancelled,
    Failed,
}

/// A message move task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MoveTask {
    pub(super) id: u64,
    pub(super) source_arn: String,
    /// `None` sends each message to the queue it came from.
    pub(super) destination_arn: Option<String>,
    /// Messages a second, if the caller named a rate.
    pub(super) rate: Option<u64>,
    pub(super) status: Status,
    pub(super) moved: u64,
    /// Messages that could be received when the task began. No more are moved, so that a message which becomes a dead
    /// letter again at once does not go round for ever.
    pub(super) to_move: u64,
    pub(super) started_at_ms: u64,
    pub(super) failure: Option<String>,
}

impl MoveTask {
    fn handle(&self) -> String {
        STANDARD.encode(json!({ "taskId": self.id, "sourceArn": self.source_arn }).to_string())
    }

    fn to_json(&self) -> Value {
        let mut entry = json!({
            "Status": self.status,
            "SourceArn": self.source_arn,
            "ApproximateNumberOfMessagesMoved": self.moved,
            "ApproximateNumberOfMessagesToMove": self.to_move,
            "StartedTimestamp": self.started_at_ms,
        });
        let optional = [
            // A handle cancels, so only a task that runs has one.
            ("TaskHandle", (self.status == Status::Running).then(|| json!(self.handle()))),
            ("DestinationArn", self.destination_arn.as_ref().map(|arn| json!(arn))),
            ("MaxNumberOfMessagesPerSecond", self.rate.map(|rate| json!(rate))),
            ("FailureReason", self.failure.as_ref().map(|reason| json!(reason))),
        ];
        if let Some(entry) = entry.as_object_mut() {
            entry.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        }
        entry
    }

    /// How many messages the next step may move, and when the step after it may come, in milliseconds since 1970.
    fn due(&self, now_ms: u64) -> (u64, u64) {
        let left = self.to_move.saturating_sub(self.moved).min(STEP_MESSAGES_MAX);
        let Some(rate) = self.rate else { return (left, now_ms) };
        // From step to step: what was missed while the host was down is not made up for.
        let count = left.min((rate / PACED_STEPS_PER_SECOND).max(1));
        (count, now_ms + (count * 1_000).div_ceil(rate))
    }
}

impl State {
    /// `StartMessageMoveTask`. Answers the task's number and handle.
    ///
    /// # Errors
    /// `ResourceNotFoundException` for a queue that is not there, `InvalidParameterValue` for a source that is nobody's
    /// dead-letter queue or also the destination, `UnsupportedOperation` while another task of the source runs.
    pub(super) fn start_move(
        &mut self,
        source_arn: &str,
        destination_arn: Option<&str>,
        rate: Option<u64>,
        now_ms: u64,
    ) -> Result<(u64, String), ServiceError> {
        let source = self.name_of(source_arn, "SourceArn")?;
        if let Some(arn) = destination_arn {
            self.name_of(arn, "DestinationArn")?;
        }
        if destination_arn == Some(source_arn) {
            return Err(invalid_parameter("Source queue arn and destination queue arn must be different."));
        }
        if self.dead_letter_sources(&source)?.is_empty() {
            return Err(invalid_parameter(format!(
                "Source queue must be configured as a Dead Letter Queue: {source_arn}"
            )));
        }
        let of_source = |task: &&MoveTask| task.source_arn == source_arn;
        if self.moves.iter().filter(of_source).any(|task| task.status == Status::Running) {
            let message = format!("A message move task of {source_arn} is running: only one is allowed at a time.");
            return Err(namespaced("UnsupportedOperation", message));
        }
        if self.moves.iter().filter(of_source).count() >= REMEMBERED_MAX
            && let Some(oldest) = self.moves.iter().position(|task| task.source_arn == source_arn)
        {
            let id = self.moves.remove(oldest).id;
            self.keep(Change::DropMove { id });
        }
        self.settle(&source, now_ms);
        let task = MoveTask {
            id: self.number(),
            source_arn: source_arn.to_owned(),
            destination_arn: destination_arn.map(str::to_owned),
            rate,
            status: Status::Running,
            moved: 0,
            to_move: self.queue(&source)?.counts().visible,
            started_at_ms: now_ms,
            failure: None,
        };
        let answer = (task.id, task.handle());
        self.keep(Change::PutMove { task: Box::new(task.clone()) });
        self.moves.push(task);
        Ok(answer)
    }

    /// `ListMessageMoveTasks`: the latest first.
    ///
    /// # Errors
    /// `ResourceNotFoundException` when the queue is not there.
    pub(super) fn list_moves(&self, source_arn: &str, max: usize) -> Result<Vec<Value>, ServiceError> {
        self.name_of(source_arn, "SourceArn")?;
        let of_source = self.moves.iter().rev().filter(|task| task.source_arn == source_arn);
        Ok(of_source.take(max).map(MoveTask::to_json).collect())
    }

    /// `CancelMessageMoveTask`: what is moved stays moved. Answers how many messages that are.
    ///
    /// # Errors
    /// `ResourceNotFoundException` for an unknown handle, `UnsupportedOperation` for a task that does not run.
    pub(super) fn cancel_move(&mut self, handle: &str) -> Result<u64, ServiceError> {
        let task = self.moves.iter_mut().find(|task| task.handle() == handle);
        let task = task.ok_or_else(|| no_resource("Task does not exist: no message move task has this TaskHandle."))?;
        if task.status != Status::Running {
            return Err(namespaced(
                "UnsupportedOperation",
                "Only a message move task that is running can be cancelled.",
            ));
        }
        task.status = Status::Cancelled;
        let (kept, moved) = (task.clone(), task.moved);
        self.keep(Change::PutMove { task: Box::new(kept) });
        Ok(moved)
    }

    /// Takes the next step of a task. Answers when it goes on, in milliseconds since 1970; `None` if it does not.
    pub(super) fn step_move(&mut self, id: u64, now_ms: u64) -> Option<u64> {
        let mut task = self.moves.iter().find(|task| task.id == id && task.status == Status::Running)?.clone();
        let (count, next_ms) = task.due(now_ms);
        match self.move_some(&task, count, now_ms) {
            Ok(moved) => {
                task.moved += moved;
                // Nothing left: expired, received or deleted meanwhile.
                if task.moved >= task.to_move || moved < count {
                    task.status = Status::Completed;
                }
            }
            Err((moved, reason)) => {
                task.moved += moved;
                task.status = Status::Failed;
                task.failure = Some(reason);
            }
        }
        let goes_on = task.status == Status::Running;
        self.keep(Change::PutMove { task: Box::new(task.clone()) });
        if let Some(known) = self.moves.iter_mut().find(|known| known.id == id) {
            *known = task;
        }
        goes_on.then_some(next_ms)
    }

    /// Moves up to `count` messages that can be received. They are new messages in their queue: "a new messageID and
    /// enqueueTime are assigned", and retention begins anew.
    fn move_some(&mut self, task: &MoveTask, count: u64, now_ms: u64) -> Result<u64, (u64, String)> {
        let gone = |_| (0, "AWS.SimpleQueueService.NonExistentQueue".to_owned());
        let source = self.name_of(&task.source_arn, "SourceArn").map_err(gone)?;
        self.settle(&source, now_ms);
        let ready = self.queue(&source).map_err(gone)?.ready();
        let sequences: Vec<u64> =
            ready.map(|(sequence, _)| sequence).take(usize::try_from(count).unwrap_or(usize::MAX)).collect();
        let mut moved = 0;
        let mut touched = vec![source.clone()];
        let mut outcome = Ok(());
        for sequence in sequences {
            match self.move_one(task, &source, sequence, now_ms) {
                Ok(destination) if touched.contains(&destination) => moved += 1,
                Ok(destination) => {
                    touched.push(destination);
                    moved += 1;
                }
                Err(reason) => {
                    outcome = Err(reason);
                    break;
                }
            }
        }
        touched.iter().for_each(|name| self.settle(name, now_ms));
        outcome.map(|()| moved).map_err(|reason| (moved, reason.to_owned()))
    }

    fn move_one(&mut self, task: &MoveTask, source: &str, sequence: u64, now_ms: u64) -> Result<String, &'static str> {
        let gone = "AWS.SimpleQueueService.NonExistentQueue";
        let message = self.queue(source).ok().and_then(|queue| queue.message(sequence)).ok_or(gone)?;
        let destination = task.destination_arn.as_deref().or(message.position.dead_letter_source.as_deref());
        let destination = destination.ok_or("CouldNotDetermineMessageSource")?;
        let destination = self.name_of(destination, "DestinationArn").map_err(|_| gone)?;
        let old = &message.content;
        let content = Content {
            id: ids::uuid(),
            body: old.body.clone(),
            attributes: old.attributes.clone(),
            trace_header: old.trace_header.clone(),
            sent_at_ms: now_ms,
        };
        let position = Position { visible_at_ms: now_ms, ..Position::default() };
        self.add(&destination, Arc::new(content), position, now_ms).map_err(|_| gone)?;
        if let Ok(queue) = self.queue_mut(source) {
            queue.remove(sequence);
        }
        self.keep(Change::Delete { sequence });
        Ok(destination)
    }

    /// The queue's name in an ARN of this account and region.
    fn name_of(&self, arn: &str, parameter: &str) -> Result<String, ServiceError> {
        let name = arn.rsplit(':').next().unwrap_or_default();
        let queue = self.queues.get(name).filter(|queue| *queue.arn == *arn);
        queue.map(|queue| queue.record.name.clone()).ok_or_else(|| {
            no_resource(format!("The resource that you specified for the {parameter} parameter doesn't exist: {arn}"))
        })
    }
}
