//! Draining a queue: the raw SQS event comes in, every body is parsed by itself, and only what failed is reported back
//! (`ReportBatchItemFailures`). A typed event would fail the whole batch on one bad body.

use std::{any::Any, future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use florin_domain::event::Event;
use futures::FutureExt;

use crate::{
    failures::{Failed, FailureLog},
    mask,
    visibility::{Change, DELAY_SECONDS_MAX, Later, Visibility},
};

/// What a function keeps of its time for reporting the outcome.
const REPORT_MARGIN_MS: u64 = 1_000;
/// What the reasons of failures may take of it.
const RECORD_MS_MAX: u64 = 500;
/// Less time than this is no deadline but a runtime that does not send one.
const DEADLINE_MS_MIN: u64 = 1;
/// A message that has been received so often waits as a fresh copy of itself, so that waiting never makes it a dead
/// letter. Below every queue's `maxReceiveCount`.
pub const REQUEUE_AFTER_RECEIVES: u32 = 7;

/// The queue that a function drains, and where the reasons of its failures go.
#[derive(Clone)]
pub struct Queue {
    /// Hides its messages and sends copies of them.
    pub visibility: Arc<dyn Visibility>,
    /// Keeps why a message failed.
    pub failures: Arc<dyn FailureLog>,
}

impl Queue {
    /// A queue that works with these.
    pub fn new(visibility: impl Visibility + 'static, failures: impl FailureLog + 'static) -> Self {
        Self { visibility: Arc::new(visibility), failures: Arc::new(failures) }
    }
}

/// A message that parsed.
#[derive(Debug)]
pub struct Delivered {
    /// What it says.
    pub event: Event,
    /// How often it has been received, this time included.
    pub receives: u32,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Its effect has happened: it may be deleted.
    Done,
    /// It is to come again after this time. It stays the same message while it has receives to spare; then a wait of
    /// up to 15 minutes becomes a `Requeue`.
    RetryAfter(Duration),
    /// A fresh copy is to come after this time, 15 minutes at most: the wait uses up no receives.
    Requeue(Duration),
    /// It failed, for this reason, and is to come again when the queue's visibility time-out ends.
    Retry(String),
    /// It can never be handled: it goes to the dead-letter queue as fast as the queue allows.
    Poison,
}

/// A batch that could not be answered message by message.
#[derive(Debug, thiserror::Error)]
#[error("a record of the batch has no message id or receipt handle")]
pub struct UnanswerableBatch;

/// What is done about a message.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    Handled,
    Hidden(Duration),
    Copied(Duration),
    Failed { reason: String, shown_after_s: Option<i32> },
}

impl Fate {
    fn poison(reason: String) -> Self {
        Self::Failed { reason, shown_after_s: Some(0) }
    }

    fn of(outcome: Outcome, receives: u32) -> Self {
        match outcome {
            Outcome::Done => Self::Handled,
            Outcome::RetryAfter(wait) if receives >= REQUEUE_AFTER_RECEIVES && wait <= DELAY_MAX => Self::Copied(wait),
            Outcome::RetryAfter(wait) => Self::Hidden(wait),
            Outcome::Requeue(wait) => Self::Copied(wait.min(DELAY_MAX)),
            Outcome::Retry(reason) => Self::Failed { reason, shown_after_s: None },
            Outcome::Poison => Self::poison("its consumer can never handle it".to_owned()),
        }
    }
}

/// Handles every message by itself, all at once, each within the time that the invocation has left.
/// A message that does not parse, a handler that panics or runs out of time fails alone.
pub async fn each<F, Fut>(
    batch: SqsEvent,
    time_left: Option<Duration>,
    queue: &Queue,
    handler: F,
) -> Result<SqsBatchResponse, UnanswerableBatch>
where
    F: Fn(Delivered) -> Fut,
    Fut: Future<Output = Outcome>,
{
    let limit = time_limit(time_left);
    let handler = &handler;
    let fates = batch.records.iter().map(|record| async move {
        match parse(record) {
            Err(reason) => Fate::poison(reason),
            Ok(delivered) => Fate::of(guarded(async { handler(delivered).await }, limit).await, receives(record)),
        }
    });
    let fates = futures::future::join_all(fates).await;
    report(&batch.records, fates, queue).await
}

/// Handles all messages that parse in one go: the handler's outcome counts for all of them.
pub async fn whole<F, Fut>(
    batch: SqsEvent,
    time_left: Option<Duration>,
    queue: &Queue,
    handler: F,
) -> Result<SqsBatchResponse, UnanswerableBatch>
where
    F: FnOnce(Vec<Delivered>) -> Fut,
    Fut: Future<Output = Outcome>,
{
    let mut delivered = Vec::new();
    let poison: Vec<Option<Fate>> = batch
        .records
        .iter()
        .map(|record| match parse(record) {
            Ok(good) => {
                delivered.push(good);
                None
            }
            Err(reason) => Some(Fate::poison(reason)),
        })
        .collect();
    let outcome = if delivered.is_empty() {
        Outcome::Done
    } else {
        guarded(async { handler(delivered).await }, time_limit(time_left)).await
    };
    let fates = batch.records.iter().zip(poison);
    let fates = fates.map(|(record, poison)| poison.unwrap_or_else(|| Fate::of(outcome.clone(), receives(record))));
    report(&batch.records, fates.collect(), queue).await
}

fn time_limit(time_left: Option<Duration>) -> Option<Duration> {
    time_left
        .filter(|left| *left >= Duration::from_millis(DEADLINE_MS_MIN))
        .map(|left| left.saturating_sub(Duration::from_millis(REPORT_MARGIN_MS)))
}

/// The handler's outcome, or a retry if it panicked or ran out of time.
async fn guarded(handler: impl Future<Output = Outcome>, limit: Option<Duration>) -> Outcome {
    let caught = AssertUnwindSafe(handler).catch_unwind();
    let result = match limit {
        Some(limit) => match tokio::time::timeout(limit, caught).await {
            Ok(result) => result,
            Err(_) => {
                tracing::error!("a message was not handled within the function's time");
                return Outcome::Retry("not handled within the function's time".to_owned());
            }
        },
        None => caught.await,
    };
    result.unwrap_or_else(|panic| {
        let text = panic_text(&*panic);
        tracing::error!(panic = text, "a handler panicked");
        Outcome::Retry(format!("its handler panicked: {text}"))
    })
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("?")
}

fn parse(record: &SqsMessage) -> Result<Delivered, String> {
    let message_id = record.message_id.as_deref().unwrap_or_default();
    match Event::parse(record.body.as_deref().unwrap_or_default()) {
        Ok(event) => Ok(Delivered { event, receives: receives(record) }),
        Err(error) => {
            tracing::error!(message_id, %error, "a message does not parse and goes to the dead-letter queue");
            Err(error.to_string())
        }
    }
}

fn receives(record: &SqsMessage) -> u32 {
    record.attributes.get("ApproximateReceiveCount").and_then(|count| count.parse().ok()).unwrap_or(1)
}

/// What is to be done before the batch is answered.
#[derive(Default)]
struct ToDo {
    response: SqsBatchResponse,
    changes: Vec<Change>,
    failures: Vec<Failed>,
    /// What stands for a message if its copy cannot be sent.
    waits: Vec<(String, Change, u32)>,
    copies: Vec<Later>,
}

/// Has messages hidden, copied and their failures recorded, and names those that must not be deleted.
async fn report(
    records: &[SqsMessage],
    fates: Vec<Fate>,
    queue: &Queue,
) -> Result<SqsBatchResponse, UnanswerableBatch> {
    let mut to_do = ToDo::default();
    for (record, fate) in records.iter().zip(fates) {
        if fate == Fate::Handled {
            continue;
        }
        // An empty id would fail the whole batch anyway, but silently.
        let (Some(id), Some(receipt)) = (non_empty(&record.message_id), non_empty(&record.receipt_handle)) else {
            return Err(UnanswerableBatch);
        };
        to_do.add(record, id, receipt, fate);
    }
    to_do.finish(queue).await
}

impl ToDo {
    fn add(&mut self, record: &SqsMessage, id: &str, receipt: &str, fate: Fate) {
        let change = |seconds| Change { receipt_handle: receipt.to_owned(), seconds };
        match fate {
            Fate::Handled => {}
            Fate::Hidden(wait) => {
                self.response.add_failure(id);
                self.changes.push(change(seconds_rounded_up(wait)));
            }
            Fate::Copied(wait) => {
                let seconds = seconds_rounded_up(wait);
                self.waits.push((id.to_owned(), change(seconds), receives(record)));
                self.copies.push(Later::copy(record, seconds));
            }
            Fate::Failed { reason, shown_after_s } => {
                self.fail(id, &reason, receives(record));
                self.changes.extend(shown_after_s.map(change));
            }
        }
    }

    fn fail(&mut self, id: &str, reason: &str, receives: u32) {
        self.response.add_failure(id);
        self.failures.push(Failed { message_id: id.to_owned(), reason: mask::reason(reason), receives });
    }

    async fn finish(mut self, queue: &Queue) -> Result<SqsBatchResponse, UnanswerableBatch> {
        if !self.copies.is_empty() {
            // A message is deleted only once its copy is in the queue: a crash in between duplicates it.
            let sent = queue.visibility.send_later(std::mem::take(&mut self.copies)).await;
            let sent = sent.into_iter().chain(std::iter::repeat(false));
            for ((id, change, receives), sent) in std::mem::take(&mut self.waits).into_iter().zip(sent) {
                if !sent {
                    self.fail(&id, "the copy that was to wait could not be sent", receives);
                    self.changes.push(change);
                }
            }
        }
        let change = async {
            if !self.changes.is_empty() {
                queue.visibility.change(self.changes).await;
            }
        };
        let record = async {
            if !self.failures.is_empty() {
                let recorded = queue.failures.record(self.failures);
                if tokio::time::timeout(Duration::from_millis(RECORD_MS_MAX), recorded).await.is_err() {
                    tracing::warn!("there was no time to record the reasons of failures");
                }
            }
        };
        futures::join!(change, record);
        Ok(self.response)
    }
}

/// The longest delay of a message.
const DELAY_MAX: Duration = Duration::from_secs(DELAY_SECONDS_MAX);

/// Rounded down, a message would come back before its time, and use up a receive for nothing.
fn seconds_rounded_up(wait: Duration) -> i32 {
    i32::try_from(wait.as_nanos().div_ceil(1_000_000_000)).unwrap_or(i32::MAX)
}

fn non_empty(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}
