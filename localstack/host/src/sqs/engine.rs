//! All queues in memory. Pure: time comes in as an argument, and what is to be kept goes out as changes.
//!
//! The whole state is behind one lock, so that a publish to several queues, or a move from one to another, is one step.

use std::{collections::BTreeMap, mem, sync::Arc};

use tokio::sync::Notify;

use super::{
    NewMessage, attributes,
    errors::{invalid_handle, invalid_parameter, invalid_value, missing, namespaced, no_queue},
    handle::Handle,
    message::{Content, Doubled, Message, Position, Taken},
    moves::MoveTask,
    queue::{IN_FLIGHT_MAX, QueueState, Take},
    rows::Kept,
    settings::{DELAY_SECONDS, VISIBILITY_SECONDS, milliseconds},
    store::Change,
};
use crate::{deliveries::DeliveryFault, error::ServiceError, ids, model::Place};

/// Milliseconds that a message may stay hidden after a receive, however often that is changed.
const HIDDEN_MS_MAX: u64 = *VISIBILITY_SECONDS.end() * 1_000;
/// Numbers of one start of the host: 2 to this power.
const NUMBERS_PER_START_BITS: u32 = 40;

/// The state of the service.
#[derive(Debug)]
pub(super) struct State {
    pub(super) place: Place,
    pub(super) queues: BTreeMap<String, QueueState>,
    /// When queues were deleted, by name, in milliseconds since 1970.
    pub(super) deleted: BTreeMap<String, u64>,
    /// Move tasks, oldest first.
    pub(super) moves: Vec<MoveTask>,
    /// What is to be kept, in order; whoever holds the lock hands it to the writer.
    changes: Vec<Change>,
    next_number: u64,
}

/// One attempt to receive.
#[derive(Debug, Clone, Copy)]
pub(super) struct Receive<'a> {
    /// Name of the queue.
    pub(super) queue: &'a str,
    /// Messages at most.
    pub(super) max: usize,
    /// Instead of the queue's own time-out.
    pub(super) visibility_ms: Option<u64>,
    /// What a fault rule asks for; `None` if it has not been asked yet.
    pub(super) fault: Option<DeliveryFault>,
    /// The place in the queue of waiters.
    pub(super) ticket: Option<u64>,
    /// Whether the receiver waits when there is nothing.
    pub(super) waits: bool,
    /// Whether it never wanted to: only short polls are told that the limit of messages in flight is reached.
    pub(super) is_short: bool,
}

/// What came of an attempt.
#[derive(Debug)]
pub(super) enum Attempt {
    /// Messages; none only if the receiver does not wait.
    Taken(Vec<Taken>),
    /// There are messages: ask what is to be done to this receive, and come again.
    AskFaults,
    /// Nothing yet. `join` is the new place of a receiver that had none; it looks again at `until_ms` (milliseconds
    /// since 1970) at the latest.
    Wait { join: Option<(u64, Arc<Notify>)>, until_ms: Option<u64> },
}

/// Chance, for ids, handles and shuffling.
pub(super) fn chance() -> u64 {
    // Without chance ids repeat; there is no system that this host runs on that has none.
    getrandom::u64().unwrap_or_default()
}

impl State {
    /// What was kept, at the time of a start.
    pub(super) fn new(place: Place, kept: Kept, now_ms: u64) -> Self {
        // Numbers are never used again, not even those of messages that are gone: a receipt handle from before the
        // restart must not fit another message. Each start has a range of its own, whatever the clock says.
        let next_number = kept.starts << NUMBERS_PER_START_BITS;
        let mut state = Self {
            place,
            queues: BTreeMap::new(),
            deleted: BTreeMap::new(),
            moves: kept.moves,
            changes: Vec::new(),
            next_number,
        };
        let mut names = BTreeMap::new();
        for (id, record) in kept.queues {
            let arn = state.place.arn("sqs", &record.name);
            names.insert(id, record.name.clone());
            state.queues.insert(record.name.clone(), QueueState::new(id, arn, record));
        }
        for (sequence, queue, message) in kept.messages {
            if let Some(queue) = names.get(&queue).and_then(|name| state.queues.get_mut(name)) {
                queue.insert(sequence, message, now_ms);
            }
        }
        let names: Vec<String> = names.into_values().collect();
        for name in names {
            state.settle(&name, now_ms);
        }
        state
    }

    /// What is to be kept since the last time.
    pub(super) fn take_changes(&mut self) -> Vec<Change> {
        mem::take(&mut self.changes)
    }

    /// Notes a change.
    pub(super) fn keep(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// A number that was never used before.
    pub(super) fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// The queue of this name.
    ///
    /// # Errors
    /// `QueueDoesNotExist`.
    pub(super) fn queue(&self, name: &str) -> Result<&QueueState, ServiceError> {
        self.queues.get(name).ok_or_else(|| no_queue(name))
    }

    pub(super) fn queue_mut(&mut self, name: &str) -> Result<&mut QueueState, ServiceError> {
        self.queues.get_mut(name).ok_or_else(|| no_queue(name))
    }

    /// Lets time pass in a queue and tells its waiters.
    pub(super) fn settle(&mut self, name: &str, now_ms: u64) {
        let Some(queue) = self.queues.get_mut(name) else { return };
        let expired = queue.settle(now_ms);
        queue.rouse();
        self.changes.extend(expired.into_iter().map(|sequence| Change::Delete { sequence }));
    }

    /// Whether the queue would take the message, as far as that depends on the queue. The rest is checked before the
    /// lock is taken: a text of 1 MiB takes a while to look through.
    ///
    /// # Errors
    /// The queue's refusal.
    pub(super) fn check(&self, name: &str, message: &NewMessage) -> Result<(), ServiceError> {
        let queue = self.queue(name)?;
        let bytes_max = queue.record.settings.message_bytes_max;
        if u64::try_from(attributes::size_bytes(message)).unwrap_or(u64::MAX) > bytes_max {
            return Err(invalid_parameter(format!(
                "One or more parameters are invalid. Reason: Message must be shorter than {bytes_max} bytes."
            )));
        }
        match message.delay {
            Some(delay) if milliseconds(delay) > DELAY_SECONDS.end() * 1_000 => {
                Err(invalid_value("DelaySeconds", delay.as_secs(), "DelaySeconds must be >= 0 and <= 900."))
            }
            _ => Ok(()),
        }
    }

    /// Sends all of them, or none if one is refused. Answers their ids.
    ///
    /// # Errors
    /// The refusal of the first queue that refuses.
    pub(super) fn send_all(
        &mut self,
        messages: Vec<(String, NewMessage)>,
        now_ms: u64,
    ) -> Result<Vec<String>, ServiceError> {
        messages.iter().try_for_each(|(name, message)| self.check(name, message))?;
        let mut ids = Vec::with_capacity(messages.len());
        let mut touched: Vec<String> = Vec::new();
        for (name, message) in messages {
            let delay_ms = match message.delay {
                Some(delay) => milliseconds(delay),
                None => self.queue(&name)?.record.settings.delay_ms,
            };
            let content = Content {
                id: ids::uuid(),
                body: message.body,
                attributes: message.attributes,
                trace_header: message.trace_header,
                sent_at_ms: now_ms,
            };
            ids.push(content.id.clone());
            let position = Position { visible_at_ms: now_ms + delay_ms, ..Position::default() };
            self.add(&name, Arc::new(content), position, now_ms)?;
            if touched.last() != Some(&name) {
                touched.push(name);
            }
        }
        touched.iter().for_each(|name| self.settle(name, now_ms));
        Ok(ids)
    }

    /// Adds a message under a new number.
    ///
    /// # Errors
    /// `QueueDoesNotExist`.
    pub(super) fn add(
        &mut self,
        name: &str,
        content: Arc<Content>,
        position: Position,
        now_ms: u64,
    ) -> Result<(), ServiceError> {
        let sequence = self.number();
        let queue = self.queue_mut(name)?;
        let id = queue.id;
        let message = Message { content: Arc::clone(&content), position: position.clone(), doubled: Doubled::No };
        queue.insert(sequence, message, now_ms);
        self.keep(Change::Insert { sequence, queue: id, content, position });
        Ok(())
    }

    /// Takes messages, or a place in the queue of those who wait.
    ///
    /// # Errors
    /// `QueueDoesNotExist`; `OverLimit` for a short poll.
    pub(super) fn receive(&mut self, request: Receive<'_>, now_ms: u64) -> Result<Attempt, ServiceError> {
        let redrive = self.queue(request.queue)?.record.settings.redrive.as_ref();
        // While its dead-letter queue does not exist, a queue keeps its messages.
        let redrive = redrive.map(|redrive| (redrive.dead_letter_name().to_owned(), redrive.receives_max));
        let redrive = redrive.filter(|(name, _)| self.queues.contains_key(name) && name != request.queue);
        loop {
            self.settle(request.queue, now_ms);
            let queue = self.queue_mut(request.queue)?;
            let allowance = queue.waiters.allowance(request.ticket, request.max, queue.takeable());
            if allowance == 0 {
                return self.wait(request);
            }
            let Some(fault) = request.fault else { return Ok(Attempt::AskFaults) };
            let visibility_ms = request.visibility_ms.unwrap_or(queue.record.settings.visibility_ms).min(HIDDEN_MS_MAX);
            let receives_max = redrive.as_ref().map(|(_, max)| *max);
            let picked = queue.take(Take { max: allowance, visibility_ms, fault, receives_max }, now_ms, chance);
            let (id, arn) = (queue.id, Arc::clone(&queue.arn));
            let is_over = !picked.taken.is_empty() || picked.dead.is_empty();
            if let Some(ticket) = request.ticket.filter(|_| is_over) {
                queue.waiters.leave(ticket);
            }
            queue.rouse();
            for taken in &picked.taken {
                let (sequence, position) = (taken.handle.sequence, taken.position.clone());
                self.keep(Change::Place { sequence, queue: id, position });
            }
            if let Some((dead_letters, _)) = &redrive {
                self.bury(dead_letters, &arn, picked.dead, now_ms);
            }
            if is_over {
                return Ok(Attempt::Taken(picked.taken));
            }
        }
    }

    /// Moves messages to the dead-letter queue. They keep id, attributes, and time of sending, from which retention
    /// goes on counting; `ApproximateReceiveCount` counts over all queues.
    fn bury(&mut self, dead_letters: &str, source: &Arc<str>, dead: Vec<(u64, Message)>, now_ms: u64) {
        let Some(queue) = self.queues.get_mut(dead_letters) else { return };
        for (sequence, mut message) in dead {
            let position = &mut message.position;
            position.visible_at_ms = now_ms;
            position.receives_here = 0;
            position.dead_letter_source = Some(Arc::clone(source));
            message.doubled = Doubled::Done;
            let position = position.clone();
            queue.insert(sequence, message, now_ms);
            self.changes.push(Change::Place { sequence, queue: queue.id, position });
        }
        self.settle(dead_letters, now_ms);
    }

    fn wait(&mut self, request: Receive<'_>) -> Result<Attempt, ServiceError> {
        if request.is_short && self.queue(request.queue)?.is_over_limit() {
            return Err(ServiceError::sender(
                "OverLimit",
                format!("{IN_FLIGHT_MAX} messages of {} are in flight, which is the limit.", request.queue),
            ));
        }
        if !request.waits {
            return Ok(Attempt::Taken(Vec::new()));
        }
        let fresh = request.ticket.is_none().then(|| self.number());
        let queue = self.queue_mut(request.queue)?;
        let join = fresh.map(|ticket| (ticket, queue.waiters.join(ticket, request.max)));
        let next_ms = queue.next_visible_ms();
        let until_ms = request.ticket.or(fresh).and_then(|ticket| queue.waiters.sleep(ticket, next_ms));
        Ok(Attempt::Wait { join, until_ms })
    }

    /// Reads a receipt handle of this queue.
    ///
    /// # Errors
    /// `QueueDoesNotExist`, `ReceiptHandleIsInvalid`.
    pub(super) fn handle(&self, name: &str, text: &str) -> Result<Handle, ServiceError> {
        let queue = self.queue(name)?;
        if text.is_empty() {
            return Err(missing("ReceiptHandle"));
        }
        Handle::parse(text).filter(|handle| handle.queue == queue.id).ok_or_else(|| invalid_handle(text))
    }

    /// Deletes a message. "You must use the most recently received ReceiptHandle for the message (otherwise, the
    /// request succeeds, but the message will not be deleted)": API reference of `DeleteMessage`.
    ///
    /// # Errors
    /// `QueueDoesNotExist`.
    pub(super) fn delete(&mut self, name: &str, handle: Handle, now_ms: u64) -> Result<(), ServiceError> {
        let queue = self.queue_mut(name)?;
        let Some(message) = queue.message(handle.sequence) else { return Ok(()) };
        if !is_latest(handle, &message.position) || message.doubled == Doubled::Owed {
            return Ok(());
        }
        queue.remove(handle.sequence);
        self.keep(Change::Delete { sequence: handle.sequence });
        // A full queue may have room for receivers again.
        self.settle(name, now_ms);
        Ok(())
    }

    /// Hides a message in flight for another time, counted from now.
    ///
    /// # Errors
    /// `QueueDoesNotExist`, `MessageNotInflight`, and `InvalidParameterValue` for a message that is gone, a handle that
    /// is not its latest, or more than 12 hours since the receive.
    pub(super) fn hide(&mut self, name: &str, handle: Handle, hidden_ms: u64, now_ms: u64) -> Result<(), ServiceError> {
        self.settle(name, now_ms);
        let queue = self.queue_mut(name)?;
        let gone = || {
            let reason = "Message does not exist or is not available for visibility timeout change.";
            invalid_value("ReceiptHandle", handle.to_text(), reason)
        };
        let message = queue.message(handle.sequence).ok_or_else(gone)?;
        if !is_latest(handle, &message.position) {
            return Err(gone());
        }
        // After a crash the handle may know of a receive that was not written.
        let is_lost_receive = handle.receive > message.position.receives;
        let position = &message.position;
        if !is_lost_receive && position.visible_at_ms <= now_ms {
            return Err(namespaced(
                "MessageNotInflight",
                format!("The message {} is not in flight.", message.content.id),
            ));
        }
        let received_at_ms = if is_lost_receive { now_ms } else { position.received_at_ms };
        if now_ms + hidden_ms > received_at_ms + HIDDEN_MS_MAX {
            return Err(invalid_value(
                "VisibilityTimeout",
                hidden_ms / 1_000,
                "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]",
            ));
        }
        let id = queue.id;
        let placed = queue.place(handle.sequence, now_ms, |message| {
            let position = &mut message.position;
            if is_lost_receive {
                position.receives_here += handle.receive - position.receives;
                position.receives = handle.receive;
                position.nonce = handle.nonce;
                position.received_at_ms = now_ms;
            }
            position.visible_at_ms = now_ms + hidden_ms;
        });
        queue.rouse();
        self.changes.extend(placed.map(|position| Change::Place { sequence: handle.sequence, queue: id, position }));
        Ok(())
    }
}

/// Whether no later receive than the handle's is known. A handle of a receive that is not known was given out before a
/// crash, and is the later one.
fn is_latest(handle: Handle, position: &Position) -> bool {
    handle.receive > position.receives || (handle.receive == position.receives && handle.nonce == position.nonce)
}
